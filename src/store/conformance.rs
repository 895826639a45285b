//! What every kind of store must keep; run on a folder, on an S3 server in this process, and by whoever adds one.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future::join_all;

use super::*;
use crate::base::Kind;

fn paths(files: &[Meta]) -> Vec<&str> {
    files.iter().map(|file| file.path.as_str()).collect()
}

/// Runs the whole suite on an empty lake.
pub(super) async fn conforms(store: &Store) {
    reads_what_was_put(store).await;
    object_store_readers_see_the_same(store).await;
    of_many_creators_one_wins(store).await;
    files_get_their_name_when_they_are_whole(store).await;
    one_holds_a_lock(store).await;
    leaves_no_path(store).await;
    store.probe().await.unwrap();
}

async fn reads_what_was_put(store: &Store) {
    for path in ["c/b/2", "c/a/x/1", "c/a-b", "c/a/y"] {
        store.put_durable(path, Bytes::from(path.to_owned())).await.unwrap();
    }
    store.put_durable("c/a/y", Bytes::from_static(b"again")).await.unwrap();
    assert_eq!(store.get("c/a/y").await.unwrap().as_deref(), Some(&b"again"[..]));
    assert_eq!(store.get("c/a/z").await.unwrap(), None);
    assert_eq!(paths(&store.list("c").await.unwrap()), ["c/a-b", "c/a/x/1", "c/a/y", "c/b/2"]);
    let below = store.list("c/a/").await.unwrap();
    assert_eq!(paths(&below), ["c/a/x/1", "c/a/y"], "a folder is no prefix of a name");
    assert_eq!(below[1].bytes, 5);
    let meta = store.meta("c/a/y").await.unwrap().unwrap();
    assert_eq!((&meta.path, meta.bytes), (&below[1].path, 5));
    assert!((meta.modified_at - below[1].modified_at).num_milliseconds().abs() < 1000, "{meta:?}, {:?}", below[1]);
    assert_eq!(store.meta("c/a/z").await.unwrap(), None);
    assert_eq!(store.list("nothing/here").await.unwrap(), []);
    store.delete("c/a/y").await.unwrap();
    store.delete("c/a/y").await.unwrap();
    assert_eq!(store.get("c/a/y").await.unwrap(), None);
}

async fn object_store_readers_see_the_same(store: &Store) {
    use object_store::ObjectStoreExt;
    store.put_durable("offers/dt=2026-11-20/x.parquet", Bytes::from_static(b"PAR1")).await.unwrap();
    let path = object_store::path::Path::from("offers/dt=2026-11-20/x.parquet");
    let parts = store.get_ranges(path.as_ref(), &[2..4, 0..1]).await.unwrap().unwrap();
    assert_eq!(parts, ["R1", "P"]);
    assert_eq!(store.get_ranges("offers/none.parquet", &[0..1, 1..2]).await.unwrap(), None);
    assert_eq!(store.object_store().get(&path).await.unwrap().bytes().await.unwrap(), &b"PAR1"[..]);
    let absolute = object_store::path::Path::from_url_path(store.url().path()).unwrap();
    let absolute = object_store::path::Path::from_iter(absolute.parts().chain(path.parts()));
    assert_eq!(store.root_object_store().get(&absolute).await.unwrap().bytes().await.unwrap(), &b"PAR1"[..]);
    assert!(store.url().path().ends_with('/'));
}

async fn of_many_creators_one_wins(store: &Store) {
    const CREATORS: usize = 8;
    for round in 0..10 {
        let path = format!("log/{round:03}");
        let creator = |me: usize| {
            let (store, path) = (store.clone(), path.clone());
            tokio::spawn(async move { store.create(&path, Bytes::from(me.to_string())).await.unwrap() })
        };
        let created = join_all((0..CREATORS).map(creator)).await;
        let won: Vec<usize> = (0..CREATORS).filter(|&me| *created[me].as_ref().unwrap() == Created::Done).collect();
        assert_eq!(won.len(), 1, "winners of round {round}: {won:?}");
        assert_eq!(store.get(&path).await.unwrap().unwrap(), won[0].to_string(), "its bytes stay");
        assert_eq!(store.create(&path, Bytes::from(won[0].to_string())).await.unwrap(), Created::Exists, "also for it");
    }
    assert_eq!(store.list("log").await.unwrap().len(), 10, "nothing else is left");
}

async fn files_get_their_name_when_they_are_whole(store: &Store) {
    let store_ = store.clone();
    let write = move || {
        let begun = |text: &str| {
            store_.prepare_folder("parts/dt=1").unwrap();
            let mut file = store_.new_file("parts/dt=1").unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            file
        };
        drop(begun("never"));
        let mut file = begun("whole");
        let listed = tokio::runtime::Handle::current().block_on(store_.list("parts")).unwrap();
        assert_eq!(listed, [], "nobody sees a file that is being written");
        assert_eq!(file.create("parts/dt=1/a").unwrap(), Created::Done);
        let mut other = begun("other");
        assert_eq!(other.create("parts/dt=1/a").unwrap(), Created::Exists);
        assert_eq!(other.create("parts/dt=1/b").unwrap(), Created::Done);
    };
    tokio::task::spawn_blocking(write).await.unwrap();
    assert_eq!(paths(&store.list("parts").await.unwrap()), ["parts/dt=1/a", "parts/dt=1/b"]);
    assert_eq!(store.get("parts/dt=1/a").await.unwrap().unwrap(), "whole");
    assert_eq!(store.get("parts/dt=1/b").await.unwrap().unwrap(), "other");
}

async fn one_holds_a_lock(store: &Store) {
    let holder =
        describe_holder(SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(1_795_019_400)).unwrap().into());
    let lock = store.lock("nightly", &holder).await.unwrap();
    lock.check().unwrap();
    assert!(!lock.is_taken_over());
    let other = store.lock("weekly", "somebody").await.unwrap();
    let error = store.lock("nightly", "me").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    let expected = format!("pipeline `nightly` is already running: its lock is held by `{holder}`");
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().is_some());
    lock.release().await.unwrap();
    other.release().await.unwrap();
    let takers = (0..4).map(|me| {
        let store = store.clone();
        tokio::spawn(async move { store.lock("nightly", &format!("taker {me}")).await })
    });
    let mut taken: Vec<PipelineLock> =
        join_all(takers).await.into_iter().filter_map(|taken| taken.unwrap().ok()).collect();
    assert_eq!(taken.len(), 1, "of takers at once one has it");
    assert!(!taken[0].is_taken_over());
    taken.remove(0).release().await.unwrap();
}

async fn leaves_no_path(store: &Store) {
    for path in ["../x", "a/../../x", "/etc/passwd", "", "a//b", ".", "a/", "a\\b"] {
        assert_eq!(store.get(path).await.unwrap_err().kind(), Kind::Internal, "{path}");
    }
}
