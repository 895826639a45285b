//! Clock skew: gateways refuse calls whose time is off, so their `Date` corrects ours.
//!
//! Takes the `Date` header and when the call was sent and answered; gives the offset to sign with, and once per run
//! a warning when the clocks differ by more than 30 seconds (WIRE §1 "Clock").
//!
//! Invariant: pure. Differences below the header's resolution never move the signing time.

use chrono::{DateTime, TimeDelta, Utc};

/// Differences past this are worth a warning.
const WARN_SECONDS: i64 = 30;
/// `Date` has whole seconds and the answer took time: smaller differences are noise.
const NOISE_SECONDS: i64 = 2;

/// The measured difference between the gateway's clock and ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skew {
    offset: TimeDelta,
    known: bool,
    warned: bool,
}

/// The two clocks at one answer.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The `Date` header.
    pub date: &'a str,
    /// When the call was sent, by our clock.
    pub sent_at: DateTime<Utc>,
    /// When its answer began to arrive, by our clock.
    pub received_at: DateTime<Utc>,
}

impl Skew {
    /// Learns from one answer; `Some(offset)` the first time the clocks differ by more than 30 seconds. A header that
    /// is no date teaches nothing.
    #[must_use]
    pub fn observe(&mut self, seen: Observation<'_>) -> Option<TimeDelta> {
        let date = DateTime::parse_from_rfc2822(seen.date).ok()?.to_utc();
        // The date was written between sending and receiving, and stands for the second it begins.
        let early = date - seen.received_at;
        let late = date + TimeDelta::seconds(1) - seen.sent_at;
        let noise = TimeDelta::seconds(NOISE_SECONDS);
        self.known = true;
        self.offset = if early <= noise && late >= -noise { TimeDelta::zero() } else { (early + late) / 2 };
        let news = !self.warned && self.offset.abs() > TimeDelta::seconds(WARN_SECONDS);
        self.warned |= news;
        news.then_some(self.offset)
    }

    /// How far the gateway's clock is ahead of ours; zero when it is not known to differ.
    #[must_use]
    pub fn offset(&self) -> TimeDelta {
        self.offset
    }

    /// Whether a `Date` was seen.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Our time as the gateway's clock shows it: the time to sign with.
    #[must_use]
    pub fn correct(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now.checked_add_signed(self.offset).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Fri, 20 Nov 2026 12:00:00 GMT";

    /// What a clock that runs `ahead` seconds before the gateway's makes of an answer of 100 ms.
    fn observe(skew: &mut Skew, ahead: i64) -> Option<TimeDelta> {
        let sent_at = DateTime::parse_from_rfc2822(DATE).unwrap().to_utc() + TimeDelta::seconds(ahead);
        skew.observe(Observation { date: DATE, sent_at, received_at: sent_at + TimeDelta::milliseconds(100) })
    }

    #[test]
    fn clocks_that_agree_are_left_alone() {
        let mut skew = Skew::default();
        for ahead in [-1, 0, 1, 2] {
            assert_eq!(observe(&mut skew, ahead), None);
            assert_eq!(skew.offset(), TimeDelta::zero(), "{ahead}");
        }
    }

    #[test]
    fn a_wrong_clock_is_corrected_to_within_a_second_and_warned_of_once() {
        for ahead in [-86_400 * 365 * 50, -200, -31, 40, 179, 86_400] {
            let mut skew = Skew::default();
            assert!(observe(&mut skew, ahead).is_some(), "{ahead}");
            assert_eq!(observe(&mut skew, ahead), None);
            let wrong = DateTime::parse_from_rfc2822(DATE).unwrap().to_utc() + TimeDelta::seconds(ahead);
            let error = skew.correct(wrong) - DateTime::parse_from_rfc2822(DATE).unwrap().to_utc();
            assert!(error.abs() <= TimeDelta::seconds(1), "{ahead}: {error}");
        }
    }

    #[test]
    fn small_differences_correct_without_a_warning_and_nonsense_teaches_nothing() {
        let mut skew = Skew::default();
        assert_eq!(observe(&mut skew, 10), None);
        assert!((skew.offset() + TimeDelta::seconds(10)).abs() <= TimeDelta::seconds(1));
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(skew.observe(Observation { date: "yesterday", sent_at: now, received_at: now }), None);
        assert_ne!(skew.offset(), TimeDelta::zero());
    }
}
