//! Rows for people and programs, to any writer.
//!
//! All formats but the table stream: memory is one batch (of Parquet: one row group; a workbook is kept in temporary
//! files until it is whole). Numbers are exact in all of them (decimals are written from their digits, never through a
//! float that could not hold them); dates and times are ISO 8601, times in UTC with `Z`.
//!
//! | | null | text |
//! |---|---|---|
//! | table | empty | long cells shortened, control characters shown as spaces |
//! | csv | empty | quoted as RFC 4180 says; lines end with a line feed |
//! | json, jsonl | `null` | escaped; 64-bit integers are numbers |
//! | markdown | empty | `\|` and `<br>` |
//! | xlsx | an empty cell | as it is, never a formula; see `xlsx.rs` |
//! | parquet, arrow, arrows | null | as it is; columns have the types of the query |
//!
//! Columns that are called the same stay so for people; for programs the second `price` is `price_2`.
//!
//! Invariant: only the table ever leaves rows or letters out, and it says so.

mod cells;
mod columnar;
mod encoder;
mod labels;
mod table;
mod xlsx;

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::headings::renamed;
use super::names::unique;
use super::session::Answer;
use crate::base::{Error, Result};
use encoder::Encoder;

pub use labels::Labels;

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
    /// An Excel workbook.
    Xlsx,
    /// One Parquet file, compressed with zstd.
    Parquet,
    /// An Arrow IPC file (Feather version 2), which can be mapped into memory.
    Arrow,
    /// An Arrow IPC stream, which can be read from a pipe.
    ArrowStream,
}

impl Format {
    /// All of them, with the names users write.
    pub const NAMES: &[(&str, Format)] = &[
        ("table", Format::Table),
        ("csv", Format::Csv),
        ("json", Format::Json),
        ("jsonl", Format::Jsonl),
        ("markdown", Format::Markdown),
        ("xlsx", Format::Xlsx),
        ("parquet", Format::Parquet),
        ("arrow", Format::Arrow),
        ("arrows", Format::ArrowStream),
    ];

    /// The endings of file names, in lower case, that say a format.
    pub const ENDINGS: &[(&str, Format)] = &[
        ("txt", Format::Table),
        ("csv", Format::Csv),
        ("json", Format::Json),
        ("jsonl", Format::Jsonl),
        ("ndjson", Format::Jsonl),
        ("md", Format::Markdown),
        ("xlsx", Format::Xlsx),
        ("parquet", Format::Parquet),
        ("arrow", Format::Arrow),
        ("feather", Format::Arrow),
        ("arrows", Format::ArrowStream),
    ];

    /// The format that a file's name says.
    #[must_use]
    pub fn of_file(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        Self::ENDINGS.iter().find(|(known, _)| *known == ending).map(|(_, format)| *format)
    }

    /// The name users write.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, format)| *format == self).map_or("table", |(name, _)| name)
    }

    /// Whether it is no text.
    #[must_use]
    pub fn is_binary(self) -> bool {
        matches!(self, Self::Xlsx | Self::Parquet | Self::Arrow | Self::ArrowStream)
    }

    /// Whether its header is for people, who may want other words than the columns' names.
    #[must_use]
    pub fn has_labels(self) -> bool {
        matches!(self, Self::Table | Self::Csv | Self::Markdown | Self::Xlsx)
    }
}

/// How a table is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Rows shown; the query is stopped after them. Default 1000.
    pub rows_max: usize,
    /// Columns of the terminal per text cell, at least 2. Default 40.
    pub cell_width_max: usize,
    /// Where the values of a row stand.
    pub shape: Shape,
}

/// Where the values of a row stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// Side by side, under the names of the columns.
    #[default]
    Grid,
    /// One below the other, each after its column's name, whole.
    Expanded,
}

impl Default for Layout {
    fn default() -> Self {
        Self { rows_max: 1000, cell_width_max: 40, shape: Shape::default() }
    }
}

/// What is said about an output besides its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// How rows are written.
    pub format: Format,
    /// How a table is laid out.
    pub layout: Layout,
    /// What columns are called, in formats that have labels.
    pub labels: Labels,
    /// What comes before the header of a CSV.
    pub mark: Mark,
}

/// What comes before the header of a CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mark {
    /// Nothing.
    #[default]
    None,
    /// The byte order mark, by which Excel knows UTF-8.
    ByteOrder,
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

/// Writes all rows of `answer`, with the names of its columns.
///
/// # Errors
/// What went wrong while computing the rows, or [`Kind::Storage`](crate::base::Kind::Storage) if `out` cannot be written.
pub async fn write<W: io::Write + Send>(
    answer: Answer,
    format: Format,
    layout: Layout,
    out: &mut W,
) -> Result<Written> {
    write_as(answer, Style { format, layout, ..Style::default() }, out).await
}

/// Writes all rows of `answer`.
///
/// # Errors
/// As [`write()`]; [`Kind::Data`](crate::base::Kind::Data) for a value that a workbook cannot hold.
pub async fn write_as<W: io::Write + Send>(mut answer: Answer, style: Style, out: &mut W) -> Result<Written> {
    let schema = if style.format.has_labels() { Arc::clone(answer.schema()) } else { unique(answer.schema()) };
    let mut encoder = Encoder::new(style, &schema)?;
    let mut rows = 0;
    let mut end = End::Complete;
    while let Some(batch) = answer.next().await? {
        let taken = encoder.rows_left(rows).min(batch.num_rows());
        encoder.add(&renamed(batch.slice(0, taken), &schema).map_err(encoder::unprintable)?)?;
        rows += taken;
        if !flush(&mut encoder, out)? {
            return Ok(Written { rows, end: End::ReaderGone });
        }
        if taken < batch.num_rows() {
            end = End::RowLimit;
            break;
        }
    }
    encoder.finish(end)?;
    let end = if flush(&mut encoder, out)? { end } else { End::ReaderGone };
    Ok(Written { rows, end })
}

/// Rows that are no answer of a query, in a format that streams.
pub struct Text(Encoder);

impl Text {
    /// Starts an output; the limits of the table format are the usual ones.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::base::Kind::Internal) for a column that cannot be shown.
    pub fn new(format: Format, schema: &SchemaRef) -> Result<Self> {
        Ok(Self(Encoder::new(Style { format, ..Style::default() }, schema)?))
    }

    /// Encodes rows.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::base::Kind::Internal) for a column that cannot be shown.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.add(batch)
    }

    /// Encodes the end.
    ///
    /// # Errors
    /// As [`Text::add`].
    pub fn finish(&mut self) -> Result<()> {
        self.0.finish(End::Complete)
    }

    /// Hands `out` what is encoded so far.
    ///
    /// # Errors
    /// What `out` says.
    pub fn drain<W: io::Write + Send>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.drain(out)
    }
}

/// Gives `out` what is encoded so far; `false` if its reader is gone.
fn flush<W: io::Write + Send>(encoder: &mut Encoder, out: &mut W) -> Result<bool> {
    match encoder.drain(out).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::storage("the rows cannot be written").caused_by(error)),
    }
}

#[cfg(test)]
mod tests;
