//! `information_schema` in PostgreSQL's words: types of columns as its clients know them.
//!
//! Invariant: pure but for the lake's catalog, of which it tells.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::information_schema::InformationSchemaProvider;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList as _, MemoryCatalogProviderList, SchemaProvider, TableFunction, TableProvider,
};
use datafusion::common::DataFusionError;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, case, col, lit};

use crate::query::session::CATALOG;

pub(super) const INFORMATION_SCHEMA: &str = "information_schema";

/// How the engine's types begin, PostgreSQL's short names for them, and its long ones.
const TYPES: [(&str, &str, &str); 20] = [
    ("Utf8", "text", "text"),
    ("LargeUtf8", "text", "text"),
    ("Int64", "int8", "bigint"),
    ("Int32", "int4", "integer"),
    ("Int16", "int2", "smallint"),
    ("Int8", "int2", "smallint"),
    ("UInt64", "numeric", "numeric"),
    ("UInt32", "int8", "bigint"),
    ("Decimal", "numeric", "numeric"),
    ("Boolean", "bool", "boolean"),
    ("Float64", "float8", "double precision"),
    ("Float32", "float4", "real"),
    ("Date32", "date", "date"),
    ("Timestamp(µs, ", "timestamptz", "timestamp with time zone"),
    ("Timestamp", "timestamp", "timestamp without time zone"),
    ("List(Utf8", "_text", "ARRAY"),
    ("List(Int64", "_int8", "ARRAY"),
    ("List", "_text", "ARRAY"),
    ("Binary", "bytea", "bytea"),
    ("LargeBinary", "bytea", "bytea"),
];

/// The schema.
pub(super) struct InformationSchema(InformationSchemaProvider);

impl fmt::Debug for InformationSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InformationSchema")
    }
}

impl InformationSchema {
    /// Of the lake's catalog; `functions` are the session's.
    pub(super) fn new(lake: Arc<dyn CatalogProvider>, functions: HashMap<String, Arc<TableFunction>>) -> Self {
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), lake);
        Self(InformationSchemaProvider::new(Arc::new(catalogs)).with_table_functions(functions))
    }
}

#[async_trait]
impl SchemaProvider for InformationSchema {
    fn table_names(&self) -> Vec<String> {
        self.0.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let Some(table) = self.0.table(name).await? else { return Ok(None) };
        if !name.eq_ignore_ascii_case("columns") {
            return Ok(Some(table));
        }
        let known: Vec<String> = table.schema().fields().iter().map(|field| field.name().clone()).collect();
        let in_words = known.iter().map(|name| match name.as_str() {
            "data_type" => Ok(named(|(_, _, long)| long)?.alias(name)),
            _ => Ok::<_, DataFusionError>(col(name)),
        });
        let more = [
            named(|(_, short, _)| short)?.alias("udt_name"),
            lit("pg_catalog").alias("udt_schema"),
            col("table_catalog").alias("udt_catalog"),
            lit("NO").alias("is_identity"),
            lit("NEVER").alias("is_generated"),
            lit("NO").alias("is_updatable"),
        ];
        let columns = in_words.chain(more.into_iter().map(Ok)).collect::<Result<Vec<_>, _>>()?;
        let plan = LogicalPlanBuilder::scan(name, provider_as_source(table), None)?.project(columns)?.build()?;
        Ok(Some(Arc::new(ViewTable::new(plan, None))))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.table_exist(name)
    }
}

/// The type of a column by one of its names in PostgreSQL; the engine's where there is none.
fn named(name: impl Fn((&'static str, &'static str, &'static str)) -> &'static str) -> Result<Expr, DataFusionError> {
    let begins = |with: &str| col("data_type").like(lit(format!("{with}%")));
    let [first, rest @ ..] = TYPES;
    let mut cases = case(lit(true)).when(begins(first.0), lit(name(first)));
    for of_type in rest {
        cases = cases.when(begins(of_type.0), lit(name(of_type)));
    }
    cases.otherwise(col("data_type"))
}
