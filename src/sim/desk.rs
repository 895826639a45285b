//! Where calls are judged: verb, key, signature, time, token, limits, faults, then the answer.
//!
//! Synchronous, without HTTP: a [`Call`] goes in, a [`Reply`] comes out.
//!
//! Invariant: every call that arrives is journalled once, also one whose client went away.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

use super::answer::{Answer, Outcome};
use super::faults::{Plan, spoil, too_many};
use super::gate::Gate;
use super::gateways::{Call, Context, Gateway, OddLists, Refusal, SlowListing, aop};
use super::journal::{AccountStats, Entry, Journal, Stats};
use super::limits::{Account, Applicant, Meter, Pace};
use super::options::{Faults, Key, Limits, Options, QuotaScope};
use super::switches::Switches;
use super::truth::{WorldTruth, of_world};
use super::verify::{Scheme, Signed};
use super::world::{Blueprint, Day};
use crate::base::time::{BEIJING, beijing_day};

/// Longer requests are cut in the journal.
const REQUEST_BYTES_MAX: usize = 500;

/// The state of one simulator.
#[derive(Debug)]
pub(super) struct Desk {
    options: Options,
    day: RwLock<Arc<Day>>,
    switches: Mutex<Switches>,
    meter: Mutex<Meter>,
    plan: Mutex<Plan>,
    journal: Mutex<Journal>,
    gate: Gate,
}

/// What to send, and when.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) answer: Answer,
    pub(super) delay: Duration,
}

/// One call that has arrived and not yet left; leaving journals it.
#[derive(Debug)]
pub(super) struct Visit<'a> {
    desk: &'a Desk,
    account: Account,
    entry: Entry,
}

impl Visit<'_> {
    /// The call is answered like this.
    pub(super) fn answered(&mut self, answer: &Answer) {
        self.entry.outcome = answer.outcome;
        self.entry.status = answer.status;
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        lock(&self.desk.meter).leave(&self.account);
        lock(&self.desk.journal).record(self.entry.clone());
    }
}

impl Desk {
    pub(super) fn new(options: Options) -> Self {
        let date = options.day.unwrap_or_else(|| beijing_day(options.clock.now()));
        Self {
            day: RwLock::new(Arc::new(build(&options, date))),
            switches: Mutex::new(Switches::new(&options)),
            meter: Mutex::default(),
            plan: Mutex::new(Plan::new(&options)),
            journal: Mutex::new(Journal::new(options.journal_max)),
            gate: Gate::default(),
            options,
        }
    }

    /// The world as it stands.
    pub(super) fn day(&self) -> Arc<Day> {
        self.day.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Moves the world to another day. Calls in flight finish in the old one.
    pub(super) fn set_day(&self, date: NaiveDate) {
        let day = Arc::new(build(&self.options, date));
        *self.day.write().unwrap_or_else(PoisonError::into_inner) = day;
    }

    /// The gateways' own clock.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.options.clock.now() + lock(&self.switches).clock_offset()
    }

    /// Counts calls, and may hold their answers.
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// What can be changed while it runs.
    pub(super) fn switches(&self) -> MutexGuard<'_, Switches> {
        lock(&self.switches)
    }

    pub(super) fn world(&self, gateway: Gateway) -> WorldTruth {
        of_world(&self.day(), gateway.family())
    }

    pub(super) fn has_key(&self, app_key: &str) -> bool {
        self.options.keys.iter().any(|key| key.app_key == app_key)
    }

    /// The truth about any day.
    pub(super) fn world_on(&self, gateway: Gateway, date: NaiveDate) -> WorldTruth {
        let today = self.day();
        if today.date == date {
            return of_world(&today, gateway.family());
        }
        of_world(&build(&self.options, date), gateway.family())
    }

    /// Forgets the journal, its sums, and the most that was seen of each account; quotas go on.
    pub(super) fn reset(&self) {
        lock(&self.journal).reset();
        lock(&self.meter).forget_most();
        lock(&self.plan).start_anew();
    }

    pub(super) fn journal(&self, after: u64, limit: usize) -> Vec<Entry> {
        lock(&self.journal).after(after, limit)
    }

    pub(super) fn stats(&self) -> Stats {
        let mut accounts: Vec<AccountStats> = lock(&self.meter)
            .most()
            .map(|((gateway, app_key), most)| AccountStats {
                gateway: *gateway,
                app_key: app_key.clone(),
                calls: most.calls,
                calls_per_second_max: most.per_second,
                admitted_per_second_max: most.admitted_per_second,
                in_flight_max: most.in_flight,
                breaches: most.breaches,
            })
            .collect();
        accounts.sort_by(|a, b| (a.gateway, &a.app_key).cmp(&(b.gateway, &b.app_key)));
        Stats { accounts, ..lock(&self.journal).stats() }
    }

    /// A call has arrived.
    pub(super) fn arrive(&self, call: &Call) -> Visit<'_> {
        // Only known keys are counted apart, so that strangers cannot fill the memory.
        let key = self.key(call);
        let app_key = key.map_or_else(String::new, |key| key.app_key.clone());
        let pace = key.map_or_else(Pace::default, |key| Pace::of(key, self.limits(call.gateway)));
        let account = (call.gateway, app_key.clone());
        let (now, in_flight) = {
            let mut meter = lock(&self.meter);
            // Read under the lock: arrivals are counted in the order of their times.
            let now = self.options.clock.now();
            (now, meter.arrive(&account, pace, now))
        };
        let mut request = call.request();
        let cut =
            (0..=REQUEST_BYTES_MAX.min(request.len())).rev().find(|&at| request.is_char_boundary(at)).unwrap_or(0);
        request.truncate(cut);
        let entry = Entry {
            number: 0,
            at: now,
            gateway: call.gateway,
            method: call.method(),
            app_key,
            page: call.page(),
            request,
            outcome: Outcome::Aborted,
            status: 0,
            in_flight,
        };
        Visit { desk: self, account, entry }
    }

    /// Judges a call that has arrived.
    pub(super) fn reply(&self, call: &Call) -> Reply {
        let now = self.now();
        let at_least = Duration::from_millis(self.options.answer_millis);
        let storm = lock(&self.switches).storm();
        if let Some(storm) = storm {
            return Reply { answer: too_many(call, storm.retry_after, now), delay: at_least };
        }
        if call.gateway == Gateway::Aop && call.method() == aop::GET_TOKEN {
            return Reply { answer: self.token(call, now), delay: at_least };
        }
        let day = self.day();
        if let Err(refusal) = self.check(call, &day, now) {
            return Reply { answer: call.gateway.refuse(call, &refusal), delay: at_least };
        }
        let fate = lock(&self.plan).next(call.identity());
        let context = Context {
            window_end: self.options.window_end,
            listings: self.options.listings,
            odd_lists: if self.options.faults == Faults::None { OddLists::Never } else { OddLists::Sometimes },
            now,
        };
        let answer =
            call.gateway.answer(call, &day, &context).unwrap_or_else(|refusal| call.gateway.refuse(call, &refusal));
        let long = self.options.listings.slow.filter(|slow| answer.selected.is_some_and(|most| most > slow.offers));
        let long = long.map_or(Duration::ZERO, |SlowListing { millis, .. }| Duration::from_millis(millis));
        let answer = match &fate.fault {
            Some(fault) => spoil(fault, call, answer, now),
            None => answer,
        };
        Reply { answer, delay: at_least + fate.delay + long }
    }

    /// `system.oauth2/getToken`: not signed, not counted.
    fn token(&self, call: &Call, now: DateTime<Utc>) -> Answer {
        if call.verb != call.gateway.verb() {
            return call.gateway.refuse(call, &Refusal::Missing("grant_type"));
        }
        let Some(key) = self.key(call) else { return call.gateway.refuse(call, &Refusal::Key) };
        match lock(&self.switches).renew(call, key, now) {
            Ok((token, seconds)) => aop::token_answer(&token, seconds),
            Err(error) => aop::token_refusal(error),
        }
    }

    fn limits(&self, gateway: Gateway) -> Option<Limits> {
        self.options.limits.get(&gateway).copied()
    }

    fn key(&self, call: &Call) -> Option<&Key> {
        let app_key = call.app_key()?;
        self.options.keys.iter().find(|key| key.app_key == app_key)
    }

    fn check(&self, call: &Call, day: &Day, now: DateTime<Utc>) -> Result<(), Refusal> {
        if call.verb != call.gateway.verb() {
            // A GET "loses parameters" (S0): the gateway sees none.
            return Err(Refusal::Missing("method"));
        }
        let key = self.key(call).ok_or(Refusal::Key)?;
        let scheme = self.scheme(call.gateway);
        let given = call.get(scheme.parameter()).ok_or(Refusal::Unsigned)?;
        let method = call.method();
        let is_open = call.gateway != Gateway::Aop || method == aop::CURRENT_TIME;
        let is_authorized = {
            let switches = lock(&self.switches);
            let signed = Signed { secret: switches.secret(key), path: &call.path };
            if given != scheme.signature(signed, &call.params) {
                return Err(Refusal::Signature);
            }
            is_open || switches.is_authorized(call, now)
        };
        self.check_time(call, now)?;
        if key.denied.contains(&call.gateway) || key.denied_methods.contains(&method) {
            return Err(Refusal::Permission);
        }
        if !is_authorized {
            return Err(Refusal::Token);
        }
        let scope = self.scope(call, day);
        let mut meter = lock(&self.meter);
        meter.admit(Applicant {
            gateway: call.gateway,
            key,
            limits: self.limits(call.gateway),
            scope: &scope,
            now: self.options.clock.now(),
            quota_now: now,
        })
    }

    /// What the call's quota is counted by.
    fn scope(&self, call: &Call, day: &Day) -> String {
        match self.limits(call.gateway).map_or(QuotaScope::Account, |limits| limits.quota_scope) {
            QuotaScope::Account => String::new(),
            QuotaScope::Endpoint => call.method(),
            QuotaScope::Shop => call.gateway.shop_of(call, day).map_or_else(String::new, |shop| shop.id.clone()),
        }
    }

    fn scheme(&self, gateway: Gateway) -> Scheme {
        match gateway {
            Gateway::Portals => Scheme::Portals,
            Gateway::ItemGet => Scheme::ItemGet,
            Gateway::ProductGet => Scheme::ProductGet,
            Gateway::ShopSearch => self.options.shop_search_scheme,
            Gateway::Aop => Scheme::Aop,
        }
    }

    /// The time stamp has the gateway's format and is near enough; only aop's is optional.
    fn check_time(&self, call: &Call, now: DateTime<Utc>) -> Result<(), Refusal> {
        let digits = |text: &str, count: usize| {
            let all = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
            if all { text.parse::<i64>().ok() } else { None }
        };
        let text = match (call.gateway, call.get("timestamp"), call.get("_aop_timestamp")) {
            (Gateway::Aop, _, None) => return Ok(()),
            (Gateway::Aop, _, Some(text)) => text,
            (_, Some(text), _) => text,
            (_, None, _) => return Err(Refusal::Missing("timestamp")),
        };
        let at = match call.gateway {
            Gateway::Portals | Gateway::Aop => digits(text, 13).and_then(DateTime::from_timestamp_millis),
            Gateway::ProductGet => digits(text, 10).and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
            Gateway::ItemGet | Gateway::ShopSearch => NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S")
                .ok()
                .and_then(|local| local.and_local_timezone(BEIJING).single())
                .map(|at| at.to_utc()),
        };
        let skew = (at.ok_or(Refusal::Time)? - now).num_seconds().abs();
        if skew > self.options.skew_seconds_max { Err(Refusal::Time) } else { Ok(()) }
    }
}

fn build(options: &Options, date: NaiveDate) -> Day {
    let Options { seed, mess_per_mille, shop_sizes, histories, .. } = options;
    Day::build(Blueprint { seed: *seed, mess_per_mille: *mess_per_mille, sizes: shop_sizes, histories }, date)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
