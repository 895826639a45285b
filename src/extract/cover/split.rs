//! What becomes of a slice that is too large, in no order, or not answered.
//!
//! Invariant: every moment and category of a slice that is given up is covered by the slices opened in its place, or is
//! named as a gap.

use chrono::DateTime;

use crate::extract::page::End;

use super::cut::{self, Extent};
use super::node::{Node, Order, Passing, Phase, Read, Span};
use super::{Categories, Cover, SLICES_MAX, Slice};

/// The outcome of a slice that others cover.
pub(super) const SPLIT: &str = "split";
/// The outcome of a slice up to whose end others go on.
const ADVANCED: &str = "advanced";
const COMPLETE: &str = "complete";

/// Where time begins: any 13-digit moment before the gateways' oldest offer (earlier ones have 12 digits).
const FLOOR: i64 = 1_041_379_200_000;
/// A slice lies at most this deep in others.
const DEPTH_MAX: u32 = 64;
/// From this depth on spans are halved, too: samples alone have not helped.
const DEPTH_SAMPLED: u32 = 6;
/// So many slices that time out are halved; after that the gateway is the reason, not their size.
const HALVINGS_MAX: u32 = 16;
/// Pages of a slice of unknown size before its last page is asked for.
const PAGES_BEFORE_PROBE: u32 = 4;
/// Records may stand this far outside a window: they may show a day, or another time zone's hour.
const STRAY_MILLIS: i64 = 36 * 3_600_000;

/// A span to be listed by category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    span: Span,
    is_ordered: bool,
    depth: u32,
}

/// About how many records a span holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Unknown,
    About(u64),
    /// More than can be listed, as far as is known.
    Over,
}

impl Wanted {
    pub(super) fn whole() -> Self {
        Self { span: Span::whole(), is_ordered: false, depth: 0 }
    }
}

impl Span {
    /// Everything.
    pub(super) fn whole() -> Self {
        Self { start: Some(FLOOR), ..Self::default() }
    }

    fn is_whole(&self) -> bool {
        self.start.is_none_or(|start| start <= FLOOR) && self.end.is_none()
    }
}

impl Cover {
    /// Decides what follows from what a slice has shown so far.
    pub(super) fn judge(&mut self, at: usize) {
        match self.nodes[at].phase.clone() {
            Phase::Closed => {}
            Phase::Reading => self.judge_reading(at),
            Phase::Probing(pages) => {
                if pages.iter().all(|page| self.nodes[at].listing.is_settled(*page)) {
                    self.decide(at);
                }
            }
            Phase::Passing(passing) => self.judge_passing(at, passing),
        }
        self.nodes[at].settle_likely();
    }

    fn judge_reading(&mut self, at: usize) {
        let node = &self.nodes[at];
        let is_expected_over = node.order == Order::Nothing
            && node.expect.is_some_and(|expect| expect / 8 > node.capacity() / 5)
            && node.is_first_full();
        if (node.is_over() || is_expected_over && !node.is_final) && self.can_split(node) {
            return self.probe(at);
        }
        match node.listing.end() {
            None => {}
            Some(End::Complete) => self.close(at, COMPLETE),
            Some(End::Incomplete(reason)) => self.give_up(at, reason),
        }
    }

    fn judge_passing(&mut self, at: usize, passing: Passing) {
        let node = &self.nodes[at];
        if !node.has_passed(passing.stop) {
            return;
        }
        if node.stop_page(passing.stop).is_none() && node.listing.is_cut() {
            return self.probe(at);
        }
        match node.listing.failure() {
            Some(reason) => self.give_up(at, reason),
            None if node.span.end.is_some_and(|end| end < passing.stop) => self.close(at, COMPLETE),
            None => self.close(at, ADVANCED),
        }
    }

    /// Whether a slice can be replaced by smaller ones.
    pub(super) fn can_split(&self, node: &Node) -> bool {
        let by_category = self.rules.categories && node.slice.category.is_none();
        !node.is_final && (by_category || self.rules.window.is_some() && !self.is_window_ignored)
    }

    /// A slice is too large: asks for the pages that show how to go on.
    fn probe(&mut self, at: usize) {
        let node = &self.nodes[at];
        if node.is_plain() {
            return self.descend(at);
        }
        let Some(edge) = node.edge() else { return };
        let pages = match node.order {
            Order::Nothing => self.sample_pages(at),
            _ => vec![node.first_page(), edge],
        };
        self.nodes[at].phase = Phase::Probing(pages);
        self.judge(at);
    }

    /// Pages spread over a slice, enough to tell its parts apart.
    fn sample_pages(&self, at: usize) -> Vec<u32> {
        const PARTS_PER_PAGE: usize = 4;
        let node = &self.nodes[at];
        let (first, edge) = (node.first_page(), node.edge().unwrap_or(node.first_page()));
        let known = node.reads.len();
        let wanted = self.parts(at).div_ceil(PARTS_PER_PAGE).clamp(1, 12).saturating_sub(known);
        let mut pages = vec![first];
        let step = usize::try_from(edge - first).unwrap_or(0) / (wanted + 1);
        pages.extend((1..=wanted).map(|part| first + u32::try_from(part * step).unwrap_or(0)));
        pages.dedup();
        pages
    }

    /// About how many records a slice that is too large holds.
    fn size(&self, at: usize) -> u64 {
        let node = &self.nodes[at];
        let capacity = node.capacity();
        let known = node.listing.total().or(node.expect).unwrap_or(capacity.saturating_mul(5) / 2);
        known.max(capacity.saturating_add(capacity / 2))
    }

    /// Parts that a slice is cut into.
    fn parts(&self, at: usize) -> usize {
        // Parts are meant to be half full: their sizes are estimates.
        let target = (self.nodes[at].capacity() / 2).max(1);
        usize::try_from(self.size(at).div_ceil(target)).unwrap_or(usize::MAX).clamp(2, SLICES_MAX)
    }

    /// The plain listing is too large: windows, or categories.
    fn descend(&mut self, at: usize) {
        let node = &self.nodes[at];
        let size = node.listing.total().map_or(Size::Over, Size::About);
        let category = node.slice.category.clone();
        self.close(at, SPLIT);
        if self.rules.window.is_some() && !self.is_window_ignored {
            self.open_root(Span { category, ..Span::whole() }, size);
        } else {
            self.wanted.push(Wanted::whole());
            self.spread();
        }
    }

    /// A slice is too large and its probes were answered.
    fn decide(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.order == Order::Unknown {
            node.order = node.observed_order();
            if node.order == Order::Unknown {
                return self.decide_moment(at);
            }
            if node.order == Order::Nothing && self.has_end() {
                return self.probe(at);
            }
        }
        match self.nodes[at].order {
            Order::Ascending => self.pass(at),
            Order::Descending if self.has_end() => self.pass(at),
            _ if self.has_end() => self.split(at),
            _ => self.overflow(at),
        }
    }

    /// All times are equal and nothing is known about the order.
    fn decide_moment(&mut self, at: usize) {
        let moment = self.nodes[at].reads.values().find_map(Read::first);
        match moment {
            Some(moment) if self.has_end() => self.cut_moment(at, moment),
            _ => {
                self.nodes[at].order = Order::Nothing;
                self.overflow(at);
            }
        }
    }

    /// A slice in order: it is read up to the time on its last page; from there the next one goes on.
    fn pass(&mut self, at: usize) {
        let unit = self.unit();
        let shown = self.shown(at);
        let node = &self.nodes[at];
        let Some(edge) = node.edge().and_then(|edge| node.reads.get(&edge)) else {
            let reason = node.listing.failure().unwrap_or_default();
            return self.give_up(at, reason);
        };
        let (Some(edge_first), Some(time)) = (edge.first(), edge.last()) else { return self.distrust(at) };
        let first = node.reads.get(&node.first_page()).and_then(Read::first);
        let mut rest = node.span.clone();
        let (is_moved, is_left) = if node.order == Order::Ascending {
            rest.start = Some(time);
            (node.span.start.is_none_or(|start| start < time), node.span.end.is_none_or(|end| time <= end))
        } else {
            rest.end = Some(time + shown - unit);
            (
                node.span.end.is_none_or(|end| time + shown - unit < end),
                node.span.start.is_none_or(|start| time >= start),
            )
        };
        if !is_left {
            let stop = node.span.end.map_or(time, |end| end + unit);
            return self.set_passing(at, Passing { stop, is_careful: true });
        }
        if !is_moved || first == Some(time) {
            return self.cut_moment(at, time);
        }
        let known = node.listing.total().or(node.expect);
        let again = edge.times.iter().filter(|other| **other == time).count() as u64;
        let left = known.map(|known| known.saturating_sub(node.capacity()) + again);
        let states_total = node.listing.total().is_some();
        let is_careful = edge_first == time;
        let (order, root, depth) = (node.order, node.root, node.depth);
        self.set_passing(at, Passing { stop: time, is_careful });
        let next = self.open(rest, order, depth, Size::Unknown);
        let node = &mut self.nodes[next];
        node.root = root;
        // Where one moment fills the page, it may reach far back: nothing is known about what is left.
        node.expect = left.filter(|_| !is_careful);
        node.probe_after = match node.expect {
            _ if states_total => 1,
            Some(left) if left < node.capacity() / 20 * 19 => {
                u32::try_from(left / u64::from(self.rules.paging.size_max.max(1))).unwrap_or(u32::MAX).saturating_add(3)
            }
            _ => 0,
        };
        node.settle_likely();
    }

    fn set_passing(&mut self, at: usize, passing: Passing) {
        self.nodes[at].phase = Phase::Passing(passing);
        self.judge(at);
    }

    /// One moment fills a whole slice: it goes to categories, what stands around it is listed by itself.
    fn cut_moment(&mut self, at: usize, moment: i64) {
        let extent = self.extent(at);
        let node = &self.nodes[at];
        let (span, order, depth, root) = (node.span.clone(), node.order, node.depth, node.root);
        let mut cuts = cut::around(moment.clamp(extent.low, extent.high), extent);
        if order == Order::Ascending {
            // Nothing stands before its first record.
            cuts.retain(|cut| *cut > moment);
        }
        if self.has_end() && cuts.is_empty() {
            return self.split(at);
        }
        if !self.has_end() && node.slice.category.is_some() {
            self.nodes[at].span.end = cuts.first().map_or(span.end, |cut| Some(cut - extent.unit));
            self.finish(at);
        } else {
            self.close(at, SPLIT);
        }
        for part in parts_of(&span, &cuts, extent.unit) {
            let low = part.start.unwrap_or(extent.low);
            let is_moment = low <= moment && part.end.is_some_and(|end| moment <= end) || cuts.is_empty();
            if !is_moment {
                let next = self.open(part, order, depth + 1, Size::Unknown);
                self.nodes[next].probe_after = if order.is_known() { 0 } else { 1 };
                self.nodes[next].root = if order.is_known() { root } else { next };
            } else if !self.has_end() {
                if span.category.is_none() {
                    self.want(at, part, true, depth + 1);
                }
            } else {
                self.open(part, Order::Nothing, depth + 1, Size::Over);
            }
        }
    }

    /// Cuts a slice in no order into parts.
    fn split(&mut self, at: usize) {
        let (extent, parts) = (self.extent(at), self.parts(at));
        let node = &self.nodes[at];
        if node.depth >= DEPTH_MAX || self.nodes.len() >= SLICES_MAX {
            return self.finish(at);
        }
        let samples = node.samples(extent.low, extent.high);
        let mut cuts = cut::by_samples(&samples, parts.min(samples.len() / 3 + 2), extent);
        if cuts.is_empty()
            && let Some(moment) = samples.get(samples.len() / 2)
        {
            cuts = cut::around(*moment, extent);
        }
        if cuts.is_empty() || node.depth >= DEPTH_SAMPLED {
            cuts.extend(cut::blind(extent));
            cuts.sort_unstable();
            cuts.dedup();
        }
        if cuts.is_empty() {
            return self.overflow(at);
        }
        let (span, depth, size) = (node.span.clone(), node.depth, self.size(at));
        let is_known = node.listing.total().or(node.expect).is_some();
        self.close(at, SPLIT);
        for part in parts_of(&span, &cuts, extent.unit) {
            let from = samples.partition_point(|time| part.start.is_some_and(|start| *time < start));
            let to = samples.partition_point(|time| part.end.is_none_or(|end| *time <= end));
            let share = (size * to.saturating_sub(from) as u64).checked_div(samples.len() as u64);
            let size = share.filter(|_| is_known).map_or(Size::Unknown, Size::About);
            self.open(part, Order::Nothing, depth + 1, size);
        }
    }

    /// A slice that no window can make smaller: categories.
    fn overflow(&mut self, at: usize) {
        let node = &self.nodes[at];
        if node.slice.category.is_some() || !self.rules.categories {
            return self.finish(at);
        }
        let (span, depth) = (node.span.clone(), node.depth);
        let is_ordered = node.order == Order::Ascending;
        self.close(at, SPLIT);
        self.want(at, span, is_ordered, depth + 1);
    }

    /// Lists a span by category; where there are none it is a gap.
    fn want(&mut self, at: usize, span: Span, is_ordered: bool, depth: u32) {
        if !self.rules.categories {
            return self.gap(at, "more offers at one time than the gateway lists");
        }
        self.wanted.push(Wanted { span, is_ordered, depth });
        self.spread();
    }

    /// Nothing makes a slice smaller: it is read as far as the gateway serves it.
    fn finish(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.is_final = true;
        node.phase = Phase::Reading;
        self.judge(at);
    }

    /// Opens the slices of what is to be listed by category.
    pub(super) fn spread(&mut self) {
        let categories = match &self.categories {
            Categories::Unasked | Categories::InFlight => return,
            Categories::Known(categories) if categories.is_empty() => Err("the shop has no categories".to_owned()),
            Categories::Known(categories) => Ok(categories.clone()),
            Categories::Failed(reason) => Err(format!("categories: {reason}")),
        };
        for wanted in std::mem::take(&mut self.wanted) {
            match &categories {
                Ok(categories) => categories.iter().for_each(|category| self.open_category(&wanted, category)),
                Err(reason) => {
                    let at = self.open(wanted.span, Order::Nothing, wanted.depth, Size::Unknown);
                    self.gap(at, &format!("more offers than the gateway lists; {reason}"));
                }
            }
        }
    }

    fn open_category(&mut self, wanted: &Wanted, category: &str) {
        let category = Some(category.to_owned());
        if wanted.span.is_whole() && self.rules.from.is_none() {
            let slice = Slice { category: category.clone(), ..Slice::default() };
            let mut node = Node::new(Span { category, ..Span::default() }, slice, &self.rules.paging);
            node.probe_after = PAGES_BEFORE_PROBE;
            node.depth = wanted.depth;
            node.root = self.nodes.len();
            self.nodes.push(node);
            return;
        }
        let span = Span { category, ..wanted.span.clone() };
        let order = if wanted.is_ordered { Order::Ascending } else { Order::Unknown };
        let stop = span.end.map(|end| end + self.unit()).filter(|_| !self.has_end());
        let at = self.open(span, order, wanted.depth, Size::Unknown);
        if let (Some(stop), true) = (stop, wanted.is_ordered) {
            self.nodes[at].phase = Phase::Passing(Passing { stop, is_careful: true });
        }
    }

    /// Opens a window whose order is not known yet.
    pub(super) fn open_root(&mut self, span: Span, size: Size) {
        let at = self.open(span, Order::Unknown, 0, size);
        let node = &mut self.nodes[at];
        match size {
            Size::About(expect) if expect > node.capacity() => node.probe_after = 0,
            Size::Over => node.probe_after = 0,
            _ => {}
        }
    }

    /// Opens a window.
    fn open(&mut self, span: Span, order: Order, depth: u32, size: Size) -> usize {
        let at = |time: Option<i64>| time.and_then(DateTime::from_timestamp_millis);
        let slice = Slice {
            start_at: at(span.start),
            end_at: at(span.end).filter(|_| self.has_end()),
            category: span.category.clone(),
        };
        let mut node = Node::new(span, slice, &self.rules.paging);
        let capacity = node.capacity();
        let pages =
            |expect: u64| u32::try_from(expect / u64::from(self.rules.paging.size_max.max(1))).unwrap_or(u32::MAX);
        (node.order, node.depth, node.root) = (order, depth, self.nodes.len());
        (node.expect, node.probe_after) = match size {
            Size::Unknown => (None, PAGES_BEFORE_PROBE),
            Size::Over => (Some(capacity.saturating_mul(2)), 0),
            Size::About(expect) if expect / 8 > capacity / 5 => (Some(expect), u32::MAX),
            Size::About(expect) if expect > capacity / 4 * 3 => (Some(expect), 0),
            Size::About(expect) => (Some(expect), pages(expect / 3 * 4).saturating_add(3)),
        };
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// A slice was not answered. One that took too long is halved where windows have an end.
    fn give_up(&mut self, at: usize, reason: String) {
        let unit = self.unit();
        let node = &mut self.nodes[at];
        if let Phase::Passing(Passing { stop, .. }) = node.phase {
            // Other slices cover the rest already.
            match node.order {
                Order::Ascending => node.span.end = Some(stop - unit),
                _ => node.span.start = Some(stop + unit),
            }
        }
        let extent = self.extent(at);
        let can_halve = self.has_end() && !self.is_window_ignored && self.halvings < HALVINGS_MAX;
        if !self.nodes[at].has_timed_out || !can_halve || extent.low >= extent.high {
            return self.gap(at, &reason);
        }
        self.halvings += 1;
        let node = &self.nodes[at];
        let samples = node.samples(extent.low, extent.high);
        let mut cuts = cut::by_samples(&samples, 2, extent);
        if cuts.is_empty() {
            cuts = cut::blind(extent);
        }
        let (span, depth) = (node.span.clone(), node.depth);
        if cuts.is_empty() || depth >= DEPTH_MAX {
            return self.gap(at, &reason);
        }
        self.close(at, SPLIT);
        for part in parts_of(&Span { start: Some(extent.low), ..span }, &cuts, unit) {
            let next = self.open(part, Order::Unknown, depth + 1, Size::Unknown);
            self.nodes[next].root = next;
        }
    }

    /// A page breaks the order that its slice and those around it rely on: all that they were to cover is listed anew.
    pub(super) fn distrust(&mut self, at: usize) {
        let root = self.nodes[at].root;
        for node in self.nodes.iter_mut().filter(|node| node.root == root && node.order.is_known()) {
            node.order = Order::Nothing;
            node.phase = Phase::Closed;
            node.outcome.get_or_insert_with(|| "not in the order of modification".to_owned());
        }
        if self.has_end() {
            self.split(root);
        } else {
            self.overflow(root);
        }
    }

    /// Whether a page holds records from far outside its window.
    pub(super) fn is_astray(&self, at: usize, page: u32) -> bool {
        let node = &self.nodes[at];
        let (start, end) = (node.slice.start_at, node.slice.end_at);
        let low = start.map_or(i64::MIN, |at| at.timestamp_millis() - STRAY_MILLIS);
        let high = end.map_or(i64::MAX, |at| at.timestamp_millis() + STRAY_MILLIS);
        node.reads.get(&page).is_some_and(|read| read.times.iter().any(|time| *time < low || high < *time))
    }

    /// The gateway does not keep to windows: categories are all there is.
    pub(super) fn ignore_windows(&mut self, at: usize) {
        const REASON: &str = "the gateway lists offers from outside the window";
        if std::mem::replace(&mut self.is_window_ignored, true) {
            if self.nodes[at].phase != Phase::Closed {
                self.gap(at, REASON);
            }
            return;
        }
        for node in self.nodes.iter_mut().filter(|node| !node.is_plain()) {
            node.phase = Phase::Closed;
            node.outcome.get_or_insert_with(|| REASON.to_owned());
        }
        if self.rules.categories && self.rules.from.is_none() && self.nodes[at].slice.category.is_none() {
            self.wanted = vec![Wanted::whole()];
            self.spread();
        } else {
            self.gap(at, REASON);
        }
    }

    fn close(&mut self, at: usize, outcome: &str) {
        let node = &mut self.nodes[at];
        node.phase = Phase::Closed;
        node.outcome = Some(outcome.to_owned());
    }

    fn gap(&mut self, at: usize, reason: &str) {
        self.close(at, reason);
        let name = self.nodes[at].name();
        self.gaps.push(if name.is_empty() { reason.to_owned() } else { format!("{name}: {reason}") });
    }

    /// The bounds of a slice, for cutting it.
    fn extent(&self, at: usize) -> Extent {
        let node = &self.nodes[at];
        let low = node.span.start.unwrap_or(FLOOR);
        let newest = node.reads.values().flat_map(|read| read.times.iter().copied()).max().unwrap_or(low);
        let open_end = self.rules.until.timestamp_millis().max(newest).max(low);
        Extent { low, high: node.span.end.unwrap_or(open_end), unit: self.unit(), shown: self.shown(at) }
    }

    /// The width of a moment as this slice's records show it: whole seconds where all are.
    fn shown(&self, at: usize) -> i64 {
        let mut times = self.nodes[at].reads.values().flat_map(|read| &read.times);
        let width = if times.all(|time| time.rem_euclid(1000) == 0) { 1000 } else { 1 };
        width.max(self.unit())
    }
}

/// The parts of a span between cuts.
fn parts_of(span: &Span, cuts: &[i64], unit: i64) -> Vec<Span> {
    let starts = std::iter::once(span.start).chain(cuts.iter().copied().map(Some));
    let ends = cuts.iter().map(|cut| Some(cut - unit)).chain([span.end]);
    starts.zip(ends).map(|(start, end)| Span { start, end, category: span.category.clone() }).collect()
}
