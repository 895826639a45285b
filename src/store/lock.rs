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

/// The right to run a pipeline, until it is dropped.
#[derive(Debug)]
pub struct PipelineLock {
    file: File,
}

impl Drop for PipelineLock {
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

pub(super) fn take(folders: &Folders, path: &Path, pipeline: &str, holder: &str) -> Result<PipelineLock> {
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
    Ok(PipelineLock { file })
}

fn held(pipeline: &str, file: &mut File) -> Error {
    let mut holder = String::new();
    // The holder may be about to write its name: then it stays unnamed.
    let read = file.take(HOLDER_BYTES_MAX).read_to_string(&mut holder);
    let holder = if read.is_err() || holder.trim().is_empty() {
        "another process".to_owned()
    } else {
        format!("`{}`", holder.trim())
    };
    let message = format!("pipeline `{pipeline}` is already running: its lock is held by {holder}");
    Error::new(Kind::Conflict, message).with_hint("wait for it to end, or stop it; the lock ends with its process")
}
