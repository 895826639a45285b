use super::super::log::{self, Appended, Change, Entry};
use super::super::{Retained, Snapshot, State, publish};
use super::*;
use crate::base::Kind;
use crate::store::late::Hidden;

fn entry(pipeline: &str, seq: u64, dt: NaiveDate, picture: bool) -> Entry {
    let file = |table: &str| DataFile {
        path: format!("{table}/{pipeline}-{seq}.parquet"),
        bytes: 1,
        rows: 1,
        stats: serde_json::json!({ "numRecords": 1, "minValues": { "price": 12.3456 } }),
        digest: None,
    };
    let tables: &[&str] = if picture { &["offers", "runs"] } else { &["runs"] };
    Entry {
        seq,
        pipeline: pipeline.to_owned(),
        dt,
        run_id: format!("run-{seq}"),
        attempt: 1,
        picture,
        published_at: at(0),
        huopan_version: "0.1.0".to_owned(),
        contract_version: "1.0.0".to_owned(),
        calls_to: 0,
        change: Change::Run,
        tables: tables.iter().map(|&table| (table.to_owned(), vec![file(table)])).collect(),
    }
}

fn paths(snapshot: &Snapshot, table: Table) -> Vec<&str> {
    snapshot.files(table).iter().map(|found| found.file.path.as_str()).collect()
}

#[tokio::test]
async fn one_of_two_entries_of_a_number_is_decided_and_the_other_learns_of_it() {
    let (_folder, store) = lake();
    let (first, other) = (entry("a", 1, day(20), true), entry("a", 1, day(21), true));
    assert_eq!(log::append(&store, &first).await.unwrap(), Appended::Done);
    assert_eq!(log::append(&store, &other).await.unwrap(), Appended::Lost(Box::new(first.clone())));
    assert_eq!(log::append(&store, &first).await.unwrap(), Appended::Already, "asked again");
    assert_eq!(log::read(&store, "a", 1).await.unwrap(), Some(first));
}

#[tokio::test]
async fn numbers_follow_each_other_by_pipeline() {
    let (_folder, store) = lake();
    assert_eq!(publish::next_seq(&store, "a").await.unwrap(), 1);
    for seq in [0, 2] {
        assert_eq!(log::append(&store, &entry("a", seq, day(20), true)).await.unwrap_err().kind(), Kind::Internal);
    }
    for seq in 1..=11 {
        assert_eq!(log::append(&store, &entry("a", seq, day(20), true)).await.unwrap(), Appended::Done);
    }
    assert_eq!(publish::next_seq(&store, "a").await.unwrap(), 12);
    assert_eq!(publish::next_seq(&store, "b").await.unwrap(), 1);
}

#[tokio::test]
async fn a_late_listing_hides_no_entry() {
    let (_folder, store) = lake();
    for seq in 1..=5 {
        assert_eq!(log::append(&store, &entry("a", seq, day(20), true)).await.unwrap(), Appended::Done);
    }
    assert_eq!(log::append(&store, &entry("b", 1, day(20), true)).await.unwrap(), Appended::Done);
    let hidden = Hidden::default();
    let late = hidden.over(&store);
    let whole = log::names(&store).await.unwrap();
    let path = |seq| Entry::path("a", seq);
    for seqs in [&[5][..], &[4, 5], &[2, 3, 4, 5], &[1, 2, 3, 4, 5]] {
        let paths: Vec<String> = seqs.iter().map(|&seq| path(seq)).collect();
        hidden.hide(paths.iter().map(String::as_str));
        assert_eq!(log::names_of(&late, "a").await.unwrap(), whole["a"], "{seqs:?}");
        assert_eq!(publish::next_seq(&late, "a").await.unwrap(), 6, "{seqs:?}");
    }
    hidden.hide([path(5).as_str()]);
    assert_eq!(log::names(&late).await.unwrap(), whole);
    for seqs in [[1, 3], [2, 4], [1, 5]] {
        let paths = seqs.map(path);
        hidden.hide(paths.iter().map(String::as_str));
        assert_eq!(log::whole_of(&late, "a").await.unwrap(), whole["a"], "{seqs:?}");
    }
}

#[tokio::test]
async fn a_late_listing_hides_no_log_that_somebody_knows_of() {
    let (_folder, store) = lake();
    assert_eq!(log::append(&store, &entry("a", 1, day(20), true)).await.unwrap(), Appended::Done);
    let hidden = Hidden::default();
    hidden.hide([Entry::path("a", 1).as_str()]);
    let late = hidden.over(&store);
    assert_eq!(Retained::load(&late).await.unwrap().last_seq("a"), 0);
    let known = Retained::load_with(&late, ["a", "b"]).await.unwrap();
    assert_eq!((known.last_seq("a"), known.pipelines().collect::<Vec<_>>()), (1, vec!["a"]));
}

#[tokio::test]
async fn a_late_listing_hides_no_checkpoint_that_the_log_begins_with() {
    let (_folder, store) = lake();
    let mut state = State::new("a");
    for seq in 1..=8 {
        assert_eq!(log::append(&store, &entry("a", seq, day(20), true)).await.unwrap(), Appended::Done);
        state.apply(entry("a", seq, day(20), true));
        if matches!(seq, 4 | 6) {
            let _ = super::super::checkpoint::write(&store, &state).await.unwrap();
        }
    }
    for seq in 1..4 {
        store.delete(&Entry::path("a", seq)).await.unwrap();
    }
    let whole = log::names_of(&store, "a").await.unwrap();
    assert_eq!((whole.base(), whole.entries.len()), (Some(4), 5));
    assert_eq!(log::whole_of(&store, "a").await.unwrap(), whole, "what is gone stays gone");
    let (hidden, checkpoint) = (Hidden::default(), log::checkpoint_path("a", 4));
    hidden.hide([checkpoint.as_str()]);
    let late = hidden.over(&store);
    for names in [log::names_of(&late, "a").await, log::whole_of(&late, "a").await] {
        assert_eq!(names.unwrap(), whole);
    }
    assert_eq!(log::names(&late).await.unwrap()["a"], whole);
}

#[tokio::test]
async fn a_broken_entry_is_named() {
    let (_folder, store) = lake();
    store.put_durable(&Entry::path("a", 1), "{".into()).await.unwrap();
    let error = Snapshot::load(&store).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    assert!(error.to_string().contains("_huopan/publish/a/00000000000000000001.json"), "{error}");
    let moved = serde_json::to_vec(&entry("b", 1, day(20), true)).unwrap();
    store.put_durable(&Entry::path("a", 1), moved.into()).await.unwrap();
    assert_eq!(log::read(&store, "a", 1).await.unwrap_err().kind(), Kind::Data);
}

#[tokio::test]
async fn readers_see_the_newest_picture_of_a_day_and_every_journal() {
    let (_folder, store) = lake();
    for entry in [
        entry("a", 1, day(18), true),
        entry("a", 2, day(20), true),
        entry("a", 3, day(20), false),
        entry("a", 4, day(18), true),
        entry("b", 1, day(20), false),
    ] {
        assert_eq!(log::append(&store, &entry).await.unwrap(), Appended::Done);
    }
    let snapshot = Snapshot::load(&store).await.unwrap();
    assert_eq!(paths(&snapshot, Table::Offers), ["offers/a-4.parquet", "offers/a-2.parquet"]);
    let runs = ["runs/a-1.parquet", "runs/a-2.parquet", "runs/a-3.parquet", "runs/a-4.parquet", "runs/b-1.parquet"];
    assert_eq!(paths(&snapshot, Table::Runs), runs);
    assert_eq!(paths(&snapshot, Table::Skus), [""; 0]);
    assert_eq!(snapshot.pipelines().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(snapshot.published_days("a").collect::<Vec<_>>(), [day(18), day(20)]);
    assert_eq!((snapshot.latest_dt("a"), snapshot.latest_dt("b")), (Some(day(20)), None));
    assert_eq!(snapshot.previous_dt("a", day(20)), Some(day(18)));
    assert_eq!(snapshot.previous_dt("a", day(19)), Some(day(18)));
    assert_eq!(snapshot.previous_dt("a", day(18)), None);
    assert_eq!(snapshot.picture("a", day(18)).map(|entry| entry.seq), Some(4));
    assert_eq!(snapshot.picture("a", day(19)), None);
    let [first, ..] = snapshot.files(Table::Runs)[..] else { panic!() };
    assert_eq!((first.dt, first.pipeline), (day(18), "a"));
}

#[tokio::test]
async fn an_empty_lake_is_an_empty_snapshot() {
    let (_folder, store) = lake();
    let snapshot = Snapshot::load(&store).await.unwrap();
    assert!(Table::ALL.into_iter().all(|table| snapshot.files(table).is_empty()));
    assert_eq!(snapshot.latest_dt("a"), None);
}
