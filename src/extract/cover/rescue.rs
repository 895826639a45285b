//! What becomes of a slice that no window makes smaller, that is not answered, or whose order breaks: categories, gaps.
//!
//! Invariant: every moment and category of a slice that is given up is covered by the slices opened in its place, or is
//! named as a gap.

use super::node::{Order, Passing, Phase, Span};
use super::split::{DISORDERED, MOMENT_MILLIS, PAGES_BEFORE_PROBE, PAGES_OF_MOMENT_BEFORE_PROBE, SPLIT, Size};
use super::{Categories, Cover, SLICES_MAX, Slice};

/// A span to be listed by category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) span: Span,
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
        if node.slice.category.is_some() || !self.has_categories() {
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
            if self.is_category_ignored {
                self.read_whole(&wanted.span);
                continue;
            }
            let too_many = || Err(format!("more than {SLICES_MAX} slices"));
            let categories = categories.clone().and_then(|categories| {
                if self.nodes.len() + categories.len() > SLICES_MAX { too_many() } else { Ok(categories) }
            });
            match &categories {
                Ok(categories) => {
                    let opened = categories.iter().map(|category| self.open_category(&wanted, category)).collect();
                    self.try_categories(opened, wanted.span);
                }
                Err(reason) => {
                    self.hindrance.get_or_insert_with(|| reason.clone());
                    self.read_whole(&wanted.span);
                }
            }
        }
    }

    fn open_category(&mut self, wanted: &Wanted, category: &str) -> usize {
        let category = Some(category.to_owned());
        if wanted.span.is_whole() && self.rules.from.is_none() {
            let slice = Slice { category: category.clone(), ..Slice::default() };
            let mut node = self.node(Span { category, ..Span::default() }, slice);
            // Where no window makes it smaller, its last page would tell nothing that helps.
            if self.has_end() && !self.is_window_ignored {
                node.probe_after = PAGES_BEFORE_PROBE;
            }
            node.depth = wanted.depth;
            node.root = self.nodes.len();
            self.nodes.push(node);
            return self.nodes.len() - 1;
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
        at
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
            node.untrimmed.get_or_insert_with(|| node.span.clone());
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
            // What was to take the place of one that is split is given up with it.
            let is_split = node.outcome.as_deref() == Some(SPLIT);
            node.outcome = node.outcome.take().filter(|_| !is_split).or_else(|| Some(DISORDERED.to_owned()));
        }
        // What other slices were to go on with is no longer theirs.
        if let Some(span) = self.nodes[root].untrimmed.take() {
            self.nodes[root].span = span;
        }
        if self.has_end() {
            self.split(root);
        } else {
            self.is_window_useless = true;
            self.overflow(root);
        }
    }
}
