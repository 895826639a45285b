//! A small lake in a temporary folder, written row by row, with the columns of the contracts. In the files
//! all of them may be null, so that a test says only what it is about.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::sync::Arc;

use arrow::array::Array as _;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use chrono::{DateTime, NaiveDate};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::session::{Options, Session};
use crate::load::log::{Change, DataFile, Entry};
use crate::load::snapshot::Snapshot;
use crate::store::Store;
use crate::transform::contract::Table;

/// A lake under construction.
pub(super) struct Lake {
    pub(super) folder: TempDir,
    entries: BTreeMap<(NaiveDate, String), Entry>,
}

pub(super) fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

impl Lake {
    pub(super) fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), entries: BTreeMap::new() }
    }

    fn entry(&mut self, dt: &str, pipeline: &str) -> &mut Entry {
        let seq = self.entries.len() as u64 + 1;
        self.entries.entry((day(dt), pipeline.to_owned())).or_insert_with(|| Entry {
            seq,
            pipeline: pipeline.into(),
            dt: day(dt),
            run_id: "0".into(),
            attempt: 1,
            picture: true,
            published_at: DateTime::UNIX_EPOCH,
            huopan_version: "0".into(),
            contract_version: "1.0.0".into(),
            calls_to: 0,
            change: Change::Run,
            tables: BTreeMap::new(),
        })
    }

    /// Publishes `rows` of one table for a day; what a row does not say comes from `defaults`, else is null.
    pub(super) fn rows(&mut self, table: &str, dt: &str, pipeline: &str, rows: &[Value]) {
        let contract = Table::ALL.into_iter().find(|known| known.name() == table).unwrap().file_schema().unwrap();
        let columns = contract.fields().iter();
        let columns: Vec<_> = columns.map(|field| field.as_ref().clone().with_nullable(true)).collect();
        self.rows_with(table, dt, pipeline, rows, Arc::new(Schema::new(columns)));
    }

    /// As [`Lake::rows`], in a file that has only the columns of `file_schema`.
    pub(super) fn rows_with(&mut self, table: &str, dt: &str, pipeline: &str, rows: &[Value], file_schema: SchemaRef) {
        let mut decoder =
            ReaderBuilder::new(Arc::clone(&file_schema)).with_batch_size(rows.len()).build_decoder().unwrap();
        for row in rows {
            let mut full = defaults(table);
            full.as_object_mut().unwrap().extend(row.as_object().unwrap().clone());
            decoder.decode(full.to_string().as_bytes()).unwrap();
        }
        let batch = decoder.flush().unwrap().unwrap();
        assert_eq!(batch.num_rows(), rows.len());
        let number = self.entry(dt, pipeline).tables.get(table).map_or(0, Vec::len);
        let path = format!("{table}/dt={dt}/pipeline={pipeline}/{number}.parquet");
        let target = self.folder.path().join(&path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(&target).unwrap(), file_schema, None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let ids = rows.iter().filter_map(|row| row["offer_id"].as_i64());
        let mut stats = match (ids.clone().min(), ids.max()) {
            (Some(min), Some(max)) => json!({"minValues": {"offer_id": min}, "maxValues": {"offer_id": max}}),
            _ => json!({}),
        };
        let columns = batch.schema_ref().fields().iter().zip(batch.columns());
        let null_counts = columns.map(|(field, column)| (field.name().clone(), json!(column.null_count())));
        stats["nullCount"] = Value::Object(null_counts.collect());
        let file = DataFile {
            path,
            bytes: fs::metadata(&target).unwrap().len(),
            rows: rows.len() as u64,
            stats,
            digest: None,
        };
        self.entry(dt, pipeline).tables.entry(table.into()).or_default().push(file);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot::of(self.entries.values().cloned())
    }

    pub(super) fn session(&self) -> Session {
        let options = Options { target_partitions: Some(2), ..Options::default() };
        let store = Store::open_existing(self.folder.path()).unwrap();
        Session::open(&store, self.snapshot(), &options).unwrap()
    }
}

fn defaults(table: &str) -> Value {
    match table {
        "offers" => json!({
            "run_id": "0", "shop_id": "s1", "shop_name": "店一", "currency": "CNY", "unit": "件", "pieces_per_unit": 1,
            "pack_source": "unit_table", "moq_status": "ok", "stock_status": "ok", "ladder_status": "ok",
            "status": "on_sale", "fetched_at": "2026-11-01T00:00:00Z",
        }),
        "price_tiers" => json!({"run_id": "0", "shop_id": "s1", "tier_no": 1, "currency": "CNY"}),
        "skus" => json!({"run_id": "0", "shop_id": "s1", "stock_status": "ok"}),
        "shops" => json!({"run_id": "0", "is_complete": true}),
        _ => json!({}),
    }
}
