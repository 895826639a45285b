//! PostgreSQL's system catalog and functions, as clients ask for them before they ask for anything else.
//!
//! The tables of `pg_catalog` are made from the lake's own catalog; one of them serves all connections, so that the numbers
//! (`oid`) it gives to tables stay the same while the server runs.
//!
//! Invariant: read-only, and nothing in here looks outside of the lake's catalog.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::{AsArray as _, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Signature, SimpleScalarUDF, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::{PgCatalogContextProvider, Role};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::generate_series_arg_coercion::CoerceIntArgsToBigInt;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::oid_type_planner::PgOidTypePlanner;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::{
    self as pg, PG_CATALOG_TABLES, PgCatalogSchemaProvider, PgCatalogStaticTables, array_bounds_udf, format_type,
    has_privilege_udf, pg_get_expr_udf, quote_ident_udf,
};
use pgwire::api::Type;

use super::information::{INFORMATION_SCHEMA, InformationSchema};
use super::settings::{SERVER_VERSION, Settings};
use super::users::Users;
use crate::query::session::CATALOG;

const PG_CATALOG: &str = "pg_catalog";

/// `pg_catalog` of a server.
pub(super) struct PgCatalog {
    tables: Arc<dyn SchemaProvider>,
    keywords: Arc<PgCatalogStaticTables>,
    lake: LakeTables,
}

impl fmt::Debug for PgCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PgCatalog")
    }
}

impl PgCatalog {
    pub(super) fn new(users: Arc<Users>) -> datafusion::common::Result<Self> {
        let lake = LakeTables::default();
        let keywords = Arc::new(PgCatalogStaticTables::try_new()?);
        let tables = PgCatalogSchemaProvider::try_new(lake.clone(), Arc::clone(&keywords), Roles(users))?;
        Ok(Self { tables: Arc::new(tables), keywords, lake })
    }

    /// From now on the catalog lists what this session sees.
    pub(super) fn list(&self, session: &SessionContext) {
        *self.lake.0.write().unwrap_or_else(PoisonError::into_inner) = session.catalog(CATALOG);
    }

    /// Makes a session of the lake one that PostgreSQL's clients understand.
    pub(super) fn install(&self, session: &SessionContext, user: &str, settings: &Settings) {
        let Some(lake) = session.catalog(CATALOG) else { return };
        for function in functions(user) {
            session.register_udf(function);
        }
        set(session, settings);
        session.register_udtf("pg_get_keywords", self.keywords.pg_get_keywords.clone());
        let functions = session.state().table_functions().clone();
        let information = Arc::new(InformationSchema::new(Arc::clone(&lake), functions));
        let tables = Arc::clone(&self.tables);
        session.register_catalog(CATALOG, Arc::new(WithPgCatalog { lake, tables, information }));
        let state = session.state_ref();
        let mut state = state.write();
        let mut new =
            SessionStateBuilder::new_from_existing(state.clone()).with_type_planner(Arc::new(PgOidTypePlanner));
        if let Some(config) = new.config() {
            // There is one of ours.
            config.options_mut().catalog.information_schema = false;
        }
        *state = new.build();
        drop(state);
        CoerceIntArgsToBigInt::widen(session);
    }
}

/// Makes a session know its connection's settings.
pub(super) fn set(session: &SessionContext, settings: &Settings) {
    let state = session.state_ref();
    state.write().config_mut().options_mut().execution.time_zone = Some(settings.time_zone());
    session.register_udf(current_setting(settings.clone()));
}

/// The lake's catalog with two schemas more.
#[derive(Debug)]
struct WithPgCatalog {
    lake: Arc<dyn CatalogProvider>,
    tables: Arc<dyn SchemaProvider>,
    information: Arc<InformationSchema>,
}

impl CatalogProvider for WithPgCatalog {
    /// As the lake: `information_schema` and `SHOW TABLES` list what analysts want to see.
    fn schema_names(&self) -> Vec<String> {
        self.lake.schema_names()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        match name {
            PG_CATALOG => Some(Arc::clone(&self.tables)),
            INFORMATION_SCHEMA => Some(Arc::clone(&self.information) as Arc<dyn SchemaProvider>),
            _ => self.lake.schema(name),
        }
    }
}

/// What `pg_class`, `pg_attribute` and their like list.
#[derive(Clone, Default)]
struct LakeTables(Arc<RwLock<Option<Arc<dyn CatalogProvider>>>>);

impl fmt::Debug for LakeTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LakeTables")
    }
}

impl LakeTables {
    fn schema(&self, catalog: &str, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let lake = self.0.read().unwrap_or_else(PoisonError::into_inner);
        lake.as_ref().filter(|_| catalog == CATALOG)?.schema(name)
    }
}

#[async_trait]
impl CatalogInfo for LakeTables {
    async fn catalog_names(&self) -> Result<Vec<String>, DataFusionError> {
        Ok(vec![CATALOG.to_owned()])
    }

    async fn schema_names(&self, catalog: &str) -> Result<Option<Vec<String>>, DataFusionError> {
        let lake = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let names = lake.as_ref().filter(|_| catalog == CATALOG).map(|lake| lake.schema_names());
        Ok(names.map(|names| names.into_iter().chain([PG_CATALOG.to_owned()]).collect()))
    }

    async fn table_names(&self, catalog: &str, schema: &str) -> Result<Option<Vec<String>>, DataFusionError> {
        if schema == PG_CATALOG {
            return Ok(Some(PG_CATALOG_TABLES.iter().map(|name| (*name).to_owned()).collect()));
        }
        Ok(self.schema(catalog, schema).map(|schema| schema.table_names()))
    }

    async fn table_schema(
        &self,
        catalog: &str,
        schema: &str,
        table: &str,
    ) -> Result<Option<SchemaRef>, DataFusionError> {
        let Some(schema) = self.schema(catalog, schema) else { return Ok(None) };
        Ok(schema.table(table).await?.map(|table| table.schema()))
    }

    async fn table_type(&self, catalog: &str, schema: &str, table: &str) -> Result<Option<TableType>, DataFusionError> {
        let Some(schema) = self.schema(catalog, schema) else { return Ok(None) };
        schema.table_type(table).await
    }
}

/// `pg_roles`: who may log in.
#[derive(Debug, Clone)]
struct Roles(Arc<Users>);

#[async_trait]
impl PgCatalogContextProvider for Roles {
    async fn roles(&self) -> Vec<String> {
        self.0.names()
    }

    async fn role(&self, name: &str) -> Option<Role> {
        Some(Role {
            name: name.to_owned(),
            is_superuser: false,
            can_login: true,
            can_create_db: false,
            can_create_role: false,
            can_create_user: false,
            can_replication: false,
            grants: Vec::new(),
            inherited_roles: Vec::new(),
        })
    }
}

fn functions(user: &str) -> Vec<ScalarUDF> {
    let version = format!("PostgreSQL {SERVER_VERSION}, DataFusion {}", datafusion::DATAFUSION_VERSION);
    let mut functions = vec![
        text("version", &[], Some(version)),
        text("session_user", &[], Some(user.to_owned())),
        text("pg_get_userbyid", &[DataType::Int32], Some(CATALOG.to_owned())),
        text("obj_description", &[DataType::Int64, DataType::Utf8], None),
        text("shobj_description", &[DataType::Int64, DataType::Utf8], None),
        text("col_description", &[DataType::Int64, DataType::Int64], None),
        text("pg_get_indexdef", &[DataType::Int64, DataType::Int64, DataType::Boolean], None),
        text("pg_get_function_arguments", &[DataType::Int64], None),
        text("pg_get_function_identity_arguments", &[DataType::Int64], None),
        text("pg_get_function_result", &[DataType::Int64], None),
        text("pg_get_function_sqlbody", &[DataType::Int64], None),
        text("pg_tablespace_location", &[DataType::Int64], None),
        boolean("pg_is_in_recovery", &[], false),
        boolean("pg_function_is_visible", &[DataType::Int64], true),
        boolean("pg_type_is_visible", &[DataType::Int64], true),
    ];
    // What a table takes on the disk is not its own: files are the lake's.
    functions.extend(
        ["pg_table_size", "pg_indexes_size", "pg_database_size", "pg_tablespace_size"]
            .map(|name| with_any_arguments(name, ScalarValue::Int64(None))),
    );
    functions.push(with_any_arguments("pg_get_viewdef", ScalarValue::Utf8(None)));
    let types = Arc::new(oids_of_types);
    functions.push(create_udf("to_regtype", vec![DataType::Utf8], DataType::Int64, Volatility::Immutable, types));
    functions.push(create_udf(
        "pg_size_pretty",
        vec![DataType::Int64],
        DataType::Utf8,
        Volatility::Immutable,
        Arc::new(sizes),
    ));
    functions.extend(
        ["has_table_privilege", "has_schema_privilege", "has_database_privilege", "has_any_column_privilege"]
            .map(has_privilege_udf::create_has_privilege_udf),
    );
    functions.extend([
        pg::create_current_database_udf(CATALOG),
        pg::create_current_schema_udf(),
        pg::create_current_schemas_udf(),
        pg::create_pg_table_is_visible(),
        pg::create_pg_get_partkeydef_udf(),
        pg::create_pg_relation_is_publishable_udf(),
        pg::create_pg_get_statisticsobjdef_columns_udf(),
        pg::create_pg_encoding_to_char_udf(),
        pg::create_pg_backend_pid_udf(),
        pg::create_pg_relation_size_udf(),
        pg::create_pg_total_relation_size_udf(),
        pg::create_pg_stat_get_numscans(),
        pg::create_pg_get_constraintdef(),
        pg::create_pg_get_partition_ancestors_udf(),
        format_type::create_format_type_udf(),
        pg_get_expr_udf::create_pg_get_expr_udf(),
        quote_ident_udf::create_quote_ident_udf(),
        quote_ident_udf::create_parse_ident_udf(),
        array_bounds_udf::create_array_upper_udf(),
        array_bounds_udf::create_array_lower_udf(),
    ]);
    functions
}

/// A function that always gives the same text.
fn text(name: &str, arguments: &[DataType], value: Option<String>) -> ScalarUDF {
    constant(name, arguments, ScalarValue::Utf8(value))
}

fn boolean(name: &str, arguments: &[DataType], value: bool) -> ScalarUDF {
    constant(name, arguments, ScalarValue::Boolean(Some(value)))
}

fn with_any_arguments(name: &str, value: ScalarValue) -> ScalarUDF {
    let (returned, signature) = (value.data_type(), Signature::variadic_any(Volatility::Stable));
    let function = Arc::new(move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(value.clone())));
    ScalarUDF::from(SimpleScalarUDF::new_with_signature(name, signature, returned, function))
}

/// `current_setting(name)`, and with `true` behind it null for a name that there is not.
fn current_setting(settings: Settings) -> ScalarUDF {
    let function = move |arguments: &[ColumnarValue]| {
        let name = match arguments.first() {
            Some(ColumnarValue::Scalar(name)) => name.try_as_str().flatten().map(str::to_owned),
            _ => None,
        };
        let Some(name) = name else {
            return Err(DataFusionError::Execution("current_setting wants the name of a setting".to_owned()));
        };
        let may_lack = matches!(arguments.get(1), Some(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))));
        match settings.show(&name) {
            Some((_, value)) => Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(value)))),
            None if may_lack => Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None))),
            None => Err(DataFusionError::Execution(format!("unrecognized configuration parameter `{name}`"))),
        }
    };
    let signature = Signature::variadic_any(Volatility::Stable);
    let function = Arc::new(function);
    ScalarUDF::from(SimpleScalarUDF::new_with_signature("current_setting", signature, DataType::Utf8, function))
}

/// `to_regtype`: the number of the type of that name; null: there is none.
fn oids_of_types(arguments: &[ColumnarValue]) -> datafusion::common::Result<ColumnarValue> {
    // What is built in has a number below; what is not comes from extensions, of which there are none.
    const BUILT_IN_MAX: u32 = 10_000;
    let arrays = ColumnarValue::values_to_arrays(arguments)?;
    let names = arrays.first().and_then(|array| array.as_string_opt::<i32>());
    let names = names.ok_or_else(|| DataFusionError::Execution("a type has a name".to_owned()))?;
    let oid = |name: &str| {
        let known = (1..BUILT_IN_MAX).filter_map(Type::from_oid).find(|known| known.name() == name);
        known.map(|known| i64::from(known.oid()))
    };
    let oids: Int64Array = names.iter().map(|name| oid(name?)).collect();
    Ok(ColumnarValue::Array(Arc::new(oids)))
}

/// `pg_size_pretty`: bytes in the unit in which they are a number of up to four digits, or five.
fn sizes(arguments: &[ColumnarValue]) -> datafusion::common::Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(arguments)?;
    let bytes = arrays.first().and_then(|array| array.as_primitive_opt::<Int64Type>());
    let bytes = bytes.ok_or_else(|| DataFusionError::Execution("a size is a whole number of bytes".to_owned()))?;
    let texts: StringArray = bytes.iter().map(|bytes| bytes.map(size)).collect();
    Ok(ColumnarValue::Array(Arc::new(texts)))
}

/// As PostgreSQL rounds: half away from zero, from 10 240 of a unit on in the next one.
fn size(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    const NEXT_FROM: u64 = 10 * 1024;
    let (mut value, mut unit) = (bytes.unsigned_abs(), 0);
    let mut rest = 0;
    while value + rest >= NEXT_FROM && unit + 1 < UNITS.len() {
        (rest, value, unit) = ((value >> 9) & 1, value >> 10, unit + 1);
    }
    let sign = if bytes < 0 { "-" } else { "" };
    format!("{sign}{} {}", value + rest, UNITS[unit])
}

fn constant(name: &str, arguments: &[DataType], value: ScalarValue) -> ScalarUDF {
    let returned = value.data_type();
    let function = Arc::new(move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(value.clone())));
    create_udf(name, arguments.to_vec(), returned, Volatility::Stable, function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_as_postgresql_says_them() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (-1_048_576, "-1024 kB"),
            (10_485_247, "10239 kB"),
            (10_485_248, "10 MB"),
            (1_572_864_000, "1500 MB"),
            (i64::MAX, "8192 PB"),
        ] {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }
}
