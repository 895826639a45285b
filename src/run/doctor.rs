//! Doctor: whether a pipeline would run, check by check, and what to do where it would not.
//!
//! | check | asks |
//! |---|---|
//! | configuration, lake, state, account | this machine: can the lake be written, do creators race rightly, who has calls left |
//! | network, clock | the gateway's server: its name, port, TLS and `Date`; no call |
//! | token, signature, permission, wholesale | the gateway: at most one call per endpoint and account, counted and landed |
//! | quota, watch, alert | what is left after that; can the watches be asked; every alert is sent a test message |
//!
//! * `calls`: what is asked of the gateways, and what the answers mean.
//! * `verdict`: one answer in words.
//!
//! Invariant: publishes nothing and begins no run; every call is reserved and landed like a run's.

mod calls;
mod verdict;

use std::sync::Arc;

use chrono::TimeDelta;

use crate::alert::{self, Message};
use crate::base::time::beijing_day;
use crate::base::{Error, Kind, Result};
use crate::config::Pipeline;
use crate::config::gateway::Gateway;
use crate::config::location::Location;
use crate::config::pipeline::{Account, StateConfig};
use crate::extract::Fingerprint;
use crate::plan::{self, Work};
use crate::state::{self, RestKind, Resting, State, StateStore};
use crate::store::{RACERS, Store};

use super::{Surroundings, ledger, watch};

/// What the doctor may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether gateways may be asked.
    pub calls: Calls,
}

/// Whether gateways may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Once per endpoint and account.
    Few,
    /// No.
    None,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at: a name of the table above.
    pub check: &'static str,
    /// The account, gateway or alert it is about; may be empty.
    pub about: String,
    /// How it is.
    pub status: Status,
    /// What was found, in one line.
    pub says: String,
    /// What to do about it.
    pub todo: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// As it should be.
    Ok,
    /// A run would work, but somebody should look at it.
    Warning,
    /// A run would not work.
    Failed(Kind),
    /// Nothing is known: it was not looked at.
    Skipped,
}

impl Status {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Failed(_) => "failed",
            Status::Skipped => "skipped",
        }
    }
}

/// The exit code of an examination: 0, or the first of 70, 1, 75 that a failed check asks for.
#[must_use]
pub fn exit_code(checks: &[Check]) -> u8 {
    let failed = checks.iter().filter_map(|check| match check.status {
        Status::Failed(kind) => Some(kind.exit_code()),
        Status::Ok | Status::Warning | Status::Skipped => None,
    });
    let codes: Vec<u8> = failed.collect();
    [70, 1, 75].into_iter().find(|code| codes.contains(code)).unwrap_or(0)
}

/// Everything that [`Check::about`] may say: for whoever aligns them.
#[must_use]
pub fn subjects(pipeline: &Pipeline) -> Vec<String> {
    let accounts = pipeline.accounts.iter().chain(pipeline.details.iter().flat_map(|details| &details.accounts));
    let gateways = [Some(&pipeline.gateway), pipeline.details.as_ref().map(|details| &details.gateway)];
    let gateways = gateways.into_iter().flatten().map(|gateway| gateway.name.clone());
    let alerts = pipeline.alerts.iter().map(|alert| alert.name.clone());
    accounts.map(|account| account.name.clone()).chain(gateways).chain(alerts).collect()
}

/// Looks at everything that a run of the pipeline needs; `tell` hears each check as it ends.
pub async fn doctor(
    pipeline: &Pipeline,
    options: Options,
    around: &Surroundings<'_>,
    tell: &(dyn Fn(&Check) + Send + Sync),
) -> Vec<Check> {
    let mut visit = Visit { pipeline, options, around, tell, checks: Vec::new() };
    let work = visit.configuration();
    let store = visit.lake().await;
    if pipeline.files.is_none() {
        let state = visit.state(store.as_ref()).await;
        if let Some(state) = &state {
            visit.accounts(state.as_ref(), When::Before).await;
        }
        calls::examine(&mut visit, calls::Means { work, store, state: state.clone() }).await;
        if let Some(state) = state.filter(|_| options.calls == Calls::Few) {
            visit.accounts(state.as_ref(), When::After).await;
        }
    }
    visit.watches().await;
    visit.alerts().await;
    visit.checks
}

/// One examination.
struct Visit<'a> {
    pipeline: &'a Pipeline,
    options: Options,
    around: &'a Surroundings<'a>,
    tell: &'a (dyn Fn(&Check) + Send + Sync),
    checks: Vec<Check>,
}

/// Whether accounts are looked at before calls or after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Before,
    After,
}

/// Machines whose clocks differ by less than this agree.
const CLOCK_SECONDS_MAX: i64 = 30;

impl Visit<'_> {
    fn add(&mut self, check: &'static str, about: &str, status: Status, says: impl Into<String>) {
        self.advise(check, about, (status, says.into(), None));
    }

    fn advise(&mut self, check: &'static str, about: &str, (status, says, todo): (Status, String, Option<String>)) {
        let check = Check { check, about: about.to_owned(), status, says, todo };
        (self.tell)(&check);
        self.checks.push(check);
    }

    fn fail(&mut self, check: &'static str, about: &str, error: &Error) {
        self.advise(check, about, (Status::Failed(error.kind()), in_one_line(error), error.hint().map(str::to_owned)));
    }

    /// The file itself was read before; this is what it asks for.
    fn configuration(&mut self) -> Option<Work> {
        let pipeline = self.pipeline;
        let what = match (&pipeline.files, pipeline.shops.len(), pipeline.items.len()) {
            (Some(_), _, _) => "captured files".to_owned(),
            (None, 0, items) => counted(items, "item"),
            (None, shops, 0) => counted(shops, "shop"),
            (None, shops, items) => format!("{} and {}", counted(shops, "shop"), counted(items, "item")),
        };
        let says = format!("pipeline `{}` asks gateway `{}` for {what}", pipeline.name, pipeline.gateway.name);
        if pipeline.files.is_some() {
            self.add("configuration", "", Status::Ok, says);
            return None;
        }
        match plan::work(pipeline) {
            Ok(work) => {
                self.add("configuration", "", Status::Ok, says);
                Some(work)
            }
            Err(error) => {
                self.fail("configuration", "", &error.into());
                None
            }
        }
    }

    async fn lake(&mut self) -> Option<Store> {
        let location = &self.pipeline.lake.location;
        match probed(location).await {
            Ok(store) => {
                let says = format!("`{location}`: written, read, deleted; of {RACERS} creators of one file one won");
                self.add("lake", "", Status::Ok, says);
                Some(store)
            }
            Err(error) => {
                self.fail("lake", "", &error);
                None
            }
        }
    }

    /// Opens the state store; brings a ledger that was lost back, so that no call here is one too many.
    async fn state(&mut self, store: Option<&Store>) -> Option<State> {
        match self.open_state(store).await {
            Ok((state, offset, forgets)) => {
                let what = match &self.pipeline.state {
                    StateConfig::Sqlite(path) => format!("SQLite file `{}`", path.display()),
                    StateConfig::Redis(redis) => format!("Redis at `{}`", server(redis.address.expose())),
                };
                let (apart, side) =
                    (offset.num_seconds().abs(), if offset < TimeDelta::zero() { "behind" } else { "ahead of" });
                if apart > CLOCK_SECONDS_MAX {
                    let says = format!("{what}: its clock is {apart} s {side} this machine's");
                    let todo = "set both machines' clocks (NTP): all machines that share this state go by its clock";
                    self.advise("state", "", (Status::Warning, says, Some(todo.to_owned())));
                } else if let Some(policy) = forgets {
                    let says = format!("{what}: once its memory is full it drops what it holds (`{policy}`)");
                    let todo =
                        "give huopan a server with `maxmemory-policy noeviction`: counts that are dropped end runs";
                    self.advise("state", "", (Status::Warning, says, Some(todo.to_owned())));
                } else {
                    self.add("state", "", Status::Ok, what);
                }
                Some(state)
            }
            Err(error) => {
                self.fail("state", "", &error);
                None
            }
        }
    }

    /// The store, how far its clock is ahead of this machine's, and by which policy it forgets.
    async fn open_state(&self, store: Option<&Store>) -> Result<(State, TimeDelta, Option<String>), Error> {
        let state = state::open(&self.pipeline.state).await?;
        let now = state.now().await?;
        let offset = now - self.around.clock.now();
        // Both are read now, to hear of a damaged file before a night does.
        state.counts(beijing_day(now)).await?;
        state.accounts(now).await?;
        if let Some(store) = store {
            ledger::rebuild(store, self.pipeline, state.as_ref(), beijing_day(now)).await?;
        }
        let forgets = state.may_forget().await;
        Ok((state, offset, forgets))
    }

    async fn accounts(&mut self, state: &dyn StateStore, when: When) {
        let pipeline = self.pipeline;
        let details = pipeline.details.as_ref().map(|details| (&details.gateway, details.accounts.as_slice()));
        let own = (&pipeline.gateway, pipeline.accounts.as_slice());
        for (gateway, accounts) in [Some(own), details].into_iter().flatten() {
            if let Err(error) = self.accounts_of(gateway, accounts, (state, when)).await {
                self.fail("account", &gateway.name, &error);
            }
        }
    }

    /// Calls made and left; an account that cannot ask fails only where nobody else can.
    async fn accounts_of(
        &mut self,
        gateway: &Gateway,
        accounts: &[Account],
        (state, when): (&dyn StateStore, When),
    ) -> Result<(), Error> {
        let now = state.now().await?;
        let counts = state.counts(beijing_day(now)).await?;
        let health = state.accounts(now).await?;
        let lines: Vec<Line> = accounts.iter().map(|account| Line::of(gateway, account, (&counts, &health))).collect();
        let somebody_can = lines.iter().any(|line| line.closed.is_none());
        let asks = self.options.calls == Calls::Few;
        let name = if when == When::Before { "account" } else { "quota" };
        for (account, line) in accounts.iter().zip(lines) {
            let status = match line.closed {
                None if line.is_short => Status::Warning,
                None => Status::Ok,
                // What it says now the signature tells: a question that is answered wakes the account.
                Some(Kind::Denied) if asks => Status::Warning,
                Some(_) if somebody_can => Status::Warning,
                Some(kind) => Status::Failed(kind),
            };
            self.advise(name, &account.name, (status, line.says, line.todo));
        }
        Ok(())
    }

    /// Whether any lake could answer them.
    async fn watches(&mut self) {
        match watch::check(&self.pipeline.path, &self.pipeline.watches).await {
            Ok(wrong) if wrong.is_empty() && !self.pipeline.watches.is_empty() => {
                let says = format!(
                    "{} can be asked",
                    match self.pipeline.watches.len() {
                        1 => "1 watch".to_owned(),
                        count => format!("{count} watches"),
                    }
                );
                self.add("watch", "", Status::Ok, says);
            }
            Ok(wrong) => wrong.iter().for_each(|error| self.fail("watch", "", error)),
            Err(error) => self.fail("watch", "", &error),
        }
    }

    async fn alerts(&mut self) {
        let text = "a test of huopan doctor: alerts of this pipeline arrive here";
        let message = Message::new(alert::Kind::Test, self.around.clock.now(), &self.pipeline.name, text);
        for alert in &self.pipeline.alerts {
            if self.around.cancel.is_cancelled() {
                self.add("alert", &alert.name, Status::Skipped, "stopped by a signal");
                continue;
            }
            match alert::send(std::slice::from_ref(alert), &message).await.into_iter().next() {
                None => self.add("alert", &alert.name, Status::Ok, "a test message was delivered"),
                Some(failure) => {
                    let todo = "is its `url` right, and can this machine reach it? Runs go on without it";
                    let says = format!("a test message was not delivered: {}", failure.reason);
                    self.advise("alert", &alert.name, (Status::Failed(Kind::Unavailable), says, Some(todo.to_owned())));
                }
            }
        }
    }

    fn run_id(&self) -> crate::base::RunId {
        super::new_run_id(self.around, beijing_day(self.around.clock.now()))
    }

    fn clock(&self) -> Arc<dyn crate::base::Clock> {
        Arc::clone(&self.around.clock)
    }
}

/// What the ledger says of one account.
struct Line {
    says: String,
    todo: Option<String>,
    /// It cannot ask, and why.
    closed: Option<Kind>,
    /// Nearly all of its calls are used up.
    is_short: bool,
}

/// Shares of a day's calls from which on it is short, in percent.
const SHORT_PERCENT: u64 = 80;

impl Line {
    fn of(
        gateway: &Gateway,
        account: &Account,
        (counts, health): (&[state::Counted], &[state::AccountHealth]),
    ) -> Self {
        use crate::config::gateway::QuotaScope;
        let own = counts.iter().filter(|counted| counted.account == account.key);
        let used = own.map(|counted| counted.calls).max().unwrap_or(0);
        let each = match gateway.limits.quota_scope {
            QuotaScope::Account => "",
            QuotaScope::Endpoint => " (the endpoint with most)",
            QuotaScope::Shop => " (the shop with most)",
        };
        let mut line = match account.calls_per_day {
            None => Self {
                says: format!("{used} calls today{each}; how many it may make is not known"),
                todo: None,
                closed: None,
                is_short: false,
            },
            Some(limit) => {
                let left = limit.saturating_sub(used);
                let is_short = used.saturating_mul(100) >= limit.saturating_mul(SHORT_PERCENT);
                let used_up = left == 0 && gateway.limits.quota_scope == QuotaScope::Account;
                Self {
                    says: format!("{used} of {limit} calls today{each}, {left} left"),
                    todo: match (used_up, is_short) {
                        (true, _) => Some("go on after midnight in Beijing, or add an account".to_owned()),
                        (false, true) => Some("`huopan plan` says whether a run still fits".to_owned()),
                        (false, false) => None,
                    },
                    closed: used_up.then_some(Kind::Quota),
                    is_short,
                }
            }
        };
        let Fingerprint { gateway, credentials } = Fingerprint::new(gateway, account);
        let rests = health.iter().filter(|known| known.account == account.key).flat_map(|known| &known.rests);
        let rests = rests.filter(|resting| resting.concerns(&gateway, &credentials));
        if let Some(Resting { scope, rest, .. }) =
            rests.max_by_key(|resting| (resting.scope.is_empty(), resting.rest.until))
        {
            let (kind, todo) = match rest.kind {
                RestKind::Quota => (Kind::Quota, "go on when it ends, or add an account"),
                RestKind::Denied => {
                    let wake = "correct its credentials or permissions; an answer to the doctor's question wakes it";
                    (Kind::Denied, wake)
                }
            };
            let scope = if scope.is_empty() { String::new() } else { format!("{} ", scope.replace(':', " ")) };
            line.says = format!("{}; {scope}{rest}", line.says);
            line.todo = Some(todo.to_owned());
            line.closed = scope.is_empty().then_some(kind).or(line.closed);
            line.is_short = true;
        }
        line
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Host and port of a Redis address, which may hold a password.
fn server(address: &str) -> String {
    url::Url::parse(address).map_or_else(
        |_| "?".to_owned(),
        |url| format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(6379)),
    )
}

/// An error and its causes.
fn in_one_line(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
/// Opens the lake, and has it race creators, whether it was probed before or not.
async fn probed(location: &Location) -> Result<Store> {
    let store = Store::writable(location).await?;
    store.probe().await?;
    Ok(store)
}
