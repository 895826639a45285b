//! The Delta tables made as the publish log says they are, where a loss has made them differ: a log that is gone, or a
//! commit in its middle.
//!
//! Takes what a pipeline's publish log adds up to, under the pipeline's lock; gives what each table lacked and had too
//! much. One commit per table adds the files that are published and not active, and takes out those that are active and
//! not published.
//!
//! | active, and not published | |
//! |---|---|
//! | a retained publication names it: it was replaced | goes |
//! | it has no name of huopan's: somebody else wrote it | goes |
//! | else | stays: the publish log has lost the publication that named it; of a picture, its day is left alone |
//!
//! Invariant: nothing is changed where a table has a publication with a number that the publish log has not come to: the
//! log is cut short then, and what it does not name may be all that is left of it.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use deltalake_core::checkpoints::create_checkpoint;
use deltalake_core::errors::DeltaTableError;
use deltalake_core::kernel::transaction::CommitBuilder;
use deltalake_core::kernel::{Action, Remove};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, FilterOp, FilterValue};
use futures::TryStreamExt;

use crate::base::{Error, Result, RunId};
use crate::store::Store;
use crate::transform::contract::{PARTITION_COLUMNS, Table};

use super::checkpoint;
use super::delta;
use super::log;
use super::parquet::OPTIMIZED;
use super::snapshot::PartitionFile;
use super::state::State;

/// What to do about a publish log that ends before the Delta tables do.
pub const RESTORE_ENTRIES: &str =
    "restore the newest entries of the publish log from a copy of the lake, before anybody publishes";

/// What a Delta table has of a pipeline that its publish log does not say, or the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: Table,
    /// Files that are published and not active, or active as something else.
    pub missing: u64,
    /// Files that are active and not published, and go.
    pub unpublished: u64,
    /// Those that stay: the publish log has lost the publications that named them.
    pub unknown: u64,
}

impl Difference {
    fn is_none(self) -> bool {
        self.missing == 0 && self.unpublished == 0 && self.unknown == 0
    }
}

/// The folder of a file: its day and pipeline.
pub(super) fn partition(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Whether a file's name is one that huopan gives.
pub(super) fn is_ours(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let of_run = || Some(name.get(..36)?.parse::<RunId>().is_ok() && name[36..].starts_with('-'));
    name.starts_with(OPTIMIZED) || of_run() == Some(true)
}

/// Where the tables differ from what the pipeline's log adds up to. Creates and changes nothing.
///
/// # Errors
/// `Storage` when a table cannot be read, `Data` when the publish log is cut short.
pub async fn compare(store: &Store, state: &State, tables: &[Table]) -> Result<Vec<Difference>> {
    let mut differences = Vec::new();
    for table in Table::ALL {
        let delta = delta::existing(store, table).await?;
        if let Some(delta) = &delta {
            check_end(delta, table, state).await?;
        }
        if tables.contains(&table) {
            let active = match &delta {
                Some(delta) => active(delta, table, &state.pipeline).await?,
                None => BTreeMap::new(),
            };
            differences.push(of_table(store, state, table, &active).await?.difference(table));
        }
    }
    differences.retain(|difference| !difference.is_none());
    Ok(differences)
}

/// Makes a table's files of a pipeline those that are published, and gives it a checkpoint, so that no reader needs what
/// is damaged in its log. Call it under the pipeline's lock.
///
/// # Errors
/// As [`compare`]; `Storage` when the table cannot be written, `Conflict` when other writers kept going first.
pub async fn agree(store: &Store, state: &State, table: Table, now: DateTime<Utc>) -> Result<Difference> {
    for _ in 0..delta::CONFLICTS_MAX {
        let delta = delta::open(store, table).await?;
        check_end(&delta, table, state).await?;
        let found = of_table(store, state, table, &active(&delta, table, &state.pipeline).await?).await?;
        let difference = found.difference(table);
        let actions = found.actions(table, now);
        if actions.is_empty() {
            return Ok(difference);
        }
        match commit(&delta, state, actions).await {
            Ok(()) => {}
            Err(source) if delta::is_conflict(&source) => continue,
            Err(source) => return Err(delta::failed("written", table, source)),
        }
        let delta = delta::open(store, table).await?;
        let made = create_checkpoint(&delta, None).await;
        made.map_err(|source| delta::failed("given a checkpoint", table, source))?;
        let Difference { missing, unpublished, .. } = difference;
        tracing::warn!(table = table.name(), pipeline = state.pipeline, missing, unpublished, "Delta table mended");
        return Ok(difference);
    }
    Err(delta::contended(table))
}

/// Whether the publish log reaches as far as the table.
async fn check_end(delta: &DeltaTable, table: Table, state: &State) -> Result<()> {
    let committed = delta::committed_seq(delta, table, &state.pipeline).await?;
    if committed <= state.seq {
        return Ok(());
    }
    Err(cut_short(table, &state.pipeline, committed, state.seq))
}

/// The error of a publish log that ends at `last`, before what a table has of it.
pub(super) fn cut_short(table: Table, pipeline: &str, committed: u64, last: u64) -> Error {
    let message = format!(
        "publication {committed} of pipeline `{pipeline}` is in the Delta table `{table}`, and the publish log ends at {last}"
    );
    Error::data(message).with_hint(RESTORE_ENTRIES)
}

/// A file that is active.
struct Active {
    bytes: i64,
    rows: Option<u64>,
    remove: Remove,
}

/// The active files of a pipeline by their paths in the table.
async fn active(delta: &DeltaTable, table: Table, pipeline: &str) -> Result<BTreeMap<String, Active>> {
    let partition = [("pipeline", FilterOp::Eq, FilterValue::Scalar(pipeline))];
    let files = delta.get_active_add_actions_by_partitions(&partition).map_ok(|file| {
        let rows = file.num_records().map(|rows| rows as u64);
        (file.path().into_owned(), Active { bytes: file.size(), rows, remove: file.remove_action(true) })
    });
    files.try_collect().await.map_err(|source| delta::failed("read", table, source))
}

/// What differs.
struct Found<'a> {
    missing: Vec<PartitionFile<'a>>,
    unpublished: Vec<Remove>,
    unknown: u64,
}

async fn of_table<'a>(
    store: &Store,
    state: &'a State,
    table: Table,
    active: &BTreeMap<String, Active>,
) -> Result<Found<'a>> {
    let published = || state.files(table).map(|(dt, file)| PartitionFile { dt, pipeline: &state.pipeline, file });
    let is_active = |found: &PartitionFile<'_>| {
        active.get(delta::in_table(table, found.file)).is_some_and(|active| {
            u64::try_from(active.bytes) == Ok(found.file.bytes)
                && active.rows.is_none_or(|rows| rows == found.file.rows)
        })
    };
    let names: HashSet<&str> = published().map(|found| delta::in_table(table, found.file)).collect();
    let unpublished = || active.iter().filter(|(path, _)| !names.contains(path.as_str()));
    let past = match unpublished().any(|(path, _)| is_ours(path)) {
        true => retained(store, &state.pipeline).await?,
        false => HashSet::new(),
    };
    let (unknown, goes): (Vec<_>, Vec<_>) =
        unpublished().partition(|(path, _)| is_ours(path) && !past.contains(&format!("{table}/{path}")));
    // It has taken out what the log still calls the picture of its day.
    let left: HashSet<&str> = unknown.iter().filter(|_| !table.is_journal()).map(|(path, _)| partition(path)).collect();
    let is_missing =
        |found: &PartitionFile<'_>| !is_active(found) && !left.contains(partition(delta::in_table(table, found.file)));
    Ok(Found {
        missing: published().filter(is_missing).collect(),
        unpublished: goes.into_iter().map(|(_, active)| active.remove.clone()).collect(),
        unknown: unknown.len() as u64,
    })
}

/// The files that the retained publications of a pipeline name.
async fn retained(store: &Store, pipeline: &str) -> Result<HashSet<String>> {
    let names = log::names_of(store, pipeline).await?;
    let Some(first) = names.entries.keys().next().copied() else { return Ok(HashSet::new()) };
    let base = checkpoint::state_at(store, pipeline, &names, first).await?;
    let mut files: HashSet<String> =
        Table::ALL.into_iter().flat_map(|table| base.files(table)).map(|(_, file)| file.path.clone()).collect();
    for entry in log::read_span(store, pipeline, first..=names.last()).await? {
        files.extend(entry.tables.into_values().flatten().map(|file| file.path));
    }
    Ok(files)
}

impl Found<'_> {
    fn difference(&self, table: Table) -> Difference {
        let (missing, unpublished) = (self.missing.len() as u64, self.unpublished.len() as u64);
        Difference { table, missing, unpublished, unknown: self.unknown }
    }

    fn actions(self, table: Table, now: DateTime<Utc>) -> Vec<Action> {
        let adds = self.missing.into_iter().map(|found| Action::Add(delta::add(table, found, now)));
        self.unpublished.into_iter().map(Action::Remove).chain(adds).collect()
    }
}

/// One commit of the pipeline's whole part of a table: it has all publications then.
async fn commit(delta: &DeltaTable, state: &State, actions: Vec<Action>) -> Result<(), DeltaTableError> {
    let properties = delta::properties(&state.pipeline, state.seq)?;
    let partition_by = Some(PARTITION_COLUMNS.map(str::to_owned).to_vec());
    let predicate = Some(format!("pipeline = '{}'", state.pipeline.replace('\'', "''")));
    let operation = DeltaOperation::Write { mode: SaveMode::Overwrite, partition_by, predicate };
    CommitBuilder::from(properties)
        .with_actions(actions)
        .build(Some(delta.snapshot()?), delta.log_store(), operation)
        .await
        .map(|_| ())
}
