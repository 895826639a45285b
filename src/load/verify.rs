//! Whether a lake is what its logs say: the publish log is whole, every file that it names is there with its size, rows
//! and digest, and the Delta tables hold the same files.
//!
//! Takes a lake; gives what is wrong, each with what to do. Nothing is changed.
//!
//! Invariant: a problem is one finding about one thing; what can be told in spite of it is told, too.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;

use crate::base::error::without_backtrace;
use crate::base::{Error, Kind, Result};
use crate::land::Zone;
use crate::store::{Meta, Store};
use crate::transform::contract::Table;

use super::agree::{RESTORE_ENTRIES, is_ours, partition};
use super::checkpoint;
use super::delta::{self, ActiveFile};
use super::log::{self, DataFile, Entry, Names};
use super::lost;
use super::parquet::digest;
use super::snapshot::Snapshot;

/// Files read at once.
const READS_IN_FLIGHT: usize = 4;
/// Times the logs are compared anew when somebody publishes meanwhile.
const COMPARISONS_MAX: usize = 3;

/// How closely files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Names and sizes.
    Quick,
    /// Every byte.
    Full,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, table or publication.
    pub subject: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// Whether it concerns earlier publications only: what is published now is whole in spite of it.
    pub is_past: bool,
}

impl Problem {
    /// A problem.
    pub fn new(subject: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { subject: subject.into(), what: what.into(), remedy: remedy.into(), is_past: false }
    }
}

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Publications that are still in the log, one by one.
    pub publications: u64,
    /// Files they name.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their rows.
    pub rows: u64,
    /// Files whose bytes could be compared with a digest.
    pub digests: u64,
    /// Files that were read and have none: they were written before there were digests.
    pub undigested: u64,
    /// Parquet files that no publication names: readers do not see them.
    pub unnamed: u64,
    /// Their bytes.
    pub unnamed_bytes: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Of a file that was replaced.
const OF_THE_PAST: &str = "only earlier publications name it: the feed may need it, and Delta's time travel, other readers do not; restore it from a copy of the lake, or leave it: it is forgotten after `history_days`";
/// Its pictures can be read without them.
const RESTORE_FACTS: &str = "restore it from a copy of the lake; without it the next night lists whole shops, and its day cannot be rebuilt by `huopan replay`";
/// Of a publication that was decided last.
const COMPLETE: &str =
    "if nobody is publishing right now: run the pipeline, or `huopan lake optimize`: both complete it";
/// Of a Delta table that lost what it had, or has what nobody published.
const MEND: &str =
    "if nobody is publishing right now: `huopan lake optimize` makes the Delta table as the publish log says";

/// Of a file that nobody replaced and no publication names.
const OF_NO_PUBLICATION: &str =
    "the publish log has lost a publication of this day: restore the log's entries from a copy of the lake";

/// Verifies files and logs.
///
/// # Errors
/// `Storage`, `Unavailable` or `Denied` when the lake cannot be read at all.
pub async fn verify(store: &Store, depth: Depth) -> Result<Verified> {
    let mut verified = Verified::default();
    let mut named = Named::default();
    let mut whole = true;
    for (pipeline, names) in log::names(store).await? {
        match read_log(store, &pipeline, &names, &mut named, &mut verified).await {
            Ok(()) => {}
            Err(error) => {
                whole = false;
                let remedy = error.hint().unwrap_or("restore the publish log of the pipeline").to_owned();
                verified.problems.push(Problem::new(format!("pipeline {pipeline}"), error.to_string(), remedy));
            }
        }
    }
    let mut found = BTreeMap::new();
    for table in Table::ALL {
        let files = store.list(table.name()).await?;
        found.extend(files.into_iter().filter(is_data).map(|meta| (meta.path.clone(), meta)));
    }
    for path in named.files.keys().filter(|path| !found.contains_key(*path)).collect::<Vec<_>>() {
        // A listing may be late.
        found.extend(store.meta(path).await?.map(|meta| (meta.path.clone(), meta)));
    }
    check_names(&named, &found, whole, &mut verified);
    if depth == Depth::Full {
        let there =
            named.files.values().filter(|file| found.get(&file.path).is_some_and(|meta| meta.bytes == file.bytes));
        let checks = there.map(|file| check_bytes(store, file, &named));
        let checked: Vec<(bool, Option<Problem>)> =
            stream::iter(checks).buffer_unordered(READS_IN_FLIGHT).try_collect().await?;
        verified.digests = checked.iter().filter(|(digested, _)| *digested).count() as u64;
        verified.undigested = checked.len() as u64 - verified.digests;
        verified.problems.extend(checked.into_iter().filter_map(|(_, problem)| problem));
    }
    if whole {
        verified.problems.extend(compare_logs(store, &named).await?);
    }
    verified.problems.sort();
    verified.problems.dedup();
    Ok(verified)
}

/// The files that publications name.
#[derive(Default)]
struct Named {
    files: BTreeMap<String, DataFile>,
    /// The paths of those that are published now.
    now: BTreeSet<String>,
}

impl Named {
    /// The problem of one of them.
    fn problem(&self, file: &DataFile, what: impl Into<String>) -> Problem {
        match self.now.contains(&file.path) {
            true => Problem::new(&file.path, what, lost::remedy(&file.path)),
            false => Problem { is_past: true, ..Problem::new(&file.path, what, OF_THE_PAST) },
        }
    }
}

/// Reads all that a pipeline's log still has, and notes the files it names.
async fn read_log(
    store: &Store,
    pipeline: &str,
    names: &Names,
    named: &mut Named,
    verified: &mut Verified,
) -> Result<()> {
    let last = names.last();
    let base = names.base();
    let first = base.unwrap_or(1);
    for entry in log::read_span(store, pipeline, first..=last).await? {
        verified.publications += 1;
        named.files.extend(entry.tables.into_values().flatten().map(|file| (file.path.clone(), file)));
    }
    let mut before = Names::default();
    for (&seq, meta) in &names.checkpoints {
        // What it is worked out from without itself; the oldest one may be all that is left of its past.
        if base.is_none() || !before.checkpoints.is_empty() {
            let expected = checkpoint::state_at(store, pipeline, &before, seq).await?;
            before.checkpoints.insert(seq, meta.clone());
            if checkpoint::state_at(store, pipeline, &before, seq).await? != expected {
                let what = "this checkpoint of the publish log says something else than the entries before it";
                verified.problems.push(Problem::new(&meta.path, what, "delete it: the entries are what was decided"));
            }
        }
        before.checkpoints.insert(seq, meta.clone());
    }
    let state = checkpoint::state_of(store, pipeline, names.clone()).await?;
    for entry in state.pictures.values() {
        verified.problems.extend(check_facts(store, pipeline, entry).await?);
    }
    for table in Table::ALL {
        named.files.extend(state.files(table).map(|(_, file)| (file.path.clone(), file.clone())));
        named.now.extend(state.files(table).map(|(_, file)| file.path.clone()));
    }
    Ok(())
}

/// Whether what a run knew at its end is there: the next night goes on from it, and a replay needs it.
async fn check_facts(store: &Store, pipeline: &str, entry: &Entry) -> Result<Option<Problem>> {
    let Ok(run_id) = entry.run_id.parse() else { return Ok(None) };
    let zone = Zone::new(store.clone(), pipeline, entry.dt);
    let what = match zone.read_facts(&run_id).await {
        Ok(Some(_)) => return Ok(None),
        Ok(None) => "what the published run knew at its end is missing".to_owned(),
        Err(error) if error.kind() == Kind::Data => error.to_string(),
        Err(error) => return Err(error),
    };
    Ok(Some(Problem::new(zone.facts_path(&run_id), what, RESTORE_FACTS)))
}

fn is_data(meta: &Meta) -> bool {
    meta.path.ends_with(".parquet") && !meta.path.contains("/_delta_log/")
}

fn check_names(named: &Named, found: &BTreeMap<String, Meta>, whole: bool, verified: &mut Verified) {
    for file in named.files.values() {
        (verified.files, verified.bytes) = (verified.files + 1, verified.bytes + file.bytes);
        verified.rows += file.rows;
        let what = match found.get(&file.path) {
            None => "this published file is missing".to_owned(),
            Some(meta) if meta.bytes != file.bytes => {
                format!("this published file has {} bytes instead of {}", meta.bytes, file.bytes)
            }
            Some(_) => continue,
        };
        verified.problems.push(named.problem(file, what));
    }
    // Without its log it cannot be told what is nobody's.
    if whole {
        let unnamed = found.values().filter(|meta| !named.files.contains_key(&meta.path));
        (verified.unnamed, verified.unnamed_bytes) =
            unnamed.fold((0, 0), |(files, bytes), meta| (files + 1, bytes + meta.bytes));
    }
}

/// Whether a file's bytes have a digest to be compared with, and what is wrong with them.
async fn check_bytes(store: &Store, file: &DataFile, named: &Named) -> Result<(bool, Option<Problem>)> {
    let digested = file.digest.is_some();
    let Some(bytes) = store.get(&file.path).await? else {
        return Ok((digested, Some(named.problem(file, "this published file is gone since it was listed"))));
    };
    let (expected, rows) = (file.digest.clone(), file.rows);
    let wrong = tokio::task::spawn_blocking(move || wrong_bytes(bytes, expected.as_deref(), rows)).await;
    let wrong = wrong.map_err(|source| Error::internal("looking at a file ended early").caused_by(source))?;
    Ok((digested, wrong.map(|what| named.problem(file, what))))
}

fn wrong_bytes(bytes: Bytes, expected: Option<&str>, rows: u64) -> Option<String> {
    if let Some(expected) = expected {
        let found = digest(&bytes);
        if found != expected {
            return Some(format!("the bytes of this published file have changed: {found} instead of {expected}"));
        }
    }
    match SerializedFileReader::new(bytes) {
        Err(error) => Some(format!("this published file is no Parquet file: {error}")),
        Ok(reader) => {
            let found = u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0);
            (found != rows).then(|| format!("this published file has {found} rows instead of {rows}"))
        }
    }
}

/// Compares the files that the Delta tables and the publish log have active.
async fn compare_logs(store: &Store, named: &Named) -> Result<Vec<Problem>> {
    let mut comparisons = 1;
    loop {
        let snapshot = Snapshot::load(store).await?;
        let mut problems = Vec::new();
        for table in Table::ALL {
            problems.extend(compare_table(store, table, &snapshot, named).await?);
        }
        let again = Snapshot::load(store).await?;
        let seqs = |snapshot: &Snapshot| -> Vec<u64> {
            snapshot.pipelines().filter_map(|pipeline| Some(snapshot.state(pipeline)?.seq)).collect()
        };
        if problems.is_empty() || seqs(&snapshot) == seqs(&again) || comparisons == COMPARISONS_MAX {
            return Ok(problems);
        }
        comparisons += 1;
    }
}

async fn compare_table(store: &Store, table: Table, snapshot: &Snapshot, named: &Named) -> Result<Vec<Problem>> {
    let published = snapshot.files(table);
    let active = match delta::active_files(store, table).await {
        Ok(active) => active,
        // Nothing is known of a store that does not answer.
        Err(error) if error.kind() == Kind::Unavailable => return Err(error),
        Err(error) => return unreadable(store, table, &error).await,
    };
    let Some((delta, active)) = active else {
        let missing =
            || Problem::new(table.name(), "this Delta table is not there, and files of it are published", MEND);
        return Ok(if published.is_empty() { Vec::new() } else { vec![missing()] });
    };
    let mut problems = Vec::new();
    let mut is_log_cut = false;
    for pipeline in snapshot.pipelines() {
        let last = snapshot.state(pipeline).map_or(0, |state| state.seq);
        let committed = delta::committed_seq(&delta, table, pipeline).await?;
        if committed > last {
            is_log_cut = true;
            let what = format!("publication {committed} is in the Delta tables, and the publish log ends at {last}");
            problems.push(Problem::new(format!("pipeline {pipeline}"), what, RESTORE_ENTRIES));
        }
        // Only `runs` gets every entry's number.
        if table == Table::Runs && committed < last {
            let what = format!("publication {last} is decided, but not in every Delta table");
            problems.push(Problem::new(format!("pipeline {pipeline}"), what, COMPLETE));
        }
    }
    let ours: BTreeMap<&str, &DataFile> =
        published.iter().map(|found| (found.file.path.as_str(), found.file)).collect();
    let theirs: BTreeMap<&str, &ActiveFile> = active.iter().map(|file| (file.path.as_str(), file)).collect();
    let is_lost = |path: &&str| is_ours(path) && !named.files.contains_key(*path);
    let unpublished = || theirs.keys().copied().filter(|path| !ours.contains_key(path));
    let left: BTreeSet<&str> = unpublished().filter(is_lost).filter(|_| !table.is_journal()).map(partition).collect();
    let remedy = |is_left: bool| match (is_log_cut, is_left) {
        (true, _) => RESTORE_ENTRIES,
        (false, true) => OF_NO_PUBLICATION,
        (false, false) => MEND,
    };
    for (path, file) in &ours {
        let what = match theirs.get(path) {
            None => "is published, but not active in the Delta table".to_owned(),
            Some(theirs) if theirs.bytes != file.bytes || theirs.rows.is_some_and(|rows| rows != file.rows) => {
                format!("has {} bytes and {} rows by the publish log, others by the Delta table", file.bytes, file.rows)
            }
            Some(_) => continue,
        };
        problems.push(Problem::new(*path, what, remedy(left.contains(partition(path)))));
    }
    for path in unpublished() {
        let what = "is active in the Delta table, but not published";
        problems.push(Problem::new(path, what, remedy(is_lost(&path))));
    }
    Ok(problems)
}

/// What keeps a Delta table from being read: the commits that are missing or damaged, else the table.
async fn unreadable(store: &Store, table: Table, error: &Error) -> Result<Vec<Problem>> {
    let remedy = format!(
        "restore it from a copy of the lake; where there is none, delete the folder `{table}/_delta_log` and say \
         `huopan lake optimize`, which builds it anew: Delta's time travel begins there"
    );
    let broken = delta::broken_commits(store, table).await?;
    if !broken.is_empty() {
        return Ok(broken.into_iter().map(|(path, what)| Problem::new(path, what, &remedy)).collect());
    }
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let what = format!("{error}: {}", without_backtrace(&cause));
    Ok(vec![Problem::new(format!("{table}/_delta_log"), what, remedy)])
}
