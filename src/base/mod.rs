//! What every stage shares: errors, identifiers, money, time, secrets. No I/O.
//!
//! Invariant: nothing here imports another stage.

pub mod error;
pub mod ids;
pub mod json;
pub mod keywords;
pub mod memory;
pub mod moment;
pub mod money;
pub mod secret;
pub mod text;
pub mod time;

pub use error::{Error, Kind, Result};
pub use ids::{RunId, RunName};
pub use memory::Budget;
pub use money::Money;
pub use secret::Secret;
pub use time::{Clock, SystemClock};
