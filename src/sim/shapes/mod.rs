//! The shapes fields really have (WIRE §2, §3), each beside the truth it stands for.
//!
//! Invariant: a shape decides both what is sent and what it means, in one place, so that the truth at
//! `/_sim/world` cannot drift from the answers.

pub(super) mod counts;
pub(super) mod ladder;
pub(super) mod quantity;

use serde_json::{Value, json};

/// How much of a record a gateway can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Flat fields, many of them texts (portals, item-get).
    Text,
    /// The official nested `saleInfo` and `skuInfos` (product-get, aop).
    Structured,
    /// A headline price only (shop-search).
    Search,
}

/// Fen as yuan with two places: `12.50`.
pub(super) fn yuan(fen: i64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

/// Fen as a JSON number in yuan. Two places always survive the shortest form of a double.
pub(super) fn yuan_number(fen: i64) -> Value {
    serde_json::from_str(&yuan(fen)).unwrap_or_else(|_| json!(fen / 100))
}

/// Digits, colons and separators in their full-width forms.
pub(super) fn full_width(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '0'..='9' | ':' => char::from_u32(u32::from(c) + 0xfee0).unwrap_or(c),
            '-' => '～',
            ';' => '；',
            other => other,
        })
        .collect()
}

/// A count in Chinese numerals, for 1 to 99 999; 2 is 两 as before a unit.
pub(super) fn numeral(count: i64) -> String {
    const DIGITS: [&str; 10] = ["零", "一", "二", "三", "四", "五", "六", "七", "八", "九"];
    const POWERS: [(i64, &str); 4] = [(10_000, "万"), (1000, "千"), (100, "百"), (10, "十")];
    if count == 2 {
        return "两".to_owned();
    }
    let (mut rest, mut text, mut skipped) = (count, String::new(), false);
    for (power, name) in POWERS {
        let digit = usize::try_from(rest / power % 10).unwrap_or(0);
        rest %= power;
        match digit {
            0 => skipped = !text.is_empty(),
            1 if power == 10 && text.is_empty() => text.push_str(name),
            _ => {
                if std::mem::take(&mut skipped) {
                    text.push_str(DIGITS[0]);
                }
                text.push_str(DIGITS[digit]);
                text.push_str(name);
            }
        }
    }
    if rest > 0 {
        if skipped {
            text.push_str(DIGITS[0]);
        }
        text.push_str(DIGITS[usize::try_from(rest).unwrap_or(0)]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_numerals_and_wide_digits_are_written_as_people_write_them() {
        assert_eq!(yuan(1205), "12.05");
        assert_eq!(yuan_number(2800).to_string(), "28.0");
        assert_eq!(full_width("10-99:12.5"), "１０～９９：１２.５");
        for (count, expected) in [
            (1, "一"),
            (2, "两"),
            (10, "十"),
            (12, "十二"),
            (20, "二十"),
            (105, "一百零五"),
            (200, "二百"),
            (1000, "一千"),
        ] {
            assert_eq!(numeral(count), expected);
        }
    }
}
