//! One binary for all integration tests; each topic is a module.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod crash;
mod days;
mod extract;
mod layers;
mod run;
mod samples;
mod sim;
mod support;
mod truth;
