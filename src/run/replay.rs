//! Days rebuilt from landed answers, without a call: after a rule or a definition was corrected, say.
//!
//! Takes a pipeline as it is now and a span of days; gives what became of each, with what differs by table and column.
//! A dry run publishes nothing, takes no lock and writes nothing into the lake.
//!
//! | a day of the span | is |
//! |---|---|
//! | published | rebuilt from `raw_pages`: each run that published it, in their order, the later upon the earlier |
//! | … and its answers are no longer kept | left as it is, the base of the next |
//! | … and the day before, of which rows go on in it, is no longer kept | rebuilt upon its own picture, which has these rows |
//! | landed and not published (`run --until land`), or held | published from what landed, unless it looks wrong |
//! | landed by a run that was stopped | left to the next start, or published as incomplete where that is asked for |
//!
//! Later days follow, one after the other, as long as rows of the day before go on in them and that day has changed.
//! Where the pipeline keeps SKUs of the day before, they follow whenever that day has changed.
//!
//! Invariant: bytes are what arrived (their digests are checked), and the journals `calls` and `raw_pages` stay.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use tempfile::TempDir;

use crate::base::{Error, Kind, Result, RunId};
use crate::config::Pipeline;
use crate::extract::{Event, RunFacts};
use crate::land::{Hold, Zone, unfinished};
use crate::load::log::{self, Change, DataFile, Entry};
use crate::load::{Snapshot, Turn, lost, publish};
use crate::store::{Store, describe_holder};
use crate::transform::contract::Table;
use crate::transform::rows::RunKind;

use super::day::{self, Looked, Place, Rebuilding, Start};
use super::differences::{TableDifference, differences};
use super::kept::{self, Kept};
use super::pull::Side;
use super::{Report, Surroundings, begin};

/// What to rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// Publish nothing.
    pub dry_run: bool,
    /// Publish what stopped runs have landed, too.
    pub stopped: bool,
}

/// What became of one day.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayedDay {
    /// The day.
    pub dt: NaiveDate,
    /// It is after the span: rows of the day before go on in it.
    pub follows: bool,
    /// How it ended.
    pub became: Became,
    /// What is worth knowing about it, in words.
    pub notes: Vec<String>,
    /// What differs from the picture that was published, by table; empty: there was none, or it stands.
    pub differences: Vec<TableDifference>,
}

/// How a day ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Became {
    /// Published (in a dry run: would be published).
    Rebuilt(Box<Report>),
    /// Its published picture stands.
    Stands,
    /// It looks wrong, and is held.
    Held(Hold),
    /// An unpublished run of it was left alone.
    LeftAlone,
}

/// Rebuilds days of a pipeline; `lake` is its lake, where somebody has it open.
///
/// # Errors
/// `Config` where there is nothing to rebuild; everything that keeps a day from being read, transformed or published:
/// the days before it are published then, and the same replay goes over them again.
pub async fn replay(
    pipeline: &Pipeline,
    lake: Option<&Store>,
    asked: Asked,
    around: &Surroundings<'_>,
) -> Result<Vec<ReplayedDay>> {
    let location = &pipeline.lake.location;
    let lake = match lake {
        Some(lake) => lake.clone(),
        None if asked.dry_run => Store::readable(location).await?,
        None => Store::writable(location).await?,
    };
    if asked.dry_run {
        return Work::new(pipeline, around, &lake, None).await?.run(asked).await;
    }
    let lock = lake.lock(&pipeline.name, &describe_holder(around.clock.now())).await?;
    let replayed = async {
        let turn = Turn::take(&lake, &pipeline.name, &lock, around.clock.now()).await?;
        day::forget_landing(&lake, &pipeline.name).await?;
        let place = Place { pipeline, around, store: &lake, turn: &turn };
        Work::new(pipeline, around, &lake, Some(place)).await?.run(asked).await
    };
    let replayed = replayed.await;
    if let Err(error) = lock.release().await {
        tracing::warn!(pipeline = pipeline.name, %error, "cannot let go of the lock: it expires");
    }
    replayed
}

/// A replay at work.
struct Work<'a> {
    pipeline: &'a Pipeline,
    around: &'a Surroundings<'a>,
    lake: &'a Store,
    /// Where days are published; `None`: nowhere, it is a dry run.
    place: Option<Place<'a>>,
    /// What must not reach the lake stands here, over it.
    above: Store,
    _folder: TempDir,
    snapshot: Snapshot,
    /// The pipeline's log, entry by entry, as far back as it is retained.
    log: Vec<Entry>,
    /// The pictures that were rebuilt.
    rebuilt: BTreeMap<NaiveDate, Entry>,
}

/// A run that has landed and not published.
struct Landed {
    dt: NaiveDate,
    run_id: RunId,
    /// As it says to its reader; `None`: it may be published.
    left_alone: Option<String>,
    facts: RunFacts,
}

impl<'a> Work<'a> {
    async fn new(
        pipeline: &'a Pipeline,
        around: &'a Surroundings<'a>,
        lake: &'a Store,
        place: Option<Place<'a>>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|source| {
            Error::storage("cannot make a temporary folder")
                .with_hint("point TMPDIR at a disk with room")
                .caused_by(source)
        })?;
        let above = Store::open(folder.path())?.over_lake(lake);
        let snapshot = match place {
            Some(place) => place.turn.snapshot(lake, &pipeline.name).await?,
            None => Snapshot::load(lake).await?,
        };
        let names = log::whole_of(lake, &pipeline.name).await?;
        let log = match names.entries.first_key_value() {
            Some((&first, _)) => {
                let last = snapshot.state(&pipeline.name).map_or(0, |state| state.seq);
                log::read_span(lake, &pipeline.name, first..=last).await?
            }
            None => Vec::new(),
        };
        Ok(Self { pipeline, around, lake, place, above, _folder: folder, snapshot, log, rebuilt: BTreeMap::new() })
    }

    async fn run(mut self, asked: Asked) -> Result<Vec<ReplayedDay>> {
        let is_asked = |dt: &NaiveDate| (asked.from..=asked.to).contains(dt);
        let landed = self.landed(asked).await?;
        let mut days: BTreeSet<NaiveDate> = self.snapshot.published_days(&self.pipeline.name).collect();
        days.extend(landed.iter().map(|run| run.dt));
        days.retain(|dt| *dt >= asked.from);
        if !days.iter().any(is_asked) {
            let Asked { from, to, .. } = asked;
            return Err(Error::config(format!(
                "pipeline `{}` has nothing between {from} and {to}",
                self.pipeline.name
            ))
            .with_hint("`huopan runs` lists what was published"));
        }
        let mut replayed: Vec<ReplayedDay> = Vec::new();
        let mut before_has_changed = false;
        for dt in days {
            let follows = !is_asked(&dt);
            if follows && !(before_has_changed && self.builds_upon_before(dt).await?) {
                break;
            }
            self.around.progress.on(Event::Replaying(dt));
            let first = replayed.len();
            if self.snapshot.picture(&self.pipeline.name, dt).is_some() {
                replayed.push(self.published_day(dt, follows).await?);
            }
            for run in landed.iter().filter(|run| run.dt == dt) {
                replayed.push(self.landed_run(run).await?);
            }
            before_has_changed = replayed[first..].iter().any(ReplayedDay::has_changed);
        }
        Ok(replayed)
    }

    /// Rebuilds a published day from the answers of the runs that published it.
    async fn published_day(&mut self, dt: NaiveDate, follows: bool) -> Result<ReplayedDay> {
        let mut day = ReplayedDay { dt, follows, became: Became::Stands, notes: Vec::new(), differences: Vec::new() };
        let published = self.snapshot.picture(&self.pipeline.name, dt).cloned();
        let lost = match &published {
            Some(entry) => lost::of_pictures(self.lake, entry).await?,
            None => None,
        };
        let runs = self.picture_runs(dt, published.as_ref());
        // Rows that go on from a day that is no longer kept are nowhere but in the picture itself.
        let is_expired = lost.is_none() && self.before(dt).is_none() && self.builds_upon_before(dt).await?;
        let mut replaced = published.clone().filter(|_| is_expired);
        if is_expired {
            let why = "the day before, of which rows go on in it, is no longer kept";
            day.notes.push(format!("{why}: they stay as published"));
        }
        for (index, run_id) in runs.iter().enumerate() {
            let is_last = index + 1 == runs.len();
            let facts = match kept::unfold(self.lake, &self.above, &self.snapshot, (&self.pipeline.name, dt, run_id))
                .await?
            {
                Kept::Facts(facts) => *facts,
                Kept::No(why) if lost.is_some() && !is_last => {
                    day.notes.push(format!("{why}: what it published is lost with its picture"));
                    continue;
                }
                Kept::No(why) => {
                    if let Some(file) = &lost {
                        return Err(not_rebuilt(file, &why));
                    }
                    let stands = if is_last { "it stands as published" } else { "its published picture is the base" };
                    day.notes.push(format!("{why}: {stands}"));
                    replaced = published.clone();
                    continue;
                }
            };
            if replaced.is_none() && facts.is_retry() {
                let why = "what its first run published is no longer known";
                if let Some(file) = &lost {
                    return Err(not_rebuilt(file, why));
                }
                day.notes.push(format!("{why}: its published picture is the base"));
                replaced = published.clone();
            }
            let start = self.start(dt, *run_id);
            let into = if is_last && self.place.is_some() { self.lake } else { &self.above };
            let rebuilt = day::rebuild(Rebuilding {
                pipeline: self.pipeline,
                around: self.around,
                store: &self.above,
                into,
                start: &start,
                // No call is made.
                facts: RunFacts { calls_used: 0, calls_saved: 0, quota_left: None, ..facts },
                before: self.before(dt),
                replaced: replaced.take(),
                is_expired,
                seq: self.next_seq().await?,
                calls_to: self.snapshot.calls_to(&self.pipeline.name, &run_id.to_string()),
                kind: RunKind::Replay,
            })
            .await?;
            Zone::new(self.above.clone(), &self.pipeline.name, dt).delete_segments(run_id).await?;
            if !is_last {
                replaced = Some(rebuilt.entry);
                continue;
            }
            match self.comparable(published.as_ref(), lost.as_deref(), &rebuilt.entry).await? {
                Ok(published) => day.differences = self.differences(published.as_ref(), &rebuilt.entry).await?,
                Err(file) => day.notes.push(format!(
                    "`{file}` is missing or damaged: what is rebuilt could not be compared with what was published"
                )),
            }
            self.rebuilt.insert(dt, rebuilt.entry.clone());
            day.became = Became::Rebuilt(Box::new(match self.place {
                Some(place) => day::publish_rebuilt(place, &start, rebuilt).await?,
                None => rebuilt.report,
            }));
        }
        Ok(day)
    }

    /// Publishes what a run has landed that did not publish, unless it looks wrong.
    async fn landed_run(&mut self, run: &Landed) -> Result<ReplayedDay> {
        let dt = run.dt;
        let mut day = ReplayedDay {
            dt,
            follows: false,
            became: Became::LeftAlone,
            notes: run.left_alone.iter().cloned().collect(),
            differences: Vec::new(),
        };
        if run.left_alone.is_some() {
            return Ok(day);
        }
        let facts = RunFacts { calls_used: 0, calls_saved: 0, stopped: None, ..run.facts.clone() };
        let published = self.picture(dt);
        let start = self.start(dt, run.run_id);
        let zone = Zone::new(self.lake.clone(), &self.pipeline.name, dt);
        let (became, entry) = match self.place {
            Some(place) => match day::publish_if_sound(place, &zone, &start, facts).await? {
                Looked::Held(hold) => (Became::Held(hold), None),
                Looked::Published(report) => {
                    zone.forget_hold(&run.run_id).await?;
                    zone.forget_start(&run.run_id).await?;
                    self.snapshot = place.turn.snapshot(self.lake, &self.pipeline.name).await?;
                    let entry = self.snapshot.picture(&self.pipeline.name, dt).cloned();
                    (Became::Rebuilt(Box::new(report)), entry)
                }
            },
            None => {
                let rebuilt = day::rebuild(Rebuilding {
                    pipeline: self.pipeline,
                    around: self.around,
                    store: &self.above,
                    into: &self.above,
                    start: &start,
                    facts,
                    before: self.before(dt),
                    replaced: published.clone(),
                    is_expired: false,
                    seq: self.next_seq().await?,
                    calls_to: self.snapshot.calls_to(&self.pipeline.name, &run.run_id.to_string()),
                    kind: RunKind::Run,
                })
                .await?;
                match rebuilt.findings.is_empty() {
                    true => (Became::Rebuilt(Box::new(rebuilt.report)), Some(rebuilt.entry)),
                    false => {
                        let held_at = self.around.clock.now();
                        let hold = Hold { held_at, number: None, findings: rebuilt.findings };
                        (Became::Held(hold), None)
                    }
                }
            }
        };
        if let (Some(published), Some(entry)) = (&published, &entry) {
            day.differences = self.differences(Some(published), entry).await?;
        }
        self.rebuilt.extend(entry.map(|entry| (dt, entry)));
        day.became = became;
        Ok(day)
    }

    /// The runs of the span that have landed and not published, the oldest first.
    async fn landed(&self, asked: Asked) -> Result<Vec<Landed>> {
        let name = &self.pipeline.name;
        let held = begin::held(self.pipeline, self.lake, &self.snapshot).await?;
        let mut runs: Vec<(NaiveDate, RunId)> = held.iter().map(|run| (run.dt, run.run_id)).collect();
        runs.extend(unfinished(self.lake, name).await?.iter().map(|run| (run.dt, run.run_id)));
        runs.retain(|(dt, run_id)| {
            let run_id = run_id.to_string();
            (asked.from..=asked.to).contains(dt) && !self.snapshot.has_published(name, &run_id)
        });
        runs.sort_by_key(|(_, run_id)| *run_id);
        let mut landed = Vec::new();
        for (dt, run_id) in runs {
            let facts = Zone::new(self.lake.clone(), name, dt).read_facts(&run_id).await?;
            let goes_on = format!("`huopan run {} --dt {dt}` goes on with it", self.pipeline.path.display());
            let left_alone = match &facts {
                None => Some(format!("run {run_id} was cut off: {goes_on}")),
                Some(RunFacts { stopped: Some(why), .. }) if !asked.stopped => Some(format!(
                    "run {run_id} is unfinished ({why}): {goes_on}; `--stopped` publishes what it has, as incomplete"
                )),
                Some(_) => None,
            };
            landed.push(Landed { dt, run_id, left_alone, facts: facts.unwrap_or_default() });
        }
        Ok(landed)
    }

    /// The runs that published pictures of a day, in the order of their first ones.
    fn picture_runs(&self, dt: NaiveDate, published: Option<&Entry>) -> Vec<RunId> {
        let mut runs = Vec::new();
        let is_picture = |entry: &&Entry| entry.change == Change::Run && entry.picture && entry.dt == dt;
        // The log may not reach back to the one that stands.
        for entry in self.log.iter().filter(is_picture).chain(published) {
            if let Ok(run_id) = entry.run_id.parse()
                && !runs.contains(&run_id)
            {
                runs.push(run_id);
            }
        }
        runs
    }

    /// Whether rows of the day before go on in a published day.
    async fn builds_upon_before(&self, dt: NaiveDate) -> Result<bool> {
        let Some(entry) = self.snapshot.picture(&self.pipeline.name, dt).cloned() else { return Ok(false) };
        let lake = self.lake.clone();
        match day::off_reactor(move || kept::has_earlier_rows(&lake, &entry)).await {
            // Whatever went on in a picture that is lost: it has to be rebuilt, too.
            Err(error) if error.kind() == Kind::Storage => Ok(true),
            builds => builds,
        }
    }

    fn picture(&self, dt: NaiveDate) -> Option<Entry> {
        self.rebuilt.get(&dt).or_else(|| self.snapshot.picture(&self.pipeline.name, dt)).cloned()
    }

    /// The picture of the day before, rebuilt where it was.
    fn before(&self, dt: NaiveDate) -> Option<Entry> {
        let rebuilt = self.rebuilt.range(..dt).next_back().map(|(day, _)| *day);
        let day = rebuilt.max(self.snapshot.previous_dt(&self.pipeline.name, dt))?;
        self.picture(day)
    }

    fn start(&self, dt: NaiveDate, run_id: RunId) -> Start {
        let attempt = self.snapshot.attempts(&self.pipeline.name, dt) + 1;
        Start { dt, run_id, attempt, started_at: self.around.clock.now() }
    }

    async fn next_seq(&self) -> Result<u64> {
        match self.place {
            Some(place) => Ok(place.turn.next_seq()),
            None => publish::next_seq(self.lake, &self.pipeline.name).await,
        }
    }

    /// The published picture as a rebuilt one can be compared with it; else the file that it lacks. A lost file is not
    /// lost where the rebuilt one has its digest.
    async fn comparable(
        &self,
        published: Option<&Entry>,
        lost: Option<&str>,
        rebuilt: &Entry,
    ) -> Result<Result<Option<Entry>, String>> {
        let (Some(mut published), Some(_)) = (published.cloned(), lost) else { return Ok(Ok(published.cloned())) };
        for table in Table::PICTURES {
            let (old, new) = (published.files(table), rebuilt.files(table));
            let is_same = |(old, new): (&DataFile, &DataFile)| old.digest.is_some() && old.digest == new.digest;
            if old.len() == new.len() && old.iter().zip(new).all(is_same) {
                published.tables.insert(table.name().to_owned(), new.to_vec());
            }
        }
        Ok(lost::of_pictures(&self.above, &published).await?.map_or(Ok(Some(published)), Err))
    }

    async fn differences(&self, before: Option<&Entry>, after: &Entry) -> Result<Vec<TableDifference>> {
        let (store, before, after) = (self.above.clone(), before.cloned(), after.clone());
        day::off_reactor(move || {
            let side = |entry| Side { store: &store, entry };
            differences(side(before.as_ref()), side(Some(&after)))
        })
        .await
    }
}

/// The error of a lost picture whose answers are not all there.
fn not_rebuilt(file: &str, why: &str) -> Error {
    let message = format!("the published file `{file}` is missing or damaged, and its day cannot be rebuilt: {why}");
    Error::storage(message).with_hint("restore the file from a copy of the lake")
}

impl ReplayedDay {
    /// Whether a reader of its tables sees any difference.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        match &self.became {
            Became::Rebuilt(_) => self.differences.is_empty() || !self.differences.iter().all(TableDifference::is_none),
            Became::Stands | Became::Held(_) | Became::LeftAlone => false,
        }
    }

    /// Whether all that was asked for is published and proven complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        match &self.became {
            Became::Rebuilt(report) => report.is_complete(),
            Became::Stands => true,
            Became::Held(_) | Became::LeftAlone => false,
        }
    }
}
