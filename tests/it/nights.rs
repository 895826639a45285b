//! Incremental nights: what changed is listed, the rest is proven by the official count, or the shop is listed whole.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use huopan::config::Pipeline;
use huopan::config::pipeline::FetchListing;
use huopan::extract::{Attempt, Listed, RunFacts};
use huopan::plan::{Known, KnownOffer, KnownShop};
use huopan::sim::{Gateway, History, Options, Sim, WorldTruth};

use crate::extract::{Around, Written, extract, good, listed, on_sale};
use crate::support::{day, quick, shop_lines};

/// Noon of a day of the world: everything that it modified is past.
fn noon(dt: NaiveDate) -> DateTime<Utc> {
    dt.and_hms_opt(4, 0, 0).unwrap().and_utc()
}

/// A clock that stands on a day, and runs.
#[derive(Debug)]
struct Night(TimeDelta);

impl huopan::base::Clock for Night {
    fn now(&self) -> DateTime<Utc> {
        huopan::base::Clock::now(&huopan::base::SystemClock) + self.0
    }
}

fn clock(dt: NaiveDate) -> std::sync::Arc<Night> {
    let now = huopan::base::Clock::now(&huopan::base::SystemClock);
    std::sync::Arc::new(Night(noon(dt) - now))
}

/// What a complete picture of that night's world says, listed whole on `whole_dt`.
fn known(world: &WorldTruth, whole_dt: NaiveDate) -> Known {
    let shop = &world.shops[0];
    let on_sale = shop.offers.iter().filter(|offer| offer.is_on_sale);
    let offer = |modified_at| KnownOffer { modified_at: Some(modified_at), ..KnownOffer::default() };
    let known = KnownShop {
        named_skus: (0, 0),
        pages: 0,
        watermark_at: Some(noon(world.date)),
        whole_dt: Some(whole_dt),
        official_count: Some(shop.on_sale as u64),
        short: 0,
        finished_at: Some(noon(world.date)),
        offers: on_sale.map(|known| (known.offer_id, offer(known.modified_at))).collect(),
    };
    Known { shops: HashMap::from([(shop.shop_id.clone(), known)]), ..Known::default() }
}

struct Shop {
    sim: Sim,
    pipeline: Pipeline,
}

/// One shop of 5 000 offers that stands on the 20th.
async fn shop(history: History) -> Shop {
    let options = Options { shop_sizes: vec![5_000], skew_seconds_max: i64::MAX / 4, ..quick() };
    let sim = huopan::sim::start(options.with_history(history)).await.unwrap();
    let mut pipeline = Written::new(Gateway::Portals, &shop_lines(&sim.world(Gateway::Portals))).at_once(&sim);
    pipeline.fetch.listing = FetchListing::Changed;
    pipeline.fetch.full_days = 7;
    Shop { sim, pipeline }
}

impl Shop {
    /// The night of the 20th, from a picture of the 19th that was listed whole `days` before the 20th.
    async fn night(&self, days: u64) -> (RunFacts, Vec<Attempt>, Known) {
        let before = known(&self.sim.world_on(Gateway::Portals, day(19)), day(20) - Days::new(days));
        self.sim.set_day(day(20));
        let around = Around { known: before.clone(), clock: clock(day(20)), ..Around::new().await };
        let (facts, attempts) = extract(&self.pipeline, &around).await;
        (facts.unwrap_or_else(|error| panic!("{error}")), attempts, before)
    }
}

/// The offers of the picture that follows: carried and listed, without what went off sale.
fn picture(shop: &Shop, facts: &RunFacts, attempts: &[Attempt], before: &Known) -> BTreeSet<i64> {
    let now = listed(&shop.pipeline, attempts);
    if facts.shops[0].listing == Listed::Whole {
        return now;
    }
    let off: BTreeSet<i64> = facts.shops[0].off_sale.iter().copied().collect();
    let carried = before.shops.values().flat_map(|shop| shop.offers.ids());
    carried.filter(|id| !off.contains(id)).chain(now.iter().copied()).collect()
}

fn calls(attempts: &[Attempt]) -> String {
    let of = |endpoint| attempts.iter().filter(|attempt| attempt.record.endpoint == endpoint).count();
    format!("{} count, {} listing, {} off sale", of("count"), of("listing"), of("off_sale"))
}

#[tokio::test]
async fn a_night_that_changes_one_percent_of_five_thousand_offers_costs_ten_calls_at_most() {
    let shop = shop(History::default()).await;
    let (facts, attempts, before) = shop.night(3).await;
    let truth = on_sale(&shop.sim, Gateway::Portals, 0);
    println!("| {} offers, one percent changed: {}", truth.len(), calls(&attempts));
    assert_eq!((facts.shops[0].listing, &facts.shops[0].incomplete_reason), (Listed::Changed, &None));
    assert!(attempts.len() <= 10, "{}", calls(&attempts));
    assert_eq!(picture(&shop, &facts, &attempts, &before), truth);
    let old: BTreeSet<i64> = before.shops.values().flat_map(|shop| shop.offers.ids()).collect();
    assert!(truth.difference(&old).count() > 0 && old.difference(&truth).count() > 0, "nothing came or went");
    // Every offer whose modified time moved was listed.
    let now = listed(&shop.pipeline, &attempts);
    let world = shop.sim.world(Gateway::Portals);
    let known = &before.shops[&world.shops[0].shop_id];
    let moved =
        world.shops[0].offers.iter().filter(|offer| offer.is_on_sale).filter(|offer| {
            known.offers.get(offer.offer_id).is_none_or(|old| old.modified_at != Some(offer.modified_at))
        });
    assert!(moved.clone().count() > 30);
    assert!(moved.clone().all(|offer| now.contains(&offer.offer_id)));
    assert_eq!(facts.shops[0].whole_dt, Some(day(17)), "the whole listing was three days ago");
}

#[tokio::test]
async fn offers_that_vanish_make_the_count_differ_and_the_shop_is_listed_whole_in_the_same_run() {
    let shop = shop(History { vanishing_per_mille: 1000, ..History::default() }).await;
    let (facts, attempts, before) = shop.night(3).await;
    let truth = on_sale(&shop.sim, Gateway::Portals, 0);
    println!("| {} offers, some vanished: {}", truth.len(), calls(&attempts));
    assert_eq!((facts.shops[0].listing, &facts.shops[0].incomplete_reason), (Listed::Whole, &None));
    assert_eq!(picture(&shop, &facts, &attempts, &before), truth);
    assert_eq!((facts.shops[0].whole_dt, facts.shops[0].gave_way), (Some(day(20)), true));
    assert!(facts.shops[0].coverage[0].outcome.ends_with("incremental, not proven"), "{:?}", facts.shops[0].coverage);
    let pages = good(&shop.pipeline, &attempts, "listing").len();
    assert!(pages <= truth.len().div_ceil(40) * 105 / 100 + 10, "{pages}");
}

#[tokio::test]
async fn a_whole_listing_is_due_after_full_days() {
    let shop = shop(History::default()).await;
    for (days, listing) in [(6, Listed::Changed), (7, Listed::Whole)] {
        let (facts, attempts, before) = shop.night(days).await;
        assert_eq!(facts.shops[0].listing, listing, "after {days} days");
        assert_eq!(picture(&shop, &facts, &attempts, &before), on_sale(&shop.sim, Gateway::Portals, 0));
    }
}

#[tokio::test]
async fn silent_edits_are_seen_by_the_next_whole_listing_only() {
    let shop = shop(History { silent_per_mille: 100, ..History::default() }).await;
    let (facts, attempts, _) = shop.night(3).await;
    assert_eq!(facts.shops[0].listing, Listed::Changed);
    assert!(attempts.len() <= 10, "{}", calls(&attempts));
}
