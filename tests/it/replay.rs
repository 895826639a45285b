//! Days rebuilt from landed answers: no call, the same rows where nothing changed, and what changed where it did.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use huopan::base::{Clock, SystemClock};
use huopan::config::Pipeline;
use huopan::extract::progress::Silent;
use huopan::land::segment;
use huopan::run::{Options as RunOptions, Outcome, Report, Surroundings, run};
use huopan::sim::{self, Gateway, History, Options, Sim};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::support::{Ended, Place, Row, attempt, day, huopan, item_lines, publish, quick, rows, shop_lines};

mod expired;
mod lost;
mod unusual;

/// Half of the offers are odd: their quantities depend on rules.
fn messy() -> Options {
    Options { mess_per_mille: 600, ..quick() }
}

/// A rule that is corrected later: a 箱 without a stated size holds two pieces.
const RULE: &str = "\n[units]\npieces = { \"箱\" = 2, \"双\" = 2, \"套\" = 3, \"件\" = 2 }";

async fn replay(place: &Place, dt: &str, more: &[&str]) -> Ended {
    huopan(place.path(), &[&["replay", "pipeline.toml", "--dt", dt], more].concat()).await
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// Every value of a day's pictures.
async fn whole(place: &Place, dt: NaiveDate) -> BTreeMap<&'static str, Vec<Row>> {
    let mut whole = BTreeMap::new();
    for table in crate::support::PICTURES {
        let mut rows = place.rows(&format!("select * from {table} where dt = '{dt}'")).await;
        rows.sort();
        whole.insert(table, rows);
    }
    whole
}

/// Tables that a replay must not touch.
async fn journals(place: &Place) -> (String, Vec<Row>) {
    let digests = "select run_id, number, digest, header from raw_pages order by 1, 2";
    (place.value("select count(*) from calls").await, place.rows(digests).await)
}

/// Three nights, one of them fetched twice, one with a shop that came later.
async fn three_nights(place: &Place, sim: &Sim, rule: &str) {
    let world = sim.world(Gateway::Portals);
    let lines = |shops: usize| {
        let ids: Vec<_> = world.shops.iter().take(shops).map(|shop| format!("\"{}\"", shop.shop_id)).collect();
        format!("shops = [{}]{rule}", ids.join(", "))
    };
    sim.set_day(day(18));
    publish(&place.pipeline(sim, Gateway::Portals, &lines(1)), day(18)).await;
    sim.set_day(day(19));
    publish(&place.pipeline(sim, Gateway::Portals, &lines(1)), day(19)).await;
    publish(&place.pipeline(sim, Gateway::Portals, &lines(2)), day(19)).await;
    sim.set_day(day(20));
    publish(&place.pipeline(sim, Gateway::Portals, &lines(2)), day(20)).await;
}

#[tokio::test]
async fn where_nothing_changed_the_same_rows_are_published_again_without_a_call() {
    let (sim, place) = (sim::start(messy()).await.unwrap(), Place::new());
    three_nights(&place, &sim, "").await;
    let (calls, kept) = (sim.stats().calls, journals(&place).await);
    let mut before = Vec::new();
    for night in [18, 19, 20] {
        before.push(whole(&place, day(night)).await);
    }
    let ended = replay(&place, "2026-11-18..2026-11-20", &["--json"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    for (index, night) in json(&ended)["days"].as_array().unwrap().iter().enumerate() {
        assert_eq!((&night["outcome"], &night["follows"]), (&"rebuilt".into(), &false.into()), "{night}");
        assert_eq!(night["publication"]["calls"], 0);
        for table in night["differences"].as_array().unwrap() {
            assert_eq!(
                (&table["changed"], &table["new"], &table["gone"]),
                (&0.into(), &0.into(), &0.into()),
                "{table}"
            );
            assert_eq!(table["rows_before"], before[index][table["table"].as_str().unwrap()].len());
        }
        assert_eq!(night["differences"].as_array().unwrap().len(), 5);
        assert_eq!(whole(&place, day(18 + u32::try_from(index).unwrap())).await, before[index]);
    }
    assert_eq!(sim.stats().calls, calls);
    assert_eq!(journals(&place).await, kept);
    assert_eq!(place.delta_counts().await, place.counts().await);
    let runs = "select dt, attempt, status, kind, calls_used, received = loaded + duplicates + quarantined as adds_up
         from runs order by dt, attempt";
    let line = |row: &Row| row.values().cloned().collect::<Vec<_>>().join(" ");
    let runs: Vec<String> = place.rows(runs).await.iter().map(line).collect();
    assert_eq!(runs.iter().filter(|run| run.contains(" replay ")).count(), 3, "{runs:?}");
    assert!(runs.iter().filter(|run| run.contains(" replay ")).all(|run| run.starts_with("true ")), "{runs:?}");
    let listed = huopan(place.path(), &["runs", "--lake", "lake"]).await;
    assert_eq!(listed.stdout.matches("replay").count(), 3, "{}", listed.stdout);
    let text = replay(&place, "2026-11-19", &[]).await;
    assert!(text.stdout.contains("nothing differs from what was published"), "{text:?}");
}

#[tokio::test]
async fn a_corrected_rule_shows_by_column_first_and_then_is_as_if_it_had_always_been_there() {
    let (sim, place, other) = (sim::start(messy()).await.unwrap(), Place::new(), Place::new());
    three_nights(&place, &sim, "").await;
    three_nights(&other, &sim, RULE).await;
    let lines = format!("{}{RULE}", shop_lines(&sim.world(Gateway::Portals)));
    place.pipeline_file(&sim, Gateway::Portals, &lines);
    let (files, calls) = (place.lake_files(), sim.stats().calls);

    let dry = replay(&place, "2026-11-18..2026-11-20", &["--dry-run", "--json"]).await;
    assert_eq!(dry.code, 0, "{dry:?}");
    assert_eq!(place.lake_files(), files, "a dry run writes nothing");
    let shown = replay(&place, "2026-11-18..2026-11-20", &["--dry-run"]).await;
    for part in ["2026-11-18: would be rebuilt", " changed\n", "    moq_pieces ", "offer ", " → "] {
        assert!(shown.stdout.contains(part), "no `{part}` in {}", shown.stdout);
    }
    assert_eq!(place.value("select count(*) from runs where kind = 'replay'").await, "0");

    let real = replay(&place, "2026-11-18..2026-11-20", &["--json"]).await;
    assert_eq!(real.code, 0, "{real:?}");
    assert_eq!(sim.stats().calls, calls);
    let (dry, real) = (json(&dry), json(&real));
    for (dry, real) in dry["days"].as_array().unwrap().iter().zip(real["days"].as_array().unwrap()) {
        assert_eq!(dry["differences"], real["differences"], "what was shown is what was done");
        let offers = &real["differences"][0];
        let moq = offers["columns"].as_array().unwrap().iter().find(|column| column["column"] == "moq_pieces").unwrap();
        assert!(moq["rows"].as_u64().unwrap() > 0 && !moq["examples"].as_array().unwrap().is_empty(), "{moq}");
    }
    for night in [18, 19, 20] {
        assert_eq!(place.content(day(night)).await, other.content(day(night)).await, "{night}");
    }
    assert_eq!(place.delta_counts().await, place.counts().await);
}

/// A clock that stands at noon of a day, and runs.
#[derive(Debug)]
struct Noon(TimeDelta);

impl Clock for Noon {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + self.0
    }
}

/// The night of a day, when it is that day.
async fn night(place: &Place, sim: &Sim, lines: &str, dt: NaiveDate) -> Report {
    night_of(&place.pipeline(sim, Gateway::Portals, lines), sim, dt).await
}

async fn night_of(pipeline: &Pipeline, sim: &Sim, dt: NaiveDate) -> Report {
    sim.set_day(dt);
    let noon = dt.and_hms_opt(4, 0, 0).unwrap().and_utc();
    let ahead = noon - SystemClock.now();
    let clock = Arc::new(Noon(ahead));
    sim.set_clock_offset(ahead.num_seconds());
    let around = Surroundings { clock, progress: &Silent, cancel: CancellationToken::new(), seed: 7 };
    match run(pipeline, RunOptions::default(), &around).await.unwrap_or_else(|error| panic!("{error}")) {
        Outcome::Published(mut reports) if reports.len() == 1 => reports.swap_remove(0),
        other => panic!("not published: {other:?}"),
    }
}

#[tokio::test]
async fn later_nights_that_carried_rows_forward_follow() {
    let history = History { changed_per_mille: 50, ..History::default() };
    let options = Options { shop_sizes: vec![200], skew_seconds_max: i64::MAX / 4, ..messy() };
    let sim = sim::start(options.with_history(history)).await.unwrap();
    let (place, other) = (Place::new(), Place::new());
    let lines = format!("{}\n[fetch]\nlisting = \"changed\"", shop_lines(&sim.world(Gateway::Portals)));
    let ruled = format!("{lines}{RULE}");
    for dt in [day(17), day(18), day(19), day(20)] {
        let report = night(&place, &sim, &lines, dt).await;
        assert_eq!(report.carried > 100, dt > day(17), "{report:?}");
        night(&other, &sim, &ruled, dt).await;
    }
    let (seventeenth, calls) = (whole(&place, day(17)).await, sim.stats().calls);
    // Where that day does not change, nothing follows it.
    let same = json(&replay(&place, "2026-11-18", &["--json"]).await);
    assert_eq!(same["days"].as_array().unwrap().len(), 1, "{same}");
    place.pipeline_file(&sim, Gateway::Portals, &ruled);
    let shown = replay(&place, "2026-11-18", &["--dry-run", "--json"]).await;
    let ended = replay(&place, "2026-11-18", &["--json"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let (shown, ended) = (json(&shown), json(&ended));
    let days: Vec<_> = ended["days"].as_array().unwrap().iter().map(|day| (&day["dt"], &day["follows"])).collect();
    let expected =
        [("2026-11-18", false), ("2026-11-19", true), ("2026-11-20", true)].map(|(dt, is)| (dt.into(), is.into()));
    assert_eq!(days, expected.iter().map(|(dt, is)| (dt, is)).collect::<Vec<(&Value, &Value)>>());
    for (shown, ended) in shown["days"].as_array().unwrap().iter().zip(ended["days"].as_array().unwrap()) {
        assert_eq!(shown["differences"], ended["differences"]);
    }
    assert_eq!(whole(&place, day(17)).await, seventeenth, "days before the span stand");

    // From the first night on, all is as if the rule had always been there.
    assert_eq!(replay(&place, "2026-11-17", &[]).await.code, 0);
    assert_eq!(sim.stats().calls, calls);
    for night in [17, 18, 19, 20] {
        assert_eq!(place.content(day(night)).await, other.content(day(night)).await, "{night}");
    }
}

#[tokio::test]
async fn a_day_whose_answers_are_no_longer_kept_stands_and_is_the_base_of_the_next() {
    let (sim, place) = (sim::start(messy()).await.unwrap(), Place::new());
    three_nights(&place, &sim, "").await;
    let eighteenth = whole(&place, day(18)).await;
    for file in place.lake_files().iter().filter(|file| file.to_string_lossy().contains("raw_pages/dt=2026-11-18")) {
        std::fs::remove_file(file).unwrap();
    }
    place.leave_unwell();
    place.pipeline_file(&sim, Gateway::Portals, &format!("{}{RULE}", shop_lines(&sim.world(Gateway::Portals))));
    let ended = replay(&place, "2026-11-18..2026-11-19", &["--json"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let days = json(&ended)["days"].clone();
    assert_eq!((&days[0]["outcome"], &days[1]["outcome"]), (&"stands".into(), &"rebuilt".into()), "{days}");
    assert!(days[0]["notes"][0].as_str().unwrap().ends_with("is missing: it stands as published"), "{days}");
    assert_eq!(whole(&place, day(18)).await, eighteenth);
    let nothing = replay(&place, "2026-10-01", &[]).await;
    assert_eq!(nothing.code, 1, "{nothing:?}");
    assert!(nothing.stderr.contains("has nothing between 2026-10-01 and 2026-10-01"), "{}", nothing.stderr);
    let days = replay(&place, "2026-10-01..", &[]).await;
    assert_eq!(days.code, 2, "{days:?}");
}

#[tokio::test]
async fn what_has_landed_and_what_is_held_is_published_by_a_replay_unless_it_looks_wrong() {
    let (place, whole) = (Place::new(), sim::start(quick()).await.unwrap());
    let thin = sim::start(Options { shop_sizes: vec![20, 45], ..quick() }).await.unwrap();
    let world = thin.world(Gateway::Portals);
    let lines = shop_lines(&world);
    let until_landed = RunOptions { dt: Some(day(20)), until_landed: true, ..RunOptions::default() };
    let landed = attempt(&place.shops(&whole, Gateway::Portals), until_landed).await.unwrap();
    assert!(matches!(landed, Outcome::Landed { .. }), "{landed:?}");
    let calls = whole.stats().calls;
    let shown = replay(&place, "2026-11-20", &["--dry-run"]).await;
    assert!(shown.stdout.contains("2026-11-20: would be rebuilt"), "{shown:?}");
    assert_eq!(replay(&place, "2026-11-20", &[]).await.code, 0);
    assert_eq!(whole.stats().calls, calls);
    let on_sale: usize = whole.world(Gateway::Portals).shops.iter().map(|shop| shop.on_sale).sum();
    assert_eq!(place.value("select count(*) from offers").await, on_sale.to_string());
    assert_eq!(place.value("select count(*) from calls").await, calls.to_string(), "the journals hold them now");

    thin.set_day(day(21));
    place.pipeline_file(&thin, Gateway::Portals, &lines);
    assert_eq!(huopan(place.path(), &["run", "pipeline.toml", "--dt", "2026-11-21"]).await.code, 3);
    let held = replay(&place, "2026-11-20..2026-11-21", &["--json"]).await;
    assert_eq!(held.code, 3, "{held:?}");
    let days = json(&held)["days"].clone();
    assert_eq!((&days[1]["outcome"], &days[1]["findings"][0]["what"]), (&"held".into(), &"gone".into()), "{days}");
    // Once the limits are what they should be, what landed is published.
    place.pipeline_file(&thin, Gateway::Portals, &format!("{lines}\n[guard]\ndrop_share_max = 0.9"));
    let calls = thin.stats().calls;
    let ended = replay(&place, "2026-11-21", &[]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(thin.stats().calls, calls);
    assert_eq!(place.value("select cast(max(dt) as varchar) from offers").await, "2026-11-21");
    assert_eq!(place.delta_counts().await, place.counts().await);
}

/// Stands between huopan and the simulator and spoils what it passes on, call by call.
#[derive(Clone)]
struct Spoiler {
    to: String,
    client: reqwest::Client,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// One answer as it comes: right, GBK, cut, no JSON at all.
fn spoilt(number: usize, body: &[u8]) -> (&'static str, Vec<u8>) {
    let text = String::from_utf8_lossy(body);
    match number % 8 {
        1 => ("application/json;charset=GBK", encoding_rs::GBK.encode(&text).0.into_owned()),
        2 => ("application/json", body[..body.len() / 2].to_vec()),
        3 => ("application/xml", "<?xml version=\"1.0\" encoding=\"GBK\"?><a>\u{fffd}&#0;</a>".as_bytes().to_vec()),
        4 => ("application/json", [&b"\0\0{\"a\":\"\0"[..], body, b"\0"].concat()),
        5 => ("text/plain", Vec::new()),
        6 => ("application/json", (0..=255).collect()),
        7 => ("application/json", [b"\xef\xbb\xbf", body].concat()),
        _ => ("application/json", body.to_vec()),
    }
}

async fn pass(State(spoiler): State<Spoiler>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let mut sent = spoiler.client.request(parts.method, format!("{}{}", spoiler.to, parts.uri)).body(body);
    for name in ["content-type", "accept"] {
        if let Some(value) = parts.headers.get(name) {
            sent = sent.header(name, value);
        }
    }
    let answer = sent.send().await.unwrap().bytes().await.unwrap();
    let mut bodies = spoiler.sent.lock().unwrap();
    let (content_type, body) = spoilt(bodies.len(), &answer);
    bodies.push(body.clone());
    Response::builder().header("content-type", content_type).body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn hostile_bytes_are_kept_as_they_came_and_replayed_to_the_same_rows() {
    let (sim, place) = (sim::start(Options { shop_sizes: vec![40], ..quick() }).await.unwrap(), Place::new());
    let spoiler =
        Spoiler { to: format!("http://{}", sim.addr()), client: reqwest::Client::new(), sent: Arc::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(pass).with_state(spoiler.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let url = sim.url(Gateway::ItemGet).replace(&spoiler.to, &address);
    let file = place.pipeline_file_at(&url, Gateway::ItemGet, &item_lines(&sim.world(Gateway::ItemGet)));
    let report = publish(&crate::support::load(&file), day(20)).await;
    assert!(report.loaded > 5, "{report:?}");
    let mut sent: Vec<String> = spoiler.sent.lock().unwrap().iter().map(|body| segment::digest(body)).collect();
    sent.sort();
    let kept = journals(&place).await;
    let mut digests: Vec<String> = kept.1.iter().map(|row| row["digest"].clone()).collect();
    digests.sort();
    assert_eq!(digests, sent, "every answer is kept byte for byte");
    let before = whole(&place, day(20)).await;
    assert!(before["offers"].iter().any(|row| row["title"].chars().any(|letter| letter > '\u{4e00}')), "GBK is read");

    let ended = replay(&place, "2026-11-20", &["--json"]).await;
    assert!(matches!(ended.code, 0 | 3), "{ended:?}");
    let rebuilt = &json(&ended)["days"][0];
    assert_eq!(rebuilt["outcome"], "rebuilt", "{rebuilt}");
    assert!(rebuilt["differences"].as_array().unwrap().iter().all(|table| table["changed"] == 0 && table["new"] == 0));
    assert_eq!(whole(&place, day(20)).await, before);
    assert_eq!(journals(&place).await, kept);
    assert_eq!(spoiler.sent.lock().unwrap().len(), sent.len(), "nobody was asked");

    assert!(digests.contains(&segment::digest(b"")), "an empty answer is an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_on_s3_is_held_and_replayed_as_one_on_disk() {
    let server = crate::s3::server(crate::s3_server::Manners::Good).await;
    let (sim, place, disk) = (sim::start(messy()).await.unwrap(), Place::new(), Place::new());
    let pipeline = |lines: &str| crate::s3::pipeline_on_bucket(&place, &server, &sim, lines);
    let lines = shop_lines(&sim.world(Gateway::Portals));
    for night in [19, 20] {
        sim.set_day(day(night));
        publish(&crate::s3::load(&pipeline(&lines), &server), day(night)).await;
        publish(&disk.pipeline(&sim, Gateway::Portals, &format!("{lines}{RULE}")), day(night)).await;
    }
    let file = pipeline(&format!("{lines}{RULE}"));
    let (file, key, secret) = (file.to_str().unwrap(), crate::s3_server::KEY.0, crate::s3_server::KEY.1);
    let env = [("SECRET", "sim-secret"), ("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret)];
    let calls = sim.stats().calls;
    for more in [&["--dry-run"][..], &[]] {
        let arguments = [&["replay", file, "--dt", "2026-11-19..2026-11-20"], more].concat();
        let ended = crate::support::huopan_with(place.path(), &arguments, &env).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stdout.contains("    moq_pieces "), "{}", ended.stdout);
    }
    assert_eq!(sim.stats().calls, calls);
    let lake = crate::s3::lake(&server).await;
    for night in [19, 20] {
        assert_eq!(crate::support::content(&lake, day(night)).await, disk.content(day(night)).await);
    }
    // A night that loses most of a shop is held there, too.
    let thin = sim::start(Options { shop_sizes: vec![20, 45], ..quick() }).await.unwrap();
    thin.set_day(day(21));
    let file = crate::s3::pipeline_on_bucket(&place, &server, &thin, &lines);
    let file = file.to_str().unwrap();
    for (arguments, code) in [
        (&["run", file, "--dt", "2026-11-21"][..], 3),
        (&["run", file, "--dt", "2026-11-21"], 3),
        (&["run", file, "--publish-anyway"], 0),
        (&["run", file, "--dt", "2026-11-21"], 0),
    ] {
        let ended = crate::support::huopan_with(place.path(), arguments, &env).await;
        assert_eq!(ended.code, code, "{ended:?}");
        assert_eq!(ended.stdout.contains("2026-11-21: HELD"), code == 3, "{ended:?}");
    }
    assert_eq!(rows(&lake, "select count(*) as n from offers where dt = '2026-11-21'").await.len(), 1);
}
