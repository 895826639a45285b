//! Titles: the first 200 user-perceived characters, never cut inside one (WIRE §2).
//!
//! Invariant: what is kept is a prefix of the trimmed title.

use unicode_segmentation::UnicodeSegmentation;

/// User-perceived characters kept.
pub const TITLE_MAX: usize = 200;

/// The kept length of a trimmed title in bytes; shorter than the title means cut.
#[must_use]
pub fn kept(title: &str) -> usize {
    // No user-perceived character is shorter than a byte or a code point.
    if title.len() <= TITLE_MAX {
        return title.len();
    }
    simple(title.as_bytes())
        .unwrap_or_else(|| title.grapheme_indices(true).nth(TITLE_MAX).map_or(title.len(), |(at, _)| at))
}

/// The answer for titles whose first characters are all of the usual kind (printable ASCII, Chinese characters and
/// punctuation, full-width forms), each a user-perceived character of its own; `None` where another one occurs.
fn simple(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut count) = (0, 0);
    while at < bytes.len() {
        let length = match bytes[at..] {
            [0x20..=0x7E, ..] => 1,
            // U+4000–U+9FFF
            [0xE4..=0xE9, ..] => 3,
            // U+3001–U+3029: punctuation; U+FF01–U+FF5E: full-width forms
            [0xE3, 0x80, 0x81..=0xA9, ..] => 3,
            [0xEF, 0xBC, 0x81..=0xBF, ..] | [0xEF, 0xBD, 0x80..=0x9E, ..] => 3,
            _ => return None,
        };
        // The next character is known to be none that joins the last one kept.
        if count == TITLE_MAX {
            return Some(at);
        }
        at += length;
        count += 1;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(title: &str, graphemes: usize) {
        let cut = &title[..kept(title)];
        assert_eq!(cut.graphemes(true).count(), graphemes, "{title}");
        assert!(title.starts_with(cut));
    }

    #[test]
    fn titles_keep_two_hundred_user_perceived_characters() {
        check("", 0);
        check("跨境女装", 4);
        check(&"货".repeat(200), 200);
        check(&"货".repeat(201), 200);
        check(&"a".repeat(300), 200);
        check(&format!("{}ｘ，（A）", "货".repeat(198)), 200);
    }

    #[test]
    fn no_character_is_cut_inside() {
        let family = "👨‍👩‍👧‍👦";
        let title = format!("{}{family}好", "货".repeat(199));
        assert_eq!(&title[..kept(&title)], format!("{}{family}", "货".repeat(199)));
        let accent = format!("{}e\u{301}好", "货".repeat(199));
        assert_eq!(&accent[..kept(&accent)], format!("{}e\u{301}", "货".repeat(199)));
        check(&"🇨🇳".repeat(250), 200);
    }

    proptest! {
        #[test]
        fn the_fast_path_agrees_with_the_segmentation(title in "([a-z 一-龥（），！ａ-ｚ]|\u{301}|\u{200D}|👩|\u{3099}|\r|\n){195,230}") {
            let slow = title.grapheme_indices(true).nth(TITLE_MAX).map_or(title.len(), |(at, _)| at);
            prop_assert_eq!(kept(&title), slow);
        }

        #[test]
        fn the_fast_path_is_taken_for_usual_titles(title in "[a-zA-Z0-9 一-龥（），！ａ-ｚ]{201,230}") {
            let slow = title.grapheme_indices(true).nth(TITLE_MAX).map_or(title.len(), |(at, _)| at);
            prop_assert_eq!(simple(title.as_bytes()), Some(slow));
        }
    }
}
