//! The official gateway, `aop`: how it is asked, what its errors mean.

use std::time::Duration;

use huopan::base::{Clock as _, Kind, SystemClock};
use huopan::config::gateway::ErrorClass;
use huopan::extract::http::Http;
use huopan::extract::request::{Call, Values, build};
use huopan::extract::retry::{Budget, Dice, Next, Spent};
use huopan::extract::{Judgement, Record, judge};
use huopan::sim::{Gateway, Outcome, Scheme, Signed};
use serde_json::{Value, json};

use super::ask::{Asked, Reply, Server, Trap, built_in, ids, items, sim, sim_with};

const OFFER: i64 = 712_757_874_907;

#[tokio::test]
async fn aop_the_path_is_signed_without_host_and_openapi() {
    let server = Server::start(|call| {
        let path = call.path.trim_start_matches('/').trim_start_matches("openapi/");
        let expected = Scheme::Aop.signature(Signed { secret: "sim-secret", path }, &call.params);
        assert!(path.starts_with("param2/1/com.alibaba.product/") && path.ends_with("/sim-app"), "{path}");
        match call.is_post && call.get("_aop_signature") == expected {
            true => Reply::json(&json!({"success": "true", "productInfo": {"productID": OFFER}})),
            false => Reply::json(&json!({"error_code": "gw.SignatureInvalid", "error_message": "no"})).status(400),
        }
    })
    .await;
    let trap = Trap::at(&format!("{}openapi/", server.url), "aop").lines(&items(&[OFFER]));
    assert_eq!(trap.ask().await.facts().items_unanswered, [0; 0]);
    let said = trap.define("sign.text = \"openapi/{path}{params}\"").ask().await.failed(Kind::Denied);
    assert!(said.contains("the path is signed too"), "{said}");
}

#[tokio::test]
async fn aop_the_signature_is_in_its_own_parameter() {
    let sim = sim().await;
    let trap = Trap::on(&sim, Gateway::Aop).lines(&items(&[OFFER])).define("sign.into = \"sign\"");
    let said = trap.ask().await.failed(Kind::Denied);
    assert!(said.contains("gw.SignatureMissing") && said.contains("`_aop_signature`"), "{said}");
}

#[tokio::test]
async fn aop_the_time_may_be_left_out() {
    let sim = sim().await;
    let trap = Trap::on(&sim, Gateway::Aop).lines(&items(&ids(&sim.world(Gateway::Aop), 1)));
    assert_eq!(trap.define("params._aop_timestamp = false").ask().await.facts().items_unanswered, [0; 0]);
}

/// The gateway answers every call with this error and HTTP 400.
async fn refused(code: &'static str) -> (Asked, usize) {
    let error = json!({"error_code": code, "error_message": "refused", "exception": "", "request_id": "1"});
    let server = Server::start(move |_| Reply::json(&error).status(400)).await;
    let asked = Trap::at(&server.url, "aop").lines(&items(&[OFFER])).ask().await;
    let calls = server.calls().len();
    (asked, calls)
}

async fn check(code: &'static str, kind: Kind, hint: &str) {
    let (asked, calls) = refused(code).await;
    let said = asked.failed(kind);
    assert!(said.contains(code) && said.contains(hint), "{said}");
    assert_eq!(calls, 1, "{code} is never tried again");
}

#[tokio::test]
async fn aop_gw_signature_invalid_and_missing_are_about_the_secret_and_the_address() {
    check("gw.SignatureInvalid", Kind::Denied, "copy the secret again").await;
    check("gw.SignatureMissing", Kind::Denied, "is `url` that of the official gateway?").await;
}

#[tokio::test]
async fn aop_gw_app_key_missing_is_about_the_end_of_the_path() {
    check("gw.AppKeyMissing", Kind::Denied, "end `path` with `{app_key}`").await;
}

#[tokio::test]
async fn aop_gw_api_acl_decline_is_a_permission_and_never_tried_again() {
    check("gw.APIACLDecline", Kind::Denied, "apply for its permission").await;
}

#[tokio::test]
async fn aop_gw_api_unsupported_and_param_missing_are_about_the_definition() {
    check("gw.APIUnsupported", Kind::Config, "its namespace, name or version in `path` is wrong").await;
    check("gw.ParamMissing", Kind::Config, "names the parameter that is missing").await;
}

#[tokio::test]
async fn aop_401_asks_for_a_token() {
    let sim = sim().await;
    let account = "[[accounts]]\nname = \"main\"\ncredentials = { app_key = \"sim-app\", app_secret = \"env:SECRET\" }";
    let trap = Trap::on(&sim, Gateway::Aop).lines(&items(&[OFFER])).accounts(account);
    let said = trap.ask().await.failed(Kind::Denied);
    assert!(said.contains("`401`") && said.contains("`access_token` is missing, wrong or has expired"), "{said}");
}

#[tokio::test]
async fn aop_an_unknown_gw_code_is_a_failure_never_an_empty_page() {
    let error = json!({"error_code": "gw.Mystery", "error_message": "?", "result": {"pageResult": {"resultList": []}}});
    let server = Server::start(move |_| Reply::json(&error)).await;
    let asked = Trap::at(&server.url, "aop").lines("shops = [\"b2b-1\"]").ask().await;
    let reason = asked.incomplete().unwrap();
    assert!(reason.contains("gw.Mystery"), "{reason}");
}

#[test]
fn aop_a_frequency_limit_backs_off_from_10_to_120_seconds() {
    let gateway = built_in("aop");
    let record = Record { http_status: Some(400), ..Record::default() };
    let body = br#"{"error_code":"gw.QosAppFrequencyLimit","error_message":"too often"}"#;
    let Judgement::Fault(fault) = judge(&gateway, &gateway.endpoints["item"], &record, body) else { panic!("good") };
    assert_eq!((fault.class, fault.wait), (ErrorClass::Throttle, Some(Duration::from_secs(10))));
    let mut budget = Budget::new(&gateway.limits);
    budget.attempts_max = 100;
    let mut dice = Dice::new(7);
    let mut wait =
        |attempts| match budget.next(Spent { attempts, elapsed: Duration::ZERO }, fault.class, fault.wait, &mut dice) {
            Next::Again(wait) => wait.as_secs(),
            Next::GiveUp => panic!("given up"),
        };
    assert_eq!(wait(1), 10);
    let later: Vec<u64> = (0..200).map(|_| wait(8)).collect();
    assert!(later.iter().all(|wait| (10..=120).contains(wait)) && later.iter().any(|wait| *wait > 100), "{later:?}");
}

#[tokio::test]
async fn aop_the_inner_success_counts_too() {
    let server = Server::start(|_| {
        let inner = json!({"success": "false", "errorCode": "X-1", "errorMsg": "boom", "result": {"productID": OFFER}});
        Reply::json(&json!({"success": "true", "result": inner}))
    })
    .await;
    let asked = Trap::at(&server.url, "aop").lines(&items(&[OFFER])).ask().await;
    assert!(asked.warnings[0].contains("`X-1` boom"), "{:?}", asked.warnings);
}

#[tokio::test]
async fn aop_success_may_be_a_text_or_a_flag() {
    for success in [json!(true), json!("true"), json!("TRUE")] {
        let answer = json!({"success": success, "productInfo": {"productID": OFFER, "subject": "保温杯"}});
        let server = Server::start(move |_| Reply::json(&answer)).await;
        let report = Trap::at(&server.url, "aop").lines(&items(&[OFFER])).publish().await;
        assert_eq!(report.loaded, 1);
    }
}

#[tokio::test]
async fn aop_json_parameters_are_signed_as_they_are_sent() {
    let sim = sim_with(|options| options.shop_sizes = vec![25]).await;
    let world = sim.world(Gateway::Aop);
    let path = "param2/1/com.alibaba.fenxiao.crossborder/product.search.querySellerOfferList/{app_key}";
    let definition = format!(
        "endpoints.listing = {{ path = \"{path}\", list = \"/result/result/data\", \
         total = \"/result/result/totalRecords\", window = false, \
         page = {{ number = false, size = false, size_max = 20 }}, params = {{ offerQueryParam = \
         '{{{{\"sellerOpenId\":\"{{shop_id}}\",\"beginPage\":{{page}},\"pageSize\":{{page_size}},\"country\":\"中\"}}}}' }} }}"
    );
    let lines = format!("shops = [\"{}\"]", world.shops[0].shop_id);
    let asked = Trap::on(&sim, Gateway::Aop).lines(&lines).define(&definition).ask().await;
    assert_eq!((asked.incomplete(), asked.facts().calls_used), (None, 2));
    let sent: Value = serde_json::from_str(&asked.sent("listing")[1]["offerQueryParam"]).unwrap();
    assert_eq!((&sent["beginPage"], &sent["country"]), (&json!(2), &json!("中")));
}

#[tokio::test]
async fn aop_a_page_of_the_own_shop_holds_at_most_20() {
    let sim = sim_with(|options| options.shop_sizes = vec![25]).await;
    let trap =
        Trap::on(&sim, Gateway::Aop).lines(&format!("shops = [\"{}\"]", sim.world(Gateway::Aop).shops[0].shop_id));
    let asked = trap.ask().await;
    assert_eq!((asked.incomplete(), asked.facts().calls_used), (None, 2));
    let large = trap.define("endpoints.listing.page.size_max = 21").ask().await;
    assert!(large.incomplete().unwrap_or_default().contains("gw.ParamInvalid"), "{:?}", large.facts);
}

#[tokio::test]
async fn aop_the_connection_test_needs_neither_token_nor_permission() {
    let sim =
        sim_with(|options| options.keys[0].denied_methods = vec!["com.alibaba.product/alibaba.product.get".into()])
            .await;
    let account = "[[accounts]]\nname = \"main\"\ncredentials = { app_key = \"sim-app\", app_secret = \"env:SECRET\" }";
    let pipeline = Trap::on(&sim, Gateway::Aop).lines(&items(&[OFFER])).accounts(account).pipeline();
    let (gateway, values) = (&pipeline.gateway, Values::default());
    let endpoint = &gateway.endpoints["time"];
    let now = SystemClock.now();
    let request = build(Call { gateway, endpoint, account: &pipeline.accounts[0], values: &values, now }).unwrap();
    let exchange = Http::new(gateway, None).unwrap().send(&request).await;
    assert_eq!(sim.journal()[0].outcome, Outcome::Ok);
    let record = Record { http_status: exchange.status, ..Record::default() };
    assert_eq!(judge(gateway, endpoint, &record, &exchange.body), Judgement::Good);
}
