//! What a session knows by name, with its documentation, and how far a query has come.
//!
//! What tables say comes from the contracts; what views and table functions say comes from the comments at their heads:
//! `name: what a row is. …`, then `Example: …`.
//!
//! Invariant: nothing in here reads a file of the lake.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::SchemaProvider;
use datafusion::datasource::TableType;
use datafusion::logical_expr::Documentation;
use datafusion::physical_plan::ExecutionPlan;

use super::output::Labels;
use super::session::{CATALOG, Session};
use super::{error, views};
use crate::base::Result;
use crate::transform::contract::{Table, TableContract};

/// Something that can stand after `FROM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its name.
    pub name: String,
    /// Whether it is computed.
    pub kind: RelationKind,
    /// What is known of it.
    pub about: About,
}

/// What a relation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelationKind {
    /// Files of the lake, or rows about it.
    Table,
    /// A query with a name.
    View,
}

/// A function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Where it can stand.
    pub kind: FunctionKind,
    /// How it is called: `price_at(pieces [, dt])`; empty: it is not said.
    pub usage: String,
    /// What is known of it.
    pub about: About,
}

/// Where a function can stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FunctionKind {
    /// After `FROM`.
    Table,
    /// In an expression.
    Scalar,
    /// Over the rows of a group.
    Aggregate,
    /// Before `OVER`.
    Window,
}

/// What is known of something; empty texts: nothing is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// One sentence.
    pub summary: String,
    /// All of it, with its line breaks.
    pub text: String,
    /// A query.
    pub example: String,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, in the words of the contracts: `long`, `decimal(18,4)`.
    pub data_type: String,
    /// Whether it may hold nulls.
    pub nullable: bool,
    /// Its Chinese name; empty: it has none.
    pub business_name: String,
    /// Its meaning; empty: the contracts do not say, as of the columns of views.
    pub description: String,
}

impl FunctionKind {
    /// Its name, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FunctionKind::Table => "table",
            FunctionKind::Scalar => "scalar",
            FunctionKind::Aggregate => "aggregate",
            FunctionKind::Window => "window",
        }
    }
}

/// Tables and views, by name.
///
/// # Errors
/// A view that cannot be planned.
pub async fn relations(session: &Session) -> Result<Vec<Relation>> {
    let Some(schema) = public(session) else { return Ok(Vec::new()) };
    let mut relations = Vec::new();
    for name in session.table_names() {
        let (kind, about) = relation(schema.as_ref(), &name).await;
        relations.push(Relation { name, kind, about });
    }
    Ok(relations)
}

async fn relation(schema: &dyn SchemaProvider, name: &str) -> (RelationKind, About) {
    if let Some(contract) = contract(name) {
        return (RelationKind::Table, About::of_contract(contract));
    }
    let provider = match schema.table(name).await {
        Ok(Some(provider)) => provider,
        Ok(None) => return (RelationKind::Table, About::default()),
        // A view of the user's that is wrong is listed all the same.
        Err(cause) => {
            let summary = format!("cannot be asked: {}", error::explain(cause, &[]));
            return (RelationKind::View, About { text: summary.clone(), summary, example: String::new() });
        }
    };
    let kind = if provider.table_type() == TableType::View { RelationKind::View } else { RelationKind::Table };
    let about = provider.get_table_definition().map(About::of_sql);
    (kind, about.unwrap_or_else(|| About::of_table(name)))
}

fn public(session: &Session) -> Option<Arc<dyn SchemaProvider>> {
    session.context().catalog(CATALOG)?.schema("public")
}

fn contract(name: &str) -> Option<&'static TableContract> {
    name.parse::<Table>().ok()?.contract().ok()
}

/// The columns of what stands after `FROM`: `offers`, `latest.offers`, `price_at(500)`.
///
/// # Errors
/// [`Kind::Config`](crate::base::Kind::Config): there is no such thing.
pub async fn columns(session: &Session, relation: &str) -> Result<Vec<Column>> {
    let plan = session.context().state().create_logical_plan(&format!("SELECT * FROM {relation}")).await;
    let plan = plan.map_err(|cause| error::explain(cause, &session.table_names()))?;
    let schema: SchemaRef = Arc::new(plan.schema().as_arrow().clone());
    let contract = contract(relation.rsplit('.').next().unwrap_or(relation));
    let described = |name: &str| contract?.columns.iter().find(|column| column.name == name);
    let columns = schema.fields().iter().zip(Labels::Chinese.of(&schema)).map(|(field, label)| {
        let known = described(field.name());
        Column {
            name: field.name().clone(),
            data_type: known.map_or_else(|| type_name(field.data_type()), |column| column.delta_type.clone()),
            nullable: field.is_nullable(),
            business_name: if label == *field.name() { String::new() } else { label },
            description: known.map(|column| one_line(&column.description)).unwrap_or_default(),
        }
    });
    Ok(columns.collect())
}

/// Functions, by kind and name: those of huopan after `FROM` first.
#[must_use]
pub fn functions(session: &Session) -> Vec<Function> {
    let state = session.context().state();
    let mut functions: Vec<Function> = state.table_functions().keys().map(|name| table_function(name)).collect();
    let mut add = |kind, name: &str, documentation: Option<&Documentation>| {
        let usage = documentation.map(|known| one_line(&known.syntax_example)).unwrap_or_default();
        let about = documentation.map(About::of_engine).unwrap_or_default();
        functions.push(Function { name: name.to_owned(), kind, usage, about });
    };
    for (name, function) in state.scalar_functions() {
        add(FunctionKind::Scalar, name, function.documentation());
    }
    for (name, function) in state.aggregate_functions() {
        add(FunctionKind::Aggregate, name, function.documentation());
    }
    for (name, function) in state.window_functions() {
        add(FunctionKind::Window, name, function.documentation());
    }
    functions.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    functions
}

fn table_function(name: &str) -> Function {
    let about = views::function(name).map(|function| About::of_sql(function.sql)).unwrap_or_default();
    let usage = about.text.split_once("):").map(|(usage, _)| format!("{usage})")).unwrap_or_default();
    Function { name: name.to_owned(), kind: FunctionKind::Table, usage, about }
}

impl About {
    fn of_contract(contract: &TableContract) -> Self {
        let text = format!("{} · {}\n{}", contract.business_name, contract.description.trim(), contract.usage.trim());
        Self { summary: first_sentence(&contract.description), text, example: String::new() }
    }

    /// Tables that have no contract.
    fn of_table(name: &str) -> Self {
        let text = match name {
            "days" => "The published days of each pipeline, and the day before each.",
            "groups" => "Which offers compete: the lines of the groups file that was loaded.",
            "ledger" => "Calls by day, account and scope, as the state store counts them now.",
            _ => "",
        };
        Self { summary: text.trim_end_matches('.').to_owned(), text: text.to_owned(), example: String::new() }
    }

    /// The comment at the head of a query.
    fn of_sql(sql: &str) -> Self {
        let lines = sql.lines().map_while(|line| line.strip_prefix("--"));
        let lines: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        let text = lines.join("\n");
        let (said, example) = text.split_once("Example:").unwrap_or((&text, ""));
        // `name: ` or `name(arguments): ` comes first.
        let meaning = said.split_once(": ").map_or(said, |(_, meaning)| meaning);
        Self { summary: first_sentence(meaning), example: one_line(example), text }
    }

    fn of_engine(known: &Documentation) -> Self {
        let example = known.sql_example.as_deref().unwrap_or_default();
        let text = [known.description.trim(), example.trim()].join("\n\n").trim_end().to_owned();
        Self { summary: first_sentence(&known.description), text, example: String::new() }
    }
}

/// Without its point.
fn first_sentence(text: &str) -> String {
    let text = one_line(text);
    let end = text.find(". ").or_else(|| text.ends_with('.').then(|| text.len() - 1));
    end.map_or_else(|| text.clone(), |end| text[..end].to_owned())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A type in the words of the contracts, where they have one.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "string".into(),
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => "binary".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Int8 => "byte".into(),
        DataType::Int16 => "short".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "long".into(),
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Date32 => "date".into(),
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::List(item) => format!("array<{}>", type_name(item.data_type())),
        DataType::Null => "null".into(),
        other => other.to_string().to_lowercase(),
    }
}

/// How far a query has come; can be asked from elsewhere while it runs.
#[derive(Debug, Clone)]
pub struct Scan(Arc<dyn ExecutionPlan>);

/// What was read up to now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Rows that left the files, after the filters that files apply.
    pub rows: usize,
    /// Bytes that were read from the lake.
    pub bytes: usize,
}

impl Scan {
    pub(super) fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        Self(Arc::clone(plan))
    }

    /// What was read up to now.
    #[must_use]
    pub fn so_far(&self) -> Scanned {
        let mut scanned = Scanned::default();
        let mut nodes = vec![&self.0];
        while let Some(node) = nodes.pop() {
            let children = node.children();
            if let Some(metrics) = children.is_empty().then(|| node.metrics()).flatten() {
                scanned.rows += metrics.output_rows().unwrap_or(0);
                scanned.bytes += metrics.sum_by_name("bytes_scanned").map_or(0, |bytes| bytes.as_usize());
            }
            nodes.extend(children);
        }
        scanned
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::query::fixture::Lake;

    #[tokio::test]
    async fn every_table_view_and_table_function_of_huopan_says_what_it_is() {
        let session = Lake::new().session();
        for relation in relations(&session).await.unwrap() {
            assert!(!relation.about.summary.is_empty(), "{relation:?}");
            let is_view = views::find(&relation.name).is_some();
            assert_eq!(relation.kind == RelationKind::View, is_view, "{relation:?}");
            assert_eq!(relation.about.example.contains(&relation.name), is_view, "{relation:?}");
        }
        for views::View { name, .. } in views::FUNCTIONS {
            let function = functions(&session).into_iter().find(|function| function.name == *name).unwrap();
            assert!(function.usage.starts_with(&format!("{name}(")), "{function:?}");
            assert!(!function.about.summary.is_empty() && function.about.example.contains(name), "{function:?}");
        }
    }

    #[tokio::test]
    async fn columns_are_known_of_tables_views_functions_and_other_days() {
        let session = Lake::new().session();
        let column = |columns: Vec<Column>, name: &str| columns.into_iter().find(|column| column.name == name).unwrap();
        let offer = column(columns(&session, "before.offers").await.unwrap(), "offer_id");
        assert_eq!((offer.data_type.as_str(), offer.business_name.as_str()), ("long", "商品编号"));
        assert!(!offer.description.is_empty());
        let change = column(columns(&session, "price_changes").await.unwrap(), "old_price");
        assert_eq!((change.business_name.as_str(), change.description.as_str()), ("原报价", ""));
        let at = column(columns(&session, "price_at(500)").await.unwrap(), "price_per_piece");
        assert_eq!(at.business_name, "单件价");
        let error = columns(&session, "ofers").await.unwrap_err();
        assert_eq!(error.hint(), Some("did you mean `offers`?"));
    }

    #[tokio::test]
    async fn a_query_says_how_far_it_has_come() {
        let mut lake = Lake::new();
        lake.rows("offers", "2026-11-20", "p", &[json!({"offer_id": 1}), json!({"offer_id": 2})]);
        let session = lake.session();
        let answer = session.sql("SELECT offer_id FROM offers").await.unwrap();
        let scan = answer.scan();
        answer.collect().await.unwrap();
        assert_eq!(scan.so_far().rows, 2);
        assert!(scan.so_far().bytes > 0);
    }
}
