//! A file that is written to: it takes its name when it is complete and durable, or is a pipe or device that gets what
//! comes as it comes.
//!
//! Invariant: a failure leaves no half file under the name, and an older file as it was.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::base::{Error, Result};

/// Links that lead to links are followed so far, as systems do.
const LINKS_MAX: usize = 40;

/// An output under its way.
#[derive(Debug)]
pub(super) struct Output {
    /// Where links lead.
    path: PathBuf,
    /// None: it is written through.
    temporary: Option<NamedTempFile>,
}

impl Output {
    /// Starts one.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let path = target(path);
        if is_through(&path) {
            return Ok(Self { path, temporary: None });
        }
        // A process that is killed leaves it behind: its name says what it is.
        let mut prefix = OsString::from(".");
        prefix.push(path.file_name().unwrap_or_default());
        prefix.push(".huopan-");
        let temporary = tempfile::Builder::new().prefix(&prefix).tempfile_in(folder(&path));
        let temporary = temporary.map_err(|source| unwritten(&path, source))?;
        Ok(Self { path, temporary: Some(temporary) })
    }

    /// What to write to.
    pub(super) fn writer(&self) -> Result<File> {
        let file = match &self.temporary {
            Some(temporary) => temporary.reopen(),
            None => OpenOptions::new().write(true).open(&self.path),
        };
        file.map_err(|source| unwritten(&self.path, source))
    }

    /// Gives the file its name: everything is written.
    pub(super) fn complete(self) -> Result<()> {
        let Some(temporary) = self.temporary else { return Ok(()) };
        let unwritten = |source| unwritten(&self.path, source);
        temporary.as_file().sync_all().map_err(unwritten)?;
        readable_as_usual(&temporary).map_err(unwritten)?;
        temporary.persist(&self.path).map_err(|source| unwritten(source.error))?;
        File::open(folder(&self.path)).and_then(|folder| folder.sync_all()).map_err(unwritten)
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A link is written through, whether its file is there or not.
fn target(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(next) = std::fs::read_link(&path) else { break };
        path = path.parent().map_or_else(|| next.clone(), |folder| folder.join(&next));
    }
    path
}

/// Whether somebody at the other end takes what is written: a pipe, a device.
fn is_through(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

fn unwritten(path: &Path, source: std::io::Error) -> Error {
    Error::storage(format!("cannot write `{}`", path.display()))
        .with_hint("make it and its folder writable, with room for the rows, or name another file")
        .caused_by(source)
}

/// A temporary file is its owner's only; one that is handed on is not.
#[cfg(unix)]
fn readable_as_usual(file: &NamedTempFile) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_as_usual(_file: &NamedTempFile) -> std::io::Result<()> {
    Ok(())
}
