//! Lakes of older contracts stay readable: a column that came later is null in the days before it.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use huopan::feed::export::{self, Exported, Profile, partition::partitions};
use huopan::feed::{Cursor, Scope, Sensitivity, backlog, changes};
use huopan::load::{Retained, Snapshot};
use huopan::sim::{self, Gateway};
use huopan::transform::contract::{CONTRACT_VERSION, Table};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::support::{NULL, Place, day, publish, quick, rows_of};

/// The first contract of all, and what later ones added to it.
const OLDEST: &str = "1.0.0";
const ADDED: [(Table, &str); 3] =
    [(Table::Offers, "detail_fetched_at"), (Table::Offers, "sku_named_count"), (Table::RawPages, "header")];

/// Makes the lake one that a huopan of the oldest contract has written: files, publish log and Delta logs.
fn age(lake: &Path) {
    for table in Table::ALL {
        let added: Vec<&str> = ADDED.iter().filter(|(of, _)| *of == table).map(|(_, column)| *column).collect();
        let mut sizes = Vec::new();
        for file in files(&lake.join(table.name()), "parquet") {
            let relative = file.strip_prefix(lake.join(table.name())).unwrap().to_str().unwrap().to_owned();
            sizes.push((relative, age_file(&file, &added)));
        }
        for commit in files(&lake.join(table.name()).join("_delta_log"), "json") {
            age_json_lines(&commit, &added, &sizes);
        }
        for entry in files(&lake.join("_huopan/publish"), "json") {
            let mut json: Value = serde_json::from_slice(&std::fs::read(&entry).unwrap()).unwrap();
            json["contract_version"] = OLDEST.into();
            for file in json["tables"][table.name()].as_array_mut().into_iter().flatten() {
                let path = file["path"].as_str().unwrap().to_owned();
                let size = sizes.iter().find(|(relative, _)| path == format!("{table}/{relative}")).unwrap().1;
                file["bytes"] = size.into();
                // There were none.
                file.as_object_mut().unwrap().remove("digest");
                forget(&mut file["stats"], &added);
            }
            std::fs::write(&entry, serde_json::to_vec(&json).unwrap()).unwrap();
        }
    }
}

fn files(folder: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.unwrap().into_path());
    entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

/// Rewrites a file without the columns, and gives its new size.
fn age_file(path: &Path, added: &[&str]) -> u64 {
    let bytes = bytes::Bytes::from(std::fs::read(path).unwrap());
    let batches: Vec<RecordBatch> = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .unwrap()
        .build()
        .unwrap()
        .map(|batch| {
            let batch = batch.unwrap();
            let schema = batch.schema();
            let kept = schema.fields().iter().enumerate().filter(|(_, field)| !added.contains(&field.name().as_str()));
            let batch = batch.project(&kept.map(|(index, _)| index).collect::<Vec<_>>()).unwrap();
            let schema = batch.schema();
            let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| -> ArrayRef {
                match field.name().as_str() {
                    "contract_version" => Arc::new(StringArray::from(vec![OLDEST; batch.num_rows()])),
                    _ => Arc::clone(column),
                }
            });
            RecordBatch::try_new(batch.schema(), columns.collect()).unwrap()
        })
        .collect();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batches[0].schema(), None).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
    std::fs::write(path, &file).unwrap();
    file.len() as u64
}

fn age_json_lines(path: &Path, added: &[&str], sizes: &[(String, u64)]) {
    let text = std::fs::read_to_string(path).unwrap();
    let aged = text.lines().map(|line| {
        let mut action: Value = serde_json::from_str(line).unwrap();
        if let Some(text) = action["metaData"]["schemaString"].as_str() {
            let mut schema: Value = serde_json::from_str(text).unwrap();
            let fields = schema["fields"].as_array_mut().unwrap();
            fields.retain(|field| !added.contains(&field["name"].as_str().unwrap()));
            action["metaData"]["schemaString"] = schema.to_string().into();
        }
        if let Some(path) = action["add"]["path"].as_str() {
            let size = sizes.iter().find(|(relative, _)| relative == path).unwrap().1;
            let mut stats: Value = serde_json::from_str(action["add"]["stats"].as_str().unwrap()).unwrap();
            forget(&mut stats, added);
            action["add"]["size"] = size.into();
            action["add"]["stats"] = stats.to_string().into();
        }
        // Looking for a key has made it.
        for name in ["metaData", "add"] {
            if action[name].get("id").is_none() && action[name].get("size").is_none() {
                action.as_object_mut().unwrap().remove(name);
            }
        }
        format!("{action}\n")
    });
    std::fs::write(path, aged.collect::<String>()).unwrap();
}

fn forget(stats: &mut Value, added: &[&str]) {
    for part in ["minValues", "maxValues", "nullCount"] {
        if let Some(values) = stats.get_mut(part).and_then(Value::as_object_mut) {
            values.retain(|column, _| !added.contains(&column.as_str()));
            if let Some(version) = values.get_mut("contract_version").filter(|version| version.is_string()) {
                *version = OLDEST.into();
            }
        }
    }
}

#[tokio::test]
async fn days_of_the_oldest_contract_stay_readable_when_columns_come() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    let pipeline = place.shops(&sim, Gateway::Portals);
    publish(&pipeline, day(20)).await;
    age(&place.lake());
    let snapshot = Snapshot::load(&place.store()).await.unwrap();
    assert_eq!(snapshot.picture("test", day(20)).unwrap().contract_version, OLDEST);
    for (table, column) in ADDED {
        let (rows, nulls) =
            (format!("select count(*) from {table}"), format!("select count(*) from {table} where {column} is null"));
        assert_eq!(place.value(&rows).await, place.value(&nulls).await);
        assert_ne!(place.value(&rows).await, "0");
    }
    // The next night is written under the contract of today, into the same tables.
    sim.set_day(day(21));
    publish(&pipeline, day(21)).await;
    let versions = place.rows("select dt, contract_version from runs order by dt").await;
    let versions: Vec<_> = versions.iter().map(|row| row["contract_version"].as_str()).collect();
    assert_eq!(versions, [OLDEST, CONTRACT_VERSION]);
    assert_eq!(place.delta_counts().await, place.counts().await);
    for (table, column) in ADDED {
        let delta = huopan::load::delta::open(&place.store(), table).await.unwrap();
        let context = datafusion::prelude::SessionContext::new();
        delta.update_datafusion_session(&context.state()).unwrap();
        context.register_table("t", delta.table_provider().await.unwrap()).unwrap();
        let sql = format!("select count(*) as n, count({column}) as stated from t where dt = '2026-11-20'");
        let rows = context.sql(&sql).await.unwrap().collect().await.unwrap();
        let row = rows_of(&rows[0]).swap_remove(0);
        assert_eq!(row["stated"], "0", "{table} by its Delta log");
        assert_ne!(row["n"], "0");
    }
    // Downstream: the feed goes across, an export of the old day has the columns of today.
    let log = Retained::load(&place.store()).await.unwrap();
    let backlog = backlog(&place.store(), &log, &Cursor::default(), 9).await.unwrap();
    let scope = Scope { table: Table::Offers, sensitivity: Sensitivity::Content };
    let mut kinds = std::collections::BTreeSet::new();
    let mut give = |kind: changes::Kind, _: &RecordBatch| {
        kinds.insert(kind.name());
        Ok(())
    };
    for step in &backlog.steps {
        changes::of(&place.store(), step, scope, &mut give).await.unwrap();
    }
    assert!(kinds.contains("changed") && kinds.contains("new"), "{kinds:?}");
    let target = export::open(&huopan::config::location::Location::Folder(place.path().join("out"))).await.unwrap();
    let days = export::Days { first: day(20), last: day(20) };
    for partition in partitions(&snapshot, &[Table::Offers], days) {
        let Exported::Written(manifest) =
            export::export(&place.store(), &target, &partition, Profile::Plain).await.unwrap()
        else {
            panic!("it was not there")
        };
        assert_eq!((manifest.published_under.as_str(), manifest.contract_version.as_str()), (OLDEST, CONTRACT_VERSION));
        let file = place.path().join("out").join(partition.folder()).join(&manifest.files[0].name);
        let bytes = bytes::Bytes::from(std::fs::read(file).unwrap());
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        let rows = rows_of(&reader.next().unwrap().unwrap());
        assert!(rows.iter().all(|row| row["detail_fetched_at"] == NULL));
        assert_eq!(rows[0].len(), Table::Offers.file_schema().unwrap().fields().len());
    }
}
