//! Deterministic choices: every value of the world is a hash of the seed and of what it belongs to.
//!
//! Invariant: no state outlives a [`Dice`]; the same seed and parts give the same throws on every machine.

/// A 64-bit hash of `seed` and `parts` (SplitMix64 steps).
pub(super) fn mix(seed: u64, parts: &[u64]) -> u64 {
    parts.iter().fold(step(seed), |state, &part| step(state ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// A 64-bit FNV-1a hash of bytes, for identities that are texts.
pub(super) fn hash_text(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn step(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A sequence of throws.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// Dice for the thing that `parts` name.
    pub(super) fn new(seed: u64, parts: &[u64]) -> Self {
        Self(mix(seed, parts))
    }

    /// The next 64 bits.
    pub(super) fn throw(&mut self) -> u64 {
        self.0 = step(self.0);
        self.0
    }

    /// A number in `0..bound`; 0 for a bound of 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.throw() % bound.max(1)
    }

    /// A number in `low..=high`.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = u64::try_from(high - low + 1).unwrap_or(1);
        low + i64::try_from(self.below(width)).unwrap_or(0)
    }

    /// True in `per_mille` of a thousand throws.
    pub(super) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of `choices`, which must not be empty.
    pub(super) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        &choices[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_parts_give_the_same_throws_and_others_do_not() {
        let throws = |parts: &[u64]| {
            let mut dice = Dice::new(7, parts);
            [dice.throw(), dice.throw()]
        };
        assert_eq!(throws(&[1, 2]), throws(&[1, 2]));
        assert_ne!(throws(&[1, 2]), throws(&[2, 1]));
    }

    #[test]
    fn a_chance_comes_about_as_often_as_it_says() {
        let mut dice = Dice::new(7, &[3]);
        let hits = (0..10_000).filter(|_| dice.chance(300)).count();
        assert!((2_700..3_300).contains(&hits), "{hits}");
    }
}
