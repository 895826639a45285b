//! What the catalog says of the lake's tables, views and functions: their numbers, meanings and definitions.
//!
//! Meanings are those of the contracts and of the comments in `schemas/views/`, as `huopan schema` shows them.
//!
//! Invariant: nothing in here reads a file of the lake.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::AsArray as _;
use arrow::datatypes::Int32Type;
use pgwire::api::Type;

use super::built_in::{self, BuiltIn};
use crate::base::Result;
use crate::query::inspect::{self, FunctionKind, RelationKind};
use crate::query::session::{CATALOG, Session};
use crate::query::{scalars, views};
use crate::transform::contract::Table;

/// Functions have numbers from here on; those of tables begin far below.
const FUNCTIONS_FROM: i64 = 1_000_000;

/// What is known now, for all sessions.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared(Arc<RwLock<Arc<Known>>>);

impl Shared {
    pub(super) fn set(&self, known: Known) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }

    pub(super) fn get(&self) -> Arc<Known> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The number of `public`.
    pub(super) namespace: i64,
    /// The numbers of the tables in which descriptions say that tables and functions stand.
    pub(super) pg_class: i64,
    pub(super) pg_proc: i64,
    pub(super) relations: Vec<Relation>,
    pub(super) functions: Vec<Function>,
    /// The functions beside them, by their numbers.
    pub(super) built_in: BTreeMap<i64, BuiltIn>,
}

/// A table or view.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) oid: i64,
    pub(super) name: String,
    /// Empty: nobody says.
    pub(super) meaning: String,
    /// Of a view: its query.
    pub(super) definition: Option<String>,
    /// What the columns mean, in their order; empty: nobody says.
    pub(super) columns: Vec<String>,
}

/// A function of huopan.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) oid: i64,
    pub(super) name: &'static str,
    pub(super) kind: FunctionKind,
    /// Names and types.
    pub(super) arguments: &'static str,
    /// What it gives.
    pub(super) result: Gives,
    pub(super) meaning: String,
    /// Of a function that gives tables: its query.
    pub(super) definition: &'static str,
}

/// A type's name and the type.
pub(super) type Gives = (&'static str, Type);

/// Of a function that gives a table: its columns are too many to list.
const ROWS: Gives = ("SETOF record", Type::RECORD);
const NUMBER: Gives = ("bigint", Type::INT8);
const TEXT: Gives = ("text", Type::TEXT);
const TEXTS: Gives = ("text[]", Type::TEXT_ARRAY);

/// Functions with their arguments and what they give.
const FUNCTIONS: [(&str, FunctionKind, &str, Gives); 11] = [
    ("competitor_position", FunctionKind::Table, "pieces bigint DEFAULT NULL", ROWS),
    ("price_at", FunctionKind::Table, "pieces bigint, dt date DEFAULT NULL", ROWS),
    ("price_history", FunctionKind::Table, "offer_id bigint", ROWS),
    ("price_moves", FunctionKind::Table, "pieces bigint, dt date DEFAULT NULL", ROWS),
    ("title_matches", FunctionKind::Table, "keywords text", ROWS),
    ("moq_pieces", FunctionKind::Scalar, "text text", NUMBER),
    ("offer_groups", FunctionKind::Scalar, "shop_id text, offer_id bigint, title text", TEXTS),
    ("title_200", FunctionKind::Scalar, "text text", TEXT),
    ("title_fits", FunctionKind::Scalar, "title text, pattern text", ("boolean", Type::BOOL)),
    ("title_matches", FunctionKind::Scalar, "title text, keywords text", TEXTS),
    ("to_pieces", FunctionKind::Scalar, "quantity bigint, unit text, pack bigint", NUMBER),
];

impl Known {
    /// What a session knows, which has the system catalog.
    ///
    /// # Errors
    /// A view that cannot be planned.
    pub(super) async fn of(session: &Session) -> Result<Self> {
        let built_in = built_in::read(session).await?;
        let mut known = Self { functions: functions(session), built_in, ..Self::default() };
        let numbers = format!(
            "SELECT c.oid, c.relname, n.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = '{PUBLIC}' OR c.relname IN ('pg_class', 'pg_proc')"
        );
        let about = inspect::relations(session).await?;
        for batch in session.sql(&numbers).await?.collect().await? {
            let [oids, names, namespaces] = batch.columns() else { continue };
            let (oids, names) = (oids.as_primitive::<Int32Type>(), names.as_string::<i32>());
            for ((oid, name), namespace) in oids.iter().zip(names).zip(namespaces.as_primitive::<Int32Type>()) {
                let (Some(oid), Some(name), Some(namespace)) = (oid, name, namespace) else { continue };
                match name {
                    "pg_class" => known.pg_class = i64::from(oid),
                    "pg_proc" => known.pg_proc = i64::from(oid),
                    _ => known.namespace = i64::from(namespace),
                }
                let Some(about) = about.iter().find(|about| about.name == name) else { continue };
                known.relations.push(relation(session, i64::from(oid), about).await?);
            }
        }
        Ok(known)
    }

    pub(super) fn relation(&self, oid: i64) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.oid == oid)
    }

    pub(super) fn function(&self, oid: i64) -> Option<&Function> {
        self.functions.iter().find(|function| function.oid == oid)
    }
}

const PUBLIC: &str = "public";

async fn relation(session: &Session, oid: i64, known: &inspect::Relation) -> Result<Relation> {
    // `latest_offers` has the columns of `offers`.
    let table = known.name.strip_prefix("latest_").filter(|table| table.parse::<Table>().is_ok());
    let described = table.map_or_else(|| known.name.clone(), |table| format!("latest.{table}"));
    let described = inspect::columns(session, &described).await?;
    let columns = inspect::columns(session, &known.name).await?.into_iter().map(|column| {
        let same = described.iter().find(|described| described.name == column.name).unwrap_or(&column);
        let texts = [same.business_name.as_str(), same.description.as_str()];
        texts.iter().filter(|text| !text.is_empty()).copied().collect::<Vec<_>>().join(" · ")
    });
    let definition = match known.kind {
        RelationKind::Table => None,
        RelationKind::View => definition(session, &known.name).await?,
    };
    let meaning = match known.kind {
        RelationKind::Table => known.about.text.lines().next().unwrap_or_default().to_owned(),
        RelationKind::View => known.about.summary.clone(),
    };
    Ok(Relation { oid, name: known.name.clone(), meaning, definition, columns: columns.collect() })
}

/// The query of a view, without the comment at its head, which is told as its meaning.
async fn definition(session: &Session, name: &str) -> Result<Option<String>> {
    let Some(schema) = session.context().catalog(CATALOG).and_then(|catalog| catalog.schema(PUBLIC)) else {
        return Ok(None);
    };
    let view = schema.table(name).await.map_err(|cause| session.explain(cause))?;
    let sql = view.and_then(|view| view.get_table_definition().map(str::to_owned));
    Ok(sql.map(|sql| format!("{};", without_comment(&sql).trim_end().trim_end_matches(';'))))
}

fn without_comment(sql: &str) -> &str {
    let mut rest = sql.trim_start();
    while rest.starts_with("--") {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
    }
    rest
}

fn functions(session: &Session) -> Vec<Function> {
    let about = inspect::functions(session);
    let function = |(oid, (name, kind, arguments, result)): (i64, (&'static str, FunctionKind, _, _))| {
        let known = about.iter().find(|known| known.name == name && known.kind == kind);
        let of_scalar = scalars::SCALARS.iter().find(|(usage, _)| usage.split('(').next() == Some(name));
        let (meaning, definition) = match kind {
            FunctionKind::Table => (
                known.map(|known| known.about.summary.clone()),
                views::function(name).map_or("", |function| without_comment(function.sql)),
            ),
            _ => (of_scalar.map(|(_, gives)| (*gives).to_owned()), ""),
        };
        Function { oid, name, kind, arguments, result, meaning: meaning.unwrap_or_default(), definition }
    };
    (FUNCTIONS_FROM..).zip(FUNCTIONS).map(function).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::functions::argument_types;

    #[test]
    fn every_function_of_huopan_is_listed() {
        let listed = |name: &str, kind| FUNCTIONS.iter().any(|(known, of, _, _)| *known == name && *of == kind);
        for function in views::FUNCTIONS {
            assert!(listed(function.name, FunctionKind::Table), "{}", function.name);
        }
        // Values can stand for all of their arguments.
        for (name, _, arguments, _) in FUNCTIONS.iter().filter(|(_, kind, ..)| *kind == FunctionKind::Table) {
            assert_eq!(argument_types(name).len(), arguments.split(',').count(), "{name}");
        }
        for (usage, _) in scalars::SCALARS {
            assert!(listed(usage.split('(').next().unwrap(), FunctionKind::Scalar), "{usage}");
        }
    }

    #[test]
    fn a_definition_begins_with_the_query() {
        assert_eq!(without_comment("-- a: b\n--\n\n-- c\nSELECT 1 -- d\n"), "SELECT 1 -- d\n");
        assert_eq!(without_comment("-- nothing"), "");
    }
}
