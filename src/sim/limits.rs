//! Who may call now: calls at once, calls per second, calls per Beijing day.
//!
//! Pure but for its counters: the time comes with each call.
//!
//! Invariant: a call that is refused for its pace costs no quota; a call that is admitted always does.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

use super::gateways::{Gateway, Refusal};
use super::options::{Key, Limits, QuotaBlock};
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
    day: Option<NaiveDate>,
    today: u64,
    blocked_until: Option<DateTime<Utc>>,
    most: Most,
}

/// The most that was seen of one account.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Most {
    pub(super) calls: u64,
    pub(super) per_second: usize,
    pub(super) in_flight: u32,
}

impl Meter {
    /// Counts an arrival; returns how many calls of the account are in flight, this one included.
    pub(super) fn arrive(&mut self, account: &Account, now: DateTime<Utc>) -> u32 {
        let used = self.accounts.entry(account.clone()).or_default();
        forget(&mut used.arrivals, now - TimeDelta::seconds(1));
        used.arrivals.push_back(now);
        used.in_flight += 1;
        used.most.calls += 1;
        used.most.per_second = used.most.per_second.max(used.arrivals.len());
        used.most.in_flight = used.most.in_flight.max(used.in_flight);
        used.in_flight
    }

    /// The call is over.
    pub(super) fn leave(&mut self, account: &Account) {
        if let Some(used) = self.accounts.get_mut(account) {
            used.in_flight = used.in_flight.saturating_sub(1);
        }
    }

    /// Admits a call that has arrived and whose signature holds.
    pub(super) fn admit(
        &mut self,
        key: &Key,
        limits: Option<Limits>,
        call: (Gateway, DateTime<Utc>),
    ) -> Result<(), Refusal> {
        let (gateway, now) = call;
        let used = self.accounts.entry((gateway, key.app_key.clone())).or_default();
        if limits.and_then(|limits| limits.calls_in_flight).is_some_and(|most| used.in_flight > most) {
            return Err(Refusal::Throttled);
        }
        let pace =
            [limits.and_then(|limits| limits.calls_per_second), key.calls_per_second].into_iter().flatten().min();
        if limits.is_some() && pace.is_some_and(|pace| used.is_too_fast(pace, now)) {
            return Err(Refusal::Throttled);
        }
        used.charge(key.calls_per_day, limits.map_or(QuotaBlock::Midnight, |limits| limits.quota_block), now)?;
        used.admitted.push_back(now);
        Ok(())
    }

    /// The most that was seen of each account.
    pub(super) fn most(&self) -> impl Iterator<Item = (&Account, Most)> {
        self.accounts.iter().map(|(account, used)| (account, used.most))
    }
}

impl Used {
    fn is_too_fast(&mut self, calls_per_second: u32, now: DateTime<Utc>) -> bool {
        // What left evenly may arrive a little closer together.
        const WINDOW: TimeDelta = TimeDelta::milliseconds(900);
        forget(&mut self.admitted, now - WINDOW);
        self.admitted.len() >= calls_per_second as usize
    }

    fn charge(&mut self, calls_per_day: u64, block: QuotaBlock, now: DateTime<Utc>) -> Result<(), Refusal> {
        if let Some(until) = self.blocked_until {
            if now < until {
                return Err(Refusal::Quota { seconds: (until - now).num_seconds() });
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
            return Err(Refusal::Quota { seconds: (until - now).num_seconds() });
        }
        self.today += 1;
        Ok(())
    }
}

fn forget(times: &mut VecDeque<DateTime<Utc>>, until: DateTime<Utc>) {
    while times.front().is_some_and(|&at| at <= until) {
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
        Some(Limits { calls_per_second, calls_in_flight: Some(4), quota_block })
    }

    #[test]
    fn the_eleventh_call_of_a_second_is_throttled_and_a_second_later_it_is_not() {
        let (mut meter, key, now) = (Meter::default(), Key::new("k", 1000), at("2026-11-20T00:00:00Z"));
        let limits = limits(Some(10), QuotaBlock::Midnight);
        for _ in 0..10 {
            assert_eq!(meter.admit(&key, limits, (Gateway::ItemGet, now)), Ok(()));
        }
        assert_eq!(meter.admit(&key, limits, (Gateway::ItemGet, now)), Err(Refusal::Throttled));
        assert_eq!(meter.admit(&key, limits, (Gateway::ItemGet, now + TimeDelta::seconds(1))), Ok(()));
    }

    #[test]
    fn evenly_paced_calls_are_never_throttled() {
        let (mut meter, key, start) = (Meter::default(), Key::new("k", 1000), at("2026-11-20T00:00:00Z"));
        for call in 0..100 {
            // Every call arrives up to 80 ms early or late.
            let jitter = if call % 2 == 0 { 40 } else { -40 };
            let now = start + TimeDelta::milliseconds(call * 100 + jitter);
            assert_eq!(meter.admit(&key, limits(Some(10), QuotaBlock::Midnight), (Gateway::ShopSearch, now)), Ok(()));
        }
    }

    #[test]
    fn a_fifth_call_at_once_is_throttled_until_one_leaves() {
        let (mut meter, key, now) = (Meter::default(), Key::new("k", 1000), at("2026-11-20T00:00:00Z"));
        let account = (Gateway::Portals, "k".to_owned());
        for _ in 0..5 {
            meter.arrive(&account, now);
        }
        let limits = limits(None, QuotaBlock::Midnight);
        assert_eq!(meter.admit(&key, limits, (Gateway::Portals, now)), Err(Refusal::Throttled));
        meter.leave(&account);
        assert_eq!(meter.admit(&key, limits, (Gateway::Portals, now)), Ok(()));
        assert_eq!(meter.most().next().map(|(_, most)| most), Some(Most { calls: 5, per_second: 5, in_flight: 5 }));
    }

    #[test]
    fn a_quota_ends_at_beijing_midnight_or_a_day_after_the_breach() {
        let key = Key::new("k", 2);
        let evening = at("2026-11-20T15:00:00Z"); // 23:00 in Beijing
        for (block, seconds) in [(QuotaBlock::Midnight, 3600), (QuotaBlock::Day, 86_400)] {
            let mut meter = Meter::default();
            let mut admit = |now| meter.admit(&key, limits(None, block), (Gateway::ItemGet, now));
            assert_eq!((admit(evening), admit(evening)), (Ok(()), Ok(())));
            assert_eq!(admit(evening), Err(Refusal::Quota { seconds }));
            assert!(admit(evening + TimeDelta::seconds(seconds - 1)).is_err());
            assert_eq!(admit(evening + TimeDelta::seconds(seconds)), Ok(()));
        }
    }
}
