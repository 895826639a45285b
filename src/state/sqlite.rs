//! State in a SQLite file: shared by the processes of one machine.
//!
//! One thread owns the connection and works off what tasks send it, so that no task blocks on a file.
//!
//! Invariant: what is decided from the ledger is read and written in one transaction that holds the file's write lock. A
//! crash of the process loses nothing; a power cut may lose the last moments, which landed attempts restore. No call leaves
//! once the path names another file, or none, or a file beside it is gone: others would not see it counted.

mod session;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use rusqlite::params;
use tokio::sync::oneshot;

use crate::base::{Clock as _, Error, Result, SystemClock, time::beijing_day};

use self::session::{Failure, Opened, Session, UNNAMED};
use super::ledger::{Ledger, Used};
use super::owned::{OwnedAsk, OwnedSettle};
use super::{
    AccountHealth, Ask, COUNTS_KEPT_DAYS, Cached, Counted, Reading, Reserved, Resting, Settle, StateStore, in_order,
};

/// Of so many answers kept, one looks for what has expired.
const PURGE_EVERY: u64 = 32;
/// It drops no more than this at a time.
const PURGED_MOST: u32 = 256;

/// Work for the thread that owns the connection.
type Job = Box<dyn FnOnce(&mut Session<'_>) + Send>;

/// A SQLite file, or memory.
pub(super) struct Sqlite {
    name: String,
    jobs: mpsc::Sender<Job>,
    kept: AtomicU64,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Opens a file, creating it with its folder.
    pub(super) async fn open(path: &Path) -> Result<Self> {
        let file = path.to_owned();
        Self::start(path.display().to_string(), move || session::open(&file)).await
    }

    /// Keeps everything in memory.
    pub(super) async fn in_memory() -> Result<Self> {
        Self::start("in memory".to_owned(), session::open_in_memory).await
    }

    async fn start(name: String, open: impl FnOnce() -> Result<Opened> + Send + 'static) -> Result<Self> {
        let (jobs, work) = mpsc::channel::<Job>();
        let (ready, opened) = oneshot::channel();
        let owner = std::thread::Builder::new().name("state".to_owned()).spawn(move || match open() {
            Ok(opened) => {
                _ = ready.send(Ok(()));
                let mut session = Session::new(&opened);
                work.iter().for_each(|job| job(&mut session));
            }
            Err(error) => _ = ready.send(Err(error)),
        });
        owner.map_err(|error| Error::storage("no thread for the state file").caused_by(error))?;
        opened.await.map_err(|_| gone())??;
        Ok(Self { name, jobs, kept: AtomicU64::new(0) })
    }

    /// Lets the thread do something.
    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Session<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move |session| _ = done.send(work(session)));
        self.jobs.send(job).map_err(|_| gone())?;
        result.await.map_err(|_| gone())?.map_err(|failure| failure.of(&self.name))
    }

    /// Lets the thread do something in one transaction.
    async fn atomically<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Session<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        self.on_thread(move |session| session.atomically(work)).await
    }

    /// Changes an account's page of the ledger.
    async fn change(&self, account: &str, change: impl FnOnce(&mut Ledger) + Send + 'static) -> Result<()> {
        let account = account.to_owned();
        self.atomically(move |session| {
            let (mut ledger, before) = read_ledger(session, &account)?;
            change(&mut ledger);
            write_ledger(session, &account, &ledger, &before)
        })
        .await
    }
}

/// Only a bug ends the thread while its store lives.
fn gone() -> Error {
    Error::internal("the thread of the state file is gone")
}

#[async_trait::async_trait]
impl StateStore for Sqlite {
    async fn now(&self) -> Result<DateTime<Utc>> {
        Ok(SystemClock.now())
    }

    fn clock(&self) -> Reading {
        Reading { now: SystemClock.now(), unsure: TimeDelta::zero() }
    }

    fn has_own_clock(&self) -> bool {
        false
    }

    async fn may_forget(&self) -> Option<String> {
        None
    }

    async fn reserve(&self, ask: &Ask<'_>) -> Result<Reserved> {
        let ask = OwnedAsk::new(ask);
        self.atomically(move |session| reserve(session, &ask.borrow())).await
    }

    async fn settle(&self, settle: &Settle<'_>) -> Result<()> {
        let settle = OwnedSettle::new(settle);
        self.change(&settle.account.clone(), move |ledger| ledger.settle(&settle.borrow())).await
    }

    async fn release(&self, holder: &str) -> Result<()> {
        let holder = holder.to_owned();
        self.atomically(move |session| {
            for (account, document) in documents(session)? {
                let mut ledger = Ledger::read(&document)?;
                ledger.release(&holder);
                write_ledger(session, &account, &ledger, &document)?;
            }
            Ok(())
        })
        .await
    }

    async fn rest(&self, account: &str, resting: &Resting) -> Result<()> {
        let resting = resting.clone();
        self.change(account, move |ledger| ledger.rest(&resting)).await
    }

    async fn wake(&self, account: &str) -> Result<()> {
        self.change(account, Ledger::wake).await
    }

    async fn raise(&self, counted: &Counted, run: &str) -> Result<bool> {
        let (counted, run) = (counted.clone(), run.to_owned());
        self.atomically(move |session| {
            let part = count_of_run(session, &counted, &run)?;
            let mut lacking = counted.calls.saturating_sub(part);
            if lacking == 0 {
                return Ok(false);
            }
            write_count_of_run(session, &counted, &run)?;
            let unnamed = count_of_run(session, &counted, UNNAMED)?;
            if unnamed > 0 {
                let calls = unnamed.saturating_sub(lacking);
                write_count_of_run(session, &Counted { calls, ..counted.clone() }, UNNAMED)?;
                lacking = lacking.saturating_sub(unnamed);
            }
            let calls = count(session, &counted)?.saturating_add(lacking);
            write_count(session, &Counted { calls, ..counted })?;
            Ok(lacking > 0)
        })
        .await
    }

    async fn correct(&self, counted: &Counted) -> Result<()> {
        let counted = counted.clone();
        self.atomically(move |session| {
            let (mut ledger, before) = read_ledger(session, &counted.account)?;
            ledger.corrected(counted.day, &counted.scope);
            write_ledger(session, &counted.account, &ledger, &before)?;
            write_count(session, &counted)
        })
        .await
    }

    async fn counts(&self, day: NaiveDate) -> Result<Vec<Counted>> {
        self.on_thread(move |session| {
            let sql = "SELECT account, scope, calls FROM counts WHERE day = ?";
            let mut counts = session.rows(sql, [day.to_string()], |row| {
                Ok(Counted { account: row.get(0)?, scope: row.get(1)?, day, calls: unsigned(row.get(2)?) })
            })?;
            for (account, document) in documents(session)? {
                Ledger::read(&document)?.add_moved(&account, day, &mut counts);
            }
            Ok(in_order(counts))
        })
        .await
    }

    async fn accounts(&self, now: DateTime<Utc>) -> Result<Vec<AccountHealth>> {
        self.on_thread(move |session| {
            let documents = documents(session)?.into_iter();
            documents.map(|(account, document)| Ok(Ledger::read(&document)?.health(&account, now))).collect()
        })
        .await
    }

    async fn cached(&self, key: &str, now: DateTime<Utc>) -> Result<Option<Cached>> {
        let key = key.to_owned();
        self.on_thread(move |session| {
            let sql = "SELECT value, expires_at FROM answers WHERE key = ? AND expires_at > ?";
            session.row(sql, params![key, now.timestamp_micros()], |row| {
                let expires_at = DateTime::from_timestamp_micros(row.get(1)?).unwrap_or_default();
                Ok(Cached { value: row.get::<_, Vec<u8>>(0)?.into(), expires_at })
            })
        })
        .await
    }

    async fn cache(&self, key: &str, cached: &Cached) -> Result<()> {
        let (key, cached) = (key.to_owned(), cached.clone());
        let kept = self.kept.fetch_add(1, Ordering::Relaxed);
        self.atomically(move |session| {
            if kept.is_multiple_of(PURGE_EVERY) {
                purge(session, SystemClock.now())?;
            }
            write_answer(session, &key, &cached)
        })
        .await
    }

    async fn claim(&self, key: &str, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        let key = key.to_owned();
        self.atomically(move |session| {
            let sql = "SELECT 1 FROM answers WHERE key = ? AND expires_at > ?";
            let taken = session.row(sql, params![key, now.timestamp_micros()], |row| row.get::<_, i64>(0))?.is_some();
            if !taken {
                write_answer(session, &key, &Cached { value: bytes::Bytes::new(), expires_at: until })?;
            }
            Ok(!taken)
        })
        .await
    }
}

/// Decides about one call, inside a transaction.
fn reserve(session: &mut Session<'_>, ask: &Ask<'_>) -> Result<Reserved, Failure> {
    session.is_shared()?;
    let (mut ledger, before) = read_ledger(session, ask.account)?;
    let (account, scope) = (ask.account.to_owned(), ask.scope.to_owned());
    let mut counted = Counted { account, scope, day: ask.day, calls: 0 };
    let today = count(session, &counted)?;
    let there = match ask.gateway_day == ask.day {
        true => today,
        false => count(session, &Counted { day: ask.gateway_day, ..counted.clone() })?,
    };
    let reserved = ledger.reserve(Used { today, there }, ask);
    write_ledger(session, ask.account, &ledger, &before)?;
    if let (Reserved::Granted { used, .. }, None) = (&reserved, ask.held) {
        counted.calls = *used;
        write_count(session, &counted)?;
        counted.calls = count_of_run(session, &counted, ask.run)? + 1;
        write_count_of_run(session, &counted, ask.run)?;
    }
    Ok(reserved)
}

fn read_ledger(session: &mut Session<'_>, account: &str) -> Result<(Ledger, String), Failure> {
    let sql = "SELECT ledger FROM accounts WHERE account = ?";
    let document = session.row(sql, [account], |row| row.get::<_, String>(0))?.unwrap_or_default();
    Ok((Ledger::read(&document)?, document))
}

fn write_ledger(session: &mut Session<'_>, account: &str, ledger: &Ledger, before: &str) -> Result<(), Failure> {
    let document = ledger.write()?;
    if document == before {
        return Ok(());
    }
    session.execute("INSERT OR REPLACE INTO accounts (account, ledger) VALUES (?, ?)", [account, &document])
}

fn documents(session: &mut Session<'_>) -> Result<Vec<(String, String)>, Failure> {
    let sql = "SELECT account, ledger FROM accounts ORDER BY account";
    session.rows(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// The calls that are counted, whatever `counted` says.
fn count(session: &mut Session<'_>, of: &Counted) -> Result<u64, Failure> {
    let sql = "SELECT calls FROM counts WHERE day = ? AND account = ? AND scope = ?";
    let calls = session.row(sql, params![of.day.to_string(), of.account, of.scope], |row| row.get(0))?;
    Ok(calls.map_or(0, unsigned))
}

/// … and one run's part of them.
fn count_of_run(session: &mut Session<'_>, of: &Counted, run: &str) -> Result<u64, Failure> {
    let sql = "SELECT calls FROM counts_of_runs WHERE day = ? AND account = ? AND scope = ? AND run = ?";
    let calls = session.row(sql, params![of.day.to_string(), of.account, of.scope, run], |row| row.get(0))?;
    Ok(calls.map_or(0, unsigned))
}

fn write_count(session: &mut Session<'_>, counted: &Counted) -> Result<(), Failure> {
    let sql = "INSERT OR REPLACE INTO counts (day, account, scope, calls) VALUES (?, ?, ?, ?)";
    session.execute(sql, params![counted.day.to_string(), counted.account, counted.scope, signed(counted.calls)])
}

fn write_count_of_run(session: &mut Session<'_>, counted: &Counted, run: &str) -> Result<(), Failure> {
    let sql = "INSERT OR REPLACE INTO counts_of_runs (day, account, scope, run, calls) VALUES (?, ?, ?, ?, ?)";
    let Counted { account, scope, day, calls } = counted;
    session.execute(sql, params![day.to_string(), account, scope, run, signed(*calls)])
}

fn write_answer(session: &mut Session<'_>, key: &str, cached: &Cached) -> Result<(), Failure> {
    let sql = "INSERT OR REPLACE INTO answers (key, expires_at, value) VALUES (?, ?, ?)";
    session.execute(sql, params![key, cached.expires_at.timestamp_micros(), &cached.value[..]])
}

/// Drops some of the answers that expired, and the counts of days long past.
fn purge(session: &mut Session<'_>, now: DateTime<Utc>) -> Result<(), Failure> {
    let sql = "DELETE FROM answers WHERE key IN (SELECT key FROM answers WHERE expires_at <= ? LIMIT ?)";
    session.execute(sql, params![now.timestamp_micros(), PURGED_MOST])?;
    let oldest = beijing_day(now) - TimeDelta::days(COUNTS_KEPT_DAYS.into());
    session.execute("DELETE FROM counts WHERE day < ?", [oldest.to_string()])?;
    session.execute("DELETE FROM counts_of_runs WHERE day < ?", [oldest.to_string()])
}

fn signed(calls: u64) -> i64 {
    i64::try_from(calls).unwrap_or(i64::MAX)
}

/// Counts are never negative.
fn unsigned(calls: i64) -> u64 {
    u64::try_from(calls).unwrap_or(0)
}

#[cfg(test)]
mod tests;
