//! Lists as PostgreSQL writes them: `{a,"b, c",NULL}`, or in binary.
//!
//! Invariant: pure. A text that is no such list is none; an empty text in quotes and a null are not the same.

use std::iter::Peekable;
use std::str::Chars;

/// The elements of a list of one dimension, none for nulls; `None`: it is no such list.
pub(super) fn elements(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let (mut letters, mut elements) = (inner.chars().peekable(), Vec::new());
    skip_spaces(&mut letters);
    if letters.peek().is_none() {
        return Some(elements);
    }
    loop {
        elements.push(element(&mut letters)?);
        match letters.next() {
            Some(',') => skip_spaces(&mut letters),
            Some(_) => return None,
            None => return Some(elements),
        }
    }
}

/// One element, with the spaces after it.
fn element(letters: &mut Peekable<Chars<'_>>) -> Option<Option<String>> {
    let mut element = String::new();
    if letters.next_if_eq(&'"').is_some() {
        loop {
            match letters.next()? {
                '"' => break,
                '\\' => element.push(letters.next()?),
                letter => element.push(letter),
            }
        }
        skip_spaces(letters);
        return Some(Some(element));
    }
    // Spaces at the end that no backslash keeps are not its own.
    let mut kept = 0;
    while let Some(letter) = letters.next_if(|letter| *letter != ',') {
        match letter {
            '"' | '{' | '}' => return None,
            '\\' => {
                element.push(letters.next()?);
                kept = element.len();
            }
            letter => {
                element.push(letter);
                if !letter.is_whitespace() {
                    kept = element.len();
                }
            }
        }
    }
    element.truncate(kept);
    match element.as_str() {
        "" => None,
        null if null.eq_ignore_ascii_case("null") => Some(None),
        _ => Some(Some(element)),
    }
}

fn skip_spaces(letters: &mut Peekable<Chars<'_>>) {
    while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
}

/// The elements of a list in binary: its number of dimensions, whether it has nulls, the type of elements, then for each
/// dimension its length and first place, then the elements, each with its length (-1: a null).
pub(super) fn binary_elements(bytes: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let mut rest = bytes;
    let dimensions = word(&mut rest)?;
    let (_, _) = (word(&mut rest)?, word(&mut rest)?);
    if dimensions == 0 {
        return rest.is_empty().then(Vec::new);
    }
    let (count, _) = (word(&mut rest)?, word(&mut rest)?);
    let mut elements = Vec::new();
    for _ in 0..count {
        let length = word(&mut rest)?;
        elements.push(match usize::try_from(length) {
            Ok(length) => Some(rest.split_off(..length)?),
            Err(_) if length == -1 => None,
            Err(_) => return None,
        });
    }
    (dimensions == 1 && rest.is_empty()).then_some(elements)
}

fn word(bytes: &mut &[u8]) -> Option<i32> {
    Some(i32::from_be_bytes(bytes.split_off(..4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_postgresql_reads_them() {
        let some = |texts: &[&str]| Some(texts.iter().map(|text| Some((*text).to_owned())).collect::<Vec<_>>());
        for (text, expected) in [
            ("{}", some(&[])),
            (" { } ", some(&[])),
            ("{a,b}", some(&["a", "b"])),
            ("{ a b , c }", some(&["a b", "c"])),
            (r#"{"",""}"#, some(&["", ""])),
            (r#"{"a,b","c\"d\\e"," f "}"#, some(&["a,b", "c\"d\\e", " f "])),
            (r"{a\,b,\ }", some(&["a,b", " "])),
            ("{货盘}", some(&["货盘"])),
            (r#"{NULL,null,"NULL"}"#, Some(vec![None, None, Some("NULL".to_owned())])),
            ("{a,}", None),
            ("{,a}", None),
            ("{a", None),
            ("a,b", None),
            (r#"{"a"#, None),
            (r#"{"a"b}"#, None),
            ("{{1,2},{3,4}}", None),
        ] {
            assert_eq!(elements(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_quoted_comes_back(texts: Vec<String>) {
            let quoted = texts.iter().map(|text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")));
            let list = format!("{{{}}}", quoted.collect::<Vec<_>>().join(","));
            assert_eq!(elements(&list), Some(texts.into_iter().map(Some).collect()));
        }
    }
}
