//! State: what processes that use the same accounts must agree on: calls of the day, the rhythm of calls, places in
//! flight, accounts at rest; and answers that may be used again.
//!
//! Takes what a call wants to use; gives the right to send it, or when to ask again.
//!
//! Invariant: a call is counted, in one atomic step, before it leaves, and stays counted; of any number of processes
//! together no account sends more calls than its day, its second and its places in flight allow. The state may be lost:
//! counts and rests can be rebuilt from landed attempts, the caches only save calls.
//!
//! Calls are counted by the days of the store's clock. Where a gateway's clock shows another day, its own days bind, too:
//! what differs between the two is noted in the account's page.

#[cfg(test)]
mod conformance;
mod ledger;
mod owned;
mod redis;
mod rhythm;
mod sqlite;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::base::Result;
use crate::base::time::BEIJING;
use crate::config::pipeline::StateConfig;

/// A call that wants to leave.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The account's key in the ledger ([`crate::config::pipeline::Account::key`]).
    pub account: &'a str,
    /// A digest of the gateway that is asked: what one refuses says nothing about another.
    pub gateway: &'a str,
    /// A digest of the account's credentials: a rest that a refused credential earned ends when it changes.
    pub credentials: &'a str,
    /// The endpoint that is asked.
    pub endpoint: &'a str,
    /// What the calls of a day are counted by: `""` (the account), `endpoint:NAME` (as the gateway names it) or `shop:ID`.
    pub scope: &'a str,
    /// The run whose call it is: a lost ledger is rebuilt run by run ([`StateStore::raise`]).
    pub run: &'a str,
    /// The day they count for: Beijing, by the store's clock. No answer can change it.
    pub day: NaiveDate,
    /// The day they count for at the gateway, as far as its clock is known. Where it is another one, the calls of neither
    /// day may be used up.
    pub gateway_day: NaiveDate,
    /// Now, by the store's clock ([`StateStore::clock`]).
    pub now: DateTime<Utc>,
    /// How far that may be off, either way.
    pub unsure: TimeDelta,
    /// How long the answer takes to come, about: no moment sooner than that is granted.
    pub lead: TimeDelta,
    /// The account's bounds.
    pub bounds: Bounds,
    /// Who asks: a run (`lake address/pipeline`) or a command. See [`StateStore::release`].
    pub holder: &'a str,
    /// `None`: a new call. `Some(place)`: a call that was granted this place, is counted, and waited too long for the
    /// wire: it asks for a new moment only.
    pub held: Option<u32>,
}

/// What an account may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Calls per day and scope.
    pub calls_per_day: Option<u64>,
    /// Calls in any one-second window.
    pub calls_per_second: Option<f64>,
    /// Calls in flight, rests included.
    pub calls_in_flight: u32,
    /// A place in flight whose holder died is free again after this long.
    pub lease: Duration,
}

/// What a call may do.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// Leave at `at`, by the store's clock. It is counted.
    Granted {
        /// Where answers take their time this lies ahead, so that the call is in time.
        at: DateTime<Utc>,
        /// Its place in flight, never given twice; given back with [`StateStore::settle`].
        place: u32,
        /// Calls counted today in this scope, this one included.
        used: u64,
    },
    /// Ask again between these moments: the rhythm or the places in flight do not allow it now. Nothing was counted. Whoever
    /// waits takes any of them by chance, so that no process is always the first.
    Wait {
        /// The first moment that works.
        from: DateTime<Utc>,
        /// The last one that leaves no room unused. The same where every process is near its store.
        to: DateTime<Utc>,
    },
    /// The calls of the day are used up.
    UsedUp {
        /// Calls counted today in this scope: by the store's day or by the gateway's, the more of both.
        used: u64,
    },
    /// The account rests, for this call at least.
    Resting(Resting),
}

/// A rest, and the calls that it keeps from leaving.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Resting {
    /// `""`: every call of the account; `endpoint:NAME`: those to an endpoint; `shop:ID`: those counted for a shop.
    pub scope: String,
    /// The gateway that said so, as in [`Ask`].
    #[serde(default)]
    pub gateway: String,
    /// The credentials that it was told, as in [`Ask`].
    pub credentials: String,
    /// The rest itself.
    pub rest: Rest,
}

impl Resting {
    /// Whether it is about whoever shows these credentials to this gateway. A refusal holds for both alone; that calls are
    /// used up holds for the key, whose calls are counted together.
    #[must_use]
    pub fn concerns(&self, gateway: &str, credentials: &str) -> bool {
        self.rest.kind == RestKind::Quota || (self.gateway == gateway && self.credentials == credentials)
    }
}

/// Whether what holds in a scope ([`Resting::scope`]) holds for a call that is counted in `scope` and goes to `endpoint`.
#[must_use]
pub fn covers(holds_in: &str, scope: &str, endpoint: &str) -> bool {
    let of_endpoint = || holds_in.strip_prefix("endpoint:").is_some_and(|name| name == endpoint);
    holds_in.is_empty() || holds_in == scope || of_endpoint()
}

/// Why an account makes no calls.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rest {
    /// Why.
    pub kind: RestKind,
    /// Until when.
    pub until: DateTime<Utc>,
    /// What the gateway said.
    pub reason: String,
}

/// `blocked until 2026-11-21 00:00 (Beijing): …`
impl fmt::Display for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            RestKind::Quota => "blocked",
            RestKind::Denied => "denied",
        };
        let until = self.until.with_timezone(&BEIJING).format("%Y-%m-%d %H:%M");
        write!(f, "{what} until {until} (Beijing): {}", self.reason)
    }
}

/// Why an account makes no calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestKind {
    /// The gateway says that its calls are used up, or bans it.
    Quota,
    /// The gateway refuses its key, its signature or a permission. Ends also when its credentials change.
    Denied,
}

/// What a store's clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Now.
    pub now: DateTime<Utc>,
    /// How far that may be off, either way.
    pub unsure: TimeDelta,
}

/// What came of a call.
#[derive(Debug, Clone, Copy)]
pub struct Settle<'a> {
    /// As in [`Ask`].
    pub account: &'a str,
    /// As in [`Ask`].
    pub bounds: Bounds,
    /// As in [`Ask`].
    pub holder: &'a str,
    /// The place that was granted.
    pub place: u32,
    /// Now, by the store's clock.
    pub now: DateTime<Utc>,
    /// Until when the place rests.
    pub free_at: DateTime<Utc>,
    /// What it means for the rhythm.
    pub feedback: Feedback,
    /// The answer has shown that the gateway counts the call for another day than it was taken to.
    pub moved: Option<Moved<'a>>,
}

/// A call that counts for another day at the gateway than it was taken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved<'a> {
    /// As in [`Ask`].
    pub scope: &'a str,
    /// What [`Ask::gateway_day`] said.
    pub from: NaiveDate,
    /// What it should have said.
    pub to: NaiveDate,
}

/// What an answer means for the rhythm of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feedback {
    /// A good answer wins back a step of the rate.
    Good,
    /// A throttle answer halves the rate, once per wave: calls sent before the last halving do not halve it again.
    Throttled {
        /// When the call was sent, by the store's clock.
        sent_at: DateTime<Utc>,
    },
    /// Anything else.
    None,
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counted {
    /// The account's key.
    pub account: String,
    /// As in [`Ask`].
    pub scope: String,
    /// The day.
    pub day: NaiveDate,
    /// Calls counted.
    pub calls: u64,
}

/// An account as the store knows it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct AccountHealth {
    /// The account's key.
    pub account: String,
    /// The share of its allowed rate that is used now: 1, less after throttle answers.
    pub rate_share: f64,
    /// Places in flight that are taken or rest.
    pub in_flight: u32,
    /// Rests that have not ended, by scope.
    pub rests: Vec<Resting>,
}

/// An answer that may be used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// The landed record and body, as its writer encoded them.
    pub value: Bytes,
    /// When it may no longer be used.
    pub expires_at: DateTime<Utc>,
}

/// Where state is kept. Implemented for a SQLite file and for Redis; one conformance suite runs on both.
#[async_trait::async_trait]
pub trait StateStore: Send + Sync + std::fmt::Debug {
    /// The store's clock: that of the machine (SQLite), or that of the server (Redis), which all machines share. Asks for it.
    ///
    /// # Errors
    /// [`crate::base::Kind::Unavailable`] when the server does not answer.
    async fn now(&self) -> Result<DateTime<Utc>>;

    /// The same clock as far as this process knows it, without asking. Every answer of a server tells; steps of this
    /// machine's clock do not matter.
    fn clock(&self) -> Reading;
    /// Whether that is another clock than this machine's.
    fn has_own_clock(&self) -> bool;

    /// The policy by which the store may drop what still holds, where it says that it has one: a server that makes room.
    async fn may_forget(&self) -> Option<String>;

    /// Reserves a call: the day's count, a place in the rhythm and a place in flight, all or nothing.
    ///
    /// # Errors
    /// `Unavailable` (a server that does not answer), `Storage` (a file that cannot be written).
    async fn reserve(&self, ask: &Ask<'_>) -> Result<Reserved>;

    /// Gives a place in flight back. A place that is no longer the holder's is left alone.
    ///
    /// # Errors
    /// As [`StateStore::reserve`].
    async fn settle(&self, settle: &Settle<'_>) -> Result<()>;

    /// Frees the places that a holder's calls in flight took: its process is known to be dead (its pipeline's lock was
    /// free). Places that rest after an answer go on resting: that is the gateway's wish.
    ///
    /// # Errors
    /// As [`StateStore::reserve`].
    async fn release(&self, holder: &str) -> Result<()>;

    /// Lets an account rest. The last word about a scope counts, of each kind and, where it is a refusal, of each gateway:
    /// one that has ended ends the rest before it.
    ///
    /// # Errors
    /// As [`StateStore::reserve`].
    async fn rest(&self, account: &str, resting: &Resting) -> Result<()>;

    /// Ends all rests of an account and brings it back to its full rate.
    ///
    /// # Errors
    /// As [`StateStore::reserve`].
    async fn wake(&self, account: &str) -> Result<()>;

    /// Rebuilds one run's part of a count from its landed attempts: the part becomes at least `counted.calls`, and the count
    /// grows by what it lacked. Gives whether it lacked any: a state that has counted the run's calls was not lost since.
    ///
    /// Runs add up, and none is added twice: not by another start, lake address, process or machine, nor after
    /// [`StateStore::correct`].
    ///
    /// # Errors
    /// As [`StateStore::reserve`].
    async fn raise(&self, counted: &Counted, run: &str) -> Result<bool>;

    /// Sets a count: another program uses the same key. It is what the gateway counts for the day. What runs have counted of
    /// it stays known as counted.
    ///
    /// # Errors
    /// As [`StateStore::reserve`].
    async fn correct(&self, counted: &Counted) -> Result<()>;

    /// The counts of a day, by account and scope: what binds where the store and the gateway agree on the day. Calls that
    /// were counted for another day, and count for this one at the gateway, are among them.
    ///
    /// # Errors
    /// As [`StateStore::reserve`].
    async fn counts(&self, day: NaiveDate) -> Result<Vec<Counted>>;

    /// Every account that was ever asked for, by key; rests that ended before `now` are left out.
    ///
    /// # Errors
    /// As [`StateStore::reserve`].
    async fn accounts(&self, now: DateTime<Utc>) -> Result<Vec<AccountHealth>>;

    /// An answer that has not expired.
    ///
    /// # Errors
    /// As [`StateStore::reserve`].
    async fn cached(&self, key: &str, now: DateTime<Utc>) -> Result<Option<Cached>>;

    /// Keeps an answer in place of the one that may be there. Expired answers and counts of days long past are dropped
    /// now and then.
    ///
    /// # Errors
    /// As [`StateStore::reserve`].
    async fn cache(&self, key: &str, cached: &Cached) -> Result<()>;

    /// Takes a key until then, unless it is taken; whether the caller has got it. Of many who ask at once one gets it.
    /// Keys are those of [`StateStore::cached`], which shows whether one is taken.
    ///
    /// # Errors
    /// As [`StateStore::reserve`].
    async fn claim(&self, key: &str, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool>;
}

/// A store that callers share.
pub type State = Arc<dyn StateStore>;

/// By account and scope.
fn in_order(mut counts: Vec<Counted>) -> Vec<Counted> {
    counts.sort_by(|left, right| (&left.account, &left.scope).cmp(&(&right.account, &right.scope)));
    counts
}

/// Counts of days longer ago are dropped.
pub const COUNTS_KEPT_DAYS: u16 = 40;

/// Opens the store that a pipeline names.
///
/// # Errors
/// `Storage`: a file that cannot be written, is damaged, or belongs to another program or a newer huopan.
/// `Unavailable`: a server that does not answer. `Denied`: one that refuses user or password. `Config`: one whose
/// certificate is not trusted.
pub async fn open(config: &StateConfig) -> Result<State> {
    match config {
        StateConfig::Sqlite(path) => Ok(Arc::new(sqlite::Sqlite::open(path).await?)),
        StateConfig::Redis(server) => Ok(Arc::new(redis::Redis::open(server).await?)),
    }
}

/// A store that lives as long as this value: for runs that call nobody, and for tests.
///
/// # Errors
/// `Storage`, when SQLite does not start.
pub async fn in_memory() -> Result<State> {
    Ok(Arc::new(sqlite::Sqlite::in_memory().await?))
}
