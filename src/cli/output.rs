//! Errors and logs on stderr.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::base::Error;
use crate::config::{Color, Diagnostics};

use super::LogFormat;

/// Where talk goes: progress bars on a terminal, log lines around them.
#[derive(Debug, Clone)]
pub(super) struct Talk {
    /// The bars; log lines are printed above them.
    pub(super) bars: Arc<MultiProgress>,
    /// Whether bars are drawn.
    pub(super) draws: bool,
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
            // What the Delta kernel finds missing it also returns: a table's first open is no error.
            (true, _) => "error,buoyant_kernel=off",
            (false, 0) => "warn,buoyant_kernel=off",
            (false, 1) => "warn,buoyant_kernel=off,huopan=info",
            (false, _) => "info,buoyant_kernel=off,huopan=debug",
        };
        let filter = super::Environment::get("HUOPAN_LOG").unwrap_or_else(|| level.to_owned());
        let builder = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_writer(AboveBars(Arc::clone(&bars), draws))
            .with_ansi(terminal);
        // A second start in one process (tests) keeps the first.
        let _ = match format {
            LogFormat::Json => builder.json().try_init(),
            LogFormat::Auto if !terminal => builder.json().try_init(),
            _ => builder.with_target(false).try_init(),
        };
        Self { bars, draws }
    }

    /// One line for the user, above the bars.
    pub(super) fn say(&self, line: &str) {
        if self.draws {
            let _ = self.bars.println(line);
        } else {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
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
            let _ = bars.println(text.trim_end());
        } else {
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }
}

/// An error with its causes and its hint; of a configuration each problem with its place.
pub(super) fn error(error: &Error) {
    let mut stderr = std::io::stderr().lock();
    let mut source = std::error::Error::source(error);
    if let Some(problems) = source.and_then(|source| source.downcast_ref::<Diagnostics>()) {
        let color = if stderr.is_terminal() { Color::Always } else { Color::Never };
        let _ = writeln!(stderr, "{}", problems.render(color));
        return;
    }
    let _ = writeln!(stderr, "error: {error}");
    while let Some(cause) = source {
        let _ = writeln!(stderr, "  caused by: {cause}");
        source = cause.source();
    }
    if let Some(hint) = error.hint() {
        let _ = writeln!(stderr, "hint: {hint}");
    }
}
