//! What bytes of an answer may stand for: as they are, or as an escape of JSON, of an address or of a page.
//!
//! | spelling | of `=` |
//! |---|---|
//! | raw | `=` |
//! | JSON | `\u003d`, and `\"` `\\` `\/` `\'` `\n` … where there is one |
//! | percent-encoded | `%3D`; `+` for a space |
//! | XML or HTML | `&#61;` `&#x3d;`, and `&amp;` `&lt;` `&gt;` `&quot;` `&apos;` |
//!
//! What begins an escape may itself be escaped: `%253D` is percent-encoded twice, `\\u003d` JSON within JSON.
//!
//! Invariant: pure; no bytes make it panic, and a place is read in a bounded number of ways.

/// Ways to read one place: escapes within escapes end here.
const WAYS_MAX: usize = 8;
/// Bytes in which a reference must end: `&#x0010FFFF;`.
const REFERENCE_BYTES_MAX: usize = 12;

/// What begins an escape. A `+`, which may be a space, is one of itself.
pub(super) const INTRODUCERS: [u8; 4] = *b"%\\&+";

/// What stands at a place, read one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// A byte, perhaps of a longer character.
    Byte(u8),
    /// A whole character.
    Char(char),
}

/// Every way to read what stands at a place, each with the place after it: the shortest first.
pub(super) fn readings(text: &[u8], at: usize) -> impl Iterator<Item = (Reading, usize)> {
    let raw = text.get(at).map(|byte| (Reading::Byte(*byte), at + 1));
    std::iter::successors(raw, |(reading, end)| reading.escape(text, *end)).take(WAYS_MAX)
}

impl Reading {
    /// Its first byte in UTF-8.
    pub(super) fn first(self) -> u8 {
        match self {
            Reading::Byte(byte) => byte,
            Reading::Char(char) => {
                let mut utf8 = [0; 4];
                char.encode_utf8(&mut utf8);
                utf8[0]
            }
        }
    }

    /// How many bytes of `value`, from its beginning, it stands for; `None`: for others.
    pub(super) fn begins(self, value: &[u8]) -> Option<usize> {
        match self {
            Reading::Byte(byte) => (value.first() == Some(&byte)).then_some(1),
            Reading::Char(char) => {
                let mut utf8 = [0; 4];
                let written = char.encode_utf8(&mut utf8).as_bytes();
                value.starts_with(written).then_some(written.len())
            }
        }
    }

    /// What it begins, when the rest of an escape follows at `at`.
    fn escape(self, text: &[u8], at: usize) -> Option<(Reading, usize)> {
        let introducer = match self {
            Reading::Byte(byte) => byte,
            Reading::Char(char) => u8::try_from(char).ok()?,
        };
        let rest = text.get(at..)?;
        let (reading, length) = match introducer {
            b'%' => (Reading::Byte(u8::try_from(hex(rest.get(..2)?)?).ok()?), 2),
            b'\\' => backslash(rest)?,
            b'&' => reference(rest)?,
            b'+' => (Reading::Byte(b' '), 0),
            _ => return None,
        };
        Some((reading, at + length))
    }
}

/// What follows a backslash in JSON, and in the strings of other languages.
fn backslash(rest: &[u8]) -> Option<(Reading, usize)> {
    let byte = match *rest.first()? {
        b'u' => return unicode(rest),
        b'b' => 0x08,
        b'f' => 0x0C,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        byte @ (b'"' | b'\'' | b'/' | b'\\') => byte,
        _ => return None,
    };
    Some((Reading::Byte(byte), 1))
}

/// `uXXXX`, or two of them that are one character.
fn unicode(rest: &[u8]) -> Option<(Reading, usize)> {
    let unit = hex(rest.get(1..5)?)?;
    if let Some(char) = char::from_u32(unit) {
        return Some((Reading::Char(char), 5));
    }
    let rest = &rest[5..];
    let slashes = rest.iter().take_while(|byte| **byte == b'\\').count();
    let other = rest.get(slashes..)?;
    let low = hex(other.get(1..5)?)?;
    if slashes == 0 || other[0] != b'u' {
        return None;
    }
    let units = [u16::try_from(unit).ok()?, u16::try_from(low).ok()?];
    let char = char::decode_utf16(units).next()?.ok()?;
    Some((Reading::Char(char), 5 + slashes + 5))
}

/// What follows an ampersand in XML and HTML.
fn reference(rest: &[u8]) -> Option<(Reading, usize)> {
    let end = rest.iter().take(REFERENCE_BYTES_MAX).position(|byte| *byte == b';')?;
    let char = match &rest[..end] {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(hex(digits)?)?,
        [b'#', digits @ ..] => char::from_u32(number(digits, 10)?)?,
        _ => return None,
    };
    Some((Reading::Char(char), end + 1))
}

fn hex(digits: &[u8]) -> Option<u32> {
    number(digits, 16)
}

fn number(digits: &[u8], base: u32) -> Option<u32> {
    let add = |number: u32, byte: &u8| number.checked_mul(base)?.checked_add(char::from(*byte).to_digit(base)?);
    (!digits.is_empty()).then(|| digits.iter().try_fold(0, add)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_in_every_way_that_it_may_be_meant() {
        use Reading::{Byte, Char};
        for (text, expected) in [
            ("=", vec![(Byte(b'='), 1)]),
            ("\\u003D.", vec![(Byte(b'\\'), 1), (Char('='), 6)]),
            ("\\/", vec![(Byte(b'\\'), 1), (Byte(b'/'), 2)]),
            ("\\\\u003d", vec![(Byte(b'\\'), 1), (Byte(b'\\'), 2), (Char('='), 7)]),
            ("\\ud83d\\ude00", vec![(Byte(b'\\'), 1), (Char('😀'), 12)]),
            ("\\ud83dude00", vec![(Byte(b'\\'), 1)]),
            ("\\ude00", vec![(Byte(b'\\'), 1)]),
            ("%3d", vec![(Byte(b'%'), 1), (Byte(b'='), 3)]),
            ("%253D", vec![(Byte(b'%'), 1), (Byte(b'%'), 3), (Byte(b'='), 5)]),
            ("%3", vec![(Byte(b'%'), 1)]),
            ("%+1", vec![(Byte(b'%'), 1)]),
            ("+", vec![(Byte(b'+'), 1), (Byte(b' '), 1)]),
            ("&quot;", vec![(Byte(b'&'), 1), (Char('"'), 6)]),
            ("&#039;", vec![(Byte(b'&'), 1), (Char('\''), 6)]),
            ("&#x8d27;", vec![(Byte(b'&'), 1), (Char('货'), 8)]),
            ("\\u0026#39;", vec![(Byte(b'\\'), 1), (Char('&'), 6), (Char('\''), 10)]),
            ("&#;", vec![(Byte(b'&'), 1)]),
            ("&#x110000;", vec![(Byte(b'&'), 1)]),
            ("", vec![]),
        ] {
            assert_eq!(readings(text.as_bytes(), 0).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in "([%&+#;ux0-9a-fDd]|\\\\|\\PC){0,40}", at in 0..60_usize) {
            assert!(readings(text.as_bytes(), at).count() <= WAYS_MAX);
        }
    }
}
