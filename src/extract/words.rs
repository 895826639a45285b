//! Faults in words, for errors, warnings and reasons.

use std::collections::BTreeMap;

use super::judge::Fault;
use super::retry::Spent;

/// Code and message in one line.
pub(super) fn describe(fault: &Fault) -> String {
    match &fault.code {
        Some(code) if fault.message.is_empty() => format!("`{code}`"),
        Some(code) => format!("`{code}` {}", fault.message),
        None => fault.message.clone(),
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
