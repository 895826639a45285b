-- superseded: rows of offers that another pipeline fetched later. Not a view of its own: `{day}` stands for a schema
-- that shows one day per pipeline (`latest`, `"as_of_2026-11-20"`), and `{day}.superseded` is what is left out where an
-- offer shall have one row. With one pipeline it is empty and costs nothing.
SELECT pipeline, offer_id
FROM (
  SELECT pipeline, offer_id,
         row_number() OVER (PARTITION BY offer_id ORDER BY fetched_at DESC NULLS LAST, dt DESC, pipeline) AS place
  FROM {day}.offers
)
WHERE place > 1
