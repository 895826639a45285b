//! What could not be loaded, as the command line shows it.

use huopan::sim::{self, Gateway};
use serde_json::{Value, json};

use crate::support::{Ended, Place, day, huopan, publish, quick};

/// A lake of captured answers; the second record of each page has no readable id.
pub(crate) async fn spoilt() -> Place {
    let (sim, live, place) = (sim::start(quick()).await.unwrap(), Place::new(), Place::new());
    publish(&live.shops(&sim, Gateway::Portals), day(20)).await;
    let listing = "select shop_id, cast(body as varchar) as body from raw_pages where endpoint = 'listing'";
    let line = |row: &crate::support::Row| {
        let body = row["body"].replacen("\"item_id\":", "\"item_id\":\"\\u001b[2Jno id\",\"was\":", 2);
        let body = body.replacen("\"item_id\":\"\\u001b[2Jno id\",\"was\":", "\"item_id\":", 1);
        json!({"answer": serde_json::from_str::<Value>(&body).unwrap(), "shop_id": row["shop_id"]}).to_string()
    };
    let lines: Vec<String> = live.rows(listing).await.iter().map(line).collect();
    place.write("export.jsonl", lines.join("\n"));
    place.write(
        "pipeline.toml",
        "name = \"test\"\ngateway = \"portals\"\n[files]\npaths = [\"*.jsonl\"]\nanswer = \"/answer\"\n\
         shop_id = \"/shop_id\"\n[lake]\nurl = \"lake\"\n",
    );
    for dt in ["2026-11-20", "2026-11-21"] {
        let ended = huopan(place.path(), &["run", "pipeline.toml", "--dt", dt]).await;
        assert_eq!(ended.code, 3, "{ended:?}");
    }
    place
}

async fn quarantine(place: &Place, arguments: &[&str]) -> Ended {
    huopan(place.path(), &[&["quarantine"], arguments, &["--lake", "lake"]].concat()).await
}

fn rows(ended: &Ended) -> Vec<Value> {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[tokio::test]
async fn rows_are_listed_filtered_and_shown_with_the_place_of_their_bytes() {
    let place = spoilt().await;
    let all = rows(&quarantine(&place, &["--format", "json"]).await);
    assert!(all.len() >= 2, "{all:?}");
    assert!(all.iter().all(|row| row["dt"] == "2026-11-21"), "the last published day: {all:?}");
    assert_eq!(all[0]["row"], 1);
    let count = async |arguments: &[&str]| {
        rows(&quarantine(&place, &[&["list", "--format", "json"], arguments].concat()).await).len()
    };
    let shop = all[0]["shop_id"].as_str().unwrap();
    let of_shop = all.iter().filter(|row| row["shop_id"] == shop).count();
    assert!(of_shop < all.len(), "{all:?}");
    let reason = all[0]["reason"].as_str().unwrap().to_uppercase();
    for (arguments, expected) in [
        (&["--dt", "2026-11-20"][..], all.len()),
        (&["--dt", "2026-11-19"], 0),
        (&["--shop", shop], of_shop),
        (&["--reason", &reason], all.len()),
        (&["--reason", "nothing of the kind"], 0),
        (&["--stage", "transform"], all.len()),
        (&["--stage", "publish"], 0),
        (&["--rows", "1"], 1),
        (&["--shop", shop, "--dt", "2026-11-20", "--stage", "transform"], of_shop),
    ] {
        assert_eq!(count(arguments).await, expected, "{arguments:?}");
    }

    let shown = rows(&quarantine(&place, &["show", "1", "--json"]).await);
    assert_eq!(shown.len(), 1);
    for column in ["row", "shop_id", "reason", "field", "value", "raw_ref", "stage"] {
        assert_eq!(shown[0][column], all[0][column], "{column}");
    }
    let raw_ref = shown[0]["raw_ref"].as_str().unwrap();
    let files = shown[0]["bytes_in"].as_array().unwrap();
    assert_eq!(files.len(), 1, "{shown:?}");
    assert!(std::path::Path::new(files[0].as_str().unwrap()).is_file(), "{shown:?}");
    assert_eq!((&shown[0]["endpoint"], &shown[0]["http_status"]), (&"listing".into(), &200.into()));
    assert!(shown[0]["record"].as_str().unwrap().contains("no id"), "{shown:?}");
    let by_ref = rows(&quarantine(&place, &["show", raw_ref, "--json"]).await);
    assert_eq!(by_ref, shown);
    let other_day = rows(&quarantine(&place, &["show", "1", "--dt", "2026-11-20", "--json"]).await);
    assert_ne!(other_day[0]["raw_ref"], shown[0]["raw_ref"]);

    // The same answers once more, and then in one file with those before.
    let again = huopan(place.path(), &["run", "pipeline.toml", "--dt", "2026-11-21", "--refresh"]).await;
    assert_eq!(again.code, 3, "{again:?}");
    let shown = rows(&quarantine(&place, &["show", "1", "--json"]).await);
    assert_ne!(shown[0]["bytes_in"][0], json!(files[0]), "the newer run's own file");
    assert_eq!(huopan(place.path(), &["lake", "optimize", "--lake", "lake"]).await.code, 0);
    let merged = rows(&quarantine(&place, &["show", "1", "--json"]).await);
    assert_eq!(
        (merged[0]["raw_ref"].clone(), merged[0]["bytes_in"].as_array().unwrap().len()),
        (shown[0]["raw_ref"].clone(), 1)
    );
    assert_ne!(merged[0]["bytes_in"], shown[0]["bytes_in"]);

    let raw_ref = merged[0]["raw_ref"].as_str().unwrap();
    let text = quarantine(&place, &["show", raw_ref]).await;
    assert_eq!(text.code, 0, "{text:?}");
    for part in [
        "row 1: offer unknown, shop ",
        "  transform: ",
        "  its bytes: ",
        "  record:\n{",
        "huopan sql --lake lake -x -c \"select arrow_cast(body, 'Utf8') as body from raw_pages",
    ] {
        assert!(text.stdout.contains(part), "no `{part}` in {}", text.stdout);
    }
    assert!(!text.stdout.contains('\u{1b}'), "what was received does not steer the terminal");
    for (arguments, code) in [(&["show", "999"][..], 1), (&["show", "x"], 2), (&["show", "610947572360"], 1)] {
        let ended = quarantine(&place, arguments).await;
        assert_eq!(ended.code, code, "{ended:?}");
    }
    // An answer that is no longer kept leaves the row readable.
    std::fs::remove_dir_all(place.lake().join("raw_pages")).unwrap();
    place.leave_unwell();
    let ended = quarantine(&place, &["list"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
}
