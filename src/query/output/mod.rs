//! Rows for people and programs: table, CSV, JSON, JSON lines, markdown, to any writer.
//!
//! All formats but the table stream: memory is one batch. Numbers are exact in all of them (decimals are written from
//! their digits, never through a float); dates and times are ISO 8601, times in UTC with `Z`.
//!
//! | | null | text |
//! |---|---|---|
//! | table | empty | long cells shortened, control characters shown as spaces |
//! | csv | empty | quoted as RFC 4180 says; lines end with a line feed |
//! | json, jsonl | `null` | escaped; 64-bit integers are numbers |
//! | markdown | empty | `\|` and `<br>` |
//!
//! Invariant: only the table ever leaves rows or letters out, and it says so.

mod cells;
mod table;

use std::io::{self, ErrorKind};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::json::WriterBuilder as JsonWriterBuilder;
use arrow::json::writer::{JsonFormat, LineDelimited, Writer as JsonWriter};

use super::session::Answer;
use crate::base::{Error, Result};
use cells::Cells;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Aligned columns for a terminal.
    #[default]
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One array of objects.
    Json,
    /// One object per line.
    Jsonl,
    /// A markdown table.
    Markdown,
}

impl Format {
    /// All of them, with the names users write.
    pub const NAMES: &[(&str, Format)] = &[
        ("table", Format::Table),
        ("csv", Format::Csv),
        ("json", Format::Json),
        ("jsonl", Format::Jsonl),
        ("markdown", Format::Markdown),
    ];
}

/// The limits of the table format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Rows shown; the query is stopped after them. Default 1000.
    pub rows_max: usize,
    /// Columns of the terminal per text cell, at least 2. Default 40.
    pub cell_width_max: usize,
}

impl Default for Layout {
    fn default() -> Self {
        Self { rows_max: 1000, cell_width_max: 40 }
    }
}

/// What was written.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Rows.
    pub rows: usize,
    /// Why it ended.
    pub end: End,
}

/// Why writing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All rows are written.
    Complete,
    /// The table is full; there are more rows.
    RowLimit,
    /// Nobody reads any more (`… | head`): no failure.
    ReaderGone,
}

/// Writes all rows of `answer`.
///
/// # Errors
/// What went wrong while computing the rows, or [`Kind::Storage`](crate::base::Kind::Storage) if `out` cannot be written.
pub async fn write<W: io::Write + Send>(
    mut answer: Answer,
    format: Format,
    layout: Layout,
    out: &mut W,
) -> Result<Written> {
    let mut encoder = Encoder::new(format, layout, answer.schema());
    let mut rows = 0;
    let mut end = End::Complete;
    while let Some(batch) = answer.next().await? {
        let taken = encoder.rows_left(rows).min(batch.num_rows());
        encoder.add(&batch.slice(0, taken)).map_err(unprintable)?;
        rows += taken;
        if !flush(&mut encoder, out)? {
            return Ok(Written { rows, end: End::ReaderGone });
        }
        if taken < batch.num_rows() {
            end = End::RowLimit;
            break;
        }
    }
    encoder.finish(end).map_err(unprintable)?;
    let end = if flush(&mut encoder, out)? { end } else { End::ReaderGone };
    Ok(Written { rows, end })
}

/// Rows that are no answer of a query, in a format that streams.
pub struct Text(Encoder);

impl Text {
    /// Starts an output; the limits of the table format are the usual ones.
    #[must_use]
    pub fn new(format: Format, schema: &SchemaRef) -> Self {
        Self(Encoder::new(format, Layout::default(), schema))
    }

    /// Encodes rows.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::base::Kind::Internal) for a column that cannot be shown.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.add(batch).map_err(unprintable)
    }

    /// Encodes the end.
    ///
    /// # Errors
    /// As [`Text::add`].
    pub fn finish(&mut self) -> Result<()> {
        self.0.finish(End::Complete).map_err(unprintable)
    }

    /// Hands `out` what is encoded so far.
    ///
    /// # Errors
    /// What `out` says.
    pub fn drain(&mut self, out: &mut impl io::Write) -> io::Result<()> {
        let bytes = self.0.encoded();
        let result = out.write_all(bytes);
        bytes.clear();
        result
    }
}

/// Gives `out` what is encoded so far; `false` if its reader is gone.
fn flush<W: io::Write>(encoder: &mut Encoder, out: &mut W) -> Result<bool> {
    let bytes = encoder.encoded();
    let result = out.write_all(bytes).and_then(|()| out.flush());
    bytes.clear();
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::storage("the rows cannot be written").caused_by(error)),
    }
}

fn unprintable(cause: ArrowError) -> Error {
    Error::internal("a column cannot be shown").caused_by(cause)
}

/// One object per line between brackets, so that a diff or `grep` of the array is of use.
#[derive(Debug, Default)]
struct ArrayLines;

impl JsonFormat for ArrayLines {
    fn start_stream<W: io::Write>(&self, writer: &mut W) -> Result<(), ArrowError> {
        Ok(writer.write_all(b"[\n")?)
    }

    fn start_row<W: io::Write>(&self, writer: &mut W, is_first_row: bool) -> Result<(), ArrowError> {
        Ok(if is_first_row { Ok(()) } else { writer.write_all(b",\n") }?)
    }

    fn end_stream<W: io::Write>(&self, writer: &mut W) -> Result<(), ArrowError> {
        Ok(writer.write_all(b"\n]\n")?)
    }
}

/// Encodes batches into bytes that [`flush`] takes away.
enum Encoder {
    Table(table::Table, Vec<u8>),
    Csv(Vec<u8>),
    /// The second says whether an object is written yet.
    Json(JsonWriter<Vec<u8>, ArrayLines>, bool),
    Jsonl(JsonWriter<Vec<u8>, LineDelimited>),
    Markdown(Vec<u8>),
}

impl Encoder {
    fn new(format: Format, layout: Layout, schema: &SchemaRef) -> Self {
        let json = JsonWriterBuilder::new().with_explicit_nulls(true);
        match format {
            Format::Table => Self::Table(table::Table::new(schema, layout), Vec::new()),
            Format::Csv => {
                let mut bytes = Vec::new();
                csv_record(&mut bytes, schema.fields().iter().map(|field| field.name().as_bytes()));
                Self::Csv(bytes)
            }
            Format::Json => Self::Json(json.build(Vec::new()), false),
            Format::Jsonl => Self::Jsonl(json.build(Vec::new())),
            Format::Markdown => Self::Markdown(markdown_header(schema)),
        }
    }

    fn rows_left(&self, rows: usize) -> usize {
        match self {
            Self::Table(table, _) => table.rows_max() - rows,
            _ => usize::MAX,
        }
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match self {
            Self::Table(table, _) => table.add(batch),
            Self::Json(writer, has_rows) => {
                *has_rows |= batch.num_rows() > 0;
                writer.write(batch)
            }
            Self::Jsonl(writer) => writer.write(batch),
            Self::Csv(bytes) => {
                let mut cells = Cells::new(batch)?;
                while let Some(row) = cells.next_row()? {
                    csv_record(bytes, row.iter().map(String::as_bytes));
                }
                Ok(())
            }
            Self::Markdown(bytes) => {
                let mut cells = Cells::new(batch)?;
                while let Some(row) = cells.next_row()? {
                    markdown_row(bytes, row);
                }
                Ok(())
            }
        }
    }

    fn finish(&mut self, end: End) -> Result<(), ArrowError> {
        match self {
            Self::Table(table, bytes) => {
                bytes.extend_from_slice(table.render(end).as_bytes());
                Ok(())
            }
            Self::Json(writer, true) => writer.finish(),
            Self::Json(writer, false) => {
                writer.get_mut().extend_from_slice(b"[]\n");
                Ok(())
            }
            Self::Jsonl(writer) => writer.finish(),
            Self::Csv(_) | Self::Markdown(_) => Ok(()),
        }
    }

    fn encoded(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Table(_, bytes) | Self::Csv(bytes) | Self::Markdown(bytes) => bytes,
            Self::Json(writer, _) => writer.get_mut(),
            Self::Jsonl(writer) => writer.get_mut(),
        }
    }
}

/// RFC 4180: a field with a comma, a quote or a line break is quoted, quotes in it are doubled.
fn csv_record<'a>(bytes: &mut Vec<u8>, fields: impl ExactSizeIterator<Item = &'a [u8]>) {
    let is_single = fields.len() == 1;
    for (number, field) in fields.enumerate() {
        if number > 0 {
            bytes.push(b',');
        }
        let must_be_quoted = field.iter().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n'));
        // A line with nothing on it would be no record at all to many readers.
        if must_be_quoted || (is_single && field.is_empty()) {
            bytes.push(b'"');
            for byte in field {
                if *byte == b'"' {
                    bytes.push(b'"');
                }
                bytes.push(*byte);
            }
            bytes.push(b'"');
        } else {
            bytes.extend_from_slice(field);
        }
    }
    bytes.push(b'\n');
}

fn markdown_header(schema: &SchemaRef) -> Vec<u8> {
    let mut bytes = Vec::new();
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    markdown_row(&mut bytes, &names);
    for field in schema.fields() {
        bytes.extend_from_slice(if cells::is_number(field.data_type()) { b"|---:" } else { b"|---" });
    }
    bytes.extend_from_slice(b"|\n");
    bytes
}

fn markdown_row(bytes: &mut Vec<u8>, cells: &[String]) {
    for cell in cells {
        let cell = cell.replace('\\', "\\\\").replace('|', "\\|").replace("\r\n", "<br>").replace(['\n', '\r'], "<br>");
        bytes.extend_from_slice(b"| ");
        bytes.extend_from_slice(cell.as_bytes());
        bytes.push(b' ');
    }
    bytes.extend_from_slice(b"|\n");
}

#[cfg(test)]
mod tests;
