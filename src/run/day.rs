//! One landed day → files → publication.

use std::collections::{BTreeMap, HashSet};

use arrow::array::RecordBatch;
use chrono::{DateTime, NaiveDate, Utc};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::base::{Budget, Error, Kind, Result, RunId};
use crate::config::Pipeline;
use crate::config::gateway::ErrorClass;
use crate::config::pipeline::{FetchDetails, OnIncomplete};
use crate::extract::{Attempt, Listed, RunFacts};
use crate::land::{Finding, HeldRun, Hold, SegmentRef, Zone};
use crate::load::publish::{self, Draft, Pictures, Published, Turn};
use crate::load::{DataFile, Entry, Snapshot, Target};
use crate::store::Store;
use crate::transform::chunk::Rows;
use crate::transform::collect::{Collected, Collector, STAGE_OFFER};
use crate::transform::contract::Table;
use crate::transform::names::ShopNames;
use crate::transform::picture::{self, Picture};
use crate::transform::rows::{self, CallRow, QuarantineRow, RunKind, RunRow, RunStatus};
use crate::transform::shops::{self, Fate, Fetched, Listings, Verdict};
use crate::transform::sort::{Fields, Record, Sorted, Sorter};

use super::previous::{Depth, Goes};
use super::write::Files;
use super::{Outcome, Report, Surroundings, guard, not_conserved, previous, stopped};

/// Of the memory a run may take, for the keys of the offers before and of those chosen.
const KEYS_PERCENT: usize = 15;
/// Rows of held shops in one batch of `quarantine`.
const HELD_BATCH_ROWS: usize = 8192;

/// What is fixed when an attempt starts.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub(super) dt: NaiveDate,
    pub(super) run_id: RunId,
    pub(super) attempt: i32,
    pub(super) started_at: DateTime<Utc>,
}

/// Where an attempt publishes, and by what right.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) around: &'a Surroundings<'a>,
    pub(super) store: &'a Store,
    pub(super) turn: &'a Turn<'a>,
}

/// Transforms what has landed for a day and publishes it, whatever it looks like; the landed segments are folded into
/// `raw_pages` by it.
pub(super) async fn publish(place: Place<'_>, zone: &Zone, start: &Start, facts: RunFacts) -> Result<Report> {
    let day = Day::of(place, zone, start, facts).await?;
    let (report, written) = off_reactor(move || day.write()).await?;
    fold(place, zone, start, written).await?;
    Ok(report)
}

/// What became of a day that the guard has looked at.
#[must_use]
pub(super) enum Looked {
    Published(Report),
    /// Nothing is published: this looks wrong.
    Held(Hold),
}

impl Looked {
    /// How the attempt ended.
    pub(super) fn outcome(self, start: &Start) -> Outcome {
        match self {
            Self::Published(report) => Outcome::Published(vec![report]),
            Self::Held(hold) => {
                let run = HeldRun { dt: start.dt, run_id: start.run_id, hold };
                Outcome::Held(super::Held { run, published: Vec::new() })
            }
        }
    }
}

/// As [`publish`], unless the day looks wrong: then its run is held, and no start goes on with it.
pub(super) async fn publish_if_sound(place: Place<'_>, zone: &Zone, start: &Start, facts: RunFacts) -> Result<Looked> {
    let known = facts.clone();
    let day = Day::of(place, zone, start, facts).await?;
    let (started, now) = (start.clone(), place.around.clock.now());
    let looked = off_reactor(move || day.look(&started, now)).await?;
    let Rebuilt { report, written, findings, .. } = looked;
    if findings.is_empty() {
        fold(place, zone, start, written).await?;
        return Ok(Looked::Published(report));
    }
    // Nobody will ever name them.
    for file in written.files.values().flatten() {
        place.store.delete(&file.path).await?;
    }
    let hold = Hold { held_at: place.around.clock.now(), findings };
    zone.hold(&start.run_id, &hold).await?;
    let error = Some(format!("held back: {}", hold.summary()));
    publish_ended(place, start, Ended { status: RunStatus::Held, error, facts: Some(&known) }).await?;
    Ok(Looked::Held(hold))
}

/// What a day is rebuilt from, where that does not follow from what is published.
pub(super) struct Rebuilding<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) around: &'a Surroundings<'a>,
    /// Where the pictures before and the landed answers are read.
    pub(super) store: &'a Store,
    /// Where the files go.
    pub(super) into: &'a Store,
    pub(super) start: &'a Start,
    pub(super) facts: RunFacts,
    pub(super) before: Option<Entry>,
    pub(super) replaced: Option<Entry>,
    pub(super) seq: u64,
    /// The greatest number of the run's calls that is in `calls`.
    pub(super) calls_to: i64,
    pub(super) kind: RunKind,
}

/// A day's files before they are published.
pub(super) struct Rebuilt {
    pub(super) report: Report,
    /// The files as an entry of the publish log names them.
    pub(super) entry: Entry,
    /// What looks wrong about it.
    pub(super) findings: Vec<Finding>,
    written: Written,
}

/// Writes the files of a day, and publishes nothing.
pub(super) async fn rebuild(rebuilding: Rebuilding<'_>) -> Result<Rebuilt> {
    let Rebuilding { pipeline, around, store, into, start, facts, before, replaced, seq, calls_to, kind } = rebuilding;
    let zone = Zone::new(store.clone(), &pipeline.name, start.dt);
    let day = Day {
        pipeline: pipeline.clone(),
        store: store.clone(),
        into: into.clone(),
        cancel: around.cancel.clone(),
        segments: zone.segments(&start.run_id).await?,
        seq,
        finished_at: around.clock.now(),
        start: start.clone(),
        facts,
        before,
        replaced,
        calls_to,
        kind,
    };
    let (start, now) = (start.clone(), around.clock.now());
    off_reactor(move || day.look(&start, now)).await
}

/// Publishes a day that was rebuilt.
pub(super) async fn publish_rebuilt(place: Place<'_>, start: &Start, rebuilt: Rebuilt) -> Result<Report> {
    decide(place, start, Pictures::Replace, rebuilt.written).await?;
    Ok(rebuilt.report)
}

/// Publishes the files of a day, and lets go of the segments that are folded into them.
async fn fold(place: Place<'_>, zone: &Zone, start: &Start, written: Written) -> Result<()> {
    decide(place, start, Pictures::Replace, written).await?;
    zone.delete_segments(&start.run_id).await
}

/// Records an attempt that stopped before its work was done.
pub(super) async fn publish_stop(place: Place<'_>, start: &Start, facts: &RunFacts) -> Result<()> {
    let ended = Ended { status: RunStatus::Stopped, error: facts.stopped.clone(), facts: Some(facts) };
    publish_ended(place, start, ended).await
}

/// Records that an unfinished run is given up; the calls of starts that were killed are journalled with it.
pub(super) async fn publish_abandoned(place: Place<'_>, start: &Start) -> Result<()> {
    let ended = Ended { status: RunStatus::Stopped, error: Some("abandoned".to_owned()), facts: None };
    publish_ended(place, start, ended).await
}

/// Removes the landed segments of the newest publication, where a crash after its commits has left them: `raw_pages`
/// holds them.
pub(super) async fn forget_landing(store: &Store, pipeline: &str) -> Result<()> {
    let last = publish::next_seq(store, pipeline).await? - 1;
    let Some(entry) = crate::load::log::read(store, pipeline, last).await?.filter(|entry| entry.picture) else {
        return Ok(());
    };
    let run_id = entry.run_id.parse();
    let run_id = run_id.map_err(|error| Error::data(format!("`{}` is no run id", entry.run_id)).caused_by(error))?;
    Zone::new(store.clone(), pipeline, entry.dt).delete_segments(&run_id).await
}

/// Records an attempt that failed, unless its publication was decided: the next start completes that one.
pub(super) async fn publish_failure(place: Place<'_>, start: &Start, error: &Error) -> Result<()> {
    let Place { pipeline, around, store, turn } = place;
    // An earlier attempt of the same run may have stopped: that is no decision about this one.
    if turn.has_decided(store, &pipeline.name, &start.run_id.to_string(), start.attempt).await? {
        return Ok(());
    }
    let status = if around.cancel.is_cancelled() { RunStatus::Stopped } else { RunStatus::Failed };
    publish_ended(place, start, Ended { status, error: Some(error.to_string()), facts: None }).await
}

/// How an attempt ended that published nothing.
struct Ended<'a> {
    status: RunStatus,
    error: Option<String>,
    facts: Option<&'a RunFacts>,
}

async fn publish_ended(place: Place<'_>, start: &Start, ended: Ended<'_>) -> Result<()> {
    let Place { pipeline, around, store, turn } = place;
    let zone = Zone::new(store.clone(), &pipeline.name, start.dt);
    // Captured files are no calls: of them nothing needs to be read again.
    let segments = if pipeline.files.is_some() { Vec::new() } else { zone.segments(&start.run_id).await? };
    let seq = turn.next_seq();
    let mut row = run_row(pipeline, start, seq, around.clock.now());
    (row.status, row.error) = (ended.status, ended.error);
    if let Some(facts) = ended.facts {
        (row.calls_saved, row.quota_left) = (facts.calls_saved, facts.quota_left);
    }
    let known = Snapshot::load(store).await?.calls_to(&pipeline.name, &start.run_id.to_string());
    let (store_, target, run_id) = (store.clone(), target(pipeline, start), start.run_id.to_string());
    let (pipeline_, dt) = (pipeline.clone(), start.dt);
    let runtime = Handle::current();
    let written = off_reactor(move || {
        let read = |segment: &SegmentRef| read_segment(&runtime, &store_, segment);
        let calls = match Collector::new(&pipeline_, dt, &budget(&pipeline_)).calls(&segments, read) {
            // What cannot be read is what the attempt failed by: its calls are journalled once it is mended.
            Err(error) if error.kind() == Kind::Data => Vec::new(),
            calls => calls?,
        };
        let (calls, calls_to) = not_journalled(calls, known);
        count_calls(&mut row, &calls);
        let mut files = Files::new(&store_, target, &budget(&pipeline_));
        files.small(Table::Calls, &rows::calls(&run_id, &calls)?)?;
        files.small(Table::Runs, &rows::run(&row)?)?;
        Ok(Written { seq, files: files.files, calls_to })
    })
    .await?;
    decide(place, start, Pictures::Keep, written).await
}

/// The files of a publication, before it is decided.
#[derive(Clone)]
struct Written {
    seq: u64,
    files: BTreeMap<Table, Vec<DataFile>>,
    /// The greatest number of the run's calls that is in `calls` with them.
    calls_to: i64,
}

impl Written {
    /// What is to be decided.
    fn draft(self, pipeline: &str, start: &Start, pictures: Pictures, published_at: DateTime<Utc>) -> Draft {
        Draft {
            seq: self.seq,
            pipeline: pipeline.to_owned(),
            dt: start.dt,
            run_id: start.run_id.to_string(),
            attempt: start.attempt,
            pictures,
            published_at,
            calls_to: self.calls_to,
            files: self.files,
        }
    }
}

/// The calls after number `known`, which are in the journal already since the run stopped, and the last number now.
fn not_journalled(mut calls: Vec<CallRow>, known: i64) -> (Vec<CallRow>, i64) {
    calls.retain(|call| call.number > known);
    let last = calls.iter().map(|call| call.number).max();
    (calls, last.unwrap_or(known))
}

/// Makes the decision and the commits that follow from it.
async fn decide(place: Place<'_>, start: &Start, pictures: Pictures, written: Written) -> Result<()> {
    let Place { pipeline, around, store, turn } = place;
    let seq = written.seq;
    let draft = written.draft(&pipeline.name, start, pictures, around.clock.now());
    match turn.publish(store, draft).await? {
        Published::Done(_) => Ok(()),
        Published::Lost(other) => Err(Error::new(
            Kind::Conflict,
            format!("run `{}` published as number {seq} of pipeline `{}` first", other.run_id, pipeline.name),
        )
        .with_hint("two runs of one pipeline must not share a lake without its lock; start this one again")),
    }
}

/// Everything that turns landed segments into files, owned, for a thread that may block.
struct Day {
    pipeline: Pipeline,
    store: Store,
    /// Where its files go.
    into: Store,
    cancel: CancellationToken,
    segments: Vec<SegmentRef>,
    seq: u64,
    finished_at: DateTime<Utc>,
    start: Start,
    facts: RunFacts,
    /// The picture of the day before.
    before: Option<Entry>,
    /// The picture of this day that is replaced.
    replaced: Option<Entry>,
    /// The greatest number of the run's calls that an earlier stop has put into `calls`.
    calls_to: i64,
    /// A replay leaves the journals of calls and answers as they are.
    kind: RunKind,
}

impl Day {
    /// A run's day as it follows from what is published.
    async fn of(place: Place<'_>, zone: &Zone, start: &Start, facts: RunFacts) -> Result<Self> {
        let Place { pipeline, around, store, turn } = place;
        let snapshot = Snapshot::load(store).await?;
        let before = snapshot.previous_dt(&pipeline.name, start.dt);
        Ok(Self {
            pipeline: pipeline.clone(),
            store: store.clone(),
            into: store.clone(),
            cancel: around.cancel.clone(),
            segments: zone.segments(&start.run_id).await?,
            seq: turn.next_seq(),
            finished_at: around.clock.now(),
            start: start.clone(),
            facts,
            before: before.and_then(|dt| snapshot.picture(&pipeline.name, dt)).cloned(),
            // A day that is published anew keeps what it had, where an incomplete shop does not show it again.
            replaced: snapshot.picture(&pipeline.name, start.dt).cloned(),
            calls_to: snapshot.calls_to(&pipeline.name, &start.run_id.to_string()),
            kind: RunKind::Run,
        })
    }

    /// Writes the files, and looks at them.
    fn look(self, start: &Start, now: DateTime<Utc>) -> Result<Rebuilt> {
        // Whoever replays a published day means to change it.
        let is_guarded = self.kind == RunKind::Run;
        let pictures = [&self.before, &self.replaced].into_iter().flatten().filter(|_| is_guarded);
        let pictures: Vec<Entry> = pictures.cloned().collect();
        let listed = self.listed_shops();
        let (rules, name) = (self.pipeline.guard, self.pipeline.name.clone());
        // What is written may stand apart from what was read.
        let (before, after) = (self.store.clone(), self.into.clone());
        let (report, written) = self.write()?;
        let entry = publish::to_entry(written.clone().draft(&name, start, Pictures::Replace, now))?;
        let listed = listed.unwrap_or_else(|| report.shops.iter().map(|shop| shop.shop_id.clone()).collect());
        let draft = guard::Draft { store: &after, entry: &entry, shops: &report.shops, listed: &listed };
        let findings = guard::findings(&draft, &before, &pictures, &rules)?;
        Ok(Rebuilt { report, entry, findings, written })
    }

    fn write(self) -> Result<(Report, Written)> {
        let run_id = self.start.run_id.to_string();
        let runtime = Handle::current();
        let read = |segment: &SegmentRef| {
            if self.cancel.is_cancelled() { Err(stopped()) } else { read_segment(&runtime, &self.store, segment) }
        };
        let budget = budget(&self.pipeline);
        let (mut collected, skus_fetched) = self.collect(&budget, read)?;
        let keys = budget.part(KEYS_PERCENT);
        let source =
            previous::Source { store: &self.store, names: &collected.shops, budget: &keys, depth: self.depth() };
        let before = previous::load(&source, self.before.as_ref(), self.replaced.as_ref())?;
        let chunks = std::mem::take(&mut collected.chunks);
        let settled = self.judge(&collected, &before, skus_fetched, |fetched, verdict| {
            let picture = picture::Builder::new(chunks, collected.shops.places(), &keys);
            Settled::of(fetched, &before, verdict, picture, &keys)
        })?;
        // What only the judgement needed makes room for the merge.
        drop(before);
        collected.records = Sorted::default();
        let report = self.report(&collected, &settled);
        if report.received != report.loaded + report.duplicates + report.quarantined {
            return Err(not_conserved(&report));
        }
        let (mut calls, mut calls_to) = not_journalled(std::mem::take(&mut collected.calls), self.calls_to);
        if self.kind == RunKind::Replay {
            (calls, calls_to) = (Vec::new(), self.calls_to);
        }
        let mut files = Files::new(&self.into, target(&self.pipeline, &self.start), &budget);
        files.picture(|write| self.write_picture(&settled.picture, write))?;
        files.small(Table::Shops, &rows::shops(&run_id, &report.shops)?)?;
        let stays = match &self.replaced {
            Some(replaced) => {
                let items = self.facts.items_untouched.iter().copied().collect();
                previous::quarantine(&self.store, replaced, &settled.verdict.untouched, &items)?
            }
            None => Vec::new(),
        };
        let first = std::iter::once_with(|| rows::quarantine(&run_id, &collected.quarantine));
        let gateway = &self.pipeline.gateway.name;
        let held = held_rows(&settled, &collected.shops, gateway, &run_id)?;
        files.with_earlier(Table::Quarantine, first.chain(held), &stays)?;
        files.small(Table::Calls, &rows::calls(&run_id, &calls)?)?;
        if self.kind == RunKind::Run {
            files.raw_pages(self.segments.iter().map(read))?;
        }
        files.small(Table::Runs, &rows::run(&self.run_row(&report, &calls))?)?;
        Ok((report, Written { seq: self.seq, files: files.files, calls_to }))
    }

    /// The rows of the picture, from today's chunks and from the pictures before.
    fn write_picture(&self, picture: &Picture, write: &mut dyn FnMut(Rows) -> Result<()>) -> Result<()> {
        let goes = if picture.carries() { Goes::Whole } else { Goes::Alone };
        let kept = previous::rows(&self.store, self.kept(), goes);
        // Of the day before, where another picture goes on, only what is delisted stands once more.
        let before = previous::rows(&self.store, self.before.as_ref(), Goes::Alone);
        picture.write(kept, before, write)
    }

    /// Transforms all that has landed; also tells whether SKU data was asked for.
    fn collect(
        &self,
        budget: &Budget,
        read: impl Fn(&SegmentRef) -> Result<Vec<Attempt>> + Sync,
    ) -> Result<(Collected, bool)> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut collector = Collector::new(&self.pipeline, self.start.dt, budget);
        collector.leave_out(&self.facts.unused);
        let skus = self.pipeline.fetch.skus;
        let kept = self.kept().filter(|_| matches!(skus, FetchDetails::Missing | FetchDetails::Changed));
        if let (Some(kept), true) = (kept, collector.fetches_skus()) {
            collector.keep_skus(previous::skus(&self.store, kept, &budget.part(KEYS_PERCENT))?);
        }
        let collected = collector.collect(&self.segments, threads, read)?;
        Ok((collected, collector.fetches_skus()))
    }

    /// The picture whose rows go on where today shows nothing newer.
    fn kept(&self) -> Option<&Entry> {
        self.replaced.as_ref().or(self.before.as_ref())
    }

    /// The shops of whose listing an absent offer is missing; `None`: every one that is found.
    fn listed_shops(&self) -> Option<HashSet<String>> {
        match self.listings() {
            Listings::All => None,
            Listings::None => Some(HashSet::new()),
            Listings::Named => Some(self.facts.shops.iter().map(|shop| shop.shop_id.clone()).collect()),
        }
    }

    fn listings(&self) -> Listings {
        let gateway = &self.pipeline.gateway;
        match self.pipeline.files.as_ref().and_then(|files| gateway.endpoints.get(&files.endpoint)) {
            None => Listings::Named,
            Some(endpoint) if endpoint.list.is_empty() => Listings::None,
            Some(_) => Listings::All,
        }
    }

    fn keeps_details(&self) -> bool {
        self.pipeline.files.is_none() && self.pipeline.fetch.details != FetchDetails::Off
    }

    fn depth(&self) -> Depth {
        let by_changes = self.facts.shops.iter().any(|shop| shop.listing == Listed::Changed);
        if by_changes || self.keeps_details() { Depth::Rows } else { Depth::Content }
    }

    /// Judges the shops and hands the judgement on.
    fn judge<T>(
        &self,
        collected: &Collected,
        before: &shops::Previous,
        skus_fetched: bool,
        settle: impl FnOnce(&Fetched<'_>, Verdict) -> Result<T>,
    ) -> Result<T> {
        let mut quarantined: BTreeMap<Option<String>, i64> = BTreeMap::new();
        for row in collected.quarantine.iter().filter(|row| row.stage == STAGE_OFFER) {
            *quarantined.entry(row.shop_id.clone()).or_default() += 1;
        }
        let gateway = &self.pipeline.gateway;
        let fetched = Fetched {
            gateway: &gateway.name,
            facts: &self.facts,
            completeness: &gateway.completeness,
            skus_fetched,
            records: &collected.records,
            names: &collected.shops,
            listed: &collected.listed,
            totals: &collected.totals,
            shop_names: &collected.shop_names,
            quarantined: &quarantined,
            set_aside: &collected.set_aside,
            gone: &collected.gone,
            listings: self.listings(),
            hold: self.pipeline.on_incomplete == OnIncomplete::Hold,
            keeps_details: self.keeps_details(),
        };
        let verdict = shops::judge(&fetched, before)?;
        settle(&fetched, verdict)
    }

    fn report(&self, collected: &Collected, settled: &Settled) -> Report {
        let verdict = &settled.verdict;
        let loaded = settled.loaded;
        let held = i64::try_from(settled.held.len()).unwrap_or(i64::MAX);
        Report {
            dt: self.start.dt,
            run_id: self.start.run_id,
            seq: self.seq,
            received: collected.received + verdict.unlisted_details,
            loaded,
            duplicates: verdict.duplicates,
            quarantined: collected.quarantined + held,
            carried: settled.carried,
            calls: self.facts.calls_used,
            items_unanswered: self.facts.items_unanswered.len(),
            incomplete_reason: self.all_refused(collected, loaded),
            shops: verdict.shops.clone(),
        }
    }

    /// A gateway that refuses every item with a code nobody knows has not said anything about any of them, whatever it
    /// says about shops.
    fn all_refused(&self, collected: &Collected, loaded: i64) -> Option<String> {
        let refused = collected.refused_unknown;
        let nothing_else = loaded == 0 && collected.received == refused && collected.gone.is_empty();
        let all = refused > 0 && (nothing_else || refused == length(self.pipeline.items.len()));
        // A retry asks for a few that are left over.
        (all && self.facts.items_untouched.is_empty()).then(|| {
            format!("each of the {refused} items was refused with a code that the gateway's definition does not know")
        })
    }

    fn run_row(&self, report: &Report, calls: &[CallRow]) -> RunRow {
        let mut row = run_row(&self.pipeline, &self.start, self.seq, self.finished_at);
        (row.calls_saved, row.quota_left) = (self.facts.calls_saved, self.facts.quota_left);
        count_calls(&mut row, calls);
        row.kind = self.kind;
        row.status = if report.is_complete() { RunStatus::Published } else { RunStatus::PublishedIncomplete };
        row.error.clone_from(&report.incomplete_reason);
        row.received = report.received;
        row.loaded = report.loaded;
        row.duplicates = report.duplicates;
        row.quarantined = report.quarantined;
        row.carried = report.carried;
        row
    }
}

/// What a run may take while it makes tables of what has landed.
fn budget(pipeline: &Pipeline) -> Budget {
    Budget::new(pipeline.lake.memory_bytes_max)
}

/// What became of all offers.
struct Settled {
    verdict: Verdict,
    picture: Picture,
    /// Records of today that stand in the picture, or whose offers' rows before stand for them.
    loaded: i64,
    /// Rows of the picture that goes on, of offers that were not fetched.
    carried: i64,
    /// What was fetched of held shops.
    held: Sorted<Held>,
}

impl Settled {
    fn of(
        fetched: &Fetched<'_>,
        before: &shops::Previous,
        mut verdict: Verdict,
        mut picture: picture::Builder,
        budget: &Budget,
    ) -> Result<Self> {
        let (mut loaded, mut carried, mut held) = (0, 0, Sorter::new(budget));
        shops::settle(fetched, before, &mut verdict, |settled| {
            if let Some(record) = settled.held {
                held.push(Held { offer_id: record.offer_id, number: record.number, shop: record.shop })?;
            }
            match settled.fate {
                Fate::Stands(record) => {
                    loaded += 1;
                    picture.fetched(record)
                }
                Fate::Kept(row) => {
                    loaded += 1;
                    picture.carried(&row)
                }
                Fate::Carried(row) => {
                    carried += 1;
                    picture.carried(&row)
                }
                Fate::Delisted(origin, row) => picture.delisted(origin, &row),
                Fate::Gone => Ok(()),
            }
        })?;
        Ok(Self { verdict, picture: picture.finish()?, loaded, carried, held: held.finish()? })
    }
}

/// A record of a held shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    offer_id: i64,
    number: i64,
    shop: u32,
}

impl Record for Held {
    const BYTES: usize = 20;

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.offer_id.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.shop.to_le_bytes());
    }

    fn take(fields: &mut Fields<'_>) -> Self {
        Self { offer_id: fields.i64(), number: fields.i64(), shop: fields.u32() }
    }
}

/// What was fetched of held shops goes to quarantine, batch by batch.
fn held_rows<'s>(
    settled: &'s Settled,
    names: &'s ShopNames,
    gateway: &'s str,
    run_id: &'s str,
) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
    let row = move |held: Held| {
        let shop_id = names.name(held.shop)?.to_string();
        let reason = settled.verdict.held.get(&shop_id)?;
        Some(QuarantineRow {
            gateway: gateway.to_owned(),
            offer_id: Some(held.offer_id),
            stage: "publish",
            reason: format!("its shop is incomplete and held back: {reason}"),
            shop_id: Some(shop_id),
            field: None,
            value: None,
            raw_ref: format!("{run_id}/{}", held.number),
            record: String::new(),
        })
    };
    let mut records = settled.held.iter()?;
    Ok(std::iter::from_fn(move || {
        let batch: Result<Vec<Held>> = records.by_ref().take(HELD_BATCH_ROWS).collect();
        match batch {
            Ok(batch) if batch.is_empty() => None,
            Ok(batch) => Some(rows::quarantine(run_id, &batch.into_iter().filter_map(row).collect::<Vec<_>>())),
            Err(error) => Some(Err(error)),
        }
    }))
}

/// Reads a segment on a thread that may block, which need not be one of the runtime's.
fn read_segment(runtime: &Handle, store: &Store, segment: &SegmentRef) -> Result<Vec<Attempt>> {
    let bytes = runtime.block_on(store.get(&segment.path))?;
    let bytes = bytes.ok_or_else(|| Error::storage(format!("the landed segment `{}` is missing", segment.path)))?;
    segment.decode(&bytes)
}

pub(super) async fn off_reactor<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|source| Err(Error::internal("transforming ended early").caused_by(source)))
}

fn target(pipeline: &Pipeline, start: &Start) -> Target {
    Target { table: Table::Runs, dt: start.dt, pipeline: pipeline.name.clone(), run_id: start.run_id.to_string() }
}

fn run_row(pipeline: &Pipeline, start: &Start, seq: u64, finished_at: DateTime<Utc>) -> RunRow {
    RunRow {
        run_id: start.run_id.to_string(),
        attempt: start.attempt,
        status: RunStatus::Failed,
        error: None,
        started_at: start.started_at,
        finished_at,
        received: 0,
        loaded: 0,
        duplicates: 0,
        quarantined: 0,
        carried: 0,
        calls_used: 0,
        calls_saved: 0,
        retries: 0,
        throttles: 0,
        bytes_received: 0,
        quota_left: None,
        publish_seq: i64::try_from(seq).ok(),
        config_hash: pipeline.config_hash.clone(),
        kind: RunKind::Run,
    }
}

/// Counts the calls that are journalled with the row: those of this start, and of starts before it that were killed and
/// left no row.
fn count_calls(row: &mut RunRow, calls: &[CallRow]) {
    let throttled = |call: &&CallRow| call.class == ErrorClass::Throttle.name();
    row.calls_used = length(calls.len());
    row.retries = length(calls.iter().filter(|call| call.attempt > 1).count());
    row.throttles = length(calls.iter().filter(throttled).count());
    row.bytes_received = calls.iter().map(|call| call.bytes).sum();
}

fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
