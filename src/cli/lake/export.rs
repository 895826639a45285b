//! `huopan lake export`: partitions as plain Parquet, for readers without Delta.

use std::io::Write as _;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::base::{Error, Result};
use crate::cli::output::Talk;
use crate::cli::target::{Target, parse};
use crate::cli::{Outcome, written};
use crate::feed::export::{self, Days, Exported, Profile, partition::partitions};
use crate::load::Snapshot;
use crate::store::Store;
use crate::transform::contract::Table;

/// `huopan lake export`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan lake export --dt 2026-11-20 /srv/exports
  huopan lake export --dt 2026-11-01..2026-11-20 s3://bucket/x --table skus
  huopan lake export --dt 2026-11-20 --profile hive /srv/hive

Writes URL/TABLE/dt=…/pipeline=…/part-….parquet, `_manifest.json` (each file with rows, bytes and SHA-256) and, last,
`_SUCCESS`. What is exported already, of the same publication, is left as it is. In a folder the new partition takes the
place of the old one by a rename; in a bucket wait for `_SUCCESS`. One export at a time for each target.

Profile `hive`: decimals as FIXED_LEN_BYTE_ARRAY, times as INT96, Snappy: what Hive before 4, Impala and Spark with
spark.sql.parquet.writeLegacyFormat read.")]
pub(super) struct Arguments {
    /// The day, or the first and the last one: D or D..E
    #[arg(long, value_name = "DAYS")]
    dt: Days,
    /// The tables [default: all but calls and raw_pages]
    #[arg(
        long = "table",
        value_name = "TABLE",
        value_delimiter = ',',
        value_parser = clap::builder::PossibleValuesParser::new(Table::ALL.map(Table::name))
    )]
    tables: Vec<String>,
    /// Which readers the files are for
    #[arg(long, value_enum, default_value_t = ProfileName::Plain)]
    profile: ProfileName,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
    /// A folder or s3://bucket/prefix, not the lake
    #[arg(value_name = "URL")]
    to: String,
}

/// Which readers the files are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProfileName {
    /// Those of today
    Plain,
    /// Hive before 4, Impala, Spark 2
    Hive,
}

pub(super) async fn main(arguments: &Arguments, target: &Target, talk: &Talk) -> Result<Outcome> {
    let lake = target.store().await?;
    let snapshot = Snapshot::load(&lake).await?;
    let found = partitions(&snapshot, &tables(&arguments.tables)?, arguments.dt);
    if found.is_empty() {
        return Err(nothing(&snapshot, arguments.dt));
    }
    let to = export::open(&parse(&arguments.to)?).await?;
    export::check_apart(&lake, &to)?;
    let profile = match arguments.profile {
        ProfileName::Plain => Profile::Plain,
        ProfileName::Hive => Profile::Hive,
    };
    let bar = talk.bars.add(ProgressBar::new(u64::try_from(found.len()).unwrap_or(u64::MAX)));
    if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg:40!} {bar:24} {pos}/{len} partitions {elapsed}") {
        bar.set_style(style);
    }
    let mut done = Vec::new();
    for partition in &found {
        bar.set_message(partition.folder());
        let exported = export::export(&lake, &to, partition, profile).await?;
        tracing::info!(partition = partition.folder(), written = is_written(&exported), "partition exported");
        done.push((partition.folder(), exported));
        bar.inc(1);
    }
    bar.finish_and_clear();
    report(&done, &to, arguments.json)
}

fn tables(names: &[String]) -> Result<Vec<Table>> {
    if names.is_empty() {
        return Ok(Table::PICTURES.into_iter().chain([Table::Runs]).collect());
    }
    Table::ALL.into_iter().filter(|table| names.iter().any(|name| name == table.name())).map(Ok).collect()
}

fn report(done: &[(String, Exported)], to: &Store, as_json: bool) -> Result<Outcome> {
    let mut out = std::io::stdout().lock();
    if as_json {
        let partitions = done.iter().map(|(folder, exported)| {
            let (Exported::Written(manifest) | Exported::UpToDate(manifest)) = exported;
            json!({"folder": folder, "written": is_written(exported), "manifest": manifest})
        });
        let partitions: Vec<_> = partitions.collect();
        written(writeln!(out, "{}", json!({"target": to.url().as_str(), "partitions": partitions})))?;
        return Ok(Outcome::Done);
    }
    for (folder, exported) in done {
        written(match exported {
            Exported::Written(manifest) => {
                let (rows, files) = (manifest.rows, manifest.files.len());
                writeln!(out, "{folder}: {rows} rows in {files} files")
            }
            Exported::UpToDate(_) => writeln!(out, "{folder}: is exported already"),
        })?;
    }
    Ok(Outcome::Done)
}

fn is_written(exported: &Exported) -> bool {
    matches!(exported, Exported::Written(_))
}

fn nothing(snapshot: &Snapshot, days: Days) -> Error {
    let span = snapshot.pipelines().filter_map(|pipeline| {
        let (first, last) = (snapshot.published_days(pipeline).next()?, snapshot.latest_dt(pipeline)?);
        Some(format!("`{pipeline}` has {first} to {last}"))
    });
    let span: Vec<String> = span.collect();
    let hint = if span.is_empty() { "run a pipeline first".to_owned() } else { span.join(", ") };
    Error::config(format!("nothing is published from {} to {}", days.first, days.last)).with_hint(hint)
}
