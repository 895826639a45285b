//! `huopan runs`: the funnel of each run, and the proof of what it covered; giving up one that has not published.
//!
//! * `list`: the last runs, a line each.
//! * `page`: one run as a page for people, and as JSON.
//! * `coverage`: the proof, from the facts that the run left.

mod coverage;
mod list;
mod page;

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::base::ids::short_id_length;
use crate::base::{Error, Result, RunName, SystemClock};
use crate::extract::progress::Silent;
use crate::query::output::{Format, Layout};
use crate::query::{self, Answer, runs};
use crate::run::Surroundings;
use crate::run::abandon::{Abandoned, abandon};

use super::output::Talk;
use super::sql::{FormatName, page_out, print};
use super::target::Target;
use super::{Outcome, check, wrap, written};
use page::Page;
pub(super) use page::moment;

/// `huopan runs`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan runs                    the last runs: received → loaded, duplicates, quarantined; calls
  huopan runs show latest        the last one: funnel, calls, completeness of its shops
  huopan runs show 0198c2        one run, by the beginning of its id
  huopan runs show 0198c2 --coverage
                                 … and the proof: every span and category asked for
  huopan runs abandon 0198c2 --pipeline pipelines/portals.toml
                                 give an unfinished run up: the next start begins anew

The table's times are Beijing's; what does not fit the terminal is left out, least needed first. csv and json have all
columns, with times in UTC.")]
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
    /// The last runs, newest first
    List(List),
    /// One run and its shops
    Show(Show),
    /// Give an unfinished run up: the next start begins anew instead of going on with it
    Abandon(Abandon),
}

#[derive(Debug, Args)]
struct List {
    /// How many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    last: u32,
    /// How to write the rows
    #[arg(long, value_enum, default_value_t = FormatName::Table)]
    format: FormatName,
    /// The same as `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Debug, Args)]
struct Show {
    /// The run's id, the beginning of it, or `latest`
    run: RunName,
    /// Show which spans of time and categories each shop was listed by, and what came of each
    #[arg(long)]
    coverage: bool,
    /// Print everything as one JSON document
    #[arg(long)]
    json: bool,
    /// Write the rows of `runs` and `shops` instead
    #[arg(long, value_enum, conflicts_with_all = ["coverage", "json"])]
    format: Option<FormatName>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  huopan runs abandon 0198c2 --pipeline pipelines/portals.toml

Its calls stay counted and stand in `calls`, and what it has landed stays where it is, but no later run
uses it: whatever it was answered is asked again. A run that is at work holds its pipeline's lock and
is not given up: stop it first. `huopan plan PIPELINE` says which run the next start would go on with.")]
struct Abandon {
    /// The run's id, the beginning of it, or `latest`
    run: RunName,
    /// Print what was given up as JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Whether JSON is asked for.
    pub(super) fn prints_json(&self) -> bool {
        match &self.command {
            Some(Command::Show(asked)) => asked.json,
            Some(Command::Abandon(asked)) => asked.json,
            Some(Command::List(asked)) => asked.json,
            None => self.list.json,
        }
    }
}

pub(super) async fn main(arguments: &Arguments, talk: &Talk) -> Result<Outcome> {
    match &arguments.command {
        None => list(&arguments.list, &arguments.target, talk).await,
        Some(Command::List(asked)) => list(asked, &arguments.target, talk).await,
        Some(Command::Show(asked)) => show(asked, &arguments.target, talk).await,
        Some(Command::Abandon(asked)) => give_up(asked, &arguments.target).await,
    }
}

async fn give_up(asked: &Abandon, target: &Target) -> Result<Outcome> {
    let file = target.pipeline_file().ok_or_else(|| {
        Error::config("a run is given up for its pipeline, and none is named")
            .with_hint("say `--pipeline FILE`: its gateway's definition tells what the run's calls were")
    })?;
    let pipeline = check::load(file)?;
    let cancel = CancellationToken::new();
    let around = Surroundings { clock: Arc::new(SystemClock), progress: &Silent, cancel, seed: rand::random() };
    let Abandoned { dt, run_id, landed, stands } = abandon(&pipeline, &asked.run, &around).await?;
    let name = &pipeline.name;
    let mut out = std::io::stdout().lock();
    written(if asked.json {
        let document = serde_json::json!({
            "outcome": "abandoned", "pipeline": name, "dt": dt, "run_id": run_id.to_string(),
            "landed_answers": landed, "published_before": stands, "exit_code": 0,
        });
        writeln!(out, "{document}")
    } else {
        let landed = match landed {
            Some(count) => format!("its {count} landed answers are"),
            None => "what it has landed is".to_owned(),
        };
        let stays = if stands { format!("; {dt} stays as it was published before") } else { String::new() };
        writeln!(out, "run {run_id} of {dt} is given up: {landed} not used again, its calls stay counted{stays}")
    })?;
    Ok(Outcome::Done)
}

async fn show(asked: &Show, target: &Target, talk: &Talk) -> Result<Outcome> {
    let session = target.session().await?;
    let shown = runs::show(&session, &runs::find(&session, &asked.run).await?).await?;
    if let Some(format) = asked.format {
        print(shown.run, format.format(), Layout::default(), talk).await?;
        print(shown.shops, format.format(), Layout::default(), talk).await?;
        return Ok(Outcome::Done);
    }
    let page = Page { runs: rows(shown.run).await?, shops: rows(shown.shops).await? };
    let proofs = if asked.coverage { Some(coverage::read(&target.store().await?, &page.runs).await?) } else { None };
    let mut out = std::io::stdout().lock();
    written(match asked.json {
        true => writeln!(out, "{}", page::json(&page, proofs.as_deref())),
        false => write!(out, "{}", page::text(&page, proofs.as_deref())),
    })?;
    Ok(Outcome::Done)
}

/// The rows of an answer, each as an object.
pub(super) async fn rows(answer: Answer) -> Result<Vec<Value>> {
    let mut json = Vec::new();
    let _ = query::output::write(answer, Format::Json, Layout::default(), &mut json).await?;
    serde_json::from_slice(&json).map_err(|source| Error::internal("rows cannot be read as JSON").caused_by(source))
}

async fn list(arguments: &List, target: &Target, talk: &Talk) -> Result<Outcome> {
    let session = target.session().await?;
    let format = if arguments.json { FormatName::Json } else { arguments.format };
    let answer = runs::list(&session, arguments.last).await?;
    if format != FormatName::Table {
        print(answer, format.format(), Layout::default(), talk).await?;
        return Ok(Outcome::Done);
    }
    let known = runs::ids(&session).await?;
    let width = std::io::stdout().is_terminal().then(|| wrap::width(u16::MAX));
    let table = list::table(&rows(answer).await?, short_id_length(known.keys().map(String::as_str)), width);
    page_out(&table.text)?;
    if !table.left_out.is_empty() {
        talk.say(&format!("left out for the width: {}", table.left_out.join(", ")));
    }
    Ok(Outcome::Done)
}
