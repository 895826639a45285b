//! SQL in, rows out: a DataFusion session over one snapshot of the lake.
//!
//! Invariant: read-only. Only queries run (`SELECT`, `WITH`, `VALUES`, `EXPLAIN`, `SHOW`, `DESCRIBE`).

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, ParamValues};
use datafusion::execution::FunctionRegistry as _;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;

use super::catalog::{LakeCatalog, Planner};
use super::days::WholeDays;
use super::give_way::{self, Stop};
use super::headings::{self, Headings};
use super::inspect::Scan;
use super::ledger::LedgerSource;
use super::published::{Focus, Published};
use super::running::Running;
use super::templates::Templates;
use super::user_views::UserView;
use super::{bounded, engine, error, estimates, functions, held, membership, names, scalars};
use crate::base::{Error, Result};
use crate::groups::{self, Groups, Matcher};
use crate::load::as_of::AsOf;
use crate::load::snapshot::Snapshot;
use crate::store::Store;

/// The catalog's name, as `SHOW TABLES` prints it.
pub const CATALOG: &str = "huopan";
/// Where the day ends that a run stands for.
pub const TIME_ZONE: &str = "Asia/Shanghai";
/// Under this address the lake's object store is known to DataFusion, whatever it really is.
const STORE_URL: &str = "lake://lake/";

/// What a session may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Memory for sorts, joins, aggregates and windows of all queries of the session, in bytes; sorts and aggregates that
    /// need more go through temporary files, joins and windows end with an error. Default 1 GiB.
    pub memory_bytes_max: usize,
    /// Threads per query. Default: one per core.
    pub target_partitions: Option<usize>,
    /// The publication to read. Default: the newest.
    pub as_of: Option<AsOf>,
    /// The user's own views.
    pub views: Vec<UserView>,
    /// Where the table `ledger` comes from. Default: it says that it does not know.
    pub ledger: Option<LedgerSource>,
    /// The one day that queries are about, unless they name `history` or a day of their own. Default: all.
    pub focus: Option<Focus>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory_bytes_max: 1 << 30,
            target_partitions: None,
            as_of: None,
            views: Vec::new(),
            ledger: None,
            focus: None,
        }
    }
}

/// A read-only session over one snapshot. Cheap to open: views are planned when first used.
pub struct Session {
    context: SessionContext,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// The rows of a query, as they are computed. Dropped, the work ends.
pub struct Answer {
    schema: SchemaRef,
    running: Running,
    tables: Arc<[String]>,
    plan: Arc<dyn ExecutionPlan>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Session {
    /// A session over what is published now in the lake at `root`.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::base::Kind::Config) if there is no lake, `Storage` or `Data` if its publish log cannot be
    /// read.
    pub async fn at(root: &Path, options: &Options) -> Result<Self> {
        Self::over(&Store::open_existing(root)?, options).await
    }

    /// A session over what is published in a lake, now or as `options` say, with the lake's groups.
    ///
    /// # Errors
    /// `Storage` or `Data` if its publish log or its groups cannot be read,
    /// [`Kind::Config`](crate::base::Kind::Config) if the log does not tell of `options.as_of`.
    pub async fn over(lake: &Store, options: &Options) -> Result<Self> {
        let snapshot = async {
            match &options.as_of {
                Some(as_of) => Snapshot::load_as_of(lake, as_of).await,
                None => Snapshot::load(lake).await,
            }
        };
        let (snapshot, groups) = futures::try_join!(snapshot, groups::read(lake))?;
        Self::with_groups(lake, snapshot, groups, options)
    }

    /// A session over exactly the files that `snapshot` names, without groups.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::base::Kind::Internal) if DataFusion cannot be set up.
    pub fn open(lake: &Store, snapshot: Snapshot, options: &Options) -> Result<Self> {
        Self::with_groups(lake, snapshot, Groups::default(), options)
    }

    /// A session over exactly the files that `snapshot` names, with these groups.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::base::Kind::Internal) if DataFusion cannot be set up.
    pub fn with_groups(lake: &Store, snapshot: Snapshot, groups: Groups, options: &Options) -> Result<Self> {
        let store = ObjectStoreUrl::parse(STORE_URL).map_err(|cause| error::explain(cause, &[]))?;
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_limit(options.memory_bytes_max, 1.0)
            .build_arc()
            .map_err(|cause| error::explain(cause, &[]))?;
        runtime.register_object_store(store.as_ref(), lake.object_store());
        let mut state = SessionStateBuilder::new_with_default_features()
            .with_config(config(options))
            .with_runtime_env(runtime)
            .with_optimizer_rules(bounded::with_bounds(membership::rules(), options.memory_bytes_max))
            .with_physical_optimizer_rules(estimates::rules())
            .build();
        state.register_function_rewrite(Arc::new(Templates)).map_err(|cause| error::explain(cause, &[]))?;
        state.register_function_rewrite(Arc::new(WholeDays)).map_err(|cause| error::explain(cause, &[]))?;
        let context = SessionContext::new_with_state(state);
        let weak = context.state_weak_ref();
        let planner = Planner::new(move || weak.upgrade().map(|state| state.read().clone()));
        let published = Published { focus: options.focus.clone(), ..Published::from(snapshot) };
        let published = Arc::new(published);
        functions::register(&context, &published, &planner);
        scalars::register(&context, &Arc::new(Matcher::new(&groups.lines)?));
        bounded::bound(&context, options.memory_bytes_max);
        let catalog = LakeCatalog::new(published, store, planner, Arc::new(groups), options);
        context.register_catalog(CATALOG, Arc::new(catalog));
        Ok(Self { context })
    }

    /// Runs one query.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::base::Kind::Config) for anything the writer of the query must change: syntax, an unknown
    /// name (with the nearest known one), a statement that is no query.
    pub async fn sql(&self, sql: &str) -> Result<Answer> {
        self.run(sql, None).await
    }

    /// Runs one query with values for `$1`, `$2`, …
    ///
    /// # Errors
    /// As [`Session::sql`].
    pub async fn sql_with(&self, sql: &str, values: Vec<ScalarValue>) -> Result<Answer> {
        self.run(sql, Some(ParamValues::from(values))).await
    }

    async fn run(&self, sql: &str, values: Option<ParamValues>) -> Result<Answer> {
        let tables: Arc<[String]> = self.table_names().into();
        let (context, text, stop) = (self.context.clone(), sql.to_owned(), Stop::default());
        let planned = engine::spawn({
            let stop = stop.clone();
            async move {
                let (plan, headings) = planned(&context, &text).await?;
                check_reads(&plan).map_err(|error| DataFusionError::External(Box::new(error)))?;
                let (plan, task) = prepared(&context, plan, values, &stop).await?;
                Ok((plan, task, headings))
            }
        })?;
        let planned = planned.await.map_err(|cause| Error::internal("the query cannot be planned").caused_by(cause))?;
        let planned: Result<_, DataFusionError> = planned;
        let (plan, task, headings) = planned.map_err(|cause| error::explain_in(cause, &tables, sql))?;
        let begin = {
            let plan = Arc::clone(&plan);
            async move { execute_stream(plan, task) }
        };
        let schema = headings.over(&plan.schema());
        Ok(Answer { schema, running: Running::start(stop, begin)?, tables, plan })
    }

    /// Runs a planned query, for stages above that plan by themselves.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::base::Kind::Internal) without threads to run it.
    pub fn start(&self, plan: LogicalPlan) -> Result<Running> {
        let (context, stop) = (self.context.clone(), Stop::default());
        Running::start(stop.clone(), async move {
            let (plan, task) = prepared(&context, plan, None, &stop).await?;
            execute_stream(plan, task)
        })
    }

    /// Tables and views, sorted.
    #[must_use]
    pub fn table_names(&self) -> Vec<String> {
        let catalog = self.context.catalog(CATALOG);
        catalog.and_then(|catalog| catalog.schema("public")).map(|schema| schema.table_names()).unwrap_or_default()
    }

    /// A failure of the session's engine, as the writer of the query reads it.
    #[must_use]
    pub fn explain(&self, cause: DataFusionError) -> Error {
        error::explain(cause, &self.table_names())
    }

    /// The DataFusion session, for stages above that serve it over the wire.
    #[must_use]
    pub fn context(&self) -> &SessionContext {
        &self.context
    }
}

/// The plan of a query, whose columns may be called the same, and what those are called that have no name.
async fn planned(context: &SessionContext, sql: &str) -> Result<(LogicalPlan, Headings), DataFusionError> {
    let state = context.state();
    let statement = state.sql_to_statement(sql, &state.config().options().sql_parser.dialect)?;
    let headings = Headings::of_engines(&statement);
    let Statement::Statement(written) = statement else { return Ok((plan(&state, statement).await?, headings)) };
    let mut named = written.clone();
    if headings::name_within(&mut named)
        && let Ok(plan) = told_apart(&state, *named).await
    {
        return Ok((plan, headings));
    }
    Ok((told_apart(&state, *written).await?, headings))
}

/// The plan of a statement, whose columns may be called the same; what the writer wrote is what an error is about.
async fn told_apart(state: &SessionState, statement: SqlStatement) -> Result<LogicalPlan, DataFusionError> {
    let own = |statement| plan(state, Statement::Statement(Box::new(statement)));
    let error = match own(statement.clone()).await {
        Err(error) if names::is_refused(&error) => error,
        done => return done,
    };
    let mut named = statement.clone();
    names::tell_apart(&mut named);
    if let Ok(plan) = own(named).await {
        return Ok(plan);
    }
    let Some(mut named) = without_stars(state, &statement).await else { return Err(error) };
    names::tell_apart(&mut named);
    own(named).await.map_err(|_| error)
}

/// The plan of a statement.
///
/// # Errors
/// What the engine does not take.
pub async fn plan(state: &SessionState, statement: Statement) -> Result<LogicalPlan, DataFusionError> {
    membership::before_orders(state.statement_to_plan(statement).await?)
}

/// A query that has several stars with the columns that they stand for.
pub async fn without_stars(state: &SessionState, statement: &SqlStatement) -> Option<SqlStatement> {
    let mut columns = Vec::new();
    for star in names::of_stars(statement) {
        let plan = state.statement_to_plan(Statement::Statement(Box::new(star))).await.ok()?;
        columns.push(Arc::clone(plan.schema()));
    }
    (!columns.is_empty()).then(|| names::without_stars(statement.clone(), &columns))
}

/// Checks that a plan is a query's: nothing that writes or changes an option.
///
/// # Errors
/// [`Kind::Config`](crate::base::Kind::Config) for what is none.
pub fn check_reads(plan: &LogicalPlan) -> Result<()> {
    let reads = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    reads.verify_plan(plan).map_err(|_| {
        Error::config("only queries run here: the lake is read-only")
            .with_hint("use SELECT, WITH, VALUES, EXPLAIN, SHOW or DESCRIBE")
    })
}

/// A query's plan, which `stop` stops, and what it runs with.
async fn prepared(
    context: &SessionContext,
    plan: LogicalPlan,
    values: Option<ParamValues>,
    stop: &Stop,
) -> Result<(Arc<dyn ExecutionPlan>, Arc<TaskContext>), DataFusionError> {
    let mut frame = context.execute_logical_plan(plan).await?;
    if let Some(values) = values {
        frame = frame.with_param_values(values)?;
    }
    let task = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await?;
    Ok((held::counted(give_way::after_joins(plan, stop)?)?, task))
}

fn config(options: &Options) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, "public")
        .with_information_schema(true)
        .with_parquet_bloom_filter_pruning(true)
        .with_parquet_page_index_pruning(true);
    if let Some(partitions) = options.target_partitions {
        config = config.with_target_partitions(partitions.max(1));
    }
    config.options_mut().sql_parser.collect_spans = true;
    // Money times a rate stays exact.
    config.options_mut().sql_parser.parse_float_as_decimal = true;
    // The days of the tables are Beijing's: `current_date` is one of them.
    config.options_mut().execution.time_zone = Some(TIME_ZONE.to_owned());
    // What a join has of one side would be asked of each row of the other as it is read: most rows of a day have their match.
    config.options_mut().optimizer.enable_join_dynamic_filter_pushdown = false;
    let parquet = &mut config.options_mut().execution.parquet;
    parquet.pushdown_filters = true;
    parquet.reorder_filters = true;
    config
}

impl Answer {
    /// The columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    #[cfg(test)]
    pub(super) fn running(&self) -> &Running {
        &self.running
    }

    /// How far the query has come, to be asked while rows are computed.
    #[must_use]
    pub fn scan(&self) -> Scan {
        Scan::of(&self.plan)
    }

    /// The next rows; `None` after the last.
    ///
    /// # Errors
    /// What went wrong while computing them.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let batch = self.running.next().await.transpose();
        let named =
            batch.and_then(|batch| Ok(batch.map(|batch| headings::renamed(batch, &self.schema)).transpose()?));
        named.map_err(|cause| error::explain(cause, &self.tables))
    }

    /// All rows, for answers known to be small.
    ///
    /// # Errors
    /// As [`Answer::next`].
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }
}
