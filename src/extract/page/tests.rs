use super::*;

fn paging(last: Option<u32>) -> Paging {
    Paging { number: "pageNum".into(), first: 1, last, size: Some("pageSize".into()), size_max: 40 }
}

/// A gateway that holds `held` records and serves `served` a page up to page `last`.
#[derive(Clone, Copy)]
struct Shop {
    held: u64,
    served: u64,
    last: Option<u32>,
    stated: Option<u64>,
}

impl Shop {
    fn page(self, number: u32) -> Page {
        let start = u64::from(number - 1) * self.served;
        let end = (start + self.served).min(self.held);
        let beyond = self.last.is_some_and(|last| number > last);
        let keys = if beyond { Vec::new() } else { (start..end).collect() };
        Page { keys, total: self.stated, ..Page::default() }
    }

    /// Lists the shop with up to `workers` pages in flight; gives the end and the pages asked for.
    fn list(self, counted: Option<u64>, workers: usize) -> (End, Vec<u32>) {
        let mut listing = Listing::new(paging(self.last));
        listing.tolerate(5);
        if let Some(total) = counted {
            listing.counted(total);
        }
        let (mut asked, mut waiting) = (Vec::new(), std::collections::VecDeque::new());
        loop {
            while waiting.len() < workers {
                let Some(page) = listing.next_page() else { break };
                asked.push(page);
                waiting.push_back(page);
            }
            let Some(page) = waiting.pop_front() else { break };
            listing.answered(page, &self.page(page)).unwrap();
        }
        (listing.end().expect("an end"), asked)
    }
}

fn shop(held: u64) -> Shop {
    Shop { held, served: 40, last: Some(50), stated: None }
}

#[test]
fn a_counted_listing_asks_for_exactly_the_pages_it_needs() {
    for (held, pages) in [(0, 1), (1, 1), (40, 1), (41, 2), (80, 2), (2000, 50)] {
        for workers in [1, 4, 100] {
            let (end, asked) = shop(held).list(Some(held), workers);
            assert_eq!((end, asked), (End::Complete, (1..=pages).collect()), "{held} records, {workers} workers");
        }
    }
}

#[test]
fn without_a_count_pages_follow_until_one_is_short_or_empty() {
    assert_eq!(shop(0).list(None, 4), (End::Complete, vec![1]));
    assert_eq!(shop(39).list(None, 4), (End::Complete, vec![1]));
    assert_eq!(shop(40).list(None, 4), (End::Complete, vec![1, 2]));
    assert_eq!(shop(90).list(None, 4), (End::Complete, vec![1, 2, 3]));
}

#[test]
fn the_total_of_the_first_page_serves_as_the_count() {
    let stated = Shop { stated: Some(90), ..shop(90) };
    assert_eq!(stated.list(None, 4), (End::Complete, vec![1, 2, 3]));
}

#[test]
fn more_than_the_gateway_serves_is_incomplete_and_never_silent() {
    let reason = "2000 of 2001 offers listed: the rest is past page 50 × 40".to_owned();
    assert_eq!(shop(2001).list(Some(2001), 4).0, End::Incomplete(reason));
    let reason = "2000 offers listed: the rest is past page 50 × 40".to_owned();
    assert_eq!(shop(5000).list(None, 4).0, End::Incomplete(reason.clone()));
    assert_eq!(shop(2000).list(None, 4).0, End::Incomplete(reason), "a full last page means too many");
    assert_eq!(shop(1999).list(None, 4).0, End::Complete);
}

#[test]
fn a_count_that_is_too_high_ends_at_the_short_page() {
    assert_eq!(shop(75).list(Some(80), 1), (End::Complete, vec![1, 2]));
    let (end, asked) = shop(40).list(Some(400), 1);
    assert_eq!((end, asked), (End::Complete, vec![1, 2]), "nothing is asked past an empty page");
}

#[test]
fn smaller_pages_than_asked_for_are_followed_to_the_total() {
    let clamped = Shop { served: 20, ..shop(100) };
    assert_eq!(clamped.list(Some(100), 2), (End::Complete, vec![1, 2, 3, 4, 5]));
}

#[test]
fn a_page_that_repeats_names_the_page_parameter() {
    let mut listing = Listing::new(paging(Some(50)));
    listing.counted(100);
    let page = shop(100).page(1);
    let mut shuffled = page.clone();
    shuffled.keys.reverse();
    assert_eq!((listing.next_page(), listing.next_page()), (Some(1), Some(2)));
    listing.answered(2, &page).unwrap();
    let error = listing.answered(1, &shuffled).unwrap_err();
    assert_eq!(
        error.to_string(),
        "pages 1 and 2 hold the same 40 records: the gateway does not read parameter `pageNum`"
    );
}

#[test]
fn pages_that_are_nearly_the_first_name_the_page_parameter_the_second_time() {
    let mut listing = Listing::new(paging(None));
    let page = |place: u64| Page { keys: (0..39).chain([place]).collect(), ..Page::default() };
    for number in [1, 2] {
        assert_eq!(listing.next_page(), Some(number));
        assert_eq!(listing.answered(number, &page(100 + u64::from(number))), Ok(None));
    }
    assert_eq!(listing.next_page(), Some(3));
    let error = listing.answered(3, &page(103)).unwrap_err();
    assert_eq!((error.first, error.second, error.records), (1, 3, 39));
}

#[test]
fn a_later_page_that_repeats_another_is_the_end_in_whatever_order_they_come() {
    let reason = "pages 3 and 4 hold the same records, and 30 of 150 are missing";
    for (order, counted, end) in
        [([3, 4], 125, End::Complete), ([4, 3], 125, End::Complete), ([4, 3], 150, End::Incomplete(reason.to_owned()))]
    {
        let mut listing = Listing::new(paging(Some(50)));
        listing.tolerate(5);
        listing.counted(counted);
        let asked: Vec<u32> = std::iter::from_fn(|| listing.next_page()).collect();
        assert_eq!(asked, [1, 2, 3, 4]);
        for number in [1, 2] {
            assert_eq!(listing.answered(number, &shop(120).page(number)), Ok(None));
        }
        assert_eq!(listing.answered(order[0], &shop(120).page(3)), Ok(None));
        assert_eq!(listing.answered(order[1], &shop(120).page(3)), Ok(Some(4)));
        assert_eq!((listing.next_page(), listing.end()), (None, Some(end)));
    }
}

#[test]
fn a_page_that_repeats_the_only_one_is_the_end_unless_there_must_be_more() {
    let is_end = |records: u64, counted: Option<u64>, is_paged: bool| {
        let mut listing = Listing::new(paging(Some(50)));
        listing.tolerate(5);
        listing.end_at(Taken::Few);
        counted.into_iter().for_each(|count| listing.counted(count));
        is_paged.then(|| listing.trust_pages());
        let page = Page { keys: (0..records).collect(), ..Page::default() };
        assert_eq!(listing.next_page(), Some(1));
        assert_eq!(listing.answered(1, &page), Ok(None));
        assert_eq!(listing.next_page(), Some(2), "{records}, {counted:?}");
        let repeated = listing.answered(2, &page);
        assert_eq!(listing.next_page(), None);
        assert_eq!(repeated.is_ok(), listing.end() == Some(End::Complete));
        repeated.is_ok()
    };
    for (records, counted, is_paged, expected) in [
        (30, None, false, true),
        (15, Some(18), false, true),
        (30, Some(90), false, false),
        (40, None, false, false),
        (40, None, true, true),
        (40, Some(43), false, false),
        (40, Some(43), true, true),
        (40, Some(900), true, false),
    ] {
        assert_eq!(is_end(records, counted, is_paged), expected, "{records}, {counted:?}, {is_paged}");
    }
}

#[test]
fn a_full_page_is_no_end_for_what_pages_state_nor_for_a_count_that_is_wrong() {
    for stated in [0, 40, 41, 79, 80] {
        let (end, asked) = Shop { stated: Some(stated), ..shop(84) }.list(None, 2);
        assert_eq!((end, asked), (End::Complete, vec![1, 2, 3]), "{stated}");
    }
    assert_eq!(shop(84).list(Some(79), 2), (End::Complete, vec![1, 2, 3]));
    assert_eq!(shop(80).list(Some(80), 2), (End::Complete, vec![1, 2]));
    let capped = Shop { stated: Some(2000), ..shop(5300) };
    assert!(matches!(capped.list(None, 4).0, End::Incomplete(_)));
}

#[test]
fn pages_that_records_are_left_out_of_are_followed_while_more_are_missing_than_counts_are_off_by() {
    // Of 40 on a page some are hidden, of one more than of another.
    let page =
        |number: u64| Page { keys: (0..40 - number % 7).map(|at| number * 100 + at).collect(), ..Page::default() };
    let held: u64 = (1..=9).map(|number| page(number).keys.len() as u64).sum();
    let mut listing = Listing::new(paging(Some(50)));
    listing.tolerate(5);
    listing.counted(held);
    let mut last = 0;
    while let Some(number) = listing.next_page() {
        last = number;
        let page = if number <= 9 { page(u64::from(number)) } else { Page::default() };
        assert_eq!(listing.answered(number, &page), Ok(None));
    }
    assert_eq!((last, listing.end()), (9, Some(End::Complete)));
}

#[test]
fn a_page_past_a_total_that_is_there_may_be_refused() {
    let mut listing = Listing::new(paging(Some(50)));
    assert_eq!(listing.next_page(), Some(1));
    let page = Page { total: Some(40), ..shop(40).page(1) };
    assert_eq!(listing.answered(1, &page), Ok(None));
    assert_eq!(listing.next_page(), Some(2));
    listing.failed(2, "no such page");
    assert_eq!((listing.next_page(), listing.end()), (None, Some(End::Complete)));
}

#[test]
fn a_page_of_few_records_is_the_end_where_a_short_one_is_not() {
    for (records, next) in [(39, Some(2)), (10, Some(2)), (9, None), (0, None)] {
        let mut listing = Listing::new(paging(None));
        listing.end_at(Taken::Few);
        assert_eq!(listing.next_page(), Some(1));
        assert_eq!(listing.answered(1, &Page { keys: (0..records).collect(), ..Page::default() }), Ok(None));
        assert_eq!(listing.next_page(), next, "{records}");
    }
}

#[test]
fn only_an_empty_page_ends_a_listing_that_must_be_sure() {
    let mut listing = Listing::new(paging(None));
    for (number, records) in [(1, 39), (2, 40), (3, 7)] {
        assert_eq!(listing.next_page(), Some(number));
        let keys = (0..records).map(|at| u64::from(number) * 100 + at).collect();
        assert_eq!(listing.answered(number, &Page { keys, ..Page::default() }), Ok(None));
        listing.end_at(Taken::Empty);
    }
    assert_eq!(listing.next_page(), Some(4));
    assert_eq!(listing.answered(4, &Page::default()), Ok(None));
    assert_eq!((listing.next_page(), listing.end()), (None, Some(End::Complete)));
}

#[test]
fn a_failed_page_makes_the_listing_incomplete_and_the_others_are_still_asked_for() {
    let mut listing = Listing::new(paging(Some(50)));
    listing.counted(120);
    assert_eq!(listing.next_page(), Some(1));
    listing.failed(1, "busy");
    assert_eq!(listing.next_page(), Some(2));
    assert_eq!(listing.end(), None);
    listing.answered(2, &shop(120).page(2)).unwrap();
    assert_eq!(listing.next_page(), Some(3));
    listing.answered(3, &shop(120).page(3)).unwrap();
    assert_eq!(listing.end(), Some(End::Incomplete("page 1: busy".into())));
}

#[test]
fn an_unknown_end_is_not_looked_for_after_a_failed_page() {
    let mut listing = Listing::new(paging(None));
    assert_eq!(listing.next_page(), Some(1));
    listing.failed(1, "busy");
    assert_eq!(listing.next_page(), None);
    assert_eq!(listing.end(), Some(End::Incomplete("page 1: busy".into())));
}

proptest::proptest! {
    #[test]
    fn a_listing_always_ends_and_is_complete_only_with_every_record(
        held in 0..3000_u64, served in 1..=40_u64, workers in 1..8_usize, counted: bool,
    ) {
        let shop = Shop { held, served, last: Some(50), stated: None };
        let (end, asked) = shop.list(counted.then_some(held), workers);
        let listed: HashSet<u64> = asked.iter().flat_map(|page| shop.page(*page).keys).collect();
        assert!(asked.len() <= 50);
        if counted && end == End::Complete {
            assert_eq!(listed.len() as u64, held);
        }
    }
}
