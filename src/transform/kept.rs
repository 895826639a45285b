//! SKUs of the picture before that go on with an offer fetched today, because nobody asked for them again.
//!
//! Takes the published SKUs and the tiers made of their prices; gives them back offer by offer.
//!
//! Memory: every 256th offer's id; the rows, and where they lie, are in temporary files.
//!
//! Invariant: a row comes back as it was published.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;

use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::datatypes::{ArrowPrimitiveType, Decimal128Type, Int64Type, TimestampMicrosecondType};

use crate::base::{Budget, Error, Money, Result};

use super::contract::Table;
use super::ladder::Step;
use super::offer::{QuantityStatus, Sku};
use super::quantity::StatedUnit;
use super::sort::{self, Record, Sorted, Sorter};

/// The columns that are read of `skus`.
pub const SKU_COLUMNS: &[&str] = &[
    "offer_id",
    "sku_id",
    "spec",
    "price",
    "promotion_price",
    "stock_raw",
    "stock_pieces",
    "stock_status",
    "cargo_number",
    "fetched_at",
];
/// The columns that are read of `price_tiers`.
pub const TIER_COLUMNS: &[&str] = &["offer_id", "sku_id", "min_quantity", "max_quantity", "unit_price"];

/// One SKU of the picture before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSku {
    /// Its row.
    pub sku: Sku<'static>,
    /// When its bytes arrived, µs.
    pub fetched_at: i64,
    /// Its own tiers, in sale units; empty where the offer's ladder held for it.
    pub steps: Vec<Step>,
}

/// Where an offer's rows lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    offer_id: i64,
    at: u64,
    bytes: u32,
}

impl Record for Place {
    const BYTES: usize = 20;

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.offer_id.to_le_bytes());
        bytes.extend(self.at.to_le_bytes());
        bytes.extend(self.bytes.to_le_bytes());
    }

    fn take(fields: &mut sort::Fields<'_>) -> Self {
        Self { offer_id: fields.i64(), at: fields.u64(), bytes: fields.u32() }
    }
}

/// Places in a file, sorted by offer: one block of them is read for each question.
#[derive(Debug)]
struct Index {
    file: File,
    places: u64,
    /// The first offer of each block.
    blocks: Vec<i64>,
}

/// Places in one block.
const BLOCK_PLACES: usize = 256;

impl Index {
    fn write(places: &Sorted<Place>) -> Result<Self> {
        let mut file = BufWriter::new(tempfile::tempfile().map_err(file_error)?);
        let (mut blocks, mut bytes) = (Vec::new(), Vec::new());
        for (at, place) in places.iter()?.enumerate() {
            let place = place?;
            if at % BLOCK_PLACES == 0 {
                blocks.push(place.offer_id);
            }
            bytes.clear();
            place.put(&mut bytes);
            file.write_all(&bytes).map_err(file_error)?;
        }
        let file = file.into_inner().map_err(|error| file_error(error.into_error()))?;
        Ok(Self { file, places: places.len(), blocks })
    }

    fn find(&self, offer_id: i64) -> Result<Option<Place>> {
        let Some(block) = self.blocks.partition_point(|first| *first <= offer_id).checked_sub(1) else {
            return Ok(None);
        };
        let first = (block * BLOCK_PLACES) as u64;
        let places = usize::try_from(self.places - first).unwrap_or(BLOCK_PLACES).min(BLOCK_PLACES);
        let mut bytes = vec![0; places * Place::BYTES];
        self.file.read_exact_at(&mut bytes, first * Place::BYTES as u64).map_err(file_error)?;
        let mut places = bytes.chunks_exact(Place::BYTES).map(|bytes| Place::take(&mut sort::Fields(bytes)));
        Ok(places.find(|place| place.offer_id == offer_id))
    }
}

/// Takes the rows in, in the order of their files.
#[derive(Debug)]
pub struct Builder {
    file: BufWriter<File>,
    at: u64,
    /// The offer whose rows are being written, and where they start.
    open: Option<(i64, u64)>,
    skus: Sorter<Place>,
    tiers: Sorter<Place>,
}

/// The SKUs by offer.
#[derive(Debug)]
pub struct KeptSkus {
    file: File,
    skus: Index,
    tiers: Index,
}

impl Builder {
    /// Empty.
    ///
    /// # Errors
    /// [`crate::base::Kind::Storage`] when there is no temporary file.
    pub fn new(budget: &Budget) -> Result<Self> {
        let file = BufWriter::new(tempfile::tempfile().map_err(file_error)?);
        Ok(Self { file, at: 0, open: None, skus: Sorter::new(budget), tiers: Sorter::new(budget) })
    }

    /// Takes the next batch of `skus` (with [`SKU_COLUMNS`]), or of `price_tiers` (with [`TIER_COLUMNS`]) after all of
    /// them, in which an offer's rows stand together.
    ///
    /// # Errors
    /// [`crate::base::Kind::Data`] when a column is missing, [`crate::base::Kind::Storage`] when the file cannot be
    /// written.
    pub fn take(&mut self, table: Table, batch: &RecordBatch) -> Result<()> {
        let mut bytes = Vec::new();
        let offers = numbers::<Int64Type>(batch, "offer_id")?;
        let skus = numbers::<Int64Type>(batch, "sku_id")?;
        let write = match table {
            Table::Skus => sku_rows(batch)?,
            Table::PriceTiers => tier_rows(batch)?,
            other => return Err(Error::internal(format!("table `{other}` holds no SKUs"))),
        };
        for row in (0..batch.num_rows()).filter(|&row| skus.is_valid(row)) {
            let offer_id = offers.value(row);
            if self.open.is_none_or(|(open, _)| open != offer_id) {
                self.close(table)?;
                self.open = Some((offer_id, self.at));
            }
            bytes.clear();
            write(row, &mut bytes);
            self.file.write_all(&bytes).map_err(file_error)?;
            self.at += bytes.len() as u64;
        }
        Ok(())
    }

    /// Ends a table.
    ///
    /// # Errors
    /// [`crate::base::Kind::Storage`] when a temporary file cannot be written.
    pub fn close(&mut self, table: Table) -> Result<()> {
        let Some((offer_id, at)) = self.open.take() else { return Ok(()) };
        let places = if table == Table::Skus { &mut self.skus } else { &mut self.tiers };
        places.push(Place { offer_id, at, bytes: u32::try_from(self.at - at).unwrap_or(u32::MAX) })
    }

    /// What was taken.
    ///
    /// # Errors
    /// [`crate::base::Kind::Storage`] when the file cannot be written.
    pub fn finish(self) -> Result<KeptSkus> {
        let file = self.file.into_inner().map_err(|error| file_error(error.into_error()))?;
        let (skus, tiers) = (self.skus.finish()?, self.tiers.finish()?);
        Ok(KeptSkus { file, skus: Index::write(&skus)?, tiers: Index::write(&tiers)? })
    }
}

impl KeptSkus {
    /// The SKUs of an offer, in the order of their rows.
    ///
    /// # Errors
    /// [`crate::base::Kind::Storage`] when the file cannot be read.
    pub fn of(&self, offer_id: i64) -> Result<Vec<KeptSku>> {
        let Some(skus) = self.read(self.skus.find(offer_id)?)? else { return Ok(Vec::new()) };
        let mut rows = Fields(&skus);
        let mut kept = Vec::new();
        while !rows.0.is_empty() {
            kept.push(rows.sku().ok_or_else(cut)?);
        }
        if let Some(tiers) = self.read(self.tiers.find(offer_id)?)? {
            let mut rows = Fields(&tiers);
            while !rows.0.is_empty() {
                let (sku_id, step) = rows.step().ok_or_else(cut)?;
                kept.iter_mut().filter(|kept| kept.sku.sku_id == sku_id).for_each(|kept| kept.steps.push(step));
            }
        }
        Ok(kept)
    }

    fn read(&self, place: Option<Place>) -> Result<Option<Vec<u8>>> {
        let Some(place) = place else { return Ok(None) };
        let mut bytes = vec![0; place.bytes as usize];
        self.file.read_exact_at(&mut bytes, place.at).map_err(file_error)?;
        Ok(Some(bytes))
    }
}

/// Writes row after row of a batch.
type WriteRow<'b> = Box<dyn Fn(usize, &mut Vec<u8>) + 'b>;

fn sku_rows(batch: &RecordBatch) -> Result<WriteRow<'_>> {
    let ids = numbers::<Int64Type>(batch, "sku_id")?;
    let prices = [numbers::<Decimal128Type>(batch, "price")?, numbers::<Decimal128Type>(batch, "promotion_price")?];
    let pieces = numbers::<Int64Type>(batch, "stock_pieces")?;
    let fetched = numbers::<TimestampMicrosecondType>(batch, "fetched_at")?;
    let texts = ["spec", "stock_raw", "stock_status", "cargo_number"].map(|name| texts(batch, name));
    let [specs, stocks, statuses, cargo] = texts;
    let texts = [specs?, stocks?, statuses?, cargo?];
    Ok(Box::new(move |row, bytes| {
        put(bytes, Some(ids.value(row)));
        put(bytes, Some(fetched.value(row)));
        put(bytes, pieces.is_valid(row).then(|| pieces.value(row)));
        prices.iter().for_each(|column| put(bytes, money(column, row)));
        for column in texts {
            let text = column.is_valid(row).then(|| column.value(row));
            put(bytes, text.and_then(|text| i64::try_from(text.len()).ok()));
            bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
        }
    }))
}

fn tier_rows(batch: &RecordBatch) -> Result<WriteRow<'_>> {
    let ids = numbers::<Int64Type>(batch, "sku_id")?;
    let (starts, ends) = (numbers::<Int64Type>(batch, "min_quantity")?, numbers::<Int64Type>(batch, "max_quantity")?);
    let prices = numbers::<Decimal128Type>(batch, "unit_price")?;
    Ok(Box::new(move |row, bytes| {
        put(bytes, Some(ids.value(row)));
        put(bytes, Some(starts.value(row)));
        put(bytes, ends.is_valid(row).then(|| ends.value(row)));
        put(bytes, money(prices, row));
    }))
}

/// A price in its unscaled units; one that does not fit was never published.
fn money(column: &PrimitiveArray<Decimal128Type>, row: usize) -> Option<i64> {
    column.is_valid(row).then(|| column.value(row)).and_then(|units| i64::try_from(units).ok())
}

fn put(bytes: &mut Vec<u8>, value: Option<i64>) {
    bytes.push(u8::from(value.is_some()));
    bytes.extend(value.map(i64::to_le_bytes).into_iter().flatten());
}

/// What is left of an offer's rows. Outer `None`: they are cut.
struct Fields<'b>(&'b [u8]);

impl Fields<'_> {
    fn number(&mut self) -> Option<Option<i64>> {
        let (has, rest) = self.0.split_first()?;
        self.0 = rest;
        if *has == 0 {
            return Some(None);
        }
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(Some(i64::from_le_bytes(*value)))
    }

    fn text(&mut self) -> Option<Option<String>> {
        let Some(length) = self.number()? else { return Some(None) };
        let (text, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok().map(Some)
    }

    fn sku(&mut self) -> Option<KeptSku> {
        let (sku_id, fetched_at) = (self.number()??, self.number()??);
        let stock_pieces = self.number()?;
        let (price, promotion_price) = (self.number()?.map(Money::from_units), self.number()?.map(Money::from_units));
        let (spec, stock_raw) = (self.text()?.map(Into::into), self.text()?.map(Into::into));
        let status = self.text()??;
        let stock_status = *QuantityStatus::ALL.iter().find(|known| known.name() == status)?;
        let cargo_number = self.text()?.map(Into::into);
        let sku = Sku { sku_id, spec, price, promotion_price, stock_raw, stock_pieces, stock_status, cargo_number };
        Some(KeptSku { sku, fetched_at, steps: Vec::new() })
    }

    fn step(&mut self) -> Option<(i64, Step)> {
        let sku_id = self.number()??;
        let (start, end) = (self.number()?, self.number()?);
        let price = Money::from_units(self.number()??);
        Some((sku_id, Step { start, end, unit: StatedUnit::None, price }))
    }
}

fn numbers<'b, T: ArrowPrimitiveType>(batch: &'b RecordBatch, name: &str) -> Result<&'b PrimitiveArray<T>> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<T>());
    column.ok_or_else(|| Error::data(format!("a published file has no column `{name}`")))
}

fn texts<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b StringArray> {
    let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    column.ok_or_else(|| Error::data(format!("a published file has no column `{name}`")))
}

fn cut() -> Error {
    Error::internal("a temporary file does not hold what was written")
}

fn file_error(error: std::io::Error) -> Error {
    Error::storage("cannot write or read a temporary file for SKUs")
        .caused_by(error)
        .with_hint("point TMPDIR at a disk with room")
}

#[cfg(test)]
mod tests {
    use super::super::carry::conform;
    use super::super::columns::{Builder as Rows, Origin};
    use super::super::hash::Hashes;
    use super::super::offer::{Offer, PriceSource, Tier};
    use super::*;

    fn sku(sku_id: i64, spec: Option<&'static str>) -> Sku<'static> {
        Sku {
            sku_id,
            spec: spec.map(Into::into),
            price: spec.map(|_| Money::from_units(125_000)),
            promotion_price: None,
            stock_raw: Some("2箱".into()),
            stock_pieces: (sku_id > 1).then_some(48),
            stock_status: QuantityStatus::Ok,
            cargo_number: Some("A-1".into()),
        }
    }

    fn tier(sku_id: Option<i64>, min_quantity: i64) -> Tier {
        Tier {
            sku_id,
            tier_no: 1,
            min_quantity,
            max_quantity: Some(9),
            min_pieces: None,
            max_pieces: None,
            unit_price: Money::from_units(7),
            piece_price: None,
            price_source: PriceSource::Sku,
        }
    }

    #[test]
    fn a_place_is_found_in_whichever_block_it_lies() {
        let mut sorter = Sorter::new(&Budget::new(0));
        let offers = BLOCK_PLACES as i64 * 2 + 1;
        (0..offers).rev().for_each(|id| sorter.push(Place { offer_id: id * 2, at: 7, bytes: 1 }).unwrap());
        let index = Index::write(&sorter.finish().unwrap()).unwrap();
        for id in -1..offers * 2 + 1 {
            let is_there = id % 2 == 0 && id < offers * 2;
            assert_eq!(index.find(id).unwrap().map(|place| place.offer_id), is_there.then_some(id));
        }
        let nothing = Index::write(&Sorted::default()).unwrap();
        assert_eq!(nothing.find(1).unwrap(), None);
    }

    #[test]
    fn rows_come_back_offer_by_offer_as_they_were_published() {
        let mut rows = Rows::default();
        let offers = [
            (10, vec![sku(1, Some("颜色:红")), sku(2, None)], vec![tier(None, 1), tier(Some(2), 3), tier(Some(2), 5)]),
            (11, Vec::new(), vec![tier(None, 1)]),
            (12, vec![sku(3, None)], vec![tier(Some(3), 2)]),
        ];
        for (offer_id, skus, tiers) in offers.clone() {
            let offer = Offer { offer_id, skus, tiers, ..Offer::default() };
            let hashes = Hashes { content: 0, volatile: 0 };
            let skus_fetched_at = &[(3, 77)];
            let (gateway, raw_ref) = ("test", "r/1");
            rows.append(
                &offer,
                &Origin {
                    gateway,
                    fetched_at: 5,
                    skus_fetched_at,
                    observed_dt: 0,
                    raw_ref,
                    detail_fetched_at: None,
                    hashes,
                },
            );
        }
        let rows = rows.finish().unwrap();
        let mut builder = Builder::new(&Budget::new(0)).unwrap();
        // An offer's rows may lie in two batches.
        for (table, batch) in [(Table::Skus, &rows.skus), (Table::PriceTiers, &rows.tiers)] {
            let batch = conform(batch, table).unwrap();
            for row in 0..batch.num_rows() {
                builder.take(table, &batch.slice(row, 1)).unwrap();
            }
            builder.close(table).unwrap();
        }
        let kept = builder.finish().unwrap();
        for (offer_id, skus, tiers) in offers {
            let found = kept.of(offer_id).unwrap();
            assert_eq!(found.iter().map(|kept| kept.sku.clone()).collect::<Vec<_>>(), skus);
            for kept in found {
                assert_eq!(kept.fetched_at, if offer_id == 12 { 77 } else { 5 });
                let own = tiers.iter().filter(|tier| tier.sku_id == Some(kept.sku.sku_id));
                let own: Vec<_> =
                    own.map(|tier| (Some(tier.min_quantity), tier.max_quantity, tier.unit_price)).collect();
                let steps: Vec<_> = kept.steps.iter().map(|step| (step.start, step.end, step.price)).collect();
                assert_eq!(steps, own, "{offer_id}");
            }
        }
        assert_eq!(kept.of(99).unwrap(), []);
    }
}
