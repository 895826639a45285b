-- stock_outs: offers and SKUs that ran out: nothing in stock, but some on the day before (the previous published day of
-- that pipeline).
-- Columns: `sku_id` null = the whole offer; `old_stock_pieces` null = "plenty" was stated the day before.
-- Example: SELECT shop_name, title, sku_id, spec FROM stock_outs WHERE dt = (SELECT max(dt) FROM shops)
SELECT n.dt, n.pipeline, o.previous_dt, n.shop_id, n.shop_name, n.offer_id, CAST(NULL AS BIGINT) AS sku_id, n.title,
       CAST(NULL AS VARCHAR) AS spec, o.stock_pieces AS old_stock_pieces, n.stock_pieces AS new_stock_pieces
FROM offers AS n
JOIN before.offers AS o ON o.dt = n.dt AND o.pipeline = n.pipeline AND o.offer_id = n.offer_id
WHERE n.status <> 'delisted' AND n.stock_pieces = 0
  AND (o.stock_pieces > 0 OR o.stock_status = 'unlimited')
UNION ALL
SELECT n.dt, n.pipeline, o.previous_dt, n.shop_id, f.shop_name, n.offer_id, n.sku_id, f.title,
       n.spec, o.stock_pieces, n.stock_pieces
FROM skus AS n
JOIN before.skus AS o
  ON o.dt = n.dt AND o.pipeline = n.pipeline AND o.offer_id = n.offer_id AND o.sku_id = n.sku_id
JOIN offers AS f ON f.dt = n.dt AND f.pipeline = n.pipeline AND f.offer_id = n.offer_id
WHERE f.status <> 'delisted' AND n.stock_pieces = 0
  AND (o.stock_pieces > 0 OR o.stock_status = 'unlimited')
