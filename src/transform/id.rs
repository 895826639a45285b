//! Offer and SKU ids: 12 or 13 digits, as a string or a number in one payload (WIRE §2).
//!
//! Invariant: an id is a positive integer of 64 bits, or it is none.

use crate::base::json::{Kind, Raw};

/// Reads one id.
#[must_use]
pub fn read(raw: Raw<'_>) -> Option<i64> {
    parse(&raw.text()?)
}

/// Reads one id from its text.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|id| *id > 0)
}

/// Whether every id of a list could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllRead {
    /// All of them.
    Yes,
    /// Some are no integers; they are left out.
    No,
}

/// Reads a list of ids, `"1,2,3"` or an array, into `out` without repeats.
pub fn read_list(raw: Raw<'_>, out: &mut Vec<i64>) -> AllRead {
    let mut all = AllRead::Yes;
    let mut add = |id: Option<i64>| match id {
        Some(id) if out.contains(&id) => {}
        Some(id) => out.push(id),
        None => all = AllRead::No,
    };
    match raw.kind() {
        Kind::Array => {
            raw.elements().filter(|element| !element.is_empty_value()).for_each(|element| add(read(element)))
        }
        _ => match raw.text() {
            Some(text) => {
                let parts = text.split([',', '，', ';', '；', '|', ' ']).map(str::trim);
                parts.filter(|part| !part.is_empty()).for_each(|part| add(parse(part)));
            }
            None => all = AllRead::No,
        },
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json;

    #[test]
    fn ids_are_positive_integers_as_string_or_number() {
        for (text, id) in [
            ("628000000022", Some(628_000_000_022)),
            ("\"628000000022\"", Some(628_000_000_022)),
            ("\" 4469920756190 \"", Some(4_469_920_756_190)),
            ("\"PRODUCT-REAL\"", None),
            ("1.5", None),
            ("-1", None),
            ("0", None),
            ("true", None),
            ("null", None),
            ("{}", None),
            ("\"99999999999999999999\"", None),
        ] {
            assert_eq!(read(json::parse(text.as_bytes()).unwrap()), id, "{text}");
        }
    }

    #[test]
    fn lists_of_ids_are_text_or_arrays() {
        for (text, ids, all) in [
            ("\"1,2,3\"", vec![1, 2, 3], AllRead::Yes),
            ("\"1, 2，2,\"", vec![1, 2], AllRead::Yes),
            ("[1,\"2\",null]", vec![1, 2], AllRead::Yes),
            ("7", vec![7], AllRead::Yes),
            ("\"1,SKU-REAL\"", vec![1], AllRead::No),
            ("{\"a\":1}", vec![], AllRead::No),
        ] {
            let mut out = Vec::new();
            assert_eq!(read_list(json::parse(text.as_bytes()).unwrap(), &mut out), all, "{text}");
            assert_eq!(out, ids, "{text}");
        }
    }
}
