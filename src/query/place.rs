//! Where in a query an error is.

use std::fmt;

use datafusion::common::{DataFusionError, Location, SchemaError, Span};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use unicode_width::UnicodeWidthStr;

/// A part of one line of a query.
///
/// `Display` shows it with its line, marked:
///
/// ```text
/// 1 | select shop_nam from offers
///   |        ^^^^^^^^
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlPlace {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// In characters from the start of the query, from 1.
    pub position: usize,
    /// In characters; 0: at the end.
    length: usize,
    text: String,
}

impl SqlPlace {
    /// Where in `sql` an error is, if it says so.
    pub(crate) fn find(cause: &DataFusionError, sql: &str) -> Option<Self> {
        match cause {
            // The SQL of a view is not what was asked.
            DataFusionError::Context(..) => None,
            DataFusionError::Diagnostic(diagnostic, inner) => {
                diagnostic.span.and_then(|span| Self::of_span(sql, span)).or_else(|| Self::find(inner, sql))
            }
            DataFusionError::Collection(errors) => errors.first().and_then(|first| Self::find(first, sql)),
            DataFusionError::Shared(shared) => Self::find(shared, sql),
            DataFusionError::SQL(error, _) => Self::in_message(&error.to_string(), sql),
            // The engine does not say where these stand.
            DataFusionError::Plan(message) => Self::of_word(sql, table_function(message)?),
            DataFusionError::SchemaError(error, _) => match error.as_ref() {
                SchemaError::FieldNotFound { field, .. } => Self::of_word(sql, &field.name),
                _ => None,
            },
            _ => None,
        }
    }

    /// Where a word stands in `sql` for the first time, outside of texts and comments.
    pub(crate) fn of_word(sql: &str, word: &str) -> Option<Self> {
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().ok()?;
        let is_it = |token: &Token| matches!(token, Token::Word(found) if found.value.eq_ignore_ascii_case(word));
        let span = tokens.iter().find(|token| is_it(&token.token))?.span;
        Self::of_span(sql, Span::try_from_sqlparser_span(span)?)
    }

    fn of_span(sql: &str, span: Span) -> Option<Self> {
        let Location { line, column } = span.start;
        let mut place = Self::at(sql, usize::try_from(line).ok()?, usize::try_from(column).ok()?)?;
        let ends_here = span.end.line == line;
        let to = if ends_here { usize::try_from(span.end.column).ok()? } else { place.text.chars().count() + 1 };
        place.length = to.saturating_sub(place.column);
        Some(place)
    }

    /// `…, found: x at Line: 1, Column: 8`.
    fn in_message(message: &str, sql: &str) -> Option<Self> {
        if message.ends_with("found: EOF") {
            let lines = sql.trim_end().split('\n');
            let last = lines.clone().next_back()?.chars().count();
            return Self::at(sql, lines.count(), last + 1);
        }
        let (_, at) = message.rsplit_once("at Line: ")?;
        let (line, column) = at.split_once(", Column: ")?;
        let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
        let mut place = Self::at(sql, number(line)?, number(column)?)?;
        let rest: Vec<char> = place.text.chars().skip(place.column - 1).collect();
        let is_of_word = |letter: &&char| letter.is_alphanumeric() || **letter == '_';
        place.length = rest.iter().take_while(is_of_word).count().max(usize::from(!rest.is_empty()));
        Some(place)
    }

    fn at(sql: &str, line: usize, column: usize) -> Option<Self> {
        let before: usize = sql.split_inclusive('\n').take(line.checked_sub(1)?).map(|line| line.chars().count()).sum();
        let text = sql.split('\n').nth(line - 1)?.trim_end_matches('\r').to_owned();
        let column = column.clamp(1, text.chars().count() + 1);
        Some(Self { line, column, position: before + column, length: 0, text })
    }
}

/// `table function 'x' not found`.
fn table_function(message: &str) -> Option<&str> {
    let (_, name) = message.split_once("able function '")?;
    name.split_once("' not found").map(|(name, _)| name)
}

impl fmt::Display for SqlPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A long line is shown from a little before the place.
        const BEFORE_MAX: usize = 100;
        const SHOWN_MAX: usize = 160;
        let skipped = (self.column - 1).saturating_sub(BEFORE_MAX);
        let shown: String = self.text.chars().skip(skipped).take(SHOWN_MAX).map(visible).collect();
        let before: String = shown.chars().take(self.column - 1 - skipped).collect();
        let marked: String = shown.chars().skip(self.column - 1 - skipped).take(self.length).collect();
        let number = self.line.to_string();
        let cut = if skipped > 0 { "…" } else { "" };
        writeln!(f, "{number} | {cut}{shown}")?;
        let indent = " ".repeat(cut.width() + before.width());
        write!(f, "{} | {indent}{}", " ".repeat(number.len()), "^".repeat(marked.width().max(1)))
    }
}

impl std::error::Error for SqlPlace {}

/// A tab would move what stands below it.
fn visible(letter: char) -> char {
    if letter.is_control() { ' ' } else { letter }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: (u64, u64), to: (u64, u64)) -> Span {
        let location = |(line, column)| Location { line, column };
        Span { start: location(from), end: location(to) }
    }

    #[test]
    fn a_place_is_shown_below_its_line() {
        let sql = "select 店铺,\r\n\tshop_nam\nfrom offers";
        let place = SqlPlace::of_span(sql, span((2, 2), (2, 10))).unwrap();
        assert_eq!((place.line, place.column, place.position), (2, 2, 14));
        assert_eq!(place.to_string(), "2 |  shop_nam\n  |  ^^^^^^^^");
        let wide = SqlPlace::of_span(sql, span((1, 8), (1, 10))).unwrap();
        assert_eq!(wide.to_string(), "1 | select 店铺,\n  |        ^^^^", "a Chinese letter takes two columns");
        let several = SqlPlace::of_span(sql, span((2, 2), (3, 5))).unwrap();
        assert!(several.to_string().ends_with("^^^^^^^^"), "to the end of its line");
        assert_eq!(SqlPlace::of_span(sql, span((0, 0), (0, 0))), None);
        assert_eq!(SqlPlace::of_span(sql, span((9, 1), (9, 2))), None);
    }

    #[test]
    fn a_parser_says_its_place_in_words() {
        let place = |message: &str| SqlPlace::in_message(message, "selekt * from x").map(|place| place.to_string());
        let message = "sql parser error: Expected: an SQL statement, found: selekt at Line: 1, Column: 1";
        assert_eq!(place(message).unwrap(), "1 | selekt * from x\n  | ^^^^^^");
        assert_eq!(place("found: EOF at Line: 1, Column: 99").unwrap(), format!("1 | selekt * from x\n  | {:15}^", ""));
        assert_eq!(place("found: EOF").unwrap(), format!("1 | selekt * from x\n  | {:15}^", ""));
        assert_eq!(place("something else"), None);
    }

    #[test]
    fn a_name_is_found_where_it_is_one() {
        let sql = "select 'prize', -- prize\n  \"o\".Prize from offers o";
        let position = |sql: &str, word: &str| SqlPlace::of_word(sql, word).map(|place| place.position);
        assert_eq!((position(sql, "prize"), sql.chars().nth(31)), (Some(32), Some('P')));
        assert_eq!(position("select '货', x", "x"), Some(13));
        assert_eq!(position("select 1", "x"), None);
        let unknown = DataFusionError::Plan("Table function 'price_att' not found".to_owned());
        let place = SqlPlace::find(&unknown, "select * from price_att(5)").unwrap();
        assert_eq!(place.to_string(), format!("1 | select * from price_att(5)\n  | {:14}^^^^^^^^^", ""));
    }

    #[test]
    fn a_long_line_is_cut() {
        let sql = format!("select {} nam {}", "x".repeat(500), "y".repeat(500));
        let text = SqlPlace::of_span(&sql, span((1, 509), (1, 512))).unwrap().to_string();
        let (line, marks) = text.split_once('\n').unwrap();
        assert!(line.starts_with("1 | …x") && line.chars().count() < 170);
        assert_eq!(line.chars().skip(marks.chars().count() - 3).take(3).collect::<String>(), "nam");
    }
}
