//! What becomes of a slice whose page takes too long: where windows have an end it is left at once, and halved.
//!
//! Invariant: the halves depend on the pages before the one that took too long only. A run that is continued, whose earlier
//! start has landed what timed out, cuts them in the same way.

use super::cut;
use super::node::{Order, Span};
use super::split::{DEPTH_MAX, Size, parts_of};
use super::{Cover, Phase, SLICES_MAX};

/// So many slices are halved more than pages with records are answered; after that the gateway is the reason, not their
/// size.
const HALVINGS_MAX: u32 = 16;
/// The outcome of a slice that its halves cover.
const TOO_SLOW: &str = "took too long: split";

impl Cover {
    /// Whether slices that take too long are halved.
    pub(super) fn can_halve_any(&self) -> bool {
        self.has_end() && !self.is_window_ignored && self.halvings < HALVINGS_MAX
    }

    /// Whether a slice is halved when one of its pages takes too long.
    #[must_use]
    pub fn can_halve(&self, slice: usize) -> bool {
        let Some(node) = self.nodes.get(slice).filter(|_| self.can_halve_any()) else { return false };
        let is_open = !matches!(node.phase, Phase::Closed | Phase::Leaving) && !node.is_final;
        let extent = self.extent(slice);
        // Each of those that are left becomes two.
        let has_room = self.nodes.len() + 2 * self.leaving() < SLICES_MAX;
        is_open && has_room && node.depth < DEPTH_MAX && extent.high - extent.low >= extent.unit
    }

    /// Slices that were left, and whose halves are to come.
    fn leaving(&self) -> usize {
        self.nodes.iter().filter(|node| node.phase == Phase::Leaving).count() + 1
    }

    /// A page took too long: nothing more is asked for of this slice.
    pub(super) fn leave(&mut self, at: usize, number: u32) {
        if self.nodes[at].phase != Phase::Leaving {
            self.halvings += 1;
            self.trim_passed(at);
        }
        self.nodes[at].leave_at(number);
    }

    /// Everything of a slice that was left is settled: its halves are listed.
    pub(super) fn halve(&mut self, at: usize) {
        let extent = self.extent(at);
        let node = &self.nodes[at];
        let samples = node.samples(extent.low, extent.high);
        let mut cuts = cut::by_samples(&samples, 2, extent);
        if cuts.is_empty() {
            cuts = cut::blind(extent);
        }
        if cuts.is_empty() {
            let reason = node.listing.failure().unwrap_or_default();
            return self.gap(at, &reason);
        }
        let (span, depth) = (node.span.clone(), node.depth);
        let all_fit = self.total.is_some_and(|total| total <= node.capacity());
        self.close(at, TOO_SLOW);
        for part in parts_of(&Span { start: Some(extent.low), ..span }, &cuts, extent.unit) {
            let next = self.open(part, Order::Unknown, depth + 1, Size::Unknown);
            self.nodes[next].root = next;
            if all_fit {
                self.nodes[next].probe_after = u32::MAX;
            }
        }
    }
}
