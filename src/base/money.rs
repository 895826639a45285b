//! Exact decimals: money with four places, piece prices with six, read from text, never from a float.
//!
//! Invariant: no value passes through binary floating point.

use std::fmt;

/// An amount in the row's currency, in units of 10⁻⁴ (`Decimal128(18,4)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

/// Decimal places of [`Money`].
pub const MONEY_SCALE: u32 = 4;
/// Decimal places of a price per piece.
pub const PIECE_PRICE_SCALE: u32 = 6;
/// Greatest number of digits of either.
pub const PRECISION: u32 = 18;

/// Why a text is no decimal of the wanted shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not `[+-]digits[.digits][e[+-]digits]`.
    #[error("not a number")]
    NotANumber,
    /// More digits than fit.
    #[error("the number does not fit {PRECISION} digits")]
    TooLarge,
}

impl Money {
    /// From units of 10⁻⁴.
    #[must_use]
    pub const fn from_units(units: i64) -> Self {
        Self(units)
    }

    /// In units of 10⁻⁴: the unscaled value of the column.
    #[must_use]
    pub const fn units(self) -> i64 {
        self.0
    }

    /// Reads a plain decimal text; more than four places round half to even (WIRE §5 "Ladders").
    ///
    /// # Errors
    /// [`DecimalError::NotANumber`] for anything but a decimal, [`DecimalError::TooLarge`] past 18 digits.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        parse_scaled(text, MONEY_SCALE).map(Self)
    }

    /// The price of one piece, in units of 10⁻⁶, when this buys `pieces`; half to even.
    /// `None` when `pieces` is not positive or the result does not fit.
    #[must_use]
    pub fn per_piece(self, pieces: i64) -> Option<i64> {
        if pieces <= 0 {
            return None;
        }
        let scaled = i128::from(self.0) * 10_i128.pow(PIECE_PRICE_SCALE - MONEY_SCALE);
        fit(div_half_even(scaled, i128::from(pieces))).ok()
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let units = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:04}", units / 10_000, units % 10_000)
    }
}

/// Reads a decimal text as an integer in units of 10^-`scale`, rounding half to even.
///
/// Accepts a sign, a missing integer or fraction part (`.5`, `5.`) and an exponent, as JSON numbers have.
///
/// # Errors
/// [`DecimalError`].
pub fn parse_scaled(text: &str, scale: u32) -> Result<i64, DecimalError> {
    let bytes = text.as_bytes();
    let (negative, rest) = match bytes.first() {
        Some(b'-') => (true, &bytes[1..]),
        Some(b'+') => (false, &bytes[1..]),
        _ => (false, bytes),
    };
    let (mantissa, exponent) = match rest.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&rest[..at], parse_exponent(&rest[at + 1..])?),
        None => (rest, 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|&byte| byte == b'.') {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(DecimalError::NotANumber);
    }
    let fraction_digits = i64::try_from(fraction.len()).map_err(|_| DecimalError::TooLarge)?;
    let shift = exponent - fraction_digits + i64::from(scale);
    let digits = digits_value(whole.iter().chain(fraction), shift)?;
    fit(if negative { -digits } else { digits })
}

/// `value ÷ divisor`, half to even. `divisor` must be positive.
#[must_use]
pub fn div_half_even(value: i128, divisor: i128) -> i128 {
    let quotient = value.div_euclid(divisor);
    let twice = value.rem_euclid(divisor) * 2;
    if twice > divisor || (twice == divisor && quotient % 2 != 0) { quotient + 1 } else { quotient }
}

fn parse_exponent(bytes: &[u8]) -> Result<i64, DecimalError> {
    let text = std::str::from_utf8(bytes).map_err(|_| DecimalError::NotANumber)?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecimalError::NotANumber);
    }
    text.parse::<i64>().ok().filter(|exponent| exponent.abs() <= 10_000).ok_or(DecimalError::TooLarge)
}

/// The digits times 10^`shift`, rounded half to even.
fn digits_value<'a>(digits: impl Iterator<Item = &'a u8>, shift: i64) -> Result<i128, DecimalError> {
    const KEPT_MAX: i128 = 10_i128.pow(36);
    let mut value: i128 = 0;
    let mut shift = shift;
    let mut sticky = false;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return Err(DecimalError::NotANumber);
        }
        if value >= KEPT_MAX {
            // Digits this deep only matter when they are rounded away.
            shift += 1;
            sticky |= digit != b'0';
        } else {
            value = value * 10 + i128::from(digit - b'0');
        }
    }
    if value == 0 {
        return Ok(0);
    }
    if shift >= 0 {
        let power = u32::try_from(shift).ok().and_then(|shift| 10_i128.checked_pow(shift));
        return power.and_then(|power| value.checked_mul(power)).ok_or(DecimalError::TooLarge);
    }
    let Some(divisor) = u32::try_from(-shift).ok().and_then(|places| 10_i128.checked_pow(places)) else {
        return Ok(0);
    };
    let rounded = div_half_even(value, divisor);
    let exact_half = sticky && (value % divisor) * 2 == divisor && rounded == value / divisor;
    Ok(if exact_half { rounded + 1 } else { rounded })
}

fn fit(value: i128) -> Result<i64, DecimalError> {
    if value.abs() < 10_i128.pow(PRECISION) {
        i64::try_from(value).map_err(|_| DecimalError::TooLarge)
    } else {
        Err(DecimalError::TooLarge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(Money::parse(text).map(|money| money.to_string()).as_deref(), Ok(expected), "{text}");
    }

    #[test]
    fn decimals_are_read_exactly_from_their_text() {
        check("28.0", "28.0000");
        check("150.0", "150.0000");
        check("9.5", "9.5000");
        check("-3", "-3.0000");
        check(".5", "0.5000");
        check("5.", "5.0000");
        check("1e2", "100.0000");
        check("12.5E-1", "1.2500");
        check("0.1", "0.1000");
    }

    #[test]
    fn more_than_four_places_round_half_to_even() {
        check("0.00005", "0.0000");
        check("0.00015", "0.0002");
        check("0.00025", "0.0002");
        check("0.000250000000000000000000000000000000000000001", "0.0003");
        check("-0.00015", "-0.0002");
    }

    #[test]
    fn what_is_no_number_or_does_not_fit_is_an_error() {
        for text in ["", ".", "-", "1.2.3", "1,2", "¥1", "1e", "e5", "NaN"] {
            assert_eq!(Money::parse(text), Err(DecimalError::NotANumber), "{text}");
        }
        assert_eq!(Money::parse("100000000000000"), Err(DecimalError::TooLarge));
        assert_eq!(Money::parse("1e400"), Err(DecimalError::TooLarge));
        check("1e-400", "0.0000");
        check("99999999999999.9999", "99999999999999.9999");
    }

    #[test]
    fn the_piece_price_is_the_price_over_the_pack_half_to_even() {
        assert_eq!(Money::from_units(120_000).per_piece(12), Some(1_000_000));
        assert_eq!(Money::from_units(10_000).per_piece(3), Some(333_333));
        assert_eq!(Money::from_units(1).per_piece(8), Some(12));
        assert_eq!(Money::from_units(3).per_piece(8), Some(38));
        assert_eq!(Money::from_units(1).per_piece(0), None);
    }
}
