//! What goes to stderr: bars and text where people look, JSON lines elsewhere.
//!
//! Invariant: with JSON lines all of it is JSON lines, one event each as the logs write them, the last error included.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use chrono::SecondsFormat;
use indicatif::MultiProgress;
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::base::{Clock, Error, SystemClock};
use crate::config::Color;

use super::{LogFormat, failure};

/// Where talk goes: progress bars on a terminal, log lines around them.
#[derive(Debug, Clone)]
pub(super) struct Talk {
    /// The bars; log lines are printed above them.
    pub(super) bars: Arc<MultiProgress>,
    /// Whether bars are drawn.
    pub(super) draws: bool,
    is_json: bool,
    is_quiet: bool,
}

impl Talk {
    /// Starts logging.
    pub(super) fn start(format: LogFormat, verbose: u8, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bars = Arc::new(MultiProgress::new());
        let draws = terminal && !quiet && format != LogFormat::Json;
        if !draws {
            bars.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        let level = match (quiet, verbose) {
            // What the Delta kernel finds missing it also returns: a table's first open is no error. Nor is a commit that
            // somebody else's went before: it is made again.
            (true, _) => "error,buoyant_kernel=off,deltalake_core::kernel::transaction=off",
            (false, 0) => "warn,buoyant_kernel=off,deltalake_core::kernel::transaction=off",
            (false, 1) => "warn,buoyant_kernel=off,deltalake_core::kernel::transaction=off,huopan=info",
            (false, _) => "info,buoyant_kernel=off,huopan=debug",
        };
        let filter = super::Environment::get("HUOPAN_LOG").unwrap_or_else(|| level.to_owned());
        let builder = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_writer(AboveBars(Arc::clone(&bars), draws))
            .with_ansi(terminal);
        let is_json = is_json(format);
        // A second start in one process (tests) keeps the first.
        let _ = if is_json { builder.json().try_init() } else { builder.with_target(false).try_init() };
        Self { bars, draws, is_json, is_quiet: quiet }
    }

    /// One line for the user, above the bars.
    pub(super) fn say(&self, line: &str) {
        if self.is_quiet {
            return;
        }
        if self.draws {
            self.bars.suspend(|| {
                let _ = writeln!(std::io::stderr(), "{line}");
            });
        } else if self.is_json {
            write_events("INFO", [json!({"message": line})]);
        } else {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// The error that ends the command.
    pub(super) fn error(&self, error: &Error) {
        if self.is_json {
            write_events("ERROR", failure::events(error));
        } else {
            let color = if std::io::stderr().is_terminal() { Color::Always } else { Color::Never };
            let _ = std::io::stderr().write_all(failure::text(error, color).as_bytes());
        }
    }
}

/// Whether stderr gets JSON lines.
fn is_json(format: LogFormat) -> bool {
    match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    }
}

/// What clap has to say of arguments that are none: help and version on stdout, a usage error on stderr.
pub(super) fn usage(error: &clap::Error, format: LogFormat) {
    if error.use_stderr() && is_json(format) {
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
        write_events("ERROR", [json!({"message": text, "kind": "usage", "exit_code": error.exit_code()})]);
    } else {
        let _ = error.print();
    }
}

/// Writes events whatever the log's level is: the user asked for what they tell.
fn write_events(level: &str, events: impl IntoIterator<Item = Value>) {
    let at = SystemClock.now().to_rfc3339_opts(SecondsFormat::Micros, true);
    // In the logs' order: people read these lines, too.
    let line = |fields: Value| {
        format!("{{\"timestamp\":\"{at}\",\"level\":\"{level}\",\"fields\":{fields},\"target\":\"huopan\"}}\n")
    };
    let lines: String = events.into_iter().map(line).collect();
    let _ = std::io::stderr().write_all(lines.as_bytes());
}

#[derive(Debug, Clone)]
struct AboveBars(Arc<MultiProgress>, bool);

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { to: self, text: Vec::new() }
    }
}

/// One event, written as a whole when it is done.
#[derive(Debug)]
struct Line<'a> {
    to: &'a AboveBars,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let AboveBars(bars, draws) = self.to;
        let text = String::from_utf8_lossy(&self.text);
        if *draws {
            bars.suspend(|| {
                let _ = std::io::stderr().write_all(text.as_bytes());
            });
        } else {
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }
}
