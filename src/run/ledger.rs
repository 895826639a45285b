//! The quota ledger rebuilt from what has landed, when the state was lost or another machine goes on: the calls of the last
//! days, and the rests that still hold.
//!
//! Takes the landing zones of all pipelines in the lake: attempts of runs that have not published are counted one by one,
//! published runs have left their counts and the rests they knew in their facts. What an answer means for its account the
//! definition of its gateway says: answers of runs that left no facts are read for rests by their own pipeline only.
//!
//! Invariant: the lake is only read. A call that is counted is not counted again, whoever rebuilds, and a state that has
//! counted a run's calls is not told what rests these earned: it knows, or somebody has ended them.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

use crate::base::time::beijing_day;
use crate::base::{Result, RunId};
use crate::config::pipeline::Account;
use crate::config::{Gateway, Pipeline};
use crate::extract::{Fingerprint, Judge, Record, Shown, Standing};
use crate::land::{Counts, Zone};
use crate::state::{Cached, Counted, RestKind, Resting, StateStore};
use crate::store::Store;

use super::survey;

/// A mark is of no use after its day.
const MARK_KEPT: TimeDelta = TimeDelta::days(2);
/// Runs of earlier days may have called today, and their blocks may still hold: a run keeps its day when it goes on.
const DAYS_BACK: u64 = 7;
/// … and whatever a call of today left was written no longer ago.
const WRITTEN: TimeDelta = TimeDelta::days(2);

/// Makes the ledger know what the pipeline's lake knows of its accounts. A lake that is not there knows nothing.
///
/// # Errors
/// `Data`, with its path, when a segment or the facts of a run are damaged; `Storage`; whatever the state store fails with.
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
    let keys: BTreeSet<&str> = accounts(pipeline).map(|(_, account)| account.key.as_str()).collect();
    let now = state.now().await?;
    let mut unmarked = BTreeSet::new();
    for key in keys {
        if state.cached(&mark(store, key, today), now).await?.is_none() {
            unmarked.insert(key);
        }
    }
    if unmarked.is_empty() {
        return Ok(());
    }
    let runs = runs(store, today, now).await?;
    let mut standing = Standing::default();
    // Keys of which the state lacked calls.
    let mut lost: BTreeSet<String> = BTreeSet::new();
    for run in &runs {
        let landed = Landed::read(store, pipeline, run).await?;
        let mut lacking: BTreeSet<&str> = BTreeSet::new();
        let concerns = |line: &&Counted| unmarked.contains(line.account.as_str()) && line.day >= earliest(today);
        for line in landed.lines.iter().filter(concerns) {
            if state.raise(line, &run.run_id.to_string()).await? {
                tell(line, run, today);
                lacking.insert(&line.account);
            }
        }
        standing.add(&landed.rests.into_iter().filter(|shown| lacking.contains(&*shown.account)).collect::<Vec<_>>());
        lost.extend(lacking.into_iter().map(str::to_owned));
    }
    if !lost.is_empty() {
        for run in runs.iter().filter(|run| run.pipeline == pipeline.name && run.has_segments) {
            read_answers(store, pipeline, run, &mut standing).await?;
        }
        let rests = standing.holding(now).into_iter().filter(|shown| lost.contains(&shown.account));
        let_rest(pipeline, state, rests).await?;
    }
    for key in unmarked {
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

/// A state that was not lost has counted every call before it left: it lacks nothing.
fn tell(line: &Counted, run: &LandedRun, today: NaiveDate) {
    if line.day == today {
        let (account, calls, run_id) = (&line.account, line.calls, run.run_id.to_string());
        tracing::warn!(account, calls, run_id, "the ledger of today is rebuilt from landed answers");
    }
}

/// What a run has left of its calls.
struct Landed {
    lines: Vec<Counted>,
    rests: Vec<Shown>,
}

impl Landed {
    async fn read(store: &Store, pipeline: &Pipeline, run: &LandedRun) -> Result<Self> {
        let asked = |record: &Record| {
            let details = pipeline.details.as_ref().map(|details| &details.gateway);
            let asked = record.gateway.as_ref().and_then(|name| details.filter(|details| details.name == *name));
            asked.unwrap_or(&pipeline.gateway)
        };
        let zone = Zone::new(store.clone(), &run.pipeline, run.dt);
        let (mut counts, mut rests) = (Counts::default(), Vec::new());
        if run.has_segments {
            for record in zone.records_left(&run.run_id).await? {
                counts.add(&record, asked(&record));
            }
        }
        // A killed start leaves segments that its facts do not know; of a published run some may be gone already, or go
        // while they are read: its facts were there before, so they are read after.
        if let Some(facts) = zone.read_facts(&run.run_id).await? {
            counts.at_least(&facts.ledger);
            rests = facts.rests;
        }
        Ok(Self { lines: counts.ledger(), rests })
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

/// Says that a state has counted what this lake's answers show up to a day, so that they are not read at every start.
fn mark(store: &Store, key: &str, day: NaiveDate) -> String {
    format!("ledger {day} {key} {}", store.url())
}

struct LandedRun {
    pipeline: String,
    dt: NaiveDate,
    run_id: RunId,
    has_segments: bool,
    is_unfinished: bool,
    /// When something of it was written last.
    written_at: DateTime<Utc>,
}

fn earliest(today: NaiveDate) -> NaiveDate {
    today.checked_sub_days(Days::new(DAYS_BACK)).unwrap_or(today)
}

/// The runs of all pipelines that may have called in the last days.
async fn runs(store: &Store, today: NaiveDate, now: DateTime<Utc>) -> Result<Vec<LandedRun>> {
    let earliest = earliest(today);
    let mut runs: Vec<LandedRun> = Vec::new();
    for file in store.list("_huopan/landing").await? {
        let mut parts = file.path.split('/').skip(2);
        let (Some(pipeline), Some(dt), Some(run_id), Some(name)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (Ok(dt), Ok(run_id)) = (dt.parse::<NaiveDate>(), run_id.parse::<RunId>()) else { continue };
        let has_segments = name.ends_with(".seg");
        match runs.last_mut().filter(|last| last.run_id == run_id && last.pipeline == pipeline) {
            Some(last) => {
                last.has_segments |= has_segments;
                last.is_unfinished |= name == "start.json";
                last.written_at = last.written_at.max(file.modified_at);
            }
            None => runs.push(LandedRun {
                pipeline: pipeline.to_owned(),
                dt,
                run_id,
                has_segments,
                is_unfinished: name == "start.json",
                written_at: file.modified_at,
            }),
        }
    }
    // An unfinished run may have called today whenever it began, and so may one that was given up since; anything else
    // called soon after it began, for whatever day.
    let is_young = |run: &LandedRun| run.run_id.began_at().is_none_or(|at| beijing_day(at) >= earliest);
    runs.retain(|run| run.is_unfinished || is_young(run) || now - run.written_at < WRITTEN);
    Ok(runs)
}
