//! Sales and other counters: `1000`, `"已售1.2万+件"`, `"3.5万+"` (WIRE §2, §5 "Counts").
//!
//! Invariant: platform-wide figures (全网) are never taken for this shop's.

use super::lex::{self, Lexeme, Sign, Token};
use super::number::Decimal;
use super::quantity;
use super::unit::UnitTable;

/// A counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Its number.
    pub value: i64,
    /// Whether it may be more.
    pub bound: CountBound,
}

/// Whether a counter is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountBound {
    /// As stated.
    Exact,
    /// `+`, 以上: at least that many.
    Lower,
}

/// Reads a counter; `None`: none, platform-wide, or not one whole number.
#[must_use]
pub fn read(text: &str, units: &UnitTable, lexemes: &mut Vec<Lexeme>) -> Option<Count> {
    let text = text.trim();
    if let Some(value) = quantity::plain(text) {
        return Some(Count { value, bound: CountBound::Exact });
    }
    lex::lex(text, units, lexemes);
    if lexemes.iter().any(|lexeme| lexeme.token == Token::Sign(Sign::Platform)) {
        return None;
    }
    let mut best: Option<(u8, Count)> = None;
    let mut ambiguous = false;
    for (at, lexeme) in lexemes.iter().enumerate() {
        let Token::Number(value) = lexeme.token else { continue };
        let (rank, bound) = rank(lexemes, at)?;
        let count = Count { value: value.and_then(Decimal::integer)?, bound };
        match best {
            Some((known, _)) if known > rank => {}
            Some((known, _)) if known == rank => ambiguous = true,
            _ => {
                ambiguous = false;
                best = Some((rank, count));
            }
        }
    }
    best.filter(|_| !ambiguous).map(|(_, count)| count)
}

/// How likely the number at `at` is the counter (after 已售, with `+` or a unit, else bare) and whether it is a
/// bound; `None` for a negative number or one in a range.
fn rank(lexemes: &[Lexeme], at: usize) -> Option<(u8, CountBound)> {
    let sign = |at: Option<usize>| match at.and_then(|at| lexemes.get(at)).map(|lexeme| lexeme.token) {
        Some(Token::Sign(sign)) => Some(sign),
        _ => None,
    };
    let before = sign(at.checked_sub(1));
    if matches!(before, Some(Sign::Range)) || matches!(sign(Some(at + 1)), Some(Sign::Range | Sign::Percent)) {
        return None;
    }
    let unit = matches!(lexemes.get(at + 1).map(|lexeme| lexeme.token), Some(Token::Unit(_)));
    let after = sign(Some(at + 1 + usize::from(unit)));
    let lower = matches!(after, Some(Sign::Plus | Sign::OrMore)) || matches!(before, Some(Sign::AtLeast(_)));
    let stated = lower || unit || matches!(before, Some(Sign::Sold | Sign::Colon));
    Some((u8::from(stated), if lower { CountBound::Lower } else { CountBound::Exact }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn show(text: &str) -> String {
        match read(text, &UnitTable::new(&BTreeMap::new()), &mut Vec::new()) {
            None => "-".to_owned(),
            Some(Count { value, bound: CountBound::Exact }) => value.to_string(),
            Some(Count { value, bound: CountBound::Lower }) => format!("≥{value}"),
        }
    }

    #[test]
    fn counters_and_lower_bounds() {
        for (text, expected) in [
            ("1000", "1000"),
            ("1000件", "1000"),
            ("已售70+件", "≥70"),
            ("已售1.2万+件", "≥12000"),
            ("3.5万+", "≥35000"),
            ("100件以上", "≥100"),
            ("近30天成交1000+件", "≥1000"),
            ("1,234", "1234"),
            ("销量：5", "5"),
        ] {
            assert_eq!(show(text), expected, "{text}");
        }
    }

    #[test]
    fn platform_wide_sales_are_not_this_shops() {
        assert_eq!(show("全网10万+件"), "-");
        assert_eq!(show("全网销量500"), "-");
    }

    #[test]
    fn what_is_no_whole_counter_is_null() {
        for text in ["", "热销", "1.5", "-5", "10-20", "5%", "3 4", "99999999999999999999"] {
            assert_eq!(show(text), "-", "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9.,已售成交全网万亿件+~% -]{0,30}") {
            let _ = show(&text);
        }
    }
}
