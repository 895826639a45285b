//! The values that settings can have: as a client writes one → as it is kept; nothing: it cannot be that.
//!
//! Invariant: pure.

use std::str::FromStr as _;
use std::time::Duration;

use arrow::array::timezone::Tz;

pub(super) fn any(value: &str) -> Option<String> {
    const VALUE_BYTES_MAX: usize = 1_000;
    (value.len() <= VALUE_BYTES_MAX).then(|| value.to_owned())
}

pub(super) fn utf8(value: &str) -> Option<String> {
    let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
    ["utf8", "unicode"].contains(&plain.to_ascii_lowercase().as_str()).then(|| "UTF8".to_owned())
}

/// Dates are written as ISO says; in which order they would be read otherwise is a matter of taste.
pub(super) fn iso_dates(value: &str) -> Option<String> {
    let words: Vec<String> = value.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_uppercase).collect();
    let order = |word: &str| matches!(word, "MDY" | "DMY" | "YMD" | "US" | "EURO" | "EUROPEAN" | "NONEUROPEAN");
    let is_known = words.iter().all(|word| word == "ISO" || order(word));
    let order = words.iter().find(|word| matches!(word.as_str(), "MDY" | "DMY" | "YMD"));
    (is_known && !words.is_empty()).then(|| format!("ISO, {}", order.map_or("MDY", String::as_str)))
}

pub(super) fn interval(value: &str) -> Option<String> {
    let value = value.to_ascii_lowercase();
    ["postgres", "postgres_verbose", "sql_standard", "iso_8601"].contains(&value.as_str()).then_some(value)
}

pub(super) fn bytea(value: &str) -> Option<String> {
    let value = value.to_ascii_lowercase();
    ["hex", "escape"].contains(&value.as_str()).then_some(value)
}

pub(super) fn on(value: &str) -> Option<String> {
    ["on", "true", "yes", "1"].contains(&value.to_ascii_lowercase().as_str()).then(|| "on".to_owned())
}

pub(super) fn digits(value: &str) -> Option<String> {
    let digits: i8 = value.trim().parse().ok()?;
    (-15..=3).contains(&digits).then(|| digits.to_string())
}

/// The tables stand in `public`; other schemas are named in the query.
pub(super) fn search_path(value: &str) -> Option<String> {
    let is_here = |schema: &str| {
        let schema = schema.trim().trim_matches(['"', '\'']);
        ["", "$user", "public", "pg_catalog"].contains(&schema)
    };
    value.split(',').all(is_here).then(|| value.to_owned())
}

/// `GMT-08:00` and `UTC-8`, which POSIX counts from there to Greenwich: `+08:00`.
fn posix_zone(value: &str) -> Option<String> {
    let rest = value.strip_prefix("GMT").or_else(|| value.strip_prefix("UTC"))?;
    let sign = if rest.starts_with('-') { '+' } else { '-' };
    let (hours, minutes) = rest.get(1..)?.split_once(':').unwrap_or((rest.get(1..)?, "0"));
    let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    (rest.starts_with(['+', '-']) && hours <= 14 && minutes < 60).then(|| format!("{sign}{hours:02}:{minutes:02}"))
}

/// A name of the time-zone database or an offset.
pub(super) fn zone(value: &str) -> Option<String> {
    let value = match value {
        value if ["local", "default", "etc/utc", "gmt", "z"].contains(&value.to_ascii_lowercase().as_str()) => "UTC",
        value => value,
    };
    Tz::from_str(value).ok().map(|_| value.to_owned()).or_else(|| posix_zone(value))
}

pub(super) fn timeout(value: &str) -> Option<String> {
    duration(value).map(|limit| format!("{}ms", limit.as_millis()))
}

/// A number of milliseconds, or with a unit: `us`, `ms`, `s`, `min`, `h`, `d`.
pub(in crate::serve) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().ok()?;
    let micros = match unit.trim() {
        "us" => 1,
        "" | "ms" => 1_000,
        "s" => 1_000_000,
        "min" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    number.checked_mul(micros).map(Duration::from_micros)
}
