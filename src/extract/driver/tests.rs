//! The driver against real HTTP: a server in the same process answers what each test says.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::base::SystemClock;
use crate::base::time::ManualClock;
use crate::config::Gateway;
use crate::config::pipeline::{Account, FetchDetails, Shop};
use crate::extract::progress::Silent;
use crate::extract::{Attempt, testing};

type Params = BTreeMap<String, String>;

/// One answer of the test's gateway.
#[derive(Clone, Default)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    /// The connection breaks after the body.
    cut: bool,
    /// It never comes.
    late: bool,
}

fn ok(body: impl Into<String>) -> Answer {
    Answer { status: 200, body: body.into(), ..Answer::default() }
}

fn status(status: u16, body: &str) -> Answer {
    Answer { status, ..ok(body) }
}

/// A gateway on localhost; `answer` gets the number of the call, from 0, and its parameters.
async fn serve(answer: impl Fn(usize, &Params) -> Answer + Send + Sync + 'static) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (answer, calls) = (Arc::new(answer), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    let app = axum::Router::new().fallback(move |request: axum::extract::Request| {
        let (answer, calls) = (Arc::clone(&answer), Arc::clone(&calls));
        async move {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let coding = request.headers().get("accept-encoding").map(|coding| coding.to_str().unwrap().to_owned());
            let form = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
            let both = [query.as_bytes(), b"&", &form].concat();
            let mut params: Params = url::form_urlencoded::parse(&both).into_owned().collect();
            params.insert("accept-encoding".to_owned(), coding.unwrap_or_default());
            let number = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let Answer { status, headers, body, cut, late } = answer(number, &params);
            if late {
                std::future::pending::<()>().await;
            }
            let mut response = axum::response::Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            let chunks = futures::stream::unfold(0, move |step| {
                let body = body.clone();
                async move {
                    if step == 0 {
                        return Some((Ok(Bytes::from(body)), 1));
                    }
                    // What was written leaves before the connection breaks.
                    for _ in 0..100 {
                        tokio::task::yield_now().await;
                    }
                    (cut && step == 1).then(|| (Err(std::io::Error::other("cut")), 2))
                }
            });
            response.body(axum::body::Body::from_stream(chunks)).unwrap()
        }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// Keeps attempts in memory.
#[derive(Default)]
struct Memory {
    attempts: Mutex<Vec<Attempt>>,
    /// Cancelled once this many attempts are landed.
    cancel_after: Option<(usize, CancellationToken)>,
}

#[async_trait::async_trait]
impl Sink for Memory {
    async fn land(&self, mut attempt: Attempt) -> Result<Attempt> {
        let mut attempts = self.attempts.lock().unwrap();
        attempt.record.number = attempts.len() as i64 + 1;
        attempts.push(attempt.clone());
        if let Some((after, cancel)) = &self.cancel_after
            && attempts.len() >= *after
        {
            cancel.cancel();
        }
        Ok(attempt)
    }
}

struct Ran {
    facts: Result<RunFacts>,
    attempts: Vec<Attempt>,
}

impl Ran {
    fn facts(&self) -> &RunFacts {
        self.facts.as_ref().unwrap_or_else(|error| panic!("{error}"))
    }

    fn error(&self) -> &Error {
        self.facts.as_ref().expect_err("an error")
    }

    /// What is left of the shop's pages: the reason for the first shop.
    fn reason(&self) -> Option<&str> {
        self.facts().shops[0].incomplete_reason.as_deref()
    }

    fn endpoints(&self) -> Vec<&str> {
        self.attempts.iter().map(|attempt| attempt.record.endpoint.as_str()).collect()
    }
}

async fn run(pipeline: &Pipeline) -> Ran {
    run_with(pipeline, Memory::default(), CancellationToken::new(), Arc::new(SystemClock)).await
}

async fn run_with(pipeline: &Pipeline, sink: Memory, cancel: CancellationToken, clock: Arc<dyn Clock>) -> Ran {
    let state = crate::state::in_memory().await.unwrap();
    run_on(state.as_ref(), pipeline, sink, cancel, clock).await
}

/// The same with a state that runs share.
async fn again(state: &dyn StateStore, pipeline: &Pipeline) -> Ran {
    run_on(state, pipeline, Memory::default(), CancellationToken::new(), Arc::new(SystemClock)).await
}

async fn run_on(
    state: &dyn StateStore,
    pipeline: &Pipeline,
    sink: Memory,
    cancel: CancellationToken,
    clock: Arc<dyn Clock>,
) -> Ran {
    let (known, notes) = (Known::default(), Mutex::default());
    let job = Job { cancel, ..job(pipeline, (state, clock), (&sink, &known, &notes)) };
    let facts = extract(job).await;
    Ran { facts, attempts: sink.attempts.into_inner().unwrap() }
}

/// What a run of a pipeline needs; it lands in the sink, and adds its notes.
fn job<'a>(
    pipeline: &'a Pipeline,
    (state, clock): (&'a dyn StateStore, Arc<dyn Clock>),
    (sink, known, notes): (&'a Memory, &'a Known, &'a Mutex<Vec<Note>>),
) -> Job<'a> {
    Job {
        pipeline,
        work: crate::plan::work(pipeline).unwrap(),
        known,
        run_id: "run",
        dt: crate::base::time::beijing_day(clock.now()),
        until: clock.now(),
        answered: &crate::extract::answered::Nothing,
        earlier_calls: HashMap::new(),
        state,
        holder: "test",
        clocks: Default::default(),
        reuse: crate::extract::Reuse::ALL,
        gate: None,
        clock,
        sink,
        progress: &Silent,
        notes,
        cancel: CancellationToken::new(),
        seed: 1,
    }
}

fn one_shop(url: &str) -> Pipeline {
    Pipeline { shops: vec![testing::shop("b2b-1")], ..testing::pipeline(testing::gateway(url)) }
}

/// An account whose key is its name.
fn keyed(name: &str) -> Account {
    let mut account = testing::account(name);
    account.credentials.insert("app_key".into(), Credential::Plain(name.into()));
    account.key = name.into();
    account
}

fn one_worker(mut gateway: Gateway) -> Gateway {
    gateway.limits.calls_in_flight = 1;
    gateway
}

fn item(id: u64) -> String {
    format!(r#"{{"item_id":{id},"skuIds":"{id}1,{id}2"}}"#)
}

/// A shop of `held` offers, in pages of 2, as the definition of [`testing::gateway`] reads it.
fn shop_of(held: u64, params: &Params) -> Answer {
    match params.get("method").map(String::as_str) {
        Some("shop") => ok(r#"{"shop_get_response":{"shop":{"member_id":"b2b-resolved"}}}"#),
        Some("count") => ok(format!(r#"{{"count_response":{{"total_count":"{held}"}}}}"#)),
        Some("listing") => {
            let page: u64 = params["pageNum"].parse().unwrap();
            let items: Vec<_> = ((page - 1) * 2 + 1..=(page * 2).min(held)).map(item).collect();
            ok(format!(r#"{{"list_response":{{"items":{{"item":[{}]}}}}}}"#, items.join(",")))
        }
        Some("sku") => ok(format!(r#"{{"sku_get_response":{{"sku":{{"sku_id":{}}}}}}}"#, params["sku_id"])),
        Some("item") => ok(format!(r#"{{"item":{}}}"#, item(params["item_id"].parse().unwrap()))),
        other => panic!("method {other:?}"),
    }
}

fn is_page(params: &Params, page: &str) -> bool {
    params.get("pageNum").is_some_and(|number| number == page)
}

#[tokio::test]
async fn a_shop_is_resolved_counted_listed_and_its_skus_asked_for() {
    let url = serve(|_, params| shop_of(5, params)).await;
    let mut pipeline = one_shop(&url);
    pipeline.shops = vec![Shop { id: None, url: Some("https://shop1.1688.com".into()), name: Some("one".into()) }];
    pipeline.fetch.skus = FetchDetails::All;
    let ran = run(&pipeline).await;
    let shop = &ran.facts().shops[0];
    assert_eq!((shop.shop_id.as_str(), shop.official_count, ran.reason()), ("b2b-resolved", Some(5), None));
    assert_eq!(shop.calls_used, 1 + 1 + 3 + 10);
    let skus: Vec<_> = ran.attempts.iter().filter(|attempt| attempt.record.endpoint == "sku").collect();
    assert_eq!(skus.len(), 10);
    assert!(skus.iter().all(|sku| sku.record.offer_id == sku.record.sku_id.map(|id| id / 10)));
    assert!(skus.iter().all(|sku| sku.record.shop_id.as_deref() == Some("b2b-resolved")));
    let secrets = ["test123secret", "sign", "timestamp", "app_key"];
    let records =
        serde_json::to_string(&ran.attempts.iter().map(|attempt| &attempt.record).collect::<Vec<_>>()).unwrap();
    assert!(secrets.iter().all(|secret| !records.contains(secret)), "{records}");
}

#[tokio::test]
async fn items_are_asked_for_one_by_one_and_gone_or_refused_ones_are_answers() {
    let url = serve(|_, params| match params["item_id"].as_str() {
        "2" => ok(r#"{"error_response":{"code":"77","msg":"商品不存在"}}"#),
        "3" => ok(r#"{"error_response":{"code":"77","msg":"?"}}"#),
        "4" => status(503, "busy"),
        _ => shop_of(0, params),
    })
    .await;
    let ran = run(&Pipeline { items: vec![1, 2, 3, 4, 5], ..testing::pipeline(testing::gateway(&url)) }).await;
    assert_eq!(ran.facts().items_unanswered, [4]);
    assert_eq!((ran.facts().calls_used, ran.facts().retries), (4 + 3, 2));
}

#[tokio::test]
async fn a_busy_gateway_is_asked_again_and_every_attempt_is_landed() {
    let url = serve(|number, params| if number == 0 { status(502, "") } else { shop_of(3, params) }).await;
    let ran = run(&Pipeline { gateway: one_worker(testing::gateway(&url)), ..one_shop(&url) }).await;
    assert_eq!(ran.reason(), None);
    assert_eq!((ran.facts().calls_used, ran.facts().retries), (4, 1));
    let tries: Vec<_> =
        ran.attempts.iter().map(|attempt| (attempt.record.http_status, attempt.record.attempt)).collect();
    assert_eq!(tries, [(Some(502), 1), (Some(200), 2), (Some(200), 1), (Some(200), 1)]);
    assert_eq!(ran.facts().bytes_received, ran.attempts.iter().map(|attempt| attempt.body.len() as i64).sum::<i64>());
}

#[tokio::test]
async fn a_throttle_with_retry_after_zero_is_tried_again_without_spinning() {
    let url = serve(|_, params| match is_page(params, "2") {
        true => Answer { headers: vec![("retry-after", "0".into())], ..status(429, "{}") },
        false => shop_of(6, params),
    })
    .await;
    let ran = run(&one_shop(&url)).await;
    assert_eq!(ran.facts().throttles, 6);
    let reason = ran.reason().unwrap();
    assert!(reason.starts_with("page 2: ") && reason.contains("after 6 attempts"), "{reason}");
    assert!(
        ran.attempts
            .iter()
            .filter(|attempt| attempt.record.page == Some(2))
            .all(|attempt| attempt.record.retry_after.is_some())
    );
    assert_eq!(
        ran.endpoints().iter().filter(|endpoint| **endpoint == "listing").count(),
        8,
        "the other pages are listed"
    );
}

#[tokio::test]
async fn an_answer_in_a_coding_that_was_not_asked_for_is_named_after_one_more_try() {
    let coded = || Answer { headers: vec![("content-encoding", "gzip".into())], ..ok("\u{1f}\u{8b}\u{8}") };
    let url = serve(move |_, params| {
        assert_eq!(params["accept-encoding"], "identity");
        coded()
    })
    .await;
    let ran = run(&Pipeline { gateway: one_worker(testing::gateway(&url)), ..one_shop(&url) }).await;
    let (error, hint) = (ran.error().to_string(), ran.error().hint().unwrap_or_default().to_owned());
    assert_eq!((ran.error().kind(), ran.attempts.len()), (Kind::Config, 2), "{error}");
    assert!(error.ends_with("so that nobody can read it: HTTP 200: the answer is coded as `gzip`"), "{error}");
    assert!(hint.contains("Accept-Encoding"), "{hint}");
    assert_eq!(ran.attempts[0].record.content_encoding.as_deref(), Some("gzip"));
    // A header alone does no harm.
    let url =
        serve(|_, params| Answer { headers: vec![("content-encoding", "gzip".into())], ..shop_of(3, params) }).await;
    assert_eq!(run(&one_shop(&url)).await.reason(), None);
}

#[tokio::test]
async fn a_cut_body_is_landed_as_far_as_it_came_and_asked_for_again() {
    let url = serve(|number, params| match number {
        0 => Answer { cut: true, ..ok(r#"{"count_resp"#) },
        _ => shop_of(1, params),
    })
    .await;
    let ran = run(&Pipeline { gateway: one_worker(testing::gateway(&url)), ..one_shop(&url) }).await;
    assert_eq!(ran.reason(), None);
    let cut = &ran.attempts[0];
    assert_eq!(&cut.body[..], br#"{"count_resp"#);
    assert_eq!(cut.record.http_status, Some(200));
    assert!(cut.record.transport_error.as_deref().unwrap().starts_with("the body was cut"), "{:?}", cut.record);
}

#[tokio::test]
async fn a_body_past_the_limit_is_cut_and_counts_as_broken() {
    let url = serve(|_, _| ok("[".repeat(5000))).await;
    let mut pipeline = one_shop(&url);
    pipeline.gateway.limits.body_bytes_max = 1000;
    let ran = run(&pipeline).await;
    assert_eq!(ran.error().kind(), Kind::Unavailable);
    assert!(ran.attempts.iter().all(|attempt| attempt.body.len() == 1000));
    assert!(ran.error().to_string().contains("longer than 1000 bytes"), "{}", ran.error());
}

#[tokio::test]
async fn a_refused_signature_stops_the_run_with_the_definitions_hint() {
    let url = serve(|_, _| ok(r#"{"error_response":{"code":10002,"msg":"Invalid signature"}}"#)).await;
    let pipeline = Pipeline { gateway: one_worker(testing::gateway(&url)), ..one_shop(&url) };
    let ran = run(&pipeline).await;
    assert_eq!(ran.error().kind(), Kind::Denied);
    assert_eq!(
        ran.error().to_string(),
        "gateway `test` refuses account `main` at endpoint `count`: `10002` Invalid signature"
    );
    assert_eq!(ran.error().hint(), Some("copy the secret again"));
    assert_eq!(ran.attempts.len(), 1, "nothing more is spent");
}

#[tokio::test]
async fn calls_that_wait_for_another_try_end_with_the_run() {
    let url = serve(|number, params| match params["method"].as_str() {
        "listing" if number > 10 => ok(r#"{"error_response":{"code":10002,"msg":"no"}}"#),
        "item" => status(503, ""),
        _ => shop_of(100, params),
    })
    .await;
    let mut pipeline = Pipeline { items: vec![1, 2], ..one_shop(&url) };
    pipeline.gateway.limits.attempts_max = 1000;
    pipeline.gateway.endpoints.get_mut("listing").unwrap().page.as_mut().unwrap().last = None;
    let ran = run(&pipeline).await;
    assert_eq!(ran.error().kind(), Kind::Denied);
    assert!(ran.attempts.len() < 40, "{}", ran.attempts.len());
}

#[tokio::test]
async fn a_refused_parameter_stops_the_run_and_is_named() {
    let url = serve(|_, params| match params["method"].as_str() {
        "listing" => ok(r#"{"error_response":{"code":1001,"msg":"invalid pageSize"}}"#),
        _ => shop_of(3, params),
    })
    .await;
    let ran = run(&one_shop(&url)).await;
    assert_eq!((ran.error().kind(), ran.error().hint()), (Kind::Config, Some("sent: `pageSize=2`")));
}

#[tokio::test]
async fn a_shop_past_the_page_cap_is_incomplete_and_says_so() {
    let url = serve(|_, params| shop_of(11, params)).await;
    let ran = run(&one_shop(&url)).await;
    assert_eq!(ran.reason(), Some("10 of 11 offers listed: the rest is past page 5 × 2"));
    assert_eq!(ran.facts().stopped, None);
}

#[tokio::test]
async fn a_page_parameter_that_is_not_read_stops_the_run_with_its_name() {
    let url = serve(|_, params| {
        let mut params = params.clone();
        params.entry("pageNum".into()).and_modify(|page| *page = "1".into());
        shop_of(6, &params)
    })
    .await;
    let ran = run(&one_shop(&url)).await;
    assert_eq!(ran.error().kind(), Kind::Config);
    assert!(ran.error().to_string().contains("does not read parameter `pageNum`"), "{}", ran.error());
}

#[tokio::test]
async fn a_shop_whose_pages_repeat_is_incomplete_where_others_show_that_pages_are_read() {
    let url = serve(|_, params| {
        let mut params = params.clone();
        if params.get("member_id").is_some_and(|shop| shop == "b2b-2") {
            params.entry("pageNum".into()).and_modify(|page| *page = "1".into());
        }
        shop_of(10, &params)
    })
    .await;
    let shops = |ids: &[&str]| Pipeline { shops: ids.iter().map(|id| testing::shop(id)).collect(), ..one_shop(&url) };
    for ids in [["b2b-1", "b2b-2", "b2b-3"], ["b2b-2", "b2b-1", "b2b-3"]] {
        let ran = run(&shops(&ids)).await;
        let told = ran.facts().shops.iter().map(|shop| (&*shop.shop_id, shop.incomplete_reason.clone()));
        let told: BTreeMap<&str, Option<String>> = told.collect();
        assert_eq!((&told["b2b-1"], &told["b2b-3"]), (&None, &None));
        let reason = "pages 1 and 2 hold the same 2 records: the gateway does not read parameter `pageNum`";
        assert!(
            told["b2b-2"].as_deref().is_some_and(|told| told.ends_with("does not read parameter `pageNum`")),
            "{reason}"
        );
        let repeated = ran.attempts.iter().filter(|attempt| attempt.record.shop_id.as_deref() == Some("b2b-2"));
        assert!(repeated.count() < 8, "nothing more is asked of it");
    }
}

#[tokio::test]
async fn a_retry_of_one_shop_of_several_whose_pages_repeat_blames_no_parameter() {
    let url = serve(|_, params| {
        let first =
            params.iter().map(|(name, value)| (name.clone(), if name == "pageNum" { "1" } else { value }.into()));
        shop_of(10, &first.collect())
    })
    .await;
    let shops = ["b2b-1", "b2b-2", "b2b-3"].map(testing::shop).to_vec();
    let pipeline = Pipeline { shops, ..one_shop(&url) };
    let (known, notes, sink) = (Known::default(), Mutex::default(), Memory::default());
    let state = crate::state::in_memory().await.unwrap();
    for (shops, is_blamed) in [(1, false), (2, false), (3, true)] {
        let mut job = job(&pipeline, (state.as_ref(), Arc::new(SystemClock)), (&sink, &known, &notes));
        job.work.shops.truncate(shops);
        let facts = extract(job).await;
        assert_eq!(facts.is_err(), is_blamed, "{shops}");
        let noted = notes.lock().unwrap().pop();
        assert_eq!(matches!(noted, Some(Note::Repeated { shops, .. }) if shops.len() > 1), is_blamed, "{shops}");
    }
}

/// What an earlier start has landed.
#[derive(Default)]
struct Kept(HashMap<u128, Attempt>);

impl Kept {
    fn of(attempts: &[Attempt]) -> Self {
        let key = |record: &crate::extract::Record| {
            crate::extract::answered::key("", (&record.endpoint, record.again), &record.request)
        };
        Self(attempts.iter().map(|attempt| (key(&attempt.record), attempt.clone())).collect())
    }
}

#[async_trait::async_trait]
impl crate::extract::Answered for Kept {
    async fn find(&self, key: u128) -> Result<Option<Attempt>> {
        Ok(self.0.get(&key).cloned())
    }

    fn holds(&self, key: u128) -> bool {
        self.0.contains_key(&key)
    }

    fn late_after(&self, _: u128) -> u32 {
        0
    }

    fn failed_after(&self, _: u128) -> u32 {
        0
    }

    fn batches(&self) -> &[Vec<i64>] {
        &[]
    }
}

#[tokio::test]
async fn a_count_that_was_asked_for_once_more_is_the_count_to_every_later_start() {
    let counts = Mutex::new(vec!["5", "30"]);
    let url = serve(move |_, params| match params["method"].as_str() {
        "count" => {
            let count = counts.lock().unwrap().pop().expect("asked twice, by all starts together");
            ok(format!(r#"{{"count_response":{{"total_count":"{count}"}}}}"#))
        }
        _ => shop_of(5, params),
    })
    .await;
    let (pipeline, known, notes) = (one_shop(&url), Known::default(), Mutex::default());
    let state = crate::state::in_memory().await.unwrap();
    let mut landed = Vec::new();
    for (start, official, calls) in [(0, 30, 6), (1, 5, 1), (2, 5, 0), (3, 5, 0)] {
        let (sink, kept) = (Memory::default(), Kept::of(&landed));
        let job = job(&pipeline, (state.as_ref(), Arc::new(SystemClock)), (&sink, &known, &notes));
        let facts = extract(Job { answered: &kept, ..job }).await.unwrap();
        let (shop, attempts) = (&facts.shops[0], sink.attempts.into_inner().unwrap());
        assert_eq!((shop.official_count, attempts.len()), (Some(official), calls), "{start}");
        landed.extend(attempts);
        // The night has passed between the count and the pages.
        for attempt in landed.iter_mut().filter(|attempt| start == 0 && attempt.record.endpoint == "count") {
            attempt.record.received_at -= chrono::TimeDelta::days(1);
        }
    }
}

#[tokio::test]
async fn a_failed_count_leaves_the_listing_to_its_pages() {
    let url = serve(|_, params| match params["method"].as_str() {
        "count" => status(500, ""),
        _ => shop_of(5, params),
    })
    .await;
    let ran = run(&one_shop(&url)).await;
    assert_eq!((ran.reason(), ran.facts().shops[0].official_count), (None, None));
}

#[tokio::test]
async fn a_signal_lands_what_is_in_flight_and_sends_nothing_more() {
    let url = serve(|_, params| shop_of(10, params)).await;
    let cancel = CancellationToken::new();
    let sink = Memory { cancel_after: Some((3, cancel.clone())), ..Memory::default() };
    let pipeline = Pipeline { items: (1..=100).collect(), ..one_shop(&url) };
    let ran = run_with(&pipeline, sink, cancel, Arc::new(SystemClock)).await;
    assert_eq!(ran.facts().stopped.as_deref(), Some(SIGNALLED));
    assert!((3..=2 + 4).contains(&ran.attempts.len()), "{:?}", ran.endpoints());
    assert_eq!(ran.facts().calls_used, ran.attempts.len() as i64, "what was sent is landed");
    assert!(ran.reason().is_some());
    let asked = ran.attempts.iter().filter(|attempt| attempt.record.endpoint == "item").count();
    assert_eq!(ran.facts().items_unanswered.len() + asked, 100);
}

#[tokio::test]
async fn accounts_are_drained_in_order_and_the_run_stops_when_none_is_left() {
    let url = serve(|_, params| match params["app_key"].as_str() {
        "second" => ok(r#"{"error_code":"4013","error_message":"over quota"}"#),
        _ => shop_of(10, params),
    })
    .await;
    let mut second = testing::account("second");
    second.credentials.insert("app_key".into(), Credential::Plain("second".into()));
    second.key = "second".into();
    let first = Account { calls_per_day: Some(3), ..testing::account("first") };
    let gateway = one_worker(testing::gateway(&url));
    let ran = run(&Pipeline { accounts: vec![first, second], gateway, ..one_shop(&url) }).await;
    let accounts: Vec<_> = ran.attempts.iter().map(|attempt| attempt.record.account.as_str()).collect();
    assert_eq!(accounts, ["first", "first", "first", "second"]);
    let stopped = ran.facts().stopped.as_deref().unwrap();
    assert!(
        stopped.contains("`first`: its 3 calls of the day are used up") && stopped.contains(": `4013` over quota"),
        "{stopped}"
    );
    assert!(ran.reason().unwrap().starts_with("listed up to page 2: no account has calls left"), "{:?}", ran.reason());
}

#[tokio::test]
async fn after_midnight_every_account_has_its_calls_again() {
    let clock = Arc::new(ManualClock::new(testing::at("2026-11-20T15:59:00Z")));
    let hands = Arc::clone(&clock);
    let url = serve(move |number, params| {
        if number == 2 {
            hands.advance(chrono::TimeDelta::minutes(2));
        }
        let date = hands.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        Answer { headers: vec![("date", date)], ..shop_of(0, params) }
    })
    .await;
    let mut pipeline = testing::pipeline(one_worker(testing::gateway(&url)));
    let account = |name: &str| Account { calls_per_day: Some(2), key: name.to_owned(), ..testing::account(name) };
    pipeline.accounts = vec![account("a"), account("b")];
    pipeline.items = (1..=6).collect();
    let ran = run_with(&pipeline, Memory::default(), CancellationToken::new(), clock).await;
    let asked: Vec<_> = ran.attempts.iter().map(|attempt| attempt.record.account.as_str()).collect();
    assert_eq!((asked, ran.facts().stopped.as_deref()), (vec!["a", "a", "b", "a", "a", "b"], None));
}

#[tokio::test]
async fn a_call_that_leaves_after_midnight_counts_for_the_day_that_it_leaves_on() {
    let clock = Arc::new(ManualClock::new(testing::at("2026-11-20T15:59:59Z")));
    let (pipeline, state) = (one_shop("http://127.0.0.1:1/"), crate::state::in_memory().await.unwrap());
    let (sink, known, notes) = (Memory::default(), Known::default(), Mutex::default());
    let job = job(&pipeline, (state.as_ref(), clock.clone()), (&sink, &known, &notes));
    let caller = caller(&job).await.unwrap();
    let side = &caller.sides[0];
    let asking = crate::extract::accounts::Asking { scope: "all", endpoint: "listing" };
    let turn = side.turn(caller.ledger, asking, clock.now()).await.unwrap();
    let crate::extract::side::Turn::Send(mut ticket) = turn else { panic!("no turn") };
    clock.advance(chrono::TimeDelta::seconds(2));
    caller.leave(side, &mut ticket).await.unwrap();
    assert_eq!(ticket.day, "2026-11-21".parse().unwrap());
    for day in ["2026-11-20", "2026-11-21"] {
        let counted = state.counts(day.parse().unwrap()).await.unwrap();
        assert_eq!(counted.iter().map(|counted| counted.calls).sum::<u64>(), 1, "{day}: {counted:?}");
    }
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_an_outage_without_secrets_in_its_message() {
    let mut pipeline = one_shop("http://127.0.0.1:1/");
    pipeline.shops = (0..50).map(|id| testing::shop(&id.to_string())).collect();
    let ran = run(&pipeline).await;
    assert_eq!(ran.error().kind(), Kind::Unavailable);
    let text = ran.error().to_string();
    assert!(
        text.contains("times in a row: cannot connect") && !text.contains("sign=") && !text.contains("1000000"),
        "{text}"
    );
    assert!(ran.attempts.len() < 50, "it is noticed early: {}", ran.attempts.len());
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let url =
        serve(|_, _| Answer { headers: vec![("location", "http://127.0.0.1:1/".into())], ..status(302, "{\"a\":1}") })
            .await;
    let ran = run(&one_shop(&url)).await;
    let error = ran.error();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.to_string().contains("HTTP 302: a redirect"), "{error}");
    assert!(error.hint().unwrap().contains("correct the gateway's `url`"), "{error:?}");
    assert!(ran.attempts.len() <= 2, "a wrong address is not asked again: {:?}", ran.endpoints());
}

#[tokio::test]
async fn an_address_that_nobody_knows_is_asked_twice_and_named() {
    for code in [404, 405, 410] {
        let url = serve(move |_, _| status(code, "<html>nothing here</html>")).await;
        let ran = run(&Pipeline { gateway: one_worker(testing::gateway(&url)), ..one_shop(&url) }).await;
        let error = ran.error();
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.to_string().contains(&format!("HTTP {code}")), "{error}");
        let hint = error.hint().unwrap();
        assert!(hint.contains("correct `url`") && hint.contains("of endpoint `count`"), "{hint}");
        assert_eq!(ran.attempts.len(), 2, "{:?}", ran.endpoints());
    }
}

#[tokio::test]
async fn many_calls_to_an_address_that_nobody_knows_are_not_two_each() {
    let url = serve(|_, _| status(404, "no such thing")).await;
    let pipeline = Pipeline { items: (1..100).collect(), ..testing::pipeline(testing::gateway(&url)) };
    let workers = pipeline.gateway.limits.calls_in_flight as usize;
    let ran = run(&pipeline).await;
    assert_eq!(ran.error().kind(), Kind::Config);
    let said = ran.error().to_string();
    assert!(said.ends_with("is not where endpoint `item` was asked: HTTP 404: no such thing"), "{said}");
    assert!(ran.attempts.len() <= workers + 1, "{}", ran.attempts.len());
}

#[tokio::test]
async fn a_page_that_is_not_found_where_others_were_is_a_failure_as_any_other() {
    let url = serve(|_, params| if is_page(params, "2") { status(404, "") } else { shop_of(6, params) }).await;
    let mut pipeline = one_shop(&url);
    pipeline.gateway = one_worker(pipeline.gateway);
    let ran = run(&pipeline).await;
    let reason = ran.reason().unwrap();
    assert!(reason.contains("HTTP 404") && reason.contains("after 3 attempts"), "{reason}");
}

#[tokio::test]
async fn a_fault_says_no_secret_even_if_the_landed_bytes_hide_one() {
    // What lands here is not masked at all.
    let body = r#"{"error_response":{"code":"10002","msg":"test123secret is wrong"}}"#;
    let url = serve(move |_, _| ok(body)).await;
    let ran = run(&one_shop(&url)).await;
    let said = format!("{}", ran.error());
    assert!(said.contains("*** is wrong") && !said.contains("test123"), "{said}");
}

#[tokio::test]
async fn one_redirect_among_good_answers_costs_a_page_and_not_the_run() {
    let url = serve(|_, params| match params.get("pageNum").map(String::as_str) {
        Some("2") => status(302, "<html>log in</html>"),
        _ => shop_of(4, params),
    })
    .await;
    let mut pipeline = one_shop(&url);
    pipeline.gateway = one_worker(pipeline.gateway);
    let ran = run(&pipeline).await;
    assert!(ran.reason().unwrap().contains("HTTP 302"), "{:?}", ran.reason());
}

#[tokio::test]
async fn a_cached_detail_is_not_used_for_an_offer_that_was_modified_after_it_came() {
    let modified = Arc::new(Mutex::new(testing::at("2026-01-01T00:00:00Z")));
    let listed = Arc::clone(&modified);
    let url = serve(move |_, params| match params["method"].as_str() {
        "listing" => {
            let modified = listed.lock().unwrap().timestamp_millis();
            ok(format!(r#"{{"list_response":{{"items":{{"item":[{{"item_id":1,"modified":{modified}}}]}}}}}}"#))
        }
        _ => shop_of(1, params),
    })
    .await;
    let mut pipeline = one_shop(&url);
    pipeline.fetch.details = FetchDetails::All;
    let gateway = &mut pipeline.gateway;
    let at = vec![testing::pointer("/modified")];
    gateway.offer.insert("modified_at".into(), crate::config::gateway::FieldSource { at, ..Default::default() });
    gateway.endpoints.get_mut("item").unwrap().cache_seconds = Some(86_400);
    let state = crate::state::in_memory().await.unwrap();
    let mut asked = Vec::new();
    // First seen; as it was; modified a minute after the answer came.
    let later = SystemClock.now() + chrono::TimeDelta::minutes(1);
    for modified_at in [testing::at("2026-01-01T00:00:00Z"), testing::at("2026-01-01T00:00:00Z"), later] {
        *modified.lock().unwrap() = modified_at;
        let ran = again(state.as_ref(), &pipeline).await;
        assert_eq!(ran.reason(), None);
        let detail = ran.attempts.iter().find(|attempt| attempt.record.endpoint == "item").unwrap();
        asked.push(detail.record.copied_from.is_none());
    }
    assert_eq!(asked, [true, false, true]);
}

#[tokio::test]
async fn an_account_refused_at_one_gateway_or_address_may_ask_at_another() {
    let refusing = serve(|_, _| ok(r#"{"error_response":{"code":10002,"msg":"Invalid signature"}}"#)).await;
    let answering = serve(|_, params| shop_of(2, params)).await;
    let state = crate::state::in_memory().await.unwrap();
    let asked = async |url: &str, name: &str| {
        let gateway = Gateway { name: name.into(), ..one_worker(testing::gateway(url)) };
        let ran = again(state.as_ref(), &Pipeline { gateway, ..one_shop(url) }).await;
        (ran.facts.is_ok(), ran.attempts.len())
    };
    assert_eq!(asked(&refusing, "one").await, (false, 1));
    assert_eq!(asked(&refusing, "one").await, (false, 0), "there it rests");
    assert_eq!(asked(&refusing, "another").await, (false, 1), "another gateway has not said no");
    assert_eq!(asked(&answering, "one").await, (true, 2), "nor has another address");
}

#[tokio::test]
async fn a_span_that_can_be_halved_is_asked_for_twice_when_it_takes_too_long() {
    // Whatever is not narrowed to a day takes too long.
    let url = serve(|_, params| match (params["method"].as_str(), params.get("start")) {
        ("listing", None) => Answer { late: true, ..ok("") },
        _ => shop_of(2, params),
    })
    .await;
    let mut pipeline = one_shop(&url);
    let gateway = &mut pipeline.gateway;
    gateway.limits.read_seconds = 0.1;
    gateway.limits.connect_seconds = 0.1;
    gateway.limits.attempts_max = 5;
    let window = crate::config::gateway::Window {
        start: "start".into(),
        end: Some("end".into()),
        time: None,
        field: "modified_at".into(),
        drop: Vec::new(),
        params: Vec::new(),
        overlap_seconds: 600,
    };
    gateway.endpoints.get_mut("listing").unwrap().window = Some(window.clone());
    let ran = run(&pipeline).await;
    let whole = |ran: &Ran| {
        let of =
            |attempt: &&Attempt| attempt.record.endpoint == "listing" && !attempt.record.request.contains_key("start");
        ran.attempts.iter().filter(of).count()
    };
    assert_eq!(whole(&ran), 2, "{:?}", ran.endpoints());
    assert!(ran.attempts.iter().any(|attempt| attempt.record.request.contains_key("start")), "it was halved");
    // What cannot be halved is asked for as often as any call.
    pipeline.gateway.endpoints.get_mut("listing").unwrap().window =
        Some(crate::config::gateway::Window { end: None, ..window });
    assert_eq!(whole(&run(&pipeline).await), 5);
}

#[tokio::test]
async fn spans_that_take_too_long_are_no_outage_while_smaller_ones_can_be_asked_for() {
    // More in a row than an outage has.
    let late = 24;
    let seen = std::sync::atomic::AtomicUsize::new(0);
    let url = serve(move |_, params| match params["method"].as_str() {
        "listing" if seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < late => Answer { late: true, ..ok("") },
        _ => shop_of(2, params),
    })
    .await;
    let mut pipeline = one_shop(&url);
    let gateway = &mut pipeline.gateway;
    (gateway.limits.read_seconds, gateway.limits.connect_seconds) = (0.1, 0.1);
    (gateway.limits.attempts_max, gateway.limits.calls_in_flight) = (2, 1);
    let window = crate::config::gateway::Window {
        start: "start".into(),
        end: Some("end".into()),
        time: None,
        field: "modified_at".into(),
        drop: Vec::new(),
        params: Vec::new(),
        overlap_seconds: 600,
    };
    gateway.endpoints.get_mut("listing").unwrap().window = Some(window);
    let ran = run(&pipeline).await;
    assert_eq!(ran.reason(), None);
    assert!(ran.attempts.iter().filter(|attempt| attempt.record.timed_out()).count() >= late);
}

#[tokio::test]
async fn a_storm_of_as_many_throttles_as_a_call_has_tries_gives_no_page_up() {
    // Each page is throttled three times, which are all the tries of a call that fails.
    let seen: Mutex<HashMap<Params, usize>> = Mutex::default();
    let url = serve(move |_, params| {
        let mut params = params.clone();
        params.retain(|name, _| !matches!(name.as_str(), "timestamp" | "sign"));
        let mut seen = seen.lock().unwrap();
        let before = seen.entry(params.clone()).or_default();
        *before += 1;
        if params["method"] == "listing" && *before <= 3 { status(429, "{}") } else { shop_of(6, &params) }
    })
    .await;
    let ran = run(&one_shop(&url)).await;
    assert_eq!((ran.reason(), ran.facts().throttles), (None, 9));
}

#[tokio::test]
async fn an_account_that_is_throttled_without_end_leaves_its_calls_to_another() {
    let url = serve(|_, params| match params["app_key"].as_str() {
        "first" => status(429, "{}"),
        _ => shop_of(6, params),
    })
    .await;
    let shops = vec![testing::shop("b2b-1"), testing::shop("b2b-2")];
    let ran = run(&Pipeline { accounts: vec![keyed("first"), keyed("second")], shops, ..one_shop(&url) }).await;
    let reasons: Vec<_> = ran.facts().shops.iter().map(|shop| shop.incomplete_reason.as_deref()).collect();
    assert_eq!(reasons, [None, None]);
}

#[tokio::test]
async fn calls_in_flight_when_an_account_is_left_have_all_their_tries_at_the_next_one() {
    let tries: Mutex<HashMap<String, usize>> = Mutex::default();
    let url = serve(move |_, params| match (params["app_key"].as_str(), params["method"].as_str()) {
        ("first", _) => status(429, "{}"),
        (_, "count") => {
            let mut tries = tries.lock().unwrap();
            let before = tries.entry(params["member_id"].clone()).or_default();
            *before += 1;
            // Of three tries the last one is answered.
            if *before < 3 { status(500, "") } else { shop_of(6, params) }
        }
        _ => shop_of(6, params),
    })
    .await;
    let shops = ["b2b-1", "b2b-2", "b2b-3", "b2b-4"].map(testing::shop).to_vec();
    let mut pipeline = Pipeline { accounts: vec![keyed("first"), keyed("second")], shops, ..one_shop(&url) };
    pipeline.gateway.limits.calls_in_flight = 4;
    let ran = run(&pipeline).await;
    assert!(ran.facts().shops.iter().all(|shop| shop.official_count == Some(6)), "{:?}", ran.facts().shops);
}

#[tokio::test]
async fn a_wrong_time_is_signed_again_whatever_the_refusal_is_called() {
    for refusal in [
        r#"{"error_response":{"code":1001,"msg":"timestamp"}}"#,
        r#"{"error_response":{"code":"no.such.code","msg":"timestamp"}}"#,
    ] {
        let url = serve(move |_, params| {
            let stamp: i64 = params["timestamp"].parse().unwrap();
            match (SystemClock.now().timestamp_millis() - stamp).abs() > 180_000 {
                true => ok(refusal),
                false => shop_of(3, params),
            }
        })
        .await;
        let clock = Arc::new(ManualClock::new(testing::at("2020-01-01T00:00:00Z")));
        let ran = run_with(&one_shop(&url), Memory::default(), CancellationToken::new(), clock).await;
        assert_eq!(ran.reason(), None, "{refusal}");
    }
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_by_the_gateways_date() {
    // The server refuses a time stamp that is off, as the gateways do; its `Date` is the real time.
    let url = serve(|_, params| {
        let stamp: i64 = params["timestamp"].parse().unwrap();
        match (SystemClock.now().timestamp_millis() - stamp).abs() > 180_000 {
            true => ok(r#"{"error_response":{"code":10002,"msg":"timestamp"}}"#),
            false => shop_of(3, params),
        }
    })
    .await;
    let clock = Arc::new(ManualClock::new(testing::at("2020-01-01T00:00:00Z")));
    let ran = run_with(&one_shop(&url), Memory::default(), CancellationToken::new(), clock).await;
    assert_eq!(ran.reason(), None);
    assert!(ran.facts().retries >= 1, "{:?}", ran.facts());
}

#[tokio::test]
async fn an_account_with_a_proxy_sends_through_it_and_nothing_else_does() {
    let proxy = serve(|_, params| shop_of(3, params)).await;
    let mut pipeline = one_shop("http://gateway.invalid/");
    pipeline.accounts[0].proxy = Some(crate::base::Secret::new(proxy.as_str()));
    let ran = run(&pipeline).await;
    assert_eq!(ran.reason(), None);
    pipeline.accounts[0].proxy = Some(crate::base::Secret::new("http://user:hunter2hunter2@127.0.0.1:1/"));
    let ran = run(&pipeline).await;
    let error = format!("{:?} {:?}", ran.error(), ran.attempts[0].record.transport_error);
    assert!(error.contains("cannot connect") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn the_watermark_is_by_the_earlier_clock_where_the_gateway_takes_any_time() {
    for hours in [-3, 3] {
        let url = serve(move |_, params| {
            let date = (SystemClock.now() + chrono::TimeDelta::hours(hours)).to_rfc2822();
            Answer { headers: vec![("date", date)], ..shop_of(3, params) }
        })
        .await;
        let ran = run(&one_shop(&url)).await;
        let early = SystemClock.now() - ran.facts().shops[0].watermark_at.unwrap();
        let expected = chrono::TimeDelta::hours(if hours < 0 { 3 } else { 0 });
        assert!((early - expected).abs() < chrono::TimeDelta::minutes(1), "{hours}: {early}");
    }
}

#[tokio::test]
async fn a_proxy_that_asks_for_a_password_is_named_at_once_and_another_account_goes_on() {
    let gateway = serve(|_, params| shop_of(3, params)).await;
    for scheme in ["http", "https"] {
        let proxy = serve(|_, _| status(407, "who is there?")).await;
        let mut barred = testing::account("barred");
        barred.proxy = Some(crate::base::Secret::new(proxy.as_str()));
        let url = gateway.replacen("http", scheme, 1);
        let alone = Pipeline { gateway: one_worker(testing::gateway(&url)), ..one_shop(&url) };
        let alone = Pipeline { accounts: vec![barred.clone()], ..alone };
        let ran = run(&alone).await;
        let error = ran.error();
        assert_eq!((error.kind(), ran.attempts.len()), (Kind::Denied, 1), "{error}");
        assert!(error.to_string().starts_with("the proxy of account `barred` refuses"), "{error}");
        assert!(error.hint().unwrap_or_default().contains("`proxy`"), "{error:?}");
        if scheme == "http" {
            let mut other = testing::account("other");
            other.key = "other".into();
            let both = Pipeline { accounts: vec![barred, other], ..alone };
            let ran = run(&both).await;
            assert_eq!((ran.reason(), ran.attempts.len()), (None, 4), "one in vain");
        }
    }
}

#[test]
fn what_a_proxy_is_told_is_masked_in_every_way_that_it_may_be_repeated() {
    let mut pipeline = one_shop("http://gateway.invalid/");
    pipeline.accounts[0].proxy = Some(crate::base::Secret::new("http://some%20one:p%40ss+wo&rd@127.0.0.1:1/"));
    let mask = super::mask(&pipeline);
    for said in ["p@ss+wo&rd", "p%40ss+wo&rd", "c29tZSBvbmU6cEBzcyt3byZyZA=="] {
        let masked = mask.text(&format!("407: `{said}` is not let through"));
        assert_eq!(masked, "407: `***` is not let through");
    }
}

#[tokio::test]
async fn one_account_that_is_refused_rests_and_the_others_go_on() {
    let url = serve(|_, params| match params["app_key"].as_str() {
        "first" => ok(r#"{"error_response":{"code":10002,"msg":"Invalid signature"}}"#),
        _ => shop_of(6, params),
    })
    .await;
    let gateway = one_worker(testing::gateway(&url));
    let ran = run(&Pipeline { accounts: vec![keyed("first"), keyed("second")], gateway, ..one_shop(&url) }).await;
    assert_eq!(ran.reason(), None);
    let asked: Vec<_> = ran.attempts.iter().map(|attempt| attempt.record.account.as_str()).collect();
    assert_eq!(asked, ["first", "second", "second", "second", "second"]);
    let denied = Note::Denied {
        account: "first".into(),
        endpoint: None,
        reason: "`10002` Invalid signature (copy the secret again)".into(),
    };
    assert_eq!(ran.facts().notes, [denied]);
}

#[tokio::test]
async fn a_quota_that_counts_by_shop_holds_one_shop_and_not_the_others() {
    let url = serve(|_, params| match params.get("member_id").map(String::as_str) {
        Some("full") => ok(r#"{"error_code":"4013","error_message":"over quota"}"#),
        _ => shop_of(4, params),
    })
    .await;
    let mut pipeline = one_shop(&url);
    pipeline.gateway.limits.quota_scope = crate::config::gateway::QuotaScope::Shop;
    pipeline.shops = vec![testing::shop("full"), testing::shop("b2b-2")];
    let ran = run(&pipeline).await;
    let reasons: Vec<_> = ran.facts().shops.iter().map(|shop| shop.incomplete_reason.as_deref()).collect();
    assert!(reasons[0].unwrap().starts_with("not listed: no account has calls left for shop full"), "{reasons:?}");
    assert_eq!(reasons[1], None);
    assert!(ran.facts().stopped.is_some(), "the next start goes on");
}
