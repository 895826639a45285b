//! Queries over what was just published: `[[watches]]`.
//!
//! Whether a query is one, and names what there is, the stages say that know SQL.

use std::collections::BTreeSet;

use crate::config::diagnostics::Problem;
use crate::config::document::Value;
use crate::config::pipeline::{Alert, Watch};
use crate::config::reader::{Section, Text, suggestion};

/// Rows that a message lists, unless it says.
const ROWS_DEFAULT: usize = 20;
/// More nobody reads on a phone.
const ROWS_MAX: i64 = 100;
/// Letters of a name: it heads a message.
const NAME_LENGTH_MAX: usize = 60;

/// `[[watches]]`; `alerts` are those that may hear of one.
pub(super) fn watches(root: &mut Section<'_>, alerts: &[Alert]) -> Vec<Watch> {
    let names_unread = alert_names_unread(root, alerts);
    let mut names = BTreeSet::new();
    let mut watches = Vec::new();
    for mut section in root.sections("watches") {
        section.require("name", "what heads its message: `name = \"price cuts of 5 %\"`");
        section.require("sql", "`sql = \"select * from price_changes where change_pct <= -5\"`");
        section.require("alert", "the alert that hears of it: `alert = \"ops\"`");
        let name = section.text("name").and_then(|text| name(&section, text, &mut names));
        let sql = section.text("sql").and_then(|text| sql(&section, text));
        let heard = heard_by(&mut section, alerts, names_unread);
        let rows_max = section.integer("rows", 1..=ROWS_MAX).and_then(|rows| usize::try_from(rows).ok());
        section.finish();
        if let (Some(name), Some((sql, line))) = (name, sql) {
            watches.push(Watch { name, sql, alerts: heard, rows_max: rows_max.unwrap_or(ROWS_DEFAULT), line });
        }
    }
    watches
}

/// Whether a block of `[[alerts]]` could not be read: then nobody knows which names there are.
fn alert_names_unread(root: &Section<'_>, alerts: &[Alert]) -> bool {
    let blocks = root.table.get("alerts").map(|entry| match &entry.node.value {
        Value::List(blocks) => blocks.len(),
        _ => 1,
    });
    blocks.unwrap_or(0) != alerts.len()
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

/// The alerts it names, without repeats.
fn heard_by(section: &mut Section<'_>, alerts: &[Alert], names_unread: bool) -> Vec<String> {
    let texts = section.texts("alert");
    if let Some(entry) = section.table.get("alert")
        && matches!(&entry.node.value, Value::List(list) if list.is_empty())
    {
        let problem = Problem::at(&entry.node.place, "nobody hears of this watch");
        section.report.add(problem.help("name an alert, or remove the watch"));
    }
    let mut heard: Vec<String> = Vec::new();
    for text in texts {
        let known = alerts.iter().any(|alert| alert.name == text.value);
        if !known && !names_unread {
            let problem = Problem::at(text.place, format!("no alert is called `{}`", text.value));
            let names = alerts.iter().map(|alert| alert.name.as_str());
            section.report.add(problem.help(match alerts {
                [] => format!("add one: `[[alerts]]` with `name = \"{}\"`, `kind` and `url`", text.value),
                _ => suggestion(text.value, names),
            }));
        }
        if !heard.iter().any(|name| name == text.value) {
            heard.push(text.value.to_owned());
        }
    }
    heard
}
