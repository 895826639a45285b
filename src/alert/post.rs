//! One request to one address: POST, a few tries, no redirects.
//!
//! Takes a request; gives nothing, or why it did not arrive. A request whose answer was lost may arrive twice.
//!
//! Invariant: no redirect is followed and no proxy of the environment used (both would show the address to others), no
//! reason holds a secret or a part of one. A webhook's answer is its status: its body is not read.

use std::error::Error as _;
use std::fmt::Write as _;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, RETRY_AFTER};
use url::Url;

use crate::base::Secret;
use crate::base::secret::Mask;
use crate::base::time::http_date;
use crate::config::pipeline::AlertKind;

use super::answer::{self, Refused};

/// How long and how often a request is tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Tries, the first included.
    pub(super) tries: u32,
    /// One try takes at most this long.
    pub(super) time_max: Duration,
    /// The wait before the second try; it doubles with each further one.
    pub(super) wait_first: Duration,
    /// No wait is longer, whatever the receiver says.
    pub(super) wait_max: Duration,
}

/// An alert comes at the end of a run: it may take half a minute, no more.
pub(super) const PATIENCE: Patience = Patience {
    tries: 3,
    time_max: Duration::from_secs(10),
    wait_first: Duration::from_millis(500),
    wait_max: Duration::from_secs(10),
};

/// Of a robot's answer no more is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What is posted, and where.
pub(super) struct Request {
    /// Whose answer it will be.
    pub(super) kind: AlertKind,
    pub(super) url: Url,
    /// JSON.
    pub(super) body: String,
    /// What no reason may hold, besides the address.
    pub(super) secrets: Vec<Secret>,
}

/// Posts a request.
///
/// # Errors
/// Why it did not arrive, as of the last try.
pub(super) async fn post(request: &Request, patience: &Patience) -> Result<(), String> {
    let client = client(&request.url, patience)?;
    let mut tries = 1;
    loop {
        let Err(refused) = post_once(&client, request).await else { return Ok(()) };
        if !refused.again || tries >= patience.tries {
            let reason = request.without_secrets(&refused.reason);
            return Err(format!("{reason} ({tries} of {} tries)", patience.tries));
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

async fn post_once(client: &reqwest::Client, request: &Request) -> Result<(), Refused> {
    let post = client.post(request.url.clone()).header(CONTENT_TYPE, "application/json").body(request.body.clone());
    let unreached = |error| Refused { reason: describe(error), again: true, retry_after: None };
    let response = post.send().await.map_err(unreached)?;
    let (status, stated) = (response.status(), retry_after(response.headers()));
    if status.is_success() && request.kind == AlertKind::Webhook {
        return Ok(());
    }
    // A robot's own words say more than the status that they come with.
    if request.kind != AlertKind::Webhook
        && let Some(judged) = answer::judge(request.kind, &start_of(response).await)
        && (status.is_success() || judged.is_err())
    {
        return judged;
    }
    let code = status.as_u16();
    let reason = match () {
        () if status.is_success() => {
            return Err(Refused::for_good(format!(
                "it answered HTTP {code}, but not as the robot does: is `url` its address?"
            )));
        }
        () if status.is_redirection() => format!("it answered HTTP {code}: redirects are not followed"),
        () => format!("it answered HTTP {code}"),
    };
    let again = status.is_server_error() || status == reqwest::StatusCode::TOO_MANY_REQUESTS;
    Err(Refused { reason, again, retry_after: stated })
}

/// The beginning of an answer's body; what cannot be read is not there.
async fn start_of(mut response: reqwest::Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    body
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

/// The chain of causes in one line; it may name the address.
fn describe(error: reqwest::Error) -> String {
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
    text
}

impl Request {
    /// A text without the address, its parts and the other secrets: a cause may name a certificate's host, a robot the
    /// token that it does not know.
    fn without_secrets(&self, text: &str) -> String {
        let url = &self.url;
        let values: Vec<String> = url.query_pairs().map(|(_, value)| value.into_owned()).collect();
        let segments = url.path_segments().into_iter().flatten().filter(|segment| segment.len() >= TOKEN_LENGTH_MIN);
        let whole = [Some(url.as_str()), Some(url.path()), url.query()].into_iter().flatten();
        let parts = whole.chain(segments).chain(values.iter().map(String::as_str)).map(Secret::new);
        let text = Mask::new(parts.chain(self.secrets.iter().cloned())).text(text);
        // A mask leaves short values alone; a host may be short.
        url.host_str().map_or_else(|| text.clone(), |host| text.replace(host, "***"))
    }
}

/// Shorter parts of a path are words, not tokens.
const TOKEN_LENGTH_MIN: usize = 12;

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
