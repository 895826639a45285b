//! S3, `shop-search`, and the family of TOP gateways.

use std::collections::{BTreeMap, BTreeSet};

use huopan::base::Kind;
use huopan::extract::Note;
use huopan::sim::{Gateway, OfferTruth, Scheme, Signed, Sim};
use serde_json::{Value, json};

use super::ask::{Asked, Reply, Server, Trap, built_in, sim, sim_with};

fn shop(sim: &Sim) -> String {
    format!("shops = [\"{}\"]", sim.world(Gateway::ShopSearch).shops[0].shop_id)
}

/// The offers on the pages, in their order.
fn listed(asked: &Asked) -> Vec<i64> {
    let pages = asked.attempts.iter().map(|attempt| serde_json::from_slice::<Value>(&attempt.body).unwrap());
    let id = |item: &Value| item["num_iid"].as_i64().or_else(|| item["num_iid"].as_str()?.parse().ok()).unwrap();
    pages.flat_map(|page| page["items"]["item"].as_array().unwrap().iter().map(id).collect::<Vec<_>>()).collect()
}

#[tokio::test]
async fn s3_the_signature_of_the_prose_is_the_default() {
    let sim = sim().await;
    assert_eq!(Trap::on(&sim, Gateway::ShopSearch).lines(&shop(&sim)).ask().await.incomplete(), None);
}

#[tokio::test]
async fn s3_the_signature_of_the_sample_code_is_selectable() {
    let sim = sim_with(|options| options.shop_search_scheme = Scheme::ShopSearchSuffixTwice).await;
    let trap = Trap::on(&sim, Gateway::ShopSearch).lines(&shop(&sim));
    let said = trap.ask().await.failed(Kind::Denied);
    assert!(said.contains("try the other reading"), "{said}");
    let other = trap.define("sign.text = \"{params}{secret}{secret}\"");
    assert_eq!(other.ask().await.incomplete(), None);
}

#[tokio::test]
async fn s3_method_and_sign_method_may_be_sent_unsigned() {
    let server = Server::start(|call| {
        let mut signed: BTreeMap<String, String> = call.params.clone();
        assert!(signed.remove("method").is_some() && signed.remove("sign_method").is_some());
        let given = signed.remove("sign");
        let expected = Scheme::ShopSearch.signature(Signed { secret: "sim-secret", path: "" }, &signed);
        match given == Some(expected) {
            true => Reply::json(&json!({"items": {"item": [], "real_total_results": "0"}})),
            false => Reply::json(&json!({"error_response": {"code": 25, "msg": "Invalid signature"}})),
        }
    })
    .await;
    let trap = Trap::at(&server.url, "shop-search").lines("shops = [\"nick\"]");
    trap.ask().await.failed(Kind::Denied);
    assert_eq!(trap.define("sign.unsigned = [\"method\", \"sign_method\"]").ask().await.incomplete(), None);
}

#[tokio::test]
async fn s3_a_page_holds_at_most_100() {
    let sim = sim_with(|options| options.shop_sizes = vec![130]).await;
    let trap = Trap::on(&sim, Gateway::ShopSearch).lines(&shop(&sim));
    let asked = trap.ask().await;
    assert_eq!((asked.incomplete(), asked.facts().calls_used), (None, 2));
    assert_eq!(asked.sent("listing")[0]["page_size"], "100");
    let said = trap.define("endpoints.listing.page.size_max = 101").ask().await.failed(Kind::Config);
    assert!(said.contains("`page_size` at most 100") && said.contains("`page_size=101`"), "{said}");
}

fn page(real: Value, total: Value, items: usize) -> Reply {
    let item = |id: usize| json!({"num_iid": (600_000 + id).to_string(), "title": "保温杯", "price": "12.50"});
    let items: Vec<Value> = (0..items).map(item).collect();
    let body = json!({"page": "1", "real_total_results": real, "total_results": total, "page_size": 40, "item": items});
    Reply::json(&json!({"items": body}))
}

#[tokio::test]
async fn s3_page_numbers_and_totals_may_be_texts() {
    let server = Server::start(|_| page(json!(" 3 "), json!("3"), 3)).await;
    let asked = Trap::at(&server.url, "shop-search").lines("shops = [\"nick\"]").ask().await;
    assert_eq!((asked.incomplete(), asked.facts().shops[0].official_count), (None, Some(3)));
}

#[tokio::test]
async fn s3_the_real_total_goes_before_the_other_one() {
    let server = Server::start(|_| page(json!("3"), json!("30"), 3)).await;
    let trap = Trap::at(&server.url, "shop-search").lines("shops = [\"nick\"]");
    let report = trap.publish().await;
    assert_eq!((report.shops[0].official_count, &report.shops[0].incomplete_reason), (Some(3), &None));
    assert_eq!(server.calls().len(), 1);
}

#[tokio::test]
async fn s3_fewer_offers_than_the_real_total_are_incomplete() {
    let server = Server::start(|call| page(json!("30"), json!("30"), if call.before == 0 { 3 } else { 0 })).await;
    let trap = Trap::at(&server.url, "shop-search").lines("shops = [\"nick\"]");
    let reason = trap.publish().await.shops[0].incomplete_reason.clone().unwrap();
    assert!(reason.contains("30") && reason.contains('3'), "{reason}");
}

#[tokio::test]
async fn s3_without_a_total_an_empty_or_short_page_ends_the_listing() {
    let server = Server::start(|call| {
        let items: Vec<Value> = match call.get("page") {
            "1" => (0..100).map(|id| json!({"num_iid": 600_000 + id, "price": 1})).collect(),
            _ => Vec::new(),
        };
        Reply::json(&json!({"items": {"item": items}}))
    })
    .await;
    let asked = Trap::at(&server.url, "shop-search").lines("shops = [\"nick\"]").ask().await;
    assert_eq!((asked.incomplete(), asked.facts().calls_used), (None, 2));
}

#[tokio::test]
async fn s3_words_and_prices_narrow_the_listing() {
    let sim = sim_with(|options| options.shop_sizes = vec![60]).await;
    let world = sim.world(Gateway::ShopSearch);
    let cents = |offer: &OfferTruth| {
        let price = offer.price.as_deref().unwrap_or("0");
        huopan::base::money::Money::parse(price).unwrap()
    };
    let word: String = world.shops[0].offers.iter().find_map(|offer| offer.title.clone()).unwrap();
    let word: String = word.chars().take(2).collect();
    let (low, high) = ("5", "60.5");
    let bounds = [low, high].map(|text| huopan::base::money::Money::parse(text).unwrap());
    let on_sale = || world.shops[0].offers.iter().filter(|offer| offer.is_on_sale);
    let of_word = |offer: &&OfferTruth| offer.title.as_deref().unwrap_or("").contains(&word);
    let of_price = |offer: &&OfferTruth| (bounds[0]..=bounds[1]).contains(&cents(offer));
    for (options, expected) in [
        (format!("q = \"{word}\""), on_sale().filter(of_word).count()),
        (format!("start_price = \"{low}\"\nend_price = \"{high}\""), on_sale().filter(of_price).count()),
    ] {
        let lines = format!("{}\n[fetch.options]\n{options}", shop(&sim));
        let report = Trap::on(&sim, Gateway::ShopSearch).lines(&lines).publish().await;
        assert!(expected > 0 && expected < on_sale().count(), "{options}: {expected}");
        let expected = i64::try_from(expected).unwrap();
        assert_eq!((report.loaded, report.shops[0].official_count), (expected, Some(expected)), "{options}");
        assert!(report.is_complete());
    }
}

#[tokio::test]
async fn s3_the_order_is_by_price_either_way_or_by_sales() {
    let sim = sim().await;
    let trap = |options: &str| {
        Trap::on(&sim, Gateway::ShopSearch).lines(&format!("{}\n[fetch.options]\n{options}", shop(&sim)))
    };
    let up = trap("sort = \"price\"").ask().await;
    let down = trap("sort = \"_price\"").ask().await;
    let sales = trap("sort = \"sale\"").ask().await;
    assert_eq!(up.sent("listing")[0]["sort"], "price");
    assert_eq!(listed(&up).first(), listed(&down).last());
    assert_ne!(listed(&up), listed(&sales));
    let none = Trap::on(&sim, Gateway::ShopSearch).lines(&shop(&sim)).ask().await;
    assert!(!none.sent("listing")[0].contains_key("sort"));
    let said = trap("sort = \"newest\"").refused();
    assert!(said.contains("`_price`"), "{said}");
}

#[tokio::test]
async fn s3_a_shop_is_a_nick_or_an_id() {
    let server = Server::start(|_| page(json!("0"), json!("0"), 0)).await;
    let trap = Trap::at(&server.url, "shop-search").lines("shops = [\"某某旗舰店\", \"b2b-2200733087881719de\"]");
    trap.ask().await.facts();
    let nicks: BTreeSet<_> = server.calls().iter().map(|call| call.get("seller_nick").to_owned()).collect();
    assert_eq!(nicks, ["b2b-2200733087881719de", "某某旗舰店"].map(str::to_owned).into());
}

fn error(code: u32, sub_code: &str, sub_message: &str) -> Reply {
    let body = json!({"code": code, "msg": "App Call Limited", "sub_code": sub_code, "sub_msg": sub_message});
    Reply::json(&json!({"error_response": body}))
}

/// A gateway that refuses the first calls so, then answers.
async fn refusing(first: usize, refusal: Reply) -> (Server, Asked) {
    let server =
        Server::start(move |call| if call.before < first { refusal.clone() } else { page(json!("1"), json!("1"), 1) })
            .await;
    let trap = Trap::at(&server.url, "shop-search").lines("shops = [\"nick\"]");
    let asked = trap.define("limits.calls_in_flight = 1").ask().await;
    (server, asked)
}

#[tokio::test]
async fn s3_isv_invalid_permission_names_the_permission() {
    let (_, asked) = refusing(9, error(11, "isv.invalid-permission", "")).await;
    let said = asked.failed(Kind::Denied);
    assert!(said.contains("apply for its permission"), "{said}");
}

#[tokio::test]
async fn s3_isv_param_error_names_the_parameters() {
    let (_, asked) = refusing(9, error(41, "isv.param-error", "invalid seller_nick")).await;
    let said = asked.failed(Kind::Config);
    assert!(said.contains("`seller_nick=nick`") && !said.contains("`page=1`"), "{said}");
}

#[tokio::test]
async fn s3_isp_codes_and_code_8_are_tried_again() {
    for refusal in [error(15, "isp.remote-service-timeout", ""), error(8, "", "")] {
        let (_, asked) = refusing(2, refusal).await;
        assert_eq!((asked.incomplete(), asked.facts().retries), (None, 2));
    }
}

#[tokio::test]
async fn top_code_7_without_a_ban_is_tried_again() {
    let (_, asked) = refusing(2, error(7, "", "App Call Limited")).await;
    assert_eq!((asked.incomplete(), asked.facts().throttles, asked.facts().retries), (None, 2, 2));
}

#[test]
fn s3_no_more_than_ten_calls_are_made_a_second() {
    assert_eq!(built_in("shop-search").limits.calls_per_second, Some(10.0));
    let account = "[[accounts]]\nname = \"main\"\ncalls_per_second = 11\n\
                   credentials = { app_key = \"sim-app\", app_secret = \"env:SECRET\" }";
    let trap = Trap::at("http://127.0.0.1:9/", "shop-search").built_in().lines("shops = [\"nick\"]");
    let said = trap.accounts(account).refused();
    assert!(said.contains("gateway `shop-search` allows 10"), "{said}");
}

#[tokio::test]
async fn s3_code_25_is_a_wrong_signature() {
    let (_, asked) = refusing(9, error(25, "isv.invalid-signature", "")).await;
    let said = asked.failed(Kind::Denied);
    assert!(said.contains("signature: copy the secret again"), "{said}");
}

const BAN: &str = "accesscontrol.limited-by-app-access-count";

#[tokio::test]
async fn top_a_ban_of_at_most_120_seconds_is_waited_for() {
    let (_, asked) = refusing(1, error(7, BAN, "This ban will last for 0 more seconds")).await;
    assert_eq!((asked.incomplete(), asked.facts().throttles), (None, 1));
}

#[tokio::test]
async fn top_a_ban_of_more_than_120_seconds_ends_the_accounts_day() {
    let (server, asked) = refusing(1, error(7, BAN, "This ban will last for 121 more seconds")).await;
    assert!(asked.facts().stopped.is_some());
    assert!(matches!(&asked.facts().notes[..], [Note::Blocked { .. }, Note::NoneLeft { .. }]), "{:?}", asked.facts());
    assert_eq!(server.calls().len(), 1);
}

#[tokio::test]
async fn s3_what_leaves_a_price_range_is_not_called_delisted() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    let is_dear = Arc::new(AtomicBool::new(false));
    let server = {
        let is_dear = Arc::clone(&is_dear);
        Server::start(move |call| {
            let first = if is_dear.load(Ordering::SeqCst) { 21 } else { 19 };
            let highest = call.get("end_price").parse().unwrap_or(i32::MAX);
            let prices = [(600_001, first), (600_002, 10), (600_003, 12)];
            let found = prices.iter().filter(|(_, price)| *price <= highest);
            let item: Vec<_> =
                found.map(|(id, price)| json!({"num_iid": id, "title": "x", "price": price.to_string()})).collect();
            Reply::json(&json!({"items": {"page": "1", "real_total_results": item.len().to_string(), "item": item}}))
        })
        .await
    };
    let trap = Trap::at(&server.url, "shop-search");
    let trap = trap.lines("shops = [\"b2b-1\"]\n[fetch.options]\nend_price = \"20\"");
    assert_eq!(trap.publish().await.loaded, 3);
    is_dear.store(true, Ordering::SeqCst);
    let report = crate::support::publish(&trap.pipeline(), crate::support::day(21)).await;
    assert_eq!((report.is_complete(), report.loaded, report.shops[0].delisted_count), (true, 2, 0));
    assert_eq!(trap.place.value("select count(*) from delisted_offers").await, "0");
    assert_eq!(trap.place.value("select count(*) from offers where dt = date '2026-11-21'").await, "2");
}
