//! State in Redis (6.2 or later): shared by machines.
//!
//! The ledger is decided here, by the same rules as in a file, and written by a script that compares first: when somebody
//! else was quicker, it says what is there, and it is decided again. With each answer the server tells its time, which is
//! the ledger's.
//!
//! | key | what it holds |
//! |---|---|
//! | `huopan:version` | the version of these keys |
//! | `huopan:accounts` | a set: the accounts that were asked for |
//! | `huopan:account:KEY` | an account's page of the ledger, JSON |
//! | `huopan:turn:KEY` | whose turn it is to change that page; expires |
//! | `huopan:counts:DAY` | a hash: `["KEY","SCOPE"]` → calls, `["KEY","SCOPE","RUN"]` → one run's part of them; expires |
//! | `huopan:answer:KEY` | an answer: eight bytes of microseconds until it expires, then its bytes; expires |
//!
//! Counts and their parts are one key, so that a server that drops keys to make room drops both or none: a count without its
//! parts would be doubled by the next start, and parts without their count never made good.
//!
//! A server that is emptied, or comes back with what it knew a while ago, while a run uses it would let calls be made a
//! second time: a process remembers what it was granted, and stops when the server no longer does. The next start counts
//! from what has landed.
//!
//! Invariant: no message holds the address's user or password, and with `rediss://` nothing is said to a server whose
//! certificate is not trusted.

mod clock;
mod desk;
mod failure;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue, Pipeline, RedisResult, TlsCertificates};
use tokio::time::Instant;

use crate::base::time::beijing_day;
use crate::base::{Error, Kind, Result};
use crate::config::pipeline::RedisConfig;

use self::clock::ServerClock;
use self::desk::{Batch, Count, Desk, Known, Wish};
use self::failure::{failure, is_replica};
use super::ledger::Ledger;
use super::{
    AccountHealth, Ask, COUNTS_KEPT_DAYS, Cached, Counted, Reading, Reserved, Resting, Settle, StateStore, in_order,
};

/// The version of the keys above. Version 1 kept the runs' parts under a key of their own.
const VERSION: u32 = 2;
/// How long the server may take to accept a connection, and to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// A lost connection is made anew this often before a call fails.
const RECONNECTS: usize = 2;
/// A request that was not answered is sent again so often: a server that pauses for ten seconds ends no night.
const PAUSES: usize = 3;
/// How often a decision is made again because somebody else was quicker. Every time one of them got through.
const ATTEMPTS: u32 = 200;
/// What a turn lasts longer than a way there and back takes twice.
const TURN_MORE: Duration = Duration::from_millis(20);
/// The longest pause between two of them, in microseconds.
const PAUSE_MOST: u64 = 20_000;
const COUNTS_KEPT_SECONDS: i64 = COUNTS_KEPT_DAYS as i64 * 86_400;

/// How often a server is asked for its time at first: the quickest answer says the most.
const FIRST_ASKED: u32 = 3;
/// Writes an account's page and a count, with the part of the run that it grew by, if both are as they were; else gives
/// what all three are. The server's time comes first.
///
/// Who is far away would always be too late where others change the page all the time: who was it twice has the next turn
/// for a moment, and the others wait for it.
const CHANGE: &str = "
local now = redis.call('TIME')
local turn = redis.call('GET', KEYS[4])
local document = redis.call('GET', KEYS[1]) or ''
local calls = ''
if ARGV[4] ~= '' then calls = redis.call('HGET', KEYS[3], ARGV[4]) or '' end
if document ~= ARGV[1] or calls ~= ARGV[5] or (turn and turn ~= ARGV[10]) then
    local part = ''
    if ARGV[4] ~= '' then part = redis.call('HGET', KEYS[3], ARGV[8]) or '' end
    if not turn and ARGV[11] ~= '0' then redis.call('SET', KEYS[4], ARGV[10], 'PX', ARGV[11]) end
    return {now[1], now[2], document, calls, part}
end
if document ~= ARGV[2] then
    redis.call('SET', KEYS[1], ARGV[2])
    redis.call('SADD', KEYS[2], ARGV[3])
end
if calls ~= ARGV[6] then
    redis.call('HSET', KEYS[3], ARGV[4], ARGV[6])
    redis.call('HINCRBY', KEYS[3], ARGV[8], ARGV[9])
    redis.call('EXPIRE', KEYS[3], ARGV[7])
end
if turn then redis.call('DEL', KEYS[4]) end
return now
";
/// Raises a run's part of a count, and the count by what the part lacked.
const RAISE: &str = "
local part = tonumber(redis.call('HGET', KEYS[1], ARGV[2]) or '0')
local lacking = tonumber(ARGV[3]) - part
if lacking <= 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('HINCRBY', KEYS[1], ARGV[1], lacking)
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
";
/// Brings keys of version 1 up to date: each day's parts, which come second, go to its counts. Parts whose counts are gone
/// say nothing.
const SINCE_VERSION_1: &str = "
if redis.call('GET', KEYS[1]) ~= '1' then return end
for day = 2, #KEYS, 2 do
    local parts = redis.call('HGETALL', KEYS[day + 1])
    if redis.call('EXISTS', KEYS[day]) == 1 then
        for at = 1, #parts, 2 do redis.call('HSET', KEYS[day], parts[at], parts[at + 1]) end
    end
    redis.call('DEL', KEYS[day + 1])
end
redis.call('SET', KEYS[1], ARGV[1])
";

/// A Redis server.
pub(super) struct Redis {
    /// Host and port.
    server: String,
    client: Client,
    settings: ConnectionManagerConfig,
    manager: Mutex<ConnectionManager>,
    clock: Mutex<ServerClock>,
    /// This process, where it takes turns with others.
    process: String,
    /// By account. Decisions of one process take turns, so that only processes compete.
    desks: Mutex<HashMap<String, Arc<Desk>>>,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("server", &self.server).finish_non_exhaustive()
    }
}

/// What is sent to the server at once.
#[derive(Clone, Copy)]
enum Request<'a> {
    One(&'a Cmd),
    Many(&'a Pipeline),
}

impl Request<'_> {
    async fn send<T: FromRedisValue>(self, mut manager: ConnectionManager) -> RedisResult<T> {
        match self {
            Request::One(command) => command.query_async(&mut manager).await,
            Request::Many(commands) => commands.query_async(&mut manager).await,
        }
    }
}

impl Redis {
    /// Connects to a server.
    pub(super) async fn open(config: &RedisConfig) -> Result<Self> {
        let opened = Self::connect(config, PATIENCE).await;
        let is_plain = config.address.expose().starts_with("redis://");
        opened.map_err(|error| match error.kind() {
            Kind::Unavailable if is_plain => error.with_hint("is it there? One that speaks TLS only wants `rediss://`"),
            _ => error,
        })
    }

    async fn connect(config: &RedisConfig, patience: Duration) -> Result<Self> {
        let (server, client) = client(config)?;
        let settings = ConnectionManagerConfig::new()
            .set_number_of_retries(RECONNECTS)
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(patience));
        let manager = ConnectionManager::new_with_config(client.clone(), settings.clone())
            .await
            .map_err(|error| failure(&server, error))?;
        let manager = Mutex::new(manager);
        let unset = ServerClock::new(Instant::now(), Instant::now(), 0);
        let process = uuid::Uuid::now_v7().to_string();
        let (clock, desks) = (Mutex::new(unset), Mutex::default());
        let this = Self { server, client, settings, manager, clock, process, desks };
        this.check_version().await?;
        for _ in 0..FIRST_ASKED {
            this.now().await?;
        }
        Ok(this)
    }

    async fn check_version(&self) -> Result<()> {
        let key = "huopan:version";
        () = self.ask(redis::cmd("SET").arg(key).arg(VERSION).arg("NX")).await?;
        let mut version: u32 = self.ask(redis::cmd("GET").arg(key)).await?;
        if version == 1 {
            self.add_since_version_1(key).await?;
            version = self.ask(redis::cmd("GET").arg(key)).await?;
        }
        if version == VERSION {
            return Ok(());
        }
        let message =
            format!("redis at `{}` keeps state of version {version}; this huopan knows version {VERSION}", self.server);
        Err(Error::storage(message).with_hint("use the huopan that wrote it, or another database: `redis://host/1`"))
    }

    /// Brings keys of version 1 up to date.
    async fn add_since_version_1(&self, version: &str) -> Result<()> {
        // A gateway's day may be the one after.
        let last = beijing_day(self.now().await?) + TimeDelta::days(1);
        let mut keys = vec![version.to_owned()];
        for counts in (0..=i64::from(COUNTS_KEPT_DAYS) + 1).map(|days| counts(last - TimeDelta::days(days))) {
            keys.extend([counts.clone(), format!("{counts}:runs")]);
        }
        let mut upgrade = redis::cmd("EVAL");
        self.ask(upgrade.arg(SINCE_VERSION_1).arg(keys.len()).arg(keys).arg(VERSION)).await
    }

    /// Sends a command.
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        self.send(Request::One(command)).await
    }

    /// Sends a request, again when no answer came in time or the connection was lost: the manager makes it anew. What is
    /// sent twice does no harm: a change compares first, so that at worst a call is counted that does not leave. A server
    /// that no longer takes writes has another one in its place, which may have its name by now.
    async fn send<T: FromRedisValue>(&self, request: Request<'_>) -> Result<T> {
        let mut result = request.send(self.manager()).await;
        for _ in 0..PAUSES {
            match &result {
                Err(error) if error.is_connection_dropped() || error.is_timeout() => {}
                Err(error) if is_replica(error) => self.reconnect().await?,
                _ => break,
            }
            result = request.send(self.manager()).await;
        }
        result.map_err(|error| failure(&self.server, error))
    }

    fn manager(&self) -> ConnectionManager {
        self.manager.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn reconnect(&self) -> Result<()> {
        let manager = ConnectionManager::new_with_config(self.client.clone(), self.settings.clone()).await;
        let manager = manager.map_err(|error| failure(&self.server, error))?;
        *self.manager.lock().unwrap_or_else(PoisonError::into_inner) = manager;
        Ok(())
    }

    /// Has a wish about an account fulfilled, along with those of others who wait.
    async fn fulfil(&self, account: &str, wish: Wish) -> Result<Option<Reserved>> {
        let desk = Arc::clone(self.desks().entry(account.to_owned()).or_default());
        let mut told = desk.wait(wish, self.server_clock().set_by());
        loop {
            let mut known = tokio::select! {
                biased;
                told = &mut told => return told.map_err(|_| Error::internal("a decision was lost")),
                known = desk.known.lock() => known,
            };
            if let Ok(decided) = told.try_recv() {
                return Ok(decided);
            }
            self.decide(account, &mut known, desk.next()).await?;
        }
    }

    /// Decides from an account's page and a count, and writes what was decided.
    async fn decide(&self, account: &str, known: &mut Known, batch: Batch<'_>) -> Result<()> {
        let page = page(account);
        let count =
            batch.count.clone().unwrap_or_else(|| Count { key: "huopan:counts".to_owned(), ..Count::default() });
        let Known { document, counts } = known;
        let part = counts.entry(count.clone()).or_default();
        let mut took = Duration::ZERO;
        for attempt in 0..ATTEMPTS {
            let mut ledger = Ledger::read(document).map_err(|error| self.damaged(&page, error))?;
            let used = if part.calls.is_empty() { Ok(0) } else { part.calls.parse::<u64>() };
            let used = used.map_err(|error| self.damaged(&count.key, error))?;
            let (decided, used_after) = batch.decide(&mut ledger, used, self.server_clock().set_by());
            let after = ledger.write().map_err(|error| self.damaged(&page, error))?;
            let calls_after = if used_after == used { part.calls.clone() } else { used_after.to_string() };
            // What was heard a moment ago needs no second word where nothing changes, and nobody waits for our turn to end.
            if attempt != 1 || (&after, &calls_after) != (&*document, &part.calls) {
                let grown = used_after.saturating_sub(used);
                let mut change = redis::cmd("EVAL");
                change.arg(CHANGE).arg(4).arg(&page).arg("huopan:accounts").arg(&count.key).arg(turn(account));
                change.arg(&*document).arg(&after).arg(account).arg(&count.field).arg(&part.calls).arg(&calls_after);
                change.arg(COUNTS_KEPT_SECONDS).arg(&count.part).arg(grown);
                // A turn lasts until the next attempt is there, and some more.
                let turn = if attempt == 0 { 0 } else { (2 * took + TURN_MORE).as_millis() as u64 };
                let asked = Instant::now();
                let there = self.written(change.arg(&self.process).arg(turn)).await?;
                took = asked.elapsed();
                if let Some((now, calls, counted)) = there {
                    (*document, part.calls) = (now, calls);
                    if counted.parse::<u64>().unwrap_or(0) < part.granted {
                        return Err(self.forgot());
                    }
                    let pause = rand::random_range(0..=(100_u64 << attempt.min(8)).min(PAUSE_MOST));
                    tokio::time::sleep(Duration::from_micros(pause)).await;
                    continue;
                }
                (*document, part.calls) = (after, calls_after);
                part.granted += grown;
            }
            batch.tell(decided);
            return Ok(());
        }
        let message = format!("redis at `{}`: others change the account's ledger without a break", self.server);
        Err(Error::new(Kind::Unavailable, message))
    }

    /// Sends a [`CHANGE`]; `Some`: nothing was changed, and this is what is there: the page, the count, the run's part.
    async fn written(&self, change: &Cmd) -> Result<Option<(String, String, String)>> {
        let asked = Instant::now();
        let told: Vec<String> = self.ask(change).await?;
        let answered = Instant::now();
        let [seconds, micros, there @ ..] = &*told else { return Err(self.no_clock("nothing")) };
        let (Ok(seconds), Ok(micros)) = (seconds.parse(), micros.parse()) else { return Err(self.no_clock(seconds)) };
        self.heard(asked, answered, (seconds, micros));
        Ok(match there {
            [document, calls, part] => Some((document.clone(), calls.clone(), part.clone())),
            _ => None,
        })
    }

    /// Takes note of what the server's clock has shown: seconds and microseconds.
    fn heard(&self, asked: Instant, answered: Instant, (seconds, micros): (i64, i64)) {
        let showed = seconds.saturating_mul(1_000_000).saturating_add(micros);
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        clock.heard(asked, answered, showed);
    }

    fn server_clock(&self) -> ServerClock {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn desks(&self) -> MutexGuard<'_, HashMap<String, Arc<Desk>>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes an account's page.
    async fn change(&self, account: &str, change: impl Fn(&mut Ledger) + Send + Sync + 'static) -> Result<()> {
        self.fulfil(account, Wish::Change(Box::new(change))).await.map(|_| ())
    }

    /// A count, as it is now.
    async fn count(&self, counts: &str, field: &str) -> Result<u64> {
        let calls: Option<u64> = self.ask(redis::cmd("HGET").arg(counts).arg(field)).await?;
        Ok(calls.unwrap_or(0))
    }

    /// An account's page, as it is now.
    async fn ledger(&self, account: &str) -> Result<Ledger> {
        let page = page(account);
        let document: Option<String> = self.ask(redis::cmd("GET").arg(&page)).await?;
        Ledger::read(&document.unwrap_or_default()).map_err(|error| self.damaged(&page, error))
    }

    async fn known(&self) -> Result<Vec<String>> {
        let mut accounts: Vec<String> = self.ask(redis::cmd("SMEMBERS").arg("huopan:accounts")).await?;
        accounts.sort_unstable();
        Ok(accounts)
    }

    fn forgot(&self) -> Error {
        let message = format!("redis at `{}` no longer knows the calls that this run has made", self.server);
        Error::new(Kind::Unavailable, message).with_hint(
            "it was emptied, or restarted without its newest data (`appendonly yes` keeps them): start the run again, \
             and the calls are counted anew from what has landed",
        )
    }

    fn no_clock(&self, says: impl std::fmt::Display) -> Error {
        Error::data(format!("redis at `{}` has no clock: it says `{says}`", self.server))
    }

    fn damaged(&self, key: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::storage(format!("key `{key}` of redis at `{}` is damaged", self.server))
            .with_hint("delete it: today's calls are counted again from landed answers")
            .caused_by(error)
    }
}

#[async_trait::async_trait]
impl StateStore for Redis {
    async fn now(&self) -> Result<DateTime<Utc>> {
        let asked = Instant::now();
        let (seconds, micros): (i64, i64) = self.ask(&redis::cmd("TIME")).await?;
        let answered = Instant::now();
        if DateTime::from_timestamp(seconds, 0).is_none() {
            return Err(self.no_clock(seconds));
        }
        self.heard(asked, answered, (seconds, micros));
        Ok(self.clock().now)
    }

    fn clock(&self) -> Reading {
        let shows = self.server_clock().shows(Instant::now());
        let now = DateTime::from_timestamp_micros(shows.micros).unwrap_or_default();
        Reading { now, unsure: TimeDelta::microseconds(shows.unsure) }
    }

    fn has_own_clock(&self) -> bool {
        true
    }

    async fn may_forget(&self) -> Option<String> {
        let told: RedisResult<String> = Request::One(redis::cmd("INFO").arg("memory")).send(self.manager()).await;
        // Who may not ask is told nothing.
        evicts(&told.ok()?)
    }

    async fn reserve(&self, ask: &Ask<'_>) -> Result<Reserved> {
        // Nothing is counted by another day than today's: what it holds does not change while this is decided.
        let there = match ask.gateway_day == ask.day {
            true => None,
            false => Some(self.count(&counts(ask.gateway_day), &field(&(ask.account, ask.scope))?).await?),
        };
        let reserved = self.fulfil(ask.account, Wish::reserve(ask, there)?).await?;
        reserved.ok_or_else(|| Error::internal("a call was not decided about"))
    }

    async fn settle(&self, settle: &Settle<'_>) -> Result<()> {
        self.fulfil(settle.account, Wish::settle(settle)).await.map(|_| ())
    }

    async fn release(&self, holder: &str) -> Result<()> {
        for account in self.known().await? {
            let holder = holder.to_owned();
            self.change(&account, move |ledger| ledger.release(&holder)).await?;
        }
        Ok(())
    }

    async fn rest(&self, account: &str, resting: &Resting) -> Result<()> {
        let resting = resting.clone();
        self.change(account, move |ledger| ledger.rest(&resting)).await
    }

    async fn wake(&self, account: &str) -> Result<()> {
        self.change(account, Ledger::wake).await
    }

    async fn raise(&self, counted: &Counted, run: &str) -> Result<bool> {
        let Counted { account, scope, day, calls } = counted;
        let (counts, part) = (counts(*day), field(&(account, scope, run))?);
        let mut raise = redis::cmd("EVAL");
        raise.arg(RAISE).arg(1).arg(counts);
        self.ask(raise.arg(field(&(account, scope))?).arg(part).arg(*calls).arg(COUNTS_KEPT_SECONDS)).await
    }

    async fn correct(&self, counted: &Counted) -> Result<()> {
        let (key, field) = (counts(counted.day), field(&(&counted.account, &counted.scope))?);
        let mut set = redis::pipe();
        set.atomic().hset(&key, field, counted.calls).ignore().expire(&key, COUNTS_KEPT_SECONDS).ignore();
        () = self.send(Request::Many(&set)).await?;
        let (day, scope) = (counted.day, counted.scope.clone());
        self.change(&counted.account, move |ledger| ledger.corrected(day, &scope)).await
    }

    async fn counts(&self, day: NaiveDate) -> Result<Vec<Counted>> {
        let key = counts(day);
        let read: Vec<(String, u64)> = self.ask(redis::cmd("HGETALL").arg(&key)).await?;
        let mut counted = Vec::new();
        for (field, calls) in read {
            let names: Vec<String> = serde_json::from_str(&field).map_err(|error| self.damaged(&key, error))?;
            // A run's part has three.
            if let Ok([account, scope]) = <[String; 2]>::try_from(names) {
                counted.push(Counted { account, scope, day, calls });
            }
        }
        for account in self.known().await? {
            self.ledger(&account).await?.add_moved(&account, day, &mut counted);
        }
        Ok(in_order(counted))
    }

    async fn accounts(&self, now: DateTime<Utc>) -> Result<Vec<AccountHealth>> {
        let mut health = Vec::new();
        for account in self.known().await? {
            health.push(self.ledger(&account).await?.health(&account, now));
        }
        Ok(health)
    }

    async fn cached(&self, key: &str, now: DateTime<Utc>) -> Result<Option<Cached>> {
        let stored: Option<bytes::Bytes> = self.ask(redis::cmd("GET").arg(answer(key))).await?;
        let cached = stored.and_then(|stored| {
            let (expires_at, _) = stored.split_first_chunk::<8>()?;
            let expires_at = DateTime::from_timestamp_micros(i64::from_be_bytes(*expires_at))?;
            Some(Cached { value: stored.slice(8..), expires_at })
        });
        Ok(cached.filter(|cached| cached.expires_at > now))
    }

    async fn cache(&self, key: &str, cached: &Cached) -> Result<()> {
        let mut stored = cached.expires_at.timestamp_micros().to_be_bytes().to_vec();
        stored.extend_from_slice(&cached.value);
        let until = cached.expires_at.timestamp_millis().saturating_add(1);
        self.ask(redis::cmd("SET").arg(answer(key)).arg(stored).arg("PXAT").arg(until)).await
    }

    async fn claim(&self, key: &str, _: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        let stored = until.timestamp_micros().to_be_bytes().to_vec();
        let mut set = redis::cmd("SET");
        // A connection that is lost may have been heard: then the key is taken, and nobody has got it.
        set.arg(answer(key)).arg(stored).arg("NX").arg("PXAT").arg(until.timestamp_millis().saturating_add(1));
        Ok(self.ask::<Option<String>>(&set).await?.is_some())
    }
}

fn page(account: &str) -> String {
    format!("huopan:account:{account}")
}

fn turn(account: &str) -> String {
    format!("huopan:turn:{account}")
}

fn counts(day: NaiveDate) -> String {
    format!("huopan:counts:{day}")
}

fn answer(key: &str) -> String {
    format!("huopan:answer:{key}")
}

/// How a count is named in the hash of its day: by account and scope; a run's part by the run, too.
fn field(of: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(of).map_err(|error| Error::internal("a count has no name").caused_by(error))
}

/// Host and port of an address, which are what messages say of it, and a client that has not connected yet.
fn client(config: &RedisConfig) -> Result<(String, Client)> {
    let url = url::Url::parse(config.address.expose()).ok();
    let server = url.and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port().unwrap_or(6379))));
    let server = server.ok_or_else(|| {
        Error::config("the address of the state store is none")
            .with_hint("write `redis://host:port/database` or `rediss://user:password@host:port/database`")
    })?;
    let opened = match &config.ca {
        None => Client::open(config.address.expose()).map_err(|error| failure(&server, error))?,
        Some(ca) => {
            let trusted = TlsCertificates { client_tls: None, root_cert: Some(ca.clone().into_bytes()) };
            Client::build_with_tls(config.address.expose(), trusted)
                .map_err(|error| Error::config("a certificate of `ca` in `[state]` cannot be read").caused_by(error))?
        }
    };
    Ok((server, opened))
}

/// The policy by which a server drops keys that still hold, once its memory is full; `memory` is what it says of that.
fn evicts(memory: &str) -> Option<String> {
    let says = |name: &str| memory.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
    let policy = says("maxmemory_policy").filter(|policy| *policy != "noeviction")?;
    (says("maxmemory")? != "0").then(|| policy.to_owned())
}

#[cfg(test)]
mod tests;
