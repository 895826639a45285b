//! What follows a cursor in a lake that may have lost files.
//!
//! Takes the publish log and a cursor; gives the publications to be told. Where files of one are missing and its day was
//! published again since, with other bytes, it is left out; where not, reading it says how to rebuild it.
//!
//! Costs a listing for each day that is told; of all days, once one of these has lost a file.

use std::collections::BTreeSet;

use crate::base::Result;
use crate::load::log::Change;
use crate::load::{DataFile, Entry, Retained};
use crate::store::Store;

use super::steps::{self, Backlog, Replaced};
use super::{Cursor, TABLES};

/// What follows a cursor; at most `steps_max` publications.
///
/// # Errors
/// As [`steps::backlog`]; `Storage` when the lake cannot be listed.
pub async fn backlog<'s>(store: &Store, log: &'s Retained, since: &Cursor, steps_max: usize) -> Result<Backlog<'s>> {
    let found = steps::backlog(log, since, steps_max, &Replaced::new())?;
    let told = found.steps.iter().flat_map(|step| [Some(step.entry), step.before]).flatten();
    if lost(store, told).await?.is_empty() {
        return Ok(found);
    }
    steps::backlog(log, since, steps_max, &replaced(store, log).await?)
}

/// The publications that have lost a file, and whose day was published again since.
async fn replaced(store: &Store, log: &Retained) -> Result<Replaced> {
    let mut replaced = Replaced::new();
    for pipeline in log.pipelines() {
        let pictures = log.base(pipeline).into_iter().flat_map(|base| base.pictures.values());
        let pictures: Vec<&Entry> = pictures.chain(log.entries(pipeline)).filter(|entry| entry.picture).collect();
        let lost = lost(store, pictures.iter().copied()).await?;
        let is_newer =
            |entry: &Entry, other: &Entry| other.dt == entry.dt && other.seq > entry.seq && other.change == Change::Run;
        let again = pictures.iter().filter(|entry| pictures.iter().any(|other| is_newer(entry, other)));
        replaced.extend(again.filter(|entry| lost.contains(&entry.seq)).map(|entry| entry.run_id.clone()));
    }
    Ok(replaced)
}

/// The numbers of those of the publications that have lost a file.
async fn lost(store: &Store, entries: impl Iterator<Item = &Entry>) -> Result<BTreeSet<u64>> {
    let entries: Vec<&Entry> = entries.collect();
    let folder = |path: &str| path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
    let folders: BTreeSet<String> = entries.iter().copied().flat_map(files).map(|file| folder(&file.path)).collect();
    let mut there = BTreeSet::new();
    for folder in folders {
        there.extend(store.list(&folder).await?.into_iter().map(|meta| (meta.path, meta.bytes)));
    }
    let is_lost = |entry: &&Entry| files(entry).any(|file| !there.contains(&(file.path.clone(), file.bytes)));
    Ok(entries.into_iter().filter(is_lost).map(|entry| entry.seq).collect())
}

fn files(entry: &Entry) -> impl Iterator<Item = &DataFile> {
    TABLES.into_iter().flat_map(|table| entry.files(table))
}
