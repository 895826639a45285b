//! The numbers of a run, for those who watch machines: read as strictly as Prometheus and a collector read them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use huopan::sim::{self, Gateway, RetryAfter, Storm};
use serde_json::{Value, json};

use crate::support::{Place, huopan_with, quick, shop_lines};

/// A sample: its name, its labels, its value.
type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// Labels in braces, as the text format escapes them, and what follows.
fn labels(mut rest: &str) -> (BTreeMap<String, String>, &str) {
    let mut labels = BTreeMap::new();
    loop {
        let (name, after) = rest.split_once("=\"").unwrap();
        assert!(is_name(name), "`{name}`");
        let (mut value, mut letters) = (String::new(), after.char_indices());
        let end = loop {
            match letters.next().unwrap() {
                (at, '"') => break at,
                (_, '\\') => value.push(match letters.next().unwrap().1 {
                    'n' => '\n',
                    letter @ ('"' | '\\') => letter,
                    other => panic!("`\\{other}` is no escape"),
                }),
                (_, letter) => value.push(letter),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "label `{name}` twice");
        rest = &after[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels, rest.strip_prefix('}').unwrap()),
        }
    }
}

/// The text format 0.0.4, strictly: HELP and TYPE once and before the samples, the samples of a metric together, none
/// twice, a line feed at the end.
fn parse(text: &str) -> Samples {
    assert!(text.ends_with('\n') && !text.contains('\r') && !text.contains("\n\n"));
    let (mut samples, mut done, mut current) = (Samples::new(), BTreeSet::new(), None::<(String, bool)>);
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(is_name(name) && !words.is_empty() && done.insert(name.to_owned()), "{line}");
            current = Some((name.to_owned(), false));
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, is_typed) = current.as_mut().unwrap();
            assert_eq!(kind, format!("{name} gauge"));
            *is_typed = true;
        } else {
            let (name, rest) = line.split_once('{').unwrap();
            assert_eq!(current.as_ref().unwrap(), &(name.to_owned(), true), "{line}");
            let (labels, value) = labels(rest);
            let value = value.strip_prefix(' ').unwrap();
            assert!(!value.contains(' '), "the textfile collector takes no timestamps: {line}");
            assert!(samples.insert((name.to_owned(), labels), value.parse().unwrap()).is_none(), "{line}");
        }
    }
    samples
}

fn labelled(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[track_caller]
fn of(samples: &Samples, name: &str, more: &[(&str, &str)]) -> f64 {
    let labels = labelled(&[&[("pipeline", "test")], more].concat());
    *samples.get(&(name.to_owned(), labels)).unwrap_or_else(|| panic!("no `{name}` {more:?} in {samples:?}"))
}

fn status(samples: &Samples) -> String {
    let is = samples.iter().filter(|((name, _), value)| name == "huopan_run_status" && **value == 1.0);
    let statuses: Vec<_> = is.map(|((_, labels), _)| labels["status"].clone()).collect();
    assert_eq!(statuses.len(), 1, "{samples:?}");
    statuses[0].clone()
}

struct Bench {
    place: Place,
    sim: sim::Sim,
    secret: &'static str,
}

impl Bench {
    async fn new(metrics: &str) -> Self {
        let (place, sim) = (Place::new(), sim::start(quick()).await.unwrap());
        let file = place.pipeline_file(&sim, Gateway::Portals, &shop_lines(&sim.world(Gateway::Portals)));
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text + "\n[metrics]\n" + metrics).unwrap();
        Self { place, sim, secret: "sim-secret" }
    }

    async fn run(&self, more: &[&str]) -> (i32, String) {
        let env = [("SECRET", self.secret), ("OTLP_HEADERS", "Authorization=Bearer%20token-S3cr3t")];
        let ended = huopan_with(self.place.path(), &[&["run", "pipeline.toml"], more].concat(), &env).await;
        assert!(!format!("{ended:?}").contains("S3cr3t"), "{ended:?}");
        (ended.code, ended.stderr)
    }

    fn samples(&self) -> Samples {
        parse(&std::fs::read_to_string(self.place.path().join("metrics/test.prom")).unwrap())
    }
}

const TEXTFILE: &str = "textfile = \"metrics/test.prom\"\n";

#[tokio::test]
async fn the_numbers_of_a_run_are_those_of_its_row_and_the_ledger() {
    let bench = Bench::new(TEXTFILE).await;
    assert_eq!(bench.run(&[]).await.0, 0);
    let samples = bench.samples();
    assert_eq!(status(&samples), "published");
    let row = bench.place.rows("select * from runs").await.remove(0);
    for (name, column) in [
        ("huopan_run_records_received", "received"),
        ("huopan_run_records_loaded", "loaded"),
        ("huopan_run_records_duplicate", "duplicates"),
        ("huopan_run_records_quarantined", "quarantined"),
        ("huopan_run_offers_carried", "carried"),
        ("huopan_run_calls_used", "calls_used"),
        ("huopan_run_calls_saved", "calls_saved"),
        ("huopan_run_calls_retried", "retries"),
        ("huopan_run_calls_throttled", "throttles"),
        ("huopan_run_received_bytes", "bytes_received"),
        ("huopan_run_publish_sequence", "publish_seq"),
    ] {
        assert_eq!(of(&samples, name, &[]), row[column].parse::<f64>().unwrap(), "{name}");
    }
    assert!(of(&samples, "huopan_run_records_loaded", &[]) > 90.0);
    let calls = bench.sim.stats().calls as f64;
    let account = [("account", "main"), ("scope", "")];
    assert_eq!(of(&samples, "huopan_account_calls_used", &account), calls);
    assert_eq!(of(&samples, "huopan_account_calls_left", &account), 3000.0 - calls);
    assert_eq!((of(&samples, "huopan_shops", &[]), of(&samples, "huopan_shops_incomplete", &[])), (2.0, 0.0));
    let time = |name: &str| of(&samples, &format!("huopan_run_{name}_timestamp_seconds"), &[]);
    assert!(time("start") > 1.7e9 && time("end") >= time("start"));
    assert_eq!((time("last_published"), time("last_complete")), (time("end"), time("end")));
    // A start that does nothing leaves the numbers of the run that did.
    assert_eq!(bench.run(&[]).await.0, 0);
    assert_eq!(bench.samples(), samples);
    // Only the file itself is there: no half-written one.
    let names: Vec<_> = std::fs::read_dir(bench.place.path().join("metrics")).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[tokio::test]
async fn a_run_that_failed_says_so_and_when_the_last_one_succeeded() {
    let mut bench = Bench::new(TEXTFILE).await;
    assert_eq!(bench.run(&[]).await.0, 0);
    let before = bench.samples();
    bench.secret = "not-the-secret";
    assert_eq!(bench.run(&["--refresh"]).await.0, 1);
    let samples = bench.samples();
    assert_eq!(status(&samples), "failed");
    let last = |samples: &Samples, what| of(samples, &format!("huopan_run_last_{what}_timestamp_seconds"), &[]);
    assert_eq!(last(&samples, "complete"), last(&before, "complete"));
    assert_eq!((of(&samples, "huopan_run_records_loaded", &[]), of(&samples, "huopan_shops", &[])), (0.0, 2.0));
    // A lake that cannot even be opened: what was known of the last success stays.
    let lake = bench.place.lake();
    std::fs::rename(&lake, bench.place.path().join("away")).unwrap();
    std::fs::write(&lake, "no folder").unwrap();
    assert_eq!(bench.run(&[]).await.0, 1);
    let samples = bench.samples();
    assert_eq!(status(&samples), "failed");
    assert_eq!(last(&samples, "published"), last(&before, "published"));
    assert!(!samples.keys().any(|(name, _)| name == "huopan_run_records_loaded"), "nothing is known of it");
    std::fs::remove_file(&lake).unwrap();
    std::fs::rename(bench.place.path().join("away"), &lake).unwrap();
}

#[tokio::test]
async fn an_incomplete_shop_and_a_throttled_night_are_in_the_numbers() {
    let bench = Bench::new(TEXTFILE).await;
    bench.sim.set_storm(Some(Storm { calls: Some(2), retry_after: RetryAfter::Seconds(0) }));
    let file = bench.place.path().join("pipeline.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("shops = [", "shops = [\"b2b-404\", ");
    std::fs::write(&file, text).unwrap();
    assert_eq!(bench.run(&[]).await.0, 3);
    let samples = bench.samples();
    assert_eq!(status(&samples), "published_incomplete");
    assert_eq!((of(&samples, "huopan_shops", &[]), of(&samples, "huopan_shops_incomplete", &[])), (3.0, 1.0));
    assert!(
        of(&samples, "huopan_run_calls_throttled", &[]) > 0.0 && of(&samples, "huopan_run_calls_retried", &[]) > 0.0
    );
    assert!(!samples.keys().any(|(name, _)| name == "huopan_run_last_complete_timestamp_seconds"), "none was");
}

/// What a collector has heard: path, headers, body.
#[derive(Debug, Clone, Default)]
struct Collector {
    heard: Arc<Mutex<Vec<(String, HeaderMap, Value)>>>,
    answers: Arc<Mutex<Vec<(u16, Value)>>>,
}

async fn collect(
    State(collector): State<Collector>,
    uri: axum::http::Uri,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    let heard = (uri.path().to_owned(), headers, serde_json::from_str(&body).unwrap());
    collector.heard.lock().unwrap().push(heard);
    let mut answers = collector.answers.lock().unwrap();
    let (status, answer) = if answers.is_empty() { (200, json!({"partialSuccess": {}})) } else { answers.remove(0) };
    (StatusCode::from_u16(status).unwrap(), answer.to_string())
}

#[tokio::test]
async fn a_collector_gets_the_same_numbers_as_otlp() {
    let collector = Collector::default();
    let router = axum::Router::new().fallback(collect).with_state(collector.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let otlp = format!("{TEXTFILE}otlp = \"http://{address}\"\notlp_headers = \"env:OTLP_HEADERS\"\n");
    let bench = Bench::new(&otlp).await;
    // Busy once: it is asked again.
    *collector.answers.lock().unwrap() = vec![(503, json!({}))];
    assert_eq!(bench.run(&[]).await.0, 0);
    let heard = std::mem::take(&mut *collector.heard.lock().unwrap());
    assert_eq!(heard.len(), 2);
    let (path, headers, body) = &heard[1];
    assert_eq!((path.as_str(), &headers["content-type"]), ("/v1/metrics", &"application/json".parse().unwrap()));
    assert_eq!(headers["authorization"], "Bearer token-S3cr3t");
    let resource = &body["resourceMetrics"][0];
    assert_eq!(
        resource["resource"]["attributes"][0],
        json!({"key": "service.name", "value": {"stringValue": "huopan"}})
    );
    let mut sent = Samples::new();
    for metric in resource["scopeMetrics"][0]["metrics"].as_array().unwrap() {
        assert!(metric["description"].is_string() && metric["unit"].is_string(), "{metric}");
        for point in metric["gauge"]["dataPoints"].as_array().unwrap() {
            let nanos: i64 = point["timeUnixNano"].as_str().unwrap().parse().unwrap();
            assert!(nanos > 1_700_000_000_000_000_000, "{nanos}");
            let label = |label: &Value| {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                (text(&label["key"]), text(&label["value"]["stringValue"]))
            };
            let labels = point["attributes"].as_array().unwrap().iter().map(label).collect();
            let name = metric["name"].as_str().unwrap().to_owned();
            sent.insert((name, labels), point["asDouble"].as_f64().unwrap());
        }
    }
    assert_eq!(sent, bench.samples());
    // What it refuses, in whole or in part, is said, and fails nothing.
    for (answer, says) in [
        ((401, json!({})), "the collector answered HTTP 401 (1 of 3 tries)"),
        (
            (200, json!({"partialSuccess": {"rejectedDataPoints": "3", "errorMessage": "no token-S3cr3t"}})),
            "the collector rejected 3 of the metrics",
        ),
    ] {
        *collector.answers.lock().unwrap() = vec![answer];
        let (code, stderr) = bench.run(&[]).await;
        assert_eq!(code, 0, "{stderr}");
        assert!(stderr.contains("metrics could not be sent") && stderr.contains(says), "{stderr}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_fails_nothing() {
    let bench = Bench::new("textfile = \"pipeline.toml/test.prom\"\n").await;
    let (code, stderr) = bench.run(&[]).await;
    assert!(code == 0 && stderr.contains("metrics could not be written"), "{stderr}");
}
