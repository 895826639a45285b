//! Lanes: connections to one gateway, each for one call at a time.
//!
//! A pool that many calls share hands a waiting call whatever connection comes free first, and nobody hears when. A
//! lane's call is alone: either its connection stands, or it is opened, and then [`News`] tell so and hold the call back
//! until somebody lets it go.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tower_layer::Layer;
use tower_service::Service;

/// Makes lanes, and keeps those that nobody uses.
#[derive(Debug)]
pub(super) struct Lanes {
    /// Plain gateways (the simulator) must work on machines without certificates.
    pub(super) is_plain: bool,
    /// Whose address may hold a password.
    pub(super) proxy: Option<reqwest::Proxy>,
    idle: Mutex<Vec<Lane>>,
}

/// One connection, opened when a call needs it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) client: reqwest::Client,
    pub(super) news: UnboundedReceiver<News>,
}

/// What becomes of a lane's connection.
#[derive(Debug)]
pub(super) enum News {
    /// It is being opened, through the proxy and with TLS where there are any.
    Opening,
    /// It stands; its call is sent as soon as this is answered, or dropped.
    Open(oneshot::Sender<()>),
}

impl Lanes {
    /// # Errors
    /// Those of [`Lanes::take`].
    pub(super) fn new(is_plain: bool, proxy: Option<reqwest::Proxy>) -> reqwest::Result<Self> {
        let lanes = Self { is_plain, proxy, idle: Mutex::default() };
        let first = lanes.lane()?;
        lanes.put(first);
        Ok(lanes)
    }

    fn lane(&self) -> reqwest::Result<Lane> {
        let (to, news) = mpsc::unbounded_channel();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("huopan/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .default_headers(plain_answers())
            .http1_only()
            .pool_max_idle_per_host(1)
            .connector_layer(Reporting(to));
        if self.is_plain {
            builder = builder.tls_certs_only([]);
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        Ok(Lane { client: builder.build()?, news })
    }

    /// The lane that was used last, whose connection is the likeliest to stand, or a new one.
    ///
    /// # Errors
    /// The machine has no certificates to check `https` gateways with.
    pub(super) fn take(&self) -> reqwest::Result<Lane> {
        let idle = self.idle().pop();
        let mut lane = idle.map_or_else(|| self.lane(), Ok)?;
        // Of a call that was given up.
        while lane.news.try_recv().is_ok() {}
        Ok(lane)
    }

    pub(super) fn put(&self, lane: Lane) {
        self.idle().push(lane);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers are kept as they come: who is not told may send any coding (RFC 9110, 12.5.3).
fn plain_answers() -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))])
}

/// Has whoever opens connections tell [`News`] of them.
#[derive(Debug, Clone)]
struct Reporting(UnboundedSender<News>);

/// Opens connections and tells of them.
#[derive(Debug, Clone)]
struct Reporter<S> {
    opener: S,
    to: UnboundedSender<News>,
}

impl<S> Layer<S> for Reporting {
    type Service = Reporter<S>;

    fn layer(&self, opener: S) -> Reporter<S> {
        Reporter { opener, to: self.0.clone() }
    }
}

impl<S, A> Service<A> for Reporter<S>
where
    S: Service<A>,
    S::Future: Send + 'static,
    S::Response: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.opener.poll_ready(context)
    }

    fn call(&mut self, address: A) -> Self::Future {
        let (opening, to) = (self.opener.call(address), self.to.clone());
        Box::pin(async move {
            // Where nobody listens any more nothing waits for the connection either.
            let _ = to.send(News::Opening);
            let connection = opening.await?;
            let (go, may_go) = oneshot::channel();
            let _ = to.send(News::Open(go));
            let _ = may_go.await;
            Ok(connection)
        })
    }
}
