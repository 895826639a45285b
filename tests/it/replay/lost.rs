//! Pictures that a lake has lost: rebuilt as its messages say.

use huopan::load::Snapshot;
use huopan::transform::contract::Table;

use super::*;

/// The files that a day's picture has in a table.
async fn files(place: &Place, table: Table, dt: NaiveDate) -> Vec<std::path::PathBuf> {
    let snapshot = Snapshot::load(&place.store()).await.unwrap();
    let files = snapshot.picture("test", dt).unwrap().files(table).to_vec();
    files.iter().map(|file| place.lake().join(&file.path)).collect()
}

async fn lake(place: &Place, arguments: &[&str]) -> Ended {
    huopan(place.path(), &[arguments, &["--lake", "lake"]].concat()).await
}

const SAYS: &str = "`huopan replay PIPELINE --dt 2026-11-19`, with the file of pipeline `test`";

#[tokio::test]
async fn a_lost_picture_of_an_old_day_is_rebuilt_as_verify_says_and_delta_readers_see_it() {
    for (table, is_missing) in [(Table::Offers, true), (Table::Offers, false), (Table::Shops, true)] {
        let (sim, place) = (sim::start(messy()).await.unwrap(), Place::new());
        three_nights(&place, &sim, "").await;
        place.leave_unwell();
        let (calls, before, counts) = (sim.stats().calls, whole(&place, day(19)).await, place.delta_counts().await);
        let fed = lake(&place, &["feed"]).await;
        assert!(fed.code == 0 && !fed.stdout.is_empty(), "{fed:?}");
        let lost = files(&place, table, day(19)).await.swap_remove(0);
        if is_missing {
            std::fs::remove_file(&lost).unwrap();
            let asked = lake(&place, &["sql", "-c", &format!("select * from {table}")]).await;
            assert!(asked.code == 1 && asked.stderr.contains(SAYS), "{asked:?}");
        } else {
            let mut bytes = std::fs::read(&lost).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 9;
            std::fs::write(&lost, bytes).unwrap();
        }
        let verified = lake(&place, &["lake", "verify"]).await;
        assert!(verified.code == 1 && verified.stdout.contains(SAYS), "{verified:?}");
        let ended = replay(&place, "2026-11-19", &[]).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stdout.contains("nothing differs from what was published"), "{ended:?}");
        assert_eq!(sim.stats().calls, calls);
        assert_eq!(whole(&place, day(19)).await, before);
        assert_ne!(files(&place, table, day(19)).await, [lost]);
        assert_eq!(place.delta_counts().await, place.counts().await);
        assert_eq!(place.delta_counts().await["offers"], counts["offers"]);
        let again = lake(&place, &["feed"]).await;
        assert_eq!((again.code, again.stdout), (0, fed.stdout), "the rebuilt file stands for the lost one");
        // The publication before names the lost file still, until it is forgotten.
        let verified = lake(&place, &["lake", "verify"]).await;
        assert_eq!(verified.stdout.matches("\n  → ").count(), 1, "{verified:?}");
        assert!(verified.stdout.contains("→ only earlier publications name it"), "{verified:?}");
        assert!(verified.stdout.ends_with("1 problem\n"), "{verified:?}");
    }
}

#[tokio::test]
async fn a_lost_picture_of_the_last_day_keeps_no_night_from_being_fetched_once_it_is_replayed_or_refreshed() {
    for heals in ["replay", "refresh"] {
        let (sim, place) = (sim::start(messy()).await.unwrap(), Place::new());
        for night in [18, 19] {
            sim.set_day(day(night));
            publish(&place.shops(&sim, Gateway::Portals), day(night)).await;
        }
        place.leave_unwell();
        let before = place.content(day(19)).await;
        std::fs::remove_file(&files(&place, Table::Offers, day(19)).await[0]).unwrap();
        let next = ["run", "pipeline.toml", "--dt", "2026-11-20"];
        let failed = huopan(place.path(), &next).await;
        assert!(failed.code == 1 && failed.stderr.contains(SAYS), "{failed:?}");
        let healed = match heals {
            "replay" => replay(&place, "2026-11-19", &[]).await,
            _ => huopan(place.path(), &["run", "pipeline.toml", "--dt", "2026-11-19", "--refresh"]).await,
        };
        assert_eq!(healed.code, 0, "{healed:?}");
        let warns = healed.stderr.contains("is missing or damaged: 2026-11-19 is published anew without it");
        assert_eq!(warns, heals == "refresh", "{healed:?}");
        assert_eq!(place.content(day(19)).await, before);
        let night = huopan(place.path(), &next).await;
        assert_eq!(night.code, 0, "{night:?}");
        assert_eq!(place.delta_counts().await, place.counts().await);
    }
}

#[tokio::test]
async fn a_lost_picture_whose_answers_are_lost_too_does_not_stand() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    publish(&place.shops(&sim, Gateway::Portals), day(20)).await;
    place.leave_unwell();
    let lost = files(&place, Table::PriceTiers, day(20)).await.swap_remove(0);
    let journals = Snapshot::load(&place.store()).await.unwrap();
    let answers = place.lake().join(&journals.files(Table::RawPages)[0].file.path);
    [&lost, &answers].into_iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let ended = replay(&place, "2026-11-20", &[]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    for part in ["price_tiers/", "cannot be rebuilt: ", "hint: restore the file from a copy of the lake"] {
        assert!(ended.stderr.contains(part), "no `{part}` in {}", ended.stderr);
    }
}

#[tokio::test]
async fn a_night_that_follows_a_lost_one_is_rebuilt_with_it() {
    let (sim, place) = (sim::start(messy()).await.unwrap(), Place::new());
    three_nights(&place, &sim, "").await;
    place.leave_unwell();
    for night in [19, 20] {
        std::fs::remove_file(&files(&place, Table::Offers, day(night)).await[0]).unwrap();
    }
    let failed = replay(&place, "2026-11-20", &[]).await;
    assert!(failed.code == 1 && failed.stderr.contains(SAYS), "{failed:?}");
    let ended = replay(&place, "2026-11-19..2026-11-20", &[]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(place.delta_counts().await, place.counts().await);
}

/// A copy of `offers` of the feed's rows, by offer: those that are there in the end.
fn copy(feed: &str) -> BTreeMap<i64, Value> {
    let mut copy = BTreeMap::new();
    for row in feed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        // Rows of an earlier day are no part of the newest picture.
        let offer_id = row["offer_id"].as_i64().unwrap();
        match (row["kind"] == "correction", row["op"] == "upsert") {
            (true, _) => {}
            (false, true) => drop(copy.insert(offer_id, row["content_hash"].clone())),
            (false, false) => drop(copy.remove(&offer_id)),
        }
    }
    copy
}

#[tokio::test]
async fn a_feed_goes_on_past_a_lost_picture_that_was_rebuilt_with_another_rule() {
    for (lost_day, table, is_damaged) in
        [(20, Table::Offers, false), (19, Table::Offers, false), (20, Table::Shops, false), (20, Table::Offers, true)]
    {
        let (sim, place) = (sim::start(messy()).await.unwrap(), Place::new());
        three_nights(&place, &sim, "").await;
        place.leave_unwell();
        let taken = lake(&place, &["feed", "-o", "feed.jsonl"]).await;
        let lost = &files(&place, table, day(lost_day)).await[0];
        if is_damaged {
            let bytes = std::fs::read(lost).unwrap();
            std::fs::write(lost, vec![0; bytes.len()]).unwrap();
        } else {
            std::fs::remove_file(lost).unwrap();
        }
        let refused = lake(&place, &["feed"]).await;
        let says = format!("`huopan replay PIPELINE --dt 2026-11-{lost_day}`, with the file of pipeline `test`");
        assert!(refused.code == 1 && refused.stderr.contains(&says), "{refused:?}");
        place.pipeline_file(&sim, Gateway::Portals, &format!("{}{RULE}", shop_lines(&sim.world(Gateway::Portals))));
        assert_eq!(replay(&place, &format!("2026-11-{lost_day}"), &[]).await.code, 0);
        // Who has taken it cannot be told what became of it, and is told what to do.
        let refused = lake(&place, &["feed", "--since", taken.stdout.trim()]).await;
        for part in ["of `test`, which the cursor has taken, is lost", "`huopan feed consumers reset NAME --to start`"]
        {
            assert!(refused.code == 1 && refused.stderr.contains(part), "no `{part}` in {refused:?}");
        }
        // Who starts now, or went only as far as the day before, never needs it.
        let started = lake(&place, &["feed"]).await;
        assert_eq!(started.code, 0, "{started:?}");
        let newest = "select offer_id, content_hash from offers where dt = '2026-11-20' and status <> 'delisted'";
        let newest: BTreeMap<i64, Value> = place
            .rows(newest)
            .await
            .iter()
            .map(|row| (row["offer_id"].parse().unwrap(), row["content_hash"].parse::<i64>().unwrap().into()))
            .collect();
        assert_eq!(copy(&started.stdout), newest, "{lost_day} {table}");
        let mut told = String::new();
        loop {
            let cut = lake(&place, &["feed", "--consumer", "slow", "--publications", "1"]).await;
            assert_eq!(cut.code, 0, "{cut:?}");
            if cut.stderr.contains("0 publications") {
                break;
            }
            told.push_str(&cut.stdout);
        }
        assert_eq!(copy(&told), newest, "one by one");
    }
}
