//! How many rows filters keep that ask for nulls.
//!
//! The engine builds the table of a join of the side that it thinks is smaller. It takes what `is null` keeps for a fifth of the
//! rows, whatever the columns hold; the publish log counts the nulls. Most tiers are of an offer, not of an SKU: with a fifth, the
//! larger side of a join with them is held in memory.
//!
//! Invariant: only estimates change, no answer does.

use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, IsNotNullExpr, IsNullExpr};
use datafusion::physical_expr::utils::split_conjunction;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

/// The engine's rules for physical plans, after ours.
pub(super) fn rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = vec![Arc::new(NullCounts)];
    rules.extend(PhysicalOptimizer::new().rules);
    rules
}

/// Tells each filter what its tests for null keep.
#[derive(Debug)]
struct NullCounts;

impl PhysicalOptimizerRule for NullCounts {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = plan.transform_up(|node| {
            let Some(filter) = node.downcast_ref::<FilterExec>() else { return Ok(Transformed::no(node)) };
            let Some(percent) = percent_kept(filter)? else { return Ok(Transformed::no(node)) };
            let filter = FilterExecBuilder::from(filter).with_default_selectivity(percent).build()?;
            Ok(Transformed::yes(Arc::new(filter) as _))
        });
        Ok(plan?.data)
    }

    fn name(&self) -> &'static str {
        "null_counts"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What a filter keeps of a hundred rows, where it asks for nulls that are counted. All its other conditions together are taken
/// for what the engine takes them for.
fn percent_kept(filter: &FilterExec) -> Result<Option<u8>> {
    let conditions = split_conjunction(filter.predicate());
    if !conditions.iter().any(|condition| null_test(condition).is_some()) {
        return Ok(None);
    }
    let stats = StatisticsContext::new().compute(filter.input().as_ref(), &StatisticsArgs::new())?;
    let mut kept = 100.0;
    let mut has_others = false;
    for condition in conditions {
        match null_test(condition).and_then(|test| share_kept(test, &stats)) {
            Some(share) => kept *= share,
            None => has_others = true,
        }
    }
    if has_others {
        kept *= f64::from(filter.default_selectivity()) / 100.0;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 100")]
    Ok(Some(kept.clamp(1.0, 100.0).round() as u8))
}

/// A column, and whether its nulls are kept.
fn null_test(condition: &Arc<dyn PhysicalExpr>) -> Option<(&Column, bool)> {
    let (value, keeps_nulls) = match (condition.downcast_ref::<IsNullExpr>(), condition.downcast_ref::<IsNotNullExpr>())
    {
        (Some(test), _) => (test.arg(), true),
        (_, Some(test)) => (test.arg(), false),
        _ => return None,
    };
    Some((value.downcast_ref::<Column>()?, keeps_nulls))
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn share_kept((column, keeps_nulls): (&Column, bool), stats: &Statistics) -> Option<f64> {
    let nulls = *stats.column_statistics.get(column.index())?.null_count.get_value()? as f64;
    let rows = *stats.num_rows.get_value()? as f64;
    let nulls = if rows > 0.0 { (nulls / rows).min(1.0) } else { return None };
    Some(if keeps_nulls { nulls } else { 1.0 - nulls })
}
