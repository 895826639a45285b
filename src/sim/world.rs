//! The world on one day: every shop with its offers, ready to be listed.
//!
//! Built once per day; answers only look things up.
//!
//! Invariant: a pure function of (recipe, shop sizes, date).

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;

use super::history::History;
use super::lives::Place;
use super::offers::{Offer, Recipe, offer};
use super::random::mix;
use super::titles::{CATEGORIES, shop_name};

/// One shop on one day.
#[derive(Debug)]
pub(super) struct Shop {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) url: String,
    /// By place.
    pub(super) offers: Vec<Offer>,
    /// Indexes of `offers`, best sold first.
    pub(super) by_sales: Vec<usize>,
    /// Indexes of `offers`, by modified time and id.
    pub(super) by_modified: Vec<usize>,
    /// Indexes of `offers`, in an order that means nothing and stays.
    pub(super) by_nothing: Vec<usize>,
}

impl Shop {
    /// Category ids and names.
    pub(super) fn categories(&self) -> impl Iterator<Item = (i64, &'static str)> {
        CATEGORIES.iter().copied()
    }

    /// Whether `text` names this shop: its id, its name, its address or the address' first label.
    pub(super) fn is_named(&self, text: &str) -> bool {
        let bare = |url: &str| -> String {
            let url = url.trim().trim_start_matches("https://").trim_start_matches("http://");
            url.trim_end_matches('/').to_owned()
        };
        let (own, asked) = (bare(&self.url), bare(text));
        text == self.id || text == self.name || own == asked || own.strip_suffix(".1688.com") == Some(asked.as_str())
    }
}

/// What a world is built from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blueprint<'a> {
    pub(super) seed: u64,
    pub(super) mess_per_mille: u64,
    /// One shop for each.
    pub(super) sizes: &'a [usize],
    /// By the shop's number.
    pub(super) histories: &'a BTreeMap<usize, History>,
}

impl Blueprint<'_> {
    fn recipe(&self, shop: usize) -> Recipe {
        Recipe { seed: self.seed, mess_per_mille: self.mess_per_mille, history: self.histories.get(&shop).copied() }
    }
}

/// The world on one day.
#[derive(Debug)]
pub(super) struct Day {
    pub(super) seed: u64,
    pub(super) date: NaiveDate,
    pub(super) shops: Vec<Shop>,
    by_offer: HashMap<i64, (usize, usize)>,
    by_sku: HashMap<i64, (usize, usize, usize)>,
}

impl Day {
    /// Builds the world of `date`. A few microseconds per offer.
    pub(super) fn build(blueprint: Blueprint<'_>, date: NaiveDate) -> Self {
        let sizes = blueprint.sizes.iter().enumerate();
        let shops: Vec<Shop> =
            sizes.map(|(number, &size)| build_shop(blueprint.recipe(number), number, size, date)).collect();
        let (mut by_offer, mut by_sku) = (HashMap::new(), HashMap::new());
        for (shop, offers) in shops.iter().map(|shop| &shop.offers).enumerate() {
            for (at, offer) in offers.iter().enumerate() {
                by_offer.insert(offer.id, (shop, at));
                by_sku.extend(offer.skus.iter().enumerate().map(|(number, sku)| (sku.id, (shop, at, number))));
            }
        }
        Self { seed: blueprint.seed, date, shops, by_offer, by_sku }
    }

    /// The shop that `text` names.
    pub(super) fn shop(&self, text: &str) -> Option<&Shop> {
        self.shops.iter().find(|shop| shop.is_named(text))
    }

    /// An offer and its shop.
    pub(super) fn offer(&self, id: i64) -> Option<(&Shop, &Offer)> {
        let &(shop, at) = self.by_offer.get(&id)?;
        Some((&self.shops[shop], &self.shops[shop].offers[at]))
    }

    /// The shop that has a SKU.
    pub(super) fn shop_of_sku(&self, id: i64) -> Option<&Shop> {
        self.by_sku.get(&id).map(|&(shop, ..)| &self.shops[shop])
    }

    /// A SKU and its offer; the number is its place among the offer's SKUs.
    pub(super) fn sku(&self, id: i64) -> Option<(&Offer, usize)> {
        let &(shop, at, number) = self.by_sku.get(&id)?;
        Some((&self.shops[shop].offers[at], number))
    }
}

fn build_shop(recipe: Recipe, number: usize, size: usize, date: NaiveDate) -> Shop {
    let (id, url) = identity(recipe.seed, number);
    let offers: Vec<Offer> = (0..size).map(|slot| offer(recipe, Place { shop: number, slot }, date)).collect();
    let mut by_sales: Vec<usize> = (0..size).collect();
    by_sales.sort_by_key(|&at| (std::cmp::Reverse(offers[at].sales), offers[at].id));
    let mut by_modified: Vec<usize> = (0..size).collect();
    by_modified.sort_by_key(|&at| (offers[at].modified_at, offers[at].id));
    let mut by_nothing: Vec<usize> = (0..size).collect();
    by_nothing.sort_by_key(|&at| mix(recipe.seed, &[32, offers[at].id.unsigned_abs()]));
    Shop { id, name: shop_name(recipe.seed, number), url, offers, by_sales, by_modified, by_nothing }
}

/// Both kinds of member id and the three forms of address (WIRE §1 "Requests") in turn.
fn identity(seed: u64, number: usize) -> (String, String) {
    let digits = 10_000_000_000_000 + mix(seed, &[30, number as u64]) % 80_000_000_000_000;
    let id = if number.is_multiple_of(2) { format!("b2b-22{digits}de") } else { format!("22{digits}") };
    let url = match number % 4 {
        1 => format!("https://winport.m.1688.com/page/index.html?memberId={id}&tab=offer"),
        2 => format!("https://m.1688.com/winport/shop/{id}.html"),
        _ => format!("https://shop{}.1688.com", 10_000_000 + mix(seed, &[31, number as u64]) % 80_000_000),
    };
    (id, url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day() -> Day {
        let date = NaiveDate::from_ymd_opt(2026, 11, 20).expect("a date");
        let (sizes, histories) = ([40, 30, 20, 10], BTreeMap::new());
        Day::build(Blueprint { seed: 7, mess_per_mille: 300, sizes: &sizes, histories: &histories }, date)
    }

    #[test]
    fn a_shop_is_found_by_id_name_address_and_first_label() {
        let day = day();
        let shop = &day.shops[0];
        let label = shop.url.trim_start_matches("https://").trim_end_matches(".1688.com").to_owned();
        for text in [shop.id.clone(), shop.name.clone(), shop.url.clone(), format!("{}/", shop.url), label] {
            assert_eq!(day.shop(&text).map(|shop| &shop.id), Some(&shop.id), "{text}");
        }
        assert!(day.shop("nobody").is_none());
    }

    #[test]
    fn member_ids_have_sixteen_digits_with_and_without_the_frame() {
        for shop in day().shops {
            let digits = shop.id.trim_start_matches("b2b-").trim_end_matches("de").to_owned();
            assert!(digits.len() == 16 && digits.starts_with("22"), "{}", shop.id);
        }
    }

    #[test]
    fn offers_and_skus_are_found_by_id_and_listed_in_order() {
        let day = day();
        let shop = &day.shops[0];
        assert!(shop.offers.iter().all(|offer| day.offer(offer.id).is_some_and(|(_, found)| found == offer)));
        let with_skus = shop.offers.iter().find(|offer| !offer.skus.is_empty()).expect("an offer with SKUs");
        assert_eq!(day.sku(with_skus.skus[1].id).map(|(offer, number)| (offer.id, number)), Some((with_skus.id, 1)));
        assert!(shop.by_modified.windows(2).all(|w| shop.offers[w[0]].modified_at <= shop.offers[w[1]].modified_at));
        assert!(shop.by_sales.windows(2).all(|w| shop.offers[w[0]].sales >= shop.offers[w[1]].sales));
    }
}
