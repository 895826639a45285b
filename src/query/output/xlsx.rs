//! Rows as an Excel workbook.
//!
//! A cell of Excel holds a double and shows 15 digits of it, so:
//!
//! | value | cell |
//! |---|---|
//! | integer of a column that is an id (`id`, `…_id`) | text: nothing rounds or adds ids up |
//! | other integer, decimal | number when it has at most 15 digits, else text, all digits |
//! | date, time | date of Excel; times in UTC, with a `Z`; before March 1900 (Excel's calendar is wrong there): text |
//! | text | text, never a formula or a link; longer than 32 767 letters: an error, not a cut |
//! | null, empty text | an empty cell |
//!
//! A header of labels, frozen, with a filter; more rows than a sheet holds go on in another sheet.
//!
//! Invariant: a number in a cell is exactly the value of the query.

use std::io;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use rust_xlsxwriter::{ColNum, Format, IgnoreError, RowNum, Workbook, Worksheet, XlsxError};
use unicode_width::UnicodeWidthStr;

use super::cells::Cells;
use super::encoder::unprintable;
use crate::base::{Error, Kind, Result};

/// Rows of a sheet, the header's among them.
const SHEET_ROWS: RowNum = 1_048_576;
/// Letters of a cell, as UTF-16 counts them.
const CELL_LETTERS_MAX: usize = 32_767;
/// Digits that Excel shows and a double keeps, whatever they are.
const DIGITS_MAX: usize = 15;
/// Rows that are looked at for the widths of columns.
const MEASURED_ROWS: RowNum = 500;
/// Widths of columns, in digits.
const WIDTH_MIN: usize = 8;
const WIDTH_MAX: usize = 60;
/// What the button of the filter takes.
const BUTTON_WIDTH: usize = 3;

/// A workbook under construction.
pub(super) struct Book {
    workbook: Workbook,
    sheets: usize,
    sheet_rows: RowNum,
    /// The next row of the last sheet.
    row: RowNum,
    columns: Vec<Column>,
    header: Format,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Growing,
    Whole,
    Written,
}

struct Column {
    name: String,
    label: String,
    what: What,
    format: Format,
    width: usize,
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Number,
    Float,
    Boolean,
    Date,
    Time,
    Text,
}

impl Book {
    pub(super) fn new(schema: &SchemaRef, labels: Vec<String>) -> Result<Self> {
        Self::with_sheets_of(SHEET_ROWS, schema, labels)
    }

    fn with_sheets_of(sheet_rows: RowNum, schema: &SchemaRef, labels: Vec<String>) -> Result<Self> {
        let columns = schema.fields().iter().zip(labels);
        let columns = columns.map(|(field, label)| Column::new(field.name(), label, field.data_type())).collect();
        let header = Format::new().set_bold();
        let workbook = Workbook::new();
        let mut book = Self { workbook, sheets: 0, sheet_rows, row: 0, columns, header, state: State::Growing };
        book.begin_sheet()?;
        Ok(book)
    }

    fn begin_sheet(&mut self) -> Result<()> {
        self.sheets += 1;
        let name = if self.sheets == 1 { "rows".to_owned() } else { format!("rows {}", self.sheets) };
        let sheet = self.workbook.add_worksheet_with_constant_memory().map_err(unwritten)?;
        sheet.set_name(name).map_err(unwritten)?;
        sheet.set_freeze_panes(1, 0).map_err(unwritten)?;
        for (column, place) in self.columns.iter().zip(0..) {
            sheet.write_string_with_format(0, place, &column.label, &self.header).map_err(unwritten)?;
        }
        self.row = 1;
        Ok(())
    }

    /// What is known of a sheet when its last row is.
    fn end_sheet(&mut self) -> Result<()> {
        let Some(last_column) = ColNum::try_from(self.columns.len()).ok().and_then(|count| count.checked_sub(1)) else {
            return Ok(());
        };
        let last_row = self.row - 1;
        let sheet = self.workbook.worksheet_from_index(self.sheets - 1).map_err(unwritten)?;
        sheet.autofilter(0, 0, last_row, last_column).map_err(unwritten)?;
        sheet.ignore_error_range(0, 0, last_row, last_column, IgnoreError::NumberStoredAsText).map_err(unwritten)?;
        for (column, place) in self.columns.iter().zip(0..) {
            let width = u32::try_from(column.width.clamp(WIDTH_MIN, WIDTH_MAX)).unwrap_or_default();
            sheet.set_column_width(place, width).map_err(unwritten)?;
        }
        Ok(())
    }

    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut cells = Cells::new(batch).map_err(unprintable)?;
        while let Some(cells) = cells.next_row().map_err(unprintable)? {
            if self.row == self.sheet_rows {
                self.end_sheet()?;
                self.begin_sheet()?;
            }
            let sheet = self.workbook.worksheet_from_index(self.sheets - 1).map_err(unwritten)?;
            for ((column, text), place) in self.columns.iter_mut().zip(cells).zip(0..) {
                if self.row <= MEASURED_ROWS {
                    column.width = column.width.max(text.width() + 1);
                }
                column.write(sheet, (self.row, place), text)?;
            }
            self.row += 1;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        self.end_sheet()?;
        self.state = State::Whole;
        Ok(())
    }

    /// Writes the workbook once it is whole; before that there is nothing to write.
    pub(super) fn drain<W: io::Write + Send>(&mut self, out: &mut W) -> io::Result<()> {
        if self.state != State::Whole {
            return Ok(());
        }
        self.state = State::Written;
        self.workbook.save_to_writer(out).map_err(|error| match error {
            XlsxError::IoError(error) => error,
            other => io::Error::other(other),
        })
    }
}

impl Column {
    fn new(name: &str, label: String, data_type: &DataType) -> Self {
        let is_id = name == "id" || name.ends_with("_id");
        let what = match data_type {
            integer if integer.is_integer() && is_id => What::Text,
            integer if integer.is_integer() => What::Number,
            DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
                What::Number
            }
            float if float.is_floating() => What::Float,
            DataType::Boolean => What::Boolean,
            DataType::Date32 => What::Date,
            DataType::Timestamp(..) => What::Time,
            _ => What::Text,
        };
        let width = label.width() + BUTTON_WIDTH;
        Self { name: name.to_owned(), label, what, format: number_format(data_type), width }
    }

    fn write(&self, sheet: &mut Worksheet, (row, place): (RowNum, ColNum), text: &str) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let number = match self.what {
            What::Number if digits(text) <= DIGITS_MAX => text.parse().ok(),
            What::Float => text.parse().ok().filter(|number: &f64| number.is_finite()),
            What::Date => date_serial(text),
            What::Time => time_serial(text),
            What::Boolean | What::Text | What::Number => None,
        };
        let written = match (number, self.what) {
            (Some(number), _) => sheet.write_number_with_format(row, place, number, &self.format),
            (None, What::Boolean) => sheet.write_boolean(row, place, text == "true"),
            (None, _) if is_too_long(text) => return Err(self.too_long(row)),
            (None, _) => sheet.write_string(row, place, text),
        };
        written.map(drop).map_err(unwritten)
    }

    fn too_long(&self, row: RowNum) -> Error {
        let message = format!("`{}` of row {row} is longer than a cell of Excel can be", self.name);
        let hint = format!("say `left({}, {CELL_LETTERS_MAX})`, or take csv or parquet", self.name);
        Error::data(message).with_hint(hint)
    }
}

fn number_format(data_type: &DataType) -> Format {
    let pattern = match data_type {
        // At least two digits after the point where there is room: these are prices.
        DataType::Decimal128(_, scale @ 3..) => format!("0.00{}", "#".repeat(usize::from(scale.unsigned_abs()) - 2)),
        DataType::Decimal128(_, scale @ 1..) => format!("0.{}", "0".repeat(usize::from(scale.unsigned_abs()))),
        DataType::Date32 => "yyyy-mm-dd".to_owned(),
        DataType::Timestamp(_, Some(_)) => "yyyy-mm-dd hh:mm:ss\"Z\"".to_owned(),
        DataType::Timestamp(_, None) => "yyyy-mm-dd hh:mm:ss".to_owned(),
        integer if integer.is_integer() => "0".to_owned(),
        _ => "General".to_owned(),
    };
    Format::new().set_num_format(pattern)
}

/// Digits that count: without zeros before the first or after the last.
fn digits(number: &str) -> usize {
    let whole = number.trim_start_matches(['-', '0']);
    let kept = if whole.contains('.') { whole.trim_end_matches('0') } else { whole };
    let kept = kept.strip_prefix('.').map_or(kept, |fraction| fraction.trim_start_matches('0'));
    kept.bytes().filter(u8::is_ascii_digit).count()
}

fn is_too_long(text: &str) -> bool {
    text.len() > CELL_LETTERS_MAX && text.encode_utf16().count() > CELL_LETTERS_MAX
}

/// Days since the day before 1900 began, as Excel counts from March 1900 on.
fn date_serial(text: &str) -> Option<f64> {
    let day: NaiveDate = text.parse().ok()?;
    serial(day.and_time(NaiveTime::MIN))
}

fn time_serial(text: &str) -> Option<f64> {
    let at = DateTime::parse_from_rfc3339(text).map(|at| at.naive_utc());
    serial(at.or_else(|_| text.parse::<NaiveDateTime>()).ok()?)
}

fn serial(at: NaiveDateTime) -> Option<f64> {
    let first = NaiveDate::from_ymd_opt(1900, 3, 1)?;
    let last = NaiveDate::from_ymd_opt(9999, 12, 31)?;
    if !(first..=last).contains(&at.date()) {
        return None;
    }
    let since: TimeDelta = at - NaiveDate::from_ymd_opt(1899, 12, 30)?.and_time(NaiveTime::MIN);
    // Fewer microseconds than a double holds exactly until the year 2185; milliseconds until the end.
    #[expect(clippy::cast_precision_loss, reason = "a cell holds a double; it is exact to the millisecond")]
    let days = since.num_milliseconds() as f64 / 86_400_000.0;
    Some(days)
}

fn unwritten(cause: XlsxError) -> Error {
    Error::new(Kind::Storage, "the workbook cannot be written").caused_by(cause)
}

#[cfg(test)]
mod tests;
