//! One table of one publication as a stream of batches, in the order of its rows, with the contract's columns.
//!
//! A file written before the contract had a column gives nulls for it. Memory: one batch, and the columns asked for of
//! one row group; a file is never held whole.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use crate::base::{Error, Result};
use crate::load::{DataFile, lost};
use crate::store::Store;
use crate::transform::contract::Table;

/// Rows in one batch.
const BATCH_ROWS: usize = 8192;

/// The rows of some files of a table.
pub struct Rows {
    files: Arc<dyn ObjectStore>,
    left: VecDeque<DataFile>,
    open: Option<(DataFile, ParquetRecordBatchStream<ObjectReader>)>,
    schema: SchemaRef,
}

impl Rows {
    /// The rows of `files`, with `columns` of the table's file schema (all: `None`).
    ///
    /// # Errors
    /// `Internal` for a column that the contract does not have.
    pub fn new(store: &Store, table: Table, files: &[DataFile], columns: Option<&[&str]>) -> Result<Self> {
        let contract = table.file_schema()?;
        let nullable = |field: &Field| field.clone().with_nullable(true);
        let fields: Vec<Field> = match columns {
            None => contract.fields().iter().map(|field| nullable(field)).collect(),
            Some(names) => {
                let field = |name: &&str| contract.field_with_name(name).map(nullable);
                let fields = names.iter().map(field).collect::<Result<_, _>>();
                fields.map_err(|source| Error::internal(format!("`{table}` lacks a column")).caused_by(source))?
            }
        };
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { files: store.object_store(), left: files.iter().cloned().collect(), open: None, schema })
    }

    /// The columns of every batch; all of them may be null.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next rows, never none; `None` after the last.
    ///
    /// # Errors
    /// `Storage` when a file is missing or broken.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some((file, stream)) = &mut self.open {
                match stream.next().await.transpose().map_err(|source| unreadable(file, source))? {
                    Some(batch) if batch.num_rows() > 0 => {
                        return conform(&batch, &self.schema).map(Some).map_err(|source| {
                            Error::storage(format!("`{}` does not have the columns of its contract", file.path))
                                .caused_by(source)
                        });
                    }
                    Some(_) => continue,
                    None => self.open = None,
                }
            }
            let Some(file) = self.left.pop_front() else { return Ok(None) };
            let stream = self.stream(&file).await.map_err(|source| unreadable(&file, source))?;
            self.open = Some((file, stream));
        }
    }

    async fn stream(&self, file: &DataFile) -> ParquetResult<ParquetRecordBatchStream<ObjectReader>> {
        let path = Path::parse(&file.path).map_err(|source| ParquetError::External(source.into()))?;
        let reader = ObjectReader { store: Arc::clone(&self.files), path, bytes: file.bytes };
        let builder = ParquetRecordBatchStreamBuilder::new(reader).await?;
        let names = self.schema.fields().iter().map(|field| field.name().as_str());
        let mask = ProjectionMask::columns(builder.parquet_schema(), names);
        builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("left", &self.left.len()).finish_non_exhaustive()
    }
}

fn unreadable(file: &DataFile, source: ParquetError) -> Error {
    let error = Error::storage(format!("the published file `{}` cannot be read", file.path));
    error
        .with_hint(format!(
            "{}; a feed that is refused after that starts anew, into an empty copy: `huopan feed consumers reset NAME --to \
             start`",
            lost::remedy(&file.path)
        ))
        .caused_by(source)
}

/// The batch with exactly the columns of `schema`.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns: Result<Vec<ArrayRef>, _> = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
            Some(column) => cast(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        })
        .collect();
    let rows = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns?, &rows)
}

/// A file of an object store whose size is known: only the ranges that are needed are asked for.
struct ObjectReader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
}

impl AsyncFileReader for ObjectReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        let read = async move { self.store.get_range(&self.path, range).await };
        read.map(|read| read.map_err(|source| ParquetError::External(source.into()))).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        let read = async move { self.store.get_ranges(&self.path, &ranges).await };
        read.map(|read| read.map_err(|source| ParquetError::External(source.into()))).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let bytes = self.bytes;
            Ok(Arc::new(ParquetMetaDataReader::new().load_and_finish(self, bytes).await?))
        }
        .boxed()
    }
}
