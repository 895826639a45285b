//! Files of both profiles: what a reader finds in them.

use std::sync::Arc;

use arrow::array::{
    Array, AsArray, Decimal128Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit, TimestampNanosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Type as PhysicalType;
use parquet::file::properties::WriterProperties;

use super::Days;
use super::hive::HiveWriter;

#[test]
fn spans_of_days_are_read() {
    for (text, expected) in [
        ("2026-11-20", Some("2026-11-20 2026-11-20")),
        ("2026-11-01..2026-11-20", Some("2026-11-01 2026-11-20")),
        ("2026-11-20..2026-11-01", None),
        ("2026-11-20..", None),
        ("today", None),
    ] {
        let shown = text.parse::<Days>().ok().map(|days| format!("{} {}", days.first, days.last));
        assert_eq!(shown.as_deref(), expected, "{text}");
    }
}

#[test]
fn a_hive_file_holds_the_values_that_went_in_over_several_row_groups() {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let texts = DataType::List(Arc::new(Field::new("element", DataType::Utf8, true)));
    let schema = Arc::new(Schema::new(vec![
        Field::new("at", utc, true),
        Field::new("price", DataType::Decimal128(18, 4), true),
        Field::new("images", texts, true),
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("rate", DataType::Decimal128(5, 4), true),
    ]));
    let mut images = ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
    images.append_value([Some("a"), None]);
    images.append_null();
    images.append_value([Some("b")]);
    let at = TimestampMicrosecondArray::from(vec![Some(1_795_190_400_123_456), None, Some(-1)]).with_timezone("UTC");
    let price = Decimal128Array::from(vec![Some(-1), None, Some(999_999_999_999_999_999)]);
    let rate = Decimal128Array::from(vec![Some(9999), Some(0), None]);
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(at),
            Arc::new(price.with_precision_and_scale(18, 4).unwrap()),
            Arc::new(images.finish()),
            Arc::new(Int64Array::from(vec![1, 2, 3])),
            Arc::new(StringArray::from(vec![Some("货盘"), None, Some("")])),
            Arc::new(rate.with_precision_and_scale(5, 4).unwrap()),
        ],
    )
    .unwrap();
    let mut writer =
        HiveWriter::new(Vec::new(), Arc::clone(&schema), WriterProperties::builder().build(), 5, 1 << 20).unwrap();
    for _ in 0..3 {
        writer.write(&batch).unwrap();
    }
    let file = bytes::Bytes::from(writer.finish().unwrap());
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    assert_eq!(builder.metadata().num_row_groups(), 2);
    let columns = builder.parquet_schema().columns().iter();
    let types: Vec<_> =
        columns.map(|column| (column.name().to_owned(), column.physical_type(), column.type_length())).collect();
    assert_eq!(types[0].1, PhysicalType::INT96);
    assert_eq!((types[1].1, types[1].2), (PhysicalType::FIXED_LEN_BYTE_ARRAY, 8));
    assert_eq!((types[5].1, types[5].2), (PhysicalType::FIXED_LEN_BYTE_ARRAY, 3));
    let mut rows = 0;
    for read in builder.with_batch_size(3).build().unwrap() {
        let read = read.unwrap();
        rows += read.num_rows();
        let at = read.column(0).as_primitive::<TimestampNanosecondType>();
        assert_eq!((at.value(0), at.is_null(1), at.value(2)), (1_795_190_400_123_456_000, true, -1000));
        for column in 1..6 {
            assert_eq!(read.column(column), batch.column(column), "{column}");
        }
    }
    assert_eq!(rows, 9);
}
