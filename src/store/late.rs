//! A store whose listings do not show some files yet, for tests: by their names they are there.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};
use url::Url;

use crate::base::Result;

use super::backend::{Backend, Created, Meta};
use super::{NewFile, PipelineLock, Store};

/// What no listing shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hidden(Arc<Mutex<BTreeSet<String>>>);

impl Hidden {
    /// From now on these are hidden, and no others.
    pub(crate) fn hide<'p>(&self, paths: impl IntoIterator<Item = &'p str>) {
        *self.0.lock().unwrap() = paths.into_iter().map(str::to_owned).collect();
    }

    /// This store with late listings.
    pub(crate) fn over(&self, inner: &Store) -> Store {
        Store::over(Late { inner: inner.clone(), hidden: self.clone() })
    }
}

#[derive(Debug)]
struct Late {
    inner: Store,
    hidden: Hidden,
}

#[async_trait::async_trait]
impl Backend for Late {
    fn url(&self) -> &Url {
        self.inner.url()
    }

    fn folder(&self) -> Option<&Path> {
        self.inner.folder()
    }

    fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(LateObjects { inner: self.inner.object_store(), hidden: self.hidden.clone() })
    }

    fn root_object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(LateObjects { inner: self.inner.root_object_store(), hidden: self.hidden.clone() })
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        self.inner.get(path).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Meta>> {
        let mut found = self.inner.list(folder).await?;
        let hidden = self.hidden.0.lock().unwrap();
        found.retain(|meta| !hidden.contains(&meta.path));
        Ok(found)
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.inner.put_durable(path, bytes).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        self.inner.create(path, bytes).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.inner.delete(path).await
    }

    async fn lock(&self, _: &str, pipeline: &str, holder: &str) -> Result<PipelineLock> {
        self.inner.lock(pipeline, holder).await
    }

    fn prepare_folder(&self, folder: &str) -> Result<()> {
        self.inner.prepare_folder(folder)
    }

    fn new_file(&self, folder: &str) -> Result<NewFile> {
        self.inner.new_file(folder)
    }
}

/// The same of an object store.
#[derive(Debug)]
struct LateObjects {
    inner: Arc<dyn ObjectStore>,
    hidden: Hidden,
}

impl std::fmt::Display for LateObjects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for LateObjects {
    async fn put_opts(
        &self,
        location: &ObjectPath,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectPath,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<ObjectPath>>,
    ) -> BoxStream<'static, object_store::Result<ObjectPath>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let hidden = self.hidden.0.lock().unwrap().clone();
        let is_shown = move |meta: &object_store::Result<ObjectMeta>| {
            let path = meta.as_ref().map(|meta| meta.location.to_string()).unwrap_or_default();
            futures::future::ready(!hidden.iter().any(|hidden| path.ends_with(hidden)))
        };
        self.inner.list(prefix).filter(is_shown).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
