//! `huopan quarantine`: what could not be loaded, why, and where its bytes are.

use std::fmt::Write as _;
use std::io::Write as _;

use chrono::NaiveDate;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::base::time::BEIJING;
use crate::base::{Error, Result};
use crate::load::Snapshot;
use crate::load::snapshot::PartitionFile;
use crate::query::output::Layout;
use crate::query::quarantine::{self, Filter, Which};
use crate::store::Store;
use crate::transform::contract::Table;

use super::output::Talk;
use super::runs::{moment, rows};
use super::sql::{FormatName, print};
use super::target::Target;
use super::{Outcome, written};

/// `huopan quarantine`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan quarantine                                        the last published days
  huopan quarantine list --dt 2026-11-20 --reason price    … of a stated day, with `price` in the reason
  huopan quarantine show 3                                 row 3 of the list: its record, and where its bytes are
  huopan quarantine show 019a9b1c-8c00-7a51-b2a4-3f5d7c1e9a10/17
                                                           all that was set aside of one answer (`raw_ref`)
  huopan quarantine show 610947572360                      … of one offer")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The rows, numbered
    List(List),
    /// Rows whole, with their records and what is kept of their answers
    Show(Show),
}

#[derive(Debug, Args)]
struct Filters {
    /// Of this day [default: the last published one of each pipeline]
    #[arg(long, value_name = "YYYY-MM-DD")]
    dt: Option<NaiveDate>,
    /// Of this shop
    #[arg(long, value_name = "SHOP_ID")]
    shop: Option<String>,
    /// Whose reason holds this text
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Set aside at this stage: transform, transform_sku, transform_detail, publish
    #[arg(long)]
    stage: Option<String>,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    filters: Filters,
    /// How many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rows: u32,
    /// How to write the rows
    #[arg(long, value_enum, default_value_t = FormatName::Table)]
    format: FormatName,
}

#[derive(Debug, Args)]
struct Show {
    /// A row's number in the list of the same filters, an answer's `raw_ref`, or an offer's id
    #[arg(value_name = "ROW|RAW_REF|OFFER", value_parser = which)]
    which: Which,
    #[command(flatten)]
    filters: Filters,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Lists are shorter, ids of offers are longer.
const ROWS_MAX: i64 = 10_000_000;

fn which(text: &str) -> Result<Which, String> {
    match text.parse::<i64>() {
        Ok(row) if (1..ROWS_MAX).contains(&row) => Ok(Which::Row(row)),
        Ok(offer_id) if offer_id > 0 => Ok(Which::Offer(offer_id)),
        _ if text.split_once('/').is_some_and(|(run, number)| !run.is_empty() && number.parse::<u32>().is_ok()) => {
            Ok(Which::Answer(text.to_owned()))
        }
        _ => Err("neither a row's number, nor a `raw_ref` (`run_id/number`), nor an offer's id".to_owned()),
    }
}

impl Filters {
    fn filter(&self) -> Filter {
        let Self { dt, shop, reason, stage } = self;
        Filter { dt: *dt, shop_id: shop.clone(), reason: reason.clone(), stage: stage.clone() }
    }
}

impl Arguments {
    /// Whether JSON is asked for.
    pub(super) fn prints_json(&self) -> bool {
        matches!(&self.command, Some(Command::Show(Show { json: true, .. })))
    }
}

pub(super) async fn main(arguments: &Arguments, talk: &Talk) -> Result<Outcome> {
    match &arguments.command {
        None => list(&arguments.list, &arguments.target, talk).await,
        Some(Command::List(asked)) => list(asked, &arguments.target, talk).await,
        Some(Command::Show(asked)) => show(asked, &arguments.target).await,
    }
}

async fn list(asked: &List, target: &Target, talk: &Talk) -> Result<Outcome> {
    let session = target.session().await?;
    let answer = quarantine::list(&session, &asked.filters.filter(), asked.rows).await?;
    print(answer, asked.format.format(), Layout::default(), talk).await?;
    Ok(Outcome::Done)
}

async fn show(asked: &Show, target: &Target) -> Result<Outcome> {
    let session = target.session().await?;
    let mut found = rows(quarantine::show(&session, &asked.filters.filter(), &asked.which).await?).await?;
    if found.is_empty() {
        return Err(Error::config("there is no such row in quarantine").with_hint(
            "`huopan quarantine` lists the last published days; `--dt` names another day, for `show` as well",
        ));
    }
    let store = target.store().await?;
    let snapshot = Snapshot::load(&store).await?;
    for row in &mut found {
        row["bytes_in"] = places(&store, &snapshot, row).into();
    }
    let mut out = std::io::stdout().lock();
    written(match asked.json {
        true => writeln!(out, "{}", json!(found)),
        false => write!(out, "{}", found.iter().map(|row| text(row, &target.words())).collect::<Vec<_>>().join("\n")),
    })?;
    Ok(Outcome::Done)
}

/// The files of `raw_pages` that may hold a row's answer: more than one where runs share a day and their files were
/// merged. Empty: it is no longer kept.
fn places(store: &Store, snapshot: &Snapshot, row: &Value) -> Vec<String> {
    let word = |name: &str| row[name].as_str();
    let answer = word("raw_ref").and_then(|raw_ref| raw_ref.split_once('/'));
    let (Some(dt), Some(pipeline), Some((run_id, number))) = (word("answer_dt"), word("pipeline"), answer) else {
        return Vec::new();
    };
    let number: Option<i64> = number.parse().ok();
    let may_hold = |stats: &Value| {
        let (min, max) = (&stats["minValues"], &stats["maxValues"]);
        let runs = min["run_id"].as_str().zip(max["run_id"].as_str());
        let numbers = min["number"].as_i64().zip(max["number"].as_i64());
        runs.is_none_or(|(min, max)| (min..=max).contains(&run_id))
            && numbers.zip(number).is_none_or(|((min, max), number)| (min..=max).contains(&number))
    };
    let files = snapshot.files(Table::RawPages).into_iter();
    let files = files.filter(|of| of.pipeline == pipeline && of.dt.to_string() == dt && may_hold(&of.file.stats));
    let place = |of: PartitionFile<'_>| match store.folder() {
        Some(folder) => folder.join(&of.file.path).display().to_string(),
        None => format!("{}{}", store.url(), of.file.path),
    };
    files.map(place).collect()
}

fn text(row: &Value, lake: &str) -> String {
    let word = |name: &str| row[name].as_str().unwrap_or("?").to_owned();
    let id = row["offer_id"].as_i64().map_or("unknown".to_owned(), |id| id.to_string());
    let mut text = format!(
        "row {}: offer {id}, shop {}, {}, pipeline {}, gateway {}\n",
        row["row"],
        word("shop_id"),
        word("dt"),
        word("pipeline"),
        word("gateway")
    );
    _ = writeln!(text, "  {}: {}", word("stage"), word("reason"));
    if let Some(field) = row["field"].as_str() {
        _ = writeln!(text, "  field `{field}`: {}", word("value"));
    }
    let raw_ref = word("raw_ref");
    let files: Vec<&str> = row["bytes_in"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match (&files[..], raw_ref.split_once('/')) {
        ([_, ..], Some((run_id, number))) => {
            let one_of = if files.len() > 1 { "in one of " } else { "" };
            let from = match captured_in(row) {
                Some(place) => format!("{place}, read as an answer"),
                None => format!("HTTP {}", row["http_status"]),
            };
            _ = writeln!(
                text,
                "  answer {raw_ref}: endpoint {}, {from}, {}\n  its bytes: {one_of}{}\n    \
                 huopan sql{lake} -x -c \"select {} from raw_pages where run_id = '{run_id}' and number = {number}\"",
                word("endpoint"),
                beijing(row),
                files.join(", "),
                body(&word("content_type")),
            );
        }
        _ => _ = writeln!(text, "  answer {raw_ref}: its bytes are no longer kept"),
    }
    match row["record"].as_str() {
        Some(record) if !record.is_empty() => {
            _ = writeln!(text, "  record:\n{record}");
        }
        _ => text.push_str("  its record stands in the answer\n"),
    }
    // What a gateway sent must not steer the terminal.
    let plain = |letter: char| if letter.is_control() && !matches!(letter, '\n' | '\t') { ' ' } else { letter };
    text.chars().map(plain).collect()
}

/// When the answer was received.
fn beijing(row: &Value) -> String {
    let at = moment(row, "received_at").map(|at| at.with_timezone(&BEIJING));
    at.map_or_else(|| "?".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%S (Beijing)").to_string())
}

/// File and line of an answer that was captured.
fn captured_in(row: &Value) -> Option<String> {
    let request: Value = serde_json::from_str(row["request"].as_str()?).ok()?;
    Some(format!("{}:{}", request["file"].as_str()?, request["line"].as_str()?))
}

/// What shows an answer's bytes: its text, unless they are said to be something else than UTF-8.
fn body(content_type: &str) -> &'static str {
    let charset = content_type.to_ascii_lowercase();
    let charset = charset.split_once("charset=").map_or("", |(_, charset)| charset);
    match charset.is_empty() || charset.starts_with("utf-8") || charset.starts_with("utf8") {
        true => "arrow_cast(body, 'Utf8') as body",
        false => "body",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_another_charset_are_not_asked_for_as_text() {
        for (content_type, expected) in [
            ("?", "arrow_cast(body, 'Utf8') as body"),
            ("application/json; charset=UTF-8", "arrow_cast(body, 'Utf8') as body"),
            ("application/json;charset=GBK", "body"),
        ] {
            assert_eq!(body(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn rows_answers_and_offers_are_told_apart() {
        assert_eq!(which("3"), Ok(Which::Row(3)));
        assert_eq!(which("610947572360"), Ok(Which::Offer(610_947_572_360)));
        assert_eq!(which("019a9b1c/17"), Ok(Which::Answer("019a9b1c/17".to_owned())));
        for wrong in ["", "0", "-3", "019a9b1c", "/3", "a/b"] {
            assert!(which(wrong).is_err(), "{wrong}");
        }
    }
}
