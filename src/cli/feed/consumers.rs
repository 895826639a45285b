//! `huopan feed consumers`: who takes the feed, and how far each has come.

use std::io::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::base::{Clock as _, Error, Result, SystemClock};
use crate::cli::table::{Align, Table};
use crate::cli::{Outcome, written};
use crate::feed::consumer::{self, Position};
use crate::feed::steps::Replaced;
use crate::feed::{Cursor, Scope, Sensitivity, TABLES, backlog, steps};
use crate::load::Retained;
use crate::store::Store;
use crate::transform::contract;

/// `huopan feed consumers`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Move a consumer's cursor, or make a consumer
    Reset(Reset),
    /// Forget a consumer
    Remove {
        /// The consumer
        name: String,
    },
}

#[derive(Debug, Args)]
struct Reset {
    /// The consumer
    name: String,
    /// Where to: `start`, `now`, or a cursor
    #[arg(long, value_name = "CURSOR", default_value = "start")]
    to: String,
    /// The table of a new consumer
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(TABLES.map(contract::Table::name)))]
    table: Option<String>,
    /// Tell a new consumer of rows that differ in stock, sales or counters only
    #[arg(long)]
    volatile: bool,
}

pub(super) async fn main(arguments: &Arguments, store: &Store) -> Result<Outcome> {
    match &arguments.command {
        None => list(store, arguments.json).await,
        Some(Command::Reset(asked)) => reset(asked, store).await,
        Some(Command::Remove { name }) => {
            match consumer::remove(store, name).await? {
                true => Ok(Outcome::Done),
                false => Err(Error::config(format!("there is no consumer `{name}`"))
                    .with_hint("`huopan feed consumers` lists them")),
            }
        }
    }
}

async fn list(store: &Store, as_json: bool) -> Result<Outcome> {
    let snapshot = Retained::load(store).await?;
    let consumers = consumer::all(store).await?;
    // A list reads the publish log and no more: what is lost, the next take tells.
    let behind = |position: &Position| steps::backlog(&snapshot, &position.cursor, usize::MAX, &Replaced::new());
    let behind: Vec<Result<usize>> =
        consumers.iter().map(|position| behind(position).map(|found| found.steps.len())).collect();
    let behind = consumers.iter().zip(&behind);
    let mut out = std::io::stdout().lock();
    if as_json {
        let consumer = |(position, behind): (&Position, &Result<usize>)| {
            json!({
                "consumer": position.name, "table": position.scope.table.name(),
                "volatile": position.scope.sensitivity == Sensitivity::Volatile,
                "cursor": position.cursor.to_string(), "moved_at": position.moved_at,
                "publications_left": behind.as_ref().ok(),
                "error": behind.as_ref().err().map(ToString::to_string),
            })
        };
        let consumers: Vec<_> = behind.map(consumer).collect();
        written(writeln!(out, "{}", json!(consumers)))?;
        return Ok(Outcome::Done);
    }
    if consumers.is_empty() {
        written(writeln!(out, "nobody has taken the feed under a name yet (`huopan feed --consumer NAME`)"))?;
        return Ok(Outcome::Done);
    }
    let columns = [("consumer", Align::Left), ("table", Align::Left), ("publications left", Align::Right)];
    let mut table = Table::new(&[&columns[..], &[("moved at", Align::Left), ("cursor", Align::Left)]].concat());
    for (position, behind) in behind {
        let moved_at = position.moved_at.map(|at| at.format("%Y-%m-%d %H:%M:%SZ").to_string());
        table.row([
            position.name.clone(),
            position.scope.table.name().to_owned(),
            behind.as_ref().map_or_else(|_| "lost: see --json".to_owned(), usize::to_string),
            moved_at.unwrap_or_default(),
            position.cursor.to_string(),
        ]);
    }
    written(write!(out, "{}", table.render("")))?;
    Ok(Outcome::Done)
}

async fn reset(asked: &Reset, store: &Store) -> Result<Outcome> {
    let snapshot = Retained::load(store).await?;
    let cursor = match asked.to.as_str() {
        "start" => Cursor::default(),
        "now" => steps::now(&snapshot),
        cursor => cursor.parse()?,
    };
    // A cursor that cannot be gone on from is refused now, not tonight.
    backlog(store, &snapshot, &cursor, usize::MAX).await?;
    let position = match consumer::find(store, &asked.name).await? {
        Some(position) => {
            if asked.table.as_deref().is_some_and(|table| table != position.scope.table.name()) {
                return Err(Error::config(format!("the consumer `{}` takes `{}`", asked.name, position.scope.table))
                    .with_hint("give the other table a name of its own, or remove this one first"));
            }
            position
        }
        None => {
            let table = asked.table.as_deref().map_or(Ok(contract::Table::Offers), crate::feed::table)?;
            let sensitivity = if asked.volatile { Sensitivity::Volatile } else { Sensitivity::Content };
            let scope = Scope { table, sensitivity };
            Position { name: asked.name.clone(), number: 0, scope, cursor: Cursor::default(), moved_at: None }
        }
    };
    consumer::advance(store, &position, &cursor, SystemClock.now()).await?;
    written(writeln!(std::io::stdout(), "{cursor}"))?;
    Ok(Outcome::Done)
}
