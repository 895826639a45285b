use crate::base::json;
use crate::base::json::Raw;
use crate::config::gateway::{OFFER_FIELDS, SKU_FIELDS};

use super::super::columns::Builder;
use super::super::fields::{OfferFields, SkuFields};
use super::super::hash::Hasher;
use super::super::normalise::tests::{fields_of, rules};
use super::super::normalise::{SkuSource, normalise};
use super::*;

fn raw(text: &str) -> Raw<'static> {
    json::parse(Box::leak(text.to_owned().into_boxed_str()).as_bytes()).unwrap()
}

fn fields(record: &str) -> OfferFields<'static> {
    OfferFields(fields_of(raw(record), OFFER_FIELDS))
}

fn skus(records: &[&str]) -> Vec<SkuFields<'static>> {
    records.iter().map(|record| SkuFields(fields_of(raw(record), SKU_FIELDS))).collect()
}

fn input<'i>(offer: &'i OfferFields<'static>, skus: &'i [SkuFields<'static>]) -> Input<'i, 'static> {
    Input { offer, skus, shop_id: Some("b2b-1"), sku_source: SkuSource::Calls, kept: &[], kept_counts: true }
}

fn normalised(record: &str, sku_records: &[&str]) -> Offer<'static> {
    let (fields, skus) = (fields(record), skus(sku_records));
    let mut offer = Offer::default();
    normalise(&input(&fields, &skus), &rules(None), &mut offer).unwrap();
    offer
}

/// What is published of offers, each made of a detail.
fn published(offers: &[Offer<'_>]) -> Rows {
    let mut builder = Builder::default();
    for offer in offers {
        let origin = Origin {
            gateway: "items",
            fetched_at: 5,
            skus_fetched_at: &[],
            observed_dt: 7,
            raw_ref: "r/1",
            detail_fetched_at: Some(5),
            hashes: Hasher::default().hash(offer),
        };
        builder.append(offer, &origin);
    }
    builder.finish().unwrap()
}

fn details(rows: &Rows) -> Details {
    let mut details = Details::default();
    details.take(rows, |_| true).unwrap();
    details
}

const SKUS: [&str; 2] = [
    r#"{"sku_id":11,"spec":"颜色:红","price":"3.50","stock":"4"}"#,
    r#"{"sku_id":12,"price":"4","stock":"2147483647","cargo_number":"A-1"}"#,
];

/// Details in every way to be priced.
const DETAILS: [&str; 13] = [
    r#"{"offer_id":1,"sku_ids":[11,12],"title":"杯子","price":"3.20","unit":"箱","pack":"24","moq":"2箱","modified_at":"2026-11-01 00:00:00","image_urls":["http://a/1.jpg","http://a/2.jpg"],"repurchase_rate":"12.5%","sales":"1万+"}"#,
    r#"{"offer_id":1,"sku_ids":[11,12],"price":"3.20","unit":"件","ladder":[{"beginAmount":2,"price":"3.2"},{"beginAmount":10,"price":"3"}]}"#,
    r#"{"offer_id":1,"sku_ids":[11,12],"unit":"件","ladder":[{"beginAmount":2,"price":"3.2"},{"beginAmount":5,"price":"面议"}]}"#,
    r#"{"offer_id":1,"sku_ids":[11,12],"quote_type":3,"price":"3.20","ladder":[{"beginAmount":2,"price":"3.2"}]}"#,
    r#"{"offer_id":1,"sku_ids":[11,12],"price":"3.20-4.00","unit":"打","stock":"30"}"#,
    r#"{"offer_id":1,"sku_ids":[11,12],"price":"3.20-4.00","channel_price":"3","unit":"件"}"#,
    r#"{"offer_id":1,"sku_ids":[11,12],"unit":"件","moq":"5"}"#,
    r#"{"offer_id":1,"sku_ids":[11,12],"unit":"件","price":"9.9","ladder":"1.5-3.5"}"#,
    r#"{"offer_id":1,"sku_ids":[11,12],"unit":"件","price":"3.5","ladder":"1.5-3.5","channel_price":"3"}"#,
    r#"{"offer_id":1,"sku_ids":[11,12],"unit":"件","ladder":"1.5-3.5","quote_type":1}"#,
    r#"{"offer_id":1,"sku_ids":[11,12],"price":"面议","ladder":"面议"}"#,
    r#"{"offer_id":1,"sku_ids":[11,12],"quote_type":1,"price":"7","unit":"箱"}"#,
    r#"{"offer_id":1,"sku_ids":[11,12],"quote_type":0,"price":"7","unit":"千克"}"#,
];

#[test]
fn an_offer_is_read_as_it_was_published() {
    for detail in DETAILS {
        let offer = normalised(detail, &SKUS);
        let rows = published(std::slice::from_ref(&offer));
        let mut read = Offer::default();
        let details = details(&rows);
        let found = details.of(1).unwrap();
        found.read(&mut read).unwrap();
        assert_eq!(Hasher::default().hash(&read), Hasher::default().hash(&offer), "{detail}");
        // How many SKUs it names is told by the listing of the day.
        read.named_skus.clone_from(&offer.named_skus);
        let again = published(&[read]);
        assert_eq!((&again.offers, &again.tiers, &again.skus), (&rows.offers, &rows.tiers, &rows.skus), "{detail}");
        let origin = found.origin().unwrap();
        assert_eq!((origin.gateway, origin.fetched_at, origin.observed_dt, origin.raw_ref), ("items", 5, 7, "r/1"));
    }
}

#[test]
fn with_skus_of_today_it_is_what_its_detail_beside_them_would_have_made() {
    let ladders = [
        r#"{"sku_id":11,"ladder":[{"beginAmount":3,"price":"2.5"},{"beginAmount":9,"price":"2"}]}"#,
        r#"{"sku_id":12,"price":"4"}"#,
    ];
    for (detail, sku_records) in DETAILS.iter().flat_map(|detail| [(detail, SKUS), (detail, ladders)]) {
        let expected = normalised(detail, &sku_records);
        for before in [normalised(detail, &[]), expected.clone(), normalised(detail, &SKUS[..1])] {
            let (fields, skus) = (fields(r#"{"sku_ids":[11,12]}"#), skus(&sku_records));
            let details = details(&published(&[before]));
            let mut offer = Offer::default();
            details.of(1).unwrap().read(&mut offer).unwrap();
            with_skus(&input(&fields, &skus), &rules(None), &mut offer).unwrap();
            let (made, expected) = (published(&[offer]), published(std::slice::from_ref(&expected)));
            assert_eq!(made.skus, expected.skus, "{detail}");
            assert_eq!(made.tiers, expected.tiers, "{detail}");
            assert_eq!(made.offers, expected.offers, "{detail}");
        }
    }
}

#[test]
fn only_details_that_are_wanted_are_kept() {
    let mut delisted = normalised(DETAILS[0], &[]);
    (delisted.offer_id, delisted.status) = (2, OfferStatus::Delisted);
    let mut other = normalised(DETAILS[0], &SKUS);
    other.offer_id = 3;
    let rows = published(&[normalised(DETAILS[0], &SKUS), delisted, other]);
    let mut details = Details::default();
    details.take(&rows, |offer_id| offer_id != 1).unwrap();
    assert_eq!([1, 2, 3].map(|offer_id| details.of(offer_id).is_some()), [false, false, true]);
}

#[test]
fn a_detail_holds_as_long_as_its_offer_is_where_and_as_it_was() {
    let offer = normalised(DETAILS[0], &SKUS);
    let details = details(&published(std::slice::from_ref(&offer)));
    let holds_for = |offer: &Offer<'_>| details.of(1).unwrap().holds_for(offer).unwrap();
    assert!(holds_for(&offer));
    let moved = Offer { shop_id: Some("b2b-2".into()), ..offer.clone() };
    let modified = Offer { modified_at: offer.modified_at.map(|at| at + 1), ..offer.clone() };
    let unknown = Offer { modified_at: None, ..offer.clone() };
    assert_eq!([moved, modified, unknown].map(|offer| holds_for(&offer)), [false, false, false]);
    let undated = normalised(DETAILS[1], &[]);
    let details = self::details(&published(std::slice::from_ref(&undated)));
    assert!(!details.of(1).unwrap().holds_for(&undated).unwrap());
}
