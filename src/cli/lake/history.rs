//! `huopan lake history`.

use std::io::{IsTerminal as _, Write as _};

use chrono::SecondsFormat;
use clap::Args;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use crate::base::Result;
use crate::base::ids::short_id_length;
use crate::base::time::BEIJING;
use crate::load::history::{self, Act, Past, history};

use super::super::output::Talk;
use super::super::sql::page_out;
use super::super::table::{Align, Fitted, Table, fitted, thousands};
use super::super::target::Target;
use super::super::{Outcome, wrap, written};
use super::size;

#[derive(Debug, Args)]
#[command(
    after_help = "kind: published (a run) · attempt (one that stopped or failed: it only adds to the journals) · optimized ·
expired (older days were taken away) · fence (a number kept from a process that had lost its lock).
As far back as the publish log goes: see `huopan lake vacuum --help`."
)]
pub(super) struct Arguments {
    /// How many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    last: u32,
    /// Of this pipeline only
    #[arg(long = "of", value_name = "NAME")]
    of: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn main(arguments: &Arguments, target: &Target, talk: &Talk) -> Result<Outcome> {
    let store = target.store().await?;
    let last = usize::try_from(arguments.last).unwrap_or(usize::MAX);
    let past = history(&store, arguments.of.as_deref(), last).await?;
    if arguments.json {
        let json = format!("{:#}\n", Value::Array(past.iter().map(as_json).collect()));
        written(std::io::stdout().lock().write_all(json.as_bytes()))?;
        return Ok(Outcome::Done);
    }
    let width = std::io::stdout().is_terminal().then(|| wrap::width(u16::MAX));
    let table = as_text(&past, width);
    page_out(&table.text)?;
    if !table.left_out.is_empty() {
        talk.say(&format!("left out for the width: {}", table.left_out.join(", ")));
    }
    Ok(Outcome::Done)
}

/// A column: its title, its side, its cell.
type Column = (&'static str, Align, fn(&Past) -> String);

/// All columns before the run, in their order.
const COLUMNS: [Column; 9] = [
    ("pipeline", Align::Left, |past| past.pipeline.clone()),
    ("seq", Align::Right, |past| past.seq.to_string()),
    ("kind", Align::Left, |past| past.act.name().to_owned()),
    ("dt", Align::Left, day),
    (DECIDED, Align::Left, |past| past.published_at.with_timezone(&BEIJING).format("%F %T").to_string()),
    ("offers", Align::Right, |past| history::offers(past).map(thousands).unwrap_or_default()),
    ("rows", Align::Right, |past| thousands(past.sum().rows)),
    ("files", Align::Right, |past| thousands(past.sum().files)),
    ("size", Align::Right, |past| size(past.sum().bytes)),
];
const DECIDED: &str = "decided (Beijing)";

/// What is left out where there is no room, the first first.
const SPARED: [&str; 5] = ["files", "rows", "size", DECIDED, "pipeline"];

/// The table; where whole ids of runs do not fit the width, as much of them as tells them apart.
fn as_text(past: &[Past], width: Option<usize>) -> Fitted {
    let whole = render(past, None, &[]);
    if width.is_none_or(|width| whole.lines().all(|line| line.width() <= width)) {
        return Fitted { text: whole, left_out: Vec::new() };
    }
    let ids = past.iter().map(|past| past.run_id.as_str()).filter(|id| !id.is_empty());
    let length = short_id_length(ids);
    fitted(&SPARED, width, |left_out| render(past, Some(length), left_out))
}

fn render(past: &[Past], id_length: Option<usize>, left_out: &[&str]) -> String {
    let columns: Vec<&Column> = COLUMNS.iter().filter(|(title, ..)| !left_out.contains(title)).collect();
    let titles = columns.iter().map(|(title, align, _)| (*title, *align));
    let mut table = Table::new(&titles.chain([("run", Align::Left)]).collect::<Vec<_>>());
    for one in past {
        let id = id_length.and_then(|length| one.run_id.get(..length)).unwrap_or(&one.run_id);
        let run = if id.is_empty() { String::new() } else { format!("{id} #{}", one.attempt) };
        table.row(columns.iter().map(|(.., cell)| cell(one)).chain([run]));
    }
    if table.is_empty() { "nothing is published\n".to_owned() } else { table.render("") }
}

fn day(past: &Past) -> String {
    match past.expired_before.values().max() {
        Some(first) => format!("< {first}"),
        None if past.is_current == Some(false) => format!("{} (replaced)", past.dt),
        None if past.act == Act::Fence => String::new(),
        None => past.dt.to_string(),
    }
}

fn as_json(past: &Past) -> Value {
    let sum = |sum: history::Sum| json!({"files": sum.files, "rows": sum.rows, "bytes": sum.bytes});
    let tables: serde_json::Map<String, Value> =
        past.tables.iter().map(|(table, of_table)| (table.clone(), sum(*of_table))).collect();
    let is_run = !past.run_id.is_empty();
    json!({
        "pipeline": past.pipeline,
        "seq": past.seq,
        "kind": past.act.name(),
        "dt": past.dt,
        "run_id": is_run.then_some(&past.run_id),
        "attempt": is_run.then_some(past.attempt),
        "published_at": past.published_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "is_current": past.is_current,
        "expired_before": past.expired_before,
        "total": sum(past.sum()),
        "tables": tables,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn past() -> Vec<Past> {
        let one = |seq: u64, id: &str, is_current: bool| Past {
            pipeline: "nightly".to_owned(),
            seq,
            act: Act::Published,
            dt: "2026-11-20".parse().unwrap(),
            run_id: id.to_owned(),
            attempt: 1,
            published_at: "2026-11-19T17:41:27Z".parse().unwrap(),
            is_current: Some(is_current),
            tables: BTreeMap::from([("offers".to_owned(), history::Sum { files: 2, rows: 1176, bytes: 320_000 })]),
            expired_before: BTreeMap::new(),
        };
        vec![
            one(1, "01a22df9-fa6d-772c-a62e-6ec4cd7b86c5", false),
            one(2, "01a22df9-fe1c-783f-911f-c393bc70ddd8", true),
        ]
    }

    #[test]
    fn a_narrow_terminal_shows_short_ids_and_then_what_is_needed_most() {
        let whole = as_text(&past(), None);
        assert!(whole.text.contains("01a22df9-fe1c-783f-911f-c393bc70ddd8 #1"), "{}", whole.text);
        for (width, expected) in [(160, 0), (120, 0), (100, 3), (80, 4), (40, 5)] {
            let shown = as_text(&past(), Some(width));
            assert_eq!(shown.left_out, SPARED[..expected], "{width}: {}", shown.text);
            assert!(width == 40 || shown.text.lines().all(|line| line.width() <= width), "{}", shown.text);
            assert_eq!(shown.text.contains("01a22df9-fe #1"), width < 160, "{}", shown.text);
        }
    }
}
