//! The time of a fetch as exports write it.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeZone, Utc};

use crate::base::money::parse_scaled;
use crate::base::time::BEIJING;

/// Reads a moment; without a zone it is Beijing time (TABLES: "zone-less source times are Beijing time").
///
/// | form | example |
/// |---|---|
/// | RFC 3339, also with a space, with `+0800`, without a zone | `2026-11-18T16:30:00.282Z`, `2026-11-19 00:30:00` |
/// | a day | `2026-11-19` |
/// | 14 or 17 digits, a zone may follow | `20261119003000282+0800` |
/// | seconds since 1970: 10 digits, a fraction may follow | `1795019400.282` |
/// | milliseconds since 1970: 13 digits | `1795019400282` |
pub(super) fn parse(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    match (digits, &text[digits..]) {
        (13, "") => DateTime::from_timestamp_millis(text.parse().ok()?),
        (10, rest) if rest.is_empty() || rest.starts_with('.') => {
            DateTime::from_timestamp_micros(parse_scaled(text, 6).ok()?)
        }
        (14 | 17, zone) => {
            let dotted = format!("{}.{:0<3}{zone}", &text[..14], &text[14..digits]);
            parse_forms(&dotted, &["%Y%m%d%H%M%S%.f"])
        }
        (4, _) => parse_forms(text, &["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"]),
        _ => None,
    }
}

fn parse_forms(text: &str, forms: &[&str]) -> Option<DateTime<Utc>> {
    let zoned = |form: &&str| DateTime::parse_from_str(text, &format!("{form}%#z")).ok().map(|at| at.to_utc());
    let zoneless = |form: &&str| NaiveDateTime::parse_from_str(text, form).ok().and_then(in_beijing);
    let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0).and_then(in_beijing);
    forms.iter().find_map(|form| zoned(form).or_else(|| zoneless(form))).or_else(day)
}

fn in_beijing(at: NaiveDateTime) -> Option<DateTime<Utc>> {
    BEIJING.from_local_datetime(&at).single().map(|at| at.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_names_the_same_moment() {
        let same = [
            "2026-11-18T16:30:00.282Z",
            "2026-11-18 16:30:00.282+00:00",
            "2026-11-19T00:30:00.282+0800",
            "2026-11-19T00:30:00.282",
            " 2026-11-19 00:30:00.282 ",
            "20261119003000282",
            "20261119003000282+0800",
            "1795019400282",
            "1795019400.282",
        ];
        for text in same {
            assert_eq!(parse(text).map(|at| at.timestamp_millis()), Some(1_795_019_400_282), "{text}");
        }
        assert_eq!(parse("20261119003000").map(|at| at.timestamp()), Some(1_795_019_400));
        assert_eq!(parse("2026-11-19").map(|at| at.timestamp()), Some(1_795_017_600));
        for text in ["", "yesterday", "19.11.2026", "2026-13-01", "12", "20261119003000282x", "９９９９-11-19"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
