//! The rows of one step, each with its kind: of the offers that differ, and of those that changed the tiers or SKUs
//! that did.
//!
//! | column | meaning |
//! |---|---|
//! | `kind`, `op` | see [`super`] |
//! | `proven` | `false`: the shop was not complete in both pictures, so `new` means newly seen and `dropped` nothing |
//! | `publish_seq`, `published_at` | the publication, and when it was decided |
//! | `previous_dt` | the day it is compared with (the same day: it was published again); null: the pipeline's first |
//! | the table's | as published; `dt` and `run_id` are the publication's, also of a row that left |
//!
//! Memory: besides that of [`super::fates`], some 64 bytes for each tier or SKU of the offers that changed.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Date32Type, Field, Fields, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::row::{RowConverter, SortField};
use xxhash_rust::xxh3::xxh3_64;

use crate::base::{Error, Result};
use crate::load::Entry;
use crate::store::Store;
use crate::transform::contract::Table;

use super::fates::{self, Fate, Fates};
use super::rows::Rows;
use super::{Scope, Sensitivity, Step};

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It was not there.
    New,
    /// It was there with other content.
    Changed,
    /// It is gone.
    Gone,
    /// It left without a proof that it is gone.
    Dropped,
    /// It is of an earlier day.
    Correction,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Kind::New, Kind::Changed, Kind::Gone, Kind::Dropped, Kind::Correction];

    /// As it stands in the rows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::New => "new",
            Kind::Changed => "changed",
            Kind::Gone => "gone",
            Kind::Dropped => "dropped",
            Kind::Correction => "correction",
        }
    }
}

/// What is said of one row.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    kind: Kind,
    proven: bool,
}

/// The columns of a table's feed.
///
/// # Errors
/// `Internal` when the table's contract is broken.
pub fn schema(table: Table) -> Result<SchemaRef> {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let ours = [
        Field::new("kind", DataType::Utf8, false),
        Field::new("op", DataType::Utf8, false),
        Field::new("proven", DataType::Boolean, false),
        Field::new("publish_seq", DataType::UInt64, false),
        Field::new("published_at", instant, false),
        Field::new("previous_dt", DataType::Date32, true),
    ];
    let contract = table.schema()?;
    // A file written before the contract had a column lacks it.
    let theirs = contract.fields().iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
    Ok(Arc::new(Schema::new(ours.into_iter().map(Arc::new).chain(theirs).collect::<Fields>())))
}

/// Hands the rows of a step to `give`, batch by batch: first those that leave, then those that come or change.
///
/// # Errors
/// `Storage` when a file cannot be read, `Data` when its rows are out of order; what `give` returns.
pub async fn of(
    store: &Store,
    step: &Step<'_>,
    scope: Scope,
    give: &mut (dyn FnMut(Kind, &RecordBatch) -> Result<()> + Send),
) -> Result<()> {
    let fates = fates::between(store, step.before, step.entry, scope.sensitivity).await?;
    let mut pass = Pass { store, step, scope, schema: schema(scope.table)?, fates: &fates, give };
    let changed = fates.any(&[Fate::Changed]);
    let mut known = HashMap::new();
    if let Some(before) = step.before {
        let leaves = fates.any(&[Fate::Gone, Fate::Dropped, Fate::Delisted]);
        if leaves || (changed && scope.table != Table::Offers) {
            known = pass.leaving(before).await?;
        }
    }
    if changed || fates.any(&[Fate::New, Fate::Appeared, Fate::Delisted]) {
        pass.coming(&mut known).await?;
    }
    match step.before.filter(|_| !known.is_empty()) {
        Some(before) => pass.left_over(before, &known).await,
        None => Ok(()),
    }
}

/// A tier or SKU among those of all offers.
type RowKey = (i64, Option<i64>, i32);

/// One reading after the other over the pictures of a step.
struct Pass<'p> {
    store: &'p Store,
    step: &'p Step<'p>,
    scope: Scope,
    schema: SchemaRef,
    fates: &'p Fates,
    give: &'p mut (dyn FnMut(Kind, &RecordBatch) -> Result<()> + Send),
}

impl Pass<'_> {
    fn rows(&self, entry: &Entry) -> Result<Rows> {
        let table = self.scope.table;
        Rows::new(self.store, table, entry.files(table), None)
    }

    /// Gives the rows of the offers that left, and gathers what the rows of the others that changed were like.
    async fn leaving(&mut self, before: &Entry) -> Result<HashMap<RowKey, u64>> {
        let is_offers = self.scope.table == Table::Offers;
        let mut rows = self.rows(before)?;
        let prints = Fingerprints::new(self.scope, rows.schema())?;
        let mut known = HashMap::new();
        while let Some(batch) = rows.next().await? {
            let keys = Keys::of(&batch, self.scope.table)?;
            let mut changed = Vec::new();
            self.choose(&batch, |row| {
                let proven = Verdict { kind: Kind::Gone, proven: true };
                match self.fates.of(keys.offer(row)) {
                    // The picture's own row says it of the offer; before, it may have been delisted already.
                    Some(Fate::Delisted) if is_offers => None,
                    Some(Fate::Gone | Fate::Delisted) => Some(proven),
                    Some(Fate::Dropped) => Some(Verdict { kind: Kind::Dropped, proven: false }),
                    Some(Fate::Changed) if !is_offers => {
                        changed.push(row);
                        None
                    }
                    _ => None,
                }
            })
            .and_then(|chosen| self.give(&batch, chosen))?;
            let hashes = prints.of(&batch, &changed)?;
            known.extend(changed.iter().zip(hashes).map(|(row, hash)| (keys.key(*row), hash)));
        }
        Ok(known)
    }

    /// Gives the rows of the picture that came or changed; what is left in `known` is not there any more.
    async fn coming(&mut self, known: &mut HashMap<RowKey, u64>) -> Result<()> {
        let is_offers = self.scope.table == Table::Offers;
        let mut rows = self.rows(self.step.entry)?;
        let prints = Fingerprints::new(self.scope, rows.schema())?;
        while let Some(batch) = rows.next().await? {
            let keys = Keys::of(&batch, self.scope.table)?;
            let all: Vec<usize> = (0..batch.num_rows()).collect();
            let compared: Vec<usize> = match is_offers {
                true => Vec::new(),
                false => all.into_iter().filter(|row| self.fates.of(keys.offer(*row)) == Some(Fate::Changed)).collect(),
            };
            let mut hashes = prints.of(&batch, &compared)?.into_iter();
            let delisted = |row: usize| is_offers && keys.is_delisted(row);
            let chosen = self.choose(&batch, |row| match self.fates.of(keys.offer(row))? {
                Fate::Delisted => delisted(row).then_some(Verdict { kind: Kind::Gone, proven: true }),
                _ if delisted(row) => None,
                Fate::New => Some(Verdict { kind: Kind::New, proven: true }),
                Fate::Appeared => Some(Verdict { kind: Kind::New, proven: false }),
                Fate::Changed if is_offers => Some(Verdict { kind: Kind::Changed, proven: true }),
                Fate::Changed => {
                    let hash = hashes.next()?;
                    match known.remove(&keys.key(row)) {
                        None => Some(Verdict { kind: Kind::New, proven: true }),
                        Some(old) => (old != hash).then_some(Verdict { kind: Kind::Changed, proven: true }),
                    }
                }
                Fate::Gone | Fate::Dropped => None,
            })?;
            self.give(&batch, chosen)?;
        }
        Ok(())
    }

    /// Gives the rows of offers that changed which the picture lacks.
    async fn left_over(&mut self, before: &Entry, known: &HashMap<RowKey, u64>) -> Result<()> {
        let mut rows = self.rows(before)?;
        while let Some(batch) = rows.next().await? {
            let keys = Keys::of(&batch, self.scope.table)?;
            let gone = Verdict { kind: Kind::Gone, proven: true };
            let chosen = self.choose(&batch, |row| known.contains_key(&keys.key(row)).then_some(gone))?;
            self.give(&batch, chosen)?;
        }
        Ok(())
    }

    /// The rows that `verdict` says something of.
    fn choose(
        &self,
        batch: &RecordBatch,
        mut verdict: impl FnMut(usize) -> Option<Verdict>,
    ) -> Result<Vec<(u32, Verdict)>> {
        let chosen = (0..batch.num_rows()).filter_map(|row| Some((row, verdict(row)?)));
        let number = |row: usize| u32::try_from(row).map_err(|_| Error::internal("a batch has too many rows"));
        chosen.map(|(row, verdict)| Ok((number(row)?, verdict))).collect()
    }

    /// Gives the chosen rows, one batch for each kind.
    fn give(&mut self, batch: &RecordBatch, chosen: Vec<(u32, Verdict)>) -> Result<()> {
        for kind in Kind::ALL {
            let of_kind: Vec<(u32, Verdict)> =
                chosen.iter().copied().filter(|(_, verdict)| verdict.kind == kind).collect();
            if !of_kind.is_empty() {
                let rows = arrow::array::UInt32Array::from_iter_values(of_kind.iter().map(|(row, _)| *row));
                let rows = take_record_batch(batch, &rows).and_then(|rows| self.dressed(&rows, kind, &of_kind));
                let rows = rows.map_err(|source| Error::internal("rows cannot be put together").caused_by(source))?;
                let told = if self.step.is_correction { Kind::Correction } else { kind };
                (self.give)(told, &rows)?;
            }
        }
        Ok(())
    }

    /// The rows with the feed's columns before them.
    fn dressed(
        &self,
        rows: &RecordBatch,
        kind: Kind,
        verdicts: &[(u32, Verdict)],
    ) -> Result<RecordBatch, arrow::error::ArrowError> {
        let (count, entry) = (rows.num_rows(), self.step.entry);
        let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(vec![text; count])) };
        let op = if matches!(kind, Kind::Gone | Kind::Dropped) { "delete" } else { "upsert" };
        let told = if self.step.is_correction { Kind::Correction } else { kind };
        let day = |day: Option<chrono::NaiveDate>| -> ArrayRef {
            Arc::new(Date32Array::from(vec![day.map(Date32Type::from_naive_date); count]))
        };
        let published_at = vec![entry.published_at.timestamp_micros(); count];
        let columns = self.schema.fields().iter().map(|field| -> Result<ArrayRef, arrow::error::ArrowError> {
            Ok(match field.name().as_str() {
                "kind" => text(told.name()),
                "op" => text(op),
                "proven" => Arc::new(BooleanArray::from_iter(verdicts.iter().map(|(_, verdict)| Some(verdict.proven)))),
                "publish_seq" => Arc::new(UInt64Array::from(vec![entry.seq; count])),
                "published_at" => Arc::new(TimestampMicrosecondArray::from(published_at.clone()).with_timezone("UTC")),
                "previous_dt" => day(self.step.before.map(|before| before.dt)),
                "dt" => day(Some(entry.dt)),
                "pipeline" => text(&entry.pipeline),
                "run_id" => text(&entry.run_id),
                name => Arc::clone(rows.column(rows.schema().index_of(name)?)),
            })
        });
        RecordBatch::try_new(Arc::clone(&self.schema), columns.collect::<Result<_, _>>()?)
    }
}

/// What tells the rows of a batch apart.
struct Keys<'b> {
    offers: &'b arrow::array::Int64Array,
    skus: Option<&'b arrow::array::Int64Array>,
    tiers: Option<&'b arrow::array::Int32Array>,
    status: Option<&'b StringArray>,
}

impl<'b> Keys<'b> {
    fn of(batch: &'b RecordBatch, table: Table) -> Result<Self> {
        let column = |name: &str| batch.column_by_name(name);
        let offers = column("offer_id").ok_or_else(|| Error::internal(format!("`{table}` has no offers")))?;
        Ok(Self {
            offers: offers.as_primitive::<Int64Type>(),
            skus: column("sku_id").map(|column| column.as_primitive::<Int64Type>()),
            tiers: column("tier_no").map(|column| column.as_primitive::<Int32Type>()),
            status: column("status").map(|column| column.as_string::<i32>()),
        })
    }

    fn offer(&self, row: usize) -> i64 {
        self.offers.value(row)
    }

    fn key(&self, row: usize) -> RowKey {
        let sku = self.skus.filter(|skus| skus.is_valid(row)).map(|skus| skus.value(row));
        (self.offer(row), sku, self.tiers.map_or(0, |tiers| tiers.value(row)))
    }

    fn is_delisted(&self, row: usize) -> bool {
        self.status.is_some_and(|status| status.value(row) == "delisted")
    }
}

/// Hashes of rows over the columns that make them what they are.
struct Fingerprints {
    converter: RowConverter,
    columns: Vec<usize>,
}

/// Says who published a row, not what it is.
const PROVENANCE: [&str; 2] = ["run_id", "fetched_at"];
/// Differs nearly every night.
const VOLATILE: [&str; 3] = ["stock_raw", "stock_pieces", "stock_status"];

impl Fingerprints {
    fn new(scope: Scope, schema: &Schema) -> Result<Self> {
        let counts = |name: &str| {
            let volatile = scope.sensitivity == Sensitivity::Content && VOLATILE.contains(&name);
            !PROVENANCE.contains(&name) && !volatile
        };
        // Offers are compared by the hashes they carry.
        let is_offers = scope.table == Table::Offers;
        let fields = schema.fields().iter().enumerate().filter(|(_, field)| !is_offers && counts(field.name()));
        let (columns, fields) = fields.map(|(at, field)| (at, SortField::new(field.data_type().clone()))).unzip();
        let converter = RowConverter::new(fields);
        let converter = converter.map_err(|source| Error::internal("rows cannot be compared").caused_by(source))?;
        Ok(Self { converter, columns })
    }

    /// Of these rows, in their order.
    fn of(&self, batch: &RecordBatch, rows: &[usize]) -> Result<Vec<u64>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let columns: Vec<ArrayRef> = self.columns.iter().map(|at| Arc::clone(batch.column(*at))).collect();
        let converted = self.converter.convert_columns(&columns);
        let converted = converted.map_err(|source| Error::internal("rows cannot be compared").caused_by(source))?;
        Ok(rows.iter().map(|row| xxh3_64(converted.row(*row).as_ref())).collect())
    }
}
