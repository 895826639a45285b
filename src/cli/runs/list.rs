//! The last runs as a table that fits the terminal: what is needed least is left out first.

use chrono::DateTime;
use serde_json::Value;

use crate::base::time::BEIJING;
use crate::cli::table::{Align, Fitted, Table, fitted, thousands};

use super::page::{moment, number, word};

/// A column: its title, its side, its cell.
type Column = (&'static str, Align, fn(&Value) -> String);

/// All columns after the run's id, in their order.
const COLUMNS: [Column; 11] = [
    ("day", Align::Left, |row| word(row, "dt").to_owned()),
    ("pipeline", Align::Left, |row| word(row, "pipeline").to_owned()),
    ("end", Align::Left, end),
    ("received", Align::Right, |row| number(row, "received")),
    ("loaded", Align::Right, |row| number(row, "loaded")),
    ("duplicates", Align::Right, |row| number(row, "duplicates")),
    ("quarantined", Align::Right, |row| number(row, "quarantined")),
    ("carried", Align::Right, |row| number(row, "carried")),
    ("calls", Align::Right, |row| number(row, "calls")),
    (BEGAN, Align::Left, began),
    ("took", Align::Right, took),
];
const BEGAN: &str = "Beijing time";

/// What is left out where there is no room, the first first.
const SPARED: [&str; 6] = ["carried", "took", "duplicates", BEGAN, "calls", "pipeline"];

/// The table of these rows; ids are cut to `id_length`. Without a width nothing is left out.
pub(super) fn table(rows: &[Value], id_length: usize, width: Option<usize>) -> Fitted {
    fitted(&SPARED, width, |left_out| render(rows, id_length, left_out))
}

fn render(rows: &[Value], id_length: usize, left_out: &[&str]) -> String {
    if rows.is_empty() {
        return "no run has ended yet\n".to_owned();
    }
    let columns: Vec<&Column> = COLUMNS.iter().filter(|(title, ..)| !left_out.contains(title)).collect();
    let titles = columns.iter().map(|(title, align, _)| (*title, *align));
    let mut table = Table::new(&[("run", Align::Left)].into_iter().chain(titles).collect::<Vec<_>>());
    for row in rows {
        let cells = columns.iter().map(|(.., cell)| cell(row));
        table.row([run(row, id_length)].into_iter().chain(cells));
    }
    table.render("")
}

/// `01a22df9 #2`: which start of the run, where it is not the first of its day.
fn run(row: &Value, id_length: usize) -> String {
    let id = word(row, "run_id");
    let id = id.get(..id_length).unwrap_or(id);
    match row["attempt"].as_u64() {
        None | Some(1) => id.to_owned(),
        Some(attempt) => format!("{id} #{attempt}"),
    }
}

fn end(row: &Value) -> String {
    let is_replay = row["kind"].as_str() == Some("replay");
    match (word(row, "status"), is_replay) {
        ("published", true) => "replayed".to_owned(),
        ("published_incomplete", false) => "incomplete".to_owned(),
        ("published_incomplete", true) => "replayed, incomplete".to_owned(),
        (status, false) => status.to_owned(),
        (status, true) => format!("replay {status}"),
    }
}

fn began(row: &Value) -> String {
    let beijing = |at: DateTime<chrono::Utc>| at.with_timezone(&BEIJING).format("%m-%d %H:%M").to_string();
    moment(row, "started_at").map(beijing).unwrap_or_default()
}

/// `3 s`, `12 min`, `2 h 05`
fn took(row: &Value) -> String {
    let Some(seconds) = row["seconds"].as_u64() else { return String::new() };
    match seconds {
        0..100 => format!("{seconds} s"),
        100..6000 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{} h {:02}", thousands(seconds / 3600), seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    fn rows() -> Vec<Value> {
        let row = |id: &str, attempt: u64, status: &str, kind: &str, seconds: u64| {
            json!({
                "dt": "2026-11-20", "pipeline": "nightly", "attempt": attempt, "kind": kind, "status": status,
                "received": 1172, "loaded": 1172, "duplicates": 0, "quarantined": 0, "carried": 0, "calls": 34,
                "bytes": 701_084, "started_at": "2026-11-19T17:41:27.964523Z", "seconds": seconds, "run_id": id,
            })
        };
        vec![
            row("01a22df9-fe1c-783f-911f-c393bc70ddd8", 2, "published", "replay", 12),
            row("01a22df9-fa6d-772c-a62e-6ec4cd7b86c5", 1, "published_incomplete", "run", 7512),
        ]
    }

    #[test]
    fn runs_are_a_line_each_with_a_short_id_and_the_time_of_beijing() {
        let expected = "\
run             day         pipeline  end         received  loaded  duplicates  quarantined  carried  calls  Beijing time    took
01a22df9-fe #2  2026-11-20  nightly   replayed       1 172   1 172           0            0        0     34  11-20 01:41     12 s
01a22df9-fa     2026-11-20  nightly   incomplete     1 172   1 172           0            0        0     34  11-20 01:41   2 h 05
";
        let listed = table(&rows(), 11, None);
        assert_eq!((listed.text.as_str(), listed.left_out.len()), (expected, 0));
        assert_eq!(table(&[], 8, None).text, "no run has ended yet\n");
    }

    #[test]
    fn a_narrow_terminal_shows_what_is_needed_most() {
        for (width, expected) in [(140, 0), (120, 1), (100, 3), (80, 5), (40, 6)] {
            let listed = table(&rows(), 11, Some(width));
            assert_eq!(listed.left_out, SPARED[..expected], "{width}");
            assert!(width == 40 || listed.text.lines().all(|line| line.width() <= width), "{}", listed.text);
            assert!(listed.text.starts_with("run ") && listed.text.contains("01a22df9-fa "), "{}", listed.text);
        }
    }
}
