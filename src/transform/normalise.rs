//! One record's fields → one offer with its tiers and SKUs. Pure; the rules are in the modules beside this one.
//!
//! Takes the canonical fields as slices of the record and the run's [`Rules`]; gives the content columns of
//! TABLES.md, or the reason why the record goes to quarantine.
//!
//! Invariant: no input panics; what cannot be read is null with a status that says why, never a guess.

use std::borrow::Cow;

use crate::base::Money;
use crate::base::json::{Kind, Raw};

use super::count::{self, CountBound};
use super::fields::{OfferField, OfferFields, SkuField, SkuFields};
use super::id::{self, AllRead};
use super::ladder::{self, LadderStatus, Reader, Shape, Step};
use super::lex::{Lexeme, lex};
use super::offer::{MoqSource, Offer, PriceSource, QuantityStatus, Reject, RejectReason, Scratch, Sku, Text, Tier};
use super::pack::{self, Known, PackSource, Pieces, Statement};
use super::price::{self, Price};
use super::quantity::{self, Reading, StatedUnit, UNPARSABLE};
pub use super::rules::Rules;
use super::tiers::{self, Ladder, SaleUnit};
use super::units::{self, Readings};
use super::{rate, status, text, time, title};

/// Where an offer's SKU records come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkuSource {
    /// They stand in the offer's record.
    Nested,
    /// They were asked for one by one.
    Calls,
    /// SKU data was not asked for: no judgement about completeness.
    NotAsked,
}

/// One record to normalise.
#[derive(Debug, Clone, Copy)]
pub struct Input<'i, 'a> {
    /// The offer's fields.
    pub offer: &'i OfferFields<'a>,
    /// The fields of its SKUs.
    pub skus: &'i [SkuFields<'a>],
    /// The shop it was listed for, where the record does not say.
    pub shop_id: Option<&'a str>,
    /// Where `skus` come from.
    pub sku_source: SkuSource,
}

/// Stock figures that mean "plenty" (WIRE §2).
const UNLIMITED: [i64; 2] = [2_147_483_647, 1_000_000_000];

/// Normalises one record into `offer`, which is emptied first and may be used again.
///
/// # Errors
/// [`Reject`] when the record belongs in quarantine: no usable offer id, or a price that does not fit its column.
pub fn normalise<'a>(input: &Input<'_, 'a>, rules: &Rules, offer: &mut Offer<'a>) -> Result<(), Reject> {
    offer.clear();
    offer.offer_id = offer_id(input.offer)?;
    let mut scratch = std::mem::take(&mut offer.scratch);
    let result = fill(input, rules, offer, &mut scratch);
    offer.scratch = scratch;
    result
}

fn offer_id(fields: &OfferFields<'_>) -> Result<i64, Reject> {
    let field = OfferField::OfferId;
    let raw = fields.get(field);
    match (raw, raw.and_then(id::read)) {
        (_, Some(id)) => Ok(id),
        (Some(raw), None) => Err(reject(RejectReason::IdInvalid, field.name(), raw)),
        (None, None) => Err(Reject { reason: RejectReason::IdMissing, field: field.name(), value: String::new() }),
    }
}

fn reject(reason: RejectReason, field: &'static str, raw: Raw<'_>) -> Reject {
    Reject { reason, field, value: raw.json().chars().take(200).collect() }
}

fn fill<'a>(input: &Input<'_, 'a>, rules: &Rules, offer: &mut Offer<'a>, scratch: &mut Scratch) -> Result<(), Reject> {
    texts(input, rules, offer);
    counters(input.offer, rules, offer, scratch);
    let headline = prices(input.offer, rules, offer, scratch)?;
    let shape = read_ladder(input.offer.get(OfferField::Ladder), OfferField::Ladder.name(), rules, scratch)?;

    let fields = input.offer;
    let moq = amount(
        fields.get(OfferField::Moq),
        PackSource::MoqText,
        rules,
        &mut scratch.moq_lexemes,
        &mut scratch.statements,
    );
    let stock = amount(
        fields.get(OfferField::Stock),
        PackSource::StockText,
        rules,
        &mut scratch.stock_lexemes,
        &mut scratch.statements,
    );
    let ladder_unit = scratch.steps.iter().map(|step| step.unit).find(|unit| unit.known().is_some());
    let readings = Readings { ladder: ladder_unit.unwrap_or(StatedUnit::None), moq: moq.reading, stock: stock.reading };
    let stated = units::sale_unit(fields, rules, &readings, scratch);
    units::collect_statements(fields, rules, &stated, &readings, scratch);
    rules.configured(offer.shop_id.as_deref(), offer.offer_id, &mut scratch.configured);

    let statements = std::mem::take(&mut scratch.statements);
    let configured = std::mem::take(&mut scratch.configured);
    let known = Known { units: &rules.units, statements: &statements, configured: &configured, sale_unit: stated.id };
    let (sale, pack_source) = units::resolve(&stated, &known);
    offer.pieces_per_unit = sale.pieces_per_unit().and_then(|count| i32::try_from(count).ok());
    (offer.unit, offer.unit_source, offer.pack_source) = (stated.name, stated.source, pack_source);
    (offer.moq_raw, offer.stock_raw) = (moq.raw, stock.raw);
    let context = Context { rules, known, sale };
    let shape = match tiers::in_sale_units(&mut scratch.steps, &sale, &known) {
        Some(()) => shape,
        None => {
            scratch.steps.clear();
            Shape::Unparsable
        }
    };
    context.moq(moq.reading, &scratch.steps, offer);
    (offer.stock_pieces, offer.stock_status) = context.stock(stock.reading);
    let result = context
        .skus(input, offer, scratch)
        .and_then(|()| context.tiers(input, &Prices { shape, headline }, offer, scratch));
    scratch.statements = statements;
    scratch.configured = configured;
    result
}

fn texts<'a>(input: &Input<'_, 'a>, rules: &Rules, offer: &mut Offer<'a>) {
    let field = |field| input.offer.get(field);
    let read = |name| field(name).and_then(text::read);
    offer.shop_id = read(OfferField::ShopId).or(input.shop_id.map(Cow::Borrowed));
    offer.shop_name = read(OfferField::ShopName);
    (offer.title, offer.title_truncated) = cut_title(field(OfferField::Title).and_then(text::raw_text));
    offer.brand = read(OfferField::Brand)
        .or_else(|| field(OfferField::Attributes).and_then(|attributes| brand(attributes, rules)));
    offer.category_id = read(OfferField::CategoryId);
    offer.ship_from = field(OfferField::ShipFrom).and_then(text::read_joined);
    offer.detail_url = read(OfferField::DetailUrl);
    offer.video_url = read(OfferField::VideoUrl);
    if let Some(raw) = field(OfferField::ImageUrls) {
        text::read_urls(raw, &mut offer.image_urls);
    }
    offer.image_url = read(OfferField::ImageUrl).or_else(|| offer.image_urls.first().cloned());
    offer.quote_type = field(OfferField::QuoteType)
        .and_then(text::raw_text)
        .and_then(|text| quantity::plain(&text))
        .and_then(|value| i8::try_from(value).ok())
        .filter(|value| *value <= 3);
    offer.status = read(OfferField::Status).map(|text| status::read(&text)).unwrap_or_default();
    offer.created_at = read(OfferField::CreatedAt).and_then(|text| time::read(&text));
    offer.modified_at = read(OfferField::ModifiedAt).and_then(|text| time::read(&text));
    if let Some(code) = read(OfferField::Currency) {
        offer.currency = match code {
            Cow::Borrowed(code) => price::currency(code),
            Cow::Owned(code) => Cow::Owned(price::currency(&code).into_owned()),
        };
    }
}

fn cut_title(title: Text<'_>) -> (Text<'_>, bool) {
    let Some(title) = title else { return (None, false) };
    let kept = title::kept(&title);
    let cut = kept < title.len();
    let title = match title {
        Cow::Borrowed(title) => Cow::Borrowed(&title[..kept]),
        Cow::Owned(mut title) => {
            title.truncate(kept);
            Cow::Owned(title)
        }
    };
    (Some(title), cut)
}

fn brand<'a>(attributes: Raw<'a>, rules: &Rules) -> Text<'a> {
    let mut found = None;
    rules.attributes.visit(attributes, &mut |name, value| {
        if matches!(&*name, "品牌" | "brand" | "Brand") && found.is_none() && !value.is_empty() {
            found = Some(value);
        }
    });
    found
}

fn counters(fields: &OfferFields<'_>, rules: &Rules, offer: &mut Offer<'_>, scratch: &mut Scratch) {
    let mut read = |field| {
        let text = fields.get(field).and_then(text::raw_text)?;
        count::read(&text, &rules.units, &mut scratch.lexemes)
    };
    let sales = read(OfferField::Sales);
    offer.sales_count = sales.map(|count| count.value);
    offer.sales_is_lower_bound = sales.is_some_and(|count| count.bound == CountBound::Lower);
    offer.like_count = read(OfferField::LikeCount).map(|count| count.value);
    offer.comment_count = read(OfferField::CommentCount).map(|count| count.value);
    offer.favorite_count = read(OfferField::FavoriteCount).map(|count| count.value);
    offer.repurchase_rate = fields
        .get(OfferField::RepurchaseRate)
        .and_then(text::raw_text)
        .and_then(|text| rate::read(&text, rules.repurchase_scale));
}

/// Reads a price field; lists, objects and booleans are no prices.
fn price_of(
    raw: Option<Raw<'_>>,
    field: &'static str,
    rules: &Rules,
    lexemes: &mut Vec<Lexeme>,
) -> Result<Price, Reject> {
    let Some(raw) = raw else { return Ok(Price::Missing) };
    if !matches!(raw.kind(), Kind::String | Kind::Number) {
        return Ok(Price::Unparsable);
    }
    let text = raw.text().unwrap_or_default();
    price::read(&text, &rules.units, lexemes).map_err(|_| reject(RejectReason::TooLarge, field, raw))
}

/// Fills the price columns and returns the headline price as stated.
fn prices(
    fields: &OfferFields<'_>,
    rules: &Rules,
    offer: &mut Offer<'_>,
    scratch: &mut Scratch,
) -> Result<Price, Reject> {
    let mut read = |field: OfferField| price_of(fields.get(field), field.name(), rules, &mut scratch.lexemes);
    let headline = read(OfferField::Price)?;
    offer.price = headline.low();
    let top = match headline {
        Price::Spread { high, .. } => Some(high),
        _ => read(OfferField::PriceMax)?.one(),
    };
    offer.price_max = top.filter(|top| offer.price.is_none_or(|price| price < *top));
    offer.promotion_price = read(OfferField::PromotionPrice)?.low();
    offer.channel_price = read(OfferField::ChannelPrice)?.one();
    offer.dropship_price = read(OfferField::DropshipPrice)?.low();
    offer.retail_price = read(OfferField::RetailPrice)?.low();
    Ok(headline)
}

fn read_ladder(
    raw: Option<Raw<'_>>,
    field: &'static str,
    rules: &Rules,
    scratch: &mut Scratch,
) -> Result<Shape, Reject> {
    let Some(raw) = raw else { return Ok(Shape::Missing) };
    let mut reader = Reader { units: &rules.units, lexemes: &mut scratch.lexemes, steps: &mut scratch.steps };
    reader.read(raw).map_err(|_| reject(RejectReason::TooLarge, field, raw))
}

/// A quantity field: as received, and as read (`None`: there is nothing to read).
struct Amount<'a> {
    raw: Text<'a>,
    reading: Option<Reading>,
}

fn amount<'a>(
    raw: Option<Raw<'a>>,
    source: PackSource,
    rules: &Rules,
    lexemes: &mut Vec<Lexeme>,
    statements: &mut Vec<Statement>,
) -> Amount<'a> {
    let Some(raw) = raw.filter(|raw| !raw.is_empty_value()) else { return Amount { raw: None, reading: None } };
    if !matches!(raw.kind(), Kind::String | Kind::Number) {
        return Amount { raw: Some(Cow::Borrowed(raw.json())), reading: Some(UNPARSABLE) };
    }
    let text = raw.text().unwrap_or_default();
    let reading = match quantity::plain(text.trim()) {
        Some(value) => Reading { value: Some(value), unit: StatedUnit::None },
        None => {
            lex(&text, &rules.units, lexemes);
            pack::scan(lexemes, source, &rules.units, statements);
            quantity::read(lexemes)
        }
    };
    Amount { raw: Some(text), reading: Some(reading) }
}

/// What the tiers may be made of.
struct Prices {
    shape: Shape,
    headline: Price,
}

/// The offer's units, once they are known.
#[derive(Clone, Copy)]
struct Context<'c> {
    rules: &'c Rules,
    known: Known<'c>,
    sale: SaleUnit,
}

impl Context<'_> {
    /// `value` of a unit in pieces, or why not.
    fn in_pieces(&self, value: i64, unit: StatedUnit) -> (Option<i64>, QuantityStatus) {
        let status = match self.sale.pieces_of(unit, &self.known) {
            Pieces::Known { count, .. } => match value.checked_mul(count) {
                Some(pieces) => return (Some(pieces), QuantityStatus::Ok),
                None => QuantityStatus::Unparsable,
            },
            Pieces::UnknownPack => QuantityStatus::UnknownPack,
            Pieces::Conflict => QuantityStatus::Conflict,
            Pieces::NotCountable => QuantityStatus::NotCountable,
            Pieces::UnknownUnit => QuantityStatus::UnknownUnit,
        };
        (None, status)
    }

    /// Absent: the first tier's start. Unreadable: null. A minimum of 0 is none.
    fn moq(&self, reading: Option<Reading>, steps: &[Step], offer: &mut Offer<'_>) {
        let first_start = steps.first().and_then(|step| step.start).filter(|start| *start > 0);
        match (reading.filter(|reading| reading.value != Some(0)), first_start) {
            (Some(Reading { value: Some(value), unit }), _) => {
                offer.moq_source = MoqSource::Stated;
                offer.moq_quantity = self.sale.quantity_of(value, unit, &self.known);
                (offer.moq_pieces, offer.moq_status) = self.in_pieces(value, unit);
            }
            (Some(Reading { value: None, .. }), _) => {
                offer.moq_source = MoqSource::Stated;
                offer.moq_status = QuantityStatus::Unparsable;
            }
            (None, Some(start)) => {
                offer.moq_source = MoqSource::Ladder;
                offer.moq_quantity = Some(start);
                (offer.moq_pieces, offer.moq_status) = self.in_pieces(start, StatedUnit::None);
            }
            (None, None) => {}
        }
    }

    /// Sentinels are "plenty"; nothing is nothing in any unit.
    fn stock(&self, reading: Option<Reading>) -> (Option<i64>, QuantityStatus) {
        match reading {
            None => (None, QuantityStatus::Missing),
            Some(Reading { value: None, .. }) => (None, QuantityStatus::Unparsable),
            Some(Reading { value: Some(value), .. }) if UNLIMITED.contains(&value) => (None, QuantityStatus::Unlimited),
            Some(Reading { value: Some(0), .. }) => (Some(0), QuantityStatus::Ok),
            Some(Reading { value: Some(value), unit }) => self.in_pieces(value, unit),
        }
    }

    fn skus<'a>(&self, input: &Input<'_, 'a>, offer: &mut Offer<'a>, scratch: &mut Scratch) -> Result<(), Reject> {
        for fields in input.skus {
            let field = SkuField::SkuId;
            let raw = fields.get(field);
            match raw.and_then(id::read) {
                Some(sku_id) if offer.skus.iter().any(|sku| sku.sku_id == sku_id) => {}
                Some(sku_id) => {
                    let sku = self.sku(sku_id, fields, scratch)?;
                    offer.skus.push(sku);
                }
                None => offer.rejected_skus.push(match raw {
                    Some(raw) => reject(RejectReason::IdInvalid, field.name(), raw),
                    None => Reject { reason: RejectReason::IdMissing, field: field.name(), value: String::new() },
                }),
            }
        }
        let named = input.offer.get(OfferField::SkuIds);
        let all_read = named.map_or(AllRead::Yes, |raw| id::read_list(raw, &mut offer.named_skus));
        if offer.named_skus.is_empty() && named.is_none() {
            offer.named_skus.extend(offer.skus.iter().map(|sku| sku.sku_id));
        }
        let has_row = |id: &i64| offer.skus.iter().any(|sku| sku.sku_id == *id);
        let all_there = !offer.named_skus.is_empty()
            && all_read == AllRead::Yes
            && offer.rejected_skus.is_empty()
            && offer.named_skus.iter().all(has_row);
        offer.sku_complete = all_there || offer.quote_type == Some(0) || input.sku_source == SkuSource::NotAsked;
        Ok(())
    }

    fn sku<'a>(&self, sku_id: i64, fields: &SkuFields<'a>, scratch: &mut Scratch) -> Result<Sku<'a>, Reject> {
        let mut price = |field: SkuField| {
            price_of(fields.get(field), field.name(), self.rules, &mut scratch.lexemes).map(Price::one)
        };
        let own = price(SkuField::Price)?;
        let promotion_price = price(SkuField::PromotionPrice)?;
        // Statements in a SKU's stock text come too late for the offer's packs; they are only kept from being read as stock.
        let stock = amount(
            fields.get(SkuField::Stock),
            PackSource::StockText,
            self.rules,
            &mut scratch.stock_lexemes,
            &mut Vec::new(),
        );
        let (stock_pieces, stock_status) = self.stock(stock.reading);
        Ok(Sku {
            sku_id,
            spec: fields.get(SkuField::Spec).and_then(|raw| self.rules.spec.spec(raw)),
            price: own,
            promotion_price,
            stock_raw: stock.raw,
            stock_pieces,
            stock_status,
            cargo_number: fields.get(SkuField::CargoNumber).and_then(text::read),
        })
    }

    /// Tiers from the ladder; else from the channel price, the headline price, the SKUs' prices.
    fn tiers(
        &self,
        input: &Input<'_, '_>,
        prices: &Prices,
        offer: &mut Offer<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), Reject> {
        let shape = prices.shape;
        if let (Shape::Spread { low, high }, None) = (shape, offer.price) {
            offer.price = Some(low);
            offer.price_max = Some(high);
        }
        if let (Shape::Spread { high, .. }, None, Some(price)) = (shape, offer.price_max, offer.price) {
            offer.price_max = Some(high).filter(|high| *high > price);
        }
        let of_skus = offer.quote_type == Some(3) || (offer.quote_type.is_none() && shape == Shape::Missing);
        let sku_ladders = if of_skus { self.sku_ladders(input, offer, scratch)? } else { None };
        if let Some(status) = sku_ladders {
            offer.ladder_status = status;
            offer.price_source = PriceSource::Sku;
        } else if let Shape::Steps { left_out } = shape {
            offer.ladder_status = ladder::judge(&scratch.steps, left_out);
            offer.price_source = PriceSource::Wholesale;
            self.append(&scratch.steps, PriceSource::Wholesale, offer);
        } else {
            offer.price_source = self.fall_back(prices, input, offer, scratch)?;
            let spread = matches!(prices.headline, Price::Spread { .. }) && offer.channel_price.is_none();
            offer.ladder_status = match tiers::fallback_status(shape, offer.price_source) {
                LadderStatus::Single | LadderStatus::Missing if spread => LadderStatus::SkuSpread,
                status => status,
            };
        }
        offer.price_complete = offer.channel_price.is_some()
            || matches!(offer.price_source, PriceSource::Wholesale | PriceSource::Channel)
            || sku_ladders.is_some()
            || offer.ladder_status == LadderStatus::SkuSpread;
        let prices = offer.tiers.iter().filter_map(|tier| tier.piece_price);
        offer.min_piece_price = prices.clone().min();
        offer.max_piece_price = prices.max();
        Ok(())
    }

    fn append(&self, steps: &[Step], source: PriceSource, offer: &mut Offer<'_>) {
        let ladder = self.ladder(steps, None, source, offer.moq_quantity);
        tiers::append(&ladder, &mut offer.tiers);
    }

    fn ladder<'s>(&self, steps: &'s [Step], sku_id: Option<i64>, source: PriceSource, moq: Option<i64>) -> Ladder<'s> {
        Ladder { steps, moq: moq.unwrap_or(1), sku_id, source, pieces_per_unit: self.sale.pieces_per_unit() }
    }

    /// One tier from the MOQ for the first price there is; a spread gives each priced SKU its own.
    fn fall_back(
        &self,
        prices: &Prices,
        input: &Input<'_, '_>,
        offer: &mut Offer<'_>,
        scratch: &mut Scratch,
    ) -> Result<PriceSource, Reject> {
        if !matches!(prices.shape, Shape::Spread { .. }) {
            let channel = offer.channel_price.map(|price| (price, PriceSource::Channel));
            if let Some((price, source)) = channel.or(prices.headline.one().map(|price| (price, PriceSource::Headline)))
            {
                self.append(&[tiers::one_price(price)], source, offer);
                return Ok(source);
            }
        }
        let before = offer.tiers.len();
        for fields in input.skus {
            if let Some((sku_id, price)) = self.sku_price(fields, scratch)? {
                self.append_sku(&[tiers::one_price(price)], sku_id, offer);
            }
        }
        Ok(if offer.tiers.len() > before { PriceSource::Sku } else { PriceSource::None })
    }

    fn append_sku(&self, steps: &[Step], sku_id: i64, offer: &mut Offer<'_>) {
        if offer.tiers.last().is_some_and(|tier: &Tier| tier.sku_id == Some(sku_id))
            || offer.tiers.iter().any(|tier| tier.sku_id == Some(sku_id))
        {
            return;
        }
        let ladder = self.ladder(steps, Some(sku_id), PriceSource::Sku, offer.moq_quantity);
        tiers::append(&ladder, &mut offer.tiers);
    }

    /// A SKU's own price, else its channel price.
    fn sku_price(&self, fields: &SkuFields<'_>, scratch: &mut Scratch) -> Result<Option<(i64, Money)>, Reject> {
        let Some(sku_id) = fields.get(SkuField::SkuId).and_then(id::read) else { return Ok(None) };
        let mut price = |field: SkuField| {
            price_of(fields.get(field), field.name(), self.rules, &mut scratch.lexemes).map(Price::one)
        };
        let own = price(SkuField::Price)?;
        let channel = price(SkuField::ChannelPrice)?;
        Ok(own.or(channel).map(|price| (sku_id, price)))
    }

    /// The SKUs' own ladders (quote type 3); `None` where no SKU has a readable one. A SKU without one has its price.
    fn sku_ladders(
        &self,
        input: &Input<'_, '_>,
        offer: &mut Offer<'_>,
        scratch: &mut Scratch,
    ) -> Result<Option<LadderStatus>, Reject> {
        let mut status = None;
        let mut later = false;
        let own = scratch.steps.len();
        for fields in input.skus {
            let Some(sku_id) = fields.get(SkuField::SkuId).and_then(id::read) else { continue };
            let shape = read_ladder(fields.get(SkuField::Ladder), SkuField::Ladder.name(), self.rules, scratch)?;
            let readable = tiers::in_sale_units(&mut scratch.steps[own..], &self.sale, &self.known).is_some();
            if let (Shape::Steps { left_out }, true) = (shape, readable) {
                let judged = ladder::judge(&scratch.steps[own..], left_out);
                status = Some(status.map_or(judged, |status| worse(status, judged)));
                self.append_sku(&scratch.steps[own..], sku_id, offer);
            } else {
                later = true;
            }
            scratch.steps.truncate(own);
        }
        if status.is_some() && later {
            for fields in input.skus {
                if let Some((sku_id, price)) = self.sku_price(fields, scratch)? {
                    self.append_sku(&[tiers::one_price(price)], sku_id, offer);
                }
            }
        }
        Ok(status)
    }
}

/// Of two ladders' states the one to be told: the first fault, then several steps, then one.
fn worse(one: LadderStatus, other: LadderStatus) -> LadderStatus {
    let rank = |status| match status {
        LadderStatus::Single => 2,
        LadderStatus::Ok => 1,
        _ => 0,
    };
    if (rank(one), one) <= (rank(other), other) { one } else { other }
}

#[cfg(test)]
mod tests;
