//! The quota ledger of a day rebuilt from what has landed, when the state was lost or another machine goes on.
//!
//! Takes the landing zones of all pipelines in the lake: attempts of runs that have not published are counted one by one,
//! published runs have left their counts in their facts.
//!
//! Invariant: a count that is there is never lowered, and never raised by what it counts already.

use std::collections::BTreeSet;

use chrono::{Days, NaiveDate};

use crate::base::{Result, RunId};
use crate::config::Pipeline;
use crate::land::{Counts, Zone};
use crate::state::StateStore;
use crate::store::Store;

/// Runs of earlier days may have called today: a run keeps its day when it goes on.
const DAYS_BACK: u64 = 7;

/// Makes the ledger count at least what the lake knows was called today.
pub(super) async fn rebuild(
    store: &Store,
    pipeline: &Pipeline,
    state: &dyn StateStore,
    today: NaiveDate,
) -> Result<()> {
    let accounts = pipeline.accounts.iter().chain(pipeline.details.iter().flat_map(|details| &details.accounts));
    let mut lost: BTreeSet<&str> = accounts.map(|account| account.key.as_str()).collect();
    for counted in state.counts(today).await? {
        lost.remove(counted.account.as_str());
    }
    if lost.is_empty() {
        return Ok(());
    }
    let mut counts = Counts::default();
    for run in runs(store, today).await? {
        let zone = Zone::new(store.clone(), &run.pipeline, run.dt);
        let mut landed = Counts::default();
        if run.has_segments {
            for record in zone.records(&run.run_id).await? {
                landed.add(&record, pipeline.gateway.limits.quota_scope);
            }
        }
        // A killed start leaves segments that its facts do not know; of a published run some may be gone already.
        if let Some(facts) = zone.read_facts(&run.run_id).await? {
            landed.at_least(&facts.ledger);
        }
        counts.extend(&landed.ledger());
    }
    for line in counts.ledger() {
        if line.day == today && lost.contains(line.account.as_str()) {
            tracing::warn!(
                account = line.account,
                calls = line.calls,
                "the ledger of today is rebuilt from landed answers"
            );
            state.raise(&line).await?;
        }
    }
    Ok(())
}

struct LandedRun {
    pipeline: String,
    dt: NaiveDate,
    run_id: RunId,
    has_segments: bool,
}

/// The runs of all pipelines that may have called today.
async fn runs(store: &Store, today: NaiveDate) -> Result<Vec<LandedRun>> {
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
            Some(last) => last.has_segments |= has_segments,
            // An unfinished run of any day may have called today.
            None if dt >= earliest || has_segments || name == "start.json" => {
                runs.push(LandedRun { pipeline: pipeline.to_owned(), dt, run_id, has_segments });
            }
            None => {}
        }
    }
    Ok(runs)
}
