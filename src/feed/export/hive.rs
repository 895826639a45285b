//! Parquet as old Hive, Impala and Spark write and read it: decimals as fixed-length bytes, times as INT96.
//!
//! Arrow's writer knows the first, given such a schema, and not the second: the columns of times are written beside it,
//! into the same row groups.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{LogicalType, Repetition, Type as PhysicalType};
use parquet::data_type::{Int96, Int96Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};

/// The Julian day of 1970-01-01.
const EPOCH_JULIAN_DAY: i64 = 2_440_588;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Writes one file. Every column has one leaf: a value, or a list of values.
pub struct HiveWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    group: Option<Group>,
    groups: usize,
    rows_max: usize,
    bytes_max: usize,
}

/// The row group under way.
struct Group {
    columns: Vec<ArrowColumnWriter>,
    /// The values of a column of times, and for each row whether it has one.
    times: BTreeMap<usize, (Vec<Int96>, Vec<i16>)>,
    rows: usize,
}

impl<W: Write + Send> HiveWriter<W> {
    /// A file without rows; a row group ends after so many rows or bytes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(
        out: W,
        schema: SchemaRef,
        properties: WriterProperties,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Self> {
        let root = legacy(&ArrowSchemaConverter::new().convert(&schema)?.root_schema_ptr())?;
        let file = SerializedFileWriter::new(out, root, Arc::new(properties))?;
        let factory = ArrowRowGroupWriterFactory::new(&file, Arc::clone(&schema));
        Ok(Self { file, factory, schema, group: None, groups: 0, rows_max, bytes_max })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let group = match &mut self.group {
            Some(group) => group,
            none => none.insert(Group {
                columns: self.factory.create_column_writers(self.groups)?,
                times: BTreeMap::new(),
                rows: 0,
            }),
        };
        for (index, (field, column)) in self.schema.fields().iter().zip(batch.columns()).enumerate() {
            if matches!(field.data_type(), DataType::Timestamp(..)) {
                add_times(group.times.entry(index).or_default(), column);
                continue;
            }
            for leaf in compute_leaves(field, column)? {
                group.columns[index].write(&leaf)?;
            }
        }
        group.rows += batch.num_rows();
        let is_full = group.rows >= self.rows_max || group.bytes() >= self.bytes_max;
        if is_full { self.end_group() } else { Ok(()) }
    }

    /// What the file has so far, with what is still held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.file.bytes_written() + self.group.as_ref().map_or(0, Group::bytes)
    }

    /// Ends the file and gives back what it was written to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<W> {
        self.end_group()?;
        self.file.into_inner()
    }

    fn end_group(&mut self) -> Result<()> {
        let Some(mut group) = self.group.take() else { return Ok(()) };
        let mut out = self.file.next_row_group()?;
        for (index, column) in group.columns.into_iter().enumerate() {
            let Some((values, levels)) = group.times.remove(&index) else {
                column.close()?.append_to_row_group(&mut out)?;
                continue;
            };
            let lost = || ParquetError::General("a row group lacks a column of its schema".to_owned());
            let mut times = out.next_column()?.ok_or_else(lost)?;
            times.typed::<Int96Type>().write_batch(&values, Some(&levels), None)?;
            times.close()?;
        }
        out.close()?;
        self.groups += 1;
        Ok(())
    }
}

impl Group {
    fn bytes(&self) -> usize {
        let times: usize = self.times.values().map(|(values, _)| values.len() * 12).sum();
        self.columns.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum::<usize>() + times
    }
}

fn add_times((values, levels): &mut (Vec<Int96>, Vec<i16>), column: &ArrayRef) {
    let times = column.as_primitive::<TimestampMicrosecondType>();
    for row in 0..times.len() {
        levels.push(i16::from(times.is_valid(row)));
        if times.is_valid(row) {
            values.push(int96(times.value(row)));
        }
    }
}

/// Nanoseconds of the day, low half first, then the Julian day.
fn int96(micros: i64) -> Int96 {
    let nanos = u64::try_from(micros.rem_euclid(MICROS_PER_DAY) * 1000).unwrap_or(0);
    let day = u32::try_from(micros.div_euclid(MICROS_PER_DAY) + EPOCH_JULIAN_DAY).unwrap_or(0);
    let half = |half: u64| u32::try_from(half & u64::from(u32::MAX)).unwrap_or(0);
    let mut value = Int96::new();
    value.set_data(half(nanos), half(nanos >> 32), day);
    value
}

/// The schema with the old spellings of decimals and times.
fn legacy(root: &Type) -> Result<TypePtr> {
    let fields = root.get_fields().iter().map(|field| {
        if !field.is_primitive() {
            return Ok(Arc::clone(field));
        }
        let builder = |physical| {
            Type::primitive_type_builder(field.name(), physical).with_repetition(field.get_basic_info().repetition())
        };
        Ok(Arc::new(match field.get_basic_info().logical_type_ref() {
            Some(LogicalType::Timestamp { .. }) => {
                // Whether a time is there is told by a level that only columns that may be null have.
                builder(PhysicalType::INT96).with_repetition(Repetition::OPTIONAL).build()?
            }
            Some(LogicalType::Decimal { .. }) => {
                let (precision, scale) = (field.get_precision(), field.get_scale());
                builder(PhysicalType::FIXED_LEN_BYTE_ARRAY)
                    .with_length(decimal_bytes(precision))
                    .with_precision(precision)
                    .with_scale(scale)
                    .with_logical_type(field.get_basic_info().logical_type_ref().cloned())
                    .build()?
            }
            _ => return Ok(Arc::clone(field)),
        }))
    });
    let fields = fields.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Type::group_type_builder("hive_schema").with_fields(fields).build()?))
}

/// The fewest bytes that hold every decimal of a precision, as Hive and Spark count them.
fn decimal_bytes(precision: i32) -> i32 {
    let bits = f64::from(precision) * 10_f64.log2() + 1.0;
    #[expect(clippy::cast_possible_truncation, reason = "a precision has two digits")]
    let bytes = (bits / 8.0).ceil() as i32;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_nanoseconds_of_a_julian_day() {
        for (micros, nanos, day) in [
            (0, 0, 2_440_588),
            (-1, 86_399_999_999_000_u64, 2_440_587),
            (1_795_190_400_000_001, 1000 + 57_600_000_000_000, 2_461_365),
        ] {
            let value = int96(micros);
            let [low, high, julian] = value.data() else { panic!() };
            assert_eq!((u64::from(*low) | u64::from(*high) << 32, *julian), (nanos, day), "{micros}");
            assert_eq!(value.to_micros(), micros);
        }
    }

    #[test]
    fn decimals_take_as_few_bytes_as_hive_takes() {
        for (precision, bytes) in [(2, 1), (4, 2), (5, 3), (9, 4), (18, 8), (38, 16)] {
            assert_eq!(decimal_bytes(precision), bytes, "{precision}");
        }
    }
}
