use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::lex::lex;
use super::*;

fn table() -> UnitTable {
    UnitTable::new(&BTreeMap::new())
}

fn statements(text: &str, source: PackSource, units: &UnitTable) -> Vec<Statement> {
    let (mut lexemes, mut found) = (Vec::new(), Vec::new());
    lex(text, units, &mut lexemes);
    scan(&mut lexemes, source, units, &mut found);
    found
}

/// The pieces of one `unit` when that is the sale unit and the title says `text`.
fn pieces(text: &str, unit: &str) -> Pieces {
    let units = table();
    let found = statements(text, PackSource::Title, &units);
    let sale_unit = units.find(unit);
    Known { units: &units, statements: &found, configured: &[], sale_unit }.pieces(sale_unit)
}

fn check(text: &str, unit: &str, expected: Option<i64>) {
    let known = match pieces(text, unit) {
        Pieces::Known { count, source: PackSource::Title } => Some(count),
        Pieces::UnknownPack => None,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(known, expected, "{text} for {unit}");
}

#[test]
fn every_form_of_a_pack_size_is_read() {
    for (text, unit, count) in [
        ("24件/箱", "箱", 24),
        ("1箱=24件", "箱", 24),
        ("1箱（24件）", "箱", 24),
        ("1箱(24件)", "箱", 24),
        ("每箱24个", "箱", 24),
        ("一包10个", "包", 10),
        ("10个/包", "包", 10),
        ("5片装", "包", 5),
        ("箱规 40本/件", "箱", 40),
        ("箱规：24个", "箱", 24),
        ("装箱数 48只", "箱", 48),
        ("２４件／箱", "箱", 24),
        ("每箱装24个", "箱", 24),
        ("24支装/盒", "盒", 24),
        ("1包10片装", "包", 10),
        ("每盒24支装", "盒", 24),
        ("24件一箱", "箱", 24),
        ("2箱=48件", "箱", 24),
        ("纸杯 1,000个/箱 批发", "箱", 1000),
        ("一箱十二瓶", "箱", 12),
        ("10pcs/包", "包", 10),
        ("2打/盒", "盒", 24),
        ("矿泉水500ml*24瓶/箱", "箱", 24),
        ("1*24瓶/箱", "箱", 24),
    ] {
        check(text, unit, Some(count));
    }
}

#[test]
fn two_levels_each_have_their_own_size() {
    check("50个/捆 300个/箱", "捆", Some(50));
    check("50个/捆 300个/箱", "箱", Some(300));
}

#[test]
fn a_chain_is_multiplied_only_when_every_link_is_stated() {
    check("24包/箱 10个/包", "箱", Some(240));
    check("1箱=24包，每包10个", "箱", Some(240));
    check("1箱=24包=240个", "箱", Some(240));
    check("24包/箱", "箱", None);
    check("1x24包", "箱", None);
    check("1x24包", "包", None);
}

#[test]
fn what_is_no_pack_size_is_not_read_as_one() {
    for text in [
        "10件起批",
        "3件套",
        "3件套/盒",
        "36-37",
        "37L",
        "10的倍数下单",
        "500克/袋",
        "A4包",
        "20-24个/箱",
        "约24个/箱",
        "6*4罐/箱",
        "2箱(24件)",
        "100包装",
        "10元/个",
        "1箱(24件/包",
        "箱规 60*40*30",
        "24/箱",
        "1包10片装",
    ] {
        for unit in ["箱", "盒", "袋", "捆"] {
            check(text, unit, None);
        }
    }
}

#[test]
fn two_different_statements_for_the_same_unit_are_a_conflict() {
    assert_eq!(pieces("24件/箱 30件/箱", "箱"), Pieces::Conflict);
    assert_eq!(pieces("24支装 1盒=12支", "盒"), Pieces::Conflict);
    assert_eq!(pieces("2包/箱 10个/包 12个/包", "箱"), Pieces::Conflict);
    assert_eq!(pieces("10双/打", "打"), Pieces::Conflict);
    check("24件/箱 每箱24件", "箱", Some(24));
}

#[test]
fn when_several_agree_the_first_source_in_order_counts() {
    let units = table();
    let mut found = statements("24件/箱", PackSource::Title, &units);
    found.extend(statements("每箱24件", PackSource::MoqText, &units));
    let carton = units.find("箱");
    let known = Known { units: &units, statements: &found, configured: &[], sale_unit: carton };
    assert_eq!(known.pieces(carton), Pieces::Known { count: 24, source: PackSource::MoqText });
    let dozen = units.find("打");
    let found = statements("12双/打", PackSource::Title, &units);
    let known = Known { units: &units, statements: &found, configured: &[], sale_unit: dozen };
    assert_eq!(known.pieces(dozen), Pieces::Known { count: 12, source: PackSource::UnitTable });
}

#[test]
fn a_piece_is_never_a_carton_unless_the_pipeline_says_so() {
    let piece = |count, source| Pieces::Known { count, source };
    assert_eq!(pieces("箱规 40本/件", "件"), piece(1, PackSource::UnitTable));
    let units = UnitTable::new(&BTreeMap::from([("件".to_owned(), None)]));
    let found = statements("箱规 40本/件", PackSource::Attribute, &units);
    let unit = units.find("件");
    let known = Known { units: &units, statements: &found, configured: &[], sale_unit: unit };
    assert_eq!(known.pieces(unit), piece(40, PackSource::Attribute));
    let known = Known { units: &units, statements: &[], configured: &[], sale_unit: unit };
    assert_eq!(known.pieces(unit), Pieces::UnknownPack);
}

#[test]
fn n_in_a_pack_describes_the_sale_unit_if_that_is_a_pack_unit() {
    check("24支装", "盒", Some(24));
    assert_eq!(pieces("24支装", "件"), Pieces::Known { count: 1, source: PackSource::UnitTable });
    assert_eq!(pieces("24支装", "打"), Pieces::Known { count: 12, source: PackSource::UnitTable });
    let units = table();
    let found = statements("24支装", PackSource::Title, &units);
    let known = Known { units: &units, statements: &found, configured: &[], sale_unit: units.find("盒") };
    assert_eq!(known.pieces(units.find("箱")), Pieces::UnknownPack);
}

#[test]
fn what_the_pipeline_says_replaces_the_table_and_is_a_statement_among_others() {
    let units = table();
    let pair = units.find("双");
    let configured = [(pair.unwrap(), 2)];
    let known = Known { units: &units, statements: &[], configured: &configured, sale_unit: pair };
    assert_eq!(known.pieces(pair), Pieces::Known { count: 2, source: PackSource::Config });
    let carton = units.find("箱");
    let configured = [(carton.unwrap(), 24)];
    let found = statements("30件/箱", PackSource::Title, &units);
    let known = Known { units: &units, statements: &found, configured: &configured, sale_unit: carton };
    assert_eq!(known.pieces(carton), Pieces::Conflict);
}

#[test]
fn a_weight_is_not_countable_and_a_word_no_unit() {
    assert_eq!(pieces("24件/箱", "公斤"), Pieces::NotCountable);
    assert_eq!(pieces("24件/箱", "份"), Pieces::UnknownUnit);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_sizes_are_positive(text in "[0-9一两半打箱件包个套支/=()（）每装箱规约~x* ]{0,40}") {
        let units = table();
        let found = statements(&text, PackSource::Title, &units);
        for name in ["箱", "包", "打", "件"] {
            let unit = units.find(name);
            let known = Known { units: &units, statements: &found, configured: &[], sale_unit: unit };
            if let Pieces::Known { count, .. } = known.pieces(unit) {
                prop_assert!((1..=COUNT_MAX).contains(&count));
            }
        }
    }

    #[test]
    fn a_written_pack_size_reads_back(count in 1_i64..1_000_000, form in 0..7_usize) {
        let text = match form {
            0 => format!("{count}件/箱"),
            1 => format!("1箱={count}件"),
            2 => format!("1箱({count}件)"),
            3 => format!("每箱{count}个"),
            4 => format!("一箱{count}个"),
            5 => format!("{count}片装"),
            _ => format!("箱规 {count}本/件"),
        };
        prop_assert_eq!(pieces(&text, "箱"), Pieces::Known { count, source: PackSource::Title });
    }
}
