//! Extract: ask the gateways, within their limits, and hand every attempt to a [`Sink`].

pub mod facts;
pub mod record;

pub use facts::{RunFacts, ShopFacts};
pub use record::Record;

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
