//! The publish log: one entry per publication, created conditionally. An entry *is* the decision.
//!
//! `<lake>/_huopan/publish/<pipeline>/<seq, 20 digits>.json`
//!
//! Invariant: an entry is written once and never changed.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

/// One publication (or one failed attempt, which only adds to the journals).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts the pipeline's entries, from 1.
    pub seq: u64,
    /// The pipeline.
    pub pipeline: String,
    /// The day.
    pub dt: NaiveDate,
    /// The run.
    pub run_id: String,
    /// Its attempt.
    pub attempt: i32,
    /// `true`: the pictures of `(dt, pipeline)` are replaced by the files in here;
    /// `false`: an attempt that published none, only journal files are in here.
    pub picture: bool,
    /// When it was decided.
    pub published_at: DateTime<Utc>,
    /// The version that wrote it.
    pub huopan_version: String,
    /// The version of the tables' contract it was written under.
    pub contract_version: String,
    /// The files by table name. A picture table without files is empty that day.
    pub tables: BTreeMap<String, Vec<DataFile>>,
}

/// One Parquet file of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataFile {
    /// Relative to the lake: `offers/dt=2026-11-20/pipeline=nightly/….parquet`.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// Column statistics in Delta's form: `numRecords`, `minValues`, `maxValues`, `nullCount`.
    pub stats: serde_json::Value,
}
