//! `huopan lake`: what is published, and its upkeep.
//!
//! * `history`: the publications, one by one.
//! * `export`: plain Parquet for readers without Delta.
//! * `verify`: whether everything is there and agrees.
//! * `optimize`: fewer files for the same rows.
//! * `vacuum`: what goes.

mod export;
mod history;
mod optimize;
mod vacuum;
mod verify;

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
#[command(after_help = "Examples:
  huopan lake history                what was published, when, by which run
  huopan lake verify                 every file is there, unchanged, and the tables agree; exit 1 if not
  huopan lake verify --quick         names and sizes only
  huopan lake optimize               merge small files; the rows stay the same
  huopan lake vacuum                 what nobody needs any more, and how much it is; `--yes` deletes it

In DuckDB, over the lines of `huopan lake files offers`:
  select * from read_parquet(['…', '…'], hive_partitioning = true)")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The files of a table's published pictures, one path a line
    Files(Files),
    /// The publications, one by one, the newest last
    History(history::Arguments),
    /// Say everything that is wrong with the lake: files, logs, tables; changes nothing
    Verify(verify::Arguments),
    /// Write partitions as plain Parquet to a folder or bucket, for readers without Delta
    Export(export::Arguments),
    /// Merge small files into fewer
    Optimize(optimize::Arguments),
    /// Say what nobody needs any more; with --yes, delete it
    Vacuum(vacuum::Arguments),
}

#[derive(Debug, Args)]
struct Files {
    /// The table
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(Table::ALL.map(Table::name)))]
    table: String,
    /// Paths relative to the lake
    #[arg(long)]
    relative: bool,
}

pub(super) async fn main(arguments: &Arguments, talk: &Talk) -> Result<Outcome> {
    let target = &arguments.target;
    match &arguments.command {
        Command::Files(asked) => files(asked, target).await,
        Command::History(asked) => history::main(asked, target, talk).await,
        Command::Verify(asked) => verify::main(asked, target).await,
        Command::Export(asked) => export::main(asked, target, talk).await,
        Command::Optimize(asked) => optimize::main(asked, target).await,
        Command::Vacuum(asked) => vacuum::main(asked, target).await,
    }
}

async fn files(asked: &Files, target: &Target) -> Result<Outcome> {
    let store = target.store().await?;
    let snapshot = Snapshot::load(&store).await?;
    let mut out = std::io::stdout().lock();
    for file in snapshot.files(asked.table.parse()?) {
        let path = &file.file.path;
        written(match asked.relative {
            true => writeln!(out, "{path}"),
            false => match store.folder() {
                Some(folder) => writeln!(out, "{}", folder.join(path).display()),
                None => writeln!(out, "{}{path}", store.url()),
            },
        })?;
    }
    Ok(Outcome::Done)
}

/// `1.2 GB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_short() {
        let cases =
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (128 << 20, "134.2 MB"), (u64::MAX, "18446744.1 TB")];
        for (bytes, expected) in cases {
            assert_eq!(size(bytes), expected);
        }
    }
}
