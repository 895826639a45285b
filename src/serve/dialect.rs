//! What PostgreSQL's clients write otherwise than the engine reads.
//!
//! | written | read |
//! |---|---|
//! | `x = any('{a,b}')`, `x <> all('{a,b}')` | `x in ('a', 'b')`, `x not in ('a', 'b')` |
//! | `x > any('{1,2}'::int[])`, `'{1,2}'::int[]` | `x > any(array[1::int, 2::int])`, `array[1::int, 2::int]` |
//! | `offset 5 fetch first 10 rows only` | `limit 10 offset 5` |
//! | `array(select x from t order by y)` | `(select array_agg(x order by y) from t)`, `[]` where there are no rows |
//! | `select generate_series(1, 3)` | a row for each, as `unnest(generate_series(1, 3))` gives them |
//! | `from generate_series(1, 3) n` | `from generate_series(1, 3) n(n)`: its column is called as it is; so is that of `unnest` |
//!
//! Invariant: pure, and what is read means what is written.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Fetch, Function, FunctionArguments, GroupByExpr,
    Ident, LimitClause, ObjectName, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Statement,
    TableAlias, TableAliasColumnDef, TableFactor, Value, ValueWithSpan, VisitMut as _, VisitorMut, visit_expressions,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::failure::{Failure, code};
use super::lists::elements;
use super::statement::plain;

/// The statement in the engine's words.
pub(super) fn read(mut statement: Statement) -> Result<Statement, Failure> {
    match statement.visit(&mut Words) {
        ControlFlow::Continue(()) => Ok(statement),
        ControlFlow::Break(failure) => Err(failure),
    }
}

struct Words;

impl VisitorMut for Words {
    type Break = Failure;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Failure> {
        let Some(Fetch { with_ties, percent, quantity }) = query.fetch.take() else {
            return ControlFlow::Continue(());
        };
        if with_ties || percent {
            let message = "FETCH FIRST takes a number of rows, ONLY";
            return ControlFlow::Break(Failure::new(code::NOT_SUPPORTED, message).with_hint("use ORDER BY and LIMIT"));
        }
        let rows = quantity.unwrap_or_else(|| value(Value::Number("1".to_owned(), false)));
        match &mut query.limit_clause {
            Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(rows),
            None => {
                let limit = LimitClause::LimitOffset { limit: Some(rows), offset: None, limit_by: Vec::new() };
                query.limit_clause = Some(limit);
            }
            Some(_) => return ControlFlow::Break(Failure::new(code::SYNTAX, "a query has one LIMIT or FETCH FIRST")),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Failure> {
        for item in &mut select.projection {
            let (value, alias) = match item {
                SelectItem::UnnamedExpr(value) => {
                    let called = called(value);
                    (value, Some(called))
                }
                SelectItem::ExprWithAlias { expr, .. } => (expr, None),
                _ => continue,
            };
            let is_changed = unfold(value) || is_list(value);
            if let Some(alias) = alias.filter(|_| is_changed) {
                *item = SelectItem::ExprWithAlias { expr: value.clone(), alias: Ident::with_quote('"', alias) };
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Failure> {
        let (alias, function) = match factor {
            TableFactor::Table { name, args: Some(_), alias, .. } if is_named_series(name) => (alias, SERIES),
            TableFactor::UNNEST { alias, with_offset: false, with_ordinality: false, array_exprs, .. }
                if array_exprs.len() == 1 =>
            {
                (alias, "unnest")
            }
            _ => return ControlFlow::Continue(()),
        };
        let named = |name: &Ident| TableAlias {
            explicit: true,
            name: name.clone(),
            columns: vec![TableAliasColumnDef { name: name.clone(), data_type: None }],
            at: None,
        };
        match alias {
            Some(alias) if alias.columns.is_empty() => *alias = named(&alias.name),
            Some(_) => {}
            none => *none = Some(named(&Ident::new(function))),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Failure> {
        if is_list(expression)
            && let Expr::Function(Function { args: FunctionArguments::Subquery(query), .. }) = expression
            && let Some(list) = list_of(query)
        {
            *expression = list;
            return ControlFlow::Continue(());
        }
        let read = match expression {
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => among(left, right, false),
            Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => among(left, right, true),
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => {
                if let Some(elements) = listed(right, Written::Anyhow) {
                    **right = array(elements);
                }
                None
            }
            Expr::Cast { .. } => {
                listed(expression, Written::WithType).filter(|elements| !elements.is_empty()).map(array)
            }
            _ => None,
        };
        if let Some(read) = read {
            *expression = read;
        }
        ControlFlow::Continue(())
    }
}

/// `left in (…)`, by PostgreSQL's rules for `= any` and `<> all`: nothing is among none, and nulls are not known.
fn among(left: &Expr, right: &Expr, negated: bool) -> Option<Expr> {
    let list = listed(right, Written::Anyhow)?;
    Some(match list.is_empty() {
        true => value(Value::Boolean(negated)),
        false => Expr::InList { expr: Box::new(Expr::Nested(Box::new(left.clone()))), list, negated },
    })
}

/// The function that gives a row for each number or time from one to another.
const SERIES: &str = "generate_series";

fn is_named_series(name: &ObjectName) -> bool {
    name.0.last().is_some_and(|part| plain(&part.to_string()).eq_ignore_ascii_case(SERIES))
}

fn is_series(value: &Expr) -> bool {
    matches!(value, Expr::Function(function) if is_named_series(&function.name))
}

/// `array(select …)`
fn is_list(value: &Expr) -> bool {
    matches!(value, Expr::Function(Function { name, args: FunctionArguments::Subquery(_), .. })
        if name.to_string().eq_ignore_ascii_case("array"))
}

/// What PostgreSQL calls a column without a name, of those that are read otherwise; of others, how it is written.
fn called(value: &Expr) -> String {
    match value {
        list if is_list(list) => "array".to_owned(),
        series if is_series(series) => SERIES.to_owned(),
        other => other.to_string(),
    }
}

/// Gives a row for each element where PostgreSQL does, and the engine a list; whether there is any.
fn unfold(value: &mut Expr) -> bool {
    match value {
        Expr::BinaryOp { left, right, .. } => {
            let is_left = unfold(left);
            unfold(right) || is_left
        }
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => unfold(inner),
        series if is_series(series) => match parsed(&format!("unnest({series})")) {
            Some(unfolded) => {
                *series = unfolded;
                true
            }
            None => false,
        },
        _ => false,
    }
}

/// The values of a query of one column, in its order; `None`: of another, or in an order that a list cannot be given.
fn list_of(query: &Query) -> Option<Expr> {
    let mut query = query.clone();
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let value = match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(value)] | [SelectItem::ExprWithAlias { expr: value, .. }] => value.clone(),
        _ => return None,
    };
    let called = match select.projection.first() {
        Some(SelectItem::ExprWithAlias { alias, .. }) => Some(Expr::Identifier(alias.clone())),
        _ => None,
    };
    let orders = match query.order_by.as_ref().map(|order| &order.kind) {
        None => &Vec::new(),
        Some(OrderByKind::Expressions(orders)) => orders,
        Some(OrderByKind::All(_)) => return None,
    };
    let is_value = |order: &Expr| {
        let is_first = matches!(order, Expr::Value(first) if first.value == Value::Number("1".to_owned(), false));
        is_first || *order == value || Some(order) == called.as_ref()
    };
    // The engine joins only such a query to the row outside of it that it is about.
    let is_plain = select.distinct.is_none() && select.having.is_none() && query.limit_clause.is_none();
    if is_plain && query.fetch.is_none() && is_ungrouped(&select.group_by) && !aggregates(&select.projection, orders) {
        let own = |order: &OrderByExpr| match is_value(&order.expr) {
            true => OrderByExpr { expr: value.clone(), ..order.clone() }.to_string(),
            false => order.to_string(),
        };
        let by = orders.iter().map(own).collect::<Vec<_>>().join(", ");
        let by = if by.is_empty() { by } else { format!(" ORDER BY {by}") };
        let list = parsed(&format!("coalesce(array_agg({value}{by}), make_array())"))?;
        select.projection = vec![SelectItem::UnnamedExpr(list)];
        query.order_by = None;
        return Some(Expr::Subquery(Box::new(query)));
    }
    let named = |expr: Expr, name: &str| SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
    let mut columns = vec![named(value.clone(), "value")];
    let mut by = Vec::new();
    for order in orders {
        let name = match is_value(&order.expr) {
            true => "value".to_owned(),
            false if select.distinct.is_some() => return None,
            false => {
                let name = format!("order_{}", columns.len());
                columns.push(named(order.expr.clone(), &name));
                name
            }
        };
        by.push(OrderByExpr { expr: Expr::Identifier(Ident::with_quote('"', name)), ..order.clone() });
    }
    let orders = by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    select.projection = columns;
    // Which rows a limit leaves is its order's doing.
    if let Some(order) = query.order_by.as_mut() {
        match query.limit_clause.is_none() && query.fetch.is_none() {
            true => query.order_by = None,
            false => order.kind = OrderByKind::Expressions(by),
        }
    }
    let order_by = if orders.is_empty() { String::new() } else { format!(" ORDER BY {orders}") };
    parsed(&format!(r#"(SELECT coalesce(array_agg("value"{order_by}), make_array()) FROM ({query}) AS "array")"#))
}

fn is_ungrouped(groups: &GroupByExpr) -> bool {
    matches!(groups, GroupByExpr::Expressions(groups, more) if groups.is_empty() && more.is_empty())
}

/// Whether a list of columns or an order looks at several rows.
fn aggregates(columns: &[SelectItem], orders: &[OrderByExpr]) -> bool {
    const AGGREGATES: [&str; 12] = [
        "count",
        "sum",
        "min",
        "max",
        "avg",
        "median",
        "array_agg",
        "string_agg",
        "bool_and",
        "bool_or",
        "first_value",
        "last_value",
    ];
    let looks = |expression: &Expr| match expression {
        Expr::Function(function) if function.over.is_some() => ControlFlow::Break(()),
        Expr::Function(function) if AGGREGATES.contains(&&*function.name.to_string().to_ascii_lowercase()) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    };
    let in_columns = columns.iter().any(|column| visit_expressions(column, looks).is_break());
    in_columns || orders.iter().any(|order| visit_expressions(order, looks).is_break())
}

fn parsed(expression: &str) -> Option<Expr> {
    Parser::new(&PostgreSqlDialect {}).try_with_sql(expression).and_then(|mut parser| parser.parse_expr()).ok()
}

/// How a list is written as text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Anyhow,
    /// `'{1,2}'::int[]`.
    WithType,
}

/// The elements of a list that is written as text, each of the type that is said.
fn listed(expression: &Expr, written: Written) -> Option<Vec<Expr>> {
    let literal = |text: Option<String>| value(text.map_or(Value::Null, Value::SingleQuotedString));
    match expression {
        Expr::Nested(inner) => listed(inner, written),
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) if written == Written::Anyhow => {
            Some(elements(text)?.into_iter().map(literal).collect())
        }
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type: DataType::Array(of), .. } => {
            let (ArrayElemTypeDef::SquareBracket(of, _) | ArrayElemTypeDef::AngleBracket(of)) = of else { return None };
            let typed = |element: Expr| Expr::Cast {
                kind: CastKind::DoubleColon,
                expr: Box::new(element),
                data_type: of.as_ref().clone(),
                array: false,
                format: None,
            };
            Some(listed(expr, Written::Anyhow)?.into_iter().map(typed).collect())
        }
        _ => None,
    }
}

fn array(elements: Vec<Expr>) -> Expr {
    Expr::Array(Array { elem: elements, named: true })
}

fn value(value: Value) -> Expr {
    Expr::Value(value.with_empty_span())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(sql: &str) -> Result<String, Failure> {
        let statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
        read(statement).map(|statement| statement.to_string())
    }

    #[test]
    fn lists_and_limits_are_read_as_they_are_meant() {
        for (written, expected) in [
            ("SELECT a = ANY('{x,NULL,\"\"}')", "SELECT (a) IN ('x', NULL, '')"),
            ("SELECT a <> ALL(('{1}'::bigint[]))", "SELECT (a) NOT IN ('1'::BIGINT)"),
            ("SELECT a = ANY('{}'), a <> ALL('{}'::text[])", "SELECT false, true"),
            ("SELECT a > ANY('{1,2}'::int[])", "SELECT a > ANY(ARRAY['1'::INT, '2'::INT])"),
            ("SELECT '{1,NULL}'::int[]", "SELECT ARRAY['1'::INT, NULL::INT]"),
            ("SELECT a = ANY($1), '{1}'", "SELECT a = ANY($1), '{1}'"),
            ("SELECT a = ANY(SELECT 1)", "SELECT a = ANY(SELECT 1)"),
            ("SELECT 1 FETCH FIRST ROW ONLY", "SELECT 1 LIMIT 1"),
            (
                "SELECT * FROM (SELECT 1 OFFSET $2 ROWS FETCH NEXT $1 ROWS ONLY) x",
                "SELECT * FROM (SELECT 1 LIMIT $1 OFFSET $2 ROWS) x",
            ),
            ("SELECT 1 LIMIT 5", "SELECT 1 LIMIT 5"),
            (
                "SELECT generate_series(1, 3), 1 + generate_series(0, 2), cardinality(generate_series(0, 2))",
                "SELECT unnest(generate_series(1, 3)) AS \"generate_series\", \
                 1 + unnest(generate_series(0, 2)) AS \"1 + generate_series(0, 2)\", cardinality(generate_series(0, 2))",
            ),
            (
                "SELECT n FROM generate_series(1, 3) AS n, generate_series(1, 3), unnest(ARRAY[1]) AS u (v)",
                "SELECT n FROM generate_series(1, 3) AS n (n), generate_series(1, 3) AS generate_series (generate_series), \
                 UNNEST(ARRAY[1]) AS u (v)",
            ),
            (
                "SELECT ARRAY(SELECT a FROM o ORDER BY b DESC, 1)",
                "SELECT (SELECT coalesce(array_agg(a ORDER BY b DESC, a), make_array()) FROM o) AS \"array\"",
            ),
            (
                "SELECT ARRAY(SELECT max(a) FROM o GROUP BY b ORDER BY b)",
                "SELECT (SELECT coalesce(array_agg(\"value\" ORDER BY \"order_1\"), make_array()) FROM \
                 (SELECT max(a) AS \"value\", b AS \"order_1\" FROM o GROUP BY b) AS \"array\") AS \"array\"",
            ),
            (
                "SELECT ARRAY(SELECT DISTINCT a FROM o ORDER BY a LIMIT 2)",
                "SELECT (SELECT coalesce(array_agg(\"value\" ORDER BY \"value\"), make_array()) FROM \
                 (SELECT DISTINCT a AS \"value\" FROM o ORDER BY \"value\" LIMIT 2) AS \"array\") AS \"array\"",
            ),
        ] {
            assert_eq!(words(written).as_deref(), Ok(expected), "{written}");
        }
        assert_eq!(words("SELECT 1 FETCH FIRST 2 ROWS WITH TIES").unwrap_err().code, code::NOT_SUPPORTED);
        assert_eq!(words("SELECT 1 LIMIT 3 FETCH FIRST 2 ROWS ONLY").unwrap_err().code, code::SYNTAX);
    }
}
