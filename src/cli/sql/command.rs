//! The shell's own commands: a backslash and a word.

use crate::base::text::nearest;
use crate::base::{Error, Result};

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Help,
    Quit,
    /// A table, view or function; `None`: all tables and views.
    Describe(Option<&'a str>),
    Tables,
    Views,
    /// Of functions whose names hold this.
    Functions(Option<&'a str>),
    /// Views and functions with their meanings and examples.
    Questions,
    Format(Option<&'a str>),
    /// The next result goes to this file.
    Output(Option<&'a str>),
    Include(&'a str),
    Expanded(Option<Switch>),
    Timing(Option<Switch>),
    Pager(Option<Switch>),
    Labels(Option<&'a str>),
    Rows(Option<&'a str>),
    /// Name and value.
    Set(Option<(&'a str, &'a str)>),
    Unset(&'a str),
    Refresh,
}

/// What a setting is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    On,
    Off,
}

/// The commands as help lists them: the word, what follows it, what it does.
pub(super) const COMMANDS: &[(&str, &str, &str)] = &[
    ("\\?", "", "this list (so does `help`)"),
    ("\\q", "", "leave (so do `exit`, `quit` and Ctrl-D)"),
    ("\\d", "[NAME]", "tables and views, or the columns of one, or what a function does"),
    ("\\dt", "", "tables"),
    ("\\dv", "", "views"),
    ("\\df", "[WORD]", "functions, or those whose names hold a word"),
    ("\\views", "", "the questions that have names: meaning and example of each view and table function"),
    (
        "\\format",
        "[NAME]",
        "how rows are written: table, csv, json, jsonl, markdown; to files also xlsx, parquet, arrow, arrows",
    ),
    (
        "\\o",
        "[FILE]",
        "write the next result to a file, in the format of its ending; without FILE: to the screen after all",
    ),
    ("\\x", "[on|off]", "show the values of a row one below the other"),
    ("\\labels", "[names|zh]", "what columns are called in table, csv, markdown and xlsx"),
    ("\\rows", "[N]", "rows shown as a table"),
    ("\\timing", "[on|off]", "say how long each query took"),
    ("\\pager", "[on|off]", "page what does not fit the screen"),
    ("\\set", "[NAME VALUE]", "a value for $NAME (NAME:text VALUE says the type), or all values"),
    ("\\unset", "NAME", "forget a value"),
    ("\\i", "FILE", "run the statements of a file"),
    ("\\refresh", "", "read what is published now; until then a shell sees one state of the lake"),
];

/// Whether a statement is a command that people type without its backslash.
pub(super) fn is_bare(statement: &str) -> bool {
    bare(statement).is_some()
}

/// The command that a statement is, where it is one without its backslash.
pub(super) fn bare(statement: &str) -> Option<Command<'_>> {
    let word = statement.trim().trim_end_matches(';').trim_end();
    let is = |known: &str| word.eq_ignore_ascii_case(known);
    match () {
        () if is("exit") || is("quit") => Some(Command::Quit),
        () if is("help") => Some(Command::Help),
        () => None,
    }
}

/// Reads a command, with its backslash.
pub(super) fn parse(text: &str) -> Result<Command<'_>> {
    let text = text.trim().trim_end_matches(';').trim_end();
    let (word, rest) = text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim()));
    let some = (!rest.is_empty()).then_some(rest);
    Ok(match word {
        "\\?" | "\\h" | "\\help" => Command::Help,
        "\\q" | "\\quit" | "\\exit" => Command::Quit,
        "\\d" | "\\d+" => Command::Describe(some),
        "\\dt" | "\\dt+" => Command::Tables,
        "\\dv" | "\\dv+" => Command::Views,
        "\\df" | "\\df+" => Command::Functions(some),
        "\\views" => Command::Questions,
        "\\format" => Command::Format(some),
        "\\o" => Command::Output(some),
        "\\i" => Command::Include(some.ok_or_else(|| usage(word))?),
        "\\x" => Command::Expanded(switch(word, some)?),
        "\\timing" => Command::Timing(switch(word, some)?),
        "\\pager" => Command::Pager(switch(word, some)?),
        "\\labels" => Command::Labels(some),
        "\\rows" => Command::Rows(some),
        "\\set" => Command::Set(some.map(|rest| name_and_value(word, rest)).transpose()?),
        "\\unset" => Command::Unset(some.ok_or_else(|| usage(word))?),
        "\\refresh" => Command::Refresh,
        _ => return Err(unknown(word)),
    })
}

fn switch(word: &str, text: Option<&str>) -> Result<Option<Switch>> {
    match text {
        None => Ok(None),
        Some("on") => Ok(Some(Switch::On)),
        Some("off") => Ok(Some(Switch::Off)),
        Some(_) => Err(usage(word)),
    }
}

fn name_and_value<'a>(word: &str, rest: &'a str) -> Result<(&'a str, &'a str)> {
    let (name, value) = rest.split_once([' ', '\t', '=']).ok_or_else(|| usage(word))?;
    Ok((name, value.trim()))
}

fn usage(word: &str) -> Error {
    let follows = COMMANDS.iter().find(|(known, ..)| *known == word).map_or("", |(_, follows, _)| follows);
    Error::config(format!("`{word}` is written `{word} {follows}`"))
}

fn unknown(word: &str) -> Error {
    let error = Error::config(format!("there is no command `{word}`"));
    match nearest(word, COMMANDS.iter().map(|(known, ..)| *known)) {
        Some(near) => error.with_hint(format!("did you mean `{near}`? `\\?` lists all")),
        None => error.with_hint("`\\?` lists all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        assert_eq!(parse("\\d").unwrap(), Command::Describe(None));
        assert_eq!(parse("\\d  latest.offers ;").unwrap(), Command::Describe(Some("latest.offers")));
        assert_eq!(parse("\\timing on").unwrap(), Command::Timing(Some(Switch::On)));
        assert_eq!(parse("\\x").unwrap(), Command::Expanded(None));
        assert_eq!(parse("\\set n:text 马克 杯").unwrap(), Command::Set(Some(("n:text", "马克 杯"))));
        assert_eq!(parse("\\set n=5").unwrap(), Command::Set(Some(("n", "5"))));
        assert_eq!(parse("\\o my file.csv").unwrap(), Command::Output(Some("my file.csv")));
    }

    #[test]
    fn words_that_everybody_tries_need_no_backslash() {
        for (text, expected) in
            [("exit", Some(Command::Quit)), ("QUIT ;", Some(Command::Quit)), ("help", Some(Command::Help))]
        {
            assert_eq!(bare(text), expected, "{text}");
        }
        assert_eq!((bare("help me"), bare("exits"), bare("")), (None, None, None));
    }

    #[test]
    fn every_command_of_the_list_is_one() {
        for (word, follows, _) in COMMANDS {
            let argument = if follows.contains("on|off") { "on" } else { "a 1" };
            parse(&format!("{word} {argument}")).unwrap();
        }
    }

    #[test]
    fn a_slip_is_told_what_is_near() {
        let error = parse("\\veiws").unwrap_err();
        assert_eq!(error.to_string(), "there is no command `\\veiws`");
        assert_eq!(error.hint(), Some("did you mean `\\views`? `\\?` lists all"));
        assert_eq!(parse("\\timing yes").unwrap_err().to_string(), "`\\timing` is written `\\timing [on|off]`");
        assert_eq!(parse("\\i").unwrap_err().to_string(), "`\\i` is written `\\i FILE`");
    }
}
