//! Times as gateways write them, as microseconds since 1970 in UTC (WIRE §2).
//!
//! | text | |
//! |---|---|
//! | `20260902120000000+0800` | 17 digits and a zone; 14 digits and no zone occur too |
//! | `2024-05-24 00:00:00` | no zone = UTC+8; also `/`, `T`, a fraction, `Z`, `+08:00`, a date alone |
//! | `1716480000` | 10 digits: seconds |
//! | `1716480000000` | 13 digits: milliseconds |
//!
//! Invariant: a time outside 1999–2100 or a text of no known shape is none.

const DAY: i64 = 86_400;
const BEIJING_SECONDS: i64 = 8 * 3_600;
const MICROS: i64 = 1_000_000;
/// 1999-01-01 and 2100-01-01: before the platform and after anyone's care.
const SECONDS_RANGE: std::ops::Range<i64> = 915_148_800..4_102_444_800;

/// Reads a time.
#[must_use]
pub fn read(text: &str) -> Option<i64> {
    let bytes = text.trim().as_bytes();
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let micros = match (digits, bytes.len()) {
        (10, 10) => number(bytes)? * MICROS,
        (13, 13) => number(bytes)? * 1_000,
        (14 | 17, _) => compact(bytes, digits)?,
        (4, _) => calendar(bytes)?,
        _ => return None,
    };
    SECONDS_RANGE.contains(&micros.div_euclid(MICROS)).then_some(micros)
}

/// `yyyyMMddHHmmss[SSS][zone]`
fn compact(bytes: &[u8], digits: usize) -> Option<i64> {
    let field = |from: usize, to: usize| number(&bytes[from..to]);
    let seconds = instant([field(0, 4)?, field(4, 6)?, field(6, 8)?, field(8, 10)?, field(10, 12)?, field(12, 14)?])?;
    let millis = if digits == 17 { field(14, 17)? } else { 0 };
    Some((seconds - zone(&bytes[digits..])?) * MICROS + millis * 1_000)
}

/// `yyyy-MM-dd[ HH:mm[:ss[.fraction]]][zone]`
fn calendar(bytes: &[u8]) -> Option<i64> {
    let separator = *bytes.get(4)?;
    if !matches!(separator, b'-' | b'/' | b'.') {
        return None;
    }
    let mut at = 5;
    let mut part = |end: &[u8]| -> Option<i64> {
        let length = bytes.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let value = if (1..=2).contains(&length) { number(&bytes[at..at + length])? } else { return None };
        at += length;
        if bytes.get(at).is_some_and(|byte| end.contains(byte)) {
            at += 1;
        } else if !end.is_empty() {
            return None;
        }
        Some(value)
    };
    let year = number(&bytes[..4])?;
    let month = part(&[separator])?;
    let day = part(&[])?;
    if at == bytes.len() {
        return Some((instant([year, month, day, 0, 0, 0])? - BEIJING_SECONDS) * MICROS);
    }
    if !matches!(bytes.get(at), Some(b' ' | b'T')) {
        return None;
    }
    at += 1;
    let (hour, rest) = two(&bytes[at..])?;
    let (minute, rest) = two(rest.strip_prefix(b":")?)?;
    let (second, rest) = match rest.strip_prefix(b":") {
        Some(rest) => two(rest)?,
        None => (0, rest),
    };
    let (micros, rest) = fraction(rest);
    let seconds = instant([year, month, day, hour, minute, second])?;
    Some((seconds - zone(rest.trim_ascii_start())?) * MICROS + micros)
}

fn two(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(2)?;
    Some((number(digits)?, rest))
}

/// `.282` as microseconds; digits past the sixth are left out.
fn fraction(bytes: &[u8]) -> (i64, &[u8]) {
    let Some(rest) = bytes.strip_prefix(b".") else { return (0, bytes) };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let padded = (0..6).map(|at| if at < digits { i64::from(rest[at] - b'0') } else { 0 });
    (padded.fold(0, |value, digit| value * 10 + digit), &rest[digits..])
}

/// Seconds east of Greenwich; no zone is Beijing.
fn zone(bytes: &[u8]) -> Option<i64> {
    let (sign, rest) = match bytes {
        [] => return Some(BEIJING_SECONDS),
        b"Z" | b"z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest {
        [_, _] => (rest, &b"00"[..]),
        [_, _, b':', _, _] => (&rest[..2], &rest[3..]),
        [_, _, _, _] => rest.split_at(2),
        _ => return None,
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn number(bytes: &[u8]) -> Option<i64> {
    let fits = (1..=17).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_digit);
    fits.then(|| bytes.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

/// Seconds since 1970 of a valid date and time of day, zone aside.
fn instant([year, month, day, hour, minute, second]: [i64; 6]) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=days_in_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1970 of the civil calendar, with years that start in March.
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(days * DAY + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeZone};
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        let expected = DateTime::parse_from_rfc3339(expected).unwrap().timestamp_micros();
        assert_eq!(read(text), Some(expected), "{text}");
    }

    #[test]
    fn every_format_that_occurs() {
        check("20260902120000000+0800", "2026-09-02T12:00:00+08:00");
        check("20260902120000123", "2026-09-02T12:00:00.123+08:00");
        check("20180717174002", "2018-07-17T17:40:02+08:00");
        check("1716480000", "2024-05-23T16:00:00Z");
        check("1716480000123", "2024-05-23T16:00:00.123Z");
        check("2026-11-18T16:30:00.282Z", "2026-11-18T16:30:00.282Z");
        check("2026-11-18T16:30:00+05:30", "2026-11-18T16:30:00+05:30");
        check("2024/5/4 01:02", "2024-05-04T01:02:00+08:00");
        check("2024-02-29", "2024-02-29T00:00:00+08:00");
    }

    #[test]
    fn a_time_without_a_zone_is_beijing_time() {
        check("2024-05-24 00:00:00", "2024-05-23T16:00:00Z");
    }

    #[test]
    fn garbage_and_times_out_of_range_are_none() {
        for text in [
            "",
            "...",
            "0",
            "null",
            "2024-02-30",
            "2023-02-29",
            "2024-13-01",
            "2024-05-24 25:00:00",
            "0000-00-00 00:00:00",
            "1970-01-01 08:00:00",
            "9999999999",
            "99999999999999999",
            "20260902",
            "2024-05-24x",
            "2024-05-24 00:00:00+99:00",
            "昨天",
            "12345678901234567890",
            "2024-05-24 0:0:0",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_calendar(seconds in SECONDS_RANGE) {
            let at = chrono::FixedOffset::east_opt(8 * 3600).unwrap().timestamp_opt(seconds, 0).unwrap();
            for format in ["%Y-%m-%d %H:%M:%S", "%Y%m%d%H%M%S", "%Y-%m-%dT%H:%M:%S%:z", "%Y%m%d%H%M%S000%z"] {
                prop_assert_eq!(read(&at.format(format).to_string()), Some(seconds * MICROS), "{}", format);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9:/ TZ.+年月-]{0,30}") {
            let _ = read(&text);
        }
    }
}
