//! Queries before they run: planned as they are, else as the engine knows them, described, and bound to values.
//!
//! Invariant: a query gives columns of the types that it was described with, whatever its values are.

use std::sync::Arc;

use arrow::array::Array as _;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Column, DataFusionError, ParamValues, ScalarValue};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, in_list, lit};
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::Statement;

use super::failure::Failure;
use super::lake::Tables;
use super::rows::has_type_of;
use super::statement::Reader;
use super::values::Wanted;
use crate::query::headings::Headings;
use crate::query::names;
use crate::query::session::{self, check_reads, without_stars};

/// A planned query.
#[derive(Debug, Clone)]
pub(super) struct Query {
    /// As it is written: it takes values.
    written: LogicalPlan,
    /// With the types that its rows have, as far as they are known without values.
    pub(super) typed: LogicalPlan,
    /// What its columns are called that have no name.
    pub(super) headings: Headings,
}

/// Plans a query and checks that it is one.
pub(super) async fn plan(tables: &Tables, reader: &Reader, statement: &Statement, sql: &str) -> Result<Query, Failure> {
    let query = planned_anyhow(tables, reader, statement).await;
    let query = query.map_err(|error| Failure::of_engine(error, &tables.session, sql))?;
    check_reads(&query.written).map_err(|_| Failure::read_only("this"))?;
    Ok(query)
}

/// With names for what has none, else as it is written, which is what an error is about.
async fn planned_anyhow(tables: &Tables, reader: &Reader, statement: &Statement) -> Result<Query, DataFusionError> {
    if let Some(named) = reader.named(statement)
        && let Ok(query) = planned_or_rewritten(tables, reader, &named).await
    {
        return Ok(query);
    }
    planned_or_rewritten(tables, reader, statement).await
}

/// As it is, else in the form that the engine knows.
async fn planned_or_rewritten(
    tables: &Tables,
    reader: &Reader,
    statement: &Statement,
) -> Result<Query, DataFusionError> {
    let error = match planned(tables, statement.clone()).await {
        Ok(query) => return Ok(query),
        Err(error) => error,
    };
    if let Ok(query) = planned(tables, reader.rewritten(statement)).await {
        return Ok(query);
    }
    if names::is_refused(&error)
        && let Some(without_stars) = without_stars(&tables.session.context().state(), statement).await
        && let Ok(query) = planned(tables, reader.rewritten(&without_stars)).await
    {
        return Ok(query);
    }
    Err(error)
}

async fn planned(tables: &Tables, statement: Statement) -> Result<Query, DataFusionError> {
    let (state, headings) = (tables.session.context().state(), Headings::of(&statement));
    let written = session::plan(&state, EngineStatement::Statement(Box::new(statement))).await?;
    let typed = match coerced(tables, &written) {
        // Values whose types are not known yet keep the others waiting.
        Err(_) if written.get_parameter_types().is_ok_and(|values| !values.is_empty()) => written.clone(),
        typed => typed?,
    };
    Ok(Query { written, typed, headings })
}

/// The plan with the types that its rows will have: before that, a union is said to have those of its first query.
fn coerced(tables: &Tables, plan: &LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    if matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_)) {
        return Ok(plan.clone());
    }
    let state = tables.session.context().state();
    state.analyzer().execute_and_check(plan.clone(), state.config_options(), |_, _| {})
}

impl Query {
    /// The columns that it gives for values of these types.
    pub(super) fn described(&self, tables: &Tables, wanted: &[Wanted]) -> SchemaRef {
        let described = match wanted {
            [] => None,
            wanted => with_types(self.written.clone(), wanted).and_then(|plan| coerced(tables, &plan)).ok(),
        };
        // What cannot be typed yet is told when it is bound.
        let plan = described.as_ref().unwrap_or(&self.typed);
        self.headings.over(&Arc::new(plan.schema().as_arrow().clone()))
    }

    /// The plan with values in the places of `$1`, `$2`, …
    pub(super) fn with_values(
        self,
        tables: &Tables,
        values: Option<&ParamValues>,
        described: &Schema,
        sql: &str,
    ) -> Result<LogicalPlan, Failure> {
        let Some(values) = values else { return Ok(self.typed) };
        let with = |plan: LogicalPlan| {
            let plan = with_lists(plan, values)?.replace_params_with_values(values)?;
            let plan = coerced(tables, &plan)?;
            as_described(plan, described)
        };
        // Values of unlikely types are cast to what the query implies.
        let bound = with(self.written).or_else(|error| with(self.typed).map_err(|_| error));
        bound.map_err(|error| Failure::of_engine(error, &tables.session, sql))
    }
}

/// The plan, told of which types its values are.
fn with_types(plan: LogicalPlan, wanted: &[Wanted]) -> Result<LogicalPlan, DataFusionError> {
    let stated = |name: &str| {
        let place: usize = name.strip_prefix('$')?.parse().ok()?;
        Some(Arc::new(Field::new(name, wanted.get(place.checked_sub(1)?)?.data_type()?, true)))
    };
    let typed = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        let typed = plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let typed = expression.transform_up(|inner| match inner {
                Expr::Placeholder(Placeholder { id, field }) => {
                    let field = stated(&id).or(field);
                    Ok(Transformed::yes(Expr::Placeholder(Placeholder { id, field })))
                }
                other => Ok(Transformed::no(other)),
            })?;
            Ok(typed.update_data(|typed| name.restore(typed)))
        })?;
        typed.map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(typed.data)
}

/// `x = any($1)` as `x in (…)`: the engine compares values of other types than the column's, and leaves files out.
fn with_lists(plan: LogicalPlan, values: &ParamValues) -> Result<LogicalPlan, DataFusionError> {
    let list = |arguments: &[Expr]| match arguments {
        [Expr::Placeholder(Placeholder { id, .. }), value] => {
            let ScalarValue::List(list) = values.get_placeholders_with_values(id).ok()?.into_inner().0 else {
                return None;
            };
            let elements = (!list.is_null(0)).then(|| list.value(0))?;
            let elements = (0..elements.len()).map(|place| ScalarValue::try_from_array(&elements, place).map(lit));
            let elements = elements.collect::<Result<Vec<Expr>, _>>().ok()?;
            // Nothing is among none, not even what is not known.
            Some(if elements.is_empty() { lit(false) } else { in_list(value.clone(), elements, false) })
        }
        _ => None,
    };
    let with = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let with = expression.transform_up(|inner| match &inner {
                Expr::ScalarFunction(function) if function.name() == "array_has" => {
                    Ok(list(&function.args).map_or(Transformed::no(inner), Transformed::yes))
                }
                _ => Ok(Transformed::no(inner)),
            })?;
            Ok(with.update_data(|with| name.restore(with)))
        })
    })?;
    Ok(with.data)
}

/// The plan with its columns in the types that were told.
fn as_described(plan: LogicalPlan, described: &Schema) -> Result<LogicalPlan, DataFusionError> {
    let columns: Vec<_> = plan.schema().iter().zip(described.fields()).collect();
    if columns.iter().all(|((_, field), told)| has_type_of(field, told)) {
        return Ok(plan);
    }
    let columns: Vec<Expr> = columns
        .into_iter()
        .map(|((qualifier, field), told)| {
            let column = Expr::Column(Column::from((qualifier, field)));
            if has_type_of(field, told) {
                return column;
            }
            cast(column, told.data_type().clone()).alias_qualified(qualifier.cloned(), field.name())
        })
        .collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}
