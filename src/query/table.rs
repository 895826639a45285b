//! One published table as DataFusion sees it: a fixed list of Parquet files with their partition values.
//!
//! Columns come in the published order (partition columns first), although a file scan puts them last.
//! Filters on partition columns choose files while planning and are answered by that alone; all others go
//! into the Parquet reader (row-group statistics, bloom filters, page index, late materialisation).
//!
//! Invariant: no directory is ever listed; row counts are exact, so `count(*)` reads nothing.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Field, Fields, Schema, SchemaRef};
use async_trait::async_trait;
use chrono::NaiveDate;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue, project_schema};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::published::{Published, Selection};
use super::stats;
use crate::load::log::DataFile;
use crate::load::snapshot::PartitionFile;
use crate::transform::contract::Table;

/// A table over exactly the files of a snapshot.
#[derive(Debug)]
pub struct PublishedTable {
    /// As queries see it: partition columns first.
    schema: SchemaRef,
    /// As scans see it: partition columns last.
    scanned: TableSchema,
    files: Vec<TableFile>,
    published: Arc<Published>,
    table: Table,
    store: ObjectStoreUrl,
}

#[derive(Debug)]
struct TableFile {
    /// One value per partition column.
    values: Vec<ScalarValue>,
    /// Its place among the table's files in the snapshot.
    index: usize,
}

/// A day as DataFusion holds it.
#[must_use]
pub fn date_scalar(day: NaiveDate) -> ScalarValue {
    ScalarValue::Date32(Some(Date32Type::from_naive_date(day)))
}

impl PublishedTable {
    /// The part of `table` that `selection` shows, read through the object store registered as `store`.
    ///
    /// # Errors
    /// An embedded contract is broken.
    pub fn new(published: &Arc<Published>, table: Table, selection: Selection, store: ObjectStoreUrl) -> Result<Self> {
        let mut partition_columns = vec![
            Arc::new(Field::new("dt", DataType::Date32, false)),
            Arc::new(Field::new("pipeline", DataType::Utf8, false)),
        ];
        if selection == Selection::Before {
            partition_columns.push(Arc::new(Field::new("previous_dt", DataType::Date32, false)));
        }
        let contract = table.file_schema().map_err(|error| DataFusionError::External(error.into()))?;
        let data_columns: Fields = contract.fields().iter().map(as_read).collect();
        let schema = Schema::new(partition_columns.iter().chain(&data_columns).cloned().collect::<Fields>());
        let scanned = TableSchema::builder(Arc::new(Schema::new(data_columns)))
            .with_table_partition_cols(partition_columns)
            .build();
        let files = published.snapshot.files(table);
        let shown = |(index, file)| TableFile::shown(published, selection, index, file);
        let files = files.into_iter().enumerate().filter_map(shown).collect();
        Ok(Self { schema: Arc::new(schema), scanned, files, published: Arc::clone(published), table, store })
    }

    fn partition_columns(&self) -> usize {
        self.scanned.table_partition_cols().len()
    }

    fn is_partition_filter(&self, filter: &Expr) -> bool {
        let names: Vec<&str> = self.scanned.table_partition_cols().iter().map(|field| field.name().as_str()).collect();
        expr_applicable_for_cols(&names, filter)
    }

    /// The files whose partition values satisfy all partition filters among `filters`.
    fn chosen(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<&TableFile>> {
        let filters = filters.iter().filter(|filter| self.is_partition_filter(filter)).cloned();
        let (Some(filter), false) = (conjunction(filters), self.files.is_empty()) else {
            return Ok(self.files.iter().collect());
        };
        let columns = Schema::new(self.scanned.table_partition_cols().clone());
        let arrays = (0..columns.fields().len())
            .map(|column| ScalarValue::iter_to_array(self.files.iter().map(|file| file.values[column].clone())))
            .collect::<Result<Vec<_>>>()?;
        let batch = RecordBatch::try_new(Arc::new(columns), arrays)?;
        let predicate = state.create_physical_expr(filter, &DFSchema::try_from(batch.schema())?)?;
        let kept = predicate.evaluate(&batch)?.into_array(batch.num_rows())?;
        let kept = kept.as_boolean();
        let is_kept = |row: usize| kept.is_valid(row) && kept.value(row);
        Ok(self.files.iter().enumerate().filter(|(row, _)| is_kept(*row)).map(|(_, file)| file).collect())
    }

    /// The scan numbers file columns from 0 and partition columns after them.
    fn scanned_indices(&self, projection: Option<&Vec<usize>>) -> Vec<usize> {
        let partition = self.partition_columns();
        let data = self.schema.fields().len() - partition;
        let scanned = |index: usize| if index < partition { data + index } else { index - partition };
        match projection {
            Some(indices) => indices.iter().copied().map(scanned).collect(),
            None => (0..self.schema.fields().len()).map(scanned).collect(),
        }
    }

    fn partitioned_file(&self, values: &[ScalarValue], file: &DataFile) -> Result<PartitionedFile> {
        let location = Path::parse(&file.path).map_err(|error| DataFusionError::ObjectStore(Box::new(error.into())))?;
        let meta = ObjectMeta {
            location,
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: file.bytes,
            e_tag: None,
            version: None,
        };
        let stats = stats::of_file(file, self.scanned.file_schema());
        Ok(PartitionedFile::new_from_meta(meta).with_partition_values(values.to_vec()).with_statistics(Arc::new(stats)))
    }
}

impl TableFile {
    fn shown(published: &Published, selection: Selection, index: usize, file: PartitionFile<'_>) -> Option<Self> {
        let dt = published.shown_dt(selection, file.dt, file.pipeline)?;
        let mut values = vec![date_scalar(dt), ScalarValue::Utf8(Some(file.pipeline.to_owned()))];
        if selection == Selection::Before {
            values.push(date_scalar(file.dt));
        }
        Some(Self { values, index })
    }
}

/// Strings and bytes are read as views, which is how DataFusion computes fastest on them. Any column may be null:
/// a file written before the contract had the column lacks it.
fn as_read(field: &Arc<Field>) -> Arc<Field> {
    let data_type = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        other => other.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type).with_nullable(true))
}

#[async_trait]
impl TableProvider for PublishedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.chosen(state, filters)?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?)));
        }
        let published = self.published.snapshot.files(self.table);
        let files = files.into_iter().filter_map(|file| Some((&file.values, published.get(file.index)?)));
        let files = files.map(|(values, file)| self.partitioned_file(values, file.file));
        let files = files.collect::<Result<Vec<_>>>()?;
        let all = stats::merged(files.iter().filter_map(|file| file.statistics.as_ref()), self.scanned.table_schema())?;
        let options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let format = ParquetFormat::new().with_options(options);
        let source = format.file_source(self.scanned.clone());
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(self.store.clone(), source)
            .with_file_groups(groups)
            .with_statistics(all)
            .with_projection_indices(Some(self.scanned_indices(projection)))?
            .with_limit(limit)
            .build();
        format.create_physical_plan(state, config).await
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.is_partition_filter(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(support).collect())
    }
}
