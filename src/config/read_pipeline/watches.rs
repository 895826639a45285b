//! Queries over what was just published: `[[watches]]`.
//!
//! Whether a query is one, and names what there is, the stages say that know SQL.

use std::collections::BTreeSet;

use crate::config::diagnostics::Problem;
use crate::config::document::{Node, Table, Value};
use crate::config::pipeline::Watch;
use crate::config::reader::{Section, Text, suggestion};

/// Rows that a message lists, unless it says.
const ROWS_DEFAULT: usize = 20;
/// More nobody reads on a phone.
const ROWS_MAX: i64 = 100;
/// Letters of a name: it heads a message.
const NAME_LENGTH_MAX: usize = 60;

/// `[[watches]]`.
pub(super) fn watches(root: &mut Section<'_>) -> Vec<Watch> {
    let alerts = alert_names(root.table);
    let mut names = BTreeSet::new();
    let mut watches = Vec::new();
    for mut section in root.sections("watches") {
        section.require("name", "what heads its message: `name = \"price cuts of 5 %\"`");
        section.require("sql", "`sql = \"select * from price_changes where change_pct <= -5\"`");
        section.require("alert", "the alert that hears of it: `alert = \"ops\"`");
        let name = section.text("name").and_then(|text| name(&section, text, &mut names));
        let sql = section.text("sql").and_then(|text| sql(&section, text));
        let heard = heard_by(&mut section, alerts.as_deref());
        let rows_max = section.integer("rows", 1..=ROWS_MAX).and_then(|rows| usize::try_from(rows).ok());
        section.finish();
        if let (Some(name), Some((sql, line))) = (name, sql) {
            watches.push(Watch { name, sql, alerts: heard, rows_max: rows_max.unwrap_or(ROWS_DEFAULT), line });
        }
    }
    watches
}

/// The names of the blocks of `[[alerts]]`, whatever else is wrong with them; `None`: one has none that can be read, and
/// nobody knows which there are.
fn alert_names(root: &Table) -> Option<Vec<&str>> {
    let Some(entry) = root.get("alerts") else { return Some(Vec::new()) };
    let Value::List(blocks) = &entry.node.value else { return None };
    blocks.iter().map(name_of).collect()
}

fn name_of(block: &Node) -> Option<&str> {
    let Value::Table(table) = &block.value else { return None };
    match &table.get("name")?.node.value {
        Value::Text(name) => Some(name),
        _ => None,
    }
}

fn name(section: &Section<'_>, text: Text<'_>, names: &mut BTreeSet<String>) -> Option<String> {
    let value = text.value.trim();
    if value.is_empty() || value.chars().count() > NAME_LENGTH_MAX || value.chars().any(char::is_control) {
        let problem = Problem::at(text.place, "this is no `name` for a watch");
        section.report.add(problem.help(format!("1 to {NAME_LENGTH_MAX} letters in one line: it heads a message")));
        return None;
    }
    if !names.insert(value.to_owned()) {
        let problem = Problem::at(text.place, format!("two watches are called `{value}`"));
        section.report.add(problem.help("give each its own name: messages tell them apart by it"));
    }
    Some(value.to_owned())
}

/// The query, and its line.
fn sql(section: &Section<'_>, text: Text<'_>) -> Option<(String, usize)> {
    let value = text.value.trim();
    if value.is_empty() {
        let problem = Problem::at(text.place, "`sql` is empty");
        section.report.add(problem.help("one query; each of its rows is worth a message: `select … from …`"));
        return None;
    }
    Some((value.to_owned(), section.report.line(text.place)))
}

/// The alerts it names, without repeats; `known` are those that there are.
fn heard_by(section: &mut Section<'_>, known: Option<&[&str]>) -> Vec<String> {
    let texts = section.texts("alert");
    if let Some(entry) = section.table.get("alert")
        && matches!(&entry.node.value, Value::List(list) if list.is_empty())
    {
        let problem = Problem::at(&entry.node.place, "nobody hears of this watch");
        section.report.add(problem.help("name an alert, or remove the watch"));
    }
    let mut heard: Vec<String> = Vec::new();
    for text in texts {
        if let Some(known) = known.filter(|known| !known.contains(&text.value)) {
            let problem = Problem::at(text.place, format!("no alert is called `{}`", text.value));
            section.report.add(problem.help(match known {
                [] => format!("add one: `[[alerts]]` with `name = \"{}\"`, `kind` and `url`", text.value),
                _ => suggestion(text.value, known.iter().copied()),
            }));
        }
        if !heard.iter().any(|name| name == text.value) {
            heard.push(text.value.to_owned());
        }
    }
    heard
}
