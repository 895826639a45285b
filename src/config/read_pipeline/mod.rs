//! Reads a pipeline: its file, the gateway it names, the lists and secrets it points to.
//!
//! Takes a path and an injected environment; gives a [`Pipeline`] or everything that is wrong with it.
//!
//! Invariant: only files named in the configuration are read, and no secret enters a message.

mod accounts;
mod alerts;
mod fetch;
mod guard;
mod lake;
pub(in crate::config) mod lists;
mod metrics;
mod secrets;
mod sections;
pub(in crate::config) mod tables;
#[cfg(test)]
mod tests;
mod watches;

use std::path::{Path, PathBuf};

use super::diagnostics::{Diagnostics, Place, Problem, Report};
use super::document::{self, Table};
use super::gateway::Gateway;
use super::pipeline::{AccountChoice, DetailSource, OnIncomplete, OnQuota, Pipeline, Watch};
use super::read_gateway;
use super::reader::{Section, Text};

/// Looks up an environment variable. Injected: this stage never reads the process's own.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Whether what secrets refer to must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Secrets {
    Needed,
    /// Nobody is called, signed for or told: what is not there is made up.
    Spared,
}

/// What the parts of a pipeline are read with.
struct Scope<'a> {
    report: &'a Report,
    env: &'a Environment<'a>,
    secrets: Secrets,
    /// The pipeline file's folder: relative paths start here.
    folder: PathBuf,
    /// What the pipeline calls its gateway.
    named: Option<Text<'a>>,
    /// `None` while the gateway itself could not be read.
    gateway: Option<Gateway>,
    /// The gateway is the one that a misspelt name must mean: what is checked against it is reported, too.
    is_guess: bool,
    /// The gateway that gives details, where the pipeline names one.
    details: Option<Details<'a>>,
    /// Captured answers are loaded: nobody is asked.
    files_only: bool,
}

/// A second gateway, for details.
struct Details<'a> {
    /// What the pipeline calls it.
    named: Text<'a>,
    /// `None` while it could not be read.
    gateway: Option<Gateway>,
    /// As [`Scope::is_guess`].
    is_guess: bool,
    /// It was not reported as one that cannot give details: somebody must ask it.
    usable: bool,
    /// Its definition as canonical text.
    canonical: String,
}

impl Scope<'_> {
    /// Whether this gateway is one that a misspelt name must mean.
    fn guesses(&self, gateway: &Gateway) -> bool {
        let own = self.gateway.as_ref().filter(|_| self.is_guess);
        let details = self.details.as_ref().filter(|details| details.is_guess);
        let guessed = own.into_iter().chain(details.and_then(|details| details.gateway.as_ref()));
        guessed.into_iter().any(|guessed| guessed.name == gateway.name)
    }
}

/// Reads and checks a pipeline.
///
/// # Errors
/// Everything that is wrong with the file and with what it names.
pub fn load_pipeline(path: &Path, env: &Environment<'_>) -> Result<Pipeline, Diagnostics> {
    load(path, env, Secrets::Needed)
}

/// As [`load_pipeline`], for what calls and tells nobody: secrets that are not there are made up.
///
/// # Errors
/// As [`load_pipeline`].
pub fn load_without_secrets(path: &Path, env: &Environment<'_>) -> Result<Pipeline, Diagnostics> {
    load(path, env, Secrets::Spared)
}

/// The watches of a pipeline, as far as they can be read, whatever else is wrong with the file.
#[must_use]
pub fn watches_of(path: &Path) -> Vec<Watch> {
    let report = Report::default();
    let Ok(text) = std::fs::read_to_string(path) else { return Vec::new() };
    let source = report.source(path.display().to_string(), text.clone());
    let Some(document) = document::parse(&report, source, &text) else { return Vec::new() };
    let place = Place { source, span: 0..0 };
    watches::watches(&mut Section::new(&report, &document, &place))
}

fn load(path: &Path, env: &Environment<'_>, secrets: Secrets) -> Result<Pipeline, Diagnostics> {
    let report = Report::default();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let problem = Problem::new(format!("cannot read the pipeline `{}`: {error}", path.display()));
            report.add(problem.help("name a pipeline file, `pipelines/portals.toml` for example"));
            return report.finish(None);
        }
    };
    let source = report.source(path.display().to_string(), text.clone());
    report.private(source);
    let Some(document) = document::parse(&report, source, &text) else { return report.finish(None) };
    let place = Place { source, span: 0..0 };
    let pipeline = whole(Section::new(&report, &document, &place), path, (env, secrets));
    report.finish(pipeline)
}

fn whole(mut root: Section<'_>, path: &Path, (env, secrets): (&Environment<'_>, Secrets)) -> Option<Pipeline> {
    let report = root.report;
    root.require("name", "the partition of every table: `name = \"nightly\"`");
    root.require("gateway", "one of `huopan gateways list`, or a definition file: `gateway = \"portals\"`");
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    // Shown paths start where the user's do.
    let shown_folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let name = root.text("name").and_then(|name| read_gateway::checked_name(&root, name, "name"));
    let named = root.text("gateway");
    let read = named.and_then(|named| read_gateway::read(report, named, &shown_folder));
    let url = root.text("url");
    let gateway_hash = read.as_ref().map(|read| canonical(&read.document));
    let mut scope = Scope {
        report,
        env,
        secrets,
        folder,
        named,
        is_guess: read.as_ref().is_some_and(|read| read.is_guess),
        gateway: read.and_then(|read| read.gateway),
        details: None,
        files_only: root.table.get("files").is_some(),
    };
    address(&root, &mut scope, url);
    scope.details = fetch::details(&root, &scope, &shown_folder);
    let shops = lists::shops(&mut root, &scope);
    let items = lists::items(&mut root, &scope);
    lists::check_asked(&root, &scope);
    let files = sections::files(&mut root, &scope);
    let on_quota = root.choice("on_quota", &[("refuse", OnQuota::Refuse), ("continue", OnQuota::Continue)]);
    let on_incomplete =
        root.choice("on_incomplete", &[("publish", OnIncomplete::Publish), ("hold", OnIncomplete::Hold)]);
    let guard = guard::guard(&mut root);
    let account_choice =
        root.choice("account_choice", &[("drain", AccountChoice::Drain), ("rotate", AccountChoice::Rotate)]);
    let accounts = accounts::accounts(&mut root, &scope);
    let fetch = fetch::fetch(&mut root, &scope);
    let units = sections::units(&mut root, &scope);
    let lake = lake::lake(&mut root, &scope);
    let state = sections::state(&mut root, &scope);
    let alerts = alerts::alerts(&mut root, &scope);
    let watches = watches::watches(&mut root);
    alerts::check_told(&root, &watches);
    let metrics = metrics::metrics(&mut root, &scope);
    let own = canonical(root.table);
    root.finish();
    let lists = format!("{shops:?}{items:?}{units:?}");
    let details_hash = scope.details.as_ref().map(|details| details.canonical.as_str()).unwrap_or_default();
    let hashed = format!("{own}\n{}\n{details_hash}\n{lists}", gateway_hash?);
    let config_hash = xxhash_rust::xxh3::xxh3_64(hashed.as_bytes());
    let details = scope.details.and_then(|details| details.gateway);
    let details = details.map(|gateway| DetailSource { gateway, accounts: accounts.details });
    Some(Pipeline {
        name: name?,
        gateway: scope.gateway?,
        shops,
        items,
        files,
        // With captured answers nobody is asked, and nobody needs an account.
        details: details.filter(|details| !details.accounts.is_empty()),
        on_quota: on_quota.unwrap_or(OnQuota::Refuse),
        on_incomplete: on_incomplete.unwrap_or(OnIncomplete::Publish),
        guard,
        account_choice: account_choice.unwrap_or(AccountChoice::Drain),
        accounts: accounts.listing,
        fetch: fetch?,
        units,
        lake: lake?,
        state: state?,
        alerts,
        watches,
        metrics,
        config_hash: format!("{config_hash:016x}"),
        path: absolute,
    })
}

fn canonical(table: &Table) -> String {
    let mut text = String::new();
    document::canonical(table, &mut text);
    text
}

/// Puts the pipeline's `url` into the gateway, and sees to it that there is one where somebody is asked.
fn address(root: &Section<'_>, scope: &mut Scope<'_>, url: Option<Text<'_>>) {
    let checked = url.map(|url| read_gateway::base_address(root, url)).filter(|url| !url.is_empty());
    let (Some(gateway), Some(named)) = (&mut scope.gateway, scope.named) else { return };
    put_address(gateway, checked);
    if scope.files_only || url.is_some() {
        return;
    }
    if gateway.credentials.is_empty() && gateway.params.is_empty() && gateway.url.is_empty() {
        let problem = Problem::at(named.place, format!("gateway `{}` reads files and asks nobody", gateway.name));
        scope.report.add(problem.help("add `[files]` with the `paths` of captured answers"));
    } else if gateway.url.is_empty() {
        let problem = Problem::at(named.place, format!("gateway `{}` has no address of its own", gateway.name));
        scope.report.add(problem.help("add the one you were given: `url = \"https://…\"`"));
    }
}

/// Gives a gateway another address; paths are appended to it.
fn put_address(gateway: &mut Gateway, url: Option<String>) {
    if let Some(url) = url {
        gateway.url = url;
    }
    let joined = gateway.endpoints.values().any(|endpoint| endpoint.path.is_some());
    let joined = joined || gateway.token.as_ref().is_some_and(|token| token.endpoint.path.is_some());
    if joined && !gateway.url.is_empty() && !gateway.url.ends_with('/') {
        gateway.url.push('/');
    }
}
