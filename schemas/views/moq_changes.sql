-- moq_changes: offers whose minimum order quantity differs from the day before (the previous published day of that
-- pipeline).
-- Columns: `kind` = `raised` · `lowered` (by pieces, else by sale units of one unit) · `changed` where the two do not
-- compare (a value is unknown, or the unit is another). `*_quantity` is in sale units.
-- Example: SELECT shop_name, title, old_moq_pieces, new_moq_pieces FROM moq_changes WHERE kind = 'lowered'
SELECT n.dt, n.pipeline, o.previous_dt, n.shop_id, n.shop_name, n.offer_id, n.title,
       CASE WHEN n.moq_pieces > o.moq_pieces THEN 'raised'
            WHEN n.moq_pieces < o.moq_pieces THEN 'lowered'
            WHEN n.unit = o.unit AND n.moq_quantity > o.moq_quantity THEN 'raised'
            WHEN n.unit = o.unit AND n.moq_quantity < o.moq_quantity THEN 'lowered'
            ELSE 'changed' END AS kind,
       o.moq_quantity AS old_moq_quantity, n.moq_quantity AS new_moq_quantity,
       o.moq_pieces AS old_moq_pieces, n.moq_pieces AS new_moq_pieces,
       o.unit AS old_unit, n.unit AS new_unit, o.moq_raw AS old_moq_raw, n.moq_raw AS new_moq_raw
FROM offers AS n
JOIN before.offers AS o ON o.dt = n.dt AND o.pipeline = n.pipeline AND o.offer_id = n.offer_id
WHERE n.status <> 'delisted' AND o.status <> 'delisted'
  AND ((n.moq_pieces IS DISTINCT FROM o.moq_pieces) OR (n.moq_quantity IS DISTINCT FROM o.moq_quantity))
