//! How much each bounded function gives.

use arrow::array::{Array as _, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;
use regex::Regex;

use super::arguments::{
    Call, INDEX_BYTES, Numbers, Step, Steps, Texts, Widths, fixed_width, leaves, list_lengths, own_bytes, text_bytes,
    value_bytes, widths,
};
use super::joining;

/// A value as text, where it is none.
const SHOWN_BYTES: u64 = 40;

/// How many bytes a call gives at most; `None` for arguments that the function itself refuses.
type Size = fn(&Call<'_>) -> Option<u64>;

/// What is bounded.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    /// What a call gives beyond what its arguments take.
    Beyond(Size),
    /// What it gives: its arguments may be the same rows more than once.
    Whole(Size),
}

pub(super) const BOUNDED: &[(&str, Limit)] = &[
    (joining::NAME, Limit::Whole(joined)),
    ("array_append", Limit::Whole(gathered)),
    ("array_concat", Limit::Whole(gathered)),
    ("array_prepend", Limit::Whole(gathered)),
    ("array_repeat", Limit::Beyond(array_repeat)),
    ("array_replace", Limit::Whole(gathered)),
    ("array_replace_all", Limit::Whole(array_replace)),
    ("array_replace_n", Limit::Whole(array_replace)),
    ("array_resize", Limit::Beyond(array_resize)),
    ("array_to_string", Limit::Whole(array_to_string)),
    ("array_union", Limit::Whole(gathered)),
    ("arrays_zip", Limit::Whole(gathered)),
    ("concat", Limit::Whole(joined)),
    ("concat_ws", Limit::Whole(concat_ws)),
    ("encode", Limit::Whole(encode)),
    ("flatten", Limit::Whole(gathered)),
    ("generate_series", Limit::Beyond(range)),
    ("lpad", Limit::Beyond(pad)),
    ("make_array", Limit::Whole(gathered)),
    ("map", Limit::Whole(gathered)),
    ("overlay", Limit::Whole(joined)),
    ("range", Limit::Beyond(range)),
    ("regexp_match", Limit::Whole(regexp_match)),
    ("regexp_replace", Limit::Beyond(regexp_replace)),
    ("repeat", Limit::Beyond(repeat)),
    ("replace", Limit::Beyond(replace)),
    ("rpad", Limit::Beyond(pad)),
    ("string_to_array", Limit::Whole(string_to_array)),
];

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
        [stop] => (Numbers::one(0), Numbers::of(stop)?, Numbers::one(1)),
        [start, stop] => (Numbers::of(start)?, Numbers::of(stop)?, Numbers::one(1)),
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

/// What an argument takes, for all rows.
fn weight(call: &Call<'_>, arg: &ColumnarValue, bytes: fn(&ArrayRef) -> u64) -> u64 {
    let value = match arg {
        ColumnarValue::Array(array) => return bytes(array),
        ColumnarValue::Scalar(value) => value,
    };
    let text = value.try_as_str().flatten().map(|text| text.len() as u64);
    let each = text.or_else(|| fixed_width(&value.data_type())).unwrap_or_else(|| value_bytes(value));
    each.saturating_mul(call.rows as u64)
}

/// Texts one behind the other.
fn joined(call: &Call<'_>) -> Option<u64> {
    Some(call.args.iter().map(|arg| weight(call, arg, text_bytes)).fold(0, u64::saturating_add))
}

fn concat_ws(call: &Call<'_>) -> Option<u64> {
    let [separator, texts @ ..] = call.args else { return None };
    let between = weight(call, separator, text_bytes).saturating_mul(texts.len() as u64);
    Some(texts.iter().map(|arg| weight(call, arg, text_bytes)).fold(between, u64::saturating_add))
}

/// Hexadecimal digits are the longest.
fn encode(call: &Call<'_>) -> Option<u64> {
    Some(joined(call)?.saturating_mul(2))
}

/// Elements or fields one behind the other.
fn gathered(call: &Call<'_>) -> Option<u64> {
    Some(call.args.iter().map(|arg| weight(call, arg, own_bytes)).fold(0, u64::saturating_add))
}

fn array_replace(call: &Call<'_>) -> Option<u64> {
    let [list, _, to, ..] = call.args else { return None };
    let (length, width) = (list_lengths(list)?, widths(to)?);
    let replaced = call.total(|row| length(row).saturating_mul(width(row)));
    Some(replaced.saturating_add(weight(call, list, own_bytes)))
}

fn array_to_string(call: &Call<'_>) -> Option<u64> {
    let [list, separators @ ..] = call.args else { return None };
    let elements = leaves(&list.to_array(1).ok()?);
    let times = if matches!(list, ColumnarValue::Scalar(_)) { call.rows as u64 } else { 1 };
    let longest = |arg: &ColumnarValue| {
        let texts = Texts::of(arg)?;
        Some((0..call.rows).map(|row| texts.bytes(row)).max().unwrap_or_default())
    };
    let each = separators.iter().filter_map(longest).fold(SHOWN_BYTES, u64::saturating_add);
    let bytes = (elements.len() as u64).saturating_mul(each).saturating_add(text_bytes(&elements));
    Some(bytes.saturating_mul(times))
}

fn string_to_array(call: &Call<'_>) -> Option<u64> {
    let [text, separator, ..] = call.args else { return None };
    let is_by_character = matches!(separator, ColumnarValue::Scalar(value) if value.is_null());
    let (text, separator) = (Texts::of(text)?, Texts::of(separator)?);
    Some(call.total(|row| {
        let (text, separator) = (text.at(row), separator.at(row));
        let elements = match separator {
            "" if is_by_character => text.len(),
            "" => 1,
            separator => text.matches(separator).count() + 1,
        };
        (elements as u64).saturating_mul(INDEX_BYTES).saturating_add(text.len() as u64)
    }))
}

/// A group is no longer than the text.
fn regexp_match(call: &Call<'_>) -> Option<u64> {
    let [text, pattern, ..] = call.args else { return None };
    let (text, pattern) = (Texts::of(text)?, Texts::of(pattern)?);
    Some(call.total(|row| {
        let groups = pattern.at(row).bytes().filter(|byte| *byte == b'(').count() as u64 + 1;
        text.bytes(row).saturating_add(INDEX_BYTES).saturating_mul(groups)
    }))
}
