//! The row of an attempt in `runs`, and the calls that are journalled with it.

use chrono::{DateTime, Utc};

use crate::config::Pipeline;
use crate::config::gateway::ErrorClass;
use crate::transform::rows::{CallRow, RunKind, RunRow, RunStatus};

use super::Start;

/// The calls after number `known`, which are in the journal already since the run stopped, and the last number now.
pub(super) fn not_journalled(mut calls: Vec<CallRow>, known: i64) -> (Vec<CallRow>, i64) {
    calls.retain(|call| call.number > known);
    let last = calls.iter().map(|call| call.number).max();
    (calls, last.unwrap_or(known))
}

/// The row of an attempt that has failed, until more is known.
pub(super) fn run_row(pipeline: &Pipeline, start: &Start, seq: u64, finished_at: DateTime<Utc>) -> RunRow {
    RunRow {
        run_id: start.run_id.to_string(),
        attempt: start.attempt,
        status: RunStatus::Failed,
        error: None,
        started_at: start.started_at,
        finished_at,
        received: 0,
        loaded: 0,
        duplicates: 0,
        quarantined: 0,
        carried: 0,
        calls_used: 0,
        calls_saved: 0,
        retries: 0,
        throttles: 0,
        bytes_received: 0,
        quota_left: None,
        publish_seq: i64::try_from(seq).ok(),
        config_hash: pipeline.config_hash.clone(),
        kind: RunKind::Run,
    }
}

/// Counts the calls that are journalled with the row: those of this start, and of starts before it that were killed and
/// left no row.
pub(super) fn count_calls(row: &mut RunRow, calls: &[CallRow]) {
    let throttled = |call: &&CallRow| call.class == ErrorClass::Throttle.name();
    row.calls_used = length(calls.len());
    row.retries = length(calls.iter().filter(|call| call.attempt > 1).count());
    row.throttles = length(calls.iter().filter(throttled).count());
    row.bytes_received = calls.iter().map(|call| call.bytes).sum();
}

pub(super) fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
