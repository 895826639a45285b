//! Values as arguments of functions in `FROM`: `select * from price_at($1)`.
//!
//! The engine makes a table of such a call while it plans, so that arguments must be known by then. A query is planned with
//! samples to be described, and again with its values to be run: the function checks them as it checks what is written.
//!
//! Invariant: pure.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Statement, TableFactor, Value, ValueWithSpan, VisitMut as _, VisitorMut,
    visit_expressions, visit_expressions_mut,
};

use super::statement::plain;
use crate::query::functions::argument_types;

/// A value that is such an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Argument {
    /// `$1`.
    pub(super) name: String,
    /// What the function takes there.
    data_type: DataType,
    /// It stands alone, rather than in `$1::int`.
    is_whole: bool,
}

impl Argument {
    /// Of which type the value is, as far as the function says.
    pub(super) fn data_type(&self) -> Option<&DataType> {
        Some(&self.data_type).filter(|_| self.is_whole)
    }
}

/// The arguments of a statement that are values, and the statement with samples in their places.
pub(super) fn sampled(statement: &Statement) -> (Vec<Argument>, Statement) {
    let (mut statement, mut found) = (statement.clone(), Found::default());
    let _ = statement.visit(&mut found);
    let arguments = found.0;
    let sample = |name: &str| {
        let argument = arguments.iter().find(|argument| argument.name == name)?;
        Some(match argument.data_type {
            DataType::Int64 => Value::Number("1".to_owned(), false),
            // Far enough for something to be published by then.
            DataType::Date32 => Value::SingleQuotedString("9999-12-31".to_owned()),
            _ => Value::SingleQuotedString("x".to_owned()),
        })
    };
    let _ = statement.visit(&mut Filling(&sample));
    (arguments, statement)
}

/// The statement with values in the places of those arguments.
pub(super) fn filled(statement: &Statement, values: &ParamValues) -> Statement {
    let literal = |name: &str| values.get_placeholders_with_values(name).ok().map(|value| literal(value.value()));
    let mut statement = statement.clone();
    let _ = statement.visit(&mut Filling(&literal));
    statement
}

fn literal(value: &ScalarValue) -> Value {
    match value {
        null if null.is_null() => Value::Null,
        ScalarValue::Boolean(Some(value)) => Value::Boolean(*value),
        number if number.data_type().is_numeric() => Value::Number(number.to_string(), false),
        other => Value::SingleQuotedString(other.to_string()),
    }
}

/// What the arguments of a function are.
fn types(function: &str) -> &'static [DataType] {
    match function {
        "generate_series" | "range" => &[DataType::Int64, DataType::Int64, DataType::Int64],
        ours => argument_types(ours),
    }
}

/// The function of a factor with its arguments.
fn call(factor: &mut TableFactor) -> Option<(String, &mut Vec<FunctionArg>)> {
    match factor {
        TableFactor::Table { name, args: Some(arguments), .. } => {
            let name = name.0.last().map(|part| plain(&part.to_string()).to_ascii_lowercase())?;
            Some((name, &mut arguments.args))
        }
        _ => None,
    }
}

fn placeholder(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) => Some(name),
        Expr::Nested(inner) => placeholder(inner),
        _ => None,
    }
}

#[derive(Default)]
struct Found(Vec<Argument>);

impl VisitorMut for Found {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let Some((function, arguments)) = call(factor) else { return ControlFlow::Continue(()) };
        for (place, argument) in arguments.iter().enumerate() {
            let data_type = types(&function).get(place).cloned().unwrap_or(DataType::Int64);
            let whole = match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(whole)) => placeholder(whole),
                _ => None,
            };
            let _ =
                visit_expressions(argument, |inner| {
                    self.0.extend(placeholder(inner).filter(|_| !matches!(inner, Expr::Nested(_))).map(|name| {
                        Argument { name: name.to_owned(), data_type: data_type.clone(), is_whole: whole == Some(name) }
                    }));
                    ControlFlow::<()>::Continue(())
                });
        }
        ControlFlow::Continue(())
    }
}

struct Filling<'a>(&'a dyn Fn(&str) -> Option<Value>);

impl VisitorMut for Filling<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let Some((_, arguments)) = call(factor) else { return ControlFlow::Continue(()) };
        let _ = visit_expressions_mut(arguments, |inner| {
            if let Some(value) = placeholder(inner).and_then(self.0) {
                *inner = Expr::Value(value.with_empty_span());
            }
            ControlFlow::<()>::Continue(())
        });
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn arguments_of_functions_are_sampled_and_filled_and_other_values_wait() {
        let sql = "SELECT $1 FROM price_at($2, $3) AS p, title_matches(($1)), price_history($4::INT), price_at(2, $5::TEXT) WHERE x = $2";
        let statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
        let (arguments, sample) = sampled(&statement);
        let found = arguments.iter().map(|argument| (argument.name.as_str(), argument.data_type())).collect::<Vec<_>>();
        let (number, date, text) = (DataType::Int64, DataType::Date32, DataType::Utf8);
        assert_eq!(
            found,
            [("$2", Some(&number)), ("$3", Some(&date)), ("$1", Some(&text)), ("$4", None), ("$5", None)]
        );
        assert_eq!(
            sample.to_string(),
            "SELECT $1 FROM price_at(1, '9999-12-31') AS p, title_matches(('x')), price_history(1::INT), price_at(2, '9999-12-31'::TEXT) \
             WHERE x = $2"
        );
        let values = vec![
            ScalarValue::from("it's"),
            ScalarValue::Int16(Some(500)),
            ScalarValue::Date32(Some(20_777)),
            ScalarValue::Int32(None),
            ScalarValue::from("2026-11-21"),
        ];
        assert_eq!(
            filled(&statement, &ParamValues::from(values)).to_string(),
            "SELECT $1 FROM price_at(500, '2026-11-20') AS p, title_matches(('it''s')), price_history(NULL::INT), price_at(2, '2026-11-21'::TEXT) \
             WHERE x = $2"
        );
        assert_eq!(sampled(&sample).0, []);
    }
}
