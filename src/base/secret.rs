//! Secrets that cannot be printed by accident, and the mask that keeps them out of what we keep.

use std::fmt;

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

/// Replaces every occurrence of known secrets.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    secrets: Vec<Secret>,
}

/// Shorter values are too common to be searched for in bytes we keep.
const MASKED_LENGTH_MIN: usize = 6;

impl Mask {
    /// A mask for these values, the longest first.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut secrets: Vec<_> = secrets.into_iter().filter(|secret| secret.0.len() >= MASKED_LENGTH_MIN).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.0.len()));
        Self { secrets }
    }

    /// The text with every known secret replaced by `***`.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(&secret.0, "***"))
    }

    /// The bytes with every known secret overwritten by stars of the same length, or `None` when
    /// they hold none (the usual case: nothing is copied).
    #[must_use]
    pub fn bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut masked: Option<Vec<u8>> = None;
        for secret in &self.secrets {
            let finder = memchr::memmem::Finder::new(secret.0.as_bytes());
            let found: Vec<usize> = finder.find_iter(masked.as_deref().unwrap_or(bytes)).collect();
            if found.is_empty() {
                continue;
            }
            let copy = masked.get_or_insert_with(|| bytes.to_vec());
            for at in found {
                copy[at..at + secret.0.len()].fill(b'*');
            }
        }
        masked
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

    #[test]
    fn a_mask_overwrites_secrets_and_copies_nothing_without_them() {
        let mask = Mask::new([Secret::new("abcdef"), Secret::new("abcdefgh"), Secret::new("a")]);
        assert_eq!(mask.bytes(b"a clean body"), None);
        assert_eq!(mask.bytes(b"x abcdefgh abcdef").as_deref(), Some(&b"x ******** ******"[..]));
        assert_eq!(mask.text("key=abcdef&x=1"), "key=***&x=1");
    }
}
