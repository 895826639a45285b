//! `huopan sql`: questions to the tables.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::base::{Error, Result};
use crate::query::output::{End, Layout, write};
use crate::query::{Answer, Format};

use super::Outcome;
use super::output::Talk;
use super::target::{Target, View};

/// `huopan sql`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan sql -c \"select * from price_at(500) where buyable order by price_per_piece limit 10\"
  huopan sql -c \"select * from price_changes where change_pct <= -5\" --format csv > cuts.csv
  huopan sql -c \"show tables\"
  huopan sql -f question.sql --format json

Tables: offers, price_tiers, skus, shops, quarantine, runs, calls, raw_pages. Views: latest_offers, latest_price_tiers,
latest_skus, price_changes, new_offers, delisted_offers, moq_changes, stock_outs. Functions: price_at(pieces [, dt]),
price_history(offer_id). `huopan schema` explains the columns.")]
pub(super) struct Arguments {
    /// The query
    #[arg(short, long, value_name = "SQL", required_unless_present = "file")]
    command: Option<String>,
    /// A file with the query
    #[arg(short, long, value_name = "FILE", conflicts_with = "command")]
    file: Option<PathBuf>,
    /// How to write the rows
    #[arg(long, value_enum, default_value_t = FormatName::Table)]
    format: FormatName,
    /// Rows shown as a table (other formats write all)
    #[arg(long, value_name = "N", default_value_t = Layout::default().rows_max)]
    rows: usize,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    view: View,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FormatName {
    /// Aligned columns
    Table,
    /// Comma-separated values
    Csv,
    /// One array of objects
    Json,
    /// One object a line
    Jsonl,
    /// A markdown table
    Markdown,
}

impl FormatName {
    pub(super) fn format(self) -> Format {
        match self {
            FormatName::Table => Format::Table,
            FormatName::Csv => Format::Csv,
            FormatName::Json => Format::Json,
            FormatName::Jsonl => Format::Jsonl,
            FormatName::Markdown => Format::Markdown,
        }
    }
}

pub(super) async fn main(arguments: &Arguments, talk: &Talk) -> Result<Outcome> {
    let query = match (&arguments.command, &arguments.file) {
        (Some(command), _) => command.clone(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .map_err(|error| Error::config(format!("cannot read `{}`", file.display())).caused_by(error))?,
        (None, None) => return Err(Error::config("there is no query").with_hint("say `-c SQL` or `-f FILE`")),
    };
    let session = arguments.target.session_as(&arguments.view).await?;
    let layout = Layout { rows_max: arguments.rows, ..Layout::default() };
    print(session.sql(&query).await?, arguments.format.format(), layout, talk).await?;
    Ok(Outcome::Done)
}

/// Writes an answer to stdout; a table that is cut says so on stderr.
pub(super) async fn print(answer: Answer, format: Format, layout: Layout, talk: &Talk) -> Result<()> {
    let mut out = std::io::stdout();
    let written = write(answer, format, layout, &mut out).await?;
    if written.end == End::RowLimit {
        talk.say(&format!("only the first {} rows are shown (`--rows`)", written.rows));
    }
    Ok(())
}
