-- priced: the common part of `price_at` and `competitor_position`. Not a view of its own: it follows on a list `needs`, one
-- row per group and offer, with how many `pieces` are needed and what a sale unit holds where the gateway does not state it
-- (`pack_size`), and gives `judged`: what that costs, offer by offer and SKU by SKU with a ladder of its own. `{day}` is a
-- schema that shows one day per pipeline.
-- A pack size makes pieces of a minimum that is stated in sale units.
packed AS (
  SELECT * EXCEPT (moq_status, moq_pieces), (pieces + pack - 1) / pack AS units,
         CASE WHEN pieces_per_unit IS NULL AND pack_size IS NOT NULL AND moq_quantity IS NOT NULL
                   AND moq_status IN ('unknown_unit', 'unknown_pack') THEN 'ok'
              ELSE moq_status END AS moq_status,
         coalesce(moq_pieces, moq_quantity * pack) AS moq_pieces
  FROM (SELECT *, CAST(coalesce(nullif(pieces_per_unit, 0), pack_size) AS BIGINT) AS pack FROM needs)
),
-- The quantity whose price is looked up: what is needed, but not less than the minimum.
steps AS (
  SELECT n.group_name, t.pipeline, t.offer_id, t.sku_id, t.min_quantity, t.max_quantity, t.unit_price, t.piece_price,
         t.tier_no,
         greatest(n.units, (n.moq_pieces + n.pack - 1) / n.pack) AS priced_units
  FROM {day}.price_tiers AS t
  JOIN packed AS n ON n.pipeline = t.pipeline AND n.offer_id = t.offer_id
),
-- Plain maxima and a second look at the steps: `max` of a struct would do in one, but takes minutes in DataFusion 55.
starts AS (
  SELECT group_name, pipeline, offer_id, sku_id, min(min_quantity) AS first_quantity,
         max(min_quantity) FILTER (WHERE min_quantity <= priced_units) AS reached_quantity
  FROM steps
  GROUP BY group_name, pipeline, offer_id, sku_id
),
-- The steps with the greatest start reached (with the first start if none is), and earlier ones that cover the units too.
-- All keys are joined by `=`: DataFusion hashes by such keys alone, and beside one of them looks at `IS NOT DISTINCT FROM`
-- pair by pair.
candidates AS (
  SELECT t.group_name, t.pipeline, t.offer_id, t.sku_id, s.first_quantity, t.unit_price, t.piece_price, t.tier_no
  FROM steps AS t
  JOIN starts AS s ON s.group_name = t.group_name AND s.pipeline = t.pipeline AND s.offer_id = t.offer_id
                  AND coalesce(s.sku_id, -1) = coalesce(t.sku_id, -1)
  WHERE t.min_quantity = coalesce(s.reached_quantity, s.first_quantity)
     OR (t.min_quantity <= t.priced_units AND t.max_quantity >= t.priced_units)
),
chosen AS (
  SELECT group_name, pipeline, offer_id, sku_id, min(first_quantity) AS first_quantity, max(unit_price) AS unit_price,
         max(piece_price) AS piece_price, first_value(tier_no ORDER BY unit_price DESC, tier_no) AS tier_no
  FROM candidates
  GROUP BY group_name, pipeline, offer_id, sku_id
),
judged AS (
  SELECT n.*, c.sku_id, c.unit_price, c.tier_no,
         -- The tables have no price per piece where the pack size is not the gateway's.
         CASE WHEN n.pack IS NOT NULL
              THEN coalesce(c.piece_price, CAST(round(CAST(c.unit_price AS DECIMAL(28, 8)) / CAST(n.pack AS DECIMAL(10, 0)), 6)
                                                AS DECIMAL(18, 6))) END AS price_per_piece,
         n.units * n.pack AS pieces_bought,
         greatest(n.moq_pieces, c.first_quantity * n.pack) AS least_pieces,
         CASE WHEN n.status = 'delisted' THEN 'delisted'
              WHEN n.pack IS NULL AND n.pack_source = 'conflict' THEN 'conflict'
              WHEN n.pack IS NULL AND n.moq_status IN ('unknown_unit', 'unknown_pack', 'not_countable', 'conflict')
                THEN n.moq_status
              WHEN n.pack IS NULL AND n.stock_status IN ('unknown_unit', 'unknown_pack', 'not_countable', 'conflict')
                THEN n.stock_status
              WHEN n.pack IS NULL AND n.unit IS NULL THEN 'unknown_unit'
              WHEN n.pack IS NULL THEN 'unknown_pack'
              WHEN c.unit_price IS NULL AND n.ladder_status = 'sku_spread' AND n.status = 'on_sale' THEN 'price_spread'
              WHEN c.unit_price IS NULL THEN 'no_price'
              WHEN n.status <> 'on_sale' THEN n.status
              WHEN n.units * n.pack < greatest(n.moq_pieces, c.first_quantity * n.pack) THEN 'below_moq'
              WHEN n.moq_status NOT IN ('ok', 'missing') THEN 'unknown_moq'
         END AS reason,
         CASE WHEN c.unit_price IS NULL AND n.ladder_status = 'sku_spread'
              THEN CAST(round(CAST(n.price AS DECIMAL(28, 8)) / CAST(n.pack AS DECIMAL(10, 0)), 6) AS DECIMAL(18, 6))
         END AS price_from,
         CASE WHEN c.unit_price IS NULL AND n.ladder_status = 'sku_spread'
              THEN CAST(round(CAST(n.price_max AS DECIMAL(28, 8)) / CAST(n.pack AS DECIMAL(10, 0)), 6) AS DECIMAL(18, 6))
         END AS price_to
  FROM packed AS n
  LEFT JOIN chosen AS c ON c.group_name = n.group_name AND c.pipeline = n.pipeline AND c.offer_id = n.offer_id
  LEFT ANTI JOIN {day}.superseded AS s ON s.pipeline = n.pipeline AND s.offer_id = n.offer_id
)
