use std::sync::Arc;

use arrow::array::{Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;

use super::super::chunk::Key;
use super::super::names::ShopNames;
use super::*;

/// One offer of a test: shop, id, tiers, SKUs.
type Made = (u8, i64, u8, u8);

fn rows(made: &[Made]) -> Rows {
    let schema = |count: &[&str]| {
        let mut fields = vec![Field::new("offer_id", DataType::Int64, false)];
        fields.extend(count.iter().map(|name| Field::new(*name, DataType::Int32, false)));
        Arc::new(Schema::new(fields))
    };
    let repeated = |count: fn(&Made) -> u8| {
        let ids = made.iter().flat_map(|made| std::iter::repeat_n(made.1, count(made) as usize));
        RecordBatch::try_new(schema(&[]), vec![Arc::new(Int64Array::from_iter_values(ids))]).unwrap()
    };
    let counts =
        |count: fn(&Made) -> u8| Arc::new(Int32Array::from_iter_values(made.iter().map(|made| i32::from(count(made)))));
    let ids = Arc::new(Int64Array::from_iter_values(made.iter().map(|made| made.1)));
    let columns = vec![ids as _, counts(|made| made.2) as _, counts(|made| made.3) as _];
    let offers = RecordBatch::try_new(schema(&["tier_count", "sku_count"]), columns).unwrap();
    Rows { offers, tiers: repeated(|made| made.2), skus: repeated(|made| made.3) }
}

fn shop_id(made: &Made) -> Option<String> {
    (made.0 > 0).then(|| format!("shop-{}", made.0))
}

fn key(made: &Made) -> Key {
    Key {
        shop_id: shop_id(made).map(Into::into),
        offer_id: made.1,
        modified_at: 0,
        fetched_at: 0,
        number: 1,
        position: 0,
        content_hash: 0,
        is_detail: false,
        is_renewed: false,
        sku_complete: true,
        price_complete: true,
        moq_stated: true,
    }
}

/// A picture of all rows of these chunks, and of every second row of the picture before; what it holds.
fn picture(chunks: &[Vec<Made>], earlier: &[Made], budget: usize, chunks_max: usize) -> [Vec<i64>; 3] {
    let (names, budget) = (ShopNames::default(), Budget::new(budget));
    let mut candidates = Vec::new();
    let mut made = Vec::new();
    for (number, chunk) in (0..).zip(chunks) {
        let (rows, keys) = rows(chunk).sorted(&chunk.iter().map(key).collect::<Vec<_>>()).unwrap();
        candidates.extend((0..).zip(keys).map(|(row, key)| candidate(&key, &names, number, row)));
        made.push(Chunk::new(rows, &budget).unwrap());
    }
    let earlier_keys: Vec<Earlier> = (0..)
        .zip(earlier)
        .map(|(row, made)| Earlier {
            offer_id: made.1,
            shop: names.number(shop_id(made).as_deref()),
            row,
            ..Earlier::default()
        })
        .collect();
    let mut builder = Builder::new(made, names.places(), &budget);
    candidates.iter().for_each(|candidate| builder.fetched(candidate, None).unwrap());
    earlier_keys.iter().step_by(2).for_each(|row| builder.carried(row).unwrap());
    let picture = builder.finish_by(chunks_max).unwrap();
    assert!(picture.chunks.len() <= chunks_max);
    let mut all = [Vec::new(), Vec::new(), Vec::new()];
    let before = earlier.chunks(3).map(|part| Ok(rows(part)));
    let write = |rows: Rows| {
        for (all, batch) in all.iter_mut().zip([&rows.offers, &rows.tiers, &rows.skus]) {
            all.extend(batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values());
        }
        Ok(())
    };
    picture.write(Box::new(before), Box::new(std::iter::empty()), write).unwrap();
    assert_eq!(picture.len(), all[0].len() as u64);
    all
}

fn candidate(key: &Key, names: &ShopNames, chunk: u32, row: u32) -> Candidate {
    Candidate {
        offer_id: key.offer_id,
        is_detail: false,
        is_renewed: false,
        modified_at: 0,
        fetched_at: 0,
        number: 1,
        position: 0,
        shop: names.number(key.shop_id.as_deref()),
        content_hash: 0,
        sku_complete: true,
        price_complete: true,
        moq_stated: true,
        chunk,
        row,
    }
}

proptest! {
    #[test]
    fn any_budget_gives_all_rows_in_order_with_their_own_tiers_and_skus(
        made in prop::collection::vec((0..4_u8, 0..4_u8, 0..3_u8), 0..120),
        chunk_rows in 1..30_usize,
    ) {
        // Ids are unique in a picture: a third of the offers is of the picture before.
        let made: Vec<Made> = (0..).zip(made).map(|(id, (shop, tiers, skus))| (shop, id * 7 % 120, tiers, skus)).collect();
        let (fetched, earlier) = made.split_at(made.len() / 3 * 2);
        let mut earlier = earlier.to_vec();
        earlier.sort_by_key(|made| (shop_id(made), made.1));
        let chunks: Vec<Vec<Made>> = fetched.chunks(chunk_rows).map(<[Made]>::to_vec).collect();
        let mut expected: Vec<Made> = fetched.iter().chain(earlier.iter().step_by(2)).copied().collect();
        expected.sort_by_key(|made| (shop_id(made), made.1));
        let of = |count: fn(&Made) -> u8| {
            expected.iter().flat_map(|made| std::iter::repeat_n(made.1, count(made) as usize)).collect::<Vec<_>>()
        };
        let expected = [of(|_| 1), of(|made| made.2), of(|made| made.3)];
        for (budget, chunks_max) in [(1 << 20, 128), (0, 128), (0, 2), (3000, 3)] {
            prop_assert_eq!(&picture(&chunks, &earlier, budget, chunks_max), &expected);
        }
    }
}

#[test]
fn a_picture_larger_than_a_batch_keeps_its_order() {
    let made: Vec<Made> = (0..20_000).map(|id| ((id % 3) as u8, 20_000 - id, (id % 4) as u8, (id % 2) as u8)).collect();
    let chunks = [made[..9_000].to_vec(), made[9_000..].to_vec()];
    let in_memory = picture(&chunks, &[], 1 << 30, 2);
    assert_eq!(in_memory[0].len(), 20_000);
    assert_eq!(picture(&chunks, &[], 0, 2), in_memory);
}

#[test]
fn counts_that_do_not_add_up_are_our_bug() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("tier_count", DataType::Int32, false),
        Field::new("sku_count", DataType::Int32, false),
    ]));
    let offers =
        RecordBatch::try_new(schema, vec![Arc::new(Int32Array::from(vec![-1])), Arc::new(Int32Array::from(vec![0]))])
            .unwrap();
    let rows = Rows { tiers: offers.slice(0, 0), skus: offers.slice(0, 0), offers };
    assert!(rows.sorted(&[]).is_err());
}

#[test]
fn files_that_have_lost_rows_are_an_error() {
    let mut builder = Builder::new(Vec::new(), Places::default(), &Budget::new(0));
    builder.carried(&Earlier { row: 3, ..Earlier::default() }).unwrap();
    let before = std::iter::once(Ok(rows(&[(1, 1, 1, 1)])));
    let written = builder.finish().unwrap().write(Box::new(before), Box::new(std::iter::empty()), |_| Ok(()));
    assert_eq!(written.unwrap_err().kind(), crate::base::Kind::Data);
}
