//! Answers that are read piece by piece: portals of the protocol and cursors of SQL are the same.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use pgwire::api::results::FieldInfo;

use crate::serve::failure::Failure;
use crate::serve::lake::Tables;
use crate::serve::running::Running;
use crate::serve::statement::Parsed;

/// Something bound, to be executed.
pub(super) struct Portal {
    pub(super) what: What,
    /// How the client wants the columns.
    pub(super) formats: Vec<i16>,
    /// It survives the end of its transaction (`WITH HOLD`).
    pub(super) is_held: bool,
}

pub(super) enum What {
    /// A text without a statement.
    Empty,
    /// What is no query.
    Command(Box<Parsed>, Option<Box<Source>>),
    Answer(Box<Answer>),
}

/// A query with its values.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) tables: Arc<Tables>,
    pub(super) plan: LogicalPlan,
    pub(super) sql: Arc<str>,
}

/// A query's answer, begun or not.
pub(super) struct Answer {
    pub(super) source: Source,
    pub(super) columns: Vec<FieldInfo>,
    /// What `SELECT 5` at the end calls it.
    pub(super) tag: &'static str,
    pub(super) open: Option<Open>,
    /// All rows have been sent.
    pub(super) is_done: bool,
}

/// An answer that has begun.
pub(super) struct Open {
    pub(super) running: Running,
    /// Rows that were computed but not yet asked for.
    pub(super) rest: Option<RecordBatch>,
    tables: Arc<Tables>,
    sql: Arc<str>,
}

impl Open {
    pub(super) fn new(engine: &tokio::runtime::Handle, source: &Source) -> Self {
        let running = Running::start(engine, &source.tables, source.plan.clone());
        Self { running, rest: None, tables: Arc::clone(&source.tables), sql: Arc::clone(&source.sql) }
    }

    pub(super) fn failure(&self, error: DataFusionError) -> Failure {
        Failure::of_engine(error, &self.tables.session, &self.sql)
    }
}
