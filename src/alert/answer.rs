//! What a robot's answer says: robots answer HTTP 200 whether or not they took a message, and say in the body which.
//!
//! | robot | `code` 0 is success | words | documented at |
//! |---|---|---|---|
//! | DingTalk | `errcode` | `errmsg` | open.dingtalk.com, "自定义机器人接入" |
//! | WeCom | `errcode` | `errmsg` | developer.work.weixin.qq.com, path 91770, and its global error codes |
//! | Feishu | `code`, formerly `StatusCode` | `msg`, formerly `StatusMessage` | open.feishu.cn, "自定义机器人使用指南" |
//!
//! Invariant: pure. Only what a second try can help is tried again.

use std::time::Duration;

use serde_json::Value;

use crate::config::pipeline::AlertKind;

/// Why one try failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) reason: String,
    /// Whether another try may help.
    pub(super) again: bool,
    pub(super) retry_after: Option<Duration>,
}

impl Refused {
    pub(super) fn for_good(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), again: false, retry_after: None }
    }

    fn for_now(reason: impl Into<String>, retry_after: Option<Duration>) -> Self {
        Self { reason: reason.into(), again: true, retry_after }
    }
}

/// WeCom counts messages by the minute: what is left of it may be short.
const WECOM_WAIT: Duration = Duration::from_secs(8);
/// Letters of a robot's own words that are repeated.
const WORDS_LENGTH_MAX: usize = 160;

/// Whether the robot took the message, by the body of its answer. `None`: this is no answer of such a robot.
pub(super) fn judge(kind: AlertKind, body: &[u8]) -> Option<Result<(), Refused>> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let first = |names: [&str; 2]| names.into_iter().find_map(|name| answer.get(name).filter(|value| !value.is_null()));
    let (code, words) = match kind {
        AlertKind::Webhook => return None,
        AlertKind::DingTalk | AlertKind::WeCom => (answer.get("errcode"), answer.get("errmsg")),
        AlertKind::Feishu => (first(["code", "StatusCode"]), first(["msg", "StatusMessage"])),
    };
    let code = code.and_then(|code| code.as_i64().or_else(|| code.as_str()?.parse().ok()))?;
    let words = words.and_then(Value::as_str).unwrap_or_default();
    Some(match (code, kind) {
        (0, _) => Ok(()),
        (_, AlertKind::DingTalk) => Err(dingtalk(code, words)),
        (_, AlertKind::WeCom) => Err(wecom(code, words)),
        (_, AlertKind::Feishu | AlertKind::Webhook) => Err(feishu(code, words)),
    })
}

const KEYWORD: &str = "the message has none of the robot's keywords: add `huopan` to them, every message holds it";
const NETWORK: &str = "the robot takes nothing from this machine's address: add it to the robot's allowed ones";
const SIGN: &str = "the signature does not fit: is `sign` the secret that the robot's security settings show?";
const CLOCK: &str = "the robot finds the time of the signature wrong: is this machine's clock right?";

fn dingtalk(code: i64, words: &str) -> Refused {
    let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    match code {
        310_000 if says(&["timestamp"]) => Refused::for_good(with_code(CLOCK, code)),
        310_000 if says(&["sign", "签名"]) => Refused::for_good(with_code(SIGN, code)),
        310_000 if says(&["keyword", "关键词"]) => Refused::for_good(with_code(KEYWORD, code)),
        310_000 if says(&["whitelist", "白名单", "ip "]) => Refused::for_good(with_code(NETWORK, code)),
        300_001 | 300_005 | 400_101 => Refused::for_good(with_code("there is no such robot: is `url` whole?", code)),
        400_102 => Refused::for_good(with_code("the robot is switched off", code)),
        // Whoever passes 20 a minute is not heard for ten minutes: no wait here is long enough.
        130_101 | 410_100 | 90_030 => {
            Refused::for_good(with_code("the robot has had more than 20 messages in a minute, and rests", code))
        }
        -1 => Refused::for_now(with_code("the robot is busy", code), None),
        _ => Refused::for_good(unknown(code, words)),
    }
}

fn wecom(code: i64, words: &str) -> Refused {
    match code {
        93_000 => Refused::for_good(with_code("there is no such robot: is the key in `url` whole?", code)),
        93_008 => Refused::for_good(with_code("the robot is no longer in its group", code)),
        60_020 => Refused::for_good(with_code(NETWORK, code)),
        40_058 | 45_002 => Refused::for_good(unknown(code, words)),
        45_009 => {
            let reason = with_code("the robot has had more than 20 messages in a minute", code);
            Refused::for_now(reason, Some(WECOM_WAIT))
        }
        -1 => Refused::for_now(with_code("the robot is busy", code), None),
        _ => Refused::for_good(unknown(code, words)),
    }
}

fn feishu(code: i64, words: &str) -> Refused {
    match code {
        19_001 => Refused::for_good(with_code("there is no such robot: is `url` whole?", code)),
        19_021 => {
            let reason = format!("{SIGN} And is this machine's clock right?");
            Refused::for_good(with_code(&reason, code))
        }
        19_022 => Refused::for_good(with_code(NETWORK, code)),
        19_024 => Refused::for_good(with_code(KEYWORD, code)),
        11_232 | 11_233 | 99_991_400 => {
            let reason = with_code("the robot has had more than 5 messages in a second or 100 in a minute", code);
            Refused::for_now(reason, Some(Duration::from_secs(2)))
        }
        2_200 => Refused::for_now(with_code("the robot is busy", code), None),
        _ => Refused::for_good(unknown(code, words)),
    }
}

fn with_code(reason: &str, code: i64) -> String {
    format!("{reason} (code {code})")
}

/// A code that nobody here knows, in the robot's own words. They are masked before anybody sees them.
fn unknown(code: i64, words: &str) -> String {
    let clean = words.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let clean: String = clean.take(WORDS_LENGTH_MAX).collect();
    format!("the robot refused it (code {code}): {}", clean.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: AlertKind, body: &str, expected: &str, again: bool) {
        let refused = judge(kind, body.as_bytes()).unwrap().unwrap_err();
        assert!(refused.reason.contains(expected), "{body}: {}", refused.reason);
        assert_eq!(refused.again, again, "{body}");
    }

    #[test]
    fn what_robots_say_in_a_success_is_a_failure_with_its_cause() {
        use AlertKind::{DingTalk, Feishu, WeCom};
        for (kind, body, expected, again) in [
            (DingTalk, r#"{"errcode":310000,"errmsg":"sign not match"}"#, "is `sign` the secret", false),
            (
                DingTalk,
                r#"{"errcode":310000,"errmsg":"description:机器人发送签名不匹配;solution:…"}"#,
                "is `sign`",
                false,
            ),
            (DingTalk, r#"{"errcode":310000,"errmsg":"invalid timestamp"}"#, "clock", false),
            (DingTalk, r#"{"errcode":310000,"errmsg":"keywords not in content"}"#, "add `huopan`", false),
            (DingTalk, r#"{"errcode":310000,"errmsg":"description:关键词不匹配"}"#, "add `huopan`", false),
            (DingTalk, r#"{"errcode":310000,"errmsg":"ip 1.2.3.4 not in whitelist"}"#, "allowed ones", false),
            (DingTalk, r#"{"errcode":310000,"errmsg":"other"}"#, "(code 310000): other", false),
            (DingTalk, r#"{"errcode":300001,"errmsg":"token is not exist"}"#, "no such robot", false),
            (DingTalk, r#"{"errcode":130101,"errmsg":"send too fast"}"#, "rests", false),
            (DingTalk, r#"{"errcode":-1,"errmsg":"系统繁忙"}"#, "busy", true),
            (WeCom, r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#, "is the key in `url` whole?", false),
            (WeCom, r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#, "20 messages in a minute", true),
            (WeCom, r#"{"errcode":40058,"errmsg":"markdown.content exceed max length 4096"}"#, "max length", false),
            (WeCom, r#"{"errcode":60020,"errmsg":"not allow to access from your ip"}"#, "allowed ones", false),
            (Feishu, r#"{"code":19021,"msg":"sign match fail"}"#, "is `sign` the secret", false),
            (Feishu, r#"{"code":19022,"msg":"Ip Not Allowed"}"#, "allowed ones", false),
            (Feishu, r#"{"code":19024,"msg":"Key Words Not Found"}"#, "add `huopan`", false),
            (Feishu, r#"{"code":11232,"msg":"frequency limited"}"#, "5 messages in a second", true),
            (Feishu, r#"{"StatusCode":9499,"StatusMessage":"Bad\nRequest"}"#, "(code 9499): Bad Request", false),
        ] {
            check(kind, body, expected, again);
        }
    }

    #[test]
    fn zero_is_a_success_and_what_has_no_code_is_no_answer() {
        for (kind, body) in [
            (AlertKind::DingTalk, r#"{"errcode":0,"errmsg":"ok"}"#),
            (AlertKind::WeCom, r#"{"errcode":0,"errmsg":"ok"}"#),
            (AlertKind::Feishu, r#"{"code":0,"msg":"success","data":{},"StatusCode":0,"StatusMessage":"success"}"#),
            (AlertKind::Feishu, r#"{"Extra":null,"StatusCode":0,"StatusMessage":"success"}"#),
        ] {
            assert_eq!(judge(kind, body.as_bytes()), Some(Ok(())), "{body}");
        }
        for body in ["", "<html>", "{}", r#"{"errcode":null}"#, "[0]"] {
            assert_eq!(judge(AlertKind::DingTalk, body.as_bytes()), None, "{body}");
        }
        assert_eq!(judge(AlertKind::Feishu, br#"{"errcode":0}"#), None, "another robot's");
    }
}
