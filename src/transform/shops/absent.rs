//! Offers of the picture before that were not fetched: carried forward, called delisted, or gone.
//!
//! Takes the shops' judgements; gives the verdict about each such offer, and counts it in its shop's row.
//!
//! Invariant: of the rows of the picture before, each goes on at most once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::extract::{Listed, ShopFacts};

use super::super::rows::ShopRow;
use super::{Fetched, Previous, PreviousOffer, Verdict};

/// How a shop was listed, as far as absence says something.
#[derive(Debug)]
pub(super) enum Listing {
    /// Whole: who is absent from a complete listing is gone.
    Whole,
    /// By what changed: only those are gone of whom the gateway says so.
    Changed { off_sale: HashSet<i64> },
}

impl Listing {
    pub(super) fn of(facts: &ShopFacts) -> Self {
        match facts.listing {
            Listed::Whole | Listed::Untouched => Self::Whole,
            Listed::Changed => Self::Changed { off_sale: facts.off_sale.iter().copied().collect() },
        }
    }
}

/// By shop that was listed by its changes: the offers that go on unless the shop is held.
pub(super) fn of_changed_shops<'p>(
    fetched: &Fetched<'_>,
    previous: &'p Previous,
    asked: &[ShopFacts],
) -> HashMap<String, Vec<(i64, &'p PreviousOffer)>> {
    let changed = || asked.iter().filter(|facts| facts.listing == Listed::Changed);
    let off_sale: HashSet<i64> = changed().flat_map(|facts| facts.off_sale.iter().copied()).collect();
    let mut shops: HashMap<String, Vec<_>> = changed().map(|facts| (facts.shop_id.clone(), Vec::new())).collect();
    if shops.is_empty() {
        return shops;
    }
    let seen: HashSet<i64> = fetched.winners.iter().map(|key| key.offer_id).collect();
    let unseen = |id: &i64, offer: &PreviousOffer| !offer.delisted && !seen.contains(id) && !off_sale.contains(id);
    for (&offer_id, offer) in previous.kept().iter().filter(|(id, offer)| unseen(id, offer)) {
        if let Some(shop) = offer.shop_id.as_deref().and_then(|shop_id| shops.get_mut(shop_id)) {
            shop.push((offer_id, offer));
        }
    }
    shops
}

/// What a shop's judgement means for its absent offers.
#[derive(Debug, Clone, Copy)]
enum Judged<'l> {
    /// The shop was not listed: each offer speaks for itself.
    Single,
    /// Nothing is known to be gone.
    Incomplete,
    /// Who is absent is gone.
    Complete,
    /// Who is in here is gone.
    Changed(&'l HashSet<i64>),
    /// Nothing changes.
    Untouched,
}

/// The judgement that holds for a shop's absent offers.
struct Judgements<'v> {
    listed: &'v HashMap<String, Listing>,
    untouched: &'v HashSet<String>,
    held: HashSet<&'v str>,
}

impl<'v> Judgements<'v> {
    fn of(&self, shop: Option<&ShopRow>) -> Judged<'v> {
        let Some(shop) = shop else { return Judged::Single };
        let shop_id = shop.shop_id.as_str();
        if self.untouched.contains(shop_id) {
            return Judged::Untouched;
        }
        if self.held.contains(shop_id) {
            return Judged::Incomplete;
        }
        match self.listed.get(shop_id) {
            None => Judged::Single,
            Some(Listing::Changed { off_sale }) => Judged::Changed(off_sale),
            Some(Listing::Whole) if shop.incomplete_reason.is_some() => Judged::Incomplete,
            Some(Listing::Whole) => Judged::Complete,
        }
    }
}

/// Decides about every offer of the picture before that was not fetched.
pub(super) fn carry(
    fetched: &Fetched<'_>,
    previous: &Previous,
    listed: &HashMap<String, Listing>,
    verdict: &mut Verdict,
) {
    let Verdict { shops, carried, kept, untouched, delisted, held } = verdict;
    let is_held = |shop_id: Option<&str>| shop_id.is_some_and(|shop_id| held.contains_key(shop_id));
    // What was fetched of a held shop does not count: its rows of the picture before go on.
    let counting = fetched.winners.iter().filter(|key| !is_held(key.shop_id.as_deref()));
    let seen: HashSet<i64> = counting.map(|key| key.offer_id).collect();
    kept.retain(|offer_id| seen.contains(offer_id));
    let unanswered: HashSet<i64> = fetched.facts.items_unanswered.iter().copied().collect();
    let untouched_items: HashSet<i64> = fetched.facts.items_untouched.iter().copied().collect();
    let mut shops: HashMap<String, &mut ShopRow> = shops.iter_mut().map(|shop| (shop.shop_id.clone(), shop)).collect();
    let judgements = Judgements { listed, untouched, held: held.keys().map(String::as_str).collect() };
    let absent = |offers: &'_ HashMap<i64, PreviousOffer>, is_delisted: bool| {
        let absent = offers.iter().filter(|(id, offer)| offer.delisted == is_delisted && !seen.contains(id));
        absent.map(|(id, offer)| (*id, offer.shop_id.clone())).collect::<Vec<_>>()
    };
    let set_aside = |offer_id: i64| fetched.set_aside.contains(&offer_id);
    let mut settle = |offers: Vec<(i64, Option<Arc<str>>)>,
                      into: &mut HashSet<i64>,
                      fits: &dyn Fn(i64, Judged<'_>) -> bool,
                      add: Counting| {
        for (offer_id, shop_id) in offers {
            let shop = shop_id.as_deref().and_then(|shop_id| shops.get_mut(shop_id));
            let judged = match judgements.of(shop.as_deref().map(|shop| &**shop)) {
                Judged::Single if untouched_items.contains(&offer_id) => Judged::Incomplete,
                judged => judged,
            };
            if fits(offer_id, judged) && into.insert(offer_id) {
                count(shop, judged, add);
            }
        }
    };
    let goes_on = |offer_id: i64, judged: Judged<'_>| match judged {
        Judged::Untouched | Judged::Incomplete => true,
        Judged::Complete => set_aside(offer_id),
        Judged::Changed(off_sale) => !off_sale.contains(&offer_id) || set_aside(offer_id),
        Judged::Single => unanswered.contains(&offer_id) || set_aside(offer_id),
    };
    settle(absent(previous.kept(), false), carried, &goes_on, |shop| {
        shop.carried_count += 1;
        shop.offer_count += 1;
    });
    // What the replaced picture of this day called delisted stays so, unless a whole listing says otherwise.
    let stays = |_: i64, judged: Judged<'_>| !matches!(judged, Judged::Single | Judged::Complete);
    let replaced = previous.replaced.iter().flat_map(|offers| absent(offers, true)).collect();
    settle(replaced, carried, &stays, |shop| shop.delisted_count += 1);
    let is_gone = |offer_id: i64, judged: Judged<'_>| {
        let gone = match judged {
            Judged::Untouched | Judged::Incomplete => false,
            Judged::Complete => fetched.completeness.count,
            Judged::Changed(off_sale) => off_sale.contains(&offer_id),
            Judged::Single => fetched.gone.contains(&offer_id),
        };
        gone && !set_aside(offer_id) && !carried.contains(&offer_id)
    };
    settle(absent(&previous.offers, false), delisted, &is_gone, |shop| shop.delisted_count += 1);
}

/// How an offer is counted in its shop's row.
type Counting = fn(&mut ShopRow);

/// Counts in a shop's row, which of an untouched shop stays as it was.
fn count(shop: Option<&mut &mut ShopRow>, judged: Judged<'_>, add: Counting) {
    if let (Some(shop), false) = (shop, matches!(judged, Judged::Untouched)) {
        add(shop);
    }
}
