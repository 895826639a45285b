use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, NaiveDate};
use serde_json::{Value, json};

use super::*;
use crate::base::{RunId, Secret};
use crate::config::pipeline::AlertOn;

/// Waits that no test notices.
const QUICK: post::Patience = post::Patience {
    tries: 3,
    time_max: Duration::from_secs(10),
    wait_first: Duration::from_millis(1),
    wait_max: Duration::from_millis(2),
};

/// A status and a header.
type Answer = (u16, Option<(&'static str, String)>);

/// What a receiver answers, in this order, then 200; and what it has heard.
#[derive(Debug, Clone, Default)]
struct Receiver {
    answers: Arc<Mutex<Vec<Answer>>>,
    heard: Arc<Mutex<Vec<(String, Value)>>>,
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: String) -> Response {
    let content_type = headers["content-type"].to_str().unwrap().to_owned();
    receiver.heard.lock().unwrap().push((content_type, serde_json::from_str(&body).unwrap()));
    let mut answers = receiver.answers.lock().unwrap();
    let (status, header) = if answers.is_empty() { (200, None) } else { answers.remove(0) };
    let status = StatusCode::from_u16(status).unwrap();
    match header {
        Some((name, value)) => (status, [(name, value)]).into_response(),
        None => status.into_response(),
    }
}

impl Receiver {
    /// Its address: a path that nobody may see.
    async fn start(&self) -> String {
        let router = axum::Router::new().fallback(receive).with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        format!("http://{address}/robot/token-S3cr3t")
    }

    fn heard(&self) -> Vec<Value> {
        self.heard.lock().unwrap().iter().map(|(_, document)| document.clone()).collect()
    }
}

fn alert(name: &str, url: &str, on: &[AlertOn]) -> Alert {
    Alert { name: name.into(), kind: AlertKind::Webhook, url: Secret::new(url), sign: None, on: on.to_vec() }
}

fn message(kind: Kind) -> Message {
    let at = DateTime::parse_from_rfc3339("2026-11-20T18:00:05Z").unwrap().to_utc();
    Message::new(kind, at, "nightly", "two shops are incomplete")
}

mod robots;

#[tokio::test]
async fn a_webhook_receives_the_documented_document_as_json() {
    let receiver = Receiver::default();
    let url = receiver.start().await;
    let run_id = RunId::new(message(Kind::Incomplete).at, [7; 10]);
    let message = Message {
        dt: NaiveDate::from_ymd_opt(2026, 11, 21),
        run_id: Some(run_id),
        shops: vec![Shop { shop_id: "b2b-1".into(), shop_name: Some("义乌".into()), reason: "page 51".into() }],
        counts: Some(Counts { received: 10, loaded: 8, duplicates: 1, quarantined: 1, carried: 0, calls: 4 }),
        quota: vec![
            Quota { account: "main".into(), scope: String::new(), used: 2900, calls_per_day: Some(3000) },
            Quota { account: "spare".into(), scope: "shop:b2b-1".into(), used: 1, calls_per_day: None },
        ],
        ..message(Kind::Incomplete)
    };
    assert_eq!(send_patiently(&[alert("ops", &url, &[AlertOn::Incomplete])], &message, &QUICK).await, []);
    let heard = receiver.heard.lock().unwrap().clone();
    let expected = json!({
        "huopan_version": env!("CARGO_PKG_VERSION"),
        "kind": "incomplete",
        "at": "2026-11-20T18:00:05Z",
        "pipeline": "nightly",
        "dt": "2026-11-21",
        "run_id": run_id.to_string(),
        "text": "two shops are incomplete",
        "shops": [{"shop_id": "b2b-1", "shop_name": "义乌", "reason": "page 51"}],
        "shops_total": 1,
        "counts": {"received": 10, "loaded": 8, "duplicates": 1, "quarantined": 1, "carried": 0, "calls": 4},
        "quota": [
            {"account": "main", "scope": "", "used": 2900, "calls_per_day": 3000, "left": 100},
            {"account": "spare", "scope": "shop:b2b-1", "used": 1, "calls_per_day": null, "left": null},
        ],
        "watch": null,
    });
    assert_eq!(heard, [("application/json".to_owned(), expected)]);
}

#[test]
fn what_is_not_known_is_null_and_many_shops_are_counted() {
    let shop = |number: usize| Shop { shop_id: number.to_string(), shop_name: None, reason: String::new() };
    let document = Message { shops: (0..250).map(shop).collect(), ..message(Kind::Failed) }.document();
    assert_eq!((&document["dt"], &document["run_id"], &document["counts"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!(document["quota"], json!([]));
    assert_eq!((document["shops"].as_array().unwrap().len(), &document["shops_total"]), (SHOPS, &json!(250)));
    const SHOPS: usize = message::SHOPS_MAX;
}

#[tokio::test]
async fn an_alert_hears_what_its_on_names_and_a_test_is_heard_by_all() {
    let all =
        [AlertOn::Failed, AlertOn::Incomplete, AlertOn::Quota, AlertOn::Denied, AlertOn::Held, AlertOn::Published];
    for kind in Kind::ALL {
        let (one, others) = (Receiver::default(), Receiver::default());
        let named: Vec<AlertOn> = kind.on().into_iter().collect();
        let rest: Vec<AlertOn> = all.into_iter().filter(|on| Some(*on) != kind.on()).collect();
        let alerts = [alert("one", &one.start().await, &named), alert("others", &others.start().await, &rest)];
        assert_eq!(send_patiently(&alerts, &message(kind), &QUICK).await, []);
        let heard = (one.heard().len(), others.heard().len());
        assert_eq!(heard, if kind.on().is_none() { (1, 1) } else { (1, 0) }, "{}", kind.name());
        assert_eq!(one.heard()[0]["kind"], kind.name());
    }
}

#[tokio::test]
async fn a_busy_receiver_is_asked_again_and_a_refusing_one_is_not() {
    let retry_after = |value: &str| Some(("retry-after", value.to_owned()));
    for (answers, heard, failure) in [
        (vec![(503, None)], 2, None),
        (vec![(429, retry_after("86400")), (500, None)], 3, None),
        (vec![(503, None), (502, None), (500, None)], 3, Some("it answered HTTP 500 (3 of 3 tries)")),
        (vec![(404, None)], 1, Some("it answered HTTP 404 (1 of 3 tries)")),
        (vec![(204, None)], 1, None),
    ] {
        let receiver = Receiver { answers: Arc::new(Mutex::new(answers.clone())), ..Receiver::default() };
        let url = receiver.start().await;
        let failures = send_patiently(&[alert("ops", &url, &[AlertOn::Quota])], &message(Kind::Quota), &QUICK).await;
        let reasons: Vec<&str> = failures.iter().map(|failure| failure.reason.as_str()).collect();
        assert_eq!((reasons, receiver.heard().len()), (failure.into_iter().collect(), heard), "{answers:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_refused() {
    let elsewhere = Receiver::default();
    let location = elsewhere.start().await;
    for status in [301, 302, 307, 308] {
        let answers = Arc::new(Mutex::new(vec![(status, Some(("location", location.clone())))]));
        let receiver = Receiver { answers, ..Receiver::default() };
        let url = receiver.start().await;
        let failures = send_patiently(&[alert("ops", &url, &[AlertOn::Failed])], &message(Kind::Failed), &QUICK).await;
        let reason = format!("it answered HTTP {status}: redirects are not followed (1 of 3 tries)");
        assert_eq!(failures, [Failure { alert: "ops".into(), reason }]);
    }
    assert_eq!(elsewhere.heard(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_failure_names_the_alert_and_never_its_address_and_the_others_hear() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let receiver = Receiver::default();
    let good = receiver.start().await;
    let alerts = [
        alert("dead", &format!("http://127.0.0.1:{port}/robot/token-S3cr3t?key=S3cr3t"), &[AlertOn::Denied]),
        alert("nonsense", "S3cr3t", &[AlertOn::Denied]),
        alert("plain", "ftp://127.0.0.1/S3cr3t", &[AlertOn::Denied]),
        alert("good", &good, &[AlertOn::Denied]),
    ];
    let failures = send_patiently(&alerts, &message(Kind::Denied), &QUICK).await;
    let names: Vec<&str> = failures.iter().map(|failure| failure.alert.as_str()).collect();
    assert_eq!((names, receiver.heard().len()), (vec!["dead", "nonsense", "plain"], 1));
    assert!(failures[0].reason.starts_with("cannot connect: "), "{}", failures[0].reason);
    for failure in &failures {
        let said = format!("{failure} {failure:?}");
        for part in ["S3cr3t", "127.0.0.1", &port.to_string(), "robot"] {
            assert!(!said.contains(part), "`{part}` is said: {said}");
        }
    }
}
