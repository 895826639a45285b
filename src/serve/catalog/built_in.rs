//! The functions that `pg_proc` lists as built in: what they take and give, in PostgreSQL's names of types.
//!
//! Invariant: read once per state of the lake, from the library's own catalog.

use std::collections::BTreeMap;

use arrow::array::AsArray as _;
use arrow::datatypes::Int32Type;
use pgwire::api::Type;

use crate::base::Result;
use crate::query::session::Session;

/// What a function takes and gives, as `\df` shows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BuiltIn {
    pub(super) arguments: String,
    pub(super) result: String,
}

/// By their numbers.
///
/// # Errors
/// A catalog that cannot be read.
pub(super) async fn read(session: &Session) -> Result<BTreeMap<i64, BuiltIn>> {
    const SQL: &str = "SELECT oid, prorettype, proargtypes, proretset FROM pg_catalog.pg_proc";
    let mut functions = BTreeMap::new();
    for batch in session.sql(SQL).await?.collect().await? {
        let [oids, results, arguments, are_sets] = batch.columns() else { continue };
        let (oids, results) = (oids.as_primitive::<Int32Type>(), results.as_primitive::<Int32Type>());
        let (arguments, are_sets) = (arguments.as_string::<i32>(), are_sets.as_boolean());
        for (((oid, result), arguments), is_set) in oids.iter().zip(results).zip(arguments).zip(are_sets) {
            let (Some(oid), Some(result)) = (oid, result) else { continue };
            let arguments = arguments.unwrap_or_default().split_whitespace().map(|oid| name(oid.parse().ok()));
            let set = if is_set == Some(true) { "SETOF " } else { "" };
            let result = format!("{set}{}", name(u32::try_from(result).ok()));
            let built_in = BuiltIn { arguments: arguments.collect::<Vec<_>>().join(", "), result };
            functions.insert(i64::from(oid), built_in);
        }
    }
    Ok(functions)
}

/// A type as PostgreSQL shows it.
fn name(oid: Option<u32>) -> String {
    let Some(known) = oid.and_then(Type::from_oid) else { return "-".to_owned() };
    let (of, brackets) = match known.name().strip_prefix('_') {
        Some(of) => (of, "[]"),
        None => (known.name(), ""),
    };
    let shown = match of {
        "bool" => "boolean",
        "int2" => "smallint",
        "int4" => "integer",
        "int8" => "bigint",
        "float4" => "real",
        "float8" => "double precision",
        "varchar" => "character varying",
        "bpchar" => "character",
        "varbit" => "bit varying",
        "time" => "time without time zone",
        "timetz" => "time with time zone",
        "timestamp" => "timestamp without time zone",
        "timestamptz" => "timestamp with time zone",
        "any" => "\"any\"",
        "char" => "\"char\"",
        other => other,
    };
    format!("{shown}{brackets}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_shown_as_postgresql_shows_them() {
        for (of, expected) in [
            (Type::INT8, "bigint"),
            (Type::TEXT_ARRAY, "text[]"),
            (Type::INT4_ARRAY, "integer[]"),
            (Type::TIMESTAMPTZ, "timestamp with time zone"),
            (Type::NUMERIC, "numeric"),
            (Type::ANY, "\"any\""),
        ] {
            assert_eq!(name(Some(of.oid())), expected);
        }
        assert_eq!(name(Some(1)), "-");
    }
}
