-- latest_skus: the SKUs of `latest_offers`: one row per SKU.
-- Columns: those of `skus`; `dt` is that day. Where several pipelines hold an offer, the one that fetched it last counts.
-- Example: SELECT sku_id, spec, price, stock_pieces FROM latest_skus WHERE offer_id = 661423517640
SELECT t.*
FROM latest.skus AS t
LEFT ANTI JOIN latest.superseded AS s ON s.pipeline = t.pipeline AND s.offer_id = t.offer_id
