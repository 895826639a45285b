//! SQL as tokens with their places, by the tokenizer that DataFusion parses with.
//!
//! Invariant: what stands in a string, a quoted name or a comment is one token.

use std::ops::Range;

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace};

/// A token and the bytes it stands at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lexeme {
    pub(super) token: Token,
    pub(super) range: Range<usize>,
}

/// A text as far as it can be read.
#[derive(Debug)]
pub(super) struct Lexed {
    /// The tokens, white space and comments too.
    pub(super) lexemes: Vec<Lexeme>,
    /// Where reading stopped, and what is open there; `None`: everything is read.
    pub(super) stopped: Option<Stop>,
}

/// Something that has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop {
    /// The first byte that belongs to no token.
    pub(super) at: usize,
    pub(super) open: Open,
}

/// What has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Open {
    String,
    QuotedName,
    Comment,
    /// Nothing is open: a character that SQL does not know.
    Nothing,
}

/// Reads a text.
pub(super) fn lex(text: &str) -> Lexed {
    let dialect = GenericDialect {};
    let mut tokens = Vec::new();
    let result = Tokenizer::new(&dialect, text).with_unescape(false).tokenize_with_location_into_buf(&mut tokens);
    let mut places = Places { text, at: 0, line: 1, column: 1 };
    let mut lexeme = |TokenWithSpan { token, span }: TokenWithSpan| {
        let start = places.byte_of(span.start);
        Lexeme { token, range: start..places.byte_of(span.end) }
    };
    let lexemes: Vec<Lexeme> = tokens.into_iter().map(&mut lexeme).collect();
    let stopped = result.is_err().then(|| {
        let at = lexemes.last().map_or(0, |last| last.range.end);
        Stop { at, open: open_at(&text[at..]) }
    });
    Lexed { lexemes, stopped }
}

fn open_at(rest: &str) -> Open {
    // A string may have a letter before it: `e'…'`, `x'…'`.
    let rest = rest.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
    match rest.as_bytes() {
        [b'\'' | b'$', ..] => Open::String,
        [b'"' | b'`', ..] => Open::QuotedName,
        [b'/', b'*', ..] => Open::Comment,
        _ => Open::Nothing,
    }
}

/// The tokenizer counts lines and letters; we cut at bytes. Places are asked for in their order.
struct Places<'a> {
    text: &'a str,
    at: usize,
    line: u64,
    column: u64,
}

impl Places<'_> {
    fn byte_of(&mut self, place: Location) -> usize {
        let mut letters = self.text[self.at..].chars();
        while (self.line, self.column) < (place.line, place.column) {
            let Some(letter) = letters.next() else { break };
            self.at += letter.len_utf8();
            if letter == '\n' {
                (self.line, self.column) = (self.line + 1, 1);
            } else {
                self.column += 1;
            }
        }
        self.at
    }
}

impl Lexeme {
    /// White space, or a comment.
    pub(super) fn is_space(&self) -> bool {
        matches!(self.token, Token::Whitespace(_))
    }

    pub(super) fn is_comment(&self) -> bool {
        use Whitespace::{MultiLineComment, SingleLineComment};
        matches!(self.token, Token::Whitespace(SingleLineComment { .. } | MultiLineComment(_)))
    }

    /// The word, where it is one.
    pub(super) fn word(&self) -> Option<&str> {
        match &self.token {
            Token::Word(word) => Some(&word.value),
            _ => None,
        }
    }

    /// Whether it is this word, unquoted, in any case.
    pub(super) fn is_word(&self, expected: &str) -> bool {
        matches!(&self.token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_lie_side_by_side_over_the_whole_text() {
        let text = "select '马克杯;', \"价格\" -- ; 杯\n/* ; */ from t\r\nwhere x=$1;";
        let lexed = lex(text);
        assert_eq!(lexed.stopped, None);
        let mut at = 0;
        for lexeme in &lexed.lexemes {
            assert_eq!(lexeme.range.start, at, "{lexeme:?}");
            at = lexeme.range.end;
        }
        assert_eq!(at, text.len());
        assert_eq!(&text[lexed.lexemes[2].range.clone()], "'马克杯;'");
    }

    #[test]
    fn what_is_open_is_known() {
        let cases = [
            ("select 'it''s", Some((7, Open::String))),
            ("select \"价", Some((7, Open::QuotedName))),
            ("select 1 /* so", Some((9, Open::Comment))),
            ("select $a$ so", Some((7, Open::String))),
            ("select 1 -- it's", None),
        ];
        for (text, expected) in cases {
            let stopped = lex(text).stopped.map(|stop| (stop.at, stop.open));
            assert_eq!(stopped, expected, "{text}");
        }
    }
}
