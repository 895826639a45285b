//! The dictionary on a terminal: wrapped text, nothing wider than the window.

use std::fmt::Write as _;

use crate::cli::wrap::{self, fitted, wrap};
use crate::query::views::View;
use crate::transform::contract::{CONTRACT_VERSION, Column, TableContract};

use super::{Dictionary, notes, one_line};

/// Columns of the terminal.
pub(super) fn width() -> usize {
    wrap::width(140)
}

pub(super) fn page(dictionary: &Dictionary, width: usize) -> String {
    let mut page = format!("Tables of huopan (contract {CONTRACT_VERSION})\n");
    dictionary.tables.iter().for_each(|contract| table(&mut page, contract, width));
    let views = [("VIEWS", &dictionary.views), ("TABLE FUNCTIONS", &dictionary.functions)];
    for (title, views) in views.into_iter().filter(|(_, views)| !views.is_empty()) {
        let _ = writeln!(page, "\n{title}");
        views.iter().for_each(|described| view(&mut page, described, width));
    }
    if !dictionary.scalars.is_empty() {
        page.push_str("\nFUNCTIONS\n");
        for (call, meaning) in dictionary.scalars {
            let _ = writeln!(page, "\n  {call}");
            wrap(&mut page, meaning, 6, width);
        }
    }
    if !dictionary.units.is_empty() {
        page.push_str("\nUNITS\n");
        for line in &dictionary.units {
            page.push('\n');
            wrap(&mut page, &format!("{}: {}", line.kind, line.meaning), 2, width);
            wrap(&mut page, &line.names, 6, width);
        }
    }
    page
}

fn table(page: &mut String, contract: &TableContract, width: usize) {
    let _ = writeln!(page, "\n{} · {}", contract.name.to_uppercase(), contract.business_name);
    wrap(page, &one_line(&format!("{} {}", contract.description, contract.usage)), 0, width);
    contract.columns.iter().for_each(|described| column(page, described, width));
}

fn column(page: &mut String, column: &Column, width: usize) {
    let notes = notes(column);
    let separator = if notes.is_empty() { "" } else { " · " };
    let head = format!("{} · {} · {}{separator}{notes}", column.name, column.business_name, column.delta_type);
    page.push('\n');
    wrap(page, &head, 2, width);
    wrap(page, &one_line(&column.description), 6, width);
    if !column.allowed_values.is_empty() {
        wrap(page, &format!("values: {}", column.allowed_values.join(" · ")), 6, width);
    }
    if let Some(example) = &column.example {
        wrap(page, &format!("example: {}", one_line(example)), 6, width);
    }
}

fn view(page: &mut String, view: &View, width: usize) {
    page.push('\n');
    page.push_str(&fitted(&view.documentation(), 2, width));
    page.push('\n');
}
