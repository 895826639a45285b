//! Captured answers instead of calls: landed, then published, a publication for each day they stand for.
//!
//! Takes the files a pipeline names; gives the days' reports. What was published before a day failed stays published.

use std::sync::Arc;

use chrono::NaiveDate;

use crate::base::time::beijing_day;
use crate::base::{Error, Result, RunId};
use crate::config::pipeline::{DtFrom, Files};
use crate::land::files::{Captures, FilesTarget, LandedDay};
use crate::land::{self, Zone};

use super::day::Place;
use super::{Options, Outcome, SoFar, begin, day, hear, new_run_id, recorded, stopped, watch};

/// What a start takes; the pipeline's lock is held.
pub(super) struct Start<'a> {
    pub(super) place: Place<'a>,
    pub(super) files: &'a Files,
    pub(super) options: Options,
}

/// Lands captured answers and publishes the days they stand for.
pub(super) async fn load(start: Start<'_>, so_far: &mut SoFar<'_>) -> Result<Outcome> {
    let Start { place: Place { pipeline, around, store, turn }, files, options } = start;
    let dt = options.dt.unwrap_or_else(|| beijing_day(around.clock.now()));
    if files.dt_from == DtFrom::FetchedAt && options.dt.is_some() {
        return Err(Error::config("a day is stated, but the files' own times say which days they stand for")
            .with_hint("leave `--dt` out, or write `dt_from = \"run\"` in `[files]`"));
    }
    let snapshot = turn.snapshot(store, &pipeline.name).await?;
    if files.dt_from == DtFrom::Run && snapshot.picture(&pipeline.name, dt).is_some() && !options.refresh {
        return Ok(Outcome::AlreadyPublished { dt });
    }
    if files.dt_from == DtFrom::Run
        && !options.refresh
        && let Some(run) = begin::held(pipeline, store, &snapshot).await?.into_iter().rfind(|run| run.dt == dt)
    {
        return Ok(so_far.ended(Some(run)));
    }
    let target =
        FilesTarget { store: store.clone(), pipeline: pipeline.name.clone(), clock: Arc::clone(&around.clock) };
    let land = async { land::land_files(Captures::open(files, dt)?, target, |dt| new_run_id(around, dt)).await };
    let landed = tokio::select! {
        landed = land => landed,
        () = around.cancel.cancelled() => Err(stopped()),
    };
    let days = match landed {
        Ok(days) => days,
        Err(error) => return start.ended(&start.begin(dt, new_run_id(around, dt)).await?, Err(error), so_far).await,
    };
    let last = days.last().map(|landed| landed.dt);
    for landed in days {
        if options.until_landed {
            return Ok(Outcome::Landed { run_id: landed.run_id, calls: 0 });
        }
        let attempt = start.begin(landed.dt, landed.run_id).await?;
        // Of many days at once the last one is news.
        if Some(landed.dt) == last {
            watch::expect(start.place, &attempt.start).await;
        }
        let published = start.publish(&attempt, landed).await;
        // The days after one that is held would be compared with a day that is not there.
        if let Outcome::Held(held) = start.ended(&attempt, published, so_far).await? {
            return Ok(so_far.ended(Some(held.run)));
        }
    }
    Ok(Outcome::Published(so_far.published.clone()))
}

/// One day's attempt.
struct Attempt {
    start: day::Start,
    /// An earlier attempt has published the day.
    stands: bool,
}

impl Start<'_> {
    async fn begin(&self, dt: NaiveDate, run_id: RunId) -> Result<Attempt> {
        let Place { pipeline, around, store, turn } = self.place;
        let snapshot = turn.snapshot(store, &pipeline.name).await?;
        let attempt = snapshot.attempts(&pipeline.name, dt) + 1;
        let stands = snapshot.picture(&pipeline.name, dt).is_some();
        Ok(Attempt { start: day::Start { dt, run_id, attempt, started_at: around.clock.now() }, stands })
    }

    async fn publish(&self, attempt: &Attempt, landed: LandedDay) -> Result<Outcome> {
        let zone = Zone::new(self.place.store.clone(), &self.place.pipeline.name, landed.dt);
        let looked = day::publish_if_sound(self.place, &zone, &attempt.start, landed.facts).await?;
        Ok(looked.outcome(&attempt.start))
    }

    /// Records and tells how an attempt ended; passes its outcome on.
    async fn ended(&self, attempt: &Attempt, outcome: Result<Outcome>, so_far: &mut SoFar<'_>) -> Result<Outcome> {
        let Attempt { start, stands } = attempt;
        let outcome = recorded(self.place, start, outcome).await;
        let ended = hear::Ended { start, stands: *stands, noted: None };
        hear::tell(self.place.pipeline, self.place.around, &ended, &outcome).await;
        so_far.is_told = true;
        watch::ended(self.place, start.run_id, &outcome).await;
        if let Ok(Outcome::Published(reports)) = &outcome {
            so_far.published.extend_from_slice(reports);
        }
        outcome
    }
}
