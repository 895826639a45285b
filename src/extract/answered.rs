//! Calls that need not be made: an earlier start of the same run has landed their answers, or a cache holds them.
//!
//! A call is known by what it says ([`key`]); whoever keeps answers implements [`Answered`].
//!
//! Invariant: only answers that settle a call (good, gone, refused as an item) are used again. A failure never is, but it is
//! remembered that a call took too long, and that one for several offers failed while others were answered: where a
//! smaller question can be asked instead, it is not asked again.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::Xxh3;

use crate::base::Result;

use super::Attempt;

/// What a call says, digested: gateway, endpoint and the parameters that are landed with it.
pub type CallKey = u128;

/// The key of a call. What is asked once more in one run (`again`) is another question.
#[must_use]
pub fn key(gateway: &str, (endpoint, again): (&str, bool), request: &BTreeMap<String, String>) -> CallKey {
    let mut hash = Xxh3::new();
    let mut add = |text: &str| {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    add(gateway);
    add(endpoint);
    if again {
        add("again");
    }
    for (name, value) in request {
        add(name);
        add(value);
    }
    hash.digest128()
}

/// Answers that earlier starts of a run have landed.
#[async_trait::async_trait]
pub trait Answered: Send + Sync {
    /// The attempt that settled a call, as it was kept.
    ///
    /// # Errors
    /// Whatever keeps the landed answer from being read: the run must stop.
    async fn find(&self, key: CallKey) -> Result<Option<Attempt>>;

    /// Whether there is one.
    fn holds(&self, key: CallKey) -> bool;

    /// How many attempts of a call were made when the last one took too long; 0: it did not.
    fn late_after(&self, key: CallKey) -> u32;

    /// How many attempts of a call for several offers failed until it was given up, while the gateway answered others; 0:
    /// it was not.
    fn failed_after(&self, key: CallKey) -> u32;

    /// The offers of each call for several of them that is answered, or given up, in the order of asking.
    fn batches(&self) -> &[Vec<i64>];
}

/// A run that starts for the first time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

#[async_trait::async_trait]
impl Answered for Nothing {
    async fn find(&self, _: CallKey) -> Result<Option<Attempt>> {
        Ok(None)
    }

    fn holds(&self, _: CallKey) -> bool {
        false
    }

    fn late_after(&self, _: CallKey) -> u32 {
        0
    }

    fn failed_after(&self, _: CallKey) -> u32 {
        0
    }

    fn batches(&self) -> &[Vec<i64>] {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_differ_by_gateway_endpoint_and_every_parameter() {
        let request = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let keys = [
            key("a", ("listing", false), &request(&[("page", "1")])),
            key("b", ("listing", false), &request(&[("page", "1")])),
            key("a", ("count", false), &request(&[("page", "1")])),
            key("a", ("count", true), &request(&[("page", "1")])),
            key("a", ("listing", false), &request(&[("page", "2")])),
            key("a", ("listing", false), &request(&[("page1", "")])),
            key("a", ("listing", false), &request(&[("page", "1"), ("x", "")])),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(keys[0], key("a", ("listing", false), &request(&[("page", "1")])));
    }
}
