//! The lake as a store of small durable files: read, list, write whole, create at most once, lock.
//!
//! Takes paths relative to the lake's root, with `/` between their parts; gives bytes and outcomes.
//! Local disk for now; every function here is one that an object store can keep too.
//!
//! Invariant: a file that can be read or listed is whole, and what was acknowledged survives a power cut.

mod local;
mod lock;
mod new_file;
#[cfg(test)]
mod tests;

pub use lock::{PipelineLock, describe_holder};
pub use new_file::NewFile;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use url::Url;

use crate::base::{Error, Result};

/// A lake. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folders: local::Folders,
    url: Url,
    object_store: Arc<dyn ObjectStore>,
}

/// One file of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Relative to the lake, `/` between its parts.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written last.
    pub modified_at: DateTime<Utc>,
}

/// The outcome of [`Store::create`].
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The file is there, durable, and ours.
    Done,
    /// Somebody created it before; it is untouched.
    Exists,
}

impl Store {
    /// Opens the lake at a folder for writing; creates the folder where it is missing.
    ///
    /// # Errors
    /// `Config` when it cannot be created or written.
    pub fn open(root: &Path) -> Result<Self> {
        local::prepare_root(root)?;
        Self::at(root)
    }

    /// Opens the lake at a folder for reading; writes nothing.
    ///
    /// # Errors
    /// `Config` when there is no such folder.
    pub fn open_existing(root: &Path) -> Result<Self> {
        if !root.is_dir() {
            let message = format!("there is no lake at `{}`", root.display());
            return Err(Error::config(message).with_hint("run a pipeline first, or name another folder"));
        }
        Self::at(root)
    }

    fn at(root: &Path) -> Result<Self> {
        let unusable = |what: &str| Error::config(format!("the lake `{}` {what}", root.display()));
        let root = root.canonicalize().map_err(|source| unusable("cannot be read").caused_by(source))?;
        let url = Url::from_directory_path(&root).map_err(|()| unusable("has no address"))?;
        let files = LocalFileSystem::new_with_prefix(&root);
        let object_store = Arc::new(files.map_err(|source| unusable("cannot be read").caused_by(source))?);
        Ok(Self { inner: Arc::new(Inner { folders: local::Folders::new(root), url, object_store }) })
    }

    /// Its address, with a `/` at the end.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.inner.url
    }

    /// Its folder, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.inner.folders.root()
    }

    /// The same files for readers that want an object store; its paths start at the lake.
    #[must_use]
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.inner.object_store)
    }

    /// A file's bytes; `None` when there is no such file.
    ///
    /// # Errors
    /// `Storage` when it cannot be read.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let file = self.resolve(path)?;
        blocking(move || local::read(&file)).await
    }

    /// All files below a folder (`""`: the whole lake), at any depth, sorted by path in byte order.
    /// Files that are still being written are not among them. A folder that is not there is empty.
    ///
    /// # Errors
    /// `Storage` when it cannot be read.
    pub async fn list(&self, folder: &str) -> Result<Vec<Meta>> {
        let folder = folder.trim_end_matches('/');
        let start = if folder.is_empty() { self.root().to_owned() } else { self.resolve(folder)? };
        let inner = Arc::clone(&self.inner);
        blocking(move || local::list(inner.folders.root(), &start)).await
    }

    /// Writes a whole file in place of the one that may be there. Durable when it returns; a reader sees
    /// the old bytes or the new ones, never a mixture.
    ///
    /// # Errors
    /// `Storage` when it cannot be written, for example on a full disk.
    pub async fn put_durable(&self, path: &str, bytes: Bytes) -> Result<()> {
        let (inner, file) = (Arc::clone(&self.inner), self.resolve(path)?);
        blocking(move || local::put(&inner.folders, &file, &bytes)).await
    }

    /// Writes a whole file unless there is one already. Of any number of concurrent callers, in any number of
    /// processes, exactly one gets [`Created::Done`]. Either outcome is durable when it returns.
    ///
    /// # Errors
    /// `Storage` when it cannot be written.
    pub async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        let (inner, file) = (Arc::clone(&self.inner), self.resolve(path)?);
        blocking(move || local::create(&inner.folders, &file, &bytes)).await
    }

    /// Deletes a file; one that is not there counts as deleted. After a power cut it may be back.
    ///
    /// # Errors
    /// `Storage` when it cannot be deleted.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let file = self.resolve(path)?;
        blocking(move || local::delete(&file)).await
    }

    /// Takes the lock of a pipeline, without waiting; held until the value is dropped or the process ends.
    /// `holder` is what another process is told (see [`describe_holder`]).
    ///
    /// # Errors
    /// `Conflict`, saying who holds it; `Storage` when the lock file cannot be written.
    pub async fn lock(&self, pipeline: &str, holder: &str) -> Result<PipelineLock> {
        let file = self.resolve(&format!("_huopan/locks/{pipeline}.lock"))?;
        let (inner, pipeline, holder) = (Arc::clone(&self.inner), pipeline.to_owned(), holder.to_owned());
        blocking(move || lock::take(&inner.folders, &file, &pipeline, &holder)).await
    }

    /// The file a path stands for. A path that would leave the lake is a bug of the caller.
    fn resolve(&self, path: &str) -> Result<PathBuf> {
        let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0']);
        if !path.split('/').all(plain) {
            return Err(Error::internal(format!("`{path}` is not a path in a lake")));
        }
        Ok(path.split('/').fold(self.root().to_owned(), |file, part| file.join(part)))
    }
}

/// File work goes through here, off the reactor.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(source) => Err(Error::internal("file work ended before it was done").caused_by(source)),
    }
}
