//! Transform: landed bytes into canonical rows.

pub mod contract;
