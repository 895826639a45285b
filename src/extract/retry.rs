//! Retrying: a named budget per call, waits with full jitter, and one budget for the run.
//!
//! Takes how often and how long a call was tried and what came back; gives the wait before the next try, or the end.
//!
//! Invariant: pure. Randomness is a seeded generator, time an argument; no answer makes a call spin.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::base::time::http_date;
use crate::config::gateway::{ErrorClass, Limits};

/// No try follows another sooner, whatever the gateway says (`Retry-After: 0`).
pub const WAIT_MIN: Duration = Duration::from_millis(20);
/// No wait between two tries is longer (WIRE §1: back off 10→120 s). Where the gateway states a longer one, the account
/// rests instead.
pub const WAIT_MAX: Duration = Duration::from_secs(120);
/// No stated wait is believed for longer: what is longer is a mistake, or a moment written as a wait.
pub const STATED_MAX: Duration = Duration::from_secs(31 * 86_400);
/// Throttle answers that a call bears, as a multiple of its tries.
const THROTTLES_MORE: u32 = 2;
/// All tries of one call together take at most this long.
pub const CALL_TIME_MAX: Duration = Duration::from_secs(600);

/// What one call may spend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Tries, the first included (`limits.attempts_max`).
    pub attempts_max: u32,
    /// From the first sending to the last.
    pub time_max: Duration,
    /// The first wait after a failure; it doubles with each further try (`limits.pause_seconds.failure`).
    pub failure: Duration,
    /// The first wait after a throttle answer (`limits.pause_seconds.throttle`).
    pub throttle: Duration,
}

/// What a call has spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Tries made, at least 1.
    pub attempts: u32,
    /// Since the first was sent.
    pub elapsed: Duration,
}

/// What follows a try that failed.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again after this.
    Again(Duration),
    /// The budget is spent.
    GiveUp,
}

impl Budget {
    /// The budget that a definition gives each call.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            attempts_max: limits.attempts_max.max(1),
            time_max: CALL_TIME_MAX,
            failure: seconds(limits.pause.failure),
            throttle: seconds(limits.pause.throttle),
        }
    }

    /// What follows a try that came back as `class`, with the wait that the gateway named, if it did.
    ///
    /// The wait is the longest of: the worker's rest, the gateway's wait, and a random share of the doubling backoff.
    pub fn next(&self, spent: Spent, class: ErrorClass, stated: Option<Duration>, dice: &mut Dice) -> Next {
        let rest = match class {
            ErrorClass::Retry => self.failure,
            ErrorClass::Throttle => self.throttle,
            _ => return Next::GiveUp,
        };
        // A throttle answer is no failure of the call: it is waited for longer.
        let patience = if class == ErrorClass::Throttle { THROTTLES_MORE } else { 1 };
        if spent.attempts >= self.attempts_max.saturating_mul(patience) {
            return Next::GiveUp;
        }
        let doublings = spent.attempts.saturating_sub(1).min(16);
        let backoff = rest.max(WAIT_MIN).saturating_mul(1 << doublings).min(WAIT_MAX);
        let wait = dice.share_of(backoff).max(rest).max(stated.unwrap_or_default()).clamp(WAIT_MIN, WAIT_MAX);
        if spent.elapsed.saturating_add(wait) > self.time_max { Next::GiveUp } else { Next::Again(wait) }
    }
}

/// The run's budget: many failures in a row, whatever the call, are an outage and not bad luck. Where less can be asked for
/// instead, there may be twice as many: of answers that take too long, of calls for several offers, and of what they are
/// cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    in_a_row: u32,
    large_in_a_row: u32,
    in_a_row_max: u32,
}

impl Outage {
    /// An outage is declared after twice the tries that all workers' calls may make, and at least 20.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let in_a_row_max = limits.calls_in_flight.saturating_mul(limits.attempts_max).saturating_mul(2).max(20);
        Self { in_a_row: 0, large_in_a_row: 0, in_a_row_max }
    }

    /// An answer came, good or not: the gateway is there.
    pub fn answered(&mut self) {
        (self.in_a_row, self.large_in_a_row) = (0, 0);
    }

    /// As [`Outage::failed`], of a question that can be cut into smaller ones.
    #[must_use]
    pub fn failed_as_too_large(&mut self) -> Option<u32> {
        self.large_in_a_row += 1;
        (self.large_in_a_row >= self.in_a_row_max.saturating_mul(2)).then_some(self.large_in_a_row)
    }

    /// A try failed; `Some(n)` when that makes it an outage, after `n` failures in a row.
    #[must_use]
    pub fn failed(&mut self) -> Option<u32> {
        self.in_a_row += 1;
        (self.in_a_row >= self.in_a_row_max).then_some(self.in_a_row)
    }
}

/// A seeded generator.
#[derive(Debug)]
pub struct Dice(StdRng);

impl Dice {
    /// The same seed gives the same waits.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Anything from nothing to the whole.
    pub fn share_of(&mut self, whole: Duration) -> Duration {
        let millis = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.0.random_range(0..=millis))
    }
}

/// The wait that an answer's `Retry-After` states. A date in it is by the clock of whoever wrote it: it counts from the
/// answer's own `Date`, and only without one from when the answer came.
#[must_use]
pub fn stated_wait(retry_after: Option<&str>, date: Option<&str>, received_at: DateTime<Utc>) -> Option<Duration> {
    self::retry_after(retry_after?, date.and_then(http_date).unwrap_or(received_at))
}

/// `Retry-After`: whole seconds, or an HTTP date, which counts from `now`; a date gone by is no wait. Some write the date as
/// seconds since 1970: so many that lie near `now` are taken for one. `None` when it is neither.
#[must_use]
pub fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = text.parse().unwrap_or(u64::MAX);
        let moment = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        let moment = moment.filter(|moment| (*moment - now).abs().to_std().is_ok_and(|apart| apart <= STATED_MAX));
        return Some(moment.map_or(Duration::from_secs(seconds), |moment| (moment - now).to_std().unwrap_or_default()));
    }
    Some((http_date(text)? - now).to_std().unwrap_or_default())
}

/// A non-negative number of seconds; anything else is none.
#[must_use]
pub fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget {
        attempts_max: 4,
        time_max: Duration::from_secs(600),
        failure: Duration::from_secs(4),
        throttle: Duration::from_secs(10),
    };

    fn spent(attempts: u32) -> Spent {
        Spent { attempts, elapsed: Duration::ZERO }
    }

    #[test]
    fn only_retry_and_throttle_are_tried_again_and_only_within_the_budget() {
        use ErrorClass::{Auth, Gone, Item, Param, Quota, Retry, Throttle};
        for class in [Auth, Gone, Item, Param, Quota] {
            assert_eq!(BUDGET.next(spent(1), class, None, &mut Dice::new(1)), Next::GiveUp);
        }
        for (class, most) in [(Retry, 4), (Throttle, 8)] {
            assert!(matches!(BUDGET.next(spent(most - 1), class, None, &mut Dice::new(1)), Next::Again(_)));
            assert_eq!(BUDGET.next(spent(most), class, None, &mut Dice::new(1)), Next::GiveUp);
            let late = Spent { attempts: 1, elapsed: Duration::from_secs(599) };
            assert_eq!(BUDGET.next(late, class, None, &mut Dice::new(1)), Next::GiveUp);
        }
    }

    #[test]
    fn zero_does_not_spin_and_years_do_not_block() {
        let free = Budget { failure: Duration::ZERO, throttle: Duration::ZERO, ..BUDGET };
        let again = |stated| free.next(spent(1), ErrorClass::Throttle, Some(stated), &mut Dice::new(7));
        assert_eq!(again(Duration::ZERO), Next::Again(WAIT_MIN));
        assert_eq!(again(Duration::from_secs(u64::MAX)), Next::Again(WAIT_MAX));
    }

    #[test]
    fn a_stated_wait_is_a_lower_bound() {
        let stated = Some(Duration::from_secs(90));
        assert_eq!(
            BUDGET.next(spent(1), ErrorClass::Throttle, stated, &mut Dice::new(7)),
            Next::Again(Duration::from_secs(90))
        );
    }

    proptest::proptest! {
        #[test]
        fn every_wait_lies_between_the_rest_and_the_greatest(seed: u64, attempts in 1..200_u32, stated in proptest::option::of(0..1000_u64)) {
            let budget = Budget { attempts_max: u32::MAX, ..BUDGET };
            let next = budget.next(spent(attempts), ErrorClass::Throttle, stated.map(Duration::from_secs), &mut Dice::new(seed));
            let Next::Again(wait) = next else { panic!("gave up") };
            assert!(wait >= BUDGET.throttle.max(Duration::from_secs(stated.unwrap_or(0)).min(WAIT_MAX)) && wait <= WAIT_MAX);
        }
    }

    #[test]
    fn waits_spread_over_the_backoff() {
        let mut dice = Dice::new(3);
        let budget = Budget { failure: Duration::ZERO, attempts_max: 99, ..BUDGET };
        let waits: std::collections::BTreeSet<_> = (0..50)
            .map(|_| match budget.next(spent(9), ErrorClass::Retry, None, &mut dice) {
                Next::Again(wait) => wait,
                Next::GiveUp => panic!("gave up"),
            })
            .collect();
        assert!(waits.len() > 40, "no jitter: {waits:?}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = DateTime::parse_from_rfc3339("2026-11-20T12:00:00Z").unwrap().to_utc();
        for (text, expected) in [
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Fri, 20 Nov 2026 12:00:30 GMT", Some(30)),
            ("Fri, 20 Nov 2026 11:00:00 GMT", Some(0)),
            ("Friday, 20-Nov-26 12:00:30 GMT", Some(30)),
            ("Fri Nov 20 12:00:30 2026", Some(30)),
            ("1795176030", Some(30)),
            ("1795175000", Some(0)),
            ("1800000000", Some(1_800_000_000)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn failures_of_what_can_be_cut_are_an_outage_after_twice_as_many() {
        let limits = Limits { calls_in_flight: 2, attempts_max: 5, ..crate::extract::testing::gateway("").limits };
        let mut outage = Outage::new(&limits);
        assert!((0..39).all(|_| outage.failed_as_too_large().is_none()));
        outage.answered();
        assert!((0..39).all(|_| outage.failed_as_too_large().is_none()));
        assert_eq!((outage.failed(), outage.failed_as_too_large()), (None, Some(40)));
    }

    #[test]
    fn failures_in_a_row_are_an_outage_and_one_answer_ends_the_row() {
        let mut outage = Outage { in_a_row: 0, large_in_a_row: 0, in_a_row_max: 3 };
        assert_eq!((outage.failed(), outage.failed()), (None, None));
        outage.answered();
        assert_eq!((outage.failed(), outage.failed(), outage.failed()), (None, None, Some(3)));
    }
}
