//! Load: Parquet files, the publish log, the Delta commits, in this order.
//!
//! Takes sorted record batches of one run; gives published tables. All files of a run are written first; then one
//! conditional create of a log entry is the decision; then each table gets its Delta commit, `runs` last.
//!
//! * [`parquet`], [`stats`]: rows → files, with their statistics and digests; [`read`]: back again.
//! * [`log`]: the publish log; [`state`]: what it adds up to; [`checkpoint`]: that, in one file now and then.
//! * [`mod@publish`]: the decision and the commits that follow; [`delta`]: the commits; `listing`: their logs, listed whole.
//! * [`snapshot`]: what is published, for readers; [`history`]: how it came about; [`retained`]: entry by entry;
//!   [`as_of`]: as it stood earlier.
//! * [`upkeep`]: fewer files for the same rows, and nothing that nobody needs any more.
//! * [`verify`]: whether files and logs are what they say; [`lost`]: what to do about a file that is not there;
//!   [`agree`]: Delta tables made as the publish log says.
//!
//! Invariant: nothing that a retained log entry names is changed or overwritten.

pub mod agree;
pub mod as_of;
pub mod checkpoint;
pub mod delta;
pub mod history;
mod listing;
pub mod log;
pub mod lost;
pub mod parquet;
pub mod publish;
pub mod read;
pub mod retained;
pub mod snapshot;
pub mod state;
pub mod stats;
pub mod upkeep;
pub mod verify;

#[cfg(test)]
mod tests;

pub use log::{DataFile, Entry};
pub use parquet::{TableWriter, Target, WriterOptions};
pub use publish::{Draft, Publication, Published, Turn, publish, roll_forward};
pub use retained::Retained;
pub use snapshot::Snapshot;
pub use state::State;
