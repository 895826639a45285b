//! `huopan runs`: the funnel of each run, and the proof of what it covered.
//!
//! * `page`: one run as a page for people, and as JSON.
//! * `coverage`: the proof, from the facts that the run left.

mod coverage;
mod page;

use std::io::Write as _;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::base::{Error, Result};
use crate::query::output::{Format, Layout};
use crate::query::{self, Answer, runs};

use super::sql::{FormatName, print};
use super::target::Target;
use super::{Outcome, written};
use page::Page;

/// `huopan runs`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan runs                    the last runs: received → loaded, duplicates, quarantined; calls
  huopan runs show 0198c2        one run: funnel, calls, completeness of its shops
  huopan runs show 0198c2 --coverage
                                 … and the proof: every span and category asked for")]
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
}

#[derive(Debug, Args)]
struct List {
    /// How many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    last: u32,
    /// How to write the rows
    #[arg(long, value_enum, default_value_t = FormatName::Table)]
    format: FormatName,
}

#[derive(Debug, Args)]
struct Show {
    /// The run's id, or the beginning of it
    run: String,
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

pub(super) async fn main(arguments: &Arguments) -> Result<Outcome> {
    match &arguments.command {
        None => list(&arguments.list, &arguments.target).await,
        Some(Command::List(asked)) => list(asked, &arguments.target).await,
        Some(Command::Show(asked)) => show(asked, &arguments.target).await,
    }
}

async fn show(asked: &Show, target: &Target) -> Result<Outcome> {
    let session = target.session().await?;
    if runs::count(&session, &asked.run).await? == 0 {
        return Err(
            Error::config(format!("no run's id begins with `{}`", asked.run)).with_hint("`huopan runs` lists them")
        );
    }
    let shown = runs::show(&session, &asked.run).await?;
    if let Some(format) = asked.format {
        print(shown.run, format.format(), Layout::default()).await?;
        print(shown.shops, format.format(), Layout::default()).await?;
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

async fn list(arguments: &List, target: &Target) -> Result<Outcome> {
    let session = target.session().await?;
    print(runs::list(&session, arguments.last).await?, arguments.format.format(), Layout::default()).await?;
    Ok(Outcome::Done)
}
