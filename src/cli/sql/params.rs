//! Values for `$name` and `$1`: they become literals where the tokenizer sees a placeholder, so that they work wherever a
//! literal does (in the arguments of a function, after `limit`).
//!
//! | said | type by its look | in the query |
//! |---|---|---|
//! | `500`, `-3` | integer | the number |
//! | `12.50` | decimal, exact | a cast of its digits |
//! | `2026-11-20` | date | a date |
//! | all else, `007` too | text | a quoted string |
//!
//! Invariant: a value never becomes more than one literal, whatever is in it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::FromStr;

use chrono::NaiveDate;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::base::text::nearest;
use crate::base::{Error, Result};

use super::lex::lex;

/// The digits a decimal may have, before and after its point together.
const DIGITS_MAX: usize = 38;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Integer(i64),
    /// Its digits.
    Decimal(String),
    Date(NaiveDate),
    Text(String),
}

/// `name=value` or `name:type=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Param {
    pub(super) name: String,
    pub(super) value: Value,
}

/// What is known by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Params(BTreeMap<String, Value>);

impl Value {
    /// Of the type that it looks like.
    pub(super) fn guessed(text: &str) -> Self {
        if let Some(number) = integer(text) {
            return Value::Integer(number);
        }
        match date(text) {
            Some(day) => Value::Date(day),
            None if text.contains('.') && is_decimal(text) => Value::Decimal(text.to_owned()),
            None => Value::Text(text.to_owned()),
        }
    }

    fn typed(name: &str, text: &str) -> Result<Self> {
        let value = match name {
            "integer" => text.parse().ok().map(Value::Integer),
            "decimal" => is_decimal(text).then(|| Value::Decimal(text.to_owned())),
            "date" => date(text).map(Value::Date),
            "text" => Some(Value::Text(text.to_owned())),
            _ => {
                return Err(Error::config(format!("there is no type `{name}` for a parameter"))
                    .with_hint("known are: integer, decimal, date, text"));
            }
        };
        value.ok_or_else(|| Error::config(format!("`{text}` is no {name}")))
    }

    /// As SQL writes it. A space goes before a minus: two of them would start a comment.
    fn literal(&self) -> String {
        match self {
            Value::Integer(number @ ..0) => format!(" {number}"),
            Value::Integer(number) => number.to_string(),
            Value::Decimal(digits) => {
                let scale = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
                let precision = digits.chars().filter(char::is_ascii_digit).count();
                format!("CAST('{digits}' AS DECIMAL({precision},{scale}))")
            }
            Value::Date(day) => format!("DATE '{day}'"),
            Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        }
    }

    /// As people read it, with its type.
    pub(super) fn described(&self) -> String {
        match self {
            Value::Integer(number) => format!("{number} (integer)"),
            Value::Decimal(digits) => format!("{digits} (decimal)"),
            Value::Date(day) => format!("{day} (date)"),
            Value::Text(text) => format!("{text} (text)"),
        }
    }
}

/// A number as it is written when it is one: `007` and `+1` are texts.
fn integer(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().filter(|number| number.to_string() == text)
}

fn date(text: &str) -> Option<NaiveDate> {
    NaiveDate::from_str(text).ok().filter(|day| day.to_string() == text)
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    are_digits(whole) && are_digits(fraction) && whole.len() + fraction.len() <= DIGITS_MAX
}

impl FromStr for Param {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let usage = "write `name=value`, or `name:text=value` where the value looks like another type";
        let (name, value) =
            text.split_once('=').ok_or_else(|| Error::config(format!("`{text}` is no parameter")).with_hint(usage))?;
        let (name, kind) = name.split_once(':').map_or((name, None), |(name, kind)| (name, Some(kind)));
        let name = name.strip_prefix('$').unwrap_or(name);
        if name.is_empty() || !name.chars().all(|letter| letter.is_alphanumeric() || letter == '_') {
            return Err(Error::config(format!("`{name}` is no name for a parameter")).with_hint(usage));
        }
        let value = kind.map_or_else(|| Ok(Value::guessed(value)), |kind| Value::typed(kind, value))?;
        Ok(Self { name: name.to_owned(), value })
    }
}

impl Params {
    pub(super) fn set(&mut self, param: Param) {
        self.0.insert(param.name, param.value);
    }

    /// Whether there was one.
    pub(super) fn unset(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The query with its values.
    pub(super) fn fill<'a>(&self, sql: &'a str) -> Result<Cow<'a, str>> {
        if !sql.contains('$') {
            return Ok(Cow::Borrowed(sql));
        }
        let mut filled = String::new();
        let mut copied = 0;
        for lexeme in lex(sql).lexemes {
            let Token::Placeholder(placeholder) = &lexeme.token else { continue };
            let Some(name) = placeholder.strip_prefix('$') else { continue };
            let value = self.0.get(name).ok_or_else(|| self.unknown(name))?;
            filled.push_str(&sql[copied..lexeme.range.start]);
            filled.push_str(&value.literal());
            copied = lexeme.range.end;
        }
        filled.push_str(&sql[copied..]);
        Ok(Cow::Owned(filled))
    }

    fn unknown(&self, name: &str) -> Error {
        let error = Error::config(format!("there is no value for `${name}`"));
        match nearest(name, self.0.keys().map(String::as_str)) {
            Some(near) => error.with_hint(format!("did you mean `${near}`?")),
            None if name.parse::<usize>().is_ok() => error.with_hint("say `-p VALUE`, once per place"),
            None => error.with_hint(format!("say `--param {name}=…`, or `\\set {name} …` in the shell")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(params: &[&str], sql: &str) -> Result<String> {
        let mut known = Params::default();
        for param in params {
            known.set(param.parse()?);
        }
        known.fill(sql).map(Cow::into_owned)
    }

    fn check(params: &[&str], sql: &str, expected: &str) {
        assert_eq!(filled(params, sql).unwrap(), expected);
    }

    fn refused(params: &[&str], sql: &str) -> (String, String) {
        let error = filled(params, sql).unwrap_err();
        (error.to_string(), error.hint().unwrap_or_default().to_owned())
    }

    #[test]
    fn a_value_has_the_type_it_looks_like_unless_another_is_said() {
        check(&["n=500"], "price_at($n)", "price_at(500)");
        check(&["n=-5"], "select 1-$n", "select 1- -5");
        check(&["p=12.50"], "$p", "CAST('12.50' AS DECIMAL(4,2))");
        check(&["p=-0.5"], "$p", "CAST('-0.5' AS DECIMAL(2,1))");
        check(&["p:decimal=12"], "$p", "CAST('12' AS DECIMAL(2,0))");
        check(&["d=2026-11-20"], "dt = $d", "dt = DATE '2026-11-20'");
        check(&["d=2026-11-31"], "$d", "'2026-11-31'");
        check(&["s=007"], "$s", "'007'");
        check(&["s:text=7"], "$s", "'7'");
        check(&["1=马克杯", "2=3"], "$1 $2", "'马克杯' 3");
        check(&["a=1=2"], "$a", "'1=2'");
    }

    #[test]
    fn a_value_stays_one_literal_and_only_placeholders_are_filled() {
        check(&["t='; drop table x; --"], "select $t", "select '''; drop table x; --'");
        check(&["t=\\'"], "select $t", "select '\\'''");
        check(&["t=x"], "select '$t', \"$t\", $t -- $t", "select '$t', \"$t\", 'x' -- $t");
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        let (message, hint) = refused(&["pieces=5"], "select $piece");
        assert_eq!((message.as_str(), hint.as_str()), ("there is no value for `$piece`", "did you mean `$pieces`?"));
        assert_eq!(refused(&[], "select $1").1, "say `-p VALUE`, once per place");
        assert_eq!(refused(&["n"], "").0, "`n` is no parameter");
        assert_eq!(refused(&["n:integer=1.5"], "").0, "`1.5` is no integer");
        assert_eq!(refused(&["n:money=1"], "").0, "there is no type `money` for a parameter");
        assert_eq!(refused(&["a b=1"], "").0, "`a b` is no name for a parameter");
    }
}
