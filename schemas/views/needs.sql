-- needs: what `price_at` and `price_moves` ask prices for, in the place of `{needs}`: every offer of a day, at one quantity.
-- Not a view of its own: `priced` follows on it. `{day}` is a schema that shows one day per pipeline.
SELECT '' AS group_name, {pieces} AS pieces, CAST(NULL AS INT) AS pack_size, dt, pipeline, offer_id, shop_id, shop_name,
       title, status, price, price_max, unit, currency, pieces_per_unit, pack_source, moq_quantity, moq_pieces, moq_status,
       stock_status, ladder_status, detail_url
FROM {day}.offers
