//! Answers in the cache: a landed attempt as bytes, and back.
//!
//! Invariant: what is cached was landed and masked before; a value that cannot be read is no answer.

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};

use crate::base::{Error, Result};
use crate::config::Pipeline;
use crate::config::gateway::Endpoint;
use crate::plan::{CountFrom, ShopWork};
use crate::state::{Cached, StateStore};

use super::answered::{self, Answered, CallKey};
use super::reading::read;
use super::request::{self, Call, Values};
use super::rests::midnight_after;
use super::schedule::{ListKind, Outcome, Task};
use super::{Attempt, Record, body};

/// A call's key among those of all gateways. An address may hold a secret: it enters as a digest.
pub(super) fn key(url: &str, key: CallKey) -> String {
    let url: String = Sha256::digest(url.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{url}-{key:032x}")
}

/// Which answers of the caches may stand for calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reuse {
    /// Any at all.
    pub any: bool,
    /// Also those about offers. Whoever refreshes a day asks for these anew; what an address leads to, and the counts that
    /// were just bought for it, still hold.
    pub offers: bool,
    /// Only counts that were received after this: until then they were listed by, and the day was published.
    pub counts_after: Option<DateTime<Utc>>,
}

impl Reuse {
    /// No cached answer stands for a call.
    pub const NOTHING: Self = Self { any: false, offers: false, counts_after: None };
    /// Every cached answer does.
    pub const ALL: Self = Self { any: true, offers: true, counts_after: None };

    /// Whether a call may be answered by a cache.
    pub(super) fn allows(self, task: &Task) -> bool {
        self.any && (self.offers || is_count(task) || matches!(task, Task::Resolve { .. }))
    }

    /// Whether it may be answered by this.
    pub(super) fn takes(self, task: &Task, kept: &Attempt) -> bool {
        !is_count(task) || self.counts_after.is_none_or(|after| kept.record.received_at > after)
    }
}

/// How long a count that a probe (or a start that was refused) bought may stand for the shop.
const COUNT_HOLDS: TimeDelta = TimeDelta::minutes(10);

/// Whether a kept count may still stand for the shop. Until the end of the day an older one tells about how large the shop
/// is ([`bought_count`]).
pub(super) fn count_holds(kept: &Attempt, now: DateTime<Utc>) -> bool {
    now - kept.record.received_at <= COUNT_HOLDS
}

/// Whether an answer is no older than its definition now lets it be, whatever it let when the answer came.
pub(super) fn is_young(kept: &Attempt, cache_seconds: u64, now: DateTime<Utc>) -> bool {
    let age = (now - kept.record.received_at).to_std().unwrap_or_default();
    age.as_secs() < cache_seconds
}

/// A count for the cache, by the store's clock: until the end of the Beijing day.
pub(super) fn encode_count(kept: &Attempt, from: DateTime<Utc>) -> Result<Cached> {
    Ok(Cached { value: value(kept)?, expires_at: midnight_after(from).max(from + COUNT_HOLDS) })
}

/// Whether a call tells how many offers a shop has, before anything is listed.
pub(super) fn is_count(task: &Task) -> bool {
    matches!(task, Task::Count { .. } | Task::Page { list: ListKind::OnSale, slice: 0, page: 0 | 1, .. })
}

/// An id that a run does not ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownId {
    /// An earlier start of the run has landed it.
    Landed(String),
    /// A cache holds it.
    Cached(String),
}

/// The id behind a shop's address, where an answer that has landed or a cache holds it.
///
/// # Errors
/// Whatever the state store or the landing zone fails with; `Config` when the definition cannot build the call.
pub async fn known_shop_id(
    pipeline: &Pipeline,
    answered: &dyn Answered,
    state: &dyn StateStore,
    (url, reuse): (&str, Reuse),
) -> Result<Option<KnownId>> {
    let values = Values { shop_url: Some(url.to_owned()), ..Values::default() };
    let task = Task::Resolve { shop: 0 };
    let Some((endpoint, answer_key)) = question(pipeline, &task, values)? else { return Ok(None) };
    let id = |kept| match reread(&task, pipeline, endpoint, &kept) {
        Some(Outcome::Resolved(id)) => Some(id),
        _ => None,
    };
    if let Some(kept) = answered.find(answer_key).await? {
        return Ok(id(kept).map(KnownId::Landed));
    }
    // Without a lifetime in the definition nothing is cached, and what an earlier definition let be cached is not used.
    let Some(seconds) = endpoint.cache_seconds.filter(|_| reuse.allows(&task)) else { return Ok(None) };
    let now = state.now().await?;
    let cached = state.cached(&key(&pipeline.gateway.url, answer_key), now).await?;
    let kept = cached.and_then(|cached| decode(&cached.value)).filter(|kept| is_young(kept, seconds, now));
    Ok(kept.and_then(id).map(KnownId::Cached))
}

/// A shop's official count of the run's day, where an answer that has landed says it.
///
/// # Errors
/// As [`known_shop_id`].
pub async fn landed_count(
    pipeline: &Pipeline,
    answered: &dyn Answered,
    shop: &ShopWork,
    id: &str,
) -> Result<Option<u64>> {
    let (task, values) = count_of(pipeline, shop, id);
    let again = match task {
        Task::Count { shop } => Some(Task::Recount { shop }),
        _ => None,
    };
    for asked in again.into_iter().chain([task]) {
        let Some((endpoint, key)) = question(pipeline, &asked, values.clone())? else { continue };
        if let Some(kept) = answered.find(key).await? {
            return Ok(stated_count(&asked, pipeline, endpoint, &kept));
        }
    }
    Ok(None)
}

/// An official count that was bought before the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoughtCount {
    /// The run takes it for its own.
    Holds(u64),
    /// It tells about how large the shop is; the run asks again.
    Earlier(u64),
}

/// A shop's official count as a probe, or a start that was refused, has bought it for a run of day `dt`; `now` is this
/// machine's time.
///
/// # Errors
/// As [`known_shop_id`].
pub async fn bought_count(
    pipeline: &Pipeline,
    state: &dyn StateStore,
    (dt, now, reuse): (NaiveDate, DateTime<Utc>, Reuse),
    (shop, id): (&ShopWork, &str),
) -> Result<Option<BoughtCount>> {
    let (task, values) = count_of(pipeline, shop, id);
    if !reuse.allows(&task) {
        return Ok(None);
    }
    let Some((endpoint, answer_key)) = question(pipeline, &task, values)? else { return Ok(None) };
    let key = count_key(dt, &key(&pipeline.gateway.url, answer_key));
    let kept = state.cached(&key, state.now().await?).await?.and_then(|cached| decode(&cached.value));
    let Some(kept) = kept else { return Ok(None) };
    let is_young =
        endpoint.cache_seconds.map_or_else(|| count_holds(&kept, now), |seconds| is_young(&kept, seconds, now));
    let holds = is_young && reuse.takes(&task, &kept);
    let count = stated_count(&task, pipeline, endpoint, &kept);
    Ok(count.map(|count| if holds { BoughtCount::Holds(count) } else { BoughtCount::Earlier(count) }))
}

/// A count stands for one day of one run.
pub(super) fn count_key(dt: NaiveDate, key: &str) -> String {
    format!("{dt}-{key}")
}

fn stated_count(task: &Task, pipeline: &Pipeline, endpoint: &Endpoint, kept: &Attempt) -> Option<u64> {
    match reread(task, pipeline, endpoint, kept)? {
        Outcome::Counted(count) => Some(count),
        Outcome::Page(page, _) => page.total,
        _ => None,
    }
}

/// What tells how many offers a shop has, and what its places stand for.
fn count_of(pipeline: &Pipeline, shop: &ShopWork, id: &str) -> (Task, Values) {
    let mut values = Values { shop_id: Some(id.to_owned()), shop_url: shop.shop.url.clone(), ..Values::default() };
    let task = match shop.count {
        CountFrom::Endpoint => Task::Count { shop: 0 },
        CountFrom::Listing => {
            let paging = pipeline.gateway.endpoints.get("listing").and_then(|listing| listing.page.as_ref());
            let page = paging.map_or(1, |paging| paging.first);
            values.page = Some(page);
            Task::Page { shop: 0, list: ListKind::OnSale, slice: 0, page }
        }
    };
    (task, values)
}

/// The endpoint that answers a task about the pipeline's own gateway, and the key of its call.
fn question<'p>(pipeline: &'p Pipeline, task: &Task, values: Values) -> Result<Option<(&'p Endpoint, CallKey)>> {
    let gateway = &pipeline.gateway;
    let (Some(endpoint), Some(account)) = (gateway.endpoints.get(task.endpoint()), pipeline.accounts.first()) else {
        return Ok(None);
    };
    let (answer, more) = (Some(pipeline.fetch.answer), pipeline.fetch.options.clone());
    let values = Values { answer, more, ..values };
    // The time is no part of a call's identity.
    let call = Call { gateway, endpoint, account, values: &values, now: DateTime::UNIX_EPOCH };
    let mut identity =
        request::identity(call).map_err(|error| Error::config(format!("gateway `{}`: {error}", gateway.name)))?;
    let mask = super::driver::mask(pipeline);
    identity.values_mut().for_each(|value| *value = mask.text(value));
    Ok(Some((endpoint, answered::key("", (task.endpoint(), task.is_again()), &identity))))
}

/// What a kept answer says.
fn reread(task: &Task, pipeline: &Pipeline, endpoint: &Endpoint, kept: &Attempt) -> Option<Outcome> {
    let json = body::to_json(&kept.body, kept.record.content_type.as_deref()).ok()?;
    Some(read(task, &pipeline.gateway, endpoint, body::parse(&json).ok()?))
}

/// An answer for the cache, by the store's clock.
pub(super) fn encode(kept: &Attempt, from: DateTime<Utc>, seconds: u64) -> Result<Cached> {
    let lifetime = i64::try_from(seconds).ok().and_then(TimeDelta::try_seconds).unwrap_or(TimeDelta::MAX);
    let expires_at = from.checked_add_signed(lifetime).unwrap_or(DateTime::<Utc>::MAX_UTC);
    Ok(Cached { value: value(kept)?, expires_at })
}

/// The record as a line of JSON, then the body.
fn value(kept: &Attempt) -> Result<Bytes> {
    let mut value = serde_json::to_vec(&kept.record)
        .map_err(|source| Error::internal("an answer cannot be cached").caused_by(source))?;
    value.push(b'\n');
    value.extend_from_slice(&kept.body);
    Ok(value.into())
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
    fn an_answer_is_used_no_longer_than_its_definition_lets_it_be_now() {
        let received_at = testing::at("2026-11-20T12:00:00Z");
        let kept = Attempt { record: Record { received_at, ..testing::record(200) }, body: Bytes::new() };
        let after = |seconds| received_at + TimeDelta::seconds(seconds);
        assert!(is_young(&kept, 600, after(599)) && !is_young(&kept, 600, after(600)));
        assert!(is_young(&kept, 600, after(-5)) && !is_young(&kept, 0, after(0)));
    }

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

    #[test]
    fn a_count_stands_for_ten_minutes_and_is_kept_until_the_day_ends() {
        let record = Record { received_at: testing::at("2026-11-20T12:00:00Z"), ..testing::record(200) };
        let kept = Attempt { record, body: Bytes::new() };
        assert!(count_holds(&kept, testing::at("2026-11-20T12:10:00Z")));
        assert!(!count_holds(&kept, testing::at("2026-11-20T12:10:01Z")));
        for (from, until) in [
            ("2026-11-20T12:00:00Z", "2026-11-20T16:00:00Z"),
            // Midnight in Beijing: the start that follows may still use it.
            ("2026-11-20T15:55:00Z", "2026-11-20T16:05:00Z"),
        ] {
            assert_eq!(encode_count(&kept, testing::at(from)).unwrap().expires_at, testing::at(until));
        }
    }
}
