//! How many rows filters keep that ask for nulls: those that keep all are left out.
//!
//! The engine builds the table of a join of the side that it thinks is smaller. It takes what `is null` keeps for a fifth of the
//! rows, whatever the columns hold; the publish log counts the nulls. Most tiers are of an offer, not of an SKU: with a fifth, the
//! larger side of a join with them is held in memory.
//!
//! Invariant: no answer changes.

use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, IsNotNullExpr, IsNullExpr};
use datafusion::physical_expr::{conjunction, split_conjunction};
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
            let Some(kept) = Kept::by(filter)? else { return Ok(Transformed::no(node)) };
            if kept.conditions.is_empty() && filter.projection().is_none() {
                return Ok(Transformed::yes(Arc::clone(filter.input())));
            }
            let predicate = conjunction(kept.conditions);
            let filter =
                FilterExecBuilder::from(filter).with_predicate(predicate).with_default_selectivity(kept.percent);
            Ok(Transformed::yes(Arc::new(filter.build()?) as _))
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

/// What a filter keeps that asks for nulls.
struct Kept {
    /// Its conditions, without those that hold for every row.
    conditions: Vec<Arc<dyn PhysicalExpr>>,
    /// Of a hundred rows. All conditions but those for nulls are together taken for what the engine takes them for.
    percent: u8,
}

impl Kept {
    /// `None`: it does not ask for nulls.
    fn by(filter: &FilterExec) -> Result<Option<Self>> {
        let conditions = split_conjunction(filter.predicate());
        if !conditions.iter().any(|condition| null_test(condition).is_some()) {
            return Ok(None);
        }
        let stats = StatisticsContext::new().compute(filter.input().as_ref(), &StatisticsArgs::new())?;
        let (mut kept, mut has_others) = (100.0, false);
        let mut needed = Vec::new();
        for condition in conditions {
            let test = null_test(condition);
            match test.and_then(|test| share_kept(test, &stats)) {
                Some(share) => kept *= share,
                None => has_others = true,
            }
            if !test.is_some_and(|test| holds_always(test, &stats)) {
                needed.push(Arc::clone(condition));
            }
        }
        if has_others {
            kept *= f64::from(filter.default_selectivity()) / 100.0;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 100")]
        let percent = kept.clamp(1.0, 100.0).round() as u8;
        Ok(Some(Self { conditions: needed, percent }))
    }
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

/// Whether a test keeps every row, as counts tell that are exact.
fn holds_always((column, keeps_nulls): (&Column, bool), stats: &Statistics) -> bool {
    let nulls = stats.column_statistics.get(column.index()).map(|column| &column.null_count);
    match (nulls, &stats.num_rows) {
        (Some(Precision::Exact(nulls)), Precision::Exact(rows)) => *nulls == if keeps_nulls { *rows } else { 0 },
        _ => false,
    }
}
