//! Columns that a query gives no name: called as they are written, where the engine calls them by its own plan
//! (`sum(offers.price)`, `Int64(1)`).
//!
//! | of | how |
//! |---|---|
//! | an answer | only shown so ([`Headings`]): the plan keeps names by which its orders and unions find columns |
//! | a query within (`FROM (…)`, `WITH x AS (…)`) | named so ([`name_within`]): the query around can refer to it |
//!
//! A cast of a column is called as the column. The engine calls well: a column and `count(*)`.
//!
//! Invariant: pure. What has a name keeps it.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, Select, SelectItem, SetExpr, SetQuantifier, Statement, TableFactor, VisitMut as _, VisitorMut,
};

use super::names::{is_numbered, normal};

/// What the columns of an answer are called, where the engine does not call them well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headings {
    /// Of the first columns: those before a `*`.
    first: Vec<Option<String>>,
    /// Of the last columns: those after the last `*`.
    last: Vec<Option<String>>,
}

impl Headings {
    /// Those of a statement; none of what is no query.
    #[must_use]
    pub fn of(statement: &Statement) -> Self {
        let Statement::Query(query) = statement else { return Self::default() };
        let Some(select) = first_select(query) else { return Self::default() };
        let is_one = |item: &&SelectItem| is_one_column(item);
        let first: Vec<_> = select.projection.iter().take_while(is_one).map(heading).collect();
        if first.len() == select.projection.len() {
            return Self { first, last: Vec::new() };
        }
        let mut last: Vec<_> = select.projection.iter().rev().take_while(is_one).map(heading).collect();
        last.reverse();
        Self { first, last }
    }

    /// As [`Headings::of`].
    #[must_use]
    pub fn of_engines(statement: &EngineStatement) -> Self {
        match statement {
            EngineStatement::Statement(statement) => Self::of(statement),
            _ => Self::default(),
        }
    }

    /// The columns under their headings.
    #[must_use]
    pub fn over(&self, schema: &SchemaRef) -> SchemaRef {
        let count = schema.fields().len();
        let Some(last_from) = count.checked_sub(self.last.len()).filter(|from| *from >= self.first.len()) else {
            return Arc::clone(schema);
        };
        let heading = |index: usize| match index.checked_sub(last_from) {
            Some(place) => self.last[place].as_ref(),
            None => self.first.get(index)?.as_ref(),
        };
        let named = |(index, field): (usize, &Arc<arrow::datatypes::Field>)| match heading(index) {
            // `COUNT(*)` is called `count(*)`; what is numbered is called as it is written already.
            Some(heading) if !field.name().eq_ignore_ascii_case(heading) && !is_numbered(field.name()) => {
                Arc::new(field.as_ref().clone().with_name(heading))
            }
            _ => Arc::clone(field),
        };
        let fields: Vec<_> = schema.fields().iter().enumerate().map(named).collect();
        Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
    }
}

/// Rows under the names of these columns.
///
/// # Errors
/// Rows of other columns.
pub(super) fn renamed(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if batch.schema_ref().fields().iter().zip(schema.fields()).all(|(found, field)| found.name() == field.name()) {
        return Ok(batch);
    }
    let fields = batch.schema_ref().fields().iter().zip(schema.fields());
    let fields: Vec<_> = fields.map(|(found, field)| found.as_ref().clone().with_name(field.name())).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.columns().to_vec())
}

/// Names the columns without a name of queries within, by which the query around refers to them; whether there are any.
pub fn name_within(statement: &mut Statement) -> bool {
    let mut within = Within { has_named: false };
    let _ = statement.visit(&mut within);
    within.has_named
}

/// Names the columns without a name of a query that others read from: a view.
pub(super) fn name_all(statement: &mut Statement) -> bool {
    let mut has_named = false;
    if let Statement::Query(query) = statement {
        has_named = name(query);
    }
    name_within(statement) || has_named
}

struct Within {
    has_named: bool,
}

impl VisitorMut for Within {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for table in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            self.has_named |= name(&mut table.query);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { subquery, .. } = factor {
            self.has_named |= name(subquery);
        }
        ControlFlow::Continue(())
    }
}

fn name(query: &mut Query) -> bool {
    let Some(select) = first_select_of(&mut query.body) else { return false };
    let mut has_named = false;
    for item in &mut select.projection {
        let Some(heading) = heading(item) else { continue };
        if let SelectItem::UnnamedExpr(value) = item {
            let (expr, alias) = (value.clone(), Ident::with_quote('"', heading));
            *item = SelectItem::ExprWithAlias { expr, alias };
            has_named = true;
        }
    }
    has_named
}

/// The list of columns that a query's columns are called by.
fn first_select(query: &Query) -> Option<&Select> {
    let mut body = query.body.as_ref();
    if !query.pipe_operators.is_empty() {
        return None;
    }
    loop {
        body = match body {
            SetExpr::Select(select) => return Some(select),
            SetExpr::Query(query) => return first_select(query),
            SetExpr::SetOperation { left, set_quantifier, .. } if !is_by_name(*set_quantifier) => left,
            _ => return None,
        };
    }
}

fn first_select_of(body: &mut SetExpr) -> Option<&mut Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) if query.pipe_operators.is_empty() => first_select_of(&mut query.body),
        SetExpr::SetOperation { left, set_quantifier, .. } if !is_by_name(*set_quantifier) => first_select_of(left),
        _ => None,
    }
}

/// Its columns are found by their names.
fn is_by_name(quantifier: SetQuantifier) -> bool {
    matches!(quantifier, SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName)
}

/// Whether an item stands for one column.
fn is_one_column(item: &SelectItem) -> bool {
    matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
}

/// What an item is called that has no name, and is not called well.
fn heading(item: &SelectItem) -> Option<String> {
    let SelectItem::UnnamedExpr(value) = item else { return None };
    match column_of(value) {
        Some(column) if column == value => None,
        Some(Expr::Identifier(name)) => Some(normal(name)),
        Some(Expr::CompoundIdentifier(names)) => names.last().map(normal),
        _ => Some(value.to_string()).filter(|text| !text.eq_ignore_ascii_case("count(*)")),
    }
}

/// The column that a value is, perhaps cast: it is called as that.
pub(super) fn column_of(value: &Expr) -> Option<&Expr> {
    match value {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Some(value),
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => column_of(inner),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn statement(sql: &str) -> Statement {
        Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0)
    }

    fn schema(names: &[&str]) -> SchemaRef {
        Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>()))
    }

    #[test]
    fn columns_without_a_name_are_called_as_they_are_written() {
        let check = |sql: &str, engines: &[&str], expected: &[&str]| {
            let shown = Headings::of(&statement(sql)).over(&schema(engines));
            let names: Vec<&str> = shown.fields().iter().map(|field| field.name().as_str()).collect();
            assert_eq!(names, expected, "{sql}");
        };
        check(
            "select 1, count(1), COUNT(*), sum(a) s",
            &["e", "e", "count(*)", "s"],
            &["1", "count(1)", "count(*)", "s"],
        );
        check("select a, o.a::text, cast((a) as int), a*1.13", &["a", "o.a", "o.a", "e"], &["a", "a", "a", "a * 1.13"]);
        check("select 1 union select 2 order by 1", &["e"], &["1"]);
        check("(select upper(a) from o) limit 1", &["e"], &["upper(a)"]);
        // Before a star from the front, after it from the back.
        check("select 1, *, 2, b from o", &["e", "x", "y", "e", "b"], &["1", "x", "y", "2", "b"]);
        check("select 1, o.*, 2, p.*, 3 from o, p", &["e", "x", "e", "y", "e"], &["1", "x", "e", "y", "3"]);
        check("select *, 1 from o", &["e"], &["1"]);
        // What nobody can tell stays.
        check("select 1 union by name select 2", &["e"], &["e"]);
        check("explain select 1", &["plan_type", "plan"], &["plan_type", "plan"]);
        check("values (1)", &["column1"], &["column1"]);
        check("select 1, 2", &["e\u{1f}1", "e"], &["e\u{1f}1", "2"]);
    }

    #[test]
    fn queries_within_get_names_by_which_others_refer_to_them() {
        let check = |sql: &str, expected: &str| {
            let mut named = statement(sql);
            assert_eq!(name_within(&mut named), sql != expected, "{sql}");
            assert_eq!(named.to_string(), expected);
        };
        check(
            "SELECT count(1) FROM (SELECT a + 1, a, count(*) FROM o) AS x",
            r#"SELECT count(1) FROM (SELECT a + 1 AS "a + 1", a, count(*) FROM o) AS x"#,
        );
        check(
            "WITH x AS (SELECT sum(a) FROM o UNION SELECT 2) SELECT * FROM x",
            r#"WITH x AS (SELECT sum(a) AS "sum(a)" FROM o UNION SELECT 2) SELECT * FROM x"#,
        );
        check(
            "SELECT (SELECT max(a) FROM o) WHERE EXISTS (SELECT 1)",
            "SELECT (SELECT max(a) FROM o) WHERE EXISTS (SELECT 1)",
        );
    }
}
