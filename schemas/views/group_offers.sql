-- group_offers: the offers that compete: one row per group and offer of `latest_offers` that belongs to it, by the groups
-- file that was loaded last (`huopan groups load FILE`). Empty before one is loaded.
-- Columns: `is_ours` = a line of the file says so; `quantity` = the pieces that prices are asked for in this group;
-- `pack_size` = pieces in one sale unit, as the file says, for offers whose gateway does not.
-- Example: SELECT group_name, shop_name, title, price, unit FROM group_offers WHERE NOT is_ours
SELECT m['group_name'] AS group_name, m['is_ours'] AS is_ours, m['quantity'] AS quantity, m['pack_size'] AS pack_size,
       dt, pipeline, shop_id, shop_name, offer_id, title, status, price, price_max, currency, unit, pieces_per_unit,
       pack_source, moq_quantity, moq_pieces, moq_status, stock_pieces, stock_status, min_piece_price, max_piece_price, ladder_status,
       image_url, detail_url, observed_dt
FROM (
  SELECT unnest(offer_groups(shop_id, offer_id, title)) AS m, *
  FROM latest_offers
  WHERE offer_groups(shop_id, offer_id, title) IS NOT NULL
)
