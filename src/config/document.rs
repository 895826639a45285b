//! A TOML text as a tree whose every key and value knows its place, so that any later check can
//! point at it, also after one file was laid over another.
//!
//! Invariant: a node keeps the place in the file it was written in, whatever it is merged into.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::diagnostics::{Place, Problem, Report};

/// One value.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Number(f64),
    Flag(bool),
    Date(String),
    List(Vec<Node>),
    Table(Table),
}

/// Keys and values in the order of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub entries: Vec<Entry>,
}

/// One key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: String,
    pub key_place: Place,
    pub node: Node,
}

impl Value {
    /// What a message calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Number(_) => "a number",
            Value::Flag(_) => "a boolean",
            Value::Date(_) => "a date",
            Value::List(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

impl Table {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Lays `over` over this table: tables merge, `false` takes a key away, anything else is replaced.
    pub(super) fn merge(&mut self, over: Table) {
        for entry in over.entries {
            if matches!(entry.node.value, Value::Flag(false)) && self.get(&entry.key).is_some() {
                self.entries.retain(|mine| mine.key != entry.key);
                continue;
            }
            match self.entries.iter_mut().find(|mine| mine.key == entry.key) {
                None => self.entries.push(entry),
                Some(mine) => match (&mut mine.node.value, entry.node.value) {
                    (Value::Table(below), Value::Table(above)) => below.merge(above),
                    (_, value) => {
                        *mine = Entry {
                            node: Node { place: entry.node.place, value },
                            key: entry.key,
                            key_place: entry.key_place,
                        }
                    }
                },
            }
        }
    }
}

/// Parses the text of `source`; every syntax error is reported, and `None` returned if there is one.
pub(super) fn parse(report: &Report, source: usize, text: &str) -> Option<Table> {
    let (root, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    let mut line_before = None;
    for error in &errors {
        let place = Place { source, span: visible(text, error.span().unwrap_or(0..0)) };
        // After the first error of a line the parser guesses.
        let line = report.line(&place);
        if line_before.replace(line) == Some(line) {
            continue;
        }
        let reason = error.message().replace('\n', ", ");
        let problem = Problem::at(&place, "this is not TOML");
        report.add(if reason.starts_with("invalid float") || reason.contains("must be quoted") {
            problem.label("this is no value").help("strings are written in quotes: `key = \"value\"`")
        } else {
            problem.label(reason.as_str())
        });
        // Past an open string everything looks wrong.
        if reason.contains("string, expected") {
            break;
        }
    }
    if !errors.is_empty() {
        report.suspect_all(source);
    }
    if errors.is_empty() { table(report, source, root.get_ref()) } else { None }
}

/// A span a caret can point at: at least one character, and no line end.
fn visible(text: &str, span: Range<usize>) -> Range<usize> {
    if !span.is_empty() {
        return span;
    }
    let end = text.get(..span.start).unwrap_or(text).trim_end_matches(['\r', '\n']).len();
    let next = text.get(span.start..).and_then(|rest| rest.chars().next()).filter(|c| !c.is_control());
    match next {
        Some(c) => span.start..span.start + c.len_utf8(),
        None => text.get(..end).and_then(|before| before.chars().next_back()).map_or(0..0, |c| end - c.len_utf8()..end),
    }
}

fn table(report: &Report, source: usize, from: &DeTable<'_>) -> Option<Table> {
    let mut entries = Vec::with_capacity(from.len());
    let mut complete = true;
    for (key, value) in from.iter() {
        let Some(node) = node(report, source, value.span(), value.get_ref()) else {
            complete = false;
            continue;
        };
        let key_place = Place { source, span: key.span() };
        entries.push(Entry { key: key.get_ref().to_string(), key_place, node });
    }
    entries.sort_by_key(|entry| entry.key_place.span.start);
    complete.then_some(Table { entries })
}

fn node(report: &Report, source: usize, span: Range<usize>, from: &DeValue<'_>) -> Option<Node> {
    let place = Place { source, span };
    let value = match from {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(digits) => {
            let Ok(integer) = i64::from_str_radix(digits.as_str(), digits.radix()) else {
                report.add(
                    Problem::at(&place, "this integer has too many digits").help("write ids as strings, in quotes"),
                );
                return None;
            };
            Value::Integer(integer)
        }
        DeValue::Float(digits) => Value::Number(digits.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(list) => Value::List(
            list.iter()
                .map(|item| node(report, source, item.span(), item.get_ref()))
                .collect::<Vec<_>>()
                .into_iter()
                .collect::<Option<_>>()?,
        ),
        DeValue::Table(inner) => Value::Table(table(report, source, inner)?),
    };
    Some(Node { place, value })
}

/// The document as one canonical text: keys sorted, comments and layout gone. For hashing.
pub(super) fn canonical(table: &Table, out: &mut String) {
    let mut entries: Vec<_> = table.entries.iter().collect();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    out.push('{');
    for entry in entries {
        out.push_str(&format!("{:?}:", entry.key));
        canonical_value(&entry.node.value, out);
        out.push(',');
    }
    out.push('}');
}

fn canonical_value(value: &Value, out: &mut String) {
    match value {
        Value::Text(text) => out.push_str(&format!("{text:?}")),
        Value::Integer(integer) => out.push_str(&integer.to_string()),
        Value::Number(number) => out.push_str(&format!("{number}")),
        Value::Flag(flag) => out.push_str(&flag.to_string()),
        Value::Date(date) => out.push_str(date),
        Value::Table(inner) => canonical(inner, out),
        Value::List(items) => {
            out.push('[');
            for item in items {
                canonical_value(&item.value, out);
                out.push(',');
            }
            out.push(']');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Table {
        let report = Report::default();
        let source = report.source("test.toml", text.to_owned());
        parse(&report, source, text).unwrap()
    }

    #[test]
    fn a_file_laid_over_another_merges_tables_and_replaces_the_rest() {
        let mut below = read("a = [1, 2]\n[t]\nx = 1\ny = 2\n[t.deep]\nk = 'v'");
        below.merge(read("a = [3]\nb = 1\n[t]\ny = 3\n"));
        let mut text = String::new();
        canonical(&below, &mut text);
        assert_eq!(text, r#"{"a":[3,],"b":1,"t":{"deep":{"k":"v",},"x":1,"y":3,},}"#);
    }

    #[test]
    fn a_file_laid_over_another_takes_a_key_away() {
        let mut below = read("a = 1\n[t]\nx = 1\ny = 2");
        below.merge(read("a = false\n[t]\nx = false\nz = false\n"));
        let mut text = String::new();
        canonical(&below, &mut text);
        assert_eq!(text, r#"{"t":{"y":2,"z":false,},}"#);
    }

    #[test]
    fn layout_and_comments_do_not_change_the_canonical_text() {
        let text = |source| {
            let mut text = String::new();
            canonical(&read(source), &mut text);
            text
        };
        assert_eq!(text("b = 1 # why\n[a]\nd = 2.0\nc = 4"), text("a.c = 4\na.d = 2.0\nb = 1"));
    }
}
