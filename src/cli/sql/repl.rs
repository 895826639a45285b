//! The prompt: lines are edited, completed and kept; statements run when they are whole.
//!
//! Invariant: an error or a cancelled query ends neither the shell nor what is typed next.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt as _;
use rustyline::completion::{Completer, FilenameCompleter};
use rustyline::config::{CompletionType, Config};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter, HistoryHinter};
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Editor, Helper};

use crate::base::{Error, Result};
use crate::query::Session;
use crate::query::inspect::{self, FunctionKind};

use super::super::output::Talk;
use super::super::{Environment, Outcome};
use super::complete::{Names, complete};
use super::lex::Open;
use super::paint::paint;
use super::shell::{Flow, Shell};
use super::split::{Missing, interrupting, missing};

const PROMPT: &str = "huopan> ";
const PROMPT_PAINTED: &str = "\x1b[1mhuopan>\x1b[0m ";
/// Entries that the history keeps.
const HISTORY_MAX: usize = 10_000;

pub(super) async fn main(mut shell: Shell<'_>, talk: &Talk) -> Result<Outcome> {
    let about = shell.about().await?;
    talk.say(&format!("huopan {} · {about} · \\? for help, \\q to leave", env!("CARGO_PKG_VERSION")));
    let mut editor = editor(&shell.session)?;
    let history = history_file();
    if let Some(file) = &history {
        // There is none yet, the first time.
        let _ = editor.load_history(file);
    }
    // A statement that a command interrupted.
    let mut typed = String::new();
    loop {
        let prompt = (PROMPT, PROMPT_PAINTED);
        let line = tokio::task::block_in_place(|| editor.readline_with_initial(&prompt, (&typed, "")));
        typed.clear();
        let text = match line {
            Ok(text) => text,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(Outcome::Done),
            Err(error) => return Err(Error::storage("the terminal cannot be read").caused_by(error)),
        };
        let text = match interrupting(&text) {
            Some((statement, command)) => {
                typed = format!("{statement}\n");
                command
            }
            None => &text,
        };
        keep(&mut editor, text.trim_end(), history.as_deref());
        match shell.run(text, None).await {
            Ok(Flow::Stop) => return Ok(Outcome::Done),
            Ok(Flow::GoOn | Flow::Interrupted) => {}
            Err(error) => talk.error(&error),
        }
        if let Some(typist) = editor.helper_mut() {
            typist.know(&shell.session);
        }
    }
}

fn editor(session: &Arc<Session>) -> Result<Editor<Typist, FileHistory>> {
    let unset = |error: ReadlineError| Error::internal("the prompt cannot be set up").caused_by(error);
    let config = Config::builder()
        .max_history_size(HISTORY_MAX)
        .and_then(|builder| builder.history_ignore_dups(true))
        .map_err(unset)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .completion_show_all_if_ambiguous(true)
        .build();
    let mut editor = Editor::with_config(config).map_err(unset)?;
    editor.set_helper(Some(Typist::new(session)));
    Ok(editor)
}

/// Keeps an entry, in the file at once: a shell that is killed loses nothing, and several share one history.
fn keep(editor: &mut Editor<Typist, FileHistory>, text: &str, history: Option<&Path>) {
    let is_new = editor.add_history_entry(text).unwrap_or(false);
    let Some(file) = history.filter(|_| is_new) else { return };
    if let Err(error) = prepare(file).and_then(|()| editor.append_history(file).map_err(std::io::Error::other)) {
        tracing::info!(file = %file.display(), %error, "the history cannot be written");
    }
}

/// Makes the history's folder, for its owner alone.
fn prepare(file: &Path) -> std::io::Result<()> {
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

/// `$HUOPAN_HISTORY` (empty: none is kept), else `sql_history` where the user keeps such things.
fn history_file() -> Option<PathBuf> {
    if let Some(said) = Environment::get("HUOPAN_HISTORY") {
        return (!said.is_empty()).then(|| said.into());
    }
    let set = |name: &str| Environment::get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(state.join("huopan/sql_history"))
}

/// What the editor asks while somebody types.
struct Typist {
    session: Arc<Session>,
    names: Names,
    /// Columns by what stands after `from`.
    columns: RefCell<HashMap<String, Vec<String>>>,
    history: HistoryHinter,
    paints: bool,
}

impl Typist {
    fn new(session: &Arc<Session>) -> Self {
        let is_plain = Environment::get("NO_COLOR").is_some_and(|value| !value.is_empty());
        let paints = !is_plain && std::io::stdout().is_terminal();
        Self {
            session: Arc::clone(session),
            names: names(session),
            columns: RefCell::default(),
            history: HistoryHinter::new(),
            paints,
        }
    }

    /// What is published may have changed.
    fn know(&mut self, session: &Arc<Session>) {
        if !Arc::ptr_eq(&self.session, session) {
            self.session = Arc::clone(session);
            self.names = names(session);
            self.columns.take();
        }
    }

    /// Planning does no I/O, so it need not wait; what cannot be planned has no columns.
    fn columns(&self, relation: &str) -> Vec<String> {
        if let Some(known) = self.columns.borrow().get(relation) {
            return known.clone();
        }
        let planned = inspect::columns(&self.session, relation).now_or_never();
        let names = planned.and_then(Result::ok).unwrap_or_default().into_iter().map(|column| column.name);
        let names: Vec<String> = names.collect();
        self.columns.borrow_mut().insert(relation.to_owned(), names.clone());
        names
    }
}

fn names(session: &Session) -> Names {
    let mut names = Names { tables: session.table_names(), ..Names::default() };
    for function in inspect::functions(session) {
        let list = if function.kind == FunctionKind::Table { &mut names.table_functions } else { &mut names.functions };
        list.push(function.name);
    }
    names
}

impl Helper for Typist {}

impl Completer for Typist {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line[..at].trim_start();
        if typed.starts_with("\\o ") || typed.starts_with("\\i ") {
            let (start, files) = FilenameCompleter::new().complete_path(line, at)?;
            return Ok((start, files.into_iter().map(|file| file.replacement).collect()));
        }
        Ok(complete(line, at, &self.names, &|relation| self.columns(relation)))
    }
}

/// Text after the cursor that is not typed yet.
#[derive(Debug)]
struct Ghost {
    text: String,
    is_offer: bool,
}

impl Hint for Ghost {
    fn display(&self) -> &str {
        &self.text
    }

    fn completion(&self) -> Option<&str> {
        self.is_offer.then_some(&self.text)
    }
}

impl Hinter for Typist {
    type Hint = Ghost;

    /// On a new line, what is missing; else the rest of the last entry that begins so.
    fn hint(&self, line: &str, at: usize, context: &Context<'_>) -> Option<Ghost> {
        if at == line.len() && line.ends_with('\n') {
            return missing_said(missing(line)).map(|text| Ghost { text: text.to_owned(), is_offer: false });
        }
        let text = self.history.hint(line, at, context)?;
        (!text.contains('\n')).then_some(Ghost { text, is_offer: true })
    }
}

fn missing_said(missing: Missing) -> Option<&'static str> {
    match missing {
        Missing::Nothing => None,
        Missing::Semicolon => Some("   … `;` runs it, Ctrl-C discards it"),
        Missing::End(Open::String) => Some("   … a string is open: `'` ends it, Ctrl-C discards all"),
        Missing::End(Open::QuotedName) => Some("   … a quoted name is open: `\"` ends it, Ctrl-C discards all"),
        Missing::End(Open::Comment) => Some("   … a comment is open: `*/` ends it, Ctrl-C discards all"),
        Missing::End(Open::Nothing) => None,
    }
}

impl Highlighter for Typist {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.paints { Cow::Owned(paint(line)) } else { Cow::Borrowed(line) }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.paints { Cow::Owned(format!("\x1b[2m{hint}\x1b[0m")) } else { Cow::Borrowed(hint) }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.paints && kind != CmdKind::MoveCursor
    }
}

impl Validator for Typist {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match missing(context.input()) {
            Missing::Nothing => ValidationResult::Valid(None),
            Missing::Semicolon if interrupting(context.input()).is_some() => ValidationResult::Valid(None),
            Missing::Semicolon | Missing::End(_) => ValidationResult::Incomplete,
        })
    }
}
