//! Landed responses → sorted chunks of offers, and an account of every record.
//!
//! Takes segments of attempts, on several threads; gives chunks, quarantine rows, call rows and the counts from which
//! completeness is judged.
//!
//! Memory: one segment and one open chunk per thread; finished chunks and keys are spilled past the budget. What was
//! asked for one by one (details, SKUs) leaves a little in memory for each call.
//!
//! Invariant: every record of a good answer ends as a row of a chunk or in quarantine, and is counted once in
//! `received`.

mod collected;
mod details;
mod worker;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use chrono::NaiveDate;

use crate::base::{Budget, Error, Result};
use crate::config::gateway::{Endpoint, ErrorClass, TOKEN};
use crate::config::pipeline::{FetchDetails, Units};
use crate::config::{Gateway, Pipeline};
use crate::extract::judge::{Judge, Judgement};
use crate::extract::{Attempt, Record, body};

use super::decode::Finder;
use super::kept::KeptSkus;
use super::names::ShopNames;
use super::normalise::{Rules, SkuSource};
use super::renew::Details;
use super::rows::CallRow;

pub use collected::Collected;
use details::Fill;
use worker::Worker;

/// The stage of records that never became offers.
pub const STAGE_OFFER: &str = "transform";
/// The stage of SKUs that could not be loaded beside their offer: no records of their own in the account of a run.
pub const STAGE_SKU: &str = "transform_sku";
/// The stage of details that could not be loaded: the records of their offers' listing stand, and are accounted for.
pub const STAGE_DETAIL: &str = "transform_detail";

/// Of the budget, for the rows of finished chunks …
const ROWS_PERCENT: usize = 25;
/// … and for their keys.
const KEYS_PERCENT: usize = 15;
/// An open chunk takes about three times its answers: as text, as columns, and once more while it is sorted.
const CHUNK_SHARE: usize = 16;
/// Smaller chunks are more trouble than memory …
const CHUNK_BYTES_MIN: usize = 256 << 10;
/// … and larger ones save nothing.
const CHUNK_BYTES_MAX: usize = 16 << 20;

/// What to transform, and how.
#[derive(Debug)]
pub struct Collector<'p> {
    main: Source<'p>,
    /// The other gateway that details come from.
    other: Option<Source<'p>>,
    dt: NaiveDate,
    from_files: bool,
    fetches_details: bool,
    budget: Budget,
    shops: Arc<ShopNames>,
    answers: HashMap<i64, Vec<SkuAnswer>>,
    /// SKUs that the gateway says are no longer there, by offer.
    skus_gone: HashSet<(i64, i64)>,
    /// Offers of whose SKUs some were asked for and not answered.
    skus_open: HashSet<i64>,
    kept_skus: Option<KeptSkus>,
    /// Every SKU is asked for: one that goes on was not answered.
    asks_all_skus: bool,
    /// Rows of the picture before of offers whose SKUs were asked for today, and whose details may still hold.
    details: Details,
    fills: HashMap<i64, Fill>,
    /// Numbers of answers that make no rows.
    unused: HashSet<i64>,
}

/// A gateway whose answers are read.
#[derive(Debug)]
struct Source<'p> {
    gateway: &'p Gateway,
    judge: Judge<'p>,
    finder: Finder,
    rules: Rules,
    skus: SkuSource,
}

/// What the threads may hold together.
#[derive(Debug)]
struct Budgets {
    rows: Budget,
    keys: Budget,
    /// Bytes of answers whose offers make one chunk.
    chunk_bytes: usize,
}

impl Budgets {
    fn of(budget: &Budget, threads: usize) -> Self {
        let chunk_bytes = budget.bytes_max() / CHUNK_SHARE / threads.max(1);
        let chunk_bytes = chunk_bytes.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
        Self { rows: budget.part(ROWS_PERCENT), keys: budget.part(KEYS_PERCENT), chunk_bytes }
    }
}

/// A SKU's own answer.
#[derive(Debug)]
struct SkuAnswer {
    sku_id: Option<i64>,
    json: Vec<u8>,
    fetched_at: i64,
}

impl<'p> Source<'p> {
    fn new(gateway: &'p Gateway, units: &Units, calls_skus: bool) -> Self {
        let skus = match (calls_skus, gateway.offer.contains_key("skus")) {
            (true, _) => SkuSource::Calls,
            (false, true) => SkuSource::Nested,
            (false, false) => SkuSource::NotAsked,
        };
        let (judge, finder) = (Judge::new(gateway), Finder::new(gateway));
        Self { gateway, judge, finder, rules: Rules::new(gateway, units), skus }
    }

    fn endpoint(&self, record: &Record) -> Result<&'p Endpoint> {
        self.gateway.endpoint(&record.endpoint).ok_or_else(|| {
            Error::data(format!(
                "a landed answer is of endpoint `{}`, which gateway `{}` does not have",
                record.endpoint, self.gateway.name
            ))
        })
    }
}

impl<'p> Collector<'p> {
    /// Compiles the rules of a pipeline for one run.
    #[must_use]
    pub fn new(pipeline: &'p Pipeline, dt: NaiveDate, budget: &Budget) -> Self {
        let calls_skus = pipeline.fetch.skus != FetchDetails::Off && pipeline.gateway.endpoints.contains_key("sku");
        let source = |gateway| Source::new(gateway, &pipeline.units, calls_skus);
        Self {
            main: source(&pipeline.gateway),
            other: pipeline.details.as_ref().map(|details| source(&details.gateway)),
            dt,
            from_files: pipeline.files.is_some(),
            fetches_details: pipeline.files.is_none() && pipeline.fetch.details != FetchDetails::Off,
            budget: budget.clone(),
            shops: Arc::default(),
            answers: HashMap::new(),
            skus_gone: HashSet::new(),
            skus_open: HashSet::new(),
            kept_skus: None,
            asks_all_skus: pipeline.fetch.skus == FetchDetails::All,
            details: Details::default(),
            fills: HashMap::new(),
            unused: HashSet::new(),
        }
    }

    /// These answers are journalled and make no rows: the run did not ask for them in the end.
    pub fn leave_out(&mut self, numbers: &[i64]) {
        self.unused.extend(numbers);
    }

    /// Whether SKU data was asked for.
    #[must_use]
    pub fn fetches_skus(&self) -> bool {
        self.main.skus != SkuSource::NotAsked
    }

    /// SKUs that go on where their offer still names them and nobody answered for them today.
    pub fn keep_skus(&mut self, kept: KeptSkus) {
        self.kept_skus = Some(kept);
    }

    /// Reads the segments for what records need of other answers than their own: of an offer its SKUs' answers, of a
    /// detail what only the listing says. Gives the offers whose SKUs were asked for.
    ///
    /// # Errors
    /// What `read` returns; [`crate::base::Kind::Data`] when an answer is of an unknown endpoint.
    pub fn look_ahead<S>(
        &mut self,
        segments: &[S],
        read: &impl Fn(&S) -> Result<Vec<Attempt>>,
    ) -> Result<HashSet<i64>> {
        let (mut detailed, mut failed) = (HashSet::new(), HashSet::new());
        if self.main.skus == SkuSource::Calls || self.fetches_details {
            for segment in segments {
                let attempts = self.used(read(segment)?);
                failed.extend(self.keep_sku_answers(&attempts));
                self.find_details(&attempts, &mut detailed)?;
            }
        }
        if !detailed.is_empty() {
            for segment in segments {
                let attempts = self.used(read(segment)?);
                self.keep_fills(&attempts, &detailed)?;
            }
        }
        let answered = |offer_id: &i64, sku_id: i64| {
            let answers = self.answers.get(offer_id).map_or(&[][..], Vec::as_slice);
            answers.iter().any(|answer| answer.sku_id == Some(sku_id))
        };
        let is_open = |(offer_id, sku_id): &(i64, i64)| {
            !self.skus_gone.contains(&(*offer_id, *sku_id)) && !answered(offer_id, *sku_id)
        };
        self.skus_open = failed.into_iter().filter(is_open).map(|(offer_id, _)| offer_id).collect();
        let of_gone = self.skus_gone.iter().map(|(offer_id, _)| offer_id);
        Ok(self.answers.keys().chain(of_gone).chain(&self.skus_open).copied().collect())
    }

    /// Rows of the picture before that were made of details: each that still holds has SKUs of today put to it.
    pub fn keep_details(&mut self, details: Details) {
        self.details = details;
    }

    /// Transforms every segment, on `threads` threads, once they were [looked at](Self::look_ahead).
    ///
    /// # Errors
    /// What `read` returns; [`crate::base::Kind::Storage`] when chunks cannot be spilled.
    pub fn collect<S: Sync>(
        &self,
        segments: &[S],
        threads: usize,
        read: impl Fn(&S) -> Result<Vec<Attempt>> + Sync,
    ) -> Result<Collected> {
        let next = AtomicUsize::new(0);
        let chunks = AtomicU32::new(0);
        let budgets = Budgets::of(&self.budget, threads);
        let work = || {
            let mut worker = Worker::new(self, &budgets, &chunks);
            while let Some(segment) = segments.get(next.fetch_add(1, Ordering::Relaxed)) {
                for attempt in read(segment)? {
                    worker.attempt(&attempt)?;
                }
            }
            worker.finish()
        };
        let parts = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            let joined = workers.into_iter().map(|worker| {
                worker.join().unwrap_or_else(|_| Err(Error::internal("a thread that transforms answers panicked")))
            });
            joined.collect::<Result<Vec<Collected>>>()
        })?;
        let mut collected = Collected::new(Arc::clone(&self.shops));
        parts.into_iter().for_each(|part| collected.add(part));
        collected.settle()?;
        Ok(collected)
    }

    /// Only the rows of `calls`, in the order of their numbers.
    ///
    /// # Errors
    /// What `read` returns; [`crate::base::Kind::Data`] when an answer is of an unknown endpoint.
    pub fn calls<S>(&self, segments: &[S], read: impl Fn(&S) -> Result<Vec<Attempt>>) -> Result<Vec<CallRow>> {
        let mut calls = Vec::new();
        for segment in segments {
            for Attempt { record, body } in read(segment)? {
                let source = self.source(&record)?;
                let judgement = source.judge.judge_bytes(source.endpoint(&record)?, &record, &body);
                calls.extend(worker::call_row(&record, &judgement));
            }
        }
        calls.sort_by_key(|call| call.number);
        Ok(calls)
    }

    /// The gateway whose answer it is.
    fn source(&self, record: &Record) -> Result<&Source<'p>> {
        match &record.gateway {
            None => Ok(&self.main),
            Some(name) if *name == self.main.gateway.name => Ok(&self.main),
            Some(name) => {
                let other = self.other.as_ref().filter(|other| other.gateway.name == *name);
                let unknown = || format!("a landed answer is of gateway `{name}`, which the pipeline does not ask");
                other.ok_or_else(|| Error::data(unknown()))
            }
        }
    }

    /// Whether it is the detail of an offer that a listing of its shop has shown.
    fn is_detail(&self, record: &Record) -> bool {
        self.fetches_details && record.endpoint == "item" && record.shop_id.is_some()
    }

    fn used(&self, mut attempts: Vec<Attempt>) -> Vec<Attempt> {
        attempts.retain(|attempt| !self.unused.contains(&attempt.record.number));
        attempts
    }

    /// Keeps the answers about single SKUs: they are looked up when their offers are decoded. Gives the SKUs whose calls
    /// failed: another one may have been answered.
    fn keep_sku_answers(&mut self, attempts: &[Attempt]) -> Vec<(i64, i64)> {
        let mut failed = Vec::new();
        let Some(endpoint) = self.main.gateway.endpoints.get("sku") else { return failed };
        for Attempt { record, body: bytes } in attempts.iter().filter(|attempt| attempt.record.endpoint == "sku") {
            let Some(offer_id) = record.offer_id else { continue };
            let sku = record.sku_id.map(|sku_id| (offer_id, sku_id));
            let Ok(json) = body::to_json(bytes, record.content_type.as_deref()) else {
                failed.extend(sku);
                continue;
            };
            match self.main.judge.judge(endpoint, record, body::parse(&json).as_ref().copied()) {
                Judgement::Good => {
                    let fetched_at = record.received_at.timestamp_micros();
                    let answer = SkuAnswer { sku_id: record.sku_id, json: json.into_owned(), fetched_at };
                    self.answers.entry(offer_id).or_default().push(answer);
                }
                Judgement::Fault(fault) if fault.class == ErrorClass::Gone => self.skus_gone.extend(sku),
                Judgement::Fault(_) => failed.extend(sku),
            }
        }
        failed
    }
}

/// Whether an endpoint's records are offers. Those of `off_sale` are none of today's picture: they only name ids.
#[must_use]
pub fn makes_offers(endpoint: &str) -> bool {
    !matches!(endpoint, "shop" | "count" | "categories" | "off_sale" | "sku" | "time" | TOKEN)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::gateway::FieldSource;
    use crate::extract::{Record, testing};

    fn page(number: i64, page: u32, body: &str) -> Attempt {
        let record = Record { number, page: Some(page), shop_id: Some("b2b-1".into()), ..testing::record(200) };
        Attempt { record, body: Bytes::from(body.to_owned()) }
    }

    #[test]
    fn a_shops_name_does_not_depend_on_the_order_of_its_pages() {
        let field = |at: &str| FieldSource { at: vec![testing::pointer(at)], ..FieldSource::default() };
        let mut gateway = testing::gateway("http://127.0.0.1:1/");
        gateway.offer.insert("shop_name".into(), field("/shop"));
        let pipeline = testing::pipeline(gateway);
        let listing =
            |id, name| format!(r#"{{"list_response":{{"items":{{"item":[{{"item_id":{id},"shop":"{name}"}}]}}}}}}"#);
        let (old, new) = (listing(7, "甲"), listing(3, "乙"));
        for segments in [
            vec![vec![page(1, 1, &old), page(2, 2, &new)]],
            vec![vec![page(1, 2, &new), page(2, 1, &old)]],
            vec![vec![page(1, 2, &new)], vec![page(2, 1, &old)]],
            vec![vec![page(1, 1, &old)], vec![page(2, 2, &new)]],
        ] {
            let dt = NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
            let collector = Collector::new(&pipeline, dt, &Budget::new(1 << 20));
            let collected = collector.collect(&segments, segments.len(), |segment| Ok(segment.clone())).unwrap();
            assert_eq!(collected.shop_names.get("b2b-1").map(String::as_str), Some("甲"));
        }
    }
}
