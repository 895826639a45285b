//! OneBound and TMAPI: no signature, the secret travels in the address.

use huopan::base::Kind;
use huopan::extract::Note;
use serde_json::{Value, json};

use super::ask::{Asked, Reply, Server, Trap, items};

const SECRET: &str = "reseller-secret-8d1f";

fn found() -> Value {
    json!({"error_code": "0000", "item": {"num_iid": "600001", "title": "不锈钢保温杯", "price": "12.50"}})
}

/// OneBound answers the first call so, then with an offer.
async fn onebound(first: Value) -> Asked {
    let good = found();
    let server = Server::start(move |call| Reply::json(if call.before == 0 { &first } else { &good })).await;
    Trap::at(&server.url, "onebound").lines(&items(&[600_001])).ask().await
}

#[tokio::test]
async fn onebound_key_and_secret_travel_in_the_address_unsigned() {
    let server = Server::start(|_| Reply::json(&found())).await;
    let asked = Trap::at(&server.url, "onebound").lines(&items(&[600_001])).ask().await;
    let call = server.calls().remove(0);
    assert_eq!((call.get("key"), call.get("secret"), call.is_post), ("reseller-key", SECRET, false));
    assert!(!call.params.contains_key("sign"));
    assert!(!asked.sent("item")[0].values().any(|value| value.contains(SECRET)));
}

#[tokio::test]
async fn onebound_code_0000_means_success() {
    let asked = onebound(found()).await;
    assert_eq!((asked.facts().items_unanswered.len(), asked.facts().calls_used), (0, 1));
}

#[tokio::test]
async fn onebound_codes_4013_and_4016_end_the_accounts_day() {
    for code in ["4013", "4016"] {
        let asked = onebound(json!({"error_code": code, "reason": "limited"})).await;
        assert_eq!((asked.facts().items_unanswered.len(), asked.facts().calls_used), (1, 1), "{code}");
        assert!(matches!(&asked.facts().notes[0], Note::Blocked { reason, .. } if reason.contains(code)), "{code}");
    }
}

#[tokio::test]
async fn onebound_code_4005_is_a_missing_permission() {
    let said = onebound(json!({"error_code": "4005", "reason": "refused"})).await.failed(Kind::Denied);
    assert!(said.contains("order it from the reseller"), "{said}");
}

#[tokio::test]
async fn onebound_bodies_may_be_gbk() {
    let server = Server::start(|_| {
        let text = found().to_string();
        Reply::bytes(encoding_rs::GBK.encode(&text).0.into_owned()).header("content-type", "text/html; charset=GBK")
    })
    .await;
    let trap = Trap::at(&server.url, "onebound").lines(&items(&[600_001]));
    trap.publish().await;
    assert_eq!(trap.place.value("select title from offers").await, "不锈钢保温杯");
}

#[tokio::test]
async fn a_resellers_address_is_a_secret_also_in_what_it_echoes() {
    // The gateway repeats what it was asked, and breaks.
    let server = Server::start(|call| {
        let secret = call.get("secret");
        Reply::json(&json!({"error_code": "9999", "reason": format!("bad call secret={secret}"), "request": secret}))
    })
    .await;
    let trap = Trap::at(&server.url, "onebound").lines(&items(&[600_001]));
    let options = huopan::run::Options::default();
    let told = match crate::support::attempt(&trap.pipeline(), options).await {
        Ok(outcome) => format!("{outcome:?}"),
        Err(error) => format!("{error:?} {error}"),
    };
    assert!(!told.contains(SECRET), "{told}");
    assert_eq!(trap.files_with(&[SECRET]), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_resellers_address_is_a_secret_also_where_nobody_answers() {
    let trap = Trap::at("http://127.0.0.1:1/", "onebound").lines(&items(&[600_001]));
    let asked = trap.define("limits.attempts_max = 1").ask().await;
    let told = format!("{:?} {:?} {:?}", asked.facts, asked.warnings, asked.attempts);
    assert!(told.contains("127.0.0.1:1") && !told.contains(SECRET), "{told}");
}

/// TMAPI answers the first call so, then with an offer.
async fn tmapi(first: Value) -> Asked {
    let good = json!({"code": 200, "msg": "success", "data": {"item_id": 600_001, "title": "保温杯", "price": "1"}});
    let server = Server::start(move |call| Reply::json(if call.before == 0 { &first } else { &good })).await;
    Trap::at(&server.url, "tmapi").lines(&items(&[600_001])).ask().await
}

#[tokio::test]
async fn tmapi_code_417_is_a_wrong_parameter() {
    let said = tmapi(json!({"code": 417, "msg": "bad"})).await.failed(Kind::Config);
    assert!(said.contains("`item_id` the offer's digits"), "{said}");
}

#[tokio::test]
async fn tmapi_code_422_is_about_this_offer_only() {
    let asked = tmapi(json!({"code": 422, "msg": "cannot read"})).await;
    assert_eq!((asked.facts().items_unanswered.len(), asked.facts().calls_used), (0, 1));
    assert!(asked.warnings[0].contains("offer 600001"), "{:?}", asked.warnings);
}

#[tokio::test]
async fn tmapi_code_439_ends_the_accounts_day() {
    let asked = tmapi(json!({"code": 439, "msg": "balance"})).await;
    assert_eq!(asked.facts().calls_used, 1);
    let stopped = asked.facts().stopped.as_deref().unwrap_or_default();
    assert!(stopped.contains("`439` balance (the balance is used up: recharge the account)"), "{stopped}");
}

#[tokio::test]
async fn tmapi_codes_499_and_503_are_tried_again() {
    for code in [499, 503] {
        let asked = tmapi(json!({"code": code, "msg": "later"})).await;
        assert_eq!((asked.facts().items_unanswered.len(), asked.facts().retries), (0, 1), "{code}");
    }
}
