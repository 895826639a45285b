//! What PostgreSQL's clients write otherwise than the engine reads.
//!
//! | written | read |
//! |---|---|
//! | `x = any('{a,b}')`, `x <> all('{a,b}')` | `x in ('a', 'b')`, `x not in ('a', 'b')` |
//! | `x > any('{1,2}'::int[])`, `'{1,2}'::int[]` | `x > any(array[1::int, 2::int])`, `array[1::int, 2::int]` |
//! | `offset 5 fetch first 10 rows only` | `limit 10 offset 5` |
//!
//! Invariant: pure, and what is read means what is written.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Fetch, LimitClause, Query, Statement, Value,
    ValueWithSpan, VisitMut as _, VisitorMut,
};

use super::failure::{Failure, code};
use super::lists::elements;

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

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Failure> {
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
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

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
        ] {
            assert_eq!(words(written).as_deref(), Ok(expected), "{written}");
        }
        assert_eq!(words("SELECT 1 FETCH FIRST 2 ROWS WITH TIES").unwrap_err().code, code::NOT_SUPPORTED);
        assert_eq!(words("SELECT 1 LIMIT 3 FETCH FIRST 2 ROWS ONLY").unwrap_err().code, code::SYNTAX);
    }
}
