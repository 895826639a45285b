//! The whole of load on a real lake in a temporary folder; Delta tables are read back by deltalake-core itself.

mod agree;
mod checkpoint;
mod crash;
mod delta;
mod files;
mod log;
mod rows;
mod statistics;
mod upkeep;
mod verify;

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::RecordBatch;
use chrono::{DateTime, NaiveDate, Utc};
use datafusion::prelude::SessionContext;
use deltalake_core::DeltaTable;
use tempfile::TempDir;

use super::publish::{Draft, Pictures};
use super::{DataFile, Published, TableWriter, Target, WriterOptions};
use crate::store::Store;
use crate::transform::contract::Table;

/// A lake whose path has what paths have in real life.
pub(super) fn lake() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let store = Store::open(&folder.path().join("货盘 lake 100% #1 [a]{b}'?&+")).unwrap();
    (folder, store)
}

pub(super) fn day(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_190_400 + seconds, 123_456_789).unwrap()
}

fn write(store: &Store, target: Target, options: WriterOptions, batches: &[RecordBatch]) -> Vec<DataFile> {
    let mut writer = TableWriter::new(store, target, options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap()
}

/// A publication of `rows` rows in every table.
pub(super) fn draft(store: &Store, pipeline: &str, dt: NaiveDate, seq: u64, rows: usize) -> Draft {
    let run_id = format!("run-{seq}");
    let files: BTreeMap<Table, Vec<DataFile>> = Table::ALL
        .into_iter()
        .map(|table| {
            let target = Target { table, dt, pipeline: pipeline.to_owned(), run_id: run_id.clone(), seq };
            (table, write(store, target, WriterOptions::default(), &[rows::sample(table, rows)]))
        })
        .collect();
    let published_at = at(i64::try_from(seq).unwrap());
    let (pipeline, pictures) = (pipeline.to_owned(), Pictures::Replace);
    Draft { seq, pipeline, dt, run_id, attempt: 1, pictures, published_at, calls_to: 0, files }
}

pub(super) async fn publish(store: &Store, draft: Draft) -> super::Publication {
    match super::publish(store, draft).await.unwrap() {
        Published::Done(publication) => *publication,
        Published::Lost(entry) => panic!("lost to {entry:?}"),
    }
}

/// The Delta table as any reader opens it.
async fn delta_table(root: &Path, table: Table) -> DeltaTable {
    let url = url::Url::from_directory_path(root.join(table.name())).unwrap();
    deltalake_core::open_table(url).await.unwrap()
}

/// A query over the Delta table `t`, as text.
async fn query(root: &Path, table: Table, sql: &str) -> String {
    let delta = delta_table(root, table).await;
    let context = SessionContext::new();
    delta.update_datafusion_session(&context.state()).unwrap();
    context.register_table("t", delta.table_provider().await.unwrap()).unwrap();
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let text = datafusion::arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    let rows = text.lines().filter(|line| line.starts_with('|')).skip(1);
    rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned())
        .collect::<Vec<_>>()
        .join("; ")
}

/// Rows by day and pipeline: `2026-11-20 a 3; …`.
async fn counts(root: &Path, table: Table) -> String {
    query(root, table, "select dt, pipeline, count(*) from t group by dt, pipeline order by dt, pipeline").await
}

async fn all_counts(root: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for table in Table::ALL {
        all.push(format!("{table}: {}", counts(root, table).await));
    }
    all
}
