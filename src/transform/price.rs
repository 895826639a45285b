//! Prices as texts have them: `"¥10.00"`, `10.00元`, `1,299`, `2.88-25.65` (WIRE §2).
//!
//! Invariant: exact decimals; a price of 0 is missing, and no text makes up a price.

use crate::base::Money;
use crate::base::money::DecimalError;

use super::lex::{Lexeme, Sign, Token};
use super::unit::UnitTable;

/// What a price text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Price {
    /// One price, above 0.
    One(Money),
    /// A spread, `low` below `high`.
    Spread {
        /// The lowest price.
        low: Money,
        /// The highest.
        high: Money,
    },
    /// Nothing, or 0.
    Missing,
    /// A text without a price (面议), a negative one, or several.
    Unparsable,
}

impl Price {
    /// The price, or the low end of a spread.
    #[must_use]
    pub fn low(self) -> Option<Money> {
        match self {
            Price::One(price) | Price::Spread { low: price, .. } => Some(price),
            Price::Missing | Price::Unparsable => None,
        }
    }

    /// The price, where there is only one.
    #[must_use]
    pub fn one(self) -> Option<Money> {
        match self {
            Price::One(price) => Some(price),
            _ => None,
        }
    }
}

/// Reads a price text.
///
/// # Errors
/// [`DecimalError::TooLarge`] when a price does not fit the column: the record goes to quarantine.
pub fn read(text: &str, units: &UnitTable, lexemes: &mut Vec<Lexeme>) -> Result<Price, DecimalError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Price::Missing);
    }
    match Money::parse(text) {
        Ok(price) => return Ok(one(price)),
        Err(DecimalError::TooLarge) => return Err(DecimalError::TooLarge),
        Err(DecimalError::NotANumber) => {}
    }
    super::lex::lex(text, units, lexemes);
    of_lexemes(text, lexemes)
}

/// One price; 0 is missing, and below 0 is none.
#[must_use]
pub fn one(price: Money) -> Price {
    match price.units() {
        0 => Price::Missing,
        units if units < 0 => Price::Unparsable,
        _ => Price::One(price),
    }
}

/// Reads the price that `lexemes` of `text` make up: `[¥] N [元] [/unit]` or two of these joined by a range sign.
pub(super) fn of_lexemes(text: &str, lexemes: &[Lexeme]) -> Result<Price, DecimalError> {
    let Some((low, rest)) = amount(text, lexemes)? else { return Ok(Price::Unparsable) };
    if let [Lexeme { token: Token::Sign(Sign::Range), .. }, rest @ ..] = rest {
        let Some((high, rest)) = amount(text, rest)? else { return Ok(Price::Unparsable) };
        return Ok(match (one(low), one(high)) {
            _ if !is_per_unit(rest) => Price::Unparsable,
            (Price::One(low), Price::One(high)) if low < high => Price::Spread { low, high },
            (Price::One(low), Price::One(high)) if low == high => Price::One(low),
            _ => Price::Unparsable,
        });
    }
    // `10元起` is a lowest price and nothing more is known.
    let from = matches!(rest, [Lexeme { token: Token::Sign(Sign::From | Sign::Plus), .. }]);
    Ok(if from || is_per_unit(rest) { one(low) } else { Price::Unparsable })
}

/// One amount at the start of `lexemes`, and what follows it.
fn amount<'l>(text: &str, lexemes: &'l [Lexeme]) -> Result<Option<(Money, &'l [Lexeme])>, DecimalError> {
    let lexemes = match lexemes {
        [Lexeme { token: Token::Sign(Sign::Yuan | Sign::Dollar), .. }, rest @ ..] => rest,
        _ => lexemes,
    };
    let [Lexeme { token: Token::Number(value), start, end }, rest @ ..] = lexemes else { return Ok(None) };
    let price = match Money::parse(&text[*start..*end]) {
        Ok(price) => price,
        Err(DecimalError::TooLarge) => return Err(DecimalError::TooLarge),
        Err(DecimalError::NotANumber) => value.ok_or(DecimalError::TooLarge)?.money()?,
    };
    let rest = match rest {
        [Lexeme { token: Token::Sign(Sign::YuanWord), .. }, rest @ ..] => rest,
        _ => rest,
    };
    Ok(Some((price, rest)))
}

/// Nothing, or `/件`.
fn is_per_unit(rest: &[Lexeme]) -> bool {
    matches!(rest, [] | [Lexeme { token: Token::Sign(Sign::Slash), .. }, Lexeme { token: Token::Unit(_), .. }])
}

/// The currency of a code, sign or word; codes as sent, in capitals.
#[must_use]
pub fn currency(text: &str) -> std::borrow::Cow<'_, str> {
    let text = text.trim();
    match text {
        "¥" | "￥" | "元" | "人民币" | "RMB" | "rmb" | "cny" => "CNY".into(),
        "$" | "US$" | "美元" => "USD".into(),
        _ if text.bytes().any(|byte| byte.is_ascii_lowercase()) => text.to_ascii_uppercase().into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn show(text: &str) -> String {
        match read(text, &UnitTable::new(&BTreeMap::new()), &mut Vec::new()) {
            Ok(Price::One(price)) => price.to_string(),
            Ok(Price::Spread { low, high }) => format!("{low}-{high}"),
            Ok(other) => format!("{other:?}"),
            Err(error) => format!("{error:?}"),
        }
    }

    fn check(cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            assert_eq!(show(text), *expected, "{text}");
        }
    }

    #[test]
    fn prices_in_every_dress() {
        check(&[
            ("28.0", "28.0000"),
            ("150.00", "150.0000"),
            ("9.5", "9.5000"),
            ("¥10.00", "10.0000"),
            ("￥12.5", "12.5000"),
            ("10.00元", "10.0000"),
            ("1,299.00", "1299.0000"),
            ("￥１２．５", "12.5000"),
            ("12.50元/件", "12.5000"),
            ("10元起", "10.0000"),
            ("1.2万", "12000.0000"),
        ]);
    }

    #[test]
    fn a_spread_has_two_ends() {
        check(&[
            ("2.88-25.65", "2.8800-25.6500"),
            ("¥2.88 - ¥25.65", "2.8800-25.6500"),
            ("2.88～25.65元", "2.8800-25.6500"),
            ("5-5", "5.0000"),
            ("25-2", "Unparsable"),
        ]);
    }

    #[test]
    fn a_price_of_zero_is_missing() {
        check(&[("0", "Missing"), ("0.00", "Missing"), ("¥0", "Missing"), ("", "Missing"), ("0.00001", "Missing")]);
    }

    #[test]
    fn what_is_no_price_is_unparsable_and_what_does_not_fit_an_error() {
        check(&[
            ("面议", "Unparsable"),
            ("-5", "Unparsable"),
            ("价格", "Unparsable"),
            ("1 2", "Unparsable"),
            ("2-3-4", "Unparsable"),
            ("100000000000000", "TooLarge"),
            ("¥100000000000000", "TooLarge"),
            ("99999999999999999999元", "TooLarge"),
        ]);
    }

    #[test]
    fn more_than_four_decimals_round_half_to_even() {
        check(&[
            ("1.00005", "1.0000"),
            ("1.00015", "1.0002"),
            ("¥1.00025", "1.0002"),
            ("¥0.333333333333333333333333", "0.3333"),
        ]);
    }

    #[test]
    fn currencies_have_codes() {
        for (text, code) in [("CNY", "CNY"), ("￥", "CNY"), ("usd", "USD"), ("$", "USD"), ("EUR", "EUR")] {
            assert_eq!(currency(text), code);
        }
    }

    proptest! {
        #[test]
        fn a_written_price_reads_back(units in 1_i64..1_000_000_000_000, form in 0..4_usize) {
            let price = Money::from_units(units);
            let text = match form {
                0 => price.to_string(),
                1 => format!("¥{price}"),
                2 => format!("{price}元"),
                _ => format!("￥ {price}/件"),
            };
            prop_assert_eq!(show(&text), price.to_string());
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9.,¥￥元/件万亿 eE+~-]{0,30}") {
            let _ = show(&text);
        }
    }
}
