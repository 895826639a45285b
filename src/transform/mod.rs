//! Transform: landed bytes → offers, tiers and SKUs → Arrow batches and quarantine. No I/O but spilling.

pub mod carry;
pub mod chunk;
pub mod columns;
pub mod contract;
pub mod decode;
pub mod fields;
pub mod hash;
pub mod offer;
pub mod picture;
pub mod rows;
pub mod shops;
