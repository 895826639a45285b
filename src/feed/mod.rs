//! What readers downstream take: the rows that differ between publications, and whole partitions as plain Parquet.
//!
//! | module | job | pure? |
//! |---|---|---|
//! | [`cursor`] | a position in the publish logs of all pipelines, as text | yes |
//! | [`steps`] | which publications follow a cursor, and what each is compared with | yes |
//! | [`held`] | which of them the lake still holds | no |
//! | [`rows`] | one table of one publication as a stream of batches | no |
//! | [`fates`] | what became of each offer between two pictures: a merge by shop and offer | mostly |
//! | [`changes`] | the rows of one step, each with its kind | mostly |
//! | [`sink`] | JSON lines, CSV, Parquet, Arrow | yes |
//! | [`consumer`] | the cursor of a named consumer, kept in the lake | no |
//! | [`export`] | partitions as plain Parquet in a folder or a bucket | no |
//!
//! # Kinds
//! A publication of the newest day, or of a later one, is compared with the newest picture before it; applied in their
//! order, the rows turn one picture into the next. A publication of an earlier day is a correction.
//!
//! | kind | op | when |
//! |---|---|---|
//! | `new` | `upsert` | the picture before had no such row, or called its offer delisted |
//! | `changed` | `upsert` | it had, with other content |
//! | `gone` | `delete` | the offer was delisted, or a shop that is complete lacks it; also a tier or a SKU of an offer that goes on |
//! | `dropped` | `delete` | the row left the picture without a proof: its shop or item is not watched any more |
//! | `correction` | either | a row of an earlier day differs from what was published for that day before |
//!
//! Invariant: a shop that is incomplete makes nothing `gone`, and a consumer's cursor never passes a row that was not
//! written.

pub mod changes;
pub mod consumer;
pub mod cursor;
pub mod export;
pub mod fates;
pub mod held;
pub mod rows;
pub mod sink;
pub mod steps;

#[cfg(test)]
mod tests;

pub use cursor::Cursor;
pub use held::backlog;
pub use steps::{Backlog, Step};

use crate::base::{Error, Result};
use crate::transform::contract::Table;

/// The tables that have a feed: those whose rows belong to offers.
pub const TABLES: [Table; 3] = [Table::Offers, Table::PriceTiers, Table::Skus];

/// What to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// One of [`TABLES`].
    pub table: Table,
    /// Which columns make a row another one.
    pub sensitivity: Sensitivity,
}

/// Which columns make a row another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sensitivity {
    /// Those of `content_hash`: what is offered, at which price and from which quantity on.
    #[default]
    Content,
    /// Those of `volatile_hash` too: stock, sales and counters, which differ nearly every night.
    Volatile,
}

/// A table by name, if it has a feed.
///
/// # Errors
/// `Config` for another one.
pub fn table(name: &str) -> Result<Table> {
    TABLES.into_iter().find(|table| table.name() == name).ok_or_else(|| {
        Error::config(format!("`{name}` has no feed")).with_hint("`offers`, `price_tiers` and `skus` have one")
    })
}
