//! What differs between two pictures of one day, by table and column.
//!
//! Takes the publish-log entries of both; gives counts and a few examples. Blocks: to be called off the reactor.
//!
//! The run that published a row is no difference. Rows of `quarantine` have no key: one that changed counts as one that
//! is gone and one that is new.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::row::{RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use xxhash_rust::xxh3::xxh3_128;

use crate::base::{Error, Result};
use crate::load::read::read;
use crate::transform::carry::conform;
use crate::transform::contract::Table;

use super::pull::{Keyed, Rows, Side, side_by_side};

/// Rows whose values are shown, of each column.
pub const EXAMPLES_MAX: usize = 3;

/// What differs in one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDifference {
    /// The table.
    pub table: Table,
    /// Rows before.
    pub before: u64,
    /// Rows after.
    pub after: u64,
    /// Rows that were not there before.
    pub new: u64,
    /// Rows that are no longer there.
    pub gone: u64,
    /// Rows that are there before and after, with other values.
    pub changed: u64,
    /// Of them, by column.
    pub columns: Vec<ColumnDifference>,
}

/// What differs in one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDifference {
    /// Its name.
    pub column: String,
    /// Rows in which it differs.
    pub rows: u64,
    /// The first of them.
    pub examples: Vec<Example>,
}

/// One value before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Which row, in words: `offer 628000000017, tier 2`.
    pub row: String,
    /// As text; `None`: null.
    pub before: Option<String>,
    /// As text; `None`: null.
    pub after: Option<String>,
}

impl TableDifference {
    /// Whether a reader would see any.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.new == 0 && self.gone == 0 && self.changed == 0
    }
}

/// What differs in each table of a picture.
pub(super) fn differences(before: Side<'_>, after: Side<'_>) -> Result<Vec<TableDifference>> {
    Table::PICTURES.into_iter().map(|table| of_table(before, after, table)).collect()
}

fn of_table(before: Side<'_>, after: Side<'_>, table: Table) -> Result<TableDifference> {
    let reader = Reader::new(table)?;
    let mut found = Found::new(table);
    if table == Table::Quarantine {
        found.count_unkeyed(&reader, before, after)?;
        return Ok(found.difference);
    }
    if table.sort_columns().is_empty() {
        let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
        for (side, lines) in [(before, &mut old), (after, &mut new)] {
            reader.each(side, |line| {
                let place: &mut Vec<Line> = lines.entry(line.shop_id.clone()).or_default();
                place.push(line);
                Ok(())
            })?;
        }
        for (shop, lines) in old {
            found.group(lines, new.remove(&shop).unwrap_or_default())?;
        }
        new.into_values().try_for_each(|lines| found.group(Vec::new(), lines))?;
        return Ok(found.difference);
    }
    let rows = Rows { table, columns: None };
    side_by_side(before, after, rows, |batch| reader.lines(batch), |old, new| found.group(old, new))?;
    Ok(found.difference)
}

/// One row, with what tells it from others of its offer.
struct Line {
    shop_id: Option<Arc<str>>,
    offer_id: i64,
    /// SKU and tier, where the table has them.
    inner: (Option<i64>, Option<i32>),
    bytes: Box<[u8]>,
    batch: Arc<RecordBatch>,
    row: usize,
}

impl Keyed for Line {
    fn key(&self) -> (Option<&str>, i64) {
        (self.shop_id.as_deref(), self.offer_id)
    }
}

impl Line {
    fn describe(&self, table: Table) -> String {
        let mut text = match (&self.shop_id, table) {
            (Some(shop_id), Table::Shops) => format!("shop {shop_id}"),
            _ => format!("offer {}", self.offer_id),
        };
        if let Some(sku_id) = self.inner.0 {
            text.push_str(&format!(", SKU {sku_id}"));
        }
        if let Some(tier_no) = self.inner.1 {
            text.push_str(&format!(", tier {tier_no}"));
        }
        text
    }
}

/// Makes lines of a table's batches.
struct Reader {
    table: Table,
    converter: RowConverter,
}

impl Reader {
    fn new(table: Table) -> Result<Self> {
        let schema = table.file_schema()?;
        let fields = schema.fields().iter().filter(|field| field.name() != "run_id");
        let fields = fields.map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = RowConverter::new(fields).map_err(|source| broken().caused_by(source))?;
        Ok(Self { table, converter })
    }

    fn lines(&self, batch: &RecordBatch) -> Result<Vec<Line>> {
        let batch = Arc::new(conform(batch, self.table)?);
        let converted = self.converter.convert_columns(batch.columns());
        let converted = converted.map_err(|source| broken().caused_by(source))?;
        let shops = batch.column_by_name("shop_id").and_then(|column| column.as_string_opt::<i32>());
        let ids = batch.column_by_name("offer_id").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let skus = batch.column_by_name("sku_id").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let tiers = batch.column_by_name("tier_no").and_then(|column| column.as_primitive_opt::<Int32Type>());
        let mut shop: Option<Arc<str>> = None;
        let lines = (0..batch.num_rows()).map(|row| {
            let name = shops.and_then(|shops| shops.is_valid(row).then(|| shops.value(row)));
            if shop.as_deref() != name {
                shop = name.map(Arc::from);
            }
            Line {
                shop_id: shop.clone(),
                offer_id: ids.map(|ids| ids.value(row)).unwrap_or_default(),
                inner: (
                    skus.and_then(|skus| skus.is_valid(row).then(|| skus.value(row))),
                    tiers.and_then(|tiers| tiers.is_valid(row).then(|| tiers.value(row))),
                ),
                bytes: converted.row(row).as_ref().into(),
                batch: Arc::clone(&batch),
                row,
            }
        });
        Ok(lines.collect())
    }

    fn each(&self, side: Side<'_>, mut take: impl FnMut(Line) -> Result<()>) -> Result<()> {
        let Some(entry) = side.entry else { return Ok(()) };
        read(side.store, entry, self.table, None, |batch| self.lines(&batch)?.into_iter().try_for_each(&mut take))
    }
}

/// The account of one table.
struct Found {
    difference: TableDifference,
}

impl Found {
    fn new(table: Table) -> Self {
        let columns = Vec::new();
        Self { difference: TableDifference { table, before: 0, after: 0, new: 0, gone: 0, changed: 0, columns } }
    }

    /// Counts the rows of one offer (or shop).
    fn group(&mut self, before: Vec<Line>, mut after: Vec<Line>) -> Result<()> {
        self.difference.before += length(before.len());
        self.difference.after += length(after.len());
        for old in before {
            let Some(at) = after.iter().position(|new| new.inner == old.inner) else {
                self.difference.gone += 1;
                continue;
            };
            // The order stays, for rows that are alike.
            let new = after.remove(at);
            if old.bytes != new.bytes {
                self.difference.changed += 1;
                self.changed(&old, &new)?;
            }
        }
        self.difference.new += length(after.len());
        Ok(())
    }

    fn changed(&mut self, old: &Line, new: &Line) -> Result<()> {
        for (index, field) in old.batch.schema_ref().fields().iter().enumerate() {
            let (before, after) =
                (old.batch.column(index).slice(old.row, 1), new.batch.column(index).slice(new.row, 1));
            if before.as_ref() == after.as_ref() {
                continue;
            }
            let columns = &mut self.difference.columns;
            let at = columns.iter().position(|column| column.column == *field.name()).unwrap_or_else(|| {
                columns.push(ColumnDifference { column: field.name().clone(), rows: 0, examples: Vec::new() });
                columns.len() - 1
            });
            columns[at].rows += 1;
            if columns[at].examples.len() < EXAMPLES_MAX {
                let row = old.describe(self.difference.table);
                let (before, after) = (text(&before)?, text(&after)?);
                columns[at].examples.push(Example { row, before, after });
            }
        }
        Ok(())
    }

    /// Counts rows without a key by what they say.
    fn count_unkeyed(&mut self, reader: &Reader, before: Side<'_>, after: Side<'_>) -> Result<()> {
        let mut more: HashMap<u128, i64> = HashMap::new();
        for (side, one) in [(before, -1), (after, 1)] {
            let mut rows = 0;
            reader.each(side, |line| {
                rows += 1;
                *more.entry(xxh3_128(&line.bytes)).or_default() += one;
                Ok(())
            })?;
            if one < 0 { self.difference.before = rows } else { self.difference.after = rows }
        }
        for more in more.into_values() {
            self.difference.new += u64::try_from(more).unwrap_or(0);
            self.difference.gone += u64::try_from(-more).unwrap_or(0);
        }
        Ok(())
    }
}

/// The only value of an array.
fn text(array: &dyn Array) -> Result<Option<String>> {
    if array.is_null(0) {
        return Ok(None);
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options).map_err(|source| broken().caused_by(source))?;
    Ok(Some(formatter.value(0).to_string()))
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn broken() -> Error {
    Error::data("two pictures cannot be compared")
}
