//! Secrets that cannot be printed by accident, and the mask that keeps them out of what we keep.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

/// A secret value. Its `Debug` and `Display` print stars.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself: for signing and sending only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a [`Mask`] looks for it: values of fewer than six bytes also occur by chance.
    #[must_use]
    pub fn is_maskable(&self) -> bool {
        self.0.len() >= MASKED_LENGTH_MIN
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Replaces every occurrence of known secrets, also as an answer that repeats the call may write them:
/// percent-encoded (in either case), escaped for JSON (`\/` and `\u…` too) or for HTML.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    secrets: Vec<Secret>,
}

/// Shorter values are too common to be searched for in bytes we keep.
const MASKED_LENGTH_MIN: usize = 6;

impl Mask {
    /// A mask for these values, the longest written form first.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let long = secrets.into_iter().filter(Secret::is_maskable);
        let forms: BTreeSet<String> = long.flat_map(|secret| written_forms(&secret.0)).collect();
        let mut secrets: Vec<_> = forms.into_iter().map(Secret).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.0.len()));
        Self { secrets }
    }

    /// The text with every known secret replaced by `***`.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(&secret.0, "***"))
    }

    /// The bytes with every known secret overwritten by stars of the same length, or `None` when
    /// they hold none (the usual case: nothing is copied).
    #[must_use]
    pub fn bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut masked: Option<Vec<u8>> = None;
        for secret in &self.secrets {
            let finder = memchr::memmem::Finder::new(secret.0.as_bytes());
            let found: Vec<usize> = finder.find_iter(masked.as_deref().unwrap_or(bytes)).collect();
            if found.is_empty() {
                continue;
            }
            let copy = masked.get_or_insert_with(|| bytes.to_vec());
            for at in found {
                copy[at..at + secret.0.len()].fill(b'*');
            }
        }
        masked
    }
}

/// A value as it may stand in an address, a JSON text or a page; most secrets have one form only.
fn written_forms(value: &str) -> Vec<String> {
    let (upper, lower) = (percent(value, b"0123456789ABCDEF"), percent(value, b"0123456789abcdef"));
    let json = json(value);
    let slashed = json.replace('/', "\\/");
    let html = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    vec![
        value.to_owned(),
        upper.replace("%20", "+"),
        lower,
        ascii(&json),
        ascii(&slashed),
        upper,
        json,
        slashed,
        html.replace('"', "&quot;").replace('\'', "&#39;"),
        html,
    ]
}

/// RFC 3986: all but unreserved characters as `%XX`, with these sixteen digits.
fn percent(value: &str, digits: &[u8; 16]) -> String {
    value.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.extend(['%', digit(digits, byte >> 4), digit(digits, byte & 15)]),
        }
        out
    })
}

fn digit(digits: &[u8; 16], value: u8) -> char {
    char::from(digits[usize::from(value & 15)])
}

/// The inside of a JSON string.
fn json(value: &str) -> String {
    value.chars().fold(String::new(), |mut out, char| {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            control if control < ' ' => _ = write!(out, "\\u{:04x}", u32::from(control)),
            other => out.push(other),
        }
        out
    })
}

/// Everything past ASCII as `\uXXXX`, as some services write all their JSON.
fn ascii(json: &str) -> String {
    let mut units = [0; 2];
    json.chars().fold(String::new(), |mut out, char| {
        if char.is_ascii() {
            out.push(char);
        } else {
            char.encode_utf16(&mut units).iter().for_each(|unit| _ = write!(out, "\\u{unit:04x}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_stars() {
        let secret = Secret::new("hunter2hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
    }

    #[test]
    fn a_mask_overwrites_secrets_and_copies_nothing_without_them() {
        let mask = Mask::new([Secret::new("abcdef"), Secret::new("abcdefgh"), Secret::new("a")]);
        assert_eq!(mask.bytes(b"a clean body"), None);
        assert_eq!(mask.bytes(b"x abcdefgh abcdef").as_deref(), Some(&b"x ******** ******"[..]));
        assert_eq!(mask.text("key=abcdef&x=1"), "key=***&x=1");
    }

    #[test]
    fn a_mask_knows_a_secret_however_the_answer_writes_it() {
        let mask = Mask::new([Secret::new("a+b/c=\"货&d")]);
        for written in [
            "a+b/c=\"货&d",
            "a%2Bb%2Fc%3D%22%E8%B4%A7%26d",
            "a%2bb%2fc%3d%22%e8%b4%a7%26d",
            r#"a+b/c=\"货&d"#,
            r#"a+b\/c=\"货&d"#,
            r#"a+b/c=\"\u8d27&d"#,
            r#"a+b\/c=\"\u8d27&d"#,
            "a+b/c=&quot;货&amp;d",
            "a+b/c=\"货&amp;d",
        ] {
            assert_eq!(mask.text(&format!("<{written}>")), "<***>", "{written}");
            let masked = mask.bytes(format!("<{written}>").as_bytes()).expect("found");
            assert!(masked[1..masked.len() - 1].iter().all(|byte| *byte == b'*'), "{written}");
        }
    }
}
