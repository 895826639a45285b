//! Transform: landed bytes → offers, tiers and SKUs → Arrow batches and quarantine. No I/O.

pub mod contract;
pub mod fields;
