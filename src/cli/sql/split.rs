//! Text into statements and backslash commands.
//!
//! A statement ends with `;` or with the text. A command starts with `\` where a statement could, and ends with its line.
//! `exit`, `quit` and `help` are commands without it: no SQL begins so, and who types them is at a loss.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::command;
use super::lex::{Open, lex};

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) item: Item<'a>,
    /// The byte it starts at.
    pub(super) at: usize,
    /// The line it starts on, from 1.
    pub(super) line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// Without its `;`.
    Statement(&'a str),
    /// With its backslash.
    Command(&'a str),
}

/// What there is to do in a text.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = read(text, at, &mut found) {
        at = next;
    }
    found
}

/// Reads up to and with the next command; gives the place after it.
fn read<'a>(text: &'a str, from: usize, found: &mut Vec<Piece<'a>>) -> Option<usize> {
    let lexed = lex(&text[from..]);
    let piece = |item, at| Piece { item, at, line: text[..at].matches('\n').count() + 1 };
    let mut start = None;
    for lexeme in lexed.lexemes.iter().filter(|lexeme| !lexeme.is_space()) {
        let at = from + lexeme.range.start;
        match (&lexeme.token, start) {
            (Token::SemiColon, Some(began)) => {
                found.push(piece(Item::Statement(text[began..at].trim_end()), began));
                start = None;
            }
            (Token::SemiColon, None) => {}
            (Token::Backslash, None) => {
                let end = text[at..].find('\n').map_or(text.len(), |length| at + length);
                found.push(piece(Item::Command(text[at..end].trim_end()), at));
                return Some(end);
            }
            (_, None) => start = Some(at),
            (_, Some(_)) => {}
        }
    }
    // What cannot be read belongs to the last statement: the parser says what is wrong with it.
    let start = start.or(lexed.stopped.map(|stop| from + stop.at));
    if let Some(began) = start.filter(|began| !text[*began..].trim().is_empty()) {
        found.push(piece(Item::Statement(text[began..].trim_end()), began));
    }
    None
}

/// What is missing before what was typed can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Nothing,
    /// The end of the statement.
    Semicolon,
    /// The end of something in it.
    End(Open),
}

/// Whether what was typed can run.
pub(super) fn missing(text: &str) -> Missing {
    let last = match pieces(text).last() {
        Some(Piece { item: Item::Statement(sql), at, .. }) if !command::is_bare(sql) => &text[*at..],
        _ => return Missing::Nothing,
    };
    let lexed = lex(last);
    match lexed.stopped {
        Some(stop) if stop.open != Open::Nothing => return Missing::End(stop.open),
        Some(_) if last.trim_end().ends_with(';') => return Missing::Nothing,
        _ => {}
    }
    match lexed.lexemes.iter().rev().find(|lexeme| !lexeme.is_space()) {
        Some(last) if last.token == Token::SemiColon => Missing::Nothing,
        _ => Missing::Semicolon,
    }
}

/// A statement that has no end yet, and the command on the line after it: it is typed to be run now, and the statement is
/// typed on afterwards. In an open string, name or comment a line is what it is.
pub(super) fn interrupting(text: &str) -> Option<(&str, &str)> {
    let (statement, line) = text.trim_end().rsplit_once('\n')?;
    let command = line.trim_start();
    (command.starts_with('\\') && missing(statement) == Missing::Semicolon).then_some((statement, command))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let items = pieces(text).into_iter().map(|piece| match piece.item {
            Item::Statement(text) | Item::Command(text) => text,
        });
        assert_eq!(items.collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn only_a_semicolon_that_is_one_ends_a_statement() {
        check("select 1", &["select 1"]);
        check("select 1;\nselect 2 ;", &["select 1", "select 2"]);
        check(
            "select ';', \"a;b\" -- ; no\n, 2 /* ; /* nested ; */ */; select '马;克''s;'",
            &["select ';', \"a;b\" -- ; no\n, 2 /* ; /* nested ; */ */", "select '马;克''s;'"],
        );
        check(" ;; -- nothing; here\n;", &[]);
        check("-- first\nselect 1; -- last", &["select 1"]);
        check("select $$a;b$$;select 2", &["select $$a;b$$", "select 2"]);
    }

    #[test]
    fn what_has_no_end_is_the_last_statement() {
        check("select 1; select 'a; select 2", &["select 1", "select 'a; select 2"]);
        check("'a", &["'a"]);
    }

    #[test]
    fn a_command_is_its_line_and_may_hold_a_quote() {
        check(
            "\\timing on\nselect 1;\n  \\o it's.csv\nselect 2",
            &["\\timing on", "select 1", "\\o it's.csv", "select 2"],
        );
        check("\\d offers;", &["\\d offers;"]);
        check("select 1 \\ 2", &["select 1 \\ 2"]);
    }

    #[test]
    fn pieces_know_their_lines() {
        let lines = |text| pieces(text).iter().map(|piece| piece.line).collect::<Vec<_>>();
        assert_eq!(lines("-- head\nselect 1;\n\n\\d\nselect\n2;select 3"), [2, 4, 5, 6]);
    }

    #[test]
    fn what_is_typed_runs_when_its_last_statement_is_whole() {
        let cases = [
            ("", Missing::Nothing),
            ("  -- a comment", Missing::Nothing),
            ("\\d", Missing::Nothing),
            ("\\d it's", Missing::Nothing),
            ("select 1", Missing::Semicolon),
            ("select 1;", Missing::Nothing),
            ("select 1; -- select 1", Missing::Nothing),
            ("select 1; select 1", Missing::Semicolon),
            ("select ';", Missing::End(Open::String)),
            ("select \";", Missing::End(Open::QuotedName)),
            ("select 1 /* ;", Missing::End(Open::Comment)),
            ("select 1 -- ;", Missing::Semicolon),
            ("exit", Missing::Nothing),
            (" Help ;", Missing::Nothing),
            ("select 1;\nquit", Missing::Nothing),
            ("exit now", Missing::Semicolon),
            ("select\nexit", Missing::Semicolon),
        ];
        for (text, expected) in cases {
            assert_eq!(missing(text), expected, "{text}");
        }
    }
    #[test]
    fn a_command_on_its_own_line_interrupts_what_is_typed() {
        assert_eq!(interrupting("select 1\nfrom x\n  \\d offers "), Some(("select 1\nfrom x", "\\d offers")));
        assert_eq!(interrupting("select 1;\nselect 2\n\\q\n"), Some(("select 1;\nselect 2", "\\q")));
        for text in ["\\q", "select 1;\n\\q", "select 'a\n\\q", "select /* a\n\\q", "select 1\n- \\q", "select 1\n"] {
            assert_eq!(interrupting(text), None, "{text}");
        }
    }
}
