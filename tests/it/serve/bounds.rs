//! Time, memory and connections have bounds, and whoever meets one harms nobody else.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_postgres::NoTls;

use super::{Served, lake, refused, text};

/// A query that computes for hours.
pub(super) const ENDLESS: &str = "select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b \
                                  where a * b % 1000003 = 7";

/// Processor time of a process, in hundredths of a second.
pub(super) fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Memory of a process, in bytes.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Looks until it is so.
pub(super) async fn until(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never came to be");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Until a process computes nothing for a while.
async fn until_idle(pid: u32) {
    let (mut last, mut since) = (cpu_ticks(pid), Instant::now());
    until(|| {
        let now = cpu_ticks(pid);
        if now > last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(300)
    })
    .await;
}

#[tokio::test]
async fn a_query_that_is_cancelled_or_takes_too_long_ends_and_so_does_its_work() {
    let place = lake().await;
    let served = Served::start(&place, &["--statement-timeout", "30s"]).await;
    let pid = served.child.id().unwrap();
    let client = served.client().await;
    let cancel = client.cancel_token();
    let before = cpu_ticks(pid);
    let running = tokio::spawn(async move { (refused(&client, ENDLESS).await, client) });
    until(|| cpu_ticks(pid) > before + 20).await;
    cancel.cancel_query(NoTls).await.unwrap();
    let (code, client) = running.await.unwrap();
    assert_eq!(code, "57014");
    until_idle(pid).await;
    assert_eq!(text(&client, "select 1").await, "1", "the connection goes on");

    client.batch_execute("set statement_timeout = '300ms'").await.unwrap();
    assert_eq!(refused(&client, ENDLESS).await, "57014");
    let error = client.query(ENDLESS, &[]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "57014", "prepared, too");
    until_idle(pid).await;

    // The server's own limit holds for who sets none.
    let short = Served::start(&place, &["--statement-timeout", "300ms"]).await;
    assert_eq!(refused(&short.client().await, ENDLESS).await, "57014");
}

#[tokio::test]
async fn the_query_of_a_client_that_has_gone_ends() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let pid = served.child.id().unwrap();
    let words = format!("host=127.0.0.1 port={} dbname=huopan user=ann", served.port);
    let (client, connection) = tokio_postgres::connect(&words, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let before = cpu_ticks(pid);
    let running = tokio::spawn(async move { client.simple_query(ENDLESS).await });
    until(|| cpu_ticks(pid) > before + 20).await;
    // A driver would wait for the answer to what it has sent.
    connection.abort();
    assert!(running.await.unwrap().is_err());
    until_idle(pid).await;
}

#[tokio::test]
async fn a_query_that_wants_too_much_memory_ends_alone() {
    let place = lake().await;
    let served = Served::start(&place, &["--memory", "16M"]).await;
    let (hungry, modest) = (served.client().await, served.client().await);
    let join = "select count(*) from (select v, repeat('x', 200) as t from generate_series(1, 2000000) v) a \
                join (select v, repeat('y', 200) as t from generate_series(1, 2000000) v) b on a.v = b.v \
                where a.t <> b.t";
    let (code, count) = tokio::join!(refused(&hungry, join), text(&modest, "select count(*) > 0 from offers"));
    assert_eq!((code.as_str(), count.as_str()), ("53200", "t"));
    assert_eq!(text(&hungry, "select 1").await, "1", "the connection goes on");
}

#[tokio::test]
async fn a_query_that_holds_much_where_the_engine_does_not_count_ends_with_the_same_code() {
    let place = lake().await;
    let served = Served::start(&place, &["--memory", "16M"]).await;
    let pid = served.child.id().unwrap();
    let client = served.client().await;
    let doubled: String = (1..25).map(|at| format!(", q{at} as (select t || t as t from q{})", at - 1)).collect();
    for query in [
        "select max(s) from (select sum(value) over () as s from generate_series(1, 3000000) value) x".to_owned(),
        "select max(cardinality(l)) from (select array_agg(value) over () as l from generate_series(1, 10000) value) x"
            .to_owned(),
        "select range(1, 20000) from generate_series(1, 8000)".to_owned(),
        format!("with q0 as (select title as t from offers){doubled} select max(length(t)) from q24"),
    ] {
        assert_eq!(refused(&client, &query).await, "53200", "{query}");
        assert!(memory(pid) < 700 << 20, "{query}: {}", memory(pid));
    }
    assert_eq!(text(&client, "select max(title || '!') > '' from offers").await, "t", "the connection goes on");
}

#[tokio::test]
async fn rows_wait_for_who_reads_slowly() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let pid = served.child.id().unwrap();
    let mut socket = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
    let startup = b"\0\x03\0\0user\0ann\0\0";
    socket.write_all(&[&(startup.len() as u32 + 4).to_be_bytes()[..], startup].concat()).await.unwrap();
    let sql = b"select repeat('x', 1000) from generate_series(1, 10000000)\0";
    socket.write_all(&[b"Q", &(sql.len() as u32 + 4).to_be_bytes()[..], sql].concat()).await.unwrap();
    // Something of the answer is there, and as much as fits is on its way.
    socket.read_exact(&mut vec![0; 100_000]).await.unwrap();
    until_idle(pid).await;
    assert!(memory(pid) < 1 << 30, "10 GB of rows are not kept: {}", memory(pid));
    assert_eq!(text(&served.client().await, "select 1").await, "1");
}

#[tokio::test]
async fn one_client_too_many_is_told_so() {
    let place = lake().await;
    let served = Served::start(&place, &["--max-connections", "2"]).await;
    let (one, two) = (served.client().await, served.client().await);
    let error = served.connect("user=ann").await.err().unwrap();
    assert_eq!(error.code().unwrap().code(), "53300");
    assert!(error.as_db_error().unwrap().hint().unwrap().contains("--max-connections"));
    drop(one);
    let begun = Instant::now();
    while served.connect("user=ann").await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "a place that is free again");
    }
    assert_eq!(text(&two, "select 1").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_are_contained() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let pid = served.child.id().unwrap();
    let client = served.client().await;
    assert_eq!(text(&client, "select count(*) > 0 from offers").await, "t");
    let (memory_before, files_before) = (memory(pid), open_files(pid));
    let mut idle = Vec::new();
    for _ in 0..100 {
        let connected = (0..100).map(|_| TcpStream::connect(("127.0.0.1", served.port)));
        idle.extend(futures::future::join_all(connected).await.into_iter().flatten());
        // Who is in goes on, and who wants in gets in.
        assert_eq!(text(&client, "select 1").await, "1");
    }
    assert!(idle.len() > 9_000, "{}", idle.len());
    assert_eq!(text(&served.client().await, "select 2").await, "2");
    let (memory_after, files_after) = (memory(pid), open_files(pid));
    assert!(files_after < files_before + 300, "{files_before} files, then {files_after}");
    assert!(memory_after < memory_before + (100 << 20), "{memory_before} bytes, then {memory_after}");

    // Those that say who they are and then nothing are as many as may be logged in.
    let half = b"\0\0\0\x08\x04\xd2\x16\x2f";
    let startup = b"\0\0\0\x11\0\x03\0\0user\0ann\0\0";
    for socket in &mut idle {
        // Most were dropped long ago.
        let _ = socket.write_all(half).await;
        let _ = socket.write_all(startup).await;
    }
    assert!(open_files(pid) < files_before + 400);
    assert_eq!(text(&client, "select 3").await, "3");
}
