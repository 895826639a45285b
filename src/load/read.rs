//! Reading published files back, in the order of their rows.

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use arrow::array::RecordBatch;
use tokio::runtime::Handle;

use crate::base::{Error, Result};
use crate::store::Store;
use crate::transform::contract::Table;

use super::log::Entry;

/// Rows in one batch.
const BATCH_ROWS: usize = 16_384;

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
    for file in entry.tables.get(table.name()).into_iter().flatten() {
        let broken = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::storage(format!("cannot read the published file `{}`", file.path)).caused_by(error)
        };
        let bytes = Handle::current().block_on(store.get(&file.path))?.ok_or_else(|| {
            Error::storage(format!("the published file `{}` is missing", file.path))
                .with_hint("restore it, or publish the day anew with `huopan run --refresh`")
        })?;
        let mut builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| broken(error.into()))?;
        if let Some(columns) = columns {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            builder = builder.with_projection(mask);
        }
        let reader = builder.with_batch_size(rows).build().map_err(|error| broken(error.into()))?;
        for batch in reader {
            take(batch.map_err(|error| broken(error.into()))?)?;
        }
    }
    Ok(())
}
