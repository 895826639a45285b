//! S1, `product-get`.

use huopan::base::Kind;
use huopan::sim::{Gateway, Outcome};
use serde_json::json;

use super::ask::{Reply, Server, Trap, ids, items, sim, sim_with};
use crate::support::Row;

#[tokio::test]
async fn s1_the_time_is_in_seconds_not_milliseconds() {
    let sim = sim().await;
    let lines = items(&ids(&sim.world(Gateway::ProductGet), 1));
    let trap = Trap::on(&sim, Gateway::ProductGet).lines(&lines);
    assert_eq!(trap.ask().await.facts().calls_used, 1);
    let said = trap.define("time = \"unix_ms\"").ask().await.failed(Kind::Denied);
    assert!(said.contains("timestamp"), "{said}");
    assert_eq!(sim.journal()[1].outcome, Outcome::Skew);
}

/// What the tables say of a shop's offers.
async fn rows(answer: &str, sql: &str) -> Vec<Row> {
    let sim = sim_with(|options| options.shop_sizes = vec![24]).await;
    let lines = format!("{}\n[fetch]\nanswer = \"{answer}\"", items(&ids(&sim.world(Gateway::ProductGet), 24)));
    let trap = Trap::on(&sim, Gateway::ProductGet).lines(&lines);
    trap.publish().await;
    assert!(sim.journal().iter().all(|entry| entry.request.contains(&format!("format={answer}"))));
    trap.place.rows(sql).await
}

#[tokio::test]
async fn s1_an_answer_is_json_or_xml() {
    let sql = "select offer_id, title, unit, price, moq_pieces, stock_pieces from offers order by offer_id";
    let json = rows("json", sql).await;
    assert!(json.len() > 10, "{}", json.len());
    assert_eq!(json, rows("xml", sql).await);
}

#[tokio::test]
async fn s1_lists_in_xml_come_with_or_without_a_wrapper() {
    let sql = "select offer_id, sku_id, spec, price, stock_pieces from skus order by sku_id";
    let json = rows("json", sql).await;
    let of = |rest: u64| json.iter().filter(|row| row["offer_id"].parse::<u64>().unwrap() % 2 == rest).count();
    assert!(of(0) > 1 && of(1) > 1, "of odd offers the simulator wraps the lists: {} and {} SKUs", of(0), of(1));
    assert_eq!(json, rows("xml", sql).await);
}

#[tokio::test]
async fn s1_errors_in_xml_are_read() {
    let sim = sim().await;
    sim.set_secret("sim-app", "changed");
    let lines = format!("{}\n[fetch]\nanswer = \"xml\"", items(&[712_757_874_907]));
    let asked = Trap::on(&sim, Gateway::ProductGet).lines(&lines).ask().await;
    assert!(asked.attempts[0].body.starts_with(b"<"));
    let said = asked.failed(Kind::Denied);
    assert!(said.contains("gw.SignatureInvalid") && said.contains("10 digits"), "{said}");
}

#[tokio::test]
async fn s1_a_call_too_many_in_a_second_is_tried_again() {
    let server = Server::start(|call| match call.before {
        0 => Reply::json(&json!({"error_code": "gw.QosAppFrequencyLimit", "error_message": "too often"})).status(400),
        _ => Reply::json(&json!({"productInfo": {"productID": 600_001, "subject": "保温杯"}})),
    })
    .await;
    let trap = Trap::at(&server.url, "product-get").lines(&items(&[600_001]));
    let asked = trap.define("errors.codes.\"gw.QosAppFrequencyLimit\".wait_seconds = false").ask().await;
    assert_eq!((asked.facts().throttles, asked.facts().calls_used), (1, 2));
    assert_eq!(asked.facts().items_unanswered, [0; 0]);
}
