//! The server's clock, as answers tell it.
//!
//! Each answer holds a moment between its question and itself. The one that took the least time is believed, by a clock
//! of this machine that nobody sets, until a better one comes or a slow one shows that the server's clock was set.
//!
//! Invariant: pure; moments are arguments. Steps of this machine's clock change nothing.

use std::time::Duration;

use tokio::time::Instant;

/// Two clocks drift apart by one microsecond in so many, at most.
const DRIFT: i64 = 5_000;
/// What is told apart from a clock that was set, in microseconds.
const SLACK: i64 = 1_000;

/// The server's clock. Moments of it are microseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServerClock {
    /// When it showed `showed`, give or take `unsure`.
    at: Instant,
    showed: i64,
    unsure: i64,
    /// How far it was set forward since the first answer.
    set_by: i64,
}

/// What the clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shows {
    pub(super) micros: i64,
    /// Give or take this.
    pub(super) unsure: i64,
}

impl ServerClock {
    /// The first answer.
    pub(super) fn new(asked: Instant, answered: Instant, showed: i64) -> Self {
        let took = answered.saturating_duration_since(asked);
        Self { at: asked + took / 2, showed, unsure: micros(took / 2), set_by: 0 }
    }

    /// Another answer.
    pub(super) fn heard(&mut self, asked: Instant, answered: Instant, showed: i64) {
        let heard = Self::new(asked, answered, showed);
        let known = self.shows(heard.at);
        let was_set = (showed - known.micros).abs() > known.unsure + heard.unsure + SLACK;
        let set_by = if was_set { showed - known.micros } else { 0 };
        if was_set || heard.unsure <= known.unsure {
            *self = Self { set_by: self.set_by + set_by, ..heard };
        }
    }

    /// What it shows at a moment.
    pub(super) fn shows(&self, at: Instant) -> Shows {
        let passed = micros(at.saturating_duration_since(self.at)) - micros(self.at.saturating_duration_since(at));
        Shows { micros: self.showed + passed, unsure: self.unsure + passed.abs() / DRIFT }
    }

    /// How far it was set forward since the first answer: what was told before a step is told by another clock.
    pub(super) fn set_by(&self) -> i64 {
        self.set_by
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn the_quickest_answer_is_believed_until_it_is_old() {
        let start = Instant::now();
        // The server is 100 s ahead of a clock that begins at 0; the answer alone takes long.
        let mut clock = ServerClock::new(start, millis(start, 50), 100_000_000);
        assert_eq!(clock.shows(millis(start, 25)), Shows { micros: 100_000_000, unsure: 25_000 });
        clock.heard(millis(start, 100), millis(start, 102), 100_101_000);
        assert_eq!(clock.shows(millis(start, 201)), Shows { micros: 100_201_000, unsure: 1_020 });
        clock.heard(millis(start, 300), millis(start, 350), 100_300_000);
        assert_eq!(clock.shows(millis(start, 401)).micros, 100_401_000, "a slower one says less");
        clock.heard(millis(start, 1_000_000), millis(start, 1_000_050), 1_100_030_000);
        assert_eq!(clock.shows(millis(start, 1_000_025)), Shows { micros: 1_100_030_000, unsure: 25_000 });
        assert_eq!(clock.set_by(), 0);
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_by_the_next_answer_however_slow() {
        let start = Instant::now();
        let mut clock = ServerClock::new(start, millis(start, 2), 100_001_000);
        clock.heard(millis(start, 1_000), millis(start, 1_300), 41_150_000);
        assert_eq!(clock.shows(millis(start, 1_150)), Shows { micros: 41_150_000, unsure: 150_000 });
        assert_eq!(clock.set_by(), -60_000_000);
    }
}
