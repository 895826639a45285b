//! A file that is written piece by piece and gets its name at the end. Blocking.
//!
//! Invariant: before [`NewFile::create`] nobody can list or read it; after it, it is whole and durable.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::base::{Error, Result};

use super::backend::{Backend, Created};
use super::local::{self, Temporary};

/// A file without a name yet; gone when it is dropped without one.
pub struct NewFile {
    kind: Kind,
}

enum Kind {
    /// A temporary file beside its target.
    Beside { root: PathBuf, folder: PathBuf, temporary: Temporary, file: File },
    /// A temporary file on this machine, sent when it is whole.
    Sent { backend: Arc<dyn Backend>, runtime: Handle, file: File },
}

impl NewFile {
    /// A file in a folder of a lake on disk; paths start at `root`.
    pub(super) fn beside(root: PathBuf, folder: PathBuf) -> Result<Self> {
        let (temporary, file) = Temporary::create(&folder).map_err(|source| local::failed("write", &folder, source))?;
        Ok(Self { kind: Kind::Beside { root, folder, temporary, file } })
    }

    /// A file that `backend` creates once it is whole, on `runtime`: its writer may be a thread of its own.
    ///
    /// # Errors
    /// `Storage` when this machine has no room for it.
    pub fn sent(backend: Arc<dyn Backend>, runtime: Handle) -> Result<Self> {
        let file = tempfile::tempfile().map_err(spooling)?;
        Ok(Self { kind: Kind::Sent { backend, runtime, file } })
    }

    /// Makes what was written durable under a name in the same folder, unless the name is taken:
    /// then nothing has happened, and another name may be tried.
    ///
    /// # Errors
    /// `Storage` when it cannot be written.
    pub fn create(&mut self, path: &str) -> Result<Created> {
        super::checked(path)?;
        match &mut self.kind {
            Kind::Beside { root, folder, temporary, file } => {
                let target = local::join(root, path);
                let failed = |source: io::Error| local::failed("write", &target, source);
                file.sync_all().map_err(failed)?;
                let created = temporary.link(&target).map_err(failed)?;
                local::sync_folder(folder)?;
                Ok(created)
            }
            Kind::Sent { backend, runtime, file } => {
                let mut bytes = Vec::with_capacity(usize::try_from(file.stream_position().unwrap_or(0)).unwrap_or(0));
                file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map_err(spooling)?;
                runtime.block_on(backend.create(path, Bytes::from(bytes)))
            }
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (Kind::Beside { file, .. } | Kind::Sent { file, .. }) = &mut self.kind;
        file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let (Kind::Beside { file, .. } | Kind::Sent { file, .. }) = &mut self.kind;
        file.flush()
    }
}

fn spooling(source: io::Error) -> Error {
    let error = Error::storage("cannot write or read a temporary file");
    error.with_hint("point TMPDIR at a disk with room").caused_by(source)
}
