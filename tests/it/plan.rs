//! What `plan` says a run costs, held against the calls that `run` then makes; and what `on_quota` does with it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use huopan::base::{Clock, Kind, SystemClock};
use huopan::config::Pipeline;
use huopan::extract::Progress;
use huopan::extract::progress::{Event, Silent};
use huopan::run::{Options as RunOptions, Outcome, Surroundings, run};
use huopan::sim::{self, Gateway, History, Import, Options, Sim};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::support::{Ended, Place, attempt, day, huopan, item_lines, load, quick, shop_lines};

/// Calls by endpoint.
type Used = BTreeMap<String, u64>;

/// A simulator and a pipeline on it.
struct Bench {
    place: Place,
    sim: Sim,
    file: PathBuf,
}

impl Bench {
    async fn new(gateway: Gateway, options: Options, lines: impl Fn(&Sim) -> String) -> Self {
        let (place, sim) = (Place::new(), sim::start(options).await.unwrap());
        let file = place.pipeline_file(&sim, gateway, &lines(&sim));
        Self { place, sim, file }
    }

    /// Portals' shops, listed in this way.
    async fn shops(shop_sizes: Vec<usize>, more: &str) -> Self {
        let lines = |sim: &Sim| format!("{}\n{more}", shop_lines(&sim.world(Gateway::Portals)));
        Self::new(Gateway::Portals, Options { shop_sizes, ..quick() }, lines).await
    }

    /// Replaces a part of the pipeline's file.
    fn change(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.file).unwrap();
        assert!(text.contains(from), "no `{from}` in:\n{text}");
        std::fs::write(&self.file, text.replacen(from, to, 1)).unwrap();
    }

    fn pipeline(&self) -> Pipeline {
        load(&self.file)
    }

    async fn huopan(&self, arguments: &[&str]) -> Ended {
        huopan(self.place.path(), arguments).await
    }

    /// `huopan plan --json`.
    async fn plan(&self, arguments: &[&str]) -> Value {
        let ended = self.huopan(&[&["plan", "pipeline.toml", "--json"], arguments].concat()).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        serde_json::from_str(&ended.stdout).unwrap()
    }

    /// `huopan run`, and the calls it made as the simulator counted them by endpoint.
    async fn run(&self, dt: &str, code: i32) -> Used {
        self.run_with(&["--dt", dt], code).await
    }

    async fn run_with(&self, arguments: &[&str], code: i32) -> Used {
        let before = self.sim.stats().calls;
        let began_at = SystemClock.now();
        let ended = self.huopan(&[&["run", "pipeline.toml", "--json"], arguments].concat()).await;
        assert_eq!(ended.code, code, "{ended:?}");
        let outcome: Value = serde_json::from_str(&ended.stdout).unwrap();
        let run_id = outcome["publications"][0]["run_id"].as_str().unwrap();
        // A run that goes on has rows of its earlier starts.
        let sql = format!(
            "select endpoint, cast(count(*) as varchar) as calls from calls \
             where run_id = '{run_id}' and sent_at >= '{}' group by endpoint",
            began_at.format("%Y-%m-%dT%H:%M:%S%.6fZ")
        );
        let rows = self.place.rows(&sql).await;
        let used: Used = rows.iter().map(|row| (row["endpoint"].clone(), row["calls"].parse().unwrap())).collect();
        assert_eq!(used.values().sum::<u64>(), self.sim.stats().calls - before, "the journal of calls and the gateway");
        used
    }
}

/// Portals' shops by their addresses.
fn shop_addresses(sim: &Sim) -> String {
    let world = sim.world(Gateway::Portals);
    let urls: Vec<String> = world.shops.iter().map(|shop| format!("{:?}", shop.shop_url)).collect();
    format!("shops = [{}]", urls.join(", "))
}

/// Exactly these calls, by endpoint.
fn exact(plan: &Value) -> Used {
    let line = |line: &Value| {
        assert_eq!(line["calls"]["exactness"], "exact", "{line}");
        (line["endpoint"].as_str().unwrap().to_owned(), line["calls"]["most"].as_u64().unwrap())
    };
    let used: Used = plan["endpoints"].as_array().unwrap().iter().map(line).collect();
    assert_eq!(plan["total"]["exactness"], "exact", "{plan}");
    assert_eq!(plan["total"]["most"], used.values().sum::<u64>());
    used
}

/// Fails unless each endpoint's calls are within what the plan says of it.
fn within(plan: &Value, used: &Used) {
    for line in plan["endpoints"].as_array().unwrap() {
        let used = used.get(line["endpoint"].as_str().unwrap()).copied().unwrap_or(0);
        assert!(line["calls"]["least"].as_u64().unwrap() <= used, "{line}: {used}");
        assert!(line["calls"]["most"].as_u64().is_none_or(|most| used <= most), "{line}: {used}");
    }
    let planned: Vec<&str> =
        plan["endpoints"].as_array().unwrap().iter().map(|line| line["endpoint"].as_str().unwrap()).collect();
    assert!(used.keys().all(|endpoint| planned.contains(&&**endpoint)), "{used:?} is more than {planned:?}");
}

fn used(calls: &[(&str, u64)]) -> Used {
    calls.iter().map(|(endpoint, calls)| ((*endpoint).to_owned(), *calls)).collect()
}

#[tokio::test]
async fn a_probed_plan_of_shops_is_exactly_what_run_then_uses() {
    // 60, 45 and 80 offers on pages of 40; of the 80 the second page is full.
    let bench = Bench::shops(vec![60, 45, 80], "").await;
    let world = bench.sim.world(Gateway::Portals);
    let pages: u64 = world.shops.iter().map(|shop| (shop.on_sale as u64).div_ceil(40)).sum();
    let blind = bench.plan(&["--dt", "2026-11-20"]).await;
    assert_eq!(bench.sim.stats().calls, 0, "without a probe nothing is asked");
    let plan = bench.plan(&["--probe", "--dt", "2026-11-20"]).await;
    assert_eq!((&plan["probe_calls"], bench.sim.stats().calls), (&3.into(), 3));
    assert_eq!(exact(&plan), used(&[("listing", pages)]));
    let spent = bench.run("2026-11-20", 0).await;
    assert_eq!(spent, exact(&plan));
    // The first plan knew nothing: it was an upper bound, of counts and pages.
    within(&blind, &used(&[("count", 3), ("listing", pages)]));
    assert_eq!(blind["total"]["most"], 3 + 3 * 50);
}

#[tokio::test]
async fn a_probed_plan_of_shops_by_address_is_exactly_what_run_then_uses() {
    let bench = Bench::new(Gateway::Portals, quick(), shop_addresses).await;
    let blind = bench.plan(&["--dt", "2026-11-20"]).await;
    let before =
        |name: &str| blind["endpoints"].as_array().unwrap().iter().find(|line| line["endpoint"] == name).unwrap();
    let resolved = before("shop")["calls"]["most"].as_u64().unwrap();
    assert!(resolved > 0, "an address that does not show its shop's id");
    let plan = bench.plan(&["--probe", "--dt", "2026-11-20"]).await;
    assert_eq!(plan["probe_calls"], resolved + 2);
    assert_eq!(bench.run("2026-11-20", 0).await, exact(&plan));
    assert_eq!(exact(&plan).keys().collect::<Vec<_>>(), ["listing"]);
}

#[tokio::test]
async fn a_probed_plan_counts_the_first_pages_that_gave_the_totals() {
    let lines = |sim: &Sim| shop_lines(&sim.world(Gateway::ShopSearch));
    let options = Options { shop_sizes: vec![250, 45, 130], ..quick() };
    let bench = Bench::new(Gateway::ShopSearch, options, lines).await;
    let plan = bench.plan(&["--probe"]).await;
    assert_eq!(plan["probe_calls"], 3);
    let today = plan["dt"].as_str().unwrap().to_owned();
    assert_eq!(bench.run(&today, 0).await, exact(&plan));
    assert_eq!(exact(&plan), used(&[("listing", 3)]), "pages 2 and 3 of the first shop, page 2 of the third");
}

#[tokio::test]
async fn a_plan_of_single_offers_is_exactly_what_run_then_uses_without_a_probe() {
    for gateway in [Gateway::ItemGet, Gateway::ProductGet] {
        let options = Options { shop_sizes: vec![17, 9], ..quick() };
        let bench = Bench::new(gateway, options, |sim| item_lines(&sim.world(gateway))).await;
        let plan = bench.plan(&["--dt", "2026-11-20"]).await;
        assert_eq!(exact(&plan), used(&[("item", 26)]), "{gateway:?}");
        assert_eq!(bench.run("2026-11-20", 0).await, exact(&plan), "{gateway:?}");
    }
}

#[tokio::test]
async fn the_price_of_sku_details_is_unknown_at_first_and_bounded_once_a_picture_holds_skus() {
    for mode in ["missing", "changed", "all"] {
        let bench = Bench::shops(vec![60, 45], &format!("[fetch]\nskus = \"{mode}\"\n")).await;
        bench.sim.set_day(day(19));
        let first = bench.plan(&["--probe", "--dt", "2026-11-19"]).await;
        assert_eq!(first["total"]["most"], Value::Null, "nobody knows how many SKUs there are");
        let skus = |used: &Used| used.get("sku").copied().unwrap_or(0);
        let night = bench.run("2026-11-19", 0).await;
        within(&first, &night);
        assert!(skus(&night) > 100, "{night:?}");
        bench.sim.set_day(day(20));
        let second = bench.plan(&["--probe", "--dt", "2026-11-20"]).await;
        assert!(second["total"]["most"].as_u64().is_some(), "{second}");
        // Answers are kept for 24 hours: without them every SKU is a call, as the plan says.
        bench.change("[fetch]\n", "[fetch]\ncache = false\n");
        let night = bench.run("2026-11-20", 0).await;
        let (counts, rest): (Used, Used) = night.into_iter().partition(|(endpoint, _)| endpoint == "count");
        assert_eq!(counts, used(&[("count", 2)]), "a run without caches asks for the counts again");
        within(&second, &rest);
    }
}

#[tokio::test]
async fn a_shop_that_must_be_split_by_category_is_bounded_once_a_night_has_split_it() {
    let history = History { import: Some(Import::of(2_200)), ..History::default() };
    let options = Options { shop_sizes: vec![2_200], ..quick() }.with_history(history);
    let bench = Bench::new(Gateway::Portals, options, |sim| shop_lines(&sim.world(Gateway::Portals))).await;
    let granted = "if the shop of 2 000 offers or more need not be split by category";
    let plan = bench.huopan(&["plan", "pipeline.toml", "--probe", "--dt", "2026-11-20"]).await;
    assert!(plan.stdout.contains(granted), "{plan:?}");
    let plan = bench.plan(&["--dt", "2026-11-20"]).await;
    let spent: u64 = bench.run("2026-11-20", 0).await.values().sum();
    // Each category ends with a page of its own: no definition says how many these are.
    assert!(spent > plan["total"]["most"].as_u64().unwrap(), "{plan}");
    for options in [&["--dt", "2026-11-21"][..], &["--dt", "2026-11-21", "--probe"]] {
        let next = bench.plan(options).await;
        assert!(next["total"]["most"].as_u64().unwrap() >= spent, "{next}: {spent}");
        assert!(!next["assumes"].to_string().contains("category"), "{next}");
    }
    let next = bench.plan(&["--dt", "2026-11-21"]).await;
    let spent: u64 = bench.run("2026-11-21", 0).await.values().sum();
    assert!(next["total"]["most"].as_u64().unwrap() >= spent, "{next}: {spent}");
}

#[tokio::test]
async fn past_the_cap_a_plan_says_that_it_is_an_estimate_and_holds_where_windows_are_read() {
    let bench = Bench::shops(vec![5300], "").await;
    let offers = bench.sim.world(Gateway::Portals).shops[0].on_sale as u64;
    let plan = bench.plan(&["--probe", "--dt", "2026-11-20"]).await;
    assert_eq!(plan["total"]["exactness"], "estimate", "{plan}");
    let spent = bench.run("2026-11-20", 0).await;
    within(&plan, &spent);
    assert!(plan["total"]["least"].as_u64().unwrap() >= offers.div_ceil(40));
    let unsplit = "{\"assumption\":\"shops_not_split_by_category\",\"offers_from\":2000,\"shops\":1}";
    assert!(plan["assumes"].to_string().contains(unsplit), "{plan}");
    // The proof of it.
    let run_id = bench.place.value("select run_id from runs").await;
    let shown = bench.huopan(&["runs", "show", &run_id, "--coverage", "--json", "--lake", "lake"]).await;
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!((&shown["runs"][0]["status"], &shown["shops"][0]["is_complete"]), (&"published".into(), &true.into()));
    let shop = &shown["coverage"][0]["shops"][0];
    assert_eq!((&shop["distinct"], &shop["official_count"]), (&offers.into(), &offers.into()));
    let slices = shop["slices"].as_array().unwrap();
    let pages: u64 = slices.iter().map(|slice| slice["pages"].as_u64().unwrap()).sum();
    assert!(slices.len() > 1 && slices.iter().any(|slice| slice["start_at"].is_string()), "{shop}");
    assert_eq!(pages, spent["listing"], "every page stands in the proof: {shop}");
    let text = bench.huopan(&["runs", "show", &run_id[..20], "--coverage", "--lake", "lake"]).await;
    assert_eq!((text.code, &*text.stderr), (0, ""), "{text:?}");
    for part in [
        &*format!("run {run_id}: pipeline `test`, 2026-11-20, attempt 1: published\n"),
        " modified from ",
        " advanced\n",
        " complete\n",
    ] {
        assert!(text.stdout.contains(part), "no `{part}` in:\n{}", text.stdout);
    }
}

#[tokio::test]
async fn a_run_that_left_no_facts_says_so_instead_of_a_proof() {
    let (bench, _) = with_calls(10, "").await;
    assert_eq!(bench.huopan(&["run", "pipeline.toml"]).await.code, 1);
    let run_id = bench.place.value("select run_id from runs").await;
    let text = bench.huopan(&["runs", "show", &run_id, "--coverage", "--lake", "lake"]).await.stdout;
    assert!(text.contains("more than any day allows"), "{text}");
    assert!(text.contains(&format!("run {run_id}: no proof of coverage: ")), "{text}");
}

#[tokio::test]
async fn an_incremental_night_is_bounded_and_shows_what_listing_all_would_cost() {
    let history = History { changed_per_mille: 10, ..History::default() };
    let options = Options { shop_sizes: vec![900, 300], ..quick() }.with_history(history);
    // Watermarks are times: the runs happen at noon of the world's days, when all that a day changes has changed.
    let clock = Arc::new(Shifted::at_noon());
    let today = huopan::base::time::beijing_day(clock.now());
    let options = Options { clock: Arc::clone(&clock) as Arc<dyn Clock>, day: Some(today), ..options };
    let lines = |sim: &Sim| format!("{}\n[fetch]\nlisting = \"changed\"\n", shop_lines(&sim.world(Gateway::Portals)));
    let bench = Bench::new(Gateway::Portals, options, lines).await;
    let pipeline = bench.pipeline();
    assert!(matches!(at(&clock, &pipeline, &Silent).await.unwrap(), Outcome::Published(_)));
    clock.days(1);
    let tomorrow = today.succ_opt().unwrap();
    bench.sim.set_day(tomorrow);
    let plan = bench.plan(&["--dt", &tomorrow.to_string()]).await;
    let shop = &plan["shops"][0];
    assert_eq!((&shop["listing"], &shop["offers_from"]), (&"changed".into(), &"day_before".into()), "{plan}");
    let choices = plan["choices"].as_array().unwrap();
    let listing: Vec<(&str, bool)> = choices
        .iter()
        .filter(|choice| choice["setting"] == "listing")
        .map(|choice| (choice["value"].as_str().unwrap(), choice["is_set"].as_bool().unwrap()))
        .collect();
    assert_eq!(listing, [("all", false), ("changed", true)]);
    let before = bench.sim.stats().calls;
    assert!(matches!(at(&clock, &pipeline, &Silent).await.unwrap(), Outcome::Published(_)));
    let spent = bench.sim.stats().calls - before;
    assert!(plan["total"]["most"].as_u64().unwrap() >= spent, "{spent} calls: {plan}");
    assert!(plan["total"]["least"].as_u64().unwrap() <= spent, "{spent} calls: {plan}");
    let all = choices.iter().find(|choice| choice["setting"] == "listing" && choice["value"] == "all").unwrap();
    assert!(spent < all["calls"]["most"].as_u64().unwrap(), "{spent} calls: {all}");
    assert_eq!(plan["expected"], Value::Null, "no night before was listed by what changed");
    // The next night may well cost what this one did.
    clock.days(1);
    let next = tomorrow.succ_opt().unwrap().to_string();
    let plan = bench.plan(&["--dt", &next]).await;
    assert_eq!(plan["expected"], spent, "{plan}");
    let text = bench.huopan(&["plan", "pipeline.toml", "--dt", &next]).await.stdout;
    assert!(text.contains(&format!(", {spent} to be expected from the last nights")), "{text}");
    assert!(text.contains("  expected  done\n") && text.contains(" ~"), "{text}");
}

#[tokio::test]
async fn a_night_of_changes_that_ended_in_a_whole_listing_is_one_of_those_that_are_expected() {
    // So many change that on any day some go.
    let history = History { changed_per_mille: 100, vanishing_per_mille: 1000, ..History::default() };
    let options = Options { shop_sizes: vec![1_200], ..quick() }.with_history(history);
    let clock = Arc::new(Shifted::at_noon());
    let today = huopan::base::time::beijing_day(clock.now());
    let options = Options { clock: Arc::clone(&clock) as Arc<dyn Clock>, day: Some(today), ..options };
    let lines = |sim: &Sim| format!("{}\n[fetch]\nlisting = \"changed\"\n", shop_lines(&sim.world(Gateway::Portals)));
    let bench = Bench::new(Gateway::Portals, options, lines).await;
    let mut spent = 0;
    for night in 0..2 {
        let before = bench.sim.stats().calls;
        bench.sim.set_day(today + chrono::Days::new(night));
        assert!(matches!(at(&clock, &bench.pipeline(), &Silent).await.unwrap(), Outcome::Published(_)));
        spent = bench.sim.stats().calls - before;
        clock.days(1);
    }
    assert!(spent > 30, "nobody was told what vanished: {spent} calls");
    let plan = bench.plan(&["--dt", &(today + chrono::Days::new(2)).to_string()]).await;
    assert_eq!((&plan["shops"][0]["listing"], &plan["expected"]), (&"changed".into(), &spent.into()), "{plan}");
}

#[tokio::test]
async fn money_and_time_are_told_where_the_definition_states_them() {
    let bench = Bench::shops(vec![60, 45], "").await;
    let definition = bench.place.path().join("portals-at-once.toml");
    let text = std::fs::read_to_string(&definition).unwrap();
    let text = text.replace(
        "calls_per_second = 1000",
        "calls_per_second = 2\nprice_per_call = { amount = \"0.0035\", currency = \"CNY\" }",
    );
    std::fs::write(&definition, text).unwrap();
    let plan = bench.plan(&["--probe", "--dt", "2026-11-20"]).await;
    let gateway = &plan["gateways"][0];
    assert_eq!(gateway["cost"], serde_json::json!({"currency": "CNY", "least": "0.0140", "most": "0.0140"}), "4 pages");
    assert_eq!(plan["seconds"], 2, "4 calls, 2 a second");
    let text = bench.huopan(&["plan", "pipeline.toml", "--dt", "2026-11-20"]).await.stdout;
    assert!(text.contains(" CNY"), "{text}");
    assert!(text.contains("it fits into today"), "{text}");
}

/// Cancels the run once so many pages have been answered.
struct AfterPages {
    cancel: CancellationToken,
    left: AtomicI64,
}

impl Progress for AfterPages {
    fn on(&self, event: Event<'_>) {
        if matches!(event, Event::Page { .. }) && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.cancel.cancel();
        }
    }
}

#[tokio::test]
async fn of_an_unfinished_run_only_what_is_left_is_priced() {
    for gateway in [Gateway::Portals, Gateway::ShopSearch] {
        let options = Options { shop_sizes: vec![700, 450], ..quick() };
        let bench = Bench::new(gateway, options, |sim| shop_lines(&sim.world(gateway))).await;
        let cancel = CancellationToken::new();
        let progress = AfterPages { cancel: cancel.clone(), left: AtomicI64::new(4) };
        let around = Surroundings { clock: Arc::new(SystemClock), progress: &progress, cancel, seed: 1 };
        let options = RunOptions { dt: Some(day(20)), ..RunOptions::default() };
        let stopped = run(&bench.pipeline(), options, &around).await.unwrap();
        assert!(matches!(stopped, Outcome::Stopped { .. }), "{stopped:?}");
        let answered = bench.sim.stats().calls;
        let plan = bench.plan(&["--dt", "2026-11-20"]).await;
        assert_eq!((&plan["start"], bench.sim.stats().calls), (&"goes_on".into(), answered), "{gateway:?}");
        let left = exact(&plan);
        assert_eq!(bench.run("2026-11-20", 0).await, left, "{gateway:?}");
        let plan = bench.plan(&["--dt", "2026-11-20"]).await;
        assert_eq!(plan["start"], "published", "{gateway:?}");
    }
}

#[tokio::test]
async fn of_a_day_with_an_incomplete_shop_only_its_retry_is_priced() {
    let bench = Bench::shops(vec![200, 45], "").await;
    bench.change("shops = [", "shops = [\"b2b-404\", ");
    bench.run("2026-11-20", 3).await;
    let plan = bench.plan(&["--dt", "2026-11-20"]).await;
    assert_eq!(plan["start"], "retries", "{plan}");
    let shops: Vec<&Value> = plan["shops"].as_array().unwrap().iter().map(|shop| &shop["shop_id"]).collect();
    assert_eq!(shops, ["b2b-404"]);
    let text = bench.huopan(&["plan", "pipeline.toml", "--dt", "2026-11-20"]).await.stdout;
    assert!(text.contains("published, but 1 shop is incomplete; it alone is asked for again"), "{text}");
    within(&plan, &bench.run("2026-11-20", 3).await);
}

/// The machine's clock, moved.
#[derive(Debug, Default)]
struct Shifted(AtomicI64);

impl Shifted {
    /// It is noon of today in Beijing.
    fn at_noon() -> Self {
        let now = SystemClock.now();
        let noon = huopan::base::time::beijing_day(now).and_hms_opt(12, 0, 0).unwrap();
        let noon = noon.and_local_timezone(huopan::base::time::BEIJING).unwrap().to_utc();
        Self(AtomicI64::new((noon - now).num_seconds()))
    }

    fn days(&self, days: i64) {
        self.forward(TimeDelta::days(days));
    }

    fn forward(&self, by: TimeDelta) {
        self.0.fetch_add(by.num_seconds(), Ordering::SeqCst);
    }
}

impl Clock for Shifted {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::seconds(self.0.load(Ordering::SeqCst))
    }
}

async fn at(clock: &Arc<Shifted>, pipeline: &Pipeline, progress: &dyn Progress) -> huopan::base::Result<Outcome> {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let around = Surroundings { clock, progress, cancel: CancellationToken::new(), seed: 7 };
    run(pipeline, RunOptions::default(), &around).await
}

/// A bench whose pipeline and simulator share a clock, with so many calls a day.
async fn with_calls(calls: u64, lines: &str) -> (Bench, Arc<Shifted>) {
    let clock = Arc::new(Shifted::default());
    let options = Options { clock: Arc::clone(&clock) as Arc<dyn Clock>, shop_sizes: vec![400, 200], ..quick() };
    let shops = |sim: &Sim| format!("{lines}\n{}", shop_lines(&sim.world(Gateway::Portals)));
    let bench = Bench::new(Gateway::Portals, options, shops).await;
    bench.change("calls_per_day = 3000", &format!("calls_per_day = {calls}"));
    (bench, clock)
}

fn starts(bench: &Bench) -> usize {
    bench.place.lake_files().iter().filter(|path| path.ends_with("start.json")).count()
}

/// Two shops of 400 and 200 offers at least need this many calls: two counts, and pages of 40.
fn needs(bench: &Bench) -> u64 {
    let world = bench.sim.world(Gateway::Portals);
    2 + world.shops.iter().map(|shop| (shop.on_sale as u64).div_ceil(40)).sum::<u64>()
}

#[tokio::test]
async fn a_run_that_no_day_allows_is_refused_before_anything_is_listed_and_its_counts_are_paid_once() {
    let (bench, clock) = with_calls(10, "").await;
    let ended = bench.huopan(&["run", "pipeline.toml"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("more than any day allows"), "{ended:?}");
    assert!(ended.stderr.contains("on_quota = \"continue\""), "{ended:?}");
    assert_eq!((bench.sim.stats().calls, starts(&bench)), (2, 0), "two counts, and no run is left behind");
    // What was counted is not paid for again, and the quota that a user buys makes it fit.
    let needs = needs(&bench);
    bench.change("calls_per_day = 10", &format!("calls_per_day = {needs}"));
    assert!(matches!(at(&clock, &bench.pipeline(), &Silent).await.unwrap(), Outcome::Published(_)));
    assert_eq!(bench.sim.stats().calls, needs);
}

#[tokio::test]
async fn a_run_that_fits_another_day_is_refused_with_that_day_and_begins_on_its_own() {
    let (bench, clock) = with_calls(3000, "").await;
    let needs = needs(&bench);
    bench.change("calls_per_day = 3000", &format!("calls_per_day = {}", needs + 3));
    let accounts = ["accounts", "set", "main", "--calls", "9", "--pipeline", "pipeline.toml"];
    assert_eq!(bench.huopan(&accounts).await.code, 0);
    let error = at(&clock, &bench.pipeline(), &Silent).await.unwrap_err();
    let tomorrow = huopan::base::time::beijing_day(clock.now()).succ_opt().unwrap();
    assert_eq!((error.kind(), error.kind().exit_code()), (Kind::Quota, 75), "{error}");
    assert!(error.to_string().contains(&format!("they fit on {tomorrow}")), "{error}");
    assert_eq!((bench.sim.stats().calls, starts(&bench)), (2, 0));
    let error = at(&clock, &bench.pipeline(), &Silent).await.unwrap_err();
    assert_eq!((error.kind(), bench.sim.stats().calls), (Kind::Quota, 2), "counts are kept for ten minutes");
    clock.days(1);
    let Outcome::Published(reports) = at(&clock, &bench.pipeline(), &Silent).await.unwrap() else { panic!() };
    assert_eq!(reports[0].dt, tomorrow, "a run that was refused has no day yet");
}

#[tokio::test]
async fn a_start_that_is_refused_again_on_the_same_day_buys_no_counts_again() {
    let (bench, clock) = with_calls(3000, "").await;
    // At noon in Beijing: the day is not over when counts are too old to stand for the shops.
    let noon = huopan::base::time::beijing_day(clock.now()).succ_opt().unwrap().and_hms_opt(4, 0, 0).unwrap().and_utc();
    clock.forward(noon - clock.now());
    bench.change("calls_per_day = 3000", "calls_per_day = 10");
    for minutes in [0, 11, 180] {
        clock.forward(TimeDelta::minutes(minutes));
        let error = at(&clock, &bench.pipeline(), &Silent).await.unwrap_err();
        assert_eq!((error.kind(), bench.sim.stats().calls, starts(&bench)), (Kind::Config, 2, 0), "{minutes}: {error}");
    }
    // What a listing is held against is asked for again.
    let needs = needs(&bench);
    bench.change("calls_per_day = 10", &format!("calls_per_day = {}", 2 + needs));
    assert!(matches!(at(&clock, &bench.pipeline(), &Silent).await.unwrap(), Outcome::Published(_)));
    assert_eq!(bench.sim.stats().calls, 2 + needs);
}

#[tokio::test]
async fn the_gate_knows_what_the_counts_have_cost() {
    let (bench, clock) = with_calls(3000, "").await;
    let needs = needs(&bench);
    // One call less than it needs: the counts fit, and the pages would without them.
    bench.change("calls_per_day = 3000", &format!("calls_per_day = {}", needs - 1));
    let error = at(&clock, &bench.pipeline(), &Silent).await.unwrap_err();
    assert_eq!((error.kind(), bench.sim.stats().calls), (Kind::Config, 2), "no day allows it: {error}");
    assert_eq!(starts(&bench), 0);
}

/// Shops whose SKU details are asked for, with so many calls a day more than their counts and listings need.
async fn with_skus(mode: &str, more_calls: u64) -> (Bench, u64) {
    let bench = Bench::shops(vec![60, 45], &format!("[fetch]\nskus = \"{mode}\"\n")).await;
    let listed = needs(&bench);
    bench.change("calls_per_day = 3000", &format!("calls_per_day = {}", listed + more_calls));
    (bench, listed)
}

#[tokio::test]
async fn details_that_do_not_fit_are_refused_when_the_listings_have_named_them_and_the_plan_knows_their_number() {
    let (bench, listed) = with_skus("missing", 20).await;
    let ended = bench.huopan(&["run", "pipeline.toml"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("the run still needs") && ended.stderr.contains("more than any day allows"),
        "{ended:?}"
    );
    assert_eq!(
        (bench.sim.stats().calls, starts(&bench)),
        (listed, 1),
        "no detail is asked for; what has landed is kept"
    );
    let plan = bench.plan(&[]).await;
    let (left, dt) = (exact(&plan), plan["dt"].as_str().unwrap());
    assert_eq!((&plan["start"], left.len()), (&"goes_on".into(), 1), "nothing but SKUs: {left:?}");
    assert!(left["sku"] > 20, "{left:?}");
    assert!(ended.stderr.contains(&format!("still needs {} calls", left["sku"])), "{ended:?}");
    let (choices, skus) = (plan["choices"].as_array().unwrap(), &left["sku"]);
    let skus_of = |choice: &&Value| choice["setting"] == "skus" && choice["value"] != "off";
    assert!(choices.iter().filter(skus_of).all(|choice| choice["calls"]["most"] == *skus), "all are new: {choices:?}");
    // It is refused again without a call, and fits tomorrow with a call less than today would take.
    assert_eq!(bench.huopan(&["run", "pipeline.toml"]).await.code, 1);
    let too_few = listed + left["sku"] - 1;
    bench.change(&format!("calls_per_day = {}", listed + 20), &format!("calls_per_day = {too_few}"));
    let ended = bench.huopan(&["run", "pipeline.toml"]).await;
    assert_eq!((ended.code, bench.sim.stats().calls), (75, listed), "{ended:?}");
    assert!(ended.stderr.contains("more than are left today; they fit on"), "{ended:?}");
    bench.change(&format!("calls_per_day = {too_few}"), &format!("calls_per_day = {}", too_few + 1));
    assert_eq!(bench.run(dt, 0).await, left);
}

#[tokio::test]
async fn what_details_of_skus_would_cost_is_known_once_a_night_without_them_has_named_them() {
    let (bench, _) = with_skus("off", 2000).await;
    bench.run("2026-11-20", 0).await;
    let most = |plan: &Value, value: &str| {
        let choices = plan["choices"].as_array().unwrap();
        let choice = choices.iter().find(|choice| choice["setting"] == "skus" && choice["value"] == value).unwrap();
        choice["calls"]["most"].as_u64()
    };
    let plan = bench.plan(&["--dt", "2026-11-21"]).await;
    let told: Vec<u64> = ["missing", "changed", "all"].iter().filter_map(|value| most(&plan, value)).collect();
    bench.change("skus = \"off\"", "skus = \"missing\"");
    let plan = bench.plan(&["--dt", "2026-11-21"]).await;
    let bound = plan["total"]["most"].as_u64().unwrap();
    let used: u64 = bench.run("2026-11-21", 0).await.values().sum();
    assert!(told.len() == 3 && told.iter().all(|told| *told >= used) && bound >= used, "{told:?} {bound}: {used}");
    assert!(bound <= used * 2, "no wild guess: {bound}, {used}");
}

/// Midnight comes with the last page of the listings.
struct Midnight {
    clock: Arc<Shifted>,
    pages: AtomicI64,
}

impl Progress for Midnight {
    fn on(&self, event: Event<'_>) {
        if matches!(event, Event::Page { .. }) && self.pages.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.clock.forward(TimeDelta::minutes(40));
        }
    }
}

#[tokio::test]
async fn details_that_come_after_midnight_are_held_against_the_calls_of_the_new_day() {
    let (rich, listed) = with_skus("missing", 2000).await;
    let skus = rich.run("2026-11-20", 0).await["sku"];
    let clock = Arc::new(Shifted::default());
    let options = Options { clock: Arc::clone(&clock) as Arc<dyn Clock>, shop_sizes: vec![60, 45], ..quick() };
    let lines = |sim: &Sim| format!("{}\n[fetch]\nskus = \"missing\"\n", shop_lines(&sim.world(Gateway::Portals)));
    let bench = Bench::new(Gateway::Portals, options, lines).await;
    bench.change("calls_per_day = 3000", &format!("calls_per_day = {}", skus.max(listed)));
    let evening = huopan::base::time::beijing_day(clock.now()).succ_opt().unwrap();
    clock.forward(evening.and_hms_opt(15, 40, 0).unwrap().and_utc() - clock.now());
    let pages = AtomicI64::new(i64::try_from(listed - 2).unwrap());
    let outcome = at(&clock, &bench.pipeline(), &Midnight { clock: Arc::clone(&clock), pages }).await.unwrap();
    assert!(matches!(&outcome, Outcome::Published(reports) if reports[0].dt == evening), "{outcome:?}");
}

#[tokio::test]
async fn a_run_that_may_go_on_another_day_says_how_many_details_are_left() {
    let (bench, listed) = with_skus("all", 20).await;
    bench.change("shops = [", "on_quota = \"continue\"\nshops = [");
    let definition = std::fs::read_to_string(bench.place.path().join("portals-at-once.toml")).unwrap();
    bench.place.write("portals-at-once.toml", definition + "calls_in_flight = 1\n");
    // The second shop's listing is open yet when the calls end among the first one's details.
    assert_eq!(bench.huopan(&["run", "pipeline.toml"]).await.code, 75);
    assert_eq!(bench.sim.stats().calls, listed + 20);
    let plan = bench.plan(&[]).await;
    let [first, second] = [0, 1].map(|shop| plan["shops"][shop].clone());
    assert_eq!(first["calls"]["exactness"], "exact", "{first}");
    assert_eq!(second["calls"]["exactness"], "at_least", "{second}");
    bench.change(&format!("calls_per_day = {}", listed + 20), "calls_per_day = 3000");
    let before = bench.sim.journal().len();
    let run = bench.run(plan["dt"].as_str().unwrap(), 0).await;
    within(&plan, &run);
    let details = bench.sim.journal()[before..].iter().filter(|call| call.request.contains("alibaba.sku.get")).count();
    assert!(first["calls"]["most"].as_u64().unwrap() < details as u64, "{first}: {details}");
}

#[tokio::test]
async fn details_that_the_caches_hold_are_no_reason_to_refuse_a_run() {
    let (bench, listed) = with_skus("all", 2000).await;
    bench.run("2026-11-20", 0).await;
    let spent = bench.sim.stats().calls;
    bench.change(&format!("calls_per_day = {}", listed + 2000), &format!("calls_per_day = {}", spent + listed));
    assert_eq!(bench.run("2026-11-21", 0).await.values().sum::<u64>(), listed);
}

#[tokio::test]
async fn an_unfinished_run_that_does_not_fit_today_is_kept_with_its_answers() {
    let (bench, clock) = with_calls(3000, "").await;
    let pipeline = bench.pipeline();
    let cancel = CancellationToken::new();
    let progress = AfterPages { cancel: cancel.clone(), left: AtomicI64::new(4) };
    let around = Surroundings { clock: Arc::new(SystemClock), progress: &progress, cancel, seed: 1 };
    let stopped = run(&pipeline, RunOptions::default(), &around).await.unwrap();
    let Outcome::Stopped { dt, .. } = stopped else { panic!("{stopped:?}") };
    let spent = bench.sim.stats().calls;
    bench.change("calls_per_day = 3000", &format!("calls_per_day = {}", needs(&bench)));
    // One call is left today: fewer than are open, however many answers the stop let in.
    let used = (needs(&bench) - 1).to_string();
    let accounts = ["accounts", "set", "main", "--calls", &used, "--pipeline", "pipeline.toml"];
    assert_eq!(bench.huopan(&accounts).await.code, 0);
    let error = at(&clock, &bench.pipeline(), &Silent).await.unwrap_err();
    assert_eq!((error.kind(), bench.sim.stats().calls, starts(&bench)), (Kind::Quota, spent, 1), "{error}");
    clock.days(1);
    let outcome = at(&clock, &bench.pipeline(), &Silent).await;
    // It published under its own day first; today's run does not fit into what is left then, or has its own publication.
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), Kind::Quota, "{error}");
    assert_eq!(bench.place.value(&format!("select count(distinct shop_id) from shops where dt = '{dt}'")).await, "2");
    let own = needs(&bench);
    let listed = bench.place.value(&format!("select count(*) from calls where dt = '{dt}'")).await;
    assert_eq!(listed.parse::<u64>().unwrap(), own, "no answered call was made twice");
}

#[tokio::test]
async fn continue_takes_the_stalest_shops_first_stops_cleanly_and_goes_on_under_the_same_day() {
    let (bench, clock) = with_calls(3000, "on_quota = \"continue\"").await;
    // One call at a time: calls that leave together may arrive in any order.
    let definition = std::fs::read_to_string(bench.place.path().join("portals-at-once.toml")).unwrap();
    bench.place.write("portals-at-once.toml", definition + "calls_in_flight = 1\n");
    let (needs, world) = (needs(&bench), bench.sim.world(Gateway::Portals));
    let [first, second] = [0, 1].map(|shop| world.shops[shop].shop_id.clone());
    // Yesterday only the first shop was fetched: the second one is stalest.
    bench.change(&format!(", \"{second}\""), "");
    assert!(matches!(at(&clock, &bench.pipeline(), &Silent).await.unwrap(), Outcome::Published(_)));
    bench.change(&format!("[\"{first}\""), &format!("[\"{first}\", \"{second}\""));
    clock.days(1);
    bench.sim.reset();
    bench.change("calls_per_day = 3000", "calls_per_day = 9");
    let today = huopan::base::time::beijing_day(clock.now());
    let stopped = at(&clock, &bench.pipeline(), &Silent).await.unwrap();
    let Outcome::Stopped { dt, kind, reason, stands: false } = stopped else { panic!("{stopped:?}") };
    assert_eq!((dt, kind.exit_code(), bench.sim.stats().calls), (today, 75, 9), "{reason}");
    let asked = bench.sim.journal();
    assert!(asked[0].request.contains(&second), "the shop that was never fetched goes first: {asked:?}");
    clock.days(1);
    bench.change("calls_per_day = 9", &format!("calls_per_day = {needs}"));
    let error = at(&clock, &bench.pipeline(), &Silent).await;
    // It went on under its own day and published it; then today's run began and stopped when the calls ended.
    assert!(matches!(error, Ok(Outcome::Stopped { dt, .. }) if dt == today.succ_opt().unwrap()), "{error:?}");
    assert_eq!(
        bench.place.value(&format!("select count(distinct shop_id) from shops where dt = '{today}'")).await,
        "2"
    );
    let calls = bench.place.value(&format!("select count(*) from calls where dt = '{today}'")).await;
    assert_eq!(calls.parse::<u64>().unwrap(), needs, "no answered call was made twice");
}

#[tokio::test]
async fn a_published_day_costs_nothing_and_says_what_a_refresh_would() {
    let bench = Bench::shops(vec![60], "").await;
    bench.run("2026-11-20", 0).await;
    let text = bench.huopan(&["plan", "pipeline.toml", "--dt", "2026-11-20"]).await.stdout;
    assert!(text.contains("published already, `run` makes no call; `run --refresh` costs"), "{text}");
    let outcome = attempt(&bench.pipeline(), RunOptions { dt: Some(day(20)), ..RunOptions::default() }).await;
    assert_eq!(outcome.unwrap(), Outcome::AlreadyPublished { dt: day(20) });
}

#[tokio::test]
async fn a_refresh_uses_what_a_probe_has_bought_for_it_and_nothing_older() {
    for gateway in [Gateway::Portals, Gateway::ShopSearch] {
        let lines = |sim: &Sim| match gateway {
            Gateway::Portals => shop_addresses(sim),
            _ => shop_lines(&sim.world(gateway)),
        };
        let bench = Bench::new(gateway, Options { shop_sizes: vec![250, 45], ..quick() }, lines).await;
        // Bought before the day was published: the run that published it has used it up.
        bench.plan(&["--probe", "--dt", "2026-11-20"]).await;
        let first = bench.run("2026-11-20", 0).await;
        let blind = bench.plan(&["--dt", "2026-11-20"]).await;
        let shop = &blind["shops"][0];
        assert_eq!((&blind["start"], &shop["offers_from"]), (&"published".into(), &"count_earlier_today".into()));
        assert!(shop["calls"]["least"].as_u64().unwrap() >= 3, "{gateway:?}: its size is known: {shop}");
        let anew = bench.run_with(&["--dt", "2026-11-20", "--refresh"], 0).await;
        within(&blind, &anew);
        assert!(anew.values().sum::<u64>() == first.values().sum::<u64>() + 2, "{gateway:?}: two counts: {anew:?}");
        let plan = bench.plan(&["--probe", "--dt", "2026-11-20"]).await;
        assert_eq!(plan["probe_calls"], 2, "{gateway:?}");
        assert_eq!(bench.run_with(&["--dt", "2026-11-20", "--refresh"], 0).await, exact(&plan), "{gateway:?}");
        bench.plan(&["--probe", "--dt", "2026-11-20"]).await;
        let nothing = bench.run_with(&["--dt", "2026-11-20", "--refresh", "--no-cache"], 0).await;
        assert!(nothing.values().sum::<u64>() >= anew.values().sum(), "{gateway:?}: {nothing:?}");
    }
}

#[tokio::test]
async fn a_refresh_asks_for_details_anew() {
    let bench = Bench::shops(vec![20], "[fetch]\nskus = \"all\"\n").await;
    let first = bench.run("2026-11-20", 0).await;
    let plan = bench.plan(&["--dt", "2026-11-20"]).await;
    let anew = bench.run_with(&["--dt", "2026-11-20", "--refresh"], 0).await;
    assert_eq!(anew["sku"], first["sku"]);
    within(&plan, &anew);
    assert!(plan["total"]["most"].as_u64().is_some(), "the picture of the day tells how many SKUs there are: {plan}");
}

#[tokio::test]
async fn without_caches_a_run_pays_again_for_what_a_probe_has_bought_and_the_plan_says_so() {
    let lines = |sim: &Sim| format!("{}\n[fetch]\ncache = false\n", shop_addresses(sim));
    let bench = Bench::new(Gateway::Portals, quick(), lines).await;
    let plan = bench.plan(&["--probe", "--dt", "2026-11-20"]).await;
    assert_eq!(exact(&plan)["count"], 2);
    assert_eq!(bench.run("2026-11-20", 0).await, exact(&plan));
}

#[tokio::test]
async fn a_probe_buys_every_count_also_where_calls_rest_between_shops() {
    let sim = sim::start(Options { shop_sizes: vec![5; 9], ..quick() }).await.unwrap();
    let place = Place::new();
    let file = place.pipeline_file(&sim, Gateway::Portals, &shop_lines(&sim.world(Gateway::Portals)));
    let definition = std::fs::read_to_string(place.path().join("portals-at-once.toml")).unwrap();
    place.write("portals-at-once.toml", definition.replace("success = 0,", "success = 0.05,"));
    let file = file.file_name().unwrap().to_string_lossy().into_owned();
    let ended = huopan(place.path(), &["plan", &file, "--probe", "--json"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(sim.stats().calls, 9, "one count a shop, and no page");
}
