//! The schedule against made-up answers.

use super::*;
use crate::config::pipeline::{FetchDetails, FetchListing, Shop};
use crate::extract::facts::Listed;
use crate::extract::testing;
use crate::plan::{KnownOffer, KnownShop};

const UNTIL: &str = "2026-11-20T18:00:00Z";

struct World {
    pipeline: crate::config::Pipeline,
    known: Known,
    gated: bool,
}

fn world(shops: &[&str], items: &[i64], skus: FetchDetails) -> World {
    let mut pipeline = testing::pipeline(testing::gateway(""));
    pipeline.shops = shops.iter().map(|id| testing::shop(id)).collect();
    pipeline.items = items.to_vec();
    pipeline.fetch.skus = skus;
    World { pipeline, known: Known::default(), gated: false }
}

impl World {
    fn schedule(&self) -> Schedule<'_> {
        let setup = Setup {
            gateway: &self.pipeline.gateway,
            details: &self.pipeline.gateway,
            fetch: &self.pipeline.fetch,
            known: &self.known,
            dt: "2026-11-21".parse().unwrap(),
            until: testing::at(UNTIL),
            stalest_first: true,
            gated: self.gated,
            asked: &[],
        };
        Schedule::new(crate::plan::work(&self.pipeline).unwrap(), setup, &HashMap::new())
    }

    /// Windows, off-sale listings, and a picture of yesterday that holds these offers of shop `a`.
    fn with_yesterday(mut self, ids: std::ops::Range<i64>) -> Self {
        let gateway = &mut self.pipeline.gateway;
        let listing = gateway.endpoints.get_mut("listing").unwrap();
        listing.window = Some(crate::config::gateway::Window {
            start: "start_time".into(),
            end: None,
            time: None,
            field: "modified_at".into(),
            drop: Vec::new(),
            params: Vec::new(),
            overlap_seconds: 600,
        });
        let off_sale = crate::config::gateway::Endpoint { name: "off_sale".into(), ..listing.clone() };
        gateway.endpoints.insert("off_sale".into(), off_sale);
        self.pipeline.fetch.listing = FetchListing::Changed;
        let shop = KnownShop {
            watermark_at: Some(testing::at("2026-11-19T18:00:00Z")),
            whole_dt: "2026-11-18".parse().ok(),
            offers: ids.map(|id| (id, KnownOffer::default())).collect(),
            ..KnownShop::default()
        };
        self.known.shops.insert("a".into(), shop);
        self
    }
}

fn page(ids: std::ops::Range<i64>, sku_ids: &[i64]) -> Outcome {
    let keys: Vec<u64> = ids.clone().map(|id| u64::try_from(id).unwrap()).collect();
    let modified = vec![Some(testing::at("2026-11-20T00:00:00Z")); keys.len()];
    let named = |offer_id| Named { offer_id, sku_ids: sku_ids.to_vec(), modified_at: None };
    Outcome::Page(Page { keys, modified, total: None }, ids.map(named).collect())
}

fn on_sale(shop: usize, page: u32) -> Task {
    Task::Page { shop, list: ListKind::OnSale, slice: 0, page }
}

fn off_sale(page: u32) -> Task {
    Task::Page { shop: 0, list: ListKind::OffSale, slice: 0, page }
}

fn now() -> DateTime<Utc> {
    testing::at(UNTIL)
}

/// Every task that can be handed out now.
fn tasks(schedule: &mut Schedule<'_>) -> Vec<Task> {
    std::iter::from_fn(|| schedule.next(now())).collect()
}

fn settle(schedule: &mut Schedule<'_>, task: &Task, outcome: Outcome) {
    schedule.settle(task, outcome, now()).unwrap();
}

#[test]
fn a_shop_that_waits_lets_the_next_ones_go_ahead_and_items_come_last() {
    let world = world(&["a", "b"], &[9], FetchDetails::Off);
    let mut schedule = world.schedule();
    let item = Task::Item { shop: None, offer_ids: vec![9] };
    assert_eq!(tasks(&mut schedule), [Task::Count { shop: 0 }, Task::Count { shop: 1 }, item]);
    settle(&mut schedule, &Task::Count { shop: 0 }, Outcome::Counted(5));
    assert_eq!(tasks(&mut schedule), [on_sale(0, 1), on_sale(0, 2), on_sale(0, 3)]);
}

#[test]
fn pages_wait_for_the_count_which_may_say_that_one_is_all() {
    let world = world(&["a"], &[], FetchDetails::Off);
    let mut schedule = world.schedule();
    assert_eq!(tasks(&mut schedule), [Task::Count { shop: 0 }]);
    settle(&mut schedule, &Task::Count { shop: 0 }, Outcome::Counted(2));
    assert_eq!(tasks(&mut schedule), [on_sale(0, 1)]);
    settle(&mut schedule, &on_sale(0, 1), page(1..3, &[]));
    assert_eq!(tasks(&mut schedule), []);
    let facts = schedule.finished(0).unwrap();
    assert_eq!((facts.incomplete_reason, facts.listing), (None, Listed::Whole));
    assert_eq!((facts.whole_dt, facts.watermark_at), ("2026-11-21".parse().ok(), Some(now())));
}

#[test]
fn a_night_that_cannot_go_by_what_changed_says_why() {
    let late = Outcome::Failed("busy".to_owned());
    let old = || {
        let Outcome::Page(mut page, named) = page(1..4, &[]) else { unreachable!() };
        page.modified.fill(Some(testing::at("2026-11-01T00:00:00Z")));
        Outcome::Page(page, named)
    };
    let unread = "the gateway does not read parameter `start_time` (it lists offers from outside the window): \
                  modified 2026-11-19T17:50:00Z to now";
    for (changed, gone, why) in [
        (page(0..0, &[]), page(0..0, &[]), "the official count is 3, carried and listed are 2 offers".to_owned()),
        (old(), page(0..0, &[]), format!("what changed was not listed to its end: {unread}")),
        (page(0..0, &[]), old(), format!("what went off sale was not listed to its end: {unread}")),
        (
            late,
            page(0..0, &[]),
            "what changed was not listed to its end: modified 2026-11-19T17:50:00Z to now: page 1: busy".to_owned(),
        ),
    ] {
        let world = world(&["a"], &[], FetchDetails::Off).with_yesterday(1..3);
        let mut schedule = world.schedule();
        assert_eq!(tasks(&mut schedule), [Task::Count { shop: 0 }]);
        settle(&mut schedule, &Task::Count { shop: 0 }, Outcome::Counted(3));
        assert_eq!(tasks(&mut schedule), [on_sale(0, 1), off_sale(1)]);
        settle(&mut schedule, &on_sale(0, 1), changed);
        settle(&mut schedule, &off_sale(1), gone);
        assert_eq!(schedule.news(0), Some(format!("{why}: the shop is listed whole")));
        assert!(!tasks(&mut schedule).is_empty());
    }
}

#[test]
fn a_shop_of_several_names_is_listed_once_under_the_one_that_was_known_first() {
    let mut world = world(&["a"], &[], FetchDetails::Off);
    let by_url = |url: &str, name: Option<&str>| Shop {
        id: None,
        url: Some(format!("https://{url}.example")),
        name: name.map(str::to_owned),
    };
    world.pipeline.shops.splice(0..0, [by_url("one", Some("甲")), by_url("two", None), by_url("three", None)]);
    let mut schedule = world.schedule();
    let resolve = |shop| Task::Resolve { shop };
    assert_eq!(tasks(&mut schedule), [resolve(0), resolve(1), resolve(2), Task::Count { shop: 3 }]);
    for (shop, id) in [(1, "a"), (2, "b"), (0, "b")] {
        schedule.spent(&resolve(shop), 1);
        settle(&mut schedule, &resolve(shop), Outcome::Resolved(id.into()));
    }
    let said = schedule.news(1).unwrap();
    assert_eq!(said, "it is the shop that the pipeline names `a`, too: it is listed once");
    let said = schedule.news(0).unwrap();
    assert_eq!(said, "it is the shop that the pipeline names `https://three.example`, too: it is listed once");
    assert_eq!(tasks(&mut schedule), [Task::Count { shop: 2 }]);
    assert_eq!(schedule.finished(0), None, "what it is not, it does not finish");
    for shop in [2, 3] {
        settle(&mut schedule, &Task::Count { shop }, Outcome::Counted(0));
    }
    tasks(&mut schedule);
    let (facts, _) = schedule.facts(now(), Some("quota"));
    let told = |facts: &ShopFacts| {
        let ShopFacts { shop_id, shop_name, shop_url, other_urls, calls_used, .. } = facts.clone();
        (shop_id, shop_name, shop_url, other_urls, calls_used)
    };
    let url = |url: &str| format!("https://{url}.example");
    let expected = [
        ("b".to_owned(), Some("甲".to_owned()), Some(url("three")), vec![url("one")], 2),
        ("a".to_owned(), None, Some(url("two")), vec![], 1),
    ];
    assert_eq!(facts.iter().map(told).collect::<Vec<_>>(), expected);
}

#[test]
fn behind_the_gate_only_ids_and_counts_are_asked_for() {
    let mut world = world(&["a", "b"], &[9], FetchDetails::Off);
    world.gated = true;
    let mut schedule = world.schedule();
    assert_eq!(tasks(&mut schedule), [Task::Count { shop: 0 }, Task::Count { shop: 1 }]);
    settle(&mut schedule, &Task::Count { shop: 0 }, Outcome::Counted(2));
    assert_eq!((tasks(&mut schedule), schedule.counts()), (vec![], HashMap::from([(0, 2)])));
    settle(&mut schedule, &Task::Count { shop: 1 }, Outcome::Refused("no".into()));
    schedule.open();
    assert_eq!(tasks(&mut schedule).len(), 3);
}

#[test]
fn behind_the_second_gate_listings_and_items_are_asked_for_and_say_what_they_name() {
    let mut world = world(&["a"], &[9], FetchDetails::All);
    world.gated = true;
    let mut schedule = world.schedule();
    tasks(&mut schedule);
    settle(&mut schedule, &Task::Count { shop: 0 }, Outcome::Counted(2));
    schedule.open();
    let item = Task::Item { shop: None, offer_ids: vec![9] };
    assert_eq!((tasks(&mut schedule), schedule.stage()), (vec![on_sale(0, 1), item.clone()], Stage::Listings));
    let named = |schedule: &Schedule<'_>| -> Vec<_> {
        schedule.named().map(|(shop, is_all, tasks)| (shop, is_all, tasks.len())).collect()
    };
    assert_eq!(named(&schedule), [(Some(0), false, 0), (None, false, 0)]);
    settle(&mut schedule, &on_sale(0, 1), page(1..3, &[7, 8]));
    let offer = Named { offer_id: 9, sku_ids: vec![91], modified_at: None };
    settle(&mut schedule, &item, Outcome::Detail(vec![offer]));
    assert_eq!((tasks(&mut schedule), named(&schedule)), (vec![], vec![(Some(0), true, 2), (None, true, 1)]));
    schedule.open();
    assert_eq!(tasks(&mut schedule).len(), 3);
}

#[test]
fn a_sku_is_asked_for_once_and_the_shop_is_finished_after_its_last() {
    let world = world(&["a"], &[], FetchDetails::All);
    let mut schedule = world.schedule();
    tasks(&mut schedule);
    settle(&mut schedule, &Task::Count { shop: 0 }, Outcome::Counted(2));
    tasks(&mut schedule);
    settle(&mut schedule, &on_sale(0, 1), page(1..3, &[7]));
    let sku = Task::Sku { shop: Some(0), offer_id: 1, sku_id: 7 };
    assert_eq!(tasks(&mut schedule), std::slice::from_ref(&sku));
    assert_eq!(schedule.finished(0), None);
    settle(&mut schedule, &sku, Outcome::Refused("gone".into()));
    assert_eq!(schedule.finished(0).unwrap().incomplete_reason, None);
}

#[test]
fn every_shop_and_item_of_the_plan_is_in_the_facts_whenever_the_run_ends() {
    let all = world(&["a", "b"], &[1, 2], FetchDetails::Off);
    let (shops, items) = all.schedule().facts(now(), Some("quota"));
    let reasons: Vec<_> = shops.iter().map(|shop| shop.incomplete_reason.as_deref()).collect();
    assert_eq!((reasons, items), (vec![Some("not listed: quota"); 2], vec![1, 2]));
    let half = world(&["a"], &[1], FetchDetails::All);
    let mut schedule = half.schedule();
    tasks(&mut schedule);
    settle(&mut schedule, &Task::Count { shop: 0 }, Outcome::Counted(2));
    tasks(&mut schedule);
    settle(&mut schedule, &on_sale(0, 1), page(1..3, &[7, 8]));
    tasks(&mut schedule);
    settle(&mut schedule, &Task::Sku { shop: Some(0), offer_id: 1, sku_id: 7 }, Outcome::Detail(Vec::new()));
    settle(&mut schedule, &Task::Sku { shop: Some(0), offer_id: 1, sku_id: 8 }, Outcome::NotSent);
    settle(&mut schedule, &Task::Item { shop: None, offer_ids: vec![1] }, Outcome::NotSent);
    let (shops, items) = schedule.facts(now(), Some("quota"));
    let reason = shops[0].incomplete_reason.as_deref();
    assert_eq!((reason, items), (Some("1 details were not asked for: quota"), vec![1]));
}

#[test]
fn what_changed_since_the_watermark_proves_a_shop_whose_count_agrees() {
    let world = world(&["a"], &[], FetchDetails::Off).with_yesterday(1..11);
    let mut schedule = world.schedule();
    assert_eq!(tasks(&mut schedule), [Task::Count { shop: 0 }]);
    // One is new, one went off sale.
    settle(&mut schedule, &Task::Count { shop: 0 }, Outcome::Counted(10));
    assert_eq!(tasks(&mut schedule), [on_sale(0, 1), off_sale(1)]);
    let (span, _) = schedule.slice(0, ListKind::OnSale, 0);
    assert_eq!(span.unwrap().start_at, Some(testing::at("2026-11-19T17:50:00Z")), "with an overlap");
    settle(&mut schedule, &on_sale(0, 1), page(11..12, &[]));
    settle(&mut schedule, &off_sale(1), page(3..4, &[]));
    // No count tells whether a page of some records was the last.
    assert_eq!(tasks(&mut schedule), [on_sale(0, 2), off_sale(2)]);
    settle(&mut schedule, &on_sale(0, 2), page(0..0, &[]));
    settle(&mut schedule, &off_sale(2), page(0..0, &[]));
    assert_eq!(tasks(&mut schedule), []);
    let facts = schedule.finished(0).unwrap();
    assert_eq!((facts.listing, facts.off_sale, facts.incomplete_reason), (Listed::Changed, vec![3], None));
    assert_eq!(facts.whole_dt, "2026-11-18".parse().ok());
}

#[test]
fn a_shop_whose_count_disagrees_is_listed_whole_in_the_same_run() {
    let world = world(&["a"], &[], FetchDetails::Off).with_yesterday(1..11);
    let mut schedule = world.schedule();
    tasks(&mut schedule);
    settle(&mut schedule, &Task::Count { shop: 0 }, Outcome::Counted(2));
    tasks(&mut schedule);
    settle(&mut schedule, &off_sale(1), page(1..1, &[]));
    settle(&mut schedule, &on_sale(0, 1), page(11..12, &[]));
    assert_eq!(tasks(&mut schedule), [on_sale(0, 2)]);
    settle(&mut schedule, &on_sale(0, 2), page(0..0, &[]));
    assert!(schedule.news(0).unwrap().contains("the official count is 2, carried and listed are 11 offers"));
    assert_eq!(schedule.unturned(), ["a"], "what was listed by what changed may be of no use, too");
    assert_eq!(tasks(&mut schedule), [on_sale(0, 1)]);
    assert_eq!(schedule.slice(0, ListKind::OnSale, 0), (None, None), "the plain listing");
    settle(&mut schedule, &on_sale(0, 1), page(1..3, &[]));
    assert_eq!(tasks(&mut schedule), [on_sale(0, 2)], "offers are absent: is the count too low?");
    settle(&mut schedule, &on_sale(0, 2), page(0..0, &[]));
    assert_eq!(schedule.unturned(), [""; 0]);
    let facts = schedule.finished(0).unwrap();
    assert_eq!((facts.listing, facts.whole_dt), (Listed::Whole, "2026-11-21".parse().ok()));
    assert!(facts.coverage[0].outcome.ends_with("incremental, not proven"), "{:?}", facts.coverage);
}

#[test]
fn a_whole_listing_that_lacks_more_of_the_count_than_the_one_before_is_doubtful() {
    for (count, before, short, is_doubtful) in [(3, 0, 0, false), (4, 0, 1, true), (4, 1, 1, false), (2, 0, 0, false)] {
        let mut world = world(&["a"], &[], FetchDetails::Off).with_yesterday(1..11);
        world.pipeline.fetch.listing = FetchListing::All;
        world.known.shops.get_mut("a").unwrap().short = before;
        let mut schedule = world.schedule();
        tasks(&mut schedule);
        settle(&mut schedule, &Task::Count { shop: 0 }, Outcome::Counted(count));
        assert_eq!(tasks(&mut schedule).first(), Some(&on_sale(0, 1)));
        settle(&mut schedule, &on_sale(0, 1), page(1..3, &[]));
        tasks(&mut schedule);
        settle(&mut schedule, &on_sale(0, 2), page(3..4, &[]));
        tasks(&mut schedule);
        let facts = schedule.finished(0).unwrap();
        assert_eq!((facts.short, facts.is_doubtful), (short, is_doubtful), "{count}, {before}");
    }
}

#[test]
fn an_old_count_that_the_listing_differs_from_is_asked_for_once_more() {
    for (listing, is_old, count, again) in [
        (FetchListing::All, true, 30, Some(4)),
        (FetchListing::All, true, 30, None),
        (FetchListing::All, true, 4, None),
        (FetchListing::All, false, 30, None),
        (FetchListing::Changed, true, 12, Some(11)),
        (FetchListing::Changed, true, 11, None),
    ] {
        let mut world = world(&["a"], &[], FetchDetails::Off).with_yesterday(1..11);
        world.pipeline.fetch.listing = listing;
        world.pipeline.gateway.endpoints.remove("off_sale");
        let mut schedule = world.schedule();
        let task = Task::Count { shop: 0 };
        assert_eq!(tasks(&mut schedule), std::slice::from_ref(&task));
        schedule.answered_at(&task, now() - chrono::TimeDelta::hours(if is_old { 7 } else { 5 }));
        settle(&mut schedule, &task, Outcome::Counted(count));
        // Four offers in all; or one that is new, beside the ten of yesterday.
        let listed = if listing == FetchListing::All { 1..5 } else { 11..12 };
        let mut recounted = false;
        while let Some(task) = schedule.next(now()) {
            let outcome = match &task {
                Task::Recount { .. } => {
                    assert!(!std::mem::replace(&mut recounted, true), "once");
                    Outcome::Counted(again.unwrap_or(count))
                }
                Task::Page { page: number, .. } => {
                    let first = listed.start + i64::from(number - 1) * 2;
                    page(first.min(listed.end)..(first + 2).min(listed.end), &[])
                }
                task => panic!("{task:?}"),
            };
            schedule.answered_at(&task, now());
            settle(&mut schedule, &task, outcome);
        }
        let facts = schedule.finished(0).unwrap();
        let is_wrong = if listing == FetchListing::All { count == 30 } else { count == 12 };
        assert_eq!(recounted, is_old && is_wrong, "{listing:?} {count} {again:?}");
        assert_eq!(facts.official_count, i64::try_from(again.unwrap_or(count)).ok());
        if listing == FetchListing::Changed {
            assert_eq!(facts.listing, Listed::Changed, "{count}");
        }
    }
}

#[test]
fn a_count_as_old_as_its_pages_stands_and_pages_hours_apart_are_doubtful() {
    for (days, is_doubtful) in [([1, 1], false), ([1, 0], true), ([0, 0], false)] {
        let mut world = world(&["a"], &[], FetchDetails::Off).with_yesterday(1..11);
        world.pipeline.fetch.listing = FetchListing::All;
        let mut schedule = world.schedule();
        let mut asked = Vec::new();
        while let Some(task) = schedule.next(now()) {
            let outcome = match &task {
                Task::Count { .. } => Outcome::Counted(20),
                Task::Page { page: 1, .. } => page(1..3, &[]),
                Task::Page { page: 2, .. } => page(3..4, &[]),
                Task::Page { .. } => page(0..0, &[]),
                Task::Recount { .. } => Outcome::Counted(3),
                task => panic!("{task:?}"),
            };
            let days_ago = match &task {
                Task::Page { page: 1, .. } => days[0],
                Task::Page { .. } => days[1],
                Task::Recount { .. } => 0,
                _ => 1,
            };
            asked.extend(matches!(task, Task::Recount { .. }).then_some(()));
            schedule.answered_at(&task, now() - chrono::TimeDelta::days(days_ago));
            settle(&mut schedule, &task, outcome);
        }
        let told = schedule.news(0).filter(|_| is_doubtful);
        let facts = schedule.finished(0).unwrap();
        assert_eq!(asked.is_empty(), days == [1, 1], "{days:?}");
        assert_eq!(facts.is_doubtful, is_doubtful || facts.short > 0, "{days:?}");
        assert_eq!(facts.short > 0, days == [1, 1], "an old count stands where all was listed then");
        assert_eq!(
            told.is_some_and(|told| told.contains("7 offers are absent") && told.contains("hours apart")),
            is_doubtful
        );
    }
}

#[test]
fn a_full_page_at_exactly_the_count_is_looked_past_where_an_offer_is_absent() {
    for (known, expected) in [(1..5, vec![]), (1..6, vec![on_sale(0, 3)])] {
        let mut world = world(&["a"], &[], FetchDetails::Off).with_yesterday(known);
        world.pipeline.fetch.listing = FetchListing::All;
        let mut schedule = world.schedule();
        tasks(&mut schedule);
        settle(&mut schedule, &Task::Count { shop: 0 }, Outcome::Counted(4));
        assert_eq!(tasks(&mut schedule), [on_sale(0, 1), on_sale(0, 2)]);
        settle(&mut schedule, &on_sale(0, 1), page(1..3, &[]));
        settle(&mut schedule, &on_sale(0, 2), page(3..5, &[]));
        assert_eq!(tasks(&mut schedule), expected);
        if let [third] = &expected[..] {
            settle(&mut schedule, third, page(5..6, &[]));
            assert_eq!(tasks(&mut schedule), []);
        }
        assert_eq!(schedule.finished(0).unwrap().incomplete_reason, None);
    }
}

#[test]
fn a_shop_is_listed_whole_when_its_last_whole_listing_is_full_days_ago() {
    for (full_days, expected) in [(3, None), (4, Some(Listed::Changed))] {
        let mut world = world(&["a"], &[], FetchDetails::Off).with_yesterday(1..11);
        world.pipeline.fetch.full_days = full_days;
        let mut schedule = world.schedule();
        tasks(&mut schedule);
        settle(&mut schedule, &Task::Count { shop: 0 }, Outcome::Counted(10));
        tasks(&mut schedule);
        let (span, _) = schedule.slice(0, ListKind::OnSale, 0);
        assert_eq!(span.is_some(), expected.is_some(), "{full_days}");
    }
}

#[test]
fn details_or_skus_that_are_asked_for_since_make_a_shop_be_listed_whole() {
    let offer = |detailed, skus: &[i64]| KnownOffer { detailed, sku_ids: skus.to_vec(), ..KnownOffer::default() };
    // Of ten offers, how many the picture of yesterday holds a detail of, and how many with SKUs.
    let listed = |details, skus, detailed: i64, with_skus: i64| {
        let mut world = world(&["a"], &[], skus).with_yesterday(1..11);
        world.pipeline.fetch.details = details;
        let offers = &mut world.known.shops.get_mut("a").unwrap().offers;
        let known = |id| (id, offer(id <= detailed, if id <= with_skus { &[7] } else { &[] }));
        *offers = offers.ids().map(known).collect();
        let mut schedule = world.schedule();
        tasks(&mut schedule);
        settle(&mut schedule, &Task::Count { shop: 0 }, Outcome::Counted(10));
        tasks(&mut schedule);
        if schedule.slice(0, ListKind::OnSale, 0).0.is_some() { Listed::Changed } else { Listed::Whole }
    };
    use FetchDetails::{All, Changed, Missing, Off};
    assert_eq!(listed(Off, Off, 0, 0), Listed::Changed);
    assert_eq!((listed(All, Off, 10, 0), listed(Off, All, 0, 10)), (Listed::Whole, Listed::Whole), "all are asked for");
    assert_eq!(listed(Missing, Off, 0, 0), Listed::Whole, "details are new");
    assert_eq!(listed(Missing, Off, 8, 0), Listed::Whole, "most nights of them have failed");
    assert_eq!(listed(Missing, Off, 9, 0), Listed::Changed, "one is refused every night");
    assert_eq!(listed(Off, Changed, 0, 0), Listed::Whole, "SKUs are new");
    assert_eq!(listed(Off, Changed, 0, 1), Listed::Changed);
}

#[test]
fn the_stalest_shops_go_first_when_calls_are_short() {
    let mut world = world(&["a", "b", "c"], &[], FetchDetails::Off);
    for (id, day) in [("a", 20), ("b", 18)] {
        let finished_at = Some(testing::at(&format!("2026-11-{day}T00:00:00Z")));
        world.known.shops.insert(id.into(), KnownShop { finished_at, ..KnownShop::default() });
    }
    let mut schedule = world.schedule();
    let shops: Vec<_> = tasks(&mut schedule).iter().filter_map(Task::shop).collect();
    assert_eq!(shops, [2, 1, 0], "never fetched, then oldest");
    let (facts, _) = schedule.facts(now(), None);
    let ids: Vec<_> = facts.iter().map(|shop| shop.shop_id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"], "in pipeline order");
}

#[test]
fn a_held_shop_lets_the_others_go_on_and_says_why_it_did_not() {
    let world = world(&["a", "b"], &[], FetchDetails::Off);
    let mut schedule = world.schedule();
    tasks(&mut schedule);
    schedule.hold_shop(0, "no calls left for shop a");
    settle(&mut schedule, &Task::Count { shop: 0 }, Outcome::NotSent);
    settle(&mut schedule, &Task::Count { shop: 1 }, Outcome::Counted(1));
    assert_eq!(tasks(&mut schedule), [on_sale(1, 1)]);
    assert_eq!(schedule.held(), Some("no calls left for shop a"));
    let (facts, _) = schedule.facts(now(), None);
    assert_eq!(facts[0].incomplete_reason.as_deref(), Some("not listed: no calls left for shop a"));
}
