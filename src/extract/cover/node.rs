//! One slice of a listing: which of its pages to ask for next, and what they showed of times and their order.
//!
//! Invariant: what is asked for depends on the slice's own answers only, so that a run that is continued asks for the
//! same pages, in whatever order the answers came.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::config::gateway::Paging;
use crate::extract::page::{Listing, Page};

use super::Slice;

/// A page that fails where the end of a slice is looked for is replaced by the one before it, this many times.
const EDGES_TRIED_MAX: u32 = 3;

/// What a slice is to cover. Both ends inclusive, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub(super) start: Option<i64>,
    /// `None`: until now.
    pub(super) end: Option<i64>,
    pub(super) category: Option<String>,
}

/// In which order the records of a window come, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Not looked at yet.
    Unknown,
    /// Oldest first, in every page so far.
    Ascending,
    /// Newest first, in every page so far.
    Descending,
    /// Neither, or nothing that could be relied on.
    Nothing,
}

/// What is being done with a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// All its pages are read, as far as is known.
    Reading,
    /// It is too large: these pages show how to go on.
    Probing(Vec<u32>),
    /// Its pages are read up to the moment from which other slices cover the rest.
    Passing(Passing),
    /// One of its pages took too long: it is halved once what is in flight is settled.
    Leaving,
    /// Its last page shows whether the gateway reads windows, and is all that is asked for.
    Question,
    /// Nothing more is asked for.
    Closed,
}

/// How far a slice is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passing {
    /// The first page whose last record reaches this moment is the last one.
    pub(super) stop: i64,
    /// One page at a time: the stop may come early.
    pub(super) is_careful: bool,
}

/// What one page showed of times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    /// The times that are there, as they stand.
    pub(super) times: Vec<i64>,
    records: usize,
}

/// A slice and its pages.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    /// What it was to cover before others went on with a part of it.
    pub(super) untrimmed: Option<Span>,
    pub(super) slice: Slice,
    pub(super) listing: Listing,
    pub(super) reads: BTreeMap<u32, Read>,
    /// The pages that decisions rest on, so that they do not depend on the order of the answers; empty: all.
    pub(super) basis: Vec<u32>,
    pub(super) phase: Phase,
    pub(super) order: Order,
    /// About how many records it holds.
    pub(super) expect: Option<u64>,
    /// After so many full pages the last page is asked for, which tells whether the slice is too large.
    pub(super) probe_after: u32,
    /// The slice whose order this one relies on.
    pub(super) root: usize,
    pub(super) depth: u32,
    pub(super) has_begun: bool,
    /// It is read as far as the gateway serves it; nothing can split it further.
    pub(super) is_final: bool,
    pub(super) records: u64,
    pub(super) new: u64,
    pub(super) outcome: Option<String>,
    /// The last page that is asked for to see whether the slice is too large.
    edge: Option<u32>,
    edges_tried: u32,
    paging: Paging,
}

impl Read {
    fn new(page: &Page) -> Self {
        let times = page.modified.iter().flatten().map(DateTime::timestamp_millis).collect();
        Self { times, records: page.keys.len() }
    }

    pub(super) fn first(&self) -> Option<i64> {
        self.times.first().copied()
    }

    pub(super) fn last(&self) -> Option<i64> {
        self.times.last().copied()
    }

    /// Whether every record shows its time.
    pub(super) fn is_dated(&self) -> bool {
        self.times.len() == self.records
    }

    /// Whether this page, which was read at another time than the one behind it, ends with what that one begins with: an
    /// offer that is edited meanwhile goes to the end, and all others move up.
    fn is_shifted(&self, behind: &Read, order: Order) -> bool {
        let [first, last] = [(self.first(), behind.first()), (self.last(), behind.last())]
            .map(|pair| matches!(pair, (Some(this), Some(that)) if order.allows(this, that)));
        let end = self.last();
        let moved = behind.times.iter().filter(|time| end.is_some_and(|end| !order.allows(end, **time))).count();
        first && last && moved * 2 <= behind.times.len()
    }

    fn follows(&self, order: Order) -> bool {
        self.is_dated() && self.times.windows(2).all(|pair| order.allows(pair[0], pair[1]))
    }
}

impl Order {
    fn allows(self, before: i64, after: i64) -> bool {
        match self {
            Order::Ascending => before <= after,
            Order::Descending => before >= after,
            Order::Unknown | Order::Nothing => true,
        }
    }

    /// Whether a time stands at the stop or behind it.
    fn reaches(self, stop: i64, time: i64) -> bool {
        if self == Order::Descending { time <= stop } else { time >= stop }
    }

    /// Whether slices are listed one behind the other in this order.
    pub(super) fn is_known(self) -> bool {
        matches!(self, Order::Ascending | Order::Descending)
    }
}

impl Node {
    pub(super) fn new(span: Span, slice: Slice, paging: &Paging) -> Self {
        Self {
            span,
            untrimmed: None,
            slice,
            listing: Listing::new(paging.clone()),
            reads: BTreeMap::new(),
            basis: Vec::new(),
            phase: Phase::Reading,
            order: Order::Unknown,
            expect: None,
            probe_after: u32::MAX,
            root: 0,
            depth: 0,
            has_begun: false,
            is_final: false,
            records: 0,
            new: 0,
            outcome: None,
            edge: paging.last,
            edges_tried: 0,
            paging: paging.clone(),
        }
    }

    pub(super) fn is_plain(&self) -> bool {
        self.slice.start_at.is_none() && self.slice.end_at.is_none()
    }

    /// Whether it is to cover everything, and is narrowed to no category.
    pub(super) fn is_everything(&self) -> bool {
        self.span.is_whole() && self.slice.category.is_none()
    }

    pub(super) fn first_page(&self) -> u32 {
        self.paging.first
    }

    /// The page that tells whether the slice is too large; `None`: nothing is.
    pub(super) fn edge(&self) -> Option<u32> {
        self.edge
    }

    /// Records that fit, with pages as long as the gateway serves them.
    pub(super) fn capacity(&self) -> u64 {
        self.paging.pages().map_or(u64::MAX, |pages| pages.saturating_mul(self.page_size()))
    }

    /// The size of a full page: a gateway may serve smaller ones than it is asked for.
    fn page_size(&self) -> u64 {
        let asked = u64::from(self.paging.size_max.max(1));
        let first = self.listing.pages().get(&self.paging.first).map(|records| *records as u64);
        let total = self.listing.total();
        match first {
            Some(first) if first > 0 && total.is_some_and(|total| total > first) => asked.min(first),
            _ => asked,
        }
    }

    fn is_full(&self, page: u32) -> bool {
        self.listing.pages().get(&page).is_some_and(|records| *records as u64 >= self.page_size())
    }

    /// Whether it holds more than can be listed.
    pub(super) fn is_over(&self) -> bool {
        if let Some(total) = self.listing.total() {
            return total > self.capacity() || self.listing.is_cut();
        }
        self.edge.is_some_and(|edge| self.is_full(edge)) || self.listing.is_cut()
    }

    /// Whether it has a page of the greatest size at its beginning.
    pub(super) fn is_first_full(&self) -> bool {
        self.is_full(self.paging.first)
    }

    /// The next page to ask for. In bulk: those that are needed in any case; else those that show something.
    pub(super) fn next(&mut self, in_bulk: bool) -> Option<u32> {
        let page = match self.phase.clone() {
            Phase::Closed => None,
            Phase::Leaving => self.listing.next_again(),
            Phase::Question => self.edge.filter(|edge| self.listing.next_ahead(*edge)),
            Phase::Probing(pages) => {
                if in_bulk {
                    return None;
                }
                pages.into_iter().find(|page| self.listing.next_ahead(*page))
            }
            Phase::Reading => self.next_to_read(in_bulk),
            Phase::Passing(passing) => self.next_to_pass(passing, in_bulk),
        };
        self.has_begun |= page.is_some();
        page
    }

    /// The first page, if that was not asked for yet and the slice is open.
    pub(super) fn next_first(&mut self) -> Option<u32> {
        let first = self.paging.first;
        let is_open = !matches!(self.phase, Phase::Closed | Phase::Leaving);
        let page = (is_open && self.listing.next_ahead(first)).then_some(first);
        self.has_begun |= page.is_some();
        page
    }

    /// Whether nothing was answered yet and something is in flight.
    pub(super) fn awaits_first_answer(&self) -> bool {
        self.listing.pages().is_empty() && self.listing.is_waiting()
    }

    /// Whether its first page is settled, or never will be.
    pub(super) fn is_tried(&self) -> bool {
        self.phase == Phase::Closed || self.listing.is_settled(self.paging.first)
    }

    /// Leaves the slice because a page took too long. What follows rests on the pages before that one, which an earlier
    /// start of the run has asked for, too, whatever was in flight besides.
    pub(super) fn leave_at(&mut self, number: u32) {
        let first = self.paging.first;
        self.basis = match &self.phase {
            Phase::Leaving => self.basis.iter().copied().filter(|page| *page <= number).collect(),
            Phase::Probing(pages) => pages.iter().copied().filter(|page| *page < number).collect(),
            _ if self.edge == Some(number) => {
                let shown = usize::try_from(self.probe_after).unwrap_or(usize::MAX);
                (first..number).take(shown).collect()
            }
            _ => (first..number).collect(),
        };
        // An empty basis would stand for all pages.
        self.basis.push(number);
        self.phase = Phase::Leaving;
    }

    fn next_to_read(&mut self, in_bulk: bool) -> Option<u32> {
        let first = self.paging.first;
        // The first page shows how long pages are, so whether a stated total fits.
        if !self.is_plain() && self.listing.total().is_some() && self.has_begun && !self.listing.is_settled(first) {
            return self.listing.next_ahead(first).then_some(first);
        }
        let is_sure = self.listing.is_sure(self.listing.turn());
        if in_bulk != is_sure && self.has_begun {
            return None;
        }
        // Where a total is known, the pages it needs say first whether there is more.
        let is_told_soon = self.listing.total().is_some() && self.listing.is_waiting();
        if let Some(edge) = self.edge
            && !is_sure
            && !is_told_soon
            && !self.listing.is_counted_within(self.paging.places())
            && !self.is_final
            && self.full_pages() >= self.probe_after
            && self.listing.next_ahead(edge)
        {
            return Some(edge);
        }
        self.listing.next_page()
    }

    fn next_to_pass(&mut self, passing: Passing, in_bulk: bool) -> Option<u32> {
        if let Some(page) = self.listing.next_again() {
            return Some(page);
        }
        if in_bulk == passing.is_careful || passing.is_careful && self.listing.is_waiting() {
            return None;
        }
        if self.stop_page(passing.stop).is_some_and(|stop| self.listing.turn() >= stop) {
            return None;
        }
        self.listing.next_page()
    }

    /// Pages that are likely there: what is expected, less a page for what may have changed since.
    fn likely(&self) -> u32 {
        if self.probe_after == 0 || !self.order.is_known() {
            return 0;
        }
        let pages = self.expect.unwrap_or(0) / u64::from(self.paging.size_max.max(1));
        u32::try_from(pages).unwrap_or(u32::MAX).saturating_sub(1)
    }

    /// Settles how many pages are asked for at once: those before the last page when that is full.
    pub(super) fn settle_likely(&mut self) {
        let pages = match self.phase {
            _ if self.is_final && !self.is_over() => 0,
            _ if self.is_final => u32::MAX,
            Phase::Passing(Passing { is_careful: false, .. }) => self.edge.map_or(0, |edge| edge - self.paging.first),
            _ => self.likely(),
        };
        self.listing.likely(pages);
    }

    /// Full pages at the beginning.
    fn full_pages(&self) -> u32 {
        let full = (self.paging.first..).take_while(|page| self.is_full(*page)).take(100_000).count();
        u32::try_from(full).unwrap_or(u32::MAX)
    }

    /// The first page that reaches `stop`.
    pub(super) fn stop_page(&self, stop: i64) -> Option<u32> {
        let reaches = |read: &Read| read.last().is_some_and(|last| self.order.reaches(stop, last));
        self.reads.iter().find(|(_, read)| reaches(read)).map(|(page, _)| *page)
    }

    /// Whether every page up to the stop was settled, or all there are.
    pub(super) fn has_passed(&self, stop: i64) -> bool {
        if self.listing.is_waiting() {
            return false;
        }
        let to = self.stop_page(stop);
        to.is_some_and(|to| (self.paging.first..=to).all(|page| self.listing.is_settled(page)))
            || self.listing.end().is_some()
    }

    /// Takes what a page showed; whether it keeps to the order that is relied on.
    pub(super) fn read(&mut self, number: u32, page: &Page) -> bool {
        self.records += page.keys.len() as u64;
        self.reads.insert(number, Read::new(page));
        let before = self.reads.range(..number).next_back();
        let behind = self.reads.range(number + 1..).next();
        let pages: Vec<u32> = before.into_iter().map(|(page, _)| *page).chain([number]).collect();
        let pages: Vec<u32> = pages.into_iter().chain(behind.map(|(page, _)| *page)).collect();
        !self.order.is_known() || self.is_in_order(self.order, &pages)
    }

    /// Whether these pages, each and one after the other, keep to an order.
    pub(super) fn is_in_order(&self, order: Order, pages: &[u32]) -> bool {
        let reads: Vec<&Read> =
            pages.iter().filter_map(|page| self.reads.get(page)).filter(|r| r.records > 0).collect();
        let joins = reads.windows(2).all(|pair| match (pair[0].last(), pair[1].first()) {
            (Some(before), Some(after)) => order.allows(before, after) || pair[0].is_shifted(pair[1], order),
            _ => false,
        });
        joins && reads.iter().all(|read| read.follows(order))
    }

    /// What the pages showed that decisions rest on.
    pub(super) fn basis(&self) -> impl Iterator<Item = &Read> {
        let is_basis = |page: &u32| self.basis.is_empty() || self.basis.contains(page);
        self.reads.iter().filter(move |(page, _)| is_basis(page)).map(|(_, read)| read)
    }

    /// The order that these pages keep to; [`Order::Unknown`] when all times are equal.
    pub(super) fn observed_order(&self) -> Order {
        let times = || self.basis().flat_map(|read| &read.times);
        if self.basis().any(|read| !read.is_dated()) || times().next().is_none() {
            return Order::Nothing;
        }
        if times().min() == times().max() {
            return Order::Unknown;
        }
        let pages: Vec<u32> = self.reads.keys().copied().collect();
        let keeps_to = |order: &Order| self.is_in_order(*order, &pages);
        [Order::Ascending, Order::Descending].into_iter().find(keeps_to).unwrap_or(Order::Nothing)
    }

    /// The times that were seen, sorted and brought into the span.
    pub(super) fn samples(&self, low: i64, high: i64) -> Vec<i64> {
        let mut times: Vec<i64> =
            self.basis().flat_map(|read| &read.times).map(|time| (*time).clamp(low, high)).collect();
        times.sort_unstable();
        times
    }

    /// A page failed. Where it was asked for to look for the end, the page before it takes its place.
    pub(super) fn fail(&mut self, number: u32, reason: String) {
        self.listing.failed(number, reason);
        let is_edge = self.edge == Some(number) && number > self.paging.first && self.listing.turn() <= number;
        if is_edge && self.edges_tried < EDGES_TRIED_MAX {
            self.edges_tried += 1;
            self.edge = Some(number - 1);
            self.listing.forgive(number);
            if let Phase::Probing(pages) = &mut self.phase {
                pages.iter_mut().filter(|page| **page == number).for_each(|page| *page = number - 1);
            }
        }
    }

    /// The slice in words; empty for the plain listing.
    pub(super) fn name(&self) -> String {
        let at = |time: Option<DateTime<Utc>>, open: &str| {
            time.map_or_else(|| open.to_owned(), |at| at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
        };
        let category = self.slice.category.as_ref().map(|category| format!("category {category}"));
        let window = (!self.is_plain())
            .then(|| format!("modified {} to {}", at(self.slice.start_at, "…"), at(self.slice.end_at, "now")));
        category.into_iter().chain(window).collect::<Vec<_>>().join(", ")
    }
}
