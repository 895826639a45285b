use std::fs::File;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use super::rows::{sample, sample_from};
use super::*;
use crate::base::Kind;

fn target(table: Table) -> Target {
    Target { table, dt: day(20), pipeline: "nightly".to_owned(), run_id: "run-1".to_owned(), seq: 7 }
}

fn read(store: &Store, file: &DataFile) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(store.root().join(&file.path)).unwrap()).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

pub fn footer(store: &Store, file: &DataFile) -> ParquetMetaData {
    let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    reader.try_parse(&File::open(store.root().join(&file.path)).unwrap()).unwrap();
    reader.finish().unwrap()
}

#[test]
fn rows_of_every_table_come_back_as_they_were_with_their_nulls() {
    let (_folder, store) = lake();
    for table in Table::ALL {
        let rows = sample(table, 100);
        let files = write(&store, target(table), WriterOptions::default(), &[rows.slice(0, 40), rows.slice(40, 60)]);
        let [file] = files.as_slice() else { panic!("{files:?}") };
        assert_eq!(file.path, format!("{table}/dt=2026-11-20/pipeline=nightly/run-1-7-00000.parquet"));
        assert_eq!(file.rows, 100);
        assert_eq!(file.bytes, std::fs::metadata(store.root().join(&file.path)).unwrap().len());
        let back = read(&store, file);
        assert_eq!(back.schema_ref().fields(), rows.schema_ref().fields(), "{table}");
        assert_eq!(back, rows.with_schema(back.schema()).unwrap(), "{table}");
    }
}

#[tokio::test]
async fn a_run_that_publishes_again_does_not_take_the_name_of_a_file_that_is_lost() {
    let (_folder, store) = lake();
    let options = WriterOptions::default();
    let first = write(&store, target(Table::Skus), options, &[sample(Table::Skus, 3)]);
    store.delete(&first[0].path).await.unwrap();
    let second = write(&store, Target { seq: 8, ..target(Table::Skus) }, options, &[sample(Table::Skus, 3)]);
    assert_ne!(first[0].path, second[0].path);
    assert_eq!(first[0].digest, second[0].digest);
}

#[test]
fn a_full_file_is_followed_by_a_new_one() {
    let (_folder, store) = lake();
    let options = WriterOptions { file_bytes: 1, ..WriterOptions::default() };
    let batches =
        [sample_from(Table::Offers, 0, 5), sample_from(Table::Offers, 5, 5), sample_from(Table::Offers, 10, 5)];
    let files = write(&store, target(Table::Offers), options, &batches);
    let names: Vec<&str> = files.iter().map(|file| file.path.rsplit_once('/').unwrap().1).collect();
    assert_eq!(names, ["run-1-7-00000.parquet", "run-1-7-00001.parquet", "run-1-7-00002.parquet"]);
    for (file, batch) in files.iter().zip(&batches) {
        assert_eq!(read(&store, file).num_rows(), batch.num_rows());
    }
}

#[tokio::test]
async fn a_file_is_never_written_over() {
    let (_folder, store) = lake();
    let first = write(&store, target(Table::Skus), WriterOptions::default(), &[sample(Table::Skus, 3)]);
    let second = write(&store, target(Table::Skus), WriterOptions::default(), &[sample(Table::Skus, 4)]);
    assert!(second[0].path.ends_with("run-1-7-00000-1.parquet"), "{}", second[0].path);
    assert_eq!(read(&store, &first[0]).num_rows(), 3);
    assert_eq!(read(&store, &second[0]).num_rows(), 4);
    assert_eq!(store.list("skus").await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_writer_that_is_dropped_leaves_nothing() {
    let (_folder, store) = lake();
    let mut writer = TableWriter::new(&store, target(Table::Offers), WriterOptions::default()).unwrap();
    writer.write(&sample(Table::Offers, 3)).unwrap();
    drop(writer);
    assert_eq!(store.list("").await.unwrap(), []);
    assert_eq!(std::fs::read_dir(store.root().join("offers/dt=2026-11-20/pipeline=nightly")).unwrap().count(), 0);
}

#[test]
fn no_rows_make_no_file() {
    let (_folder, store) = lake();
    assert_eq!(write(&store, target(Table::Offers), WriterOptions::default(), &[sample(Table::Offers, 0)]), []);
}

#[test]
fn rows_out_of_order_are_refused_within_and_between_batches() {
    let (_folder, store) = lake();
    let writer = || TableWriter::new(&store, target(Table::Offers), WriterOptions::default()).unwrap();
    let mut between = writer();
    between.write(&sample_from(Table::Offers, 5, 5)).unwrap();
    assert_eq!(between.write(&sample_from(Table::Offers, 4, 1)).unwrap_err().kind(), Kind::Internal);
    let parts = [sample_from(Table::Offers, 5, 2), sample_from(Table::Offers, 1, 2)];
    let mixed = concat_batches(&parts[0].schema(), &parts).unwrap();
    assert_eq!(writer().write(&mixed).unwrap_err().to_string(), "rows of `offers` are out of order");
}

#[test]
fn rows_of_another_table_and_bad_pipelines_are_refused() {
    let (_folder, store) = lake();
    let mut writer = TableWriter::new(&store, target(Table::Offers), WriterOptions::default()).unwrap();
    assert_eq!(writer.write(&sample(Table::Skus, 1)).unwrap_err().kind(), Kind::Internal);
    for pipeline in ["", "a/b", "a=b", "Ä", "a b", ".."] {
        let target = Target { pipeline: pipeline.to_owned(), ..target(Table::Offers) };
        assert!(TableWriter::new(&store, target, WriterOptions::default()).is_err(), "{pipeline}");
    }
}

#[test]
fn files_carry_what_makes_reading_fast() {
    let (_folder, store) = lake();
    for table in Table::ALL {
        let file = write(&store, target(table), WriterOptions::default(), &[sample(table, 1000)]).remove(0);
        let metadata = footer(&store, &file);
        assert!(metadata.column_index().is_some() && metadata.offset_index().is_some());
        let group = metadata.row_group(0);
        let sorted: Option<Vec<String>> = group.sorting_columns().map(|columns| {
            let name = |index: i32| group.column(usize::try_from(index).unwrap()).column_path().string();
            columns.iter().map(|column| name(column.column_idx)).collect()
        });
        let sorted_tables = [Table::Offers, Table::PriceTiers, Table::Skus];
        let expected = sorted_tables.contains(&table).then(|| vec!["shop_id".to_owned(), "offer_id".to_owned()]);
        assert_eq!(sorted, expected, "{table}");
        for column in group.columns() {
            let bloom = column.column_path().string() == "offer_id" && !table.is_journal();
            assert_eq!(column.bloom_filter_offset().is_some(), bloom, "{table}.{}", column.column_path());
            assert!(column.bloom_filter_length().unwrap_or(0) < 4096, "{table}.{}", column.column_path());
            assert!(format!("{:?}", column.compression()).starts_with("ZSTD"));
        }
    }
}
