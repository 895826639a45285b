//! Days that look wrong are held until somebody says so, and then cost no call.

use huopan::sim::{self, Gateway, Options, Sim};
use serde_json::Value;

use crate::support::{Ended, Place, day, huopan, publish, quick, shop_lines};

/// The same world, but the first shop has a third of its offers.
async fn two_worlds() -> (Sim, Sim) {
    let whole = sim::start(quick()).await.unwrap();
    let thin = sim::start(Options { shop_sizes: vec![20, 45], ..quick() }).await.unwrap();
    thin.set_day(day(21));
    (whole, thin)
}

async fn run(place: &Place, arguments: &[&str]) -> Ended {
    huopan(place.path(), &[&["run", "pipeline.toml"], arguments].concat()).await
}

/// The status of each attempt of a day, with its calls.
async fn attempts(place: &Place, dt: &str) -> Vec<String> {
    let sql = format!("select attempt, status, calls_used from runs where dt = '{dt}' order by attempt");
    let line = |row: &crate::support::Row| format!("{} {} {}", row["attempt"], row["status"], row["calls_used"]);
    place.rows(&sql).await.iter().map(line).collect()
}

#[tokio::test]
async fn a_shop_that_loses_most_of_its_offers_is_held_and_published_anyway_without_a_call() {
    let (place, (whole, thin)) = (Place::new(), two_worlds().await);
    publish(&place.shops(&whole, Gateway::Portals), day(20)).await;
    let world = thin.world(Gateway::Portals);
    place.pipeline_file(&thin, Gateway::Portals, &shop_lines(&world));

    let held = run(&place, &["--dt", "2026-11-21"]).await;
    assert_eq!(held.code, 3, "{held:?}");
    let shop = &world.shops[0].shop_name;
    for part in ["2026-11-21: HELD, nothing of it is published", &format!("{shop}: "), " offers would be gone ("] {
        assert!(held.stdout.contains(part), "no `{part}` in {}", held.stdout);
    }
    assert!(!held.stdout.contains(&world.shops[1].shop_name), "the other shop is as it was: {}", held.stdout);
    let calls = thin.stats().calls;
    assert_eq!(attempts(&place, "2026-11-21").await, [format!("1 held {calls}")]);
    assert_eq!(place.value("select cast(max(dt) as varchar) from offers").await, "2026-11-20");
    let named = place.value("select count(*) from runs where error like 'held back: shop %'").await;
    assert_eq!(named, "1");

    // Asked again, it says the same, and asks nobody.
    let again = run(&place, &["--dt", "2026-11-21", "--json"]).await;
    assert_eq!(again.code, 3, "{again:?}");
    let json: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!((&json["outcome"], &json["dt"]), (&"held".into(), &"2026-11-21".into()), "{json}");
    let finding = &json["findings"][0];
    assert_eq!((&finding["shop_id"], &finding["what"]), (&world.shops[0].shop_id.clone().into(), &"gone".into()));
    assert!(finding["offers"].as_u64().unwrap() * 10 > finding["of"].as_u64().unwrap() * 3, "{json}");
    let plan = huopan(place.path(), &["plan", "pipeline.toml", "--dt", "2026-11-21"]).await;
    assert!(plan.stdout.contains(": held, `run` makes no call"), "{plan:?}");

    let hold = place.lake_files().into_iter().find(|file| file.ends_with("held.json")).unwrap();
    let why = std::fs::read(&hold).unwrap();
    let published = run(&place, &["--publish-anyway"]).await;
    assert_eq!(published.code, 0, "{published:?}");
    assert_eq!(thin.stats().calls, calls);

    // A start that died once that was decided had no time to say so: asked again, there is nothing left to do.
    std::fs::write(&hold, why).unwrap();
    let again = run(&place, &["--publish-anyway"]).await;
    assert_eq!((again.code, hold.exists()), (0, false), "{again:?}");
    assert!(again.stdout.contains("2026-11-21 is published already"), "{again:?}");
    assert_eq!(attempts(&place, "2026-11-21").await, [format!("1 held {calls}"), "2 published 0".to_owned()]);
    assert_eq!(place.value("select count(*) from calls where dt = '2026-11-21'").await, calls.to_string());
    assert_eq!(place.delta_counts().await, place.counts().await);

    // The same two nights where nothing is held.
    let other = Place::new();
    publish(&other.shops(&whole, Gateway::Portals), day(20)).await;
    let lines = format!("{}\n[guard]\ndrop_share_max = 1", shop_lines(&world));
    publish(&other.pipeline(&thin, Gateway::Portals, &lines), day(21)).await;
    assert_eq!(place.content(day(21)).await, other.content(day(21)).await);

    // Of what is held only the answers stay.
    let verified = huopan::load::verify::verify(&place.store(), huopan::load::verify::Depth::Quick).await.unwrap();
    assert_eq!(verified.unnamed, 0);
    // What somebody has accepted is not held once more when it is fetched anew.
    assert_eq!(run(&place, &["--dt", "2026-11-21", "--refresh"]).await.code, 0);

    let nothing = run(&place, &["--publish-anyway"]).await;
    assert_eq!(nothing.code, 1, "{nothing:?}");
    assert!(nothing.stderr.contains("no run of pipeline `test` is held"), "{}", nothing.stderr);
    assert_eq!(run(&place, &["--dt", "2026-11-21"]).await.code, 0);
}

#[tokio::test]
async fn a_day_that_is_fetched_anew_replaces_what_was_held_and_repairs_what_was_published_anyway() {
    let (place, (whole, thin)) = (Place::new(), two_worlds().await);
    let lines = shop_lines(&whole.world(Gateway::Portals));
    publish(&place.shops(&whole, Gateway::Portals), day(20)).await;
    place.pipeline_file(&thin, Gateway::Portals, &lines);
    assert_eq!(run(&place, &["--dt", "2026-11-21"]).await.code, 3);
    whole.set_day(day(21));
    place.pipeline_file(&whole, Gateway::Portals, &lines);
    let repaired = run(&place, &["--dt", "2026-11-21", "--refresh"]).await;
    assert_eq!(repaired.code, 0, "{repaired:?}");
    assert_eq!(run(&place, &["--publish-anyway"]).await.code, 1, "what was held is history");

    // The next night goes wrong and is published: what repairs it differs from it, but not from the night before.
    thin.set_day(day(22));
    place.pipeline_file(&thin, Gateway::Portals, &lines);
    assert_eq!(run(&place, &["--dt", "2026-11-22"]).await.code, 3);
    assert_eq!(run(&place, &["--publish-anyway"]).await.code, 0);
    let offers = place.value("select count(*) from offers where dt = '2026-11-22' and status = 'on_sale'").await;
    whole.set_day(day(22));
    place.pipeline_file(&whole, Gateway::Portals, &lines);
    assert_eq!(run(&place, &["--dt", "2026-11-22", "--refresh"]).await.code, 0);
    let repaired = place.value("select count(*) from offers where dt = '2026-11-22' and status = 'on_sale'").await;
    assert!(repaired.parse::<u32>().unwrap() > offers.parse::<u32>().unwrap(), "{offers} → {repaired}");
    // And what would spoil it again is held against both.
    place.pipeline_file(&thin, Gateway::Portals, &lines);
    assert_eq!(run(&place, &["--dt", "2026-11-22", "--refresh"]).await.code, 3);
}

#[tokio::test]
async fn a_held_night_does_not_keep_the_next_one_from_being_fetched() {
    let (place, (whole, thin)) = (Place::new(), two_worlds().await);
    let lines = shop_lines(&whole.world(Gateway::Portals));
    publish(&place.shops(&whole, Gateway::Portals), day(20)).await;
    place.pipeline_file(&thin, Gateway::Portals, &lines);
    assert_eq!(run(&place, &["--dt", "2026-11-21"]).await.code, 3);
    whole.set_day(day(22));
    place.pipeline_file(&whole, Gateway::Portals, &lines);
    let next = run(&place, &["--dt", "2026-11-22"]).await;
    assert_eq!(next.code, 0, "{next:?}");
    assert!(next.stderr.contains("2026-11-21 is held and waits for your word"), "{}", next.stderr);
    // Now that a later day is published it is no longer said, but still can be published.
    whole.set_day(day(23));
    let later = run(&place, &["--dt", "2026-11-23"]).await;
    assert!(!later.stderr.contains("is held"), "{}", later.stderr);
    assert_eq!(run(&place, &["--dt", "2026-11-21", "--publish-anyway"]).await.code, 0);
    assert_eq!(place.value("select count(distinct dt) from offers").await, "4");
}

#[tokio::test]
async fn a_shop_that_is_not_asked_for_any_more_is_not_missed() {
    let (place, sim) = (Place::new(), sim::start(quick()).await.unwrap());
    publish(&place.shops(&sim, Gateway::Portals), day(20)).await;
    let world = sim.world(Gateway::Portals);
    place.pipeline_file(&sim, Gateway::Portals, &format!("shops = [\"{}\"]", world.shops[0].shop_id));
    let ended = run(&place, &["--dt", "2026-11-21"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
}

/// `12.5` → `1250`
fn fen(yuan: &str) -> String {
    let (whole, cents) = yuan.split_once('.').unwrap_or((yuan, ""));
    format!("{whole}{cents:0<2}")
}

/// Every price of an answer a hundred times as large: in fen instead of yuan.
fn in_fen(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(in_fen),
        Value::Object(fields) => {
            for (name, field) in fields {
                let is_price = name == "price";
                match field {
                    Value::String(text) if is_price && !text.is_empty() => *field = fen(text).into(),
                    Value::Number(number) if is_price => *field = fen(&number.to_string()).into(),
                    other => in_fen(other),
                }
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn captured_answers_whose_prices_are_in_fen_are_held_until_they_are_published_from_what_landed() {
    let (sim, live, place) = (sim::start(quick()).await.unwrap(), Place::new(), Place::new());
    publish(&live.shops(&sim, Gateway::Portals), day(20)).await;
    let listing = "select shop_id, cast(body as varchar) as body from raw_pages where endpoint = 'listing'";
    let captured: Vec<(String, Value)> = live
        .rows(listing)
        .await
        .into_iter()
        .map(|row| (row["shop_id"].clone(), serde_json::from_str(&row["body"]).unwrap()))
        .collect();
    let write = |spoil: fn(&mut Value)| {
        let line = |(shop_id, answer): &(String, Value)| {
            let mut answer = answer.clone();
            spoil(&mut answer);
            serde_json::json!({"shop_id": shop_id, "answer": answer}).to_string()
        };
        place.write("export.jsonl", captured.iter().map(line).collect::<Vec<_>>().join("\n"))
    };
    place.write(
        "pipeline.toml",
        "name = \"test\"\ngateway = \"portals\"\n[files]\npaths = [\"*.jsonl\"]\nanswer = \"/answer\"\n\
         shop_id = \"/shop_id\"\n[lake]\nurl = \"lake\"\n",
    );
    write(|_| ());
    // No export states the official count: nothing is proven complete.
    assert_eq!(run(&place, &["--dt", "2026-11-20", "--json"]).await.code, 3);
    assert_eq!(place.value("select count(*) > 50 from offers").await, "true");
    let file = write(in_fen);
    let held = run(&place, &["--dt", "2026-11-21"]).await;
    assert_eq!(held.code, 3, "{held:?}");
    assert!(held.stdout.contains(" prices would change by a factor of 10 ("), "{}", held.stdout);
    assert_eq!(attempts(&place, "2026-11-21").await, ["1 held 0"]);
    assert!(run(&place, &["--dt", "2026-11-21"]).await.stdout.contains("HELD"));
    assert_eq!(attempts(&place, "2026-11-21").await, ["1 held 0"]);
    // What is published is what was looked at, whatever the files say by now.
    std::fs::remove_file(file).unwrap();
    let published = run(&place, &["--publish-anyway"]).await;
    assert!(published.stdout.contains("2026-11-21: published"), "{published:?}");
    let dearer = "select count(*) from offers a join offers b using (offer_id) where a.dt = '2026-11-20'
         and b.dt = '2026-11-21' and b.price = a.price * 100";
    assert_eq!(place.value(dearer).await, place.value("select count(*) from offers where dt = '2026-11-20'").await);
}
