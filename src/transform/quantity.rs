//! MOQ and stock texts: one whole quantity, its unit, and why there is none (WIRE §3, §5 "MOQ").
//!
//! Takes lexemes in which pack statements are already marked; gives a [`Reading`].
//!
//! Invariant: of several numbers one is chosen by a rule or none is.

use super::lex::{Lexeme, Sign, Token};
use super::unit::UnitId;

/// A quantity as a text states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The number; `None`: a fraction, too long, or not one number.
    pub value: Option<i64>,
    /// Its unit.
    pub unit: StatedUnit,
}

/// The unit next to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatedUnit {
    /// None: the number is in sale units.
    None,
    /// This one.
    Known(UnitId),
    /// A word that no unit is called.
    Unknown,
}

impl StatedUnit {
    /// The unit, if the table has it.
    #[must_use]
    pub fn known(self) -> Option<UnitId> {
        match self {
            StatedUnit::Known(unit) => Some(unit),
            StatedUnit::None | StatedUnit::Unknown => None,
        }
    }
}

/// A text without a readable quantity.
pub const UNPARSABLE: Reading = Reading { value: None, unit: StatedUnit::None };

/// Plain digits, as most records have them.
#[inline]
#[must_use]
pub fn plain(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let fits = (1..=18).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_digit);
    fits.then(|| bytes.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

/// Reads the quantity: outside of brackets before inside, the one with 起 (以上, ≥) before one with a unit before a bare one.
///
/// ```text
/// 10件起批，5的倍数 → 10 件      2箱(24件) → 2 箱       10的倍数下单 → unparsable
/// ≥10个           → 10 个      0.5吨     → 吨, no value  36-37       → unparsable
/// ```
#[must_use]
pub fn read(lexemes: &[Lexeme]) -> Reading {
    let outside = best(lexemes, Depth::Outside);
    outside.or_else(|| best(lexemes, Depth::Inside)).unwrap_or(UNPARSABLE)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Outside,
    Inside,
}

/// Rank of a candidate: the greater is the better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// The `1箱` of `1箱=24件`: what is explained, not what is asked for, unless nothing else is.
    Explained,
    Bare,
    WithUnit,
    From,
}

fn best(lexemes: &[Lexeme], wanted: Depth) -> Option<Reading> {
    let mut best: Option<(Rank, Reading)> = None;
    let mut ambiguous = false;
    let mut open = 0_u32;
    for (at, lexeme) in lexemes.iter().enumerate() {
        match lexeme.token {
            Token::Sign(Sign::Open) => open += 1,
            Token::Sign(Sign::Close) => open = open.saturating_sub(1),
            Token::Number(value) if (open > 0) == (wanted == Depth::Inside) => {
                let Some((rank, unit)) = candidate(lexemes, at) else { continue };
                let reading = Reading { value: value.and_then(super::number::Decimal::integer), unit };
                match best {
                    Some((known, _)) if known > rank => {}
                    Some((known, other)) if known == rank => ambiguous |= other != reading,
                    _ => {
                        ambiguous = false;
                        best = Some((rank, reading));
                    }
                }
            }
            _ => {}
        }
    }
    best.map(|(_, reading)| if ambiguous { Reading { value: None, ..reading } } else { reading })
}

/// Whether the number at `at` may be the quantity, how good it is, and its unit.
fn candidate(lexemes: &[Lexeme], at: usize) -> Option<(Rank, StatedUnit)> {
    let sign = |at: usize| match lexemes.get(at).map(|lexeme| lexeme.token) {
        Some(Token::Sign(sign)) => Some(sign),
        _ => None,
    };
    let before = at.checked_sub(1).and_then(sign);
    if matches!(before, Some(Sign::Range | Sign::Times | Sign::Yuan | Sign::Dollar | Sign::AtMost(_))) {
        return None;
    }
    let (unit, next) = stated_unit(lexemes, at + 1);
    if matches!(sign(next), Some(Sign::Range | Sign::Times | Sign::Percent | Sign::YuanWord))
        || sign(at + 1) == Some(Sign::YuanWord)
        || is_multiple(lexemes, next)
    {
        return None;
    }
    let from = matches!(sign(next), Some(Sign::From | Sign::OrMore | Sign::Plus))
        || matches!(before, Some(Sign::AtLeast(super::lex::Bound::Closed)));
    let rank = if from {
        Rank::From
    } else if unit == StatedUnit::None {
        Rank::Bare
    } else if is_one(lexemes[at].token) && lexemes.get(next).is_some_and(|lexeme| lexeme.token == Token::Stated) {
        Rank::Explained
    } else {
        Rank::WithUnit
    };
    Some((rank, unit))
}

fn is_one(token: Token) -> bool {
    matches!(token, Token::Number(Some(value)) if value.integer() == Some(1))
}

/// The unit at `at`, also after `+` or in brackets, and where the text goes on.
fn stated_unit(lexemes: &[Lexeme], at: usize) -> (StatedUnit, usize) {
    let token = |at: usize| lexemes.get(at).map(|lexeme| lexeme.token);
    match token(at) {
        Some(Token::Unit(unit)) => (StatedUnit::Known(unit), at + 1),
        Some(Token::Sign(Sign::Plus)) => match token(at + 1) {
            Some(Token::Unit(unit)) => (StatedUnit::Known(unit), at),
            _ => (StatedUnit::None, at),
        },
        Some(Token::Sign(Sign::Open)) => match (token(at + 1), token(at + 2)) {
            (Some(Token::Unit(unit)), Some(Token::Sign(Sign::Close))) => (StatedUnit::Known(unit), at + 3),
            _ => (StatedUnit::None, at),
        },
        Some(Token::Word) if lexemes[at].start == lexemes[at - 1].end => (StatedUnit::Unknown, at + 1),
        _ => (StatedUnit::None, at),
    }
}

/// `10的倍数下单`, `5个的整数倍`: an order multiple and no minimum.
fn is_multiple(lexemes: &[Lexeme], from: usize) -> bool {
    lexemes[from.min(lexemes.len())..]
        .iter()
        .take_while(|lexeme| !matches!(lexeme.token, Token::Number(_) | Token::Sign(Sign::Comma)))
        .any(|lexeme| lexeme.token == Token::Sign(Sign::Multiple))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::lex::lex;
    use super::super::pack::{self, PackSource};
    use super::super::unit::UnitTable;
    use super::*;

    fn show(text: &str) -> String {
        let units = UnitTable::new(&BTreeMap::new());
        let (mut lexemes, mut statements) = (Vec::new(), Vec::new());
        lex(text, &units, &mut lexemes);
        pack::scan(&mut lexemes, PackSource::MoqText, &units, &mut statements);
        let reading = read(&lexemes);
        let value = reading.value.map_or("-".to_owned(), |value| value.to_string());
        match reading.unit {
            StatedUnit::None => value,
            StatedUnit::Known(unit) => format!("{value} {}", units.name(unit)),
            StatedUnit::Unknown => format!("{value} ?"),
        }
    }

    fn check(cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            assert_eq!(show(text), *expected, "{text}");
        }
    }

    #[test]
    fn quantities_in_messy_text() {
        check(&[
            ("10", "10"),
            ("10件起批", "10 件"),
            ("１０件", "10 件"),
            ("1,000件", "1000 件"),
            ("≥100个", "100 个"),
            (">=100 个", "100 个"),
            ("100件以上", "100 件"),
            ("最小起订量：10件", "10 件"),
            ("MOQ: 50 pcs", "50 pcs"),
            ("一箱", "1 箱"),
            ("十件", "10 件"),
            ("两打", "2 打"),
            ("百件", "100 件"),
            ("1.2万+", "12000"),
            ("3.5万+件", "35000 件"),
            ("2箱", "2 箱"),
            ("10（件）", "10 件"),
            ("10份起批", "10 ?"),
        ]);
    }

    #[test]
    fn the_number_of_a_pack_statement_is_no_quantity() {
        check(&[
            ("2箱(24件/箱)", "2 箱"),
            ("4 包(12件/包)", "4 包"),
            ("1箱=24件", "1 箱"),
            ("2箱 1箱=24件", "2 箱"),
            ("2箱（1箱=24件）", "2 箱"),
            ("3箱起批，1箱24件", "3 箱"),
            ("1箱(24件)，2箱", "2 箱"),
            ("1箱(24件)", "1 箱"),
            ("2箱(24件)", "2 箱"),
            ("一包10个", "1 包"),
            ("每箱24个，2箱起批", "2 箱"),
            ("24件/箱", "-"),
        ]);
    }

    #[test]
    fn of_several_numbers_the_one_with_a_unit_or_from_counts() {
        check(&[
            ("10件起批，5的倍数", "10 件"),
            ("10起批 5的倍数", "10"),
            ("5的倍数，10件起批", "10 件"),
            ("3 10件", "10 件"),
        ]);
    }

    #[test]
    fn an_order_multiple_alone_is_unparsable() {
        check(&[("10的倍数下单", "-"), ("10的整数倍", "-"), ("5个的倍数", "-")]);
    }

    #[test]
    fn half_a_dozen_and_one_thousand_grams_are_units() {
        check(&[("一千克", "1 千克"), ("两打", "2 打"), ("5两", "5 两"), ("2半打", "2 半打")]);
    }

    #[test]
    fn what_is_no_single_whole_quantity_has_no_value() {
        check(&[
            ("0.5吨", "- 吨"),
            ("36-37", "-"),
            ("2箱48件", "- 箱"),
            ("面议", "-"),
            ("", "-"),
            ("500元起批", "-"),
            ("¥500", "-"),
            ("99999999999999999999件", "- 件"),
        ]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9一两半打箱件包个/=()（）每装起批的倍数~-－x*+元,，千克 ]{0,30}") {
            let _ = show(&text);
        }

        #[test]
        fn a_written_quantity_reads_back(value in 1_i64..100_000_000, unit in 0..6_usize, form in 0..5_usize) {
            let unit = ["件", "箱", "双", "打", "千克", "pcs"][unit];
            let text = match form {
                0 => format!("{value}{unit}"),
                1 => format!("{value} {unit}起批"),
                2 => format!("≥{value}{unit}"),
                3 => format!("{value}{unit}以上"),
                _ => format!("起订量：{value}{unit}，5的倍数"),
            };
            prop_assert_eq!(show(&text), format!("{value} {unit}"));
        }
    }
}
