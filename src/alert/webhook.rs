//! One document to one address: POST, a few tries, no redirects.
//!
//! Takes an address and a document; gives nothing, or why it did not arrive. A document whose answer was lost may
//! arrive twice.
//!
//! Invariant: no redirect is followed and no proxy of the environment used (both would show the address to others), no
//! reason holds the address or a part of it, the answer's body is not read.

use std::error::Error as _;
use std::fmt::Write as _;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, RETRY_AFTER};
use serde_json::Value;
use url::Url;

use crate::base::Secret;
use crate::base::secret::Mask;
use crate::base::time::http_date;

/// How long and how often a document is tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Tries, the first included.
    pub(super) tries: u32,
    /// One try takes at most this long.
    pub(super) time_max: Duration,
    /// The wait before the second try; it doubles with each further one.
    pub(super) wait_first: Duration,
    /// No wait is longer, whatever the receiver's `Retry-After` says.
    pub(super) wait_max: Duration,
}

/// An alert comes at the end of a run: it may take half a minute, no more.
pub(super) const PATIENCE: Patience = Patience {
    tries: 3,
    time_max: Duration::from_secs(10),
    wait_first: Duration::from_millis(500),
    wait_max: Duration::from_secs(10),
};

/// Why one try failed.
struct Refused {
    reason: String,
    again: bool,
    retry_after: Option<Duration>,
}

/// Posts a document.
///
/// # Errors
/// Why it did not arrive, as of the last try.
pub(super) async fn post(address: &Secret, document: &Value, patience: &Patience) -> Result<(), String> {
    let url = Url::parse(address.expose()).map_err(|_| "its address is no URL".to_owned())?;
    let client = client(&url, patience)?;
    let body = document.to_string();
    let mut tries = 1;
    loop {
        let Err(refused) = post_once(&client, &url, &body).await else { return Ok(()) };
        if !refused.again || tries >= patience.tries {
            return Err(format!("{} ({tries} of {} tries)", refused.reason, patience.tries));
        }
        tokio::time::sleep(wait(tries, refused.retry_after, patience)).await;
        tries += 1;
    }
}

fn client(url: &Url, patience: &Patience) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("huopan/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .timeout(patience.time_max);
    if url.scheme() == "http" {
        // A receiver on this machine needs no certificates.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|_| "HTTPS needs the system's certificates (package `ca-certificates`)".to_owned())
}

async fn post_once(client: &reqwest::Client, url: &Url, body: &str) -> Result<(), Refused> {
    let request = client.post(url.clone()).header(CONTENT_TYPE, "application/json").body(body.to_owned());
    let response = request.send().await.map_err(|error| Refused {
        reason: describe(error, url),
        again: true,
        retry_after: None,
    })?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let reason = match status.is_redirection() {
        true => format!("it answered HTTP {}: redirects are not followed", status.as_u16()),
        false => format!("it answered HTTP {}", status.as_u16()),
    };
    let again = status.is_server_error() || status == reqwest::StatusCode::TOO_MANY_REQUESTS;
    Err(Refused { reason, again, retry_after: retry_after(response.headers()) })
}

/// The wait after the try with this number.
fn wait(tries: u32, stated: Option<Duration>, patience: &Patience) -> Duration {
    let doubled = patience.wait_first.saturating_mul(1 << tries.saturating_sub(1).min(16));
    doubled.max(stated.unwrap_or_default()).min(patience.wait_max)
}

/// `Retry-After`: seconds, or a date, which is compared with the receiver's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let stated = text(RETRY_AFTER)?;
    if let Ok(seconds) = stated.parse() {
        return Some(Duration::from_secs(seconds));
    }
    (http_date(stated)? - http_date(text(DATE)?)?).to_std().ok()
}

/// The chain of causes in one line, without the address and its parts: a cause may name them (a certificate's host).
fn describe(error: reqwest::Error, url: &Url) -> String {
    let mut text = String::from(match () {
        () if error.is_connect() => "cannot connect",
        () if error.is_timeout() => "timed out",
        () => "the document could not be sent",
    });
    let error = error.without_url();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    let parts = [Some(url.as_str()), Some(url.path()), url.query()].into_iter().flatten().map(Secret::new);
    let text = Mask::new(parts).text(&text);
    // A mask leaves short values alone; a host may be short.
    url.host_str().map_or_else(|| text.clone(), |host| text.replace(host, "***"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_stated_wait_is_seconds_or_a_date_by_the_receivers_clock() {
        let date = "Wed, 21 Oct 2026 07:28:00 GMT";
        for (given, expected) in [
            (vec![(RETRY_AFTER, "7")], Some(7)),
            (vec![(RETRY_AFTER, "0")], Some(0)),
            (vec![(RETRY_AFTER, date), (DATE, "Wed, 21 Oct 2026 07:27:30 GMT")], Some(30)),
            (vec![(RETRY_AFTER, date), (DATE, "Wed, 21 Oct 2026 07:29:00 GMT")], None),
            (vec![(RETRY_AFTER, date)], None),
            (vec![(RETRY_AFTER, "soon")], None),
            (vec![], None),
        ] {
            assert_eq!(retry_after(&headers(&given)), expected.map(Duration::from_secs), "{given:?}");
        }
    }

    #[test]
    fn waits_double_obey_what_is_stated_and_stay_short() {
        let seconds = Duration::from_secs;
        assert_eq!(wait(1, None, &PATIENCE), Duration::from_millis(500));
        assert_eq!(wait(2, None, &PATIENCE), seconds(1));
        assert_eq!(wait(1, Some(seconds(3)), &PATIENCE), seconds(3));
        assert_eq!(wait(1, Some(seconds(0)), &PATIENCE), Duration::from_millis(500));
        assert_eq!(wait(1, Some(seconds(86_400)), &PATIENCE), seconds(10));
        assert_eq!(wait(40, None, &PATIENCE), seconds(10));
    }
}
