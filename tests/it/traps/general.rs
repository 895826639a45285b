//! What happens at every gateway: odd documents, odd clocks, odd waits, odd secrets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use huopan::base::Kind;
use huopan::config::gateway::ErrorClass;
use huopan::extract::{Judgement, Note, Record, judge};
use huopan::run::{Options as RunOptions, Outcome as Published};
use huopan::sim::{Gateway, Outcome};
use serde_json::{Value, json};

use super::ask::{Asked, Reply, Server, Trap, built_in, items, offer, plain, portals, sim, sim_with};
use crate::support::{attempt, day, shop_lines};

#[test]
fn http_200_may_hold_an_error_of_any_family() {
    for (gateway, endpoint, body) in [
        ("portals", "listing", json!({"error_response": {"code": 5002, "msg": "busy"}})),
        (
            "portals",
            "listing",
            json!({"error_response": {"code": 5002}, "seller_items_list_get_response": {"items": ""}}),
        ),
        ("item-get", "item", json!({"code": 3001, "msg": "bad"})),
        ("product-get", "item", json!({"error_code": "gw.X", "error_message": "bad"})),
        ("shop-search", "listing", json!({"error_response": {"code": 7, "msg": "limited"}})),
        ("aop", "item", json!({"success": false, "errorMsg": "bad"})),
        ("onebound", "item", json!({"error_code": "4013", "item": {"num_iid": 1}})),
        ("tmapi", "item", json!({"code": 439, "msg": "bad", "data": {"item_id": 1}})),
    ] {
        let definition = built_in(gateway);
        let record = Record { http_status: Some(200), ..Record::default() };
        let judgement = judge(&definition, &definition.endpoints[endpoint], &record, body.to_string().as_bytes());
        assert!(matches!(judgement, Judgement::Fault(_)), "{gateway}: {body}");
    }
}

async fn listed(offers: Vec<Value>, count: usize, list: fn(&[Value]) -> Value) -> Asked {
    let server = Server::start(portals(offers, count, list)).await;
    Trap::at(&server.url, "portals").lines("shops = [\"b2b-1\"]").ask().await
}

#[tokio::test]
async fn an_empty_list_may_be_written_as_a_text_or_an_object() {
    for list in [|_: &[Value]| json!(""), |_: &[Value]| json!({}), |_: &[Value]| json!([]), |_: &[Value]| json!(null)] {
        assert_eq!(listed(Vec::new(), 0, list).await.incomplete(), None, "{}", list(&[]));
    }
}

#[tokio::test]
async fn an_empty_list_where_the_count_says_otherwise_is_incomplete() {
    let server = Server::start(portals(Vec::new(), 30, |_| json!(""))).await;
    let trap = Trap::at(&server.url, "portals").lines("shops = [\"b2b-1\"]");
    assert!(trap.publish().await.shops[0].incomplete_reason.is_some());
}

#[tokio::test]
async fn a_list_of_one_may_be_written_as_an_object() {
    let server = Server::start(portals(vec![offer(1)], 1, |offers| offers[0].clone())).await;
    let trap = Trap::at(&server.url, "portals").lines("shops = [\"b2b-1\"]");
    let report = trap.publish().await;
    assert_eq!((report.loaded, report.is_complete()), (1, true));
}

#[tokio::test]
async fn a_code_may_stand_only_inside_the_message() {
    let shop = portals(vec![offer(1)], 1, plain);
    let server = Server::start(move |call| match call.before {
        0 => Reply::json(&json!({"error_response": {"msg": "系统错误[5002]，请重试"}})),
        _ => shop(call),
    })
    .await;
    let asked = Trap::at(&server.url, "portals").lines("shops = [\"b2b-1\"]").ask().await;
    assert_eq!((asked.incomplete(), asked.facts().retries), (None, 1));
}

#[tokio::test]
async fn an_error_in_gbk_is_read() {
    let text = json!({"error_response": {"code": 20001, "msg": "请求频率过高"}}).to_string();
    let text = encoding_rs::GBK.encode(&text).0.into_owned();
    let shop = portals(vec![offer(1)], 1, plain);
    let server = Server::start(move |call| match call.before {
        0 => Reply::bytes(text.clone()),
        _ => shop(call),
    })
    .await;
    let asked = Trap::at(&server.url, "portals").lines("shops = [\"b2b-1\"]").ask().await;
    assert_eq!((asked.incomplete(), asked.facts().throttles), (None, 1));
}

#[tokio::test]
async fn a_day_of_which_every_item_was_refused_is_asked_for_again_until_one_is_not() {
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let server = Server::start(move |call| match well.load(Ordering::SeqCst) {
        true => Reply::json(&json!({"item": {"item_id": call.get("item_id"), "title": "保温杯", "price": "12.50"}})),
        false => Reply::json(&json!({"error_response": {"code": "77", "msg": "strange"}})),
    })
    .await;
    let trap = Trap::at(&server.url, "item-get").lines(&items(&[600_001, 600_002]));
    let options = RunOptions { dt: Some(day(20)), ..RunOptions::default() };
    let published = async || match attempt(&trap.pipeline(), options).await.unwrap() {
        Published::Published(mut reports) => reports.remove(0),
        other => panic!("{other:?}"),
    };
    for calls in [2, 4] {
        let report = published().await;
        assert!(report.incomplete_reason.is_some_and(|reason| reason.contains("each of the 2 items was refused")));
        assert_eq!(server.calls().len(), calls);
    }
    is_well.store(true, Ordering::SeqCst);
    let report = published().await;
    assert!(report.is_complete() && report.loaded == 2, "{report:?}");
    let outcome = attempt(&trap.pipeline(), options).await.unwrap();
    assert!(matches!(outcome, Published::AlreadyPublished { .. }), "{outcome:?}");
}

fn secret(name: &str) -> String {
    format!(
        "[[accounts]]\nname = \"main\"\nlicence = \"paid\"\n\
         credentials = {{ app_key = \"sim-app\", app_secret = \"env:{name}\" }}"
    )
}

#[tokio::test]
async fn white_space_around_a_secret_is_ignored() {
    let sim = sim().await;
    let trap = Trap::on(&sim, Gateway::Portals).lines(&shop_lines(&sim.world(Gateway::Portals)));
    assert_eq!(trap.accounts(&secret("SPACED")).ask().await.incomplete(), None);
}

#[test]
fn a_line_break_inside_a_secret_is_refused() {
    let trap = Trap::at("http://127.0.0.1:9/", "portals").lines("shops = [\"b2b-1\"]").accounts(&secret("BROKEN"));
    let said = trap.refused();
    assert!(said.contains("holds a line break") && said.contains("copy the value again"), "{said}");
    assert!(!said.contains("sim\nsecret"));
}

#[test]
fn a_path_names_nothing_that_may_have_no_value() {
    for path in ["items/{brand}", "items/{access_token}"] {
        let trap = Trap::at("http://127.0.0.1:9/", "aop").lines(&items(&[600_001]));
        let said = trap.define(&format!("options.brand = {{}}\nendpoints.item.path = \"{path}\"")).refused();
        assert!(said.contains("may have no value, and a path cannot do without"), "{said}");
    }
    let trap = Trap::at("http://127.0.0.1:9/", "aop").lines(&items(&[600_001]));
    trap.define("options.brand = { default = \"x\" }\nendpoints.item.path = \"items/{brand}/{app_key}\"").pipeline();
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_by_the_date_of_the_answers() {
    for offset in [-3600, 3600] {
        let sim = sim_with(|options| options.clock_offset_seconds = offset).await;
        let trap = Trap::on(&sim, Gateway::Portals).lines(&shop_lines(&sim.world(Gateway::Portals)));
        let asked = trap.define("limits.calls_in_flight = 1").ask().await;
        assert_eq!(asked.incomplete(), None);
        let refused = sim.journal().iter().filter(|entry| entry.outcome == Outcome::Skew).count();
        assert_eq!((refused, asked.warnings.len()), (1, 1), "{:?}", asked.warnings);
    }
}

/// HTTP 429 with this header, then an answer.
async fn throttled(retry_after: &'static str) -> Asked {
    let shop = portals(vec![offer(1)], 1, plain);
    let server = Server::start(move |call| match call.before {
        0 => Reply::bytes("slow down").status(429).header("retry-after", retry_after),
        _ => shop(call),
    })
    .await;
    let trap = Trap::at(&server.url, "portals").lines("shops = [\"b2b-1\"]");
    trap.define("limits.calls_in_flight = 1").ask().await
}

#[tokio::test]
async fn retry_after_zero_does_not_spin() {
    let asked = throttled("0").await;
    assert_eq!((asked.incomplete(), asked.facts().throttles), (None, 1));
    let wait = asked.attempts[1].record.sent_at - asked.attempts[0].record.received_at;
    assert!(wait.num_milliseconds() >= 20, "{wait}");
}

#[tokio::test]
async fn retry_after_may_be_a_date() {
    let asked = throttled("Sun, 06 Nov 1994 08:49:37 GMT").await;
    assert_eq!((asked.incomplete(), asked.facts().throttles), (None, 1));
}

#[test]
fn retry_after_seconds_and_dates_are_waited_for() {
    let gateway = built_in("portals");
    let received_at = chrono::DateTime::from_timestamp(1_795_190_400, 0).unwrap();
    for (text, seconds) in [("7", 7), ("Fri, 20 Nov 2026 16:00:09 GMT", 9)] {
        let record =
            Record { http_status: Some(429), retry_after: Some(text.into()), received_at, ..Record::default() };
        let judgement = judge(&gateway, &gateway.endpoints["listing"], &record, b"slow down");
        let Judgement::Fault(fault) = judgement else { panic!("good") };
        assert_eq!((fault.class, fault.wait), (ErrorClass::Throttle, Some(Duration::from_secs(seconds))), "{text}");
    }
}

#[tokio::test]
async fn retry_after_more_than_120_seconds_ends_the_accounts_turn() {
    let asked = throttled("121").await;
    assert!(asked.facts().stopped.is_some());
    assert_eq!(asked.facts().calls_used, 1);
    assert!(matches!(asked.facts().notes[0], Note::Blocked { .. }), "{:?}", asked.facts().notes);
}

#[tokio::test]
async fn retry_after_of_a_busy_gateway_is_not_undercut_either() {
    let shop = portals(vec![offer(1)], 1, plain);
    let server = Server::start(move |call| match call.get("app_key") {
        "first" => Reply::bytes("maintenance").status(503).header("retry-after", "600"),
        _ => shop(call),
    })
    .await;
    let account = |name: &str| {
        format!(
            "[[accounts]]\nname = \"{name}\"\nlicence = \"paid\"\n\
             credentials = {{ app_key = \"{name}\", app_secret = \"env:SECRET\" }}\n"
        )
    };
    let trap = || Trap::at(&server.url, "portals").lines("shops = [\"b2b-1\"]").define("limits.calls_in_flight = 1");
    let asked = trap().accounts(&(account("first") + &account("second"))).ask().await;
    assert_eq!(asked.incomplete(), None, "the other account goes on");
    let by: Vec<&str> = asked.attempts.iter().map(|attempt| attempt.record.account.as_str()).collect();
    assert_eq!(by, ["first", "second", "second"]);
    let asked = trap().accounts(&account("first")).ask().await;
    let stopped = asked.facts().stopped.as_deref().unwrap();
    assert!(stopped.contains("`first`: blocked until 20") && stopped.contains("maintenance"), "{stopped}");
    assert_eq!(asked.attempts.len(), 1);
}

#[tokio::test]
async fn a_storm_of_429_is_an_outage_with_one_clear_line() {
    let server = Server::start(|_| Reply::bytes("slow down").status(429).header("retry-after", "0")).await;
    let trap = Trap::at(&server.url, "portals").lines("shops = [\"b2b-1\"]");
    let said = trap.define("limits.attempts_max = 3").ask().await.failed(Kind::Unavailable);
    assert!(said.contains("gateway `portals`") && said.contains("slow down"), "{said}");
}

/// As Gson and .NET write it.
const ODD_SECRET_ESCAPED: &str = r"c2VjcmV0LXNlY3JldA\u003d\u003D";

fn odd_secret(url: &str) -> Trap {
    let account = "[[accounts]]\nname = \"main\"\nlicence = \"company\"\n\
                   credentials = { app_key = \"sim-app\", app_secret = \"env:ODD\" }";
    Trap::at(url, "item-get").lines("items = [\"712757874907\"]").accounts(account)
}

#[tokio::test]
async fn a_secret_that_a_refusal_echoes_with_escapes_is_kept_nowhere() {
    let body = format!(r#"{{"error_response":{{"code":3002,"msg":"bad signature for {ODD_SECRET_ESCAPED}"}}}}"#);
    let server = Server::start(move |_| Reply::bytes(body.clone())).await;
    let trap = odd_secret(&server.url);
    let error = trap.fail().await;
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.to_string().contains("bad signature for *"), "{error}");
    assert!(!format!("{error:?}").contains("c2VjcmV0LXNlY3JldA"), "{error:?}");
    assert_eq!(trap.files_with(&["c2VjcmV0LXNlY3JldA"]), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_secret_in_an_answers_data_is_in_no_table() {
    let body = format!(
        r#"{{"item":{{"item_id":712757874907,"title":"echo {ODD_SECRET_ESCAPED}","price":"1.00","moq":"2","unit":"件"}}}}"#
    );
    let server = Server::start(move |_| Reply::bytes(body.clone())).await;
    let trap = odd_secret(&server.url);
    trap.publish().await;
    let title = trap.place.value("select title from offers").await;
    assert!(title.starts_with("echo ***") && !title.contains("c2Vj"), "{title}");
    assert_eq!(trap.place.value("select count(*) from raw_pages where redacted").await, "1");
    assert_eq!(trap.files_with(&["c2VjcmV0LXNlY3JldA"]), Vec::<std::path::PathBuf>::new());
}

/// `Date`, so many seconds ahead of this machine's clock.
fn date(ahead: i64) -> String {
    use huopan::base::Clock as _;
    (huopan::base::SystemClock.now() + chrono::TimeDelta::seconds(ahead)).to_rfc2822()
}

#[tokio::test]
async fn the_calls_of_a_day_are_no_more_whatever_day_answers_are_dated() {
    const DAY: i64 = 86_400;
    let days: [fn(usize) -> String; 5] = [
        |_| date(-DAY),
        |_| date(DAY),
        |before| date(if before % 2 == 0 { 0 } else { DAY }),
        |before| date(DAY * before as i64),
        |_| "Thu, 01 Jan 1970 00:00:00 GMT".to_owned(),
    ];
    for (index, day) in days.into_iter().enumerate() {
        let server = Server::start(move |call| {
            let item = json!({"item": {"item_id": call.get("item_id"), "title": "x", "price": "1.00", "moq": "2"}});
            Reply::json(&item).header("date", &day(call.before))
        })
        .await;
        let ids: Vec<i64> = (712_757_874_907..712_757_874_927).collect();
        let account = "[[accounts]]\nname = \"main\"\nlicence = \"company\"\ncalls_per_day = 5\n\
                       credentials = { app_key = \"sim-app\", app_secret = \"env:SECRET\" }";
        let trap = Trap::at(&server.url, "item-get").lines(&items(&ids)).lines("on_quota = \"continue\"");
        let trap = trap.define("limits.calls_in_flight = 2").accounts(account);
        let state = huopan::state::in_memory().await.unwrap();
        for _ in 0..3 {
            trap.ask_with(&state).await.facts();
        }
        assert_eq!(server.calls().len(), 5, "{index}");
        let today = huopan::base::time::beijing_day(state.now().await.unwrap());
        let counted = async |day| state.counts(day).await.unwrap().iter().map(|counted| counted.calls).sum::<u64>();
        // What answers date on the day before counts there, too.
        let before = if index == 0 { 5 } else { 0 };
        assert_eq!((counted(today).await, counted(today - chrono::Days::new(1)).await), (5, before), "{index}");
    }
}

#[tokio::test]
async fn a_date_that_lies_costs_no_account() {
    let dates: [fn(usize) -> String; 4] = [
        |_| date(3600),
        |before| date(if before % 2 == 0 { 3600 } else { 0 }),
        |_| "Thu, 01 Jan 1970 00:00:00 GMT".to_owned(),
        |_| "Fri, 31 Dec 9999 23:59:59 GMT".to_owned(),
    ];
    for (index, dated) in dates.into_iter().enumerate() {
        let shop = portals((0..90).map(offer).collect(), 90, plain);
        let server = Server::start(move |call| {
            use huopan::base::Clock as _;
            let signed: i64 = call.get("timestamp").parse().unwrap_or(0);
            let apart = signed / 1000 - huopan::base::SystemClock.now().timestamp();
            let answer = match apart.abs() <= 180 {
                true => shop(call),
                false => Reply::json(&json!({"error_response": {"code": 10002, "msg": "timestamp out of range"}})),
            };
            answer.header("date", &dated(call.before))
        })
        .await;
        let asked = Trap::at(&server.url, "portals").lines("shops = [\"b2b-1\"]").ask().await;
        assert_eq!(asked.incomplete(), None, "{index}");
    }
}

/// What the doctor says of a portals gateway that answers everything so, and its exit code.
async fn examined(reply: Reply) -> (u8, Vec<String>, usize) {
    let server = Server::start(move |_| reply.clone()).await;
    let trap = Trap::at(&server.url, "portals").lines("shops = [\"b2b-1\"]");
    let around = huopan::run::Surroundings {
        clock: std::sync::Arc::new(huopan::base::SystemClock),
        progress: &huopan::extract::progress::Silent,
        cancel: Default::default(),
        seed: 7,
    };
    let options = huopan::run::doctor::Options { calls: huopan::run::doctor::Calls::Few };
    let checks = huopan::run::doctor::doctor(&trap.pipeline(), options, &around, &|_| {}).await;
    let lines = checks.iter().map(|check| format!("{} {} {}", check.status.name(), check.check, check.says)).collect();
    let calls = server.calls().iter().filter(|call| !call.params.is_empty()).count();
    (huopan::run::doctor::exit_code(&checks), lines, calls)
}

#[tokio::test]
async fn a_redirect_is_asked_for_once_by_the_doctor() {
    let (code, lines, calls) = examined(Reply::bytes("").status(302).header("location", "http://127.0.0.1:1/")).await;
    assert_eq!((code, calls), (1, 1), "{lines:#?}");
}

#[tokio::test]
async fn a_doctor_whose_questions_are_all_throttled_has_proven_nothing() {
    let (code, lines, calls) = examined(Reply::bytes("slow").status(429).header("retry-after", "0")).await;
    assert_eq!((code, calls), (75, 3), "{lines:#?}");
    assert!(lines.iter().any(|line| line == "failed signature not proven: no question was answered"), "{lines:#?}");
}

#[test]
fn a_secret_in_quotation_marks_is_refused() {
    let account = "[[accounts]]\nname = \"main\"\nlicence = \"company\"\n\
                   credentials = { app_key = \"sim-app\", app_secret = \"env:QUOTED\" }";
    let trap = Trap::at("http://127.0.0.1:9/", "item-get").lines(&items(&[712_757_874_907])).accounts(account);
    let said = trap.refused();
    assert!(said.contains("the environment variable `QUOTED` stands in quotation marks"), "{said}");
    assert!(!said.contains("sim-secret"), "{said}");
    let trap = trap.accounts(&account.replace("env:QUOTED", "file:secret"));
    let utf_16: Vec<u8> = std::iter::once(0xfeff).chain("密码".encode_utf16()).flat_map(u16::to_le_bytes).collect();
    trap.place.write("secret", utf_16);
    let said = trap.refused();
    assert!(said.contains("the secret file `secret` is not UTF-8 text") && said.contains("UTF-16"), "{said}");
}
