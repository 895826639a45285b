//! Watches: what a robot hears of the day just published, and of no other.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use chrono::NaiveDate;
use huopan::sim::{self, Gateway, Options, Sim};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::{Ended, Place, day, ended, huopan_with, quick, shop_lines, spawn};

/// A robot's group, and a relay's: all that was posted to an address of this machine.
#[derive(Debug, Clone)]
struct Receiver {
    heard: Arc<Mutex<Vec<(String, Value)>>>,
    /// What is answered.
    answer: Arc<Mutex<(u16, Value)>>,
    /// A permit for each answer that may be given.
    answers: Arc<Semaphore>,
}

async fn receive(
    State(receiver): State<Receiver>,
    uri: axum::http::Uri,
    body: String,
) -> (axum::http::StatusCode, String) {
    receiver.heard.lock().unwrap().push((uri.path().to_owned(), serde_json::from_str(&body).unwrap()));
    receiver.answers.acquire().await.unwrap().forget();
    let (status, answer) = receiver.answer.lock().unwrap().clone();
    (axum::http::StatusCode::from_u16(status).unwrap(), answer.to_string())
}

impl Receiver {
    async fn start() -> (Self, String) {
        let receiver = Self {
            heard: Arc::default(),
            answer: Arc::new(Mutex::new((200, json!({"errcode": 0, "errmsg": "ok"})))),
            answers: Arc::new(Semaphore::new(1_000_000)),
        };
        let router = axum::Router::new().fallback(receive).with_state(receiver.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (receiver, format!("http://{address}"))
    }

    /// What was posted to a path, and forgets everything.
    fn heard(&self, path: &str) -> Vec<Value> {
        let heard = std::mem::take(&mut *self.heard.lock().unwrap());
        heard.into_iter().filter(|(at, _)| at.starts_with(path)).map(|(_, body)| body).collect()
    }
}

const ALL: &str = "select dt, pipeline, shop_name, offer_id, old_price, new_price, change_pct from price_changes \
                   order by offer_id, sku_id, min_quantity";

struct Bench {
    place: Place,
    sim: Sim,
    file: PathBuf,
    receiver: Receiver,
    url: String,
}

/// A watch over all price changes that a robot and a webhook hear of.
fn watch(name: &str, sql: &str) -> String {
    format!("\n[[watches]]\nname = \"{name}\"\nsql = \"{sql}\"\nalert = [\"robot\", \"hook\"]\nrows = 3\n")
}

impl Bench {
    async fn new(watches: &str) -> Self {
        let (place, sim) = (Place::new(), sim::start(Options { shop_sizes: vec![120, 90], ..quick() }).await.unwrap());
        let (receiver, url) = Receiver::start().await;
        let file = place.pipeline_file(&sim, Gateway::Portals, &shop_lines(&sim.world(Gateway::Portals)));
        let alert = |name: &str, kind: &str| {
            format!(
                "\n[[alerts]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"env:{}\"\non = []\n",
                name.to_uppercase()
            )
        };
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text + &alert("robot", "wecom") + &alert("hook", "webhook") + watches).unwrap();
        Self { place, sim, file, receiver, url }
    }

    fn env(&self) -> [(&'static str, String); 3] {
        let (robot, hook) = (format!("{}/robot?key=token-S3cr3t", self.url), format!("{}/hook/token-S3cr3t", self.url));
        [("SECRET", "sim-secret".into()), ("ROBOT", robot), ("HOOK", hook)]
    }

    async fn huopan(&self, arguments: &[&str]) -> Ended {
        let env = self.env();
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let ended = huopan_with(self.place.path(), arguments, &env).await;
        assert!(!format!("{ended:?}").contains("S3cr3t"), "{ended:?}");
        ended
    }

    /// A night of the simulated world.
    async fn night(&self, dt: NaiveDate) -> Ended {
        self.sim.set_day(dt);
        let ended = self.huopan(&["run", "pipeline.toml", "--dt", &dt.to_string()]).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        ended
    }

    fn change(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.file).unwrap();
        assert!(text.contains(from), "no `{from}` in:\n{text}");
        std::fs::write(&self.file, text.replace(from, to)).unwrap();
    }

    async fn changes(&self, dt: NaiveDate) -> u64 {
        let sql = format!("select count(*) from price_changes where dt = '{dt}'");
        self.place.value(&sql).await.parse().unwrap()
    }
}

#[tokio::test]
async fn each_night_tells_the_changes_of_that_day_alone() {
    let bench = Bench::new(&watch("改价", ALL)).await;
    bench.night(day(17)).await;
    assert_eq!(bench.receiver.heard("/"), Vec::<Value>::new(), "there is no day before");
    for dt in [day(18), day(19), day(20)] {
        bench.night(dt).await;
        let heard = bench.receiver.heard.lock().unwrap().clone();
        assert_eq!(heard.len(), 2, "one message each: {heard:?}");
        let changes = bench.changes(dt).await;
        assert!(changes > 3, "the world is lively");
        let hook = bench.receiver.heard("/hook").remove(0);
        assert_eq!((&hook["kind"], &hook["dt"], &hook["pipeline"]), (&"watch".into(), &json!(dt), &"test".into()));
        let found = &hook["watch"];
        assert_eq!((&found["name"], &found["rows_total"]), (&"改价".into(), &changes.into()), "{hook}");
        let rows = found["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 3);
        assert!(rows.iter().all(|row| row[0] == dt.to_string() && row[1] == "test"), "{rows:?}");
        let first = bench.place.rows(&ALL.replace("order by", &format!("where dt = '{dt}' order by"))).await.remove(0);
        let number = |text: &str| text.parse::<f64>().unwrap();
        assert_eq!(number(rows[0][6].as_str().unwrap()), number(&first["change_pct"]), "{first:?}");
        let robot = heard.iter().find(|(path, _)| path == "/robot").unwrap().1["markdown"]["content"].clone();
        let robot = robot.as_str().unwrap();
        assert!(
            robot.starts_with(&format!("### huopan 货盘 · test · {dt} · 改价\n**共 {changes} 行**\n\ndt | pipeline")),
            "{robot}"
        );
        assert!(robot.ends_with(&format!("……另有 {} 行未列出（共 {changes}）", changes - 3)), "{robot}");
        // Nothing was published, nothing is told.
        bench.night(dt).await;
        assert_eq!(bench.receiver.heard("/"), Vec::<Value>::new());
    }
    // The same rows once more are no news; a replay is none either.
    assert_eq!(bench.huopan(&["run", "pipeline.toml", "--dt", "2026-11-20", "--refresh"]).await.code, 0);
    for dt in ["2026-11-18", "2026-11-20"] {
        assert_eq!(bench.huopan(&["replay", "pipeline.toml", "--dt", dt]).await.code, 0);
    }
    bench.night(day(20)).await;
    assert_eq!(bench.receiver.heard("/"), Vec::<Value>::new());
    // A day before the last one is history.
    assert_eq!(bench.huopan(&["run", "pipeline.toml", "--dt", "2026-11-18", "--refresh"]).await.code, 0);
    assert_eq!(bench.receiver.heard("/"), Vec::<Value>::new());
}

#[tokio::test]
async fn a_watch_looks_back_through_history_and_before() {
    let sql = |from: &str| format!("select count(distinct dt) as days, min(dt) as first from {from}");
    let days =
        [("public", "offers"), ("latest", "latest.offers"), ("before", "before.offers"), ("all", "history.offers")];
    let watches: String = days.iter().map(|(name, from)| watch(name, &sql(from))).collect();
    let bench = Bench::new(&watches).await;
    for dt in [day(18), day(19), day(20)] {
        bench.receiver.heard("/");
        bench.night(dt).await;
    }
    let heard = bench.receiver.heard("/hook");
    let rows: Vec<&Value> = heard.iter().map(|heard| &heard["watch"]["rows"][0]).collect();
    let today = json!(["1", "2026-11-20"]);
    assert_eq!(rows, [&today, &today, &today, &json!(["3", "2026-11-18"])]);
}

#[tokio::test]
async fn a_watch_that_fails_is_told_as_such_and_the_run_is_not_failed_by_it() {
    let watches = watch("broken", "select offer_id, 1 / (offer_id - offer_id) as x from offers") + &watch("fine", ALL);
    let bench = Bench::new(&watches).await;
    bench.night(day(19)).await;
    bench.receiver.heard("/");
    let ended = bench.night(day(20)).await;
    assert!(ended.stderr.contains("a watch could not be run") && ended.stderr.contains("broken"), "{ended:?}");
    let heard = bench.receiver.heard("/hook");
    let kinds: Vec<_> = heard.iter().map(|heard| (heard["kind"].clone(), heard["watch"]["name"].clone())).collect();
    assert_eq!(kinds, [(json!("watch_failed"), json!("broken")), (json!("watch"), json!("fine"))]);
    assert!(heard[0]["text"].as_str().unwrap().contains("divide by zero"), "{heard:?}");
}

#[tokio::test]
async fn a_message_that_was_not_delivered_is_told_at_the_next_start() {
    let bench = Bench::new(&watch("改价", ALL)).await;
    bench.night(day(19)).await;
    *bench.receiver.answer.lock().unwrap() = (200, json!({"errcode": 93_000, "errmsg": "invalid webhook url"}));
    let ended = bench.night(day(20)).await;
    assert!(ended.stderr.contains("alert was not delivered") && ended.stderr.contains("no such robot"), "{ended:?}");
    assert_eq!(bench.receiver.heard("/hook").len(), 1, "a webhook's answer is its status");
    // The robot is still gone; then it is back, and hears it once.
    bench.night(day(20)).await;
    assert_eq!(bench.receiver.heard("/hook").len(), 0, "it was told");
    *bench.receiver.answer.lock().unwrap() = (200, json!({"errcode": 0, "errmsg": "ok"}));
    bench.night(day(20)).await;
    let heard = bench.receiver.heard.lock().unwrap().clone();
    assert!(heard.len() == 1 && heard[0].0 == "/robot", "{heard:?}");
    assert!(heard[0].1["markdown"]["content"].as_str().unwrap().contains("2026-11-20 · 改价"), "{heard:?}");
    bench.receiver.heard("/");
    bench.night(day(20)).await;
    assert_eq!(bench.receiver.heard("/"), Vec::<Value>::new());
}

#[tokio::test]
async fn a_run_that_is_killed_before_its_message_is_told_of_by_the_next_start() {
    let bench = Bench::new(&watch("改价", ALL)).await;
    bench.night(day(19)).await;
    bench.receiver.heard("/");
    bench.receiver.answers.forget_permits(usize::MAX);
    bench.sim.set_day(day(20));
    let env = bench.env();
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut process = spawn(bench.place.path(), &["run", "pipeline.toml", "--dt", "2026-11-20"], &env);
    // Both are being told, and answer nothing.
    while bench.receiver.heard.lock().unwrap().len() < 2 {
        assert!(process.try_wait().unwrap().is_none(), "{:?}", ended(process).await);
        tokio::task::yield_now().await;
    }
    process.kill().await.unwrap();
    bench.receiver.heard("/");
    bench.receiver.answers.add_permits(1_000_000);
    let ended = bench.night(day(20)).await;
    assert!(ended.stdout.contains("is published already"), "{ended:?}");
    let heard = bench.receiver.heard.lock().unwrap().clone();
    let mut paths: Vec<&str> = heard.iter().map(|(path, _)| path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/hook/token-S3cr3t", "/robot"]);
}

#[tokio::test]
async fn check_and_doctor_find_a_slip_before_the_night_without_a_lake() {
    let bench = Bench::new(
        &(watch("cuts", "select * from price_chnages") + &watch("b", "select chnge_pct from price_changes")),
    )
    .await;
    for arguments in [&["check", "pipeline.toml"][..], &["doctor", "pipeline.toml", "--no-calls"]] {
        let ended = bench.huopan(arguments).await;
        assert_eq!(ended.code, 1, "{ended:?}");
        let said = format!("{}{}", ended.stdout, ended.stderr);
        for part in [
            "watch `cuts` (",
            "pipeline.toml:",
            "there is no table `price_chnages`",
            "did you mean `price_changes`?",
            "did you mean `change_pct`?",
        ] {
            assert!(said.contains(part), "`{part}` is not in: {said}");
        }
    }
    // Whatever else is wrong with the file does not hide it.
    let bare = crate::support::huopan_with(bench.place.path(), &["check", "pipeline.toml"], &[]).await;
    assert_eq!(bare.code, 1, "{bare:?}");
    for part in ["variable `SECRET` is not set", "variable `ROBOT` is not set", "watch `cuts` (", "watch `b` ("] {
        assert_eq!(bare.stderr.matches(part).count(), 1, "`{part}` in {bare:?}");
    }
    bench.change("price_chnages", "price_changes");
    bench.change("select chnge_pct from price_changes", "delete from offers");
    let ended = bench.huopan(&["check", "pipeline.toml"]).await;
    assert!(ended.code == 1 && ended.stderr.contains("only queries run here"), "{ended:?}");
    bench.change("delete from offers", "select * from price_at(500, '2026-11-01')");
    let ended = bench.huopan(&["check", "pipeline.toml"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[tokio::test]
async fn a_user_sees_what_would_be_sent_and_nobody_hears_it() {
    let bench = Bench::new(&(watch("改价", ALL) + &watch("none", "select 1 from offers where false"))).await;
    let ended = bench.huopan(&["watches", "pipeline.toml"]).await;
    assert!(ended.code == 1 && ended.stderr.contains("there is no lake"), "{ended:?}");
    for dt in [day(19), day(20)] {
        bench.night(dt).await;
    }
    bench.receiver.heard("/");
    let changes = bench.changes(day(20)).await;
    let ended = bench.huopan(&["watches", "pipeline.toml"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended
            .stdout
            .starts_with(&format!("as of 2026-11-20; no message is sent\n\n改价 → robot, hook: {changes} rows\n")),
        "{ended:?}"
    );
    assert!(ended.stdout.contains(&format!("  **共 {changes} 行**")), "{ended:?}");
    assert!(ended.stdout.ends_with("none → robot, hook: no rows, no message\n"), "{ended:?}");
    let bare = crate::support::huopan_with(bench.place.path(), &["watches", "pipeline.toml"], &[]).await;
    assert_eq!((bare.code, bare.stdout), (0, ended.stdout), "nobody is told, and no secret is needed");
    let ended = bench.huopan(&["watches", "pipeline.toml", "--dt", "2026-11-19", "--json"]).await;
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&document["dt"], &document["watches"][0]["message"]),
        (&"2026-11-19".into(), &Value::Null),
        "{document}"
    );
    let ended = bench.huopan(&["watches", "pipeline.toml", "--dt", "2026-11-01"]).await;
    assert!(ended.code == 1 && ended.stderr.contains("has published nothing for 2026-11-01"), "{ended:?}");
    assert_eq!(bench.receiver.heard("/"), Vec::<Value>::new());
}
