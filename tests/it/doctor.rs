//! What keeps a pipeline from running is found before a night is spent on it, for one call per endpoint.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use huopan::base::{Clock as _, Kind, SystemClock};
use huopan::config::Pipeline;
use huopan::extract::Fingerprint;
use huopan::extract::progress::Silent;
use huopan::run::Surroundings;
use huopan::run::doctor::{Calls, Check, Options as DoctorOptions, Status, doctor, exit_code};
use huopan::sim::{self, Gateway, Key, Options, Sim};
use huopan::state::{self, Counted, Rest, RestKind, Resting, State};
use regex::Regex;
use tokio_util::sync::CancellationToken;

use crate::support::{Place, attempt, huopan, load, quick};

/// The checks of a pipeline, and the exit code.
struct Examined {
    checks: Vec<Check>,
    code: u8,
}

impl Examined {
    /// The checks of a name.
    fn all(&self, name: &str) -> Vec<&Check> {
        self.checks.iter().filter(|check| check.check == name).collect()
    }

    /// The only check of a name.
    fn one(&self, name: &str) -> &Check {
        match self.all(name)[..] {
            [check] => check,
            _ => panic!("not one `{name}`: {:#?}", self.checks),
        }
    }

    /// What was said of an endpoint.
    fn endpoint(&self, endpoint: &str) -> &Check {
        let about = format!("`{endpoint}`");
        let found = self.all("permission").into_iter().find(|check| check.says.starts_with(&about));
        found.unwrap_or_else(|| panic!("nothing about {about}: {:#?}", self.checks))
    }

    fn troubles(&self) -> Vec<&Check> {
        self.checks.iter().filter(|check| check.status != Status::Ok).collect()
    }
}

async fn examine(pipeline: &Pipeline) -> Examined {
    examine_with(pipeline, Calls::Few).await
}

async fn examine_with(pipeline: &Pipeline, calls: Calls) -> Examined {
    examine_while(pipeline, calls, &|_| {}).await
}

/// Examines while something happens after each check.
async fn examine_while(pipeline: &Pipeline, calls: Calls, meanwhile: &(dyn Fn(&Check) + Send + Sync)) -> Examined {
    examine_until(pipeline, calls, (CancellationToken::new(), meanwhile)).await
}

async fn examine_until(
    pipeline: &Pipeline,
    calls: Calls,
    (cancel, meanwhile): (CancellationToken, &(dyn Fn(&Check) + Send + Sync)),
) -> Examined {
    let around = Surroundings { clock: Arc::new(SystemClock), progress: &Silent, cancel, seed: 7 };
    let told = Mutex::new(Vec::new());
    let tell = |check: &Check| {
        meanwhile(check);
        told.lock().unwrap().push(check.clone());
    };
    let checks = doctor(pipeline, DoctorOptions { calls }, &around, &tell).await;
    assert_eq!(told.into_inner().unwrap(), checks, "every check is told when it ends");
    Examined { code: exit_code(&checks), checks }
}

/// Calls by method, as the simulator counted them.
fn asked(sim: &Sim) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for entry in sim.journal() {
        *calls.entry(entry.method).or_default() += 1;
    }
    calls
}

/// A portals pipeline on the simulator's first shop, named by its address.
fn portals(place: &Place, sim: &Sim, lines: &str) -> Pipeline {
    load(&portals_file(place, sim, lines))
}

fn portals_file(place: &Place, sim: &Sim, lines: &str) -> PathBuf {
    let url = sim.world(Gateway::Portals).shops[0].shop_url.clone();
    place.pipeline_file(sim, Gateway::Portals, &format!("shops = [\"{url}\"]\n{lines}"))
}

async fn open(pipeline: &Pipeline) -> State {
    state::open(&pipeline.state).await.unwrap()
}

#[tokio::test]
async fn a_right_pipeline_is_told_check_by_check_for_one_call_per_endpoint() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    portals_file(&place, &sim, "[fetch]\nskus = \"missing\"");
    let ended = huopan(place.path(), &["doctor", "pipeline.toml"]).await;
    let mut said = ended.stdout.replace(&place.path().display().to_string(), "<here>");
    said = said.replace(&sim.addr().to_string(), "<sim>");
    for (pattern, by) in [(r"in \d+ ms", "in N ms"), (r"\d+ of \d+ offers", "N of N offers"), (r"count \d+", "count N")]
    {
        said = Regex::new(pattern).unwrap().replace_all(&said, by).into_owned();
    }
    let member = &sim.world(Gateway::Portals).shops[0].shop_id;
    let said = said.replace(member.as_str(), "<member>");
    let expected = "\
ok       configuration           pipeline `test` asks gateway `portals` for 1 shop
ok       lake                    `<here>/lake`: written, read, deleted; of 8 creators of one file one won
ok       state                   SQLite file `<here>/state.sqlite`
ok       account        main     0 of 3000 calls today, 3000 left
ok       network        portals  `<sim>` was reached in N ms, no TLS
ok       calls          portals  at most 5 calls as each account: shop, count, listing, categories, sku
ok       signature      main     accepted: `shop` was answered
ok       permission     main     `shop`: member id `<member>` · HTTP 200 in N ms
ok       permission     main     `count`: official count N · HTTP 200 in N ms
ok       permission     main     `listing`: 40 offers · HTTP 200 in N ms
ok       permission     main     `sku`: answered · HTTP 200 in N ms
ok       wholesale      main     N of N offers have a wholesale price or MOQ
ok       clock          portals  within 30 s of the gateway's
ok       quota          main     4 of 3000 calls today, 2996 left
";
    assert_eq!((said.as_str(), ended.stderr.as_str(), ended.code), (expected, "", 0));
    assert_eq!(
        asked(&sim).into_values().collect::<Vec<_>>(),
        [1, 1, 1, 1],
        "the categories of a small shop are not needed"
    );
}

#[tokio::test]
async fn json_says_the_same_as_the_screen() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    portals_file(&place, &sim, "");
    let ended = huopan(place.path(), &["doctor", "pipeline.toml", "--json", "--no-calls"]).await;
    let said: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.code, &said["exit_code"]), (0, &serde_json::json!(0)));
    let checks = said["checks"].as_array().unwrap();
    let statuses: Vec<_> = checks.iter().map(|check| (check["check"].as_str(), check["status"].as_str())).collect();
    assert!(statuses.contains(&(Some("calls"), Some("skipped"))), "{statuses:?}");
    assert_eq!(asked(&sim), BTreeMap::new(), "`--no-calls` makes none");
}

#[tokio::test]
async fn its_calls_are_landed_and_counted_and_no_run_goes_on_with_them() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = portals(&place, &sim, "");
    assert_eq!(examine(&pipeline).await.code, 0);
    let segments = place.lake_files().iter().filter(|file| file.extension().is_some_and(|name| name == "seg")).count();
    assert_eq!(segments, 3);
    assert!(!place.lake_files().iter().any(|file| file.ends_with("start.json")), "{:?}", place.lake_files());
    assert!(!place.lake_files().iter().any(|file| file.display().to_string().contains("doctor-")), "nothing is left");

    let huopan::config::pipeline::StateConfig::Sqlite(file) = &pipeline.state else { panic!("no file") };
    assert!(file.starts_with(place.path()), "{}: not this test's own", file.display());
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
    }
    let after = examine_with(&pipeline, Calls::None).await;
    assert_eq!(after.one("account").says, "3 of 3000 calls today, 2997 left", "a lost ledger counts them again");

    let outcome = attempt(&pipeline, huopan::run::Options::default()).await.unwrap();
    assert!(matches!(outcome, huopan::run::Outcome::Published(_)), "{outcome:?}");
    assert!(asked(&sim).values().all(|calls| *calls >= 2), "the run asks for itself: {:?}", asked(&sim));
}

#[tokio::test]
async fn a_wrong_secret_costs_one_call() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = portals(&place, &sim, "");
    sim.set_secret("sim-app", "another-secret");
    let examined = examine(&pipeline).await;
    let signature = examined.one("signature");
    assert_eq!((signature.status, examined.code), (Status::Failed(Kind::Denied), 1));
    assert!(signature.says.starts_with("`shop`: `10002`"), "{signature:?}");
    assert!(signature.todo.as_ref().unwrap().contains("copy the secret again"), "{signature:?}");
    assert_eq!(examined.all("permission"), Vec::<&Check>::new());
    assert_eq!(asked(&sim).into_values().sum::<usize>(), 1);
    let health = open(&pipeline).await.accounts(SystemClock.now()).await.unwrap();
    assert_eq!(health[0].rests[0].rest.kind, RestKind::Denied, "it rests as after a run");
}

#[tokio::test]
async fn a_missing_permission_names_the_method_and_the_other_endpoints_are_asked() {
    let method = "alibaba.seller.items.count.get";
    let key = Key { denied_methods: vec![method.to_owned()], ..Key::new("sim-app", 1000) };
    let (sim, place) = (sim::start(Options { keys: vec![key], ..quick() }).await.unwrap(), Place::new());
    let pipeline = portals(&place, &sim, "");
    let examined = examine(&pipeline).await;
    assert_eq!((examined.one("signature").status, examined.code), (Status::Ok, 1));
    let count = examined.endpoint("count");
    assert_eq!(count.status, Status::Failed(Kind::Denied));
    let todo = count.todo.as_ref().unwrap();
    assert!(todo.contains("apply") && todo.contains(method), "{todo}");
    assert_eq!((examined.endpoint("shop").status, examined.endpoint("listing").status), (Status::Ok, Status::Ok));
    let health = open(&pipeline).await.accounts(SystemClock.now()).await.unwrap();
    assert_eq!(health[0].rests.len(), 1, "a run would be refused, too: a later answer does not wake the account");
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_before_the_first_call() {
    let options = Options { clock_offset_seconds: 600, ..quick() };
    let (sim, place) = (sim::start(options).await.unwrap(), Place::new());
    let examined = examine(&portals(&place, &sim, "")).await;
    let clock = examined.one("clock");
    assert_eq!((clock.status, examined.code), (Status::Warning, 0), "{:#?}", examined.checks);
    let says = Regex::new(r"^this machine's clock is (600|599|601) s behind the gateway's: ").unwrap();
    assert!(says.is_match(&clock.says) && clock.todo.as_ref().unwrap().contains("NTP"), "{clock:?}");
    assert_eq!(examined.one("signature").status, Status::Ok);
    assert_eq!(examined.troubles().len(), 1, "{:#?}", examined.troubles());
}

#[tokio::test]
async fn a_wrong_clock_fails_where_calls_fail_too() {
    let options = Options { clock_offset_seconds: -600, ..quick() };
    let (sim, place) = (sim::start(options).await.unwrap(), Place::new());
    let pipeline = portals(&place, &sim, "");
    sim.set_secret("sim-app", "another-secret");
    let examined = examine(&pipeline).await;
    assert_eq!(examined.one("clock").status, Status::Failed(Kind::Config));
    assert!(examined.one("clock").says.contains("s ahead of the gateway's"), "{:?}", examined.one("clock"));
}

#[tokio::test]
async fn a_call_signed_with_a_wrong_time_proves_nothing_and_the_next_is_signed_right() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = portals(&place, &sim, "");
    let moves = |check: &Check| {
        if check.check == "calls" {
            sim.set_clock_offset(600);
        }
    };
    let_rest(&pipeline, RestKind::Denied).await;
    let url = sim.world(Gateway::Portals).shops[0].shop_id.clone();
    let text = std::fs::read_to_string(place.path().join("pipeline.toml")).unwrap();
    let text = Regex::new("shops = .*").unwrap().replace(&text, format!("shops = [\"{url}\"]")).into_owned();
    let pipeline = load(&place.write("pipeline.toml", text));
    let examined = examine_while(&pipeline, Calls::Few, &moves).await;
    let count = examined.endpoint("count");
    assert_eq!(count.status, Status::Warning, "{count:?}");
    assert!(count.todo.as_ref().unwrap().contains("this machine's time"), "{count:?}");
    assert_eq!(examined.one("signature").says, "accepted: `listing` was answered");
    assert_eq!((examined.one("clock").status, examined.code), (Status::Warning, 0));
    assert_eq!(examined.one("quota").status, Status::Ok, "that was no refusal: the account is awake");
    assert!(asked(&sim).values().all(|calls| *calls == 1), "nothing is asked twice: {:?}", asked(&sim));
}

#[tokio::test]
async fn a_dead_proxy_is_named_by_its_account_and_its_address_is_not_said() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    place.write("proxy", format!("http://user:pass-word@{free}"));
    let path = portals_file(&place, &sim, "");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("calls_per_day = 3000", "calls_per_day = 3000\nproxy = \"file:proxy\"");
    let examined = examine(&load(&place.write("pipeline.toml", text))).await;
    let network = examined.one("network");
    assert_eq!((network.about.as_str(), network.status), ("main", Status::Failed(Kind::Unavailable)));
    assert!(network.says.starts_with("the proxy does not answer: "), "{network:?}");
    let said = format!("{:?}", examined.checks);
    assert!(!said.contains(&free.to_string()) && !said.contains("pass-word"), "{said}");
    assert_eq!((asked(&sim), examined.code), (BTreeMap::new(), 75));
}

#[tokio::test]
async fn every_gateway_and_every_account_is_asked_once() {
    let keys = vec![Key::new("sim-app", 100), Key { denied: vec![Gateway::Portals], ..Key::new("sim-paid", 100) }];
    let (sim, place) = (sim::start(Options { keys, ..quick() }).await.unwrap(), Place::new());
    let details = format!(
        "[fetch]\ndetails = \"missing\"\ndetails_gateway = \"item-get\"\ndetails_url = \"{}\"\n\
         [[accounts]]\nname = \"details\"\ngateway = \"item-get\"\nlicence = \"company\"\n\
         credentials = {{ app_key = \"sim-app\", app_secret = \"env:SECRET\" }}\n\
         [[accounts]]\nname = \"second\"\nlicence = \"paid\"\n\
         credentials = {{ app_key = \"sim-paid\", app_secret = \"env:SECRET\" }}\n",
        sim.url(Gateway::ItemGet)
    );
    let examined = examine(&portals(&place, &sim, &details)).await;
    let lines: Vec<(&str, &str)> =
        examined.all("permission").iter().map(|check| (check.about.as_str(), check.status.name())).collect();
    let second = lines.iter().filter(|line| line.0 == "second");
    let says: Vec<&str> = second.map(|line| line.1).collect();
    assert!(says.contains(&"failed") && !says.contains(&"ok"), "{:#?}", examined.checks);
    assert!(lines.contains(&("details", "ok")) && lines.contains(&("main", "ok")), "{:#?}", examined.checks);
    let mut calls: BTreeMap<(String, String), usize> = BTreeMap::new();
    for entry in sim.journal() {
        *calls.entry((entry.app_key, entry.method)).or_default() += 1;
    }
    assert!(calls.values().all(|calls| *calls == 1) && calls.len() > 4, "{calls:?}");
    assert_eq!(examined.code, 1);
}

#[tokio::test]
async fn a_refresh_token_is_tried_and_its_token_kept_nowhere() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let item = sim.world(Gateway::Aop).shops[0].offers[0].offer_id;
    let path = place.pipeline_file(&sim, Gateway::Aop, &format!("items = [\"{item}\"]"));
    place.write("refresh", "sim-refresh");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("access_token = \"env:TOKEN\"", "refresh_token = \"file:refresh\"");
    let pipeline = load(&place.write("pipeline.toml", text));
    let examined = examine(&pipeline).await;
    assert_eq!((examined.one("token").status, examined.endpoint("item").status), (Status::Ok, Status::Ok));
    assert_eq!(examined.one("calls").says, "at most 3 calls as each account: token, time, item");
    assert_eq!(sim.journal().len(), 3);
    assert!(!format!("{:?}", examined.checks).contains("sim-token"));
    let state = huopan::state::open(&pipeline.state).await.unwrap();
    let today = huopan::base::time::beijing_day(huopan::base::Clock::now(&huopan::base::SystemClock));
    let counted: u64 = state.counts(today).await.unwrap().iter().map(|counted| counted.calls).sum();
    assert_eq!(counted, sim.journal().len() as u64, "the call for the token is counted as any other");
    place.write("refresh", "another-token");
    let examined = examine(&load(&path)).await;
    assert_eq!((examined.one("token").status, examined.code), (Status::Failed(Kind::Denied), 1));
    assert_eq!(examined.one("signature").says, "accepted: `time` was answered", "it needs no token");
    assert_eq!(examined.endpoint("item").says, "`item`: not asked, for there is no access token");
}

#[tokio::test]
async fn a_missing_token_is_no_wrong_signature() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let item = sim.world(Gateway::Aop).shops[0].offers[0].offer_id;
    let path = place.pipeline_file(&sim, Gateway::Aop, &format!("items = [\"{item}\"]"));
    let text = std::fs::read_to_string(&path).unwrap().replace(", access_token = \"env:TOKEN\"", "");
    let examined = examine(&load(&place.write("pipeline.toml", text))).await;
    assert_eq!((examined.one("signature").status, examined.code), (Status::Ok, 1), "{:#?}", examined.checks);
    let item = examined.endpoint("item");
    assert!(item.status == Status::Failed(Kind::Denied) && item.says.contains("`401`"), "{item:?}");
}

#[tokio::test]
async fn tls_where_none_is_spoken_is_a_wrong_address() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let text = std::fs::read_to_string(portals_file(&place, &sim, "")).unwrap();
    let examined = examine(&load(&place.write("pipeline.toml", text.replace("http://", "https://")))).await;
    let network = examined.one("network");
    assert_eq!((network.status, examined.code), (Status::Failed(Kind::Config), 1), "{network:?}");
    assert!(network.says.contains("speaks no TLS") && network.todo.as_ref().unwrap().contains("`url`"), "{network:?}");
    assert_eq!(asked(&sim), BTreeMap::new());
}

#[tokio::test]
async fn a_redis_that_is_not_there_counts_no_calls() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let path = portals_file(&place, &sim, "");
    let text = std::fs::read_to_string(&path).unwrap().replace("\"state.sqlite\"", &format!("\"redis://{free}\""));
    let examined = examine(&load(&place.write("pipeline.toml", text))).await;
    assert_eq!((examined.one("state").status, examined.code), (Status::Failed(Kind::Unavailable), 75));
    assert_eq!(asked(&sim), BTreeMap::new());
}

#[tokio::test]
async fn a_dead_port_is_no_reason_to_ask() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let path = portals_file(&place, &sim, "");
    let text = std::fs::read_to_string(&path).unwrap().replace(&sim.addr().to_string(), &free.to_string());
    std::fs::write(&path, text).unwrap();
    let examined = examine(&load(&path)).await;
    assert_eq!((examined.one("network").status, examined.code), (Status::Failed(Kind::Unavailable), 75));
    assert!(examined.one("network").says.starts_with(&format!("`{free}` does not answer: ")));
    assert_eq!(examined.one("calls").status, Status::Skipped);
    assert_eq!(examined.one("account").says, examined.one("quota").says, "nothing was counted");
}

#[tokio::test]
async fn a_mistyped_address_is_named_for_one_call() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let address = sim.url(Gateway::Portals).replace("/portals/", "/portal/");
    let pipeline = load(&place.pipeline_file_at(&address, Gateway::Portals, "shops = [\"2200733087881719\"]"));
    let examined = examine(&pipeline).await;
    let permission = examined.one("permission");
    assert_eq!((permission.status, examined.code), (Status::Failed(Kind::Config), 1), "{:#?}", examined.checks);
    assert!(permission.says.contains("HTTP 404"), "{permission:?}");
    let todo = permission.todo.as_ref().unwrap();
    assert!(todo.contains("correct `url`") && todo.contains("of endpoint `count`"), "{todo}");
    assert!(examined.one("quota").says.starts_with("1 of 3000 calls today"), "{:?}", examined.one("quota"));
}

#[tokio::test]
async fn a_gateway_that_answers_as_the_official_one_is_named() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    for gateway in [Gateway::Portals, Gateway::ItemGet, Gateway::ShopSearch] {
        let lines =
            if gateway == Gateway::ItemGet { "items = [\"712757874907\"]" } else { "shops = [\"2200733087881719\"]" };
        let address = format!("{}param2/1/system/currentTime/sim-app", sim.url(Gateway::Aop));
        let pipeline = load(&place.pipeline_file_at(&address, gateway, lines));
        let examined = examine(&pipeline).await;
        let signature = examined.one("signature");
        assert_eq!((signature.status, examined.code), (Status::Failed(Kind::Denied), 1), "{:#?}", examined.checks);
        assert!(signature.says.contains("`gw."), "{signature:?}");
        let todo = signature.todo.as_ref().unwrap();
        assert!(todo.contains("official gateway") && todo.contains("`gateway = \"aop\"`"), "{todo}");
    }
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_told_and_not_touched() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = portals(&place, &sim, "");
    let today = huopan::base::time::beijing_day(SystemClock.now());
    let counted = Counted { account: "sim-app".into(), scope: String::new(), day: today, calls: 3000 };
    open(&pipeline).await.correct(&counted).await.unwrap();
    let examined = examine(&pipeline).await;
    assert_eq!((examined.one("account").status, examined.code), (Status::Failed(Kind::Quota), 75));
    assert_eq!(examined.one("account").says, "3000 of 3000 calls today, 0 left");
    assert_eq!(examined.one("permission").says, "not asked: the account's calls of the day are used up");
    assert_eq!(asked(&sim), BTreeMap::new());
}

#[tokio::test]
async fn a_quota_that_the_gateway_says_is_used_up_ends_the_questions() {
    let keys = vec![Key::new("sim-app", 1)];
    let (sim, place) = (sim::start(Options { keys, ..quick() }).await.unwrap(), Place::new());
    let examined = examine(&portals(&place, &sim, "")).await;
    assert_eq!((examined.endpoint("count").status, examined.code), (Status::Failed(Kind::Quota), 75));
    assert_eq!(asked(&sim).into_values().sum::<usize>(), 2);
    assert!(examined.one("quota").says.contains("blocked until"), "{:?}", examined.one("quota"));
}

#[tokio::test]
async fn a_lake_that_cannot_be_written_is_no_place_for_answers() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = portals(&place, &sim, "");
    place.write("lake", "a file");
    let examined = examine(&pipeline).await;
    assert_eq!((examined.one("lake").status, examined.code), (Status::Failed(Kind::Config), 1));
    assert!(examined.one("lake").todo.is_some());
    assert_eq!(examined.one("network").status, Status::Ok);
    assert_eq!(examined.one("calls").status, Status::Skipped);
    assert_eq!(asked(&sim), BTreeMap::new());
}

#[tokio::test]
async fn a_damaged_state_file_counts_no_calls() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = portals(&place, &sim, "");
    place.write("state.sqlite", "SQLite format 3\0".to_owned() + &"damaged ".repeat(1000));
    let examined = examine(&pipeline).await;
    assert_eq!((examined.one("state").status, examined.code), (Status::Failed(Kind::Storage), 1));
    assert_eq!(examined.one("lake").status, Status::Ok);
    assert_eq!(asked(&sim), BTreeMap::new());
}

/// Lets the account rest for an hour.
async fn let_rest(pipeline: &Pipeline, kind: RestKind) {
    let until = SystemClock.now() + chrono::TimeDelta::hours(1);
    let rest = Rest { kind, until, reason: "`10003` no permission".into() };
    let Fingerprint { gateway, credentials } = Fingerprint::new(&pipeline.gateway, &pipeline.accounts[0]);
    let resting = Resting { scope: String::new(), gateway, credentials, rest };
    open(pipeline).await.rest("sim-app", &resting).await.unwrap();
}

#[tokio::test]
async fn an_answer_wakes_an_account_that_was_refused() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = portals(&place, &sim, "");
    let_rest(&pipeline, RestKind::Denied).await;
    let examined = examine(&pipeline).await;
    assert_eq!((examined.one("account").status, examined.code), (Status::Warning, 0), "{:#?}", examined.checks);
    assert!(examined.one("account").says.contains("denied until"));
    assert_eq!(examined.one("quota").status, Status::Ok);
    assert_eq!(open(&pipeline).await.accounts(SystemClock.now()).await.unwrap()[0].rests, []);
}

#[tokio::test]
async fn an_account_that_was_refused_goes_on_resting_when_nobody_answers() {
    let storm = sim::Storm { calls: None, retry_after: sim::RetryAfter::Absent };
    let (sim, place) = (sim::start(Options { storm: Some(storm), ..quick() }).await.unwrap(), Place::new());
    let pipeline = portals(&place, &sim, "");
    let_rest(&pipeline, RestKind::Denied).await;
    let examined = examine(&pipeline).await;
    assert_eq!(examined.endpoint("shop").status, Status::Warning);
    let rests = open(&pipeline).await.accounts(SystemClock.now()).await.unwrap()[0].rests.clone();
    assert_eq!(rests.len(), 1);
    assert_eq!(rests[0].rest.reason, "`10003` no permission");
}

#[tokio::test]
async fn an_account_without_calls_is_not_asked_and_not_woken() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = portals(&place, &sim, "");
    let_rest(&pipeline, RestKind::Quota).await;
    let examined = examine(&pipeline).await;
    assert_eq!((examined.one("account").status, examined.code), (Status::Failed(Kind::Quota), 75));
    assert_eq!(asked(&sim), BTreeMap::new());
    assert_eq!(open(&pipeline).await.accounts(SystemClock.now()).await.unwrap()[0].rests.len(), 1);
}

#[tokio::test]
async fn the_connection_test_of_aop_comes_first_and_proves_the_signature() {
    let key = Key { denied_methods: vec!["com.alibaba.product/alibaba.product.get".into()], ..Key::new("sim-app", 99) };
    let (sim, place) = (sim::start(Options { keys: vec![key], ..quick() }).await.unwrap(), Place::new());
    let item = sim.world(Gateway::Aop).shops[0].offers[0].offer_id;
    let pipeline = place.pipeline(&sim, Gateway::Aop, &format!("items = [\"{item}\"]"));
    let examined = examine(&pipeline).await;
    assert_eq!(examined.one("signature").says, "accepted: `time` was answered");
    assert_eq!((examined.endpoint("item").status, examined.code), (Status::Failed(Kind::Denied), 1));
    let methods: Vec<String> = sim.journal().into_iter().map(|entry| entry.method).collect();
    assert_eq!(methods, ["system/currentTime", "com.alibaba.product/alibaba.product.get"]);
}

#[tokio::test]
async fn an_account_without_wholesale_prices_lacks_b2b_data_permission() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let path = portals_file(&place, &sim, "");
    let definition = place.path().join("portals-at-once.toml");
    let hidden = "\n[offer]\nladder = \"/none\"\nchannel_price = \"/none\"\nmoq = \"/none\"\n";
    let text = std::fs::read_to_string(&definition).unwrap() + hidden;
    std::fs::write(&definition, text).unwrap();
    let examined = examine(&load(&path)).await;
    let wholesale = examined.one("wholesale");
    assert_eq!((wholesale.status, examined.code), (Status::Failed(Kind::Denied), 1));
    assert!(wholesale.todo.as_ref().unwrap().contains("B2B data permission"), "{wholesale:?}");
}

#[tokio::test]
async fn every_alert_gets_a_test_message() {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let ears = Arc::clone(&heard);
    let router = axum::Router::new().fallback(async move |body: String| ears.lock().unwrap().push(body));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let path = portals_file(&place, &sim, "");
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("\n[[alerts]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"file:address\"\non = [\"failed\"]\n");
    std::fs::write(&path, text).unwrap();
    place.write("address", format!("http://{address}/hook"));
    let examined = examine_with(&load(&path), Calls::None).await;
    assert_eq!((examined.one("alert").about.as_str(), examined.one("alert").status), ("ops", Status::Ok));
    let heard = heard.lock().unwrap().clone();
    let document: serde_json::Value = serde_json::from_str(&heard[0]).unwrap();
    assert_eq!((heard.len(), &document["kind"]), (1, &serde_json::json!("test")));
    server.abort();
}

#[tokio::test]
async fn captured_files_need_no_gateway() {
    let place = Place::new();
    place.write("answers/one.json", "{}");
    let pipeline = load(&place.write(
        "files.toml",
        "name = \"captured\"\ngateway = \"portals\"\n[files]\npaths = [\"answers/*.json\"]\n[lake]\nurl = \"lake\"\n[state]\nurl = \"state.sqlite\"\n",
    ));
    let examined = examine(&pipeline).await;
    let names: Vec<&str> = examined.checks.iter().map(|check| check.check).collect();
    assert_eq!((names, examined.code), (vec!["configuration", "lake"], 0));
}

#[tokio::test]
async fn a_doctor_whom_a_signal_stops_says_what_was_not_asked_and_to_try_again() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let cancel = CancellationToken::new();
    let stop = |check: &Check| {
        if check.check == "signature" {
            cancel.cancel();
        }
    };
    let examined = examine_until(&portals(&place, &sim, ""), Calls::Few, (cancel.clone(), &stop)).await;
    let said = examined.all("permission").into_iter().filter(|check| check.says.ends_with("stopped by a signal"));
    assert_eq!(said.map(|check| check.status.name()).collect::<Vec<_>>(), ["failed"], "{:#?}", examined.checks);
    assert_eq!((examined.code, sim.stats().calls), (75, 1));
}
