//! One call: waits its turn, signs, sends, lands, judges, and tries again within its budget.
//!
//! Takes a task and its values; gives a [`Reply`] that the driver settles.
//!
//! Invariant: every attempt is landed, and what is judged is what the sink kept.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::base::json::Raw;
use crate::base::secret::Mask;
use crate::base::{Error, Kind, Result};
use crate::config::Gateway;
use crate::config::gateway::{Endpoint, ErrorClass};

use super::accounts::{Accounts, Turn};
use super::answer::{self, List};
use super::driver::Job;
use super::http::{Exchange, Http};
use super::judge::{Fault, Judge, Judgement};
use super::page::Page;
use super::progress::Event;
use super::record::Record;
use super::request::{self, Call, Request, Values};
use super::retry::{Budget, Dice, Next, Outage, Spent};
use super::schedule::{Named, Outcome, Task};
use super::skew::{Observation, Skew};
use super::{Attempt, body};

/// What all calls of a run share.
pub(super) struct Caller<'r> {
    pub(super) job: &'r Job<'r>,
    pub(super) http: Http,
    pub(super) judge: Judge<'r>,
    pub(super) budget: Budget,
    pub(super) mask: Mask,
    /// Set when nothing more may be sent: by a signal, or by an answer that stops the run.
    pub(super) halt: CancellationToken,
    /// Locked for moments only, never across an await.
    pub(super) shared: &'r Mutex<Shared>,
}

/// What calls change.
pub(super) struct Shared {
    pub(super) accounts: Accounts,
    pub(super) skew: Skew,
    pub(super) outage: Outage,
    pub(super) dice: Dice,
    pub(super) tally: Tally,
}

/// What is counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) calls: i64,
    pub(super) retries: i64,
    pub(super) throttles: i64,
    pub(super) bytes: i64,
    pub(super) good: i64,
    /// Why the last call that ran out of its budget did.
    pub(super) last_failure: Option<String>,
}

/// What became of a call.
pub(super) struct Reply {
    /// `Err`: the run must stop.
    pub(super) outcome: Result<Outcome>,
    /// Set when nothing more can be sent: why.
    pub(super) stopped: Option<String>,
    /// The class of the last attempt's fault.
    pub(super) fault: Option<ErrorClass>,
    /// Attempts sent.
    pub(super) attempts: u32,
}

/// What follows an attempt.
enum Step {
    Done(Result<Outcome>),
    Again(Duration),
}

/// The turn to send, as one account.
struct Ticket {
    account: usize,
    waited: Duration,
}

/// One attempt as it came back and was kept.
struct Tried {
    kept: Attempt,
    account: usize,
    sent: Instant,
    /// The offset that the attempt was signed with.
    offset: TimeDelta,
}

impl Caller<'_> {
    /// Makes one call, with as many attempts as it needs and may have.
    pub(super) async fn call(&self, task: &Task, values: Values) -> Reply {
        let mut reply = Reply { outcome: Ok(Outcome::NotSent), stopped: None, fault: None, attempts: 0 };
        let first = tokio::time::Instant::now();
        loop {
            let ticket = match self.turn().await {
                Ok(ticket) => ticket,
                Err(stopped) => {
                    reply.stopped = stopped;
                    return reply;
                }
            };
            reply.attempts += 1;
            let tried = match self.attempt(task, &values, &ticket, reply.attempts).await {
                Ok(tried) => tried,
                Err(error) => {
                    reply.outcome = Err(error);
                    return reply;
                }
            };
            let (judgement, outcome) = self.judge(task, &tried.kept);
            reply.fault = None;
            let step = match judgement {
                Judgement::Good => {
                    self.answered_well(tried.account);
                    Step::Done(Ok(outcome))
                }
                Judgement::Fault(fault) => {
                    reply.fault = Some(fault.class);
                    let spent = Spent { attempts: reply.attempts, elapsed: first.elapsed() };
                    self.after_fault(&tried, &fault, spent)
                }
            };
            match step {
                Step::Done(outcome) => {
                    reply.outcome = outcome;
                    return reply;
                }
                Step::Again(wait) => {
                    if !self.sleep(wait).await {
                        reply.outcome = Ok(Outcome::NotSent);
                        return reply;
                    }
                }
            }
        }
    }

    /// Sleeps unless the run is halted first; whether it slept.
    pub(super) async fn sleep(&self, time: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.halt.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }

    /// Waits for the right to send.
    async fn turn(&self) -> Result<Ticket, Option<String>> {
        let asked = tokio::time::Instant::now();
        loop {
            if self.halt.is_cancelled() {
                return Err(None);
            }
            let now = tokio::time::Instant::now();
            let turn = self.lock().accounts.take(now.into_std());
            match turn {
                Turn::Send(account) => return Ok(Ticket { account, waited: asked.elapsed() }),
                Turn::None(reason) => return Err(Some(reason)),
                Turn::Wait(at) => {
                    self.sleep(at.saturating_duration_since(now.into_std())).await;
                }
            }
        }
    }

    /// Builds, sends and lands one attempt.
    async fn attempt(&self, task: &Task, values: &Values, ticket: &Ticket, number: u32) -> Result<Tried> {
        let job = self.job;
        let skew = self.lock().skew;
        let sent_at = job.clock.now();
        let request = self.build(task, values, ticket.account, skew.correct(sent_at))?;
        let sent = tokio::time::Instant::now();
        let exchange = self.http.send(&request).await;
        let latency = sent.elapsed();
        let received_at = job.clock.now();
        self.observe(&exchange, sent_at, received_at);
        self.count(&exchange, number);
        let record = Record {
            run_id: job.run_id.to_owned(),
            number: 0,
            attempt: i32::try_from(number).unwrap_or(i32::MAX),
            account: job.pipeline.accounts[ticket.account].name.clone(),
            account_key: job.pipeline.accounts[ticket.account].key.clone(),
            gateway: None,
            copied_from: None,
            endpoint: task.endpoint().to_owned(),
            shop_id: values.shop_id.clone(),
            offer_id: values.offer_id,
            sku_id: values.sku_id,
            page: values.page,
            request: request.identity,
            http_status: exchange.status,
            content_type: exchange.content_type,
            retry_after: exchange.retry_after,
            transport_error: exchange.transport_error.map(|error| self.mask.text(&error)),
            wait_ms: millis(ticket.waited),
            latency_ms: millis(latency),
            sent_at,
            received_at,
            body_bytes: exchange.body.len() as u64,
            digest: String::new(),
            redacted: false,
        };
        let kept = job.sink.land(Attempt { record, body: exchange.body }).await?;
        Ok(Tried { kept, account: ticket.account, sent: sent.into_std(), offset: skew.offset() })
    }

    fn build(&self, task: &Task, values: &Values, account: usize, now: DateTime<Utc>) -> Result<Request> {
        let pipeline = self.job.pipeline;
        let endpoint = self.endpoint(task)?;
        let account = &pipeline.accounts[account];
        request::build(Call { gateway: &pipeline.gateway, endpoint, account, values, now })
            .map_err(|error| Error::config(format!("gateway `{}`: {error}", pipeline.gateway.name)))
    }

    fn endpoint(&self, task: &Task) -> Result<&Endpoint> {
        let gateway = &self.job.pipeline.gateway;
        gateway
            .endpoints
            .get(task.endpoint())
            .ok_or_else(|| Error::config(format!("gateway `{}` has no endpoint `{}`", gateway.name, task.endpoint())))
    }

    fn observe(&self, exchange: &Exchange, sent_at: DateTime<Utc>, received_at: DateTime<Utc>) {
        let Some(date) = &exchange.date else { return };
        let news = self.lock().skew.observe(Observation { date, sent_at, received_at });
        if let Some(offset) = news {
            let seconds = offset.num_seconds();
            let (apart, side) = (seconds.abs(), if seconds < 0 { "behind" } else { "ahead of" });
            tracing::warn!(seconds, "the gateway's clock differs from ours: signing with its time");
            self.job.progress.on(Event::Warning(&format!(
                "the gateway's clock is {apart} seconds {side} this machine's: calls are signed with its time"
            )));
        }
    }

    fn count(&self, exchange: &Exchange, attempt: u32) {
        let tally = &mut self.lock().tally;
        tally.calls += 1;
        tally.retries += i64::from(attempt > 1);
        tally.bytes += i64::try_from(exchange.body.len()).unwrap_or(i64::MAX);
    }

    /// Judges what was kept; of a good answer also what the schedule needs to know.
    fn judge(&self, task: &Task, kept: &Attempt) -> (Judgement, Outcome) {
        let Ok(endpoint) = self.endpoint(task) else { return (Judgement::Good, Outcome::NotSent) };
        let json = body::to_json(&kept.body, kept.record.content_type.as_deref());
        let parsed = json.as_ref().map_err(Clone::clone).and_then(|json| body::parse(json));
        let judgement = self.judge.judge(endpoint, &kept.record, parsed.as_ref().map(|raw| *raw));
        let outcome = match (&judgement, parsed) {
            (Judgement::Good, Ok(answer)) => read(task, &self.job.pipeline.gateway, endpoint, answer),
            _ => Outcome::NotSent,
        };
        (judgement, outcome)
    }

    fn answered_well(&self, account: usize) {
        let shared = &mut *self.lock();
        shared.tally.good += 1;
        shared.outage.answered();
        if let Some(pace) = shared.accounts.pace(account) {
            pace.succeeded();
        }
    }

    fn after_fault(&self, tried: &Tried, fault: &Fault, spent: Spent) -> Step {
        let record = &tried.kept.record;
        let now = tokio::time::Instant::now().into_std();
        let shared = &mut *self.lock();
        tracing::debug!(endpoint = record.endpoint, class = fault.class.name(), reason = fault.message, "fault");
        match fault.class {
            ErrorClass::Retry | ErrorClass::Throttle => {
                if fault.class == ErrorClass::Throttle {
                    shared.tally.throttles += 1;
                    if let Some(pace) = shared.accounts.pace(tried.account) {
                        pace.throttled(tried.sent, now);
                    }
                }
                if let Some(failures) = shared.outage.failed() {
                    return Step::Done(Err(self.outage(fault, failures)));
                }
                match self.budget.next(spent, fault.class, fault.wait, &mut shared.dice) {
                    Next::Again(wait) => Step::Again(wait),
                    Next::GiveUp => {
                        let reason = gave_up(fault, spent);
                        shared.tally.last_failure = Some(reason.clone());
                        Step::Done(Ok(Outcome::Failed(reason)))
                    }
                }
            }
            ErrorClass::Quota => {
                shared.accounts.block(tried.account, &describe(fault));
                Step::Again(Duration::ZERO)
            }
            // Signed with a wrong time, and this answer's `Date` has just shown the right one. Gateways say so in many
            // ways: a bad signature, a bad parameter, a code that no definition lists.
            ErrorClass::Auth | ErrorClass::Param | ErrorClass::Item
                if spent.attempts < self.budget.attempts_max
                    && (shared.skew.offset() - tried.offset).abs() > SIGNED_WRONG =>
            {
                Step::Again(Duration::ZERO)
            }
            ErrorClass::Auth => Step::Done(Err(self.denied(record, fault))),
            ErrorClass::Param if record.redirects() && shared.tally.good > 0 => {
                Step::Done(Ok(Outcome::Failed(describe(fault))))
            }
            ErrorClass::Param if record.redirects() => Step::Done(Err(self.redirected(record, fault))),
            ErrorClass::Param => Step::Done(Err(self.refused_parameter(record, fault))),
            ErrorClass::Item | ErrorClass::Gone => {
                shared.outage.answered();
                Step::Done(Ok(Outcome::Refused(describe(fault))))
            }
        }
    }

    fn outage(&self, fault: &Fault, failures: u32) -> Error {
        let gateway = &self.job.pipeline.gateway.name;
        let what = describe(fault);
        Error::new(Kind::Unavailable, format!("gateway `{gateway}` failed {failures} times in a row: {what}"))
            .with_hint("try again later; what was answered is landed")
    }

    fn denied(&self, record: &Record, fault: &Fault) -> Error {
        let gateway = &self.job.pipeline.gateway.name;
        let (account, endpoint, what) = (&record.account, &record.endpoint, describe(fault));
        let error = format!("gateway `{gateway}` refuses account `{account}` at endpoint `{endpoint}`: {what}");
        let hint = "check the account's credentials and its permissions at the gateway";
        Error::new(Kind::Denied, error).with_hint(fault.hint.as_deref().unwrap_or(hint))
    }

    fn redirected(&self, record: &Record, fault: &Fault) -> Error {
        let (gateway, endpoint) = (&self.job.pipeline.gateway.name, &record.endpoint);
        let error = Error::config(format!("gateway `{gateway}` answers endpoint `{endpoint}` with {}", fault.message));
        match &fault.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    fn refused_parameter(&self, record: &Record, fault: &Fault) -> Error {
        let gateway = &self.job.pipeline.gateway.name;
        let (endpoint, what) = (&record.endpoint, describe(fault));
        let sent = name_parameters(&fault.message, &record.request);
        let error = format!("gateway `{gateway}` refuses a parameter of endpoint `{endpoint}`: {what}");
        let hint = match &fault.hint {
            Some(hint) => format!("{hint} (sent: {sent})"),
            None => format!("sent: {sent}"),
        };
        Error::config(error).with_hint(hint)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A smaller change of the clock's offset does not explain a refused signature.
const SIGNED_WRONG: TimeDelta = TimeDelta::seconds(5);

/// What the schedule needs to know of a good answer.
fn read(task: &Task, gateway: &Gateway, endpoint: &Endpoint, answer: Raw<'_>) -> Outcome {
    let named = |record| {
        let offer_id = answer::offer_id(&gateway.offer, record)?;
        Some(Named { offer_id, sku_ids: answer::sku_ids(&gateway.offer, record) })
    };
    match task {
        Task::Resolve { .. } => {
            let one = answer::first(&endpoint.one, answer).unwrap_or(answer);
            match answer::first(&endpoint.shop_id, one).and_then(Raw::text) {
                Some(id) => Outcome::Resolved(id.trim().to_owned()),
                None => Outcome::Refused("the answer holds no shop id".to_owned()),
            }
        }
        Task::Count { .. } => match answer::total(endpoint, answer) {
            Some(total) => Outcome::Counted(total),
            None => Outcome::Refused("the answer holds no count".to_owned()),
        },
        Task::Page { .. } => {
            let (mut keys, mut offers) = (Vec::new(), Vec::new());
            if let List::Records(list) = answer::list(endpoint, answer) {
                for record in answer::records(list) {
                    keys.push(answer::key(&gateway.offer, record));
                    offers.extend(named(record));
                }
            }
            Outcome::Page(Page { keys, total: answer::total(endpoint, answer), ..Page::default() }, offers)
        }
        Task::Item { .. } => {
            Outcome::Detail(answer::first(&endpoint.one, answer).and_then(named).into_iter().collect())
        }
        Task::Sku { .. } => Outcome::Detail(Vec::new()),
    }
}

/// Code and message in one line.
fn describe(fault: &Fault) -> String {
    match &fault.code {
        Some(code) if fault.message.is_empty() => format!("`{code}`"),
        Some(code) => format!("`{code}` {}", fault.message),
        None => fault.message.clone(),
    }
}

fn gave_up(fault: &Fault, spent: Spent) -> String {
    let (what, seconds) = (describe(fault), spent.elapsed.as_secs());
    match spent.attempts {
        1 => format!("{what} (after 1 attempt)"),
        attempts => format!("{what} (after {attempts} attempts in {seconds} s)"),
    }
}

/// The parameters that the message names, with what was sent; all of them when it names none.
fn name_parameters(message: &str, request: &BTreeMap<String, String>) -> String {
    let word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let says = |name: &str| message.split(|char| !word(char)).any(|part| part.eq_ignore_ascii_case(name));
    let named: Vec<_> = request.iter().filter(|(name, _)| says(name)).collect();
    let shown = if named.is_empty() { request.iter().collect() } else { named };
    shown.iter().map(|(name, value)| format!("`{name}={value}`")).collect::<Vec<_>>().join(", ")
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
