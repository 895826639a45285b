//! The driver: joins the pure parts, and waits.
//!
//! One task runs all calls of a run concurrently: it asks the schedule what is next, sends as many calls as the
//! gateway takes at once, lands every attempt, judges what was kept, and settles the schedule.
//!
//! Invariant: nothing is judged before it is landed; what was sent is waited for and landed, also after a signal or a fatal
//! answer, because it is paid.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, NaiveDate, Utc};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::base::secret::Mask;
use crate::base::{Clock, Error, Kind, Result, Secret};
use crate::config::Pipeline;
use crate::config::gateway::{ENDPOINTS, QuotaScope};
use crate::config::pipeline::{Credential, Fetch, OnQuota};
use crate::plan::price::DetailsLeft;
use crate::plan::{Known, Work};
use crate::state::{Counted, StateStore};

use super::Sink;
use super::answered::Answered;
use super::cached::Reuse;
use super::call::{Caller, Reply, Shared};
use super::facts::{Asked, Note, RunFacts};
use super::foresee;
use super::progress::{Event, Progress};
use super::request::Values;
use super::schedule::{Outcome, Schedule, Setup, Stage, Task};
use super::side::{Ledger, Side};
use super::skew::Skew;
use super::tokens::Tokens;
use super::words::or_else;

/// What one extraction needs.
pub struct Job<'a> {
    /// What to ask for, of whom, as whom.
    pub pipeline: &'a Pipeline,
    /// The shops and items to ask for.
    pub work: Work,
    /// What the picture before says.
    pub known: &'a Known,
    /// The run's id, for the records.
    pub run_id: &'a str,
    /// The run's day.
    pub dt: NaiveDate,
    /// When the run started for the first time.
    pub until: DateTime<Utc>,
    /// What earlier starts of the run have landed.
    pub answered: &'a dyn Answered,
    /// … and how many attempts they sent, by shop.
    pub earlier_calls: HashMap<String, i64>,
    /// The quota ledger and the caches.
    pub state: &'a dyn StateStore,
    /// Who asks, for the ledger.
    pub holder: &'a str,
    /// The gateways' clocks as earlier starts of the run saw them: the pipeline's own, and the details'.
    pub clocks: [Skew; 2],
    /// Which cached answers may be used; of counts also those that a probe (or a start that was refused) has just bought.
    pub reuse: Reuse,
    /// Says why the run must not go on, because calls are short: once ids and counts are known, and again once listings
    /// have named what details are to be asked for.
    pub gate: Option<&'a dyn Gate>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where attempts go.
    pub sink: &'a dyn Sink,
    /// Who listens.
    pub progress: &'a dyn Progress,
    /// Where what somebody should hear of accounts and quota is added, also when the extraction fails.
    pub notes: &'a Mutex<Vec<Note>>,
    /// Ends the run: answers in flight are landed, nothing more is sent.
    pub cancel: CancellationToken,
    /// Of the jitter.
    pub seed: u64,
}

/// Decides whether a run goes on once it knows ids and counts, and once it knows what its listings name.
#[async_trait::async_trait]
pub trait Gate: Send + Sync {
    /// Takes what is known by then; gives why the run must not go on, if it must not. `ended`: why not everything that was
    /// to be known by then was asked for.
    ///
    /// # Errors
    /// Whatever keeps this from being decided: the run must stop.
    async fn refusal(&self, learned: Learned, ended: Option<&str>) -> Result<Option<String>>;
}

/// What a run knows before it lists anything, and before it asks for details.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learned {
    /// The official counts, by the shop's place in the work.
    pub counts: HashMap<usize, u64>,
    /// The shops' ids, by the address that the pipeline names them with.
    pub ids_by_url: HashMap<String, String>,
    /// The details to ask for of what listings have named, by the shop's place (`None`: of single items); empty before.
    pub details: HashMap<Option<usize>, DetailsLeft>,
}

/// Why a signal stopped the run.
const SIGNALLED: &str = "stopped by a signal";

/// Asks the gateway for everything that the work names.
///
/// What fails for one page, item or shop is written down in the facts and the run goes on.
///
/// # Errors
/// [`Kind::Config`]: the gateway lacks what the pipeline needs, refuses a parameter, or does not read the page parameter ·
/// [`Kind::Denied`]: it refuses the key, the signature or a permission · [`Kind::Unavailable`]: it does not answer ·
/// whatever the sink or the state store fails with.
pub async fn extract(job: Job<'_>) -> Result<RunFacts> {
    let started_at = job.clock.now();
    let pipeline = job.pipeline;
    let schedule = schedule(&job, job.gate.is_some());
    let caller = caller(&job).await?;
    for (side, clock) in caller.sides.iter().zip(job.clocks) {
        side.live().skew = clock;
    }
    let mut run = Run {
        caller: &caller,
        schedule,
        error: None,
        stopped: None,
        refused_before: None,
        repeated: 0,
        is_wrong: None,
    };
    run.drive().await;
    run.tell_gate().await;
    if let Some(reason) = run.is_wrong.take() {
        caller.note(Note::Repeated { reason, shops: run.schedule.unturned() });
    }
    let Run { mut schedule, error, stopped, refused_before, .. } = run;
    // Later counts have landed in a run that goes on.
    let kept = match refused_before == Some(Stage::Listings) || schedule.stage() == Stage::Counts {
        true => caller.keep_counts().await,
        false => Ok(()),
    };
    let Shared { tally, notes, ledger, .. } = {
        let shared = &mut *caller.shared.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(shared, Shared::new(job.seed))
    };
    job.notes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&notes);
    if let Some(error) = error {
        return Err(error);
    }
    kept?;
    let stopped = stopped.or_else(|| schedule.held().map(str::to_owned));
    if let (0, Some((failure, hint)), None) = (tally.good, &tally.last_failure, &stopped) {
        let (name, calls) = (&pipeline.gateway.name, tally.calls);
        let message = format!("gateway `{name}` gave no good answer in {calls} calls: {failure}");
        return Err(Error::new(Kind::Unavailable, message).with_hint(or_else("try again later", hint.as_deref())));
    }
    let finished_at = job.clock.now();
    let skew = caller.sides[0].live().skew;
    // Which of the two is the gateway's clock is not proven: from the earlier one on nothing is missed.
    schedule.correct_clock(skew.offset().min(skew.dated_offset()));
    let (quota_left, rests) = (caller.quota_left(finished_at).await?, caller.rests(finished_at).await?);
    let (shops, items_unanswered) = schedule.facts(finished_at, stopped.as_deref());
    Ok(RunFacts {
        run_id: job.run_id.to_owned(),
        shops,
        items_unanswered,
        calls_used: tally.calls,
        calls_saved: tally.saved,
        quota_left,
        notes,
        ledger: ledger
            .into_iter()
            .map(|((account, scope, day), calls)| Counted { account, scope, day, calls })
            .collect(),
        rests,
        unused: Vec::new(),
        items_untouched: Vec::new(),
        items_refused: Vec::new(),
        asked: Some(Asked { skus: pipeline.fetch.skus, details: pipeline.fetch.details }),
        retries: tally.retries,
        throttles: tally.throttles,
        bytes_received: tally.bytes,
        stopped,
        started_at,
        finished_at,
    })
}

pub(super) fn schedule<'a>(job: &Job<'a>, gated: bool) -> Schedule<'a> {
    let pipeline = job.pipeline;
    let setup = Setup {
        gateway: &pipeline.gateway,
        details: pipeline.details.as_ref().map_or(&pipeline.gateway, |details| &details.gateway),
        fetch: &pipeline.fetch,
        known: job.known,
        dt: job.dt,
        until: job.until,
        stalest_first: pipeline.on_quota == OnQuota::Continue,
        gated,
        asked: job.answered.batches(),
    };
    Schedule::new(job.work.clone(), setup, &job.earlier_calls)
}

pub(super) async fn caller<'r>(job: &'r Job<'r>) -> Result<Caller<'r>> {
    // It may be long since the store was opened: what its clock shows is heard anew.
    job.state.now().await?;
    Ok(Caller {
        job,
        sides: sides(job.pipeline)?,
        ledger: Ledger { state: job.state, holder: job.holder, run: job.run_id },
        tokens: Tokens::default(),
        mask: mask(job.pipeline),
        halt: job.cancel.child_token(),
        shared: Mutex::new(Shared::new(job.seed)),
    })
}

/// The gateways of a run.
pub(super) fn sides(pipeline: &Pipeline) -> Result<Vec<Side<'_>>> {
    let choice = pipeline.account_choice;
    let mut sides = vec![Side::new(&pipeline.gateway, &pipeline.accounts, choice, None)?];
    if let Some(details) = &pipeline.details {
        let name = details.gateway.name.as_str();
        sides.push(Side::new(&details.gateway, &details.accounts, choice, Some(name))?);
    }
    Ok(sides)
}

/// Everything of the accounts that must not be kept.
#[must_use]
pub fn mask(pipeline: &Pipeline) -> Mask {
    let accounts = pipeline.accounts.iter().chain(pipeline.details.iter().flat_map(|details| &details.accounts));
    let mut secrets = Vec::new();
    for account in accounts {
        secrets.extend(account.credentials.values().filter_map(|credential| match credential {
            Credential::Secret(secret) => Some(secret.clone()),
            Credential::Plain(_) => None,
        }));
        secrets.extend(account.proxy.iter().flat_map(login));
        secrets.extend(account.proxy.clone());
    }
    Mask::new(secrets)
}

/// A proxy's password, and name and password as they are sent to it in Base64 (RFC 7617): what refuses them may repeat them.
fn login(proxy: &Secret) -> Vec<Secret> {
    let Ok(address) = url::Url::parse(proxy.expose()) else { return Vec::new() };
    let Some(password) = address.password() else { return Vec::new() };
    let plain = |escaped: &str| {
        let value = escaped.replace('+', "%2B").replace('&', "%26");
        url::form_urlencoded::parse(format!("={value}").as_bytes()).map(|(_, plain)| plain).collect::<String>()
    };
    let both = format!("{}:{}", plain(address.username()), plain(password));
    vec![Secret::new(plain(password)), Secret::new(both)]
}

struct Run<'r> {
    caller: &'r Caller<'r>,
    schedule: Schedule<'r>,
    error: Option<Error>,
    stopped: Option<String>,
    /// The gate said no before this stage.
    refused_before: Option<Stage>,
    /// Shops whose listings repeated their first page.
    repeated: usize,
    /// Why the page parameter is wrong.
    is_wrong: Option<String>,
}

enum Landed {
    Call(Task, Box<Reply>),
    /// A worker has rested after a call.
    Rested,
}

impl<'r> Run<'r> {
    async fn drive(&mut self) {
        let caller = self.caller;
        let workers = |side: &Side<'_>| usize::try_from(side.gateway.limits.calls_in_flight).unwrap_or(1).max(1);
        let workers: usize = caller.sides.iter().map(workers).sum();
        let mut flights: FuturesUnordered<BoxFuture<'_, Landed>> = FuturesUnordered::new();
        let mut calls_in_flight = 0;
        loop {
            if caller.job.cancel.is_cancelled() {
                self.stopped.get_or_insert_with(|| SIGNALLED.to_owned());
            }
            if self.error.is_some() {
                // Calls that wait for another try are given up; answers in flight still arrive.
                caller.halt.cancel();
            }
            while flights.len() < workers && self.error.is_none() && self.stopped.is_none() {
                let Some((task, values)) = self.next() else { break };
                calls_in_flight += 1;
                flights.push(Box::pin(async move {
                    let reply = caller.call(&task, values).await;
                    Landed::Call(task, Box::new(reply))
                }));
            }
            // A worker that is free found nothing to do: what a stage shows is known as far as it can be.
            if calls_in_flight == 0 && flights.len() < workers && self.pass_gate().await {
                continue;
            }
            // Rests alone are not worth waiting for: either a worker is free, or nothing is left to do.
            let blocked = self.error.is_none() && self.stopped.is_none() && flights.len() >= workers;
            if calls_in_flight == 0 && !blocked {
                return;
            }
            match flights.next().await {
                None => return,
                Some(Landed::Rested) => {}
                Some(Landed::Call(task, reply)) => {
                    calls_in_flight -= 1;
                    let rest = reply.rest;
                    self.settle(&task, *reply);
                    if !rest.is_zero() {
                        flights.push(Box::pin(async move {
                            caller.sleep(rest).await;
                            Landed::Rested
                        }));
                    }
                }
            }
        }
    }

    /// A stage has shown what it can: may the run go on? Whether there may be something new to hand out.
    async fn pass_gate(&mut self) -> bool {
        if self.schedule.stage() == Stage::Details || self.error.is_some() || self.stopped.is_some() {
            return false;
        }
        self.schedule.open();
        let held = self.schedule.held().map(str::to_owned);
        let details = self.schedule.stage() == Stage::Details;
        // What nobody may ask any more today ends the run anyway, and it goes on another day.
        let Some(gate) = self.caller.job.gate.filter(|_| held.is_none() || !details) else { return true };
        let refusal = match self.learned().await {
            // Nothing was named: the gate knows what there is to know already.
            Ok(learned) if details && names_nothing(&learned) => return true,
            Ok(learned) => gate.refusal(learned, held.as_deref()).await,
            Err(error) => Err(error),
        };
        match refusal {
            Ok(None) => true,
            Err(error) => {
                self.error = Some(error);
                false
            }
            Ok(Some(reason)) => {
                self.caller.note(Note::Refused { reason: reason.clone() });
                self.stopped = Some(reason);
                self.refused_before = Some(self.schedule.stage());
                false
            }
        }
    }

    /// What was asked for before the run was stopped is bought, too.
    async fn tell_gate(&mut self) {
        let (Some(gate), Some(reason)) = (self.caller.job.gate, &self.stopped) else { return };
        if self.schedule.stage() != Stage::Counts || self.error.is_some() {
            return;
        }
        let told = match self.learned().await {
            Ok(learned) => gate.refusal(learned, Some(reason)).await,
            Err(error) => Err(error),
        };
        self.error = told.err();
    }

    async fn learned(&self) -> Result<Learned> {
        let details = match self.schedule.stage() {
            Stage::Details => foresee::details(self.caller, &self.schedule).await?,
            Stage::Counts | Stage::Listings => HashMap::new(),
        };
        Ok(Learned { counts: self.schedule.counts(), ids_by_url: self.schedule.ids_by_url(), details })
    }

    /// The next call and what its places stand for.
    fn next(&mut self) -> Option<(Task, Values)> {
        let now = self.now();
        let task = self.schedule.next(now)?;
        if let Some(shop) = task.shop()
            && self.schedule.has_just_begun(shop)
        {
            self.caller.job.progress.on(Event::ShopStarted { shop: self.schedule.label(shop) });
        }
        let values = values(&self.schedule, &task, &self.caller.job.pipeline.fetch);
        Some((task, values))
    }

    fn settle(&mut self, task: &Task, reply: Reply) {
        self.schedule.spent(task, i64::from(reply.attempts));
        if let Some(at) = reply.answered_at {
            self.schedule.answered_at(task, at);
        }
        let outcome = match reply.outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                self.error.get_or_insert(error);
                Outcome::NotSent
            }
        };
        if let Some(none_left) = reply.none_left {
            self.hold(task, none_left);
        }
        self.warn(task, &outcome);
        if let Err(repeated) = self.schedule.settle(task, outcome, self.now()) {
            let label = task.shop().map(|shop| self.schedule.label(shop)).unwrap_or_default();
            self.repeats(format!("shop `{label}`: {repeated}"));
        }
        self.tell(task);
    }

    /// One shop whose pages repeat is incomplete, and no more: other shops may show that the page parameter is read. Where
    /// a second one repeats its first page, or there is no other, the definition is wrong. A retry of some shops has others,
    /// which were listed before.
    fn repeats(&mut self, reason: String) {
        self.repeated += 1;
        let shops = self.schedule.shops();
        let are_all = shops == self.caller.job.pipeline.shops.len();
        let is_wrong = are_all && (self.repeated > 1 || shops == 1);
        if !is_wrong || self.schedule.has_turned() {
            return self.caller.job.progress.on(Event::Warning(&reason));
        }
        self.is_wrong = Some(reason.clone());
        let error =
            Error::config(reason).with_hint("correct `page.number` of endpoint `listing` in the gateway definition");
        self.error.get_or_insert(error);
    }

    /// Nobody may ask this any more today: the run ends, or goes on without this shop or endpoint.
    fn hold(&mut self, task: &Task, none_left: super::accounts::NoneLeft) {
        if none_left.denied {
            let what = match none_left.permission {
                true => "apply for the permission in the app's console, then let the account ask again",
                false => "correct the account's credentials, or let it ask again",
            };
            let error = Error::new(Kind::Denied, none_left.reason).with_hint(format!(
                "{what}: `huopan accounts wake {} --pipeline {}`",
                none_left.refused.as_deref().unwrap_or("NAME"),
                self.caller.job.pipeline.path.display()
            ));
            self.error.get_or_insert(error);
            return;
        }
        let scope = self.caller.side(task).gateway.limits.quota_scope;
        match (scope, task.shop()) {
            _ if none_left.everywhere && self.caller.sides.len() == 1 => {
                self.stopped.get_or_insert(none_left.reason);
            }
            (QuotaScope::Shop, Some(shop)) if !none_left.everywhere => {
                self.schedule.hold_shop(shop, &none_left.reason);
            }
            // The other gateway of the run may still be asked.
            _ if none_left.everywhere && !matches!(task, Task::Item { .. }) => {
                let others = ENDPOINTS.iter().filter(|endpoint| **endpoint != "item");
                others.for_each(|endpoint| self.schedule.hold_endpoint(endpoint, &none_left.reason));
            }
            _ => self.schedule.hold_endpoint(task.endpoint(), &none_left.reason),
        }
    }

    fn warn(&self, task: &Task, outcome: &Outcome) {
        let (Outcome::Failed(reason) | Outcome::Refused(reason) | Outcome::TimedOut(reason)) = outcome else { return };
        let endpoint = task.endpoint();
        let about = match task {
            Task::Item { offer_ids, .. } if offer_ids.len() > 1 => format!("{} offers", offer_ids.len()),
            Task::Item { offer_ids, .. } => format!("offer {}", offer_ids.first().copied().unwrap_or_default()),
            Task::Sku { sku_id, .. } => format!("SKU {sku_id}"),
            Task::Page { shop, page, .. } => format!("shop `{}`, page {page}", self.schedule.label(*shop)),
            Task::Resolve { shop } | Task::Count { shop } | Task::Recount { shop } | Task::Categories { shop } => {
                format!("shop `{}`", self.schedule.label(*shop))
            }
            Task::Time => "connection test".to_owned(),
        };
        self.caller.job.progress.on(Event::Warning(&format!("{about}: endpoint `{endpoint}`: {reason}")));
    }

    fn tell(&mut self, task: &Task) {
        let progress = self.caller.job.progress;
        match *task {
            Task::Page { shop, .. } => {
                let (pages, of) = self.schedule.pages(shop);
                progress.on(Event::Page { shop: self.schedule.label(shop), pages, of });
            }
            Task::Sku { .. } | Task::Item { .. } => {
                let (done, of) = self.schedule.details();
                progress.on(Event::Detail { done, of });
            }
            Task::Resolve { .. } | Task::Count { .. } | Task::Recount { .. } | Task::Categories { .. } | Task::Time => {
            }
        }
        let Some(shop) = task.shop() else { return };
        if let Some(news) = self.schedule.news(shop) {
            progress.on(Event::Warning(&format!("shop `{}`: {news}", self.schedule.label(shop))));
        }
        if let Some(facts) = self.schedule.finished(shop) {
            progress.on(Event::ShopFinished(&facts));
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.caller.job.clock.now()
    }
}

fn names_nothing(learned: &Learned) -> bool {
    learned.details.values().all(|left| left.items == 0 && left.skus == 0)
}

/// What the places of a task's call stand for.
pub(super) fn values(schedule: &Schedule<'_>, task: &Task, fetch: &Fetch) -> Values {
    let mut values = Values { answer: Some(fetch.answer), more: fetch.options.clone(), ..Values::default() };
    if let Some(shop) = task.shop() {
        values.shop_id = schedule.shop_id(shop).map(str::to_owned);
        values.shop_url = schedule.shop_url(shop).map(str::to_owned);
    }
    match task {
        Task::Page { shop, list, slice, page } => {
            values.page = Some(*page);
            (values.span, values.category_id) = schedule.slice(*shop, *list, *slice);
            values.can_be_halved = schedule.can_halve(*shop, *list, *slice);
        }
        Task::Sku { offer_id, sku_id, .. } => {
            values.offer_id = Some(*offer_id);
            values.sku_id = Some(*sku_id);
            values.fresh_since = schedule.modified_at(&[*offer_id]);
        }
        Task::Item { offer_ids, .. } => {
            values.offer_id = (offer_ids.len() == 1).then(|| offer_ids[0]);
            values.offer_ids.clone_from(offer_ids);
            values.fresh_since = schedule.modified_at(offer_ids);
        }
        Task::Resolve { .. } | Task::Count { .. } | Task::Recount { .. } | Task::Categories { .. } | Task::Time => {}
    }
    values
}

#[cfg(test)]
mod tests;
