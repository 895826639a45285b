//! Answers in the cache: a landed attempt as bytes, and back.
//!
//! Invariant: what is cached was landed and masked before; a value that cannot be read is no answer.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};

use crate::base::{Error, Result};
use crate::state::Cached;

use super::answered::CallKey;
use super::{Attempt, Record};

/// A call's key among those of all gateways. An address may hold a secret: it enters as a digest.
pub(super) fn key(url: &str, key: CallKey) -> String {
    let url: String = Sha256::digest(url.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{url}-{key:032x}")
}

/// The record as a line of JSON, then the body.
pub(super) fn encode(kept: &Attempt, from: DateTime<Utc>, seconds: u64) -> Result<Cached> {
    let mut value = serde_json::to_vec(&kept.record)
        .map_err(|source| Error::internal("an answer cannot be cached").caused_by(source))?;
    value.push(b'\n');
    value.extend_from_slice(&kept.body);
    let lifetime = i64::try_from(seconds).ok().and_then(TimeDelta::try_seconds).unwrap_or(TimeDelta::MAX);
    let expires_at = from.checked_add_signed(lifetime).unwrap_or(DateTime::<Utc>::MAX_UTC);
    Ok(Cached { value: value.into(), expires_at })
}

/// `None`: written by another version, or damaged.
pub(super) fn decode(value: &Bytes) -> Option<Attempt> {
    let end = memchr::memchr(b'\n', value)?;
    let record: Record = serde_json::from_slice(&value[..end]).ok()?;
    let body = value.slice(end + 1..);
    (record.body_bytes == body.len() as u64).then_some(Attempt { record, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::testing;

    #[test]
    fn a_cached_answer_comes_back_as_it_was_kept_and_damage_is_no_answer() {
        let record = Record { body_bytes: 5, ..testing::record(200) };
        let kept = Attempt { record, body: Bytes::from_static(b"{\n 1}") };
        let cached = encode(&kept, testing::at("2026-11-20T12:00:00Z"), 600).unwrap();
        assert_eq!(cached.expires_at, testing::at("2026-11-20T12:10:00Z"));
        let back = decode(&cached.value).unwrap();
        assert_eq!((back.record, back.body), (kept.record, kept.body));
        assert!(decode(&cached.value.slice(..cached.value.len() - 1)).is_none());
        assert!(decode(&Bytes::from_static(b"{}\n")).is_none());
    }
}
