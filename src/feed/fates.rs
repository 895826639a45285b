//! What became of each offer between two pictures: a merge of both, sorted by shop and offer, by their content hashes.
//!
//! Memory: one batch of each picture, and some 32 bytes for each offer that differs; never the offers of a picture.
//!
//! Invariant: an offer is gone only where its shop is complete, or where the picture says that it was delisted.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use crate::base::{Error, Result};
use crate::load::{Entry, lost};
use crate::store::Store;
use crate::transform::contract::Table;

use super::Sensitivity;
use super::rows::Rows;

/// What became of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The picture before did not have it, and its shop is complete in both.
    New,
    /// The picture before did not have it, or had it delisted; its shop is not complete in both.
    Appeared,
    /// Both have it, with other content.
    Changed,
    /// The picture has the row that says that it was delisted.
    Delisted,
    /// The picture lacks it, and its shop is complete.
    Gone,
    /// The picture lacks it, which proves nothing.
    Dropped,
}

/// What became of the offers that differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fates {
    /// There was no picture before: whatever is there appeared.
    First,
    /// By offer id, ascending.
    Differ(Vec<(i64, Fate)>),
}

impl Fates {
    /// What became of an offer; `None`: nothing that is told.
    #[must_use]
    pub fn of(&self, offer_id: i64) -> Option<Fate> {
        match self {
            Self::First => Some(Fate::Appeared),
            Self::Differ(fates) => {
                fates.binary_search_by_key(&offer_id, |(id, _)| *id).ok().map(|place| fates[place].1)
            }
        }
    }

    /// Whether some offer has one of these fates.
    #[must_use]
    pub fn any(&self, wanted: &[Fate]) -> bool {
        match self {
            Self::First => wanted.contains(&Fate::Appeared),
            Self::Differ(fates) => fates.iter().any(|(_, fate)| wanted.contains(fate)),
        }
    }
}

/// Compares two pictures.
///
/// # Errors
/// `Storage` when a file cannot be read, `Data` when its rows are out of order.
pub async fn between(store: &Store, before: Option<&Entry>, after: &Entry, sensitivity: Sensitivity) -> Result<Fates> {
    let Some(before) = before else { return Ok(Fates::First) };
    let shops = Shops { before: complete(store, before).await?, after: complete(store, after).await? };
    let (mut old, mut new) = (Side::open(store, before).await?, Side::open(store, after).await?);
    let mut merge = Merge::default();
    loop {
        let order = match (old.key(), new.key()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.cmp(&new),
        };
        let (seen_before, seen_after) = (order.is_le().then(|| old.seen()), order.is_ge().then(|| new.seen()));
        merge.add(seen_before.flatten(), seen_after.flatten(), sensitivity, &shops);
        if order.is_le() {
            old.advance().await?;
        }
        if order.is_ge() {
            new.advance().await?;
        }
    }
    Ok(Fates::Differ(merge.finish()))
}

/// The shops that are complete in a picture.
async fn complete(store: &Store, entry: &Entry) -> Result<HashSet<String>> {
    let columns = ["shop_id", "is_complete"];
    let mut rows = Rows::new(store, Table::Shops, entry.files(Table::Shops), Some(&columns))?;
    let mut complete = HashSet::new();
    while let Some(batch) = rows.next().await? {
        let (ids, flags) = (batch.column(0).as_string::<i32>(), batch.column(1).as_boolean());
        let whole = (0..batch.num_rows()).filter(|&row| ids.is_valid(row) && flags.is_valid(row) && flags.value(row));
        complete.extend(whole.map(|row| ids.value(row).to_owned()));
    }
    Ok(complete)
}

/// The complete shops of both pictures.
struct Shops {
    before: HashSet<String>,
    after: HashSet<String>,
}

impl Shops {
    fn proves_gone(&self, shop: Option<&str>) -> bool {
        shop.is_some_and(|shop| self.after.contains(shop))
    }

    fn proves_new(&self, shop: Option<&str>) -> bool {
        shop.is_some_and(|shop| self.after.contains(shop) && self.before.contains(shop))
    }
}

/// One offer of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen<'b> {
    shop: Option<&'b str>,
    offer_id: i64,
    content: i64,
    volatile: i64,
    is_delisted: bool,
}

/// What the merge has found so far.
#[derive(Debug, Default)]
struct Merge {
    /// Live before, and after not at the same place of the order.
    left: Vec<(i64, Fate)>,
    /// Live after, and before not at the same place.
    came: Vec<(i64, Fate)>,
    /// Called delisted after, and before not at the same place.
    delisted: Vec<i64>,
    /// Live in both and not the same.
    changed: Vec<i64>,
}

impl Merge {
    /// Takes what stands at one place of the order in one picture or in both.
    fn add(&mut self, before: Option<Seen<'_>>, after: Option<Seen<'_>>, sensitivity: Sensitivity, shops: &Shops) {
        let live = |seen: Option<Seen<'_>>| seen.is_some_and(|seen| !seen.is_delisted);
        match (before, after) {
            (Some(old), Some(new)) if live(before) && live(after) => {
                let volatile = sensitivity == Sensitivity::Volatile && old.volatile != new.volatile;
                if old.content != new.content || volatile {
                    self.changed.push(new.offer_id);
                }
            }
            (Some(old), Some(_)) if live(before) => self.left.push((old.offer_id, Fate::Delisted)),
            (Some(old), None) if live(before) => {
                let fate = if shops.proves_gone(old.shop) { Fate::Gone } else { Fate::Dropped };
                self.left.push((old.offer_id, fate));
            }
            (_, Some(new)) if live(after) => {
                let fate = if shops.proves_new(new.shop) { Fate::New } else { Fate::Appeared };
                self.came.push((new.offer_id, fate));
            }
            (None, Some(new)) => self.delisted.push(new.offer_id),
            _ => {}
        }
    }

    /// What became of each offer: one that left one shop and came to another has changed.
    fn finish(self) -> Vec<(i64, Fate)> {
        let mut fates: BTreeMap<i64, Fate> = BTreeMap::new();
        fates.extend(self.changed.into_iter().map(|id| (id, Fate::Changed)));
        fates.extend(self.left);
        for id in self.delisted {
            if let Some(fate) = fates.get_mut(&id).filter(|fate| **fate != Fate::Changed) {
                *fate = Fate::Delisted;
            }
        }
        for (id, fate) in self.came {
            fates.entry(id).and_modify(|fate| *fate = Fate::Changed).or_insert(fate);
        }
        fates.into_iter().collect()
    }
}

/// The offers of one picture, in their order.
struct Side<'e> {
    entry: &'e Entry,
    rows: Rows,
    batch: Option<RecordBatch>,
    row: usize,
}

/// What a merge needs of an offer.
const COLUMNS: [&str; 5] = ["shop_id", "offer_id", "content_hash", "volatile_hash", "status"];

impl<'e> Side<'e> {
    async fn open(store: &Store, entry: &'e Entry) -> Result<Self> {
        let mut rows = Rows::new(store, Table::Offers, entry.files(Table::Offers), Some(&COLUMNS))?;
        let batch = rows.next().await?;
        Ok(Self { entry, rows, batch, row: 0 })
    }

    /// Shop and offer of the row: no shop first, as the tables are sorted.
    fn key(&self) -> Option<(Option<&str>, i64)> {
        self.seen().map(|seen| (seen.shop, seen.offer_id))
    }

    fn seen(&self) -> Option<Seen<'_>> {
        let (batch, row) = (self.batch.as_ref()?, self.row);
        let text = |column: usize| {
            let texts = batch.column(column).as_string::<i32>();
            texts.is_valid(row).then(|| texts.value(row))
        };
        let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
        Some(Seen {
            shop: text(0),
            offer_id: number(1),
            content: number(2),
            volatile: number(3),
            is_delisted: text(4) == Some("delisted"),
        })
    }

    async fn advance(&mut self) -> Result<()> {
        let before = self.key().map(|(shop, offer)| (shop.map(str::to_owned), offer));
        if self.batch.as_ref().is_some_and(|batch| self.row + 1 < batch.num_rows()) {
            self.row += 1;
        } else {
            (self.batch, self.row) = (self.rows.next().await?, 0);
        }
        self.check_order(before)
    }

    /// A merge of rows out of order would find differences that are none.
    fn check_order(&self, before: Option<(Option<String>, i64)>) -> Result<()> {
        let follows = match (&before, self.key()) {
            (Some((shop, offer)), Some(key)) => (shop.as_deref(), *offer) < key,
            _ => true,
        };
        if follows {
            return Ok(());
        }
        let (seq, pipeline) = (self.entry.seq, &self.entry.pipeline);
        Err(Error::data(format!("the offers of publication {seq} of `{pipeline}` are out of order"))
            .with_hint(lost::remedy_of_day(self.entry.dt, pipeline)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(offer_id: i64, content: i64, is_delisted: bool) -> Option<Seen<'static>> {
        Some(Seen { shop: Some("s"), offer_id, content, volatile: 0, is_delisted })
    }

    fn shops(before: bool, after: bool) -> Shops {
        let of = |complete: bool| complete.then(|| "s".to_owned()).into_iter().collect();
        Shops { before: of(before), after: of(after) }
    }

    fn fate(before: Option<Seen<'_>>, after: Option<Seen<'_>>, shops: Shops) -> Option<Fate> {
        let mut merge = Merge::default();
        merge.add(before, after, Sensitivity::Content, &shops);
        merge.finish().first().map(|(_, fate)| *fate)
    }

    #[test]
    fn every_pair_of_rows_has_its_fate() {
        let (live, other, delisted) = (seen(1, 5, false), seen(1, 6, false), seen(1, 5, true));
        for (before, after, complete, expected) in [
            (None, live, (true, true), Some(Fate::New)),
            (None, live, (false, true), Some(Fate::Appeared)),
            (None, live, (true, false), Some(Fate::Appeared)),
            (delisted, live, (true, true), Some(Fate::New)),
            (live, live, (true, true), None),
            (live, other, (false, false), Some(Fate::Changed)),
            (live, delisted, (true, false), Some(Fate::Delisted)),
            (live, None, (true, true), Some(Fate::Gone)),
            (live, None, (true, false), Some(Fate::Dropped)),
            (delisted, None, (true, true), None),
            (delisted, delisted, (true, true), None),
            (None, delisted, (true, true), None),
        ] {
            assert_eq!(
                fate(before, after, shops(complete.0, complete.1)),
                expected,
                "{before:?} {after:?} {complete:?}"
            );
        }
    }

    #[test]
    fn an_offer_that_moved_to_another_shop_has_changed() {
        let mut merge = Merge::default();
        let shops = shops(true, true);
        merge.add(seen(7, 1, false), None, Sensitivity::Content, &shops);
        merge.add(None, seen(7, 1, false), Sensitivity::Content, &shops);
        assert_eq!(merge.finish(), [(7, Fate::Changed)]);
    }
}
