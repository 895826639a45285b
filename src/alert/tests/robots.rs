//! Robots on this machine that judge as the real ones do: they check the signature of what they get, and answer HTTP 200
//! whatever they think of it.

use std::sync::{Arc, Mutex};

use axum::extract::{RawQuery, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;

const SECRET: &str = "SEC-s1gn-S3cr3t";

/// What a robot answers, in this order, before it answers by what it thinks; and what it has taken.
#[derive(Debug, Clone)]
struct Robot {
    kind: AlertKind,
    answers: Arc<Mutex<Vec<(u16, String)>>>,
    heard: Arc<Mutex<Vec<(String, Value)>>>,
}

async fn receive(State(robot): State<Robot>, RawQuery(query): RawQuery, body: String) -> (StatusCode, String) {
    let (query, body) = (query.unwrap_or_default(), serde_json::from_str::<Value>(&body).unwrap());
    robot.heard.lock().unwrap().push((query.clone(), body.clone()));
    let mut answers = robot.answers.lock().unwrap();
    if !answers.is_empty() {
        let (status, answer) = answers.remove(0);
        return (StatusCode::from_u16(status).unwrap(), answer);
    }
    (StatusCode::OK, robot.judge(&query, &body))
}

fn hmac(key: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

impl Robot {
    fn new(kind: AlertKind) -> Self {
        Self { kind, answers: Arc::default(), heard: Arc::default() }
    }

    /// As the services document it.
    fn judge(&self, query: &str, body: &Value) -> String {
        let query: std::collections::HashMap<String, String> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        match self.kind {
            AlertKind::DingTalk => {
                let timestamp = query.get("timestamp").cloned().unwrap_or_default();
                let sign = hmac(SECRET, &format!("{timestamp}\n{SECRET}"));
                let fits = timestamp.len() == 13 && query.get("sign") == Some(&sign);
                let says = if fits {
                    json!({"errcode": 0, "errmsg": "ok"})
                } else {
                    json!({"errcode": 310_000, "errmsg": "sign not match"})
                };
                says.to_string()
            }
            AlertKind::Feishu => {
                let timestamp = body["timestamp"].as_str().unwrap_or_default();
                let sign = hmac(&format!("{timestamp}\n{SECRET}"), "");
                let fits = timestamp.len() == 10 && body["sign"] == sign.as_str();
                let says = if fits {
                    json!({"code": 0, "msg": "success"})
                } else {
                    json!({"code": 19_021, "msg": "sign match fail"})
                };
                says.to_string()
            }
            AlertKind::WeCom | AlertKind::Webhook => {
                let content = body["markdown"]["content"].as_str().unwrap();
                assert!(content.len() <= 4096);
                json!({"errcode": 0, "errmsg": "ok"}).to_string()
            }
        }
    }

    async fn start(&self, sign: Option<&str>) -> Alert {
        let router = axum::Router::new().fallback(receive).with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let url = Secret::new(format!("http://{address}/robot/send?access_token=token-S3cr3t"));
        Alert { name: "ops".into(), kind: self.kind, url, sign: sign.map(Secret::new), on: vec![AlertOn::Failed] }
    }

    async fn tell(&self, sign: Option<&str>) -> Result<(), String> {
        let alert = self.start(sign).await;
        let failures = send_patiently(&[alert], &message(Kind::Failed), &QUICK).await;
        failures.into_iter().next().map_or(Ok(()), |failure| Err(failure.reason))
    }
}

const ROBOTS: [AlertKind; 3] = [AlertKind::DingTalk, AlertKind::WeCom, AlertKind::Feishu];

#[tokio::test]
async fn a_robot_takes_a_message_that_is_signed_as_it_asks_for() {
    for kind in ROBOTS {
        let robot = Robot::new(kind);
        assert_eq!(robot.tell(kind.signs().then_some(SECRET)).await, Ok(()), "{kind:?}");
        let (query, body) = robot.heard.lock().unwrap().remove(0);
        assert!(query.starts_with("access_token=token-S3cr3t"), "{query}");
        let title = "huopan 货盘 · nightly · 运行失败";
        match kind {
            AlertKind::DingTalk => {
                assert_eq!((&body["msgtype"], &body["markdown"]["title"]), (&"markdown".into(), &title.into()));
                assert_eq!(body["markdown"]["text"], format!("### {title}\n\ntwo shops are incomplete"));
            }
            AlertKind::WeCom => {
                assert_eq!(body["markdown"]["content"], format!("### {title}\ntwo shops are incomplete"));
            }
            _ => {
                assert_eq!(
                    (&body["msg_type"], &body["card"]["header"]["template"]),
                    (&"interactive".into(), &"red".into())
                );
                assert_eq!(body["card"]["header"]["title"]["content"], title);
                let element = json!({"tag": "markdown", "content": "two shops are incomplete"});
                assert_eq!(body["card"]["elements"], json!([element]));
            }
        }
    }
}

#[tokio::test]
async fn a_signature_that_does_not_fit_is_said_once_without_the_secrets() {
    for (kind, sign) in [
        (AlertKind::DingTalk, Some("SEC-0ther-S3cr3t")),
        (AlertKind::DingTalk, None),
        (AlertKind::Feishu, Some("SEC-0ther-S3cr3t")),
        (AlertKind::Feishu, None),
    ] {
        let robot = Robot::new(kind);
        let reason = robot.tell(sign).await.unwrap_err();
        assert!(reason.contains("is `sign` the secret") && reason.ends_with("(1 of 3 tries)"), "{reason}");
        assert_eq!(robot.heard.lock().unwrap().len(), 1, "no second try can help");
        assert!(!reason.contains("S3cr3t"), "{reason}");
    }
}

#[tokio::test]
async fn a_busy_robot_is_asked_again_and_what_is_wrong_for_good_is_not() {
    let ding = |code: i64, words: &str| (200, json!({"errcode": code, "errmsg": words}).to_string());
    let cases = [
        (AlertKind::DingTalk, vec![ding(-1, "系统繁忙")], 2, None),
        (AlertKind::DingTalk, vec![ding(130_101, "send too fast")], 1, Some("more than 20 messages in a minute")),
        (AlertKind::DingTalk, vec![ding(300_001, "token is not exist")], 1, Some("there is no such robot")),
        (AlertKind::DingTalk, vec![(503, String::new())], 2, None),
        (AlertKind::DingTalk, vec![(200, "<html>login</html>".into())], 1, Some("is `url` its address?")),
        (AlertKind::WeCom, vec![ding(45_009, "api freq out of limit")], 2, None),
        (AlertKind::WeCom, vec![ding(93_000, "invalid webhook url")], 1, Some("is the key in `url` whole?")),
        (AlertKind::Feishu, vec![(429, r#"{"code":11232,"msg":"frequency limited"}"#.into())], 2, None),
        (AlertKind::Feishu, vec![(400, r#"{"code":19001,"msg":"param invalid"}"#.into())], 1, Some("no such robot")),
        (AlertKind::Feishu, vec![(404, "not found".into())], 1, Some("it answered HTTP 404")),
    ];
    for (kind, answers, heard, failure) in cases {
        let robot = Robot { answers: Arc::new(Mutex::new(answers.clone())), ..Robot::new(kind) };
        let told = robot.tell(kind.signs().then_some(SECRET)).await;
        match (failure, told) {
            (None, told) => assert_eq!(told, Ok(()), "{answers:?}"),
            (Some(says), told) => assert!(told.clone().unwrap_err().contains(says), "{answers:?}: {told:?}"),
        }
        assert_eq!(robot.heard.lock().unwrap().len(), heard, "{answers:?}");
    }
}

#[tokio::test]
async fn a_robot_that_repeats_its_token_is_not_repeated() {
    let words = "token token-S3cr3t of /robot/send?access_token=token-S3cr3t, sign SEC-s1gn-S3cr3t";
    let answer = json!({"errcode": 1, "errmsg": words}).to_string();
    let robot = Robot { answers: Arc::new(Mutex::new(vec![(200, answer)])), ..Robot::new(AlertKind::DingTalk) };
    let reason = robot.tell(Some(SECRET)).await.unwrap_err();
    assert!(reason.contains("(code 1): token ") && !reason.contains("S3cr3t"), "{reason}");
}
