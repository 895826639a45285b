//! The picture of a day: sorted chunks merged into the three tables, each offer once.
//!
//! Takes chunks (fetched, carried, delisted); decides which record of an offer counts; gives batches of offers
//! with their tiers and SKUs, sorted by shop and offer across all chunks.
//!
//! Memory: a key per offer, one piece per chunk, one output batch; never the rows of all chunks when they are
//! spilled.
//!
//! Invariant: an offer id stands in the picture at most once.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;

use crate::base::{Error, Result};

use super::chunk::{Chunk, Cursor, Key, Origin, Piece, Rows};

/// Offers in one output batch.
const BATCH_OFFERS: usize = 8192;

/// Where a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    chunk: u32,
    row: u32,
}

/// Which rows make up the picture, in table order.
#[derive(Debug)]
pub struct Picture<'c> {
    chunks: &'c [Chunk],
    order: Vec<Place>,
    /// Fetched records that lost against another record of the same offer.
    pub duplicates: Vec<DuplicateCount>,
    /// Fetched records that would count but were set aside, by offer.
    pub set_aside: Vec<&'c Key>,
    /// Details whose offers no other record of this run is about: they count as records themselves.
    pub unlisted_details: i64,
}

/// What becomes of the fetched record that counts for an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stands in the picture.
    Stands,
    /// It is set aside: a carried or delisted record of its offer stands in its place.
    SetAside,
    /// The carried record of its offer stands for it: it says the same, and more.
    Replaced,
}

/// Duplicates of one shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuplicateCount {
    /// The shop of the record that lost.
    pub shop_id: Option<String>,
    /// How many.
    pub records: i64,
}

impl<'c> Picture<'c> {
    /// Picks one row per offer and puts the rows in order: of fetched records an offer's own detail, then the one
    /// modified last, then fetched last (WIRE §5 "Rows"); a fetched record before a carried one before a delisted one.
    ///
    /// # Errors
    /// [`crate::base::Kind::Internal`] past 2³² rows in a chunk.
    pub fn new(chunks: &'c [Chunk]) -> Result<Self> {
        Self::with_fates(chunks, |_| Fate::Stands)
    }

    /// The same, but a fetched record has its `fate` once it has won against the others of its offer.
    ///
    /// # Errors
    /// As [`Picture::new`].
    pub fn with_fates(chunks: &'c [Chunk], fate: impl Fn(&Key) -> Fate) -> Result<Self> {
        let mut places = places(chunks)?;
        let key = |place: &Place| -> &'c Key { &chunks[place.chunk as usize].keys[place.row as usize] };
        places.sort_unstable_by(|a, b| {
            let (a, b) = (key(a), key(b));
            a.offer_id.cmp(&b.offer_id).then_with(|| rank(b).cmp(&rank(a)))
        });
        let (duplicates, unlisted_details) = contest(&mut places, key);
        let mut set_aside = Vec::new();
        places.retain(|place| {
            let key = key(place);
            let fate = if key.origin == Origin::Fetched { fate(key) } else { Fate::Stands };
            set_aside.extend((fate == Fate::SetAside).then_some(key));
            fate == Fate::Stands
        });
        places.dedup_by_key(|place| key(place).offer_id);
        places.sort_unstable_by(|a, b| {
            let (a, b) = (key(a), key(b));
            (&a.shop_id, a.offer_id).cmp(&(&b.shop_id, b.offer_id))
        });
        Ok(Self { chunks, order: places, duplicates, set_aside, unlisted_details })
    }

    /// The keys of the picture's rows, in table order.
    pub fn keys(&self) -> impl Iterator<Item = &'c Key> {
        self.order.iter().map(|place| &self.chunks[place.chunk as usize].keys[place.row as usize])
    }

    /// How many offers it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Hands the rows to `write`, batch by batch, in table order.
    ///
    /// # Errors
    /// What `write` returns, or [`crate::base::Kind::Storage`] when a temporary file cannot be read.
    pub fn write(&self, mut write: impl FnMut(Rows) -> Result<()>) -> Result<()> {
        let mut readers = self.chunks.iter().map(Reader::new).collect::<Result<Vec<_>>>()?;
        for places in self.order.chunks(BATCH_OFFERS) {
            write(gather(&mut readers, places)?)?;
        }
        Ok(())
    }
}

/// The place of every row.
fn places(chunks: &[Chunk]) -> Result<Vec<Place>> {
    let mut places = Vec::with_capacity(chunks.iter().map(|chunk| chunk.keys.len()).sum());
    for (chunk_index, chunk) in chunks.iter().enumerate() {
        let chunk_index = u32::try_from(chunk_index).map_err(|_| Error::internal("too many chunks"))?;
        for row in 0..chunk.keys.len() {
            let row = u32::try_from(row).map_err(|_| Error::internal("too many rows in a chunk"))?;
            places.push(Place { chunk: chunk_index, row });
        }
    }
    Ok(places)
}

/// Leaves one fetched record of each offer, of `places` sorted by offer, the best first. Gives the records that lost, by
/// shop, and the number of details that have no other record. A detail is no record of its own beside a listing's: with
/// it, one of these is no duplicate.
fn contest<'c>(places: &mut Vec<Place>, key: impl Fn(&Place) -> &'c Key) -> (Vec<DuplicateCount>, i64) {
    let mut lost: HashMap<Option<&str>, i64> = HashMap::new();
    let mut unlisted_details = 0;
    for offer in places.chunk_by(|a, b| key(a).offer_id == key(b).offer_id) {
        let fetched = || offer.iter().map(&key).filter(|key| key.origin == Origin::Fetched);
        if fetched().next().is_some() && fetched().all(|key| key.is_detail) {
            unlisted_details += 1;
        }
        for loser in fetched().filter(|key| !key.is_detail).skip(1) {
            *lost.entry(loser.shop_id.as_deref()).or_default() += 1;
        }
    }
    places.dedup_by(|loser, winner| {
        let (loser, winner) = (key(loser), key(winner));
        loser.offer_id == winner.offer_id && loser.origin == Origin::Fetched
    });
    let mut duplicates: Vec<_> = lost
        .into_iter()
        .map(|(shop_id, records)| DuplicateCount { shop_id: shop_id.map(str::to_owned), records })
        .collect();
    duplicates.sort_by(|a, b| a.shop_id.cmp(&b.shop_id));
    (duplicates, unlisted_details)
}

/// Greater counts.
fn rank(key: &Key) -> (u8, bool, i64, i64, i64, u32) {
    let origin = match key.origin {
        Origin::Fetched => 2,
        Origin::Carried => 1,
        Origin::Delisted => 0,
    };
    (origin, key.is_detail, key.modified_at, key.fetched_at, key.number, key.position)
}

/// Follows one chunk in row order, holding only the pieces that the current output batch needs.
#[derive(Debug)]
struct Reader<'c> {
    chunk: &'c Chunk,
    cursor: Cursor<'c>,
    pieces: Vec<Piece>,
}

impl<'c> Reader<'c> {
    fn new(chunk: &'c Chunk) -> Result<Self> {
        Ok(Self { chunk, cursor: chunk.cursor()?, pieces: Vec::new() })
    }

    /// Loads pieces up to `row` and returns the index of the one that holds it.
    fn load(&mut self, row: usize) -> Result<usize> {
        loop {
            if let Some(piece) = self.pieces.last()
                && row < piece.first + piece.rows.offers.num_rows()
            {
                break;
            }
            let piece = self.cursor.next_piece()?.ok_or_else(|| Error::internal("a chunk ends before its keys"))?;
            self.pieces.push(piece);
        }
        Ok(self.pieces.partition_point(|piece| piece.first <= row) - 1)
    }

    /// Drops all pieces but the last, which later rows may still need.
    fn forget(&mut self) {
        let done = self.pieces.len().saturating_sub(1);
        self.pieces.drain(..done);
    }
}

/// One output batch.
fn gather(readers: &mut [Reader<'_>], places: &[Place]) -> Result<Rows> {
    for reader in readers.iter_mut() {
        reader.forget();
    }
    // Pieces get their numbers in the order of first use; rows within a chunk only ever go forward.
    let mut numbers: HashMap<(u32, usize), usize> = HashMap::new();
    let mut used: Vec<(usize, usize)> = Vec::new();
    let (mut offers, mut tiers, mut skus) = (Vec::with_capacity(places.len()), Vec::new(), Vec::new());
    for place in places {
        let reader = &mut readers[place.chunk as usize];
        let row = place.row as usize;
        let index = reader.load(row)?;
        let piece = &reader.pieces[index];
        let number = *numbers.entry((place.chunk, piece.first)).or_insert_with(|| {
            used.push((place.chunk as usize, index));
            used.len() - 1
        });
        offers.push((number, row - piece.first));
        let chunk = reader.chunk;
        tiers.extend(
            (chunk.tiers_at[row]..chunk.tiers_at[row + 1]).map(|tier| (number, tier as usize - piece.first_tier)),
        );
        skus.extend((chunk.skus_at[row]..chunk.skus_at[row + 1]).map(|sku| (number, sku as usize - piece.first_sku)));
    }
    let pick = |part: fn(&Rows) -> &RecordBatch, indices: &[(usize, usize)]| {
        let batches: Vec<&RecordBatch> =
            used.iter().map(|&(chunk, piece)| part(&readers[chunk].pieces[piece].rows)).collect();
        interleave_record_batch(&batches, indices)
            .map_err(|error| Error::internal("cannot merge rows").caused_by(error))
    };
    Ok(Rows {
        offers: pick(|rows| &rows.offers, &offers)?,
        tiers: pick(|rows| &rows.tiers, &tiers)?,
        skus: pick(|rows| &rows.skus, &skus)?,
    })
}

#[cfg(test)]
mod tests;
