//! What ships works as it ships: the pipelines against a simulator with its usual limits and light faults, the demo.

use std::collections::BTreeSet;
use std::path::Path;

use huopan::sim::{self, Faults, Gateway, Options, ShopTruth};

use crate::support::{PICTURES, Place, day, huopan_with};

/// What a shipped pipeline must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// That many shops, each in full.
    Shops(usize),
    /// That many single offers.
    Items(usize),
}

/// Runs a shipped pipeline in which only the port, the lake and `change` are replaced, against a simulator as
/// `huopan sim --faults light` starts it.
async fn check(name: &str, gateway: Gateway, names: Names, change: (&str, &str)) {
    let options = Options { faults: Faults::Light, day: Some(day(20)), ..Options::default() };
    let (sim, place) = (sim::start(options).await.unwrap(), Place::new());
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines").join(name);
    let mut text = std::fs::read_to_string(shipped).unwrap();
    for (from, to) in [("127.0.0.1:1688", &*sim.addr().to_string()), ("../data/lake", "lake"), change] {
        assert!(text.contains(from), "{name} has no `{from}`");
        text = text.replace(from, to);
    }
    place.write("pipeline.toml", &text);
    let secrets = [("HUOPAN_APP_SECRET", "sim-secret"), ("HUOPAN_ACCESS_TOKEN", "sim-token")];
    let ended = huopan_with(place.path(), &["run", "pipeline.toml"], &secrets).await;
    assert_eq!(ended.code, 0, "{name}: {ended:?}");
    assert_eq!(place.value("select count(*) from shops where not is_complete").await, "0", "{name}");

    let world = sim.world(gateway);
    let is_named = |shop: &&ShopTruth| text.contains(&shop.shop_id) || text.contains(&shop.shop_url);
    let expected: BTreeSet<String> = match names {
        Names::Shops(count) => {
            let shops: Vec<_> = world.shops.iter().filter(is_named).collect();
            assert_eq!(shops.len(), count, "{name} names a shop that the simulator does not have");
            on_sale(shops.into_iter()).map(|id| id.to_string()).collect()
        }
        Names::Items(count) => {
            let named: BTreeSet<_> =
                on_sale(world.shops.iter()).map(|id| id.to_string()).filter(|id| text.contains(id)).collect();
            assert_eq!(named.len(), count, "{name} names an offer that the simulator does not have");
            named
        }
    };
    let found = place.rows("select offer_id from offers where status = 'on_sale'").await;
    assert_eq!(found.into_iter().map(|row| row["offer_id"].clone()).collect::<BTreeSet<_>>(), expected, "{name}");
}

fn on_sale<'w>(shops: impl Iterator<Item = &'w ShopTruth>) -> impl Iterator<Item = i64> {
    shops.flat_map(|shop| &shop.offers).filter(|offer| offer.is_on_sale).map(|offer| offer.offer_id)
}

const AS_IT_IS: (&str, &str) = ("", "");

#[tokio::test]
async fn the_portals_pipeline_lists_its_shops() {
    check("portals.toml", Gateway::Portals, Names::Shops(4), AS_IT_IS).await;
}

#[tokio::test]
async fn the_shop_search_pipeline_lists_its_shops() {
    check("shop-search.toml", Gateway::ShopSearch, Names::Shops(2), AS_IT_IS).await;
}

#[tokio::test]
async fn the_item_get_pipeline_finds_its_offers() {
    check("item-get.toml", Gateway::ItemGet, Names::Items(4), AS_IT_IS).await;
}

#[tokio::test]
async fn the_product_get_pipeline_finds_its_offers_as_json() {
    check("product-get.toml", Gateway::ProductGet, Names::Items(4), AS_IT_IS).await;
}

#[tokio::test]
async fn the_product_get_pipeline_finds_its_offers_as_xml() {
    let change = ("answer = \"json\"", "answer = \"xml\"");
    check("product-get.toml", Gateway::ProductGet, Names::Items(4), change).await;
}

#[tokio::test]
async fn the_aop_pipeline_finds_its_offers() {
    check("aop.toml", Gateway::Aop, Names::Items(4), AS_IT_IS).await;
}

#[tokio::test]
async fn the_offers_that_shipped_pipelines_name_stay_on_sale() {
    let sim = sim::start(Options::default()).await.unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/aop.toml");
    let text = std::fs::read_to_string(shipped).unwrap();
    for year in 2026..2046 {
        sim.set_day(chrono::NaiveDate::from_ymd_opt(year, 7, 1).unwrap());
        let world = sim.world(Gateway::Aop);
        assert_eq!(on_sale(world.shops.iter()).filter(|id| text.contains(&id.to_string())).count(), 4, "{year}");
    }
}

#[tokio::test]
async fn the_demo_works_twice_and_the_second_publishes_the_same_days_anew() {
    let place = Place::new();
    let mut pictures = Vec::new();
    for runs in ["3", "6"] {
        let ended = huopan_with(place.path(), &["demo", "--lake", "lake"], &[]).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        let said = |part: &str| assert!(ended.stdout.contains(part), "no `{part}` in:\n{}", ended.stdout);
        said("SIMULATED");
        said("Who is cheapest for 500 pieces of");
        said("price_per_piece");
        said("What costs less for 500 pieces than the day before?");
        said("change_pct");
        said("Was every shop complete?");
        said("is_complete");
        said("The tables are Delta tables under lake/");
        assert_eq!(ended.stdout.matches("published as number").count(), 3);
        assert_eq!(ended.stdout.matches("· complete").count(), 12);
        assert!(!ended.stdout.contains("INCOMPLETE"));
        let counts = place.counts().await;
        assert_eq!(counts["runs"].to_string(), runs);
        let mut picture = counts;
        picture.retain(|table, _| PICTURES.contains(&table.as_str()));
        pictures.push(picture);
    }
    assert_eq!(pictures[0], pictures[1]);
    assert!(pictures[0]["offers"] > 3000);
    let cheapest = place
        .rows(
            "select shop_name, price_per_piece from price_at(500)
             where buyable and title like '%304不锈钢保温杯500ml%' order by price_per_piece",
        )
        .await;
    let shops: BTreeSet<_> = cheapest.iter().map(|row| &row["shop_name"]).collect();
    assert_eq!(shops.len(), 4, "every shop sells it");
}
