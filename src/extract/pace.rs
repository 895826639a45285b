//! Pacing: when a call may leave, and how long a worker rests.
//!
//! A burst-free GCRA per account, asked at the moment of sending: calls leave at least one interval apart, and
//! the interval is a little longer than the second divided by the rate, so that no closed one-second window holds
//! more calls than the gateway allows. A throttle answer halves the rate, good answers win it back step by step.
//!
//! Invariant: pure; instants are arguments.

use std::time::{Duration, Instant};

use crate::config::gateway::{ErrorClass, Limits, Pause};

use super::retry::seconds;

/// The share by which intervals exceed what the rate allows: clocks and networks jitter.
const MARGIN: f64 = 0.02;
/// After throttles the rate never falls below this share of the allowed one.
const FLOOR: f64 = 1.0 / 16.0;
/// Each good answer wins back this share of the allowed rate.
const STEP: f64 = 1.0 / 50.0;
/// Calls per second that gateways without a stated rate are held to once they throttle.
const UNSTATED_RATE: f64 = 10.0;

/// The pace of one account.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// Calls per second that the definition allows; `None`: not stated.
    allowed: Option<f64>,
    /// The share of it that is used now, from [`FLOOR`] to 1.
    share: f64,
    next_at: Option<Instant>,
    slowed_at: Option<Instant>,
}

impl Pace {
    /// The pace that a definition allows.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self { allowed: limits.calls_per_second.filter(|rate| *rate > 0.0), share: 1.0, next_at: None, slowed_at: None }
    }

    /// Takes the right to send now.
    ///
    /// # Errors
    /// The instant to ask again, when it is too early; nothing is taken then.
    pub fn send(&mut self, now: Instant) -> Result<(), Instant> {
        if let Some(next_at) = self.next_at.filter(|next_at| now < *next_at) {
            return Err(next_at);
        }
        self.next_at = Some(now + self.interval());
        Ok(())
    }

    /// A call that was sent at `sent_at` was throttled: halves the rate. Calls that were in flight already when
    /// the rate was last halved do not halve it again.
    pub fn throttled(&mut self, sent_at: Instant, now: Instant) {
        if self.slowed_at.is_some_and(|slowed_at| sent_at <= slowed_at) {
            return;
        }
        self.slowed_at = Some(now);
        self.share = (self.share / 2.0).max(FLOOR);
        self.next_at = self.next_at.max(Some(now + self.interval()));
    }

    /// A call was answered well.
    pub fn succeeded(&mut self) {
        self.share = (self.share + STEP).min(1.0);
    }

    /// The time between two calls.
    #[must_use]
    pub fn interval(&self) -> Duration {
        let rate = match self.allowed {
            // A window of one second holds whole calls: 2.5 per second are 2.
            Some(rate) if rate >= 1.0 => rate.floor(),
            Some(rate) => rate,
            None if self.share < 1.0 => UNSTATED_RATE,
            None => return Duration::ZERO,
        };
        seconds((1.0 + MARGIN) / (rate * self.share))
    }
}

/// How long a worker rests after a call (WIRE §1: 0.8 s after success, 4 s after failure, 10 s after throttling).
#[must_use]
pub fn rest(pause: &Pause, fault: Option<ErrorClass>) -> Duration {
    seconds(match fault {
        Some(ErrorClass::Retry) => pause.failure,
        Some(ErrorClass::Throttle) => pause.throttle,
        _ => pause.success,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::testing;

    fn pace(calls_per_second: Option<f64>) -> Pace {
        Pace::new(&Limits { calls_per_second, ..testing::limits() })
    }

    proptest::proptest! {
        #[test]
        fn no_closed_second_holds_more_calls_than_allowed(
            rate in 1..40_u32,
            waits in proptest::collection::vec(0..400_u64, 1..200),
            throttles in proptest::collection::vec(0..200_usize, 0..4),
        ) {
            let start = Instant::now();
            let mut pace = pace(Some(f64::from(rate)));
            let mut now = start;
            let mut sent: Vec<Instant> = Vec::new();
            for (index, wait) in waits.iter().enumerate() {
                now += Duration::from_millis(*wait);
                if let Err(at) = pace.send(now) {
                    now = at;
                    assert_eq!(pace.send(now), Ok(()), "the named instant is late enough");
                }
                sent.push(now);
                if throttles.contains(&index) { pace.throttled(now, now) } else { pace.succeeded() }
            }
            for (index, first) in sent.iter().enumerate() {
                let held = sent[index..].iter().filter(|at| **at - *first <= Duration::from_secs(1)).count();
                assert!(held <= rate as usize, "{held} calls in one second at rate {rate}");
            }
        }
    }

    #[test]
    fn a_fractional_rate_never_rounds_up() {
        assert!(pace(Some(2.5)).interval() > Duration::from_millis(500));
        assert!(pace(Some(0.5)).interval() > Duration::from_secs(2));
        assert_eq!(pace(None).interval(), Duration::ZERO);
    }

    #[test]
    fn throttles_halve_the_rate_once_per_wave_down_to_the_floor_and_answers_win_it_back() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pace = pace(Some(10.0));
        let full = pace.interval();
        pace.throttled(at(0), at(50));
        pace.throttled(at(20), at(60));
        assert_eq!(pace.interval(), full * 2);
        for wave in 1..20 {
            pace.throttled(at(wave * 100), at(wave * 100));
        }
        assert_eq!(pace.interval(), full * 16);
        for _ in 0..50 {
            pace.succeeded();
        }
        assert_eq!(pace.interval(), full);
    }

    #[test]
    fn an_unstated_rate_is_free_until_the_gateway_throttles() {
        let start = Instant::now();
        let mut pace = pace(None);
        assert_eq!((pace.send(start), pace.send(start)), (Ok(()), Ok(())));
        pace.throttled(start, start);
        assert!(pace.send(start).is_err());
        for _ in 0..50 {
            pace.succeeded();
        }
        assert_eq!(pace.interval(), Duration::ZERO);
    }

    #[test]
    fn a_worker_rests_by_what_came_back() {
        let pause = Pause { success: 0.8, failure: 4.0, throttle: 10.0 };
        assert_eq!(rest(&pause, None), Duration::from_millis(800));
        assert_eq!(rest(&pause, Some(ErrorClass::Gone)), Duration::from_millis(800));
        assert_eq!(rest(&pause, Some(ErrorClass::Retry)), Duration::from_secs(4));
        assert_eq!(rest(&pause, Some(ErrorClass::Throttle)), Duration::from_secs(10));
    }
}
