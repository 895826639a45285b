//! Walks one table of a document: asks for keys, reports what is missing, of a wrong type, out of
//! range or unknown, and goes on.
//!
//! Invariant: a problem is reported once and never stops the walk.

use std::ops::RangeInclusive;

use crate::base::text::nearest;

use super::diagnostics::{Place, Problem, Report};
use super::document::{Entry, Node, Table, Value};
use super::pointer::Pointer;
use super::template::Template;

/// One table being read. Every key asked for is a known key; [`Section::finish`] reports the others.
pub(super) struct Section<'a> {
    pub report: &'a Report,
    pub table: &'a Table,
    /// The header or the braces; empty for the document itself.
    pub place: &'a Place,
    asked: Vec<&'static str>,
}

/// A string with its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub value: &'a str,
    pub place: &'a Place,
}

impl<'a> Section<'a> {
    pub(super) fn new(report: &'a Report, table: &'a Table, place: &'a Place) -> Self {
        Self { report, table, place, asked: Vec::new() }
    }

    /// The entry of a key, whatever its type.
    pub(super) fn entry(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.asked.push(key);
        self.table.get(key)
    }

    /// Reports that a key is not there.
    pub(super) fn missing(&self, key: &str, help: &str) {
        self.report.add(Problem::at(self.place, format!("`{key}` is missing")).help(help));
    }

    /// Asks for a key that must be there.
    pub(super) fn require(&mut self, key: &'static str, help: &str) {
        // A slip of the keyboard is reported as the unknown key that it is.
        let slip = self.table.entries.iter().any(|entry| nearest(&entry.key, [key]).is_some());
        if !slip {
            self.missing(key, help);
        }
    }

    /// A string.
    pub(super) fn text(&mut self, key: &'static str) -> Option<Text<'a>> {
        let entry = self.entry(key)?;
        self.as_text(&entry.node, key)
    }

    /// A string, or an array of strings.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<Text<'a>> {
        match self.entry(key) {
            None => Vec::new(),
            Some(entry) => self.as_texts(&entry.node, key),
        }
    }

    /// A node as a string.
    pub(super) fn as_text(&self, node: &'a Node, key: &str) -> Option<Text<'a>> {
        match &node.value {
            Value::Text(value) => Some(Text { value, place: &node.place }),
            other => {
                self.wrong_type(node, key, "a string", other);
                None
            }
        }
    }

    /// A node as a string or an array of strings.
    pub(super) fn as_texts(&self, node: &'a Node, key: &str) -> Vec<Text<'a>> {
        match &node.value {
            Value::List(items) => items.iter().filter_map(|item| self.as_text(item, key)).collect(),
            _ => self.as_text(node, key).into_iter().collect(),
        }
    }

    /// An integer within a range.
    pub(super) fn integer(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let entry = self.entry(key)?;
        self.as_integer(&entry.node, key, range)
    }

    /// A node as an integer within a range.
    pub(super) fn as_integer(&self, node: &Node, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        match &node.value {
            Value::Integer(value) if range.contains(value) => Some(*value),
            Value::Integer(value) => {
                let message = format!("`{key}` is `{value}`, outside of {} to {}", range.start(), range.end());
                self.report.add(Problem::at(&node.place, message));
                None
            }
            other => {
                self.wrong_type(node, key, "an integer", other);
                None
            }
        }
    }

    /// A number within a range.
    pub(super) fn number(&mut self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let entry = self.entry(key)?;
        self.as_number(&entry.node, key, range)
    }

    /// A node as a number within a range.
    pub(super) fn as_number(&self, node: &Node, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = match &node.value {
            Value::Integer(value) => *value as f64,
            Value::Number(value) => *value,
            other => {
                self.wrong_type(node, key, "a number", other);
                return None;
            }
        };
        if range.contains(&value) {
            return Some(value);
        }
        let message = format!("`{key}` is `{value}`, outside of {} to {}", range.start(), range.end());
        self.report.add(Problem::at(&node.place, message));
        None
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let entry = self.entry(key)?;
        match &entry.node.value {
            Value::Flag(flag) => Some(*flag),
            other => {
                self.wrong_type(&entry.node, key, "`true` or `false`", other);
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        self.as_choice(text, key, choices)
    }

    /// A text as one of a few words.
    pub(super) fn as_choice<T: Copy>(&self, text: Text<'_>, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let found = choices.iter().find(|(word, _)| *word == text.value).map(|(_, choice)| *choice);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
            let message = format!("`{}` is no `{key}`", text.value);
            self.report.add(Problem::at(text.place, message).help(format!("one of {}", words.join(", "))));
        }
        found
    }

    /// A table.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let entry = self.entry(key)?;
        self.as_section(&entry.node, key)
    }

    /// An array of tables.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let Some(entry) = self.entry(key) else { return Vec::new() };
        match &entry.node.value {
            Value::List(items) => items.iter().filter_map(|item| self.as_section(item, key)).collect(),
            other => {
                let problem =
                    Problem::at(&entry.key_place, format!("`{key}` is {}, not an array of tables", other.kind()));
                self.report.add(problem.help(format!("write `[[{key}]]`, one block for each")));
                Vec::new()
            }
        }
    }

    /// A node as a table.
    pub(super) fn as_section(&self, node: &'a Node, key: &str) -> Option<Section<'a>> {
        match &node.value {
            Value::Table(table) => Some(Section::new(self.report, table, &node.place)),
            other => {
                self.wrong_type(node, key, "a table", other);
                None
            }
        }
    }

    /// JSON pointers: a string or an array of strings.
    pub(super) fn pointers(&mut self, key: &'static str) -> Vec<Pointer> {
        let texts = self.texts(key);
        self.as_pointers(&texts)
    }

    /// Texts as JSON pointers.
    pub(super) fn as_pointers(&self, texts: &[Text<'_>]) -> Vec<Pointer> {
        let parse = |text: &Text<'_>| {
            Pointer::parse(text.value)
                .map_err(|error| {
                    let help = format!("write `/{}`", text.value.replace('.', "/"));
                    self.report.add(Problem::at(text.place, format!("`{}`: {error}", text.value)).help(help));
                })
                .ok()
        };
        texts.iter().filter_map(parse).collect()
    }

    /// A text as a template whose places are all among `places`.
    pub(super) fn as_template(&self, text: Text<'_>, places: &[&str]) -> Option<Template> {
        let template = match Template::parse(text.value) {
            Ok(template) => template,
            Err(error) => {
                self.report.add(Problem::at(text.place, error.to_string()));
                return None;
            }
        };
        for place in template.places().filter(|place| !places.contains(place)) {
            let problem = Problem::at(text.place, format!("nothing is called `{{{place}}}` here"));
            self.report.add(problem.help(suggestion(place, places.iter().copied())));
        }
        Some(template)
    }

    /// Reports that a value has a wrong type.
    fn wrong_type(&self, node: &Node, key: &str, wanted: &str, found: &Value) {
        let problem = Problem::at(&node.place, format!("`{key}` must be {wanted}, not {}", found.kind()));
        let quoted = wanted == "a string" && matches!(found, Value::Integer(_) | Value::Number(_) | Value::Date(_));
        self.report.add(if quoted { problem.help("put it in quotes") } else { problem });
    }

    /// Reports every key that was not asked for, with the nearest one that was.
    pub(super) fn finish(self) {
        for entry in self.table.entries.iter().filter(|entry| !self.asked.contains(&entry.key.as_str())) {
            let problem = Problem::at(&entry.key_place, format!("unknown key `{}`", entry.key));
            if entry.node.place.span.start >= entry.key_place.span.end {
                self.report.mask_unknown(&entry.node.place);
            }
            self.report.add(problem.help(suggestion(&entry.key, self.asked.iter().copied())));
        }
    }
}

/// The nearest name, or all of them.
pub(super) fn suggestion<'n>(name: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
    match nearest(name, names.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}
