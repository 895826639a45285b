//! `huopan replay`: days rebuilt from what has landed, without a call.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use chrono::NaiveDate;
use clap::Args;
use serde_json::{Value, json};

use crate::base::{Result, SystemClock};
use crate::run::Surroundings;
use crate::run::differences::{ColumnDifference, TableDifference};
use crate::run::replay::{Asked, Became, ReplayedDay, replay};

use super::output::Talk;
use super::progress::Bars;
use super::run::{cancelled_by_signals, finding_json, report_json, report_text};
use super::table::thousands;
use super::{EXIT_INCOMPLETE, Outcome, check, written};

/// `huopan replay`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan replay pipelines/portals.toml --dt 2026-11-20 --dry-run        what would differ, by table and column
  huopan replay pipelines/portals.toml --dt 2026-11-01..2026-11-20      rebuild three weeks, after a rule was corrected
  huopan replay pipelines/portals.toml --dt 2026-11-20 --json

Days are rebuilt from the answers in `raw_pages` with the pipeline, the gateway definition and the rules of today. Days
after the span follow, one after the other, where rows of the day before go on in them and that day has changed. A day
whose answers are no longer kept stands as published, and is the base of the next. What has landed and is not published
(`run --until land`), or is held, is published unless it looks wrong. No call is made, ever.

Exit codes: 0 rebuilt · 1 something must change · 3 rebuilt, but a day is incomplete, held or left alone · 75 try again later")]
pub(super) struct Arguments {
    /// The pipeline's file
    #[arg(value_name = "PIPELINE")]
    pipeline: PathBuf,
    /// The day, or the first and the last one
    #[arg(long, value_name = "A[..B]")]
    dt: Span,
    /// Publish nothing: show what would differ
    #[arg(long)]
    dry_run: bool,
    /// Publish what stopped runs have landed, too, as incomplete: no start goes on with them
    #[arg(long)]
    stopped: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// A day, or the first and the last of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: NaiveDate,
    to: NaiveDate,
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let day = |text: &str| {
            text.parse::<NaiveDate>()
                .map_err(|_| format!("`{text}` is no day; `2026-11-20`, or `2026-11-01..2026-11-20`"))
        };
        let span = Self { from: day(from)?, to: day(to)? };
        if span.from > span.to {
            return Err(format!("{} is after {}", span.from, span.to));
        }
        Ok(span)
    }
}

pub(super) async fn main(arguments: &Arguments, talk: &Talk) -> Result<Outcome> {
    let pipeline = check::load(&arguments.pipeline)?;
    let bars = Bars::new(talk);
    let around = Surroundings {
        clock: Arc::new(SystemClock),
        progress: &bars,
        cancel: cancelled_by_signals(talk, "stopping: days that are rebuilt stay so"),
        seed: rand::random(),
    };
    let (Span { from, to }, dry_run) = (arguments.dt, arguments.dry_run);
    let asked = Asked { from, to, dry_run, stopped: arguments.stopped };
    let replayed = replay(&pipeline, None, asked, &around).await;
    bars.clear();
    let days = replayed?;
    let mut out = std::io::stdout().lock();
    written(match arguments.json {
        true => {
            let days: Vec<Value> = days.iter().map(day_json).collect();
            writeln!(out, "{}", json!({"dry_run": dry_run, "days": days}))
        }
        false => days.iter().try_for_each(|day| out.write_all(day_text(day, dry_run).as_bytes())),
    })?;
    let is_complete = dry_run || days.iter().all(ReplayedDay::is_complete);
    Ok(if is_complete { Outcome::Done } else { Outcome::Code(EXIT_INCOMPLETE) })
}

fn day_text(day: &ReplayedDay, dry_run: bool) -> String {
    let mut text = match &day.became {
        Became::Rebuilt(report) if dry_run => format!(
            "{}: would be rebuilt · received {} = loaded {} + duplicates {} + quarantined {} · carried {}\n",
            day.dt, report.received, report.loaded, report.duplicates, report.quarantined, report.carried
        ),
        Became::Rebuilt(report) => report_text(report),
        Became::Stands => format!("{}: stands as published\n", day.dt),
        Became::Held(_) if dry_run => format!("{}: would be HELD\n", day.dt),
        Became::Held(_) => format!("{}: HELD, nothing of it is published\n", day.dt),
        Became::LeftAlone => format!("{}: left alone\n", day.dt),
    };
    if day.follows {
        text.push_str("  it follows: rows of the day before go on in it\n");
    }
    if let Became::Held(hold) = &day.became {
        for finding in &hold.findings {
            _ = writeln!(text, "  {}: {finding}", finding.shop());
        }
    }
    for note in &day.notes {
        _ = writeln!(text, "  {note}");
    }
    let changed: Vec<_> = day.differences.iter().filter(|table| !table.is_none()).collect();
    if changed.is_empty() && !day.differences.is_empty() {
        text.push_str("  nothing differs from what was published\n");
    }
    changed.into_iter().for_each(|table| text.push_str(&table_text(table)));
    text
}

fn table_text(table: &TableDifference) -> String {
    let counts = [(table.changed, "changed"), (table.new, "new"), (table.gone, "gone")];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<_> = counts.map(|(count, what)| format!("{} {what}", thousands(*count))).collect();
    let (before, after) = (thousands(table.before), thousands(table.after));
    let mut text = format!("  {}: {before} → {after} rows, {}\n", table.table, counts.join(", "));
    let width = table.columns.iter().map(|column| column.column.len()).max().unwrap_or(0);
    for column in &table.columns {
        let examples: Vec<_> = column
            .examples
            .iter()
            .map(|example| {
                let shown = |value: &Option<String>| value.as_deref().map_or("null".to_owned(), shortened);
                format!("{}: {} → {}", example.row, shown(&example.before), shown(&example.after))
            })
            .collect();
        _ = writeln!(text, "    {:width$} {:>9}   {}", column.column, thousands(column.rows), examples.join(" · "));
    }
    text
}

/// A value as it fits a line of examples.
fn shortened(value: &str) -> String {
    const CHARS_SHOWN: usize = 40;
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    let mut shown: String = value.chars().take(CHARS_SHOWN).map(plain).collect();
    if value.chars().count() > CHARS_SHOWN {
        shown.push('…');
    }
    shown
}

fn day_json(day: &ReplayedDay) -> Value {
    let (outcome, publication, findings) = match &day.became {
        Became::Rebuilt(report) => ("rebuilt", Some(report_json(report)), Vec::new()),
        Became::Stands => ("stands", None, Vec::new()),
        Became::Held(hold) => ("held", None, hold.findings.iter().map(finding_json).collect()),
        Became::LeftAlone => ("left_alone", None, Vec::new()),
    };
    json!({
        "dt": day.dt,
        "outcome": outcome,
        "follows": day.follows,
        "notes": day.notes,
        "publication": publication,
        "findings": findings,
        "differences": day.differences.iter().map(table_json).collect::<Vec<_>>(),
    })
}

fn table_json(table: &TableDifference) -> Value {
    let column = |column: &ColumnDifference| {
        let examples = column.examples.iter();
        let examples =
            examples.map(|example| json!({"row": example.row, "before": example.before, "after": example.after}));
        json!({"column": column.column, "rows": column.rows, "examples": examples.collect::<Vec<_>>()})
    };
    json!({
        "table": table.table.name(),
        "rows_before": table.before,
        "rows_after": table.after,
        "new": table.new,
        "gone": table.gone,
        "changed": table.changed,
        "columns": table.columns.iter().map(column).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_day_or_two_in_their_order() {
        let day = |day| NaiveDate::from_ymd_opt(2026, 11, day).unwrap();
        for (text, expected) in [
            ("2026-11-20", Ok((20, 20))),
            ("2026-11-01..2026-11-20", Ok((1, 20))),
            ("2026-11-20..2026-11-01", Err("2026-11-20 is after 2026-11-01")),
            ("2026-11-31", Err("`2026-11-31` is no day; `2026-11-20`, or `2026-11-01..2026-11-20`")),
            ("..2026-11-01", Err("`` is no day; `2026-11-20`, or `2026-11-01..2026-11-20`")),
        ] {
            let span = text.parse::<Span>();
            let expected = expected.map(|(from, to)| Span { from: day(from), to: day(to) });
            assert_eq!(span, expected.map_err(str::to_owned), "{text}");
        }
    }
}
