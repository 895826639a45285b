//! A chunk: the offers one worker decoded, with their tiers and SKUs, sorted as the tables are.
//!
//! Takes three batches whose rows hang together by counts; gives them back sorted by shop and offer, with a
//! small key per offer that decides order and duplicates. Past a memory budget a chunk's batches live in a
//! temporary file; its keys stay.
//!
//! Invariant: the tiers (and SKUs) of the n-th offer are the rows `tiers_at[n]..tiers_at[n + 1]`.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::sync::Arc;

use arrow::array::{Array, Int32Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;

use crate::base::{Error, Result};

/// What decides an offer's place and which of several records of it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The shop, where the answer or the pipeline names it.
    pub shop_id: Option<Arc<str>>,
    /// The offer.
    pub offer_id: i64,
    /// Modification time in µs; `i64::MIN` where none is stated.
    pub modified_at: i64,
    /// Fetch time in µs.
    pub fetched_at: i64,
    /// The response's number in the run.
    pub number: i64,
    /// The record's place in the response.
    pub position: u32,
    /// Hash of the content columns.
    pub content_hash: i64,
    /// Where the row comes from.
    pub origin: Origin,
    /// The record is the offer's own detail, beside that of a listing.
    pub is_detail: bool,
    /// Every SKU it names has a row.
    pub sku_complete: bool,
    /// It has a wholesale, spread or channel price.
    pub price_complete: bool,
    /// It states a MOQ.
    pub moq_stated: bool,
}

/// Where a row of today's picture comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A record of this run.
    Fetched,
    /// The picture before, because its shop is incomplete today.
    Carried,
    /// The picture before, because the offer is no longer listed.
    Delisted,
}

/// Offers, tiers and SKUs that hang together.
#[derive(Debug, Clone)]
pub struct Rows {
    /// One row per offer, in the columns of the `offers` file without `run_id`.
    pub offers: RecordBatch,
    /// The tiers of all offers, in offer order.
    pub tiers: RecordBatch,
    /// The SKUs of all offers, in offer order.
    pub skus: RecordBatch,
}

/// Sorted offers with their keys.
#[derive(Debug)]
pub struct Chunk {
    /// By row.
    pub keys: Vec<Key>,
    /// First tier of each offer; one more at the end.
    pub tiers_at: Vec<u32>,
    /// First SKU of each offer; one more at the end.
    pub skus_at: Vec<u32>,
    rows: Held,
}

#[derive(Debug)]
enum Held {
    Memory(Rows),
    File(SpillFiles),
}

/// Offers in one batch of a spilled chunk.
const SPILL_OFFERS: usize = 2048;

#[derive(Debug)]
struct SpillFiles {
    directory: tempfile::TempDir,
    batches: usize,
}

impl Chunk {
    /// Sorts rows by shop and offer. `keys` stand in the order of `rows.offers`.
    ///
    /// # Errors
    /// [`crate::base::Kind::Internal`] when the counts in `rows` do not add up.
    pub fn new(rows: &Rows, keys: Vec<Key>) -> Result<Self> {
        let tiers_at = starts(&rows.offers, "tier_count")?;
        let skus_at = starts(&rows.offers, "sku_count")?;
        let mut order: Vec<u32> = (0..u32::try_from(keys.len()).map_err(internal)?).collect();
        order.sort_by(|&a, &b| {
            let (a, b) = (&keys[a as usize], &keys[b as usize]);
            (&a.shop_id, a.offer_id, a.number, a.position).cmp(&(&b.shop_id, b.offer_id, b.number, b.position))
        });
        let (tier_order, tiers_at) = children(&order, &tiers_at);
        let (sku_order, skus_at) = children(&order, &skus_at);
        let sorted = Rows {
            offers: take_record_batch(&rows.offers, &UInt32Array::from(order.clone())).map_err(internal)?,
            tiers: take_record_batch(&rows.tiers, &UInt32Array::from(tier_order)).map_err(internal)?,
            skus: take_record_batch(&rows.skus, &UInt32Array::from(sku_order)).map_err(internal)?,
        };
        let keys = order.iter().map(|&row| keys[row as usize].clone()).collect();
        Ok(Self { keys, tiers_at, skus_at, rows: Held::Memory(sorted) })
    }

    /// Bytes of Arrow memory it holds.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match &self.rows {
            Held::Memory(rows) => {
                [&rows.offers, &rows.tiers, &rows.skus].iter().map(|batch| batch.get_array_memory_size()).sum()
            }
            Held::File(_) => 0,
        }
    }

    /// Moves its batches to temporary files.
    ///
    /// # Errors
    /// [`crate::base::Kind::Storage`] when the temporary directory cannot take them.
    pub fn spill(&mut self) -> Result<()> {
        let Held::Memory(rows) = &self.rows else { return Ok(()) };
        let directory = tempfile::Builder::new().prefix("huopan-").tempdir().map_err(spill_error)?;
        let batches = self.keys.len().div_ceil(SPILL_OFFERS).max(1);
        for (name, batch, starts) in [
            ("offers", &rows.offers, None),
            ("tiers", &rows.tiers, Some(&self.tiers_at)),
            ("skus", &rows.skus, Some(&self.skus_at)),
        ] {
            let file = BufWriter::new(File::create(directory.path().join(name)).map_err(spill_error)?);
            let mut writer = FileWriter::try_new(file, &batch.schema()).map_err(spill_error)?;
            for part in 0..batches {
                let first = part * SPILL_OFFERS;
                let last = (first + SPILL_OFFERS).min(self.keys.len());
                let (from, to) = match starts {
                    None => (first, last),
                    Some(starts) => (starts[first] as usize, starts[last] as usize),
                };
                writer.write(&batch.slice(from, to - from)).map_err(spill_error)?;
            }
            writer.finish().map_err(spill_error)?;
        }
        self.rows = Held::File(SpillFiles { directory, batches });
        Ok(())
    }

    /// Reads its rows from the first to the last.
    ///
    /// # Errors
    /// [`crate::base::Kind::Storage`] when a temporary file cannot be read.
    pub fn cursor(&self) -> Result<Cursor<'_>> {
        let source = match &self.rows {
            Held::Memory(rows) => Source::Memory(Some(rows.clone())),
            Held::File(files) => {
                let open = |name: &str| {
                    let file = File::open(files.directory.path().join(name)).map_err(spill_error)?;
                    FileReader::try_new_buffered(file, None).map_err(spill_error)
                };
                Source::File(Box::new(SpillReader {
                    offers: open("offers")?,
                    tiers: open("tiers")?,
                    skus: open("skus")?,
                    left: files.batches,
                }))
            }
        };
        Ok(Cursor { chunk: self, source, first: 0 })
    }
}

/// Hands out a chunk's rows piece by piece.
#[derive(Debug)]
pub struct Cursor<'c> {
    chunk: &'c Chunk,
    source: Source,
    first: usize,
}

#[derive(Debug)]
enum Source {
    Memory(Option<Rows>),
    File(Box<SpillReader>),
}

#[derive(Debug)]
struct SpillReader {
    offers: FileReader<BufReader<File>>,
    tiers: FileReader<BufReader<File>>,
    skus: FileReader<BufReader<File>>,
    left: usize,
}

/// Rows `first..` of a chunk.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The row of the chunk that its first row is.
    pub first: usize,
    /// The first row of `rows.tiers` in the chunk's count.
    pub first_tier: usize,
    /// The first row of `rows.skus` in the chunk's count.
    pub first_sku: usize,
    /// The rows.
    pub rows: Rows,
}

impl Cursor<'_> {
    /// The next piece, in row order; `None` after the last.
    ///
    /// # Errors
    /// [`crate::base::Kind::Storage`] when a temporary file cannot be read.
    pub fn next_piece(&mut self) -> Result<Option<Piece>> {
        let rows = match &mut self.source {
            Source::Memory(rows) => rows.take(),
            Source::File(reader) => reader.read()?,
        };
        let Some(rows) = rows else { return Ok(None) };
        let first = self.first;
        self.first += rows.offers.num_rows();
        Ok(Some(Piece {
            first,
            first_tier: self.chunk.tiers_at[first] as usize,
            first_sku: self.chunk.skus_at[first] as usize,
            rows,
        }))
    }
}

impl SpillReader {
    fn read(&mut self) -> Result<Option<Rows>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let read = |reader: &mut FileReader<BufReader<File>>| match reader.next() {
            Some(batch) => batch.map_err(spill_error),
            None => Err(Error::internal("a temporary file is shorter than it was written")),
        };
        Ok(Some(Rows { offers: read(&mut self.offers)?, tiers: read(&mut self.tiers)?, skus: read(&mut self.skus)? }))
    }
}

/// Running sums of a count column, starting at 0.
fn starts(offers: &RecordBatch, column: &str) -> Result<Vec<u32>> {
    let counts = offers
        .column_by_name(column)
        .and_then(|array| array.as_any().downcast_ref::<Int32Array>())
        .ok_or_else(|| Error::internal(format!("offers have no column `{column}`")))?;
    let mut at = 0_u32;
    let mut starts = Vec::with_capacity(counts.len() + 1);
    starts.push(0);
    for &count in counts.values() {
        at = u32::try_from(count)
            .ok()
            .and_then(|count| at.checked_add(count))
            .ok_or_else(|| Error::internal("rows overflow a chunk"))?;
        starts.push(at);
    }
    Ok(starts)
}

/// The order of child rows when their parents are reordered, and the new starts.
fn children(order: &[u32], starts: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut rows = Vec::with_capacity(starts.last().map_or(0, |&last| last as usize));
    let mut sorted = Vec::with_capacity(starts.len());
    sorted.push(0);
    for &parent in order {
        rows.extend(starts[parent as usize]..starts[parent as usize + 1]);
        sorted.push(u32::try_from(rows.len()).unwrap_or(u32::MAX));
    }
    (rows, sorted)
}

fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("rows of a chunk do not hang together").caused_by(error)
}

fn spill_error(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::storage("cannot write or read a temporary file for sorting")
        .caused_by(error)
        .with_hint("point TMPDIR at a disk with room")
}
