//! One test per sentence of WIRE §5.

use std::collections::BTreeMap;

use super::super::super::hash::Hasher;
use super::super::super::ladder::Step;
use super::super::super::offer::Tier;
use super::*;

fn check(show: fn(&Offer<'_>) -> String, cases: &[(&str, &str)]) {
    for (record, expected) in cases {
        assert_eq!(show(&run(record)), *expected, "{record}");
    }
}

// Units

#[test]
fn the_sale_unit_is_the_first_that_is_stated() {
    check(
        unit,
        &[
            (r#"{"sale_unit":"手","unit":"件","ladder":[{"min":"1双","price":1}],"moq":"1套"}"#, "手 - none"),
            (r#"{"unit":"个","ladder":[{"min":"1双","price":1}],"moq":"1套"}"#, "个 1 unit_table"),
            (r#"{"ladder":[{"min":"1","max":"59双","price":1}],"moq":"1套"}"#, "双 1 unit_table"),
            (r#"{"ladder":[{"min":"1","price":1}],"moq":"1套起批"}"#, "套 1 unit_table"),
            (r#"{"moq":"5","stock":"100件"}"#, "- - none"),
            (r#"{"unit":"元/件"}"#, "件 1 unit_table"),
            (r#"{"unit":"1件"}"#, "件 1 unit_table"),
            (r#"{"unit":"千个"}"#, "千个 1000 unit_table"),
            (r#"{"unit":"箱(24件)"}"#, "箱 24 attribute"),
            (r#"{"unit":"份"}"#, "份 - none"),
            (r#"{"unit":{"x":1},"moq":"2双"}"#, "双 1 unit_table"),
        ],
    );
}

#[test]
fn the_definitions_default_unit_counts_last_and_its_source_is_config() {
    let default = rules(Some("件"));
    for (record, expected) in [
        (r#"{"moq":5}"#, "件 1 config"),
        (r#"{"moq":5,"stock":"100双"}"#, "件 1 config"),
        (r#"{"moq":"4箱起批"}"#, "箱 - none"),
        (r#"{"moq":"9打"}"#, "打 12 unit_table"),
        (r#"{"unit":"件"}"#, "件 1 unit_table"),
    ] {
        assert_eq!(unit(&run_with(record, &default, SkuSource::Nested).unwrap()), expected, "{record}");
    }
}

#[test]
fn without_a_unit_the_moq_has_an_unknown_unit() {
    let offer = run(r#"{"moq":5,"stock":"100件"}"#);
    assert_eq!((offer.unit.as_deref(), moq(&offer).as_str()), (None, "5 - unknown_unit stated"));
    assert_eq!(stock(&offer), "100 ok");
}

#[test]
fn a_sellunit_with_a_batch_number_holds_that_many_units() {
    let offer = run(r#"{"sale_unit":"手","unit":"件","batch_number":12,"ladder":[[1,12.00]],"moq":2,"stock":"10"}"#);
    assert_eq!(unit(&offer), "手 12 batch_number");
    assert_eq!(tiers(&offer), "single wholesale: 1-(12-)=12(1)");
    assert_eq!(moq(&offer), "2 24 ok stated");
    assert_eq!(stock(&offer), "120 ok");
}

#[test]
fn a_batch_number_without_a_sellunit_is_ignored() {
    check(
        unit,
        &[
            (r#"{"unit":"盒","batch_number":200}"#, "盒 - none"),
            (r#"{"sale_unit":"箱","unit":"箱","batch_number":24}"#, "箱 - none"),
            (r#"{"sale_unit":"箱","batch_number":24}"#, "箱 - none"),
            (r#"{"sale_unit":"箱","unit":"打","batch_number":2}"#, "箱 24 batch_number"),
            (r#"{"sale_unit":"件","unit":"个","batch_number":40}"#, "件 - conflict"),
        ],
    );
}

#[test]
fn a_bare_number_is_in_sale_units() {
    let offer = run(r#"{"unit":"打","moq":2,"stock":"3","skus":[{"sku_id":1,"stock":5}]}"#);
    assert_eq!((moq(&offer).as_str(), stock(&offer).as_str()), ("2 24 ok stated", "36 ok"));
    assert_eq!(offer.skus[0].stock_pieces, Some(60));
}

#[test]
fn pieces_per_unit_does_not_depend_on_whether_the_moq_could_be_read() {
    check(
        unit,
        &[
            (r#"{"unit":"箱","title":"纸杯24个/箱","moq":"面议"}"#, "箱 24 title"),
            (r#"{"unit":"箱","title":"纸杯24个/箱"}"#, "箱 24 title"),
        ],
    );
}

#[test]
fn when_several_statements_agree_the_first_source_in_order_counts_and_two_that_disagree_are_a_conflict() {
    check(
        unit,
        &[
            (r#"{"unit":"箱","title":"24个/箱","moq":"2箱(24件/箱)"}"#, "箱 24 moq_text"),
            (r#"{"unit":"箱","title":"24个/箱","stock":"2箱(24件/箱)"}"#, "箱 24 stock_text"),
            (r#"{"unit":"箱","title":"24个/箱","attributes":[{"箱规":"24件"}]}"#, "箱 24 title"),
            (r#"{"unit":"箱","attributes":[{"箱规":"24件"}]}"#, "箱 24 attribute"),
            (r#"{"unit":"箱","attributes":[{"箱规":"40本/件"}]}"#, "箱 40 attribute"),
            (r#"{"unit":"箱","attributes":[{"装箱数":"24"}]}"#, "箱 24 attribute"),
            (r#"{"unit":"盒","attributes":"每盒数量:12;材质:纸"}"#, "盒 12 attribute"),
            (r#"{"unit":"盒","attributes":{"包装规格":"12支/盒"}}"#, "盒 12 attribute"),
            (r#"{"unit":"箱","pack":"24"}"#, "箱 24 attribute"),
            (r#"{"unit":"箱","title":"24个/箱","moq":"2箱(30件/箱)"}"#, "箱 - conflict"),
            (r#"{"unit":"箱","title":"24个/箱","attributes":[{"箱规":"60*40*30"}]}"#, "箱 24 title"),
        ],
    );
    check(moq, &[(r#"{"unit":"箱","title":"24个/箱","moq":"2箱(30件/箱)"}"#, "2 - conflict stated")]);
}

#[test]
fn a_number_in_a_pack_describes_the_sale_unit_if_that_is_a_pack_unit() {
    check(
        unit,
        &[
            (r#"{"unit":"盒","title":"圆珠笔24支装"}"#, "盒 24 title"),
            (r#"{"unit":"支","title":"圆珠笔24支装"}"#, "支 1 unit_table"),
            (r#"{"unit":"套","title":"圆珠笔24支装"}"#, "套 1 unit_table"),
        ],
    );
}

#[test]
fn a_piece_is_never_a_carton_unless_the_pipeline_says_so() {
    let record = r#"{"unit":"件","title":"箱规 40本/件","moq":2}"#;
    assert_eq!(unit(&run(record)), "件 1 unit_table");
    let units = pipeline::Units { pieces: BTreeMap::from([("件".to_owned(), None)]), packs: Vec::new() };
    let offer = run_with(record, &Rules::of_units(None, &units), SkuSource::Nested).unwrap();
    assert_eq!((unit(&offer).as_str(), moq(&offer).as_str()), ("件 40 title", "2 80 ok stated"));
}

#[test]
fn a_chain_is_multiplied_only_when_every_link_is_stated() {
    check(
        unit,
        &[
            (r#"{"unit":"箱","title":"24包/箱 10个/包"}"#, "箱 240 title"),
            (r#"{"unit":"箱","title":"10个/包","moq":"1箱(24包/箱)"}"#, "箱 240 moq_text"),
            (r#"{"unit":"箱","title":"1x24包"}"#, "箱 - none"),
            (r#"{"unit":"箱","title":"24包/箱"}"#, "箱 - none"),
        ],
    );
}

#[test]
fn dozens_grams_taels_and_pcs() {
    check(
        moq,
        &[
            (r#"{"moq":"两打"}"#, "2 24 ok stated"),
            (r#"{"moq":"2半打"}"#, "2 12 ok stated"),
            (r#"{"moq":"半打"}"#, "1 6 ok stated"),
            (r#"{"moq":"一千克"}"#, "1 - not_countable stated"),
            (r#"{"moq":"5两"}"#, "5 - not_countable stated"),
        ],
    );
    check(
        unit,
        &[
            (r#"{"moq":"2半打"}"#, "半打 6 unit_table"),
            (r#"{"moq":"10 pcs"}"#, "pcs 1 unit_table"),
            (r#"{"unit":"PCS"}"#, "PCS 1 unit_table"),
        ],
    );
}

#[test]
fn what_the_pipeline_says_of_a_pack_counts_for_its_shop_and_first_for_its_offer() {
    let pack = |offer_id, pieces| pipeline::Pack {
        shop_id: "b2b-configured".to_owned(),
        offer_id,
        unit: "箱".to_owned(),
        pieces,
    };
    let units = pipeline::Units { packs: vec![pack(Some(7), 30), pack(None, 24)], pieces: BTreeMap::new() };
    let configured = Rules::of_units(None, &units);
    let run = |record: &str| unit(&run_with(record, &configured, SkuSource::Nested).unwrap());
    assert_eq!(run(r#"{"unit":"箱"}"#), "箱 24 config");
    assert_eq!(run(r#"{"offer_id":7,"unit":"箱"}"#), "箱 30 config");
    assert_eq!(run(r#"{"unit":"箱","shop_id":"other"}"#), "箱 - none");
    assert_eq!(run(r#"{"unit":"箱","title":"24件/箱"}"#), "箱 24 title");
    assert_eq!(run(r#"{"unit":"箱","title":"36件/箱"}"#), "箱 - conflict");
}

#[test]
fn if_the_price_is_per_pack_the_piece_price_is_the_price_over_the_pack() {
    check(
        tiers,
        &[(
            r#"{"unit":"箱","title":"24件/箱","ladder":[{"min":1,"max":4,"price":"48"},{"min":5,"price":"36"}]}"#,
            "ok wholesale: 1-4(24-119)=48(2) 5-(120-)=36(1.5)",
        )],
    );
    let offer = run(r#"{"unit":"箱","title":"24件/箱","ladder":[[1,48],[5,36]]}"#);
    assert_eq!((offer.min_piece_price, offer.max_piece_price), (Some(1_500_000), Some(2_000_000)));
}

// MOQ

#[test]
fn an_absent_moq_is_the_first_tiers_start() {
    check(
        moq,
        &[
            (r#"{"unit":"件","ladder":[[3,35],[50,30]]}"#, "3 3 ok ladder"),
            (r#"{"unit":"打","moq":"","ladder":[[3,35]]}"#, "3 36 ok ladder"),
            (r#"{"unit":"箱","ladder":[[3,35]]}"#, "3 - unknown_pack ladder"),
            (r#"{"unit":"件","moq":0,"ladder":[[3,35]]}"#, "3 3 ok ladder"),
            (r#"{"unit":"件","ladder":9.5}"#, "- - missing none"),
            (r#"{"unit":"件","price":9.5}"#, "- - missing none"),
        ],
    );
}

#[test]
fn an_unreadable_moq_stays_null() {
    check(
        moq,
        &[
            (r#"{"unit":"件","moq":"面议","ladder":[[3,35]]}"#, "- - unparsable stated"),
            (r#"{"unit":"件","moq":{"x":1},"ladder":[[3,35]]}"#, "- - unparsable stated"),
            (r#"{"unit":"件","moq":true}"#, "- - unparsable stated"),
        ],
    );
    assert_eq!(run(r#"{"moq":{"x":1}}"#).moq_raw.as_deref(), Some(r#"{"x":1}"#));
}

#[test]
fn a_moq_in_another_unit_has_its_own_pieces_and_the_quantity_that_makes_exactly() {
    check(
        moq,
        &[
            (r#"{"unit":"箱","title":"24件/箱","moq":"48件"}"#, "2 48 ok stated"),
            (r#"{"unit":"箱","title":"24件/箱","moq":"50件"}"#, "- 50 ok stated"),
            (r#"{"unit":"箱","moq":"48件"}"#, "- 48 ok stated"),
            (r#"{"unit":"件","moq":"2箱(24件/箱)"}"#, "48 48 ok stated"),
            (r#"{"unit":"件","moq":"2箱","title":"24件/箱"}"#, "48 48 ok stated"),
            (r#"{"unit":"件","moq":"2箱"}"#, "- - unknown_pack stated"),
            (r#"{"unit":"个","moq":"10件"}"#, "10 10 ok stated"),
            (r#"{"unit":"件","moq":"5公斤"}"#, "- - not_countable stated"),
            (r#"{"unit":"件","moq":"5份"}"#, "- - unknown_unit stated"),
            (r#"{"unit":"份","moq":"5份"}"#, "5 - unknown_unit stated"),
        ],
    );
}

#[test]
fn of_several_numbers_the_one_with_a_unit_or_from_counts_and_a_multiple_alone_is_unparsable() {
    check(
        moq,
        &[
            (r#"{"unit":"件","moq":"10件起批，5的倍数"}"#, "10 10 ok stated"),
            (r#"{"unit":"件","moq":"10的倍数下单"}"#, "- - unparsable stated"),
        ],
    );
}

#[test]
fn fractions_are_unparsable() {
    check(
        moq,
        &[
            (r#"{"moq":"0.5吨"}"#, "- - unparsable stated"),
            (r#"{"unit":"件","moq":1.5}"#, "- - unparsable stated"),
            (r#"{"unit":"件","moq":10.0}"#, "10 10 ok stated"),
        ],
    );
}

// Ladders

#[test]
fn one_tier_is_single_whatever_the_shape_also_after_falling_back() {
    check(
        tiers,
        &[
            (r#"{"unit":"件","ladder":[{"startQuantity":2,"price":11}]}"#, "single wholesale: 2-(2-)=11(11)"),
            (r#"{"unit":"件","ladder":"9.5","moq":3}"#, "single wholesale: 3-(3-)=9.5(9.5)"),
            (r#"{"unit":"件","ladder":null,"channel_price":"8","price":"9","moq":3}"#, "single channel: 3-(3-)=8(8)"),
            (r#"{"unit":"件","channel_price":0,"price":"9"}"#, "single headline: 1-(1-)=9(9)"),
            (r#"{"unit":"件","dropship_price":"7"}"#, "missing none:"),
            (r#"{"unit":"件","ladder":[{"min":1,"price":0}],"price":"9"}"#, "single headline: 1-(1-)=9(9)"),
        ],
    );
}

#[test]
fn text_without_a_number_falls_back_and_stays_unparsable() {
    check(
        tiers,
        &[
            (r#"{"unit":"件","ladder":"面议","price":"9"}"#, "unparsable headline: 1-(1-)=9(9)"),
            (r#"{"unit":"件","ladder":"面议"}"#, "unparsable none:"),
            (r#"{"unit":"件","ladder":{"x":1,"y":2},"channel_price":"9"}"#, "unparsable channel: 1-(1-)=9(9)"),
        ],
    );
}

#[test]
fn faults_are_flagged_and_the_tiers_kept_as_received() {
    check(
        tiers,
        &[
            (
                r#"{"unit":"套","ladder":[{"price":"2.30","beginAmount":"3"},{"price":"20.52","beginAmount":"3"}]}"#,
                "duplicate_start wholesale: 3-(3-)=2.3(2.3) 3-(3-)=20.52(20.52)",
            ),
            (r#"{"ladder":[[100,5],[2,6]]}"#, "unordered wholesale: 100-=5 2-=6"),
            (r#"{"ladder":"10-5:9"}"#, "unordered wholesale: 10-=9"),
            (r#"{"ladder":"2-100:5;100-:4"}"#, "overlap wholesale: 2-100=5 100-=4"),
            (r#"{"ladder":"2-50:5;100-200:6"}"#, "gap wholesale: 2-50=5 100-200=6"),
            (r#"{"ladder":"2-:5;100-:6"}"#, "rising wholesale: 2-99=5 100-=6"),
        ],
    );
}

#[test]
fn a_stated_end_of_the_last_tier_is_kept_and_a_missing_end_is_the_next_start_less_one() {
    check(
        tiers,
        &[(
            r#"{"unit":"打","ladder":"2:5;10-20:4"}"#,
            "ok wholesale: 2-9(24-119)=5(0.416667) 10-20(120-240)=4(0.333333)",
        )],
    );
}

#[test]
fn a_spread_gives_each_priced_sku_a_tier_from_the_moq() {
    let offer = run(
        r#"{"unit":"件","ladder":"2.88-25.65","moq":3,"skus":[{"sku_id":1,"price":"2.88"},{"sku_id":2,"price":0},{"sku_id":3,"price":25.65}]}"#,
    );
    assert_eq!(tiers(&offer), "sku_spread sku: [1]3-(3-)=2.88(2.88) [3]3-(3-)=25.65(25.65)");
    assert_eq!((offer.price.map(Money::units), offer.price_max.map(Money::units)), (Some(28_800), Some(256_500)));
    assert!(offer.price_complete);
    let none = run(r#"{"unit":"件","ladder":"2.88-25.65","price":"2.88"}"#);
    assert_eq!(tiers(&none), "sku_spread none:");
    assert_eq!(none.price_max.map(Money::units), Some(256_500));
    assert!(none.price_complete);
    let headline = run(r#"{"unit":"件","price":"2.88-25.65","skus":[{"sku_id":1,"price":"2.88"}]}"#);
    assert_eq!(tiers(&headline), "sku_spread sku: [1]1-(1-)=2.88(2.88)");
}

/// Capture 13 has `price`, `price_min` and `price_max` and no ladder: one offer with several prices has no one tier.
#[test]
fn a_headline_price_and_a_greatest_price_beside_it_are_a_spread() {
    let offer = run(r#"{"price":"41.0","price_max":"138.0","moq":"2"}"#);
    assert_eq!(tiers(&offer), "sku_spread none:");
    assert_eq!((offer.price.map(Money::units), offer.price_max.map(Money::units)), (Some(410_000), Some(1_380_000)));
    assert!(offer.price_complete);
    let of_skus = run(r#"{"unit":"件","price":"41.0","price_max":"138.0","skus":[{"sku_id":1,"price":"41"}]}"#);
    assert_eq!(tiers(&of_skus), "sku_spread sku: [1]1-(1-)=41(41)");
    let same = run(r#"{"unit":"件","price":"41.0","price_max":"41.00"}"#);
    assert_eq!(tiers(&same), "single headline: 1-(1-)=41(41)");
    let ladder = run(r#"{"unit":"件","price":"25.90","price_max":"29.89","ladder":[[1,"29.89"],[100,"25.90"]]}"#);
    assert_eq!(tiers(&ladder), "ok wholesale: 1-99(1-99)=29.89(29.89) 100-(100-)=25.9(25.9)");
}

#[test]
fn a_ladder_with_a_headline_spread_is_still_a_ladder() {
    let offer = run(r#"{"unit":"件","price":"25.90-29.89","ladder":[[1,"29.89"],[100,"25.90"]]}"#);
    assert_eq!(tiers(&offer), "ok wholesale: 1-99(1-99)=29.89(29.89) 100-(100-)=25.9(25.9)");
    assert_eq!(offer.price_max.map(Money::units), Some(298_900));
}

#[test]
fn no_headline_price_is_null_and_prices_are_kept_apart() {
    let offer =
        run(r#"{"ladder":[[1,5]],"promotion_price":"4","channel_price":"¥3","dropship_price":2,"retail_price":"9元"}"#);
    assert_eq!(offer.price, None);
    let prices = [offer.promotion_price, offer.channel_price, offer.dropship_price, offer.retail_price];
    assert_eq!(prices.map(|price| price.unwrap().units()), [40_000, 30_000, 20_000, 90_000]);
    assert_eq!(offer.currency, "CNY");
}

#[test]
fn per_sku_ranges_are_ladders_of_their_skus() {
    let offer = run(r#"{"unit":"件","quote_type":3,"ladder":[[2,11]],"skus":[
        {"sku_id":1,"price":"12.50","ladder":[{"startQuantity":2,"price":"11"},{"startQuantity":10,"price":"10"}]},
        {"sku_id":2,"price":"13","ladder":[{"startQuantity":2,"price":"12"}]},
        {"sku_id":3,"price":"14"}]}"#);
    assert_eq!(tiers(&offer), "ok sku: [1]2-9(2-9)=11(11) [1]10-(10-)=10(10) [2]2-(2-)=12(12) [3]2-(2-)=14(14)");
    assert_eq!(offer.tiers.iter().map(|tier| tier.tier_no).collect::<Vec<_>>(), [1, 2, 1, 1]);
    check(
        tiers,
        &[
            (r#"{"quote_type":2,"ladder":[[2,11]],"skus":[{"sku_id":1,"ladder":[[5,1]]}]}"#, "single wholesale: 2-=11"),
            (r#"{"quote_type":3,"ladder":[[2,11]],"skus":[{"sku_id":1,"price":3}]}"#, "single wholesale: 2-=11"),
            (
                r#"{"quote_type":3,"skus":[{"sku_id":1,"ladder":[[2,5],[2,4]]},{"sku_id":2,"ladder":[[2,5]]}]}"#,
                "duplicate_start sku: [1]2-=5 [1]2-=4 [2]2-=5",
            ),
        ],
    );
}

#[test]
fn a_ladder_in_another_unit_is_converted_where_exact_and_else_unparsable() {
    check(
        tiers,
        &[
            (
                r#"{"unit":"箱","title":"24件/箱","ladder":"24件:48;120件:40"}"#,
                "ok wholesale: 1-4(24-119)=48(2) 5-(120-)=40(1.666667)",
            ),
            (
                r#"{"unit":"箱","title":"24件/箱","ladder":"10件:48","price":"50"}"#,
                "unparsable headline: 1-(24-)=50(2.083333)",
            ),
            (r#"{"unit":"件","ladder":"2双-9双:5"}"#, "single wholesale: 2-9(2-9)=5(5)"),
        ],
    );
}

#[test]
fn a_value_that_does_not_fit_goes_to_quarantine() {
    for (record, field) in [
        (r#"{"price":"100000000000000"}"#, "price"),
        (r#"{"ladder":[[1,1e15]]}"#, "ladder"),
        (r#"{"skus":[{"sku_id":1,"price":"99999999999999999999"}]}"#, "price"),
    ] {
        let reject = run_with(record, &rules(None), SkuSource::Nested).unwrap_err();
        assert_eq!((reject.reason, reject.field), (RejectReason::TooLarge, field), "{record}");
    }
    assert_eq!(run(r#"{"price":1.00005}"#).price.map(Money::units), Some(10_000));
}

// Counts

#[test]
fn sales_are_this_shops_and_plus_is_a_lower_bound() {
    for (sales, count, lower) in [
        (r#""已售1.2万+件""#, Some(12_000), true),
        (r#""全网10万+件""#, None, false),
        ("70", Some(70), false),
        (r#""有货""#, None, false),
        ("[]", None, false),
    ] {
        let offer = run(&format!(r#"{{"sales":{sales}}}"#));
        assert_eq!((offer.sales_count, offer.sales_is_lower_bound), (count, lower), "{sales}");
    }
}

#[test]
fn stock_has_sentinels_and_words() {
    check(
        stock,
        &[
            (r#"{"unit":"件","stock":2147483647}"#, "- unlimited"),
            (r#"{"unit":"件","stock":"1000000000件"}"#, "- unlimited"),
            (r#"{"unit":"件","stock":"有货"}"#, "- unparsable"),
            (r#"{"unit":"件","stock":1.23}"#, "- unparsable"),
            (r#"{"unit":"件"}"#, "- missing"),
            (r#"{"unit":"件","stock":"2箱"}"#, "- unknown_pack"),
            (r#"{"unit":"件","stock":"2箱(24件/箱)"}"#, "48 ok"),
            (r#"{"unit":"箱","stock":0}"#, "0 ok"),
            (r#"{"unit":"公斤","stock":5}"#, "- not_countable"),
            (r#"{"stock":5}"#, "- unknown_unit"),
            (r#"{"unit":"件","stock":"999999999999999999"}"#, "999999999999999999 ok"),
            (r#"{"unit":"打","stock":"999999999999999999"}"#, "- unparsable"),
        ],
    );
}

// Rows

#[test]
fn an_id_that_is_no_integer_goes_to_quarantine() {
    for (record, reason) in [
        (r#"{"offer_id":"PRODUCT-REAL"}"#, RejectReason::IdInvalid),
        (r#"{"offer_id":null}"#, RejectReason::IdMissing),
        (r#"{"offer_id":{"a":1}}"#, RejectReason::IdInvalid),
    ] {
        let reject = run_with(record, &rules(None), SkuSource::Nested).unwrap_err();
        assert_eq!((reject.reason, reject.field), (reason, "offer_id"), "{record}");
    }
}

#[test]
fn a_missing_title_is_null_and_titles_are_trimmed() {
    assert_eq!(run("{}").title, None);
    assert_eq!(run(r#"{"title":"  货 盘　"}"#).title.as_deref(), Some("货 盘"));
    let long = run(&format!(r#"{{"title":"{}"}}"#, "货".repeat(201)));
    assert_eq!((long.title.unwrap().chars().count(), long.title_truncated), (200, true));
}

#[test]
fn no_shop_in_the_answer_is_the_configured_shop() {
    assert_eq!(run("{}").shop_id.as_deref(), Some("b2b-configured"));
    assert_eq!(run(r#"{"shop_id":2200733087881719}"#).shop_id.as_deref(), Some("2200733087881719"));
}

#[test]
fn the_brand_stands_in_its_field_or_among_the_attributes() {
    assert_eq!(run(r#"{"attributes":[{"材质":"棉"},{"品牌":"甲"}]}"#).brand.as_deref(), Some("甲"));
    assert_eq!(run(r#"{"brand":"乙","attributes":{"品牌":"甲"}}"#).brand.as_deref(), Some("乙"));
}

#[test]
fn pictures_states_and_times() {
    let offer = run(
        r#"{"image_urls":[{"url":"a"},{"url":"b"}],"status":"member expired","quote_type":"3","created_at":"2024-05-24 00:00:00"}"#,
    );
    assert_eq!((offer.image_url.as_deref(), offer.image_urls.len()), (Some("a"), 2));
    assert_eq!((offer.status.name(), offer.quote_type), ("off_sale", Some(3)));
    assert_eq!(offer.created_at, Some(1_716_480_000_000_000));
    assert_eq!(run(r#"{"quote_type":123}"#).quote_type, None);
}

// Completeness

#[test]
fn sku_complete_means_that_every_named_sku_has_a_row() {
    let complete = |record: &str| run(record).sku_complete;
    assert!(complete(r#"{"sku_ids":"1,2","skus":[{"sku_id":1},{"sku_id":"2"}]}"#));
    assert!(!complete(r#"{"sku_ids":"1,2","skus":[{"sku_id":1}]}"#));
    assert!(complete(r#"{"skus":[{"sku_id":1}]}"#));
    assert!(!complete("{}"));
    assert!(complete(r#"{"quote_type":0}"#));
    assert!(!complete(r#"{"sku_ids":"1,SKU-REAL","skus":[{"sku_id":1}]}"#));
    assert!(!complete(r#"{"skus":[{"sku_id":1},{"sku_id":"SKU-REAL"}]}"#));
    assert!(run_with("{}", &rules(None), SkuSource::NotAsked).unwrap().sku_complete);
    let offer = run(r#"{"sku_ids":["5",6],"skus":[{"sku_id":6},{"sku_id":6},{"sku_id":"x"}]}"#);
    assert_eq!((offer.named_skus, offer.skus.len(), offer.rejected_skus.len()), (vec![5, 6], 1, 1));
}

#[test]
fn sku_ids_that_cannot_be_read_are_set_aside_where_skus_are_asked_for() {
    let record = r#"{"sku_ids":"5,SKU-REAL","skus":[{"sku_id":5}]}"#;
    for source in [SkuSource::Calls, SkuSource::Nested] {
        let offer = run_with(record, &rules(None), source).unwrap();
        let [reject] = &offer.rejected_skus[..] else { panic!("{:?}", offer.rejected_skus) };
        assert_eq!(
            (reject.reason, reject.field, reject.value.as_str()),
            (RejectReason::IdInvalid, "sku_ids", "\"5,SKU-REAL\"")
        );
        assert!(!offer.sku_complete);
    }
    assert_eq!(run_with(record, &rules(None), SkuSource::NotAsked).unwrap().rejected_skus, []);
}

#[test]
fn price_complete_means_a_wholesale_spread_or_channel_price_that_is_not_zero() {
    let complete = |record: &str| run(record).price_complete;
    assert!(complete(r#"{"ladder":[[1,5]]}"#));
    assert!(complete(r#"{"channel_price":"5"}"#));
    assert!(complete(r#"{"ladder":"2-5"}"#));
    assert!(!complete(r#"{"price":"5"}"#));
    assert!(!complete(r#"{"ladder":[[1,0]],"channel_price":0,"price":"5"}"#));
    assert!(!complete(r#"{"ladder":"面议"}"#));
}

/// The SKUs of an offer as the picture holds them.
fn as_kept(offer: &Offer<'static>) -> Vec<KeptSku> {
    let step = |tier: &Tier| Step {
        start: Some(tier.min_quantity),
        end: tier.max_quantity,
        unit: StatedUnit::None,
        price: tier.unit_price,
    };
    let own = |sku_id| offer.tiers.iter().filter(move |tier| tier.sku_id == Some(sku_id)).map(step).collect();
    offer.skus.iter().map(|sku| KeptSku { sku: sku.clone(), fetched_at: 0, steps: own(sku.sku_id) }).collect()
}

#[test]
fn an_offer_whose_skus_go_on_is_what_it_was() {
    let skus = r#"[{"sku_id":1,"price":"2.88","spec":"红"},{"sku_id":2,"channel_price":"3"},{"sku_id":3,"price":4}]"#;
    let ladders = r#"[{"sku_id":1,"ladder":[[3,35],[50,30]]},{"sku_id":2,"ladder":[[2,9]]},{"sku_id":3,"price":7}]"#;
    let ranges = r#"[{"sku_id":1,"ladder":[[3,35]]},{"sku_id":2,"ladder":[[3,9]]},{"sku_id":3,"ladder":[[3,7]]}]"#;
    for (offer, skus) in [
        (r#""ladder":"2.88-25.65","moq":3"#, skus),
        (r#""ladder":[[1,5]],"quote_type":2"#, skus),
        (r#""moq":2"#, skus),
        (r#""quote_type":3"#, ladders),
        (r#""price":6"#, ladders),
        (r#""quote_type":3,"price":6"#, ranges),
    ] {
        let record = |skus: &str| format!(r#"{{{offer},"sku_ids":"1,2,3","skus":{skus}}}"#);
        let all = run_with(&record(skus), &rules(None), SkuSource::Calls).unwrap();
        assert!(all.sku_complete && all.skus.len() == 3, "{offer}");
        let kept = as_kept(&all);
        let again = run_keeping(&record("[]"), &rules(None), SkuSource::Calls, &kept).unwrap();
        let told =
            |offer: &Offer<'_>| (tiers(offer), offer.skus.clone().len(), offer.sku_complete, offer.price_complete);
        assert_eq!(told(&again), told(&all), "{offer}");
        let mut hasher = Hasher::default();
        assert_eq!(hasher.hash(&again), hasher.hash(&all), "{offer}");
        // What it no longer names does not go on, and what is answered today counts.
        let fewer = format!(r#"{{{offer},"sku_ids":"1","skus":[{{"sku_id":1,"price":"8"}}]}}"#);
        let fewer = run_keeping(&fewer, &rules(None), SkuSource::Calls, &kept).unwrap();
        assert_eq!(
            fewer.skus.iter().map(|sku| (sku.sku_id, sku.price)).collect::<Vec<_>>(),
            [(1, Some(Money::parse("8").unwrap()))]
        );
        assert!(fewer.tiers.iter().all(|tier| tier.sku_id.is_none_or(|id| id == 1)), "{offer}");
    }
}
