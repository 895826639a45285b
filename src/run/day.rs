//! One landed day → files → publication.

mod making;
mod row;
mod settled;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use tokio::runtime::Handle;

use crate::base::{Budget, Error, Kind, Result, RunId};
use crate::config::Pipeline;
use crate::extract::{Attempt, RunFacts};
use crate::land::{Finding, HeldRun, Hold, SegmentRef, Zone};
use crate::load::publish::{self, Draft, Pictures, Published, Turn};
use crate::load::{DataFile, Entry, Target};
use crate::store::Store;
use crate::transform::collect::Collector;
use crate::transform::contract::Table;
use crate::transform::rows::{self, RunKind, RunStatus};

use super::write::Files;
use super::{Outcome, Report, Surroundings};
use making::Day;
use row::{count_calls, not_journalled, run_row};

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
    keep_refused(place, (zone, start), &report).await?;
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
        keep_refused(place, (zone, start), &report).await?;
        fold(place, zone, start, written).await?;
        return Ok(Looked::Published(report));
    }
    // Nobody will ever name them.
    for file in written.files.values().flatten() {
        place.store.delete(&file.path).await?;
    }
    let hold = Hold { held_at: place.around.clock.now(), number: Some(place.turn.next_seq()), findings };
    zone.hold(&start.run_id, &hold).await?;
    let error = Some(format!("held back: {}", hold.summary()));
    publish_ended(place, start, Ended { status: RunStatus::Held, error, facts: Some(&known) }).await?;
    Ok(Looked::Held(hold))
}

/// Keeps beside a run's facts that all of its items were refused: whoever starts the day again asks for them.
async fn keep_refused(place: Place<'_>, (zone, start): (&Zone, &Start), report: &Report) -> Result<()> {
    if report.incomplete_reason.is_none() {
        return Ok(());
    }
    let Some(facts) = zone.read_facts(&start.run_id).await? else { return Ok(()) };
    zone.write_facts(&start.run_id, &RunFacts { items_refused: place.pipeline.items.clone(), ..facts }).await
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
    /// The day before is no longer kept: what went on from it is in `replaced`.
    pub(super) is_expired: bool,
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
    let Rebuilding { pipeline, around, store, into, start, facts, before, replaced, is_expired, seq, calls_to, kind } =
        rebuilding;
    let zone = Zone::new(store.clone(), &pipeline.name, start.dt);
    let day = Day {
        pipeline: making::as_asked(pipeline, &facts),
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
        is_expired,
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
    if pipeline.files.is_none() {
        // A write that failed has ended its writer before it could note what had landed.
        Zone::new(store.clone(), &pipeline.name, start.dt).note_all_segments(&start.run_id).await?;
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
    let known = turn.snapshot(store, &pipeline.name).await?.calls_to(&pipeline.name, &start.run_id.to_string());
    let (store_, target, run_id) = (store.clone(), target(pipeline, start, seq), start.run_id.to_string());
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

/// What a run may take while it makes tables of what has landed.
fn budget(pipeline: &Pipeline) -> Budget {
    Budget::new(pipeline.lake.memory_bytes_max)
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

fn target(pipeline: &Pipeline, start: &Start, seq: u64) -> Target {
    let (pipeline, run_id) = (pipeline.name.clone(), start.run_id.to_string());
    Target { table: Table::Runs, dt: start.dt, pipeline, run_id, seq }
}

#[cfg(test)]
mod tests;
