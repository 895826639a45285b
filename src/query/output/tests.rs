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
    let layout = Layout { rows_max: 2, cell_width_max: 8, ..Layout::default() };
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

#[tokio::test]
async fn expanded_rows_show_whole_values_one_below_the_other() {
    let layout = Layout { cell_width_max: 8, shape: Shape::Expanded, ..Layout::default() };
    let sql = "SELECT 7 AS offer_id, '一二三四五六七八' AS 标题 UNION ALL SELECT 8, NULL ORDER BY 1";
    let (text, _) = written(sql, Format::Table, layout).await;
    let expected = "\
─ row 1 ─┬─
offer_id │ 7
标题     │ 一二三四五六七八
─ row 2 ─┬─
offer_id │ 8
标题     │ 
2 rows
";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn widths_are_those_of_the_terminal() {
    let sql = "SELECT v FROM (VALUES ('é'), ('e\u{301}'), ('👩‍🚀'), ('a\u{202e}b')) AS t(v)";
    let (text, _) = written(sql, Format::Table, Layout::default()).await;
    let expected = "┌─────┐\n│ v   │\n├─────┤\n│ é   │\n│ e\u{301}   │\n│ 👩‍🚀  │\n│ a b │\n└─────┘\n4 rows\n";
    assert_eq!(text, expected);
}

async fn styled(sql: &str, style: Style) -> Vec<u8> {
    let session = Lake::new().session();
    let mut bytes = Vec::new();
    let _ = write_as(session.sql(sql).await.unwrap(), style, &mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn a_csv_for_excel_starts_with_its_mark_and_may_have_chinese_labels() {
    let style = Style { format: Format::Csv, labels: Labels::Chinese, mark: Mark::ByteOrder, ..Style::default() };
    let bytes = styled("SELECT 1 AS offer_id, '=1+1' AS title", style).await;
    assert_eq!(String::from_utf8(bytes).unwrap(), "\u{feff}商品编号,标题\n1,=1+1\n");
}

#[tokio::test]
async fn parquet_and_arrow_hold_the_rows_with_their_types() {
    let sql = "SELECT offer_id, title, price, dt, fetched_at FROM t".replace("FROM t", &format!("FROM ({ROWS})"));
    let expected = {
        let session = Lake::new().session();
        let batches = session.sql(&sql).await.unwrap().collect().await.unwrap();
        arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
    };
    let pretty = |batches: Vec<RecordBatch>| {
        assert_eq!(*batches[0].schema().field(1).data_type(), arrow::datatypes::DataType::Utf8);
        arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
    };
    let style = |format| Style { format, ..Style::default() };
    let bytes = styled(&sql, style(Format::Parquet)).await;
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes::Bytes::from(bytes), 1024);
    assert_eq!(pretty(reader.unwrap().map(Result::unwrap).collect()), expected);
    let bytes = io::Cursor::new(styled(&sql, style(Format::Arrow)).await);
    let reader = arrow::ipc::reader::FileReader::try_new(bytes, None).unwrap();
    assert_eq!(pretty(reader.map(Result::unwrap).collect()), expected);
    let bytes = io::Cursor::new(styled(&sql, style(Format::ArrowStream)).await);
    let reader = arrow::ipc::reader::StreamReader::try_new(bytes, None).unwrap();
    assert_eq!(pretty(reader.map(Result::unwrap).collect()), expected);
}

#[tokio::test]
async fn no_rows_are_a_whole_file_in_every_format() {
    for (name, format) in Format::NAMES {
        let bytes = styled("SELECT 1 AS n WHERE false", Style { format: *format, ..Style::default() }).await;
        assert_eq!(bytes.is_empty(), *format == Format::Jsonl, "{name}");
    }
}

#[test]
fn a_files_name_says_its_format() {
    for (name, expected) in [
        ("a.csv", Some(Format::Csv)),
        ("a.XLSX", Some(Format::Xlsx)),
        ("a.b/rows.parquet", Some(Format::Parquet)),
        ("rows.feather", Some(Format::Arrow)),
        ("rows", None),
        ("rows.xls", None),
        (".csv", None),
    ] {
        assert_eq!(Format::of_file(Path::new(name)), expected, "{name}");
    }
    for (_, format) in Format::ENDINGS {
        assert!(Format::NAMES.contains(&(format.name(), *format)));
    }
}

#[tokio::test]
async fn columns_of_the_same_name_keep_it_for_people_and_are_numbered_for_programs() {
    const TWICE: &str = "SELECT offer_id, o.offer_id, count(*), count(*), 1 AS n, 2 AS n \
                         FROM (VALUES (7)) AS o(offer_id) GROUP BY 1, 2";
    for (format, expected) in [
        (Format::Csv, "offer_id,offer_id,count(*),count(*),n,n\n7,7,1,1,1,2\n"),
        (Format::Jsonl, "{\"offer_id\":7,\"offer_id_2\":7,\"count(*)\":1,\"count(*)_2\":1,\"n\":1,\"n_2\":2}\n"),
    ] {
        assert_eq!(written(TWICE, format, Layout::default()).await.0, expected, "{format:?}");
    }
    // Around a query that somebody else wrote.
    let around = "SELECT * FROM (SELECT offer_id, o.* FROM (VALUES (7)) AS o(offer_id)) AS source LIMIT 5";
    assert_eq!(written(around, Format::Csv, Layout::default()).await.0, "offer_id,offer_id\n7,7\n");
    let stars = "SELECT o.*, 1, o.* FROM (VALUES (7)) AS o(offer_id) ORDER BY offer_id";
    assert_eq!(written(stars, Format::Csv, Layout::default()).await.0, "offer_id,1,offer_id\n7,1,7\n");
    let session = Lake::new().session();
    let refused = session.sql("SELECT x.n FROM (SELECT 1 AS n, 2 AS n) AS x").await;
    assert!(refused.is_err(), "which of the two is not said");
}

#[tokio::test]
async fn columns_without_a_name_are_called_as_they_are_written() {
    const SQL: &str = "SELECT 1, count(1), COUNT(*), sum(n), max(n) * 1.5, max(n)::text, max(o.n)::int AS m \
                       FROM (VALUES (7)) AS o(n) ORDER BY count(1)";
    for (format, expected) in [
        (Format::Csv, "1,count(1),count(*),sum(n),max(n) * 1.5,max(n)::TEXT,m\n1,1,1,7,10.5,7,7\n"),
        (
            Format::Jsonl,
            "{\"1\":1,\"count(1)\":1,\"count(*)\":1,\"sum(n)\":7,\"max(n) * 1.5\":10.5,\"max(n)::TEXT\":\"7\",\"m\":7}\n",
        ),
    ] {
        assert_eq!(written(SQL, format, Layout::default()).await.0, expected, "{format:?}");
    }
    for (sql, expected) in [
        ("SELECT 1 UNION ALL SELECT 2 ORDER BY 1", "1\n1\n2\n"),
        ("SELECT o.n::text, CAST((n) AS INT), *, n + 1 FROM (VALUES (7)) AS o(n)", "n,n,n,n + 1\n7,7,7,8\n"),
        // Queries around know them by these names, too.
        (
            "WITH x AS (SELECT sum(n), 1 FROM (VALUES (7), (8)) AS o(n)) SELECT x.\"sum(n)\", * FROM x",
            "sum(n),sum(n),1\n15,15,1\n",
        ),
        (
            "SELECT * FROM (SELECT n * 2, count(1) FROM (VALUES (7)) AS o(n) GROUP BY n * 2 ORDER BY n * 2) AS x",
            "n * 2,count(1)\n14,1\n",
        ),
    ] {
        assert_eq!(written(sql, Format::Csv, Layout::default()).await.0, expected, "{sql}");
    }
    let explained = written("EXPLAIN FORMAT INDENT SELECT 1", Format::Csv, Layout::default()).await.0;
    assert!(explained.starts_with("plan_type,plan\n"), "{explained}");
}
