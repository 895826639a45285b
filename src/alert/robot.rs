//! What a chat robot is sent: its form, its signature, its limits.
//!
//! | robot | form | signature | bytes |
//! |---|---|---|---|
//! | DingTalk | `markdown` with a title | `&timestamp=&sign=` in the address: HMAC-SHA256 of `timestamp\nsecret` (ms) with the secret, base64 | 20 000 a message |
//! | WeCom | `markdown` | none: the key is in the address | 4096 of text |
//! | Feishu | card with one markdown element | `timestamp` (s) and `sign` in the body: HMAC-SHA256 of nothing with `timestamp\nsecret`, base64 | 20 KB a request |
//!
//! Both signatures hold for an hour. Sources: as in [`super::answer`].
//!
//! Invariant: pure; the time of a signature is the message's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

use crate::config::pipeline::{Alert, AlertKind};

use super::letter::Letter;
use super::message::{Kind, Message};

/// Bytes of the text of a WeCom message, its title included.
const WECOM_BYTES_MAX: usize = 4096;
/// Bytes of the text of a DingTalk or Feishu message: escaped and with what is around it, it stays below 20 000.
const BYTES_MAX: usize = 12_000;

/// The body for a robot of this kind, not signed. `None`: a webhook is no robot.
pub(super) fn body(kind: AlertKind, message: &Message) -> Option<Value> {
    let letter = Letter::of(message);
    let title = &letter.title;
    Some(match kind {
        AlertKind::Webhook => return None,
        AlertKind::DingTalk => {
            let heading = format!("### {}\n\n", letter.title);
            let text = format!("{heading}{}", letter.markdown(BYTES_MAX - heading.len()));
            json!({"msgtype": "markdown", "markdown": {"title": title, "text": text}})
        }
        AlertKind::WeCom => {
            let heading = format!("### {}\n", letter.title);
            let content = format!("{heading}{}", letter.markdown(WECOM_BYTES_MAX - heading.len()));
            json!({"msgtype": "markdown", "markdown": {"content": content}})
        }
        AlertKind::Feishu => json!({
            "msg_type": "interactive",
            "card": {
                "config": {"wide_screen_mode": true},
                "header": {"title": {"tag": "plain_text", "content": title}, "template": colour(message.kind)},
                "elements": [{"tag": "markdown", "content": letter.markdown(BYTES_MAX)}],
            },
        }),
    })
}

/// The colour of a Feishu card's head.
fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Failed | Kind::Denied | Kind::WatchFailed => "red",
        Kind::Incomplete | Kind::Quota | Kind::Held => "orange",
        Kind::Published => "green",
        Kind::Watch | Kind::Test => "blue",
    }
}

/// Signs what is sent to a robot, in its address or its body, as of a time; leaves it as it is without a secret.
pub(super) fn sign(alert: &Alert, url: &mut Url, body: &mut Value, at: DateTime<Utc>) {
    let Some(secret) = alert.sign.as_ref().map(crate::base::Secret::expose) else { return };
    match alert.kind {
        AlertKind::DingTalk => {
            let timestamp = at.timestamp_millis().to_string();
            let sign = mac(secret, &format!("{timestamp}\n{secret}"));
            url.query_pairs_mut().append_pair("timestamp", &timestamp).append_pair("sign", &sign);
        }
        AlertKind::Feishu => {
            let timestamp = at.timestamp().to_string();
            body["sign"] = mac(&format!("{timestamp}\n{secret}"), "").into();
            body["timestamp"] = timestamp.into();
        }
        AlertKind::Webhook | AlertKind::WeCom => {}
    }
}

/// HMAC-SHA256, in base64.
fn mac(key: &str, text: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else { return String::new() };
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Shop, WatchRows};
    use crate::base::Secret;

    fn alert(kind: AlertKind, sign: Option<&str>) -> Alert {
        let url = Secret::new("http://127.0.0.1/robot/send?access_token=T");
        Alert { name: "ops".into(), kind, url, sign: sign.map(Secret::new), on: Vec::new() }
    }

    fn signed(kind: AlertKind, sign: Option<&str>, at_millis: i64) -> (String, Value) {
        let alert = alert(kind, sign);
        let (mut url, mut body) = (Url::parse(alert.url.expose()).unwrap(), json!({}));
        super::sign(&alert, &mut url, &mut body, DateTime::from_timestamp_millis(at_millis).unwrap());
        (url.into(), body)
    }

    // Computed with Python's `hmac`, as the services' own examples do.
    #[test]
    fn signatures_are_those_of_the_services_examples() {
        let (url, body) = signed(AlertKind::DingTalk, Some("this is secret"), 1_577_262_236_757);
        let sign = "hmPWwU%2B7lVdm3ZZz0r9tSfx0L4Q26jWOZr9%2BGs6EZQM%3D";
        let expected = format!("http://127.0.0.1/robot/send?access_token=T&timestamp=1577262236757&sign={sign}");
        assert_eq!((url, body), (expected, json!({})));
        let (url, body) = signed(AlertKind::Feishu, Some("demo"), 1_599_360_473_000);
        assert_eq!(url, "http://127.0.0.1/robot/send?access_token=T");
        assert_eq!(body, json!({"timestamp": "1599360473", "sign": "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="}));
    }

    #[test]
    fn nothing_is_signed_without_a_secret() {
        for kind in [AlertKind::DingTalk, AlertKind::Feishu, AlertKind::WeCom] {
            let plain = ("http://127.0.0.1/robot/send?access_token=T".to_owned(), json!({}));
            assert_eq!(signed(kind, None, 0), plain);
        }
    }

    #[test]
    fn the_largest_message_stays_within_each_robots_limit() {
        let long = "\"店\\铺\"".repeat(100);
        let row = vec![Some(long.clone()); 30];
        let watch =
            WatchRows { name: long.clone(), columns: vec![long.clone(); 30], rows: vec![row; 100], rows_total: 900 };
        let shops = vec![Shop { shop_id: long.clone(), shop_name: Some(long.clone()), reason: long.clone() }; 1000];
        let empty = Message::new(Kind::Watch, DateTime::UNIX_EPOCH, "a".repeat(40), &long);
        for message in [
            Message { watch: Some(watch), ..empty.clone() },
            Message { kind: Kind::Held, shops, ..empty.clone() },
            Message { kind: Kind::Failed, ..empty },
        ] {
            let wecom = body(AlertKind::WeCom, &message).unwrap();
            assert!(wecom["markdown"]["content"].as_str().unwrap().len() <= 4096);
            for kind in [AlertKind::DingTalk, AlertKind::Feishu] {
                assert!(body(kind, &message).unwrap().to_string().len() < 20_000, "{kind:?}");
            }
        }
    }
}
