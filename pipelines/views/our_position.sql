-- our_position: where our own offers stand in each group at the group's quantity, and how far from the cheapest.
-- A file in this folder is a view, named as the file; groups and what is ours: `huopan groups load FILE`.
-- Example: SELECT * FROM our_position WHERE position > 1 ORDER BY gap_pct DESC
SELECT group_name, position, shop_name, title, quantity, price_per_piece, cheapest, gap, gap_pct, reason
FROM competitor_position()
WHERE is_ours
