//! The quota ledger rebuilt from what has landed, when the state was lost, has come back as it was a while ago, or another
//! machine goes on: the calls of the last days, and the rests that still hold.
//!
//! Takes the landing zones of all pipelines in the lake: attempts of runs that have not published are counted one by one,
//! published runs have left their counts and the rests they knew in their facts. What an answer means for its account the
//! definition of its gateway says: answers of runs that left no facts are read for rests by their own pipeline only.
//!
//! Invariant: the lake is only read. A call that is counted is not counted again, whoever rebuilds, and a state that has
//! counted a run's calls is not told what rests these earned: it knows, or somebody has ended them.

mod landed;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{NaiveDate, TimeDelta};

use crate::base::time::beijing_day;
use crate::base::{Error, Kind, Result};
use crate::config::pipeline::Account;
use crate::config::{Gateway, Pipeline};
use crate::extract::{Fingerprint, Judge, Shown, Standing};
use crate::land::Zone;
use crate::state::{Cached, Counted, RestKind, Resting, StateStore};
use crate::store::Store;

use self::landed::{Landed, LandedRun};
use super::survey;

/// A mark is of no use after its day.
const MARK_KEPT: TimeDelta = TimeDelta::days(2);

/// Makes the ledger know what the pipeline's lake knows of its accounts. A lake that is not there knows nothing.
///
/// # Errors
/// `Data`, with its path, when a segment or the facts of a run are damaged and the state does not know the lake yet;
/// `Storage`; whatever the state store fails with.
pub async fn rebuild_from_lake(pipeline: &Pipeline, state: &dyn StateStore) -> Result<()> {
    if pipeline.files.is_some() {
        return Ok(());
    }
    let Some(store) = Store::find(&pipeline.lake.location).await? else { return Ok(()) };
    rebuild(&store, pipeline, state, beijing_day(state.now().await?)).await
}

/// Makes the ledger know at least what the lake knows was called in the last days.
pub(super) async fn rebuild(
    store: &Store,
    pipeline: &Pipeline,
    state: &dyn StateStore,
    today: NaiveDate,
) -> Result<()> {
    let (now, earliest) = (state.now().await?, landed::earliest(today));
    // The first day of which each key's calls are compared: by the gateway's clock it may be the day before.
    let mut since: BTreeMap<&str, NaiveDate> = BTreeMap::new();
    for (_, Account { key, .. }) in accounts(pipeline) {
        let is_marked = state.cached(&mark(store, key, today), now).await?.is_some();
        since.insert(key, if is_marked { today.pred_opt().unwrap_or(today) } else { earliest });
    }
    // A state that knows the lake is believed where the lake cannot be read.
    let is_known = since.values().all(|first| *first > earliest);
    let runs = landed::runs(store, today, now).await?;
    let mut standing = Standing::default();
    // Keys of which the state lacked calls.
    let mut lost: BTreeSet<String> = BTreeSet::new();
    let mut recounted = Recounted::default();
    for run in &runs {
        let landed = match Landed::of(run, store, pipeline, (state, now)).await {
            Err(error) if is_known && error.kind() == Kind::Data => {
                tell_of_damage(&error, run, pipeline);
                continue;
            }
            landed => landed?,
        };
        let mut lacking: BTreeSet<String> = BTreeSet::new();
        let concerns = |line: &Counted| since.get(&*line.account).is_some_and(|since| line.day >= *since);
        for line in landed.lines().into_iter().filter(concerns) {
            if state.raise(&line, &run.run_id.to_string()).await? {
                recounted.add(&line, today);
                lacking.insert(line.account);
            }
        }
        standing.add(&landed.rests.into_iter().filter(|shown| lacking.contains(&shown.account)).collect::<Vec<_>>());
        lost.append(&mut lacking);
    }
    recounted.tell();
    if !lost.is_empty() {
        for run in runs.iter().filter(|run| run.pipeline == pipeline.name && run.last_segment.is_some()) {
            read_answers(store, pipeline, run, &mut standing).await?;
        }
        let rests = standing.holding(now).into_iter().filter(|shown| lost.contains(&shown.account));
        let_rest(pipeline, state, rests).await?;
    }
    for key in since.into_iter().filter(|(_, first)| *first == earliest).map(|(key, _)| key) {
        let cached = Cached { value: bytes::Bytes::from_static(b"1"), expires_at: now + MARK_KEPT };
        state.cache(&mark(store, key, today), &cached).await?;
    }
    Ok(())
}

/// The pipeline's accounts, each with its gateway.
fn accounts(pipeline: &Pipeline) -> impl Iterator<Item = (&Gateway, &Account)> {
    let own = pipeline.accounts.iter().map(|account| (&pipeline.gateway, account));
    let details = pipeline.details.iter();
    own.chain(details.flat_map(|details| details.accounts.iter().map(|account| (&details.gateway, account))))
}

/// Calls of today that the state lacked, by account and scope, and the runs that made them. A state that was not lost has
/// counted every call before it left: it lacks nothing.
#[derive(Debug, Default)]
struct Recounted(BTreeMap<(String, String), (u64, usize)>);

impl Recounted {
    fn add(&mut self, line: &Counted, today: NaiveDate) {
        if line.day == today {
            let (calls, runs) = self.0.entry((line.account.clone(), line.scope.clone())).or_default();
            *calls += line.calls;
            *runs += 1;
        }
    }

    fn tell(&self) {
        for ((account, scope), (calls, runs)) in &self.0 {
            tracing::warn!(
                account,
                scope,
                calls,
                runs,
                "this state store is new, or was lost: today's calls of earlier runs are counted from what they landed"
            );
        }
    }
}

/// A run that goes on says it itself, and ends.
fn tell_of_damage(error: &Error, run: &LandedRun, pipeline: &Pipeline) {
    if !run.is_unfinished || run.pipeline != pipeline.name {
        tracing::warn!(%error, hint = error.hint(), "a run's calls are not compared with the ledger");
    }
}

/// Reads the answers that a run of this pipeline has landed, for what they say of its accounts.
async fn read_answers(store: &Store, pipeline: &Pipeline, run: &LandedRun, standing: &mut Standing) -> Result<()> {
    let gateways = survey::gateways(pipeline);
    let judges = (Judge::new(gateways.own), gateways.details.map(Judge::new));
    let zone = Zone::new(store.clone(), &run.pipeline, run.dt);
    for segment in zone.segments(&run.run_id).await? {
        for attempt in zone.read_segment_if_there(&segment).await?.unwrap_or_default() {
            let Some(gateway) = gateways.of(&attempt.record) else { continue };
            let Some(endpoint) = gateway.endpoints.get(&attempt.record.endpoint) else { continue };
            let judge = if attempt.record.gateway.is_none() { Some(&judges.0) } else { judges.1.as_ref() };
            if let Some(judge) = judge {
                let judgement = judge.judge_bytes(endpoint, &attempt.record, &attempt.body);
                standing.hear(gateway, &attempt.record, &judgement);
            }
        }
    }
    Ok(())
}

/// Lets accounts rest that the gateways have refused or blocked. Which credentials were refused has not landed: those of
/// now are taken for them.
async fn let_rest(pipeline: &Pipeline, state: &dyn StateStore, rests: impl Iterator<Item = Shown>) -> Result<()> {
    for Shown { account: key, gateway: name, scope, rest, .. } in rests {
        let asked = |(gateway, account): &(&Gateway, &Account)| {
            // That calls are used up holds for the key, wherever it was said.
            account.key == key && (gateway.name == name || rest.kind == RestKind::Quota)
        };
        let Some((gateway, account)) = accounts(pipeline).find(asked) else { continue };
        tracing::warn!(account = key, until = %rest.until, "the account rests, as landed answers say");
        let Fingerprint { gateway, credentials } = Fingerprint::new(gateway, account);
        state.rest(&key, &Resting { scope, gateway, credentials, rest }).await?;
    }
    Ok(())
}

/// Says that a state has counted what this lake's answers showed of the days before. Those of the day are compared at every
/// start: the state may be lost, or come back as it was a while ago, with the mark in it.
fn mark(store: &Store, key: &str, day: NaiveDate) -> String {
    format!("ledger {day} {key} {}", store.url())
}
