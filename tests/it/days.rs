//! Day after day: what changes, comes, goes, and what an incomplete night does to it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate};
use huopan::config::Pipeline;
use huopan::run::Options as RunOptions;
use huopan::sim::{self, Gateway, OfferTruth, Options, Sim, WorldTruth};

use crate::extract::crowded;
use crate::support::{NULL, PICTURES, Place, attempt, day, huopan, publish, quick, shop_lines};
use crate::truth::{Night, Shows, compare, money};

fn on_sale(world: &WorldTruth) -> BTreeMap<i64, &OfferTruth> {
    let offers = world.shops.iter().flat_map(|shop| &shop.offers).filter(|offer| offer.is_on_sale);
    offers.map(|offer| (offer.offer_id, offer)).collect()
}

/// Ids that the first day has and the second has not.
fn only_in(one: &WorldTruth, other: &WorldTruth) -> BTreeSet<String> {
    let other = on_sale(other);
    on_sale(one).into_keys().filter(|id| !other.contains_key(id)).map(|id| id.to_string()).collect()
}

/// `offer min_quantity kind old new`, for every step that differs between two days.
fn price_changes(before: &WorldTruth, after: &WorldTruth) -> BTreeSet<String> {
    let (before, after) = (on_sale(before), on_sale(after));
    let mut changes = BTreeSet::new();
    for (id, new) in after {
        let Some(old) = before.get(&id) else { continue };
        let steps = |offer: &OfferTruth| {
            let mut steps: BTreeMap<i64, i64> = BTreeMap::new();
            for tier in offer.tiers.as_ref().unwrap() {
                let fen: i64 = tier.unit_price.replace('.', "").parse().unwrap();
                let dearest = steps.entry(tier.min_quantity).or_insert(fen);
                *dearest = fen.max(*dearest);
            }
            steps
        };
        let (old, new) = (steps(old), steps(new));
        let text =
            |fen: Option<&i64>| fen.map_or(NULL.to_owned(), |fen| money(&format!("{}.{:02}", fen / 100, fen % 100)));
        for start in old.keys().chain(new.keys()) {
            let kind = match (old.get(start), new.get(start)) {
                (Some(old), Some(new)) if old == new => continue,
                (Some(_), Some(_)) => "changed",
                (None, _) => "new_tier",
                (_, None) => "gone_tier",
            };
            changes.insert(format!("{id} {start} {kind} {} {}", text(old.get(start)), text(new.get(start))));
        }
    }
    changes
}

/// The first of three days in a row with comings and goings on both turns.
fn lively(sim: &Sim) -> NaiveDate {
    let moves = |from: NaiveDate| {
        sim.set_day(from);
        let before = sim.world(Gateway::Portals);
        sim.set_day(from + Days::new(1));
        let after = sim.world(Gateway::Portals);
        !only_in(&before, &after).is_empty() && !only_in(&after, &before).is_empty()
    };
    day(1).iter_days().take(28).find(|&from| moves(from) && moves(from + Days::new(1))).unwrap()
}

async fn ids(place: &Place, sql: &str) -> BTreeSet<String> {
    place.rows(sql).await.into_iter().map(|row| row["offer_id"].clone()).collect()
}

#[tokio::test]
async fn each_day_and_what_changed_since_the_day_before_agree_with_the_world() {
    let sim = sim::start(Options { shop_sizes: vec![170, 130], mess_per_mille: 700, ..quick() }).await.unwrap();
    let (place, first) = (Place::new(), lively(&sim));
    let pipeline = place.shops(&sim, Gateway::Portals);
    let mut worlds: Vec<WorldTruth> = Vec::new();
    for dt in first.iter_days().take(3) {
        sim.set_day(dt);
        publish(&pipeline, dt).await;
        worlds.push(sim.world(Gateway::Portals));
    }
    for world in &worlds {
        compare(&place, Night { gateway: Gateway::Portals, world, shows: Shows::OnSale, untold: &[] }).await;
    }
    // Of two steps from the same quantity the dearer one counts.
    let doubled = |offer: &&OfferTruth| offer.ladder_status.as_deref() == Some("duplicate_start");
    assert!(on_sale(&worlds[2]).into_values().filter(doubled).count() > 0);
    for pair in worlds.windows(2) {
        let [before, after] = pair else { unreachable!() };
        let dt = after.date;
        let gone = only_in(before, after);
        let new = only_in(after, before);
        let delisted = format!("select offer_id from offers where dt = '{dt}' and status = 'delisted'");
        assert_eq!(ids(&place, &delisted).await, gone, "{dt}");
        assert_eq!(ids(&place, &format!("select offer_id from delisted_offers where dt = '{dt}'")).await, gone);
        assert_eq!(ids(&place, &format!("select offer_id from new_offers where dt = '{dt}'")).await, new);
        let tiers = format!("select count(*) from price_tiers where dt = '{dt}' and offer_id in ({delisted})");
        assert_eq!(place.value(&tiers).await, "0", "what is gone has no price");
        let counted = format!(
            "select sum(new_count) || ' ' || sum(delisted_count) || ' ' || sum(offer_count) from shops where dt = '{dt}'"
        );
        assert_eq!(place.value(&counted).await, format!("{} {} {}", new.len(), gone.len(), on_sale(after).len()));
        let changes = place.rows(&format!("select * from price_changes where dt = '{dt}'")).await;
        let changes: BTreeSet<String> = changes
            .into_iter()
            .map(|row| {
                let at = |column: &str| row[column].clone();
                let (id, start, kind) = (at("offer_id"), at("min_quantity"), at("kind"));
                format!("{id} {start} {kind} {} {}", at("old_price"), at("new_price"))
            })
            .collect();
        let expected = price_changes(before, after);
        assert!(expected.len() > 10, "hardly a price moved: {expected:?}");
        assert_eq!(changes, expected, "{dt}");
    }
    // The hash moves exactly with what the truth tells of an offer, its stock and sales aside.
    let without_counts = |offer: &OfferTruth| OfferTruth {
        stock_pieces: None,
        stock_status: String::new(),
        sales_count: None,
        skus: Vec::new(),
        ..offer.clone()
    };
    let (before, after) = (on_sale(&worlds[0]), on_sale(&worlds[1]));
    let changed: BTreeSet<String> = after
        .iter()
        .filter(|(id, offer)| before.get(id).is_some_and(|old| without_counts(old) != without_counts(offer)))
        .map(|(id, _)| id.to_string())
        .collect();
    let hashes = format!(
        "select n.offer_id from offers n join offers o on n.offer_id = o.offer_id and o.dt = '{}'
         where n.dt = '{}' and n.status <> 'delisted' and n.content_hash <> o.content_hash",
        worlds[0].date, worlds[1].date
    );
    assert_eq!(ids(&place, &hashes).await, changed);
}

#[tokio::test]
async fn a_day_that_is_published_anew_says_the_same() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = place.shops(&sim, Gateway::Portals);
    for dt in [day(19), day(20)] {
        sim.set_day(dt);
        publish(&pipeline, dt).await;
    }
    let (before, counts) = (place.content(day(20)).await, place.counts().await);
    let report = publish(&pipeline, day(20)).await;
    assert_eq!(report.seq, 3);
    assert_eq!(place.content(day(20)).await, before);
    let again = place.counts().await;
    for table in PICTURES {
        assert_eq!(counts[table], again[table], "{table}");
    }
    assert_eq!(again["runs"], counts["runs"] + 1);
    assert_eq!(place.delta_counts().await, again, "the Delta tables hold what the publish log names");
    let attempts = place.rows("select attempt from runs where dt = '2026-11-20' order by publish_seq").await;
    assert_eq!(attempts.iter().map(|row| row["attempt"].as_str()).collect::<Vec<_>>(), ["1", "2"]);
}

/// A lake whose shop was listed in full on the 19th, and a simulator that cannot list all of it on the 20th: one moment
/// of one category holds 2 100 offers.
async fn outgrown() -> (Place, Sim) {
    let place = Place::new();
    let small = sim::start(Options { shop_sizes: vec![1900], day: Some(day(19)), ..quick() });
    let small = small.await.unwrap();
    let report = publish(&place.shops(&small, Gateway::Portals), day(19)).await;
    assert!(report.is_complete(), "{report:?}");
    let crowded = Options { shop_sizes: vec![2400], day: Some(day(20)), ..quick() }.with_history(crowded());
    (place, sim::start(crowded).await.unwrap())
}

#[tokio::test]
async fn a_shop_that_cannot_be_listed_is_incomplete_and_its_earlier_offers_are_carried_forward() {
    let (place, sim) = outgrown().await;
    let world = sim.world(Gateway::Portals);
    place.pipeline_file(&sim, Gateway::Portals, &shop_lines(&world));
    let ended = huopan(place.path(), &["run", "pipeline.toml", "--dt", "2026-11-20"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stdout.contains("INCOMPLETE") && ended.stdout.contains("past page 50 × 40"), "{}", ended.stdout);
    let today = |what: &str| format!("select count(*) from offers where dt = '2026-11-20' and {what}");
    assert_eq!(place.value(&today("status = 'delisted'")).await, "0");
    let unlisted: i64 = place.value(&today("observed_dt = '2026-11-20'")).await.parse().unwrap();
    assert_eq!(i64::try_from(world.shops[0].on_sale).unwrap() - unlisted, 100, "50 pages of the moment are there");
    let seen = ids(&place, "select offer_id from offers where dt = '2026-11-20' and observed_dt = dt").await;
    let before = ids(&place, "select offer_id from offers where dt = '2026-11-19'").await;
    let carried = "select offer_id from offers where dt = '2026-11-20' and observed_dt = '2026-11-19'";
    assert_eq!(ids(&place, carried).await, &before - &seen);
    // Carried rows are the rows of the day before, ladders included.
    let ladder = |dt: &str| {
        format!(
            "select offer_id, tier_no, min_quantity, unit_price, piece_price from price_tiers
             where dt = '{dt}' and offer_id in ({carried}) order by offer_id, tier_no"
        )
    };
    let (old, new) = (place.rows(&ladder("2026-11-19")).await, place.rows(&ladder("2026-11-20")).await);
    assert!(old.len() > 50);
    assert_eq!(old, new);
    for view in ["new_offers", "delisted_offers"] {
        assert_eq!(place.value(&format!("select count(*) from {view} where dt = '2026-11-20'")).await, "0", "{view}");
    }
    let shop = place.rows("select * from shops order by dt").await;
    assert_eq!(shop[1]["is_complete"], "false");
    assert_eq!(shop[1]["carried_count"], (&before - &seen).len().to_string());
    assert_eq!(shop[1]["watermark_at"], shop[0]["watermark_at"], "the watermark moves with a complete shop only");
    assert_eq!(shop[1]["official_count"], world.shops[0].on_sale.to_string());
    let status = "select status from runs where dt = '2026-11-20'";
    assert_eq!(place.value(status).await, "published_incomplete");
}

#[tokio::test]
async fn a_held_shop_keeps_the_rows_of_its_last_complete_day() {
    let (place, sim) = outgrown().await;
    let lines = format!("on_incomplete = \"hold\"\n{}", shop_lines(&sim.world(Gateway::Portals)));
    let report = publish(&place.pipeline(&sim, Gateway::Portals, &lines), day(20)).await;
    assert!(!report.is_complete());
    assert!(report.received > 2000, "{report:?}");
    assert_eq!((report.loaded, report.quarantined + report.duplicates), (0, report.received));
    let quarantined = report.quarantined;
    let (before, after) = (place.content(day(19)).await, place.content(day(20)).await);
    let undated = |rows: &[crate::support::Row]| {
        let mut rows = rows.to_vec();
        rows.iter_mut().for_each(|row| drop(row.remove("dt")));
        rows
    };
    for table in ["offers", "price_tiers", "skus"] {
        let (before, after) = (undated(&before[table]), undated(&after[table]));
        assert_eq!(before.len(), after.len(), "{table}");
        assert!(before == after, "{table}");
    }
    assert_eq!(i64::try_from(after["quarantine"].len()).unwrap(), quarantined);
    assert!(after["shops"][0]["incomplete_reason"].ends_with("held back, its last rows are kept"));
}

#[tokio::test]
async fn a_published_day_costs_no_call_and_a_refresh_does() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = place.shops(&sim, Gateway::Portals);
    publish(&pipeline, day(20)).await;
    let calls = sim.stats().calls;
    let again = huopan::run::Options { dt: Some(day(20)), ..Default::default() };
    let outcome = attempt(&pipeline, again).await.unwrap();
    assert_eq!(outcome, huopan::run::Outcome::AlreadyPublished { dt: day(20) });
    let ended = huopan(place.path(), &["run", "pipeline.toml", "--dt", "2026-11-20"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert_eq!(ended.stdout, "2026-11-20 is published already: nothing was done (`--refresh` does it once more)\n");
    assert_eq!(sim.stats().calls, calls);
    let ended = huopan(place.path(), &["run", "pipeline.toml", "--dt", "2026-11-20", "--refresh", "--json"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(sim.stats().calls > calls);
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&json["outcome"], &json["publications"][0]["publish_seq"]), (&"published".into(), &2.into()));
}

/// Listings with details of their own, which are asked for where they are missing.
fn with_details(place: &Place, sim: &Sim, skus: &str) -> Pipeline {
    place.write(
        "items.toml",
        "extends = \"item-get\"\nname = \"item-get\"\n[limits]\ncalls_per_second = 1000\n\
         pause_seconds = { success = 0, failure = 0, throttle = 0 }\n",
    );
    let lines = format!(
        "{}\n[fetch]\nskus = \"{skus}\"\ndetails = \"missing\"\ndetails_gateway = \"./items.toml\"\ndetails_url = \"{}\"\n\
         [[accounts]]\nname = \"details\"\ngateway = \"./items.toml\"\nlicence = \"company\"\n\
         credentials = {{ app_key = \"sim-app\", app_secret = \"env:SECRET\" }}",
        shop_lines(&sim.world(Gateway::Portals)),
        sim.url(Gateway::ItemGet)
    );
    place.pipeline(sim, Gateway::Portals, &lines)
}

/// How often SKUs and details were asked for.
fn asked(sim: &Sim, before: usize) -> (usize, usize) {
    let calls = &sim.journal()[before..];
    let of = |method: &str| calls.iter().filter(|call| call.method.ends_with(method)).count();
    (of("sku.get"), of("item.get"))
}

#[tokio::test]
async fn skus_are_put_to_offers_whose_details_are_not_asked_for_again() {
    let sim = sim::start(Options { shop_sizes: vec![50, 30], ..quick() }).await.unwrap();
    let place = Place::new();
    let mut before = 0;
    let mut night = async |skus: &str, dt| {
        sim.set_day(dt);
        let options = RunOptions { dt: Some(dt), no_cache: true, ..RunOptions::default() };
        attempt(&with_details(&place, &sim, skus), options).await.unwrap();
        let asked = asked(&sim, before);
        before = sim.journal().len();
        asked
    };
    let offers = async |dt| {
        let of_day = "select offer_id, title, brand, gateway, raw_ref, fetched_at, price_source, ladder_status, tier_count, \
                      detail_fetched_at, sku_count, content_hash, modified_at from offers \
                      where status <> 'delisted'";
        let rows = place.rows(&format!("{of_day} and dt = '{dt}'")).await;
        rows.into_iter().map(|row| (row["offer_id"].clone(), row)).collect::<BTreeMap<_, _>>()
    };
    let skus = async |dt| place.value(&format!("select count(distinct sku_id) from skus where dt = '{dt}'")).await;
    let (first, details) = night("off", day(20)).await;
    assert_eq!((first, skus(day(20)).await.as_str(), details > 70), (0, "0", true));
    let (second, _) = night("missing", day(21)).await;
    assert!(second > 100);
    assert_eq!(skus(day(21)).await, second.to_string(), "every SKU that was paid for is in the picture");
    let (old, new) = (offers(day(20)).await, offers(day(21)).await);
    let unmodified: Vec<_> = new
        .iter()
        .filter(|(id, row)| old.get(*id).is_some_and(|old| old["modified_at"] == row["modified_at"]))
        .collect();
    let with_skus = unmodified.iter().filter(|(_, row)| row["sku_count"] != "0").count();
    assert!(with_skus > 40, "{with_skus} of {}", unmodified.len());
    for (id, row) in unmodified {
        // What has no price but those of its SKUs has tiers once they are there.
        let of_skus: &[&str] =
            if row["price_source"] == "sku" { &["price_source", "ladder_status", "tier_count"] } else { &[] };
        let differs = |column: &str| ["sku_count", "content_hash"].contains(&column) || of_skus.contains(&column);
        for (column, value) in row.iter().filter(|(column, _)| !differs(column)) {
            assert_eq!(*value, old[id][column], "{column} of {id}");
        }
        assert_eq!(row["content_hash"] == old[id]["content_hash"], row["sku_count"] == "0", "{id}");
    }
    let changes = "select count(*) from price_changes c join offers n using (offer_id) join offers o using (offer_id) \
                   where c.dt = '2026-11-21' and n.dt = c.dt and o.dt = '2026-11-20' and n.modified_at = o.modified_at \
                   and o.price_source <> 'none'";
    assert_eq!(place.value(changes).await, "0", "what has only got its SKUs has not changed its prices");
    let of_skus = new.values().find(|row| row["sku_count"] == "2").unwrap();
    let explained = huopan(place.path(), &["explain", &of_skus["offer_id"], "--lake", "lake"]).await;
    assert!(explained.stdout.contains("\n2 of its SKUs came with answers of their own"), "{explained:?}");
    // They are there now: what is asked for belongs to new and modified offers.
    let (third, _) = night("missing", day(22)).await;
    assert!(third * 4 < second, "{third} of {second}");
    // With `all` they are asked for anew, and are those of the day.
    let (fourth, details) = night("all", day(23)).await;
    let fresh = "select count(*) from skus s join runs r on r.run_id = s.run_id where s.dt = '2026-11-23' \
                 and s.fetched_at >= r.started_at";
    assert!(fourth > 100 && details < 10);
    assert_eq!((skus(day(23)).await, place.value(fresh).await), (fourth.to_string(), fourth.to_string()));
    let (old, new) = (offers(day(22)).await, offers(day(23)).await);
    let same =
        new.iter().filter(|(id, row)| old.get(*id).is_some_and(|old| old["content_hash"] == row["content_hash"]));
    assert!(same.count() > 40, "what says the same is unchanged");
}
