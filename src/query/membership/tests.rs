use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use crate::query::fixture::Lake;
use crate::query::session::Session;

async fn rows(session: &Session, sql: &str) -> Result<String, String> {
    let answer = session.sql(sql).await.map_err(|error| error.to_string())?;
    let batches = answer.collect().await.map_err(|error| error.to_string())?;
    let table = arrow::util::pretty::pretty_format_batches(&batches).map_err(|error| error.to_string())?.to_string();
    let lines = table.lines().skip(3).filter(|line| line.starts_with('|'));
    let cells =
        |line: &str| line.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(" ");
    Ok(lines.map(cells).collect::<Vec<_>>().join(", "))
}

fn lake() -> Lake {
    let mut lake = Lake::new();
    let offers =
        [json!({"offer_id": 1, "price": "1.00"}), json!({"offer_id": 2, "price": "9.00"}), json!({"offer_id": 3})];
    lake.rows("offers", "2026-11-20", "p", &offers);
    lake
}

#[tokio::test]
async fn existence_orders_rows_whatever_they_show() {
    let lake = lake();
    let session = lake.session();
    const T: &str = "(values (1, 10), (1, 11), (3, null)) as t(id, n)";
    for (sql, expected) in [
        (
            format!("select offer_id from offers o order by exists(select 1 from {T} where id = o.offer_id), 1"),
            "2, 1, 3",
        ),
        // What is asked need not be shown, nor is it.
        (
            format!(
                "select price + 1 as p from offers o order by not exists(select 1 from {T} where id = o.offer_id), p"
            ),
            "2.0000, , 10.0000",
        ),
        ("select offer_id from offers order by offer_id in (select 3) desc, offer_id desc limit 2".to_owned(), "3, 2"),
        (
            format!("select offer_id + 0 as o from offers order by case when exists(select 1 from {T}) then -o end"),
            "3, 2, 1",
        ),
        (
            format!("select distinct offer_id from offers order by offer_id in (select id from {T}), offer_id"),
            "2, 1, 3",
        ),
        (
            format!(
                "select count(*) from (select offer_id from offers o order by exists(select 1 from {T} where id = o.offer_id) limit 2) x"
            ),
            "2",
        ),
    ] {
        let text = |value: Result<String, String>| value.map(|rows| rows.replace("| |", ""));
        assert_eq!(text(rows(&session, &sql).await).as_deref(), Ok(expected), "{sql}");
    }
}

#[tokio::test]
async fn existence_is_a_value_wherever_a_value_can_stand() {
    let lake = lake();
    let session = lake.session();
    const T: &str = "(values (1, 10), (1, 11), (3, null)) as t(id, n)";
    for (sql, expected) in [
        ("select exists(select 1 from offers), not exists(select 1 from offers where false)".to_owned(), "true true"),
        (
            format!("select offer_id, exists(select 1 from {T} where id = offer_id) as e from offers order by 1"),
            "1 true, 2 false, 3 true",
        ),
        (
            format!(
                "select offer_id, exists(select 1 from {T} where id > offer_id limit 1) as e from offers order by 1"
            ),
            "1 true, 2 true, 3 false",
        ),
        (
            format!(
                "select sum(case when exists(select n from {T} where id = offer_id) then 1 else 0 end) from offers"
            ),
            "2",
        ),
        (format!("select count(*) filter (where not exists(select n from {T} where id = offer_id)) from offers"), "1"),
        (
            format!(
                "select exists(select n from {T} where id = offer_id) as e, count(*) from offers group by 1 order by 1"
            ),
            "false 1, true 2",
        ),
        (
            format!(
                "select exists(select id from {T} where id = offer_id group by id having count(*) > 1) as e from offers \
                  order by offer_id"
            ),
            "true, false, false",
        ),
        (
            format!(
                "select coalesce(exists(select 1 from {T} where id = 7), true), exists(select 1 from {T} where n > 10)"
            ),
            "false true",
        ),
        // Within a query within.
        (
            format!(
                "select * from (select offer_id, exists(select 1 from {T} where id = offer_id) as e from offers) x where e \
                  order by 1"
            ),
            "1 true, 3 true",
        ),
    ] {
        assert_eq!(rows(&session, &sql).await.as_deref(), Ok(expected), "{sql}");
    }
}

#[tokio::test]
async fn membership_knows_what_is_true_false_and_not_known() {
    let lake = lake();
    let session = lake.session();
    for (sql, expected) in [
        ("select 5 in (select 5), 5 in (select 6), 5 not in (select 6)", "true false true"),
        ("select (5 in (select null)) is null, (5 in (select * from (values (5), (null)) as t(v)))", "true true"),
        ("select (6 not in (select * from (values (5), (null)) as t(v))) is null", "true"),
        (
            "select (null in (select 5)) is null, null in (select 5 where false), 5 in (select 5 where false)",
            "true false false",
        ),
        (
            "select offer_id, price in (select 9), (price not in (select 9)) is null from offers order by 1",
            "1 false false, 2 true false, 3 true",
        ),
        (
            "select offer_id in (select v from (values (1, 1), (2, 3)) as t(k, v) where k = offer_id) as i from offers \
          order by offer_id",
            "true, false, false",
        ),
        // In a condition, too.
        ("select offer_id from offers where (price not in (select 9)) or offer_id = 2 order by 1", "1, 2"),
        (
            "select offer_id from offers where case when price in (select 9) then 0 when not price in (select 9) then 1 \
          else 2 end = 2",
            "3",
        ),
        (
            "select offer_id from offers where offer_id not in (select v from (values (1, 5), (2, null), (2, 2)) as t(k, v) \
          where k = offer_id) order by 1",
            "1, 3",
        ),
        ("select count(*) from offers where null not in (select 5)", "0"),
        ("select offer_id from offers where (offer_id = 1 or price in (select 9)) and offer_id in (select 2)", "2"),
    ] {
        assert_eq!(rows(&session, sql).await.as_deref(), Ok(expected), "{sql}");
    }
}

#[tokio::test]
async fn what_a_join_would_change_is_refused() {
    let lake = lake();
    let session = lake.session();
    const T: &str = "(values (1, 10), (1, 11)) as t(id, n)";
    for query in [
        // It has a row of nothing, too.
        format!("exists(select count(*) from {T} where id = offer_id)"),
        format!("exists(select 1 from {T} where id = offer_id limit 1 offset 1)"),
        format!(
            "exists(select 1 from (values (7)) as s(v) left join (select * from {T} where id = offer_id) x on true)"
        ),
    ] {
        for sql in [format!("select {query} from offers"), format!("select 1 from offers where {query}")] {
            let refused = rows(&session, &sql).await;
            assert!(refused.as_ref().is_err_and(|error| error.contains("not supported")), "{sql}: {refused:?}");
        }
    }
    let sql = format!("select offer_id in (select max(n) from {T} where id = offer_id) from offers");
    assert!(rows(&session, &sql).await.is_err());
}

/// A query of the tables `t` and `s`, which have numbers and nulls.
fn question() -> impl Strategy<Value = String> {
    let row = || {
        (0..6_u8, 0..6_u8)
            .prop_map(|row| [row.0, row.1].map(|cell| if cell < 4 { cell.to_string() } else { "null".into() }))
    };
    let table = |least: usize| {
        proptest::collection::vec(row(), least..5).prop_map(|rows| {
            let rows: Vec<String> = rows.iter().map(|row| format!("({})", row.join(", "))).collect();
            // Neither knows the type of a column of nulls.
            [rows, vec!["(9, 9)".to_owned()]].concat().join(", ")
        })
    };
    (table(1), table(0), condition(), condition(), 0..4_u8).prop_map(|(t, s, one, other, shape)| {
        let tables = format!("with t(a, b) as (values {t}), s(a, b) as (values {s}) ");
        let cells = "coalesce(t.a, -1) as a, coalesce(t.b, -1) as b";
        let number = |condition: &str| format!("coalesce(cast({condition} as int), -1)");
        let asked = match shape {
            0 => format!("select {cells}, {} as x, {} as y from t order by 1, 2, 3, 4", number(&one), number(&other)),
            1 => format!("select sum({}) as x, count(case when {other} then 1 end) as y from t", number(&one)),
            2 => format!("select {cells} from t where {one} order by 1, 2"),
            _ => format!("select {cells} from t where ({one} or t.a = 3) and not ({other} and t.b = 2) order by 1, 2"),
        };
        tables + &asked
    })
}

fn condition() -> impl Strategy<Value = String> {
    let values = select(vec!["t.a", "t.b", "t.a + 1", "2", "null"]);
    let filters = vec![
        "true",
        "s.a = t.a",
        "s.b = t.b and s.a > 1",
        "s.a > t.b",
        "s.a is null and t.a = 1",
        "t.a > 1",
        "s.b <> 9",
        "s.a < 0",
        "s.a in (select u.a from s as u where u.b > 2)",
    ];
    let tails = select(vec!["", " limit 1", " group by s.a, s.b"]);
    let parts = (values, select(vec!["s.a", "s.b", "distinct s.a"]), select(filters), tails, any::<[bool; 3]>());
    parts.prop_map(|(value, column, filter, tail, [exists, is_not, is_given])| {
        let no = if is_not { "not " } else { "" };
        let condition = match exists {
            true => format!("{no}exists(select 1 from s where {filter}{tail})"),
            false => format!("{value} {no}in (select {column} from s where {filter})"),
        };
        if is_given { format!("coalesce({condition}, t.a > 2)") } else { format!("({condition})") }
    })
}

#[test]
fn what_is_known_and_not_known_is_so_in_sqlite_too() {
    let lake = Lake::new();
    let session = lake.session();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sqlite = rusqlite::Connection::open_in_memory().unwrap();
    let expected = |sql: &str| {
        let mut statement = sqlite.prepare(sql).unwrap();
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..columns).map(|at| row.get::<_, i64>(at)).collect::<Result<Vec<_>, _>>();
        let rows = statement.query_map([], row).unwrap().map(Result::unwrap);
        let rows = rows.map(|row| row.iter().map(i64::to_string).collect::<Vec<_>>().join(" "));
        rows.collect::<Vec<_>>().join(", ")
    };
    let mut runner = TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
    let run = runner.run(&question(), |sql| {
        prop_assert_eq!(runtime.block_on(rows(&session, &sql)), Ok(expected(&sql)), "{}", sql);
        Ok(())
    });
    run.unwrap_or_else(|failure| panic!("{failure}"));
}
