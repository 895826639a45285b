//! What is kept of a published run: its answers in `raw_pages`, unfolded into segments again, and what it knew at its end.
//!
//! Takes a run that has published; gives its facts, and its segments above the lake.
//!
//! Invariant: an answer that is not what arrived, byte for byte, ends the replay.

use std::collections::HashSet;

use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use chrono::{DateTime, Datelike, NaiveDate};
use tokio::runtime::Handle;

use crate::base::time::beijing_day;
use crate::base::{Error, Result, RunId};
use crate::extract::{Attempt, RunFacts};
use crate::land::Zone;
use crate::land::segment::digest;
use crate::load::Snapshot;
use crate::load::log::{DataFile, Entry};
use crate::load::parquet::OPTIMIZED;
use crate::load::read::{read, read_by};
use crate::store::Store;
use crate::transform::contract::Table;

use super::day::off_reactor;

/// Answers read at once: each may be large.
const BATCH_ROWS: usize = 64;
/// Bodies of one segment.
const SEGMENT_BYTES: usize = 8 << 20;

/// What is kept of a run.
pub(super) enum Kept {
    /// All of it.
    Facts(Box<RunFacts>),
    /// Not all: why.
    No(String),
}

/// Unfolds the answers of a run of this pipeline and day into segments in `above`.
pub(super) async fn unfold(
    lake: &Store,
    above: &Store,
    snapshot: &Snapshot,
    (pipeline, dt, run_id): (&str, NaiveDate, &RunId),
) -> Result<Kept> {
    let facts = Zone::new(lake.clone(), pipeline, dt).read_facts(run_id).await?;
    let Some(facts) = facts else {
        return Ok(Kept::No(format!("what run {run_id} knew at its end is no longer kept")));
    };
    let named = snapshot.files(Table::RawPages).into_iter().filter(|file| file.dt == dt && file.pipeline == pipeline);
    let named: Vec<DataFile> = named.map(|file| file.file.clone()).collect();
    let mut there = HashSet::new();
    for file in &named {
        there.extend(lake.meta(&file.path).await?.map(|meta| meta.path));
    }
    let gone = |file: &DataFile| !there.contains(&file.path);
    // A file that upkeep has merged may hold answers of any run.
    let is_merged = |file: &DataFile| file.path.rsplit('/').next().is_some_and(|name| name.starts_with(OPTIMIZED));
    let is_of_run = |file: &DataFile| file.path.contains(&run_id.to_string()) || is_merged(file);
    let not_kept = || Ok(Kept::No(format!("the answers of run {run_id} are no longer kept")));
    if let Some(lost) = named.iter().find(|file| gone(file) && is_of_run(file)) {
        let lost = &lost.path;
        return Ok(Kept::No(format!("`{lost}`, which may hold answers of run {run_id}, is missing")));
    }
    let Some(like) = snapshot.picture(pipeline, dt) else { return not_kept() };
    let files = named.into_iter().filter(|file| !gone(file)).collect();
    let entry = Entry { tables: [(Table::RawPages.name().to_owned(), files)].into(), ..like.clone() };
    let zone = Zone::new(above.clone(), pipeline, dt);
    let (lake, run_id_) = (lake.clone(), *run_id);
    let unfolded =
        off_reactor(move || Unfolding { zone, run_id: run_id_, waiting: Vec::new(), bytes: 0 }.run(&lake, &entry))
            .await?;
    match unfolded {
        Unfolded::Headless => Ok(Kept::No(format!(
            "the answers of run {run_id} were kept by a huopan that did not keep what a replay needs"
        ))),
        Unfolded::Answers(0) if facts.calls_used > 0 || facts.bytes_received > 0 => not_kept(),
        Unfolded::Answers(_) => Ok(Kept::Facts(Box::new(facts))),
    }
}

/// How many answers a run has, where all can be replayed.
enum Unfolded {
    Answers(usize),
    Headless,
}

struct Unfolding {
    zone: Zone,
    run_id: RunId,
    waiting: Vec<Attempt>,
    bytes: usize,
}

impl Unfolding {
    fn run(mut self, lake: &Store, entry: &Entry) -> Result<Unfolded> {
        let (mut answers, mut headless) = (0, false);
        read_by(lake, entry, Table::RawPages, None, BATCH_ROWS, |batch| {
            let Some(attempts) = attempts(&batch, &self.run_id.to_string())? else {
                headless = true;
                return Ok(());
            };
            answers += attempts.len();
            for attempt in attempts {
                self.bytes += attempt.body.len();
                self.waiting.push(attempt);
            }
            if self.bytes >= SEGMENT_BYTES { self.land() } else { Ok(()) }
        })?;
        self.land()?;
        Ok(if headless { Unfolded::Headless } else { Unfolded::Answers(answers) })
    }

    fn land(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let attempts = std::mem::take(&mut self.waiting);
        Handle::current().block_on(async {
            self.zone.land_again(&self.run_id, &attempts).await?;
            let first = attempts.first().map(|attempt| attempt.record.number);
            self.zone.note_segments(&self.run_id, first).await
        })
    }
}

/// The attempts of a run in a batch of `raw_pages`; `None`: they lack what a replay needs.
fn attempts(batch: &RecordBatch, run_id: &str) -> Result<Option<Vec<Attempt>>> {
    let runs = batch.column_by_name("run_id").and_then(|column| column.as_string_opt::<i32>()).ok_or_else(broken)?;
    let numbers = batch.column_by_name("number").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let bodies = batch.column_by_name("body").and_then(|column| column.as_binary_opt::<i32>()).ok_or_else(broken)?;
    let headers = batch.column_by_name("header").and_then(|column| column.as_string_opt::<i32>());
    let numbers = numbers.ok_or_else(broken)?;
    let mut attempts = Vec::new();
    for row in (0..batch.num_rows()).filter(|&row| runs.value(row) == run_id) {
        let Some(headers) = headers.filter(|headers| headers.is_valid(row)) else { return Ok(None) };
        let (number, body) = (numbers.value(row), Bytes::copy_from_slice(bodies.value(row)));
        let record: crate::extract::Record = serde_json::from_str(headers.value(row)).map_err(|source| {
            Error::data(format!("the header of the kept answer `{run_id}/{number}` cannot be read")).caused_by(source)
        })?;
        if record.number != number || record.digest != digest(&body) {
            return Err(Error::data(format!("the kept answer `{run_id}/{number}` is not what arrived"))
                .with_hint("its bytes do not have the digest they had: restore its file in `raw_pages`"));
        }
        attempts.push(Attempt { record, body });
    }
    Ok(Some(attempts))
}

/// Whether rows of an earlier day go on in a picture. Blocks.
pub(super) fn has_earlier_rows(store: &Store, entry: &Entry) -> Result<bool> {
    let today = entry.dt.num_days_from_ce() - DateTime::UNIX_EPOCH.date_naive().num_days_from_ce();
    let mut found = false;
    read(store, entry, Table::Offers, Some(&["observed_dt"]), |batch| {
        let days = batch.column_by_name("observed_dt").and_then(|column| column.as_primitive_opt::<Date32Type>());
        found |= days.ok_or_else(broken)?.values().iter().any(|day| *day < today);
        Ok(())
    })?;
    // SKUs go on beside offers of the day.
    read(store, entry, Table::Skus, Some(&["fetched_at"]), |batch| {
        let times = batch.column_by_name("fetched_at").and_then(|column| column.as_primitive_opt());
        let times: &PrimitiveArray<TimestampMicrosecondType> = times.ok_or_else(broken)?;
        let is_earlier =
            |time: &i64| DateTime::from_timestamp_micros(*time).is_some_and(|at| beijing_day(at) < entry.dt);
        found |= times.values().iter().any(is_earlier);
        Ok(())
    })?;
    Ok(found)
}

fn broken() -> Error {
    Error::data("a published file is not what its contract says")
}
