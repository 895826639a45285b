//! Transform: landed bytes → offers, tiers and SKUs → Arrow batches and quarantine. No I/O.
//!
//! The rules of WIRE §2, §3 and §5, each a small pure function: text is split into [`lex`]emes, from which
//! [`quantity`], [`pack`], [`price`], [`count`] and [`ladder`] read their values; [`normalise`] joins them.

pub mod fields;

pub mod count;
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
pub mod tiers;
pub mod time;
pub mod title;
pub mod unit;

mod assemble;
pub mod explain;
pub mod normalise;
pub mod offer;
mod rules;
mod units;

pub use normalise::{Input, Rules, SkuSource, normalise};
pub use offer::{Offer, Reject, RejectReason, Sku, Tier};
