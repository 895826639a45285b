//! The Beijing calendar and the clock as an argument.

use std::sync::Mutex;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, TimeDelta, Utc};

/// China Standard Time: UTC+8 all year.
pub const BEIJING: FixedOffset = match FixedOffset::east_opt(8 * 3600) {
    Some(offset) => offset,
    None => panic!("eight hours is a valid offset"),
};

/// The Beijing calendar day of an instant.
#[must_use]
pub fn beijing_day(at: DateTime<Utc>) -> NaiveDate {
    // The last day that can be told has no end in Beijing.
    at.naive_utc().checked_add_offset(BEIJING).map_or(NaiveDate::MAX, |local| local.date())
}

/// An HTTP date: as it is written now, or in one of the two older ways that a reader must know (RFC 9110, section 5.6.7).
#[must_use]
pub fn http_date(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let obsolete = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let read = |format| NaiveDateTime::parse_from_str(text, format).ok();
    let current = DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc());
    current.or_else(|| obsolete.into_iter().find_map(read).map(|date| date.and_utc()))
}

/// Where the current time comes from; everything that needs it takes one.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The current time.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A clock that only moves when told.
#[derive(Debug)]
pub struct ManualClock(Mutex<DateTime<Utc>>);

impl ManualClock {
    /// A clock that stands at `at`.
    #[must_use]
    pub fn new(at: DateTime<Utc>) -> Self {
        Self(Mutex::new(at))
    }

    /// Moves it forward (or back).
    pub fn advance(&self, by: TimeDelta) {
        let mut now = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *now += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_read_however_they_are_written() {
        let at = DateTime::parse_from_rfc3339("2026-11-06T08:49:37Z").unwrap().to_utc();
        for text in ["Fri, 06 Nov 2026 08:49:37 GMT", "Friday, 06-Nov-26 08:49:37 GMT", " Fri Nov  6 08:49:37 2026"] {
            assert_eq!(http_date(text), Some(at), "{text}");
        }
        for none in ["", "soon", "2026-11-06", "Friday, 06-Nov-26 08:49:37"] {
            assert_eq!(http_date(none), None, "{none}");
        }
    }

    #[test]
    fn the_beijing_day_turns_at_sixteen_hours_utc() {
        let before = DateTime::parse_from_rfc3339("2026-11-20T15:59:59Z").unwrap().to_utc();
        let after = DateTime::parse_from_rfc3339("2026-11-20T16:00:00Z").unwrap().to_utc();
        assert_eq!(beijing_day(before), NaiveDate::from_ymd_opt(2026, 11, 20).unwrap());
        assert_eq!(beijing_day(after), NaiveDate::from_ymd_opt(2026, 11, 21).unwrap());
        assert_eq!(beijing_day(DateTime::<Utc>::MAX_UTC), NaiveDate::MAX, "whatever a state holds");
    }
}
