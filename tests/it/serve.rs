//! `huopan serve` as clients meet it: the built binary over a lake, asked with tokio-postgres and with bare sockets.

mod bounds;
mod catalog;
mod hostile;
mod login;
mod values;

use std::path::Path;
use std::sync::{Arc, Mutex};

use huopan::sim::{self, Gateway};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::s3_server::{BUCKET, Manners};
use crate::support::{self, Place, day, quick};

/// A lake with one published day.
async fn lake() -> Place {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    support::publish(&place.shops(&sim, Gateway::Portals), day(20)).await;
    place
}

/// A server that runs; killed when it is dropped.
struct Served {
    child: Child,
    port: u16,
    /// What it has said so far.
    said: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
}

impl Served {
    /// Over the lake of a place, on a free port.
    async fn start(place: &Place, more: &[&str]) -> Self {
        Self::start_with(place.path(), &[&["--lake", "lake"], more].concat(), &[]).await
    }

    async fn start_with(folder: &Path, more: &[&str], env: &[(&str, &str)]) -> Self {
        let arguments = [&["-v", "serve", "--listen", "127.0.0.1:0"], more].concat();
        let mut child = support::spawn(folder, &arguments, env);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let port = loop {
            let line = lines.next_line().await.unwrap();
            let line = line.unwrap_or_else(|| panic!("no server: {}", said.lock().unwrap()));
            said.lock().unwrap().push_str(&format!("{line}\n"));
            if let Some((_, rest)) = line.split_once(" on 127.0.0.1:") {
                break rest.split(':').next().unwrap().parse().unwrap();
            }
        };
        let heard = Arc::clone(&said);
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                heard.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        Self { child, port, said, reading }
    }

    /// A client without a password.
    async fn client(&self) -> Client {
        self.connect("user=ann").await.unwrap()
    }

    async fn connect(&self, words: &str) -> Result<Client, tokio_postgres::Error> {
        let words = format!("host=127.0.0.1 port={} dbname=huopan {words}", self.port);
        let (client, connection) = tokio_postgres::connect(&words, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Asks it to end; its exit code and all it has said.
    async fn end(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
        let code = self.child.wait().await.unwrap().code();
        self.reading.await.unwrap();
        let said = self.said.lock().unwrap().clone();
        (code, said)
    }
}

/// The rows of a query as text.
async fn texts(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let row = |message: SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

/// The only value of a query as text.
async fn text(client: &Client, sql: &str) -> String {
    let rows = texts(client, sql).await;
    rows[0][0].clone().unwrap_or_else(|| panic!("{sql}: null"))
}

/// The code of the failure that a query ends with.
async fn refused(client: &Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Ok(_) => panic!("`{sql}` was not refused"),
        Err(error) => error.code().map_or_else(|| format!("{error:?}"), |code| code.code().to_owned()),
    }
}

#[tokio::test]
async fn tables_views_and_functions_answer_as_they_do_in_the_shell() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let client = served.client().await;
    for sql in [
        "select count(*) from offers",
        "select sum(price) from latest_offers",
        "select count(*) from price_at(500) where buyable",
        "select count(*) from latest.price_tiers",
        "with x as (select max(dt) as dt from offers) select count(*) from offers join x on offers.dt = x.dt",
    ] {
        assert_eq!(text(&client, sql).await, place.value(sql).await, "{sql}");
    }
    assert_eq!(texts(&client, "select null, 1 where false; select 2, null").await, [[Some("2".to_owned()), None]]);
    assert!(texts(&client, "explain select * from offers").await.len() > 1);
    assert!(texts(&client, "show tables").await.len() > 10);
    assert!(text(&client, "select version()").await.starts_with("PostgreSQL 16."));
    assert_eq!(served.end().await.0, Some(0));
}

#[tokio::test]
async fn views_of_the_user_are_served_with_the_others() {
    let place = lake().await;
    place.write("views/our_cheap.sql", "select offer_id, price_per_piece from price_at(500) where buyable");
    let server = Served::start(&place, &["--views", "views"]).await;
    let client = server.client().await;
    let served = text(&client, "select count(*) from our_cheap").await;
    assert_eq!(served, place.value("select count(*) from price_at(500) where buyable").await);
    let listed = "select count(*) from information_schema.views where table_name = 'our_cheap'";
    assert_eq!(text(&client, listed).await, "1");
    server.end().await;
}

#[tokio::test]
async fn rows_have_the_types_that_were_told_and_subqueries_their_answers() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let client = served.client().await;
    // Binary: what is told is what is read.
    let row =
        client.query_one("select quote_type, 1 as n from offers where quote_type = 1 limit 1", &[]).await.unwrap();
    assert_eq!((row.get::<_, i16>(0), row.columns()[0].type_()), (1, &Type::INT2));
    let row =
        client.query_one("select array_agg(distinct quote_type) from offers where quote_type = 1", &[]).await.unwrap();
    assert_eq!(row.get::<_, Vec<i16>>(0), [1]);
    for (sql, expected) in [
        ("select 7::int union all select 9000000000 order by 1 desc", Type::INT8),
        ("select null as d union all select dt from offers order by 1 limit 1", Type::DATE),
        ("select old_price from price_changes", Type::NUMERIC),
    ] {
        assert_eq!(client.prepare(sql).await.unwrap().columns()[0].type_(), &expected, "{sql}");
    }
    let rows = client.query("select 7::int as n union all select 9000000000 order by n desc", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>(), [9_000_000_000, 7]);
    let counted = "select table_name, (select count(*) from information_schema.columns c where c.table_name = t.table_name) \
                   from information_schema.tables t where table_name = 'days'";
    let columns = "select count(*) from information_schema.columns where table_name = 'days'";
    assert_eq!(texts(&client, counted).await[0][1], Some(text(&client, columns).await));
    // The tables of another schema are named by it.
    assert_eq!(refused(&client, "set search_path to latest").await, "22023");
    client.batch_execute("set search_path = public, \"$user\"; set timezone = 'GMT-08:00'").await.unwrap();
    assert_eq!(text(&client, "show timezone").await, "+08:00");
    // What was prepared before a setting changed is planned anew.
    let prepared = client.prepare("select current_setting('timezone')").await.unwrap();
    for zone in ["UTC", "Asia/Shanghai"] {
        client.batch_execute(&format!("set timezone = '{zone}'")).await.unwrap();
        assert_eq!(client.query_one(&prepared, &[]).await.unwrap().get::<_, String>(0), zone);
    }
    assert_eq!(refused(&client, "select * from offers where shop_id = 5").await, "22P02");
}

#[tokio::test]
async fn prepared_values_and_binary_rows_are_exact() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let client = served.client().await;
    let row =
        client.query_one("select offer_id, title, dt, fetched_at, price from offers order by offer_id limit 1", &[]);
    let row = row.await.unwrap();
    let types: Vec<&Type> = row.columns().iter().map(tokio_postgres::Column::type_).collect();
    assert_eq!(types, [&Type::INT8, &Type::TEXT, &Type::DATE, &Type::TIMESTAMPTZ, &Type::NUMERIC]);
    let (offer, title): (i64, String) = (row.get(0), row.get(1));
    let same = "select title from offers where offer_id = $1 and title = $2 and price < $3::numeric limit 1";
    let statement = client.prepare_typed(same, &[Type::INT8, Type::TEXT, Type::FLOAT8]).await.unwrap();
    let found = client.query(&statement, &[&offer, &title, &1e9_f64]).await.unwrap();
    assert_eq!(found[0].get::<_, String>(0), title);
    let nothing = client.query(&statement, &[&(offer + 1), &None::<String>, &1e9_f64]).await.unwrap();
    assert!(nothing.is_empty());
    let untyped =
        client.prepare("select count(*) from offers where offer_id >= $1 and title is not null").await.unwrap();
    assert_eq!(untyped.params(), [Type::INT8]);
    let sparse =
        client.query_one("select $2::text, count(*) from offers where offer_id > $1", &[&0_i64, &"x"]).await.unwrap();
    assert_eq!((sparse.get::<_, &str>(0), sparse.get::<_, i64>(1) > 0), ("x", true));
}

#[tokio::test]
async fn answers_are_read_piece_by_piece_by_portals_and_cursors() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let mut client = served.client().await;
    let count: usize = place.value("select count(*) from offers").await.parse().unwrap();
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("select offer_id from offers order by offer_id", &[]).await.unwrap();
    let mut sizes = Vec::new();
    loop {
        let rows = transaction.query_portal(&portal, 40).await.unwrap();
        sizes.push(rows.len());
        if rows.len() < 40 {
            break;
        }
    }
    assert_eq!(sizes.iter().sum::<usize>(), count, "{sizes:?}");
    drop(portal);
    transaction.commit().await.unwrap();

    assert_eq!(refused(&client, "declare c cursor for select 1").await, "25P01");
    client.batch_execute("begin; declare c no scroll cursor for select offer_id from offers order by 1").await.unwrap();
    assert_eq!(texts(&client, "fetch 3 from c").await.len(), 3);
    assert_eq!(texts(&client, "fetch next from c").await.len(), 1);
    assert_eq!(texts(&client, "fetch all from c").await.len(), count - 4);
    assert_eq!(texts(&client, "fetch all from c").await.len(), 0);
    client.batch_execute("close c; commit").await.unwrap();
    assert_eq!(refused(&client, "fetch 1 from c").await, "34000");
}

#[tokio::test]
async fn a_failed_transaction_takes_nothing_but_its_end() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let client = served.client().await;
    client.batch_execute("begin").await.unwrap();
    assert_eq!(refused(&client, "select 1/0").await, "22012");
    assert_eq!(refused(&client, "select 1").await, "25P02");
    client.batch_execute("rollback").await.unwrap();
    assert_eq!(text(&client, "select 1").await, "1");
    client.batch_execute("begin; savepoint s").await.unwrap();
    assert_eq!(refused(&client, "select nothing").await, "42703");
    client.batch_execute("rollback to savepoint s; select 1; commit").await.unwrap();
}

#[tokio::test]
async fn what_is_published_meanwhile_is_seen_by_the_next_statement_or_transaction() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = place.shops(&sim, Gateway::Portals);
    support::publish(&pipeline, day(20)).await;
    let served = Served::start(&place, &[]).await;
    let (free, bound) = (served.client().await, served.client().await);
    const DAYS: &str = "select count(distinct dt) from offers";
    let prepared = free.prepare(DAYS).await.unwrap();
    assert_eq!(free.query_one(&prepared, &[]).await.unwrap().get::<_, i64>(0), 1);
    bound.batch_execute("begin").await.unwrap();
    assert_eq!(text(&bound, DAYS).await, "1");
    let oid = "select oid from pg_class where relname = 'offers'";
    let oid_before = text(&free, oid).await;

    support::publish(&pipeline, day(21)).await;
    assert_eq!(text(&free, DAYS).await, "2");
    assert_eq!(free.query_one(&prepared, &[]).await.unwrap().get::<_, i64>(0), 2, "planned anew");
    assert_eq!(text(&bound, DAYS).await, "1", "a transaction sees one state");
    bound.batch_execute("commit").await.unwrap();
    assert_eq!(text(&bound, DAYS).await, "2");
    assert_eq!(text(&free, oid).await, oid_before, "a table keeps its number");
    assert_eq!(text(&bound, oid).await, oid_before, "in every connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_on_a_bucket_is_served() {
    let (server, sim) = (crate::s3::server(Manners::Good).await, sim::start(quick()).await.unwrap());
    let place = Place::new();
    let file = crate::s3::pipeline_on_bucket(&place, &server, &sim, &support::shop_lines(&sim.world(Gateway::Portals)));
    let pipeline = crate::s3::load(&file, &server);
    support::publish(&pipeline, day(20)).await;
    let env = server.environment();
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let lake = format!("s3://{BUCKET}/team/lake");
    let served = Served::start_with(place.path(), &["--lake", &lake], &env).await;
    let client = served.client().await;
    assert!(text(&client, "select count(*) from offers").await.parse::<u64>().unwrap() > 0);
    support::publish(&pipeline, day(21)).await;
    // A bucket is listed every second.
    while text(&client, "select count(distinct dt) from offers").await != "2" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn settings_of_drivers_are_kept_for_their_connection_alone() {
    let place = lake().await;
    let served = Served::start(&place, &["--statement-timeout", "1min"]).await;
    let (one, other) = (served.client().await, served.client().await);
    one.batch_execute("set application_name = 'x'; set timezone to 'Asia/Shanghai'; set statement_timeout = '5s'")
        .await
        .unwrap();
    for (setting, own, others) in [
        ("application_name", "x", ""),
        ("timezone", "Asia/Shanghai", "UTC"),
        ("statement_timeout", "5000ms", "60000ms"),
        ("transaction_read_only", "on", "on"),
        ("server_version_num", "160006", "160006"),
    ] {
        let show = format!("show {setting}");
        assert_eq!((text(&one, &show).await, text(&other, &show).await), (own.into(), others.into()), "{setting}");
    }
    let offset = "select timestamp '2026-11-20 00:00:00' at time zone 'UTC'";
    assert!(text(&one, offset).await.ends_with("+08"), "{}", text(&one, offset).await);
    one.batch_execute("set statement_timeout = '2h'").await.unwrap();
    assert_eq!(text(&one, "show statement_timeout").await, "60000ms", "no longer than the server allows");
    one.batch_execute("discard all").await.unwrap();
    assert_eq!(text(&one, "show timezone").await, "UTC");
}

#[tokio::test]
async fn the_end_of_the_server_is_told_and_its_log_names_users_but_no_query() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let (idle, busy) = (served.client().await, served.client().await);
    assert_eq!(text(&idle, "select 'a secret text'").await, "a secret text");
    drop(idle);
    let running = tokio::spawn(async move { refused(&busy, bounds::ENDLESS).await });
    let pid = served.child.id().unwrap();
    bounds::until(|| bounds::cpu_ticks(pid) > 0).await;
    let (code, said) = served.end().await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(running.await.unwrap(), "57P01");
    assert!(
        said.contains("a connection ended") && said.contains("user=\"ann\"") && said.contains("statements=1"),
        "{said}"
    );
    assert!(!said.contains("secret text") && !said.contains("generate_series"), "{said}");
}
