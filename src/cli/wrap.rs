//! Text in lines of a width: help, and the words about tables. Widths are display widths.
//!
//! Texts are written in lines as their source shows them. Here paragraphs are put together again before they are cut: a
//! text that is cut twice ends in lines of one word.
//!
//! Invariant: no line is wider than the width but for a word, a command or a query that is.

use unicode_width::UnicodeWidthStr as _;

/// Columns of the terminal; 100 where nobody says.
pub(super) fn width(widest: u16) -> usize {
    terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0.clamp(40, widest)))
}

/// Adds text as lines of at most `width` columns, each after `indent` blanks; a word that is wider stands alone.
pub(super) fn wrap(page: &mut String, text: &str, indent: usize, width: usize) {
    page.extend(std::iter::repeat_n(' ', indent));
    hang(page, text, indent, width);
}

/// Adds text to a line that is `indent` columns wide, and goes on below where it began.
fn hang(page: &mut String, text: &str, indent: usize, width: usize) {
    let mut used = indent;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let wide = word.width();
        if used > indent && used + 1 + wide > width {
            page.push('\n');
            page.extend(std::iter::repeat_n(' ', indent));
            used = indent;
        }
        if used > indent {
            page.push(' ');
            used += 1;
        }
        used += wide;
        page.push_str(word);
    }
    page.push('\n');
}

/// Text with its paragraphs cut anew. A line that is empty, that begins with blanks or with a word and `: ` (`Example: `)
/// begins one; lines that begin with blanks have a left side and, two blanks later, perhaps words about it.
pub(super) fn fitted(text: &str, indent: usize, width: usize) -> String {
    let mut page = String::new();
    let mut open = Open::Nothing;
    for line in text.lines() {
        let begins = line.len() - line.trim_start().len();
        match (&mut open, line.trim()) {
            (_, "") => {
                open.close(&mut page, indent, width);
                page.push('\n');
            }
            (Open::Rows(rows), words) if begins > GOES_ON => {
                if let Some(row) = rows.last_mut() {
                    row.about = format!("{} {words}", row.about).trim_start().to_owned();
                }
            }
            (Open::Rows(rows), _) if begins > 0 => rows.push(Row::of(line)),
            (Open::Paragraph(said), words) if begins == 0 && !is_titled(words) && !said.ends_with(':') => {
                said.push(' ');
                said.push_str(words);
            }
            (_, words) => {
                open.close(&mut page, indent, width);
                open = if begins > 0 { Open::Rows(vec![Row::of(line)]) } else { Open::Paragraph(words.to_owned()) };
            }
        }
    }
    open.close(&mut page, indent, width);
    page.truncate(page.trim_end().len());
    page
}

/// A line that begins after more blanks goes on with the words of the line above.
const GOES_ON: usize = 8;

/// `Columns: …`, or `Columns:` and rows below it.
fn is_titled(line: &str) -> bool {
    let (word, rest) = line.split_once(':').unwrap_or_default();
    let ends = rest.is_empty() || rest.starts_with(' ');
    let is_word = word.starts_with(|letter: char| letter.is_ascii_uppercase())
        && word.chars().all(|letter| letter.is_ascii_alphabetic());
    ends && is_word
}

/// What is not written yet.
enum Open {
    Nothing,
    Paragraph(String),
    Rows(Vec<Row>),
}

/// `  huopan runs    the last runs`
struct Row {
    left: String,
    about: String,
}

impl Row {
    fn of(line: &str) -> Self {
        let (left, about) = line.trim().split_once("  ").unwrap_or((line.trim(), ""));
        Self { left: left.to_owned(), about: about.trim().to_owned() }
    }
}

impl Open {
    fn close(&mut self, page: &mut String, indent: usize, width: usize) {
        match std::mem::replace(self, Open::Nothing) {
            Open::Nothing => {}
            Open::Paragraph(text) => wrap(page, &text, indent, width),
            Open::Rows(found) => rows(page, &found, indent + 2, width),
        }
    }
}

/// What is said of a left side stands beside it while there is room for words, else below it.
fn rows(page: &mut String, rows: &[Row], indent: usize, width: usize) {
    const WIDEST: usize = 52;
    const WORDS: usize = 34;
    let wide = |row: &Row| indent + row.left.width() + 2;
    let said: Vec<usize> = rows.iter().filter(|row| !row.about.is_empty()).map(wide).collect();
    let narrow = said.iter().copied().filter(|wide| *wide <= WIDEST.min(width.saturating_sub(WORDS)));
    let column = narrow.clone().max().filter(|_| narrow.count() * 2 >= said.len());
    for row in rows {
        page.extend(std::iter::repeat_n(' ', indent));
        page.push_str(&row.left);
        match column {
            _ if row.about.is_empty() => page.push('\n'),
            Some(column) if wide(row) <= column => {
                page.extend(std::iter::repeat_n(' ', column + 2 - wide(row)));
                hang(page, &row.about, column, width);
            }
            _ => {
                page.push('\n');
                wrap(page, &row.about, column.unwrap_or(indent + 4), width);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "Examples:
  huopan runs                    the last runs: received → loaded, duplicates, quarantined; calls
  huopan runs show 0198c2        one run
  huopan runs show 0198c2 --coverage
                                 … and the proof: every span and category asked for

The first line of a paragraph that
goes on here.
Columns:
  a     one
Columns: `a` · `b`
of a table";

    #[test]
    fn what_is_said_of_a_command_hangs_beside_it_and_paragraphs_are_cut_once() {
        let expected = "Examples:
  huopan runs              the last runs: received → loaded,
                           duplicates, quarantined; calls
  huopan runs show 0198c2  one run
  huopan runs show 0198c2 --coverage
                           … and the proof: every span and category
                           asked for

The first line of a paragraph that goes on here.
Columns:
  a  one
Columns: `a` · `b` of a table";
        assert_eq!(fitted(HELP, 0, 68), expected);
    }

    #[test]
    fn without_room_beside_it_words_stand_below_a_command() {
        let expected = "Examples:
  huopan runs
      the last runs: received → loaded,
      duplicates, quarantined; calls
  huopan runs show 0198c2
      one run
  huopan runs show 0198c2 --coverage
      … and the proof: every span and
      category asked for

The first line of a paragraph that goes
on here.
Columns:
  a  one
Columns: `a` · `b` of a table";
        assert_eq!(fitted(HELP, 0, 40), expected);
    }
}
