//! Serve: the lake's tables over PostgreSQL's protocol, for BI tools and drivers.
//!
//! * `server`: accepts clients and keeps them within bounds.
//! * `startup`: TLS, the startup message, the password; [`users`], [`scram`], `tls`, `interrupt`.
//! * `connection`: one client's messages and answers.
//! * `wire`, `message`: bytes → messages, within limits.
//! * `statement`, `settings`, `values`, `scalars`, `rows`, `failure`: what is asked, set, bound, sent and refused (pure).
//! * `depth`, `dialect`, `rewrite`: how deep a query may nest; what PostgreSQL writes otherwise, and queries of its catalog, in
//!   the engine's form (pure); `lists`: its lists as text.
//! * `lake`, `planned`, `arguments`: sessions over what is published now; queries before they run; values of functions.
//! * `catalog`, `information`: PostgreSQL's system catalog and functions, and `information_schema`.
//!
//! Invariant: read-only. No statement writes, reads a file that the publish log does not name, changes the engine's options,
//! or touches another connection. No password and no text of a query is logged.

mod arguments;
mod catalog;
mod connection;
mod depth;
mod dialect;
mod failure;
mod information;
mod interrupt;
mod lake;
mod lists;
mod message;
mod planned;
mod rewrite;
mod rows;
mod scalars;
pub mod scram;
mod server;
mod settings;
mod startup;
mod statement;
mod tls;
pub mod users;
mod values;
mod wire;

use std::time::Duration;

pub use server::{Options, Server};
pub use tls::acceptor;
pub use users::Users;

/// A time as settings have it: a number of milliseconds, or with a unit (`us`, `ms`, `s`, `min`, `h`, `d`).
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    settings::duration(text)
}
