//! The simulator over real HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Days, NaiveDate, Utc};
use huopan::base::Kind;
use huopan::base::time::{BEIJING, ManualClock};
use huopan::sim::{self, Entry, Faults, Gateway, Options, Outcome, Scheme, Signed, Sim, Stats, WorldTruth};
use serde_json::Value;

fn now() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-20T02:00:00Z").unwrap().to_utc()
}

async fn start(options: Options) -> Sim {
    let clock = Arc::new(ManualClock::new(now()));
    sim::start(Options { clock, limits: BTreeMap::new(), shop_sizes: vec![60, 45], ..options }).await.unwrap()
}

/// Sends one signed call; `path` continues the base address (aop).
async fn send(sim: &Sim, gateway: Gateway, path: &str, params: &[(&str, &str)]) -> reqwest::Response {
    let (scheme, time) = match gateway {
        Gateway::Portals => (Scheme::Portals, now().timestamp_millis().to_string()),
        Gateway::ItemGet => (Scheme::ItemGet, beijing()),
        Gateway::ProductGet => (Scheme::ProductGet, now().timestamp().to_string()),
        Gateway::ShopSearch => (Scheme::ShopSearch, beijing()),
        Gateway::Aop => (Scheme::Aop, now().timestamp_millis().to_string()),
    };
    let mut sent: BTreeMap<String, String> = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    if gateway == Gateway::Aop {
        sent.insert("_aop_timestamp".to_owned(), time);
        sent.insert("access_token".to_owned(), "sim-token".to_owned());
    } else {
        sent.insert("timestamp".to_owned(), time);
        sent.insert("app_key".to_owned(), "sim-app".to_owned());
    }
    let signature = scheme.signature(Signed { secret: "sim-secret", path }, &sent);
    sent.insert(scheme.parameter().to_owned(), signature);
    let mut url = url::Url::parse(&format!("{}{path}", sim.url(gateway))).unwrap();
    let client = reqwest::Client::new();
    let request = if matches!(gateway, Gateway::ItemGet | Gateway::Aop) {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&sent).finish();
        client.post(url).header("content-type", "application/x-www-form-urlencoded").body(form)
    } else {
        url.query_pairs_mut().extend_pairs(&sent);
        client.get(url)
    };
    request.send().await.unwrap()
}

fn beijing() -> String {
    now().with_timezone(&BEIJING).format("%Y-%m-%d %H:%M:%S").to_string()
}

async fn json(response: reqwest::Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

async fn get(sim: &Sim, path: &str) -> reqwest::Response {
    reqwest::get(format!("http://{}{path}", sim.addr())).await.unwrap()
}

#[tokio::test]
async fn every_gateway_answers_a_signed_call() {
    let sim = start(Options::default()).await;
    let shop = sim.world(Gateway::Portals).shops[0].clone();
    let id = shop.offers.iter().find(|offer| offer.is_on_sale).unwrap().offer_id.to_string();
    let listing = [
        ("method", "alibaba.seller.items.list.get"),
        ("member_id", shop.shop_id.as_str()),
        ("fields", "item_id,title"),
        ("pageSize", "40"),
        ("pageNum", "1"),
    ];
    let body = json(send(&sim, Gateway::Portals, "", &listing).await).await;
    assert_eq!(body["seller_items_list_get_response"]["items"]["item"].as_array().unwrap().len(), 40);
    let body = json(send(&sim, Gateway::ItemGet, "", &[("method", "alibaba.item.get"), ("item_id", &id)]).await).await;
    assert!(body["item_get_response"]["item"]["item_id"].to_string().contains(&id));
    let detail = [("method", "alibaba.product.get"), ("productId", id.as_str()), ("v", "2.0"), ("format", "xml")];
    let response = send(&sim, Gateway::ProductGet, "", &detail).await;
    assert!(response.headers()["content-type"].to_str().unwrap().contains("xml"));
    assert!(response.text().await.unwrap().contains(&format!("<productID>{id}</productID>")));
    // A Chinese value passes URL encoding and signature.
    let search = [("method", "item_search_shop"), ("seller_nick", shop.shop_name.as_str())];
    let body = json(send(&sim, Gateway::ShopSearch, "", &search).await).await;
    assert_eq!(body["items"]["real_total_results"], shop.on_sale.to_string());
    let path = "param2/1/com.alibaba.product/alibaba.product.get/sim-app";
    let body = json(send(&sim, Gateway::Aop, path, &[("productID", &id)]).await).await;
    assert!(body["productInfo"]["saleInfo"].is_object());
    let outcomes = sim.stats().outcomes;
    assert_eq!(outcomes, BTreeMap::from([(Outcome::Ok, 5)]));
    sim.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_control_endpoint_moves_the_day_and_tells_what_happened() {
    let sim = start(Options { day: NaiveDate::from_ymd_opt(2026, 11, 20), ..Options::default() }).await;
    let before = sim.world(Gateway::Portals);
    let client = reqwest::Client::new();
    let set = |body: &'static str| client.post(format!("http://{}/_sim/day", sim.addr())).body(body).send();
    assert_eq!(json(set("2026-11-23").await.unwrap()).await["date"], "2026-11-23");
    assert_eq!(json(set("next").await.unwrap()).await["date"], "2026-11-24");
    assert_eq!(set("soon").await.unwrap().status(), 400);
    assert_eq!(sim.day(), before.date + Days::new(4));
    let served: WorldTruth = serde_json::from_value(json(get(&sim, "/_sim/world").await).await).unwrap();
    assert_eq!(served, sim.world(Gateway::Portals));
    assert_ne!(served.shops, before.shops);
    send(&sim, Gateway::Portals, "", &[("method", "nothing")]).await;
    let stats: Stats = serde_json::from_value(json(get(&sim, "/_sim/stats").await).await).unwrap();
    assert_eq!((stats.calls, stats.outcomes[&Outcome::Param]), (1, 1));
    let entries: Vec<Entry> = serde_json::from_value(json(get(&sim, "/_sim/journal?after=0").await).await).unwrap();
    assert_eq!(entries, sim.journal());
    assert_eq!((entries[0].method.as_str(), entries[0].app_key.as_str()), ("nothing", "sim-app"));
    assert_eq!(get(&sim, "/elsewhere").await.status(), 404);
    // The client still holds its connection.
    sim.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_date_header_is_the_simulators_clock() {
    let sim = start(Options::default()).await;
    let response = send(&sim, Gateway::Portals, "", &[("method", "nothing")]).await;
    assert_eq!(response.headers()["date"], "Fri, 20 Nov 2026 02:00:00 GMT");
}

#[tokio::test]
async fn heavy_faults_look_on_the_wire_as_they_are_journalled() {
    let sim = start(Options { faults: Faults::Heavy, slow_millis_max: 0, ..Options::default() }).await;
    let mut seen = BTreeSet::new();
    for sku in 0..120_u32 {
        let sku = sku.to_string();
        let response = send(&sim, Gateway::Portals, "", &[("method", "alibaba.sku.get"), ("sku_id", &sku)]).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await;
        let outcome = sim.journal().last().unwrap().outcome;
        match outcome {
            Outcome::Cut => assert!(body.is_err()),
            Outcome::ServerError => assert!(status.is_server_error()),
            Outcome::TooMany => assert!(status == 429 && headers.contains_key("retry-after")),
            Outcome::Malformed => assert!(serde_json::from_slice::<Value>(&body.unwrap()).is_err()),
            Outcome::Gbk => assert!(std::str::from_utf8(&body.unwrap()).is_err()),
            _ => assert!(serde_json::from_slice::<Value>(&body.unwrap()).is_ok()),
        }
        seen.insert(outcome);
    }
    assert!(seen.contains(&Outcome::Cut) && seen.contains(&Outcome::Gone) && seen.len() >= 5, "{seen:?}");
    sim.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_and_a_shutdown_frees_it() {
    let first = start(Options::default()).await;
    let listen = first.addr();
    let error = sim::start(Options { listen, ..Options::default() }).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains(&listen.to_string()));
    first.shutdown().await.unwrap();
    let again = sim::start(Options { listen, ..Options::default() }).await.unwrap();
    again.shutdown().await.unwrap();
}

async fn post(sim: &Sim, path: &str) -> reqwest::Response {
    reqwest::Client::new().post(format!("http://{}/_sim/{path}", sim.addr())).send().await.unwrap()
}

async fn count(sim: &Sim) -> reqwest::Response {
    let shop = sim.world(Gateway::Portals).shops[0].shop_id.clone();
    send(sim, Gateway::Portals, "", &[("method", "alibaba.seller.items.count.get"), ("member_id", &shop)]).await
}

#[tokio::test]
async fn the_control_endpoint_changes_weather_secret_clock_and_sums() {
    let sim = start(Options::default()).await;
    assert_eq!(post(&sim, "storm?calls=1&retry_after=date:5").await.status(), 200);
    let stormy = count(&sim).await;
    assert_eq!(stormy.status(), 429);
    assert_eq!(stormy.headers()["retry-after"], "Fri, 20 Nov 2026 02:00:05 GMT");
    assert!(json(count(&sim).await).await["error_response"].is_null());
    assert_eq!(post(&sim, "clock?offset_seconds=600").await.status(), 200);
    let late = count(&sim).await;
    assert_eq!(late.headers()["date"], "Fri, 20 Nov 2026 02:10:00 GMT");
    assert_eq!(json(late).await["error_response"]["code"], 10002);
    post(&sim, "clock?offset_seconds=0").await;
    post(&sim, "secret?app_key=sim-app&secret=another").await;
    assert_eq!(json(count(&sim).await).await["error_response"]["code"], 10002);
    assert_eq!(sim.stats().outcomes.values().sum::<u64>(), 4);
    post(&sim, "reset").await;
    assert_eq!((sim.stats().calls, sim.journal().len()), (0, 0));
    count(&sim).await;
    assert_eq!((sim.stats().calls, sim.journal()[0].number), (1, 5));
    for wrong in ["storm?calls=many", "clock", "secret?app_key=sim-app", "secret?app_key=nobody&secret=x"] {
        assert_eq!(post(&sim, wrong).await.status(), 400, "{wrong}");
    }
    assert_eq!(get(&sim, "/_sim/storm").await.status(), 404);
    sim.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_truth_about_another_day_and_one_shop_is_told_without_moving_the_world() {
    let day = NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
    let sim = start(Options { day: Some(day), ..Options::default() }).await;
    let shop = sim.world(Gateway::Aop).shops[1].shop_id.clone();
    let path = format!("/_sim/world?gateway=aop&date=2026-11-25&shop={shop}");
    let told: WorldTruth = serde_json::from_value(json(get(&sim, &path).await).await).unwrap();
    let expected = sim.world_on(Gateway::Aop, day + Days::new(5));
    assert_eq!((told.date, &told.shops[..]), (expected.date, &expected.shops[1..]));
    let shop = &told.shops[0];
    assert_eq!(shop.off_sale, shop.offers.iter().filter(|offer| !offer.is_on_sale).count());
    assert_eq!(shop.categories.iter().map(|category| category.on_sale).sum::<usize>(), shop.on_sale);
    let sums: WorldTruth = serde_json::from_value(json(get(&sim, "/_sim/world?offers=no").await).await).unwrap();
    assert!(sums.shops.iter().all(|shop| shop.offers.is_empty() && shop.on_sale > 0));
    assert_eq!((sim.day(), get(&sim, "/_sim/world?shop=nobody").await.status().as_u16()), (day, 400));
    sim.shutdown().await.unwrap();
}

/// Calls over several connections count together.
#[tokio::test]
async fn a_second_with_too_many_calls_is_a_breach_whichever_connections_they_came_by() {
    let clock = Arc::new(ManualClock::new(now()));
    let sim = sim::start(Options { clock: clock.clone(), shop_sizes: vec![5], ..Options::default() }).await.unwrap();
    let ask = || send(&sim, Gateway::ItemGet, "", &[("method", "alibaba.item.get"), ("item_id", "1")]);
    for _ in 0..10 {
        ask().await;
    }
    let account = |sim: &Sim| sim.stats().accounts[0].clone();
    assert_eq!((account(&sim).breaches, account(&sim).calls_per_second_max), (0, 10));
    ask().await;
    let seen = account(&sim);
    assert_eq!((seen.breaches, seen.calls_per_second_max, seen.admitted_per_second_max), (1, 11, 10));
    sim.reset();
    clock.advance(chrono::TimeDelta::milliseconds(1001));
    ask().await;
    assert_eq!((account(&sim).breaches, account(&sim).calls_per_second_max), (0, 1));
    sim.shutdown().await.unwrap();
}
