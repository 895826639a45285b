//! What `huopan gateways list` shows, as values.

use std::path::Path;

use super::diagnostics::Diagnostics;
use super::gateway::Gateway;
use super::read_gateway::{builtins, load_gateway};

/// One gateway in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayLine {
    /// The name pipelines use.
    pub name: String,
    /// What it is for.
    pub title: String,
    /// Where it has been seen to work.
    pub seen: String,
    /// huopan's endpoint and the gateway's own name for it (empty where it has none).
    pub methods: Vec<(String, String)>,
}

impl From<&Gateway> for GatewayLine {
    fn from(gateway: &Gateway) -> Self {
        let methods = gateway.endpoints.values().map(|endpoint| (endpoint.name.clone(), endpoint.method())).collect();
        Self { name: gateway.name.clone(), title: gateway.title.clone(), seen: gateway.seen.clone(), methods }
    }
}

/// The built-in gateways.
///
/// # Errors
/// A bug in a built-in definition; a test keeps it from happening.
pub fn list_gateways() -> Result<Vec<GatewayLine>, Diagnostics> {
    let line = |name: &&str| load_gateway(name, Path::new("")).map(|gateway| GatewayLine::from(&gateway));
    builtins().iter().map(line).collect()
}
