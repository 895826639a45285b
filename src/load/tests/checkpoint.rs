use super::super::checkpoint::{self, INTERVAL};
use super::super::log::{self, Appended, Change, Entry};
use super::super::publish::{self, Pictures, Turn, Upkeep};
use super::super::{Published, Snapshot};
use super::*;
use crate::base::Kind;
use crate::store::Created;

/// An entry without any real file: nights of one attempt that stops and one that publishes.
fn entry(seq: u64) -> Entry {
    let night = u32::try_from(seq).unwrap().div_ceil(2);
    let picture = seq.is_multiple_of(2);
    let file = |table: &str| DataFile {
        path: format!("{table}/dt={}/pipeline=a/{seq}.parquet", day(night)),
        bytes: seq,
        rows: 1,
        stats: serde_json::json!({ "numRecords": 1, "maxValues": { "price": 0.1 } }),
        digest: Some(format!("xxh3-128:{seq:032x}")),
    };
    let tables: &[&str] = if picture { &["offers", "runs"] } else { &["calls", "runs"] };
    Entry {
        seq,
        pipeline: "a".to_owned(),
        dt: day(night),
        run_id: format!("run-{night}"),
        attempt: i32::from(picture) + 1,
        picture,
        published_at: at(i64::try_from(seq).unwrap()),
        huopan_version: "0.1.0".to_owned(),
        contract_version: "1.0.0".to_owned(),
        calls_to: i64::try_from(seq).unwrap() * 10,
        change: Change::Run,
        tables: tables.iter().map(|&table| (table.to_owned(), vec![file(table)])).collect(),
    }
}

async fn append(store: &Store, entry: &Entry) {
    assert_eq!(log::append(store, entry).await.unwrap(), Appended::Done);
}

fn all(snapshot: &Snapshot) -> Vec<String> {
    let files = |table| snapshot.files(table).into_iter().map(|found| format!("{} {}", found.dt, found.file.path));
    Table::ALL.into_iter().flat_map(files).collect()
}

#[tokio::test]
async fn a_log_with_a_checkpoint_reads_as_without_and_does_not_need_what_is_before() {
    let (_folder, store) = lake();
    for seq in 1..=25 {
        append(&store, &entry(seq)).await;
    }
    let whole = Snapshot::load(&store).await.unwrap();
    let names = log::names_of(&store, "a").await.unwrap();
    for at in [10, 20] {
        let state = checkpoint::state_at(&store, "a", &names, at).await.unwrap();
        assert_eq!(checkpoint::write(&store, &state).await.unwrap(), Created::Done);
        assert_eq!(checkpoint::write(&store, &state).await.unwrap(), Created::Exists);
    }
    for seq in 1..20 {
        store.delete(&Entry::path("a", seq)).await.unwrap();
    }
    let read = Snapshot::load(&store).await.unwrap();
    assert_eq!(read.state("a"), whole.state("a"));
    assert_eq!(all(&read), all(&whole));
    assert_eq!((read.attempts("a", day(3)), read.calls_to("a", "run-3")), (2, 60));
    assert!(read.has_published("a", "run-12") && !read.has_published("a", "run-13"));
    append(&store, &entry(26)).await;
    assert!(Snapshot::load(&store).await.unwrap().has_published("a", "run-13"));
}

#[tokio::test]
async fn a_log_with_a_hole_is_refused() {
    let (_folder, store) = lake();
    for seq in 1..=5 {
        append(&store, &entry(seq)).await;
    }
    store.delete(&Entry::path("a", 3)).await.unwrap();
    let error = Snapshot::load(&store).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    assert!(error.to_string().contains("00000000000000000003.json` is missing"), "{error}");
}

#[tokio::test]
async fn a_broken_checkpoint_is_named() {
    let (_folder, store) = lake();
    append(&store, &entry(1)).await;
    let path = "_huopan/publish/a/00000000000000000001.checkpoint.json.zst";
    for bytes in [b"{".to_vec(), zstd::bulk::compress(b"{}", 1).unwrap()] {
        store.put_durable(path, bytes.into()).await.unwrap();
        let error = Snapshot::load(&store).await.unwrap_err();
        assert!(error.to_string().contains(path) && error.kind() == Kind::Data, "{error}");
    }
}

#[tokio::test]
async fn every_tenth_publication_of_a_turn_leaves_a_checkpoint() {
    let (_folder, store) = lake();
    let lock = store.lock("a", "test").await.unwrap();
    let turn = Turn::take(&store, "a", &lock, at(0)).await.unwrap();
    for _ in 1..=INTERVAL + 1 {
        let mut draft = draft(&store, "a", day(20), turn.next_seq(), 1);
        draft.pictures = Pictures::Keep;
        draft.files.retain(|table, _| *table == Table::Runs);
        let Published::Done(_) = turn.publish(&store, draft).await.unwrap() else { panic!("lost") };
    }
    let names = log::names_of(&store, "a").await.unwrap();
    assert_eq!(names.checkpoints.keys().copied().collect::<Vec<_>>(), [INTERVAL]);
    assert_eq!(names.last(), INTERVAL + 1);
    assert_eq!(Snapshot::load(&store).await.unwrap().files(Table::Runs).len() as u64, INTERVAL + 1);
}

#[tokio::test]
async fn days_before_one_leave_both_logs_and_nothing_else_does() {
    let (_folder, store) = lake();
    for (seq, pipeline, dt) in [(1, "a", 18), (2, "a", 19), (3, "a", 20), (1, "b", 18)] {
        publish(&store, draft(&store, pipeline, day(dt), seq, 2)).await;
    }
    let lock = store.lock("a", "test").await.unwrap();
    let turn = Turn::take(&store, "a", &lock, at(0)).await.unwrap();
    let before = |table: Table| (table.name().to_owned(), day(if table == Table::Calls { 19 } else { 20 }));
    let before = Table::ALL.into_iter().filter(|table| *table != Table::Runs).map(before).collect();
    let upkeep = Upkeep {
        pipeline: "a".to_owned(),
        after: 3,
        dt: day(20),
        now: at(10),
        change: Change::Expire(before),
        files: BTreeMap::new(),
    };
    // Who does not know the newest publication would take away what that added.
    let late = turn.change(&store, Upkeep { after: 2, ..upkeep.clone() }).await.unwrap_err();
    assert_eq!(late.kind(), crate::base::Kind::Unavailable);
    let Published::Done(_) = turn.change(&store, upkeep).await.unwrap() else { panic!("lost") };
    let snapshot = Snapshot::load(&store).await.unwrap();
    for table in Table::ALL {
        let expected = match table {
            Table::Runs => "2026-11-18 a 2; 2026-11-18 b 2; 2026-11-19 a 2; 2026-11-20 a 2",
            Table::Calls => "2026-11-18 b 2; 2026-11-19 a 2; 2026-11-20 a 2",
            _ => "2026-11-18 b 2; 2026-11-20 a 2",
        };
        assert_eq!(counts(store.root(), table).await, expected, "{table}");
        let mut files = snapshot.files(table);
        files.sort_by_key(|found| (found.dt, found.pipeline));
        let ours: Vec<String> = files.iter().map(|found| format!("{} {} 2", found.dt, found.pipeline)).collect();
        assert_eq!(ours.join("; "), expected, "{table}");
    }
    assert_eq!(publish::roll_forward(&store, "a").await.unwrap(), None);
}
