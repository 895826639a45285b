//! One night of every gateway: what the tables hold is what the simulated world holds.

use huopan::sim::{self, Faults, Gateway, Options, WorldTruth};

use crate::support::{NULL, Place, day, item_lines, publish, quick, shop_lines};
use crate::truth::{Claims, Night, Shows, compare, compare_skus, differences, shown};

/// Half of the offers are odd.
fn messy() -> Options {
    Options { mess_per_mille: 600, ..quick() }
}

fn night(gateway: Gateway, world: &WorldTruth) -> Night<'_> {
    Night { gateway, world, shows: Shows::OnSale, untold: &[] }
}

#[tokio::test]
async fn a_portals_night_equals_the_world_column_by_column() {
    let (sim, place) = (sim::start(messy()).await.unwrap(), Place::new());
    let report = publish(&place.shops(&sim, Gateway::Portals), day(20)).await;
    let world = sim.world(Gateway::Portals);
    compare(&place, night(Gateway::Portals, &world)).await;
    assert!(report.is_complete(), "{report:?}");
    let count = i64::try_from(shown(&world, Shows::OnSale).len()).unwrap();
    assert_eq!((report.received, report.loaded, report.duplicates, report.quarantined), (count, count, 0, 0));
    let shops = place.rows("select * from shops order by shop_id").await;
    for shop in &world.shops {
        let row = shops.iter().find(|row| row["shop_id"] == shop.shop_id).unwrap();
        let claims = Claims::from([
            ("official_count", shop.on_sale.to_string()),
            ("listed_count", shop.on_sale.to_string()),
            ("offer_count", shop.on_sale.to_string()),
            ("new_count", shop.on_sale.to_string()),
            ("delisted_count", "0".to_owned()),
            ("carried_count", "0".to_owned()),
            ("shop_name", shop.shop_name.clone()),
            ("is_complete", "true".to_owned()),
            ("sku_complete_rate", NULL.to_owned()),
        ]);
        assert_eq!(differences(&claims, row), Vec::<String>::new());
    }
    assert_eq!(place.value("select count(*) from skus").await, "0");
}

#[tokio::test]
async fn single_offers_of_product_get_and_aop_equal_the_world_as_json_and_xml() {
    let sim = sim::start(Options { shop_sizes: vec![80], ..messy() }).await.unwrap();
    for (gateway, format) in
        [(Gateway::ProductGet, ""), (Gateway::ProductGet, "\n[fetch]\nanswer = \"xml\""), (Gateway::Aop, "")]
    {
        let (place, world) = (Place::new(), sim.world(gateway));
        let lines = format!("{}{format}", item_lines(&world));
        let report = publish(&place.pipeline(&sim, gateway, &lines), day(20)).await;
        compare(&place, Night { shows: Shows::All, ..night(gateway, &world) }).await;
        compare_skus(&place, &shown(&world, Shows::All)).await;
        assert!(report.is_complete(), "{report:?}");
    }
}

#[tokio::test]
async fn single_offers_of_item_get_equal_the_world() {
    let sim = sim::start(Options { shop_sizes: vec![80], ..messy() }).await.unwrap();
    let (place, world) = (Place::new(), sim.world(Gateway::ItemGet));
    publish(&place.pipeline(&sim, Gateway::ItemGet, &item_lines(&world)), day(20)).await;
    compare(&place, night(Gateway::ItemGet, &world)).await;
}

#[tokio::test]
async fn a_shop_search_listing_equals_the_world() {
    let sim = sim::start(messy()).await.unwrap();
    let (place, world) = (Place::new(), sim.world(Gateway::ShopSearch));
    let report = publish(&place.pipeline(&sim, Gateway::ShopSearch, &shop_lines(&world)), day(20)).await;
    compare(&place, Night { untold: &["modified_at"], ..night(Gateway::ShopSearch, &world) }).await;
    assert!(report.is_complete(), "{report:?}");
}

#[tokio::test]
async fn faults_change_nothing_in_the_tables() {
    let mut contents = Vec::new();
    for faults in [Faults::None, Faults::Light, Faults::Heavy] {
        let options = Options { faults, shop_sizes: vec![25, 15], ..quick() };
        let (sim, place) = (sim::start(options).await.unwrap(), Place::new());
        let lines = format!("{}\n[fetch]\nskus = \"all\"", shop_lines(&sim.world(Gateway::Portals)));
        publish(&place.pipeline(&sim, Gateway::Portals, &lines), day(20)).await;
        let retries: i64 = place.value("select retries from runs").await.parse().unwrap();
        assert_eq!(retries > 0, faults != Faults::None, "{faults:?}");
        contents.push(place.content(day(20)).await);
    }
    assert_eq!(contents[0], contents[1]);
    assert_eq!(contents[0], contents[2]);
}

#[tokio::test]
async fn sku_details_reach_their_table_each_with_its_own_time() {
    let sim = sim::start(Options { shop_sizes: vec![12], ..quick() }).await.unwrap();
    let (place, world) = (Place::new(), sim.world(Gateway::Portals));
    let lines = format!("{}\n[fetch]\nskus = \"all\"", shop_lines(&world));
    let report = publish(&place.pipeline(&sim, Gateway::Portals, &lines), day(20)).await;
    let shown = shown(&world, Shows::OnSale);
    compare_skus(&place, &shown).await;
    assert!(report.is_complete(), "{report:?}");
    let times = "select count(*) from skus join offers using (offer_id) where skus.fetched_at <= offers.fetched_at";
    assert_eq!(place.value(times).await, "0", "SKUs are fetched after the offer that names them");
    let calls = place.rows("select offer_id, count(*) as n from calls where endpoint = 'sku' group by offer_id").await;
    let named: usize = shown.iter().map(|(_, offer)| offer.skus.len()).sum();
    assert_eq!(calls.iter().map(|row| row["n"].parse::<usize>().unwrap()).sum::<usize>(), named);
    assert_eq!(place.value("select sku_complete_rate from shops").await, "1.0000");
    // Spreads get a step for each SKU with a price.
    let spreads = "select count(*) from offers where ladder_status = 'sku_spread' and tier_count <> sku_count";
    assert_eq!(place.value(spreads).await, "0");
}
