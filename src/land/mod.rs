//! Land: every attempt's record and bytes, durable before anything uses them.
//!
//! Takes [`Attempt`](crate::extract::Attempt)s from an extraction ([`Writer`]) or from captured files ([`files`]), and
//! gives them back, on any machine, for resuming a run, for the tables and for replays ([`Zone`]).
//!
//! Invariant: what a gateway answered is kept byte for byte (known secrets apart), and never half-read.

pub mod files;
pub mod hold;
mod named;
mod resume;
pub mod segment;
pub mod start;
mod writer;
mod zone;

pub use files::{LandedDay, land_files};
pub use hold::{Finding, HeldRun, Hold, held};
pub use resume::{Counts, Gateways, Resumed};
pub use start::{AskedAgain, Frozen, Retry, Unfinished, unfinished};
pub use writer::{Landing, Writer, WriterOptions};
pub use zone::{SegmentRef, Zone};
