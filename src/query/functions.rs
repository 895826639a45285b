//! Table functions: SQL templates with checked arguments.
//!
//! * `price_at(pieces [, dt])`: what each offer costs when at least that many pieces are needed; with `dt`, as of that
//!   day: the last day of each pipeline published for it or an earlier one.
//! * `price_moves(pieces [, dt])`: what costs more or less so than the day before.
//! * `price_history(offer_id)`: every published day of one offer, one row per step.
//! * `competitor_position([pieces])`: who is cheapest in each group.
//! * `title_matches(keywords)`: the offers whose title has one of many keywords.
//!
//! Invariant: only checked integers, dates and quoted texts are put into a template.

use std::sync::Arc;

use arrow::datatypes::{DataType, Date32Type};
use chrono::NaiveDate;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_err};
use datafusion::datasource::ViewTable;
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use futures::FutureExt;

use super::catalog::Planner;
use super::published::{Published, Selection};
use super::views;
use crate::base::Error;

pub use crate::config::groups::PIECES_MAX;

/// Makes the functions known to a session.
pub(super) fn register(context: &SessionContext, published: &Arc<Published>, planner: &Planner) {
    let template = Template { planner: planner.clone() };
    let price_at = PriceAt { published: Arc::clone(published), template: template.clone() };
    let price_moves = PriceMoves { published: Arc::clone(published), template: template.clone() };
    context.register_udtf("price_at", Arc::new(price_at));
    context.register_udtf("price_moves", Arc::new(price_moves));
    context.register_udtf("price_history", Arc::new(PriceHistory { template: template.clone() }));
    context.register_udtf("competitor_position", Arc::new(CompetitorPosition { template: template.clone() }));
    context.register_udtf("title_matches", Arc::new(TitleMatches { template }));
}

/// What the arguments of a table function are, in their order; none for a name that is no function's here.
pub(crate) fn argument_types(function: &str) -> &'static [DataType] {
    match function {
        "price_at" | "price_moves" => &[DataType::Int64, DataType::Date32],
        "price_history" | "competitor_position" => &[DataType::Int64],
        "title_matches" => &[DataType::Utf8],
        _ => &[],
    }
}

#[derive(Debug)]
struct PriceAt {
    published: Arc<Published>,
    template: Template,
}

impl TableFunctionImpl for PriceAt {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        const USAGE: &str = "price_at(pieces [, dt]), for example price_at(500) or price_at(500, '2026-11-20')";
        let (pieces, day) = pieces_and_day("price_at", args.exprs(), &self.published, USAGE)?;
        let selection = day.map_or(Selection::Latest, Selection::AsOf);
        self.template.plan("price_at", &[("{day}", selection.schema_sql()), ("{pieces}", pieces.to_string())])
    }
}

#[derive(Debug)]
struct PriceMoves {
    published: Arc<Published>,
    template: Template,
}

impl TableFunctionImpl for PriceMoves {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        const USAGE: &str =
            "price_moves(pieces [, dt]), for example price_moves(500) or price_moves(500, '2026-11-20')";
        let (pieces, asked) = pieces_and_day("price_moves", args.exprs(), &self.published, USAGE)?;
        let newest = self.published.newest_day();
        let day = asked.or(newest).unwrap_or_default();
        // One day alone is one pipeline's.
        let now = match &self.published.focus {
            Some(focus) if focus.dt == day => Selection::Latest,
            None if newest.is_none() => Selection::Latest,
            _ => Selection::AsOf(day),
        };
        // Without an earlier day there is nothing to compare with: rows of one day are never compared with each other.
        let is_first = self.published.first_day().is_none_or(|first| first >= day);
        let earlier = day.pred_opt().filter(|_| !is_first).map_or(now, Selection::AsOf);
        let values =
            [("{day}", now.schema_sql()), ("{earlier}", earlier.schema_sql()), ("{pieces}", pieces.to_string())];
        self.template.plan("price_moves", &values)
    }
}

/// The arguments of a function of prices: a number of pieces and, where one is stated, a day. A day before the first
/// publication is a slip, not an empty answer.
fn pieces_and_day(
    function: &str,
    args: &[Expr],
    published: &Published,
    usage: &str,
) -> Result<(i64, Option<NaiveDate>)> {
    let (pieces, day) = match args {
        [pieces] => (pieces, None),
        [pieces, day] => (pieces, Some(day)),
        _ => return plan_err!("`{function}` takes one or two arguments: {usage}"),
    };
    let pieces = checked_pieces(function, pieces, usage)?;
    let day = match day.map(|day| (day, date(day))) {
        None => None,
        Some((_, Some(day))) => Some(day),
        Some((Expr::ScalarSubquery(_), None)) => {
            let newest = published.newest_day().map_or_else(String::new, |day| format!(", or `'{day}'`"));
            let hint = format!(
                "without a day it is the newest: `{function}({pieces})`; else write one: `current_date - 1`{newest}"
            );
            let error = Error::config(format!("the day of `{function}` must be written, not asked for by a query"));
            return Err(DataFusionError::External(Box::new(error.with_hint(hint))));
        }
        Some((_, None)) => return plan_err!("the day of `{function}` must be a date: {usage}"),
    };
    match (published.first_day(), day) {
        (Some(first), Some(day)) if day < first => {
            plan_err!("nothing is published for {day} or before: the first day is {first}")
        }
        _ => Ok((pieces, day)),
    }
}

#[derive(Debug)]
struct PriceHistory {
    template: Template,
}

impl TableFunctionImpl for PriceHistory {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        match args.exprs() {
            [offer] => match integer(offer) {
                Some(offer) => self.template.plan("price_history", &[("{offer_id}", offer.to_string())]),
                None => plan_err!("the offer id of `price_history` must be a whole number"),
            },
            _ => plan_err!("`price_history` takes one argument: price_history(offer_id)"),
        }
    }
}

#[derive(Debug)]
struct CompetitorPosition {
    template: Template,
}

impl TableFunctionImpl for CompetitorPosition {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        const USAGE: &str = "competitor_position([pieces]), for example competitor_position(500)";
        let pieces = match args.exprs() {
            [] => "CAST(NULL AS BIGINT)".to_owned(),
            [pieces] => checked_pieces("competitor_position", pieces, USAGE)?.to_string(),
            _ => return plan_err!("`competitor_position` takes one argument or none: {USAGE}"),
        };
        self.template.plan("competitor_position", &[("{day}", Selection::Latest.schema_sql()), ("{pieces}", pieces)])
    }
}

#[derive(Debug)]
struct TitleMatches {
    template: Template,
}

impl TableFunctionImpl for TitleMatches {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let keywords = match args.exprs() {
            [keywords] => text(keywords),
            _ => None,
        };
        match keywords {
            Some(keywords) => {
                let quoted = format!("'{}'", keywords.replace('\'', "''"));
                self.template.plan("title_matches", &[("{keywords}", quoted)])
            }
            None => {
                plan_err!("`title_matches` takes one text of keywords, for example title_matches('马克杯, 保温杯')")
            }
        }
    }
}

fn checked_pieces(function: &str, pieces: &Expr, usage: &str) -> Result<i64> {
    match integer(pieces) {
        Some(pieces) if (1..=PIECES_MAX).contains(&pieces) => Ok(pieces),
        Some(pieces) => plan_err!("`{function}` wants 1 to {PIECES_MAX} pieces, not {pieces}"),
        None => plan_err!("the pieces of `{function}` must be a whole number: {usage}"),
    }
}

#[derive(Debug, Clone)]
struct Template {
    planner: Planner,
}

impl Template {
    /// DataFusion asks for the plan without `await`; planning here does no I/O, so it is done at the first poll.
    fn plan(&self, function: &str, values: &[(&str, String)]) -> Result<Arc<dyn TableProvider>> {
        let template = views::function(function).map(|function| function.sql).unwrap_or_default();
        // What several have in common, of one day and of the state before it.
        let parts = [("needs", views::NEEDS), ("priced", views::PRICED)];
        let template = parts.iter().fold(template.to_owned(), |sql, (name, part)| {
            let (part, earlier) = (part.trim_end(), part.trim_end().replace("{day}", "{earlier}"));
            sql.replace(&format!("{{{name}}}"), part).replace(&format!("{{{name}_earlier}}"), &earlier)
        });
        let sql = values.iter().fold(template, |sql, (name, value)| sql.replace(name, value));
        let plan = self.planner.plan(&sql).now_or_never();
        let plan = plan.ok_or_else(|| DataFusionError::Internal("planning a function had to wait".into()))??;
        Ok(Arc::new(ViewTable::new(plan, Some(sql))))
    }
}

fn integer(expr: &Expr) -> Option<i64> {
    let Expr::Literal(value, _) = expr else { return None };
    match value {
        ScalarValue::Int64(Some(value)) => Some(*value),
        ScalarValue::Int32(Some(value)) => Some(i64::from(*value)),
        ScalarValue::UInt64(Some(value)) => i64::try_from(*value).ok(),
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<&str> {
    let Expr::Literal(value, _) = expr else { return None };
    value.try_as_str().flatten()
}

fn date(expr: &Expr) -> Option<NaiveDate> {
    let Expr::Literal(value, _) = expr else { return None };
    match value {
        ScalarValue::Date32(Some(days)) => Date32Type::to_naive_date_opt(*days),
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => text.parse().ok(),
        _ => None,
    }
}
