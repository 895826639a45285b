//! A small lake in a temporary folder, written row by row: three nights of two pipelines with the awkward cases.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::json::ReaderBuilder;
use chrono::NaiveDate;
use object_store::local::LocalFileSystem;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::published::{Published, PublishedFile, TableFiles};
use super::session::{Options, Session};
use crate::load::log::DataFile;

/// A lake under construction.
pub(super) struct Lake {
    pub(super) folder: TempDir,
    pub(super) published: Published,
}

pub(super) fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

impl Lake {
    pub(super) fn new() -> Self {
        let mut published = Published::default();
        for (name, schema) in schemas() {
            published.tables.insert(name.into(), TableFiles { schema, files: Vec::new() });
        }
        Self { folder: TempDir::new().unwrap(), published }
    }

    /// Publishes a day without rows; rows are added to it.
    pub(super) fn publish(&mut self, dt: &str, pipeline: &str) {
        self.published.days.entry(pipeline.into()).or_default().insert(day(dt));
    }

    /// Publishes `rows` of one table for a day; what a row does not say comes from `defaults`, else is null.
    pub(super) fn rows(&mut self, table: &str, dt: &str, pipeline: &str, rows: &[Value]) {
        let columns = self.published.tables[table].schema.fields().iter().skip(2).cloned().collect::<Vec<_>>();
        self.rows_with(table, dt, pipeline, rows, Arc::new(Schema::new(columns)));
    }

    /// As [`Lake::rows`], in a file that has only the columns of `file_schema`.
    pub(super) fn rows_with(&mut self, table: &str, dt: &str, pipeline: &str, rows: &[Value], file_schema: SchemaRef) {
        self.publish(dt, pipeline);
        let mut decoder = ReaderBuilder::new(Arc::clone(&file_schema)).build_decoder().unwrap();
        for row in rows {
            let mut full = defaults(table);
            full.as_object_mut().unwrap().extend(row.as_object().unwrap().clone());
            decoder.decode(full.to_string().as_bytes()).unwrap();
        }
        let batch = decoder.flush().unwrap().unwrap();
        let number = self.published.tables[table].files.len();
        let path = format!("{table}/dt={dt}/pipeline={pipeline}/{number}.parquet");
        let target = self.folder.path().join(&path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(&target).unwrap(), file_schema, None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let ids = rows.iter().filter_map(|row| row["offer_id"].as_i64());
        let stats = match (ids.clone().min(), ids.max()) {
            (Some(min), Some(max)) => json!({"minValues": {"offer_id": min}, "maxValues": {"offer_id": max}}),
            _ => json!({}),
        };
        let file = DataFile { path, bytes: fs::metadata(&target).unwrap().len(), rows: rows.len() as u64, stats };
        let file = PublishedFile { dt: day(dt), pipeline: pipeline.into(), file: Arc::new(file) };
        self.published.tables.get_mut(table).unwrap().files.push(file);
    }

    pub(super) fn session(&self) -> Session {
        let options = Options { target_partitions: Some(2), ..Options::default() };
        Session::open(Arc::new(store(self.folder.path())), self.published.clone(), &options).unwrap()
    }
}

fn store(root: &Path) -> LocalFileSystem {
    LocalFileSystem::new_with_prefix(root).unwrap()
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

fn schemas() -> Vec<(&'static str, SchemaRef)> {
    use DataType::{Boolean, Date32, Int32, Int64, Utf8};
    let price = DataType::Decimal128(18, 4);
    let piece_price = DataType::Decimal128(18, 6);
    let rate = DataType::Decimal128(5, 4);
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = |columns: &[(&str, &DataType)]| {
        let start = [("dt", &Date32), ("pipeline", &Utf8), ("run_id", &Utf8)];
        let columns = start.iter().chain(columns);
        Arc::new(Schema::new(columns.map(|(name, kind)| Field::new(*name, (*kind).clone(), true)).collect::<Vec<_>>()))
    };
    let offers = schema(&[
        ("shop_id", &Utf8),
        ("shop_name", &Utf8),
        ("offer_id", &Int64),
        ("title", &Utf8),
        ("detail_url", &Utf8),
        ("price", &price),
        ("promotion_price", &price),
        ("currency", &Utf8),
        ("unit", &Utf8),
        ("pieces_per_unit", &Int32),
        ("pack_source", &Utf8),
        ("moq_raw", &Utf8),
        ("moq_quantity", &Int64),
        ("moq_pieces", &Int64),
        ("moq_status", &Utf8),
        ("stock_pieces", &Int64),
        ("stock_status", &Utf8),
        ("min_piece_price", &piece_price),
        ("max_piece_price", &piece_price),
        ("ladder_status", &Utf8),
        ("status", &Utf8),
        ("created_at", &time),
        ("fetched_at", &time),
        ("observed_dt", &Date32),
    ]);
    let price_tiers = schema(&[
        ("shop_id", &Utf8),
        ("offer_id", &Int64),
        ("sku_id", &Int64),
        ("tier_no", &Int32),
        ("min_quantity", &Int64),
        ("max_quantity", &Int64),
        ("min_pieces", &Int64),
        ("max_pieces", &Int64),
        ("unit_price", &price),
        ("piece_price", &piece_price),
        ("currency", &Utf8),
    ]);
    let skus = schema(&[
        ("shop_id", &Utf8),
        ("offer_id", &Int64),
        ("sku_id", &Int64),
        ("spec", &Utf8),
        ("stock_pieces", &Int64),
        ("stock_status", &Utf8),
    ]);
    let counts = [
        "official_count",
        "listed_count",
        "offer_count",
        "new_count",
        "changed_count",
        "carried_count",
        "delisted_count",
        "quarantined_count",
        "calls_used",
    ];
    let mut shops: Vec<(&str, &DataType)> =
        vec![("shop_id", &Utf8), ("shop_name", &Utf8), ("is_complete", &Boolean), ("incomplete_reason", &Utf8)];
    shops.extend(counts.iter().map(|name| (*name, &Int64)));
    shops.extend([("sku_complete_rate", &rate), ("price_complete_rate", &rate)]);
    let funnel = ["received", "loaded", "duplicates", "quarantined", "carried", "calls_used", "bytes_received"];
    let mut runs: Vec<(&str, &DataType)> =
        vec![("attempt", &Int32), ("status", &Utf8), ("started_at", &time), ("finished_at", &time)];
    runs.extend(funnel.iter().map(|name| (*name, &Int64)));
    vec![
        ("offers", offers),
        ("price_tiers", price_tiers),
        ("skus", skus),
        ("shops", schema(&shops)),
        ("runs", schema(&runs)),
    ]
}
