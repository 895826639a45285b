//! Answers that are read piece by piece: portals of the protocol and cursors of SQL are the same.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use pgwire::api::results::FieldInfo;

use crate::query::Running;
use crate::query::headings::Headings;
use crate::serve::failure::Failure;
use crate::serve::lake::Tables;
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
    pub(super) headings: Headings,
    pub(super) sql: Arc<str>,
}

impl Source {
    /// Its columns, as they are called.
    pub(super) fn schema(&self) -> SchemaRef {
        self.headings.over(&Arc::new(self.plan.schema().as_arrow().clone()))
    }
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
    pub(super) fn new(source: &Source) -> Result<Self, Failure> {
        let running = source.tables.session.start(source.plan.clone()).map_err(|error| Failure::of(&error))?;
        Ok(Self { running, rest: None, tables: Arc::clone(&source.tables), sql: Arc::clone(&source.sql) })
    }

    pub(super) fn failure(&self, error: DataFusionError) -> Failure {
        Failure::of_engine(error, &self.tables.session, &self.sql)
    }
}
