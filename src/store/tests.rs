use std::sync::Barrier;

use super::*;
use crate::base::Kind;

fn lake() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("lake")).unwrap();
    (folder, store)
}

fn paths(files: &[Meta]) -> Vec<&str> {
    files.iter().map(|file| file.path.as_str()).collect()
}

#[tokio::test]
async fn what_was_put_is_read_back_and_listed_in_order() {
    let (_folder, store) = lake();
    for path in ["b/2", "a/x/1", "a-b", "a/y"] {
        store.put_durable(path, Bytes::from(path.to_owned())).await.unwrap();
    }
    store.put_durable("a/y", Bytes::from_static(b"again")).await.unwrap();
    assert_eq!(store.get("a/y").await.unwrap().as_deref(), Some(&b"again"[..]));
    assert_eq!(store.get("a/z").await.unwrap(), None);
    assert_eq!(store.get("a/y/z").await.unwrap(), None, "a file has nothing below it");
    assert_eq!(paths(&store.list("").await.unwrap()), ["a-b", "a/x/1", "a/y", "b/2"]);
    let below = store.list("a/").await.unwrap();
    assert_eq!(paths(&below), ["a/x/1", "a/y"]);
    assert_eq!(below[1].bytes, 5);
    assert_eq!(store.list("nothing/here").await.unwrap(), []);
    store.delete("a/y").await.unwrap();
    store.delete("a/y").await.unwrap();
    assert_eq!(store.get("a/y").await.unwrap(), None);
}

#[tokio::test]
async fn an_object_store_reader_sees_the_same_files() {
    use object_store::ObjectStoreExt;
    let (_folder, store) = lake();
    store.put_durable("offers/dt=2026-11-20/x.parquet", Bytes::from_static(b"PAR1")).await.unwrap();
    let path = object_store::path::Path::from("offers/dt=2026-11-20/x.parquet");
    let bytes = store.object_store().get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes, &b"PAR1"[..]);
    assert!(store.url().as_str().starts_with("file:///") && store.url().as_str().ends_with("/lake/"));
}

#[tokio::test]
async fn files_that_are_still_being_written_are_not_listed() {
    let (_folder, store) = lake();
    store.put_durable("a/1", Bytes::new()).await.unwrap();
    std::fs::write(store.root().join("a/.huopan-tmp-1-1"), b"half").unwrap();
    assert_eq!(paths(&store.list("a").await.unwrap()), ["a/1"]);
}

#[test]
fn of_many_creators_exactly_one_wins_and_its_bytes_stay() {
    const CREATORS: usize = 8;
    const ROUNDS: usize = 25;
    let (_folder, store) = lake();
    let start = Barrier::new(CREATORS);
    let winners: Vec<Vec<usize>> = std::thread::scope(|scope| {
        let creator = |me: usize| {
            let (store, start) = (&store, &start);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let won = |round: &usize| {
                    start.wait();
                    let path = format!("log/{round:03}");
                    let created = runtime.block_on(store.create(&path, Bytes::from(me.to_string())));
                    created.unwrap() == Created::Done
                };
                (0..ROUNDS).filter(won).collect::<Vec<_>>()
            })
        };
        let creators: Vec<_> = (0..CREATORS).map(creator).collect();
        creators.into_iter().map(|creator| creator.join().unwrap()).collect()
    });
    for round in 0..ROUNDS {
        let won: Vec<usize> = (0..CREATORS).filter(|&creator| winners[creator].contains(&round)).collect();
        assert_eq!(won.len(), 1, "winners of round {round}: {won:?}");
        let bytes = std::fs::read_to_string(store.root().join(format!("log/{round:03}"))).unwrap();
        assert_eq!(bytes, won[0].to_string());
    }
    let left = std::fs::read_dir(store.root().join("log")).unwrap().count();
    assert_eq!(left, ROUNDS, "no temporary file is left");
}

#[tokio::test]
async fn a_reader_never_sees_half_a_file() {
    let (_folder, store) = lake();
    let versions = [vec![b'a'; 1 << 20], vec![b'b'; 1 << 20]];
    store.put_durable("f", versions[0].clone().into()).await.unwrap();
    let writer = async {
        for round in 1..20 {
            store.put_durable("f", versions[round % 2].clone().into()).await.unwrap();
        }
    };
    let reader = async {
        for _ in 0..40 {
            let bytes = store.get("f").await.unwrap().unwrap();
            assert!(versions.iter().any(|version| *version == bytes), "{} bytes", bytes.len());
        }
    };
    tokio::join!(writer, reader);
}

#[tokio::test]
async fn a_held_lock_says_who_holds_it_and_ends_with_its_holder() {
    let (_folder, store) = lake();
    let since = DateTime::from_timestamp(1_795_019_400, 0).unwrap();
    let holder = describe_holder(since);
    assert!(holder.starts_with(&format!("process {} on ", std::process::id())), "{holder}");
    assert!(holder.ends_with(" since 2026-11-19T00:30:00+08:00"), "{holder}");
    let lock = store.lock("nightly", &holder).await.unwrap();
    let other = store.lock("weekly", "somebody").await.unwrap();
    let error = store.lock("nightly", "me").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    let expected = format!("pipeline `nightly` is already running: its lock is held by `{holder}`");
    assert_eq!(error.to_string(), expected);
    drop((lock, other));
    drop(store.lock("nightly", "me").await.unwrap());
}

#[tokio::test]
async fn a_path_that_leaves_the_lake_is_refused() {
    let (_folder, store) = lake();
    for path in ["../x", "a/../../x", "/etc/passwd", "", "a//b", ".", "a/", "a\\b"] {
        assert_eq!(store.get(path).await.unwrap_err().kind(), Kind::Internal, "{path}");
    }
}

#[test]
fn an_unwritable_lake_is_a_configuration_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    for root in [file.clone(), file.join("lake"), Path::new("/proc/huopan-lake").to_owned()] {
        let error = Store::open(&root).unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert_eq!(error.to_string(), format!("the lake `{}` cannot be written", root.display()));
        assert!(error.hint().is_some());
    }
    let error = Store::open_existing(&folder.path().join("none")).unwrap_err();
    assert!(error.to_string().starts_with("there is no lake at `"), "{error}");
}

#[test]
fn a_full_disk_is_a_storage_error_that_says_so() {
    let error = local::failed("write", Path::new("/lake/x"), std::io::ErrorKind::StorageFull.into());
    assert_eq!(error.kind(), Kind::Storage);
    assert_eq!(error.hint(), Some("the disk is full: free space, then run again"));
}
