//! One table's rows of one run as Parquet files in the lake, with their statistics. Blocking: run it on a thread.
//!
//! Takes record batches of the table's file schema; gives [`DataFile`]s for the publish log.
//!
//! Invariant: a file has its final name only when it is whole and durable, and no name is used twice.

use std::io::{self, Write};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef};
use chrono::NaiveDate;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::base::{Error, Result};
use crate::store::{self, Created, NewFile, Store};
use crate::transform::contract::Table;

use super::log::DataFile;
use super::stats;

/// How the names of files begin that upkeep has merged of several.
pub const OPTIMIZED: &str = "optimized-";
/// Names tried for one file before something must be wrong.
const NAMES_MAX: u32 = 1000;

/// Which rows are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The table.
    pub table: Table,
    /// The day.
    pub dt: NaiveDate,
    /// The pipeline: `[a-z0-9_-]`.
    pub pipeline: String,
    /// The run.
    pub run_id: String,
    /// The publication's number. It is in the files' names: a run that publishes twice, as a replay does, must not take the
    /// name of a file that it published before and that was lost since.
    pub seq: u64,
}

/// How files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterOptions {
    /// Zstandard level, 1–22. Default 3. Higher: smaller files, more processor time.
    pub zstd_level: i32,
    /// A file ends after this many bytes. Default 128 MiB. Lower: more files to open; higher: less to read in parallel.
    pub file_bytes: usize,
    /// A row group ends after this many rows. Default 131 072. Lower: finer pruning, larger footers.
    pub row_group_rows: usize,
    /// A row group ends after this many encoded bytes. Default 32 MiB. It is held in memory until then.
    pub row_group_bytes: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { zstd_level: 3, file_bytes: 128 << 20, row_group_rows: 128 << 10, row_group_bytes: 32 << 20 }
    }
}

/// Writes one table's rows of one run.
pub struct TableWriter {
    store: Store,
    target: Target,
    schema: SchemaRef,
    properties: WriterProperties,
    file_bytes: usize,
    open: Option<ArrowWriter<Digested>>,
    last_key: Option<Key>,
    files: Vec<DataFile>,
}

/// Shop and offer of a row, in their order: no shop first.
type Key = (Option<String>, i64);

impl Target {
    /// The folder of its files: `offers/dt=2026-11-20/pipeline=nightly`.
    ///
    /// # Errors
    /// `Internal` for a pipeline whose name would have to be escaped.
    pub fn folder(&self) -> Result<String> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        if self.pipeline.is_empty() || !self.pipeline.bytes().all(plain) {
            return Err(Error::internal(format!("`{}` is no name of a pipeline", self.pipeline)));
        }
        Ok(format!("{}/dt={}/pipeline={}", self.table, self.dt, self.pipeline))
    }

    /// The name of a file; `tried` counts the names that were taken.
    fn path(&self, part: usize, tried: u32) -> Result<String> {
        let (folder, run_id, seq) = (self.folder()?, &self.run_id, self.seq);
        Ok(match tried {
            0 => format!("{folder}/{run_id}-{seq}-{part:05}.parquet"),
            tried => format!("{folder}/{run_id}-{seq}-{part:05}-{tried}.parquet"),
        })
    }
}

impl TableWriter {
    /// A writer that has written nothing; a table without rows has no files.
    ///
    /// # Errors
    /// `Config` for a compression level that does not exist, `Internal` for a bad target.
    pub fn new(store: &Store, target: Target, options: WriterOptions) -> Result<Self> {
        target.folder()?;
        let schema = target.table.file_schema()?;
        let properties = properties(target.table, &schema, options)?;
        let store = store.clone();
        let file_bytes = options.file_bytes;
        Ok(Self { store, target, schema, properties, file_bytes, open: None, last_key: None, files: Vec::new() })
    }

    /// Adds rows, of the table's file schema and, for tables with an order, not before the rows already added.
    ///
    /// # Errors
    /// `Storage` when they cannot be written; `Internal` for other columns or rows out of order.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.schema_ref().fields() != self.schema.fields() {
            let message = format!("rows of `{}` do not have its columns: {}", self.target.table, batch.schema_ref());
            return Err(Error::internal(message));
        }
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.check_order(batch)?;
        let failed = failed(&self.target);
        let writer = match &mut self.open {
            Some(writer) => writer,
            none => {
                let file = Digested::new(self.store.new_file(&self.target.folder()?)?);
                let writer = ArrowWriter::try_new(file, self.schema.clone(), Some(self.properties.clone()));
                none.insert(writer.map_err(failed)?)
            }
        };
        writer.write(batch).map_err(failed)?;
        if writer.bytes_written() + writer.in_progress_size() >= self.file_bytes { self.seal() } else { Ok(()) }
    }

    /// Ends the last file and gives all of them.
    ///
    /// # Errors
    /// `Storage` when they cannot be written.
    pub fn finish(mut self) -> Result<Vec<DataFile>> {
        self.seal()?;
        Ok(self.files)
    }

    /// Ends the open file and gives it its name.
    fn seal(&mut self) -> Result<()> {
        let Some(mut writer) = self.open.take() else { return Ok(()) };
        let metadata = writer.finish().map_err(failed(&self.target))?;
        let bytes = writer.bytes_written() as u64;
        let Digested { file, digest } = writer.inner_mut();
        let digest = Some(digest_text(digest.digest128()));
        for tried in 0..NAMES_MAX {
            let path = self.target.path(self.files.len(), tried)?;
            if file.create(&path)? == Created::Done {
                let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
                let stats = stats::delta_stats(&metadata, &self.schema);
                self.files.push(DataFile { path, bytes, rows, stats, digest });
                return Ok(());
            }
        }
        Err(Error::internal(format!("no name is left in `{}` for run `{}`", self.target.folder()?, self.target.run_id)))
    }

    /// Readers trust the order that the footer states, so it is checked where it costs least.
    fn check_order(&mut self, batch: &RecordBatch) -> Result<()> {
        let &[shop, offer] = self.target.table.sort_columns() else { return Ok(()) };
        let (Some(shops), Some(offers)) = (batch.column_by_name(shop), batch.column_by_name(offer)) else {
            return Err(Error::internal(format!("`{}` lacks the columns of its order", self.target.table)));
        };
        let (shops, offers) = (shops.as_string::<i32>(), offers.as_primitive::<Int64Type>());
        let key = |row: usize| (shops.is_valid(row).then(|| shops.value(row)), offers.value(row));
        let last = self.last_key.as_ref().map(|(shop, offer)| (shop.as_deref(), *offer));
        let follows = last.is_none_or(|last| last <= key(0));
        if !follows || (1..batch.num_rows()).any(|row| key(row - 1) > key(row)) {
            return Err(Error::internal(format!("rows of `{}` are out of order", self.target.table)));
        }
        let (shop, offer) = key(batch.num_rows() - 1);
        self.last_key = Some((shop.map(str::to_owned), offer));
        Ok(())
    }
}

/// A file whose bytes are digested as they are written. XXH3 costs a thousandth of what compressing them does; it tells
/// a damaged file, not a forged one.
struct Digested {
    file: NewFile,
    digest: Xxh3,
}

impl Digested {
    fn new(file: NewFile) -> Self {
        Self { file, digest: Xxh3::new() }
    }
}

impl Write for Digested {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The digest of a file's bytes, as the publish log has it.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    digest_text(xxh3_128(bytes))
}

pub(super) fn digest_text(digest: u128) -> String {
    format!("xxh3-128:{digest:032x}")
}

fn properties(table: Table, schema: &Schema, options: WriterOptions) -> Result<WriterProperties> {
    let level = ZstdLevel::try_new(options.zstd_level).map_err(|source| {
        Error::config(format!("`{}` is no compression level", options.zstd_level)).caused_by(source)
    })?;
    let sorting: Option<Vec<SortingColumn>> = table
        .sort_columns()
        .iter()
        .map(|name| {
            let column_idx = i32::try_from(schema.index_of(name).ok()?).ok()?;
            Some(SortingColumn { column_idx, descending: false, nulls_first: true })
        })
        .collect();
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_created_by(format!("huopan {}", env!("CARGO_PKG_VERSION")))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(Some(stats::TEXT_BYTES_MAX))
        .set_max_row_group_row_count(Some(options.row_group_rows.max(1)))
        .set_max_row_group_bytes(Some(options.row_group_bytes.max(1)))
        .set_sorting_columns(sorting.filter(|columns| !columns.is_empty()));
    if schema.index_of("offer_id").is_ok() && !table.is_journal() {
        builder = builder.set_column_bloom_filter_enabled(ColumnPath::from("offer_id"), true);
    }
    for field in schema.fields().iter().filter(|field| *field.data_type() == DataType::Binary) {
        let column = ColumnPath::from(field.name().as_str());
        builder = builder
            .set_column_statistics_enabled(column.clone(), EnabledStatistics::None)
            .set_column_dictionary_enabled(column, false);
    }
    Ok(builder.build())
}

fn failed(target: &Target) -> impl Fn(ParquetError) -> Error + Copy + use<> {
    let table = target.table;
    move |source| {
        let error = Error::storage(format!("a Parquet file of `{table}` cannot be written"));
        let error = if store::is_full(&source) { error.with_hint(store::DISK_IS_FULL) } else { error };
        error.caused_by(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_with_what_to_do() {
        let run_id = "0198c2d4-0000-7000-8000-000000000000".to_owned();
        let pipeline = "nightly".to_owned();
        let target = Target { table: Table::Offers, dt: NaiveDate::MIN, pipeline, run_id, seq: 1 };
        let hint = |kind: io::ErrorKind| failed(&target)(io::Error::from(kind).into()).hint().map(str::to_owned);
        assert_eq!(hint(io::ErrorKind::StorageFull).as_deref(), Some(store::DISK_IS_FULL));
        assert_eq!(hint(io::ErrorKind::Other), None);
    }
}
