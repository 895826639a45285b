//! Which partitions a span of days has.

use std::str::FromStr;

use chrono::NaiveDate;

use crate::base::{Error, Result};
use crate::load::{DataFile, Entry, Snapshot};
use crate::transform::contract::Table;

/// A span of days, both ends included: `2026-11-20` or `2026-11-01..2026-11-20`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days {
    /// The first day.
    pub first: NaiveDate,
    /// The last day.
    pub last: NaiveDate,
}

impl FromStr for Days {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let day = |text: &str| {
            let day = text.parse::<NaiveDate>();
            day.map_err(|source| Error::config(format!("`{text}` is no day, as 2026-11-20 is one")).caused_by(source))
        };
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let days = Self { first: day(first)?, last: day(last)? };
        if days.first > days.last {
            return Err(Error::config(format!("`{text}` ends before it starts")));
        }
        Ok(days)
    }
}

/// One partition of a table, as it is published now.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition<'s> {
    /// The table.
    pub table: Table,
    /// The day.
    pub dt: NaiveDate,
    /// The publication of the day's picture; of a journal's day that has none, of the pipeline's newest.
    pub newest: &'s Entry,
    /// Its files: of a picture those of one publication, of a journal those of all.
    pub files: Vec<&'s DataFile>,
}

impl Partition<'_> {
    /// Its folder in the target.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}/dt={}/pipeline={}", self.table, self.dt, self.newest.pipeline)
    }

    /// Its rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }
}

/// The partitions of `tables` in a span of days, by day, pipeline and table. A picture's partition may have no files.
#[must_use]
pub fn partitions<'s>(snapshot: &'s Snapshot, tables: &[Table], days: Days) -> Vec<Partition<'s>> {
    let mut found = Vec::new();
    for pipeline in snapshot.pipelines() {
        for &table in tables {
            let Some(state) = snapshot.state(pipeline) else { continue };
            let dts: std::collections::BTreeSet<NaiveDate> = match table.is_journal() {
                true => state.files(table).map(|(dt, _)| dt).collect(),
                false => state.pictures.keys().copied().collect(),
            };
            let dts = dts.range(days.first..=days.last);
            found.extend(dts.filter_map(|dt| partition(snapshot, pipeline, table, *dt)));
        }
    }
    let pipeline = |partition: &Partition<'s>| partition.newest.pipeline.as_str();
    found.sort_by(|a, b| (a.dt, pipeline(a), a.table).cmp(&(b.dt, pipeline(b), b.table)));
    found
}

fn partition<'s>(snapshot: &'s Snapshot, pipeline: &str, table: Table, dt: NaiveDate) -> Option<Partition<'s>> {
    if !table.is_journal() {
        let newest = snapshot.picture(pipeline, dt)?;
        return Some(Partition { table, dt, newest, files: newest.files(table).iter().collect() });
    }
    let state = snapshot.state(pipeline)?;
    // Of a day whose attempts all failed nobody published a picture: the pipeline's newest stands for it.
    let newest = state.pictures.get(&dt).or_else(|| state.pictures.values().next_back())?;
    let files = state.files(table).filter(|(day, _)| *day == dt).map(|(_, file)| file).collect();
    Some(Partition { table, dt, newest, files })
}
