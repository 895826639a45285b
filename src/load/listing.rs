//! A Delta log's files as they are, where the store lists late what was written a moment ago: commits that follow, and a
//! checkpoint that readers are led to, are asked for by their names.
//!
//! Takes the object store of a lake; gives one whose listings of `_delta_log` show them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use super::delta::LOG;

/// Digits of a version in a file's name.
const DIGITS: usize = 20;

/// An object store that lists Delta logs to their ends.
#[derive(Debug)]
pub(super) struct WholeLogs {
    inner: Arc<dyn ObjectStore>,
}

impl WholeLogs {
    pub(super) fn over(inner: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        Arc::new(Self { inner })
    }
}

impl fmt::Display for WholeLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// The version in the name of a log's file.
fn version(path: &Path) -> Option<u64> {
    path.filename()?.get(..DIGITS)?.parse().ok()
}

/// Adds a file to those that are listed, if it is there; whether it is.
async fn add(store: &dyn ObjectStore, files: &mut BTreeMap<Path, ObjectMeta>, path: Path) -> Result<bool> {
    if files.contains_key(&path) {
        return Ok(true);
    }
    match store.head(&path).await {
        Ok(meta) => files.insert(path, meta),
        Err(Error::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok(true)
}

/// Adds to what is listed of a log, from a version on, what is there and not listed.
async fn whole(
    store: Arc<dyn ObjectStore>,
    log: Path,
    from: Option<u64>,
    listed: Vec<ObjectMeta>,
) -> Result<Vec<ObjectMeta>> {
    let mut files: BTreeMap<Path, ObjectMeta> = listed.into_iter().map(|meta| (meta.location.clone(), meta)).collect();
    // Readers begin at the version that they know a checkpoint of.
    if let Some(from) = from.filter(|from| *from > 0) {
        add(&*store, &mut files, log.clone().join(format!("{from:020}.checkpoint.parquet"))).await?;
    }
    let listed = files.keys().filter_map(version);
    let (mut first, last) = (listed.clone().min().or(from).unwrap_or(0), listed.max());
    // A log begins with its first commit or with a checkpoint: below the lowest that is listed others may follow.
    while first > from.unwrap_or(0)
        && !files.contains_key(&log.clone().join(format!("{first:020}.checkpoint.parquet")))
        && add(&*store, &mut files, log.clone().join(format!("{:020}.json", first - 1))).await?
    {
        first -= 1;
    }
    // One in the middle that is not there was cleared away, or is lost.
    let mut next = first;
    while add(&*store, &mut files, log.clone().join(format!("{next:020}.json"))).await? || last > Some(next) {
        next += 1;
    }
    Ok(files.into_values().collect())
}

/// The log that a listing is of.
fn log_of(prefix: Option<&Path>) -> Option<&Path> {
    prefix.filter(|prefix| prefix.filename() == Some(LOG))
}

#[async_trait::async_trait]
impl ObjectStore for WholeLogs {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.inner.list(prefix);
        let Some(log) = log_of(prefix).cloned() else { return listed };
        self.whole(log, None, listed)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.inner.list_with_offset(prefix, offset);
        let Some(log) = log_of(prefix).cloned() else { return listed };
        self.whole(log, version(offset), listed)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

impl WholeLogs {
    fn whole(
        &self,
        log: Path,
        from: Option<u64>,
        listed: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = Arc::clone(&self.inner);
        let files = async move {
            let listed = listed.try_collect().await?;
            let files = whole(store, log, from, listed).await?;
            Ok::<_, Error>(stream::iter(files).map(Ok))
        };
        stream::once(files).try_flatten().boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{day, draft, lake, publish};
    use super::super::{delta, publish as publishing};
    use crate::store::late::Hidden;
    use crate::transform::contract::Table;

    #[tokio::test]
    async fn a_late_listing_of_a_delta_log_hides_neither_commits_nor_the_checkpoint() {
        let (_folder, store) = lake();
        for seq in 1..=11 {
            publish(&store, draft(&store, "a", day(20), seq, 1)).await;
        }
        let log = |name: &str| format!("runs/_delta_log/{name}");
        let hidden = Hidden::default();
        let late = hidden.over(&store);
        let version = async || {
            let delta = delta::open(&late, Table::Runs).await.unwrap();
            (delta.version(), delta::committed_seq(&delta, Table::Runs, "a").await.unwrap())
        };
        let expected = (Some(11), 11);
        assert_eq!(version().await, expected);
        for hide in [
            &["00000000000000000011.json"][..],
            &["00000000000000000010.json", "00000000000000000011.json"],
            &["00000000000000000010.checkpoint.parquet"],
            &["00000000000000000000.json", "00000000000000000001.json"],
            &["00000000000000000010.checkpoint.parquet", "00000000000000000010.json", "00000000000000000011.json"],
        ] {
            let paths: Vec<String> = hide.iter().map(|name| log(name)).collect();
            hidden.hide(paths.iter().map(String::as_str));
            assert_eq!(version().await, expected, "{hide:?}");
        }
        let seq = publishing::next_seq(&late, "a").await.unwrap();
        publish(&late, draft(&late, "a", day(21), seq, 1)).await;
        assert_eq!(version().await, (Some(12), 12));
    }
}
