//! The quota ledger of a day rebuilt from what has landed, when the state was lost or another machine goes on.
//!
//! Takes the landing zones of all pipelines in the lake: attempts of runs that have not published are counted one by one,
//! published runs have left their counts in their facts.
//!
//! Invariant: a count that is there is never lowered, and never raised by what it counts already.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

use crate::base::{Result, RunId};
use crate::config::Pipeline;
use crate::extract::Record;
use crate::land::{Counts, Zone};
use crate::state::{Cached, Counted, StateStore};
use crate::store::Store;

/// A mark is of no use after its day.
const MARK_KEPT: TimeDelta = TimeDelta::days(2);
/// Runs of earlier days may have called today: a run keeps its day when it goes on.
const DAYS_BACK: u64 = 7;
/// … and whatever a call of today left was written no longer ago.
const WRITTEN: TimeDelta = TimeDelta::days(2);

/// Makes the ledger count at least what the lake knows was called today.
pub(super) async fn rebuild(
    store: &Store,
    pipeline: &Pipeline,
    state: &dyn StateStore,
    today: NaiveDate,
) -> Result<()> {
    let accounts = pipeline.accounts.iter().chain(pipeline.details.iter().flat_map(|details| &details.accounts));
    let keys: BTreeSet<&str> = accounts.map(|account| account.key.as_str()).collect();
    let now = state.now().await?;
    let mut lost = BTreeSet::new();
    for key in keys {
        if state.cached(&mark(store, key, today), now).await?.is_none() {
            lost.insert(key);
        }
    }
    if lost.is_empty() {
        return Ok(());
    }
    let known = state.counts(today).await?;
    let known = |line: &Counted| {
        let same = |counted: &&Counted| (&counted.account, &counted.scope) == (&line.account, &line.scope);
        known.iter().find(same).map_or(0, |counted| counted.calls)
    };
    let scope_of = |record: &Record| {
        let details = pipeline.details.as_ref().map(|details| &details.gateway);
        let asked = record.gateway.as_ref().and_then(|name| details.filter(|details| details.name == *name));
        asked.unwrap_or(&pipeline.gateway).limits.quota_scope
    };
    let mut counts = Counts::default();
    for run in runs(store, today, now).await? {
        let zone = Zone::new(store.clone(), &run.pipeline, run.dt);
        let mut landed = Counts::default();
        if run.has_segments {
            for record in zone.records(&run.run_id).await? {
                landed.add(&record, scope_of(&record));
            }
        }
        // A killed start leaves segments that its facts do not know; of a published run some may be gone already.
        if let Some(facts) = zone.read_facts(&run.run_id).await? {
            landed.at_least(&facts.ledger);
        }
        counts.extend(&landed.ledger());
    }
    for line in counts.ledger() {
        // A state that was not lost has counted every call before it left: nothing is raised then.
        if line.day == today && lost.contains(line.account.as_str()) && line.calls > known(&line) {
            tracing::warn!(
                account = line.account,
                calls = line.calls,
                "the ledger of today is rebuilt from landed answers"
            );
            state.raise(&line).await?;
        }
    }
    for key in lost {
        let cached = Cached { value: bytes::Bytes::from_static(b"1"), expires_at: now + MARK_KEPT };
        state.cache(&mark(store, key, today), &cached).await?;
    }
    Ok(())
}

/// Says that a state has counted what this lake's answers show of a day: it is gone with the state, and what somebody
/// corrects afterwards stays corrected.
fn mark(store: &Store, key: &str, day: NaiveDate) -> String {
    format!("ledger {day} {key} {}", store.url())
}

struct LandedRun {
    pipeline: String,
    dt: NaiveDate,
    run_id: RunId,
    has_segments: bool,
    is_unfinished: bool,
    /// When something of it was written last.
    written_at: DateTime<Utc>,
}

/// The runs of all pipelines that may have called today.
async fn runs(store: &Store, today: NaiveDate, now: DateTime<Utc>) -> Result<Vec<LandedRun>> {
    let earliest = today.checked_sub_days(Days::new(DAYS_BACK)).unwrap_or(today);
    let mut runs: Vec<LandedRun> = Vec::new();
    for file in store.list("_huopan/landing").await? {
        let mut parts = file.path.split('/').skip(2);
        let (Some(pipeline), Some(dt), Some(run_id), Some(name)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (Ok(dt), Ok(run_id)) = (dt.parse::<NaiveDate>(), run_id.parse::<RunId>()) else { continue };
        let has_segments = name.ends_with(".seg");
        match runs.last_mut().filter(|last| last.run_id == run_id && last.pipeline == pipeline) {
            Some(last) => {
                last.has_segments |= has_segments;
                last.is_unfinished |= name == "start.json";
                last.written_at = last.written_at.max(file.modified_at);
            }
            None => runs.push(LandedRun {
                pipeline: pipeline.to_owned(),
                dt,
                run_id,
                has_segments,
                is_unfinished: name == "start.json",
                written_at: file.modified_at,
            }),
        }
    }
    // An unfinished run of any day may have called today, and so may one that was given up since.
    runs.retain(|run| run.dt >= earliest || run.is_unfinished || now - run.written_at < WRITTEN);
    Ok(runs)
}
