//! A lake whose every operation can fail: one operation, by its number, in one way.
//!
//! Both doors of a store go through here: its own (small files) and the object store behind it (Delta logs, Parquet
//! readers). Operations are counted in the order in which they begin.

use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use huopan::base::{Clock, Error, Kind, Result, SystemClock};
use huopan::store::{Backend, Created, Meta, NewFile, PipelineLock, Store};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions,
};
use tokio::runtime::Handle;
use url::Url;

type Stored<T> = object_store::Result<T>;

/// What happens at the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It fails and does nothing; later ones work.
    ErrorBefore,
    /// It is done, and its answer is lost; later ones work.
    ErrorAfter,
    /// The process ends before it.
    CrashBefore,
    /// The process ends after it.
    CrashAfter,
    /// The process ends in the middle of it: a temporary file is left half written.
    Torn,
    /// A listing shows nothing that was written since the start.
    StaleList,
    /// … and no listing after it does.
    StaleLists,
}

/// Counts operations and fails one of them.
#[derive(Debug)]
pub(crate) struct Faults {
    plan: Option<(u64, Fault)>,
    begun: AtomicU64,
    crashed: AtomicBool,
    /// What each operation was, in order.
    names: Mutex<Vec<String>>,
}

/// How an operation goes on.
enum Turn {
    Works,
    FailsBefore,
    FailsAfter,
    IsTorn,
    IsStale,
}

impl Faults {
    pub(crate) fn none() -> Arc<Self> {
        Arc::new(Self {
            plan: None,
            begun: AtomicU64::new(0),
            crashed: AtomicBool::new(false),
            names: Mutex::default(),
        })
    }

    /// Fails the operation of this number, from 0.
    pub(crate) fn at(number: u64, fault: Fault) -> Arc<Self> {
        Arc::new(Self { plan: Some((number, fault)), ..Arc::into_inner(Self::none()).unwrap() })
    }

    /// What was done, in order.
    pub(crate) fn operations(&self) -> Vec<String> {
        self.names.lock().unwrap().clone()
    }

    fn begin(&self, verb: &str, path: &str) -> Turn {
        let number = self.begun.fetch_add(1, Ordering::SeqCst);
        self.names.lock().unwrap().push(format!("{verb} {path}"));
        if self.crashed.load(Ordering::SeqCst) {
            return Turn::FailsBefore;
        }
        let is_due = |(at, fault): &(u64, Fault)| *at == number || *at < number && *fault == Fault::StaleLists;
        let Some((_, fault)) = self.plan.filter(is_due) else { return Turn::Works };
        if matches!(fault, Fault::CrashBefore | Fault::CrashAfter | Fault::Torn) {
            self.crashed.store(true, Ordering::SeqCst);
        }
        match fault {
            Fault::ErrorBefore | Fault::CrashBefore => Turn::FailsBefore,
            Fault::ErrorAfter | Fault::CrashAfter => Turn::FailsAfter,
            Fault::Torn => Turn::IsTorn,
            Fault::StaleList | Fault::StaleLists => Turn::IsStale,
        }
    }
}

fn failure() -> Error {
    Error::new(Kind::Unavailable, "a fault that was asked for")
}

fn lost() -> object_store::Error {
    object_store::Error::Generic { store: "faults", source: "a fault that was asked for".into() }
}

/// A lake on disk with faults.
#[derive(Debug, Clone)]
pub(crate) struct FaultyFolder {
    inner: Store,
    faults: Arc<Faults>,
    runtime: Handle,
}

impl FaultyFolder {
    pub(crate) fn lake(inner: Store, faults: &Arc<Faults>) -> Store {
        Store::over(Self { inner, faults: Arc::clone(faults), runtime: Handle::current() })
    }

    async fn act<T>(&self, verb: &str, path: &str, act: impl Future<Output = Result<T>>) -> Result<T> {
        match self.faults.begin(verb, path) {
            Turn::Works | Turn::IsStale => act.await,
            Turn::FailsBefore => Err(failure()),
            Turn::FailsAfter => {
                act.await?;
                Err(failure())
            }
            Turn::IsTorn => {
                if matches!(verb, "put" | "create") {
                    let file = self.inner.folder().unwrap().join(path);
                    let folder = file.parent().unwrap();
                    std::fs::create_dir_all(folder).unwrap();
                    std::fs::write(folder.join(".huopan-tmp-0-torn"), b"{\"seq\":").unwrap();
                }
                Err(failure())
            }
        }
    }
}

#[async_trait::async_trait]
impl Backend for FaultyFolder {
    fn url(&self) -> &Url {
        self.inner.url()
    }

    fn folder(&self) -> Option<&FilePath> {
        self.inner.folder()
    }

    fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(FaultyObjects { inner: self.inner.object_store(), faults: Arc::clone(&self.faults) })
    }

    fn root_object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(FaultyObjects { inner: self.inner.root_object_store(), faults: Arc::clone(&self.faults) })
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        self.act("get", path, self.inner.get(path)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Meta>> {
        match self.faults.begin("list", folder) {
            Turn::Works => self.inner.list(folder).await,
            Turn::IsStale => Ok(stale(self.inner.list(folder).await?, |meta| meta.modified_at)),
            _ => Err(failure()),
        }
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.act("put", path, self.inner.put_durable(path, bytes)).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        self.act("create", path, self.inner.create(path, bytes)).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.act("delete", path, self.inner.delete(path)).await
    }

    async fn lock(&self, _path: &str, pipeline: &str, holder: &str) -> Result<PipelineLock> {
        self.inner.lock(pipeline, holder).await
    }

    fn prepare_folder(&self, folder: &str) -> Result<()> {
        self.inner.prepare_folder(folder)
    }

    fn new_file(&self, _folder: &str) -> Result<NewFile> {
        NewFile::sent(Arc::new(self.clone()), self.runtime.clone())
    }
}

/// What was there before: a test makes that older than an hour.
fn stale<T>(mut found: Vec<T>, written_at: impl Fn(&T) -> DateTime<Utc>) -> Vec<T> {
    let young = SystemClock.now() - TimeDelta::hours(1);
    found.retain(|file| written_at(file) < young);
    found
}

/// An object store with faults.
#[derive(Debug)]
pub(crate) struct FaultyObjects {
    pub(crate) inner: Arc<dyn ObjectStore>,
    pub(crate) faults: Arc<Faults>,
}

impl std::fmt::Display for FaultyObjects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

impl FaultyObjects {
    async fn act<T>(&self, verb: &str, path: &Path, act: impl Future<Output = Stored<T>>) -> Stored<T> {
        match self.faults.begin(verb, path.as_ref()) {
            Turn::Works | Turn::IsStale => act.await,
            Turn::FailsBefore | Turn::IsTorn => Err(lost()),
            Turn::FailsAfter => {
                act.await?;
                Err(lost())
            }
        }
    }
}

#[async_trait::async_trait]
impl ObjectStore for FaultyObjects {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Stored<PutResult> {
        self.act("put", location, self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Stored<Box<dyn MultipartUpload>> {
        self.act("upload", location, self.inner.put_multipart_opts(location, options)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Stored<GetResult> {
        self.act("get", location, self.inner.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Stored<Vec<Bytes>> {
        self.act("get", location, self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Stored<Path>>) -> BoxStream<'static, Stored<Path>> {
        match self.faults.begin("delete", "") {
            Turn::Works | Turn::IsStale => self.inner.delete_stream(locations),
            Turn::FailsBefore | Turn::IsTorn => futures::stream::once(async { Err(lost()) }).boxed(),
            Turn::FailsAfter => {
                let deleted = self.inner.delete_stream(locations);
                deleted.map(|deleted| deleted.and(Err(lost()))).boxed()
            }
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Stored<ObjectMeta>> {
        match self.faults.begin("list", prefix.map_or("", Path::as_ref)) {
            Turn::Works => self.inner.list(prefix),
            Turn::IsStale => {
                let found = self.inner.list(prefix);
                let stale = async move {
                    let found: Vec<ObjectMeta> = found.try_collect().await?;
                    let stale = stale(found, |meta| meta.last_modified).into_iter().map(Ok);
                    Ok::<_, object_store::Error>(futures::stream::iter(stale))
                };
                futures::stream::once(stale).try_flatten().boxed()
            }
            _ => futures::stream::once(async { Err(lost()) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Stored<ListResult> {
        let name = prefix.cloned().unwrap_or_default();
        self.act("list", &name, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Stored<()> {
        self.act("copy", to, self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Stored<()> {
        self.act("rename", to, self.inner.rename_opts(from, to, options)).await
    }
}
