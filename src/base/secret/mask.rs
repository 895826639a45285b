//! The mask that keeps secrets out of what we keep, however an answer writes them.
//!
//! Takes bytes or text; gives them with stars where a known secret stands: raw or escaped character by character in any
//! mixture of [`super::spelling`]'s ways, or in Base64 (standard or for addresses, padded or not).
//!
//! A table of the pairs of bytes that a spelled secret can begin with is looked up at each byte; the few places that pass
//! are read character by character, so that a text without secrets costs one pass and no memory.
//!
//! Invariant: what holds no secret is not changed, and no text makes the search go over a place again and again.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::Secret;
use super::spelling::{INTRODUCERS, readings};

/// Replaces every occurrence of known secrets. Clones share what was prepared.
#[derive(Clone, Default)]
pub struct Mask(Arc<Finder>);

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask(***)")
    }
}

impl Mask {
    /// A mask for these values.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let long = secrets.into_iter().filter(Secret::is_maskable);
        let values: BTreeSet<Vec<u8>> = long.flat_map(|secret| written_forms(&secret.0)).collect();
        Self(Arc::new(Finder::new(values.into_iter().collect())))
    }

    /// The text with every known secret replaced by `***`.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let bytes = text.as_bytes();
        let mut found = self.0.find(bytes).peekable();
        if found.peek().is_none() {
            return text.to_owned();
        }
        let (mut masked, mut from) = (Vec::new(), 0);
        for Range { start, end } in found {
            if start >= from {
                masked.extend_from_slice(&bytes[from..start]);
                masked.extend_from_slice(b"***");
            }
            from = from.max(end);
        }
        masked.extend_from_slice(&bytes[from..]);
        String::from_utf8_lossy(&masked).into_owned()
    }

    /// The bytes with every known secret overwritten by stars of the same length, or `None` when
    /// they hold none (the usual case: nothing is copied).
    #[must_use]
    pub fn bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut masked: Option<Vec<u8>> = None;
        for place in self.0.find(bytes) {
            masked.get_or_insert_with(|| bytes.to_vec())[place].fill(b'*');
        }
        masked
    }
}

/// What is looked for: the value itself, in GBK too where that differs, and in Base64.
fn written_forms(value: &str) -> Vec<Vec<u8>> {
    let (gbk, _, is_lossy) = encoding_rs::GBK.encode(value);
    let padded = base64(value.as_bytes());
    let bare = padded.trim_end_matches('=');
    let for_address = |text: &str| text.replace('+', "-").replace('/', "_");
    let mut forms: Vec<Vec<u8>> =
        [value, &padded, bare, &for_address(&padded), &for_address(bare)].map(|form| form.as_bytes().to_vec()).into();
    if !is_lossy {
        forms.push(gbk.into_owned());
    }
    forms
}

/// RFC 4648, with padding.
fn base64(value: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(DIGITS[(bits & 63) as usize]);
    value.chunks(3).fold(String::new(), |mut out, chunk| {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        out.extend([digit(bits >> 18), digit(bits >> 12)]);
        out.push(if chunk.len() > 1 { digit(bits >> 6) } else { '=' });
        out.push(if chunk.len() > 2 { digit(bits) } else { '=' });
        out
    })
}

/// Values, and where they can begin.
#[derive(Default)]
struct Finder {
    /// In their order: those with the same first byte are neighbours.
    values: Vec<Vec<u8>>,
    /// By first byte: which of the values.
    named: Vec<Range<usize>>,
    /// One bit for each pair of bytes that a spelled value can begin with. Empty without values.
    heads: Vec<u64>,
}

impl Finder {
    /// Of values in their order.
    fn new(values: Vec<Vec<u8>>) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        let values_from = |first: u8| values.partition_point(|value| value.first() < Some(&first));
        let named = (0..=u8::MAX).map(|first| {
            let end = first.checked_add(1).map_or(values.len(), values_from);
            values_from(first)..end
        });
        let named = named.collect();
        let mut heads = vec![0; (1 << 16) / 64];
        for [first, second] in values.iter().flat_map(|value| beginnings(value)) {
            let (word, bit) = place(first, second);
            heads[word] |= bit;
        }
        Self { values, named, heads }
    }

    /// Where values stand, by their beginnings; places may overlap.
    fn find<'f>(&'f self, text: &'f [u8]) -> impl Iterator<Item = Range<usize>> + 'f {
        let can_begin = |(_, pair): &(usize, &[u8])| {
            let (word, bit) = place(pair[0], pair[1]);
            self.heads.get(word).is_some_and(|bits| bits & bit != 0)
        };
        // A value is longer than a pair.
        let starts = text.windows(2).enumerate().filter(can_begin).map(|(start, _)| start);
        let mut taken = HashSet::new();
        starts.filter_map(move |start| {
            // Of values that begin with other characters nothing more is asked.
            let names = readings(text, start).flat_map(|(reading, _)| self.named[usize::from(reading.first())].clone());
            let ends = names.filter_map(|name| Search { name, value: &self.values[name], text }.end(start, &mut taken));
            Some(start..ends.max()?)
        })
    }
}

fn place(first: u8, second: u8) -> (usize, u64) {
    let pair = usize::from(first) << 8 | usize::from(second);
    (pair / 64, 1 << (pair % 64))
}

/// The pairs of bytes that a value, however it is spelled, can begin with: never too few.
fn beginnings(value: &[u8]) -> Vec<[u8; 2]> {
    let [first, second, ..] = *value else { return Vec::new() };
    let after = INTRODUCERS.into_iter().chain([second]);
    let mut pairs: Vec<[u8; 2]> = after.clone().map(|after| [first, after]).collect();
    if first == b' ' {
        pairs.extend(after.map(|after| [b'+', after]));
    }
    let short = match first {
        0x08 => b'b',
        0x0C => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        other => other,
    };
    pairs.extend([short, b'u', b'\\'].map(|after| [b'\\', after]));
    pairs.extend(b"0123456789abcdefABCDEF".map(|digit| [b'%', digit]));
    pairs.extend(b"#algq".map(|letter| [b'&', letter]));
    pairs
}

/// A value that is looked for.
struct Search<'s> {
    /// Which one it is.
    name: usize,
    value: &'s [u8],
    text: &'s [u8],
}

impl Search<'_> {
    /// Where the longest spelling that begins at `start` ends.
    ///
    /// Where a place can be read in two ways, both are followed, once: `taken` holds such places (value, bytes of it read
    /// so far, place). What a later start would find from there lies within what an earlier one has found.
    fn end(&self, start: usize, taken: &mut HashSet<(usize, usize, usize)>) -> Option<usize> {
        let (mut longest, mut forks) = (None, Vec::new());
        let mut path = Some((0, start));
        while let Some((read, at)) = path.take().or_else(|| forks.pop()) {
            if read == self.value.len() {
                longest = longest.max(Some(at));
                continue;
            }
            let rest = &self.value[read..];
            let mut ways =
                readings(self.text, at).filter_map(|(reading, after)| Some((read + reading.begins(rest)?, after)));
            path = ways.next();
            let Some(other) = ways.next() else { continue };
            if taken.insert((self.name, read, at)) {
                forks.push(other);
                forks.extend(ways);
            } else {
                path = None;
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(secret: &str) -> Mask {
        Mask::new([Secret::new(secret)])
    }

    #[test]
    fn a_mask_overwrites_secrets_and_copies_nothing_without_them() {
        let mask = Mask::new([Secret::new("abcdef"), Secret::new("abcdefgh"), Secret::new("a")]);
        assert_eq!(mask.bytes(b"a clean body"), None);
        assert_eq!(mask.bytes(b"x abcdefgh abcdef").as_deref(), Some(&b"x ******** ******"[..]));
        assert_eq!(mask.text("key=abcdef&x=1"), "key=***&x=1");
        assert_eq!(mask.text("abcdefabcdefgh"), "******");
        for empty in [Mask::default(), Mask::new([Secret::new("short")])] {
            assert_eq!((empty.bytes(b"short abcdef"), empty.text("short").as_str()), (None, "short"));
        }
        assert_eq!((mask.bytes(b""), mask.bytes(b"a")), (None, None));
    }

    #[test]
    fn secrets_that_overlap_are_both_masked() {
        let mask = Mask::new([Secret::new("abcdef"), Secret::new("defghi"), Secret::new("######")]);
        assert_eq!((mask.text("<abcdefghi>"), mask.text("<########>")), ("<***>".to_owned(), "<***>".to_owned()));
        assert_eq!(mask.bytes(b"<abcdefghi>").as_deref(), Some(&b"<*********>"[..]));
    }

    #[test]
    fn a_mask_knows_a_secret_however_the_answer_writes_it() {
        for (secret, written) in [
            ("a+b/c=\"货&d", "a+b/c=\"货&d"),
            ("a+b/c=\"货&d", "a%2Bb%2Fc%3D%22%E8%B4%A7%26d"),
            ("a+b/c=\"货&d", "a%2bb%2fc%3d%22%e8%b4%a7%26d"),
            ("a+b/c=\"货&d", "a%252Bb%252Fc%253D%2522%25E8%25B4%25A7%2526d"),
            ("a+b/c=\"货&d", "a%2Bb/c%3D%22%E8%B4%A7%26d"),
            ("a+b/c=\"货&d", r#"a+b/c=\"货&d"#),
            ("a+b/c=\"货&d", r#"a+b\/c=\"货&d"#),
            ("a+b/c=\"货&d", r#"a+b/c=\"\u8d27&d"#),
            ("a+b/c=\"货&d", r"a\u002Bb\/c\u003D\u0022\u8D27\u0026d"),
            ("a+b/c=\"货&d", r#"a+b\/c\\u003d\\\"\\u8d27\\u0026d"#),
            ("a+b/c=\"货&d", "a+b/c=&quot;货&amp;d"),
            ("a+b/c=\"货&d", "a&#43;b/c&#x3D;&#034;&#36135;\\u0026amp;d"),
            ("c2VjcmV0LXNlY3JldA==", r"c2VjcmV0LXNlY3JldA\u003d\u003d"),
            ("it's a secret", "it&#39;s+a+secret"),
            ("it's a secret", "it&#x27;s%20a%20secret"),
            ("it's a secret", "aXQncyBhIHNlY3JldA=="),
            ("it's a secret", r"aXQncyBhIHNlY3JldA\u003d\u003d"),
            ("it's a secret", "aXQncyBhIHNlY3JldA"),
            ("ab?>cd?>x", "YWI/PmNkPz54"),
            ("ab?>cd?>x", "YWI_PmNkPz54"),
            ("line\nbreak 😀", r"line\nbreak \ud83d\uDE00"),
            ("\\\\\\%%%", r"\\\\\\%25%2525%"),
        ] {
            let mask = mask(secret);
            assert_eq!(mask.text(&format!("<{written}>")), "<***>", "{written}");
            let masked = mask.bytes(format!("<{written}>").as_bytes()).expect("found");
            assert!(masked[1..masked.len() - 1].iter().all(|byte| *byte == b'*'), "{written}");
            assert_eq!((masked[0], masked[masked.len() - 1]), (b'<', b'>'), "{written}");
        }
    }

    #[test]
    fn a_secret_in_gbk_is_known_too() {
        let (body, _, _) = encoding_rs::GBK.encode("密码：开门见山吧，谢谢");
        let masked = mask("开门见山吧").bytes(&body).expect("found");
        assert_eq!((encoding_rs::GBK.decode(&masked).0, masked.len()), ("密码：**********，谢谢".into(), body.len()));
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (value, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(value.as_bytes()), expected);
        }
    }

    #[test]
    fn a_text_of_nothing_but_beginnings_is_read_in_time() {
        let secret = format!("{}!", "\\".repeat(100));
        let mask = mask(&secret);
        assert_eq!(mask.bytes("\\".repeat(2_000).as_bytes()), None);
        assert_eq!(mask.bytes("%25".repeat(2_000).as_bytes()), None);
        assert_eq!(mask.text(&format!("{}!", "\\".repeat(300))), "***");
    }

    /// A character in one of the ways that answers write it.
    fn spell(char: char, way: u8) -> String {
        let units = || char.encode_utf16(&mut [0; 2]).to_vec();
        let bytes = || char.to_string().into_bytes();
        let code = u32::from(char);
        let join = |parts: Vec<String>| parts.concat();
        match way % 12 {
            1 => join(units().iter().map(|unit| format!("\\u{unit:04x}")).collect()),
            2 => join(units().iter().map(|unit| format!("\\u{unit:04X}")).collect()),
            3 if matches!(char, '"' | '\\' | '/' | '\'') => format!("\\{char}"),
            4 => join(bytes().iter().map(|byte| format!("%{byte:02X}")).collect()),
            5 => join(bytes().iter().map(|byte| format!("%{byte:02x}")).collect()),
            6 => join(bytes().iter().map(|byte| format!("%25{byte:02X}")).collect()),
            7 => format!("&#{code};"),
            8 => format!("&#x{code:x};"),
            9 => match char {
                '&' => "&amp;".to_owned(),
                '<' => "&lt;".to_owned(),
                '>' => "&gt;".to_owned(),
                '"' => "&quot;".to_owned(),
                '\'' => "&apos;".to_owned(),
                _ => format!("&#0{code};"),
            },
            10 => join(units().iter().map(|unit| format!("\\\\u{unit:04x}")).collect()),
            11 if char == ' ' => "+".to_owned(),
            _ => char.to_string(),
        }
    }

    const SECRETS: &str = "[a-zA-Z0-9+/=%&'\"<> \\\\\\n货😀é_-]{6,24}";
    const AROUND: &str = "([a-z0-9%&+#;\\\\\"=*货]|&amp;|\\\\u00|%25){0,12}";

    proptest::proptest! {
        #[test]
        fn a_secret_is_masked_in_every_mixture_of_spellings(
            secret in SECRETS, ways in proptest::collection::vec(0..24_u8, 24), before in AROUND, after in AROUND,
        ) {
            let written: String = secret.chars().zip(&ways).map(|(char, way)| spell(char, *way)).collect();
            let body = format!("{before}{written}{after}");
            let mask = mask(&secret);
            let masked = mask.bytes(body.as_bytes()).expect("found");
            assert_eq!(masked.len(), body.len());
            let stars = &masked[before.len()..before.len() + written.len()];
            assert!(stars.iter().all(|byte| *byte == b'*'), "{written} in {body}: {}", String::from_utf8_lossy(&masked));
            assert!(mask.text(&body).contains("***"));
        }

        #[test]
        fn base64_of_a_secret_is_masked_in_every_mixture_of_spellings(
            secret in SECRETS, ways in proptest::collection::vec(0..24_u8, 130), for_address: bool, is_padded: bool,
        ) {
            let mut encoded = base64(secret.as_bytes());
            if for_address {
                encoded = encoded.replace('+', "-").replace('/', "_");
            }
            let encoded = if is_padded { encoded.as_str() } else { encoded.trim_end_matches('=') };
            let written: String = encoded.chars().zip(ways).map(|(char, way)| spell(char, way)).collect();
            assert_eq!(mask(&secret).text(&format!("<{written}>")), "<***>", "{written}");
        }

        #[test]
        fn what_holds_no_secret_is_not_changed(body in "([a-z0-9%&+#;\"=*货]|\\\\|&amp;|\\\\u00|%25|S3cr){0,200}", bytes: Vec<u8>) {
            let mask = Mask::new(["S3cret-of-the-night/1=", "%%%&&&\\\\\\+++ !", "货货货 货货货"].map(Secret::new));
            assert_eq!(mask.bytes(body.as_bytes()), None);
            assert_eq!(mask.text(&body), body);
            assert_eq!(mask.bytes(&bytes), None);
        }
    }
}
