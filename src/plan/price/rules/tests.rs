use super::Offers::{Before, Counted, Earlier, Unknown};
use super::*;
use crate::config::gateway::{Paging, Window};
use crate::plan::testing::{at, endpoint};

/// As portals': 50 pages of 40.
fn listing() -> Endpoint {
    let page = Paging { number: "page".into(), first: 1, last: Some(50), size: None, size_max: 40 };
    Endpoint { page: Some(page), ..endpoint("listing") }
}

fn windowed() -> Endpoint {
    let field = "modified_at".to_owned();
    let (start, end, params) = ("start_time".to_owned(), None, Vec::new());
    let window = Window { start, end, time: None, field, drop: Vec::new(), params, overlap_seconds: 600 };
    Endpoint { window: Some(window), ..listing() }
}

fn endless() -> Endpoint {
    let page = listing().page.map(|page| Paging { last: None, ..page });
    Endpoint { page, ..listing() }
}

fn from_zero() -> Endpoint {
    let page = listing().page.map(|page| Paging { first: 0, last: Some(49), ..page });
    Endpoint { page, ..listing() }
}

fn single_page() -> Endpoint {
    Endpoint { page: None, ..listing() }
}

#[test]
fn a_whole_listing_costs_the_pages_that_its_offers_need() {
    let exact = Calls::exact;
    for (listing, offers, expected) in [
        // Counted today, within the gateway's pages: exact, and one page at least.
        (listing(), Counted(0), exact(1)),
        (listing(), Counted(1), exact(1)),
        (listing(), Counted(40), exact(1)),
        (listing(), Counted(41), exact(2)),
        (windowed(), Counted(1999), exact(50)),
        (endless(), Counted(5300), exact(133)),
        // A full last page may hide more: windows go on, by a twentieth and three pages more where the gateway reads them.
        (windowed(), Counted(2000), Calls::estimate(50, 55)),
        (windowed(), Counted(5300), Calls::estimate(133, 142)),
        // Nothing goes on: the gateway's pages are all that can be asked for.
        (listing(), Counted(2000), exact(50)),
        (listing(), Counted(5300), exact(50)),
        (from_zero(), Counted(5300), exact(50)),
        // Counted earlier today: a twentieth and one offer more or less.
        (windowed(), Earlier(0), Calls::estimate(1, 1)),
        (windowed(), Earlier(400), Calls::estimate(10, 11)),
        (windowed(), Earlier(1999), Calls::estimate(48, 58)),
        // As of the picture before: with room for a twentieth and one offer.
        (windowed(), Before(10), Calls::estimate(1, 1)),
        (windowed(), Before(39), Calls::estimate(1, 2)),
        (windowed(), Before(1000), Calls::estimate(1, 27)),
        (windowed(), Before(1950), Calls::estimate(1, 57)),
        // Unknown.
        (listing(), Unknown, Calls::between(1, 50)),
        (windowed(), Unknown, Calls::estimate(1, 50)),
        (endless(), Unknown, Calls::at_least(1)),
        (single_page(), Unknown, exact(1)),
        (single_page(), Counted(900), exact(1)),
    ] {
        assert_eq!(whole(&Shelf::new(&listing, (false, true)), offers), expected, "{offers:?} {:?}", listing.page);
    }
}

#[test]
fn categories_go_on_past_the_last_page_and_cost_one_call_then() {
    let narrowed = Endpoint { category: Some("cid".into()), ..listing() };
    let stated = Shelf::new(&listing(), (false, false));
    assert_eq!([39, 40, 41, 2000].map(|offers| whole(&stated, Counted(offers))), [1, 2, 2, 50].map(Calls::exact));
    let shelf = Shelf::new(&narrowed, (true, true));
    assert_eq!(whole(&shelf, Counted(5300)), Calls::estimate(133, 142));
    for (offers, expected) in [
        (Counted(1999), Calls::ZERO),
        (Counted(2000), Calls::between(0, 1)),
        (Before(1900), Calls::ZERO),
        (Before(1999), Calls::estimate(0, 1)),
        (Unknown, Calls::ZERO),
    ] {
        assert_eq!(categories(&shelf, offers), expected, "{offers:?}");
    }
    // What the last whole listing took is a better bound, where it is the greater one.
    let again = |offers, pages| whole_again(&shelf, offers, pages);
    assert_eq!(
        (again(Counted(5300), 0), again(Counted(5300), 120)),
        (whole(&shelf, Counted(5300)), Calls::estimate(133, 142))
    );
    assert_eq!(again(Counted(2100), 103), Calls::estimate(53, 109));
    assert_eq!(again(Before(1990), 103), Calls::estimate(1, 109));
    assert_eq!(again(Counted(1900), 103), Calls::exact(48), "it fits into one listing now");
    // Without an endpoint that names the categories nothing can be narrowed by them.
    let unnamed = Shelf::new(&narrowed, (false, true));
    assert_eq!((whole(&unnamed, Counted(5300)), categories(&unnamed, Counted(5300))), (Calls::exact(50), Calls::ZERO));
    assert_eq!(categories(&Shelf::new(&windowed(), (true, true)), Counted(5300)), Calls::ZERO);
}

#[test]
fn a_shop_is_listed_by_what_changed_only_when_its_watermark_and_a_young_whole_listing_are_known() {
    let dt = NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
    let shop = |days: Option<u64>, watermark: bool| KnownShop {
        whole_dt: days.map(|days| dt - chrono::Days::new(days)),
        watermark_at: watermark.then(|| at("2026-11-19T18:00:00Z")),
        ..KnownShop::default()
    };
    for (listing, shop, expected) in [
        (windowed(), Some(shop(Some(1), true)), true),
        (windowed(), Some(shop(Some(6), true)), true),
        (windowed(), Some(shop(Some(7), true)), false),
        (windowed(), Some(shop(None, true)), false),
        (windowed(), Some(shop(Some(1), false)), false),
        (windowed(), None, false),
        (listing(), Some(shop(Some(1), true)), false),
    ] {
        assert_eq!(lists_changes(&listing, 7, shop.as_ref(), dt), expected, "{shop:?}");
    }
}

#[test]
fn what_changed_costs_a_page_or_all_of_it_and_the_whole_listing_besides() {
    let shelf = Shelf::new(&windowed(), (false, true));
    assert_eq!(changed(whole(&shelf, Counted(1000))), Calls::estimate(1, 51));
    assert_eq!(changed(whole(&shelf, Before(1000))), Calls::estimate(1, 55));
    assert_eq!(changed(whole(&shelf, Counted(5300))), Calls::estimate(1, 285));
    assert_eq!(off_sale(whole(&shelf, Counted(1000))), Calls::estimate(1, 26));
    assert_eq!(changed(whole(&Shelf::new(&endless(), (false, true)), Unknown)), Calls::at_least(1));
}

fn held(detailed: u64, with_skus: u64, skus: u64) -> Held {
    Held { detailed, with_skus, skus }
}

#[test]
fn details_cost_a_question_for_each_offer_that_the_mode_names() {
    use FetchDetails::{All, Changed, Missing, Off};
    let (shelf, none) = (Shelf::new(&windowed(), (false, true)), held(0, 0, 0));
    for (mode, offers, held, expected) in [
        (Off, Counted(100), none, Calls::ZERO),
        (Off, Unknown, none, Calls::ZERO),
        (All, Counted(100), held(60, 0, 0), Calls::estimate(100, 106)),
        (All, Before(100), held(60, 0, 0), Calls::estimate(0, 106)),
        (All, Unknown, none, Calls::estimate(0, 2000)),
        // Nothing is held: everything is missing.
        (Missing, Counted(100), none, Calls::estimate(100, 106)),
        (Changed, Counted(100), none, Calls::estimate(100, 106)),
        (Missing, Counted(100), held(60, 0, 0), Calls::estimate(40, 46)),
        // Newcomers may have taken the place of others.
        (Missing, Counted(100), held(100, 0, 0), Calls::estimate(0, 6)),
        (Missing, Counted(100), held(120, 0, 0), Calls::estimate(0, 6)),
        (Missing, Counted(1), held(1, 0, 0), Calls::estimate(0, 1)),
        (Missing, Before(100), held(100, 0, 0), Calls::estimate(0, 6)),
        (Missing, Unknown, held(5, 0, 0), Calls::estimate(0, 1995)),
        (Changed, Unknown, held(5, 0, 0), Calls::estimate(0, 2000)),
        (Changed, Counted(100), held(60, 0, 0), Calls::estimate(40, 106)),
        (Changed, Before(100), held(60, 0, 0), Calls::estimate(0, 106)),
    ] {
        assert_eq!(details(mode, &shelf, offers, held), expected, "{mode:?} {offers:?} {held:?}");
    }
    assert_eq!(details(All, &Shelf::new(&listing(), (false, true)), Unknown, none), Calls::between(0, 2000));
    assert_eq!(details(All, &Shelf::new(&endless(), (false, true)), Unknown, none), Calls::at_least(0));
    assert_eq!(details(All, &Shelf::new(&single_page(), (false, true)), Unknown, none), Calls::at_least(0));
    // What lies past the last page is not seen, so it is not asked for.
    assert_eq!(details(All, &Shelf::new(&listing(), (false, true)), Counted(5300), none), Calls::estimate(2000, 2000));
    assert_eq!(
        details(All, &Shelf::new(&single_page(), (false, true)), Counted(5300), none),
        Calls::estimate(5300, 5566)
    );
}

#[test]
fn skus_cost_what_the_skus_of_the_picture_before_make_likely() {
    use FetchDetails::{All, Changed, Missing, Off};
    let counted = Calls::exact;
    for (mode, offers, held, expected) in [
        (Off, counted(100), held(0, 90, 450), Calls::ZERO),
        (All, counted(0), held(0, 0, 0), Calls::ZERO),
        // No SKU was ever seen.
        (All, counted(100), held(0, 0, 0), Calls::at_least(0)),
        (Missing, counted(100), held(0, 0, 0), Calls::at_least(0)),
        (All, Calls::at_least(0), held(0, 90, 450), Calls::at_least(0)),
        // Five SKUs an offer; ten offers without any.
        (Missing, counted(100), held(0, 90, 450), Calls::estimate(0, 50)),
        (Changed, counted(100), held(0, 90, 450), Calls::estimate(0, 500)),
        (All, counted(100), held(0, 90, 450), Calls::estimate(0, 500)),
        // All offers have theirs: the usual newcomers.
        (Missing, counted(90), held(0, 90, 450), Calls::estimate(0, 25)),
        (All, Calls::estimate(0, 106), held(0, 100, 250), Calls::estimate(0, 265)),
    ] {
        assert_eq!(skus(mode, offers, (held, held)), expected, "{mode:?} {offers:?} {held:?}");
    }
}

#[test]
fn what_is_held_is_summed_over_offers() {
    let offer = |detailed, skus: &[i64]| KnownOffer { detailed, sku_ids: skus.to_vec(), ..KnownOffer::default() };
    let offers = [offer(true, &[]), offer(false, &[21, 22]), offer(true, &[31])];
    assert_eq!(Held::of(offers.into_iter()), held(2, 2, 3));
}
