//! The official gateway's access tokens: fetched, renewed once, kept nowhere.

use huopan::base::Kind;
use huopan::sim::{Gateway, Sim};
use serde_json::json;

use super::ask::{Reply, Server, Trap, ids, items, sim, sim_with};

const OFFER: i64 = 712_757_874_907;

fn account(name: &str, key: &str, tokens: &str) -> String {
    format!(
        "[[accounts]]\nname = \"{name}\"\n\
         credentials = {{ app_key = \"{key}\", app_secret = \"env:SECRET\"{tokens} }}\n"
    )
}

const REFRESH: &str = ", refresh_token = \"env:REFRESH\"";
const BOTH: &str = ", access_token = \"env:TOKEN\", refresh_token = \"env:REFRESH\"";

fn renewals(sim: &Sim) -> usize {
    sim.journal().iter().filter(|entry| entry.method == "system.oauth2/getToken").count()
}

#[tokio::test]
async fn aop_a_token_is_fetched_with_the_refresh_token_and_kept_nowhere() {
    let sim = sim().await;
    let trap = Trap::on(&sim, Gateway::Aop).lines(&items(&ids(&sim.world(Gateway::Aop), 6)));
    let trap = trap.accounts(&account("main", "sim-app", REFRESH));
    let report = trap.publish().await;
    assert_eq!((report.loaded, renewals(&sim), report.calls), (6, 1, 7));
    // The call is journalled as any other; what it was answered is nowhere.
    let rows =
        trap.place.rows("select account, class, http_status, attempt, bytes from calls where endpoint = 'token'");
    let rows: Vec<String> = rows.await.iter().map(|row| row.values().cloned().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(rows, ["main 1 0 ok 200"], "account, attempt, bytes, class, status");
    assert_eq!(trap.place.value("select count(*) from raw_pages where endpoint = 'token'").await, "0");
    let state = huopan::state::open(&trap.pipeline().state).await.unwrap();
    let today = huopan::base::time::beijing_day(huopan::base::Clock::now(&huopan::base::SystemClock));
    let counted: Vec<u64> = state.counts(today).await.unwrap().iter().map(|counted| counted.calls).collect();
    assert_eq!(counted, [7], "it is in the ledger");
    // `sim-token-1` is the token that was given.
    let secrets = ["sim-token", "sim-refresh", "sim-secret"];
    assert_eq!(trap.files_with(&secrets), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn aop_a_token_that_a_gateway_echoes_is_kept_nowhere() {
    let server = Server::start(|call| match call.path.contains("getToken") {
        true => Reply::json(&json!({"access_token": "given-token-77", "expires_in": "36000"})),
        false => {
            let token = call.get("access_token");
            Reply::json(&json!({"errorCode": "odd", "errorMsg": format!("bad {token}"), "echo": token}))
        }
    })
    .await;
    let trap = Trap::at(&server.url, "aop").lines(&items(&[OFFER])).accounts(&account("main", "sim-app", REFRESH));
    let told = match crate::support::attempt(&trap.pipeline(), huopan::run::Options::default()).await {
        Ok(outcome) => format!("{outcome:?}"),
        Err(error) => format!("{error:?} {error}"),
    };
    assert_eq!(server.calls().last().unwrap().get("access_token"), "given-token-77");
    assert!(!told.contains("given-token"), "{told}");
    assert_eq!(trap.files_with(&["given-token-77"]), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn aop_a_token_that_has_expired_is_renewed_once_for_all_calls() {
    let sim = sim_with(|options| options.answer_millis = 20).await;
    let trap = Trap::on(&sim, Gateway::Aop).lines(&items(&ids(&sim.world(Gateway::Aop), 8)));
    let trap = trap.accounts(&account("main", "sim-app", BOTH));
    trap.ask().await.facts();
    assert_eq!(renewals(&sim), 0, "the token that was given is good");
    sim.expire_tokens();
    let asked = trap.ask().await;
    assert_eq!((asked.facts().items_unanswered.len(), renewals(&sim)), (0, 1));
    assert_eq!(asked.facts().retries, 4, "four calls were on their way");
}

#[tokio::test]
async fn aop_a_tokens_lifetime_is_a_text_of_seconds() {
    let renewals = async |expires: &'static str| {
        let server = Server::start(move |call| match call.path.contains("getToken") {
            true => Reply::json(&json!({"access_token": "given", "expires_in": expires})),
            false => Reply::json(&json!({"success": true, "productInfo": {"productID": OFFER}})),
        })
        .await;
        let trap = Trap::at(&server.url, "aop").lines(&items(&[OFFER, OFFER + 1, OFFER + 2]));
        let trap = trap.accounts(&account("main", "sim-app", REFRESH)).define("limits.calls_in_flight = 1");
        trap.ask().await.facts();
        server.calls().iter().filter(|call| call.path.contains("getToken")).count()
    };
    assert_eq!((renewals("36000").await, renewals("0").await), (1, 3));
}

#[tokio::test]
async fn aop_a_renewal_that_is_refused_names_the_account() {
    let sim = sim_with(|options| options.refresh_token = "another".to_owned()).await;
    let trap = Trap::on(&sim, Gateway::Aop).lines(&items(&[OFFER])).accounts(&account("main", "sim-app", REFRESH));
    let error = trap.fail().await;
    let said = format!("{error}: {}", error.hint().unwrap_or_default());
    assert_eq!((error.kind(), renewals(&sim)), (Kind::Denied, 1), "{said}");
    assert!(said.contains("renews no token for account `main`") && said.contains("`refresh_token`"), "{said}");
    assert!(!said.contains("sim-refresh"));
}

#[tokio::test]
async fn aop_a_renewal_that_is_refused_lets_the_next_account_ask() {
    let sim = sim().await;
    let trap = Trap::on(&sim, Gateway::Aop).lines(&items(&ids(&sim.world(Gateway::Aop), 6)));
    let wrong = account("first", "sim-paid", ", refresh_token = \"env:OTHER\"");
    let trap = trap.accounts(&(wrong + &account("second", "sim-app", REFRESH)));
    let asked = trap.ask().await;
    assert_eq!(asked.facts().items_unanswered, [0; 0]);
    let first = asked.attempts.iter().filter(|attempt| attempt.record.account == "first");
    let first: Vec<_> = first.map(|attempt| (&*attempt.record.endpoint, attempt.record.judged.as_deref())).collect();
    assert_eq!(first, [("token", Some("auth"))], "it asks for its token and nothing else");
    assert!(asked.warnings.iter().any(|text| text.contains("account `first` is denied")), "{:?}", asked.warnings);
    assert_eq!(renewals(&sim), 2);
}

#[tokio::test]
async fn aop_a_busy_token_address_is_asked_again() {
    let server = Server::start(|call| match (call.path.contains("getToken"), call.before) {
        (true, 0) => Reply::bytes("<html>busy</html>").status(503),
        (true, 1) => Reply::json(&json!({"error": "slow down"})).status(429),
        (true, _) => Reply::json(&json!({"access_token": "given", "expires_in": "36000"})),
        (false, _) => Reply::json(&json!({"success": true, "productInfo": {"productID": OFFER}})),
    })
    .await;
    let trap = Trap::at(&server.url, "aop").lines(&items(&[OFFER])).accounts(&account("main", "sim-app", REFRESH));
    let asked = trap.ask().await;
    assert_eq!((asked.facts().items_unanswered.len(), server.calls().len()), (0, 4));
    let kept: Vec<_> =
        asked.attempts.iter().map(|attempt| (attempt.record.judged.as_deref(), attempt.record.attempt)).collect();
    assert_eq!(kept, [(Some("retry"), 1), (Some("throttle"), 2), (Some("good"), 3), (None, 1)]);
}

#[tokio::test]
async fn aop_a_token_leaves_in_the_accounts_rhythm_and_within_its_day() {
    let server = || {
        Server::start(|call| match call.path.contains("getToken") {
            true => Reply::json(&json!({"access_token": "given", "expires_in": "36000"})),
            false => Reply::json(&json!({"success": true, "productInfo": {"productID": OFFER}})),
        })
    };
    let trap = |server: &Server| Trap::at(&server.url, "aop").lines(&items(&[OFFER, OFFER + 1]));
    let paced = server().await;
    let one_a_second = format!("{}calls_per_second = 4\n", account("main", "sim-app", REFRESH));
    let asked = trap(&paced).accounts(&one_a_second).ask().await;
    let sent: Vec<_> = asked.attempts.iter().map(|attempt| attempt.record.sent_at).collect();
    assert_eq!(sent.len(), 3);
    let least = sent.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    // 250 apart; a busy machine sends one late.
    assert!(least.num_milliseconds() >= 200, "{sent:?}");
    let short = server().await;
    let two_a_day = format!("{}calls_per_day = 2\n", account("main", "sim-app", REFRESH));
    let asked = trap(&short).lines("on_quota = \"continue\"").accounts(&two_a_day).ask().await;
    assert!(asked.facts().stopped.as_deref().is_some_and(|why| why.contains("its 2 calls of the day are used up")));
    assert_eq!((asked.facts().items_unanswered.len(), short.calls().len()), (1, 2), "a token and an item");
}

#[tokio::test]
async fn aop_a_plan_knows_that_a_token_is_a_call() {
    let sim = sim().await;
    let ids = ids(&sim.world(Gateway::Aop), 6);
    let total = async |tokens: &str| {
        let trap = Trap::on(&sim, Gateway::Aop).lines(&items(&ids)).accounts(&account("main", "sim-app", tokens));
        let around = huopan::run::Surroundings {
            clock: std::sync::Arc::new(huopan::base::SystemClock),
            progress: &huopan::extract::progress::Silent,
            cancel: Default::default(),
            seed: 7,
        };
        let (pipeline, asks) = (trap.pipeline(), huopan::run::survey::Asks::Nothing);
        let survey = huopan::run::survey::survey(&pipeline, Default::default(), asks, &around).await.unwrap();
        huopan::plan::price::price(&pipeline, &survey).total.to_string()
    };
    assert_eq!(total(REFRESH).await, "≈ 7");
    assert_eq!(total(BOTH).await, "≈ 6–7");
    assert_eq!(total(", access_token = \"env:TOKEN\"").await, "6");
}

#[tokio::test]
async fn aop_a_refused_token_that_was_just_renewed_is_not_renewed_again() {
    let server = Server::start(|call| match call.path.contains("getToken") {
        true => Reply::json(&json!({"access_token": "given", "expires_in": "36000"})),
        false => Reply::json(&json!({"error_code": "401", "error_message": "no"})).status(400),
    })
    .await;
    let trap = Trap::at(&server.url, "aop").lines(&items(&[OFFER])).accounts(&account("main", "sim-app", BOTH));
    trap.ask().await.failed(Kind::Denied);
    let paths: Vec<_> = server.calls().iter().map(|call| call.path.contains("getToken")).collect();
    assert_eq!(paths, [false, true, false]);
}

#[tokio::test]
async fn aop_a_token_that_is_refused_for_minutes_lets_the_account_rest_that_long() {
    let server = Server::start(|_| Reply::bytes("slow down").status(429).header("retry-after", "600")).await;
    let trap = Trap::at(&server.url, "aop").lines(&items(&[OFFER])).accounts(&account("main", "sim-app", REFRESH));
    let state = huopan::state::in_memory().await.unwrap();
    let asked = trap.ask_with(&state).await;
    let stopped = asked.facts().stopped.as_deref().unwrap_or_default();
    assert!(stopped.contains("blocked until"), "{stopped}");
    let judged: Vec<_> = asked.attempts.iter().map(|attempt| attempt.record.judged.as_deref()).collect();
    assert_eq!((server.calls().len(), judged), (1, vec![Some("quota")]));
    trap.ask_with(&state).await.facts();
    assert_eq!(server.calls().len(), 1, "the next start waits, too");
}

#[tokio::test]
async fn aop_a_date_on_a_tokens_answer_is_by_the_gateways_clock() {
    let date = (huopan::base::Clock::now(&huopan::base::SystemClock) + chrono::TimeDelta::hours(1)).to_rfc2822();
    let server = Server::start(move |call| match (call.path.contains("getToken"), call.before) {
        (true, 0) => Reply::bytes("slow down").status(429).header("retry-after", &date).header("date", &date),
        (true, _) => Reply::json(&json!({"access_token": "given", "expires_in": "36000"})),
        (false, _) => Reply::json(&json!({"success": true, "productInfo": {"productID": OFFER}})),
    })
    .await;
    let trap = Trap::at(&server.url, "aop").lines(&items(&[OFFER])).accounts(&account("main", "sim-app", REFRESH));
    let asked = trap.ask().await;
    let judged: Vec<_> = asked.attempts.iter().map(|attempt| attempt.record.judged.as_deref()).collect();
    assert_eq!(judged, [Some("throttle"), Some("good"), None]);
    assert_eq!((asked.facts().stopped.as_deref(), asked.facts().items_unanswered.len()), (None, 0));
}

#[tokio::test]
async fn aop_a_wrong_address_for_tokens_is_asked_twice_and_named() {
    let server = Server::start(|_| Reply::bytes("<html>Not Found</html>").status(404)).await;
    let offers: Vec<i64> = (OFFER..OFFER + 9).collect();
    let trap = Trap::at(&server.url, "aop").lines(&items(&offers)).accounts(&account("main", "sim-app", REFRESH));
    let said = trap.ask().await.failed(Kind::Config);
    assert!(said.contains("correct `url`") && said.contains("system.oauth2/getToken"), "{said}");
    assert_eq!(server.calls().len(), 2);
}

/// A token address that answers so the first time, and with a token then.
async fn once(first: fn() -> Reply) -> Server {
    Server::start(move |call| match (call.path.contains("getToken"), call.before) {
        (true, 0) => first(),
        (true, _) => Reply::json(&json!({"access_token": "given", "expires_in": "36000"})),
        (false, _) => Reply::json(&json!({"success": true, "productInfo": {"productID": OFFER}})),
    })
    .await
}

fn error(code: &str, message: &str) -> Reply {
    Reply::json(&json!({"error_code": code, "error_message": message})).status(400)
}

#[tokio::test]
async fn aop_a_throttled_or_busy_token_address_is_asked_again_whatever_the_http_status() {
    for (first, class) in [
        ((|| error("gw.QosAppFrequencyLimit", "too often")) as fn() -> Reply, "throttle"),
        (|| error("gw.ServiceUnavailable", "later"), "retry"),
        (|| Reply::json(&json!({})), "retry"),
    ] {
        let server = once(first).await;
        let trap = Trap::at(&server.url, "aop").lines(&items(&[OFFER])).accounts(&account("main", "sim-app", REFRESH));
        let trap = trap.define("errors.codes.\"gw.QosAppFrequencyLimit\" = { class = \"throttle\", wait_seconds = 0 }");
        let asked = trap.ask().await;
        let judged: Vec<_> = asked.attempts.iter().map(|attempt| attempt.record.judged.as_deref()).collect();
        assert_eq!(judged, [Some(class), Some("good"), None]);
        assert_eq!((asked.facts().stopped.as_deref(), asked.facts().items_unanswered.len()), (None, 0), "{class}");
    }
}

#[tokio::test]
async fn aop_a_token_address_that_has_no_calls_left_lets_the_account_rest() {
    let server = once(|| error("gw.QuotaExceeded", "今日调用次数已用完")).await;
    let trap = Trap::at(&server.url, "aop").lines(&items(&[OFFER])).accounts(&account("main", "sim-app", REFRESH));
    let asked = trap.ask().await;
    let stopped = asked.facts().stopped.clone().unwrap_or_default();
    assert!(stopped.contains("blocked until") && stopped.contains("gw.QuotaExceeded"), "{stopped}");
    assert_eq!(server.calls().len(), 1);
}

#[tokio::test]
async fn aop_a_refused_token_names_the_gateways_code_and_what_it_means_but_not_its_words() {
    for (code, kind, todo) in [
        ("gw.SignatureInvalid", Kind::Denied, "copy the secret again"),
        ("gw.APIUnsupported", Kind::Config, "its namespace, name or version in `path` is wrong"),
        ("gw.NobodyKnows", Kind::Denied, "renew `refresh_token`"),
    ] {
        let server = Server::start(move |_| error(code, "token given-token-77")).await;
        let trap = Trap::at(&server.url, "aop").lines(&items(&[OFFER])).accounts(&account("main", "sim-app", REFRESH));
        let said = trap.ask().await.failed(kind);
        assert!(said.contains(code) && said.contains(todo) && !said.contains("given-token"), "{said}");
        assert_eq!(server.calls().len(), 1, "{code}");
    }
}

#[tokio::test]
async fn aop_a_token_address_that_redirects_is_asked_twice_and_named() {
    let server = Server::start(|_| Reply::bytes("").status(302).header("location", "http://127.0.0.1:1/")).await;
    let offers: Vec<i64> = (OFFER..OFFER + 9).collect();
    let trap = Trap::at(&server.url, "aop").lines(&items(&offers)).accounts(&account("main", "sim-app", REFRESH));
    let said = trap.ask().await.failed(Kind::Config);
    assert!(said.contains("HTTP 302") && said.contains("correct the gateway's `url`"), "{said}");
    assert_eq!(server.calls().len(), 2);
}

#[tokio::test]
async fn aop_calls_that_wait_for_a_token_share_its_tries() {
    let server = Server::start(|_| Reply::bytes("<html>login</html>")).await;
    let offers: Vec<i64> = (OFFER..OFFER + 9).collect();
    let trap = Trap::at(&server.url, "aop").lines(&items(&offers)).accounts(&account("main", "sim-app", REFRESH));
    let said = trap.define("limits.attempts_max = 3").ask().await.failed(Kind::Unavailable);
    assert!(said.contains("HTTP 200, no document") && said.contains("try again later"), "{said}");
    assert_eq!(server.calls().len(), 3);
}
