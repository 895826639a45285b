//! Rows for any table, made from its schema: every column has values, and nulls where it may.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Int8Array, Int16Array, Int32Array, Int64Array,
    ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field};

use crate::transform::contract::Table;

/// `rows` rows in the table's order.
pub fn sample(table: Table, rows: usize) -> RecordBatch {
    sample_from(table, 0, rows)
}

/// Rows number `first` and on.
pub fn sample_from(table: Table, first: usize, rows: usize) -> RecordBatch {
    let schema = table.file_schema().unwrap();
    let columns = schema.fields().iter().map(|field| column(field, first, rows)).collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

fn column(field: &Field, first: usize, rows: usize) -> ArrayRef {
    let numbers: Vec<i64> = (first..first + rows).map(|row| i64::try_from(row).unwrap()).collect();
    // `shop_id` and `offer_id` rise with the row, nulls first, as sorted tables want it.
    let null = |row: &i64| match field.name().as_str() {
        "shop_id" => field.is_nullable() && *row < 2,
        _ => field.is_nullable() && row % 3 == 1,
    };
    let value = |row: &i64| (!null(row)).then_some(*row);
    let wave = |row: i64| if field.name() == "offer_id" { row } else { (row * 7919) % 1009 - 500 };
    match field.data_type() {
        DataType::Utf8 if field.name() == "shop_id" => {
            Arc::new(StringArray::from_iter(numbers.iter().map(|row| value(row).map(|row| format!("b2b-{row:09}")))))
        }
        DataType::Utf8 => {
            let text = |row: i64| {
                format!(
                    "{}货盘 \"{}\" 'x' \\ {}",
                    (wave(row)),
                    field.name(),
                    "长".repeat(usize::try_from(row % 31).unwrap())
                )
            };
            Arc::new(StringArray::from_iter(numbers.iter().map(|row| value(row).map(text))))
        }
        DataType::Binary => Arc::new(BinaryArray::from_iter(
            numbers.iter().map(|row| value(row).map(|row| [0xff, 0x00, row.to_le_bytes()[0]])),
        )),
        DataType::Boolean => {
            Arc::new(numbers.iter().map(|row| value(row).map(|row| row % 2 == 0)).collect::<BooleanArray>())
        }
        DataType::Int8 => {
            let small = |row: i64| i8::try_from(row % 4).unwrap();
            Arc::new(numbers.iter().map(|row| value(row).map(small)).collect::<Int8Array>())
        }
        DataType::Int16 => {
            let small = |row: i64| i16::try_from(wave(row)).unwrap();
            Arc::new(numbers.iter().map(|row| value(row).map(small)).collect::<Int16Array>())
        }
        DataType::Int32 => {
            let small = |row: i64| i32::try_from(wave(row)).unwrap();
            Arc::new(numbers.iter().map(|row| value(row).map(small)).collect::<Int32Array>())
        }
        DataType::Int64 => {
            // Hashes use all 64 bits: `wave` is at most 509 either way.
            let scale = if field.name().ends_with("_hash") { i64::MAX / 509 } else { 1 };
            Arc::new(numbers.iter().map(|row| value(row).map(|row| wave(row) * scale)).collect::<Int64Array>())
        }
        DataType::Date32 => {
            let days = |row: i64| i32::try_from(20_000 + wave(row)).unwrap();
            Arc::new(numbers.iter().map(|row| value(row).map(days)).collect::<Date32Array>())
        }
        DataType::Timestamp(..) => {
            let micros = |row: i64| 1_795_190_400_000_000 + wave(row) * 1_000_003;
            let values = numbers.iter().map(|row| value(row).map(micros));
            Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
        DataType::Decimal128(precision, scale) => {
            // `price` has values that no binary float holds.
            let units = |row: i64| match field.name().as_str() {
                "price" => i128::from(wave(row)) * 199_999_999_999_999 + 1,
                _ => i128::from(wave(row)) * 19,
            };
            let values = numbers.iter().map(|row| value(row).map(units));
            Arc::new(values.collect::<Decimal128Array>().with_precision_and_scale(*precision, *scale).unwrap())
        }
        DataType::List(element) => {
            let mut lists = ListBuilder::new(StringBuilder::new()).with_field(Arc::clone(element));
            for row in &numbers {
                if let Some(row) = value(row) {
                    (0..row % 3).for_each(|item| lists.values().append_value(format!("https://图/{row}/{item}.jpg")));
                    lists.append(true);
                } else {
                    lists.append(false);
                }
            }
            Arc::new(lists.finish())
        }
        other => panic!("no sample of {other}"),
    }
}
