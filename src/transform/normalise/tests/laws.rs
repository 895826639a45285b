//! What holds for every record.

use proptest::prelude::*;

use super::*;

/// Any JSON value, with the words and shapes that records are made of.
fn value() -> impl Strategy<Value = String> {
    let said = vec!["2箱(24件/箱)", "24支装", "2-99:12.5;100:11", "2.88-25.65", "手", "箱", "件", "千克", "9e999"];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        (0_i64..2000).prop_map(|number| number.to_string()),
        (0_u32..500, 0_u32..100).prop_map(|(whole, cents)| format!("\"{whole}.{cents:02}\"")),
        "[0-9一两半十百千万打箱件包双手/=()（）每装起批的倍数~元￥:;,. -]{0,24}".prop_map(|text| format!("\"{text}\"")),
        "\\PC{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        prop::sample::select(said).prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let name = prop::sample::select(vec!["price", "min", "max", "startQuantity", "箱规", "品牌", "x"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((name, inner), 0..3).prop_map(|items| {
                let items: Vec<_> = items.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", items.join(","))
            }),
        ]
    })
}

/// `,"name":value` for some of the names.
fn members(names: &'static [&'static str], count: usize) -> impl Strategy<Value = String> {
    let own = |name: &&'static str| !matches!(*name, "skus" | "offer_id" | "sku_id");
    let names: Vec<_> = names.iter().copied().filter(own).collect();
    prop::collection::vec((prop::sample::select(names), value()), 0..count)
        .prop_map(|members| members.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect())
}

fn record() -> impl Strategy<Value = String> {
    let sku = (1_i64..5, members(crate::config::gateway::SKU_FIELDS, 4));
    let skus = prop::collection::vec(sku.prop_map(|(id, members)| format!("{{\"sku_id\":{id}{members}}}")), 0..4);
    (members(crate::config::gateway::OFFER_FIELDS, 14), skus)
        .prop_map(|(members, skus)| format!("{{\"offer_id\":1{members},\"skus\":[{}]}}", skus.join(",")))
}

fn holds(offer: &Offer<'_>) {
    let per_unit = offer.pieces_per_unit.map(i64::from);
    for tier in &offer.tiers {
        assert!(tier.max_quantity.is_none_or(|max| tier.min_quantity <= max), "{tier:?}");
        assert!(tier.max_pieces.is_none_or(|max| tier.min_pieces.is_none_or(|min| min <= max)), "{tier:?}");
        assert_eq!(tier.min_pieces, per_unit.and_then(|pieces| pieces.checked_mul(tier.min_quantity)));
        assert!(tier.unit_price.units() > 0);
        match (tier.piece_price, per_unit) {
            (Some(piece_price), Some(pieces)) => {
                let whole = i128::from(piece_price) * i128::from(pieces);
                let price = i128::from(tier.unit_price.units()) * 100;
                assert!((whole - price).abs() * 2 <= i128::from(pieces), "{tier:?}");
            }
            // A price per piece may not fit where a unit is one piece.
            (None, Some(_)) => assert!(tier.unit_price.units() >= 10_i64.pow(16), "{tier:?}"),
            (piece_price, None) => assert_eq!(piece_price, None),
        }
    }
    assert_eq!(offer.tiers.is_empty(), offer.price_source == PriceSource::None);
    assert!(offer.ladder_status != LadderStatus::Missing || offer.tiers.is_empty());
    assert_eq!(offer.moq_status == QuantityStatus::Ok, offer.moq_pieces.is_some());
    assert_eq!(offer.stock_status == QuantityStatus::Ok, offer.stock_pieces.is_some());
    assert_eq!(per_unit.is_some(), !matches!(offer.pack_source, PackSource::None | PackSource::Conflict));
    assert!(per_unit.is_none_or(|pieces| pieces > 0));
    if let (Some(quantity), Some(pieces), Some(per_unit)) = (offer.moq_quantity, offer.moq_pieces, per_unit) {
        assert_eq!(quantity.checked_mul(per_unit), Some(pieces));
    }
    if let (Some(price), Some(top)) = (offer.price, offer.price_max) {
        assert!(price < top);
    }
}

#[test]
fn what_one_record_states_is_not_remembered_for_the_next() {
    let rules = rules(None);
    let mut offer = Offer::default();
    let mut show = |record: &'static str| {
        let fields =
            OfferFields(fields_of(json::parse(record.as_bytes()).unwrap(), crate::config::gateway::OFFER_FIELDS));
        let input = Input::alone(&fields);
        normalise(&input, &rules, &mut offer).unwrap();
        (unit(&offer), tiers(&offer))
    };
    let stated = show(r#"{"offer_id":1,"unit":"箱","title":"24件/箱","ladder":[[1,24]]}"#);
    assert_eq!(stated, ("箱 24 title".to_owned(), "single wholesale: 1-(24-)=24(1)".to_owned()));
    assert_eq!(show(r#"{"offer_id":2,"unit":"箱"}"#), ("箱 - none".to_owned(), "missing none:".to_owned()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_record_makes_it_panic_and_the_columns_agree(record in record(), default in prop::bool::ANY) {
        let unit = if default { Some("件") } else { None };
        if let Ok(offer) = run_with(&record, &rules(unit), SkuSource::Nested) {
            holds(&offer);
        }
    }

    #[test]
    fn a_used_offer_gives_what_a_new_one_gives(first in record(), second in record()) {
        let rules = rules(Some("件"));
        let parse = |record: String| {
            let raw = json::parse(Box::leak(record.into_boxed_str()).as_bytes()).unwrap();
            OfferFields(fields_of(raw, crate::config::gateway::OFFER_FIELDS))
        };
        let (first, second) = (parse(first), parse(second));
        let mut used = Offer::default();
        let _ = normalise(&Input::alone(&first), &rules, &mut used);
        let reused = normalise(&Input::alone(&second), &rules, &mut used);
        let mut new = Offer::default();
        prop_assert_eq!(reused, normalise(&Input::alone(&second), &rules, &mut new));
        used.scratch = Scratch::default();
        new.scratch = Scratch::default();
        prop_assert_eq!(format!("{used:?}"), format!("{new:?}"));
    }
}
