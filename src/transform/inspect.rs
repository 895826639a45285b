//! What huopan makes of one answer, field by field: for `explain` and for people who write a gateway definition.
//!
//! Takes the same definition and the same functions as a run; nothing is decided here a second time.

use crate::base::json::Raw;
use crate::config::Gateway;
use crate::config::gateway::Endpoint;
use crate::config::pipeline::Units;
use crate::extract::judge::{Fault, Judge, Judgement};
use crate::extract::{Attempt, body};

use super::decode::{Finder, Records, Scratch, records};
use super::explain::{Step, explain};
use super::fields::OfferField;
use super::id;
use super::normalise::{Input, Rules, SkuSource};

/// What an answer is.
#[derive(Debug, Clone, PartialEq)]
pub enum Inspection {
    /// An error of the gateway.
    Fault(Fault),
    /// Nothing stands where the definition looks for records.
    NoRecords,
    /// An empty list.
    Empty,
    /// These records.
    Records(Vec<Inspected>),
}

/// What a record becomes.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    /// The offer's id, where it can be read.
    pub offer_id: Option<i64>,
    /// Column by column.
    pub lines: Vec<Line>,
}

/// One column of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The table's column.
    pub column: String,
    /// The canonical field it comes from.
    pub field: Option<&'static str>,
    /// The JSON pointer in the record where the bytes stand.
    pub pointer: Option<String>,
    /// The bytes.
    pub bytes: Option<String>,
    /// The rule.
    pub rule: String,
    /// The value.
    pub value: String,
}

/// Inspects an answer; of a list only the record of `offer_id`, where one is asked for.
#[must_use]
pub fn inspect(
    gateway: &Gateway,
    endpoint: &Endpoint,
    units: &Units,
    attempt: &Attempt,
    offer_id: Option<i64>,
) -> Inspection {
    let converted = body::to_json(&attempt.body, attempt.record.content_type.as_deref());
    let parsed = converted.as_ref().map_err(Clone::clone).and_then(|json| body::parse(json));
    let judgement = Judge::new(gateway).judge(endpoint, &attempt.record, parsed.as_ref().copied());
    let raw = match (judgement, parsed) {
        (Judgement::Fault(fault), _) => return Inspection::Fault(fault),
        (Judgement::Good, Ok(raw)) => raw,
        (Judgement::Good, Err(_)) => return Inspection::NoRecords,
    };
    let found = match records(endpoint, raw) {
        Records::Missing => return Inspection::NoRecords,
        Records::Empty => return Inspection::Empty,
        Records::Some(found) => found,
    };
    let (finder, rules) = (Finder::new(gateway), Rules::new(gateway, units));
    let mut inspected = Vec::new();
    for record in found {
        let mut scratch = Scratch::default();
        let fields = finder.offer(record, &mut scratch);
        let id = fields.get(OfferField::OfferId).and_then(id::read);
        if offer_id.is_some() && id != offer_id {
            continue;
        }
        let input = Input {
            offer: &fields,
            skus: &scratch.skus,
            shop_id: attempt.record.shop_id.as_deref(),
            sku_source: if gateway.offer.contains_key("skus") { SkuSource::Nested } else { SkuSource::NotAsked },
            kept: &[],
            kept_counts: true,
        };
        let lines = explain(&input, &rules).into_iter().map(|step| line(gateway, record, step)).collect();
        inspected.push(Inspected { offer_id: id, lines });
    }
    Inspection::Records(inspected)
}

fn line(gateway: &Gateway, record: Raw<'_>, step: Step<'_>) -> Line {
    let field = step.field.map(OfferField::name);
    let source = field.and_then(|name| gateway.offer.get(name));
    let pointer = source.into_iter().flat_map(|source| &source.at).find(|pointer| {
        let value = record.get(pointer.parts()).filter(|value| !value.is_empty_value());
        value.is_some() && value == step.bytes
    });
    Line {
        column: step.column.to_owned(),
        field,
        pointer: pointer.map(ToString::to_string),
        bytes: step.bytes.map(|raw| raw.json().to_owned()),
        rule: step.rule.to_owned(),
        value: step.value,
    }
}
