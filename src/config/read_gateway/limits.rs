//! The part of a definition that says how much may be asked: quota, pace, sizes, prices.

use std::collections::BTreeMap;

use crate::base::money::{MONEY_SCALE, Money};
use crate::config::diagnostics::Problem;
use crate::config::document::{Entry, Value};
use crate::config::gateway::{CallPrice, Limits, Pause, QuotaBlocks, QuotaScope};
use crate::config::reader::{Section, Text};

/// S2's time-outs (WIRE §5 "Windows"), and bounds of one call for every gateway that states none.
const CONNECT_SECONDS: f64 = 8.0;
const READ_SECONDS: f64 = 20.0;
const BODY_BYTES_MAX: i64 = 32 << 20;
const ATTEMPTS_MAX: i64 = 5;
const CALLS_IN_FLIGHT: i64 = 4;
/// What `calls_per_second` may be.
const CALLS_PER_SECOND: std::ops::RangeInclusive<f64> = 0.001..=10_000.0;
const PAUSE: Pause = Pause { success: 0.0, failure: 1.0, throttle: 10.0 };

/// `[limits]`; without it the defaults above.
pub(super) fn limits(root: &mut Section<'_>) -> Limits {
    let empty = crate::config::document::Table::default();
    let mut section = root.section("limits").unwrap_or(Section::new(root.report, &empty, root.place));
    let calls_per_day = section.section("calls_per_day").map(|section| calls_per_day(&section)).unwrap_or_default();
    let scopes = [("account", QuotaScope::Account), ("endpoint", QuotaScope::Endpoint), ("shop", QuotaScope::Shop)];
    let quota_scope = section.choice("quota_scope", &scopes).unwrap_or(QuotaScope::Account);
    let quota_blocks = quota_blocks(&mut section);
    let calls_in_flight = section.integer("calls_in_flight", 1..=1000).unwrap_or(CALLS_IN_FLIGHT);
    let (calls_per_second, calls_per_second_of) = calls_per_second(&mut section, &calls_per_day);
    let pause = section.section("pause_seconds").map(pause).unwrap_or(PAUSE);
    let clock_skew = section.integer("clock_skew_seconds_max", 1..=86_400);
    let connect_seconds = section.number("connect_seconds", 0.1..=600.0).unwrap_or(CONNECT_SECONDS);
    let read_seconds = section.number("read_seconds", 0.1..=3600.0).unwrap_or(READ_SECONDS);
    let body_bytes_max = section.integer("body_bytes_max", 1024..=1 << 30).unwrap_or(BODY_BYTES_MAX);
    let attempts_max = section.integer("attempts_max", 1..=100).unwrap_or(ATTEMPTS_MAX);
    let price_per_call = section.section("price_per_call").and_then(price_per_call);
    section.finish();
    Limits {
        calls_per_day,
        quota_scope,
        quota_blocks,
        calls_in_flight: calls_in_flight as u32,
        calls_per_second,
        calls_per_second_of,
        pause,
        clock_skew_seconds_max: clock_skew.map(i64::unsigned_abs),
        connect_seconds,
        read_seconds,
        body_bytes_max: body_bytes_max.unsigned_abs(),
        attempts_max: attempts_max as u32,
        price_per_call,
    }
}

fn calls_per_day(section: &Section<'_>) -> BTreeMap<String, u64> {
    let read = |entry: &Entry| {
        let calls = section.as_integer(&entry.node, &entry.key, 1..=1_000_000_000)?;
        Some((entry.key.clone(), calls.unsigned_abs()))
    };
    section.table.entries.iter().filter_map(read).collect()
}

/// `8`, or where licences have their own `{ personal = 10, company = 8 }`: one that is not named has the least of them.
fn calls_per_second(
    section: &mut Section<'_>,
    licences: &BTreeMap<String, u64>,
) -> (Option<f64>, BTreeMap<String, f64>) {
    let given = section.table.get("calls_per_second");
    if !given.is_some_and(|given| matches!(given.node.value, Value::Table(_))) {
        return (section.number("calls_per_second", CALLS_PER_SECOND), BTreeMap::new());
    }
    let Some(inner) = section.section("calls_per_second") else { return (None, BTreeMap::new()) };
    let mut rates = BTreeMap::new();
    for entry in &inner.table.entries {
        if !licences.contains_key(&entry.key) {
            let problem = Problem::at(&entry.key_place, format!("there is no licence `{}`", entry.key));
            inner.report.add(problem.help("the licences are those of `calls_per_day`"));
        }
        if let Some(rate) = inner.as_number(&entry.node, &entry.key, CALLS_PER_SECOND) {
            rates.insert(entry.key.clone(), rate);
        }
    }
    if let Some(least) = rates.values().copied().reduce(f64::min) {
        for licence in licences.keys() {
            rates.entry(licence.clone()).or_insert(least);
        }
    }
    (None, rates)
}

/// `"midnight"` or `"24h"`.
fn quota_blocks(section: &mut Section<'_>) -> QuotaBlocks {
    let Some(text) = section.text("quota_blocks") else { return QuotaBlocks::Midnight };
    match text.value.strip_suffix('h').map(str::parse) {
        _ if text.value == "midnight" => QuotaBlocks::Midnight,
        Some(Ok(hours)) if (1..=744).contains(&hours) => QuotaBlocks::Hours(hours),
        _ => {
            let problem = Problem::at(text.place, format!("`{}` is no `quota_blocks`", text.value));
            section.report.add(problem.help("`midnight` (Beijing), or hours from the breach: `24h`"));
            QuotaBlocks::Midnight
        }
    }
}

fn pause(mut section: Section<'_>) -> Pause {
    let pause = Pause {
        success: section.number("success", 0.0..=3600.0).unwrap_or(PAUSE.success),
        failure: section.number("failure", 0.0..=3600.0).unwrap_or(PAUSE.failure),
        throttle: section.number("throttle", 0.0..=3600.0).unwrap_or(PAUSE.throttle),
    };
    section.finish();
    pause
}

/// `price_per_call = { amount = "0.01", currency = "CNY" }`.
fn price_per_call(mut section: Section<'_>) -> Option<CallPrice> {
    section.require("amount", "what one call costs, as a string: `amount = \"0.01\"`");
    section.require("currency", "of the amount: `currency = \"CNY\"`");
    let amount = section.text("amount").and_then(|text| amount(&section, text));
    let currency = section.text("currency").and_then(|text| {
        let known = text.value.len() == 3 && text.value.bytes().all(|byte| byte.is_ascii_uppercase());
        if !known {
            let problem = Problem::at(text.place, format!("`{}` is no currency", text.value));
            section.report.add(problem.help("three capital letters (ISO 4217): `CNY`"));
        }
        known.then(|| text.value.to_owned())
    });
    section.finish();
    Some(CallPrice { amount: amount?, currency: currency? })
}

/// A price that is kept exactly: a plain decimal of at most four places.
fn amount(section: &Section<'_>, text: Text<'_>) -> Option<Money> {
    let plain = text.value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let places = text.value.split_once('.').map_or(0, |(_, places)| places.len());
    let exact = plain && places <= MONEY_SCALE as usize;
    let amount = Money::parse(text.value).ok().filter(|_| exact);
    if amount.is_none() {
        let problem = Problem::at(text.place, format!("`{}` is no price", text.value));
        section.report.add(problem.help("a decimal with at most four places: `\"0.01\"`"));
    }
    amount
}
