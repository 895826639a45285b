//! Shops past every cap: which offers arrive, at how many calls, and what the proof of coverage says.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use huopan::extract::progress::Event;
use huopan::extract::{Attempt, Covered, Progress, ShopFacts};
use huopan::sim::{
    Faults, Gateway, History, Import, ListingOrder, ListingTotals, Listings, Options, ShopTruth, Sim, WindowEnd,
};

use crate::extract::{Around, Written, crowded, extract, good, ids_on};
use crate::support::{Place, day, huopan, quick};

/// What a gateway may do, and whether it fails.
#[derive(Debug, Clone, Copy)]
struct Ways {
    has_end: bool,
    order: ListingOrder,
    totals: ListingTotals,
    faults: Faults,
}

impl Ways {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for faults in [Faults::None, Faults::Heavy] {
            for has_end in [false, true] {
                for order in [ListingOrder::Modified, ListingOrder::Unordered] {
                    for totals in [ListingTotals::Absent, ListingTotals::Stated] {
                        if faults == Faults::Heavy && totals == ListingTotals::Stated {
                            continue;
                        }
                        all.push(Self { has_end, order, totals, faults });
                    }
                }
            }
        }
        all
    }

    fn definition(self) -> &'static str {
        if self.has_end { WITH_END } else { FAST }
    }

    fn options(self) -> Options {
        let window_end = if self.has_end { WindowEnd::Honoured } else { WindowEnd::Ignored };
        let listings = Listings { order: self.order, totals: self.totals, ..Listings::default() };
        Options { faults: self.faults, window_end, listings, ..quick() }
    }
}

/// A gateway whose windows have an end.
const WITH_END: &str = "[limits]\ncalls_per_second = 2000\n[endpoints.listing.window]\nend = \"end_time\"";
/// A rate that throttle answers slow down to one that tests can wait for.
const FAST: &str = "[limits]\ncalls_per_second = 2000";

/// What a shop's listing came to.
struct Listed {
    ids: BTreeSet<i64>,
    /// By what is asked for.
    pages: BTreeMap<String, usize>,
    facts: ShopFacts,
}

/// Lists every shop of the world in one run.
async fn list(sim: &Sim, definition: &str) -> Vec<Listed> {
    let world = sim.world(Gateway::Portals);
    let pipeline =
        Written { definition, ..Written::new(Gateway::Portals, &crate::support::shop_lines(&world)) }.load(sim);
    let (facts, attempts) = extract(&pipeline, &Around::new().await).await;
    let facts = facts.unwrap_or_else(|error| panic!("{error}: {:?}", error.hint()));
    let good = good(&pipeline, &attempts, "listing");
    let of = |facts: ShopFacts| {
        let pages: Vec<&&Attempt> =
            good.iter().filter(|page| page.record.shop_id.as_ref() == Some(&facts.shop_id)).collect();
        let mut asked: BTreeMap<String, usize> = BTreeMap::new();
        pages.iter().for_each(|page| *asked.entry(format!("{:?}", page.record.request)).or_default() += 1);
        Listed { ids: pages.iter().flat_map(|page| ids_on(&pipeline, page)).collect(), pages: asked, facts }
    };
    facts.shops.into_iter().map(of).collect()
}

fn on_sale(shop: &ShopTruth) -> BTreeSet<i64> {
    shop.offers.iter().filter(|offer| offer.is_on_sale).map(|offer| offer.offer_id).collect()
}

/// Most calls that a shop of so many offers may cost.
fn calls_max(offers: usize) -> i64 {
    let pages = i64::try_from(offers.div_ceil(40)).unwrap();
    pages * 105 / 100 + 5
}

/// Offers of the shop that no slice of the proof holds.
fn unproven(shop: &ShopTruth, coverage: &[Covered]) -> usize {
    let read: Vec<&Covered> =
        coverage.iter().filter(|slice| matches!(slice.outcome.as_str(), "complete" | "advanced")).collect();
    let holds = |slice: &&&Covered, at: DateTime<Utc>, cid: i64| {
        slice.start_at.is_none_or(|start| start <= at)
            && slice.end_at.is_none_or(|end| at <= end)
            && slice.category.as_ref().is_none_or(|category| *category == cid.to_string())
    };
    let offers = shop.offers.iter().filter(|offer| offer.is_on_sale);
    offers.filter(|offer| !read.iter().any(|slice| holds(&slice, offer.modified_at, offer.cid))).count()
}

fn check(shop: &ShopTruth, listed: &Listed, ways: Ways) -> String {
    let (facts, truth) = (&listed.facts, on_sale(shop));
    let calls_max = calls_max(truth.len());
    let line = format!(
        "{:>6} offers, end {:<5} {:<9} totals {:<7} faults {:<5}: {:>6} listed in {:>3} slices, {:>3} calls (of {calls_max})",
        truth.len(),
        ways.has_end,
        format!("{:?}", ways.order),
        format!("{:?}", ways.totals),
        format!("{:?}", ways.faults),
        listed.ids.len(),
        facts.coverage.len(),
        facts.calls_used,
    );
    let text = |coverage: &[Covered]| coverage.iter().map(|slice| format!("\n  {slice:?}")).collect::<String>();
    assert_eq!(facts.incomplete_reason, None, "{line}{}", text(&facts.coverage));
    assert_eq!(listed.ids, truth, "{line}");
    let twice: Vec<_> = listed.pages.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{line}: fetched twice: {twice:?}");
    assert_eq!(unproven(shop, &facts.coverage), 0, "{line}{}", text(&facts.coverage));
    let new: u64 = facts.coverage.iter().map(|slice| slice.new).sum();
    assert_eq!(new, truth.len() as u64, "{line}");
    assert_eq!(facts.official_count, i64::try_from(truth.len()).ok(), "{line}");
    if ways.faults == Faults::None {
        assert!(facts.calls_used <= calls_max, "{line}{}", text(&facts.coverage));
    }
    line
}

#[tokio::test]
async fn every_offer_of_shops_past_the_caps_arrives_at_hardly_more_calls_than_pages() {
    let mut table = Vec::new();
    for ways in Ways::all() {
        let one_instant = History { import: Some(Import::of(3_000)), ..History::default() };
        let histories = [(0, History::default()), (1, one_instant)].into();
        let options = Options { shop_sizes: vec![5_300, 5_300], histories, ..ways.options() };
        let sim = huopan::sim::start(options).await.unwrap();
        let listed = list(&sim, ways.definition()).await;
        for (shop, listed) in sim.world(Gateway::Portals).shops.iter().zip(&listed) {
            table.push(check(shop, listed, ways));
        }
    }
    println!("{}", table.join("\n"));
}

#[tokio::test]
async fn twelve_thousand_offers_arrive() {
    let ways =
        Ways { has_end: false, order: ListingOrder::Modified, totals: ListingTotals::Absent, faults: Faults::None };
    let options = Options { shop_sizes: vec![12_000], ..ways.options() }.with_history(History::default());
    let sim = huopan::sim::start(options).await.unwrap();
    let listed = list(&sim, ways.definition()).await;
    println!("{}", check(&sim.world(Gateway::Portals).shops[0], &listed[0], ways));
}

#[tokio::test]
async fn one_moment_of_one_category_over_the_cap_is_reported_and_the_rest_is_there() {
    for has_end in [false, true] {
        let window_end = if has_end { WindowEnd::Honoured } else { WindowEnd::Ignored };
        let options = Options { shop_sizes: vec![5_300], window_end, ..quick() }.with_history(crowded());
        let sim = huopan::sim::start(options).await.unwrap();
        let place = Place::new();
        let world = sim.world(Gateway::Portals);
        let lines = crate::support::shop_lines(&world);
        let definition = if has_end { WITH_END } else { FAST };
        Written { definition, ..Written::new(Gateway::Portals, &lines) }.write(place.path(), &sim);
        let ended = huopan(place.path(), &["run", "test.toml", "--dt", "2026-11-20"]).await;
        assert_eq!(ended.code, 3, "{ended:?}");
        assert!(ended.stdout.contains("INCOMPLETE") && ended.stdout.contains("past page 50 × 40"), "{}", ended.stdout);
        let found = place.rows(&format!("select offer_id from offers where dt = '{}'", day(20))).await;
        let found: BTreeSet<i64> = found.iter().map(|row| row["offer_id"].parse().unwrap()).collect();
        let shop = &world.shops[0];
        let first = shop.offers.iter().map(|offer| offer.modified_at).collect::<Vec<_>>();
        let moment = first.iter().max_by_key(|at| first.iter().filter(|other| other == at).count()).copied();
        let (of_moment, others): (Vec<_>, Vec<_>) =
            shop.offers.iter().filter(|offer| offer.is_on_sale).partition(|offer| Some(offer.modified_at) == moment);
        assert_eq!(of_moment.len(), 2_100);
        let missing = |offers: &[&huopan::sim::OfferTruth]| {
            offers.iter().filter(|offer| !found.contains(&offer.offer_id)).count()
        };
        assert_eq!(missing(&others), 0, "what can be listed is there");
        assert_eq!(missing(&of_moment), 100, "50 pages of the moment are there");
    }
}

/// Keeps what a run warns of.
#[derive(Default)]
struct Warnings(std::sync::Mutex<Vec<String>>);

impl Progress for Warnings {
    fn on(&self, event: Event<'_>) {
        if let Event::Warning(text) = event {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }
}

#[tokio::test]
async fn parameters_that_the_gateway_does_not_read_are_named_after_a_few_calls() {
    let sim = huopan::sim::start(Options { shop_sizes: vec![5_300], ..quick() }).await.unwrap();
    let lines = crate::support::shop_lines(&sim.world(Gateway::Portals));
    let definition = "[limits]\ncalls_per_second = 2000\n[endpoints.listing]\ncategory = \"categoryId\"\n\
                      [endpoints.listing.window]\nstart = \"startTime\"";
    let pipeline = Written { definition, ..Written::new(Gateway::Portals, &lines) }.load(&sim);
    let warnings = Warnings::default();
    let (facts, attempts) = extract(&pipeline, &Around { progress: &warnings, ..Around::new().await }).await;
    let shop = &facts.unwrap().shops[0];
    let reason = shop.incomplete_reason.as_deref().unwrap();
    assert!(reason.starts_with("the gateway does not read parameter `"), "{reason}");
    assert!(reason.contains("parameter `categoryId` (categories "), "{reason}");
    assert!(reason.contains("parameter `startTime` (it lists offers from outside the window)"), "{reason}");
    assert!(reason.ends_with("2000 offers listed: the rest is past page 50 × 40"), "{reason}");
    let pages = good(&pipeline, &attempts, "listing");
    let ids: BTreeSet<i64> = pages.iter().flat_map(|page| ids_on(&pipeline, page)).collect();
    assert!(ids.len() >= 2_000, "what the gateway serves is there: {}", ids.len());
    assert!(shop.calls_used <= 60, "{}: {:#?}", shop.calls_used, shop.coverage);
    let warnings = warnings.0.into_inner().unwrap();
    for parameter in ["`categoryId`", "`startTime`"] {
        assert_eq!(warnings.iter().filter(|text| text.contains(parameter)).count(), 1, "{warnings:#?}");
    }
}

#[tokio::test]
async fn categories_past_the_cap_are_not_listed_twice_where_windows_come_in_no_order() {
    let listings = Listings { order: ListingOrder::Unordered, ..Listings::default() };
    let sim = huopan::sim::start(Options { shop_sizes: vec![15_000], listings, ..quick() }).await.unwrap();
    let listed = list(&sim, FAST).await.remove(0);
    let categories = sim.world(Gateway::Portals).shops[0].categories.len();
    let most = i64::try_from(categories * 50 + 6).unwrap();
    assert!(listed.facts.calls_used <= most, "{} of {most}: {:#?}", listed.facts.calls_used, listed.facts.coverage);
    let reason = listed.facts.incomplete_reason.unwrap();
    assert!(reason.starts_with("category ") && reason.contains("past page 50 × 40"), "{reason}");
}
