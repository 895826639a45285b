//! The simulator over HTTP: bytes to calls, answers to bytes; what is under `/_sim/` goes to [`super::control`].
//!
//! Invariant: no body larger than [`BODY_BYTES_MAX`] is read, and no task outlives the server.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::serve::ListenerExt as _;
use futures::StreamExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::control::Control;
use super::desk::Desk;
use super::faults::http_date;
use super::gateways::{Call, Gateway, Verb};

/// Longest body of a call.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Serves until `stop`, then finishes the calls in flight.
pub(super) async fn serve(listener: TcpListener, desk: Arc<Desk>, stop: CancellationToken) -> io::Result<()> {
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no tcp_nodelay");
        }
    });
    let router = axum::Router::new().fallback(handle).with_state(desk);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn handle(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "body too large");
    };
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or(""));
    if let Some(control) = path.strip_prefix("/_sim/") {
        let control = Control::new(control, parts.method, (query.as_bytes(), &body));
        // A large world takes a while to build and to write.
        let answer = tokio::task::spawn_blocking(move || control.answer(&desk)).await;
        return answer.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, "no answer"));
    }
    let Some((gateway, rest)) = Gateway::at(path) else {
        let mut answer = plain(StatusCode::NOT_FOUND, "no such gateway; see /_sim/stats");
        if let Ok(date) = HeaderValue::from_str(&http_date(desk.now())) {
            answer.headers_mut().insert(header::DATE, date);
        }
        return answer;
    };
    let verb = match parts.method {
        Method::GET => Verb::Get,
        Method::POST => Verb::Post,
        _ => Verb::Other,
    };
    let mut params = pairs(query.as_bytes());
    if verb == Verb::Post {
        params.extend(pairs(&body));
    }
    let path = rest.trim_end_matches('/').to_owned();
    call(&desk, Call { gateway, verb, params, path, accepts_xml: accepts_xml(&parts.headers) }).await
}

async fn call(desk: &Desk, call: Call) -> Response {
    // Declared first, dropped last: a call that has left is in the journal.
    let mut inside = desk.gate().enter();
    let mut visit = desk.arrive(&call);
    let reply = desk.reply(&call);
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    inside.pass().await;
    visit.answered(&reply.answer);
    drop(visit);
    respond(reply.answer, &http_date(desk.now()))
}

fn accepts_xml(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    accept.contains("xml") && !accept.contains("json")
}

/// A query string or form; of a name that comes twice the last value.
pub(super) fn pairs(text: &[u8]) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(text).into_owned().collect()
}

/// `Date` is the simulator's clock, so that a client can measure the offset.
fn respond(answer: Answer, date: &str) -> Response {
    let length = answer.body.len() + answer.missing_bytes;
    let mut response = Response::builder()
        .status(answer.status)
        .header(header::CONTENT_TYPE, answer.content_type)
        .header(header::CONTENT_LENGTH, length)
        .header(header::DATE, date);
    if let Some(after) = answer.retry_after {
        response = response.header(header::RETRY_AFTER, after);
    }
    let body = if answer.missing_bytes == 0 { Body::from(answer.body) } else { cut(answer.body) };
    response.body(body).unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, "no response"))
}

/// These bytes, and then the connection ends.
fn cut(bytes: Vec<u8>) -> Body {
    let first = futures::stream::once(std::future::ready(Ok(Bytes::from(bytes))));
    let end = futures::stream::once(async {
        // The bytes leave before the connection does.
        tokio::time::sleep(Duration::from_millis(10)).await;
        Err(io::Error::from(io::ErrorKind::ConnectionAborted))
    });
    Body::from_stream(first.chain(end))
}

/// A line of text.
pub(super) fn plain(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_is_meant_only_when_json_is_not() {
        let headers =
            |accept: &'static str| HeaderMap::from_iter([(header::ACCEPT, header::HeaderValue::from_static(accept))]);
        assert!(accepts_xml(&headers("application/xml")));
        assert!(!accepts_xml(&headers("application/json, application/xml;q=0.5")));
        assert!(!accepts_xml(&headers("*/*")));
    }
}
