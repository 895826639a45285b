//! Secrets and where they are: `env:NAME` or `file:PATH`, never the value itself.
//!
//! Invariant: no message repeats a value; what may be one is masked in what is kept of the file.

use crate::base::Secret;
use crate::config::diagnostics::Problem;
use crate::config::document::{Entry, Value};
use crate::config::reader::{Section, Text};

use super::{Scope, Secrets};

/// Where a secret is.
#[derive(Clone, Copy)]
pub(super) enum Reference<'a> {
    Variable(&'a str),
    File(&'a str),
}

pub(super) fn reference(text: &str) -> Option<Reference<'_>> {
    text.strip_prefix("env:").map(Reference::Variable).or_else(|| text.strip_prefix("file:").map(Reference::File))
}

/// Whether this value is a reference.
pub(super) fn is_reference(value: &Value) -> bool {
    matches!(value, Value::Text(text) if reference(text).is_some())
}

/// A secret belongs into the environment or a file of its own. The message does not repeat it.
pub(super) fn refuse_inline(section: &Section<'_>, entry: &Entry) {
    section.report.mask(&entry.node.place);
    let (name, variable) = (&entry.key, entry.key.to_uppercase());
    let problem = Problem::at(&entry.node.place, format!("the secret `{name}` is written into the file"));
    section.report.add(problem.help(format!(
        "name where it is: `{name} = \"env:{variable}\"` or `\"file:PATH\"`; change the secret if others have seen this file"
    )));
}

/// The value behind a reference, without white space at its ends; empty, missing and broken ones are reported.
pub(super) fn resolve(
    section: &Section<'_>,
    scope: &Scope<'_>,
    text: Text<'_>,
    reference: Reference<'_>,
) -> Option<String> {
    if is_made_up(scope, reference) {
        return Some(made_up(text.value));
    }
    let report = |message: String, help: String| section.report.add(Problem::at(text.place, message).help(help));
    let value = match reference {
        Reference::Variable(name) => {
            let value = (scope.env)(name).map(|value| trimmed(&value).to_owned());
            match &value {
                Some(value) if !value.is_empty() => {}
                Some(_) => report(format!("the environment variable `{name}` is empty"), format!("export {name}=…")),
                None => report(format!("the environment variable `{name}` is not set"), format!("export {name}=…")),
            }
            value.filter(|value| !value.is_empty())?
        }
        Reference::File(path) => match std::fs::read_to_string(scope.folder.join(path)) {
            Ok(value) if !trimmed(&value).is_empty() => trimmed(&value).to_owned(),
            Ok(_) => {
                report(format!("the secret file `{path}` is empty"), "write the secret into it".into());
                return None;
            }
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                let help = "save it as UTF-8: editors on Windows may write UTF-16, or GBK";
                report(format!("the secret file `{path}` is not UTF-8 text"), help.into());
                return None;
            }
            Err(error) => {
                let help = "the path is relative to this file";
                report(format!("cannot read the secret file `{path}`: {error}"), help.into());
                return None;
            }
        },
    };
    let what = match reference {
        Reference::Variable(name) => format!("the environment variable `{name}`"),
        Reference::File(path) => format!("the secret file `{path}`"),
    };
    unbroken(section, text, value, &what)
}

/// Whether nothing stands where a reference leads, and nobody needs it.
pub(super) fn is_made_up(scope: &Scope<'_>, reference: Reference<'_>) -> bool {
    if scope.secrets == Secrets::Needed {
        return false;
    }
    match reference {
        Reference::Variable(name) => (scope.env)(name).is_none_or(|value| trimmed(&value).is_empty()),
        Reference::File(path) => !scope.folder.join(path).exists(),
    }
}

/// A value in the place of one that is not there: one for each reference, as two accounts may not share a key.
fn made_up(reference: &str) -> String {
    let letters = reference.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' });
    format!("absent-{}", letters.collect::<String>())
}

/// A credential holds no white space: what was copied with it is refused by every gateway as a wrong signature.
pub(super) fn unbroken(section: &Section<'_>, text: Text<'_>, value: String, what: &str) -> Option<String> {
    if is_quoted(&value) {
        let problem = Problem::at(text.place, format!("{what} stands in quotation marks"));
        section.report.add(problem.help("write it without them: they are taken for a part of it, and it is refused"));
        return None;
    }
    let found = if value.contains(['\n', '\r']) {
        "a line break"
    } else if value.contains(is_invisible) {
        "white space or an invisible character"
    } else {
        return Some(value);
    };
    let problem = Problem::at(text.place, format!("{what} holds {found}"));
    section
        .report
        .add(problem.help("copy the value again, without what stands around it; white space at its ends is ignored"));
    None
}

/// Whether a value was copied with the quotation marks of an env-file or a document.
fn is_quoted(value: &str) -> bool {
    let stands_in = |(open, close)| value.len() > 2 && value.starts_with(open) && value.ends_with(close);
    [('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”'), ('‘', '’')].into_iter().any(stands_in)
}

/// White space, and what browsers and editors add unseen: zero-width characters and byte-order marks.
fn is_invisible(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

/// The value without white space and invisible characters at its ends.
pub(super) fn trimmed(value: &str) -> &str {
    value.trim_matches(is_invisible)
}

/// An address that is a secret: a reference to one whose scheme is among `schemes`.
pub(super) fn address(
    section: &mut Section<'_>,
    scope: &Scope<'_>,
    key: &'static str,
    schemes: &[&str],
) -> Option<Secret> {
    let entry = section.entry(key)?;
    let Value::Text(value) = &entry.node.value else {
        section.report.mask(&entry.node.place);
        section.as_text(&entry.node, key);
        return None;
    };
    let text = Text { value, place: &entry.node.place };
    let Some(reference) = reference(value) else {
        refuse_inline(section, entry);
        return None;
    };
    let mut value = resolve(section, scope, text, reference)?;
    if is_made_up(scope, reference) {
        value = format!("{}://{value}.invalid/", schemes.first().copied().unwrap_or_default());
    }
    let fits = |url: url::Url| schemes.contains(&url.scheme()) && url.host_str().is_some_and(|host| !host.is_empty());
    if !url::Url::parse(&value).is_ok_and(fits) {
        let schemes: Vec<_> = schemes.iter().map(|scheme| format!("`{scheme}://`")).collect();
        let problem = Problem::at(text.place, format!("what `{}` names is no address for `{key}`", text.value));
        section.report.add(problem.help(format!("it begins with one of {}", schemes.join(", "))));
        return None;
    }
    Some(Secret::new(value))
}
