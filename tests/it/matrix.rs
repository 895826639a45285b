//! The crash matrix: a fault at every single operation of a night on its lake, or of a command that changes the lake, one
//! at a time; a clean start after it gives the tables of the undisturbed one, on disk and on a bucket; then `verify` finds
//! nothing, and after a `vacuum` no file is left that nobody needs.
//!
//! All points take hours: `HUOPAN_MATRIX=whole cargo test --test it matrix:: -- --nocapture`; `HUOPAN_MATRIX=3/8` takes
//! the fourth part of eight that are all of them together (they count from 0). Without it, each fault meets one operation
//! of [`PARTS`], always the same ones. `HUOPAN_MATRIX_FAULTS=StaleList,StaleLists` injects these faults only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use chrono::{NaiveDate, TimeDelta};
use huopan::base::{Clock, Kind, Result, SystemClock};
use huopan::config::location::Location;
use huopan::config::pipeline::Keep;
use huopan::config::{Pipeline, load_pipeline};
use huopan::extract::progress::Silent;
use huopan::load::Snapshot;
use huopan::load::upkeep::alone;
use huopan::load::upkeep::optimize::Wanted;
use huopan::load::upkeep::sweep::{Lake, delete};
use huopan::load::verify::{Depth, verify};
use huopan::run::replay::{Asked, replay};
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
/// How long ago the lake that is copied was written.
const AGE_DAYS: u32 = 3;
/// Every way to fail. A timeout is an [`Fault::ErrorAfter`], `503 SlowDown` an [`Fault::ErrorBefore`].
const FAULTS: [Fault; 7] = [
    Fault::ErrorBefore,
    Fault::ErrorAfter,
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::Torn,
    Fault::StaleList,
    Fault::StaleLists,
];

/// Of so many points one is taken, unless others are asked for.
const PARTS: usize = 8;

/// Which part of how many parts of the points is taken.
#[expect(clippy::disallowed_methods, reason = "how long a test may take, is said to the test and to nothing else")]
fn part() -> (usize, usize) {
    let Ok(asked) = std::env::var("HUOPAN_MATRIX") else { return (0, PARTS) };
    let part = match asked.split_once('/') {
        None => (asked == "whole").then_some((0, 1)),
        Some((part, parts)) => part.parse().ok().zip(parts.parse().ok()).filter(|(part, parts)| part < parts),
    };
    assert!(part.is_some(), "HUOPAN_MATRIX is `whole`, or a part of the points as `3/8`, not `{asked}`");
    part.unwrap()
}

/// The faults that are injected.
#[expect(clippy::disallowed_methods, reason = "how long a test may take, is said to the test and to nothing else")]
fn faults() -> Vec<Fault> {
    let Ok(asked) = std::env::var("HUOPAN_MATRIX_FAULTS") else { return FAULTS.to_vec() };
    let named = |name: &str| FAULTS.into_iter().find(|fault| format!("{fault:?}") == name);
    let named =
        asked.split(',').map(|name| named(name).unwrap_or_else(|| panic!("`{name}` is no fault of {FAULTS:?}")));
    named.collect()
}

/// What a lake says in the end.
#[derive(Debug, PartialEq)]
struct Said {
    /// The day's pictures.
    content: BTreeMap<&'static str, Vec<Row>>,
    raw: Vec<Row>,
    /// Rows per table once the lake was kept up: by the publish log and by the Delta logs.
    rows: BTreeMap<&'static str, (usize, usize)>,
    /// Files that nobody needs and no vacuum took, without what the test may have no say in: locks, names of runs.
    left: BTreeSet<String>,
}

/// What is disturbed, and what has to follow it before the day is published.
struct Night {
    title: &'static str,
    base: Base,
    text: String,
    /// The day whose tables are compared.
    dt: NaiveDate,
    work: Work,
    and_then: Option<RunOptions>,
}

/// What is done to a lake.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// A start of the pipeline.
    Run(RunOptions),
    /// `huopan lake optimize`
    Optimize,
    /// `huopan lake vacuum --yes`
    Vacuum,
    /// `huopan replay`
    Replay(NaiveDate),
}

impl Work {
    async fn on(self, pipeline: &Pipeline, lake: &Store) -> Result<()> {
        let (now, name) = (SystemClock.now(), &pipeline.name);
        match self {
            Self::Run(options) => start(pipeline, lake, options).await.map(drop),
            Self::Optimize => {
                alone::optimize(lake, name, &Wanted::default(), now).await?;
                huopan::load::delta::keep_up(lake).await.map(drop)
            }
            Self::Vacuum => {
                let listed = Lake::list(lake).await?;
                alone::vacuum(lake, name, pipeline.lake.keep, now).await?;
                delete(lake, &listed.common(pipeline.lake.keep, now)).await
            }
            Self::Replay(dt) => {
                let asked = Asked { from: dt, to: dt, dry_run: false, stopped: false };
                replay(pipeline, Some(lake), asked, &around()).await.map(drop)
            }
        }
    }
}

impl Night {
    fn is_anyway(&self) -> bool {
        matches!(self.work, Work::Run(options) if options.publish_anyway)
    }
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
        // Each point is verified where it can tell which it was.
        place.leave_unwell();
        place.write("pipeline.toml", pipeline);
        let (server, lake) = match self {
            Base::Folder(base) => {
                support::copy(&base.lake(), &place.lake());
                support::age(&place.lake(), AGE_DAYS);
                (None, place.store())
            }
            Base::Bucket(base) => {
                let server = S3Server::start().await;
                support::copy(&base.bucket(), &server.bucket());
                support::age(&server.bucket(), AGE_DAYS);
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

fn around() -> Surroundings<'static> {
    Surroundings { clock: Arc::new(SystemClock), progress: &Silent, cancel: CancellationToken::new(), seed: 7 }
}

async fn start(pipeline: &Pipeline, lake: &Store, options: RunOptions) -> Result<Outcome> {
    run_days(pipeline, Some(lake), options, &around(), &mut Vec::new()).await
}

fn pipeline(copy: &Copy) -> Pipeline {
    load_pipeline(&copy.place.path().join("pipeline.toml"), &|_| Some("sim-secret".to_owned())).unwrap()
}

/// Asks a lake that a start has left to its readers, then keeps it up as two days later, and asks it again.
async fn said(copy: &Copy, dt: NaiveDate) -> std::result::Result<Said, String> {
    let lake = &copy.lake;
    let raw = format!("select request, http_status, digest from raw_pages where dt = '{dt}' order by request, digest");
    let (content, raw) = (support::content(lake, dt).await, support::rows(lake, &raw).await);
    let problems = support::problems(lake).await;
    if !problems.is_empty() {
        return Err(format!("the lake is not well: {problems:?}"));
    }
    keep_up(copy).await.map_err(|error| format!("the lake's upkeep fails: {error}"))?;
    let problems = verify(lake, Depth::Quick).await.unwrap().problems;
    if !problems.is_empty() {
        return Err(format!("after its upkeep the lake is not well: {problems:?}"));
    }
    if support::content(lake, dt).await != content {
        return Err("the lake's upkeep has changed its tables".to_owned());
    }
    let mut rows = BTreeMap::new();
    for table in Table::ALL.into_iter().filter(|table| !table.is_journal()) {
        let found = support::rows(lake, &format!("select count(*) as n from {table}")).await;
        let delta = huopan::load::delta::open(lake, table).await.unwrap();
        rows.insert(table.name(), (found[0]["n"].parse().unwrap(), support::delta_rows(&delta)));
    }
    Ok(Said { content, raw, rows, left: left(copy).await })
}

/// What `huopan lake vacuum --yes` does, two days later and with no history kept.
async fn keep_up(copy: &Copy) -> Result<()> {
    let (lake, pipeline, now) = (&copy.lake, pipeline(copy), SystemClock.now() + TimeDelta::days(2));
    let keep = Keep { history: 0, ..pipeline.lake.keep };
    let found = Lake::list(lake).await?;
    alone::vacuum(lake, &pipeline.name, keep, now).await?;
    delete(lake, &found.common(keep, now)).await
}

/// The data files that no publication names and the half-written ones.
async fn left(copy: &Copy) -> BTreeSet<String> {
    let folder = match &copy.server {
        Some(server) => server.file("lake"),
        None => copy.place.lake(),
    };
    let snapshot = Snapshot::load(&copy.lake).await.unwrap();
    let named: BTreeSet<&str> =
        Table::ALL.into_iter().flat_map(|table| snapshot.files(table)).map(|found| found.file.path.as_str()).collect();
    let files = walkdir::WalkDir::new(&folder).into_iter().map(|entry| entry.unwrap());
    let files = files.filter(|entry| entry.file_type().is_file());
    let names = files.map(|entry| entry.path().strip_prefix(&folder).unwrap().to_str().unwrap().to_owned());
    let is_left = |name: &String| {
        let is_half = name.contains("tmp") || name.contains("/landing/") && name.ends_with(".seg");
        is_half || name.ends_with(".parquet") && !name.contains("_delta_log") && !named.contains(name.as_str())
    };
    names.filter(is_left).collect()
}

/// What came of a point, in the words of the table.
async fn point(night: &Night, number: u64, fault: Fault, expected: &Said) -> std::result::Result<&'static str, String> {
    let copy = night.base.copy(&night.text).await;
    let (faults, pipeline) = (Faults::at(number, fault), pipeline(&copy));
    let disturbed = night.work.on(&pipeline, &faulty(&copy, &faults)).await;
    let operations = faults.operations();
    let what = operations.get(usize::try_from(number).unwrap()).cloned().unwrap_or_default();
    let at = format!("{fault:?} at {number} ({what})");
    copy.bury_holder();
    let clean = night.work.on(&pipeline, &copy.lake).await;
    match &clean {
        Ok(()) => {}
        // What was held is published already.
        Err(error) if night.is_anyway() && error.kind() == Kind::Config => {}
        Err(error) => return Err(format!("{at}: the clean start fails: {error}")),
    }
    if let Some(then) = night.and_then
        && let Err(error) = start(&pipeline, &copy.lake, then).await
    {
        return Err(format!("{at}: the start after it fails: {error}"));
    }
    let said = said(&copy, night.dt).await.map_err(|why| format!("{at}: {why}"))?;
    if said != *expected {
        return Err(format!("{at}: other tables or files; disturbed start: {disturbed:?}; left: {:?}", said.left));
    }
    Ok(if disturbed.is_ok() { "borne" } else { "made good" })
}

#[expect(clippy::print_stdout, reason = "the table of points is what the test is for")]
async fn matrix(night: Night) {
    let (part, parts) = part();
    let undisturbed = night.base.copy(&night.text).await;
    let counting = Faults::none();
    night.work.on(&pipeline(&undisturbed), &faulty(&undisturbed, &counting)).await.unwrap();
    if let Some(then) = night.and_then {
        start(&pipeline(&undisturbed), &undisturbed.lake, then).await.unwrap();
    }
    let expected = said(&undisturbed, night.dt).await.unwrap();
    assert!(expected.left.is_empty(), "{:?}", expected.left);
    drop(undisturbed);
    let operations = counting.operations();
    let mut table: BTreeMap<(Fault, &'static str), usize> = BTreeMap::new();
    let mut failures = Vec::new();
    for (row, fault) in faults().into_iter().enumerate() {
        let is = |number: &usize, verbs: &[&str]| verbs.iter().any(|verb| operations[*number].starts_with(verb));
        let fits = |number: &usize| match fault {
            Fault::StaleList | Fault::StaleLists => is(number, &["list"]),
            Fault::Torn => is(number, &["put", "create"]),
            // A read changes nothing: whether it fails before or after is the same.
            Fault::ErrorAfter | Fault::CrashAfter => !is(number, &["get", "list"]),
            Fault::ErrorBefore | Fault::CrashBefore => true,
        };
        let first = (row + part) % parts;
        let points = (0..operations.len()).filter(fits).skip(first).step_by(parts).map(|number| {
            let number = u64::try_from(number).unwrap();
            point(&night, number, fault, &expected)
        });
        let ended: Vec<_> =
            futures::StreamExt::collect(futures::StreamExt::buffer_unordered(futures::stream::iter(points), AT_ONCE))
                .await;
        for ended in ended {
            match ended {
                Ok(how) => *table.entry((fault, how)).or_default() += 1,
                Err(failure) => {
                    println!("{failure}");
                    failures.push(failure);
                }
            }
        }
    }
    println!("{}: {} operations, part {part} of {parts} of the points", night.title, operations.len());
    for ((fault, how), points) in &table {
        println!("  {:<14} {how:<10} {points:>5} points", format!("{fault:?}"));
    }
    assert!(failures.is_empty(), "{} points fail:\n{}", failures.len(), failures.join("\n"));
}

fn of(dt: u32) -> RunOptions {
    RunOptions { dt: Some(day(dt)), ..RunOptions::default() }
}

fn small() -> huopan::sim::Options {
    huopan::sim::Options { shop_sizes: vec![5, 4], ..support::quick() }
}

/// A pipeline whose copies stand alone: the definition lies in a folder that outlives them all.
fn text(sim: &Sim, place: &Place, keys: &str) -> String {
    let lines = support::shop_lines(&sim.world(Gateway::Portals));
    let file = place.pipeline_file(sim, Gateway::Portals, &lines);
    let definition = std::fs::read_to_string(place.path().join("portals-at-once.toml")).unwrap();
    let definition = place.write("definition.toml", definition);
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("./portals-at-once.toml", definition.to_str().unwrap());
    place.write("pipeline.toml", text.replace("[lake]", &format!("[lake]\n{keys}")));
    std::fs::read_to_string(place.path().join("pipeline.toml")).unwrap()
}

/// Fills a lake with what the upkeep in the tail of the next run has to deal with: a day that is older than days are
/// kept, more small files of the journals than are left alone, a file of a run that died. Whoever copies it makes it old.
async fn ripen(sim: &Sim, place: &Place, lake: &Store) {
    let text = text(sim, place, "maintenance = \"off\"");
    let file = place.write("ripen.toml", text);
    let pipeline = support::load(&file);
    let refresh = RunOptions { refresh: true, ..of(20) };
    start(&pipeline, lake, of(1)).await.unwrap();
    for options in std::iter::once(of(20)).chain(std::iter::repeat_n(refresh, 7)) {
        start(&pipeline, lake, options).await.unwrap();
    }
    lake.put_durable("offers/dt=2026-11-20/pipeline=test/died.parquet", b"PAR1"[..].into()).await.unwrap();
}

/// A night whose tail has everything to do.
async fn published(base: impl AsyncFnOnce() -> (Base, Store), title: &'static str) {
    let (sim, place) = (huopan::sim::start(small()).await.unwrap(), Place::new());
    let (base, lake) = base().await;
    ripen(&sim, &place, &lake).await;
    let text = text(&sim, &place, "retain_days = 2\nhistory_days = 1");
    sim.set_day(day(21));
    matrix(Night { title, base, text, dt: day(21), work: Work::Run(of(21)), and_then: None }).await;
}

async fn folder() -> (Base, Store) {
    let place = Place::new();
    let lake = place.store();
    (Base::Folder(place), lake)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_on_disk_survives_a_fault_at_every_operation() {
    published(folder, "a night on disk").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_on_a_bucket_survives_a_fault_at_every_operation() {
    let base = async || {
        let server = S3Server::start().await;
        let lake = bucket(&server).await;
        (Base::Bucket(server), lake)
    };
    published(base, "a night on a bucket").await;
}

/// A lake whose next day has lost a shop's offers, and the pipeline.
async fn suspect() -> (Sim, Base, String) {
    let world = |size| huopan::sim::start(huopan::sim::Options { shop_sizes: vec![size, 4], ..support::quick() });
    let (whole, thin) = (world(24).await.unwrap(), world(6).await.unwrap());
    let place = Place::new();
    let lines = support::shop_lines(&whole.world(Gateway::Portals));
    support::publish(&place.pipeline(&whole, Gateway::Portals, &lines), day(20)).await;
    thin.set_day(day(21));
    let text = text(&thin, &place, "");
    (thin, Base::Folder(place), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_is_held_survives_a_fault_at_every_operation() {
    let (_sim, base, text) = suspect().await;
    let anyway = RunOptions { publish_anyway: true, ..of(21) };
    let work = Work::Run(of(21));
    matrix(Night { title: "a day that is held", base, text, dt: day(21), work, and_then: Some(anyway) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_is_published_anyway_survives_a_fault_at_every_operation() {
    let (_sim, base, text) = suspect().await;
    let held = base.copy(&text).await;
    let outcome = start(&pipeline(&held), &held.lake, of(21)).await.unwrap();
    assert!(matches!(outcome, Outcome::Held(_)), "{outcome:?}");
    let base = Base::Folder(held.place);
    let work = Work::Run(RunOptions { publish_anyway: true, ..of(21) });
    matrix(Night { title: "a day that is published anyway", base, text, dt: day(21), work, and_then: None }).await;
}

/// A command on the lake that the night finds: the day of its newest publication is the one with small files.
async fn commanded(title: &'static str, work: Work) {
    let (sim, place) = (huopan::sim::start(small()).await.unwrap(), Place::new());
    let (base, lake) = folder().await;
    ripen(&sim, &place, &lake).await;
    let text = text(&sim, &place, "retain_days = 2\nhistory_days = 1");
    matrix(Night { title, base, text, dt: day(20), work, and_then: None }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optimize_survives_a_fault_at_every_operation() {
    commanded("an optimize", Work::Optimize).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vacuum_survives_a_fault_at_every_operation() {
    commanded("a vacuum", Work::Vacuum).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_survives_a_fault_at_every_operation() {
    commanded("a replay", Work::Replay(day(20))).await;
}
