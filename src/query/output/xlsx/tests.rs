use std::io::Read as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};

use super::*;
use crate::query::fixture::Lake;
use crate::query::output::{Format as Output, Labels, Style, write_as};

/// A part of a workbook.
fn part(bytes: &[u8], name: &str) -> String {
    let mut archive = zip::ZipArchive::new(io::Cursor::new(bytes)).unwrap();
    let mut text = String::new();
    archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
    text
}

/// The cells of a row: `A2=…`, by type: `n:` number, `b:` boolean, `t:` text.
fn row(bytes: &[u8], sheet: usize, number: usize) -> Vec<String> {
    let xml = part(bytes, &format!("xl/worksheets/sheet{sheet}.xml"));
    let start = xml.find(&format!("<row r=\"{number}\"")).unwrap();
    let xml = &xml[start..start + xml[start..].find("</row>").unwrap()];
    let cells = xml.split("<c ").skip(1).map(|cell| {
        let place = cell.split('"').nth(1).unwrap();
        let between = |open: &str, close: &str| {
            let at = cell.find(open)? + open.len();
            Some(cell[at..at + cell[at..].find(close)?].to_owned())
        };
        if let Some(text) = between("<t>", "</t>") {
            return format!("{place}=t:{text}");
        }
        let kind = if cell.contains("t=\"b\"") { "b" } else { "n" };
        format!("{place}={kind}:{}", between("<v>", "</v>").unwrap())
    });
    cells.collect()
}

async fn book(sql: &str) -> Vec<u8> {
    let session = Lake::new().session();
    let style = Style { format: Output::Xlsx, labels: Labels::Chinese, ..Style::default() };
    let mut bytes = Vec::new();
    let _ = write_as(session.sql(sql).await.unwrap(), style, &mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn ids_are_text_prices_are_numbers_and_dates_are_dates() {
    let bytes = book(
        "SELECT 610947572360 AS offer_id, '马克杯' AS title, CAST('12.50' AS DECIMAL(18,4)) AS price, 5 AS moq_pieces,
           DATE '2026-11-20' AS dt, true AS is_complete, 0.25 AS rate,
           arrow_cast(TIMESTAMP '2026-11-20T12:00:00', 'Timestamp(Microsecond, Some(\"UTC\"))') AS fetched_at",
    )
    .await;
    assert_eq!(row(&bytes, 1, 1)[..4], ["A1=t:商品编号", "B1=t:标题", "C1=t:报价", "D1=t:起订件数"]);
    assert_eq!(
        row(&bytes, 1, 2),
        [
            "A2=t:610947572360",
            "B2=t:马克杯",
            "C2=n:12.5",
            "D2=n:5",
            "E2=n:46346",
            "F2=b:1",
            "G2=n:0.25",
            "H2=n:46346.5",
        ]
    );
    let styles = part(&bytes, "xl/styles.xml");
    for pattern in ["yyyy-mm-dd", "0.00##", "yyyy-mm-dd hh:mm:ss&quot;Z&quot;"] {
        assert!(styles.contains(&format!("formatCode=\"{pattern}\"")), "{pattern}: {styles}");
    }
    let sheet = part(&bytes, "xl/worksheets/sheet1.xml");
    assert!(sheet.contains("<autoFilter ref=\"A1:H2\"/>") && sheet.contains("state=\"frozen\""), "{sheet}");
}

#[tokio::test]
async fn a_number_that_a_cell_cannot_hold_is_text() {
    let bytes = book(
        "SELECT CAST('99999999999999.9999' AS DECIMAL(18,4)) AS price, 9007199254740993 AS n, 999999999999999 AS m,
           DATE '1900-02-28' AS dt, CAST('0.0001' AS DECIMAL(18,4)) AS p, NULL AS none",
    )
    .await;
    assert_eq!(
        row(&bytes, 1, 2),
        ["A2=t:99999999999999.9999", "B2=t:9007199254740993", "C2=n:999999999999999", "D2=t:1900-02-28", "E2=n:0.0001",]
    );
}

#[tokio::test]
async fn text_is_never_a_formula_or_a_link() {
    let bytes = book("SELECT '=1+1' AS a, '@SUM(A1)' AS b, 'https://a.example/' AS c, '<b>&' AS d").await;
    assert_eq!(row(&bytes, 1, 2), ["A2=t:=1+1", "B2=t:@SUM(A1)", "C2=t:https://a.example/", "D2=t:&lt;b&gt;&amp;"]);
    assert!(!part(&bytes, "xl/worksheets/sheet1.xml").contains("<f>"));
}

#[tokio::test]
async fn a_text_that_is_too_long_is_said_and_not_cut() {
    let session = Lake::new().session();
    let style = Style { format: Output::Xlsx, ..Style::default() };
    let answer = session.sql("SELECT repeat('a', 32768) AS body").await.unwrap();
    let error = write_as(answer, style, &mut Vec::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "`body` of row 1 is longer than a cell of Excel can be");
    book("SELECT repeat('马', 32767) AS body").await;
}

#[test]
fn rows_that_one_sheet_cannot_hold_go_on_in_the_next() {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(["a", "b", "c", "d", "e"]));
    let batch = RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap();
    let mut book = Book::with_sheets_of(3, &batch.schema(), vec!["n".into(), "t".into()]).unwrap();
    book.add(&batch).unwrap();
    book.finish().unwrap();
    let mut bytes = Vec::new();
    book.drain(&mut bytes).unwrap();
    book.drain(&mut bytes).unwrap();
    assert_eq!(row(&bytes, 1, 3), ["A3=n:1", "B3=t:b"]);
    assert_eq!(row(&bytes, 2, 1), ["A1=t:n", "B1=t:t"]);
    assert_eq!(row(&bytes, 3, 2), ["A2=n:4", "B2=t:e"]);
    assert!(part(&bytes, "xl/workbook.xml").contains("name=\"rows 3\""));
}

#[test]
fn digits_that_count_are_counted() {
    let cases = [("0", 0), ("0.00", 0), ("12.5000", 3), ("-1200.50", 5), ("0.0012", 2), ("100", 3), ("99.9999", 6)];
    for (number, expected) in cases {
        assert_eq!(digits(number), expected, "{number}");
    }
}
