//! Aligned columns for a terminal. Widths are display widths: a Chinese character takes two columns.

use std::fmt::Write as _;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::cells::{Cells, is_number};
use super::{End, Layout, Shape};

/// The rows of a table, kept until the widths of all columns are known.
pub(super) struct Table {
    header: Vec<String>,
    is_number: Vec<bool>,
    rows: Vec<Vec<String>>,
    layout: Layout,
    /// The answer of `EXPLAIN`: long texts of many lines, shown as they are.
    is_plan: bool,
}

impl Table {
    pub(super) fn new(schema: &SchemaRef, labels: Vec<String>, layout: Layout) -> Self {
        let header: Vec<String> = labels.iter().map(|label| one_line(label)).collect();
        let is_number = schema.fields().iter().map(|field| is_number(field.data_type())).collect();
        let is_plan = header == ["plan_type", "plan"];
        Self { header, is_number, rows: Vec::new(), layout, is_plan }
    }

    pub(super) fn rows_max(&self) -> usize {
        self.layout.rows_max
    }

    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let mut cells = Cells::new(batch)?;
        while let Some(row) = cells.next_row()? {
            let is_expanded = self.layout.shape == Shape::Expanded;
            let shown = row.iter().zip(&self.is_number).map(|(cell, is_number)| match *is_number || self.is_plan {
                true => cell.clone(),
                false if is_expanded => one_line(cell),
                false => shortened(&one_line(cell), self.layout.cell_width_max),
            });
            self.rows.push(shown.collect());
        }
        Ok(())
    }

    pub(super) fn render(&self, end: End) -> String {
        if self.is_plan {
            return self.rows.iter().map(|row| format!("{}:\n{}\n", row[0], row[1].trim_end())).collect();
        }
        if self.layout.shape == Shape::Expanded {
            return self.expanded(end);
        }
        let widths = self.widths();
        let mut text = String::new();
        line(&mut text, &widths, ["┌", "┬", "┐"]);
        self.row(&mut text, &widths, &self.header);
        line(&mut text, &widths, ["├", "┼", "┤"]);
        for row in &self.rows {
            self.row(&mut text, &widths, row);
        }
        line(&mut text, &widths, ["└", "┴", "┘"]);
        text.push_str(&self.note(end));
        text
    }

    /// One value a line: `name │ value`.
    fn expanded(&self, end: End) -> String {
        let width = self.header.iter().map(|name| name.width()).max().unwrap_or(0);
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let title = format!("─ row {} ", number + 1);
            text.push_str(&title);
            text.push_str(&"─".repeat((width + 1).saturating_sub(title.width())));
            text.push_str("┬─\n");
            for (name, cell) in self.header.iter().zip(row) {
                text.push_str(name);
                text.push_str(&" ".repeat(width - name.width()));
                text.push_str(" │ ");
                text.push_str(cell);
                text.push('\n');
            }
        }
        text.push_str(&self.note(end));
        text
    }

    fn note(&self, end: End) -> String {
        match (end, self.rows.len()) {
            (End::RowLimit, rows) => format!("the first {rows} rows; there are more (other formats give all)\n"),
            (_, 1) => "1 row\n".into(),
            (_, rows) => format!("{rows} rows\n"),
        }
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.header.iter().map(|name| name.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        widths
    }

    fn row(&self, text: &mut String, widths: &[usize], cells: &[String]) {
        for ((cell, width), is_number) in cells.iter().zip(widths).zip(&self.is_number) {
            let padding = " ".repeat(width - cell.width());
            let written = match is_number {
                true => write!(text, "│ {padding}{cell} "),
                false => write!(text, "│ {cell}{padding} "),
            };
            debug_assert!(written.is_ok(), "writing to a string does not fail");
        }
        text.push_str("│\n");
    }
}

fn line(text: &mut String, widths: &[usize], [left, middle, right]: [&str; 3]) {
    let dashes: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
    text.push_str(left);
    text.push_str(&dashes.join(middle));
    text.push_str(right);
    text.push('\n');
}

/// Titles come from strangers: nothing in a cell may move the cursor, colour the terminal or turn its lines around.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if moves(letter) { ' ' } else { letter }).collect()
}

/// Control characters, separators of lines, and what changes the direction of writing.
fn moves(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// At most `width_max` columns, cut between user-perceived characters.
fn shortened(text: &str, width_max: usize) -> String {
    if text.width() <= width_max {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut width = 1;
    for letter in text.graphemes(true) {
        width += letter.width();
        if width > width_max {
            break;
        }
        kept.push_str(letter);
    }
    kept.push('…');
    kept
}
