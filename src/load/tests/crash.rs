use chrono::TimeDelta;

use super::super::log::{self, Appended, Entry};
use super::super::publish::{next_seq, roll_forward, to_entry};
use super::super::upkeep::sweep;
use super::super::{Snapshot, Turn, delta};
use super::*;
use crate::base::{Error, Kind};
use crate::config::pipeline::Keep;
use crate::store::PipelineLock;
use crate::store::late::Hidden;

/// Publishes a first time, then a second time up to (not including) the commit of table number `commits`.
async fn crashed_after(store: &Store, commits: usize) -> Entry {
    publish(store, draft(store, "a", day(20), 1, 2)).await;
    let second = draft(store, "a", day(20), 2, 5);
    let entry = to_entry(second).unwrap();
    assert_eq!(log::append(store, &entry).await.unwrap(), Appended::Done);
    for table in Table::ALL.into_iter().take(commits) {
        assert_eq!(delta::commit(store, table, &entry, None).await.unwrap(), delta::Committed::Done);
    }
    entry
}

#[tokio::test]
async fn a_crash_between_the_decision_and_any_delta_commit_is_made_up_for() {
    let whole = {
        let (_folder, store) = lake();
        publish(&store, draft(&store, "a", day(20), 1, 2)).await;
        publish(&store, draft(&store, "a", day(20), 2, 5)).await;
        all_counts(store.root()).await
    };
    for commits in 0..=Table::ALL.len() {
        let (_folder, store) = lake();
        let entry = crashed_after(&store, commits).await;
        let completed = roll_forward(&store, "a").await.unwrap();
        let missing = &Table::ALL[commits..];
        assert_eq!(completed.as_ref().map(|done| done.committed.as_slice()), (!missing.is_empty()).then_some(missing));
        assert!(completed.is_none_or(|done| done.entry == entry));
        assert_eq!(all_counts(store.root()).await, whole, "crashed after {commits} commits");
        assert_eq!(roll_forward(&store, "a").await.unwrap(), None, "crashed after {commits} commits");
    }
}

#[tokio::test]
async fn a_log_that_ends_before_what_a_turn_knows_is_no_picture_of_the_lake() {
    let (_folder, store) = lake();
    publish(&store, draft(&store, "a", day(20), 1, 2)).await;
    publish(&store, draft(&store, "a", day(21), 2, 5)).await;
    let lock = store.lock("a", "test").await.unwrap();
    let turn = Turn::take(&store, "a", &lock, at(0)).await.unwrap();
    let newest = store.root().join(Entry::path("a", 2));
    let aside = store.root().join("aside");
    std::fs::rename(&newest, &aside).unwrap();
    let snapshot = async || turn.snapshot(&store, "a").await;
    let error = snapshot().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("00002.json"), "{error}");
    std::fs::rename(&aside, &newest).unwrap();
    assert_eq!(snapshot().await.unwrap().latest_dt("a"), Some(day(21)));
    // What the turn decides itself is known to it, too.
    let Published::Done(_) = turn.publish(&store, draft(&store, "a", day(22), 3, 1)).await.unwrap() else { panic!() };
    std::fs::rename(store.root().join(Entry::path("a", 3)), &aside).unwrap();
    assert!(snapshot().await.is_err());
    assert!(turn.state(&store, "a").await.is_err() && turn.names(&store, "a").await.is_err());
    lock.release().await.unwrap();
}

#[tokio::test]
async fn the_decision_alone_is_what_huopans_own_readers_see() {
    let (_folder, store) = lake();
    let entry = crashed_after(&store, 0).await;
    let snapshot = Snapshot::load(&store).await.unwrap();
    let files: Vec<_> = snapshot.files(Table::Offers).iter().map(|found| found.file.clone()).collect();
    assert_eq!(files, entry.files(Table::Offers));
}

#[tokio::test]
async fn files_without_a_decision_are_nobodys() {
    let (_folder, store) = lake();
    publish(&store, draft(&store, "a", day(20), 1, 2)).await;
    let before = all_counts(store.root()).await;
    let orphan = draft(&store, "a", day(20), 2, 5);
    assert_eq!(roll_forward(&store, "a").await.unwrap(), None);
    assert_eq!(all_counts(store.root()).await, before);
    assert_eq!(next_seq(&store, "a").await.unwrap(), 2);
    // The run again: its files get other names, the orphans stay unread.
    let again = draft(&store, "a", day(20), 2, 5);
    assert_ne!(again.files[&Table::Offers][0].path, orphan.files[&Table::Offers][0].path);
    publish(&store, again).await;
    assert_eq!(counts(store.root(), Table::Offers).await, "2026-11-20 a 5");
}

#[tokio::test]
async fn several_unfinished_publications_are_completed_in_their_order() {
    let (_folder, store) = lake();
    let entry = crashed_after(&store, 3).await;
    let mut third = entry.clone();
    third.seq = 3;
    third.dt = day(21);
    let files = draft(&store, "a", day(21), 3, 4).files;
    third.tables = files.into_iter().map(|(table, files)| (table.name().to_owned(), files)).collect();
    assert_eq!(log::append(&store, &third).await.unwrap(), Appended::Done);
    assert_eq!(roll_forward(&store, "a").await.unwrap().map(|done| done.entry.seq), Some(3));
    assert_eq!(counts(store.root(), Table::Offers).await, "2026-11-20 a 5; 2026-11-21 a 4");
    assert_eq!(counts(store.root(), Table::Runs).await, "2026-11-20 a 7; 2026-11-21 a 4");
}

#[tokio::test]
async fn a_lake_without_publications_has_nothing_to_complete() {
    let (_folder, store) = lake();
    assert_eq!(roll_forward(&store, "a").await.unwrap(), None);
    assert_eq!(store.list("").await.unwrap(), [], "and nothing was created");
}

#[tokio::test]
async fn a_later_publication_does_not_hide_an_unfinished_one() {
    let (_folder, store) = lake();
    crashed_after(&store, 1).await;
    // Whoever publishes next without a roll-forward of its own still completes it first.
    publish(&store, draft(&store, "a", day(21), 3, 4)).await;
    assert_eq!(counts(store.root(), Table::PriceTiers).await, counts(store.root(), Table::Offers).await);
    assert_eq!(counts(store.root(), Table::Offers).await, "2026-11-20 a 5; 2026-11-21 a 4");
}

#[tokio::test]
async fn a_commit_lost_behind_a_kept_later_one_is_made_up_for() {
    let (_folder, store) = lake();
    let entry = crashed_after(&store, 0).await;
    // A power cut may keep the commit of `runs`, which is made last, and lose those before it.
    assert_eq!(delta::commit(&store, Table::Runs, &entry, None).await.unwrap(), delta::Committed::Done);
    assert_eq!(roll_forward(&store, "a").await.unwrap().map(|done| done.entry.seq), Some(2));
    assert_eq!(counts(store.root(), Table::Offers).await, "2026-11-20 a 5");
    assert_eq!(counts(store.root(), Table::Runs).await, "2026-11-20 a 7");
}

/// A lock that was taken from a holder who had not let go of it, or one that is lost.
#[derive(Debug, Clone, Copy)]
enum Hold {
    TakenOver,
    Lost,
}

#[async_trait::async_trait]
impl crate::store::Hold for Hold {
    fn is_taken_over(&self) -> bool {
        matches!(self, Hold::TakenOver)
    }

    fn check(&self) -> crate::base::Result<()> {
        match self {
            Hold::TakenOver => Ok(()),
            Hold::Lost => Err(Error::new(Kind::Conflict, "lost")),
        }
    }

    async fn release(self: Box<Self>) -> crate::base::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_holder_whose_lock_expired_decides_nothing_any_more() {
    let (_folder, store) = lake();
    let expired = store.lock("a", "first").await.unwrap();
    let first = Turn::take(&store, "a", &expired, at(0)).await.unwrap();
    let late = draft(&store, "a", day(20), first.next_seq(), 2);
    // Somebody else takes the lock over, and has published nothing yet when the first one comes to decide.
    let lock = PipelineLock::new(Hold::TakenOver);
    let second = Turn::take(&store, "a", &lock, at(1)).await.unwrap();
    assert!(matches!(first.publish(&store, late.clone()).await.unwrap(), Published::Lost(_)));
    assert!(matches!(first.publish(&store, late).await.unwrap(), Published::Lost(_)), "nor the next time");
    assert_eq!(counts(store.root(), Table::Offers).await, "");
    let own = draft(&store, "a", day(20), second.next_seq(), 5);
    assert!(matches!(second.publish(&store, own).await.unwrap(), Published::Done(_)));
    assert_eq!(counts(store.root(), Table::Offers).await, "2026-11-20 a 5");
    let state = Snapshot::load(&store).await.unwrap();
    assert_eq!(state.attempts("a", day(20)), 1, "the fence is no attempt");
}

#[tokio::test]
async fn no_fence_hides_that_the_publish_log_has_lost_its_end() {
    let (_folder, store) = lake();
    for seq in 1..=2 {
        publish(&store, draft(&store, "a", day(20), seq, 2)).await;
    }
    store.delete(&Entry::path("a", 2)).await.unwrap();
    let lock = PipelineLock::new(Hold::TakenOver);
    assert_eq!(Turn::take(&store, "a", &lock, at(1)).await.unwrap_err().kind(), Kind::Data);
    assert_eq!(next_seq(&store, "a").await.unwrap(), 2, "nothing takes the number");
}

#[tokio::test]
async fn a_holder_who_knows_that_its_lock_is_lost_does_not_even_try() {
    let (_folder, store) = lake();
    let lock = PipelineLock::new(Hold::Lost);
    let turn = Turn::take(&store, "a", &lock, at(0)).await.unwrap();
    let draft = draft(&store, "a", day(20), turn.next_seq(), 2);
    assert_eq!(turn.publish(&store, draft).await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(next_seq(&store, "a").await.unwrap(), 1);
}

#[tokio::test]
async fn a_vacuum_whose_lock_is_lost_deletes_nothing() {
    let (_folder, store) = lake();
    for seq in 1..=2 {
        publish(&store, draft(&store, "a", day(20), seq, 2)).await;
    }
    let before = store.list("offers").await.unwrap();
    let lock = PipelineLock::new(Hold::Lost);
    let turn = Turn::take(&store, "a", &lock, at(0)).await.unwrap();
    let (keep, now) = (Keep::default(), before[0].modified_at + TimeDelta::days(8));
    let lake = sweep::Lake::list(&store).await.unwrap();
    assert!(!lake.look(&store, "a", keep, now).await.unwrap().goes.is_empty());
    let bounds = sweep::Bounds { keep, now, files_max: usize::MAX };
    assert_eq!(sweep::vacuum(&store, "a", &turn, &lake, bounds).await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(store.list("offers").await.unwrap(), before);
}

#[tokio::test]
async fn a_lake_of_which_a_late_listing_shows_no_log_is_not_taken_for_a_new_one() {
    let (_folder, store) = lake();
    for seq in 1..=2 {
        publish(&store, draft(&store, "a", day(20), seq, 2)).await;
    }
    // What `lake vacuum` leaves of a log.
    let state = super::super::checkpoint::state(&store, "a").await.unwrap();
    let _ = super::super::checkpoint::write(&store, &state).await.unwrap();
    store.delete(&Entry::path("a", 1)).await.unwrap();
    let hidden = Hidden::default();
    let late = hidden.over(&store);
    let commits = (0..3).map(|version| format!("runs/_delta_log/{version:020}.json"));
    let paths: Vec<String> = commits.chain([Entry::path("a", 2), log::checkpoint_path("a", 2)]).collect();
    hidden.hide(paths.iter().map(String::as_str));
    let lock = store.lock("a", "test").await.unwrap();
    let error = Turn::take(&late, "a", &lock, at(0)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    hidden.hide([]);
    assert_eq!(Turn::take(&late, "a", &lock, at(0)).await.unwrap().next_seq(), 3);
}

#[tokio::test]
async fn no_number_is_given_again_that_any_table_has() {
    let (_folder, store) = lake();
    for seq in 1..=2 {
        publish(&store, draft(&store, "a", day(20), seq, 2)).await;
    }
    store.delete(&Entry::path("a", 2)).await.unwrap();
    std::fs::remove_dir_all(store.root().join("runs/_delta_log")).unwrap();
    let again = draft(&store, "a", day(21), 2, 5);
    let error = super::super::publish(&store, again).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Data, "{error}");
    assert_eq!(next_seq(&store, "a").await.unwrap(), 2, "nothing is decided");
}
