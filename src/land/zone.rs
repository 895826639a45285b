//! The landing zone of one pipeline and day: which runs landed what, and reading it back.
//!
//! `_huopan/landing/<pipeline>/<dt>/<run id>/<first number, 12 digits>.seg`, and `facts.json` beside them. What a late
//! listing must not hide: [`super::named`].
//!
//! Invariant: nothing that landed is ever rewritten; it is read, or deleted as a whole.

use chrono::NaiveDate;

use crate::base::{Error, Result, RunId};
use crate::extract::{Attempt, Record, RunFacts};
use crate::store::{Created, Store};

use super::segment::{self, SegmentError};

/// The landing zone of one pipeline and day. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Zone {
    store: Store,
    pipeline: String,
    dt: NaiveDate,
    folder: String,
}

/// One segment of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRef {
    /// Relative to the lake.
    pub path: String,
    /// Its size, compressed.
    pub bytes: u64,
}

impl Zone {
    /// The zone of a pipeline and day.
    #[must_use]
    pub fn new(store: Store, pipeline: &str, dt: NaiveDate) -> Self {
        Self { store, pipeline: pipeline.to_owned(), dt, folder: format!("{}/{dt}", pipeline_folder(pipeline)) }
    }

    /// The days for which a pipeline has landed something that is still there, the oldest first.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn days(store: &Store, pipeline: &str) -> Result<Vec<NaiveDate>> {
        names_below(store, &pipeline_folder(pipeline)).await
    }

    /// The runs that landed something that is still there, the oldest first.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn runs(&self) -> Result<Vec<RunId>> {
        names_below(&self.store, &self.folder).await
    }

    /// The segments of a run that are listed, in the order of their numbers.
    pub(super) async fn listed_segments(&self, run: &RunId) -> Result<Vec<SegmentRef>> {
        let files = self.store.list(&self.run_folder(run)).await?;
        let segments = files.into_iter().filter(|file| file.path.ends_with(".seg"));
        Ok(segments.map(|file| SegmentRef { path: file.path, bytes: file.bytes }).collect())
    }

    /// Lands attempts of a run once more, as they had landed before: under their own numbers, durable together.
    ///
    /// # Errors
    /// `Internal` when they cannot be packed, or are there already; `Storage`.
    pub async fn land_again(&self, run: &RunId, attempts: &[Attempt]) -> Result<()> {
        let Some(first) = attempts.first() else { return Ok(()) };
        let packed = segment::Encoder::new().and_then(|mut encoder| encoder.encode(attempts));
        let packed = packed.map_err(|source| Error::internal("attempts cannot be packed").caused_by(source))?;
        let path = self.segment_path(run, first.record.number);
        match self.store.create(&path, packed).await? {
            Created::Done => Ok(()),
            Created::Exists => Err(Error::internal(format!("the segment `{path}` is there already"))),
        }
    }

    /// The attempts of a segment, in the order of their numbers.
    ///
    /// # Errors
    /// `Data`, with its path, when it is torn or damaged; `Storage`.
    pub async fn read_segment(&self, segment: &SegmentRef) -> Result<Vec<Attempt>> {
        self.unpack(segment, SegmentRef::decode).await
    }

    /// The records of all attempts of a run, in the order of their numbers, without their bodies.
    ///
    /// # Errors
    /// As [`Zone::read_segment`].
    pub async fn records(&self, run: &RunId) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for segment in self.segments(run).await? {
            records.extend(self.segment_records(&segment).await?);
        }
        Ok(records)
    }

    /// The attempts of a segment that may be folded into `raw_pages` meanwhile; `None`: it was.
    ///
    /// # Errors
    /// As [`Zone::read_segment`].
    pub async fn read_segment_if_there(&self, segment: &SegmentRef) -> Result<Option<Vec<Attempt>>> {
        self.unpack_if_there(segment, SegmentRef::decode).await
    }

    /// … and their records alone, without their bodies.
    ///
    /// # Errors
    /// As [`Zone::read_segment`].
    pub async fn read_records_if_there(&self, segment: &SegmentRef) -> Result<Option<Vec<Record>>> {
        self.unpack_if_there(segment, unpack_records).await
    }

    /// The greatest number that landed in a run; 0 when nothing did.
    ///
    /// # Errors
    /// As [`Zone::read_segment`].
    pub async fn last_number(&self, run: &RunId) -> Result<i64> {
        match self.segments(run).await?.last() {
            None => Ok(0),
            Some(last) => {
                Ok(self.segment_records(last).await?.iter().map(|record| record.number).max().unwrap_or_default())
            }
        }
    }

    /// Keeps what a run knows at its end, in place of what it knew before.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn write_facts(&self, run: &RunId, facts: &RunFacts) -> Result<()> {
        let json = serde_json::to_vec_pretty(facts)
            .map_err(|source| Error::internal("the facts of a run cannot be written as JSON").caused_by(source))?;
        self.store.put_durable(&self.facts_path(run), json.into()).await
    }

    /// What a run knew at its end; `None` when it has not ended.
    ///
    /// # Errors
    /// `Data`, with its path, when they cannot be read; `Storage`.
    pub async fn read_facts(&self, run: &RunId) -> Result<Option<RunFacts>> {
        let path = self.facts_path(run);
        let Some(json) = self.store.get(&path).await? else { return Ok(None) };
        let facts = serde_json::from_slice(&json).map_err(|source| {
            Error::data(format!("the facts `{path}` cannot be read"))
                .with_hint(
                    "restore the file, or delete it: without it the next night lists whole shops, and its day cannot \
                         be rebuilt by `huopan replay`",
                )
                .caused_by(source)
        })?;
        Ok(Some(facts))
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn segment_path(&self, run: &RunId, first_number: i64) -> String {
        format!("{}/{first_number:012}.{}", self.run_folder(run), segment::EXTENSION)
    }

    async fn segment_records(&self, segment: &SegmentRef) -> Result<Vec<Record>> {
        self.unpack(segment, unpack_records).await
    }

    /// Reads a segment's file and unpacks it off the reactor.
    async fn unpack<T: Send + 'static>(
        &self,
        segment: &SegmentRef,
        unpack: fn(&SegmentRef, &[u8]) -> Result<T>,
    ) -> Result<T> {
        let unpacked = self.unpack_if_there(segment, unpack).await?;
        let gone = || Error::storage(format!("the landed segment `{}` is no longer there", segment.path));
        unpacked.ok_or_else(gone)
    }

    async fn unpack_if_there<T: Send + 'static>(
        &self,
        segment: &SegmentRef,
        unpack: fn(&SegmentRef, &[u8]) -> Result<T>,
    ) -> Result<Option<T>> {
        let segment = segment.clone();
        let Some(bytes) = self.store.get(&segment.path).await? else { return Ok(None) };
        let unpacked = tokio::task::spawn_blocking(move || unpack(&segment, &bytes)).await;
        let unpacked =
            unpacked.unwrap_or_else(|source| Err(Error::internal("unpacking a segment ended early").caused_by(source)));
        unpacked.map(Some)
    }

    pub(super) fn pipeline(&self) -> &str {
        &self.pipeline
    }

    pub(super) fn dt(&self) -> NaiveDate {
        self.dt
    }

    pub(super) fn run_folder(&self, run: &RunId) -> String {
        format!("{}/{run}", self.folder)
    }

    /// Where the facts of a run are, from the lake's root.
    #[must_use]
    pub fn facts_path(&self, run: &RunId) -> String {
        format!("{}/facts.json", self.run_folder(run))
    }
}

impl SegmentRef {
    /// The number of its first attempt, by its name; 0: it has none.
    #[must_use]
    pub fn first_number(&self) -> i64 {
        let name = self.path.rsplit('/').next().and_then(|name| name.split('.').next());
        name.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }

    /// The attempts in this segment's bytes: for callers with threads of their own.
    ///
    /// # Errors
    /// `Data`, with its path.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<Attempt>> {
        segment::decode(bytes).map_err(|source| self.broken(source))
    }

    fn broken(&self, source: SegmentError) -> Error {
        let message = format!("the landed segment `{}` cannot be read", self.path);
        Error::data(message).with_hint("restore the file, or delete it to have its calls made again").caused_by(source)
    }
}

fn unpack_records(segment: &SegmentRef, bytes: &[u8]) -> Result<Vec<Record>> {
    segment::headers(bytes).map_err(|source| segment.broken(source))
}

pub(super) fn pipeline_folder(pipeline: &str) -> String {
    format!("_huopan/landing/{pipeline}")
}

/// The distinct names right below a folder that are a `T`, in order; others are not ours.
async fn names_below<T: std::str::FromStr + Ord>(store: &Store, folder: &str) -> Result<Vec<T>> {
    let files = store.list(folder).await?;
    let names = files.iter().filter_map(|file| file.path.strip_prefix(folder)?.strip_prefix('/')?.split('/').next());
    let names: std::collections::BTreeSet<T> = names.filter_map(|name| name.parse().ok()).collect();
    Ok(names.into_iter().collect())
}
