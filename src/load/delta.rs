//! The Delta tables: created from their contracts, one commit per table and publish-log entry.
//!
//! A commit carries the transaction `(huopan/<pipeline>, seq)`: one that is there already is not made again.
//!
//! | table | commit |
//! |---|---|
//! | picture | removes every other active file of `(dt, pipeline)`, adds the entry's |
//! | journal | adds the entry's files |
//! | any, by an entry that optimizes | the same rows in the entry's files: `dataChange` is false |
//! | any, by an entry that expires days | removes the files of those days |
//!
//! Invariant: the protocol stays at reader 1, writer ≤ 4: no deletion vectors, no column mapping.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use deltalake_core::checkpoints::create_checkpoint;
use deltalake_core::errors::DeltaTableError;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Add, StructField, StructType, Transaction};
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, FilterOp, FilterValue, TableProperty};
use futures::TryStreamExt;
use object_store::prefix::PrefixStore;
use serde_json::Value;

use crate::base::{Error, Kind, Result};
use crate::store::{DISK_IS_FULL, Meta, Store, is_full, is_outage};
use crate::transform::contract::{PARTITION_COLUMNS, Table};

use super::listing::WholeLogs;
use super::log::{Change, DataFile, Entry};
use super::snapshot::PartitionFile;

/// Times a commit is redone after somebody else's went first.
pub(super) const CONFLICTS_MAX: u32 = 20;
/// Commits between two checkpoints of a table's log.
const CHECKPOINT_INTERVAL: &str = "10";
/// The same, as a number.
const CHECKPOINT_COMMITS: u64 = 10;

/// A table's log, below its folder.
pub(super) const LOG: &str = "_delta_log";
/// How the name of a commit ends.
const COMMIT: &str = ".json";
/// How the name of a checkpoint ends.
const CHECKPOINT: &str = ".checkpoint.parquet";
/// The commit that created the table.
const FIRST_COMMIT: &str = "00000000000000000000.json";
/// Says which checkpoint is the newest.
const LAST_CHECKPOINT: &str = "_last_checkpoint";
/// How long removed files and log entries are kept for readers that opened a table before, unless `lake vacuum` is told
/// otherwise; other programs that clean up go by it, too.
const HISTORY: &str = "interval 7 days";

/// The outcome of [`commit`].
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The commit was made.
    Done,
    /// It was there already.
    Already,
    /// The entry says nothing about this table.
    Nothing,
}

/// Opens the Delta table, after creating it where it is missing, and with every column of its contract.
///
/// # Errors
/// `Storage` when it cannot be read or written, or has other columns than its contract.
pub async fn open(store: &Store, table: Table) -> Result<DeltaTable> {
    for _ in 0..CONFLICTS_MAX {
        let delta = load(store, table).await?;
        let (verb, changed) = match delta.version() {
            None => ("created", create(&delta, table).await),
            Some(_) => {
                let missing = missing_columns(&delta, table)?;
                if missing.is_empty() {
                    return Ok(delta);
                }
                ("given its new columns", delta.add_columns().with_fields(missing).await.map(|_| ()))
            }
        };
        match changed {
            Ok(()) => {}
            Err(source) if is_conflict(&source) => {}
            Err(source) => return Err(failed(verb, table, source)),
        }
    }
    Err(contended(table))
}

/// The number of the pipeline's newest entry that this table has; 0: none.
///
/// # Errors
/// `Storage` when the table cannot be read.
pub async fn committed_seq(delta: &DeltaTable, table: Table, pipeline: &str) -> Result<u64> {
    let version = async { delta.snapshot()?.transaction_version(&delta.log_store(), app_id(pipeline)).await };
    let version = version.await.map_err(|source| failed("read", table, source))?;
    Ok(version.and_then(|version| u64::try_from(version).ok()).unwrap_or(0))
}

/// A file that a Delta table has active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveFile {
    /// Relative to the lake.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its rows, where the table says so.
    pub rows: Option<u64>,
}

/// The files that a Delta table has active, and the table; `None`: there is none. Creates nothing.
///
/// # Errors
/// `Storage` when it cannot be read.
pub async fn active_files(store: &Store, table: Table) -> Result<Option<(DeltaTable, Vec<ActiveFile>)>> {
    let Some(delta) = existing(store, table).await? else { return Ok(None) };
    let files = delta.get_active_add_actions_by_partitions(&[]).map_ok(|file| ActiveFile {
        path: format!("{table}/{}", file.path()),
        bytes: u64::try_from(file.size()).unwrap_or(0),
        rows: file.num_records().map(|rows| rows as u64),
    });
    let files = files.try_collect().await.map_err(|source| failed("read", table, source))?;
    Ok(Some((delta, files)))
}

/// The Delta table; `None`: there is none. Creates nothing.
///
/// # Errors
/// `Storage` when it cannot be read.
pub(super) async fn existing(store: &Store, table: Table) -> Result<Option<DeltaTable>> {
    if !has_log(store, table).await? {
        return Ok(None);
    }
    let delta = load(store, table).await?;
    Ok(delta.version().is_some().then_some(delta))
}

/// Whether a table has a log, also where no listing shows it yet.
///
/// # Errors
/// `Storage` when it cannot be read.
pub(super) async fn has_log(store: &Store, table: Table) -> Result<bool> {
    for name in [FIRST_COMMIT, LAST_CHECKPOINT] {
        if store.meta(&format!("{table}/{LOG}/{name}")).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(!store.list(&format!("{table}/{LOG}")).await?.is_empty())
}

/// The commits of a table's log that a reader needs and that are missing or no commits, each with what is wrong.
///
/// # Errors
/// `Storage` when the log cannot be listed or read.
pub(super) async fn broken_commits(store: &Store, table: Table) -> Result<Vec<(String, &'static str)>> {
    let names = store.list(&format!("{table}/{LOG}")).await?;
    let (commits, checkpoints) = (versions(&names, COMMIT), versions(&names, CHECKPOINT));
    let first = checkpoints.last().map_or(0, |version| version + 1);
    let mut broken = Vec::new();
    for version in first..=commits.last().copied().unwrap_or(0) {
        let path = format!("{table}/{LOG}/{version:020}{COMMIT}");
        let what = match store.get(&path).await? {
            None => "this commit of the Delta table is missing",
            Some(bytes) if bytes.is_empty() => "this commit of the Delta table is empty",
            Some(bytes) if !is_commit(&bytes) => "this commit of the Delta table is torn or damaged",
            Some(_) => continue,
        };
        broken.push((path, what));
    }
    Ok(broken)
}

/// Whether these are actions, one a line, whose statistics can be read.
fn is_commit(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.all(|line| {
        let Ok(Value::Object(action)) = serde_json::from_slice(line) else { return false };
        let stats = action.get("add").and_then(|add| add.get("stats")?.as_str());
        stats.is_none_or(|stats| serde_json::from_str::<Value>(stats).is_ok_and(|stats| stats.is_object()))
    })
}

/// The versions of a log's files whose names end so, ascending.
fn versions(names: &[Meta], end: &str) -> BTreeSet<u64> {
    let digits = |path: &str| path.rsplit('/').next()?.strip_suffix(end)?.parse::<u64>().ok();
    names.iter().filter_map(|meta| digits(&meta.path)).collect()
}

/// Writes checkpoints of the tables' logs where more than an interval of commits has none: readers would read them one
/// by one. Gives the tables that got one. Commits write them, too; one that died before, or failed to, is made up for.
///
/// # Errors
/// `Storage` when a table cannot be read, or its checkpoint written.
pub async fn keep_up(store: &Store) -> Result<Vec<Table>> {
    let mut written = Vec::new();
    for table in Table::ALL {
        let names = store.list(&format!("{table}/{LOG}")).await?;
        let Some(last) = versions(&names, COMMIT).last().copied() else { continue };
        let checkpoint = versions(&names, CHECKPOINT).last().copied();
        let commits = last + 1 - checkpoint.map_or(0, |version| version + 1).min(last + 1);
        if commits > CHECKPOINT_COMMITS {
            let delta = load(store, table).await?;
            let made = create_checkpoint(&delta, None).await;
            made.map_err(|source| failed("given a checkpoint", table, source))?;
            written.push(table);
        }
    }
    Ok(written)
}

/// Commits what the entry says about the table, unless it is there. Entries of a pipeline must come in their order.
/// `before` is the table as it was before the entry was decided, where somebody has it: it need not be read again, and
/// cannot have the commit.
///
/// # Errors
/// `Storage` when the log cannot be read or written, `Conflict` when other writers kept going first.
pub async fn commit(store: &Store, table: Table, entry: &Entry, before: Option<DeltaTable>) -> Result<Committed> {
    // `runs` ends a publication: its transaction says that all tables have it, also when it got no rows.
    let nothing = match &entry.change {
        Change::Run if table.is_journal() => entry.files(table).is_empty(),
        Change::Run => !entry.picture,
        Change::Optimize => !entry.tables.contains_key(table.name()),
        Change::Expire(before) => !before.contains_key(table.name()),
    };
    if nothing && table != Table::Runs {
        return Ok(Committed::Nothing);
    }
    let mut before = before;
    for _ in 0..CONFLICTS_MAX {
        let delta = match before.take() {
            Some(delta) => delta,
            None => {
                let delta = open(store, table).await?;
                if committed_seq(&delta, table, &entry.pipeline).await? >= entry.seq {
                    return Ok(Committed::Already);
                }
                delta
            }
        };
        match try_commit(&delta, table, entry).await {
            Ok(()) => return Ok(Committed::Done),
            Err(source) if is_conflict(&source) => {
                tracing::warn!(table = table.name(), seq = entry.seq, "another writer committed first");
            }
            Err(source) => return Err(failed("written", table, source)),
        }
    }
    Err(contended(table))
}

async fn load(store: &Store, table: Table) -> Result<DeltaTable> {
    // deltalake-core decodes a path twice, so it would look in another folder.
    let escape = |bytes: &[u8]| bytes[0] == b'%' && bytes[1..].iter().all(u8::is_ascii_hexdigit);
    if let Some(folder) = store.folder()
        && folder.as_os_str().as_encoded_bytes().windows(3).any(escape)
    {
        let message = format!("the lake's path `{}` reads as percent-encoded", folder.display());
        return Err(Error::config(message).with_hint("name a folder without `%` before two hexadecimal digits"));
    }
    store.prepare_folder(table.name())?;
    let mut delta = DeltaTable::new(log_store(store, table)?);
    match delta.load().await {
        Ok(()) | Err(DeltaTableError::NotATable(_)) => Ok(delta),
        Err(source) => Err(failed("read", table, source)),
    }
}

/// The table's log through the lake's own store, so that it is reached as the lake is.
fn log_store(store: &Store, table: Table) -> Result<LogStoreRef> {
    let url = store.url().join(&format!("{table}/"));
    let url = url.map_err(|source| Error::internal(format!("`{table}` has no address")).caused_by(source))?;
    let files = WholeLogs::over(Arc::new(PrefixStore::new(store.object_store(), table.name())));
    Ok(default_logstore(files, WholeLogs::over(store.root_object_store()), &url, &StorageConfig::default()))
}

async fn create(delta: &DeltaTable, table: Table) -> Result<(), DeltaTableError> {
    let contract = table.contract().map_err(|source| DeltaTableError::GenericError { source: Box::new(source) })?;
    let columns = delta_schema(table).map_err(|source| DeltaTableError::GenericError { source: Box::new(source) })?;
    // Without retries: the builder would add a second metadata action to a table that was created meanwhile.
    delta
        .create()
        .with_table_name(table.name())
        .with_comment(&contract.description)
        .with_columns(columns.fields().cloned())
        .with_partition_columns(PARTITION_COLUMNS)
        .with_configuration_property(TableProperty::CheckpointInterval, Some(CHECKPOINT_INTERVAL))
        .with_configuration_property(TableProperty::LogRetentionDuration, Some(HISTORY))
        .with_configuration_property(TableProperty::DeletedFileRetentionDuration, Some(HISTORY))
        .with_save_mode(SaveMode::Ignore)
        .with_commit_properties(CommitProperties::default().with_max_retries(0))
        .await
        .map(|_| ())
}

fn delta_schema(table: Table) -> Result<StructType> {
    let columns: Result<StructType, _> = table.schema()?.as_ref().try_into_kernel();
    columns.map_err(|source| Error::internal(format!("`{table}` has columns Delta lacks")).caused_by(source))
}

/// The columns of the contract that a table made under an earlier minor version lacks: they come last, and may be null.
fn missing_columns(delta: &DeltaTable, table: Table) -> Result<Vec<StructField>> {
    let expected = delta_schema(table)?;
    let found = delta.snapshot().map_err(|source| failed("read", table, source))?.schema();
    let mut missing = expected.fields().cloned().collect::<Vec<_>>();
    let known = found.fields().count();
    let rest = missing.split_off(known.min(missing.len()));
    if found.fields().eq(&missing) && rest.iter().all(StructField::is_nullable) {
        return Ok(rest);
    }
    let message = format!("the Delta table `{table}` has other columns than this huopan writes");
    Err(Error::storage(message).with_hint("use the huopan that created the lake, or a new lake"))
}

async fn try_commit(delta: &DeltaTable, table: Table, entry: &Entry) -> Result<(), DeltaTableError> {
    let properties = properties(&entry.pipeline, entry.seq)?
        .with_metadata([("huopan.run_id".to_owned(), entry.run_id.clone().into())]);
    let state = delta.snapshot()?;
    CommitBuilder::from(properties)
        .with_actions(actions(delta, table, entry).await?)
        .build(Some(state), delta.log_store(), operation(table, entry))
        .await
        .map(|_| ())
}

/// Those of a commit after which the table has a pipeline's publications up to this number.
pub(super) fn properties(pipeline: &str, seq: u64) -> Result<CommitProperties, DeltaTableError> {
    let seq = i64::try_from(seq).map_err(|source| DeltaTableError::GenericError { source: Box::new(source) })?;
    Ok(CommitProperties::default()
        .with_application_transaction(Transaction::new(app_id(pipeline), seq))
        // It would list the whole log after every commit: `lake vacuum` does it.
        .with_cleanup_expired_logs(Some(false)))
}

/// What of a table's files the entry takes away and adds. A path that is added is never removed: readers would lose its
/// rows, and a file that is active already may be added again.
async fn actions(delta: &DeltaTable, table: Table, entry: &Entry) -> Result<Vec<Action>, DeltaTableError> {
    let files = entry.files(table);
    let added = |file: &DataFile, data_change| {
        let found = PartitionFile { dt: entry.dt, pipeline: &entry.pipeline, file };
        Action::Add(Add { data_change, ..add(table, found, entry.published_at) })
    };
    let stay: HashSet<&str> = files.iter().map(|file| in_table(table, file)).collect();
    match &entry.change {
        Change::Run if table.is_journal() => Ok(files.iter().map(|file| added(file, true)).collect()),
        Change::Run => {
            let mut actions = removes(delta, entry, true, |path| !stay.contains(path)).await?;
            actions.extend(files.iter().map(|file| added(file, true)));
            Ok(actions)
        }
        Change::Optimize => {
            let active = active(delta, &of_day(entry)).await?;
            let mut actions = removes(delta, entry, false, |path| !stay.contains(path)).await?;
            let new = files.iter().filter(|file| !active.contains(in_table(table, file)));
            actions.extend(new.map(|file| added(file, false)));
            Ok(actions)
        }
        Change::Expire(before) => {
            let Some(first) = before.get(table.name()) else { return Ok(Vec::new()) };
            let partition = [("pipeline", FilterOp::Eq, FilterValue::Scalar(&entry.pipeline))];
            let files = delta.get_active_add_actions_by_partitions(&partition);
            let expired = files.try_filter(|file| {
                let is_before = partition_day(&file.path()).is_some_and(|dt| dt < *first);
                futures::future::ready(is_before)
            });
            expired.map_ok(|file| Action::Remove(file.remove_action(true))).try_collect().await
        }
    }
}

/// The day in a file's path below its table: `dt=2026-11-20/…`.
fn partition_day(path: &str) -> Option<NaiveDate> {
    path.strip_prefix("dt=")?.split('/').next()?.parse().ok()
}

/// What the commit claims to have read and replaced. Without the predicate, two first writers of a partition would
/// both add their rows.
fn operation(table: Table, entry: &Entry) -> DeltaOperation {
    let partition_by = Some(PARTITION_COLUMNS.map(str::to_owned).to_vec());
    let pipeline = entry.pipeline.replace('\'', "''");
    let of_day = || Some(format!("dt = '{}' AND pipeline = '{pipeline}'", entry.dt));
    match &entry.change {
        Change::Optimize if entry.tables.contains_key(table.name()) => {
            let target_size = i64::try_from(super::WriterOptions::default().file_bytes).unwrap_or(i64::MAX);
            DeltaOperation::Optimize { predicate: of_day(), target_size }
        }
        Change::Expire(before) if before.contains_key(table.name()) => {
            let first = before[table.name()];
            DeltaOperation::Delete { predicate: Some(format!("dt < '{first}' AND pipeline = '{pipeline}'")) }
        }
        Change::Run if !table.is_journal() => {
            DeltaOperation::Write { mode: SaveMode::Overwrite, partition_by, predicate: of_day() }
        }
        _ => DeltaOperation::Write { mode: SaveMode::Append, partition_by, predicate: None },
    }
}

/// The partition of the entry's day.
fn of_day(entry: &Entry) -> (String, String) {
    (entry.dt.to_string(), entry.pipeline.clone())
}

/// The paths of a partition's active files, as the table tells them.
async fn active(delta: &DeltaTable, (dt, pipeline): &(String, String)) -> Result<HashSet<String>, DeltaTableError> {
    let partition =
        [("dt", FilterOp::Eq, FilterValue::Scalar(dt)), ("pipeline", FilterOp::Eq, FilterValue::Scalar(pipeline))];
    let files = delta.get_active_add_actions_by_partitions(&partition);
    files.map_ok(|file| file.path().into_owned()).try_collect().await
}

/// Removes those of the active files of the entry's partition that `goes` picks by their paths.
async fn removes(
    delta: &DeltaTable,
    entry: &Entry,
    data_change: bool,
    goes: impl Fn(&str) -> bool,
) -> Result<Vec<Action>, DeltaTableError> {
    let (dt, pipeline) = of_day(entry);
    let partition =
        [("dt", FilterOp::Eq, FilterValue::Scalar(&dt)), ("pipeline", FilterOp::Eq, FilterValue::Scalar(&pipeline))];
    let files = delta.get_active_add_actions_by_partitions(&partition);
    let going = files.try_filter(|file| futures::future::ready(goes(&file.path())));
    going.map_ok(|file| Action::Remove(file.remove_action(data_change))).try_collect().await
}

/// A file's path as its table tells it.
pub(super) fn in_table(table: Table, file: &DataFile) -> &str {
    file.path.strip_prefix(table.name()).map_or(file.path.as_str(), |path| path.trim_start_matches('/'))
}

/// The action that adds a file which was published, or is, at this time.
pub(super) fn add(table: Table, found: PartitionFile<'_>, at: DateTime<Utc>) -> Add {
    let PartitionFile { dt: day, pipeline: name, file } = found;
    let [dt, pipeline] = PARTITION_COLUMNS.map(str::to_owned);
    Add {
        path: in_table(table, file).to_owned(),
        partition_values: [(dt, Some(day.to_string())), (pipeline, Some(name.to_owned()))].into(),
        size: i64::try_from(file.bytes).unwrap_or(i64::MAX),
        modification_time: at.timestamp_millis(),
        data_change: true,
        stats: Some(file.stats.to_string()),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    }
}

fn app_id(pipeline: &str) -> String {
    format!("huopan/{pipeline}")
}

/// Whether somebody else's commit went first, so that reading again and redoing may help.
pub(super) fn is_conflict(error: &DeltaTableError) -> bool {
    use TransactionError::{CommitConflict, MaxCommitAttempts, VersionAlreadyExists};
    match error {
        DeltaTableError::VersionAlreadyExists(_) => true,
        DeltaTableError::Transaction { source } => {
            matches!(source, CommitConflict(_) | MaxCommitAttempts(_) | VersionAlreadyExists(_))
        }
        _ => false,
    }
}

pub(super) fn failed(verb: &str, table: Table, source: DeltaTableError) -> Error {
    let message = format!("the Delta table `{table}` cannot be {verb}");
    let error = match is_outage(&source) {
        true => Error::new(Kind::Unavailable, message)
            .with_hint("the lake's store does not answer as it should; try again later, or ask `huopan doctor`"),
        false if is_full(&source) => Error::storage(message).with_hint(DISK_IS_FULL),
        false => Error::storage(message)
            .with_hint("`huopan lake verify` says which file of the lake is damaged, and what to do about it"),
    };
    error.caused_by(source)
}

pub(super) fn contended(table: Table) -> Error {
    let message = format!("other writers of the Delta table `{table}` went first {CONFLICTS_MAX} times");
    Error::new(Kind::Conflict, message).with_hint("try again when they are done")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_from_a_damaged_file() {
        let hint = |kind: std::io::ErrorKind| {
            let source = Box::new(std::io::Error::from(kind));
            let error = object_store::Error::Generic { store: "LocalFileSystem", source };
            failed("created", Table::Offers, DeltaTableError::ObjectStore { source: error }).hint().map(str::to_owned)
        };
        assert_eq!(hint(std::io::ErrorKind::StorageFull).as_deref(), Some(DISK_IS_FULL));
        assert!(hint(std::io::ErrorKind::InvalidData).unwrap().contains("lake verify"));
    }
}
