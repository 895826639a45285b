//! Where a run's numbers go: `[metrics]`.

use std::path::PathBuf;

use url::{Url, form_urlencoded};

use crate::base::Secret;
use crate::config::diagnostics::Problem;
use crate::config::location::normal;
use crate::config::pipeline::{Metrics, Otlp};
use crate::config::reader::{Section, Text};

use super::Scope;
use super::secrets::{self, is_made_up, reference, resolve};

/// Where OTLP over HTTP takes metrics, below a collector's address.
const OTLP_PATH: &str = "v1/metrics";

/// `[metrics]`.
pub(super) fn metrics(root: &mut Section<'_>, scope: &Scope<'_>) -> Metrics {
    let Some(mut section) = root.section("metrics") else { return Metrics::default() };
    let textfile = section.text("textfile").and_then(|text| textfile(scope, text));
    let url = section.text("otlp").and_then(|text| collector(&section, scope, text));
    let headers = headers(&mut section, scope);
    let (has_file, has_otlp) = (section.table.get("textfile").is_some(), section.table.get("otlp").is_some());
    if !has_file && !has_otlp {
        section.missing("textfile", "a file for the node exporter: `textfile = \"../metrics/nightly.prom\"`");
    }
    if let Some(entry) = section.table.get("otlp_headers").filter(|_| !has_otlp) {
        let problem = Problem::at(&entry.key_place, "`otlp_headers` without `otlp`");
        scope.report.add(problem.help("name the collector: `otlp = \"http://127.0.0.1:4318\"`; or remove the line"));
    }
    section.finish();
    Metrics { textfile, otlp: url.map(|url| Otlp { url, headers }) }
}

/// An absolute path of a name that the node exporter reads.
fn textfile(scope: &Scope<'_>, text: Text<'_>) -> Option<PathBuf> {
    let path = normal(&scope.folder.join(text.value));
    if path.extension().is_some_and(|extension| extension == "prom") && !path.is_dir() {
        return Some(path);
    }
    let problem = Problem::at(text.place, format!("`{}` is no name for a `textfile`", text.value));
    scope.report.add(problem.help("the node exporter reads files that end with `.prom`, one for each pipeline"));
    None
}

/// A collector's address, as such or by reference, with the path for metrics.
fn collector(section: &Section<'_>, scope: &Scope<'_>, text: Text<'_>) -> Option<Secret> {
    let value = match reference(text.value) {
        Some(reference) if is_made_up(scope, reference) => return None,
        Some(reference) => resolve(section, scope, text, reference)?,
        None => text.value.to_owned(),
    };
    let url = Url::parse(&value).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(mut url) = url else {
        // Of what is no address nobody knows what it holds.
        let problem = Problem::at(text.place, "this is no address for `otlp`");
        scope.report.mask(text.place);
        scope.report.add(problem.help("OTLP over HTTP: `otlp = \"http://127.0.0.1:4318\"`, or `\"env:NAME\"`"));
        return None;
    };
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if reference(text.value).is_none() && !is_plain {
        scope.report.mask(text.place);
        let problem = Problem::at(text.place, "an address with a user, a password or a query is a secret");
        scope.report.add(problem.help("name where it is: `otlp = \"env:OTLP_URL\"`, or send `otlp_headers`"));
        return None;
    }
    let path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with(OTLP_PATH) {
        url.set_path(&format!("{path}/{OTLP_PATH}"));
    }
    Some(Secret::new(url))
}

/// `name=value` pairs; values are percent-encoded, as everybody writes `OTEL_EXPORTER_OTLP_HEADERS`.
fn headers(section: &mut Section<'_>, scope: &Scope<'_>) -> Vec<(String, Secret)> {
    let Some(entry) = section.entry("otlp_headers") else { return Vec::new() };
    let Some(text) = section.as_text(&entry.node, "otlp_headers") else { return Vec::new() };
    let Some(reference) = reference(text.value) else {
        secrets::refuse_inline(section, entry);
        return Vec::new();
    };
    if is_made_up(scope, reference) {
        return Vec::new();
    }
    let Some(value) = resolve(section, scope, text, reference) else { return Vec::new() };
    let pairs: Option<Vec<_>> = value.split(',').filter(|pair| !pair.is_empty()).map(header).collect();
    pairs.unwrap_or_else(|| {
        let problem = Problem::at(text.place, format!("what `{}` names is no list of headers", text.value));
        let help = "`Authorization=Bearer%20TOKEN,x-scope=ops`: values are percent-encoded";
        scope.report.add(problem.help(help));
        Vec::new()
    })
}

fn header(pair: &str) -> Option<(String, Secret)> {
    let (name, value) = pair.split_once('=')?;
    let name = name.to_ascii_lowercase();
    // It is no form: a plus is a plus.
    let query = format!("v={}", value.replace('+', "%2B").replace('&', "%26"));
    let value = form_urlencoded::parse(query.as_bytes()).next()?.1.into_owned();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let fits = !name.is_empty() && name.bytes().all(is_token) && !value.chars().any(char::is_control);
    fits.then(|| (name, Secret::new(value)))
}
