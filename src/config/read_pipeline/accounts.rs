//! Who asks: `[[accounts]]`, their credentials and licences.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Secret;
use crate::base::text::nearest;
use crate::config::diagnostics::Problem;
use crate::config::document::{Entry, Value};
use crate::config::gateway::{CredentialSpec, Gateway};
use crate::config::pipeline::{Account, Credential};
use crate::config::read_gateway::checked_name;
use crate::config::reader::{Section, Text, suggestion};

use super::{NOT_YET, Scope};

/// `[[accounts]]`.
pub(super) fn accounts(root: &mut Section<'_>, scope: &Scope<'_>) -> Vec<Account> {
    let given = root.table.get("accounts").is_some();
    let sections = root.sections("accounts");
    let asks = scope.gateway.as_ref().is_none_or(|gateway| !gateway.credentials.is_empty());
    if !scope.files_only && asks && (!given || root.table.get("accounts").is_some_and(is_empty)) {
        root.missing("accounts", "add `[[accounts]]` with `name` and `credentials`");
    }
    let mut names = BTreeSet::new();
    let mut accounts = Vec::new();
    for section in sections {
        let name_place = section.table.get("name").map(|entry| entry.node.place.clone());
        let Some(account) = account(section, scope) else { continue };
        if !names.insert(account.name.clone())
            && let Some(place) = name_place
        {
            let problem = Problem::at(&place, format!("two accounts are called `{}`", account.name));
            scope.report.add(problem.help("give each its own name: logs and `calls` show it instead of the key"));
        }
        accounts.push(account);
    }
    accounts
}

fn is_empty(entry: &Entry) -> bool {
    matches!(&entry.node.value, Value::List(items) if items.is_empty())
}

fn account(mut section: Section<'_>, scope: &Scope<'_>) -> Option<Account> {
    section.require("name", "what logs and `calls` say instead of the key: `name = \"main\"`");
    let name = section.text("name").and_then(|text| checked_name(&section, text, "name"));
    if let Some(entry) = section.table.get("credentials")
        && !matches!(entry.node.value, Value::Table(_))
    {
        scope.report.mask(&entry.node.place);
    }
    let inner = section.section("credentials");
    let gateway = scope.gateway.as_ref();
    let credentials = match (inner, gateway) {
        (Some(inner), Some(gateway)) => credentials(&inner, gateway, scope),
        (Some(inner), None) => {
            mask_all(&inner, |_| false);
            BTreeMap::new()
        }
        (None, Some(gateway)) => {
            if gateway.credentials.iter().any(|spec| !spec.optional) && section.table.get("credentials").is_none() {
                section.missing("credentials", &example(&gateway.credentials));
            }
            BTreeMap::new()
        }
        (None, None) => BTreeMap::new(),
    };
    let licence = section.text("licence");
    let allowed = gateway.and_then(|gateway| licensed(&section, gateway, licence));
    let calls_per_day = calls_per_day(&mut section, allowed, licence);
    section.finish_without(NOT_YET.account);
    let key = ledger_key(&credentials);
    Some(Account { name: name?, credentials, key, calls_per_day, calls_per_second: None, proxy: None })
}

/// What the quota ledger knows an account by: its first plain credential (the app key); where a gateway has only secret
/// ones, a digest of them.
fn ledger_key(credentials: &BTreeMap<String, Credential>) -> String {
    let plain = credentials.values().find_map(|credential| match credential {
        Credential::Plain(value) => Some(value.clone()),
        Credential::Secret(_) => None,
    });
    plain.unwrap_or_else(|| {
        let all: Vec<_> = credentials.values().map(Credential::expose).collect();
        format!("secret-{:016x}", xxhash_rust::xxh3::xxh3_64(all.join("\n").as_bytes()))
    })
}

/// What a right `credentials` line looks like.
fn example(specs: &[CredentialSpec]) -> String {
    let one = |spec: &CredentialSpec| match spec.secret {
        true => format!("{} = \"env:{}\"", spec.name, spec.name.to_uppercase()),
        false => format!("{} = \"…\"", spec.name),
    };
    let all: Vec<_> = specs.iter().filter(|spec| !spec.optional).map(one).collect();
    format!("`credentials = {{ {} }}`", all.join(", "))
}

/// Keeps every value that may be a secret out of what is kept of the file.
fn mask_all(section: &Section<'_>, plain: impl Fn(&str) -> bool) {
    for entry in &section.table.entries {
        let reference = matches!(&entry.node.value, Value::Text(text) if reference(text).is_some());
        if !reference && !plain(&entry.key) {
            section.report.mask(&entry.node.place);
        }
    }
}

fn credentials(section: &Section<'_>, gateway: &Gateway, scope: &Scope<'_>) -> BTreeMap<String, Credential> {
    let find = |name: &str| gateway.credentials.iter().find(|spec| spec.name == name);
    mask_all(section, |name| find(name).is_some_and(|spec| !spec.secret));
    let mut found = BTreeMap::new();
    for entry in &section.table.entries {
        let Some(spec) = find(&entry.key) else {
            let names = gateway.credentials.iter().map(|spec| spec.name.as_str());
            let message = format!("gateway `{}` has no credential `{}`", gateway.name, entry.key);
            let help = match gateway.credentials.is_empty() {
                true => "remove the account: nobody is asked".to_owned(),
                false => suggestion(&entry.key, names),
            };
            section.report.add(Problem::at(&entry.key_place, message).help(help));
            continue;
        };
        if spec.secret && !matches!(&entry.node.value, Value::Text(text) if reference(text).is_some()) {
            refuse_inline(section, entry);
            continue;
        }
        let Some(text) = section.as_text(&entry.node, &entry.key) else { continue };
        let value = match reference(text.value) {
            Some(reference) => resolve(section, scope, text, reference),
            None => Some(text.value.trim().to_owned()).filter(|value| {
                if value.is_empty() {
                    section.report.add(Problem::at(text.place, format!("`{}` is empty", spec.name)));
                }
                !value.is_empty()
            }),
        };
        if let Some(value) = value {
            let value = if spec.secret { Credential::Secret(Secret::new(value)) } else { Credential::Plain(value) };
            found.insert(spec.name.clone(), value);
        }
    }
    let slip = |spec: &CredentialSpec| {
        section
            .table
            .entries
            .iter()
            .any(|entry| nearest(&entry.key, [spec.name.as_str()]).is_some() && find(&entry.key).is_none())
    };
    let absent = |spec: &&CredentialSpec| !spec.optional && section.table.get(&spec.name).is_none() && !slip(spec);
    for spec in gateway.credentials.iter().filter(absent) {
        let message = format!("the credential `{}` of gateway `{}` is missing", spec.name, gateway.name);
        section.report.add(Problem::at(section.place, message).help(example(&gateway.credentials)));
    }
    found
}

/// A secret belongs into the environment or a file of its own. The message does not repeat it.
fn refuse_inline(section: &Section<'_>, entry: &Entry) {
    let (name, variable) = (&entry.key, entry.key.to_uppercase());
    let problem = Problem::at(&entry.node.place, format!("the secret `{name}` is written into the file"));
    section.report.add(problem.help(format!(
        "name where it is: `{name} = \"env:{variable}\"` or `\"file:PATH\"`; change the secret if others have seen this file"
    )));
}

/// Where a secret is.
#[derive(Clone, Copy)]
enum Reference<'a> {
    Variable(&'a str),
    File(&'a str),
}

fn reference(text: &str) -> Option<Reference<'_>> {
    text.strip_prefix("env:").map(Reference::Variable).or_else(|| text.strip_prefix("file:").map(Reference::File))
}

/// The value behind a reference, without white space at its ends; empty and missing ones are reported.
fn resolve(section: &Section<'_>, scope: &Scope<'_>, text: Text<'_>, reference: Reference<'_>) -> Option<String> {
    let report = |message: String, help: String| section.report.add(Problem::at(text.place, message).help(help));
    match reference {
        Reference::Variable(name) => {
            let value = (scope.env)(name).map(|value| value.trim().to_owned());
            match &value {
                Some(value) if !value.is_empty() => {}
                Some(_) => report(format!("the environment variable `{name}` is empty"), format!("export {name}=…")),
                None => report(format!("the environment variable `{name}` is not set"), format!("export {name}=…")),
            }
            value.filter(|value| !value.is_empty())
        }
        Reference::File(path) => match std::fs::read_to_string(scope.folder.join(path)) {
            Ok(value) if !value.trim().is_empty() => Some(value.trim().to_owned()),
            Ok(_) => {
                report(format!("the secret file `{path}` is empty"), "write the secret into it".into());
                None
            }
            Err(error) => {
                let error =
                    if error.kind() == std::io::ErrorKind::InvalidData { "not text".into() } else { error.to_string() };
                report(
                    format!("cannot read the secret file `{path}`: {error}"),
                    "the path is relative to this file".into(),
                );
                None
            }
        },
    }
}

/// The calls a day the licence allows; asks for the licence where the gateway has several.
fn licensed(section: &Section<'_>, gateway: &Gateway, licence: Option<Text<'_>>) -> Option<u64> {
    let table = &gateway.limits.calls_per_day;
    let known = || {
        let all: Vec<_> = table.iter().map(|(name, calls)| format!("`{name}` ({calls} calls a day)")).collect();
        format!("the licences of `{}`: {}", gateway.name, all.join(", "))
    };
    match licence {
        None if table.is_empty() => None,
        None => {
            if section.table.get("licence").is_none() {
                section.missing("licence", &known());
            }
            None
        }
        Some(text) if table.is_empty() => {
            let problem = Problem::at(text.place, format!("gateway `{}` has no licences", gateway.name));
            section.report.add(problem.help("remove the line; `calls_per_day` limits an account"));
            None
        }
        Some(text) => {
            let calls = table.get(text.value).copied();
            if calls.is_none() {
                let problem = Problem::at(text.place, format!("there is no licence `{}`", text.value));
                section.report.add(problem.help(known()));
            }
            calls
        }
    }
}

fn calls_per_day(section: &mut Section<'_>, allowed: Option<u64>, licence: Option<Text<'_>>) -> Option<u64> {
    let Some(own) = section.integer("calls_per_day", 1..=1_000_000_000).map(i64::unsigned_abs) else { return allowed };
    if let (Some(allowed), Some(licence)) = (allowed, licence)
        && own > allowed
        && let Some(entry) = section.table.get("calls_per_day")
    {
        let message = format!("`calls_per_day` is {own}; the licence `{}` allows {allowed}", licence.value);
        let problem = Problem::at(&entry.node.place, message);
        section.report.add(problem.help(format!("at most {allowed}, or another licence")));
    }
    Some(own)
}
