use super::super::verify::{Depth, Problem, verify};
use super::super::{Entry, log, publish as whole};
use super::*;

async fn problems(store: &Store, depth: Depth) -> Vec<String> {
    let found = verify(store, depth).await.unwrap().problems;
    found.into_iter().map(|Problem { subject, what, .. }| format!("{subject}: {what}")).collect()
}

/// Two nights in every table, and the file that the second has in `offers`.
async fn two_nights() -> (TempDir, Store, DataFile) {
    let (folder, store) = lake();
    publish(&store, draft(&store, "a", day(19), 1, 3)).await;
    let entry = publish(&store, draft(&store, "a", day(20), 2, 5)).await.entry;
    let file = entry.files(Table::Offers)[0].clone();
    (folder, store, file)
}

#[tokio::test]
async fn a_lake_as_it_was_written_has_no_problem() {
    let (_folder, store, _) = two_nights().await;
    let verified = verify(&store, Depth::Full).await.unwrap();
    assert_eq!(verified.problems, []);
    assert_eq!((verified.publications, verified.files, verified.rows), (2, 16, 64));
    assert_eq!((verified.digests, verified.undigested, verified.unnamed), (16, 0, 0));
}

#[tokio::test]
async fn a_missing_a_torn_and_a_changed_file_are_told_apart() {
    let (_folder, store, file) = two_nights().await;
    let path = store.root().join(&file.path);
    let bytes = std::fs::read(&path).unwrap();
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    std::fs::write(&path, &changed).unwrap();
    assert_eq!(problems(&store, Depth::Quick).await, [""; 0], "names and sizes are right");
    let [found] = &problems(&store, Depth::Full).await[..] else { panic!() };
    assert!(found.starts_with(&format!("{}: the bytes of this published file have changed", file.path)), "{found}");
    std::fs::write(&path, &bytes[..10]).unwrap();
    let expected = format!("{}: this published file has 10 bytes instead of {}", file.path, file.bytes);
    assert_eq!(problems(&store, Depth::Full).await, [expected]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(problems(&store, Depth::Quick).await, [format!("{}: this published file is missing", file.path)]);
    let verified = verify(&store, Depth::Full).await.unwrap();
    assert_eq!((verified.files, verified.digests, verified.undigested), (16, 15, 0), "a missing file was not read");
}

#[tokio::test]
async fn a_journal_can_only_be_restored() {
    let (_folder, store, file) = two_nights().await;
    let entry = log::read(&store, "a", 2).await.unwrap().unwrap();
    let calls = entry.files(Table::Calls)[0].clone();
    for (file, is_made_anew) in [(file, true), (calls, false)] {
        std::fs::remove_file(store.root().join(&file.path)).unwrap();
        let found = verify(&store, Depth::Quick).await.unwrap().problems;
        let Some(found) = found.iter().find(|problem| problem.subject == file.path) else { panic!("{found:?}") };
        let made_anew =
            found.remedy.contains("`huopan replay PIPELINE --dt 2026-11-20`, with the file of pipeline `a`");
        assert_eq!((made_anew, found.is_past), (is_made_anew, false), "{found:?}");
    }
}

#[tokio::test]
async fn a_lost_file_that_only_earlier_publications_name_is_told_as_such() {
    let (_folder, store, file) = two_nights().await;
    publish(&store, draft(&store, "a", day(20), 3, 5)).await;
    for bytes in [Some("torn"), None] {
        let path = store.root().join(&file.path);
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let found = verify(&store, Depth::Full).await.unwrap().problems;
        let [found] = &found[..] else { panic!("{found:?}") };
        assert!(found.is_past && found.remedy.starts_with("only earlier publications name it"), "{found:?}");
    }
}

#[tokio::test]
async fn the_commits_that_keep_a_delta_table_from_being_read_are_named_in_our_own_words() {
    let (_folder, store, _) = two_nights().await;
    publish(&store, draft(&store, "a", day(21), 3, 5)).await;
    let path = "offers/_delta_log/00000000000000000002.json";
    let whole = std::fs::read(store.root().join(path)).unwrap();
    let half = &whole[..whole.len() - 20];
    let text = String::from_utf8_lossy(&whole).replace(r#"{\"maxValues"#, r#"{\\maxValues"#);
    let inner = text.as_bytes();
    assert_ne!(inner, whole);
    let damaged = "is torn or damaged";
    for (bytes, what) in [(Some(half), damaged), (Some(inner), damaged), (None, "is missing")] {
        match bytes {
            Some(bytes) => std::fs::write(store.root().join(path), bytes).unwrap(),
            None => std::fs::remove_file(store.root().join(path)).unwrap(),
        }
        let found = verify(&store, Depth::Quick).await.unwrap().problems;
        let [found] = &found[..] else { panic!("{found:?}") };
        assert_eq!((&*found.subject, &*found.what), (path, &*format!("this commit of the Delta table {what}")));
        assert!(found.remedy.contains("delete the folder `offers/_delta_log` and say `huopan lake optimize`"));
    }
}

#[tokio::test]
async fn a_publish_log_that_lost_its_end_is_told_by_what_the_delta_tables_have() {
    let (_folder, store, file) = two_nights().await;
    store.delete(&Entry::path("a", 2)).await.unwrap();
    let found = verify(&store, Depth::Quick).await.unwrap().problems;
    let said = |subject: &str| found.iter().filter(|problem| problem.subject == subject).collect::<Vec<_>>();
    let ["publication 2 is in the Delta tables, and the publish log ends at 1"] =
        said("pipeline a").iter().map(|problem| &*problem.what).collect::<Vec<_>>()[..]
    else {
        panic!("{found:?}")
    };
    assert!(said(&file.path)[0].remedy.contains("newest entries of the publish log"), "{found:?}");
    assert!(found.iter().all(|problem| !problem.remedy.contains("_delta_log")), "{found:?}");
}

#[tokio::test]
async fn a_file_without_a_digest_is_held_to_its_rows() {
    let (_folder, store, _) = two_nights().await;
    let mut entry = log::read(&store, "a", 2).await.unwrap().unwrap();
    let file = &mut entry.tables.get_mut("offers").unwrap()[0];
    (file.digest, file.rows) = (None, 6);
    store.put_durable(&Entry::path("a", 2), serde_json::to_vec(&entry).unwrap().into()).await.unwrap();
    let found = problems(&store, Depth::Full).await;
    assert!(found.iter().any(|found| found.ends_with("has 5 rows instead of 6")), "{found:?}");
    assert!(
        found.iter().any(|found| found.ends_with("6 rows by the publish log, others by the Delta table")),
        "{found:?}"
    );
    let verified = verify(&store, Depth::Full).await.unwrap();
    assert_eq!((verified.digests, verified.undigested), (15, 1));
}

#[tokio::test]
async fn files_that_no_publication_names_are_counted_and_no_problem() {
    let (_folder, store, file) = two_nights().await;
    store.put_durable("offers/dt=2026-11-20/pipeline=a/orphan.parquet", "1234".into()).await.unwrap();
    let verified = verify(&store, Depth::Full).await.unwrap();
    assert_eq!((verified.problems, verified.unnamed, verified.unnamed_bytes), (Vec::new(), 1, 4));
    assert!(file.bytes > 4);
}

#[tokio::test]
async fn a_publication_that_delta_has_not_got_yet_is_a_problem_until_it_is_completed() {
    let (_folder, store, _) = two_nights().await;
    let third = super::super::publish::to_entry(draft(&store, "a", day(21), 3, 1)).unwrap();
    assert_eq!(log::append(&store, &third).await.unwrap(), log::Appended::Done);
    let found = problems(&store, Depth::Full).await;
    assert!(
        found.contains(&"pipeline a: publication 3 is decided, but not in every Delta table".to_owned()),
        "{found:?}"
    );
    assert!(found.iter().any(|found| found.ends_with("is published, but not active in the Delta table")), "{found:?}");
    whole::roll_forward(&store, "a").await.unwrap();
    assert_eq!(problems(&store, Depth::Full).await, [""; 0]);
}

#[tokio::test]
async fn a_table_that_others_wrote_to_and_one_that_lost_its_log_are_told() {
    // deltalake-core's own `delete` cannot take the path of the other tests' lake.
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let file = publish(&store, draft(&store, "a", day(20), 1, 5)).await.entry.files(Table::Offers)[0].clone();
    let delta = super::super::delta::open(&store, Table::Offers).await.unwrap();
    let (_, metrics) = delta.delete().await.unwrap();
    assert!(metrics.num_removed_files > 0);
    let found = problems(&store, Depth::Quick).await;
    assert!(found.contains(&format!("{}: is published, but not active in the Delta table", file.path)), "{found:?}");
    std::fs::remove_dir_all(store.root().join("skus/_delta_log")).unwrap();
    let found = problems(&store, Depth::Quick).await;
    assert!(found.iter().any(|found| found.starts_with("skus: this Delta table is not there")), "{found:?}");
}

#[tokio::test]
async fn a_hole_in_the_log_and_a_checkpoint_that_lies_are_told() {
    let (_folder, store, _) = two_nights().await;
    let names = log::names_of(&store, "a").await.unwrap();
    let mut state = super::super::checkpoint::state_at(&store, "a", &names, 1).await.unwrap();
    state.pictures.clear();
    let _ = super::super::checkpoint::write(&store, &state).await.unwrap();
    let found = problems(&store, Depth::Quick).await;
    assert!(found.iter().any(|found| found.contains("says something else than the entries")), "{found:?}");
    store.delete(&Entry::path("a", 1)).await.unwrap();
    store.delete("_huopan/publish/a/00000000000000000001.checkpoint.json.zst").await.unwrap();
    let found = problems(&store, Depth::Quick).await;
    let [found] = &found[..] else { panic!("{found:?}") };
    assert!(found.contains("00000000000000000001.json` is missing"), "{found}");
}
