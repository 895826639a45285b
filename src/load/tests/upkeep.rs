use chrono::TimeDelta;

use super::super::upkeep::optimize::{Wanted, optimize};
use super::super::upkeep::sweep::{self, Bounds, Lake, Swept};
use super::super::upkeep::vacuum::Why;
use super::super::verify::{Depth, verify};
use super::super::{Snapshot, Turn, delta, log};
use super::*;
use crate::config::pipeline::Keep;

async fn vacuum(store: &Store, turn: &Turn<'_>, keep: Keep, now: DateTime<Utc>, files_max: usize) -> Swept {
    let lake = Lake::list(store).await.unwrap();
    sweep::vacuum(store, "a", turn, &lake, Bounds { keep, now, files_max }).await.unwrap()
}

async fn is_clean(store: &Store) {
    assert_eq!(verify(store, Depth::Full).await.unwrap().problems, []);
}

/// Three attempts of one day, and of each table the second one in three files.
async fn small_files(store: &Store) {
    for seq in 1..=3 {
        let mut draft = draft(store, "a", day(20), seq, 4);
        if seq == 3 {
            let (pipeline, run_id) = ("a".into(), "run-3b".into());
            let target = Target { table: Table::Offers, dt: day(20), pipeline, run_id, seq };
            let options = WriterOptions { file_bytes: 1, ..WriterOptions::default() };
            let rows = rows::sample(Table::Offers, 6);
            let batches: Vec<RecordBatch> = (0..3).map(|third| rows.slice(third * 2, 2)).collect();
            draft.files.insert(Table::Offers, write(store, target, options, &batches));
        }
        publish(store, draft).await;
    }
}

/// The offers of the day in the order of their rows.
async fn offers(store: &Store) -> RecordBatch {
    let snapshot = Snapshot::load(store).await.unwrap();
    let (store, entry) = (store.clone(), snapshot.picture("a", day(20)).unwrap().clone());
    let read = tokio::task::spawn_blocking(move || {
        let mut batches = Vec::new();
        super::super::read::read(&store, &entry, Table::Offers, None, |batch| {
            batches.push(batch);
            Ok(())
        })
        .unwrap();
        arrow::compute::concat_batches(&Table::Offers.file_schema().unwrap(), &batches).unwrap()
    });
    read.await.unwrap()
}

#[tokio::test]
async fn merged_files_have_the_same_rows_in_the_same_order_and_no_data_changes() {
    let (_folder, store) = lake();
    small_files(&store).await;
    let before = (all_counts(store.root()).await, offers(&store).await);
    let ends = "select min(offer_id), max(offer_id), min(title), max(price) from t";
    let ends_before = query(store.root(), Table::Offers, ends).await;
    let calls = "select number, account, sent_at from t order by sent_at, number, account";
    let calls_before = query(store.root(), Table::Calls, calls).await;
    let lock = store.lock("a", "test").await.unwrap();
    let turn = Turn::take(&store, "a", &lock, at(0)).await.unwrap();
    let done = optimize(&store, "a", &turn, &Wanted::default(), at(10)).await.unwrap();
    // Three journals of three files each, and the offers.
    assert_eq!((done.publications, done.files_before, done.files_after), (1, 12, 4));
    assert_eq!((all_counts(store.root()).await, offers(&store).await), before);
    assert_eq!(query(store.root(), Table::Offers, ends).await, ends_before);
    assert_eq!(query(store.root(), Table::Calls, calls).await, calls_before);
    is_clean(&store).await;
    let snapshot = Snapshot::load(&store).await.unwrap();
    assert_eq!(Table::ALL.map(|table| snapshot.files(table).len()), [1; 8]);
    assert_eq!(snapshot.picture("a", day(20)).unwrap().run_id, "run-3");
    let again = optimize(&store, "a", &turn, &Wanted::default(), at(11)).await.unwrap();
    assert_eq!(again.publications, 0, "there is nothing left to merge");
    let commits = store.list("offers/_delta_log").await.unwrap();
    let newest = store.get(&commits.last().unwrap().path).await.unwrap().unwrap();
    let newest = String::from_utf8_lossy(&newest).into_owned();
    assert!(newest.contains("\"dataChange\":false") && !newest.contains("\"dataChange\":true"), "{newest}");
    assert!(newest.contains("\"OPTIMIZE\""), "{newest}");
    // A day that is published anew replaces what was merged.
    publish(&store, draft(&store, "a", day(20), turn.next_seq(), 2)).await;
    is_clean(&store).await;
    assert_eq!(counts(store.root(), Table::Offers).await, "2026-11-20 a 2");
}

#[tokio::test]
async fn a_merge_that_delta_has_not_got_is_completed_like_any_publication() {
    let (_folder, store) = lake();
    small_files(&store).await;
    let before = all_counts(store.root()).await;
    let lock = store.lock("a", "test").await.unwrap();
    let turn = Turn::take(&store, "a", &lock, at(0)).await.unwrap();
    let _ = optimize(&store, "a", &turn, &Wanted::default(), at(10)).await.unwrap();
    // Delta as it was before the merge.
    for table in Table::ALL {
        let commits = store.list(&format!("{table}/_delta_log")).await.unwrap();
        store.delete(&commits.iter().rev().find(|meta| meta.path.ends_with(".json")).unwrap().path).await.unwrap();
    }
    assert!(!verify(&store, Depth::Quick).await.unwrap().problems.is_empty());
    assert!(super::super::roll_forward(&store, "a").await.unwrap().is_some());
    is_clean(&store).await;
    assert_eq!(all_counts(store.root()).await, before);
}

#[tokio::test]
async fn vacuum_takes_what_was_replaced_and_orphans_and_nothing_that_is_named() {
    let (_folder, store) = lake();
    for (seq, dt) in [(1, 19), (2, 20), (3, 20)] {
        publish(&store, draft(&store, "a", day(dt), seq, 3)).await;
    }
    publish(&store, draft(&store, "b", day(20), 1, 2)).await;
    store.put_durable("offers/dt=2026-11-20/pipeline=a/orphan.parquet", "1".into()).await.unwrap();
    store.put_durable("offers/dt=2026-11-20/pipeline=b/orphan.parquet", "1".into()).await.unwrap();
    std::fs::write(store.root().join("offers/.huopan-tmp-1-1"), "1").unwrap();
    let replaced = log::read(&store, "a", 2).await.unwrap().unwrap();
    let before = all_counts(store.root()).await;
    let modified = store.list("_huopan").await.unwrap()[0].modified_at;
    let days = |days| modified + TimeDelta::days(days);

    let lake = Lake::list(&store).await.unwrap();
    assert_eq!(lake.pipelines().into_iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(lake.look(&store, "a", Keep::default(), days(0)).await.unwrap().goes, [], "all is young");
    let orphans = lake.look(&store, "a", Keep::default(), days(2)).await.unwrap().goes;
    let [orphan] = &orphans[..] else { panic!("{orphans:?}") };
    assert_eq!((orphan.path.as_str(), orphan.why), ("offers/dt=2026-11-20/pipeline=a/orphan.parquet", Why::Orphan));
    assert_eq!(lake.common(Keep::default(), days(2)).iter().map(|one| one.why).collect::<Vec<_>>(), [Why::Temporary]);

    let lock = store.lock("a", "test").await.unwrap();
    let turn = Turn::take(&store, "a", &lock, at(0)).await.unwrap();
    let swept = vacuum(&store, &turn, Keep::default(), days(8), usize::MAX).await;
    let count = |why| swept.goes.iter().filter(|one| one.why == why).count();
    assert_eq!((count(Why::Replaced), count(Why::Orphan), count(Why::PublishLog)), (5, 1, 2), "{:?}", swept.goes);
    for table in Table::ALL {
        let gone = store.get(&replaced.files(table)[0].path).await.unwrap().is_none();
        assert_eq!(gone, !table.is_journal(), "{table}");
    }
    assert_eq!(all_counts(store.root()).await, before);
    is_clean(&store).await;
    let again = vacuum(&store, &turn, Keep::default(), days(8), usize::MAX).await;
    assert_eq!(again.goes, []);
    // The log goes on from its checkpoint.
    publish(&store, draft(&store, "a", day(21), turn.next_seq(), 1)).await;
    is_clean(&store).await;
}

#[tokio::test]
async fn a_vacuum_deletes_no_more_files_than_it_may_and_the_next_one_goes_on() {
    let (_folder, store) = lake();
    for seq in 1..=3 {
        publish(&store, draft(&store, "a", day(20), seq, 3)).await;
    }
    let lock = store.lock("a", "test").await.unwrap();
    let turn = Turn::take(&store, "a", &lock, at(0)).await.unwrap();
    let later = store.list("_huopan").await.unwrap()[0].modified_at + TimeDelta::days(8);
    let mut gone = 0;
    loop {
        let swept = vacuum(&store, &turn, Keep::default(), later, 5).await;
        is_clean(&store).await;
        if swept.goes.is_empty() {
            break;
        }
        assert!(swept.goes.len() <= 5, "{:?}", swept.goes);
        gone += swept.goes.len();
    }
    // Five pictures and the entry of each publication that was replaced.
    assert_eq!(gone, 12);
}

#[tokio::test]
async fn a_file_that_delta_still_has_active_stays() {
    let (_folder, store) = lake();
    for seq in 1..=2 {
        publish(&store, draft(&store, "a", day(20), seq, 3)).await;
    }
    let log = store.list("offers/_delta_log").await.unwrap();
    store.delete(&log.iter().rfind(|meta| meta.path.ends_with(".json")).unwrap().path).await.unwrap();
    let later = log[0].modified_at + TimeDelta::days(8);
    let lake = Lake::list(&store).await.unwrap();
    let goes = lake.look(&store, "a", Keep::default(), later).await.unwrap().goes;
    let goes_of = |table: Table| goes.iter().filter(|one| one.path.starts_with(&format!("{table}/"))).count();
    assert_eq!((goes_of(Table::Offers), goes_of(Table::PriceTiers)), (0, 1), "{goes:?}");
}

#[tokio::test]
async fn old_days_leave_the_tables_at_once_and_their_files_later() {
    let (_folder, store) = lake();
    for (seq, dt) in [(1, 10), (2, 19), (3, 20)] {
        // Each is published on its own day, and `at(0)` is the 21st.
        let published_at = at(0) - TimeDelta::days(21 - i64::from(dt));
        publish(&store, Draft { published_at, ..draft(&store, "a", day(dt), seq, 3) }).await;
    }
    let lock = store.lock("a", "test").await.unwrap();
    let turn = Turn::take(&store, "a", &lock, at(0)).await.unwrap();
    let keep = Keep { tables: Some(3), raw: Some(1), history: 1 };
    // `at(0)` is 2026-11-21 in Beijing; files are younger than that by the machine's clock, or older.
    let swept = vacuum(&store, &turn, keep, at(0), 0).await;
    assert_eq!(swept.expired["offers"], day(18));
    assert_eq!(counts(store.root(), Table::Offers).await, "2026-11-19 a 3; 2026-11-20 a 3");
    assert_eq!(counts(store.root(), Table::RawPages).await, "2026-11-20 a 3");
    is_clean(&store).await;
    let later = store.list("_huopan").await.unwrap().last().unwrap().modified_at + TimeDelta::days(3);
    let keep = Keep { tables: None, raw: None, history: 1 };
    let swept = vacuum(&store, &turn, keep, later, usize::MAX).await;
    let gone = swept.goes.iter().filter(|one| one.why == Why::Replaced).count();
    // Eight tables of the 10th, and the responses of the 19th.
    assert_eq!(gone, 9, "{:?}", swept.goes);
    is_clean(&store).await;
}

#[tokio::test]
async fn delta_logs_that_lack_a_checkpoint_get_one() {
    let (_folder, store) = lake();
    for seq in 1..=12 {
        publish(&store, draft(&store, "a", day(20), seq, 1)).await;
    }
    assert_eq!(delta::keep_up(&store).await.unwrap(), [], "commits write their own");
    let checkpoint = |path: &str| path.contains("checkpoint");
    for meta in store.list("offers/_delta_log").await.unwrap().iter().filter(|meta| checkpoint(&meta.path)) {
        store.delete(&meta.path).await.unwrap();
    }
    assert_eq!(delta::keep_up(&store).await.unwrap(), [Table::Offers]);
    let names = store.list("offers/_delta_log").await.unwrap();
    assert!(names.iter().any(|meta| meta.path.ends_with("00000000000000000012.checkpoint.parquet")), "{names:?}");
    assert_eq!(counts(store.root(), Table::Offers).await, "2026-11-20 a 1");
    assert_eq!(delta::keep_up(&store).await.unwrap(), []);
}
