//! The lake as a store of small durable files: read, list, write whole, create at most once, lock.
//!
//! Takes paths relative to the lake's root, with `/` between their parts; gives bytes and outcomes.
//!
//! | module | job |
//! |---|---|
//! | `backend` | what a kind of store must keep: one conformance suite runs on all of them |
//! | `local` | a folder |
//! | `bucket` | a prefix of an object store; `s3`: the client of a bucket, `credentials`: where its keys come from |
//! | `lock`, `lease` | one run per pipeline at a time: the kernel's lock on disk, an expiring lease on S3 |
//! | `layered` | a store over another, for work that must not touch a lake |
//! | `probe` | a race of creators: a store that lets two win is refused |
//! | `new_file` | a file that is written piece by piece |
//!
//! Invariant: a file that can be read or listed is whole, and what was acknowledged survives a power cut.

pub mod backend;
mod bucket;
#[cfg(test)]
mod conformance;
mod credentials;
#[cfg(test)]
pub(crate) mod late;
mod layered;
mod lease;
mod local;
mod lock;
mod new_file;
mod probe;
mod s3;
#[cfg(test)]
mod tests;

pub use backend::{Backend, Created, Meta};
pub use bucket::{Bucket, is_outage};
pub use lock::{Hold, PipelineLock, describe_holder};
pub use new_file::NewFile;
pub use probe::RACERS;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use url::Url;

use crate::base::{Error, Result};
use crate::config::location::Location;

/// A lake. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
}

impl Store {
    /// Opens a lake for writing: a folder is made where it is missing; a bucket that was not written before is probed
    /// with a race of creators, since publishing rests on exactly one of them winning.
    ///
    /// # Errors
    /// `Config` when it cannot be created or written, or is no store for a lake; `Denied`, `Unavailable` or `Storage`
    /// when its service refuses or does not answer.
    pub async fn writable(location: &Location) -> Result<Self> {
        match location {
            Location::Folder(root) => Self::open(root),
            Location::S3(location) => {
                let store = Self::over(s3::open(location)?);
                probe::once(&store).await?;
                Ok(store)
            }
        }
    }

    /// Opens a lake for reading; writes nothing.
    ///
    /// # Errors
    /// As [`Store::writable`]; `Config` when there is no lake.
    pub async fn readable(location: &Location) -> Result<Self> {
        Self::find(location).await?.ok_or_else(|| no_lake(location))
    }

    /// The lake at a location, for reading; `None`: there is none yet.
    ///
    /// # Errors
    /// As [`Store::writable`].
    pub async fn find(location: &Location) -> Result<Option<Self>> {
        match location {
            Location::Folder(root) if root.is_dir() => Self::open_existing(root).map(Some),
            Location::Folder(_) => Ok(None),
            Location::S3(location) => {
                let bucket = s3::open(location)?;
                Ok((!bucket.is_empty(OURS).await?).then(|| Self::over(bucket)))
            }
        }
    }

    /// Opens a place for files that is no lake: a bucket is not probed, since nothing is decided there.
    ///
    /// # Errors
    /// `Config` when it cannot be created or written.
    pub fn plain(location: &Location) -> Result<Self> {
        match location {
            Location::Folder(root) => Self::open(root),
            Location::S3(location) => Ok(Self::over(s3::open(location)?)),
        }
    }

    /// Opens the lake at a folder for writing; creates the folder where it is missing.
    ///
    /// # Errors
    /// `Config` when it cannot be created or written.
    pub fn open(root: &Path) -> Result<Self> {
        local::prepare_root(root)?;
        Ok(Self::over(local::Local::at(root)?))
    }

    /// Opens the lake at a folder for reading; writes nothing.
    ///
    /// # Errors
    /// `Config` when there is no such folder.
    pub fn open_existing(root: &Path) -> Result<Self> {
        if !root.is_dir() {
            return Err(no_lake(&Location::Folder(root.to_owned())));
        }
        Ok(Self::over(local::Local::at(root)?))
    }

    /// A lake on a store of another kind.
    #[must_use]
    pub fn over(backend: impl Backend + 'static) -> Self {
        Self { backend: Arc::new(backend) }
    }

    /// This store over a lake: what is written goes here, what is not here is read from the lake. It cannot be locked,
    /// and nothing reaches the lake through it. To be called within the runtime.
    #[must_use]
    pub fn over_lake(&self, lake: &Self) -> Self {
        let (above, below) = (self.clone(), lake.clone());
        Self::over(layered::Layered { above, below, runtime: tokio::runtime::Handle::current() })
    }

    /// Races creators of one file, a few times, and clears up.
    ///
    /// # Errors
    /// `Config` when not exactly one of them wins, or a file that was deleted is still there: no store for a lake.
    pub async fn probe(&self) -> Result<()> {
        probe::race(self).await
    }

    /// Its address, with a `/` at the end.
    #[must_use]
    pub fn url(&self) -> &Url {
        self.backend.url()
    }

    /// Its folder, absolute; `None`: it is none.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.backend.folder()
    }

    /// The folder of a lake that is one.
    #[cfg(test)]
    pub(crate) fn root(&self) -> &Path {
        self.folder().unwrap()
    }

    /// The same files for readers that want an object store; its paths start at the lake.
    #[must_use]
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        self.backend.object_store()
    }

    /// The file system or bucket that the lake is in, for readers that want an object store with absolute paths.
    #[must_use]
    pub fn root_object_store(&self) -> Arc<dyn ObjectStore> {
        self.backend.root_object_store()
    }

    /// A file's bytes; `None` when there is no such file.
    ///
    /// # Errors
    /// `Storage` when it cannot be read.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        self.backend.get(checked(path)?).await
    }

    /// Parts of a file, by ranges of its bytes; `None` when there is no such file.
    ///
    /// # Errors
    /// `Storage` when they cannot be read, or the file ends before one of them.
    pub async fn get_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>> {
        self.backend.get_ranges(checked(path)?, ranges).await
    }

    /// What a listing says of one file, its time to the second; `None` when there is no such file. It is asked for by its
    /// name: some stores list what was written a moment ago only later.
    ///
    /// # Errors
    /// `Storage` when it cannot be read.
    pub async fn meta(&self, path: &str) -> Result<Option<Meta>> {
        self.backend.meta(checked(path)?).await
    }

    /// All files below a folder (`""`: the whole lake), at any depth, sorted by path in byte order.
    /// Files that are still being written are not among them. A folder that is not there is empty.
    ///
    /// # Errors
    /// `Storage` when it cannot be read.
    pub async fn list(&self, folder: &str) -> Result<Vec<Meta>> {
        let folder = folder.trim_end_matches('/');
        self.backend.list(if folder.is_empty() { folder } else { checked(folder)? }).await
    }

    /// Files that are being written, or that a process which died was writing: they have no name of their own yet, and
    /// no listing but this one shows them.
    ///
    /// # Errors
    /// `Storage` when the lake cannot be read.
    pub async fn list_nameless(&self) -> Result<Vec<Meta>> {
        self.backend.list_nameless().await
    }

    /// Writes a whole file in place of the one that may be there. Durable when it returns; a reader sees
    /// the old bytes or the new ones, never a mixture.
    ///
    /// # Errors
    /// `Storage` when it cannot be written, for example on a full disk.
    pub async fn put_durable(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.backend.put(checked(path)?, bytes).await
    }

    /// Writes a whole file unless there is one already. Of any number of concurrent callers, in any number of
    /// processes, exactly one gets [`Created::Done`]. Either outcome is durable when it returns; an outcome that a lost
    /// answer left unknown has been read back.
    ///
    /// # Errors
    /// `Storage` when it cannot be written.
    pub async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        self.backend.create(checked(path)?, bytes).await
    }

    /// Deletes a file; one that is not there counts as deleted. After a power cut it may be back.
    ///
    /// # Errors
    /// `Storage` when it cannot be deleted.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.backend.delete(checked(path)?).await
    }

    /// Takes the lock of a pipeline, without waiting; held until it is released or dropped, or the process ends.
    /// `holder` is what another process is told (see [`describe_holder`]).
    ///
    /// # Errors
    /// `Conflict`, saying who holds it; `Storage` when the lock cannot be written.
    pub async fn lock(&self, pipeline: &str, holder: &str) -> Result<PipelineLock> {
        let path = format!("_huopan/locks/{pipeline}.lock");
        self.backend.lock(checked(&path)?, pipeline, holder).await
    }

    /// Makes a folder of the lake, where the store has folders: some readers want it before the first file. Blocking.
    ///
    /// # Errors
    /// `Storage` when it cannot be written.
    pub fn prepare_folder(&self, folder: &str) -> Result<()> {
        self.backend.prepare_folder(checked(folder)?)
    }

    /// Begins a file in a folder of the lake. Blocking, as all that is done with it: off the reactor, within the runtime.
    ///
    /// # Errors
    /// `Storage` when it cannot be written.
    pub fn new_file(&self, folder: &str) -> Result<NewFile> {
        self.backend.new_file(checked(folder)?)
    }
}

/// Where huopan's own files stand in a lake: a lake is what has them.
const OURS: &str = "_huopan";
/// What to do about a write that found no room.
pub(crate) const DISK_IS_FULL: &str = "the disk is full: free space, then run again";

/// Whether a write found no room, as far as its causes tell.
pub(crate) fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut kinds = causes(error).filter_map(|cause| cause.downcast_ref().map(io::Error::kind));
    kinds.any(|kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

/// An error, what caused it, and so on.
fn causes<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// The path itself. One that would leave the lake is a bug of the caller.
fn checked(path: &str) -> Result<&str> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0']);
    if path.split('/').all(plain) {
        Ok(path)
    } else {
        Err(Error::internal(format!("`{path}` is not a path in a lake")))
    }
}

fn no_lake(location: &Location) -> Error {
    let message = format!("there is no lake at `{location}`");
    Error::config(message).with_hint("run a pipeline first, or name another one")
}
