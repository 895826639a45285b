//! One run per pipeline at a time, across processes: an operating system lock on a file in the lake.
//!
//! The lock is the kernel's, so a process that dies lets go of it; the file's content only says who has it.
//!
//! Invariant: the lock file is never deleted (two processes could then hold locks on two files of one name).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::base::time::BEIJING;
use crate::base::{Error, Kind, Result};

use super::local::{self, Folders};

/// A longer content is none of ours.
const HOLDER_BYTES_MAX: u64 = 1024;

/// The right to run a pipeline. Ends when it is released or dropped, or with the process; on a store whose locks expire
/// a dropped one ends when it expires.
#[derive(Debug)]
pub struct PipelineLock(Box<dyn Hold>);

/// What a kind of store holds for a lock.
#[async_trait::async_trait]
pub trait Hold: Send + Sync + std::fmt::Debug {
    /// Whether the lock was taken from a holder that had not let go of it.
    fn is_taken_over(&self) -> bool {
        false
    }

    /// Whether the lock is known to be held still.
    ///
    /// # Errors
    /// `Conflict` when it has expired or somebody else has it.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Lets go of it.
    ///
    /// # Errors
    /// `Storage` when it cannot be written: then it expires.
    async fn release(self: Box<Self>) -> Result<()>;
}

impl PipelineLock {
    /// A lock of some kind.
    #[must_use]
    pub fn new(hold: impl Hold + 'static) -> Self {
        Self(Box::new(hold))
    }

    /// See [`Hold::is_taken_over`]: the holder before may still be about to decide something, and must be fenced off.
    #[must_use]
    pub fn is_taken_over(&self) -> bool {
        self.0.is_taken_over()
    }

    /// See [`Hold::check`].
    ///
    /// # Errors
    /// `Conflict`.
    pub fn check(&self) -> Result<()> {
        self.0.check()
    }

    /// Lets go of the lock.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn release(self) -> Result<()> {
        self.0.release().await
    }
}

/// The kernel's lock on a file.
#[derive(Debug)]
pub(super) struct FileLock {
    file: File,
}

#[async_trait::async_trait]
impl Hold for FileLock {
    async fn release(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Nobody reads the content of a lock that is free; closing the file is what releases it.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

/// This process as the holder of a lock: process id, host, since when (Beijing time).
#[must_use]
pub fn describe_holder(since: DateTime<Utc>) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "this host" } else { host.trim() };
    let since = since.with_timezone(&BEIJING).to_rfc3339_opts(SecondsFormat::Secs, false);
    format!("process {} on {host} since {since}", std::process::id())
}

pub(super) fn take(folders: &Folders, path: &Path, pipeline: &str, holder: &str) -> Result<FileLock> {
    let failed = |source| local::failed("write", path, source);
    folders.prepare(path)?;
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = opened.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(held(pipeline, &mut file)),
        Err(TryLockError::Error(source)) => return Err(local::failed("lock", path, source)),
    }
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes()));
    written.map_err(failed)?;
    Ok(FileLock { file })
}

fn held(pipeline: &str, file: &mut File) -> Error {
    let mut holder = String::new();
    // The holder may be about to write its name: then it stays unnamed.
    let read = file.take(HOLDER_BYTES_MAX).read_to_string(&mut holder);
    let holder = if read.is_err() { "" } else { holder.trim() };
    running(pipeline, holder).with_hint("wait for it to end, or stop it; the lock ends with its process")
}

/// The error of a lock that somebody else has.
pub(super) fn running(pipeline: &str, holder: &str) -> Error {
    let holder = if holder.is_empty() { "another process".to_owned() } else { format!("`{holder}`") };
    let message = format!("pipeline `{pipeline}` is already running: its lock is held by {holder}");
    Error::new(Kind::Conflict, message)
}
