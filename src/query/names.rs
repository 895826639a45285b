//! Columns that are called the same: SQL lets a query give them, the engine does not.
//!
//! A query that the engine refuses for that is planned with names of our own, which end in a mark and a number; whoever shows
//! them leaves both out again ([`shown`]), or numbers what must be told apart ([`unique`]).
//!
//! Invariant: pure. Nothing in a query can refer to a column by a name that only we gave: what names one of several columns of a
//! query within another finds none.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{Column, DFSchemaRef, DataFusionError, SchemaError, TableReference};
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement, VisitMut as _,
    VisitorMut,
};

use super::headings::column_of;

/// Between a column's name and its number: the separator of units, which nobody types.
const MARK: char = '\u{1f}';

/// What a column is called.
#[must_use]
pub fn shown(name: &str) -> &str {
    name.split_once(MARK).map_or(name, |(shown, _)| shown)
}

/// A name of our own.
pub(super) fn numbered(name: &str, number: usize) -> String {
    format!("{name}{MARK}{number}")
}

/// Whether a name is one of ours, which ends in a number.
pub(super) fn is_numbered(name: &str) -> bool {
    name.contains(MARK)
}

/// Names for formats in which each column has its own: the second `price` is `price_2`.
pub(super) fn unique(schema: &SchemaRef) -> SchemaRef {
    let names: Vec<&str> = schema.fields().iter().map(|field| shown(field.name())).collect();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let fields = schema.fields().iter().zip(&names).map(|(field, name)| {
        let numbered = (2..).map(|number| format!("{name}_{number}")).filter(|numbered| !names.contains(&&**numbered));
        let free = std::iter::once((*name).to_owned()).chain(numbered).find(|free| !taken.contains(free));
        let free = free.unwrap_or_else(|| field.name().clone());
        taken.insert(free.clone());
        field.as_ref().clone().with_name(free)
    });
    let fields: Vec<_> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Whether the engine refuses a query because of what its columns are called.
pub(crate) fn is_refused(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::Plan(message) => message.contains("require unique expression names"),
        DataFusionError::SchemaError(error, _) => matches!(
            error.as_ref(),
            SchemaError::DuplicateQualifiedField { .. }
                | SchemaError::DuplicateUnqualifiedField { .. }
                | SchemaError::AmbiguousReference { .. }
        ),
        _ => false,
    }
}

/// Gives columns that are called the same names of their own, and those of the answer that have none the text they are written
/// as.
pub fn tell_apart(statement: &mut Statement) {
    let _ = statement.visit(&mut Namer::default());
}

/// A query with several stars as one for each of them, whose columns are those that the star stands for; none of others.
pub(super) fn of_stars(statement: &Statement) -> Vec<Statement> {
    let Some(select) = only_select(statement) else { return Vec::new() };
    let stars: Vec<SelectItem> = select.projection.iter().filter(|item| Star::of(item).is_some()).cloned().collect();
    if stars.len() < 2 {
        return Vec::new();
    }
    let alone = |star: SelectItem| {
        let mut select = select.clone();
        (select.projection, select.distinct) = (vec![star], None);
        let mut statement = statement.clone();
        if let Statement::Query(query) = &mut statement {
            (query.body, query.order_by) = (Box::new(SetExpr::Select(Box::new(select))), None);
            (query.limit_clause, query.fetch) = (None, None);
        }
        statement
    };
    stars.into_iter().map(alone).collect()
}

/// The query of [`of_stars`] with the columns of each star in its place.
pub(super) fn without_stars(mut statement: Statement, columns: &[DFSchemaRef]) -> Statement {
    let mut columns = columns.iter();
    if let Statement::Query(query) = &mut statement
        && let SetExpr::Select(select) = query.body.as_mut()
    {
        let items = std::mem::take(&mut select.projection).into_iter();
        select.projection = items
            .flat_map(|item| match Star::of(&item).and_then(|_| columns.next()) {
                Some(columns) => columns.columns().iter().map(written).collect(),
                None => vec![item],
            })
            .collect();
    }
    statement
}

fn only_select(statement: &Statement) -> Option<&Select> {
    let Statement::Query(query) = statement else { return None };
    query.body.as_select()
}

fn written(column: &Column) -> SelectItem {
    let table = column.relation.iter().flat_map(TableReference::to_vec);
    let names = table.chain([column.name.clone()]).map(|name| Ident::with_quote('"', name));
    SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names.collect()))
}

/// For each query around, whether it is sorted.
#[derive(Default)]
struct Namer(Vec<bool>);

impl VisitorMut for Namer {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.0.push(query.order_by.is_some());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.0.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let place = match self.0.as_slice() {
            [is_sorted] => Place::Outermost { is_sorted: *is_sorted },
            _ => Place::Within,
        };
        name(&mut select.projection, place);
        ControlFlow::Continue(())
    }
}

/// Where a list of columns stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing but an order can name its columns.
    Outermost {
        is_sorted: bool,
    },
    Within,
}

fn name(items: &mut [SelectItem], place: Place) {
    let stars: Vec<Star> = items.iter().filter_map(Star::of).collect();
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    items.iter().filter_map(name_of).for_each(|name| *times.entry(name).or_default() += 1);
    let mut seen = BTreeSet::new();
    for (number, item) in items.iter_mut().enumerate() {
        let Some(name) = name_of(item) else { continue };
        // What stands first keeps its name where an order may mean it.
        let keeps_name = seen.insert(name.clone()) && place != Place::Within;
        let is_double = times.get(&name).is_some_and(|times| *times > 1) && !keeps_name;
        let own = numbered(&name, number);
        match item {
            SelectItem::UnnamedExpr(value) => {
                let is_in_star = stars.iter().any(|star| star.has(value));
                let name = match is_double || is_in_star {
                    true => own,
                    false if column_of(value).is_none() && place != Place::Within => name,
                    false => continue,
                };
                *item = SelectItem::ExprWithAlias { expr: value.clone(), alias: Ident::with_quote('"', name) };
            }
            SelectItem::ExprWithAlias { alias, .. } => {
                let may_be_in_star = !stars.is_empty() && place == Place::Outermost { is_sorted: false };
                if is_double || may_be_in_star {
                    *alias = Ident::with_quote('"', own);
                }
            }
            _ => {}
        }
    }
}

/// What a column is called, but for those that `*` stands for.
fn name_of(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(value) => match column_of(value) {
            Some(Expr::Identifier(name)) => Some(normal(name)),
            Some(Expr::CompoundIdentifier(names)) => names.last().map(normal),
            _ => Some(value.to_string()),
        },
        SelectItem::ExprWithAlias { alias, .. } => Some(normal(alias)),
        _ => None,
    }
}

pub(super) fn normal(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_ascii_lowercase() }
}

/// `*`, or `o.*` with its names.
struct Star(Option<Vec<String>>);

impl Star {
    fn of(item: &SelectItem) -> Option<Self> {
        match item {
            SelectItem::Wildcard(_) => Some(Self(None)),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let names = name.0.iter().filter_map(|part| part.as_ident()).map(normal);
                Some(Self(Some(names.collect())))
            }
            _ => None,
        }
    }

    /// Whether it stands for that column, too, as far as names can tell.
    fn has(&self, value: &Expr) -> bool {
        match (column_of(value), &self.0) {
            (Some(Expr::CompoundIdentifier(names)), Some(of)) => {
                let names: Vec<String> = names.iter().map(normal).collect();
                names.split_last().is_some_and(|(_, qualifier)| qualifier == of.as_slice())
            }
            (column, _) => column.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use datafusion::common::DFSchema;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn check(sql: &str, expected: &str) {
        let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
        tell_apart(&mut statement);
        assert_eq!(statement.to_string().replace(MARK, "#"), expected, "{sql}");
    }

    #[test]
    fn columns_of_the_same_name_are_told_apart_and_shown_as_they_were() {
        check("SELECT a, o.A, b FROM o ORDER BY a", r#"SELECT a, o.A AS "a#1", b FROM o ORDER BY a"#);
        check("SELECT 1 AS a, 2 AS \"a\", 3 AS \"A\"", r#"SELECT 1 AS a, 2 AS "a#1", 3 AS "A""#);
        check("SELECT count(*), count(*)", r#"SELECT count(*) AS "count(*)", count(*) AS "count(*)#1""#);
        check("SELECT NULL::INT, NULL::TEXT", r#"SELECT NULL::INT AS "NULL::INT", NULL::TEXT AS "NULL::TEXT""#);
        check(
            "SELECT 1 AS a, 2 AS a UNION SELECT 3, 3",
            r#"SELECT 1 AS a, 2 AS "a#1" UNION SELECT 3 AS "3", 3 AS "3#1""#,
        );
        assert_eq!((shown("a\u{1f}1"), shown("a")), ("a", "a"));
    }

    #[test]
    fn what_a_star_stands_for_is_told_apart_from_what_is_named() {
        check("SELECT *, a, 1 AS b FROM o", r#"SELECT *, a AS "a#1", 1 AS "b#2" FROM o"#);
        check("SELECT *, a::TEXT FROM o", r#"SELECT *, a::TEXT AS "a#1" FROM o"#);
        check("SELECT o.*, o.a, p.a FROM o, p", r#"SELECT o.*, o.a AS "a#1", p.a AS "a#2" FROM o, p"#);
        // An order may mean what is named.
        check("SELECT *, 1 AS b FROM o ORDER BY b", "SELECT *, 1 AS b FROM o ORDER BY b");
    }

    #[test]
    fn each_of_several_stars_is_asked_for_its_columns() {
        let statement = Parser::parse_sql(&PostgreSqlDialect {}, "SELECT DISTINCT o.*, 1, * FROM o ORDER BY a LIMIT 3");
        let statement = statement.unwrap().remove(0);
        let stars: Vec<String> = of_stars(&statement).iter().map(ToString::to_string).collect();
        assert_eq!(stars, ["SELECT o.* FROM o", "SELECT * FROM o"]);
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let columns = DFSchema::try_from_qualified_schema("o", &Schema::new(vec![field("a"), field("B")])).unwrap();
        let columns = Arc::new(columns);
        assert_eq!(
            without_stars(statement, &[Arc::clone(&columns), columns]).to_string(),
            r#"SELECT DISTINCT "o"."a", "o"."B", 1, "o"."a", "o"."B" FROM o ORDER BY a LIMIT 3"#
        );
        let one = Parser::parse_sql(&PostgreSqlDialect {}, "SELECT o.*, a FROM o").unwrap().remove(0);
        assert_eq!(of_stars(&one), []);
    }

    #[test]
    fn a_name_that_means_several_columns_of_a_query_within_means_none() {
        check(
            "SELECT * FROM (SELECT a, a FROM o) AS x",
            r#"SELECT * FROM (SELECT a AS "a#0", a AS "a#1" FROM o) AS x"#,
        );
    }

    #[test]
    fn each_column_gets_a_name_where_it_needs_one() {
        let schema = |names: &[&str]| {
            Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>()))
        };
        let names = |given: &[&str]| -> Vec<String> {
            unique(&schema(given)).fields().iter().map(|field| field.name().clone()).collect()
        };
        assert_eq!(names(&["a", "a\u{1f}1", "a_2", "a\u{1f}3"]), ["a", "a_3", "a_2", "a_4"]);
        assert_eq!(names(&["a", "b"]), ["a", "b"]);
    }
}
