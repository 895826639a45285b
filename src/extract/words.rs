//! Faults in words, for errors, warnings and reasons; and the errors that end a run, with what to change.

use std::collections::BTreeMap;

use crate::base::{Error, Kind};
use crate::config::Gateway;
use crate::config::gateway::{Endpoint, Http};

use super::judge::Fault;
use super::record::Record;
use super::request::RequestError;
use super::retry::Spent;

/// Code and message in one line.
pub(super) fn describe(fault: &Fault) -> String {
    match &fault.code {
        Some(code) if fault.message.is_empty() => format!("`{code}`"),
        Some(code) => format!("`{code}` {}", fault.message),
        None => fault.message.clone(),
    }
}

/// … with what the user can change, where the definition says it: for a reason that is told long after.
pub(super) fn explain(fault: &Fault) -> String {
    match &fault.hint {
        Some(hint) => format!("{} ({hint})", describe(fault)),
        None => describe(fault),
    }
}

pub(super) fn gave_up(fault: &Fault, spent: Spent) -> String {
    let (what, seconds) = (describe(fault), spent.elapsed.as_secs());
    match spent.attempts {
        1 => format!("{what} (after 1 attempt)"),
        attempts => format!("{what} (after {attempts} attempts in {seconds} s)"),
    }
}

/// The parameters that the message names, with what was sent; all of them when it names none.
pub(super) fn name_parameters(message: &str, request: &BTreeMap<String, String>) -> String {
    let word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let says = |name: &str| message.split(|char| !word(char)).any(|part| part.eq_ignore_ascii_case(name));
    let named: Vec<_> = request.iter().filter(|(name, _)| says(name)).collect();
    let shown = if named.is_empty() { request.iter().collect() } else { named };
    shown.iter().map(|(name, value)| format!("`{name}={value}`")).collect::<Vec<_>>().join(", ")
}

/// The definition cannot build the call.
pub(super) fn misbuilt(gateway: &Gateway, error: &RequestError) -> Error {
    Error::config(format!("gateway `{}`: {error}", gateway.name))
}

/// The gateway does not answer: so many tries in a row failed.
pub(super) fn outage(gateway: &Gateway, fault: &Fault, failures: u32) -> Error {
    let gateway = &gateway.name;
    let what = describe(fault);
    let later = "try again later: what was answered is landed, and the next start goes on from there";
    Error::new(Kind::Unavailable, format!("gateway `{gateway}` failed {failures} times in a row: {what}"))
        .with_hint(or_else(later, fault.hint.as_deref()))
}

/// What to do, and what else if that does not help.
pub(crate) fn or_else(todo: &str, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{todo}; if that does not help: {hint}"),
        None => todo.to_owned(),
    }
}

/// The gateway refuses the account, and no other one may ask.
pub(super) fn denied(gateway: &Gateway, record: &Record, fault: &Fault) -> Error {
    let gateway = &gateway.name;
    let (account, endpoint, what) = (&record.account, &record.endpoint, describe(fault));
    let error = format!("gateway `{gateway}` refuses account `{account}` at endpoint `{endpoint}`: {what}");
    let hint = "check the account's credentials and its permissions at the gateway";
    Error::new(Kind::Denied, error).with_hint(fault.hint.as_deref().unwrap_or(hint))
}

/// The account's proxy lets nothing through: the gateway was not reached.
pub(super) fn barred(record: &Record, fault: &Fault) -> Error {
    let (account, what) = (&record.account, describe(fault));
    let error = format!("the proxy of account `{account}` refuses its user or password: {what}");
    Error::new(Kind::Denied, error).with_hint("correct `user:password@` in the account's `proxy`")
}

/// The gateway answers with a redirect, which is not followed: it would be shown the signature.
pub(super) fn redirected(gateway: &Gateway, record: &Record, fault: &Fault) -> Error {
    let (gateway, endpoint) = (&gateway.name, &record.endpoint);
    let error = Error::config(format!("gateway `{gateway}` answers endpoint `{endpoint}` with {}", fault.message));
    match &fault.hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// What to change where something else than the gateway answers.
pub(super) fn wrong_address(endpoint: &Endpoint) -> String {
    let name = &endpoint.name;
    let path = endpoint.path.as_ref().map(|path| format!("`path` (`{path}`) or ")).unwrap_or_default();
    let http = match endpoint.http {
        Http::Get => "get",
        Http::Post => "post",
    };
    let places = format!("`url`, or {path}`http` (`{http}`) of endpoint `{name}` in the definition");
    format!("what answered is hardly the gateway: correct {places}")
}

/// What is to be done about an answer in a coding.
pub(super) const PLAIN_ANSWERS: &str = "calls ask for answers without one (`Accept-Encoding: identity`): let the gateway, or what stands before it, heed that";

/// Something else than the gateway answers, again and again; or the gateway in a coding that it was not asked for.
pub(super) fn elsewhere(gateway: &Gateway, record: &Record, fault: &Fault) -> Error {
    let (gateway, endpoint, what) = (&gateway.name, &record.endpoint, describe(fault));
    let status = record.http_status.map(|status| format!("HTTP {status}: ")).unwrap_or_default();
    let what = what.strip_prefix(&status).unwrap_or(&what);
    let error = match record.coding() {
        Some(_) => {
            format!("gateway `{gateway}` answers endpoint `{endpoint}` so that nobody can read it: {status}{what}")
        }
        None => format!("gateway `{gateway}` is not where endpoint `{endpoint}` was asked: {status}{what}"),
    };
    let error = Error::config(error);
    fault.hint.iter().fold(error, |error, hint| error.with_hint(hint))
}

/// The gateway refuses a parameter; says what was sent of those it names.
pub(super) fn refused_parameter(gateway: &Gateway, record: &Record, fault: &Fault) -> Error {
    let gateway = &gateway.name;
    let (endpoint, what) = (&record.endpoint, describe(fault));
    let sent = name_parameters(&fault.message, &record.request);
    let error = format!("gateway `{gateway}` refuses a parameter of endpoint `{endpoint}`: {what}");
    let hint = match &fault.hint {
        Some(hint) => format!("{hint} (sent: {sent})"),
        None => format!("sent: {sent}"),
    };
    Error::config(error).with_hint(hint)
}
