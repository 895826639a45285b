//! Runs that end in the middle: killed, stopped, refused, failed; and what the next start makes of them.

use std::path::Path;
use std::sync::Arc;

use huopan::base::{Kind, SystemClock};
use huopan::config::Pipeline;
use huopan::extract::Progress;
use huopan::extract::progress::Event;
use huopan::land::Zone;
use huopan::load::log;
use huopan::run::{Options as RunOptions, Outcome, Surroundings, run};
use huopan::sim::{self, Gateway, Options, Sim};
use huopan::transform::contract::Table;
use tokio_util::sync::CancellationToken;

use crate::support::{Ended, Place, attempt, copy, day, ended, huopan, huopan_with, publish, quick, spawn};

const DAY: RunOptions =
    RunOptions { dt: None, refresh: false, until_landed: false, no_cache: false, publish_anyway: false };

/// Two published days.
async fn two_days() -> (Place, Sim, Pipeline) {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = place.shops(&sim, Gateway::Portals);
    for dt in [day(19), day(20)] {
        sim.set_day(dt);
        publish(&pipeline, dt).await;
    }
    (place, sim, pipeline)
}

/// Undoes the table's Delta commit of the publication `seq`, as if the process had died before it.
fn uncommit(lake: &Path, table: Table, seq: u64) -> usize {
    let log = lake.join(table.name()).join("_delta_log");
    let of_publication = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let actions = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        actions.into_iter().any(|action| action["txn"]["version"] == seq)
    };
    let commits = std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    let commits: Vec<_> = commits.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    let undone: Vec<_> = commits.into_iter().filter(|path| of_publication(path)).collect();
    undone.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    undone.len()
}

#[tokio::test]
async fn a_crash_between_decision_and_any_delta_commit_is_made_good_by_the_next_start() {
    let (place, sim, _) = two_days().await;
    let (counts, content) = (place.counts().await, place.content(day(20)).await);
    let calls = sim.stats().calls;
    let mut undone = 0;
    for first_missing in 0..Table::ALL.len() {
        let crashed = Place::new();
        copy(&place.lake(), &crashed.lake());
        undone += Table::ALL[first_missing..].iter().map(|&table| uncommit(&crashed.lake(), table, 2)).sum::<usize>();
        assert_ne!(crashed.delta_counts().await, counts, "from {}", Table::ALL[first_missing]);
        // huopan's own readers need no Delta commit.
        assert_eq!(crashed.counts().await, counts);
        let pipeline = crashed.shops(&sim, Gateway::Portals);
        let outcome = attempt(&pipeline, RunOptions { dt: Some(day(20)), ..DAY }).await.unwrap();
        assert_eq!(outcome, Outcome::AlreadyPublished { dt: day(20) });
        assert_eq!(crashed.delta_counts().await, counts, "from {}", Table::ALL[first_missing]);
        assert_eq!(crashed.content(day(20)).await, content);
    }
    assert!(undone > 20, "{undone} commits undone");
    assert_eq!(sim.stats().calls, calls, "no call is needed for it");
}

#[tokio::test]
async fn a_crash_just_before_the_decision_leaves_nothing_behind_that_counts() {
    let (place, _sim, pipeline) = two_days().await;
    let (counts, content) = (place.counts().await, place.content(day(20)).await);
    for table in Table::ALL {
        uncommit(&place.lake(), table, 2);
    }
    std::fs::remove_file(place.lake().join(log::Entry::path("test", 2))).unwrap();
    assert_eq!(place.value("select max(cast(dt as varchar)) from offers").await, "2026-11-19");
    publish(&pipeline, day(20)).await;
    assert_eq!(place.content(day(20)).await, content);
    assert_eq!(place.counts().await, counts);
    assert_eq!(place.delta_counts().await, counts);
}

/// Tells when the first page has been answered, and may cancel the run then.
#[derive(Default)]
struct FirstPage {
    seen: tokio::sync::Notify,
    cancel: Option<CancellationToken>,
}

impl Progress for FirstPage {
    fn on(&self, event: Event<'_>) {
        if matches!(event, Event::Page { .. }) {
            self.seen.notify_one();
            self.cancel.iter().for_each(CancellationToken::cancel);
        }
    }
}

/// Shops of many pages, so that a run is in the middle after the first.
async fn large_shops() -> (Place, Sim, Pipeline) {
    let sim = sim::start(Options { shop_sizes: vec![400, 300], ..quick() }).await.unwrap();
    let place = Place::new();
    let mut pipeline = place.shops(&sim, Gateway::Portals);
    pipeline.gateway.limits.calls_in_flight = 1;
    (place, sim, pipeline)
}

#[tokio::test]
async fn leftovers_of_a_run_killed_while_it_fetched_do_not_matter() {
    let (place, sim, pipeline) = large_shops().await;
    let progress = FirstPage::default();
    let around =
        Surroundings { clock: Arc::new(SystemClock), progress: &progress, cancel: CancellationToken::new(), seed: 1 };
    tokio::select! {
        ended = run(&pipeline, RunOptions { dt: Some(day(20)), ..DAY }, &around) => panic!("not killed: {ended:?}"),
        () = progress.seen.notified() => {}
    }
    assert!(place.lake_files().iter().any(|path| path.extension().is_some_and(|end| end == "seg")), "nothing landed");
    publish(&pipeline, day(20)).await;
    let clean = Place::new();
    publish(&clean.shops(&sim, Gateway::Portals), day(20)).await;
    assert_eq!(place.content(day(20)).await, clean.content(day(20)).await);
    assert_eq!(place.value("select count(distinct run_id) from raw_pages").await, "1");
}

#[tokio::test]
async fn a_run_that_is_told_to_stop_keeps_its_answers_says_so_in_runs_and_can_be_tried_later() {
    let (place, _sim, pipeline) = large_shops().await;
    let cancel = CancellationToken::new();
    let progress = FirstPage { cancel: Some(cancel.clone()), ..FirstPage::default() };
    let around = Surroundings { clock: Arc::new(SystemClock), progress: &progress, cancel, seed: 1 };
    let outcome = run(&pipeline, RunOptions { dt: Some(day(20)), ..DAY }, &around).await.unwrap();
    let Outcome::Stopped { kind, .. } = outcome else { panic!("not stopped: {outcome:?}") };
    assert_eq!(kind.exit_code(), 75);
    let zone = Zone::new(place.store(), "test", day(20));
    let runs = zone.runs().await.unwrap();
    let landed = zone.records(&runs[0]).await.unwrap();
    assert!(!landed.is_empty());
    let row = place.rows("select status, calls_used, publish_seq from runs").await.swap_remove(0);
    assert_eq!(row["status"], "stopped");
    assert_eq!(row["calls_used"], landed.len().to_string());
    assert_eq!(place.value("select count(*) from calls").await, landed.len().to_string());
    assert_eq!(place.value("select count(*) from offers").await, "0");
    assert_eq!(place.delta_counts().await, place.counts().await);
    // The next start does the day.
    let report = publish(&pipeline, day(20)).await;
    assert!(report.is_complete());
    assert_eq!(place.value("select attempt from runs where status = 'published'").await, "2");
}

/// A process in the middle of its run, sent `signal` as soon as it has called a few times; then how it ended.
async fn signalled(place: &Place, signal: &str) -> (Ended, Sim) {
    let sim = sim::start(Options { shop_sizes: vec![800, 700], answer_millis: 20, ..quick() }).await.unwrap();
    place.shops(&sim, Gateway::Portals);
    let process = spawn(place.path(), &["run", "pipeline.toml", "--dt", "2026-11-20"], &[("SECRET", "sim-secret")]);
    while sim.stats().calls < 5 {
        tokio::task::yield_now().await;
    }
    let kill = format!("kill -{signal} {}", process.id().unwrap());
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    (ended(process).await, sim)
}

#[tokio::test]
async fn a_process_that_is_terminated_says_so_and_exits_with_75() {
    let place = Place::new();
    let (ended, sim) = signalled(&place, "TERM").await;
    assert_eq!(ended.code, 75, "{ended:?}");
    assert!(ended.stderr.contains("stopping: answers in flight are kept"), "{ended:?}");
    assert!(ended.stderr.contains("2026-11-20 is not published: "), "{ended:?}");
    let row = place.rows("select status, calls_used from runs").await.swap_remove(0);
    assert_eq!((&*row["status"], &*row["calls_used"]), ("stopped", &*sim.stats().calls.to_string()));
}

#[tokio::test]
async fn a_process_that_is_killed_holds_no_lock_and_the_next_one_publishes() {
    let place = Place::new();
    let (ended, sim) = signalled(&place, "KILL").await;
    assert_eq!(ended.code, -1, "{ended:?}");
    let ended = huopan(place.path(), &["run", "pipeline.toml", "--dt", "2026-11-20"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let world = sim.world(Gateway::Portals);
    let on_sale: usize = world.shops.iter().map(|shop| shop.on_sale).sum();
    assert_eq!(place.value("select count(*) from offers").await, on_sale.to_string());
    assert_eq!(place.delta_counts().await, place.counts().await);
}

#[tokio::test]
async fn a_second_run_at_the_same_time_is_refused_and_told_who_holds_the_lock() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = place.shops(&sim, Gateway::Portals);
    let _held = place.store().lock("test", "process 4711 on elsewhere").await.unwrap();
    let error = attempt(&pipeline, DAY).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    let ended = huopan(place.path(), &["run", "pipeline.toml"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (75, ""));
    assert_eq!(
        ended.stderr,
        "error: pipeline `test` is already running: its lock is held by `process 4711 on elsewhere`\n\
         hint: wait for it to end, or stop it; the lock ends with its process\n"
    );
    assert_eq!(sim.stats().calls, 0);
}

#[tokio::test]
async fn a_denied_run_leaves_a_row_and_exits_with_one() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    place.shops(&sim, Gateway::Portals);
    let ended = huopan_with(place.path(), &["run", "pipeline.toml"], &[("SECRET", "not-the-secret")]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(ended.stderr.contains("hint: signature: copy the secret again"), "{}", ended.stderr);
    let row = place.rows("select status, error, calls_used from runs").await.swap_remove(0);
    assert_eq!((row["status"].as_str(), row["calls_used"].parse::<u64>().unwrap()), ("failed", sim.stats().calls));
    assert!(row["error"].contains("10002"), "{row:?}");
    assert_eq!(place.value("select count(*) from offers").await, "0");
}

#[tokio::test]
async fn a_run_until_landed_publishes_nothing_and_the_next_one_does() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    place.shops(&sim, Gateway::Portals);
    let arguments = ["run", "pipeline.toml", "--dt", "2026-11-20", "--until", "land", "--json"];
    let ended = huopan(place.path(), &arguments).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&json["outcome"], json["calls"].as_u64()), (&"landed".into(), Some(sim.stats().calls)));
    let zone = Zone::new(place.store(), "test", day(20));
    let runs = zone.runs().await.unwrap();
    assert_eq!(u64::try_from(zone.records(&runs[0]).await.unwrap().len()).unwrap(), sim.stats().calls);
    assert_eq!(place.value("select count(*) from runs").await, "0");
    let ended = huopan(place.path(), &["run", "pipeline.toml", "--dt", "2026-11-20"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(place.value("select status from runs").await, "published");
}
