//! One value as a client sends it: its type there → its type here, its text or bytes → what it is.
//!
//! Invariant: pure. No bytes make it panic, and a value that is none of its type never passes for another or for a null.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL128_MAX_SCALE, DataType, IntervalUnit, TimeUnit};
use datafusion::common::ScalarValue;
use pgwire::api::Type;

use super::lists::{binary_elements, elements};

/// Digits after the point of decimals of which nothing is known.
const DECIMAL_DEFAULT_SCALE: i8 = 10;

/// What values of a type are here; decimals have the digits they are written with.
pub(super) fn data_type(pg_type: &Type) -> Option<DataType> {
    Some(match *pg_type {
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 | Type::OID => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::DATE => DataType::Date32,
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::BOOL => DataType::Boolean,
        Type::NUMERIC => DataType::Decimal128(DECIMAL128_MAX_PRECISION, DECIMAL_DEFAULT_SCALE),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::UUID | Type::JSON => {
            DataType::Utf8
        }
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        Type::TIME => DataType::Time64(TimeUnit::Nanosecond),
        Type::BYTEA => DataType::Binary,
        _ => DataType::new_list(data_type(&item(pg_type)?)?, true),
    })
}

/// Whether values of a type are read here.
pub(super) fn is_read(pg_type: &Type) -> bool {
    !matches!(*pg_type, Type::TIME | Type::BYTEA) && data_type(pg_type).is_some()
}

/// The type of a list's elements.
fn item(pg_type: &Type) -> Option<Type> {
    Some(match *pg_type {
        Type::BOOL_ARRAY => Type::BOOL,
        Type::INT2_ARRAY => Type::INT2,
        Type::INT4_ARRAY => Type::INT4,
        Type::INT8_ARRAY => Type::INT8,
        Type::OID_ARRAY => Type::OID,
        Type::FLOAT4_ARRAY => Type::FLOAT4,
        Type::FLOAT8_ARRAY => Type::FLOAT8,
        Type::NUMERIC_ARRAY => Type::NUMERIC,
        Type::DATE_ARRAY => Type::DATE,
        Type::TIMESTAMP_ARRAY => Type::TIMESTAMP,
        Type::TIMESTAMPTZ_ARRAY => Type::TIMESTAMPTZ,
        Type::TEXT_ARRAY => Type::TEXT,
        Type::VARCHAR_ARRAY => Type::VARCHAR,
        Type::BPCHAR_ARRAY => Type::BPCHAR,
        Type::NAME_ARRAY => Type::NAME,
        Type::UUID_ARRAY => Type::UUID,
        _ => return None,
    })
}

/// A value as text; `None`: it is none of its type.
pub(super) fn from_text(pg_type: &Type, bytes: &[u8]) -> Option<ScalarValue> {
    let text = std::str::from_utf8(bytes).ok()?;
    if let Some(of) = item(pg_type) {
        let values =
            elements(text)?.into_iter().map(|element| element.map(|element| from_text(&of, element.as_bytes())));
        return list(&of, values);
    }
    match (pg_type, data_type(pg_type)?) {
        (&Type::NUMERIC, _) => decimal(text.trim()),
        (_, DataType::Boolean) => boolean(text.trim()),
        (_, DataType::Utf8) => Some(ScalarValue::Utf8(Some(text.to_owned()))),
        // A text that is none of the type must not pass for a null.
        (_, other) => {
            ScalarValue::try_from_string(text.trim().to_owned(), &other).ok().filter(|value| !value.is_null())
        }
    }
}

/// A value in PostgreSQL's binary form; `None`: it is none of its type.
pub(super) fn from_binary(pg_type: &Type, bytes: &[u8]) -> Option<ScalarValue> {
    /// Days and microseconds from 1970-01-01 to 2000-01-01, from where PostgreSQL counts.
    const DAYS: i32 = 10_957;
    const MICROS: i64 = 946_684_800_000_000;
    if let Some(of) = item(pg_type) {
        let values =
            binary_elements(bytes)?.into_iter().map(|element| element.map(|element| from_binary(&of, element)));
        return list(&of, values);
    }
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
        Type::INTERVAL => interval(bytes)?,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON => {
            ScalarValue::Utf8(Some(std::str::from_utf8(bytes).ok()?.to_owned()))
        }
        _ => return None,
    })
}

/// Microseconds, days and months.
fn interval(bytes: &[u8]) -> Option<ScalarValue> {
    let (micros, bytes) = bytes.split_first_chunk()?;
    let (days, bytes) = bytes.split_first_chunk()?;
    let nanos = i64::from_be_bytes(*micros).checked_mul(1000)?;
    let months = i32::from_be_bytes(bytes.try_into().ok()?);
    Some(ScalarValue::new_interval_mdn(months, i32::from_be_bytes(*days), nanos))
}

/// A list of values of a type, which have the digits of the longest if they are decimals.
fn list(of: &Type, values: impl Iterator<Item = Option<Option<ScalarValue>>>) -> Option<ScalarValue> {
    // A null is one; what cannot be read is no list.
    let values = values.map(|value| match value {
        Some(Some(value)) => Some(Some(value)),
        Some(None) => None,
        None => Some(None),
    });
    let values = values.collect::<Option<Vec<Option<ScalarValue>>>>()?;
    let data_type = match values.iter().any(Option::is_some) {
        true => common(values.iter().flatten())?,
        false => data_type(of)?,
    };
    let values = values.into_iter().map(|value| match value {
        Some(value) => value.cast_to(&data_type).ok(),
        None => ScalarValue::try_from(&data_type).ok(),
    });
    let values = values.collect::<Option<Vec<ScalarValue>>>()?;
    Some(ScalarValue::List(ScalarValue::new_list_nullable(&values, &data_type)))
}

/// The type that has room for all values, which differ in their digits only.
fn common<'a>(mut values: impl Iterator<Item = &'a ScalarValue>) -> Option<DataType> {
    let first = values.next()?.data_type();
    values.try_fold(first, |common, value| match (common, value.data_type()) {
        (DataType::Decimal128(precision, scale), DataType::Decimal128(more, finer)) => {
            let digits = |precision: u8, scale: i8| i16::from(precision) - i16::from(scale);
            let (whole, scale) = (digits(precision, scale).max(digits(more, finer)), scale.max(finer));
            let precision = u8::try_from(whole + i16::from(scale)).ok()?;
            (precision <= DECIMAL128_MAX_PRECISION).then_some(DataType::Decimal128(precision, scale))
        }
        (common, other) => (common == other).then_some(common),
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

#[cfg(test)]
mod tests {
    use arrow::array::Array as _;

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
        let interval = |micros: i64, rest: &[u8]| {
            from_binary(&Type::INTERVAL, &[&micros.to_be_bytes(), rest].concat()).map(|value| format!("{value:?}"))
        };
        let two_days_of_a_month = [0, 0, 0, 2, 0, 0, 0, 1];
        let of_text = from_text(&Type::INTERVAL, b"1 mons 2 days 3600.5 secs").map(|value| format!("{value:?}"));
        assert_eq!(interval(3_600_500_000, &two_days_of_a_month), of_text);
        assert!(of_text.unwrap().contains("months: 1, days: 2, nanoseconds: 3600500000000"));
        assert_eq!(interval(i64::MAX, &two_days_of_a_month), None, "longer than what nanoseconds count");
        assert_eq!((interval(1, &[0]), from_text(&Type::INTERVAL, b"soon")), (None, None));
    }

    #[test]
    fn lists_keep_their_nulls_their_empty_texts_and_the_digits_of_their_decimals() {
        let read = |pg_type: &Type, given: &str| {
            let ScalarValue::List(list) = from_text(pg_type, given.as_bytes())? else { panic!("{given} is no list") };
            let elements = list.value(0);
            let element = |place| ScalarValue::try_from_array(&elements, place).unwrap();
            let elements = (0..elements.len()).map(element).map(|element| match element.is_null() {
                true => "null".to_owned(),
                false => format!("<{element}>"),
            });
            Some(elements.collect::<Vec<_>>().join(" "))
        };
        for (pg_type, given, expected) in [
            (Type::TEXT_ARRAY, r#"{a,NULL,"","NULL","b,c"}"#, Some("<a> null <> <NULL> <b,c>")),
            (Type::INT8_ARRAY, "{1,NULL}", Some("<1> null")),
            (Type::NUMERIC_ARRAY, "{1.5,-100,0.001,NULL}", Some("<1.500> <-100.000> <0.001> null")),
            (Type::DATE_ARRAY, "{2026-11-20}", Some("<2026-11-20>")),
            (Type::BOOL_ARRAY, "{t,f}", Some("<true> <false>")),
            (Type::TEXT_ARRAY, "{}", Some("")),
            (Type::INT4_ARRAY, "{1,x}", None),
            (Type::INT4_ARRAY, "1", None),
            (Type::INT4_ARRAY, "{{1}}", None),
            (Type::NUMERIC_ARRAY, "{0.00000000000000000000000000000000000001,1}", None),
        ] {
            assert_eq!(read(&pg_type, given).as_deref(), expected, "{given} as {pg_type}");
        }
        let typed = |pg_type: &Type, given: &str| from_text(pg_type, given.as_bytes()).map(|value| value.data_type());
        assert_eq!(
            typed(&Type::NUMERIC_ARRAY, "{1.5,-100,0.001}"),
            Some(DataType::new_list(DataType::Decimal128(6, 3), true))
        );
        // One dimension of two dates, the second a null.
        let words = [1_i32, 1, 1082, 2, 1, 4, 9_820, -1];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let dates = from_binary(&Type::DATE_ARRAY, &bytes).map(|value| value.to_string());
        assert_eq!(dates.as_deref(), Some("[2026-11-20, ]"));
        assert_eq!(from_binary(&Type::DATE_ARRAY, &bytes[..30]), None);
    }
}
