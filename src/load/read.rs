//! Reading published files back, in the order of their rows, row group by row group: never a file whole.
//!
//! Memory: the parts of one row group that are asked for, and one batch.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use tokio::runtime::Handle;

use crate::base::{Error, Kind, Result};
use crate::store::Store;
use crate::transform::contract::Table;

use super::log::{DataFile, Entry};
use super::lost;

/// Rows in one batch.
const BATCH_ROWS: usize = 16_384;
/// A file's footer is looked for in this much of its end, in one request.
const FOOTER_BYTES: usize = 64 << 10;

/// Hands the rows of a table, as one entry published them, to `take`, batch by batch, with the columns asked for (all:
/// `None`). Blocks: to be called off the reactor, within the runtime.
///
/// # Errors
/// [`crate::base::Kind::Storage`] when a file is missing or broken; what `take` returns.
pub fn read(
    store: &Store,
    entry: &Entry,
    table: Table,
    columns: Option<&[&str]>,
    take: impl FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    read_by(store, entry, table, columns, BATCH_ROWS, take)
}

/// As [`read`], so many rows at once: for rows that are large.
///
/// # Errors
/// As [`read`].
pub fn read_by(
    store: &Store,
    entry: &Entry,
    table: Table,
    columns: Option<&[&str]>,
    rows: usize,
    mut take: impl FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    Batches::new(store, entry, table, columns, rows).try_for_each(|batch| take(batch?))
}

/// The rows of a table, as one entry published them, batch by batch. Blocks, as [`read`] does.
pub struct Batches {
    store: Store,
    files: VecDeque<DataFile>,
    columns: Option<Vec<String>>,
    batch_rows: usize,
    open: Option<(String, ParquetRecordBatchStream<Ranges>)>,
}

impl Batches {
    /// Opens nothing yet. A batch has at most `batch_rows` rows, with the columns asked for (all: `None`).
    #[must_use]
    pub fn new(store: &Store, entry: &Entry, table: Table, columns: Option<&[&str]>, batch_rows: usize) -> Self {
        Self {
            store: store.clone(),
            files: entry.files(table).iter().cloned().collect(),
            columns: columns.map(|columns| columns.iter().map(|column| (*column).to_owned()).collect()),
            batch_rows,
            open: None,
        }
    }

    async fn open(&self, file: &DataFile) -> Result<ParquetRecordBatchStream<Ranges>> {
        let ranges = Ranges { store: self.store.clone(), path: file.path.clone(), bytes: file.bytes };
        let broken = |error| broken(&file.path, error);
        let mut builder = ParquetRecordBatchStreamBuilder::new(ranges).await.map_err(broken)?;
        if let Some(columns) = &self.columns {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().map(String::as_str));
            builder = builder.with_projection(mask);
        }
        builder.with_batch_size(self.batch_rows).build().map_err(broken)
    }

    async fn read(&mut self) -> Option<Result<RecordBatch>> {
        loop {
            if let Some((path, stream)) = &mut self.open {
                match stream.next().await {
                    Some(batch) => return Some(batch.map_err(|error| broken(path, error))),
                    None => self.open = None,
                }
            }
            let file = self.files.pop_front()?;
            match self.open(&file).await {
                Ok(stream) => self.open = Some((file.path, stream)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        Handle::current().block_on(self.read())
    }
}

/// A file of the lake, read in parts.
struct Ranges {
    store: Store,
    path: String,
    bytes: u64,
}

impl AsyncFileReader for Ranges {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            let parts = self.get_byte_ranges(vec![range]).await?;
            parts.into_iter().next().ok_or_else(|| ParquetError::EOF("nothing was read".to_owned()))
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            let parts = self.store.get_ranges(&self.path, &ranges).await;
            let missing = || {
                Error::storage(format!("the published file `{}` is missing", self.path))
                    .with_hint(lost::remedy(&self.path))
            };
            let parts = parts.and_then(|parts| parts.ok_or_else(missing));
            parts.map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let bytes = self.bytes;
            let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_BYTES));
            Ok(Arc::new(reader.load_and_finish(self, bytes).await?))
        }
        .boxed()
    }
}

/// The error of a file that cannot be read. What the store says stands for itself: it decides whether to try again.
fn broken(path: &str, error: ParquetError) -> Error {
    let unreadable = || {
        let error = Error::storage(format!("cannot read the published file `{path}`"));
        error.with_hint(lost::remedy(path))
    };
    match error {
        ParquetError::External(source) => match source.downcast::<Error>() {
            // Where the store does not answer, the file may be well.
            Ok(error) if error.hint().is_none() && error.kind() != Kind::Unavailable => {
                error.with_hint(lost::remedy(path))
            }
            Ok(error) => *error,
            Err(source) => unreadable().caused_by(source),
        },
        error => unreadable().caused_by(error),
    }
}
