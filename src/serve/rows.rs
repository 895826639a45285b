//! Answers as PostgreSQL writes them: what columns are called there, and their values as text or in binary.
//!
//! | here | there |
//! |---|---|
//! | integers, floats, booleans, texts, bytes, dates, times, lists | their like |
//! | decimals | `numeric`, digit for digit |
//! | instants | `timestamptz`, shown in the connection's time zone |
//! | what PostgreSQL has no type for | `text` |
//!
//! Invariant: pure. A null is a null in both formats, and no decimal becomes a float.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions as ShownAs};
use bytes::{BufMut as _, BytesMut};
use datafusion_postgres::arrow_pg::datatypes::field_into_pg_type;
use datafusion_postgres::arrow_pg::encoder::encode_value;
use pgwire::api::Type;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo};
use pgwire::types::format::FormatOptions;

use super::failure::{Failure, code};
use crate::query::names::shown;

/// How a client wants columns: none is text, one stands for all, else one for each.
pub(super) type Formats = [i16];

/// The columns as a client sees them.
pub(super) fn columns(
    schema: &Schema,
    formats: &Formats,
    options: &Arc<FormatOptions>,
) -> Result<Vec<FieldInfo>, Failure> {
    check_formats(formats, schema.fields().len())?;
    let column = |(index, field): (usize, &Arc<Field>)| {
        let (pg_type, modifier) = wire_type(field);
        let info =
            FieldInfo::new(shown(field.name()).to_owned(), None, None, pg_type.clone(), format_of(formats, index));
        let info = info.with_format_options(Arc::clone(options)).with_type_size(size_of(&pg_type));
        info.with_type_modifier(modifier)
    };
    Ok(schema.fields().iter().enumerate().map(column).collect())
}

/// Whether there are as many formats as there may be.
pub(super) fn check_formats(formats: &Formats, count: usize) -> Result<(), Failure> {
    if formats.len() > 1 && formats.len() != count {
        return Err(Failure::new(code::PROTOCOL, format!("{} formats were sent for {count} values", formats.len())));
    }
    match formats.iter().find(|format| !matches!(format, 0 | 1)) {
        Some(format) => Err(Failure::new(code::PROTOCOL, format!("there is no format {format}"))),
        None => Ok(()),
    }
}

fn format_of(formats: &Formats, index: usize) -> FieldFormat {
    let format = if formats.len() == 1 { formats.first() } else { formats.get(index) };
    FieldFormat::from(format.copied().unwrap_or(0))
}

/// The type, and for decimals its precision and scale as PostgreSQL packs them.
fn wire_type(field: &Arc<Field>) -> (Type, i32) {
    let numeric = |precision: u8, scale: i8| (Type::NUMERIC, ((i32::from(precision) << 16) | i32::from(scale)) + 4);
    match field.data_type() {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) if *scale >= 0 => {
            numeric(*precision, *scale)
        }
        DataType::Decimal128(..) | DataType::Decimal256(..) => (Type::NUMERIC, -1),
        DataType::Null => (Type::TEXT, -1),
        _ => (field_into_pg_type(field).unwrap_or(Type::TEXT), -1),
    }
}

/// Whether two columns are of the same type for a client.
pub(super) fn has_type_of(one: &Arc<Field>, other: &Arc<Field>) -> bool {
    wire_type(one).0 == wire_type(other).0
}

/// What PostgreSQL has no width for is sent in the next one.
fn wider(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Int8 => Some(DataType::Int16),
        DataType::List(item) => Some(DataType::new_list(wider(item.data_type())?, item.is_nullable())),
        _ => None,
    }
}

fn size_of(pg_type: &Type) -> i16 {
    match *pg_type {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::FLOAT4 | Type::DATE | Type::OID => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME => 8,
        _ => -1,
    }
}

/// One batch, ready to be written row by row.
pub(super) struct Rows {
    columns: Vec<Column>,
    next: usize,
    count: usize,
}

struct Column {
    values: ArrayRef,
    field: Field,
    info: FieldInfo,
    encoder: DataRowEncoder,
    kind: ColumnKind,
}

enum ColumnKind {
    Decimal,
    /// What PostgreSQL has no type for.
    Shown,
    /// What has an encoder elsewhere.
    Other,
}

impl Rows {
    pub(super) fn new(batch: &RecordBatch, columns: &[FieldInfo]) -> Result<Self, Failure> {
        if batch.num_columns() != columns.len() {
            return Err(Failure::new(code::INTERNAL, "the answer has other columns than were told"));
        }
        let schema = batch.schema();
        let fields = schema.fields().iter().zip(batch.columns()).zip(columns);
        let columns = fields.map(|((field, values), info)| Column::new(field, values, info));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { columns, next: 0, count: batch.num_rows() })
    }

    /// Writes the next row's values, each with its length; false: there is none.
    pub(super) fn write_next(&mut self, out: &mut BytesMut) -> Result<bool, Failure> {
        if self.next == self.count {
            return Ok(false);
        }
        for column in &mut self.columns {
            column.write(self.next, out)?;
        }
        self.next += 1;
        Ok(true)
    }
}

impl Column {
    fn new(field: &Arc<Field>, values: &ArrayRef, info: &FieldInfo) -> Result<Self, Failure> {
        let kind = match field.data_type() {
            DataType::Decimal128(..) | DataType::Decimal256(..) => ColumnKind::Decimal,
            _ if field_into_pg_type(field).is_err() => ColumnKind::Shown,
            _ => ColumnKind::Other,
        };
        if wire_type(field).0 != *info.datatype() {
            let message = format!("`{}` has another type than was told", info.name());
            return Err(Failure::new(code::INTERNAL, message).with_hint("name its type: `CAST(… AS …)`"));
        }
        let mut field = field.as_ref().clone();
        let mut values = Arc::clone(values);
        if let Some(wider) = wider(field.data_type()) {
            values = cast(&values, &wider).map_err(|error| Failure::new(code::DATA, error.to_string()))?;
            field = field.with_data_type(wider);
        }
        if let DataType::Timestamp(unit, Some(_)) = field.data_type() {
            // The instant stays; the zone it is shown in is the connection's.
            let zoned = DataType::Timestamp(*unit, Some(info.format_options().time_zone.as_str().into()));
            values = cast(&values, &zoned).map_err(|error| Failure::new(code::DATA, error.to_string()))?;
            field = field.with_data_type(zoned);
        }
        let encoder = DataRowEncoder::new(Arc::new(vec![info.clone()]));
        Ok(Self { values, field, info: info.clone(), encoder, kind })
    }

    fn write(&mut self, row: usize, out: &mut BytesMut) -> Result<(), Failure> {
        if self.values.is_null(row) || self.field.data_type() == &DataType::Null {
            out.put_i32(-1);
            return Ok(());
        }
        match self.kind {
            ColumnKind::Decimal => self.write_decimal(row, out),
            ColumnKind::Shown => {
                let shown = ArrayFormatter::try_new(&self.values, &ShownAs::default());
                let shown = shown.map_err(|error| Failure::new(code::DATA, error.to_string()))?;
                put_value(out, shown.value(row).to_string().as_bytes());
            }
            ColumnKind::Other => {
                let encoded = encode_value(&mut self.encoder, &self.values, row, &self.field, &self.info);
                encoded.map_err(|error| {
                    Failure::new(code::DATA, format!("`{}` cannot be sent: {error}", self.info.name()))
                })?;
                out.put_slice(&self.encoder.take_row().data);
            }
        }
        Ok(())
    }

    fn write_decimal(&self, row: usize, out: &mut BytesMut) {
        let text = match self.values.data_type() {
            DataType::Decimal256(..) => self.values.as_primitive::<Decimal256Type>().value_as_string(row),
            _ => self.values.as_primitive::<Decimal128Type>().value_as_string(row),
        };
        match self.info.format() {
            FieldFormat::Text => put_value(out, text.as_bytes()),
            FieldFormat::Binary => put_value(out, &numeric(&text)),
        }
    }
}

fn put_value(out: &mut BytesMut, value: &[u8]) {
    out.put_i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
    out.put_slice(value);
}

/// A decimal's digits in PostgreSQL's binary form: groups of four, the first one's weight, the sign, digits after the point.
fn numeric(text: &str) -> Vec<u8> {
    let (is_negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
    let padded = format!("{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
    let all = format!("{whole}{padded}");
    let group = |four: &[u8]| four.iter().fold(0_i16, |sum, digit| sum * 10 + i16::from(digit - b'0'));
    let mut groups: Vec<i16> = all.as_bytes().chunks(4).map(group).collect();
    let mut weight = i16::try_from(whole.len() / 4).unwrap_or(i16::MAX) - 1;
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    weight -= i16::try_from(leading).unwrap_or(i16::MAX);
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    let sign = if is_negative && !groups.is_empty() { 0x4000_u16 } else { 0 };
    let mut out = Vec::with_capacity(8 + 2 * groups.len());
    out.put_i16(i16::try_from(groups.len()).unwrap_or(i16::MAX));
    out.put_i16(weight);
    out.put_u16(sign);
    out.put_i16(i16::try_from(fraction.len()).unwrap_or(i16::MAX));
    groups.iter().for_each(|group| out.put_i16(*group));
    out
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Int64Array, IntervalYearMonthArray,
        ListArray, NullArray, StringViewArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::{Int32Type, i256};

    use super::*;

    fn texts(values: ArrayRef, zone: &str) -> Vec<Option<String>> {
        let mut options = FormatOptions::default();
        options.time_zone = zone.to_owned();
        let schema = Schema::new(vec![Field::new("x", values.data_type().clone(), true)]);
        let columns = columns(&schema, &[], &Arc::new(options)).unwrap();
        let batch = RecordBatch::try_new(Arc::new(schema), vec![values]).unwrap();
        let (mut rows, mut found) = (Rows::new(&batch, &columns).unwrap(), Vec::new());
        let mut out = BytesMut::new();
        while rows.write_next(&mut out).unwrap() {
            let row = out.split();
            let length = i32::from_be_bytes(row[..4].try_into().unwrap());
            found.push((length >= 0).then(|| String::from_utf8(row[4..].to_vec()).unwrap()));
        }
        found
    }

    #[test]
    fn values_are_written_as_postgresql_writes_them_and_nulls_are_nulls() {
        let some = |text: &str| Some(text.to_owned());
        let check = |values: ArrayRef, expected: [Option<String>; 2]| {
            let kind = values.data_type().clone();
            assert_eq!(texts(values, "UTC"), expected, "{kind}");
        };
        check(Arc::new(Int64Array::from(vec![Some(-7), None])), [some("-7"), None]);
        check(Arc::new(BooleanArray::from(vec![Some(true), None])), [some("t"), None]);
        check(Arc::new(StringViewArray::from(vec![Some("货盘"), None])), [some("货盘"), None]);
        check(Arc::new(BinaryArray::from(vec![Some(&b"\x01\xff"[..]), None])), [some("\\x01ff"), None]);
        check(Arc::new(Date32Array::from(vec![Some(20_777), None])), [some("2026-11-20"), None]);
        check(Arc::new(IntervalYearMonthArray::from(vec![Some(14), None])), [some("1 year 2 mons"), None]);
        check(Arc::new(NullArray::new(2)), [None, None]);
        let decimals = Decimal128Array::from(vec![Some(i128::MAX / 4), None]).with_precision_and_scale(38, 4).unwrap();
        check(Arc::new(decimals), [some("4253529586511730793292182592897102.6431"), None]);
        let wide =
            Decimal256Array::from(vec![Some(i256::from_i128(-5)), None]).with_precision_and_scale(76, 3).unwrap();
        check(Arc::new(wide), [some("-0.005"), None]);
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), None]);
        check(Arc::new(list), [some("{1,NULL}"), None]);
    }

    #[test]
    fn instants_are_shown_in_the_zone_of_the_connection() {
        let values = || Arc::new(TimestampMicrosecondArray::from(vec![1_795_000_000_123_456]).with_timezone("UTC"));
        assert_eq!(texts(values(), "UTC"), [Some("2026-11-18 11:06:40.123456+00".to_owned())]);
        assert_eq!(texts(values(), "Asia/Shanghai"), [Some("2026-11-18 19:06:40.123456+08".to_owned())]);
    }

    #[test]
    fn decimals_have_postgresqls_binary_form() {
        let form =
            |text: &str| numeric(text).chunks(2).map(|two| i16::from_be_bytes([two[0], two[1]])).collect::<Vec<_>>();
        assert_eq!(form("12345.678"), [3, 1, 0, 3, 1, 2345, 6780]);
        assert_eq!(form("-0.0050"), [1, -1, 0x4000, 4, 50]);
        assert_eq!(form("0.00"), [0, 0, 0, 2]);
        assert_eq!(form("100000000"), [1, 2, 0, 0, 1]);
        assert_eq!(form("0.00000001"), [1, -2, 0, 8, 1]);
    }

    #[test]
    fn formats_are_none_one_or_as_many_as_columns() {
        for (formats, count, is_right) in
            [(&[][..], 3, true), (&[1], 3, true), (&[0, 1, 1], 3, true), (&[0, 1], 3, false), (&[2], 3, false)]
        {
            assert_eq!(check_formats(formats, count).is_ok(), is_right, "{formats:?}");
        }
        assert_eq!(format_of(&[1], 2), FieldFormat::Binary);
        assert_eq!(format_of(&[0, 1], 0), FieldFormat::Text);
    }
}
