//! Transform: landed bytes → offers, tiers and SKUs → Arrow batches and quarantine. No I/O.

pub mod count;
pub mod fields;
pub mod id;
pub mod ladder;
pub mod lex;
pub mod number;
pub mod pack;
pub mod price;
pub mod quantity;
pub mod rate;
pub mod status;
pub mod text;
pub mod time;
pub mod title;
pub mod unit;
