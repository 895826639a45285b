//! Batches into bytes, whatever the format.

use std::io;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::json::WriterBuilder as JsonWriterBuilder;
use arrow::json::writer::{JsonFormat, LineDelimited, Writer as JsonWriter};

use super::cells::{self, Cells};
use super::columnar::Columnar;
use super::table::Table;
use super::xlsx::Book;
use super::{End, Format, Mark, Style};
use crate::base::{Error, Result};

/// Excel reads a CSV as UTF-8 when it starts with this.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// One object per line between brackets, so that a diff or `grep` of the array is of use.
#[derive(Debug, Default)]
pub(super) struct ArrayLines;

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

/// Encodes batches into bytes that [`Encoder::drain`] takes away.
pub(super) enum Encoder {
    Table(Table, Vec<u8>),
    Csv(Vec<u8>),
    /// The second says whether an object is written yet.
    Json(JsonWriter<Vec<u8>, ArrayLines>, bool),
    Jsonl(JsonWriter<Vec<u8>, LineDelimited>),
    Markdown(Vec<u8>),
    Columnar(Columnar),
    Xlsx(Box<Book>),
}

impl Encoder {
    pub(super) fn new(style: Style, schema: &SchemaRef) -> Result<Self> {
        let json = JsonWriterBuilder::new().with_explicit_nulls(true);
        let labels = style.labels.of(schema);
        Ok(match style.format {
            Format::Table => Self::Table(Table::new(schema, labels, style.layout), Vec::new()),
            Format::Csv => {
                let mut bytes = if style.mark == Mark::ByteOrder { BYTE_ORDER_MARK.to_vec() } else { Vec::new() };
                csv_record(&mut bytes, labels.iter().map(String::as_bytes));
                Self::Csv(bytes)
            }
            Format::Json => Self::Json(json.build(Vec::new()), false),
            Format::Jsonl => Self::Jsonl(json.build(Vec::new())),
            Format::Markdown => Self::Markdown(markdown_header(schema, &labels)),
            Format::Xlsx => Self::Xlsx(Box::new(Book::new(schema, labels)?)),
            Format::Parquet => Self::Columnar(Columnar::parquet(schema)?),
            Format::Arrow => Self::Columnar(Columnar::file(schema)?),
            Format::ArrowStream => Self::Columnar(Columnar::stream(schema)?),
        })
    }

    pub(super) fn rows_left(&self, rows: usize) -> usize {
        match self {
            Self::Table(table, _) => table.rows_max() - rows,
            _ => usize::MAX,
        }
    }

    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::Table(table, _) => table.add(batch).map_err(unprintable),
            Self::Json(writer, has_rows) => {
                *has_rows |= batch.num_rows() > 0;
                writer.write(batch).map_err(unprintable)
            }
            Self::Jsonl(writer) => writer.write(batch).map_err(unprintable),
            Self::Csv(bytes) => {
                let mut cells = Cells::new(batch).map_err(unprintable)?;
                while let Some(row) = cells.next_row().map_err(unprintable)? {
                    csv_record(bytes, row.iter().map(String::as_bytes));
                }
                Ok(())
            }
            Self::Markdown(bytes) => {
                let mut cells = Cells::new(batch).map_err(unprintable)?;
                while let Some(row) = cells.next_row().map_err(unprintable)? {
                    markdown_row(bytes, row);
                }
                Ok(())
            }
            Self::Columnar(writer) => writer.add(batch),
            Self::Xlsx(book) => book.add(batch),
        }
    }

    pub(super) fn finish(&mut self, end: End) -> Result<()> {
        match self {
            Self::Table(table, bytes) => bytes.extend_from_slice(table.render(end).as_bytes()),
            Self::Json(writer, true) => writer.finish().map_err(unprintable)?,
            Self::Json(writer, false) => writer.get_mut().extend_from_slice(b"[]\n"),
            Self::Jsonl(writer) => writer.finish().map_err(unprintable)?,
            Self::Csv(_) | Self::Markdown(_) => {}
            Self::Columnar(writer) => writer.finish()?,
            Self::Xlsx(book) => book.finish()?,
        }
        Ok(())
    }

    /// Hands `out` what is encoded so far.
    pub(super) fn drain<W: io::Write + Send>(&mut self, out: &mut W) -> io::Result<()> {
        let bytes = match self {
            Self::Table(_, bytes) | Self::Csv(bytes) | Self::Markdown(bytes) => bytes,
            Self::Json(writer, _) => writer.get_mut(),
            Self::Jsonl(writer) => writer.get_mut(),
            Self::Columnar(writer) => writer.bytes(),
            Self::Xlsx(book) => return book.drain(out),
        };
        let result = out.write_all(bytes);
        bytes.clear();
        result
    }
}

pub(super) fn unprintable(cause: ArrowError) -> Error {
    Error::internal("a column cannot be shown").caused_by(cause)
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

fn markdown_header(schema: &SchemaRef, labels: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    markdown_row(&mut bytes, labels);
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
