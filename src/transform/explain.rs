//! Why each column of an offer is what it is: field, bytes, rule, value (for `huopan explain`).
//!
//! Runs [`normalise`] itself and tells from the statuses and sources it left which rule applied.
//!
//! Invariant: nothing is computed here that a table shows.

use crate::base::Money;
use crate::base::json::Raw;

use super::fields::OfferField;
use super::ladder::LadderStatus;
use super::normalise::{Input, Rules, normalise};
use super::offer::{MoqSource, Offer, PriceSource, QuantityStatus, UnitSource};
use super::pack::PackSource;

/// Where one column comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<'a> {
    /// The column.
    pub column: &'static str,
    /// The canonical field it was read from.
    pub field: Option<OfferField>,
    /// What stands there.
    pub bytes: Option<Raw<'a>>,
    /// How the value was found.
    pub rule: &'static str,
    /// The value; empty for null.
    pub value: String,
}

/// Explains one record; of one that goes to quarantine, only why.
#[must_use]
pub fn explain<'a>(input: &Input<'_, 'a>, rules: &Rules) -> Vec<Step<'a>> {
    let mut offer = Offer::default();
    let mut told = Told { input, steps: Vec::new() };
    if let Err(reject) = normalise(input, rules, &mut offer) {
        let field = OfferField::ALL.iter().copied().find(|field| field.name() == reject.field);
        told.add("quarantine", field, reject.reason.name(), reject.value);
        return told.steps;
    }
    texts(&mut told, &offer);
    prices(&mut told, &offer);
    quantities(&mut told, &offer);
    counters(&mut told, &offer);
    told.tiers(&offer);
    told.steps
}

struct Told<'t, 'a> {
    input: &'t Input<'t, 'a>,
    steps: Vec<Step<'a>>,
}

impl Told<'_, '_> {
    fn add(&mut self, column: &'static str, field: impl Into<Option<OfferField>>, rule: &'static str, value: String) {
        let field = field.into();
        let bytes = field.and_then(|field| self.input.offer.get(field));
        self.steps.push(Step { column, field, bytes, rule, value });
    }

    fn has(&self, field: OfferField) -> bool {
        self.input.offer.get(field).is_some()
    }

    fn tiers(&mut self, offer: &Offer<'_>) {
        let field = match offer.price_source {
            PriceSource::Wholesale => Some(OfferField::Ladder),
            PriceSource::Channel => Some(OfferField::ChannelPrice),
            PriceSource::Headline => Some(OfferField::Price),
            PriceSource::Sku => Some(OfferField::Skus),
            PriceSource::None => None,
        };
        for tier in &offer.tiers {
            let to = show(tier.max_quantity);
            let each = tier.piece_price.map_or(String::new(), |price| format!(", {} a piece", decimal(price)));
            let of = tier.sku_id.map_or(String::new(), |sku| format!(" of SKU {sku}"));
            let value = format!("tier {}{of}: {}–{to} at {}{each}", tier.tier_no, tier.min_quantity, tier.unit_price);
            self.add("price_tiers", field, source_rule(offer.price_source), value);
        }
    }
}

fn show<T: ToString>(value: Option<T>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

/// A value in units of 10⁻⁶.
fn decimal(value: i64) -> String {
    format!("{}.{:06}", value / 1_000_000, value % 1_000_000)
}

fn texts(told: &mut Told<'_, '_>, offer: &Offer<'_>) {
    told.add("offer_id", OfferField::OfferId, "a positive integer, as number or text", offer.offer_id.to_string());
    let shop = told.has(OfferField::ShopId).then_some(OfferField::ShopId);
    let rule = if shop.is_some() { "as sent" } else { "the shop it was listed for" };
    told.add("shop_id", shop, rule, show(offer.shop_id.as_deref()));
    let title = if offer.title_truncated { "trimmed, cut after 200 user-perceived characters" } else { "trimmed" };
    told.add("title", OfferField::Title, title, show(offer.title.as_deref()));
    let brand = if told.has(OfferField::Brand) { OfferField::Brand } else { OfferField::Attributes };
    let rule = if brand == OfferField::Brand { "as sent" } else { "the attribute 品牌" };
    told.add("brand", brand, rule, show(offer.brand.as_deref()));
    for (column, field, value) in [
        ("shop_name", OfferField::ShopName, &offer.shop_name),
        ("category_id", OfferField::CategoryId, &offer.category_id),
        ("ship_from", OfferField::ShipFrom, &offer.ship_from),
        ("detail_url", OfferField::DetailUrl, &offer.detail_url),
        ("image_url", OfferField::ImageUrl, &offer.image_url),
        ("video_url", OfferField::VideoUrl, &offer.video_url),
    ] {
        told.add(column, field, "as sent", show(value.as_deref()));
    }
    told.add("status", OfferField::Status, "on sale unless its word says otherwise", offer.status.name().to_owned());
    let time = |micros: Option<i64>| show(micros.and_then(chrono::DateTime::from_timestamp_micros));
    let rule = "without a zone: Beijing time";
    told.add("created_at", OfferField::CreatedAt, rule, time(offer.created_at));
    told.add("modified_at", OfferField::ModifiedAt, rule, time(offer.modified_at));
}

fn prices(told: &mut Told<'_, '_>, offer: &Offer<'_>) {
    let price: &[(&str, OfferField, Option<Money>)] = &[
        ("price", OfferField::Price, offer.price),
        ("price_max", OfferField::PriceMax, offer.price_max),
        ("promotion_price", OfferField::PromotionPrice, offer.promotion_price),
        ("channel_price", OfferField::ChannelPrice, offer.channel_price),
        ("dropship_price", OfferField::DropshipPrice, offer.dropship_price),
        ("retail_price", OfferField::RetailPrice, offer.retail_price),
    ];
    for (column, field, value) in price {
        // The ends of a spread may stand in the headline price or in the ladder.
        let spread = value.is_some() && !told.has(*field);
        let headline = told.input.offer.get(OfferField::Price);
        let field = match spread {
            true if headline.is_some_and(|raw| has_two_numbers(raw.json())) => OfferField::Price,
            true => OfferField::Ladder,
            false => *field,
        };
        told.add(column, field, if spread { "an end of the spread" } else { "exact; 0 is missing" }, show(*value));
    }
    told.add("currency", OfferField::Currency, "CNY unless stated", offer.currency.clone().into_owned());
    told.add("quote_type", OfferField::QuoteType, "0 to 3", show(offer.quote_type));
    let ladder = ladder_rule(offer.ladder_status);
    told.add("ladder_status", OfferField::Ladder, ladder, offer.ladder_status.name().to_owned());
    told.add("price_source", None, source_rule(offer.price_source), offer.price_source.name().to_owned());
}

/// Whether a text states a spread: `18.96-19.90`.
fn has_two_numbers(text: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_digit() || matches!(letter, '.' | ',');
    text.split(|letter| !is_part(letter)).filter(|part| part.contains(|letter: char| letter.is_ascii_digit())).count()
        > 1
}

fn source_rule(source: PriceSource) -> &'static str {
    match source {
        PriceSource::Wholesale => "the ladder",
        PriceSource::Channel => "no ladder: the channel price",
        PriceSource::Sku => "the SKUs' own prices",
        PriceSource::Headline => "neither ladder nor channel price: the headline price",
        PriceSource::None => "no price that holds for a tier",
    }
}

fn ladder_rule(status: LadderStatus) -> &'static str {
    match status {
        LadderStatus::Ok => "no fault",
        LadderStatus::Single => "one tier",
        LadderStatus::DuplicateStart => "a start occurs twice",
        LadderStatus::Unordered => "starts do not ascend",
        LadderStatus::Overlap => "a step ends after the next one starts",
        LadderStatus::Gap => "a step ends before the next one starts, or has no price",
        LadderStatus::Rising => "a larger quantity costs more",
        LadderStatus::SkuSpread => "a spread of SKU prices, no ladder",
        LadderStatus::Unparsable => "no price could be read",
        LadderStatus::Missing => "no tiers",
    }
}

fn quantities(told: &mut Told<'_, '_>, offer: &Offer<'_>) {
    let (field, rule) = match offer.unit_source {
        UnitSource::SaleUnit => (Some(OfferField::SaleUnit), "the unit it is sold in"),
        UnitSource::Unit => (Some(OfferField::Unit), "no sale unit: the unit"),
        UnitSource::Ladder => (Some(OfferField::Ladder), "no unit field: the unit on the ladder's bounds"),
        UnitSource::Moq => (Some(OfferField::Moq), "no unit on the ladder: the unit in the MOQ's text"),
        UnitSource::Default => (None, "none stated: the definition's default"),
        UnitSource::None => (None, "none stated"),
    };
    told.add("unit", field, rule, show(offer.unit.as_deref()));
    let (field, rule) = match offer.pack_source {
        PackSource::UnitTable => (None, "the unit table"),
        PackSource::MoqText => (Some(OfferField::Moq), "stated in the MOQ's text"),
        PackSource::StockText => (Some(OfferField::Stock), "stated in the stock's text"),
        PackSource::Title => (Some(OfferField::Title), "stated in the title"),
        PackSource::Attribute if told.has(OfferField::Pack) => (Some(OfferField::Pack), "stated in its own field"),
        PackSource::Attribute => (Some(OfferField::Attributes), "stated in an attribute"),
        PackSource::BatchNumber => (Some(OfferField::BatchNumber), "one sale unit is that many units"),
        PackSource::Config => (None, "the pipeline's or the definition's word"),
        PackSource::None => (None, "no pack size is stated, or the unit is not countable"),
        PackSource::Conflict => (None, "two statements disagree"),
    };
    told.add("pieces_per_unit", field, rule, show(offer.pieces_per_unit));
    told.add("pack_source", None, rule, offer.pack_source.name().to_owned());
    let field = match offer.moq_source {
        MoqSource::Stated => Some(OfferField::Moq),
        MoqSource::Ladder => Some(OfferField::Ladder),
        MoqSource::None => None,
    };
    let rule = quantity_rule(offer.moq_status);
    told.add("moq_quantity", field, rule, show(offer.moq_quantity));
    told.add("moq_pieces", field, rule, show(offer.moq_pieces));
    told.add("moq_status", field, rule, offer.moq_status.name().to_owned());
    told.add("moq_source", field, rule, offer.moq_source.name().to_owned());
    let rule = quantity_rule(offer.stock_status);
    told.add("stock_pieces", OfferField::Stock, rule, show(offer.stock_pieces));
    told.add("stock_status", OfferField::Stock, rule, offer.stock_status.name().to_owned());
}

fn quantity_rule(status: QuantityStatus) -> &'static str {
    match status {
        QuantityStatus::Ok => "quantity × pieces of its unit",
        QuantityStatus::Missing => "not stated",
        QuantityStatus::Unlimited => "a sentinel for plenty",
        QuantityStatus::UnknownUnit => "no unit, or one that no table knows",
        QuantityStatus::UnknownPack => "a pack of unknown size",
        QuantityStatus::NotCountable => "a weight, length, area or volume",
        QuantityStatus::Conflict => "two statements of the pack size disagree",
        QuantityStatus::Unparsable => "not one whole number",
    }
}

fn counters(told: &mut Told<'_, '_>, offer: &Offer<'_>) {
    let rule = if offer.sales_is_lower_bound { "at least that many" } else { "this shop's, as stated" };
    told.add("sales_count", OfferField::Sales, rule, show(offer.sales_count));
    told.add("like_count", OfferField::LikeCount, "as stated", show(offer.like_count));
    told.add("comment_count", OfferField::CommentCount, "as stated", show(offer.comment_count));
    told.add("favorite_count", OfferField::FavoriteCount, "as stated", show(offer.favorite_count));
    let rate = offer.repurchase_rate.map(decimal);
    told.add("repurchase_rate", OfferField::RepurchaseRate, "scaled as the definition says", show(rate));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json;
    use crate::config::pipeline::Units;
    use crate::transform::fields::OfferFields;

    #[test]
    fn the_end_of_a_spread_is_told_from_the_field_that_states_it() {
        let raw = |text: &'static str| json::parse(text.as_bytes()).ok();
        for (price, ladder, expected) in
            [("\"18.96\"", Some("\"18.96-19.90\""), OfferField::Ladder), ("\"¥18.96-19.90\"", None, OfferField::Price)]
        {
            let mut fields = OfferFields::default();
            fields.0[OfferField::OfferId as usize] = raw("\"7\"");
            fields.0[OfferField::Title as usize] = raw("\"纸杯\"");
            fields.0[OfferField::Price as usize] = raw(price);
            fields.0[OfferField::Ladder as usize] = ladder.and_then(raw);
            let input = Input { shop_id: Some("s"), ..Input::alone(&fields) };
            let steps = explain(&input, &Rules::of_units(None, &Units::default()));
            let step = steps.iter().find(|step| step.column == "price_max").unwrap();
            assert_eq!((step.field, step.value.as_str()), (Some(expected), "19.9000"), "{price}");
        }
    }

    #[test]
    fn every_column_tells_its_field_its_bytes_and_its_rule() {
        let raw = |text: &'static str| json::parse(text.as_bytes()).ok();
        let mut fields = OfferFields::default();
        fields.0[OfferField::OfferId as usize] = raw("\"7\"");
        fields.0[OfferField::Title as usize] = raw("\"纸杯 24个/箱\"");
        fields.0[OfferField::Moq as usize] = raw("\"2箱起批\"");
        fields.0[OfferField::Ladder as usize] = raw("[[2,48],[10,36]]");
        let input = Input { shop_id: Some("s"), ..Input::alone(&fields) };
        let steps = explain(&input, &Rules::of_units(None, &Units::default()));
        let find = |column: &str| {
            let step = steps.iter().find(|step| step.column == column).unwrap();
            (step.field, step.bytes.map(Raw::json), step.rule, step.value.as_str())
        };
        assert_eq!(
            find("unit"),
            (Some(OfferField::Moq), Some("\"2箱起批\""), "no unit on the ladder: the unit in the MOQ's text", "箱")
        );
        assert_eq!(
            find("pieces_per_unit"),
            (Some(OfferField::Title), Some("\"纸杯 24个/箱\""), "stated in the title", "24")
        );
        assert_eq!(find("moq_pieces").3, "48");
        assert_eq!(find("shop_id"), (None, None, "the shop it was listed for", "s"));
        assert_eq!(find("price_tiers").3, "tier 1: 2–9 at 48.0000, 2.000000 a piece");
        assert_eq!(find("pack_source").3, "title");
    }

    #[test]
    fn a_record_in_quarantine_tells_why() {
        let mut fields = OfferFields::default();
        fields.0[OfferField::OfferId as usize] = json::parse(b"\"PRODUCT-REAL\"").ok();
        let input = Input::alone(&fields);
        let steps = explain(&input, &Rules::of_units(None, &Units::default()));
        let told: Vec<_> = steps.iter().map(|step| (step.column, step.field, step.rule)).collect();
        assert_eq!(told, [("quarantine", Some(OfferField::OfferId), "id_invalid")]);
    }
}
