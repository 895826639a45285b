//! A prefix of an object store with conditional writes as a lake.
//!
//! A create carries the name of its writer as metadata of the object: when an answer is lost, or a repeated request
//! finds what the first one wrote, the object is read back and says whose it is.
//!
//! Invariant: nothing is believed written, or refused, that was not confirmed or read back.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    Attribute, AttributeValue, Attributes, Error as StoreError, GetOptions, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions, PutPayload,
};
use tokio::runtime::Handle;
use url::Url;
use uuid::Uuid;

use crate::base::{Error, Kind, Result};

use super::backend::{Backend, Created, Meta};
use super::{NewFile, PipelineLock, causes, lease};

/// The metadata that names an object's writer.
const WRITER: Attribute = Attribute::Metadata(std::borrow::Cow::Borrowed("huopan-writer"));

/// A lake in a bucket. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    root: Arc<dyn ObjectStore>,
    files: Arc<dyn ObjectStore>,
    url: Url,
    /// Where threads that are none of the runtime's have their files sent from.
    runtime: Handle,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A client prints how it signs.
        f.debug_struct("Bucket").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

impl Bucket {
    /// The lake below `prefix` of an object store; `url` is what it is called. Within the runtime.
    ///
    /// # Errors
    /// `Internal` when `url` does not end with `/`.
    pub fn new(root: Arc<dyn ObjectStore>, prefix: &str, url: Url) -> Result<Self> {
        if !url.path().ends_with('/') {
            return Err(Error::internal(format!("`{url}` is no address of a folder")));
        }
        let files: Arc<dyn ObjectStore> = match prefix {
            "" => Arc::clone(&root),
            prefix => Arc::new(PrefixStore::new(Arc::clone(&root), prefix)),
        };
        Ok(Self { root, files, url, runtime: Handle::current() })
    }

    /// Whether nothing is below a folder.
    ///
    /// # Errors
    /// As [`super::Store::list`].
    pub(super) async fn is_empty(&self, folder: &str) -> Result<bool> {
        let first = self.files.list(Some(&Path::from(folder))).try_next().await;
        Ok(first.map_err(|source| self.failed("list", folder, source))?.is_none())
    }

    pub(super) fn files(&self) -> &dyn ObjectStore {
        self.files.as_ref()
    }

    /// The error of an operation, with what can be done about it.
    pub(super) fn failed(&self, verb: &str, path: &str, source: StoreError) -> Error {
        let message = format!("cannot {verb} `{}{path}`", self.url);
        if let Some(hint) = tls_hint(&source) {
            return Error::config(message).with_hint(hint).caused_by(source);
        }
        if let StoreError::Generic { source: told, .. } = &source
            && let Some((kind, hint)) = answer(&told.to_string())
        {
            return Error::new(kind, message).with_hint(hint).caused_by(source);
        }
        match &source {
            StoreError::PermissionDenied { source: told, .. } | StoreError::Unauthenticated { source: told, .. } => {
                Error::new(Kind::Denied, message).with_hint(denied(&told.to_string()))
            }
            StoreError::NotFound { .. } => {
                Error::config(message).with_hint("make the bucket, or correct its name, region or endpoint")
            }
            StoreError::Generic { .. } | StoreError::JoinError { .. } => Error::new(Kind::Unavailable, message)
                .with_hint("the lake's store does not answer as it should; try again later, or ask `huopan doctor`"),
            _ => Error::storage(message),
        }
        .caused_by(source)
    }

    async fn writer_of(&self, path: &Path) -> Result<Option<String>, StoreError> {
        let head = GetOptions { head: true, ..GetOptions::default() };
        match self.files.get_opts(path, head).await {
            Ok(found) => {
                Ok(Some(found.attributes.get(&WRITER).map(|writer| writer.as_ref().to_owned()).unwrap_or_default()))
            }
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(source) => Err(source),
        }
    }
}

/// What to do about an endpoint that cannot be talked to over TLS, now or later.
fn tls_hint(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let says = |part: &str| causes(error).any(|error| error.to_string().contains(part));
    match () {
        () if says("InvalidContentType") || says("corrupt message") => {
            Some("the endpoint does not speak TLS: correct it, or begin it with `http://` and say `allow_http = true`")
        }
        () if says("invalid peer certificate") => {
            Some("the endpoint's certificate is not trusted: correct its name, or let the system trust who signed it")
        }
        () => None,
    }
}

/// What to do about a key that is refused, or missing, by what was told.
fn denied(told: &str) -> &'static str {
    match told {
        _ if told.starts_with("no keys were found") => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile in AWS_PROFILE, or give the machine a role"
        }
        _ if told.contains("SignatureDoesNotMatch") => "the secret is not that of the key: correct it",
        _ if told.contains("InvalidAccessKeyId") => "the store does not know the key: correct it, or the endpoint",
        _ if told.contains("RequestTimeTooSkewed") => "set this machine's clock",
        _ if told.contains("ExpiredToken") => "the key has expired: get a new one",
        _ => "the key needs permission to list, read, write and delete below the lake's prefix",
    }
}

/// What a server's answer means that the client passes on as text only.
fn answer(text: &str) -> Option<(Kind, &'static str)> {
    const REGION: &str = "correct the bucket's region (`region` of `[lake]`, or AWS_REGION) or endpoint";
    let is = |part: &str| text.contains(part);
    let status = text.split_once("status code: ").and_then(|(_, rest)| rest.get(..3)).unwrap_or_default();
    match status {
        _ if is("redirect without LOCATION") || is("PermanentRedirect") => Some((Kind::Config, REGION)),
        _ if is("AuthorizationHeaderMalformed") => Some((Kind::Config, REGION)),
        _ if is("NoSuchBucket") => Some((Kind::Config, "make the bucket, or correct its name, region or endpoint")),
        "301" | "307" | "308" => Some((Kind::Config, REGION)),
        "401" | "403" => {
            Some((Kind::Denied, "correct the key, or give it permission to list, read, write and delete there"))
        }
        "404" => Some((Kind::Config, "make the bucket, or correct its name, region or endpoint")),
        "501" => Some((
            Kind::Config,
            "a lake needs a store that creates an object only where there is none (`If-None-Match: *`): use another one",
        )),
        _ => None,
    }
}

/// Whether an error, somewhere in its causes, is that of a server that does not answer as it should.
#[must_use]
pub fn is_outage(error: &(dyn std::error::Error + 'static)) -> bool {
    let is = |error: &(dyn std::error::Error + 'static)| {
        let text = error.to_string();
        let of_server = ["status code: 5", "status code: 429", "HTTP error", "error sending request"];
        of_server.iter().any(|part| text.contains(part)) && !text.contains("status code: 501")
    };
    tls_hint(error).is_none() && causes(error).any(is)
}

#[async_trait::async_trait]
impl Backend for Bucket {
    fn url(&self) -> &Url {
        &self.url
    }

    fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.files)
    }

    fn root_object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.root)
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let read = async { self.files.get(&Path::from(path)).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.failed("read", path, source)),
        }
    }

    async fn get_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>> {
        match self.files.get_ranges(&Path::from(path), ranges).await {
            Ok(parts) => Ok(Some(parts)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.failed("read", path, source)),
        }
    }

    async fn meta(&self, path: &str) -> Result<Option<Meta>> {
        match self.files.head(&Path::from(path)).await {
            Ok(found) => Ok(Some(Meta { path: path.to_owned(), bytes: found.size, modified_at: found.last_modified })),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.failed("read", path, source)),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<Meta>> {
        let prefix = (!folder.is_empty()).then(|| Path::from(folder));
        let found = self.files.list(prefix.as_ref()).map_ok(|meta| Meta {
            path: meta.location.to_string(),
            bytes: meta.size,
            modified_at: meta.last_modified,
        });
        let mut found: Vec<Meta> = found.try_collect().await.map_err(|source| self.failed("list", folder, source))?;
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        let put = self.files.put(&Path::from(path), bytes.into()).await;
        put.map(|_| ()).map_err(|source| self.failed("write", path, source))
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        let (target, writer) = (Path::from(path), Uuid::now_v7().to_string());
        let attributes = Attributes::from_iter([(WRITER, AttributeValue::from(writer.clone()))]);
        let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
        let source = match self.files.put_opts(&target, PutPayload::from(bytes), options).await {
            Ok(_) => return Ok(Created::Done),
            Err(source) => source,
        };
        // A lost answer is asked for again by the client, which then finds what its own first request wrote.
        match self.writer_of(&target).await.map_err(|source| self.failed("read", path, source))? {
            Some(found) if found == writer => Ok(Created::Done),
            Some(_) => Ok(Created::Exists),
            None => Err(self.failed("write", path, source)),
        }
    }

    async fn delete(&self, path: &str) -> Result<()> {
        match self.files.delete(&Path::from(path)).await {
            Err(StoreError::NotFound { .. }) | Ok(()) => Ok(()),
            Err(source) => Err(self.failed("delete", path, source)),
        }
    }

    async fn lock(&self, path: &str, pipeline: &str, holder: &str) -> Result<PipelineLock> {
        lease::take(self, path, pipeline, holder).await.map(PipelineLock::new)
    }

    fn prepare_folder(&self, _folder: &str) -> Result<()> {
        Ok(())
    }

    fn new_file(&self, _folder: &str) -> Result<NewFile> {
        NewFile::sent(Arc::new(self.clone()), self.runtime.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_must_be_changed_or_that_the_server_is_out_of_order() {
        let text = |status: &str| {
            format!("Error performing GET http://b/ in 1ms - Server returned non-2xx status code: {status}")
        };
        let kind = |text: &str| answer(text).map(|(kind, _)| kind);
        for (status, expected) in [
            ("403 Forbidden: <Code>InvalidAccessKeyId</Code>", Some(Kind::Denied)),
            ("404 Not Found: <Code>NoSuchBucket</Code>", Some(Kind::Config)),
            ("400 Bad Request: <Code>AuthorizationHeaderMalformed</Code>", Some(Kind::Config)),
            ("301 Moved Permanently: <Code>PermanentRedirect</Code>", Some(Kind::Config)),
            ("501 Not Implemented: ", Some(Kind::Config)),
            ("400 Bad Request: cupcakes", None),
            ("503 Service Unavailable: <Code>SlowDown</Code>", None),
        ] {
            assert_eq!(kind(&text(status)), expected, "{status}");
        }
        let bare = "Received redirect without LOCATION, this normally indicates an incorrectly configured region";
        assert_eq!(kind(bare), Some(Kind::Config));
        let outage = |status: &str| {
            let told = Error::storage("outer").caused_by(std::io::Error::other(text(status)));
            is_outage(&told)
        };
        assert_eq!(
            (outage("503 Service Unavailable: "), outage("404 Not Found: "), outage("501 …")),
            (true, false, false)
        );
    }

    #[test]
    fn a_key_that_is_refused_is_told_by_why() {
        for (told, hint) in [
            ("no keys were found: profile `nope` is not there, or has none", "AWS_PROFILE"),
            ("403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code>", "the secret"),
            ("403 Forbidden: <Error><Code>InvalidAccessKeyId</Code>", "does not know the key"),
            ("403 Forbidden: <Error><Code>AccessDenied</Code>", "needs permission"),
        ] {
            assert!(denied(told).contains(hint), "{told}");
        }
    }
}
