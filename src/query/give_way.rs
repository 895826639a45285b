//! Joins give way after each batch they make.
//!
//! One batch that goes into a join can become very many, and what reads them need not wait in between: then nothing of the
//! query ever waits, a cancelled one goes on, and a runtime whose threads it has hears no signal. Sources give way by
//! themselves.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

/// The plan with joins that give way.
pub(super) fn after_joins(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = plan.transform_up(|node| {
        let is_join = node.name().ends_with("JoinExec");
        Ok(if is_join { Transformed::yes(Arc::new(CooperativeExec::new(node)) as _) } else { Transformed::no(node) })
    });
    Ok(plan?.data)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::query::fixture::Lake;

    #[tokio::test]
    async fn a_query_that_makes_many_rows_of_few_lets_others_run() {
        let session = Lake::new().session();
        for sql in [
            "SELECT a.value, b.value FROM range(1, 10000000) AS a, range(1, 1000000) AS b ORDER BY 2 DESC, 1 LIMIT 3",
            "SELECT count(*) FROM range(1, 10000000) AS a JOIN range(1, 1000000) AS b ON a.value < b.value",
            "SELECT max(a.value + b.value) FROM range(1, 3000000) AS a JOIN range(1, 300000) AS b ON a.value % 2 = b.value % 2",
        ] {
            let work = async { session.sql(sql).await.unwrap().collect().await };
            // Both on one thread: the timer is only heard when the query gives way.
            assert!(tokio::time::timeout(Duration::from_millis(300), work).await.is_err(), "{sql}");
        }
    }
}
