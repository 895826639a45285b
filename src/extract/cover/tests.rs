//! Listings of simulated shops: everything arrives, or what is missing is named; and at what price.

mod gateway;

use proptest::prelude::*;

use super::*;
use gateway::{DAY, Dice, Gateway, How, Listed, PLAINLY, Sorted, Times, UNTIL, list};

/// Calls that a listing of `offers` may cost.
fn bound(offers: u64) -> usize {
    let pages = offers.div_ceil(40);
    usize::try_from(pages * 105 / 100 + 3).unwrap()
}

const SCHEMES: [(&str, Sorted, bool, bool); 7] = [
    ("start only, oldest first", Sorted::Oldest, false, false),
    ("start only, oldest first, totals", Sorted::Oldest, false, true),
    ("end bound, oldest first", Sorted::Oldest, true, false),
    ("end bound, newest first", Sorted::Newest, true, false),
    ("end bound, newest first, totals", Sorted::Newest, true, true),
    ("end bound, no order", Sorted::Mixed, true, false),
    ("end bound, no order, totals", Sorted::Mixed, true, true),
];

#[test]
fn a_listing_costs_little_more_than_its_pages() {
    let mut over = Vec::new();
    println!("{:>6}  {:<8} {:<34} {:>5} {:>5}  slices", "offers", "times", "scheme", "calls", "bound");
    for offers in [5_300, 12_000, 50_000] {
        for times in [Times::Uniform, Times::Recent, Times::Bursts] {
            for (name, sorted, has_end, is_stated) in SCHEMES {
                let mut gateway = Gateway::new(&times.of(offers, offers), 0);
                (gateway.sorted, gateway.has_end, gateway.is_stated) = (sorted, has_end, is_stated);
                let mut calls = 0;
                for how in [PLAINLY, How { workers: 4, shuffle: Some(3), ..PLAINLY }] {
                    let listed = list(&gateway, how);
                    assert_eq!((&listed.end, listed.distinct), (&End::Complete, offers), "{name} {times:?}");
                    calls = calls.max(listed.calls);
                    if how.workers == 4 {
                        let slices = listed.cover.coverage().len();
                        let times = format!("{times:?}");
                        println!("{offers:>6}  {times:<8} {name:<34} {calls:>5} {:>5}  {slices}", bound(offers));
                    }
                }
                if calls > bound(offers) {
                    over.push(format!("{offers} {times:?} {name}: {calls} > {}", bound(offers)));
                }
            }
        }
    }
    assert!(over.is_empty(), "{over:#?}");
}

#[test]
fn zz_seeds() {
    for offers in [5_300, 12_000, 50_000] {
        for times in [Times::Uniform, Times::Recent, Times::Bursts] {
            for is_stated in [false, true] {
                let mut all = vec![];
                for seed in 0..12 {
                    let mut gateway = Gateway::new(&times.of(offers, offers + 1 + seed), 0);
                    (gateway.sorted, gateway.has_end, gateway.is_stated) = (Sorted::Mixed, true, is_stated);
                    let listed = list(&gateway, PLAINLY);
                    assert_eq!((&listed.end, listed.distinct), (&End::Complete, offers), "{times:?}");
                    all.push(listed.calls);
                }
                all.sort();
                println!("{offers} {times:?} {is_stated} bound {} {all:?}", bound(offers));
            }
        }
    }
}
proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn whatever_the_shop_everything_arrives_or_what_is_missing_is_named(
        offers in 0..9_000_u64, seed in 0..1_000_u64, workers in 1..5_usize, shuffle in proptest::option::of(0..1_000_u64),
        times in prop_oneof![
            Just(Times::Uniform), Just(Times::Recent), Just(Times::Bursts), (0..6_000_u64).prop_map(Times::Heap)
        ],
        sorted in prop_oneof![
            Just(Sorted::Oldest), Just(Sorted::Newest), Just(Sorted::Mixed), Just(Sorted::NearlyOldest)
        ],
        categories in prop_oneof![Just(0_u64), Just(1), Just(9)],
        shown in prop_oneof![Just(1_i64), Just(1000), Just(DAY)],
        size in prop_oneof![4 => Just(40_usize), 1 => Just(25)],
        counted: bool, has_end: bool, is_stated: bool, has_window: bool, failing: bool,
    ) {
        let mut gateway = Gateway::new(&times.of(offers, seed), categories);
        gateway = Gateway { categories, sorted, has_end, has_window, is_stated, shown, size, ..gateway };
        let (fail, time_out) = if failing { (20, 20) } else { (0, 0) };
        let how = How { workers, shuffle, counted, fail, time_out, from: None };
        let listed = list(&gateway, how);
        if listed.end == End::Complete && size == 40 {
            prop_assert_eq!(listed.distinct, offers, "{:?}", listed.cover.coverage());
        }
        if !failing && categories == 0 && has_window && has_end && shown == 1 && size == 40 && !matches!(times, Times::Heap(2000..)) {
            prop_assert_eq!((listed.end, listed.distinct), (End::Complete, offers));
        }
    }
}
