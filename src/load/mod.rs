//! Load: Parquet files, the publish log, the Delta commits, in this order.
//!
//! Takes sorted record batches of one run; gives published tables. All files of a run are written first; then one
//! conditional create of a log entry is the decision; then each table gets its Delta commit, `runs` last.
//!
//! Invariant: nothing that a retained log entry names is changed or overwritten.

pub mod delta;
pub mod log;
pub mod parquet;
pub mod publish;
pub mod read;
pub mod snapshot;
pub mod stats;

#[cfg(test)]
mod tests;

pub use log::{DataFile, Entry};
pub use parquet::{TableWriter, Target, WriterOptions};
pub use publish::{Draft, Publication, Published, Turn, publish, roll_forward};
pub use snapshot::Snapshot;
