//! What is known before a run, for its price: the day it would stand for, its work, the picture before, the ledger.
//!
//! Takes a pipeline; gives a [`Survey`]. With a probe it asks the gateway for shops' ids and official counts; these calls
//! are counted like any other.
//!
//! Invariant: nothing is begun, locked or published; without a probe no call is made.

use chrono::NaiveDate;

use crate::base::time::beijing_day;
use crate::base::{Error, Result};
use crate::config::Pipeline;
use crate::config::pipeline::Account;
use crate::land::{Zone, unfinished};
use crate::load::Snapshot;
use crate::plan::price::{AccountQuota, Start, Survey};
use crate::plan::{self, Known};
use crate::state;
use crate::store::Store;

use super::{Options, Surroundings, day, previous};

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
    if asks == Asks::Counts {
        return Err(Error::config("`--probe` cannot ask yet"));
    }
    let today = beijing_day(around.clock.now());
    let (mut start, mut dt, mut before) = (Start::Begins, options.dt.unwrap_or(today), Known::default());
    if pipeline.lake.root.is_dir() {
        let store = Store::open_existing(&pipeline.lake.root)?;
        (start, dt) = find_start(pipeline, options, dt, &store).await?;
        before = known(pipeline, &store, dt).await?;
    }
    let state = state::open(&pipeline.state).await?;
    let (counts, health) = (state.counts(today).await?, state.accounts(state.now().await?).await?);
    let quota = |account: &Account| AccountQuota::new(account, &counts, &health);
    let details = pipeline.details.iter().flat_map(|details| &details.accounts);
    Ok(Survey {
        dt,
        today,
        start,
        work: plan::work(pipeline)?,
        known: before,
        ids_by_url: Default::default(),
        counts: Default::default(),
        is_under_way: false,
        probe_calls: 0,
        accounts: pipeline.accounts.iter().map(quota).collect(),
        detail_accounts: details.map(quota).collect(),
    })
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

/// What the picture before a day says.
pub(super) async fn known(pipeline: &Pipeline, store: &Store, dt: NaiveDate) -> Result<Known> {
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
