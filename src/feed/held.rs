//! What follows a cursor in a lake that may have lost files.
//!
//! Takes the publish log and a cursor; gives the publications to be told. Where files of one are missing or damaged and its
//! day was published again since, with other bytes, it is left out; where not, reading it says how to rebuild it.
//!
//! Costs a listing for each day that is told, and reading the files of those that were published again once more; of all
//! days, once one of these has lost a file.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Result;
use crate::load::log::Change;
use crate::load::{DataFile, Entry, Retained, lost};
use crate::store::Store;
use crate::transform::contract::Table;

use super::steps::{self, Backlog, Replaced};
use super::{Cursor, TABLES};

/// What follows a cursor; at most `steps_max` publications.
///
/// # Errors
/// As [`steps::backlog`]; `Storage` when the lake cannot be listed.
pub async fn backlog<'s>(store: &Store, log: &'s Retained, since: &Cursor, steps_max: usize) -> Result<Backlog<'s>> {
    let found = steps::backlog(log, since, steps_max, &Replaced::new())?;
    let told = found.steps.iter().flat_map(|step| [Some(step.entry), step.before]).flatten();
    let told: BTreeMap<(&str, u64), &Entry> = told.map(|entry| ((entry.pipeline.as_str(), entry.seq), entry)).collect();
    let told: Vec<&Entry> = told.into_values().collect();
    if !is_any_missing(store, &told).await? && !is_any_damaged(store, log, &told).await? {
        return Ok(found);
    }
    steps::backlog(log, since, steps_max, &replaced(store, log).await?)
}

/// A pipeline's pictures that the log tells of, in their order.
fn pictures<'s>(log: &'s Retained, pipeline: &str) -> impl Iterator<Item = &'s Entry> {
    let base = log.base(pipeline).into_iter().flat_map(|base| base.pictures.values());
    base.chain(log.entries(pipeline)).filter(|entry| entry.picture)
}

/// Whether the day of a publication was published again since.
fn is_again(log: &Retained, entry: &Entry) -> bool {
    let again = |other: &Entry| other.dt == entry.dt && other.seq > entry.seq && other.change == Change::Run;
    pictures(log, &entry.pipeline).any(again)
}

async fn is_any_damaged(store: &Store, log: &Retained, entries: &[&Entry]) -> Result<bool> {
    for entry in entries.iter().filter(|entry| is_again(log, entry)) {
        if is_damaged(store, entry).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The publications that have lost a file, and whose day was published again since.
async fn replaced(store: &Store, log: &Retained) -> Result<Replaced> {
    let mut replaced = Replaced::new();
    for pipeline in log.pipelines() {
        for entry in pictures(log, pipeline).filter(|entry| is_again(log, entry)) {
            if is_damaged(store, entry).await? {
                replaced.insert((pipeline.to_owned(), entry.seq));
            }
        }
    }
    Ok(replaced)
}

/// Whether a file that a step is told from is missing, or has other bytes than it had.
async fn is_damaged(store: &Store, entry: &Entry) -> Result<bool> {
    for file in files(entry) {
        if !lost::is_as_published(store, file).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a file of the publications is not there, or not as long as it was.
async fn is_any_missing(store: &Store, entries: &[&Entry]) -> Result<bool> {
    let files = || entries.iter().copied().flat_map(files);
    let folders: BTreeSet<&str> = files().filter_map(|file| Some(file.path.rsplit_once('/')?.0)).collect();
    let mut there = BTreeSet::new();
    for folder in folders {
        there.extend(store.list(folder).await?.into_iter().map(|meta| (meta.path, meta.bytes)));
    }
    for file in files().filter(|file| !there.contains(&(file.path.clone(), file.bytes))) {
        // A listing may be late.
        if store.meta(&file.path).await?.is_none_or(|meta| meta.bytes != file.bytes) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The files that a step is told from: of the rows, and of the shops that say what is proven.
fn files(entry: &Entry) -> impl Iterator<Item = &DataFile> {
    TABLES.into_iter().chain([Table::Shops]).flat_map(|table| entry.files(table))
}
