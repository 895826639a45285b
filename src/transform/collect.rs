//! Landed responses → sorted chunks of offers, and an account of every record.
//!
//! Takes segments of attempts, on several threads; gives chunks, quarantine rows, call rows and the counts from which
//! completeness is judged.
//!
//! Memory: one segment and one open chunk per thread; finished chunks are spilled past the budget.
//!
//! Invariant: every record of a good answer ends as a row of a chunk or in quarantine, and is counted once in
//! `received`.

mod collected;
mod worker;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::NaiveDate;

use crate::base::{Error, Result};
use crate::config::pipeline::FetchDetails;
use crate::config::{Gateway, Pipeline};
use crate::extract::judge::{Judge, Judgement};
use crate::extract::{Attempt, body};

use super::decode::Finder;
use super::normalise::{Rules, SkuSource};

pub use collected::Collected;
use worker::Worker;

/// The stage of records that never became offers.
const STAGE_OFFER: &str = "transform";
/// The stage of SKUs that could not be loaded beside their offer: no records of their own in the account of a run.
pub const STAGE_SKU: &str = "transform_sku";

/// What to transform, and how.
#[derive(Debug)]
pub struct Collector<'p> {
    gateway: &'p Gateway,
    judge: Judge<'p>,
    finder: Finder,
    rules: Rules,
    dt: NaiveDate,
    skus: SkuSource,
    from_files: bool,
    memory_bytes_max: usize,
    details: HashMap<i64, Vec<Detail>>,
}

/// A SKU's own answer.
#[derive(Debug)]
struct Detail {
    sku_id: Option<i64>,
    json: Vec<u8>,
    fetched_at: i64,
}

impl<'p> Collector<'p> {
    /// Compiles the rules of a pipeline for one run.
    #[must_use]
    pub fn new(pipeline: &'p Pipeline, dt: NaiveDate, memory_bytes_max: usize) -> Self {
        let gateway = &pipeline.gateway;
        let details = pipeline.fetch.skus == FetchDetails::All && gateway.endpoints.contains_key("sku");
        let skus = match (details, gateway.offer.contains_key("skus")) {
            (true, _) => SkuSource::Calls,
            (false, true) => SkuSource::Nested,
            (false, false) => SkuSource::NotAsked,
        };
        Self {
            gateway,
            judge: Judge::new(gateway),
            finder: Finder::new(gateway),
            rules: Rules::new(gateway, &pipeline.units),
            dt,
            skus,
            from_files: pipeline.files.is_some(),
            memory_bytes_max,
            details: HashMap::new(),
        }
    }

    /// Whether SKU data was asked for.
    #[must_use]
    pub fn fetches_skus(&self) -> bool {
        self.skus != SkuSource::NotAsked
    }

    /// Transforms every segment, on `threads` threads.
    ///
    /// # Errors
    /// What `read` returns; [`crate::base::Kind::Storage`] when chunks cannot be spilled.
    pub fn collect<S: Sync>(
        &mut self,
        segments: &[S],
        threads: usize,
        read: impl Fn(&S) -> Result<Vec<Attempt>> + Sync,
    ) -> Result<Collected> {
        if self.skus == SkuSource::Calls {
            for segment in segments {
                self.keep_details(&read(segment)?);
            }
        }
        let next = AtomicUsize::new(0);
        let budget = self.memory_bytes_max / threads.max(1);
        let work = || {
            let mut worker = Worker::new(self, budget);
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
        let mut collected = Collected::default();
        parts.into_iter().for_each(|part| collected.add(part));
        collected.settle();
        Ok(collected)
    }

    /// Keeps the good answers about single SKUs: they are looked up when their offers are decoded.
    fn keep_details(&mut self, attempts: &[Attempt]) {
        let Some(endpoint) = self.gateway.endpoints.get("sku") else { return };
        for Attempt { record, body: bytes } in attempts.iter().filter(|attempt| attempt.record.endpoint == "sku") {
            let (Some(offer_id), Ok(json)) = (record.offer_id, body::to_json(bytes, record.content_type.as_deref()))
            else {
                continue;
            };
            let good =
                matches!(self.judge.judge(endpoint, record, body::parse(&json).as_ref().copied()), Judgement::Good);
            if good {
                let fetched_at = record.received_at.timestamp_micros();
                let detail = Detail { sku_id: record.sku_id, json: json.into_owned(), fetched_at };
                self.details.entry(offer_id).or_default().push(detail);
            }
        }
    }
}

/// Whether an endpoint's records are offers.
#[must_use]
pub fn makes_offers(endpoint: &str) -> bool {
    !matches!(endpoint, "shop" | "count" | "categories" | "sku" | "time")
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
            let mut collector = Collector::new(&pipeline, dt, 1 << 20);
            let collected = collector.collect(&segments, segments.len(), |segment| Ok(segment.clone())).unwrap();
            assert_eq!(collected.shop_names.get("b2b-1").map(String::as_str), Some("甲"));
        }
    }
}
