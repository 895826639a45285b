//! `huopan lake optimize`.

use std::io::Write;

use clap::Args;

use crate::base::{Clock, Kind, Result, SystemClock};
use crate::load::agree::{self, Difference};
use crate::load::upkeep::alone;
use crate::load::upkeep::optimize::{Optimized, Wanted, plan};
use crate::load::{Snapshot, delta};
use crate::transform::contract::Table;

use super::super::table::thousands;
use super::super::target::Target;
use super::super::{EXIT_LATER, Outcome, written};
use super::size;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan lake optimize                   merge small files, up to about 128 MiB each
  huopan lake optimize --dry-run         what would be merged or mended
  huopan lake optimize --table calls     of one table only

The rows, their order and what a query answers stay the same; Delta readers see commits that change no data. Files that were
replaced go with a later `huopan lake vacuum`. Also writes checkpoints of Delta logs that lack one, and mends Delta tables
that differ from the publish log: published files that a table has lost are added to it, others are taken out of it,
unless the log has lost the publication that named them.
A pipeline that is running is left alone (exit 75).")]
pub(super) struct Arguments {
    /// Only these tables
    #[arg(long, value_name = "TABLE", value_parser = clap::builder::PossibleValuesParser::new(Table::ALL.map(Table::name)))]
    table: Vec<String>,
    /// Say what would be merged or mended, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn main(arguments: &Arguments, target: &Target) -> Result<Outcome> {
    let store = target.store().await?;
    let mut wanted = Wanted::default();
    if !arguments.table.is_empty() {
        wanted.tables = arguments.table.iter().map(|name| name.parse()).collect::<Result<_>>()?;
    }
    let only = target.pipeline()?.map(|pipeline| pipeline.name);
    let snapshot = Snapshot::load(&store).await?;
    let mut outcome = Outcome::Done;
    for pipeline in snapshot.pipelines().filter(|name| only.as_deref().is_none_or(|only| only == *name)) {
        if arguments.dry_run {
            let Some(state) = snapshot.state(pipeline) else { continue };
            for found in agree::compare(&store, state, &wanted.tables).await? {
                say(&mended(pipeline, found, "would be "))?;
            }
            for merge in plan(state, &wanted).values().flatten() {
                let (files, bytes) =
                    merge.replaced().fold((0, 0), |(files, bytes), file| (files + 1, bytes + file.bytes));
                let (table, dt, merged) = (merge.table, merge.dt, thousands(merge.merged() as u64));
                say(&format!("{pipeline} {table} {dt}: {} files ({}) become {merged}", thousands(files), size(bytes)))?;
            }
            continue;
        }
        match alone::optimize(&store, pipeline, &wanted, SystemClock.now()).await {
            Ok((differences, done)) => {
                differences.into_iter().try_for_each(|found| say(&mended(pipeline, found, "")))?;
                say(&told(pipeline, &done))?;
            }
            Err(error) if error.kind() == Kind::Conflict => {
                outcome = Outcome::Code(EXIT_LATER);
                say(&format!("{pipeline}: left alone: {error}"))?;
            }
            Err(error) => return Err(error),
        }
    }
    if !arguments.dry_run {
        for table in delta::keep_up(&store).await? {
            say(&format!("{table}: checkpoint of the Delta log written"))?;
        }
    }
    Ok(outcome)
}

fn mended(pipeline: &str, found: Difference, would_be: &str) -> String {
    let Difference { table, missing, unpublished, unknown } = found;
    let (missing, unpublished) = (thousands(missing), thousands(unpublished));
    let left = match unknown {
        0 => String::new(),
        _ => format!(", {} of publications that the log has lost left in it", thousands(unknown)),
    };
    format!(
        "{pipeline} {table}: {missing} published files {would_be}added to the Delta table, {unpublished} others taken out{left}"
    )
}

fn told(pipeline: &str, done: &Optimized) -> String {
    match done.publications {
        0 => format!("{pipeline}: nothing to merge"),
        publications => format!(
            "{pipeline}: {} files ({}) became {} ({}), {} publications",
            thousands(done.files_before),
            size(done.bytes_before),
            thousands(done.files_after),
            size(done.bytes_after),
            thousands(publications),
        ),
    }
}

fn say(line: &str) -> Result<()> {
    written(writeln!(std::io::stdout().lock(), "{line}"))
}
