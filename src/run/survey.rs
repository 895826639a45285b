//! What is known before a run, for its price: the day it would stand for, its work, the picture before, the ledger.
//!
//! Takes a pipeline; gives a [`Survey`]. With a probe it asks the gateway for shops' ids and official counts; these calls
//! are counted like any other, and a run that starts soon after uses their answers.
//!
//! Invariant: nothing is begun or published; without a probe no call is made and nothing is written to the lake. A ledger
//! that was lost is rebuilt first, as a run would.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, NaiveDate, Utc};

use crate::base::time::beijing_day;
use crate::base::{Clock, Error, Kind, Result};
use crate::config::pipeline::{Account, FetchDetails};
use crate::config::{Gateway, Pipeline};
use crate::extract::answered::Nothing;
use crate::extract::driver::{Gate, Learned};
use crate::extract::{self, Answered, BoughtCount, Fingerprint, Foresight, Job, KnownId, Listed, Reuse};
use crate::land::{self, Resumed, Writer, WriterOptions, Zone};
use crate::load::Snapshot;
use crate::plan::price::{AccountQuota, DetailsLeft, Night, Start, Survey};
use crate::plan::{self, Known, KnownShop, Work};
use crate::state::{self, AccountHealth, Counted, Resting, StateStore};
use crate::store::Store;

use super::begin::{self, Next};
use super::{Options, Surroundings, day, ledger, new_run_id, previous};

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
    let now = around.clock.now();
    let today = beijing_day(now);
    let work = plan::work(pipeline)?;
    let mut found = Found {
        dt: options.dt.unwrap_or(today),
        start: Start::Begins,
        work,
        known: Known::default(),
        until: now,
        resumed: None,
        details: HashMap::new(),
        is_refresh: false,
        picture: None,
        options,
    };
    let mut nights = HashMap::new();
    if let Some(store) = Store::find(&pipeline.lake.location).await? {
        found = find_start(pipeline, options, (found, today), &store).await?;
        found.known = known_before(pipeline, &store, found.dt).await?;
        found.picture = picture_of(pipeline, &store, found.dt).await?;
        nights = last_nights(pipeline, &store, found.dt).await?;
    }
    let state = state::open(&pipeline.state).await?;
    ledger::rebuild_from_lake(pipeline, state.as_ref()).await?;
    found.details = details_left(pipeline, &found, state.as_ref(), &around.clock).await?;
    let probed = match asks {
        Asks::Nothing => None,
        Asks::Counts => Some(probe(pipeline, &found, state.as_ref(), around).await?),
    };
    // What a probe has bought is in the caches by now, as far as the run may use it.
    let mut survey = Survey { nights, ..of_run(pipeline, &found, state.as_ref(), around.clock.now()).await? };
    if let Some(Probed { learned, calls, stopped }) = probed {
        survey.counts.extend(learned.counts);
        survey.ids_by_url.extend(learned.ids_by_url);
        survey.probe_calls = calls;
        survey.probe_stopped = stopped;
    }
    Ok(survey)
}

/// What a run has found.
pub(super) struct Found {
    pub(super) dt: NaiveDate,
    pub(super) start: Start,
    pub(super) work: Work,
    pub(super) known: Known,
    /// When the run started for the first time.
    pub(super) until: DateTime<Utc>,
    /// What an unfinished run was answered.
    pub(super) resumed: Option<Arc<Resumed>>,
    /// What it has still to ask for of what it was answered: [`details_left`].
    pub(super) details: HashMap<Option<usize>, DetailsLeft>,
    /// Whether it fetches a day anew that was fetched.
    pub(super) is_refresh: bool,
    /// What was fetched of its day.
    pub(super) picture: Option<Picture>,
    pub(super) options: Options,
}

/// What a day looks like that a run fetches once more.
pub(super) struct Picture {
    known: Known,
    /// When it was published, or held.
    listed_by: DateTime<Utc>,
}

impl Found {
    /// Which cached answers the run may use.
    pub(super) fn reuse(&self, pipeline: &Pipeline) -> Reuse {
        let any = pipeline.fetch.cache && !self.options.no_cache;
        let counts_after = self.picture.as_ref().map(|picture| picture.listed_by);
        Reuse { any, offers: any && !self.is_refresh, counts_after }
    }
}

/// The survey of a run that is about to begin, or goes on, as it is at `now`: a run that is under way may have seen midnight.
pub(super) async fn of_run(
    pipeline: &Pipeline,
    found: &Found,
    state: &dyn StateStore,
    now: DateTime<Utc>,
) -> Result<Survey> {
    let today = beijing_day(now);
    let (counts, health) = (state.counts(today).await?, state.accounts(state.now().await?).await?);
    let answered: &dyn Answered = found.resumed.as_ref().map_or(&Nothing, |resumed| resumed.as_ref());
    let reuse = found.reuse(pipeline);
    let (mut ids_by_url, mut free_ids) = (HashMap::new(), HashSet::new());
    for url in found.work.shops.iter().filter_map(|shop| shop.shop.url.as_ref()) {
        let known = extract::known_shop_id(pipeline, answered, state, (url, reuse)).await?;
        if let Some(KnownId::Cached(_)) = known {
            free_ids.insert(url.clone());
        }
        if let Some(KnownId::Cached(id) | KnownId::Landed(id)) = known {
            ids_by_url.insert(url.clone(), id);
        }
    }
    let (mut counts_now, mut free_counts, mut earlier_counts) = (HashMap::new(), HashSet::new(), HashMap::new());
    for (place, shop) in found.work.shops.iter().enumerate() {
        let by_url = || ids_by_url.get(shop.shop.url.as_ref()?);
        let Some(id) = shop.shop.id.as_ref().or_else(by_url) else { continue };
        if let Some(count) = extract::landed_count(pipeline, answered, shop, id).await? {
            counts_now.insert(place, count);
            continue;
        }
        match extract::bought_count(pipeline, state, (found.dt, now, reuse), (shop, id)).await? {
            Some(BoughtCount::Holds(count)) => {
                counts_now.insert(place, count);
                free_counts.insert(place);
            }
            Some(BoughtCount::Earlier(count)) => _ = earlier_counts.insert(place, count),
            None => {}
        }
    }
    let details = pipeline.details.as_ref();
    Ok(Survey {
        dt: found.dt,
        today,
        start: found.start.clone(),
        work: found.work.clone(),
        known: found.known.clone(),
        picture: found.picture.as_ref().map(|picture| picture.known.clone()).unwrap_or_default(),
        ids_by_url,
        free_ids,
        counts: counts_now,
        free_counts,
        earlier_counts,
        nights: HashMap::new(),
        details: found.details.clone(),
        answered: found.resumed.as_ref().map(|resumed| resumed.answered().clone()).unwrap_or_default(),
        is_late: now - found.until > extract::APART,
        is_under_way: false,
        probe_calls: 0,
        probe_stopped: None,
        accounts: quotas(&pipeline.gateway, &pipeline.accounts, (&counts, &health)),
        detail_accounts: details.map(|of| quotas(&of.gateway, &of.accounts, (&counts, &health))).unwrap_or_default(),
    })
}

/// The details that an unfinished run has still to ask for of what its listings have named.
pub(super) async fn details_left(
    pipeline: &Pipeline,
    found: &Found,
    state: &dyn StateStore,
    clock: &Arc<dyn Clock>,
) -> Result<HashMap<Option<usize>, DetailsLeft>> {
    let Work { skus, details, items, .. } = &found.work;
    let asks = *skus != FetchDetails::Off || *details != FetchDetails::Off || !items.is_empty();
    let Some(resumed) = found.resumed.as_ref().filter(|resumed| asks && resumed.settled() > 0) else {
        return Ok(HashMap::new());
    };
    extract::foresee(Foresight {
        pipeline,
        work: &found.work,
        known: &found.known,
        dt: found.dt,
        until: found.until,
        answered: resumed.as_ref(),
        state,
        reuse: found.reuse(pipeline),
        clock: Arc::clone(clock),
    })
    .await
}

/// What a gateway's accounts may still do, as the state store knows it.
fn quotas(
    gateway: &Gateway,
    accounts: &[Account],
    (counts, health): (&[Counted], &[AccountHealth]),
) -> Vec<AccountQuota> {
    let quota = |account: &Account| {
        let own = health.iter().filter(|health| health.account == account.key);
        let print = Fingerprint::new(gateway, account);
        let concerns = |rest: &&Resting| rest.concerns(&print.gateway, &print.credentials);
        let rests = own.flat_map(|health| &health.rests).filter(concerns);
        AccountQuota::new(account, counts, rests.cloned().collect())
    };
    accounts.iter().map(quota).collect()
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

/// What has been fetched of a day, where it is published, or held.
pub(super) async fn picture_of(pipeline: &Pipeline, store: &Store, dt: NaiveDate) -> Result<Option<Picture>> {
    let snapshot = Snapshot::load(store).await?;
    let zone = Zone::new(store.clone(), &pipeline.name, dt);
    if let Some(run) = begin::held(pipeline, store, &snapshot).await?.into_iter().rfind(|run| run.dt == dt) {
        let mut known = Known::default();
        for shop in zone.read_facts(&run.run_id).await?.map(|facts| facts.shops).unwrap_or_default() {
            known.ids_by_url.extend(shop.shop_url.map(|url| (url, shop.shop_id.clone())));
            let official_count = shop.official_count.and_then(|count| u64::try_from(count).ok());
            known.shops.insert(shop.shop_id, KnownShop { official_count, ..KnownShop::default() });
        }
        return Ok(Some(Picture { known, listed_by: run.hold.held_at }));
    }
    let Some(entry) = snapshot.picture(&pipeline.name, dt).cloned() else { return Ok(None) };
    let facts = match entry.run_id.parse() {
        Ok(run_id) => zone.read_facts(&run_id).await?,
        Err(_) => None,
    };
    let (store, listed_by) = (store.clone(), entry.published_at);
    let known = match day::off_reactor(move || previous::known(&store, &entry, facts.as_ref())).await {
        // It says what the day may cost. That it is lost is told where it is replaced.
        Err(error) if matches!(error.kind(), Kind::Storage | Kind::Data) => Known::default(),
        known => known?,
    };
    Ok(Some(Picture { known, listed_by }))
}

/// Nights that tell what a shop may well need.
const NIGHTS: usize = 7;

/// What the shops needed on the last nights before a day, the newest first. Shops that were not listed, or not whole, tell
/// nothing.
async fn last_nights(pipeline: &Pipeline, store: &Store, dt: NaiveDate) -> Result<HashMap<String, Vec<Night>>> {
    let snapshot = Snapshot::load(store).await?;
    let mut nights: HashMap<String, Vec<Night>> = HashMap::new();
    let mut before = snapshot.previous_dt(&pipeline.name, dt);
    for _ in 0..NIGHTS {
        let Some(day) = before else { break };
        before = snapshot.previous_dt(&pipeline.name, day);
        let run_id = snapshot.picture(&pipeline.name, day).and_then(|entry| entry.run_id.parse().ok());
        let Some(run_id) = run_id else { continue };
        let Some(facts) = Zone::new(store.clone(), &pipeline.name, day).read_facts(&run_id).await? else { continue };
        for shop in facts.shops.iter().filter(|shop| shop.incomplete_reason.is_none()) {
            let changes_only = match shop.listing {
                Listed::Changed => true,
                // What began by changes is a night of changes, with all that it cost.
                Listed::Whole => shop.gave_way,
                Listed::Untouched => continue,
            };
            let calls = u64::try_from(shop.calls_used).unwrap_or(0);
            nights.entry(shop.shop_id.clone()).or_default().push(Night { changes_only, calls });
        }
    }
    Ok(nights)
}

/// What a probe bought.
#[derive(Default)]
struct Probed {
    learned: Learned,
    calls: u64,
    /// Why it did not ask for everything.
    stopped: Option<String>,
}

/// Keeps ids and counts, and lets nothing go on.
#[derive(Default)]
struct Probe(Mutex<(Learned, Option<String>)>);

#[async_trait::async_trait]
impl Gate for Probe {
    async fn refusal(&self, learned: Learned, ended: Option<&str>) -> Result<Option<String>> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (learned, ended.map(str::to_owned));
        Ok(Some("probed".to_owned()))
    }
}

/// Asks for ids and counts, and lands what is answered: no unfinished run, but counted by the ledger.
async fn probe(
    pipeline: &Pipeline,
    found: &Found,
    state: &dyn StateStore,
    around: &Surroundings<'_>,
) -> Result<Probed> {
    let dt = found.dt;
    if found.work.shops.is_empty() {
        if !pipeline.shops.is_empty() {
            return Ok(Probed::default());
        }
        return Err(Error::config("there is nothing to probe: the pipeline names single items, one call each"));
    }
    let store = Store::writable(&pipeline.lake.location).await?;
    let zone = Zone::new(store.clone(), &pipeline.name, dt);
    let run_id = new_run_id(around, dt);
    let mask = extract::driver::mask(pipeline);
    let writer = Writer::start(zone, WriterOptions { run_id, first_number: 1, mask });
    let gate = Probe::default();
    let (name, holder) = (run_id.to_string(), format!("{}{} probe", store.url(), pipeline.name));
    // What an unfinished run was answered is not bought again.
    let answered: &dyn Answered = found.resumed.as_ref().map_or(&Nothing, |resumed| resumed.as_ref());
    let job = Job {
        pipeline,
        work: Work { items: Vec::new(), ..found.work.clone() },
        known: &found.known,
        run_id: &name,
        dt,
        until: around.clock.now(),
        answered,
        earlier_calls: HashMap::new(),
        state,
        holder: &holder,
        clocks: Default::default(),
        reuse: found.reuse(pipeline),
        gate: Some(&gate),
        clock: Arc::clone(&around.clock),
        sink: &writer,
        progress: around.progress,
        notes: &Mutex::default(),
        cancel: around.cancel.clone(),
        seed: around.seed,
    };
    let extracted = extract::extract(job).await;
    writer.close().await?;
    let facts = extracted?;
    let (learned, stopped) = gate.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Probed { learned, calls: u64::try_from(facts.calls_used).unwrap_or(0), stopped })
}

/// What a start would do, for which day and which part of the work.
async fn find_start(
    pipeline: &Pipeline,
    options: Options,
    (found, today): (Found, NaiveDate),
    store: &Store,
) -> Result<Found> {
    let snapshot = Snapshot::load(store).await?;
    Ok(match begin::next(pipeline, options, today, store, &snapshot).await? {
        Next::Published(dt) => Found { start: Start::Published, dt, is_refresh: true, ..found },
        Next::Held(run) => Found { start: Start::Held, dt: run.dt, is_refresh: true, ..found },
        Next::GoesOn(run, part) => {
            let zone = Zone::new(store.clone(), &pipeline.name, run.dt);
            let again = run.frozen.asked_again.as_ref();
            let resumed = Resumed::read(&zone, &run.run_id, gateways(pipeline), again).await?;
            Found {
                start: Start::GoesOn { run_id: run.run_id.to_string() },
                dt: run.dt,
                work: part.of(found.work),
                until: run.frozen.started_at,
                is_refresh: run.frozen.refresh,
                resumed: Some(Arc::new(resumed)),
                ..found
            }
        }
        Next::Begins(dt, part) => {
            let work = part.of(found.work);
            let (shops, items) = (work.shops.len(), work.items.len());
            let start = if part.retry.is_some() { Start::Retries { shops, items } } else { Start::Begins };
            Found { start, dt, work, ..found }
        }
    })
}

/// Those whose answers a run has landed.
pub(super) fn gateways(pipeline: &Pipeline) -> land::Gateways<'_> {
    land::Gateways { own: &pipeline.gateway, details: pipeline.details.as_ref().map(|details| &details.gateway) }
}
