//! Offers one by one → Arrow batches of offers, tiers and SKUs.
//!
//! Takes normalised offers; gives [`Rows`] in the columns of the tables' files without `run_id` (which a publication
//! adds).
//!
//! Invariant: `tier_count` and `sku_count` are the rows that were appended for the offer.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Int8Builder, Int32Builder, Int64Builder, ListBuilder,
    RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema};

use crate::base::{Error, Money, Result};

use super::carry::without_run;
use super::chunk::Rows;
use super::contract::Table;
use super::hash::Hashes;
use super::offer::Offer;

/// What an offer's rows say about where they come from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'o> {
    /// The value of the `gateway` column.
    pub gateway: &'o str,
    /// When the bytes arrived, µs.
    pub fetched_at: i64,
    /// By SKU, when its bytes arrived; one that is not in here came with the offer.
    pub skus_fetched_at: &'o [(i64, i64)],
    /// The day, in days since 1970.
    pub observed_dt: i32,
    /// `run_id/number`.
    pub raw_ref: &'o str,
    /// When the bytes of the offer's detail arrived, µs, where the record is one.
    pub detail_fetched_at: Option<i64>,
    /// The offer's hashes.
    pub hashes: Hashes,
}

/// Appends offers and gives them back as batches.
#[derive(Debug, Default)]
pub struct Builder {
    offers: Block,
    tiers: Block,
    skus: Block,
    rows: usize,
}

/// Columns of one table, created by the first row and found again by position.
#[derive(Debug, Default)]
struct Block {
    columns: Vec<(&'static str, Column)>,
    at: usize,
}

#[derive(Debug)]
enum Column {
    Text(StringBuilder),
    Texts(ListBuilder<StringBuilder>),
    Bool(BooleanBuilder),
    Int8(Int8Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Decimal(Decimal128Builder),
    Time(TimestampMicrosecondBuilder),
    Date(Date32Builder),
}

impl Builder {
    /// How many offers were appended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Appends one offer with its tiers and SKUs.
    pub fn append(&mut self, offer: &Offer<'_>, origin: &Origin<'_>) {
        self.rows += 1;
        let row = &mut self.offers;
        row.start();
        row.text("gateway", Some(origin.gateway));
        row.text("shop_id", offer.shop_id.as_deref());
        row.text("shop_name", offer.shop_name.as_deref());
        row.int64("offer_id", Some(offer.offer_id));
        row.text("title", offer.title.as_deref());
        row.flag("title_truncated", Some(offer.title_truncated));
        row.text("brand", offer.brand.as_deref());
        row.text("category_id", offer.category_id.as_deref());
        row.text("ship_from", offer.ship_from.as_deref());
        row.text("detail_url", offer.detail_url.as_deref());
        row.text("image_url", offer.image_url.as_deref());
        row.texts("image_urls", &offer.image_urls);
        row.text("video_url", offer.video_url.as_deref());
        row.money("price", offer.price);
        row.money("price_max", offer.price_max);
        row.money("promotion_price", offer.promotion_price);
        row.money("channel_price", offer.channel_price);
        row.money("dropship_price", offer.dropship_price);
        row.money("retail_price", offer.retail_price);
        row.text("currency", Some(&offer.currency));
        row.int8("quote_type", offer.quote_type);
        row.text("unit", offer.unit.as_deref());
        row.int32("pieces_per_unit", offer.pieces_per_unit);
        row.text("pack_source", Some(offer.pack_source.name()));
        row.text("moq_raw", offer.moq_raw.as_deref());
        row.int64("moq_quantity", offer.moq_quantity);
        row.int64("moq_pieces", offer.moq_pieces);
        row.text("moq_status", Some(offer.moq_status.name()));
        row.text("moq_source", Some(offer.moq_source.name()));
        row.text("stock_raw", offer.stock_raw.as_deref());
        row.int64("stock_pieces", offer.stock_pieces);
        row.text("stock_status", Some(offer.stock_status.name()));
        row.int64("sales_count", offer.sales_count);
        row.flag("sales_is_lower_bound", Some(offer.sales_is_lower_bound));
        row.int64("like_count", offer.like_count);
        row.int64("comment_count", offer.comment_count);
        row.int64("favorite_count", offer.favorite_count);
        row.decimal("repurchase_rate", offer.repurchase_rate, (9, 6));
        row.decimal("min_piece_price", offer.min_piece_price, (18, 6));
        row.decimal("max_piece_price", offer.max_piece_price, (18, 6));
        row.int32("tier_count", i32::try_from(offer.tiers.len()).ok());
        row.int32("sku_count", i32::try_from(offer.skus.len()).ok());
        row.text("price_source", Some(offer.price_source.name()));
        row.text("ladder_status", Some(offer.ladder_status.name()));
        row.text("status", Some(offer.status.name()));
        row.time("created_at", offer.created_at);
        row.time("modified_at", offer.modified_at);
        row.time("fetched_at", Some(origin.fetched_at));
        row.date("observed_dt", origin.observed_dt);
        row.int64("content_hash", Some(origin.hashes.content));
        row.int64("volatile_hash", Some(origin.hashes.volatile));
        row.text("raw_ref", Some(origin.raw_ref));
        row.time("detail_fetched_at", origin.detail_fetched_at);
        let named = i32::try_from(offer.named_skus.len()).ok();
        row.int32("sku_named_count", named.filter(|named| *named > 0));
        self.append_tiers(offer);
        self.append_skus(offer, origin);
    }

    fn append_tiers(&mut self, offer: &Offer<'_>) {
        let row = &mut self.tiers;
        for tier in &offer.tiers {
            row.start();
            row.text("shop_id", offer.shop_id.as_deref());
            row.int64("offer_id", Some(offer.offer_id));
            row.int64("sku_id", tier.sku_id);
            row.int32("tier_no", Some(tier.tier_no));
            row.int64("min_quantity", Some(tier.min_quantity));
            row.int64("max_quantity", tier.max_quantity);
            row.int64("min_pieces", tier.min_pieces);
            row.int64("max_pieces", tier.max_pieces);
            row.money("unit_price", Some(tier.unit_price));
            row.decimal("piece_price", tier.piece_price, (18, 6));
            row.text("currency", Some(&offer.currency));
            row.text("price_source", Some(tier.price_source.name()));
            row.text("ladder_status", Some(offer.ladder_status.name()));
        }
    }

    fn append_skus(&mut self, offer: &Offer<'_>, origin: &Origin<'_>) {
        let row = &mut self.skus;
        for sku in &offer.skus {
            row.start();
            row.text("shop_id", offer.shop_id.as_deref());
            row.int64("offer_id", Some(offer.offer_id));
            row.int64("sku_id", Some(sku.sku_id));
            row.text("spec", sku.spec.as_deref());
            row.money("price", sku.price);
            row.money("promotion_price", sku.promotion_price);
            row.text("stock_raw", sku.stock_raw.as_deref());
            row.int64("stock_pieces", sku.stock_pieces);
            row.text("stock_status", Some(sku.stock_status.name()));
            row.text("cargo_number", sku.cargo_number.as_deref());
            let own = origin.skus_fetched_at.iter().find(|(sku_id, _)| *sku_id == sku.sku_id);
            row.time("fetched_at", Some(own.map_or(origin.fetched_at, |(_, fetched_at)| *fetched_at)));
        }
    }

    /// The batches of what was appended; the builder is empty after it.
    ///
    /// # Errors
    /// [`crate::base::Kind::Internal`] when a column is not that of the contract.
    pub fn finish(&mut self) -> Result<Rows> {
        self.rows = 0;
        Ok(Rows {
            offers: self.offers.finish(Table::Offers)?,
            tiers: self.tiers.finish(Table::PriceTiers)?,
            skus: self.skus.finish(Table::Skus)?,
        })
    }
}

/// Every row appends all columns in the same order: a column is found by its place.
macro_rules! append {
    ($self:ident, $name:ident, $variant:ident, $new:expr, $column:ident => $append:expr) => {{
        let at = $self.at;
        $self.at += 1;
        if at == $self.columns.len() {
            $self.columns.push(($name, Column::$variant($new)));
        }
        if let Some((_, Column::$variant($column))) = $self.columns.get_mut(at) {
            $append;
        }
    }};
}

impl Block {
    fn start(&mut self) {
        self.at = 0;
    }

    fn text(&mut self, name: &'static str, value: Option<&str>) {
        append!(self, name, Text, StringBuilder::new(), column => column.append_option(value));
    }

    fn texts(&mut self, name: &'static str, values: &[std::borrow::Cow<'_, str>]) {
        let field = || Arc::new(Field::new("element", DataType::Utf8, true));
        let new = || ListBuilder::new(StringBuilder::new()).with_field(field());
        append!(self, name, Texts, new(), column => {
            for value in values {
                column.values().append_value(value);
            }
            column.append(!values.is_empty());
        });
    }

    fn flag(&mut self, name: &'static str, value: Option<bool>) {
        append!(self, name, Bool, BooleanBuilder::new(), column => column.append_option(value));
    }

    fn int8(&mut self, name: &'static str, value: Option<i8>) {
        append!(self, name, Int8, Int8Builder::new(), column => column.append_option(value));
    }

    fn int32(&mut self, name: &'static str, value: Option<i32>) {
        append!(self, name, Int32, Int32Builder::new(), column => column.append_option(value));
    }

    fn int64(&mut self, name: &'static str, value: Option<i64>) {
        append!(self, name, Int64, Int64Builder::new(), column => column.append_option(value));
    }

    fn money(&mut self, name: &'static str, value: Option<Money>) {
        self.decimal(name, value.map(Money::units), (18, 4));
    }

    fn decimal(&mut self, name: &'static str, units: Option<i64>, (precision, scale): (u8, i8)) {
        let new = || Decimal128Builder::new().with_data_type(DataType::Decimal128(precision, scale));
        append!(self, name, Decimal, new(), column => column.append_option(units.map(i128::from)));
    }

    fn time(&mut self, name: &'static str, micros: Option<i64>) {
        let new = || TimestampMicrosecondBuilder::new().with_timezone("UTC");
        append!(self, name, Time, new(), column => column.append_option(micros));
    }

    fn date(&mut self, name: &'static str, days: i32) {
        append!(self, name, Date, Date32Builder::new(), column => column.append_value(days));
    }

    fn finish(&mut self, table: Table) -> Result<RecordBatch> {
        let schema = table.file_schema()?;
        let schema = without_run(&schema);
        if self.columns.is_empty() {
            return Ok(RecordBatch::new_empty(schema));
        }
        let mut arrays: Vec<(&str, ArrayRef)> =
            self.columns.iter_mut().map(|(name, column)| (*name, column.finish())).collect();
        self.at = 0;
        let ordered = schema.fields().iter().map(|field| {
            let at = arrays.iter().position(|(name, _)| name == field.name());
            at.map(|at| arrays.swap_remove(at).1)
                .ok_or_else(|| Error::internal(format!("no column `{}` for table `{table}`", field.name())))
        });
        let ordered = ordered.collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(Arc::clone(&schema), ordered).map_err(|error| wrong(&schema, table, error))
    }
}

fn wrong(schema: &Schema, table: Table, error: arrow::error::ArrowError) -> Error {
    Error::internal(format!("the batch of `{table}` does not fit its {} columns", schema.fields().len()))
        .caused_by(error)
}

impl Column {
    fn finish(&mut self) -> ArrayRef {
        match self {
            Column::Text(builder) => Arc::new(builder.finish()),
            Column::Texts(builder) => Arc::new(builder.finish()),
            Column::Bool(builder) => Arc::new(builder.finish()),
            Column::Int8(builder) => Arc::new(builder.finish()),
            Column::Int32(builder) => Arc::new(builder.finish()),
            Column::Int64(builder) => Arc::new(builder.finish()),
            Column::Decimal(builder) => Arc::new(builder.finish()),
            Column::Time(builder) => Arc::new(builder.finish()),
            Column::Date(builder) => Arc::new(builder.finish()),
        }
    }
}
