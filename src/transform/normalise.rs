//! One record's fields → one offer with its tiers and SKUs. Pure; the rules are in the modules beside this one.
//!
//! Takes the canonical fields as slices of the record and the run's [`Rules`]; gives the content columns of
//! TABLES.md, or the reason why the record goes to quarantine.
//!
//! Invariant: no input panics; what cannot be read is null with a status that says why, never a guess.

use std::borrow::Cow;

use crate::base::json::{Kind, Raw};
use crate::base::moment;

use super::assemble::{Context, Prices};
use super::count::{self, CountBound};
use super::fields::{OfferField, OfferFields, SkuFields};
use super::id;
use super::kept::KeptSku;
use super::ladder::{Reader, Shape};
use super::lex::{Lexeme, lex};
use super::offer::{Offer, Reject, RejectReason, Scratch, Text};
use super::pack::{self, Known, PackSource, Statement};
use super::price::{self, Price};
use super::quantity::{self, Reading, StatedUnit, UNPARSABLE};
pub use super::rules::Rules;
use super::units::{self, Readings};
use super::{rate, status, text, tiers, title};

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
    /// SKUs of the picture before: each that the offer still names and `skus` does not hold goes on.
    pub kept: &'i [KeptSku],
    /// What goes on so makes the offer complete: nobody asked for it again, or had to.
    pub kept_counts: bool,
}

#[cfg(test)]
impl<'i, 'a> Input<'i, 'a> {
    /// An offer's fields, and nothing beside them.
    pub(super) fn alone(offer: &'i OfferFields<'a>) -> Self {
        Self { offer, skus: &[], shop_id: None, sku_source: SkuSource::NotAsked, kept: &[], kept_counts: true }
    }
}

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

pub(super) fn reject(reason: RejectReason, field: &'static str, raw: Raw<'_>) -> Reject {
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
        text::read_urls(raw, &rules.image_urls, &mut offer.image_urls);
    }
    offer.image_url = read(OfferField::ImageUrl).or_else(|| offer.image_urls.first().cloned());
    offer.quote_type = field(OfferField::QuoteType)
        .and_then(text::raw_text)
        .and_then(|text| quantity::plain(&text))
        .and_then(|value| i8::try_from(value).ok())
        .filter(|value| *value <= 3);
    offer.status = read(OfferField::Status).map(|text| status::read(&text)).unwrap_or_default();
    offer.created_at = read(OfferField::CreatedAt).and_then(|text| moment::read(&text));
    offer.modified_at = read(OfferField::ModifiedAt).and_then(|text| moment::read(&text));
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
pub(super) fn price_of(
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

/// Fills the price columns and returns the headline price as stated: a greatest price beside it makes it a spread.
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
    Ok(match (headline, offer.price_max) {
        (Price::One(low), Some(high)) => Price::Spread { low, high },
        _ => headline,
    })
}

pub(super) fn read_ladder(
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
pub(super) struct Amount<'a> {
    pub(super) raw: Text<'a>,
    pub(super) reading: Option<Reading>,
}

pub(super) fn amount<'a>(
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

#[cfg(test)]
pub(super) mod tests;
