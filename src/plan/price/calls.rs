//! A number of calls, as exactly as it is known.
//!
//! Invariant: `least` is never more than `most`; an unproven part makes a sum unproven.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;

/// A number of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    least: u64,
    most: Option<u64>,
    proven: bool,
}

/// How exactly a number of calls is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exactness {
    /// Exactly this many.
    Exact,
    /// Not more, whatever the answers are.
    AtMost,
    /// Reckoned from the picture before or from a usual shop: the answers may need more.
    Estimate,
    /// Not less; nothing says how many at most.
    AtLeast,
    /// Nothing is known.
    Unknown,
}

impl Exactness {
    /// Its name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Exactness::Exact => "exact",
            Exactness::AtMost => "at_most",
            Exactness::Estimate => "estimate",
            Exactness::AtLeast => "at_least",
            Exactness::Unknown => "unknown",
        }
    }
}

impl Calls {
    /// No call.
    pub const ZERO: Self = Self::exact(0);

    /// Exactly this many.
    #[must_use]
    pub const fn exact(calls: u64) -> Self {
        Self { least: calls, most: Some(calls), proven: true }
    }

    /// At least and at most this many, whatever the answers are.
    #[must_use]
    pub fn between(least: u64, most: u64) -> Self {
        Self { least, most: Some(most.max(least)), proven: true }
    }

    /// At least this many, and by an estimate at most that many.
    #[must_use]
    pub fn estimate(least: u64, most: u64) -> Self {
        Self { least, most: Some(most.max(least)), proven: false }
    }

    /// At least this many.
    #[must_use]
    pub const fn at_least(calls: u64) -> Self {
        Self { least: calls, most: None, proven: false }
    }

    /// Fewer are never needed.
    #[must_use]
    pub fn least(self) -> u64 {
        self.least
    }

    /// More are not needed: by proof or by estimate ([`Calls::exactness`] says which); `None`: nobody knows.
    #[must_use]
    pub fn most(self) -> Option<u64> {
        self.most
    }

    /// The number to plan with: the most, where it is known.
    #[must_use]
    pub fn planned(self) -> u64 {
        self.most.unwrap_or(self.least)
    }

    /// How exactly it is known.
    #[must_use]
    pub fn exactness(self) -> Exactness {
        match (self.most, self.proven) {
            (None, _) if self.least == 0 => Exactness::Unknown,
            (None, _) => Exactness::AtLeast,
            (Some(_), false) => Exactness::Estimate,
            (Some(most), true) if most == self.least => Exactness::Exact,
            (Some(_), true) => Exactness::AtMost,
        }
    }

    /// At least so many.
    #[must_use]
    pub fn no_fewer_than(self, least: u64) -> Self {
        Self { least: self.least.max(least), most: self.most.map(|most| most.max(least)), ..self }
    }

    /// What is left to make when so many have been made.
    #[must_use]
    pub fn less(self, made: u64) -> Self {
        let most = self.most.map(|most| most.saturating_sub(made));
        Self { least: self.least.saturating_sub(made), most, ..self }
    }

    /// The same bound, but fewer may be needed.
    #[must_use]
    pub fn or_fewer(self) -> Self {
        Self { least: 0, ..self }
    }

    /// Calls for this many questions, of which one call holds `batch`: at the least as many as hold them all. That no more
    /// than so many (`open`) keep the calls that they share from being answered is an estimate.
    #[must_use]
    pub fn in_batches(self, batch: u64, open: impl FnOnce(u64) -> u64) -> Self {
        let batch = batch.max(1);
        let least = self.least.div_ceil(batch);
        match self.most {
            Some(most) if batch > 1 && most > 1 => {
                let calls = Self::shared(most.div_ceil(batch), most, batch, open(most));
                Self { least, proven: self.proven && calls.proven, ..calls }
            }
            most => Self { least, most, ..self },
        }
    }

    /// These calls for so many questions, of which one call holds `batch`. A question that keeps its call from being
    /// answered is looked for by halves until it stands alone, two calls for each time the call is halved. More than every
    /// call halved to its last question is never needed: that is proven.
    #[must_use]
    pub fn shared(calls: u64, questions: u64, batch: u64, open: u64) -> Self {
        let halvings = u64::from(batch.min(questions).max(1).next_power_of_two().ilog2());
        let all_alone = questions.saturating_mul(2).saturating_sub(calls);
        match calls.saturating_add(open.saturating_mul(2 * halvings)) {
            few if few < all_alone => Self::estimate(calls, few),
            _ => Self::between(calls, all_alone),
        }
    }
}

impl Add for Calls {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            least: self.least.saturating_add(other.least),
            most: self.most.zip(other.most).map(|(one, another)| one.saturating_add(another)),
            proven: self.proven && other.proven,
        }
    }
}

impl Sum for Calls {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

/// `12`, `3–50`, `≈ 3–50` (an estimate), `3 or more`, `unknown`.
impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.exactness(), self.most) {
            (Exactness::Unknown, _) => f.write_str("unknown"),
            (_, None) => write!(f, "{} or more", self.least),
            (exactness, Some(most)) => {
                if exactness == Exactness::Estimate {
                    f.write_str("≈ ")?;
                }
                if most == self.least { write!(f, "{most}") } else { write!(f, "{}–{most}", self.least) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_says_how_exactly_it_is_known() {
        for (calls, exactness, text) in [
            (Calls::exact(12), "exact", "12"),
            (Calls::between(3, 50), "at_most", "3–50"),
            (Calls::between(3, 3), "exact", "3"),
            (Calls::between(4, 3), "exact", "4"),
            (Calls::estimate(3, 50), "estimate", "≈ 3–50"),
            (Calls::estimate(1, 1), "estimate", "≈ 1"),
            (Calls::at_least(3), "at_least", "3 or more"),
            (Calls::at_least(0), "unknown", "unknown"),
            (Calls::ZERO, "exact", "0"),
        ] {
            assert_eq!((calls.exactness().name(), calls.to_string().as_str()), (exactness, text));
        }
    }

    #[test]
    fn a_sum_is_as_exact_as_its_least_exact_part() {
        let sum = |parts: &[Calls]| parts.iter().copied().sum::<Calls>();
        assert_eq!(sum(&[]), Calls::ZERO);
        assert_eq!(sum(&[Calls::exact(2), Calls::exact(3)]), Calls::exact(5));
        assert_eq!(sum(&[Calls::exact(2), Calls::between(1, 3)]), Calls::between(3, 5));
        assert_eq!(sum(&[Calls::between(1, 3), Calls::estimate(1, 3)]), Calls::estimate(2, 6));
        assert_eq!(sum(&[Calls::exact(2), Calls::at_least(0)]), Calls::at_least(2));
        assert_eq!(sum(&[Calls::exact(u64::MAX), Calls::exact(1)]).least(), u64::MAX);
    }

    #[test]
    fn several_questions_share_a_call() {
        for (questions, batch, left_open, expected) in [
            // Each of two is one of two after five halvings.
            (Calls::exact(41), 20, 2, Calls::estimate(3, 3 + 2 * 10)),
            (Calls::between(1, 41), 20, 2, Calls::estimate(1, 3 + 2 * 10)),
            (Calls::exact(64), 8, 1, Calls::estimate(8, 8 + 6)),
            (Calls::exact(41), 1, 2, Calls::exact(41)),
            (Calls::exact(41), 0, 2, Calls::exact(41)),
            (Calls::exact(1), 20, 1, Calls::exact(1)),
            // Halved until each is alone: 1 + 2 + 2.
            (Calls::exact(3), 20, 9, Calls::between(1, 5)),
            (Calls::estimate(1, 3), 20, 9, Calls::estimate(1, 5)),
            (Calls::at_least(41), 20, 2, Calls::at_least(3)),
        ] {
            assert_eq!(questions.in_batches(batch, |_| left_open), expected, "{questions} {batch} {left_open}");
        }
    }
}
