//! Rows of the pictures before that go on into today's: carried forward, or delisted once.
//!
//! Takes batches of the published tables in the order of their files; gives pieces like those of today's chunks.
//!
//! Memory: one batch of each table.
//!
//! Invariant: a carried row changes in nothing but `dt` and `run_id`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, StringArray, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;

use crate::base::{Error, Result};

use super::chunk::Rows;
use super::contract::Table;

/// The batches of one table.
pub type Batches<'b> = Box<dyn Iterator<Item = Result<RecordBatch>> + 'b>;

/// A published picture, piece by piece.
pub struct Published<'b> {
    offers: Batches<'b>,
    tiers: Option<Children<'b>>,
    skus: Option<Children<'b>>,
}

impl<'b> Published<'b> {
    /// Of the batches of the three tables, in the columns of their files. Nothing is read before a piece is asked for.
    #[must_use]
    pub fn new(offers: Batches<'b>, tiers: Batches<'b>, skus: Batches<'b>) -> Self {
        let children = |batches, table| Some(Children { batches, table, rest: None });
        Self { offers, tiers: children(tiers, Table::PriceTiers), skus: children(skus, Table::Skus) }
    }

    /// The same without tiers and SKUs: no row is to go on with them.
    #[must_use]
    pub fn without_children(offers: Batches<'b>) -> Self {
        Self { offers, tiers: None, skus: None }
    }

    fn read(&mut self) -> Result<Option<Rows>> {
        let Some(offers) = self.offers.next().transpose()? else { return Ok(None) };
        let offers = conform(&offers, Table::Offers)?;
        let ids = column(&offers, "offer_id")?.as_primitive::<Int64Type>();
        let children = |children: &mut Option<Children<'b>>, table: Table, counts| match children {
            Some(children) => children.of(ids.values(), column(&offers, counts)?),
            None => Ok(RecordBatch::new_empty(without_run(&*table.file_schema()?))),
        };
        let tiers = children(&mut self.tiers, Table::PriceTiers, "tier_count")?;
        let skus = children(&mut self.skus, Table::Skus, "sku_count")?;
        Ok(Some(Rows { offers, tiers, skus }))
    }
}

impl Iterator for Published<'_> {
    type Item = Result<Rows>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// The rows of a table that belong to offers, which stand in its files in the order of the offers.
struct Children<'b> {
    batches: Batches<'b>,
    table: Table,
    rest: Option<RecordBatch>,
}

impl Children<'_> {
    /// The rows of the next offers.
    fn of(&mut self, offers: &[i64], counts: &dyn Array) -> Result<RecordBatch> {
        let counts = counts.as_primitive_opt::<arrow::datatypes::Int32Type>().ok_or_else(|| self.apart())?;
        let total: i64 = counts.values().iter().map(|count| i64::from(*count)).sum();
        let rows = self.next_rows(usize::try_from(total).map_err(|_| self.apart())?)?;
        let found = column(&rows, "offer_id")?.as_primitive::<Int64Type>().values();
        let owners = offers.iter().zip(counts.values());
        let owners = owners.flat_map(|(id, count)| std::iter::repeat_n(id, usize::try_from(*count).unwrap_or(0)));
        if owners.eq(found.iter()) { Ok(rows) } else { Err(self.apart()) }
    }

    fn next_rows(&mut self, rows: usize) -> Result<RecordBatch> {
        let (mut parts, mut missing) = (Vec::new(), rows);
        while missing > 0 {
            let batch = match self.rest.take() {
                Some(rest) => rest,
                None => conform(&self.batches.next().transpose()?.ok_or_else(|| self.apart())?, self.table)?,
            };
            let taken = missing.min(batch.num_rows());
            parts.push(batch.slice(0, taken));
            self.rest = (taken < batch.num_rows()).then(|| batch.slice(taken, batch.num_rows() - taken));
            missing -= taken;
        }
        match &parts[..] {
            [part] => Ok(part.clone()),
            parts => concat_batches(&without_run(&*self.table.file_schema()?), parts).map_err(broken),
        }
    }

    fn apart(&self) -> Error {
        Error::data(format!("the published rows of `{}` do not belong to those of `offers`", self.table))
    }
}

/// A table's file schema without the run id, which every publication writes anew.
pub(super) fn without_run(schema: &arrow::datatypes::Schema) -> arrow::datatypes::SchemaRef {
    let fields: arrow::datatypes::Fields =
        schema.fields().iter().filter(|field| field.name() != "run_id").cloned().collect();
    Arc::new(arrow::datatypes::Schema::new(fields))
}

/// A published batch in the columns of today's contract, without the run id: a column that it was written before is null.
///
/// # Errors
/// [`crate::base::Kind::Data`] when a column is missing that may not be null.
pub fn conform(batch: &RecordBatch, table: Table) -> Result<RecordBatch> {
    let schema = without_run(&*table.file_schema()?);
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => Ok(Arc::clone(column)),
        None if field.is_nullable() => Ok(new_null_array(field.data_type(), batch.num_rows())),
        None => Err(Error::data(format!("a published file has no column `{}`", field.name()))),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(&schema), columns).map_err(broken)
}

/// The rows as they stand on the first day after they were listed last: `status = delisted`, no tiers, no SKUs.
pub(super) fn delist(offers: &RecordBatch) -> Result<RecordBatch> {
    let rows = offers.num_rows();
    let schema = offers.schema();
    let columns = schema.fields().iter().zip(offers.columns()).map(|(field, column)| -> ArrayRef {
        let text = |value: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows)));
        match field.name().as_str() {
            "status" => text("delisted"),
            "ladder_status" => text("missing"),
            "price_source" => text("none"),
            "tier_count" | "sku_count" => Arc::new(Int32Array::from_iter_values(std::iter::repeat_n(0, rows))),
            "min_piece_price" | "max_piece_price" => new_null_array(field.data_type(), rows),
            _ => Arc::clone(column),
        }
    });
    let columns = columns.collect();
    RecordBatch::try_new(Arc::clone(&schema), columns).map_err(broken)
}

fn column<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| Error::data(format!("a published file has no column `{name}`")))
}

fn broken(error: arrow::error::ArrowError) -> Error {
    Error::data("the picture before cannot be carried forward").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::super::columns::{Builder, Origin};
    use super::super::hash::Hashes;
    use super::super::offer::{Offer, PriceSource, Tier};
    use super::*;
    use crate::base::Money;

    /// Offers by id, with so many tiers.
    fn rows(offers: &[(i64, i32)]) -> Rows {
        let tier = |tier_no| Tier {
            sku_id: None,
            tier_no,
            min_quantity: i64::from(tier_no),
            max_quantity: None,
            min_pieces: None,
            max_pieces: None,
            unit_price: Money::from_units(7),
            piece_price: None,
            price_source: PriceSource::Sku,
        };
        let mut rows = Builder::default();
        for (offer_id, tiers) in offers {
            let offer = Offer { offer_id: *offer_id, tiers: (1..=*tiers).map(tier).collect(), ..Offer::default() };
            rows.append(
                &offer,
                &Origin {
                    gateway: "test",
                    fetched_at: 5,
                    skus_fetched_at: &[],
                    observed_dt: 0,
                    raw_ref: "r/1",
                    detail_fetched_at: None,
                    hashes: Hashes { content: 0, volatile: 0 },
                },
            );
        }
        rows.finish().unwrap()
    }

    fn cut(batch: &RecordBatch, rows: usize) -> Batches<'static> {
        let batch = batch.clone();
        let starts = (0..batch.num_rows()).step_by(rows);
        Box::new(starts.map(move |start| Ok(batch.slice(start, rows.min(batch.num_rows() - start)))))
    }

    fn ids(batch: &RecordBatch) -> Vec<i64> {
        column(batch, "offer_id").unwrap().as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn offers_meet_their_tiers_however_the_batches_are_cut() {
        let Rows { offers, tiers, skus } = rows(&[(1, 2), (2, 0), (3, 3), (4, 1)]);
        let tiers_of = |id: &i64| ids(&tiers).into_iter().filter(|owner| owner == id).collect::<Vec<_>>();
        for (of_offers, of_tiers) in (1..=4).flat_map(|of_offers| (1..=6).map(move |of_tiers| (of_offers, of_tiers))) {
            let published = Published::new(cut(&offers, of_offers), cut(&tiers, of_tiers), cut(&skus, 1));
            let mut found = Vec::new();
            for piece in published {
                let piece = piece.unwrap();
                let expected: Vec<i64> = ids(&piece.offers).iter().flat_map(tiers_of).collect();
                assert_eq!(ids(&piece.tiers), expected, "{of_offers} {of_tiers}");
                found.extend(ids(&piece.offers));
            }
            assert_eq!(found, [1, 2, 3, 4]);
        }
    }

    #[test]
    fn tiers_that_are_not_those_of_the_offers_are_refused() {
        let published = rows(&[(1, 2), (2, 1)]);
        for tiers in [rows(&[(1, 1), (2, 2)]), rows(&[(1, 2)]), rows(&[(1, 2), (3, 1)]), rows(&[])] {
            let (offers, skus) = (cut(&published.offers, 9), cut(&published.skus, 9));
            let refused = Published::new(offers, cut(&tiers.tiers, 9), skus).next().unwrap();
            let error = refused.err().unwrap();
            assert_eq!(error.to_string(), "the published rows of `price_tiers` do not belong to those of `offers`");
        }
    }
}
