//! Days before or after a day: `dt + 1`, `dt - INTERVAL '7 days'`.
//!
//! A day is a number of days. The engine goes through the calendar for each row, which is an eighth of what it takes to compare each
//! day of a large lake with the one before.
//!
//! Invariant: gives what the engine gives; months and hours are left to it.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable as _, Operator, cast, lit};

/// The rule.
#[derive(Debug)]
pub(super) struct WholeDays;

impl FunctionRewrite for WholeDays {
    fn name(&self) -> &'static str {
        "days before or after a day"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &expr else { return Ok(Transformed::no(expr)) };
        let days = match op {
            Operator::Plus => whole_days(right),
            Operator::Minus => whole_days(right).and_then(i32::checked_neg),
            _ => None,
        };
        let is_day = || left.get_type(schema).is_ok_and(|data_type| data_type == DataType::Date32);
        let Some(days) = days.filter(|_| is_day()) else { return Ok(Transformed::no(expr)) };
        Ok(Transformed::yes(cast(cast(left.as_ref().clone(), DataType::Int32) + lit(days), DataType::Date32)))
    }
}

/// A constant that is a number of days and nothing else.
fn whole_days(expr: &Expr) -> Option<i32> {
    match expr {
        Expr::Literal(ScalarValue::Int64(days), _) => i32::try_from((*days)?).ok(),
        Expr::Literal(ScalarValue::IntervalMonthDayNano(interval), _) => {
            interval.filter(|interval| interval.months == 0 && interval.nanoseconds == 0).map(|interval| interval.days)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;

    use crate::query::fixture::Lake;
    use crate::query::headings;

    #[tokio::test]
    async fn days_after_a_day_are_the_engines_and_computed_as_numbers() {
        let session = Lake::new().session();
        let days = "(VALUES (DATE '2024-02-28', 1), (DATE '2026-12-31', 2), (NULL, 3)) AS t(d, n)";
        for sql in [
            format!(
                "SELECT d + 1 AS a, d - 7 AS b, d + INTERVAL '2 days' AS c, d - INTERVAL '-1 day' AS e FROM {days}"
            ),
            format!("SELECT d + INTERVAL '1 month' AS a, d - INTERVAL '1 month 1 day' AS b FROM {days}"),
            format!(
                "SELECT d + INTERVAL '36 hours' AS a, d - d AS b, n + 1 AS c, arrow_typeof(d + 1) AS e FROM {days}"
            ),
            format!(
                "SELECT d + 1 AS a, count(*) AS b FROM {days} GROUP BY d + 1 HAVING d + 1 > DATE '2024-01-01' ORDER BY d + 1"
            ),
            format!(
                "SELECT t.n AS a, b.n AS b FROM {days} JOIN {days_b} ON b.d = t.d + 1 - 1",
                days_b = days.replace(" t(", " b(")
            ),
            "SELECT DATE '2026-02-28' + 1 AS a, max(d) + 1 AS b FROM (VALUES (DATE '2026-02-28')) AS t(d)".to_owned(),
        ] {
            let ours = session.sql(&sql).await.unwrap().collect().await.unwrap();
            let plain = SessionContext::new().sql(&sql).await.unwrap().collect().await.unwrap();
            let plain: Vec<_> =
                plain.into_iter().map(|batch| headings::renamed(batch, &ours[0].schema()).unwrap()).collect();
            let text = |batches: &[_]| pretty_format_batches(batches).unwrap().to_string();
            assert_eq!(text(&ours), text(&plain), "{sql}");
        }
        let plan = format!("EXPLAIN FORMAT INDENT SELECT d + INTERVAL '2 days' FROM {days}");
        let plan = session.sql(&plan).await.unwrap().collect().await.unwrap();
        let plan = pretty_format_batches(&plan).unwrap().to_string();
        assert!(plan.contains("AS Int32) + Int32(2) AS Date32"), "{plan}");
    }
}
