//! Repurchase rates: `"10%"`, `"0.4666"`, `0.27`, `"38.46"` are four scales of one quantity (WIRE §2).
//!
//! Invariant: without a percent sign only the definition says which scale it is; out of 0–1 is no rate.

use crate::base::money::parse_scaled;
use crate::config::gateway::Scale;

/// Decimal places of a rate.
pub const RATE_SCALE: u32 = 6;

/// Reads a rate, in units of 10⁻⁶; `None` where the text is none or nothing says how it is scaled.
#[must_use]
pub fn read(text: &str, scale: Option<Scale>) -> Option<i64> {
    let text = text.trim();
    let (number, scale) = match text.strip_suffix(['%', '％']) {
        Some(number) => (number.trim_end(), Scale::Percent),
        None => (text, scale?),
    };
    let places = match scale {
        Scale::Percent => RATE_SCALE - 2,
        Scale::Fraction => RATE_SCALE,
    };
    parse_scaled(number, places).ok().filter(|rate| (0..=10_i64.pow(RATE_SCALE)).contains(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_scales_for_one_quantity() {
        for (text, scale, expected) in [
            ("10%", None, Some(100_000)),
            ("50%", Some(Scale::Fraction), Some(500_000)),
            ("0.4666", Some(Scale::Fraction), Some(466_600)),
            ("0.27", Some(Scale::Fraction), Some(270_000)),
            ("38.46", Some(Scale::Percent), Some(384_600)),
            ("38.46%", Some(Scale::Percent), Some(384_600)),
            ("100%", None, Some(1_000_000)),
            ("0.27", None, None),
            ("38.46", Some(Scale::Fraction), None),
            ("120%", None, None),
            ("-1%", None, None),
            ("高", Some(Scale::Percent), None),
            ("", Some(Scale::Percent), None),
            ("%", None, None),
        ] {
            assert_eq!(read(text, scale), expected, "{text}");
        }
    }
}
