//! What can be set: listings, tokens, storms, clocks, quotas by scope, permissions by method.

use super::*;
use crate::sim::gateways::{ListingOrder, ListingTotals, Listings, PageNumbers};
use crate::sim::options::{Limits, QuotaBlock, RetryAfter, Storm};

fn with(listings: Listings) -> Desk {
    Desk::new(Options { listings, ..options() })
}

fn all_pages(desk: &Desk, shop: &str, more: &[(&str, &str)]) -> Vec<i64> {
    let page = |page: &str| listing(desk, shop, &[more, &[("pageSize", "40"), ("pageNum", page)]].concat()).1;
    ids(&["1", "2", "3", "4"].map(page).concat())
}

#[test]
fn an_unordered_listing_has_every_offer_once_in_no_order_and_always_the_same() {
    let desk = with(Listings { order: ListingOrder::Unordered, ..Listings::default() });
    let shop = shop_id(&desk, 0);
    let found = all_pages(&desk, &shop, &[("start_time", "1000000000000")]);
    assert_eq!(found, all_pages(&desk, &shop, &[("start_time", "1000000000000")]));
    let ordered = all_pages(&desk, &shop, &[("sortType", "modified_asc")]);
    assert_eq!(ordered, all_pages(&Desk::new(options()), &shop, &[]));
    assert_ne!(found, ordered);
    assert_eq!(found.iter().collect::<HashSet<_>>(), ordered.iter().collect::<HashSet<_>>());
    let modified = |id: &i64| desk.day().offer(*id).map(|(_, offer)| offer.modified_at);
    assert!(!found.is_sorted_by_key(modified) && ordered.is_sorted_by_key(modified));
}

#[test]
fn a_listing_states_its_total_only_where_it_is_told_to() {
    let total = |totals| {
        let desk = with(Listings { totals, ..Listings::default() });
        let shop = shop_id(&desk, 0);
        let params = [("method", "alibaba.seller.items.list.get"), ("member_id", shop.as_str()), ("offline", "false")];
        let on_sale = desk.world(Gateway::Portals).shops[0].on_sale;
        (portals(&desk, &params).1["seller_items_list_get_response"]["total_results"].clone(), Value::from(on_sale))
    };
    assert_eq!(total(ListingTotals::Absent).0, Value::Null);
    let (stated, on_sale) = total(ListingTotals::Stated);
    assert_eq!(stated, on_sale);
}

#[test]
fn a_gateway_that_ignores_page_numbers_serves_page_one_for_ever() {
    let desk = with(Listings { pages: PageNumbers::Ignored, ..Listings::default() });
    let shop = shop_id(&desk, 0);
    let query = |page| format!(r#"{{"sellerOpenId":"{shop}","beginPage":{page},"pageSize":20}}"#);
    let border = "param2/1/com.alibaba.fenxiao.crossborder/product.search.querySellerOfferList/sim-app";
    let own = "param2/1/com.alibaba.product/alibaba.product.list.get/sim-app";
    let pages = [1, 2, 99].map(|page| {
        let (text, query) = (page.to_string(), query(page));
        let token = ("access_token", "sim-token");
        let search = [("method", "item_search_shop"), ("seller_nick", shop.as_str()), ("page", text.as_str())];
        [
            listing(&desk, &shop, &[("pageNum", &text)]).1,
            ask(&desk, unsigned(Gateway::ShopSearch, "", &search)).1["items"]["item"]
                .as_array()
                .cloned()
                .expect("list"),
            vec![ask(&desk, unsigned(Gateway::Aop, own, &[token, ("pageNo", &text)])).1],
            vec![ask(&desk, unsigned(Gateway::Aop, border, &[token, ("offerQueryParam", &query)])).1],
        ]
    });
    assert!(pages[0].iter().all(|items| !items.is_empty()));
    assert!(pages[0] == pages[1] && pages[1] == pages[2]);
}

#[test]
fn a_listing_of_many_offers_is_slow_and_one_of_few_is_not() {
    let slow = Some(SlowListing { offers: 40, millis: 9000 });
    let desk = with(Listings { slow, ..Listings::default() });
    let delay = |number| {
        let shop = shop_id(&desk, number);
        let params = [("method", "alibaba.seller.items.list.get"), ("member_id", shop.as_str())];
        desk.reply(&signed(&desk, unsigned(Gateway::Portals, "", &params))).delay
    };
    assert_eq!([delay(0), delay(2)], [Duration::from_secs(9), Duration::ZERO]);
}

#[test]
fn an_off_sale_listing_since_a_night_holds_what_went_off_sale_since() {
    let desk = Desk::new(Options { shop_sizes: vec![3000], ..options() }.with_history(Default::default()));
    let shop = shop_id(&desk, 0);
    let on_sale = |desk: &Desk| -> HashSet<i64> {
        desk.world(Gateway::Portals).shops[0].offers.iter().filter(|o| o.is_on_sale).map(|o| o.offer_id).collect()
    };
    let before = on_sale(&desk);
    // 00:00 on 20 November in Beijing: every later edit is of the next world.
    let since = NaiveDate::from_ymd_opt(2026, 11, 19).expect("a date").and_hms_opt(16, 0, 0).expect("a time").and_utc();
    desk.set_day(NaiveDate::from_ymd_opt(2026, 11, 21).expect("a date"));
    let start = since.timestamp_millis().to_string();
    let params = [("method", "alibaba.seller.items.list.get"), ("member_id", shop.as_str()), ("pageSize", "40")];
    let listed = |offline: &'static str| {
        let (_, body) =
            portals(&desk, &[&params[..], &[("start_time", start.as_str()), ("offline", offline)]].concat());
        ids(body["seller_items_list_get_response"]["items"]["item"].as_array().expect("a list"))
    };
    let (off_sale, changed) = (listed("true"), listed("false"));
    assert!(!off_sale.is_empty() && off_sale.iter().all(|id| before.contains(id)));
    assert!((10..40).contains(&changed.len()), "{}", changed.len());
    let mut carried = before;
    carried.retain(|id| !off_sale.contains(id));
    carried.extend(changed);
    assert_eq!(carried, on_sale(&desk));
}

#[test]
fn windows_of_the_own_listing_hold_what_was_modified_between_their_ends() {
    let desk = Desk::new(options());
    let own = "param2/1/com.alibaba.product/alibaba.product.list.get/sim-app";
    let day = desk.day();
    let times: Vec<DateTime<Utc>> =
        day.shops[0].by_modified.iter().map(|&at| day.shops[0].offers[at].modified_at).collect();
    let (start, end) = (times[20], times[60]);
    let text = |at: DateTime<Utc>| at.with_timezone(&BEIJING).format("%Y%m%d%H%M%S000+0800").to_string();
    let (from, until) = (text(start), text(end));
    let params = [("access_token", "sim-token"), ("startModifyTime", from.as_str()), ("endModifyTime", until.as_str())];
    let (_, body) = ask(&desk, unsigned(Gateway::Aop, own, &params));
    let expected =
        day.shops[0].offers.iter().filter(|o| o.is_on_sale && o.modified_at >= start && o.modified_at <= end);
    assert_eq!(body["result"]["pageResult"]["totalRecords"], expected.count());
}

/// Real gateways answer it under `param2/1/` as well.
const GET_TOKEN: &str = "http/1/system.oauth2/getToken/sim-app";

fn token(desk: &Desk, more: &[(&str, &str)]) -> Value {
    let mut call = unsigned(Gateway::Aop, GET_TOKEN, &[("grant_type", "refresh_token"), ("client_id", "sim-app")]);
    call.params.insert("client_secret".into(), "sim-secret".into());
    call.params.insert("refresh_token".into(), "sim-refresh".into());
    call.params.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    assert!(!call.request().contains("sim-secret") && !call.request().contains("sim-refresh"));
    serde_json::from_slice(&desk.reply(&call).answer.body).expect("JSON")
}

#[test]
fn an_access_token_expires_and_another_is_given_for_the_refresh_token() {
    let clock = Arc::new(ManualClock::new(noon()));
    let expires_at = Some(noon() + TimeDelta::seconds(60));
    let desk = Desk::new(Options { access_token_expires_at: expires_at, clock: clock.clone(), ..options() });
    let code =
        |token: &str| ask(&desk, unsigned(Gateway::Aop, DETAIL, &[("access_token", token)])).1["error_code"].clone();
    // An answer about the missing product: the token is good.
    assert_eq!(code("sim-token"), "gw.ParamMissing");
    clock.advance(TimeDelta::seconds(60));
    assert_eq!(code("sim-token"), "401");
    for (name, value, error) in [
        ("client_secret", "other", "invalid_client"),
        ("client_id", "sim-paid", "invalid_client"),
        ("refresh_token", "other", "invalid_grant"),
        ("grant_type", "password", "unsupported_grant_type"),
    ] {
        assert_eq!(token(&desk, &[(name, value)])["error"], error);
    }
    let other = unsigned(Gateway::Aop, "param2/1/system.oauth2/getToken/nobody", &[]);
    assert!(String::from_utf8_lossy(&desk.reply(&other).answer.body).contains("gw.AppKeyMissing"));
    let given = token(&desk, &[]);
    assert_eq!((&given["access_token"], &given["expires_in"]), (&Value::from("sim-token-1"), &Value::from("36000")));
    assert_eq!((code("sim-token-1"), code("sim-token")), ("gw.ParamMissing".into(), "401".into()));
    clock.advance(TimeDelta::seconds(36_000));
    assert_eq!(code("sim-token-1"), "401");
    assert_eq!(code(token(&desk, &[])["access_token"].as_str().expect("a text")), "gw.ParamMissing");
    desk.switches().expire_tokens();
    assert_eq!(code("sim-token-2"), "401");
}

#[test]
fn a_storm_takes_the_calls_it_was_told_to_and_says_when_to_come_back() {
    let storm = |calls, retry_after| Some(Storm { calls, retry_after });
    let desk = Desk::new(Options { storm: storm(Some(2), RetryAfter::Seconds(0)), ..options() });
    let shop = shop_id(&desk, 0);
    let reply = || {
        let params = [("method", "alibaba.seller.items.count.get"), ("member_id", shop.as_str())];
        desk.reply(&signed(&desk, unsigned(Gateway::Portals, "", &params))).answer
    };
    for _ in 0..2 {
        let answer = reply();
        assert_eq!((answer.status, answer.retry_after.as_deref()), (429, Some("0")));
        assert_eq!(answer.outcome, Outcome::TooMany);
    }
    assert_eq!(reply().outcome, Outcome::Ok);
    desk.switches().set_storm(storm(None, RetryAfter::Date(90)));
    assert!((0..50).all(|_| reply().retry_after.as_deref() == Some("Fri, 20 Nov 2026 02:01:30 GMT")));
    desk.switches().set_storm(storm(None, RetryAfter::Absent));
    assert_eq!((reply().status, reply().retry_after), (429, None));
    desk.switches().set_storm(None);
    assert_eq!(reply().outcome, Outcome::Ok);
}

#[test]
fn a_clock_that_is_off_is_what_time_stamps_are_held_to() {
    let desk = Desk::new(Options { clock_offset_seconds: 200, ..options() });
    let count = |seconds| {
        let time = (noon() + TimeDelta::seconds(seconds)).timestamp_millis().to_string();
        let shop = shop_id(&desk, 0);
        let params =
            [("method", "alibaba.seller.items.count.get"), ("member_id", shop.as_str()), ("timestamp", time.as_str())];
        portals(&desk, &params).0
    };
    assert_eq!((count(0), count(200), count(381)), (Outcome::Skew, Outcome::Ok, Outcome::Skew));
    assert_eq!(desk.now(), noon() + TimeDelta::seconds(200));
    desk.switches().set_clock_offset(0);
    assert_eq!((count(0), count(200)), (Outcome::Ok, Outcome::Skew));
}

#[test]
fn a_quota_may_count_by_method_or_by_shop() {
    let outcomes = |quota_scope| {
        let limits =
            Limits { calls_per_second: None, calls_in_flight: None, quota_block: QuotaBlock::Midnight, quota_scope };
        let desk = Desk::new(Options {
            limits: BTreeMap::from([(Gateway::Portals, limits)]),
            keys: vec![Key::new("sim-app", 2)],
            ..options()
        });
        let call = |method: &str, shop| {
            let shop = shop_id(&desk, shop);
            let (outcome, body) = portals(&desk, &[("method", method), ("member_id", shop.as_str())]);
            let text = body["error_response"]["msg"].as_str().unwrap_or("").chars().take(3).collect::<String>();
            (outcome, text)
        };
        let (count, list) = ("alibaba.seller.items.count.get", "alibaba.seller.items.list.get");
        let sku = desk.day().shops[0].offers.iter().find_map(|o| o.skus.first()).expect("a SKU").id.to_string();
        let calls = [call(count, 0), call(count, 0), call(count, 0), call(list, 0), call(count, 1)];
        let (sku, _) = portals(&desk, &[("method", "alibaba.sku.get"), ("sku_id", &sku)]);
        (calls.map(|(outcome, text)| if outcome == Outcome::Quota { text } else { format!("{outcome:?}") }), sku)
    };
    let said = |calls: [&str; 5], sku| (calls.map(str::to_owned), sku);
    use Outcome::{Ok, Quota};
    assert_eq!(outcomes(QuotaScope::Account), said(["Ok", "Ok", "今日调", "今日调", "今日调"], Quota));
    assert_eq!(outcomes(QuotaScope::Endpoint), said(["Ok", "Ok", "该接口", "Ok", "该接口"], Ok));
    assert_eq!(outcomes(QuotaScope::Shop), said(["Ok", "Ok", "该店铺", "该店铺", "Ok"], Quota));
}

#[test]
fn a_key_may_be_denied_one_method_and_get_another_secret() {
    let key = Key { denied_methods: vec!["alibaba.sku.get".to_owned()], ..Key::new("sim-app", 100) };
    let desk = Desk::new(Options { keys: vec![key], ..options() });
    let shop = shop_id(&desk, 0);
    let count = [("method", "alibaba.seller.items.count.get"), ("member_id", shop.as_str())];
    assert_eq!(portals(&desk, &[("method", "alibaba.sku.get"), ("sku_id", "1")]).0, Outcome::Denied);
    assert_eq!(portals(&desk, &count).0, Outcome::Ok);
    desk.switches().set_secret("sim-app", "another");
    assert_eq!(portals(&desk, &count).0, Outcome::Signature);
    desk.switches().set_secret("sim-app", "sim-secret");
    assert_eq!(portals(&desk, &count).0, Outcome::Ok);
}

#[test]
fn a_call_for_several_items_answers_all_of_them_or_fails_as_a_whole() {
    let desk = Desk::new(options());
    let day = desk.day();
    let on_sale: Vec<String> =
        day.shops[0].offers.iter().filter(|o| o.is_on_sale).take(21).map(|o| o.id.to_string()).collect();
    let items = |ids: &str| {
        let params = [("method", "alibaba.items.get"), ("item_ids", ids), ("fields", "title")];
        ask(&desk, unsigned(Gateway::ItemGet, "", &params))
    };
    let (_, body) = items(&on_sale[..20].join(","));
    let found = ids(body["items_get_response"]["items"]["item"].as_array().expect("a list"));
    assert_eq!(found.iter().map(i64::to_string).collect::<Vec<_>>(), on_sale[..20]);
    assert_eq!(items(&on_sale.join(",")).1["code"], 3001);
    assert_eq!(items(&format!("{},1", on_sale[0])).1["code"], 4004);
    assert_eq!(items(&format!("{},x", on_sale[0])).1["code"], 3001);
}

#[test]
fn item_get_has_a_title_in_the_language_that_is_asked_for() {
    let desk = Desk::new(Options { mess_per_mille: 0, ..options() });
    let id = desk.day().shops[0].offers.iter().find(|o| o.is_on_sale).expect("one").id.to_string();
    let item = |more: &[(&str, &str)]| {
        let params = [&[("method", "alibaba.item.get"), ("item_id", id.as_str())], more].concat();
        ask(&desk, unsigned(Gateway::ItemGet, "", &params)).1["item_get_response"]["item"].clone()
    };
    let title = |item: &Value| item["title"].as_str().expect("a title").to_owned();
    let (plain, english) = (item(&[]), item(&[("lang", "en"), ("country", "US")]));
    assert!(!title(&plain).is_ascii() && title(&english).is_ascii(), "{english}");
    assert_eq!((&plain["country"], &english["country"]), (&Value::from("CN"), &Value::from("US")));
    assert_eq!(plain["price"], english["price"]);
}

#[test]
fn twelve_thousand_offers_are_listed_in_whole() {
    let desk = Desk::new(Options { shop_sizes: vec![12_000], ..options() }.with_history(Default::default()));
    let world = desk.world_on(Gateway::Portals, desk.day().date);
    assert_eq!(world.shops[0].on_sale + world.shops[0].off_sale, 12_000);
    assert!(world.shops[0].on_sale > 11_000);
    let (outcome, items) = listing(&desk, &shop_id(&desk, 0), &[("pageNum", "50"), ("pageSize", "40")]);
    assert_eq!((outcome, items.len()), (Outcome::Ok, 40));
}
