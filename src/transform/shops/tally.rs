//! What is counted of each shop while its offers pass by.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::extract::{Listed, ShopFacts};

use super::{Candidate, Earlier, Fetched, Known, names};

/// What is counted of one shop.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Offers whose record that counts is the shop's.
    pub(super) offers: i64,
    /// Those of them that the day before did not have.
    pub(super) new: i64,
    /// Those of them whose content is not that of the day before.
    pub(super) changed: i64,
    /// Offers that any record of today shows in the shop, also where another shop's record counts.
    pub(super) distinct: i64,
    /// Offers that a listing by changes did not show, those set aside not included: they are as they were.
    pub(super) unseen: i64,
    /// What is judged of the offers that today's records and a listing by changes leave it.
    pub(super) shares: Shares,
    /// A picture before has rows of it.
    pub(super) had_rows: bool,
    /// It has a row of its own, though nobody asked for it.
    is_found: bool,
}

/// How many offers pass the checks.
#[derive(Debug, Clone, Default)]
pub(super) struct Shares {
    pub(super) offers: i64,
    pub(super) sku_complete: i64,
    pub(super) price_complete: i64,
    /// Offers with anything that only an account with B2B data permission sees.
    pub(super) b2b: i64,
}

impl Shares {
    fn add(&mut self, sku_complete: bool, price_complete: bool, b2b: bool) {
        self.offers += 1;
        self.sku_complete += i64::from(sku_complete);
        self.price_complete += i64::from(price_complete);
        self.b2b += i64::from(b2b);
    }
}

/// What is counted of all shops.
#[derive(Debug)]
pub(super) struct Tallies {
    shops: HashMap<u32, Tally>,
    /// Shops that were listed by their changes.
    changed: HashSet<u32>,
    /// What the gateway says went off sale there.
    off_sale: HashSet<i64>,
    /// Items that an earlier attempt of the day was answered for: their shops have a row also where nothing is new.
    untouched: HashSet<i64>,
    pub(super) duplicates: i64,
    pub(super) unlisted_details: i64,
}

impl Tallies {
    pub(super) fn new(fetched: &Fetched<'_>, asked: &[ShopFacts]) -> Self {
        let changed = || asked.iter().filter(|facts| facts.listing == Listed::Changed);
        Self {
            shops: HashMap::new(),
            changed: changed().map(|facts| fetched.names.number(Some(&facts.shop_id))).collect(),
            off_sale: changed().flat_map(|facts| facts.off_sale.iter().copied()).collect(),
            untouched: fetched.facts.items_untouched.iter().copied().collect(),
            duplicates: 0,
            unlisted_details: 0,
        }
    }

    /// Counts an offer.
    pub(super) fn add(&mut self, fetched: &Fetched<'_>, known: &Known<'_>) {
        self.add_records(known.fetched);
        if let Some(winner) = known.winner().filter(|winner| winner.shop != names::NONE) {
            self.add_winner(fetched, winner, known);
        }
        let Some(kept) = known.kept.filter(|kept| kept.shop != names::NONE) else { return };
        let is_found = self.untouched.contains(&known.offer_id);
        let is_unseen = known.fetched.is_empty() && !kept.delisted && !self.off_sale.contains(&known.offer_id);
        let is_changed = self.changed.contains(&kept.shop);
        let tally = self.shops.entry(kept.shop).or_default();
        tally.had_rows = true;
        tally.is_found |= is_found;
        if is_unseen && is_changed {
            tally.unseen += i64::from(!fetched.set_aside.contains(&known.offer_id));
            tally.shares.add(kept.sku_complete, kept.price_complete, kept.price_complete);
        }
    }

    /// A detail is no record of its own beside a listing's: with it, one of these is no duplicate.
    fn add_records(&mut self, records: &[Candidate]) {
        let listed = records.iter().filter(|record| !record.is_detail).count();
        self.duplicates += i64::try_from(listed.saturating_sub(1)).unwrap_or(i64::MAX);
        self.unlisted_details += i64::from(listed == 0 && !records.is_empty());
        for (at, record) in records.iter().enumerate() {
            let is_first = records[..at].iter().all(|other| other.shop != record.shop);
            if record.shop != names::NONE && is_first {
                self.shops.entry(record.shop).or_default().distinct += 1;
            }
        }
    }

    fn add_winner(&mut self, fetched: &Fetched<'_>, winner: &Candidate, known: &Known<'_>) {
        let row: Option<Earlier> = known.kept.filter(|kept| fetched.keeps_detail(winner, kept));
        let hash = row.map_or(winner.content_hash, |row| row.content_hash);
        let before = known.before.filter(|before| !before.delisted);
        // Which SKUs were not answered, today's record says; that it has none, the detail may.
        let of_row = row.filter(|row| !fetched.calls_skus || row.without_skus);
        let sku = of_row.map_or(winner.sku_complete, |row| row.sku_complete);
        let price = row.map_or(winner.price_complete, |row| row.price_complete);
        let tally = self.shops.entry(winner.shop).or_default();
        tally.is_found = true;
        tally.offers += 1;
        tally.new += i64::from(before.is_none());
        tally.changed += i64::from(before.is_some_and(|before| before.content_hash != hash));
        tally.shares.add(sku, price, price || winner.moq_stated);
    }

    /// What was counted of a shop.
    pub(super) fn of(&self, fetched: &Fetched<'_>, shop_id: &str) -> Tally {
        self.shops.get(&fetched.names.number(Some(shop_id))).cloned().unwrap_or_default()
    }

    /// The shops that have a row though nobody asked for them, in the order of their ids.
    pub(super) fn found(&self, fetched: &Fetched<'_>, asked: &[ShopFacts]) -> BTreeMap<String, Tally> {
        let asked: HashSet<&str> = asked.iter().map(|facts| facts.shop_id.as_str()).collect();
        let found = self.shops.iter().filter(|(_, tally)| tally.is_found);
        let found = found.filter_map(|(number, tally)| Some((fetched.names.name(*number)?.to_string(), tally.clone())));
        found.filter(|(shop_id, _)| !asked.contains(shop_id.as_str())).collect()
    }
}
