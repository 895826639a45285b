//! Completeness: what was fetched against what the gateway says there is, shop by shop (WIRE §4, §5 "Completeness").
//!
//! Takes the facts of the extraction and, offer by offer, today's records and the rows of the pictures before; gives a
//! row of `shops` per shop ([`judge`]) and then, for each offer, what becomes of it ([`settle`]).
//!
//! | listing | an offer of the picture before that is absent |
//! |---|---|
//! | whole | is delisted where the listing is complete, else carried forward |
//! | a search within the shop | is no longer in the picture where the listing is complete, else carried forward |
//! | changed | is delisted where the gateway says that it went off sale, else carried forward |
//! | untouched | stays as it is, with its shop's row |
//!
//! Counts and rates are judged over what the picture will hold: of a shop that was listed by its changes also over the
//! offers carried forward, each as complete as its row says.
//!
//! Memory: a few numbers per shop; offers pass by, twice.
//!
//! Invariant: an offer is called delisted only where the listing of the whole shop is proven complete or the gateway says
//! so.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};

use crate::base::Result;
use crate::config::gateway::Completeness;
use crate::extract::{Listed, RunFacts, ShopFacts};

use super::join::{Candidate, Earlier, Keys, Known};
use super::names::{self, ShopNames};
use super::rows::ShopRow;
use super::sort::Sorted;

mod absent;
mod tally;

pub use absent::{Fate, Settled, settle};
use tally::{Shares, Tallies, Tally};

/// The picture before, as far as it decides about today's.
#[derive(Debug, Default)]
pub struct Previous {
    /// It is no longer kept: what went on from it is in the replaced picture, and in nothing else.
    pub is_expired: bool,
    /// Its offers.
    pub offers: Sorted<Earlier>,
    /// The offers of the picture of the same day that is replaced, where there is one: what an incomplete shop keeps.
    pub replaced: Option<Sorted<Earlier>>,
    /// The shops' rows of the replaced picture.
    pub replaced_shops: HashMap<String, ShopRow>,
    /// Its shops' watermarks.
    pub watermarks: HashMap<String, DateTime<Utc>>,
    /// Its shops' ids by the address the pipeline names them with.
    pub ids_by_url: HashMap<String, String>,
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
    /// Its records.
    pub records: &'a Sorted<Candidate>,
    /// The shops that records and rows name by their numbers.
    pub names: &'a ShopNames,
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
    /// Single offers that the gateway says are gone.
    pub gone: &'a HashSet<i64>,
    /// Details refused with a code that the definition does not know, per shop.
    pub refused_details: &'a BTreeMap<String, i64>,
    /// Which shops were listed.
    pub listings: Listings,
    /// Listings are searches within their shops: what one lacks may be in the shop.
    pub searches: bool,
    /// Incomplete shops keep their last rows.
    pub hold: bool,
    /// SKUs were asked for one by one: which an offer lacks, the record of today says.
    pub calls_skus: bool,
    /// Details were asked for: one that was not asked today stands as long as its offer is not modified.
    pub keeps_details: bool,
    /// … and what an older one says of an offer goes on, where its listing says nothing of it.
    pub reuses_details: bool,
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

impl<'a> Fetched<'a> {
    fn keys(&self, previous: &'a Previous) -> Keys<'a> {
        Keys { fetched: self.records, before: &previous.offers, replaced: previous.replaced.as_ref() }
    }

    /// Whether the row before of an offer listed today stands for it, because it was made of a detail that still holds: it
    /// was not asked for again, and the offer has not been modified since. Of an offer that does not say when it was
    /// modified, nothing is known to hold. A record that is this row already, with SKUs of today, stands itself.
    fn keeps_detail(&self, record: &Candidate, before: &Earlier) -> bool {
        let unmodified = before.modified_at == Some(record.modified_at) && before.shop == record.shop;
        let is_of_listing = !record.is_detail && !record.is_renewed;
        self.keeps_details && is_of_listing && before.detailed && !before.delisted && unmodified
    }

    /// Whether what the detail of the row before says goes on beside a listing of today.
    fn reuses_detail(&self, record: &Candidate, before: &Earlier) -> bool {
        let is_same = before.shop == record.shop && !before.delisted;
        let is_of_listing = !record.is_detail && !record.is_renewed;
        self.reuses_details && is_of_listing && before.detailed && is_same
    }
}

/// What is judged of the shops.
#[derive(Debug, Default)]
pub struct Verdict {
    /// A row per shop; what is carried and delisted is counted as it is settled.
    pub shops: Vec<ShopRow>,
    /// Shops whose rows stay as the replaced picture has them.
    pub untouched: HashSet<String>,
    /// Shops whose fetched rows are not published, with the reason.
    pub held: BTreeMap<String, String>,
    /// Records that lost against another record of the same offer.
    pub duplicates: i64,
    /// Details whose offers no other record of this run is about: they count as records themselves.
    pub unlisted_details: i64,
    listed: HashMap<String, absent::Listing>,
}

/// Judges every shop.
///
/// # Errors
/// [`crate::base::Kind::Storage`] when a temporary file cannot be read.
pub fn judge(fetched: &Fetched<'_>, previous: &Previous) -> Result<Verdict> {
    let asked = asked_shops(fetched.facts, previous);
    let mut tallies = Tallies::new(fetched, &asked);
    fetched.keys(previous).join(|known| {
        tallies.add(fetched, &known);
        Ok(())
    })?;
    let (duplicates, unlisted_details) = (tallies.duplicates, tallies.unlisted_details);
    let mut verdict = Verdict { duplicates, unlisted_details, ..Verdict::default() };
    for facts in &asked {
        if let (Listed::Untouched, Some(row)) = (facts.listing, previous.replaced_shops.get(&facts.shop_id)) {
            verdict.untouched.insert(facts.shop_id.clone());
            verdict.shops.push(row.clone());
            continue;
        }
        let shop = if fetched.listings == Listings::None { Shop::Single(facts) } else { Shop::Listed(facts) };
        verdict.listed.extend(shop.listed());
        verdict.shops.push(shop_row(fetched, previous, shop, &tallies.of(fetched, &facts.shop_id)));
    }
    for (shop_id, tally) in tallies.found(fetched, &asked) {
        let facts = found_shop(fetched, &shop_id);
        let shop = if fetched.listings == Listings::All { Shop::Listed(&facts) } else { Shop::Single(&facts) };
        verdict.listed.extend(shop.listed());
        verdict.shops.push(shop_row(fetched, previous, shop, &tally));
    }
    if fetched.hold {
        let had_rows = |shop_id: &str| tallies.of(fetched, shop_id).had_rows;
        hold(&mut verdict, had_rows);
    }
    Ok(verdict)
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

fn shop_row(fetched: &Fetched<'_>, previous: &Previous, shop: Shop<'_>, tally: &Tally) -> ShopRow {
    let (Shop::Listed(facts) | Shop::Single(facts)) = shop;
    let is_listed = matches!(shop, Shop::Listed(_));
    let shop = Some(facts.shop_id.clone());
    let count = |map: &BTreeMap<Option<String>, i64>| map.get(&shop).copied().unwrap_or(0);
    let completeness = fetched.completeness;
    let shares = &tally.shares;
    let checks_skus = is_listed && completeness.sku && fetched.skus_fetched;
    let sku_rate = checks_skus.then(|| rate(shares.sku_complete, shares.offers)).flatten();
    let price_rate = (is_listed && completeness.price).then(|| rate(shares.price_complete, shares.offers)).flatten();
    let official_count = official_count(fetched, facts);
    let reason = facts
        .incomplete_reason
        .clone()
        .or_else(|| untouchable(facts))
        .or_else(|| all_refused(fetched, facts, tally.distinct + tally.unseen))
        .or_else(|| {
            let counted = is_listed.then(|| tally.distinct + tally.unseen + count(fetched.quarantined));
            counted.and_then(|counted| wrong_count(completeness, official_count, counted))
        })
        .or_else(|| low_price_rate(completeness, price_rate, shares))
        .or_else(|| low_rate("SKU data", sku_rate, completeness.sku_rate_min));
    // Only a listing of the shop says that nothing before its start was missed.
    let watermark_at = match reason.is_none() && is_listed {
        true => Some(facts.watermark_at.unwrap_or(facts.started_at)),
        false => previous.watermarks.get(&facts.shop_id).copied(),
    };
    // Against what offers are new or changed is no longer known.
    let counted = previous.replaced_shops.get(&facts.shop_id).filter(|_| previous.is_expired);
    let (new_count, changed_count) =
        counted.map_or((tally.new, tally.changed), |row| (row.new_count, row.changed_count));
    ShopRow {
        gateway: fetched.gateway.to_owned(),
        shop_id: facts.shop_id.clone(),
        shop_name: facts.shop_name.clone().or_else(|| fetched.shop_names.get(&facts.shop_id).cloned()),
        shop_url: facts.shop_url.clone(),
        official_count,
        listed_count: count(fetched.listed),
        offer_count: tally.offers,
        new_count,
        changed_count,
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

/// A shop can be left as it is only where the day has a picture of it.
fn untouchable(facts: &ShopFacts) -> Option<String> {
    (facts.listing == Listed::Untouched).then(|| "it was not listed, and the day has no earlier rows of it".to_owned())
}

/// Fewer details may all be refused for what they are.
const REFUSED_TELLING: i64 = 5;

/// A gateway that refuses the details of all of a shop's offers with a code nobody knows has not said anything about any.
fn all_refused(fetched: &Fetched<'_>, facts: &ShopFacts, offers: i64) -> Option<String> {
    let refused = fetched.refused_details.get(&facts.shop_id).copied()?;
    (refused >= REFUSED_TELLING.max(offers)).then(|| {
        format!("each of the {refused} details was refused with a code that the gateway's definition does not know")
    })
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
fn rate(part: i64, whole: i64) -> Option<i64> {
    (whole > 0).then(|| part * 10_000 / whole)
}

/// Incomplete shops keep their last rows: what was fetched of them is set aside.
fn hold(verdict: &mut Verdict, had_rows: impl Fn(&str) -> bool) {
    for shop in &mut verdict.shops {
        let Some(reason) = &shop.incomplete_reason else { continue };
        if verdict.untouched.contains(&shop.shop_id) {
            continue;
        }
        verdict.held.insert(shop.shop_id.clone(), reason.clone());
        let kept = if had_rows(&shop.shop_id) { "its last rows are kept" } else { "it has no earlier rows" };
        shop.incomplete_reason = Some(format!("{reason}; held back, {kept}"));
        shop.quarantined_count += shop.offer_count;
        (shop.offer_count, shop.new_count, shop.changed_count) = (0, 0, 0);
    }
}

#[cfg(test)]
mod tests;
