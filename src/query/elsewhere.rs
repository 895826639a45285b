//! Functions of other databases that the engine does not have: what is written here instead.
//!
//! Invariant: pure; no name in here is a function of the engine.

/// What to write in place of a function that others have.
#[must_use]
pub(super) fn instead(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    INSTEAD.iter().find(|(names, _)| names.contains(&name.as_str())).map(|(_, hint)| *hint)
}

const INSTEAD: &[(&[&str], &str)] = &[
    (&["age", "date_diff", "datediff", "timestampdiff"], "`a - b` of two dates is a number of days"),
    (&["date_add", "dateadd", "adddate", "date_sub", "subdate"], "write `dt + 1` or `dt - interval '1 month'`"),
    (&["curdate", "getdate", "sysdate"], "write `current_date` or `now()`"),
    (
        &["year", "month", "day", "week", "weekday", "dayofweek"],
        "write `date_part('month', dt)`: year, month, week, day, dow",
    ),
    (&["strftime", "datetime_format"], "write `to_char(dt, 'YYYY-MM-DD')`"),
    (&["str_to_date", "strptime", "parse_date"], "write `to_date('2026-11-20')` or `'2026-11-20'::date`"),
    (&["format", "printf"], "put texts together with `concat(…)` or `||`"),
    (&["array", "list", "list_agg", "collect_list"], "write `(select array_agg(x order by x) from …)`"),
    (&["group_concat", "listagg"], "write `string_agg(x, ',')`"),
    (&["average"], "did you mean `avg`?"),
    (&["if", "iff", "iif"], "write `case when … then … else … end`"),
    (&["isnull"], "write `x is null`, or `coalesce(x, y)` for a value in its place"),
    (&["len"], "did you mean `length`?"),
    (&["charindex"], "did you mean `strpos`?"),
    (&["mid"], "did you mean `substr`?"),
    (&["truncate"], "did you mean `trunc`?"),
    (&["to_number", "tostring"], "write `x::numeric` or `x::text`"),
    (&["arg_max", "argmax", "max_by"], "write `first_value(x order by y desc)`"),
    (&["arg_min", "argmin", "min_by", "first"], "write `first_value(x order by y)`"),
    (&["last"], "write `last_value(x order by y)`"),
    (&["mode"], "count with `group by x`, `order by count(*) desc` and `limit 1`"),
    (&["quantile", "percentile"], "write `percentile_cont(0.9) within group (order by x)`"),
    (&["count_if", "countif"], "write `count(*) filter (where …)`"),
    (&["sum_if", "sumif"], "write `sum(x) filter (where …)`"),
    (&["safe_divide"], "write `x / nullif(y, 0)`"),
    (&["regexp_extract", "regexp_substr"], "write `regexp_match(x, '…')[1]`"),
    (&["regexp_matches"], "did you mean `regexp_match`?"),
    (&["explode"], "did you mean `unnest`?"),
    (
        &["row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead"],
        "it looks at other rows: write `… over (partition by x order by y)`",
    ),
];

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    #[test]
    fn what_others_have_is_none_of_the_engines_and_what_is_written_instead_is() {
        let state = SessionContext::new().state();
        let is_known =
            |name: &str| state.scalar_functions().contains_key(name) || state.aggregate_functions().contains_key(name);
        for (names, hint) in INSTEAD {
            for name in *names {
                assert!(!is_known(name) && instead(&name.to_uppercase()) == Some(hint), "{name}");
            }
            if let Some(meant) = hint.strip_prefix("did you mean `").and_then(|rest| rest.strip_suffix("`?")) {
                assert!(is_known(meant) || meant == "unnest", "{meant}");
            }
        }
        assert_eq!(instead("price_at"), None);
    }
}
