//! Listings of simulated shops: everything arrives, or what is missing is named; and at what price.

mod gateway;

use proptest::prelude::*;

use super::*;
use crate::extract::facts::Covered;
use gateway::{DAY, Gateway, How, Listed, PLAINLY, Sorted, States, Times, UNTIL, at, list, request};

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

/// A shop with the given times.
fn gateway(times: Times, offers: u64, categories: u64) -> Gateway {
    Gateway::new(&times.of(offers, 11), categories)
}

fn complete(listed: &Listed, offers: u64) {
    assert_eq!((&listed.end, listed.distinct), (&End::Complete, offers), "{:#?}", listed.cover.coverage());
}

fn reason(listed: &Listed) -> &str {
    match &listed.end {
        End::Complete => "complete",
        End::Incomplete(reason) => reason,
    }
}

#[test]
fn a_shop_that_fits_is_listed_plainly() {
    for offers in [0, 1, 40, 41, 1_999, 2_000] {
        let listed = list(&gateway(Times::Recent, offers, 3), PLAINLY);
        complete(&listed, offers);
        assert_eq!(listed.calls, usize::try_from(offers.div_ceil(40).max(1)).unwrap());
        assert_eq!(listed.cover.coverage().len(), 1);
        // More workers ask for no page more, in whatever order the answers come.
        for shuffle in 0..20 {
            let many = list(&gateway(Times::Recent, offers, 3), How { workers: 8, shuffle: Some(shuffle), ..PLAINLY });
            complete(&many, offers);
            assert_eq!(many.calls, listed.calls, "{offers} offers");
        }
    }
}

#[test]
fn a_shop_of_unknown_size_is_probed_once() {
    let how = How { counted: false, ..PLAINLY };
    let small = list(&gateway(Times::Recent, 30, 0), how);
    assert_eq!((small.calls, &small.end), (1, &End::Complete));
    let fits = list(&gateway(Times::Recent, 1_500, 0), how);
    complete(&fits, 1_500);
    assert!(fits.calls <= 39, "{}", fits.calls);
    let large = list(&gateway(Times::Recent, 5_300, 0), how);
    complete(&large, 5_300);
    assert!(large.calls <= bound(5_300), "{}", large.calls);
}

#[test]
fn a_count_that_comes_after_the_first_page_costs_no_more_than_that_page() {
    let gateway = gateway(Times::Recent, 5_300, 0);
    let mut cover = Cover::new(gateway.rules());
    assert_eq!(cover.next(), Some(Ask::Page { slice: 0, page: 1 }));
    cover.counted(5_300);
    let asks: Vec<Ask> = std::iter::from_fn(|| cover.next()).take(2).collect();
    assert_eq!(asks, [Ask::Page { slice: 1, page: 50 }, Ask::Page { slice: 1, page: 1 }]);
    assert_eq!((cover.end(), cover.coverage()[0].outcome.as_str()), (None, "split"));
}

#[test]
fn without_an_order_and_an_end_bound_a_shop_is_listed_by_category() {
    for (sorted, has_window) in
        [(Sorted::Mixed, true), (Sorted::Newest, true), (Sorted::NearlyOldest, true), (Sorted::Oldest, false)]
    {
        let shop = Gateway { sorted, has_window, ..gateway(Times::Recent, 9_000, 9) };
        for shuffle in [None, Some(1), Some(2)] {
            let listed = list(&shop, How { workers: 4, shuffle, ..PLAINLY });
            complete(&listed, 9_000);
            assert!(listed.cover.coverage().iter().any(|slice| slice.category.is_some()));
            assert!(listed.calls < 300, "{}", listed.calls);
        }
    }
}

#[test]
fn a_moment_that_holds_too_much_is_listed_by_category_and_the_rest_by_time() {
    for has_end in [false, true] {
        for shown in [1, 1000] {
            let shop = Gateway { has_end, shown, ..gateway(Times::Heap(5_000), 12_000, 9) };
            let listed = list(&shop, How { workers: 4, shuffle: Some(5), ..PLAINLY });
            complete(&listed, 12_000);
            let by_category = listed.cover.coverage().iter().filter(|slice| slice.category.is_some()).count();
            assert_eq!(by_category, 9, "{:#?}", listed.cover.coverage());
            assert!(
                listed.calls <= bound(12_000) + 40,
                "{has_end} {shown} {} {:#?}",
                listed.calls,
                listed
                    .cover
                    .coverage()
                    .iter()
                    .map(|s| format!(
                        "{:?} {:?} {:?} {} {} {} {:?} {}",
                        s.category, s.start_at, s.end_at, s.pages, s.records, s.new, s.stated, s.outcome
                    ))
                    .collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn a_moment_and_category_that_hold_too_much_are_named_and_the_rest_goes_on() {
    for has_end in [false, true] {
        let shop = Gateway { has_end, ..gateway(Times::Heap(5_000), 12_000, 2) };
        let listed = list(&shop, PLAINLY);
        assert!(reason(&listed).starts_with("category c0, modified 2025-09-23T00:00:00Z to "), "{}", reason(&listed));
        assert!(reason(&listed).ends_with("the rest is past page 50 × 40 (and 1 more slices)"), "{}", reason(&listed));
        assert_eq!(listed.distinct, 7_000 + 2 * 2_000);
        let alone = Gateway { has_end, ..gateway(Times::Heap(5_000), 12_000, 0) };
        let listed = list(&alone, PLAINLY);
        assert_ne!(listed.end, End::Complete);
        assert_eq!(listed.distinct, 7_000 + 2_000, "{:#?}", listed.cover.coverage());
    }
}

#[test]
fn a_gateway_that_does_not_keep_to_windows_is_listed_by_category_or_said_to_be_so() {
    for has_end in [false, true] {
        let shop = Gateway { has_end, reads_window: false, ..gateway(Times::Recent, 9_000, 9) };
        complete(&list(&shop, PLAINLY), 9_000);
        let shop = Gateway { has_end, reads_window: false, ..gateway(Times::Recent, 9_000, 0) };
        let listed = list(&shop, How { workers: 4, ..PLAINLY });
        let unread = "the gateway does not read parameter `start_time` (it lists offers from outside the window): ";
        assert!(reason(&listed).starts_with(unread), "{}", reason(&listed));
        assert!(reason(&listed).ends_with("2000 offers listed: the rest is past page 50 × 40"), "{}", reason(&listed));
        assert_eq!(listed.distinct, 2_000, "all that the gateway serves is there");
        assert!(listed.calls < 60, "{}", listed.calls);
    }
}

#[test]
fn a_gateway_that_reads_neither_windows_nor_categories_is_found_out_by_a_few_calls() {
    for has_end in [false, true] {
        for sorted in [Sorted::Mixed, Sorted::Newest, Sorted::Oldest] {
            for counted in [true, false] {
                let reads = Gateway { has_end, sorted, ..gateway(Times::Recent, 9_000, 9) };
                let shop = Gateway { reads_window: false, reads_category: false, ..reads };
                let how = How { counted, ..PLAINLY };
                let mut listed = list(&shop, How { workers: 4, shuffle: Some(3), ..how });
                let text = reason(&listed).to_owned();
                let (start, end) = ("`start_time` (it lists", "`end_time` (it lists");
                assert!(text.contains(start) || has_end && text.contains(end), "{sorted:?}: {text}");
                let alike = "`cid` (categories `c0`, `c4`, `c8` begin with the same 40 offers)";
                assert!(text.contains(alike), "{sorted:?}: {text}");
                assert!(listed.distinct >= 2_000);
                assert!(
                    listed.calls <= 70,
                    "{sorted:?}, end {has_end}: {} {:#?}",
                    listed.calls,
                    listed.cover.coverage()
                );
                let news = listed.cover.news().unwrap();
                assert!(news.contains("`cid`") && news.contains("_time` (it lists offers from outside"), "{news}");
                assert_eq!(listed.cover.news(), None, "once");
                // A run that is continued asks what it asked before.
                let again = list(&shop, how);
                assert_eq!(again.asked.difference(&listed.asked).collect::<Vec<_>>(), [""; 0], "{sorted:?}");
            }
        }
    }
}

#[test]
fn a_shop_that_was_changed_within_a_day_accuses_no_gateway_that_shows_days() {
    let offers: Vec<i64> = (0..5_000).map(|at| UNTIL - at * 17_000).collect();
    let shop = Gateway { sorted: Sorted::Mixed, shown: DAY, ..Gateway::new(&offers, 0) };
    let mut listed = list(&shop, PLAINLY);
    assert!(!reason(&listed).contains("does not read"), "{}", reason(&listed));
    assert_eq!((listed.distinct, listed.cover.news()), (2_000, None));
    let mut unread = list(&Gateway { reads_window: false, shown: 1, ..shop }, PLAINLY);
    assert_eq!(unread.cover.news(), None, "nothing shows it: every offer stands in the window");
}

#[test]
fn categories_that_are_not_told_apart_leave_windows_that_are() {
    // Most were imported at one moment: what stands around it is listed by time.
    for has_end in [false, true] {
        let shop = Gateway { has_end, reads_category: false, ..gateway(Times::Heap(5_000), 12_000, 9) };
        let listed = list(&shop, How { workers: 4, shuffle: Some(5), ..PLAINLY });
        assert!(reason(&listed).starts_with("the gateway does not read parameter `cid` ("), "{}", reason(&listed));
        assert!(!reason(&listed).contains("start_time"), "{}", reason(&listed));
        assert_eq!(listed.distinct, 7_000 + 2_000, "{:#?}", listed.cover.coverage());
        assert!(listed.calls <= bound(9_000) + 10, "{}", listed.calls);
    }
}

#[test]
fn categories_that_begin_alike_are_not_taken_for_one_unless_all_do() {
    let rules = gateway(Times::Recent, 9_000, 9).rules();
    let page = |first: u64| Page { keys: (first..first + 40).collect(), ..Page::default() };
    for (firsts, is_read) in [([1, 1, 900], true), ([1, 500, 1], true), ([1, 1, 1], false)] {
        let mut cover = Cover::new(Rules { window: None, ..rules.clone() });
        cover.counted(9_000);
        assert_eq!(cover.next(), Some(Ask::Categories));
        cover.categories((0..9).map(|id| format!("c{id}")).collect());
        let asks: Vec<Ask> = std::iter::from_fn(|| cover.next()).collect();
        assert_eq!(asks, [0, 4, 8].map(|slice| Ask::Page { slice, page: 1 }));
        for (slice, first) in [0, 4, 8].into_iter().zip(firsts) {
            cover.answered(slice, 1, &page(first)).unwrap();
        }
        let next = if is_read { Ask::Page { slice: 0, page: 2 } } else { Ask::Page { slice: 9, page: 1 } };
        assert_eq!((cover.next(), cover.news().is_none()), (Some(next), is_read), "{firsts:?}");
    }
}

#[test]
fn windows_in_no_order_are_not_tried_again_within_each_category() {
    for sorted in [Sorted::Mixed, Sorted::Newest] {
        let shop = Gateway { sorted, ..gateway(Times::Recent, 15_000, 6) };
        let listed = list(&shop, How { workers: 4, shuffle: Some(2), ..PLAINLY });
        let both = |slice: &Covered| slice.category.is_some() && slice.start_at.is_some();
        assert!(!listed.cover.coverage().iter().any(both), "{:#?}", listed.cover.coverage());
        assert!(listed.calls <= 6 * 50 + 4, "{}", listed.calls);
        // The gateway reads windows: they are not the reason.
        assert!(reason(&listed).starts_with("category c"), "{}", reason(&listed));
        assert!(reason(&listed).contains(": 2000 offers listed: the rest is past page 50 × 40"), "{}", reason(&listed));
    }
}

#[test]
fn a_window_that_times_out_is_halved() {
    let shop = Gateway { has_end: true, sorted: Sorted::Mixed, ..gateway(Times::Recent, 9_000, 0) };
    for shuffle in 0..20 {
        let listed = list(&shop, How { time_out: 8, shuffle: Some(shuffle), ..PLAINLY });
        complete(&listed, 9_000);
    }
}

/// A gateway that is too slow for more than so many offers.
fn slow(slow_over: usize, sorted: Sorted, offers: u64) -> Gateway {
    Gateway { has_end: true, slow_over, sorted, ..gateway(Times::Recent, offers, 0) }
}

#[test]
fn a_slice_is_left_at_the_first_page_that_takes_too_long() {
    for (slow_over, offers) in [(400, 1_500), (400, 5_300), (1_000, 9_000)] {
        for sorted in [Sorted::Mixed, Sorted::Oldest, Sorted::Newest] {
            let shop = slow(slow_over, sorted, offers);
            for how in [PLAINLY, How { workers: 4, shuffle: Some(3), ..PLAINLY }] {
                let listed = list(&shop, how);
                complete(&listed, offers);
                let left =
                    listed.cover.coverage().iter().filter(|slice| slice.outcome == "took too long: split").count();
                assert!(left > 0 && listed.slow <= left + 2, "{} late in {left} slices", listed.slow);
                println!("{offers} {slow_over} {sorted:?}: {} calls, {} late", listed.calls, listed.slow);
                // A run that is continued finds what was late as it was answered: it asks for nothing else.
                let again = list(&shop, PLAINLY);
                assert_eq!(again.asked.difference(&listed.asked).collect::<Vec<_>>(), [""; 0]);
            }
        }
    }
}

#[test]
fn what_is_called_complete_is_complete_also_where_pages_are_late_and_the_order_breaks() {
    let mut broken = 0;
    for seed in 0..150 {
        let mut shop = Gateway { has_end: true, ..gateway(Times::Uniform, 4_000, 0) };
        // A few offers are edited meanwhile: they stand where they stood, and show another time.
        shop.sorted = if seed % 2 == 0 { Sorted::Oldest } else { Sorted::Newest };
        shop.edited = Some(seed * 26 % 4_000);
        let listed = list(&shop, How { workers: 4, shuffle: Some(seed), time_out: 25, ..PLAINLY });
        broken += usize::from(listed.cover.coverage().iter().any(|slice| slice.outcome.contains("order")));
        assert!(listed.end != End::Complete || listed.distinct == 4_000, "seed {seed}: {} offers", listed.distinct);
    }
    assert!(broken > 20, "{broken}");
}

#[test]
fn the_halves_rest_on_the_pages_before_the_one_that_took_too_long() {
    let shop = Gateway { has_end: true, sorted: Sorted::Mixed, ..gateway(Times::Recent, 1_500, 0) };
    let parts = |late: &[u32], order: &[u32]| {
        let mut cover = Cover::new(shop.rules());
        cover.counted(1_500);
        assert_eq!((cover.next(), cover.next()), (Some(Ask::Page { slice: 0, page: 1 }), None), "the first page alone");
        cover.answered(0, 1, &shop.page(cover.slice(0), 1)).unwrap();
        while cover.next().is_some() {}
        for page in order {
            match late.contains(page) {
                true => cover.failed(0, *page, Failure { reason: "late".into(), timed_out: true }),
                false => cover.answered(0, *page, &shop.page(cover.slice(0), *page)).unwrap(),
            }
        }
        assert_eq!(cover.coverage()[0].outcome, "took too long: split");
        let asked: Vec<Ask> = std::iter::from_fn(|| cover.next()).collect();
        asked.iter().map(|ask| request(&cover, *ask)).collect::<Vec<_>>()
    };
    let order: Vec<u32> = (2..=38).collect();
    let reversed: Vec<u32> = order.iter().rev().copied().collect();
    let cut = parts(&[5], &order);
    assert_eq!(cut.len(), 2, "{cut:?}");
    assert_eq!(parts(&[5, 30], &reversed), cut);
}

#[test]
fn a_gateway_that_answers_nothing_is_not_asked_for_ever_less() {
    let shop = slow(0, Sorted::Mixed, 9_000);
    let listed = list(&shop, PLAINLY);
    assert!(reason(&listed).contains("late"), "{}", reason(&listed));
    assert!(listed.slow <= 100, "{}", listed.slow);
}

#[test]
fn a_page_that_fails_is_named_with_its_slice() {
    let shop = gateway(Times::Recent, 5_300, 0);
    let mut cover = Cover::new(shop.rules());
    cover.counted(5_300);
    while let Some(Ask::Page { slice, page }) = cover.next() {
        if (slice, page) == (0, 7) {
            cover.failed(slice, page, Failure { reason: "busy".into(), timed_out: true });
        } else {
            cover.answered(slice, page, &shop.page(cover.slice(slice), page)).unwrap();
        }
    }
    assert_eq!(cover.end(), Some(End::Incomplete("modified 2003-01-01T00:00:00Z to now: page 7: busy".into())));
    assert_eq!(cover.distinct(), 5_260);
}

#[test]
fn an_incremental_listing_starts_at_its_moment_and_costs_its_pages() {
    let shop = gateway(Times::Uniform, 5_300, 0);
    for (days, pages) in [(1, 1), (30, 4), (1000, 95)] {
        let since = UNTIL - days * DAY;
        let listed = list(&shop, How { from: Some(since), ..PLAINLY });
        let changed = shop.offers.iter().filter(|(time, _)| *time >= since).count() as u64;
        complete(&listed, changed);
        // A page of some records need not be the last.
        assert!(listed.calls <= pages + 1, "{} calls for {changed}", listed.calls);
        assert!(listed.cover.coverage().iter().all(|slice| slice.start_at.is_some()));
    }
}

#[test]
fn what_changed_is_listed_once_more_where_an_offer_moved_from_one_page_to_another() {
    let rules = Rules { from: Some(at(UNTIL - DAY)), ..gateway(Times::Uniform, 100, 0).rules() };
    let page = |keys: std::ops::Range<u64>| Page {
        modified: keys.clone().map(|_| Some(at(UNTIL))).collect(),
        keys: keys.collect(),
        total: None,
    };
    for (moved, slices) in [(0, 1), (1, 2)] {
        let mut cover = Cover::new(rules.clone());
        let mut calls = 0;
        while let Some(Ask::Page { slice, page: number }) = cover.next() {
            calls += 1;
            let keys = match (slice, number) {
                (_, 1) => 0..40,
                (0, 2) => 40 - moved..49,
                (_, 2) => 40..50,
                _ => 0..0,
            };
            cover.answered(slice, number, &page(keys)).unwrap();
        }
        assert_eq!((cover.end(), cover.coverage().len()), (Some(End::Complete), slices));
        assert_eq!((cover.distinct(), calls), if slices == 1 { (49, 2) } else { (50, 6) }, "{moved}");
    }
}

#[test]
fn a_category_of_one_full_page_ends_there_although_the_gateway_serves_it_again() {
    // Categories 0 and 1 hold a page each, the others more; past the end the last page comes again.
    let records = |category: usize| if category < 2 { 40 } else { 60 + category };
    for (categories, reads_pages) in [(60, true), (60, false)] {
        let rules = Rules { window: None, ..gateway(Times::Uniform, 100, 60).rules() };
        let mut cover = Cover::new(rules);
        cover.counted((0..categories).map(records).sum::<usize>() as u64);
        let (mut calls, mut ended) = (0, Ok(()));
        while let (Some(ask), Ok(())) = (cover.next(), &ended) {
            calls += 1;
            let Ask::Page { slice, page } = ask else {
                cover.categories((0..categories).map(|id| format!("c{id}")).collect());
                continue;
            };
            let name = cover.slice(slice).category.clone().unwrap();
            let category: usize = name[1..].parse().unwrap();
            let last = records(category).div_ceil(40);
            let served = if reads_pages { (page as usize).min(last) } else { 1 };
            let keys = (served - 1) * 40..(served * 40).min(records(category));
            let page_of = Page { keys: keys.map(|at| (category * 1000 + at) as u64).collect(), ..Page::default() };
            ended = cover.answered(slice, page, &page_of);
        }
        if reads_pages {
            assert_eq!((ended, cover.end()), (Ok(()), Some(End::Complete)));
        } else {
            assert!(ended.is_err() && calls < 20, "{calls}");
        }
    }
}

#[test]
fn what_was_not_sent_is_asked_for_again() {
    let shop = Gateway { sorted: Sorted::Mixed, ..gateway(Times::Recent, 9_000, 9) };
    let mut cover = Cover::new(shop.rules());
    cover.counted(9_000);
    let mut refused = std::collections::BTreeSet::new();
    while let Some(ask) = cover.next() {
        let is_new = refused.insert(request(&cover, ask));
        match ask {
            Ask::Categories if is_new => cover.categories_not_sent(),
            Ask::Page { slice, page } if is_new => cover.not_sent(slice, page),
            Ask::Categories => cover.categories((0..9).map(|id| format!("c{id}")).collect()),
            Ask::Page { slice, page } => cover.answered(slice, page, &shop.page(cover.slice(slice), page)).unwrap(),
        }
    }
    assert_eq!((cover.end(), cover.distinct()), (Some(End::Complete), 9_000));
}

#[test]
fn categories_that_are_not_answered_leave_what_the_gateway_serves_and_a_gap() {
    let shop = Gateway { has_window: false, ..gateway(Times::Recent, 9_000, 9) };
    let mut cover = Cover::new(shop.rules());
    cover.counted(9_000);
    assert_eq!((cover.next(), cover.next()), (Some(Ask::Categories), None));
    cover.categories_failed("busy".into());
    while let Some(Ask::Page { slice, page }) = cover.next() {
        cover.answered(slice, page, &shop.page(cover.slice(slice), page)).unwrap();
    }
    let Some(End::Incomplete(reason)) = cover.end() else { panic!("an end") };
    assert_eq!(reason, "2000 of 9000 offers listed: the rest is past page 50 × 40 (categories: busy)");
    assert_eq!(cover.distinct(), 2_000);
}

#[test]
fn an_incremental_listing_is_not_ended_by_a_page_that_lacks_a_record() {
    for (size, is_filtered) in [(40, true), (20, false)] {
        let shop = Gateway { size, is_filtered, ..gateway(Times::Uniform, 5_300, 0) };
        let since = UNTIL - 30 * DAY;
        let changed = shop.offers.iter().filter(|(time, _)| *time >= since).count();
        let lost = if is_filtered { changed.div_ceil(size) } else { 0 };
        let listed = list(&shop, How { from: Some(since), ..PLAINLY });
        assert_eq!(listed.distinct, (changed - lost) as u64);
        assert!(listed.calls <= changed.div_ceil(size) + 1, "{}", listed.calls);
    }
}

#[test]
fn a_gateway_that_serves_smaller_pages_is_listed_past_its_cap() {
    for has_end in [false, true] {
        for sorted in [Sorted::Oldest, Sorted::Mixed] {
            for offers in [1_900, 5_300] {
                let shop = Gateway { size: 20, has_end, sorted, ..gateway(Times::Recent, offers, 40) };
                let listed = list(&shop, PLAINLY);
                complete(&listed, offers);
                println!("{offers} {sorted:?} {has_end}: {}", listed.calls);
            }
        }
    }
}

#[test]
fn totals_that_are_not_those_of_the_slice_are_not_believed() {
    for states in [States::Shop, States::Page] {
        for has_end in [false, true] {
            for sorted in [Sorted::Oldest, Sorted::Newest, Sorted::Mixed] {
                let shop = Gateway { is_stated: true, states, has_end, sorted, ..gateway(Times::Recent, 5_300, 9) };
                let listed = list(&shop, PLAINLY);
                println!("{states:?} {sorted:?} {has_end}: {}", listed.calls);
                complete(&listed, 5_300);
                assert!(listed.calls <= 2 * bound(5_300), "{states:?} {sorted:?} {has_end}: {}", listed.calls);
            }
        }
    }
}

#[test]
fn a_bound_that_the_gateway_does_not_read_is_told_where_records_lie_close_to_it() {
    let day = |offers: i64| (0..offers).map(|at| UNTIL - at * 30_000).collect::<Vec<_>>();
    let moment = vec![UNTIL - DAY; 2_500];
    for categories in [0, 9] {
        for (times, reads_start, reads_end) in [
            (&moment, true, false),
            (&day(2_500), true, false),
            (&day(2_500), false, true),
            (&day(2_500), false, false),
        ] {
            for has_end in [false, true] {
                for sorted in [Sorted::Oldest, Sorted::Newest, Sorted::Mixed] {
                    let shop = Gateway { has_end, sorted, reads_start, reads_end, ..Gateway::new(times, categories) };
                    for how in [PLAINLY, How { workers: 4, shuffle: Some(1), ..PLAINLY }] {
                        let listed = list(&shop, how);
                        let what = format!(
                            "{categories} categories, {sorted:?}, start {reads_start}, end {reads_end} {has_end}"
                        );
                        println!("{what}: {} calls, {:?}", listed.calls, listed.end);
                        assert!(listed.calls <= 200, "{what}: {} calls {:#?}", listed.calls, listed.cover.coverage());
                        assert!(listed.distinct >= 2_000, "{what}: {}", listed.distinct);
                        assert!(listed.end != End::Complete || listed.distinct == 2_500);
                    }
                }
            }
        }
    }
}

#[test]
fn what_a_slice_was_to_cover_before_the_order_broke_is_listed_anew() {
    for (after, is_stated) in [(45, false), (45, true), (1_500, false)] {
        let moment = UNTIL - 100 * DAY;
        let mut times: Vec<i64> = (0..300).map(|at| moment - DAY - at * 60_000).collect();
        times.extend([moment; 2_500]);
        times.extend((1..=after).map(|at| moment + at * 3_600_000));
        let edited = (0..30_u64).map(|at| 2_800 + at).chain([u64::try_from(after).unwrap() + 2_799]);
        for edited in edited {
            let shop = Gateway { has_end: true, is_stated, ..Gateway::new(&times, 9) };
            let shop = Gateway { edited: Some(edited), edited_to: moment - DAY / 2, ..shop };
            for how in [PLAINLY, How { workers: 4, shuffle: Some(edited), ..PLAINLY }] {
                let listed = list(&shop, how);
                let offers = times.len() as u64;
                assert!(listed.end != End::Complete || listed.distinct == offers, "{edited}: {}", listed.distinct);
            }
        }
    }
}

#[test]
fn offers_that_are_edited_meanwhile_do_not_break_an_order() {
    for has_end in [false, true] {
        let mut shop = Gateway { has_end, ..gateway(Times::Uniform, 5_300, 0) };
        let mut cover = Cover::new(shop.rules());
        cover.counted(5_300);
        let mut calls = 0;
        while let Some(ask) = cover.next() {
            let Ask::Page { slice, page } = ask else { panic!("no categories") };
            cover.answered(slice, page, &shop.page(cover.slice(slice), page)).unwrap();
            calls += 1;
            if calls % 20 == 0 {
                shop.offers[calls * 7].0 = UNTIL + i64::try_from(calls).unwrap();
                shop.lists.borrow_mut().clear();
            }
        }
        assert!(cover.coverage().iter().all(|slice| slice.outcome != "not in the order of modification"));
        assert!(calls <= bound(5_300), "{calls}");
    }
}

#[test]
fn a_category_that_is_named_twice_is_listed_once() {
    let shop = Gateway { has_window: false, ..gateway(Times::Recent, 2_500, 2) };
    let mut cover = Cover::new(shop.rules());
    cover.counted(2_500);
    assert_eq!(cover.next(), Some(Ask::Categories));
    cover.categories(["c0", "c1", "c0", "c1"].map(str::to_owned).to_vec());
    let mut calls = 0;
    while let Some(Ask::Page { slice, page }) = cover.next() {
        cover.answered(slice, page, &shop.page(cover.slice(slice), page)).unwrap();
        calls += 1;
    }
    assert_eq!((cover.end(), cover.distinct()), (Some(End::Complete), 2_500));
    assert!(calls <= 66, "{calls}");
}

#[test]
fn a_parent_category_past_the_cap_is_no_gap_where_all_offers_came() {
    let mut shop = Gateway { has_window: false, has_parent: true, ..gateway(Times::Recent, 5_300, 6) };
    shop.offers.iter_mut().for_each(|(_, category)| *category = (*category).max(1));
    complete(&list(&shop, PLAINLY), 5_300);
    let uncounted = list(&shop, How { counted: false, ..PLAINLY });
    assert!(reason(&uncounted).starts_with("category c0: 2000 offers listed"), "{}", reason(&uncounted));
}

#[test]
fn a_gateway_that_serves_one_page_for_ever_is_found_out() {
    let shop = gateway(Times::Recent, 5_300, 0);
    let mut cover = Cover::new(shop.rules());
    cover.counted(5_300);
    assert_eq!(std::iter::from_fn(|| cover.next()).count(), 2);
    let page = shop.page(cover.slice(0), 1);
    assert_eq!(cover.answered(0, 1, &page), Ok(()));
    assert_eq!(cover.answered(0, 50, &page).unwrap_err().parameter, "pageNum");
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
        if !failing && sorted != Sorted::NearlyOldest {
            let again = list(&gateway, How { workers: 1, shuffle: None, ..how });
            let news: Vec<_> = again.asked.difference(&listed.asked).collect();
            prop_assert!(news.is_empty(), "a run that is continued asks for more: {:?}", news);
        }
        if !failing && categories == 0 && has_window && has_end && shown == 1 && size == 40 && !matches!(times, Times::Heap(2000..)) {
            prop_assert_eq!((listed.end, listed.distinct), (End::Complete, offers));
        }
    }
}
