//! The memory that building tables may take, as one account that all who hold rows or keys draw on.
//!
//! Takes a limit; gives shares. Who gets no larger share puts what it holds into a temporary file.
//!
//! Invariant: the shares of a budget never exceed its limit, nor those of its parts the whole's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A limit, shared by everybody who has a clone of it.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Account>);

#[derive(Debug)]
struct Account {
    bytes_max: usize,
    held: AtomicUsize,
    peak: AtomicUsize,
    whole: Option<Budget>,
}

/// What one holder has taken; given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// Of this many bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Account { bytes_max, held: AtomicUsize::new(0), peak: AtomicUsize::new(0), whole: None }))
    }

    /// A part of it, that others cannot use up: what it holds counts in the whole, too.
    #[must_use]
    pub fn part(&self, percent: usize) -> Self {
        let bytes_max = self.0.bytes_max / 100 * percent.min(100);
        let account =
            Account { bytes_max, held: AtomicUsize::new(0), peak: AtomicUsize::new(0), whole: Some(self.clone()) };
        Self(Arc::new(account))
    }

    /// The limit.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.0.bytes_max
    }

    /// The most that was held at a time.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.0.peak.load(Ordering::Relaxed)
    }

    /// A share of nothing, to grow.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }

    fn take(&self, bytes: usize) -> bool {
        let account = &self.0;
        let fits = |held: usize| held.checked_add(bytes).filter(|held| *held <= account.bytes_max);
        let Ok(before) = account.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) else { return false };
        if account.whole.as_ref().is_some_and(|whole| !whole.take(bytes)) {
            account.held.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        account.peak.fetch_max(before + bytes, Ordering::Relaxed);
        true
    }

    fn give(&self, bytes: usize) {
        self.0.held.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.0.whole {
            whole.give(bytes);
        }
    }
}

impl Share {
    /// Makes it this large. Whether it is now: a share that cannot grow stays as it was.
    #[must_use]
    pub fn resize(&mut self, bytes: usize) -> bool {
        let fits = match bytes.checked_sub(self.bytes) {
            Some(more) => self.budget.take(more),
            None => {
                self.budget.give(self.bytes - bytes);
                true
            }
        };
        if fits {
            self.bytes = bytes;
        }
        fits
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_grow_until_the_limit_and_are_given_back() {
        let budget = Budget::new(100);
        let (mut a, mut b) = (budget.share(), budget.share());
        assert!(a.resize(60) && !b.resize(41) && b.resize(40));
        assert!(!a.resize(61) && a.resize(20) && b.resize(80));
        drop(b);
        assert!(a.resize(100));
        assert_eq!((budget.peak(), budget.bytes_max()), (100, 100));
    }

    #[test]
    fn a_part_has_its_own_limit_and_counts_in_the_whole() {
        let whole = Budget::new(100);
        let part = whole.part(30);
        let (mut of_part, mut of_whole) = (part.share(), whole.share());
        assert!(!of_part.resize(31) && of_part.resize(30));
        assert!(!of_whole.resize(71) && of_whole.resize(70));
        drop(of_whole);
        drop(of_part);
        assert_eq!((whole.peak(), part.peak()), (100, 30));
        assert!(whole.share().resize(100), "all was given back");
    }
}
