//! Which run a start goes on with, or begins (DESIGN "Runs").
//!
//! | what is there | what happens |
//! |---|---|
//! | an unfinished run (of the stated day, where one is stated) | the newest one goes on, with its id and day |
//! | a run of the day is held | nothing, unless it is refreshed |
//! | the day is published and complete | nothing, unless it is refreshed |
//! | the day is published, but shops or items are incomplete | a new attempt for those alone |
//! | nothing | the day's first attempt |
//!
//! Invariant: a run's inputs are durable before its first call.

use std::collections::BTreeSet;

use arrow::array::{Array as _, AsArray as _};
use chrono::NaiveDate;

use crate::base::time::beijing_day;
use crate::base::{Error, Result};
use crate::config::Pipeline;
use crate::extract::{Listed, RunFacts, ShopFacts};
use crate::land::{self, Frozen, HeldRun, Resumed, Retry, Unfinished, Zone, unfinished};
use crate::load::Snapshot;
use crate::load::log::Entry;
use crate::load::read::read;
use crate::plan::Work;
use crate::store::Store;
use crate::transform::contract::Table;

use super::day::Place;
use super::survey::gateways;
use super::{Options, day, new_run_id};

/// What a start does.
pub(super) enum Begin {
    /// The day is published already.
    Published(NaiveDate),
    /// A run of the day waits for somebody's word.
    Held(HeldRun),
    /// This run.
    Run(Box<Begun>),
}

/// A run that has begun.
#[derive(Debug, Clone)]
pub(super) struct Begun {
    pub(super) start: day::Start,
    pub(super) frozen: Frozen,
    /// An earlier attempt has published the day.
    pub(super) stands: bool,
    part: Part,
}

/// What a start would do.
pub(super) enum Next {
    /// The day is published already.
    Published(NaiveDate),
    /// A run of the day is held.
    Held(HeldRun),
    /// Go on with this run.
    GoesOn(Unfinished, Part),
    /// Begin a run of this day.
    Begins(NaiveDate, Part),
}

/// The part of the work that a run is for.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    /// What a published day lacks; `None`: everything is asked for.
    pub(super) retry: Option<Retry>,
    /// Shops of the published day that are not asked for again, and what their extraction knew.
    untouched: Vec<Untouched>,
}

/// A shop of a published day that is not asked for again.
#[derive(Debug, Clone)]
struct Untouched {
    id: String,
    url: Option<String>,
    /// What the incremental nights that follow go by.
    facts: ShopFacts,
}

impl Untouched {
    fn is_called(&self, name: &String) -> bool {
        self.id == *name || self.url.as_ref() == Some(name) || self.facts.other_urls.contains(name)
    }
}

pub(super) async fn begin(place: Place<'_>, options: Options) -> Result<Begin> {
    let Place { pipeline, around, store, turn } = place;
    let mut snapshot = turn.snapshot(store, &pipeline.name).await?;
    let now = around.clock.now();
    clear_published(pipeline, &snapshot, store).await?;
    for run in unfinished(store, &pipeline.name).await? {
        if is_superseded(&run, pipeline, &snapshot) {
            give_up(place, &snapshot, &run).await?;
            snapshot = turn.snapshot(store, &pipeline.name).await?;
        }
    }
    let start =
        |dt, run_id| day::Start { dt, run_id, attempt: snapshot.attempts(&pipeline.name, dt) + 1, started_at: now };
    let stands = |dt| snapshot.picture(&pipeline.name, dt).is_some();
    for run in unfinished(store, &pipeline.name).await? {
        if options.dt != Some(run.dt) && is_vain(&run, pipeline, beijing_day(now), store).await {
            Zone::new(store.clone(), &pipeline.name, run.dt).forget_start(&run.run_id).await?;
        }
    }
    let (dt, part) = match next(pipeline, options, beijing_day(now), store, &snapshot).await? {
        Next::Published(dt) => return Ok(Begin::Published(dt)),
        Next::Held(run) => return Ok(Begin::Held(run)),
        Next::GoesOn(Unfinished { dt, run_id, frozen }, part) => {
            let stands = stands(dt);
            return Ok(Begin::Run(Box::new(Begun { start: start(dt, run_id), frozen, stands, part })));
        }
        Next::Begins(dt, part) => (dt, part),
    };
    let frozen = Frozen {
        started_at: now,
        refresh: options.refresh,
        retry: part.retry.clone(),
        asked_again: None,
        after: Some(turn.next_seq() - 1),
        config_hash: pipeline.config_hash.clone(),
        huopan_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let start = start(dt, new_run_id(around, dt));
    Zone::new(store.clone(), &pipeline.name, dt).freeze(&start.run_id, &frozen).await?;
    Ok(Begin::Run(Box::new(Begun { start, frozen, stands: stands(dt), part })))
}

/// What a start would do; nothing is changed.
pub(super) async fn next(
    pipeline: &Pipeline,
    options: Options,
    today: NaiveDate,
    store: &Store,
    snapshot: &Snapshot,
) -> Result<Next> {
    let mut open = unfinished(store, &pipeline.name).await?;
    let is_over = |run: &Unfinished| is_published(run, pipeline, snapshot) || is_superseded(run, pipeline, snapshot);
    open.retain(|run| options.dt.is_none_or(|dt| dt == run.dt) && !is_over(run));
    let mut goes_on = None;
    for run in open.into_iter().rev() {
        if options.dt == Some(run.dt) || !is_vain(&run, pipeline, today, store).await {
            goes_on = Some(run);
            break;
        }
    }
    if let Some(run) = goes_on {
        let (picture, retry) = (snapshot.picture(&pipeline.name, run.dt), run.frozen.retry.clone());
        let untouched = match (picture, &retry) {
            (Some(entry), Some(retry)) => untouched(store, &pipeline.name, entry, retry).await?,
            _ => Vec::new(),
        };
        return Ok(Next::GoesOn(run, Part { retry, untouched }));
    }
    let dt = options.dt.unwrap_or(today);
    let of_the_day = |run: &HeldRun| run.dt == dt && !options.refresh;
    if let Some(run) = held(pipeline, store, snapshot).await?.into_iter().rfind(of_the_day) {
        return Ok(Next::Held(run));
    }
    let (mut retry, mut kept) = (None, Vec::new());
    if let Some(entry) = snapshot.picture(&pipeline.name, dt).filter(|_| !options.refresh) {
        let missing = incomplete(store, &pipeline.name, entry).await?;
        let still_asked = BTreeSet::from_iter(pipeline.items.iter().copied());
        let missing =
            Retry { items: missing.items.into_iter().filter(|id| still_asked.contains(id)).collect(), ..missing };
        if missing == Retry::default() {
            return Ok(Next::Published(dt));
        }
        kept = untouched(store, &pipeline.name, entry, &missing).await?;
        retry = Some(missing);
    }
    Ok(Next::Begins(dt, Part { retry, untouched: kept }))
}

/// The runs that are held, the newest start last. Once a picture of their day was published after them, they are history.
pub(super) async fn held(pipeline: &Pipeline, store: &Store, snapshot: &Snapshot) -> Result<Vec<HeldRun>> {
    let mut held = land::held(store, &pipeline.name).await?;
    held.retain(|run| {
        let picture = snapshot.picture(&pipeline.name, run.dt);
        picture.is_none_or(|entry| {
            // Clocks may be set back; numbers only grow.
            let is_before = match run.hold.number {
                Some(number) => entry.seq < number,
                None => entry.published_at <= run.hold.held_at,
            };
            is_before && entry.run_id != run.run_id.to_string()
        })
    });
    Ok(held)
}

/// The day of a run that was held and that a start has published which died before it could say so; asked again, there is
/// nothing left to do.
pub(super) async fn forget_published_hold(
    pipeline: &Pipeline,
    store: &Store,
    snapshot: &Snapshot,
    dt: Option<NaiveDate>,
) -> Result<Option<NaiveDate>> {
    let is_published = |run: &HeldRun| {
        let picture = snapshot.picture(&pipeline.name, run.dt);
        dt.is_none_or(|dt| dt == run.dt) && picture.is_some_and(|entry| entry.run_id == run.run_id.to_string())
    };
    let Some(run) = land::held(store, &pipeline.name).await?.into_iter().rfind(is_published) else { return Ok(None) };
    Zone::new(store.clone(), &pipeline.name, run.dt).forget_hold(&run.run_id).await?;
    Ok(Some(run.dt))
}

/// Whether a run has died after its publication was decided: nothing of it is to be asked again.
fn is_published(run: &Unfinished, pipeline: &Pipeline, snapshot: &Snapshot) -> bool {
    snapshot.has_published(&pipeline.name, &run.run_id.to_string())
}

/// Whether a run that began after it has published its day since: a start did not see it. A replay has the id of the run
/// that it rebuilds.
fn is_superseded(run: &Unfinished, pipeline: &Pipeline, snapshot: &Snapshot) -> bool {
    let picture = snapshot.picture(&pipeline.name, run.dt);
    let since = run.frozen.after.zip(picture).filter(|(after, entry)| entry.seq > *after);
    since.is_some_and(|(_, entry)| entry.run_id > run.run_id.to_string())
}

/// Journals the calls of a run that nobody goes on with.
async fn give_up(place: Place<'_>, snapshot: &Snapshot, run: &Unfinished) -> Result<()> {
    let Place { pipeline, around, store, .. } = place;
    let (dt, run_id) = (run.dt, run.run_id);
    tracing::warn!(pipeline = pipeline.name, %dt, %run_id, "a later run has published the day: this one is given up");
    let zone = Zone::new(store.clone(), &pipeline.name, dt);
    zone.note_all_segments(&run_id).await?;
    let attempt = snapshot.attempts(&pipeline.name, dt) + 1;
    day::publish_abandoned(place, &day::Start { dt, run_id, attempt, started_at: around.clock.now() }).await?;
    zone.forget_start(&run_id).await
}

/// Whether a run of an earlier day has nothing but counts: its pages repeated. Its day would be filled with what is there now.
async fn is_vain(run: &Unfinished, pipeline: &Pipeline, today: NaiveDate, store: &Store) -> bool {
    let Some(again) = run.frozen.asked_again.as_ref().filter(|_| run.dt < today) else { return false };
    let zone = Zone::new(store.clone(), &pipeline.name, run.dt);
    let resumed = Resumed::read(&zone, &run.run_id, gateways(pipeline), Some(again)).await;
    // What cannot be read is the user's to mend first.
    resumed.is_ok_and(|resumed| !resumed.has_listed())
}

/// Clears away the runs that died after their publication was decided: their answers are in `raw_pages`.
pub(super) async fn clear_published(pipeline: &Pipeline, snapshot: &Snapshot, store: &Store) -> Result<()> {
    for run in unfinished(store, &pipeline.name).await? {
        if is_published(&run, pipeline, snapshot) {
            let zone = Zone::new(store.clone(), &pipeline.name, run.dt);
            zone.delete_segments(&run.run_id).await?;
            zone.forget_start(&run.run_id).await?;
        }
    }
    for run in land::held(store, &pipeline.name).await? {
        let run_id = run.run_id.to_string();
        if snapshot.has_published(&pipeline.name, &run_id) {
            let zone = Zone::new(store.clone(), &pipeline.name, run.dt);
            zone.delete_segments(&run.run_id).await?;
            zone.forget_hold(&run.run_id).await?;
        }
    }
    Ok(())
}

impl Part {
    /// What of the work it is.
    pub(super) fn of(&self, mut work: Work) -> Work {
        let Some(retry) = &self.retry else { return work };
        let named = |name: Option<&String>| name.is_some_and(|name| retry.shops.contains(name));
        let is = |name: &String| self.untouched.iter().any(|shop| shop.is_called(name));
        let kept = |name: Option<&String>| name.is_some_and(is);
        // A shop that the pipeline names since then is asked for, too.
        work.shops.retain(|shop| {
            let (id, url) = (shop.shop.id.as_ref(), shop.shop.url.as_ref());
            named(id) || named(url) || !(kept(id) || kept(url))
        });
        work.items.retain(|id| retry.items.contains(id));
        work
    }
}

impl Begun {
    /// The part of the work that this run is for.
    pub(super) fn work(&self, work: Work) -> Work {
        self.part.of(work)
    }

    /// Says what was not asked for again.
    pub(super) fn complete(&self, facts: &mut RunFacts, pipeline: &Pipeline) {
        let Some(retry) = &self.frozen.retry else { return };
        let asked: BTreeSet<String> = facts.shops.iter().map(|shop| shop.shop_id.clone()).collect();
        let (started_at, finished_at) = (facts.started_at, facts.finished_at);
        facts.shops.extend(self.part.untouched.iter().filter(|shop| !asked.contains(&shop.id)).map(|shop| ShopFacts {
            shop_id: shop.id.clone(),
            listing: Listed::Untouched,
            started_at,
            finished_at,
            ..shop.facts.clone()
        }));
        facts.items_untouched = pipeline.items.iter().filter(|id| !retry.items.contains(id)).copied().collect();
    }
}

/// One shop of a published day.
struct PublishedShop {
    id: String,
    url: Option<String>,
    complete: bool,
}

async fn published_shops(store: &Store, entry: &Entry) -> Result<Vec<PublishedShop>> {
    let (store, entry) = (store.clone(), entry.clone());
    day::off_reactor(move || {
        let mut shops = Vec::new();
        read(&store, &entry, Table::Shops, Some(&["shop_id", "shop_url", "is_complete"]), |batch| {
            let column = |name: &str| {
                batch
                    .column_by_name(name)
                    .ok_or_else(|| Error::data(format!("a published file has no column `{name}`")))
            };
            let (ids, urls) = (column("shop_id")?.as_string::<i32>(), column("shop_url")?.as_string::<i32>());
            let complete = column("is_complete")?.as_boolean();
            shops.extend((0..batch.num_rows()).map(|row| PublishedShop {
                id: ids.value(row).to_owned(),
                url: urls.is_valid(row).then(|| urls.value(row).to_owned()),
                complete: complete.value(row),
            }));
            Ok(())
        })?;
        Ok(shops)
    })
    .await
}

/// What a published day lacks.
async fn incomplete(store: &Store, pipeline: &str, entry: &Entry) -> Result<Retry> {
    let shops = published_shops(store, entry).await?;
    let names = shops.into_iter().filter(|shop| !shop.complete).flat_map(|shop| [Some(shop.id), shop.url]);
    let facts = facts_of(store, pipeline, entry).await?.unwrap_or_default();
    let items = facts.items_unanswered.into_iter().chain(facts.items_refused).collect();
    Ok(Retry { shops: names.flatten().collect(), items })
}

/// The shops of a published day that are not retried.
async fn untouched(store: &Store, pipeline: &str, entry: &Entry, retry: &Retry) -> Result<Vec<Untouched>> {
    let known = facts_of(store, pipeline, entry).await?.map(|facts| facts.shops).unwrap_or_default();
    let facts = |id: &str| {
        let facts = known.iter().find(|facts| facts.shop_id == id);
        let facts = facts.cloned().unwrap_or_default();
        // The calls were that attempt's.
        ShopFacts { calls_used: 0, off_sale: Vec::new(), ..facts }
    };
    let shops = published_shops(store, entry).await?.into_iter().filter(|shop| !retry.shops.contains(&shop.id));
    Ok(shops.map(|shop| Untouched { facts: facts(&shop.id), id: shop.id, url: shop.url }).collect())
}

/// What the run that published a day knew at its end.
async fn facts_of(store: &Store, pipeline: &str, entry: &Entry) -> Result<Option<RunFacts>> {
    match entry.run_id.parse() {
        Ok(run_id) => Zone::new(store.clone(), pipeline, entry.dt).read_facts(&run_id).await,
        Err(_) => Ok(None),
    }
}
