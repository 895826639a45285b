//! A Redis with TLS as the binary asks it: trusted by the pipeline's `ca`, by the machine, or not at all.

use std::path::Path;

use huopan::sim::{self, Gateway};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::process::Child;

use crate::support::{self, Place, huopan_with, quick, shop_lines};

/// Writes a server's certificate and key and the authority that signed it.
fn certificates(folder: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    for (file, pem) in [("own.pem", own.pem()), ("key.pem", key.serialize_pem()), ("ca.pem", authority.pem())] {
        std::fs::write(folder.join(file), pem).unwrap();
    }
}

/// A server with the certificates in a folder; `None` where none is installed.
async fn redis(folder: &Path) -> Option<(Child, u16)> {
    let own = ["--tls-cert-file", "own.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "ca.pem"];
    support::redis(folder, "--tls-port", &[&own[..], &["--port", "0", "--tls-auth-clients", "no"]].concat()).await
}

#[tokio::test]
async fn a_run_shares_its_ledger_through_a_redis_with_tls_that_it_trusts() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    certificates(place.path());
    let Some((_server, port)) = redis(place.path()).await else { return };
    let file = place.pipeline_file(&sim, Gateway::Portals, &shop_lines(&sim.world(Gateway::Portals)));
    let text = std::fs::read_to_string(file).unwrap();
    let with = |state: &str| place.write("pipeline.toml", text.replace("url = \"state.sqlite\"", state));
    let run = async |more: &[(&str, &str)]| {
        let env = [&[("SECRET", "sim-secret")], more].concat();
        huopan_with(place.path(), &["run", "pipeline.toml"], &env).await
    };

    with(&format!("url = \"rediss://127.0.0.1:{port}\""));
    let ended = run(&[]).await;
    assert_eq!((ended.code, sim.stats().calls), (1, 0), "nothing is asked without a ledger: {ended:?}");
    let says = format!("error: the certificate of redis at `127.0.0.1:{port}` is not trusted: UnknownIssuer\n");
    assert!(ended.stderr.contains(&says) && ended.stderr.contains("hint: name who signed it: `ca ="), "{ended:?}");
    // The machine's own certificates may be others.
    let ca = place.path().join("ca.pem").display().to_string();
    assert_eq!(run(&[("SSL_CERT_FILE", &ca)]).await.code, 0);
    let calls = sim.stats().calls;
    with(&format!("url = \"rediss://127.0.0.1:{port}\"\nca = \"ca.pem\""));
    let ended = huopan_with(place.path(), &["accounts", "pipeline.toml", "--json"], &[("SECRET", "sim-secret")]).await;
    let shown: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    assert_eq!(shown["accounts"][0]["scopes"][0]["calls"], calls, "{shown}");
}
