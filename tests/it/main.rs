//! One binary for all integration tests; each topic is a module.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod extract;
mod layers;
mod samples;
mod sim;
