//! A file that is written piece by piece and gets its name at the end. Blocking.
//!
//! Invariant: before [`NewFile::create`] nobody can list or read it; after it, it is whole and durable.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::base::Result;

use super::local::{self, Temporary};
use super::{Created, Store};

/// A file without a name yet; gone when it is dropped without one.
pub struct NewFile {
    store: Store,
    folder: PathBuf,
    temporary: Temporary,
    file: File,
}

impl Store {
    /// Begins a file in a folder of the lake. Blocking, as all that is done with it.
    ///
    /// # Errors
    /// `Storage` when it cannot be written.
    pub fn new_file(&self, folder: &str) -> Result<NewFile> {
        let folder = self.resolve(folder)?;
        self.inner.folders.prepare(&folder.join("file"))?;
        let (temporary, file) = Temporary::create(&folder).map_err(|source| local::failed("write", &folder, source))?;
        Ok(NewFile { store: self.clone(), folder, temporary, file })
    }
}

impl NewFile {
    /// Makes what was written durable under a name in the same folder, unless the name is taken:
    /// then nothing has happened, and another name may be tried.
    ///
    /// # Errors
    /// `Storage` when it cannot be written.
    pub fn create(&self, path: &str) -> Result<Created> {
        let target = self.store.resolve(path)?;
        let failed = |source: io::Error| local::failed("write", &target, source);
        self.file.sync_all().map_err(failed)?;
        let created = self.temporary.link(&target).map_err(failed)?;
        local::sync_folder(&self.folder)?;
        Ok(created)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
