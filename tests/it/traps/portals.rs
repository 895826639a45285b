//! S2, `portals`: how it is asked.

use std::sync::Arc;
use std::time::Duration;

use huopan::base::{Kind, SystemClock};
use huopan::config::gateway::ErrorClass;
use huopan::extract::progress::Silent;
use huopan::plan::price::Survey;
use huopan::run::survey::{Asks, survey};
use huopan::run::{Options as RunOptions, Outcome as Ended, Surroundings};
use huopan::sim::{Gateway, Outcome, Sim};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::ask::{Reply, Server, Trap, built_in, offer, plain, portals, sim, sim_with};
use crate::support::{attempt, day, publish, shop_lines};

fn shops(sim: &Sim) -> String {
    shop_lines(&sim.world(Gateway::Portals))
}

#[tokio::test]
async fn s2_a_page_size_of_41_is_a_parameter_error() {
    let sim = sim().await;
    let trap = Trap::on(&sim, Gateway::Portals).lines(&shops(&sim));
    let said = trap.define("endpoints.listing.page.size_max = 41").ask().await.failed(Kind::Config);
    assert!(said.contains("1001") && said.contains("`pageSize` is at most 40"), "{said}");
    assert!(said.contains("`pageSize=41`"), "{said}");
}

#[tokio::test]
async fn s2_past_page_50_nothing_is_asked_and_what_is_missing_is_said() {
    let server = Server::start(portals((0..2041).map(offer).collect(), 2041, plain)).await;
    let trap = Trap::at(&server.url, "portals").lines("shops = [\"b2b-1\"]");
    let asked = trap.define("endpoints.listing = { window = false, category = false }").ask().await;
    assert_eq!(asked.incomplete(), Some("2000 of 2041 offers listed: the rest is past page 50 × 40"));
    let pages = server.calls().iter().filter_map(|call| call.get("pageNum").parse::<u32>().ok()).max();
    assert_eq!(pages, Some(50));
}

#[tokio::test]
async fn s2_null_values_are_neither_sent_nor_signed() {
    let sim = sim().await;
    let trap = Trap::on(&sim, Gateway::Portals).lines(&shops(&sim));
    let trap = trap.define("options.brand = {}\nendpoints.listing.params.brand = \"{brand}\"");
    let asked = trap.ask().await;
    assert_eq!(asked.incomplete(), None);
    assert!(!asked.sent("listing")[0].contains_key("brand"));
    let chosen = trap.lines("[fetch.options]\nbrand = \"无\"").ask().await;
    assert_eq!((chosen.incomplete(), chosen.sent("listing")[0]["brand"].as_str()), (None, "无"));
}

#[tokio::test]
async fn s2_values_are_percent_encoded_by_rfc_3986_before_signing() {
    let sim = sim().await;
    let trap = Trap::on(&sim, Gateway::Portals).lines("shops = [\"https://s.1688.com/店铺~*!'()+.htm?a=1&b=c/d\"]");
    trap.ask().await.facts();
    // The signature was right: only the shop is not there.
    assert_eq!(sim.journal()[0].outcome, Outcome::Gone);
    let raw = trap.define("sign.value = \"raw\"").ask().await;
    let said = raw.failed(Kind::Denied);
    assert!(said.contains("10002") && said.contains("percent-encoded"), "{said}");
}

#[tokio::test]
async fn s2_the_time_has_13_digits() {
    let sim = sim().await;
    let trap = Trap::on(&sim, Gateway::Portals).lines(&shops(&sim)).define("time = \"unix_s\"");
    let said = trap.ask().await.failed(Kind::Denied);
    assert!(said.contains("the timestamp has 13 digits"), "{said}");
    assert_eq!(sim.journal()[0].outcome, Outcome::Skew);
}

#[tokio::test]
async fn s2_a_misspelt_page_parameter_is_named() {
    let sim = sim_with(|options| options.shop_sizes = vec![90]).await;
    let trap = Trap::on(&sim, Gateway::Portals).lines(&shops(&sim));
    let said = trap.define("endpoints.listing.page.number = \"page_num\"").ask().await.failed(Kind::Config);
    assert!(said.contains("the gateway does not read parameter `page_num`"), "{said}");
    assert!(said.contains("`page.number` of endpoint `listing`"), "{said}");
}

#[tokio::test]
async fn s2_the_spelling_of_parameters_is_data() {
    let server = Server::start(portals((0..3).map(offer).collect(), 3, plain)).await;
    let trap = Trap::at(&server.url, "portals").lines("shops = [\"b2b-1\"]");
    let spelling = "endpoints.listing.params = { member_id = false, memberId = \"{shop_id}\" }\n\
                    endpoints.listing.window.start = \"startTime\"";
    assert_eq!(trap.define(spelling).ask().await.incomplete(), None);
    let listing = server.calls().into_iter().find(|call| !call.get("pageNum").is_empty()).unwrap();
    assert_eq!((listing.get("memberId"), listing.params.contains_key("member_id")), ("b2b-1", false));
}

#[tokio::test]
async fn s2_a_member_id_is_a_text_whatever_it_looks_like() {
    let server = Server::start(portals(vec![offer(1)], 1, plain)).await;
    let lines = "shops = [\"b2b-2200733087881719de\", \"0220073308788171\"]";
    let trap = Trap::at(&server.url, "portals").lines(lines);
    trap.publish().await;
    let rows = trap.place.rows("select shop_id from shops order by shop_id").await;
    let ids: Vec<_> = rows.iter().map(|row| row["shop_id"].as_str()).collect();
    assert_eq!(ids, ["0220073308788171", "b2b-2200733087881719de"]);
}

#[tokio::test]
async fn s2_fields_that_are_not_named_are_absent_and_the_shop_incomplete() {
    let sim = sim().await;
    let trap = Trap::on(&sim, Gateway::Portals).lines(&shops(&sim));
    let asked = trap.ask().await;
    let fields: Vec<_> = asked.sent("listing")[0]["fields"].split(',').collect();
    for needed in ["skuIds", "wholesalePrice", "moq", "channelPrice", "modified_time"] {
        assert!(fields.contains(&needed), "{fields:?}");
    }
    let few = trap.define("endpoints.listing.fields = [\"item_id\", \"title\", \"price\"]").publish().await;
    assert!(few.shops[0].incomplete_reason.is_some());
}

/// Two nights of a shop of which little changes, the second by what changed; the start times sent in it.
async fn second_night(definition: &str) -> (Trap, Vec<String>, Option<String>) {
    let sim = sim_with(|options| options.shop_sizes = vec![60]).await;
    let trap = Trap::on(&sim, Gateway::Portals).lines(&shops(&sim)).define(definition);
    let trap = trap.lines("[fetch]\nlisting = \"changed\"");
    trap.publish().await;
    sim.reset();
    sim.set_day(day(21));
    let report = publish(&trap.pipeline(), day(21)).await;
    let starts = sim.journal().into_iter().flat_map(|entry| {
        let parts: Vec<String> = entry.request.split('&').map(str::to_owned).collect();
        parts.into_iter().filter_map(|part| part.strip_prefix("start_time=").map(str::to_owned))
    });
    let starts: Vec<_> = starts.collect();
    let on_sale = sim.world(Gateway::Portals).shops[0].on_sale.to_string();
    let sql = "select count(*) from offers where dt = '2026-11-21' and status = 'on_sale'";
    assert_eq!(trap.place.value(sql).await, on_sale);
    (trap, starts, report.shops[0].incomplete_reason.clone())
}

#[tokio::test]
async fn s2_a_start_time_has_13_digits() {
    let (_, starts, incomplete) = second_night("").await;
    assert!(!starts.is_empty() && starts.iter().all(|start| start.len() == 13), "{starts:?}");
    assert_eq!(incomplete, None);
}

#[tokio::test]
async fn s2_a_start_time_in_seconds_loses_data_and_is_found_out_by_the_count() {
    let (_, starts, incomplete) = second_night("endpoints.listing.window.time = \"unix_s\"").await;
    // The listing of what is off sale goes by its own.
    assert!(starts.iter().any(|start| start.len() == 10), "{starts:?}");
    assert_eq!(incomplete, None);
}

#[tokio::test]
async fn s2_a_shop_has_three_forms_of_address() {
    let sim = sim_with(|options| options.shop_sizes = vec![4, 4, 4, 4]).await;
    let world = sim.world(Gateway::Portals);
    let shops = &world.shops[1..];
    let urls: Vec<_> = shops.iter().map(|shop| shop.shop_url.as_str()).collect();
    assert!(urls[0].contains("?memberId=") && urls[1].contains("/shop/b2b-") && urls[2].ends_with(".1688.com"));
    let lines = format!("shops = [{}]", urls.iter().map(|url| format!("\"{url}\"")).collect::<Vec<_>>().join(", "));
    let asked = Trap::on(&sim, Gateway::Portals).lines(&lines).ask().await;
    let found: Vec<_> = asked.facts().shops.iter().map(|shop| &shop.shop_id).collect();
    assert_eq!(found, shops.iter().map(|shop| &shop.shop_id).collect::<Vec<_>>());
    assert_eq!(asked.sent("shop").len(), 1);
}

#[tokio::test]
async fn s2_an_address_is_resolved_once_in_24_hours() {
    let sim = sim().await;
    let lines = format!("shops = [\"{}\"]", sim.world(Gateway::Portals).shops[0].shop_url);
    let trap = Trap::on(&sim, Gateway::Portals).lines(&lines);
    let state = huopan::state::in_memory().await.unwrap();
    trap.ask_with(&state).await.facts();
    trap.ask_with(&state).await.facts();
    let resolved = sim.journal().iter().filter(|entry| entry.method == "alibaba.shop.get").count();
    assert_eq!(resolved, 1);
    assert_eq!(built_in("portals").endpoints["shop"].cache_seconds, Some(24 * 3600));
}

#[tokio::test]
async fn s2_an_address_is_resolved_again_after_24_hours() {
    let sim = sim().await;
    let lines = format!("shops = [\"{}\"]", sim.world(Gateway::Portals).shops[0].shop_url);
    let trap = Trap::on(&sim, Gateway::Portals).lines(&lines);
    let state = huopan::state::open(&trap.pipeline().state).await.unwrap();
    let resolved = async |minutes: i64| {
        // So long ago was whatever the state holds.
        let file = rusqlite::Connection::open(trap.place.path().join("state.sqlite")).unwrap();
        file.execute("UPDATE answers SET expires_at = expires_at - ?", [minutes * 60_000_000]).unwrap();
        trap.ask_with(&state).await.facts();
        sim.journal().iter().filter(|entry| entry.method == "alibaba.shop.get").count()
    };
    assert_eq!((resolved(0).await, resolved(24 * 60 - 1).await, resolved(1).await), (1, 1, 2));
}

#[tokio::test]
async fn s2_a_listing_is_of_what_is_on_sale_sorted_by_volume() {
    let sim = sim().await;
    let asked = Trap::on(&sim, Gateway::Portals).lines(&shops(&sim)).ask().await;
    let sent = asked.sent("listing")[0];
    assert_eq!((sent["sortType"].as_str(), sent["offline"].as_str()), ("volume_desc", "false"));
    assert_eq!(asked.sent("count")[0]["offline"], "false");
}

#[tokio::test]
async fn s2_at_most_four_calls_are_made_at_once() {
    let sim = sim_with(|options| {
        options.shop_sizes = vec![400];
        options.answer_millis = 20;
    })
    .await;
    Trap::on(&sim, Gateway::Portals).lines(&shops(&sim)).ask().await.facts();
    assert_eq!(sim.stats().accounts[0].in_flight_max, 4);
}

#[test]
fn s2_a_worker_rests_0_8_4_and_10_seconds() {
    let limits = built_in("portals").limits;
    let rest = |class| huopan::extract::pace::rest(&limits.pause, class);
    assert_eq!(rest(None), Duration::from_millis(800));
    assert_eq!(rest(Some(ErrorClass::Retry)), Duration::from_secs(4));
    assert_eq!(rest(Some(ErrorClass::Throttle)), Duration::from_secs(10));
}

const TEST_LICENCE: &str = "[[accounts]]\nname = \"main\"\nlicence = \"test\"\n\
                            credentials = { app_key = \"sim-test\", app_secret = \"env:SECRET\" }";

#[tokio::test]
async fn s2_a_test_licence_has_30_calls_and_the_31st_is_not_made() {
    let sim = sim_with(|options| options.shop_sizes = vec![60]).await;
    let lines = format!("{}\n[fetch]\nskus = \"all\"", shops(&sim));
    let trap = Trap::on(&sim, Gateway::Portals).lines(&lines).accounts(TEST_LICENCE);
    let asked = trap.ask().await;
    assert_eq!((asked.facts().calls_used, sim.stats().calls, asked.facts().quota_left), (30, 30, Some(0)));
    assert!(!sim.stats().outcomes.contains_key(&Outcome::Quota));
}

#[tokio::test]
async fn s2_a_shop_that_30_calls_cannot_hold_is_not_begun() {
    let sim = sim_with(|options| options.shop_sizes = vec![1300]).await;
    let trap = Trap::on(&sim, Gateway::Portals).lines(&shops(&sim)).accounts(TEST_LICENCE);
    let told = trap.fail().await;
    assert!(told.to_string().contains("calls"), "{told}");
    assert_eq!(sim.stats().calls, 1, "only the count is bought");
}

#[test]
fn s2_connecting_takes_5_to_8_seconds_and_reading_10_to_20() {
    let limits = built_in("portals").limits;
    assert!((5.0..=8.0).contains(&limits.connect_seconds) && (10.0..=20.0).contains(&limits.read_seconds));
}

#[tokio::test]
async fn s2_a_call_without_an_answer_in_time_is_tried_again() {
    let shop = portals(vec![offer(1)], 1, plain);
    let server = Server::start(move |call| if call.before == 0 { shop(call).late() } else { shop(call) }).await;
    let trap = Trap::at(&server.url, "portals").lines("shops = [\"b2b-1\"]");
    let asked = trap.define("limits.connect_seconds = 0.1\nlimits.read_seconds = 0.1").ask().await;
    assert_eq!((asked.incomplete(), asked.facts().retries), (None, 1));
    let error = asked.attempts[0].record.transport_error.as_deref();
    assert!(error.is_some_and(|error| error.starts_with("timed out")), "{error:?}");
}

/// A gateway that answers the first calls with this error.
async fn refusing(first: usize, code: Value) -> super::ask::Asked {
    let shop = portals(vec![offer(1)], 1, plain);
    let server = Server::start(move |call| match call.before < first {
        true => Reply::json(&json!({"error_response": {"code": code, "msg": "refused"}})),
        false => shop(call),
    })
    .await;
    let trap = Trap::at(&server.url, "portals").lines("shops = [\"b2b-1\"]");
    trap.define("limits.calls_in_flight = 1").ask().await
}

#[tokio::test]
async fn s2_code_1001_is_a_wrong_parameter() {
    let said = refusing(1, json!(1001)).await.failed(Kind::Config);
    assert!(said.contains("`member_id` is the shop's id and not its name"), "{said}");
    assert!(said.contains("`member_id=b2b-1`"), "{said}");
}

#[tokio::test]
async fn s2_code_10002_is_a_wrong_signature() {
    let said = refusing(1, json!("10002")).await.failed(Kind::Denied);
    assert!(said.contains("signature: copy the secret again"), "{said}");
}

#[tokio::test]
async fn s2_code_5002_is_tried_again() {
    let asked = refusing(2, json!(5002)).await;
    assert_eq!((asked.incomplete(), asked.facts().retries, asked.facts().throttles), (None, 2, 0));
}

#[tokio::test]
async fn s2_code_429_is_tried_again_as_a_throttle() {
    let asked = refusing(2, json!(429)).await;
    assert_eq!((asked.incomplete(), asked.facts().retries, asked.facts().throttles), (None, 2, 2));
}

#[tokio::test]
async fn s2_an_answer_of_the_official_gateway_names_aop() {
    const CODES: [&str; 7] = [
        "gw.SignatureMissing",
        "gw.SignatureInvalid",
        "gw.AppKeyMissing",
        "gw.APIACLDecline",
        "gw.APIUnsupported",
        "gw.ParamMissing",
        "gw.SomethingNew",
    ];
    for (base, lines) in [
        ("portals", "shops = [\"b2b-1\"]"),
        ("item-get", "items = [\"712757874907\"]"),
        ("shop-search", "shops = [\"b2b-1\"]"),
    ] {
        for code in CODES {
            let error = json!({"error_code": code, "error_message": "refused"});
            let server = Server::start(move |_| Reply::json(&error).status(400)).await;
            let trap = Trap::at(&server.url, base).lines(lines).define("limits.calls_in_flight = 1");
            let asked = trap.ask().await;
            let error = asked.facts.as_ref().expect_err("it is an error");
            assert!(matches!(error.kind(), Kind::Denied | Kind::Config), "{base} {code}: {error}");
            let hint = error.hint().unwrap_or_default();
            assert!(hint.contains("`gateway = \"aop\"`"), "{base} {code}: {hint}");
            assert_eq!(server.calls().len(), 1, "{base} {code}");
        }
    }
}

#[tokio::test]
async fn s2_an_official_gateway_that_is_busy_is_asked_again_and_denies_no_key() {
    for (code, status) in [("gw.ServiceUnavailable", 503), ("gw.Mystery", 502), ("gw.ReadTimeout", 400)] {
        let answers = portals((0..3).map(offer).collect(), 3, plain);
        let busy = json!({"error_code": code, "error_message": "service is temporarily unavailable"});
        let server = Server::start(move |call| match call.before {
            0 | 2 => Reply::json(&busy).status(status),
            _ => answers(call),
        })
        .await;
        let trap = Trap::at(&server.url, "portals").lines("shops = [\"b2b-1\"]");
        let asked = trap.ask().await;
        assert_eq!((asked.incomplete(), asked.facts().retries), (None, 2), "{code}");
        let always = json!({"error_code": code, "error_message": "?"});
        let server = Server::start(move |_| Reply::json(&always).status(status)).await;
        let said = Trap::at(&server.url, "portals").lines("shops = [\"b2b-1\"]").ask().await.failed(Kind::Unavailable);
        assert!(said.contains("try again later") && said.contains("`gateway = \"aop\"`"), "{said}");
    }
}

/// Details from the same gateway.
const DETAILS: &str = "endpoints.item.params = { method = \"detail\", item_id = \"{offer_id}\" }\nendpoints.item.one = \"/item\"\nlimits.calls_in_flight = 1";

#[tokio::test]
async fn a_shop_whose_details_are_all_refused_for_no_known_reason_is_incomplete_and_asked_for_again() {
    let shop = portals((0..6).map(offer).collect(), 6, plain);
    let server = Server::start(move |call| match call.get("method") {
        "detail" => Reply::json(&json!({"error_response": {"code": "no.such.code", "msg": "strange"}})),
        _ => shop(call),
    })
    .await;
    let lines = "shops = [\"b2b-1\"]\n[fetch]\ndetails = \"all\"";
    let trap = Trap::at(&server.url, "portals").define(DETAILS).lines(lines);
    for start in 1..=2 {
        let options = RunOptions { dt: Some(day(20)), ..RunOptions::default() };
        let ended = attempt(&trap.pipeline(), options).await.unwrap();
        let Ended::Published(reports) = ended else { panic!("start {start}: {ended:?}") };
        let reason = reports[0].shops[0].incomplete_reason.clone().unwrap_or_default();
        assert!(reason.starts_with("each of the 6 details was refused"), "start {start}: {reason}");
        assert_eq!(server.calls().len(), start * 8);
    }
}

async fn surveyed(trap: &Trap, asks: Asks, cancel: CancellationToken) -> Survey {
    let around = Surroundings { clock: Arc::new(SystemClock), progress: &Silent, cancel, seed: 1 };
    let options = RunOptions { dt: Some(day(20)), ..RunOptions::default() };
    survey(&trap.pipeline(), options, asks, &around).await.unwrap()
}

#[tokio::test]
async fn a_probe_that_is_stopped_keeps_what_it_has_bought_and_says_so() {
    // By a signal, and because the calls of the day end: all of them, or those of the endpoint.
    for (signal, scope, says) in
        [(true, "account", "stopped by a signal"), (false, "account", "used up"), (false, "endpoint", "used up")]
    {
        let (cancel, shop) = (CancellationToken::new(), portals((0..6).map(offer).collect(), 6, plain));
        let stop = cancel.clone();
        let server = Server::start(move |call| {
            if signal && call.before == 1 {
                stop.cancel();
            }
            shop(call)
        })
        .await;
        let calls = if signal { 3000 } else { 2 };
        let trap = Trap::at(&server.url, "portals")
            .define(&format!("limits.calls_in_flight = 1\nlimits.quota_scope = \"{scope}\""))
            .lines("shops = [\"b2b-1\", \"b2b-2\", \"b2b-3\"]")
            .accounts(&format!(
                "[[accounts]]\nname = \"main\"\nlicence = \"paid\"\ncalls_per_day = {calls}\n\
                 credentials = {{ app_key = \"sim-app\", app_secret = \"env:SECRET\" }}"
            ));
        let probed = surveyed(&trap, Asks::Counts, cancel).await;
        assert_eq!((probed.probe_calls, probed.counts.len(), server.calls().len()), (2, 2, 2), "{signal} {scope}");
        assert!(
            probed.probe_stopped.as_ref().is_some_and(|reason| reason.contains(says)),
            "{:?}",
            probed.probe_stopped
        );
        let later = surveyed(&trap, Asks::Nothing, CancellationToken::new()).await;
        assert_eq!((later.counts.len(), later.probe_stopped), (2, None), "{signal} {scope}");
    }
}

#[tokio::test]
async fn where_the_calls_of_the_listing_end_another_gateway_is_asked_for_the_details_of_what_is_listed() {
    // Two full pages: whichever is asked for first.
    let listing = Server::start(portals((0..80).map(offer).collect(), 80, plain)).await;
    let details = Server::start(|call| {
        Reply::json(&json!({"item": {"item_id": call.get("item_id"), "title": "保温杯", "price": "12.50"}}))
    })
    .await;
    let account = |name: &str, more: &str, calls: u32| {
        format!(
            "[[accounts]]\nname = \"{name}\"\nlicence = \"paid\"\ncalls_per_day = {calls}\n{more}\
             credentials = {{ app_key = \"{name}\", app_secret = \"env:SECRET\" }}\n"
        )
    };
    let accounts = account("main", "", 2) + &account("items", "gateway = \"items\"\n", 3000);
    let trap =
        Trap::at(&listing.url, "portals").define("limits.calls_in_flight = 1").accounts(&accounts).lines(&format!(
            "shops = [\"b2b-1\"]\non_quota = \"continue\"\n[fetch]\ndetails = \"all\"\n\
         details_gateway = \"./items.toml\"\ndetails_url = \"{}\"",
            details.url
        ));
    trap.place.write(
        "items.toml",
        "extends = \"portals\"\nname = \"items\"\nlimits.calls_per_second = 1000\n\
         limits.pause_seconds = { success = 0, failure = 0, throttle = 0 }\n\
         endpoints.item.params = { method = \"detail\", item_id = \"{offer_id}\" }\nendpoints.item.one = \"/item\"\n",
    );
    let ended = attempt(&trap.pipeline(), RunOptions { dt: Some(day(20)), ..RunOptions::default() }).await.unwrap();
    let Ended::Stopped { reason, kind, .. } = ended else { panic!("{ended:?}") };
    assert!(reason.contains("`main`: its 2 calls of the day are used up"), "{reason}");
    assert_eq!((listing.calls().len(), details.calls().len(), kind.exit_code()), (2, 40, 75), "a count and a page");
}
