//! Steps of a ladder as tiers: quantities in sale units, pieces, piece prices (TABLES.md `price_tiers`).
//!
//! Invariant: a tier says nothing that its step and the pack size do not say; `min ≤ max` wherever there is a max.

use crate::base::Money;

use super::ladder::{LadderStatus, Shape, Step};
use super::offer::{PriceSource, Tier};
use super::pack::{Known, Pieces};
use super::quantity::StatedUnit;
use super::unit::UnitId;

/// The unit that prices and quantities are stated in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaleUnit {
    /// Its entry in the table, if it has one.
    pub id: Option<UnitId>,
    /// How many of that: 千个 is 1 000 个.
    pub times: i64,
    /// The pieces in it.
    pub pieces: Pieces,
}

impl SaleUnit {
    /// The pieces in it, if they are known.
    #[must_use]
    pub fn pieces_per_unit(&self) -> Option<i64> {
        match self.pieces {
            Pieces::Known { count, .. } => Some(count),
            _ => None,
        }
    }

    /// The pieces of one stated unit.
    #[must_use]
    pub fn pieces_of(&self, stated: StatedUnit, known: &Known<'_>) -> Pieces {
        match stated {
            StatedUnit::None => self.pieces,
            StatedUnit::Known(unit) if self.is(unit) => self.pieces,
            StatedUnit::Known(unit) => known.pieces(Some(unit)),
            StatedUnit::Unknown => Pieces::UnknownUnit,
        }
    }

    /// `quantity` of a stated unit in sale units; `None` where that is not exact or not known.
    #[must_use]
    pub fn quantity_of(&self, quantity: i64, stated: StatedUnit, known: &Known<'_>) -> Option<i64> {
        match stated {
            StatedUnit::None => Some(quantity),
            StatedUnit::Known(unit) if self.is(unit) => Some(quantity),
            StatedUnit::Known(unit) => {
                let Pieces::Known { count, .. } = known.pieces(Some(unit)) else { return None };
                let pieces = quantity.checked_mul(count)?;
                let per_unit = self.pieces_per_unit()?;
                (pieces % per_unit == 0).then_some(pieces / per_unit)
            }
            // A word the table does not have is the sale unit if that is such a word too.
            StatedUnit::Unknown => self.id.is_none().then_some(quantity),
        }
    }

    fn is(&self, unit: UnitId) -> bool {
        self.id == Some(unit) && self.times == 1
    }
}

/// Converts bounds that are stated in another unit than the sale unit, in place.
/// `None` where one cannot be: such a ladder is unparsable rather than guessed.
#[must_use]
pub fn in_sale_units(steps: &mut [Step], sale: &SaleUnit, known: &Known<'_>) -> Option<()> {
    // A unit glued to one bound of one step holds for the bounds without any.
    let shared = steps.iter().map(|step| step.unit).find(|unit| *unit != StatedUnit::None).unwrap_or(StatedUnit::None);
    for step in steps {
        let unit = if step.unit == StatedUnit::None { shared } else { step.unit };
        let convert = |bound: Option<i64>| match bound {
            Some(bound) => sale.quantity_of(bound, unit, known).map(Some),
            None => Some(None),
        };
        // An end names its last quantity: up to 119 pieces is up to 119 ÷ 24 = 4 boxes only where that is exact.
        step.start = convert(step.start)?;
        step.end = convert(step.end)?;
    }
    Some(())
}

/// What [`append`] adds rows for.
#[derive(Debug, Clone, Copy)]
pub struct Ladder<'s> {
    /// The steps, in sale units.
    pub steps: &'s [Step],
    /// Where the single step of a ladder without starts begins: the MOQ or 1.
    pub moq: i64,
    /// `None`: it holds for the whole offer.
    pub sku_id: Option<i64>,
    /// Where its prices come from.
    pub source: PriceSource,
    /// Pieces in one sale unit.
    pub pieces_per_unit: Option<i64>,
}

/// Adds one tier per step.
pub fn append(ladder: &Ladder<'_>, tiers: &mut Vec<Tier>) {
    let start_of = |step: &Step| step.start.unwrap_or(ladder.moq);
    for (tier_no, (index, step)) in (1..).zip(ladder.steps.iter().enumerate()) {
        let min = start_of(step);
        let next = ladder.steps.get(index + 1).map(start_of);
        let stated = step.end.filter(|end| *end >= min);
        let max = stated.or(next.filter(|next| *next > min).map(|next| next - 1));
        // 1–4 boxes of 24 reach to 119 pieces if the next tier starts at 5 boxes.
        let reaches_next = max.is_some_and(|max| next == max.checked_add(1));
        let pieces = |quantity: Option<i64>| quantity?.checked_mul(ladder.pieces_per_unit?);
        let max_pieces = if reaches_next { pieces(next).map(|pieces| pieces - 1) } else { pieces(max) };
        tiers.push(Tier {
            sku_id: ladder.sku_id,
            tier_no,
            min_quantity: min,
            max_quantity: max,
            min_pieces: pieces(Some(min)),
            max_pieces,
            unit_price: step.price,
            piece_price: ladder.pieces_per_unit.and_then(|pieces| step.price.per_piece(pieces)),
            price_source: ladder.source,
        });
    }
}

/// A ladder of one price.
#[must_use]
pub fn one_price(price: Money) -> Step {
    Step { start: None, end: None, unit: StatedUnit::None, price }
}

/// The status of an offer whose ladder is `shape`, after its tiers came from `source`.
#[must_use]
pub fn fallback_status(shape: Shape, source: PriceSource) -> LadderStatus {
    match (shape, source) {
        (Shape::Spread { .. }, _) => LadderStatus::SkuSpread,
        // 面议: the fallback gives a tier, the ladder stays what it is.
        (Shape::Unparsable, _) => LadderStatus::Unparsable,
        (_, PriceSource::None) => LadderStatus::Missing,
        _ => LadderStatus::Single,
    }
}
