//! `huopan serve adduser`: a name and a password that is asked for, never an argument.

use std::borrow::Cow;
use std::io::{BufRead as _, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;
use rustyline::completion::Completer;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{ColorMode, Config, Editor, Helper};

use crate::base::{Error, Result, Secret};
use crate::cli::output::Talk;
use crate::cli::{Environment, Outcome};
use crate::serve::users::{self, Added};

/// Where a script puts a password.
const PASSWORD_VARIABLE: &str = "HUOPAN_SERVE_PASSWORD";

/// `huopan serve adduser`
#[derive(Debug, Args)]
#[command(
    after_help = "The password is asked for on a terminal, else read from the first line of standard input, or from
HUOPAN_SERVE_PASSWORD. The file keeps a verifier (SCRAM-SHA-256, as PostgreSQL has it), from which nobody can log in.
A server that runs takes the change at the next login."
)]
pub(super) struct Arguments {
    /// The name
    name: String,
    /// The file of users; made if there is none
    #[arg(long, value_name = "FILE")]
    users: PathBuf,
}

pub(super) fn main(arguments: &Arguments, talk: &Talk) -> Result<Outcome> {
    let password = match Environment::get(PASSWORD_VARIABLE) {
        Some(password) => Secret::new(password),
        None if std::io::stdin().is_terminal() => asked(&arguments.name)?,
        None => from_input()?,
    };
    let Arguments { name, users } = arguments;
    let said = match users::add(users, name, &password, rand::random())? {
        Added::New => format!("`{name}` may log in"),
        Added::Changed => format!("`{name}` has a new password"),
    };
    talk.say(&said);
    Ok(Outcome::Done)
}

fn from_input() -> Result<Secret> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Error::config("cannot read a password from standard input").caused_by(error))?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n'])))
}

fn asked(name: &str) -> Result<Secret> {
    let failed = |error| Error::config("no password was given").caused_by(error);
    let config = Config::builder().auto_add_history(false).color_mode(ColorMode::Forced).build();
    let mut editor = Editor::<Hidden, _>::with_config(config).map_err(failed)?;
    editor.set_helper(Some(Hidden));
    let mut ask = |prompt: &str| editor.readline(prompt).map(Secret::new).map_err(failed);
    let password = ask(&format!("password for {name}: "))?;
    if password != ask("again: ")? {
        return Err(Error::config("the two passwords differ"));
    }
    Ok(password)
}

/// Shows nothing of what is typed.
struct Hidden;

impl Highlighter for Hidden {
    fn highlight<'l>(&self, _: &'l str, _: usize) -> Cow<'l, str> {
        Cow::Borrowed("")
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        !matches!(kind, CmdKind::MoveCursor)
    }
}

impl Completer for Hidden {
    type Candidate = String;
}

impl Hinter for Hidden {
    type Hint = String;
}

impl Validator for Hidden {}

impl Helper for Hidden {}
