-- latest_offers: every offer as of the last published day of its pipeline: one row per offer.
-- Columns: those of `offers`; `dt` is that day. Where several pipelines hold an offer, the one that fetched it last counts.
-- Example: SELECT shop_name, offer_id, title, price, unit FROM latest_offers WHERE title LIKE '%保温杯%'
SELECT t.*
FROM latest.offers AS t
LEFT ANTI JOIN latest.superseded AS s ON s.pipeline = t.pipeline AND s.offer_id = t.offer_id
