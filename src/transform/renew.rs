//! SKUs of today put to a row that was made of a detail.
//!
//! A detail that still holds is not asked for again, and its row stands for the listing's record. SKUs that were asked for
//! today belong to it all the same: the offer becomes what it would be, had its detail been answered beside them.
//!
//! Takes published rows with their tiers and SKUs; gives the offer that they say, and that offer with other SKUs.
//!
//! Memory: the rows of the offers that SKUs were asked for today, each of which costs a call.
//!
//! Invariant: what the detail says goes on as it was published; only what is made of SKUs is made anew.

use std::borrow::Cow;
use std::collections::HashMap;

use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Int8Type, Int32Type, Int64Type, TimestampMicrosecondType,
};

use crate::base::{Error, Money, Result};

use super::assemble::{Context, Prices};
use super::chunk::Rows;
use super::columns::Origin;
use super::hash::Hashes;
use super::ladder::{LadderStatus, Shape, Step};
use super::normalise::Input;
use super::offer::{MoqSource, Offer, PriceSource, QuantityStatus, Reject, Scratch, Sku, Text, Tier};
use super::pack::{Known, PackSource, Pieces};
use super::price::Price;
use super::quantity::StatedUnit;
use super::rules::Rules;
use super::status::OfferStatus;
use super::tiers::SaleUnit;

/// Published rows that were made of details, by offer.
#[derive(Debug, Default)]
pub struct Details {
    pieces: Vec<Piece>,
    places: HashMap<i64, (usize, usize)>,
}

#[derive(Debug)]
struct Piece {
    rows: Rows,
    tiers_at: Vec<u32>,
    skus_at: Vec<u32>,
}

impl Details {
    /// Keeps those of the rows that were made of a detail, of offers that are `wanted`.
    ///
    /// # Errors
    /// [`crate::base::Kind::Data`] when a column is missing, [`crate::base::Kind::Internal`] when counts do not add up.
    pub fn take(&mut self, rows: &Rows, wanted: impl Fn(i64) -> bool) -> Result<()> {
        let count = u32::try_from(rows.offers.num_rows()).unwrap_or(u32::MAX);
        let mut kept = Vec::new();
        for row in 0..count {
            let cells = Cells { batch: &rows.offers, row: row as usize };
            let offer_id: i64 = needed(cells.number::<Int64Type>("offer_id")?, "offer_id")?;
            let is_detailed = cells.number::<TimestampMicrosecondType>("detail_fetched_at")?.is_some();
            if is_detailed && wanted(offer_id) && cells.text("status")? != Some(OfferStatus::Delisted.name()) {
                self.places.insert(offer_id, (self.pieces.len(), kept.len()));
                kept.push(row);
            }
        }
        if !kept.is_empty() {
            let rows = rows.taken(kept)?;
            self.pieces.push(Piece { tiers_at: rows.tiers_at()?, skus_at: rows.skus_at()?, rows });
        }
        Ok(())
    }

    /// The row of an offer.
    #[must_use]
    pub fn of(&self, offer_id: i64) -> Option<Detail<'_>> {
        let (piece, row) = *self.places.get(&offer_id)?;
        Some(Detail { piece: self.pieces.get(piece)?, row })
    }
}

/// A published row that was made of a detail.
#[derive(Debug, Clone, Copy)]
pub struct Detail<'d> {
    piece: &'d Piece,
    row: usize,
}

impl<'d> Detail<'d> {
    fn cells(&self) -> Cells<'d> {
        Cells { batch: &self.piece.rows.offers, row: self.row }
    }

    /// Whether it still holds for what a listing of today says: the offer is in the same shop, and was not modified since.
    ///
    /// # Errors
    /// [`crate::base::Kind::Data`] when a column is missing.
    pub fn holds_for(&self, offer: &Offer<'_>) -> Result<bool> {
        let cells = self.cells();
        let modified_at = cells.number::<TimestampMicrosecondType>("modified_at")?;
        let is_unmodified = modified_at.is_some() && modified_at == offer.modified_at;
        Ok(is_unmodified && cells.text("shop_id")? == offer.shop_id.as_deref())
    }

    /// Where the row came from, with the hashes it was published with.
    ///
    /// # Errors
    /// [`crate::base::Kind::Data`] when a column is missing.
    pub fn origin(&self) -> Result<Origin<'d>> {
        let cells = self.cells();
        let hash = |name| needed(cells.number::<Int64Type>(name)?, name);
        Ok(Origin {
            gateway: needed(cells.text("gateway")?, "gateway")?,
            fetched_at: needed(cells.number::<TimestampMicrosecondType>("fetched_at")?, "fetched_at")?,
            skus_fetched_at: &[],
            observed_dt: needed(cells.number::<Date32Type>("observed_dt")?, "observed_dt")?,
            raw_ref: needed(cells.text("raw_ref")?, "raw_ref")?,
            detail_fetched_at: cells.number::<TimestampMicrosecondType>("detail_fetched_at")?,
            hashes: Hashes { content: hash("content_hash")?, volatile: hash("volatile_hash")? },
        })
    }

    /// Reads the offer as it was published, with its tiers and SKUs. What has no column stays as it is in an empty offer.
    ///
    /// # Errors
    /// [`crate::base::Kind::Data`] when a column is missing, or holds a name that this version does not have.
    pub fn read<'a>(&self, offer: &mut Offer<'a>) -> Result<()>
    where
        'd: 'a,
    {
        offer.clear();
        self.read_texts(offer)?;
        self.read_numbers(offer)?;
        let Piece { rows, tiers_at, skus_at } = self.piece;
        let of = |starts: &[u32]| starts[self.row] as usize..starts[self.row + 1] as usize;
        for row in of(tiers_at) {
            offer.tiers.push(tier(Cells { batch: &rows.tiers, row })?);
        }
        for row in of(skus_at) {
            offer.skus.push(sku(Cells { batch: &rows.skus, row })?);
        }
        Ok(())
    }

    fn read_texts<'a>(&self, offer: &mut Offer<'a>) -> Result<()>
    where
        'd: 'a,
    {
        let cells = self.cells();
        let text = |name| Ok::<Text<'d>, Error>(cells.text(name)?.map(Cow::Borrowed));
        offer.shop_id = text("shop_id")?;
        offer.shop_name = text("shop_name")?;
        offer.title = text("title")?;
        offer.brand = text("brand")?;
        offer.category_id = text("category_id")?;
        offer.ship_from = text("ship_from")?;
        offer.detail_url = text("detail_url")?;
        offer.image_url = text("image_url")?;
        offer.video_url = text("video_url")?;
        offer.unit = text("unit")?;
        offer.moq_raw = text("moq_raw")?;
        offer.stock_raw = text("stock_raw")?;
        offer.currency = needed(text("currency")?, "currency")?;
        cells.texts("image_urls", &mut offer.image_urls)?;
        offer.pack_source = cells.named("pack_source", PackSource::ALL, PackSource::name)?;
        offer.moq_status = cells.named("moq_status", QuantityStatus::ALL, QuantityStatus::name)?;
        offer.moq_source = cells.named("moq_source", MoqSource::ALL, MoqSource::name)?;
        offer.stock_status = cells.named("stock_status", QuantityStatus::ALL, QuantityStatus::name)?;
        offer.price_source = cells.named("price_source", PriceSource::ALL, PriceSource::name)?;
        offer.ladder_status = cells.named("ladder_status", LadderStatus::ALL, LadderStatus::name)?;
        offer.status = cells.named("status", OfferStatus::ALL, OfferStatus::name)?;
        Ok(())
    }

    fn read_numbers(&self, offer: &mut Offer<'_>) -> Result<()> {
        let cells = self.cells();
        let int = |name| cells.number::<Int64Type>(name);
        offer.offer_id = needed(int("offer_id")?, "offer_id")?;
        offer.title_truncated = cells.flag("title_truncated")?;
        offer.price = cells.money("price")?;
        offer.price_max = cells.money("price_max")?;
        offer.promotion_price = cells.money("promotion_price")?;
        offer.channel_price = cells.money("channel_price")?;
        offer.dropship_price = cells.money("dropship_price")?;
        offer.retail_price = cells.money("retail_price")?;
        offer.quote_type = cells.number::<Int8Type>("quote_type")?;
        offer.pieces_per_unit = cells.number::<Int32Type>("pieces_per_unit")?;
        offer.moq_quantity = int("moq_quantity")?;
        offer.moq_pieces = int("moq_pieces")?;
        offer.stock_pieces = int("stock_pieces")?;
        offer.sales_count = int("sales_count")?;
        offer.sales_is_lower_bound = cells.flag("sales_is_lower_bound")?;
        offer.like_count = int("like_count")?;
        offer.comment_count = int("comment_count")?;
        offer.favorite_count = int("favorite_count")?;
        offer.repurchase_rate = cells.decimal("repurchase_rate")?;
        offer.min_piece_price = cells.decimal("min_piece_price")?;
        offer.max_piece_price = cells.decimal("max_piece_price")?;
        offer.created_at = cells.number::<TimestampMicrosecondType>("created_at")?;
        offer.modified_at = cells.number::<TimestampMicrosecondType>("modified_at")?;
        Ok(())
    }
}

/// Gives an offer that was [read](Detail::read) the SKUs of today's answers instead of its own.
///
/// Packs that only the texts of its detail stated have no column: a SKU's stock in another unit than the sale unit is
/// then null with the reason.
///
/// # Errors
/// [`Reject`] when a number of a SKU does not fit its column.
pub fn with_skus<'a>(input: &Input<'_, 'a>, rules: &Rules, offer: &mut Offer<'a>) -> Result<(), Reject> {
    let mut scratch = std::mem::take(&mut offer.scratch);
    let result = fill(input, rules, offer, &mut scratch);
    offer.scratch = scratch;
    result
}

fn fill<'a>(input: &Input<'_, 'a>, rules: &Rules, offer: &mut Offer<'a>, scratch: &mut Scratch) -> Result<(), Reject> {
    rules.configured(offer.shop_id.as_deref(), offer.offer_id, &mut scratch.configured);
    let configured = std::mem::take(&mut scratch.configured);
    let unit = offer.unit.as_deref().and_then(|unit| rules.units().find(unit));
    let known = Known { units: rules.units(), statements: &[], configured: &configured, sale_unit: unit };
    let pieces = match offer.pieces_per_unit {
        Some(count) => Pieces::Known { count: count.into(), source: offer.pack_source },
        None if offer.pack_source == PackSource::Conflict => Pieces::Conflict,
        None => match known.pieces(unit) {
            // What states the pack now did not state it then.
            Pieces::Known { .. } => Pieces::UnknownPack,
            unknown => unknown,
        },
    };
    let context = Context { rules, known, sale: SaleUnit { id: unit, times: 1, pieces } };
    offer.skus.clear();
    let result = context.skus(input, offer, scratch).and_then(|()| tiers(&context, input, offer, scratch));
    scratch.configured = configured;
    result
}

/// Makes the tiers anew, and leaves them as they were published where they are not made of SKUs.
fn tiers(
    context: &Context<'_>,
    input: &Input<'_, '_>,
    offer: &mut Offer<'_>,
    scratch: &mut Scratch,
) -> Result<(), Reject> {
    let published = std::mem::take(&mut offer.tiers);
    let (source, status) = (offer.price_source, offer.ladder_status);
    let piece_prices = (offer.min_piece_price, offer.max_piece_price);
    let headline = match (offer.price, offer.price_max) {
        (Some(low), Some(high)) => Price::Spread { low, high },
        (Some(price), None) => Price::One(price),
        (None, _) => Price::Missing,
    };
    let own = published.iter().filter(|tier| tier.sku_id.is_none());
    let shape = match (source, status, headline) {
        (PriceSource::Wholesale, ..) => {
            scratch.steps.extend(own.map(step));
            Shape::Steps { left_out: 0 }
        }
        (_, LadderStatus::Unparsable, _) => Shape::Unparsable,
        // A channel price comes before the prices of SKUs, and so does the one price of a headline, unless the ladder itself
        // is their spread.
        (_, LadderStatus::SkuSpread, Price::Spread { low, high }) if offer.channel_price.is_some() => {
            Shape::Spread { low, high }
        }
        (_, LadderStatus::SkuSpread, Price::One(price)) => Shape::Spread { low: price, high: price },
        _ => Shape::Missing,
    };
    context.tiers(input, &Prices { shape, headline }, offer, scratch)?;
    if offer.price_source == source && source != PriceSource::Sku {
        (offer.tiers, offer.ladder_status) = (published, status);
        (offer.min_piece_price, offer.max_piece_price) = piece_prices;
    }
    Ok(())
}

fn step(tier: &Tier) -> Step {
    Step { start: Some(tier.min_quantity), end: tier.max_quantity, unit: StatedUnit::None, price: tier.unit_price }
}

fn tier(cells: Cells<'_>) -> Result<Tier> {
    let int = |name| cells.number::<Int64Type>(name);
    Ok(Tier {
        sku_id: int("sku_id")?,
        tier_no: needed(cells.number::<Int32Type>("tier_no")?, "tier_no")?,
        min_quantity: needed(int("min_quantity")?, "min_quantity")?,
        max_quantity: int("max_quantity")?,
        min_pieces: int("min_pieces")?,
        max_pieces: int("max_pieces")?,
        unit_price: needed(cells.money("unit_price")?, "unit_price")?,
        piece_price: cells.decimal("piece_price")?,
        price_source: cells.named("price_source", PriceSource::ALL, PriceSource::name)?,
    })
}

fn sku(cells: Cells<'_>) -> Result<Sku<'_>> {
    let text = |name| Ok::<Text<'_>, Error>(cells.text(name)?.map(Cow::Borrowed));
    Ok(Sku {
        sku_id: needed(cells.number::<Int64Type>("sku_id")?, "sku_id")?,
        spec: text("spec")?,
        price: cells.money("price")?,
        promotion_price: cells.money("promotion_price")?,
        stock_raw: text("stock_raw")?,
        stock_pieces: cells.number::<Int64Type>("stock_pieces")?,
        stock_status: cells.named("stock_status", QuantityStatus::ALL, QuantityStatus::name)?,
        cargo_number: text("cargo_number")?,
    })
}

/// The cells of one row.
#[derive(Debug, Clone, Copy)]
struct Cells<'d> {
    batch: &'d RecordBatch,
    row: usize,
}

impl<'d> Cells<'d> {
    fn column(self, name: &str) -> Result<&'d dyn Array> {
        self.batch.column_by_name(name).map(AsRef::as_ref).ok_or_else(|| wrong(name))
    }

    fn number<T: ArrowPrimitiveType>(self, name: &str) -> Result<Option<T::Native>> {
        let column: &PrimitiveArray<T> = self.column(name)?.as_primitive_opt().ok_or_else(|| wrong(name))?;
        Ok(column.is_valid(self.row).then(|| column.value(self.row)))
    }

    /// The unscaled units of a decimal.
    fn decimal(self, name: &str) -> Result<Option<i64>> {
        let units = self.number::<Decimal128Type>(name)?;
        units.map(|units| i64::try_from(units).map_err(|_| wrong(name))).transpose()
    }

    fn money(self, name: &str) -> Result<Option<Money>> {
        Ok(self.decimal(name)?.map(Money::from_units))
    }

    fn flag(self, name: &str) -> Result<bool> {
        let column = self.column(name)?.as_boolean_opt().ok_or_else(|| wrong(name))?;
        Ok(column.is_valid(self.row) && column.value(self.row))
    }

    fn text(self, name: &str) -> Result<Option<&'d str>> {
        let column = self.column(name)?.as_string_opt::<i32>().ok_or_else(|| wrong(name))?;
        Ok(column.is_valid(self.row).then(|| column.value(self.row)))
    }

    fn texts<'a>(self, name: &str, into: &mut Vec<Cow<'a, str>>) -> Result<()>
    where
        'd: 'a,
    {
        let column = self.column(name)?.as_list_opt::<i32>().ok_or_else(|| wrong(name))?;
        let values = column.values().as_string_opt::<i32>().ok_or_else(|| wrong(name))?;
        if column.is_valid(self.row) {
            let ends = column.value_offsets();
            let of_row = ends[self.row].cast_unsigned() as usize..ends[self.row + 1].cast_unsigned() as usize;
            into.extend(of_row.filter(|at| values.is_valid(*at)).map(|at| Cow::Borrowed(values.value(at))));
        }
        Ok(())
    }

    /// The one of `all` that is so called.
    fn named<T: Copy>(self, name: &str, all: &[T], called: impl Fn(T) -> &'static str) -> Result<T> {
        let text = self.text(name)?;
        all.iter().copied().find(|one| Some(called(*one)) == text).ok_or_else(|| wrong(name))
    }
}

fn needed<T>(value: Option<T>, name: &str) -> Result<T> {
    value.ok_or_else(|| wrong(name))
}

fn wrong(name: &str) -> Error {
    Error::data(format!("column `{name}` of a published file is not as this version writes it"))
}

#[cfg(test)]
mod tests;
