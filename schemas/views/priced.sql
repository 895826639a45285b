-- priced: the common part of `price_at` and `competitor_position`. Not a view of its own: it follows on a list `needs`, one
-- row per group and offer, with how many pieces are needed and what one sale unit holds, and gives `judged`: what that
-- costs, offer by offer and SKU by SKU with a ladder of its own. `{day}` is a schema that shows one day per pipeline.
-- The quantity whose price is looked up: what is needed, but not less than the minimum.
steps AS (
  SELECT n.group_name, t.pipeline, t.offer_id, t.sku_id, t.min_quantity, t.max_quantity, t.unit_price, t.piece_price,
         t.tier_no,
         greatest(n.units, (n.moq_pieces + n.pack - 1) / n.pack) AS priced_units
  FROM {day}.price_tiers AS t
  JOIN needs AS n ON n.pipeline = t.pipeline AND n.offer_id = t.offer_id
),
-- Plain maxima and a second look at the steps: `max` of a struct would do in one, but takes minutes in DataFusion 55.
starts AS (
  SELECT group_name, pipeline, offer_id, sku_id, min(min_quantity) AS first_quantity,
         max(min_quantity) FILTER (WHERE min_quantity <= priced_units) AS reached_quantity
  FROM steps
  GROUP BY group_name, pipeline, offer_id, sku_id
),
-- The steps with the greatest start reached (with the first start if none is), and earlier ones that cover the units too.
candidates AS (
  SELECT t.group_name, t.pipeline, t.offer_id, t.sku_id, s.first_quantity, t.unit_price, t.piece_price, t.tier_no
  FROM steps AS t
  JOIN starts AS s ON s.group_name = t.group_name AND (s.pipeline IS NOT DISTINCT FROM t.pipeline)
                  AND (s.offer_id IS NOT DISTINCT FROM t.offer_id) AND (s.sku_id IS NOT DISTINCT FROM t.sku_id)
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
  SELECT n.*, c.sku_id, c.unit_price, c.piece_price, c.tier_no,
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
              WHEN c.unit_price IS NULL THEN 'no_price'
              WHEN n.status <> 'on_sale' THEN n.status
              WHEN n.units * n.pack < greatest(n.moq_pieces, c.first_quantity * n.pack) THEN 'below_moq'
              WHEN n.moq_status NOT IN ('ok', 'missing') THEN 'unknown_moq'
         END AS reason
  FROM needs AS n
  LEFT JOIN chosen AS c ON c.group_name = n.group_name AND c.pipeline = n.pipeline AND c.offer_id = n.offer_id
  LEFT ANTI JOIN {day}.superseded AS s ON s.pipeline = n.pipeline AND s.offer_id = n.offer_id
)
