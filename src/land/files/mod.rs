//! The files source: captured answers read as if the gateway had just given them, with HTTP status 200.
//!
//! Takes the files a pipeline names; gives an [`Attempt`] for each answer, in the order of path and line, and lands
//! them by the day they stand for. Memory is bounded by a batch, not by the files.
//!
//! Invariant: no answer is dropped: what cannot be read as its wrapper says is landed whole, to be quarantined.

mod captures;
mod find;
mod lines;
mod moment;
#[cfg(test)]
mod tests;

pub use captures::{Capture, Captures};

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};

use crate::base::secret::Mask;
use crate::base::{Clock, Error, Result, RunId};
use crate::extract::{Attempt, RunFacts, ShopFacts};
use crate::store::Store;

use super::writer::{Writer, WriterOptions};
use super::zone::Zone;

/// Answers read ahead while the ones before them are made durable: until they are this large …
const BATCH_BYTES_MAX: usize = 8 << 20;
/// … or this many.
const BATCH_ANSWERS_MAX: usize = 1024;
/// Days that are landed at the same time; past that, the one used least recently is closed for the moment.
const OPEN_DAYS_MAX: usize = 8;

/// Where captured answers land.
#[derive(Debug, Clone)]
pub struct FilesTarget {
    /// The lake.
    pub store: Store,
    /// The pipeline.
    pub pipeline: String,
    /// For the start and end of each day's run.
    pub clock: Arc<dyn Clock>,
}

/// The captured answers of one day, landed: what one publication is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct LandedDay {
    /// The day.
    pub dt: NaiveDate,
    /// Its run in the day's [`Zone`].
    pub run_id: RunId,
    /// Landed beside the segments; its shops are those the wrappers name, in the order of their first answers.
    pub facts: RunFacts,
}

/// Lands all captured answers, each in the zone of its day, under a run id per day from `new_run`.
/// The days come back in order; their facts are written when all of them have landed.
///
/// # Errors
/// Those of reading ([`Captures`]) and of landing ([`Writer`]). Then no day has facts.
pub async fn land_files(
    captures: Captures,
    target: FilesTarget,
    new_run: impl FnMut(NaiveDate) -> RunId,
) -> Result<Vec<LandedDay>> {
    let mut days = Days { target, new_run, open: Vec::new(), counts: BTreeMap::new() };
    let (mut captures, mut batch) = read_batch(captures).await?;
    while !batch.is_empty() {
        let (landed, read) = tokio::join!(days.land(batch), read_batch(captures));
        landed?;
        (captures, batch) = read?;
    }
    days.finish().await
}

/// Reads the next answers off the reactor; none are left when the batch is empty.
async fn read_batch(mut captures: Captures) -> Result<(Captures, Vec<Capture>)> {
    let read = tokio::task::spawn_blocking(move || {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES_MAX && batch.len() < BATCH_ANSWERS_MAX {
            let Some(capture) = captures.next().transpose()? else { break };
            bytes += capture.attempt.body.len();
            batch.push(capture);
        }
        Ok((captures, batch))
    });
    read.await.unwrap_or_else(|source| Err(Error::internal("reading captured files ended early").caused_by(source)))
}

/// The days seen so far and their writers.
struct Days<F> {
    target: FilesTarget,
    new_run: F,
    /// The one used last stands last.
    open: Vec<(NaiveDate, Writer)>,
    counts: BTreeMap<NaiveDate, DayCount>,
}

impl<F: FnMut(NaiveDate) -> RunId> Days<F> {
    /// Returns once all of the batch is durable.
    async fn land(&mut self, mut batch: Vec<Capture>) -> Result<()> {
        // Stable: within a day the order stays, and each day's writer is used in one go.
        batch.sort_by_key(|capture| capture.dt);
        let mut landings = Vec::with_capacity(batch.len());
        for Capture { dt, mut attempt } in batch {
            self.make_ready(dt).await?;
            let (Some(count), Some((_, writer))) = (self.counts.get_mut(&dt), self.open.last()) else {
                return Err(Error::internal("a day has no writer"));
            };
            count.add(&mut attempt);
            landings.push(writer.submit(attempt).await?);
        }
        for landing in landings {
            landing.wait().await?;
        }
        Ok(())
    }

    /// Makes the day's writer the last of the open ones.
    async fn make_ready(&mut self, dt: NaiveDate) -> Result<()> {
        if let Some(at) = self.open.iter().position(|(open, _)| *open == dt) {
            self.open[at..].rotate_left(1);
            return Ok(());
        }
        if self.open.len() >= OPEN_DAYS_MAX {
            let (_, unused) = self.open.remove(0);
            unused.close().await?;
        }
        let (new_run, clock) = (&mut self.new_run, &self.target.clock);
        let count = self.counts.entry(dt).or_insert_with(|| DayCount::new(new_run(dt), clock.now()));
        let options = WriterOptions { run_id: count.run_id, first_number: count.answers + 1, mask: Mask::default() };
        self.open.push((dt, Writer::start(self.target.zone(dt), options)));
        Ok(())
    }

    async fn finish(self) -> Result<Vec<LandedDay>> {
        for (_, writer) in self.open {
            writer.close().await?;
        }
        let mut landed = Vec::with_capacity(self.counts.len());
        for (dt, count) in self.counts {
            let run_id = count.run_id;
            let facts = count.into_facts(self.target.clock.now());
            self.target.zone(dt).write_facts(&run_id, &facts).await?;
            landed.push(LandedDay { dt, run_id, facts });
        }
        Ok(landed)
    }
}

impl FilesTarget {
    fn zone(&self, dt: NaiveDate) -> Zone {
        Zone::new(self.store.clone(), &self.pipeline, dt)
    }
}

/// What the answers of one day add up to.
struct DayCount {
    run_id: RunId,
    started_at: DateTime<Utc>,
    answers: i64,
    bytes: i64,
    shops: Vec<ShopFacts>,
    /// Where a shop stands in `shops`.
    places: HashMap<String, usize>,
}

impl DayCount {
    fn new(run_id: RunId, started_at: DateTime<Utc>) -> Self {
        Self { run_id, started_at, answers: 0, bytes: 0, shops: Vec::new(), places: HashMap::new() }
    }

    /// Counts an answer and makes it one of the day's run.
    fn add(&mut self, attempt: &mut Attempt) {
        let record = &mut attempt.record;
        record.run_id = self.run_id.to_string();
        self.answers += 1;
        self.bytes += i64::try_from(attempt.body.len()).unwrap_or(i64::MAX);
        let Some(shop_id) = &record.shop_id else { return };
        let place = self.places.entry(shop_id.clone()).or_insert_with(|| {
            self.shops.push(captured_shop(shop_id, record.received_at));
            self.shops.len() - 1
        });
        let shop = &mut self.shops[*place];
        shop.started_at = shop.started_at.min(record.received_at);
        shop.finished_at = shop.finished_at.max(record.received_at);
    }

    /// No calls were made for any of it.
    fn into_facts(self, finished_at: DateTime<Utc>) -> RunFacts {
        RunFacts {
            run_id: self.run_id.to_string(),
            shops: self.shops,
            items_unanswered: Vec::new(),
            calls_used: 0,
            retries: 0,
            throttles: 0,
            bytes_received: self.bytes,
            stopped: None,
            started_at: self.started_at,
            finished_at,
            ..RunFacts::default()
        }
    }
}

/// A shop that answers were captured of; its times are those of the first and last fetch.
fn captured_shop(shop_id: &str, fetched_at: DateTime<Utc>) -> ShopFacts {
    ShopFacts {
        shop_id: shop_id.to_owned(),
        shop_name: None,
        shop_url: None,
        official_count: None,
        incomplete_reason: None,
        calls_used: 0,
        started_at: fetched_at,
        finished_at: fetched_at,
        ..ShopFacts::default()
    }
}
