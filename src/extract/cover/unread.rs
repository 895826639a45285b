//! Parameters that the gateway evidently does not read: it ignores a misspelt one, and answers with everything.
//!
//! | parameter | told by |
//! |---|---|
//! | of the category | categories far apart in the shop's list begin with the same full page |
//! | of the window | a record from far outside the window |
//! | … | a record from outside a window, whose first page is that of another window |
//! | … without an end, in no order | the same of the last page of a window of one day, once nothing else helps |
//!
//! Invariant: no call is made but that question which a listing does not need anyway; what is told is named in the reason
//! of the listing's end and in one warning, and is not used further.

use std::collections::BTreeSet;

use super::node::{Node, Order, Phase, Read, Span};
use super::split::Size;
use super::{Cover, Gap, Slice, rescue};

/// Records may stand this far outside a window: they may show a day, or another time zone's hour.
const STRAY_MILLIS: i64 = 36 * 3_600_000;
/// The window of the question holds this much time before the listing began.
const QUESTION_MILLIS: i64 = 24 * 3_600_000;
/// The outcome of a slice whose records lie elsewhere.
const OUTSIDE: &str = "the gateway lists offers from outside the window";
/// The outcome of a slice of a category that is like any other.
const ALIKE: &str = "the gateway lists the same offers for every category";
/// The outcome of the question.
const ASKED: &str = "asked for to see whether the gateway reads the window";

/// A parameter that is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unread {
    parameter: String,
    /// What shows it.
    evidence: String,
}

/// Whether the gateway tells categories apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trial {
    /// No category was listed yet.
    Untried,
    /// The first pages of these slices tell; those of other categories wait. They are to cover these spans.
    Open(Vec<usize>, Vec<Span>),
    /// It does, as far as first pages tell; or that is of no consequence any more.
    Over,
}

/// In Beijing or in UTC.
fn is_midnight(millis: i64) -> bool {
    [0, 8].iter().any(|hours| (millis + hours * 3_600_000).rem_euclid(24 * 3_600_000) == 0)
}

/// `None`: everything is read, as far as is known.
pub(super) fn describe(unread: &[Unread]) -> Option<String> {
    let text = |unread: &Unread| format!("parameter `{}` ({})", unread.parameter, unread.evidence);
    let all: Vec<String> = unread.iter().map(text).collect();
    (!all.is_empty()).then(|| format!("the gateway does not read {}", all.join(" and ")))
}

impl Cover {
    /// What was found out since this was asked last: a warning in words.
    pub fn news(&mut self) -> Option<String> {
        let news = describe(&self.unread[self.unread_told..])?;
        self.unread_told = self.unread.len();
        Some(format!("{news}: correct its name in the gateway definition"))
    }

    /// Slices of categories were opened: three of them show whether the gateway tells categories apart.
    pub(super) fn try_categories(&mut self, opened: Vec<usize>, span: Span) {
        match &mut self.category_trial {
            Trial::Untried if opened.len() > 1 => {
                // A category and those under it may begin alike; the first, the middle and the last hardly do.
                let mut tried = vec![opened[0], opened[opened.len() / 2], opened[opened.len() - 1]];
                tried.dedup();
                self.category_trial = Trial::Open(tried, vec![span]);
            }
            Trial::Open(_, spans) => spans.push(span),
            Trial::Untried | Trial::Over => {}
        }
    }

    /// For a slice of a category while there is a trial: whether it is tried, or waits.
    pub(super) fn is_on_trial(&self, slice: usize) -> Option<bool> {
        let Trial::Open(tried, _) = &self.category_trial else { return None };
        self.nodes[slice].slice.category.is_some().then(|| tried.contains(&slice))
    }

    /// Ends the trial of the categories once its pages are settled.
    pub(super) fn judge_trial(&mut self) {
        let Trial::Open(tried, _) = &self.category_trial else { return };
        if !tried.iter().all(|at| self.nodes[*at].is_tried()) {
            return;
        }
        let Trial::Open(tried, spans) = std::mem::replace(&mut self.category_trial, Trial::Over) else { return };
        let first = self.rules.paging.first;
        let answered: Vec<&Node> =
            tried.iter().map(|at| &self.nodes[*at]).filter(|node| node.listing.pages().contains_key(&first)).collect();
        let is_alike = |pair: &[&Node]| {
            let [one, another] = [pair[0].listing.contents(first), pair[1].listing.contents(first)];
            one.is_some() && one == another
        };
        let are_full = answered.iter().all(|node| node.is_first_full());
        // Overlapping categories may begin alike; they hardly hold equally many, too.
        let totals: BTreeSet<_> = answered.iter().filter_map(|node| node.listing.total()).collect();
        if answered.len() < tried.len() || totals.len() > 1 || !are_full || !answered.windows(2).all(is_alike) {
            return;
        }
        let names: Vec<String> =
            answered.iter().filter_map(|node| node.slice.category.as_ref()).map(|name| format!("`{name}`")).collect();
        let records = answered[0].listing.pages().get(&first).copied().unwrap_or_default();
        let evidence = format!("categories {} begin with the same {records} offers", names.join(", "));
        self.ignore_categories(evidence, &spans);
    }

    /// The gateway does not tell categories apart: what they were to cover is read as far as the gateway serves it.
    fn ignore_categories(&mut self, evidence: String, spans: &[Span]) {
        let parameter = self.rules.category.clone().unwrap_or_default();
        self.unread.push(Unread { parameter, evidence });
        self.is_category_ignored = true;
        for node in self.nodes.iter_mut().filter(|node| node.slice.category.is_some()) {
            node.phase = Phase::Closed;
            node.outcome = Some(ALIKE.to_owned());
        }
        for span in spans {
            self.read_whole(span);
        }
    }

    /// Reads a span without narrowing it further. Where the gateway was asked for it already, its other pages follow.
    pub(super) fn read_whole(&mut self, span: &Span) {
        let is_whole = span.is_whole() && self.rules.from.is_none();
        let at_time = |time: Option<i64>| time.and_then(chrono::DateTime::from_timestamp_millis);
        let end_at = at_time(span.end).filter(|_| self.has_end());
        let slice = Slice { start_at: at_time(span.start), end_at, category: None };
        let is_same = |node: &Node| if is_whole { node.is_everything() } else { node.slice == slice };
        let at = match self.nodes.iter().rposition(is_same) {
            Some(at) => at,
            None if is_whole => {
                let mut node = self.node(Span::default(), Slice::default());
                if let Some(total) = self.total {
                    node.listing.counted(total);
                }
                self.nodes.push(node);
                self.nodes.len() - 1
            }
            None => self.open(span.clone(), Order::Nothing, 0, Size::Unknown),
        };
        self.finish(at);
    }

    /// The parameter whose window a page leaves: it holds records from far outside.
    pub(super) fn astray(&self, at: usize, page: u32) -> Option<String> {
        let window = self.rules.window.as_ref()?;
        let node = &self.nodes[at];
        let read = node.reads.get(&page)?;
        let (start, end) = (node.slice.start_at, node.slice.end_at);
        let low = start.map_or(i64::MIN, |at| at.timestamp_millis() - STRAY_MILLIS);
        let high = end.map_or(i64::MAX, |at| at.timestamp_millis() + STRAY_MILLIS);
        if read.times.iter().any(|time| *time < low) {
            return Some(window.start.clone());
        }
        if read.times.iter().any(|time| *time > high) {
            return window.end.clone();
        }
        self.is_elsewhere(at, page)
    }

    /// The parameter that was moved in vain: the first page is that of another window, and lies outside its own.
    fn is_elsewhere(&self, at: usize, page: u32) -> Option<String> {
        const DAY_MILLIS: i64 = 24 * 3_600_000;
        let window = self.rules.window.as_ref()?;
        let node = &self.nodes[at];
        let times = &node.reads.get(&page)?.times;
        let (earliest, latest) = (*times.iter().min()?, *times.iter().max()?);
        // A single time may be the beginning of a day; several show how exact they are.
        let shown = if earliest == latest { DAY_MILLIS } else { self.shown(at) };
        let is_early =
            node.slice.start_at.is_some_and(|start| earliest.saturating_add(shown) <= start.timestamp_millis());
        let is_late = node.slice.end_at.is_some_and(|end| latest > end.timestamp_millis());
        if page != node.first_page() || !(is_early || is_late) {
            return None;
        }
        let contents = node.listing.contents(page)?;
        let is_same = |other: &Node| {
            let is_moved = if is_early {
                other.slice.start_at != node.slice.start_at
            } else {
                other.slice.end_at != node.slice.end_at
            };
            is_moved && other.slice.category == node.slice.category && other.listing.contents(page) == Some(contents)
        };
        let is_repeated = self.nodes[..at].iter().any(|other| !other.is_plain() && is_same(other));
        let parameter = if is_early { Some(&window.start) } else { window.end.as_ref() };
        parameter.filter(|_| is_repeated).cloned()
    }

    /// A window that states as many as a wider one, which has shown records from outside it, states something else than
    /// its total: what windows state is not used any further.
    pub(super) fn question_totals(&mut self, at: usize) {
        let node = &self.nodes[at];
        let Some(stated) = node.listing.total().filter(|_| !node.is_plain() && !self.is_stated_ignored) else { return };
        let bounds = |slice: &Slice| {
            let start = slice.start_at.map_or(i64::MIN, |at| at.timestamp_millis());
            (start, slice.end_at.map_or(i64::MAX, |at| at.timestamp_millis()))
        };
        let (start, end) = bounds(&node.slice);
        let is_outside =
            |time: &i64| time.saturating_add(STRAY_MILLIS) < start || time.saturating_sub(STRAY_MILLIS) > end;
        let is_wider = |other: &Node| bounds(&other.slice).0 <= start && bounds(&other.slice).1 >= end;
        let is_belied = self.nodes.iter().any(|other| {
            other.slice.category == node.slice.category
                && other.listing.total() == Some(stated)
                && is_wider(other)
                && other.reads.values().flat_map(|read| &read.times).any(is_outside)
        });
        if !is_belied {
            return;
        }
        self.is_stated_ignored = true;
        for at in 0..self.nodes.len() {
            if !self.nodes[at].is_plain() {
                self.nodes[at].listing.ignore_stated();
                self.judge(at);
            }
        }
    }

    /// The gateway does not keep to windows: categories are all there is.
    pub(super) fn ignore_windows(&mut self, at: usize, parameter: String) {
        if std::mem::replace(&mut self.is_window_ignored, true) {
            if self.nodes[at].phase != Phase::Closed {
                self.gap(at, OUTSIDE);
            }
            return;
        }
        self.unread.push(Unread { parameter, evidence: "it lists offers from outside the window".to_owned() });
        for node in self.nodes.iter_mut().filter(|node| !node.is_plain()) {
            node.phase = Phase::Closed;
            node.outcome.get_or_insert_with(|| OUTSIDE.to_owned());
        }
        if matches!(self.category_trial, Trial::Open(..)) {
            self.category_trial = Trial::Untried;
        }
        if self.rules.from.is_some() || self.nodes[at].slice.category.is_some() {
            // The parameter, which is named before it, is the reason.
            self.close(at, OUTSIDE);
            self.gaps.push(Gap { reason: self.nodes[at].name(), is_cut: false });
        } else if self.has_categories() {
            self.wanted = vec![rescue::Wanted::whole()];
            self.spread();
        } else {
            self.read_whole(&Span::whole());
        }
    }

    /// Something stays past the last page, and windows did not help: the last page of one that can hold little shows
    /// whether the gateway reads them at all.
    pub(super) fn question_windows(&mut self) {
        if !self.is_window_useless || self.is_window_ignored || self.rules.from.is_some() {
            return;
        }
        if std::mem::replace(&mut self.is_window_questioned, true) {
            return;
        }
        let start = Some(self.rules.until.timestamp_millis() - QUESTION_MILLIS);
        let at = self.open(Span { start, ..Span::default() }, Order::Nothing, 0, Size::Unknown);
        self.nodes[at].phase = Phase::Question;
    }

    /// The question was answered, or was not.
    pub(super) fn judge_question(&mut self, at: usize) {
        let Some(last) = self.nodes[at].edge().filter(|last| self.nodes[at].listing.is_settled(*last)) else { return };
        self.close(at, ASKED);
        let node = &self.nodes[at];
        // The same page as that of everything, and nothing on it that must stand there: a midnight may show a day.
        let whole = self.nodes.iter().rfind(|node| node.is_everything() && !node.is_plain());
        let is_before = |time: &i64| !is_midnight(*time) && node.span.start.is_some_and(|start| *time < start);
        let can_differ = |read: &Read| read.times.is_empty() || read.times.iter().any(is_before);
        let contents = node.listing.contents(last).filter(|_| node.reads.get(&last).is_some_and(can_differ));
        let is_alike = contents.is_some() && contents == whole.and_then(|whole| whole.listing.contents(last));
        let window = self.rules.window.as_ref().filter(|_| is_alike).map(|window| window.start.clone());
        if let Some(parameter) = self.astray(at, last).or(window) {
            self.is_window_ignored = true;
            self.unread.push(Unread { parameter, evidence: "it lists offers from outside the window".to_owned() });
        }
    }
}
