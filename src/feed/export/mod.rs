//! Partitions as plain Parquet, for readers without Delta: `<target>/<table>/dt=…/pipeline=…/part-….parquet`.
//!
//! * [`partition`]: which partitions a span of days has, and of which publication each is.
//! * [`parts`]: a partition's rows as files; [`hive`]: files as old Hive, Impala and Spark write and read them.
//! * [`place`]: how a partition takes the place of the one exported before.
//!
//! Beside the files of a partition stand `_manifest.json` (every file with size, rows and SHA-256, and the publication)
//! and, last, `_SUCCESS`; names that start with `_` are no data to Hive, Spark and their kin. A partition whose
//! publication is exported already is left as it is; one of a journal, to which attempts without a picture add as well,
//! while it has no more rows.
//!
//! | profile | decimals | times | lists | codec |
//! |---|---|---|---|---|
//! | `plain` | INT64 | INT64, µs, UTC | 3 levels | zstd |
//! | `hive` | FIXED_LEN_BYTE_ARRAY | INT96 | 3 levels | snappy |
//!
//! The profile `hive` is what Spark writes with `spark.sql.parquet.writeLegacyFormat`: its documentation names Hive and
//! Impala as the systems that cannot read decimals as integers, and before Hive 4 INT96 is the only timestamp.
//!
//! Invariant: `_SUCCESS` stands only beside a whole partition.

pub mod hive;
pub mod partition;
pub mod parts;
pub mod place;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};
use crate::store::Store;
use crate::transform::contract::CONTRACT_VERSION;

pub use partition::{Days, Partition};
pub use parts::Part;

/// Which readers the files are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Those of today.
    Plain,
    /// Old Hive, Impala and Spark.
    Hive,
}

/// What an exported partition is: `_manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The table.
    pub table: String,
    /// The day.
    pub dt: chrono::NaiveDate,
    /// The pipeline.
    pub pipeline: String,
    /// The publication of the day's picture; of a journal's day that has none, of the pipeline's newest.
    pub publish_seq: u64,
    /// Its run.
    pub run_id: String,
    /// When it was decided.
    pub published_at: chrono::DateTime<chrono::Utc>,
    /// The contract of the columns: those that the publication was written before are null.
    pub contract_version: String,
    /// The contract that the publication was written under.
    pub published_under: String,
    /// The program that exported it.
    pub huopan_version: String,
    /// How the files are written.
    pub profile: Profile,
    /// Rows of all files.
    pub rows: u64,
    /// The files, in the order of their rows.
    pub files: Vec<Part>,
}

/// What became of a partition.
#[derive(Debug, Clone, PartialEq)]
pub enum Exported {
    /// It was written.
    Written(Manifest),
    /// It was there already.
    UpToDate(Manifest),
}

/// Opens the place to export to.
///
/// # Errors
/// `Config` when it cannot be written, or is a lake.
pub async fn open(location: &crate::config::location::Location) -> Result<Store> {
    let target = Store::plain(location)?;
    if target.list("_huopan").await?.is_empty() {
        return Ok(target);
    }
    Err(Error::config(format!("`{location}` is a lake")).with_hint("export to a folder or prefix of its own"))
}

/// Refuses a target within the lake: what is exported there would look like files of its tables.
///
/// # Errors
/// `Config`.
pub fn check_apart(lake: &Store, target: &Store) -> Result<()> {
    let is_within = target.url().as_str().starts_with(lake.url().as_str());
    let error = || Error::config(format!("`{}` is within the lake", target.url()));
    if is_within { Err(error().with_hint("export to a folder or prefix of its own")) } else { Ok(()) }
}

/// Exports one partition.
///
/// # Errors
/// `Storage` when a published file cannot be read or the target cannot be written.
pub async fn export(lake: &Store, target: &Store, partition: &Partition<'_>, profile: Profile) -> Result<Exported> {
    if let Some(manifest) = place::standing(target, partition).await?
        && is_current(&manifest, partition, profile)
    {
        return Ok(Exported::UpToDate(manifest));
    }
    let place = place::begin(target, partition).await?;
    let files = parts::write(lake, target, partition, profile, place.folder()).await?;
    let manifest = Manifest {
        table: partition.table.name().to_owned(),
        dt: partition.dt,
        pipeline: partition.newest.pipeline.clone(),
        publish_seq: partition.newest.seq,
        run_id: partition.newest.run_id.clone(),
        published_at: partition.newest.published_at,
        contract_version: CONTRACT_VERSION.to_owned(),
        published_under: partition.newest.contract_version.clone(),
        huopan_version: env!("CARGO_PKG_VERSION").to_owned(),
        profile,
        rows: files.iter().map(|file| file.rows).sum(),
        files,
    };
    place.finish(target, &manifest).await?;
    Ok(Exported::Written(manifest))
}

fn is_current(manifest: &Manifest, partition: &Partition<'_>, profile: Profile) -> bool {
    let newest = partition.newest;
    (manifest.publish_seq, manifest.run_id.as_str(), manifest.published_at, manifest.profile)
        == (newest.seq, newest.run_id.as_str(), newest.published_at, profile)
        && manifest.contract_version == CONTRACT_VERSION
        && manifest.rows == partition.rows()
}
