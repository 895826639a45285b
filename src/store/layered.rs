//! A store over another: what is written goes above, what is read comes from above, else from below.
//!
//! For work that must not touch a lake, and yet builds on what is in it.
//!
//! Invariant: nothing is written below, and no file above has the name of one below.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use tokio::runtime::Handle;
use url::Url;

use crate::base::{Error, Result};

use super::backend::{Backend, Created, Meta};
use super::{NewFile, PipelineLock, Store};

/// One store over another.
#[derive(Debug, Clone)]
pub(super) struct Layered {
    pub(super) above: Store,
    pub(super) below: Store,
    /// Where files are sent from: their writers may be threads of their own.
    pub(super) runtime: Handle,
}

#[async_trait::async_trait]
impl Backend for Layered {
    fn url(&self) -> &Url {
        self.above.url()
    }

    fn object_store(&self) -> Arc<dyn ObjectStore> {
        self.above.object_store()
    }

    fn root_object_store(&self) -> Arc<dyn ObjectStore> {
        self.above.root_object_store()
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        match self.above.get(path).await? {
            Some(bytes) => Ok(Some(bytes)),
            None => self.below.get(path).await,
        }
    }

    async fn get_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>> {
        match self.above.get_ranges(path, ranges).await? {
            Some(parts) => Ok(Some(parts)),
            None => self.below.get_ranges(path, ranges).await,
        }
    }

    async fn meta(&self, path: &str) -> Result<Option<Meta>> {
        match self.above.meta(path).await? {
            Some(meta) => Ok(Some(meta)),
            None => self.below.meta(path).await,
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<Meta>> {
        let mut files: BTreeMap<String, Meta> = BTreeMap::new();
        for layer in [&self.below, &self.above] {
            files.extend(layer.list(folder).await?.into_iter().map(|meta| (meta.path.clone(), meta)));
        }
        Ok(files.into_values().collect())
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.above.put_durable(path, bytes).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        if self.below.meta(path).await?.is_some() {
            return Ok(Created::Exists);
        }
        self.above.create(path, bytes).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.above.delete(path).await
    }

    async fn lock(&self, _: &str, pipeline: &str, _: &str) -> Result<PipelineLock> {
        Err(Error::internal(format!("nothing of `{pipeline}` is decided above its lake")))
    }

    fn prepare_folder(&self, folder: &str) -> Result<()> {
        self.above.prepare_folder(folder)
    }

    fn new_file(&self, _: &str) -> Result<NewFile> {
        NewFile::sent(Arc::new(self.clone()), self.runtime.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn what_is_written_stands_above_and_what_is_read_comes_from_both() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [below, above] = folders.each_ref().map(|folder| Store::open(folder.path()).unwrap());
        let store = above.over_lake(&below);
        below.put_durable("a/one", Bytes::from_static(b"below")).await.unwrap();
        assert_eq!(store.create("a/one", Bytes::from_static(b"above")).await.unwrap(), Created::Exists);
        assert_eq!(store.create("a/two", Bytes::from_static(b"above")).await.unwrap(), Created::Done);
        assert_eq!(store.get("a/one").await.unwrap().as_deref(), Some(&b"below"[..]));
        assert_eq!(store.get("a/two").await.unwrap().as_deref(), Some(&b"above"[..]));
        let written = tokio::task::spawn_blocking({
            let store = store.clone();
            move || {
                let mut file = store.new_file("a").unwrap();
                file.write_all(b"whole").unwrap();
                [file.create("a/one").unwrap(), file.create("a/three").unwrap()]
            }
        });
        assert_eq!(written.await.unwrap(), [Created::Exists, Created::Done]);
        store.delete("a/one").await.unwrap();
        assert_eq!(store.meta("a/one").await.unwrap().map(|meta| meta.bytes), Some(5));
        assert_eq!(store.meta("a/two").await.unwrap().map(|meta| meta.path), Some("a/two".to_owned()));
        let names = |files: Vec<Meta>| files.into_iter().map(|meta| meta.path).collect::<Vec<_>>();
        assert_eq!(names(store.list("a").await.unwrap()), ["a/one", "a/three", "a/two"]);
        assert_eq!(names(below.list("").await.unwrap()), ["a/one"], "nothing reaches the lake");
    }
}
