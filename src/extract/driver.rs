//! The driver: joins the pure parts, and waits.
//!
//! One task runs all calls of a run concurrently: it asks the schedule what is next, sends as many calls as the
//! gateway takes at once, lands every attempt, judges what was kept, and settles the schedule.
//!
//! Invariant: nothing is judged before it is landed; what was sent is waited for and landed, also after a signal or a fatal
//! answer, because it is paid.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::base::secret::Mask;
use crate::base::{Clock, Error, Kind, Result};
use crate::config::Pipeline;
use crate::config::gateway::Paging;
use crate::config::pipeline::Credential;
use crate::plan;

use super::accounts::Accounts;
use super::call::{Caller, Reply, Shared};
use super::facts::RunFacts;
use super::http::Http;
use super::judge::Judge;
use super::progress::{Event, Progress};
use super::request::Values;
use super::retry::{Budget, Dice, Outage};
use super::schedule::{Outcome, Schedule, Task};
use super::skew::Skew;
use super::{Sink, pace};

/// What one extraction needs.
pub struct Job<'a> {
    /// What to ask for, of whom, as whom.
    pub pipeline: &'a Pipeline,
    /// The run's id, for the records.
    pub run_id: &'a str,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where attempts go.
    pub sink: &'a dyn Sink,
    /// Who listens.
    pub progress: &'a dyn Progress,
    /// Ends the run: answers in flight are landed, nothing more is sent.
    pub cancel: CancellationToken,
    /// Of the jitter.
    pub seed: u64,
}

/// Why a signal stopped the run.
const SIGNALLED: &str = "stopped by a signal";

/// Asks the gateway for everything that the pipeline names.
///
/// What fails for one page, item or shop is written down in the facts and the run goes on.
///
/// # Errors
/// [`Kind::Config`]: the gateway lacks what the pipeline needs, refuses a parameter, or does not read the page parameter ·
/// [`Kind::Denied`]: it refuses the key, the signature or a permission · [`Kind::Unavailable`]: it does not answer ·
/// whatever the sink fails with.
pub async fn extract(job: Job<'_>) -> Result<RunFacts> {
    let gateway = &job.pipeline.gateway;
    let started_at = job.clock.now();
    let paging = gateway.endpoints.get("listing").and_then(|listing| listing.page.clone()).unwrap_or_else(single_page);
    let schedule = Schedule::new(plan::work(job.pipeline)?, &paging);
    let shared = Mutex::new(Shared {
        accounts: Accounts::new(gateway, &job.pipeline.accounts),
        skew: Skew::default(),
        outage: Outage::new(&gateway.limits),
        dice: Dice::new(job.seed),
        tally: super::call::Tally::default(),
    });
    let caller = Caller {
        job: &job,
        http: Http::new(gateway)?,
        judge: Judge::new(gateway),
        budget: Budget::new(&gateway.limits),
        mask: mask(job.pipeline),
        halt: job.cancel.child_token(),
        shared: &shared,
    };
    let mut run = Run { caller: &caller, schedule, error: None, stopped: None };
    run.drive().await;
    let Run { schedule, error, stopped, .. } = run;
    let tally = shared.lock().unwrap_or_else(PoisonError::into_inner).tally.clone();
    if let Some(error) = error {
        return Err(error);
    }
    if let (0, Some(failure), None) = (tally.good, &tally.last_failure, &stopped) {
        let (name, calls) = (&gateway.name, tally.calls);
        return Err(Error::new(
            Kind::Unavailable,
            format!("gateway `{name}` gave no good answer in {calls} calls: {failure}"),
        ));
    }
    let finished_at = job.clock.now();
    let (shops, items_unanswered) = schedule.facts(finished_at, stopped.as_deref());
    Ok(RunFacts {
        run_id: job.run_id.to_owned(),
        shops,
        items_unanswered,
        calls_used: tally.calls,
        calls_saved: 0,
        quota_left: None,
        retries: tally.retries,
        throttles: tally.throttles,
        bytes_received: tally.bytes,
        stopped,
        started_at,
        finished_at,
    })
}

/// A listing without page parameters is one page.
fn single_page() -> Paging {
    Paging { number: String::new(), first: 1, last: Some(1), size: None, size_max: u32::MAX }
}

fn mask(pipeline: &Pipeline) -> Mask {
    let credentials = pipeline.accounts.iter().flat_map(|account| account.credentials.values());
    Mask::new(credentials.filter_map(|credential| match credential {
        Credential::Secret(secret) => Some(secret.clone()),
        Credential::Plain(_) => None,
    }))
}

struct Run<'r> {
    caller: &'r Caller<'r>,
    schedule: Schedule,
    error: Option<Error>,
    stopped: Option<String>,
}

enum Landed {
    Call(Task, Box<Reply>),
    /// A worker has rested after a call.
    Rested,
}

impl Run<'_> {
    async fn drive(&mut self) {
        let caller = self.caller;
        let workers = usize::try_from(caller.job.pipeline.gateway.limits.calls_in_flight).unwrap_or(1).max(1);
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
                    let rest = pace::rest(&caller.job.pipeline.gateway.limits.pause, reply.fault);
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

    /// The next call and what its places stand for.
    fn next(&mut self) -> Option<(Task, Values)> {
        let now = self.now();
        let task = self.schedule.next(now)?;
        let mut values = Values { answer: Some(self.caller.job.pipeline.fetch.answer), ..Values::default() };
        if let Some(shop) = task.shop() {
            values.shop_id = self.schedule.shop_id(shop).map(str::to_owned);
            values.shop_url = self.schedule.shop_url(shop).map(str::to_owned);
            if self.schedule.has_just_begun(shop) {
                self.caller.job.progress.on(Event::ShopStarted { shop: self.schedule.label(shop) });
            }
        }
        match task {
            Task::Page { page, .. } => values.page = Some(page),
            Task::Sku { offer_id, sku_id, .. } => {
                values.offer_id = Some(offer_id);
                values.sku_id = Some(sku_id);
            }
            Task::Item { offer_id } => values.offer_id = Some(offer_id),
            Task::Resolve { .. } | Task::Count { .. } => {}
        }
        Some((task, values))
    }

    fn settle(&mut self, task: &Task, reply: Reply) {
        self.schedule.spent(task, i64::from(reply.attempts));
        let outcome = match reply.outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                self.error.get_or_insert(error);
                Outcome::NotSent
            }
        };
        if let Some(reason) = reply.stopped {
            self.stopped.get_or_insert(reason);
        }
        self.warn(task, &outcome);
        if let Err(repeated) = self.schedule.settle(task, outcome, self.now()) {
            let label = task.shop().map(|shop| self.schedule.label(shop)).unwrap_or_default();
            let error = Error::config(format!("shop `{label}`: {repeated}"))
                .with_hint("correct `page.number` of endpoint `listing` in the gateway definition");
            self.error.get_or_insert(error);
        }
        self.tell(task);
    }

    fn warn(&self, task: &Task, outcome: &Outcome) {
        let (Outcome::Failed(reason) | Outcome::Refused(reason)) = outcome else { return };
        let endpoint = task.endpoint();
        let about = match *task {
            Task::Item { offer_id } => format!("offer {offer_id}"),
            Task::Sku { sku_id, .. } => format!("SKU {sku_id}"),
            Task::Page { shop, page } => format!("shop `{}`, page {page}", self.schedule.label(shop)),
            Task::Resolve { shop } | Task::Count { shop } => format!("shop `{}`", self.schedule.label(shop)),
        };
        self.caller.job.progress.on(Event::Warning(&format!("{about}: endpoint `{endpoint}`: {reason}")));
    }

    fn tell(&self, task: &Task) {
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
            Task::Resolve { .. } | Task::Count { .. } => {}
        }
        if let Some(facts) = task.shop().and_then(|shop| self.schedule.finished(shop)) {
            progress.on(Event::ShopFinished(&facts));
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.caller.job.clock.now()
    }
}

#[cfg(test)]
mod tests;
