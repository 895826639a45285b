//! Small files of a partition → one file of the same rows in the same order.
//!
//! Takes what is published; gives publications of [`Change::Optimize`]. A reader sees a table's files of a day as they
//! were or as they are, never both; `runs` and the feed know nothing of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use chrono::{DateTime, NaiveDate, Utc};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::runtime::Handle;

use crate::base::{Error, Result};
use crate::load::log::{Change, DataFile};
use crate::load::parquet::OPTIMIZED;
use crate::load::publish::{Published, Turn, Upkeep};
use crate::load::{State, TableWriter, Target, WriterOptions};
use crate::store::Store;
use crate::transform::contract::Table;

/// Rows in one batch.
const BATCH_ROWS: u64 = 16_384;
/// Decoded bytes in one batch, about: a response may have megabytes.
const BATCH_BYTES: u64 = 8 << 20;

/// What is merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The tables.
    pub tables: Vec<Table>,
    /// Neighbouring files are merged up to this size; one of more than half of it is left alone.
    pub file_bytes: u64,
    /// A partition is left alone while it has fewer small files.
    pub files_min: usize,
    /// No further day is begun after this many bytes.
    pub bytes_max: u64,
}

impl Default for Wanted {
    fn default() -> Self {
        let file_bytes = WriterOptions::default().file_bytes as u64;
        Self { tables: Table::ALL.to_vec(), file_bytes, files_min: 2, bytes_max: u64::MAX }
    }
}

/// Neighbouring files of a table's day that become one.
#[derive(Debug, Clone, PartialEq)]
pub struct Merge {
    /// The day.
    pub dt: NaiveDate,
    /// The table.
    pub table: Table,
    /// All its files of that day, in their order: each alone, or with those it is merged with.
    pub groups: Vec<Vec<DataFile>>,
}

impl Merge {
    /// The files that are replaced.
    pub fn replaced(&self) -> impl Iterator<Item = &DataFile> {
        self.groups.iter().filter(|group| group.len() > 1).flatten()
    }

    /// How many files replace them.
    #[must_use]
    pub fn merged(&self) -> usize {
        self.groups.iter().filter(|group| group.len() > 1).count()
    }

    fn bytes(&self) -> u64 {
        self.replaced().map(|file| file.bytes).sum()
    }
}

/// What would be merged of a pipeline, by day.
#[must_use]
pub fn plan(state: &State, wanted: &Wanted) -> BTreeMap<NaiveDate, Vec<Merge>> {
    let mut plan: BTreeMap<NaiveDate, Vec<Merge>> = BTreeMap::new();
    for &table in &wanted.tables {
        let mut days: BTreeMap<NaiveDate, Vec<&DataFile>> = BTreeMap::new();
        for (dt, file) in state.files(table) {
            days.entry(dt).or_default().push(file);
        }
        for (dt, files) in days {
            let merge = Merge { dt, table, groups: groups(&files, wanted.file_bytes) };
            if merge.merged() > 0 && merge.replaced().count() >= wanted.files_min {
                plan.entry(dt).or_default().push(merge);
            }
        }
    }
    let mut bytes = 0;
    plan.retain(|_, merges| {
        let goes = bytes < wanted.bytes_max;
        bytes += merges.iter().map(Merge::bytes).sum::<u64>();
        goes
    });
    plan
}

/// Small neighbours together, up to `file_bytes`; a large file stays alone and parts those beside it.
fn groups(files: &[&DataFile], file_bytes: u64) -> Vec<Vec<DataFile>> {
    let mut groups: Vec<Vec<DataFile>> = Vec::new();
    let (mut open, mut bytes) = (false, 0);
    for &file in files {
        let is_small = file.bytes <= file_bytes / 2;
        match groups.last_mut().filter(|_| open && is_small && bytes + file.bytes <= file_bytes) {
            Some(group) => group.push(file.clone()),
            None => {
                groups.push(vec![file.clone()]);
                bytes = 0;
            }
        }
        (open, bytes) = (is_small, bytes + file.bytes);
    }
    groups
}

/// What was merged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Optimized {
    /// Publications made: one per day.
    pub publications: u64,
    /// Files replaced.
    pub files_before: u64,
    /// Files in their place.
    pub files_after: u64,
    /// Bytes of the files replaced.
    pub bytes_before: u64,
    /// Bytes of the files in their place.
    pub bytes_after: u64,
}

/// Merges what is wanted of a pipeline whose turn it is.
///
/// # Errors
/// `Storage`, `Data` of files that cannot be read; `Conflict` when the lock is lost.
pub async fn optimize(
    store: &Store,
    pipeline: &str,
    turn: &Turn<'_>,
    wanted: &Wanted,
    now: DateTime<Utc>,
) -> Result<Optimized> {
    let mut done = Optimized::default();
    let state = turn.state(store, pipeline).await?;
    for (dt, merges) in plan(&state, wanted) {
        let (store_, seq, file_bytes) = (store.clone(), turn.next_seq(), wanted.file_bytes);
        let (pipeline_, run_id) = (pipeline.to_owned(), String::new());
        let target = Target { table: Table::Runs, dt, pipeline: pipeline_, run_id, seq };
        let written = tokio::task::spawn_blocking(move || write_day(&store_, &target, &merges, file_bytes)).await;
        let (files, of_day) =
            written.map_err(|source| Error::internal("merging files ended early").caused_by(source))??;
        // Each changes its own day alone.
        let after = state.seq + done.publications;
        let upkeep = Upkeep { pipeline: pipeline.to_owned(), after, dt, now, change: Change::Optimize, files };
        match turn.change(store, upkeep).await? {
            Published::Done(_) => tracing::info!(pipeline, %dt, files = of_day.files_before, "small files merged"),
            Published::Lost(other) => return Err(lost(pipeline, other.seq)),
        }
        done = Optimized {
            publications: done.publications + 1,
            files_before: done.files_before + of_day.files_before,
            files_after: done.files_after + of_day.files_after,
            bytes_before: done.bytes_before + of_day.bytes_before,
            bytes_after: done.bytes_after + of_day.bytes_after,
        };
    }
    Ok(done)
}

/// The error of a number that somebody else decided first.
pub(super) fn lost(pipeline: &str, seq: u64) -> Error {
    let message = format!("publication {seq} of pipeline `{pipeline}` was decided by somebody else first");
    Error::new(crate::base::Kind::Conflict, message).with_hint("start it again: nothing was changed by this one")
}

/// All files of the tables' day after the merges. Blocking.
fn write_day(
    store: &Store,
    target: &Target,
    merges: &[Merge],
    file_bytes: u64,
) -> Result<(BTreeMap<Table, Vec<DataFile>>, Optimized)> {
    let (mut files, mut done) = (BTreeMap::new(), Optimized::default());
    for merge in merges {
        let mut of_table = Vec::new();
        for (number, group) in merge.groups.iter().enumerate() {
            if let [file] = &group[..] {
                of_table.push(file.clone());
                continue;
            }
            let run_id = format!("{OPTIMIZED}{number}");
            let written =
                write_group(store, Target { table: merge.table, run_id, ..target.clone() }, group, file_bytes)?;
            done.files_before += group.len() as u64;
            done.files_after += written.len() as u64;
            done.bytes_before += group.iter().map(|file| file.bytes).sum::<u64>();
            done.bytes_after += written.iter().map(|file| file.bytes).sum::<u64>();
            of_table.extend(written);
        }
        files.insert(merge.table, of_table);
    }
    Ok((files, done))
}

fn write_group(store: &Store, target: Target, group: &[DataFile], file_bytes: u64) -> Result<Vec<DataFile>> {
    let table = target.table;
    // Compression may come out a little worse: a second file of a few rows would be no gain.
    let file_bytes = usize::try_from(file_bytes + file_bytes / 8).unwrap_or(usize::MAX);
    let options = WriterOptions { file_bytes, ..WriterOptions::default() };
    let mut writer = TableWriter::new(store, target, options)?;
    for file in group {
        copy(store, file, table, &mut writer)?;
    }
    let written = writer.finish()?;
    let rows = |files: &[DataFile]| files.iter().map(|file| file.rows).sum::<u64>();
    if rows(&written) != rows(group) {
        let message = format!("merged files of `{table}` have {} rows instead of {}", rows(&written), rows(group));
        return Err(Error::data(message).with_hint("`huopan lake verify` says which file is damaged"));
    }
    Ok(written)
}

/// Writes a file's rows, with every column of the table's contract.
fn copy(store: &Store, file: &DataFile, table: Table, writer: &mut TableWriter) -> Result<()> {
    let broken = |source: Box<dyn std::error::Error + Send + Sync>| {
        Error::storage(format!("cannot read the published file `{}`", file.path)).caused_by(source)
    };
    let bytes = Handle::current().block_on(store.get(&file.path))?;
    let bytes = bytes.ok_or_else(|| {
        Error::storage(format!("the published file `{}` is missing", file.path))
            .with_hint("`huopan lake verify` says what to do")
    })?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|source| broken(source.into()))?;
    let groups = builder.metadata().row_groups();
    let decoded: u64 = groups.iter().map(|group| u64::try_from(group.total_byte_size()).unwrap_or(0)).sum();
    let rows = (BATCH_BYTES / (decoded / file.rows.max(1)).max(1)).clamp(1, BATCH_ROWS);
    let reader = builder.with_batch_size(usize::try_from(rows).unwrap_or(1)).build();
    for batch in reader.map_err(|source| broken(source.into()))? {
        writer.write(&conform(&batch.map_err(|source| broken(source.into()))?, table)?)?;
    }
    Ok(())
}

/// The rows with the columns of the contract: what a file of an earlier version lacks is null.
fn conform(batch: &RecordBatch, table: Table) -> Result<RecordBatch> {
    let schema = table.file_schema()?;
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => Ok(Arc::clone(column)),
        None if field.is_nullable() => Ok(new_null_array(field.data_type(), batch.num_rows())),
        None => Err(Error::data(format!("a published file of `{table}` has no column `{}`", field.name()))),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(schema, columns)
        .map_err(|source| Error::data(format!("a published file of `{table}` has other columns")).caused_by(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sizes: &[u64], expected: &[&[u64]]) {
        let file = |&bytes: &u64| DataFile {
            path: String::new(),
            bytes,
            rows: 1,
            stats: serde_json::Value::Null,
            digest: None,
        };
        let files: Vec<DataFile> = sizes.iter().map(file).collect();
        let grouped = groups(&files.iter().collect::<Vec<_>>(), 100);
        let sizes: Vec<Vec<u64>> = grouped.iter().map(|group| group.iter().map(|file| file.bytes).collect()).collect();
        assert_eq!(sizes, expected);
    }

    #[test]
    fn days_are_merged_until_so_many_bytes_and_partitions_from_so_many_files_on() {
        let mut state = State::new("a");
        for (seq, dt, files) in [(1, "2026-11-18", 3), (2, "2026-11-19", 2), (3, "2026-11-20", 3)] {
            let file =
                |number| serde_json::json!({"path": format!("{dt}{number}"), "bytes": 10, "rows": 1, "stats": {}});
            let files: Vec<_> = (0..files).map(file).collect();
            let entry = serde_json::from_value(serde_json::json!({
                "seq": seq, "pipeline": "a", "dt": dt, "run_id": dt, "attempt": 1, "picture": false,
                "published_at": "2026-11-20T00:00:00Z", "huopan_version": "0", "contract_version": "1",
                "tables": {"calls": files}
            }));
            state.apply(entry.unwrap());
        }
        let days = |files_min, bytes_max| {
            let wanted = Wanted { tables: vec![Table::Calls], files_min, bytes_max, ..Wanted::default() };
            plan(&state, &wanted).into_keys().map(|dt| dt.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(days(2, u64::MAX), ["2026-11-18", "2026-11-19", "2026-11-20"]);
        assert_eq!(days(3, u64::MAX), ["2026-11-18", "2026-11-20"]);
        assert_eq!(days(2, 31), ["2026-11-18", "2026-11-19"], "what has begun is ended");
        assert_eq!(days(2, 30), ["2026-11-18"]);
        assert_eq!(days(2, 0), [""; 0]);
    }

    #[test]
    fn small_neighbours_come_together_and_large_files_stay_alone() {
        check(&[], &[]);
        check(&[10], &[&[10]]);
        check(&[10, 20, 30], &[&[10, 20, 30]]);
        check(&[50, 50, 1], &[&[50, 50], &[1]]);
        check(&[10, 51, 20, 30], &[&[10], &[51], &[20, 30]]);
        check(&[51, 10, 10], &[&[51], &[10, 10]]);
        check(&[120, 130], &[&[120], &[130]]);
    }
}
