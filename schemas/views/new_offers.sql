-- new_offers: offers that a shop did not have on the day before (the previous published day of that pipeline).
-- Columns: as in `offers`; `previous_dt` is the day before. Only shops that are complete on both days count: a shop that
-- was not watched, or not seen in full, proves nothing. An offer that comes back after a delisting is new again.
-- Example: SELECT shop_name, offer_id, title, price, unit FROM new_offers WHERE dt = (SELECT max(dt) FROM shops)
SELECT o.dt, o.pipeline, b.previous_dt, o.shop_id, o.shop_name, o.offer_id, o.title, o.price, o.currency, o.unit,
       o.pieces_per_unit, o.moq_quantity, o.moq_pieces, o.min_piece_price, o.max_piece_price, o.created_at, o.detail_url
FROM offers AS o
JOIN shops AS s ON s.dt = o.dt AND s.pipeline = o.pipeline AND s.shop_id = o.shop_id
JOIN before.shops AS b ON b.dt = o.dt AND b.pipeline = o.pipeline AND b.shop_id = o.shop_id
LEFT ANTI JOIN (SELECT dt, pipeline, offer_id FROM before.offers WHERE status <> 'delisted') AS old
  ON old.dt = o.dt AND old.pipeline = o.pipeline AND old.offer_id = o.offer_id
WHERE o.status <> 'delisted' AND s.is_complete AND b.is_complete
