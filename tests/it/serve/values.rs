//! Values, lists, names and limits as drivers send and read them.

use tokio_postgres::types::Type;

use super::{Served, lake, refused, text, texts};

#[tokio::test]
async fn what_is_told_of_a_prepared_query_is_what_it_sends() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let client = served.client().await;
    // Binary: a client that was told another type reads something else.
    let typed = client.prepare_typed("select $1, $1 + 1, $2 as x", &[Type::INT4, Type::TIMESTAMPTZ]).await.unwrap();
    let types: Vec<&Type> = typed.columns().iter().map(tokio_postgres::Column::type_).collect();
    assert_eq!(types, [&Type::INT4, &Type::INT8, &Type::TIMESTAMPTZ]);
    let now = std::time::SystemTime::UNIX_EPOCH;
    let row = client.query_one(&typed, &[&7_i32, &now]).await.unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, i64>(1), row.get::<_, std::time::SystemTime>(2)), (7, 8, now));
    let row = client.query_one(&typed, &[&None::<i32>, &now]).await.unwrap();
    assert_eq!((row.get::<_, Option<i32>>(0), row.get::<_, Option<i64>>(1)), (None, None));
    let chosen = client.prepare_typed("select coalesce(null, $1)", &[Type::FLOAT8]).await.unwrap();
    assert_eq!(client.query_one(&chosen, &[&1.5]).await.unwrap().get::<_, f64>(0), 1.5);
}

#[tokio::test]
async fn limits_and_offsets_are_values_too() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let client = served.client().await;
    let all = texts(&client, "select distinct offer_id from offers order by 1 limit 5").await;
    let expected: Vec<i64> = all[1..3].iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect();
    for sql in [
        "select distinct offer_id from offers order by 1 limit $1 offset $2",
        "select distinct offer_id from offers order by 1 offset $2 rows fetch next $1 rows only",
        "select * from (select distinct offer_id from offers order by 1 offset $2 limit $1) x order by 1",
    ] {
        let rows = client.query(sql, &[&2_i64, &1_i64]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(rows.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>(), expected, "{sql}");
    }
    let typed = client.prepare_typed("select offer_id from offers limit $1", &[Type::INT4]).await.unwrap();
    assert_eq!(client.query(&typed, &[&3_i32]).await.unwrap().len(), 3);
    assert_eq!(texts(&client, "select offer_id from offers fetch first row only").await.len(), 1);
    assert_eq!(refused(&client, "select offer_id from offers order by 1 fetch first 2 rows with ties").await, "0A000");
}

#[tokio::test]
async fn lists_are_values_and_texts() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let client = served.client().await;
    let row = client.query_one("select $1::text[]", &[&vec![Some("a"), None, Some(""), Some("NULL")]]).await.unwrap();
    assert_eq!(row.get::<_, Vec<Option<&str>>>(0), [Some("a"), None, Some(""), Some("NULL")]);
    let count = |sql: &'static str, list: Vec<Option<i64>>| {
        let client = &client;
        async move { client.query_one(sql, &[&list]).await.unwrap().get::<_, i64>(0) }
    };
    const SOME: &str = "select count(*) from generate_series(1, 4) as t(v) where v = any($1)";
    const NONE: &str = "select count(*) from generate_series(1, 4) as t(v) where v <> all($1)";
    assert_eq!(count(SOME, vec![Some(1), Some(3), None, Some(9)]).await, 2);
    assert_eq!(count(SOME, vec![]).await, 0);
    assert_eq!(count(NONE, vec![Some(1), Some(9)]).await, 3);
    assert_eq!(count(NONE, vec![Some(1), None]).await, 0, "whether they differ from a null is not known");
    assert_eq!(count(NONE, vec![]).await, 4);
    // A list as text stands beside anything.
    for (sql, expected) in [
        ("select count(*) from generate_series(1, 4) as t(v) where v = any('{1,3,9}') and v > (select 1)", "1"),
        (
            "select count(*) from generate_series(1, 4) as t(v) where v = any('{1,3}'::bigint[]) and exists (select 1)",
            "2",
        ),
        ("select count(*) from offers where dt = any('{2000-01-01}')", "0"),
        ("select '{1,NULL}'::int[]", "{1,NULL}"),
    ] {
        assert_eq!(text(&client, sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn functions_that_give_tables_take_values() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let client = served.client().await;
    const VALUE: &str = "select count(*) from price_at($1, $2::text) where price_per_piece < $3::bigint";
    let prepared = client.prepare(VALUE).await.unwrap();
    assert_eq!(prepared.params(), [Type::INT8, Type::TEXT, Type::INT8]);
    for pieces in [1_i64, 500] {
        let found = client.query_one(&prepared, &[&pieces, &"2999-12-31", &1000_i64]).await.unwrap().get::<_, i64>(0);
        let same = format!("select count(*) from price_at({pieces}, '2999-12-31') where price_per_piece < 1000");
        assert_eq!(found.to_string(), text(&client, &same).await);
        assert!(found > 0);
    }
    let found = client.query_one("select count(*) from title_matches($1)", &[&"it's, 杯"]).await.unwrap();
    assert_eq!(found.get::<_, i64>(0).to_string(), text(&client, "select count(*) from title_matches('杯')").await);
    // They check what they are given as if it were written.
    let error = client.query("select * from price_at($1)", &[&0_i64]).await.unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains("wants 1 to"), "{error:?}");
}

#[tokio::test]
async fn columns_may_be_called_the_same_and_existence_is_a_value() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let client = served.client().await;
    for (sql, expected) in [
        ("select dt, dt, o.dt from offers o limit 1", ["dt", "dt", "dt"].as_slice()),
        ("select count(*), count(*) from offers", &["count(*)", "count(*)"]),
        ("select 1 as a, 2 as a union all select 3, 4", &["a", "a"]),
        ("select d.pipeline, d.* from days d", &["pipeline", "pipeline", "dt", "previous_dt", "is_latest"]),
        ("select d.*, 1 as dt from days d", &["pipeline", "dt", "previous_dt", "is_latest", "dt"]),
        ("select * from (select dt, dt from days) source limit 5", &["dt", "dt"]),
    ] {
        let prepared = client.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let names: Vec<&str> = prepared.columns().iter().map(tokio_postgres::Column::name).collect();
        assert_eq!(names, expected, "{sql}");
        assert!(!client.query(&prepared, &[]).await.unwrap().is_empty(), "{sql}");
    }
    for (sql, expected) in [
        ("select d.*, d.* from (select dt from days) d", ["dt", "dt"].as_slice()),
        ("select 1, count(1), max(dt) + 1 from days", &["1", "count(1)", "max(dt) + 1"]),
        ("select * from (select max(dt), 2 from days) x", &["max(dt)", "2"]),
    ] {
        let prepared = client.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let names: Vec<&str> = prepared.columns().iter().map(tokio_postgres::Column::name).collect();
        assert_eq!(names, expected, "{sql}");
        assert!(!client.query(&prepared, &[]).await.unwrap().is_empty(), "{sql}");
    }
    let sql = "select exists(select 1 from offers), offer_id in (select offer_id from skus) = \
               exists(select 1 from skus s where s.offer_id = o.offer_id) from offers o";
    for row in texts(&client, sql).await {
        assert_eq!(row, [Some("t".to_owned()), Some("t".to_owned())]);
    }
    assert_eq!(
        refused(&client, "select exists(select count(*) from skus s where s.offer_id = o.offer_id) from offers o")
            .await,
        "0A000"
    );
}

#[tokio::test]
async fn lists_and_series_are_what_postgresql_makes_of_them() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let client = served.client().await;
    for (sql, expected) in [
        ("select array(select x from unnest(array[2, 3, 1]) x order by x desc)", ["{3,2,1}"].as_slice()),
        ("select array(select x from unnest(array[2, 3, 1]) x order by -x limit 2)", &["{3,2}"]),
        ("select array(select distinct x % 2 from unnest(array[2, 3, 1]) x order by 1)", &["{0,1}"]),
        ("select array(select title from offers where false)", &["{}"]),
        (
            "select array(select y from unnest(array[1, 2]) y where y = x) from generate_series(1, 3) x order by x",
            &["{1}", "{2}", "{}"],
        ),
        ("select generate_series(1, 3)", &["1", "2", "3"]),
        ("select 10 + generate_series(1, 2)", &["11", "12"]),
        ("select n from generate_series(1, 2) n", &["1", "2"]),
        ("select generate_series from generate_series(1, 2)", &["1", "2"]),
        (
            "select d::date from generate_series(date '2026-11-30', date '2026-12-01', interval '1 day') d",
            &["2026-11-30", "2026-12-01"],
        ),
    ] {
        let found: Vec<String> = texts(&client, sql).await.into_iter().map(|row| row[0].clone().unwrap()).collect();
        assert_eq!(found, expected, "{sql}");
    }
    let prepared = client.prepare("select array(select 1), generate_series(1, 2)").await.unwrap();
    let names: Vec<&str> = prepared.columns().iter().map(tokio_postgres::Column::name).collect();
    assert_eq!(names, ["array", "generate_series"]);
}
