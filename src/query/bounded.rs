//! Scalar functions whose result is as large as their arguments say: each first tells how large, and is refused if that
//! is too much.
//!
//! DataFusion's memory pool counts sorts, joins and aggregates, not what a function gives, and constant calls run while
//! the query is planned. Without a bound `repeat('x', 2000000000)` or `range(1, 1000000000)` ends the process.
//!
//! | function | bytes of a row, at most |
//! |---|---|
//! | `repeat` | text × count |
//! | `lpad`, `rpad` | text + length × the widest character of the fill |
//! | `replace`, `regexp_replace` | text + places × replacement; the places are counted if a guess is too much |
//! | `range`, `generate_series` | 8 × (stop − start) / step, with the shortest month and day |
//! | `array_repeat`, `array_resize` | count × element |
//!
//! Invariant: a call that is not refused is DataFusion's own, in every respect.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericListArray, Int64Array, LargeStringArray, OffsetSizeTrait, StringArray,
    StringViewArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type, IntervalMonthDayNanoType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DataFusionError, ExprSchema, Result};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ExpressionPlacement, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, StructFieldMapping,
};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use regex::Regex;

/// What one call may give for one batch, in bytes, where the session may use more, beyond what its arguments take already:
/// rows that are in memory may be passed on.
const RESULT_BYTES_MAX: u64 = 256 << 20;
/// Lists are built by position: an element's place takes this while they are.
const INDEX_BYTES: u64 = 16;
const DAY_NANOS: i128 = 86_400_000_000_000;
/// A day on which clocks are set forward is shorter; two hours are more than any has lost.
const DAY_NANOS_MIN: i128 = DAY_NANOS / 24 * 22;
const MONTH_DAYS_MIN: i128 = 28;

/// How many bytes a call gives at most; `None` for arguments that the function itself refuses.
type Size = fn(&Call<'_>) -> Option<u64>;

const BOUNDED: &[(&str, Size)] = &[
    ("array_repeat", array_repeat),
    ("array_resize", array_resize),
    ("generate_series", range),
    ("lpad", pad),
    ("range", range),
    ("regexp_replace", regexp_replace),
    ("repeat", repeat),
    ("replace", replace),
    ("rpad", pad),
];

/// Puts the bounded functions in the place of those that a session has, which may use so much memory.
pub(super) fn bound(context: &SessionContext, memory_bytes_max: usize) {
    let (state, bytes_max) = (context.state(), RESULT_BYTES_MAX.min(memory_bytes_max as u64));
    for (name, size) in BOUNDED {
        if let Some(inner) = state.scalar_functions().get(*name) {
            context.register_udf(ScalarUDF::new_from_impl(Bounded {
                inner: Arc::clone(inner),
                size: *size,
                bytes_max,
            }));
        }
    }
}

/// A function that is asked how much it gives before it runs.
#[derive(Debug)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    size: Size,
    bytes_max: u64,
}

/// Which bound it has follows from the function.
impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

// A method left to its default would change what the optimizer knows of the function.
#[warn(clippy::missing_trait_methods)]
impl ScalarUDFImpl for Bounded {
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let call = Call::new(&args, self.bytes_max);
        if (self.size)(&call).is_some_and(|bytes| bytes > call.bytes_max) {
            let message = format!("`{}` would give more than {} bytes", self.name(), call.bytes_max);
            return Err(DataFusionError::ResourcesExhausted(message));
        }
        self.inner.inner().invoke_with_args(args)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let inner = Arc::new(self.inner.inner().with_updated_config(config)?);
        Some(ScalarUDF::new_from_impl(Self { inner, size: self.size, bytes_max: self.bytes_max }))
    }

    fn name(&self) -> &str {
        self.inner.inner().name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.inner().aliases()
    }

    #[expect(deprecated, reason = "part of the trait as long as it is there")]
    fn display_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.inner().display_name(args)
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.inner().schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.inner().signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.inner().return_field_from_args(args)
    }

    #[expect(deprecated, reason = "part of the trait as long as it is there")]
    fn is_nullable(&self, args: &[Expr], schema: &dyn ExprSchema) -> bool {
        self.inner.inner().is_nullable(args, schema)
    }

    fn is_strict(&self) -> bool {
        self.inner.inner().is_strict()
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.inner().simplify(args, info)
    }

    fn preimage(&self, args: &[Expr], literal: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.inner.inner().preimage(args, literal, info)
    }

    fn short_circuits(&self) -> bool {
        self.inner.inner().short_circuits()
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.inner().conditional_arguments(args)
    }

    fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        self.inner.inner().evaluate_bounds(inputs)
    }

    fn propagate_constraints(&self, interval: &Interval, inputs: &[&Interval]) -> Result<Option<Vec<Interval>>> {
        self.inner.inner().propagate_constraints(interval, inputs)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.inner().output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.inner().preserves_lex_ordering(inputs)
    }

    fn strictly_order_preserving(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.inner().strictly_order_preserving(inputs)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    fn struct_field_mapping(&self, literals: &[Option<ScalarValue>]) -> Option<StructFieldMapping> {
        self.inner.inner().struct_field_mapping(literals)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.inner().documentation()
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        self.inner.inner().placement(args)
    }
}

/// The arguments of one call, and what it may give.
struct Call<'a> {
    args: &'a [ColumnarValue],
    rows: usize,
    bytes_max: u64,
}

impl<'a> Call<'a> {
    fn new(args: &'a ScalarFunctionArgs, bytes_max: u64) -> Self {
        let columns = args.args.iter().filter_map(|arg| match arg {
            ColumnarValue::Array(array) => Some(array.len()),
            ColumnarValue::Scalar(_) => None,
        });
        // Constants are computed for an empty batch, too.
        let rows = columns.min().unwrap_or(args.number_rows.max(1));
        let held = args.args.iter().map(|arg| match arg {
            ColumnarValue::Array(array) => array.get_array_memory_size() as u64,
            ColumnarValue::Scalar(value) => value.size() as u64,
        });
        Self { args: &args.args, rows, bytes_max: held.fold(bytes_max, u64::saturating_add) }
    }

    /// The bytes of all rows, or any number above the most allowed.
    fn total(&self, bytes: impl Fn(usize) -> u64) -> u64 {
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

fn repeat(call: &Call<'_>) -> Option<u64> {
    let [text, count] = call.args else { return None };
    let (text, count) = (Texts::of(text)?, Numbers::of(count)?);
    Some(call.total(|row| count.length(row).saturating_mul(text.bytes(row))))
}

/// The room for the fill is reserved even where the text is null or longer.
fn pad(call: &Call<'_>) -> Option<u64> {
    let [text, length, fill @ ..] = call.args else { return None };
    let (text, length) = (Texts::of(text)?, Numbers::of(length)?);
    let fill = fill.first().map_or(Some(Texts::One(" ")), Texts::of)?;
    Some(call.total(|row| {
        let widest = if fill.at(row).is_ascii() { 1 } else { 4 };
        length.length(row).saturating_mul(widest).saturating_add(text.bytes(row))
    }))
}

fn replace(call: &Call<'_>) -> Option<u64> {
    let [text, from, to] = call.args else { return None };
    let (text, from, to) = (Texts::of(text)?, Texts::of(from)?, Texts::of(to)?);
    let bytes = |places: fn(&str, &str) -> usize| {
        call.total(|row| {
            let (text, from, to) = (text.at(row), from.at(row), to.bytes(row));
            let places = if from.is_empty() { 0 } else { places(text, from) as u64 };
            let grows = to.saturating_sub(from.len() as u64);
            places.saturating_mul(grows).saturating_add(text.len() as u64)
        })
    };
    let guess = bytes(|text, from| text.len() / from.len());
    if guess <= call.bytes_max {
        return Some(guess);
    }
    Some(bytes(|text, from| text.matches(from).count()))
}

fn regexp_replace(call: &Call<'_>) -> Option<u64> {
    let [text, pattern, to, flags @ ..] = call.args else { return None };
    let (text, pattern, to) = (Texts::of(text)?, Texts::of(pattern)?, Texts::of(to)?);
    let flags = flags.first().map_or(Some(Texts::One("")), Texts::of)?;
    let bytes = |places: &dyn Fn(&str) -> usize| {
        call.total(|row| {
            let (text, to) = (text.at(row), to.at(row));
            // A group of all matches together is no longer than the text.
            let groups = to.bytes().filter(|byte| matches!(byte, b'\\' | b'$')).count() as u64;
            let kept = (groups + 1).saturating_mul(text.len() as u64);
            (places(text) as u64).saturating_mul(to.len() as u64).saturating_add(kept)
        })
    };
    if matches!(flags, Texts::One(flags) if !flags.contains('g')) {
        return Some(bytes(&|_| 1));
    }
    let guess = bytes(&|text| text.len() + 1);
    let (true, Texts::One(pattern), Texts::One(flags)) = (guess > call.bytes_max, pattern, flags) else {
        return Some(guess);
    };
    let flags = flags.replace('g', "");
    let pattern = if flags.is_empty() { Regex::new(pattern) } else { Regex::new(&format!("(?{flags}){pattern}")) };
    let pattern = pattern.ok()?;
    Some(bytes(&|text| pattern.find_iter(text).count()))
}

fn range(call: &Call<'_>) -> Option<u64> {
    let one = |number: i64| Numbers { values: Int64Array::from(vec![number]), is_one: true, unit: 1 };
    if let [start, stop, step] = call.args
        && let Some(steps) = Steps::of(step)
    {
        let (start, stop) = (Numbers::of(start)?, Numbers::of(stop)?);
        return Some(call.total(|row| match (start.at(row), stop.at(row), steps.at(row)) {
            (Some(start), Some(stop), Some(step)) => step.elements(start, stop).saturating_mul(8),
            _ => 0,
        }));
    }
    let (start, stop, step) = match call.args {
        [stop] => (one(0), Numbers::of(stop)?, one(1)),
        [start, stop] => (Numbers::of(start)?, Numbers::of(stop)?, one(1)),
        [start, stop, step] => (Numbers::of(start)?, Numbers::of(stop)?, Numbers::of(step)?),
        _ => return None,
    };
    Some(call.total(|row| match (start.at(row), stop.at(row), step.at(row)) {
        (Some(start), Some(stop), Some(step)) => Step::Of(step).elements(start, stop).saturating_mul(8),
        _ => 0,
    }))
}

fn array_repeat(call: &Call<'_>) -> Option<u64> {
    let [element, count] = call.args else { return None };
    let (width, count) = (widths(element)?, Numbers::of(count)?);
    Some(call.total(|row| count.length(row).saturating_mul(width(row).saturating_add(INDEX_BYTES))))
}

/// The fill is made once by itself before it is appended.
fn array_resize(call: &Call<'_>) -> Option<u64> {
    let [list, size, fill @ ..] = call.args else { return None };
    let (DataType::List(element) | DataType::LargeList(element)) = list.data_type() else { return None };
    let empty = fixed_width(element.data_type()).unwrap_or(INDEX_BYTES);
    let fill = fill.first().map_or(Some(Box::new(|_: usize| 0_u64) as Widths<'_>), widths)?;
    let (list, size) = (widths(list)?, Numbers::of(size)?);
    Some(call.total(|row| {
        let each = fill(row).max(empty).saturating_mul(2);
        size.length(row).saturating_mul(each).saturating_add(list(row))
    }))
}

/// An argument of texts, by row; null is empty.
enum Texts<'a> {
    One(&'a str),
    Small(&'a StringArray),
    Large(&'a LargeStringArray),
    View(StringViewArray),
}

impl<'a> Texts<'a> {
    fn of(arg: &'a ColumnarValue) -> Option<Self> {
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

    fn at(&self, row: usize) -> &str {
        match self {
            Self::One(text) => text,
            Self::Small(texts) if texts.is_valid(row) => texts.value(row),
            Self::Large(texts) if texts.is_valid(row) => texts.value(row),
            Self::View(texts) if texts.is_valid(row) => texts.value(row),
            _ => "",
        }
    }

    fn bytes(&self, row: usize) -> u64 {
        self.at(row).len() as u64
    }
}

/// An argument of integers, dates or moments, by row; the latter two in nanoseconds.
struct Numbers {
    values: Int64Array,
    is_one: bool,
    unit: i128,
}

impl Numbers {
    fn of(arg: &ColumnarValue) -> Option<Self> {
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

    fn at(&self, row: usize) -> Option<i128> {
        let row = if self.is_one { 0 } else { row };
        self.values.is_valid(row).then(|| i128::from(self.values.value(row)) * self.unit)
    }

    /// As a length: null and what is below 0 are none.
    fn length(&self, row: usize) -> u64 {
        self.at(row).map_or(0, |number| u64::try_from(number.max(0)).unwrap_or(u64::MAX))
    }
}

/// The step of a series.
enum Step {
    Of(i128),
    /// Months forward and days back may stand still.
    Endless,
}

impl Step {
    /// How many elements a series has at most; a step of 0 is the function's to refuse.
    fn elements(&self, start: i128, stop: i128) -> u64 {
        match self {
            Self::Endless => u64::MAX,
            Self::Of(0) => 0,
            Self::Of(step) if (*step > 0 && start > stop) || (*step < 0 && start < stop) => 0,
            Self::Of(step) => u64::try_from((stop - start) / step).map_or(u64::MAX, |steps| steps.saturating_add(1)),
        }
    }
}

/// An argument of intervals, by row.
struct Steps {
    values: ArrayRef,
    is_one: bool,
}

impl Steps {
    fn of(arg: &ColumnarValue) -> Option<Self> {
        let values = arg.to_array(1).ok()?;
        let _ = values.as_primitive_opt::<IntervalMonthDayNanoType>()?;
        Some(Self { values, is_one: matches!(arg, ColumnarValue::Scalar(_)) })
    }

    /// The shortest that a step can be.
    fn at(&self, row: usize) -> Option<Step> {
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
type Widths<'a> = Box<dyn Fn(usize) -> u64 + 'a>;

/// Elements of lists, and values with parts of any length, by their average.
fn widths(arg: &ColumnarValue) -> Option<Widths<'_>> {
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
fn fixed_width(data_type: &DataType) -> Option<u64> {
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

#[cfg(test)]
mod tests {
    use arrow::util::pretty::pretty_format_batches;

    use super::*;
    use crate::query::fixture::Lake;
    use crate::query::headings;
    use crate::query::session::Session;

    async fn check_refused(session: &Session, call: &str) {
        for sql in [format!("SELECT {call}"), format!("SELECT {call} FROM generate_series(1, 3) WHERE value > 1")] {
            let error = match session.sql(&sql).await {
                Err(error) => error,
                Ok(answer) => answer.collect().await.expect_err(&sql),
            };
            assert!(error.to_string().contains("memory"), "{sql}: {error}");
        }
    }

    /// What DataFusion without bounds gives.
    async fn check_same(session: &Session, sql: &str) {
        let bounded = session.sql(sql).await.unwrap().collect().await.unwrap();
        let plain = SessionContext::new().sql(sql).await.unwrap().collect().await.unwrap();
        // The session calls its columns otherwise.
        let called = |batch| headings::renamed(batch, &bounded[0].schema()).unwrap();
        let plain: Vec<_> = plain.into_iter().map(called).collect();
        let text = |batches: &[_]| pretty_format_batches(batches).unwrap().to_string();
        assert_eq!(text(&bounded), text(&plain), "{sql}");
    }

    #[tokio::test]
    async fn every_function_is_there_to_be_bounded() {
        let session = Lake::new().session();
        let state = session.context().state();
        let names = BOUNDED.iter().map(|(name, _)| *name).chain(["list_repeat", "list_resize"]);
        for name in names {
            let function = state.scalar_functions().get(name).expect(name);
            assert!(function.inner().is::<Bounded>(), "{name}");
        }
    }

    #[tokio::test]
    async fn constants_that_would_fill_the_memory_are_refused() {
        let session = Lake::new().session();
        for call in [
            "repeat('x', 2000000000)",
            "length(repeat(repeat('x', 100000), 100000))",
            "lpad('x', 2000000000)",
            "rpad('x', 2000000000, '马')",
            "replace(repeat('a', 10000000), 'a', repeat('b', 1000))",
            "regexp_replace(repeat('a', 1000000), '[a]', repeat('b', 1000), 'g')",
            "regexp_replace(repeat('a', 1000000), '(a*)', repeat('\\1', 1000))",
            "range(1, 1000000000)",
            "range(1000000000)",
            "range(0, -2000000000, -2)",
            "generate_series(1, 1000000000)",
            "generate_series(-9223372036854775807, 9223372036854775807)",
            "range(TIMESTAMP '2000-01-01', TIMESTAMP '2100-01-01', INTERVAL '1 millisecond')",
            "range(DATE '2024-04-01', DATE '2024-03-01', INTERVAL '1 month -30 days')",
            "array_repeat(1, 1000000000)",
            "list_repeat(repeat('x', 1000000), 1000)",
            "array_repeat(range(1, 1000000), 1000)",
            "array_resize([1], 1000000000)",
            "list_resize(['x'], 1000, repeat('y', 1000000))",
        ] {
            check_refused(&session, call).await;
        }
    }

    #[tokio::test]
    async fn columns_that_would_fill_the_memory_are_refused() {
        let session = Lake::new().session();
        for call in [
            "repeat('x', value * 100000000)",
            "repeat(arrow_cast('x', 'Utf8View'), value * 100000000)",
            "lpad(value::text, value * 100000000)",
            "replace(repeat('a', 10000 + value), 'a', repeat('b', 100000))",
            "range(value, value * 100000000)",
            "array_repeat(value, value * 100000000)",
            "array_resize([value], value * 100000000)",
        ] {
            let sql = format!("SELECT {call} FROM generate_series(1, 10)");
            let error = session.sql(&sql).await.unwrap().collect().await.expect_err(&sql);
            assert!(error.to_string().contains("memory"), "{sql}: {error}");
        }
    }

    #[tokio::test]
    async fn constants_of_a_sane_size_give_what_they_gave() {
        let session = Lake::new().session();
        check_same(
            &session,
            "SELECT repeat('ab', 3), repeat('ab', -1), repeat(NULL::text, 2), lpad('x', 3, 'y'), rpad('货', 4), \
             replace('aba', 'a', 'cc'), replace('aba', '', 'cc'), regexp_replace('aba', '(a)', '<\\1>', 'g'), \
             range(1, 4), range(3), range(5, 1, -2), generate_series(1, 3), generate_series(3, 1), range(1, NULL::bigint), \
             array_repeat(1, 3), list_repeat(['a', 'b'], 2), array_repeat(NULL::int, 2), array_resize([1, 2], 4, 7), \
             list_resize(['a'], 2), range(DATE '2026-01-31', DATE '2026-06-01', INTERVAL '1 month'), \
             generate_series(TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-02', INTERVAL '6 hours')",
        )
        .await;
        // A guess is far too much, what it gives is not.
        check_same(&session, "SELECT length(replace(repeat('a', 100000), 'b', repeat('c', 10000)))").await;
        check_same(&session, "SELECT length(regexp_replace(repeat('a', 100000), 'B', repeat('c', 10000), 'gi'))").await;
    }

    #[tokio::test]
    async fn columns_of_many_rows_with_nulls_give_what_they_gave() {
        let session = Lake::new().session();
        for text in ["Utf8", "LargeUtf8", "Utf8View"] {
            let sql = format!(
                "SELECT value, repeat(t, n), lpad(t, abs(n), t), rpad(t, 9), replace(t, '1', '货'), replace(t, t, t), \
                 regexp_replace(t, '\\d', '[\\0]', 'g'), range(n), range(n, 4), generate_series(n, value % 7, 2), \
                 array_repeat(t, n), array_repeat([value, n], 2), array_resize([value], abs(n), value) \
                 FROM (SELECT value, nullif(value % 5, 0) - 1 AS n, \
                 arrow_cast(nullif(value % 911, 3)::text, '{text}') AS t FROM generate_series(1, 9000)) AS x ORDER BY value"
            );
            check_same(&session, &sql).await;
        }
    }
}
