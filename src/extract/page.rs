//! Paging: which page of a listing to ask for next, when the listing has ended, and whether it is whole.
//!
//! A state machine without I/O. [`super::cover::Cover`] asks [`Listing::next_page`] for a page to send (several may be in
//! flight), reports what came back, and reads [`Listing::end`]. It may ask for a page ahead of its turn, too.
//!
//! | known | pages asked for |
//! |---|---|
//! | nothing yet | the first page, alone |
//! | the total | as many as it needs, at once; more while pages are full, or more records are missing than counts are off by |
//! | no total | the next page after each full one, until one is short or empty ([`Taken`]) |
//!
//! A full page is the end only where it fills an official count exactly: some gateways state as their total what a page
//! holds, or what they serve at most, and a count that is exceeded is wrong.
//!
//! A page that repeats an earlier one is the end: some gateways serve the last page again there. One that repeats the first
//! page, or most of it, while there is more shows that the page parameter is not read.
//!
//! Nothing is asked past an empty page, nor past the last page the gateway serves: there it answers empty pages without
//! an error, so a listing that needs more ends as [`End::Incomplete`] (WIRE §1 `portals`).
//!
//! Invariant: a listing ends as complete only when every page it needs was answered.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use xxhash_rust::xxh3::xxh3_64;

use crate::config::gateway::Paging;

/// No listing has more pages, whatever its gateway says.
pub const PAGES_MAX: u32 = 100_000;

/// The pages of one listing.
#[derive(Debug, Clone)]
pub struct Listing {
    paging: Paging,
    counted: Option<u64>,
    stated: Option<u64>,
    /// What a count may be off by.
    tolerance: u64,
    /// The next page not yet asked for.
    next: u32,
    /// Leading pages that are there as far as is known, although no total says so.
    likely: u32,
    in_flight: BTreeSet<u32>,
    /// Asked for ahead of their turn.
    ahead: BTreeSet<u32>,
    /// To be asked for again: they were not sent.
    again: BTreeSet<u32>,
    /// Records on each page that was answered.
    answered: BTreeMap<u32, usize>,
    /// By the digest of a page's ids.
    contents: BTreeMap<u64, u32>,
    failed: BTreeMap<u32, String>,
    seen: HashSet<u64>,
    /// What stands on the first page.
    first_keys: HashSet<u64>,
    /// Pages that hold most of the first one's records, and others.
    alike: u32,
    /// A later page held nothing of the first.
    turned: bool,
    is_end: Taken,
    /// What pages state as their total is something else.
    is_stated_ignored: bool,
    /// Other listings have shown that the page parameter is read.
    is_paged: bool,
    /// A page repeats the first one: no other is asked for.
    is_void: bool,
    /// A full page is not the end even where it fills the official count exactly.
    looks_past_count: bool,
    /// A later page that repeats another one, and that one.
    repeats: Option<(u32, u32)>,
}

/// Fewer records that stand on two pages may be a coincidence.
const ALIKE_MIN: usize = 8;

/// No gateway serves, and no filter leaves, less than one record of so many that are asked for.
const FEW_OF: usize = 4;

/// Which page is taken for the last one where no total is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// One that is shorter than asked for: as long as a count tells whether that was right.
    Short,
    /// One that is much shorter: a gateway may serve smaller pages than it is asked for, or leave records out of them.
    Few,
    /// None but an empty one.
    Empty,
}

/// What a good page held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// A key of each record, the same wherever it appears.
    pub keys: Vec<u64>,
    /// The total that the page states, if it does.
    pub total: Option<u64>,
    /// When each record was modified, in the order of `keys`; may be empty where no window speaks of it.
    pub modified: Vec<Option<DateTime<Utc>>>,
}

/// How a listing ended.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Every page it needs was answered.
    Complete,
    /// Why it does not hold everything.
    Incomplete(String),
}

/// The gateway serves the first page under another number, too: it does not read the page parameter (WIRE §1: "a misspelt
/// page parameter is ignored and page 1 is served for ever with HTTP 200").
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "pages {first} and {second} hold the same {records} records: the gateway does not read parameter `{parameter}`"
)]
pub struct Repeated {
    /// The first page.
    pub first: u32,
    /// The page that repeats it.
    pub second: u32,
    /// Records that stand on both.
    pub records: usize,
    /// The page parameter as the definition spells it.
    pub parameter: String,
}

impl Listing {
    /// A listing with nothing asked for yet. `total` may become known later.
    #[must_use]
    pub fn new(paging: Paging) -> Self {
        Self {
            next: paging.first,
            paging,
            counted: None,
            stated: None,
            tolerance: 0,
            likely: 0,
            ahead: BTreeSet::new(),
            again: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            answered: BTreeMap::new(),
            contents: BTreeMap::new(),
            failed: BTreeMap::new(),
            seen: HashSet::new(),
            first_keys: HashSet::new(),
            alike: 0,
            turned: false,
            is_end: Taken::Short,
            is_stated_ignored: false,
            is_paged: false,
            is_void: false,
            looks_past_count: false,
            repeats: None,
        }
    }

    /// Counts may be off by so much.
    pub fn tolerate(&mut self, records: u64) {
        self.tolerance = records;
    }

    /// Other listings have shown that the page parameter is read.
    pub fn trust_pages(&mut self) {
        self.is_paged = true;
    }

    /// Whether a later page held nothing of the first: the page parameter is read.
    #[must_use]
    pub fn has_turned(&self) -> bool {
        self.turned
    }

    /// From now on only such a page is taken for the end.
    pub fn end_at(&mut self, page: Taken) {
        self.is_end = page;
    }

    /// What pages state as their total is something else: it is as if they stated none.
    pub fn ignore_stated(&mut self) {
        (self.stated, self.is_stated_ignored) = (None, true);
    }

    /// Whether a page that is not empty was taken for the end.
    #[must_use]
    pub fn is_end_assumed(&self) -> bool {
        self.is_end != Taken::Empty && self.turn() <= self.last() && !self.ended_before(self.turn())
    }

    /// The official count has arrived; it goes before what pages state.
    pub fn counted(&mut self, total: u64) {
        self.counted = Some(total);
    }

    /// Asks for the page after a full one, too, that fills the official count exactly; whether there is one.
    pub fn look_past_count(&mut self) -> bool {
        let is_new = !std::mem::replace(&mut self.looks_past_count, true);
        is_new && self.end().is_none()
    }

    /// Whether an official count says that so many records hold it.
    #[must_use]
    pub fn is_counted_within(&self, records: u64) -> bool {
        self.counted.is_some_and(|count| count <= records)
    }

    /// The total, as far as it is known.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.counted.or(self.stated)
    }

    /// Records that are missing of the total.
    fn missing(&self) -> Option<u64> {
        self.total().map(|total| total.saturating_sub(self.seen.len() as u64))
    }

    /// Pages answered so far, and pages that the total needs, if it is known.
    #[must_use]
    pub fn progress(&self) -> (usize, Option<u32>) {
        (self.answered.len(), self.needed())
    }

    /// Whether any page was asked for.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.next > self.paging.first
    }

    /// This many leading pages may be asked for at once, although no total says that they are there.
    pub fn likely(&mut self, pages: u32) {
        self.likely = pages;
    }

    /// Whether this page is there, as far as a total or an expectation tells.
    #[must_use]
    pub fn is_sure(&self, page: u32) -> bool {
        self.needed().max(Some(self.likely)).is_some_and(|needed| page - self.paging.first < needed)
    }

    /// A page to send now; it counts as in flight until it is reported.
    pub fn next_page(&mut self) -> Option<u32> {
        if let Some(page) = self.next_again() {
            return Some(page);
        }
        let page = self.turn();
        if !self.wants(page) {
            return None;
        }
        self.next = page + 1;
        self.in_flight.insert(page);
        Some(page)
    }

    /// A page that was not sent, to be sent now.
    pub fn next_again(&mut self) -> Option<u32> {
        let page = self.again.pop_first()?;
        self.in_flight.insert(page);
        Some(page)
    }

    /// Asks for a page ahead of its turn: whether it is to be sent now.
    pub fn next_ahead(&mut self, page: u32) -> bool {
        if self.is_void {
            return false;
        }
        let is_new = !self.again.remove(&page) && !self.is_asked(page);
        let is_not_sent = !self.in_flight.contains(&page) && !self.is_settled(page);
        if is_new {
            self.ahead.insert(page);
        }
        if is_not_sent {
            self.in_flight.insert(page);
        }
        is_not_sent
    }

    /// The next page in turn that was not asked for yet.
    #[must_use]
    pub fn turn(&self) -> u32 {
        (self.next..).find(|page| !self.ahead.contains(page)).unwrap_or(u32::MAX)
    }

    /// Whether this page was asked for.
    #[must_use]
    pub fn is_asked(&self, page: u32) -> bool {
        page < self.next || self.ahead.contains(&page)
    }

    /// Whether this page was answered or failed.
    #[must_use]
    pub fn is_settled(&self, page: u32) -> bool {
        self.answered.contains_key(&page) || self.failed.contains_key(&page)
    }

    /// Whether any page waits for its answer.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// The records of each page that was answered.
    #[must_use]
    pub fn pages(&self) -> &BTreeMap<u32, usize> {
        &self.answered
    }

    /// A digest of what a page holds, the same for the same records in any order; `None`: it is not answered, or empty.
    #[must_use]
    pub fn contents(&self, page: u32) -> Option<u64> {
        self.contents.iter().find(|(_, number)| **number == page).map(|(contents, _)| *contents)
    }

    /// Every page up to the last one the gateway serves was answered, and there is more.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.in_flight.is_empty() && self.failed.is_empty() && self.turn() > self.last() && !self.at_end()
    }

    /// A page that failed is not needed.
    pub fn forgive(&mut self, page: u32) {
        self.failed.remove(&page);
    }

    /// A page was answered well. Gives the page, this or a later one, that only repeats an earlier one: past the end.
    ///
    /// # Errors
    /// [`Repeated`], once, when this page and the first hold the same records, or most of them, and there is more: no other
    /// page is asked for.
    pub fn answered(&mut self, number: u32, page: &Page) -> Result<Option<u32>, Repeated> {
        self.in_flight.remove(&number);
        self.answered.insert(number, page.keys.len());
        self.stated = self.stated.or(page.total.filter(|_| !self.is_stated_ignored));
        let missing_before = self.missing().is_none_or(|missing| missing > 0);
        self.seen.extend(&page.keys);
        let first = self.paging.first;
        if number == first {
            self.first_keys.extend(&page.keys);
        }
        if page.keys.is_empty() || self.is_void {
            return Ok(None);
        }
        let contents = digest(&page.keys);
        let other = self.contents.get(&contents).copied().filter(|other| *other != number);
        let Some(other) = other else {
            self.contents.insert(contents, number);
            return if number == first || !missing_before { Ok(None) } else { self.turn_to(number, page) };
        };
        let (other, second) = (other.min(number), other.max(number));
        if other == first && !self.is_past_end(page.keys.len()) {
            return self.repeated(second, page.keys.len());
        }
        self.contents.insert(contents, other);
        self.answered.insert(second, 0);
        if other != first {
            self.repeats = self.repeats.or(Some((other, second)));
        }
        Ok(Some(second))
    }

    /// A later page that is like no other: is it nearly the first?
    fn turn_to(&mut self, number: u32, page: &Page) -> Result<Option<u32>, Repeated> {
        let same = page.keys.iter().filter(|key| self.first_keys.contains(key)).count();
        let is_alike = same >= ALIKE_MIN && same * 4 >= 3 * page.keys.len().max(self.first_keys.len());
        self.turned |= same == 0 && !self.first_keys.is_empty();
        self.alike += u32::from(is_alike);
        // What changes meanwhile may move one page's records to the next, once.
        if is_alike && self.alike > 1 { self.repeated(number, same) } else { Ok(None) }
    }

    /// The page that repeats the first one is past the end after all.
    pub fn forgive_repeated(&mut self, second: u32) {
        self.is_void = false;
        self.failed.remove(&second);
        self.answered.insert(second, 0);
    }

    /// Whether a page that repeats the first stands past the end, as far as that can be told.
    fn is_past_end(&self, records: usize) -> bool {
        let may_be = records < self.size() || self.is_paged;
        match self.missing() {
            Some(missing) => missing == 0 || may_be && missing <= self.tolerance,
            None => may_be,
        }
    }

    fn repeated(&mut self, second: u32, records: usize) -> Result<Option<u32>, Repeated> {
        self.is_void = true;
        self.again.clear();
        let repeated = Repeated { first: self.paging.first, second, records, parameter: self.paging.number.clone() };
        self.failed.insert(second, repeated.to_string());
        Err(repeated)
    }

    /// A page failed for good.
    pub fn failed(&mut self, number: u32, reason: impl Into<String>) {
        self.in_flight.remove(&number);
        if self.missing().is_some_and(|missing| missing <= self.tolerance) && !self.is_sure(number) {
            // Nothing is missing as far as is known: some gateways refuse what stands past the end.
            self.answered.insert(number, 0);
            return;
        }
        self.failed.insert(number, reason.into());
    }

    /// A page was not sent after all: it will be asked for again.
    pub fn not_sent(&mut self, number: u32) {
        self.in_flight.remove(&number);
        self.again.insert(number);
    }

    /// The first page that failed, with the reason.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let (number, reason) = self.failed.first_key_value()?;
        // What repeats another page says so itself.
        let reason = if self.is_void { reason.clone() } else { format!("page {number}: {reason}") };
        let more = match self.failed.len() - 1 {
            0 => String::new(),
            others => format!(" (and {others} more pages)"),
        };
        Some(format!("{reason}{more}"))
    }

    /// How the listing ended; `None` while there is something to send or to wait for.
    pub fn end(&self) -> Option<End> {
        if !self.in_flight.is_empty() || !self.again.is_empty() || self.wants(self.turn()) {
            return None;
        }
        let incomplete = |reason| Some(End::Incomplete(reason));
        if let Some(reason) = self.failure() {
            return incomplete(reason);
        }
        if let (Some((page, second)), Some(missing)) = (self.repeats, self.missing().filter(|m| *m > self.tolerance)) {
            let total = self.total().unwrap_or_default();
            return incomplete(format!(
                "pages {page} and {second} hold the same records, and {missing} of {total} are missing"
            ));
        }
        if self.turn() > self.last() && !self.at_end() {
            let stated = self.total().map(|total| format!(" of {total}")).unwrap_or_default();
            let (last, size) = (self.last(), self.paging.size_max);
            let seen = self.seen.len();
            return incomplete(format!("{seen}{stated} offers listed: the rest is past page {last} × {size}"));
        }
        Some(End::Complete)
    }

    /// Whether this page should be sent, being the next one.
    fn wants(&self, page: u32) -> bool {
        if page > self.last() || self.ended_before(page) || self.is_void {
            return false;
        }
        if page == self.paging.first {
            return true;
        }
        // Beyond what is known to be there: one page at a time, and not after a page that failed.
        self.is_sure(page) || self.in_flight.is_empty() && self.failed.is_empty() && !self.at_end()
    }

    /// Whether an empty page before this one shows that there is nothing here.
    fn ended_before(&self, page: u32) -> bool {
        self.answered.range(..page).any(|(_, records)| *records == 0)
    }

    /// Whether the last page answered shows that nothing follows.
    fn at_end(&self) -> bool {
        // A page that was asked for ahead of its turn does not say what stands before it.
        let Some((&number, &records)) = self.answered.range(..self.turn()).next_back() else { return false };
        if records == 0 {
            return true;
        }
        let is_full = records >= self.size();
        match self.missing() {
            Some(0) => {
                let is_exact =
                    |count| self.seen.len() as u64 == count && !self.looks_past_count || number == self.last();
                !is_full || self.counted.is_some_and(is_exact)
            }
            Some(missing) if is_full || missing > self.tolerance => false,
            // A gateway may serve smaller pages than it is asked for: the first page shows its size, and is no end itself.
            Some(_) => {
                number != self.paging.first && records < self.answered.get(&self.paging.first).copied().unwrap_or(0)
            }
            None => match self.is_end {
                Taken::Short => !is_full,
                Taken::Few => records < self.size() / FEW_OF,
                Taken::Empty => false,
            },
        }
    }

    fn size(&self) -> usize {
        usize::try_from(self.paging.size_max).unwrap_or(usize::MAX)
    }

    /// Pages that the total needs, at least one: an official count of 0 is checked against the first page.
    fn needed(&self) -> Option<u32> {
        let size = u64::from(self.paging.size_max.max(1));
        self.total().map(|total| u32::try_from(total.div_ceil(size)).unwrap_or(u32::MAX).max(1))
    }

    fn last(&self) -> u32 {
        let bound = self.paging.first.saturating_add(PAGES_MAX - 1);
        self.paging.last.map_or(bound, |last| last.min(bound))
    }
}

/// The same for the same records in any order.
fn digest(keys: &[u64]) -> u64 {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    let bytes: Vec<u8> = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests;
