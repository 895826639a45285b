use std::collections::BTreeMap;
use std::fmt::Write;

use proptest::prelude::*;

use super::*;

fn steps(text: &str) -> (Result<Shape, DecimalError>, Vec<Step>) {
    let units = UnitTable::new(&BTreeMap::new());
    let (mut lexemes, mut steps) = (Vec::new(), Vec::new());
    let raw = json::parse(text.as_bytes()).unwrap();
    let shape = Reader { units: &units, lexemes: &mut lexemes, steps: &mut steps }.read(raw);
    (shape, steps)
}

fn show(text: &str) -> String {
    let (shape, steps) = steps(text);
    let mut out = match shape {
        Ok(Shape::Steps { left_out }) => judge(&steps, left_out).name().to_owned(),
        Ok(Shape::Spread { low, high }) => format!("spread {low}-{high}"),
        Ok(other) => format!("{other:?}").to_lowercase(),
        Err(error) => format!("{error:?}"),
    };
    for step in steps {
        let bound = |bound: Option<i64>| bound.map_or(String::new(), |bound| bound.to_string());
        let price = step.price.to_string();
        let price = price.trim_end_matches('0').trim_end_matches('.');
        write!(out, " {}-{}:{price}", bound(step.start), bound(step.end)).unwrap();
    }
    out
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(show(text), *expected, "{text}");
    }
}

#[test]
fn lists_of_objects_under_every_name() {
    check(&[
        (r#"[{"startQuantity":2,"price":11.0},{"startQuantity":10,"price":"10.50"}]"#, "ok 2-:11 10-:10.5"),
        (r#"[{"startQuantity":"2","price":"13.9","promotionPrice":"9"}]"#, "single 2-:13.9"),
        (
            r#"[{"begin_num":"2","end_num":"59双","price":"150.00"},{"begin_num":"60","end_num":"1999双","price":"140.00"},{"begin_num":"2000双","end_num":"","price":"130.00"}]"#,
            "ok 2-59:150 60-1999:140 2000-:130",
        ),
        (r#"[{"beginAmount":"1","price":"29.89"},{"beginAmount":"100","price":"27.60"}]"#, "ok 1-:29.89 100-:27.6"),
        (r#"[{"min":2,"max":99,"price":"12.33"},{"min":100,"max":null,"price":"11.47"}]"#, "ok 2-99:12.33 100-:11.47"),
        (r#"[{"quantity_begin":"3","price":"5"}]"#, "single 3-:5"),
        (r#"[{"minQuantity":3,"maxQuantity":5,"price":"5"}]"#, "single 3-5:5"),
        (r#"[{"quantity":"2-99件","price":"5"},{"quantity":"≥100件","price":4}]"#, "ok 2-99:5 100-:4"),
    ]);
}

#[test]
fn lists_of_pairs_and_of_texts() {
    check(&[
        ("[[3,35],[50,30],[1000,25]]", "ok 3-:35 50-:30 1000-:25"),
        (r#"[["3","35.0"]]"#, "single 3-:35"),
        (r#"["2-99:12.50","100:11"]"#, "ok 2-99:12.5 100-:11"),
    ]);
}

#[test]
fn texts() {
    check(&[
        (r#""2-99:12.50;100-999:11.80;>=1000:10.20""#, "ok 2-99:12.5 100-999:11.8 1000-:10.2"),
        (r#""100:21.33`1000:14.15""#, "ok 100-:21.33 1000-:14.15"),
        (r#""1-49 件 ￥12.5""#, "single 1-49:12.5"),
        (r#""1-49 件 ￥12.5；≥50件 ￥11""#, "ok 1-49:12.5 50-:11"),
        (r#""30-99件:17.5;100件以上:16""#, "ok 30-99:17.5 100-:16"),
        (r#""2～99件：12.50\n100~999件：11.80""#, "ok 2-99:12.5 100-999:11.8"),
        (r#""2至99双:12.5,100双起批:11""#, "ok 2-99:12.5 100-:11"),
        (r#""2件-99件 12.5元;100件+ 11元""#, "ok 2-99:12.5 100-:11"),
        (r#""2-99件 12.5,100件以上 11""#, "ok 2-99:12.5 100-:11"),
        (r#""２－９９：１２．５；１００：１１""#, "ok 2-99:12.5 100-:11"),
        (r#"">99:5""#, "single 100-:5"),
    ]);
}

#[test]
fn steps_are_separated_by_line_semicolon_backtick_or_a_comma_before_a_digit() {
    check(&[
        (r#""2-99:12.50,100-999:11.80""#, "ok 2-99:12.5 100-999:11.8"),
        (r#""2:12,100:10""#, "ok 2-:12 100-:10"),
        (r#""1,000:10.50,5,000:9""#, "ok 1000-:10.5 5000-:9"),
        (r#""1,000-4,999:10.50;5,000:9""#, "ok 1000-4999:10.5 5000-:9"),
        (r#""100:1,200.50;200:1,100""#, "ok 100-:1200.5 200-:1100"),
        (r#""2:12;100:10;""#, "ok 2-:12 100-:10"),
        (r#""2:12；\n100:10,""#, "ok 2-:12 100-:10"),
    ]);
}

#[test]
fn one_price_alone() {
    check(&[
        ("9.5", "single -:9.5"),
        (r#""28.0""#, "single -:28"),
        (r#""¥10.00""#, "single -:10"),
        (r#""10.00元""#, "single -:10"),
        ("[12.5]", "single -:12.5"),
        (r#"[{"price":"12.5"}]"#, "single -:12.5"),
    ]);
}

#[test]
fn a_spread_of_sku_prices_is_no_ladder() {
    check(&[
        (r#""2.88-25.65""#, "spread 2.8800-25.6500"),
        (r#""¥2.88～¥25.65""#, "spread 2.8800-25.6500"),
        (r#""2～25元""#, "spread 2.0000-25.0000"),
        (r#"["2.88-25.65"]"#, "spread 2.8800-25.6500"),
    ]);
}

#[test]
fn xml_and_php_quirks() {
    check(&[
        (r#"{"startQuantity":"2","price":"11.0"}"#, "single 2-:11"),
        (r#"{"priceRange":[{"startQuantity":"2","price":"11"},{"startQuantity":"5","price":"10"}]}"#, "ok 2-:11 5-:10"),
        (r#"{"priceRange":{"startQuantity":"2","price":"11"}}"#, "single 2-:11"),
        (r#"{"begin_num":1,"prices":[{"beginAmount":"1","price":"29.89"}]}"#, "single 1-:29.89"),
        (r#""[{\"startQuantity\":2,\"price\":11}]""#, "single 2-:11"),
        (r#"{"a":{"b":{"c":{"d":{"price":1}}}}}"#, "unparsable"),
    ]);
}

#[test]
fn nothing_and_zero_are_missing_and_words_are_unparsable() {
    check(&[
        ("null", "missing"),
        (r#""""#, "missing"),
        (r#""null""#, "missing"),
        ("[]", "missing"),
        ("{}", "missing"),
        ("0", "missing"),
        (r#""¥0.00""#, "missing"),
        (r#"[{"startQuantity":1,"price":0}]"#, "missing"),
        (r#""面议""#, "unparsable"),
        (r#""1-49:面议""#, "unparsable"),
        (r#"[{"startQuantity":1,"price":"面议"}]"#, "unparsable"),
        ("true", "unparsable"),
        (r#"{"x":1,"y":2}"#, "unparsable"),
        ("[3,35]", "unparsable"),
        (r#""100件""#, "unparsable"),
        (r#""≤99:5""#, "unparsable"),
        (r#"[{"startQuantity":0.5,"price":3}]"#, "unparsable"),
        (r#"[{"startQuantity":[1],"price":{}},{"price":[1]}]"#, "unparsable"),
    ]);
}

#[test]
fn faults_are_flagged_in_their_order_and_never_sorted_into_shape() {
    check(&[
        (
            r#"[{"price":"2.30","beginAmount":"3"},{"price":"20.52","beginAmount":"3"}]"#,
            "duplicate_start 3-:2.3 3-:20.52",
        ),
        ("[[10,5],[2,6],[10,4]]", "duplicate_start 10-:5 2-:6 10-:4"),
        ("[[100,5],[2,6]]", "unordered 100-:5 2-:6"),
        (r#""10-5:9""#, "unordered 10-5:9"),
        (r#""2-100:5;100-200:4""#, "overlap 2-100:5 100-200:4"),
        (r#""2-50:5;100-200:6""#, "gap 2-50:5 100-200:6"),
        (r#""2-99:5;100-200:6""#, "rising 2-99:5 100-200:6"),
        (r#""2-99:5;100-:5""#, "ok 2-99:5 100-:5"),
    ]);
}

#[test]
fn a_step_without_a_price_is_left_out_and_the_ladder_has_a_gap() {
    check(&[
        (r#"[{"min":2,"price":"5"},{"min":10,"price":null},{"min":100,"price":"4"}]"#, "gap 2-:5 100-:4"),
        (r#""1-49:5;50-99:面议;100:4""#, "gap 1-49:5 100-:4"),
        (r#"[{"min":2,"price":"5"},{"price":"4"}]"#, "gap 2-:5"),
        (r#"[[2,5],[10,0]]"#, "gap 2-:5"),
    ]);
}

#[test]
fn a_stated_end_is_kept_and_a_sentinel_is_none() {
    check(&[(r#""2-99:5;100-500:4""#, "ok 2-99:5 100-500:4"), (r#""2-99:5;100-2147483647:4""#, "ok 2-99:5 100-:4")]);
}

#[test]
fn a_price_that_does_not_fit_is_an_error() {
    check(&[(r#"[[1,100000000000000]]"#, "TooLarge"), (r#""1:100000000000000""#, "TooLarge")]);
}

#[test]
fn the_unit_may_be_glued_to_either_bound() {
    let units = UnitTable::new(&BTreeMap::new());
    let pair = StatedUnit::Known(units.find("双").unwrap());
    for text in [
        r#"[{"begin_num":"2","end_num":"59双","price":"1"}]"#,
        r#"[{"begin_num":"2双","price":"1"}]"#,
        r#""2双-59:1""#,
        r#""2-59双:1""#,
    ] {
        assert_eq!(steps(text).1[0].unit, pair, "{text}");
    }
    assert_eq!(steps(r#""2-59份:1""#).1[0].unit, StatedUnit::Unknown);
}

fn json_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        (-1000_i64..1000).prop_map(|number| number.to_string()),
        "[0-9.:;,件双~元￥≥以上起-]{0,20}".prop_map(|text| format!("{text:?}")),
        (0_u32..500, 0_u32..100).prop_map(|(whole, cents)| format!("{whole}.{cents:02}")),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(
                (prop::sample::select(vec!["price", "min", "max", "startQuantity", "x"]), inner),
                0..4
            )
            .prop_map(|items| {
                let items: Vec<_> = items.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", items.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_value_makes_it_panic(text in json_value()) {
        let (shape, steps) = steps(&text);
        if let Ok(Shape::Steps { left_out }) = shape {
            prop_assert!(!steps.is_empty());
            prop_assert!(steps.len() == 1 || steps.iter().all(|step| step.start.is_some()));
            let _ = judge(&steps, left_out);
        }
    }

    #[test]
    fn a_ladder_written_in_any_shape_reads_back(
        widths in prop::collection::vec(1_i64..500, 2..6),
        cents in 100_i64..100_000,
        form in 0..8_usize,
    ) {
        let mut start = 1;
        let mut expected = Vec::new();
        for (index, width) in (0_i64..).zip(&widths) {
            expected.push((start, start + width - 1, cents - index));
            start += width;
        }
        let last = expected.len() - 1;
        let pieces: Vec<String> = expected.iter().enumerate().map(|(index, &(from, to, cents))| {
            let price = format!("{}.{:02}", cents / 100, cents % 100);
            match form {
                0 => format!("{{\"startQuantity\":{from},\"price\":{price}}}"),
                1 => format!("{{\"min\":{from},\"max\":{to},\"price\":\"{price}\"}}"),
                2 => format!("{{\"begin_num\":\"{from}\",\"end_num\":\"{to}双\",\"price\":\"¥{price}\"}}"),
                3 => format!("[{from},{price}]"),
                4 if index == last => format!(">={from}:{price}"),
                4 => format!("{from}-{to}:{price}"),
                5 => format!("{from}:{price}"),
                6 => format!("{from}～{to}件 ￥{price}"),
                _ => format!("{from}件-{to}件 {price}元"),
            }
        }).collect();
        let text = match form {
            0..=3 => format!("[{}]", pieces.join(",")),
            5 => format!("{:?}", pieces.join("`")),
            4 => format!("{:?}", pieces.join(",")),
            _ => format!("{:?}", pieces.join(";")),
        };
        let (shape, steps) = steps(&text);
        prop_assert_eq!(shape, Ok(Shape::Steps { left_out: 0 }), "{}", text);
        prop_assert_eq!(judge(&steps, 0), LadderStatus::Ok);
        let read: Vec<_> = steps.iter().map(|step| (step.start.unwrap(), step.price.units() / 100)).collect();
        let wanted: Vec<_> = expected.iter().map(|&(from, _, cents)| (from, cents)).collect();
        prop_assert_eq!(read, wanted, "{}", text);
        for (step, &(_, to, _)) in steps.iter().zip(&expected) {
            prop_assert!(step.end.is_none_or(|end| end == to));
        }
    }
}
