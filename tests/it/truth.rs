//! The tables against the truth of the simulated world, column by column.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a failed test")]

use std::collections::BTreeMap;

use huopan::sim::{Gateway, OfferTruth, ShopTruth, TierTruth, WorldTruth};
use unicode_segmentation::UnicodeSegmentation;

use crate::support::{NULL, Place, Row};

/// Column → value, as far as the truth claims one.
pub(crate) type Claims = BTreeMap<&'static str, String>;

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NULL.to_owned(), |value| value.to_string())
}

/// `12.50` as the tables have it.
pub(crate) fn money(yuan: &str) -> String {
    format!("{yuan}00")
}

/// `unit_price ÷ pieces`, half-even, with six places.
fn piece_price(yuan: &str, pieces: i64) -> String {
    let micros: i128 = yuan.replace('.', "").parse::<i128>().unwrap() * 10_000;
    let (pieces, mut quotient) = (i128::from(pieces), micros / i128::from(pieces));
    let twice = 2 * (micros % pieces);
    if twice > pieces || (twice == pieces && quotient % 2 == 1) {
        quotient += 1;
    }
    format!("{}.{:06}", quotient / 1_000_000, quotient % 1_000_000)
}

/// One published night of a gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Night<'a> {
    pub(crate) gateway: Gateway,
    pub(crate) world: &'a WorldTruth,
    /// Whether offers that are off sale are shown as well.
    pub(crate) shows: Shows,
    /// Columns that the gateway does not tell.
    pub(crate) untold: &'a [&'a str],
}

/// Which offers a gateway shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    OnSale,
    All,
}

/// What holds of an offer whatever the gateway.
fn claims(night: Night<'_>, shop: &ShopTruth, offer: &OfferTruth) -> Claims {
    let (gateway, dt) = (night.gateway, night.world.date.to_string());
    let title = offer.title.as_deref().map(str::trim).filter(|title| !title.is_empty());
    let mut claims = Claims::from([
        ("dt", dt.clone()),
        ("pipeline", "test".to_owned()),
        ("gateway", gateway.name().to_owned()),
        ("shop_id", shop.shop_id.clone()),
        ("offer_id", offer.offer_id.to_string()),
        ("title", text(title.map(|title| title.graphemes(true).take(200).collect::<String>()))),
        ("title_truncated", title.is_some_and(|title| title.graphemes(true).count() > 200).to_string()),
        ("price", text(offer.price.as_deref().map(money))),
        ("channel_price", text(offer.channel_price.as_deref().map(money))),
        ("dropship_price", text(offer.dropship_price.as_deref().map(money))),
        ("currency", "CNY".to_owned()),
        ("unit", text(offer.unit.as_deref())),
        ("pieces_per_unit", text(offer.pieces_per_unit)),
        ("pack_source", offer.pack_source.clone()),
        ("moq_quantity", text(offer.moq_quantity)),
        ("moq_pieces", text(offer.moq_pieces)),
        ("moq_status", offer.moq_status.clone()),
        ("moq_source", offer.moq_source.clone()),
        ("stock_pieces", text(offer.stock_pieces)),
        ("stock_status", offer.stock_status.clone()),
        ("sales_count", text(offer.sales_count)),
        ("status", if offer.is_on_sale { "on_sale" } else { "off_sale" }.to_owned()),
        ("observed_dt", dt),
    ]);
    if offer.sales_count.is_some() {
        claims.insert("sales_is_lower_bound", offer.sales_is_lower_bound.to_string());
    }
    if let Some(source) = &offer.price_source {
        claims.insert("price_source", source.clone());
    }
    if let Some(status) = &offer.ladder_status {
        claims.insert("ladder_status", status.clone());
    }
    if let Some(tiers) = offer.tiers.as_ref().filter(|_| offer.skus.iter().all(|sku| sku.tiers.is_empty())) {
        claims.insert("tier_count", tiers.len().to_string());
    }
    claims.insert("modified_at", offer.modified_at.format("%Y-%m-%dT%H:%M:%SZ").to_string());
    if gateway != Gateway::ShopSearch {
        claims.insert("category_id", offer.cid.to_string());
        claims.insert("quote_type", offer.quote_type.to_string());
    }
    claims.retain(|column, _| !night.untold.contains(column));
    claims
}

/// The rows that a ladder must give.
fn tier_claims(offer: &OfferTruth, tiers: &[TierTruth]) -> Vec<Claims> {
    let claim = |(at, tier): (usize, &TierTruth)| {
        let pieces = offer.pieces_per_unit;
        Claims::from([
            ("tier_no", (at + 1).to_string()),
            ("min_quantity", tier.min_quantity.to_string()),
            ("max_quantity", text(tier.max_quantity)),
            ("unit_price", money(&tier.unit_price)),
            ("min_pieces", text(pieces.map(|pieces| tier.min_quantity * pieces))),
            ("max_pieces", text(pieces.zip(tier.max_quantity).map(|(pieces, max)| (max + 1) * pieces - 1))),
            ("piece_price", text(pieces.map(|pieces| piece_price(&tier.unit_price, pieces)))),
        ])
    };
    tiers.iter().enumerate().map(claim).collect()
}

/// What differs between claims and a row.
pub(crate) fn differences(claims: &Claims, row: &Row) -> Vec<String> {
    let differs = |(column, claim): (&&str, &String)| match row.get(*column) {
        Some(value) if value == claim => None,
        value => Some(format!("{column}: {value:?} instead of {claim:?}")),
    };
    claims.iter().filter_map(differs).collect()
}

/// Offers that the gateway shows, with their shops.
pub(crate) fn shown(world: &WorldTruth, shows: Shows) -> Vec<(&ShopTruth, &OfferTruth)> {
    let offers = world.shops.iter().flat_map(|shop| shop.offers.iter().map(move |offer| (shop, offer)));
    offers.filter(|(_, offer)| shows == Shows::All || offer.is_on_sale).collect()
}

/// Compares the night's offers and ladders with the truth, and the funnel of every run with itself.
pub(crate) async fn compare(place: &Place, night: Night<'_>) {
    let dt = night.world.date;
    let day = format!("where dt = '{dt}'");
    let offers = place.rows(&format!("select * from offers {day} and status <> 'delisted'")).await;
    let by_id: BTreeMap<&str, &Row> = offers.iter().map(|row| (row["offer_id"].as_str(), row)).collect();
    let mut ladders: BTreeMap<(String, String), Vec<Row>> = BTreeMap::new();
    for row in place.rows(&format!("select * from price_tiers {day} order by offer_id, sku_id, tier_no")).await {
        ladders.entry((row["offer_id"].clone(), row["sku_id"].clone())).or_default().push(row);
    }
    let shown = shown(night.world, night.shows);
    let mut wrong = Vec::new();
    for (shop, offer) in &shown {
        let id = offer.offer_id.to_string();
        let Some(row) = by_id.get(id.as_str()) else {
            wrong.push(format!("{id}: no row"));
            continue;
        };
        let mut differ = differences(&claims(night, shop, offer), row);
        let own = offer.tiers.iter().map(|tiers| (NULL.to_owned(), tiers));
        let skus =
            offer.skus.iter().filter(|sku| !sku.tiers.is_empty()).map(|sku| (sku.sku_id.to_string(), &sku.tiers));
        for (sku_id, tiers) in own.chain(skus) {
            let found = ladders.get(&(id.clone(), sku_id.clone())).map_or(&[][..], Vec::as_slice);
            if found.len() != tiers.len() {
                differ.push(format!("{} steps of SKU {sku_id} instead of {}", found.len(), tiers.len()));
            }
            differ
                .extend(tier_claims(offer, tiers).iter().zip(found).flat_map(|(claims, row)| differences(claims, row)));
        }
        wrong.extend(differ.into_iter().map(|line| format!("{id}: {line}")));
    }
    let name = night.gateway.name();
    assert!(wrong.is_empty(), "{name} {dt}: {} differ, first: {:#?}", wrong.len(), &wrong[..wrong.len().min(12)]);
    assert_eq!(offers.len(), shown.len(), "{name} {dt}");
    let leaky = "select count(*) from runs where received <> loaded + duplicates + quarantined";
    assert_eq!(place.value(leaky).await, "0");
}

/// Every SKU that the world has, where the gateway gives them with the offer.
pub(crate) async fn compare_skus(place: &Place, shown: &[(&ShopTruth, &OfferTruth)]) {
    let rows = place.rows("select * from skus").await;
    let by_id: BTreeMap<&str, &Row> = rows.iter().map(|row| (row["sku_id"].as_str(), row)).collect();
    let mut count = 0;
    for (shop, offer) in shown {
        for sku in &offer.skus {
            let claims = Claims::from([
                ("offer_id", offer.offer_id.to_string()),
                ("shop_id", shop.shop_id.clone()),
                ("spec", sku.spec.clone()),
                ("price", text(sku.price.as_deref().map(money))),
                ("stock_pieces", text(offer.pieces_per_unit.map(|pieces| pieces * sku.stock))),
            ]);
            let row = by_id.get(sku.sku_id.to_string().as_str()).unwrap_or_else(|| panic!("no SKU {}", sku.sku_id));
            assert_eq!(differences(&claims, row), Vec::<String>::new(), "SKU {} of {}", sku.sku_id, offer.offer_id);
            count += 1;
        }
    }
    assert_eq!(rows.len(), count);
    assert!(count > 20, "the world has hardly any SKUs");
}
