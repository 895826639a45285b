//! A real S3 server in this process, on a folder of its own: signatures are checked, conditional writes are kept.

#![allow(dead_code, reason = "each of the two test binaries uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a server that does not start is a failed test")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{Method, Response};
use axum::serve::ListenerExt as _;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

/// The bucket that is there.
pub(crate) const BUCKET: &str = "lakes";
/// The key that is let in, with its secret.
pub(crate) const KEY: (&str, &str) = ("AKIDTEST", "s3-test-secret");

/// How the server treats `If-None-Match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conditions {
    /// Kept.
    Kept,
    /// Overlooked: every create overwrites.
    Ignored,
}

/// A running server; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct S3Server {
    folder: TempDir,
    address: String,
    _serving: AbortOnDropHandle<()>,
}

impl S3Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(Conditions::Kept).await
    }

    pub(crate) async fn start_with(conditions: Conditions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY.0, KEY.1));
        let (service, writes) = (builder.build(), Arc::new(Mutex::new(())));
        let overwritten = (conditions == Conditions::Ignored).then(|| folder.path().to_owned());
        let app = axum::Router::new().fallback(move |request: Request| {
            let (service, writes, overwritten) = (service.clone(), Arc::clone(&writes), overwritten.clone());
            async move { answer(service, &writes, overwritten, request).await }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { folder, address, _serving: AbortOnDropHandle::new(serving) }
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

async fn answer(
    service: S3Service,
    writes: &Mutex<()>,
    overwritten: Option<PathBuf>,
    request: Request,
) -> Response<axum::body::Body> {
    // The file system behind looks first and writes then: without this, two creators may both win.
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let _one_writes = if reads { None } else { Some(writes.lock().await) };
    if let Some(folder) = overwritten
        && request.headers().contains_key("if-none-match")
    {
        // The header is signed: it stays, and what it speaks of goes.
        let _ = std::fs::remove_file(folder.join(request.uri().path().trim_start_matches('/')));
    }
    let request = request.map(s3s::Body::http_body_unsync);
    service.call(request).await.unwrap().map(axum::body::Body::new)
}
