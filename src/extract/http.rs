//! HTTP: the only user of `reqwest`.
//!
//! Takes a built [`Request`]; gives an [`Exchange`]: whatever arrived, also of a cut body. Sending never fails: what
//! went wrong is part of what is landed.
//!
//! Invariant: no redirect is followed (it would carry secrets elsewhere), no proxy is used that nobody configured, no
//! error text holds an address, and no body grows past the limit.

use std::error::Error as _;
use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};

use crate::base::{Error, Kind, Result, Secret};
use crate::config::gateway::{Gateway, Limits};

use super::record::TIMED_OUT;
use super::request::Request;
use super::retry::seconds;

/// What came back from one sending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The HTTP status; `None`: no answer arrived.
    pub status: Option<u16>,
    /// `Content-Type`
    pub content_type: Option<String>,
    /// `Retry-After`
    pub retry_after: Option<String>,
    /// `Date`
    pub date: Option<String>,
    /// Why no (whole) answer arrived.
    pub transport_error: Option<String>,
    /// The body as far as it arrived.
    pub body: Bytes,
}

/// A connection pool to one gateway.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    body_bytes_max: u64,
}

impl Http {
    /// A client within a gateway's limits, through a proxy where an account has one.
    ///
    /// # Errors
    /// [`Kind::Config`] when the machine has no certificates to check `https` gateways with, or the proxy's address is
    /// none.
    pub fn new(gateway: &Gateway, proxy: Option<&Secret>) -> Result<Self> {
        let Limits { connect_seconds, read_seconds, body_bytes_max, calls_in_flight, .. } = gateway.limits;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("huopan/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .http1_only()
            .connect_timeout(seconds(connect_seconds))
            .timeout(seconds(connect_seconds) + seconds(read_seconds))
            .pool_max_idle_per_host(usize::try_from(calls_in_flight).unwrap_or(1).max(1));
        if gateway.url.starts_with("http://") {
            // Plain gateways (the simulator) must work on machines without certificates.
            builder = builder.tls_certs_only([]);
        }
        if let Some(proxy) = proxy {
            // The address may hold a password: the cause could repeat it.
            let proxy = reqwest::Proxy::all(proxy.expose()).map_err(|_| {
                Error::new(Kind::Config, "an account's `proxy` is no proxy address").with_hint(
                    "`http://host:port`, `https://…` or `socks5://…`, with `user:password@` where it needs one",
                )
            })?;
            builder = builder.proxy(proxy);
        }
        let client = builder.build().map_err(|error| {
            Error::new(Kind::Config, "cannot set up HTTPS")
                .with_hint("install the system's certificates (package `ca-certificates`)")
                .caused_by(error)
        })?;
        Ok(Self { client, body_bytes_max })
    }

    /// Sends a request and reads what comes back.
    pub async fn send(&self, request: &Request) -> Exchange {
        let builder = match &request.form {
            None => self.client.get(request.url.expose()),
            Some(form) => self
                .client
                .post(request.url.expose())
                .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
                .body(form.expose().to_owned()),
        };
        match builder.send().await {
            Ok(response) => self.read(response).await,
            Err(error) => Exchange { transport_error: Some(describe(error)), ..Exchange::default() },
        }
    }

    /// Greets the server at an address without asking it anything: no key, no call. Its `Date` tells its clock.
    pub async fn greet(&self, address: &url::Url) -> Exchange {
        match self.client.head(address.clone()).send().await {
            Ok(response) => self.read(response).await,
            Err(error) => Exchange { transport_error: Some(describe(error)), ..Exchange::default() },
        }
    }

    async fn read(&self, mut response: reqwest::Response) -> Exchange {
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut exchange = Exchange {
            status: Some(response.status().as_u16()),
            content_type: header("content-type"),
            retry_after: header("retry-after"),
            date: header("date"),
            ..Exchange::default()
        };
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    let room = usize::try_from(self.body_bytes_max).unwrap_or(usize::MAX).saturating_sub(body.len());
                    body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if chunk.len() > room {
                        let limit = self.body_bytes_max;
                        exchange.transport_error = Some(format!("the body is longer than {limit} bytes"));
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    exchange.transport_error = Some(describe(error));
                    break;
                }
            }
        }
        exchange.body = body.freeze();
        exchange
    }
}

/// The chain of causes in one line, without the address but for its host: its query holds secrets.
fn describe(error: reqwest::Error) -> String {
    let host = error.url().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    let host = host.map(|(host, port)| format!(" to `{host}:{port}`")).unwrap_or_default();
    let what = if error.is_connect() {
        &format!("cannot connect{host}")
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
