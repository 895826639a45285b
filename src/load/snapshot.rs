//! What the publish log says is published: which files a reader reads, of every pipeline and day.
//!
//! Invariant: a picture's files all hold one run's rows, so that a reader sees whole runs across tables.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt, stream};

use crate::base::{Error, Result};
use crate::store::Store;
use crate::transform::contract::Table;

use super::as_of::{self, AsOf};
use super::checkpoint;
use super::log::{self, DataFile, Entry};
use super::retained::Retained;
use super::state::{RunMark, State};

/// Pipelines whose logs are read at once.
const PIPELINES_IN_FLIGHT: usize = 8;

/// The log at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pipelines: BTreeMap<String, State>,
}

/// One file with the partition it belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartitionFile<'a> {
    /// The value of `dt`.
    pub dt: NaiveDate,
    /// The value of `pipeline`.
    pub pipeline: &'a str,
    /// The file.
    pub file: &'a DataFile,
}

impl Snapshot {
    /// Reads the log.
    ///
    /// # Errors
    /// `Storage` when it cannot be read, `Data` when a file of it is missing or not what huopan writes.
    pub async fn load(store: &Store) -> Result<Self> {
        let states = log::names(store).await?.into_iter().map(|(pipeline, names)| async move {
            let state = checkpoint::state_of(store, &pipeline, names).await?;
            Ok::<_, Error>((pipeline, state))
        });
        let pipelines = stream::iter(states).buffered(PIPELINES_IN_FLIGHT).try_collect().await?;
        Ok(Self { pipelines })
    }

    /// The lake as it stood at an earlier publication.
    ///
    /// # Errors
    /// As [`Snapshot::load`], and [`Kind::Config`](crate::base::Kind::Config) if the log does not tell of it.
    pub async fn load_as_of(store: &Store, as_of: &AsOf) -> Result<Self> {
        as_of::snapshot(&Retained::load(store).await?, as_of)
    }

    /// These states, each of another pipeline.
    #[must_use]
    pub fn of_states(states: impl IntoIterator<Item = State>) -> Self {
        Self { pipelines: states.into_iter().map(|state| (state.pipeline.clone(), state)).collect() }
    }

    /// With this state of its pipeline.
    #[must_use]
    pub fn with(mut self, state: State) -> Self {
        self.pipelines.insert(state.pipeline.clone(), state);
        self
    }

    /// The state after these entries, of each pipeline in their order.
    #[must_use]
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut snapshot = Self::default();
        for entry in entries {
            let new = || State::new(&entry.pipeline);
            snapshot.pipelines.entry(entry.pipeline.clone()).or_insert_with(new).apply(entry);
        }
        snapshot
    }

    /// The files of a table over all pipelines and days, by pipeline, then by day (pictures) or as they were published
    /// (journals).
    #[must_use]
    pub fn files(&self, table: Table) -> Vec<PartitionFile<'_>> {
        let files = self.pipelines.values().flat_map(|state| {
            let partition = |(dt, file)| PartitionFile { dt, pipeline: &state.pipeline, file };
            state.files(table).map(partition)
        });
        files.collect()
    }

    /// The pipelines that have published, in order of their names.
    pub fn pipelines(&self) -> impl Iterator<Item = &str> {
        self.pipelines.keys().map(String::as_str)
    }

    /// What a pipeline's log adds up to; `None`: it has none.
    #[must_use]
    pub fn state(&self, pipeline: &str) -> Option<&State> {
        self.pipelines.get(pipeline)
    }

    /// The days of a pipeline that have pictures, ascending.
    pub fn published_days(&self, pipeline: &str) -> impl DoubleEndedIterator<Item = NaiveDate> {
        self.pipelines.get(pipeline).into_iter().flat_map(|state| state.pictures.keys().copied())
    }

    /// The pipeline's last published day.
    #[must_use]
    pub fn latest_dt(&self, pipeline: &str) -> Option<NaiveDate> {
        self.published_days(pipeline).next_back()
    }

    /// The published day before `dt` (which need not be published itself): "the day before" of all comparisons.
    #[must_use]
    pub fn previous_dt(&self, pipeline: &str, dt: NaiveDate) -> Option<NaiveDate> {
        let pictures = &self.pipelines.get(pipeline)?.pictures;
        pictures.range(..dt).next_back().map(|(&day, _)| day)
    }

    /// The entry of the run that published the pictures of a day, with the files that hold them now. What the run added
    /// to the journals is not in it.
    #[must_use]
    pub fn picture(&self, pipeline: &str, dt: NaiveDate) -> Option<&Entry> {
        self.pipelines.get(pipeline)?.pictures.get(&dt)
    }

    /// How many attempts of a day the log knows.
    #[must_use]
    pub fn attempts(&self, pipeline: &str, dt: NaiveDate) -> i32 {
        self.pipelines.get(pipeline).and_then(|state| state.attempts.get(&dt)).copied().unwrap_or(0)
    }

    /// The greatest number of a run's calls that is in `calls`; 0: none is.
    #[must_use]
    pub fn calls_to(&self, pipeline: &str, run_id: &str) -> i64 {
        self.run(pipeline, run_id).calls_to
    }

    /// Whether a run has published pictures, also when another run has replaced them since.
    #[must_use]
    pub fn has_published(&self, pipeline: &str, run_id: &str) -> bool {
        self.run(pipeline, run_id).published
    }

    fn run(&self, pipeline: &str, run_id: &str) -> RunMark {
        self.pipelines.get(pipeline).and_then(|state| state.runs.get(run_id)).copied().unwrap_or_default()
    }
}
