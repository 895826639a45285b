//! Words in titles: many at once, in one pass, as buyers type them.
//!
//! Letters compare without case and width (`ＭＵＧ` is `mug`): Unicode's compatibility form (NFKC) in lower case.
//! A [`Pattern`] is words apart by spaces, of which a title must have all: `马克杯 陶瓷|骨瓷 -盖`. `|` stands between
//! words of which one suffices, `-` before one that must not occur.
//!
//! Invariant: words are found anywhere in a title; Chinese has no gaps between words.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, MatchKind};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

use super::{Error, Result};

/// Appends a text in the form in which texts compare.
pub fn fold(text: &str, folded: &mut String) {
    let start = folded.len();
    if text.bytes().all(|byte| is_plain(byte) || byte.is_ascii_uppercase()) {
        folded.push_str(text);
        folded[start..].make_ascii_lowercase();
    } else if is_nfkc_quick(text.chars()) == IsNormalized::Yes {
        folded.extend(text.chars().flat_map(char::to_lowercase));
    } else {
        folded.extend(text.nfkc().flat_map(char::to_lowercase));
    }
}

/// Whether a byte of a text stands in it as it compares: of ASCII without capitals, or of U+4000 to U+9FFF (the bytes that such
/// letters begin with, and those that follow any), which are Chinese, have no case, and compose with nothing.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x80..=0xbf | 0xe4..=0xe9) || byte.is_ascii() && !byte.is_ascii_uppercase()
}

/// What a title must and must not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Of each, one must occur. Folded.
    pub needed: Vec<Vec<String>>,
    /// None of these may occur. Folded.
    pub barred: Vec<String>,
}

impl Pattern {
    /// Reads a pattern; what is wrong with it is said as a sentence.
    ///
    /// # Errors
    /// A word without letters.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pattern = Self { needed: Vec::new(), barred: Vec::new() };
        for word in text.split_whitespace() {
            let (is_barred, rest) = match word.strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, word),
            };
            let alternatives: Vec<String> = rest.split(['|', '｜']).map(folded).collect();
            if alternatives.iter().any(String::is_empty) {
                return Err(format!("`{word}` lacks a word: `马克杯 陶瓷|骨瓷 -盖` is a pattern"));
            }
            if is_barred { pattern.barred.extend(alternatives) } else { pattern.needed.push(alternatives) }
        }
        Ok(pattern)
    }
}

fn folded(text: &str) -> String {
    let mut folded = String::new();
    fold(text, &mut folded);
    folded
}

/// A set of words that are looked for at once. Time is the title's length, however many words there are.
#[derive(Debug, Clone)]
pub struct Words {
    /// By folded word: its number.
    numbers: HashMap<String, usize>,
    automaton: AhoCorasick,
}

/// What [`Words::find`] found in one title; used again for the next title by the same words.
#[derive(Debug, Default)]
pub struct Found {
    folded: String,
    /// Numbers of words, each once, in the order of their ends.
    numbers: Vec<usize>,
    is_found: Vec<bool>,
}

impl Words {
    /// Prepares folded words; each is numbered in the order given, repeats share a number.
    ///
    /// # Errors
    /// [`Kind::Config`](super::Kind::Config) if there are too many to search for at once (some hundred thousand).
    pub fn new<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut numbers = HashMap::new();
        let mut ordered = Vec::new();
        for word in words {
            numbers.entry(word.to_owned()).or_insert_with(|| {
                ordered.push(word.to_owned());
                ordered.len() - 1
            });
        }
        let automaton = AhoCorasick::builder().match_kind(MatchKind::Standard).build(&ordered);
        let automaton = automaton.map_err(|error| Error::config(format!("these are too many words: {error}")))?;
        Ok(Self { numbers, automaton })
    }

    /// The number of a folded word.
    #[must_use]
    pub fn number(&self, word: &str) -> Option<usize> {
        self.numbers.get(word).copied()
    }

    /// Looks for all words in a title.
    pub fn find(&self, title: &str, found: &mut Found) {
        for number in found.numbers.drain(..) {
            found.is_found[number] = false;
        }
        found.is_found.resize(self.numbers.len(), false);
        let title = if title.bytes().all(is_plain) {
            title
        } else {
            found.folded.clear();
            fold(title, &mut found.folded);
            &found.folded
        };
        for hit in self.automaton.find_overlapping_iter(title) {
            let number = hit.pattern().as_usize();
            if !found.is_found[number] {
                found.is_found[number] = true;
                found.numbers.push(number);
            }
        }
    }
}

impl Found {
    /// The numbers of the words that were found, each once, in the order in which they end.
    #[must_use]
    pub fn numbers(&self) -> &[usize] {
        &self.numbers
    }

    /// Whether the word of that number was found.
    #[must_use]
    pub fn has(&self, number: usize) -> bool {
        self.is_found.get(number).copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_compare_without_case_and_width() {
        for (text, expected) in [("Mug", "mug"), ("ＭＵＧ３５０ｍｌ", "mug350ml"), ("马克杯", "马克杯"), ("ÄÉ", "äé")]
        {
            assert_eq!(folded(text), expected);
        }
    }

    /// The short way to the same form.
    #[test]
    fn letters_that_are_taken_as_they_are_have_no_other_form() {
        for letter in ('\0'..=char::MAX).filter(|letter| letter.to_string().bytes().all(is_plain)) {
            let form: String = letter.nfkc().flat_map(char::to_lowercase).collect();
            assert_eq!(form, letter.to_string());
            // Nor does one with what stands beside it.
            for after in ['a', '马', letter] {
                let pair = String::from_iter([letter, after]);
                assert_eq!(pair.nfkc().collect::<String>(), pair);
            }
        }
        assert_eq!(folded("IPhone 马克杯 A4"), "iphone 马克杯 a4");
        assert_eq!(folded("Cafe\u{301}"), "café");
    }

    #[test]
    fn a_pattern_is_words_with_alternatives_and_exclusions() {
        let pattern = Pattern::parse(" 马克杯  陶瓷|骨瓷 -盖|勺").unwrap();
        assert_eq!(pattern.needed, [vec!["马克杯"], vec!["陶瓷", "骨瓷"]]);
        assert_eq!(pattern.barred, ["盖", "勺"]);
        for bad in ["马克杯 -", "a||b", "|"] {
            assert!(Pattern::parse(bad).unwrap_err().contains("lacks a word"), "{bad}");
        }
    }

    #[test]
    fn words_are_found_inside_of_one_another_and_each_once() {
        let words = Words::new(["杯", "马克杯", "mug", "杯", "盖"]).unwrap();
        let mut found = Found::default();
        words.find("马克杯 MUG 水杯", &mut found);
        let mut numbers = found.numbers.clone();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2]);
        assert!(found.has(1) && !found.has(3) && words.number("盖") == Some(3));
        words.find("", &mut found);
        assert!(found.numbers.is_empty() && !found.has(0));
    }
}
