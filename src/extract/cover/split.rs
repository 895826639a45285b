//! What becomes of a slice that is too large: how it is told, passed over or cut.
//!
//! Invariant: every moment and category of a slice that is given up is covered by the slices opened in its place, or is
//! named as a gap.

use chrono::DateTime;

use crate::extract::page::{End, Taken};

use super::cut::{self, Extent};
use super::node::{Node, Order, Passing, Phase, Read, Span};
use super::rescue::Wanted;
use super::{Cover, Gap, SLICES_MAX, Slice};

/// The outcome of a slice that others cover.
pub(super) const SPLIT: &str = "split";
/// The outcome of a slice up to whose end others go on.
pub(super) const ADVANCED: &str = "advanced";
pub(super) const DISORDERED: &str = "not in the order of modification";
pub(super) const COMPLETE: &str = "complete";

/// Where time begins: any 13-digit moment before the gateways' oldest offer (earlier ones have 12 digits).
pub(super) const FLOOR: i64 = 1_041_379_200_000;
/// A slice lies at most this deep in others.
pub(super) const DEPTH_MAX: u32 = 64;
/// From this depth on spans are halved, too: samples alone have not helped.
const DEPTH_SAMPLED: u32 = 6;
/// Pages of a slice of unknown size before its last page is asked for.
pub(super) const PAGES_BEFORE_PROBE: u32 = 4;
/// The same for a category of one moment: it is hardly ever too large.
pub(super) const PAGES_OF_MOMENT_BEFORE_PROBE: u32 = 24;
/// Records show whole seconds: what lies closer together is one moment.
pub(super) const MOMENT_MILLIS: i64 = 1_000;

/// About how many records a span holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Unknown,
    About(u64),
    /// More than can be listed, as far as is known.
    Over,
}

impl Span {
    /// Everything.
    pub(super) fn whole() -> Self {
        Self { start: Some(FLOOR), ..Self::default() }
    }

    pub(super) fn is_whole(&self) -> bool {
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
            Phase::Leaving if self.nodes[at].listing.is_waiting() => {}
            Phase::Leaving => self.halve(at),
            Phase::Question => self.judge_question(at),
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
            Some(End::Incomplete(reason)) => {
                if node.listing.is_cut() {
                    self.question_windows();
                }
                self.give_up(at, &reason);
            }
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
            Some(reason) => self.give_up(at, &reason),
            None if node.span.end.is_some_and(|end| end < passing.stop) => self.close(at, COMPLETE),
            None => self.close(at, ADVANCED),
        }
    }

    /// Whether a slice can be replaced by smaller ones.
    pub(super) fn can_split(&self, node: &Node) -> bool {
        let by_category = self.has_categories() && node.slice.category.is_none();
        !node.is_final && (by_category || self.has_windows())
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
        self.nodes[at].basis.clone_from(&pages);
        self.nodes[at].phase = Phase::Probing(pages);
        self.judge(at);
    }

    /// Pages spread over a slice, enough to tell its parts apart.
    fn sample_pages(&self, at: usize) -> Vec<u32> {
        const PARTS_PER_PAGE: usize = 3;
        const SAMPLED_PAGES_MAX: usize = 25;
        let node = &self.nodes[at];
        let (first, edge) = (node.first_page(), node.edge().unwrap_or(node.first_page()));
        let mut pages: Vec<u32> =
            (first..=edge).filter(|page| *page == first || node.listing.is_asked(*page)).collect();
        let wanted = self.parts(at).div_ceil(PARTS_PER_PAGE).clamp(1, SAMPLED_PAGES_MAX).saturating_sub(pages.len());
        let step = usize::try_from(edge - first).unwrap_or(0) / (wanted + 1);
        pages.extend((1..=wanted).map(|part| first + u32::try_from(part * step).unwrap_or(0)));
        pages.sort_unstable();
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
        if self.has_windows() {
            self.open_root(Span { category, ..Span::whole() }, size);
        } else {
            self.wanted.push(Wanted::whole());
            self.spread();
        }
    }

    /// A slice is too large and its probes were answered.
    fn decide(&mut self, at: usize) {
        if self.nodes[at].order == Order::Unknown {
            let order = self.nodes[at].observed_order();
            self.nodes[at].order = order;
            if order == Order::Unknown {
                return self.decide_moment(at);
            }
            if order == Order::Nothing && self.has_end() {
                return self.probe(at);
            }
            if order != Order::Ascending && !self.has_end() && self.nodes[at].is_everything() {
                self.is_window_useless = true;
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
        let moment = self.nodes[at].basis().find_map(Read::first);
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
            return self.give_up(at, &reason);
        };
        let (Some(edge_first), Some(time)) = (edge.first(), edge.last()) else { return self.distrust(at) };
        let first = node.reads.get(&node.first_page()).and_then(Read::first);
        let mut rest = node.span.clone();
        let (is_moved, is_left) = if node.order == Order::Ascending {
            rest.start = Some(time);
            (node.span.start.is_none_or(|start| start < time), node.span.end.is_none_or(|end| time <= end))
        } else {
            let end = time + shown - unit;
            rest.end = Some(end);
            (node.span.end.is_none_or(|before| end < before), true)
        };
        if !is_left {
            let stop = node.span.end.map_or(time, |end| end + unit);
            return self.set_passing(at, Passing { stop, is_careful: true });
        }
        if self.nodes.len() >= SLICES_MAX {
            return self.finish(at);
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
        // Its last page is there: no shorter one before it is the end.
        self.nodes[at].listing.end_at(Taken::Empty);
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
        if self.nodes[at].depth >= DEPTH_MAX || self.nodes.len() >= SLICES_MAX {
            return self.finish(at);
        }
        let extent = self.extent(at);
        let node = &self.nodes[at];
        let (span, order, depth, root) = (node.span.clone(), node.order, node.depth, node.root);
        // Records may show a moment before the slice's start: the beginning of its day, say.
        let moment = moment.clamp(extent.low, extent.high);
        let mut cuts = cut::around(moment, extent);
        if order == Order::Ascending {
            // Nothing stands before its first record.
            cuts.retain(|cut| *cut > moment);
        }
        if self.has_end() && cuts.is_empty() {
            return self.split(at);
        }
        let is_last_resort = node.slice.category.is_some() || !self.has_categories();
        if !self.has_end() && is_last_resort {
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
            } else if !is_last_resort {
                self.want(part, !self.has_end(), depth + 1);
            } else if self.has_end() {
                self.open(part, Order::Nothing, depth + 1, Size::Over);
            }
        }
    }

    /// Cuts a slice in no order into parts.
    pub(super) fn split(&mut self, at: usize) {
        let (extent, parts) = (self.extent(at), self.parts(at));
        let node = &self.nodes[at];
        if node.depth >= DEPTH_MAX || self.nodes.len() >= SLICES_MAX {
            return self.finish(at);
        }
        let samples = node.samples(extent.low, extent.high);
        let is_moment = extent.high - extent.low < MOMENT_MILLIS && samples.first() == samples.last();
        if is_moment && self.has_categories() && node.slice.category.is_none() {
            // Categories tell apart what no record shows to differ in time.
            return self.overflow(at);
        }
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
            let share = size.saturating_mul(to.saturating_sub(from) as u64).checked_div(samples.len() as u64);
            let size = share.filter(|_| is_known).map_or(Size::Unknown, Size::About);
            self.open(part, Order::Nothing, depth + 1, size);
        }
    }

    /// Nothing makes a slice smaller: it is read as far as the gateway serves it.
    pub(super) fn finish(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.is_final = true;
        (node.phase, node.outcome) = (Phase::Reading, None);
        self.first_open = self.first_open.min(at);
        self.question_windows();
        self.judge(at);
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
    pub(super) fn open(&mut self, span: Span, order: Order, depth: u32, size: Size) -> usize {
        let at = |time: Option<i64>| time.and_then(DateTime::from_timestamp_millis);
        let slice = Slice {
            start_at: at(span.start),
            end_at: at(span.end).filter(|_| self.has_end()),
            category: span.category.clone(),
        };
        let mut node = self.node(span, slice);
        let capacity = node.capacity();
        let pages =
            |expect: u64| u32::try_from(expect / u64::from(self.rules.paging.size_max.max(1))).unwrap_or(u32::MAX);
        (node.order, node.depth, node.root) = (order, depth, self.nodes.len());
        (node.expect, node.probe_after) = match size {
            Size::Unknown => (None, PAGES_BEFORE_PROBE),
            Size::Over => (Some(capacity.saturating_mul(2)), 0),
            Size::About(expect) if expect / 8 > capacity / 5 => (Some(expect), u32::MAX),
            Size::About(expect) if expect > capacity / 20 * 13 => (Some(expect), 0),
            Size::About(expect) => (Some(expect), pages(expect / 3 * 4).saturating_add(3)),
        };
        if let Some(at) = self.same_slice(&node) {
            let known = &mut self.nodes[at];
            if known.outcome.as_deref().is_some_and(|outcome| [DISORDERED, ADVANCED].contains(&outcome)) {
                // The pages that were answered before the order broke count.
                (known.order, known.depth, known.root) = (order, depth, at);
                (known.expect, known.probe_after) = (node.expect, node.probe_after);
                (known.phase, known.outcome) = (Phase::Reading, None);
                self.first_open = self.first_open.min(at);
                self.judge(at);
            }
            return at;
        }
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// A slice that was opened already and covers the same.
    fn same_slice(&self, node: &Node) -> Option<usize> {
        let is_same = |other: &Node| other.slice == node.slice && other.span == node.span;
        self.nodes.iter().position(is_same)
    }

    pub(super) fn close(&mut self, at: usize, outcome: &str) {
        let node = &mut self.nodes[at];
        node.phase = Phase::Closed;
        node.outcome = Some(outcome.to_owned());
    }

    pub(super) fn gap(&mut self, at: usize, reason: &str) {
        let is_cut = self.nodes[at].listing.is_cut();
        self.close(at, reason);
        let name = self.nodes[at].name();
        let why = self.hindrance.as_ref().filter(|_| is_cut).map(|why| format!(" ({why})")).unwrap_or_default();
        let reason = if name.is_empty() { format!("{reason}{why}") } else { format!("{name}: {reason}{why}") };
        self.gaps.push(Gap { reason, is_cut });
    }

    /// The bounds of a slice, for cutting it.
    pub(super) fn extent(&self, at: usize) -> Extent {
        let node = &self.nodes[at];
        let low = node.span.start.unwrap_or(FLOOR);
        let newest = node.basis().flat_map(|read| read.times.iter().copied()).max().unwrap_or(low);
        let open_end = self.rules.until.timestamp_millis().max(newest).max(low);
        Extent { low, high: node.span.end.unwrap_or(open_end), unit: self.unit(), shown: self.shown(at) }
    }

    /// The width of a moment as records show it: the day, minute or second where they show no more.
    pub(super) fn shown(&self, at: usize) -> i64 {
        const BEIJING: i64 = 8 * 3_600_000;
        const WIDTHS: [(i64, i64); 4] = [(86_400_000, 0), (86_400_000, BEIJING), (60_000, 0), (1000, 0)];
        let node = &self.nodes[at];
        let times = || node.basis().chain(self.nodes[node.root].basis()).flat_map(|read| &read.times);
        let width = if times().min() == times().max() {
            // A single time says nothing by itself, unless it stands before the slice that it is in.
            let early = times().min().zip(node.span.start).map_or(0, |(time, start)| start - time);
            if early > 0 { WIDTHS.iter().rev().map(|(width, _)| *width).find(|width| early < *width) } else { None }
        } else {
            let is_whole = |width: i64, offset: i64| times().all(|time| (time + offset).rem_euclid(width) == 0);
            WIDTHS.iter().find(|(width, offset)| is_whole(*width, *offset)).map(|(width, _)| *width)
        };
        width.unwrap_or(1).max(self.unit())
    }
}

/// The parts of a span between cuts.
pub(super) fn parts_of(span: &Span, cuts: &[i64], unit: i64) -> Vec<Span> {
    let starts = std::iter::once(span.start).chain(cuts.iter().copied().map(Some));
    let ends = cuts.iter().map(|cut| Some(cut - unit)).chain([span.end]);
    starts.zip(ends).map(|(start, end)| Span { start, end, category: span.category.clone() }).collect()
}
