//! What a kind of store must keep for a lake to stand on it.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use url::Url;

use crate::base::{Error, Result};

use super::{NewFile, PipelineLock};

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

/// The outcome of [`Backend::create`].
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The file is there, durable, and ours.
    Done,
    /// Somebody created it before; it is untouched.
    Exists,
}

/// A kind of store. Paths are relative to the lake and checked. What each function promises is said at the function of
/// [`Store`](super::Store) that calls it; one conformance suite runs on every implementation.
#[async_trait::async_trait]
pub trait Backend: Send + Sync + std::fmt::Debug {
    /// See [`Store::url`](super::Store::url).
    fn url(&self) -> &Url;

    /// See [`Store::folder`](super::Store::folder).
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// See [`Store::object_store`](super::Store::object_store).
    fn object_store(&self) -> Arc<dyn ObjectStore>;

    /// See [`Store::root_object_store`](super::Store::root_object_store).
    fn root_object_store(&self) -> Arc<dyn ObjectStore>;

    /// See [`Store::get`](super::Store::get).
    async fn get(&self, path: &str) -> Result<Option<Bytes>>;

    /// See [`Store::get_ranges`](super::Store::get_ranges).
    async fn get_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>> {
        match self.object_store().get_ranges(&ObjectPath::from(path), ranges).await {
            Ok(parts) => Ok(Some(parts)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(Error::storage(format!("cannot read `{path}` of the lake")).caused_by(source)),
        }
    }

    /// See [`Store::meta`](super::Store::meta).
    async fn meta(&self, path: &str) -> Result<Option<Meta>> {
        match self.object_store().head(&ObjectPath::from(path)).await {
            Ok(found) => Ok(Some(Meta { path: path.to_owned(), bytes: found.size, modified_at: found.last_modified })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(Error::storage(format!("cannot read `{path}` of the lake")).caused_by(source)),
        }
    }

    /// See [`Store::list`](super::Store::list).
    async fn list(&self, folder: &str) -> Result<Vec<Meta>>;

    /// See [`Store::list_nameless`](super::Store::list_nameless).
    async fn list_nameless(&self) -> Result<Vec<Meta>> {
        Ok(Vec::new())
    }

    /// See [`Store::put_durable`](super::Store::put_durable).
    async fn put(&self, path: &str, bytes: Bytes) -> Result<()>;

    /// See [`Store::create`](super::Store::create).
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created>;

    /// See [`Store::delete`](super::Store::delete).
    async fn delete(&self, path: &str) -> Result<()>;

    /// See [`Store::lock`](super::Store::lock); `path` is the lock's file.
    async fn lock(&self, path: &str, pipeline: &str, holder: &str) -> Result<PipelineLock>;

    /// See [`Store::prepare_folder`](super::Store::prepare_folder).
    fn prepare_folder(&self, folder: &str) -> Result<()>;

    /// See [`Store::new_file`](super::Store::new_file).
    fn new_file(&self, folder: &str) -> Result<NewFile>;
}
