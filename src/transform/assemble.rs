//! The second half of [`normalise`](super::normalise()): with the units known, quantities become pieces, SKU
//! records rows, and prices tiers.
//!
//! Invariant: tiers come from one source, which each of them names.

use crate::base::Money;

use super::fields::OfferField;
use super::fields::{SkuField, SkuFields};
use super::id::{self, AllRead};
use super::kept::KeptSku;
use super::ladder::{self, LadderStatus, Shape, Step};
use super::normalise::{Input, SkuSource, amount, price_of, read_ladder, reject};
use super::offer::{MoqSource, Offer, PriceSource, QuantityStatus, Reject, RejectReason, Scratch, Sku};
use super::pack::{Known, PackSource, Pieces};
use super::price::Price;
use super::quantity::{Reading, StatedUnit};
use super::rules::Rules;
use super::text;
use super::tiers::{self, Ladder, SaleUnit};

/// Stock figures that mean "plenty" (WIRE §2).
const UNLIMITED: [i64; 2] = [2_147_483_647, 1_000_000_000];

/// What the tiers may be made of.
pub(super) struct Prices {
    pub(super) shape: Shape,
    pub(super) headline: Price,
}

/// The offer's units, once they are known.
#[derive(Clone, Copy)]
pub(super) struct Context<'c> {
    pub(super) rules: &'c Rules,
    pub(super) known: Known<'c>,
    pub(super) sale: SaleUnit,
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
    pub(super) fn moq(&self, reading: Option<Reading>, steps: &[Step], offer: &mut Offer<'_>) {
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
    pub(super) fn stock(&self, reading: Option<Reading>) -> (Option<i64>, QuantityStatus) {
        match reading {
            None => (None, QuantityStatus::Missing),
            Some(Reading { value: None, .. }) => (None, QuantityStatus::Unparsable),
            Some(Reading { value: Some(value), .. }) if UNLIMITED.contains(&value) => (None, QuantityStatus::Unlimited),
            Some(Reading { value: Some(0), .. }) => (Some(0), QuantityStatus::Ok),
            Some(Reading { value: Some(value), unit }) => self.in_pieces(value, unit),
        }
    }

    pub(super) fn skus<'a>(
        &self,
        input: &Input<'_, 'a>,
        offer: &mut Offer<'a>,
        scratch: &mut Scratch,
    ) -> Result<(), Reject> {
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
        if let (Some(raw), AllRead::No, false) = (named, all_read, input.sku_source == SkuSource::NotAsked) {
            // Nobody can ask for them.
            offer.rejected_skus.push(reject(RejectReason::IdInvalid, OfferField::SkuIds.name(), raw));
        }
        if offer.named_skus.is_empty() && named.is_none() {
            offer.named_skus.extend(offer.skus.iter().map(|sku| sku.sku_id));
        }
        let mut goes_on = false;
        if named.is_some() {
            let names = |kept: &&KeptSku| offer.named_skus.contains(&kept.sku.sku_id);
            let missing = unanswered(input).filter(names).map(|kept| kept.sku.clone()).collect::<Vec<_>>();
            goes_on = !missing.is_empty();
            offer.skus.extend(missing);
        }
        let has_row = |id: &i64| offer.skus.iter().any(|sku| sku.sku_id == *id);
        let all_there = !offer.named_skus.is_empty()
            && (input.kept_counts || !goes_on)
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
    pub(super) fn tiers(
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
        self.sku_prices(input, offer, scratch)?;
        Ok(if offer.tiers.len() > before { PriceSource::Sku } else { PriceSource::None })
    }

    fn append_sku(&self, steps: &[Step], sku_id: i64, offer: &mut Offer<'_>) {
        if offer.tiers.iter().any(|tier| tier.sku_id == Some(sku_id)) {
            return;
        }
        let ladder = self.ladder(steps, Some(sku_id), PriceSource::Sku, offer.moq_quantity);
        tiers::append(&ladder, &mut offer.tiers);
    }

    /// A tier for every SKU with a price and without tiers.
    fn sku_prices(&self, input: &Input<'_, '_>, offer: &mut Offer<'_>, scratch: &mut Scratch) -> Result<(), Reject> {
        for fields in input.skus {
            if let Some((sku_id, price)) = self.sku_price(fields, scratch)? {
                self.append_sku(&[tiers::one_price(price)], sku_id, offer);
            }
        }
        for kept in going_on(input, offer) {
            // The price of its tier, where it has one, may have been its channel price, which has no column.
            let price = kept.sku.price.or(kept.steps.first().map(|step| step.price));
            if let Some(price) = price {
                self.append_sku(&[tiers::one_price(price)], kept.sku.sku_id, offer);
            }
        }
        Ok(())
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
        for kept in going_on(input, offer) {
            // A single tier was a ladder of its own only where SKUs are quoted so; else it was the SKU's price.
            if kept.steps.len() > 1 || (!kept.steps.is_empty() && offer.quote_type == Some(3)) {
                let judged = ladder::judge(&kept.steps, 0);
                status = Some(status.map_or(judged, |status| worse(status, judged)));
                self.append_sku(&kept.steps, kept.sku.sku_id, offer);
            } else {
                later = true;
            }
        }
        if status.is_some() && later {
            // Beside ladders of their own, tiers go on as they were.
            for kept in going_on(input, offer).into_iter().filter(|kept| !kept.steps.is_empty()) {
                self.append_sku(&kept.steps, kept.sku.sku_id, offer);
            }
            self.sku_prices(input, offer, scratch)?;
        }
        Ok(status)
    }
}

/// The SKUs of the picture before that today's answers do not hold.
fn unanswered<'i>(input: &Input<'i, '_>) -> impl Iterator<Item = &'i KeptSku> {
    let skus = input.skus;
    let answered = move |kept: &KeptSku| {
        skus.iter().any(|fields| fields.get(SkuField::SkuId).and_then(id::read) == Some(kept.sku.sku_id))
    };
    input.kept.iter().filter(move |kept| !answered(kept))
}

/// Those of them that have a row of the offer.
fn going_on<'i>(input: &Input<'i, '_>, offer: &Offer<'_>) -> Vec<&'i KeptSku> {
    let has_row = |kept: &&KeptSku| offer.skus.iter().any(|sku| sku.sku_id == kept.sku.sku_id);
    unanswered(input).filter(has_row).collect()
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
