//! What errors of the client mean: what must change, here or at the server.

use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};
use rustls::{AlertDescription, CertificateError};

use crate::base::{Error, Kind};

/// What TLS found wrong, where it did.
fn tls_error(error: &RedisError) -> Option<&rustls::Error> {
    cause(error)?.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref()
}

type Cause = dyn std::error::Error + Send + Sync;

fn cause(error: &RedisError) -> Option<&Cause> {
    std::error::Error::source(error)?.downcast_ref::<Arc<Cause>>().map(AsRef::as_ref)
}

/// What a TLS failure means: something must be changed, here or at the server.
fn tls_failure(server: &str, error: &rustls::Error) -> Error {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    let (what, hint) = match error {
        InvalidCertificate(error) => (
            format!("the certificate of redis at `{server}` is not trusted: {error}"),
            match error {
                CertificateError::UnknownIssuer => Some(
                    "name who signed it: `ca = \"FILE\"` in `[state]`, a PEM file; or add them to those that the machine trusts",
                ),
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Some("write the address with a name that the certificate is valid for")
                }
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => {
                    Some("renew the certificate; if it is current, set this machine's clock (NTP)")
                }
                _ => None,
            },
        ),
        AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure) => (
            format!("redis at `{server}` asks its clients for certificates: {error}"),
            Some(
                "huopan shows none: let the server take clients without one (`tls-auth-clients no`), and use a password",
            ),
        ),
        InvalidMessage(_) => (
            format!("redis at `{server}` does not speak TLS: {error}"),
            Some("is it the port for TLS? An address without TLS begins with `redis://`"),
        ),
        error => (format!("redis at `{server}` and huopan do not agree on TLS: {error}"), None),
    };
    let failure = Error::config(what);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// Whether a user may not do what was asked. Of a database that it may not choose only the words say so.
fn lacks_permission(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
        || error.detail().is_some_and(|detail| detail.contains("has no permissions"))
}

/// Whether a server has no room for what is written, and drops nothing. Before version 7 a script's error says so in its
/// words.
fn is_full(error: &RedisError) -> bool {
    error.code() == Some("OOM") || error.detail().is_some_and(|detail| detail.contains("OOM command not allowed"))
}

/// Whether a server refuses a write because it copies another one. Before version 7 a script's error says so in its words.
pub(super) fn is_replica(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
        || error.detail().is_some_and(|detail| detail.contains("READONLY"))
}

/// What an error of the client means. Its own text is the server's or the system's: it never holds the address.
pub(super) fn failure(server: &str, error: RedisError) -> Error {
    if let Some(error) = tls_error(&error) {
        return tls_failure(server, error);
    }
    let (kind, what, hint) = match error.kind() {
        ErrorKind::Io if cause(&error).is_some_and(|cause| !cause.is::<std::io::Error>()) => {
            (Kind::Config, "cannot be asked from this machine", Some("see the certificates that it trusts"))
        }
        ErrorKind::AuthenticationFailed => (Kind::Denied, "refuses user or password", Some("set them in the address")),
        _ if lacks_permission(&error) => (
            Kind::Denied,
            "does not let this user do what it must",
            Some(
                "allow it `~huopan:*` with `+@read +@write +@scripting +@transaction +time`, and `+select` where the \
                 address names a database",
            ),
        ),
        _ if is_full(&error) => {
            (Kind::Storage, "has no memory left", Some("raise its `maxmemory`, or give huopan a server of its own"))
        }
        _ if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => {
            (Kind::Denied, "refuses user or password", Some("set them in the address"))
        }
        _ if is_replica(&error) => (
            Kind::Unavailable,
            "takes no writes: it is a replica",
            Some("name the server that it copies; after a failover start the run again once its address leads there"),
        ),
        ErrorKind::InvalidClientConfig => (Kind::Config, "cannot be asked with this address", None),
        ErrorKind::Io
        | ErrorKind::Parse
        | ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown,
        ) => (Kind::Unavailable, "does not answer", None),
        _ => (Kind::Storage, "does not do what it is asked", None),
    };
    let failure = Error::new(kind, format!("redis at `{server}` {what}")).caused_by(error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
