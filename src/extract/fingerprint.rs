//! Who asks whom, as digests: for whoever must know whether a refusal was about these credentials at this gateway.
//!
//! Invariant: pure; a digest tells when something changed and nothing about it.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::config::Gateway;
use crate::config::pipeline::{Account, Credential};

/// An account at a gateway, as [`crate::state::Ask`] and [`crate::state::Resting`] name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Of the gateway and its address: what one refuses, or one at a wrong address, says nothing about another.
    pub gateway: String,
    /// Of the account's secrets, as this gateway is shown them.
    pub credentials: String,
}

impl Fingerprint {
    /// The digests of an account at a gateway.
    #[must_use]
    pub fn new(gateway: &Gateway, account: &Account) -> Self {
        let asked = format!("{}\0{}\0", gateway.name, gateway.url);
        let mut secrets = asked.clone().into_bytes();
        for (name, credential) in &account.credentials {
            if let Credential::Secret(secret) = credential {
                secrets.extend_from_slice(name.as_bytes());
                secrets.push(0);
                secrets.extend_from_slice(secret.expose().as_bytes());
                secrets.push(0);
            }
        }
        let credentials = match Hmac::<Sha256>::new_from_slice(&secrets) {
            Ok(mut mac) => {
                mac.update(b"huopan: have the credentials changed?");
                short(&mac.finalize().into_bytes())
            }
            // HMAC takes keys of any length.
            Err(_) => String::new(),
        };
        Self { gateway: short(&Sha256::digest(asked)), credentials }
    }
}

/// Eight bytes in hex.
fn short(digest: &[u8]) -> String {
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Secret;
    use crate::extract::testing;

    #[test]
    fn another_secret_changes_the_credentials_and_another_address_both() {
        let (gateway, account) = (testing::gateway("http://one/"), testing::account("main"));
        let first = Fingerprint::new(&gateway, &account);
        assert_eq!(Fingerprint::new(&gateway, &testing::account("called otherwise")), first);
        let mut changed = account.clone();
        changed.credentials.insert("app_secret".into(), Credential::Secret(Secret::new("another")));
        let changed = Fingerprint::new(&gateway, &changed);
        assert_eq!(changed.gateway, first.gateway);
        assert_ne!(changed.credentials, first.credentials);
        let elsewhere = Fingerprint::new(&testing::gateway("http://two/"), &account);
        assert!(elsewhere.gateway != first.gateway && elsewhere.credentials != first.credentials);
        assert!(!format!("{first:?}").contains("secret"), "{first:?}");
    }
}
