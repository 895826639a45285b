-- price_moves(pieces [, dt]): what costs more or less than the day before when that many pieces are needed: of each offer
-- (and of each SKU with a ladder of its own) the price that `price_at` gives for the newest published day (or for `dt`),
-- beside the price by all that was published for earlier days. Offers that cost the same are left out, and offers that
-- were not there before: `new_offers` has these.
-- Columns:
--   dt, pipeline          the row that counts today; `previous_dt` is the day of the row that it is compared with
--   kind                  `cut` · `raise` · `gone` (it could be bought so, and cannot any more: `reason` says why) · `back`
--                         (now it can: `old_reason` says what was in the way) · `currency` (its prices do not compare)
--   change, change_pct    of the price per piece, in money and in percent; null for all but `cut` and `raise`
--   old_…, new_…          before and now; prices per piece are null where `price_at` has none
-- Example: SELECT shop_name, title, old_price_per_piece, new_price_per_piece, change_pct FROM price_moves(500) ORDER BY change_pct
WITH now AS (
  WITH needs AS (
    {needs}
  ),
  {priced}
  SELECT * FROM judged
),
earlier AS (
  WITH needs AS (
    {needs_earlier}
  ),
  {priced_earlier}
  SELECT dt, offer_id, sku_id, currency, price_per_piece, reason FROM judged
),
compared AS (
  SELECT n.dt, n.pipeline, e.dt AS previous_dt, n.shop_id, n.shop_name, n.offer_id, n.sku_id, n.title, n.unit,
         CAST(n.pack AS INT) AS pieces_per_unit,
         e.price_per_piece AS old_price_per_piece, n.price_per_piece AS new_price_per_piece,
         CASE WHEN n.is_priced AND e.is_priced AND n.currency = e.currency THEN
                CASE WHEN n.price_per_piece < e.price_per_piece THEN 'cut'
                     WHEN n.price_per_piece > e.price_per_piece THEN 'raise' END
              WHEN n.is_priced AND e.is_priced THEN 'currency'
              WHEN e.is_priced THEN 'gone'
              WHEN n.is_priced THEN 'back' END AS kind,
         n.currency, e.reason AS old_reason, n.reason, n.detail_url
  FROM (SELECT *, coalesce(reason, 'unknown_moq') = 'unknown_moq' AS is_priced FROM now) AS n
  JOIN (SELECT *, coalesce(reason, 'unknown_moq') = 'unknown_moq' AS is_priced FROM earlier) AS e
    ON e.offer_id = n.offer_id AND coalesce(e.sku_id, -1) = coalesce(n.sku_id, -1)
  WHERE e.dt < n.dt
)
SELECT dt, pipeline, previous_dt, shop_id, shop_name, offer_id, sku_id, title, unit, pieces_per_unit, kind,
       old_price_per_piece, new_price_per_piece,
       CASE WHEN kind IN ('cut', 'raise') THEN new_price_per_piece - old_price_per_piece END AS change,
       CASE WHEN kind IN ('cut', 'raise')
            THEN CAST((new_price_per_piece - old_price_per_piece) * 100 / nullif(old_price_per_piece, 0) AS DECIMAL(24, 4))
       END AS change_pct,
       currency, old_reason, reason, detail_url
FROM compared
WHERE kind IS NOT NULL
