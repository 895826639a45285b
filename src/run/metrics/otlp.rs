//! OTLP over HTTP with JSON (opentelemetry.io, "OTLP Specification"): one request at the end of a start.
//!
//! Invariant: no reason holds the collector's address or a header.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use url::Url;

use crate::base::Secret;
use crate::base::secret::Mask;
use crate::config::pipeline::Otlp;

use super::families::Family;

/// One try takes at most this long.
const TIME_MAX: Duration = Duration::from_secs(10);
/// The collector is asked this often, where it is busy (429, 502, 503, 504 may be tried again, the specification says).
const TRIES: u32 = 3;
const WAIT: Duration = Duration::from_millis(500);
/// Of an answer no more is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Posts metrics.
///
/// # Errors
/// Why they did not arrive.
pub(super) async fn post(otlp: &Otlp, families: &[Family], at: DateTime<Utc>) -> Result<(), String> {
    let url = Url::parse(otlp.url.expose()).map_err(|_| "its address is no URL".to_owned())?;
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("huopan/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .timeout(TIME_MAX);
    if url.scheme() == "http" {
        builder = builder.tls_certs_only([]);
    }
    let client = builder.build().map_err(|_| "HTTPS needs the system's certificates".to_owned())?;
    let body = document(families, at).to_string();
    let mut tries = 1;
    loop {
        let Err((reason, again)) = post_once(&client, &url, otlp, &body).await else { return Ok(()) };
        if !again || tries >= TRIES {
            return Err(without_secrets(otlp, &url, &format!("{reason} ({tries} of {TRIES} tries)")));
        }
        tokio::time::sleep(WAIT * tries).await;
        tries += 1;
    }
}

async fn post_once(client: &reqwest::Client, url: &Url, otlp: &Otlp, body: &str) -> Result<(), (String, bool)> {
    let mut post = client.post(url.clone()).header(CONTENT_TYPE, "application/json").body(body.to_owned());
    for (name, value) in &otlp.headers {
        post = post.header(name, value.expose());
    }
    let response = post.send().await.map_err(|error| {
        let what = if error.is_timeout() { "timed out" } else { "cannot connect" };
        (what.to_owned(), true)
    })?;
    let status = response.status();
    if !status.is_success() {
        return Err((
            format!("the collector answered HTTP {}", status.as_u16()),
            matches!(status.as_u16(), 429 | 502..=504),
        ));
    }
    match rejected(&start_of(response).await) {
        Some((0, _)) | None => Ok(()),
        Some((points, words)) => Err((format!("the collector rejected {points} of the metrics: {words}"), false)),
    }
}

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

/// How many points a success leaves out, and why. 64-bit integers are texts in OTLP's JSON.
fn rejected(body: &[u8]) -> Option<(u64, String)> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let partial = answer.get("partialSuccess")?;
    let points = partial.get("rejectedDataPoints")?;
    let points = points.as_u64().or_else(|| points.as_str()?.parse().ok())?;
    let words = partial.get("errorMessage").and_then(Value::as_str).unwrap_or_default();
    Some((points, words.chars().take(160).map(|c| if c.is_control() { ' ' } else { c }).collect()))
}

/// A text without the address's secrets and the headers' values, whole or in part: a collector may repeat the token alone.
fn without_secrets(otlp: &Otlp, url: &Url, text: &str) -> String {
    let values: Vec<String> = url.query_pairs().map(|(_, value)| value.into_owned()).collect();
    let headers = otlp.headers.iter().map(|(_, value)| value.expose());
    let headers = headers.flat_map(|value| std::iter::once(value).chain(value.split_whitespace()));
    let whole = [Some(url.as_str()), url.query(), url.password()].into_iter().flatten();
    Mask::new(whole.chain(headers).chain(values.iter().map(String::as_str)).map(Secret::new)).text(text)
}

/// An `ExportMetricsServiceRequest`.
fn document(families: &[Family], at: DateTime<Utc>) -> Value {
    let nanos = at.timestamp_nanos_opt().unwrap_or_default().to_string();
    let attribute = |name: &str, value: &str| json!({"key": name, "value": {"stringValue": value}});
    let metric = |family: &Family| {
        let point = |value: &super::families::Value| {
            let attributes: Vec<Value> = value.labels.iter().map(|(name, value)| attribute(name, value)).collect();
            json!({"attributes": attributes, "timeUnixNano": nanos, "asDouble": value.number})
        };
        let points: Vec<Value> = family.values.iter().map(point).collect();
        json!({"name": family.name, "description": family.help, "unit": family.unit, "gauge": {"dataPoints": points}})
    };
    let version = env!("CARGO_PKG_VERSION");
    json!({"resourceMetrics": [{
        "resource": {"attributes": [attribute("service.name", "huopan"), attribute("service.version", version)]},
        "scopeMetrics": [{
            "scope": {"name": "huopan", "version": version},
            "metrics": families.iter().map(metric).collect::<Vec<_>>(),
        }],
    }]})
}
