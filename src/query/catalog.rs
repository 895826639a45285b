//! Tables and views by name. Nothing is planned before a query names it: a session costs what it uses.
//!
//! The catalog has one schema per [`Selection`] of days; only `public` is listed.
//!
//! Invariant: looking up a name does no I/O.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Date32Type, Field, Schema};
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::{DFSchema, DataFusionError, Result};
use datafusion::datasource::{MemTable, TableType, ViewTable};
use datafusion::execution::SessionState;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{EmptyRelation, LogicalPlan};
use datafusion::sql::parser::Statement;

use super::ledger::{LedgerSource, LedgerTable};
use super::published::{Published, Selection};
use super::session::Options;
use super::table::PublishedTable;
use super::user_views::UserView;
use super::{error, headings, views};
use crate::base::Error;
use crate::groups::Groups;
use crate::transform::contract::Table;

/// The table of published days: `pipeline, dt, previous_dt, is_latest`.
const DAYS: &str = "days";
/// The lines of the groups file.
const GROUPS: &str = "groups";
/// Calls by day and account.
const LEDGER: &str = "ledger";
/// Tables of `public` that are in no contract.
pub(super) const OWN_TABLES: [&str; 3] = [DAYS, GROUPS, LEDGER];
/// In `latest` and `as_of_…`: rows of offers that another pipeline fetched later.
const SUPERSEDED: &str = "superseded";

/// Plans SQL in the session a catalog belongs to.
#[derive(Clone)]
pub(super) struct Planner(Arc<dyn Fn() -> Option<SessionState> + Send + Sync>);

impl Planner {
    /// `state` gives the session's state, or nothing once the session is closed.
    pub(super) fn new(state: impl Fn() -> Option<SessionState> + Send + Sync + 'static) -> Self {
        Self(Arc::new(state))
    }

    pub(super) async fn plan(&self, sql: &str) -> Result<LogicalPlan> {
        let state = (self.0)().ok_or_else(|| DataFusionError::Internal("the session is closed".into()))?;
        state.create_logical_plan(sql).await
    }

    /// Plans a view that somebody else wrote: columns without a name are called as they are written.
    async fn plan_view(&self, sql: &str) -> Result<LogicalPlan> {
        let state = (self.0)().ok_or_else(|| DataFusionError::Internal("the session is closed".into()))?;
        let statement = state.sql_to_statement(sql, &state.config().options().sql_parser.dialect)?;
        if let Statement::Statement(written) = &statement {
            let mut named = written.clone();
            if headings::name_all(&mut named)
                && let Ok(plan) = state.statement_to_plan(Statement::Statement(named)).await
            {
                return Ok(plan);
            }
        }
        state.statement_to_plan(statement).await
    }
}

impl fmt::Debug for Planner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Planner")
    }
}

/// The catalog `huopan`.
#[derive(Debug)]
pub(super) struct LakeCatalog {
    source: Source,
    schemas: Mutex<HashMap<Selection, Arc<LakeSchema>>>,
}

/// What every schema of the catalog is made from.
#[derive(Debug, Clone)]
struct Source {
    published: Arc<Published>,
    store: ObjectStoreUrl,
    planner: Planner,
    groups: Arc<Groups>,
    user_views: Arc<[UserView]>,
    ledger: Option<LedgerSource>,
}

impl LakeCatalog {
    pub(super) fn new(
        published: Arc<Published>,
        store: ObjectStoreUrl,
        planner: Planner,
        groups: Arc<Groups>,
        options: &Options,
    ) -> Self {
        let (user_views, ledger) = (options.views.as_slice().into(), options.ledger.clone());
        let source = Source { published, store, planner, groups, user_views, ledger };
        Self { source, schemas: Mutex::default() }
    }
}

impl CatalogProvider for LakeCatalog {
    fn schema_names(&self) -> Vec<String> {
        vec![Selection::All.schema_sql()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let selection = Selection::from_schema_name(name)?;
        let mut schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        let schema = schemas.entry(selection).or_insert_with(|| {
            Arc::new(LakeSchema { selection, source: self.source.clone(), planned: Mutex::default() })
        });
        Some(Arc::clone(schema) as Arc<dyn SchemaProvider>)
    }
}

/// The tables over one selection of days; `public` has the views too.
#[derive(Debug)]
struct LakeSchema {
    selection: Selection,
    source: Source,
    planned: Mutex<HashMap<String, Arc<dyn TableProvider>>>,
}

impl LakeSchema {
    /// The query of a view, shipped or the user's.
    fn view(&self, name: &str) -> Option<&str> {
        if self.selection != Selection::All {
            return None;
        }
        views::find(name).map(|view| view.sql).or_else(|| self.users(name).map(|view| view.sql.as_str()))
    }

    /// A view of the user's.
    fn users(&self, name: &str) -> Option<&UserView> {
        self.source.user_views.iter().find(|view| view.name == name)
    }

    /// A day before all others would show nothing, as if nobody had sold anything.
    fn check_day(&self) -> Result<()> {
        let (Selection::AsOf(day), Some(first)) = (self.selection, self.source.published.first_day()) else {
            return Ok(());
        };
        if first <= day {
            return Ok(());
        }
        let error = Error::config(format!("nothing was published for {day} or an earlier day"));
        Err(DataFusionError::External(Box::new(error.with_hint(format!("the first published day is {first}")))))
    }

    fn is_own(&self, name: &str) -> bool {
        self.selection == Selection::All && OWN_TABLES.contains(&name)
    }

    fn is_superseded(&self, name: &str) -> bool {
        matches!(self.selection, Selection::Latest | Selection::AsOf(_)) && name == SUPERSEDED
    }

    async fn build(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Source { published, store, planner, groups, ledger, .. } = &self.source;
        if let Some(table) = contract(name) {
            self.check_day()?;
            let table = PublishedTable::new(published, table, self.selection, store.clone())?;
            return Ok(Some(Arc::new(table)));
        }
        if let Some(sql) = self.view(name) {
            let plan = match self.users(name) {
                Some(view) => planner.plan_view(sql).await.map_err(|cause| {
                    DataFusionError::External(Box::new(error::explain_view(cause, view, &self.table_names())))
                })?,
                None => planner.plan(sql).await.map_err(|cause| cause.context(format!("view `{name}`")))?,
            };
            return Ok(Some(Arc::new(ViewTable::new(plan, Some(sql.to_owned())))));
        }
        if self.is_own(name) {
            return Ok(Some(match name {
                DAYS => Arc::new(days_table(published)?),
                GROUPS => Arc::new(groups_table(groups)?),
                _ => Arc::new(LedgerTable::new(ledger.clone())),
            }));
        }
        if self.is_superseded(name) {
            return self.superseded().await.map(Some);
        }
        Ok(None)
    }

    /// With one pipeline there is nothing to supersede: an empty relation, which the optimizer removes
    /// together with the join on it.
    async fn superseded(&self) -> Result<Arc<dyn TableProvider>> {
        let sql = views::SUPERSEDED.replace("{day}", &self.selection.schema_sql());
        let mut plan = self.source.planner.plan(&sql).await?;
        if !self.source.published.shows_several_pipelines(self.selection) {
            let schema = DFSchema::try_from(plan.schema().as_arrow().clone())?;
            plan = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema: Arc::new(schema) });
        }
        Ok(Arc::new(ViewTable::new(plan, Some(sql))))
    }
}

#[async_trait]
impl SchemaProvider for LakeSchema {
    fn table_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Table::ALL.iter().map(|table| table.name().to_owned()).collect();
        if self.selection == Selection::All {
            names.extend(views::VIEWS.iter().map(|view| view.name.to_owned()));
            names.extend(self.source.user_views.iter().map(|view| view.name.clone()));
            names.extend(OWN_TABLES.map(str::to_owned));
        }
        names.sort_unstable();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(found) = self.planned.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(Some(Arc::clone(found)));
        }
        let built = self.build(name).await?;
        if let Some(table) = &built {
            let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
            planned.insert(name.to_owned(), Arc::clone(table));
        }
        Ok(built)
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        let table_type = if self.view(name).is_some() { TableType::View } else { TableType::Base };
        Ok(self.table_exist(name).then_some(table_type))
    }

    fn table_exist(&self, name: &str) -> bool {
        contract(name).is_some() || self.view(name).is_some() || self.is_own(name) || self.is_superseded(name)
    }
}

fn contract(name: &str) -> Option<Table> {
    Table::ALL.into_iter().find(|table| table.name() == name)
}

/// `group_name, shop_id, offer_id, title_pattern, is_ours, quantity, pack_size`: one row per line of the groups file.
fn groups_table(groups: &Groups) -> Result<MemTable> {
    let lines = &groups.lines;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("group_name", Arc::new(lines.iter().map(|line| Some(line.group.as_str())).collect::<StringArray>())),
        ("shop_id", Arc::new(lines.iter().map(|line| line.shop_id.as_deref()).collect::<StringArray>())),
        ("offer_id", Arc::new(lines.iter().map(|line| line.offer_id).collect::<Int64Array>())),
        ("title_pattern", Arc::new(lines.iter().map(|line| line.title.as_deref()).collect::<StringArray>())),
        ("is_ours", Arc::new(lines.iter().map(|line| Some(line.ours)).collect::<BooleanArray>())),
        ("quantity", Arc::new(lines.iter().map(|line| line.quantity).collect::<Int64Array>())),
        ("pack_size", Arc::new(lines.iter().map(|line| line.pack_size).collect::<Int32Array>())),
    ];
    let columns = columns.into_iter().map(|(name, column)| {
        let is_nullable = !matches!(name, "group_name" | "is_ours");
        (name, column, is_nullable)
    });
    let batch = RecordBatch::try_from_iter_with_nullable(columns)?;
    MemTable::try_new(batch.schema(), vec![vec![batch]])
}

fn days_table(published: &Published) -> Result<MemTable> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("pipeline", DataType::Utf8, false),
        Field::new("dt", DataType::Date32, false),
        Field::new("previous_dt", DataType::Date32, true),
        Field::new("is_latest", DataType::Boolean, false),
    ]));
    let (mut pipelines, mut dts, mut previous, mut latest) = (vec![], vec![], vec![], vec![]);
    for (pipeline, days) in &published.days {
        let mut before = None;
        for day in days {
            pipelines.push(pipeline.as_str());
            dts.push(Date32Type::from_naive_date(*day));
            previous.push(before.replace(*day).map(Date32Type::from_naive_date));
            latest.push(days.last() == Some(day));
        }
    }
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(StringArray::from(pipelines)),
            Arc::new(Date32Array::from(dts)),
            Arc::new(Date32Array::from(previous)),
            Arc::new(BooleanArray::from(latest)),
        ],
    )?;
    MemTable::try_new(schema, vec![vec![batch]])
}
