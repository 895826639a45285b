//! `huopan schema`: the data dictionary, from the contracts, the views' comments and the table of units.

mod html;
mod markdown;
mod terminal;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use crate::base::{Error, Result};
use crate::query::scalars::SCALARS;
use crate::query::views::{FUNCTIONS, VIEWS, View};
use crate::transform::contract::{Table, TableContract};
use crate::transform::unit::{UnitKind, UnitTable};

use super::{Outcome, written};

/// `huopan schema`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan schema                                 every table: columns, types, meanings, values, examples
  huopan schema price_tiers                     one table
  huopan schema views                           the views and functions, with an example each
  huopan schema units                           what is a piece, a pack, not countable
  huopan schema --format html -o tables.html    one page to pass on
  huopan schema --format markdown > tables.md")]
pub(super) struct Arguments {
    /// Only this: a table, `views` or `units`
    #[arg(value_parser = PossibleValuesParser::new(Table::ALL.map(Table::name).into_iter().chain(["views", "units"])))]
    part: Option<String>,
    /// How to write it [default: terminal on a terminal, else markdown]
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// Write to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// How the dictionary is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatName {
    /// Wrapped text
    Terminal,
    /// Markdown
    Markdown,
    /// One self-contained page
    Html,
}

/// What a page is made of.
pub(super) struct Dictionary {
    tables: Vec<TableContract>,
    views: Vec<&'static View>,
    functions: Vec<&'static View>,
    scalars: &'static [(&'static str, &'static str)],
    units: Vec<UnitLine>,
}

/// Units of one kind.
struct UnitLine {
    kind: &'static str,
    meaning: String,
    names: String,
}

impl Dictionary {
    fn of(part: Option<&str>) -> Result<Self> {
        let is_in = |name: &str| part.is_none_or(|part| part == name);
        let tables = Table::ALL.into_iter().filter(|table| is_in(table.name()));
        let (views, functions, scalars) = match is_in("views") {
            true => (VIEWS.iter().collect(), FUNCTIONS.iter().collect(), SCALARS),
            false => (Vec::new(), Vec::new(), &[][..]),
        };
        let units = if is_in("units") { units() } else { Vec::new() };
        let tables = tables.map(|table| table.contract().cloned()).collect::<Result<_>>()?;
        Ok(Self { tables, views, functions, scalars, units })
    }
}

/// The built-in table of units, by kind.
fn units() -> Vec<UnitLine> {
    let table = UnitTable::new(&std::collections::BTreeMap::new());
    let mut lines: Vec<UnitLine> = Vec::new();
    for (name, kind) in table.all() {
        let (kind, meaning) = match kind {
            UnitKind::Pieces { count: 1, .. } => ("piece", "one piece".to_owned()),
            UnitKind::Pieces { count, .. } => ("fixed", format!("{count} pieces")),
            UnitKind::Pack => ("pack", "as many pieces as the seller states; unknown where he does not".to_owned()),
            UnitKind::NotCountable => ("measure", "not countable: pieces are null".to_owned()),
            UnitKind::Unknown => continue,
        };
        match lines.iter_mut().find(|line| line.kind == kind && line.meaning == meaning) {
            Some(line) => line.names.push_str(&format!(" {name}")),
            None => lines.push(UnitLine { kind, meaning, names: name.to_owned() }),
        }
    }
    lines.sort_by(|a, b| (a.kind, &a.meaning).cmp(&(b.kind, &b.meaning)));
    lines
}

pub(super) fn main(arguments: &Arguments) -> Result<Outcome> {
    let dictionary = Dictionary::of(arguments.part.as_deref())?;
    let to_terminal = arguments.output.is_none() && std::io::stdout().is_terminal();
    let by_ending = match arguments.output.as_ref().and_then(|path| path.extension()?.to_str()) {
        Some("html" | "htm") => FormatName::Html,
        _ if to_terminal => FormatName::Terminal,
        _ => FormatName::Markdown,
    };
    let page = match arguments.format.unwrap_or(by_ending) {
        FormatName::Terminal => terminal::page(&dictionary, terminal::width()),
        FormatName::Markdown => markdown::page(&dictionary),
        FormatName::Html => html::page(&dictionary),
    };
    match &arguments.output {
        Some(path) => std::fs::write(path, page)
            .map_err(|error| Error::storage(format!("cannot write `{}`", path.display())).caused_by(error))?,
        None => written(write!(std::io::stdout(), "{page}"))?,
    }
    Ok(Outcome::Done)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is said of a column besides its type: its place in the key, whether it may be null.
fn notes(column: &crate::transform::contract::Column) -> String {
    let key = column.key_position.map(|position| format!("key {position}"));
    let nullable = column.nullable.then(|| "nullable".to_owned());
    key.into_iter().chain(nullable).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_says_every_column_view_function_and_unit() {
        let dictionary = Dictionary::of(None).unwrap();
        let pages = [terminal::page(&dictionary, 100), markdown::page(&dictionary), html::page(&dictionary)];
        for page in &pages {
            for table in &dictionary.tables {
                assert!(page.contains(&table.business_name), "{}", table.name);
                for column in &table.columns {
                    assert!(page.contains(&column.name) && page.contains(&column.business_name), "{}", column.name);
                }
            }
            for view in VIEWS.iter().chain(FUNCTIONS) {
                assert!(page.contains(view.name), "{}", view.name);
            }
            assert!(page.contains("title_200") && page.contains("半打") && page.contains("144 pieces"));
        }
        assert!(pages[2].starts_with("<!doctype html>") && !pages[2].contains("src="), "one self-contained page");
    }

    #[test]
    fn a_part_is_shown_alone() {
        let of = |part| markdown::page(&Dictionary::of(Some(part)).unwrap());
        assert!(of("units").contains("半打") && !of("units").contains("offer_id"));
        assert!(of("views").contains("price_at(") && !of("views").contains("公斤"));
        assert!(of("skus").contains("spec") && !of("skus").contains("price_at("));
    }

    #[test]
    fn lines_in_a_terminal_are_no_wider_than_it() {
        use unicode_width::UnicodeWidthStr;
        for width in [60, 100, 140] {
            let page = terminal::page(&Dictionary::of(None).unwrap(), width);
            let too_wide =
                page.lines().find(|line| line.width() > width && line.contains(' ') && !line.contains("xample"));
            assert_eq!(too_wide, None, "{width}");
        }
    }
}
