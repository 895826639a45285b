//! The Delta tables: created from their contracts, one commit per table and publish-log entry.
//!
//! A commit carries the transaction `(huopan/<pipeline>, seq)`: one that is there already is not made again.
//!
//! | table | commit |
//! |---|---|
//! | picture | removes every active file of `(dt, pipeline)`, adds the entry's |
//! | journal | adds the entry's files |
//!
//! Invariant: the protocol stays at reader 1, writer ≤ 4: no deletion vectors, no column mapping.

use std::sync::Arc;

use deltalake_core::errors::DeltaTableError;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Add, StructField, StructType, Transaction};
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, FilterOp, FilterValue, TableProperty};
use futures::TryStreamExt;
use object_store::prefix::PrefixStore;

use crate::base::{Error, Kind, Result};
use crate::store::Store;
use crate::transform::contract::{PARTITION_COLUMNS, Table};

use super::log::{DataFile, Entry};

/// Times a commit is redone after somebody else's went first.
const CONFLICTS_MAX: u32 = 20;
/// Commits between two checkpoints of a table's log.
const CHECKPOINT_INTERVAL: &str = "10";

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

/// Commits what the entry says about the table, unless it is there. Entries of a pipeline must come in their order.
/// `before` is the table as it was before the entry was decided, where somebody has it: it need not be read again, and
/// cannot have the commit.
///
/// # Errors
/// `Storage` when the log cannot be read or written, `Conflict` when other writers kept going first.
pub async fn commit(store: &Store, table: Table, entry: &Entry, before: Option<DeltaTable>) -> Result<Committed> {
    // `runs` ends a publication: its transaction says that all tables have it, also when it got no rows.
    let nothing = if table.is_journal() { entry.files(table).is_empty() } else { !entry.picture };
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
    let files = Arc::new(PrefixStore::new(store.object_store(), table.name()));
    Ok(default_logstore(files, store.root_object_store(), &url, &StorageConfig::default()))
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
    let mut actions: Vec<Action> = if table.is_journal() { Vec::new() } else { removes(delta, entry).await? };
    actions.extend(entry.files(table).iter().map(|file| Action::Add(add(table, entry, file))));
    let seq = i64::try_from(entry.seq).map_err(|source| DeltaTableError::GenericError { source: Box::new(source) })?;
    let properties = CommitProperties::default()
        .with_application_transaction(Transaction::new(app_id(&entry.pipeline), seq))
        .with_metadata([("huopan.run_id".to_owned(), entry.run_id.clone().into())]);
    let state = delta.snapshot()?;
    CommitBuilder::from(properties)
        .with_actions(actions)
        .build(Some(state), delta.log_store(), operation(table, entry))
        .await
        .map(|_| ())
}

/// What the commit claims to have read and replaced. Without the predicate, two first writers of a partition would
/// both add their rows.
fn operation(table: Table, entry: &Entry) -> DeltaOperation {
    let partition_by = Some(PARTITION_COLUMNS.map(str::to_owned).to_vec());
    if table.is_journal() {
        return DeltaOperation::Write { mode: SaveMode::Append, partition_by, predicate: None };
    }
    let pipeline = entry.pipeline.replace('\'', "''");
    let predicate = Some(format!("dt = '{}' AND pipeline = '{pipeline}'", entry.dt));
    DeltaOperation::Write { mode: SaveMode::Overwrite, partition_by, predicate }
}

async fn removes(delta: &DeltaTable, entry: &Entry) -> Result<Vec<Action>, DeltaTableError> {
    let dt = entry.dt.to_string();
    let partition = [
        ("dt", FilterOp::Eq, FilterValue::Scalar(&dt)),
        ("pipeline", FilterOp::Eq, FilterValue::Scalar(&entry.pipeline)),
    ];
    let active = delta.get_active_add_actions_by_partitions(&partition);
    active.map_ok(|file| Action::Remove(file.remove_action(true))).try_collect().await
}

fn add(table: Table, entry: &Entry, file: &DataFile) -> Add {
    let path = file.path.strip_prefix(table.name()).map_or(file.path.as_str(), |path| path.trim_start_matches('/'));
    let [dt, pipeline] = PARTITION_COLUMNS.map(str::to_owned);
    Add {
        path: path.to_owned(),
        partition_values: [(dt, Some(entry.dt.to_string())), (pipeline, Some(entry.pipeline.clone()))].into(),
        size: i64::try_from(file.bytes).unwrap_or(i64::MAX),
        modification_time: entry.published_at.timestamp_millis(),
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
fn is_conflict(error: &DeltaTableError) -> bool {
    use TransactionError::{CommitConflict, MaxCommitAttempts, VersionAlreadyExists};
    match error {
        DeltaTableError::VersionAlreadyExists(_) => true,
        DeltaTableError::Transaction { source } => {
            matches!(source, CommitConflict(_) | MaxCommitAttempts(_) | VersionAlreadyExists(_))
        }
        _ => false,
    }
}

fn failed(verb: &str, table: Table, source: DeltaTableError) -> Error {
    Error::storage(format!("the Delta table `{table}` cannot be {verb}")).caused_by(source)
}

fn contended(table: Table) -> Error {
    let message = format!("other writers of the Delta table `{table}` went first {CONFLICTS_MAX} times");
    Error::new(Kind::Conflict, message).with_hint("try again when they are done")
}
