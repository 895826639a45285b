//! `huopan runs`: the funnel of each run.

use clap::{Args, Subcommand};

use crate::base::{Error, Result};
use crate::query::output::Layout;
use crate::query::runs;

use super::Outcome;
use super::sql::{FormatName, print};
use super::target::Target;

/// `huopan runs`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan runs                    the last runs: received → loaded, duplicates, quarantined; calls
  huopan runs show 0198c2        one run with the completeness of its shops")]
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
    /// How to write the rows
    #[arg(long, value_enum, default_value_t = FormatName::Table)]
    format: FormatName,
}

pub(super) async fn main(arguments: &Arguments) -> Result<Outcome> {
    match &arguments.command {
        None => list(&arguments.list, &arguments.target).await,
        Some(Command::List(asked)) => list(asked, &arguments.target).await,
        Some(Command::Show(asked)) => {
            let session = arguments.target.session().await?;
            if runs::count(&session, &asked.run).await? == 0 {
                return Err(Error::config(format!("no run's id begins with `{}`", asked.run))
                    .with_hint("`huopan runs` lists them"));
            }
            let shown = runs::show(&session, &asked.run).await?;
            print(shown.run, asked.format.format(), Layout::default()).await?;
            print(shown.shops, asked.format.format(), Layout::default()).await?;
            Ok(Outcome::Done)
        }
    }
}

async fn list(arguments: &List, target: &Target) -> Result<Outcome> {
    let session = target.session().await?;
    print(runs::list(&session, arguments.last).await?, arguments.format.format(), Layout::default()).await?;
    Ok(Outcome::Done)
}
