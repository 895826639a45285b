//! PostgreSQL's system catalog and functions, as clients ask for them before they ask for anything else.
//!
//! The tables of `pg_catalog` are made from the lake's own catalog; one of them serves all connections, so that the numbers
//! (`oid`) it gives to tables stay the same while the server runs.
//!
//! Invariant: read-only, and nothing in here looks outside of the lake's catalog.

mod built_in;
mod functions;
mod known;
mod tables;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider};
use datafusion::common::DataFusionError;
use datafusion::datasource::TableType;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionContext;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::{PgCatalogContextProvider, Role};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::generate_series_arg_coercion::CoerceIntArgsToBigInt;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::oid_type_planner::PgOidTypePlanner;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::{
    PG_CATALOG_TABLES, PgCatalogSchemaProvider, PgCatalogStaticTables,
};

use self::known::{Known, Shared};
use self::tables::Tables;
use super::information::{INFORMATION_SCHEMA, InformationSchema};
use super::settings::Settings;
use super::users::Users;
use crate::base::Result;
use crate::query::session::{CATALOG, Session};

const PG_CATALOG: &str = "pg_catalog";

/// `pg_catalog` of a server.
pub(super) struct PgCatalog {
    tables: Arc<dyn SchemaProvider>,
    keywords: Arc<PgCatalogStaticTables>,
    lake: LakeTables,
    known: Shared,
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
        Ok(Self { tables: Arc::new(tables), keywords, lake, known: Shared::default() })
    }

    /// From now on the catalog lists what this session sees, which has the catalog itself.
    ///
    /// # Errors
    /// A view that cannot be planned.
    pub(super) async fn list(&self, session: &Session) -> Result<()> {
        *self.lake.0.write().unwrap_or_else(PoisonError::into_inner) = session.context().catalog(CATALOG);
        self.known.set(Known::of(session).await?);
        Ok(())
    }

    /// Makes a session of the lake one that PostgreSQL's clients understand; gives what its connection sets.
    pub(super) fn install(&self, session: &SessionContext, user: &str, settings: &Settings) -> Arc<RwLock<Settings>> {
        let shared = Arc::new(RwLock::new(settings.clone()));
        let Some(lake) = session.catalog(CATALOG) else { return shared };
        for function in functions::all(user, &self.known) {
            session.register_udf(function);
        }
        set(session, settings);
        session.register_udtf("pg_get_keywords", self.keywords.pg_get_keywords.clone());
        let functions = session.state().table_functions().clone();
        let information = Arc::new(InformationSchema::new(Arc::clone(&lake), functions));
        let (others, known, settings) = (Arc::clone(&self.tables), self.known.clone(), Arc::clone(&shared));
        let tables = Arc::new(Tables { others, known, settings });
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
        shared
    }
}

/// Makes a session know its connection's settings.
pub(super) fn set(session: &SessionContext, settings: &Settings) {
    let state = session.state_ref();
    state.write().config_mut().options_mut().execution.time_zone = Some(settings.time_zone());
    session.register_udf(functions::current_setting(settings.clone()));
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
