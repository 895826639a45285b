//! What of the picture before goes on into today's, and what it saves asking for.
//!
//! Takes the publish-log entry before; gives what completeness is judged against, the rows that are carried on, and
//! what the extraction need not ask again. Blocks: to be called off the reactor, within the runtime.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, AsArray, BooleanArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Int8Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use chrono::{DateTime, Utc};

use crate::base::{Budget, Error, Result};
use crate::extract::RunFacts;
use crate::load::log::Entry;
use crate::load::read::{Batches, read};
use crate::plan::known::{Gathering, Known, KnownOffers, KnownShop};
use crate::store::Store;
use crate::transform::carry::Published;
use crate::transform::chunk::Pieces;
use crate::transform::contract::Table;
use crate::transform::join::Earlier;
use crate::transform::kept::{self, KeptSkus};
use crate::transform::names::ShopNames;
use crate::transform::renew::Details;
use crate::transform::rows::ShopRow;
use crate::transform::shops::Previous;
use crate::transform::sort::{Sorted, Sorter};

/// The columns of `offers` that completeness is always judged against.
const OFFER_COLUMNS: &[&str] = &["shop_id", "offer_id", "status", "content_hash"];
/// … and those that matter where offers go on that were not asked for.
const ALL_OFFER_COLUMNS: &[&str] = &[
    "shop_id",
    "offer_id",
    "status",
    "content_hash",
    "modified_at",
    "detail_fetched_at",
    "quote_type",
    "channel_price",
    "price_source",
    "ladder_status",
    "sku_count",
    "sku_named_count",
];

/// Offers of a picture before in one piece, while its rows go on.
const PIECE_OFFERS: usize = 2048;

/// How much of the offers before matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Which there are, and whether they changed.
    Content,
    /// Also how complete they are and when they were modified: some may go on.
    Rows,
}

/// Where the pictures before are read from, and what reading them may take.
pub(super) struct Source<'s> {
    pub(super) store: &'s Store,
    /// The shops are named as today's records name them.
    pub(super) names: &'s ShopNames,
    pub(super) budget: &'s Budget,
    pub(super) depth: Depth,
}

/// Reads what completeness is judged against: the picture of the day before, and that of the same day where one is
/// replaced. `is_expired`: the day before is no longer kept, and what went on from it is in the replaced one.
pub(super) fn load(
    source: &Source<'_>,
    entry: Option<&Entry>,
    replaced: Option<&Entry>,
    is_expired: bool,
) -> Result<Previous> {
    let store = source.store;
    let mut previous = Previous { is_expired, ..Previous::default() };
    if let Some(entry) = entry {
        previous.offers = offers(source, entry, false)?;
        read_shops(store, entry, &mut previous)?;
    }
    if let Some(replaced) = replaced {
        previous.replaced = Some(offers(source, replaced, is_expired)?);
        // What the same day knew is newer.
        read_shops(store, replaced, &mut previous)?;
        read(store, replaced, Table::Shops, None, |batch| {
            for row in 0..batch.num_rows() {
                let shop = shop_row(&batch, row)?;
                previous.replaced_shops.insert(shop.shop_id.clone(), shop);
            }
            Ok(())
        })?;
    }
    Ok(previous)
}

fn read_shops(store: &Store, entry: &Entry, previous: &mut Previous) -> Result<()> {
    read(store, entry, Table::Shops, Some(&["shop_id", "shop_url", "watermark_at"]), |batch| {
        let shops = text(&batch, "shop_id")?;
        previous.ids_by_url.extend(ids_by_url(&batch)?);
        let times = numbers::<TimestampMicrosecondType>(&batch, "watermark_at")?;
        for row in 0..batch.num_rows() {
            if let Some(time) = moment(times, row) {
                previous.watermarks.insert(shops.value(row).to_owned(), time);
            }
        }
        Ok(())
    })
}

/// The shops' ids by the address that the pipeline names them with.
fn ids_by_url(batch: &RecordBatch) -> Result<Vec<(String, String)>> {
    let (shops, urls) = (text(batch, "shop_id")?, text(batch, "shop_url")?);
    // A shop that could not be resolved stands under its address: that is no id to remember.
    let known = (0..batch.num_rows()).filter(|&row| urls.is_valid(row) && urls.value(row) != shops.value(row));
    Ok(known.map(|row| (urls.value(row).to_owned(), shops.value(row).to_owned())).collect())
}

/// What the picture before saves asking for. `facts` are those of the run that published it, where they are still
/// there: without them no shop is known to have been listed whole.
pub(super) fn known(store: &Store, entry: &Entry, facts: Option<&RunFacts>) -> Result<Known> {
    let mut known = Known::default();
    let columns = ["shop_id", "shop_url", "watermark_at", "official_count", "finished_at", "is_complete"];
    read(store, entry, Table::Shops, Some(&columns), |batch| {
        known.ids_by_url.extend(ids_by_url(&batch)?);
        for row in 0..batch.num_rows() {
            let (shop_id, shop) = known_shop(&batch, row, facts)?;
            known.shops.insert(shop_id, shop);
        }
        Ok(())
    })?;
    let mut offers: HashMap<String, Gathering> =
        known.shops.keys().map(|id| (id.clone(), Gathering::default())).collect();
    let columns = ["shop_id", "offer_id", "status", "modified_at", "fetched_at", "detail_fetched_at"];
    read(store, entry, Table::Offers, Some(&columns), |batch| {
        let (ids, statuses) = (numbers::<Int64Type>(&batch, "offer_id")?, text(&batch, "status")?);
        let modified = numbers::<TimestampMicrosecondType>(&batch, "modified_at")?;
        let fetched = numbers::<TimestampMicrosecondType>(&batch, "fetched_at")?;
        // Lakes of an early version lack it.
        let is_there = batch.column_by_name("detail_fetched_at").is_some();
        let details = is_there.then(|| numbers(&batch, "detail_fetched_at")).transpose()?;
        each_of_shop(&batch, &mut offers, |shop, row| {
            if statuses.value(row) != "delisted" {
                let detail = details.and_then(|details| moment(details, row));
                let outdated = detail.is_some() && detail != moment(fetched, row);
                shop.offer(ids.value(row), moment(modified, row), detail.is_some(), outdated);
            }
        })
    })?;
    read(store, entry, Table::Skus, Some(&["shop_id", "offer_id", "sku_id", "fetched_at"]), |batch| {
        let (ids, skus) = (numbers::<Int64Type>(&batch, "offer_id")?, numbers::<Int64Type>(&batch, "sku_id")?);
        let fetched = numbers::<TimestampMicrosecondType>(&batch, "fetched_at")?;
        each_of_shop(&batch, &mut offers, |shop, row| shop.sku(ids.value(row), skus.value(row), moment(fetched, row)))
    })?;
    for (shop_id, gathering) in offers {
        if let Some(shop) = known.shops.get_mut(&shop_id) {
            shop.offers = gathering.finish();
        }
    }
    Ok(known)
}

fn known_shop(batch: &RecordBatch, row: usize, facts: Option<&RunFacts>) -> Result<(String, KnownShop)> {
    let shop_id = text(batch, "shop_id")?.value(row).to_owned();
    let counts = numbers::<Int64Type>(batch, "official_count")?;
    let is_complete = flag(batch, "is_complete")?.value(row);
    let facts = facts.and_then(|facts| facts.shops.iter().find(|facts| facts.shop_id == shop_id));
    let shop = KnownShop {
        watermark_at: moment(numbers(batch, "watermark_at")?, row),
        // What was not complete is not built upon, whatever its listing was.
        whole_dt: facts.and_then(|facts| facts.whole_dt).filter(|_| is_complete),
        official_count: counts.is_valid(row).then(|| u64::try_from(counts.value(row)).ok()).flatten(),
        short: facts.map_or(0, |facts| facts.short),
        pages: facts.map_or(0, |facts| facts.pages),
        named_skus: facts.map_or((0, 0), |facts| (facts.with_skus, facts.skus)),
        finished_at: moment(numbers(batch, "finished_at")?, row),
        offers: KnownOffers::default(),
    };
    Ok((shop_id, shop))
}

/// Hands each row that is of a known shop on. Rows of one shop stand together.
fn each_of_shop(
    batch: &RecordBatch,
    known: &mut HashMap<String, Gathering>,
    mut take: impl FnMut(&mut Gathering, usize),
) -> Result<()> {
    let shops = text(batch, "shop_id")?;
    let mut row = 0;
    while row < batch.num_rows() {
        let same = |other: &usize| shops.is_valid(*other) && shops.value(*other) == shops.value(row);
        let end = (row + 1..batch.num_rows()).find(|other| !same(other)).unwrap_or(batch.num_rows());
        if let Some(shop) = shops.is_valid(row).then(|| known.get_mut(shops.value(row))).flatten() {
            (row..end).for_each(|row| take(shop, row));
        }
        row = end;
    }
    Ok(())
}

/// The SKUs that may go on with offers fetched today.
pub(super) fn skus(store: &Store, entry: &Entry, budget: &Budget) -> Result<KeptSkus> {
    let mut builder = kept::Builder::new(budget)?;
    for (table, columns) in [(Table::Skus, kept::SKU_COLUMNS), (Table::PriceTiers, kept::TIER_COLUMNS)] {
        read(store, entry, table, Some(columns), |batch| builder.take(table, &batch))?;
        builder.close(table)?;
    }
    builder.finish()
}

/// The rows of these offers that were made of details.
pub(super) fn details(store: &Store, entry: &Entry, offers: &HashSet<i64>) -> Result<Details> {
    let mut details = Details::default();
    for piece in rows(store, Some(entry), Goes::Whole) {
        details.take(&piece?, |offer_id| offers.contains(&offer_id))?;
    }
    Ok(details)
}

/// The rows of `quarantine` of these shops and items.
pub(super) fn quarantine(
    store: &Store,
    entry: &Entry,
    shops: &HashSet<String>,
    items: &HashSet<i64>,
) -> Result<Vec<RecordBatch>> {
    let mut rows = Vec::new();
    if !shops.is_empty() || !items.is_empty() {
        read(store, entry, Table::Quarantine, None, |batch| {
            let (ids, offers) = (text(&batch, "shop_id")?, numbers::<Int64Type>(&batch, "offer_id")?);
            let of_shops = |row: usize| {
                (ids.is_valid(row) && shops.contains(ids.value(row)))
                    || (offers.is_valid(row) && items.contains(&offers.value(row)))
            };
            let mask: BooleanArray = (0..batch.num_rows()).map(|row| Some(of_shops(row))).collect();
            rows.push(filter_record_batch(&batch, &mask).map_err(|source| broken().caused_by(source))?);
            Ok(())
        })?;
    }
    Ok(rows)
}

/// What of a picture's rows goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goes {
    /// Offers with their tiers and SKUs.
    Whole,
    /// Offers alone.
    Alone,
}

/// The rows of a picture before, piece by piece; of no picture none.
pub(super) fn rows<'e>(store: &Store, entry: Option<&'e Entry>, goes: Goes) -> Pieces<'e> {
    let Some(entry) = entry else { return Box::new(std::iter::empty()) };
    let batches = |table| Box::new(Batches::new(store, entry, table, None, PIECE_OFFERS));
    Box::new(match goes {
        Goes::Whole => Published::new(batches(Table::Offers), batches(Table::PriceTiers), batches(Table::Skus)),
        Goes::Alone => Published::without_children(batches(Table::Offers)),
    })
}

/// `is_rebuilt`: what was observed on the picture's own day follows anew from what landed.
fn offers(source: &Source<'_>, entry: &Entry, is_rebuilt: bool) -> Result<Sorted<Earlier>> {
    let mut sorter = Sorter::new(source.budget);
    let columns = if source.depth == Depth::Rows { ALL_OFFER_COLUMNS } else { OFFER_COLUMNS };
    let columns: Vec<&str> = columns.iter().copied().chain(is_rebuilt.then_some("observed_dt")).collect();
    let mut first = 0;
    read(source.store, entry, Table::Offers, Some(&columns), |batch| {
        let mut offers = earlier(&batch, first, source.names)?;
        if source.depth == Depth::Rows {
            add_rows(&batch, &mut offers)?;
        }
        if is_rebuilt {
            let observed = numbers::<Date32Type>(&batch, "observed_dt")?.values();
            let own_day = Date32Type::from_naive_date(entry.dt);
            for (offer, _) in offers.iter_mut().zip(observed).filter(|(_, day)| **day == own_day) {
                // Its row stands for no record of the day, of which it was made.
                offer.modified_at = None;
            }
        }
        first += batch.num_rows() as u64;
        offers.into_iter().try_for_each(|offer| sorter.push(offer))
    })?;
    sorter.finish()
}

/// The offers of a batch, whose rows begin at `first`.
fn earlier(batch: &RecordBatch, first: u64, names: &ShopNames) -> Result<Vec<Earlier>> {
    let (shops, statuses) = (text(batch, "shop_id")?, text(batch, "status")?);
    let ids = numbers::<Int64Type>(batch, "offer_id")?;
    let hashes = numbers::<Int64Type>(batch, "content_hash")?;
    let mut shop: Option<(Option<&str>, u32)> = None;
    let offers = (first..).zip(0..batch.num_rows()).map(|(place, row)| {
        let name = shops.is_valid(row).then(|| shops.value(row));
        let number = match shop {
            Some((known, number)) if known == name => number,
            _ => names.number(name),
        };
        shop = Some((name, number));
        Earlier {
            offer_id: ids.value(row),
            shop: number,
            content_hash: hashes.value(row),
            delisted: statuses.value(row) == "delisted",
            row: place,
            ..Earlier::default()
        }
    });
    Ok(offers.collect())
}

/// Fills in how complete the offers of a batch are, from what their rows still say of it.
fn add_rows(batch: &RecordBatch, offers: &mut [Earlier]) -> Result<()> {
    let modified = numbers::<TimestampMicrosecondType>(batch, "modified_at")?;
    let detailed = batch.column_by_name("detail_fetched_at");
    let quote_types = numbers::<Int8Type>(batch, "quote_type")?;
    let skus = numbers::<Int32Type>(batch, "sku_count")?;
    // Lakes of an early version lack it.
    let named = batch.column_by_name("sku_named_count").and_then(|column| column.as_primitive_opt::<Int32Type>());
    let channel_prices = column(batch, "channel_price")?;
    let (sources, ladders) = (text(batch, "price_source")?, text(batch, "ladder_status")?);
    for (row, offer) in offers.iter_mut().enumerate() {
        let quote_type = quote_types.is_valid(row).then(|| quote_types.value(row));
        offer.modified_at = modified.is_valid(row).then(|| modified.value(row));
        offer.detailed = detailed.is_some_and(|column| column.is_valid(row));
        offer.without_skus = quote_type == Some(0);
        let has_all = named.is_none_or(|named| !named.is_valid(row) || named.value(row) <= skus.value(row));
        offer.sku_complete = offer.without_skus || skus.value(row) > 0 && has_all;
        offer.price_complete = channel_prices.is_valid(row)
            || match (sources.value(row), ladders.value(row)) {
                (_, "sku_spread") | ("wholesale" | "channel", _) => true,
                // SKUs' own ladders are wholesale prices, the one price of a SKU is not.
                ("sku", "single" | "unparsable") => quote_type == Some(3),
                (source, _) => source == "sku",
            };
    }
    Ok(())
}

/// A row of `shops` as it was published.
fn shop_row(batch: &RecordBatch, row: usize) -> Result<ShopRow> {
    let string = |name| Ok::<_, Error>(text(batch, name)?.value(row).to_owned());
    let optional = |name| {
        let column = text(batch, name)?;
        Ok::<_, Error>(column.is_valid(row).then(|| column.value(row).to_owned()))
    };
    let count = |name| Ok::<_, Error>(numbers::<Int64Type>(batch, name)?.value(row));
    let rate = |name| {
        let column = numbers::<Decimal128Type>(batch, name)?;
        Ok::<_, Error>(column.is_valid(row).then(|| i64::try_from(column.value(row)).ok()).flatten())
    };
    let time = |name| Ok::<_, Error>(moment(numbers(batch, name)?, row));
    let official = numbers::<Int64Type>(batch, "official_count")?;
    Ok(ShopRow {
        gateway: string("gateway")?,
        shop_id: string("shop_id")?,
        shop_name: optional("shop_name")?,
        shop_url: optional("shop_url")?,
        official_count: official.is_valid(row).then(|| official.value(row)),
        listed_count: count("listed_count")?,
        offer_count: count("offer_count")?,
        new_count: count("new_count")?,
        changed_count: count("changed_count")?,
        carried_count: count("carried_count")?,
        delisted_count: count("delisted_count")?,
        quarantined_count: count("quarantined_count")?,
        sku_complete_rate: rate("sku_complete_rate")?,
        price_complete_rate: rate("price_complete_rate")?,
        incomplete_reason: optional("incomplete_reason")?,
        watermark_at: time("watermark_at")?,
        calls_used: count("calls_used")?,
        started_at: time("started_at")?.ok_or_else(broken)?,
        finished_at: time("finished_at")?.ok_or_else(broken)?,
    })
}

fn moment(times: &PrimitiveArray<TimestampMicrosecondType>, row: usize) -> Option<DateTime<Utc>> {
    times.is_valid(row).then(|| DateTime::from_timestamp_micros(times.value(row))).flatten()
}

fn column<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b dyn Array> {
    let column = batch.column_by_name(name);
    column.map(AsRef::as_ref).ok_or_else(|| Error::data(format!("a published file has no column `{name}`")))
}

fn text<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b StringArray> {
    column(batch, name)?.as_string_opt().ok_or_else(broken)
}

fn flag<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b BooleanArray> {
    column(batch, name)?.as_boolean_opt().ok_or_else(broken)
}

fn numbers<'b, T: ArrowPrimitiveType>(batch: &'b RecordBatch, name: &str) -> Result<&'b PrimitiveArray<T>> {
    column(batch, name)?.as_primitive_opt().ok_or_else(broken)
}

fn broken() -> Error {
    Error::data("the picture before is not what its contract says")
}
