//! The publish log: one entry per publication, created conditionally. An entry *is* the decision.
//!
//! `<lake>/_huopan/publish/<pipeline>/<seq, 20 digits>.json`, and now and then a checkpoint beside it
//! (`<seq>.checkpoint.json.zst`, see [`super::checkpoint`]).
//!
//! An entry ends with the digest of what stands before it: one that was changed by hand, or by a disk, is told.
//!
//! Invariant: an entry is written once and never changed.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use chrono::{DateTime, NaiveDate, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};
use crate::store::{Created, Meta, Store};
use crate::transform::contract::Table;

use super::parquet::digest;

/// Where the log stands in the lake.
pub(super) const FOLDER: &str = "_huopan/publish";
/// How the name of a checkpoint ends.
const CHECKPOINT: &str = ".checkpoint.json.zst";
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
    /// What it does to what was published before.
    #[serde(default, skip_serializing_if = "Change::is_run")]
    pub change: Change,
    /// The files by table name. A picture table without files is empty that day.
    pub tables: BTreeMap<String, Vec<DataFile>>,
}

/// What an entry does to what was published before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A run's: it replaces the pictures of its day, if it has any, and adds to the journals.
    #[default]
    Run,
    /// The same rows in other files: of each table in `tables`, these are all files of the entry's day now.
    Optimize,
    /// Nothing but what it takes away: of each table here, all days before this one.
    Expire(BTreeMap<String, NaiveDate>),
}

impl Change {
    fn is_run(&self) -> bool {
        *self == Self::Run
    }
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
    /// Of its bytes: `xxh3-128:` and 32 hexadecimal digits. `None`: written before there were digests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
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

/// What a pipeline's log consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The numbers of its entries, ascending, and when each was written.
    pub entries: BTreeMap<u64, Meta>,
    /// The numbers at which it has a checkpoint.
    pub checkpoints: BTreeMap<u64, Meta>,
}

impl Names {
    /// The number of the newest entry; 0: there is none.
    #[must_use]
    pub fn last(&self) -> u64 {
        let last = |names: &BTreeMap<u64, Meta>| names.last_key_value().map_or(0, |(&seq, _)| seq);
        last(&self.entries).max(last(&self.checkpoints))
    }

    /// The number of the checkpoint that the log begins with, if the entries up to it are not told one by one any more:
    /// `vacuum` has removed some of them, or all. `None`: the log goes back to its first entry, or to nothing that can be
    /// read.
    #[must_use]
    pub fn base(&self) -> Option<u64> {
        let first = self.entries.keys().next().copied();
        let at_first = first.filter(|first| self.checkpoints.contains_key(first));
        if first == Some(1) { None } else { at_first.or_else(|| self.checkpoints.keys().next().copied()) }
    }
}

/// The log of every pipeline, up to its newest entry.
///
/// # Errors
/// `Storage` when it cannot be listed.
pub async fn names(store: &Store) -> Result<BTreeMap<String, Names>> {
    let listed = list(store, FOLDER).await?.into_iter().map(|(pipeline, names)| async move {
        let names = to_the_end(store, &pipeline, names).await?;
        Ok::<_, Error>((pipeline, names))
    });
    stream::iter(listed).buffer_unordered(READS_IN_FLIGHT).try_collect().await
}

/// The log of one pipeline, up to its newest entry.
///
/// # Errors
/// `Storage` when it cannot be listed.
pub async fn names_of(store: &Store, pipeline: &str) -> Result<Names> {
    let mut found = list(store, &format!("{FOLDER}/{pipeline}")).await?;
    to_the_end(store, pipeline, found.remove(pipeline).unwrap_or_default()).await
}

/// The log of one pipeline, every entry and the checkpoint that it begins with in it.
///
/// # Errors
/// `Storage` when it cannot be listed.
pub async fn whole_of(store: &Store, pipeline: &str) -> Result<Names> {
    let mut names = names_of(store, pipeline).await?;
    for seq in (1..=names.last()).rev() {
        if names.entries.contains_key(&seq) {
            continue;
        }
        match store.meta(&Entry::path(pipeline, seq)).await? {
            Some(meta) => drop(names.entries.insert(seq, meta)),
            // They are removed from the oldest on.
            None if names.entries.range(..seq).next().is_none() => break,
            None => {}
        }
    }
    from_its_base(store, pipeline, names).await
}

/// Adds what a listing does not show yet, which some stores take a while for: the entries that follow the newest one, and
/// the checkpoint that the log begins with. Each is asked for by its name.
async fn to_the_end(store: &Store, pipeline: &str, mut names: Names) -> Result<Names> {
    loop {
        let next = names.last() + 1;
        match store.meta(&Entry::path(pipeline, next)).await? {
            Some(meta) => names.entries.insert(next, meta),
            None => return from_its_base(store, pipeline, names).await,
        };
    }
}

/// Adds the checkpoint at the first entry, behind which `vacuum` has removed the others.
async fn from_its_base(store: &Store, pipeline: &str, mut names: Names) -> Result<Names> {
    if let Some(first) = names.entries.keys().next().copied()
        && first > 1
        && !names.checkpoints.contains_key(&first)
        && let Some(meta) = store.meta(&checkpoint_path(pipeline, first)).await?
    {
        names.checkpoints.insert(first, meta);
    }
    Ok(names)
}

async fn list(store: &Store, folder: &str) -> Result<BTreeMap<String, Names>> {
    let mut found: BTreeMap<String, Names> = BTreeMap::new();
    for meta in store.list(folder).await? {
        let Some((pipeline, name)) = parse_path(&meta.path) else { continue };
        let names = found.entry(pipeline.to_owned()).or_default();
        match name {
            Name::Entry(seq) => names.entries.insert(seq, meta),
            Name::Checkpoint(seq) => names.checkpoints.insert(seq, meta),
        };
    }
    Ok(found)
}

/// The number of the pipeline's newest entry; 0: there is none.
///
/// # Errors
/// `Storage` when the log cannot be listed.
pub async fn last_seq(store: &Store, pipeline: &str) -> Result<u64> {
    Ok(names_of(store, pipeline).await?.last())
}

/// One entry; `None`: there is none of this number.
///
/// # Errors
/// `Storage` when it cannot be read, `Data` when it is not what huopan writes.
pub async fn read(store: &Store, pipeline: &str, seq: u64) -> Result<Option<Entry>> {
    let path = Entry::path(pipeline, seq);
    let Some(bytes) = store.get(&path).await? else { return Ok(None) };
    if !is_sound(&bytes) {
        return Err(Error::data(format!("`{path}` is not what was written: its digest is that of other bytes"))
            .with_hint("restore it from a copy of the lake"));
    }
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

/// The entries of these numbers, which must all be there.
///
/// # Errors
/// As [`read`]; `Data` when one is missing.
pub async fn read_span(store: &Store, pipeline: &str, span: RangeInclusive<u64>) -> Result<Vec<Entry>> {
    let reads = span.map(|seq| async move {
        let missing = || {
            Error::data(format!("the publish-log entry `{}` is missing", Entry::path(pipeline, seq)))
                .with_hint("restore it: what was published after it cannot be told without it")
        };
        read(store, pipeline, seq).await?.ok_or_else(missing)
    });
    stream::iter(reads).buffered(READS_IN_FLIGHT).try_collect().await
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
    let bytes = serde_json::to_vec(entry)
        .map_err(|source| Error::internal(format!("`{path}` cannot be written as JSON")).caused_by(source))?;
    match store.create(&path, sealed(bytes).into()).await? {
        Created::Done => Ok(Appended::Done),
        Created::Exists => match read(store, &entry.pipeline, entry.seq).await? {
            Some(decided) if decided == *entry => Ok(Appended::Already),
            Some(decided) => Ok(Appended::Lost(Box::new(decided))),
            None => Err(Error::storage(format!("`{path}` was there and is gone"))),
        },
    }
}

/// What stands before an entry's own digest, the last of its fields.
const SEAL: &[u8] = b",\"digest\":\"";
/// … and behind it.
const END: &[u8] = b"\"}\n";

/// Adds the digest of all that stands before it to an entry.
fn sealed(mut json: Vec<u8>) -> Vec<u8> {
    // The object goes on.
    json.pop();
    let digest = digest(&json);
    [&json, SEAL, digest.as_bytes(), END].concat()
}

/// Whether an entry is what was written, as far as it says; those of early versions have no digest.
fn is_sound(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_suffix(END) else { return true };
    let Some(at) = rest.windows(SEAL.len()).rposition(|part| part == SEAL) else { return true };
    let stated = &rest[at + SEAL.len()..];
    stated == digest(&rest[..at]).as_bytes()
}

/// What a file of the log is.
enum Name {
    Entry(u64),
    Checkpoint(u64),
}

/// Pipeline and kind of a path in the log; `None`: none of ours.
fn parse_path(path: &str) -> Option<(&str, Name)> {
    let (pipeline, name) = path.strip_prefix(FOLDER)?.strip_prefix('/')?.split_once('/')?;
    let number = |digits: &str| digits.parse().ok().filter(|_| digits.len() == 20);
    let name = match name.strip_suffix(CHECKPOINT) {
        Some(digits) => Name::Checkpoint(number(digits)?),
        None => Name::Entry(number(name.strip_suffix(".json")?)?),
    };
    Some((pipeline, name))
}

/// Where the checkpoint at a number stands.
pub(super) fn checkpoint_path(pipeline: &str, seq: u64) -> String {
    format!("{FOLDER}/{pipeline}/{seq:020}{CHECKPOINT}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_which_any_figure_was_changed_is_told() {
        let json = br#"{"seq":1,"tables":{"offers":[{"rows":12,"stats":{"minValues":{"offer_id":610}},"digest":"xxh3-128:00"}]}}"#;
        let written = sealed(json.to_vec());
        let value: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!((&value["seq"], &value["tables"]["offers"][0]["rows"]), (&1.into(), &12.into()));
        assert!(is_sound(&written));
        for at in (0..written.len()).filter(|at| written[*at].is_ascii_digit()) {
            let mut changed = written.clone();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert!(!is_sound(&changed), "{}", String::from_utf8_lossy(&changed));
        }
        // Those of early versions say nothing of themselves.
        assert!(is_sound(&[json, &b"\n"[..]].concat()));
    }
}
