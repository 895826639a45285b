//! The pace: as fast as the gateway allows, and never faster, whoever shares an account; and what storms of 429 come to.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use huopan::base::{Clock as _, Kind, SystemClock};
use huopan::config::Pipeline;
use huopan::sim::{AccountStats, Gateway, Limits, Options, Outcome, QuotaBlock, QuotaScope, RetryAfter, Sim, Storm};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;

use crate::extract::{Around, Written, extract};
use crate::support::{self, Ended, Place, ended, quick, spawn};
use crate::traps::proxies::Socks;

/// Calls in any second that these tests' gateway takes.
const CALLS_PER_SECOND: u32 = 10;
/// The gateway's definition says so, too.
const DEFINITION: &str = "[limits]\ncalls_per_second = 10";

/// item-get with its own limits.
async fn paced(offers: usize) -> Sim {
    let limits = Limits {
        calls_per_second: Some(CALLS_PER_SECOND),
        calls_in_flight: Some(4),
        quota_block: QuotaBlock::Day,
        quota_scope: QuotaScope::Account,
    };
    let limits = [(Gateway::ItemGet, limits)].into();
    huopan::sim::start(Options { limits, shop_sizes: vec![2 * offers], day: None, ..quick() }).await.unwrap()
}

/// `items` of that many offers, from the place `from`.
fn items(sim: &Sim, from: usize, count: usize) -> String {
    let shop = &sim.world(Gateway::ItemGet).shops[0];
    let on_sale = shop.offers.iter().filter(|offer| offer.is_on_sale);
    let ids: Vec<String> = on_sale.skip(from).take(count).map(|offer| format!("\"{}\"", offer.offer_id)).collect();
    assert_eq!(ids.len(), count);
    format!("items = [{}]", ids.join(", "))
}

/// Most of the moments in any one-second window with both its ends.
fn most_in_a_second(moments: &[DateTime<Utc>]) -> usize {
    let within = |from: DateTime<Utc>| {
        moments.iter().filter(|at| (from..=from + chrono::TimeDelta::seconds(1)).contains(*at)).count()
    };
    moments.iter().map(|from| within(*from)).max().unwrap_or(0)
}

/// What the simulator saw of the account. It refuses what comes a tenth too close together: nothing was.
///
/// Calls that left evenly may arrive unevenly where the machine is busy, so arrivals are told and not judged.
fn seen(sim: &Sim) -> (AccountStats, String) {
    let stats = sim.stats();
    let account = stats.accounts.iter().find(|account| account.gateway == Gateway::ItemGet).unwrap();
    let throttled = stats.outcomes.get(&Outcome::Throttled).copied().unwrap_or(0);
    let line = format!(
        "| {:>3} calls, at most {:>2} in a second and {} at once at arrival, {} breaches, {throttled} throttled",
        account.calls, account.calls_per_second_max, account.in_flight_max, account.breaches
    );
    assert_eq!(throttled, 0, "{line}");
    (account.clone(), line)
}

/// One stream of calls: the steady rate at sending, and what was seen.
async fn stream() -> (f64, String) {
    let sim = paced(34).await;
    let pipeline = Written { definition: DEFINITION, ..Written::new(Gateway::ItemGet, &items(&sim, 0, 34)) }.load(&sim);
    let (facts, attempts) = extract(&pipeline, &Around::new().await).await;
    assert_eq!((facts.as_ref().unwrap().throttles, attempts.len()), (0, 34), "{facts:?}");
    let mut sent: Vec<DateTime<Utc>> = attempts.iter().map(|attempt| attempt.record.sent_at).collect();
    sent.sort();
    let most = most_in_a_second(&sent);
    assert!(most <= CALLS_PER_SECOND as usize, "{most} calls left within a second");
    let rates = sent.windows(21).map(|calls| 20.0 / (calls[20] - calls[0]).as_seconds_f64());
    let steady = rates.fold(0.0, f64::max);
    (steady, format!("{}, at most {most} at sending, {steady:.2} per second steady", seen(&sim).1))
}

#[tokio::test]
async fn a_steady_stream_uses_the_rate_that_is_allowed_and_never_exceeds_it() {
    let enough = 0.98 * f64::from(CALLS_PER_SECOND);
    let mut best = 0.0_f64;
    // A busy machine holds calls up, and what is lost by it is not caught up: it may be quieter later.
    for _ in 0..3 {
        let (steady, line) = stream().await;
        println!("{line}");
        best = best.max(steady);
        if best >= enough {
            return;
        }
    }
    panic!("{best:.2} calls a second are less than {enough:.2}");
}

#[tokio::test]
async fn calls_that_wait_for_their_connections_do_not_leave_together_once_these_stand() {
    let sim = paced(20).await;
    // The slots of four workers pass while their connections are opened.
    let socks = Socks::when_all_have_come(sim.addr(), 4).await;
    let place = Place::new();
    let proxy = place.write("proxy", format!("socks5://{}", socks.address));
    let accounts = format!("{SHARED}proxy = \"file:{}\"\n", proxy.display());
    let lines = items(&sim, 0, 20);
    let written = Written { definition: DEFINITION, accounts: &accounts, ..Written::new(Gateway::ItemGet, &lines) };
    let (facts, attempts) = extract(&written.load(&sim), &Around::new().await).await;
    assert_eq!((facts.as_ref().unwrap().throttles, attempts.len()), (0, 20), "{facts:?}");
    let sent: Vec<DateTime<Utc>> = attempts.iter().map(|attempt| attempt.record.sent_at).collect();
    let most = most_in_a_second(&sent);
    assert!(most <= CALLS_PER_SECOND as usize, "{most} calls left within a second");
    println!("{}", seen(&sim).1);
}

/// Runs two pipelines that share an account, each with half of the offers, at the same time.
async fn two_processes(sim: &Sim, folder: &Path, states: [&str; 2], accounts: &str, each: usize) -> [Ended; 2] {
    for (place, (name, state)) in ["one", "two"].into_iter().zip(states).enumerate() {
        let lines = format!("on_quota = \"continue\"\n{}", items(sim, place * each, each));
        let written = Written::new(Gateway::ItemGet, &lines);
        Written { name, definition: DEFINITION, accounts, state, ..written }.write(folder, sim);
    }
    let start = |file: &'static str| spawn(folder, &["run", file], &[("SECRET", "sim-secret")]);
    let (one, two) = (start("one.toml"), start("two.toml"));
    let (one, two) = tokio::join!(ended(one), ended(two));
    [one, two]
}

const SHARED: &str = r#"[[accounts]]
name = "shared"
credentials = { app_key = "sim-app", app_secret = "env:SECRET" }
licence = "plenty"
"#;

/// When calls left, and which pipeline's they were, in order.
async fn moments(place: &Place) -> Vec<(DateTime<Utc>, String)> {
    let rows = place.rows("select sent_at, pipeline from calls order by sent_at").await;
    rows.iter().map(|row| (row["sent_at"].parse().unwrap(), row["pipeline"].clone())).collect()
}

/// Two processes share an account; what was seen where calls left and where they arrived.
async fn processes_share_an_account(states: [&str; 2]) -> String {
    let (sim, place) = (paced(60).await, Place::new());
    for ended in two_processes(&sim, place.path(), states, SHARED, 24).await {
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    let moments = moments(&place).await;
    let sent: Vec<DateTime<Utc>> = moments.iter().map(|(at, _)| *at).collect();
    let (most, (seen, line)) = (most_in_a_second(&sent), seen(&sim));
    // From where both call to where one has come to its end.
    let runs = |name: &str| moments.iter().filter(|(_, of)| of == name).map(|(at, _)| *at).collect::<Vec<_>>();
    let (one, two) = (runs("one"), runs("two"));
    let (from, to) = (one[0].max(two[0]), one[23].min(two[23]));
    let [one, two] = [one, two].map(|runs| runs.iter().filter(|at| (from..=to).contains(*at)).count());
    let line = format!("{line}, at most {most} at sending, {one} and {two} while both called");
    assert!(sent.len() == 48 && seen.calls == 48, "{line}");
    assert!(most <= CALLS_PER_SECOND as usize, "{line}");
    assert!(seen.in_flight_max <= 4, "{line}");
    line
}

#[tokio::test]
async fn two_processes_with_one_file_never_exceed_the_rate_nor_the_calls_in_flight() {
    println!("{}, two processes, SQLite", processes_share_an_account(["state.sqlite"; 2]).await);
}

/// A server of its own, with its address; `None` where none is installed.
async fn redis(place: &Place) -> Option<(Child, String)> {
    let (server, port) = support::redis(place.path(), "--port", &[]).await?;
    Some((server, format!("redis://127.0.0.1:{port}/0")))
}

#[tokio::test]
async fn two_processes_with_one_redis_never_exceed_the_rate_nor_the_calls_in_flight() {
    let place = Place::new();
    let Some((_server, address)) = redis(&place).await else { return };
    println!("{}, two processes, Redis", processes_share_an_account([&address, &address]).await);
}

#[tokio::test]
async fn two_processes_with_one_file_never_exceed_the_calls_of_the_day() {
    the_calls_of_the_day_are_shared("state.sqlite").await;
}

#[tokio::test]
async fn two_processes_with_one_redis_never_exceed_the_calls_of_the_day() {
    let place = Place::new();
    let Some((_server, address)) = redis(&place).await else { return };
    the_calls_of_the_day_are_shared(&address).await;
}

async fn the_calls_of_the_day_are_shared(state: &str) {
    let (sim, folder) = (paced(30).await, tempfile::tempdir().unwrap());
    let accounts = format!("{SHARED}calls_per_day = 9\n");
    let ended = two_processes(&sim, folder.path(), [state, state], &accounts, 12).await;
    assert_eq!(sim.stats().calls, 9, "{ended:?}");
    for ended in ended {
        assert_eq!(ended.code, 75, "{ended:?}");
        let reason = "no account has calls left (`shared`: its 9 calls of the day are used up)";
        assert!(ended.stderr.contains(reason), "{ended:?}");
    }
}

/// A rate that storms slow down to one that tests can wait for.
fn fast(sim: &Sim, offers: usize) -> Pipeline {
    let definition = "[limits]\ncalls_per_second = 1000";
    Written { definition, ..Written::new(Gateway::ItemGet, &items(sim, 0, offers)) }.load(sim)
}

/// item-get without a rate; some storm goes on from the first call.
async fn stormy(storm: Storm) -> Sim {
    let options = Options { shop_sizes: vec![40], storm: Some(storm), day: None, ..quick() };
    huopan::sim::start(options).await.unwrap()
}

#[tokio::test]
async fn a_storm_that_passes_is_waited_for_whatever_it_says() {
    for (retry_after, at_least) in [
        (RetryAfter::Absent, Duration::ZERO),
        (RetryAfter::Seconds(0), Duration::ZERO),
        (RetryAfter::Seconds(1), Duration::from_millis(950)),
        // A date has whole seconds.
        (RetryAfter::Date(1), Duration::ZERO),
    ] {
        let sim = stormy(Storm { calls: Some(6), retry_after }).await;
        let pipeline = fast(&sim, 8);
        let start = Instant::now();
        let (facts, attempts) = extract(&pipeline, &Around::new().await).await;
        let facts = facts.unwrap_or_else(|error| panic!("{retry_after:?}: {error}"));
        assert_eq!((facts.items_unanswered.len(), facts.throttles, facts.stopped), (0, 6, None), "{retry_after:?}");
        let sent: Vec<DateTime<Utc>> = attempts.iter().map(|attempt| attempt.record.sent_at).collect();
        println!("| storm of 6, {retry_after:?}: {} calls in {:?}", attempts.len(), start.elapsed());
        assert!(start.elapsed() >= at_least, "{retry_after:?}");
        // `0` does not mean "at once".
        let mut by_call: std::collections::BTreeMap<i64, Vec<DateTime<Utc>>> = std::collections::BTreeMap::new();
        attempts.iter().for_each(|a| by_call.entry(a.record.offer_id.unwrap()).or_default().push(a.record.sent_at));
        let waits = by_call.values().flat_map(|tries| tries.windows(2).map(|pair| pair[1] - pair[0]));
        assert!(waits.min().unwrap() >= chrono::TimeDelta::milliseconds(20), "{retry_after:?}: {sent:?}");
    }
}

#[tokio::test]
async fn a_storm_that_does_not_pass_ends_the_run_with_one_line() {
    for retry_after in [RetryAfter::Absent, RetryAfter::Seconds(0)] {
        let sim = stormy(Storm { calls: None, retry_after }).await;
        let pipeline = fast(&sim, 20);
        let (facts, attempts) = extract(&pipeline, &Around::new().await).await;
        let error = facts.expect_err("nothing was answered");
        println!("| endless storm, {retry_after:?}: {} calls, then: {error}", attempts.len());
        assert_eq!((error.kind(), error.kind().exit_code()), (Kind::Unavailable, 75));
        assert!(attempts.len() <= 40, "{} calls", attempts.len());
    }
}

#[tokio::test]
async fn a_wait_of_more_than_two_minutes_lets_the_account_rest_as_the_gateway_says() {
    for retry_after in [RetryAfter::Seconds(600), RetryAfter::Date(600)] {
        let sim = stormy(Storm { calls: Some(4), retry_after }).await;
        let pipeline = fast(&sim, 8);
        let around = Around::new().await;
        let before = SystemClock.now();
        let (facts, attempts) = extract(&pipeline, &around).await;
        let stopped = facts.unwrap().stopped.unwrap();
        assert!(stopped.starts_with("no account has calls left (`main`: blocked until 20"), "{stopped}");
        assert!(attempts.len() <= 4, "{}", attempts.len());
        let accounts = around.state.accounts(before).await.unwrap();
        let until = accounts[0].rests[0].rest.until;
        let minutes = (until - before).as_seconds_f64() / 60.0;
        assert!((9.9..10.2).contains(&minutes), "{retry_after:?}: {minutes}");
        // The next start asks nothing before.
        let (facts, again) = extract(&pipeline, &around).await;
        assert_eq!((facts.unwrap().stopped, again.len()), (Some(stopped), 0));
    }
}

/// A way to a server that lets its answers arrive so much later.
async fn far(address: &str, later: Duration) -> String {
    let server = address.trim_start_matches("redis://").trim_end_matches("/0").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            tokio::spawn(carry(from_client, to_server, Duration::ZERO));
            tokio::spawn(carry(from_server, to_client, later));
        }
    });
    format!("redis://{at}/0")
}

/// Carries what is said from one side to the other; what follows soon is not held up by what goes before.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, later: Duration) {
    let (queue, mut due) = tokio::sync::mpsc::unbounded_channel::<(tokio::time::Instant, Vec<u8>)>();
    let reads = async move {
        let mut bytes = vec![0; 65_536];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            let _ = queue.send((tokio::time::Instant::now() + later, bytes[..count].to_vec()));
        }
    };
    let writes = async move {
        while let Some((at, bytes)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reads, writes);
}

/// One stream of calls whose ledger is that far away.
async fn stream_from_afar(later: Duration) -> Option<(f64, String)> {
    let place = Place::new();
    let (_server, address) = redis(&place).await?;
    let (sim, state) = (paced(60).await, far(&address, later).await);
    let lines = format!("on_quota = \"continue\"\n{}", items(&sim, 0, 44));
    let written = Written { definition: DEFINITION, accounts: SHARED, ..Written::new(Gateway::ItemGet, &lines) };
    Written { state: &state, ..written }.write(place.path(), &sim);
    let ended = ended(spawn(place.path(), &["run", "test.toml"], &[("SECRET", "sim-secret")])).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let sent: Vec<DateTime<Utc>> = moments(&place).await.into_iter().map(|(at, _)| at).collect();
    let most = most_in_a_second(&sent);
    assert!(sent.len() == 44 && most <= CALLS_PER_SECOND as usize, "{most} of {} calls left in a second", sent.len());
    let steady = sent.windows(21).map(|calls| 20.0 / (calls[20] - calls[0]).as_seconds_f64()).fold(0.0, f64::max);
    Some((steady, format!("{}, at most {most} at sending, {steady:.2} per second steady", seen(&sim).1)))
}

#[tokio::test]
async fn a_ledger_far_away_does_not_slow_a_steady_stream() {
    let enough = 0.98 * f64::from(CALLS_PER_SECOND);
    for millis in [5, 20, 50] {
        let mut best = 0.0_f64;
        for _ in 0..3 {
            let Some((steady, line)) = stream_from_afar(Duration::from_millis(millis)).await else { return };
            println!("{line}, Redis {millis} ms away");
            best = best.max(steady);
            if best >= enough {
                break;
            }
        }
        assert!(best >= enough, "{best:.2} calls a second, {millis} ms away");
    }
}

#[tokio::test]
async fn two_processes_unequally_far_from_their_redis_never_exceed_the_rate_and_both_end() {
    let place = Place::new();
    let Some((_server, address)) = redis(&place).await else { return };
    let far = far(&address, Duration::from_millis(50)).await;
    println!("{}, two processes, Redis, one 50 ms away", processes_share_an_account([&address, &far]).await);
}
