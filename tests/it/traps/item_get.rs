//! S0, `item-get`.

use huopan::base::Kind;
use huopan::extract::Note;
use huopan::sim::{Gateway, Key, Outcome};
use serde_json::json;

use super::ask::{Reply, Server, Trap, built_in, ids, items, sim, sim_with};
use crate::support::item_lines;

#[tokio::test]
async fn s0_get_loses_parameters() {
    let sim = sim().await;
    let lines = items(&ids(&sim.world(Gateway::ItemGet), 1));
    let asked = Trap::on(&sim, Gateway::ItemGet).lines(&lines).define("http = \"get\"").ask().await;
    let said = asked.failed(Kind::Config);
    assert!(said.contains("3001") && said.contains("POST form"), "{said}");
    assert_eq!(Trap::on(&sim, Gateway::ItemGet).lines(&lines).ask().await.facts().calls_used, 1);
}

#[tokio::test]
async fn s0_a_clock_more_than_three_minutes_off_is_refused_and_corrected() {
    let sim = sim_with(|options| options.clock_offset_seconds = 600).await;
    let lines = items(&ids(&sim.world(Gateway::ItemGet), 1));
    let asked = Trap::on(&sim, Gateway::ItemGet).lines(&lines).ask().await;
    assert_eq!(asked.facts().items_unanswered, [0; 0]);
    let outcomes: Vec<_> = sim.journal().iter().map(|entry| entry.outcome).collect();
    assert_eq!(outcomes, [Outcome::Skew, Outcome::Ok]);
    assert!(asked.warnings.iter().any(|text| text.contains("ahead of this machine's")), "{:?}", asked.warnings);
}

#[tokio::test]
async fn s0_over_the_quota_an_account_is_blocked_for_24_hours() {
    let sim = sim_with(|options| options.keys = vec![Key::new("sim-app", 2)]).await;
    let lines = items(&ids(&sim.world(Gateway::ItemGet), 5));
    let trap = Trap::on(&sim, Gateway::ItemGet).lines(&lines).define("limits.calls_in_flight = 1");
    let before = huopan::base::Clock::now(&huopan::base::SystemClock);
    let asked = trap.ask().await;
    assert!(asked.facts().stopped.is_some());
    assert_eq!((asked.facts().calls_used, asked.facts().items_unanswered.len()), (3, 3));
    let until = |at: chrono::DateTime<chrono::Utc>| {
        let at = (at + chrono::TimeDelta::hours(24)).with_timezone(&huopan::base::time::BEIJING);
        format!("blocked until {} (Beijing)", at.format("%Y-%m-%d %H:%M"))
    };
    let (first, last) = (until(before), until(huopan::base::Clock::now(&huopan::base::SystemClock)));
    let blocked = asked.facts().notes.iter().find_map(|note| match note {
        Note::Blocked { account, reason } if account == "main" => Some(reason.clone()),
        _ => None,
    });
    let reason = blocked.unwrap();
    assert!(reason.contains(&first) || reason.contains(&last), "{reason}");
}

#[test]
fn s0_licences_and_their_pace_are_those_of_the_guide() {
    let limits = built_in("item-get").limits;
    assert_eq!((limits.calls_per_day["personal"], limits.calls_per_day["company"]), (100, 5000));
    assert_eq!((limits.calls_per_second_of["personal"], limits.calls_per_second_of["company"]), (10.0, 8.0));
    assert_eq!((limits.calls_per_second, limits.clock_skew_seconds_max), (None, Some(180)));
}

/// One account of a licence, with a line more.
fn licensed(licence: &str, line: &str) -> Trap {
    let account = format!(
        "[[accounts]]\nname = \"main\"\nlicence = \"{licence}\"\n{line}\n\
         credentials = {{ app_key = \"sim-app\", app_secret = \"env:SECRET\" }}"
    );
    Trap::at("http://127.0.0.1:9/", "item-get").built_in().lines(&items(&[600_001])).accounts(&account)
}

#[test]
fn s0_a_company_makes_no_more_than_eight_calls_a_second() {
    let said = licensed("company", "calls_per_second = 10").refused();
    assert!(said.contains("the licence `company` allows 8"), "{said}");
    assert_eq!(licensed("company", "").pipeline().accounts[0].calls_per_second, Some(8.0));
}

#[test]
fn s0_a_person_makes_no_more_than_ten_calls_a_second() {
    let said = licensed("personal", "calls_per_second = 11").refused();
    assert!(said.contains("the licence `personal` allows 10"), "{said}");
    for (line, expected) in [("", 10.0), ("calls_per_second = 10", 10.0), ("calls_per_second = 3", 3.0)] {
        assert_eq!(licensed("personal", line).pipeline().accounts[0].calls_per_second, Some(expected));
    }
}

async fn refused_with(code: u32, kind: Kind) -> String {
    let server = Server::start(move |_| Reply::json(&json!({"code": code, "msg": "refused"}))).await;
    let said = Trap::at(&server.url, "item-get").lines(&items(&[600_000_000_001])).ask().await.failed(kind);
    assert!(said.contains(&code.to_string()), "{said}");
    assert_eq!(server.calls().len(), 1);
    said
}

#[tokio::test]
async fn s0_code_3001_is_a_wrong_parameter() {
    let said = refused_with(3001, Kind::Config).await;
    assert!(said.contains("`item_id` is the offer's digits") && said.contains("`item_id=600000000001`"), "{said}");
}

#[tokio::test]
async fn s0_code_3002_is_a_wrong_signature() {
    let said = refused_with(3002, Kind::Denied).await;
    assert!(said.contains("signature: copy the secret again"), "{said}");
}

#[tokio::test]
async fn s0_code_4001_is_a_missing_permission() {
    let said = refused_with(4001, Kind::Denied).await;
    assert!(said.contains("apply for its permission"), "{said}");
}

#[tokio::test]
async fn s0_fewer_fields_are_asked_for_where_a_definition_names_fewer() {
    let sim = sim().await;
    let trap = Trap::on(&sim, Gateway::ItemGet).lines(&items(&ids(&sim.world(Gateway::ItemGet), 1)));
    let all = trap.ask().await;
    let few = trap.define("endpoints.item.fields = [\"item_id\", \"title\"]").ask().await;
    assert_eq!(few.sent("item")[0]["fields"], "item_id,title");
    assert!(few.attempts[0].body.len() * 2 < all.attempts[0].body.len());
}

#[tokio::test]
async fn s0_lang_and_country_are_zh_and_cn_unless_a_pipeline_chooses() {
    let sim = sim().await;
    let trap = Trap::on(&sim, Gateway::ItemGet).lines(&items(&ids(&sim.world(Gateway::ItemGet), 2)));
    trap.publish().await;
    let sent = sim.journal()[0].request.clone();
    assert!(sent.contains("country=CN&") && sent.contains("&lang=zh&"), "{sent}");
    let titles = "select count(*) from offers where title like 'Wholesale %'";
    assert_eq!(trap.place.value(titles).await, "0");

    let trap = trap.lines("[fetch.options]\nlang = \"en\"\ncountry = \"US\"");
    sim.reset();
    trap.publish().await;
    let sent = sim.journal()[0].request.clone();
    assert!(sent.contains("country=US&") && sent.contains("&lang=en&"), "{sent}");
    assert_eq!(trap.place.value(titles).await, "2");
}

#[tokio::test]
async fn s0_an_item_may_stand_in_any_of_four_envelopes() {
    let server = Server::start(|call| {
        let id: u64 = call.get("item_id").parse().unwrap();
        let item = json!({"item_id": id, "title": "保温杯", "price": "12.50"});
        Reply::json(&match id % 4 {
            0 => json!({"item_get_response": {"item": item}}),
            1 => json!({"item": item}),
            2 => json!({"data": {"item": item}}),
            _ => json!({"result": item}),
        })
    })
    .await;
    let trap = Trap::at(&server.url, "item-get").lines(&items(&[600_000, 600_001, 600_002, 600_003]));
    assert_eq!(trap.publish().await.loaded, 4);
}

/// The simulator's own call for several offers: at most 20, and all or nothing.
const BATCH: &str = "endpoints.item.batch = 8\nendpoints.item.list = \"/items_get_response/items/item\"\n\
                     endpoints.item.params = { method = \"alibaba.items.get\", item_ids = \"{offer_ids}\", item_id = false }";

#[tokio::test]
async fn s0_a_call_for_several_offers_is_halved_until_the_bad_one_stands_alone() {
    let sim = sim_with(|options| options.shop_sizes = vec![60]).await;
    let world = sim.world(Gateway::ItemGet);
    let (all, on_sale) = (world.shops[0].offers.len(), world.shops[0].on_sale);
    assert!(all > on_sale, "an offer of this world is gone");
    let trap = Trap::on(&sim, Gateway::ItemGet).lines(&item_lines(&world)).define(BATCH);
    let report = trap.publish().await;
    assert_eq!((report.loaded, report.quarantined, report.items_unanswered), (i64::try_from(on_sale).unwrap(), 0, 0));
    assert!(report.is_complete(), "{:?}", report.shops);
    let gone = all - on_sale;
    let bound = all.div_ceil(8) + gone * 6;
    assert!(sim.stats().calls <= bound as u64 && sim.stats().calls > 8, "{} calls, at most {bound}", sim.stats().calls);
    let listed = "select sum(listed_count) from shops";
    assert_eq!(trap.place.value(listed).await, "0", "items are no listing");
}

#[tokio::test]
async fn s0_an_offer_that_a_call_for_several_leaves_out_is_asked_for_alone_and_then_gone() {
    let server = Server::start(|call| {
        let ids = call.get("item_ids").split(',').filter(|id| *id != "600002");
        let items: Vec<_> = ids.map(|id| json!({"item_id": id, "title": "保温杯", "price": "12.50"})).collect();
        Reply::json(&json!({"items_get_response": {"items": {"item": items}}}))
    })
    .await;
    let trap = Trap::at(&server.url, "item-get").lines(&items(&[600_001, 600_002, 600_003])).define(BATCH);
    let report = trap.publish().await;
    let asked: Vec<_> = server.calls().iter().map(|call| call.get("item_ids").to_owned()).collect();
    assert_eq!(asked, ["600001,600002,600003", "600002"]);
    assert_eq!((report.loaded, report.quarantined, report.items_unanswered), (2, 0, 0));
}
