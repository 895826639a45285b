//! The picture of a day: sorted sources merged into the three tables, each offer once.
//!
//! Takes the chunks of today's records and, offer by offer, which row stands in the picture; gives batches of offers
//! with their tiers and SKUs, sorted by shop and offer across all sources.
//!
//! Memory: one piece of each source that is being read, and one output batch.
//!
//! Invariant: what was chosen stands in the picture, each offer at most once.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{interleave_record_batch, is_null};

use crate::base::memory::Budget;
use crate::base::{Error, Result};

use super::carry::delist;
use super::chunk::{Chunk, Pieces, Rows, Spill};
use super::join::{Candidate, Earlier};
use super::names::Places;
use super::sort::{Fields, Record, Sorted, Sorter};

/// Offers in one output batch.
const BATCH_OFFERS: usize = 4096;
/// An output batch ends once the pieces that it is made of take this much.
const BATCH_BYTES: usize = 16 << 20;
/// Chunks that are merged at a time: each takes three open files and a piece.
const CHUNKS_MAX: usize = 128;
/// The source that stands for the picture whose rows go on.
const KEPT: u32 = u32::MAX - 1;
/// The source that stands for the picture of the day before, where another one goes on.
const BEFORE: u32 = u32::MAX;
/// Nothing goes on with a row.
const NO_ROW: u64 = u64::MAX;
/// What a detail says of an offer beside what is bought and sold: it stays true when a price changes. `sales_count` takes
/// whether it is a lower bound with it.
const OF_DETAIL: [&str; 14] = [
    "brand",
    "category_id",
    "ship_from",
    "detail_url",
    "image_url",
    "image_urls",
    "video_url",
    "sales_count",
    "like_count",
    "comment_count",
    "favorite_count",
    "repurchase_rate",
    "created_at",
    "detail_fetched_at",
];

/// A row of the picture, and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chosen {
    /// The place of its shop.
    shop: u32,
    offer_id: i64,
    source: u32,
    row: u64,
    /// It stands without tiers and SKUs.
    is_delisted: bool,
    /// The row of [`KEPT`] whose detail goes on with it; [`NO_ROW`].
    detail: u64,
}

impl Ord for Chosen {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.shop, self.offer_id).cmp(&(other.shop, other.offer_id))
    }
}

impl PartialOrd for Chosen {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Record for Chosen {
    const BYTES: usize = 33;

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.offer_id.to_le_bytes());
        bytes.extend(self.row.to_le_bytes());
        bytes.extend(self.detail.to_le_bytes());
        bytes.extend(self.shop.to_le_bytes());
        bytes.extend(self.source.to_le_bytes());
        bytes.push(self.is_delisted.into());
    }

    fn take(fields: &mut Fields<'_>) -> Self {
        let (offer_id, row, detail) = (fields.i64(), fields.u64(), fields.u64());
        let (shop, source, is_delisted) = (fields.u32(), fields.u32(), fields.byte() == 1);
        Self { shop, offer_id, source, row, is_delisted, detail }
    }
}

/// Which picture before a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The one whose rows go on where today shows nothing newer.
    Kept,
    /// That of the day before, where another one's rows go on.
    Before,
}

/// Takes in which rows stand in a picture, in any order.
#[derive(Debug)]
pub struct Builder {
    chunks: Vec<Chunk>,
    places: Places,
    budget: Budget,
    order: Sorter<Chosen>,
    carries: bool,
}

impl Builder {
    /// Of the chunks of today's records, and of shops whose `places` are known.
    #[must_use]
    pub fn new(chunks: Vec<Chunk>, places: Places, budget: &Budget) -> Self {
        Self { chunks, places, budget: budget.clone(), order: Sorter::new(budget), carries: false }
    }

    /// A record of today stands in the picture; what only the `detail` of a row of the picture that goes on says of it, goes
    /// on.
    ///
    /// # Errors
    /// As [`Sorter::push`].
    pub fn fetched(&mut self, record: &Candidate, detail: Option<&Earlier>) -> Result<()> {
        let (shop, row, source) = (self.places.of(record.shop), u64::from(record.row), record.chunk);
        let detail = detail.map_or(NO_ROW, |detail| detail.row);
        self.order.push(Chosen { shop, offer_id: record.offer_id, source, row, is_delisted: false, detail })
    }

    /// A row of the picture that goes on stands in this one, too.
    ///
    /// # Errors
    /// As [`Sorter::push`].
    pub fn carried(&mut self, row: &Earlier) -> Result<()> {
        self.carries = true;
        self.earlier(KEPT, row, false)
    }

    /// A row of a picture before stands in this one as that of an offer that is no longer listed.
    ///
    /// # Errors
    /// As [`Sorter::push`].
    pub fn delisted(&mut self, origin: Origin, row: &Earlier) -> Result<()> {
        self.earlier(if origin == Origin::Kept { KEPT } else { BEFORE }, row, true)
    }

    fn earlier(&mut self, source: u32, row: &Earlier, is_delisted: bool) -> Result<()> {
        let shop = self.places.of(row.shop);
        self.order.push(Chosen { shop, offer_id: row.offer_id, source, row: row.row, is_delisted, detail: NO_ROW })
    }

    /// The picture.
    ///
    /// # Errors
    /// [`crate::base::Kind::Storage`] when the temporary folder cannot take what must be merged first.
    pub fn finish(self) -> Result<Picture> {
        self.finish_by(CHUNKS_MAX)
    }

    /// At most `chunks_max` chunks, at least two, are merged at a time.
    fn finish_by(self, chunks_max: usize) -> Result<Picture> {
        let chunks_max = chunks_max.max(2);
        let mut picture = Picture { chunks: self.chunks, order: self.order.finish()?, carries: self.carries };
        while picture.chunks.len() > chunks_max {
            picture.fold(chunks_max, &self.budget)?;
        }
        Ok(picture)
    }
}

/// Which rows make up the picture, in table order.
#[derive(Debug)]
pub struct Picture {
    chunks: Vec<Chunk>,
    order: Sorted<Chosen>,
    carries: bool,
}

impl Picture {
    /// How many offers it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.order.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether rows go on with their tiers and SKUs.
    #[must_use]
    pub fn carries(&self) -> bool {
        self.carries
    }

    /// Hands the rows to `write`, batch by batch, in table order. `kept` and `before` give the rows of the pictures
    /// before.
    ///
    /// # Errors
    /// What `write` and the sources return, or [`crate::base::Kind::Storage`] when a temporary file cannot be read.
    pub fn write(&self, kept: Pieces<'_>, before: Pieces<'_>, write: impl FnMut(Rows) -> Result<()>) -> Result<()> {
        let mut readers: HashMap<u32, Reader<'_>> = HashMap::new();
        for (source, chunk) in (0..).zip(&self.chunks) {
            readers.insert(source, Reader::new(chunk.pieces(), chunk.is_spilled()));
        }
        readers.insert(KEPT, Reader::new(kept, true));
        readers.insert(BEFORE, Reader::new(before, true));
        merge(&mut readers, self.order.iter()?, write)
    }

    /// Merges chunks into fewer and larger ones of the rows that count.
    fn fold(&mut self, chunks_max: usize, budget: &Budget) -> Result<()> {
        let mut folded = Vec::new();
        let mut chunks = std::mem::take(&mut self.chunks).into_iter();
        let mut first = 0;
        while chunks.len() > 0 {
            let group: Vec<Chunk> = chunks.by_ref().take(chunks_max).collect();
            let sources: Range<u32> = first..first + u32::try_from(group.len()).unwrap_or(u32::MAX);
            first = sources.end;
            let readers = sources.clone().zip(&group);
            let mut readers =
                readers.map(|(at, chunk)| (at, Reader::new(chunk.pieces(), chunk.is_spilled()))).collect();
            let of_group = self.order.iter()?.filter(|chosen| match chosen {
                Ok(chosen) => sources.contains(&chosen.source),
                Err(_) => true,
            });
            // Details are added once, in the end.
            let of_group = of_group.map(|chosen| chosen.map(|chosen| Chosen { detail: NO_ROW, ..chosen }));
            let mut spill = Spill::new()?;
            merge(&mut readers, of_group, |rows| spill.write(&rows))?;
            folded.push(spill.finish()?);
        }
        // Within a group, rows have kept their order.
        let mut rows = vec![0; folded.len()];
        let mut order = Sorter::new(budget);
        for chosen in self.order.iter()? {
            let mut chosen = chosen?;
            let group = chosen.source as usize / chunks_max;
            if let Some(next) = rows.get_mut(group).filter(|_| chosen.source < KEPT) {
                (chosen.source, chosen.row) = (u32::try_from(group).unwrap_or(u32::MAX), *next);
                *next += 1;
            }
            order.push(chosen)?;
        }
        (self.chunks, self.order) = (folded, order.finish()?);
        Ok(())
    }
}

/// Follows one source in row order, holding only the pieces that the current output batch needs.
struct Reader<'s> {
    source: Pieces<'s>,
    /// Its pieces take memory of their own.
    reads: bool,
    pieces: Vec<Piece>,
    /// The first row after the pieces.
    next: u64,
}

/// Some rows of a source.
struct Piece {
    first: u64,
    rows: Rows,
    tiers_at: Vec<u32>,
    skus_at: Vec<u32>,
}

impl<'s> Reader<'s> {
    fn new(source: Pieces<'s>, reads: bool) -> Self {
        Self { source, reads, pieces: Vec::new(), next: 0 }
    }

    /// Reads up to `row`, keeping what is there; gives the index of the piece that holds it, and the bytes of what was
    /// kept of what was read.
    fn load(&mut self, row: u64) -> Result<(usize, usize)> {
        let mut read = 0;
        while row >= self.next {
            let rows = self.source.next().transpose()?;
            let rows =
                rows.ok_or_else(|| Error::data("the files of a picture hold fewer rows than they held before"))?;
            let first = self.next;
            self.next += rows.offers.num_rows() as u64;
            if row < self.next {
                read += if self.reads { rows.bytes() } else { 0 };
                self.pieces.push(Piece { first, tiers_at: rows.tiers_at()?, skus_at: rows.skus_at()?, rows });
            }
        }
        Ok((self.pieces.partition_point(|piece| piece.first <= row).saturating_sub(1), read))
    }

    /// Drops all pieces but the last, which later rows may still need.
    fn forget(&mut self) {
        let done = self.pieces.len().saturating_sub(1);
        self.pieces.drain(..done);
    }
}

/// Hands the chosen rows to `write`, in their order.
fn merge(
    readers: &mut HashMap<u32, Reader<'_>>,
    chosen: impl Iterator<Item = Result<Chosen>>,
    mut write: impl FnMut(Rows) -> Result<()>,
) -> Result<()> {
    let mut output = Output::default();
    let mut bytes = 0;
    for chosen in chosen {
        let chosen = chosen?;
        let reader = readers.get_mut(&chosen.source).ok_or_else(|| Error::internal("a row of no source was chosen"))?;
        let (index, read) = reader.load(chosen.row)?;
        bytes += read;
        output.add(chosen, &reader.pieces[index], index);
        if chosen.detail != NO_ROW {
            let kept = readers.get_mut(&KEPT).ok_or_else(|| Error::internal("a detail of no picture was chosen"))?;
            let (index, read) = kept.load(chosen.detail)?;
            bytes += read;
            output.add_detail(chosen.detail, &kept.pieces[index], index);
        }
        if output.offers.len() >= BATCH_OFFERS || bytes >= BATCH_BYTES {
            write(output.finish(readers)?)?;
            // What stays is there whatever is written: it ends no batch.
            readers.values_mut().for_each(Reader::forget);
            bytes = 0;
        }
    }
    if output.offers.is_empty() { Ok(()) } else { write(output.finish(readers)?) }
}

/// One output batch: which pieces it is made of, and which of their rows.
#[derive(Default)]
struct Output {
    /// Sources, the indices of their pieces and whether their rows are delisted, in the order of first use.
    used: Vec<(u32, usize, bool)>,
    numbers: HashMap<(u32, usize, bool), usize>,
    offers: Vec<(usize, usize)>,
    /// By the offer's place: the row whose detail goes on with it.
    details: Vec<(usize, (usize, usize))>,
    tiers: Vec<(usize, usize)>,
    skus: Vec<(usize, usize)>,
}

impl Output {
    fn add(&mut self, chosen: Chosen, piece: &Piece, index: usize) {
        let number = self.number((chosen.source, index, chosen.is_delisted));
        let row = usize::try_from(chosen.row - piece.first).unwrap_or(usize::MAX);
        self.offers.push((number, row));
        if !chosen.is_delisted {
            let of = |starts: &[u32]| starts[row] as usize..starts[row + 1] as usize;
            self.tiers.extend(of(&piece.tiers_at).map(|tier| (number, tier)));
            self.skus.extend(of(&piece.skus_at).map(|sku| (number, sku)));
        }
    }

    /// The detail of a row of the picture before goes on with the offer that was added last.
    fn add_detail(&mut self, row: u64, piece: &Piece, index: usize) {
        let number = self.number((KEPT, index, false));
        let row = usize::try_from(row - piece.first).unwrap_or(usize::MAX);
        self.details.push((self.offers.len() - 1, (number, row)));
    }

    fn number(&mut self, key: (u32, usize, bool)) -> usize {
        *self.numbers.entry(key).or_insert_with(|| {
            self.used.push(key);
            self.used.len() - 1
        })
    }

    /// The batch; there is nothing in it any more.
    fn finish(&mut self, readers: &HashMap<u32, Reader<'_>>) -> Result<Rows> {
        let Self { used, offers, details, tiers, skus, .. } = std::mem::take(self);
        let pieces = used.iter().map(|(source, index, _)| &readers[source].pieces[*index].rows);
        let pieces: Vec<&Rows> = pieces.collect();
        let gone = used.iter().zip(&pieces).map(|((.., is_delisted), rows)| match is_delisted {
            true => delist(&rows.offers).map(Some),
            false => Ok(None),
        });
        let gone = gone.collect::<Result<Vec<_>>>()?;
        let all = pieces.iter().zip(&gone).map(|(rows, gone)| gone.as_ref().unwrap_or(&rows.offers));
        let all: Vec<&RecordBatch> = all.collect();
        let today = pick(all.clone(), &offers)?;
        let offers = if details.is_empty() {
            today
        } else {
            let mut with_details = offers;
            for (at, row) in details {
                with_details[at] = row;
            }
            add_details(&today, &pick(all, &with_details)?)?
        };
        Ok(Rows {
            offers,
            tiers: pick(pieces.iter().map(|rows| &rows.tiers).collect(), &tiers)?,
            skus: pick(pieces.iter().map(|rows| &rows.skus).collect(), &skus)?,
        })
    }
}

/// Fills what `today` does not say with what `before` says, which is of the same offers, where a detail speaks of it.
fn add_details(today: &RecordBatch, before: &RecordBatch) -> Result<RecordBatch> {
    let error = |error| Error::internal("cannot merge rows").caused_by(error);
    let schema = today.schema();
    let mut columns = today.columns().to_vec();
    let mut fill = |name: &str, unsaid: &BooleanArray| -> Result<()> {
        let Ok(at) = schema.index_of(name) else { return Ok(()) };
        columns[at] = zip(unsaid, before.column(at), today.column(at)).map_err(error)?;
        Ok(())
    };
    for name in OF_DETAIL {
        let Some(column) = today.column_by_name(name) else { continue };
        let unsaid = is_null(column).map_err(error)?;
        fill(name, &unsaid)?;
        if name == "sales_count" {
            fill("sales_is_lower_bound", &unsaid)?;
        }
    }
    RecordBatch::try_new(schema, columns).map_err(error)
}

fn pick(batches: Vec<&RecordBatch>, indices: &[(usize, usize)]) -> Result<RecordBatch> {
    interleave_record_batch(&batches, indices).map_err(|error| Error::internal("cannot merge rows").caused_by(error))
}

#[cfg(test)]
mod tests;
