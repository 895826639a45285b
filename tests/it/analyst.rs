//! Groups, earlier publications, the ledger and users' own views, as an analyst meets them.

use huopan::sim::{self, Gateway, Sim};
use huopan::transform::contract::Table;

use crate::support::{Ended, Place, day, huopan, publish, quick};

/// A lake with two published nights.
async fn two_nights() -> (Place, Sim) {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = place.shops(&sim, Gateway::Portals);
    for night in [20, 21] {
        sim.set_day(day(night));
        publish(&pipeline, day(night)).await;
    }
    (place, sim)
}

async fn sql(place: &Place, more: &[&str]) -> Ended {
    huopan(place.path(), &[&["sql", "--lake", "lake", "--format", "csv"], more].concat()).await
}

async fn answered(place: &Place, more: &[&str]) -> String {
    let ended = sql(place, more).await;
    assert_eq!(ended.code, 0, "{more:?}: {ended:?}");
    ended.stdout
}

#[tokio::test]
async fn groups_are_loaded_from_a_spreadsheet_and_say_who_is_cheapest() {
    let (place, _sim) = two_nights().await;
    let shown = huopan(place.path(), &["groups", "show", "--lake", "lake"]).await;
    assert_eq!(shown.code, 1);
    assert!(shown.stderr.contains("this lake has no groups\nhint: load a file"), "{shown:?}");

    let shop = place.value("select min(shop_id) from shops").await;
    let text = format!("分组,标题,店铺,自家,数量\r\n水杯,杯,,,500\r\n水杯,杯,{shop},是,\r\n没有的,没有这种货,,,\r\n");
    let (gbk, _, _) = encoding_rs::GBK.encode(&text);
    place.write("groups.csv", &gbk);
    let loaded = huopan(place.path(), &["groups", "load", "groups.csv", "--lake", "lake"]).await;
    assert_eq!(loaded.code, 0, "{loaded:?}");
    assert!(loaded.stdout.ends_with("\n没有的: 0 offers of 0 shops, 0 our own\n"), "{loaded:?}");
    assert!(loaded.stderr.contains("warning: no offer of the last published day is in group `没有的`"), "{loaded:?}");

    let cups = "select count(*) from latest_offers where title like '%杯%'";
    let (all, ours) = (place.value(cups).await, place.value(&format!("{cups} and shop_id = '{shop}'")).await);
    let counted = "select count(*) as n, count(*) filter (where is_ours) as ours from group_offers";
    assert_eq!(answered(&place, &["-c", counted]).await, format!("n,ours\n{all},{ours}\n"));
    let number = |text: &String| text.parse::<u32>().unwrap();
    assert!(number(&all) > number(&ours) && number(&ours) > 0, "{all} {ours}");
    // The cheapest of the group is the cheapest of all that `price_at` says can be bought so.
    let cheapest = "select min(price_per_piece) as p from price_at(500) where buyable and title like '%杯%'";
    let first = "select min(price_per_piece) as p from competitor_position() where position = 1 and currency = 'CNY'";
    assert_eq!(answered(&place, &["-c", first]).await, answered(&place, &["-c", cheapest]).await);

    place.write("groups.csv", "group,title\nA,杯\nA,杯\n");
    let again = huopan(place.path(), &["groups", "load", "groups.csv", "--lake", "lake"]).await;
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stderr.contains("groups.csv:3:1") && again.stderr.contains("the same offers"), "{again:?}");
    let json = huopan(place.path(), &["groups", "show", "--json", "--lake", "lake"]).await;
    let document: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(document["groups"][0]["group"], "水杯", "the file before still holds");
    assert_eq!(document["groups"][0]["offers"].to_string(), all);
}

#[tokio::test]
async fn the_sample_is_a_groups_file() {
    let place = Place::new();
    let printed = huopan(place.path(), &["groups", "example"]).await;
    let file = place.write("groups.csv", &printed.stdout);
    assert!(huopan::config::groups::load_groups(&file).unwrap().len() > 3);
}

#[tokio::test]
async fn an_earlier_publication_is_read_as_it_was() {
    let (place, sim) = two_nights().await;
    let days = "select dt, count(*) as n from offers group by dt order by dt";
    let first = answered(&place, &["--as-of", "2026-11-20", "-c", days]).await;
    assert_eq!(first.lines().count(), 2, "one day was published then: {first}");
    let now = answered(&place, &["-c", days]).await;
    assert_eq!(answered(&place, &["--as-of", "2026-11-21", "-c", days]).await, now);
    // Published again, the first day has other rows; as of then it still has the old ones.
    let sum = "select sum(price) as p from offers where dt = '2026-11-20'";
    let before = answered(&place, &["--as-of", "2026-11-20", "-c", sum]).await;
    sim.set_day(day(23));
    let pipeline = place.shops(&sim, Gateway::Portals);
    let options = huopan::run::Options { dt: Some(day(20)), refresh: true, ..Default::default() };
    crate::support::attempt(&pipeline, options).await.unwrap();
    assert_ne!(answered(&place, &["-c", sum]).await, before);
    assert_eq!(answered(&place, &["--as-of", "2026-11-20", "-c", sum]).await, before);
    let runs = "select run_id from runs where dt = '2026-11-20' order by started_at limit 1";
    let run = place.value(runs).await;
    assert_eq!(answered(&place, &["--as-of", &run, "-c", sum]).await, before);
    assert_eq!(answered(&place, &["--as-of", &run, "-c", days]).await, first);

    // A run is named as everywhere: by the beginning of its id, or as the latest.
    assert_eq!(answered(&place, &["--as-of", "latest", "-c", sum]).await, answered(&place, &["-c", sum]).await);
    let begins = place.value("select min(run_id) from runs").await;
    let ends = place.value("select max(run_id) from runs").await;
    let common: String =
        ends.chars().zip(begins.chars()).take_while(|(one, other)| one == other).map(|(one, _)| one).collect();
    for words in [&["sql", "--as-of", &common, "-c", "select 1"][..], &["runs", "show", &common]] {
        let ended = huopan(place.path(), &[words, &["--lake", "lake"]].concat()).await;
        assert!(ended.code == 1 && ended.stdout.is_empty(), "{ended:?}");
        assert!(
            ended.stderr.contains(&format!("the ids of 3 runs begin with `{common}`\nhint: say which: `")),
            "{ended:?}"
        );
        assert!(ended.stderr.contains(" of 2026-11-21"), "{ended:?}");
    }
    let latest = huopan(place.path(), &["runs", "show", "latest", "--lake", "lake"]).await;
    let newest = ends;
    assert!(latest.stdout.starts_with(&format!("run {newest}: pipeline `test`, 2026-11-20")), "{latest:?}");
    assert_eq!(huopan(place.path(), &["runs", "show", &newest[..20], "--lake", "lake"]).await.stdout, latest.stdout);

    let cases = [
        (2, "yesterday", "neither a day like 2026-11-20 nor the beginning of a run's id"),
        (1, "2026-11-01", "nothing was published for 2026-11-01 or an earlier day"),
        (1, "00000000-0000-7000-8000-000000000000", "no run's id begins with `00000000-0000-7000-8000-000000000000`"),
    ];
    for (code, as_of, expected) in cases {
        let ended = sql(&place, &["--as-of", as_of, "-c", "select 1"]).await;
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.stderr.contains(expected), "{ended:?}");
    }
}

#[tokio::test]
async fn calls_are_a_table_of_the_pipeline_that_made_them() {
    let (place, _sim) = two_nights().await;
    let ledger = "select account, account_key, gateway, calls, calls_per_day - calls - calls_left as z from ledger";
    let env = [("SECRET", "sim-secret")];
    let words = ["sql", "--pipeline", "pipeline.toml", "--format", "csv", "-c", ledger];
    let ended = crate::support::huopan_with(place.path(), &words, &env).await;
    let calls = place.value("select count(*) from calls").await;
    let expected = format!("account,account_key,gateway,calls,z\nmain,sim-app,portals,{calls},0\n");
    assert_eq!(ended.stdout, expected, "{ended:?}");
    let unnamed = sql(&place, &["-c", "select * from ledger"]).await;
    assert_eq!(unnamed.code, 1);
    assert!(unnamed.stderr.contains("hint: name the pipeline: `--pipeline FILE`"), "{unnamed:?}");
}

#[tokio::test]
async fn users_views_stand_beside_their_pipeline() {
    let (place, _sim) = two_nights().await;
    place.write("views/cups.sql", "-- cups: what holds tea\nselect * from latest_offers where title_fits(title, '杯')");
    let env = [("SECRET", "sim-secret")];
    let words = ["sql", "--pipeline", "pipeline.toml", "--format", "csv", "-c", "select count(*) as n from cups"];
    let ended = crate::support::huopan_with(place.path(), &words, &env).await;
    assert_eq!(ended.stdout, answered(&place, &["--views", "views", "-c", "select count(*) as n from cups"]).await);
    let unknown = sql(&place, &["-c", "select * from cups"]).await;
    assert!(unknown.stderr.contains("there is no table `cups`"), "{unknown:?}");
    let nowhere = sql(&place, &["--views", "nowhere", "-c", "select 1"]).await;
    assert!(nowhere.stderr.contains("`nowhere` is no folder"), "{nowhere:?}");
    place.write("views/offers.sql", "select 1");
    place.write("views/Bad Name.sql", "select 1");
    place.write("views/broken.sql", "-- broken: cups\nselect shop_nam\nfrom cups");
    let stray = sql(&place, &["--views", "views", "-c", "select count(*) as n from cups"]).await;
    assert_eq!((stray.code, &stray.stdout), (0, &ended.stdout), "a stray file takes nothing from anybody: {stray:?}");
    for part in ["offers.sql` has the name of a table", "Bad Name.sql` gives no name that SQL takes"] {
        assert_eq!(stray.stderr.matches(part).count(), 1, "{stray:?}");
    }
    let broken = sql(&place, &["--views", "views", "-c", "select * from broken"]).await;
    assert_eq!(broken.code, 1);
    for part in
        ["view `broken` (`views/broken.sql`): there is no column `shop_nam`", "2 | select shop_nam", "`shop_name`"]
    {
        assert!(broken.stderr.contains(part), "no {part}: {broken:?}");
    }
}

#[tokio::test]
async fn the_dictionary_is_written_as_pages() {
    let place = Place::new();
    let ended = huopan(place.path(), &["schema", "-o", "tables.html"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{ended:?}");
    let page = std::fs::read_to_string(place.path().join("tables.html")).unwrap();
    assert!(Table::ALL.iter().all(|table| page.contains(&format!("id=\"{}\"", table.name()))));
    let terminal = huopan(place.path(), &["schema", "units", "--format", "terminal"]).await;
    assert!(terminal.stdout.contains("半打"), "{terminal:?}");
}
