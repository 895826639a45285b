//! The crash matrix: a fault at every single operation of a night on its lake, one at a time; a clean start after it
//! gives the tables of the undisturbed night, on disk and on a bucket.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use huopan::base::SystemClock;
use huopan::config::location::Location;
use huopan::config::{Pipeline, load_pipeline};
use huopan::extract::progress::Silent;
use huopan::run::{Options as RunOptions, Outcome, Surroundings, run_days};
use huopan::sim::{Gateway, Sim};
use huopan::store::{Bucket, Store};
use huopan::transform::contract::Table;
use tokio_util::sync::CancellationToken;

use crate::faults::{Fault, Faults, FaultyFolder, FaultyObjects};
use crate::s3_server::{BUCKET, S3Server};
use crate::support::{self, Place, Row, day};

/// Points that run at once.
const AT_ONCE: usize = 4;
/// Every way to fail.
const FAULTS: [Fault; 6] =
    [Fault::ErrorBefore, Fault::ErrorAfter, Fault::CrashBefore, Fault::CrashAfter, Fault::Torn, Fault::StaleList];

/// What a lake says in the end: pictures of the day, rows per table by its Delta log and by the publish log.
#[derive(Debug, PartialEq)]
struct Said {
    content: BTreeMap<&'static str, Vec<Row>>,
    pictures: BTreeMap<String, usize>,
    raw: Vec<Row>,
}

/// One kind of lake, with a night in it, to be copied for every point.
enum Base {
    Folder(Place),
    Bucket(S3Server),
}

/// A copy of a base.
struct Copy {
    place: Place,
    server: Option<S3Server>,
    lake: Store,
}

impl Copy {
    /// Whoever held the lease is dead, as after a crash: the test itself lives on.
    fn bury_holder(&self) {
        let Some(server) = &self.server else { return };
        let file = server.file("lake/_huopan/locks/test.lock");
        let Ok(text) = std::fs::read_to_string(&file) else { return };
        let mut lease: serde_json::Value = serde_json::from_str(&text).unwrap();
        if let Some(started) = lease["process"]["started"].as_u64() {
            lease["process"]["started"] = (started + 1).into();
            std::fs::write(&file, lease.to_string()).unwrap();
        }
    }
}

impl Base {
    async fn copy(&self, pipeline: &str) -> Copy {
        let place = Place::new();
        place.write("pipeline.toml", pipeline);
        let (server, lake) = match self {
            Base::Folder(base) => {
                support::copy(&base.lake(), &place.lake());
                (None, place.store())
            }
            Base::Bucket(base) => {
                let server = S3Server::start().await;
                support::copy(&base.bucket(), &server.bucket());
                let lake = bucket(&server).await;
                (Some(server), lake)
            }
        };
        Copy { place, server, lake }
    }
}

async fn bucket(server: &S3Server) -> Store {
    let env = |name: &str| server.variable(name);
    let location = Location::parse(&format!("s3://{BUCKET}/lake"), Path::new("/"), &env).unwrap();
    Store::writable(&location).await.unwrap()
}

fn faulty(copy: &Copy, faults: &Arc<Faults>) -> Store {
    if copy.server.is_none() {
        return FaultyFolder::lake(copy.lake.clone(), faults);
    }
    let objects = FaultyObjects { inner: copy.lake.root_object_store(), faults: Arc::clone(faults) };
    Store::over(Bucket::new(Arc::new(objects), "lake", copy.lake.url().clone()).unwrap())
}

async fn start(pipeline: &Pipeline, lake: &Store) -> huopan::base::Result<Outcome> {
    let around =
        Surroundings { clock: Arc::new(SystemClock), progress: &Silent, cancel: CancellationToken::new(), seed: 7 };
    let options = RunOptions { dt: Some(day(21)), ..RunOptions::default() };
    run_days(pipeline, Some(lake), options, &around, &mut Vec::new()).await
}

fn pipeline(copy: &Copy) -> Pipeline {
    load_pipeline(&copy.place.path().join("pipeline.toml"), &|_| Some("sim-secret".to_owned())).unwrap()
}

async fn said(lake: &Store) -> Said {
    let mut pictures = BTreeMap::new();
    for table in Table::ALL.into_iter().filter(|table| !table.is_journal()) {
        let rows = support::rows(lake, &format!("select count(*) as n from {table}")).await;
        let count: usize = rows[0]["n"].parse().unwrap();
        let delta = huopan::load::delta::open(lake, table).await.unwrap();
        assert_eq!(support::delta_rows(&delta), count, "{table} by its Delta log");
        pictures.insert(table.name().to_owned(), count);
    }
    let raw = "select request, http_status, digest from raw_pages where dt = '2026-11-21' order by request, digest";
    Said { content: support::content(lake, day(21)).await, pictures, raw: support::rows(lake, raw).await }
}

/// What came of a point, in the words of the table.
async fn point(base: &Base, text: &str, number: u64, fault: Fault, expected: &Said) -> Result<&'static str, String> {
    let copy = base.copy(text).await;
    let (faults, pipeline) = (Faults::at(number, fault), pipeline(&copy));
    let disturbed = start(&pipeline, &faulty(&copy, &faults)).await;
    let operations = faults.operations();
    let what = operations.get(usize::try_from(number).unwrap()).cloned().unwrap_or_default();
    copy.bury_holder();
    let clean = start(&pipeline, &copy.lake).await;
    if let Err(error) = clean {
        return Err(format!("{fault:?} at {number} ({what}): the clean start fails: {error}"));
    }
    let said = said(&copy.lake).await;
    if said != *expected {
        return Err(format!("{fault:?} at {number} ({what}): other tables; disturbed start: {disturbed:?}"));
    }
    Ok(if disturbed.is_ok() { "borne" } else { "made good" })
}

#[expect(clippy::print_stdout, reason = "the table of points is what the test is for")]
async fn matrix(base: Base, text: String, title: &str) {
    let undisturbed = base.copy(&text).await;
    let counting = Faults::none();
    start(&pipeline(&undisturbed), &faulty(&undisturbed, &counting)).await.unwrap();
    let expected = said(&undisturbed.lake).await;
    let operations = counting.operations();
    let mut table: BTreeMap<(Fault, &'static str), usize> = BTreeMap::new();
    let mut failures = Vec::new();
    for fault in FAULTS {
        let is = |number: &usize, verbs: &[&str]| verbs.iter().any(|verb| operations[*number].starts_with(verb));
        let fits = |number: &usize| match fault {
            Fault::StaleList => is(number, &["list"]),
            Fault::Torn => is(number, &["put", "create"]),
            // A read changes nothing: whether it fails before or after is the same.
            Fault::ErrorAfter | Fault::CrashAfter => !is(number, &["get", "list"]),
            Fault::ErrorBefore | Fault::CrashBefore => true,
        };
        let points = (0..operations.len()).filter(fits).map(|number| {
            let number = u64::try_from(number).unwrap();
            point(&base, &text, number, fault, &expected)
        });
        let ended: Vec<_> =
            futures::StreamExt::collect(futures::StreamExt::buffer_unordered(futures::stream::iter(points), AT_ONCE))
                .await;
        for ended in ended {
            match ended {
                Ok(how) => *table.entry((fault, how)).or_default() += 1,
                Err(failure) => failures.push(failure),
            }
        }
    }
    println!("{title}: {} operations of one night", operations.len());
    for ((fault, how), points) in &table {
        println!("  {:<14} {how:<10} {points:>5} points", format!("{fault:?}"));
    }
    assert!(failures.is_empty(), "{} points fail:\n{}", failures.len(), failures.join("\n"));
}

/// The night before, and the pipeline whose lake is copied with it.
async fn night_before(sim: &Sim, place: &Place) -> String {
    let lines = support::shop_lines(&sim.world(Gateway::Portals));
    let file = place.pipeline_file(sim, Gateway::Portals, &lines);
    let definition = std::fs::read_to_string(place.path().join("portals-at-once.toml")).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    // Copies stand alone: the definition goes into a folder that outlives them all.
    let definition = place.write("definition.toml", definition);
    text.replace("./portals-at-once.toml", definition.to_str().unwrap())
}

fn small() -> huopan::sim::Options {
    huopan::sim::Options { shop_sizes: vec![5, 4], ..support::quick() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_on_disk_survives_a_fault_at_every_operation() {
    let (sim, place) = (huopan::sim::start(small()).await.unwrap(), Place::new());
    let text = night_before(&sim, &place).await;
    support::publish(&support::load(&place.path().join("pipeline.toml")), day(20)).await;
    sim.set_day(day(21));
    matrix(Base::Folder(place), text, "on disk").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_on_a_bucket_survives_a_fault_at_every_operation() {
    let (sim, place) = (huopan::sim::start(small()).await.unwrap(), Place::new());
    let text = night_before(&sim, &place).await;
    let server = S3Server::start().await;
    let lake = bucket(&server).await;
    let around =
        Surroundings { clock: Arc::new(SystemClock), progress: &Silent, cancel: CancellationToken::new(), seed: 7 };
    let options = RunOptions { dt: Some(day(20)), ..RunOptions::default() };
    run_days(&support::load(&place.path().join("pipeline.toml")), Some(&lake), options, &around, &mut Vec::new())
        .await
        .unwrap();
    sim.set_day(day(21));
    matrix(Base::Bucket(server), text, "on a bucket").await;
}
