//! Aligned columns for results that are no query's. Widths are display widths: a Chinese character takes two columns.

use unicode_width::UnicodeWidthStr;

/// Between two columns.
const GAP: &str = "  ";

/// On which side a column's cells stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a header line.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub(super) fn new(columns: &[(&str, Align)]) -> Self {
        let header = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        Self { columns: columns.iter().map(|(_, align)| *align).collect(), rows: vec![header] }
    }

    /// Adds a row; cells that are missing are empty.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        // Names come from strangers: nothing in a cell may move the cursor or colour the terminal.
        let printable =
            |cell: String| cell.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        self.rows.push(cells.into_iter().map(printable).collect());
    }

    /// Whether it has no row under its header.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The lines, each after `indent`, without blanks at their ends.
    pub(super) fn render(&self, indent: &str) -> String {
        let width = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max();
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = self.columns.iter().zip(&widths).enumerate().map(|(column, (align, width))| {
                let cell = row.get(column).map_or("", String::as_str);
                let padding = " ".repeat(width.saturating_sub(cell.width()));
                match align {
                    Align::Left => format!("{cell}{padding}"),
                    Align::Right => format!("{padding}{cell}"),
                }
            });
            let line = cells.collect::<Vec<_>>().join(GAP);
            text.push_str(indent);
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A table, and the columns that had no room.
pub(super) struct Fitted {
    pub(super) text: String,
    pub(super) left_out: Vec<&'static str>,
}

/// A table that fits a width where it can: `render` leaves out the columns it is given, of which the first of `spared` goes
/// first. Without a width nothing is left out.
pub(super) fn fitted(
    spared: &[&'static str],
    width: Option<usize>,
    render: impl Fn(&[&'static str]) -> String,
) -> Fitted {
    let mut left_out = 0;
    loop {
        let text = render(&spared[..left_out]);
        let fits = width.is_none_or(|width| text.lines().all(|line| line.width() <= width));
        if fits || left_out == spared.len() {
            return Fitted { text, left_out: spared[..left_out].to_vec() };
        }
        left_out += 1;
    }
}

/// `12 345`: thousands set apart.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_names_take_two_columns_a_character_and_control_characters_none_of_their_own() {
        let mut table = Table::new(&[("shop", Align::Left), ("calls", Align::Right), ("when", Align::Left)]);
        table.row(["义乌小商品".into(), "7".into(), "today".into()]);
        table.row(["b2b-1\u{1b}[2J".into(), "1 234".into()]);
        let expected = concat!("  shop        calls  when\n", "  义乌小商品      7  today\n", "  b2b-1 [2J   1 234\n",);
        assert_eq!(table.render("  "), expected);
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")] {
            assert_eq!(thousands(number), expected);
        }
    }
}
