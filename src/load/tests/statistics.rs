use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::*;
use serde_json::{Value, json};

use super::rows::sample;
use super::*;

/// The true bounds of a column, found another way: from the rows.
fn truth(rows: &RecordBatch, name: &str) -> (Value, Value) {
    fn pair<T>(low: Option<T>, high: Option<T>, show: impl Fn(T) -> Value) -> (Value, Value) {
        (low.map_or(Value::Null, &show), high.map_or(Value::Null, &show))
    }
    fn bounds<T: ArrowNumericType>(column: &dyn Array, show: impl Fn(T::Native) -> Value) -> (Value, Value)
    where
        T::Native: PartialOrd,
    {
        let column = column.as_primitive::<T>();
        pair(min(column), max(column), show)
    }
    let column = rows.column_by_name(name).unwrap().as_ref();
    match column.data_type() {
        DataType::Int8 => bounds::<Int8Type>(column, Value::from),
        DataType::Int16 => bounds::<Int16Type>(column, Value::from),
        DataType::Int32 => bounds::<Int32Type>(column, Value::from),
        DataType::Int64 => bounds::<Int64Type>(column, Value::from),
        DataType::Date32 => {
            bounds::<Date32Type>(column, |days| Date32Type::to_naive_date_opt(days).unwrap().to_string().into())
        }
        DataType::Timestamp(..) => bounds::<TimestampMicrosecondType>(column, |micros| {
            let time = DateTime::from_timestamp_micros(micros).unwrap();
            time.format(if micros % 1000 == 0 { "%FT%T%.3fZ" } else { "%FT%T%.6fZ" }).to_string().into()
        }),
        DataType::Decimal128(_, scale) => {
            let scale = usize::try_from(*scale).unwrap();
            bounds::<Decimal128Type>(column, |units| {
                let digits = format!("{:0width$}", units.abs(), width = scale + 1);
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                let text = format!("{}{whole}.{fraction}", if units < 0 { "-" } else { "" });
                if units.abs() < 10_i128.pow(15) { text.parse::<f64>().unwrap().into() } else { Value::Null }
            })
        }
        DataType::Utf8 => {
            let column = column.as_string::<i32>();
            let show = |text: &str| if text.len() <= 64 { text.into() } else { Value::Null };
            pair(min_string(column), max_string(column), show)
        }
        _ => (Value::Null, Value::Null),
    }
}

#[track_caller]
fn check(rows: &RecordBatch, stats: &Value) {
    assert_eq!(stats["numRecords"], rows.num_rows());
    for field in rows.schema().fields() {
        let name = field.name();
        let (low, high) = truth(rows, name);
        assert_eq!(stats["minValues"][name], low, "least {name}");
        assert_eq!(stats["maxValues"][name], high, "greatest {name}");
        let counted = !matches!(field.data_type(), DataType::Binary | DataType::List(_));
        let nulls = rows.column_by_name(name).unwrap().null_count();
        assert_eq!(stats["nullCount"][name], if counted { json!(nulls) } else { Value::Null }, "nulls of {name}");
    }
}

fn written(table: Table, rows: &RecordBatch, row_group_rows: usize) -> DataFile {
    let (_folder, store) = lake();
    let target = Target { table, dt: day(20), pipeline: "p".to_owned(), run_id: "run-1".to_owned(), seq: 1 };
    let options = WriterOptions { row_group_rows, ..WriterOptions::default() };
    write(&store, target, options, std::slice::from_ref(rows)).remove(0)
}

#[test]
fn statistics_are_what_the_rows_say_over_one_and_many_row_groups() {
    for table in Table::ALL {
        for (rows, row_group_rows) in [(1, 1000), (2, 1000), (3, 1000), (500, 1000), (500, 7), (500, 1)] {
            let rows = sample(table, rows);
            check(&rows, &written(table, &rows, row_group_rows).stats);
        }
    }
}

#[test]
fn exact_bounds_win_over_shortened_ones_only_when_they_are_the_outermost() {
    let schema = Table::Offers.file_schema().unwrap();
    let (index, field) = schema.column_with_name("brand").unwrap();
    assert_eq!(field.data_type(), &DataType::Utf8);
    for (texts, low, high) in [
        (["b".repeat(100), "c".to_owned()], Value::Null, json!("c")),
        (["a".to_owned(), "b".repeat(100)], json!("a"), Value::Null),
        (["b".repeat(64), "b".repeat(65)], json!("b".repeat(64)), Value::Null),
        (["b".repeat(65), "b".repeat(65)], Value::Null, Value::Null),
    ] {
        let mut columns = sample(Table::Offers, 2).columns().to_vec();
        columns[index] = std::sync::Arc::new(arrow::array::StringArray::from(texts.to_vec()));
        let rows = RecordBatch::try_new(schema.clone(), columns).unwrap();
        for row_group_rows in [1, 2] {
            let stats = written(Table::Offers, &rows, row_group_rows).stats;
            assert_eq!(stats["minValues"]["brand"], low, "{texts:?}");
            assert_eq!(stats["maxValues"]["brand"], high, "{texts:?}");
        }
    }
}

#[test]
fn statistics_survive_the_publish_log() {
    for table in Table::ALL {
        let stats = written(table, &sample(table, 500), 100).stats;
        let back: Value = serde_json::from_slice(&serde_json::to_vec(&stats).unwrap()).unwrap();
        assert_eq!(back, stats);
    }
}
