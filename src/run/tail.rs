//! The tail of a run: the lake's upkeep, bounded, and never a reason for the run to fail.
//!
//! Checkpoints of the Delta logs, published files that a Delta table has lost, small files of the journals where there are
//! many, what is older than it is kept for; `[lake] maintenance = "off"` leaves it to the commands.
//!
//! Invariant: what the run published is published, whatever becomes of this.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::base::Result;
use crate::config::Pipeline;
use crate::config::pipeline::Maintenance;
use crate::load::upkeep::optimize::{Wanted, optimize};
use crate::load::upkeep::sweep::{Bounds, Lake, delete, vacuum};
use crate::load::{Turn, agree, delta};
use crate::store::Store;
use crate::transform::contract::Table;

use super::Surroundings;

/// It ends after this long; the next night goes on.
const TIME_MAX: Duration = Duration::from_secs(600);
/// Small files that a journal's day may have.
const FILES_MIN: usize = 8;
/// Bytes that are written anew in one night.
const BYTES_MAX: u64 = 1 << 30;
/// Files that are deleted in one night.
const FILES_MAX: usize = 20_000;

/// Keeps the lake in order after a publication, under the pipeline's lock.
pub(super) async fn tidy(pipeline: &Pipeline, around: &Surroundings<'_>, store: &Store, turn: &Turn<'_>) {
    if pipeline.lake.maintenance == Maintenance::Off {
        return;
    }
    let upkeep = upkeep(pipeline, store, turn, around.clock.now());
    let ended = tokio::select! {
        ended = tokio::time::timeout(TIME_MAX, upkeep) => ended,
        () = around.cancel.cancelled() => return,
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let hint = error.hint().unwrap_or_default();
            tracing::warn!(pipeline = pipeline.name, %error, hint, "the lake's upkeep was not finished; the run is");
        }
        Err(_) => tracing::warn!(pipeline = pipeline.name, "the lake's upkeep took too long; the next run goes on"),
    }
}

async fn upkeep(pipeline: &Pipeline, store: &Store, turn: &Turn<'_>, now: DateTime<Utc>) -> Result<()> {
    delta::keep_up(store).await?;
    let state = turn.state(store, &pipeline.name).await?;
    for found in agree::compare(store, &state, &Table::ALL).await? {
        // What would be taken out of a table is for somebody to decide.
        let files = found.unpublished + found.unknown;
        if files > 0 {
            let table = found.table.name();
            tracing::warn!(
                table,
                files,
                "files are in a Delta table and not published: `huopan lake verify` says more"
            );
        } else {
            turn.check()?;
            agree::agree(store, &state, found.table, now).await?;
        }
    }
    let wanted =
        Wanted { tables: Table::JOURNALS.to_vec(), files_min: FILES_MIN, bytes_max: BYTES_MAX, ..Wanted::default() };
    optimize(store, &pipeline.name, turn, &wanted, now).await?;
    let keep = pipeline.lake.keep;
    let lake = Lake::list(store).await?;
    let bounds = Bounds { keep, now, files_max: FILES_MAX };
    let swept = vacuum(store, &pipeline.name, turn, &lake, bounds).await?;
    let common = lake.common(keep, now);
    delete(store, &common).await?;
    let files = swept.goes.len() + common.len();
    if files > 0 || !swept.expired.is_empty() {
        tracing::info!(pipeline = pipeline.name, files, "files that nobody needs any more were removed");
    }
    Ok(())
}
