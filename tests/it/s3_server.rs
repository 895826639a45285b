//! A real S3 server in this process, on a folder of its own: signatures are checked, conditional writes are kept.

#![allow(dead_code, reason = "each of the two test binaries uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a server that does not start is a failed test")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::Request;
use axum::http::{Method, Response};
use axum::serve::ListenerExt as _;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::sync::RwLock;
use tokio_util::task::AbortOnDropHandle;

/// The bucket that is there.
pub(crate) const BUCKET: &str = "lakes";
/// The key that is let in, with its secret.
pub(crate) const KEY: (&str, &str) = ("AKIDTEST", "s3-test-secret");

/// How the server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// As it should.
    Good,
    /// `If-None-Match` is overlooked: every create overwrites.
    Overwrites,
    /// Every so many requests one is answered with 503 and not done, and another is done and answered with 503.
    Stormy(u64),
}

/// A running server; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct S3Server {
    folder: TempDir,
    address: String,
    at_end: fn(&Path),
    _serving: AbortOnDropHandle<()>,
}

impl Drop for S3Server {
    fn drop(&mut self) {
        (self.at_end)(&self.bucket());
    }
}

impl S3Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(Manners::Good).await
    }

    pub(crate) async fn start_with(manners: Manners) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY.0, KEY.1));
        let (service, writes) = (builder.build(), Arc::new(RwLock::new(())));
        let (root, served) = (folder.path().to_owned(), Arc::new(AtomicU64::new(0)));
        let app = axum::Router::new().fallback(move |request: Request| {
            let (service, writes, root) = (service.clone(), Arc::clone(&writes), root.clone());
            let number = served.fetch_add(1, Ordering::Relaxed);
            // A request that has come is seen through, as a store does, also when its sender is gone: the files behind
            // would be left half written, and be answered with 500 from then on.
            let answered = tokio::spawn(async move {
                match manners {
                    Manners::Stormy(every) if number % every == every / 2 => slow_down(),
                    Manners::Stormy(every) if number % every == every - 1 => {
                        drop(answer(service, &writes, None, request).await);
                        slow_down()
                    }
                    Manners::Overwrites => answer(service, &writes, Some(root), request).await,
                    Manners::Good | Manners::Stormy(_) => answer(service, &writes, None, request).await,
                }
            });
            async move { answered.await.unwrap() }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { folder, address, at_end: |_| (), _serving: AbortOnDropHandle::new(serving) }
    }

    /// Has the folder that holds the bucket looked at when the server is dropped.
    pub(crate) fn looked_at_in_the_end(self, look: fn(&Path)) -> Self {
        let mut server = self;
        server.at_end = look;
        server
    }

    /// Its endpoint.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What a client's environment says of it.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let pairs = [
            ("AWS_ACCESS_KEY_ID", KEY.0),
            ("AWS_SECRET_ACCESS_KEY", KEY.1),
            ("AWS_ENDPOINT_URL", &self.address),
            ("AWS_ALLOW_HTTP", "true"),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// A variable of [`S3Server::environment`].
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.environment().into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The file that holds an object.
    pub(crate) fn file(&self, key: &str) -> PathBuf {
        self.bucket().join(key)
    }

    /// The folder that holds the bucket.
    pub(crate) fn bucket(&self) -> PathBuf {
        Path::new(self.folder.path()).join(BUCKET)
    }
}

fn slow_down() -> Response<axum::body::Body> {
    Response::builder().status(503).body("<Error><Code>SlowDown</Code></Error>".into()).unwrap()
}

async fn answer(
    service: S3Service,
    writes: &RwLock<()>,
    overwritten: Option<PathBuf>,
    request: Request,
) -> Response<axum::body::Body> {
    // The file system behind looks first and writes then: without this, two creators may both win. It writes an object and
    // its tag one after the other: a reader between the two would change the object by a tag that it has not read.
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let _many_read = if reads { Some(writes.read().await) } else { None };
    let _one_writes = if reads { None } else { Some(writes.write().await) };
    if let Some(folder) = overwritten
        && request.headers().contains_key("if-none-match")
    {
        // The header is signed: it stays, and what it speaks of goes.
        let _ = std::fs::remove_file(folder.join(request.uri().path().trim_start_matches('/')));
    }
    let request = request.map(s3s::Body::http_body_unsync);
    service.call(request).await.unwrap().map(axum::body::Body::new)
}
