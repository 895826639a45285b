//! Extraction with the built-in definitions against the simulator, which verifies signatures with code of its own; and
//! what the other tests of extraction share.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use huopan::base::{Clock, Kind, Result, SystemClock};
use huopan::config::Pipeline;
use huopan::extract::progress::Silent;
use huopan::extract::{Attempt, Job, Judgement, Progress, RunFacts, Sink, judge};
use huopan::plan::Known;
use huopan::sim::{Faults, Gateway, History, Import, Options, Sim, Spread};
use huopan::state::State;
use tokio_util::sync::CancellationToken;

use crate::support::load;

/// Keeps attempts in memory.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) Mutex<Vec<Attempt>>);

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

/// The account that has calls to spare at the simulator.
const MAIN: &str = r#"[[accounts]]
name = "main"
credentials = { app_key = "sim-app", app_secret = "env:SECRET" }
licence = "plenty"
"#;

/// A pipeline as users write it, in words of its own only where a test says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written<'a> {
    /// The name.
    pub(crate) name: &'a str,
    /// The gateway whose definition it extends.
    pub(crate) gateway: Gateway,
    /// What the definition says otherwise, beside the rests of none.
    pub(crate) definition: &'a str,
    /// `shops` or `items`, and what follows up to the accounts.
    pub(crate) lines: &'a str,
    /// The accounts, and what follows them.
    pub(crate) accounts: &'a str,
    /// The state store: a file, or the address of a server.
    pub(crate) state: &'a str,
}

impl<'a> Written<'a> {
    /// Without rests and without a pace.
    pub(crate) fn new(gateway: Gateway, lines: &'a str) -> Self {
        Self { name: "test", gateway, definition: "", lines, accounts: MAIN, state: "state.sqlite" }
    }

    /// Writes it into a folder.
    pub(crate) fn write(&self, folder: &Path, sim: &Sim) -> PathBuf {
        let Self { name, gateway, definition, lines, accounts, state } = *self;
        let (of, url) = (gateway.name(), sim.url(gateway));
        let definition = format!(
            "extends = \"{of}\"\nname = \"{of}\"\n{definition}\n\
             [limits.pause_seconds]\nsuccess = 0\nfailure = 0\nthrottle = 0\n\
             [limits.calls_per_day]\nplenty = 1000000\n"
        );
        std::fs::write(folder.join(format!("{name}-gateway.toml")), definition).unwrap();
        let path = folder.join(format!("{name}.toml"));
        let text = format!(
            "name = \"{name}\"\ngateway = \"./{name}-gateway.toml\"\nurl = \"{url}\"\n{lines}\n{accounts}\n\
             [lake]\nurl = \"lake\"\n[state]\nurl = \"{state}\"\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Reads it as a run does.
    pub(crate) fn load(&self, sim: &Sim) -> Pipeline {
        let folder = tempfile::tempdir().unwrap();
        load(&self.write(folder.path(), sim))
    }

    /// The same, for a gateway that takes calls as fast as they come.
    pub(crate) fn at_once(&self, sim: &Sim) -> Pipeline {
        let mut pipeline = self.load(sim);
        pipeline.gateway.limits.calls_per_second = None;
        pipeline.accounts.iter_mut().for_each(|account| account.calls_per_second = None);
        pipeline
    }
}

/// A pipeline on a simulated gateway without rests.
fn pipeline(sim: &Sim, gateway: Gateway, lines: &str) -> Pipeline {
    let mut accounts = MAIN.to_owned();
    if gateway == Gateway::Aop {
        accounts = accounts.replace("\"env:SECRET\"", "\"env:SECRET\", access_token = \"env:TOKEN\"");
    }
    Written { accounts: &accounts, ..Written::new(gateway, lines) }.at_once(sim)
}

/// What an extraction takes from outside.
pub(crate) struct Around<'a> {
    pub(crate) state: State,
    pub(crate) known: Known,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) progress: &'a dyn Progress,
}

impl Around<'_> {
    /// A new ledger, nothing known, the machine's time.
    pub(crate) async fn new() -> Self {
        let state = huopan::state::in_memory().await.unwrap();
        Self { state, known: Known::default(), clock: Arc::new(SystemClock), progress: &Silent }
    }
}

async fn run(pipeline: &Pipeline) -> (Result<RunFacts>, Vec<Attempt>) {
    extract(pipeline, &Around::new().await).await
}

/// Extracts into memory.
pub(crate) async fn extract(pipeline: &Pipeline, around: &Around<'_>) -> (Result<RunFacts>, Vec<Attempt>) {
    let sink = Memory::default();
    let now = around.clock.now();
    let job = Job {
        pipeline,
        work: huopan::plan::work(pipeline).unwrap(),
        known: &around.known,
        run_id: "run",
        dt: huopan::base::time::beijing_day(now),
        until: now,
        answered: &huopan::extract::answered::Nothing,
        earlier_calls: HashMap::new(),
        state: around.state.as_ref(),
        holder: "test",
        clocks: Default::default(),
        reuse: huopan::extract::Reuse::ALL,
        gate: None,
        clock: Arc::clone(&around.clock),
        sink: &sink,
        progress: around.progress,
        notes: &std::sync::Mutex::default(),
        cancel: CancellationToken::new(),
        seed: 7,
    };
    let facts = huopan::extract::extract(job).await;
    (facts, sink.0.into_inner().unwrap())
}

/// The attempts of an endpoint that were answered well.
pub(crate) fn good<'a>(pipeline: &Pipeline, attempts: &'a [Attempt], endpoint: &str) -> Vec<&'a Attempt> {
    let definition = &pipeline.gateway.endpoints[endpoint];
    let good = |attempt: &&Attempt| {
        attempt.record.endpoint == endpoint
            && judge(&pipeline.gateway, definition, &attempt.record, &attempt.body) == Judgement::Good
    };
    attempts.iter().filter(good).collect()
}

/// Ids of everything on sale in the simulator's shop.
pub(crate) fn on_sale(sim: &Sim, gateway: Gateway, shop: usize) -> BTreeSet<i64> {
    let shop = &sim.world(gateway).shops[shop];
    shop.offers.iter().filter(|offer| offer.is_on_sale).map(|offer| offer.offer_id).collect()
}

/// The offers that the pages of a listing hold.
pub(crate) fn listed(pipeline: &Pipeline, attempts: &[Attempt]) -> BTreeSet<i64> {
    good(pipeline, attempts, "listing").into_iter().flat_map(|page| ids_on(pipeline, page)).collect()
}

/// The offers on one page.
pub(crate) fn ids_on(pipeline: &Pipeline, page: &Attempt) -> Vec<i64> {
    let endpoint = &pipeline.gateway.endpoints[page.record.endpoint.as_str()];
    let answer = huopan::base::json::parse(&page.body).unwrap();
    let huopan::extract::answer::List::Records(list) = huopan::extract::answer::list(endpoint, answer) else {
        return Vec::new();
    };
    let records = huopan::extract::answer::records(list);
    records.filter_map(|record| huopan::extract::answer::offer_id(&pipeline.gateway.offer, record)).collect()
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

/// A shop with more offers at one moment and in one category than a gateway lists.
pub(crate) fn crowded() -> History {
    History { import: Some(Import { spread: Spread::OneCategory, ..Import::of(2_100) }), ..History::default() }
}

#[tokio::test]
async fn a_shop_with_more_at_one_moment_than_fifty_pages_is_incomplete() {
    let options = Options { shop_sizes: vec![2400], limits: [].into(), slow_millis_max: 0, ..Options::default() };
    let sim = huopan::sim::start(options.with_history(crowded())).await.unwrap();
    let shop = &sim.world(Gateway::Portals).shops[0];
    assert!(shop.on_sale > 2100);
    let pipeline = pipeline(&sim, Gateway::Portals, &format!(r#"shops = ["{}"]"#, shop.shop_id));
    let (facts, attempts) = run(&pipeline).await;
    let facts = facts.unwrap();
    let reason = facts.shops[0].incomplete_reason.as_deref().unwrap();
    assert!(reason.contains("past page 50 × 40"), "{reason}");
    let missing = on_sale(&sim, Gateway::Portals, 0).len() - listed(&pipeline, &attempts).len();
    assert!(missing <= 100, "{missing} are missing, {} could not be listed", 2100 - 2000);
}
