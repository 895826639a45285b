//! HTTP: the only user of `reqwest`.
//!
//! Takes a built [`Request`]; gives an [`Exchange`]: whatever arrived, also of a cut body. Sending never fails: what
//! went wrong is part of what is landed.
//!
//! Opening a connection takes as long as it takes, and a call is on the wire only afterwards: [`Sending`] says when one
//! stands, and sends when it is told to.
//!
//! Invariant: no redirect is followed (it would carry secrets elsewhere), no proxy is used that nobody configured, no
//! error text holds an address, and no body grows past the limit.

mod lane;

use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::base::{Error, Kind, Result, Secret};
use crate::config::gateway::{Gateway, Limits};

use super::record::TIMED_OUT;
use super::request::Request;
use super::retry::seconds;
use lane::{Lane, Lanes, News};

/// What came back from one sending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The HTTP status; `None`: no answer arrived.
    pub status: Option<u16>,
    /// `Content-Type`
    pub content_type: Option<String>,
    /// `Content-Encoding`
    pub content_encoding: Option<String>,
    /// `Retry-After`
    pub retry_after: Option<String>,
    /// `Date`
    pub date: Option<String>,
    /// Why no (whole) answer arrived.
    pub transport_error: Option<String>,
    /// The body as far as it arrived.
    pub body: Bytes,
}

/// The way to one gateway.
#[derive(Debug, Clone)]
pub struct Http {
    lanes: Arc<Lanes>,
    /// `host:port`
    proxy: Option<String>,
    /// Until a connection stands.
    connect_max: Duration,
    /// From sending a request to the last byte of its answer.
    read_max: Duration,
    body_bytes_max: u64,
}

impl Http {
    /// A client within a gateway's limits, through a proxy where an account has one.
    ///
    /// # Errors
    /// [`Kind::Config`] when the machine has no certificates to check `https` gateways with, or the proxy's address is
    /// none.
    pub fn new(gateway: &Gateway, proxy: Option<&Secret>) -> Result<Self> {
        let Limits { connect_seconds, read_seconds, body_bytes_max, .. } = gateway.limits;
        // The address may hold a password: the cause could repeat it.
        let read = |proxy: &Secret| {
            reqwest::Proxy::all(proxy.expose()).map_err(|_| {
                Error::new(Kind::Config, "an account's `proxy` is no proxy address").with_hint(
                    "`http://host:port`, `https://…` or `socks5://…`, with `user:password@` where it needs one",
                )
            })
        };
        let lanes = Lanes::new(is_plain(gateway, proxy), proxy.map(read).transpose()?).map_err(|error| {
            Error::new(Kind::Config, "cannot set up HTTPS")
                .with_hint("install the system's certificates (package `ca-certificates`)")
                .caused_by(error)
        })?;
        Ok(Self {
            lanes: Arc::new(lanes),
            proxy: proxy.and_then(|proxy| host(&url::Url::parse(proxy.expose()).ok()?)),
            connect_max: seconds(connect_seconds),
            read_max: seconds(read_seconds),
            body_bytes_max,
        })
    }

    /// Begins to send a request; [`Sending::next`] goes on with it.
    pub fn start(&self, request: &Request) -> Sending<'_> {
        let address = url::Url::parse(request.url.expose()).ok();
        self.begin(address.as_ref(), |client| match &request.form {
            None => client.get(request.url.expose()),
            Some(form) => client
                .post(request.url.expose())
                .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
                .body(form.expose().to_owned()),
        })
    }

    /// Sends a request as soon as it can be sent.
    pub async fn send(&self, request: &Request) -> Exchange {
        self.start(request).at_once().await
    }

    /// Greets the server at an address without asking it anything: no key, no call. Its `Date` tells its clock.
    pub async fn greet(&self, address: &url::Url) -> Exchange {
        self.begin(Some(address), |client| client.head(address.clone())).at_once().await
    }

    fn begin(
        &self,
        address: Option<&url::Url>,
        request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder,
    ) -> Sending<'_> {
        let (lane, stage) = match self.lanes.take() {
            Ok(lane) => {
                let answer = request(&lane.client).send();
                (Some(lane), Stage::Sent(Box::pin(answer)))
            }
            Err(error) => (None, Stage::Failed(error)),
        };
        Sending {
            http: self,
            host: address.and_then(host),
            lane,
            stage,
            until: Instant::now() + self.read_max,
            opening_until: None,
            go: None,
            exchange: Exchange::default(),
            body: BytesMut::new(),
        }
    }

    /// The chain of causes in one line, without the address but for its host: its query holds secrets.
    fn describe(&self, error: reqwest::Error) -> String {
        let what = if error.is_connect() {
            &self.unreached(error.url().and_then(host).as_deref())
        } else if error.is_timeout() {
            TIMED_OUT
        } else if error.is_body() || error.is_decode() {
            "the body was cut"
        } else {
            "the call failed"
        };
        // The causes do not name it today; nothing promises that.
        let error = error.without_url();
        let mut text = String::from(what);
        let mut cause = error.source();
        while let Some(error) = cause {
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        text
    }

    /// Through a proxy nobody knows which of the two it was.
    fn unreached(&self, host: Option<&str>) -> String {
        let to = host.map(|host| format!(" to `{host}`")).unwrap_or_default();
        let through = self.proxy.as_ref().map(|proxy| format!(" through the account's proxy `{proxy}`"));
        format!("cannot connect{to}{}", through.unwrap_or_default())
    }
}

/// Whether nobody on the way shows a certificate.
fn is_plain(gateway: &Gateway, proxy: Option<&Secret>) -> bool {
    let proxy = proxy.and_then(|proxy| url::Url::parse(proxy.expose()).ok());
    gateway.url.starts_with("http://") && proxy.is_none_or(|proxy| proxy.scheme() != "https")
}

/// `host:port`
fn host(url: &url::Url) -> Option<String> {
    let port = url.port_or_known_default().map(|port| format!(":{port}"));
    Some(format!("{}{}", url.host_str()?, port.unwrap_or_default()))
}

/// A request on its way.
#[must_use]
pub struct Sending<'h> {
    http: &'h Http,
    /// `host:port`
    host: Option<String>,
    lane: Option<Lane>,
    stage: Stage,
    until: Instant,
    opening_until: Option<Instant>,
    go: Option<oneshot::Sender<()>>,
    exchange: Exchange,
    body: BytesMut,
}

enum Stage {
    Sent(BoxFuture<'static, reqwest::Result<reqwest::Response>>),
    Answered(reqwest::Response),
    Failed(reqwest::Error),
    Ended,
}

/// How far a request is.
#[derive(Debug)]
pub enum Progress {
    /// A connection had to be opened, and stands now: the request leaves at [`Sending::go`], and not before.
    Stands,
    /// Its exchange is over.
    Ended(Exchange),
}

/// What a stage comes to.
enum Step {
    Head(reqwest::Result<reqwest::Response>),
    Chunk(reqwest::Result<Option<Bytes>>),
    News(Option<News>),
    Late,
}

impl Sending<'_> {
    async fn at_once(mut self) -> Exchange {
        loop {
            match self.next().await {
                Progress::Stands => self.go(),
                Progress::Ended(exchange) => return exchange,
            }
        }
    }

    /// Waits for what comes next. On a connection that stands already the request has left at the start.
    pub async fn next(&mut self) -> Progress {
        loop {
            match self.step().await {
                Step::News(Some(News::Open(go))) => {
                    (self.opening_until, self.go) = (None, Some(go));
                    return Progress::Stands;
                }
                Step::News(_) => self.opening_until = Some(Instant::now() + self.http.connect_max),
                Step::Late => return self.late(),
                Step::Head(Ok(response)) => self.answered(response),
                Step::Chunk(Ok(Some(chunk))) => {
                    if let Some(end) = self.take(&chunk) {
                        return end;
                    }
                }
                Step::Chunk(Ok(None)) => return self.end(None),
                Step::Head(Err(error)) | Step::Chunk(Err(error)) => {
                    let error = self.http.describe(error);
                    return self.end(Some(error));
                }
            }
        }
    }

    /// Lets the request leave on the connection that stands.
    pub fn go(&mut self) {
        if let Some(go) = self.go.take() {
            self.until = Instant::now() + self.http.read_max;
            // Nobody waits for it: the request has ended meanwhile.
            let _ = go.send(());
        }
    }

    async fn step(&mut self) -> Step {
        let Some(lane) = &mut self.lane else {
            return match std::mem::replace(&mut self.stage, Stage::Ended) {
                Stage::Failed(error) => Step::Head(Err(error)),
                _ => Step::Chunk(Ok(None)),
            };
        };
        let until = self.opening_until.unwrap_or(self.until);
        // A connection that was opened in vain, because another came free first, says nothing about an answered request.
        let is_sent = matches!(self.stage, Stage::Sent(_));
        tokio::select! {
            biased;
            news = lane.news.recv(), if is_sent => Step::News(news),
            step = self.stage.step() => step,
            () = tokio::time::sleep_until(until) => Step::Late,
        }
    }

    fn answered(&mut self, response: reqwest::Response) {
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.exchange = Exchange {
            status: Some(response.status().as_u16()),
            content_type: header("content-type"),
            content_encoding: header("content-encoding"),
            retry_after: header("retry-after"),
            date: header("date"),
            ..Exchange::default()
        };
        (self.opening_until, self.stage) = (None, Stage::Answered(response));
    }

    fn take(&mut self, chunk: &[u8]) -> Option<Progress> {
        let limit = self.http.body_bytes_max;
        let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(self.body.len());
        self.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        (chunk.len() > room).then(|| self.end(Some(format!("the body is longer than {limit} bytes"))))
    }

    fn late(&mut self) -> Progress {
        let opening = self.opening_until.map(|_| format!("{}: timed out", self.http.unreached(self.host.as_deref())));
        self.end(Some(opening.unwrap_or_else(|| TIMED_OUT.to_owned())))
    }

    fn end(&mut self, transport_error: Option<String>) -> Progress {
        self.stage = Stage::Ended;
        let body = std::mem::take(&mut self.body).freeze();
        Progress::Ended(Exchange { transport_error, body, ..std::mem::take(&mut self.exchange) })
    }
}

impl Stage {
    async fn step(&mut self) -> Step {
        match self {
            Stage::Sent(answer) => Step::Head(answer.await),
            Stage::Answered(response) => Step::Chunk(response.chunk().await),
            Stage::Failed(_) | Stage::Ended => Step::Chunk(Ok(None)),
        }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        // A connection in the middle of an answer is closed before its lane is used again.
        self.stage = Stage::Ended;
        if let Some(lane) = self.lane.take() {
            self.http.lanes.put(lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::testing;

    #[test]
    fn a_proxy_with_tls_shows_a_certificate_whatever_the_gateway_does() {
        let is_plain =
            |gateway, proxy: Option<&str>| self::is_plain(&testing::gateway(gateway), proxy.map(Secret::new).as_ref());
        for proxy in [None, Some("http://127.0.0.1:1"), Some("socks5://127.0.0.1:1")] {
            assert!(is_plain("http://gateway/", proxy), "{proxy:?}");
            assert!(!is_plain("https://gateway/", proxy), "{proxy:?}");
        }
        assert!(!is_plain("http://gateway/", Some("HTTPS://user:password@127.0.0.1:1")));
    }
}
