//! Rows of the picture before that go on into today's: carried forward, or delisted once.
//!
//! Takes batches of the published tables and the verdict; gives chunks like those of fetched records.
//!
//! Invariant: a carried row changes in nothing but `dt` and `run_id`.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, RecordBatch, StringArray, new_null_array};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

use crate::base::{Error, Result};

use super::chunk::{Chunk, Key, Origin, Rows};
use super::contract::Table;

/// Tells the offers of the picture before that matter from the others, while its files are read batch by batch.
#[derive(Debug)]
pub struct Carrier<'v> {
    carried: &'v HashSet<i64>,
    delisted: &'v HashSet<i64>,
    offers: Vec<RecordBatch>,
    gone: Vec<RecordBatch>,
    tiers: Vec<RecordBatch>,
    skus: Vec<RecordBatch>,
}

impl<'v> Carrier<'v> {
    /// For these offers.
    #[must_use]
    pub fn new(carried: &'v HashSet<i64>, delisted: &'v HashSet<i64>) -> Self {
        Self { carried, delisted, offers: Vec::new(), gone: Vec::new(), tiers: Vec::new(), skus: Vec::new() }
    }

    /// Whether nothing needs to be read.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.carried.is_empty() && self.delisted.is_empty()
    }

    /// Takes the next batch of one of the three tables, in file order, in the columns of its file.
    ///
    /// # Errors
    /// [`crate::base::Kind::Data`] when a column of the contract is missing.
    pub fn take(&mut self, table: Table, batch: &RecordBatch) -> Result<()> {
        match table {
            Table::Offers => {
                keep(batch, table, self.carried, &mut self.offers)?;
                keep(batch, table, self.delisted, &mut self.gone)
            }
            Table::PriceTiers => keep(batch, table, self.carried, &mut self.tiers),
            Table::Skus => keep(batch, table, self.carried, &mut self.skus),
            other => Err(Error::internal(format!("table `{other}` is not carried forward"))),
        }
    }

    /// The chunks of what was taken.
    ///
    /// # Errors
    /// [`crate::base::Kind::Data`] when the published tables do not hang together.
    pub fn finish(self) -> Result<Vec<Chunk>> {
        let mut chunks = Vec::new();
        let all = |batches: &[RecordBatch], table: Table| {
            let schema = table.file_schema()?;
            concat_batches(&without_run(&schema), batches).map_err(broken)
        };
        let tiers = all(&self.tiers, Table::PriceTiers)?;
        let skus = all(&self.skus, Table::Skus)?;
        let carried = all(&self.offers, Table::Offers)?;
        let gone = delist(&all(&self.gone, Table::Offers)?)?;
        for (offers, tiers, skus, origin) in [
            (carried, tiers.clone(), skus.clone(), Origin::Carried),
            (gone, tiers.slice(0, 0), skus.slice(0, 0), Origin::Delisted),
        ] {
            if offers.num_rows() > 0 {
                let keys = keys(&offers, origin)?;
                chunks.push(Chunk::new(&Rows { offers, tiers, skus }, keys)?);
            }
        }
        Ok(chunks)
    }
}

/// A table's file schema without the run id, which every publication writes anew.
pub(super) fn without_run(schema: &arrow::datatypes::Schema) -> arrow::datatypes::SchemaRef {
    let fields: arrow::datatypes::Fields =
        schema.fields().iter().filter(|field| field.name() != "run_id").cloned().collect();
    Arc::new(arrow::datatypes::Schema::new(fields))
}

fn keep(batch: &RecordBatch, table: Table, ids: &HashSet<i64>, kept: &mut Vec<RecordBatch>) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let offer_ids = column(batch, "offer_id")?.as_primitive::<Int64Type>();
    let mask: BooleanArray = offer_ids.values().iter().map(|id| Some(ids.contains(id))).collect();
    if mask.true_count() > 0 {
        kept.push(conform(&filter_record_batch(batch, &mask).map_err(broken)?, table)?);
    }
    Ok(())
}

/// A published batch in the columns of today's contract, without the run id: a column that it was written before is null.
///
/// # Errors
/// [`crate::base::Kind::Data`] when a column is missing that may not be null.
pub fn conform(batch: &RecordBatch, table: Table) -> Result<RecordBatch> {
    let schema = without_run(&*table.file_schema()?);
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => Ok(Arc::clone(column)),
        None if field.is_nullable() => Ok(new_null_array(field.data_type(), batch.num_rows())),
        None => Err(Error::data(format!("a published file has no column `{}`", field.name()))),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(&schema), columns).map_err(broken)
}

/// The rows as they stand on the first day after they were listed last: `status = delisted`, no tiers, no SKUs.
fn delist(offers: &RecordBatch) -> Result<RecordBatch> {
    let rows = offers.num_rows();
    let schema = offers.schema();
    let columns = schema.fields().iter().zip(offers.columns()).map(|(field, column)| -> ArrayRef {
        let text = |value: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows)));
        match field.name().as_str() {
            "status" => text("delisted"),
            "ladder_status" => text("missing"),
            "price_source" => text("none"),
            "tier_count" | "sku_count" => Arc::new(Int32Array::from_iter_values(std::iter::repeat_n(0, rows))),
            "min_piece_price" | "max_piece_price" => new_null_array(field.data_type(), rows),
            _ => Arc::clone(column),
        }
    });
    let columns = columns.collect();
    RecordBatch::try_new(Arc::clone(&schema), columns).map_err(broken)
}

fn keys(offers: &RecordBatch, origin: Origin) -> Result<Vec<Key>> {
    let shops = column(offers, "shop_id")?.as_string::<i32>();
    let ids = column(offers, "offer_id")?.as_primitive::<Int64Type>();
    let hashes = column(offers, "content_hash")?.as_primitive::<Int64Type>();
    let modified = column(offers, "modified_at")?.as_primitive::<TimestampMicrosecondType>();
    let fetched = column(offers, "fetched_at")?.as_primitive::<TimestampMicrosecondType>();
    let mut shop: Option<Arc<str>> = None;
    let keys = (0..offers.num_rows()).map(|row| {
        let name = shops.is_valid(row).then(|| shops.value(row));
        if shop.as_deref() != name {
            shop = name.map(Arc::from);
        }
        Key {
            shop_id: shop.clone(),
            offer_id: ids.value(row),
            modified_at: if modified.is_valid(row) { modified.value(row) } else { i64::MIN },
            fetched_at: fetched.value(row),
            number: 0,
            position: u32::try_from(row).unwrap_or(u32::MAX),
            content_hash: hashes.value(row),
            origin,
            is_detail: false,
            sku_complete: true,
            price_complete: true,
            moq_stated: true,
        }
    });
    Ok(keys.collect())
}

fn column<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| Error::data(format!("a published file has no column `{name}`")))
}

fn broken(error: arrow::error::ArrowError) -> Error {
    Error::data("the picture before cannot be carried forward").caused_by(error)
}
