//! A query while it runs: planned and computed on the engine's threads, read batch by batch.
//!
//! Invariant: when [`Running`] is dropped the work ends, at the engine's next pause; no more than a batch waits to be read.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, ParamValues};
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::Statement;
use futures::StreamExt as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::failure::Failure;
use super::lake::Tables;
use super::statement::Reader;

/// Work on the engine's threads; dropped, it ends.
pub(super) struct Work<T>(JoinHandle<T>);

impl<T: Send + 'static> Work<T> {
    pub(super) fn start(engine: &Handle, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(engine.spawn(work))
    }

    /// What it came to; `None`: it panicked, or the server ends.
    pub(super) async fn done(&mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }
}

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A query that runs.
pub(super) struct Running {
    batches: mpsc::Receiver<Result<RecordBatch, DataFusionError>>,
    work: Work<()>,
}

impl Running {
    /// Runs a plan.
    pub(super) fn start(engine: &Handle, tables: &Arc<Tables>, plan: LogicalPlan) -> Self {
        let (sender, batches) = mpsc::channel(1);
        let tables = Arc::clone(tables);
        let work = Work::start(engine, async move {
            if let Err(error) = compute(&tables, plan, &sender).await {
                // Nobody reads any more: nobody wants to know.
                let _ = sender.send(Err(error)).await;
            }
        });
        Self { batches, work }
    }

    /// The next rows; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Result<RecordBatch, DataFusionError>> {
        match self.batches.recv().await {
            Some(batch) => Some(batch),
            // The channel also closes when the work panics: that is no end.
            None => match self.work.done().await {
                Some(()) => None,
                None => Some(Err(DataFusionError::Internal("the query broke off".into()))),
            },
        }
    }
}

async fn compute(
    tables: &Tables,
    plan: LogicalPlan,
    sender: &mpsc::Sender<Result<RecordBatch, DataFusionError>>,
) -> Result<(), DataFusionError> {
    let mut batches = tables.session.stream(plan).await?;
    while let Some(batch) = batches.next().await {
        if sender.send(Ok(batch?)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Plans a query and checks that it is one.
pub(super) async fn plan(
    tables: &Tables,
    reader: &Reader,
    statement: &Statement,
    sql: &str,
) -> Result<LogicalPlan, Failure> {
    let state = tables.session.context().state();
    let planned = |statement: Statement| state.statement_to_plan(EngineStatement::Statement(Box::new(statement)));
    let plan = match planned(statement.clone()).await {
        Ok(plan) => plan,
        Err(error) => match planned(reader.rewritten(statement)).await {
            Ok(plan) => plan,
            // What the writer wrote is what the error is about.
            Err(_) => return Err(Failure::of_engine(error, &tables.session, sql)),
        },
    };
    let only_queries = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    match only_queries.verify_plan(&plan) {
        Ok(()) => Ok(plan),
        Err(_) => Err(Failure::read_only("this")),
    }
}

/// A plan with its values in the place of `$1`, `$2`, …
pub(super) fn with_values(
    tables: &Tables,
    plan: LogicalPlan,
    values: Option<&ParamValues>,
    sql: &str,
) -> Result<LogicalPlan, Failure> {
    let Some(values) = values else { return Ok(plan) };
    plan.replace_params_with_values(values).map_err(|error| Failure::of_engine(error, &tables.session, sql))
}
