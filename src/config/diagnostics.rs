//! Everything that is wrong with a configuration, as a value: what, where, and what to change.
//!
//! Takes problems from the readers; gives texts with file, line, column and caret.
//!
//! Invariant: no secret is in here. What may be one is overwritten in the kept source texts before
//! the value leaves this stage.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use regex::Regex;

use crate::base::Error;

/// Where a problem is: bytes of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub(super) source: usize,
    /// Empty: the file as a whole.
    pub(super) span: Range<usize>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong; lowercase, values in backticks.
    pub message: String,
    /// Where; `None` when no file is to blame.
    pub place: Option<Place>,
    /// What stands at the caret.
    pub label: Option<String>,
    /// What to change.
    pub help: Option<String>,
}

impl Problem {
    /// A problem without a place.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, label: None, help: None }
    }

    /// A problem at a place.
    pub(super) fn at(place: &Place, message: impl Into<String>) -> Self {
        Self { place: Some(place.clone()), ..Self::new(message) }
    }

    /// Adds the text at the caret.
    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds what to change.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Where a problem is, for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file as the user named it.
    pub file: String,
    /// From 1; `None`: the file as a whole.
    pub line: Option<usize>,
    /// In characters, from 1.
    pub column: Option<usize>,
}

/// Whether a rendering carries terminal colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// Plain text.
    Never,
    /// ANSI colours.
    Always,
}

/// All problems of one configuration, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    problems: Vec<Problem>,
    sources: Vec<Source>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    name: String,
    text: String,
}

impl Diagnostics {
    /// The problems, in the order of files and lines.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Where one of [`Diagnostics::problems`] is; `None` when no file is to blame.
    #[must_use]
    pub fn location(&self, problem: &Problem) -> Option<Location> {
        let place = problem.place.as_ref()?;
        let source = self.sources.get(place.source)?;
        let before = source.text.get(..place.span.start).filter(|_| !place.span.is_empty());
        let line = before.map(|before| before.matches('\n').count() + 1);
        let column = before.map(|before| before.chars().rev().take_while(|c| *c != '\n').count() + 1);
        Some(Location { file: source.name.clone(), line, column })
    }

    /// All problems as text, a blank line between two.
    #[must_use]
    pub fn render(&self, color: Color) -> String {
        let renderer = match color {
            Color::Never => Renderer::plain(),
            Color::Always => Renderer::styled(),
        };
        let texts: Vec<String> = self.problems.iter().map(|problem| self.render_one(&renderer, problem)).collect();
        texts.join("\n\n")
    }

    fn render_one(&self, renderer: &Renderer, problem: &Problem) -> String {
        let mut group = Level::ERROR.primary_title(problem.message.as_str()).elements(Vec::<Origin>::new());
        let place = problem.place.as_ref().and_then(|place| Some((place, self.sources.get(place.source)?)));
        if let Some((place, source)) = place {
            group = if place.span.is_empty() {
                group.element(Origin::path(source.name.as_str()))
            } else {
                let annotation = AnnotationKind::Primary.span(place.span.clone()).label(problem.label.as_deref());
                group.element(Snippet::source(source.text.as_str()).path(source.name.as_str()).annotation(annotation))
            };
        }
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Color::Never))
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostics> for Error {
    /// [`crate::base::Kind::Config`]; the cause is the [`Diagnostics`], whose text names every place.
    fn from(diagnostics: Diagnostics) -> Self {
        let place = diagnostics.problems.iter().find_map(|problem| problem.place.as_ref());
        let file = place.and_then(|place| diagnostics.sources.get(place.source)).map(|source| source.name.clone());
        let count = match diagnostics.problems.len() {
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        let message = match file {
            Some(file) => format!("{count} in `{file}`"),
            None => format!("{count} in the configuration"),
        };
        Error::config(message).caused_by(diagnostics)
    }
}

/// Where readers put what they find.
#[derive(Debug, Default)]
pub(super) struct Report {
    sources: RefCell<Vec<Source>>,
    problems: RefCell<Vec<Problem>>,
    masked: RefCell<Vec<Place>>,
    private: RefCell<Vec<usize>>,
    suspected: RefCell<Vec<usize>>,
}

impl Report {
    /// Adds a file's text; places name it by the number returned.
    pub(super) fn source(&self, name: impl Into<String>, text: String) -> usize {
        let mut sources = self.sources.borrow_mut();
        sources.push(Source { name: name.into(), text });
        sources.len() - 1
    }

    /// A source that people may have written secrets into: values of keys that sound like one are masked.
    pub(super) fn private(&self, source: usize) {
        self.private.borrow_mut().push(source);
    }

    /// This source could not be read: if it is private, all that stands near `credentials` is masked.
    pub(super) fn suspect_all(&self, source: usize) {
        self.suspected.borrow_mut().push(source);
    }

    /// Overwrites this place if its source is private: nobody knows what a key nobody knows holds.
    pub(super) fn mask_unknown(&self, place: &Place) {
        if self.private.borrow().contains(&place.source) {
            self.mask(place);
        }
    }

    /// Overwrites this place in the kept text.
    pub(super) fn mask(&self, place: &Place) {
        self.masked.borrow_mut().push(place.clone());
    }

    /// Adds a problem.
    pub(super) fn add(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Whether there is a problem at or inside this place, or in a source added after its own.
    pub(super) fn any_since(&self, place: &Place) -> bool {
        let problems = self.problems.borrow();
        let mut places = problems.iter().filter_map(|problem| problem.place.as_ref());
        places.any(|other| {
            let inside = place.span.start <= other.span.start && other.span.end <= place.span.end;
            other.source > place.source || (other.source == place.source && inside)
        })
    }

    /// How many problems there are so far.
    pub(super) fn count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// The line of a place, from 1.
    pub(super) fn line(&self, place: &Place) -> usize {
        let sources = self.sources.borrow();
        let text = sources.get(place.source).and_then(|source| source.text.get(..place.span.start)).unwrap_or("");
        text.matches('\n').count() + 1
    }

    /// The value if nothing was found, else all that was found.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Diagnostics> {
        let mut problems = self.problems.into_inner();
        if let (Some(value), true) = (value, problems.is_empty()) {
            return Ok(value);
        }
        if problems.is_empty() {
            problems.push(Problem::new("the configuration could not be read"));
        }
        problems.sort_by_key(|problem| problem.place.as_ref().map(|place| (place.source, place.span.start)));
        let mut sources = self.sources.into_inner();
        for place in self.masked.into_inner() {
            if let Some(source) = sources.get_mut(place.source) {
                overwrite(&mut source.text, place.span);
            }
        }
        let suspected = self.suspected.into_inner();
        for number in self.private.into_inner() {
            if let Some(source) = sources.get_mut(number) {
                overwrite_named(&mut source.text);
                overwrite_passwords(&mut source.text);
                if suspected.contains(&number) {
                    overwrite_credentials(&mut source.text);
                }
            }
        }
        Err(Diagnostics { problems, sources })
    }
}

/// Replaces each byte of a range by a star: all other places stay where they are. Quotes are kept.
fn overwrite(text: &mut String, span: Range<usize>) {
    let Some(value) = text.get(span.clone()) else { return };
    let keep = |c: char| matches!(c, '"' | '\'' | '\n' | '\r');
    let stars: String = value.chars().map(|c| if keep(c) { c.to_string() } else { "*".repeat(c.len_utf8()) }).collect();
    text.replace_range(span, &stars);
}

/// Overwrites the values of keys that sound like secrets, unless they are references.
fn overwrite_named(text: &mut String) {
    static ASSIGNMENT: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let name = r"(?i)[a-z0-9_-]*(?:secret|token|passw|private|apikey|api_key|proxy)[a-z0-9_-]*";
        Regex::new(&format!("{name}[\"']?[ \\t]*{VALUE}")).ok()
    });
    overwrite_found(text, ASSIGNMENT.as_ref(), |_| true);
}

/// Overwrites what stands before the `@` of an address.
fn overwrite_passwords(text: &mut String) {
    static LOGIN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"://([^\s"'/@]+)@"#).ok());
    overwrite_found(text, LOGIN.as_ref(), |_| true);
}

/// Overwrites all values in lines and sections of `credentials`, `alerts` and `metrics`, unless they are references.
fn overwrite_credentials(text: &mut String) {
    static ANY: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(VALUE).ok());
    let mut inside = false;
    overwrite_found(text, ANY.as_ref(), |line| {
        if line.trim_start().starts_with('[') {
            inside = ["credential", "alerts", "metrics"].into_iter().any(|section| line.contains(section));
        }
        inside || line.contains("credential")
    });
}

/// A value after its `=`: quoted (closed or not) or bare.
const VALUE: &str = r#"=[ \t]*(?:"([^"\n]*)|'([^'\n]*)|([^\s"',{}\[\]#]+))"#;

/// Overwrites what the groups of a pattern find in the lines that count.
fn overwrite_found(text: &mut String, pattern: Option<&Regex>, mut counts: impl FnMut(&str) -> bool) {
    let Some(pattern) = pattern else { return };
    let (mut spans, mut at) = (Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        if counts(line) {
            let groups = pattern.captures_iter(line).flat_map(|found| (1..=3).filter_map(move |n| found.get(n)));
            let values = groups.filter(|value| !is_reference(value.as_str()));
            spans.extend(values.map(|value| at + value.start()..at + value.end()));
        }
        at += line.len();
    }
    for span in spans {
        overwrite(text, span);
    }
}

fn is_reference(value: &str) -> bool {
    value.starts_with("env:") || value.starts_with("file:")
}
