//! `price_moves`: what costs more or less at a quantity than the day before.

use super::*;

const COLUMNS: &str = "offer_id, kind, old_price_per_piece, new_price_per_piece, change_pct, old_reason, reason";

fn tier(offer_id: i64, min_quantity: i64, price: &str) -> serde_json::Value {
    json!({"offer_id": offer_id, "min_quantity": min_quantity, "unit_price": price, "piece_price": price})
}

async fn check_moves(session: &Session, from: &str, expected: &str) {
    let sql = format!("SELECT {COLUMNS} FROM {from} ORDER BY offer_id");
    check(session, &sql, &format!("{}\n{expected}", COLUMNS.replace(", ", ","))).await;
}

/// Two days of offers, each with another fate.
fn two_days() -> Lake {
    let mut lake = Lake::new();
    let offers = |of: &[(i64, serde_json::Value)]| {
        let of = of.iter().map(|(id, more)| {
            let mut offer = json!({"offer_id": id});
            offer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            offer
        });
        of.collect::<Vec<_>>()
    };
    let same = json!({});
    let before = [
        (1, same.clone()),
        (2, same.clone()),
        (3, same.clone()),
        (4, json!({"moq_pieces": 1000})),
        (5, same.clone()),
        (6, same.clone()),
    ];
    lake.rows("offers", WEDNESDAY, "nightly", &offers(&before));
    let steps = [
        tier(1, 10, "14.17"),
        tier(1, 1000, "12.04"),
        tier(2, 1, "3.00"),
        tier(3, 1, "5.00"),
        tier(4, 1, "7.00"),
        tier(5, 1, "9.00"),
        tier(6, 1, "2.00"),
    ];
    lake.rows("price_tiers", WEDNESDAY, "nightly", &steps);
    let today = [
        (1, same.clone()),
        (2, same.clone()),
        (3, json!({"status": "delisted"})),
        (4, same.clone()),
        (5, json!({"currency": "USD"})),
        (6, json!({"unit": "打", "pieces_per_unit": 12})),
        (7, same.clone()),
    ];
    lake.rows("offers", FRIDAY, "nightly", &offers(&today));
    let dozen = json!({"offer_id": 6, "min_quantity": 1, "unit_price": "30.00", "piece_price": "2.500000"});
    let steps = [
        // No step has another price, and 200 pieces cost less: another step is reached.
        tier(1, 1, "14.17"),
        tier(1, 100, "12.04"),
        tier(2, 1, "3.00"),
        tier(4, 1, "7.00"),
        tier(5, 1, "9.00"),
        dozen,
        tier(7, 1, "1.00"),
    ];
    lake.rows("price_tiers", FRIDAY, "nightly", &steps);
    lake
}

#[tokio::test]
async fn what_costs_another_price_at_the_quantity_is_told_whichever_step_it_is_of() {
    let lake = two_days();
    let session = lake.session();
    check_moves(
        &session,
        "price_moves(200)",
        "\
1,cut,14.170000,12.040000,-15.0318,,
3,gone,5.000000,,,,delisted
4,back,7.000000,7.000000,,below_moq,
5,currency,9.000000,9.000000,,,
6,raise,2.000000,2.500000,25.0000,,
",
    )
    .await;
    let thousand = csv(&session, "SELECT kind FROM price_moves(1000) WHERE offer_id = 1").await;
    assert_eq!(thousand, "kind\n", "1000 pieces cost what they did");
}

#[tokio::test]
async fn a_day_is_compared_with_all_that_was_published_before_it_whoever_published_it() {
    let mut lake = Lake::new();
    for (dt, pipeline, fetched, price) in [
        (MONDAY, "a", "2026-11-16T01:00:00Z", "3.00"),
        (WEDNESDAY, "a", "2026-11-18T01:00:00Z", "4.00"),
        (FRIDAY, "a", "2026-11-20T01:00:00Z", "5.00"),
        // Its first night.
        (FRIDAY, "b", "2026-11-20T05:00:00Z", "6.00"),
    ] {
        lake.rows("offers", dt, pipeline, &[json!({"offer_id": 1, "fetched_at": fetched})]);
        lake.rows("price_tiers", dt, pipeline, &[tier(1, 1, price)]);
    }
    let session = lake.session();
    for (from, expected) in [
        ("price_moves(1)", "1,raise,4.000000,6.000000,50.0000,,\n"),
        ("price_moves(1, '2026-11-18')", "1,raise,3.000000,4.000000,33.3333,,\n"),
        ("price_moves(3 - 2, date '2026-11-20' - interval '2 days')", "1,raise,3.000000,4.000000,33.3333,,\n"),
        ("price_moves(1, '2026-11-19')", ""),
        ("price_moves(1, '2026-11-16')", ""),
    ] {
        check_moves(&session, from, expected).await;
    }
    let days = "SELECT dt, pipeline, previous_dt FROM price_moves(1)";
    check(&session, days, "dt,pipeline,previous_dt\n2026-11-20,b,2026-11-18\n").await;
    for (call, expected) in [
        ("price_moves()", "one or two arguments"),
        ("price_moves(1, '2025-11-20')", "the first day is 2026-11-16"),
        ("price_moves(1, (SELECT max(dt) FROM shops))", "must be written, not asked for by a query"),
    ] {
        let error = error(&session, &format!("SELECT * FROM {call}")).await;
        assert!(error.to_string().contains(expected), "{call}: {error}");
    }
}

#[tokio::test]
async fn a_lake_without_a_day_before_has_no_moves() {
    check_moves(&Lake::new().session(), "price_moves(1)", "").await;
    let mut lake = Lake::new();
    lake.rows("offers", FRIDAY, "nightly", &[json!({"offer_id": 1})]);
    lake.rows("price_tiers", FRIDAY, "nightly", &[tier(1, 1, "1.00")]);
    check_moves(&lake.session(), "price_moves(1)", "").await;
}
