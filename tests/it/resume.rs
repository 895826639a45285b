//! Starts that go on with a run: after a stop, a failure, a loss of the state, midnight; and what they never ask again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use huopan::base::time::beijing_day;
use huopan::base::{Clock, Kind, RunId, SystemClock};
use huopan::config::Pipeline;
use huopan::config::pipeline::OnQuota;
use huopan::extract::Progress;
use huopan::extract::progress::Event;
use huopan::land::{Frozen, Zone, unfinished};
use huopan::run::{Options as RunOptions, Outcome, Report, Surroundings, run};
use huopan::sim::{self, Gateway, Options, Sim};
use tokio_util::sync::CancellationToken;

use crate::support::{PICTURES, Place, Row, attempt, copy, day, ended, huopan, load, quick, shop_lines, spawn};

const RUN: RunOptions =
    RunOptions { dt: None, refresh: false, until_landed: false, no_cache: false, publish_anyway: false };

/// The machine's clock, moved.
#[derive(Debug, Default)]
struct Shifted(AtomicI64);

impl Shifted {
    fn advance(&self, by: TimeDelta) {
        self.0.fetch_add(by.num_seconds(), Ordering::SeqCst);
    }
}

impl Clock for Shifted {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::seconds(self.0.load(Ordering::SeqCst))
    }
}

/// Cancels a run at its n-th page, and keeps what it says when it goes on.
struct StopAt {
    pages: AtomicUsize,
    at: usize,
    cancel: CancellationToken,
    /// What a run that goes on has said, day and answers.
    resumed: std::sync::Mutex<Vec<(NaiveDate, usize)>>,
}

impl StopAt {
    fn page(at: usize) -> Self {
        Self { pages: AtomicUsize::new(0), at, cancel: CancellationToken::new(), resumed: Default::default() }
    }

    fn never() -> Self {
        Self::page(usize::MAX)
    }

    fn resumed(&self) -> Vec<(NaiveDate, usize)> {
        self.resumed.lock().unwrap().clone()
    }
}

impl Progress for StopAt {
    fn on(&self, event: Event<'_>) {
        match event {
            Event::Page { .. } if self.pages.fetch_add(1, Ordering::SeqCst) + 1 == self.at => self.cancel.cancel(),
            Event::Resumed { dt, answers } => self.resumed.lock().unwrap().push((dt, answers)),
            _ => {}
        }
    }
}

/// A start, by this clock.
async fn start(
    pipeline: &Pipeline,
    options: RunOptions,
    clock: Arc<dyn Clock>,
    progress: &StopAt,
) -> huopan::base::Result<Outcome> {
    let around = Surroundings { clock, progress, cancel: progress.cancel.clone(), seed: 5 };
    run(pipeline, options, &around).await
}

/// A start that is stopped at its n-th page; the day of its run.
pub(crate) async fn stopped(pipeline: &Pipeline, options: RunOptions, page: usize) -> NaiveDate {
    match start(pipeline, options, Arc::new(SystemClock), &StopAt::page(page)).await.unwrap() {
        Outcome::Stopped { dt, kind: Kind::Unavailable, .. } => dt,
        other => panic!("not stopped: {other:?}"),
    }
}

async fn published(pipeline: &Pipeline, options: RunOptions) -> Report {
    match attempt(pipeline, options).await.unwrap_or_else(|error| panic!("{error}: {:?}", error.hint())) {
        Outcome::Published(mut reports) if reports.len() == 1 => reports.swap_remove(0),
        other => panic!("not published: {other:?}"),
    }
}

fn on(number: u32) -> RunOptions {
    RunOptions { dt: Some(day(number)), ..RUN }
}

/// 13 pages and two counts.
fn options() -> Options {
    Options { shop_sizes: vec![300, 200], ..quick() }
}

/// A pipeline that asks one call at a time.
async fn one_by_one(options: Options) -> (Place, Sim, Pipeline) {
    let (sim, place) = (sim::start(options).await.unwrap(), Place::new());
    let pipeline = place.shops(&sim, Gateway::Portals);
    (place, sim, calm(pipeline))
}

pub(crate) fn calm(mut pipeline: Pipeline) -> Pipeline {
    pipeline.gateway.limits.calls_in_flight = 1;
    pipeline
}

fn requests(sim: &Sim) -> Vec<String> {
    sim.journal().into_iter().map(|entry| entry.request).collect()
}

/// No request twice.
fn assert_asked_once(sim: &Sim) {
    let requests = requests(sim);
    let distinct: BTreeSet<&String> = requests.iter().collect();
    assert_eq!(distinct.len(), requests.len(), "{requests:#?}");
}

async fn undisturbed(sim: &Sim, number: u32) -> (Place, u64) {
    let place = Place::new();
    let before = sim.stats().calls;
    published(&place.shops(sim, Gateway::Portals), on(number)).await;
    (place, sim.stats().calls - before)
}

fn segments(lake: &Path) -> Vec<std::path::PathBuf> {
    let files = walkdir::WalkDir::new(lake).sort_by_file_name().into_iter().map(|entry| entry.unwrap().into_path());
    files.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect()
}

#[tokio::test]
async fn on_a_new_machine_with_only_the_lake_no_call_is_made_again_and_no_quota_exceeded() {
    let clock = Arc::new(Shifted::default());
    let options = Options { clock: clock.clone(), ..options() };
    let (place, sim, mut pipeline) = one_by_one(options).await;
    let (whole, calls) = undisturbed(&sim, 20).await;
    sim.reset();
    let quota = calls - 3;
    pipeline.on_quota = OnQuota::Continue;
    pipeline.accounts[0].calls_per_day = Some(quota);
    let outcome = start(&pipeline, RUN, clock.clone(), &StopAt::page(4)).await.unwrap();
    let Outcome::Stopped { dt, .. } = outcome else { panic!("{outcome:?}") };
    let landed = sim.stats().calls;
    assert!(landed > 4 && landed < quota, "{landed} of {quota}");

    // Only the lake is there.
    let other = Place::new();
    copy(&place.lake(), &other.lake());
    let with_quota = |mut pipeline: Pipeline| {
        pipeline.on_quota = OnQuota::Continue;
        pipeline.accounts[0].calls_per_day = Some(quota);
        calm(pipeline)
    };
    let pipeline = with_quota(other.shops(&sim, Gateway::Portals));
    let told = StopAt::never();
    let outcome = start(&pipeline, RUN, clock.clone(), &told).await.unwrap();
    let Outcome::Stopped { dt: same, reason, kind, stands: false } = outcome else { panic!("{outcome:?}") };
    assert_eq!((same, kind), (dt, Kind::Unavailable));
    assert!(reason.contains("main"), "{reason}");
    assert_eq!(told.resumed(), [(dt, usize::try_from(landed).unwrap())]);
    assert_eq!(sim.stats().calls, quota, "every call of the day, and not one more");

    // The next day has calls again, and the run keeps its day.
    clock.advance(TimeDelta::days(1));
    let options = RunOptions { dt: Some(dt), ..RUN };
    let outcome = start(&pipeline, options, clock.clone(), &StopAt::never()).await.unwrap();
    let Outcome::Published(reports) = outcome else { panic!("not published: {outcome:?}") };
    assert_eq!((reports.len(), reports[0].dt), (1, dt));
    assert_asked_once(&sim);
    assert_eq!(sim.stats().calls, calls);
    let size = |content: BTreeMap<&'static str, Vec<Row>>| content.into_values().map(|rows| rows.len()).collect();
    let sizes: [Vec<usize>; 2] = [size(other.content(dt).await), size(whole.content(day(20)).await)];
    assert_eq!(sizes[0], sizes[1]);
}

#[tokio::test]
async fn after_midnight_a_run_keeps_its_day_and_the_day_has_its_own_run_after_it() {
    let clock = Arc::new(Shifted::default());
    let (place, sim, pipeline) = one_by_one(Options { clock: clock.clone(), ..options() }).await;
    let evening = beijing_day(clock.now());
    let outcome = start(&pipeline, RUN, clock.clone(), &StopAt::page(3)).await.unwrap();
    assert!(matches!(outcome, Outcome::Stopped { dt, .. } if dt == evening), "{outcome:?}");
    clock.advance(TimeDelta::days(1));
    let told = StopAt::never();
    let outcome = start(&pipeline, RUN, clock.clone(), &told).await.unwrap();
    let Outcome::Published(reports) = outcome else { panic!("not published: {outcome:?}") };
    let days: Vec<NaiveDate> = reports.iter().map(|report| report.dt).collect();
    assert_eq!(days, [evening, evening.succ_opt().unwrap()]);
    assert_eq!(told.resumed().len(), 1, "the second is a run of its own");
    let runs = place.rows("select dt, attempt, status, run_id from runs order by dt, attempt").await;
    let rows: Vec<_> = runs.iter().map(|row| (&*row["attempt"], &*row["status"])).collect();
    assert_eq!(rows, [("1", "stopped"), ("2", "published"), ("1", "published")]);
    assert_eq!(runs[0]["run_id"], runs[1]["run_id"]);
    assert_ne!(runs[1]["run_id"], runs[2]["run_id"]);
    let counted = place.rows(
        "select r.run_id, r.calls_used, c.calls from (select run_id, sum(calls_used) calls_used from runs group by 1) r
         join (select run_id, count(*) calls, count(distinct number) numbers from calls group by 1) c using (run_id)
         where r.calls_used <> c.calls or c.calls <> c.numbers",
    );
    assert_eq!(counted.await, []);
    assert_eq!(place.value("select count(*) from calls").await, sim.stats().calls.to_string());
    // Both days are done.
    let outcome = start(&pipeline, RUN, clock.clone(), &StopAt::never()).await.unwrap();
    assert!(matches!(outcome, Outcome::AlreadyPublished { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_stated_day_goes_on_with_its_own_unfinished_run() {
    let (place, sim, pipeline) = one_by_one(options()).await;
    stopped(&pipeline, on(19), 3).await;
    stopped(&pipeline, on(20), 5).await;
    let open = unfinished(&place.store(), "test").await.unwrap();
    assert_eq!(open.iter().map(|run| run.dt).collect::<Vec<_>>(), [day(19), day(20)]);
    let report = published(&pipeline, on(19)).await;
    assert_eq!((report.dt, report.run_id), (day(19), open[0].run_id));
    // Without a day the newest one.
    let told = StopAt::page(1);
    start(&pipeline, RUN, Arc::new(SystemClock), &told).await.unwrap();
    assert_eq!(told.resumed().iter().map(|(dt, _)| *dt).collect::<Vec<_>>(), [day(20)]);
    assert!(sim.stats().calls > 0);
}

#[tokio::test]
async fn a_terminated_process_is_gone_on_with_and_says_so() {
    let (sim, place) = (sim::start(options()).await.unwrap(), Place::new());
    let (whole, calls) = undisturbed(&sim, 20).await;
    sim.reset();
    place.shops(&sim, Gateway::Portals);
    sim.hold_from(Some(sim.traffic().arrived + 7));
    let env = [("SECRET", "sim-secret")];
    let process = spawn(place.path(), &["run", "pipeline.toml", "--dt", "2026-11-20"], &env);
    sim.until(|traffic| traffic.held > 0).await;
    let kill = format!("kill -TERM {}", process.id().unwrap());
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    sim.hold_from(None);
    let ended = ended(process).await;
    assert_eq!(ended.code, 75, "{ended:?}");
    let landed = sim.stats().calls;
    assert!((7..calls).contains(&landed), "{landed}");

    let ended = huopan(place.path(), &["run", "pipeline.toml", "--dt", "2026-11-20"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let says = format!("going on with the run of 2026-11-20: {landed} answers are there already\n");
    assert!(ended.stderr.starts_with(&says), "{ended:?}");
    assert_asked_once(&sim);
    assert_eq!(sim.stats().calls, calls);
    assert_eq!(place.content(day(20)).await, whole.content(day(20)).await);
    let listed = huopan(place.path(), &["runs", "--lake", "lake", "--format", "csv"]).await;
    let lines: Vec<Vec<&str>> = listed.stdout.lines().map(|line| line.split(',').collect()).collect();
    let column = |name| lines[0].iter().position(|column| *column == name).unwrap_or_else(|| panic!("{listed:?}"));
    let rows = |name| lines[1..].iter().map(|line| line[column(name)]).collect::<Vec<_>>();
    assert_eq!((rows("attempt"), rows("status")), (vec!["2", "1"], vec!["published", "stopped"]));
    assert_eq!(rows("calls"), [(calls - landed).to_string(), landed.to_string()]);
    assert_eq!(rows("run_id")[0], rows("run_id")[1]);
}

#[tokio::test]
async fn what_was_landed_only_is_published_without_a_call() {
    let (place, sim, pipeline) = one_by_one(options()).await;
    let outcome = attempt(&pipeline, RunOptions { until_landed: true, ..on(20) }).await.unwrap();
    let Outcome::Landed { run_id, calls } = outcome else { panic!("{outcome:?}") };
    assert_eq!(u64::try_from(calls).unwrap(), sim.stats().calls);
    let report = published(&pipeline, on(20)).await;
    assert_eq!((report.run_id, report.calls), (run_id, 0));
    assert!(report.is_complete());
    assert_eq!(u64::try_from(calls).unwrap(), sim.stats().calls);
    assert_eq!(place.value("select calls_used from runs").await, calls.to_string());
}

#[tokio::test]
async fn watermarks_go_by_the_gateways_clock_also_when_a_start_makes_no_call() {
    let ahead = 7200;
    let (place, sim, pipeline) = one_by_one(Options { clock_offset_seconds: ahead, ..options() }).await;
    let begun = SystemClock.now().timestamp();
    attempt(&pipeline, RunOptions { until_landed: true, ..on(20) }).await.unwrap();
    let (landed, calls) = (SystemClock.now().timestamp(), sim.stats().calls);
    let report = published(&pipeline, on(20)).await;
    assert_eq!((report.calls, sim.stats().calls), (0, calls), "no answer shows the clock again");
    let watermark = "select cast(extract(epoch from min(watermark_at)) as bigint) from shops";
    let watermark: i64 = place.value(watermark).await.parse().unwrap();
    assert!((begun + ahead - 2..=landed + ahead + 2).contains(&watermark), "{}", watermark - begun);
}

/// The definition without windows and categories, whose second page is the last.
pub(crate) fn short_listing() -> String {
    let text = include_str!("../../schemas/gateways/portals.toml");
    let lines = text.lines().filter(|line| {
        !line.starts_with("window   = { start = \"start_time\", field") && !line.starts_with("category = ")
    });
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let text = text.replace("last = 50", "last = 2").replace(
        "pause_seconds    = { success = 0.8, failure = 4, throttle = 10 }",
        "pause_seconds    = { success = 0, failure = 0, throttle = 0 }",
    );
    assert!(!text.contains("\nwindow   =") && text.contains("last = 2,"));
    text
}

#[tokio::test]
async fn an_incomplete_shop_is_retried_alone_and_the_others_stay_as_they_were() {
    let sim = sim::start(Options { shop_sizes: vec![60, 150], ..quick() }).await.unwrap();
    let place = Place::new();
    let path = place.pipeline_file(&sim, Gateway::Portals, &shop_lines(&sim.world(Gateway::Portals)));
    let definition = std::fs::read_to_string(place.path().join("portals-at-once.toml")).unwrap();
    place.write("portals-at-once.toml", short_listing());
    let report = published(&load(&path), on(20)).await;
    assert_eq!(report.shops.iter().filter(|shop| shop.incomplete_reason.is_some()).count(), 1, "{report:?}");
    let world = sim.world(Gateway::Portals);
    let (fits, large) = (&world.shops[0], &world.shops[1]);
    let before = rows_of_shop(&place, &fits.shop_id).await;
    sim.reset();

    place.write("portals-at-once.toml", definition);
    let pipeline = calm(load(&path));
    // Killed once in between, too: the retry goes on as a retry.
    stopped(&pipeline, on(20), 1).await;
    let report = published(&pipeline, on(20)).await;
    assert!(report.is_complete(), "{report:?}");
    assert_asked_once(&sim);
    let asked = requests(&sim);
    assert!(asked.iter().all(|request| request.contains(&large.shop_id)), "{asked:#?}");
    assert_eq!(rows_of_shop(&place, &fits.shop_id).await, before);
    let offers = format!("select count(*) from offers where shop_id = '{}'", large.shop_id);
    assert_eq!(place.value(&offers).await, large.on_sale.to_string());
    let outcome = attempt(&pipeline, on(20)).await.unwrap();
    assert_eq!(outcome, Outcome::AlreadyPublished { dt: day(20) });
}

/// A shop's rows without the id of the run that published them.
async fn rows_of_shop(place: &Place, shop: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for table in PICTURES {
        let sql = match table {
            "price_tiers" | "skus" => {
                format!(
                    "select * from {table} where offer_id in (select offer_id from offers where shop_id = '{shop}')"
                )
            }
            _ => format!("select * from {table} where shop_id = '{shop}'"),
        };
        rows.extend(place.rows(&sql).await);
    }
    rows.iter_mut().for_each(|row| {
        row.remove("run_id");
    });
    rows.sort();
    rows
}

#[tokio::test]
async fn a_refresh_that_stopped_goes_on_as_one_without_its_flag() {
    let (place, sim, pipeline) = one_by_one(options()).await;
    published(&pipeline, on(20)).await;
    let calls = sim.stats().calls;
    sim.reset();
    let refresh = RunOptions { refresh: true, ..on(20) };
    let outcome = start(&pipeline, refresh, Arc::new(SystemClock), &StopAt::page(3)).await.unwrap();
    assert!(matches!(outcome, Outcome::Stopped { stands: true, .. }), "the day stays as it was: {outcome:?}");
    let report = published(&pipeline, on(20)).await;
    assert!(report.is_complete());
    assert_eq!((report.seq, sim.stats().calls), (3, calls), "published, stopped, published");
    assert_asked_once(&sim);
    assert_eq!(place.value("select count(distinct run_id) from offers").await, "1");
    assert_eq!(place.value("select min(run_id) from offers").await, report.run_id.to_string());
}

#[tokio::test]
async fn a_refresh_asked_for_while_a_retry_is_open_follows_it() {
    let sim = sim::start(Options { shop_sizes: vec![60, 150], ..quick() }).await.unwrap();
    let place = Place::new();
    let path = place.pipeline_file(&sim, Gateway::Portals, &shop_lines(&sim.world(Gateway::Portals)));
    let definition = std::fs::read_to_string(place.path().join("portals-at-once.toml")).unwrap();
    place.write("portals-at-once.toml", short_listing());
    published(&load(&path), on(20)).await;
    place.write("portals-at-once.toml", definition);
    let pipeline = calm(load(&path));
    stopped(&pipeline, on(20), 1).await;
    let outcome = attempt(&pipeline, RunOptions { refresh: true, ..on(20) }).await.unwrap();
    let Outcome::Published(reports) = outcome else { panic!("{outcome:?}") };
    assert_eq!(reports.len(), 2, "the retry, then the refresh");
    assert!(reports.iter().all(Report::is_complete));
    assert_eq!(place.value("select count(distinct run_id) from raw_pages").await, "3");
}

#[tokio::test]
async fn a_damaged_segment_is_named_with_what_to_do_and_that_works() {
    let (place, sim, pipeline) = one_by_one(options()).await;
    let (whole, calls) = undisturbed(&sim, 20).await;
    sim.reset();
    stopped(&pipeline, on(20), 5).await;
    let landed = sim.stats().calls;
    let segments = segments(&place.lake());
    for victim in [&segments[2], segments.last().unwrap()] {
        let bytes = std::fs::read(victim).unwrap();
        std::fs::write(victim, &bytes[..bytes.len() / 2]).unwrap();
        let ended = huopan(place.path(), &["run", "pipeline.toml", "--dt", "2026-11-20"]).await;
        assert_eq!(ended.code, 1, "{ended:?}");
        let name = victim.file_name().unwrap().to_str().unwrap();
        assert!(ended.stderr.starts_with("error: the landed segment `_huopan/landing/test/"), "{ended:?}");
        assert!(ended.stderr.contains(name), "{ended:?}");
        assert!(
            ended.stderr.contains("hint: restore the file, or delete it to have its calls made again"),
            "{ended:?}"
        );
        let row = "select status || ' ' || calls_used from runs order by attempt desc limit 1";
        assert_eq!(place.value(row).await, "failed 0");
        std::fs::remove_file(victim).unwrap();
    }
    assert_eq!(sim.stats().calls, landed, "nothing is asked before it is known what is there");
    published(&pipeline, on(20)).await;
    assert_eq!(sim.stats().calls, calls + 2, "one call in each segment");
    assert_eq!(place.content(day(20)).await, whole.content(day(20)).await);
    let numbers = "select count(*) || ' ' || count(distinct number) from calls";
    assert_eq!(place.value(numbers).await, format!("{0} {0}", calls + 2));
}

#[tokio::test]
async fn a_run_that_an_outage_ended_is_not_asked_again_what_was_answered() {
    let options = Options { shop_sizes: vec![800, 700], ..quick() };
    let (place, sim, mut pipeline) = one_by_one(options.clone()).await;
    pipeline.gateway.limits.attempts_max = 1;
    let address = sim.addr();
    let progress = StopAt::page(6);
    let around =
        Surroundings { clock: Arc::new(SystemClock), progress: &progress, cancel: CancellationToken::new(), seed: 1 };
    let running = run(&pipeline, on(20), &around);
    let ending = async {
        progress.cancel.cancelled().await;
        let answered = requests(&sim);
        sim.shutdown().await.unwrap();
        answered
    };
    let (outcome, answered) = tokio::join!(running, ending);
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(error.to_string().contains("20 times in a row"), "{error}");
    assert!(answered.len() >= 6, "{answered:?}");
    assert_eq!(place.value("select status from runs").await, "failed");

    let sim = sim::start(Options { listen: address, ..options }).await.unwrap();
    let report = published(&pipeline, on(20)).await;
    assert!(report.is_complete(), "{report:?}");
    let again: Vec<String> = requests(&sim).into_iter().filter(|request| answered.contains(request)).collect();
    assert_eq!(again, [""; 0]);
    assert_asked_once(&sim);
}

#[tokio::test]
async fn what_took_too_long_is_not_asked_again_but_its_halves_are() {
    let slow = Some(sim::SlowListing { offers: 400, millis: 600_000 });
    let listings = sim::Listings { slow, ..sim::Listings::default() };
    let options = Options { shop_sizes: vec![1_500], listings, window_end: sim::WindowEnd::Honoured, ..quick() };
    let (_place, sim, mut pipeline) = one_by_one(options).await;
    let gateway = &mut pipeline.gateway;
    (gateway.limits.read_seconds, gateway.limits.connect_seconds) = (0.6, 0.6);
    gateway.endpoints.get_mut("listing").unwrap().window.as_mut().unwrap().end = Some("end_time".to_owned());
    // The page of the whole shop took too long, and a few of its parts.
    stopped(&pipeline, on(20), 4).await;
    let before = requests(&sim);
    let whole = |request: &&String| request.contains("items.list") && !request.contains("start_time");
    assert_eq!(before.iter().filter(whole).count(), 2, "{before:#?}");
    let report = published(&pipeline, on(20)).await;
    assert!(report.is_complete(), "{report:?}");
    let mut asked: BTreeMap<String, Vec<sim::Outcome>> = BTreeMap::new();
    sim.journal().into_iter().for_each(|entry| asked.entry(entry.request).or_default().push(entry.outcome));
    let is_late = |outcomes: &&Vec<sim::Outcome>| outcomes.contains(&sim::Outcome::Aborted);
    let late = asked.values().filter(is_late).count();
    for outcomes in asked.values() {
        // Of all starts together.
        let most = if is_late(&outcomes) { 2 } else { 1 };
        assert!(outcomes.len() <= most, "{asked:#?}");
    }
    println!("{} calls, {late} were late twice", sim.stats().calls);
    assert!(late >= 2 && sim.stats().calls <= 38 + 40, "{late} of {}", sim.stats().calls);
}

/// What a run froze that began before anything was published.
fn begun(pipeline: &Pipeline) -> Frozen {
    Frozen {
        started_at: SystemClock.now(),
        refresh: false,
        retry: None,
        asked_again: None,
        after: Some(0),
        config_hash: pipeline.config_hash.clone(),
        huopan_version: "0".into(),
    }
}

#[tokio::test]
async fn a_run_whose_day_a_later_one_has_published_is_given_up() {
    let (place, sim, pipeline) = one_by_one(options()).await;
    let report = published(&pipeline, on(20)).await;
    let calls = sim.stats().calls;
    // As if a start had not seen it: it began before the run that published.
    let zone = Zone::new(place.store(), "test", day(20));
    let earlier = RunId::new(report.run_id.began_at().unwrap() - TimeDelta::minutes(5), [7; 10]);
    let frozen = begun(&pipeline);
    zone.freeze(&earlier, &frozen).await.unwrap();
    let outcome = attempt(&pipeline, on(20)).await.unwrap();
    assert_eq!(outcome, Outcome::AlreadyPublished { dt: day(20) });
    assert_eq!(sim.stats().calls, calls);
    assert_eq!(unfinished(&place.store(), "test").await.unwrap(), []);
    let told = place.rows("select status, error from runs order by publish_seq desc limit 1").await;
    assert_eq!((told[0]["status"].as_str(), told[0]["error"].as_str()), ("stopped", "abandoned"));
}

#[tokio::test]
async fn a_run_that_died_after_its_publication_is_over() {
    let (place, sim, pipeline) = one_by_one(options()).await;
    let report = published(&pipeline, on(20)).await;
    let calls = sim.stats().calls;
    // As if the process had died before it cleared its landing away.
    let zone = Zone::new(place.store(), "test", day(20));
    let frozen = begun(&pipeline);
    zone.freeze(&report.run_id, &frozen).await.unwrap();
    let outcome = attempt(&pipeline, on(20)).await.unwrap();
    assert_eq!(outcome, Outcome::AlreadyPublished { dt: day(20) });
    assert_eq!(sim.stats().calls, calls);
    assert_eq!(unfinished(&place.store(), "test").await.unwrap(), []);
}

#[tokio::test]
async fn a_shop_that_the_pipeline_names_no_more_makes_no_rows_though_it_had_landed() {
    let options = Options { shop_sizes: vec![30, 30], ..quick() };
    let (sim, place) = (sim::start(options).await.unwrap(), Place::new());
    let world = sim.world(Gateway::Portals);
    place.pipeline_file(&sim, Gateway::Portals, &shop_lines(&world));
    let land = huopan(place.path(), &["run", "pipeline.toml", "--dt", "2026-11-20", "--until", "land"]).await;
    assert_eq!(land.code, 0, "{land:?}");
    place.pipeline_file(&sim, Gateway::Portals, &format!("shops = [\"{}\"]", world.shops[1].shop_id));
    let calls = sim.stats().calls;
    let ended = huopan(place.path(), &["run", "pipeline.toml", "--dt", "2026-11-20"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("landed answers are kept, and make no rows"), "{ended:?}");
    assert_eq!(sim.stats().calls, calls);
    let shops = place.rows("select distinct shop_id from offers union select shop_id from shops").await;
    assert_eq!(shops.len(), 1, "{shops:?}");
    assert_eq!(shops[0]["shop_id"], world.shops[1].shop_id);
}

#[tokio::test]
async fn a_shop_named_by_its_address_is_left_alone_when_another_is_retried_and_stays_incremental() {
    let options = Options { shop_sizes: vec![30], ..quick() };
    let (sim, place) = (sim::start(options).await.unwrap(), Place::new());
    let url = sim.world(Gateway::Portals).shops[0].shop_url.clone();
    let lines = format!("shops = [\"{url}\", \"b2b-404\"]\n[fetch]\nlisting = \"changed\"");
    place.pipeline_file(&sim, Gateway::Portals, &lines);
    let run = ["run", "pipeline.toml", "--dt", "2026-11-20", "--no-cache"];
    assert_eq!(huopan(place.path(), &run).await.code, 3);
    let calls = sim.stats().calls;
    assert_eq!(huopan(place.path(), &run).await.code, 3);
    let methods: Vec<_> = sim.journal().into_iter().skip(usize::try_from(calls).unwrap()).collect();
    assert!(methods.iter().all(|call| call.request.contains("b2b-404")), "{methods:?}");
    sim.set_day(day(21));
    let calls = sim.stats().calls;
    let ended = huopan(place.path(), &["run", "pipeline.toml", "--dt", "2026-11-21", "--no-cache"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    let asked = sim.journal().into_iter().skip(usize::try_from(calls).unwrap());
    let windowed = asked.filter(|call| call.request.contains("start_time") && !call.request.contains("b2b-404"));
    assert!(windowed.count() >= 2, "what changed and what went off sale is asked for, not the whole shop");
}

#[tokio::test]
async fn a_shop_that_is_named_twice_is_listed_once_and_left_alone_by_a_retry() {
    let (sim, place) = (sim::start(Options { shop_sizes: vec![90], ..quick() }).await.unwrap(), Place::new());
    let world = sim.world(Gateway::Portals);
    let (id, url) = (&world.shops[0].shop_id, &world.shops[0].shop_url);
    let its_calls = (2 + world.shops[0].on_sale.div_ceil(40)).to_string();
    place.pipeline_file(&sim, Gateway::Portals, &format!("shops = [\"{url}\", \"{id}\", \"b2b-404\"]"));
    let run = ["run", "pipeline.toml", "--dt", "2026-11-20", "--no-cache"];
    let first = huopan(place.path(), &run).await;
    assert_eq!(first.code, 3, "{first:?}");
    let says = format!("shop `{url}`: it is the shop that the pipeline names `{id}`, too: it is listed once");
    assert!(first.stderr.contains(&says), "{first:?}");
    assert_asked_once(&sim);
    let sql = format!("select shop_id, shop_url, is_complete, calls_used from shops where shop_id = '{id}'");
    let shops = place.rows(&sql).await;
    assert_eq!(shops.len(), 1, "{shops:?}");
    let row = ["shop_id", "shop_url", "is_complete", "calls_used"].map(|column| shops[0][column].as_str());
    assert_eq!(row, [id, url, "true", &its_calls], "its address, its count and its pages");
    assert_eq!(place.value("select duplicates from runs").await, "0");
    // By now the plan knows, too.
    let plan = huopan(place.path(), &["plan", "pipeline.toml", "--dt", "2026-11-21", "--json"]).await;
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(
        (plan["shops"].as_array().unwrap().len(), &plan["shops_named_again"][0]["shop_id"]),
        (2, &id.as_str().into())
    );
    let calls = sim.stats().calls;
    assert_eq!(huopan(place.path(), &run).await.code, 3);
    let again = requests(&sim).split_off(usize::try_from(calls).unwrap());
    assert!(again.iter().all(|request| request.contains("b2b-404")), "{again:?}");
}

#[tokio::test]
async fn a_repeated_page_ends_one_start_and_not_those_that_follow() {
    use huopan::sim::{Listings, PageNumbers};
    let options = Options { shop_sizes: vec![90], ..quick() };
    let listings = Listings { pages: PageNumbers::Ignored, ..Listings::default() };
    let broken = sim::start(Options { listings, ..options.clone() }).await.unwrap();
    let place = Place::new();
    let run = ["run", "pipeline.toml", "--dt", "2026-11-20"];
    let lines = shop_lines(&broken.world(Gateway::Portals));
    place.pipeline_file(&broken, Gateway::Portals, &lines);
    let ended = huopan(place.path(), &run).await;
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("pages 1 and 2") || ended.stderr.contains("does not read"), "{ended:?}");
    let healthy = sim::start(options).await.unwrap();
    place.pipeline_file(&healthy, Gateway::Portals, &lines);
    assert_eq!(huopan(place.path(), &run).await.code, 0);
}

#[tokio::test]
async fn where_pages_repeat_only_theirs_are_asked_for_again() {
    use huopan::sim::{Listings, PageNumbers};
    let options = Options { shop_sizes: vec![3, 4, 90, 95], ..quick() };
    let listings = Listings { pages: PageNumbers::Ignored, ..Listings::default() };
    let broken = sim::start(Options { listings, ..options.clone() }).await.unwrap();
    let (place, run) = (Place::new(), ["run", "pipeline.toml", "--dt", "2026-11-20"]);
    let lines = shop_lines(&broken.world(Gateway::Portals));
    place.pipeline_file(&broken, Gateway::Portals, &lines);
    for (start, most) in [(0, u64::MAX), (1, 8)] {
        let before = broken.stats().calls;
        let ended = huopan(place.path(), &run).await;
        assert!(ended.code == 1 && ended.stderr.contains("does not read parameter"), "{ended:?}");
        assert!(broken.stats().calls - before <= most, "{start}: {}", broken.stats().calls - before);
    }
    let planned = async || {
        let plan = huopan(place.path(), &["plan", "pipeline.toml", "--dt", "2026-11-20", "--json"]).await;
        let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
        plan["endpoints"].as_array().unwrap().iter().map(|line| line["calls"]["most"].as_u64().unwrap()).sum::<u64>()
    };
    let healthy = sim::start(options).await.unwrap();
    place.pipeline_file(&healthy, Gateway::Portals, &lines);
    assert_eq!(planned().await, 6);
    let definition = std::fs::read_to_string(place.path().join("portals-at-once.toml")).unwrap();
    place.write("portals-at-once.toml", format!("{definition}[endpoints.listing]\npage.number = \"pg\"\n"));
    assert_eq!(planned().await, 8, "what another parameter was answered is asked for again");
    place.write("portals-at-once.toml", definition);
    let ended = huopan(place.path(), &run).await;
    assert_eq!((ended.code, healthy.stats().calls), (0, 6), "three pages of two shops: {ended:?}");
    assert!(!ended.stderr.contains("changed since the run began"), "{ended:?}");
    assert_eq!(place.value("select duplicates from runs where status = 'published'").await, "0");
    let (other, whole) = (Place::new(), place.content(day(20)).await);
    other.pipeline_file(&healthy, Gateway::Portals, &lines);
    assert_eq!(huopan(other.path(), &run).await.code, 0);
    let same = other.content(day(20)).await;
    assert_eq!((&whole["offers"], &whole["price_tiers"]), (&same["offers"], &same["price_tiers"]));
}

#[tokio::test]
async fn counts_stand_where_pages_of_all_shops_repeat_and_not_for_another_day() {
    use huopan::sim::{Listings, PageNumbers};
    let clock = Arc::new(Shifted::default());
    let options = Options { shop_sizes: vec![70, 75, 90, 95], clock: clock.clone(), ..quick() };
    let listings = Listings { pages: PageNumbers::Ignored, ..Listings::default() };
    let broken = sim::start(Options { listings, ..options.clone() }).await.unwrap();
    let healthy = sim::start(options).await.unwrap();
    for (days, calls) in [(0, 10), (1, 14)] {
        let place = Place::new();
        let pipeline = |sim: &Sim| place.shops(sim, Gateway::Portals);
        let error = start(&pipeline(&broken), RUN, clock.clone(), &StopAt::never()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Config, "{error}");
        clock.advance(TimeDelta::days(days));
        let before = healthy.stats().calls;
        let outcome = start(&pipeline(&healthy), RUN, clock.clone(), &StopAt::never()).await.unwrap();
        let Outcome::Published(reports) = outcome else { panic!("{outcome:?}") };
        let published: Vec<NaiveDate> = reports.iter().map(|report| report.dt).collect();
        assert_eq!((published, healthy.stats().calls - before), (vec![beijing_day(clock.now())], calls), "{days}");
        assert_eq!(unfinished(&place.store(), "test").await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_day_that_has_not_begun_is_refused() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    place.pipeline_file(&sim, Gateway::Portals, &shop_lines(&sim.world(Gateway::Portals)));
    let ended = huopan(place.path(), &["run", "pipeline.toml", "--dt", "2999-01-01"]).await;
    assert_eq!((ended.code, sim.stats().calls), (1, 0));
    assert!(ended.stderr.contains("2999-01-01 has not begun"), "{ended:?}");
}

/// As an old day, so that nothing but what was written tells of its calls.
fn old_day() -> NaiveDate {
    beijing_day(SystemClock.now()).checked_sub_days(chrono::Days::new(10)).unwrap()
}

#[tokio::test]
async fn a_run_that_is_given_up_stays_counted_and_is_not_gone_on_with() {
    let (place, sim, pipeline) = one_by_one(options()).await;
    let (_, calls) = undisturbed(&sim, 20).await;
    sim.reset();
    let dt = old_day();
    let on = RunOptions { dt: Some(dt), ..RUN };
    // Killed: it leaves no row, and its calls stand nowhere yet.
    let progress = StopAt::page(4);
    let around =
        Surroundings { clock: Arc::new(SystemClock), progress: &progress, cancel: CancellationToken::new(), seed: 1 };
    tokio::select! {
        ended = run(&pipeline, on, &around) => panic!("not killed: {ended:?}"),
        () = progress.cancel.cancelled() => {}
    }
    let open = unfinished(&place.store(), "test").await.unwrap();
    let run_id = open[0].run_id.to_string();
    let zone = Zone::new(place.store(), "test", dt);
    let landed = zone.records(&open[0].run_id).await.unwrap().len();
    let abandon = ["runs", "abandon", &run_id[..13], "--pipeline", "pipeline.toml"];

    let held = place.store().lock("test", "somebody").await.unwrap();
    let ended = huopan(place.path(), &abandon).await;
    assert_eq!(ended.code, 75, "a run at work is not given up: {ended:?}");
    drop(held);
    let ended = huopan(place.path(), &["runs", "abandon", "ffff", "--pipeline", "pipeline.toml"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    let expected = format!(
        "error: no unfinished run of pipeline `test` has an id that begins with `ffff`\n\
         hint: unfinished: `{run_id}` of {dt}\n"
    );
    assert_eq!(ended.stderr, expected);
    let ended = huopan(place.path(), &["runs", "abandon", &run_id, "--lake", "lake"]).await;
    assert!(ended.code == 1 && ended.stderr.contains("hint: say `--pipeline FILE`"), "{ended:?}");

    let ended = huopan(place.path(), &[&abandon[..], &["--json"]].concat()).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let said: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&said["outcome"], &said["run_id"]), (&"abandoned".into(), &run_id.as_str().into()));
    assert_eq!(said["landed_answers"], landed);
    assert_eq!(unfinished(&place.store(), "test").await.unwrap(), []);
    assert_eq!(zone.records(&open[0].run_id).await.unwrap().len(), landed, "what has landed stays");
    let rows = place.rows("select status, error, calls_used from runs").await;
    let row = ["status", "error", "calls_used"].map(|column| rows[0][column].as_str());
    assert_eq!((rows.len(), row), (1, ["stopped", "abandoned", &landed.to_string()]));
    assert_eq!(place.value("select count(*) from calls").await, landed.to_string());
    let ended = huopan(place.path(), &abandon).await;
    assert!(ended.code == 1 && ended.stderr.ends_with("hint: it has none\n"), "{ended:?}");

    let before = sim.stats().calls;
    let report = published(&pipeline, on).await;
    assert_ne!(report.run_id, open[0].run_id);
    assert_eq!(sim.stats().calls - before, calls, "nothing of it is used again");
    assert_eq!(place.delta_counts().await, place.counts().await);
    // The calls stay counted, also where only the lake is left.
    let other = Place::new();
    copy(&place.lake(), &other.lake());
    let pipeline = other.shops(&sim, Gateway::Portals);
    assert_eq!(attempt(&pipeline, on).await.unwrap(), Outcome::AlreadyPublished { dt });
    let state = huopan::state::open(&pipeline.state).await.unwrap();
    let counted = state.counts(beijing_day(SystemClock.now())).await.unwrap();
    assert_eq!(counted.iter().map(|line| line.calls).sum::<u64>(), u64::try_from(landed).unwrap() + calls);
}

#[tokio::test]
async fn a_run_whose_answers_are_damaged_can_be_given_up_and_a_refresh_leaves_the_day_as_it_was() {
    let (place, sim, pipeline) = one_by_one(options()).await;
    published(&pipeline, on(20)).await;
    let before = place.content(day(20)).await;
    stopped(&pipeline, RunOptions { refresh: true, ..on(20) }, 3).await;
    let victim = segments(&place.lake()).remove(0);
    std::fs::write(&victim, b"spoilt").unwrap();
    let open = unfinished(&place.store(), "test").await.unwrap();
    let run_id = open[0].run_id.to_string();
    let ended = huopan(place.path(), &["runs", "abandon", &run_id, "--pipeline", "pipeline.toml"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let expected = format!(
        "run {run_id} of 2026-11-20 is given up: what it has landed is not used again, its calls stay counted; \
         2026-11-20 stays as it was published before\n"
    );
    assert_eq!(ended.stdout, expected);
    let calls = sim.stats().calls;
    assert_eq!(attempt(&pipeline, on(20)).await.unwrap(), Outcome::AlreadyPublished { dt: day(20) });
    assert_eq!((sim.stats().calls, place.content(day(20)).await), (calls, before));
}

#[tokio::test]
async fn a_day_that_was_made_good_is_reported_though_the_day_after_it_does_not_begin() {
    let (place, _sim, pipeline) = one_by_one(options()).await;
    let today = beijing_day(SystemClock.now());
    let yesterday = today.pred_opt().unwrap();
    stopped(&pipeline, RunOptions { dt: Some(yesterday), ..RUN }, 3).await;
    // Nothing can land today.
    place.write(&format!("lake/_huopan/landing/test/{today}"), "");
    let ended = huopan(place.path(), &["run", "pipeline.toml", "--json"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let said: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&said["outcome"], &said["error"]["kind"]), (&"failed".into(), &"storage".into()), "{said}");
    assert_eq!(said["publications"][0]["dt"], yesterday.to_string());
    assert!(said["error"]["message"].as_str().unwrap().contains("start.json"), "{said}");
}
