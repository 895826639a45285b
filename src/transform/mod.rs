//! Transform: landed bytes → offers, tiers and SKUs → the picture of a day. No I/O but spilling.
//!
//! * Finding: [`decode`] finds the records of an answer and their canonical [`fields`].
//! * The rules of normalisation, each a small pure function: text is split into [`lex`]emes, from which
//!   [`quantity`], [`pack`], [`price`], [`count`] and [`ladder`] read their values; [`normalise`](mod@normalise) joins them into an
//!   [`offer`]; [`explain`] tells what they did.
//! * Columns: [`contract`] says what the tables are, [`columns`] and [`rows`] build batches, [`hash`] tells what changed.
//! * The day: [`collect`] runs it all over landed segments on several threads, into sorted [`chunk`]s; [`join`] brings
//!   together what is known of each offer, [`shops`] judges completeness and settles what becomes of it, [`carry`] and
//!   [`kept`] bring rows of the picture before, [`picture`] merges all into three sorted tables. Rows and keys ([`sort`])
//!   lie in temporary files where the budget has no room.

pub mod contract;
pub mod decode;
pub mod fields;

pub mod count;
pub mod id;
pub mod ladder;
pub mod lex;
pub mod number;
pub mod pack;
pub mod pieces;
pub mod price;
pub mod quantity;
pub mod rate;
pub mod status;
pub mod text;
pub mod tiers;
pub mod title;
pub mod unit;

mod assemble;
pub mod explain;
pub mod normalise;
pub mod offer;
mod rules;
mod units;

pub mod columns;
pub mod hash;
pub mod rows;

pub mod carry;
pub mod chunk;
pub mod collect;
pub mod inspect;
pub mod join;
pub mod kept;
pub mod names;
pub mod picture;
pub mod renew;
pub mod shops;
pub mod sort;

pub use normalise::{Input, Rules, SkuSource, normalise};
pub use offer::{Offer, Reject, RejectReason, Sku, Tier};
