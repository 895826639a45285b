//! The publications of a lake, one by one, as far back as the log has them.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};

use crate::base::Result;
use crate::store::Store;
use crate::transform::contract::Table;

use super::log::{self, Change, Entry};

/// What a publication was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A run published the pictures of its day.
    Published,
    /// An attempt that published none: it stopped or failed.
    Attempt,
    /// The same rows in fewer files.
    Optimized,
    /// Days that were older than they are kept for.
    Expired,
    /// Nothing: the number was kept from a holder of the lock whose time was up.
    Fence,
}

impl Act {
    /// One word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Act::Published => "published",
            Act::Attempt => "attempt",
            Act::Optimized => "optimized",
            Act::Expired => "expired",
            Act::Fence => "fence",
        }
    }

    fn of(entry: &Entry) -> Self {
        match entry.change {
            Change::Optimize => Act::Optimized,
            Change::Expire(_) => Act::Expired,
            Change::Run if entry.picture => Act::Published,
            Change::Run if entry.run_id.is_empty() => Act::Fence,
            Change::Run => Act::Attempt,
        }
    }
}

/// Files of one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub files: u64,
    /// Their rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The pipeline.
    pub pipeline: String,
    /// Its number there.
    pub seq: u64,
    /// What it was.
    pub act: Act,
    /// The day; of expired ones: when it was decided.
    pub dt: NaiveDate,
    /// The run; empty: none.
    pub run_id: String,
    /// Its attempt.
    pub attempt: i32,
    /// When it was decided.
    pub published_at: DateTime<Utc>,
    /// Whether its pictures are those of its day now; `None`: it has none.
    pub is_current: Option<bool>,
    /// By table: what it added, or what the day's files are since.
    pub tables: BTreeMap<String, Sum>,
    /// By table: the first day that stays.
    pub expired_before: BTreeMap<String, NaiveDate>,
}

impl Past {
    /// All tables together.
    #[must_use]
    pub fn sum(&self) -> Sum {
        let all = self.tables.values().copied();
        all.fold(Sum::default(), |a, b| Sum {
            files: a.files + b.files,
            rows: a.rows + b.rows,
            bytes: a.bytes + b.bytes,
        })
    }

    fn of(entry: Entry) -> Self {
        let act = Act::of(&entry);
        let sum = |files: &Vec<log::DataFile>| Sum {
            files: files.len() as u64,
            rows: files.iter().map(|file| file.rows).sum(),
            bytes: files.iter().map(|file| file.bytes).sum(),
        };
        let tables = entry.tables.iter().map(|(table, files)| (table.clone(), sum(files))).collect();
        let expired_before = if let Change::Expire(before) = entry.change { before } else { BTreeMap::new() };
        Self {
            pipeline: entry.pipeline,
            seq: entry.seq,
            act,
            dt: entry.dt,
            run_id: entry.run_id,
            attempt: entry.attempt,
            published_at: entry.published_at,
            is_current: None,
            tables,
            expired_before,
        }
    }
}

/// The last publications of all pipelines or of one, the oldest first. What a checkpoint has replaced is gone.
///
/// # Errors
/// `Storage`, `Data`.
pub async fn history(store: &Store, pipeline: Option<&str>, last: usize) -> Result<Vec<Past>> {
    let snapshot = super::Snapshot::load(store).await?;
    let mut past = Vec::new();
    for (name, names) in log::names(store).await? {
        if pipeline.is_some_and(|pipeline| pipeline != name) {
            continue;
        }
        // More than are asked for are not read: numbers grow with time.
        let seqs = names.entries.keys().rev().take(last);
        for seq in seqs {
            // Vacuum may have removed it meanwhile.
            let Some(entry) = log::read(store, &name, *seq).await? else { continue };
            let mut entry = Past::of(entry);
            let current = snapshot.picture(&name, entry.dt).map(|picture| picture.seq);
            entry.is_current = (entry.act == Act::Published).then(|| current == Some(entry.seq));
            past.push(entry);
        }
    }
    past.sort_by(|a, b| (a.published_at, &a.pipeline, a.seq).cmp(&(b.published_at, &b.pipeline, b.seq)));
    Ok(past.split_off(past.len().saturating_sub(last)))
}

/// The rows that `offers` has in a publication.
#[must_use]
pub fn offers(past: &Past) -> Option<u64> {
    past.tables.get(Table::Offers.name()).map(|sum| sum.rows)
}
