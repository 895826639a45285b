//! Covering one shop's listing past every cap of its gateway: which slice to list, which page to ask for next, and
//! whether everything was listed (WIRE §5 "Windows").
//!
//! A state machine without I/O around one [`super::page::Listing`] per slice. A slice is the plain listing, a span of
//! modification time, a category, or both. It starts whole; a slice that is too large is not read to its end:
//!
//! | the window's records come | and it has an end bound | the slice goes on as |
//! |---|---|---|
//! | oldest first | | this slice up to the time on its last page, then a slice from that time on |
//! | newest first | yes | the same, backwards |
//! | otherwise | yes | parts of about equal size, cut at times that some of its pages show |
//! | otherwise | no | categories |
//! | all at one moment | | categories of that moment, and the rest |
//!
//! The last page the gateway serves is asked for early where a slice may be too large: it tells so, and from which time
//! on the next slice starts. No page of a slice is asked for twice.
//!
//! Where fewer offers came than the official count, what ended with a short page is asked for one more: nothing else tells
//! that it was the last. What changed since a moment has no count, so there only an empty page is the end.
//!
//! A slice whose page takes too long is left at once and halved, where the window has an end bound. A parameter that the
//! gateway evidently does not read is told by the first pages, named, and not used further.
//!
//! Invariant: it ends, and as complete only when every slice was read to its end or is covered by slices that were.

mod again;
mod cut;
mod node;
mod rescue;
mod slow;
mod split;
#[cfg(test)]
mod tests;
mod unread;

use std::collections::HashSet;

use chrono::{DateTime, Duration, Utc};

use crate::config::gateway::Paging;

use super::facts::Covered;
use super::page::{End, Page, Repeated, Taken};

use node::{Node, Phase, Span};

/// No shop is listed in more slices.
pub const SLICES_MAX: usize = 4096;

/// What a gateway lets a listing be narrowed to, and from when it is listed.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The pages of every slice.
    pub paging: Paging,
    /// `None`: there are no windows.
    pub window: Option<WindowRules>,
    /// The parameter that narrows it to a category; `None`: there is none, or the categories cannot be asked for.
    pub category: Option<String>,
    /// What official counts may be off by.
    pub tolerance: u64,
    /// List only what was modified since.
    pub from: Option<DateTime<Utc>>,
    /// The moment that the listing begins: most spans end before it.
    pub until: DateTime<Utc>,
}

/// How a listing is narrowed to a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowRules {
    /// The parameter with its start.
    pub start: String,
    /// The parameter with its (inclusive) end, where it has one.
    pub end: Option<String>,
    /// The difference between two moments as the gateway writes them: a millisecond, or a second.
    pub unit: Duration,
}

/// A call to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// The shop's categories.
    Categories,
    /// A page of a slice.
    Page {
        /// Which slice: [`Cover::slice`].
        slice: usize,
        /// The page.
        page: u32,
    },
}

/// What a listing is narrowed to. Nothing: the plain listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slice {
    /// Modified at this time or later.
    pub start_at: Option<DateTime<Utc>>,
    /// Modified at this time or earlier.
    pub end_at: Option<DateTime<Utc>>,
    /// In this category.
    pub category: Option<String>,
}

/// Why a page was not answered within its budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In words.
    pub reason: String,
    /// The gateway took too long: a smaller slice may do.
    pub timed_out: bool,
}

/// The listing of one shop.
#[derive(Debug, Clone)]
pub struct Cover {
    rules: Rules,
    total: Option<u64>,
    nodes: Vec<Node>,
    /// Slices before this one are closed and have nothing to ask for.
    first_open: usize,
    categories: Categories,
    /// What is to be listed by category.
    wanted: Vec<rescue::Wanted>,
    seen: HashSet<u64>,
    /// What is missing, and why.
    gaps: Vec<Gap>,
    /// Why categories cannot tell apart what windows do not.
    hindrance: Option<String>,
    /// What windows state as their totals is something else.
    is_stated_ignored: bool,
    /// What the gateway does not read, and how many of these were told.
    unread: Vec<unread::Unread>,
    unread_told: usize,
    category_trial: unread::Trial,
    is_category_ignored: bool,
    is_window_ignored: bool,
    /// Windows without an end came in no order: they make nothing smaller.
    is_window_useless: bool,
    is_window_questioned: bool,
    /// Slices that were left because they take too long, since a page was answered last.
    halvings: u32,
    /// Which page ends a slice.
    is_end: Taken,
    /// What changed was listed a second time.
    is_relisted: bool,
    /// Slices whose second page was full and repeats the first: others show whether the page parameter is read.
    repeated: Vec<(usize, Repeated)>,
}

/// What is missing of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Gap {
    reason: String,
    /// There may be more than the gateway serves; nothing failed.
    is_cut: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Categories {
    Unasked,
    InFlight,
    Known(Vec<String>),
    Failed(String),
}

impl Cover {
    /// A listing with nothing asked for yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            // No count tells of edits that are missing.
            is_end: if rules.from.is_some() { Taken::Few } else { Taken::Short },
            rules,
            total: None,
            nodes: Vec::new(),
            first_open: 0,
            categories: Categories::Unasked,
            wanted: Vec::new(),
            seen: HashSet::new(),
            gaps: Vec::new(),
            hindrance: None,
            is_stated_ignored: false,
            unread: Vec::new(),
            unread_told: 0,
            category_trial: unread::Trial::Untried,
            is_category_ignored: false,
            is_window_ignored: false,
            is_window_useless: false,
            is_window_questioned: false,
            halvings: 0,
            is_relisted: false,
            repeated: Vec::new(),
        }
    }

    /// The official count has arrived. Before the first call it decides how the listing starts.
    pub fn counted(&mut self, total: u64) {
        self.total = Some(total);
        if let Some(node) = self.nodes.first_mut()
            && node.is_plain()
            && node.slice.category.is_none()
        {
            node.listing.counted(total);
            self.judge(0);
        }
    }

    /// The next call to make, if there is one now. It is in flight until it is settled.
    #[expect(clippy::should_implement_trait, reason = "it does not end with the first `None`")]
    pub fn next(&mut self) -> Option<Ask> {
        if self.nodes.is_empty() && self.wanted.is_empty() {
            self.begin();
        }
        if !self.wanted.is_empty() && self.categories == Categories::Unasked {
            self.categories = Categories::InFlight;
            return Some(Ask::Categories);
        }
        while self.nodes.get(self.first_open).is_some_and(|node| node.phase == Phase::Closed) {
            self.first_open += 1;
        }
        let open = self.first_open..self.nodes.len();
        // While the gateway is too slow the smallest slices come first, which were cut last: they show what it can take.
        let order: Vec<usize> = if self.halvings > 0 { open.rev().collect() } else { open.collect() };
        // Pages that show how to go on come first; the bulk keeps the others busy meanwhile.
        for in_bulk in [false, true] {
            for slice in &order {
                if let Some(page) = self.next_of(*slice, in_bulk) {
                    return Some(Ask::Page { slice: *slice, page });
                }
            }
        }
        None
    }

    fn next_of(&mut self, slice: usize, in_bulk: bool) -> Option<u32> {
        if let Some(is_tried) = self.is_on_trial(slice) {
            return if is_tried { self.nodes[slice].next_first() } else { None };
        }
        let is_alone = self.can_halve_any() && self.nodes[slice].awaits_first_answer();
        if is_alone { None } else { self.nodes[slice].next(in_bulk) }
    }

    /// What a slice is narrowed to.
    ///
    /// # Panics
    /// For a slice that [`Cover::next`] did not name.
    #[must_use]
    pub fn slice(&self, slice: usize) -> &Slice {
        &self.nodes[slice].slice
    }

    /// A page was answered well.
    ///
    /// # Errors
    /// [`Repeated`] when a page of the slice holds the records of its first one, though there is more: the slice is a gap.
    pub fn answered(&mut self, slice: usize, number: u32, page: &Page) -> Result<(), Repeated> {
        let is_paged = self.has_turned();
        let Some(node) = self.nodes.get_mut(slice) else { return Ok(()) };
        let nothing = Page::default();
        if is_paged {
            node.listing.trust_pages();
        }
        let repeats = match node.listing.answered(number, page) {
            Ok(repeats) => repeats,
            Err(repeated) => return self.repeats_its_first(slice, repeated),
        };
        let is_in_order = match repeats {
            None => node.read(number, page),
            Some(repeats) if repeats == number => node.read(number, &nothing),
            Some(repeats) => node.read(number, page) & node.read(repeats, &nothing),
        };
        node.new += page.keys.iter().filter(|key| self.seen.insert(**key)).count() as u64;
        // What is empty says nothing about slices that hold records.
        if !page.keys.is_empty() {
            self.halvings = self.halvings.saturating_sub(1);
        }
        if page.total.is_some() {
            self.question_totals(slice);
        }
        match self.astray(slice, number) {
            Some(_) if self.nodes[slice].phase == Phase::Question => {}
            Some(parameter) => self.ignore_windows(slice, parameter),
            None if !is_in_order => self.distrust(slice),
            None => {}
        }
        if !self.repeated.iter().any(|(at, _)| *at == slice) {
            self.judge(slice);
        }
        self.judge_trial();
        self.judge_repeated()?;
        self.look_again();
        self.list_again();
        Ok(())
    }

    /// A page failed for good.
    pub fn failed(&mut self, slice: usize, number: u32, failure: Failure) {
        if slice >= self.nodes.len() {
            return;
        }
        if failure.timed_out && (self.can_halve(slice) || self.nodes[slice].phase == Phase::Leaving) {
            self.nodes[slice].listing.failed(number, failure.reason);
            self.leave(slice, number);
        } else {
            self.nodes[slice].fail(number, failure.reason);
        }
        self.judge(slice);
        self.judge_trial();
        self.look_again();
    }

    /// A page was not sent after all: it will be asked for again.
    pub fn not_sent(&mut self, slice: usize, number: u32) {
        if let Some(node) = self.nodes.get_mut(slice) {
            node.listing.not_sent(number);
        }
    }

    /// The shop's categories.
    pub fn categories(&mut self, categories: Vec<String>) {
        let mut known = HashSet::new();
        let categories = categories.into_iter().filter(|category| known.insert(category.clone())).collect();
        self.categories = Categories::Known(categories);
        self.spread();
    }

    /// The categories were not answered.
    pub fn categories_failed(&mut self, reason: String) {
        self.categories = Categories::Failed(reason);
        self.spread();
    }

    /// The categories were not asked for after all.
    pub fn categories_not_sent(&mut self) {
        self.categories = Categories::Unasked;
    }

    /// How the listing ended; `None` while there is something to send or to wait for.
    pub fn end(&self) -> Option<End> {
        if !self.is_settled() {
            return None;
        }
        // Whatever lies past a last page came with other slices, where all came that there are.
        let has_all = self.total.is_some_and(|total| self.seen.len() as u64 >= total);
        let Some(first) = self.gaps.iter().find(|gap| !(gap.is_cut && has_all)) else { return Some(End::Complete) };
        let first = &first.reason;
        let unread = unread::describe(&self.unread).map(|unread| unread + ": ").unwrap_or_default();
        Some(End::Incomplete(match self.gaps.len() - 1 {
            0 => format!("{unread}{first}"),
            more => format!("{unread}{first} (and {more} more slices)"),
        }))
    }

    /// Whether nothing is left to send or to wait for.
    fn is_settled(&self) -> bool {
        let is_open = |node: &Node| node.phase != Phase::Closed || node.listing.is_waiting();
        self.has_begun() && self.wanted.is_empty() && !self.nodes.iter().any(is_open)
    }

    /// Whether anything was asked for.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.categories != Categories::Unasked || self.nodes.iter().any(|node| node.has_begun)
    }

    /// The shop's number of offers: the official count, else what the plain listing states.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        let plain = self.nodes.first().filter(|node| node.is_plain() && node.slice.category.is_none());
        self.total.or_else(|| plain.and_then(|node| node.listing.total()))
    }

    /// Different offers seen.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.seen.len()
    }

    /// Pages answered so far, and about how many pages that will be, if it is known.
    #[must_use]
    pub fn progress(&self) -> (usize, Option<u32>) {
        let answered = self.nodes.iter().map(|node| node.listing.pages().len()).sum();
        let size = u64::from(self.rules.paging.size_max.max(1));
        let total = self.total().filter(|_| self.rules.from.is_none());
        let of = total.map(|total| u32::try_from(total.div_ceil(size).max(1).max(answered as u64)).unwrap_or(u32::MAX));
        (
            answered,
            of.filter(|_| self.nodes.len() > 1).or(self.nodes.first().and_then(|node| node.listing.progress().1)),
        )
    }

    /// Every slice that was asked for and what came of it: the proof of coverage.
    #[must_use]
    pub fn coverage(&self) -> Vec<Covered> {
        let was_used =
            |node: &&Node| node.has_begun || node.outcome.as_ref().is_some_and(|outcome| outcome != split::SPLIT);
        self.nodes
            .iter()
            .filter(was_used)
            .map(|node| Covered {
                start_at: node.slice.start_at,
                end_at: node.slice.end_at,
                category: node.slice.category.clone(),
                pages: u32::try_from(node.listing.pages().len()).unwrap_or(u32::MAX),
                records: node.records,
                new: node.new,
                stated: node.listing.total(),
                outcome: node.outcome.clone().unwrap_or_else(|| "not listed to its end".to_owned()),
                off_sale: false,
            })
            .collect()
    }

    /// The first slice.
    fn begin(&mut self) {
        let is_over = self.total.is_some_and(|total| total > self.capacity());
        let has_window = self.rules.window.is_some();
        if let (Some(from), true) = (self.rules.from, has_window) {
            let span = Span { start: Some(from.timestamp_millis()), ..Span::default() };
            self.open_root(span, split::Size::Unknown);
        } else if is_over && has_window {
            let expect = self.total.unwrap_or(0);
            self.open_root(Span::whole(), split::Size::About(expect));
        } else if is_over && self.rules.category.is_some() {
            self.wanted.push(rescue::Wanted::whole());
        } else {
            let mut node = self.node(Span::default(), Slice::default());
            if let Some(total) = self.total {
                node.listing.counted(total);
            }
            if self.can_split(&node) {
                node.probe_after = 1;
            }
            self.nodes.push(node);
        }
    }

    /// A slice that nothing was asked of.
    fn node(&self, span: Span, slice: Slice) -> Node {
        let mut node = Node::new(span, slice, &self.rules.paging);
        node.listing.end_at(self.is_end);
        node.listing.tolerate(if self.rules.from.is_none() { self.rules.tolerance } else { 0 });
        if self.is_stated_ignored {
            node.listing.ignore_stated();
        }
        node
    }

    /// Records that one slice can hold.
    fn capacity(&self) -> u64 {
        self.rules.paging.places()
    }

    /// Whether categories may still help.
    fn has_categories(&self) -> bool {
        self.rules.category.is_some() && !self.is_category_ignored
    }

    /// Whether windows may still make a slice smaller.
    fn has_windows(&self) -> bool {
        self.rules.window.is_some() && !self.is_window_ignored && !self.is_window_useless
    }

    fn has_end(&self) -> bool {
        self.rules.window.as_ref().is_some_and(|window| window.end.is_some())
    }

    /// The difference between two moments, in milliseconds.
    fn unit(&self) -> i64 {
        self.rules.window.as_ref().map_or(1, |window| window.unit.num_milliseconds()).max(1)
    }
}
