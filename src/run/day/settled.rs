//! What became of the offers of a day.

use arrow::array::RecordBatch;

use crate::base::{Budget, Result};
use crate::transform::names::ShopNames;
use crate::transform::picture::{self, Picture};
use crate::transform::rows::{self, QuarantineRow};
use crate::transform::shops::{self, Fate, Fetched, Verdict};
use crate::transform::sort::{Fields, Record, Sorted, Sorter};

/// Rows of held shops in one batch of `quarantine`.
const HELD_BATCH_ROWS: usize = 8192;

/// What became of all offers.
pub(super) struct Settled {
    pub(super) verdict: Verdict,
    pub(super) picture: Picture,
    /// Records of today that stand in the picture, or whose offers' rows before stand for them.
    pub(super) loaded: i64,
    /// Rows of the picture that goes on, of offers that were not fetched.
    pub(super) carried: i64,
    /// What was fetched of held shops.
    pub(super) held: Sorted<Held>,
}

impl Settled {
    pub(super) fn of(
        fetched: &Fetched<'_>,
        before: &shops::Previous,
        mut verdict: Verdict,
        mut picture: picture::Builder,
        budget: &Budget,
    ) -> Result<Self> {
        let (mut loaded, mut carried, mut held) = (0, 0, Sorter::new(budget));
        shops::settle(fetched, before, &mut verdict, |settled| {
            if let Some(record) = settled.held {
                held.push(Held { offer_id: record.offer_id, number: record.number, shop: record.shop })?;
            }
            match settled.fate {
                Fate::Stands(record, detail) => {
                    loaded += 1;
                    picture.fetched(record, detail.as_ref())
                }
                Fate::Kept(row) => {
                    loaded += 1;
                    picture.carried(&row)
                }
                Fate::Carried(row) => {
                    carried += 1;
                    picture.carried(&row)
                }
                Fate::Delisted(origin, row) => picture.delisted(origin, &row),
                Fate::Gone => Ok(()),
            }
        })?;
        Ok(Self { verdict, picture: picture.finish()?, loaded, carried, held: held.finish()? })
    }
}

/// A record of a held shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    offer_id: i64,
    number: i64,
    shop: u32,
}

impl Record for Held {
    const BYTES: usize = 20;

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.offer_id.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.shop.to_le_bytes());
    }

    fn take(fields: &mut Fields<'_>) -> Self {
        Self { offer_id: fields.i64(), number: fields.i64(), shop: fields.u32() }
    }
}

/// What was fetched of held shops goes to quarantine, batch by batch.
pub(super) fn held_rows<'s>(
    settled: &'s Settled,
    names: &'s ShopNames,
    gateway: &'s str,
    run_id: &'s str,
) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
    let row = move |held: Held| {
        let shop_id = names.name(held.shop)?.to_string();
        let reason = settled.verdict.held.get(&shop_id)?;
        Some(QuarantineRow {
            gateway: gateway.to_owned(),
            offer_id: Some(held.offer_id),
            stage: "publish",
            reason: format!("its shop is incomplete and held back: {reason}"),
            shop_id: Some(shop_id),
            field: None,
            value: None,
            raw_ref: format!("{run_id}/{}", held.number),
            record: String::new(),
        })
    };
    let mut records = settled.held.iter()?;
    Ok(std::iter::from_fn(move || {
        let batch: Result<Vec<Held>> = records.by_ref().take(HELD_BATCH_ROWS).collect();
        match batch {
            Ok(batch) if batch.is_empty() => None,
            Ok(batch) => Some(rows::quarantine(run_id, &batch.into_iter().filter_map(row).collect::<Vec<_>>())),
            Err(error) => Some(Err(error)),
        }
    }))
}
