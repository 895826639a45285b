//! `huopan sql`: questions to the tables, one at a time or in a shell.
//!
//! * `lex`, `split`: text → tokens → statements and commands.
//! * `params`: values for `$name`.
//! * `ask`: one query, from its text to its rows; `pager`: what goes to a terminal.
//! * `shell`: what runs statements and commands; `command`, `describe`: the shell's own commands.
//! * `repl`: the prompt; `complete`, `paint`: what TAB gives and what typed text looks like.
//!
//! Invariant: a query that is only asked (`-c`, `-f`, a pipe) pays for nothing that the prompt needs.

mod ask;
mod command;
mod complete;
mod describe;
mod lex;
mod pager;
mod paint;
mod params;
mod repl;
mod shell;
mod split;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser as _};
use clap::{Args, ValueEnum};

use crate::base::{Error, Result};
use crate::query::output::{End, Labels, Layout, Mark, Shape, Style, write};
use crate::query::{Answer, Format};

use super::Outcome;
use super::output::Talk;
use super::target::{Target, View};
use ask::{Settings, Timing};
use pager::UsePager;
use params::{Param, Params, Value};
use shell::{Flow, Shell, Source};
use split::{Item, pieces};

/// What a shell gives a process that ended by Ctrl-C.
const EXIT_INTERRUPTED: u8 = 130;

/// `huopan sql`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan sql                                         a shell: `\\?` for help, `\\views` for questions that have names
  huopan sql -c \"select * from price_at(500) where buyable order by total\"
  huopan sql -c 'select * from title_matches($words)' --param words=保温杯,剪刀
  huopan sql -c \"select * from price_changes where change_pct < 0\" -o cuts.xlsx
  huopan sql -c \"select * from latest_offers\" -o offers.csv --bom --labels zh
  huopan sql -f question.sql --format json
  huopan sql < questions.sql
  huopan sql -c '\\d offers'

Tables: offers, price_tiers, skus, shops, quarantine, runs, calls, raw_pages, days, groups, ledger.
Views: latest_offers, latest_price_tiers, latest_skus, group_offers, price_changes, new_offers, delisted_offers,
moq_changes, stock_outs.
Functions: price_at(pieces [, dt]), price_moves(pieces [, dt]), price_history(offer_id), title_matches(keywords),
competitor_position([pieces]).

`\\d NAME` and `huopan schema` explain the columns, `\\views` what each view and function answers.

Without -c and -f: the shell on a terminal, else statements from standard input. Several statements are separated by `;`;
the first that fails ends the command with exit code 1, Ctrl-C ends it with 130.

In xlsx, ids are text, money is a number where Excel can hold it exactly (15 digits) and text where not, dates are dates.
arrow is the IPC file format (Feather 2), arrows the IPC stream. A file appears under its name when it is complete.")]
pub(super) struct Arguments {
    /// Statements, and `\` commands; may be repeated
    #[arg(short, long, value_name = "SQL", conflicts_with = "file")]
    command: Vec<String>,
    /// A file of statements; `-`: standard input; may be repeated
    #[arg(short, long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// A value for `$NAME`: a whole number, a decimal, a date, else text; `NAME:text=VALUE` says which; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<Param>,
    /// A value for `$1`, the next for `$2`, …
    #[arg(short = 'p', long = "value", value_name = "VALUE", allow_hyphen_values = true)]
    values: Vec<String>,
    /// How to write the rows [default: table, or what the ending of --output says]
    #[arg(long, value_parser = format_parser(), value_name = "FORMAT", help_heading = "Output")]
    format: Option<Format>,
    /// Write the rows of the one statement to this file, which appears when it is complete
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,
    /// Rows shown as a table (other formats write all)
    #[arg(long, value_name = "N", default_value_t = Layout::default().rows_max, help_heading = "Output")]
    rows: usize,
    /// In a table, show the values of a row one below the other
    #[arg(short = 'x', long, help_heading = "Output")]
    expanded: bool,
    /// What columns are called in table, csv, markdown and xlsx [default: zh for xlsx, else names]
    #[arg(long, value_enum, value_name = "WHICH", help_heading = "Output")]
    labels: Option<LabelsName>,
    /// Start a csv with the mark by which Excel knows UTF-8
    #[arg(long, help_heading = "Output")]
    bom: bool,
    /// Say how long each query took
    #[arg(long, help_heading = "Output")]
    timer: bool,
    /// Print to a terminal what does not fit it, instead of paging it ($HUOPAN_PAGER, $PAGER, else less)
    #[arg(long, help_heading = "Output")]
    no_pager: bool,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    view: View,
}

/// How rows are written that are always text.
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

/// What columns are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LabelsName {
    /// As in SQL
    Names,
    /// In Chinese, as `huopan schema` lists them
    Zh,
}

/// Every format with a word about it.
fn format_parser() -> impl clap::builder::TypedValueParser<Value = Format> {
    let about = |format| match format {
        Format::Table => "Aligned columns",
        Format::Csv => "Comma-separated values",
        Format::Json => "One array of objects",
        Format::Jsonl => "One object a line",
        Format::Markdown => "A markdown table",
        Format::Xlsx => "An Excel workbook",
        Format::Parquet => "A Parquet file, compressed with zstd",
        Format::Arrow => "An Arrow IPC file (Feather 2)",
        Format::ArrowStream => "An Arrow IPC stream",
    };
    let values = Format::NAMES.iter().map(|(name, format)| PossibleValue::new(*name).help(about(*format)));
    PossibleValuesParser::new(values).try_map(|name| shell::format(&name))
}

pub(super) async fn main(arguments: &Arguments, talk: &Talk) -> Result<Outcome> {
    let settings = arguments.settings()?;
    let is_asked = !arguments.command.is_empty() || !arguments.file.is_empty();
    if !is_asked && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        if arguments.output.is_some() {
            return Err(Error::config("`--output` goes with a query").with_hint("in the shell, say `\\o FILE`"));
        }
        let source = Source { target: &arguments.target, view: &arguments.view };
        return repl::main(Shell::open(source, settings, talk).await?, talk).await;
    }
    let texts = arguments.texts()?;
    only_one_for_a_file(&texts, &settings)?;
    let source = Source { target: &arguments.target, view: &arguments.view };
    let mut shell = Shell::open(source, settings, talk).await?;
    for Text { text, file } in &texts {
        match shell.run(text, file.as_deref()).await? {
            Flow::GoOn => {}
            Flow::Stop => break,
            Flow::Interrupted => return Ok(Outcome::Code(EXIT_INTERRUPTED)),
        }
    }
    Ok(Outcome::Done)
}

/// What to run, and the file it is from.
struct Text {
    text: String,
    file: Option<PathBuf>,
}

impl Arguments {
    fn settings(&self) -> Result<Settings> {
        let format = match (self.format, &self.output) {
            (Some(format), _) => format,
            (None, Some(file)) => Format::of_file(file).ok_or_else(|| shell::no_ending(file, "`--format`"))?,
            (None, None) => Format::Table,
        };
        if self.bom && format != Format::Csv {
            return Err(Error::config(format!("`--bom` is for csv, not for {}", format.name())));
        }
        if self.labels == Some(LabelsName::Zh) && !format.has_labels() {
            let message = format!("`--labels` is for table, csv, markdown and xlsx, not for {}", format.name());
            return Err(Error::config(message).with_hint("programs know columns by their names"));
        }
        let labels = match self.labels {
            Some(LabelsName::Zh) => Labels::Chinese,
            Some(LabelsName::Names) => Labels::Names,
            None if format == Format::Xlsx => Labels::Chinese,
            None => Labels::Names,
        };
        let shape = if self.expanded { Shape::Expanded } else { Shape::Grid };
        let layout = Layout { rows_max: self.rows, shape, ..Layout::default() };
        let mark = if self.bom { Mark::ByteOrder } else { Mark::None };
        Ok(Settings {
            style: Style { format, layout, labels, mark },
            params: self.params(),
            timing: if self.timer { Timing::On } else { Timing::Off },
            pager: if self.no_pager { UsePager::Never } else { UsePager::WhereNeeded },
            file: self.output.clone(),
        })
    }

    fn params(&self) -> Params {
        let mut params = Params::default();
        for param in &self.params {
            params.set(param.clone());
        }
        for (value, number) in self.values.iter().zip(1..) {
            params.set(Param { name: number.to_string(), value: Value::guessed(value) });
        }
        params
    }

    fn texts(&self) -> Result<Vec<Text>> {
        let commands = self.command.iter().map(|text| Ok(Text { text: text.clone(), file: None }));
        let file = |file: &PathBuf| Ok(Text { text: shell::read(file)?, file: Some(file.clone()) });
        let mut texts = commands.chain(self.file.iter().map(file)).collect::<Result<Vec<_>>>()?;
        if texts.is_empty() {
            texts.push(Text { text: shell::read(Path::new("-"))?, file: None });
        }
        if texts.iter().all(|text| pieces(&text.text).is_empty()) {
            return Err(Error::config("there is no query")
                .with_hint("say `-c SQL` or `-f FILE`, or start `huopan sql` on a terminal"));
        }
        Ok(texts)
    }
}

/// A file holds one result.
fn only_one_for_a_file(texts: &[Text], settings: &Settings) -> Result<()> {
    let Some(file) = &settings.file else { return Ok(()) };
    let items = texts.iter().flat_map(|text| pieces(&text.text)).map(|piece| piece.item);
    let count = items.filter(|item| matches!(item, Item::Statement(_))).count();
    match count {
        1 => Ok(()),
        _ => Err(Error::config(format!(
            "`{}` can hold the rows of one statement, and there are {count}",
            file.display()
        ))
        .with_hint("ask one at a time, or put `\\o FILE` before each")),
    }
}

/// Writes text to stdout, through a pager where it does not fit the terminal.
pub(super) fn page_out(text: &str) -> Result<()> {
    paged(text, UsePager::WhereNeeded)
}

fn paged(text: &str, use_pager: UsePager) -> Result<()> {
    if !std::io::stdout().is_terminal() {
        return super::written(std::io::stdout().write_all(text.as_bytes()));
    }
    let mut out = pager::Paged::new(use_pager, || {});
    super::written(out.write_all(text.as_bytes()))?;
    super::written(tokio::task::block_in_place(|| out.finish()))
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
