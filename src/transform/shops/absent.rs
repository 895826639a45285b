//! What becomes of each offer: its record of today stands, or its row of a picture before goes on, is called delisted,
//! or is gone.
//!
//! Takes the shops' judgements; gives the fate of each offer, and counts it in its shop's row.
//!
//! Invariant: of the rows of the pictures before, each goes on at most once.

use std::collections::{HashMap, HashSet};

use crate::base::Result;
use crate::extract::{Listed, ShopFacts};
use crate::transform::picture::Origin;
use crate::transform::rows::ShopRow;

use super::{Candidate, Earlier, Fetched, Known, Previous, Verdict};

/// How a shop was listed, as far as absence says something.
#[derive(Debug)]
pub(super) enum Listing {
    /// Whole: who is absent from a complete listing is gone.
    Whole,
    /// Whole, and fewer came than are counted: any of those who are absent may still be there.
    Doubtful,
    /// By what changed: only those are gone of whom the gateway says so.
    Changed { off_sale: HashSet<i64> },
}

impl Listing {
    pub(super) fn of(facts: &ShopFacts) -> Self {
        match facts.listing {
            Listed::Whole if facts.is_doubtful => Self::Doubtful,
            Listed::Whole | Listed::Untouched => Self::Whole,
            Listed::Changed => Self::Changed { off_sale: facts.off_sale.iter().copied().collect() },
        }
    }
}

/// What becomes of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate<'k> {
    /// Its record of today stands in the picture; what is said of it only by the detail that a row before was made of, goes
    /// on with it.
    Stands(&'k Candidate, Option<Earlier>),
    /// Its row of a picture before stands for the record of today: it was made of a detail that still holds.
    Kept(Earlier),
    /// It was not fetched: its row goes on.
    Carried(Earlier),
    /// It is no longer listed: its row stands once more.
    Delisted(Origin, Earlier),
    /// It is not in the picture: nothing proves that it was, or that it left more than the search.
    Gone,
}

/// One offer, settled.
#[derive(Debug, Clone, Copy)]
pub struct Settled<'k> {
    /// The offer.
    pub offer_id: i64,
    /// What becomes of it.
    pub fate: Fate<'k>,
    /// The record of today that does not count because its shop is held.
    pub held: Option<&'k Candidate>,
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

/// One shop while its offers are settled.
struct Shop<'v> {
    row: &'v mut ShopRow,
    judged: Judged<'v>,
    is_held: bool,
}

/// Decides about every offer, in the order of their ids, and counts it in its shop's row.
///
/// # Errors
/// [`crate::base::Kind::Storage`] when a temporary file cannot be read; what `take` returns.
pub fn settle(
    fetched: &Fetched<'_>,
    previous: &Previous,
    verdict: &mut Verdict,
    mut take: impl FnMut(Settled<'_>) -> Result<()>,
) -> Result<()> {
    let mut settler = Settler {
        fetched,
        replaces: previous.replaced.is_some(),
        is_expired: previous.is_expired,
        unanswered: fetched.facts.items_unanswered.iter().copied().collect(),
        untouched: fetched.facts.items_untouched.iter().copied().collect(),
        shops: shops(fetched, verdict),
    };
    fetched.keys(previous).join(|known| take(settler.settle(&known)))
}

/// The shops by their numbers, with the judgement that holds for their absent offers.
fn shops<'v>(fetched: &Fetched<'_>, verdict: &'v mut Verdict) -> HashMap<u32, Shop<'v>> {
    let Verdict { shops, untouched, held, listed, .. } = verdict;
    let (untouched, held, listed) = (&*untouched, &*held, &*listed);
    let shops = shops.iter_mut().map(move |row| {
        let shop_id = row.shop_id.as_str();
        let is_held = held.contains_key(shop_id);
        let judged = match listed.get(shop_id) {
            _ if untouched.contains(shop_id) => Judged::Untouched,
            _ if is_held => Judged::Incomplete,
            None => Judged::Single,
            Some(Listing::Changed { off_sale }) => Judged::Changed(off_sale),
            Some(Listing::Doubtful) => Judged::Incomplete,
            Some(Listing::Whole) if row.incomplete_reason.is_some() => Judged::Incomplete,
            Some(Listing::Whole) => Judged::Complete,
        };
        (fetched.names.number(Some(shop_id)), Shop { row, judged, is_held })
    });
    shops.collect()
}

struct Settler<'f, 'v> {
    fetched: &'f Fetched<'f>,
    /// The day has a picture that is replaced.
    replaces: bool,
    /// The picture of the day before is no longer kept.
    is_expired: bool,
    unanswered: HashSet<i64>,
    untouched: HashSet<i64>,
    shops: HashMap<u32, Shop<'v>>,
}

impl<'v> Settler<'_, 'v> {
    fn settle<'k>(&mut self, known: &Known<'k>) -> Settled<'k> {
        let offer_id = known.offer_id;
        let is_held = |record: &&Candidate| self.shops.get(&record.shop).is_some_and(|shop| shop.is_held);
        let winner = known.fetched.first();
        // What was fetched of a held shop does not count: its rows of the picture before go on.
        let held = winner.filter(is_held);
        if let (Some(winner), Some(kept)) = (winner.filter(|_| held.is_none()), known.kept) {
            self.moved(winner, &kept);
        }
        let fate = match winner.filter(|_| held.is_none()) {
            None => self.absent(known),
            Some(winner) => match known.kept.filter(|kept| self.fetched.keeps_detail(winner, kept)) {
                Some(kept) => Fate::Kept(kept),
                None => Fate::Stands(winner, known.kept.filter(|kept| self.fetched.reuses_detail(winner, kept))),
            },
        };
        Settled { offer_id, fate, held }
    }

    /// The row of a shop that is left as it was counts an offer no more that another shop shows now.
    fn moved(&mut self, winner: &Candidate, kept: &Earlier) {
        if winner.shop == kept.shop || kept.delisted {
            return;
        }
        if let Some(shop) = self.shops.get_mut(&kept.shop).filter(|shop| matches!(shop.judged, Judged::Untouched)) {
            shop.row.offer_count -= 1;
            shop.row.carried_count = shop.row.carried_count.min(shop.row.offer_count);
        }
    }

    /// What becomes of an offer of which nothing was fetched that counts.
    fn absent<'k>(&mut self, known: &Known<'k>) -> Fate<'k> {
        let offer_id = known.offer_id;
        // What a held shop shows does not count, and is there all the same.
        let is_seen = !known.fetched.is_empty();
        let judge = |settler: &Self, row: &Earlier| match settler.judged(offer_id, row) {
            Judged::Complete | Judged::Changed(_) if is_seen => Judged::Incomplete,
            judged => judged,
        };
        if let Some(kept) = known.kept {
            let judged = judge(self, &kept);
            if !kept.delisted && self.goes_on(offer_id, judged) {
                self.count(&kept, |row| {
                    row.carried_count += 1;
                    row.offer_count += 1;
                });
                return Fate::Carried(kept);
            }
            // What the replaced picture of this day called delisted stays so, unless what tells of it anew says otherwise.
            let is_told_anew = matches!(judged, Judged::Single | Judged::Complete) && !self.is_expired;
            if kept.delisted && self.replaces && !is_told_anew {
                self.count(&kept, |row| row.delisted_count += 1);
                return Fate::Carried(kept);
            }
        }
        match known.before.filter(|before| !before.delisted && self.is_gone(offer_id, judge(self, before))) {
            Some(before) => {
                self.count(&before, |row| row.delisted_count += 1);
                Fate::Delisted(if self.replaces { Origin::Before } else { Origin::Kept }, before)
            }
            None => Fate::Gone,
        }
    }

    fn judged(&self, offer_id: i64, row: &Earlier) -> Judged<'v> {
        match self.shops.get(&row.shop).map_or(Judged::Single, |shop| shop.judged) {
            Judged::Single if self.untouched.contains(&offer_id) => Judged::Incomplete,
            judged => judged,
        }
    }

    fn is_set_aside(&self, offer_id: i64) -> bool {
        self.fetched.set_aside.contains(&offer_id)
    }

    fn goes_on(&self, offer_id: i64, judged: Judged<'_>) -> bool {
        match judged {
            Judged::Untouched | Judged::Incomplete => true,
            Judged::Complete => self.is_set_aside(offer_id),
            Judged::Changed(off_sale) => !off_sale.contains(&offer_id) || self.is_set_aside(offer_id),
            Judged::Single => self.unanswered.contains(&offer_id) || self.is_set_aside(offer_id),
        }
    }

    fn is_gone(&self, offer_id: i64, judged: Judged<'_>) -> bool {
        let is_gone = match judged {
            Judged::Untouched | Judged::Incomplete => false,
            Judged::Complete => self.fetched.completeness.count && !self.fetched.searches,
            Judged::Changed(off_sale) => off_sale.contains(&offer_id),
            Judged::Single => self.fetched.gone.contains(&offer_id),
        };
        is_gone && !self.is_set_aside(offer_id)
    }

    /// Counts in a shop's row, which of an untouched shop stays as it was.
    fn count(&mut self, row: &Earlier, add: impl FnOnce(&mut ShopRow)) {
        match self.shops.get_mut(&row.shop) {
            Some(shop) if !matches!(shop.judged, Judged::Untouched) => add(shop.row),
            _ => {}
        }
    }
}
