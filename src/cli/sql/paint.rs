//! What typed text looks like: words of SQL, strings, numbers and comments in colours.
//!
//! Invariant: without the colours it is the text.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::lex::{Lexeme, lex};

const KEYWORD: &str = "\x1b[1;34m";
const STRING: &str = "\x1b[32m";
const NUMBER: &str = "\x1b[36m";
const COMMENT: &str = "\x1b[2m";
const PLACEHOLDER: &str = "\x1b[35m";
const PLAIN: &str = "\x1b[0m";

/// The text with colours.
pub(super) fn paint(text: &str) -> String {
    if text.trim_start().starts_with('\\') {
        return format!("{PLACEHOLDER}{text}{PLAIN}");
    }
    let lexed = lex(text);
    let mut painted = String::with_capacity(text.len() * 2);
    for lexeme in &lexed.lexemes {
        push(&mut painted, color(lexeme), &text[lexeme.range.clone()]);
    }
    if let Some(stop) = lexed.stopped {
        push(&mut painted, Some(STRING), &text[stop.at..]);
    }
    painted
}

fn push(painted: &mut String, color: Option<&str>, text: &str) {
    match color {
        Some(color) => {
            painted.push_str(color);
            painted.push_str(text);
            painted.push_str(PLAIN);
        }
        None => painted.push_str(text),
    }
}

fn color(lexeme: &Lexeme) -> Option<&'static str> {
    match &lexeme.token {
        Token::Word(word) if word.keyword != Keyword::NoKeyword => Some(KEYWORD),
        Token::Number(..) => Some(NUMBER),
        Token::SingleQuotedString(_) | Token::DollarQuotedString(_) | Token::EscapedStringLiteral(_) => Some(STRING),
        Token::Placeholder(_) => Some(PLACEHOLDER),
        _ if lexeme.is_comment() => Some(COMMENT),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_change_nothing_but_the_looks() {
        let text = "select '马克杯', 1.5, $n -- why\nfrom \"价\" where 'open";
        let painted = paint(text);
        assert!(painted.contains("\x1b[1;34mselect\x1b[0m"), "{painted:?}");
        let mut plain = painted;
        for color in [KEYWORD, STRING, NUMBER, COMMENT, PLACEHOLDER, PLAIN] {
            plain = plain.replace(color, "");
        }
        assert_eq!(plain, text);
    }
}
