use std::sync::Arc;

use arrow::array::{Array, Int32Array, Int64Array};
use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;

use super::*;

/// One offer of a test: shop, id, modification time, tiers, SKUs, origin.
type Made = (u8, i64, i64, u8, u8, Origin);

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![4 => Just(Origin::Fetched), 1 => Just(Origin::Carried), 1 => Just(Origin::Delisted)]
}

fn chunk(number: i64, made: &[Made]) -> Chunk {
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
    let offers = RecordBatch::try_new(
        schema(&["tier_count", "sku_count"]),
        vec![
            Arc::new(Int64Array::from_iter_values(made.iter().map(|made| made.1))),
            counts(|made| made.3),
            counts(|made| made.4),
        ],
    )
    .unwrap();
    let keys = made.iter().enumerate().map(|(position, made)| Key {
        shop_id: (made.0 > 0).then(|| format!("shop-{}", made.0).into()),
        offer_id: made.1,
        modified_at: made.2,
        fetched_at: 0,
        number,
        position: u32::try_from(position).unwrap(),
        content_hash: 0,
        origin: made.5,
        is_detail: false,
        sku_complete: true,
        price_complete: true,
        moq_stated: true,
    });
    Chunk::new(&Rows { offers, tiers: repeated(|made| made.3), skus: repeated(|made| made.4) }, keys.collect()).unwrap()
}

fn ids(batch: &RecordBatch) -> Vec<i64> {
    batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
}

fn rows(picture: &Picture<'_>) -> (Vec<i64>, Vec<i64>, Vec<i64>) {
    let mut all = (Vec::new(), Vec::new(), Vec::new());
    picture
        .write(|rows| {
            all.0.extend(ids(&rows.offers));
            all.1.extend(ids(&rows.tiers));
            all.2.extend(ids(&rows.skus));
            Ok(())
        })
        .unwrap();
    all
}

proptest! {
    #[test]
    fn each_offer_stands_once_with_its_own_tiers_and_skus_also_when_spilled(
        chunks in prop::collection::vec(prop::collection::vec((0..4_u8, 0..60_i64, 0..5_i64, 0..4_u8, 0..3_u8, origin()), 0..40), 0..5),
    ) {
        let mut made: Vec<Chunk> = chunks.iter().enumerate().map(|(number, made)| chunk(number as i64, made)).collect();
        let picture = Picture::new(&made).unwrap();
        let mut keys: Vec<&Key> = picture.keys().collect();
        let in_memory = rows(&picture);

        // Each id once, with as many tiers and SKUs as the winning record has.
        let winners: Vec<Made> = keys.iter().map(|key| {
            chunks[key.number as usize][key.position as usize]
        }).collect();
        prop_assert_eq!(&in_memory.0, &winners.iter().map(|made| made.1).collect::<Vec<_>>());
        prop_assert_eq!(&in_memory.1, &winners.iter().flat_map(|made| std::iter::repeat_n(made.1, made.3 as usize)).collect::<Vec<_>>());
        prop_assert_eq!(&in_memory.2, &winners.iter().flat_map(|made| std::iter::repeat_n(made.1, made.4 as usize)).collect::<Vec<_>>());
        prop_assert!(keys.is_sorted_by_key(|key| (&key.shop_id, key.offer_id)));
        keys.sort_by_key(|key| key.offer_id);
        keys.dedup_by_key(|key| key.offer_id);
        prop_assert_eq!(keys.len(), picture.len());

        // The best record won, and the fetched ones that lost are counted.
        let all: Vec<&Made> = chunks.iter().flatten().collect();
        for winner in &winners {
            let rank = |made: &Made| (made.5 == Origin::Fetched, made.5 == Origin::Carried, made.2);
            prop_assert!(all.iter().filter(|made| made.1 == winner.1).all(|made| rank(made) <= rank(winner)));
        }
        let fetched = all.iter().filter(|made| made.5 == Origin::Fetched).count() as i64;
        let loaded = winners.iter().filter(|made| made.5 == Origin::Fetched).count() as i64;
        prop_assert_eq!(picture.duplicates.iter().map(|count| count.records).sum::<i64>(), fetched - loaded);

        for chunk in &mut made {
            chunk.spill().unwrap();
        }
        prop_assert_eq!(rows(&Picture::new(&made).unwrap()), in_memory);
    }
}

#[test]
fn a_picture_larger_than_a_spilled_batch_keeps_its_order() {
    let made: Vec<Made> = (0..20_000)
        .map(|id| ((id % 3) as u8, 20_000 - id, 0, (id % 4) as u8, (id % 2) as u8, Origin::Fetched))
        .collect();
    let mut chunks = vec![chunk(0, &made[..9_000]), chunk(1, &made[9_000..])];
    let in_memory = rows(&Picture::new(&chunks).unwrap());
    chunks.iter_mut().for_each(|chunk| chunk.spill().unwrap());
    assert!(chunks.iter().all(|chunk| chunk.memory_bytes() == 0));
    assert_eq!(rows(&Picture::new(&chunks).unwrap()), in_memory);
    assert_eq!(in_memory.0.len(), 20_000);
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
    assert!(Chunk::new(&rows, Vec::new()).is_err());
}

#[test]
fn what_is_held_gives_way_to_what_is_carried_and_still_counts_its_duplicates() {
    let fetched =
        [(1, 10, 1, 1, 0, Origin::Fetched), (1, 10, 2, 2, 0, Origin::Fetched), (2, 30, 1, 1, 0, Origin::Fetched)];
    let carried = [(1, 10, 0, 3, 0, Origin::Carried), (1, 20, 0, 1, 0, Origin::Carried)];
    let chunks = [chunk(1, &fetched), chunk(2, &carried)];
    let fate = |key: &Key| if key.shop_id.as_deref() == Some("shop-1") { Fate::SetAside } else { Fate::Stands };
    let picture = Picture::with_fates(&chunks, fate).unwrap();
    assert_eq!(rows(&picture), (vec![10, 20, 30], vec![10, 10, 10, 20, 30], Vec::new()));
    let aside: Vec<_> = picture.set_aside.iter().map(|key| (key.offer_id, key.modified_at)).collect();
    assert_eq!(aside, [(10, 2)]);
    assert_eq!(picture.duplicates, [DuplicateCount { shop_id: Some("shop-1".to_owned()), records: 1 }]);
}

#[test]
fn a_detail_beats_the_records_of_listings_and_makes_one_of_them_no_duplicate() {
    let listed = |id, modified_at| (1, id, modified_at, 1, 1, Origin::Fetched);
    let mut detail = chunk(1, &[listed(1, 0), listed(1, 2), listed(2, 0)]);
    detail.keys.iter_mut().for_each(|key| key.is_detail = true);
    let chunks = [chunk(0, &[listed(1, 9), listed(1, 8), listed(3, 1), listed(3, 0)]), detail];
    let picture = Picture::new(&chunks).unwrap();
    let winners: Vec<_> = picture.keys().map(|key| (key.offer_id, key.is_detail, key.modified_at)).collect();
    assert_eq!(winners, [(1, true, 2), (2, true, 0), (3, false, 1)]);
    let duplicates: i64 = picture.duplicates.iter().map(|count| count.records).sum();
    assert_eq!((duplicates, picture.unlisted_details), (2, 1));
}

#[test]
fn a_replaced_record_leaves_its_place_to_the_carried_one() {
    let made = |id, origin| (1, id, 0, 1, 1, origin);
    let chunks =
        [chunk(0, &[made(1, Origin::Fetched), made(2, Origin::Fetched)]), chunk(1, &[made(1, Origin::Carried)])];
    let fate = |key: &Key| if key.offer_id == 1 { Fate::Replaced } else { Fate::Stands };
    let picture = Picture::with_fates(&chunks, fate).unwrap();
    assert_eq!(picture.keys().map(|key| key.origin).collect::<Vec<_>>(), [Origin::Carried, Origin::Fetched]);
    assert!(picture.set_aside.is_empty() && picture.duplicates.is_empty());
}
