//! A folder as a store; below it the file system calls, which block.
//!
//! A write goes into a temporary file beside its target, is synced, then takes the target's name (`rename` to
//! replace, `link` to create: a link fails when the name is taken), and the folder is synced.
//!
//! Invariant: a name that does not start with [`TEMPORARY_PREFIX`] belongs to a whole, synced file.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use url::Url;

use crate::base::{Error, Result};

use super::backend::{Backend, Created, Meta};
use super::{DISK_IS_FULL, NewFile, PipelineLock, lock};

/// How the names of files that are still being written start; such files are never listed.
const TEMPORARY_PREFIX: &str = ".huopan-tmp-";

/// A lake in a folder.
#[derive(Debug)]
pub(super) struct Local {
    folders: Arc<Folders>,
    url: Url,
    files: Arc<dyn ObjectStore>,
}

impl Local {
    /// The lake at a folder that is there.
    pub(super) fn at(root: &Path) -> Result<Self> {
        let unusable = |what: &str| Error::config(format!("the lake `{}` {what}", root.display()));
        let root = root.canonicalize().map_err(|source| unusable("cannot be read").caused_by(source))?;
        let url = Url::from_directory_path(&root).map_err(|()| unusable("has no address"))?;
        let files = LocalFileSystem::new_with_prefix(&root);
        let files = Arc::new(files.map_err(|source| unusable("cannot be read").caused_by(source))?);
        Ok(Self { folders: Arc::new(Folders::new(root)), url, files })
    }

    fn resolve(&self, path: &str) -> PathBuf {
        join(self.folders.root(), path)
    }
}

/// The file that a path in a lake stands for.
pub(super) fn join(root: &Path, path: &str) -> PathBuf {
    path.split('/').fold(root.to_owned(), |file, part| file.join(part))
}

#[async_trait::async_trait]
impl Backend for Local {
    fn url(&self) -> &Url {
        &self.url
    }

    fn folder(&self) -> Option<&Path> {
        Some(self.folders.root())
    }

    fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.files)
    }

    fn root_object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(LocalFileSystem::new())
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let file = self.resolve(path);
        blocking(move || read(&file)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Meta>> {
        let start = if folder.is_empty() { self.folders.root().to_owned() } else { self.resolve(folder) };
        let folders = Arc::clone(&self.folders);
        blocking(move || list(folders.root(), &start, Kind::Whole)).await
    }

    async fn list_nameless(&self) -> Result<Vec<Meta>> {
        let folders = Arc::clone(&self.folders);
        blocking(move || list(folders.root(), folders.root(), Kind::Temporary)).await
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        let (folders, file) = (Arc::clone(&self.folders), self.resolve(path));
        blocking(move || put(&folders, &file, &bytes)).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        let (folders, file) = (Arc::clone(&self.folders), self.resolve(path));
        blocking(move || create(&folders, &file, &bytes)).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let file = self.resolve(path);
        blocking(move || delete(&file)).await
    }

    async fn lock(&self, path: &str, pipeline: &str, holder: &str) -> Result<PipelineLock> {
        let (folders, file) = (Arc::clone(&self.folders), self.resolve(path));
        let (pipeline, holder) = (pipeline.to_owned(), holder.to_owned());
        let file = blocking(move || lock::take(&folders, &file, &pipeline, &holder)).await?;
        Ok(PipelineLock::new(file))
    }

    fn prepare_folder(&self, folder: &str) -> Result<()> {
        self.folders.prepare(&self.resolve(folder).join("file")).map(|_| ())
    }

    fn new_file(&self, folder: &str) -> Result<NewFile> {
        let folder = self.resolve(folder);
        self.folders.prepare(&folder.join("file"))?;
        NewFile::beside(self.folders.root().to_owned(), folder)
    }
}

/// File work goes through here, off the reactor.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(source) => Err(Error::internal("file work ended before it was done").caused_by(source)),
    }
}

/// Creates the lake's folder and writes a file into it, to fail now rather than in the middle of a night.
pub(super) fn prepare_root(root: &Path) -> Result<()> {
    let unwritable = |source: io::Error| {
        let message = format!("the lake `{}` cannot be written", root.display());
        let hint = match source.kind() {
            io::ErrorKind::PermissionDenied => "give this user write permission on the folder, or name another lake",
            io::ErrorKind::ReadOnlyFilesystem => "its file system is read-only: name another lake",
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                "a part of this path is a file: name another lake"
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space on its disk",
            _ => "check the path of the lake",
        };
        Error::config(message).with_hint(hint).caused_by(source)
    };
    fs::create_dir_all(root).map_err(unwritable)?;
    let probe = Temporary::write(root, b"huopan").map_err(unwritable)?;
    drop(probe);
    Ok(())
}

pub(super) fn read(file: &Path) -> Result<Option<Bytes>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(source) if is_absent(&source) => Ok(None),
        Err(source) => Err(failed("read", file, source)),
    }
}

/// Which files a listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Whole,
    Temporary,
}

pub(super) fn list(root: &Path, folder: &Path, kind: Kind) -> Result<Vec<Meta>> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(folder).min_depth(1).follow_links(true) {
        let meta = entry.and_then(|entry| Ok((entry.metadata()?, entry)));
        let (metadata, entry) = match meta {
            Ok(found) => found,
            // Deleted or renamed while we were looking.
            Err(source) if source.io_error().is_some_and(is_absent) => continue,
            Err(source) => return Err(failed("list", folder, source.into())),
        };
        let temporary = entry.file_name().to_str().is_some_and(|name| name.starts_with(TEMPORARY_PREFIX));
        let is_asked_for = metadata.is_file() && temporary == (kind == Kind::Temporary);
        let Some(path) = relative(root, entry.path()).filter(|_| is_asked_for) else { continue };
        let modified = metadata.modified().map_err(|source| failed("list", entry.path(), source))?;
        found.push(Meta { path, bytes: metadata.len(), modified_at: modified.into() });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

pub(super) fn put(folders: &Folders, file: &Path, bytes: &[u8]) -> Result<()> {
    write_then(folders, file, bytes, |temporary| temporary.replace(file))
}

pub(super) fn create(folders: &Folders, file: &Path, bytes: &[u8]) -> Result<Created> {
    write_then(folders, file, bytes, |temporary| temporary.link(file))
}

pub(super) fn delete(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(source) if !is_absent(&source) => Err(failed("delete", file, source)),
        _ => Ok(()),
    }
}

/// A lake's folders: which of them are known to survive a power cut.
#[derive(Debug)]
pub(super) struct Folders {
    root: PathBuf,
    synced: Mutex<HashSet<PathBuf>>,
}

impl Folders {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, synced: Mutex::default() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folder of `file` and returns it. Its entry, and that of every folder above it up to the root, is
    /// synced once by each process, also when it was there: whoever made it may have died before syncing.
    pub(super) fn prepare<'a>(&'a self, file: &'a Path) -> Result<&'a Path> {
        let folder = file.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(|source| failed("write", file, source))?;
        let synced = |folder: &Path| guard(&self.synced).contains(folder);
        let below_root = folder.ancestors().take_while(|folder| *folder != self.root);
        let unsynced: Vec<&Path> = below_root.take_while(|folder| !synced(folder)).collect();
        for folder in unsynced.into_iter().rev() {
            sync_folder(folder.parent().unwrap_or(&self.root))?;
            guard(&self.synced).insert(folder.to_owned());
        }
        Ok(folder)
    }
}

fn guard(synced: &Mutex<HashSet<PathBuf>>) -> MutexGuard<'_, HashSet<PathBuf>> {
    synced.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error of a file operation.
pub(super) fn failed(verb: &str, file: &Path, source: io::Error) -> Error {
    let error = Error::storage(format!("cannot {verb} `{}`", file.display()));
    let hint = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DISK_IS_FULL,
        io::ErrorKind::PermissionDenied => "give this user permission on the lake",
        io::ErrorKind::ReadOnlyFilesystem => "the lake's file system is read-only",
        io::ErrorKind::Unsupported => "the lake's file system has no hard links or no sync: use another one",
        _ => return error.caused_by(source),
    };
    error.with_hint(hint).caused_by(source)
}

fn write_then<T>(
    folders: &Folders,
    file: &Path,
    bytes: &[u8],
    name: impl FnOnce(Temporary) -> io::Result<T>,
) -> Result<T> {
    let folder = folders.prepare(file)?;
    let temporary = Temporary::write(folder, bytes).map_err(|source| failed("write", file, source))?;
    let outcome = name(temporary).map_err(|source| failed("write", file, source))?;
    sync_folder(folder)?;
    Ok(outcome)
}

pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| failed("sync", folder, source))
}

fn relative(root: &Path, file: &Path) -> Option<String> {
    let parts = file.strip_prefix(root).ok()?.components();
    let parts: Option<Vec<&str>> = parts.map(|part| part.as_os_str().to_str()).collect();
    Some(parts?.join("/"))
}

/// Also when a part of the path is a file: nothing can be below it.
fn is_absent(source: &io::Error) -> bool {
    matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A synced file without a name of its own; gone when it is dropped.
pub(super) struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn write(folder: &Path, bytes: &[u8]) -> io::Result<Self> {
        let (temporary, mut file) = Self::create(folder)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(temporary)
    }

    /// A new file under a name nobody else has: another host may have our process id on the same share.
    pub(super) fn create(folder: &Path) -> io::Result<(Self, File)> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{TEMPORARY_PREFIX}{}-{count}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((Self { path }, file)),
                Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(source),
            }
        }
    }

    fn replace(mut self, file: &Path) -> io::Result<()> {
        fs::rename(&self.path, file)?;
        // The name is free now and may be somebody else's the next moment.
        self.path.clear();
        Ok(())
    }

    pub(super) fn link(&self, file: &Path) -> io::Result<Created> {
        match fs::hard_link(&self.path, file) {
            Ok(()) => Ok(Created::Done),
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => Ok(Created::Exists),
            Err(source) => Err(source),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // A leftover takes space, but is never listed.
            let _ = fs::remove_file(&self.path);
        }
    }
}
