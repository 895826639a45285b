//! The upkeep of a lake: fewer files for the same rows, and nothing that nobody needs any more.
//!
//! * [`optimize`]: merges small files of a partition; one entry of the publish log per day, under the pipeline's lock.
//! * [`vacuum`]: what goes, and why (pure).
//! * [`sweep`]: takes old days out of the tables, writes checkpoints, and deletes what goes.
//! * [`alone`]: both of one pipeline, outside any run.
//!
//! ```text
//! the publish log:   1 … 57 │ 58 … 64        │ = the newest entry that is older than `history_days`
//!                     goes  │ stays            a checkpoint stands there
//! ```
//! A file stays while the state at that checkpoint or any entry after it names it. So a reader that opened the lake, or
//! a feed that stopped, within `history_days` finds all it needs; what was replaced before is gone from both logs.
//!
//! | a running publication is protected by | |
//! |---|---|
//! | the pipeline's lock | its partitions, log and landed runs are looked at only while no run of it is going |
//! | [`vacuum::SAFETY`] | younger files are never deleted: a holder whose lock expired, a `doctor`, a listing that is late |
//!
//! Invariant: nothing that a retained publication names, or that a Delta table has active, is deleted.

pub mod alone;
pub mod optimize;
pub mod sweep;
pub mod vacuum;
