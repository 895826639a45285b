//! Captured answers instead of calls: what a live run landed, loaded from files into another lake, says the same.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::NaiveDate;
use huopan::sim::{self, Gateway};
use serde_json::{Value, json};

use crate::support::{Place, Row, day, huopan, publish, quick};

/// Three nights of one simulated world.
async fn three_nights() -> Place {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = place.shops(&sim, Gateway::Portals);
    for dt in [day(18), day(19), day(20)] {
        sim.set_day(dt);
        publish(&pipeline, dt).await;
    }
    place
}

/// The listing answers of a night as wrapper lines.
async fn captured(place: &Place, dt: NaiveDate) -> Vec<String> {
    let sql = format!(
        "select shop_id, cast(body as varchar) as body from raw_pages where dt = '{dt}' and endpoint = 'listing'"
    );
    let rows = place.rows(&sql).await;
    let line = |row: &Row| {
        let answer: Value = serde_json::from_str(&row["body"]).unwrap();
        json!({"answer": answer, "shop_id": row["shop_id"], "fetched_at": format!("{dt} 23:30:00")}).to_string()
    };
    assert!(rows.len() >= 4, "{rows:?}");
    rows.iter().map(line).collect()
}

fn pipeline(place: &Place, lines: &str) -> PathBuf {
    place.write(
        "pipeline.toml",
        format!("name = \"test\"\ngateway = \"portals\"\n[files]\n{lines}\n[lake]\nurl = \"lake\"\n"),
    )
}

const WRAPPED: &str = "paths = [\"exports\"]\nanswer = \"/answer\"\nshop_id = \"/shop_id\"\n\
                       fetched_at = \"/fetched_at\"\ndt_from = \"fetched_at\"";

/// The rows of a table that were seen on their own day, without what a file cannot know.
fn seen(content: &BTreeMap<&'static str, Vec<Row>>, table: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = content[table]
        .iter()
        .filter(|row| row.get("observed_dt").is_none_or(|observed| *observed == row["dt"]))
        .filter(|row| row.get("status").is_none_or(|status| status != "delisted"))
        .cloned()
        .collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn a_folder_of_captures_over_three_days_becomes_three_publications() {
    let (live, place) = (three_nights().await, Place::new());
    let mut first = captured(&live, day(18)).await;
    // One page stands in the export twice.
    first.push(first[0].clone());
    let twice = first[0].matches("\"item_id\"").count();
    place.write("exports/a.jsonl", first.join("\n"));
    let mut second = captured(&live, day(19)).await;
    second.push("{\"answer\": {\"seller_items_list".to_owned());
    second.push("<html>502</html>".to_owned());
    let busy = json!({"error_response": {"code": 5002, "msg": "系统繁忙"}});
    second.push(json!({"answer": busy, "shop_id": "s", "fetched_at": "2026-11-19 23:31:00"}).to_string());
    let packed = zstd::encode_all(second.join("\n").as_bytes(), 3).unwrap();
    place.write("exports/deeper/b.jsonl.zst", packed);
    for (number, line) in captured(&live, day(20)).await.into_iter().enumerate() {
        place.write(&format!("exports/c/{number}.json"), line);
    }
    place.write("exports/readme.txt", "not an export");
    pipeline(&place, WRAPPED);

    let ended = huopan(place.path(), &["run", "pipeline.toml", "--json"]).await;
    assert_eq!(ended.code, 3, "no export states the official count: {ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let counts: Vec<_> = report["publications"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["dt"].as_str().unwrap().to_owned(), one["duplicates"].clone(), one["quarantined"].clone()))
        .collect();
    let expected = [("2026-11-18", twice, 0), ("2026-11-19", 0, 3), ("2026-11-20", 0, 0)];
    assert_eq!(counts, expected.map(|(dt, duplicates, set_aside)| (dt.into(), duplicates.into(), set_aside.into())));
    for dt in [day(18), day(19), day(20)] {
        let (said, loaded) = (live.content(dt).await, place.content(dt).await);
        assert_eq!(seen(&loaded, "offers"), seen(&said, "offers"), "{dt}");
        assert!(seen(&loaded, "offers").len() > 90);
    }
    let (said, loaded) = (live.content(day(18)).await, place.content(day(18)).await);
    assert_eq!(loaded["price_tiers"], said["price_tiers"]);
    let reasons = place.rows("select reason, record from quarantine order by reason, record").await;
    assert_eq!(reasons.len(), 3);
    assert!(reasons.iter().any(|row| row["record"] == "<html>502</html>"), "{reasons:?}");
    assert!(reasons.iter().any(|row| row["reason"].contains("5002")), "{reasons:?}");
    let from = |row: &Row| row["reason"].contains(" (exports/deeper/b.jsonl.zst:") && !row["reason"].contains("HTTP");
    assert!(reasons.iter().all(from), "each says its file and line: {reasons:?}");
    let shown = huopan(place.path(), &["quarantine", "show", "1", "--dt", "2026-11-19", "--lake", "lake"]).await;
    assert!(shown.stdout.contains(": endpoint listing, exports/deeper/b.jsonl.zst:"), "{shown:?}");
    let funnel = "select count(*) from runs where received <> loaded + duplicates + quarantined or received = 0";
    assert_eq!(place.value(funnel).await, "0");
    assert_eq!(place.delta_counts().await, place.counts().await);
    assert_eq!(place.value("select count(*) from calls").await, "0", "captures are no calls");
    let fetched = "select distinct cast(fetched_at as varchar) as at from offers where dt = '2026-11-18'";
    assert_eq!(place.value(fetched).await, "2026-11-18T15:30:00Z");

    // Loaded once more, the days say the same.
    let before = place.content(day(19)).await;
    let ended = huopan(place.path(), &["run", "pipeline.toml"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert_eq!(place.content(day(19)).await, before);
    assert_eq!(place.value("select count(*) from runs").await, "6");
}

#[tokio::test]
async fn captures_without_a_wrapper_stand_for_the_day_of_the_run() {
    let place = Place::new();
    let item =
        |id: i64| json!({"item_id": id, "title": "杯", "price": "3.50", "moq": "2件", "wholesalePrice": "2-99:3.5"});
    let answer = |items: Value| json!({"seller_items_list_get_response": {"items": {"item": items}}}).to_string();
    place.write("one.json", answer(json!([item(712_757_874_907), {"title": "no id"}, 7])));
    place.write("more.jsonl", format!("{}\n{}\n", answer(json!(item(522_009_708_459_i64))), answer(json!(""))));
    pipeline(&place, "paths = [\"*.json\", \"more.jsonl\"]");
    let ended = huopan(place.path(), &["run", "pipeline.toml", "--dt", "2026-11-20"]).await;
    assert!(ended.stdout.contains("received 4 = loaded 2 + duplicates 0 + quarantined 2"), "{ended:?}");
    let rows = place.rows("select offer_id, cast(dt as varchar) as dt, moq_pieces from offers order by offer_id").await;
    let rows: Vec<_> = rows.iter().map(|row| (&*row["offer_id"], &*row["dt"], &*row["moq_pieces"])).collect();
    assert_eq!(rows, [("522009708459", "2026-11-20", "2"), ("712757874907", "2026-11-20", "2")]);
}

#[tokio::test]
async fn a_path_that_stands_for_nothing_is_said() {
    let place = Place::new();
    pipeline(&place, "paths = [\"exports/*.jsonl\"]");
    let ended = huopan(place.path(), &["run", "pipeline.toml"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(ended.stderr.starts_with("error: no captured answers match `"), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: correct `files.paths`"), "{}", ended.stderr);
}
