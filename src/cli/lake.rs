//! `huopan lake`: what is published, for readers without Delta.

mod export;

use std::io::Write;

use clap::{Args, Subcommand};

use crate::base::Result;
use crate::load::Snapshot;
use crate::transform::contract::Table;

use super::output::Talk;
use super::target::Target;
use super::{Outcome, written};

/// `huopan lake`
#[derive(Debug, Args)]
#[command(after_help = "Example, in DuckDB:
  select * from read_parquet([…the lines of `huopan lake files offers`…], hive_partitioning = true)")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The files of a table's published pictures, one path a line
    Files {
        /// The table
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(Table::ALL.map(Table::name)))]
        table: String,
        /// Paths relative to the lake
        #[arg(long)]
        relative: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Write partitions as plain Parquet to a folder or bucket, for readers without Delta
    Export {
        #[command(flatten)]
        asked: export::Arguments,
        #[command(flatten)]
        target: Target,
    },
}

pub(super) async fn main(arguments: &Arguments, talk: &Talk) -> Result<Outcome> {
    match &arguments.command {
        Command::Files { table, relative, target } => files(table, *relative, target).await,
        Command::Export { asked, target } => export::main(asked, target, talk).await,
    }
}

async fn files(table: &str, relative: bool, target: &Target) -> Result<Outcome> {
    let store = target.store().await?;
    let snapshot = Snapshot::load(&store).await?;
    let mut out = std::io::stdout().lock();
    for file in snapshot.files(table.parse()?) {
        let path = &file.file.path;
        written(match relative {
            true => writeln!(out, "{path}"),
            false => match store.folder() {
                Some(folder) => writeln!(out, "{}", folder.join(path).display()),
                None => writeln!(out, "{}{path}", store.url()),
            },
        })?;
    }
    Ok(Outcome::Done)
}
