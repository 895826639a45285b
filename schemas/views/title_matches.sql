-- title_matches(keywords): the offers of `latest_offers` whose title has one of many keywords, found in one pass: one row
-- per keyword and offer. Keywords stand between commas (`,` `，` `、` `;` or line ends); case and width make no difference.
-- Columns: `keyword` as it was asked for, then those of `latest_offers`.
-- Example: SELECT keyword, count(*) AS offers, min(min_piece_price) FROM title_matches('保温杯, 玻璃杯, 剪刀') GROUP BY keyword
SELECT unnest(title_matches(title, {keywords})) AS keyword, *
FROM latest_offers
WHERE title_matches(title, {keywords}) IS NOT NULL
