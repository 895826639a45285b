-- price_at(pieces [, dt]): what each offer costs when at least that many pieces are needed, as of the last published day
-- of each pipeline (or of the last one published for `dt` or earlier). One row per offer, and one per SKU with a ladder
-- of its own; where several pipelines hold an offer, the one that fetched it last counts.
-- Columns:
--   units, pieces_bought  what has to be bought: ceil(pieces / pieces_per_unit) sale units
--   unit_price            per sale unit: of the step with the greatest start that the units reach; of several steps with
--                         that start, or where an earlier step's stated range covers the units too, the dearest
--   price_per_piece       that step's piece price
--   total                 units x unit_price; null where it cannot be bought so
--   buyable               false below the minimum: then unit_price is the price at the minimum;
--                         null where a minimum is stated that cannot be read as pieces (`unknown_moq`)
--   moq_pieces            the least that can be bought: the greater of the stated minimum and the first step
--   reason                null if buyable; else `below_moq`, `off_sale`, `delisted`, `no_price` (no step at all), `unknown_moq`, or why
--                         pieces are not known (then all figures are null): `unknown_unit`, `unknown_pack`,
--                         `not_countable`, `conflict`
-- Example: SELECT shop_name, title, price_per_piece, total FROM price_at(500) WHERE buyable ORDER BY price_per_piece
WITH needs AS (
  SELECT dt, pipeline, offer_id, shop_id, shop_name, title, status, unit, currency, pack_source, moq_status,
         stock_status, ladder_status, detail_url,
         CAST(nullif(pieces_per_unit, 0) AS BIGINT) AS pack,
         ({pieces} + CAST(nullif(pieces_per_unit, 0) AS BIGINT) - 1) / CAST(nullif(pieces_per_unit, 0) AS BIGINT) AS units,
         coalesce(moq_pieces, moq_quantity * CAST(pieces_per_unit AS BIGINT)) AS moq_pieces
  FROM {day}.offers
),
-- The quantity whose price is looked up: what is needed, but not less than the minimum.
steps AS (
  SELECT t.pipeline, t.offer_id, t.sku_id, t.min_quantity, t.max_quantity, t.unit_price, t.piece_price, t.tier_no,
         greatest(n.units, (n.moq_pieces + n.pack - 1) / n.pack) AS priced_units
  FROM {day}.price_tiers AS t
  JOIN needs AS n ON n.pipeline = t.pipeline AND n.offer_id = t.offer_id
),
-- Plain maxima and a second look at the steps: `max` of a struct would do in one, but takes minutes in DataFusion 55.
starts AS (
  SELECT pipeline, offer_id, sku_id, min(min_quantity) AS first_quantity,
         max(min_quantity) FILTER (WHERE min_quantity <= priced_units) AS reached_quantity
  FROM steps
  GROUP BY pipeline, offer_id, sku_id
),
-- The steps with the greatest start reached (with the first start if none is), and earlier ones that cover the units too.
candidates AS (
  SELECT t.pipeline, t.offer_id, t.sku_id, s.first_quantity, t.unit_price, t.piece_price, t.tier_no
  FROM steps AS t
  JOIN starts AS s ON (s.pipeline IS NOT DISTINCT FROM t.pipeline) AND (s.offer_id IS NOT DISTINCT FROM t.offer_id)
                  AND (s.sku_id IS NOT DISTINCT FROM t.sku_id)
  WHERE t.min_quantity = coalesce(s.reached_quantity, s.first_quantity)
     OR (t.min_quantity <= t.priced_units AND t.max_quantity >= t.priced_units)
),
chosen AS (
  SELECT pipeline, offer_id, sku_id, min(first_quantity) AS first_quantity, max(unit_price) AS unit_price,
         max(piece_price) AS piece_price, first_value(tier_no ORDER BY unit_price DESC, tier_no) AS tier_no
  FROM candidates
  GROUP BY pipeline, offer_id, sku_id
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
  LEFT JOIN chosen AS c ON c.pipeline = n.pipeline AND c.offer_id = n.offer_id
  LEFT ANTI JOIN {day}.superseded AS s ON s.pipeline = n.pipeline AND s.offer_id = n.offer_id
)
SELECT dt, pipeline, shop_id, shop_name, offer_id, sku_id, title, unit, CAST(pack AS INT) AS pieces_per_unit,
       units, pieces_bought,
       CASE WHEN pack IS NOT NULL THEN unit_price END AS unit_price,
       CASE WHEN reason IS NULL THEN CAST(units AS DECIMAL(20, 0)) * unit_price END AS total,
       CASE WHEN pack IS NOT NULL THEN piece_price END AS price_per_piece,
       currency,
       CASE WHEN pack IS NOT NULL THEN tier_no END AS tier_no,
       CASE WHEN reason = 'unknown_moq' THEN NULL ELSE reason IS NULL END AS buyable,
       least_pieces AS moq_pieces, ladder_status, reason, detail_url
FROM judged
