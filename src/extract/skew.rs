//! Clock skew: gateways refuse calls whose time is off, so their `Date` corrects ours.
//!
//! Takes the `Date` header, when the call was sent and answered, and whether the gateway took the time it was signed
//! with; gives the offset to sign with, and once per run a warning when the clocks differ by more than 30 seconds
//! (WIRE §1 "Clock"). Proxies and caches write `Date`, too: a time that the gateway has accepted is worth more than a
//! `Date` that contradicts it, and where a time is refused the other one is tried.
//!
//! Invariant: pure. Differences below the header's resolution never move the signing time, and no `Date` moves it that
//! no server shows.

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};

use crate::base::time::http_date;

/// Differences past this are worth a warning.
const WARN_SECONDS: i64 = 30;
/// `Date` has whole seconds and the answer took time: smaller differences are noise.
const NOISE_SECONDS: i64 = 2;
/// A smaller change of the offset does not explain a refused signature.
const SIGNED_WRONG: TimeDelta = TimeDelta::seconds(5);
/// What was accepted was off by no more than this: the least skew that a gateway is known to refuse (WIRE §1).
const ACCEPTED_WITHIN: TimeDelta = TimeDelta::minutes(3);
/// The years that a server's clock shows.
const YEARS: std::ops::Range<i32> = 2020..2100;
/// How often a run changes from one clock to the other because the first was refused: there, and back.
const SWAPS_MAX: u8 = 2;

/// The measured difference between the gateway's clock and ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skew {
    offset: TimeDelta,
    /// What the last `Date` says.
    dated: TimeDelta,
    /// The offset that was last accepted; until then our own time.
    base: TimeDelta,
    is_accepted: bool,
    /// The base was refused before anything was accepted.
    is_refused: bool,
    /// `offset` is the base, whatever a `Date` says.
    keeps: bool,
    /// What was accepted has been refused since: the `Date` is tried, though it contradicts.
    doubts: bool,
    swaps: u8,
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
    /// is no date, or one that no server shows, teaches nothing.
    #[must_use]
    pub fn observe(&mut self, seen: Observation<'_>) -> Option<TimeDelta> {
        let date = http_date(seen.date)?;
        if !YEARS.contains(&date.year()) {
            return None;
        }
        // The date was written between sending and receiving, and stands for the second it begins.
        let early = date - seen.received_at;
        let late = date + TimeDelta::seconds(1) - seen.sent_at;
        let noise = TimeDelta::seconds(NOISE_SECONDS);
        self.known = true;
        self.dated = if early <= noise && late >= -noise { TimeDelta::zero() } else { (early + late) / 2 };
        self.keeps |= self.is_accepted && !self.doubts && differ(self.dated, self.base, ACCEPTED_WITHIN);
        self.offset = if self.keeps { self.base } else { self.dated };
        let news = !self.warned && self.offset.abs() > TimeDelta::seconds(WARN_SECONDS);
        self.warned |= news;
        news.then_some(self.offset)
    }

    /// The gateway has accepted a call that was signed with this offset.
    pub fn accepted(&mut self, offset: TimeDelta) {
        (self.base, self.is_accepted, self.doubts) = (offset, true, false);
        self.keeps = differ(self.dated, offset, ACCEPTED_WITHIN);
        self.offset = if self.keeps { offset } else { self.dated };
    }

    /// The gateway has refused a call that was signed with this offset, for whatever reason; whether the next one is
    /// signed with another that may be accepted.
    #[must_use]
    pub fn refused(&mut self, offset: TimeDelta) -> bool {
        self.is_refused |= !self.is_accepted && !differ(offset, self.base, SIGNED_WRONG);
        if differ(offset, self.offset, SIGNED_WRONG) {
            return true;
        }
        let to_base = !self.keeps;
        let other = if to_base { self.base } else { self.dated };
        if self.swaps >= SWAPS_MAX || !differ(offset, other, SIGNED_WRONG) || (to_base && self.is_refused) {
            return false;
        }
        // What is accepted to within minutes is not refused for seconds.
        if self.is_accepted && !differ(offset, other, ACCEPTED_WITHIN) {
            return false;
        }
        self.swaps += 1;
        (self.keeps, self.doubts, self.offset) = (to_base, !to_base, other);
        true
    }

    /// Whether the gateway has accepted a call that was signed with this offset.
    #[must_use]
    pub fn has_accepted(&self, offset: TimeDelta) -> bool {
        self.is_accepted && !differ(offset, self.base, SIGNED_WRONG)
    }

    /// Whether a call that was signed with this offset would now be signed with another time.
    #[must_use]
    pub fn has_left(&self, offset: TimeDelta) -> bool {
        differ(offset, self.offset, SIGNED_WRONG)
    }

    /// How far the gateway's clock is ahead of ours; zero when it is not known to differ.
    #[must_use]
    pub fn offset(&self) -> TimeDelta {
        self.offset
    }

    /// How far its last `Date` says that it is, accepted or not.
    #[must_use]
    pub fn dated_offset(&self) -> TimeDelta {
        self.dated
    }

    /// Whether the clocks differ by more than 30 seconds.
    #[must_use]
    pub fn is_far(&self) -> bool {
        self.dated.abs() > TimeDelta::seconds(WARN_SECONDS)
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

    /// Our time as the gateway's `Date` shows it, accepted or not.
    #[must_use]
    pub fn dated(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now.checked_add_signed(self.dated).unwrap_or(now)
    }
}

fn differ(one: TimeDelta, other: TimeDelta, by: TimeDelta) -> bool {
    (one - other).abs() > by
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

    /// Signs calls one after the other, as often as each is tried again; the offsets in seconds that were signed with.
    /// `answers`: what `Date` says, and the offset that the gateway takes for right, within three minutes; `None`: it
    /// refuses whatever it is shown.
    fn sign(skew: &mut Skew, answers: &[(i64, Option<i64>)]) -> Vec<i64> {
        let mut signed = Vec::new();
        for (date, right) in answers {
            loop {
                let offset = skew.offset();
                signed.push(offset.num_seconds());
                let _ = observe(skew, -date);
                match right {
                    Some(right) if (offset - TimeDelta::seconds(*right)).abs() <= ACCEPTED_WITHIN => {
                        skew.accepted(offset);
                        break;
                    }
                    _ if skew.refused(offset) && signed.len() < 20 => {}
                    _ => break,
                }
            }
        }
        // What is measured is off by half a second at most.
        signed.iter().map(|offset| (offset + offset.signum()) / 10 * 10).collect()
    }

    #[test]
    fn what_was_accepted_is_worth_more_than_a_date_that_contradicts_it() {
        let hour = 3600;
        for (answers, expected) in [
            // The dates are right: a call that was signed with our time is signed again.
            (vec![(hour, Some(hour)), (hour, Some(hour))], vec![0, hour, hour]),
            (vec![(60, Some(60)), (60, Some(60))], vec![0, 60]),
            // They lie.
            (vec![(hour, Some(0)), (hour, Some(0)), (hour, Some(0))], vec![0, 0, 0]),
            (vec![(0, Some(0)), (hour, Some(0)), (0, Some(0)), (-hour, Some(0))], vec![0, 0, 0, 0]),
            // What is refused is refused for another reason: the other clock is tried once.
            (vec![(0, None), (0, Some(0))], vec![0, 0]),
            (vec![(hour, None), (hour, None)], vec![0, hour, hour]),
            (vec![(hour, Some(0)), (hour, None), (hour, Some(0)), (hour, None)], vec![0, 0, hour, 0, 0, 0]),
            (vec![(60, Some(60)), (60, None)], vec![0, 60]),
            // This machine's clock is set while the run goes on.
            (vec![(0, Some(0)), (-hour, Some(-hour)), (-hour, Some(-hour))], vec![0, 0, -hour, -hour]),
        ] {
            assert_eq!(sign(&mut Skew::default(), &answers), expected, "{answers:?}");
        }
    }

    #[test]
    fn a_date_of_an_answer_that_judges_nothing_may_lie_too() {
        for (right, expected) in [(Some(3600), vec![3600]), (Some(0), vec![3600, 0])] {
            let mut skew = Skew::default();
            assert!(observe(&mut skew, -3600).is_some(), "the answer said that it was busy");
            assert_eq!(sign(&mut skew, &[(3600, right)]), expected);
        }
    }

    #[test]
    fn a_date_that_no_server_shows_teaches_nothing() {
        let now = DateTime::parse_from_rfc2822(DATE).unwrap().to_utc();
        for date in ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            let mut skew = Skew::default();
            assert_eq!(skew.observe(Observation { date, sent_at: now, received_at: now }), None);
            assert_eq!((skew.offset(), skew.is_known(), skew.dated(now)), (TimeDelta::zero(), false, now), "{date}");
        }
    }
}
