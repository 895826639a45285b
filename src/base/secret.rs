//! Secrets that cannot be printed by accident, and the mask that keeps them out of what we keep.

use std::fmt;

mod mask;
mod spelling;

pub use mask::Mask;

/// Shorter values are too common to be searched for in bytes we keep.
const MASKED_LENGTH_MIN: usize = 6;

/// A secret value. Its `Debug` and `Display` print stars.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself: for signing and sending only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a [`Mask`] looks for it: values of fewer than six bytes also occur by chance.
    #[must_use]
    pub fn is_maskable(&self) -> bool {
        self.0.len() >= MASKED_LENGTH_MIN
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_stars() {
        let secret = Secret::new("hunter2hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
    }
}
