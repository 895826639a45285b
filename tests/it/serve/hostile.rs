//! Clients that want what they must not have, or send what is no message.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Served, lake, refused, text};

#[tokio::test]
async fn nothing_is_written_no_file_is_touched_and_no_option_of_the_engine_is_set() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let client = served.client().await;
    let target = place.path().join("stolen");
    let files_before = place.lake_files();
    let target = target.display();
    for (sql, code) in [
        (format!("copy (select * from offers) to '{target}'"), "25006"),
        (format!("copy offers to '{target}'"), "25006"),
        ("copy offers from '/etc/passwd'".to_owned(), "25006"),
        ("copy offers from program 'id'".to_owned(), "25006"),
        ("create table x as select * from offers".to_owned(), "25006"),
        ("create view x as select 1".to_owned(), "25006"),
        ("create or replace function x() returns int language sql as 'select 1'".to_owned(), "25006"),
        ("create external table x stored as csv location '/etc/passwd'".to_owned(), "42601"),
        ("insert into offers (offer_id) values (1)".to_owned(), "25006"),
        ("update offers set price = 0".to_owned(), "25006"),
        ("delete from offers".to_owned(), "25006"),
        ("drop table offers".to_owned(), "25006"),
        ("drop schema public cascade".to_owned(), "25006"),
        ("with x as (insert into offers (offer_id) values (1) returning 1) select * from x".to_owned(), "25006"),
        ("explain analyze insert into offers (offer_id) values (1)".to_owned(), "25006"),
        ("prepare x as insert into offers (offer_id) values (1)".to_owned(), "25006"),
        ("set datafusion.execution.target_partitions = 1000".to_owned(), "42501"),
        ("set datafusion.runtime.memory_limit = '100G'".to_owned(), "42501"),
        ("reset datafusion.execution.batch_size".to_owned(), "42501"),
        ("set role postgres".to_owned(), "42501"),
        ("select * from '/etc/passwd'".to_owned(), "42P01"),
        ("select * from \"/etc/passwd\"".to_owned(), "42P01"),
        ("select * from \"file:///etc/passwd\"".to_owned(), "42P01"),
        ("select * from read_csv('/etc/passwd')".to_owned(), "42883"),
        ("select * from parquet_metadata('/etc/passwd')".to_owned(), "42883"),
        ("select pg_read_file('/etc/passwd')".to_owned(), "42883"),
        ("select lo_import('/etc/passwd')".to_owned(), "42883"),
    ] {
        let found = refused(&client, &sql).await;
        let is_right = found == code || (code == "42P01" && found == "42601") || (code == "42601" && found == "25006");
        assert!(is_right, "{sql}: {found}");
        // What a setting is called is looked at when it is set, as PostgreSQL does.
        if !sql.starts_with("set ") && !sql.starts_with("reset ") {
            let prepared = client.prepare(&sql).await.err().unwrap_or_else(|| panic!("`{sql}` was prepared"));
            assert!(prepared.code().is_some(), "{sql}: {prepared:?}");
        }
    }
    assert_eq!(place.lake_files(), files_before);
    assert!(!place.path().join("stolen").exists());
    assert_eq!(text(&client, "select count(*) > 0 from offers").await, "t");
}

#[tokio::test]
async fn failures_have_codes_hints_and_places() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let client = served.client().await;
    for (sql, code, message, hint, position) in [
        ("select pric from offers", "42703", "there is no column `pric`", Some("did you mean `price`?"), Some(8)),
        ("select *\nfrom ofers", "42P01", "there is no table `ofers`", Some("did you mean `offers`?"), Some(15)),
        ("selec 1", "42601", "this is not SQL", None, Some(1)),
        ("select 1/0", "22012", "divide by zero", None, None),
        ("select 'x'::int", "22P02", "", None, None),
        (
            "select age(dt, dt)\nfrom days",
            "42883",
            "no function `age`",
            Some("`a - b` of two dates is a number of days"),
            Some(8),
        ),
        ("select moq_piece('1')", "42883", "no function `moq_piece`", Some("did you mean `moq_pieces`?"), Some(8)),
    ] {
        let error = client.simple_query(sql).await.unwrap_err();
        let found = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
        assert_eq!((found.code().code(), found.hint()), (code, hint), "{sql}: {found:?}");
        assert!(found.message().to_lowercase().contains(&message.to_lowercase()), "{sql}: {found:?}");
        let place = found.position().map(|position| match position {
            tokio_postgres::error::ErrorPosition::Original(at) => *at,
            other => panic!("{other:?}"),
        });
        assert_eq!(place, position, "{sql}: {found:?}");
    }
}

#[tokio::test]
async fn queries_without_end_are_refused_and_long_ones_are_run() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let client = served.client().await;
    assert_eq!(refused(&client, &format!("select 1{}", "+1".repeat(200_000))).await, "54001");
    assert_eq!(refused(&client, &format!("select {}1{}", "(".repeat(50_000), ")".repeat(50_000))).await, "42601");
    assert_eq!(refused(&client, &format!("select {}1{}", "abs(".repeat(40), ")".repeat(40))).await, "54001");
    let unions = format!("select 1{}", " union all select 1".repeat(20_000));
    assert_eq!(refused(&client, &unions).await, "54001");
    // At the limit there is an answer, of whichever kind.
    for sql in [
        format!("select 1{}", "+1".repeat(2_500)),
        format!("select 1 where true{}", " and true".repeat(2_500)),
        format!("select count(*) from offers where offer_id = 1{}", " or offer_id = 2".repeat(1_200)),
        format!("select {}true", "not ".repeat(2_500)),
        format!("select 1{}", "::int".repeat(2_500)),
    ] {
        let _ = client.simple_query(&sql).await;
        assert_eq!(text(&client, "select 1").await, "1", "{}", &sql[..60]);
    }
    for sql in [
        "select length(repeat('x', 2000000000))",
        "select unnest(range(1, 1000000000))",
        "select array_length(array_repeat(1, 1000000000))",
    ] {
        assert_eq!(refused(&client, sql).await, "53200", "{sql}");
    }
    let list = (0..50_000).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(text(&client, &format!("select count(*) from offers where offer_id in ({list})")).await, "0");

    // A message that is longer than any may be ends its connection, and no other.
    let huge = served.client().await;
    let error = huge.simple_query(&format!("select '{}'", "x".repeat(17 << 20))).await;
    assert!(error.is_err());
    assert_eq!(text(&client, "select 1").await, "1");
}

#[tokio::test]
async fn what_is_no_message_ends_its_connection_and_no_other() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let client = served.client().await;
    let startup: &[u8] = b"\0\0\0\x11\0\x03\0\0user\0ann\0\0";
    let bodies: [&[u8]; 9] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x04",
        b"\x7f\xff\xff\xff\0\x03\0\0",
        b"\0\0\0\x08\0\x02\0\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        &[startup, b"Q\xff\xff\xff\xff"].concat(),
        &[startup, b"B\0\0\0\x0a\0\0\x7f\xff\0\0"].concat(),
        &[startup, b"~\0\0\0\x04"].concat(),
        &[startup, b"p\0\0\0\x04"].concat(),
    ];
    for body in bodies {
        let mut socket = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
        socket.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        // It may end with a reset: then there was nothing to say.
        let _ = socket.read_to_end(&mut answer).await;
        assert_eq!(text(&client, "select 1").await, "1", "{body:?}");
    }
    let (code, said) = served.end().await;
    assert_eq!(code, Some(0));
    assert!(!said.contains("panicked"), "{said}");
}
