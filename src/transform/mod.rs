//! Transform: landed bytes → offers, tiers and SKUs → Arrow batches and quarantine. No I/O but spilling.

pub mod fields;

pub mod chunk;
pub mod decode;
pub mod picture;
