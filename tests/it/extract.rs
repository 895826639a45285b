//! Extraction with the built-in definitions against the simulator, which verifies signatures with code of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a failed test")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use huopan::base::Clock as _;
use huopan::base::{Kind, Result, SystemClock};
use huopan::config::gateway::Pause;
use huopan::config::{Pipeline, load_pipeline};
use huopan::extract::progress::Silent;
use huopan::extract::{Attempt, Job, Judgement, RunFacts, Sink, judge};
use huopan::sim::{Faults, Gateway, Options, Sim};
use tokio_util::sync::CancellationToken;

#[derive(Default)]
struct Memory(Mutex<Vec<Attempt>>);

#[async_trait::async_trait]
impl Sink for Memory {
    async fn land(&self, mut attempt: Attempt) -> Result<Attempt> {
        let mut attempts = self.0.lock().unwrap();
        attempt.record.number = i64::try_from(attempts.len()).unwrap() + 1;
        attempts.push(attempt.clone());
        Ok(attempt)
    }
}

async fn simulator(shop_sizes: &[usize], faults: Faults) -> Sim {
    let shop_sizes = shop_sizes.to_vec();
    let options = Options { shop_sizes, faults, limits: [].into(), slow_millis_max: 0, ..Options::default() };
    huopan::sim::start(options).await.unwrap()
}

/// A pipeline on a simulated gateway, read as users write it, but without the gateway's rests.
fn pipeline(sim: &Sim, gateway: Gateway, lines: &str) -> Pipeline {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.toml");
    let licence = match gateway {
        Gateway::Portals => r#"licence = "paid""#,
        Gateway::ItemGet => r#"licence = "company""#,
        _ => "",
    };
    let token = if gateway == Gateway::Aop { ", access_token = \"env:TOKEN\"" } else { "" };
    let text = format!(
        r#"name = "test"
gateway = "{}"
url = "{}"
{lines}
[[accounts]]
name = "main"
credentials = {{ app_key = "sim-app", app_secret = "env:SECRET"{token} }}
calls_per_day = 3000
{licence}
[lake]
url = "lake"
"#,
        gateway.name(),
        sim.url(gateway)
    );
    std::fs::write(&path, text).unwrap();
    let env = |name: &str| Some(if name == "TOKEN" { "sim-token" } else { "sim-secret" }.to_owned());
    let mut pipeline = load_pipeline(&path, &env).unwrap_or_else(|problems| panic!("{problems}"));
    pipeline.gateway.limits.pause = Pause { success: 0.0, failure: 0.0, throttle: 0.0 };
    pipeline.gateway.limits.calls_per_second = None;
    pipeline
}

async fn run(pipeline: &Pipeline) -> (Result<RunFacts>, Vec<Attempt>) {
    let sink = Memory::default();
    let (clock, cancel) = (Arc::new(SystemClock), CancellationToken::new());
    let state = huopan::state::in_memory().await.unwrap();
    let job = Job {
        pipeline,
        work: huopan::plan::work(pipeline).unwrap(),
        known: &huopan::plan::Known::default(),
        run_id: "run",
        dt: huopan::base::time::beijing_day(clock.now()),
        until: clock.now(),
        answered: &huopan::extract::answered::Nothing,
        earlier_calls: std::collections::HashMap::new(),
        state: state.as_ref(),
        holder: "test",
        reads_cache: true,
        reads_counts: true,
        gate: None,
        clock,
        sink: &sink,
        progress: &Silent,
        notes: &Mutex::default(),
        cancel,
        seed: 7,
    };
    let facts = huopan::extract::extract(job).await;
    (facts, sink.0.into_inner().unwrap())
}

/// The attempts of an endpoint that were answered well.
fn good<'a>(pipeline: &Pipeline, attempts: &'a [Attempt], endpoint: &str) -> Vec<&'a Attempt> {
    let definition = &pipeline.gateway.endpoints[endpoint];
    let good = |attempt: &&Attempt| {
        attempt.record.endpoint == endpoint
            && judge(&pipeline.gateway, definition, &attempt.record, &attempt.body) == Judgement::Good
    };
    attempts.iter().filter(good).collect()
}

/// Ids of everything on sale in the simulator's shop.
fn on_sale(sim: &Sim, gateway: Gateway, shop: usize) -> BTreeSet<i64> {
    let shop = &sim.world(gateway).shops[shop];
    shop.offers.iter().filter(|offer| offer.is_on_sale).map(|offer| offer.offer_id).collect()
}

fn listed(pipeline: &Pipeline, attempts: &[Attempt]) -> BTreeSet<i64> {
    let endpoint = &pipeline.gateway.endpoints["listing"];
    let mut ids = BTreeSet::new();
    for attempt in good(pipeline, attempts, "listing") {
        let answer = huopan::base::json::parse(&attempt.body).unwrap();
        if let huopan::extract::answer::List::Records(list) = huopan::extract::answer::list(endpoint, answer) {
            let records = huopan::extract::answer::records(list);
            ids.extend(records.filter_map(|record| huopan::extract::answer::offer_id(&pipeline.gateway.offer, record)));
        }
    }
    ids
}

#[tokio::test]
async fn whole_shops_of_portals_come_in_under_faults() {
    let sim = simulator(&[90, 130], Faults::Heavy).await;
    let world = sim.world(Gateway::Portals);
    let lines = format!(r#"shops = ["{}", "{}"]"#, world.shops[0].shop_url, world.shops[1].shop_id);
    let pipeline = pipeline(&sim, Gateway::Portals, &lines);
    let (facts, attempts) = run(&pipeline).await;
    let facts = facts.unwrap();
    for (index, shop) in facts.shops.iter().enumerate() {
        assert_eq!(shop.shop_id, world.shops[index].shop_id);
        assert_eq!(shop.incomplete_reason, None, "{facts:?}");
        assert_eq!(shop.official_count, Some(i64::try_from(world.shops[index].on_sale).unwrap()));
    }
    let expected: BTreeSet<i64> =
        on_sale(&sim, Gateway::Portals, 0).union(&on_sale(&sim, Gateway::Portals, 1)).copied().collect();
    assert_eq!(listed(&pipeline, &attempts), expected);
    assert!(facts.retries > 0, "the faults did not bite");
}

#[tokio::test]
async fn the_pages_of_shop_search_are_followed_to_their_end() {
    let sim = simulator(&[230], Faults::None).await;
    let shop = sim.world(Gateway::ShopSearch).shops[0].shop_id.clone();
    let pipeline = pipeline(&sim, Gateway::ShopSearch, &format!(r#"shops = ["{shop}"]"#));
    let (facts, attempts) = run(&pipeline).await;
    let facts = facts.unwrap();
    assert_eq!(facts.shops[0].incomplete_reason, None);
    assert_eq!(listed(&pipeline, &attempts), on_sale(&sim, Gateway::ShopSearch, 0));
}

#[tokio::test]
async fn single_items_come_from_every_gateway_that_has_them_as_json_and_xml() {
    let sim = simulator(&[40], Faults::Light).await;
    for (gateway, answer) in [
        (Gateway::ItemGet, ""),
        (Gateway::ProductGet, ""),
        (Gateway::ProductGet, "[fetch]\nanswer = \"xml\"\n"),
        (Gateway::Aop, ""),
    ] {
        let ids: Vec<String> = on_sale(&sim, gateway, 0).iter().take(6).map(|id| format!("\"{id}\"")).collect();
        let lines = format!("items = [{}]\n{answer}", ids.join(", "));
        let pipeline = pipeline(&sim, gateway, &lines);
        let (facts, attempts) = run(&pipeline).await;
        let facts = facts.unwrap_or_else(|error| panic!("{}: {error}", gateway.name()));
        assert_eq!(facts.items_unanswered, Vec::<i64>::new(), "{}", gateway.name());
        let good = good(&pipeline, &attempts, "item");
        assert_eq!(good.len(), 6, "{} {answer}: {:?}", gateway.name(), attempts.last());
        let xml = good.iter().all(|attempt| attempt.body.starts_with(b"<"));
        assert_eq!(xml, answer.contains("xml"), "{}", gateway.name());
    }
}

#[tokio::test]
async fn a_wrong_secret_is_denied_by_every_gateway_after_one_call() {
    let sim = simulator(&[10], Faults::None).await;
    for gateway in Gateway::ALL {
        let shops = matches!(gateway, Gateway::Portals | Gateway::ShopSearch);
        let lines = if shops { r#"shops = ["2200733087881719"]"# } else { r#"items = ["712757874907"]"# };
        let mut pipeline = pipeline(&sim, gateway, lines);
        pipeline.gateway.limits.calls_in_flight = 1;
        for credential in pipeline.accounts[0].credentials.values_mut() {
            if let huopan::config::pipeline::Credential::Secret(secret) = credential
                && secret.expose() == "sim-secret"
            {
                *secret = huopan::base::Secret::new("another-secret");
            }
        }
        let (facts, attempts) = run(&pipeline).await;
        assert_eq!(facts.expect_err(gateway.name()).kind(), Kind::Denied, "{}", gateway.name());
        assert_eq!(attempts.len(), 1, "{}", gateway.name());
    }
}

#[tokio::test]
async fn a_shop_past_fifty_pages_is_incomplete() {
    let sim = simulator(&[2400], Faults::None).await;
    let shop = &sim.world(Gateway::Portals).shops[0];
    assert!(shop.on_sale > 2000);
    let pipeline = pipeline(&sim, Gateway::Portals, &format!(r#"shops = ["{}"]"#, shop.shop_id));
    let (facts, _) = run(&pipeline).await;
    let facts = facts.unwrap();
    let reason = facts.shops[0].incomplete_reason.as_deref().unwrap();
    assert!(reason.contains("past page 50 × 40"), "{reason}");
    assert_eq!(facts.calls_used, 51);
}
