//! huopan (货盘): wholesale catalogues of 1688-style gateways, every night, as tables you can query.
//!
//! This page is the map. Read it, then the `mod.rs` of the stage you need: each is a contents page.
//!
//! ```text
//! pipelines/*.toml  schemas/gateways/*.toml   state (quota ledger, rhythm, caches): SQLite | Redis
//!         │                 │                   ▲
//!       config ─► plan ─► extract ──────────────┘
//!                           │ ▲ answered before?
//!                  gateway ◄┤ │
//!        (or sim, or files) └►land ─► transform ─► load ─► query ─► cli
//!                              │                    │
//!                         raw responses      publish log + Delta tables
//! ```
//!
//! # Values between stages
//! A stage sees the values of the stage before it, never its insides:
//! [`config::Pipeline`] → [`plan`] items → [`extract::Attempt`] → landed segments ([`land`]) →
//! [`transform`] batches → [`load::log::Entry`] → rows.
//!
//! # Layers
//! Imports point downwards only, and a test reads the `use` lines:
//! `base ← config ← state, store ← plan ← extract ← land ← transform ← load ← query ← feed, report, serve, run ← cli`;
//! [`groups`] stands beside [`load`], it imports [`base`], [`config`] and [`store`] only; [`alert`] imports [`base`] and
//! [`config`] only and is used from [`run`] on; [`sim`] imports [`base`] only, so that the simulated gateway cannot share a
//! mistake with the extraction it tests.
//!
//! | module | job | pure? |
//! |---|---|---|
//! | [`base`] | errors, identifiers, money, JSON in place, secrets, the clock | yes |
//! | [`config`] | pipelines and gateway definitions: text → validated values, every problem with its place | reads files |
//! | [`state`] | the quota ledger, the rhythm of calls and the caches, shared by processes or machines | no |
//! | [`store`] | the lake as an object store: durable puts, conditional creates, locks | no |
//! | [`plan`] | a pipeline's work items and what they cost | yes |
//! | [`extract`] | request, sign, judge, page, pace, retry (pure); one driver and one HTTP file do | mostly |
//! | [`land`] | every attempt's record and bytes, durable before they count; captured files land the same way | no |
//! | [`transform`] | bytes → offers, tiers, SKUs → sorted chunks → the picture of a day | yes, but for spilling |
//! | [`load`] | Parquet files, the publish log, Delta commits, their upkeep | no |
//! | [`groups`] | which offers compete, as the lake keeps it | no |
//! | [`query`] | SQL over exactly the published files, views, functions, output formats | no |
//! | [`feed`] | the rows that differ between publications, and plain Parquet, for readers downstream | no |
//! | [`report`] | what the tables say, as one HTML page for people who would rather look | no |
//! | [`serve`] | the tables over PostgreSQL's protocol, for BI tools | no |
//! | [`alert`] | who hears about a run: webhooks and chat robots | no |
//! | [`run`] | joins the stages for one run | no |
//! | [`sim`] | simulated gateways over one evolving world | no |
//! | [`cli`] | the only code that prints | no |
//!
//! # Invariants
//! * A call is counted in the state store before it leaves, and stays counted.
//! * A call's answer is durable before anything uses it, and judged only from the landed bytes; what has landed is not
//!   asked again by the next start of the run.
//! * Received = loaded + duplicates + quarantined, checked at the end of each run.
//! * Money goes from the JSON text to `Decimal128` without ever being a float; unknown is null with a reason.
//! * The publish-log entry is the decision: files are written before it, Delta commits follow it, and an unfinished
//!   publication is completed by whoever comes next.
//! * Secrets reach the signature and the wire, nothing else.

pub mod alert;
pub mod base;
pub mod cli;
pub mod config;
pub mod extract;
pub mod feed;
pub mod groups;
pub mod land;
pub mod load;
pub mod plan;
pub mod query;
pub mod report;
pub mod run;
pub mod serve;
pub mod sim;
pub mod state;
pub mod store;
pub mod transform;
