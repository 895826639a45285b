//! The values of `$1`, `$2`, …: of which types they are, and what they are.
//!
//! Invariant: pure.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL128_MAX_SCALE, DataType, TimeUnit};
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

use super::failure::{Failure, code};
use super::rows::check_formats;

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

/// What a plan wants, in the order of the numbers; `stated` are the types that the client named (0: none).
pub(super) fn wanted(plan: &LogicalPlan, stated: &[u32]) -> Result<Vec<Wanted>, Failure> {
    let implied = plan.get_parameter_types().unwrap_or_default();
    let (cast, lists) = (cast_types(plan), list_types(plan));
    let number = |name: &str| name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
    let count = implied.keys().chain(cast.iter().map(|(name, _)| name)).filter_map(|name| number(name)).max();
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
        let engine = among(&lists).or_else(implied).or_else(|| among(&cast));
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
            Some(bytes) if is_binary => from_binary(&wanted.pg_type, bytes).or_else(|| elsewhere(wanted, 1, bytes)),
            Some(bytes) => from_text(&wanted.pg_type, bytes).or_else(|| elsewhere(wanted, 0, bytes)),
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
    match &wanted.engine {
        Some(engine) => ScalarValue::try_from(engine).ok(),
        None => Some(ScalarValue::Null),
    }
}

fn from_text(pg_type: &Type, bytes: &[u8]) -> Option<ScalarValue> {
    let text = std::str::from_utf8(bytes).ok()?;
    let data_type = match *pg_type {
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 | Type::OID => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::DATE => DataType::Date32,
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::NUMERIC => return decimal(text.trim()),
        Type::BOOL => return boolean(text.trim()),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::UUID | Type::JSON => {
            return Some(ScalarValue::Utf8(Some(text.to_owned())));
        }
        _ => return None,
    };
    // A text that is none of the type must not pass for a null.
    ScalarValue::try_from_string(text.trim().to_owned(), &data_type).ok().filter(|value| !value.is_null())
}

fn from_binary(pg_type: &Type, bytes: &[u8]) -> Option<ScalarValue> {
    /// Days and microseconds from 1970-01-01 to 2000-01-01, from where PostgreSQL counts.
    const DAYS: i32 = 10_957;
    const MICROS: i64 = 946_684_800_000_000;
    let micros = || i64::from_be_bytes(bytes.try_into().ok()?).checked_add(MICROS);
    Some(match *pg_type {
        Type::INT2 => ScalarValue::Int16(Some(i16::from_be_bytes(bytes.try_into().ok()?))),
        Type::INT4 => ScalarValue::Int32(Some(i32::from_be_bytes(bytes.try_into().ok()?))),
        Type::INT8 => ScalarValue::Int64(Some(i64::from_be_bytes(bytes.try_into().ok()?))),
        Type::OID => ScalarValue::Int64(Some(i64::from(u32::from_be_bytes(bytes.try_into().ok()?)))),
        Type::FLOAT4 => ScalarValue::Float32(Some(f32::from_be_bytes(bytes.try_into().ok()?))),
        Type::FLOAT8 => ScalarValue::Float64(Some(f64::from_be_bytes(bytes.try_into().ok()?))),
        Type::DATE => ScalarValue::Date32(Some(i32::from_be_bytes(bytes.try_into().ok()?).checked_add(DAYS)?)),
        Type::TIMESTAMP => ScalarValue::TimestampMicrosecond(Some(micros()?), None),
        Type::TIMESTAMPTZ => ScalarValue::TimestampMicrosecond(Some(micros()?), Some("UTC".into())),
        Type::BOOL => ScalarValue::Boolean(Some(*bytes.first()? != 0)),
        Type::NUMERIC => decimal(&digits(bytes)?)?,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON => {
            ScalarValue::Utf8(Some(std::str::from_utf8(bytes).ok()?.to_owned()))
        }
        _ => return None,
    })
}

fn boolean(text: &str) -> Option<ScalarValue> {
    let value = match text.to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => true,
        "f" | "false" | "n" | "no" | "off" | "0" => false,
        _ => return None,
    };
    Some(ScalarValue::Boolean(Some(value)))
}

/// As exact as it is written.
fn decimal(text: &str) -> Option<ScalarValue> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_written = fraction.bytes().all(|digit| digit.is_ascii_digit()) && !(whole.is_empty() && fraction.is_empty());
    let value: i128 = format!("{whole}{fraction}").parse().ok().filter(|_| is_written)?;
    let scale = i8::try_from(fraction.len()).ok()?;
    let digits = value.unsigned_abs().checked_ilog10().map_or(1, |digits| digits + 1);
    let precision = u8::try_from(digits).ok()?.max(u8::try_from(scale).ok()?).max(1);
    let fits = precision <= DECIMAL128_MAX_PRECISION && scale <= DECIMAL128_MAX_SCALE;
    fits.then_some(ScalarValue::Decimal128(Some(value), precision, scale))
}

/// The digits of PostgreSQL's binary form of a decimal; infinities and what is no number have none.
fn digits(bytes: &[u8]) -> Option<String> {
    let mut words = bytes.chunks_exact(2).map(|word| i16::from_be_bytes([word[0], word[1]]));
    let (count, weight, sign, scale) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let groups: Vec<i16> = words.collect();
    let is_sound =
        usize::try_from(count).ok()? == groups.len() && groups.iter().all(|group| (0..10_000).contains(group));
    let bounds = (-DIGITS_MAX..=DIGITS_MAX).contains(&weight) && (0..=DIGITS_MAX).contains(&scale);
    if !is_sound || !bounds || !matches!(sign, 0 | 0x4000) {
        return None;
    }
    let group =
        |place: i16| usize::try_from(weight - place).ok().and_then(|index| groups.get(index)).copied().unwrap_or(0);
    let whole: String = (0..=weight.max(0)).rev().map(|place| format!("{:04}", group(place))).collect();
    let fraction: String = (1..=(scale + 3) / 4).map(|place| format!("{:04}", group(-place))).collect();
    let fraction = &fraction[..usize::try_from(scale).ok()?];
    let sign = if sign == 0 { "" } else { "-" };
    Some(format!("{sign}{whole}.{fraction}"))
}

/// Groups and digits of a decimal: far more than the engine has room for.
const DIGITS_MAX: i16 = 40;

/// Lists, intervals and what else there is.
fn elsewhere(wanted: &Wanted, format: i16, bytes: &Bytes) -> Option<ScalarValue> {
    let statement = Arc::new(StoredStatement::new(String::new(), (), vec![Some(wanted.pg_type.clone())]));
    let bind = Bind::new(None, None, vec![format], vec![Some(bytes.clone())], Vec::new());
    let portal = Portal::try_new(&bind, statement).ok()?;
    let engine = [wanted.engine.as_ref()];
    match deserialize_parameters_with_server_types(&portal, &engine, &[]).ok()? {
        ParamValues::List(values) => values.into_iter().next().map(|value| value.value),
        ParamValues::Map(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pg_type: Type, text: &str) -> Option<String> {
        from_text(&pg_type, text.as_bytes()).map(|value| format!("{value:?}"))
    }

    #[test]
    fn texts_are_read_by_their_type_and_exactly() {
        for (pg_type, given, expected) in [
            (Type::INT4, "42", Some("Int32(42)")),
            (Type::INT4, "4.5", None),
            (Type::INT8, "x", None),
            (Type::DATE, "2026-11-20", Some("Date32(\"2026-11-20\")")),
            (Type::DATE, "yesterday", None),
            (Type::BOOL, "T", Some("Boolean(true)")),
            (Type::NUMERIC, "-12.50", Some("Decimal128(-12.50,4,2)")),
            (Type::NUMERIC, "0.001", Some("Decimal128(0.001,3,3)")),
            (Type::NUMERIC, "NaN", None),
            (Type::NUMERIC, "1e5", None),
            (Type::NUMERIC, ".", None),
            (Type::TEXT, "货", Some("Utf8(\"货\")")),
        ] {
            assert_eq!(text(pg_type.clone(), given).as_deref(), expected, "{pg_type} {given}");
        }
        let instant = from_text(&Type::TIMESTAMPTZ, b"2026-11-20 08:00:00+08").unwrap();
        assert_eq!(instant, ScalarValue::TimestampMicrosecond(Some(1_795_132_800_000_000), Some("UTC".into())));
    }

    #[test]
    fn binary_values_are_those_of_postgresql() {
        let of = |words: &[i16]| digits(&words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>());
        assert_eq!(of(&[3, 1, 0, 3, 1, 2345, 6780]).as_deref(), Some("00012345.678"));
        assert_eq!(of(&[1, -1, 0x4000, 4, 50]).as_deref(), Some("-0000.0050"));
        assert_eq!(of(&[0, 0, 0, 2]).as_deref(), Some("0000.00"));
        assert_eq!(of(&[0, 0, -0x4000, 0]), None, "not a number");
        assert_eq!(of(&[1, 30_000, 0, 0, 1]), None, "longer than anything");
        assert_eq!(of(&[2, 0, 0, 0, 1]), None, "cut");
        assert_eq!(from_binary(&Type::DATE, &9_820_i32.to_be_bytes()), Some(ScalarValue::Date32(Some(20_777))));
        assert_eq!(from_binary(&Type::INT8, b"1"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, oid in 16..1300_u32, is_binary: bool) {
            let wanted = Wanted { pg_type: Type::from_oid(oid).unwrap_or(Type::TEXT), engine: None };
            let _ = bound(&[wanted], &[i16::from(is_binary)], &[Some(bytes.into())]);
        }
    }
}
