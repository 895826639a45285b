//! State in Redis (6.2 or later): shared by machines.
//!
//! The ledger is decided here, by the same rules as in a file, and written by a script that compares first: when somebody
//! else was quicker, it is read and decided again.
//!
//! | key | what it holds |
//! |---|---|
//! | `huopan:version` | the version of these keys |
//! | `huopan:accounts` | a set: the accounts that were asked for |
//! | `huopan:account:KEY` | an account's page of the ledger, JSON |
//! | `huopan:counts:DAY` | a hash: `["KEY","SCOPE"]` → calls; expires |
//! | `huopan:counts:DAY:runs` | a hash: `["KEY","SCOPE","RUN"]` → one run's part of them; expires |
//! | `huopan:answer:KEY` | an answer: eight bytes of microseconds until it expires, then its bytes; expires |
//!
//! A server that is emptied, or comes back with what it knew a while ago, while a run uses it would let calls be made a
//! second time: a process remembers what it was granted, and stops when the server no longer does. The next start counts
//! from what has landed.
//!
//! Invariant: no message holds the address's user or password, and with `rediss://` nothing is said to a server whose
//! certificate is not trusted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind, TlsCertificates,
};
use rustls::{AlertDescription, CertificateError};
use tokio::sync::Mutex;

use crate::base::{Error, Kind, Result};
use crate::config::pipeline::RedisConfig;

use super::ledger::{Ledger, Used};
use super::{AccountHealth, Ask, COUNTS_KEPT_DAYS, Cached, Counted, Reserved, Resting, Settle, StateStore};

/// The version of the keys above.
const VERSION: u32 = 1;
/// How long the server may take to accept a connection, and to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// A lost connection is made anew this often before a call fails.
const RECONNECTS: usize = 2;
/// How often a decision is made again because somebody else was quicker. Every time one of them got through.
const ATTEMPTS: u32 = 200;
/// The longest pause between two of them, in microseconds.
const PAUSE_MOST: u64 = 20_000;
const COUNTS_KEPT_SECONDS: i64 = COUNTS_KEPT_DAYS as i64 * 86_400;

/// Writes an account's page and a count, with the part of the run that it grew by, if both are as they were; else gives
/// what all three are.
const CHANGE: &str = "
local document = redis.call('GET', KEYS[1]) or ''
local calls = ''
if ARGV[4] ~= '' then calls = redis.call('HGET', KEYS[3], ARGV[4]) or '' end
if document ~= ARGV[1] or calls ~= ARGV[5] then
    local part = ''
    if ARGV[4] ~= '' then part = redis.call('HGET', KEYS[4], ARGV[8]) or '' end
    return {document, calls, part}
end
if document ~= ARGV[2] then
    redis.call('SET', KEYS[1], ARGV[2])
    redis.call('SADD', KEYS[2], ARGV[3])
end
if calls ~= ARGV[6] then
    redis.call('HSET', KEYS[3], ARGV[4], ARGV[6])
    redis.call('EXPIRE', KEYS[3], ARGV[7])
    redis.call('HINCRBY', KEYS[4], ARGV[8], 1)
    redis.call('EXPIRE', KEYS[4], ARGV[7])
end
return false
";
/// Raises a run's part of a count, and the count by what the part lacked.
const RAISE: &str = "
local part = tonumber(redis.call('HGET', KEYS[2], ARGV[2]) or '0')
local lacking = tonumber(ARGV[3]) - part
if lacking <= 0 then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('HINCRBY', KEYS[1], ARGV[1], lacking)
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
";

/// A Redis server.
pub(super) struct Redis {
    /// Host and port.
    server: String,
    manager: ConnectionManager,
    /// Decisions of one process take turns, so that only processes compete. What it was granted, by count and part.
    turn: Mutex<HashMap<(String, String), u64>>,
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

/// What a call is counted by.
#[derive(Clone, Copy)]
struct Scope<'a> {
    day: NaiveDate,
    /// As in [`Ask`].
    gateway_day: NaiveDate,
    name: &'a str,
    run: &'a str,
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
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(RECONNECTS)
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(patience));
        let manager =
            ConnectionManager::new_with_config(client, config).await.map_err(|error| failure(&server, error))?;
        let this = Self { server, manager, turn: Mutex::default() };
        this.check_version().await?;
        Ok(this)
    }

    async fn check_version(&self) -> Result<()> {
        let key = "huopan:version";
        () = self.ask(redis::cmd("SET").arg(key).arg(VERSION).arg("NX")).await?;
        let version: u32 = self.ask(redis::cmd("GET").arg(key)).await?;
        if version == VERSION {
            return Ok(());
        }
        let message =
            format!("redis at `{}` keeps state of version {version}; this huopan knows version {VERSION}", self.server);
        Err(Error::storage(message).with_hint("use the huopan that wrote it, or another database: `redis://host/1`"))
    }

    /// Sends a command.
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        self.send(Request::One(command)).await
    }

    /// Sends a request, again when the connection was lost: the manager makes it anew. What is sent twice does no harm: a
    /// change compares first, so that at worst a call is counted that does not leave.
    async fn send<T: FromRedisValue>(&self, request: Request<'_>) -> Result<T> {
        let mut result = request.send(self.manager.clone()).await;
        for _ in 0..RECONNECTS {
            match &result {
                Err(error) if error.is_connection_dropped() => result = request.send(self.manager.clone()).await,
                _ => break,
            }
        }
        result.map_err(|error| failure(&self.server, error))
    }

    /// Decides from an account's page and a count, and writes what was decided.
    async fn decide<T>(
        &self,
        account: &str,
        scope: Option<Scope<'_>>,
        mut decide: impl FnMut(&mut Ledger, Used) -> (T, u64),
    ) -> Result<T> {
        let page = page(account);
        let counts = scope.map_or_else(|| "huopan:counts".to_owned(), |scope| counts(scope.day));
        let parts = parts_of(&counts);
        let field = scope.map_or_else(|| Ok(String::new()), |scope| field(&(account, scope.name)))?;
        let part = scope.map_or_else(|| Ok(String::new()), |scope| self::field(&(account, scope.name, scope.run)))?;
        let mut granted = self.turn.lock().await;
        let granted = granted.entry((counts.clone(), part.clone())).or_default();
        let mut read = redis::pipe();
        read.get(&page).hget(&counts, &field).hget(&parts, &part);
        let read: (Option<String>, Option<String>, Option<String>) = self.send(Request::Many(&read)).await?;
        let (mut document, mut calls) = (read.0.unwrap_or_default(), read.1.unwrap_or_default());
        let mut known = read.2.unwrap_or_default();
        for attempt in 0..ATTEMPTS {
            if scope.is_some() && known.parse::<u64>().unwrap_or(0) < *granted {
                return Err(self.forgot());
            }
            let mut ledger = Ledger::read(&document).map_err(|error| self.damaged(&page, error))?;
            let used = if calls.is_empty() { Ok(0) } else { calls.parse::<u64>() };
            let used = used.map_err(|error| self.damaged(&counts, error))?;
            let there = match scope.filter(|scope| scope.gateway_day != scope.day) {
                Some(scope) => self.count(&self::counts(scope.gateway_day), &field).await?,
                None => used,
            };
            let (decided, used_after) = decide(&mut ledger, Used { today: used, there });
            let after = ledger.write().map_err(|error| self.damaged(&page, error))?;
            let calls_after = if used_after == used { calls.clone() } else { used_after.to_string() };
            if (&after, &calls_after) == (&document, &calls) {
                return Ok(decided);
            }
            let mut change = redis::cmd("EVAL");
            change.arg(CHANGE).arg(4).arg(&page).arg("huopan:accounts").arg(&counts).arg(&parts);
            change.arg(&document).arg(&after).arg(account).arg(&field).arg(&calls).arg(&calls_after);
            let now: Option<(String, String, String)> = self.ask(change.arg(COUNTS_KEPT_SECONDS).arg(&part)).await?;
            let Some(now) = now else {
                *granted += u64::from(calls_after != calls);
                return Ok(decided);
            };
            (document, calls, known) = now;
            let pause = rand::random_range(0..=(100_u64 << attempt.min(8)).min(PAUSE_MOST));
            tokio::time::sleep(Duration::from_micros(pause)).await;
        }
        let message = format!("redis at `{}`: others change the account's ledger without a break", self.server);
        Err(Error::new(Kind::Unavailable, message))
    }

    /// Changes an account's page.
    async fn change(&self, account: &str, mut change: impl FnMut(&mut Ledger)) -> Result<()> {
        self.decide(account, None, |ledger, used| (change(ledger), used.today)).await
    }

    /// A count, as it is now.
    async fn count(&self, counts: &str, field: &str) -> Result<u64> {
        let calls: Option<u64> = self.ask(redis::cmd("HGET").arg(counts).arg(field)).await?;
        Ok(calls.unwrap_or(0))
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

    fn damaged(&self, key: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::storage(format!("key `{key}` of redis at `{}` is damaged", self.server))
            .with_hint("delete it (counts with their `:runs`): today's calls are counted again from landed answers")
            .caused_by(error)
    }
}

#[async_trait::async_trait]
impl StateStore for Redis {
    async fn now(&self) -> Result<DateTime<Utc>> {
        let (seconds, micros): (i64, i64) = self.ask(&redis::cmd("TIME")).await?;
        let now = DateTime::from_timestamp_micros(seconds.saturating_mul(1_000_000).saturating_add(micros));
        now.ok_or_else(|| Error::data(format!("redis at `{}` has no clock: it says {seconds} s", self.server)))
    }

    fn has_own_clock(&self) -> bool {
        true
    }

    async fn reserve(&self, ask: &Ask<'_>) -> Result<Reserved> {
        let scope = Scope { day: ask.day, gateway_day: ask.gateway_day, name: ask.scope, run: ask.run };
        self.decide(ask.account, Some(scope), |ledger, used| match ledger.reserve(used, ask) {
            Reserved::Granted { place, used } => (Reserved::Granted { place, used }, used),
            refused => (refused, used.today),
        })
        .await
    }

    async fn settle(&self, settle: &Settle<'_>) -> Result<()> {
        self.change(settle.account, |ledger| ledger.settle(settle)).await
    }

    async fn release(&self, holder: &str) -> Result<()> {
        for account in self.known().await? {
            self.change(&account, |ledger| ledger.release(holder)).await?;
        }
        Ok(())
    }

    async fn rest(&self, account: &str, resting: &Resting) -> Result<()> {
        self.change(account, |ledger| ledger.rest(resting)).await
    }

    async fn wake(&self, account: &str) -> Result<()> {
        self.change(account, Ledger::wake).await
    }

    async fn raise(&self, counted: &Counted, run: &str) -> Result<bool> {
        let Counted { account, scope, day, calls } = counted;
        let (counts, part) = (counts(*day), field(&(account, scope, run))?);
        let mut raise = redis::cmd("EVAL");
        raise.arg(RAISE).arg(2).arg(&counts).arg(parts_of(&counts));
        self.ask(raise.arg(field(&(account, scope))?).arg(part).arg(*calls).arg(COUNTS_KEPT_SECONDS)).await
    }

    async fn correct(&self, counted: &Counted) -> Result<()> {
        let (key, field) = (counts(counted.day), field(&(&counted.account, &counted.scope))?);
        let mut set = redis::pipe();
        set.atomic().hset(&key, field, counted.calls).ignore().expire(&key, COUNTS_KEPT_SECONDS).ignore();
        self.send(Request::Many(&set)).await
    }

    async fn counts(&self, day: NaiveDate) -> Result<Vec<Counted>> {
        let key = counts(day);
        let read: Vec<(String, u64)> = self.ask(redis::cmd("HGETALL").arg(&key)).await?;
        let counted = read.into_iter().map(|(field, calls)| {
            let (account, scope) = serde_json::from_str(&field).map_err(|error| self.damaged(&key, error))?;
            Ok(Counted { account, scope, day, calls })
        });
        let mut counted = counted.collect::<Result<Vec<_>>>()?;
        counted.sort_by(|left, right| (&left.account, &left.scope).cmp(&(&right.account, &right.scope)));
        Ok(counted)
    }

    async fn accounts(&self, now: DateTime<Utc>) -> Result<Vec<AccountHealth>> {
        let mut health = Vec::new();
        for account in self.known().await? {
            let document: Option<String> = self.ask(redis::cmd("GET").arg(page(&account))).await?;
            let ledger = Ledger::read(&document.unwrap_or_default());
            health.push(ledger.map_err(|error| self.damaged(&page(&account), error))?.health(&account, now));
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

fn counts(day: NaiveDate) -> String {
    format!("huopan:counts:{day}")
}

/// Where the runs' parts of a day's counts are.
fn parts_of(counts: &str) -> String {
    format!("{counts}:runs")
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

/// What TLS found wrong, where it did.
fn tls_error(error: &RedisError) -> Option<&rustls::Error> {
    cause(error)?.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref()
}

type Cause = dyn std::error::Error + Send + Sync;

fn cause(error: &RedisError) -> Option<&Cause> {
    std::error::Error::source(error)?.downcast_ref::<Arc<Cause>>().map(AsRef::as_ref)
}

/// What a TLS failure means: something must be changed, here or at the server.
fn tls_failure(server: &str, error: &rustls::Error) -> Error {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    let (what, hint) = match error {
        InvalidCertificate(error) => (
            format!("the certificate of redis at `{server}` is not trusted: {error}"),
            match error {
                CertificateError::UnknownIssuer => Some(
                    "name who signed it: `ca = \"FILE\"` in `[state]`, a PEM file; or add them to those that the machine trusts",
                ),
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Some("write the address with a name that the certificate is valid for")
                }
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => {
                    Some("renew the certificate; if it is current, set this machine's clock (NTP)")
                }
                _ => None,
            },
        ),
        AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure) => (
            format!("redis at `{server}` asks its clients for certificates: {error}"),
            Some(
                "huopan shows none: let the server take clients without one (`tls-auth-clients no`), and use a password",
            ),
        ),
        InvalidMessage(_) => (
            format!("redis at `{server}` does not speak TLS: {error}"),
            Some("is it the port for TLS? An address without TLS begins with `redis://`"),
        ),
        error => (format!("redis at `{server}` and huopan do not agree on TLS: {error}"), None),
    };
    let failure = Error::config(what);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// What an error of the client means. Its own text is the server's or the system's: it never holds the address.
fn failure(server: &str, error: RedisError) -> Error {
    if let Some(error) = tls_error(&error) {
        return tls_failure(server, error);
    }
    let (kind, what, hint) = match error.kind() {
        ErrorKind::Io if cause(&error).is_some_and(|cause| !cause.is::<std::io::Error>()) => {
            (Kind::Config, "cannot be asked from this machine", Some("see the certificates that it trusts"))
        }
        ErrorKind::AuthenticationFailed => (Kind::Denied, "refuses user or password", Some("set them in the address")),
        ErrorKind::Server(ServerErrorKind::NoPerm) => (
            Kind::Denied,
            "does not let this user do what it must",
            Some("allow it `~huopan:*` with `+@read +@write +@scripting +@transaction +time`"),
        ),
        _ if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => {
            (Kind::Denied, "refuses user or password", Some("set them in the address"))
        }
        ErrorKind::InvalidClientConfig => (Kind::Config, "cannot be asked with this address", None),
        ErrorKind::Io
        | ErrorKind::Parse
        | ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown,
        ) => (Kind::Unavailable, "does not answer", None),
        _ => (Kind::Storage, "does not do what it is asked", None),
    };
    let failure = Error::new(kind, format!("redis at `{server}` {what}")).caused_by(error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests;
