-- competitor_position([pieces]): who is cheapest in each group, as of the last published day: one row per group and offer,
-- and one per SKU with a ladder of its own, priced as `price_at` does. Without `pieces` each group is asked for its own
-- quantity (column `quantity` of the groups file).
-- Columns:
--   position              1 = the cheapest that can be bought so, by price per piece, among offers of one currency;
--                         equal prices share a place; null where it cannot be bought so
--   quantity              the pieces asked for
--   cheapest              the price per piece of position 1
--   gap, gap_pct          what a piece costs more than that, in money and in percent of it
--   pieces_per_unit       as the gateway states it, else the group's `pack_size`
--   reason                as in `price_at`; `no_quantity`: neither the call nor the group says how many pieces
--   all others            as in `price_at`
-- Example: SELECT group_name, position, shop_name, price_per_piece, gap_pct FROM competitor_position(500) WHERE position <= 3
WITH needs AS (
  SELECT group_name, is_ours, coalesce({pieces}, quantity) AS pieces, pack_size, dt, pipeline, offer_id, shop_id, shop_name,
         title, status, price, price_max, unit, currency, pieces_per_unit, pack_source, moq_quantity, moq_pieces, moq_status,
         stock_status, ladder_status, detail_url
  FROM group_offers
),
{priced},
priced AS (
  SELECT group_name, is_ours, pieces AS quantity, dt, pipeline, shop_id, shop_name, offer_id, sku_id, title, unit,
         CAST(pack AS INT) AS pieces_per_unit, units, pieces_bought,
         CASE WHEN pack IS NOT NULL THEN unit_price END AS unit_price, price_per_piece,
         CASE WHEN reason IS NULL AND pieces IS NOT NULL THEN CAST(units AS DECIMAL(20, 0)) * unit_price END AS total,
         currency, least_pieces AS moq_pieces, ladder_status, detail_url,
         CASE WHEN reason IS NULL AND pieces IS NULL THEN 'no_quantity' ELSE reason END AS reason, price_from, price_to
  FROM judged
),
compared AS (
  SELECT *, min(price_per_piece) FILTER (WHERE reason IS NULL) OVER (PARTITION BY group_name, currency) AS cheapest,
         rank() OVER (PARTITION BY group_name, currency, reason IS NULL ORDER BY price_per_piece) AS place
  FROM priced
)
SELECT group_name, CASE WHEN reason IS NULL THEN place END AS position, is_ours, quantity, dt, pipeline, shop_id, shop_name,
       offer_id, sku_id, title, unit, pieces_per_unit, units, pieces_bought, unit_price, price_per_piece, total, currency,
       cheapest, CASE WHEN reason IS NULL THEN price_per_piece - cheapest END AS gap,
       CASE WHEN reason IS NULL
            THEN CAST((price_per_piece - cheapest) * 100 / nullif(cheapest, 0) AS DECIMAL(24, 2)) END AS gap_pct,
       moq_pieces, CASE WHEN reason IN ('unknown_moq', 'price_spread', 'no_quantity') THEN NULL ELSE reason IS NULL END AS buyable,
       reason, price_from, price_to, ladder_status, detail_url
FROM compared
