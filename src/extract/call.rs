//! One call: used again where its answer is known, else it waits its turn, signs, sends, lands, judges, and tries again
//! within its budget.
//!
//! Takes a task and its values; gives a [`Reply`] that the driver settles.
//!
//! * `cache`: answers that need not be asked for.
//! * `renew`: access tokens.
//! * `fault`: what follows a fault.
//!
//! Invariant: every attempt is reserved before it leaves and landed before it is judged, and what is judged is what the
//! sink kept.

mod cache;
mod fault;
mod renew;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::base::secret::Mask;
use crate::base::{Error, Result};
use crate::config::gateway::{Endpoint, QuotaScope};
use crate::config::pipeline::Account;
use crate::state::{Cached, Feedback};

use super::accounts::NoneLeft;
use super::answered::{self, CallKey};
use super::driver::Job;
use super::facts::Note;
use super::http::Exchange;
use super::judge::Judgement;
use super::progress::Event;
use super::reading::read;
use super::record::Record;
use super::request::{self, Call, Request, Values};
use super::retry::{Dice, Spent};
use super::schedule::{Outcome, Task};
use super::side::{Ledger, Side, Ticket, Turn};
use super::skew::Observation;
use super::tokens::Tokens;
use super::words::misbuilt;
use super::{Attempt, body, pace};

use fault::Step;
pub(super) use fault::{SIGNED_WRONG, feedback};

/// What all calls of a run share.
pub(super) struct Caller<'r> {
    pub(super) job: &'r Job<'r>,
    /// The pipeline's gateway, and the details' where that is another one.
    pub(super) sides: Vec<Side<'r>>,
    pub(super) ledger: Ledger<'r>,
    pub(super) tokens: Tokens,
    pub(super) mask: Mask,
    /// Set when nothing more may be sent: by a signal, or by an answer that stops the run.
    pub(super) halt: CancellationToken,
    /// Locked for moments only, never across an await.
    pub(super) shared: Mutex<Shared>,
}

/// What calls change.
pub(super) struct Shared {
    pub(super) dice: Dice,
    pub(super) tally: Tally,
    pub(super) notes: Vec<Note>,
    /// Counts bought behind the gate, as they would be cached.
    pub(super) counts: Vec<(String, Cached)>,
    /// Attempts sent, by account, scope and day.
    pub(super) ledger: BTreeMap<(String, String, NaiveDate), u64>,
}

impl Shared {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            tally: Tally::default(),
            notes: Vec::new(),
            counts: Vec::new(),
            ledger: BTreeMap::new(),
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) calls: i64,
    pub(super) saved: i64,
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
    /// Set when nobody can ask any more.
    pub(super) none_left: Option<NoneLeft>,
    /// How long the worker rests.
    pub(super) rest: Duration,
    /// Attempts sent.
    pub(super) attempts: u32,
}

/// One attempt as it came back and was kept.
pub(super) struct Tried {
    pub(super) kept: Attempt,
    pub(super) ticket: Ticket,
    /// By the store's clock.
    sent_at: DateTime<Utc>,
    /// The offset that the attempt was signed with.
    pub(super) offset: TimeDelta,
    /// How often its access token had been renewed.
    token: u64,
}

/// A call, and what it needs at every step.
pub(super) struct Errand<'c, 'r> {
    task: &'c Task,
    values: &'c Values,
    pub(super) side: &'c Side<'r>,
    pub(super) endpoint: &'r Endpoint,
    key: CallKey,
    /// An attempt has asked for a new access token: the next refusal counts.
    renewed: bool,
}

impl<'r> Caller<'r> {
    /// Makes one call, with as many attempts as it needs and may have.
    pub(super) async fn call(&self, task: &Task, values: Values) -> Reply {
        let mut reply = Reply { outcome: Ok(Outcome::NotSent), none_left: None, rest: Duration::ZERO, attempts: 0 };
        let outcome = match self.errand(task, &values) {
            Ok(mut errand) => match self.known(&errand).await {
                Ok(Some((outcome, attempts))) => {
                    reply.attempts = attempts;
                    Ok(outcome)
                }
                Ok(None) => self.ask(&mut errand, &mut reply).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        reply.outcome = outcome;
        reply
    }

    pub(super) fn errand<'c>(&'c self, task: &'c Task, values: &'c Values) -> Result<Errand<'c, 'r>> {
        let side = self.side(task);
        let endpoint = side.endpoint(task.endpoint()).ok_or_else(|| {
            Error::config(format!("gateway `{}` has no endpoint `{}`", side.gateway.name, task.endpoint()))
        })?;
        let account = &side.accounts[0];
        let call = Call { gateway: side.gateway, endpoint, account, values, now: self.job.clock.now() };
        let mut identity = request::identity(call).map_err(|error| misbuilt(side.gateway, &error))?;
        identity.values_mut().for_each(|value| *value = self.mask.text(value));
        let key = answered::key(side.named.unwrap_or_default(), task.endpoint(), &identity);
        Ok(Errand { task, values, side, endpoint, key, renewed: false })
    }

    /// The gateway that answers a task.
    pub(super) fn side(&self, task: &Task) -> &Side<'r> {
        match task {
            Task::Item { .. } if self.sides.len() > 1 => &self.sides[1],
            _ => &self.sides[0],
        }
    }

    /// Asks the gateway.
    async fn ask(&self, errand: &mut Errand<'_, 'r>, reply: &mut Reply) -> Result<Outcome> {
        let first = tokio::time::Instant::now();
        loop {
            let Some(ticket) = self.ticket(errand, reply).await? else { return Ok(Outcome::NotSent) };
            if !self.renew_if_due(errand, &ticket).await? {
                let now = self.job.clock.now();
                errand.side.settle(self.ledger, &ticket, Duration::ZERO, Feedback::None, now).await?;
                continue;
            }
            reply.attempts += 1;
            let tried = self.attempt(errand, ticket, reply.attempts).await?;
            let (judgement, outcome) = self.judge(errand, &tried.kept);
            let spent = Spent { attempts: reply.attempts, elapsed: first.elapsed() };
            let pause = &errand.side.gateway.limits.pause;
            let (step, fault) = match judgement {
                Judgement::Good => {
                    self.answered_well(errand, &tried.kept).await?;
                    (Step::Done(Ok(outcome)), None)
                }
                Judgement::Fault(fault) => (self.after_fault(errand, &tried, &fault, spent), Some(fault)),
            };
            reply.rest = pace::rest(pause, fault.as_ref().map(|fault| fault.class));
            let feedback = feedback(fault.as_ref(), &tried);
            let now = self.job.clock.now();
            errand.side.settle(self.ledger, &tried.ticket, reply.rest, feedback, now).await?;
            let wait = match step {
                Step::Done(outcome) => return self.refused(errand, &tried, fault.as_ref(), outcome).await,
                Step::Again(wait) => wait,
                Step::Rest(rest, whole) => {
                    self.rest(errand, &tried.ticket, rest, whole).await?;
                    Duration::ZERO
                }
                Step::Renew => {
                    errand.renewed = true;
                    self.renew(errand, &tried.ticket, tried.token).await?;
                    Duration::ZERO
                }
            };
            if !self.sleep(wait).await {
                return Ok(Outcome::NotSent);
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

    /// Waits for the right to send. `None`: halted, or nobody can ask (told in `reply`).
    async fn ticket(&self, errand: &Errand<'_, 'r>, reply: &mut Reply) -> Result<Option<Ticket>> {
        let side = errand.side;
        let scope = side.scope(errand.task.endpoint(), errand.values.shop_id.as_deref());
        let asked = tokio::time::Instant::now();
        loop {
            if self.halt.is_cancelled() {
                return Ok(None);
            }
            match side.turn(self.ledger, &scope, self.job.clock.now()).await? {
                Turn::Wait(wait) => {
                    self.sleep(wait).await;
                }
                Turn::NoneLeft(none_left) => {
                    self.note(Note::NoneLeft { reason: none_left.reason.clone() });
                    reply.none_left = Some(none_left);
                    return Ok(None);
                }
                Turn::Send(mut ticket) => {
                    self.tell_quota(errand, &ticket);
                    ticket.waited = asked.elapsed();
                    return Ok(Some(ticket));
                }
            }
        }
    }

    fn tell_quota(&self, errand: &Errand<'_, 'r>, ticket: &Ticket) {
        let Some(mark) = ticket.mark else { return };
        let account = errand.side.accounts[ticket.account].name.clone();
        let scope = ticket.scope.replace(':', " ");
        let note = Note::Quota { account, scope, percent: mark.percent, used: mark.used, limit: mark.limit };
        self.job.progress.on(Event::Warning(&note.to_string()));
        self.note(note);
    }

    /// Builds, sends and lands one attempt.
    pub(super) async fn attempt(&self, errand: &Errand<'_, 'r>, mut ticket: Ticket, number: u32) -> Result<Tried> {
        let (job, side) = (self.job, errand.side);
        let account = &side.accounts[ticket.account];
        let mut tries = 0;
        loop {
            while let Some(wait) = side.on_time(self.ledger, &mut ticket, job.clock.now(), tries).await? {
                tries += 1;
                tokio::time::sleep(wait).await;
            }
            // A wait here may make the call late again.
            match side.leave(ticket.account, tokio::time::Instant::now()) {
                Ok(()) => break,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
        let skew = side.live().skew;
        let sent_at = job.clock.now();
        let token = self.tokens.generation(side.gateway, account);
        let request = self.build(errand, ticket.account, skew.correct(sent_at))?;
        let sent = tokio::time::Instant::now();
        let exchange = side.http(ticket.account).send(&request).await;
        let latency = sent.elapsed();
        let received_at = job.clock.now();
        self.observe(side, &exchange, sent_at, received_at);
        self.count(&exchange, number, account, &ticket);
        let values = errand.values;
        let record = Record {
            run_id: job.run_id.to_owned(),
            number: 0,
            attempt: i32::try_from(number).unwrap_or(i32::MAX),
            account: account.name.clone(),
            account_key: account.key.clone(),
            gateway: side.named.map(str::to_owned),
            endpoint: errand.task.endpoint().to_owned(),
            shop_id: values.shop_id.clone(),
            offer_id: values.offer_id,
            sku_id: values.sku_id,
            page: values.page,
            request: request.identity,
            copied_from: None,
            http_status: exchange.status,
            content_type: exchange.content_type,
            retry_after: exchange.retry_after,
            date: exchange.date,
            transport_error: exchange.transport_error.map(|error| self.mask.text(&error)),
            wait_ms: millis(ticket.waited),
            latency_ms: millis(latency),
            sent_at,
            received_at,
            body_bytes: exchange.body.len() as u64,
            digest: String::new(),
            redacted: false,
        };
        let attempt = self.without_tokens(Attempt { record, body: exchange.body });
        let kept = job.sink.land(attempt).await?;
        Ok(Tried { kept, ticket, sent_at: sent_at + self.ledger.offset, offset: skew.offset(), token })
    }

    fn build(&self, errand: &Errand<'_, 'r>, account: usize, now: DateTime<Utc>) -> Result<Request> {
        let side = errand.side;
        let account = self.tokens.fresh(side.gateway, &side.accounts[account]);
        let call =
            Call { gateway: side.gateway, endpoint: errand.endpoint, account: &account, values: errand.values, now };
        request::build(call).map_err(|error| misbuilt(side.gateway, &error))
    }

    fn observe(&self, side: &Side<'_>, exchange: &Exchange, sent_at: DateTime<Utc>, received_at: DateTime<Utc>) {
        let Some(date) = &exchange.date else { return };
        let news = side.live().skew.observe(Observation { date, sent_at, received_at });
        if let Some(offset) = news {
            let seconds = offset.num_seconds();
            let (apart, side) = (seconds.abs(), if seconds < 0 { "behind" } else { "ahead of" });
            self.job.progress.on(Event::Warning(&format!(
                "the gateway's clock is {apart} seconds {side} this machine's: calls are signed with its time"
            )));
        }
    }

    fn count(&self, exchange: &Exchange, attempt: u32, account: &Account, ticket: &Ticket) {
        let shared = &mut *self.lock();
        *shared.ledger.entry((account.key.clone(), ticket.scope.clone(), ticket.day)).or_default() += 1;
        let tally = &mut shared.tally;
        tally.calls += 1;
        tally.retries += i64::from(attempt > 1);
        tally.bytes += i64::try_from(exchange.body.len()).unwrap_or(i64::MAX);
    }

    /// Judges what was kept; of a good answer also what the schedule needs to know.
    pub(super) fn judge(&self, errand: &Errand<'_, 'r>, kept: &Attempt) -> (Judgement, Outcome) {
        let json = body::to_json(&kept.body, kept.record.content_type.as_deref());
        let parsed = json.as_ref().map_err(Clone::clone).and_then(|json| body::parse(json));
        let judgement = errand.side.judge.judge(errand.endpoint, &kept.record, parsed.as_ref().map(|raw| *raw));
        let outcome = match (&judgement, parsed) {
            (Judgement::Good, Ok(answer)) => read(errand.task, errand.side.gateway, errand.endpoint, answer),
            _ => Outcome::NotSent,
        };
        (judgement, outcome)
    }

    /// Calls left today of all accounts together; `None`: some account has no known limit.
    pub(super) async fn quota_left(&self, now: DateTime<Utc>) -> Result<Option<i64>> {
        let side = &self.sides[0];
        if side.gateway.limits.quota_scope != QuotaScope::Account {
            return Ok(None);
        }
        let day = crate::base::time::beijing_day(side.live().skew.correct(now));
        let counts = self.ledger.state.counts(day).await?;
        let mut left = 0;
        for account in side.accounts {
            let Some(limit) = account.calls_per_day else { return Ok(None) };
            let used: u64 =
                counts.iter().filter(|counted| counted.account == account.key).map(|counted| counted.calls).sum();
            left += i64::try_from(limit.saturating_sub(used)).unwrap_or(i64::MAX);
        }
        Ok(Some(left))
    }

    pub(super) fn note(&self, note: Note) {
        let notes = &mut self.lock().notes;
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
