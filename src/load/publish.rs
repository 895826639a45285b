//! A publication: the decision in the publish log, then the Delta commits; and the completion of an unfinished one.
//!
//! Invariant: what is decided is never undone. A crash after the decision leaves Delta tables behind the log until
//! [`roll_forward`]; a crash before it leaves only files that nobody names.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, NaiveDate, Utc};
use deltalake_core::DeltaTable;

use crate::base::time::beijing_day;
use crate::base::{Error, Kind, Result};
use crate::store::{PipelineLock, Store};
use crate::transform::contract::{CONTRACT_VERSION, Table};

use super::agree;
use super::checkpoint;
use super::delta;
use super::log::{self, Appended, Change, DataFile, Entry, Names};
use super::snapshot::Snapshot;
use super::state::State;

/// What is to be published. All files are durable already.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The publication's number: [`next_seq`] after [`roll_forward`], under the pipeline's lock. Rows of `runs` carry it.
    pub seq: u64,
    /// The pipeline.
    pub pipeline: String,
    /// The day.
    pub dt: NaiveDate,
    /// The run.
    pub run_id: String,
    /// Its attempt of the day, from 1.
    pub attempt: i32,
    /// Whether the day's pictures are replaced.
    pub pictures: Pictures,
    /// The time of the decision.
    pub published_at: DateTime<Utc>,
    /// The greatest number of the run's calls that is in `calls` after it.
    pub calls_to: i64,
    /// The files by table.
    pub files: BTreeMap<Table, Vec<DataFile>>,
}

/// What is to be changed of what is published, without a run. All files are durable already.
#[derive(Debug, Clone, PartialEq)]
pub struct Upkeep {
    /// The pipeline.
    pub pipeline: String,
    /// The number of the newest publication that it knows of.
    pub after: u64,
    /// The day whose files are replaced, else today.
    pub dt: NaiveDate,
    /// The time of the decision.
    pub now: DateTime<Utc>,
    /// The change.
    pub change: Change,
    /// The files by table.
    pub files: BTreeMap<Table, Vec<DataFile>>,
}

/// What a publication does to the pictures of its day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pictures {
    /// The files are the whole picture; a table without files is empty that day.
    Replace,
    /// They stay: an attempt that failed or stopped only adds to the journals.
    Keep,
}

/// The outcome of [`publish`].
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub enum Published {
    /// Decided, and in every Delta table.
    Done(Box<Publication>),
    /// Another run took the number; nothing was changed. Its entry is given.
    Lost(Box<Entry>),
}

/// A finished publication.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// The log entry.
    pub entry: Entry,
    /// The tables that got their commit now; the others had it or had nothing to get.
    pub committed: Vec<Table>,
}

/// The right to decide a pipeline's next publications, in their order, under its lock.
///
/// Its numbers are counted from where the log stood when it was taken and never looked up again: a holder whose lock
/// expired finds its number decided by whoever came after, and decides nothing any more.
#[derive(Debug)]
pub struct Turn<'l> {
    lock: &'l PipelineLock,
    next_seq: AtomicU64,
}

impl<'l> Turn<'l> {
    /// Takes the turn: completes what is unfinished, and fences off a holder before that did not let go of its lock.
    ///
    /// # Errors
    /// As [`roll_forward`].
    pub async fn take(store: &Store, pipeline: &str, lock: &'l PipelineLock, now: DateTime<Utc>) -> Result<Self> {
        if lock.is_taken_over() {
            // A fence would hide that numbers are lost.
            committed(store, pipeline, log::last_seq(store, pipeline).await?).await?;
            fence(store, pipeline, now).await?;
        }
        roll_forward(store, pipeline).await?;
        Ok(Self { lock, next_seq: AtomicU64::new(next_seq(store, pipeline).await?) })
    }

    /// Whether the lock is known to be held still.
    ///
    /// # Errors
    /// `Conflict`.
    pub fn check(&self) -> Result<()> {
        self.lock.check()
    }

    /// The number of the next publication.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq.load(Ordering::Relaxed)
    }

    /// What is published, with all that this turn found in the log and has decided since: a day must not be judged without
    /// the day before.
    ///
    /// # Errors
    /// As [`Snapshot::load`]; `Unavailable` when the log ends before what the turn knows.
    pub async fn snapshot(&self, store: &Store, pipeline: &str) -> Result<Snapshot> {
        let mut snapshot = Snapshot::load(store).await?;
        // A listing of all logs may be late where that of one is not.
        if snapshot.state(pipeline).is_none() && self.next_seq() > 1 {
            snapshot = snapshot.with(checkpoint::state(store, pipeline).await?);
        }
        self.knows(pipeline, snapshot.state(pipeline).map_or(0, |state| state.seq))?;
        Ok(snapshot)
    }

    /// As [`Turn::snapshot`], what the pipeline's own log adds up to.
    ///
    /// # Errors
    /// As [`Turn::snapshot`].
    pub async fn state(&self, store: &Store, pipeline: &str) -> Result<State> {
        let state = checkpoint::state(store, pipeline).await?;
        self.knows(pipeline, state.seq)?;
        Ok(state)
    }

    /// As [`Turn::snapshot`], all that the log consists of: what is deleted follows from it.
    ///
    /// # Errors
    /// As [`Turn::snapshot`].
    pub async fn names(&self, store: &Store, pipeline: &str) -> Result<Names> {
        let names = log::whole_of(store, pipeline).await?;
        self.knows(pipeline, names.last())?;
        Ok(names)
    }

    /// Whether this is no earlier number than the newest one that the turn knows of.
    fn knows(&self, pipeline: &str, seq: u64) -> Result<()> {
        let last = self.next_seq() - 1;
        if seq < last { Err(unseen(pipeline, last)) } else { Ok(()) }
    }

    /// Publishes; see [`publish`].
    ///
    /// # Errors
    /// As [`publish`]; `Conflict` when the lock is known to be lost.
    pub async fn publish(&self, store: &Store, draft: Draft) -> Result<Published> {
        self.decide(store, to_entry(draft)?).await
    }

    /// Publishes an entry of no run: the same rows in other files, or days that are gone. `dt` is its day.
    ///
    /// # Errors
    /// As [`Turn::publish`]; `Unavailable` when it does not know of the newest publication: what that one added would be
    /// lost.
    pub async fn change(&self, store: &Store, upkeep: Upkeep) -> Result<Published> {
        self.knows(&upkeep.pipeline, upkeep.after)?;
        let mut entry = of_no_run(self.next_seq(), &upkeep.pipeline, upkeep.dt, upkeep.now)?;
        entry.change = upkeep.change;
        entry.tables = upkeep.files.into_iter().map(|(table, files)| (table.name().to_owned(), files)).collect();
        self.decide(store, entry).await
    }

    async fn decide(&self, store: &Store, entry: Entry) -> Result<Published> {
        self.check()?;
        let (pipeline, seq) = (entry.pipeline.clone(), entry.seq);
        let published = decide(store, entry).await;
        if let Ok(Published::Done(_)) = &published {
            self.next_seq.fetch_add(1, Ordering::Relaxed);
            checkpoint::keep_up(store, &pipeline, seq).await;
        }
        published
    }

    /// Whether the newest decision is one of this attempt's.
    ///
    /// # Errors
    /// `Storage`, `Data`.
    pub async fn has_decided(&self, store: &Store, pipeline: &str, run_id: &str, attempt: i32) -> Result<bool> {
        // The last one may have been decided and not counted: its commits failed.
        for seq in [self.next_seq(), self.next_seq() - 1] {
            let entry = log::read(store, pipeline, seq).await?;
            if entry.is_some_and(|entry| entry.run_id == run_id && entry.attempt == attempt) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn unseen(pipeline: &str, seq: u64) -> Error {
    let path = Entry::path(pipeline, seq);
    Error::new(Kind::Unavailable, format!("`{path}` is not there any more: it was, or was written just now")).with_hint(
        "start again later: the store shows late what was written; or restore it, if somebody has removed it",
    )
}

/// Takes the next number for nothing, whoever else wants it: what a holder before is about to decide is lost.
async fn fence(store: &Store, pipeline: &str, now: DateTime<Utc>) -> Result<()> {
    loop {
        let entry = of_no_run(next_seq(store, pipeline).await?, pipeline, beijing_day(now), now)?;
        if let Appended::Done | Appended::Already = log::append(store, &entry).await? {
            tracing::warn!(pipeline, seq = entry.seq, "the holder before did not let go of its lock: fenced off");
            return Ok(());
        }
    }
}

/// An entry that no run stands behind and that changes nothing yet.
fn of_no_run(seq: u64, pipeline: &str, dt: NaiveDate, now: DateTime<Utc>) -> Result<Entry> {
    to_entry(Draft {
        seq,
        pipeline: pipeline.to_owned(),
        dt,
        run_id: String::new(),
        attempt: 0,
        pictures: Pictures::Keep,
        published_at: now,
        calls_to: 0,
        files: BTreeMap::new(),
    })
}

/// The number of the pipeline's next publication.
///
/// # Errors
/// `Storage` when the log cannot be listed.
pub async fn next_seq(store: &Store, pipeline: &str) -> Result<u64> {
    Ok(log::last_seq(store, pipeline).await? + 1)
}

/// Publishes: creates the log entry, which is the decision, then commits to each Delta table. Asked again with the
/// same draft, it completes what is missing.
///
/// # Errors
/// Before the decision (nothing is published): `Storage`, `Internal` for pictures among the files of an attempt that
/// keeps them. After it (the day is published, huopan's readers see it): `Storage` or `Conflict` of a Delta commit,
/// which the next start makes up for.
pub async fn publish(store: &Store, draft: Draft) -> Result<Published> {
    decide(store, to_entry(draft)?).await
}

async fn decide(store: &Store, entry: Entry) -> Result<Published> {
    // A later publication must not hide that an earlier one is not in every table yet.
    roll_forward(store, &entry.pipeline).await?;
    // What keeps a table from being written should be known before the decision.
    let mut opened = BTreeMap::new();
    for table in Table::ALL {
        let delta = delta::open(store, table).await?;
        let committed = delta::committed_seq(&delta, table, &entry.pipeline).await?;
        // This very entry may be there, when it is asked for again.
        let is_lost = committed > entry.seq
            || committed == entry.seq && log::read(store, &entry.pipeline, entry.seq).await?.is_none();
        if is_lost {
            return Err(ends_before(store, &entry.pipeline, table, committed, entry.seq - 1).await?);
        }
        opened.insert(table, delta);
    }
    match log::append(store, &entry).await? {
        Appended::Lost(decided) => return Ok(Published::Lost(decided)),
        // Some of its commits may be there.
        Appended::Already => opened.clear(),
        Appended::Done => {
            tracing::info!(pipeline = entry.pipeline, seq = entry.seq, dt = %entry.dt, "publication decided");
        }
    }
    let committed = commit_all(store, &entry, opened).await?;
    Ok(Published::Done(Box::new(Publication { entry, committed })))
}

/// Completes the publications of a pipeline whose Delta commits are missing, in their order. Call it under the
/// pipeline's lock before anything is published. Gives the newest one that was completed; `None`: all were.
///
/// # Errors
/// `Storage`, `Data` when an entry is missing or broken, `Conflict` of a Delta commit.
pub async fn roll_forward(store: &Store, pipeline: &str) -> Result<Option<Publication>> {
    let names = log::names_of(store, pipeline).await?;
    let last = names.last();
    let committed = committed(store, pipeline, last).await?;
    if last == 0 {
        return Ok(None);
    }
    // `runs` gets its commit last, so what it has all tables should have. Only should: commits are not synced one by
    // one, and a power cut may keep a later one and lose an earlier one. The newest entry is therefore looked at again.
    let done = committed.saturating_sub(1);
    // Of what is behind the oldest checkpoint the entries may be gone: `agree` gives a table that lost its log those rows.
    let first = names.base().unwrap_or(1);
    let mut newest = None;
    for seq in first.max(done + 1)..=last {
        let Some(entry) = log::read(store, pipeline, seq).await? else {
            return Err(Error::data(format!("the publish-log entry `{}` is missing", Entry::path(pipeline, seq))));
        };
        let committed = commit_all(store, &entry, BTreeMap::new()).await?;
        if !committed.is_empty() {
            tracing::warn!(pipeline, seq, "unfinished publication completed");
            newest = Some(Publication { entry, committed });
        }
    }
    Ok(newest)
}

/// The number of the newest publication that all tables should have: `runs` gets its commit last. `last` is that of the log.
///
/// # Errors
/// `Data` where the publish log ends before it: whoever published under a number that was given before would hide that
/// publication from huopan's readers for ever.
async fn committed(store: &Store, pipeline: &str, last: u64) -> Result<u64> {
    if last == 0 && !delta::has_log(store, Table::Runs).await? {
        return Ok(0);
    }
    let runs = delta::open(store, Table::Runs).await?;
    let committed = delta::committed_seq(&runs, Table::Runs, pipeline).await?;
    // Somebody may have published since.
    if committed > last && committed > log::last_seq(store, pipeline).await? {
        return Err(ends_before(store, pipeline, Table::Runs, committed, last).await?);
    }
    Ok(committed)
}

/// The error of a log that is listed up to `last`, where a table has the publication `committed` of it.
async fn ends_before(store: &Store, pipeline: &str, table: Table, committed: u64, last: u64) -> Result<Error> {
    let path = Entry::path(pipeline, committed);
    Ok(match store.meta(&path).await? {
        None => agree::cut_short(table, pipeline, committed, last),
        Some(_) => Error::new(Kind::Unavailable, format!("the publish log is listed without `{path}`, which is there"))
            .with_hint("start again later: the store shows late what was written"),
    })
}

/// Makes the commits of an entry that are missing. `opened`: tables as they were when it was not decided yet.
async fn commit_all(store: &Store, entry: &Entry, mut opened: BTreeMap<Table, DeltaTable>) -> Result<Vec<Table>> {
    if let Some(name) = entry.tables.keys().find(|name| name.parse::<Table>().is_err()) {
        let message = format!("publication {} of `{}` has the unknown table `{name}`", entry.seq, entry.pipeline);
        return Err(Error::storage(message).with_hint("use the huopan that wrote it, or a newer one"));
    }
    let mut committed = Vec::new();
    for table in Table::ALL {
        match delta::commit(store, table, entry, opened.remove(&table)).await.map_err(|source| undone(entry, source))? {
            delta::Committed::Done => committed.push(table),
            delta::Committed::Already | delta::Committed::Nothing => {}
        }
    }
    Ok(committed)
}

/// The entry of the publish log that a draft becomes.
///
/// # Errors
/// `Internal` for pictures among the files of an attempt that keeps them.
pub fn to_entry(draft: Draft) -> Result<Entry> {
    let picture = draft.pictures == Pictures::Replace;
    if let Some(table) = draft.files.keys().find(|table| !picture && !table.is_journal()) {
        return Err(Error::internal(format!("an attempt that keeps the pictures has files of `{table}`")));
    }
    let tables = draft.files.into_iter().map(|(table, files)| (table.name().to_owned(), files)).collect();
    Ok(Entry {
        seq: draft.seq,
        pipeline: draft.pipeline,
        dt: draft.dt,
        run_id: draft.run_id,
        attempt: draft.attempt,
        picture,
        published_at: draft.published_at,
        huopan_version: env!("CARGO_PKG_VERSION").to_owned(),
        contract_version: CONTRACT_VERSION.to_owned(),
        calls_to: draft.calls_to,
        change: Change::Run,
        tables,
    })
}

/// The error of a publication that is decided and not in every Delta table.
fn undone(entry: &Entry, source: Error) -> Error {
    let kind = match source.kind() {
        kind @ (Kind::Conflict | Kind::Unavailable) => kind,
        _ => Kind::Storage,
    };
    let message = format!("{} of `{}` is published, but not in every Delta table yet", entry.dt, entry.pipeline);
    let hint = match source.hint().filter(|_| kind == Kind::Storage) {
        Some(hint) => format!("{hint}; the next run completes them before anything else"),
        None => "the next run completes them before anything else".to_owned(),
    };
    Error::new(kind, message).with_hint(hint).caused_by(source)
}
