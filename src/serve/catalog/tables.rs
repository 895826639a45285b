//! Tables of `pg_catalog` that tell of the lake and of the connection.
//!
//! | table | tells |
//! |---|---|
//! | `pg_settings` | what `SHOW ALL` says |
//! | `pg_views` | the views and their queries |
//! | `pg_description` | what tables, columns and functions mean, beside what is built in |
//! | `pg_proc` | the functions of huopan, beside those that are built in |
//!
//! All others are the library's.
//!
//! Invariant: pure but for what is known of the lake and set on the connection.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::{ArrayRef, BooleanArray, Int16Array, Int32Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::datasource::{TableType, ViewTable, provider_as_source};
use datafusion::logical_expr::LogicalPlanBuilder;

use super::super::settings::Settings;
use super::known::{Known, Shared};
use crate::query::inspect::FunctionKind;
use crate::query::session::CATALOG;

/// `sql` among the languages of the catalog.
const SQL: i32 = 14;

/// `pg_catalog` of one session.
pub(super) struct Tables {
    pub(super) others: Arc<dyn SchemaProvider>,
    pub(super) known: Shared,
    pub(super) settings: Arc<RwLock<Settings>>,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tables")
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        self.others.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let known = self.known.get();
        let name = name.to_ascii_lowercase();
        Ok(Some(match name.as_str() {
            "pg_settings" => {
                let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner).clone();
                table(settings_batch(&settings)?)?
            }
            "pg_views" => table(views_batch(&known)?)?,
            "pg_description" | "pg_proc" => {
                let Some(built_in) = self.others.table(&name).await? else { return Ok(None) };
                let schema = built_in.schema();
                let more = match name.as_str() {
                    "pg_proc" => functions_batch(&schema, &known)?,
                    _ => descriptions_batch(&schema, &known)?,
                };
                both(built_in, table(more)?)?
            }
            _ => return self.others.table(&name).await,
        }))
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        match name.to_ascii_lowercase().as_str() {
            "pg_settings" | "pg_views" => Ok(Some(TableType::View)),
            "pg_description" | "pg_proc" => Ok(Some(TableType::Base)),
            name => self.others.table_type(name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.others.table_exist(name)
    }
}

fn table(batch: RecordBatch) -> Result<Arc<dyn TableProvider>> {
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
}

fn both(one: Arc<dyn TableProvider>, other: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
    let scan = |table| LogicalPlanBuilder::scan("t", provider_as_source(table), None);
    let plan = scan(one)?.union(scan(other)?.build()?)?.build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// Rows of a table; what `column` does not give is null, or nothing where there are no nulls.
fn rows(schema: &SchemaRef, count: usize, column: impl Fn(&str) -> Option<ArrayRef>) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| match column(field.name()) {
        Some(values) => Ok(values),
        None if field.is_nullable() => Ok(new_null_array(field.data_type(), count)),
        None => ScalarValue::new_default(field.data_type())?.to_array_of_size(count),
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<Vec<_>>>()?)?)
}

fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<ArrayRef> {
    Some(Arc::new(values.into_iter().map(Some).collect::<StringArray>()))
}

fn numbers(values: impl IntoIterator<Item = i64>) -> Result<ArrayRef> {
    let values = values.into_iter().map(|value| {
        i32::try_from(value).map_err(|_| DataFusionError::Internal("a number of the catalog is too large".to_owned()))
    });
    Ok(Arc::new(Int32Array::from(values.collect::<Result<Vec<i32>>>()?)))
}

fn settings_batch(settings: &Settings) -> Result<RecordBatch> {
    const TEXTS: [&str; 14] = [
        "name",
        "setting",
        "unit",
        "category",
        "short_desc",
        "extra_desc",
        "context",
        "vartype",
        "source",
        "min_val",
        "max_val",
        "boot_val",
        "reset_val",
        "sourcefile",
    ];
    let mut fields: Vec<Field> = TEXTS.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
    fields.insert(11, Field::new("enumvals", DataType::new_list(DataType::Utf8, true), true));
    fields.push(Field::new("sourceline", DataType::Int32, true));
    fields.push(Field::new("pending_restart", DataType::Boolean, true));
    let all = settings.described();
    rows(&Arc::new(Schema::new(fields)), all.len(), |name| match name {
        "name" => texts(all.iter().map(|setting| setting.name)),
        "setting" => texts(all.iter().map(|setting| setting.value.as_str())),
        "boot_val" => texts(all.iter().map(|setting| setting.default)),
        "reset_val" => texts(all.iter().map(|setting| setting.at_start.as_str())),
        "context" => texts(all.iter().map(|setting| if setting.is_fixed { "internal" } else { "user" })),
        "source" => texts(all.iter().map(|setting| if setting.is_set { "session" } else { "default" })),
        "category" => texts(all.iter().map(|_| "Client Connection Defaults")),
        "short_desc" => texts(all.iter().map(|_| "")),
        "vartype" => texts(all.iter().map(|_| "string")),
        "pending_restart" => Some(Arc::new(BooleanArray::from(vec![false; all.len()]))),
        _ => None,
    })
}

fn views_batch(known: &Known) -> Result<RecordBatch> {
    let fields = ["schemaname", "viewname", "viewowner", "definition"];
    let fields: Vec<Field> = fields.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
    let views = || known.relations.iter().filter_map(|relation| Some((relation, relation.definition.as_deref()?)));
    rows(&Arc::new(Schema::new(fields)), views().count(), |name| match name {
        "schemaname" => texts(views().map(|_| "public")),
        "viewname" => texts(views().map(|(view, _)| view.name.as_str())),
        "viewowner" => texts(views().map(|_| CATALOG)),
        _ => texts(views().map(|(_, definition)| definition)),
    })
}

fn descriptions_batch(schema: &SchemaRef, known: &Known) -> Result<RecordBatch> {
    // The object, the table of the catalog it stands in, its column if it is one, and what it means.
    let mut all: Vec<(i64, i64, i64, &str)> = Vec::new();
    for relation in &known.relations {
        let columns =
            (1..).zip(&relation.columns).map(|(place, text)| (relation.oid, known.pg_class, place, text.as_str()));
        all.extend(std::iter::once((relation.oid, known.pg_class, 0, relation.meaning.as_str())).chain(columns));
    }
    all.extend(known.functions.iter().map(|function| (function.oid, known.pg_proc, 0, function.meaning.as_str())));
    all.retain(|(_, _, _, text)| !text.is_empty());
    let objects = numbers(all.iter().map(|(oid, ..)| *oid))?;
    let classes = numbers(all.iter().map(|(_, class, ..)| *class))?;
    let places = numbers(all.iter().map(|(_, _, place, _)| *place))?;
    rows(schema, all.len(), |name| match name {
        "objoid" => Some(Arc::clone(&objects)),
        "objsubid" => Some(Arc::clone(&places)),
        "classoid" => Some(Arc::clone(&classes)),
        "description" => texts(all.iter().map(|(.., text)| *text)),
        _ => None,
    })
}

fn functions_batch(schema: &SchemaRef, known: &Known) -> Result<RecordBatch> {
    let functions = &known.functions;
    let oids = numbers(functions.iter().map(|function| function.oid))?;
    let namespaces = numbers(functions.iter().map(|_| known.namespace))?;
    let results = numbers(functions.iter().map(|function| i64::from(function.result.1.oid())))?;
    let is_table = |kind: FunctionKind| kind == FunctionKind::Table;
    let arguments = |text: &str| i16::try_from(text.split(", ").count()).unwrap_or(i16::MAX);
    rows(schema, functions.len(), |name| match name {
        "oid" => Some(Arc::clone(&oids)),
        "proname" => texts(functions.iter().map(|function| function.name)),
        "pronamespace" => Some(Arc::clone(&namespaces)),
        "prolang" => Some(Arc::new(Int32Array::from(vec![SQL; functions.len()]))),
        "prokind" => texts(functions.iter().map(|_| "f")),
        "provolatile" => texts(functions.iter().map(|_| "s")),
        "proparallel" => texts(functions.iter().map(|_| "s")),
        "prosrc" => texts(functions.iter().map(|function| function.definition)),
        "proretset" => {
            Some(Arc::new(functions.iter().map(|function| Some(is_table(function.kind))).collect::<BooleanArray>()))
        }
        "prorettype" => Some(Arc::clone(&results)),
        "pronargs" => {
            Some(Arc::new(functions.iter().map(|function| Some(arguments(function.arguments))).collect::<Int16Array>()))
        }
        _ => None,
    })
}
