//! Who hears about a run: a local receiver and what reaches it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use huopan::sim::{self, Gateway, Key, Options, RetryAfter, Sim, Storm};
use serde_json::Value;

use crate::support::{Ended, Place, huopan_with, quick, shop_lines};

/// A path that nobody may see.
const SECRET_PATH: &str = "/robot/token-S3cr3t";

/// What a receiver has heard.
#[derive(Debug, Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Value>>>);

async fn receive(State(receiver): State<Receiver>, body: String) {
    receiver.0.lock().unwrap().push(serde_json::from_str(&body).unwrap());
}

impl Receiver {
    async fn start(&self) -> String {
        let router = axum::Router::new().fallback(receive).with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        format!("http://{address}{SECRET_PATH}")
    }

    fn heard(&self) -> Vec<Value> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// `kind: text` of each, and forgets them.
    fn told(&self) -> Vec<String> {
        let line = |heard: &Value| format!("{}: {}", heard["kind"].as_str().unwrap(), heard["text"].as_str().unwrap());
        self.heard().iter().map(line).collect()
    }
}

struct Bench {
    place: Place,
    sim: Sim,
    file: PathBuf,
    receiver: Receiver,
    url: String,
    secret: &'static str,
}

const ALL: &str = r#"on = ["failed", "incomplete", "quota", "denied", "published"]"#;

impl Bench {
    async fn new(options: Options, on: &str) -> Self {
        let (place, sim, receiver) = (Place::new(), sim::start(options).await.unwrap(), Receiver::default());
        let file = place.pipeline_file(&sim, Gateway::Portals, &shop_lines(&sim.world(Gateway::Portals)));
        let alerts = format!("\n[[alerts]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"env:ALERT_URL\"\n{on}\n");
        let text = std::fs::read_to_string(&file).unwrap() + &alerts;
        std::fs::write(&file, text).unwrap();
        let url = receiver.start().await;
        Self { place, sim, file, receiver, url, secret: "sim-secret" }
    }

    fn change(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.file).unwrap();
        assert!(text.contains(from), "no `{from}` in:\n{text}");
        std::fs::write(&self.file, text.replacen(from, to, 1)).unwrap();
    }

    async fn run(&self) -> Ended {
        self.run_with(&[]).await
    }

    async fn run_with(&self, more: &[&str]) -> Ended {
        let env = [("SECRET", self.secret), ("ALERT_URL", &*self.url)];
        let arguments = [&["run", "pipeline.toml", "--log", "json", "-v"], more].concat();
        let ended = huopan_with(self.place.path(), &arguments, &env).await;
        let port = self.url.split(['/', ':']).nth(4).unwrap();
        for part in ["S3cr3t", "robot", port] {
            assert!(!ended.stderr.contains(part) && !ended.stdout.contains(part), "`{part}` is said: {ended:?}");
        }
        ended
    }
}

#[tokio::test]
async fn a_published_day_is_told_once_and_only_to_those_who_asked() {
    for (on, expected) in [("", 0), (ALL, 1)] {
        let bench = Bench::new(quick(), on).await;
        assert_eq!(bench.run().await.code, 0);
        let heard = bench.receiver.heard();
        assert_eq!(heard.len(), expected, "{heard:?}");
        for heard in heard {
            assert_eq!((&heard["kind"], &heard["pipeline"]), (&"published".into(), &"test".into()), "{heard}");
            assert_eq!(heard["counts"]["calls"], bench.sim.stats().calls);
            assert!(heard["counts"]["loaded"].as_u64().unwrap() > 90, "{heard}");
            assert!(heard["run_id"].is_string() && heard["dt"].is_string(), "{heard}");
        }
        // Nothing was done, nothing is told.
        assert_eq!(bench.run().await.code, 0);
        assert_eq!(bench.receiver.told(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_incomplete_shop_is_told_with_its_reason() {
    let bench = Bench::new(quick(), "").await;
    bench.change("shops = [", "shops = [\"b2b-404\", ");
    assert_eq!(bench.run().await.code, 3);
    let heard = bench.receiver.heard();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(heard[0]["kind"], "incomplete");
    assert!(heard[0]["text"].as_str().unwrap().ends_with(": 1 of 3 shops are incomplete"), "{heard:?}");
    assert_eq!((&heard[0]["shops"][0]["shop_id"], &heard[0]["shops_total"]), (&"b2b-404".into(), &1.into()));
    assert!(heard[0]["shops"][0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{heard:?}");
}

#[tokio::test]
async fn a_day_that_looks_wrong_is_told_once_as_held_with_its_shops() {
    let bench = Bench::new(quick(), "").await;
    assert_eq!(bench.run().await.code, 0);
    let thin = sim::start(Options { shop_sizes: vec![20, 45], ..quick() }).await.unwrap();
    bench.change(&bench.sim.url(Gateway::Portals), &thin.url(Gateway::Portals));
    assert_eq!(bench.run_with(&["--refresh"]).await.code, 3);
    let heard = bench.receiver.heard();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!((&heard[0]["kind"], &heard[0]["shops_total"]), (&"held".into(), &1.into()), "{heard:?}");
    assert!(heard[0]["text"].as_str().unwrap().contains(" is held, nothing of it is published: shop `"), "{heard:?}");
    assert_eq!(heard[0]["shops"][0]["shop_id"], thin.world(Gateway::Portals).shops[0].shop_id);
    assert!(heard[0]["shops"][0]["reason"].as_str().unwrap().contains(" offers would be gone ("), "{heard:?}");
    // The next start says it to who starts it, not to everybody.
    assert_eq!(bench.run().await.code, 3);
    assert_eq!(bench.receiver.told(), Vec::<String>::new());
}

#[tokio::test]
async fn an_outage_is_told_as_a_failed_run() {
    let storm = Storm { calls: None, retry_after: RetryAfter::Seconds(0) };
    let bench = Bench::new(Options { storm: Some(storm), shop_sizes: vec![20], ..quick() }, "").await;
    bench.place.write(
        "portals-at-once.toml",
        "extends = \"portals\"\nname = \"portals\"\n[limits]\nattempts_max = 1\ncalls_per_second = 1000\n\
         pause_seconds = { success = 0, failure = 0, throttle = 0 }\n",
    );
    let ended = bench.run().await;
    assert_eq!(ended.code, 75, "{ended:?}");
    let told = bench.receiver.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("failed: ") && told[0].contains(" is not published: "), "{told:?}");
    // Two tries for the count and two for the first page, twice: of ten calls a day that is 80 %, which is told as well.
    assert_eq!(bench.sim.stats().calls, 4);
    bench.change("calls_per_day = 3000", "calls_per_day = 10");
    assert_eq!(bench.run().await.code, 75);
    let told = bench.receiver.told();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("quota: ") && told[0].ends_with("(8 of 10)"), "{told:?}");
    assert!(told[1].starts_with("failed: "), "{told:?}");
}

#[tokio::test]
async fn a_wrong_secret_is_told_once_as_denied() {
    let mut bench = Bench::new(quick(), "").await;
    bench.secret = "not-the-secret";
    assert_eq!(bench.run().await.code, 1);
    let told = bench.receiver.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("denied: ") && told[0].contains("10002"), "{told:?}");
}

#[tokio::test]
async fn quota_near_its_end_is_told_at_80_and_95_percent_and_when_it_ends() {
    // 2 counts and 20 pages; a day allows 20.
    let bench = Bench::new(Options { shop_sizes: vec![500, 300], mess_per_mille: 0, ..quick() }, "").await;
    bench.change("calls_per_day = 3000", "calls_per_day = 20");
    bench.change("name = \"test\"", "name = \"test\"\non_quota = \"continue\"");
    assert_eq!(bench.run().await.code, 75);
    let heard = bench.receiver.heard();
    let told: Vec<&str> = heard.iter().map(|heard| heard["text"].as_str().unwrap()).collect();
    assert!(heard.iter().all(|heard| heard["kind"] == "quota"), "{heard:?}");
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].ends_with("80 % of its calls of the day (16 of 20)"), "{told:?}");
    assert!(told[1].ends_with("95 % of its calls of the day (19 of 20)"), "{told:?}");
    assert!(told[2].ends_with("; the next start goes on"), "{told:?}");
    let quota = serde_json::json!([{"account": "main", "scope": "", "used": 16, "calls_per_day": 20, "left": 4}]);
    assert_eq!(heard[0]["quota"], quota);
    // Still nothing left: the start says that it ended, the marks were told.
    assert_eq!(bench.run().await.code, 75);
    let told = bench.receiver.told();
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test]
async fn how_much_is_used_is_told_once_a_day_whoever_used_it() {
    let bench = Bench::new(Options { shop_sizes: vec![60], ..quick() }, "").await;
    let set = async |calls: &str| {
        let arguments = ["accounts", "set", "main", "--calls", calls, "--pipeline", "pipeline.toml"];
        let env = [("SECRET", "sim-secret"), ("ALERT_URL", &*bench.url)];
        assert_eq!(huopan_with(bench.place.path(), &arguments, &env).await.code, 0);
    };
    let run = async |pipeline: &str| {
        let env = [("SECRET", "sim-secret"), ("ALERT_URL", &*bench.url)];
        let arguments = ["run", pipeline, "--refresh"];
        let ended = huopan_with(bench.place.path(), &arguments, &env).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        (bench.receiver.told(), ended.stderr.matches("of its calls of the day").count())
    };
    // Another program has passed the mark of 80 % of 3000.
    set("2500").await;
    // A pipeline that tells nobody says so in its log, and takes nothing from those that tell.
    let text = std::fs::read_to_string(&bench.file).unwrap().replace("name = \"test\"", "name = \"quiet\"");
    bench.place.write("quiet.toml", text.split("[[alerts]]").next().unwrap());
    assert_eq!(run("quiet.toml").await, (vec![], 1));
    let (told, said) = run("pipeline.toml").await;
    assert_eq!((told.len(), said), (1, 1), "{told:?}");
    assert!(told[0].contains("80 % of its calls of the day (250") && told[0].ends_with(" of 3000)"), "{told:?}");
    for pipeline in ["pipeline.toml", "pipeline.toml", "quiet.toml"] {
        assert_eq!(run(pipeline).await, (vec![], 0), "it was told");
    }
    // Nor is a receiver told twice because two pipelines name it.
    let text = std::fs::read_to_string(&bench.file).unwrap().replace("name = \"test\"", "name = \"third\"");
    bench.place.write("third.toml", text);
    assert_eq!(run("third.toml").await, (vec![], 1));
    // What was said was wrong, and the mark is passed once more.
    set("2399").await;
    assert_eq!(run("pipeline.toml").await, (vec![], 0), "on the same day");
    set("2900").await;
    let (told, said) = run("pipeline.toml").await;
    assert_eq!((told.len(), said), (1, 1), "{told:?}");
    assert!(told[0].contains("95 % of its calls of the day (2901 of 3000)"), "{told:?}");
}

#[tokio::test]
async fn a_refused_start_and_a_block_are_told_as_quota() {
    let bench = Bench::new(Options { shop_sizes: vec![500], ..quick() }, "").await;
    bench.change("calls_per_day = 3000", "calls_per_day = 5");
    assert_eq!(bench.run().await.code, 1);
    let told = bench.receiver.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("more than any day allows"), "{told:?}");
    // The gateway blocks an account whose licence it knows better.
    let keys = vec![Key::new("sim-app", 6)];
    let bench = Bench::new(Options { shop_sizes: vec![500], keys, ..quick() }, "").await;
    assert_eq!(bench.run().await.code, 75);
    let heard = bench.receiver.heard();
    assert!(!heard.is_empty() && heard.iter().all(|heard| heard["kind"] == "quota"), "{heard:?}");
    let blocked = heard.iter().filter(|heard| heard["text"].as_str().unwrap().starts_with("account `main` is "));
    assert_eq!(blocked.count(), 1, "{heard:?}");
}

#[tokio::test]
async fn a_receiver_that_is_dead_changes_nothing_about_the_run() {
    let mut bench = Bench::new(quick(), ALL).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    bench.url = format!("http://{}{SECRET_PATH}", listener.local_addr().unwrap());
    drop(listener);
    let ended = bench.run().await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("alert was not delivered"), "{ended:?}");
    assert_eq!(bench.place.value("select count(distinct shop_id) from shops").await, "2");
    assert_eq!(bench.receiver.told(), Vec::<String>::new());
}

#[tokio::test]
async fn what_keeps_a_run_from_starting_is_told_too() {
    let bench = Bench::new(quick(), "").await;
    bench.place.write("state.sqlite", "no state at all, but a text that somebody saved here");
    assert_eq!(bench.run().await.code, 1);
    let told = bench.receiver.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("failed: nothing is published: ") && told[0].contains("state.sqlite"), "{told:?}");
    assert_eq!(bench.sim.stats().calls, 0);
}

#[tokio::test]
async fn captured_files_tell_each_day_that_they_publish_and_the_one_that_fails() {
    let (place, receiver) = (Place::new(), Receiver::default());
    let url = receiver.start().await;
    place.write(
        "pipeline.toml",
        format!(
            "name = \"test\"\ngateway = \"portals\"\n[files]\npaths = [\"a.jsonl\"]\nanswer = \"/answer\"\n\
             fetched_at = \"/fetched_at\"\nshop_id = \"/shop_id\"\ndt_from = \"fetched_at\"\n[lake]\nurl = \"lake\"\n\
             [[alerts]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"env:ALERT_URL\"\n{ALL}\n"
        ),
    );
    let line = |day: u32, id: i64| {
        let items = serde_json::json!({"items": {"item": [{"item_id": id, "price": "3.50", "moq": "2件"}]}});
        let answer = serde_json::json!({"seller_items_list_get_response": items});
        serde_json::json!({"answer": answer, "shop_id": "b2b-1", "fetched_at": format!("2026-11-{day} 23:30:00")})
    };
    let lines = [line(18, 712_757_874_907), line(19, 712_757_874_908), line(20, 712_757_874_909)];
    place.write("a.jsonl", lines.map(|line| format!("{line}\n")).concat());
    let env = [("ALERT_URL", &*url)];
    huopan_with(place.path(), &["run", "pipeline.toml"], &env).await;
    let published = |told: &[String]| {
        let texts = told.iter().filter(|told| told.starts_with("published: "));
        texts.map(|text| text["published: ".len()..].split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(published(&receiver.told()), ["2026-11-18", "2026-11-19", "2026-11-20"]);
    // The second day's files cannot be written: the first stays told, the third is not begun.
    std::fs::remove_dir_all(place.lake().join("offers/dt=2026-11-19")).unwrap();
    place.write("lake/offers/dt=2026-11-19", "");
    place.leave_unwell();
    let ended = huopan_with(place.path(), &["run", "pipeline.toml"], &env).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stdout.starts_with("2026-11-18: published as number "), "{ended:?}");
    let told = receiver.told();
    assert_eq!(published(&told), ["2026-11-18"]);
    let failed: Vec<_> = told.iter().filter(|told| told.starts_with("failed: ")).collect();
    assert_eq!(failed.len(), 1, "{told:?}");
    assert!(failed[0].starts_with("failed: 2026-11-19 stays as it was published before: "), "{told:?}");
}
