//! A partition's rows as Parquet files, each with its digest.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::base::{Error, Result};
use crate::feed::rows::Rows;
use crate::load::DataFile;
use crate::store::{Created, NewFile, Store};

use super::hive::HiveWriter;
use super::{Partition, Profile};

/// A file ends after this many bytes.
const FILE_BYTES: u64 = 128 << 20;
/// A row group ends after this many rows …
const ROW_GROUP_ROWS: usize = 128 << 10;
/// … or this many bytes.
const ROW_GROUP_BYTES: usize = 32 << 20;
/// Batches between reading and writing.
const BATCHES_IN_FLIGHT: usize = 4;

/// One file of a partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its name in the partition's folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
}

/// Writes the rows of a partition into files of `folder`. Their names are used by no other export.
///
/// # Errors
/// `Storage` when a published file cannot be read or the target cannot be written.
pub async fn write(
    lake: &Store,
    target: &Store,
    partition: &Partition<'_>,
    profile: Profile,
    folder: &str,
) -> Result<Vec<Part>> {
    let files: Vec<DataFile> = partition.files.iter().map(|file| (*file).clone()).collect();
    let mut rows = Rows::new(lake, partition.table, &files, None)?;
    let (send, mut batches) = mpsc::channel::<RecordBatch>(BATCHES_IN_FLIGHT);
    let mut parts = Parts {
        target: target.clone(),
        folder: folder.to_owned(),
        id: uuid::Uuid::now_v7().simple().to_string(),
        schema: Arc::clone(rows.schema()),
        profile,
        open: None,
        done: Vec::new(),
    };
    let writing = tokio::task::spawn_blocking(move || {
        while let Some(batch) = batches.blocking_recv() {
            parts.add(&batch)?;
        }
        Ok::<_, Error>(parts)
    });
    let read = async {
        while let Some(batch) = rows.next().await? {
            // A writer that failed takes no more, and says why below.
            if send.send(batch).await.is_err() {
                break;
            }
        }
        drop(send);
        Ok::<_, Error>(())
    };
    let read = read.await;
    let ended = |source| Error::internal("an export's writer ended early").caused_by(source);
    let parts: Parts = writing.await.map_err(ended)??;
    read?;
    // Only now: the end of the rows must not be mistaken for their failure.
    tokio::task::spawn_blocking(move || parts.finish()).await.map_err(ended)?
}

struct Parts {
    target: Store,
    folder: String,
    id: String,
    schema: SchemaRef,
    profile: Profile,
    open: Option<Open>,
    done: Vec<Part>,
}

struct Open {
    writer: Writer,
    rows: u64,
}

enum Writer {
    Plain(Box<ArrowWriter<Digesting>>),
    Hive(Box<HiveWriter<Digesting>>),
}

impl Parts {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let out = Digesting { file: self.target.new_file(&self.folder)?, digest: Sha256::new(), bytes: 0 };
                let writer = Writer::new(self.profile, &self.schema, out).map_err(unwritten)?;
                none.insert(Open { writer, rows: 0 })
            }
        };
        open.writer.add(batch).map_err(unwritten)?;
        open.rows += u64::try_from(batch.num_rows()).unwrap_or(0);
        if open.writer.bytes() >= FILE_BYTES { self.seal() } else { Ok(()) }
    }

    fn seal(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let mut out = open.writer.finish().map_err(unwritten)?;
        let name = format!("part-{:05}-{}.parquet", self.done.len(), self.id);
        let path = format!("{}/{name}", self.folder);
        if out.file.create(&path)? == Created::Exists {
            return Err(Error::storage(format!("somebody else has written `{path}`")));
        }
        let sha256 = out.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.done.push(Part { name, bytes: out.bytes, rows: open.rows, sha256 });
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Part>> {
        self.seal()?;
        Ok(self.done)
    }
}

impl Writer {
    fn new(profile: Profile, schema: &SchemaRef, out: Digesting) -> Result<Self, ParquetError> {
        let schema = Arc::clone(schema);
        Ok(match profile {
            Profile::Plain => {
                let properties = properties().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
                let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
                Self::Plain(Box::new(ArrowWriter::try_new_with_options(out, schema, options)?))
            }
            Profile::Hive => {
                let properties = properties().set_compression(Compression::SNAPPY).build();
                Self::Hive(Box::new(HiveWriter::new(out, schema, properties, ROW_GROUP_ROWS, ROW_GROUP_BYTES)?))
            }
        })
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        match self {
            Self::Plain(writer) => writer.write(batch),
            Self::Hive(writer) => writer.write(batch),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Plain(writer) => {
                u64::try_from(writer.bytes_written() + writer.in_progress_size()).unwrap_or(u64::MAX)
            }
            Self::Hive(writer) => u64::try_from(writer.bytes()).unwrap_or(u64::MAX),
        }
    }

    fn finish(self) -> Result<Digesting, ParquetError> {
        match self {
            Self::Plain(writer) => writer.into_inner(),
            Self::Hive(writer) => writer.finish(),
        }
    }
}

fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_created_by(format!("huopan {}", env!("CARGO_PKG_VERSION")))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
}

fn unwritten(source: ParquetError) -> Error {
    Error::storage("an exported file cannot be written").caused_by(source)
}

/// A file whose bytes are counted and digested on their way.
struct Digesting {
    file: NewFile,
    digest: Sha256,
    bytes: u64,
}

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.bytes += u64::try_from(written).unwrap_or(0);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
