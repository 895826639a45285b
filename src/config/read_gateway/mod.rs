//! Reads gateway definitions: built-in ones and files, one laid over another by `extends`.
//!
//! Takes a name or a path; gives a [`Gateway`] or everything that is wrong with it.
//!
//! Invariant: a built-in definition and a user's file go the same way.

mod answers;
mod endpoints;
mod limits;
mod requests;
#[cfg(test)]
pub(super) mod tests;

use std::path::{Path, PathBuf};

use regex::Regex;

use crate::base::text::nearest;

use super::diagnostics::{Diagnostics, Place, Problem, Report};
use super::document::{self, Node, Table, Value};
use super::gateway::{Answer, Gateway, Http};
use super::reader::{Section, Text, suggestion};

/// The definitions in the binary, by name.
const BUILTINS: &[(&str, &str)] = &[
    ("portals", include_str!("../../../schemas/gateways/portals.toml")),
    ("item-get", include_str!("../../../schemas/gateways/item-get.toml")),
    ("product-get", include_str!("../../../schemas/gateways/product-get.toml")),
    ("shop-search", include_str!("../../../schemas/gateways/shop-search.toml")),
    ("aop", include_str!("../../../schemas/gateways/aop.toml")),
    ("onebound", include_str!("../../../schemas/gateways/onebound.toml")),
    ("tmapi", include_str!("../../../schemas/gateways/tmapi.toml")),
    ("page-state", include_str!("../../../schemas/gateways/page-state.toml")),
];

/// The names of the built-in definitions.
#[must_use]
pub fn builtins() -> Vec<&'static str> {
    BUILTINS.iter().map(|(name, _)| *name).collect()
}

/// The text of a built-in definition.
#[must_use]
pub fn builtin(name: &str) -> Option<&'static str> {
    BUILTINS.iter().find(|(builtin, _)| *builtin == name).map(|(_, text)| *text)
}

/// Reads a definition: the name of a built-in one, or a file (a text with `/` or `.toml`), relative to `base`.
///
/// # Errors
/// Everything that is wrong with it and what it extends.
pub fn load_gateway(name_or_path: &str, base: &Path) -> Result<Gateway, Diagnostics> {
    let report = Report::default();
    let read = read(&report, Text { value: name_or_path, place: &NOWHERE }, base);
    report.finish(read.and_then(|read| read.gateway))
}

/// Stands for "not in a file".
static NOWHERE: Place = Place { source: usize::MAX, span: 0..0 };

/// A definition read inside a pipeline: the value and the document it came from.
pub(super) struct Read {
    pub gateway: Option<Gateway>,
    pub document: Table,
    /// Its name is reported as a slip of the keyboard: this is the definition that it must mean.
    pub is_guess: bool,
}

/// Reads a definition into a report. `None` when there is no document to speak of.
pub(super) fn read(report: &Report, name_or_path: Text<'_>, base: &Path) -> Option<Read> {
    let found = layered(report, name_or_path, base, &mut Vec::new());
    let guess = if found.is_none() { meant(name_or_path.value) } else { None };
    let guessed = || layered(report, Text { value: guess?, ..name_or_path }, base, &mut Vec::new());
    let (document, source, text) = found.or_else(guessed)?;
    let place = Place { source, span: 0..0 };
    let before = report.count();
    let gateway = whole(Section::new(report, &document, &place), text);
    let gateway = gateway.filter(|_| report.count() == before);
    Some(Read { gateway, document, is_guess: guess.is_some() })
}

/// The built-in definition that a name without a definition must mean: the one that is suggested, a stroke or two away.
fn meant(name: &str) -> Option<&'static str> {
    const STROKES_MAX: usize = 2;
    nearest(name, builtins()).filter(|near| strsim::damerau_levenshtein(name, near) <= STROKES_MAX)
}

/// The document of a definition, laid over what it extends; its source and its own text.
fn layered(report: &Report, name: Text<'_>, base: &Path, seen: &mut Vec<PathBuf>) -> Option<(Table, usize, String)> {
    let (key, shown, text, folder) = open(report, name, base)?;
    if seen.contains(&key) {
        let chain: Vec<_> = seen.iter().chain([&key]).map(|path| format!("`{}`", path.display())).collect();
        report.add(Problem::at(name.place, "a definition extends itself").label(chain.join(" → ")));
        return None;
    }
    seen.push(key);
    let source = report.source(shown, text.clone());
    let mut document = document::parse(report, source, &text)?;
    let parent = document.entries.iter().position(|entry| entry.key == "extends").map(|at| document.entries.remove(at));
    let Some(parent) = parent else { return Some((document, source, text)) };
    let Node { place, value: Value::Text(parent) } = &parent.node else {
        let problem = Problem::at(&parent.node.place, "`extends` must be a string");
        report.add(problem.help("the name of a built-in gateway, or the path of a file"));
        return None;
    };
    let (mut merged, _, _) = layered(report, Text { value: parent, place }, &folder, seen)?;
    merged.merge(document);
    Some((merged, source, text))
}

/// Identity, shown name, text and folder of a definition.
fn open(report: &Report, name: Text<'_>, base: &Path) -> Option<(PathBuf, String, String, PathBuf)> {
    if !name.value.contains(['/', '\\']) && !name.value.ends_with(".toml") {
        if let Some(text) = builtin(name.value) {
            let shown = format!("schemas/gateways/{}.toml", name.value);
            return Some((PathBuf::from(name.value), shown, text.to_owned(), base.to_owned()));
        }
        let problem = Problem::at(name.place, format!("there is no gateway `{}`", name.value));
        let names = builtins();
        let help = suggestion(name.value, names.iter().copied());
        let stop = if help.ends_with('?') { "" } else { "." };
        report
            .add(problem.help(format!("{help}{stop} A definition file is named by its path: `./{}.toml`", name.value)));
        return None;
    }
    let path = base.join(name.value);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let folder = path.parent().unwrap_or(base).to_owned();
            let shown = path.display().to_string();
            Some((std::fs::canonicalize(&path).unwrap_or(path), shown, text, folder))
        }
        Err(error) => {
            let problem = Problem::at(name.place, format!("cannot read `{}`: {error}", path.display()));
            report.add(problem.help("the path is relative to the file that names it"));
            None
        }
    }
}

/// The whole definition. What is missing is reported; the value then does not count.
fn whole(mut root: Section<'_>, text: String) -> Option<Gateway> {
    for (key, help) in [
        ("name", "the name pipelines use: `name = \"my-reseller\"`"),
        ("title", "what it is for, in one line"),
        ("seen", "where it has been seen to work, in one line"),
        ("endpoints", "add `[endpoints.listing]` or `[endpoints.item]`"),
        ("offer", "add `[offer]`: where each field stands in a record"),
    ] {
        root.require(key, help);
    }
    let name = root.text("name").and_then(|name| checked_name(&root, name, "name"));
    let title = root.text("title").map(|text| text.value.to_owned());
    let seen = root.text("seen").map(|text| text.value.to_owned());
    let url = root.text("url").map(|url| base_address(&root, url)).unwrap_or_default();
    let http = root.choice("http", HTTP).unwrap_or(Http::Get);
    let credentials = requests::credentials(&mut root);
    let time = requests::time(&mut root);
    let answer = answer_formats(&mut root);
    let options = requests::options(&mut root, &credentials);
    let places = requests::Places::new(&credentials, &options);
    let params = requests::params(&mut root, &places);
    let unit = root.text("unit").map(|text| text.value.to_owned());
    let sign = requests::sign(&mut root, &credentials);
    let token = requests::token(&mut root, http, &credentials, &places);
    let limits = limits::limits(&mut root);
    let shop = requests::shop(&mut root);
    let endpoints = endpoints::endpoints(&mut root, http, &places);
    let (offer, sku) = answers::mappings(&mut root);
    let errors = answers::errors(&mut root);
    let completeness = answers::completeness(&mut root);
    root.finish();
    let (name, title, seen) = (name?, title?, seen?);
    Some(Gateway {
        name,
        title,
        seen,
        url,
        http,
        answer,
        credentials,
        params,
        time,
        unit,
        sign,
        limits,
        shop,
        endpoints,
        offer,
        sku,
        options,
        token,
        errors,
        completeness,
        text,
    })
}

const HTTP: &[(&str, Http)] = &[("get", Http::Get), ("post", Http::Post)];

/// A name of a pipeline, gateway or account: `[a-z0-9_-]`, 1 to 40.
pub(super) fn checked_name(section: &Section<'_>, text: Text<'_>, key: &str) -> Option<String> {
    const LENGTH_MAX: usize = 40;
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if !text.value.is_empty() && text.value.len() <= LENGTH_MAX && text.value.chars().all(valid) {
        return Some(text.value.to_owned());
    }
    let problem = Problem::at(text.place, format!("`{}` is no `{key}`", text.value));
    section.report.add(problem.help(format!("1 to {LENGTH_MAX} of `a-z`, `0-9`, `_`, `-`")));
    None
}

/// A gateway's address: http or https, without a query, a fragment or a password.
pub(super) fn base_address(section: &Section<'_>, text: Text<'_>) -> String {
    let url = url::Url::parse(text.value).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    // Of what is no address nobody knows what stands before an `@`, and the message would repeat it.
    let login = match &url {
        Some(url) => url.password().is_some() || !url.username().is_empty(),
        None => text.value.contains('@'),
    };
    let problem = match url {
        _ if login => {
            section.report.mask(text.place);
            let problem = Problem::at(text.place, "an address must not hold a user or a password");
            section.report.add(problem.help("credentials belong into `credentials`"));
            return String::new();
        }
        Some(url) if url.host_str().is_none() => "is no `http(s)://` address",
        Some(url) if url.query().is_some() || url.fragment().is_some() => "must end before `?` and `#`",
        Some(_) => return text.value.to_owned(),
        None => "is no `http(s)://` address",
    };
    section.report.add(Problem::at(text.place, format!("the address `{}` {problem}", text.value)));
    String::new()
}

fn answer_formats(root: &mut Section<'_>) -> Vec<Answer> {
    let texts = root.texts("answer");
    let formats: Vec<_> = texts
        .iter()
        .filter_map(|text| root.as_choice(*text, "answer", &[("json", Answer::Json), ("xml", Answer::Xml)]))
        .collect();
    if formats.is_empty() { vec![Answer::Json] } else { formats }
}

/// A regular expression.
fn pattern(section: &Section<'_>, text: Text<'_>) -> Option<Regex> {
    Regex::new(text.value)
        .map_err(|error| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim().to_owned();
            section.report.add(Problem::at(text.place, "this is no regular expression").label(reason));
        })
        .ok()
}
