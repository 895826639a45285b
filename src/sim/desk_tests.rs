use std::collections::{BTreeMap, HashSet};

use chrono::TimeDelta;
use serde_json::Value;

use super::*;
use crate::base::time::ManualClock;
use crate::sim::gateways::{Verb, WindowEnd};

/// 10:00 in Beijing.
fn noon() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-20T02:00:00Z").expect("a time").to_utc()
}

fn options() -> Options {
    Options {
        day: NaiveDate::from_ymd_opt(2026, 11, 20),
        shop_sizes: vec![90, 50, 20],
        clock: Arc::new(ManualClock::new(noon())),
        limits: BTreeMap::new(),
        ..Options::default()
    }
}

fn unsigned(gateway: Gateway, path: &str, params: &[(&str, &str)]) -> Call {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Call { gateway, verb: gateway.verb(), params, path: path.to_owned(), accepts_xml: false }
}

fn signed(desk: &Desk, mut call: Call) -> Call {
    let beijing = noon().with_timezone(&BEIJING).format("%Y-%m-%d %H:%M:%S").to_string();
    let time = match call.gateway {
        Gateway::Portals => Some(noon().timestamp_millis().to_string()),
        Gateway::ProductGet => Some(noon().timestamp().to_string()),
        Gateway::ItemGet | Gateway::ShopSearch => Some(beijing),
        Gateway::Aop => None,
    };
    if let Some(time) = time {
        call.params.entry("timestamp".into()).or_insert(time);
        call.params.entry("app_key".into()).or_insert("sim-app".into());
    }
    let scheme = desk.scheme(call.gateway);
    let signature = scheme.signature(Signed { secret: "sim-secret", path: &call.path }, &call.params);
    call.params.entry(scheme.parameter().into()).or_insert(signature);
    call
}

fn ask(desk: &Desk, call: Call) -> (Outcome, Value) {
    let answer = desk.reply(&signed(desk, call)).answer;
    (answer.outcome, serde_json::from_slice(&answer.body).expect("JSON"))
}

fn portals(desk: &Desk, params: &[(&str, &str)]) -> (Outcome, Value) {
    ask(desk, unsigned(Gateway::Portals, "", params))
}

fn listing(desk: &Desk, shop_id: &str, more: &[(&str, &str)]) -> (Outcome, Vec<Value>) {
    let fields = "item_id,title,wholesalePrice,moq,skuIds,channelPrice,modified_time";
    let mut params = vec![("method", "alibaba.seller.items.list.get"), ("member_id", shop_id), ("offline", "false")];
    params.push(("fields", fields));
    params.extend_from_slice(more);
    let (outcome, body) = portals(desk, &params);
    let items = body["seller_items_list_get_response"]["items"]["item"].as_array().cloned();
    (outcome, items.unwrap_or_default())
}

fn ids(items: &[Value]) -> Vec<i64> {
    let id = |item: &Value| item["item_id"].as_i64().or_else(|| item["item_id"].as_str()?.parse().ok());
    items.iter().map(|item| id(item).expect("an id")).collect()
}

fn shop_id(desk: &Desk, number: usize) -> String {
    desk.day().shops[number].id.clone()
}

const DETAIL: &str = "param2/1/com.alibaba.product/alibaba.product.get/sim-app";

#[test]
fn the_pages_of_a_listing_are_the_offers_on_sale_once_each() {
    let desk = Desk::new(options());
    let shop = shop_id(&desk, 0);
    let mut found = Vec::new();
    for page in ["1", "2", "3", "4"] {
        let (_, items) = listing(&desk, &shop, &[("pageNum", page), ("pageSize", "40"), ("sortType", "volume_desc")]);
        found.extend(ids(&items));
    }
    let truth = &desk.world(Gateway::Portals).shops[0];
    let expected: HashSet<i64> =
        truth.offers.iter().filter(|offer| offer.is_on_sale).map(|offer| offer.offer_id).collect();
    assert_eq!(found.len(), expected.len());
    assert_eq!(found.into_iter().collect::<HashSet<_>>(), expected);
    let count = [("method", "alibaba.seller.items.count.get"), ("member_id", shop.as_str()), ("offline", "false")];
    let (_, body) = portals(&desk, &count);
    assert_eq!(body["seller_items_count_get_response"]["total_count"], truth.on_sale);
}

#[test]
fn past_page_fifty_there_is_an_empty_page_and_no_error() {
    let desk = Desk::new(Options { shop_sizes: vec![60], ..options() });
    let shop = shop_id(&desk, 0);
    let (outcome, items) = listing(&desk, &shop, &[("pageNum", "50"), ("pageSize", "1")]);
    assert_eq!((outcome, items.len()), (Outcome::Ok, 1));
    let (outcome, items) = listing(&desk, &shop, &[("pageNum", "51"), ("pageSize", "1")]);
    assert_eq!((outcome, items.len()), (Outcome::Empty, 0));
}

#[test]
fn a_page_size_over_forty_is_a_parameter_error_and_a_misspelt_page_is_page_one() {
    let desk = Desk::new(options());
    let shop = shop_id(&desk, 0);
    let params = [("method", "alibaba.seller.items.list.get"), ("member_id", shop.as_str()), ("pageSize", "41")];
    let (outcome, body) = portals(&desk, &params);
    assert_eq!((outcome, &body["error_response"]["code"]), (Outcome::Param, &Value::from(1001)));
    let first = listing(&desk, &shop, &[("pageNum", "1"), ("pageSize", "40")]).1;
    let second = listing(&desk, &shop, &[("page_num", "2"), ("pageSize", "40")]).1;
    assert_eq!(first, second);
}

#[test]
fn only_the_fields_that_are_named_are_there() {
    let desk = Desk::new(options());
    let shop = shop_id(&desk, 0);
    let params = [("method", "alibaba.seller.items.list.get"), ("member_id", shop.as_str())];
    let item = &portals(&desk, &params).1["seller_items_list_get_response"]["items"]["item"][0];
    for name in ["skuIds", "wholesalePrice", "moq", "channelPrice"] {
        assert!(item.get(name).is_none(), "{name}");
    }
    assert!(item.get("price").is_some());
    let (_, items) = listing(&desk, &shop, &[]);
    assert!(items[0].get("skuIds").is_some() && items[0].get("price").is_none());
}

#[test]
fn start_time_is_inclusive_in_milliseconds_and_seconds_lose_data() {
    let desk = Desk::new(options());
    let shop = shop_id(&desk, 0);
    let day = desk.day();
    let middle = day.shops[0].by_modified[45];
    let at = day.shops[0].offers[middle].modified_at;
    let expected = day.shops[0].offers.iter().filter(|offer| offer.is_on_sale && offer.modified_at >= at).count();
    let from = |start: &str| {
        let pages = ["1", "2"]
            .map(|page| listing(&desk, &shop, &[("start_time", start), ("pageSize", "40"), ("pageNum", page)]).1);
        pages.concat().len()
    };
    assert_eq!(from(&at.timestamp_millis().to_string()), expected);
    assert_eq!(from(&at.timestamp().to_string()), 0);
}

#[test]
fn an_end_bound_counts_only_where_the_gateway_has_one() {
    let count = |window_end| {
        let desk = Desk::new(Options { window_end, ..options() });
        let end = (noon() - TimeDelta::days(20)).timestamp_millis().to_string();
        listing(&desk, &shop_id(&desk, 1), &[("end_time", &end), ("pageSize", "40")]).1.len()
    };
    assert_eq!(count(WindowEnd::Ignored), 40);
    assert!(count(WindowEnd::Honoured) < 30);
}

#[test]
fn categories_narrow_a_listing_and_cover_it() {
    let desk = Desk::new(options());
    let shop = shop_id(&desk, 1);
    let params = [("method", "alibaba.shop.categories.get"), ("member_id", shop.as_str())];
    let (_, body) = portals(&desk, &params);
    let categories = body["shop_categories_get_response"]["categories"]["category"].as_array().expect("a list").clone();
    let covered: usize = categories
        .iter()
        .map(|category| listing(&desk, &shop, &[("cid", &category["cid"].to_string()), ("pageSize", "40")]).1.len())
        .sum();
    assert_eq!(covered, desk.world(Gateway::Portals).shops[1].on_sale);
}

#[test]
fn a_shop_is_resolved_by_its_address_and_a_sku_by_its_id() {
    let desk = Desk::new(options());
    let day = desk.day();
    let shop = &day.shops[0];
    let (_, body) = portals(&desk, &[("method", "alibaba.shop.get"), ("shop_url", &shop.url)]);
    assert_eq!(body["shop_get_response"]["shop"]["member_id"], shop.id);
    let offer = shop.offers.iter().find(|offer| !offer.skus.is_empty()).expect("SKUs");
    let id = offer.skus[0].id.to_string();
    let (_, body) = portals(&desk, &[("method", "alibaba.sku.get"), ("sku_id", &id)]);
    assert_eq!(body["sku_get_response"]["sku"]["spec"], offer.skus[0].spec);
    let (outcome, _) = portals(&desk, &[("method", "alibaba.shop.get"), ("shop_url", "https://nobody.1688.com")]);
    assert_eq!(outcome, Outcome::Gone);
}

#[test]
fn a_wrong_signature_is_refused_in_each_familys_words() {
    let desk = Desk::new(options());
    let cases = [
        (Gateway::Portals, "", "/error_response/code", "10002"),
        (Gateway::ItemGet, "", "/code", "3002"),
        (Gateway::ProductGet, "", "/error_code", "\"gw.SignatureInvalid\""),
        (Gateway::ShopSearch, "", "/error_response/code", "25"),
        (Gateway::Aop, DETAIL, "/error_code", "\"gw.SignatureInvalid\""),
    ];
    for (gateway, path, pointer, code) in cases {
        let parameter = desk.scheme(gateway).parameter();
        let (outcome, body) = ask(&desk, unsigned(gateway, path, &[("method", "x"), (parameter, "00FF")]));
        assert_eq!(outcome, Outcome::Signature, "{gateway:?}");
        assert_eq!(body.pointer(pointer).map(Value::to_string).as_deref(), Some(code), "{gateway:?}");
    }
}

#[test]
fn every_refusal_has_an_envelope_of_the_family_in_every_gateway() {
    let refusals = [
        (Refusal::Missing("x"), Outcome::Param),
        (Refusal::Bad("x"), Outcome::Param),
        (Refusal::Method("x".into()), Outcome::Param),
        (Refusal::Unsigned, Outcome::Signature),
        (Refusal::Signature, Outcome::Signature),
        (Refusal::Time, Outcome::Skew),
        (Refusal::Key, Outcome::Denied),
        (Refusal::Token, Outcome::Denied),
        (Refusal::Permission, Outcome::Denied),
        (Refusal::Throttled, Outcome::Throttled),
        (Refusal::Quota { seconds: 9, scope: QuotaScope::Account }, Outcome::Quota),
        (Refusal::Busy, Outcome::Busy),
        (Refusal::Gone, Outcome::Gone),
    ];
    for gateway in Gateway::ALL {
        let code = match gateway {
            Gateway::Portals | Gateway::ShopSearch => "/error_response/code",
            Gateway::ItemGet => "/code",
            Gateway::ProductGet | Gateway::Aop => "/error_code",
        };
        for (refusal, outcome) in &refusals {
            let answer = gateway.refuse(&unsigned(gateway, "", &[]), refusal);
            assert_eq!(answer.outcome, *outcome, "{gateway:?} {refusal:?}");
            let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
            assert!(body.pointer(code).is_some(), "{gateway:?} {refusal:?}: {body}");
        }
    }
}

#[test]
fn a_time_three_minutes_off_or_in_another_format_is_refused() {
    let desk = Desk::new(options());
    let outcome = |gateway, time: &str| ask(&desk, unsigned(gateway, "", &[("method", "x"), ("timestamp", time)])).0;
    let millis = |seconds| (noon() + TimeDelta::seconds(seconds)).timestamp_millis().to_string();
    for seconds in [-181, 181] {
        assert_eq!(outcome(Gateway::Portals, &millis(seconds)), Outcome::Skew);
    }
    for seconds in [-179, 179] {
        assert_eq!(outcome(Gateway::Portals, &millis(seconds)), Outcome::Param);
    }
    assert_eq!(outcome(Gateway::Portals, &noon().timestamp().to_string()), Outcome::Skew);
    assert_eq!(outcome(Gateway::ProductGet, &millis(0)), Outcome::Skew);
    assert_eq!(outcome(Gateway::ItemGet, "2026-11-20 10:02:59"), Outcome::Param);
    assert_eq!(outcome(Gateway::ItemGet, "2026-11-20 10:03:01"), Outcome::Skew);
    assert_eq!(outcome(Gateway::ShopSearch, "2026-11-20 02:00:00"), Outcome::Skew);
}

#[test]
fn the_test_licence_ends_after_thirty_calls() {
    let desk = Desk::new(options());
    let shop = shop_id(&desk, 0);
    let count = || {
        let params =
            [("method", "alibaba.seller.items.count.get"), ("member_id", shop.as_str()), ("app_key", "sim-test")];
        portals(&desk, &params).0
    };
    assert!((0..30).all(|_| count() == Outcome::Ok));
    assert_eq!(count(), Outcome::Quota);
}

#[test]
fn qps_is_held_per_key_and_stats_see_the_most() {
    let desk = Desk::new(Options { limits: Options::default().limits, ..options() });
    let mut outcomes = Vec::new();
    for _ in 0..12 {
        let call = signed(&desk, unsigned(Gateway::ItemGet, "", &[("method", "alibaba.item.get"), ("item_id", "1")]));
        let mut visit = desk.arrive(&call);
        let answer = desk.reply(&call).answer;
        visit.answered(&answer);
        outcomes.push(answer.outcome);
    }
    assert_eq!(outcomes.iter().filter(|&&outcome| outcome == Outcome::Throttled).count(), 2);
    let stats = desk.stats();
    assert_eq!(stats.accounts[0].calls_per_second_max, 12);
    assert_eq!(stats.accounts[0].in_flight_max, 1);
    assert_eq!(desk.journal(0, 100).len(), 12);
    assert!(!desk.journal(0, 1)[0].request.contains("sign"));
}

#[test]
fn item_get_answers_a_post_and_loses_the_parameters_of_a_get() {
    let desk = Desk::new(options());
    let offer =
        desk.world(Gateway::ItemGet).shops[0].offers.iter().find(|offer| offer.is_on_sale).cloned().expect("one");
    let id = offer.offer_id.to_string();
    let call =
        unsigned(Gateway::ItemGet, "", &[("method", "alibaba.item.get"), ("item_id", &id), ("fields", "title,moq")]);
    let (_, body) = ask(&desk, call.clone());
    let item = &body["item_get_response"]["item"];
    assert!(item.get("moq").is_some() || offer.moq_source != "stated");
    assert!(item.get("price").is_none());
    let (outcome, _) = ask(&desk, Call { verb: Verb::Get, ..call });
    assert_eq!(outcome, Outcome::Param);
}

#[test]
fn product_get_answers_json_or_xml_by_format_or_accept() {
    let desk = Desk::new(options());
    let id = desk.day().shops[0].offers[0].id.to_string();
    let params = [("method", "alibaba.product.get"), ("productId", id.as_str()), ("v", "2.0")];
    let call = unsigned(Gateway::ProductGet, "", &params);
    let (_, body) = ask(&desk, call.clone());
    assert!(body["productInfo"]["saleInfo"].is_object());
    let xml = desk.reply(&signed(&desk, Call { accepts_xml: true, ..call.clone() })).answer;
    assert!(String::from_utf8_lossy(&xml.body).contains("<result><productInfo>"));
    let mut asked = call;
    asked.params.insert("format".into(), "xml".into());
    assert_eq!(desk.reply(&signed(&desk, asked)).answer.body, xml.body);
}

#[test]
fn shop_search_counts_in_texts_and_narrows_by_price_and_words() {
    let desk = Desk::new(options());
    let shop = shop_id(&desk, 1);
    let search = |more: &[(&str, &str)]| {
        let mut params = vec![("method", "item_search_shop"), ("seller_nick", shop.as_str())];
        params.extend_from_slice(more);
        ask(&desk, unsigned(Gateway::ShopSearch, "", &params))
    };
    let (_, all) = search(&[("page_size", "100")]);
    let on_sale = desk.world(Gateway::ShopSearch).shops[1].on_sale;
    assert_eq!(all["items"]["real_total_results"], on_sale.to_string());
    assert_eq!(all["items"]["item"].as_array().map(Vec::len), Some(on_sale));
    let (_, cheap) = search(&[("end_price", "5"), ("sort", "_price")]);
    let prices: Vec<f64> = cheap["items"]["item"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item["price"].as_str().expect("a text").parse().expect("a number"))
        .collect();
    assert!(!prices.is_empty() && prices.iter().all(|&price| price <= 5.0) && prices.is_sorted_by(|a, b| a >= b));
    assert_eq!(search(&[("page_size", "101")]).0, Outcome::Param);
    let (_, body) = search(&[("page_size", "101")]);
    assert_eq!(body["error_response"]["sub_code"], "isv.param-error");
}

#[test]
fn aop_answers_its_five_methods_and_asks_for_the_token() {
    let desk = Desk::new(options());
    let day = desk.day();
    let offer = day.shops[0].offers.iter().find(|offer| offer.is_on_sale).expect("one");
    let aop = |path: &str, params: &[(&str, &str)]| ask(&desk, unsigned(Gateway::Aop, path, params));
    let token = ("access_token", "sim-token");
    let id = offer.id.to_string();
    let (outcome, body) = aop(DETAIL, &[("productID", &id)]);
    assert_eq!((outcome, &body["error_code"]), (Outcome::Denied, &Value::from("401")));
    assert!(aop(DETAIL, &[("productID", &id), token]).1["productInfo"]["productID"].to_string().contains(&id));
    assert_eq!(aop(DETAIL, &[token]).1["error_code"], "gw.ParamMissing");
    assert_eq!(aop("param2/1/system/currentTime/sim-app", &[]).1, "20261120100000000+0800");
    assert_eq!(aop("param2/1/system/currentTime/nobody", &[]).1["error_code"], "gw.AppKeyMissing");

    let own = "param2/1/com.alibaba.product/alibaba.product.list.get/sim-app";
    let on_sale = desk.world(Gateway::Aop).shops[0].on_sale;
    let (_, body) = aop(own, &[token, ("pageNo", "2"), ("pageSize", "20")]);
    assert_eq!(body["result"]["pageResult"]["totalRecords"], on_sale);
    assert_eq!(body["result"]["pageResult"]["resultList"].as_array().map(Vec::len), Some(20));
    assert_eq!(aop(own, &[token, ("pageSize", "21")]).0, Outcome::Param);
    let (_, body) = aop(own, &[token, ("startModifyTime", "20261119160000000+0800")]);
    assert!(body["result"]["pageResult"]["totalRecords"].as_u64() < Some(on_sale as u64));

    let border = "param2/1/com.alibaba.fenxiao.crossborder/product.search";
    let query = format!(r#"{{"sellerOpenId":"{}","beginPage":1,"pageSize":20}}"#, day.shops[1].id);
    let (_, body) = aop(&format!("{border}.querySellerOfferList/sim-app"), &[token, ("offerQueryParam", &query)]);
    assert_eq!(body["result"]["result"]["data"].as_array().map(Vec::len), Some(20));
    let query = format!(r#"{{"offerId":{id}}}"#);
    let (_, body) = aop(&format!("{border}.queryProductDetail/sim-app"), &[token, ("offerDetailParam", &query)]);
    assert_eq!(body["result"]["result"]["offerId"], offer.id);
}

#[test]
fn the_same_seed_and_date_give_the_same_bytes_whenever_the_world_started() {
    let bytes = |desk: &Desk| {
        let shop = shop_id(desk, 0);
        let params = [("method", "alibaba.seller.items.list.get"), ("member_id", shop.as_str()), ("pageSize", "40")];
        desk.reply(&signed(desk, unsigned(Gateway::Portals, "", &params))).answer.body
    };
    let tomorrow = NaiveDate::from_ymd_opt(2026, 11, 21).expect("a date");
    let (early, late) = (Desk::new(options()), Desk::new(Options { day: Some(tomorrow), ..options() }));
    assert_ne!(bytes(&early), bytes(&late));
    early.set_day(tomorrow);
    assert_eq!(bytes(&early), bytes(&late));
    assert_eq!(early.world(Gateway::Portals), late.world(Gateway::Portals));
}

#[test]
fn a_faulty_answer_still_belongs_to_its_call_and_five_attempts_succeed() {
    let desk = Desk::new(Options { faults: Faults::Heavy, ..options() });
    let shop = shop_id(&desk, 0);
    let mut seen = HashSet::new();
    for page in 1..=40 {
        let page = page.to_string();
        let params = [
            ("method", "alibaba.seller.items.list.get"),
            ("member_id", shop.as_str()),
            ("pageNum", page.as_str()),
            ("pageSize", "40"),
        ];
        let attempt = || desk.reply(&signed(&desk, unsigned(Gateway::Portals, "", &params))).answer.outcome;
        let outcomes: Vec<Outcome> = (0..5).map(|_| attempt()).collect();
        assert!(outcomes.iter().any(|outcome| matches!(outcome, Outcome::Ok | Outcome::Empty)), "{outcomes:?}");
        seen.extend(outcomes);
    }
    for outcome in
        [Outcome::Busy, Outcome::ServerError, Outcome::TooMany, Outcome::Cut, Outcome::Malformed, Outcome::Gbk]
    {
        assert!(seen.contains(&outcome), "{outcome:?}");
    }
}

#[test]
fn a_gbk_error_is_the_busy_envelope_in_gbk() {
    let desk = Desk::new(options());
    let call = unsigned(Gateway::Portals, "", &[]);
    let plain = desk.reply(&call).answer;
    let gbk = spoil(&crate::sim::faults::Fault::Gbk, &call, plain, noon());
    assert!(std::str::from_utf8(&gbk.body).is_err());
    let (text, _, _) = encoding_rs::GBK.decode(&gbk.body);
    assert!(text.contains("系统繁忙") && text.contains("5002"));
}

/// What a reader of the official structure finds for the plainest offers, written apart from the truth's own code.
#[test]
fn the_truth_of_plain_offers_is_what_their_record_says() {
    let desk = Desk::new(Options { mess_per_mille: 0, ..options() });
    let world = desk.world(Gateway::ProductGet);
    let mut checked = 0;
    for truth in world.shops.iter().flat_map(|shop| &shop.offers) {
        let id = truth.offer_id.to_string();
        let params = [("method", "alibaba.product.get"), ("productId", id.as_str()), ("v", "2.0")];
        let info = ask(&desk, unsigned(Gateway::ProductGet, "", &params)).1["productInfo"].clone();
        let sale = &info["saleInfo"];
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert_eq!(truth.title.as_deref(), info["subject"].as_str());
        assert_eq!(truth.unit.as_deref(), sale["unit"].as_str());
        assert_eq!(truth.moq_pieces.map(|pieces| pieces.to_string()), Some(text(&sale["minOrderQuantity"])));
        assert_eq!(truth.stock_pieces, sale["amountOnSale"].as_i64());
        assert_eq!(truth.skus.len(), info["skuInfos"].as_array().map_or(0, Vec::len));
        let Some(tiers) = &truth.tiers else {
            assert!(truth.quote_type == 3 || sale["priceRanges"].is_null());
            continue;
        };
        let ranges = sale["priceRanges"].as_array().expect("a list");
        assert_eq!(tiers.len(), ranges.len());
        for (tier, range) in tiers.iter().zip(ranges) {
            assert_eq!(tier.min_quantity.to_string(), text(&range["startQuantity"]));
            let price: f64 = text(&range["price"]).parse().expect("a number");
            assert_eq!(tier.unit_price, format!("{price:.2}"));
            checked += 1;
        }
    }
    assert!(checked > 200);
}

#[path = "desk_switches_tests.rs"]
mod switches;
