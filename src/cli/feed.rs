//! `huopan feed`: the rows that differ between publications, and the consumers that take them.
//!
//! * `consumers`: who takes them, and how far each has come.

mod consumers;

use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use crate::base::{Clock as _, Error, Result, SystemClock};
use crate::feed::changes::{self, Kind};
use crate::feed::consumer::{self, Position};
use crate::feed::sink::{Format, Sink};
use crate::feed::{Backlog, Cursor, Scope, Sensitivity, TABLES, backlog};
use crate::load::Retained;
use crate::store::Store;
use crate::transform::contract::Table;

use super::file::Output;
use super::output::Talk;
use super::target::Target;
use super::{Outcome, written};

/// `huopan feed`
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  huopan feed                                        every row, from the first publication on, as JSON lines
  huopan feed --since v1:nightly=12 --format csv -o changes.csv
                                                     what came after a cursor; the new cursor is printed
  huopan feed --consumer erp -o changes.jsonl        what `erp` has not taken yet; its cursor is kept in the lake
  huopan feed --consumer erp --table skus --keep -o s.parquet --format parquet
  huopan feed consumers                              who takes what, and how far each has come
  huopan feed consumers reset erp --to now           skip what is there; `--to start`: take everything once more

Kinds: new, changed (op upsert), gone, dropped (op delete; dropped: not watched any more), correction (either; the row is
of an earlier day). Applied in their order by (pipeline, offer_id …), without the corrections, they keep a copy of the
newest picture. `proven` is false where the shop is not complete in both publications.

A consumer gets every row at least once: its cursor moves after the output is completely written, and never before. If
what reads the output may fail, write with --keep and move the cursor yourself (`consumers reset erp --to CURSOR`)."
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    take: Take,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Who takes the feed, and how far each has come
    Consumers(consumers::Arguments),
}

#[derive(Debug, Args)]
struct Take {
    /// Start after this cursor [default: before the first publication]
    #[arg(long, value_name = "CURSOR", conflicts_with = "consumer")]
    since: Option<Cursor>,
    /// Go on where this consumer stopped
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// Leave the consumer's cursor where it is
    #[arg(long, requires = "consumer")]
    keep: bool,
    /// The table [default: offers, or the consumer's]
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(TABLES.map(Table::name)))]
    table: Option<String>,
    /// Tell of rows that differ in stock, sales or counters only
    #[arg(long)]
    volatile: bool,
    /// How to write the rows
    #[arg(long, value_enum, default_value_t = FormatName::Jsonl)]
    format: FormatName,
    /// Write to this file, which appears when it is complete, or through a pipe or device [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Take at most this many publications (a lost one and what replaced it are told at once)
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    publications: u32,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatName {
    /// One object a line
    Jsonl,
    /// Comma-separated values
    Csv,
    /// A Parquet file
    Parquet,
    /// An Arrow IPC stream
    Arrow,
}

impl FormatName {
    fn format(self) -> Format {
        match self {
            FormatName::Jsonl => Format::Jsonl,
            FormatName::Csv => Format::Csv,
            FormatName::Parquet => Format::Parquet,
            FormatName::Arrow => Format::Arrow,
        }
    }
}

pub(super) async fn main(arguments: &Arguments, talk: &Talk) -> Result<Outcome> {
    let store = arguments.target.store().await?;
    match &arguments.command {
        Some(Command::Consumers(asked)) => consumers::main(asked, &store).await,
        None => take(&arguments.take, &store, talk).await,
    }
}

async fn take(asked: &Take, store: &Store, talk: &Talk) -> Result<Outcome> {
    let stdout_is_terminal = asked.file().is_none() && std::io::stdout().is_terminal();
    if stdout_is_terminal && asked.format.format().is_binary() {
        return Err(Error::config("this format is not for a terminal").with_hint("say `-o FILE`"));
    }
    let position = match &asked.consumer {
        Some(name) => Some(position(store, name, asked).await?),
        None => None,
    };
    let scope = position.as_ref().map_or_else(|| asked.scope(), |position| Ok(position.scope))?;
    let since = match (&position, &asked.since) {
        (Some(position), _) => position.cursor.clone(),
        (None, since) => since.clone().unwrap_or_default(),
    };
    let snapshot = Retained::load_with(store, since.iter().map(|(pipeline, _)| pipeline)).await?;
    let steps_max = usize::try_from(asked.publications).unwrap_or(usize::MAX);
    let backlog = backlog(store, &snapshot, &since, steps_max).await?;
    let telling = Telling { store, backlog: &backlog, scope, format: asked.format.format(), talk };
    let told = match asked.file() {
        Some(path) => to_file(path, &telling).await,
        None => telling.to(std::io::stdout()).await.map(|(told, _)| told),
    };
    let told = match told {
        Err(error) if reader_is_gone(&error) => {
            talk.say(&format!("nobody reads any more: the cursor stays at {since}"));
            return Ok(Outcome::Code(1));
        }
        told => told?,
    };
    if let Some(position) = position.filter(|position| !asked.keep && position.cursor != backlog.cursor) {
        consumer::advance(store, &position, &backlog.cursor, SystemClock.now()).await?;
    }
    report(asked, &backlog, &told, talk)
}

/// Says what was written; the cursor goes to standard output where that is free.
fn report(asked: &Take, backlog: &Backlog<'_>, told: &Told, talk: &Talk) -> Result<Outcome> {
    let kinds = Kind::ALL.into_iter().zip(told.rows).filter(|(_, rows)| *rows > 0);
    let kinds: Vec<String> = kinds.map(|(kind, rows)| format!("{rows} {}", kind.name())).collect();
    let rows = if kinds.is_empty() { "no rows".to_owned() } else { kinds.join(", ") };
    talk.say(&format!("{} publications: {rows}", backlog.steps.len()));
    if backlog.steps.len() > usize::try_from(asked.publications).unwrap_or(usize::MAX) {
        talk.say("more than `--publications`: a publication is lost, and what replaced it is told with the rest");
    }
    if backlog.left > 0 {
        talk.say(&format!("{} publications are left for the next time (`--publications`)", backlog.left));
    }
    match asked.file() {
        Some(_) => written(writeln!(std::io::stdout(), "{}", backlog.cursor))?,
        None => talk.say(&format!("cursor: {}", backlog.cursor)),
    }
    Ok(Outcome::Done)
}

impl Take {
    fn scope(&self) -> Result<Scope> {
        let table = self.table.as_deref().map_or(Ok(Table::Offers), crate::feed::table)?;
        let sensitivity = if self.volatile { Sensitivity::Volatile } else { Sensitivity::Content };
        Ok(Scope { table, sensitivity })
    }

    /// Where to write to; `None`: to standard output.
    fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != Path::new("/dev/stdout"))
    }
}

/// Where a consumer stands; a new one stands before the first publication.
async fn position(store: &Store, name: &str, asked: &Take) -> Result<Position> {
    let Some(position) = consumer::find(store, name).await? else {
        let (name, scope) = (name.to_owned(), asked.scope()?);
        return Ok(Position { name, number: 0, scope, cursor: Cursor::default(), moved_at: None });
    };
    let kept = position.scope;
    let other_table = asked.table.as_deref().is_some_and(|table| table != kept.table.name());
    if other_table || (asked.volatile && kept.sensitivity == Sensitivity::Content) {
        let volatile = if kept.sensitivity == Sensitivity::Volatile { " with --volatile" } else { "" };
        return Err(Error::config(format!("the consumer `{name}` takes `{}`{volatile}", kept.table))
            .with_hint("a cursor is about one table: give the other one a name of its own"));
    }
    Ok(position)
}

/// Rows by kind, as [`Kind::ALL`] orders them.
#[derive(Debug, Default)]
struct Told {
    rows: [usize; Kind::ALL.len()],
}

/// What is told, and how.
struct Telling<'a> {
    store: &'a Store,
    backlog: &'a Backlog<'a>,
    scope: Scope,
    format: Format,
    talk: &'a Talk,
}

impl Telling<'_> {
    /// Writes everything; gives back what it was written to.
    async fn to<W: Write + Send>(&self, out: W) -> Result<(Told, BufWriter<W>)> {
        let mut sink = Sink::new(self.format, &changes::schema(self.scope.table)?, BufWriter::new(out))?;
        let told = self.tell(&mut sink).await?;
        Ok((told, sink.finish()?))
    }

    /// Writes the rows of every step.
    async fn tell<W: Write + Send>(&self, sink: &mut Sink<W>) -> Result<Told> {
        let bar = self.talk.bars.add(ProgressBar::new(u64::try_from(self.backlog.steps.len()).unwrap_or(u64::MAX)));
        if let Ok(style) =
            ProgressStyle::with_template("  {spinner} {msg:32!} {bar:24} {pos}/{len} publications {elapsed}")
        {
            bar.set_style(style);
        }
        let mut told = Told::default();
        for step in &self.backlog.steps {
            let entry = step.entry;
            bar.set_message(format!("{} {}", entry.pipeline, entry.dt));
            tracing::info!(pipeline = entry.pipeline, seq = entry.seq, dt = %entry.dt, "publication compared");
            let mut give = |kind: Kind, batch: &arrow::array::RecordBatch| {
                told.rows[kind as usize] += batch.num_rows();
                sink.add(batch)
            };
            changes::of(self.store, step, self.scope, &mut give).await?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(told)
    }
}

async fn to_file(path: &Path, telling: &Telling<'_>) -> Result<Told> {
    let output = Output::create(path)?;
    let (told, _) = telling.to(output.writer()?).await?;
    output.complete()?;
    Ok(told)
}

/// Whether the output was a pipe that nobody reads any more.
fn reader_is_gone(error: &Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe) {
            return true;
        }
        source = cause.source();
    }
    false
}
