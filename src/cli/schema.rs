//! `huopan schema`: the tables' reference page, from the contracts.

use std::io::Write;

use clap::Args;

use crate::base::Result;
use crate::transform::contract::{CONTRACT_VERSION, Column, Table};

use super::{Outcome, written};

/// `huopan schema`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  huopan schema > tables.md\n  huopan schema price_tiers")]
pub(super) struct Arguments {
    /// Only this table
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(Table::ALL.map(Table::name)))]
    table: Option<String>,
}

pub(super) fn main(arguments: &Arguments) -> Result<Outcome> {
    let mut page = format!("# Tables of huopan (contract {CONTRACT_VERSION})\n");
    for table in Table::ALL {
        if arguments.table.as_deref().is_none_or(|name| name == table.name()) {
            page.push_str(&table_page(table)?);
        }
    }
    written(write!(std::io::stdout(), "{page}"))?;
    Ok(Outcome::Done)
}

fn table_page(table: Table) -> Result<String> {
    let contract = table.contract()?;
    let mut page = format!(
        "\n## {} · {}\n\n{} {}\n\n| column | 名称 | type | | meaning | values | example |\n|---|---|---|---|---|---|---|\n",
        contract.name,
        contract.business_name,
        one_line(&contract.description),
        one_line(&contract.usage)
    );
    for column in &contract.columns {
        page.push_str(&column_line(column));
    }
    Ok(page)
}

fn column_line(column: &Column) -> String {
    let mut notes = Vec::new();
    if let Some(position) = column.key_position {
        notes.push(format!("key {position}"));
    }
    if column.nullable {
        notes.push("nullable".to_owned());
    }
    format!(
        "| `{}` | {} | {} | {} | {} | {} | {} |\n",
        column.name,
        column.business_name,
        column.delta_type,
        notes.join(", "),
        one_line(&column.description),
        column.allowed_values.join(" · "),
        column.example.as_deref().map(|example| format!("`{}`", one_line(example))).unwrap_or_default(),
    )
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
