//! What becomes of a slice that no window makes smaller, that is not answered, or whose order breaks.
//!
//! Invariant: every moment and category of a slice that is given up is covered by the slices opened in its place, or is
//! named as a gap.

use super::node::{Node, Order, Passing, Phase, Span};
use super::split::{DISORDERED, MOMENT_MILLIS, PAGES_BEFORE_PROBE, PAGES_OF_MOMENT_BEFORE_PROBE, SPLIT, Size};
use super::{Categories, Cover, SLICES_MAX, Slice};

/// Records may stand this far outside a window: they may show a day, or another time zone's hour.
const STRAY_MILLIS: i64 = 36 * 3_600_000;

/// A span to be listed by category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    span: Span,
    is_ordered: bool,
    depth: u32,
}

impl Wanted {
    pub(super) fn whole() -> Self {
        Self { span: Span::whole(), is_ordered: false, depth: 0 }
    }
}

impl Cover {
    /// A slice that no window can make smaller: categories.
    pub(super) fn overflow(&mut self, at: usize) {
        let node = &self.nodes[at];
        if node.slice.category.is_some() || !self.rules.categories {
            return self.finish(at);
        }
        let (span, depth) = (node.span.clone(), node.depth);
        let is_ordered = node.order == Order::Ascending;
        self.close(at, SPLIT);
        self.want(span, is_ordered, depth + 1);
    }

    /// Lists a span by category.
    pub(super) fn want(&mut self, span: Span, is_ordered: bool, depth: u32) {
        self.wanted.push(Wanted { span, is_ordered, depth });
        self.spread();
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
            let too_many = || Err(format!("more than {SLICES_MAX} slices"));
            let categories = categories.clone().and_then(|categories| {
                if self.nodes.len() + categories.len() > SLICES_MAX { too_many() } else { Ok(categories) }
            });
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
            // Where no window makes it smaller, its last page would tell nothing that helps.
            if self.has_end() && !self.is_window_ignored {
                node.probe_after = PAGES_BEFORE_PROBE;
            }
            node.depth = wanted.depth;
            node.root = self.nodes.len();
            self.nodes.push(node);
            return;
        }
        let span = Span { category, ..wanted.span.clone() };
        let order = if wanted.is_ordered { Order::Ascending } else { Order::Unknown };
        let stop = span.end.map(|end| end + self.unit()).filter(|_| !self.has_end());
        // What was made at one moment is hardly ever told apart by windows.
        let is_moment = span.end.zip(span.start).is_some_and(|(end, start)| end - start < MOMENT_MILLIS);
        let at = self.open(span, order, wanted.depth, Size::Unknown);
        if is_moment {
            self.nodes[at].probe_after = PAGES_OF_MOMENT_BEFORE_PROBE;
        }
        if let (Some(stop), true) = (stop, wanted.is_ordered) {
            self.nodes[at].phase = Phase::Passing(Passing { stop, is_careful: true });
        }
    }

    /// A slice was not answered: what it was to cover is missing.
    pub(super) fn give_up(&mut self, at: usize, reason: &str) {
        self.trim_passed(at);
        self.gap(at, reason);
    }

    /// Takes off a slice's span what other slices cover already.
    pub(super) fn trim_passed(&mut self, at: usize) {
        let unit = self.unit();
        let node = &mut self.nodes[at];
        if let Phase::Passing(Passing { stop, .. }) = node.phase {
            match node.order {
                Order::Ascending => node.span.end = Some(stop - unit),
                _ => node.span.start = Some(stop + unit),
            }
        }
    }

    /// A page breaks the order that its slice and those around it rely on: all that they were to cover is listed anew.
    pub(super) fn distrust(&mut self, at: usize) {
        let root = self.nodes[at].root;
        for node in self.nodes.iter_mut().filter(|node| node.root == root && node.order.is_known()) {
            node.order = Order::Nothing;
            node.phase = Phase::Closed;
            node.outcome.get_or_insert_with(|| DISORDERED.to_owned());
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
}
