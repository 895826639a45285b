//! A store whose listings do not show some files yet, for tests: by their names they are there.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use object_store::ObjectStore;
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
        self.inner.object_store()
    }

    fn root_object_store(&self) -> Arc<dyn ObjectStore> {
        self.inner.root_object_store()
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
