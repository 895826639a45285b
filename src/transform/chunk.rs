//! A chunk: the offers one worker decoded, with their tiers and SKUs, sorted as the tables are.
//!
//! Takes three batches whose rows hang together by counts; gives them back piece by piece, sorted by shop and offer.
//! What finds no room in the budget lies in temporary files.
//!
//! Invariant: the tiers (and SKUs) of a piece's offers follow each other in the order of the offers.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::sync::Arc;

use arrow::array::{Array, Int32Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::base::memory::{Budget, Share};
use crate::base::{Error, Result};

use super::sort;

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
    /// The record is the offer's own detail, beside that of a listing.
    pub is_detail: bool,
    /// It is the row before of an offer whose detail still holds, with SKUs of today.
    pub is_renewed: bool,
    /// Every SKU it names has a row.
    pub sku_complete: bool,
    /// It has a wholesale, spread or channel price.
    pub price_complete: bool,
    /// It states a MOQ.
    pub moq_stated: bool,
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

impl Rows {
    /// The first tier of each offer; one more at the end.
    ///
    /// # Errors
    /// [`crate::base::Kind::Internal`] when the counts in `offers` do not add up.
    pub fn tiers_at(&self) -> Result<Vec<u32>> {
        starts(&self.offers, "tier_count")
    }

    /// The first SKU of each offer; one more at the end.
    ///
    /// # Errors
    /// As [`Rows::tiers_at`].
    pub fn skus_at(&self) -> Result<Vec<u32>> {
        starts(&self.offers, "sku_count")
    }

    /// Bytes that its values take, whoever else shares their buffers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let batches = [&self.offers, &self.tiers, &self.skus].into_iter();
        let columns = batches.flat_map(|batch| batch.columns());
        columns.map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
    }

    /// Sorts rows by shop and offer. `keys` stand in the order of `offers`, and come back in the order of the rows.
    ///
    /// # Errors
    /// [`crate::base::Kind::Internal`] when the counts in `offers` do not add up.
    pub fn sorted(&self, keys: &[Key]) -> Result<(Self, Vec<Key>)> {
        let mut order: Vec<u32> = (0..u32::try_from(keys.len()).map_err(internal)?).collect();
        order.sort_by(|&a, &b| {
            let (a, b) = (&keys[a as usize], &keys[b as usize]);
            (&a.shop_id, a.offer_id, a.number, a.position).cmp(&(&b.shop_id, b.offer_id, b.number, b.position))
        });
        let keys = order.iter().map(|row| keys[*row as usize].clone()).collect();
        Ok((self.taken(order)?, keys))
    }

    /// These rows of `offers`, in this order, with their tiers and SKUs.
    ///
    /// # Errors
    /// [`crate::base::Kind::Internal`] when the counts in `offers` do not add up.
    pub fn taken(&self, order: Vec<u32>) -> Result<Self> {
        let tier_order = children(&order, &self.tiers_at()?);
        let sku_order = children(&order, &self.skus_at()?);
        Ok(Self {
            tiers: take_record_batch(&self.tiers, &UInt32Array::from(tier_order)).map_err(internal)?,
            skus: take_record_batch(&self.skus, &UInt32Array::from(sku_order)).map_err(internal)?,
            offers: take_record_batch(&self.offers, &UInt32Array::from(order)).map_err(internal)?,
        })
    }
}

/// Rows in the order of the tables, piece by piece.
pub type Pieces<'p> = Box<dyn Iterator<Item = Result<Rows>> + 'p>;

/// Sorted offers.
#[derive(Debug)]
pub struct Chunk(Held);

#[derive(Debug)]
enum Held {
    Memory(Rows, #[expect(dead_code, reason = "gives the memory back when the rows go")] Share),
    Files(tempfile::TempDir),
}

/// Offers in one piece of a spilled chunk: one of each chunk is in memory while they are merged.
const SPILL_OFFERS: usize = 256;
/// The files of a spilled chunk.
const NAMES: [&str; 3] = ["offers", "tiers", "skus"];

impl Chunk {
    /// Keeps sorted rows: in memory where the budget has room, else in temporary files.
    ///
    /// # Errors
    /// [`crate::base::Kind::Storage`] when the temporary folder cannot take them; [`crate::base::Kind::Internal`] when
    /// their counts do not add up.
    pub fn new(rows: Rows, budget: &Budget) -> Result<Self> {
        let mut share = budget.share();
        if share.resize(rows.bytes()) {
            return Ok(Self(Held::Memory(rows, share)));
        }
        let mut spill = Spill::new()?;
        spill.write(&rows)?;
        spill.finish()
    }

    /// Whether its rows lie in temporary files.
    #[must_use]
    pub fn is_spilled(&self) -> bool {
        matches!(self.0, Held::Files(_))
    }

    /// Its rows from the first to the last; nothing is opened before the first is asked for.
    #[must_use]
    pub fn pieces(&self) -> Pieces<'_> {
        match &self.0 {
            Held::Memory(rows, _) => Box::new(std::iter::once_with(|| Ok(rows.clone()))),
            Held::Files(folder) => Box::new(SpillReader { folder, files: None }),
        }
    }
}

/// Writes a spilled chunk.
pub(super) struct Spill {
    folder: tempfile::TempDir,
    files: Option<[StreamWriter<BufWriter<File>>; 3]>,
}

impl Spill {
    pub(super) fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("huopan-").tempdir().map_err(sort::failed)?;
        Ok(Self { folder, files: None })
    }

    /// Appends rows, which follow those that are there.
    pub(super) fn write(&mut self, rows: &Rows) -> Result<()> {
        let (tiers_at, skus_at) = (rows.tiers_at()?, rows.skus_at()?);
        let batches = [&rows.offers, &rows.tiers, &rows.skus];
        let files = match &mut self.files {
            Some(files) => files,
            none => {
                let create = |at: usize| {
                    let file = File::create(self.folder.path().join(NAMES[at])).map_err(sort::failed)?;
                    StreamWriter::try_new(BufWriter::new(file), &batches[at].schema()).map_err(sort::failed)
                };
                none.insert([create(0)?, create(1)?, create(2)?])
            }
        };
        let offers = rows.offers.num_rows();
        for first in (0..offers).step_by(SPILL_OFFERS) {
            let last = (first + SPILL_OFFERS).min(offers);
            let of = |starts: &[u32]| (starts[first] as usize, starts[last] as usize);
            for ((file, batch), (from, to)) in
                files.iter_mut().zip(batches).zip([(first, last), of(&tiers_at), of(&skus_at)])
            {
                file.write(&batch.slice(from, to - from)).map_err(sort::failed)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Chunk> {
        for mut file in self.files.into_iter().flatten() {
            file.finish().map_err(sort::failed)?;
        }
        Ok(Chunk(Held::Files(self.folder)))
    }
}

struct SpillReader<'c> {
    folder: &'c tempfile::TempDir,
    files: Option<[StreamReader<BufReader<File>>; 3]>,
}

impl SpillReader<'_> {
    fn read(&mut self) -> Result<Option<Rows>> {
        let [offers, tiers, skus] = match &mut self.files {
            Some(files) => files,
            // A chunk of nothing has no files.
            _ if !self.folder.path().join(NAMES[0]).exists() => return Ok(None),
            none => {
                let open = |name: &str| {
                    let file = File::open(self.folder.path().join(name)).map_err(sort::failed)?;
                    StreamReader::try_new(BufReader::new(file), None).map_err(sort::failed)
                };
                none.insert([open(NAMES[0])?, open(NAMES[1])?, open(NAMES[2])?])
            }
        };
        let Some(offers) = offers.next() else { return Ok(None) };
        let read = |reader: &mut StreamReader<BufReader<File>>| match reader.next() {
            Some(batch) => batch.map_err(sort::failed),
            None => Err(Error::internal("a temporary file is shorter than it was written")),
        };
        Ok(Some(Rows { offers: offers.map_err(sort::failed)?, tiers: read(tiers)?, skus: read(skus)? }))
    }
}

impl Iterator for SpillReader<'_> {
    type Item = Result<Rows>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
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

/// The order of child rows when their parents are reordered.
fn children(order: &[u32], starts: &[u32]) -> Vec<u32> {
    let mut rows = Vec::with_capacity(starts.last().map_or(0, |&last| last as usize));
    for &parent in order {
        rows.extend(starts[parent as usize]..starts[parent as usize + 1]);
    }
    rows
}

fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("rows of a chunk do not hang together").caused_by(error)
}
