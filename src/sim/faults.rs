//! Calls that fail for no reason: which ones, and how the answer looks then.
//!
//! Invariant: one call (the same parameters) never fails more than [`IN_A_ROW_MAX`] times in a row.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::answer::{Answer, JSON, Outcome};
use super::gateways::{Call, Refusal};
use super::options::{Faults, Options, RetryAfter};
use super::random::Dice;

/// Five attempts always succeed.
const IN_A_ROW_MAX: u32 = 3;
/// Calls whose attempts are remembered; past that the memory starts anew.
const CALLS_MAX: usize = 200_000;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The family's "busy" envelope.
    Busy,
    /// 500, 502, 503 or 504 with a page of HTML.
    ServerError(u16),
    /// 429 with `Retry-After`.
    TooMany(RetryAfter),
    /// The connection ends before the body does.
    Cut,
    /// HTTP 200 and half a document, or none.
    Malformed,
    /// A busy error in GBK.
    Gbk,
}

/// What happens to one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Fate {
    pub(super) delay: Duration,
    pub(super) fault: Option<Fault>,
}

/// Which attempts fail.
#[derive(Debug)]
pub(super) struct Plan {
    seed: u64,
    faults: Faults,
    slow_millis_max: u64,
    calls: HashMap<u64, Attempts>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Attempts {
    made: u64,
    failed_in_a_row: u32,
}

impl Plan {
    pub(super) fn new(options: &Options) -> Self {
        let Options { seed, faults, slow_millis_max, .. } = *options;
        Self { seed, faults, slow_millis_max, calls: HashMap::new() }
    }

    /// Forgets all attempts: the same calls fail again.
    pub(super) fn start_anew(&mut self) {
        self.calls.clear();
    }

    /// What happens to the next attempt of the call.
    pub(super) fn next(&mut self, identity: u64) -> Fate {
        let (fail_per_mille, slow_per_mille, slow_millis, wait_max) = match self.faults {
            Faults::None => return Fate::default(),
            Faults::Light => (40, 30, 300, 1),
            Faults::Heavy => (200, 100, 1000, 2),
        };
        if self.calls.len() >= CALLS_MAX {
            self.calls.clear();
        }
        let attempts = self.calls.entry(identity).or_default();
        let mut dice = Dice::new(self.seed, &[40, identity, attempts.made]);
        attempts.made += 1;
        let delay = if dice.chance(slow_per_mille) { 50 + dice.below(slow_millis - 50) } else { 0 };
        let fails = dice.chance(fail_per_mille) && attempts.failed_in_a_row < IN_A_ROW_MAX;
        attempts.failed_in_a_row = if fails { attempts.failed_in_a_row + 1 } else { 0 };
        Fate {
            delay: Duration::from_millis(delay.min(self.slow_millis_max)),
            fault: fails.then(|| roll(&mut dice, wait_max)),
        }
    }
}

fn roll(dice: &mut Dice, wait_max: u32) -> Fault {
    match dice.below(10) {
        0 | 1 => Fault::Busy,
        2 | 3 => Fault::ServerError(*dice.pick(&[500, 502, 503, 504])),
        4 => Fault::TooMany(RetryAfter::Seconds(*dice.pick(&[0, wait_max]))),
        5 => Fault::TooMany(RetryAfter::Date(wait_max)),
        6 | 7 => Fault::Cut,
        8 => Fault::Malformed,
        _ => Fault::Gbk,
    }
}

/// The answer as the fault leaves it.
pub(super) fn spoil(fault: &Fault, call: &Call, answer: Answer, now: DateTime<Utc>) -> Answer {
    match fault {
        Fault::Busy => call.gateway.refuse(call, &Refusal::Busy),
        Fault::ServerError(status) => {
            let page = format!("<html><head><title>{status}</title></head><body><center>nginx</center></body></html>");
            Answer::text(Outcome::ServerError, "text/html", page).with_status(*status)
        }
        Fault::TooMany(after) => too_many(call, *after, now),
        Fault::Cut => {
            let kept = answer.body.len() * 2 / 3;
            Answer {
                missing_bytes: answer.body.len() - kept,
                body: answer.body[..kept].to_vec(),
                outcome: Outcome::Cut,
                ..answer
            }
        }
        Fault::Malformed => {
            let kept = if answer.body.len().is_multiple_of(4) { 0 } else { answer.body.len() / 2 };
            Answer { body: answer.body[..kept].to_vec(), outcome: Outcome::Malformed, ..answer }
        }
        Fault::Gbk => {
            let busy = call.gateway.refuse(call, &Refusal::Busy);
            if busy.content_type != JSON {
                return busy;
            }
            let text = String::from_utf8_lossy(&busy.body).into_owned();
            let (body, _, _) = encoding_rs::GBK.encode(&text);
            Answer {
                body: body.into_owned(),
                content_type: "application/json;charset=GBK",
                outcome: Outcome::Gbk,
                ..busy
            }
        }
    }
}

/// HTTP 429 in the family's words; `now` is the gateway's clock.
pub(super) fn too_many(call: &Call, after: RetryAfter, now: DateTime<Utc>) -> Answer {
    let retry_after = match after {
        RetryAfter::Absent => None,
        RetryAfter::Seconds(seconds) => Some(seconds.to_string()),
        RetryAfter::Date(seconds) => Some(http_date(now + TimeDelta::seconds(i64::from(seconds)))),
    };
    let throttled = call.gateway.refuse(call, &Refusal::Throttled);
    Answer { status: 429, retry_after, outcome: Outcome::TooMany, ..throttled }
}

/// A time as HTTP headers have it.
pub(super) fn http_date(at: DateTime<Utc>) -> String {
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_fails_more_than_three_times_in_a_row() {
        for faults in [Faults::Light, Faults::Heavy] {
            for seed in 0..20 {
                let mut plan = Plan::new(&Options { seed, faults, ..Options::default() });
                for call in 0..500 {
                    let successes = (0..4).filter(|_| plan.next(call).fault.is_none()).count();
                    assert!(successes >= 1, "seed {seed}, call {call}");
                }
            }
        }
    }

    #[test]
    fn faults_are_as_frequent_as_their_name_says_and_follow_from_the_seed() {
        let failed = |faults, seed| {
            let mut plan = Plan::new(&Options { seed, faults, ..Options::default() });
            (0..5000).filter(|&call| plan.next(call).fault.is_some()).collect::<Vec<u64>>()
        };
        assert!(failed(Faults::None, 1).is_empty());
        assert!((120..300).contains(&failed(Faults::Light, 1).len()));
        assert!((850..1150).contains(&failed(Faults::Heavy, 1).len()));
        assert_eq!(failed(Faults::Light, 1), failed(Faults::Light, 1));
        assert_ne!(failed(Faults::Light, 1), failed(Faults::Light, 2));
        let mut plan = Plan::new(&Options { faults: Faults::Heavy, ..Options::default() });
        let mut next = || std::iter::repeat_with(|| plan.next(7)).take(40).collect::<Vec<_>>();
        let (first, second) = (next(), next());
        assert_ne!(first, second, "attempts of one call are counted on");
        plan.start_anew();
        assert_eq!(std::iter::repeat_with(|| plan.next(7)).take(40).collect::<Vec<_>>(), first);
    }

    #[test]
    fn a_date_is_written_as_http_wants_it() {
        let at = DateTime::parse_from_rfc3339("2026-11-06T08:49:37Z").expect("a time").to_utc();
        assert_eq!(http_date(at), "Fri, 06 Nov 2026 08:49:37 GMT");
    }
}
