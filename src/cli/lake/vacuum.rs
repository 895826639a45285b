//! `huopan lake vacuum`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use clap::Args;
use serde_json::{Value, json};

use crate::base::{Clock, Kind, Result, SystemClock};
use crate::config::pipeline::Keep;
use crate::load::upkeep::alone;
use crate::load::upkeep::sweep::{Lake, Swept, delete};
use crate::load::upkeep::vacuum::{Goes, Why};

use super::super::table::{Align, Table, thousands};
use super::super::target::Target;
use super::super::{EXIT_LATER, Outcome, written};
use super::size;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan lake vacuum                               what would go, and how much; nothing is changed
  huopan lake vacuum --list                        … with every path
  huopan lake vacuum --yes                         delete it
  huopan lake vacuum --pipeline nightly.toml --yes  by that pipeline's [lake] retain_days, raw_days, history_days

What goes:
  replaced      files that a later publication replaced more than history_days ago
  orphan        files of runs that died before they published, older than a day
  publish log   entries behind the newest checkpoint that is older than history_days
  Delta log     versions behind the newest Delta checkpoint that is older than history_days
  landed        responses of runs that ended, were refused or given up, and of `doctor`, older than raw_days
  temporary     what processes left that died, older than a day
Days older than retain_days (and `raw_pages` older than raw_days) leave the tables by a publication of their own: readers no
longer see them, and their files go history_days later. The last published day of a pipeline always stays.
Without --pipeline, --retain-days or --raw-days no day and no response goes: other pipelines may keep them for longer.
A pipeline that is running is left alone (exit 75).")]
pub(super) struct Arguments {
    /// Delete it
    #[arg(long, alias = "run")]
    yes: bool,
    /// Days of the tables
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    retain_days: Option<u32>,
    /// Days of responses
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    raw_days: Option<u32>,
    /// Days of files that were replaced [default: the pipeline's, else 7]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    history_days: Option<u32>,
    /// Print every path
    #[arg(long)]
    list: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What goes, or went.
#[derive(Debug, Default)]
struct Found {
    swept: BTreeMap<String, Swept>,
    common: Vec<Goes>,
    left_alone: BTreeMap<String, String>,
}

pub(super) async fn main(arguments: &Arguments, target: &Target) -> Result<Outcome> {
    let store = target.store().await?;
    let now = SystemClock.now();
    let own = target.pipeline()?;
    let base = own.as_ref().map_or(Keep { tables: None, raw: None, ..Keep::default() }, |pipeline| pipeline.lake.keep);
    let keep = Keep {
        tables: arguments.retain_days.or(base.tables),
        raw: arguments.raw_days.or(base.raw),
        history: arguments.history_days.unwrap_or(base.history),
    };
    let lake = Lake::list(&store).await?;
    let mut found = Found::default();
    for pipeline in lake.pipelines() {
        if own.as_ref().is_some_and(|own| own.name != pipeline) {
            continue;
        }
        let swept = match arguments.yes {
            true => alone::vacuum(&store, &pipeline, keep, now).await,
            false => lake.look(&store, &pipeline, keep, now).await,
        };
        match swept {
            Ok(swept) => drop(found.swept.insert(pipeline, swept)),
            Err(error) if error.kind() == Kind::Conflict => drop(found.left_alone.insert(pipeline, error.to_string())),
            Err(error) => return Err(error),
        }
    }
    found.common = lake.common(keep, now);
    if arguments.yes {
        delete(&store, &found.common).await?;
    }
    let text = if arguments.json { as_json(&found, arguments.yes) } else { as_text(&found, arguments) };
    written(std::io::stdout().lock().write_all(text.as_bytes()))?;
    Ok(if found.left_alone.is_empty() { Outcome::Done } else { Outcome::Code(EXIT_LATER) })
}

/// Files and bytes by pipeline (`""`: none) and reason.
fn sums(found: &Found) -> BTreeMap<(&str, Why), (u64, u64)> {
    let of_pipelines = found.swept.iter().flat_map(|(name, swept)| swept.goes.iter().map(|one| (name.as_str(), one)));
    let mut sums: BTreeMap<(&str, Why), (u64, u64)> = BTreeMap::new();
    for (name, one) in of_pipelines.chain(found.common.iter().map(|one| ("", one))) {
        let (files, bytes) = sums.entry((name, one.why)).or_default();
        (*files, *bytes) = (*files + 1, *bytes + one.bytes);
    }
    sums
}

fn as_text(found: &Found, arguments: &Arguments) -> String {
    let mut text = String::new();
    if arguments.list {
        for one in found.swept.values().flat_map(|swept| &swept.goes).chain(&found.common) {
            let _ = writeln!(text, "{}", one.path);
        }
    }
    let columns = [("pipeline", Align::Left), ("files", Align::Right), ("size", Align::Right), ("what", Align::Left)];
    let mut table = Table::new(&columns);
    let sums = sums(found);
    for ((pipeline, why), (files, bytes)) in &sums {
        let pipeline = if pipeline.is_empty() { "(any)" } else { pipeline };
        table.row([pipeline.to_owned(), thousands(*files), size(*bytes), why.text().to_owned()]);
    }
    for (pipeline, swept) in found.swept.iter().filter(|(_, swept)| !swept.expired.is_empty()) {
        let (files, bytes) = swept.expired_files;
        let first =
            swept.expired.iter().map(|(table, first)| format!("{table} {first}")).collect::<Vec<_>>().join(", ");
        let verb = if arguments.yes { "left" } else { "leave" };
        let what = format!("{verb} the tables, deleted history_days later: days before {first}");
        table.row([pipeline.clone(), thousands(files), size(bytes), what]);
    }
    if !table.is_empty() {
        text.push_str(&table.render(""));
    }
    for (pipeline, why) in &found.left_alone {
        let _ = writeln!(text, "{pipeline}: left alone: {why}");
    }
    let (files, bytes) = sums.values().fold((0, 0), |(files, bytes), sum| (files + sum.0, bytes + sum.1));
    let changes = files > 0 || found.swept.values().any(|swept| !swept.expired.is_empty());
    let _ = match (changes, arguments.yes) {
        (false, _) => writeln!(text, "nothing to remove"),
        (true, true) => writeln!(text, "{} files removed, {}", thousands(files), size(bytes)),
        (true, false) => writeln!(
            text,
            "{} files would be removed, {}; nothing was changed: say `--yes` to do it",
            thousands(files),
            size(bytes)
        ),
    };
    text
}

fn as_json(found: &Found, done: bool) -> String {
    let going = |goes: &[Goes]| -> Vec<Value> {
        goes.iter().map(|one| json!({"path": one.path, "bytes": one.bytes, "why": one.why.name()})).collect()
    };
    let pipelines: serde_json::Map<String, Value> = found
        .swept
        .iter()
        .map(|(name, swept)| (name.clone(), json!({"goes": going(&swept.goes), "expired_before": swept.expired})))
        .collect();
    let json = json!({
        "done": done,
        "pipelines": pipelines,
        "common": going(&found.common),
        "left_alone": found.left_alone,
    });
    format!("{json:#}\n")
}
