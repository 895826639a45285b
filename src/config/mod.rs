//! Configuration: pipelines and gateway definitions, read, checked and turned into values.
//!
//! Takes files and an injected environment; gives a [`Pipeline`] or all of its problems, each with its place.
//!
//! Invariant: no network, no `std::env`; no secret in any message.

mod document;
mod reader;

pub mod diagnostics;
pub mod gateway;
pub mod groups;
pub mod listing;
pub mod location;
pub mod pipeline;
pub mod pointer;
mod read_gateway;
mod read_pipeline;
pub mod template;

pub use diagnostics::{Color, Diagnostics, Location, Problem};
pub use gateway::Gateway;
pub use listing::{GatewayLine, list_gateways};
pub use pipeline::Pipeline;
pub use pointer::Pointer;
pub use read_gateway::{builtin, builtins, load_gateway};
pub use read_pipeline::{Environment, load_pipeline, load_without_secrets, watches_of};
pub use template::Template;
