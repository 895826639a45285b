//! What is kept of the answers: every byte of them, and no secret.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use huopan::land::segment;
use huopan::sim::{self, Faults, Gateway, Key, Options, Sim};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::net::TcpListener;

use crate::support::{Ended, Place, day, huopan_with, item_lines, publish, quick, rows_of, shop_lines};

/// Stands in every secret of these tests, and nowhere else.
const NEEDLE: &[u8] = b"Hunter2";
const SECRET: &str = "s3cr3t-Hunter2+/=";
const TOKEN: &str = "t0ken-Hunter2";

/// Stands between huopan and the simulator, keeps what it passes on, and says a secret aloud in counts.
#[derive(Clone)]
struct Tap {
    to: String,
    client: reqwest::Client,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tap {
    async fn start(sim: &Sim) -> (Self, String) {
        let tap = Self { to: format!("http://{}", sim.addr()), client: reqwest::Client::new(), bodies: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(pass).with_state(tap.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (tap, address)
    }
}

async fn pass(State(tap): State<Tap>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let url = format!("{}{}", tap.to, parts.uri);
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let mut sent = tap.client.request(parts.method, &url).body(body);
    for name in ["content-type", "accept"] {
        if let Some(value) = parts.headers.get(name) {
            sent = sent.header(name, value);
        }
    }
    let answer = sent.send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for name in ["content-type", "retry-after", "date"] {
        if let Some(value) = answer.headers().get(name) {
            response = response.header(name, value);
        }
    }
    let mut body = answer.bytes().await.map_or_else(|_| b"{\"cut".to_vec(), |bytes| bytes.to_vec());
    if url.contains("items.count.get") {
        let debug = format!(r#","debug":"signed with {SECRET}"}}"#);
        body.truncate(body.iter().rposition(|&byte| byte == b'}').unwrap_or(body.len()));
        body.extend_from_slice(debug.as_bytes());
    }
    tap.bodies.lock().unwrap().push(body.clone());
    response.body(Body::from(body)).unwrap()
}

fn keys() -> Options {
    let key = Key { app_secret: SECRET.to_owned(), ..Key::new("sim-app", 10_000) };
    Options { keys: vec![key], access_token: TOKEN.to_owned(), shop_sizes: vec![30], ..quick() }
}

fn has_needle(bytes: &[u8]) -> bool {
    bytes.windows(NEEDLE.len()).any(|window| window.eq_ignore_ascii_case(NEEDLE))
}

/// Everything a lake holds, unpacked: files as they are, segments and Parquet files value by value.
fn leaks(place: &Place) -> Vec<String> {
    let mut leaks = Vec::new();
    let (mut segments, mut tables) = (0, 0);
    for path in place.lake_files() {
        let bytes = std::fs::read(&path).unwrap();
        let name = path.display().to_string();
        if has_needle(&bytes) {
            leaks.push(name.clone());
        }
        if name.ends_with(".seg") {
            segments += 1;
            for attempt in segment::decode(&bytes).unwrap() {
                let record = format!("{:?}", attempt.record);
                if has_needle(&attempt.body) || has_needle(record.as_bytes()) {
                    leaks.push(format!("{name}: {record}"));
                }
            }
        } else if name.ends_with(".parquet") {
            tables += 1;
            leaks.extend(parquet_leaks(&path).into_iter().map(|column| format!("{name}: {column}")));
        }
    }
    assert!(segments + tables > 0, "nothing was looked at");
    leaks
}

fn parquet_leaks(path: &Path) -> Vec<String> {
    let file = std::fs::File::open(path).unwrap();
    let mut leaks = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
        let batch = batch.unwrap();
        for row in rows_of(&batch) {
            leaks.extend(row.into_iter().filter(|(_, value)| has_needle(value.as_bytes())).map(|(name, _)| name));
        }
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            if *field.data_type() == DataType::Binary {
                let bodies = column.as_binary::<i32>();
                leaks.extend(bodies.iter().flatten().filter(|body| has_needle(body)).map(|_| field.name().clone()));
            }
        }
    }
    leaks
}

/// The bodies of `raw_pages` with their digests and whether something was masked in them.
async fn kept(place: &Place) -> Vec<(Vec<u8>, String, bool)> {
    let session = huopan::query::Session::at(&place.lake(), &huopan::query::Options::default()).await.unwrap();
    let answer = session.sql("select cast(body as bytea) as body, digest, redacted from raw_pages").await.unwrap();
    let mut kept = Vec::new();
    for batch in answer.collect().await.unwrap() {
        let bodies = arrow::compute::cast(&batch.columns()[0], &DataType::Binary).unwrap();
        let digests = arrow::compute::cast(&batch.columns()[1], &DataType::Utf8).unwrap();
        let (bodies, digests) = (bodies.as_binary::<i32>(), digests.as_string::<i32>());
        let redacted = batch.columns()[2].as_boolean();
        for row in 0..batch.num_rows() {
            kept.push((bodies.value(row).to_vec(), digests.value(row).to_owned(), redacted.value(row)));
        }
    }
    kept
}

#[tokio::test]
async fn raw_pages_hold_every_answer_byte_for_byte_but_for_secrets() {
    let sim = sim::start(Options { faults: Faults::Heavy, shop_sizes: vec![20], ..keys() }).await.unwrap();
    let (place, (tap, address)) = (Place::new(), Tap::start(&sim).await);
    let url = sim.url(Gateway::Portals).replace(&tap.to, &address);
    let lines = format!("{}\n[fetch]\nskus = \"all\"", shop_lines(&sim.world(Gateway::Portals)));
    let file = place.pipeline_file_at(&url, Gateway::Portals, &lines);
    let env = |_: &str| Some(SECRET.to_owned());
    let pipeline = huopan::config::load_pipeline(&file, &env).unwrap();
    publish(&pipeline, day(20)).await;
    let mut sent: BTreeMap<String, usize> = BTreeMap::new();
    let mut spoken = 0;
    for body in tap.bodies.lock().unwrap().iter() {
        let masked = String::from_utf8_lossy(body).replace(SECRET, &"*".repeat(SECRET.len()));
        let masked = if has_needle(body) { masked.into_bytes() } else { body.clone() };
        spoken += usize::from(has_needle(body));
        *sent.entry(segment::digest(&masked)).or_default() += 1;
    }
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    let mut redacted = 0;
    for (body, digest, is_redacted) in kept(&place).await {
        assert_eq!(segment::digest(&body), digest);
        *found.entry(digest).or_default() += 1;
        redacted += usize::from(is_redacted);
    }
    assert_eq!(found, sent);
    assert_eq!(redacted, spoken);
    assert!(spoken > 0 && sent.len() > 30, "{spoken} secrets in {} bodies", sent.len());
    let gbk = tap.bodies.lock().unwrap().iter().filter(|body| std::str::from_utf8(body).is_err()).count();
    assert!(gbk > 0, "no body was anything but UTF-8");
    assert_eq!(leaks(&place), Vec::<String>::new());
}

/// Runs the binary with all logs on and looks for secrets in what it said and kept.
async fn run_loudly(place: &Place) -> Ended {
    let env = [("SECRET", SECRET), ("TOKEN", TOKEN), ("HUOPAN_LOG", "trace")];
    let ended = huopan_with(place.path(), &["-vv", "run", "pipeline.toml"], &env[..2]).await;
    // Not only what -vv shows: also what other crates would say about a request.
    let traced = huopan_with(place.path(), &["run", "pipeline.toml", "--refresh"], &env).await;
    assert!(traced.stderr.len() > ended.stderr.len());
    for text in [&ended.stdout, &ended.stderr, &traced.stdout, &traced.stderr] {
        let line = text.lines().find(|line| has_needle(line.as_bytes()));
        assert_eq!(line, None);
    }
    assert_eq!(leaks(place), Vec::<String>::new());
    ended
}

#[tokio::test]
async fn no_secret_is_in_the_lake_or_in_what_is_said_of_a_good_run() {
    let sim = sim::start(Options { faults: Faults::Light, ..keys() }).await.unwrap();
    for gateway in Gateway::ALL {
        let (place, world) = (Place::new(), sim.world(gateway));
        let listed = matches!(gateway, Gateway::Portals | Gateway::ShopSearch);
        place.pipeline_file(&sim, gateway, &if listed { shop_lines(&world) } else { item_lines(&world) });
        let ended = run_loudly(&place).await;
        assert_eq!(ended.code, 0, "{}: {}", gateway.name(), ended.stderr);
    }
}

#[tokio::test]
async fn no_secret_is_said_when_a_reseller_whose_addresses_are_secrets_cannot_be_reached() {
    let place = Place::new();
    // Nobody listens on a port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    place.write("mine.toml", "extends = \"onebound\"\nname = \"onebound\"\n[limits]\nattempts_max = 2\npause_seconds = { success = 0, failure = 0, throttle = 0 }\n");
    place.write(
        "pipeline.toml",
        format!(
            "name = \"test\"\ngateway = \"./mine.toml\"\nurl = \"http://127.0.0.1:{port}/\"\nitems = [\"712757874907\"]\n\
             [[accounts]]\nname = \"main\"\ncredentials = {{ key = \"k\", secret = \"env:SECRET\" }}\ncalls_per_day = 100\n\
             [lake]\nurl = \"lake\"\n[state]\nurl = \"state.sqlite\"\n"
        ),
    );
    let ended = run_loudly(&place).await;
    assert!(ended.code == 75 || ended.code == 3, "{ended:?}");
    assert!(ended.stderr.contains("127.0.0.1"), "what could not be reached is said: {}", ended.stderr);
}
