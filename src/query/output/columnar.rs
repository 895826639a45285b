//! Rows as Parquet or Arrow IPC.
//!
//! Text that the engine holds as views is written as plain text: every reader knows that.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::base::{Error, Result};

/// Writes batches of one schema into bytes.
pub(super) struct Columnar {
    schema: SchemaRef,
    writer: Writer,
}

enum Writer {
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    File(Box<FileWriter<Vec<u8>>>),
    Stream(Box<StreamWriter<Vec<u8>>>),
}

impl Columnar {
    pub(super) fn parquet(schema: &SchemaRef) -> Result<Self> {
        let schema = plain(schema);
        let zstd = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(zstd).build();
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties)).map_err(unwritten)?;
        Ok(Self { schema, writer: Writer::Parquet(Box::new(writer)) })
    }

    pub(super) fn file(schema: &SchemaRef) -> Result<Self> {
        let schema = plain(schema);
        let writer = FileWriter::try_new(Vec::new(), &schema).map_err(unwritten)?;
        Ok(Self { schema, writer: Writer::File(Box::new(writer)) })
    }

    pub(super) fn stream(schema: &SchemaRef) -> Result<Self> {
        let schema = plain(schema);
        let writer = StreamWriter::try_new(Vec::new(), &schema).map_err(unwritten)?;
        Ok(Self { schema, writer: Writer::Stream(Box::new(writer)) })
    }

    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast(column, field.data_type()),
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>, _>>().map_err(unwritten)?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(unwritten)?;
        match &mut self.writer {
            Writer::Parquet(writer) => writer.write(&batch).map_err(unwritten),
            Writer::File(writer) => writer.write(&batch).map_err(unwritten),
            Writer::Stream(writer) => writer.write(&batch).map_err(unwritten),
        }
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        match &mut self.writer {
            Writer::Parquet(writer) => writer.finish().map(drop).map_err(unwritten),
            Writer::File(writer) => writer.finish().map_err(unwritten),
            Writer::Stream(writer) => writer.finish().map_err(unwritten),
        }
    }

    /// What is encoded so far. The writers count what they wrote themselves, so it may be taken away.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        match &mut self.writer {
            Writer::Parquet(writer) => writer.inner_mut(),
            Writer::File(writer) => writer.get_mut(),
            Writer::Stream(writer) => writer.get_mut(),
        }
    }
}

/// The schema as files state it.
fn plain(schema: &SchemaRef) -> SchemaRef {
    let fields =
        schema.fields().iter().map(|field| field.as_ref().clone().with_data_type(plain_type(field.data_type())));
    Arc::new(Schema::new(fields.collect::<Fields>()))
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => DataType::List(Arc::new(plain_item(item))),
        other => other.clone(),
    }
}

fn plain_item(item: &Field) -> Field {
    item.clone().with_data_type(plain_type(item.data_type()))
}

fn unwritten(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::storage("the rows cannot be written").caused_by(source)
}
