//! The values of `$1`, `$2`, …: of which types they are, and what they are.
//!
//! Invariant: pure.

use std::sync::Arc;

use arrow::datatypes::DataType;
use bytes::Bytes;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, ParamValues, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable as _, LogicalPlan};
use datafusion_postgres::arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use datafusion_postgres::arrow_pg::datatypes::into_pg_type;
use pgwire::api::Type;
use pgwire::api::portal::Portal;
use pgwire::api::stmt::StoredStatement;
use pgwire::messages::extendedquery::Bind;

use super::arguments::Argument;
use super::failure::{Failure, code};
use super::rows::check_formats;
use super::scalars::{data_type, from_binary, from_text, is_read};

/// Values of a query, as the protocol counts them.
const VALUES_MAX: usize = 65_535;

/// One value that a query wants.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    /// As the client says, else as the query implies, else text.
    pub(super) pg_type: Type,
    /// As the engine computes with it, where the query implies one.
    engine: Option<DataType>,
}

impl Wanted {
    /// As the engine computes with it, unless the client says otherwise.
    fn engine(&self) -> Option<&DataType> {
        self.engine.as_ref().filter(|engine| into_pg_type(engine).is_ok_and(|known| known == self.pg_type))
    }

    /// Of which type its values are here; `None`: it depends on them.
    pub(super) fn data_type(&self) -> Option<DataType> {
        self.engine().cloned().or_else(|| data_type(&self.pg_type))
    }
}

/// What a plan wants, in the order of the numbers; `stated` are the types that the client named (0: none), `arguments` what is
/// no longer in the plan.
pub(super) fn wanted(plan: &LogicalPlan, stated: &[u32], arguments: &[Argument]) -> Result<Vec<Wanted>, Failure> {
    let implied = plan.get_parameter_types().unwrap_or_default();
    let (cast, lists) = (cast_types(plan), list_types(plan));
    let of_functions: Vec<(String, DataType)> =
        arguments.iter().filter_map(|argument| Some((argument.name.clone(), argument.data_type()?.clone()))).collect();
    let number = |name: &str| name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
    let count =
        implied.keys().chain(cast.iter().map(|(name, _)| name)).chain(arguments.iter().map(|argument| &argument.name));
    let count = count.filter_map(|name| number(name)).max();
    let count = count.unwrap_or(0).max(stated.len());
    if count > VALUES_MAX {
        return Err(Failure::new(code::PROGRAM_LIMIT, format!("a query has at most {VALUES_MAX} values")));
    }
    let wanted = (1..=count).map(|place| {
        let name = format!("${place}");
        let among = |types: &[(String, DataType)]| {
            types.iter().find(|(found, _)| *found == name).map(|(_, data_type)| data_type.clone())
        };
        // A list is implied as if it were one of its values.
        let implied = || implied.get(&name).cloned().flatten();
        let engine = among(&lists).or_else(implied).or_else(|| among(&cast)).or_else(|| among(&of_functions));
        let stated = stated.get(place - 1).filter(|oid| **oid != 0).and_then(|oid| Type::from_oid(*oid));
        let stated = stated.filter(|stated| *stated != Type::UNKNOWN);
        let implied = || engine.as_ref().and_then(|engine| into_pg_type(engine).ok());
        let pg_type = stated.or_else(implied).filter(|known| *known != Type::UNKNOWN).unwrap_or(Type::TEXT);
        Wanted { pg_type, engine }
    });
    Ok(wanted.collect())
}

/// `x = any($1)`: a list of what `x` is.
fn list_types(plan: &LogicalPlan) -> Vec<(String, DataType)> {
    let mut found = Vec::new();
    // Neither closure fails.
    let _ = plan.apply_with_subqueries(|node| {
        let mut schema = DFSchema::empty();
        node.inputs().iter().for_each(|input| schema.merge(input.schema()));
        for expression in node.expressions() {
            let _ = expression.apply(|inner| {
                if let Expr::ScalarFunction(function) = inner
                    && function.name() == "array_has"
                    && let [Expr::Placeholder(placeholder), value] = function.args.as_slice()
                    && let Ok(data_type) = value.get_type(&schema)
                {
                    found.push((placeholder.id.clone(), DataType::new_list(data_type, true)));
                }
                Ok(TreeNodeRecursion::Continue)
            });
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// `$1::int`: the engine does not count that as a type of the value.
fn cast_types(plan: &LogicalPlan) -> Vec<(String, DataType)> {
    let mut found = Vec::new();
    // Neither closure fails.
    let _ = plan.apply_with_subqueries(|node| {
        for expression in node.expressions() {
            let _ = expression.apply(|inner| {
                if let Expr::Cast(cast) = inner
                    && let Expr::Placeholder(placeholder) = cast.expr.as_ref()
                {
                    found.push((placeholder.id.clone(), cast.field.data_type().clone()));
                }
                Ok(TreeNodeRecursion::Continue)
            });
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// The values a client has bound. They are taken as what they are, and compared with columns by the engine's own rules: a
/// number with too many digits for a column is none of its values, rather than rounded to one.
pub(super) fn bound(
    wanted: &[Wanted],
    formats: &[i16],
    values: &[Option<Bytes>],
) -> Result<Option<ParamValues>, Failure> {
    if values.len() != wanted.len() {
        let message = format!("{} values were bound, but the query wants {}", values.len(), wanted.len());
        return Err(Failure::new(code::PROTOCOL, message));
    }
    check_formats(formats, values.len())?;
    if values.is_empty() {
        return Ok(None);
    }
    let format = |index: usize| if formats.len() == 1 { formats.first() } else { formats.get(index) };
    let value = |(index, (wanted, value)): (usize, (&Wanted, &Option<Bytes>))| {
        let is_binary = format(index) == Some(&1);
        let read = match value {
            None => null(wanted),
            Some(bytes) if !is_read(&wanted.pg_type) => elsewhere(wanted, i16::from(is_binary), bytes),
            Some(bytes) if is_binary => from_binary(&wanted.pg_type, bytes),
            Some(bytes) => from_text(&wanted.pg_type, bytes),
        };
        read.ok_or_else(|| {
            let message = format!("the value of ${} is no {}", index + 1, wanted.pg_type.name());
            Failure::new(code::INVALID_TEXT, message)
        })
    };
    let values = wanted.iter().zip(values).enumerate().map(value).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(ParamValues::from(values)))
}

fn null(wanted: &Wanted) -> Option<ScalarValue> {
    wanted.data_type().map_or(Some(ScalarValue::Null), |data_type| ScalarValue::try_from(&data_type).ok())
}

/// Times of day, bytes and what else there is.
fn elsewhere(wanted: &Wanted, format: i16, bytes: &Bytes) -> Option<ScalarValue> {
    let statement = Arc::new(StoredStatement::new(String::new(), (), vec![Some(wanted.pg_type.clone())]));
    let bind = Bind::new(None, None, vec![format], vec![Some(bytes.clone())], Vec::new());
    let portal = Portal::try_new(&bind, statement).ok()?;
    let engine = [wanted.engine()];
    match deserialize_parameters_with_server_types(&portal, &engine, &[]).ok()? {
        ParamValues::List(values) => values.into_iter().next().map(|value| value.value),
        ParamValues::Map(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, oid in 16..1300_u32, is_binary: bool) {
            let wanted = Wanted { pg_type: Type::from_oid(oid).unwrap_or(Type::TEXT), engine: None };
            let _ = bound(&[wanted], &[i16::from(is_binary)], &[Some(bytes.into())]);
        }
    }
}
