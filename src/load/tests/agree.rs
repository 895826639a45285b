use chrono::TimeDelta;

use super::super::agree::{Difference, agree, compare};
use super::super::log::{self, Appended, Entry};
use super::super::publish::to_entry;
use super::super::upkeep::sweep::{self, Bounds, Lake};
use super::super::verify::{Depth, verify};
use super::super::{Turn, checkpoint, delta, roll_forward};
use super::*;
use crate::base::Kind;
use crate::config::pipeline::Keep;

/// Three nights in every table, the second of them published twice, and another pipeline's.
async fn nights() -> (TempDir, Store) {
    let (folder, store) = lake();
    for (seq, dt, rows) in [(1, 18, 3), (2, 19, 4), (3, 19, 5), (4, 20, 6)] {
        publish(&store, draft(&store, "a", day(dt), seq, rows)).await;
    }
    publish(&store, draft(&store, "b", day(20), 1, 2)).await;
    (folder, store)
}

/// Mends whatever the pipelines' tables lack, as `huopan lake optimize` does.
async fn mend(store: &Store) -> Vec<Difference> {
    let mut mended = Vec::new();
    for pipeline in ["a", "b"] {
        let lock = store.lock(pipeline, "test").await.unwrap();
        let _turn = Turn::take(store, pipeline, &lock, at(0)).await.unwrap();
        let state = checkpoint::state(store, pipeline).await.unwrap();
        for found in compare(store, &state, &Table::ALL).await.unwrap() {
            assert_eq!(agree(store, &state, found.table, at(0)).await.unwrap(), found);
            mended.push(found);
        }
        lock.release().await.unwrap();
    }
    mended
}

async fn remedies(store: &Store) -> Vec<String> {
    let found = verify(store, Depth::Full).await.unwrap().problems;
    found.into_iter().map(|problem| problem.remedy).collect()
}

async fn is_clean(store: &Store) {
    assert_eq!(verify(store, Depth::Full).await.unwrap().problems, []);
}

#[tokio::test]
async fn a_table_that_lost_its_log_gets_all_that_is_published_again() {
    for table in [Table::Offers, Table::Calls, Table::Runs] {
        let (_folder, store) = nights().await;
        let before = all_counts(store.root()).await;
        std::fs::remove_dir_all(store.root().join(format!("{table}/_delta_log"))).unwrap();
        let said = remedies(&store).await;
        assert!(!said.is_empty() && said.iter().all(|said| said.contains("`huopan lake optimize`")), "{said:?}");
        mend(&store).await;
        assert_eq!(all_counts(store.root()).await, before, "{table}");
        is_clean(&store).await;
        assert_eq!(mend(&store).await, [], "{table}");
        assert_eq!(roll_forward(&store, "a").await.unwrap(), None);
        publish(&store, draft(&store, "a", day(21), 5, 1)).await;
        is_clean(&store).await;
    }
}

#[tokio::test]
async fn a_commit_that_was_emptied_is_made_up_for() {
    for (version, expected) in [(1, (1, 0)), (2, (0, 0)), (3, (1, 1))] {
        let (_folder, store) = nights().await;
        let before = all_counts(store.root()).await;
        let commit = store.root().join(format!("offers/_delta_log/{version:020}.json"));
        std::fs::write(&commit, "").unwrap();
        let found = mend(&store).await;
        // What the second commit added has been replaced.
        let (missing, unpublished) = expected;
        let expected = Difference { table: Table::Offers, missing, unpublished, unknown: 0 };
        assert_eq!(found, if version == 2 { vec![] } else { vec![expected] }, "{version}");
        assert_eq!(all_counts(store.root()).await, before);
        is_clean(&store).await;
        // A reader needs the damaged commit no more.
        if version != 2 {
            std::fs::remove_file(&commit).unwrap();
            assert_eq!(all_counts(store.root()).await, before);
        }
    }
}

#[tokio::test]
async fn rows_that_somebody_took_out_of_a_table_come_back() {
    // deltalake-core's own `delete` cannot take the path of the other tests' lake.
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path()).unwrap();
    publish(&store, draft(&store, "a", day(20), 1, 5)).await;
    let before = all_counts(store.root()).await;
    let _ = super::super::delta::open(&store, Table::Shops).await.unwrap().delete().await.unwrap();
    assert_eq!(mend(&store).await, [Difference { table: Table::Shops, missing: 1, unpublished: 0, unknown: 0 }]);
    assert_eq!(all_counts(store.root()).await, before);
    is_clean(&store).await;
}

#[tokio::test]
async fn nothing_is_mended_where_the_publish_log_is_cut_short() {
    let (_folder, store) = nights().await;
    let (before, entry) = (all_counts(store.root()).await, Entry::path("a", 4));
    let kept = store.get(&entry).await.unwrap().unwrap();
    store.delete(&entry).await.unwrap();
    let state = checkpoint::state(&store, "a").await.unwrap();
    for error in [
        compare(&store, &state, &[Table::Offers]).await.unwrap_err(),
        agree(&store, &state, Table::Offers, at(0)).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.to_string().ends_with("and the publish log ends at 3"), "{error}");
        assert!(error.hint().unwrap().starts_with("restore the newest entries"), "{error:?}");
    }
    assert_eq!(all_counts(store.root()).await, before);
    store.put_durable(&entry, kept).await.unwrap();
    is_clean(&store).await;
}

#[tokio::test]
async fn nothing_is_published_over_a_publish_log_that_is_cut_short_or_gone() {
    for from in [4, 1] {
        let (_folder, store) = nights().await;
        let before = all_counts(store.root()).await;
        for meta in store.list("_huopan/publish/a").await.unwrap() {
            let is_left = (1..from).any(|seq| meta.path == Entry::path("a", seq));
            if !is_left {
                store.delete(&meta.path).await.unwrap();
            }
        }
        let error = super::super::publish(&store, draft(&store, "a", day(21), from, 2)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Data, "{error}");
        assert!(error.hint().unwrap().starts_with("restore the newest entries"), "{error:?}");
        assert_eq!(all_counts(store.root()).await, before);
    }
}

#[tokio::test]
async fn a_publication_that_the_log_has_lost_stays_in_the_table_and_what_others_wrote_does_not() {
    for (run_id, missing, unpublished, unknown) in
        [("0198c2d4-0000-7000-8000-000000000000", 0, 0, 1), ("part-00000-x", 1, 1, 0)]
    {
        let (_folder, store) = lake();
        publish(&store, draft(&store, "a", day(19), 1, 4)).await;
        let mut lost = draft(&store, "a", day(19), 2, 3);
        let (table, run_id) = (Table::Offers, run_id.to_owned());
        let target = Target { table, dt: day(19), pipeline: "a".into(), run_id, seq: 2 };
        let path = target.folder().unwrap() + "/" + &target.run_id;
        let rows = rows::sample(table, 3);
        lost.files.insert(table, write(&store, target, WriterOptions::default(), &[rows]));
        publish(&store, lost).await;
        // Another entry was decided in its place, by a huopan that let it.
        store.delete(&Entry::path("a", 2)).await.unwrap();
        let other = to_entry(draft(&store, "a", day(20), 2, 2)).unwrap();
        assert_eq!(log::append(&store, &other).await.unwrap(), Appended::Done);
        for table in Table::ALL {
            let opened = delta::open(&store, table).await.unwrap();
            let _ = delta::commit(&store, table, &other, Some(opened)).await.unwrap();
        }
        let found = verify(&store, Depth::Quick).await.unwrap().problems;
        let of_file = found.iter().find(|problem| problem.subject.starts_with(&path)).unwrap();
        assert_eq!(of_file.remedy.contains("has lost a publication of this day"), unknown > 0, "{of_file:?}");
        let mended = mend(&store).await;
        let of_offers = mended.iter().find(|found| found.table == table).unwrap();
        assert_eq!(*of_offers, Difference { table, missing, unpublished, unknown });
        let rows = if unknown > 0 { 3 } else { 4 };
        assert_eq!(counts(store.root(), table).await, format!("2026-11-19 a {rows}; 2026-11-20 a 2"));
        // The day published anew takes it out.
        publish(&store, draft(&store, "a", day(19), 3, 1)).await;
        assert_eq!(counts(store.root(), table).await, "2026-11-19 a 1; 2026-11-20 a 2");
    }
}

#[tokio::test]
async fn a_table_that_lost_its_log_is_whole_again_also_where_the_publish_log_begins_late() {
    let (_folder, store) = nights().await;
    let lock = store.lock("a", "test").await.unwrap();
    let turn = Turn::take(&store, "a", &lock, at(0)).await.unwrap();
    let later = store.list("_huopan").await.unwrap()[0].modified_at + TimeDelta::days(8);
    let lake = Lake::list(&store).await.unwrap();
    let bounds = Bounds { keep: Keep::default(), now: later, files_max: usize::MAX };
    let _ = sweep::vacuum(&store, "a", &turn, &lake, bounds).await.unwrap();
    lock.release().await.unwrap();
    assert!(log::read(&store, "a", 1).await.unwrap().is_none());
    let before = all_counts(store.root()).await;
    for table in [Table::Runs, Table::Offers] {
        std::fs::remove_dir_all(store.root().join(format!("{table}/_delta_log"))).unwrap();
    }
    mend(&store).await;
    assert_eq!(all_counts(store.root()).await, before);
    is_clean(&store).await;
}
