//! What is known before a run, for its price: the day it would stand for, its work, the picture before, the ledger.
//!
//! Takes a pipeline; gives a [`Survey`]. With a probe it asks the gateway for shops' ids and official counts; these calls
//! are counted like any other, and a run that starts soon after uses their answers.
//!
//! Invariant: nothing is begun or published; without a probe no call is made and nothing is written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::NaiveDate;

use crate::base::time::beijing_day;
use crate::base::{Error, Result};
use crate::config::Pipeline;
use crate::config::pipeline::Account;
use crate::extract::answered::Nothing;
use crate::extract::{self, Job, RunFacts};
use crate::land::{Writer, WriterOptions, Zone, unfinished};
use crate::load::Snapshot;
use crate::plan::price::{AccountQuota, Start, Survey};
use crate::plan::{self, Known, Work};
use crate::state::{self, StateStore};
use crate::store::Store;

use super::{Options, Surroundings, day, new_run_id, previous};

/// What a survey asks the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// Nothing.
    Nothing,
    /// Shops' ids and official counts: a probe.
    Counts,
}

/// Surveys what a start of this pipeline would find.
///
/// # Errors
/// What keeps a run from being planned: a gateway that lacks an endpoint, a state store or lake that cannot be read; with
/// a probe also what its calls fail with.
pub async fn survey(pipeline: &Pipeline, options: Options, asks: Asks, around: &Surroundings<'_>) -> Result<Survey> {
    let today = beijing_day(around.clock.now());
    let (mut start, mut dt, mut known) = (Start::Begins, options.dt.unwrap_or(today), Known::default());
    if pipeline.lake.root.is_dir() {
        let store = Store::open_existing(&pipeline.lake.root)?;
        (start, dt) = find_start(pipeline, options, dt, &store).await?;
        known = known_before(pipeline, &store, dt).await?;
    }
    let state = state::open(&pipeline.state).await?;
    let work = plan::work(pipeline)?;
    let probed = match asks {
        Asks::Nothing => Probed::default(),
        Asks::Counts => probe(pipeline, dt, &known, state.as_ref(), around).await?,
    };
    let mut survey = of_run(pipeline, Found { dt, today, work, known }, state.as_ref()).await?;
    survey.start = start;
    if asks == Asks::Counts {
        survey.is_under_way = true;
        survey.counts = probed.counts;
        survey.ids_by_url.extend(probed.ids_by_url);
        survey.probe_calls = probed.calls;
    }
    Ok(survey)
}

/// What a run has found.
pub(super) struct Found {
    pub(super) dt: NaiveDate,
    pub(super) today: NaiveDate,
    pub(super) work: Work,
    pub(super) known: Known,
}

/// The survey of a run that is about to begin, or goes on.
pub(super) async fn of_run(pipeline: &Pipeline, found: Found, state: &dyn StateStore) -> Result<Survey> {
    let (counts, health) = (state.counts(found.today).await?, state.accounts(state.now().await?).await?);
    let quota = |account: &Account| AccountQuota::new(account, &counts, &health);
    let details = pipeline.details.iter().flat_map(|details| &details.accounts);
    let mut ids_by_url = HashMap::new();
    if pipeline.fetch.cache {
        for url in found.work.shops.iter().filter_map(|shop| shop.shop.url.as_ref()) {
            if let Some(id) = extract::cached_shop_id(pipeline, state, url).await? {
                ids_by_url.insert(url.clone(), id);
            }
        }
    }
    Ok(Survey {
        dt: found.dt,
        today: found.today,
        start: Start::Begins,
        work: found.work,
        known: found.known,
        ids_by_url,
        counts: HashMap::new(),
        is_under_way: false,
        probe_calls: 0,
        accounts: pipeline.accounts.iter().map(quota).collect(),
        detail_accounts: details.map(quota).collect(),
    })
}

/// What the picture before a day says.
pub(super) async fn known_before(pipeline: &Pipeline, store: &Store, dt: NaiveDate) -> Result<Known> {
    let snapshot = Snapshot::load(store).await?;
    let before = snapshot.previous_dt(&pipeline.name, dt);
    let Some(entry) = before.and_then(|dt| snapshot.picture(&pipeline.name, dt)).cloned() else {
        return Ok(Known::default());
    };
    let facts = match entry.run_id.parse() {
        Ok(run_id) => Zone::new(store.clone(), &pipeline.name, entry.dt).read_facts(&run_id).await?,
        Err(_) => None,
    };
    let store = store.clone();
    day::off_reactor(move || previous::known(&store, &entry, facts.as_ref())).await
}

/// What a probe bought.
#[derive(Default)]
struct Probed {
    counts: HashMap<usize, u64>,
    ids_by_url: HashMap<String, String>,
    calls: u64,
}

/// Asks for ids and counts, and lands what is answered: no unfinished run, but counted by the ledger.
async fn probe(
    pipeline: &Pipeline,
    dt: NaiveDate,
    known: &Known,
    state: &dyn StateStore,
    around: &Surroundings<'_>,
) -> Result<Probed> {
    if pipeline.shops.is_empty() {
        return Err(Error::config("there is nothing to probe: the pipeline names single items, one call each"));
    }
    let store = Store::open(&pipeline.lake.root)?;
    let zone = Zone::new(store.clone(), &pipeline.name, dt);
    let run_id = new_run_id(around, dt);
    let mask = extract::driver::mask(pipeline);
    let writer = Writer::start(zone, WriterOptions { run_id, first_number: 1, mask });
    let found = Mutex::new(HashMap::new());
    let gate = |counts: &HashMap<usize, u64>| {
        found.lock().unwrap_or_else(PoisonError::into_inner).clone_from(counts);
        Some("probed".to_owned())
    };
    let (name, holder) = (run_id.to_string(), format!("{}{} probe", store.url(), pipeline.name));
    let job = Job {
        pipeline,
        work: Work { items: Vec::new(), ..plan::work(pipeline)? },
        known,
        run_id: &name,
        dt,
        until: around.clock.now(),
        answered: &Nothing,
        earlier_calls: HashMap::new(),
        state,
        holder: &holder,
        reads_cache: pipeline.fetch.cache,
        reads_counts: true,
        gate: Some(&gate),
        clock: Arc::clone(&around.clock),
        sink: &writer,
        progress: around.progress,
        cancel: around.cancel.clone(),
        seed: around.seed,
    };
    let extracted = extract::extract(job).await;
    writer.close().await?;
    let facts = extracted?;
    let counts = found.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Probed { counts, ids_by_url: ids_by_url(&facts), calls: u64::try_from(facts.calls_used).unwrap_or(0) })
}

fn ids_by_url(facts: &RunFacts) -> HashMap<String, String> {
    let resolved = facts.shops.iter().filter_map(|shop| Some((shop.shop_url.clone()?, shop.shop_id.clone())));
    resolved.filter(|(url, id)| url != id).collect()
}

/// What a start would do, and for which day.
async fn find_start(pipeline: &Pipeline, options: Options, dt: NaiveDate, store: &Store) -> Result<(Start, NaiveDate)> {
    let mut open = unfinished(store, &pipeline.name).await?;
    open.retain(|run| options.dt.is_none_or(|dt| dt == run.dt));
    if let Some(run) = open.pop() {
        return Ok((Start::GoesOn { run_id: run.run_id.to_string() }, run.dt));
    }
    let published = Snapshot::load(store).await?.picture(&pipeline.name, dt).is_some();
    Ok((if published && !options.refresh { Start::Published } else { Start::Begins }, dt))
}
