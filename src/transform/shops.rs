//! Completeness: what was fetched against what the gateway says there is, shop by shop (WIRE §4, §5 "Completeness").
//!
//! Takes the facts of the extraction, the winning records' keys and the picture before; gives a row of `shops` per
//! shop and, for the picture before, which rows to carry forward and which to call delisted.
//!
//! | listing | an offer of the picture before that is absent |
//! |---|---|
//! | whole | is delisted where the listing is complete, else carried forward |
//! | changed | is delisted where the gateway says that it went off sale, else carried forward |
//! | untouched | stays as it is, with its shop's row |
//!
//! Counts and rates are judged over what the picture will hold: of a shop that was listed by its changes also over the
//! offers carried forward, each as complete as its row says.
//!
//! Invariant: an offer is called delisted only where the listing is proven complete or the gateway says so.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};

use crate::config::gateway::Completeness;
use crate::extract::{Listed, RunFacts, ShopFacts};

use super::chunk::Key;
use super::rows::ShopRow;

mod absent;

/// The picture before, as far as it decides about today's.
#[derive(Debug, Default)]
pub struct Previous {
    /// Its day; `None`: there is none.
    pub dt: Option<NaiveDate>,
    /// Its offers.
    pub offers: HashMap<i64, PreviousOffer>,
    /// The offers of the picture of the same day that is replaced, where there is one: what an incomplete shop keeps.
    pub replaced: Option<HashMap<i64, PreviousOffer>>,
    /// The shops' rows of the replaced picture.
    pub replaced_shops: HashMap<String, ShopRow>,
    /// Its shops' watermarks.
    pub watermarks: HashMap<String, DateTime<Utc>>,
    /// Its shops' ids by the address the pipeline names them with.
    pub ids_by_url: HashMap<String, String>,
}

/// One offer of the picture before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreviousOffer {
    /// Its shop.
    pub shop_id: Option<Arc<str>>,
    /// Its content.
    pub content_hash: i64,
    /// When it was modified last, in µs.
    pub modified_at: Option<i64>,
    /// Its row was made of its detail.
    pub detailed: bool,
    /// It has SKU rows, or none by its quote type. Whether the SKUs it named then all had a row is not kept.
    pub sku_complete: bool,
    /// Its row has a wholesale, spread or channel price.
    pub price_complete: bool,
    /// It was called delisted there.
    pub delisted: bool,
}

impl Previous {
    /// The offers that go on where today shows nothing newer: those of the replaced picture, else of the day before.
    fn kept(&self) -> &HashMap<i64, PreviousOffer> {
        self.replaced.as_ref().unwrap_or(&self.offers)
    }
}

/// What a run fetched, as far as it decides about completeness.
#[derive(Debug)]
pub struct Fetched<'a> {
    /// The value of the `gateway` column.
    pub gateway: &'a str,
    /// The end of the extraction.
    pub facts: &'a RunFacts,
    /// Which checks apply.
    pub completeness: &'a Completeness,
    /// SKU data was asked for.
    pub skus_fetched: bool,
    /// The records that count, one per offer.
    pub winners: Vec<&'a Key>,
    /// Listing records per shop, duplicates included.
    pub listed: &'a BTreeMap<Option<String>, i64>,
    /// Totals that the answers themselves state, where the facts have none.
    pub totals: &'a BTreeMap<String, i64>,
    /// The shops' names as offers state them.
    pub shop_names: &'a BTreeMap<String, String>,
    /// Records set aside per shop.
    pub quarantined: &'a BTreeMap<Option<String>, i64>,
    /// Offers that an answer held but that were set aside: they are there, whatever they say.
    pub set_aside: &'a HashSet<i64>,
    /// Distinct offers per shop, also those that another shop's record won.
    pub distinct: &'a BTreeMap<String, i64>,
    /// Single offers that the gateway says are gone.
    pub gone: &'a HashSet<i64>,
    /// Which shops were listed.
    pub listings: Listings,
    /// Incomplete shops keep their last rows.
    pub hold: bool,
    /// Details were asked for: one that was not asked today stands as long as its offer is not modified.
    pub keeps_details: bool,
}

/// Which shops' records come from listings of the whole shop; the others' are single offers, which are complete when
/// each is answered, gone or set aside: counts and rates say nothing about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listings {
    /// Those that the facts name: the pipeline asked for them.
    Named,
    /// Every shop that is found.
    All,
    /// None.
    None,
}

/// What becomes of shops and of the rows of the picture before.
#[derive(Debug, Default, PartialEq)]
pub struct Verdict {
    /// A row per shop; carried and delisted counts are filled in.
    pub shops: Vec<ShopRow>,
    /// Offers of the picture before that go on into today's.
    pub carried: HashSet<i64>,
    /// Offers listed today whose rows of the picture before go on, because they were made of a detail that still holds.
    pub kept: HashSet<i64>,
    /// Shops whose rows stay as the replaced picture has them.
    pub untouched: HashSet<String>,
    /// Offers of the picture before that are delisted today.
    pub delisted: HashSet<i64>,
    /// Shops whose fetched rows are not published, with the reason.
    pub held: BTreeMap<String, String>,
}

/// Judges every shop.
#[must_use]
pub fn judge(fetched: &Fetched<'_>, previous: &Previous) -> Verdict {
    let mut verdict = Verdict { kept: kept_details(fetched, previous), ..Verdict::default() };
    let mut by_shop: BTreeMap<&str, Vec<&Key>> = BTreeMap::new();
    for key in &fetched.winners {
        if let Some(shop_id) = &key.shop_id {
            by_shop.entry(shop_id).or_default().push(key);
        }
    }
    // The shops of items that an earlier attempt of the day was answered for have a row also where nothing is new.
    let untouched = fetched.facts.items_untouched.iter().filter_map(|id| previous.kept().get(id));
    for shop_id in untouched.filter_map(|offer| offer.shop_id.as_deref()) {
        by_shop.entry(shop_id).or_default();
    }
    let asked = asked_shops(fetched.facts, previous);
    let unseen = absent::of_changed_shops(fetched, previous, &asked);
    let mut listed = HashMap::new();
    for facts in &asked {
        let keys = by_shop.remove(facts.shop_id.as_str()).unwrap_or_default();
        if let (Listed::Untouched, Some(row)) = (facts.listing, previous.replaced_shops.get(&facts.shop_id)) {
            verdict.untouched.insert(facts.shop_id.clone());
            verdict.shops.push(row.clone());
            continue;
        }
        let shop = if fetched.listings == Listings::None { Shop::Single(facts) } else { Shop::Listed(facts) };
        listed.extend(shop.listed());
        let offers = Offers { fetched: &keys, carried: unseen.get(&facts.shop_id).map_or(&[], Vec::as_slice) };
        verdict.shops.push(shop_row(fetched, previous, shop, &offers, &verdict.kept));
    }
    for (shop_id, keys) in by_shop {
        let facts = found_shop(fetched, shop_id);
        let shop = if fetched.listings == Listings::All { Shop::Listed(&facts) } else { Shop::Single(&facts) };
        listed.extend(shop.listed());
        let offers = Offers { fetched: &keys, carried: &[] };
        verdict.shops.push(shop_row(fetched, previous, shop, &offers, &verdict.kept));
    }
    if fetched.hold {
        hold(&mut verdict, previous);
    }
    absent::carry(fetched, previous, &listed, &mut verdict);
    verdict
}

/// The offers listed today whose details of the picture before still hold: they were not asked for again, and the offer
/// has not been modified since. Of an offer that does not say when it was modified, nothing is known to hold.
fn kept_details(fetched: &Fetched<'_>, previous: &Previous) -> HashSet<i64> {
    if !fetched.keeps_details {
        return HashSet::new();
    }
    let holds = |key: &&&Key| {
        previous.kept().get(&key.offer_id).is_some_and(|offer| {
            let unmodified = offer.modified_at == Some(key.modified_at) && offer.shop_id == key.shop_id;
            offer.detailed && !offer.delisted && unmodified
        })
    };
    fetched.winners.iter().filter(|key| !key.is_detail).filter(holds).map(|key| key.offer_id).collect()
}

/// What a shop's row is judged over.
struct Offers<'o> {
    /// Today's records.
    fetched: &'o [&'o Key],
    /// The offers that a listing by changes did not show: they are as they were.
    carried: &'o [(i64, &'o PreviousOffer)],
}

/// A shop, and how its records came.
#[derive(Debug, Clone, Copy)]
enum Shop<'f> {
    Listed(&'f ShopFacts),
    Single(&'f ShopFacts),
}

impl Shop<'_> {
    /// The shop's id and how it was listed; `None`: its records are single offers.
    fn listed(self) -> Option<(String, absent::Listing)> {
        match self {
            Shop::Listed(facts) => Some((facts.shop_id.clone(), absent::Listing::of(facts))),
            Shop::Single(_) => None,
        }
    }
}

/// The shops that were asked for, each once: two addresses may lead to one shop.
fn asked_shops(facts: &RunFacts, previous: &Previous) -> Vec<ShopFacts> {
    let mut shops: Vec<ShopFacts> = Vec::with_capacity(facts.shops.len());
    for facts in &facts.shops {
        let facts = known_shop(facts, previous);
        match shops.iter_mut().find(|shop| shop.shop_id == facts.shop_id) {
            None => shops.push(facts.into_owned()),
            Some(known) => {
                known.calls_used += facts.calls_used;
                known.finished_at = known.finished_at.max(facts.finished_at);
                known.official_count = known.official_count.or(facts.official_count);
                if known.incomplete_reason.is_some() && facts.incomplete_reason.is_none() {
                    known.incomplete_reason = None;
                    (known.listing, known.watermark_at) = (facts.listing, facts.watermark_at);
                }
                known.off_sale.extend(&facts.off_sale);
            }
        }
    }
    shops
}

/// A shop whose address could not be resolved today stands under its address: it keeps the id it had before, so that
/// its rows are carried forward.
fn known_shop<'f>(facts: &'f ShopFacts, previous: &Previous) -> Cow<'f, ShopFacts> {
    match previous.ids_by_url.get(&facts.shop_id) {
        Some(shop_id) => Cow::Owned(ShopFacts { shop_id: shop_id.clone(), ..facts.clone() }),
        None => Cow::Borrowed(facts),
    }
}

/// A shop that only the answers name.
fn found_shop(fetched: &Fetched<'_>, shop_id: &str) -> ShopFacts {
    let unanswered = fetched.facts.items_unanswered.len();
    ShopFacts {
        shop_id: shop_id.to_owned(),
        shop_name: None,
        shop_url: None,
        official_count: fetched.totals.get(shop_id).copied(),
        incomplete_reason: (unanswered > 0).then(|| format!("{unanswered} of the items asked for were not answered")),
        calls_used: 0,
        started_at: fetched.facts.started_at,
        finished_at: fetched.facts.finished_at,
        ..ShopFacts::default()
    }
}

fn shop_row(
    fetched: &Fetched<'_>,
    previous: &Previous,
    shop: Shop<'_>,
    offers: &Offers<'_>,
    kept: &HashSet<i64>,
) -> ShopRow {
    let (Shop::Listed(facts) | Shop::Single(facts)) = shop;
    let is_listed = matches!(shop, Shop::Listed(_));
    let shop = Some(facts.shop_id.clone());
    let count = |map: &BTreeMap<Option<String>, i64>| map.get(&shop).copied().unwrap_or(0);
    let completeness = fetched.completeness;
    let shares = Shares::of(offers, previous, kept);
    let checks_skus = is_listed && completeness.sku && fetched.skus_fetched;
    let sku_rate = checks_skus.then(|| rate(shares.sku_complete, shares.offers)).flatten();
    let price_rate = (is_listed && completeness.price).then(|| rate(shares.price_complete, shares.offers)).flatten();
    let official_count = official_count(fetched, facts);
    let reason = facts
        .incomplete_reason
        .clone()
        .or_else(|| untouchable(facts))
        .or_else(|| {
            let counted = is_listed.then(|| there_are(fetched, facts, offers) + count(fetched.quarantined));
            counted.and_then(|counted| wrong_count(completeness, official_count, counted))
        })
        .or_else(|| low_price_rate(completeness, price_rate, &shares))
        .or_else(|| low_rate("SKU data", sku_rate, completeness.sku_rate_min));
    let keys = offers.fetched;
    let before = |key: &Key| previous.offers.get(&key.offer_id).filter(|offer| !offer.delisted);
    let hash = |key: &Key| match previous.kept().get(&key.offer_id) {
        Some(offer) if kept.contains(&key.offer_id) => offer.content_hash,
        _ => key.content_hash,
    };
    let changed = |key: &&&Key| before(key).is_some_and(|offer| offer.content_hash != hash(key));
    // Only a listing of the shop says that nothing before its start was missed.
    let watermark_at = match reason.is_none() && is_listed {
        true => Some(facts.watermark_at.unwrap_or(facts.started_at)),
        false => previous.watermarks.get(&facts.shop_id).copied(),
    };
    ShopRow {
        gateway: fetched.gateway.to_owned(),
        shop_id: facts.shop_id.clone(),
        shop_name: facts.shop_name.clone().or_else(|| fetched.shop_names.get(&facts.shop_id).cloned()),
        shop_url: facts.shop_url.clone(),
        official_count,
        listed_count: count(fetched.listed),
        offer_count: length(keys.len()),
        new_count: length(keys.iter().filter(|key| before(key).is_none()).count()),
        changed_count: length(keys.iter().filter(changed).count()),
        carried_count: 0,
        delisted_count: 0,
        quarantined_count: count(fetched.quarantined),
        sku_complete_rate: sku_rate,
        price_complete_rate: price_rate,
        watermark_at,
        incomplete_reason: reason,
        calls_used: facts.calls_used,
        started_at: facts.started_at,
        finished_at: facts.finished_at,
    }
}

/// The gateway's own count. What the pages of a listing state is that of a shop only where the shop was listed whole.
fn official_count(fetched: &Fetched<'_>, facts: &ShopFacts) -> Option<i64> {
    let stated = || fetched.totals.get(&facts.shop_id).copied().filter(|_| facts.listing == Listed::Whole);
    facts.official_count.or_else(stated)
}

/// The offers that the shop is known to have, those set aside not included.
fn there_are(fetched: &Fetched<'_>, facts: &ShopFacts, offers: &Offers<'_>) -> i64 {
    let carried = offers.carried.iter().filter(|(offer_id, _)| !fetched.set_aside.contains(offer_id)).count();
    fetched.distinct.get(&facts.shop_id).copied().unwrap_or(0) + length(carried)
}

/// A shop can be left as it is only where the day has a picture of it.
fn untouchable(facts: &ShopFacts) -> Option<String> {
    (facts.listing == Listed::Untouched).then(|| "it was not listed, and the day has no earlier rows of it".to_owned())
}

/// How many offers pass the checks.
#[derive(Default)]
struct Shares {
    offers: usize,
    sku_complete: usize,
    price_complete: usize,
    /// Offers with anything that only an account with B2B data permission sees.
    b2b: usize,
}

impl Shares {
    fn of(offers: &Offers<'_>, previous: &Previous, kept: &HashSet<i64>) -> Self {
        let mut shares = Self::default();
        for key in offers.fetched {
            let row = previous.kept().get(&key.offer_id).filter(|_| kept.contains(&key.offer_id));
            let (sku, price) =
                row.map_or((key.sku_complete, key.price_complete), |row| (row.sku_complete, row.price_complete));
            shares.add(sku, price, price || key.moq_stated);
        }
        for (_, offer) in offers.carried {
            shares.add(offer.sku_complete, offer.price_complete, offer.price_complete);
        }
        shares
    }

    fn add(&mut self, sku_complete: bool, price_complete: bool, b2b: bool) {
        self.offers += 1;
        self.sku_complete += usize::from(sku_complete);
        self.price_complete += usize::from(price_complete);
        self.b2b += usize::from(b2b);
    }
}

/// The count check: official count against distinct offers fetched (or known to be as they were), those set aside
/// included.
fn wrong_count(completeness: &Completeness, official_count: Option<i64>, offers: i64) -> Option<String> {
    if !completeness.count {
        return None;
    }
    let Some(official) = official_count else {
        return Some("the official count is unknown".to_owned());
    };
    let tolerance = i64::try_from(completeness.count_tolerance).unwrap_or(i64::MAX);
    let off = (official - offers).abs();
    (off > tolerance).then(|| format!("the official count is {official}, fetched were {offers} offers"))
}

fn low_price_rate(completeness: &Completeness, rate: Option<i64>, shares: &Shares) -> Option<String> {
    let low = low_rate("a wholesale price", rate, completeness.price_rate_min)?;
    if shares.b2b > 0 {
        return Some(low);
    }
    Some("no offer has a wholesale price or MOQ: the account lacks the B2B data permission".to_owned())
}

fn low_rate(what: &str, rate: Option<i64>, least: i64) -> Option<String> {
    let percent = |rate: i64| format!("{}.{:02} %", rate / 100, rate % 100);
    let rate = rate.filter(|rate| *rate < least)?;
    Some(format!("{} of the offers have {what}, {} are needed", percent(rate), percent(least)))
}

/// A share in units of 10⁻⁴, rounded down; `None` of nothing.
fn rate(part: usize, whole: usize) -> Option<i64> {
    (whole > 0).then(|| length(part) * 10_000 / length(whole))
}

/// Incomplete shops keep their last rows: what was fetched of them is set aside.
fn hold(verdict: &mut Verdict, previous: &Previous) {
    let had_rows: HashSet<&str> = previous.kept().values().filter_map(|offer| offer.shop_id.as_deref()).collect();
    for shop in &mut verdict.shops {
        let Some(reason) = &shop.incomplete_reason else { continue };
        if verdict.untouched.contains(&shop.shop_id) {
            continue;
        }
        verdict.held.insert(shop.shop_id.clone(), reason.clone());
        let kept =
            if had_rows.contains(shop.shop_id.as_str()) { "its last rows are kept" } else { "it has no earlier rows" };
        shop.incomplete_reason = Some(format!("{reason}; held back, {kept}"));
        shop.quarantined_count += shop.offer_count;
        (shop.offer_count, shop.new_count, shop.changed_count) = (0, 0, 0);
    }
}

fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
