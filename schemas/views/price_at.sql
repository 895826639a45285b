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
--                         null where a minimum is stated that cannot be read as pieces (`unknown_moq`), and for a
--                         `price_spread`
--   moq_pieces            the least that can be bought: the greater of the stated minimum and the first step
--   reason                null if buyable; else `below_moq`, `off_sale`, `delisted`, `unknown_moq`, `no_price` (no step at
--                         all), `price_spread` (SKUs have prices of their own that are not known one by one), or why
--                         pieces are not known (then all figures are null): `unknown_unit`, `unknown_pack`,
--                         `not_countable`, `conflict`
--   price_from, price_to  what is known of a `price_spread`, per piece
-- Example: SELECT shop_name, title, price_per_piece, total FROM price_at(500) WHERE buyable ORDER BY price_per_piece
WITH needs AS (
  {needs}
),
{priced}
SELECT dt, pipeline, shop_id, shop_name, offer_id, sku_id, title, unit, CAST(pack AS INT) AS pieces_per_unit,
       units, pieces_bought,
       CASE WHEN pack IS NOT NULL THEN unit_price END AS unit_price,
       CASE WHEN reason IS NULL THEN CAST(units AS DECIMAL(20, 0)) * unit_price END AS total,
       price_per_piece,
       currency,
       CASE WHEN pack IS NOT NULL THEN tier_no END AS tier_no,
       CASE WHEN reason IN ('unknown_moq', 'price_spread') THEN NULL ELSE reason IS NULL END AS buyable,
       least_pieces AS moq_pieces, ladder_status, reason, price_from, price_to, detail_url
FROM judged
