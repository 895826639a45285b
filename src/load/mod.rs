//! Load: Parquet files, the publish log, the Delta commits.

pub mod log;
