use arrow::util::pretty::pretty_format_batches;

use datafusion::prelude::SessionContext;

use super::sizes::BOUNDED;
use super::{BY_PLAN, Bounded};
use crate::query::fixture::Lake;
use crate::query::headings;
use crate::query::session::{Options, Session};
use crate::store::Store;

async fn check_refused(session: &Session, call: &str) {
    for sql in [format!("SELECT {call}"), format!("SELECT {call} FROM generate_series(1, 3) WHERE value > 1")] {
        let error = match session.sql(&sql).await {
            Err(error) => error,
            Ok(answer) => answer.collect().await.expect_err(&sql),
        };
        assert!(error.to_string().contains("memory"), "{sql}: {error}");
    }
}

/// What DataFusion without bounds gives.
async fn check_same(session: &Session, sql: &str) {
    let bounded = session.sql(sql).await.unwrap().collect().await.unwrap();
    let plain = SessionContext::new().sql(sql).await.unwrap().collect().await.unwrap();
    // The session calls its columns otherwise.
    let called = |batch| headings::renamed(batch, &bounded[0].schema()).unwrap();
    let plain: Vec<_> = plain.into_iter().map(called).collect();
    let text = |batches: &[_]| pretty_format_batches(batches).unwrap().to_string();
    assert_eq!(text(&bounded), text(&plain), "{sql}");
}

#[tokio::test]
async fn every_function_is_there_to_be_bounded() {
    let session = Lake::new().session();
    let state = session.context().state();
    let names = BOUNDED.iter().map(|(name, _)| *name).filter(|name| !BY_PLAN.contains(name));
    let names = names.chain(["list_repeat", "list_resize", "array_cat"]);
    for name in names {
        let function = state.scalar_functions().get(name).expect(name);
        assert!(function.inner().is::<Bounded>(), "{name}");
    }
}

#[tokio::test]
async fn constants_that_would_fill_the_memory_are_refused() {
    let session = Lake::new().session();
    for call in [
        "repeat('x', 2000000000)",
        "length(repeat(repeat('x', 100000), 100000))",
        "lpad('x', 2000000000)",
        "rpad('x', 2000000000, '马')",
        "replace(repeat('a', 10000000), 'a', repeat('b', 1000))",
        "regexp_replace(repeat('a', 1000000), '[a]', repeat('b', 1000), 'g')",
        "regexp_replace(repeat('a', 1000000), '(a*)', repeat('\\1', 1000))",
        "range(1, 1000000000)",
        "range(1000000000)",
        "range(0, -2000000000, -2)",
        "generate_series(1, 1000000000)",
        "generate_series(-9223372036854775807, 9223372036854775807)",
        "range(TIMESTAMP '2000-01-01', TIMESTAMP '2100-01-01', INTERVAL '1 millisecond')",
        "range(DATE '2024-04-01', DATE '2024-03-01', INTERVAL '1 month -30 days')",
        "array_repeat(1, 1000000000)",
        "list_repeat(repeat('x', 1000000), 1000)",
        "array_repeat(range(1, 1000000), 1000)",
        "array_resize([1], 1000000000)",
        "list_resize(['x'], 1000, repeat('y', 1000000))",
    ] {
        check_refused(&session, call).await;
    }
}

#[tokio::test]
async fn columns_that_would_fill_the_memory_are_refused() {
    let session = Lake::new().session();
    for call in [
        "repeat('x', value * 100000000)",
        "repeat(arrow_cast('x', 'Utf8View'), value * 100000000)",
        "lpad(value::text, value * 100000000)",
        "replace(repeat('a', 10000 + value), 'a', repeat('b', 100000))",
        "range(value, value * 100000000)",
        "array_repeat(value, value * 100000000)",
        "array_resize([value], value * 100000000)",
    ] {
        let sql = format!("SELECT {call} FROM generate_series(1, 10)");
        let error = session.sql(&sql).await.unwrap().collect().await.expect_err(&sql);
        assert!(error.to_string().contains("memory"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn constants_of_a_sane_size_give_what_they_gave() {
    let session = Lake::new().session();
    check_same(
        &session,
        "SELECT repeat('ab', 3), repeat('ab', -1), repeat(NULL::text, 2), lpad('x', 3, 'y'), rpad('货', 4), \
         replace('aba', 'a', 'cc'), replace('aba', '', 'cc'), regexp_replace('aba', '(a)', '<\\1>', 'g'), \
         range(1, 4), range(3), range(5, 1, -2), generate_series(1, 3), generate_series(3, 1), range(1, NULL::bigint), \
         array_repeat(1, 3), list_repeat(['a', 'b'], 2), array_repeat(NULL::int, 2), array_resize([1, 2], 4, 7), \
         list_resize(['a'], 2), range(DATE '2026-01-31', DATE '2026-06-01', INTERVAL '1 month'), \
         generate_series(TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-02', INTERVAL '6 hours')",
    )
    .await;
    // A guess is far too much, what it gives is not.
    check_same(&session, "SELECT length(replace(repeat('a', 100000), 'b', repeat('c', 10000)))").await;
    check_same(&session, "SELECT length(regexp_replace(repeat('a', 100000), 'B', repeat('c', 10000), 'gi'))").await;
}

#[tokio::test]
async fn columns_of_many_rows_with_nulls_give_what_they_gave() {
    let session = Lake::new().session();
    for text in ["Utf8", "LargeUtf8", "Utf8View"] {
        let sql = format!(
            "SELECT value, repeat(t, n), lpad(t, abs(n), t), rpad(t, 9), replace(t, '1', '货'), replace(t, t, t), \
             regexp_replace(t, '\\d', '[\\0]', 'g'), range(n), range(n, 4), generate_series(n, value % 7, 2), \
             array_repeat(t, n), array_repeat([value, n], 2), array_resize([value], abs(n), value) \
             FROM (SELECT value, nullif(value % 5, 0) - 1 AS n, \
             arrow_cast(nullif(value % 911, 3)::text, '{text}') AS t FROM generate_series(1, 9000)) AS x ORDER BY value"
        );
        check_same(&session, &sql).await;
    }
}

/// A session that may use so little that a text of 2.5 MB fits once.
fn small_session() -> Session {
    session_of(4 << 20)
}

fn session_of(memory_bytes_max: usize) -> Session {
    let options = Options { memory_bytes_max, target_partitions: Some(1), ..Options::default() };
    let store = Store::open_existing(tempfile::TempDir::new().unwrap().path()).unwrap();
    Session::open(&store, Default::default(), &options).unwrap()
}

async fn rows(session: &Session, sql: &str) -> Result<usize, String> {
    let answer = session.sql(sql).await.map_err(|error| error.to_string())?;
    let batches = answer.collect().await.map_err(|error| error.to_string())?;
    Ok(batches.iter().map(|batch| batch.num_rows()).sum())
}

#[tokio::test]
async fn what_is_put_together_of_rows_that_fit_once_is_refused() {
    let session = small_session();
    let from = "FROM (SELECT repeat('x', 2500000 + value) AS t, range(value, 300000) AS l FROM generate_series(1, 1))";
    assert_eq!(
        rows(&session, &format!("SELECT t, l, t || 'y', l || 1, concat(t), [t], struct(t) {from}")).await,
        Ok(1)
    );
    for call in [
        "t || t",
        "'y' || (t || t)",
        "concat(t, 'y', t)",
        "concat_ws(t, 'x', 'y', 'z')",
        "overlay(t placing t from 1 for 0)",
        "encode(t::bytea, 'hex')",
        "array_concat(l, l)",
        "l || l",
        "array_union(l, l)",
        "[l, l]",
        "make_array(t, t)",
        "flatten([l, l])",
        "arrays_zip(l, l)",
        "array_to_string([t, t], ',')",
        "array_to_string(l, repeat('-', 1000))",
        "string_to_array(t, 'x')",
        "regexp_match(t, '((x*))')",
        "array_replace_all(l, 1, 2)",
    ] {
        let refused = rows(&session, &format!("SELECT {call} {from}")).await;
        assert!(refused.as_ref().is_err_and(|error| error.contains("memory")), "{call}: {refused:?}");
    }
    let of_constants = rows(&session, "SELECT repeat('x', 2500000) || repeat('y', 2500000)").await;
    assert!(of_constants.as_ref().is_err_and(|error| error.contains("memory")), "{of_constants:?}");
}

#[tokio::test]
async fn what_doubles_in_each_of_many_queries_is_refused() {
    let session = small_session();
    for (begin, more) in [("value::text", "t || t"), ("value::text", "concat(t, t)"), ("[value]", "t || t")] {
        let deeper: String = (1..25).map(|at| format!(", q{at} AS (SELECT {more} AS t FROM q{})", at - 1)).collect();
        let sql = format!("WITH q0 AS (SELECT {begin} AS t FROM generate_series(1, 9)){deeper} SELECT t FROM q24");
        let refused = rows(&session, &sql).await;
        assert!(refused.as_ref().is_err_and(|error| error.contains("memory")), "{more}: {refused:?}");
    }
}

#[tokio::test]
async fn texts_and_lists_are_put_together_as_ever() {
    let session = Lake::new().session();
    check_same(
        &session,
        "SELECT 'a' || 'b', 'a' || 1, 1 || 'a', 'a' || NULL, NULL || 'a', '货' || 'x' || DATE '2026-11-20', \
         concat('a', NULL, 2), concat_ws('-', 'a', NULL, 'b'), [1, 2] || [3], [1] || 2, 1 || [2], ['a', NULL], \
         array_to_string([1, NULL, 3], '-', '*'), string_to_array('a,b', ','), string_to_array('ab', NULL), \
         regexp_match('abc', '(a)(b)'), overlay('abc' placing 'x' from 2 for 1), encode('ab'::bytea, 'hex'), \
         flatten([[1], [2, 3]]), named_struct('a', 1, 'b', 'c'), array_replace_all([1, 2, 1], 1, 5)",
    )
    .await;
    for text in ["Utf8", "LargeUtf8", "Utf8View"] {
        let sql = format!(
            "SELECT value, t || 'y', 'y' || t, t || t || value, t || NULL, value || t, (t || 'y') = '4y' AS is_four, \
             concat(t, value), concat_ws(t, 'a', value::text), [t, t], [value] || value, [value] || [n], \
             array_to_string([t, 'b'], t), string_to_array(t, '1'), max(t || 'y') OVER (PARTITION BY n || t) \
             FROM (SELECT value, nullif(value % 5, 0) AS n, \
             arrow_cast(nullif(value % 911, 3)::text, '{text}') AS t FROM generate_series(1, 9000)) AS x \
             WHERE t || 'y' <> '7y' OR t IS NULL ORDER BY value"
        );
        check_same(&session, &sql).await;
        let sql = format!(
            "SELECT t || 'y', count(*) FROM (SELECT arrow_cast((value % 3)::text, '{text}') AS t FROM generate_series(1, 9)) \
             GROUP BY t || 'y' HAVING max(t || 'y') > '0y' ORDER BY t || 'y'"
        );
        check_same(&session, &sql).await;
    }
}

#[tokio::test]
async fn a_list_that_is_only_searched_is_no_list() {
    let session = Lake::new().session();
    let sql = "EXPLAIN SELECT offer_id FROM offers WHERE array_has([stock_pieces, sales_count, 7], offer_id)";
    let plan = session.sql(sql).await.unwrap().collect().await.unwrap();
    let plan = pretty_format_batches(&plan).unwrap().to_string();
    assert!(!plan.contains("make_array"), "{plan}");
}

#[tokio::test]
async fn large_constants_are_not_copied_into_each_row() {
    let session = small_session();
    for column in [
        "range(1, 10000)",
        "repeat('x', 100000)",
        "CASE WHEN value % 2 = 0 THEN repeat('x', 100000) ELSE 'y' END",
        "array_position(range(1, 10000), value)",
        "(SELECT array_agg(value) FROM generate_series(1, 10000))",
    ] {
        let refused = rows(&session, &format!("SELECT {column} FROM generate_series(1, 8000)")).await;
        assert!(refused.as_ref().is_err_and(|error| error.contains("memory")), "{column}: {refused:?}");
    }
    // Each by itself would do.
    let both = rows(&session, "SELECT repeat('x', 3000), repeat('y', 3000) FROM generate_series(1, 1000)").await;
    assert!(both.as_ref().is_err_and(|error| error.contains("memory")), "{both:?}");
}

#[tokio::test]
async fn constants_that_are_compared_or_of_few_rows_are_as_large_as_they_are() {
    let session = small_session();
    for (sql, expected) in [
        ("SELECT range(1, 100000)", 1),
        ("SELECT repeat('x', 100000) FROM generate_series(1, 8000) LIMIT 1", 1),
        ("SELECT repeat('x', 3000) FROM generate_series(1, 1000)", 1000),
        ("SELECT arrow_cast(repeat('x', 100000), 'Utf8View') FROM generate_series(1, 8000)", 8000),
        ("SELECT value FROM generate_series(1, 8000) WHERE value::text <> repeat('x', 100000)", 8000),
        (
            "SELECT value::text = repeat('x', 100000), value::text LIKE repeat('x', 100000) FROM generate_series(1, 8000)",
            8000,
        ),
        ("SELECT value IN (1, cardinality(range(1, 10000))) FROM generate_series(1, 8000)", 8000),
        ("SELECT x FROM (VALUES (repeat('x', 100000)), ('y')) AS t(x)", 2),
        ("SELECT (SELECT array_agg(value) FROM generate_series(1, 9)) FROM generate_series(1, 8000)", 8000),
    ] {
        assert_eq!(rows(&session, sql).await, Ok(expected), "{sql}");
    }
    let answer = session.sql("SELECT range(1, 100) AS r, range(1, 100000) FROM generate_series(1, 2)").await.unwrap();
    let names: Vec<_> = answer.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["r", "range(1, 100000)"]);
}

#[tokio::test]
async fn lists_over_windows_grow_as_far_as_a_batch_of_them_fits() {
    // Enough to sort.
    let session = session_of(24 << 20);
    for (window, rows_given, expected) in [
        ("array_agg(value) OVER ()", 4000, None),
        ("array_agg(value) OVER (ORDER BY value)", 4000, None),
        ("string_agg(value::text, ',') OVER (ORDER BY value DESC)", 4000, None),
        ("array_agg(value) OVER (PARTITION BY value % 2)", 4000, None),
        ("array_agg(value) OVER ()", 500, Some(500)),
        ("array_agg(value) OVER (PARTITION BY value)", 20_000, Some(20_000)),
        ("array_agg(value) OVER (ROWS BETWEEN 6 PRECEDING AND CURRENT ROW)", 60_000, Some(60_000)),
    ] {
        let given = rows(&session, &format!("SELECT {window} FROM generate_series(1, {rows_given})")).await;
        assert_eq!(given.ok(), expected, "{window}");
    }
    check_same(
        &Lake::new().session(),
        "SELECT value, array_agg(value) OVER (ORDER BY value ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING), \
         string_agg(value::text, '-') OVER (PARTITION BY value % 2 ORDER BY value DESC), array_agg(value) OVER () \
         FROM generate_series(1, 9) ORDER BY value",
    )
    .await;
}
