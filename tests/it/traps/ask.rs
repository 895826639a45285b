//! A pipeline on a simulated or scripted gateway: its definition extends a built-in one, without its rests.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a failed test")]

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::Method;
use huopan::base::{Clock as _, Error, Kind, Result, SystemClock};
use huopan::config::{Gateway as Definition, Pipeline, load_gateway, load_pipeline};
use huopan::extract::progress::Event;
use huopan::extract::{Attempt, Job, Progress, RunFacts};
use huopan::run::{Options as RunOptions, Report};
use huopan::sim::{Gateway, Options, Sim, WorldTruth};
use huopan::state::State;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::extract::Memory;
use crate::support::{self, Place, day};

/// A built-in definition.
pub(super) fn built_in(name: &str) -> Definition {
    load_gateway(name, std::path::Path::new(".")).unwrap()
}

/// A simulator with one small shop and no limits.
pub(super) async fn sim() -> Sim {
    sim_with(|_| {}).await
}

pub(super) async fn sim_with(change: impl FnOnce(&mut Options)) -> Sim {
    let mut options = Options { shop_sizes: vec![12], ..support::quick() };
    change(&mut options);
    huopan::sim::start(options).await.unwrap()
}

/// The first `count` offers on sale.
pub(super) fn ids(world: &WorldTruth, count: usize) -> Vec<i64> {
    let offers = world.shops.iter().flat_map(|shop| &shop.offers);
    offers.filter(|offer| offer.is_on_sale).map(|offer| offer.offer_id).take(count).collect()
}

/// `items = […]`
pub(super) fn items(ids: &[i64]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| format!("\"{id}\"")).collect();
    format!("items = [{}]", ids.join(", "))
}

/// A pipeline to be.
pub(super) struct Trap {
    pub(super) place: Place,
    base: &'static str,
    is_built_in: bool,
    url: String,
    definition: String,
    lines: String,
    accounts: String,
    proxy: String,
}

impl Trap {
    pub(super) fn on(sim: &Sim, gateway: Gateway) -> Self {
        Self::at(&sim.url(gateway), gateway.name())
    }

    pub(super) fn at(url: &str, base: &'static str) -> Self {
        let credentials = match base {
            "onebound" => r#"key = "reseller-key", secret = "env:RESELLER""#,
            "tmapi" => r#"api_token = "env:RESELLER""#,
            "aop" => r#"app_key = "sim-app", app_secret = "env:SECRET", access_token = "env:TOKEN""#,
            _ => r#"app_key = "sim-app", app_secret = "env:SECRET""#,
        };
        let licence = match base {
            "portals" => "licence = \"paid\"\n",
            "item-get" => "licence = \"company\"\n",
            _ => "",
        };
        Self {
            place: Place::new(),
            base,
            is_built_in: false,
            url: url.to_owned(),
            definition: String::new(),
            lines: String::new(),
            proxy: String::new(),
            accounts: format!("[[accounts]]\nname = \"main\"\ncredentials = {{ {credentials} }}\n{licence}"),
        }
    }

    /// Lines of the definition, as dotted keys.
    pub(super) fn define(mut self, lines: &str) -> Self {
        self.definition = format!("{}{lines}\n", self.definition);
        self
    }

    /// Lines of the pipeline.
    pub(super) fn lines(mut self, lines: &str) -> Self {
        self.lines = format!("{}{lines}\n", self.lines);
        self
    }

    /// The definition as it ships, with its rests.
    pub(super) fn built_in(mut self) -> Self {
        self.is_built_in = true;
        self
    }

    /// The accounts, instead of the one that works.
    pub(super) fn accounts(mut self, blocks: &str) -> Self {
        self.accounts = format!("{blocks}\n");
        self
    }

    /// The account's calls go through this proxy.
    pub(super) fn through(mut self, proxy: &str) -> Self {
        self.accounts.push_str("proxy = \"env:PROXY\"\n");
        self.with_proxy(proxy)
    }

    /// What accounts mean by `env:PROXY`.
    pub(super) fn with_proxy(mut self, proxy: &str) -> Self {
        self.proxy = proxy.to_owned();
        self
    }

    fn write(&self) -> PathBuf {
        let Self { base, url, definition, lines, accounts, .. } = self;
        self.place.write(
            "definition.toml",
            format!(
                "extends = \"{base}\"\nname = \"{base}\"\nlimits.calls_per_second = 1000\n\
                 limits.pause_seconds = {{ success = 0, failure = 0, throttle = 0 }}\n{definition}"
            ),
        );
        let gateway = if self.is_built_in { base } else { "./definition.toml" };
        self.place.write(
            "pipeline.toml",
            format!(
                "name = \"test\"\ngateway = \"{gateway}\"\nurl = \"{url}\"\n{lines}\n{accounts}[lake]\nurl = \"lake\"\n\
                 [state]\nurl = \"state.sqlite\"\n"
            ),
        )
    }

    fn load(&self) -> std::result::Result<Pipeline, String> {
        let env = |name: &str| {
            let value = match name {
                "SECRET" => "sim-secret",
                "TOKEN" => "sim-token",
                "REFRESH" => "sim-refresh",
                "RESELLER" => "reseller-secret-8d1f",
                "SPACED" => " \u{feff}sim-secret\r\n",
                "ODD" => "c2VjcmV0LXNlY3JldA==",
                "QUOTED" => "\"sim-secret\"",
                "BROKEN" => "sim\nsecret",
                "PROXY" => self.proxy.as_str(),
                _ => "another-value",
            };
            Some(value.to_owned())
        };
        load_pipeline(&self.write(), &env).map_err(|problems| problems.to_string())
    }

    pub(super) fn pipeline(&self) -> Pipeline {
        self.load().unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// Why the configuration is refused.
    pub(super) fn refused(&self) -> String {
        self.load().err().unwrap()
    }

    /// Extracts, with a state of its own.
    pub(super) async fn ask(&self) -> Asked {
        self.ask_with(&huopan::state::in_memory().await.unwrap()).await
    }

    pub(super) async fn ask_with(&self, state: &State) -> Asked {
        let (pipeline, sink, heard) = (self.pipeline(), Memory::default(), Heard::default());
        let clock = Arc::new(SystemClock);
        let job = Job {
            pipeline: &pipeline,
            work: huopan::plan::work(&pipeline).unwrap(),
            known: &huopan::plan::Known::default(),
            run_id: "run",
            dt: huopan::base::time::beijing_day(clock.now()),
            until: clock.now(),
            answered: &huopan::extract::answered::Nothing,
            earlier_calls: HashMap::new(),
            state: state.as_ref(),
            holder: "test",
            clocks: Default::default(),
            reuse: huopan::extract::Reuse::ALL,
            gate: None,
            clock,
            sink: &sink,
            progress: &heard,
            notes: &std::sync::Mutex::default(),
            cancel: CancellationToken::new(),
            seed: 7,
        };
        let facts = huopan::extract::extract(job).await;
        Asked { facts, attempts: sink.0.into_inner().unwrap(), warnings: heard.0.into_inner().unwrap() }
    }

    /// Runs and publishes 20 November.
    pub(super) async fn publish(&self) -> Report {
        support::publish(&self.pipeline(), day(20)).await
    }

    /// Runs 20 November; how it fails.
    pub(super) async fn fail(&self) -> Error {
        let options = RunOptions { dt: Some(day(20)), ..RunOptions::default() };
        support::attempt(&self.pipeline(), options).await.unwrap_err()
    }

    /// Files below the pipeline's folder that hold any of these texts.
    pub(super) fn files_with(&self, secrets: &[&str]) -> Vec<PathBuf> {
        // SQLite's journals may go while this reads: what they held is in the file.
        let entries = walkdir::WalkDir::new(self.place.path()).into_iter().filter_map(Result::ok);
        let files: Vec<PathBuf> =
            entries.filter(|entry| entry.file_type().is_file()).map(|entry| entry.into_path()).collect();
        assert!(files.len() > 2, "nothing was written");
        let holds = |file: &PathBuf| {
            let Ok(bytes) = std::fs::read(file) else {
                assert!(!file.exists(), "{}", file.display());
                return false;
            };
            let plain = zstd::decode_all(&*bytes).unwrap_or_default();
            let finds = |secret: &&str| {
                [&bytes, &plain].iter().any(|bytes| memchr::memmem::find(bytes, secret.as_bytes()).is_some())
            };
            secrets.iter().any(finds)
        };
        files.into_iter().filter(holds).collect()
    }
}

/// What an extraction came to.
pub(super) struct Asked {
    pub(super) facts: Result<RunFacts>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) warnings: Vec<String>,
}

impl Asked {
    pub(super) fn facts(&self) -> &RunFacts {
        self.facts.as_ref().unwrap_or_else(|error| panic!("{error}: {:?}", error.hint()))
    }

    /// Error and hint; the run must have failed so.
    pub(super) fn failed(&self, kind: Kind) -> String {
        let error = self.facts.as_ref().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        format!("{error}: {}", error.hint().unwrap_or_default())
    }

    /// What is wrong with the first shop.
    pub(super) fn incomplete(&self) -> Option<&str> {
        self.facts().shops[0].incomplete_reason.as_deref()
    }

    /// What was sent to an endpoint, without credentials, time and signature.
    pub(super) fn sent(&self, endpoint: &str) -> Vec<&BTreeMap<String, String>> {
        let of = |attempt: &&Attempt| attempt.record.endpoint == endpoint;
        self.attempts.iter().filter(of).map(|attempt| &attempt.record.request).collect()
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Progress for Heard {
    fn on(&self, event: Event<'_>) {
        if let Event::Warning(text) = event {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }
}

/// One call as a scripted gateway saw it.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) path: String,
    pub(super) is_post: bool,
    pub(super) params: BTreeMap<String, String>,
    /// Calls before it.
    pub(super) before: usize,
}

impl Call {
    pub(super) fn get(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }
}

/// What a scripted gateway answers.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    is_late: bool,
}

impl Reply {
    pub(super) fn json(value: &Value) -> Self {
        Self::bytes(value.to_string())
    }

    pub(super) fn bytes(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into(), is_late: false }
    }

    pub(super) fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// It never comes.
    pub(super) fn late(self) -> Self {
        Self { is_late: true, ..self }
    }
}

type Script = dyn Fn(&Call) -> Reply + Send + Sync;

/// A gateway in process.
pub(super) struct Server {
    pub(super) url: String,
    calls: Arc<Mutex<Vec<Call>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(script: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let (script, seen): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&calls));
        let handle = move |method: Method, uri: axum::http::Uri, body: Bytes| {
            let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
            async move {
                let pairs = |bytes: &[u8]| url::form_urlencoded::parse(bytes).into_owned().collect::<Vec<_>>();
                let mut params: BTreeMap<_, _> = pairs(uri.query().unwrap_or("").as_bytes()).into_iter().collect();
                params.extend(pairs(&body));
                let call = {
                    let mut seen = seen.lock().unwrap();
                    let (path, before) = (uri.path().to_owned(), seen.len());
                    seen.push(Call { path, is_post: method == Method::POST, params, before });
                    seen.last().unwrap().clone()
                };
                let reply = script(&call);
                if reply.is_late {
                    std::future::pending::<()>().await;
                }
                let mut response = axum::response::Response::builder().status(reply.status);
                for (name, value) in &reply.headers {
                    response = response.header(*name, value);
                }
                response.body(Body::from(reply.body)).unwrap()
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(handle);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, calls, task }
    }

    /// The calls so far.
    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An offer of portals with everything that its checks look at.
pub(super) fn offer(id: usize) -> Value {
    json!({
        "item_id": 600_000_000_000_u64 + id as u64, "title": "保温杯", "price": "12.50", "wholesalePrice": "2-99:12.50",
        "moq": "2件", "skuIds": "", "quoteType": 0, "modified_time": "2026-11-01 00:00:00",
    })
}

/// A shop of portals; `count` is what it says of itself, `list` writes the records of a page.
pub(super) fn portals(offers: Vec<Value>, count: usize, list: fn(&[Value]) -> Value) -> impl Fn(&Call) -> Reply {
    move |call| match call.get("method") {
        "alibaba.seller.items.count.get" => {
            Reply::json(&json!({"seller_items_count_get_response": {"total_count": count}}))
        }
        "alibaba.seller.items.list.get" => {
            let page: usize = call.get("pageNum").parse().unwrap_or(1);
            let start = ((page - 1) * 40).min(offers.len());
            let served = if page > 50 { &[] } else { &offers[start..(start + 40).min(offers.len())] };
            Reply::json(&json!({"seller_items_list_get_response": {"items": {"item": list(served)}}}))
        }
        other => Reply::json(&json!({"error_response": {"code": 1001, "msg": format!("method {other}")}})),
    }
}

/// A list as it should be.
pub(super) fn plain(offers: &[Value]) -> Value {
    Value::from(offers.to_vec())
}
