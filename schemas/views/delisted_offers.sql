-- delisted_offers: offers of the day before (the previous published day of that pipeline) that are gone: one row on the
-- first day without them.
-- Columns: `last_*` = as last published. Gone is what a complete listing of the whole shop lacks, or what the gateway
-- says is delisted: its row says `delisted`. An incomplete shop never loses an offer, nor does one that is no longer
-- watched or only searched; what left a search may be in the shop.
-- Example: SELECT dt, shop_name, offer_id, title, last_price FROM delisted_offers WHERE dt = (SELECT max(dt) FROM shops)
SELECT o.dt, o.pipeline, o.previous_dt, o.shop_id, o.shop_name, o.offer_id, o.title,
       o.price AS last_price, o.currency, o.unit, o.min_piece_price AS last_min_piece_price,
       o.moq_pieces AS last_moq_pieces, o.stock_pieces AS last_stock_pieces, o.observed_dt AS last_observed_dt,
       o.detail_url
FROM before.offers AS o
LEFT ANTI JOIN (SELECT dt, pipeline, offer_id FROM offers WHERE status <> 'delisted') AS n
  ON n.dt = o.dt AND n.pipeline = o.pipeline AND n.offer_id = o.offer_id
JOIN (SELECT dt, pipeline, offer_id FROM offers WHERE status = 'delisted') AS d
  ON d.dt = o.dt AND d.pipeline = o.pipeline AND d.offer_id = o.offer_id
LEFT JOIN shops AS s ON s.dt = o.dt AND s.pipeline = o.pipeline AND s.shop_id = o.shop_id
WHERE o.status <> 'delisted'
  AND (s.is_complete OR s.is_complete IS NULL)
