use deltalake_core::TableProperty;
use deltalake_core::kernel::StructType;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;

use super::super::publish::Pictures;
use super::super::{Published, roll_forward};
use super::*;

async fn version(store: &Store, table: Table) -> Option<u64> {
    delta_table(store.root(), table).await.version()
}

#[tokio::test]
async fn a_day_published_again_replaces_its_pictures_and_adds_to_the_journals() {
    let (_folder, store) = lake();
    publish(&store, draft(&store, "a", day(19), 1, 2)).await;
    publish(&store, draft(&store, "a", day(20), 2, 5)).await;
    let again = publish(&store, draft(&store, "a", day(20), 3, 3)).await;
    assert_eq!(again.committed, Table::ALL);
    for table in Table::ALL {
        let rows = if table.is_journal() { 8 } else { 3 };
        assert_eq!(counts(store.root(), table).await, format!("2026-11-19 a 2; 2026-11-20 a {rows}"), "{table}");
    }
}

#[tokio::test]
async fn a_file_that_is_published_again_under_its_name_stays_active() {
    let (_folder, store) = lake();
    let first = draft(&store, "a", day(20), 1, 5);
    publish(&store, first.clone()).await;
    let mut again = draft(&store, "a", day(20), 2, 5);
    again.files.insert(Table::Offers, first.files[&Table::Offers].clone());
    publish(&store, again).await;
    assert_eq!(counts(store.root(), Table::Offers).await, "2026-11-20 a 5");
    assert_eq!(counts(store.root(), Table::Skus).await, "2026-11-20 a 5");
}

#[tokio::test]
async fn two_pipelines_share_a_table_without_touching_each_other() {
    let (_folder, store) = lake();
    let (a, b) = (draft(&store, "a", day(20), 1, 4), draft(&store, "b-2_x", day(20), 1, 6));
    tokio::join!(publish(&store, a), publish(&store, b));
    let (a, b) = (draft(&store, "a", day(20), 2, 3), draft(&store, "b-2_x", day(20), 2, 7));
    tokio::join!(publish(&store, a), publish(&store, b));
    assert_eq!(counts(store.root(), Table::Offers).await, "2026-11-20 a 3; 2026-11-20 b-2_x 7");
    assert_eq!(counts(store.root(), Table::Calls).await, "2026-11-20 a 7; 2026-11-20 b-2_x 13");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_pipelines_at_once_all_get_in() {
    let (_folder, store) = lake();
    let drafts: Vec<Draft> = (0..6).map(|n| draft(&store, &format!("p{n}"), day(20), 1, n + 1)).collect();
    let mut publishing = tokio::task::JoinSet::new();
    for draft in drafts {
        let store = store.clone();
        publishing.spawn(async move { publish(&store, draft).await });
    }
    publishing.join_all().await;
    for table in Table::ALL {
        let all: Vec<String> = (0..6).map(|n| format!("2026-11-20 p{n} {}", n + 1)).collect();
        assert_eq!(counts(store.root(), table).await, all.join("; "), "{table}");
        let mut creations = 0;
        for meta in store.list(&format!("{table}/_delta_log")).await.unwrap() {
            let commit = store.get(&meta.path).await.unwrap().unwrap();
            creations += String::from_utf8_lossy(&commit).matches("{\"metaData\":").count();
        }
        assert_eq!(creations, 1, "{table} keeps the identity it was created with");
    }
}

#[tokio::test]
async fn the_same_publication_twice_changes_nothing() {
    let (_folder, store) = lake();
    let draft = draft(&store, "a", day(20), 1, 3);
    publish(&store, draft.clone()).await;
    let before = (all_counts(store.root()).await, version(&store, Table::Offers).await);
    assert_eq!(publish(&store, draft).await.committed, []);
    assert_eq!((all_counts(store.root()).await, version(&store, Table::Offers).await), before);
    assert_eq!(roll_forward(&store, "a").await.unwrap(), None);
}

#[tokio::test]
async fn the_loser_of_a_number_changes_nothing() {
    let (_folder, store) = lake();
    let (winner, loser) = (draft(&store, "a", day(20), 1, 3), draft(&store, "a", day(20), 1, 9));
    let decided = publish(&store, winner).await.entry;
    let before = all_counts(store.root()).await;
    let Published::Lost(entry) = super::super::publish(&store, loser).await.unwrap() else { panic!("both won") };
    assert_eq!(*entry, decided);
    assert_eq!(all_counts(store.root()).await, before);
}

#[tokio::test]
async fn a_failed_attempt_keeps_the_pictures() {
    let (_folder, store) = lake();
    publish(&store, draft(&store, "a", day(20), 1, 3)).await;
    let mut failed = draft(&store, "a", day(20), 2, 1);
    failed.pictures = Pictures::Keep;
    assert!(super::super::publish(&store, failed.clone()).await.is_err(), "it has files of pictures");
    failed.files.retain(|table, _| *table == Table::Runs);
    assert_eq!(publish(&store, failed).await.committed, [Table::Runs]);
    assert_eq!(counts(store.root(), Table::Offers).await, "2026-11-20 a 3");
    assert_eq!(counts(store.root(), Table::Runs).await, "2026-11-20 a 4");
}

#[tokio::test]
async fn a_picture_without_rows_empties_the_day() {
    let (_folder, store) = lake();
    publish(&store, draft(&store, "a", day(19), 1, 2)).await;
    publish(&store, draft(&store, "a", day(20), 2, 3)).await;
    let mut empty = draft(&store, "a", day(20), 3, 1);
    empty.files.retain(|table, _| *table == Table::Runs);
    publish(&store, empty).await;
    assert_eq!(counts(store.root(), Table::Offers).await, "2026-11-19 a 2");
    assert_eq!(counts(store.root(), Table::Calls).await, "2026-11-19 a 2; 2026-11-20 a 3");
}

#[tokio::test]
async fn tables_keep_to_the_protocol_that_every_reader_knows() {
    let (_folder, store) = lake();
    publish(&store, draft(&store, "a", day(20), 1, 1)).await;
    for table in Table::ALL {
        let delta = delta_table(store.root(), table).await;
        let state = delta.snapshot().unwrap();
        assert_eq!(state.protocol().min_reader_version(), 1, "{table}");
        assert!(state.protocol().min_writer_version() <= 4, "{table}");
        assert_eq!(state.metadata().partition_columns(), ["dt", "pipeline"], "{table}");
        assert!(state.metadata().configuration().contains_key(TableProperty::CheckpointInterval.as_ref()), "{table}");
    }
}

#[tokio::test]
async fn logs_get_checkpoints_and_stay_readable() {
    let (_folder, store) = lake();
    for seq in 1..=12 {
        publish(&store, draft(&store, "a", day(20), seq, 2)).await;
    }
    let names = store.list("offers/_delta_log").await.unwrap();
    assert!(names.iter().any(|meta| meta.path.ends_with("checkpoint.parquet")), "{names:?}");
    assert_eq!(counts(store.root(), Table::Offers).await, "2026-11-20 a 2");
    assert_eq!(roll_forward(&store, "a").await.unwrap(), None, "the transaction survives the checkpoint");
}

#[tokio::test]
async fn the_least_and_greatest_values_are_right_for_a_delta_reader() {
    let (_folder, store) = lake();
    publish(&store, draft(&store, "a", day(20), 1, 300)).await;
    publish(&store, draft(&store, "a", day(21), 2, 200)).await;
    for column in ["offer_id", "title", "brand", "price", "channel_price", "fetched_at", "observed_dt", "content_hash"]
    {
        let ends = query(store.root(), Table::Offers, &format!("select min({column}), max({column}) from t")).await;
        let sorted =
            |order: &str| format!("select {column} from t where {column} is not null order by 1 {order} limit 1");
        let low = query(store.root(), Table::Offers, &sorted("asc")).await;
        let high = query(store.root(), Table::Offers, &sorted("desc")).await;
        assert_eq!(ends, format!("{low}  {high}").replace("  ", " "), "{column}");
    }
}

#[tokio::test]
async fn every_row_is_found_again_by_a_filter_on_its_values() {
    let (_folder, store) = lake();
    for (seq, dt) in [(1, day(20)), (2, day(21))] {
        publish(&store, draft(&store, "a", dt, seq, 60)).await;
    }
    let table = Table::Offers;
    for column in ["offer_id", "channel_price", "price", "fetched_at", "observed_dt", "title", "shop_id"] {
        let sql =
            format!("select count(*) from t where {column} = (select {column} from t where offer_id = 17 limit 1)");
        assert_eq!(query(store.root(), table, &sql).await, "2", "{column}");
    }
    let sql = "select count(*) from t where dt = '2026-11-21' and pipeline = 'a' and offer_id between 10 and 19";
    assert_eq!(query(store.root(), table, sql).await, "10");
}

#[tokio::test]
async fn a_path_that_delta_would_misread_is_refused_before_anything_is_decided() {
    let folder = TempDir::new().unwrap();
    let store = Store::open(&folder.path().join("50%25 off")).unwrap();
    let error = super::super::publish(&store, draft(&store, "a", day(20), 1, 1)).await.unwrap_err();
    assert_eq!(error.kind(), crate::base::Kind::Config);
    assert_eq!(super::super::publish::next_seq(&store, "a").await.unwrap(), 1);
}

#[tokio::test]
async fn a_table_made_before_the_contract_had_a_column_gets_it_and_keeps_its_rows() {
    let (_folder, store) = lake();
    let table = Table::Offers;
    let columns: StructType = table.schema().unwrap().as_ref().try_into_kernel().unwrap();
    let earlier = columns.fields().count() - 1;
    store.prepare_folder(table.name()).unwrap();
    let url = url::Url::from_directory_path(store.root().join(table.name())).unwrap();
    let made =
        DeltaTable::try_from_url(url).await.unwrap().create().with_columns(columns.fields().take(earlier).cloned());
    made.with_partition_columns(["dt", "pipeline"]).await.unwrap();
    publish(&store, draft(&store, "a", day(19), 1, 3)).await;
    let delta = delta_table(store.root(), table).await;
    assert_eq!(*delta.snapshot().unwrap().schema(), columns);
    assert_eq!(counts(store.root(), table).await, "2026-11-19 a 3");
}
