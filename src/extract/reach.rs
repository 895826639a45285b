//! Whether a server can be reached: its name, its port, and what speaks there. Asks it nothing.
//!
//! Takes an address; gives how long each step took, or which one failed.
//!
//! Invariant: no call is made and no credential sent.

use std::time::{Duration, Instant};

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use url::Url;

/// A server whose port answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Addresses that its name stands for.
    pub addresses: usize,
    /// From connecting to connected.
    pub latency: Duration,
}

/// A server that cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached {
    /// The step that failed.
    pub step: Step,
    /// Why.
    pub reason: String,
}

/// The steps to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Its name has no address.
    Name,
    /// Its port does not answer.
    Port,
    /// What speaks there has never heard of TLS.
    Tls,
    /// What speaks there is not what should: TLS fails, or no HTTP comes back.
    Greeting,
}

/// Looks a server's name up and connects to its port.
///
/// # Errors
/// [`Unreached`], with the first step that failed.
pub async fn reach(address: &Url, patience: Duration) -> Result<Reached, Unreached> {
    let failed = |step, reason: String| Unreached { step, reason };
    let host = address.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = port(address);
    let addresses = match timeout(patience, lookup_host((host, port))).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(error)) => return Err(failed(Step::Name, error.to_string())),
        Err(_) => return Err(failed(Step::Name, format!("no answer in {} s", patience.as_secs()))),
    };
    if addresses.is_empty() {
        return Err(failed(Step::Name, "it stands for no address".to_owned()));
    }
    let began = Instant::now();
    match timeout(patience, TcpStream::connect(addresses.as_slice())).await {
        Ok(Ok(_)) => Ok(Reached { addresses: addresses.len(), latency: began.elapsed() }),
        Ok(Err(error)) => Err(failed(Step::Port, error.to_string())),
        Err(_) => Err(failed(Step::Port, format!("no answer in {} s", patience.as_secs()))),
    }
}

/// The port that an address names, else the one that its scheme goes by.
fn port(address: &Url) -> u16 {
    let usual = if address.scheme().starts_with("socks") { 1080 } else { 80 };
    address.port_or_known_default().unwrap_or(usual)
}

/// `host:port` of an address.
#[must_use]
pub fn host_and_port(address: &Url) -> String {
    let host = address.host_str().unwrap_or_default();
    address.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_named_or_usual() {
        for (address, expected) in [
            ("http://proxy", 80),
            ("https://proxy", 443),
            ("socks5://proxy", 1080),
            ("socks5h://user:word@proxy", 1080),
            ("socks5://proxy:9050", 9050),
        ] {
            assert_eq!(port(&Url::parse(address).unwrap()), expected, "{address}");
        }
    }
}
