use super::*;

fn steps() -> Vec<Step> {
    vec![
        Step { start: 2, end: Some(99), fen: Some(1250) },
        Step { start: 100, end: Some(999), fen: Some(1180) },
        Step { start: 1000, end: None, fen: Some(1020) },
    ]
}

fn written(form: LadderForm) -> String {
    Ladder::new(form, steps()).value("件", &mut Dice::new(1, &[])).map_or("(absent)".into(), |value| value.to_string())
}

#[test]
fn every_form_is_written_as_it_was_captured() {
    let cases = [
        (LadderForm::Ranges, r#""2-99:12.50;100-999:11.80;>=1000:10.20""#),
        (LadderForm::Backticks, r#""2:12.50`100:11.80`1000:10.20""#),
        (LadderForm::Pairs, "[[2,12.5],[100,11.8],[1000,10.2]]"),
        (LadderForm::Number, "12.5"),
        (LadderForm::Words, r#""2-99件:12.50；100-999件:11.80；1000件以上:10.20""#),
        (LadderForm::FullWidth, r#""２～９９：１２.５０；１００～９９９：１１.８０；>=１０００：１０.２０""#),
        (LadderForm::OneObject, r#"{"price":12.5,"startQuantity":2}"#),
        (LadderForm::Spread, r#""10.20-12.50""#),
        (LadderForm::Absent, "(absent)"),
        (LadderForm::NullText, r#""null""#),
    ];
    for (form, expected) in cases {
        assert_eq!(written(form), expected, "{form:?}");
    }
}

#[test]
fn a_fault_is_the_first_one_its_rule_names() {
    let cases = [
        (LadderForm::Rising, "rising"),
        (LadderForm::Gap, "gap"),
        (LadderForm::Unpriced, "gap"),
        (LadderForm::Overlap, "overlap"),
        (LadderForm::Duplicate, "duplicate_start"),
        (LadderForm::Unordered, "unordered"),
        (LadderForm::Objects, "ok"),
        (LadderForm::Number, "single"),
        (LadderForm::Spread, "sku_spread"),
        (LadderForm::Negotiable, "unparsable"),
    ];
    let fallback = Fallback { from_quantity: 2, channel: Some(900), headline: 1300 };
    for (form, expected) in cases {
        let single = vec![steps().remove(0)];
        for sound in [steps(), single] {
            let truth = Ladder::new(form, sound.clone()).truth(Family::Text, fallback);
            if sound.len() > 1 || form != LadderForm::Objects {
                assert_eq!(truth.status, Some(expected), "{form:?}");
            }
        }
    }
}

#[test]
fn an_empty_ladder_falls_back_to_channel_then_to_headline() {
    let ladder = Ladder::new(LadderForm::Empty, steps());
    let with = |channel| ladder.truth(Family::Text, Fallback { from_quantity: 5, channel, headline: 1300 });
    assert_eq!(with(Some(900)).source, Some("channel"));
    assert_eq!(with(None).source, Some("headline"));
    let tier = TierTruth { min_quantity: 5, max_quantity: None, unit_price: "13.00".into() };
    assert_eq!(with(None).tiers, Some(vec![tier]));
}

#[test]
fn a_missing_end_is_the_next_start_less_one_unless_that_is_no_greater() {
    let fallback = Fallback { from_quantity: 1, channel: None, headline: 1 };
    let ends = |form| -> Vec<Option<i64>> {
        let tiers = Ladder::new(form, steps()).truth(Family::Text, fallback).tiers.expect("tiers");
        tiers.into_iter().map(|tier| tier.max_quantity).collect()
    };
    assert_eq!(ends(LadderForm::Objects), [Some(99), Some(999), None]);
    assert_eq!(ends(LadderForm::Duplicate), [None, Some(999), None]);
    assert_eq!(ends(LadderForm::Overlap), [Some(120), Some(999), None]);
}
