-- price_changes: what changed in the price ladders between a day and the day before (the previous published day of that
-- pipeline). One row per (dt, pipeline, offer_id, sku_id, min_quantity); sku_id null = the ladder of the whole offer.
-- Columns: `kind` = `changed` (same step, other price) · `new_tier` · `gone_tier` · `unit_changed` (the offer is sold in
-- another unit, pack or currency, so no step compares: all its steps are listed). Prices are per sale unit, piece prices
-- per piece; of several steps with one start the dearest counts. `change_pct` is of the price per sale unit, and of the
-- piece price where the unit changed.
-- Only offers on sale on both days; an incomplete shop gives no `new_tier` and no `gone_tier`.
-- Example: SELECT * FROM price_changes WHERE dt = (SELECT max(dt) FROM shops) AND change_pct < -5 ORDER BY change_pct
WITH sides AS (
  SELECT dt, pipeline, offer_id, sku_id, min_quantity,
         CAST(NULL AS DECIMAL(18, 4)) AS old_price, unit_price AS new_price,
         CAST(NULL AS DECIMAL(18, 6)) AS old_piece_price, piece_price AS new_piece_price
  FROM price_tiers
  UNION ALL
  SELECT dt, pipeline, offer_id, sku_id, min_quantity, unit_price, NULL, piece_price, NULL
  FROM before.price_tiers
),
steps AS (
  SELECT dt, pipeline, offer_id, sku_id, min_quantity,
         max(old_price) AS old_price, max(new_price) AS new_price,
         max(old_piece_price) AS old_piece_price, max(new_piece_price) AS new_piece_price
  FROM sides
  GROUP BY dt, pipeline, offer_id, sku_id, min_quantity
),
both_days AS (
  SELECT n.dt, n.pipeline, o.previous_dt, n.offer_id, n.shop_id, n.shop_name, n.title, n.unit, n.currency,
         (n.unit IS DISTINCT FROM o.unit)
           OR (n.currency IS DISTINCT FROM o.currency)
           OR coalesce(n.pieces_per_unit <> o.pieces_per_unit, false) AS is_other_unit
  FROM offers AS n
  JOIN before.offers AS o ON o.dt = n.dt AND o.pipeline = n.pipeline AND o.offer_id = n.offer_id
  WHERE n.status <> 'delisted' AND o.status <> 'delisted'
),
incomplete AS (
  SELECT dt, pipeline, shop_id FROM shops WHERE NOT is_complete
  UNION
  SELECT dt, pipeline, shop_id FROM before.shops WHERE NOT is_complete
)
SELECT b.dt, b.pipeline, b.previous_dt, b.shop_id, b.shop_name, b.offer_id, s.sku_id, b.title, s.min_quantity,
       CASE WHEN b.is_other_unit THEN 'unit_changed'
            WHEN s.old_price IS NULL THEN 'new_tier'
            WHEN s.new_price IS NULL THEN 'gone_tier'
            ELSE 'changed' END AS kind,
       s.old_price, s.new_price, s.old_piece_price, s.new_piece_price,
       CASE WHEN b.is_other_unit
            THEN CAST((s.new_piece_price - s.old_piece_price) * 100 / nullif(s.old_piece_price, 0) AS DECIMAL(24, 4))
            ELSE CAST((s.new_price - s.old_price) * 100 / nullif(s.old_price, 0) AS DECIMAL(24, 4))
       END AS change_pct,
       b.unit, b.currency
FROM both_days AS b
JOIN steps AS s ON s.dt = b.dt AND s.pipeline = b.pipeline AND s.offer_id = b.offer_id
LEFT JOIN incomplete AS i ON i.dt = b.dt AND i.pipeline = b.pipeline AND i.shop_id = b.shop_id
WHERE (b.is_other_unit OR (s.old_price IS DISTINCT FROM s.new_price))
  AND (i.shop_id IS NULL OR (s.old_price IS NOT NULL AND s.new_price IS NOT NULL))
