//! Runs whose process is killed at exact calls, again and again, until one start publishes.
//!
//! The simulator holds the k-th answer, the process is sent SIGKILL while it waits, and `huopan run` is started again. k is
//! seeded over the whole range of calls. Half of the runs go on on a machine that has the lake only. However a run was
//! killed, nothing may differ from a run that was not: the tables, and the calls but for those in flight at a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use chrono::NaiveDate;
use huopan::extract::Record;
use huopan::land::Zone;
use huopan::sim::{self, Gateway, Options, Sim, WindowEnd};

use crate::support::{Place, Row, copy, day, ended, huopan, item_lines, quick, shop_lines, spawn};

/// Of all gateways here: calls in flight.
const WORKERS: u64 = 4;
/// Runs of each scenario, each killed one to four times.
const RUNS: u64 = 10;

/// Pages of ten, three at most: a small shop is past the cap.
const SMALL_PAGES: &str = "[endpoints.listing]\npage = { last = 3, size_max = 10 }\n";
const WINDOW_END: &str = "window = { end = \"end_time\" }\n";

/// What is run.
struct Scenario {
    name: &'static str,
    gateway: Gateway,
    options: Options,
    /// Lines of the pipeline.
    lines: fn(&Sim) -> String,
    /// Lines of the gateway's definition.
    definition: String,
    /// The world's days; all but the last are published undisturbed.
    days: Vec<NaiveDate>,
}

fn scenarios() -> Vec<Scenario> {
    let scenario = |name, gateway, shop_sizes: Vec<usize>, lines| Scenario {
        name,
        gateway,
        options: Options { shop_sizes, ..quick() },
        lines,
        definition: String::new(),
        days: vec![day(20)],
    };
    let portals = |name, sizes, lines| scenario(name, Gateway::Portals, sizes, lines);
    let windows = |name, definition: String, window_end| {
        let scenario = portals(name, vec![260, 20], |sim| shop_lines(&sim.world(Gateway::Portals)));
        Scenario { definition, options: Options { window_end, ..scenario.options.clone() }, ..scenario }
    };
    vec![
        portals("shops by address, SKU details", vec![14, 9, 11], |sim| {
            let world = sim.world(Gateway::Portals);
            let urls: Vec<String> = world.shops.iter().map(|shop| format!("{:?}", shop.shop_url)).collect();
            format!("shops = [{}]\n[fetch]\nskus = \"missing\"", urls.join(", "))
        }),
        windows("past the cap, windows with ends", format!("{SMALL_PAGES}{WINDOW_END}"), WindowEnd::Honoured),
        windows("past the cap, windows without ends", SMALL_PAGES.to_owned(), WindowEnd::Ignored),
        Scenario {
            days: vec![day(18), day(19), day(20)],
            ..portals("a night of changes", vec![420, 210], |sim| {
                format!("{}\n[fetch]\nlisting = \"changed\"", shop_lines(&sim.world(Gateway::Portals)))
            })
        },
        scenario("single items", Gateway::ItemGet, vec![40, 30], |sim| item_lines(&sim.world(Gateway::ItemGet))),
    ]
}

impl Scenario {
    fn place(&self, sim: &Sim) -> Place {
        let place = Place::new();
        place.pipeline_file(sim, self.gateway, &(self.lines)(sim));
        let definition = format!("{}-at-once.toml", self.gateway.name());
        let text = std::fs::read_to_string(place.path().join(&definition)).unwrap();
        let text = text.replace("[limits]\n", &format!("[limits]\ncalls_in_flight = {WORKERS}\n"));
        place.write(&definition, format!("{text}{}", self.definition));
        place
    }

    fn dt(&self) -> NaiveDate {
        *self.days.last().unwrap()
    }

    /// The days before, undisturbed.
    async fn begin(&self, sim: &Sim) -> Place {
        let place = self.place(sim);
        for &dt in self.days.split_last().unwrap().1 {
            sim.set_day(dt);
            publish(&place, dt).await;
        }
        sim.set_day(self.dt());
        sim.reset();
        place
    }
}

async fn publish(place: &Place, dt: NaiveDate) {
    let ended = huopan(place.path(), &["run", "pipeline.toml", "--dt", &dt.to_string()]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
}

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    /// From 1 to `most`.
    fn throw(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % most.max(1) + 1
    }
}

/// What the kills of a scenario came to.
#[derive(Default)]
struct Sum {
    points: u64,
    kills_max: u64,
    undisturbed: u64,
    /// The most calls more than undisturbed, with the bound of that run.
    worst: (u64, u64),
    lost: u64,
}

/// A journal entry or a landed record as the gateway was asked.
fn said(request: &BTreeMap<String, String>) -> String {
    let said = request.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    assert!(said.len() < 500, "longer than the journal keeps: {said}");
    said
}

async fn landed(place: &Place, dt: NaiveDate) -> Vec<Record> {
    let zone = Zone::new(place.store(), "test", dt);
    let runs = zone.runs().await.unwrap();
    let mut records = Vec::new();
    for run in &runs {
        records.extend(zone.records(run).await.unwrap().into_iter().filter(|record| record.copied_from.is_none()));
    }
    let ids: BTreeSet<&str> = records.iter().map(|record| record.run_id.as_str()).collect();
    assert!(ids.len() <= 1, "one run, whoever goes on with it: {ids:?}");
    records
}

/// One run, killed `kills` times, then published; everything that must hold is held against `content`.
async fn killed(
    scenario: &Scenario,
    sim: &Sim,
    content: &BTreeMap<&'static str, Vec<Row>>,
    dice: &mut Dice,
    sum: &mut Sum,
) {
    let (mut place, dt) = (scenario.begin(sim).await, scenario.dt());
    let (kills, moves) = (dice.throw(4), dice.throw(2) == 1);
    let (mut settled, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    let mut lost = 0;
    for kill in 1..=kills {
        let before = journal(sim);
        let left = sum.undisturbed - u64::try_from(settled.len()).unwrap();
        let at = sim.traffic().arrived + dice.throw(left);
        sim.hold_from(Some(at));
        let mut process = spawn(place.path(), &["run", "pipeline.toml", "--dt", &dt.to_string()], &ENV);
        tokio::select! {
            _ = sim.until(|traffic| traffic.held > 0) => {}
            status = process.wait() => panic!("{}: ended before call {at}: {status:?}", scenario.name),
        }
        process.start_kill().unwrap();
        assert_eq!(ended(process).await.code, -1);
        sim.hold_from(None);
        sim.until(|traffic| traffic.inside == 0).await;

        let journal = journal(sim);
        let again: Vec<_> = journal[before.len()..].iter().filter(|call| settled.contains(*call)).collect();
        assert!(again.is_empty(), "{}: asked again though it had landed: {again:?}", scenario.name);
        let records = landed(&place, dt).await;
        settled = records.iter().map(|record| said(&record.request)).collect();
        assert!(settled.iter().all(|call| journal.contains(call)), "{}: {settled:?}", scenario.name);
        numbers.extend(records.iter().map(|record| record.number));
        assert_eq!(numbers.len(), records.len(), "{}: numbers are given once and kept", scenario.name);
        lost = journal.len() - records.len();
        assert!(lost as u64 <= WORKERS * kill, "{}: {lost} of {} lost", scenario.name, journal.len());
        if moves {
            // Another machine goes on: only the lake is left.
            let machine = scenario.place(sim);
            copy(&place.lake(), &machine.lake());
            place = machine;
        }
    }
    let before = journal(sim).len();
    publish(&place, dt).await;
    let journal = journal(sim);
    let again: Vec<_> = journal[before..].iter().filter(|call| settled.contains(*call)).collect();
    assert!(again.is_empty(), "{}: asked again though it had landed: {again:?}", scenario.name);
    let (calls, bound) = (journal.len() as u64, WORKERS * kills);
    let more = calls.saturating_sub(sum.undisturbed);
    let undisturbed = sum.undisturbed;
    // Which pages a listing past the cap asks for depends a little on which answers come first; nothing that had landed is
    // asked again, and that is checked above.
    assert!(more <= bound, "{}: {calls} calls, undisturbed {undisturbed}, lost {lost}: {journal:#?}", scenario.name);
    assert_eq!(place.content(dt).await, *content, "{}", scenario.name);
    journals(&place, dt, &numbers, journal.len() - lost).await;
    sum.points += kills;
    sum.kills_max = sum.kills_max.max(kills);
    sum.lost += lost as u64;
    if more >= sum.worst.0 {
        sum.worst = (more, bound);
    }
}

/// The calls of the run's journals: each that landed, once.
async fn journals(place: &Place, dt: NaiveDate, numbers: &BTreeSet<i64>, calls: usize) {
    let rows = place.rows(&format!("select number from calls where dt = '{dt}'")).await;
    let journalled: BTreeSet<i64> = rows.iter().map(|row| row["number"].parse().unwrap()).collect();
    assert_eq!((rows.len(), journalled.len()), (calls, calls), "each call once");
    assert!(journalled.is_superset(numbers), "{numbers:?} {journalled:?}");
    let runs = place.rows(&format!("select status, attempt, calls_used from runs where dt = '{dt}'")).await;
    assert_eq!(runs.len(), 1, "a killed start leaves no row: {runs:?}");
    assert_eq!((&*runs[0]["status"], &*runs[0]["attempt"]), ("published", "1"));
    assert_eq!(runs[0]["calls_used"], calls.to_string());
    let raw = format!("select count(*) from raw_pages where dt = '{dt}'");
    assert_eq!(place.value(&raw).await, calls.to_string());
    let left: Vec<_> = place.lake_files().into_iter().filter(|path| is_open(path)).collect();
    assert_eq!(left, [""; 0].map(std::path::PathBuf::from));
}

fn is_open(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|end| end == "seg") || path.ends_with("start.json")
}

fn journal(sim: &Sim) -> Vec<String> {
    sim.journal().into_iter().map(|entry| entry.request).collect()
}

const ENV: [(&str, &str); 2] = [("SECRET", "sim-secret"), ("TOKEN", "sim-token")];

async fn all_kills(scenario: Scenario, seed: u64) -> (&'static str, Sum) {
    let sim = sim::start(scenario.options.clone()).await.unwrap();
    let place = scenario.begin(&sim).await;
    publish(&place, scenario.dt()).await;
    let mut sum = Sum { undisturbed: sim.stats().calls, ..Sum::default() };
    let content = place.content(scenario.dt()).await;
    let whole = content["offers"].len() as u64 / 40;
    assert!(scenario.days.len() == 1 || sum.undisturbed < whole, "{} calls: by what changed", sum.undisturbed);
    assert!(content["offers"].len() > 20 && content["shops"].iter().all(|shop| shop["is_complete"] == "true"));
    let mut dice = Dice(seed);
    for _ in 0..RUNS {
        killed(&scenario, &sim, &content, &mut dice, &mut sum).await;
    }
    (scenario.name, sum)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_killed_at_any_call_publishes_what_an_undisturbed_run_does() {
    let running = scenarios().into_iter().zip(1..).map(|(scenario, seed)| all_kills(scenario, seed));
    let mut table = format!(
        "{:<36} {:>6} {:>9} {:>12} {:>12} {:>6} {:>6}\n",
        "scenario", "points", "in a row", "calls", "worst extra", "bound", "lost"
    );
    let mut points = 0;
    for (name, sum) in futures::future::join_all(running).await {
        let Sum { points: of, kills_max, undisturbed, worst: (more, bound), lost } = sum;
        writeln!(table, "{name:<36} {of:>6} {kills_max:>9} {undisturbed:>12} {more:>12} {bound:>6} {lost:>6}").unwrap();
        points += of;
    }
    println!("{table}");
    assert!(points >= 100, "{points} points");
}
