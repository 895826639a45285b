-- price_history(offer_id): every published day of one offer, one row per step of its ladders; a day without steps
-- (delisted, no price) has one row with nulls. Where several pipelines hold the offer, each has its rows.
-- Example: SELECT dt, min_quantity, unit_price FROM price_history(661423517640) ORDER BY dt, tier_no
SELECT o.dt, o.pipeline, o.shop_id, o.shop_name, o.offer_id, t.sku_id, o.title, o.status, o.unit, o.pieces_per_unit,
       o.price, o.promotion_price, t.tier_no, t.min_quantity, t.max_quantity, t.min_pieces, t.max_pieces,
       t.unit_price, t.piece_price, o.currency, o.moq_quantity, o.moq_pieces, o.stock_pieces, o.ladder_status,
       o.observed_dt
FROM history.offers AS o
LEFT JOIN history.price_tiers AS t ON t.dt = o.dt AND t.pipeline = o.pipeline AND t.offer_id = o.offer_id
WHERE o.offer_id = {offer_id}
