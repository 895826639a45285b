//! Who may call now: calls at once, calls per second, calls per Beijing day.
//!
//! Pure but for its counters: the time comes with each call.
//!
//! Invariant: a call that is refused for its pace costs no quota; a call that is admitted always does.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

use super::gateways::{Gateway, Refusal};
use super::options::{Key, Limits, QuotaBlock, QuotaScope};
use crate::base::time::{BEIJING, beijing_day};

/// One key at one gateway.
pub(super) type Account = (Gateway, String);

/// What has been called.
#[derive(Debug, Default)]
pub(super) struct Meter {
    accounts: HashMap<Account, Used>,
}

/// One account's calls.
#[derive(Debug, Default)]
struct Used {
    /// Arrivals of the last second, admitted or not.
    arrivals: VecDeque<DateTime<Utc>>,
    /// Admitted ones of the last second.
    admitted: VecDeque<DateTime<Utc>>,
    in_flight: u32,
    /// By scope: `""`, a method, or a shop.
    quotas: HashMap<String, Quota>,
    most: Most,
}

/// What is left of one day's calls.
#[derive(Debug, Default)]
struct Quota {
    day: Option<NaiveDate>,
    today: u64,
    blocked_until: Option<DateTime<Utc>>,
}

/// Scopes that are counted apart; callers choose the methods, so there must be an end.
const SCOPES_MAX: usize = 10_000;

/// The bounds of one account's pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pace {
    per_second: Option<u32>,
    in_flight: Option<u32>,
}

impl Pace {
    /// A key's own pace counts only where the gateway has limits.
    pub(super) fn of(key: &Key, limits: Option<Limits>) -> Self {
        let Some(limits) = limits else { return Self::default() };
        let per_second = [limits.calls_per_second, key.calls_per_second].into_iter().flatten().min();
        Self { per_second, in_flight: limits.calls_in_flight }
    }
}

/// A call whose signature holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Applicant<'a> {
    pub(super) gateway: Gateway,
    pub(super) key: &'a Key,
    pub(super) limits: Option<Limits>,
    /// What its quota is counted by: `""`, a method, or a shop.
    pub(super) scope: &'a str,
    /// The machine's time, for the pace.
    pub(super) now: DateTime<Utc>,
    /// The gateway's own time, for the quota.
    pub(super) quota_now: DateTime<Utc>,
}

/// The most that was seen of one account.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Most {
    pub(super) calls: u64,
    /// Arrivals in any one-second window, both its ends included.
    pub(super) per_second: usize,
    /// Of those that were admitted.
    pub(super) admitted_per_second: usize,
    pub(super) in_flight: u32,
    /// Calls that arrived as one too many.
    pub(super) breaches: u64,
}

impl Meter {
    /// Counts an arrival; returns how many calls of the account are in flight, this one included.
    pub(super) fn arrive(&mut self, account: &Account, pace: Pace, now: DateTime<Utc>) -> u32 {
        let used = self.accounts.entry(account.clone()).or_default();
        forget(&mut used.arrivals, now - WINDOW);
        used.arrivals.push_back(now);
        used.in_flight += 1;
        used.most.calls += 1;
        used.most.per_second = used.most.per_second.max(used.arrivals.len());
        used.most.in_flight = used.most.in_flight.max(used.in_flight);
        let is_too_fast = pace.per_second.is_some_and(|most| used.arrivals.len() > most as usize);
        if is_too_fast || pace.in_flight.is_some_and(|most| used.in_flight > most) {
            used.most.breaches += 1;
        }
        used.in_flight
    }

    /// The call is over.
    pub(super) fn leave(&mut self, account: &Account) {
        if let Some(used) = self.accounts.get_mut(account) {
            used.in_flight = used.in_flight.saturating_sub(1);
        }
    }

    /// Admits a call that has arrived and whose signature holds.
    pub(super) fn admit(&mut self, call: Applicant<'_>) -> Result<(), Refusal> {
        let Applicant { gateway, key, limits, scope, now, quota_now } = call;
        let used = self.accounts.entry((gateway, key.app_key.clone())).or_default();
        let pace = Pace::of(key, limits);
        if pace.in_flight.is_some_and(|most| used.in_flight > most) {
            return Err(Refusal::Throttled);
        }
        forget(&mut used.admitted, now - WINDOW);
        if pace.per_second.is_some_and(|most| used.admitted_since(now - JUDGED_WINDOW) >= most as usize) {
            return Err(Refusal::Throttled);
        }
        let (block, counted) = limits
            .map_or((QuotaBlock::Midnight, QuotaScope::Account), |limits| (limits.quota_block, limits.quota_scope));
        let scope = if used.quotas.len() < SCOPES_MAX || used.quotas.contains_key(scope) { scope } else { "" };
        let charged = used.quotas.entry(scope.to_owned()).or_default().charge(key.calls_per_day, block, quota_now);
        charged.map_err(|seconds| Refusal::Quota { seconds, scope: counted })?;
        used.admitted.push_back(now);
        used.most.admitted_per_second = used.most.admitted_per_second.max(used.admitted.len());
        Ok(())
    }

    /// Forgets the most that was seen; quotas and calls in flight stay as they are.
    pub(super) fn forget_most(&mut self) {
        for used in self.accounts.values_mut() {
            used.arrivals.clear();
            used.most = Most { in_flight: used.in_flight, ..Most::default() };
        }
    }

    /// The most that was seen of each account.
    pub(super) fn most(&self) -> impl Iterator<Item = (&Account, Most)> {
        self.accounts.iter().map(|(account, used)| (account, used.most))
    }
}

/// What is counted: both ends of the window belong to it.
const WINDOW: TimeDelta = TimeDelta::seconds(1);
/// What is refused: calls that left evenly may arrive a little closer together.
const JUDGED_WINDOW: TimeDelta = TimeDelta::milliseconds(900);

impl Used {
    fn admitted_since(&self, since: DateTime<Utc>) -> usize {
        self.admitted.iter().rev().take_while(|&&at| at > since).count()
    }
}

impl Quota {
    /// Counts a call, or says for how many seconds there is none.
    fn charge(&mut self, calls_per_day: u64, block: QuotaBlock, now: DateTime<Utc>) -> Result<(), i64> {
        if let Some(until) = self.blocked_until {
            if now < until {
                return Err((until - now).num_seconds());
            }
            self.blocked_until = None;
            self.today = 0;
        }
        let today = beijing_day(now);
        if self.day != Some(today) {
            self.day = Some(today);
            self.today = 0;
        }
        if self.today >= calls_per_day {
            let until = match block {
                QuotaBlock::Midnight => midnight_after(today),
                QuotaBlock::Day => now + TimeDelta::hours(24),
            };
            self.blocked_until = Some(until);
            return Err((until - now).num_seconds());
        }
        self.today += 1;
        Ok(())
    }
}

/// Drops what came before `since`.
fn forget(times: &mut VecDeque<DateTime<Utc>>, since: DateTime<Utc>) {
    while times.front().is_some_and(|&at| at < since) {
        times.pop_front();
    }
}

fn midnight_after(day: NaiveDate) -> DateTime<Utc> {
    let next = (day + Days::new(1)).and_time(chrono::NaiveTime::MIN);
    next.and_local_timezone(BEIJING).single().map(|at| at.to_utc()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).expect("a time").to_utc()
    }

    fn limits(calls_per_second: Option<u32>, quota_block: QuotaBlock) -> Option<Limits> {
        Some(Limits { calls_per_second, calls_in_flight: Some(4), quota_block, quota_scope: QuotaScope::Account })
    }

    fn admit(
        meter: &mut Meter,
        key: &Key,
        limits: Option<Limits>,
        (gateway, now): (Gateway, DateTime<Utc>),
    ) -> Result<(), Refusal> {
        meter.admit(Applicant { gateway, key, limits, scope: "", now, quota_now: now })
    }

    #[test]
    fn the_eleventh_call_of_a_second_is_throttled_and_a_second_later_it_is_not() {
        let (mut meter, key, now) = (Meter::default(), Key::new("k", 1000), at("2026-11-20T00:00:00Z"));
        let limits = limits(Some(10), QuotaBlock::Midnight);
        for _ in 0..10 {
            assert_eq!(admit(&mut meter, &key, limits, (Gateway::ItemGet, now)), Ok(()));
        }
        assert_eq!(admit(&mut meter, &key, limits, (Gateway::ItemGet, now)), Err(Refusal::Throttled));
        assert_eq!(admit(&mut meter, &key, limits, (Gateway::ItemGet, now + TimeDelta::seconds(1))), Ok(()));
    }

    #[test]
    fn evenly_paced_calls_are_never_throttled() {
        let (mut meter, key, start) = (Meter::default(), Key::new("k", 1000), at("2026-11-20T00:00:00Z"));
        for call in 0..100 {
            // Every call arrives up to 80 ms early or late.
            let jitter = if call % 2 == 0 { 40 } else { -40 };
            let now = start + TimeDelta::milliseconds(call * 100 + jitter);
            assert_eq!(
                admit(&mut meter, &key, limits(Some(10), QuotaBlock::Midnight), (Gateway::ShopSearch, now)),
                Ok(())
            );
        }
    }

    #[test]
    fn a_fifth_call_at_once_is_throttled_until_one_leaves() {
        let (mut meter, key, now) = (Meter::default(), Key::new("k", 1000), at("2026-11-20T00:00:00Z"));
        let account = (Gateway::Portals, "k".to_owned());
        for _ in 0..5 {
            meter.arrive(&account, Pace::of(&key, limits(None, QuotaBlock::Midnight)), now);
        }
        let limits = limits(None, QuotaBlock::Midnight);
        assert_eq!(admit(&mut meter, &key, limits, (Gateway::Portals, now)), Err(Refusal::Throttled));
        meter.leave(&account);
        assert_eq!(admit(&mut meter, &key, limits, (Gateway::Portals, now)), Ok(()));
        assert_eq!(
            meter.most().next().map(|(_, most)| most),
            Some(Most { calls: 5, per_second: 5, admitted_per_second: 1, in_flight: 5, breaches: 1 })
        );
    }

    #[test]
    fn a_window_of_one_second_has_both_its_ends_and_what_is_too_much_in_it_is_a_breach() {
        let (mut meter, key, start) = (Meter::default(), Key::new("k", 1000), at("2026-11-20T00:00:00Z"));
        let account = (Gateway::ItemGet, "k".to_owned());
        let pace = Pace::of(&key, limits(Some(3), QuotaBlock::Midnight));
        for millis in [0, 500, 999, 1000, 1501, 2502, 3503] {
            meter.arrive(&account, pace, start + TimeDelta::milliseconds(millis));
            meter.leave(&account);
        }
        let most = |meter: &Meter| meter.most().next().map(|(_, most)| most);
        let seen = Most { calls: 7, per_second: 4, admitted_per_second: 0, in_flight: 1, breaches: 1 };
        assert_eq!(most(&meter), Some(seen));
        meter.forget_most();
        assert_eq!(most(&meter), Some(Most::default()));
    }

    #[test]
    fn a_quota_by_scope_ends_for_its_scope_only() {
        let (mut meter, key, now) = (Meter::default(), Key::new("k", 2), at("2026-11-20T00:00:00Z"));
        let limits =
            limits(None, QuotaBlock::Midnight).map(|limits| Limits { quota_scope: QuotaScope::Shop, ..limits });
        let mut admit = |scope| {
            let gateway = Gateway::Portals;
            meter.admit(Applicant { gateway, key: &key, limits, scope, now, quota_now: now })
        };
        assert_eq!((admit("a"), admit("b"), admit("a")), (Ok(()), Ok(()), Ok(())));
        assert!(matches!(admit("a"), Err(Refusal::Quota { scope: QuotaScope::Shop, .. })));
        assert_eq!(admit("b"), Ok(()));
    }

    #[test]
    fn a_quota_ends_at_beijing_midnight_or_a_day_after_the_breach() {
        let key = Key::new("k", 2);
        let evening = at("2026-11-20T15:00:00Z"); // 23:00 in Beijing
        for (block, seconds) in [(QuotaBlock::Midnight, 3600), (QuotaBlock::Day, 86_400)] {
            let mut meter = Meter::default();
            let mut admit = |now| admit(&mut meter, &key, limits(None, block), (Gateway::ItemGet, now));
            assert_eq!((admit(evening), admit(evening)), (Ok(()), Ok(())));
            assert_eq!(admit(evening), Err(Refusal::Quota { seconds, scope: QuotaScope::Account }));
            assert!(admit(evening + TimeDelta::seconds(seconds - 1)).is_err());
            assert_eq!(admit(evening + TimeDelta::seconds(seconds)), Ok(()));
        }
    }
}
