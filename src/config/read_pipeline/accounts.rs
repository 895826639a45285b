//! Who asks: `[[accounts]]`, their credentials and licences.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Secret;
use crate::base::text::nearest;
use crate::config::diagnostics::Problem;
use crate::config::document::{Entry, Table, Value};
use crate::config::gateway::{CredentialSpec, Gateway};
use crate::config::pipeline::{Account, Credential};
use crate::config::read_gateway::checked_name;
use crate::config::reader::{Section, Text, suggestion};

use super::secrets::{self, is_reference, reference, refuse_inline, resolve, trimmed, unbroken};
use super::{Details, Scope};

/// What a proxy may be asked by. `socks5` looks names up on this machine, `socks5h` lets the proxy do it.
const PROXIES: &[&str] = &["http", "https", "socks5", "socks5h"];

/// Whose accounts they are.
pub(super) struct Accounts {
    /// Those of the pipeline's gateway.
    pub listing: Vec<Account>,
    /// Those of the details' gateway.
    pub details: Vec<Account>,
}

/// Which of a pipeline's gateways an account asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Listing,
    Details,
    /// One that could not be read.
    Unknown,
}

/// `[[accounts]]`.
pub(super) fn accounts(root: &mut Section<'_>, scope: &Scope<'_>) -> Accounts {
    let given = root.table.get("accounts").is_some();
    let sections = root.sections("accounts");
    let asks = scope.gateway.as_ref().is_none_or(|gateway| !gateway.credentials.is_empty());
    if !scope.files_only && asks && (!given || root.table.get("accounts").is_some_and(is_empty)) {
        root.missing("accounts", "add `[[accounts]]` with `name` and `credentials`");
    }
    let mut seen = Seen::default();
    let mut sides = BTreeSet::new();
    let mut accounts = Accounts { listing: Vec::new(), details: Vec::new() };
    for mut section in sections {
        let side = side(&mut section, scope);
        sides.insert(side);
        let table = section.table;
        let Some(account) = account(section, scope, side) else { continue };
        seen.check(scope, table, side, &account);
        match side {
            Side::Listing => accounts.listing.push(account),
            Side::Details => accounts.details.push(account),
            Side::Unknown => {}
        }
    }
    let given = |side: Side| sides.contains(&side) || sides.contains(&Side::Unknown);
    if !scope.files_only && asks && !sides.is_empty() && !given(Side::Listing) {
        let name = scope.gateway.as_ref().map(|gateway| gateway.name.as_str());
        if let (Some(named), Some(name)) = (scope.named, name) {
            let problem = Problem::at(named.place, format!("no account asks gateway `{name}`"));
            scope.report.add(problem.help("add an `[[accounts]]` block without the line `gateway`"));
        }
    }
    let asked = |details: &&Details<'_>| !scope.files_only && details.usable && !given(Side::Details);
    if let Some(details) = scope.details.as_ref().filter(asked) {
        let name = details.gateway.as_ref().map_or(details.named.value, |gateway| &gateway.name);
        let problem = Problem::at(details.named.place, format!("no account asks gateway `{name}`"));
        scope.report.add(problem.help(format!("add `[[accounts]]` with `gateway = \"{name}\"` and its credentials")));
    }
    accounts
}

/// Which gateway an account asks: the one it names, else the pipeline's.
fn side(section: &mut Section<'_>, scope: &Scope<'_>) -> Side {
    let Some(text) = section.text("gateway") else { return Side::Listing };
    let is = |gateway: Option<&Gateway>, named: Option<&str>| {
        gateway.is_some_and(|gateway| gateway.name == text.value) || named == Some(text.value)
    };
    let details = scope.details.as_ref();
    if is(scope.gateway.as_ref(), scope.named.map(|named| named.value)) {
        return Side::Listing;
    }
    if is(details.and_then(|details| details.gateway.as_ref()), details.map(|details| details.named.value)) {
        return Side::Details;
    }
    let unread = scope.gateway.is_none() || details.is_some_and(|details| details.gateway.is_none());
    if !unread {
        let names = [scope.gateway.as_ref(), details.and_then(|details| details.gateway.as_ref())];
        let names: Vec<_> = names.into_iter().flatten().map(|gateway| gateway.name.as_str()).collect();
        let problem = Problem::at(text.place, format!("this pipeline asks no gateway `{}`", text.value));
        scope.report.add(match nearest(text.value, names.iter().copied()) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None if details.is_some() => problem.help(suggestion(text.value, names.iter().copied())),
            None => {
                problem.help(format!("add `details_gateway = \"{}\"` to `[fetch]`, or remove the line", text.value))
            }
        });
    }
    Side::Unknown
}

/// Names and keys met so far.
#[derive(Default)]
struct Seen {
    names: BTreeSet<String>,
    /// By gateway and key: the account's name.
    keys: BTreeMap<(Side, String), String>,
}

impl Seen {
    /// Reports a name or a key that an account before had.
    fn check(&mut self, scope: &Scope<'_>, table: &Table, side: Side, account: &Account) {
        if !self.names.insert(account.name.clone())
            && let Some(entry) = table.get("name")
        {
            let problem = Problem::at(&entry.node.place, format!("two accounts are called `{}`", account.name));
            scope.report.add(problem.help("give each its own name: logs and `calls` show it instead of the key"));
        }
        if account.credentials.is_empty() {
            return;
        }
        let first = self.keys.entry((side, account.key.clone())).or_insert_with(|| account.name.clone());
        if *first != account.name
            && let Some(entry) = table.get("credentials")
        {
            let problem =
                Problem::at(&entry.key_place, format!("the accounts `{first}` and `{}` have one key", account.name));
            scope.report.add(problem.help("they share one quota and gain nothing: remove one, or give it its own app"));
        }
    }
}

fn is_empty(entry: &Entry) -> bool {
    matches!(&entry.node.value, Value::List(items) if items.is_empty())
}

fn account(mut section: Section<'_>, scope: &Scope<'_>, side: Side) -> Option<Account> {
    section.require("name", "what logs and `calls` say instead of the key: `name = \"main\"`");
    let name = section.text("name").and_then(|text| checked_name(&section, text, "name"));
    let gateway = match side {
        Side::Listing => scope.gateway.as_ref(),
        Side::Details => scope.details.as_ref().and_then(|details| details.gateway.as_ref()),
        Side::Unknown => None,
    };
    let credentials = given_credentials(&mut section, scope, gateway);
    let licence = section.text("licence");
    let allowed = gateway.and_then(|gateway| licensed(&section, gateway, licence));
    let calls_per_day = calls_per_day(&mut section, allowed, licence);
    let calls_per_second = calls_per_second(&mut section, gateway, licence);
    let proxy = secrets::address(&mut section, scope, "proxy", PROXIES);
    section.finish();
    let key = ledger_key(gateway, &credentials);
    Some(Account { name: name?, credentials, key, calls_per_day, calls_per_second, proxy })
}

fn given_credentials(
    section: &mut Section<'_>,
    scope: &Scope<'_>,
    gateway: Option<&Gateway>,
) -> BTreeMap<String, Credential> {
    if let Some(entry) = section.table.get("credentials")
        && !matches!(entry.node.value, Value::Table(_))
    {
        scope.report.mask(&entry.node.place);
    }
    match (section.section("credentials"), gateway) {
        (Some(inner), Some(gateway)) => return credentials(&inner, gateway, scope),
        (Some(inner), None) => unread_credentials(&inner, scope),
        (None, Some(gateway)) => {
            if gateway.credentials.iter().any(|spec| !spec.optional) && section.table.get("credentials").is_none() {
                section.missing("credentials", &example(&gateway.credentials));
            }
        }
        (None, None) => {}
    }
    BTreeMap::new()
}

/// What can be said of credentials whose gateway could not be read: where they are.
fn unread_credentials(section: &Section<'_>, scope: &Scope<'_>) {
    mask_all(section, |_| false);
    for entry in &section.table.entries {
        if let Value::Text(value) = &entry.node.value
            && let Some(reference) = reference(value)
        {
            resolve(section, scope, Text { value, place: &entry.node.place }, reference);
        }
    }
}

/// What the quota ledger knows an account by: the first plain credential that the gateway declares (the app key); where
/// it has only secret ones, a digest of them.
fn ledger_key(gateway: Option<&Gateway>, credentials: &BTreeMap<String, Credential>) -> String {
    let declared = gateway.map(|gateway| gateway.credentials.as_slice()).unwrap_or_default();
    let plain = declared.iter().find_map(|spec| match credentials.get(&spec.name) {
        Some(Credential::Plain(value)) => Some(value.clone()),
        _ => None,
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
        if !is_reference(&entry.node.value) && !plain(&entry.key) {
            section.report.mask(&entry.node.place);
        }
    }
}

fn credentials(section: &Section<'_>, gateway: &Gateway, scope: &Scope<'_>) -> BTreeMap<String, Credential> {
    let find = |name: &str| gateway.credentials.iter().find(|spec| spec.name == name);
    // What is plain to a gateway that is guessed may be a secret to the one that is meant.
    mask_all(section, |name| !scope.guesses(gateway) && find(name).is_some_and(|spec| !spec.secret));
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
        if spec.secret && !is_reference(&entry.node.value) {
            refuse_inline(section, entry);
            continue;
        }
        let Some(text) = section.as_text(&entry.node, &entry.key) else { continue };
        let value = match reference(text.value) {
            Some(reference) => resolve(section, scope, text, reference),
            None if trimmed(text.value).is_empty() => {
                section.report.add(Problem::at(text.place, format!("`{}` is empty", spec.name)));
                None
            }
            None => unbroken(section, text, trimmed(text.value).to_owned(), &format!("`{}`", spec.name)),
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

/// The calls a second that the licence allows, or fewer.
fn calls_per_second(section: &mut Section<'_>, gateway: Option<&Gateway>, licence: Option<Text<'_>>) -> Option<f64> {
    let limits = gateway.map(|gateway| &gateway.limits);
    let licensed = limits.zip(licence).and_then(|(limits, text)| limits.calls_per_second_of.get(text.value).copied());
    let Some(own) = section.number("calls_per_second", 0.001..=10_000.0) else { return licensed };
    let of_all = limits.and_then(|limits| limits.calls_per_second);
    if let Some(gateway) = gateway
        && let Some(allowed) = licensed.or(of_all).filter(|allowed| own > *allowed)
        && let Some(entry) = section.table.get("calls_per_second")
    {
        let (whose, help) = match licence.filter(|_| licensed.is_some()) {
            Some(licence) => {
                (format!("the licence `{}`", licence.value), format!("at most {allowed}, or another licence"))
            }
            None => (
                format!("gateway `{}`", gateway.name),
                format!("at most {allowed}: what the definition states holds for every account"),
            ),
        };
        let message = format!("`calls_per_second` is {own}; {whose} allows {allowed}");
        section.report.add(Problem::at(&entry.node.place, message).help(help));
    }
    Some(own)
}
