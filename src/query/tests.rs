mod compete;
mod moves;

use serde_json::json;

use super::fixture::{Lake, day};
use super::output::{self, Format, Layout};
use super::session::{Options, Session};
use super::{Published, runs, views};
use crate::base::{Error, Kind};

const MONDAY: &str = "2026-11-16";
const WEDNESDAY: &str = "2026-11-18";
const FRIDAY: &str = "2026-11-20";

async fn csv(session: &Session, sql: &str) -> String {
    let answer = session.sql(sql).await.unwrap();
    let mut bytes = Vec::new();
    let _ = output::write(answer, Format::Csv, Layout::default(), &mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn check(session: &Session, sql: &str, expected: &str) {
    assert_eq!(csv(session, sql).await, expected, "{sql}");
}

async fn error(session: &Session, sql: &str) -> Error {
    match session.sql(sql).await {
        Err(error) => error,
        Ok(answer) => answer.collect().await.unwrap_err(),
    }
}

async fn ids(session: &Session, sql: &str) -> String {
    let text = csv(session, sql).await;
    text.lines().skip(1).collect::<Vec<_>>().join(";")
}

async fn plan(session: &Session, sql: &str) -> String {
    csv(session, &format!("EXPLAIN FORMAT INDENT {sql}")).await
}

mod published_table {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn three_nights() -> Lake {
        let mut lake = Lake::new();
        for (dt, price) in [(MONDAY, "1.00"), (WEDNESDAY, "2.00"), (FRIDAY, "3.00")] {
            lake.rows("offers", dt, "nightly", &[json!({"offer_id": 1, "price": price}), json!({"offer_id": 2})]);
        }
        lake.rows("offers", FRIDAY, "weekly", &[json!({"offer_id": 9, "price": "9.00"})]);
        lake
    }

    /// The table of a join is built of the side of fewer rows, also where most rows are asked for by a null.
    #[tokio::test]
    async fn a_join_holds_its_smaller_side_in_memory() {
        let mut lake = Lake::new();
        let offers: Vec<_> = (1..=4).map(|id| json!({"offer_id": id, "shop_id": "s1"})).collect();
        let tiers = |of_sku: i64| -> Vec<_> {
            let tiers = (1..=12).map(|id| json!({"offer_id": id % 4 + 1, "sku_id": (id <= of_sku).then_some(id)}));
            tiers.collect()
        };
        lake.rows("offers", MONDAY, "nightly", &offers);
        lake.rows("price_tiers", MONDAY, "nightly", &tiers(2));
        lake.rows("offers", MONDAY, "skus", &offers);
        lake.rows("price_tiers", MONDAY, "skus", &tiers(11));
        let session = lake.session();
        for (pipeline, null, built) in [
            ("nightly", "IS NULL", "offers"),
            ("nightly", "IS NOT NULL", "price_tiers"),
            ("skus", "IS NULL", "price_tiers"),
            ("skus", "IS NOT NULL", "offers"),
        ] {
            for (first, second) in [("offers o", "price_tiers t"), ("price_tiers t", "offers o")] {
                let sql = format!(
                    "SELECT o.shop_id, t.min_quantity FROM {first} JOIN {second} ON t.offer_id = o.offer_id \
                     WHERE t.sku_id {null} AND o.pipeline = '{pipeline}' AND t.pipeline = '{pipeline}'"
                );
                let plan = plan(&session, &sql).await;
                let (_, sides) = plan.split_once("HashJoinExec").unwrap();
                let scanned = sides.split("DataSourceExec").nth(1).unwrap();
                assert!(scanned.contains(&format!("[[{built}/")), "{sql}: {plan}");
            }
        }
    }

    #[tokio::test]
    async fn a_test_for_null_that_every_row_passes_is_not_read() {
        let mut lake = Lake::new();
        lake.rows("price_tiers", MONDAY, "nightly", &[json!({"offer_id": 1}), json!({"offer_id": 2})]);
        lake.rows("price_tiers", MONDAY, "skus", &[json!({"offer_id": 3}), json!({"offer_id": 4, "sku_id": 7})]);
        let session = lake.session();
        for (filter, is_read, found) in [
            ("sku_id IS NULL AND pipeline = 'nightly'", false, "1;2"),
            ("sku_id IS NOT NULL AND pipeline = 'nightly'", true, ""),
            ("offer_id IS NOT NULL", false, "1;2;3;4"),
            ("sku_id IS NULL AND tier_no < 2", true, "1;2;3"),
            ("sku_id IS NOT NULL", true, "4"),
        ] {
            let sql = format!("SELECT offer_id FROM price_tiers WHERE {filter}");
            assert_eq!(ids(&session, &format!("{sql} ORDER BY offer_id")).await, found, "{sql}");
            let plan = plan(&session, &sql).await;
            let (_, physical) = plan.split_once("physical_plan").unwrap();
            assert_eq!(physical.contains(" NULL"), is_read, "{sql}: {physical}");
        }
    }

    #[tokio::test]
    async fn columns_begin_with_the_partition_and_rows_carry_it() {
        let lake = three_nights();
        let session = lake.session();
        let sql = "SELECT * FROM offers WHERE offer_id = 9";
        let schema = session.sql(sql).await.unwrap().schema().clone();
        let names: Vec<&str> = schema.fields().iter().take(4).map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["dt", "pipeline", "run_id", "gateway"]);
        check(
            &session,
            "SELECT price, pipeline, offer_id, dt FROM offers WHERE offer_id = 9",
            "price,pipeline,offer_id,dt\n9.0000,weekly,9,2026-11-20\n",
        )
        .await;
        check(
            &session,
            "SELECT pipeline, count(price) AS n FROM offers GROUP BY pipeline ORDER BY pipeline",
            "pipeline,n\nnightly,3\nweekly,1\n",
        )
        .await;
    }

    #[tokio::test]
    async fn a_filter_on_the_day_reads_only_its_files() {
        let session = three_nights().session();
        for filter in ["dt = '2026-11-18'", "dt = DATE '2026-11-18'", "dt > '2026-11-16' AND dt <= '2026-11-19'"] {
            let plan = plan(&session, &format!("SELECT offer_id FROM offers WHERE {filter}")).await;
            assert_eq!(plan.matches(".parquet").count(), 1, "{plan}");
            assert!(plan.contains("dt=2026-11-18"), "{plan}");
            assert!(!plan.contains("FilterExec"), "{plan}");
        }
    }

    #[tokio::test]
    async fn counting_and_the_newest_day_read_no_file() {
        let session = three_nights().session();
        for (sql, expected) in [
            ("SELECT count(*) AS n FROM offers", "n\n7\n"),
            ("SELECT count(*) AS n FROM offers WHERE pipeline = 'nightly' AND dt >= '2026-11-18'", "n\n4\n"),
            ("SELECT max(dt) AS d FROM offers", "d\n2026-11-20\n"),
        ] {
            let plan = plan(&session, sql).await;
            assert!(!plan.contains("DataSourceExec"), "{plan}");
            check(&session, sql, expected).await;
        }
    }

    #[tokio::test]
    async fn a_filter_on_another_column_goes_into_the_parquet_reader() {
        let session = three_nights().session();
        let plan = plan(&session, "SELECT title FROM offers WHERE offer_id = 9").await;
        assert!(plan.contains("predicate=offer_id"), "{plan}");
        assert!(!plan.contains("FilterExec"), "{plan}");
    }

    #[tokio::test]
    async fn a_column_that_an_old_file_lacks_is_null() {
        let mut lake = three_nights();
        let old = Arc::new(Schema::new(vec![Field::new("offer_id", DataType::Int64, false)]));
        lake.rows_with("offers", "2026-11-01", "nightly", &[json!({"offer_id": 1})], old);
        check(
            &lake.session(),
            "SELECT dt, price, status FROM offers WHERE offer_id = 1 ORDER BY dt LIMIT 2",
            "dt,price,status\n2026-11-01,,\n2026-11-16,1.0000,on_sale\n",
        )
        .await;
    }

    #[tokio::test]
    async fn a_lake_without_a_run_has_empty_tables_and_views() {
        let session = Lake::new().session();
        check(&session, "SELECT count(*) AS n FROM offers", "n\n0\n").await;
        for view in views::VIEWS {
            check(&session, &format!("SELECT count(*) AS n FROM {}", view.name), "n\n0\n").await;
        }
        check(&session, "SELECT count(*) AS n FROM price_at(500)", "n\n0\n").await;
        for function in ["price_history(1)", "competitor_position()", "title_matches('a')"] {
            check(&session, &format!("SELECT count(*) AS n FROM {function}"), "n\n0\n").await;
        }
    }

    #[tokio::test]
    async fn a_published_file_that_is_gone_is_named() {
        let lake = three_nights();
        std::fs::remove_file(lake.folder.path().join("offers/dt=2026-11-20/pipeline=weekly/0.parquet")).unwrap();
        let error = error(&lake.session(), "SELECT sum(price) FROM offers").await;
        assert_eq!(error.kind(), Kind::Storage);
        assert!(error.to_string().contains("pipeline=weekly/0.parquet` is published but missing"), "{error}");
    }

    #[tokio::test]
    async fn the_days_and_their_predecessors_are_a_table() {
        check(
            &three_nights().session(),
            "SELECT * FROM days ORDER BY pipeline, dt",
            "\
pipeline,dt,previous_dt,is_latest
nightly,2026-11-16,,false
nightly,2026-11-18,2026-11-16,false
nightly,2026-11-20,2026-11-18,true
weekly,2026-11-20,,true
",
        )
        .await;
    }
}

mod price_at {
    use super::*;

    fn tier(offer: i64, no: i32, min: i64, max: Option<i64>, price: &str) -> serde_json::Value {
        json!({"offer_id": offer, "tier_no": no, "min_quantity": min, "max_quantity": max, "unit_price": price,
               "piece_price": price})
    }

    fn ladders() -> Lake {
        let mut lake = Lake::new();
        let offers = [
            json!({"offer_id": 1, "moq_quantity": 2, "moq_pieces": 2}),
            json!({"offer_id": 2, "unit": "箱", "pieces_per_unit": 24, "moq_quantity": 1, "moq_pieces": 24}),
            json!({"offer_id": 3, "unit": "箱", "pieces_per_unit": null, "pack_source": "none", "moq_status": "unknown_pack",
                   "moq_quantity": 1}),
            json!({"offer_id": 4, "moq_quantity": 1000, "moq_pieces": 1000}),
            json!({"offer_id": 5, "ladder_status": "duplicate_start", "moq_quantity": 1, "moq_pieces": 1}),
            json!({"offer_id": 6, "ladder_status": "overlap"}),
            json!({"offer_id": 7}),
            json!({"offer_id": 8, "ladder_status": "missing"}),
            json!({"offer_id": 9, "status": "delisted", "ladder_status": "missing"}),
            json!({"offer_id": 10, "unit": "箱", "pieces_per_unit": null, "pack_source": "conflict"}),
            json!({"offer_id": 11, "ladder_status": "gap"}),
            json!({"offer_id": 12, "ladder_status": "unordered"}),
            json!({"offer_id": 13, "unit": "公斤", "pieces_per_unit": null, "pack_source": "none",
                   "moq_status": "not_countable"}),
            json!({"offer_id": 14, "status": "off_sale"}),
            json!({"offer_id": 15, "moq_status": "missing"}),
        ];
        let mut tiers = vec![
            tier(1, 1, 2, Some(99), "12.50"),
            tier(1, 2, 100, Some(999), "11.80"),
            tier(1, 3, 1000, None, "10.20"),
            tier(3, 1, 1, None, "99.00"),
            tier(4, 1, 1000, Some(1999), "8.00"),
            tier(4, 2, 2000, None, "7.00"),
            tier(5, 1, 1, None, "2.30"),
            tier(5, 2, 1, None, "20.52"),
            tier(6, 1, 1, Some(600), "10.00"),
            tier(6, 2, 500, None, "9.00"),
            tier(10, 1, 1, None, "50.00"),
            tier(11, 1, 1, Some(10), "9.00"),
            tier(11, 2, 600, None, "8.00"),
            tier(12, 1, 600, None, "7.00"),
            tier(12, 2, 2, None, "9.00"),
            tier(13, 1, 1, None, "3.00"),
            tier(14, 1, 1, None, "4.00"),
            tier(15, 2, 2000, None, "7.00"),
            tier(15, 1, 1000, Some(1999), "8.50"),
        ];
        for (no, min, max, price, piece_price) in
            [(1, 1, Some(4), "240.00", "10.000000"), (2, 5, None, "220.00", "9.166667")]
        {
            tiers.push(json!({"offer_id": 2, "tier_no": no, "min_quantity": min, "max_quantity": max,
                              "unit_price": price, "piece_price": piece_price}));
        }
        for (sku, price) in [(71, "5.00"), (72, "6.00")] {
            tiers.push(
                json!({"offer_id": 7, "sku_id": sku, "min_quantity": 1, "unit_price": price, "piece_price": price}),
            );
        }
        lake.rows("offers", FRIDAY, "nightly", &offers);
        lake.rows("price_tiers", FRIDAY, "nightly", &tiers);
        lake
    }

    const COLUMNS: &str = "offer_id, sku_id, units, pieces_bought, unit_price, total, price_per_piece, tier_no, \
                           buyable, moq_pieces, ladder_status, reason";

    async fn check_offers(lake: &Lake, pieces: i64, offers: &str, expected: &str) {
        let sql =
            format!("SELECT {COLUMNS} FROM price_at({pieces}) WHERE offer_id IN ({offers}) ORDER BY offer_id, sku_id");
        let expected = format!("{}\n{expected}", COLUMNS.replace(", ", ","));
        check(&lake.session(), &sql, &expected).await;
    }

    #[tokio::test]
    async fn five_hundred_pieces_take_the_step_they_reach() {
        check_offers(
            &ladders(),
            500,
            "1, 2",
            "\
1,,500,500,11.8000,5900.0000,11.800000,2,true,2,ok,
2,,21,504,220.0000,4620.0000,9.166667,2,true,24,ok,
",
        )
        .await;
    }

    #[tokio::test]
    async fn the_edges_of_a_step_belong_to_it() {
        let lake = ladders();
        check_offers(&lake, 99, "1", "1,,99,99,12.5000,1237.5000,12.500000,1,true,2,ok,\n").await;
        check_offers(&lake, 100, "1", "1,,100,100,11.8000,1180.0000,11.800000,2,true,2,ok,\n").await;
        check_offers(&lake, 96, "2", "2,,4,96,240.0000,960.0000,10.000000,1,true,24,ok,\n").await;
        check_offers(&lake, 97, "2", "2,,5,120,220.0000,1100.0000,9.166667,2,true,24,ok,\n").await;
    }

    #[tokio::test]
    async fn unknown_pieces_are_listed_with_nulls_and_the_reason() {
        check_offers(
            &ladders(),
            500,
            "3, 8, 9, 10, 13",
            "\
3,,,,,,,,false,,ok,unknown_pack
8,,500,500,,,,,false,,missing,no_price
9,,500,500,,,,,false,,missing,delisted
10,,,,,,,,false,,ok,conflict
13,,,,,,,,false,,ok,not_countable
",
        )
        .await;
    }

    #[tokio::test]
    async fn a_price_that_depends_on_an_unknown_sku_is_given_by_its_ends() {
        let mut lake = Lake::new();
        let spread = |id: i64, more: serde_json::Value| {
            let mut offer =
                json!({"offer_id": id, "price": "24.00", "price_max": "31.00", "ladder_status": "sku_spread"});
            offer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            offer
        };
        let dozen = json!({"unit": "打", "pieces_per_unit": 12});
        let offers = [spread(1, json!({})), spread(2, dozen), spread(3, json!({"status": "delisted"}))];
        lake.rows("offers", FRIDAY, "nightly", &offers);
        check(
            &lake.session(),
            "SELECT offer_id, price_per_piece, price_from, price_to, buyable, reason FROM price_at(500) ORDER BY offer_id",
            "offer_id,price_per_piece,price_from,price_to,buyable,reason\n\
             1,,24.000000,31.000000,,price_spread\n\
             2,,2.000000,2.583333,,price_spread\n\
             3,,24.000000,31.000000,false,delisted\n",
        )
        .await;
    }

    #[tokio::test]
    async fn below_the_minimum_shows_the_minimum_and_its_price() {
        check_offers(&ladders(), 500, "4", "4,,500,500,8.0000,,8.000000,1,false,1000,ok,below_moq\n").await;
        check_offers(&ladders(), 500, "15", "15,,500,500,8.5000,,8.500000,1,false,1000,ok,below_moq\n").await;
        check_offers(&ladders(), 1, "1", "1,,1,1,12.5000,,12.500000,1,false,2,ok,below_moq\n").await;
    }

    #[tokio::test]
    async fn what_is_off_sale_has_a_price_but_no_total() {
        check_offers(&ladders(), 500, "14", "14,,500,500,4.0000,,4.000000,1,false,1,ok,off_sale\n").await;
    }

    #[tokio::test]
    async fn of_doubled_and_overlapping_steps_the_dearer_counts() {
        check_offers(
            &ladders(),
            500,
            "5, 6, 11, 12",
            "\
5,,500,500,20.5200,10260.0000,20.520000,2,true,1,duplicate_start,
6,,500,500,10.0000,5000.0000,10.000000,1,true,1,overlap,
11,,500,500,9.0000,4500.0000,9.000000,1,true,1,gap,
12,,500,500,9.0000,4500.0000,9.000000,2,true,2,unordered,
",
        )
        .await;
        check_offers(
            &ladders(),
            700,
            "6, 11, 12",
            "\
6,,700,700,9.0000,6300.0000,9.000000,2,true,1,overlap,
11,,700,700,8.0000,5600.0000,8.000000,2,true,1,gap,
12,,700,700,7.0000,4900.0000,7.000000,1,true,2,unordered,
",
        )
        .await;
    }

    #[tokio::test]
    async fn each_sku_with_a_ladder_of_its_own_has_a_row() {
        check_offers(
            &ladders(),
            500,
            "7",
            "\
7,71,500,500,5.0000,2500.0000,5.000000,1,true,1,ok,
7,72,500,500,6.0000,3000.0000,6.000000,1,true,1,ok,
",
        )
        .await;
    }

    #[tokio::test]
    async fn the_pipeline_that_fetched_an_offer_last_counts_and_days_are_per_pipeline() {
        let mut lake = Lake::new();
        let offer = |fetched: &str| json!({"offer_id": 1, "fetched_at": fetched});
        for (dt, pipeline, fetched, price) in [
            (WEDNESDAY, "a", "2026-11-18T01:00:00Z", "3.00"),
            (MONDAY, "b", "2026-11-16T05:00:00Z", "1.00"),
            (FRIDAY, "b", "2026-11-20T05:00:00Z", "2.00"),
        ] {
            lake.rows("offers", dt, pipeline, &[offer(fetched)]);
            lake.rows("price_tiers", dt, pipeline, &[tier(1, 1, 1, None, price)]);
        }
        let session = lake.session();
        let columns = "SELECT dt, pipeline, unit_price FROM";
        check(&session, &format!("{columns} price_at(1)"), "dt,pipeline,unit_price\n2026-11-20,b,2.0000\n").await;
        for day in ["'2026-11-18'", "DATE '2026-11-19'"] {
            check(&session, &format!("{columns} price_at(1, {day})"), "dt,pipeline,unit_price\n2026-11-18,a,3.0000\n")
                .await;
        }
        check(
            &session,
            &format!("{columns} price_at(1, '2026-11-17')"),
            "dt,pipeline,unit_price\n2026-11-16,b,1.0000\n",
        )
        .await;
        check(&session, "SELECT dt, pipeline FROM latest_offers", "dt,pipeline\n2026-11-20,b\n").await;
        check(&session, "SELECT pipeline, unit_price FROM latest_price_tiers", "pipeline,unit_price\nb,2.0000\n").await;
    }

    #[tokio::test]
    async fn one_pipeline_pays_nothing_for_the_others() {
        let plan = plan(&ladders().session(), "SELECT title FROM latest_offers WHERE shop_id = 's1'").await;
        assert!(!plan.contains("Join") && !plan.contains("Window"), "{plan}");
    }

    #[tokio::test]
    async fn wrong_arguments_are_refused_with_an_example() {
        let session = ladders().session();
        for (call, expected) in [
            ("price_at(0)", "1 to 1000000000000 pieces, not 0"),
            ("price_at(-5)", "not -5"),
            ("price_at(1.5)", "whole number"),
            ("price_at('viele')", "whole number"),
            ("price_at()", "one or two arguments"),
            ("price_at(1, '2026-13-01')", "must be a date"),
            ("price_at(1, '2025-11-20')", "the first day is 2026-11-20"),
            ("price_history('x')", "whole number"),
            ("price_history()", "one argument"),
        ] {
            let error = error(&session, &format!("SELECT * FROM {call}")).await;
            assert_eq!(error.kind(), Kind::Config, "{call}");
            assert!(error.to_string().contains(expected), "{call}: {error}");
        }
    }

    #[tokio::test]
    async fn the_history_of_an_offer_has_each_day_and_step() {
        let mut lake = ladders();
        lake.rows("offers", MONDAY, "nightly", &[json!({"offer_id": 1})]);
        lake.rows("price_tiers", MONDAY, "nightly", &[tier(1, 1, 2, None, "13.00")]);
        lake.rows("offers", WEDNESDAY, "nightly", &[json!({"offer_id": 1, "ladder_status": "missing"})]);
        check(
            &lake.session(),
            "SELECT dt, tier_no, min_quantity, unit_price FROM price_history(1) ORDER BY dt, tier_no",
            "dt,tier_no,min_quantity,unit_price\n2026-11-16,1,2,13.0000\n2026-11-18,,,\n\
             2026-11-20,1,2,12.5000\n2026-11-20,2,100,11.8000\n2026-11-20,3,1000,10.2000\n",
        )
        .await;
    }
}

mod changes {
    use super::*;

    fn tier(offer: i64, sku: Option<i64>, min: i64, price: &str) -> serde_json::Value {
        json!({"offer_id": offer, "sku_id": sku, "min_quantity": min, "unit_price": price, "piece_price": price})
    }

    /// Wednesday to Friday; the calendar's Thursday was never published.
    fn prices() -> Lake {
        let mut lake = Lake::new();
        let shops = |complete: bool| [json!({"shop_id": "s1"}), json!({"shop_id": "s2", "is_complete": complete})];
        lake.rows("shops", WEDNESDAY, "nightly", &shops(true));
        lake.rows("shops", FRIDAY, "nightly", &shops(false));
        let box_of = |pack: i32| json!({"offer_id": 4, "unit": "箱", "pieces_per_unit": pack});
        let offers = |pack, last| {
            let mut rows = vec![json!({"offer_id": 1}), json!({"offer_id": 2}), json!({"offer_id": 3}), box_of(pack)];
            rows.push(json!({"offer_id": 5, "shop_id": "s2"}));
            rows.push(last);
            rows
        };
        lake.rows("offers", WEDNESDAY, "nightly", &offers(24, json!({"offer_id": 6})));
        lake.rows("offers", FRIDAY, "nightly", &offers(12, json!({"offer_id": 7})));
        lake.rows(
            "price_tiers",
            WEDNESDAY,
            "nightly",
            &[
                tier(1, None, 1, "10.00"),
                tier(1, None, 100, "9.00"),
                tier(1, None, 500, "8.00"),
                tier(2, Some(21), 1, "5.00"),
                tier(2, Some(22), 1, "6.00"),
                tier(2, None, 1, "7.00"),
                tier(3, None, 1, "2.30"),
                tier(3, None, 1, "20.52"),
                json!({"offer_id": 4, "min_quantity": 1, "unit_price": "48.00", "piece_price": "2.000000"}),
                tier(5, None, 1, "1.00"),
                tier(5, None, 10, "0.90"),
                tier(6, None, 1, "1.00"),
            ],
        );
        lake.rows(
            "price_tiers",
            FRIDAY,
            "nightly",
            &[
                tier(1, None, 1, "11.00"),
                tier(1, None, 100, "9.00"),
                tier(1, None, 1000, "7.00"),
                tier(2, Some(21), 1, "4.00"),
                tier(2, Some(22), 1, "6.00"),
                tier(2, None, 1, "7.00"),
                tier(3, None, 1, "20.52"),
                tier(3, None, 1, "2.50"),
                json!({"offer_id": 4, "min_quantity": 1, "unit_price": "48.00", "piece_price": "4.000000"}),
                tier(5, None, 1, "1.50"),
                tier(5, None, 20, "0.80"),
                tier(7, None, 1, "1.00"),
            ],
        );
        lake
    }

    #[tokio::test]
    async fn price_changes_are_by_step_and_sku_against_the_day_before() {
        check(
            &prices().session(),
            "
SELECT dt, previous_dt, offer_id, sku_id, min_quantity, kind, old_price, new_price, change_pct
FROM price_changes ORDER BY offer_id, sku_id, min_quantity",
            "\
dt,previous_dt,offer_id,sku_id,min_quantity,kind,old_price,new_price,change_pct
2026-11-20,2026-11-18,1,,1,changed,10.0000,11.0000,10.0000
2026-11-20,2026-11-18,1,,500,gone_tier,8.0000,,
2026-11-20,2026-11-18,1,,1000,new_tier,,7.0000,
2026-11-20,2026-11-18,2,21,1,changed,5.0000,4.0000,-20.0000
2026-11-20,2026-11-18,4,,1,unit_changed,48.0000,48.0000,100.0000
2026-11-20,2026-11-18,5,,1,changed,1.0000,1.5000,50.0000
",
        )
        .await;
    }

    #[tokio::test]
    async fn a_day_in_the_filter_reads_that_day_and_the_one_before() {
        let mut lake = prices();
        lake.rows("price_tiers", MONDAY, "nightly", &[tier(1, None, 1, "1.00")]);
        lake.rows("offers", MONDAY, "nightly", &[json!({"offer_id": 1})]);
        lake.rows("shops", MONDAY, "nightly", &[json!({"shop_id": "s1"})]);
        let session = lake.session();
        for view in ["price_changes", "new_offers", "delisted_offers", "moq_changes", "stock_outs"] {
            let plan = plan(&session, &format!("SELECT * FROM {view} WHERE dt = '2026-11-20'")).await;
            assert!(plan.contains("dt=2026-11-18") && plan.contains("dt=2026-11-20"), "{plan}");
            assert!(!plan.contains("dt=2026-11-16"), "{view}: {plan}");
        }
    }

    #[tokio::test]
    async fn the_first_day_of_a_pipeline_changes_nothing() {
        let mut lake = prices();
        lake.rows("offers", "2026-11-21", "weekly", &[json!({"offer_id": 1})]);
        lake.rows("price_tiers", "2026-11-21", "weekly", &[tier(1, None, 1, "99.00")]);
        lake.rows("shops", "2026-11-21", "weekly", &[json!({"shop_id": "s1"})]);
        let session = lake.session();
        for view in ["price_changes", "new_offers", "delisted_offers"] {
            check(&session, &format!("SELECT count(*) AS n FROM {view} WHERE pipeline = 'weekly'"), "n\n0\n").await;
        }
    }

    /// Shop by shop: what is complete, and which offers it shows on both days.
    fn comings_and_goings() -> Lake {
        let mut lake = Lake::new();
        let shop = |id: &str, complete: bool| json!({"shop_id": id, "is_complete": complete});
        lake.rows(
            "shops",
            WEDNESDAY,
            "nightly",
            &[shop("whole", true), shop("torn_today", true), shop("torn_before", false), shop("dropped", true)],
        );
        lake.rows(
            "shops",
            FRIDAY,
            "nightly",
            &[shop("whole", true), shop("torn_today", false), shop("torn_before", true), shop("added", true)],
        );
        let offer = |shop: Option<&str>, id: i64| json!({"shop_id": shop, "offer_id": id, "price": "5.00"});
        lake.rows(
            "offers",
            WEDNESDAY,
            "nightly",
            &[
                offer(Some("whole"), 10),
                offer(Some("whole"), 11),
                offer(Some("whole"), 12),
                offer(Some("torn_today"), 20),
                offer(Some("torn_before"), 30),
                offer(Some("torn_before"), 31),
                offer(Some("dropped"), 40),
                offer(None, 60),
                offer(None, 61),
            ],
        );
        lake.rows(
            "offers",
            FRIDAY,
            "nightly",
            &[
                offer(Some("whole"), 10),
                offer(Some("whole"), 13),
                json!({"shop_id": "whole", "offer_id": 12, "status": "delisted"}),
                offer(Some("torn_today"), 21),
                offer(Some("torn_before"), 30),
                offer(Some("torn_before"), 32),
                offer(Some("added"), 50),
                json!({"shop_id": null, "offer_id": 60, "status": "delisted"}),
            ],
        );
        lake
    }

    #[tokio::test]
    async fn only_shops_complete_on_both_days_have_new_offers() {
        check(
            &comings_and_goings().session(),
            "SELECT dt, previous_dt, offer_id FROM new_offers",
            "dt,previous_dt,offer_id\n2026-11-20,2026-11-18,13\n",
        )
        .await;
    }

    #[tokio::test]
    async fn only_what_is_called_delisted_in_a_complete_shop_or_by_the_gateway_is_delisted() {
        check(
            &comings_and_goings().session(),
            "
SELECT dt, shop_id, offer_id, last_price FROM delisted_offers ORDER BY offer_id",
            "\
dt,shop_id,offer_id,last_price
2026-11-20,whole,12,5.0000
2026-11-20,,60,5.0000
",
        )
        .await;
    }

    #[tokio::test]
    async fn a_delisting_is_told_once_and_a_return_is_new() {
        let mut lake = Lake::new();
        let row = |status: &str| [json!({"offer_id": 1, "status": status}), json!({"offer_id": 2})];
        for (dt, status) in [(MONDAY, "on_sale"), (WEDNESDAY, "delisted"), (FRIDAY, "on_sale")] {
            lake.rows("shops", dt, "nightly", &[json!({"shop_id": "s1"})]);
            lake.rows("offers", dt, "nightly", &row(status));
        }
        let session = lake.session();
        check(&session, "SELECT dt, offer_id FROM delisted_offers", "dt,offer_id\n2026-11-18,1\n").await;
        check(&session, "SELECT dt, offer_id FROM new_offers", "dt,offer_id\n2026-11-20,1\n").await;
    }

    #[tokio::test]
    async fn moq_changes_compare_pieces_before_units() {
        let mut lake = Lake::new();
        let rows = |values: [(i64, Option<i64>, &str); 4]| {
            let rows = values.iter().zip(1..).map(|((quantity, pieces, unit), id)| {
                json!({"offer_id": id, "moq_quantity": quantity, "moq_pieces": pieces, "unit": unit})
            });
            rows.collect::<Vec<_>>()
        };
        lake.rows(
            "offers",
            WEDNESDAY,
            "nightly",
            &rows([(10, Some(10), "件"), (24, Some(24), "件"), (5, None, "箱"), (3, Some(3), "件")]),
        );
        lake.rows(
            "offers",
            FRIDAY,
            "nightly",
            &rows([(20, Some(20), "件"), (1, Some(12), "箱"), (4, None, "箱"), (3, Some(3), "件")]),
        );
        check(
            &lake.session(),
            "
SELECT offer_id, kind, old_moq_quantity, new_moq_quantity, old_moq_pieces, new_moq_pieces
FROM moq_changes ORDER BY offer_id",
            "\
offer_id,kind,old_moq_quantity,new_moq_quantity,old_moq_pieces,new_moq_pieces
1,raised,10,20,10,20
2,lowered,24,1,24,12
3,lowered,5,4,,
",
        )
        .await;
    }

    #[tokio::test]
    async fn stock_outs_need_stock_on_the_day_before() {
        let mut lake = Lake::new();
        let offers = |stock: [Option<i64>; 3], status: &str| {
            stock
                .iter()
                .zip(1..)
                .map(|(pieces, id)| {
                    json!({"offer_id": id, "stock_pieces": pieces,
                "stock_status": if pieces.is_none() { status } else { "ok" }})
                })
                .collect::<Vec<_>>()
        };
        lake.rows("offers", WEDNESDAY, "nightly", &offers([Some(7), None, Some(0)], "unlimited"));
        lake.rows("offers", FRIDAY, "nightly", &offers([Some(0), Some(0), Some(0)], "unlimited"));
        let sku =
            |sku: i64, stock: i64| json!({"offer_id": 3, "sku_id": sku, "spec": "颜色:红", "stock_pieces": stock});
        lake.rows("skus", WEDNESDAY, "nightly", &[sku(31, 4), sku(32, 4)]);
        lake.rows("skus", FRIDAY, "nightly", &[sku(31, 0), sku(32, 4)]);
        check(
            &lake.session(),
            "
SELECT offer_id, sku_id, spec, old_stock_pieces, new_stock_pieces FROM stock_outs ORDER BY offer_id",
            "\
offer_id,sku_id,spec,old_stock_pieces,new_stock_pieces
1,,,7,0
2,,,,0
3,31,颜色:红,4,0
",
        )
        .await;
    }
}

mod session {
    use super::*;

    #[tokio::test]
    async fn only_queries_run() {
        let session = Lake::new().session();
        for sql in [
            "CREATE TABLE t AS SELECT 1",
            "CREATE VIEW v AS SELECT 1",
            "DROP TABLE offers",
            "INSERT INTO offers VALUES (1)",
            "COPY (SELECT 1) TO '/tmp/huopan-query-test.csv'",
            "SET datafusion.execution.batch_size = 1",
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
            "DELETE FROM offers",
            "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/huopan-query-test.csv'",
            "SELECT * FROM '/etc/passwd'",
            "PREPARE p AS SELECT 1",
            "SELECT 1; DROP TABLE offers",
        ] {
            assert_eq!(error(&session, sql).await.kind(), Kind::Config, "{sql}");
        }
        let refused = error(&session, "CREATE VIEW v AS SELECT 1").await;
        assert_eq!(refused.to_string(), "only queries run here: the lake is read-only");
        for sql in
            ["SHOW TABLES", "DESCRIBE offers", "VALUES (1)", "EXPLAIN SELECT 1", "WITH a AS (SELECT 1) SELECT * FROM a"]
        {
            assert!(session.sql(sql).await.is_ok(), "{sql}");
        }
    }

    #[tokio::test]
    async fn show_tables_lists_tables_and_views_and_nothing_internal() {
        let text = csv(
            &Lake::new().session(),
            "
SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name",
        )
        .await;
        assert!(text.contains("latest_offers,VIEW\n") && text.contains("offers,BASE TABLE\n"), "{text}");
        assert!(!text.contains("superseded"), "{text}");
    }

    #[tokio::test]
    async fn a_misspelt_name_is_answered_with_the_nearest_one() {
        let session = Lake::new().session();
        for (sql, message, hint) in [
            ("SELECT * FROM ofers", "there is no table `ofers`", "did you mean `offers`?"),
            ("SELECT * FROM latest.ofers", "there is no table `ofers`", "did you mean `offers`?"),
            ("SELECT * FROM \"as_of_2026-13-01\".offers", "there is no schema `as_of_2026-13-01`", "as_of_2026-11-20"),
            (
                "SELECT * FROM latest.price_changes",
                "there is no `price_changes` in the schema `latest`",
                "`price_changes` stands without a schema",
            ),
            ("SELECT titel FROM offers", "there is no column `titel`", "did you mean `title`?"),
            ("SELECT o.pricee FROM offers o", "`o` has no column `pricee`", "did you mean `price`?"),
            (
                "SELECT offer_id FROM offers JOIN skus ON true",
                "the column `offer_id` is in several tables",
                "write the table",
            ),
        ] {
            let error = error(&session, sql).await;
            assert_eq!(error.kind(), Kind::Config, "{sql}");
            assert_eq!(error.to_string(), message);
            assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
        }
    }

    #[tokio::test]
    async fn a_day_before_all_publications_is_told() {
        let mut lake = Lake::new();
        check(&lake.session(), "SELECT count(*) AS n FROM \"as_of_2020-01-01\".offers", "n\n0\n").await;
        lake.rows("offers", FRIDAY, "nightly", &[json!({"offer_id": 1})]);
        let session = lake.session();
        let error = error(&session, "SELECT * FROM \"as_of_2026-11-19\".offers").await;
        assert_eq!(error.to_string(), "nothing was published for 2026-11-19 or an earlier day");
        assert_eq!(error.hint(), Some("the first published day is 2026-11-20"));
        check(&session, "SELECT count(*) AS n FROM \"as_of_2026-11-21\".offers", "n\n1\n").await;
    }

    #[tokio::test]
    async fn what_the_query_did_wrong_is_said_in_one_line() {
        let session = Lake::new().session();
        for (sql, expected) in [
            ("SELEC 1", "this is not SQL: "),
            ("SELECT nosuch(1)", "nosuch"),
            ("SELECT 1 / 0", "divide by zero"),
            ("SELECT CAST('x' AS INT)", "x"),
        ] {
            let error = error(&session, sql).await;
            assert_eq!(error.kind(), Kind::Config, "{sql}");
            let text = error.to_string();
            assert!(text.to_lowercase().contains(&expected.to_lowercase()), "{sql}: {text}");
            assert!(!text.contains('\n') && !text.contains("DataFusion"), "{text}");
        }
    }

    #[tokio::test]
    async fn days_and_money_are_what_they_say() {
        let mut lake = Lake::new();
        lake.rows("offers", FRIDAY, "nightly", &[json!({"offer_id": 1, "price": "2.96"})]);
        let session = lake.session();
        for (sql, expected) in [
            ("SELECT price * 1.13 AS p FROM offers", "p\n3.344800\n"),
            ("SELECT to_char(dt, 'YYYY-MM') AS m, count(*) AS n FROM offers GROUP BY 1", "m,n\n2026-11,1\n"),
            ("SELECT to_char(dt, '%Y/%m') AS m FROM offers", "m\n2026/11\n"),
            ("SELECT to_date('20/11/2026', 'DD/MM/YYYY') = dt AS same FROM offers", "same\ntrue\n"),
        ] {
            check(&session, sql, expected).await;
        }
        let today = || crate::base::time::beijing_day(crate::base::Clock::now(&crate::base::SystemClock)).to_string();
        let (before, said) = (today(), csv(&session, "SELECT current_date AS today").await);
        assert!([before, today()].iter().any(|today| said == format!("today\n{today}\n")), "{said}");
        let error = error(&session, "SELECT to_char(dt, 'Q of YYYY') FROM offers").await;
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.to_string().contains("does not know `Q` of the format"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_lake_is_said_and_an_empty_folder_is_an_empty_lake() {
        let folder = tempfile::TempDir::new().unwrap();
        let options = Options::default();
        let error = Session::at(&folder.path().join("none"), &options).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.to_string().starts_with("there is no lake at `"), "{error}");
        let session = Session::at(folder.path(), &options).await.unwrap();
        check(&session, "SELECT count(*) AS n FROM latest_offers", "n\n0\n").await;
    }

    #[tokio::test]
    async fn a_query_that_needs_too_much_memory_is_stopped() {
        let options = Options { memory_bytes_max: 100_000, target_partitions: Some(1), ..Options::default() };
        let store = crate::store::Store::open_existing(tempfile::TempDir::new().unwrap().path()).unwrap();
        let session = Session::open(&store, Default::default(), &options).unwrap();
        let sql =
            "SELECT count(*) FROM generate_series(1, 200000) a(v) JOIN generate_series(1, 200000) b(v) ON a.v = b.v";
        assert_eq!(error(&session, sql).await.to_string(), "the query needs more memory than it may use");
    }

    #[tokio::test]
    async fn the_last_day_is_never_after_the_one_asked_for() {
        let mut lake = Lake::new();
        lake.rows("offers", MONDAY, "nightly", &[json!({"offer_id": 1})]);
        let published = Published::from(lake.snapshot());
        assert_eq!(published.last_day("nightly", day(FRIDAY)), Some(day(MONDAY)));
        assert_eq!(published.last_day("nightly", day("2026-11-15")), None);
    }

    #[tokio::test]
    async fn runs_are_listed_newest_first_and_shown_with_their_shops() {
        let mut lake = Lake::new();
        let run = |id: &str, start: &str, end: &str| {
            json!({"run_id": id, "attempt": 1, "status": "published",
            "started_at": start, "finished_at": end, "received": 12, "loaded": 9, "duplicates": 2, "quarantined": 1,
            "calls_used": 30, "bytes_received": 4096})
        };
        lake.rows("runs", WEDNESDAY, "nightly", &[run("0a", "2026-11-18T01:00:00Z", "2026-11-18T01:02:05Z")]);
        lake.rows("runs", FRIDAY, "nightly", &[run("0b", "2026-11-20T01:00:00Z", "2026-11-20T01:00:07.5Z")]);
        lake.rows(
            "shops",
            FRIDAY,
            "nightly",
            &[json!({"run_id": "0b", "shop_id": "s1", "sku_complete_rate": "0.9800"})],
        );
        let session = lake.session();
        let list = runs::list(&session, 10).await.unwrap().collect().await.unwrap();
        let list = arrow::util::pretty::pretty_format_batches(&list).unwrap().to_string();
        let rows: Vec<&str> = list.lines().skip(3).collect();
        assert!(
            rows[0].contains("| 2026-11-20")
                && rows[0].contains("| 12       | 9 ")
                && rows[0].contains("| 7       | 0b"),
            "{list}"
        );
        assert!(rows[1].contains("| 125     | 0a"), "{list}");
        let shown = runs::show(&session, "0b").await.unwrap();
        assert_eq!(shown.run.collect().await.unwrap()[0].num_rows(), 1);
        assert_eq!(shown.shops.collect().await.unwrap()[0].num_rows(), 1);
        assert_eq!(
            runs::show(&session, "0").await.unwrap().run.collect().await.unwrap().len(),
            0,
            "an id, no beginning"
        );
        let found = async |name: &str| runs::find(&session, &name.parse().unwrap()).await;
        assert_eq!((found("latest").await.unwrap(), found("0A").await.unwrap()), ("0b".to_owned(), "0a".to_owned()));
        let several = found("0").await.unwrap_err();
        assert_eq!(
            (several.kind(), several.hint()),
            (Kind::Config, Some("say which: `0b` of 2026-11-20, `0a` of 2026-11-18"))
        );
        assert!(found("ff").await.unwrap_err().to_string().contains("no run's id begins with `ff`"));
    }
}

mod one_day {
    use crate::query::Focus;
    use crate::store::Store;

    use super::*;

    /// An offer that is cheaper by a tenth each night, in two pipelines.
    fn falling() -> Lake {
        let mut lake = Lake::new();
        for (dt, price) in [(MONDAY, "10.00"), (WEDNESDAY, "9.00"), (FRIDAY, "8.10")] {
            for (pipeline, offer) in [("nightly", 1), ("weekly", 2)] {
                lake.rows("offers", dt, pipeline, &[json!({"offer_id": offer, "price": price})]);
                let tier = json!({"offer_id": offer, "min_quantity": 1, "unit_price": price, "piece_price": price});
                lake.rows("price_tiers", dt, pipeline, &[tier]);
                lake.rows("shops", dt, pipeline, &[json!({"shop_id": "s1"})]);
            }
        }
        lake
    }

    fn session(lake: &Lake, dt: &str) -> Session {
        let focus = Some(Focus { pipeline: "nightly".into(), dt: day(dt) });
        let store = Store::open_existing(lake.folder.path()).unwrap();
        Session::open(&store, lake.snapshot(), &Options { focus, ..Options::default() }).unwrap()
    }

    #[tokio::test]
    async fn a_view_of_changes_gives_those_of_the_day() {
        let lake = falling();
        let changes = "SELECT dt, pipeline, previous_dt, old_price, new_price FROM price_changes";
        let columns = "dt,pipeline,previous_dt,old_price,new_price\n";
        for (dt, row) in [
            (MONDAY, String::new()),
            (WEDNESDAY, format!("{WEDNESDAY},nightly,{MONDAY},10.0000,9.0000\n")),
            (FRIDAY, format!("{FRIDAY},nightly,{WEDNESDAY},9.0000,8.1000\n")),
        ] {
            check(&session(&lake, dt), changes, &format!("{columns}{row}")).await;
        }
        let all = csv(&lake.session(), changes).await;
        assert_eq!(all.lines().count(), 5, "of both turns, in both pipelines: {all}");
    }

    #[tokio::test]
    async fn tables_and_latest_views_are_the_day_and_history_is_every_day() {
        let lake = falling();
        let session = session(&lake, WEDNESDAY);
        for (from, expected) in [
            ("offers", format!("{WEDNESDAY},1")),
            ("latest_offers", format!("{WEDNESDAY},1")),
            ("price_at(500)", format!("{WEDNESDAY},1")),
            ("before.offers", format!("{WEDNESDAY},1")),
            ("history.offers", format!("{MONDAY},6")),
            ("price_history(1)", format!("{MONDAY},3")),
            ("price_at(500, '2026-11-20')", format!("{FRIDAY},2")),
            ("price_moves(500)", format!("{WEDNESDAY},1")),
        ] {
            let sql = format!("SELECT min(dt) AS dt, count(*) AS rows FROM {from}");
            check(&session, &sql, &format!("dt,rows\n{expected}\n")).await;
        }
        check(&lake.session(), "SELECT count(*) AS rows FROM history.offers", "rows\n6\n").await;
    }
}
