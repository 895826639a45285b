//! One binary for all integration tests; each topic is a module.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod accounts;
mod alerts;
mod bytes;
mod cli;
mod cover;
mod crash;
mod days;
mod doctor;
mod extract;
mod files;
mod guard;
mod kills;
mod layers;
mod nights;
mod pace;
mod plan;
mod quarantine;
mod quota;
mod replay;
mod resume;
mod run;
mod s3;
mod s3_server;
mod samples;
mod shipped;
mod sim;
mod support;
mod traps;
mod truth;
