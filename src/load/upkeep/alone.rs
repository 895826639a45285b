//! The upkeep of one pipeline by itself, outside any run: under its lock.

use chrono::{DateTime, Utc};

use crate::base::Result;
use crate::config::pipeline::Keep;
use crate::load::agree::{self, Difference};
use crate::load::publish::Turn;
use crate::store::{Store, describe_holder};

use super::optimize::{self, Optimized, Wanted};
use super::sweep::{self, Bounds, Lake, Swept};

/// Mends the pipeline's Delta tables, then merges its files. Gives what the tables had lost or had too much, too.
///
/// # Errors
/// `Conflict` while a run of it is going; as [`agree::compare`], [`agree::agree`] and [`optimize::optimize`].
pub async fn optimize(
    store: &Store,
    pipeline: &str,
    wanted: &Wanted,
    now: DateTime<Utc>,
) -> Result<(Vec<Difference>, Optimized)> {
    let lock = store.lock(pipeline, &describe_holder(now)).await?;
    let merged = async {
        let turn = Turn::take(store, pipeline, &lock, now).await?;
        let state = turn.state(store, pipeline).await?;
        let mut differences = Vec::new();
        for found in agree::compare(store, &state, &wanted.tables).await? {
            turn.check()?;
            differences.push(agree::agree(store, &state, found.table, now).await?);
        }
        Ok((differences, optimize::optimize(store, pipeline, &turn, wanted, now).await?))
    };
    let merged = merged.await;
    lock.release().await?;
    merged
}

/// Takes old days out of the pipeline's tables, and deletes what goes of it.
///
/// # Errors
/// `Conflict` while a run of it is going; as [`Lake::list`] and [`sweep::vacuum`].
pub async fn vacuum(store: &Store, pipeline: &str, keep: Keep, now: DateTime<Utc>) -> Result<Swept> {
    let lock = store.lock(pipeline, &describe_holder(now)).await?;
    let swept = async {
        let turn = Turn::take(store, pipeline, &lock, now).await?;
        let lake = Lake::list(store).await?;
        sweep::vacuum(store, pipeline, &turn, &lake, Bounds { keep, now, files_max: usize::MAX }).await
    };
    let swept = swept.await;
    lock.release().await?;
    swept
}
