//! What today's answers and the pictures before say, offer by offer.
//!
//! Takes the keys of all records, sorted by offer; gives one after the other what is known of each offer: its records
//! of today, the best first, and its rows of the pictures before. Offers in two shops, and those that have moved, meet
//! here whatever their shops.
//!
//! Memory: the records of one offer.

use std::cmp::Ordering;

use crate::base::Result;

use super::names;
use super::sort::{Fields, Record, Records, Sorted};

/// A record fetched today, and where its row lies.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// The offer.
    pub offer_id: i64,
    /// The record is the offer's own detail, beside that of a listing.
    pub is_detail: bool,
    /// It is the row before of an offer whose detail still holds, with SKUs of today.
    pub is_renewed: bool,
    /// Modification time in µs; `i64::MIN` where none is stated.
    pub modified_at: i64,
    /// Fetch time in µs.
    pub fetched_at: i64,
    /// The response's number in the run.
    pub number: i64,
    /// The record's place in the response.
    pub position: u32,
    /// Its shop's number.
    pub shop: u32,
    /// Hash of the content columns.
    pub content_hash: i64,
    /// Every SKU it names has a row.
    pub sku_complete: bool,
    /// It has a wholesale, spread or channel price.
    pub price_complete: bool,
    /// It states a MOQ.
    pub moq_stated: bool,
    /// The chunk that holds its row.
    pub chunk: u32,
    /// The row of the chunk.
    pub row: u32,
}

impl Candidate {
    /// Of several records of an offer the greatest counts: a detail, modified last, then fetched last.
    fn rank(&self) -> (bool, i64, i64, i64, u32) {
        (self.is_detail, self.modified_at, self.fetched_at, self.number, self.position)
    }
}

/// By offer, the best record first.
impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.offer_id.cmp(&other.offer_id).then_with(|| other.rank().cmp(&self.rank()))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

impl Record for Candidate {
    const BYTES: usize = 57;

    fn put(&self, bytes: &mut Vec<u8>) {
        for number in [self.offer_id, self.modified_at, self.fetched_at, self.number, self.content_hash] {
            bytes.extend(number.to_le_bytes());
        }
        for number in [self.position, self.shop, self.chunk, self.row] {
            bytes.extend(number.to_le_bytes());
        }
        let flags = [self.is_detail, self.sku_complete, self.price_complete, self.moq_stated];
        bytes.push(pack(flags) | u8::from(self.is_renewed) << 4);
    }

    fn take(fields: &mut Fields<'_>) -> Self {
        let [offer_id, modified_at, fetched_at, number, content_hash] = [(); 5].map(|()| fields.i64());
        let [position, shop, chunk, row] = [(); 4].map(|()| fields.u32());
        let flags = fields.byte();
        let is_renewed = flags >> 4 == 1;
        let [is_detail, sku_complete, price_complete, moq_stated] = unpack(flags);
        Self {
            offer_id,
            is_detail,
            is_renewed,
            modified_at,
            fetched_at,
            number,
            position,
            shop,
            content_hash,
            sku_complete,
            price_complete,
            moq_stated,
            chunk,
            row,
        }
    }
}

/// An offer of a picture before, and where its row lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    /// The offer.
    pub offer_id: i64,
    /// Its shop's number.
    pub shop: u32,
    /// Its content.
    pub content_hash: i64,
    /// When it was modified last, in µs.
    pub modified_at: Option<i64>,
    /// Its row was made of its detail.
    pub detailed: bool,
    /// The SKUs it named all have a row, as far as is known how many these were; or it has none by its quote type.
    pub sku_complete: bool,
    /// It has no SKUs by its quote type.
    pub without_skus: bool,
    /// Its row has a wholesale, spread or channel price.
    pub price_complete: bool,
    /// It was called delisted there.
    pub delisted: bool,
    /// Its row, over all files of `offers`.
    pub row: u64,
}

impl Default for Earlier {
    fn default() -> Self {
        Self {
            offer_id: 0,
            shop: names::NONE,
            content_hash: 0,
            modified_at: None,
            detailed: false,
            sku_complete: false,
            without_skus: false,
            price_complete: false,
            delisted: false,
            row: 0,
        }
    }
}

/// By offer.
impl Ord for Earlier {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.offer_id, self.row).cmp(&(other.offer_id, other.row))
    }
}

impl PartialOrd for Earlier {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Record for Earlier {
    const BYTES: usize = 37;

    fn put(&self, bytes: &mut Vec<u8>) {
        for number in [self.offer_id, self.content_hash, self.modified_at.unwrap_or_default()] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.row.to_le_bytes());
        bytes.extend(self.shop.to_le_bytes());
        let stated = self.modified_at.is_some();
        let flags = [self.detailed, self.sku_complete, self.price_complete, self.delisted];
        bytes.push(pack(flags) | u8::from(stated) << 4 | u8::from(self.without_skus) << 5);
    }

    fn take(fields: &mut Fields<'_>) -> Self {
        let [offer_id, content_hash, modified_at] = [(); 3].map(|()| fields.i64());
        let (row, shop, flags) = (fields.u64(), fields.u32(), fields.byte());
        let modified_at = (flags >> 4 & 1 == 1).then_some(modified_at);
        let without_skus = flags >> 5 & 1 == 1;
        let [detailed, sku_complete, price_complete, delisted] = unpack(flags);
        Self {
            offer_id,
            shop,
            content_hash,
            modified_at,
            detailed,
            sku_complete,
            without_skus,
            price_complete,
            delisted,
            row,
        }
    }
}

fn pack(flags: [bool; 4]) -> u8 {
    flags.into_iter().rev().fold(0, |packed, flag| packed << 1 | u8::from(flag))
}

fn unpack(packed: u8) -> [bool; 4] {
    [0, 1, 2, 3].map(|bit| packed >> bit & 1 == 1)
}

/// The keys that are joined, each sorted by offer.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'k> {
    /// Of today's records.
    pub fetched: &'k Sorted<Candidate>,
    /// Of the picture of the day before.
    pub before: &'k Sorted<Earlier>,
    /// Of the picture of the same day that is replaced, where there is one.
    pub replaced: Option<&'k Sorted<Earlier>>,
}

/// What is known of one offer.
#[derive(Debug)]
pub struct Known<'j> {
    /// The offer.
    pub offer_id: i64,
    /// Its records of today, the best first.
    pub fetched: &'j [Candidate],
    /// Its row of the day before.
    pub before: Option<Earlier>,
    /// The row that goes on where today shows nothing newer: that of the replaced picture, where there is one, else
    /// that of the day before.
    pub kept: Option<Earlier>,
}

impl Known<'_> {
    /// The record of today that counts.
    #[must_use]
    pub fn winner(&self) -> Option<&Candidate> {
        self.fetched.first()
    }
}

impl Keys<'_> {
    /// Hands on what is known of each offer, in the order of their ids.
    ///
    /// # Errors
    /// [`crate::base::Kind::Storage`] when a temporary file cannot be read; what `take` returns.
    pub fn join(&self, mut take: impl FnMut(Known<'_>) -> Result<()>) -> Result<()> {
        let (mut today, mut before) = (self.fetched.iter()?, self.before.iter()?);
        let mut replaced = self.replaced.map(Sorted::iter).transpose()?;
        let mut fetched = Vec::new();
        loop {
            let heads = [
                today.peek().map(|head| head.offer_id),
                before.peek().map(|head| head.offer_id),
                replaced.as_ref().and_then(Records::peek).map(|head| head.offer_id),
            ];
            let Some(offer_id) = heads.into_iter().flatten().min() else { return Ok(()) };
            fetched.clear();
            while today.peek().is_some_and(|head| head.offer_id == offer_id) {
                fetched.extend(today.next().transpose()?);
            }
            let before = of_offer(&mut before, offer_id)?;
            let kept = match &mut replaced {
                Some(replaced) => of_offer(replaced, offer_id)?,
                None => before,
            };
            take(Known { offer_id, fetched: &fetched, before, kept })?;
        }
    }
}

/// The row of an offer, which stands in a picture once.
fn of_offer(rows: &mut Records<'_, Earlier>, offer_id: i64) -> Result<Option<Earlier>> {
    let mut found = None;
    while rows.peek().is_some_and(|head| head.offer_id == offer_id) {
        found = rows.next().transpose()?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::sort::Sorter;
    use super::*;
    use crate::base::Budget;

    fn candidate(offer_id: i64, modified_at: i64, number: i64) -> Candidate {
        Candidate {
            offer_id,
            is_detail: false,
            is_renewed: false,
            modified_at,
            fetched_at: 0,
            number,
            position: 0,
            shop: 0,
            content_hash: 0,
            sku_complete: true,
            price_complete: true,
            moq_stated: true,
            chunk: 0,
            row: 0,
        }
    }

    fn sorted<R: Record>(records: &[R]) -> Sorted<R> {
        let mut sorter = Sorter::new(&Budget::new(0));
        records.iter().for_each(|record| sorter.push(*record).unwrap());
        sorter.finish().unwrap()
    }

    #[test]
    fn the_record_modified_last_counts_then_the_one_fetched_last_and_a_detail_before_all() {
        let mut detail = candidate(1, 0, 1);
        detail.is_detail = true;
        let records = [candidate(2, 5, 4), candidate(1, 9, 3), detail, candidate(2, 5, 6), candidate(2, 4, 7)];
        let (fetched, none) = (sorted(&records), Sorted::default());
        let mut found = Vec::new();
        let keys = Keys { fetched: &fetched, before: &none, replaced: None };
        keys.join(|known| {
            found.push((known.offer_id, known.fetched.iter().map(|record| record.number).collect::<Vec<_>>()));
            Ok(())
        })
        .unwrap();
        assert_eq!(found, [(1, vec![1, 3]), (2, vec![6, 4, 7])]);
    }

    #[test]
    fn of_records_modified_at_once_the_one_fetched_last_counts_whatever_its_number_then_the_later_place() {
        let fetched = |number, fetched_at, position| Candidate { fetched_at, position, ..candidate(1, 5, number) };
        // An answer that was used again instead of asked for has a later number and was fetched earlier.
        let records = [fetched(9, 1, 0), fetched(2, 7, 0), fetched(2, 7, 3)];
        let (today, none) = (sorted(&records), Sorted::default());
        let mut order = Vec::new();
        let keys = Keys { fetched: &today, before: &none, replaced: None };
        keys.join(|known| {
            order.extend(known.fetched.iter().map(|record| (record.number, record.position)));
            Ok(())
        })
        .unwrap();
        assert_eq!(order, [(2, 3), (2, 0), (9, 0)]);
    }

    #[test]
    fn each_offer_meets_its_rows_of_both_pictures_before() {
        let earlier = |ids: &[i64]| {
            sorted(&ids.iter().map(|id| Earlier { offer_id: *id, ..Earlier::default() }).collect::<Vec<_>>())
        };
        let (fetched, before, replaced) = (sorted(&[candidate(3, 0, 1)]), earlier(&[1, 3, 5]), earlier(&[3, 4, 5]));
        let check = |replaced, expected: &[(i64, bool, bool, bool)]| {
            let mut found = Vec::new();
            let keys = Keys { fetched: &fetched, before: &before, replaced };
            keys.join(|known| {
                let has = (known.winner().is_some(), known.before.is_some(), known.kept.is_some());
                found.push((known.offer_id, has.0, has.1, has.2));
                Ok(())
            })
            .unwrap();
            assert_eq!(found, expected);
        };
        check(None, &[(1, false, true, true), (3, true, true, true), (5, false, true, true)]);
        let with_both =
            [(1, false, true, false), (3, true, true, true), (4, false, false, true), (5, false, true, true)];
        check(Some(&replaced), &with_both);
    }

    #[test]
    fn keys_are_read_as_they_were_written() {
        let candidate = Candidate {
            offer_id: -7,
            is_detail: true,
            is_renewed: true,
            modified_at: i64::MIN,
            fetched_at: 3,
            number: 4,
            position: 5,
            shop: names::NONE,
            content_hash: i64::MAX,
            sku_complete: false,
            price_complete: true,
            moq_stated: false,
            chunk: 6,
            row: 8,
        };
        let mut bytes = Vec::new();
        candidate.put(&mut bytes);
        assert_eq!(bytes.len(), Candidate::BYTES);
        assert_eq!(format!("{:?}", Candidate::take(&mut Fields(&bytes))), format!("{candidate:?}"));
        for modified_at in [None, Some(-1)] {
            let shop = 9;
            let earlier = Earlier {
                offer_id: 1,
                shop,
                modified_at,
                detailed: true,
                without_skus: modified_at.is_none(),
                row: 1 << 40,
                ..Earlier::default()
            };
            bytes.clear();
            earlier.put(&mut bytes);
            assert_eq!((bytes.len(), Earlier::take(&mut Fields(&bytes))), (Earlier::BYTES, earlier));
        }
    }
}
