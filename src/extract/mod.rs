//! Extract: ask the gateways, within their limits, and hand every attempt to a [`Sink`].
//!
//! Deciding is pure and lies in files of its own; [`driver`] joins them for a run and [`probe`] for a single question,
//! and only [`http`] and [`reach`] talk to the network:
//!
//! ```text
//!            call                 ┌───────── send ──────────┐
//! schedule ─► answered? ─► side ─► request ─► http ─► sink ─► body ─► judge ─► reading ─► schedule
//!  cover       cached     (state)    sign     skew   (land)             └► after   answer
//!  page                   accounts   renew                                 retry
//!                                    tokens                                pace
//! ```
//!
//! Invariant: an attempt counts only once the sink has made it durable, and what is judged is what was kept.

pub mod accounts;
mod after;
pub mod answer;
pub mod answered;
pub mod body;
mod cached;
mod call;
pub mod cover;
pub mod driver;
pub mod facts;
mod fingerprint;
mod foresee;
pub mod http;
pub mod judge;
mod lead;
pub mod pace;
pub mod page;
pub mod probe;
pub mod progress;
pub mod reach;
mod reading;
pub mod record;
mod renew;
pub mod request;
mod rests;
pub mod retry;
pub mod schedule;
mod send;
mod side;
pub mod sign;
pub mod skew;
mod tally;
mod tokens;
mod words;

pub use answered::Answered;
pub use cached::{BoughtCount, KnownId, Reuse, bought_count, known_shop_id, landed_count};
pub use driver::{Job, extract};
pub use facts::{Asked, Covered, Listed, Note, RunFacts, ShopFacts};
pub use fingerprint::Fingerprint;
pub use foresee::{Foresight, foresee};
pub use judge::{Fault, Judge, Judgement, judge};
pub use progress::{Event, Progress};
pub use record::Record;
pub use rests::{Shown, Standing};
pub use schedule::APART;
pub(crate) use words::or_else;

use bytes::Bytes;

/// One attempt of a call: its record and the answer's bytes as received (empty when none came).
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Identity, transport outcome, times. `number`, `body_bytes`, `digest` and `redacted` are filled in by the sink.
    pub record: Record,
    /// The body, untouched.
    pub body: Bytes,
}

/// Where attempts go. Landing implements it; extraction only knows this.
#[async_trait::async_trait]
pub trait Sink: Send + Sync {
    /// Keeps the attempt and returns it as kept (numbered, masked) once it is durable.
    ///
    /// # Errors
    /// Whatever keeps it from becoming durable: the run must stop.
    async fn land(&self, attempt: Attempt) -> crate::base::Result<Attempt>;
}

#[cfg(test)]
pub(crate) mod testing;
