//! What each question costs, by what is known of a shop. One function per rule, without faults and repeats.
//!
//! | question | calls |
//! |---|---|
//! | whole listing of N offers, N counted today | pages that N needs, at least 1 |
//! | … and all of them full | one more where only pages state N; where a count does, perhaps |
//! | … at or past the gateway's last page, where windows or categories go on | those pages × 1.05 + 3, an estimate: they may not help, and each category ends with a page of its own |
//! | … and the last whole listing took more | what it took, with room for growth: an estimate |
//! | … where nothing goes on | the gateway's pages |
//! | … N counted earlier today | the same for N with room for change: an estimate |
//! | … N as of the picture before | at most the same for N with room for growth: an estimate |
//! | … N unknown | the gateway's pages; without a last page: at least 1 |
//! | what changed since the watermark | 1 page at least; at most that page and the whole listing: an estimate |
//! | what went off sale | 1 page: an estimate |
//! | details of offers | by mode, see [`details`] |
//! | details of SKUs | by mode, see [`skus`] |

use chrono::NaiveDate;

use crate::config::gateway::Endpoint;
use crate::config::pipeline::FetchDetails;
use crate::plan::known::{KnownOffer, KnownShop};

use super::{Calls, DetailsLeft};

/// How many offers a shop has, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offers {
    /// As the gateway counts them now.
    Counted(u64),
    /// As the gateway counted them earlier today.
    Earlier(u64),
    /// As the picture before says.
    Before(u64),
    /// Nobody knows.
    Unknown,
}

impl Offers {
    /// The number, where there is one.
    #[must_use]
    pub fn number(self) -> Option<u64> {
        match self {
            Offers::Counted(number) | Offers::Earlier(number) | Offers::Before(number) => Some(number),
            Offers::Unknown => None,
        }
    }
}

/// A shop may have grown this much since the picture before: a twentieth and one offer. As many may keep calls for several
/// offers from being answered, as far as anybody reckons with it.
pub(super) fn newcomers(offers: u64) -> u64 {
    offers / 20 + 1
}

/// Within a day a shop shrinks no more than it grows between pictures, as far as anybody reckons with it.
fn at_least(offers: u64) -> u64 {
    offers.saturating_sub(newcomers(offers))
}

/// A listing's bounds at its gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shelf {
    /// Offers on a page.
    page_size: u64,
    /// Pages of one listing.
    pages_max: Option<u64>,
    /// Whether windows or categories show what lies past the last page.
    goes_on: bool,
    /// Whether categories have to be asked for then.
    by_category: bool,
    /// Whether nothing but its pages says how many offers there are.
    states_itself: bool,
}

impl Shelf {
    /// The bounds that a definition's listing states. `categories`: whether it can ask for a shop's categories; `count`: for
    /// its official count.
    #[must_use]
    pub fn new(listing: &Endpoint, (categories, count): (bool, bool)) -> Self {
        let paging = listing.page.as_ref();
        let by_category = listing.category.is_some() && categories;
        Self {
            page_size: paging.map_or(u64::MAX, |paging| u64::from(paging.size_max.max(1))),
            pages_max: match paging {
                Some(paging) => paging.pages(),
                None => Some(1),
            },
            goes_on: listing.window.is_some() || by_category,
            by_category,
            states_itself: !count,
        }
    }

    /// Offers that one listing can show.
    fn offers_max(&self) -> Option<u64> {
        self.pages_max?.checked_mul(self.page_size).filter(|most| *most < u64::MAX)
    }

    /// Shops of fewer offers need no more than one listing; larger ones go on past it: how far, only a count tells.
    #[must_use]
    pub fn goes_on_from(&self) -> Option<u64> {
        self.offers_max().filter(|_| self.goes_on)
    }

    /// Whether one listing proves that it holds this many offers: a full last page means that there may be more.
    fn holds(&self, offers: u64) -> bool {
        self.offers_max().is_none_or(|most| offers < most)
    }

    /// The greatest number of offers that a run can see.
    fn seen(&self, offers: u64) -> u64 {
        match self.offers_max() {
            Some(most) if !self.goes_on => offers.min(most),
            _ => offers,
        }
    }

    /// Whether a listing of so many offers ends with a full page, and only the count says that it is the last: where an offer
    /// is absent that was there before, a run looks at the next.
    #[must_use]
    pub fn is_filled_by(&self, offers: Offers) -> bool {
        let fills = |offers: u64| offers > 0 && offers.is_multiple_of(self.page_size) && self.holds(offers);
        !self.states_itself && matches!(offers, Offers::Counted(offers) if fills(offers))
    }

    fn pages(&self, offers: u64) -> u64 {
        // What pages state does not prove that a full one is the last.
        if self.states_itself { offers / self.page_size + 1 } else { offers.div_ceil(self.page_size).max(1) }
    }

    /// Pages of a shop that has exactly this many offers.
    fn counted(&self, offers: u64) -> Calls {
        let needed = self.pages(offers);
        match self.pages_max {
            Some(_) if self.goes_on && !self.holds(offers) => Calls::estimate(needed, needed + needed / 20 + 3),
            Some(pages) => Calls::exact(needed.min(pages)),
            None => Calls::exact(needed),
        }
    }
}

/// Whether nothing but an estimate says how many pages this many offers need.
#[must_use]
pub fn is_open_ended(shelf: &Shelf, offers: Offers) -> bool {
    matches!(offers, Offers::Counted(offers) if shelf.goes_on && !shelf.holds(offers))
}

/// Whether a shop may have to be split by category: how many pages that takes, only a listing tells.
#[must_use]
pub fn may_be_split(shelf: &Shelf, offers: Offers) -> bool {
    let most = match offers {
        Offers::Counted(offers) => offers,
        Offers::Earlier(offers) | Offers::Before(offers) => offers + newcomers(offers),
        Offers::Unknown => return false,
    };
    shelf.by_category && !shelf.holds(most)
}

/// Pages of a whole listing whose last one took so many; 0: nobody knows.
#[must_use]
pub fn whole_again(shelf: &Shelf, offers: Offers, pages: u64) -> Calls {
    let reckoned = whole(shelf, offers);
    let took = pages + newcomers(pages);
    match reckoned.most() {
        Some(most) if pages > 0 && took > most && may_be_split(shelf, offers) => {
            Calls::estimate(reckoned.least(), took)
        }
        _ => reckoned,
    }
}

/// Pages of a whole listing.
#[must_use]
pub fn whole(shelf: &Shelf, offers: Offers) -> Calls {
    match (offers, shelf.pages_max) {
        (Offers::Counted(offers), _) => shelf.counted(offers),
        (Offers::Earlier(offers), _) => {
            let least = shelf.counted(at_least(offers)).least();
            Calls::estimate(least, shelf.counted(offers + newcomers(offers)).planned())
        }
        (Offers::Before(offers), _) => Calls::estimate(1, shelf.counted(offers + newcomers(offers)).planned()),
        (Offers::Unknown, Some(pages)) if shelf.goes_on => Calls::estimate(1, pages),
        (Offers::Unknown, Some(pages)) => Calls::between(1, pages),
        (Offers::Unknown, None) => Calls::at_least(1),
    }
}

/// Calls for a shop's categories: one, where a listing may have to be split by them.
#[must_use]
pub fn categories(shelf: &Shelf, offers: Offers) -> Calls {
    match offers {
        _ if !may_be_split(shelf, offers) => Calls::ZERO,
        Offers::Counted(_) => Calls::between(0, 1),
        Offers::Earlier(_) | Offers::Before(_) | Offers::Unknown => Calls::estimate(0, 1),
    }
}

/// Whether a shop is listed by what changed: its watermark is known, and it was listed whole less than `full_days` ago.
#[must_use]
pub fn lists_changes(listing: &Endpoint, full_days: u32, shop: Option<&KnownShop>, dt: NaiveDate) -> bool {
    let young = |whole: NaiveDate| (0..i64::from(full_days)).contains(&(dt - whole).num_days());
    listing.window.is_some() && shop.is_some_and(|shop| shop.watermark_at.is_some() && shop.whole_dt.is_some_and(young))
}

/// Pages of what changed: at most all of it, and a page that shows the end. Where its count then differs from the gateway's,
/// the shop is listed whole as well.
#[must_use]
pub fn changed(whole: Calls) -> Calls {
    match whole.most() {
        Some(most) => Calls::estimate(1, 2 * most + 1),
        None => Calls::at_least(1),
    }
}

/// Pages of what went off sale since: at most all of it, and a page that shows the end.
#[must_use]
pub fn off_sale(whole: Calls) -> Calls {
    match whole.most() {
        Some(most) => Calls::estimate(1, most + 1),
        None => Calls::at_least(1),
    }
}

/// What the picture before holds of a shop (or of the single offers).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Offers whose detail was fetched.
    pub detailed: u64,
    /// Offers with at least one SKU.
    pub with_skus: u64,
    /// Their SKUs.
    pub skus: u64,
}

impl Held {
    /// What these offers hold.
    pub fn of(offers: impl Iterator<Item = KnownOffer>) -> Self {
        offers.fold(Self::default(), |held, offer| {
            let skus = u64::try_from(offer.sku_ids.len()).unwrap_or(u64::MAX);
            Self {
                detailed: held.detailed + u64::from(offer.detailed),
                with_skus: held.with_skus + u64::from(skus > 0),
                skus: held.skus + skus,
            }
        })
    }
}

/// Offers that a listing is going to show.
#[must_use]
pub fn shown(shelf: &Shelf, offers: Offers) -> Calls {
    match offers {
        Offers::Counted(offers) => Calls::exact(shelf.seen(offers)),
        Offers::Earlier(offers) => {
            Calls::estimate(shelf.seen(at_least(offers)), shelf.seen(offers + newcomers(offers)))
        }
        Offers::Before(offers) => Calls::estimate(0, shelf.seen(offers + newcomers(offers))),
        Offers::Unknown => match shelf.offers_max() {
            Some(most) if shelf.goes_on => Calls::estimate(0, most),
            Some(most) => Calls::between(0, most),
            None => Calls::at_least(0),
        },
    }
}

/// Offers of which something is missing: those that the picture before does not hold, at least the usual newcomers.
fn fresh(shown: u64, held: u64) -> u64 {
    shown.saturating_sub(held).max(newcomers(shown)).min(shown)
}

/// Details of listed offers: questions, before they share calls.
///
/// | mode | N counted today, D detailed before |
/// |---|---|
/// | `off` | 0 |
/// | `missing` | N − D, and the usual newcomers: an estimate; exactly N where D is 0 |
/// | `changed` | from N − D to N |
/// | `all` | N |
///
/// N is an estimate, too: a listing may show more offers than are counted.
#[must_use]
pub fn details(mode: FetchDetails, shelf: &Shelf, offers: Offers, held: Held) -> Calls {
    let all = match offers {
        Offers::Counted(offers) => Calls::estimate(shelf.seen(offers), shelf.seen(offers + newcomers(offers))),
        _ => shown(shelf, offers),
    };
    let missing_least = all.least().saturating_sub(held.detailed);
    let Some(most) = all.most() else { return if mode == FetchDetails::Off { Calls::ZERO } else { all } };
    match mode {
        FetchDetails::Off => Calls::ZERO,
        FetchDetails::All => all,
        FetchDetails::Missing | FetchDetails::Changed if held.detailed == 0 => all,
        FetchDetails::Missing => Calls::estimate(missing_least, fresh(most, held.detailed)),
        FetchDetails::Changed => Calls::estimate(missing_least, most),
    }
}

/// Details of offers that were named: calls of which some ask for several, of which one holds `batch`. What keeps calls from
/// being answered may all be among what is left.
#[must_use]
pub fn items_left(left: DetailsLeft, batch: u64) -> Calls {
    let DetailsLeft { items: calls, offers, named, .. } = left;
    if offers <= calls {
        return Calls::exact(calls);
    }
    Calls::shared(calls, offers, batch, newcomers(named))
}

/// Details of SKUs, one call each. Only a listing says which SKUs an offer has: an estimate from the SKUs that the
/// picture before holds, or another one that tells how many SKUs are usual; where neither does, nobody knows.
///
/// | mode | S SKUs of H offers held before |
/// |---|---|
/// | `off` | 0 |
/// | `missing` | S ÷ H for each offer without a held SKU and the usual newcomers |
/// | `changed`, `all` | those and S |
#[must_use]
pub fn skus(mode: FetchDetails, offers: Calls, (held, usual): (Held, Held)) -> Calls {
    if mode == FetchDetails::Off || offers == Calls::ZERO {
        return Calls::ZERO;
    }
    let Some(most) = offers.most().filter(|_| usual.with_skus > 0) else { return Calls::at_least(0) };
    let fresh = fresh(most, held.with_skus).saturating_mul(usual.skus).div_ceil(usual.with_skus);
    match mode {
        FetchDetails::Missing => Calls::estimate(0, fresh),
        _ => Calls::estimate(0, held.skus.saturating_add(fresh)),
    }
}

#[cfg(test)]
mod tests;
