//! Days that were stopped, fetched again in part, or damaged since.

use bytes::Bytes;
use huopan::transform::contract::Table;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::resume::{calm, short_listing, stopped};
use crate::support::load;

fn on(number: u32) -> RunOptions {
    RunOptions { dt: Some(day(number)), ..RunOptions::default() }
}

/// `huopan run` of the 20th.
async fn start(place: &Place) -> Ended {
    huopan(place.path(), &["run", "pipeline.toml", "--dt", "2026-11-20"]).await
}

async fn attempts(place: &Place) -> Vec<String> {
    let runs = place.rows("select attempt, status, kind, calls_used from runs order by attempt").await;
    let line = |row: &Row| format!("{} {} {} {}", row["attempt"], row["status"], row["kind"], row["calls_used"]);
    runs.iter().map(line).collect()
}

#[tokio::test]
async fn what_a_stopped_run_has_landed_is_left_to_its_next_start_or_published_as_incomplete() {
    let sim = sim::start(Options { shop_sizes: vec![300, 200], ..quick() }).await.unwrap();
    let (place, undisturbed) = (Place::new(), Place::new());
    publish(&undisturbed.shops(&sim, Gateway::Portals), day(20)).await;
    let before = sim.stats().calls;
    // Eight pages are the first shop's.
    stopped(&calm(place.shops(&sim, Gateway::Portals)), on(20), 10).await;
    let calls = sim.stats().calls;

    let left = replay(&place, "2026-11-20", &[]).await;
    assert_eq!(left.code, 3, "{left:?}");
    for part in [
        "2026-11-20: left alone\n",
        "is unfinished (stopped by a signal): `huopan run ",
        "pipeline.toml --dt 2026-11-20` goes on with it; `--stopped` publishes what it has, as incomplete\n",
    ] {
        assert!(left.stdout.contains(part), "no `{part}` in {}", left.stdout);
    }
    assert_eq!(attempts(&place).await, [format!("1 stopped run {}", calls - before)]);

    let files = place.lake_files();
    let shown = replay(&place, "2026-11-20", &["--stopped", "--dry-run", "--json"]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    assert_eq!(place.lake_files(), files, "a dry run writes nothing");
    let ended = replay(&place, "2026-11-20", &["--stopped", "--json"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    let (shown, ended) = (json(&shown)["days"][0].clone(), json(&ended)["days"][0].clone());
    assert_eq!(
        (&ended["outcome"], &ended["publication"]["is_complete"]),
        (&"rebuilt".into(), &false.into()),
        "{ended}"
    );
    for count in ["received", "loaded", "duplicates", "quarantined", "is_complete"] {
        assert_eq!(shown["publication"][count], ended["publication"][count], "{count}: {shown}");
    }
    let expected = [format!("1 stopped run {}", calls - before), "2 published_incomplete run 0".to_owned()];
    assert_eq!(attempts(&place).await, expected);
    let shops = place.rows("select is_complete, incomplete_reason, offer_count > 0 as has_some from shops").await;
    let mut shops: Vec<_> = shops.iter().map(|row| row.values().cloned().collect::<Vec<_>>().join(" ")).collect();
    shops.sort();
    assert!(shops[0].starts_with("true listed up to page ") && shops[0].ends_with(" false"), "{shops:?}");
    assert_eq!(shops[1], format!("true {} true", crate::support::NULL), "{shops:?}");
    assert_eq!(sim.stats().calls, calls);

    // The next start asks for the rest alone, and then it is as if nothing had happened.
    let rest = start(&place).await;
    assert_eq!(rest.code, 0, "{rest:?}");
    let last = &attempts(&place).await[2];
    assert_eq!(*last, format!("3 published run {}", sim.stats().calls - calls));
    assert!(sim.stats().calls - calls < 10, "the complete shop is not asked for again");
    assert_eq!(place.content(day(20)).await, undisturbed.content(day(20)).await);
    assert_eq!(place.delta_counts().await, place.counts().await);
}

/// A day with a shop that fits its listing and one that does not; then the definition lets it.
async fn incomplete(place: &Place, sim: &Sim, rule: &str) -> std::path::PathBuf {
    let lines = format!("{}{rule}", shop_lines(&sim.world(Gateway::Portals)));
    let path = place.pipeline_file(sim, Gateway::Portals, &lines);
    let definition = std::fs::read_to_string(place.path().join("portals-at-once.toml")).unwrap();
    place.write("portals-at-once.toml", short_listing());
    assert!(!publish(&load(&path), day(20)).await.is_complete());
    place.write("portals-at-once.toml", definition);
    path
}

async fn retried(place: &Place, sim: &Sim, rule: &str) {
    let path = incomplete(place, sim, rule).await;
    let outcome = attempt(&load(&path), on(20)).await.unwrap();
    let Outcome::Published(reports) = outcome else { panic!("{outcome:?}") };
    assert!(reports[0].is_complete() && reports[0].carried > 0, "{reports:?}");
}

#[tokio::test]
async fn a_day_whose_incomplete_shop_was_fetched_again_is_rebuilt_from_both_runs() {
    let sim = sim::start(Options { shop_sizes: vec![60, 150], ..messy() }).await.unwrap();
    let (place, other) = (Place::new(), Place::new());
    retried(&place, &sim, "").await;
    retried(&other, &sim, RULE).await;
    let (before, kept, calls) = (whole(&place, day(20)).await, journals(&place).await, sim.stats().calls);
    let rebuilt = async || {
        let ended = replay(&place, "2026-11-20", &["--json"]).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        let night = json(&ended)["days"][0].clone();
        assert_eq!(night["outcome"], "rebuilt", "{night}");
        night
    };
    let is_same = |night: &Value| {
        let tables = night["differences"].as_array().unwrap().iter();
        tables.into_iter().all(|table| ["changed", "new", "gone"].iter().all(|count| table[count] == 0))
    };
    let night = rebuilt().await;
    assert!(is_same(&night) && night["notes"].as_array().unwrap().is_empty(), "{night}");
    assert_eq!(whole(&place, day(20)).await, before);
    // Of both runs the answers lie in one file now.
    assert_eq!(huopan(place.path(), &["lake", "optimize", "--lake", "lake"]).await.code, 0);
    let night = rebuilt().await;
    assert!(is_same(&night), "{night}");
    assert_eq!(whole(&place, day(20)).await, before);

    // A rule reaches the shop that only the first run asked for, too.
    place.pipeline_file(&sim, Gateway::Portals, &format!("{}{RULE}", shop_lines(&sim.world(Gateway::Portals))));
    assert!(!is_same(&rebuilt().await));
    assert_eq!(place.content(day(20)).await, other.content(day(20)).await);

    // Once the log has forgotten the first run, its shop stays as it is published.
    crate::support::age(&place.lake(), 40);
    let vacuumed = huopan(place.path(), &["lake", "vacuum", "--yes", "--lake", "lake"]).await;
    assert_eq!(vacuumed.code, 0, "{vacuumed:?}");
    let night = rebuilt().await;
    let note = "what its first run published is no longer known: its published picture is the base";
    assert_eq!(night["notes"], serde_json::json!([note]));
    assert!(is_same(&night), "{night}");
    assert_eq!(place.content(day(20)).await, other.content(day(20)).await);
    assert_eq!((journals(&place).await, sim.stats().calls), (kept, calls));
}

#[tokio::test]
async fn what_a_stopped_retry_has_landed_is_published_upon_what_stands() {
    let sim = sim::start(Options { shop_sizes: vec![60, 150], ..quick() }).await.unwrap();
    let place = Place::new();
    let path = incomplete(&place, &sim, "").await;
    let world = sim.world(Gateway::Portals);
    let of_shop = |shop: usize| format!("select offer_id from offers where shop_id = '{}'", world.shops[shop].shop_id);
    let (fits, large) = (place.rows(&of_shop(0)).await, place.rows(&of_shop(1)).await);
    stopped(&calm(load(&path)), on(20), 1).await;
    let ended = replay(&place, "2026-11-20", &["--stopped", "--json"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    let days = json(&ended)["days"].clone();
    let told: Vec<_> = days.as_array().unwrap().iter().map(|day| day["publication"]["is_complete"].clone()).collect();
    assert_eq!(told, [false, false], "{days}");
    assert_eq!(place.rows(&of_shop(0)).await, fits, "nobody asked for it");
    assert!(place.rows(&of_shop(1)).await.len() >= large.len(), "what is not shown again stays");
    assert_eq!(start(&place).await.code, 0);
    assert_eq!(place.rows(&of_shop(1)).await.len(), world.shops[1].on_sale);
}

/// Spoils one byte of a kept answer, in a file that is whole otherwise.
async fn spoil(place: &Place, seq: u64, number: i64) {
    let store = place.store();
    let name = crate::support::entry_path(seq);
    let mut entry: Value = serde_json::from_slice(&store.get(&name).await.unwrap().unwrap()).unwrap();
    let file = &mut entry["tables"][Table::RawPages.name()][0];
    let path = file["path"].as_str().unwrap().to_owned();
    let builder = ParquetRecordBatchReaderBuilder::try_new(store.get(&path).await.unwrap().unwrap()).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), builder.schema().clone(), None).unwrap();
    let mut spoilt = 0;
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        let numbers = batch.column_by_name("number").unwrap();
        let numbers = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(numbers);
        let at = batch.schema().index_of("body").unwrap();
        let bodies = arrow::array::AsArray::as_binary::<i32>(batch.column(at));
        let bodies = bodies.iter().zip(numbers).map(|(body, of)| {
            let mut body = body.unwrap().to_vec();
            if of == Some(number) {
                // Still an answer, and JSON.
                let digit = body.iter().position(u8::is_ascii_digit).unwrap();
                body[digit] = if body[digit] == b'7' { b'8' } else { b'7' };
                spoilt += 1;
            }
            Some(body)
        });
        let bodies: arrow::array::BinaryArray = bodies.collect();
        let mut columns = batch.columns().to_vec();
        columns[at] = Arc::new(bodies);
        writer.write(&arrow::array::RecordBatch::try_new(batch.schema(), columns).unwrap()).unwrap();
    }
    assert_eq!(spoilt, 1);
    let bytes = Bytes::from(writer.into_inner().unwrap());
    (file["bytes"], file["digest"]) = (bytes.len().into(), Value::Null);
    store.put_durable(&path, bytes).await.unwrap();
    store.put_durable(&name, serde_json::to_vec(&entry).unwrap().into()).await.unwrap();
    place.leave_unwell();
}

#[tokio::test]
async fn an_answer_that_is_not_what_arrived_is_named_and_nothing_is_published_of_its_day() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    for night in [19, 20] {
        sim.set_day(day(night));
        publish(&place.shops(&sim, Gateway::Portals), day(night)).await;
    }
    let before = whole(&place, day(20)).await;
    spoil(&place, 2, 2).await;
    let run_id = place.value("select distinct run_id from offers where dt = '2026-11-20'").await;
    for more in [&["--dry-run"][..], &[]] {
        let ended = replay(&place, "2026-11-19..2026-11-20", more).await;
        assert_eq!(ended.code, 1, "{ended:?}");
        for part in [format!("the kept answer `{run_id}/2` is not what arrived").as_str(), "hint: ", "`raw_pages`"] {
            assert!(ended.stderr.contains(part), "no `{part}` in {}", ended.stderr);
        }
        assert_eq!(whole(&place, day(20)).await, before);
    }
    let replayed = "select cast(dt as varchar) from runs where kind = 'replay'";
    assert_eq!(place.value(replayed).await, "2026-11-19", "the day before it is published, it is not");
}

#[tokio::test]
async fn a_day_that_owes_nothing_to_the_one_before_does_not_follow() {
    let (sim, place) = (sim::start(messy()).await.unwrap(), Place::new());
    let pipeline = place.shops(&sim, Gateway::Portals);
    for night in [19, 20] {
        publish(&pipeline, day(night)).await;
    }
    place.pipeline_file(&sim, Gateway::Portals, &format!("{}{RULE}", shop_lines(&sim.world(Gateway::Portals))));
    let shown = replay(&place, "2026-11-19", &["--dry-run", "--json"]).await;
    let days = json(&shown)["days"].clone();
    let told: Vec<_> =
        days.as_array().unwrap().iter().map(|day| (&day["dt"], &day["differences"][0]["table"])).collect();
    assert_eq!(told, [(&"2026-11-19".into(), &"offers".into())], "{days}");
    assert_ne!(days[0]["differences"][0]["changed"], 0);
}

#[tokio::test]
async fn rows_that_are_new_gone_and_changed_are_told_apart_in_each_table() {
    let place = crate::quarantine::spoilt().await;
    place.leave_unwell();
    let store = place.store();
    let count = async |rows: &str| place.value(&format!("select count(*) from {rows}")).await.parse::<u64>().unwrap();
    let of_day = "dt = '2026-11-21'";
    let (offers, quarantined) =
        (count(&format!("offers where {of_day}")).await, count(&format!("quarantine where {of_day}")).await);
    let first_tiers = count(&format!("price_tiers where {of_day} and tier_no = 1")).await;
    let tiers = count(&format!("price_tiers where {of_day}")).await;
    assert!(offers > 10 && quarantined > 1 && tiers > first_tiers, "{offers} {quarantined} {tiers} {first_tiers}");
    let (of_shop, of_tier) = ("shop_id nulls first", "shop_id nulls first, offer_id, sku_id nulls first, tier_no");
    let without = "and shop_id is not null and shop_id <> (select min(shop_id) from shops)";
    // What stands as published lacks rows, has others, or other values; new, gone and changed by a replay.
    for (table, columns, rows, order, expected) in [
        (
            "offers",
            "",
            "and offer_id <> (select min(offer_id) from offers)",
            "shop_id nulls first, offer_id",
            (1, 0, 0),
        ),
        ("offers", "replace ('x' as title)", "", "shop_id nulls first, offer_id", (0, 0, offers)),
        ("price_tiers", "", "and tier_no <> 1", of_tier, (first_tiers, 0, 0)),
        ("price_tiers", "replace (tier_no + 100 as tier_no)", "", of_tier, (tiers, tiers, 0)),
        ("shops", "", without, of_shop, (1, 0, 0)),
        ("shops", "replace (listed_count + 1 as listed_count)", without, of_shop, (1, 0, 1)),
        ("quarantine", "replace ('x' as reason)", "", of_shop, (quarantined, quarantined, 0)),
        ("quarantine", "", "limit 1", of_shop, (quarantined - 1, 0, 0)),
    ] {
        let (rows, limit) = if rows.starts_with("limit") { ("", rows) } else { (rows, "") };
        let sql = format!(
            "select * exclude (dt, pipeline) {columns} from {table} where {of_day} {rows} order by {order} {limit}"
        );
        let published = crate::support::forge(&store, 2, table, &sql).await;
        let shown = replay(&place, "2026-11-21", &["--dry-run", "--json"]).await;
        assert_eq!(shown.code, 0, "{shown:?}");
        let night = json(&shown)["days"][0].clone();
        for told in night["differences"].as_array().unwrap() {
            let counts = ["new", "gone", "changed"].map(|count| told[count].as_u64().unwrap());
            let is_it = told["table"] == table;
            let expected = if is_it { [expected.0, expected.1, expected.2] } else { [0, 0, 0] };
            assert_eq!(counts, expected, "{table} {columns} {rows}: {told}");
            if columns.contains("title") && is_it {
                let [title] = &told["columns"].as_array().unwrap()[..] else { panic!("{told}") };
                assert_eq!((&title["column"], &title["rows"]), (&"title".into(), &offers.into()));
                let examples = title["examples"].as_array().unwrap();
                assert!(examples.len() == 3 && examples.iter().all(|example| example["before"] == "x"), "{title}");
            }
        }
        store.put_durable(&crate::support::entry_path(2), published).await.unwrap();
    }
}

#[tokio::test]
async fn a_day_of_which_some_answers_are_no_longer_kept_stands() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    publish(&place.shops(&sim, Gateway::Portals), day(20)).await;
    place.leave_unwell();
    let (store, before) = (place.store(), whole(&place, day(20)).await);
    // Of two files that hold its answers one is gone.
    crate::support::forge(&store, 1, "raw_pages", "select * exclude (dt, pipeline) from raw_pages where number < 3")
        .await;
    let name = crate::support::entry_path(1);
    let mut entry: Value = serde_json::from_slice(&store.get(&name).await.unwrap().unwrap()).unwrap();
    let files = entry["tables"]["raw_pages"].as_array_mut().unwrap();
    let mut gone = files[0].clone();
    gone["path"] = gone["path"].as_str().unwrap().replace("-00000-", "-00001-").into();
    files.push(gone);
    store.put_durable(&name, serde_json::to_vec(&entry).unwrap().into()).await.unwrap();
    let ended = replay(&place, "2026-11-20", &["--json"]).await;
    let night = json(&ended)["days"][0].clone();
    assert_eq!(night["outcome"], "stands", "{night}");
    assert!(night["notes"][0].as_str().unwrap().ends_with("is missing: it stands as published"), "{night}");
    assert_eq!(whole(&place, day(20)).await, before);
}

#[tokio::test]
async fn the_answers_of_a_day_are_read_by_what_its_run_asked_for() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let lines = |skus: &str| format!("{}\n[fetch]\nskus = \"{skus}\"", shop_lines(&sim.world(Gateway::Portals)));
    // The other way round, a night without SKUs must not lack them.
    for (dt, skus) in [(19, "off"), (20, "missing"), (21, "off")] {
        sim.set_day(day(dt));
        publish(&place.pipeline(&sim, Gateway::Portals, &lines(skus)), day(dt)).await;
    }
    let skus = "select dt, count(*) as n from skus group by dt order by dt";
    let before = place.rows(skus).await;
    assert!(before.iter().any(|row| row["dt"] == "2026-11-20" && row["n"] != "0"), "{before:?}");
    for skus_now in ["off", "missing"] {
        place.pipeline_file(&sim, Gateway::Portals, &lines(skus_now));
        let ended = replay(&place, "2026-11-19..2026-11-21", &[]).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(ended.stdout.matches("nothing differs from what was published").count(), 3, "{ended:?}");
        assert_eq!(place.rows(skus).await, before);
    }
}
