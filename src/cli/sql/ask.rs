//! One query: from its text to its rows on a terminal, in a pipe or in a file.

use std::borrow::Cow;
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio_util::task::AbortOnDropHandle;

use crate::base::{Error, Result};
use crate::query::inspect::Scan;
use crate::query::output::{End, Style, Written, write_as};
use crate::query::{Answer, Session};

use super::super::file::Output;
use super::super::output::Talk;
use super::super::table::thousands;
use super::lex::lex;
use super::pager::{Paged, UsePager};
use super::params::Params;

/// A query that takes longer shows how far it has come.
const SILENT: Duration = Duration::from_secs(1);
/// How often it does.
const TICK: Duration = Duration::from_millis(200);

/// What holds for all queries of a shell until it is changed.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) style: Style,
    pub(super) params: Params,
    pub(super) timing: Timing,
    pub(super) pager: UsePager,
    /// Where the rows go instead of standard output.
    pub(super) file: Option<PathBuf>,
}

/// Whether the time that a query took is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timing {
    On,
    Off,
}

/// How a query ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Done,
    /// Nobody reads any more.
    ReaderGone,
    /// By Ctrl-C.
    Interrupted,
}

/// Runs a query and writes its rows.
pub(super) async fn ask(session: &Session, sql: &str, settings: &Settings, talk: &Talk) -> Result<Asked> {
    let begun = Instant::now();
    let to_terminal = settings.file.is_none() && std::io::stdout().is_terminal();
    if to_terminal && settings.style.format.is_binary() {
        return Err(
            Error::config("this format is not for a terminal").with_hint("say `-o FILE`, or `\\o FILE` in the shell")
        );
    }
    let sql = with_select(settings.params.fill(sql)?);
    let work = async {
        let answer = session.sql(&sql).await?;
        let progress = Arc::new(Progress::start(&answer, talk));
        match &settings.file {
            Some(path) => to_file(answer, settings.style, path).await,
            None if to_terminal => to_screen(answer, settings, progress).await,
            None => write_as(answer, settings.style, &mut std::io::stdout()).await,
        }
    };
    let written = tokio::select! {
        written = work => written?,
        () = interrupted() => return Ok(Asked::Interrupted),
    };
    report(written, begun.elapsed(), settings, talk);
    Ok(if written.end == End::ReaderGone && !to_terminal { Asked::ReaderGone } else { Asked::Done })
}

/// `FROM offers LIMIT 1` asks for all columns, as in DuckDB; the engine would give none.
fn with_select(sql: Cow<'_, str>) -> Cow<'_, str> {
    let lexed = lex(&sql);
    let mut words = lexed.lexemes.iter().filter_map(|lexeme| match &lexeme.token {
        Token::Word(word) => Some(word.keyword),
        Token::LParen => Some(Keyword::NoKeyword),
        _ => None,
    });
    let is_from = words.next() == Some(Keyword::FROM) && !words.any(|word| word == Keyword::SELECT);
    if is_from { Cow::Owned(format!("SELECT * {}", sql.trim_start())) } else { sql }
}

/// The next Ctrl-C; never, where it cannot be heard.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn to_file(answer: Answer, style: Style, path: &Path) -> Result<Written> {
    let output = Output::create(path)?;
    let mut out = BufWriter::new(output.writer()?);
    let written = write_as(answer, style, &mut out).await?;
    out.flush().map_err(|source| Error::storage("the rows cannot be written").caused_by(source))?;
    output.complete()?;
    Ok(written)
}

async fn to_screen(answer: Answer, settings: &Settings, progress: Arc<Progress>) -> Result<Written> {
    let mut out = Paged::new(settings.pager, move || progress.clear());
    let written = write_as(answer, settings.style, &mut out).await?;
    super::super::written(tokio::task::block_in_place(|| out.finish()))?;
    Ok(written)
}

fn report(written: Written, elapsed: Duration, settings: &Settings, talk: &Talk) {
    if let Some(path) = &settings.file {
        let rows = u64::try_from(written.rows).unwrap_or(u64::MAX);
        let rows = if rows == 1 { "1 row".to_owned() } else { format!("{} rows", thousands(rows)) };
        talk.say(&format!("{rows} in {}", path.display()));
    }
    if written.end == End::RowLimit && (settings.file.is_some() || !std::io::stdout().is_terminal()) {
        talk.say(&format!("only the first {} rows are shown (`--rows`)", written.rows));
    }
    if settings.timing == Timing::On {
        talk.say(&format!("time: {:.3} s", elapsed.as_secs_f64()));
    }
}

/// How far a long query has come, on the terminal of standard error until its rows come.
#[derive(Debug)]
struct Progress {
    bar: ProgressBar,
    _task: Option<AbortOnDropHandle<()>>,
}

impl Progress {
    fn start(answer: &Answer, talk: &Talk) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let task = talk.draws.then(|| {
            let watch = watch(bar.clone(), answer.scan(), talk.clone());
            AbortOnDropHandle::new(tokio::spawn(watch))
        });
        Self { bar, _task: task }
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

async fn watch(bar: ProgressBar, scan: Scan, talk: Talk) {
    tokio::time::sleep(SILENT).await;
    if bar.is_finished() {
        return;
    }
    let bar = talk.bars.add(bar);
    if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    while !bar.is_finished() {
        let scanned = scan.so_far();
        let rows = thousands(u64::try_from(scanned.rows).unwrap_or(u64::MAX));
        let bytes = HumanBytes(u64::try_from(scanned.bytes).unwrap_or(u64::MAX));
        bar.set_message(format!("{rows} rows and {bytes} read · Ctrl-C stops it ·"));
        bar.tick();
        tokio::time::sleep(TICK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_begins_with_from_asks_for_all_columns() {
        for (sql, expected) in [
            ("from offers limit 1", "SELECT * from offers limit 1"),
            ("-- why\nFROM offers", "SELECT * -- why\nFROM offers"),
            ("from offers select title", "from offers select title"),
            ("select 1 from offers", "select 1 from offers"),
            ("(from offers)", "(from offers)"),
            ("", ""),
        ] {
            assert_eq!(with_select(sql.into()), expected);
        }
    }
}
