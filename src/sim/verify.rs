//! What a gateway expects in the signature parameter. Code of the simulator's own, on purpose: two
//! independent readings of the rules are both held to `tests/vectors/signing.json`.
//!
//! Invariant: shares no code with the side that signs.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit as _};
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::Sha256;

/// The signing rules of WIRE §1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HMAC-SHA1 over path + sorted `kv`.
    Aop,
    /// HMAC-SHA1 over sorted `k=v&k=v`.
    ItemGet,
    /// HMAC-SHA1 over sorted `kv`.
    ProductGet,
    /// MD5 over secret + sorted `k=pct(v)&k=pct(v)` + secret.
    Portals,
    /// MD5 over secret + sorted `k=v&k=v` + secret (S3's prose).
    ShopSearch,
    /// MD5 over sorted `k=v&k=v` + secret + secret (S3's sample code).
    ShopSearchSuffixTwice,
    /// MD5 over secret + `kv` + secret, empty values skipped.
    TopMd5,
    /// HMAC-MD5 over `kv`, empty values skipped.
    TopHmacMd5,
    /// HMAC-SHA256 over `kv`, empty values skipped.
    TopHmacSha256,
}

/// What is signed, beside the parameters.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The app's secret.
    pub secret: &'a str,
    /// `param2/{version}/{namespace}/{api}/{appKey}`; only [`Scheme::Aop`] reads it.
    pub path: &'a str,
}

impl Scheme {
    /// The parameter that carries the signature.
    #[must_use]
    pub fn parameter(self) -> &'static str {
        match self {
            Scheme::Aop => "_aop_signature",
            _ => "sign",
        }
    }

    /// The signature in upper-case hex over all `params` but the signature itself, in byte order of their names.
    #[must_use]
    pub fn signature(self, signed: Signed<'_>, params: &BTreeMap<String, String>) -> String {
        let skips_empty = matches!(self, Scheme::TopMd5 | Scheme::TopHmacMd5 | Scheme::TopHmacSha256);
        let kept: Vec<(&str, &str)> = params
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, value)| *name != self.parameter() && !(skips_empty && value.is_empty()))
            .collect();
        let Signed { secret, path } = signed;
        let glued = || kept.iter().map(|(name, value)| format!("{name}{value}")).collect::<String>();
        let pairs = || kept.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        match self {
            Scheme::Aop => hmac_sha1(secret, &format!("{path}{}", glued())),
            Scheme::ItemGet => hmac_sha1(secret, &pairs()),
            Scheme::ProductGet => hmac_sha1(secret, &glued()),
            Scheme::Portals => {
                let pairs: Vec<String> =
                    kept.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
                md5_hex(&format!("{secret}{}{secret}", pairs.join("&")))
            }
            Scheme::ShopSearch => md5_hex(&format!("{secret}{}{secret}", pairs())),
            Scheme::ShopSearchSuffixTwice => md5_hex(&format!("{}{secret}{secret}", pairs())),
            Scheme::TopMd5 => md5_hex(&format!("{secret}{}{secret}", glued())),
            Scheme::TopHmacMd5 => keyed(Hmac::<Md5>::new_from_slice(secret.as_bytes()), &glued()),
            Scheme::TopHmacSha256 => keyed(Hmac::<Sha256>::new_from_slice(secret.as_bytes()), &glued()),
        }
    }
}

fn hmac_sha1(secret: &str, text: &str) -> String {
    keyed(Hmac::<Sha1>::new_from_slice(secret.as_bytes()), text)
}

/// An HMAC takes keys of every length, so there is always a mac; without one no signature can match.
fn keyed<M: hmac::Mac, E>(mac: Result<M, E>, text: &str) -> String {
    mac.map_or_else(
        |_| String::new(),
        |mut mac| {
            mac.update(text.as_bytes());
            hex(&mac.finalize().into_bytes())
        },
    )
}

fn md5_hex(text: &str) -> String {
    hex(&Md5::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// RFC 3986: all but the unreserved characters are encoded.
fn percent(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme(name: &str) -> Scheme {
        match name {
            "aop" => Scheme::Aop,
            "item-get" => Scheme::ItemGet,
            "product-get" => Scheme::ProductGet,
            "portals" => Scheme::Portals,
            "shop-search" => Scheme::ShopSearch,
            "shop-search/suffix-twice" => Scheme::ShopSearchSuffixTwice,
            "top-md5" => Scheme::TopMd5,
            "top-hmac-md5" => Scheme::TopHmacMd5,
            "top-hmac-sha256" => Scheme::TopHmacSha256,
            other => panic!("no scheme `{other}`"),
        }
    }

    #[test]
    fn every_vector_of_the_contract_holds() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/signing.json")).expect("the vectors are JSON");
        let vectors = file["vectors"].as_array().expect("a list");
        assert!(vectors.len() >= 11);
        for vector in vectors {
            // Null values are never sent, so the verifying side does not see them.
            let params = vector["params"]
                .as_object()
                .expect("an object")
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect();
            let signed = Signed {
                secret: vector["secret"].as_str().expect("a secret"),
                path: vector["url_path"].as_str().unwrap_or(""),
            };
            let found = scheme(vector["scheme"].as_str().expect("a scheme")).signature(signed, &params);
            assert_eq!(found, vector["expected"], "{}", vector["name"]);
        }
    }

    #[test]
    fn the_signature_itself_is_not_signed() {
        let mut params = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let signed = Signed { secret: "s", path: "" };
        let before = Scheme::Portals.signature(signed, &params);
        params.insert("sign".to_owned(), before.clone());
        assert_eq!(Scheme::Portals.signature(signed, &params), before);
    }
}
