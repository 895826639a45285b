use super::*;
use crate::config::Gateway;

fn without(mut gateway: Gateway, endpoint: &str) -> Gateway {
    gateway.endpoints.remove(endpoint);
    gateway
}

fn plan(gateway: Gateway, change: impl FnOnce(&mut Pipeline)) -> Result<Work, String> {
    let mut pipeline = testing::pipeline(gateway);
    change(&mut pipeline);
    work(&pipeline).map_err(|error| error.to_string())
}

#[test]
fn a_known_id_needs_no_call_and_an_address_needs_the_shop_endpoint() {
    let address = Shop { id: None, url: Some("https://shop1.1688.com".into()), name: None };
    let shops = vec![testing::shop("b2b-1"), address];
    let planned = plan(testing::gateway(""), |pipeline| pipeline.shops = shops.clone()).unwrap();
    let ids: Vec<_> = planned.shops.iter().map(|shop| (shop.id, shop.count)).collect();
    assert_eq!(ids, [(ShopIdFrom::Pipeline, CountFrom::Endpoint), (ShopIdFrom::Gateway, CountFrom::Endpoint)]);
    let error = plan(without(testing::gateway(""), "shop"), |pipeline| pipeline.shops = shops).unwrap_err();
    assert_eq!(error, "gateway `test` has no endpoint `shop`, which the shop address `https://shop1.1688.com` needs");
}

#[test]
fn what_the_gateway_cannot_answer_is_found_before_a_call() {
    let shops = |pipeline: &mut Pipeline| pipeline.shops = vec![testing::shop("1")];
    let skus = |pipeline: &mut Pipeline| pipeline.fetch.skus = FetchDetails::All;
    assert!(plan(without(testing::gateway(""), "listing"), shops).unwrap_err().contains("`listing`"));
    assert!(
        plan(without(testing::gateway(""), "item"), |pipeline| pipeline.items = vec![1])
            .unwrap_err()
            .contains("`item`")
    );
    assert!(plan(without(testing::gateway(""), "sku"), skus).unwrap_err().contains("`sku`"));
    assert!(plan(testing::gateway(""), |pipeline| pipeline.accounts.clear()).unwrap_err().contains("account"));
    let uncounted = plan(without(testing::gateway(""), "count"), shops).unwrap();
    assert_eq!(uncounted.shops[0].count, CountFrom::Listing);
}

#[test]
fn details_that_carry_their_skus_need_no_call_for_them() {
    let mut gateway = without(testing::gateway(""), "sku");
    gateway.offer.insert("skus".into(), crate::config::gateway::FieldSource::default());
    let planned = plan(gateway, |pipeline| pipeline.fetch.skus = FetchDetails::All).unwrap();
    assert_eq!(planned.skus, FetchDetails::Off);
}
