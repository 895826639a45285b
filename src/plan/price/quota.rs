//! Which account makes how many calls, on which day they are allowed, and how long they take.
//!
//! Takes plain numbers: calls needed, in the order of asking, calls of a day and those counted already; gives days and
//! shares. Both gateways of a pipeline are reckoned together: what is counted goes by the key, and one key may be shown to
//! both. Then each gateway's own limit holds for the calls of both.
//!
//! Invariant: pure. No day is planned with more calls than its accounts may make.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, Utc};

use crate::base::time::beijing_day;
use crate::config::Gateway;
use crate::config::gateway::{Limits, QuotaScope};
use crate::config::pipeline::{Account, AccountChoice};
use crate::state::{Counted, RestKind, Resting, covers};

use super::Source;

/// No day further away is looked at: calls that do not fit into a year never fit.
pub const DAYS_MAX: u64 = 366;
/// How long an answer is assumed to take.
const ANSWER_SECONDS: f64 = 0.3;
/// The share by which calls leave further apart than the rate alone asks for.
const PACE_MARGIN: f64 = 0.02;
/// A rotation of many calls is reckoned in so many steps.
const ROTATION_STEPS: u64 = 256;

/// What an account may still do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AccountQuota {
    /// Its name in the pipeline.
    pub name: String,
    /// What its calls are counted by: those of both gateways, where both are shown one key.
    pub key: String,
    /// Calls of a day and scope; `None`: no limit is known.
    pub calls_per_day: Option<u64>,
    /// Calls per second, where it may make fewer than the gateway's definition says.
    pub calls_per_second: Option<f64>,
    /// Calls counted today, by scope, named as [`crate::state::Ask::scope`] names it.
    pub used: HashMap<String, u64>,
    /// The rests that keep it from calling now.
    pub rests: Vec<Resting>,
}

impl AccountQuota {
    /// An account as the state store knows it: its counts of today, and those of its rests that concern it.
    #[must_use]
    pub fn new(account: &Account, counts: &[Counted], rests: Vec<Resting>) -> Self {
        let own = counts.iter().filter(|counted| counted.account == account.key);
        Self {
            name: account.name.clone(),
            key: account.key.clone(),
            calls_per_day: account.calls_per_day,
            calls_per_second: account.calls_per_second,
            used: own.map(|counted| (counted.scope.clone(), counted.calls)).collect(),
            rests,
        }
    }

    /// Calls left in one scope, to one endpoint, when so many more are made; `None`: no limit is known.
    fn left(&self, call: Call<'_>, when: When, made: u64) -> Option<u64> {
        let binds = |resting: &Resting| covers(&resting.scope, call.scope, call.endpoint) && when.is_before(resting);
        if self.rests.iter().any(binds) {
            return Some(0);
        }
        let used = if when.day == when.today { self.used.get(call.scope).copied().unwrap_or(0) } else { 0 };
        self.calls_per_day.map(|calls| calls.saturating_sub(used.saturating_add(made)))
    }

    /// The share of its day's calls that is used when so many more are made, in millionths.
    fn share_used(&self, call: Call<'_>, when: When, made: u64) -> u64 {
        let used = if when.day == when.today { self.used.get(call.scope).copied().unwrap_or(0) } else { 0 };
        let used = used.saturating_add(made);
        self.calls_per_day.map_or(used, |limit| used.saturating_mul(1_000_000) / limit.max(1))
    }
}

/// What a call is counted by, and where it goes.
#[derive(Debug, Clone, Copy)]
struct Call<'a> {
    scope: &'a str,
    endpoint: &'a str,
}

/// The scope that a call counts in: of endpoints that are one method to the gateway the calls are counted together.
#[must_use]
pub fn scope(gateway: &Gateway, endpoint: &str, shop: Option<&str>) -> String {
    match gateway.limits.quota_scope {
        QuotaScope::Account => String::new(),
        QuotaScope::Endpoint => format!("endpoint:{}", gateway.counted_as(endpoint)),
        QuotaScope::Shop => shop.map_or_else(String::new, |shop| format!("shop:{shop}")),
    }
}

/// Calls that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portion {
    /// Whose accounts make them.
    pub source: Source,
    /// The endpoint that they go to.
    pub endpoint: &'static str,
    /// What they are counted by.
    pub scope: String,
    /// How many.
    pub calls: u64,
}

impl Portion {
    fn call(&self) -> Call<'_> {
        Call { scope: &self.scope, endpoint: self.endpoint }
    }
}

/// Calls that are counted together and are more than a day allows.
#[derive(Debug, Clone, Copy)]
pub struct Over<'n> {
    /// The place of the first subject that needs some of them.
    pub subject: usize,
    /// Its calls.
    pub portion: &'n Portion,
    /// All of them.
    pub calls: u64,
    /// What a day allows.
    pub calls_per_day: u64,
}

/// The calls of a run in the order of asking: by shop, and last the single offers.
pub type Needs = Vec<Vec<Portion>>;

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

/// When calls are made.
#[derive(Debug, Clone, Copy)]
struct When {
    today: NaiveDate,
    day: NaiveDate,
    /// Not before this moment of the day; `None`: whenever on that day it is possible.
    from: Option<DateTime<Utc>>,
}

impl When {
    /// Whether a rest lasts too long for it. What is refused is no matter of days: the user must act, and a run says so.
    fn is_before(self, resting: &Resting) -> bool {
        match self.from {
            Some(from) => resting.rest.until > from,
            None => resting.rest.kind == RestKind::Quota && beijing_day(resting.rest.until) > self.day,
        }
    }
}

/// The accounts of both gateways.
#[derive(Debug, Clone, Copy)]
pub struct Purse<'a> {
    /// Those of the pipeline's gateway, in the order of the pipeline.
    pub listing: &'a [AccountQuota],
    /// Those of the gateway that gives details, where that is another one.
    pub details: &'a [AccountQuota],
    /// Which asks next.
    pub choice: AccountChoice,
    /// The Beijing day of the first call.
    pub today: NaiveDate,
}

impl<'a> Purse<'a> {
    /// The accounts of one gateway.
    #[must_use]
    pub fn of(&self, source: Source) -> &'a [AccountQuota] {
        match source {
            Source::Listing => self.listing,
            Source::Details => self.details,
        }
    }

    /// Calls that an account has left today for a portion; `None`: no limit is known.
    #[must_use]
    pub fn left(&self, account: &AccountQuota, portion: &Portion) -> Option<u64> {
        account.left(portion.call(), self.on(self.today), 0)
    }

    /// … whatever it may be asked: the least of what it has left of what it was asked for today.
    #[must_use]
    pub fn left_of_all(&self, account: &AccountQuota) -> Option<u64> {
        let scopes = account.used.keys().map(String::as_str).chain([""]);
        scopes.filter_map(|scope| account.left(Call { scope, endpoint: "" }, self.on(self.today), 0)).min()
    }

    /// The first calls that are counted together and are more than a day allows all accounts that may make them.
    #[must_use]
    pub fn too_many<'n>(&self, needs: &'n Needs) -> Option<Over<'n>> {
        let mut sums: HashMap<(Source, &str), u64> = HashMap::new();
        for portion in needs.iter().flatten() {
            *sums.entry((portion.source, &portion.scope)).or_default() += portion.calls;
        }
        let over = |(subject, portion): (usize, &'n Portion)| {
            let limits = self.of(portion.source).iter().map(|account| (&account.key, account.calls_per_day));
            let limits: HashMap<_, _> = limits.collect();
            let calls_per_day = limits.into_values().sum::<Option<u64>>()?;
            let calls = sums.get(&(portion.source, &*portion.scope)).copied()?;
            (calls > calls_per_day).then_some(Over { subject, portion, calls, calls_per_day })
        };
        let all = needs.iter().enumerate().flat_map(|(place, of)| of.iter().map(move |portion| (place, portion)));
        all.filter(|(_, portion)| portion.calls > 0).find_map(over)
    }

    /// The first day that alone allows all of these calls.
    #[must_use]
    pub fn fits(&self, needs: &Needs) -> Fits {
        let last = self.days_differ_until();
        match self.days().take_while(|day| *day <= last).find(|day| self.allows(needs, self.on(*day))) {
            Some(day) if day == self.today => Fits::Today,
            Some(day) => Fits::On(day),
            None => Fits::NoDay,
        }
    }

    /// The moment of today from which all of these calls are allowed, where that is not now: a rest ends then.
    #[must_use]
    pub fn not_before(&self, needs: &Needs) -> Option<DateTime<Utc>> {
        let from = |from| When { from: Some(from), ..self.on(self.today) };
        if self.allows(needs, from(DateTime::<Utc>::MIN_UTC)) || !self.allows(needs, self.on(self.today)) {
            return None;
        }
        let ends = self.rests().map(|resting| resting.rest.until);
        let mut ends: Vec<DateTime<Utc>> = ends.filter(|end| beijing_day(*end) == self.today).collect();
        ends.sort_unstable();
        ends.into_iter().find(|end| self.allows(needs, from(*end)))
    }

    /// The days on which the last calls of each subject are made when each day's calls are used up and subjects that stand
    /// before go first; `None`: not in a year. What a subject is asked last waits for what it is asked first.
    #[must_use]
    pub fn done_on(&self, needs: &Needs) -> Vec<Option<NaiveDate>> {
        let mut done = vec![None; needs.len()];
        let mut open: Vec<Vec<u64>> = needs.iter().map(|subject| calls_of(subject)).collect();
        let last = self.days_differ_until();
        for day in self.days() {
            let mut till = Till::new(self, self.on(day));
            let made = till.work_off(needs, &mut open);
            for (done, open) in done.iter_mut().zip(&open) {
                if done.is_none() && open.iter().all(|calls| *calls == 0) {
                    *done = Some(day);
                }
            }
            if done.iter().all(Option::is_some) || (made == 0 && day > last) {
                break;
            }
        }
        done
    }

    /// How today's calls fall to the accounts of each gateway, in their order; what no account may make today falls to none.
    #[must_use]
    pub fn shares(&self, needs: &Needs) -> Shares {
        let mut till = Till::new(self, self.on(self.today));
        till.work_off(needs, &mut needs.iter().map(|subject| calls_of(subject)).collect::<Vec<_>>());
        till.shares
    }

    /// How long so many calls to one gateway take at the pace that limits allow, one account after the other or all in turn.
    #[must_use]
    pub fn time(&self, source: Source, limits: &Limits, shares: &Shares, calls: u64) -> Duration {
        let (accounts, shares) = (self.of(source), shares.of(source));
        let Some(first) = accounts.first() else { return Duration::ZERO };
        let each = accounts.iter().zip(shares).map(|(account, share)| spacing(limits, account) * count(*share));
        let shared: f64 = match self.choice {
            AccountChoice::Drain => each.sum(),
            AccountChoice::Rotate => each.fold(0.0, f64::max),
        };
        let later = calls.saturating_sub(shares.iter().sum());
        Duration::try_from_secs_f64(shared + spacing(limits, first) * count(later)).unwrap_or(Duration::MAX)
    }

    fn on(&self, day: NaiveDate) -> When {
        When { today: self.today, day, from: None }
    }

    fn days(&self) -> impl Iterator<Item = NaiveDate> + use<> {
        let today = self.today;
        (0..DAYS_MAX).map(move |days| today.checked_add_days(Days::new(days)).unwrap_or(NaiveDate::MAX))
    }

    fn rests(&self) -> impl Iterator<Item = &'a Resting> {
        self.listing.iter().chain(self.details).flat_map(|account| &account.rests)
    }

    /// Days after this one all allow the same.
    fn days_differ_until(&self) -> NaiveDate {
        let tomorrow = self.today.checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX);
        self.rests().map(|resting| beijing_day(resting.rest.until)).fold(tomorrow, NaiveDate::max)
    }

    fn allows(&self, needs: &Needs, when: When) -> bool {
        let mut till = Till::new(self, when);
        needs.iter().flatten().all(|portion| till.take(portion, portion.calls) == portion.calls)
    }
}

fn calls_of(subject: &[Portion]) -> Vec<u64> {
    subject.iter().map(|portion| portion.calls).collect()
}

/// How many calls fall to each account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shares {
    listing: Vec<u64>,
    details: Vec<u64>,
}

impl Shares {
    /// Those of one gateway's accounts, in their order.
    #[must_use]
    pub fn of(&self, source: Source) -> &[u64] {
        match source {
            Source::Listing => &self.listing,
            Source::Details => &self.details,
        }
    }
}

/// One day's calls as they are made.
struct Till<'a> {
    purse: &'a Purse<'a>,
    when: When,
    /// By key and scope.
    made: HashMap<(&'a str, &'a str), u64>,
    shares: Shares,
}

impl<'a> Till<'a> {
    fn new(purse: &'a Purse<'a>, when: When) -> Self {
        let shares = Shares { listing: vec![0; purse.listing.len()], details: vec![0; purse.details.len()] };
        Self { purse, when, made: HashMap::new(), shares }
    }

    /// Makes what the day allows of the calls that are open; how many that is.
    fn work_off(&mut self, needs: &'a Needs, open: &mut [Vec<u64>]) -> u64 {
        let mut sum: u64 = 0;
        for (subject, open) in needs.iter().zip(open) {
            for (portion, open) in subject.iter().zip(open) {
                let made = self.take(portion, *open);
                sum = sum.saturating_add(made);
                *open -= made;
                if *open > 0 {
                    break;
                }
            }
        }
        sum
    }

    /// Makes calls of one portion, as many as the day still allows; how many that is.
    fn take(&mut self, portion: &'a Portion, calls: u64) -> u64 {
        let step = match self.purse.choice {
            AccountChoice::Drain => u64::MAX,
            AccountChoice::Rotate => (calls / ROTATION_STEPS).max(1),
        };
        let mut open = calls;
        while open > 0 {
            let Some((place, left)) = self.next(portion) else { break };
            let account = &self.purse.of(portion.source)[place];
            let taken = open.min(left).min(step);
            *self.made.entry((&*account.key, &*portion.scope)).or_default() += taken;
            match portion.source {
                Source::Listing => self.shares.listing[place] += taken,
                Source::Details => self.shares.details[place] += taken,
            }
            open -= taken;
        }
        calls - open
    }

    /// The account that makes the next call, and how many it may make.
    fn next(&self, portion: &'a Portion) -> Option<(usize, u64)> {
        let made = |account: &AccountQuota| self.made.get(&(&*account.key, &*portion.scope)).copied().unwrap_or(0);
        let left = |account: &AccountQuota| account.left(portion.call(), self.when, made(account)).unwrap_or(u64::MAX);
        let accounts = self.purse.of(portion.source).iter().enumerate();
        let mut open = accounts.map(|(place, account)| (place, account, left(account))).filter(|(.., left)| *left > 0);
        let next = match self.purse.choice {
            AccountChoice::Drain => open.next(),
            AccountChoice::Rotate => {
                open.min_by_key(|(_, account, _)| account.share_used(portion.call(), self.when, made(account)))
            }
        };
        next.map(|(place, _, left)| (place, left))
    }
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
