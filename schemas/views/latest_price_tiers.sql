-- latest_price_tiers: the price ladders of `latest_offers`: one row per step.
-- Columns: those of `price_tiers`; `dt` is that day. Where several pipelines hold an offer, the one that fetched it last counts.
-- Example: SELECT offer_id, min_pieces, piece_price FROM latest_price_tiers WHERE offer_id = 661423517640
SELECT t.*
FROM latest.price_tiers AS t
LEFT ANTI JOIN latest.superseded AS s ON s.pipeline = t.pipeline AND s.offer_id = t.offer_id
