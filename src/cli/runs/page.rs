//! One run as a page for people, and as JSON: its funnel, its calls, its shops.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::base::time::BEIJING;
use crate::cli::table::{Align, Table, thousands};

use super::coverage::Proof;

/// Rows of `runs` (one per start that ended) and of `shops`, as objects.
pub(super) struct Page {
    pub(super) runs: Vec<Value>,
    pub(super) shops: Vec<Value>,
}

pub(super) fn json(page: &Page, proofs: Option<&[Proof]>) -> Value {
    let mut document = json!({"runs": page.runs, "shops": page.shops});
    if let Some(proofs) = proofs {
        document["coverage"] = proofs.iter().map(Proof::json).collect();
    }
    document
}

pub(super) fn text(page: &Page, proofs: Option<&[Proof]>) -> String {
    let mut parts: Vec<String> = page.runs.iter().map(run).collect();
    if !page.shops.is_empty() {
        parts.push(shops(&page.shops));
    }
    parts.extend(proofs.into_iter().flatten().map(Proof::text));
    parts.join("\n")
}

pub(super) fn word<'r>(row: &'r Value, name: &str) -> &'r str {
    row[name].as_str().unwrap_or_default()
}

/// A number, or `?` where it is not known.
pub(super) fn number(row: &Value, name: &str) -> String {
    row[name].as_u64().map_or_else(|| "?".to_owned(), thousands)
}

fn run(row: &Value) -> String {
    let of = |name: &str| number(row, name);
    let mut text = format!(
        "run {}: pipeline `{}`, {}, attempt {}: {}\n",
        word(row, "run_id"),
        word(row, "pipeline"),
        word(row, "dt"),
        of("attempt"),
        word(row, "status").replace('_', ", ")
    );
    if let Some(error) = row["error"].as_str() {
        _ = writeln!(text, "  {error}");
    }
    if let (Some(start), Some(end)) = (moment(row, "started_at"), moment(row, "finished_at")) {
        let (seconds, start) = ((end - start).num_seconds(), start.with_timezone(&BEIJING));
        _ = writeln!(text, "  from {} (Beijing), {seconds} s", start.format("%Y-%m-%d %H:%M:%S"));
    }
    _ = writeln!(
        text,
        "  received {} = loaded {} + duplicates {} + quarantined {} · carried {}",
        of("received"),
        of("loaded"),
        of("duplicates"),
        of("quarantined"),
        of("carried")
    );
    let left = row["quota_left"].as_u64().map(|left| format!(" · {} left of the day", thousands(left)));
    _ = writeln!(
        text,
        "  {} calls ({} repeated, {} throttled), {} answers used again{} · {} bytes received",
        of("calls_used"),
        of("retries"),
        of("throttles"),
        of("calls_saved"),
        left.unwrap_or_default(),
        of("bytes_received")
    );
    text
}

pub(in crate::cli) fn moment(row: &Value, name: &str) -> Option<DateTime<Utc>> {
    let text = word(row, name);
    let zoned = || Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc());
    // Arrow writes an instant without a zone where its type has none.
    zoned().or_else(|| Some(text.parse::<chrono::NaiveDateTime>().ok()?.and_utc()))
}

fn shops(rows: &[Value]) -> String {
    let numbers = [
        ("official", "official_count"),
        ("listed", "listed_count"),
        ("offers", "offer_count"),
        ("new", "new_count"),
        ("changed", "changed_count"),
        ("carried", "carried_count"),
        ("delisted", "delisted_count"),
        ("quarantined", "quarantined_count"),
        ("calls", "calls_used"),
    ];
    let mut columns = vec![("shop", Align::Left), ("id", Align::Left)];
    columns.extend(numbers.map(|(title, _)| (title, Align::Right)));
    columns.push(("", Align::Left));
    let mut table = Table::new(&columns);
    for row in rows {
        let end = match row["incomplete_reason"].as_str() {
            None => "complete".to_owned(),
            Some(why) => format!("INCOMPLETE: {why}"),
        };
        let mut cells = vec![word(row, "shop_name").to_owned(), word(row, "shop_id").to_owned()];
        cells.extend(numbers.map(|(_, column)| number(row, column)));
        cells.push(end);
        table.row(cells);
    }
    table.render("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_one_page_and_chinese_names_keep_its_columns_straight() {
        let run = json!({
            "run_id": "0198", "pipeline": "nightly", "dt": "2026-11-20", "attempt": 2, "status": "published_incomplete",
            "error": null, "started_at": "2026-11-19T16:00:01Z", "finished_at": "2026-11-19T16:02:01.5Z",
            "received": 1100, "loaded": 1000, "duplicates": 60, "quarantined": 40, "carried": 0, "calls_used": 31,
            "calls_saved": 2, "quota_left": 2969, "retries": 1, "throttles": 0, "bytes_received": 123_456,
        });
        let shop = |name: Value, id: &str, why: Value| {
            json!({
                "shop_name": name, "shop_id": id, "incomplete_reason": why, "official_count": 1041, "listed_count": 1041,
                "offer_count": 1000, "new_count": 0, "changed_count": 7, "carried_count": 0, "delisted_count": 1,
                "quarantined_count": 40, "calls_used": 28,
            })
        };
        let shops =
            vec![shop("义乌小商品".into(), "b2b-1", "page 3: busy".into()), shop(Value::Null, "b2b-22", Value::Null)];
        let expected = "\
run 0198: pipeline `nightly`, 2026-11-20, attempt 2: published, incomplete
  from 2026-11-20 00:00:01 (Beijing), 120 s
  received 1 100 = loaded 1 000 + duplicates 60 + quarantined 40 · carried 0
  31 calls (1 repeated, 0 throttled), 2 answers used again · 2 969 left of the day · 123 456 bytes received

  shop        id      official  listed  offers  new  changed  carried  delisted  quarantined  calls
  义乌小商品  b2b-1      1 041   1 041   1 000    0        7        0         1           40     28  INCOMPLETE: page 3: busy
              b2b-22     1 041   1 041   1 000    0        7        0         1           40     28  complete
";
        assert_eq!(text(&Page { runs: vec![run], shops }, None), expected);
    }
}
