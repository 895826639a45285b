//! Decode: the bytes of one response → the records in it, as slices of their canonical fields.
//!
//! Takes a gateway definition, compiled once; gives for each answer the records it holds, without copying.
//!
//! Invariant: every record of an answer is handed on, also one that is no object.

use std::ops::Range;

use crate::base::json::{Kind, Pointers, Raw};
use crate::config::Gateway;
use crate::config::gateway::{Endpoint, FieldSource, Mapping, OFFER_FIELDS, SKU_FIELDS};
use crate::extract::answer::{self, List};

use super::fields::{OfferField, OfferFields, SkuFields};

/// Finds records and their fields in a gateway's answers.
#[derive(Debug)]
pub struct Finder {
    offer: Plan,
    sku: Plan,
}

/// All pointers of a mapping, looked up in one pass over a record.
#[derive(Debug)]
struct Plan {
    pointers: Pointers,
    /// By field: which slots its pointers fill.
    slots: Vec<Range<usize>>,
}

/// Room for one record's look-ups, reused from record to record.
#[derive(Debug, Default)]
pub struct Scratch<'a> {
    found: Vec<Option<Raw<'a>>>,
    /// The SKUs nested in the record looked at last.
    pub skus: Vec<SkuFields<'a>>,
}

impl Plan {
    fn new(mapping: &Mapping, names: &[&str]) -> Self {
        let empty = FieldSource::default();
        let sources: Vec<&FieldSource> = names.iter().map(|name| mapping.get(*name).unwrap_or(&empty)).collect();
        let mut start = 0;
        let slots = sources.iter().map(|source| {
            let slots = start..start + source.at.len();
            start = slots.end;
            slots
        });
        let slots = slots.collect();
        let pointers = Pointers::new(sources.iter().flat_map(|source| &source.at).map(|pointer| pointer.parts()));
        Self { pointers, slots }
    }

    /// Per field the first value that is not empty.
    fn find<'a, const N: usize>(&self, record: Raw<'a>, found: &mut Vec<Option<Raw<'a>>>) -> [Option<Raw<'a>>; N] {
        found.resize(self.pointers.len(), None);
        self.pointers.capture(record, found);
        std::array::from_fn(|field| {
            let slots = self.slots.get(field).cloned().unwrap_or_default();
            found[slots].iter().flatten().find(|value| !value.is_empty_value()).copied()
        })
    }
}

impl Finder {
    /// Compiles a definition's mappings.
    #[must_use]
    pub fn new(gateway: &Gateway) -> Self {
        Self { offer: Plan::new(&gateway.offer, OFFER_FIELDS), sku: Plan::new(&gateway.sku, SKU_FIELDS) }
    }

    /// The fields of an offer's record; its nested SKUs are in `scratch.skus` after it.
    pub fn offer<'a>(&self, record: Raw<'a>, scratch: &mut Scratch<'a>) -> OfferFields<'a> {
        let fields = OfferFields(self.offer.find(record, &mut scratch.found));
        scratch.skus.clear();
        if let Some(nested) = fields.get(OfferField::Skus) {
            for sku in nested_records(nested) {
                let fields = SkuFields(self.sku.find(sku, &mut scratch.found));
                scratch.skus.push(fields);
            }
        }
        fields
    }

    /// The fields of a SKU's own answer.
    pub fn sku<'a>(&self, record: Raw<'a>, scratch: &mut Scratch<'a>) -> SkuFields<'a> {
        SkuFields(self.sku.find(record, &mut scratch.found))
    }
}

/// The records of an answer.
#[derive(Debug, Clone)]
pub enum Records<'a> {
    /// These.
    Some(Vec<Raw<'a>>),
    /// The answer says that there are none.
    Empty,
    /// None of the endpoint's pointers leads anywhere.
    Missing,
}

/// Finds the records of `endpoint` in an answer, as the extraction that paged through it did.
#[must_use]
pub fn records<'a>(endpoint: &Endpoint, answer: Raw<'a>) -> Records<'a> {
    match answer::list(endpoint, answer) {
        List::Records(value) => return Records::Some(answer::records(value).collect()),
        List::Empty => return Records::Empty,
        List::Missing => {}
    }
    match answer::first(&endpoint.one, answer) {
        Some(value) => Records::Some(answer::records(value).collect()),
        None => Records::Missing,
    }
}

/// The SKU records in a list, in a single record, in a map from spec to record, or in a wrapper around any of these.
fn nested_records(value: Raw<'_>) -> Vec<Raw<'_>> {
    match value.kind() {
        Kind::Array => value.elements().filter(|element| element.kind() == Kind::Object).collect(),
        Kind::Object => {
            let values: Vec<Raw<'_>> = value.entries().map(|(_, value)| value).collect();
            match values.as_slice() {
                [only] if matches!(only.kind(), Kind::Array) => nested_records(*only),
                values if !values.is_empty() && values.iter().all(|value| value.kind() == Kind::Object) => {
                    values.to_vec()
                }
                _ => vec![value],
            }
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json;
    use crate::config::load_gateway;
    use crate::transform::fields::SkuField;

    /// The ids and prices of the SKUs in `{"skus": …}`.
    fn check(skus: &str, expected: &[(&str, &str)]) {
        let gateway = load_gateway("onebound", std::path::Path::new(".")).unwrap();
        let text = format!(r#"{{"num_iid":1,"skus":{skus}}}"#);
        let mut scratch = Scratch::default();
        Finder::new(&gateway).offer(json::parse(text.as_bytes()).unwrap(), &mut scratch);
        let found: Vec<(String, String)> = scratch
            .skus
            .iter()
            .map(|sku| {
                let text = |field| sku.get(field).and_then(Raw::text).unwrap_or_default().into_owned();
                (text(SkuField::SkuId), text(SkuField::Price))
            })
            .collect();
        let found: Vec<(&str, &str)> = found.iter().map(|(id, price)| (id.as_str(), price.as_str())).collect();
        assert_eq!(found, expected, "{skus}");
    }

    #[test]
    fn skus_stand_in_lists_in_maps_from_spec_to_record_in_wrappers_or_alone() {
        check(r#"{"sku":[{"sku_id":1,"price":2},{"sku_id":3,"price":4}]}"#, &[("1", "2"), ("3", "4")]);
        check(r#"{"sku":{"sku_id":1,"price":2}}"#, &[("1", "2")]);
        check(r#"{"sku":{"红":{"sku_id":1,"price":2},"蓝":{"sku_id":3,"price":4}}}"#, &[("1", "2"), ("3", "4")]);
        check(r#"{"sku":[]}"#, &[]);
        check(r#"{"sku":""}"#, &[]);
        check(r#"{"sku":[null,7]}"#, &[]);
    }

    #[test]
    fn the_first_pointer_whose_value_is_not_empty_counts() {
        let gateway = load_gateway("tmapi", std::path::Path::new(".")).unwrap();
        let title = &gateway.offer["title"];
        assert!(title.at.len() > 1, "the definition has a fallback for the title");
        let mut scratch = Scratch::default();
        let finder = Finder::new(&gateway);
        let raw = json::parse(r#"{"title_origin":"","title":"保温杯"}"#.as_bytes()).unwrap();
        let found = finder.offer(raw, &mut scratch).get(OfferField::Title).unwrap();
        assert_eq!(found.text().unwrap(), "保温杯");
    }

    #[test]
    fn an_answer_without_a_list_is_not_an_empty_list_and_its_envelope_is_no_record() {
        let gateway = load_gateway("tmapi", std::path::Path::new(".")).unwrap();
        let listing = &gateway.endpoints["listing"];
        let count = |text: &str| match records(listing, json::parse(text.as_bytes()).unwrap()) {
            Records::Some(records) => i32::try_from(records.len()).unwrap(),
            Records::Empty => 0,
            Records::Missing => -1,
        };
        assert_eq!(count(r#"{"code":200,"data":{"items":[{"item_id":1},{"item_id":2}]}}"#), 2);
        assert_eq!(count(r#"{"code":200,"data":{"items":[]}}"#), 0);
        assert_eq!(count(r#"{"code":200,"msg":"ok"}"#), -1);
        assert_eq!(count(r#"[{"item_id":1}]"#), 1);
        assert_eq!(count(r#"[[{"item_id":1}],[{"item_id":2},{"item_id":3}]]"#), 3);
    }
}
