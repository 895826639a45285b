//! Batches → the files of all tables of one run. Blocking: runs on threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use arrow::array::{ArrayRef, RecordBatch, StringArray};

use crate::base::{Budget, Error, Result};
use crate::extract::Attempt;
use crate::load::{DataFile, TableWriter, Target, WriterOptions};
use crate::store::Store;
use crate::transform::carry::conform;
use crate::transform::chunk::Rows;
use crate::transform::contract::Table;
use crate::transform::rows::{self, RawPageRow};

/// Batches that may wait for a table's writer.
const WAITING_BATCHES: usize = 1;
/// Of the budget, for one row group.
const ROW_GROUP_SHARE: usize = 24;
/// Smaller row groups are more trouble than memory.
const ROW_GROUP_BYTES_MIN: usize = 2 << 20;
/// Bodies in one batch of `raw_pages`.
const RAW_BATCH_BYTES: usize = 4 << 20;

/// The files of one run, table by table.
#[derive(Debug)]
pub(super) struct Files<'a> {
    pub(super) store: &'a Store,
    pub(super) target: Target,
    pub(super) files: BTreeMap<Table, Vec<DataFile>>,
    options: WriterOptions,
}

impl<'a> Files<'a> {
    /// None yet; `target`'s table does not matter.
    pub(super) fn new(store: &'a Store, target: Target, budget: &Budget) -> Self {
        let usual = WriterOptions::default();
        // A table's row group is in memory until it ends; those of three tables are written at a time.
        let row_group_bytes = (budget.bytes_max() / ROW_GROUP_SHARE).clamp(ROW_GROUP_BYTES_MIN, usual.row_group_bytes);
        Self { store, target, files: BTreeMap::new(), options: WriterOptions { row_group_bytes, ..usual } }
    }

    fn writer(&self, table: Table) -> Result<TableWriter> {
        TableWriter::new(self.store, Target { table, ..self.target.clone() }, self.options)
    }

    /// Writes a small table: no file where there is no row.
    pub(super) fn small(&mut self, table: Table, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() > 0 {
            let mut writer = self.writer(table)?;
            writer.write(batch)?;
            self.files.insert(table, writer.finish()?);
        }
        Ok(())
    }

    /// Writes a table of batches of today's rows, and of rows that stay as an earlier run published them.
    pub(super) fn with_earlier(
        &mut self,
        table: Table,
        rows: impl Iterator<Item = Result<RecordBatch>>,
        earlier: &[RecordBatch],
    ) -> Result<()> {
        let mut writer = self.writer(table)?;
        let run_id = &self.target.run_id;
        let earlier = earlier.iter().map(|batch| with_run_id(&conform(batch, table)?, table, run_id));
        for batch in rows.chain(earlier) {
            let batch = batch?;
            if batch.num_rows() > 0 {
                writer.write(&batch)?;
            }
        }
        self.files.insert(table, writer.finish()?);
        Ok(())
    }

    /// Writes the three tables of a picture, each on a thread of its own; `merge` hands their rows on, batch by batch.
    pub(super) fn picture(
        &mut self,
        merge: impl FnOnce(&mut dyn FnMut(Rows) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        const TABLES: [Table; 3] = [Table::Offers, Table::PriceTiers, Table::Skus];
        let run_id = self.target.run_id.clone();
        let written = std::thread::scope(|scope| -> Result<Vec<Vec<DataFile>>> {
            let mut senders: Vec<SyncSender<RecordBatch>> = Vec::new();
            let mut writers = Vec::new();
            for table in TABLES {
                let (sender, batches) = sync_channel(WAITING_BATCHES);
                let writer = self.writer(table)?;
                senders.push(sender);
                writers.push(scope.spawn(move || drain(writer, &batches)));
            }
            let merged = merge(&mut |rows| {
                for ((sender, table), batch) in senders.iter().zip(TABLES).zip([rows.offers, rows.tiers, rows.skus]) {
                    // A writer that has failed has hung up: its own error is the one to report.
                    if sender.send(with_run_id(&batch, table, &run_id)?).is_err() {
                        return Ok(());
                    }
                }
                Ok(())
            });
            drop(senders);
            let joined: Vec<_> = writers
                .into_iter()
                .map(|writer| writer.join().unwrap_or_else(|_| Err(Error::internal("a table's writer panicked"))))
                .collect();
            merged?;
            joined.into_iter().collect()
        })?;
        self.files.extend(TABLES.into_iter().zip(written));
        Ok(())
    }

    /// Folds landed answers into `raw_pages`, in the order of their numbers.
    pub(super) fn raw_pages(&mut self, segments: impl Iterator<Item = Result<Vec<Attempt>>>) -> Result<()> {
        let mut writer = self.writer(Table::RawPages)?;
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        for attempts in segments {
            for attempt in attempts? {
                bytes += attempt.body.len();
                waiting.extend(raw_page(attempt)?);
                if bytes >= RAW_BATCH_BYTES {
                    writer.write(&rows::raw_pages(&self.target.run_id, &waiting)?)?;
                    waiting.clear();
                    bytes = 0;
                }
            }
        }
        if !waiting.is_empty() {
            writer.write(&rows::raw_pages(&self.target.run_id, &waiting)?)?;
        }
        self.files.insert(Table::RawPages, writer.finish()?);
        Ok(())
    }
}

fn drain(mut writer: TableWriter, batches: &Receiver<RecordBatch>) -> Result<Vec<DataFile>> {
    for batch in batches {
        if batch.num_rows() > 0 {
            writer.write(&batch)?;
        }
    }
    writer.finish()
}

/// A batch of a chunk in the columns of its table's file.
fn with_run_id(batch: &RecordBatch, table: Table, run_id: &str) -> Result<RecordBatch> {
    let schema = table.file_schema()?;
    let run_ids: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(run_id, batch.num_rows())));
    let mut rest = batch.columns().iter().cloned();
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "run_id" => Ok(Arc::clone(&run_ids)),
        name => rest.next().ok_or_else(|| Error::internal(format!("no column `{name}` for table `{table}`"))),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(schema, columns)
        .map_err(|error| Error::internal(format!("wrong columns for table `{table}`")).caused_by(error))
}

/// The row of an attempt whose answer is kept.
fn raw_page(attempt: Attempt) -> Result<Option<RawPageRow>> {
    let Attempt { record, body } = attempt;
    if record.judged.is_some() {
        return Ok(None);
    }
    let Some(http_status) = record.http_status.and_then(|status| i16::try_from(status).ok()) else { return Ok(None) };
    let header = serde_json::to_string(&record)
        .map_err(|source| Error::internal("the record of an attempt cannot be written").caused_by(source))?;
    Ok(Some(RawPageRow {
        number: record.number,
        request: serde_json::to_string(&record.request).unwrap_or_default(),
        endpoint: record.endpoint,
        shop_id: record.shop_id,
        http_status,
        content_type: record.content_type,
        redacted: record.redacted,
        digest: record.digest,
        body,
        received_at: record.received_at,
        header,
    }))
}
