//! Giving up an unfinished run: the next start begins anew instead of going on with it.
//!
//! Takes the name of a run; gives what was given up.
//!
//! Invariant: what was called stays counted and is journalled in `calls`; what has landed stays where it is.

use chrono::NaiveDate;

use crate::base::{Error, Kind, Result, RunId, RunName};
use crate::config::Pipeline;
use crate::land::{Unfinished, Zone, unfinished};
use crate::load::Turn;
use crate::store::{Store, describe_holder};

use super::day::Place;
use super::{Surroundings, begin, day};

/// A run that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandoned {
    /// Its day.
    pub dt: NaiveDate,
    /// Its id.
    pub run_id: RunId,
    /// The answers that it has landed, failures included; `None`: some of them cannot be read.
    pub landed: Option<usize>,
    /// The day stays as an earlier attempt published it.
    pub stands: bool,
}

/// Gives up the unfinished run that is meant, under the pipeline's lock. It leaves a row in `runs`:
/// `stopped`, `abandoned`.
///
/// # Errors
/// `Config`: no unfinished run of the pipeline is meant, or several are · `Conflict`: the pipeline is running ·
/// `Storage`: the lake cannot be read or written.
pub async fn abandon(pipeline: &Pipeline, run: &RunName, around: &Surroundings<'_>) -> Result<Abandoned> {
    Store::readable(&pipeline.lake.location).await?;
    let store = Store::writable(&pipeline.lake.location).await?;
    let lock = store.lock(&pipeline.name, &describe_holder(around.clock.now())).await?;
    let abandoned = async {
        let turn = Turn::take(&store, &pipeline.name, &lock, around.clock.now()).await?;
        under_lock(Place { pipeline, around, store: &store, turn: &turn }, run).await
    }
    .await;
    lock.release().await?;
    abandoned
}

async fn under_lock(place: Place<'_>, run: &RunName) -> Result<Abandoned> {
    let Place { pipeline, around, store, turn } = place;
    day::forget_landing(store, &pipeline.name).await?;
    let snapshot = turn.snapshot(store, &pipeline.name).await?;
    begin::clear_published(pipeline, &snapshot, store).await?;
    let Unfinished { dt, run_id, .. } = find(&pipeline.name, unfinished(store, &pipeline.name).await?, run)?;
    let zone = Zone::new(store.clone(), &pipeline.name, dt);
    zone.note_all_segments(&run_id).await?;
    let landed = match zone.records(&run_id).await {
        Ok(records) => Some(records.len()),
        // A run that cannot go on is a good reason to give it up.
        Err(error) if error.kind() == Kind::Data => None,
        Err(error) => return Err(error),
    };
    let attempt = snapshot.attempts(&pipeline.name, dt) + 1;
    let start = day::Start { dt, run_id, attempt, started_at: around.clock.now() };
    day::publish_abandoned(place, &start).await?;
    zone.forget_start(&run_id).await?;
    Ok(Abandoned { dt, run_id, landed, stands: snapshot.picture(&pipeline.name, dt).is_some() })
}

fn find(pipeline: &str, runs: Vec<Unfinished>, name: &RunName) -> Result<Unfinished> {
    let known = runs.iter().map(|run| (run.run_id.to_string(), format!("of {}", run.dt))).collect();
    let meant = name.one_of(&known)?.map(str::to_owned);
    let (mut meant, others): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| Some(run.run_id.to_string()) == meant);
    if let Some(run) = meant.pop() {
        return Ok(run);
    }
    let shown: Vec<String> = others.iter().map(|run| format!("`{}` of {}", run.run_id, run.dt)).collect();
    let hint = if shown.is_empty() { "it has none".to_owned() } else { format!("unfinished: {}", shown.join(", ")) };
    Err(Error::config(format!("no unfinished run of pipeline `{pipeline}` has an id that begins with `{name}`"))
        .with_hint(hint))
}
