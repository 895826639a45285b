//! What the runs of a lake have left of their calls: how many there were, and the rests that they met.
//!
//! Takes the landing zones of all pipelines; gives what each run shows. What reading a run showed is kept in the state's
//! caches, so that a start reads only what has landed since the one before.
//!
//! Invariant: what is kept saves reading, never counting: it is the same whether the state counted these calls or not.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::base::time::beijing_day;
use crate::base::{Error, Result, RunId};
use crate::config::Pipeline;
use crate::extract::{Record, Shown};
use crate::land::{Counts, Zone};
use crate::state::{Cached, Counted, StateStore};
use crate::store::Store;

/// Runs of earlier days may have called today, and their blocks may still hold: a run keeps its day when it goes on.
const DAYS_BACK: u64 = 7;
/// … and whatever a call of today left was written no longer ago.
const WRITTEN: TimeDelta = TimeDelta::days(2);
/// What a run shows is kept while its calls matter.
const KEPT: TimeDelta = TimeDelta::days(9);

/// The first of the days whose calls are counted.
pub(super) fn earliest(today: NaiveDate) -> NaiveDate {
    today.checked_sub_days(Days::new(DAYS_BACK)).unwrap_or(today)
}

/// What a run has left of its calls.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Landed {
    /// The last segment that was read.
    through: Option<String>,
    /// The attempts in the segments.
    landed: Vec<Counted>,
    /// The facts that were read.
    facts: Option<Written>,
    /// What they say of the same attempts, and of those whose segments are gone.
    told: Vec<Counted>,
    /// The rests that the run knew at its end.
    pub(super) rests: Vec<Shown>,
}

/// A file that may be written again under its name.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Written {
    bytes: u64,
    at: DateTime<Utc>,
}

impl Landed {
    /// What a run shows: what is known of it already, and what it has written since.
    pub(super) async fn of(
        run: &LandedRun,
        store: &Store,
        pipeline: &Pipeline,
        (state, now): (&dyn StateStore, DateTime<Utc>),
    ) -> Result<Self> {
        // By whom it is read decides what a call counts for.
        let key = format!("landed {} {} {}", run.run_id, pipeline.config_hash, store.url());
        let kept = state.cached(&key, now).await?;
        let mut landed: Self = kept.and_then(|kept| serde_json::from_slice(&kept.value).ok()).unwrap_or_default();
        if landed.through >= run.last_segment && landed.facts == run.facts {
            return Ok(landed);
        }
        landed.read_on(run, store, pipeline).await?;
        let value = serde_json::to_vec(&landed)
            .map_err(|source| Error::internal("the calls of a run cannot be written as JSON").caused_by(source))?;
        state.cache(&key, &Cached { value: value.into(), expires_at: now + KEPT }).await?;
        Ok(landed)
    }

    /// The lines of the ledger.
    pub(super) fn lines(&self) -> Vec<Counted> {
        let mut counts = Counts::default();
        counts.extend(&self.landed);
        counts.at_least(&self.told);
        counts.ledger()
    }

    async fn read_on(&mut self, run: &LandedRun, store: &Store, pipeline: &Pipeline) -> Result<()> {
        let asked = |record: &Record| {
            let details = pipeline.details.as_ref().map(|details| &details.gateway);
            let asked = record.gateway.as_ref().and_then(|name| details.filter(|details| details.name == *name));
            asked.unwrap_or(&pipeline.gateway)
        };
        let zone = Zone::new(store.clone(), &run.pipeline, run.dt);
        let mut counts = Counts::default();
        counts.extend(&self.landed);
        if run.last_segment > self.through {
            for segment in zone.segments(&run.run_id).await? {
                if self.through.as_ref().is_some_and(|through| segment.path <= *through) {
                    continue;
                }
                for record in zone.read_records_if_there(&segment).await?.unwrap_or_default() {
                    counts.add(&record, asked(&record));
                }
                self.through = Some(segment.path);
            }
            // Those that are gone meanwhile went into the facts.
            self.through = self.through.take().max(run.last_segment.clone());
        }
        self.landed = counts.ledger();
        // A killed start leaves segments that its facts do not know; of a published run some may be gone already, or go
        // while they are read: its facts were there before, so they are read after.
        if let Some(facts) = zone.read_facts(&run.run_id).await? {
            self.told = facts.ledger;
            self.rests = facts.rests;
        }
        self.facts = run.facts;
        Ok(())
    }
}

/// A run, by what is written of it.
pub(super) struct LandedRun {
    pub(super) pipeline: String,
    pub(super) dt: NaiveDate,
    pub(super) run_id: RunId,
    /// The path of its last segment that is still there.
    pub(super) last_segment: Option<String>,
    facts: Option<Written>,
    pub(super) is_unfinished: bool,
    /// When something of it was written last.
    written_at: DateTime<Utc>,
}

/// The runs of all pipelines that may have called in the last days.
pub(super) async fn runs(store: &Store, today: NaiveDate, now: DateTime<Utc>) -> Result<Vec<LandedRun>> {
    let earliest = earliest(today);
    let mut runs: Vec<LandedRun> = Vec::new();
    for file in store.list("_huopan/landing").await? {
        let mut parts = file.path.split('/').skip(2);
        let (Some(pipeline), Some(dt), Some(run_id), Some(name)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (Ok(dt), Ok(run_id)) = (dt.parse::<NaiveDate>(), run_id.parse::<RunId>()) else { continue };
        if runs.last().is_none_or(|last| last.run_id != run_id || last.pipeline != pipeline) {
            runs.push(LandedRun {
                pipeline: pipeline.to_owned(),
                dt,
                run_id,
                last_segment: None,
                facts: None,
                is_unfinished: false,
                written_at: file.modified_at,
            });
        }
        let Some(run) = runs.last_mut() else { continue };
        run.written_at = run.written_at.max(file.modified_at);
        match name {
            "start.json" => run.is_unfinished = true,
            "facts.json" => run.facts = Some(Written { bytes: file.bytes, at: file.modified_at }),
            _ if name.ends_with(".seg") => run.last_segment = run.last_segment.take().max(Some(file.path)),
            _ => {}
        }
    }
    // An unfinished run may have called today whenever it began, and so may one that was given up since; anything else
    // called soon after it began, for whatever day.
    let is_young = |run: &LandedRun| run.run_id.began_at().is_none_or(|at| beijing_day(at) >= earliest);
    runs.retain(|run| run.is_unfinished || is_young(run) || now - run.written_at < WRITTEN);
    Ok(runs)
}
