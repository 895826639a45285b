//! The table `ledger`: calls by day, account and scope, as the state store counts them.
//!
//! It is read when a query asks for it, so that it says what is true then. Invariant: no state is created by reading.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef};
use async_trait::async_trait;
use chrono::TimeDelta;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::{MemTable, TableType};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use crate::base::Error;
use crate::base::time::beijing_day;
use crate::config::Pipeline;
use crate::config::pipeline::StateConfig;
use crate::state::{self, COUNTS_KEPT_DAYS, Counted};

/// Where calls are counted, and what a pipeline calls its accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerSource {
    state: StateConfig,
    accounts: Vec<NamedAccount>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NamedAccount {
    key: String,
    name: String,
    gateway: String,
    calls_per_day: Option<u64>,
}

impl LedgerSource {
    /// The state of a pipeline, with the names of its accounts.
    #[must_use]
    pub fn of_pipeline(pipeline: &Pipeline) -> Self {
        let details = pipeline.details.iter();
        let own = pipeline.accounts.iter().map(|account| (&pipeline.gateway, account));
        let other = details.flat_map(|details| details.accounts.iter().map(|account| (&details.gateway, account)));
        let named = own.chain(other).map(|(gateway, account)| NamedAccount {
            key: account.key.clone(),
            name: account.name.clone(),
            gateway: gateway.name.clone(),
            calls_per_day: account.calls_per_day,
        });
        Self { state: pipeline.state.clone(), accounts: named.collect() }
    }

    /// A state file; accounts are named by their keys.
    #[must_use]
    pub fn of_file(path: &std::path::Path) -> Self {
        Self { state: StateConfig::Sqlite(path.to_owned()), accounts: Vec::new() }
    }

    async fn counts(&self) -> crate::base::Result<Vec<Counted>> {
        if let StateConfig::Sqlite(path) = &self.state
            && !path.is_file()
        {
            return Ok(Vec::new());
        }
        let state = state::open(&self.state).await?;
        let today = beijing_day(state.now().await?);
        let mut counts = Vec::new();
        for ago in (0..=COUNTS_KEPT_DAYS).rev() {
            counts.extend(state.counts(today - TimeDelta::days(ago.into())).await?);
        }
        Ok(counts)
    }

    fn rows(&self, counts: &[Counted]) -> Result<RecordBatch> {
        let named = |counted: &Counted| self.accounts.iter().find(|account| account.key == counted.account);
        let number = |calls: u64| i64::try_from(calls).unwrap_or(i64::MAX);
        let limit = |counted: &Counted| named(counted).and_then(|account| account.calls_per_day);
        let texts = |text: &dyn Fn(&Counted) -> Option<String>| -> ArrayRef {
            Arc::new(counts.iter().map(text).collect::<StringArray>())
        };
        let days = counts.iter().map(|counted| Some(Date32Type::from_naive_date(counted.day)));
        let left = |counted: &Counted| limit(counted).map(|limit| number(limit.saturating_sub(counted.calls)));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(days.collect::<Date32Array>()),
            texts(&|counted| Some(named(counted).map_or(&counted.account, |account| &account.name).clone())),
            texts(&|counted| Some(counted.account.clone())),
            texts(&|counted| named(counted).map(|account| account.gateway.clone())),
            texts(&|counted| Some(counted.scope.clone())),
            Arc::new(counts.iter().map(|counted| Some(number(counted.calls))).collect::<Int64Array>()),
            Arc::new(counts.iter().map(|counted| limit(counted).map(number)).collect::<Int64Array>()),
            Arc::new(counts.iter().map(left).collect::<Int64Array>()),
        ];
        Ok(RecordBatch::try_new(schema(), columns)?)
    }
}

/// `dt, account, account_key, gateway?, scope, calls, calls_per_day?, calls_left?`
fn schema() -> SchemaRef {
    let text = |name: &str, is_nullable| Field::new(name, DataType::Utf8, is_nullable);
    let number = |name: &str, is_nullable| Field::new(name, DataType::Int64, is_nullable);
    Arc::new(Schema::new(vec![
        Field::new("dt", DataType::Date32, false),
        text("account", false),
        text("account_key", false),
        text("gateway", true),
        text("scope", false),
        number("calls", false),
        number("calls_per_day", true),
        number("calls_left", true),
    ]))
}

/// The table.
#[derive(Debug)]
pub(super) struct LedgerTable {
    source: Option<LedgerSource>,
}

impl LedgerTable {
    pub(super) fn new(source: Option<LedgerSource>) -> Self {
        Self { source }
    }
}

#[async_trait]
impl TableProvider for LedgerTable {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let external = |error: Error| DataFusionError::External(error.into());
        let Some(source) = &self.source else {
            return Err(external(
                Error::config("nothing says whose calls the table `ledger` counts")
                    .with_hint("name the pipeline: `--pipeline FILE`"),
            ));
        };
        let rows = source.rows(&source.counts().await.map_err(external)?)?;
        let table = MemTable::try_new(schema(), vec![vec![rows]])?;
        table.scan(state, projection, filters, limit).await
    }
}
