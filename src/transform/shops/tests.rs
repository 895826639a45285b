use chrono::TimeZone;

use super::super::sort::{Record, Sorter};
use super::*;
use crate::base::Budget;

/// A record of today.
struct Key {
    shop_id: &'static str,
    offer_id: i64,
    modified_at: i64,
    content_hash: i64,
    is_detail: bool,
    is_renewed: bool,
    sku_complete: bool,
    price_complete: bool,
    moq_stated: bool,
}

/// An offer of a picture before.
#[derive(Clone, Default)]
struct PreviousOffer {
    shop_id: String,
    content_hash: i64,
    modified_at: Option<i64>,
    detailed: bool,
    sku_complete: bool,
    without_skus: bool,
    price_complete: bool,
    delisted: bool,
}

/// The pictures before.
#[derive(Default)]
struct Before {
    offers: HashMap<i64, PreviousOffer>,
    replaced: Option<HashMap<i64, PreviousOffer>>,
    replaced_shops: HashMap<String, ShopRow>,
    watermarks: HashMap<String, DateTime<Utc>>,
    ids_by_url: HashMap<String, String>,
}

/// What was judged, and what became of the offers.
struct Judged {
    shops: Vec<ShopRow>,
    carried: HashSet<i64>,
    kept: HashSet<i64>,
    delisted: HashSet<i64>,
    untouched: HashSet<String>,
    held: BTreeMap<String, String>,
}

fn sorted<R: Record>(records: impl Iterator<Item = R>) -> Sorted<R> {
    let mut sorter = Sorter::new(&Budget::new(0));
    records.for_each(|record| sorter.push(record).unwrap());
    sorter.finish().unwrap()
}

fn earlier(offers: &HashMap<i64, PreviousOffer>, names: &ShopNames) -> Sorted<Earlier> {
    sorted(offers.iter().map(|(offer_id, offer)| Earlier {
        offer_id: *offer_id,
        shop: names.number(Some(&offer.shop_id)),
        content_hash: offer.content_hash,
        modified_at: offer.modified_at,
        detailed: offer.detailed,
        sku_complete: offer.sku_complete,
        without_skus: offer.without_skus,
        price_complete: offer.price_complete,
        delisted: offer.delisted,
        row: 0,
    }))
}

fn at(hour: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 20, hour, 0, 0).unwrap()
}

fn key(shop_id: &'static str, offer_id: i64, content_hash: i64) -> Key {
    Key {
        shop_id,
        offer_id,
        modified_at: 0,
        content_hash,
        is_detail: false,
        is_renewed: false,
        sku_complete: true,
        price_complete: true,
        moq_stated: true,
    }
}

fn facts(shops: &[(&str, Option<i64>, Option<&str>)]) -> RunFacts {
    RunFacts {
        run_id: "r".into(),
        shops: shops
            .iter()
            .map(|(id, official_count, reason)| ShopFacts {
                shop_id: (*id).into(),
                shop_name: None,
                shop_url: None,
                official_count: *official_count,
                incomplete_reason: reason.map(str::to_owned),
                calls_used: 3,
                started_at: at(1),
                finished_at: at(2),
                ..ShopFacts::default()
            })
            .collect(),
        items_unanswered: Vec::new(),
        calls_used: 3,
        retries: 0,
        throttles: 0,
        bytes_received: 0,
        stopped: None,
        started_at: at(1),
        finished_at: at(2),
        ..RunFacts::default()
    }
}

fn previous(offers: &[(&str, i64, i64)]) -> Before {
    let offer = |shop: &str, content_hash| PreviousOffer {
        shop_id: shop.to_owned(),
        content_hash,
        sku_complete: true,
        price_complete: true,
        ..PreviousOffer::default()
    };
    Before {
        offers: offers.iter().map(|(shop, id, hash)| (*id, offer(shop, *hash))).collect(),
        replaced: None,
        replaced_shops: HashMap::new(),
        watermarks: HashMap::from([("a".to_owned(), at(0))]),
        ids_by_url: HashMap::from([("https://a.example".to_owned(), "a".to_owned())]),
    }
}

/// A run to judge; each test changes what it is about.
struct Case {
    facts: RunFacts,
    completeness: Completeness,
    keys: Vec<Key>,
    gone: HashSet<i64>,
    refused_details: BTreeMap<String, i64>,
    set_aside: HashSet<i64>,
    listings: Listings,
    searches: bool,
    hold: bool,
    skus_fetched: bool,
    calls_skus: bool,
    keeps_details: bool,
}

impl Case {
    fn new(facts: RunFacts, keys: Vec<Key>) -> Self {
        let completeness = Completeness {
            count: true,
            sku: true,
            price: true,
            count_tolerance: 5,
            sku_rate_min: 9_700,
            price_rate_min: 9_700,
        };
        Self {
            facts,
            completeness,
            keys,
            gone: HashSet::new(),
            refused_details: BTreeMap::new(),
            set_aside: HashSet::new(),
            listings: Listings::All,
            searches: false,
            hold: false,
            skus_fetched: false,
            calls_skus: false,
            keeps_details: false,
        }
    }

    fn judge(&self, before: &Before) -> Judged {
        let names = ShopNames::default();
        let records = sorted(self.keys.iter().map(|key| Candidate {
            offer_id: key.offer_id,
            is_detail: key.is_detail,
            is_renewed: key.is_renewed,
            modified_at: key.modified_at,
            fetched_at: 0,
            number: 1,
            position: 0,
            shop: names.number(Some(key.shop_id)),
            content_hash: key.content_hash,
            sku_complete: key.sku_complete,
            price_complete: key.price_complete,
            moq_stated: key.moq_stated,
            chunk: 0,
            row: 0,
        }));
        let previous = Previous {
            is_expired: false,
            offers: earlier(&before.offers, &names),
            replaced: before.replaced.as_ref().map(|offers| earlier(offers, &names)),
            replaced_shops: before.replaced_shops.clone(),
            watermarks: before.watermarks.clone(),
            ids_by_url: before.ids_by_url.clone(),
        };
        let fetched = Fetched {
            gateway: "portals",
            facts: &self.facts,
            completeness: &self.completeness,
            skus_fetched: self.skus_fetched,
            records: &records,
            names: &names,
            listed: &BTreeMap::new(),
            totals: &BTreeMap::new(),
            shop_names: &BTreeMap::new(),
            quarantined: &BTreeMap::new(),
            set_aside: &self.set_aside,
            gone: &self.gone,
            refused_details: &self.refused_details,
            listings: self.listings,
            searches: self.searches,
            hold: self.hold,
            calls_skus: self.calls_skus,
            keeps_details: self.keeps_details,
            reuses_details: false,
        };
        let mut verdict = judge(&fetched, &previous).unwrap();
        let (mut carried, mut kept, mut delisted) = (HashSet::new(), HashSet::new(), HashSet::new());
        settle(&fetched, &previous, &mut verdict, |settled| {
            match settled.fate {
                Fate::Carried(_) => carried.insert(settled.offer_id),
                Fate::Kept(_) => kept.insert(settled.offer_id),
                Fate::Delisted(..) => delisted.insert(settled.offer_id),
                Fate::Stands(..) | Fate::Gone => true,
            };
            Ok(())
        })
        .unwrap();
        let Verdict { shops, untouched, held, .. } = verdict;
        Judged { shops, carried, kept, delisted, untouched, held }
    }
}

#[test]
fn a_complete_shop_counts_new_and_changed_offers_and_delists_the_absent() {
    let case = Case::new(facts(&[("a", Some(3), None)]), vec![key("a", 1, 1), key("a", 2, 9), key("a", 3, 3)]);
    let verdict = case.judge(&previous(&[("a", 1, 1), ("a", 2, 2), ("a", 4, 4), ("gone-from-pipeline", 5, 5)]));
    let shop = &verdict.shops[0];
    assert_eq!((shop.offer_count, shop.new_count, shop.changed_count, shop.delisted_count), (3, 1, 1, 1));
    assert_eq!((shop.incomplete_reason.as_deref(), shop.watermark_at), (None, Some(at(1))));
    assert_eq!(verdict.delisted, HashSet::from([4]));
    assert!(verdict.carried.is_empty());
}

#[test]
fn what_leaves_a_search_is_neither_delisted_nor_carried_forward() {
    for (incomplete, carried) in [(None, 0), (Some("past page 50"), 1)] {
        let mut case = Case::new(facts(&[("a", Some(1), incomplete)]), vec![key("a", 1, 1)]);
        case.searches = true;
        let verdict = case.judge(&previous(&[("a", 1, 1), ("a", 4, 4)]));
        assert_eq!((verdict.delisted.len(), verdict.carried.len()), (0, carried), "{incomplete:?}");
        assert_eq!(verdict.shops[0].delisted_count, 0);
    }
}

#[test]
fn an_incomplete_shop_carries_forward_delists_nothing_and_keeps_its_watermark() {
    let case = Case::new(facts(&[("a", Some(3), Some("past page 50"))]), vec![key("a", 1, 1)]);
    let verdict = case.judge(&previous(&[("a", 1, 1), ("a", 4, 4)]));
    let shop = &verdict.shops[0];
    assert_eq!((verdict.carried.clone(), verdict.delisted.clone()), (HashSet::from([4]), HashSet::new()));
    assert_eq!((shop.offer_count, shop.carried_count, shop.watermark_at), (2, 1, Some(at(0))));
}

#[test]
fn counts_may_differ_by_the_tolerance_and_an_unknown_count_is_not_complete() {
    let check = |official, fetched: i64, reason: Option<&str>| {
        let case = Case::new(facts(&[("a", official, None)]), (1..=fetched).map(|id| key("a", id, 0)).collect());
        assert_eq!(case.judge(&Before::default()).shops[0].incomplete_reason.as_deref(), reason);
    };
    check(Some(105), 100, None);
    check(Some(95), 100, None);
    check(Some(106), 100, Some("the official count is 106, fetched were 100 offers"));
    check(Some(94), 100, Some("the official count is 94, fetched were 100 offers"));
    check(None, 100, Some("the official count is unknown"));
    check(Some(0), 0, None);
}

#[test]
fn who_is_absent_from_a_doubtful_listing_goes_on() {
    let mut case = Case::new(facts(&[("a", Some(3), None)]), vec![key("a", 1, 1), key("a", 2, 2)]);
    let before = previous(&[("a", 1, 1), ("a", 2, 2), ("a", 3, 3)]);
    assert_eq!(case.judge(&before).delisted, HashSet::from([3]));
    case.facts.shops[0].is_doubtful = true;
    let verdict = case.judge(&before);
    assert_eq!((verdict.carried.clone(), verdict.delisted.clone()), (HashSet::from([3]), HashSet::new()));
    let shop = &verdict.shops[0];
    assert_eq!((shop.incomplete_reason.as_deref(), shop.offer_count, shop.carried_count), (None, 3, 1));
}

#[test]
fn rates_are_judged_where_the_check_applies_only() {
    let mut case = Case::new(facts(&[("a", Some(100), None)]), (1..=100).map(|id| key("a", id, 0)).collect());
    case.keys.iter_mut().take(4).for_each(|key| key.price_complete = false);
    case.keys.iter_mut().for_each(|key| key.sku_complete = false);
    let shop = &case.judge(&Before::default()).shops[0];
    assert_eq!(
        shop.incomplete_reason.as_deref(),
        Some("96.00 % of the offers have a wholesale price, 97.00 % are needed")
    );
    assert_eq!((shop.sku_complete_rate, shop.price_complete_rate), (None, Some(9_600)));
    case.completeness.price = false;
    let shop = &case.judge(&Before::default()).shops[0];
    assert_eq!((shop.incomplete_reason.as_deref(), shop.price_complete_rate), (None, None));
}

#[test]
fn no_price_and_no_moq_anywhere_is_a_missing_permission() {
    let mut case = Case::new(facts(&[("a", Some(2), None)]), vec![key("a", 1, 0), key("a", 2, 0)]);
    case.keys.iter_mut().for_each(|key| (key.price_complete, key.moq_stated) = (false, false));
    let shop = &case.judge(&Before::default()).shops[0];
    assert!(shop.incomplete_reason.as_deref().unwrap().contains("B2B data permission"));
}

#[test]
fn a_shop_is_incomplete_where_the_details_of_all_its_offers_were_refused_for_no_known_reason() {
    let reason = |offers: i64, refused| {
        let keys = (1..=offers).map(|id| key("a", id, 0)).collect();
        let mut case = Case::new(facts(&[("a", Some(offers), None)]), keys);
        case.refused_details = [("a".to_owned(), refused)].into();
        case.judge(&Before::default()).shops[0].incomplete_reason.clone()
    };
    assert!(reason(5, 5).unwrap().starts_with("each of the 5 details was refused with a code"));
    assert_eq!(reason(6, 5), None, "the others were answered, or are known");
    assert_eq!(reason(4, 4), None, "so few may be locked");
}

#[test]
fn a_held_shop_keeps_its_last_rows_and_sets_the_new_ones_aside() {
    let mut case =
        Case::new(facts(&[("a", Some(9), None), ("b", Some(1), None)]), vec![key("a", 1, 7), key("b", 2, 0)]);
    case.completeness.count_tolerance = 0;
    case.hold = true;
    let verdict = case.judge(&previous(&[("a", 1, 1), ("a", 4, 4)]));
    assert_eq!(verdict.carried, HashSet::from([1, 4]));
    assert_eq!(verdict.held.keys().collect::<Vec<_>>(), ["a"]);
    let shop = &verdict.shops[0];
    assert_eq!((shop.offer_count, shop.carried_count, shop.quarantined_count), (2, 2, 1));
    assert!(shop.incomplete_reason.as_deref().unwrap().ends_with("held back, its last rows are kept"));
    assert_eq!(verdict.shops[1].incomplete_reason, None);
}

#[test]
fn of_single_offers_the_unanswered_are_carried_and_only_those_said_to_be_gone_are_delisted() {
    let mut case = Case::new(facts(&[]), vec![key("a", 1, 1)]);
    case.listings = Listings::Named;
    case.facts.items_unanswered = vec![2];
    case.gone = HashSet::from([3]);
    let verdict = case.judge(&previous(&[("a", 1, 1), ("a", 2, 2), ("a", 3, 3), ("a", 4, 4)]));
    assert_eq!((verdict.carried, verdict.delisted), (HashSet::from([2]), HashSet::from([3])));
    assert_eq!(verdict.shops[0].incomplete_reason.as_deref(), Some("1 of the items asked for were not answered"));
}

#[test]
fn beside_a_listed_shop_single_offers_of_another_are_complete_without_count_and_rates() {
    let mut case = Case::new(facts(&[("a", Some(1), None)]), vec![key("a", 1, 1), key("b", 2, 2)]);
    case.listings = Listings::Named;
    case.keys[1].price_complete = false;
    let verdict = case.judge(&previous(&[("a", 1, 1), ("a", 4, 4), ("b", 2, 2), ("b", 3, 3)]));
    let reasons: Vec<_> = verdict.shops.iter().map(|shop| shop.incomplete_reason.as_deref()).collect();
    assert_eq!(reasons, [None, None]);
    assert_eq!(verdict.shops[1].price_complete_rate, None);
    assert_eq!((verdict.carried, verdict.delisted), (HashSet::new(), HashSet::from([4])));
}

#[test]
fn without_a_count_check_absence_proves_nothing() {
    let mut case = Case::new(facts(&[]), vec![key("a", 1, 1)]);
    case.completeness.count = false;
    let verdict = case.judge(&previous(&[("a", 1, 1), ("a", 2, 2)]));
    assert!(verdict.carried.is_empty() && verdict.delisted.is_empty());
    assert_eq!(verdict.shops[0].incomplete_reason, None);
}

#[test]
fn a_shop_that_cannot_be_resolved_today_keeps_its_id_and_its_rows() {
    let case = Case::new(facts(&[("https://a.example", None, Some("the shop cannot be resolved"))]), Vec::new());
    let verdict = case.judge(&previous(&[("a", 1, 1)]));
    assert_eq!(verdict.shops[0].shop_id, "a");
    assert_eq!(verdict.carried, HashSet::from([1]));
}

#[test]
fn an_offer_that_was_listed_but_set_aside_is_carried_forward_and_not_delisted() {
    let mut case = Case::new(facts(&[("a", Some(2), None)]), vec![key("a", 1, 1)]);
    case.set_aside = HashSet::from([2]);
    let verdict = case.judge(&previous(&[("a", 1, 1), ("a", 2, 2)]));
    assert_eq!((verdict.carried, verdict.delisted), (HashSet::from([2]), HashSet::new()));
    assert_eq!(verdict.shops[0].incomplete_reason, None);
}

#[test]
fn a_shop_named_twice_has_one_row() {
    let twice = facts(&[("a", Some(1), None), ("https://a.example", None, Some("not resolved"))]);
    let verdict = Case::new(twice, vec![key("a", 1, 1)]).judge(&previous(&[]));
    assert_eq!(verdict.shops.len(), 1);
    assert_eq!((verdict.shops[0].calls_used, verdict.shops[0].incomplete_reason.as_deref()), (6, None));
}

#[test]
fn a_day_published_anew_keeps_what_it_had_where_a_shop_is_incomplete_this_time() {
    let mut before = previous(&[("a", 1, 1), ("a", 9, 9)]);
    before.replaced = Some(previous(&[("a", 1, 1), ("a", 2, 2)]).offers);
    let mut case = Case::new(facts(&[("a", Some(2), Some("a page failed"))]), vec![key("a", 1, 1)]);
    assert_eq!(case.judge(&before).carried, HashSet::from([2]), "as seen earlier the same day");
    case.hold = true;
    let verdict = case.judge(&before);
    assert_eq!(verdict.carried, HashSet::from([1, 2]));
    assert!(verdict.shops[0].incomplete_reason.as_deref().unwrap().ends_with("its last rows are kept"));
    let case = Case::new(facts(&[("a", Some(1), None)]), vec![key("a", 1, 1)]);
    assert_eq!(case.judge(&before).delisted, HashSet::from([9]), "only the day before makes an offer delisted");
}

#[test]
fn what_the_same_day_called_delisted_stays_so_where_the_shop_is_incomplete_this_time() {
    let mut before = previous(&[("a", 1, 1), ("a", 9, 9)]);
    let mut replaced = previous(&[("a", 1, 1), ("a", 9, 9)]).offers;
    replaced.get_mut(&9).unwrap().delisted = true;
    before.replaced = Some(replaced);
    let case = Case::new(facts(&[("a", Some(1), Some("a page failed"))]), vec![key("a", 1, 1)]);
    let verdict = case.judge(&before);
    assert_eq!((verdict.carried, verdict.delisted), (HashSet::from([9]), HashSet::new()));
    assert_eq!((verdict.shops[0].delisted_count, verdict.shops[0].offer_count), (1, 1));
}

/// Facts of a shop that was listed by its changes.
fn changed(official_count: i64, off_sale: &[i64]) -> RunFacts {
    let mut facts = facts(&[("a", Some(official_count), None)]);
    facts.shops[0].listing = Listed::Changed;
    facts.shops[0].off_sale = off_sale.to_vec();
    facts.shops[0].watermark_at = Some(at(3));
    facts
}

#[test]
fn a_listing_by_changes_carries_the_rest_and_delists_what_the_gateway_says_is_off_sale() {
    let case = Case::new(changed(4, &[4, 1]), vec![key("a", 1, 9), key("a", 3, 3)]);
    let verdict = case.judge(&previous(&[("a", 1, 1), ("a", 2, 2), ("a", 4, 4), ("a", 5, 5), ("b", 6, 6)]));
    assert_eq!((verdict.carried, verdict.delisted), (HashSet::from([2, 5]), HashSet::from([4])));
    let shop = &verdict.shops[0];
    let counts = (shop.offer_count, shop.new_count, shop.changed_count, shop.carried_count, shop.delisted_count);
    assert_eq!(counts, (4, 1, 1, 2, 1));
    assert_eq!((shop.incomplete_reason.as_deref(), shop.watermark_at), (None, Some(at(3))));
}

#[test]
fn after_a_listing_by_changes_the_count_is_that_of_listed_and_carried_offers() {
    let mut case = Case::new(changed(4, &[4]), vec![key("a", 1, 1)]);
    case.completeness.count_tolerance = 0;
    let before = previous(&[("a", 1, 1), ("a", 2, 2), ("a", 4, 4)]);
    let verdict = case.judge(&before);
    let shop = &verdict.shops[0];
    assert_eq!(shop.incomplete_reason.as_deref(), Some("the official count is 4, fetched were 2 offers"));
    assert_eq!((shop.watermark_at, shop.carried_count), (Some(at(0)), 1), "its watermark stays");
    assert_eq!((verdict.carried, verdict.delisted), (HashSet::from([2]), HashSet::from([4])));
    case.facts.shops[0].official_count = Some(2);
    assert_eq!(case.judge(&before).shops[0].incomplete_reason, None);
}

#[test]
fn rates_after_a_listing_by_changes_are_over_listed_and_carried_offers() {
    let mut before = previous(&(1..=100).map(|id| ("a", id, id)).collect::<Vec<_>>());
    let mut case = Case::new(changed(100, &[]), vec![key("a", 1, 1)]);
    case.keys[0].price_complete = false;
    assert_eq!(case.judge(&before).shops[0].price_complete_rate, Some(9_900));
    for id in 2..=4 {
        before.offers.get_mut(&id).unwrap().price_complete = false;
    }
    let shop = &case.judge(&before).shops[0];
    assert!(shop.incomplete_reason.as_deref().unwrap().starts_with("96.00 % of the offers have a wholesale price"));
}

#[test]
fn a_held_shop_listed_by_its_changes_keeps_also_what_went_off_sale() {
    let mut case = Case::new(changed(9, &[4]), vec![key("a", 1, 7)]);
    (case.hold, case.completeness.count_tolerance) = (true, 0);
    let verdict = case.judge(&previous(&[("a", 1, 1), ("a", 4, 4)]));
    assert_eq!((verdict.carried, verdict.delisted), (HashSet::from([1, 4]), HashSet::new()));
    assert_eq!((verdict.shops[0].offer_count, verdict.shops[0].carried_count), (2, 2));
}

#[test]
fn an_untouched_shop_keeps_its_row_and_its_rows_delisted_ones_included() {
    let mut facts = facts(&[("a", None, None), ("b", Some(1), None)]);
    facts.shops[0].listing = Listed::Untouched;
    let mut case = Case::new(facts, vec![key("b", 8, 8)]);
    case.hold = true;
    let mut before = previous(&[("a", 1, 1), ("a", 7, 7), ("b", 8, 8)]);
    let mut replaced = previous(&[("a", 1, 1), ("a", 2, 2), ("a", 7, 7), ("b", 8, 8)]).offers;
    replaced.get_mut(&7).unwrap().delisted = true;
    before.replaced = Some(replaced);
    let earlier = Case::new(self::facts(&[("a", Some(30), Some("a page failed"))]), vec![key("a", 1, 1)]);
    let row = ShopRow { quarantined_count: 5, delisted_count: 1, ..earlier.judge(&before).shops[0].clone() };
    before.replaced_shops.insert("a".to_owned(), row.clone());
    let verdict = case.judge(&before);
    assert_eq!(verdict.shops[0], row, "it is not judged again");
    assert_eq!((verdict.carried, verdict.delisted), (HashSet::from([1, 2, 7]), HashSet::new()));
    assert_eq!((verdict.untouched.len(), verdict.held.len()), (1, 0));
    before.replaced_shops.clear();
    let reason = "it was not listed, and the day has no earlier rows of it";
    case.hold = false;
    assert_eq!(case.judge(&before).shops[0].incomplete_reason.as_deref(), Some(reason));
}

#[test]
fn a_detail_stands_until_its_offer_is_modified() {
    let mut case = Case::new(facts(&[("a", Some(5), None)]), (1..=5).map(|id| key("a", id, 100 + id)).collect());
    case.keys.iter_mut().for_each(|key| (key.modified_at, key.price_complete) = (7, false));
    case.keys[3].is_detail = true;
    // This record is the row before already, with SKUs of today.
    case.keys[4].is_renewed = true;
    let mut before = previous(&[("a", 1, 1), ("a", 2, 2), ("a", 3, 3), ("a", 4, 4), ("a", 5, 5)]);
    before.offers.values_mut().for_each(|offer| (offer.modified_at, offer.detailed) = (Some(7), true));
    before.offers.get_mut(&2).unwrap().modified_at = Some(6);
    before.offers.get_mut(&3).unwrap().detailed = false;
    assert_eq!(case.judge(&before).kept, HashSet::new(), "details were not asked for");
    case.keeps_details = true;
    let verdict = case.judge(&before);
    assert_eq!((verdict.kept, verdict.carried), (HashSet::from([1]), HashSet::new()));
    let shop = &verdict.shops[0];
    assert_eq!((shop.offer_count, shop.changed_count, shop.price_complete_rate), (5, 4, Some(2_000)));
    // Which SKUs it lacks, today's record says: they were asked for beside the detail.
    before.offers.values_mut().for_each(|offer| offer.sku_complete = true);
    case.keys.iter_mut().for_each(|key| key.sku_complete = false);
    case.skus_fetched = true;
    for (calls_skus, without_skus, expected) in [(false, false, 2_000), (true, false, 0), (true, true, 2_000)] {
        case.calls_skus = calls_skus;
        before.offers.values_mut().for_each(|offer| offer.without_skus = without_skus);
        assert_eq!(case.judge(&before).shops[0].sku_complete_rate, Some(expected));
    }
}

#[test]
fn what_a_held_shop_shows_is_not_delisted_in_the_shop_that_lacks_it() {
    let mut case =
        Case::new(facts(&[("a", Some(1), None), ("b", Some(9), None)]), vec![key("a", 1, 1), key("b", 2, 2)]);
    case.hold = true;
    let verdict = case.judge(&previous(&[("a", 1, 1), ("a", 2, 2), ("a", 3, 3)]));
    assert_eq!(verdict.held.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!((verdict.carried, verdict.delisted), (HashSet::from([2]), HashSet::from([3])));
}

#[test]
fn the_row_of_an_untouched_shop_counts_no_offer_that_another_shop_shows_now() {
    let mut facts = facts(&[("a", Some(3), None), ("b", Some(1), None)]);
    facts.shops[0].listing = Listed::Untouched;
    let mut before = previous(&[]);
    let earlier = self::facts(&[("a", Some(3), None)]);
    let earlier = Case::new(earlier, vec![key("a", 1, 1), key("a", 2, 2), key("a", 3, 3)]).judge(&before);
    before.replaced_shops.insert("a".to_owned(), earlier.shops[0].clone());
    before.replaced = Some(previous(&[("a", 1, 1), ("a", 2, 2), ("a", 3, 3)]).offers);
    let verdict = Case::new(facts, vec![key("b", 2, 2)]).judge(&before);
    assert_eq!(verdict.shops.iter().map(|shop| shop.offer_count).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(verdict.carried, HashSet::from([1, 3]));
}

#[test]
fn items_that_an_earlier_attempt_was_answered_for_stay_as_they_were() {
    let mut case = Case::new(facts(&[]), vec![key("a", 1, 1)]);
    case.listings = Listings::Named;
    case.facts.items_untouched = vec![2, 3, 4];
    let mut before = previous(&[("a", 1, 1), ("a", 2, 2), ("b", 3, 3), ("a", 4, 4), ("a", 5, 5)]);
    let mut replaced = before.offers.clone();
    replaced.get_mut(&4).unwrap().delisted = true;
    before.replaced = Some(replaced);
    let verdict = case.judge(&before);
    assert_eq!((verdict.carried, verdict.delisted), (HashSet::from([2, 3, 4]), HashSet::new()));
    let counts = |shop: &ShopRow| (shop.shop_id.clone(), shop.offer_count, shop.carried_count, shop.delisted_count);
    let shops: Vec<_> = verdict.shops.iter().map(counts).collect();
    assert_eq!(shops, [("a".to_owned(), 2, 1, 1), ("b".to_owned(), 1, 1, 0)]);
    assert!(verdict.shops.iter().all(|shop| shop.incomplete_reason.is_none()));
}
