//! Completeness: what was fetched against what the gateway says there is, shop by shop (WIRE §4, §5 "Completeness").
//!
//! Takes the facts of the extraction, the winning records' keys and the picture before; gives a row of `shops` per
//! shop and, for the picture before, which rows to carry forward and which to call delisted.
//!
//! Invariant: an offer is called delisted only where the listing is proven complete or the gateway says so.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};

use crate::config::gateway::Completeness;
use crate::extract::{RunFacts, ShopFacts};

use super::chunk::Key;
use super::rows::ShopRow;

/// The picture before, as far as it decides about today's.
#[derive(Debug, Default)]
pub struct Previous {
    /// Its day; `None`: there is none.
    pub dt: Option<NaiveDate>,
    /// Its offers.
    pub offers: HashMap<i64, PreviousOffer>,
    /// The offers of the picture of the same day that is replaced, where there is one: what an incomplete shop keeps.
    pub replaced: Option<HashMap<i64, PreviousOffer>>,
    /// Its shops' watermarks.
    pub watermarks: HashMap<String, DateTime<Utc>>,
    /// Its shops' ids by the address the pipeline names them with.
    pub ids_by_url: HashMap<String, String>,
}

/// One offer of the picture before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousOffer {
    /// Its shop.
    pub shop_id: Option<Arc<str>>,
    /// Its content.
    pub content_hash: i64,
    /// It was called delisted there.
    pub delisted: bool,
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
    /// Offers of the picture before that are delisted today.
    pub delisted: HashSet<i64>,
    /// Shops whose fetched rows are not published, with the reason.
    pub held: BTreeMap<String, String>,
}

/// Judges every shop.
#[must_use]
pub fn judge(fetched: &Fetched<'_>, previous: &Previous) -> Verdict {
    let mut verdict = Verdict::default();
    let mut by_shop: BTreeMap<&str, Vec<&Key>> = BTreeMap::new();
    for key in &fetched.winners {
        if let Some(shop_id) = &key.shop_id {
            by_shop.entry(shop_id).or_default().push(key);
        }
    }
    let mut listed = HashSet::new();
    for facts in asked_shops(fetched.facts, previous) {
        let keys = by_shop.remove(facts.shop_id.as_str()).unwrap_or_default();
        let shop = if fetched.listings == Listings::None { Shop::Single(&facts) } else { Shop::Listed(&facts) };
        listed.extend(shop.listed_id());
        verdict.shops.push(shop_row(fetched, previous, shop, &keys));
    }
    for (shop_id, keys) in by_shop {
        let facts = found_shop(fetched, shop_id);
        let shop = if fetched.listings == Listings::All { Shop::Listed(&facts) } else { Shop::Single(&facts) };
        listed.extend(shop.listed_id());
        verdict.shops.push(shop_row(fetched, previous, shop, &keys));
    }
    if fetched.hold {
        hold(&mut verdict, previous);
    }
    carry(fetched, previous, &listed, &mut verdict);
    verdict
}

/// A shop, and how its records came.
#[derive(Debug, Clone, Copy)]
enum Shop<'f> {
    Listed(&'f ShopFacts),
    Single(&'f ShopFacts),
}

impl Shop<'_> {
    fn listed_id(self) -> Option<String> {
        match self {
            Shop::Listed(facts) => Some(facts.shop_id.clone()),
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
                if facts.incomplete_reason.is_none() {
                    known.incomplete_reason = None;
                }
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

fn shop_row(fetched: &Fetched<'_>, previous: &Previous, shop: Shop<'_>, keys: &[&Key]) -> ShopRow {
    let (Shop::Listed(facts) | Shop::Single(facts)) = shop;
    let is_listed = matches!(shop, Shop::Listed(_));
    let shop = Some(facts.shop_id.clone());
    let count = |map: &BTreeMap<Option<String>, i64>| map.get(&shop).copied().unwrap_or(0);
    let distinct = fetched.distinct.get(&facts.shop_id).copied().unwrap_or(0);
    let completeness = fetched.completeness;
    let share = |complete: fn(&Key) -> bool| rate(keys.iter().filter(|key| complete(key)).count(), keys.len());
    let checks_skus = is_listed && completeness.sku && fetched.skus_fetched;
    let sku_rate = checks_skus.then(|| share(|key| key.sku_complete)).flatten();
    let price_rate = (is_listed && completeness.price).then(|| share(|key| key.price_complete)).flatten();
    let official_count = facts.official_count.or_else(|| fetched.totals.get(&facts.shop_id).copied());
    let reason = facts
        .incomplete_reason
        .clone()
        .or_else(|| {
            if is_listed {
                wrong_count(completeness, official_count, distinct + count(fetched.quarantined))
            } else {
                None
            }
        })
        .or_else(|| low_price_rate(completeness, price_rate, keys))
        .or_else(|| low_rate("SKU data", sku_rate, completeness.sku_rate_min));
    let before = |key: &&&Key| previous.offers.get(&key.offer_id).filter(|offer| !offer.delisted);
    let old_watermark = previous.watermarks.get(&facts.shop_id).copied();
    ShopRow {
        gateway: fetched.gateway.to_owned(),
        shop_id: facts.shop_id.clone(),
        shop_name: facts.shop_name.clone().or_else(|| fetched.shop_names.get(&facts.shop_id).cloned()),
        shop_url: facts.shop_url.clone(),
        official_count,
        listed_count: count(fetched.listed),
        offer_count: length(keys.len()),
        new_count: length(keys.iter().filter(|key| before(key).is_none()).count()),
        changed_count: length(
            keys.iter().filter(|key| before(key).is_some_and(|offer| offer.content_hash != key.content_hash)).count(),
        ),
        carried_count: 0,
        delisted_count: 0,
        quarantined_count: count(fetched.quarantined),
        sku_complete_rate: sku_rate,
        price_complete_rate: price_rate,
        // Only a listing of the whole shop says that nothing before its start was missed.
        watermark_at: if reason.is_none() && is_listed { Some(facts.started_at) } else { old_watermark },
        incomplete_reason: reason,
        calls_used: facts.calls_used,
        started_at: facts.started_at,
        finished_at: facts.finished_at,
    }
}

/// The count check: official count against distinct offers fetched, those set aside included.
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

fn low_price_rate(completeness: &Completeness, rate: Option<i64>, keys: &[&Key]) -> Option<String> {
    let low = low_rate("a wholesale price", rate, completeness.price_rate_min)?;
    if keys.iter().any(|key| key.price_complete || key.moq_stated) {
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
    let kept = previous.replaced.as_ref().unwrap_or(&previous.offers);
    let had_rows: HashSet<&str> = kept.values().filter_map(|offer| offer.shop_id.as_deref()).collect();
    for shop in &mut verdict.shops {
        let Some(reason) = &shop.incomplete_reason else { continue };
        verdict.held.insert(shop.shop_id.clone(), reason.clone());
        let kept =
            if had_rows.contains(shop.shop_id.as_str()) { "its last rows are kept" } else { "it has no earlier rows" };
        shop.incomplete_reason = Some(format!("{reason}; held back, {kept}"));
        shop.quarantined_count += shop.offer_count;
        (shop.offer_count, shop.new_count, shop.changed_count) = (0, 0, 0);
    }
}

/// Decides about every offer of the picture before that was not fetched.
fn carry(fetched: &Fetched<'_>, previous: &Previous, listed: &HashSet<String>, verdict: &mut Verdict) {
    let seen: HashSet<i64> = fetched
        .winners
        .iter()
        .filter(|key| key.shop_id.as_deref().is_none_or(|shop_id| !verdict.held.contains_key(shop_id)))
        .map(|key| key.offer_id)
        .collect();
    let unanswered: HashSet<i64> = fetched.facts.items_unanswered.iter().copied().collect();
    let mut shops: HashMap<String, &mut ShopRow> =
        verdict.shops.iter_mut().map(|shop| (shop.shop_id.clone(), shop)).collect();
    let absent = |offers: &'_ HashMap<i64, PreviousOffer>| -> Vec<(i64, Option<Arc<str>>)> {
        let absent = offers.iter().filter(|(id, offer)| !offer.delisted && !seen.contains(id));
        absent.map(|(id, offer)| (*id, offer.shop_id.clone())).collect()
    };
    // Whether a shop is judged as a whole, and how.
    let judged = |shop: Option<&ShopRow>| {
        let shop = shop.filter(|shop| listed.contains(&shop.shop_id) || verdict.held.contains_key(&shop.shop_id));
        shop.map(|shop| shop.incomplete_reason.is_none())
    };
    for (offer_id, shop_id) in absent(previous.replaced.as_ref().unwrap_or(&previous.offers)) {
        let mut shop = shop_id.as_deref().and_then(|shop_id| shops.get_mut(shop_id));
        let there = fetched.set_aside.contains(&offer_id);
        let carried = match judged(shop.as_deref().map(|shop| &**shop)) {
            Some(complete) => !complete || there,
            None => unanswered.contains(&offer_id) || there,
        };
        if carried {
            verdict.carried.insert(offer_id);
            if let Some(shop) = &mut shop {
                shop.carried_count += 1;
                shop.offer_count += 1;
            }
        }
    }
    // What the replaced picture of this day called delisted stays so, unless a whole listing says otherwise.
    for (&offer_id, offer) in
        previous.replaced.iter().flatten().filter(|(id, offer)| offer.delisted && !seen.contains(id))
    {
        let mut shop = offer.shop_id.as_deref().and_then(|shop_id| shops.get_mut(shop_id));
        if judged(shop.as_deref().map(|shop| &**shop)) == Some(false) {
            verdict.carried.insert(offer_id);
            if let Some(shop) = &mut shop {
                shop.delisted_count += 1;
            }
        }
    }
    for (offer_id, shop_id) in absent(&previous.offers) {
        let mut shop = shop_id.as_deref().and_then(|shop_id| shops.get_mut(shop_id));
        let delisted = match judged(shop.as_deref().map(|shop| &**shop)) {
            Some(complete) => complete && fetched.completeness.count,
            None => fetched.gone.contains(&offer_id),
        };
        if delisted && !fetched.set_aside.contains(&offer_id) && !verdict.carried.contains(&offer_id) {
            verdict.delisted.insert(offer_id);
            if let Some(shop) = &mut shop {
                shop.delisted_count += 1;
            }
        }
    }
}

fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
