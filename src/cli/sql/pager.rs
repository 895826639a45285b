//! What goes to a terminal: as it is while it fits the screen, through a pager otherwise.
//!
//! Invariant: what a pager is given is not printed twice, and one that is quit early is no failure.

use std::io::{self, ErrorKind, Write};
use std::process::{Child, Command, Stdio};

use unicode_width::UnicodeWidthStr;

use super::super::Environment;

/// Said to `less` where the user has not said anything: lines are not wrapped, one screen is just printed and stays,
/// colours pass.
const LESS: &str = "-SFXR";

/// Rows and columns of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Screen {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Screen {
    /// That of standard output; as of old where it does not say.
    pub(super) fn now() -> Self {
        let size = terminal_size::terminal_size();
        let (columns, rows) = size.map_or((80, 24), |(width, height)| (width.0, height.0));
        Self { rows: usize::from(rows.max(2)), columns: usize::from(columns.max(10)) }
    }

    /// Whether the text fits, with a line left for the prompt.
    fn holds(self, text: &str) -> bool {
        let mut lines = text.lines();
        let seen: Vec<&str> = lines.by_ref().take(self.rows).collect();
        seen.len() < self.rows && seen.iter().all(|line| line.width() <= self.columns)
    }
}

/// Standard output of a terminal.
pub(super) struct Paged {
    screen: Screen,
    state: State,
    /// What there is to do before the first byte is seen.
    before: Option<Box<dyn FnOnce() + Send>>,
}

enum State {
    /// It fits the screen, up to now.
    Waiting(Vec<u8>),
    Printing,
    Paging(Child),
}

impl Paged {
    /// `before` is called before anything is seen.
    pub(super) fn new(use_pager: UsePager, before: impl FnOnce() + Send + 'static) -> Self {
        let state = match use_pager {
            UsePager::WhereNeeded => State::Waiting(Vec::new()),
            UsePager::Never => State::Printing,
        };
        Self { screen: Screen::now(), state, before: Some(Box::new(before)) }
    }

    /// Shows what waits, and waits for the pager's end.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.begin();
        match std::mem::replace(&mut self.state, State::Printing) {
            State::Waiting(text) => io::stdout().write_all(&text),
            State::Printing => io::stdout().flush(),
            State::Paging(mut child) => {
                drop(child.stdin.take());
                child.wait().map(drop)
            }
        }
    }

    fn begin(&mut self) {
        if let Some(before) = self.before.take() {
            before();
        }
    }

    /// Starts a pager with what waits; without one it is printed.
    fn turn(&mut self) -> io::Result<()> {
        let State::Waiting(waiting) = std::mem::replace(&mut self.state, State::Printing) else { return Ok(()) };
        self.begin();
        if let Some(child) = spawn() {
            self.state = State::Paging(child);
        }
        self.write_all(&waiting)
    }
}

impl Write for Paged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.state {
            State::Waiting(waiting) => {
                waiting.extend_from_slice(bytes);
                if !self.screen.holds(&String::from_utf8_lossy(waiting)) {
                    self.turn()?;
                }
                Ok(bytes.len())
            }
            State::Printing => {
                self.begin();
                io::stdout().write(bytes)
            }
            State::Paging(child) => match &mut child.stdin {
                Some(stdin) => stdin.write(bytes),
                None => Err(ErrorKind::BrokenPipe.into()),
            },
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.state {
            State::Waiting(_) => Ok(()),
            State::Printing => io::stdout().flush(),
            State::Paging(child) => child.stdin.as_mut().map_or(Ok(()), Write::flush),
        }
    }
}

impl Drop for Paged {
    /// A query that is cancelled while its rows are looked at: the pager shows what it has until it is quit.
    fn drop(&mut self) {
        if let State::Paging(child) = &mut self.state {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// Whether long results go through a pager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UsePager {
    /// When they do not fit the screen.
    WhereNeeded,
    Never,
}

/// The user's pager, else `less`; `None`: there is none, or it does not start.
fn spawn() -> Option<Child> {
    let said = Environment::get("HUOPAN_PAGER").or_else(|| Environment::get("PAGER"));
    let said = said.as_deref().map_or("less", str::trim);
    if said.is_empty() || said == "cat" {
        return None;
    }
    let mut command = match said {
        "less" => Command::new("less"),
        _ => {
            let mut shell = Command::new("sh");
            shell.args(["-c", said]);
            shell
        }
    };
    for (name, value) in [("LESS", LESS), ("LESSCHARSET", "utf-8")] {
        if Environment::get(name).is_none() {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::piped()).spawn().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_holds_what_is_neither_too_long_nor_too_wide() {
        let screen = Screen { rows: 4, columns: 10 };
        for (text, expected) in [
            ("", true),
            ("a\nb\nc\n", true),
            ("a\nb\nc\nd\n", false),
            ("1234567890\n", true),
            ("12345678901\n", false),
            ("一二三四五\n", true),
            ("一二三四五六\n", false),
        ] {
            assert_eq!(screen.holds(text), expected, "{text:?}");
        }
    }
}
