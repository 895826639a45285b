//! The small tables: shops, quarantine, calls, raw pages and runs as rows, and rows as Arrow batches.
//!
//! Invariant: a batch has exactly the columns of its table's file, in their order.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::base::{Error, Result};

use super::contract::Table;

/// Columns by name, put into the order of a table's file.
#[derive(Debug, Default)]
pub struct Columns(Vec<(&'static str, ArrayRef)>);

impl Columns {
    /// Adds a column.
    pub fn add(&mut self, name: &'static str, array: impl arrow::array::Array + 'static) {
        self.0.push((name, Arc::new(array)));
    }

    /// The batch of `table`.
    ///
    /// # Errors
    /// [`crate::base::Kind::Internal`] when a column is missing or of another type.
    pub fn batch(self, table: Table) -> Result<RecordBatch> {
        let schema = table.file_schema()?;
        let columns = schema.fields().iter().map(|field| {
            let found = self.0.iter().find(|(name, _)| name == field.name()).map(|(_, array)| Arc::clone(array));
            found.ok_or_else(|| Error::internal(format!("no column `{}` for table `{table}`", field.name())))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(schema, columns)
            .map_err(|error| Error::internal(format!("wrong columns for table `{table}`")).caused_by(error))
    }
}

/// Times as a column.
pub fn timestamps(times: impl Iterator<Item = Option<DateTime<Utc>>>) -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::from_iter(times.map(|time| time.map(|time| time.timestamp_micros())))
        .with_timezone("UTC")
}

/// Unscaled decimals as a column.
///
/// # Errors
/// [`crate::base::Kind::Internal`] when precision and scale do not go together.
pub fn decimals(units: impl Iterator<Item = Option<i64>>, precision: u8, scale: i8) -> Result<Decimal128Array> {
    Decimal128Array::from_iter(units.map(|units| units.map(i128::from)))
        .with_precision_and_scale(precision, scale)
        .map_err(|error| Error::internal("a decimal column cannot be built").caused_by(error))
}

/// A row of `shops`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the contract of the table describes the columns")]
pub struct ShopRow {
    pub gateway: String,
    pub shop_id: String,
    pub shop_name: Option<String>,
    pub shop_url: Option<String>,
    pub official_count: Option<i64>,
    pub listed_count: i64,
    pub offer_count: i64,
    pub new_count: i64,
    pub changed_count: i64,
    pub carried_count: i64,
    pub delisted_count: i64,
    pub quarantined_count: i64,
    /// In units of 10⁻⁴.
    pub sku_complete_rate: Option<i64>,
    /// In units of 10⁻⁴.
    pub price_complete_rate: Option<i64>,
    pub incomplete_reason: Option<String>,
    pub watermark_at: Option<DateTime<Utc>>,
    pub calls_used: i64,
    pub started_at: DateTime<Utc>,
    pub finished_at: DateTime<Utc>,
}

/// The batch of `shops`.
///
/// # Errors
/// [`crate::base::Kind::Internal`].
pub fn shops(run_id: &str, rows: &[ShopRow]) -> Result<RecordBatch> {
    let count = |value: fn(&ShopRow) -> i64| Int64Array::from_iter_values(rows.iter().map(value));
    let mut columns = Columns::default();
    columns.add("run_id", same(run_id, rows.len()));
    columns.add("gateway", StringArray::from_iter_values(rows.iter().map(|row| &row.gateway)));
    columns.add("shop_id", StringArray::from_iter_values(rows.iter().map(|row| &row.shop_id)));
    columns.add("shop_name", StringArray::from_iter(rows.iter().map(|row| row.shop_name.as_deref())));
    columns.add("shop_url", StringArray::from_iter(rows.iter().map(|row| row.shop_url.as_deref())));
    columns.add("official_count", Int64Array::from_iter(rows.iter().map(|row| row.official_count)));
    columns.add("listed_count", count(|row| row.listed_count));
    columns.add("offer_count", count(|row| row.offer_count));
    columns.add("new_count", count(|row| row.new_count));
    columns.add("changed_count", count(|row| row.changed_count));
    columns.add("carried_count", count(|row| row.carried_count));
    columns.add("delisted_count", count(|row| row.delisted_count));
    columns.add("quarantined_count", count(|row| row.quarantined_count));
    columns.add("sku_complete_rate", decimals(rows.iter().map(|row| row.sku_complete_rate), 5, 4)?);
    columns.add("price_complete_rate", decimals(rows.iter().map(|row| row.price_complete_rate), 5, 4)?);
    columns.add("is_complete", BooleanArray::from_iter(rows.iter().map(|row| Some(row.incomplete_reason.is_none()))));
    columns.add("incomplete_reason", StringArray::from_iter(rows.iter().map(|row| row.incomplete_reason.as_deref())));
    columns.add("watermark_at", timestamps(rows.iter().map(|row| row.watermark_at)));
    columns.add("calls_used", count(|row| row.calls_used));
    columns.add("started_at", timestamps(rows.iter().map(|row| Some(row.started_at))));
    columns.add("finished_at", timestamps(rows.iter().map(|row| Some(row.finished_at))));
    columns.batch(Table::Shops)
}

/// A row of `quarantine`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the contract of the table describes the columns")]
pub struct QuarantineRow {
    pub gateway: String,
    pub shop_id: Option<String>,
    pub offer_id: Option<i64>,
    pub stage: &'static str,
    pub reason: String,
    pub field: Option<String>,
    pub value: Option<String>,
    pub raw_ref: String,
    pub record: String,
}

/// The batch of `quarantine`.
///
/// # Errors
/// [`crate::base::Kind::Internal`].
pub fn quarantine(run_id: &str, rows: &[QuarantineRow]) -> Result<RecordBatch> {
    let mut columns = Columns::default();
    columns.add("run_id", same(run_id, rows.len()));
    columns.add("gateway", StringArray::from_iter_values(rows.iter().map(|row| &row.gateway)));
    columns.add("shop_id", StringArray::from_iter(rows.iter().map(|row| row.shop_id.as_deref())));
    columns.add("offer_id", Int64Array::from_iter(rows.iter().map(|row| row.offer_id)));
    columns.add("stage", StringArray::from_iter_values(rows.iter().map(|row| row.stage)));
    columns.add("reason", StringArray::from_iter_values(rows.iter().map(|row| &row.reason)));
    columns.add("field", StringArray::from_iter(rows.iter().map(|row| row.field.as_deref())));
    columns.add("value", StringArray::from_iter(rows.iter().map(|row| row.value.as_deref())));
    columns.add("raw_ref", StringArray::from_iter_values(rows.iter().map(|row| &row.raw_ref)));
    columns.add("record", StringArray::from_iter_values(rows.iter().map(|row| &row.record)));
    columns.batch(Table::Quarantine)
}

/// A row of `calls`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the contract of the table describes the columns")]
pub struct CallRow {
    pub number: i64,
    pub account: String,
    pub endpoint: String,
    pub shop_id: Option<String>,
    pub offer_id: Option<i64>,
    pub page: Option<i32>,
    pub attempt: i32,
    pub class: &'static str,
    pub http_status: Option<i16>,
    pub wait_ms: i64,
    pub latency_ms: i64,
    pub bytes: i64,
    pub sent_at: DateTime<Utc>,
}

/// The batch of `calls`.
///
/// # Errors
/// [`crate::base::Kind::Internal`].
pub fn calls(run_id: &str, rows: &[CallRow]) -> Result<RecordBatch> {
    let mut columns = Columns::default();
    columns.add("run_id", same(run_id, rows.len()));
    columns.add("number", Int64Array::from_iter_values(rows.iter().map(|row| row.number)));
    columns.add("account", StringArray::from_iter_values(rows.iter().map(|row| &row.account)));
    columns.add("endpoint", StringArray::from_iter_values(rows.iter().map(|row| &row.endpoint)));
    columns.add("shop_id", StringArray::from_iter(rows.iter().map(|row| row.shop_id.as_deref())));
    columns.add("offer_id", Int64Array::from_iter(rows.iter().map(|row| row.offer_id)));
    columns.add("page", Int32Array::from_iter(rows.iter().map(|row| row.page)));
    columns.add("attempt", Int32Array::from_iter_values(rows.iter().map(|row| row.attempt)));
    columns.add("class", StringArray::from_iter_values(rows.iter().map(|row| row.class)));
    columns.add("http_status", Int16Array::from_iter(rows.iter().map(|row| row.http_status)));
    columns.add("wait_ms", Int64Array::from_iter_values(rows.iter().map(|row| row.wait_ms)));
    columns.add("latency_ms", Int64Array::from_iter_values(rows.iter().map(|row| row.latency_ms)));
    columns.add("bytes", Int64Array::from_iter_values(rows.iter().map(|row| row.bytes)));
    columns.add("sent_at", timestamps(rows.iter().map(|row| Some(row.sent_at))));
    columns.batch(Table::Calls)
}

/// A row of `raw_pages`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the contract of the table describes the columns")]
pub struct RawPageRow {
    pub number: i64,
    pub endpoint: String,
    pub shop_id: Option<String>,
    pub request: String,
    pub http_status: i16,
    pub content_type: Option<String>,
    pub redacted: bool,
    pub digest: String,
    pub body: Bytes,
    pub received_at: DateTime<Utc>,
    pub header: String,
}

/// The batch of `raw_pages`.
///
/// # Errors
/// [`crate::base::Kind::Internal`].
pub fn raw_pages(run_id: &str, rows: &[RawPageRow]) -> Result<RecordBatch> {
    let mut columns = Columns::default();
    columns.add("run_id", same(run_id, rows.len()));
    columns.add("number", Int64Array::from_iter_values(rows.iter().map(|row| row.number)));
    columns.add("endpoint", StringArray::from_iter_values(rows.iter().map(|row| &row.endpoint)));
    columns.add("shop_id", StringArray::from_iter(rows.iter().map(|row| row.shop_id.as_deref())));
    columns.add("request", StringArray::from_iter_values(rows.iter().map(|row| &row.request)));
    columns.add("http_status", Int16Array::from_iter_values(rows.iter().map(|row| row.http_status)));
    columns.add("content_type", StringArray::from_iter(rows.iter().map(|row| row.content_type.as_deref())));
    columns.add("redacted", BooleanArray::from_iter(rows.iter().map(|row| Some(row.redacted))));
    columns.add("digest", StringArray::from_iter_values(rows.iter().map(|row| &row.digest)));
    columns.add("body", BinaryArray::from_iter_values(rows.iter().map(|row| &row.body)));
    columns.add("received_at", timestamps(rows.iter().map(|row| Some(row.received_at))));
    columns.add("header", StringArray::from_iter_values(rows.iter().map(|row| &row.header)));
    columns.batch(Table::RawPages)
}

/// A row of `runs`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the contract of the table describes the columns")]
pub struct RunRow {
    pub run_id: String,
    pub attempt: i32,
    pub status: RunStatus,
    pub error: Option<String>,
    pub started_at: DateTime<Utc>,
    pub finished_at: DateTime<Utc>,
    pub received: i64,
    pub loaded: i64,
    pub duplicates: i64,
    pub quarantined: i64,
    pub carried: i64,
    pub calls_used: i64,
    pub calls_saved: i64,
    pub retries: i64,
    pub throttles: i64,
    pub bytes_received: i64,
    pub quota_left: Option<i64>,
    pub publish_seq: Option<i64>,
    pub config_hash: String,
    pub kind: RunKind,
}

/// What an attempt did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    /// Fetch, or go on with what was fetched.
    Run,
    /// Rebuild a day from what had landed.
    Replay,
}

impl RunKind {
    /// Its value in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RunKind::Run => "run",
            RunKind::Replay => "replay",
        }
    }
}

/// How an attempt of a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStatus {
    /// Every shop is complete.
    Published,
    /// Published, but a shop is incomplete.
    PublishedIncomplete,
    /// Its work was done, and what came of it looks wrong; nothing published.
    Held,
    /// Stopped before its work was done; nothing published.
    Stopped,
    /// Failed; nothing published.
    Failed,
}

impl RunStatus {
    /// Its value in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RunStatus::Published => "published",
            RunStatus::PublishedIncomplete => "published_incomplete",
            RunStatus::Held => "held",
            RunStatus::Stopped => "stopped",
            RunStatus::Failed => "failed",
        }
    }
}

/// The batch of `runs` for one attempt.
///
/// # Errors
/// [`crate::base::Kind::Internal`].
pub fn run(row: &RunRow) -> Result<RecordBatch> {
    let mut columns = Columns::default();
    let text = |value: &str| same(value, 1);
    let count = |value: i64| Int64Array::from_iter_values([value]);
    columns.add("run_id", text(&row.run_id));
    columns.add("attempt", Int32Array::from_iter_values([row.attempt]));
    columns.add("status", text(row.status.name()));
    columns.add("error", StringArray::from_iter([row.error.as_deref()]));
    columns.add("started_at", timestamps([Some(row.started_at)].into_iter()));
    columns.add("finished_at", timestamps([Some(row.finished_at)].into_iter()));
    columns.add("received", count(row.received));
    columns.add("loaded", count(row.loaded));
    columns.add("duplicates", count(row.duplicates));
    columns.add("quarantined", count(row.quarantined));
    columns.add("carried", count(row.carried));
    columns.add("calls_used", count(row.calls_used));
    columns.add("calls_saved", count(row.calls_saved));
    columns.add("retries", count(row.retries));
    columns.add("throttles", count(row.throttles));
    columns.add("bytes_received", count(row.bytes_received));
    columns.add("quota_left", Int64Array::from_iter([row.quota_left]));
    columns.add("publish_seq", Int64Array::from_iter([row.publish_seq]));
    columns.add("huopan_version", text(env!("CARGO_PKG_VERSION")));
    columns.add("contract_version", text(super::contract::CONTRACT_VERSION));
    columns.add("config_hash", text(&row.config_hash));
    columns.add("kind", text(row.kind.name()));
    columns.batch(Table::Runs)
}

fn same(value: &str, rows: usize) -> StringArray {
    StringArray::from_iter_values(std::iter::repeat_n(value, rows))
}
