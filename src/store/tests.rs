use std::sync::Barrier;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::base::Kind;
use s3_server::{BUCKET, Manners, S3Server};

#[path = "../../tests/it/s3_server.rs"]
mod s3_server;

fn lake() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("lake")).unwrap();
    (folder, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_conforms() {
    let (_folder, store) = lake();
    conformance::conforms(&store).await;
    assert!(store.url().as_str().starts_with("file:///") && store.url().as_str().ends_with("/lake/"));
}

#[tokio::test]
async fn files_that_are_still_being_written_are_not_listed() {
    let (_folder, store) = lake();
    store.put_durable("a/1", Bytes::new()).await.unwrap();
    std::fs::write(store.root().join("a/.huopan-tmp-1-1"), b"half").unwrap();
    let listed = store.list("a").await.unwrap();
    assert_eq!(listed.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a/1"]);
    assert_eq!(store.get("a/1/z").await.unwrap(), None, "a file has nothing below it");
}

#[test]
fn creators_in_threads_of_their_own_leave_no_temporary_file() {
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
        let won = winners.iter().filter(|won| won.contains(&round)).count();
        assert_eq!(won, 1, "winners of round {round}");
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
async fn a_lock_on_disk_ends_with_its_holder() {
    let (_folder, store) = lake();
    let lock = store.lock("nightly", "me").await.unwrap();
    drop(lock);
    assert!(!store.lock("nightly", "me").await.unwrap().is_taken_over());
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

fn bucket(server: &S3Server, prefix: &str) -> Location {
    let env = |name: &str| server.variable(name);
    Location::parse(&format!("s3://{BUCKET}/{prefix}"), Path::new("/"), &env).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_conforms() {
    let server = S3Server::start().await;
    let store = Store::writable(&bucket(&server, "team/lake")).await.unwrap();
    assert!(!format!("{store:?}").contains("s3-test"), "{store:?}");
    conformance::conforms(&store).await;
    assert_eq!(store.url().as_str(), "s3://lakes/team/lake/");
    let whole = Store::writable(&bucket(&server, "")).await.unwrap();
    conformance::conforms(&whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_a_server_that_runs_elsewhere_conforms() {
    #[expect(clippy::disallowed_methods, reason = "only the environment knows where the server is")]
    let env = |name: &str| std::env::var(name).ok();
    let Some(address) = env("HUOPAN_TEST_S3") else {
        println!("SKIPPED: no bucket to test with (HUOPAN_TEST_S3)");
        return;
    };
    let location = Location::parse(&format!("{address}/conformance"), Path::new("/"), &env).unwrap();
    conformance::conforms(&Store::writable(&location).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_conforms_whose_answers_get_lost() {
    let server = S3Server::start_with(Manners::Stormy(9)).await;
    conformance::conforms(&Store::writable(&bucket(&server, "lake")).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_lets_two_creators_win_is_refused_before_anything_is_written() {
    let server = S3Server::start_with(Manners::Overwrites).await;
    let error = Store::writable(&bucket(&server, "lake")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.to_string().contains("8 won instead of one"), "{error}");
    assert!(error.hint().unwrap().contains("conditional creates"));
    assert_eq!(
        walkdir::WalkDir::new(server.file("lake"))
            .into_iter()
            .filter(|entry| entry.as_ref().unwrap().file_type().is_file())
            .count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_raced_for_once_and_found_only_when_it_is_a_lake() {
    let server = S3Server::start().await;
    let location = bucket(&server, "lake");
    assert!(Store::find(&location).await.unwrap().is_none());
    let error = Store::readable(&location).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no lake at `s3://lakes/lake`");
    drop(Store::writable(&location).await.unwrap());
    assert!(server.file("lake/_huopan/store.json").is_file());
    assert!(Store::find(&location).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_and_missing_keys_say_what_to_change() {
    let server = S3Server::start().await;
    let with = |name: &'static str, value: Option<&'static str>| {
        let env = |asked: &str| if asked == name { value.map(str::to_owned) } else { server.variable(asked) };
        Location::parse("s3://lakes/lake", Path::new("/"), &env).unwrap()
    };
    let error = Store::writable(&with("AWS_SECRET_ACCESS_KEY", Some("wrong-secret"))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{error:?}");
    assert!(!format!("{error:?}").contains("wrong-secret"));
    let error = Store::writable(&with("AWS_SECRET_ACCESS_KEY", None)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{error:?}");
    assert!(format!("{error:?}").contains("AWS_ACCESS_KEY_ID"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_a_profile_too() {
    let server = S3Server::start().await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("credentials");
    let (key, secret) = s3_server::KEY;
    std::fs::write(&file, format!("[other]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")).unwrap();
    let env = |name: &str| match name {
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => None,
        "AWS_PROFILE" => Some("other".to_owned()),
        "AWS_SHARED_CREDENTIALS_FILE" => Some(file.to_string_lossy().into_owned()),
        name => server.variable(name),
    };
    Store::writable(&Location::parse("s3://lakes/lake", Path::new("/"), &env).unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_whose_holder_died_here_is_taken_over_at_once_and_one_of_another_machine_when_it_is_old() {
    let server = S3Server::start().await;
    let store = Store::writable(&bucket(&server, "lake")).await.unwrap();
    let file = server.file("lake/_huopan/locks/nightly.lock");
    drop(store.lock("nightly", "me").await.unwrap());
    // Dropped without letting go: as if this process had died, but it lives.
    assert_eq!(store.lock("nightly", "me").await.unwrap_err().kind(), Kind::Conflict);
    let lease = std::fs::read_to_string(&file).unwrap();
    let own: serde_json::Value = serde_json::from_str(&lease).unwrap();
    let started = own["process"]["started"].as_u64().unwrap();
    let mut dead = own.clone();
    dead["process"]["started"] = (started + 1).into();
    std::fs::write(&file, dead.to_string()).unwrap();
    let lock = store.lock("nightly", "me").await.unwrap();
    assert!(lock.is_taken_over());
    lock.release().await.unwrap();
    let lock = store.lock("nightly", "me").await.unwrap();
    assert!(!lock.is_taken_over(), "it was let go of");
    lock.release().await.unwrap();

    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let aged = || std::fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
    std::fs::write(&file, "{").unwrap();
    let error = store.lock("nightly", "me").await.unwrap_err();
    assert!(error.to_string().contains("an unknown process"), "{error}");
    aged();
    let lock = store.lock("nightly", "me").await.unwrap();
    assert!(lock.is_taken_over(), "whoever it was must be fenced off");
    lock.release().await.unwrap();

    let mut elsewhere = own;
    elsewhere["process"]["machine"] = "another".into();
    std::fs::write(&file, elsewhere.to_string()).unwrap();
    assert_eq!(store.lock("nightly", "me").await.unwrap_err().kind(), Kind::Conflict);
    aged();
    assert!(store.lock("nightly", "me").await.unwrap().is_taken_over());
}
