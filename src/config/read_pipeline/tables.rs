//! Small CSV files named in a pipeline: UTF-8 or GBK, as spreadsheets save them.

use std::ops::Range;
use std::path::Path;

use crate::config::diagnostics::{Place, Problem, Report};
use crate::config::reader::{Text, suggestion};

use super::Scope;

/// A list of shops or packs has no business being larger.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// One row: cells by column.
pub(in crate::config) struct Row {
    pub place: Place,
    cells: Vec<Cell>,
}

struct Cell {
    column: &'static str,
    value: String,
    place: Place,
}

impl Row {
    /// The trimmed value of a column, where the file has it.
    pub(in crate::config) fn get(&self, column: &str) -> Option<Text<'_>> {
        let cell = self.cells.iter().find(|cell| cell.column == column)?;
        Some(Text { value: &cell.value, place: &cell.place })
    }
}

/// Which columns a file may have, and of which it needs at least one.
pub(in crate::config) struct Columns {
    pub all: &'static [&'static str],
    pub one_of: &'static [&'static str],
    /// Other names of columns, and the column meant: those that huopan writes over columns for people, too.
    pub also: &'static [(&'static str, &'static str)],
    /// Columns that may stand there and say nothing.
    pub unread: &'static [&'static str],
}

/// A file's text, decoded, and its source number.
pub(super) fn open(scope: &Scope<'_>, file: Text<'_>) -> Option<(usize, String)> {
    let path = scope.folder.join(file.value);
    let bad = |message: String, help: &str| {
        scope.report.add(Problem::at(file.place, message).help(help));
        None
    };
    match load(&path) {
        Ok(text) => Some((scope.report.source(file.value, text.clone()), text)),
        Err(NotRead::Failed(error)) => {
            bad(format!("cannot read `{}`: {error}", file.value), "the path is relative to this file")
        }
        Err(NotRead::Not(what, help)) => bad(format!("`{}` is {what}", file.value), help),
    }
}

/// Why a file gives no text.
pub(in crate::config) enum NotRead {
    Failed(std::io::Error),
    /// What it is, and what to do.
    Not(&'static str, &'static str),
}

/// A file's text, decoded.
pub(in crate::config) fn load(path: &Path) -> Result<String, NotRead> {
    let size = std::fs::metadata(path).map_err(NotRead::Failed)?.len();
    if size > FILE_BYTES_MAX {
        return Err(NotRead::Not("larger than 64 MiB", "is this the right file?"));
    }
    text_of(&std::fs::read(path).map_err(NotRead::Failed)?)
}

/// The text that bytes are.
pub(in crate::config) fn text_of(bytes: &[u8]) -> Result<String, NotRead> {
    decode(bytes).ok_or(NotRead::Not("neither UTF-8 nor GBK text", "save it as \"CSV UTF-8\""))
}

/// UTF-8 (a byte-order mark is dropped), else GBK.
fn decode(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.contains(&0) {
        return None;
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Some(text.to_owned());
    }
    encoding_rs::GBK.decode_without_bom_handling_and_without_replacement(bytes).map(|text| text.into_owned())
}

/// The rows of a CSV file with a header; everything wrong with it is reported.
pub(super) fn read(scope: &Scope<'_>, file: Text<'_>, columns: &Columns) -> Vec<Row> {
    let Some((source, text)) = open(scope, file) else { return Vec::new() };
    rows(scope.report, (source, &text), file, columns)
}

/// As [`read`], of a text that is read already; `file` is what is blamed where no line is.
pub(in crate::config) fn rows(
    report: &Report,
    (source, text): (usize, &str),
    file: Text<'_>,
    columns: &Columns,
) -> Vec<Row> {
    let mut builder = csv::ReaderBuilder::new();
    let mut reader = builder.has_headers(false).flexible(true).delimiter(separator(text)).from_reader(text.as_bytes());
    let mut records = Vec::new();
    for record in reader.records() {
        match record {
            Ok(record) if record.iter().all(|cell| cell.trim().is_empty()) => {}
            Ok(record) => records.push(record),
            Err(error) => report.add(Problem::at(file.place, format!("`{}` is no CSV: {error}", file.value))),
        }
    }
    let lines = Lines { source, text };
    let Some((header, records)) = records.split_first() else {
        report.add(Problem::at(file.place, format!("`{}` is empty", file.value)).help(needed(columns)));
        return Vec::new();
    };
    let Some(header) = header_columns(report, &lines, header, columns) else { return Vec::new() };
    records.iter().filter_map(|record| row(report, &lines, &header, record)).collect()
}

/// What stands between the cells: a spreadsheet writes semicolons or tabs where commas are for decimals, or when it is told to.
fn separator(text: &str) -> u8 {
    let header = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    [b',', b';', b'\t'].into_iter().find(|separator| header.as_bytes().contains(separator)).unwrap_or(b',')
}

fn needed(columns: &Columns) -> String {
    format!("the first line names the columns: `{}`", columns.all.join(","))
}

fn header_columns(
    report: &Report,
    lines: &Lines<'_>,
    header: &csv::StringRecord,
    columns: &Columns,
) -> Option<Vec<&'static str>> {
    let place = lines.place(header);
    let mut found = Vec::with_capacity(header.len());
    for name in header {
        let name = name.trim();
        if columns.unread.contains(&name) {
            found.push("");
            continue;
        }
        let meant = columns.also.iter().find(|(also, _)| *also == name).map_or(name, |(_, column)| column);
        match columns.all.iter().find(|column| column.eq_ignore_ascii_case(meant)) {
            Some(column) if found.contains(column) => {
                report.add(Problem::at(&place, format!("the column `{name}` is there twice")));
            }
            Some(column) => found.push(*column),
            None => {
                let problem = Problem::at(&lines.cell(&place, name), format!("unknown column `{name}`"));
                report.add(problem.help(suggestion(name, columns.all.iter().copied())));
            }
        }
    }
    let has_one = columns.one_of.iter().any(|column| found.contains(column));
    if found.len() == header.len() && !has_one {
        let wanted: Vec<_> = columns.one_of.iter().map(|column| format!("`{column}`")).collect();
        let problem = Problem::at(&place, format!("the column {} is missing", wanted.join(" or ")));
        report.add(problem.help(needed(columns)));
    }
    (found.len() == header.len() && has_one).then_some(found)
}

fn row(report: &Report, lines: &Lines<'_>, header: &[&'static str], record: &csv::StringRecord) -> Option<Row> {
    let place = lines.place(record);
    if record.len() > header.len() {
        let message = format!("this line has {} cells, the header {}", record.len(), header.len());
        report.add(Problem::at(&place, message).help("put quotes around a cell with a comma"));
        return None;
    }
    let cell = |(column, value): (&&'static str, &str)| Cell {
        column,
        value: value.trim().to_owned(),
        place: lines.cell(&place, value.trim()),
    };
    Some(Row { cells: header.iter().zip(record).map(cell).collect(), place })
}

struct Lines<'a> {
    source: usize,
    text: &'a str,
}

impl Lines<'_> {
    /// The first line of a record.
    fn place(&self, record: &csv::StringRecord) -> Place {
        let start = record.position().and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(0);
        let rest = self.text.get(start..).unwrap_or("");
        let start = start + (rest.len() - rest.trim_start_matches(['\r', '\n']).len());
        let line = self.text.get(start..).unwrap_or("").lines().next().unwrap_or("");
        Place { source: self.source, span: Range { start, end: start + line.len() } }
    }

    /// A cell on a line, found by its text; the line where that is not unique enough to be found.
    fn cell(&self, line: &Place, value: &str) -> Place {
        let at = self.text.get(line.span.clone()).filter(|_| !value.is_empty()).and_then(|text| text.find(value));
        match at {
            Some(at) => {
                let start = line.span.start + at;
                Place { source: line.source, span: start..start + value.len() }
            }
            None => line.clone(),
        }
    }
}
