//! The publish log: one entry per publication, created conditionally. An entry *is* the decision.
//!
//! `<lake>/_huopan/publish/<pipeline>/<seq, 20 digits>.json`
//!
//! Invariant: an entry is written once and never changed.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};
use crate::store::{Created, Store};
use crate::transform::contract::Table;

/// Where the log stands in the lake.
const FOLDER: &str = "_huopan/publish";
/// Entries read at once.
const READS_IN_FLIGHT: usize = 32;

/// One publication (or one failed attempt, which only adds to the journals).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts the pipeline's entries, from 1.
    pub seq: u64,
    /// The pipeline.
    pub pipeline: String,
    /// The day.
    pub dt: NaiveDate,
    /// The run; empty: none, the entry only keeps its number from a holder of the lock whose time was up.
    pub run_id: String,
    /// Its attempt.
    pub attempt: i32,
    /// `true`: the pictures of `(dt, pipeline)` are replaced by the files in here;
    /// `false`: an attempt that published none, only journal files are in here.
    pub picture: bool,
    /// When it was decided.
    pub published_at: DateTime<Utc>,
    /// The version that wrote it.
    pub huopan_version: String,
    /// The version of the tables' contract it was written under.
    pub contract_version: String,
    /// The greatest number of the run's calls that is in `calls`, by this entry or an earlier one of the run.
    #[serde(default)]
    pub calls_to: i64,
    /// The files by table name. A picture table without files is empty that day.
    pub tables: BTreeMap<String, Vec<DataFile>>,
}

/// One Parquet file of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataFile {
    /// Relative to the lake: `offers/dt=2026-11-20/pipeline=nightly/….parquet`.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// Column statistics in Delta's form: `numRecords`, `minValues`, `maxValues`, `nullCount`.
    pub stats: serde_json::Value,
}

/// The outcome of [`append`].
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub enum Appended {
    /// The entry stands in the log, durable: the publication is decided now.
    Done,
    /// This very entry stood there before: it was decided then.
    Already,
    /// Somebody else decided this number before, with the entry given here.
    Lost(Box<Entry>),
}

impl Entry {
    /// Where the entry of a pipeline's publication stands.
    #[must_use]
    pub fn path(pipeline: &str, seq: u64) -> String {
        format!("{FOLDER}/{pipeline}/{seq:020}.json")
    }

    /// Its files of a table.
    #[must_use]
    pub fn files(&self, table: Table) -> &[DataFile] {
        self.tables.get(table.name()).map_or(&[], Vec::as_slice)
    }
}

/// The number of the pipeline's newest entry; 0: there is none.
///
/// # Errors
/// `Storage` when the log cannot be listed.
pub async fn last_seq(store: &Store, pipeline: &str) -> Result<u64> {
    let found = store.list(&format!("{FOLDER}/{pipeline}")).await?;
    Ok(found.iter().filter_map(|meta| parse_path(&meta.path)).map(|(_, seq)| seq).max().unwrap_or(0))
}

/// One entry; `None`: there is none of this number.
///
/// # Errors
/// `Storage` when it cannot be read, `Data` when it is not what huopan writes.
pub async fn read(store: &Store, pipeline: &str, seq: u64) -> Result<Option<Entry>> {
    let path = Entry::path(pipeline, seq);
    let Some(bytes) = store.get(&path).await? else { return Ok(None) };
    let entry: Entry = serde_json::from_slice(&bytes).map_err(|source| {
        Error::data(format!("`{path}` is not a publish-log entry"))
            .with_hint("it was written by a newer huopan, or changed by hand: restore it")
            .caused_by(source)
    })?;
    if entry.seq == seq && entry.pipeline == pipeline {
        Ok(Some(entry))
    } else {
        Err(Error::data(format!("`{path}` holds the entry {} of `{}`", entry.seq, entry.pipeline)))
    }
}

/// Every entry of every pipeline, by pipeline, then number.
///
/// # Errors
/// As [`read`].
pub async fn read_all(store: &Store) -> Result<Vec<Entry>> {
    let found = store.list(FOLDER).await?;
    let names = found.iter().filter_map(|meta| parse_path(&meta.path));
    let reads = names.map(|(pipeline, seq)| async move { read(store, pipeline, seq).await });
    let entries: Vec<Option<Entry>> = stream::iter(reads).buffered(READS_IN_FLIGHT).try_collect().await?;
    Ok(entries.into_iter().flatten().collect())
}

/// Creates the entry, unless its number is taken. Of any number of callers at once, one gets [`Appended::Done`]; whoever
/// asks again with the same entry gets [`Appended::Already`].
///
/// # Errors
/// `Storage` when it cannot be written, `Internal` when it would leave a gap in the numbers.
pub async fn append(store: &Store, entry: &Entry) -> Result<Appended> {
    let path = Entry::path(&entry.pipeline, entry.seq);
    let follows = match entry.seq {
        0 => false,
        1 => true,
        seq => store.get(&Entry::path(&entry.pipeline, seq - 1)).await?.is_some(),
    };
    if !follows {
        return Err(Error::internal(format!("`{path}` does not follow an entry")));
    }
    let mut bytes = serde_json::to_vec(entry)
        .map_err(|source| Error::internal(format!("`{path}` cannot be written as JSON")).caused_by(source))?;
    bytes.push(b'\n');
    match store.create(&path, bytes.into()).await? {
        Created::Done => Ok(Appended::Done),
        Created::Exists => match read(store, &entry.pipeline, entry.seq).await? {
            Some(decided) if decided == *entry => Ok(Appended::Already),
            Some(decided) => Ok(Appended::Lost(Box::new(decided))),
            None => Err(Error::storage(format!("`{path}` was there and is gone"))),
        },
    }
}

/// Pipeline and number of an entry's path; `None`: no entry.
fn parse_path(path: &str) -> Option<(&str, u64)> {
    let (pipeline, name) = path.strip_prefix(FOLDER)?.strip_prefix('/')?.split_once('/')?;
    let digits = name.strip_suffix(".json").filter(|digits| digits.len() == 20)?;
    Some((pipeline, digits.parse().ok()?))
}
