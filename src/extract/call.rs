//! One call: used again where its answer is known, else it waits its turn, signs, sends, lands, judges, and tries again
//! within its budget.
//!
//! Takes a task and its values; gives a [`Reply`] that the driver settles.
//!
//! Invariant: every attempt is reserved before it leaves and landed before it is judged, and what is judged is what the
//! sink kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::base::secret::Mask;
use crate::base::{Error, Result};
use crate::config::Gateway;
use crate::config::gateway::{Endpoint, ErrorClass, QuotaScope};
use crate::config::pipeline::Account;
use crate::state::{Cached, Feedback, Rest, RestKind};

use super::accounts::{Asking, Closed, NoneLeft};
use super::answered::{self, CallKey};
use super::cached;
use super::driver::Job;
use super::facts::Note;
use super::fingerprint::Fingerprint;
use super::http::{Exchange, Progress};
use super::judge::{Fault, Judgement};
use super::progress::Event;
use super::reading::read;
use super::record::Record;
use super::renew::Renewal;
use super::request::{self, Call, Request, Values};
use super::rests::{self, Extent, Shown};
use super::retry::{Dice, Next, Spent};
use super::schedule::{Outcome, Task};
use super::side::{Ledger, Side, Ticket, Turn};
use super::skew::Observation;
use super::tokens::Tokens;
use super::words::{self, describe, gave_up};
use super::{Attempt, body, pace};

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
    /// Why the last call that ran out of its budget did, and what the user can change.
    pub(super) last_failure: Option<(String, Option<String>)>,
    /// Addresses at which a call was answered.
    found: BTreeSet<Address>,
    /// Answers that were hardly the gateway's, by address.
    elsewhere: BTreeMap<Address, u32>,
}

/// A gateway's name, and the path of its own that an endpoint has.
type Address = (String, Option<String>);

fn address(gateway: &Gateway, endpoint: &Endpoint) -> Address {
    (gateway.name.clone(), endpoint.path.as_ref().map(ToString::to_string))
}

impl Tally {
    /// The gateway answers at an endpoint's address.
    pub(super) fn found(&mut self, gateway: &Gateway, endpoint: &Endpoint) {
        self.found.insert(address(gateway, endpoint));
    }

    /// Something else than the gateway answered at an endpoint's address; whether that is no mishap.
    pub(super) fn is_elsewhere(&mut self, gateway: &Gateway, endpoint: &Endpoint) -> bool {
        let address = address(gateway, endpoint);
        let is_found = self.found.contains(&address);
        let answers = self.elsewhere.entry(address).or_default();
        *answers += 1;
        *answers >= ELSEWHERE_MAX && !is_found
    }
}

/// An address at which nothing of the gateway was ever found is asked this often.
const ELSEWHERE_MAX: u32 = 2;

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

/// What follows an attempt.
enum Step {
    Done(Result<Outcome>),
    Again(Duration),
    /// This account rests; another one may try.
    Rest(Rest, Extent),
    /// Nobody gets through on this account's way: others ask for the rest of the run.
    Leave(Rest),
    /// The account's access token is refused: another one is asked for first.
    Renew,
}

/// What was sent and what came back.
pub(super) struct Sent {
    /// Without credentials, time and signature.
    identity: BTreeMap<String, String>,
    /// Which try of its call it was.
    number: u32,
    pub(super) exchange: Exchange,
    pub(super) sent_at: DateTime<Utc>,
    pub(super) received_at: DateTime<Utc>,
    latency: Duration,
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
    pub(super) renewal: Renewal,
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
        let mut identity = request::identity(call).map_err(|error| words::misbuilt(side.gateway, &error))?;
        identity.values_mut().for_each(|value| *value = self.mask.text(value));
        let key = answered::key(side.named.unwrap_or_default(), task.endpoint(), &identity);
        Ok(Errand { task, values, side, endpoint, key, renewal: Renewal::default() })
    }

    /// The gateway that answers a task.
    pub(super) fn side(&self, task: &Task) -> &Side<'r> {
        match task {
            Task::Item { .. } if self.sides.len() > 1 => &self.sides[1],
            _ => &self.sides[0],
        }
    }

    /// The outcome of a call that an earlier start has landed, or of which a cache holds the answer; and the attempts it took, where
    /// they are not in [`Job::earlier_calls`] because the shop was not known yet.
    async fn known(&self, errand: &Errand<'_, 'r>) -> Result<Option<(Outcome, u32)>> {
        if self.halt.is_cancelled() {
            return Ok(None);
        }
        let kept = match self.job.answered.find(errand.key).await? {
            Some(kept) => Some(kept),
            None => self.cached(errand).await?,
        };
        let Some(kept) = kept else {
            // The question was too large then: whatever it was cut into is known, too.
            let late_after = if errand.values.can_be_halved { self.job.answered.late_after(errand.key) } else { 0 };
            let is_given_up = late_after >= HALVED_AFTER.min(errand.side.budget.attempts_max);
            let reason = || format!("timed out (after {late_after} attempts of an earlier start)");
            return Ok(is_given_up.then(|| (Outcome::TimedOut(reason()), 0)));
        };
        let (judgement, outcome) = self.judge(errand, &kept);
        let Some(outcome) = settled(judgement, outcome) else { return Ok(None) };
        let tally = &mut self.lock().tally;
        tally.saved += 1;
        tally.good += 1;
        tally.found(errand.side.gateway, errand.endpoint);
        let is_uncounted = kept.record.shop_id.is_none() && kept.record.copied_from.is_none();
        let attempts = if is_uncounted { u32::try_from(kept.record.attempt).unwrap_or(0) } else { 0 };
        Ok(Some((outcome, attempts)))
    }

    /// Whether a call need not be made: an earlier start has landed its answer, or a cache holds it.
    pub(super) async fn is_known(&self, errand: &Errand<'_, 'r>) -> Result<bool> {
        Ok(self.job.answered.holds(errand.key) || self.in_cache(errand).await?.is_some())
    }

    /// What a call is told by an answer that an earlier start has landed.
    pub(super) async fn landed(&self, errand: &Errand<'_, 'r>) -> Result<Option<Outcome>> {
        let Some(kept) = self.job.answered.find(errand.key).await? else { return Ok(None) };
        let (judgement, outcome) = self.judge(errand, &kept);
        Ok(settled(judgement, outcome))
    }

    /// An answer from the cache, landed again as a copy.
    async fn cached(&self, errand: &Errand<'_, 'r>) -> Result<Option<Attempt>> {
        let Some(mut copy) = self.in_cache(errand).await? else { return Ok(None) };
        copy.record.copied_from = Some(copy.record.raw_ref());
        copy.record.run_id = self.job.run_id.to_owned();
        // As the listing of this run names it.
        copy.record.shop_id.clone_from(&errand.values.shop_id);
        Ok(Some(self.job.sink.land(copy).await?))
    }

    /// An answer that the cache holds and the call may use.
    async fn in_cache(&self, errand: &Errand<'_, 'r>) -> Result<Option<Attempt>> {
        let (reuse, counts) = (self.job.reuse, cached::is_count(errand.task));
        if !reuse.allows(errand.task) || !(counts || errand.endpoint.cache_seconds.is_some()) {
            return Ok(None);
        }
        let now = self.job.clock.now() + self.ledger.offset;
        let key = self.cache_key(errand);
        let Some(found) = self.ledger.state.cached(&key, now).await? else { return Ok(None) };
        let Some(kept) = cached::decode(&found.value) else { return Ok(None) };
        // Its definition gives a count no lifetime: it was bought to decide about a start.
        let is_bought = counts && errand.endpoint.cache_seconds.is_none();
        if is_bought && !cached::count_holds(&kept, self.job.clock.now()) || !reuse.takes(errand.task, &kept) {
            return Ok(None);
        }
        let answered_at = errand.side.live().skew.correct(kept.record.received_at);
        let is_old = errand.values.fresh_since.is_some_and(|since| answered_at <= since);
        Ok((!is_old).then_some(kept))
    }

    /// Asks the gateway.
    async fn ask(&self, errand: &mut Errand<'_, 'r>, reply: &mut Reply) -> Result<Outcome> {
        let first = tokio::time::Instant::now();
        loop {
            let Some(ticket) = self.ticket(errand, reply).await? else { return Ok(Outcome::NotSent) };
            let Some(ticket) = self.with_token(errand, ticket).await? else { continue };
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
                Step::Rest(rest, extent) => {
                    self.rest(errand, &tried.ticket, rest, extent).await?;
                    Duration::ZERO
                }
                Step::Leave(rest) => {
                    let (account, reason) = (tried.ticket.account, rest.reason.clone());
                    if errand.side.live().accounts.close(account, "", Closed::Resting(rest)) {
                        let name = &errand.side.accounts[account].name;
                        let words = format!("account `{name}` asks nothing more in this run: {reason}");
                        self.job.progress.on(Event::Warning(&words));
                    }
                    Duration::ZERO
                }
                Step::Renew => {
                    let (side, account) = (errand.side, tried.ticket.account);
                    errand.renewal.seen_to.push(account);
                    self.tokens.refused(side.gateway, &side.accounts[account], tried.token);
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
        let endpoint = errand.task.endpoint();
        let scope = side.scope(endpoint, errand.values.shop_id.as_deref());
        let asked = tokio::time::Instant::now();
        loop {
            if self.halt.is_cancelled() {
                return Ok(None);
            }
            match side.turn(self.ledger, Asking { scope: &scope, endpoint }, self.job.clock.now()).await? {
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
        let (scope, day) = (ticket.scope.replacen(':', " ", 1), ticket.day);
        let note = Note::Quota { account, scope, day, percent: mark.percent, used: mark.used, limit: mark.limit };
        self.job.progress.on(Event::Warning(&note.to_string()));
        self.note(note);
    }

    /// Builds, sends and lands one attempt.
    pub(super) async fn attempt(&self, errand: &Errand<'_, 'r>, mut ticket: Ticket, number: u32) -> Result<Tried> {
        let (side, values) = (errand.side, errand.values);
        self.leave(side, &mut ticket).await?;
        let skew = side.live().skew;
        let token = self.tokens.generation(side.gateway, &side.accounts[ticket.account]);
        let request = self.build(errand, ticket.account, skew.correct(self.job.clock.now()))?;
        let sent = self.send(side, &mut ticket, request, number).await?;
        let record = Record {
            endpoint: errand.task.endpoint().to_owned(),
            shop_id: values.shop_id.clone(),
            offer_id: values.offer_id,
            sku_id: values.sku_id,
            page: values.page,
            ..self.record(side, &ticket, &sent)
        };
        let attempt = self.without_tokens(Attempt { record, body: sent.exchange.body });
        let kept = self.job.sink.land(attempt).await?;
        Ok(Tried { kept, ticket, sent_at: sent.sent_at + self.ledger.offset, offset: skew.offset(), token })
    }

    /// Waits until a call may leave now.
    pub(super) async fn leave(&self, side: &Side<'r>, ticket: &mut Ticket) -> Result<()> {
        let mut tries = 0;
        loop {
            while let Some(wait) = side.on_time(self.ledger, ticket, self.job.clock.now(), tries).await? {
                // What counts are moments that were missed, not those that others had.
                tries += u32::from(wait.is_zero());
                tokio::time::sleep(wait).await;
            }
            // A wait here may make the call late again.
            match side.leave(ticket, tokio::time::Instant::now()) {
                Ok(()) => return Ok(()),
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// Sends a call that may leave, and counts it; its answer shows the gateway's clock. Where a connection had to be
    /// opened first the call takes a new place in the rhythm once it stands.
    pub(super) async fn send(
        &self,
        side: &Side<'r>,
        ticket: &mut Ticket,
        request: Request,
        number: u32,
    ) -> Result<Sent> {
        let clock = &self.job.clock;
        let (mut sent_at, mut sent) = (clock.now(), tokio::time::Instant::now());
        let mut sending = side.http(ticket.account).start(&request);
        let exchange = loop {
            match sending.next().await {
                Progress::Ended(exchange) => break exchange,
                Progress::Stands => {
                    side.has_not_left(ticket);
                    self.leave(side, ticket).await?;
                    ticket.waited += sent.elapsed();
                    (sent_at, sent) = (clock.now(), tokio::time::Instant::now());
                    sending.go();
                }
            }
        };
        drop(sending);
        let (latency, received_at) = (sent.elapsed(), clock.now());
        self.observe(side, &exchange, sent_at, received_at);
        self.count(&exchange, number, &side.accounts[ticket.account], ticket);
        Ok(Sent { identity: request.identity, number, exchange, sent_at, received_at, latency })
    }

    /// The record of an attempt, but for what it was about.
    pub(super) fn record(&self, side: &Side<'r>, ticket: &Ticket, sent: &Sent) -> Record {
        let (account, exchange) = (&side.accounts[ticket.account], &sent.exchange);
        Record {
            run_id: self.job.run_id.to_owned(),
            attempt: i32::try_from(sent.number).unwrap_or(i32::MAX),
            account: account.name.clone(),
            account_key: account.key.clone(),
            gateway: side.named.map(str::to_owned),
            request: sent.identity.clone(),
            http_status: exchange.status,
            content_type: exchange.content_type.clone(),
            retry_after: exchange.retry_after.clone(),
            date: exchange.date.clone(),
            transport_error: exchange.transport_error.as_ref().map(|error| self.masked(error)),
            wait_ms: millis(ticket.waited),
            latency_ms: millis(sent.latency),
            sent_at: sent.sent_at,
            received_at: sent.received_at,
            body_bytes: exchange.body.len() as u64,
            ..Record::default()
        }
    }

    fn build(&self, errand: &Errand<'_, 'r>, account: usize, now: DateTime<Utc>) -> Result<Request> {
        let side = errand.side;
        let account = self.tokens.fresh(side.gateway, &side.accounts[account]);
        let call =
            Call { gateway: side.gateway, endpoint: errand.endpoint, account: &account, values: errand.values, now };
        request::build(call).map_err(|error| words::misbuilt(side.gateway, &error))
    }

    /// A text without secrets, given tokens included.
    fn masked(&self, text: &str) -> String {
        self.tokens.mask().text(&self.mask.text(text))
    }

    /// A fault whose words hold no secrets. They are in errors, logs, alerts, tables and the state; what the landed bytes
    /// hide well may have come to light when they were decoded.
    pub(super) fn discreet(&self, fault: Fault) -> Fault {
        Fault { code: fault.code.map(|code| self.masked(&code)), message: self.masked(&fault.message), ..fault }
    }

    /// Renewed tokens are secrets that the sink does not know.
    fn without_tokens(&self, mut attempt: Attempt) -> Attempt {
        if let Some(masked) = self.tokens.mask().bytes(&attempt.body) {
            attempt.body = masked.into();
            attempt.record.redacted = true;
        }
        attempt
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
        let judgement = match judgement {
            Judgement::Fault(fault) => Judgement::Fault(self.discreet(fault)),
            Judgement::Good => judgement,
        };
        let outcome = match (&judgement, parsed) {
            (Judgement::Good, Ok(answer)) => read(errand.task, errand.side.gateway, errand.endpoint, answer),
            _ => Outcome::NotSent,
        };
        (judgement, outcome)
    }

    async fn answered_well(&self, errand: &Errand<'_, 'r>, kept: &Attempt) -> Result<()> {
        {
            let tally = &mut self.lock().tally;
            tally.good += 1;
            tally.found(errand.side.gateway, errand.endpoint);
        }
        errand.side.live().outage.answered();
        let from = kept.record.received_at + self.ledger.offset;
        if let Some(seconds) = errand.endpoint.cache_seconds.filter(|seconds| *seconds > 0) {
            let cached = cached::encode(kept, from, seconds)?;
            self.ledger.state.cache(&self.cache_key(errand), &cached).await?;
        } else if self.job.gate.is_some() && cached::is_count(errand.task) {
            let cached = cached::encode_count(kept, from)?;
            self.lock().counts.push((self.cache_key(errand), cached));
        }
        Ok(())
    }

    /// Counts stand for one day of one run; other answers for as long as their definition says.
    fn cache_key(&self, errand: &Errand<'_, 'r>) -> String {
        let key = cached::key(&errand.side.gateway.url, errand.key);
        if cached::is_count(errand.task) { cached::count_key(self.job.dt, &key) } else { key }
    }

    /// Nothing was listed: what was counted for it need not be paid for again by the start that follows.
    pub(super) async fn keep_counts(&self) -> Result<()> {
        let counts = std::mem::take(&mut self.lock().counts);
        for (key, cached) in counts {
            self.ledger.state.cache(&key, &cached).await?;
        }
        Ok(())
    }

    fn after_fault(&self, errand: &Errand<'_, 'r>, tried: &Tried, fault: &Fault, spent: Spent) -> Step {
        let (record, side) = (&tried.kept.record, errand.side);
        let shared = &mut *self.lock();
        let live = &mut *side.live();
        tracing::debug!(endpoint = record.endpoint, class = fault.class.name(), reason = fault.message, "fault");
        let unconnected = &mut live.unconnected[tried.ticket.account];
        *unconnected = if record.is_unconnected() { *unconnected + 1 } else { 0 };
        let rests = rests::rest(side.gateway, fault, self.job.clock.now() + self.ledger.offset);
        if fault.class == ErrorClass::Throttle {
            shared.tally.throttles += 1;
        }
        match (fault.class, rests) {
            // Another account may ask, and the next start waits until the end.
            (ErrorClass::Retry | ErrorClass::Throttle | ErrorClass::Quota, Some((rest, extent))) => {
                Step::Rest(rest, extent)
            }
            // The way there is this account's own; others go another one.
            (ErrorClass::Retry, None)
                if live.unconnected[tried.ticket.account] >= UNCONNECTED_MAX
                    && side.accounts[tried.ticket.account].proxy.is_some()
                    && live.accounts.has_other(tried.ticket.account, tried.ticket.asking()) =>
            {
                Step::Leave(rests::unconnected(fault, self.job.clock.now() + self.ledger.offset))
            }
            (ErrorClass::Retry, None)
                if fault.elsewhere && shared.tally.is_elsewhere(side.gateway, errand.endpoint) =>
            {
                Step::Done(Err(words::elsewhere(side.gateway, record, fault)))
            }
            (ErrorClass::Retry | ErrorClass::Throttle | ErrorClass::Quota, None) => {
                let timed_out = record.timed_out();
                // A smaller span may be answered: the cover decides, not patience. The gateway may be well.
                let is_too_large = timed_out && errand.values.can_be_halved;
                let outage = if is_too_large { live.outage.too_late() } else { live.outage.failed() };
                if let Some(failures) = outage {
                    return Step::Done(Err(words::outage(side.gateway, fault, failures)));
                }
                let next = match is_too_large && spent.attempts >= HALVED_AFTER {
                    true => Next::GiveUp,
                    false => side.budget.next(spent, fault.class, fault.wait, &mut shared.dice),
                };
                match next {
                    Next::Again(wait) => Step::Again(wait),
                    Next::GiveUp => {
                        let reason = gave_up(fault, spent);
                        shared.tally.last_failure = Some((reason.clone(), fault.hint.clone()));
                        Step::Done(Ok(if timed_out { Outcome::TimedOut(reason) } else { Outcome::Failed(reason) }))
                    }
                }
            }
            // Signed with a wrong time, and this answer's `Date` has just shown the right one. Gateways say so in many
            // ways: a bad signature, a bad parameter, a code that no definition lists.
            (ErrorClass::Auth | ErrorClass::Param | ErrorClass::Item, _)
                if spent.attempts < side.budget.attempts_max
                    && (live.skew.offset() - tried.offset).abs() > SIGNED_WRONG =>
            {
                Step::Again(Duration::ZERO)
            }
            (ErrorClass::Auth, _)
                if !errand.renewal.seen_to.contains(&tried.ticket.account)
                    && Tokens::renews(side.gateway, &side.accounts[tried.ticket.account]) =>
            {
                Step::Renew
            }
            (ErrorClass::Auth, Some((rest, extent)))
                if live.accounts.has_other(tried.ticket.account, tried.ticket.asking()) =>
            {
                Step::Rest(rest, extent)
            }
            (ErrorClass::Auth, _) => Step::Done(Err(words::denied(side.gateway, record, fault))),
            (ErrorClass::Param, _) if record.redirects() && shared.tally.good > 0 => {
                Step::Done(Ok(Outcome::Failed(describe(fault))))
            }
            (ErrorClass::Param, _) if record.redirects() => {
                Step::Done(Err(words::redirected(side.gateway, record, fault)))
            }
            (ErrorClass::Param, _) => Step::Done(Err(words::refused_parameter(side.gateway, record, fault))),
            (ErrorClass::Item | ErrorClass::Gone, _) => {
                live.outage.answered();
                Step::Done(Ok(Outcome::Refused(describe(fault))))
            }
        }
    }

    /// An account rests; the next one may ask.
    pub(super) async fn rest(
        &self,
        errand: &Errand<'_, 'r>,
        ticket: &Ticket,
        rest: Rest,
        extent: Extent,
    ) -> Result<()> {
        let account = &errand.side.accounts[ticket.account].name;
        let words = super::accounts::describe(&rest);
        let endpoint = (extent == Extent::Endpoint).then(|| errand.task.endpoint().to_owned());
        let note = match rest.kind {
            RestKind::Denied => {
                Note::Denied { account: account.clone(), endpoint: endpoint.clone(), reason: rest.reason.clone() }
            }
            RestKind::Quota => Note::Blocked { account: account.clone(), reason: words.clone() },
        };
        // The calls that were in flight with it hear the same.
        if errand.side.rest(self.ledger, ticket.account, &extent.scope(ticket.asking()), rest).await? {
            let at = endpoint.map(|endpoint| format!(" at endpoint `{endpoint}`")).unwrap_or_default();
            self.job.progress.on(Event::Warning(&format!("account `{account}`{at} is {words}")));
            self.note(note);
        }
        Ok(())
    }

    /// Passes an outcome on; the account that the gateway refused rests, so that no other process tries it.
    async fn refused(
        &self,
        errand: &Errand<'_, 'r>,
        tried: &Tried,
        fault: Option<&Fault>,
        outcome: Result<Outcome>,
    ) -> Result<Outcome> {
        let now = self.job.clock.now() + self.ledger.offset;
        if let (Some(fault), Err(error)) = (fault, &outcome)
            && fault.class == ErrorClass::Auth
            && let Some((rest, extent)) = rests::rest(errand.side.gateway, fault, now)
        {
            let (account, reason) = (tried.kept.record.account.clone(), error.to_string());
            // The reason names the endpoint.
            self.note(Note::Denied { account, endpoint: None, reason });
            let scope = extent.scope(tried.ticket.asking());
            errand.side.rest(self.ledger, tried.ticket.account, &scope, rest).await?;
        }
        outcome
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

    /// The rests of the accounts that hold now.
    pub(super) async fn rests(&self, now: DateTime<Utc>) -> Result<Vec<Shown>> {
        let health = self.ledger.state.accounts(now + self.ledger.offset).await?;
        let mut shown = Vec::new();
        for side in &self.sides {
            for (place, account) in side.accounts.iter().enumerate() {
                let Fingerprint { gateway, credentials } = side.print(place);
                let own = health.iter().filter(|health| health.account == account.key);
                let rests = own.flat_map(|health| &health.rests).filter(|rest| rest.concerns(gateway, credentials));
                shown.extend(rests.map(|resting| Shown {
                    account: account.key.clone(),
                    gateway: side.gateway.name.clone(),
                    scope: resting.scope.clone(),
                    since: now,
                    rest: resting.rest.clone(),
                }));
            }
        }
        Ok(shown)
    }

    pub(super) fn note(&self, note: Note) {
        let notes = &mut self.lock().notes;
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// After so many connections that failed in a row an account with a proxy of its own leaves the calls to others.
const UNCONNECTED_MAX: u32 = 4;
/// A page of a span that can be halved is not asked for again when it takes too long after so many attempts.
const HALVED_AFTER: u32 = 2;
/// A smaller change of the clock's offset does not explain a refused signature.
pub(super) const SIGNED_WRONG: TimeDelta = TimeDelta::seconds(5);

/// What a kept answer settles its call with. Rules may have changed since it landed: then it settles nothing now.
fn settled(judgement: Judgement, outcome: Outcome) -> Option<Outcome> {
    match judgement {
        Judgement::Good => Some(outcome),
        Judgement::Fault(fault) if matches!(fault.class, ErrorClass::Item | ErrorClass::Gone) => {
            Some(Outcome::Refused(describe(&fault)))
        }
        Judgement::Fault(_) => None,
    }
}

pub(super) fn feedback(fault: Option<&Fault>, tried: &Tried) -> Feedback {
    feedback_of(fault.map(|fault| fault.class), tried.sent_at)
}

/// What an answer means for the rhythm; `None`: it is good. `sent_at` is by the store's clock.
pub(super) fn feedback_of(class: Option<ErrorClass>, sent_at: DateTime<Utc>) -> Feedback {
    match class {
        None => Feedback::Good,
        Some(ErrorClass::Throttle) => Feedback::Throttled { sent_at },
        Some(_) => Feedback::None,
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
