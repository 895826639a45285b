//! Statistics of the publish log (Delta's form) as DataFusion's, so that files are skipped without being opened.
//!
//! Integers, dates and texts are taken. A bound in the log is a value of the column or it is absent (`load::stats`), so
//! it may answer `min` and `max`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};

use crate::load::log::DataFile;

/// The statistics of one file over the file's columns (without partition columns).
pub(super) fn of_file(file: &DataFile, file_schema: &Schema) -> Statistics {
    let columns = file_schema.fields().iter().map(|field| {
        let value = |key: &str| {
            scalar(&file.stats[key][field.name()], field.data_type()).map_or(Precision::Absent, Precision::Exact)
        };
        let null_count = file.stats["nullCount"][field.name()].as_u64();
        ColumnStatistics {
            min_value: value("minValues"),
            max_value: value("maxValues"),
            null_count: null_count.map_or(Precision::Absent, |count| Precision::Exact(to_usize(count))),
            ..ColumnStatistics::new_unknown()
        }
    });
    Statistics {
        num_rows: Precision::Exact(to_usize(file.rows)),
        // Of all columns, compressed: nothing that the few columns of a query can be compared by.
        total_byte_size: Precision::Absent,
        column_statistics: columns.collect(),
    }
}

fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn scalar(value: &serde_json::Value, data_type: &DataType) -> Option<ScalarValue> {
    match data_type {
        DataType::Int8 => Some(ScalarValue::Int8(Some(value.as_i64()?.try_into().ok()?))),
        DataType::Int16 => Some(ScalarValue::Int16(Some(value.as_i64()?.try_into().ok()?))),
        DataType::Int32 => Some(ScalarValue::Int32(Some(value.as_i64()?.try_into().ok()?))),
        DataType::Int64 => Some(ScalarValue::Int64(Some(value.as_i64()?))),
        DataType::Date32 => {
            let day: chrono::NaiveDate = value.as_str()?.parse().ok()?;
            Some(super::table::date_scalar(day))
        }
        DataType::Utf8View => value.as_str().map(|text| ScalarValue::Utf8View(Some(text.into()))),
        DataType::Utf8 => value.as_str().map(|text| ScalarValue::Utf8(Some(text.into()))),
        _ => None,
    }
}

/// All files' statistics together; an empty list is an empty table.
pub(super) fn merged<'a>(
    files: impl IntoIterator<Item = &'a Arc<Statistics>>,
    schema: &Schema,
) -> datafusion::common::Result<Statistics> {
    Statistics::try_merge_iter(files.into_iter().map(AsRef::as_ref), schema)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn what_the_log_says_is_exact_and_what_it_omits_is_unknown() {
        let file = DataFile {
            path: "offers/x.parquet".into(),
            bytes: 10,
            rows: 3,
            stats: serde_json::json!({
                "minValues": {"offer_id": 7, "shop_id": "b2b-1"},
                "maxValues": {"offer_id": 9},
                "nullCount": {"shop_id": 1},
            }),
            digest: None,
        };
        let schema = Schema::new(vec![
            Field::new("offer_id", DataType::Int64, false),
            Field::new("shop_id", DataType::Utf8View, true),
        ]);
        let stats = of_file(&file, &schema);
        assert_eq!(stats.num_rows, Precision::Exact(3));
        assert_eq!(stats.column_statistics[0].max_value, Precision::Exact(ScalarValue::Int64(Some(9))));
        assert_eq!(stats.column_statistics[1].min_value, Precision::Exact(ScalarValue::Utf8View(Some("b2b-1".into()))));
        assert_eq!(stats.column_statistics[1].max_value, Precision::Absent);
        assert_eq!(stats.column_statistics[1].null_count, Precision::Exact(1));
    }
}
