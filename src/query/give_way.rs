//! Joins that end when their query is not wanted any more.
//!
//! One batch that goes into a join can become very many. What reads them need not wait in between: then nothing of the query
//! ever waits, and a cancelled one goes on. So joins give way after each batch they make. A filter may leave no batch of
//! billions of pairs: so those of joins look whether the query is still wanted. Sources give way by themselves.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};

/// Whether a query is to end.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// The query is not wanted any more.
    pub(super) fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Tells whether a filter that looks at it is still in use.
    #[cfg(test)]
    pub(super) fn is_held(&self) -> impl Fn() -> bool + use<> {
        let weak = Arc::downgrade(&self.0);
        move || weak.strong_count() > 0
    }
}

/// The plan with joins that give way and that `stop` stops.
pub(super) fn after_joins(plan: Arc<dyn ExecutionPlan>, stop: &Stop) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = plan.transform_up(|node| {
        if !node.name().ends_with("JoinExec") {
            return Ok(Transformed::no(node));
        }
        let node = match (node.downcast_ref::<NestedLoopJoinExec>(), node.downcast_ref::<HashJoinExec>()) {
            (Some(join), _) if join.filter().is_some() => {
                let filter = join.filter().map(|filter| stoppable(filter, stop));
                Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(filter).build()?)
            }
            (_, Some(join)) if join.filter().is_some() => {
                let filter = join.filter().map(|filter| stoppable(filter, stop));
                join.builder().with_filter(filter).build_exec()?
            }
            _ => node,
        };
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as _))
    });
    Ok(plan?.data)
}

fn stoppable(filter: &JoinFilter, stop: &Stop) -> JoinFilter {
    let condition = Stoppable { condition: Arc::clone(filter.expression()), stop: stop.clone() };
    JoinFilter::new(Arc::new(condition), filter.column_indices().to_vec(), Arc::clone(filter.schema()))
}

/// A condition that fails once its query is to end.
#[derive(Debug)]
struct Stoppable {
    condition: Arc<dyn PhysicalExpr>,
    stop: Stop,
}

impl PhysicalExpr for Stoppable {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.stop.is_stopped() {
            return Err(DataFusionError::Execution("the query was stopped".to_owned()));
        }
        self.condition.evaluate(batch)
    }

    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.condition.return_field(input_schema)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.condition]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match children.pop() {
            Some(condition) => Ok(Arc::new(Self { condition, stop: self.stop.clone() })),
            None => Ok(self),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt_sql(f)
    }
}

impl fmt::Display for Stoppable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt(f)
    }
}

impl PartialEq for Stoppable {
    fn eq(&self, other: &Self) -> bool {
        self.condition.eq(&other.condition) && Arc::ptr_eq(&self.stop.0, &other.stop.0)
    }
}

impl Eq for Stoppable {}

impl Hash for Stoppable {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.condition.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::query::fixture::Lake;

    #[tokio::test]
    async fn a_query_that_would_compute_for_hours_ends_when_nobody_wants_it() {
        let session = Lake::new().session();
        for sql in [
            "SELECT count(*) FROM range(1, 100000000000) AS a WHERE value % 7 = 3",
            "SELECT a.value, b.value FROM range(1, 10000000) AS a, range(1, 1000000) AS b ORDER BY 2 DESC, 1 LIMIT 3",
            "SELECT count(*) FROM range(1, 10000000) AS a JOIN range(1, 1000000) AS b ON a.value < b.value",
            "SELECT max(a.value + b.value) FROM range(1, 3000000) AS a JOIN range(1, 300000) AS b ON a.value % 2 = b.value % 2",
            "SELECT count(*) FROM range(1, 1000000) AS a, range(1, 1000000) AS b WHERE a.value * b.value % 1000003 = 7",
            "SELECT count(*) FROM range(1, 3000000) AS a JOIN range(1, 300000) AS b
             ON a.value % 2 = b.value % 2 AND a.value * b.value % 1000003 = -7",
            "SELECT count(*) FROM range(1, 1000000) AS a WHERE EXISTS
             (SELECT 1 FROM range(1, 1000000) AS b WHERE a.value * b.value % 1000003 = -7)",
            "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 0 FROM t) SELECT count(*) FROM t",
        ] {
            let mut answer = session.sql(sql).await.unwrap();
            let is_at_work = answer.running().is_at_work();
            assert!(tokio::time::timeout(Duration::from_millis(300), answer.next()).await.is_err(), "{sql}");
            drop(answer);
            let ends = async {
                while is_at_work() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            assert!(tokio::time::timeout(Duration::from_secs(20), ends).await.is_ok(), "{sql}");
        }
    }
}
