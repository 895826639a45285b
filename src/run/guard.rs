//! What looks wrong about a day that is about to be published: shops whose offers would go, or whose prices would jump.
//!
//! Takes the files that are about to be published and the pictures before; gives a [`Finding`] per shop that looks
//! wrong. What is decided from two rows of an offer is pure.
//!
//! | an offer on sale before | counts as |
//! |---|---|
//! | is delisted, off sale, or absent from a shop that was listed | gone |
//! | is absent otherwise: the pipeline does not ask for it any more | nothing |
//! | has another price in the same unit | jumped, where the factor is reached |
//! | has another unit | jumped, where the prices of a piece reach the factor; nothing where they are not known |
//! | cost nothing | nothing: there is nothing to compare with |
//!
//! A day that is published anew is compared with its own picture, too: what one of the pictures bears out is no finding,
//! so that a fetch that repairs a wrong day is not held for being different from it.
//!
//! Invariant: nothing is found about a shop that no picture before has.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};

use crate::base::{Error, Result};
use crate::config::pipeline::Guard;
use crate::land::Finding;
use crate::land::hold::Suspect;
use crate::load::log::Entry;
use crate::store::Store;
use crate::transform::contract::Table;
use crate::transform::rows::ShopRow;

use super::pull::{Keyed, Rows, Side, side_by_side};

const COLUMNS: &[&str] = &["shop_id", "offer_id", "status", "unit", "price", "min_piece_price", "max_piece_price"];

/// A day that is about to be published.
pub(super) struct Draft<'a> {
    pub(super) store: &'a Store,
    /// Its files, as an entry of the publish log would name them.
    pub(super) entry: &'a Entry,
    /// Its shops.
    pub(super) shops: &'a [ShopRow],
    /// The shops of whose listing an absent offer is missing.
    pub(super) listed: &'a HashSet<String>,
}

/// What looks wrong against each of the pictures in `store` that know the shop. Blocks.
pub(super) fn findings(draft: &Draft<'_>, store: &Store, pictures: &[Entry], guard: &Guard) -> Result<Vec<Finding>> {
    let mut by_shop: BTreeMap<Option<Arc<str>>, Vec<Tally>> = BTreeMap::new();
    for picture in pictures {
        let before = Side { store, entry: Some(picture) };
        for (shop, tally) in tallies(draft, before, guard)? {
            by_shop.entry(shop).or_default().push(tally);
        }
    }
    let name = |shop: Option<&str>| {
        let row = draft.shops.iter().find(|row| Some(row.shop_id.as_str()) == shop)?;
        row.shop_name.clone()
    };
    let mut findings = Vec::new();
    for (shop, tallies) in by_shop {
        for (what, offers, of, share_max) in suspects(&tallies, guard) {
            let shop_id = shop.as_deref().map(str::to_owned);
            let shop_name = name(shop.as_deref());
            findings.push(Finding { shop_id, shop_name, what, offers, of, share_max });
        }
    }
    Ok(findings)
}

/// One shop against one picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    /// Offers that were on sale and were asked for.
    offers: u64,
    gone: u64,
    /// Prices that can be compared.
    prices: u64,
    jumped: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.offers += other.offers;
        self.gone += other.gone;
        self.prices += other.prices;
        self.jumped += other.jumped;
    }
}

/// What is wrong with a shop by every picture, in the numbers of the first.
fn suspects(tallies: &[Tally], guard: &Guard) -> Vec<(Suspect, u64, u64, f64)> {
    let gone = |tally: &Tally| (tally.gone, tally.offers, guard.drop_share_max);
    let jumped = |tally: &Tally| (tally.jumped, tally.prices, guard.price_share_max);
    let is_too_many = |(some, of, share_max)| some >= u64::from(guard.offers_min) && exceeds(some, of, share_max);
    let mut suspects = Vec::new();
    let factor = guard.price_factor;
    if tallies.iter().all(|tally| is_too_many(gone(tally))) {
        suspects.extend(tallies.first().map(gone).map(|(some, of, max)| (Suspect::Gone, some, of, max)));
    }
    if tallies.iter().all(|tally| is_too_many(jumped(tally))) {
        suspects.extend(tallies.first().map(jumped).map(|(some, of, max)| (Suspect::Prices { factor }, some, of, max)));
    }
    suspects
}

#[expect(clippy::cast_precision_loss, reason = "offers of one shop are far below 2^53")]
fn exceeds(some: u64, of: u64, share_max: f64) -> bool {
    some as f64 > share_max * of as f64
}

/// What of an offer matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Offer {
    shop_id: Option<Arc<str>>,
    offer_id: i64,
    on_sale: bool,
    unit: Option<Arc<str>>,
    /// Unscaled, as the next.
    price: Option<i128>,
    /// The lowest and the highest of its ladder.
    piece_prices: [Option<i128>; 2],
}

impl Keyed for Offer {
    fn key(&self) -> (Option<&str>, i64) {
        (self.shop_id.as_deref(), self.offer_id)
    }
}

fn tallies(draft: &Draft<'_>, before: Side<'_>, guard: &Guard) -> Result<BTreeMap<Option<Arc<str>>, Tally>> {
    let after = Side { store: draft.store, entry: Some(draft.entry) };
    let rows = Rows { table: Table::Offers, columns: Some(COLUMNS) };
    let mut tallies: BTreeMap<Option<Arc<str>>, Tally> = BTreeMap::new();
    side_by_side(before, after, rows, offers, |before, after| {
        let Some(before) = before.first() else { return Ok(()) };
        let is_listed = before.shop_id.as_deref().is_some_and(|shop| draft.listed.contains(shop));
        if let Some(one) = count(before, after.first(), is_listed, guard.price_factor) {
            tallies.entry(before.shop_id.clone()).or_default().add(one);
        }
        Ok(())
    })?;
    Ok(tallies)
}

/// One offer as it counts; `None`: as nothing.
fn count(before: &Offer, after: Option<&Offer>, is_listed: bool, factor: u32) -> Option<Tally> {
    if !before.on_sale {
        return None;
    }
    if after.is_none() && !is_listed {
        return None;
    }
    let Some(after) = after.filter(|offer| offer.on_sale) else {
        return Some(Tally { offers: 1, gone: 1, ..Tally::default() });
    };
    let jumped = has_jumped(before, after, factor);
    Some(Tally {
        offers: 1,
        prices: u64::from(jumped.is_some()),
        jumped: u64::from(jumped == Some(true)),
        ..Tally::default()
    })
}

/// Whether any of an offer's prices has become `factor` times as large or small: that per unit, or the lowest or highest per
/// piece of its ladder; `None`: none can be compared.
fn has_jumped(before: &Offer, after: &Offer, factor: u32) -> Option<bool> {
    let per_unit = before.price.zip(after.price).filter(|_| before.unit == after.unit);
    let per_piece = [0, 1].map(|end| before.piece_prices[end].zip(after.piece_prices[end]));
    let factor = i128::from(factor);
    let jumps = |(old, new): (i128, i128)| new >= old.saturating_mul(factor) || new.saturating_mul(factor) <= old;
    let comparable = std::iter::once(per_unit).chain(per_piece).flatten().filter(|(old, _)| *old > 0);
    comparable.map(jumps).reduce(|any, jumped| any || jumped)
}

fn offers(batch: &RecordBatch) -> Result<Vec<Offer>> {
    let column = |name: &str| batch.column_by_name(name).ok_or_else(broken);
    let text = |name| column(name)?.as_string_opt::<i32>().ok_or_else(broken);
    let money = |name| column(name)?.as_primitive_opt::<Decimal128Type>().ok_or_else(broken);
    let (shops, statuses, units) = (text("shop_id")?, text("status")?, text("unit")?);
    let ids = column("offer_id")?.as_primitive_opt::<Int64Type>().ok_or_else(broken)?;
    let (prices, piece_prices) = (money("price")?, [money("min_piece_price")?, money("max_piece_price")?]);
    let (mut shop, mut unit): (Option<Arc<str>>, Option<Arc<str>>) = (None, None);
    let rows = (0..batch.num_rows()).map(|row| {
        share(&mut shop, shops.is_valid(row).then(|| shops.value(row)));
        share(&mut unit, units.is_valid(row).then(|| units.value(row)));
        Offer {
            shop_id: shop.clone(),
            offer_id: ids.value(row),
            on_sale: statuses.value(row) == "on_sale",
            unit: unit.clone(),
            price: prices.is_valid(row).then(|| prices.value(row)),
            piece_prices: piece_prices.map(|prices| prices.is_valid(row).then(|| prices.value(row))),
        }
    });
    Ok(rows.collect())
}

/// Keeps the text of the row before where it is the same.
fn share(last: &mut Option<Arc<str>>, text: Option<&str>) {
    if last.as_deref() != text {
        *last = text.map(Arc::from);
    }
}

fn broken() -> Error {
    Error::data("a picture is not what its contract says")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(unit: &str, price: Option<i128>, piece_price: Option<i128>) -> Offer {
        let unit = Some(unit.into());
        Offer { shop_id: Some("a".into()), offer_id: 1, on_sale: true, unit, price, piece_prices: [piece_price; 2] }
    }

    #[test]
    fn a_price_jumps_by_its_factor_in_either_direction_and_only_where_it_can_be_compared() {
        let pieces = |price| offer("件", Some(price), None);
        for (old, new, expected) in [
            (100, 999, Some(false)),
            (100, 1000, Some(true)),
            (1000, 101, Some(false)),
            (1000, 100, Some(true)),
            (100, 0, Some(true)),
            (0, 100, None),
            (i128::MAX, 1, Some(true)),
        ] {
            assert_eq!(has_jumped(&pieces(old), &pieces(new), 10), expected, "{old} → {new}");
        }
        let (by_piece, by_box) = (offer("件", Some(5), Some(500)), offer("箱", Some(120), Some(500)));
        assert_eq!(has_jumped(&by_piece, &by_box, 10), Some(false), "a box of 24 costs 24 times as much");
        assert_eq!(has_jumped(&by_piece, &offer("箱", Some(120), None), 10), None);
        assert_eq!(has_jumped(&by_piece, &offer("箱", Some(120), Some(12_000)), 10), Some(true));
        assert_eq!(has_jumped(&offer("件", None, Some(500)), &offer("件", None, Some(5)), 10), Some(true));
        assert_eq!(has_jumped(&pieces(5), &offer("件", None, None), 10), None);
        let ladder = |lowest, highest| Offer { piece_prices: [Some(lowest), Some(highest)], ..pieces(100) };
        for (new, expected) in [(ladder(90, 100), false), (ladder(9_000, 10_000), true), (ladder(90, 10_000), true)] {
            assert_eq!(has_jumped(&ladder(90, 100), &new, 10), Some(expected), "the price per unit is the same");
        }
    }

    #[test]
    fn an_offer_counts_by_what_became_of_it() {
        let on_sale = offer("件", Some(100), None);
        let off_sale = Offer { on_sale: false, ..on_sale.clone() };
        let (dear, unknown) = (offer("件", Some(1000), None), offer("件", None, None));
        for (before, after, is_listed, expected) in [
            (&on_sale, Some(&on_sale), true, Some((1, 0, 1, 0))),
            (&on_sale, Some(&dear), true, Some((1, 0, 1, 1))),
            (&on_sale, Some(&unknown), true, Some((1, 0, 0, 0))),
            (&on_sale, Some(&off_sale), true, Some((1, 1, 0, 0))),
            (&on_sale, Some(&off_sale), false, Some((1, 1, 0, 0))),
            (&on_sale, None, true, Some((1, 1, 0, 0))),
            (&on_sale, None, false, None),
            (&off_sale, None, true, None),
            (&off_sale, Some(&dear), true, None),
        ] {
            let found = count(before, after, is_listed, 10);
            let found = found.map(|tally| (tally.offers, tally.gone, tally.prices, tally.jumped));
            assert_eq!(found, expected, "{before:?} → {after:?}, listed: {is_listed}");
        }
    }

    #[test]
    fn a_share_alarms_above_its_limit_and_from_so_many_offers_on() {
        let guard = Guard::default();
        let gone = |gone, offers| Tally { offers, gone, ..Tally::default() };
        for (tallies, expected) in [
            (&[gone(30, 100)][..], 0),
            (&[gone(31, 100)], 1),
            (&[gone(2, 2)], 0),
            (&[gone(4, 4)], 0),
            (&[gone(5, 5)], 1),
            (&[gone(31, 100), gone(0, 60)], 0),
            (&[gone(31, 100), gone(50, 100)], 1),
        ] {
            assert_eq!(suspects(tallies, &guard).len(), expected, "{tallies:?}");
        }
        let both = Tally { offers: 10, gone: 6, prices: 4, jumped: 4 };
        let all = Guard { offers_min: 1, ..guard };
        let expected = vec![(Suspect::Gone, 6, 10, 0.3), (Suspect::Prices { factor: 10 }, 4, 4, 0.3)];
        assert_eq!(suspects(&[both], &all), expected);
        let none = Guard { drop_share_max: 1.0, price_share_max: 1.0, ..all };
        assert_eq!(suspects(&[both], &none), []);
    }
}
