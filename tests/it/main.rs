//! One binary for all integration tests; each topic is a module.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod accounts;
mod alerts;
mod analyst;
mod bytes;
mod cli;
mod contracts;
mod cover;
mod crash;
mod days;
mod doctor;
mod export;
mod extract;
mod faults;
mod feed;
mod files;
mod guard;
mod kills;
mod layers;
mod ledger;
mod matrix;
mod metrics;
mod nights;
mod pace;
mod plan;
mod polled;
mod quarantine;
mod quota;
mod replay;
mod report;
mod resume;
mod run;
mod s3;
mod s3_server;
mod samples;
mod serve;
mod shipped;
mod sim;
mod sql;
mod support;
mod tls;
mod traps;
mod truth;
mod upkeep;
mod watches;
