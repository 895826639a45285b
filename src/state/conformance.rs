//! What every store does, as one suite: two handles on the same state, as two processes would have them.
//!
//! Invariant: moments are told, so that nothing here waits.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use tokio::task::JoinSet;

use super::{
    AccountHealth, Ask, Bounds, Cached, Counted, Feedback, Moved, Reserved, Rest, RestKind, Resting, Settle, State,
};
use crate::base::time::beijing_day;

const BOUNDS: Bounds = Bounds {
    calls_per_day: Some(100),
    calls_per_second: Some(10.0),
    calls_in_flight: 2,
    lease: Duration::from_secs(60),
};
/// No bounds but the places.
const FREE: Bounds = Bounds { calls_per_day: None, calls_per_second: None, ..BOUNDS };

/// Runs the whole suite on two handles of one state that nobody else uses.
pub(super) async fn check(one: State, other: State) {
    let now = one.now().await.unwrap();
    let both = Both { one, other, now, day: beijing_day(now) };
    both.count_and_rhythm().await;
    both.scopes_and_days().await;
    both.days_of_two_clocks().await;
    both.places().await;
    both.release().await;
    both.rests().await;
    both.feedback().await;
    both.new_moment().await;
    both.moments_ahead().await;
    both.clock().await;
    both.rests_of_endpoints_and_gateways().await;
    both.moved_calls_are_counted_where_they_bind().await;
    both.raise_and_correct().await;
    both.runs_add_up().await;
    both.answers().await;
    both.claims().await;
    both.many_at_once().await;
    both.first_calls_at_once().await;
    both.raise_while_calls_leave().await;
    both.rebuilt_by_many().await;
}

struct Both {
    one: State,
    other: State,
    now: DateTime<Utc>,
    day: NaiveDate,
}

impl Both {
    fn at(&self, millis: i64) -> DateTime<Utc> {
        self.now + TimeDelta::milliseconds(millis)
    }

    fn ask<'a>(&self, account: &'a str, millis: i64, bounds: Bounds) -> Ask<'a> {
        asking(account, self.day, self.at(millis), bounds)
    }

    fn settle<'a>(&self, account: &'a str, place: u32, millis: i64, rests: i64) -> Settle<'a> {
        let (now, free_at) = (self.at(millis), self.at(millis + rests));
        Settle { account, bounds: BOUNDS, holder: "run", place, now, free_at, feedback: Feedback::None, moved: None }
    }

    fn rest(&self, kind: RestKind, scope: &str, millis: i64) -> Resting {
        Resting {
            scope: scope.to_owned(),
            gateway: "gateway".to_owned(),
            credentials: "digest".to_owned(),
            rest: Rest { kind, until: self.at(millis), reason: "额度用完".to_owned() },
        }
    }

    fn count(&self, account: &str, calls: u64) -> Counted {
        Counted { account: account.to_owned(), scope: "endpoint:item".to_owned(), day: self.day, calls }
    }

    async fn used(&self, account: &str, scope: &str, day: NaiveDate) -> Option<u64> {
        let counts = self.other.counts(day).await.unwrap();
        assert!(counts.is_sorted_by_key(|count| (count.account.clone(), count.scope.clone())));
        counts.into_iter().find(|count| count.account == account && count.scope == scope).map(|count| count.calls)
    }

    async fn health(&self, account: &str, millis: i64) -> AccountHealth {
        let accounts = self.other.accounts(self.at(millis)).await.unwrap();
        accounts.into_iter().find(|health| health.account == account).expect("an account that was asked for")
    }

    async fn count_and_rhythm(&self) {
        let bounds = Bounds { calls_per_day: Some(2), ..BOUNDS };
        let first = self.one.reserve(&self.ask("rhythm", 0, bounds)).await.unwrap();
        assert!(matches!(first, Reserved::Granted { used: 1, .. }), "{first:?}");
        let early = self.other.reserve(&self.ask("rhythm", 0, bounds)).await.unwrap();
        let Reserved::Wait { from: until, .. } = early else { panic!("{early:?}") };
        let wait = until - self.now;
        assert!(wait > TimeDelta::milliseconds(96) && wait < TimeDelta::milliseconds(97), "{wait}");
        assert_eq!(self.used("rhythm", "", self.day).await, Some(1), "a wait is not counted");
        let second = self.other.reserve(&self.ask("rhythm", 97, bounds)).await.unwrap();
        assert!(matches!(second, Reserved::Granted { used: 2, .. }), "{second:?}");
        assert_ne!(place(&first), place(&second));
        let third = self.one.reserve(&self.ask("rhythm", 500, bounds)).await.unwrap();
        assert_eq!(third, Reserved::UsedUp { used: 2 });
        assert_eq!(self.used("rhythm", "", self.day).await, Some(2));
    }

    async fn scopes_and_days(&self) {
        let bounds = Bounds { calls_per_day: Some(1), ..FREE };
        let tomorrow = self.day + Days::new(1);
        let of = |scope, day| Ask {
            scope,
            day,
            gateway_day: day,
            ..self.ask("scopes", 0, Bounds { calls_in_flight: 9, ..bounds })
        };
        for (scope, day) in [("", self.day), ("shop:1", self.day), ("shop:2", self.day), ("shop:1", tomorrow)] {
            granted(self.one.reserve(&of(scope, day)).await.unwrap());
            assert_eq!(self.other.reserve(&of(scope, day)).await.unwrap(), Reserved::UsedUp { used: 1 });
            assert_eq!(self.used("scopes", scope, day).await, Some(1));
        }
        assert_eq!(self.used("scopes", "", tomorrow).await, None);
    }

    async fn days_of_two_clocks(&self) {
        let bounds = Bounds { calls_per_day: Some(2), calls_in_flight: 9, ..FREE };
        let (yesterday, tomorrow) = (self.day - Days::new(1), self.day + Days::new(1));
        let of = |day, gateway_day| Ask { day, gateway_day, ..self.ask("clocks", 0, bounds) };
        granted(self.one.reserve(&of(self.day, self.day)).await.unwrap());
        let place = granted(self.other.reserve(&of(self.day, yesterday)).await.unwrap());
        let used_up = Reserved::UsedUp { used: 2 };
        assert_eq!(self.one.reserve(&of(self.day, tomorrow)).await.unwrap(), used_up, "whatever the gateway shows");
        // There it is still today, and one call of today's is known to have been yesterday's.
        granted(self.one.reserve(&of(tomorrow, self.day)).await.unwrap());
        assert_eq!(self.other.reserve(&of(tomorrow, self.day)).await.unwrap(), used_up);
        let moved = Moved { scope: "", from: yesterday, to: self.day };
        let settle = Settle { moved: Some(moved), ..self.settle("clocks", place, 0, 0) };
        self.other.settle(&settle).await.unwrap();
        assert_eq!(self.one.reserve(&of(tomorrow, self.day)).await.unwrap(), Reserved::UsedUp { used: 3 });
        assert_eq!(
            (self.used("clocks", "", self.day).await, self.used("clocks", "", yesterday).await),
            (Some(3), None),
            "one of today's was counted for tomorrow"
        );
    }

    async fn places(&self) {
        let first = granted(self.one.reserve(&self.ask("places", 0, FREE)).await.unwrap());
        let second = granted(self.other.reserve(&self.ask("places", 0, FREE)).await.unwrap());
        waits(self.one.reserve(&self.ask("places", 0, FREE)).await.unwrap());
        assert_eq!(self.health("places", 0).await.in_flight, 2);
        let foreign = Settle { holder: "another run", ..self.settle("places", first, 0, 0) };
        self.one.settle(&foreign).await.unwrap();
        waits(self.other.reserve(&self.ask("places", 0, FREE)).await.unwrap());
        self.other.settle(&self.settle("places", first, 0, 800)).await.unwrap();
        let rests = waits(self.one.reserve(&self.ask("places", 790, FREE)).await.unwrap());
        assert!((rests - self.at(800)).abs() < TimeDelta::milliseconds(1), "{rests}");
        let third = granted(self.one.reserve(&self.ask("places", 800, FREE)).await.unwrap());
        // Given back twice, and by a call whose place is long another's.
        self.other.settle(&self.settle("places", first, 810, 0)).await.unwrap();
        waits(self.one.reserve(&self.ask("places", 810, FREE)).await.unwrap());
        self.one.settle(&self.settle("places", third, 820, 0)).await.unwrap();
        granted(self.other.reserve(&self.ask("places", 820, FREE)).await.unwrap());
        // The lease of the second ends.
        granted(self.one.reserve(&self.ask("places", 60_001, FREE)).await.unwrap());
        self.other.settle(&self.settle("places", second, 60_002, 0)).await.unwrap();
        assert_eq!(self.health("places", 60_002).await.in_flight, 2);
    }

    async fn release(&self) {
        for (account, holder) in [("release 1", "run"), ("release 1", "another run"), ("release 2", "run")] {
            granted(self.one.reserve(&Ask { holder, ..self.ask(account, 0, FREE) }).await.unwrap());
        }
        self.other.release("run").await.unwrap();
        assert_eq!(self.health("release 1", 0).await.in_flight, 1);
        assert_eq!(self.health("release 2", 0).await.in_flight, 0);
        self.other.release("nobody").await.unwrap();
        assert_eq!(self.health("release 1", 0).await.in_flight, 1);
    }

    async fn rests(&self) {
        let ask = Ask { scope: "shop:1", ..self.ask("rests", 0, FREE) };
        let (denied, quota) = (self.rest(RestKind::Denied, "", 5_000), self.rest(RestKind::Quota, "shop:1", 3_000));
        self.one.rest("rests", &denied).await.unwrap();
        assert_eq!(self.other.reserve(&ask).await.unwrap(), Reserved::Resting(denied.clone()));
        self.one.rest("rests", &quota).await.unwrap();
        let health = self.health("rests", 0).await;
        assert_eq!(health.rests, [denied.clone(), quota.clone()]);
        assert_eq!(self.health("rests", 4_000).await.rests, [denied]);
        let changed = Ask { credentials: "another digest", ..ask };
        assert_eq!(self.other.reserve(&changed).await.unwrap(), Reserved::Resting(quota.clone()));
        assert_eq!(self.used("rests", "shop:1", self.day).await, None);
        granted(self.one.reserve(&Ask { scope: "shop:2", ..changed }).await.unwrap());
        granted(self.one.reserve(&Ask { now: self.at(3_000), ..changed }).await.unwrap());
        self.one.rest("rests", &self.rest(RestKind::Denied, "", 99_000)).await.unwrap();
        self.other.wake("rests").await.unwrap();
        assert_eq!(self.health("rests", 0).await.rests, []);
        waits(self.one.reserve(&ask).await.unwrap());
    }

    async fn rests_of_endpoints_and_gateways(&self) {
        let item = Ask { endpoint: "item", ..self.ask("partly", 0, FREE) };
        let denied = self.rest(RestKind::Denied, "endpoint:item", 5_000);
        self.one.rest("partly", &denied).await.unwrap();
        assert_eq!(self.other.reserve(&item).await.unwrap(), Reserved::Resting(denied.clone()));
        granted(self.other.reserve(&self.ask("partly", 0, FREE)).await.unwrap());
        let elsewhere = Ask { gateway: "another", credentials: "another digest", ..item };
        granted(self.one.reserve(&elsewhere).await.unwrap());
        let rests = self.health("partly", 0).await.rests;
        assert_eq!(rests, std::slice::from_ref(&denied), "another gateway was asked, it stays");
        let ended = Resting { rest: Rest { until: self.now, ..denied.rest.clone() }, ..denied };
        self.other.rest("partly", &ended).await.unwrap();
        assert_eq!(self.health("partly", 0).await.rests, []);
        waits(self.one.reserve(&item).await.unwrap());
    }

    async fn feedback(&self) {
        let place = granted(self.one.reserve(&self.ask("feedback", 0, BOUNDS)).await.unwrap());
        let throttled = Feedback::Throttled { sent_at: self.now };
        let settle = self.settle("feedback", place, 100, 0);
        self.other.settle(&Settle { feedback: throttled, ..settle }).await.unwrap();
        self.one.settle(&Settle { feedback: throttled, ..settle }).await.unwrap();
        assert_eq!(self.health("feedback", 0).await.rate_share, 0.5, "one wave halves once");
        let until = waits(self.one.reserve(&self.ask("feedback", 250, BOUNDS)).await.unwrap());
        assert!((until - self.at(298)).abs() < TimeDelta::milliseconds(1), "{until}");
        self.other.settle(&Settle { feedback: Feedback::Good, ..settle }).await.unwrap();
        assert_eq!(self.health("feedback", 0).await.rate_share, 0.52);
        self.one.wake("feedback").await.unwrap();
        assert_eq!(self.health("feedback", 0).await.rate_share, 1.0);
    }

    async fn new_moment(&self) {
        let bounds = Bounds { calls_per_second: Some(1.0), calls_in_flight: 2, ..BOUNDS };
        let place = granted(self.one.reserve(&self.ask("moment", 0, bounds)).await.unwrap());
        let again = |millis| Ask { held: Some(place), ..self.ask("moment", millis, bounds) };
        // Moments are kept to the microsecond.
        let micros = |at: DateTime<Utc>| DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap();
        let again_at = |millis, used| Reserved::Granted { at: micros(self.at(millis)), place, used };
        assert_eq!(self.other.reserve(&again(50)).await.unwrap(), again_at(50, 1));
        granted(self.other.reserve(&self.ask("moment", 1_100, bounds)).await.unwrap());
        waits(self.one.reserve(&again(1_200)).await.unwrap());
        assert_eq!(self.one.reserve(&again(2_200)).await.unwrap(), again_at(2_200, 2));
        assert_eq!(self.used("moment", "", self.day).await, Some(2));
        assert_eq!(self.health("moment", 2_200).await.in_flight, 2);
    }

    /// Who is far away is granted moments ahead, and so is everybody.
    async fn moments_ahead(&self) {
        let far = |millis| Ask {
            holder: "far",
            lead: TimeDelta::milliseconds(60),
            unsure: TimeDelta::milliseconds(20),
            ..self.ask("ahead", millis, Bounds { calls_in_flight: 9, ..BOUNDS })
        };
        let near = |millis| Ask { lead: TimeDelta::zero(), holder: "near", ..far(millis) };
        let ahead = |reserved| match reserved {
            Reserved::Granted { at, .. } => (at - self.now).as_seconds_f64(),
            other => panic!("{other:?}"),
        };
        let is_at = |at: f64, seconds: f64| assert!((at - seconds).abs() < 0.001, "{at} is not {seconds}");
        is_at(ahead(self.one.reserve(&far(0)).await.unwrap()), 0.06);
        let Reserved::Wait { from, to } = self.other.reserve(&near(0)).await.unwrap() else { panic!("no wait") };
        assert_eq!(to - from, TimeDelta::milliseconds(60));
        is_at((from - self.now).as_seconds_f64(), 0.0365);
        is_at(ahead(self.other.reserve(&near(37)).await.unwrap()), 0.1565);
    }

    /// What is known of the clock without asking is what it says.
    async fn clock(&self) {
        for store in [&self.one, &self.other] {
            let (before, reading, after) = (store.now().await.unwrap(), store.clock(), store.now().await.unwrap());
            let unsure = reading.unsure + TimeDelta::milliseconds(1);
            assert!(before - unsure <= reading.now && reading.now <= after + unsure, "{before} {reading:?} {after}");
        }
    }

    async fn moved_calls_are_counted_where_they_bind(&self) {
        let used = || self.used("moved", "", self.day);
        let bounds = Bounds { calls_per_day: Some(2), calls_in_flight: 9, ..FREE };
        let yesterday = self.day - Days::new(1);
        let ask = |day| Ask { day, gateway_day: self.day, ..self.ask("moved", 0, bounds) };
        for _ in 0..2 {
            granted(self.one.reserve(&ask(yesterday)).await.unwrap());
        }
        assert_eq!((used().await, self.used("moved", "", yesterday).await), (Some(2), Some(2)));
        assert_eq!(self.other.reserve(&ask(self.day)).await.unwrap(), Reserved::UsedUp { used: 2 });
        self.other.correct(&Counted { scope: String::new(), ..self.count("moved", 1) }).await.unwrap();
        assert_eq!(used().await, Some(1), "what is set is what the gateway counts");
        granted(self.one.reserve(&ask(self.day)).await.unwrap());
        assert_eq!(self.other.reserve(&ask(self.day)).await.unwrap(), Reserved::UsedUp { used: 2 });
    }

    async fn raise_and_correct(&self) {
        let used = || self.used("raise", "endpoint:item", self.day);
        let raise = async |store: &State, calls| store.raise(&self.count("raise", calls), "run id").await.unwrap();
        assert!(raise(&self.one, 90).await);
        assert!(!raise(&self.other, 40).await, "a raise never lowers");
        assert_eq!(used().await, Some(90));
        let ask = Ask { scope: "endpoint:item", ..self.ask("raise", 0, FREE) };
        assert!(matches!(self.other.reserve(&ask).await.unwrap(), Reserved::Granted { used: 91, .. }));
        assert!(!raise(&self.one, 91).await, "the call that was reserved is one of them");
        assert!(raise(&self.one, 95).await);
        assert_eq!(used().await, Some(95));
        self.other.correct(&self.count("raise", 7)).await.unwrap();
        assert_eq!(used().await, Some(7));
        assert!(matches!(self.one.reserve(&ask).await.unwrap(), Reserved::Granted { used: 8, .. }));
        assert!(!raise(&self.one, 96).await, "what is corrected stays corrected");
        assert_eq!(used().await, Some(8));
        assert!(raise(&self.one, 100).await, "calls that nobody has counted come on top");
        assert_eq!(used().await, Some(12));
        self.one.correct(&self.count("raise", 0)).await.unwrap();
        assert_eq!(used().await, Some(0));
    }

    /// Runs that share a key, of one lake or of several, after the state was lost.
    async fn runs_add_up(&self) {
        let used = || self.used("runs", "endpoint:item", self.day);
        let ask = |run, millis| Ask { scope: "endpoint:item", run, ..self.ask("runs", millis, FREE) };
        granted(self.one.reserve(&ask("first", 0)).await.unwrap());
        granted(self.other.reserve(&ask("second", 0)).await.unwrap());
        // The first one's page was landed by another process that rebuilds; twice, and by its own start.
        for (store, run, calls, sum) in [
            (&self.one, "first", 30, 31),
            (&self.other, "first", 30, 31),
            (&self.other, "second", 1, 31),
            (&self.one, "third", 12, 43),
            (&self.one, "second", 5, 47),
        ] {
            store.raise(&self.count("runs", calls), run).await.unwrap();
            assert_eq!(used().await, Some(sum), "{run} {calls}");
        }
        // Another day, another scope and another account are not theirs.
        let tomorrow = Counted { day: self.day + Days::new(1), ..self.count("runs", 3) };
        self.one.raise(&tomorrow, "first").await.unwrap();
        self.one.raise(&Counted { scope: String::new(), ..self.count("runs", 4) }, "first").await.unwrap();
        assert_eq!(used().await, Some(47));
        assert_eq!(self.used("runs", "", self.day).await, Some(4));
        assert_eq!(self.used("runs", "endpoint:item", tomorrow.day).await, Some(3));
    }

    async fn answers(&self) {
        let expires_at = DateTime::from_timestamp_micros(self.at(60_000).timestamp_micros()).unwrap();
        let value = Bytes::from((0..200_000_u32).map(|byte| (byte % 251) as u8).collect::<Vec<u8>>());
        let (long, empty) = (Cached { value, expires_at }, Cached { value: Bytes::new(), expires_at });
        assert_eq!(self.one.cached("a key 键", self.now).await.unwrap(), None);
        self.one.cache("a key 键", &long).await.unwrap();
        assert_eq!(self.other.cached("a key 键", self.at(59_999)).await.unwrap(), Some(long));
        assert_eq!(self.other.cached("a key 键", expires_at).await.unwrap(), None, "it has expired");
        assert_eq!(self.other.cached("another key", self.now).await.unwrap(), None);
        self.other.cache("a key 键", &empty).await.unwrap();
        assert_eq!(self.one.cached("a key 键", self.now).await.unwrap(), Some(empty));
        let expired = Cached { value: Bytes::from_static(b"old"), expires_at: self.at(-1_000) };
        self.other.cache("a key 键", &expired).await.unwrap();
        assert_eq!(self.one.cached("a key 键", self.now).await.unwrap(), None);
    }

    async fn claims(&self) {
        let claim =
            async |store: &State, key, now, until| store.claim(key, self.at(now), self.at(until)).await.unwrap();
        assert!(claim(&self.one, "a claim", 0, 60_000).await);
        assert!(!claim(&self.other, "a claim", 0, 90_000).await, "it is taken");
        assert!(self.other.cached("a claim", self.now).await.unwrap().is_some(), "everybody sees that");
        assert!(claim(&self.other, "another claim", 0, 60_000).await);
        let expired = Cached { value: Bytes::new(), expires_at: self.at(-1_000) };
        self.one.cache("an old claim", &expired).await.unwrap();
        assert!(claim(&self.other, "an old claim", 0, 60_000).await, "it has ended");
        let mut tasks = JoinSet::new();
        for task in 0..20 {
            let store = if task % 2 == 0 { self.one.clone() } else { self.other.clone() };
            let (now, until) = (self.now, self.at(60_000));
            tasks.spawn(async move { store.claim("everybody's claim", now, until).await.unwrap() });
        }
        assert_eq!(tasks.join_all().await.into_iter().filter(|got| *got).count(), 1);
    }

    /// Many tasks of two processes, all as fast as they can.
    async fn many_at_once(&self) {
        let day = Arc::new(Busy {
            clock: AtomicI64::new(0),
            flying: AtomicU32::new(0),
            bounds: Bounds { calls_per_day: Some(120), calls_per_second: Some(7.0), calls_in_flight: 3, ..BOUNDS },
        });
        let mut tasks = JoinSet::new();
        for task in 0..12 {
            let store = if task % 2 == 0 { &self.one } else { &self.other };
            tasks.spawn(day.clone().work(store.clone(), self.now, self.day));
        }
        let mut sent: Vec<i64> = tasks.join_all().await.into_iter().flatten().collect();
        sent.sort_unstable();
        assert_eq!(sent.len(), 120, "all calls of the day and no more");
        assert_eq!(self.used("busy", "", self.day).await, Some(120));
        for (index, first) in sent.iter().enumerate() {
            let held = sent[index..].iter().take_while(|at| **at - *first <= 1_000_000).count();
            assert!(held <= 7, "{held} calls in one second");
        }
    }

    /// Nobody has asked for the account before: its page and its count appear once.
    async fn first_calls_at_once(&self) {
        let mut tasks = JoinSet::new();
        for task in 0..40 {
            let store = if task % 2 == 0 { self.one.clone() } else { self.other.clone() };
            let (now, day) = (self.now, self.day);
            tasks.spawn(async move {
                let bounds = Bounds { calls_per_day: Some(25), calls_in_flight: 30, ..FREE };
                store.reserve(&asking("first", day, now, bounds)).await.unwrap()
            });
        }
        let all = tasks.join_all().await;
        let places: HashSet<u32> = all.iter().filter_map(place).collect();
        assert_eq!(places.len(), 25, "no place is given twice");
        assert_eq!(all.iter().filter(|reserved| **reserved == Reserved::UsedUp { used: 25 }).count(), 15);
    }
}

impl Both {
    /// What one raises meanwhile is not lost.
    async fn raise_while_calls_leave(&self) {
        let (store, now, day) = (self.one.clone(), self.now, self.day);
        let calls = tokio::spawn(async move {
            let bounds = Bounds { calls_in_flight: 1_000, ..FREE };
            for _ in 0..200 {
                granted(store.reserve(&asking("meanwhile", day, now, bounds)).await.unwrap());
            }
        });
        for raised in 1..=200 {
            let (account, scope) = ("meanwhile".to_owned(), String::new());
            self.other.raise(&Counted { account, scope, day, calls: raised * 1_000 }, "another run").await.unwrap();
            let used = self.used("meanwhile", "", day).await;
            assert!(used >= Some(raised * 1_000), "raised to {raised} thousand: {used:?}");
        }
        calls.await.unwrap();
        assert_eq!(self.used("meanwhile", "", day).await, Some(200_200), "neither is lost nor counted twice");
    }

    /// Every start of several pipelines rebuilds all of their runs, at the same time.
    async fn rebuilt_by_many(&self) {
        let mut tasks = JoinSet::new();
        for task in 0..20 {
            let store = if task % 2 == 0 { self.one.clone() } else { self.other.clone() };
            let counted = |calls| self.count("rebuilt", calls);
            let runs = [("first", counted(30)), ("second", counted(12)), ("third", counted(5))];
            tasks.spawn(async move {
                let mut lacking = 0;
                for (run, counted) in runs {
                    lacking += usize::from(store.raise(&counted, run).await.unwrap());
                }
                lacking
            });
        }
        assert_eq!(tasks.join_all().await.into_iter().sum::<usize>(), 3, "each is found lacking once");
        assert_eq!(self.used("rebuilt", "endpoint:item", self.day).await, Some(47));
    }
}

/// A new call of a run.
pub(super) fn asking(account: &str, day: NaiveDate, now: DateTime<Utc>, bounds: Bounds) -> Ask<'_> {
    Ask {
        account,
        gateway: "gateway",
        credentials: "digest",
        endpoint: "listing",
        scope: "",
        run: "run id",
        day,
        gateway_day: day,
        now,
        unsure: TimeDelta::zero(),
        lead: TimeDelta::zero(),
        bounds,
        holder: "run",
        held: None,
    }
}

/// A day that many work off.
struct Busy {
    /// Microseconds since its start.
    clock: AtomicI64,
    flying: AtomicU32,
    bounds: Bounds,
}

impl Busy {
    /// Calls until the day's calls are used up; gives when it did.
    async fn work(self: Arc<Self>, store: State, start: DateTime<Utc>, day: NaiveDate) -> Vec<i64> {
        let mut sent = Vec::new();
        loop {
            let clock = self.clock.load(Ordering::SeqCst);
            let now = start + TimeDelta::microseconds(clock);
            let (account, holder, bounds) = ("busy", "run", self.bounds);
            match store.reserve(&asking(account, day, now, bounds)).await.unwrap() {
                Reserved::Granted { place, .. } => {
                    sent.push(clock);
                    let flying = self.flying.fetch_add(1, Ordering::SeqCst) + 1;
                    assert!(flying <= bounds.calls_in_flight, "{flying} calls in flight");
                    tokio::task::yield_now().await;
                    self.flying.fetch_sub(1, Ordering::SeqCst);
                    let feedback = Feedback::Good;
                    let settle = Settle { account, bounds, holder, place, now, free_at: now, feedback, moved: None };
                    store.settle(&settle).await.unwrap();
                }
                Reserved::Wait { from, .. } => {
                    let until = (from - start).num_microseconds().unwrap();
                    self.clock.fetch_max(until, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                }
                Reserved::UsedUp { .. } => return sent,
                Reserved::Resting(rest) => panic!("{rest:?}"),
            }
        }
    }
}

fn place(reserved: &Reserved) -> Option<u32> {
    if let Reserved::Granted { place, .. } = reserved { Some(*place) } else { None }
}

#[track_caller]
fn granted(reserved: Reserved) -> u32 {
    place(&reserved).unwrap_or_else(|| panic!("{reserved:?}"))
}

#[track_caller]
fn waits(reserved: Reserved) -> DateTime<Utc> {
    if let Reserved::Wait { from, .. } = reserved { from } else { panic!("{reserved:?}") }
}
