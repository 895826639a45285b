//! One open SQLite file: its statements, its transactions, and what can go wrong with it.
//!
//! Invariant: another program's file, and one of a newer huopan, is left as it is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Params, Row, Statement};

use crate::base::{Error, Kind, Result};

/// Marks a file as ours (`hupn`).
const APPLICATION: i64 = 0x6875_706E;
/// The version of the tables below.
const VERSION: i64 = 2;
const TABLES: &str = "
    CREATE TABLE accounts (account TEXT PRIMARY KEY, ledger TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE counts (
        day TEXT, account TEXT, scope TEXT, calls INTEGER NOT NULL, PRIMARY KEY (day, account, scope)
    ) WITHOUT ROWID;
    CREATE TABLE counts_of_runs (
        day TEXT, account TEXT, scope TEXT, run TEXT, calls INTEGER NOT NULL, PRIMARY KEY (day, account, scope, run)
    ) WITHOUT ROWID;
    CREATE TABLE answers (key TEXT PRIMARY KEY, expires_at INTEGER NOT NULL, value BLOB NOT NULL);
    CREATE INDEX answers_by_expiry ON answers (expires_at);
";
/// What version 1 lacked: its counts did not say which runs had made the calls.
/// They are the part of a run without a name ([`UNNAMED`]).
const SINCE_VERSION_1: &str = "
    CREATE TABLE counts_of_runs (
        day TEXT, account TEXT, scope TEXT, run TEXT, calls INTEGER NOT NULL, PRIMARY KEY (day, account, scope, run)
    ) WITHOUT ROWID;
    INSERT INTO counts_of_runs SELECT day, account, scope, '', calls FROM counts;
";
/// In the place of a run: calls that were counted before runs were told apart, and that no run has claimed since.
pub(super) const UNNAMED: &str = "";
/// How long a process waits for others to let go of the file.
const BUSY: Duration = Duration::from_secs(10);

/// An open file, or memory.
pub(super) struct Opened {
    connection: Connection,
    file: Option<(PathBuf, Identity)>,
}

/// The files beside it, which hold what was written last and who may write.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// Which file a path names: its device and its inode, where there are such.
type Identity = Option<(u64, u64)>;

/// A connection with the statements that were prepared on it.
pub(super) struct Session<'c> {
    connection: &'c Connection,
    file: Option<&'c (PathBuf, Identity)>,
    /// … and those of [`COMPANIONS`], once they were there.
    companions: [Option<Identity>; 2],
    statements: HashMap<&'static str, Statement<'c>>,
}

impl<'c> Session<'c> {
    pub(super) fn new(opened: &'c Opened) -> Self {
        let (connection, file) = (&opened.connection, opened.file.as_ref());
        Self { connection, file, companions: [None; 2], statements: HashMap::new() }
    }

    /// Makes sure that others who open the path still find this file, and in a transaction those beside it.
    pub(super) fn is_shared(&mut self) -> Result<(), Failure> {
        let Some((path, opened)) = self.file else { return Ok(()) };
        let mut is_same = identity(path).is_ok_and(|now| now == *opened);
        for (known, suffix) in self.companions.iter_mut().zip(COMPANIONS) {
            let mut companion = path.clone().into_os_string();
            companion.push(suffix);
            let now = identity(Path::new(&companion)).ok();
            is_same &= known.is_none() || *known == now;
            *known = known.or(now);
        }
        if is_same {
            return Ok(());
        }
        // What others find there now is theirs: nothing is brought into it when this is closed.
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Err(Failure::Gone)
    }

    /// Changes something.
    pub(super) fn execute(&mut self, sql: &'static str, params: impl Params) -> Result<(), Failure> {
        self.statement(sql)?.execute(params)?;
        Ok(())
    }

    /// All rows.
    pub(super) fn rows<T>(
        &mut self,
        sql: &'static str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Failure> {
        Ok(self.statement(sql)?.query_map(params, read)?.collect::<Result<_, _>>()?)
    }

    /// The first row.
    pub(super) fn row<T>(
        &mut self,
        sql: &'static str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Failure> {
        Ok(self.statement(sql)?.query_map(params, read)?.next().transpose()?)
    }

    /// Does all of the work or none of it; nobody else writes meanwhile.
    pub(super) fn atomically<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Failure>) -> Result<T, Failure> {
        self.execute("BEGIN IMMEDIATE", [])?;
        let result = work(self).and_then(|value| self.execute("COMMIT", []).map(|()| value));
        if result.is_err() && !self.connection.is_autocommit() {
            self.execute("ROLLBACK", [])?;
        }
        result
    }

    fn statement(&mut self, sql: &'static str) -> rusqlite::Result<&mut Statement<'c>> {
        match self.statements.entry(sql) {
            Entry::Occupied(prepared) => Ok(prepared.into_mut()),
            Entry::Vacant(vacant) => Ok(vacant.insert(self.connection.prepare(sql)?)),
        }
    }
}

/// Opens a file, creating it with its folder; only its owner may read it.
pub(super) fn open(path: &Path) -> Result<Opened> {
    let identity = create(path).and_then(|()| identity(path)).map_err(|error| {
        Error::storage(format!("state file `{}` cannot be written", path.display()))
            .with_hint("make it and its folder writable, or name another file in the pipeline's `state`")
            .caused_by(error)
    })?;
    let connection = Connection::open(path).map_err(Failure::from);
    let ready = connection.and_then(|connection| prepare(&connection).map(|()| connection));
    let connection = ready.map_err(|failure| failure.of(&path.display().to_string()))?;
    Ok(Opened { connection, file: Some((path.to_owned(), identity)) })
}

/// Opens a database in memory.
pub(super) fn open_in_memory() -> Result<Opened> {
    let connection = Connection::open_in_memory().map_err(Failure::from);
    let ready = connection.and_then(|connection| prepare(&connection).map(|()| connection));
    Ok(Opened { connection: ready.map_err(|failure| failure.of("in memory"))?, file: None })
}

#[cfg(unix)]
fn identity(path: &Path) -> std::io::Result<Identity> {
    let metadata = std::fs::metadata(path)?;
    Ok(Some((std::os::unix::fs::MetadataExt::dev(&metadata), std::os::unix::fs::MetadataExt::ino(&metadata))))
}

/// A file that is open cannot be removed.
#[cfg(not(unix))]
fn identity(_: &Path) -> std::io::Result<Identity> {
    Ok(None)
}

fn create(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Creates the tables in an empty database and sets the connection up.
fn prepare(connection: &Connection) -> Result<(), Failure> {
    connection.busy_timeout(BUSY)?;
    if is_empty(connection)? {
        create_tables(connection)?;
    }
    if number(connection, "application_id")? != APPLICATION {
        return Err(Failure::Foreign);
    }
    match number(connection, "user_version")? {
        VERSION => {}
        1 => add_since_version_1(connection)?,
        version => return Err(Failure::Version(version)),
    }
    // Only now, for it rewrites the file's head. Processes that do so at the same time refuse each other without
    // waiting; the mode stays with the file, so any of them will do.
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode == "delete" {
        _ = connection.pragma_update(None, "journal_mode", "WAL");
    }
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(())
}

fn create_tables(connection: &Connection) -> Result<(), Failure> {
    let transaction = rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
    // Another process may have done it since.
    if is_empty(&transaction)? {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    Ok(transaction.commit()?)
}

/// Brings a file of version 1 up to date. A process of an older huopan that has it open goes on counting in it.
fn add_since_version_1(connection: &Connection) -> Result<(), Failure> {
    let transaction = rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
    // Another process may have done it since.
    if number(&transaction, "user_version")? == 1 {
        transaction.execute_batch(SINCE_VERSION_1)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    Ok(transaction.commit()?)
}

fn number(connection: &Connection, pragma: &str) -> Result<i64, Failure> {
    Ok(connection.pragma_query_value(None, pragma, |row| row.get(0))?)
}

fn is_empty(connection: &Connection) -> Result<bool, Failure> {
    Ok(connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))?)
}

/// What can go wrong with a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Document(#[from] serde_json::Error),
    #[error("another program's file")]
    Foreign,
    #[error("version {0}")]
    Version(i64),
    #[error("no longer there")]
    Gone,
}

impl Failure {
    /// What it means for the file `name`.
    pub(super) fn of(self, name: &str) -> Error {
        use rusqlite::ErrorCode::{
            DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase, SystemIoFailure,
        };
        let delete = "delete it with its `-wal` and `-shm` files: today's calls are counted again from landed answers";
        let damaged = || Error::storage(format!("state file `{name}` is damaged")).with_hint(delete);
        match self {
            Failure::Document(error) => damaged().caused_by(error),
            Failure::Sqlite(error) => match error.sqlite_error_code() {
                Some(DatabaseCorrupt) => damaged().caused_by(error),
                Some(NotADatabase) => Failure::Foreign.of(name).caused_by(error),
                Some(DatabaseBusy | DatabaseLocked) => {
                    let message = format!("other processes held state file `{name}` for {} s", BUSY.as_secs());
                    Error::new(Kind::Unavailable, message).caused_by(error)
                }
                code => {
                    let unused = Error::storage(format!("state file `{name}` cannot be used"));
                    let unused = match code {
                        Some(DiskFull) => unused.with_hint("make room on its disk, and start again"),
                        Some(SystemIoFailure) => unused.with_hint("look at its disk: it may be full, or failing"),
                        _ => unused,
                    };
                    unused.caused_by(error)
                }
            },
            Failure::Foreign => Error::storage(format!("`{name}` is not a state file")).with_hint(
                "name another file in the pipeline's `state`; if it was the state file and is damaged, delete it with \
                 its `-wal` and `-shm` files: today's calls are counted again from landed answers",
            ),
            Failure::Version(version) => {
                let message = format!("state file `{name}` has version {version}; this huopan knows version {VERSION}");
                Error::storage(message).with_hint(format!("use the huopan that wrote it, or {delete}"))
            }
            Failure::Gone => {
                let message =
                    format!("state file `{name}`, or a file beside it, was removed or replaced while it was used");
                Error::new(Kind::Unavailable, message).with_hint(
                    "start the run again, and the calls are counted anew from what has landed; no process may have it \
                     open when it is removed or put back",
                )
            }
        }
    }
}
