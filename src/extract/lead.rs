//! How long the state store takes to answer: a call asks for a moment so far ahead, or it would miss it.
//!
//! Invariant: pure.

use std::time::Duration;

/// An answer that takes no longer is in time without asking ahead.
const NEAR: Duration = Duration::from_millis(5);
/// Answers that take longer are not reckoned with.
const LEAD_MAX: Duration = Duration::from_secs(1);

/// The longest that answers took of late, and some more. It is forgotten by and by.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lead(Duration);

impl Lead {
    /// An answer took so long.
    pub(super) fn took(&mut self, time: Duration) {
        self.0 = (time + time / 4).max(self.0 - self.0 / 16).min(LEAD_MAX);
    }

    /// How far ahead to ask; nothing where the store is near.
    pub(super) fn get(self) -> Duration {
        if self.0 <= NEAR { Duration::ZERO } else { self.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_far_store_is_asked_ahead_and_a_near_one_is_not() {
        let mut lead = Lead::default();
        lead.took(Duration::from_millis(4));
        assert_eq!(lead.get(), Duration::ZERO);
        lead.took(Duration::from_millis(40));
        assert_eq!(lead.get(), Duration::from_millis(50));
        lead.took(Duration::from_millis(20));
        assert!(lead.get() > Duration::from_millis(40), "answers differ");
        (0..40).for_each(|_| lead.took(Duration::from_millis(4)));
        assert_eq!(lead.get(), Duration::ZERO, "one slow answer is forgotten");
        lead.took(Duration::MAX / 2);
        assert_eq!(lead.get(), LEAD_MAX);
    }
}
