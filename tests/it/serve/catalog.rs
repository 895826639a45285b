//! What the system catalog tells of the lake.

use super::{Served, lake, text, texts};

#[tokio::test]
async fn tables_columns_views_and_functions_say_what_they_are() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let client = served.client().await;
    for (sql, expected) in [
        ("select obj_description('offers'::regclass, 'pg_class')", "商品 · One row per offer per day."),
        (
            "select obj_description(oid) from pg_class where relname = 'latest_offers'",
            "every offer as of the last published day",
        ),
        ("select col_description('offers'::regclass, 1)", "日期 · The Beijing calendar day the run stands for."),
        (
            "select d.description from pg_description d join pg_class c on d.objoid = c.oid and d.classoid = 'pg_class'::regclass \
          where c.relname = 'latest_offers' and d.objsubid = 1",
            "日期 · ",
        ),
        ("select pg_get_viewdef('latest_offers'::regclass)", "SELECT t.*\nFROM latest.offers AS t"),
        ("select pg_get_viewdef('public.latest_offers', true)", "SELECT t.*"),
        ("select definition from pg_views where viewname = 'price_changes'", "previous_dt"),
        (
            "select pg_get_function_arguments(oid) from pg_proc where proname = 'price_at'",
            "pieces bigint, dt date DEFAULT NULL",
        ),
        ("select pg_get_function_result(oid) from pg_proc where proname = 'price_at'", "SETOF record"),
        ("select pg_get_function_result(oid) from pg_proc where proname = 'moq_pieces'", "bigint"),
        ("select pg_get_function_arguments(oid) from pg_proc where oid = 877", "text, integer, integer"),
        ("select pg_get_function_result(oid) from pg_proc where oid = 877", "text"),
        ("select obj_description(oid, 'pg_proc') from pg_proc where proname = 'price_history'", "every published day"),
    ] {
        let found = text(&client, sql).await;
        assert!(found.contains(expected), "{sql}: {found}");
    }
    assert_eq!(texts(&client, "select obj_description(1, 'pg_class'), col_description(1, 1)").await, [[None, None]]);
    let listed =
        "select relname from pg_class where relkind = 'v' and relnamespace = 'public'::regnamespace order by 1";
    assert_eq!(texts(&client, "select viewname from pg_views order by 1").await, texts(&client, listed).await);
    let kinds =
        "select relkind from pg_class where relname in ('pg_description', 'pg_proc', 'pg_settings') order by relname";
    assert_eq!(texts(&client, kinds).await.concat().into_iter().flatten().collect::<String>(), "rrv");
}

#[tokio::test]
async fn settings_are_listed_as_they_are_now() {
    let place = lake().await;
    let served = Served::start(&place, &[]).await;
    let client = served.client().await;
    let setting = "select setting from pg_settings where name = 'TimeZone'";
    assert_eq!(text(&client, setting).await, "UTC");
    client.batch_execute("set timezone = 'Asia/Shanghai'").await.unwrap();
    assert_eq!(text(&client, setting).await, "Asia/Shanghai");
    let all: Vec<_> = texts(&client, "show all").await.into_iter().map(|row| row[..2].to_vec()).collect();
    assert_eq!(texts(&client, "select name, setting from pg_settings order by lower(name)").await, all);
}
