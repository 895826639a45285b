//! One call: used again where its answer is known, else it waits its turn, signs, sends, lands, judges, and tries again
//! within its budget.
//!
//! Takes a task and its values; gives a [`Reply`] that the driver settles.
//!
//! Invariant: every attempt is reserved before it leaves and landed before it is judged, and what is judged is what the
//! sink kept.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use tokio_util::sync::CancellationToken;

use crate::base::secret::Mask;
use crate::base::{Error, Result};
use crate::config::gateway::{Endpoint, ErrorClass, QuotaScope};
use crate::state::Cached;

use super::accounts::{Asking, NoneLeft};
use super::after::{HALVED_AFTER, Step, feedback};
use super::answered::{self, CallKey};
use super::cached;
use super::driver::Job;
use super::facts::Note;
use super::fingerprint::Fingerprint;
use super::judge::{Fault, Judgement};
use super::progress::Event;
use super::reading::read;
use super::renew::Renewal;
use super::request::{self, Call, Values};
use super::rests::Shown;
use super::retry::{Dice, Spent};
use super::schedule::{Outcome, Task};
use super::side::{Ledger, Side, Ticket, Turn};
use super::tally::Tally;
use super::tokens::Tokens;
use super::words::{self, describe};
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
    /// When the answer came that settles it, to this start or to an earlier one.
    pub(super) answered_at: Option<DateTime<Utc>>,
}

/// What an earlier start or a cache knows of a call.
struct Known {
    outcome: Outcome,
    /// The attempts it took, where they are not in [`Job::earlier_calls`] because the shop was not known yet.
    attempts: u32,
    answered_at: Option<DateTime<Utc>>,
}

/// A call, and what it needs at every step.
pub(super) struct Errand<'c, 'r> {
    pub(super) task: &'c Task,
    pub(super) values: &'c Values,
    pub(super) side: &'c Side<'r>,
    pub(super) endpoint: &'r Endpoint,
    key: CallKey,
    /// The question as the caches know it: whoever asks that gateway, for details or for anything else.
    cached: CallKey,
    /// Of the same question asked once more, whose answer takes the place of the first.
    key_again: Option<CallKey>,
    pub(super) renewal: Renewal,
}

impl<'r> Caller<'r> {
    /// Makes one call, with as many attempts as it needs and may have.
    pub(super) async fn call(&self, task: &Task, values: Values) -> Reply {
        let mut reply = Reply {
            outcome: Ok(Outcome::NotSent),
            none_left: None,
            rest: Duration::ZERO,
            attempts: 0,
            answered_at: None,
        };
        let outcome = match self.errand(task, &values) {
            Ok(mut errand) => match self.known(&errand).await {
                Ok(Some(known)) => {
                    (reply.attempts, reply.answered_at) = (known.attempts, known.answered_at);
                    Ok(known.outcome)
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
        let key = |again| answered::key(side.named.unwrap_or_default(), (task.endpoint(), again), &identity);
        let key_again = matches!(task, Task::Count { .. }).then(|| key(true));
        let (key, cached) = (key(task.is_again()), answered::key("", (task.endpoint(), task.is_again()), &identity));
        Ok(Errand { task, values, side, endpoint, key, cached, key_again, renewal: Renewal::default() })
    }

    /// The gateway that answers a task.
    pub(super) fn side(&self, task: &Task) -> &Side<'r> {
        match task {
            Task::Item { .. } if self.sides.len() > 1 => &self.sides[1],
            _ => &self.sides[0],
        }
    }

    /// The outcome of a call that an earlier start has landed, or of which a cache holds the answer.
    async fn known(&self, errand: &Errand<'_, 'r>) -> Result<Option<Known>> {
        if self.halt.is_cancelled() {
            return Ok(None);
        }
        let kept = match self.found(errand).await? {
            Some(kept) => Some(kept),
            None => self.cached(errand).await?,
        };
        let Some(kept) = kept else {
            return Ok(self.was_given_up(errand).map(|outcome| Known { outcome, attempts: 0, answered_at: None }));
        };
        let (judgement, outcome) = self.judge(errand, &kept);
        let Some(outcome) = settled(judgement, outcome) else { return Ok(None) };
        let tally = &mut self.lock().tally;
        tally.saved += 1;
        tally.good += 1;
        tally.found(errand.side.gateway, errand.endpoint);
        let is_uncounted = kept.record.shop_id.is_none() && kept.record.copied_from.is_none();
        let attempts = if is_uncounted { u32::try_from(kept.record.attempt).unwrap_or(0) } else { 0 };
        Ok(Some(Known { outcome, attempts, answered_at: Some(kept.record.received_at) }))
    }

    /// The answer that an earlier start has landed. What is asked once more is asked of the gateway; to later starts it is
    /// the answer to the question itself.
    async fn found(&self, errand: &Errand<'_, 'r>) -> Result<Option<Attempt>> {
        if errand.task.is_again() {
            return Ok(None);
        }
        let found = self.job.answered.find(errand.key).await?;
        let again = match errand.key_again {
            Some(key) => self.job.answered.find(key).await?,
            None => None,
        };
        Ok(again.or(found))
    }

    /// Whether a call need not be made: an earlier start has landed its answer, or a cache holds it.
    pub(super) async fn is_known(&self, errand: &Errand<'_, 'r>) -> Result<bool> {
        Ok(self.job.answered.holds(errand.key) || self.in_cache(errand).await?.is_some())
    }

    /// What a call is told by an answer that an earlier start has landed.
    pub(super) async fn landed(&self, errand: &Errand<'_, 'r>) -> Result<Option<Outcome>> {
        let Some(kept) = self.found(errand).await? else { return Ok(self.was_given_up(errand)) };
        let (judgement, outcome) = self.judge(errand, &kept);
        Ok(settled(judgement, outcome))
    }

    /// What a call is told by an answer that need not be asked for: as [`Caller::landed`], or from a cache.
    pub(super) async fn answer(&self, errand: &Errand<'_, 'r>) -> Result<Option<Outcome>> {
        if let Some(outcome) = self.landed(errand).await? {
            return Ok(Some(outcome));
        }
        let Some(kept) = self.in_cache(errand).await? else { return Ok(None) };
        let (judgement, outcome) = self.judge(errand, &kept);
        Ok(settled(judgement, outcome))
    }

    /// The outcome of a question that an earlier start gave up and cut into smaller ones: whatever it was cut into is known,
    /// too.
    fn was_given_up(&self, errand: &Errand<'_, 'r>) -> Option<Outcome> {
        let failed_after = self.job.answered.failed_after(errand.key);
        if failed_after > 0 {
            return Some(Outcome::Failed(format!("failed (after {failed_after} attempts of an earlier start)")));
        }
        let late_after = if errand.values.can_be_halved { self.job.answered.late_after(errand.key) } else { 0 };
        let is_given_up = late_after >= HALVED_AFTER.min(errand.side.budget.attempts_max);
        let reason = || format!("timed out (after {late_after} attempts of an earlier start)");
        is_given_up.then(|| Outcome::TimedOut(reason()))
    }

    /// An answer from the cache, landed again as a copy.
    async fn cached(&self, errand: &Errand<'_, 'r>) -> Result<Option<Attempt>> {
        let Some(mut copy) = self.in_cache(errand).await? else { return Ok(None) };
        copy.record.copied_from = Some(copy.record.raw_ref());
        copy.record.run_id = self.job.run_id.to_owned();
        copy.record.gateway = errand.side.named.map(str::to_owned);
        // As the listing of this run names it.
        copy.record.shop_id.clone_from(&errand.values.shop_id);
        Ok(Some(self.job.sink.land(copy).await?))
    }

    /// An answer that the cache holds and the call may use.
    async fn in_cache(&self, errand: &Errand<'_, 'r>) -> Result<Option<Attempt>> {
        let (reuse, counts) = (self.job.reuse, cached::is_count(errand.task));
        if errand.task.is_again() || !reuse.allows(errand.task) || !(counts || errand.endpoint.cache_seconds.is_some())
        {
            return Ok(None);
        }
        let key = self.cache_key(errand);
        let Some(found) = self.ledger.state.cached(&key, self.ledger.now()).await? else { return Ok(None) };
        let Some(kept) = cached::decode(&found.value) else { return Ok(None) };
        // Its definition gives a count no lifetime: it was bought to decide about a start.
        let holds = match errand.endpoint.cache_seconds {
            Some(seconds) => cached::is_young(&kept, seconds, self.job.clock.now()),
            None => cached::count_holds(&kept, self.job.clock.now()),
        };
        if !holds || !reuse.takes(errand.task, &kept) {
            return Ok(None);
        }
        let answered_at = errand.side.live().skew.correct(kept.record.received_at);
        let is_old = errand.values.fresh_since.is_some_and(|since| answered_at <= since);
        Ok((!is_old).then_some(kept))
    }

    /// Asks the gateway.
    async fn ask(&self, errand: &mut Errand<'_, 'r>, reply: &mut Reply) -> Result<Outcome> {
        // Its time begins with its first turn: others may keep it waiting for long.
        let (mut first, mut of_others, mut last) = (None, 0, None);
        loop {
            let Some(ticket) = self.ticket(errand, reply).await? else { return Ok(Outcome::NotSent) };
            let Some(ticket) = self.with_token(errand, ticket).await? else { continue };
            // Whichever call showed that an account does not get through, the next one has a budget of its own.
            let has_left = |last| last != ticket.account && errand.side.live().accounts.is_unreached(last);
            if last.replace(ticket.account).is_some_and(has_left) {
                (first, of_others) = (None, reply.attempts);
            }
            let began = *first.get_or_insert_with(tokio::time::Instant::now);
            reply.attempts += 1;
            let tried = self.attempt(errand, ticket, reply.attempts).await?;
            let (judgement, outcome) = self.judge(errand, &tried.kept);
            let spent = Spent { attempts: reply.attempts - of_others, elapsed: began.elapsed() };
            let pause = &errand.side.gateway.limits.pause;
            let (step, fault) = match judgement {
                Judgement::Good => {
                    {
                        let live = &mut *errand.side.live();
                        live.unconnected[tried.ticket.account] = 0;
                        live.skew.accepted(tried.offset);
                    }
                    reply.answered_at = Some(tried.kept.record.received_at);
                    self.answered_well(errand, &tried.kept).await?;
                    (Step::Done(Ok(outcome)), None)
                }
                Judgement::Fault(fault) => (self.after_fault(errand, &tried, &fault, spent), Some(fault)),
            };
            reply.rest = pace::rest(pause, fault.as_ref().map(|fault| fault.class));
            let feedback = feedback(fault.as_ref(), &tried);
            let answered = tokio::time::Instant::now();
            errand.side.settle(self.ledger, &tried.ticket, reply.rest, feedback).await?;
            // The place rests as long as it must; who asks for it from far away asks ahead.
            reply.rest = reply.rest.saturating_sub(answered.elapsed() + errand.side.lead());
            let wait = match step {
                Step::Done(outcome) => return self.refused(errand, &tried, fault.as_ref(), outcome).await,
                Step::Again(wait) => wait,
                Step::Rest(rest, extent) => {
                    self.rest(errand, &tried.ticket, rest, extent).await?;
                    Duration::ZERO
                }
                Step::Leave(reason) => {
                    self.left_out(errand, tried.ticket.account, reason);
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

    /// A text without secrets, given tokens included.
    pub(super) fn masked(&self, text: &str) -> String {
        self.tokens.mask().text(&self.mask.text(text))
    }

    /// A fault whose words hold no secrets. They are in errors, logs, alerts, tables and the state; what the landed bytes
    /// hide well may have come to light when they were decoded.
    pub(super) fn discreet(&self, fault: Fault) -> Fault {
        Fault { code: fault.code.map(|code| self.masked(&code)), message: self.masked(&fault.message), ..fault }
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
        let from = self.ledger.now();
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
        let key = cached::key(&errand.side.gateway.url, errand.cached);
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

    /// Calls left today of all accounts together; `None`: some account has no known limit.
    pub(super) async fn quota_left(&self, now: DateTime<Utc>) -> Result<Option<i64>> {
        let side = &self.sides[0];
        if side.gateway.limits.quota_scope != QuotaScope::Account {
            return Ok(None);
        }
        let day = self.ledger.day(now);
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
        let health = self.ledger.state.accounts(self.ledger.now()).await?;
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
