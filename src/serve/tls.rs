//! The server's certificate: read when the server starts, which it does not with one that is not whole.

use std::path::Path;
use std::sync::Arc;

use pgwire::tokio::TlsAcceptor;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::base::{Error, Result};

/// The name of PostgreSQL's protocol in TLS (ALPN).
pub(super) const ALPN: &[u8] = b"postgresql";

/// What answers TLS with a certificate (the server's own first, then those that signed it) and its key, both PEM.
///
/// # Errors
/// [`Kind::Config`](crate::base::Kind::Config) if a file cannot be read, holds none, or the two do not fit together.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor> {
    let hint = "name PEM files: `--tls-cert` with the server's certificate and its chain, `--tls-key` with its key";
    let unusable = |file: &Path, what: &str| {
        Error::config(format!("there is no usable {what} in `{}`", file.display())).with_hint(hint)
    };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| unusable(certificate, "certificate").caused_by(error))?;
    if chain.is_empty() {
        return Err(unusable(certificate, "certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, "private key").caused_by(error))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private);
    let mut config = config.map_err(|error| {
        let message = format!("the key in `{}` does not belong to `{}`", key.display(), certificate.display());
        Error::config(message).with_hint(hint).caused_by(error)
    })?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_and_key_that_do_not_fit_are_errors() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (one, other) = (made(), made());
        let (own, key) = (file("own.pem", &one.cert.pem()), file("key.pem", &one.signing_key.serialize_pem()));
        let wrong = file("wrong.pem", &other.signing_key.serialize_pem());
        let text = file("text.pem", "no PEM");
        assert!(acceptor(&own, &key).is_ok());
        for (certificate, key, expected) in [
            (&own, &wrong, "does not belong to"),
            (&text, &key, "no usable certificate"),
            (&own, &text, "no usable private key"),
            (&folder.path().join("nowhere"), &key, "no usable certificate"),
        ] {
            let error = acceptor(certificate, key).err().expect("refused");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
