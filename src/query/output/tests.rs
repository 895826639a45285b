use super::*;

use crate::query::fixture::Lake;

const ROWS: &str = "
SELECT * FROM (VALUES
  (610947572360, '马克杯 300ml, \"骨瓷\"', CAST('12.50' AS DECIMAL(18,4)), DATE '2026-11-20',
   arrow_cast(TIMESTAMP '2026-11-20T01:02:03.5', 'Timestamp(Microsecond, Some(\"UTC\"))'), true),
  (7, NULL, NULL, NULL, NULL, NULL),
  (8, 'a|b\nc', CAST('99999999999999.9999' AS DECIMAL(18,4)), DATE '2026-01-02',
   arrow_cast(TIMESTAMP '2026-11-20T01:02:03', 'Timestamp(Microsecond, Some(\"UTC\"))'), false)
) AS t(offer_id, title, price, dt, fetched_at, is_complete)";

async fn written(sql: &str, format: Format, layout: Layout) -> (String, Written) {
    let session = Lake::new().session();
    let mut bytes = Vec::new();
    let written = write(session.sql(sql).await.unwrap(), format, layout, &mut bytes).await.unwrap();
    (String::from_utf8(bytes).unwrap(), written)
}

async fn check(format: Format, expected: &str) {
    let (text, written) = written(ROWS, format, Layout::default()).await;
    assert_eq!(text, expected);
    assert_eq!(written, Written { rows: 3, end: End::Complete });
}

#[tokio::test]
async fn a_table_aligns_chinese_by_display_width() {
    let expected = "\
┌──────────────┬──────────────────────┬─────────────────────┬────────────┬──────────────────────────┬─────────────┐
│     offer_id │ title                │               price │ dt         │ fetched_at               │ is_complete │
├──────────────┼──────────────────────┼─────────────────────┼────────────┼──────────────────────────┼─────────────┤
│ 610947572360 │ 马克杯 300ml, \"骨瓷\" │             12.5000 │ 2026-11-20 │ 2026-11-20T01:02:03.500Z │ true        │
│            7 │                      │                     │            │                          │             │
│            8 │ a|b c                │ 99999999999999.9999 │ 2026-01-02 │ 2026-11-20T01:02:03Z     │ false       │
└──────────────┴──────────────────────┴─────────────────────┴────────────┴──────────────────────────┴─────────────┘
3 rows
";
    check(Format::Table, expected).await;
}

#[tokio::test]
async fn a_table_shortens_long_cells_and_says_when_it_stops() {
    let layout = Layout { rows_max: 2, cell_width_max: 8 };
    let sql = "SELECT v AS 标题 FROM (VALUES ('一二三四五'), ('abcdefgh'), ('x')) AS t(v)";
    let (text, written) = written(sql, Format::Table, layout).await;
    let expected = "\
┌──────────┐
│ 标题     │
├──────────┤
│ 一二三…  │
│ abcdefgh │
└──────────┘
the first 2 rows; there are more (other formats give all)
";
    assert_eq!(text, expected);
    assert_eq!(written, Written { rows: 2, end: End::RowLimit });
}

#[tokio::test]
async fn a_title_cannot_send_control_sequences_to_the_terminal() {
    let (text, _) = written("SELECT chr(27) || '[31mred' AS t", Format::Table, Layout::default()).await;
    assert!(text.contains("│  [31mred │"), "{text}");
}

#[tokio::test]
async fn csv_quotes_what_rfc_4180_says() {
    let expected = "\
offer_id,title,price,dt,fetched_at,is_complete
610947572360,\"马克杯 300ml, \"\"骨瓷\"\"\",12.5000,2026-11-20,2026-11-20T01:02:03.500Z,true
7,,,,,
8,\"a|b\nc\",99999999999999.9999,2026-01-02,2026-11-20T01:02:03Z,false
";
    check(Format::Csv, expected).await;
}

#[tokio::test]
async fn a_lone_null_is_still_a_csv_record() {
    let (text, _) = written("SELECT NULL AS n", Format::Csv, Layout::default()).await;
    assert_eq!(text, "n\n\"\"\n");
}

#[tokio::test]
async fn json_numbers_are_exact_and_nulls_are_said() {
    let expected = r#"[
{"offer_id":610947572360,"title":"马克杯 300ml, \"骨瓷\"","price":12.5000,"dt":"2026-11-20","fetched_at":"2026-11-20T01:02:03.500Z","is_complete":true},
{"offer_id":7,"title":null,"price":null,"dt":null,"fetched_at":null,"is_complete":null},
{"offer_id":8,"title":"a|b\nc","price":99999999999999.9999,"dt":"2026-01-02","fetched_at":"2026-11-20T01:02:03Z","is_complete":false}
]
"#;
    check(Format::Json, expected).await;
}

#[tokio::test]
async fn json_lines_are_the_same_objects() {
    let (text, _) = written(ROWS, Format::Jsonl, Layout::default()).await;
    assert_eq!(text.lines().count(), 3);
    assert!(text.lines().nth(1).unwrap().starts_with(r#"{"offer_id":7,"title":null"#));
}

#[tokio::test]
async fn no_rows_are_an_empty_array_and_a_header() {
    const NONE: &str = "SELECT 1 AS n WHERE false";
    assert_eq!(written(NONE, Format::Json, Layout::default()).await.0, "[]\n");
    assert_eq!(written(NONE, Format::Jsonl, Layout::default()).await.0, "");
    assert_eq!(written(NONE, Format::Csv, Layout::default()).await.0, "n\n");
}

#[tokio::test]
async fn markdown_escapes_pipes_and_line_breaks() {
    let expected = "\
| offer_id | title | price | dt | fetched_at | is_complete |
|---:|---|---:|---|---|---|
| 610947572360 | 马克杯 300ml, \"骨瓷\" | 12.5000 | 2026-11-20 | 2026-11-20T01:02:03.500Z | true |
| 7 |  |  |  |  |  |
| 8 | a\\|b<br>c | 99999999999999.9999 | 2026-01-02 | 2026-11-20T01:02:03Z | false |
";
    check(Format::Markdown, expected).await;
}

#[tokio::test]
async fn a_reader_that_leaves_is_no_failure() {
    struct Gone;
    impl io::Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let session = Lake::new().session();
    let answer = session.sql("SELECT 1").await.unwrap();
    let written = write(answer, Format::Csv, Layout::default(), &mut Gone).await.unwrap();
    assert_eq!(written.end, End::ReaderGone);
}
