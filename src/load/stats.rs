//! A file's column statistics in Delta's JSON form, from its Parquet metadata.
//!
//! `{"numRecords": 3, "minValues": {"offer_id": 1}, "maxValues": {"offer_id": 9}, "nullCount": {"offer_id": 0}}`
//!
//! | type | bound |
//! |---|---|
//! | integers | number |
//! | decimal | number, where a binary float holds it without loss (up to 15 digits) |
//! | string | as it is, up to [`TEXT_BYTES_MAX`] |
//! | date | `2026-11-20` |
//! | timestamp | `2026-11-20T04:00:00.123Z`, with microseconds where there are any |
//! | boolean | only `nullCount` |
//! | binary, list | nothing |
//!
//! Invariant: a bound is a value of the column or it is absent. A reader may answer `min` and `max` from bounds, so
//! shortened ones would be wrong answers, not only weak filters.
//!
//! Source: Delta protocol, "Per-file Statistics".

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Schema};
use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use serde_json::{Number, Value, json};

/// Longer texts have no bound: the Parquet writer shortens statistics to this length.
pub const TEXT_BYTES_MAX: usize = 64;

/// Decimals of more digits may not come back from a binary float as they went in.
const DECIMAL_UNITS_MAX: i64 = 1_000_000_000_000_000;

/// One end of a column's range, in its natural order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    Number(i64),
    Text(String),
}

/// The statistics of a whole file. `schema` is the one the file was written with; its leaves are its columns.
#[must_use]
pub fn delta_stats(metadata: &ParquetMetaData, schema: &Schema) -> Value {
    let (mut min_values, mut max_values, mut null_count) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (index, field) in schema.fields().iter().enumerate() {
        if matches!(field.data_type(), DataType::Binary | DataType::List(_)) {
            continue;
        }
        let groups: Option<Vec<&Statistics>> =
            metadata.row_groups().iter().map(|group| group.column(index).statistics()).collect();
        let Some(groups) = groups else { continue };
        if let Some(nulls) = groups.iter().map(|group| group.null_count_opt()).sum::<Option<u64>>() {
            null_count.insert(field.name(), nulls);
        }
        if let Some(min) = lowest(&groups).and_then(|bound| to_json(bound, field.data_type())) {
            min_values.insert(field.name(), min);
        }
        if let Some(max) = highest(&groups).and_then(|bound| to_json(bound, field.data_type())) {
            max_values.insert(field.name(), max);
        }
    }
    json!({
        "numRecords": metadata.file_metadata().num_rows(),
        "minValues": min_values,
        "maxValues": max_values,
        "nullCount": null_count,
    })
}

/// The column's least value. A shortened minimum is a lower bound: when it is the least of all, the value is not known.
fn lowest(groups: &[&Statistics]) -> Option<Bound> {
    let bounds = groups.iter().filter_map(|group| Some((min(group)?, !group.min_is_exact())));
    bounds.min().and_then(|(bound, shortened)| (!shortened).then_some(bound))
}

/// The column's greatest value, as [`lowest`].
fn highest(groups: &[&Statistics]) -> Option<Bound> {
    let bounds = groups.iter().filter_map(|group| Some((max(group)?, group.max_is_exact())));
    bounds.max().and_then(|(bound, exact)| exact.then_some(bound))
}

fn min(statistics: &Statistics) -> Option<Bound> {
    match statistics {
        Statistics::Int32(values) => values.min_opt().map(|&value| Bound::Number(value.into())),
        Statistics::Int64(values) => values.min_opt().copied().map(Bound::Number),
        Statistics::ByteArray(values) => text(values.min_bytes_opt()?),
        _ => None,
    }
}

fn max(statistics: &Statistics) -> Option<Bound> {
    match statistics {
        Statistics::Int32(values) => values.max_opt().map(|&value| Bound::Number(value.into())),
        Statistics::Int64(values) => values.max_opt().copied().map(Bound::Number),
        Statistics::ByteArray(values) => text(values.max_bytes_opt()?),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> Option<Bound> {
    std::str::from_utf8(bytes).ok().map(|text| Bound::Text(text.to_owned()))
}

fn to_json(bound: Bound, data_type: &DataType) -> Option<Value> {
    match (bound, data_type) {
        (Bound::Text(text), DataType::Utf8) => Some(Value::String(text)),
        (Bound::Number(number), DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64) => {
            Some(number.into())
        }
        (Bound::Number(days), DataType::Date32) => {
            let date = NaiveDate::default().checked_add_signed(TimeDelta::try_days(days)?)?;
            Some(date.to_string().into())
        }
        (Bound::Number(micros), DataType::Timestamp(..)) => {
            let format = if micros % 1000 == 0 { SecondsFormat::Millis } else { SecondsFormat::Micros };
            Some(DateTime::from_timestamp_micros(micros)?.to_rfc3339_opts(format, true).into())
        }
        (Bound::Number(units), DataType::Decimal128(_, scale)) => decimal(units, *scale),
        _ => None,
    }
}

/// Whole numbers of up to 15 digits and the powers of ten here are exact in binary, so one division rounds once and
/// printing the quotient gives the decimal back.
fn decimal(units: i64, scale: i8) -> Option<Value> {
    if units.abs() >= DECIMAL_UNITS_MAX {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "below 2^53, see above")]
    let value = units as f64 / 10_f64.powi(scale.into());
    Number::from_f64(value).map(Value::Number)
}
