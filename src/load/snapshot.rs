//! What the publish log says is published: which files a reader reads, of every pipeline and day.
//!
//! Invariant: a picture's files all come from one entry, so that a reader sees whole runs across tables.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use crate::base::Result;
use crate::store::Store;
use crate::transform::contract::Table;

use super::log::{self, DataFile, Entry};

/// The log at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pipelines: BTreeMap<String, Pipeline>,
}

#[derive(Debug, Clone, Default)]
struct Pipeline {
    /// By number.
    entries: BTreeMap<u64, Entry>,
    /// The number of the newest entry with pictures, by day.
    pictures: BTreeMap<NaiveDate, u64>,
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
    /// `Storage` when it cannot be read, `Data` when an entry is not what huopan writes.
    pub async fn load(store: &Store) -> Result<Self> {
        Ok(Self::of(log::read_all(store).await?))
    }

    /// The state after these entries.
    #[must_use]
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut snapshot = Self::default();
        for entry in entries {
            let pipeline = snapshot.pipelines.entry(entry.pipeline.clone()).or_default();
            if entry.picture {
                let newest = pipeline.pictures.entry(entry.dt).or_default();
                *newest = entry.seq.max(*newest);
            }
            pipeline.entries.insert(entry.seq, entry);
        }
        snapshot
    }

    /// The files of a table over all pipelines and days, by pipeline, then by day (pictures) or number (journals).
    #[must_use]
    pub fn files(&self, table: Table) -> Vec<PartitionFile<'_>> {
        let entries = self.pipelines.values().flat_map(|pipeline| {
            let journal = table.is_journal().then(|| pipeline.entries.values()).into_iter().flatten();
            let picture = (!table.is_journal()).then(|| pipeline.current_pictures()).into_iter().flatten();
            journal.chain(picture)
        });
        entries
            .flat_map(|entry| {
                let partition = |file| PartitionFile { dt: entry.dt, pipeline: &entry.pipeline, file };
                entry.files(table).iter().map(partition)
            })
            .collect()
    }

    /// The pipelines that have published, in order of their names.
    pub fn pipelines(&self) -> impl Iterator<Item = &str> {
        self.pipelines.keys().map(String::as_str)
    }

    /// The days of a pipeline that have pictures, ascending.
    pub fn published_days(&self, pipeline: &str) -> impl DoubleEndedIterator<Item = NaiveDate> {
        self.pipelines.get(pipeline).into_iter().flat_map(|pipeline| pipeline.pictures.keys().copied())
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

    /// The entry that holds the pictures of a day.
    #[must_use]
    pub fn picture(&self, pipeline: &str, dt: NaiveDate) -> Option<&Entry> {
        let pipeline = self.pipelines.get(pipeline)?;
        pipeline.entries.get(pipeline.pictures.get(&dt)?)
    }

    /// How many attempts of a day the log knows.
    #[must_use]
    pub fn attempts(&self, pipeline: &str, dt: NaiveDate) -> i32 {
        self.entries(pipeline).filter(|entry| entry.dt == dt).map(|entry| entry.attempt).max().unwrap_or(0)
    }

    /// The greatest number of a run's calls that is in `calls`; 0: none is.
    #[must_use]
    pub fn calls_to(&self, pipeline: &str, run_id: &str) -> i64 {
        let of_run = self.entries(pipeline).filter(|entry| entry.run_id == run_id);
        of_run.map(|entry| entry.calls_to).max().unwrap_or(0)
    }

    /// All entries of a pipeline, by number.
    pub fn entries(&self, pipeline: &str) -> impl DoubleEndedIterator<Item = &Entry> {
        self.pipelines.get(pipeline).into_iter().flat_map(|pipeline| pipeline.entries.values())
    }
}

impl Pipeline {
    fn current_pictures(&self) -> impl Iterator<Item = &Entry> {
        self.pictures.values().filter_map(|seq| self.entries.get(seq))
    }
}
