//! PostgreSQL's functions about the system: what clients ask of it, and what is known of the lake.
//!
//! Invariant: pure but for what is known and set.

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Signature, SimpleScalarUDF, Volatility, create_udf};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::{
    self as pg, array_bounds_udf, format_type, has_privilege_udf, pg_get_expr_udf, quote_ident_udf,
};
use pgwire::api::Type;

use super::super::settings::{SERVER_VERSION, Settings};
use super::known::{Function, Known, Shared};
use crate::query::session::CATALOG;

/// The functions of a session of a user.
pub(super) fn all(user: &str, known: &Shared) -> Vec<ScalarUDF> {
    let version = format!("PostgreSQL {SERVER_VERSION}, DataFusion {}", datafusion::DATAFUSION_VERSION);
    let mut functions = vec![
        text("version", &[], Some(version)),
        text("session_user", &[], Some(user.to_owned())),
        text("pg_get_userbyid", &[DataType::Int32], Some(CATALOG.to_owned())),
        text("shobj_description", &[DataType::Int64, DataType::Utf8], None),
        text("pg_get_indexdef", &[DataType::Int64, DataType::Int64, DataType::Boolean], None),
        text("pg_get_function_sqlbody", &[DataType::Int64], None),
        text("pg_tablespace_location", &[DataType::Int64], None),
        boolean("pg_is_in_recovery", &[], false),
        boolean("pg_function_is_visible", &[DataType::Int64], true),
        boolean("pg_type_is_visible", &[DataType::Int64], true),
        boolean("pg_operator_is_visible", &[DataType::Int64], true),
        boolean("pg_opclass_is_visible", &[DataType::Int64], true),
        boolean("pg_opfamily_is_visible", &[DataType::Int64], true),
    ];
    // What a table takes on the disk is not its own: files are the lake's.
    functions.extend(
        ["pg_table_size", "pg_indexes_size", "pg_database_size", "pg_tablespace_size"]
            .map(|name| with_any_arguments(name, ScalarValue::Int64(None))),
    );
    functions.extend(TOLD.map(|(name, tell)| told(name, known, tell)));
    let types = Arc::new(oids_of_types);
    functions.push(create_udf("to_regtype", vec![DataType::Utf8], DataType::Int64, Volatility::Immutable, types));
    functions.push(create_udf(
        "pg_size_pretty",
        vec![DataType::Int64],
        DataType::Utf8,
        Volatility::Immutable,
        Arc::new(sizes),
    ));
    functions.extend(
        ["has_table_privilege", "has_schema_privilege", "has_database_privilege", "has_any_column_privilege"]
            .map(has_privilege_udf::create_has_privilege_udf),
    );
    functions.extend([
        pg::create_current_database_udf(CATALOG),
        pg::create_current_schema_udf(),
        pg::create_current_schemas_udf(),
        pg::create_pg_table_is_visible(),
        pg::create_pg_get_partkeydef_udf(),
        pg::create_pg_relation_is_publishable_udf(),
        pg::create_pg_get_statisticsobjdef_columns_udf(),
        pg::create_pg_encoding_to_char_udf(),
        pg::create_pg_backend_pid_udf(),
        pg::create_pg_relation_size_udf(),
        pg::create_pg_total_relation_size_udf(),
        pg::create_pg_stat_get_numscans(),
        pg::create_pg_get_constraintdef(),
        pg::create_pg_get_partition_ancestors_udf(),
        format_type::create_format_type_udf(),
        pg_get_expr_udf::create_pg_get_expr_udf(),
        quote_ident_udf::create_quote_ident_udf(),
        quote_ident_udf::create_parse_ident_udf(),
        array_bounds_udf::create_array_upper_udf(),
        array_bounds_udf::create_array_lower_udf(),
    ]);
    functions
}

/// What a function tells of something that is known, by the values of one row.
type Tell = fn(&Known, &[ScalarValue]) -> Option<String>;

/// Functions that tell what is known.
const TOLD: [(&str, Tell); 7] = [
    ("obj_description", |known, values| {
        let (oid, catalog) = (number(values, 0)?, values.get(1).and_then(|catalog| catalog.try_as_str().flatten()));
        let relation = || known.relation(oid).map(|relation| relation.meaning.clone());
        let function = || known.function(oid).map(|function| function.meaning.clone());
        match catalog {
            Some("pg_class") => relation(),
            Some("pg_proc") => function(),
            Some(_) => None,
            None => relation().or_else(function),
        }
    }),
    ("col_description", |known, values| {
        let place = usize::try_from(number(values, 1)?).ok()?.checked_sub(1)?;
        known.relation(number(values, 0)?)?.columns.get(place).cloned()
    }),
    ("pg_get_viewdef", |known, values| match values.first()?.try_as_str().flatten() {
        Some(name) => {
            let name = name.rsplit('.').next().unwrap_or(name).trim_matches('"');
            known.relations.iter().find(|relation| relation.name == name)?.definition.clone()
        }
        None => known.relation(number(values, 0)?)?.definition.clone(),
    }),
    ("pg_get_function_arguments", |known, values| arguments(known, number(values, 0)?)),
    ("pg_get_function_identity_arguments", |known, values| {
        Some(arguments(known, number(values, 0)?)?.replace(" DEFAULT NULL", ""))
    }),
    ("pg_get_functiondef", |known, values| {
        let Function { name, arguments, result, definition, .. } = known.function(number(values, 0)?)?;
        let head =
            format!("CREATE OR REPLACE FUNCTION public.{name}({arguments})\n RETURNS {}\n LANGUAGE sql", result.0);
        Some(format!("{head}\nAS $function$\n{definition}$function$\n"))
    }),
    ("pg_get_function_result", |known, values| {
        let oid = number(values, 0)?;
        let own = || known.function(oid).map(|function| function.result.0.to_owned());
        own().or_else(|| Some(known.built_in.get(&oid)?.result.clone()))
    }),
];

fn arguments(known: &Known, oid: i64) -> Option<String> {
    let own = || known.function(oid).map(|function| function.arguments.to_owned());
    own().or_else(|| Some(known.built_in.get(&oid)?.arguments.clone()))
}

fn number(values: &[ScalarValue], place: usize) -> Option<i64> {
    match values.get(place)?.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(number) => number,
        _ => None,
    }
}

fn told(name: &str, known: &Shared, tell: Tell) -> ScalarUDF {
    let known = known.clone();
    let function = move |arguments: &[ColumnarValue]| {
        let (known, arrays) = (known.get(), ColumnarValue::values_to_arrays(arguments)?);
        let rows = arrays.first().map_or(0, |array| array.len());
        let text = |row: usize| {
            let values = arrays.iter().map(|array| ScalarValue::try_from_array(array, row));
            // What nobody says is null.
            Ok(tell(&known, &values.collect::<Result<Vec<_>>>()?).filter(|text| !text.is_empty()))
        };
        let texts: StringArray = (0..rows).map(text).collect::<Result<_>>()?;
        match arguments.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_))) {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?)),
            false => Ok(ColumnarValue::Array(Arc::new(texts))),
        }
    };
    let signature = Signature::variadic_any(Volatility::Stable);
    ScalarUDF::from(SimpleScalarUDF::new_with_signature(name, signature, DataType::Utf8, Arc::new(function)))
}

/// A function that always gives the same text.
fn text(name: &str, arguments: &[DataType], value: Option<String>) -> ScalarUDF {
    constant(name, arguments, ScalarValue::Utf8(value))
}

fn boolean(name: &str, arguments: &[DataType], value: bool) -> ScalarUDF {
    constant(name, arguments, ScalarValue::Boolean(Some(value)))
}

fn with_any_arguments(name: &str, value: ScalarValue) -> ScalarUDF {
    let (returned, signature) = (value.data_type(), Signature::variadic_any(Volatility::Stable));
    let function = Arc::new(move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(value.clone())));
    ScalarUDF::from(SimpleScalarUDF::new_with_signature(name, signature, returned, function))
}

/// `current_setting(name)`, and with `true` behind it null for a name that there is not.
pub(super) fn current_setting(settings: Settings) -> ScalarUDF {
    let function = move |arguments: &[ColumnarValue]| {
        let may_lack = matches!(arguments.get(1), Some(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))));
        let value = |name: &ScalarValue| match name.try_as_str().flatten().map(|name| (name, settings.show(name))) {
            Some((_, Some((_, value)))) => Ok(Some(value)),
            Some((name, None)) if !may_lack => {
                Err(DataFusionError::Execution(format!("unrecognized configuration parameter `{name}`")))
            }
            _ => Ok(None),
        };
        match arguments.first() {
            Some(ColumnarValue::Scalar(name)) => Ok(ColumnarValue::Scalar(ScalarValue::Utf8(value(name)?))),
            Some(ColumnarValue::Array(names)) => {
                let values = (0..names.len()).map(|row| value(&ScalarValue::try_from_array(names, row)?));
                Ok(ColumnarValue::Array(Arc::new(values.collect::<Result<StringArray>>()?)))
            }
            None => Err(DataFusionError::Execution("current_setting wants the name of a setting".to_owned())),
        }
    };
    let signature = Signature::variadic_any(Volatility::Stable);
    let function = Arc::new(function);
    ScalarUDF::from(SimpleScalarUDF::new_with_signature("current_setting", signature, DataType::Utf8, function))
}

/// `to_regtype`: the number of the type of that name; null: there is none.
fn oids_of_types(arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
    // What is built in has a number below; what is not comes from extensions, of which there are none.
    const BUILT_IN_MAX: u32 = 10_000;
    let arrays = ColumnarValue::values_to_arrays(arguments)?;
    let names = arrays.first().and_then(|array| array.as_string_opt::<i32>());
    let names = names.ok_or_else(|| DataFusionError::Execution("a type has a name".to_owned()))?;
    let oid = |name: &str| {
        let known = (1..BUILT_IN_MAX).filter_map(Type::from_oid).find(|known| known.name() == name);
        known.map(|known| i64::from(known.oid()))
    };
    let oids: Int64Array = names.iter().map(|name| oid(name?)).collect();
    Ok(ColumnarValue::Array(Arc::new(oids)))
}

/// `pg_size_pretty`: bytes in the unit in which they are a number of up to four digits, or five.
fn sizes(arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(arguments)?;
    let bytes = arrays.first().and_then(|array| array.as_primitive_opt::<Int64Type>());
    let bytes = bytes.ok_or_else(|| DataFusionError::Execution("a size is a whole number of bytes".to_owned()))?;
    let texts: StringArray = bytes.iter().map(|bytes| bytes.map(size)).collect();
    Ok(ColumnarValue::Array(Arc::new(texts)))
}

/// As PostgreSQL rounds: half away from zero, from 10 240 of a unit on in the next one.
fn size(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    const NEXT_FROM: u64 = 10 * 1024;
    let (mut value, mut unit) = (bytes.unsigned_abs(), 0);
    let mut rest = 0;
    while value + rest >= NEXT_FROM && unit + 1 < UNITS.len() {
        (rest, value, unit) = ((value >> 9) & 1, value >> 10, unit + 1);
    }
    let sign = if bytes < 0 { "-" } else { "" };
    format!("{sign}{} {}", value + rest, UNITS[unit])
}

fn constant(name: &str, arguments: &[DataType], value: ScalarValue) -> ScalarUDF {
    let returned = value.data_type();
    let function = Arc::new(move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(value.clone())));
    create_udf(name, arguments.to_vec(), returned, Volatility::Stable, function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_as_postgresql_says_them() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (-1_048_576, "-1024 kB"),
            (10_485_247, "10239 kB"),
            (10_485_248, "10 MB"),
            (1_572_864_000, "1500 MB"),
            (i64::MAX, "8192 PB"),
        ] {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }
}
