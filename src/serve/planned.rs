//! Queries before they run: planned as they are, else as the engine knows them, and bound to values.

use datafusion::common::{DataFusionError, ParamValues};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::Statement;

use super::failure::Failure;
use super::lake::Tables;
use super::statement::Reader;
use crate::query::session::check_reads;

/// Plans a query and checks that it is one.
pub(super) async fn plan(
    tables: &Tables,
    reader: &Reader,
    statement: &Statement,
    sql: &str,
) -> Result<LogicalPlan, Failure> {
    let plan = match planned(tables, statement.clone()).await {
        Ok(plan) => plan,
        Err(error) => match planned(tables, reader.rewritten(statement)).await {
            Ok(plan) => plan,
            // What the writer wrote is what the error is about.
            Err(_) => return Err(Failure::of_engine(error, &tables.session, sql)),
        },
    };
    check_reads(&plan).map_err(|_| Failure::read_only("this"))?;
    Ok(plan)
}

async fn planned(tables: &Tables, statement: Statement) -> Result<LogicalPlan, DataFusionError> {
    let state = tables.session.context().state();
    let plan = state.statement_to_plan(EngineStatement::Statement(Box::new(statement))).await?;
    match coerced(tables, &plan) {
        // Values whose types are not known yet keep the others waiting.
        Err(_) if plan.get_parameter_types().is_ok_and(|values| !values.is_empty()) => Ok(plan),
        done => done,
    }
}

/// The plan with the types that its rows will have: before that, a union is said to have those of its first query.
fn coerced(tables: &Tables, plan: &LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    if matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_)) {
        return Ok(plan.clone());
    }
    let state = tables.session.context().state();
    state.analyzer().execute_and_check(plan.clone(), state.config_options(), |_, _| {})
}

/// A plan with its values in the place of `$1`, `$2`, …
pub(super) fn with_values(
    tables: &Tables,
    plan: LogicalPlan,
    values: Option<&ParamValues>,
    sql: &str,
) -> Result<LogicalPlan, Failure> {
    let Some(values) = values else { return Ok(plan) };
    let bound = plan.replace_params_with_values(values).and_then(|plan| coerced(tables, &plan));
    bound.map_err(|error| Failure::of_engine(error, &tables.session, sql))
}
