//! The Beijing calendar and the clock as an argument.

use std::sync::Mutex;

use chrono::{DateTime, FixedOffset, NaiveDate, TimeDelta, Utc};

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
    fn the_beijing_day_turns_at_sixteen_hours_utc() {
        let before = DateTime::parse_from_rfc3339("2026-11-20T15:59:59Z").unwrap().to_utc();
        let after = DateTime::parse_from_rfc3339("2026-11-20T16:00:00Z").unwrap().to_utc();
        assert_eq!(beijing_day(before), NaiveDate::from_ymd_opt(2026, 11, 20).unwrap());
        assert_eq!(beijing_day(after), NaiveDate::from_ymd_opt(2026, 11, 21).unwrap());
        assert_eq!(beijing_day(DateTime::<Utc>::MAX_UTC), NaiveDate::MAX, "whatever a state holds");
    }
}
