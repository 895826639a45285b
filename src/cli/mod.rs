//! The command line: the only code that prints. stdout is data, stderr is talk.

mod accounts;
mod check;
mod demo;
mod doctor;
mod explain;
mod failure;
mod feed;
mod file;
mod gateways;
mod groups;
mod lake;
mod output;
mod plan;
mod progress;
mod quarantine;
mod replay;
mod report;
mod run;
mod runs;
mod schema;
mod serve;
mod sim;
mod sql;
mod table;
mod target;
mod watches;
mod wrap;

use std::any::Any;
use std::ffi::OsString;
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use futures::FutureExt as _;

use crate::base::{Error, Kind, Result};

/// Wholesale catalogues of 1688-style gateways, every night, as tables you can query (货盘)
#[derive(Debug, Parser)]
#[command(
    name = "huopan",
    version,
    propagate_version = true,
    after_help = "Examples:
  huopan demo                                      three simulated nights, then a price comparison
  huopan check pipelines/portals.toml              everything wrong with a pipeline; no network
  huopan doctor pipelines/portals.toml             credentials, permissions, clock, lake: what would fail tonight
  huopan plan pipelines/portals.toml               what tonight costs, in calls and minutes
  huopan run pipelines/portals.toml                tonight's run
  huopan sql -c \"select * from price_at(500) limit 10\"
  huopan sql                                       the shell: history, completion, `\\?`
  huopan report                                    who is cheapest, what changed: one page, report.html
  huopan serve                                     the tables for BI tools, over PostgreSQL's protocol
  huopan runs                                      what the last runs received, loaded and set aside
  huopan replay pipelines/portals.toml --dt 2026-11-20 --dry-run    what a corrected rule would change

Exit codes: 0 done · 1 something must change · 2 usage · 3 finished, but a shop is incomplete or the day is held · 70 a bug · 75 try again later"
)]
struct Arguments {
    /// How logs and errors are written to stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Auto, help_heading = "Logging")]
    log: LogFormat,
    /// Log more (-v: what happens, -vv: every call)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Logging")]
    verbose: u8,
    /// Log errors only, show no progress
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Logging")]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Text on a terminal, JSON lines otherwise
    Auto,
    /// Text
    Text,
    /// JSON lines
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run three simulated nights for four shops and compare their prices
    Demo(demo::Arguments),
    /// Say everything that is wrong with a pipeline, without the network
    Check(check::Arguments),
    /// Look at everything a run needs, credentials and permissions included, and say what to do
    Doctor(doctor::Arguments),
    /// What a run costs, before it spends a call
    Plan(plan::Arguments),
    /// Run a pipeline: extract, land, normalise, publish
    Run(run::Arguments),
    /// Rebuild days from landed answers, without a call; a dry run shows what would differ
    Replay(replay::Arguments),
    /// What runs received, loaded and set aside
    Runs(runs::Arguments),
    /// What could not be loaded, why, and where its bytes are
    Quarantine(quarantine::Arguments),
    /// What the watches of a pipeline would say of a published day; nobody is told
    Watches(watches::Arguments),
    /// Calls of the day by account: what is left, who rests until when; corrections
    Accounts(accounts::Arguments),
    /// Where each value of an offer comes from: bytes, field, rule, value
    Explain(explain::Arguments),
    /// Ask the tables with SQL
    Sql(sql::Arguments),
    /// Which offers compete: load, show
    Groups(groups::Arguments),
    /// The tables as one page to look at: prices, ranks, changes, completeness
    Report(report::Arguments),
    /// Serve the tables to BI tools over PostgreSQL's protocol, read-only
    Serve(serve::Arguments),
    /// The tables' columns, types and meanings
    Schema(schema::Arguments),
    /// The rows that differ between publications, for readers downstream
    Feed(feed::Arguments),
    /// The published files, their history, export and upkeep: verify, optimize, vacuum
    Lake(lake::Arguments),
    /// Gateway definitions: list, show, check, sign
    Gateways(gateways::Arguments),
    /// Serve a simulated gateway on this machine
    Sim(sim::Arguments),
}

/// The environment as a value, so that nothing below reads it on its own.
#[derive(Debug, Clone, Copy)]
pub struct Environment;

impl Environment {
    /// A variable's value, where it is set and UTF-8.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn get(name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// Runs the command in `arguments` and says how it ended.
pub async fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = arguments.into_iter().collect();
    let arguments = match parse(&words) {
        Ok(arguments) => arguments,
        Err(error) => {
            output::usage(&error, LogFormat::among(&words));
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let talk = output::Talk::start(arguments.log, arguments.verbose, arguments.quiet);
    let prints_json = arguments.command.prints_json();
    let result = AssertUnwindSafe(command(arguments.command, &talk)).catch_unwind().await;
    let result = result.unwrap_or_else(|panic| Err(bug(panic.as_ref())));
    match result {
        Ok(outcome) => ExitCode::from(outcome.code()),
        Err(error) => {
            talk.error(&error);
            if prints_json {
                // The process ends with this error, whether or not somebody still reads.
                let _ = writeln!(std::io::stdout(), "{}", failure::document(&error));
            }
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// Reads a command line; help is as wide as the terminal, and no wider than reads well.
fn parse(words: &[OsString]) -> Result<Arguments, clap::Error> {
    let width = wrap::width(100);
    let matches = with_fitted_help(Arguments::command().term_width(width), width).try_get_matches_from(words)?;
    Arguments::from_arg_matches(&matches)
}

/// What follows the options is written in lines of the source's width.
fn with_fitted_help(mut command: clap::Command, width: usize) -> clap::Command {
    if let Some(text) = command.get_after_help().map(ToString::to_string) {
        command = command.after_help(wrap::fitted(&text, 0, width));
    }
    command.mut_subcommands(|command| with_fitted_help(command, width))
}

async fn command(command: Command, talk: &output::Talk) -> Result<Outcome> {
    match command {
        Command::Demo(arguments) => demo::main(arguments, talk).await,
        Command::Check(arguments) => check::main(&arguments, talk).await,
        Command::Doctor(arguments) => doctor::main(&arguments, talk).await,
        Command::Plan(arguments) => plan::main(&arguments, talk).await,
        Command::Run(arguments) => run::main(arguments, talk).await,
        Command::Replay(arguments) => replay::main(&arguments, talk).await,
        Command::Quarantine(arguments) => quarantine::main(&arguments, talk).await,
        Command::Runs(arguments) => runs::main(&arguments, talk).await,
        Command::Watches(arguments) => watches::main(&arguments).await,
        Command::Accounts(arguments) => accounts::main(&arguments).await,
        Command::Explain(arguments) => explain::main(&arguments).await,
        Command::Gateways(arguments) => gateways::main(&arguments),
        Command::Sql(arguments) => sql::main(&arguments, talk).await,
        Command::Groups(arguments) => groups::main(&arguments, talk).await,
        Command::Report(arguments) => report::main(&arguments, talk).await,
        Command::Serve(arguments) => serve::main(arguments, talk).await,
        Command::Schema(arguments) => schema::main(&arguments),
        Command::Feed(arguments) => feed::main(&arguments, talk).await,
        Command::Lake(arguments) => lake::main(&arguments, talk).await,
        Command::Sim(arguments) => sim::main(arguments, talk).await,
    }
}

/// Logs a panic in whatever form logs have; what panicked is told as an error afterwards.
pub fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or_default().to_owned();
    tracing::error!(place, thread, "{}", bug(panic.payload()));
}

/// The error that a panic is.
fn bug(payload: &(dyn Any + Send)) -> Error {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("for no stated reason");
    Error::internal(format!("huopan panicked: {text}"))
        .with_hint("this is a bug in huopan; what was published stays, and the next start goes on from what has landed")
}

impl LogFormat {
    /// As words say that make no whole command line.
    fn among(words: &[OsString]) -> Self {
        let texts: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
        let stated = texts.iter().enumerate().find_map(|(place, word)| match word.strip_prefix("--log")? {
            "" => texts.get(place + 1).copied(),
            rest => rest.strip_prefix('='),
        });
        stated.and_then(|stated| Self::from_str(stated, false).ok()).unwrap_or(Self::Auto)
    }
}

impl Command {
    /// Whether a failure is told on stdout, too, as JSON. `run` does that itself: days may have been published before it.
    fn prints_json(&self) -> bool {
        match self {
            Command::Doctor(arguments) => arguments.json,
            Command::Plan(arguments) => arguments.json,
            Command::Replay(arguments) => arguments.json,
            Command::Runs(arguments) => arguments.prints_json(),
            Command::Quarantine(arguments) => arguments.prints_json(),
            Command::Watches(arguments) => arguments.json,
            Command::Accounts(arguments) => arguments.json,
            Command::Explain(arguments) => arguments.json,
            Command::Gateways(arguments) => arguments.prints_json(),
            Command::Groups(arguments) => arguments.prints_json(),
            Command::Demo(_) | Command::Check(_) | Command::Run(_) | Command::Sql(_) => false,
            Command::Report(_) | Command::Schema(_) | Command::Serve(_) => false,
            Command::Feed(_) | Command::Lake(_) | Command::Sim(_) => false,
        }
    }
}

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    /// With this exit code.
    Code(u8),
}

impl Outcome {
    /// The exit code.
    fn code(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::Code(code) => code,
        }
    }
}

/// Something must change.
const EXIT_CHANGE: u8 = 1;
/// Finished, but a shop is incomplete, or the day is held.
const EXIT_INCOMPLETE: u8 = 3;
/// Try again later.
const EXIT_LATER: u8 = 75;

/// Writing to stdout fails quietly when the reader has gone (`huopan sql … | head`).
fn written(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::Storage, "cannot write to standard output").caused_by(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    fn check(command: &clap::Command, width: usize) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let fitted = wrap::fitted(&help, 0, width);
        for line in fitted.lines() {
            assert!(line.width() <= width, "{} at {width}: {line}", command.get_name());
        }
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&fitted), words(&help), "{}", command.get_name());
        command.get_subcommands().for_each(|command| check(command, width));
    }

    #[test]
    fn no_example_and_no_line_of_help_is_wider_than_a_small_terminal() {
        for width in [80, 100] {
            check(&Arguments::command(), width);
        }
    }

    #[test]
    fn help_of_every_command_is_fitted() {
        let command = with_fitted_help(Arguments::command().term_width(80), 80);
        let sql = command.find_subcommand("sql").and_then(|sql| sql.get_after_help()).map(ToString::to_string);
        assert!(sql.is_some_and(|help| help.lines().all(|line| line.width() <= 80)));
    }
}
