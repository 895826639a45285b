-- price_at(pieces [, dt]): what each offer costs when at least that many pieces are needed, as of the last published day
-- of each pipeline (or of the last one published for `dt` or earlier). One row per offer, and one per SKU with a ladder
-- of its own; where several pipelines hold an offer, the one that fetched it last counts.
-- Columns:
--   units, pieces_bought  what has to be bought: ceil(pieces / pieces_per_unit) sale units
--   unit_price            per sale unit: of the step with the greatest start that the units reach; of several steps with
--                         that start, or where an earlier step's stated range covers the units too, the dearest
--   price_per_piece       that step's piece price
--   total                 units x unit_price; null where it cannot be bought so
--   buyable               false below the minimum: then unit_price is the price at the minimum
--   moq_pieces            the least that can be bought: the greater of the stated minimum and the first step
--   reason                null if buyable; else `below_moq`, `off_sale`, `delisted`, `no_price` (no step at all), or why
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
-- Structs compare field by field, so `max` takes the greatest start and of several the dearest; `-tier_no`: the first.
ladders AS (
  SELECT pipeline, offer_id, sku_id,
         min(min_quantity) AS first_quantity,
         max(named_struct('start', min_quantity, 'price', unit_price, 'no', -tier_no, 'piece_price', piece_price))
           FILTER (WHERE min_quantity <= priced_units) AS reached,
         max(named_struct('price', unit_price, 'no', -tier_no, 'piece_price', piece_price))
           FILTER (WHERE min_quantity <= priced_units AND max_quantity >= priced_units) AS covering,
         max(named_struct('start', -min_quantity, 'price', unit_price, 'no', -tier_no, 'piece_price', piece_price))
           AS opening
  FROM steps
  GROUP BY pipeline, offer_id, sku_id
),
chosen AS (
  SELECT pipeline, offer_id, sku_id, first_quantity,
         CASE WHEN reached IS NULL THEN opening['price']
              WHEN covering['price'] > reached['price'] THEN covering['price'] ELSE reached['price'] END AS unit_price,
         CASE WHEN reached IS NULL THEN opening['piece_price']
              WHEN covering['price'] > reached['price'] THEN covering['piece_price']
              ELSE reached['piece_price'] END AS piece_price,
         -CASE WHEN reached IS NULL THEN opening['no']
               WHEN covering['price'] > reached['price'] THEN covering['no'] ELSE reached['no'] END AS tier_no
  FROM ladders
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
       reason IS NULL AS buyable,
       least_pieces AS moq_pieces, ladder_status, reason, detail_url
FROM judged
