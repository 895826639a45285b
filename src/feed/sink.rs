//! Rows of a feed as JSON lines, CSV, Parquet or an Arrow stream.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::base::{Error, Result};
use crate::query::Format as TextFormat;
use crate::query::output::Text;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One object a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// One Parquet file.
    Parquet,
    /// An Arrow IPC stream.
    Arrow,
}

impl Format {
    /// Whether it is no text.
    #[must_use]
    pub fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }
}

/// Writes batches of one schema.
pub struct Sink<W: Write + Send> {
    kind: Kind<W>,
}

enum Kind<W: Write + Send> {
    Text(Box<Text>, W),
    Parquet(Box<ArrowWriter<W>>),
    Arrow(Box<StreamWriter<W>>),
}

impl<W: Write + Send> Sink<W> {
    /// Starts an output.
    ///
    /// # Errors
    /// `Storage` when it cannot be written.
    pub fn new(format: Format, schema: &SchemaRef, out: W) -> Result<Self> {
        let kind = match format {
            Format::Jsonl => Kind::Text(Box::new(Text::new(TextFormat::Jsonl, schema)?), out),
            Format::Csv => Kind::Text(Box::new(Text::new(TextFormat::Csv, schema)?), out),
            Format::Parquet => {
                let zstd = Compression::ZSTD(ZstdLevel::default());
                let properties = WriterProperties::builder().set_compression(zstd).build();
                let writer = ArrowWriter::try_new(out, SchemaRef::clone(schema), Some(properties));
                Kind::Parquet(Box::new(writer.map_err(unwritten)?))
            }
            Format::Arrow => Kind::Arrow(Box::new(StreamWriter::try_new(out, schema).map_err(unwritten)?)),
        };
        Ok(Self { kind })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// `Storage` when they cannot be written.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        match &mut self.kind {
            Kind::Text(text, out) => {
                text.add(batch)?;
                text.drain(out).map_err(unwritten)
            }
            Kind::Parquet(writer) => writer.write(batch).map_err(unwritten),
            Kind::Arrow(writer) => writer.write(batch).map_err(unwritten),
        }
    }

    /// Ends the output and gives back what it went to; everything was handed to it.
    ///
    /// # Errors
    /// `Storage` when it cannot be written.
    pub fn finish(self) -> Result<W> {
        let mut out = match self.kind {
            Kind::Text(mut text, mut out) => {
                text.finish()?;
                text.drain(&mut out).map_err(unwritten)?;
                out
            }
            Kind::Parquet(writer) => writer.into_inner().map_err(unwritten)?,
            Kind::Arrow(writer) => writer.into_inner().map_err(unwritten)?,
        };
        out.flush().map_err(unwritten)?;
        Ok(out)
    }
}

fn unwritten(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::storage("the rows cannot be written").caused_by(source)
}
