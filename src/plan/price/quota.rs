//! Which account makes how many calls, on which day they are allowed, and how long they take.
//!
//! Takes plain numbers: calls needed by scope, calls of a day and those counted already; gives days and shares.
//!
//! Invariant: pure. No day is planned with more calls than its accounts may make.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, Utc};

use crate::base::time::beijing_day;
use crate::config::gateway::{Limits, QuotaScope};
use crate::config::pipeline::{Account, AccountChoice};
use crate::state::{AccountHealth, Counted, RestKind};

/// No day further away is looked at: calls that do not fit into a year never fit.
pub const DAYS_MAX: u64 = 366;
/// How long an answer is assumed to take.
const ANSWER_SECONDS: f64 = 0.3;
/// The share by which calls leave further apart than the rate alone asks for.
const PACE_MARGIN: f64 = 0.02;

/// What an account may still do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AccountQuota {
    /// Its name in the pipeline.
    pub name: String,
    /// Calls of a day and scope; `None`: no limit is known.
    pub calls_per_day: Option<u64>,
    /// Calls per second, where it may make fewer than the gateway's definition says.
    pub calls_per_second: Option<f64>,
    /// Calls counted today, by scope, named as [`crate::state::Ask::scope`] names it.
    pub used: HashMap<String, u64>,
    /// Until when it rests, by scope; `""` holds for all.
    pub rests: Vec<(String, DateTime<Utc>)>,
}

impl AccountQuota {
    /// An account as the state store knows it: its counts of today, its rests. That the gateway has refused its credentials
    /// is no matter of calls: they may be others by now, and if not, whoever asks hears of it.
    #[must_use]
    pub fn new(account: &Account, counts: &[Counted], health: &[AccountHealth]) -> Self {
        let own = counts.iter().filter(|counted| counted.account == account.key);
        let rests = health.iter().filter(|health| health.account == account.key).flat_map(|health| &health.rests);
        Self {
            name: account.name.clone(),
            calls_per_day: account.calls_per_day,
            calls_per_second: account.calls_per_second,
            used: own.map(|counted| (counted.scope.clone(), counted.calls)).collect(),
            rests: rests
                .filter(|(_, rest)| rest.kind == RestKind::Quota)
                .map(|(scope, rest)| (scope.clone(), rest.until))
                .collect(),
        }
    }

    /// Calls left on a day in one scope; `None`: no limit is known. An account that rests beyond a day has none there.
    #[must_use]
    pub fn left(&self, scope: &str, today: NaiveDate, day: NaiveDate) -> Option<u64> {
        let binds = |rest: &str| rest.is_empty() || rest == scope;
        if self.rests.iter().any(|(rest, until)| binds(rest) && beijing_day(*until) > day) {
            return Some(0);
        }
        let used = if day == today { self.used.get(scope).copied().unwrap_or(0) } else { 0 };
        self.calls_per_day.map(|calls| calls.saturating_sub(used))
    }
}

/// The scope that a call counts in.
#[must_use]
pub fn scope(counts: QuotaScope, endpoint: &str, shop: Option<&str>) -> String {
    match counts {
        QuotaScope::Account => String::new(),
        QuotaScope::Endpoint => format!("endpoint:{endpoint}"),
        QuotaScope::Shop => shop.map_or_else(String::new, |shop| format!("shop:{shop}")),
    }
}

/// Calls by scope.
pub type Needs = BTreeMap<String, u64>;

/// On which one day calls can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fits {
    /// Today.
    Today,
    /// Not today, but on this day.
    On(NaiveDate),
    /// They are more than any day allows.
    NoDay,
}

/// The accounts of one gateway.
#[derive(Debug, Clone, Copy)]
pub struct Purse<'a> {
    /// In the order of the pipeline.
    pub accounts: &'a [AccountQuota],
    /// Which asks next.
    pub choice: AccountChoice,
    /// The Beijing day of the first call.
    pub today: NaiveDate,
}

impl Purse<'_> {
    /// Calls left on a day in one scope of all accounts together; `None`: no limit is known.
    #[must_use]
    pub fn left(&self, scope: &str, day: NaiveDate) -> Option<u64> {
        let left = |account: &AccountQuota| account.left(scope, self.today, day);
        self.accounts.iter().map(left).try_fold(0_u64, |sum, left| left.map(|left| sum.saturating_add(left)))
    }

    fn day(&self, days: u64) -> NaiveDate {
        self.today.checked_add_days(Days::new(days)).unwrap_or(NaiveDate::MAX)
    }

    /// The first day that alone allows all of these calls.
    #[must_use]
    pub fn fits(&self, needs: &Needs) -> Fits {
        let allows = |day| needs.iter().all(|(scope, calls)| self.left(scope, day).is_none_or(|left| *calls <= left));
        match (0..DAYS_MAX).map(|days| self.day(days)).find(|day| allows(*day)) {
            Some(day) if day == self.today => Fits::Today,
            Some(day) => Fits::On(day),
            None => Fits::NoDay,
        }
    }

    /// The day on which the last of so many calls is made when each day's calls are used up; `None`: not in a year.
    #[must_use]
    pub fn done_on(&self, scope: &str, calls: u64) -> Option<NaiveDate> {
        let mut open = calls;
        for day in (0..DAYS_MAX).map(|days| self.day(days)) {
            let left = self.left(scope, day).unwrap_or(u64::MAX);
            if open <= left {
                return Some(day);
            }
            open -= left;
        }
        None
    }

    /// How today's calls fall to the accounts, in their order; what no account may make today falls to none.
    ///
    /// A rotation is reckoned by the calls each has left.
    #[must_use]
    pub fn shares(&self, needs: &Needs) -> Vec<u64> {
        let mut shares = vec![0_u64; self.accounts.len()];
        for (scope, calls) in needs {
            let left = |account: &AccountQuota| account.left(scope, self.today, self.today).unwrap_or(*calls);
            let left: Vec<u64> = self.accounts.iter().map(left).collect();
            let mut taken = match self.choice {
                AccountChoice::Drain => vec![0; left.len()],
                AccountChoice::Rotate => by_weight(*calls, &left),
            };
            let mut open = calls - taken.iter().sum::<u64>();
            for (taken, left) in taken.iter_mut().zip(&left) {
                let more = open.min(left - *taken);
                *taken += more;
                open -= more;
            }
            for (share, taken) in shares.iter_mut().zip(taken) {
                *share += taken;
            }
        }
        shares
    }

    /// How long so many calls take at the pace that limits allow, one account after the other or all in turn.
    #[must_use]
    pub fn time(&self, limits: &Limits, shares: &[u64], calls: u64) -> Duration {
        let Some(first) = self.accounts.first() else { return Duration::ZERO };
        let each = self.accounts.iter().zip(shares).map(|(account, share)| spacing(limits, account) * count(*share));
        let shared: f64 = match self.choice {
            AccountChoice::Drain => each.sum(),
            AccountChoice::Rotate => each.fold(0.0, f64::max),
        };
        let later = calls.saturating_sub(shares.iter().sum());
        Duration::try_from_secs_f64(shared + spacing(limits, first) * count(later)).unwrap_or(Duration::MAX)
    }
}

/// So many calls, dealt in proportion to what each may make, rounded down.
fn by_weight(calls: u64, left: &[u64]) -> Vec<u64> {
    let all: u128 = left.iter().map(|left| u128::from(*left)).sum();
    let share =
        |left: u64| u128::from(calls.min(u64::try_from(all).unwrap_or(u64::MAX))) * u128::from(left) / all.max(1);
    left.iter().map(|left| u64::try_from(share(*left)).unwrap_or(u64::MAX).min(*left)).collect()
}

/// Seconds between two calls of an account.
fn spacing(limits: &Limits, account: &AccountQuota) -> f64 {
    let stated = [limits.calls_per_second, account.calls_per_second].into_iter().flatten().filter(|rate| *rate > 0.0);
    let rate = stated.fold(f64::INFINITY, f64::min);
    // A window of one second holds whole calls: 2.5 per second are 2.
    let rate = if rate >= 1.0 { rate.floor() } else { rate };
    let in_flight = f64::from(limits.calls_in_flight.max(1));
    ((1.0 + PACE_MARGIN) / rate).max((ANSWER_SECONDS + limits.pause.success) / in_flight)
}

/// Times are estimates: no number of calls is so great that its rounding matters.
#[expect(clippy::cast_precision_loss, reason = "as said")]
fn count(calls: u64) -> f64 {
    calls as f64
}

#[cfg(test)]
mod tests;
