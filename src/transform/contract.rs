//! The tables' contracts: `schemas/tables/*.yaml` (Open Data Contract Standard), embedded, as values and Arrow schemas.
//!
//! Everything that depends on a column's name, type or meaning (Parquet files, Delta tables, the reference page)
//! is derived from here.
//!
//! Invariant: a name or a type of a column stands in one place, its YAML document.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use crate::base::{Error, Result};

mod wire;

#[cfg(test)]
mod tests;

/// The version of the tables' contract, as semantic versioning: a major step changes a meaning, a minor one adds columns.
/// Every document must carry it.
pub const CONTRACT_VERSION: &str = "1.3.0";

/// The columns that stand in the directory names instead of the files, in this order.
pub const PARTITION_COLUMNS: [&str; 2] = ["dt", "pipeline"];

/// The tables of a lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// One row per offer per day.
    Offers,
    /// One row per step of a price ladder.
    PriceTiers,
    /// One row per SKU per day.
    Skus,
    /// One row per shop per day.
    Shops,
    /// One row per record that could not be loaded.
    Quarantine,
    /// One row per attempt of a run that ended.
    Runs,
    /// One row per attempt of a call.
    Calls,
    /// Every response.
    RawPages,
}

/// What a table promises.
#[derive(Debug, Clone, PartialEq)]
pub struct TableContract {
    /// Its name, which is also its directory in the lake.
    pub name: String,
    /// Its name in Chinese.
    pub business_name: String,
    /// What a row is.
    pub description: String,
    /// What the table is for.
    pub purpose: String,
    /// How publications change it.
    pub usage: String,
    /// All columns, the partition columns first.
    pub columns: Vec<Column>,
    /// Only ever appended to; else a picture, replaced by partition.
    pub journal: bool,
}

/// What a column promises.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its Arrow type. The child field of a list is named `element` and nullable.
    pub data_type: DataType,
    /// Its type in Delta's words: `decimal(18,4)`, `long`, `array<string>`.
    pub delta_type: String,
    /// Whether it may hold nulls.
    pub nullable: bool,
    /// Its meaning.
    pub description: String,
    /// Its name in Chinese.
    pub business_name: String,
    /// The only values it may hold, as text; empty: any.
    pub allowed_values: Vec<String>,
    /// Its place in the table's key, from 1; `None`: not in the key.
    pub key_position: Option<u32>,
    /// One value, as text.
    pub example: Option<String>,
}

impl Table {
    /// All tables, in the order of their publication: pictures, then journals, `runs` last.
    pub const ALL: [Table; 8] = [
        Table::Offers,
        Table::PriceTiers,
        Table::Skus,
        Table::Shops,
        Table::Quarantine,
        Table::Calls,
        Table::RawPages,
        Table::Runs,
    ];
    /// Replaced as a whole by `(dt, pipeline)`.
    pub const PICTURES: [Table; 5] = [Table::Offers, Table::PriceTiers, Table::Skus, Table::Shops, Table::Quarantine];
    /// Only ever appended to.
    pub const JOURNALS: [Table; 3] = [Table::Calls, Table::RawPages, Table::Runs];

    /// The table's name and directory.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Table::Offers => "offers",
            Table::PriceTiers => "price_tiers",
            Table::Skus => "skus",
            Table::Shops => "shops",
            Table::Quarantine => "quarantine",
            Table::Runs => "runs",
            Table::Calls => "calls",
            Table::RawPages => "raw_pages",
        }
    }

    /// Whether it is only ever appended to.
    #[must_use]
    pub const fn is_journal(self) -> bool {
        matches!(self, Table::Runs | Table::Calls | Table::RawPages)
    }

    /// The order of its rows within a file, ascending, nulls first; empty: as they came.
    #[must_use]
    pub const fn sort_columns(self) -> &'static [&'static str] {
        match self {
            Table::Offers | Table::PriceTiers | Table::Skus => &["shop_id", "offer_id"],
            _ => &[],
        }
    }

    /// What the table promises.
    ///
    /// # Errors
    /// Internal: the embedded document is broken.
    pub fn contract(self) -> Result<&'static TableContract> {
        Ok(&self.parsed()?.contract)
    }

    /// All columns, `dt` and `pipeline` first: what a query sees.
    ///
    /// # Errors
    /// Internal: the embedded document is broken.
    pub fn schema(self) -> Result<SchemaRef> {
        Ok(Arc::clone(&self.parsed()?.schema))
    }

    /// The columns of a Parquet file: all but `dt` and `pipeline`, which its directory names.
    ///
    /// # Errors
    /// Internal: the embedded document is broken.
    pub fn file_schema(self) -> Result<SchemaRef> {
        Ok(Arc::clone(&self.parsed()?.file_schema))
    }

    const fn document(self) -> &'static str {
        match self {
            Table::Offers => include_str!("../../schemas/tables/offers.yaml"),
            Table::PriceTiers => include_str!("../../schemas/tables/price_tiers.yaml"),
            Table::Skus => include_str!("../../schemas/tables/skus.yaml"),
            Table::Shops => include_str!("../../schemas/tables/shops.yaml"),
            Table::Quarantine => include_str!("../../schemas/tables/quarantine.yaml"),
            Table::Runs => include_str!("../../schemas/tables/runs.yaml"),
            Table::Calls => include_str!("../../schemas/tables/calls.yaml"),
            Table::RawPages => include_str!("../../schemas/tables/raw_pages.yaml"),
        }
    }

    fn parsed(self) -> Result<&'static Parsed> {
        static PARSED: [LazyLock<Result<Parsed, String>>; 8] = [
            LazyLock::new(|| Parsed::of(Table::Offers)),
            LazyLock::new(|| Parsed::of(Table::PriceTiers)),
            LazyLock::new(|| Parsed::of(Table::Skus)),
            LazyLock::new(|| Parsed::of(Table::Shops)),
            LazyLock::new(|| Parsed::of(Table::Quarantine)),
            LazyLock::new(|| Parsed::of(Table::Runs)),
            LazyLock::new(|| Parsed::of(Table::Calls)),
            LazyLock::new(|| Parsed::of(Table::RawPages)),
        ];
        PARSED[self as usize]
            .as_ref()
            .map_err(|reason| Error::internal(format!("the embedded contract of `{self}` is broken: {reason}")))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Table {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|table| table.name() == name)
            .ok_or_else(|| Error::config(format!("there is no table `{name}`")))
    }
}

impl Column {
    fn field(&self) -> Field {
        Field::new(&self.name, self.data_type.clone(), self.nullable)
    }
}

/// A contract with the schemas made from it.
struct Parsed {
    contract: TableContract,
    schema: SchemaRef,
    file_schema: SchemaRef,
}

impl Parsed {
    fn of(table: Table) -> Result<Self, String> {
        let contract = wire::parse(table.document())?;
        if contract.name != table.name() || contract.journal != table.is_journal() {
            return Err(format!("it describes `{}`, journal: {}", contract.name, contract.journal));
        }
        let fields: Fields = contract.columns.iter().map(Column::field).collect();
        let in_file = fields.iter().skip(PARTITION_COLUMNS.len()).cloned().collect::<Fields>();
        Ok(Self { contract, schema: Arc::new(Schema::new(fields)), file_schema: Arc::new(Schema::new(in_file)) })
    }
}

/// The Arrow type of a Delta type's name; `None`: a type that no table of ours uses.
fn arrow_type(delta_type: &str) -> Option<DataType> {
    Some(match delta_type {
        "string" => DataType::Utf8,
        "binary" => DataType::Binary,
        "boolean" => DataType::Boolean,
        "byte" => DataType::Int8,
        "short" => DataType::Int16,
        "integer" => DataType::Int32,
        "long" => DataType::Int64,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "array<string>" => DataType::List(Arc::new(Field::new("element", DataType::Utf8, true))),
        decimal => {
            let (precision, scale) = decimal.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
            DataType::Decimal128(precision.parse().ok()?, scale.parse().ok()?)
        }
    })
}
