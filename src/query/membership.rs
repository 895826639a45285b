//! `EXISTS (…)` and `x IN (…)` as values: in a list of columns or in an aggregate, where the engine plans them in conditions
//! only; and within other expressions of a condition, where it takes what is not known for false.
//!
//! | value | becomes |
//! |---|---|
//! | `EXISTS (q)` | a join that keeps every row and marks those for which `q` has one |
//! | `x IN (q)` | such a mark for `x = v`; where that is not true, null if `x` is null and `q` has rows, or if `q` has a null |
//!
//! Invariant: right or refused. A query that refers to the row outside of it is joined to it only where that gives the same.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, Result, ScalarValue, not_impl_err};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, ExprSchemable as _, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Projection,
    SkipType, Sort, Subquery, lit, not, when,
};
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::{ApplyOrder, Optimizer, OptimizerConfig, OptimizerRule};

use super::names;

/// The engine's rules, with ours before them.
pub(super) fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let ours: Arc<dyn OptimizerRule + Send + Sync> = Arc::new(Membership::default());
    std::iter::once(ours).chain(Optimizer::new().rules).collect()
}

/// The rule.
#[derive(Debug, Default)]
struct Membership {
    of_conditions: DecorrelatePredicateSubquery,
}

impl OptimizerRule for Membership {
    fn name(&self) -> &'static str {
        "membership"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let mut has_any = false;
        plan.apply_expressions(|expression| {
            has_any = has_any || asks(expression);
            Ok(if has_any { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if !has_any {
            return Ok(Transformed::no(plan));
        }
        let names = NamePreserver::new(&plan);
        match plan {
            LogicalPlan::Projection(Projection { expr, input, .. }) => {
                let mut values = Values { rule: self, config, input: Arc::unwrap_or_clone(input) };
                let columns = values.of_all(expr, &names)?;
                Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(values.input))?)))
            }
            LogicalPlan::Aggregate(Aggregate { input, group_expr, aggr_expr, .. }) => {
                let mut values = Values { rule: self, config, input: Arc::unwrap_or_clone(input) };
                let (groups, aggregates) = (values.of_all(group_expr, &names)?, values.of_all(aggr_expr, &names)?);
                let aggregate = Aggregate::try_new(Arc::new(values.input), groups, aggregates)?;
                Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
            }
            LogicalPlan::Filter(Filter { predicate, input, .. })
                if split_conjunction(&predicate).iter().any(is_value) =>
            {
                let columns = input.schema().columns().into_iter().map(Expr::from);
                let mut values = Values { rule: self, config, input: Arc::unwrap_or_clone(input) };
                let (of_values, conditions): (Vec<_>, Vec<_>) =
                    split_conjunction_owned(predicate).into_iter().partition(|condition| is_value(&condition));
                let of_values = values.of_all(of_values, &names)?;
                let mut plan = LogicalPlanBuilder::from(values.input);
                if let Some(condition) = conjunction(conditions.into_iter().chain(of_values)) {
                    plan = plan.filter(condition)?;
                }
                Ok(Transformed::yes(plan.project(columns)?.build()?))
            }
            // The engine's own; of a query that gives a row whatever it finds, it would say otherwise.
            plan => {
                plan.apply_expressions(|expression| {
                    expression.apply(|inner| {
                        if let Expr::Exists(Exists { subquery, .. }) = inner {
                            check(subquery, Asked::Existence)?;
                        }
                        Ok(TreeNodeRecursion::Continue)
                    })
                })?;
                Ok(Transformed::no(plan))
            }
        }
    }
}

/// Asks such questions of an order before it: the engine plans none in orders.
///
/// # Errors
/// An order by what its rows do not have.
pub(super) fn before_orders(plan: LogicalPlan) -> Result<LogicalPlan> {
    let before = |plan: LogicalPlan| match plan {
        LogicalPlan::Sort(sort) if sort.expr.iter().any(|order| asks(&order.expr)) => {
            Ok(Transformed::yes(before_order(sort)?))
        }
        plan => Ok(Transformed::no(plan)),
    };
    Ok(plan.transform_up(before)?.data)
}

fn before_order(Sort { mut expr, input, fetch }: Sort) -> Result<LogicalPlan> {
    let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::from).collect();
    let mut asked = Vec::new();
    for (number, order) in expr.iter_mut().enumerate().filter(|(_, order)| asks(&order.expr)) {
        let name = names::numbered("order", number);
        let question = std::mem::replace(&mut order.expr, Expr::Column(Column::new_unqualified(&name)));
        asked.push(question.alias(name));
    }
    // What a question is about need not be among the columns that are shown.
    let input = match Arc::unwrap_or_clone(input) {
        LogicalPlan::Projection(below) if asked.iter().all(|asked| is_about(asked, below.input.schema())) => {
            let expr = below.expr.into_iter().chain(asked).collect();
            LogicalPlan::Projection(Projection::try_new(expr, below.input)?)
        }
        input => LogicalPlanBuilder::from(input).project(columns.iter().cloned().chain(asked))?.build()?,
    };
    LogicalPlanBuilder::from(input).sort_with_limit(expr, fetch)?.project(columns)?.build()
}

/// Whether all columns that an expression and the queries in it refer to are among these.
fn is_about(expression: &Expr, schema: &DFSchema) -> bool {
    let has = |column: &Column| schema.has_column(column);
    let is_without = |inner: &Expr| match inner {
        Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => !has(column),
        Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::ScalarSubquery(subquery) => subquery
            .outer_ref_columns
            .iter()
            .any(|outer| matches!(outer, Expr::OuterReferenceColumn(_, column) if !has(column))),
        _ => false,
    };
    // The closure does not fail.
    !expression.exists(|inner| Ok(is_without(inner))).unwrap_or(true)
}

fn asks(expression: &Expr) -> bool {
    // The closure does not fail.
    expression.exists(|inner| Ok(matches!(inner, Expr::Exists(_) | Expr::InSubquery(_)))).unwrap_or(false)
}

/// Whether a condition is none that the engine answers rightly by itself: it takes what is not known for false, and knows
/// nulls of `NOT IN` only where the query stands for itself.
fn is_value(condition: &&Expr) -> bool {
    // Nor does it see that a constant is null.
    fn is_plain(InSubquery { expr, subquery, .. }: &InSubquery) -> bool {
        subquery.outer_ref_columns.is_empty() && !expr.column_refs().is_empty()
    }
    fn is_engines(condition: &Expr, is_whole: bool) -> bool {
        match condition {
            Expr::Exists(_) | Expr::InSubquery(InSubquery { negated: false, .. }) => true,
            Expr::InSubquery(asked) => is_whole && is_plain(asked),
            Expr::Not(inner) => match inner.as_ref() {
                Expr::Exists(_) => true,
                Expr::InSubquery(asked @ InSubquery { negated: false, .. }) => is_whole && is_plain(asked),
                other => !asks(other),
            },
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
                is_engines(left, false) && is_engines(right, false)
            }
            other => !asks(other),
        }
    }
    !is_engines(condition, true)
}

/// The rows that values are computed from, which get a column for each mark.
struct Values<'a> {
    rule: &'a Membership,
    config: &'a dyn OptimizerConfig,
    input: LogicalPlan,
}

impl Values<'_> {
    fn of_all(&mut self, expressions: Vec<Expr>, names: &NamePreserver) -> Result<Vec<Expr>> {
        let of = |expression: Expr| {
            let name = names.save(&expression);
            let value = expression.transform_up(|inner| match inner {
                Expr::Exists(Exists { subquery, negated }) => {
                    let found = self.existence(subquery)?;
                    Ok(Transformed::yes(if negated { not(found) } else { found }))
                }
                Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                    let found = self.membership(*expr, subquery)?;
                    Ok(Transformed::yes(if negated { not(found) } else { found }))
                }
                other => Ok(Transformed::no(other)),
            })?;
            Ok(name.restore(value.data))
        };
        expressions.into_iter().map(of).collect()
    }

    fn existence(&mut self, mut subquery: Subquery) -> Result<Expr> {
        check(&subquery, Asked::Existence)?;
        if subquery.outer_ref_columns.is_empty() {
            // One row is enough to know.
            let first = LogicalPlanBuilder::from(Arc::unwrap_or_clone(subquery.subquery)).limit(0, Some(1))?.build()?;
            subquery.subquery = Arc::new(first);
        }
        self.mark(Expr::Exists(Exists { subquery, negated: false }))
    }

    fn membership(&mut self, value: Expr, subquery: Subquery) -> Result<Expr> {
        check(&subquery, Asked::Values)?;
        let schema = subquery.subquery.schema();
        let Some(field) = schema.fields().first() else {
            return not_impl_err!("IN wants a query with a column");
        };
        let mut unknown = Vec::new();
        if field.is_nullable() {
            let column = Expr::Column(Column::from(schema.qualified_field(0)));
            let nulls =
                LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).filter(column.is_null())?.build()?;
            let nulls = Subquery { subquery: Arc::new(nulls), ..subquery.clone() };
            unknown.push(self.existence(nulls)?);
        }
        if value.nullable(self.input.schema())? {
            unknown.push(value.clone().is_null().and(self.existence(subquery.clone())?));
        }
        let found = self.mark(Expr::InSubquery(InSubquery { expr: Box::new(value), subquery, negated: false }))?;
        let Some(unknown) = unknown.into_iter().reduce(Expr::or) else { return Ok(found) };
        when(found, lit(true)).when(unknown, lit(ScalarValue::Boolean(None))).otherwise(lit(false))
    }

    /// Has the rows marked by the rule for conditions: within another expression it keeps them all.
    fn mark(&mut self, condition: Expr) -> Result<Expr> {
        let filter = Filter::try_new(condition.is_true(), Arc::new(self.input.clone()))?;
        let mut plan = self.rule.of_conditions.rewrite(LogicalPlan::Filter(filter), self.config)?.data;
        if let LogicalPlan::Projection(projection) = plan {
            plan = Arc::unwrap_or_clone(projection.input);
        }
        match plan {
            LogicalPlan::Filter(Filter { predicate, input, .. }) if !asks(&predicate) => {
                self.input = Arc::unwrap_or_clone(input);
                Ok(predicate)
            }
            _ => not_impl_err!("{NOT_JOINED}"),
        }
    }
}

const NOT_JOINED: &str =
    "EXISTS or IN of a query that refers to the rows outside of it in this way: write it as a join";

/// What is asked of a query.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Whether it has rows.
    Existence,
    /// Which values it has.
    Values,
}

/// Refuses what means something else once its conditions on the outer row stand in a join around it.
fn check(subquery: &Subquery, asked: Asked) -> Result<()> {
    let refers = |plan: &LogicalPlan| plan.exists(|node| Ok(node.contains_outer_reference()));
    let is_changed = subquery.subquery.exists(|node| {
        let may_pass = match node {
            LogicalPlan::Projection(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Distinct(_) => true,
            LogicalPlan::Join(join) => join.join_type == JoinType::Inner,
            // Without groups it has a row even of nothing.
            LogicalPlan::Aggregate(aggregate) => !aggregate.group_expr.is_empty(),
            LogicalPlan::Sort(sort) => sort.fetch.is_none(),
            LogicalPlan::Window(_) => asked == Asked::Existence,
            LogicalPlan::Limit(limit) => {
                asked == Asked::Existence && matches!(limit.get_skip_type()?, SkipType::Literal(0))
            }
            _ => false,
        };
        let inputs = || node.inputs().into_iter().map(refers).collect::<Result<Vec<bool>>>();
        Ok(!may_pass && inputs()?.contains(&true))
    })?;
    if is_changed { not_impl_err!("{NOT_JOINED}") } else { Ok(()) }
}

#[cfg(test)]
mod tests;
