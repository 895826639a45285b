//! The rhythm of one account: when its next call may leave.
//!
//! A GCRA: calls keep a steady interval that is a little longer than the second divided by the rate; a caller that comes
//! up to [`TOLERANCE`] late does not push the calls after it back. A throttle answer halves the rate, good answers win it
//! back step by step.
//!
//! Invariant: pure; moments are arguments, in microseconds since the epoch. Of calls that it grants no closed
//! one-second window holds more than the gateway allows.

use serde::{Deserialize, Serialize};

/// Microseconds in a second.
pub(super) const SECOND: i64 = 1_000_000;
/// The share by which intervals exceed what the rate allows: the window stays whole when calls leave a little early.
const MARGIN: f64 = 0.015;
/// How much earlier than its interval a call may leave, at most.
const TOLERANCE: i64 = 5_000;
/// What a window is wider than what the gateway counts by: calls leave a few milliseconds after the moments that were
/// granted (the bound is where calls leave), and then still lie far enough apart.
const LATENESS: i64 = 10_000;
/// The first and the last of one call more than a second allows lie at least this far apart.
const WINDOW: i64 = SECOND + LATENESS;
/// After throttles the rate never falls below this share of the allowed one.
const FLOOR: f64 = 1.0 / 16.0;
/// Each good answer wins back this share of the allowed rate.
const STEP: f64 = 1.0 / 50.0;
/// Calls per second that gateways without a stated rate are held to once they throttle.
const UNSTATED_RATE: f64 = 10.0;

/// The rhythm of one account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Rhythm {
    /// When the next call is due: one interval after the call before it was due or left, whichever is later.
    due_at: i64,
    /// The share of the allowed rate that is used now, from [`FLOOR`] to 1.
    share: f64,
    /// When the rate was last halved.
    slowed_at: Option<i64>,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self { due_at: 0, share: 1.0, slowed_at: None }
    }
}

impl Rhythm {
    /// The earliest moment at which a call may leave.
    pub(super) fn earliest(&self, calls_per_second: Option<f64>) -> i64 {
        if self.interval(calls_per_second).is_some() { self.due_at - tolerance(calls_per_second) } else { i64::MIN }
    }

    /// A call leaves now; [`Rhythm::earliest`] has passed.
    pub(super) fn take(&mut self, calls_per_second: Option<f64>, now: i64) {
        if let Some(interval) = self.interval(calls_per_second) {
            self.due_at = self.due_at.max(now) + interval;
        }
    }

    /// A call that was sent at `sent_at` was throttled: halves the rate. Calls that were in flight already when the rate
    /// was last halved do not halve it again.
    pub(super) fn throttled(&mut self, calls_per_second: Option<f64>, sent_at: i64, now: i64) {
        if self.slowed_at.is_some_and(|slowed_at| sent_at <= slowed_at) {
            return;
        }
        self.slowed_at = Some(now);
        self.share = (self.share / 2.0).max(FLOOR);
        let interval = self.interval(calls_per_second).unwrap_or(0);
        self.due_at = self.due_at.max(now + interval);
    }

    /// A call was answered well.
    pub(super) fn succeeded(&mut self) {
        self.share = (self.share + STEP).min(1.0);
    }

    /// Back to the full rate.
    pub(super) fn reset(&mut self) {
        self.share = 1.0;
        self.slowed_at = None;
    }

    /// The clock was set back by this much: what is still to wait stays as long as it was.
    pub(super) fn set_back(&mut self, by: i64) {
        self.due_at -= by;
        self.slowed_at = self.slowed_at.map(|slowed_at| slowed_at - by);
    }

    /// The share of the allowed rate that is used now.
    pub(super) fn share(&self) -> f64 {
        self.share.clamp(FLOOR, 1.0)
    }

    /// The time between two calls; `None`: as fast as they come.
    fn interval(&self, calls_per_second: Option<f64>) -> Option<i64> {
        let rate = match stated(calls_per_second) {
            Some(rate) => rate,
            None if self.share() < 1.0 => UNSTATED_RATE,
            None => return None,
        };
        Some(micros((1.0 + MARGIN) / (rate * self.share())))
    }
}

/// The rate that a window of one second allows: it holds whole calls, so 2.5 per second are 2.
fn stated(calls_per_second: Option<f64>) -> Option<f64> {
    let rate = calls_per_second.filter(|rate| rate.is_finite() && *rate > 0.0)?;
    Some(if rate >= 1.0 { rate.floor() } else { rate })
}

/// So many calls may leave in so long, both ends included; `None`: no rate is stated.
pub(super) fn window(calls_per_second: Option<f64>) -> Option<(usize, i64)> {
    let rate = stated(calls_per_second)?;
    if rate < 1.0 {
        return Some((1, micros(1.0 / rate) + LATENESS));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 1 on")]
    let calls = rate as usize;
    Some((calls, WINDOW))
}

/// How much earlier than due a call may leave: what keeps one call more than a second allows apart by [`WINDOW`].
fn tolerance(calls_per_second: Option<f64>) -> i64 {
    let rate = stated(calls_per_second).unwrap_or(UNSTATED_RATE);
    let calls = rate.max(1.0);
    (micros(calls * (1.0 + MARGIN) / rate) - WINDOW).clamp(0, TOLERANCE)
}

/// Seconds as whole microseconds, never less; at most a day.
fn micros(seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "clamped to a day")]
    let micros = (seconds * 1e6).ceil().clamp(0.0, 86_400e6) as i64;
    micros
}

#[cfg(test)]
mod tests;
