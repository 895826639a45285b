//! Metrics (`[metrics]`): the numbers of a pipeline's last run, as a file for Prometheus' node exporter, and as one OTLP
//! request to a collector.
//!
//! * `numbers`: what is known of the last run, from the tables, the state store and how the start ended.
//! * `families`: the numbers as named, described and labelled values: the one list that both forms are written from.
//! * `textfile`: Prometheus' text format; `otlp`: OTLP over HTTP, in JSON.
//!
//! They are written at the end of each start that had the pipeline to itself, however it ended. A start that found its day
//! published already writes the numbers of the run that published it.
//!
//! Invariant: metrics never change what became of a run; no secret is in them.

mod families;
mod numbers;
mod otlp;
mod textfile;

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::base::{Kind, Result};
use crate::config::Pipeline;
use crate::store::Store;

use super::{Outcome, Surroundings};

/// Reading the tables and the state takes at most this long: a lake or state that is gone must not hold up the end.
const READ_TIME_MAX: Duration = Duration::from_secs(30);

/// A start that has ended.
pub(super) struct Ended<'a> {
    pub(super) started_at: DateTime<Utc>,
    /// The lake, where it could be opened.
    pub(super) store: Option<&'a Store>,
    pub(super) outcome: &'a Result<Outcome>,
}

/// Writes and sends the numbers of a start that has ended.
pub(super) async fn tell(pipeline: &Pipeline, around: &Surroundings<'_>, ended: &Ended<'_>) {
    let metrics = &pipeline.metrics;
    // Another start is at work: the numbers are its.
    let is_other = matches!(ended.outcome, Err(error) if error.kind() == Kind::Conflict);
    if is_other || (metrics.textfile.is_none() && metrics.otlp.is_none()) {
        return;
    }
    let read = numbers::read(pipeline, around, ended);
    let mut numbers = match tokio::time::timeout(READ_TIME_MAX, read).await {
        Ok(numbers) => numbers,
        Err(_) => {
            tracing::warn!(pipeline = pipeline.name, "the tables could not be read in time: most metrics are missing");
            numbers::of_start(around, ended)
        }
    };
    if let Some(file) = &metrics.textfile {
        // A lake that cannot be read must not make an alarm on the last success go away.
        numbers.keep(textfile::kept(file));
        if let Err(error) = textfile::write(file, &families::of(&pipeline.name, &numbers)) {
            tracing::warn!(file = %file.display(), %error, "metrics could not be written");
        }
    }
    if let Some(otlp) = &metrics.otlp
        && let Err(reason) = otlp::post(otlp, &families::of(&pipeline.name, &numbers), numbers.ended_at).await
    {
        tracing::warn!(pipeline = pipeline.name, reason, "metrics could not be sent");
    }
}
