//! Signing: the one template mechanism behind every scheme of WIRE §1.
//!
//! Takes the definition's [`Sign`], the secret, the path and the parameters as they are sent; gives the
//! signature in upper-case hex, or the signed text with the secret masked for people to compare.
//!
//! Invariant: a scheme is data. Nothing here knows a gateway, and nothing here prints a secret.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

use crate::config::Template;
use crate::config::gateway::{Algorithm, Sign, Skip, ValueEncoding};
use crate::config::template::Part;

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct Signable<'a> {
    /// The endpoint's path, for gateways that sign it: no host, no leading slash.
    pub path: &'a str,
    /// Names and values as they are sent, in byte order of the names.
    pub params: &'a [(&'a str, &'a str)],
}

/// Why a text cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// A template of the definition has a place that signing does not know.
    #[error("`sign.{key}` has no place `{{{place}}}`")]
    Place {
        /// `text` or `param`.
        key: &'static str,
        /// The unknown place.
        place: String,
    },
    /// The digest refuses the key.
    #[error("the secret cannot be a key")]
    Key,
}

/// What stands for the secret in texts that people see.
pub const MASKED: &str = "***";

/// Whether a value is sent at all: absent ones never are, empty ones as the definition says (WIRE §1: "null
/// values dropped", "empty values skipped").
#[must_use]
pub fn kept(skip: Skip, value: Option<&str>) -> Option<&str> {
    match skip {
        Skip::Null => value,
        Skip::Empty => value.filter(|value| !value.is_empty()),
    }
}

/// The signature, in upper-case hex.
///
/// # Errors
/// [`SignError`].
pub fn signature(sign: &Sign, secret: &str, signable: Signable<'_>) -> Result<String, SignError> {
    let text = text(sign, secret, signable)?;
    let (text, key) = (text.as_bytes(), secret.as_bytes());
    Ok(match sign.algorithm {
        Algorithm::Md5 => upper_hex(&Md5::digest(text)),
        Algorithm::HmacMd5 => upper_hex(&keyed(Hmac::<Md5>::new_from_slice(key), text)?),
        Algorithm::HmacSha1 => upper_hex(&keyed(Hmac::<Sha1>::new_from_slice(key), text)?),
        Algorithm::HmacSha256 => upper_hex(&keyed(Hmac::<Sha256>::new_from_slice(key), text)?),
    })
}

/// The text that is hashed, with the secret as `***`. Values of secret parameters must come masked already.
///
/// # Errors
/// [`SignError`].
pub fn masked_text(sign: &Sign, signable: Signable<'_>) -> Result<String, SignError> {
    text(sign, MASKED, signable)
}

/// Appends `value`, all but `A-Z a-z 0-9 - . _ ~` percent-encoded (RFC 3986).
pub fn push_percent(out: &mut String, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut plain = 0;
    for (at, &byte) in value.as_bytes().iter().enumerate() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            continue;
        }
        // Only ASCII bytes are plain, so both ends are character borders.
        out.push_str(value.get(plain..at).unwrap_or_default());
        out.push('%');
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
        plain = at + 1;
    }
    out.push_str(value.get(plain..).unwrap_or_default());
}

fn keyed<M: Mac>(mac: Result<M, hmac::digest::InvalidLength>, text: &[u8]) -> Result<impl AsRef<[u8]>, SignError> {
    let mut mac = mac.map_err(|_| SignError::Key)?;
    mac.update(text);
    Ok(mac.finalize().into_bytes())
}

fn text(sign: &Sign, secret: &str, signable: Signable<'_>) -> Result<String, SignError> {
    let params: usize = signable.params.iter().map(|(name, value)| name.len() + 3 * value.len() + 2).sum();
    let mut out = String::with_capacity(params + 2 * secret.len() + signable.path.len());
    for part in sign.text.parts() {
        match part {
            Part::Text(literal) => out.push_str(literal),
            Part::Place(place) => match place.as_str() {
                "secret" => out.push_str(secret),
                "path" => out.push_str(signable.path),
                "params" => push_params(&mut out, sign, signable.params)?,
                _ => return Err(SignError::Place { key: "text", place: place.clone() }),
            },
        }
    }
    Ok(out)
}

fn push_params(out: &mut String, sign: &Sign, params: &[(&str, &str)]) -> Result<(), SignError> {
    let signed = params.iter().filter(|(name, _)| *name != sign.into && !sign.unsigned.iter().any(|un| un == name));
    for (index, &(name, value)) in signed.enumerate() {
        if index > 0 {
            out.push_str(&sign.join);
        }
        push_param(out, &sign.param, sign.value, (name, value))?;
    }
    Ok(())
}

fn push_param(
    out: &mut String,
    template: &Template,
    encoding: ValueEncoding,
    (name, value): (&str, &str),
) -> Result<(), SignError> {
    for part in template.parts() {
        match part {
            Part::Text(literal) => out.push_str(literal),
            Part::Place(place) => match (place.as_str(), encoding) {
                ("name", _) => out.push_str(name),
                ("value", ValueEncoding::Raw) => out.push_str(value),
                ("value", ValueEncoding::Percent) => push_percent(out, value),
                _ => return Err(SignError::Place { key: "param", place: place.clone() }),
            },
        }
    }
    Ok(())
}

fn upper_hex(bytes: &(impl AsRef<[u8]> + ?Sized)) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let bytes = bytes.as_ref();
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        hex.push(char::from(HEX[usize::from(byte >> 4)]));
        hex.push(char::from(HEX[usize::from(byte & 15)]));
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schemes of WIRE §1, as data: (algorithm, text, param, join, value, skip).
    fn scheme(name: &str) -> Sign {
        let (algorithm, text, param, join, value, skip) = match name {
            "aop" => (Algorithm::HmacSha1, "{path}{params}", "{name}{value}", "", ValueEncoding::Raw, Skip::Null),
            "item-get" => (Algorithm::HmacSha1, "{params}", "{name}={value}", "&", ValueEncoding::Raw, Skip::Null),
            "product-get" => (Algorithm::HmacSha1, "{params}", "{name}{value}", "", ValueEncoding::Raw, Skip::Null),
            "portals" => {
                (Algorithm::Md5, "{secret}{params}{secret}", "{name}={value}", "&", ValueEncoding::Percent, Skip::Null)
            }
            "shop-search" => {
                (Algorithm::Md5, "{secret}{params}{secret}", "{name}={value}", "&", ValueEncoding::Raw, Skip::Null)
            }
            "shop-search/suffix-twice" => {
                (Algorithm::Md5, "{params}{secret}{secret}", "{name}={value}", "&", ValueEncoding::Raw, Skip::Null)
            }
            "top-md5" => {
                (Algorithm::Md5, "{secret}{params}{secret}", "{name}{value}", "", ValueEncoding::Raw, Skip::Empty)
            }
            "top-hmac-md5" => (Algorithm::HmacMd5, "{params}", "{name}{value}", "", ValueEncoding::Raw, Skip::Empty),
            "top-hmac-sha256" => {
                (Algorithm::HmacSha256, "{params}", "{name}{value}", "", ValueEncoding::Raw, Skip::Empty)
            }
            other => panic!("the vectors name an unknown scheme `{other}`"),
        };
        Sign {
            algorithm,
            secret: "app_secret".into(),
            text: Template::parse(text).unwrap(),
            param: Template::parse(param).unwrap(),
            join: join.into(),
            value,
            skip,
            into: "sign".into(),
            unsigned: Vec::new(),
        }
    }

    #[test]
    fn every_published_vector_passes_through_the_templates() {
        let file: serde_json::Value = serde_json::from_str(include_str!("../../tests/vectors/signing.json")).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        assert!(vectors.len() >= 11, "vectors went missing");
        for vector in vectors {
            let sign = scheme(vector["scheme"].as_str().unwrap());
            let params: std::collections::BTreeMap<&str, Option<&str>> =
                vector["params"].as_object().unwrap().iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let params: Vec<_> =
                params.into_iter().filter_map(|(name, value)| Some((name, kept(sign.skip, value)?))).collect();
            let signable = Signable { path: vector["url_path"].as_str().unwrap_or(""), params: &params };
            let signed = signature(&sign, vector["secret"].as_str().unwrap(), signable).unwrap();
            assert_eq!(signed, vector["expected"].as_str().unwrap(), "{}", vector["name"]);
        }
    }

    #[test]
    fn the_signature_itself_and_unsigned_names_are_not_signed() {
        let sign = Sign { unsigned: vec!["method".into()], ..scheme("shop-search") };
        let all = Signable { path: "", params: &[("a", "1"), ("method", "m"), ("sign", "OLD"), ("z", "2")] };
        assert_eq!(masked_text(&sign, all).unwrap(), "***a=1&z=2***");
    }

    #[test]
    fn the_masked_text_is_what_is_hashed_but_for_the_secret() {
        let signable = Signable { path: "", params: &[("title", "圆 形~"), ("x", "")] };
        assert_eq!(masked_text(&scheme("portals"), signable).unwrap(), "***title=%E5%9C%86%20%E5%BD%A2~&x=***");
    }

    #[test]
    fn empty_values_are_dropped_only_where_the_definition_says_so() {
        assert_eq!(kept(Skip::Null, Some("")), Some(""));
        assert_eq!(kept(Skip::Empty, Some("")), None);
        assert_eq!(kept(Skip::Null, None), None);
    }

    #[test]
    fn a_place_nobody_fills_is_named() {
        let sign = Sign { text: Template::parse("{secrets}").unwrap(), ..scheme("portals") };
        let error = masked_text(&sign, Signable { path: "", params: &[] }).unwrap_err();
        assert_eq!(error.to_string(), "`sign.text` has no place `{secrets}`");
    }
}
