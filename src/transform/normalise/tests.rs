//! The rulings of WIRE §5, each as a case: records are written with the canonical names as keys.

use std::fmt::Write;

use crate::base::{Money, json};
use crate::config::pipeline;

use super::super::ladder::LadderStatus;
use super::super::offer::{PriceSource, QuantityStatus};
use super::*;

mod laws;
mod rulings;

/// Rules with a default unit, as portals has one, or without.
pub(in crate::transform) fn rules(default_unit: Option<&str>) -> Rules {
    Rules::of_units(default_unit, &pipeline::Units::default())
}

pub(in crate::transform) fn fields_of<'a, const N: usize>(raw: Raw<'a>, names: &[&str]) -> [Option<Raw<'a>>; N] {
    let mut fields = [None; N];
    for (name, value) in raw.entries() {
        let index = names.iter().position(|known| *known == name).unwrap_or_else(|| panic!("no field `{name}`"));
        fields[index] = Some(value).filter(|value| !value.is_empty_value());
    }
    fields
}

/// Normalises a record whose keys are canonical names; `offer_id` is added where it is missing.
fn run_with(record: &str, rules: &Rules, source: SkuSource) -> Result<Offer<'static>, Reject> {
    run_keeping(record, rules, source, &[])
}

/// The same with SKUs of the picture before.
fn run_keeping(record: &str, rules: &Rules, source: SkuSource, kept: &[KeptSku]) -> Result<Offer<'static>, Reject> {
    let record =
        if record.contains("offer_id") { record.to_owned() } else { record.replacen('{', "{\"offer_id\":1,", 1) };
    let record = record.replacen(",}", "}", 1);
    let raw = json::parse(Box::leak(record.into_boxed_str()).as_bytes()).unwrap();
    let fields = OfferFields(fields_of(raw, crate::config::gateway::OFFER_FIELDS));
    let skus: Vec<SkuFields<'_>> = fields.get(OfferField::Skus).map_or(Vec::new(), |skus| {
        skus.elements().map(|sku| SkuFields(fields_of(sku, crate::config::gateway::SKU_FIELDS))).collect()
    });
    let input = Input {
        offer: &fields,
        skus: &skus,
        shop_id: Some("b2b-configured"),
        sku_source: source,
        kept,
        kept_counts: true,
    };
    let mut offer = Offer::default();
    normalise(&input, rules, &mut offer).map(|()| offer)
}

fn run(record: &str) -> Offer<'static> {
    run_with(record, &rules(None), SkuSource::Nested).unwrap()
}

/// `unit pieces_per_unit pack_source`
fn unit(offer: &Offer<'_>) -> String {
    let pieces = offer.pieces_per_unit.map_or("-".to_owned(), |pieces| pieces.to_string());
    format!("{} {pieces} {}", offer.unit.as_deref().unwrap_or("-"), offer.pack_source.name())
}

/// `quantity pieces status source`
fn moq(offer: &Offer<'_>) -> String {
    let number = |value: Option<i64>| value.map_or("-".to_owned(), |value| value.to_string());
    format!(
        "{} {} {} {}",
        number(offer.moq_quantity),
        number(offer.moq_pieces),
        offer.moq_status.name(),
        offer.moq_source.name()
    )
}

fn stock(offer: &Offer<'_>) -> String {
    format!("{} {}", offer.stock_pieces.map_or("-".to_owned(), |pieces| pieces.to_string()), offer.stock_status.name())
}

/// `status source: [sku] min-max (pieces) price (piece price)`
fn tiers(offer: &Offer<'_>) -> String {
    let number = |value: Option<i64>| value.map_or(String::new(), |value| value.to_string());
    let mut out = format!("{} {}:", offer.ladder_status.name(), offer.price_source.name());
    for tier in &offer.tiers {
        let sku = tier.sku_id.map_or(String::new(), |sku| format!("[{sku}]"));
        write!(out, " {sku}{}-{}", tier.min_quantity, number(tier.max_quantity)).unwrap();
        if let Some(min) = tier.min_pieces {
            write!(out, "({min}-{})", number(tier.max_pieces)).unwrap();
        }
        write!(out, "={}", short(tier.unit_price.to_string())).unwrap();
        if let Some(piece_price) = tier.piece_price {
            let text = format!("{}.{:06}", piece_price / 1_000_000, piece_price % 1_000_000);
            write!(out, "({})", short(text)).unwrap();
        }
    }
    out
}

fn short(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
