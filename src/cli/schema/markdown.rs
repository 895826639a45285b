//! The dictionary as Markdown.

use crate::query::views::View;
use crate::transform::contract::{CONTRACT_VERSION, Column, TableContract};

use super::{Dictionary, notes, one_line};

pub(super) fn page(dictionary: &Dictionary) -> String {
    let mut page = format!("# Tables of huopan (contract {CONTRACT_VERSION})\n");
    dictionary.tables.iter().for_each(|contract| page.push_str(&table(contract)));
    let views = [("Views", &dictionary.views), ("Table functions", &dictionary.functions)];
    for (title, views) in views.into_iter().filter(|(_, views)| !views.is_empty()) {
        page.push_str(&format!("\n## {title}\n"));
        views.iter().for_each(|described| page.push_str(&view(described)));
    }
    if !dictionary.scalars.is_empty() {
        page.push_str("\n## Functions\n\n| function | gives |\n|---|---|\n");
        for (call, meaning) in dictionary.scalars {
            page.push_str(&format!("| `{}` | {} |\n", cell(call), cell(meaning)));
        }
    }
    if !dictionary.units.is_empty() {
        page.push_str("\n## Units\n\n| kind | means | units |\n|---|---|---|\n");
        for line in &dictionary.units {
            page.push_str(&format!("| {} | {} | {} |\n", line.kind, line.meaning, line.names));
        }
    }
    page
}

fn table(contract: &TableContract) -> String {
    let mut page = format!(
        "\n## {} · {}\n\n{} {}\n\n| column | 名称 | type | | meaning | values | example |\n|---|---|---|---|---|---|---|\n",
        contract.name,
        contract.business_name,
        one_line(&contract.description),
        one_line(&contract.usage)
    );
    contract.columns.iter().for_each(|described| page.push_str(&column(described)));
    page
}

fn column(column: &Column) -> String {
    format!(
        "| `{}` | {} | {} | {} | {} | {} | {} |\n",
        column.name,
        column.business_name,
        column.delta_type,
        notes(column),
        cell(&column.description),
        column.allowed_values.join(" · "),
        column.example.as_deref().map(|example| format!("`{}`", cell(example))).unwrap_or_default(),
    )
}

fn view(view: &View) -> String {
    format!("\n### {}\n\n```text\n{}\n```\n", view.name, view.documentation())
}

fn cell(text: &str) -> String {
    one_line(text).replace('|', "\\|")
}
