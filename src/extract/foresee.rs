//! What a run is going to ask for in detail, as far as listings have named it: before it asks.
//!
//! Takes what earlier starts of a run have landed, and asks the schedule as the run will, but answers it from what is landed
//! only; gives the details that are left, in calls. A running schedule tells the same of itself.
//!
//! Invariant: nothing is sent, landed or counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, NaiveDate, Utc};
use tokio_util::sync::CancellationToken;

use crate::base::{Clock, Error, Result};
use crate::config::Pipeline;
use crate::plan::price::DetailsLeft;
use crate::plan::{Known, Work};
use crate::state::StateStore;

use super::cached::Reuse;
use super::call::Caller;
use super::driver::{self, Job, values};
use super::progress::Silent;
use super::schedule::{self, Outcome, Schedule, Task};
use super::{Answered, Attempt, Sink};

/// What it takes to foresee a run that goes on.
pub struct Foresight<'a> {
    /// What to ask for, of whom, as whom.
    pub pipeline: &'a Pipeline,
    /// The shops and items of the run.
    pub work: &'a Work,
    /// What the picture before says.
    pub known: &'a Known,
    /// The run's day.
    pub dt: NaiveDate,
    /// When the run started for the first time.
    pub until: DateTime<Utc>,
    /// What its earlier starts have landed.
    pub answered: &'a dyn Answered,
    /// The caches.
    pub state: &'a dyn StateStore,
    /// Which cached answers may be used.
    pub reuse: Reuse,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The details left to ask for of what landed listings name, by the shop's place in the work (`None`: of single items).
///
/// # Errors
/// What is wrong with the definition; whatever the landing zone or the state store fails with.
pub async fn foresee(foresight: Foresight<'_>) -> Result<HashMap<Option<usize>, DetailsLeft>> {
    let (notes, clock) = (Mutex::default(), foresight.clock);
    let job = Job {
        pipeline: foresight.pipeline,
        work: foresight.work.clone(),
        known: foresight.known,
        run_id: "",
        dt: foresight.dt,
        until: foresight.until,
        answered: foresight.answered,
        earlier_calls: HashMap::new(),
        state: foresight.state,
        holder: "",
        clocks: Default::default(),
        reuse: foresight.reuse,
        gate: None,
        clock,
        sink: &Nowhere,
        progress: &Silent,
        notes: &notes,
        cancel: CancellationToken::new(),
        seed: 0,
    };
    let caller = driver::caller(&job).await?;
    let mut schedule = driver::schedule(&job, true);
    // Listings and single items are asked for, their details are not.
    schedule.open();
    let mut single = Vec::new();
    while let Some(task) = schedule.next(job.until) {
        let values = values(&schedule, &task, &job.pipeline.fetch);
        let settled = match caller.landed(&caller.errand(&task, &values)?).await? {
            Some(outcome) => schedule.settle(&task, outcome, job.until),
            // What has no answer stays open, and what hangs on it is not known.
            None => {
                single.extend(Some(task).filter(|task| matches!(task, Task::Item { .. })));
                Ok(())
            }
        };
        if settled.is_err() {
            // The run will say which parameter the gateway does not read.
            break;
        }
    }
    for task in single {
        let _ = schedule.settle(&task, Outcome::NotSent, job.until);
    }
    details(&caller, &schedule).await
}

/// The details that a schedule has still to ask for of what was named, less those whose answers are known. Empty where
/// nothing is named.
pub(super) async fn details(
    caller: &Caller<'_>,
    schedule: &Schedule<'_>,
) -> Result<HashMap<Option<usize>, DetailsLeft>> {
    let mut details = HashMap::new();
    for (shop, is_all, tasks) in schedule.named() {
        let of_shop = |task: &Task| if let Task::Item { offer_ids, .. } = task { offer_ids.len() } else { 0 };
        let named = match shop {
            Some(_) => tasks.iter().map(of_shop).sum(),
            None => caller.job.work.items.len(),
        };
        let mut left = DetailsLeft { items: 0, offers: 0, named: named as u64, skus: 0, is_all };
        let mut open = tasks;
        while let Some(task) = open.pop() {
            let values = values(schedule, &task, &caller.job.pipeline.fetch);
            let errand = caller.errand(&task, &values)?;
            match &task {
                Task::Item { shop, offer_ids } if offer_ids.len() > 1 => match caller.answer(&errand).await? {
                    Some(outcome) => {
                        let parts = schedule::parts(offer_ids, &outcome).into_iter();
                        open.extend(parts.map(|offer_ids| Task::Item { shop: *shop, offer_ids }));
                    }
                    None => {
                        left.items += 1;
                        left.offers += offer_ids.len() as u64;
                    }
                },
                _ if caller.is_known(&errand).await? => {}
                Task::Sku { .. } => left.skus += 1,
                _ => {
                    left.items += 1;
                    left.offers += 1;
                }
            }
        }
        details.insert(shop, left);
    }
    Ok(details)
}

/// Nothing is landed by foreseeing.
struct Nowhere;

#[async_trait::async_trait]
impl Sink for Nowhere {
    async fn land(&self, _: Attempt) -> Result<Attempt> {
        Err(Error::internal("what is foreseen is not landed"))
    }
}
