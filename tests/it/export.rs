//! Exported partitions: the rows of the lake, manifests that hold, replacement, both profiles, disk and bucket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use huopan::config::location::Location;
use huopan::feed::export::{self, Exported, Manifest, Profile, partition::partitions};
use huopan::load::Snapshot;
use huopan::run::{Options as RunOptions, Outcome};
use huopan::sim::{self, Gateway};
use huopan::store::Store;
use huopan::transform::contract::Table;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest as _, Sha256};

use crate::s3_server::{BUCKET, Manners};
use crate::support::{Place, attempt, day, huopan, publish, quick, rows_of};

async fn export_day(lake: &Store, target: &Store, number: u32, profile: Profile) -> Vec<Exported> {
    let snapshot = Snapshot::load(lake).await.unwrap();
    let days = export::Days { first: day(number), last: day(number) };
    let mut done = Vec::new();
    for partition in partitions(&snapshot, &Table::ALL, days) {
        done.push(export::export(lake, target, &partition, profile).await.unwrap());
    }
    done
}

/// The rows of an exported partition in the text of `huopan sql`, without the columns that its folder names.
fn rows(folder: &Path, manifest: &Manifest) -> Vec<BTreeMap<String, String>> {
    let mut rows = Vec::new();
    for file in &manifest.files {
        let bytes = std::fs::read(folder.join(&file.name)).unwrap();
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((file.bytes, &file.sha256), (bytes.len() as u64, &digest), "{}", file.name);
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap().build().unwrap();
        rows.extend(reader.flat_map(|batch| rows_of(&batch.unwrap())));
    }
    assert_eq!(rows.len() as u64, manifest.rows);
    rows.sort();
    rows
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_exported_day_is_the_published_one_and_a_new_publication_replaces_it() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = place.shops(&sim, Gateway::Portals);
    publish(&pipeline, day(20)).await;
    let to = Location::Folder(place.path().join("out"));
    let (lake, target) = (place.store(), export::open(&to).await.unwrap());
    for exported in export_day(&lake, &target, 20, Profile::Plain).await {
        let Exported::Written(manifest) = exported else { panic!("{exported:?}") };
        let folder: PathBuf = place.path().join(format!("out/{}/dt=2026-11-20/pipeline=test", manifest.table));
        let mut expected = place.rows(&format!("select * from {}", manifest.table)).await;
        for row in &mut expected {
            row.remove("dt");
            row.remove("pipeline");
        }
        expected.sort();
        assert_eq!(rows(&folder, &manifest), expected, "{}", manifest.table);
        let standing = std::fs::read(folder.join("_manifest.json")).unwrap();
        assert_eq!(serde_json::from_slice::<Manifest>(&standing).unwrap(), manifest);
        assert_eq!(names(&folder).len(), manifest.files.len() + 2, "the files, the manifest, `_SUCCESS`");
    }
    let again = export_day(&lake, &target, 20, Profile::Plain).await;
    assert!(again.iter().all(|exported| matches!(exported, Exported::UpToDate(_))));
    // A broken export left something behind; a new publication takes its place as a whole.
    let parent = place.path().join("out/offers/dt=2026-11-20");
    std::fs::create_dir_all(parent.join(".pipeline=test.new")).unwrap();
    std::fs::write(parent.join(".pipeline=test.new/part-00000-x.parquet"), "half").unwrap();
    let before = names(&parent.join("pipeline=test"));
    publish(&pipeline, day(20)).await;
    let replaced = export_day(&lake, &target, 20, Profile::Plain).await;
    assert!(replaced.iter().all(|exported| matches!(exported, Exported::Written(_))));
    assert_eq!(names(&parent), ["pipeline=test"]);
    let after = names(&parent.join("pipeline=test"));
    assert!(after.len() == before.len() && after != before, "{after:?}");
    let error = export::open(&Location::Folder(place.lake())).await.unwrap_err();
    assert!(error.to_string().ends_with("is a lake"), "{error}");
    for folder in ["offers", "_huopan/export"] {
        let within = export::open(&Location::Folder(place.lake().join(folder))).await.unwrap();
        assert!(export::check_apart(&lake, &within).is_err(), "{folder}");
    }
    assert!(export::check_apart(&lake, &target).is_ok());
}

#[tokio::test]
async fn a_partition_is_written_anew_when_it_is_not_what_is_asked_for_or_not_whole() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    publish(&place.shops(&sim, Gateway::Portals), day(20)).await;
    let (lake, target) = (place.store(), export::open(&Location::Folder(place.path().join("out"))).await.unwrap());
    let written = async |profile| {
        let exported = export_day(&lake, &target, 20, profile).await;
        let written = exported.into_iter().filter_map(|exported| match exported {
            Exported::Written(manifest) => Some(manifest.table),
            Exported::UpToDate(_) => None,
        });
        written.collect::<Vec<_>>()
    };
    assert_eq!(written(Profile::Plain).await.len(), Table::ALL.len());
    assert_eq!(written(Profile::Hive).await.len(), Table::ALL.len(), "other readers");
    assert_eq!(written(Profile::Hive).await, [""; 0]);
    std::fs::remove_file(place.path().join("out/offers/dt=2026-11-20/pipeline=test/_SUCCESS")).unwrap();
    assert_eq!(written(Profile::Hive).await, ["offers"]);
    // An attempt that publishes no picture adds to the journals of its day.
    let thin = sim::start(sim::Options { shop_sizes: vec![20, 45], ..quick() }).await.unwrap();
    let options = RunOptions { dt: Some(day(20)), refresh: true, ..RunOptions::default() };
    let held = attempt(&place.shops(&thin, Gateway::Portals), options).await.unwrap();
    assert!(matches!(held, Outcome::Held(_)), "{held:?}");
    assert_eq!(place.value("select count(*) from runs").await, "2");
    let mut journals = written(Profile::Hive).await;
    journals.sort();
    assert_eq!(journals, ["calls", "runs"]);
    assert_eq!(written(Profile::Hive).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_fails_leaves_no_half_of_a_partition_that_looks_whole() {
    let (sim, place, server) =
        (sim::start(quick()).await.unwrap(), Place::new(), crate::s3::server(Manners::Good).await);
    let pipeline = place.shops(&sim, Gateway::Portals);
    publish(&pipeline, day(20)).await;
    let env = |name: &str| server.variable(name);
    let bucket = Location::parse(&format!("s3://{BUCKET}/exports"), Path::new("/"), &env).unwrap();
    let folder = Location::Folder(place.path().join("out"));
    let targets = [export::open(&bucket).await.unwrap(), export::open(&folder).await.unwrap()];
    for target in &targets {
        export_day(&place.store(), target, 20, Profile::Plain).await;
    }
    publish(&pipeline, day(20)).await;
    let (lake, days) = (place.store(), export::Days { first: day(20), last: day(20) });
    let snapshot = Snapshot::load(&lake).await.unwrap();
    let partition = &partitions(&snapshot, &[Table::Offers], days)[0];
    std::fs::remove_file(place.lake().join(&partition.files[0].path)).unwrap();
    place.leave_unwell();
    for target in &targets {
        export::export(&lake, target, partition, Profile::Plain).await.unwrap_err();
    }
    let at = "offers/dt=2026-11-20/pipeline=test";
    assert!(!server.file(&format!("exports/{at}/_SUCCESS")).exists());
    let before = names(&place.path().join("out").join(at));
    assert!(before.contains(&"_SUCCESS".to_owned()) && before.len() == 3, "the one before stands: {before:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_holds_what_a_folder_holds_and_nothing_of_the_export_before() {
    let (sim, place, server) =
        (sim::start(quick()).await.unwrap(), Place::new(), crate::s3::server(Manners::Good).await);
    let pipeline = place.shops(&sim, Gateway::Portals);
    let env = |name: &str| server.variable(name);
    let to = Location::parse(&format!("s3://{BUCKET}/exports"), Path::new("/"), &env).unwrap();
    let target = export::open(&to).await.unwrap();
    for _ in 0..2 {
        publish(&pipeline, day(20)).await;
        for exported in export_day(&place.store(), &target, 20, Profile::Hive).await {
            let Exported::Written(manifest) = exported else { panic!("{exported:?}") };
            let folder = server.file(&format!("exports/{}/dt=2026-11-20/pipeline=test", manifest.table));
            let count = format!("select count(*) from {}", manifest.table);
            assert_eq!(rows(&folder, &manifest).len().to_string(), place.value(&count).await);
            let parquet = names(&folder).into_iter().filter(|name| name.ends_with(".parquet")).count();
            assert_eq!(parquet, manifest.files.len(), "{:?}", names(&folder));
            assert!(names(&folder).contains(&"_SUCCESS".to_owned()));
        }
    }
}

#[tokio::test]
async fn the_command_exports_says_what_it_did_and_what_there_is() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    publish(&place.shops(&sim, Gateway::Portals), day(20)).await;
    let export = |dt: &'static str, more: &'static [&'static str]| {
        let arguments = [&["lake", "export", "--lake", "lake", "--dt", dt, "out"][..], more].concat();
        let folder = place.path().to_owned();
        async move { huopan(&folder, &arguments).await }
    };
    let ended = export("2026-11-01..2026-11-30", &["--profile", "hive", "--table", "offers,skus"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("offers/dt=2026-11-20/pipeline=test: "), "{lines:?}");
    let again = export("2026-11-20", &["--profile", "hive", "--table", "offers", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(
        (&json["partitions"][0]["written"], &json["partitions"][0]["manifest"]["profile"]),
        (&false.into(), &"hive".into())
    );
    let none = export("2026-11-21", &[]).await;
    assert_eq!(none.code, 1);
    assert!(none.stderr.contains("hint: `test` has 2026-11-20 to 2026-11-20"), "{}", none.stderr);
    let wrong = export("tomorrow", &[]).await;
    assert_eq!(wrong.code, 2);
}
