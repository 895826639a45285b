//! What is looked at once more: ends that nothing proves, pages that repeat the first, offers that moved meanwhile.
//!
//! Invariant: each is done once, so that a listing ends.

use crate::extract::page::{Repeated, Taken};

use super::node::{Node, Phase};
use super::{Cover, split};

impl Cover {
    /// Whether the page parameter is read: a later page held nothing of the first.
    #[must_use]
    pub fn has_turned(&self) -> bool {
        self.nodes.iter().any(|node| node.listing.has_turned())
    }

    /// A page holds the records of the first of its slice.
    pub(super) fn repeats_its_first(&mut self, slice: usize, repeated: Repeated) -> Result<(), Repeated> {
        if self.rules.from.is_some() || self.nodes[slice].listing.total().is_some() {
            self.judge(slice);
            self.judge_trial();
            // What changed may end there: a whole listing shows.
            return if self.rules.from.is_some() { Ok(()) } else { Err(repeated) };
        }
        self.repeated.push((slice, repeated));
        self.judge_trial();
        self.judge_repeated()
    }

    /// Slices whose second page repeats a full first one end there if others show that the page parameter is read. Where
    /// none is left that may, or three are such, it is not.
    pub(super) fn judge_repeated(&mut self) -> Result<(), Repeated> {
        const CHANCE_MAX: usize = 2;
        let Some((_, first)) = self.repeated.first().cloned() else { return Ok(()) };
        let has_turned = self.has_turned();
        let is_repeated = |at: usize| self.repeated.iter().any(|(repeated, _)| *repeated == at);
        let is_open =
            |(at, node): (usize, &Node)| node.listing.is_waiting() || node.phase != Phase::Closed && !is_repeated(at);
        let may_turn = !self.wanted.is_empty() || self.nodes.iter().enumerate().any(is_open);
        if !has_turned && may_turn && self.repeated.len() <= CHANCE_MAX {
            return Ok(());
        }
        for (at, repeated) in std::mem::take(&mut self.repeated) {
            if has_turned {
                self.nodes[at].listing.forgive_repeated(repeated.second);
            }
            self.judge(at);
        }
        if has_turned { Ok(()) } else { Err(first) }
    }

    /// Fewer offers came than there are: a page that was shorter than others need not have been the last, nor what it states
    /// the total.
    pub(super) fn look_again(&mut self) {
        let is_short = self.total.is_some_and(|total| (self.seen.len() as u64) < total);
        if self.is_end != Taken::Short || !is_short || !self.gaps.is_empty() || !self.is_settled() {
            return;
        }
        (self.is_end, self.is_stated_ignored) = (Taken::Empty, true);
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            if node.outcome.as_deref() == Some(split::COMPLETE) && node.listing.is_end_assumed() {
                node.listing.end_at(Taken::Empty);
                if !(node.is_plain() && node.slice.category.is_none()) {
                    node.listing.ignore_stated();
                }
                (node.phase, node.outcome) = (Phase::Reading, None);
                self.first_open = self.first_open.min(at);
                self.judge(at);
            }
        }
    }

    /// An offer that was there before is absent, and the plain listing ended with a full page, which filled the official
    /// count exactly: asks for one page more, for counts may be too low. Whether there is one.
    pub fn look_past_count(&mut self) -> bool {
        let [node] = &mut self.nodes[..] else { return false };
        if node.outcome.as_deref() != Some(split::COMPLETE) || !node.listing.look_past_count() {
            return false;
        }
        // Its last page says nothing here.
        (node.phase, node.outcome, node.probe_after) = (Phase::Reading, None, u32::MAX);
        self.first_open = 0;
        true
    }

    /// An offer on two pages of what changed shows that it was edited meanwhile, and another one may have slipped from a page
    /// to one that was read already: it is listed once more.
    pub(super) fn list_again(&mut self) {
        let [node] = &self.nodes[..] else { return };
        let is_moved = node.records > node.new;
        if self.rules.from.is_none() || self.is_relisted || !is_moved || !self.gaps.is_empty() || !self.is_settled() {
            return;
        }
        self.is_relisted = true;
        let again = self.node(node.span.clone(), node.slice.clone());
        self.nodes.push(again);
    }
}
