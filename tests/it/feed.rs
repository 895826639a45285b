//! The feed: applied in its order it keeps a copy of the newest picture; consumers; the command line.

use std::collections::{BTreeMap, BTreeSet};

use huopan::feed::{Cursor, Scope, Sensitivity, TABLES, backlog, changes};
use huopan::load::Retained;
use huopan::sim::{self, Gateway, Sim};
use huopan::store::Store;
use huopan::transform::contract::Table;

use crate::support::{Place, Row, day, forge, huopan, item_lines, publish, quick, rows_of};

/// The rows of a feed since a cursor, and the cursor after them.
async fn feed(store: &Store, since: &Cursor, scope: Scope) -> (Vec<Row>, Cursor) {
    let snapshot = Retained::load(store).await.unwrap();
    let backlog = backlog(store, &snapshot, since, usize::MAX).await.unwrap();
    let mut rows = Vec::new();
    for step in &backlog.steps {
        let mut give = |_, batch: &_| {
            rows.extend(rows_of(batch));
            Ok(())
        };
        changes::of(store, step, scope, &mut give).await.unwrap();
    }
    (rows, backlog.cursor)
}

/// A copy that knows nothing but the feed's rows.
#[derive(Debug, Default)]
struct Mirror(BTreeMap<Vec<String>, Row>);

impl Mirror {
    fn apply(&mut self, table: Table, rows: &[Row]) {
        for row in rows.iter().filter(|row| row["kind"] != "correction") {
            let key = key(table, row);
            match (row["kind"].as_str(), row["op"].as_str()) {
                ("new", "upsert") => assert!(self.0.insert(key, content(row)).is_none(), "known already: {row:?}"),
                ("changed", "upsert") => {
                    let before = self.0.insert(key, content(row)).unwrap_or_else(|| panic!("unknown: {row:?}"));
                    assert_ne!(before, content(row), "nothing of it has changed");
                }
                ("gone" | "dropped", "delete") => assert!(self.0.remove(&key).is_some(), "unknown: {row:?}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn key(table: Table, row: &Row) -> Vec<String> {
    let columns: &[&str] = match table {
        Table::Offers => &["pipeline", "offer_id"],
        Table::PriceTiers => &["pipeline", "offer_id", "sku_id", "tier_no"],
        _ => &["pipeline", "offer_id", "sku_id"],
    };
    columns.iter().map(|column| row[*column].clone()).collect()
}

/// A row without what differs although nothing has changed, and without the feed's own columns.
fn content(row: &Row) -> Row {
    let mut row = row.clone();
    for column in [
        "kind",
        "op",
        "proven",
        "publish_seq",
        "published_at",
        "previous_dt",
        "dt",
        "run_id",
        "raw_ref",
        "fetched_at",
        "detail_fetched_at",
        "observed_dt",
    ] {
        row.remove(column);
    }
    row
}

async fn picture(place: &Place, table: Table) -> BTreeMap<Vec<String>, Row> {
    let live = if table == Table::Offers { " where status <> 'delisted'" } else { "" };
    let rows = place.rows(&format!("select * from latest_{table}{live}")).await;
    rows.iter().map(|row| (key(table, row), content(row))).collect()
}

/// Three nights of a world that evolves, and a second look at the last of them.
async fn nights() -> (Place, Sim) {
    let options = sim::Options { shop_sizes: vec![300, 200], ..quick() };
    let (sim, place) = (sim::start(options).await.unwrap(), Place::new());
    let pipeline = place.shops(&sim, Gateway::Portals);
    publish_nights(&sim, &pipeline).await;
    (place, sim)
}

async fn publish_nights(sim: &Sim, pipeline: &huopan::config::Pipeline) {
    for night in [12, 16, 20, 20] {
        sim.set_day(day(night));
        publish(pipeline, day(night)).await;
    }
}

#[tokio::test]
async fn a_copy_that_applies_the_feed_is_the_newest_picture() {
    let (place, _sim) = nights().await;
    for table in [Table::Offers, Table::PriceTiers] {
        let scope = Scope { table, sensitivity: Sensitivity::Volatile };
        let (all, end) = feed(&place.store(), &Cursor::default(), scope).await;
        let mut mirror = Mirror::default();
        mirror.apply(table, &all);
        let expected = picture(&place, table).await;
        assert!(!expected.is_empty());
        assert_eq!(mirror.0.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{table}");
        assert_eq!(mirror.0, expected, "{table}");
        for kind in ["new", "changed"] {
            assert!(all.iter().any(|row| row["kind"] == kind && row["publish_seq"] != "1"), "{table}: no {kind}");
        }
        // A publication that changed nothing tells nothing, and the end of a feed is the end.
        assert!(all.iter().all(|row| row["publish_seq"] != "4"), "{table}");
        assert_eq!(feed(&place.store(), &end, scope).await, (Vec::new(), end));
    }
}

#[tokio::test]
async fn a_copy_of_the_skus_follows_too() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let items = item_lines(&sim.world(Gateway::ProductGet));
    publish_nights(&sim, &place.pipeline(&sim, Gateway::ProductGet, &items)).await;
    for table in TABLES {
        let scope = Scope { table, sensitivity: Sensitivity::Volatile };
        let mut mirror = Mirror::default();
        mirror.apply(table, &feed(&place.store(), &Cursor::default(), scope).await.0);
        let expected = picture(&place, table).await;
        assert!(!expected.is_empty());
        assert_eq!(mirror.0, expected, "{table}");
    }
}

#[tokio::test]
async fn a_stock_that_moves_is_told_to_those_alone_who_ask_for_it() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let items = item_lines(&sim.world(Gateway::ProductGet));
    let pipeline = place.pipeline(&sim, Gateway::ProductGet, &items);
    for night in [16, 20] {
        sim.set_day(day(night));
        publish(&pipeline, day(night)).await;
    }
    let since = "v1:test=1".parse().unwrap();
    let told = async |sensitivity| {
        let (rows, _) = feed(&place.store(), &since, Scope { table: Table::Skus, sensitivity }).await;
        rows.iter().filter(|row| row["kind"] == "changed").count()
    };
    let before = told(Sensitivity::Content).await;
    let moved = "select * exclude (dt, pipeline) replace (stock_pieces + 1 as stock_pieces) from skus
         where dt = '2026-11-20'";
    forge(&place.store(), 2, "skus", moved).await;
    place.leave_unwell();
    assert_eq!(told(Sensitivity::Content).await, before);
    assert!(told(Sensitivity::Volatile).await > before, "of the offers that changed");
    // Rows out of their order would be told as gone and new.
    forge(
        &place.store(),
        2,
        "offers",
        "select * exclude (dt, pipeline) from offers where dt = '2026-11-20' order by title",
    )
    .await;
    let (store, log) = (place.store(), Retained::load(&place.store()).await.unwrap());
    let backlog = backlog(&place.store(), &log, &since, 1).await.unwrap();
    let scope = Scope { table: Table::Offers, sensitivity: Sensitivity::Content };
    let error = changes::of(&store, &backlog.steps[0], scope, &mut |_, _| Ok(())).await.unwrap_err();
    assert!(error.to_string().ends_with("of publication 2 of `test` are out of order"), "{error}");
}

#[tokio::test]
async fn tiers_that_a_changed_offer_no_longer_has_are_gone() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = place.shops(&sim, Gateway::Portals);
    for night in [16, 20] {
        sim.set_day(day(night));
        publish(&pipeline, day(night)).await;
    }
    place.leave_unwell();
    let tiers = "select * exclude (dt, pipeline) {} from price_tiers where dt = '2026-11-16'";
    let more = tiers.replace("{}", "replace (tier_no + 100 as tier_no)");
    let order = "order by shop_id nulls first, offer_id, sku_id nulls first, tier_no";
    forge(&place.store(), 1, "price_tiers", &format!("{} union all {more} {order}", tiers.replace("{}", ""))).await;
    let since = "v1:test=1".parse().unwrap();
    let told = async |table| feed(&place.store(), &since, Scope { table, sensitivity: Sensitivity::Content }).await.0;
    let changed: BTreeSet<String> = told(Table::Offers)
        .await
        .into_iter()
        .filter(|row| row["kind"] == "changed")
        .map(|row| row["offer_id"].clone())
        .collect();
    let had = place.rows("select offer_id, tier_no from price_tiers where dt = '2026-11-16' and tier_no > 100").await;
    let had = had.iter().filter(|row| changed.contains(&row["offer_id"])).count();
    let gone: Vec<Row> = told(Table::PriceTiers)
        .await
        .into_iter()
        .filter(|row| changed.contains(&row["offer_id"]) && row["tier_no"].parse::<i32>().unwrap() > 100)
        .collect();
    assert!(had > 3);
    assert_eq!(gone.len(), had);
    assert!(gone.iter().all(|row| (row["kind"].as_str(), row["op"].as_str()) == ("gone", "delete")), "{gone:?}");
}

#[tokio::test]
async fn kinds_agree_with_the_views() {
    let (place, _sim) = nights().await;
    let scope = Scope { table: Table::Offers, sensitivity: Sensitivity::Content };
    let (rows, _) = feed(&place.store(), &"v1:test=1".parse().unwrap(), scope).await;
    let ids = |kind: &str| {
        let of_kind = rows.iter().filter(|row| row["kind"] == kind && row["proven"] == "true");
        let mut ids: Vec<(String, String)> = of_kind.map(|row| (row["dt"].clone(), row["offer_id"].clone())).collect();
        ids.sort();
        ids
    };
    for (kind, view) in [("new", "new_offers"), ("gone", "delisted_offers")] {
        let view = place.rows(&format!("select dt, offer_id from {view} order by dt, offer_id")).await;
        let mut expected: Vec<_> = view.iter().map(|row| (row["dt"].clone(), row["offer_id"].clone())).collect();
        expected.sort();
        assert_eq!(ids(kind), expected, "{kind}");
    }
    let changed = place
        .rows(
            "select o.dt, o.offer_id from offers o join before.offers b
             on b.dt = o.dt and b.offer_id = o.offer_id where o.content_hash <> b.content_hash
             and o.status <> 'delisted' and b.status <> 'delisted'",
        )
        .await;
    assert_eq!(ids("changed").len(), changed.len());
    for row in rows.iter().filter(|row| row["kind"] == "gone") {
        assert_eq!((row["status"].as_str(), row["op"].as_str()), ("delisted", "delete"));
        assert_ne!(row["previous_dt"], row["dt"]);
    }
}

#[tokio::test]
async fn an_incomplete_shop_makes_nothing_gone_and_a_shop_that_is_not_watched_any_more_is_dropped() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let world = sim.world(Gateway::Portals);
    publish(&place.shops(&sim, Gateway::Portals), day(20)).await;
    let one = format!("shops = [\"{}\"]", world.shops[0].shop_id);
    publish(&place.pipeline(&sim, Gateway::Portals, &one), day(21)).await;
    let scope = Scope { table: Table::Offers, sensitivity: Sensitivity::Content };
    let (rows, _) = feed(&place.store(), &"v1:test=1".parse().unwrap(), scope).await;
    assert!(rows.iter().all(|row| row["kind"] != "gone"));
    let dropped: Vec<_> = rows.iter().filter(|row| row["kind"] == "dropped").collect();
    assert_eq!(dropped.len(), world.shops[1].on_sale);
    assert!(dropped.iter().all(|row| row["shop_id"] == world.shops[1].shop_id && row["op"] == "delete"));
    let (dt, run) = (&dropped[0]["dt"], &dropped[0]["run_id"]);
    assert_eq!(
        (dt.as_str(), run.clone()),
        ("2026-11-21", place.value("select distinct run_id from latest_offers").await)
    );
}

#[tokio::test]
async fn an_earlier_day_that_is_published_again_is_a_correction() {
    let (place, sim) = nights().await;
    // The world of the 20th, published as the 16th: something that was published then was wrong.
    sim.set_day(day(20));
    publish(&place.shops(&sim, Gateway::Portals), day(16)).await;
    let scope = Scope { table: Table::Offers, sensitivity: Sensitivity::Content };
    let (rows, _) = feed(&place.store(), &"v1:test=4".parse().unwrap(), scope).await;
    assert!(!rows.is_empty());
    for row in &rows {
        assert_eq!(
            (row["kind"].as_str(), row["dt"].as_str(), row["previous_dt"].as_str()),
            ("correction", "2026-11-16", "2026-11-16")
        );
    }
    assert!(rows.iter().any(|row| row["op"] == "upsert"));
}

#[tokio::test]
async fn a_consumer_gets_each_row_and_its_cursor_follows_what_was_written() {
    let (place, _sim) = nights().await;
    let run = async |arguments: &[&str]| {
        let ended = huopan(place.path(), &[arguments, &["--lake", "lake"]].concat()).await;
        assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.stderr);
        ended
    };
    let lines = |name: &str| std::fs::read_to_string(place.path().join(name)).unwrap().lines().count();
    // Two publications, looked at twice; then taken; then the rest.
    let part = ["feed", "--consumer", "erp", "--publications", "2", "-o"];
    let looked = run(&[&part[..], &["a.jsonl", "--keep"]].concat()).await;
    assert_eq!(looked.stdout, "v1:test=2\n");
    assert!(looked.stderr.contains("2 publications are left"), "{}", looked.stderr);
    run(&[&part[..], &["b.jsonl"]].concat()).await;
    assert_eq!(lines("a.jsonl"), lines("b.jsonl"));
    let rest = run(&["feed", "--consumer", "erp", "--format", "csv", "-o", "c.csv"]).await;
    assert_eq!(rest.stdout, "v1:test=4\n");
    let all = run(&["feed"]).await;
    assert!(all.stderr.ends_with("cursor: v1:test=4\n"), "{}", all.stderr);
    assert_eq!(all.stdout.lines().count(), lines("b.jsonl") + lines("c.csv") - 1, "without the header");
    let row: serde_json::Value = serde_json::from_str(all.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&row["kind"], &row["publish_seq"], &row["previous_dt"]),
        (&"new".into(), &1.into(), &serde_json::Value::Null)
    );
    let list: serde_json::Value = serde_json::from_str(&run(&["feed", "consumers", "--json"]).await.stdout).unwrap();
    assert_eq!((&list[0]["cursor"], &list[0]["publications_left"]), (&"v1:test=4".into(), &0.into()));
    // Binary formats hold the same rows.
    for format in ["parquet", "arrow"] {
        run(&["feed", "--format", format, "-o", format]).await;
    }
    let parquet = std::fs::File::open(place.path().join("parquet")).unwrap();
    let parquet = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(parquet).unwrap();
    let parquet: usize = parquet.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    let arrow = std::fs::File::open(place.path().join("arrow")).unwrap();
    let arrow = arrow::ipc::reader::StreamReader::try_new(arrow, None).unwrap();
    let arrow: usize = arrow.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!((parquet, arrow), (all.stdout.lines().count(), all.stdout.lines().count()));
    // Back to the start, under another table: refused; then it starts anew.
    let other = huopan(place.path(), &["feed", "--lake", "lake", "--consumer", "erp", "--table", "skus"]).await;
    assert_eq!(other.code, 1);
    assert!(other.stderr.contains("the consumer `erp` takes `offers`"), "{}", other.stderr);
    run(&["feed", "consumers", "reset", "erp"]).await;
    assert_eq!(run(&["feed", "--consumer", "erp"]).await.stdout.lines().count(), all.stdout.lines().count());
    run(&["feed", "consumers", "remove", "erp"]).await;
    let ahead = huopan(place.path(), &["feed", "--lake", "lake", "--since", "v1:test=9"]).await;
    assert_eq!(ahead.code, 1);
    assert!(ahead.stderr.contains("and the lake has 4") && ahead.stderr.contains("hint: "), "{}", ahead.stderr);
}

#[cfg(unix)]
#[tokio::test]
async fn pipes_and_links_are_written_through() {
    let (place, _sim) = nights().await;
    let path = |name: &str| place.path().join(name);
    let run = async |arguments: &[&str]| {
        let ended = huopan(place.path(), &[arguments, &["--lake", "lake"]].concat()).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        ended
    };
    let rows = run(&["feed"]).await.stdout;
    let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
    assert!(made.success());
    let reader = std::thread::spawn({
        let pipe = path("pipe");
        move || std::fs::read_to_string(pipe).unwrap()
    });
    run(&["feed", "--consumer", "erp", "-o", "pipe"]).await;
    let is_pipe = std::os::unix::fs::FileTypeExt::is_fifo(&std::fs::metadata(path("pipe")).unwrap().file_type());
    assert!(is_pipe, "the pipe was replaced");
    assert_eq!(reader.join().unwrap(), rows);
    // A link to a file that is there, and one to a file that is not, from another folder.
    std::fs::create_dir(path("there")).unwrap();
    std::fs::write(path("there/old"), "old").unwrap();
    for name in ["old", "new"] {
        std::os::unix::fs::symlink(format!("there/{name}"), path(name)).unwrap();
        run(&["feed", "-o", name]).await;
        assert!(std::fs::symlink_metadata(path(name)).unwrap().is_symlink(), "the link was replaced");
        assert_eq!(std::fs::read_to_string(path(&format!("there/{name}"))).unwrap(), rows);
    }
    let ended = run(&["feed", "-o", "/dev/stdout"]).await;
    assert_eq!(ended.stdout, rows);
}

#[tokio::test]
async fn of_two_readers_under_one_name_one_moves_the_cursor() {
    let place = Place::new();
    let store = place.store();
    let scope = Scope { table: Table::Skus, sensitivity: Sensitivity::Volatile };
    let start = huopan::feed::consumer::Position {
        name: "erp".into(),
        number: 0,
        scope,
        cursor: Cursor::default(),
        moved_at: None,
    };
    let now = chrono::DateTime::from_timestamp(1_795_190_400, 0).unwrap();
    let (first, second) = ("v1:a=1".parse().unwrap(), "v1:a=2".parse().unwrap());
    huopan::feed::consumer::advance(&store, &start, &first, now).await.unwrap();
    let lost = huopan::feed::consumer::advance(&store, &start, &second, now).await.unwrap_err();
    assert_eq!(lost.kind(), huopan::base::Kind::Conflict);
    let mut kept = huopan::feed::consumer::find(&store, "erp").await.unwrap().unwrap();
    assert_eq!((&kept.cursor, kept.scope, kept.number), (&first, scope, 1));
    for _ in 0..40 {
        huopan::feed::consumer::advance(&store, &kept, &second, now).await.unwrap();
        kept = huopan::feed::consumer::find(&store, "erp").await.unwrap().unwrap();
    }
    assert!(store.list("_huopan/feed").await.unwrap().len() < 40, "old moves are cleared away");
    // A reader who slept through all of that moves nothing.
    assert!(huopan::feed::consumer::advance(&store, &start, &first, now).await.is_err());
    assert_eq!(huopan::feed::consumer::find(&store, "erp").await.unwrap().unwrap().cursor, second);
    assert_eq!(huopan::feed::consumer::all(&store).await.unwrap().len(), 1);
    assert!(huopan::feed::consumer::remove(&store, "erp").await.unwrap());
    assert_eq!(huopan::feed::consumer::find(&store, "erp").await.unwrap(), None);
}
