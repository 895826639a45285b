//! The arguments of one call, by row, and what they take.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericListArray, Int64Array, LargeStringArray, OffsetSizeTrait, StringArray,
    StringViewArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, TimeUnit};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use datafusion::scalar::ScalarValue;

/// Lists are built by position: an element's place takes this while they are.
pub(super) const INDEX_BYTES: u64 = 16;
const VIEW_BYTES: u64 = 16;
/// Texts of this many bytes lie in the view itself.
const VIEW_TEXT_BYTES: u32 = 12;
const DAY_NANOS: i128 = 86_400_000_000_000;
/// A day on which clocks are set forward is shorter; two hours are more than any has lost.
const DAY_NANOS_MIN: i128 = DAY_NANOS / 24 * 22;
const MONTH_DAYS_MIN: i128 = 28;

/// The arguments of one call, and what it may give.
pub(super) struct Call<'a> {
    pub(super) args: &'a [ColumnarValue],
    pub(super) rows: usize,
    pub(super) bytes_max: u64,
}

impl<'a> Call<'a> {
    pub(super) fn new(args: &'a ScalarFunctionArgs, bytes_max: u64) -> Self {
        let columns = args.args.iter().filter_map(|arg| match arg {
            ColumnarValue::Array(array) => Some(array.len()),
            ColumnarValue::Scalar(_) => None,
        });
        // Constants are computed for an empty batch, too.
        let rows = columns.min().unwrap_or(args.number_rows.max(1));
        Self { args: &args.args, rows, bytes_max }
    }

    /// It may give so much beyond what its arguments take already: rows that are in memory may be passed on.
    pub(super) fn with_arguments_free(self) -> Self {
        let held = self.args.iter().map(|arg| match arg {
            ColumnarValue::Array(array) => array.get_array_memory_size() as u64,
            ColumnarValue::Scalar(value) => value.size() as u64,
        });
        Self { bytes_max: held.fold(self.bytes_max, u64::saturating_add), ..self }
    }

    /// The bytes of all rows, or any number above the most allowed.
    pub(super) fn total(&self, bytes: impl Fn(usize) -> u64) -> u64 {
        let mut total = 0_u64;
        for row in 0..self.rows {
            total = total.saturating_add(bytes(row));
            if total > self.bytes_max {
                break;
            }
        }
        total
    }
}

/// An argument of texts, by row; null is empty.
pub(super) enum Texts<'a> {
    One(&'a str),
    Small(&'a StringArray),
    Large(&'a LargeStringArray),
    View(StringViewArray),
}

impl<'a> Texts<'a> {
    pub(super) fn of(arg: &'a ColumnarValue) -> Option<Self> {
        let array = match arg {
            ColumnarValue::Scalar(value) if value.is_null() => return Some(Self::One("")),
            ColumnarValue::Scalar(value) => return value.try_as_str().flatten().map(Self::One),
            ColumnarValue::Array(array) => array,
        };
        Some(match array.data_type() {
            DataType::Utf8 => Self::Small(array.as_string()),
            DataType::LargeUtf8 => Self::Large(array.as_string()),
            _ => Self::View(cast(array, &DataType::Utf8View).ok()?.as_string_view().clone()),
        })
    }

    pub(super) fn at(&self, row: usize) -> &str {
        match self {
            Self::One(text) => text,
            Self::Small(texts) if texts.is_valid(row) => texts.value(row),
            Self::Large(texts) if texts.is_valid(row) => texts.value(row),
            Self::View(texts) if texts.is_valid(row) => texts.value(row),
            _ => "",
        }
    }

    pub(super) fn bytes(&self, row: usize) -> u64 {
        self.at(row).len() as u64
    }
}

/// An argument of integers, dates or moments, by row; the latter two in nanoseconds.
pub(super) struct Numbers {
    values: Int64Array,
    is_one: bool,
    unit: i128,
}

impl Numbers {
    /// The same for all rows.
    pub(super) fn one(number: i64) -> Self {
        Self { values: Int64Array::from(vec![number]), is_one: true, unit: 1 }
    }

    pub(super) fn of(arg: &ColumnarValue) -> Option<Self> {
        let array = arg.to_array(1).ok()?;
        let unit = match array.data_type() {
            DataType::Date32 => DAY_NANOS,
            DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000_000,
            DataType::Timestamp(TimeUnit::Second, _) => 1_000_000_000,
            DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
            _ => 1,
        };
        let values = cast(&array, &DataType::Int64).ok()?.as_primitive_opt::<Int64Type>()?.clone();
        Some(Self { values, is_one: matches!(arg, ColumnarValue::Scalar(_)), unit })
    }

    pub(super) fn at(&self, row: usize) -> Option<i128> {
        let row = if self.is_one { 0 } else { row };
        self.values.is_valid(row).then(|| i128::from(self.values.value(row)) * self.unit)
    }

    /// As a length: null and what is below 0 are none.
    pub(super) fn length(&self, row: usize) -> u64 {
        self.at(row).map_or(0, |number| u64::try_from(number.max(0)).unwrap_or(u64::MAX))
    }
}

/// The step of a series.
pub(super) enum Step {
    Of(i128),
    /// Months forward and days back may stand still.
    Endless,
}

impl Step {
    /// How many elements a series has at most; a step of 0 is the function's to refuse.
    pub(super) fn elements(&self, start: i128, stop: i128) -> u64 {
        match self {
            Self::Endless => u64::MAX,
            Self::Of(0) => 0,
            Self::Of(step) if (*step > 0 && start > stop) || (*step < 0 && start < stop) => 0,
            Self::Of(step) => u64::try_from((stop - start) / step).map_or(u64::MAX, |steps| steps.saturating_add(1)),
        }
    }
}

/// An argument of intervals, by row.
pub(super) struct Steps {
    values: ArrayRef,
    is_one: bool,
}

impl Steps {
    pub(super) fn of(arg: &ColumnarValue) -> Option<Self> {
        let values = arg.to_array(1).ok()?;
        let _ = values.as_primitive_opt::<IntervalMonthDayNanoType>()?;
        Some(Self { values, is_one: matches!(arg, ColumnarValue::Scalar(_)) })
    }

    /// The shortest that a step can be.
    pub(super) fn at(&self, row: usize) -> Option<Step> {
        let row = if self.is_one { 0 } else { row };
        if self.values.is_null(row) {
            return None;
        }
        let step = self.values.as_primitive::<IntervalMonthDayNanoType>().value(row);
        let parts = [i128::from(step.months), i128::from(step.days), i128::from(step.nanoseconds)];
        if parts.iter().any(|part| *part > 0) && parts.iter().any(|part| *part < 0) {
            return Some(Step::Endless);
        }
        let [months, days, nanoseconds] = parts;
        Some(Step::Of((months * MONTH_DAYS_MIN + days) * DAY_NANOS_MIN + nanoseconds))
    }
}

/// What each value takes as an element of a list, by row.
pub(super) type Widths<'a> = Box<dyn Fn(usize) -> u64 + 'a>;

/// Elements of lists, and values with parts of any length, by their average.
pub(super) fn widths(arg: &ColumnarValue) -> Option<Widths<'_>> {
    if let Some(width) = fixed_width(&arg.data_type()) {
        return Some(Box::new(move |_| width));
    }
    let array = match arg {
        ColumnarValue::Array(array) => array,
        ColumnarValue::Scalar(value) => {
            let text = value.try_as_str().flatten();
            let width = text.map_or_else(|| value.size(), |text| text.len() + size_of::<i64>()) as u64;
            return Some(Box::new(move |_| width));
        }
    };
    Some(match array.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => {
            let texts = Texts::of(arg)?;
            Box::new(move |row| texts.bytes(row) + size_of::<i64>() as u64)
        }
        DataType::List(_) => list_widths(array.as_list::<i32>()),
        DataType::LargeList(_) => list_widths(array.as_list::<i64>()),
        _ => {
            let width = average_width(array);
            Box::new(move |_| width)
        }
    })
}

fn list_widths<O: OffsetSizeTrait>(lists: &GenericListArray<O>) -> Widths<'_> {
    let each = average_width(lists.values()).saturating_add(INDEX_BYTES);
    Box::new(move |row| (lists.value_length(row).as_usize() as u64).saturating_mul(each))
}

/// Rounded up; of the part of the buffers that is the array's own.
fn average_width(array: &ArrayRef) -> u64 {
    let bytes = array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size());
    bytes.div_ceil(array.len().max(1)) as u64
}

/// What a value takes, if all of a type take the same. Long texts of a view are shared, not copied.
pub(crate) fn fixed_width(data_type: &DataType) -> Option<u64> {
    match data_type {
        DataType::Null => Some(0),
        DataType::Boolean => Some(1),
        DataType::Utf8View | DataType::BinaryView => Some(16),
        DataType::FixedSizeBinary(bytes) => u64::try_from(*bytes).ok(),
        DataType::FixedSizeList(element, length) => {
            Some(fixed_width(element.data_type())?.saturating_mul(u64::try_from(*length).ok()?))
        }
        DataType::Struct(fields) => fields.iter().map(|field| fixed_width(field.data_type())).sum(),
        other => other.primitive_width().map(|bytes| bytes as u64),
    }
}

/// What texts take that are joined: their own bytes, also where a view shares them.
pub(super) fn text_bytes(array: &ArrayRef) -> u64 {
    match array.data_type() {
        DataType::Utf8View => array.as_string_view().lengths().map(u64::from).sum(),
        DataType::BinaryView => array.as_binary_view().lengths().map(u64::from).sum(),
        _ => own_bytes(array),
    }
}

/// What one value takes that is copied.
pub(super) fn value_bytes(value: &ScalarValue) -> u64 {
    let array: ArrayRef = match value {
        ScalarValue::List(list) => Arc::clone(list) as _,
        ScalarValue::LargeList(list) => Arc::clone(list) as _,
        ScalarValue::Struct(fields) => Arc::clone(fields) as _,
        other => return other.try_as_str().flatten().map_or_else(|| other.size(), str::len) as u64,
    };
    own_bytes(&array)
}

/// What an array takes that is copied; long texts of a view are shared.
pub(super) fn own_bytes(array: &ArrayRef) -> u64 {
    match array.data_type() {
        DataType::Utf8View | DataType::BinaryView => VIEW_BYTES * array.len() as u64,
        DataType::List(_) => list_bytes(array.as_list::<i32>()),
        DataType::LargeList(_) => list_bytes(array.as_list::<i64>()),
        DataType::Struct(_) => array.as_struct().columns().iter().map(own_bytes).sum(),
        _ => array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size()) as u64,
    }
}

fn list_bytes<O: OffsetSizeTrait>(lists: &GenericListArray<O>) -> u64 {
    (size_of_val(lists.value_offsets()) as u64).saturating_add(own_bytes(&elements(lists)))
}

/// The elements of all lists together.
fn elements<O: OffsetSizeTrait>(lists: &GenericListArray<O>) -> ArrayRef {
    let offsets = lists.value_offsets();
    let (first, last) = (offsets[0].as_usize(), offsets[lists.len()].as_usize());
    lists.values().slice(first, last - first)
}

/// What is in lists, and in lists of lists.
pub(super) fn leaves(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::List(_) => leaves(&elements(array.as_list::<i32>())),
        DataType::LargeList(_) => leaves(&elements(array.as_list::<i64>())),
        _ => array.clone(),
    }
}

/// How many elements a list has, by row.
pub(super) fn list_lengths(arg: &ColumnarValue) -> Option<Widths<'_>> {
    let (array, is_one) = (arg.to_array(1).ok()?, matches!(arg, ColumnarValue::Scalar(_)));
    let lengths: Vec<u64> = match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().offsets().lengths().map(|length| length as u64).collect(),
        DataType::LargeList(_) => array.as_list::<i64>().offsets().lengths().map(|length| length as u64).collect(),
        _ => return None,
    };
    Some(Box::new(move |row| lengths[if is_one { 0 } else { row }]))
}

/// What rows keep from being freed: of a view, the texts that it shows, as far as there are so many.
pub(crate) fn held_bytes(array: &ArrayRef) -> u64 {
    let (buffers, lengths): (_, u64) = match array.data_type() {
        DataType::Utf8View => {
            let view = array.as_string_view();
            (view.data_buffers(), view.lengths().filter(|length| *length > VIEW_TEXT_BYTES).map(u64::from).sum())
        }
        DataType::BinaryView => {
            let view = array.as_binary_view();
            (view.data_buffers(), view.lengths().filter(|length| *length > VIEW_TEXT_BYTES).map(u64::from).sum())
        }
        _ => return own_bytes(array),
    };
    let all = buffers.iter().map(|buffer| buffer.len() as u64).fold(0, u64::saturating_add);
    own_bytes(array).saturating_add(lengths.min(all))
}
