//! The part of a definition that says how to read an answer: fields, errors, completeness.

use std::collections::BTreeMap;

use crate::base::money::parse_scaled;
use crate::config::diagnostics::Problem;
use crate::config::document::{Entry, Value};
use crate::config::gateway::{
    CodeRule, Completeness, ErrorClass, ErrorRules, FieldSource, Mapping, OFFER_FIELDS, Refuses, SKU_FIELDS, Scale,
};
use crate::config::reader::{Section, Text, suggestion};

/// Fields with one quantity at several scales.
const SCALED: &[&str] = &["repurchase_rate"];
/// Fields that may be lists of name-value records.
const NAMED: &[&str] = &["attributes", "spec"];
/// Fields that may be lists of records with one value that counts.
const VALUED: &[&str] = &["attributes", "spec", "image_urls"];

/// `[offer]` and `[sku]`.
pub(super) fn mappings(root: &mut Section<'_>) -> (Mapping, Mapping) {
    let offer = root.section("offer");
    if let Some(section) = &offer
        && section.table.get("offer_id").is_none()
    {
        section.missing("offer_id", "without an id a record is no offer: `offer_id = \"/item_id\"`");
    }
    let offer = offer.map(|section| mapping(&section, OFFER_FIELDS)).unwrap_or_default();
    let sku = root.section("sku").map(|section| mapping(&section, SKU_FIELDS)).unwrap_or_default();
    (offer, sku)
}

fn mapping(section: &Section<'_>, fields: &[&str]) -> Mapping {
    let read = |entry: &Entry| {
        if !fields.contains(&entry.key.as_str()) {
            let problem = Problem::at(&entry.key_place, format!("unknown field `{}`", entry.key));
            section.report.add(problem.help(suggestion(&entry.key, fields.iter().copied())));
            return None;
        }
        Some((entry.key.clone(), field_source(section, entry)?))
    };
    section.table.entries.iter().filter_map(read).collect()
}

/// A pointer, an array of pointers, or `{ at, as, name, value }`.
fn field_source(section: &Section<'_>, entry: &Entry) -> Option<FieldSource> {
    if !matches!(entry.node.value, Value::Table(_)) {
        let at = section.as_pointers(&section.as_texts(&entry.node, &entry.key));
        return Some(FieldSource { at, ..FieldSource::default() });
    }
    let mut inner = section.as_section(&entry.node, &entry.key)?;
    inner.require("at", "the JSON pointer of the value, or an array of them");
    let source = FieldSource {
        at: inner.pointers("at"),
        scale: if SCALED.contains(&entry.key.as_str()) {
            inner.choice("as", &[("percent", Scale::Percent), ("fraction", Scale::Fraction)])
        } else {
            None
        },
        name: if NAMED.contains(&entry.key.as_str()) { inner.pointers("name") } else { Vec::new() },
        value: if VALUED.contains(&entry.key.as_str()) { inner.pointers("value") } else { Vec::new() },
    };
    inner.finish();
    Some(source)
}

/// `[errors]`.
pub(super) fn errors(root: &mut Section<'_>) -> ErrorRules {
    let Some(mut section) = root.section("errors") else { return ErrorRules::default() };
    let rules = ErrorRules {
        code: section.pointers("code"),
        sub_code: section.pointers("sub_code"),
        message: section.pointers("message"),
        ok: section.texts("ok").iter().map(|text| text.value.to_owned()).collect(),
        success: section.pointers("success"),
        codes: section.section("codes").map(|section| codes(&section)).unwrap_or_default(),
    };
    section.finish();
    rules
}

const REFUSES: &[(&str, Refuses)] = &[("account", Refuses::Account), ("endpoint", Refuses::Endpoint)];

fn codes(section: &Section<'_>) -> BTreeMap<String, CodeRule> {
    let classes = ErrorClass::ALL.map(|class| (class.name(), class));
    let read = |entry: &Entry| {
        let mut rule = section.as_section(&entry.node, &entry.key)?;
        rule.require("class", "what to do about it: `class = \"retry\"`");
        let class = rule.choice("class", &classes);
        let hint = rule.text("hint").map(|text| text.value.to_owned());
        let wait_seconds = rule.integer("wait_seconds", 0..=86_400).map(i64::unsigned_abs);
        let refuses = rule.choice("refuses", REFUSES);
        if let (Some(_), Some(class), Some(given)) = (refuses, class, rule.table.get("refuses"))
            && class != ErrorClass::Auth
        {
            let message = format!("a code of class `{}` refuses neither account nor endpoint", class.name());
            let problem = Problem::at(&given.node.place, message);
            section.report.add(problem.help("write `class = \"auth\"`, or remove `refuses`"));
        }
        rule.finish();
        Some((entry.key.clone(), CodeRule { class: class?, hint, wait_seconds, refuses }))
    };
    section.table.entries.iter().filter_map(read).collect()
}

/// `[completeness]`; without it no check applies.
pub(super) fn completeness(root: &mut Section<'_>) -> Completeness {
    const NAMES: &[(&str, &str)] = &[("count", "count"), ("sku", "sku"), ("price", "price")];
    const TOLERANCE: i64 = 5;
    let mut completeness = Completeness {
        count: false,
        sku: false,
        price: false,
        count_tolerance: TOLERANCE.unsigned_abs(),
        sku_rate_min: 9700,
        price_rate_min: 9700,
    };
    let Some(mut section) = root.section("completeness") else { return completeness };
    section.require("checks", "which of `count`, `sku`, `price` apply: `checks = [\"count\"]`");
    let texts = section.texts("checks");
    for name in texts.iter().filter_map(|text| section.as_choice(*text, "check", NAMES)) {
        match name {
            "count" => completeness.count = true,
            "sku" => completeness.sku = true,
            _ => completeness.price = true,
        }
    }
    completeness.count_tolerance =
        section.integer("count_tolerance", 0..=1_000_000).unwrap_or(TOLERANCE).unsigned_abs();
    if let Some(text) = section.text("sku_rate_min") {
        completeness.sku_rate_min = rate(&section, text).unwrap_or(completeness.sku_rate_min);
    }
    if let Some(text) = section.text("price_rate_min") {
        completeness.price_rate_min = rate(&section, text).unwrap_or(completeness.price_rate_min);
    }
    section.finish();
    completeness
}

/// A share from `"0"` to `"1"`, in units of 10⁻⁴: a string, because it is exact.
fn rate(section: &Section<'_>, text: Text<'_>) -> Option<i64> {
    let rate = parse_scaled(text.value, 4).ok().filter(|units| (0..=10_000).contains(units));
    if rate.is_none() {
        let problem = Problem::at(text.place, format!("`{}` is no share", text.value));
        section.report.add(problem.help("from \"0\" to \"1\", at most four decimals: `\"0.97\"`"));
    }
    rate
}
