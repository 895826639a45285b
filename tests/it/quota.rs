//! The calls of a day: counted across runs and processes, ended in the middle of one, and accounts that are refused.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use huopan::base::time::beijing_day;
use huopan::base::{Clock, Kind, SystemClock};
use huopan::config::pipeline::AccountChoice;
use huopan::extract::progress::Event;
use huopan::extract::{Attempt, Note, Progress};
use huopan::sim::{Gateway, Key, Limits, Options, QuotaBlock, QuotaScope, Sim};
use huopan::state::RestKind;

use crate::extract::{Around, Written, extract, listed, on_sale};
use crate::support::{Place, huopan, huopan_with, quick, shop_lines};

/// Time that tests move on.
#[derive(Debug, Default)]
struct Hands(AtomicI64);

impl Hands {
    fn forward(&self, hours: i64) {
        self.0.fetch_add(hours, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::hours(self.0.load(Ordering::SeqCst))
    }
}

/// Warnings that were said.
#[derive(Default)]
struct Said(Mutex<Vec<String>>);

impl Said {
    fn lines(&self, of: &str) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|line| line.contains(of)).cloned().collect()
    }
}

impl Progress for Said {
    fn on(&self, event: Event<'_>) {
        if let Event::Warning(line) = event {
            self.0.lock().unwrap().push(line.to_owned());
        }
    }
}

fn limits(quota_scope: QuotaScope, quota_block: QuotaBlock) -> Limits {
    Limits { calls_per_second: None, calls_in_flight: None, quota_block, quota_scope }
}

/// A world whose keys have so many calls a day at portals.
async fn sim_of(keys: &[(&str, u64)], limits: Limits, clock: Arc<dyn Clock>) -> Sim {
    let keys = keys.iter().map(|(key, calls)| Key::new(key, *calls)).collect();
    let limits = [(Gateway::Portals, limits)].into();
    let options = Options { keys, limits, shop_sizes: vec![300, 280], day: None, clock, ..quick() };
    huopan::sim::start(options).await.unwrap()
}

async fn sim(keys: &[(&str, u64)]) -> Sim {
    sim_of(keys, limits(QuotaScope::Account, QuotaBlock::Midnight), Arc::new(SystemClock)).await
}

fn account(name: &str, calls_per_day: u64) -> String {
    format!(
        "[[accounts]]\nname = \"{name}\"\ncredentials = {{ app_key = \"{name}-key\", app_secret = \"env:SECRET\" }}\n\
         licence = \"plenty\"\ncalls_per_day = {calls_per_day}\n"
    )
}

/// Every listing page of both shops, and two counts.
fn calls_needed(sim: &Sim) -> u64 {
    let world = sim.world(Gateway::Portals);
    world.shops.iter().map(|shop| shop.on_sale.div_ceil(40) as u64 + 1).sum()
}

fn shops(sim: &Sim) -> String {
    shop_lines(&sim.world(Gateway::Portals))
}

#[tokio::test]
async fn the_ledger_is_kept_across_runs_and_a_run_without_calls_makes_none() {
    let (sim, place) = (sim(&[("main-key", 1000)]).await, Place::new());
    let needed = calls_needed(&sim);
    let (lines, accounts) = (shops(&sim), account("main", needed + 3));
    Written { accounts: &accounts, ..Written::new(Gateway::Portals, &lines) }.write(place.path(), &sim);
    let first = huopan(place.path(), &["run", "test.toml"]).await;
    assert_eq!((first.code, sim.stats().calls), (0, needed), "{first:?}");
    // What cannot be finished is not started …
    let second = huopan(place.path(), &["run", "test.toml", "--refresh"]).await;
    assert_eq!((second.code, sim.stats().calls), (75, needed), "{second:?}");
    assert!(second.stderr.contains("more than are left today"), "{second:?}");
    // … unless the pipeline says so.
    let lines = format!("on_quota = \"continue\"\n{lines}");
    Written { accounts: &accounts, ..Written::new(Gateway::Portals, &lines) }.write(place.path(), &sim);
    let reason = format!("no account has calls left (`main`: its {} calls of the day are used up)", needed + 3);
    for _ in 0..2 {
        let ended = huopan(place.path(), &["run", "test.toml", "--refresh"]).await;
        assert_eq!((ended.code, sim.stats().calls), (75, needed + 3), "{ended:?}");
        assert_eq!(ended.stderr.matches(&reason).count(), 1, "{ended:?}");
    }
}

#[tokio::test]
async fn a_quota_that_the_gateway_ends_in_mid_run_lets_the_account_rest_as_long_as_it_says() {
    for block in [QuotaBlock::Midnight, QuotaBlock::Day] {
        let sim = sim_of(&[("main-key", 9)], limits(QuotaScope::Account, block), Arc::new(SystemClock)).await;
        let definition = if block == QuotaBlock::Day { "[limits]\nquota_blocks = \"24h\"" } else { "" };
        let (lines, accounts) = (shops(&sim), account("main", 1000));
        let written = Written { definition, accounts: &accounts, ..Written::new(Gateway::Portals, &lines) };
        let (pipeline, said) = (written.at_once(&sim), Said::default());
        let around = Around { progress: &said, ..Around::new().await };
        let before = SystemClock.now();
        let (facts, attempts) = extract(&pipeline, &around).await;
        let facts = facts.unwrap();
        let stopped = facts.stopped.clone().unwrap();
        assert!(stopped.starts_with("no account has calls left (`main`: blocked until 20"), "{stopped}");
        // At most the calls in flight are too many.
        assert!((10..=13).contains(&attempts.len()), "{}", attempts.len());
        assert_eq!(said.lines("account `main`").len(), 1, "{:?}", said.lines(""));
        assert_eq!(facts.notes.iter().filter(|note| matches!(note, Note::Blocked { .. })).count(), 1, "{facts:?}");
        let rests = &around.state.accounts(before).await.unwrap()[0].rests;
        let (rest, until) = (&rests[0].rest, rests[0].rest.until);
        assert_eq!((rests.len(), rest.kind), (1, RestKind::Quota));
        if block == QuotaBlock::Day {
            let hours = (until - before).as_seconds_f64() / 3600.0;
            assert!((23.99..24.1).contains(&hours), "{hours}");
        } else {
            assert_eq!(beijing_day(until), beijing_day(before).succ_opt().unwrap());
            assert_ne!(beijing_day(until - TimeDelta::seconds(1)), beijing_day(until));
        }
        let (again, none) = extract(&pipeline, &around).await;
        assert_eq!((again.unwrap().stopped, none.len()), (Some(stopped), 0));
    }
}

#[tokio::test]
async fn a_quota_that_ends_in_mid_run_ends_it_with_one_line_and_code_75() {
    let (sim, place) = (sim(&[("main-key", 9)]).await, Place::new());
    let (lines, accounts) = (shops(&sim), account("main", 1000));
    Written { accounts: &accounts, ..Written::new(Gateway::Portals, &lines) }.write(place.path(), &sim);
    let ended = huopan(place.path(), &["run", "test.toml"]).await;
    assert_eq!(ended.code, 75, "{ended:?}");
    assert_eq!(ended.stdout, "");
    assert_eq!(ended.stderr.lines().count(), 2, "a warning, then how it ended: {ended:?}");
    let end = ended.stderr.lines().last().unwrap();
    assert!(end.contains("is not published: no account has calls left (`main`: blocked until"), "{ended:?}");
}

#[tokio::test]
async fn a_denied_account_rests_and_the_other_goes_on_whichever_stands_first() {
    for denied in ["first", "second"] {
        let mut options = Options { shop_sizes: vec![300, 280], day: None, ..quick() };
        options.keys = vec![Key::new("first-key", 1000), Key::new("second-key", 1000)];
        options.keys.iter_mut().filter(|key| key.app_key.starts_with(denied)).for_each(|key| {
            key.denied = vec![Gateway::Portals];
        });
        let sim = huopan::sim::start(options).await.unwrap();
        // The first account's calls do not suffice.
        let needed = calls_needed(&sim);
        let accounts = [account("first", needed - 3), account("second", 1000)].concat();
        let lines = shops(&sim);
        let pipeline = Written { accounts: &accounts, ..Written::new(Gateway::Portals, &lines) }.at_once(&sim);
        let said = Said::default();
        let around = Around { progress: &said, ..Around::new().await };
        let (facts, attempts) = extract(&pipeline, &around).await;
        if denied == "first" {
            let facts = facts.unwrap();
            assert!(facts.shops.iter().all(|shop| shop.incomplete_reason.is_none()), "{facts:?}");
            // Each endpoint refuses it once; the calls in flight hear the same.
            for endpoint in ["count", "listing"] {
                let of_endpoint = format!("account `first` at endpoint `{endpoint}` is denied");
                assert_eq!(said.lines(&of_endpoint).len(), 1, "{:?}", said.lines(""));
                let tried =
                    |attempt: &&Attempt| (&*attempt.record.account, &*attempt.record.endpoint) == ("first", endpoint);
                let tried = attempts.iter().filter(tried).count();
                assert!((1..=4).contains(&tried), "{tried}");
            }
            assert_eq!(said.lines("").len(), 2, "{:?}", said.lines(""));
            assert_eq!(attempts.iter().filter(|a| a.record.account == "second").count() as u64, needed);
        } else {
            // Nobody is left who may ask: the user must act, whatever the first one can do tomorrow.
            let error = facts.unwrap_err();
            assert_eq!(error.kind(), Kind::Denied);
            assert!(error.to_string().contains("refuses account `second`"), "{error}");
            let done = attempts.iter().filter(|attempt| attempt.record.account == "first").count() as u64;
            assert_eq!(done, needed - 3);
        }
        let health = around.state.accounts(SystemClock.now()).await.unwrap();
        let of = |name: &str| &health.iter().find(|health| health.account.starts_with(name)).unwrap().rests;
        let scopes: Vec<&str> = of(denied).iter().map(|resting| resting.scope.as_str()).collect();
        let refused: &[&str] =
            if denied == "first" { &["endpoint:count", "endpoint:listing"] } else { &["endpoint:listing"] };
        assert_eq!(scopes, refused);
        assert!(of(denied).iter().all(|resting| resting.rest.kind == RestKind::Denied));
        assert!(of(if denied == "first" { "second" } else { "first" }).is_empty());
    }
}

#[tokio::test]
async fn when_every_account_is_denied_the_user_hears_which_and_a_changed_secret_clears_it() {
    let (sim, place) = (sim(&[("main-key", 1000)]).await, Place::new());
    let (lines, accounts) = (shops(&sim), account("main", 1000));
    Written { accounts: &accounts, ..Written::new(Gateway::Portals, &lines) }.write(place.path(), &sim);
    let wrong = huopan_with(place.path(), &["run", "test.toml"], &[("SECRET", "another")]).await;
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert!(wrong.stderr.contains("account `main`") && wrong.stderr.contains("10002"), "{wrong:?}");
    let calls = sim.stats().calls;
    assert!(calls <= 2, "{calls}: a count of each shop was in flight at most");
    let resting = huopan_with(place.path(), &["run", "test.toml"], &[("SECRET", "another")]).await;
    assert_eq!((resting.code, sim.stats().calls), (1, calls), "{resting:?}");
    assert!(resting.stderr.contains("`main`: denied until") && resting.stderr.contains("10002"), "{resting:?}");
    let right = huopan(place.path(), &["run", "test.toml"]).await;
    assert_eq!(right.code, 0, "{right:?}");
}

#[tokio::test]
async fn accounts_are_drained_one_after_the_other_or_take_turns_by_the_share_they_have_used() {
    let sim = sim(&[("first-key", 1000), ("second-key", 1000)]).await;
    let needed = calls_needed(&sim);
    let lines = shops(&sim);
    let accounts = [account("first", 6), account("second", 60)].concat();
    let mut pipeline = Written { accounts: &accounts, ..Written::new(Gateway::Portals, &lines) }.at_once(&sim);
    pipeline.gateway.limits.calls_in_flight = 1;
    for choice in [AccountChoice::Drain, AccountChoice::Rotate] {
        pipeline.account_choice = choice;
        let (facts, attempts) = extract(&pipeline, &Around::new().await).await;
        assert_eq!(facts.unwrap().stopped, None);
        let of: Vec<&str> = attempts.iter().map(|attempt| attempt.record.account.as_str()).collect();
        let first = of.iter().filter(|name| **name == "first").count();
        assert_eq!(of.len() as u64, needed);
        if choice == AccountChoice::Drain {
            assert!(first == 6 && of[..6].iter().all(|name| *name == "first"), "{of:?}");
        } else {
            // A tenth of the calls for a tenth of the quota.
            assert!((1..=3).contains(&first), "{of:?}");
        }
    }
}

#[tokio::test]
async fn a_shop_whose_own_calls_are_used_up_waits_for_the_next_day_and_the_others_go_on() {
    let clock = Arc::new(Hands::default());
    let portals = limits(QuotaScope::Shop, QuotaBlock::Midnight);
    let keys = Key::new("main-key", 6);
    let options = Options {
        keys: vec![keys],
        limits: [(Gateway::Portals, portals)].into(),
        shop_sizes: vec![300, 150],
        day: None,
        clock: clock.clone(),
        ..quick()
    };
    let sim = huopan::sim::start(options).await.unwrap();
    let (lines, accounts) = (shops(&sim), account("main", 6));
    let definition = "[limits]\nquota_scope = \"shop\"";
    let pipeline = Written { definition, accounts: &accounts, ..Written::new(Gateway::Portals, &lines) }.at_once(&sim);
    let around = Around { clock: clock.clone(), ..Around::new().await };
    let (facts, attempts) = extract(&pipeline, &around).await;
    let facts = facts.unwrap();
    let (large, small) = (&facts.shops[0], &facts.shops[1]);
    assert_eq!((small.incomplete_reason.as_deref(), small.calls_used), (None, 5), "{facts:?}");
    assert_eq!(large.calls_used, 6, "{facts:?}");
    let reason =
        format!("no account has calls left for shop {} (`main`: its 6 calls of the day are used up)", large.shop_id);
    assert_eq!(facts.stopped.as_deref(), Some(reason.as_str()));
    assert_eq!(attempts.len(), 11);
    // The next day there are calls again.
    clock.forward(24);
    let (facts, attempts) = extract(&pipeline, &around).await;
    assert_eq!(facts.unwrap().shops[0].calls_used, 6);
    assert_eq!(attempts.len(), 11);
}

#[tokio::test]
async fn an_endpoint_whose_own_calls_are_used_up_ends_what_needs_it() {
    let portals = limits(QuotaScope::Endpoint, QuotaBlock::Midnight);
    let sim = sim_of(&[("main-key", 10)], portals, Arc::new(SystemClock)).await;
    let (lines, accounts) = (shops(&sim), account("main", 10));
    let definition = "[limits]\nquota_scope = \"endpoint\"";
    let pipeline = Written { definition, accounts: &accounts, ..Written::new(Gateway::Portals, &lines) }.at_once(&sim);
    let (facts, attempts) = extract(&pipeline, &Around::new().await).await;
    let facts = facts.unwrap();
    let of = |endpoint: &str| attempts.iter().filter(|attempt| attempt.record.endpoint == endpoint).count();
    assert_eq!((of("count"), of("listing")), (2, 10));
    let reason = "no account has calls left for endpoint listing (`main`: its 10 calls of the day are used up)";
    assert_eq!(facts.stopped.as_deref(), Some(reason));
    assert_eq!(sim.stats().outcomes.get(&huopan::sim::Outcome::Quota), None);
}

#[tokio::test]
async fn endpoints_that_are_one_method_to_the_gateway_are_counted_together() {
    let portals = limits(QuotaScope::Endpoint, QuotaBlock::Midnight);
    let keys = vec![Key::new("sim-app", 10)];
    let options = Options { keys, limits: [(Gateway::Portals, portals)].into(), shop_sizes: vec![8; 7], ..quick() };
    let sim = huopan::sim::start(options).await.unwrap();
    let place = Place::new();
    let lines = format!("{}\n[fetch]\nlisting = \"changed\"\n", shop_lines(&sim.world(Gateway::Portals)));
    let file = place.pipeline_file(&sim, Gateway::Portals, &lines);
    let definition = std::fs::read_to_string(place.path().join("portals-at-once.toml")).unwrap();
    place.write("portals-at-once.toml", definition + "quota_scope = \"endpoint\"\n");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("calls_per_day = 3000", "calls_per_day = 10")).unwrap();
    let run = async |dt: &str, code| {
        let ended = huopan(place.path(), &["run", "pipeline.toml", "--dt", dt]).await;
        assert_eq!(ended.code, code, "{ended:?}");
        ended
    };
    run("2026-11-20", 0).await;
    sim.set_day("2026-11-21".parse().unwrap());
    // Seven listings are counted. Another night lists what changed and what went off sale, each shop by one call each.
    let calls = sim.stats().calls;
    let ended = run("2026-11-21", 1).await;
    assert!(ended.stderr.contains("endpoint `listing` needs at least 14 calls, and a day allows it 10"), "{ended:?}");
    let set = async |scope: &str, calls: &str| {
        let set = ["accounts", "set", "main", "--calls", calls, "--scope", scope, "--pipeline", "pipeline.toml"];
        let ended = huopan(place.path(), &[&set[..], &["--json"]].concat()).await;
        serde_json::from_str::<serde_json::Value>(&ended.stdout).unwrap()
    };
    // Whoever corrects the ledger may say huopan's name for it.
    let method = "endpoint:alibaba.seller.items.list.get";
    let set_back = set("endpoint:off_sale", "4").await;
    assert_eq!((&set_back["scope"], &set_back["calls_before"]), (&method.into(), &7.into()));
    assert_eq!(sim.stats().calls, calls, "refused before a call");
    let shown = huopan(place.path(), &["accounts", "pipeline.toml", "--json"]).await.stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let scopes = shown["accounts"][0]["scopes"].as_array().unwrap();
    let counted = scopes.iter().find(|counted| counted["scope"] == method).unwrap();
    assert_eq!((&counted["calls"], &counted["left"]), (&4.into(), &6.into()), "{shown}");
}

#[tokio::test]
async fn four_fifths_and_nineteen_twentieths_of_the_day_are_said_once_also_across_runs() {
    let sim = sim(&[("main-key", 1000)]).await;
    let needed = calls_needed(&sim);
    let (lines, accounts) = (shops(&sim), account("main", 2 * needed));
    let pipeline = Written { accounts: &accounts, ..Written::new(Gateway::Portals, &lines) }.at_once(&sim);
    let said = Said::default();
    let around = Around { progress: &said, ..Around::new().await };
    let (first, _) = extract(&pipeline, &around).await;
    assert_eq!((first.unwrap().notes, said.lines("").len()), (vec![], 0));
    let (second, _) = extract(&pipeline, &around).await;
    let second = second.unwrap();
    let percents: Vec<u64> = second
        .notes
        .iter()
        .map(|note| match note {
            Note::Quota { percent, limit, .. } if *limit == 2 * needed => *percent,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(percents, [80, 95]);
    assert_eq!(said.lines("of its calls of the day").len(), 2, "{:?}", said.lines(""));
    assert_eq!(second.quota_left, Some(0));
}

#[tokio::test]
async fn another_account_takes_over_from_one_whose_quota_ends() {
    let sim = sim(&[("first-key", 7), ("second-key", 1000)]).await;
    let lines = shops(&sim);
    let accounts = [account("first", 1000), account("second", 1000)].concat();
    let pipeline = Written { accounts: &accounts, ..Written::new(Gateway::Portals, &lines) }.at_once(&sim);
    let said = Said::default();
    let around = Around { progress: &said, ..Around::new().await };
    let (facts, attempts) = extract(&pipeline, &around).await;
    let facts = facts.unwrap();
    assert_eq!(facts.stopped, None);
    assert_eq!(listed(&pipeline, &attempts), &on_sale(&sim, Gateway::Portals, 0) | &on_sale(&sim, Gateway::Portals, 1));
    assert_eq!(said.lines("").len(), 1, "{:?}", said.lines(""));
    assert_eq!(facts.notes.len(), 1, "{:?}", facts.notes);
}
