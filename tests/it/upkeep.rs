//! A lake's upkeep by command: what was published, whether it is whole.

use huopan::sim::Gateway;

use crate::support::{self, Ended, Place, day};

async fn lake(place: &Place, arguments: &[&str]) -> Ended {
    support::huopan(place.path(), &[&["lake"], arguments, &["--lake", "lake"]].concat()).await
}

/// Nights of one simulated pipeline.
async fn nights(place: &Place, days: &[u32]) {
    let sim = huopan::sim::start(support::quick()).await.unwrap();
    for &night in days {
        sim.set_day(day(night));
        support::publish(&place.shops(&sim, Gateway::Portals), day(night)).await;
    }
}

/// `lake verify` finds nothing wrong.
async fn is_clean(place: &Place) {
    let verified = lake(place, &["verify"]).await;
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
    assert!(verified.stdout.ends_with("all is well\n"), "{}", verified.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn nights_of_a_simulated_gateway_verify_clean_and_are_listed() {
    let place = Place::new();
    nights(&place, &[20, 21, 21]).await;
    is_clean(&place).await;
    let quick = lake(&place, &["verify", "--quick", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&quick.stdout).unwrap();
    assert_eq!((&json["ok"], &json["tables_compared"]), (&true.into(), &false.into()));
    let history = lake(&place, &["history", "--json"]).await;
    let history: serde_json::Value = serde_json::from_str(&history.stdout).unwrap();
    let history = history.as_array().unwrap();
    let told: Vec<String> = history
        .iter()
        .map(|past| format!("{} {} {} {}", past["seq"], past["kind"], past["dt"], past["is_current"]))
        .collect();
    let expected = [
        r#"1 "published" "2026-11-20" true"#,
        r#"2 "published" "2026-11-21" false"#,
        r#"3 "published" "2026-11-21" true"#,
    ];
    assert_eq!(told, expected);
    let text = lake(&place, &["history", "--last", "1"]).await.stdout;
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("test        3  published  2026-11-21"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_that_are_lost_or_damaged_and_a_delta_log_that_is_are_told_with_their_cause() {
    let place = Place::new();
    nights(&place, &[20]).await;
    let facts = files(&place).into_iter().find(|path| path.ends_with("facts.json")).unwrap();
    let log = place.lake().join("offers/_delta_log/00000000000000000000.json");
    for (file, bytes, says) in [
        (&facts, None, "facts.json: what the published run knew at its end is missing\n  → restore it"),
        (&facts, Some("{"), "facts.json` cannot be read\n  → restore it"),
        (
            &log,
            Some("{"),
            "offers/_delta_log/00000000000000000000.json: this commit of the Delta table is torn or damaged\n  → restore it",
        ),
    ] {
        let whole = std::fs::read(file).unwrap();
        match bytes {
            None => std::fs::remove_file(file).unwrap(),
            Some(bytes) => std::fs::write(file, bytes).unwrap(),
        }
        let verified = lake(&place, &["verify", "--quick"]).await;
        assert_eq!(verified.code, 1, "{verified:?}");
        assert!(verified.stdout.contains(says), "{}", verified.stdout);
        std::fs::write(file, whole).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn delta_tables_that_lost_their_log_or_a_commit_are_mended_as_verify_says() {
    let place = Place::new();
    nights(&place, &[20, 21, 22]).await;
    let before = (place.delta_counts().await, place.content(day(21)).await);
    let log = |table: &str| place.lake().join(table).join("_delta_log");
    let commit = |number: u32| log("offers").join(format!("{number:020}.json"));
    std::fs::remove_dir_all(log("shops")).unwrap();
    std::fs::write(commit(2), "").unwrap();
    let verified = lake(&place, &["verify"]).await;
    assert_eq!(verified.code, 1, "{}", verified.stdout);
    let remedies: Vec<_> = verified.stdout.lines().filter(|line| line.starts_with("  → ")).collect();
    assert!(remedies.iter().all(|line| line.contains("`huopan lake optimize` makes the Delta table")), "{remedies:?}");
    assert_eq!(remedies.len(), 2, "{remedies:?}");
    let shown = lake(&place, &["optimize", "--dry-run"]).await;
    let line = "test shops: 3 published files would be added to the Delta table, 0 others taken out\n";
    assert!(shown.stdout.contains(line), "{}", shown.stdout);
    let done = lake(&place, &["optimize"]).await;
    assert_eq!(done.code, 0, "{}", done.stderr);
    for line in [
        "shops: 2 published files added to the",
        "offers: 1 published files added to the Delta table, 0 others taken out",
    ] {
        assert!(done.stdout.contains(line), "{}", done.stdout);
    }
    is_clean(&place).await;
    assert_eq!((place.delta_counts().await, place.content(day(21)).await), before);
    // `runs` says which publications are in all tables.
    std::fs::remove_dir_all(log("runs")).unwrap();
    assert_eq!(lake(&place, &["optimize"]).await.code, 0);
    is_clean(&place).await;
    assert_eq!(place.delta_counts().await, before.0);
    // One that cannot be read is built anew where it cannot be restored.
    for (table, bytes) in [("calls", Some("{")), ("skus", None)] {
        let commit = log(table).join("00000000000000000001.json");
        match bytes {
            Some(bytes) => std::fs::write(&commit, bytes).unwrap(),
            None => std::fs::remove_file(&commit).unwrap(),
        }
        let verified = lake(&place, &["verify", "--quick"]).await;
        let said = format!("{table}/_delta_log/00000000000000000001.json: this commit of the Delta table is ");
        assert!(verified.stdout.starts_with(&said), "{}", verified.stdout);
        let said = format!("delete the folder `{table}/_delta_log` and say `huopan lake optimize`");
        assert!(verified.stdout.contains(&said), "{}", verified.stdout);
        let failed = lake(&place, &["optimize"]).await;
        assert!(failed.code == 1 && failed.stderr.contains("`huopan lake verify` says which file"), "{failed:?}");
        assert!(!failed.stderr.contains("   0: "), "{}", failed.stderr);
        std::fs::remove_dir_all(log(table)).unwrap();
        assert_eq!(lake(&place, &["optimize"]).await.code, 0);
        is_clean(&place).await;
        assert_eq!((place.delta_counts().await, place.content(day(21)).await), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_gives_a_delta_table_back_what_it_has_lost() {
    let place = Place::new();
    nights(&place, &[20, 21]).await;
    std::fs::remove_dir_all(place.lake().join("offers/_delta_log")).unwrap();
    nights(&place, &[22]).await;
    assert_eq!(place.delta_counts().await, place.counts().await);
    is_clean(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_disagree_are_told_with_what_to_do() {
    let place = Place::new();
    nights(&place, &[20, 21]).await;
    let store = place.store();
    let mut entries = Vec::new();
    for seq in 1..=2 {
        let name = format!("_huopan/publish/test/{seq:020}.json");
        let bytes = store.get(&name).await.unwrap().unwrap();
        entries.push(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap());
    }
    // Yesterday's tiers under today's name, then none: each file is whole, the picture is not.
    let yesterdays = entries[0]["tables"]["price_tiers"].clone();
    for (tiers, subject, what) in [
        (yesterdays, "price_tiers dt=2026-11-21 pipeline=test", "rows are of another run than"),
        (serde_json::json!([]), "offers dt=2026-11-21 pipeline=test", "offers is not their rows in `price_tiers`"),
    ] {
        entries[1]["tables"]["price_tiers"] = tiers;
        let path = "_huopan/publish/test/00000000000000000002.json";
        store.put_durable(path, serde_json::to_vec(&entries[1]).unwrap().into()).await.unwrap();
        let session = huopan::query::Session::over(&store, &huopan::query::Options::default()).await.unwrap();
        let snapshot = huopan::load::Snapshot::load(&store).await.unwrap();
        let problems = huopan::query::verify::verify(&session, &snapshot).await.unwrap();
        let is_told = problems.iter().any(|problem| problem.subject == subject && problem.what.contains(what));
        assert!(is_told, "{problems:?}");
    }
    let verified = lake(&place, &["verify"]).await;
    assert_eq!(verified.code, 1, "{}", verified.stdout);
    assert!(verified.stdout.contains("is active in the Delta table, but not published\n  → "), "{}", verified.stdout);
    place.leave_unwell();
}

/// What `lake verify` asks of the tables, each broken in a file that is whole otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn each_thing_that_the_tables_may_disagree_about_is_told() {
    let place = Place::new();
    nights(&place, &[20, 21]).await;
    let store = place.store();
    for (table, rows, expected) in [
        (
            "offers",
            "union all (select * exclude (dt, pipeline) from offers where dt = '2026-11-21' limit 1)",
            "offers dt=2026-11-21 pipeline=test: 1 offers are there more than once",
        ),
        ("offers", "replace sku_count", "offers dt=2026-11-21 pipeline=test: `sku_count` of "),
        ("offers", "replace tier_count", "offers dt=2026-11-21 pipeline=test: `tier_count` of "),
        (
            "shops",
            "replace offer_count",
            "shops dt=2026-11-21 pipeline=test: `offer_count` of 2 shops is not their rows in `offers`",
        ),
        (
            "runs",
            "replace received",
            "runs dt=2026-11-21 pipeline=test: received is not loaded + duplicates + quarantined",
        ),
        ("runs", "replace carried", "runs dt=2026-11-21 pipeline=test: loaded + carried are "),
        ("runs", "replace publish_seq", "runs dt=2026-11-21 pipeline=test: 0 rows instead of one are of publication 2"),
        ("runs", "failed", "runs dt=2026-11-21 pipeline=test: publication 2 is there, and its run is `failed`"),
        ("calls", "and number > 1", " calls of this run, `calls` has "),
    ] {
        let (columns, more) = match rows.split_once(' ') {
            Some(("replace", column)) => (format!("replace (coalesce({column}, 0) + 1 as {column})"), ""),
            None => ("replace ('failed' as status)".to_owned(), ""),
            Some(_) => (String::new(), rows),
        };
        let sql = format!("select * exclude (dt, pipeline) {columns} from {table} where dt = '2026-11-21' {more}");
        let published = support::forge(&store, 2, table, &sql).await;
        let session = huopan::query::Session::over(&store, &huopan::query::Options::default()).await.unwrap();
        let snapshot = huopan::load::Snapshot::load(&store).await.unwrap();
        let problems = huopan::query::verify::verify(&session, &snapshot).await.unwrap();
        let told: Vec<String> =
            problems.iter().map(|problem| format!("{}: {}", problem.subject, problem.what)).collect();
        assert!(told.iter().any(|told| told.contains(expected)), "{table} {rows}: {told:?}");
        store.put_durable(&support::entry_path(2), published).await.unwrap();
    }
}

/// The path of every file below the lake that is no lock.
fn files(place: &Place) -> Vec<std::path::PathBuf> {
    let mut files = place.lake_files();
    files.retain(|path| !path.to_string_lossy().contains("/locks/"));
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_changes_nothing_and_a_vacuum_leaves_what_is_published() {
    let place = Place::new();
    nights(&place, &[20, 21, 21]).await;
    place.write("lake/offers/dt=2026-11-20/pipeline=test/orphan.parquet", "orphan");
    place
        .write("lake/_huopan/landing/test/2026-11-20/0198c2a0-0000-7000-8000-000000000000/000000000001.seg", "refused");
    support::age(&place.lake(), 40);
    let (before, content) = (files(&place), place.content(day(21)).await);
    let looked = lake(&place, &["vacuum", "--raw-days", "30", "--list"]).await;
    assert_eq!(looked.code, 0, "{}", looked.stderr);
    assert!(looked.stdout.contains("nothing was changed: say `--yes`"), "{}", looked.stdout);
    for gone in ["orphan.parquet\n", "000000000001.seg\n", "replaced by later publications", "publish log behind"] {
        assert!(looked.stdout.contains(gone), "{gone}: {}", looked.stdout);
    }
    assert_eq!(files(&place), before, "a look changes nothing");
    let done = lake(&place, &["vacuum", "--raw-days", "30", "--yes", "--json"]).await;
    assert_eq!(done.code, 0, "{}", done.stderr);
    let json: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let goes = json["pipelines"]["test"]["goes"].as_array().unwrap();
    assert_eq!(goes.iter().filter(|one| one["why"] == "orphan").count(), 1, "{json}");
    assert!(files(&place).len() < before.len());
    assert!(!files(&place).iter().any(|path| path.ends_with("orphan.parquet")));
    is_clean(&place).await;
    assert_eq!(place.content(day(21)).await, content);
    assert_eq!(lake(&place, &["vacuum", "--raw-days", "30"]).await.stdout, "nothing to remove\n");
    nights(&place, &[22]).await;
    is_clean(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_says_what_a_vacuum_then_removes_also_of_days_that_expire_with_it() {
    let place = Place::new();
    nights(&place, &[20, 21]).await;
    support::age(&place.lake(), 40);
    let goes = async |more: &[&str]| {
        let ended =
            lake(&place, &[&["vacuum", "--retain-days", "1", "--raw-days", "30", "--json"], more].concat()).await;
        let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        json["pipelines"]["test"]["goes"].clone()
    };
    let looked = goes(&[]).await;
    assert!(looked.to_string().contains("/facts.json"), "{looked}");
    assert_eq!(goes(&["--yes"]).await, looked);
    is_clean(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_is_running_is_left_alone() {
    let place = Place::new();
    nights(&place, &[20]).await;
    support::age(&place.lake(), 40);
    let store = place.store();
    let lock = store.lock("test", "the night's run").await.unwrap();
    let before = files(&place);
    for command in [&["vacuum", "--yes"][..], &["optimize"]] {
        let ended = lake(&place, command).await;
        assert_eq!(ended.code, 75, "{command:?}: {}{}", ended.stdout, ended.stderr);
        assert!(
            ended.stdout.contains("test: left alone") && ended.stdout.contains("the night's run"),
            "{}",
            ended.stdout
        );
    }
    assert_eq!(files(&place), before);
    lock.release().await.unwrap();
    assert_eq!(lake(&place, &["optimize"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_with_many_small_journal_files_merged_and_lost_checkpoints_written_again() {
    let (place, sim) = (Place::new(), huopan::sim::start(support::quick()).await.unwrap());
    let pipeline = place.shops(&sim, Gateway::Portals);
    for _ in 0..9 {
        support::publish(&pipeline, day(20)).await;
    }
    let runs = || async { place.rows("select attempt, run_id, publish_seq, loaded from runs order by attempt").await };
    assert_eq!(runs().await.len(), 9);
    let history = lake(&place, &["history", "--json"]).await.stdout;
    assert_eq!(history.matches("\"optimized\"").count(), 1, "{history}");
    is_clean(&place).await;
    let before = (runs().await, place.content(day(20)).await, place.delta_counts().await);
    let merged = lake(&place, &["optimize"]).await;
    assert_eq!(merged.code, 0, "{}", merged.stderr);
    assert_eq!((runs().await, place.content(day(20)).await, place.delta_counts().await), before);
    is_clean(&place).await;
    let paths = lake(&place, &["files", "runs"]).await.stdout;
    assert_eq!(paths.lines().count(), 1, "{paths}");
    assert_eq!(lake(&place, &["optimize"]).await.stdout, "test: nothing to merge\n");
    // A Delta log that has lost its checkpoints gets one again.
    let checkpoints = || {
        let of_log = |path: &std::path::PathBuf| path.to_string_lossy().contains("/runs/_delta_log/");
        let is_one = |path: &std::path::PathBuf| path.to_string_lossy().contains("checkpoint");
        files(&place).into_iter().filter(of_log).filter(is_one).collect::<Vec<_>>()
    };
    assert!(!checkpoints().is_empty());
    checkpoints().iter().for_each(|path| std::fs::remove_file(path).unwrap());
    support::publish(&pipeline, day(20)).await;
    assert!(!checkpoints().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_takes_away_the_days_that_are_older_than_its_pipeline_keeps_them() {
    let (place, sim) = (Place::new(), huopan::sim::start(support::quick()).await.unwrap());
    let file = place.pipeline_file(&sim, Gateway::Portals, &support::shop_lines(&sim.world(Gateway::Portals)));
    let text = std::fs::read_to_string(&file).unwrap();
    let keeps =
        |keys: &str| support::load(&place.write("keeps.toml", text.replace("[lake]", &format!("[lake]\n{keys}"))));
    let off = keeps("retain_days = 1\nmaintenance = \"off\"");
    let old = huopan::base::time::beijing_day(chrono::DateTime::from(std::time::UNIX_EPOCH));
    support::publish(&off, old).await;
    let today = huopan::base::time::beijing_day(huopan::base::Clock::now(&huopan::base::SystemClock));
    support::publish(&off, today).await;
    assert_eq!(place.value("select count(distinct dt) from offers").await, "2", "switched off");
    // What a process that died has left goes with them.
    let leftover = place.write("lake/offers/.huopan-tmp-1-1", "half");
    let then = huopan::base::Clock::now(&huopan::base::SystemClock) - chrono::TimeDelta::days(2);
    std::fs::File::options().write(true).open(&leftover).unwrap().set_modified(then.into()).unwrap();
    support::publish(&keeps("retain_days = 1"), today).await;
    assert!(!leftover.exists());
    for table in ["offers", "price_tiers", "shops", "runs", "calls", "raw_pages"] {
        assert_eq!(place.value(&format!("select count(distinct dt) from {table}")).await, "1", "{table}");
    }
    is_clean(&place).await;
    let history = lake(&place, &["history"]).await.stdout;
    assert!(history.contains("expired"), "{history}");
}
