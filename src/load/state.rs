//! What a pipeline's publish log adds up to at one number: the fold over its entries. Pure.
//!
//! | entry | what becomes of the state |
//! |---|---|
//! | a run's, with pictures | they replace those of its day; its journal files are added |
//! | a run's, without | its journal files are added |
//! | of no run (a fence) | nothing |
//! | [`Change::Optimize`] | of the tables in it, the files of its day are these |
//! | [`Change::Expire`] | of the tables in it, earlier days are gone |
//!
//! Invariant: the state after a number depends on nothing but the entries up to it, so that whoever writes it down
//! writes the same.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::transform::contract::Table;

use super::log::{Change, DataFile, Entry};

/// One pipeline's state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The pipeline.
    pub pipeline: String,
    /// The number of the newest entry in it; 0: none is.
    pub seq: u64,
    /// By day: the entry of the run that published the day's pictures last, with the files that hold them now. Journal
    /// files are not in here.
    pub pictures: BTreeMap<NaiveDate, Entry>,
    /// The files of the journals by table name, in their order.
    pub journals: BTreeMap<String, Vec<JournalFile>>,
    /// The last attempt of each day.
    pub attempts: BTreeMap<NaiveDate, i32>,
    /// What later starts want to know of runs, by id.
    pub runs: BTreeMap<String, RunMark>,
}

/// A file of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalFile {
    /// Its partition.
    pub dt: NaiveDate,
    /// The file.
    #[serde(flatten)]
    pub file: DataFile,
}

/// What is known of a run that has an entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMark {
    /// The greatest number of its calls that is in `calls`.
    pub calls_to: i64,
    /// It has published pictures.
    pub published: bool,
}

impl State {
    /// The state of a pipeline without entries.
    #[must_use]
    pub fn new(pipeline: &str) -> Self {
        Self { pipeline: pipeline.to_owned(), ..Self::default() }
    }

    /// Adds the next entry.
    pub fn apply(&mut self, mut entry: Entry) {
        self.seq = self.seq.max(entry.seq);
        match std::mem::take(&mut entry.change) {
            Change::Optimize => self.optimize(entry),
            Change::Expire(before) => self.expire(&before),
            Change::Run if entry.run_id.is_empty() => {}
            Change::Run => self.run(entry),
        }
    }

    /// The files of a table with their days, in their order: by day (pictures) or as they were published (journals).
    pub fn files(&self, table: Table) -> impl Iterator<Item = (NaiveDate, &DataFile)> {
        let journal = self.journals.get(table.name()).into_iter().flatten().map(|found| (found.dt, &found.file));
        let picture = self.pictures.values().flat_map(move |entry| {
            let files = if table.is_journal() { &[] } else { entry.files(table) };
            files.iter().map(|file| (entry.dt, file))
        });
        journal.chain(picture)
    }

    fn run(&mut self, mut entry: Entry) {
        let attempts = self.attempts.entry(entry.dt).or_default();
        *attempts = entry.attempt.max(*attempts);
        let run = self.runs.entry(entry.run_id.clone()).or_default();
        run.calls_to = entry.calls_to.max(run.calls_to);
        run.published |= entry.picture;
        for table in Table::JOURNALS {
            let files = entry.tables.remove(table.name()).unwrap_or_default();
            let files = files.into_iter().map(|file| JournalFile { dt: entry.dt, file });
            self.journals.entry(table.name().to_owned()).or_default().extend(files);
        }
        if entry.picture {
            self.pictures.insert(entry.dt, entry);
        }
    }

    fn optimize(&mut self, entry: Entry) {
        for (name, files) in entry.tables {
            if let Some(journal) = self.journals.get_mut(&name) {
                let dt = entry.dt;
                let at = journal.iter().position(|found| found.dt == dt).unwrap_or(journal.len());
                journal.retain(|found| found.dt != dt);
                journal.splice(at..at, files.into_iter().map(|file| JournalFile { dt, file }));
            } else if let Some(picture) = self.pictures.get_mut(&entry.dt) {
                picture.tables.insert(name, files);
            }
        }
    }

    /// Days go: of each table those before the first that stays.
    pub fn expire(&mut self, before: &BTreeMap<String, NaiveDate>) {
        for (name, first) in before {
            if let Some(journal) = self.journals.get_mut(name) {
                journal.retain(|found| found.dt >= *first);
            }
        }
        let pictures = Table::PICTURES.iter().filter_map(|table| before.get(table.name())).min();
        if let Some(first) = pictures {
            self.pictures.retain(|dt, _| dt >= first);
            self.attempts.retain(|dt, _| dt >= first);
        }
    }
}
