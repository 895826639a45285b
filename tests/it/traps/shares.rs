//! S2, `portals`: when a shop is complete.

use serde_json::{Value, json};

use super::ask::{Reply, Server, Trap, offer, plain, portals};

/// Why a shop of 100 offers, of which `bad` are changed so, is incomplete.
async fn incomplete(bad: usize, change: fn(&mut Value), fetch: &str) -> Option<String> {
    let offers = (0..100).map(offer).enumerate().map(|(index, mut offer)| {
        if index < bad {
            change(&mut offer);
        }
        offer
    });
    let shop = portals(offers.collect(), 100, plain);
    let server = Server::start(move |call| match call.get("method") {
        "alibaba.sku.get" => Reply::json(&json!({"error_response": {"code": 1004, "msg": "SKU 不存在"}})),
        _ => shop(call),
    })
    .await;
    let trap = Trap::at(&server.url, "portals").lines(&format!("shops = [\"b2b-1\"]\n[fetch]\n{fetch}"));
    trap.publish().await.shops[0].incomplete_reason.clone()
}

#[tokio::test]
async fn s2_97_percent_of_a_shops_offers_need_a_wholesale_price() {
    let unpriced = |offer: &mut Value| offer["wholesalePrice"] = json!("");
    assert_eq!(incomplete(3, unpriced, "").await, None);
    let reason = incomplete(4, unpriced, "").await.unwrap();
    assert_eq!(reason, "96.00 % of the offers have a wholesale price, 97.00 % are needed");
}

#[tokio::test]
async fn s2_a_channel_price_stands_for_a_wholesale_price() {
    let channel = |offer: &mut Value| {
        offer["wholesalePrice"] = Value::Null;
        offer["channelPrice"] = json!("11.00");
    };
    assert_eq!(incomplete(50, channel, "").await, None);
}

#[tokio::test]
async fn s2_97_percent_of_a_shops_offers_need_sku_data() {
    // One SKU each, which nobody answers for.
    let unanswered = |offer: &mut Value| {
        offer["quoteType"] = json!(1);
        offer["skuIds"] = json!(offer["item_id"].as_u64().unwrap().to_string() + "1");
    };
    assert_eq!(incomplete(3, unanswered, "skus = \"all\"").await, None);
    let reason = incomplete(4, unanswered, "skus = \"all\"").await.unwrap();
    assert_eq!(reason, "96.00 % of the offers have SKU data, 97.00 % are needed");
    assert_eq!(incomplete(4, unanswered, "skus = \"off\"").await, None, "what was not asked for is not checked");
}

#[tokio::test]
async fn s2_the_official_count_may_differ_by_5() {
    let with_count = async |count: usize| {
        let server = Server::start(portals((0..30).map(offer).collect(), count, plain)).await;
        let trap = Trap::at(&server.url, "portals").lines("shops = [\"b2b-1\"]");
        trap.publish().await.shops[0].incomplete_reason.clone()
    };
    assert_eq!((with_count(25).await, with_count(35).await), (None, None));
    assert_eq!(with_count(36).await.unwrap(), "the official count is 36, fetched were 30 offers");
}

#[tokio::test]
async fn s2_without_any_wholesale_price_and_moq_the_b2b_permission_is_named() {
    let closed = |offer: &mut Value| {
        offer["wholesalePrice"] = Value::Null;
        offer["moq"] = Value::Null;
    };
    let reason = incomplete(100, closed, "").await.unwrap();
    assert!(reason.contains("the account lacks the B2B data permission"), "{reason}");
}
