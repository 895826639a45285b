//! `huopan doctor`: whether a pipeline would run tonight, check by check.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use unicode_width::UnicodeWidthStr;

use crate::base::{Result, SystemClock};
use crate::extract::progress::Silent;
use crate::run::Surroundings;
use crate::run::doctor::{Calls, Check, Options, Status, doctor, exit_code, subjects};

use super::output::Talk;
use super::run::cancelled_by_signals;
use super::{Outcome, check, written};

/// `huopan doctor`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan doctor pipelines/portals.toml              before the first night, and when one went wrong
  huopan doctor pipelines/portals.toml --no-calls   without spending a call

The gateway is asked at most once per endpoint that the pipeline needs, as each
account; these calls are counted and kept like a run's. An answer wakes an account
that rests because it was refused. Every alert is sent a test message.

Exit codes: 0 nothing failed · 1 something must change · 75 try again later")]
pub(super) struct Arguments {
    /// The pipeline's file
    #[arg(value_name = "PIPELINE")]
    pipeline: PathBuf,
    /// Ask the gateway nothing: signature and permissions are not looked at
    #[arg(long)]
    no_calls: bool,
    /// Print as JSON, once all is done
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn main(arguments: &Arguments, talk: &Talk) -> Result<Outcome> {
    let pipeline = check::load(&arguments.pipeline)?;
    let around = Surroundings {
        clock: Arc::new(SystemClock),
        progress: &Silent,
        cancel: cancelled_by_signals(talk, "stopping: no further question is asked"),
        seed: rand::random(),
    };
    let layout = Layout::new(&subjects(&pipeline), std::io::stdout().is_terminal());
    let tell = |check: &Check| {
        if !arguments.json {
            // A reader who has gone does not end the examination.
            let _ = std::io::stdout().write_all(layout.lines(check).as_bytes());
        }
    };
    let calls = if arguments.no_calls { Calls::None } else { Calls::Few };
    let checks = doctor(&pipeline, Options { calls }, &around, &tell).await;
    let code = exit_code(&checks);
    if arguments.json {
        written(writeln!(std::io::stdout(), "{}", json(&checks, code)))?;
    }
    Ok(if code == 0 { Outcome::Done } else { Outcome::Code(code) })
}

/// How lines are laid out. Widths are display widths: a Chinese character takes two columns.
#[derive(Debug)]
struct Layout {
    about_width: usize,
    colours: bool,
}

/// The widest status.
const STATUS_WIDTH: usize = "warning".len();
/// The widest name of a check.
const CHECK_WIDTH: usize = "configuration".len();
/// Longer names of accounts push their own line only.
const ABOUT_WIDTH_MAX: usize = 24;

impl Layout {
    fn new(subjects: &[String], colours: bool) -> Self {
        let widest = subjects.iter().map(|subject| subject.width()).max().unwrap_or(0);
        Self { about_width: widest.min(ABOUT_WIDTH_MAX), colours }
    }

    /// A check's line, and below it what to do.
    fn lines(&self, check: &Check) -> String {
        let (about, says) = (printable(&check.about), printable(&check.says));
        let (open, close) = if self.colours { (colour(check.status), "\u{1b}[0m") } else { ("", "") };
        let status = format!("{open}{:STATUS_WIDTH$}{close}", check.status.name());
        let gap = " ".repeat(self.about_width.saturating_sub(about.width()));
        let mut text = format!("{status}  {:CHECK_WIDTH$}  {about}{gap}  {says}\n", check.check);
        if let Some(todo) = &check.todo {
            let indent = " ".repeat(STATUS_WIDTH + 2 + CHECK_WIDTH + 2 + self.about_width + 2);
            text.push_str(&format!("{indent}→ {}\n", printable(todo)));
        }
        text
    }
}

fn colour(status: Status) -> &'static str {
    match status {
        Status::Ok => "\u{1b}[32m",
        Status::Warning => "\u{1b}[33m",
        Status::Failed(_) => "\u{1b}[31m",
        Status::Skipped => "\u{1b}[2m",
    }
}

/// Gateways' words come from strangers: nothing in them may move the cursor or colour the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn json(checks: &[Check], code: u8) -> serde_json::Value {
    let checks = checks.iter().map(|check| {
        serde_json::json!({
            "check": check.check,
            "about": check.about,
            "status": check.status.name(),
            "says": check.says,
            "todo": check.todo,
        })
    });
    serde_json::json!({"checks": checks.collect::<Vec<_>>(), "exit_code": code})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_names_align_and_strangers_words_cannot_move_the_cursor() {
        let layout = Layout::new(&["主账号".into(), "main".into()], false);
        let check = |about: &str, says: &str, todo: Option<&str>| Check {
            check: "permission",
            about: about.into(),
            status: Status::Warning,
            says: says.into(),
            todo: todo.map(str::to_owned),
        };
        let text = layout.lines(&check("主账号", "`count`: 无权限\u{1b}[2J", Some("apply")))
            + &layout.lines(&check("main", "fine", None));
        let expected = "\
warning  permission     主账号  `count`: 无权限 [2J
                                → apply
warning  permission     main    fine
";
        assert_eq!(text, expected);
    }
}
