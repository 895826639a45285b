//! What of the picture before goes on into today's.
//!
//! Takes the publish-log entry before; gives what completeness is judged against, and the rows that are carried on.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use chrono::DateTime;

use crate::base::{Error, Result};
use crate::load::log::Entry;
use crate::load::read::read;
use crate::store::Store;
use crate::transform::carry::Carrier;
use crate::transform::contract::Table;
use crate::transform::shops::{Previous, PreviousOffer};

/// Reads what completeness is judged against: the picture of the day before, and that of the same day where one is
/// replaced.
pub(super) fn load(store: &Store, entry: Option<&Entry>, replaced: Option<&Entry>) -> Result<Previous> {
    let mut previous = Previous::default();
    if let Some(entry) = entry {
        previous.dt = Some(entry.dt);
        read_offers(store, entry, &mut previous.offers)?;
        read_shops(store, entry, &mut previous)?;
    }
    if let Some(replaced) = replaced {
        let mut offers = HashMap::new();
        read_offers(store, replaced, &mut offers)?;
        previous.replaced = Some(offers);
        // What the same day knew is newer.
        read_shops(store, replaced, &mut previous)?;
    }
    Ok(previous)
}

fn read_shops(store: &Store, entry: &Entry, previous: &mut Previous) -> Result<()> {
    read(store, entry, Table::Shops, Some(&["shop_id", "shop_url", "watermark_at"]), |batch| {
        let (shops, urls) = (text(&batch, "shop_id")?, text(&batch, "shop_url")?);
        // A shop that could not be resolved stands under its address: that is no id to remember.
        for row in (0..batch.num_rows()).filter(|&row| urls.is_valid(row) && urls.value(row) != shops.value(row)) {
            previous.ids_by_url.insert(urls.value(row).to_owned(), shops.value(row).to_owned());
        }
        let times = column(&batch, "watermark_at")?.as_primitive::<TimestampMicrosecondType>();
        for row in (0..batch.num_rows()).filter(|&row| times.is_valid(row)) {
            if let Some(time) = DateTime::from_timestamp_micros(times.value(row)) {
                previous.watermarks.insert(shops.value(row).to_owned(), time);
            }
        }
        Ok(())
    })
}

/// Reads the rows that go on.
pub(super) fn carry(store: &Store, entry: Option<&Entry>, carrier: &mut Carrier<'_>) -> Result<()> {
    let Some(entry) = entry else { return Ok(()) };
    if carrier.is_idle() {
        return Ok(());
    }
    for table in [Table::Offers, Table::PriceTiers, Table::Skus] {
        read(store, entry, table, None, |batch| carrier.take(table, &batch))?;
    }
    Ok(())
}

fn read_offers(store: &Store, entry: &Entry, offers: &mut HashMap<i64, PreviousOffer>) -> Result<()> {
    read(store, entry, Table::Offers, Some(&["shop_id", "offer_id", "status", "content_hash"]), |batch| {
        add_offers(&batch, offers)
    })
}

fn add_offers(batch: &RecordBatch, offers: &mut HashMap<i64, PreviousOffer>) -> Result<()> {
    let (shops, statuses) = (text(batch, "shop_id")?, text(batch, "status")?);
    let ids = column(batch, "offer_id")?.as_primitive::<Int64Type>();
    let hashes = column(batch, "content_hash")?.as_primitive::<Int64Type>();
    let mut shop: Option<Arc<str>> = None;
    for row in 0..batch.num_rows() {
        let name = shops.is_valid(row).then(|| shops.value(row));
        if shop.as_deref() != name {
            shop = name.map(Arc::from);
        }
        let delisted = statuses.value(row) == "delisted";
        let offer = PreviousOffer { shop_id: shop.clone(), content_hash: hashes.value(row), delisted };
        offers.insert(ids.value(row), offer);
    }
    Ok(())
}

fn column<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b dyn Array> {
    let column = batch.column_by_name(name);
    column.map(AsRef::as_ref).ok_or_else(|| Error::data(format!("a published file has no column `{name}`")))
}

fn text<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b arrow::array::StringArray> {
    Ok(column(batch, name)?.as_string::<i32>())
}
