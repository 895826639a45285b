//! Numbers as Chinese sellers write them: `1,000`, `１０`, `1.2万`, `十二`, `两百`, `3千`.
//!
//! Takes a text and a place in it; gives the exact decimal that starts there.
//!
//! Invariant: no value passes through binary floating point, and none overflows.

use crate::base::money::{DecimalError, MONEY_SCALE, Money, div_half_even, parse_scaled};

use super::unit::UnitTable;

/// An exact decimal: `mantissa` × 10^-`scale`, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    mantissa: i64,
    scale: u32,
}

impl Decimal {
    /// A whole number.
    #[must_use]
    pub const fn whole(value: i64) -> Self {
        Self { mantissa: value, scale: 0 }
    }

    /// Its value, when it is whole (`10.0` is).
    #[must_use]
    pub fn integer(self) -> Option<i64> {
        let divisor = 10_i64.checked_pow(self.scale)?;
        (self.mantissa % divisor == 0).then_some(self.mantissa / divisor)
    }

    /// As an amount; more than four places round half to even.
    ///
    /// # Errors
    /// [`DecimalError::TooLarge`] past 18 digits.
    pub fn money(self) -> Result<Money, DecimalError> {
        let units = self.scaled(MONEY_SCALE).ok_or(DecimalError::TooLarge)?;
        Ok(Money::from_units(units))
    }

    /// In units of 10^-`scale`, half to even; `None` past 18 digits.
    #[must_use]
    pub fn scaled(self, scale: u32) -> Option<i64> {
        const LIMIT: i128 = 10_i128.pow(18);
        let mantissa = i128::from(self.mantissa);
        let value = if scale >= self.scale {
            mantissa.checked_mul(10_i128.checked_pow(scale - self.scale)?)?
        } else {
            div_half_even(mantissa, 10_i128.checked_pow(self.scale - scale)?)
        };
        if value < LIMIT { i64::try_from(value).ok() } else { None }
    }

    /// Times a power of ten that a numeral stands for (万 = 10 000).
    fn times(self, power: i64) -> Option<Self> {
        let mut this = self;
        let mut rest = power;
        while rest > 1 && this.scale > 0 {
            rest /= 10;
            this.scale -= 1;
        }
        this.mantissa = this.mantissa.checked_mul(rest)?;
        Some(this)
    }
}

/// What stands where a number starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its value; `None`: written like a number but without a value (too long, `一二`).
    pub value: Option<Decimal>,
    /// Its length in bytes.
    pub length: usize,
}

/// The number that starts `text`, in any notation.
#[inline]
#[must_use]
pub fn at_start(text: &str, units: &UnitTable) -> Option<Found> {
    match *text.as_bytes() {
        [b'0'..=b'9', ..] => Some(digits(text, units)),
        [0xEF, 0xBC, 0x90..=0x99, ..] => Some(digits(text, units)),
        [0xE3..=0xE9, ..] => chinese(text, units),
        _ => None,
    }
}

/// A digit, ASCII or full-width, and its length.
#[inline]
fn digit(bytes: &[u8]) -> Option<(u8, usize)> {
    match *bytes {
        [byte @ b'0'..=b'9', ..] => Some((byte - b'0', 1)),
        [0xEF, 0xBC, byte @ 0x90..=0x99, ..] => Some((byte - 0x90, 3)),
        _ => None,
    }
}

/// A decimal point between digits, ASCII or full-width.
fn point(bytes: &[u8]) -> Option<usize> {
    let length = match bytes {
        [b'.', ..] => 1,
        [0xEF, 0xBC, 0x8E, ..] => 3,
        _ => return None,
    };
    digit(&bytes[length..]).map(|_| length)
}

/// A comma before exactly three digits; a full-width one only before full-width digits.
fn thousands(bytes: &[u8]) -> Option<usize> {
    let (length, width) = match bytes {
        [b',', ..] => (1, 1),
        [0xEF, 0xBC, 0x8C, 0xEF, ..] => (3, 3),
        _ => return None,
    };
    let mut at = length;
    for _ in 0..3 {
        at += digit(&bytes[at..]).filter(|(_, found)| *found == width)?.1;
    }
    digit(&bytes[at..]).is_none().then_some(length)
}

fn digits(text: &str, units: &UnitTable) -> Found {
    let bytes = text.as_bytes();
    let mut mantissa: Option<i64> = Some(0);
    let push = |mantissa: Option<i64>, digit: u8| mantissa?.checked_mul(10)?.checked_add(i64::from(digit));
    let (mut at, mut group, mut scale) = (0, 0, 0);
    loop {
        if let Some((value, length)) = digit(&bytes[at..]) {
            mantissa = push(mantissa, value);
            at += length;
            group += 1;
        } else if let Some(length) = thousands(&bytes[at..]).filter(|_| (1..=3).contains(&group)) {
            at += length;
            group = 0;
        } else {
            break;
        }
    }
    if let Some(length) = point(&bytes[at..]) {
        at += length;
        // Zeros that end a long fraction are no reason to call it too long.
        let mut zeros = 0;
        while let Some((value, length)) = digit(&bytes[at..]) {
            at += length;
            zeros += 1;
            if value != 0 {
                mantissa = (1..zeros).fold(mantissa, |mantissa, _| push(mantissa, 0));
                mantissa = push(mantissa, value);
                scale += zeros;
                zeros = 0;
            }
        }
    }
    if let Some(length) = exponent(&bytes[at..]) {
        let value = parse_scaled(&text[..at + length], 4).ok();
        return Found { value: value.map(|units| Decimal { mantissa: units, scale: 4 }), length: at + length };
    }
    let mut value = mantissa.map(|mantissa| Decimal { mantissa, scale });
    while let Some((power, length)) = multiplier(&text[at..], units) {
        value = value.and_then(|value| value.times(power));
        at += length;
    }
    Found { value, length: at }
}

/// `e2`, `E-3` as JSON numbers may end.
fn exponent(bytes: &[u8]) -> Option<usize> {
    let sign = match bytes {
        [b'e' | b'E', b'+' | b'-', ..] => 2,
        [b'e' | b'E', ..] => 1,
        _ => return None,
    };
    let count = bytes[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count > 0).then_some(sign + count)
}

/// 百, 千, 万 or 亿 as a numeral: not where it starts a unit (千克).
fn multiplier(text: &str, units: &UnitTable) -> Option<(i64, usize)> {
    let power = match text.chars().next()? {
        '百' => 100,
        '千' => 1_000,
        '万' => 10_000,
        '亿' => 100_000_000,
        _ => return None,
    };
    units.at_start(text).is_none().then_some((power, 3))
}

fn chinese_digit(character: char) -> Option<i64> {
    let digits = ['零', '一', '二', '三', '四', '五', '六', '七', '八', '九'];
    match character {
        '〇' => Some(0),
        '两' => Some(2),
        _ => (0..).zip(digits).find(|(_, digit)| *digit == character).map(|(value, _)| value),
    }
}

/// 一, 十二, 两百, 三千五百, 百, 两万: 两 is a numeral only before a multiplier or a unit.
fn chinese(text: &str, units: &UnitTable) -> Option<Found> {
    let mut at = 0;
    let (mut total, mut section) = (0_i64, 0_i64);
    let mut pending: Option<i64> = None;
    let mut valid = true;
    while let Some(character) = text[at..].chars().next() {
        let rest = &text[at..];
        if character == '十' || multiplier(rest, units).is_some() {
            let power = if character == '十' { 10 } else { multiplier(rest, units)?.0 };
            if power >= 10_000 {
                section = section.checked_add(pending.take().unwrap_or(i64::from(section == 0)))?;
                total = total.checked_add(section)?.checked_mul(power)?;
                section = 0;
            } else {
                section = section.checked_add(pending.take().unwrap_or(1).checked_mul(power)?)?;
            }
        } else if let Some(digit) = chinese_digit(character) {
            let after = &rest[character.len_utf8()..];
            if character == '两' && multiplier(after, units).is_none() && units.at_start(after).is_none() {
                break;
            }
            valid &= pending.is_none_or(|pending| pending == 0);
            pending = Some(digit);
        } else {
            break;
        }
        at += character.len_utf8();
    }
    let value = total.checked_add(section)?.checked_add(pending.unwrap_or(0))?;
    (at > 0).then_some(Found { value: valid.then_some(Decimal::whole(value)), length: at })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<(Option<i64>, &str)> {
        let units = UnitTable::new(&BTreeMap::new());
        at_start(text, &units).map(|found| (found.value.and_then(|value| value.scaled(4)), &text[found.length..]))
    }

    fn check(text: &str, units: i64, rest: &str) {
        assert_eq!(read(text), Some((Some(units), rest)), "{text}");
    }

    #[test]
    fn digits_commas_full_width_and_multipliers() {
        check("1000件", 10_000_000, "件");
        check("１０件", 100_000, "件");
        check("1,000件", 10_000_000, "件");
        check("1,234,567", 12_345_670_000, "");
        check("５，０００", 50_000_000, "");
        check("1.2万+件", 120_000_000, "+件");
        check("3.5万+", 350_000_000, "+");
        check("10万", 1_000_000_000, "");
        check("1亿", 1_000_000_000_000, "");
        check("2百件", 2_000_000, "件");
        check("5千克", 50_000, "千克");
        check("0.5吨", 5_000, "吨");
        check("10.", 100_000, ".");
        check("1e2", 1_000_000, "");
        check("12.500000000000000000000", 125_000, "");
    }

    #[test]
    fn a_comma_that_does_not_group_thousands_ends_a_number() {
        check("36,37", 360_000, ",37");
        check("12.50,100", 125_000, ",100");
        check("1000,100", 10_000_000, ",100");
        check("1,0000", 10_000, ",0000");
        check("10，100", 100_000, "，100");
    }

    #[test]
    fn chinese_numerals() {
        check("一箱", 10_000, "箱");
        check("十件", 100_000, "件");
        check("十二个", 120_000, "个");
        check("二十", 200_000, "");
        check("两打", 20_000, "打");
        check("两百件", 2_000_000, "件");
        check("一千两百个", 12_000_000, "个");
        check("三千五百", 35_000_000, "");
        check("一百零五", 1_050_000, "");
        check("两万", 200_000_000, "");
        check("百件", 1_000_000, "件");
        check("一千克", 10_000, "千克");
        assert_eq!(read("两"), None);
        assert_eq!(read("两侧"), None);
        assert_eq!(read("一二").map(|(value, _)| value), Some(None));
        assert_eq!(read("件"), None);
    }

    #[test]
    fn a_number_without_room_has_no_value() {
        assert_eq!(read("99999999999999999999件"), Some((None, "件")));
        assert_eq!(read("999999999999999万"), Some((None, "")));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9０-９一二两十百千万亿.,，．eE+克打箱]{0,30}") {
            let units = UnitTable::new(&BTreeMap::new());
            for (at, _) in text.char_indices() {
                let found = at_start(&text[at..], &units);
                prop_assert!(found.is_none_or(|found| found.length > 0 && text.is_char_boundary(at + found.length)));
            }
        }

        #[test]
        fn whole_numbers_round_trip(value in 0_i64..1_000_000_000) {
            let units = UnitTable::new(&BTreeMap::new());
            let plain = value.to_string();
            let wide: String = plain.chars().map(|digit| char::from_u32(digit as u32 + 0xFEE0).unwrap()).collect();
            let mut grouped = String::new();
            for (index, digit) in plain.chars().enumerate() {
                if index > 0 && (plain.len() - index) % 3 == 0 {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            for text in [plain, wide, grouped] {
                let found = at_start(&text, &units).unwrap();
                prop_assert_eq!(found.value.and_then(Decimal::integer), Some(value));
                prop_assert_eq!(found.length, text.len());
            }
        }
    }
}
