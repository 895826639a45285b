//! Reading what paging and judging need from a good answer: the records of a list, totals, ids.
//!
//! Takes a parsed answer and the definition's pointers; copies nothing but ids.
//!
//! Invariant: "no records" and "no list" are different findings (WIRE §5: never an empty page by mistake).

use xxhash_rust::xxh3::xxh3_64;

use crate::base::json::{Kind, Raw};
use crate::config::Pointer;
use crate::config::gateway::{Endpoint, Mapping};

/// What stands where a list should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List<'a> {
    /// A value that holds at least one record: read it with [`records`].
    Records(Raw<'a>),
    /// An empty list, or what PHP-type services write for one, at the pointer or above it.
    Empty,
    /// Nothing that tells a list.
    Missing,
}

/// Finds an endpoint's list, at the first pointer that is there.
#[must_use]
pub fn list<'a>(endpoint: &Endpoint, answer: Raw<'a>) -> List<'a> {
    let mut found = List::Missing;
    for pointer in &endpoint.list {
        match answer.get(pointer.parts()) {
            // The whole answer is the list only where it is one: an envelope is no record.
            Some(value) if pointer.parts().is_empty() && value.kind() != Kind::Array => {}
            Some(value) if value.is_empty_value() => return List::Empty,
            Some(value) if matches!(value.kind(), Kind::Array | Kind::Object) => return List::Records(value),
            // Words where the list should stand are no list, and above all no empty one.
            Some(_) => {}
            None if empty_above(pointer, answer) => found = List::Empty,
            None => {}
        }
    }
    found
}

/// The value at the first of these pointers that is there and not empty.
#[must_use]
pub fn first<'a>(pointers: &[Pointer], value: Raw<'a>) -> Option<Raw<'a>> {
    pointers.iter().filter_map(|pointer| value.get(pointer.parts())).find(|value| !value.is_empty_value())
}

/// The records in a list's value: of an array its elements (of an array of pages theirs); a lone object is the one
/// record, or the wrapper that XML puts around repeated elements.
pub fn records(value: Raw<'_>) -> impl Iterator<Item = Raw<'_>> {
    let value = unwrap(value);
    let lone = (value.kind() == Kind::Object && !value.is_empty_value()).then_some(value);
    let elements = value.elements().flat_map(|element| {
        let page = (element.kind() == Kind::Array).then(|| element.elements()).into_iter().flatten();
        page.chain((element.kind() != Kind::Array).then_some(element))
    });
    lone.into_iter().chain(elements)
}

/// How many records there are in all, as the answer states it: a number, or a number in a string.
#[must_use]
pub fn total(endpoint: &Endpoint, answer: Raw<'_>) -> Option<u64> {
    endpoint.total.iter().find_map(|pointer| answer.get(pointer.parts())?.text()?.trim().parse().ok())
}

/// A key of a record that is the same wherever the record appears: of its id, else of its bytes.
#[must_use]
pub fn key(offer: &Mapping, record: Raw<'_>) -> u64 {
    let id = offer.get("offer_id").and_then(|source| first(&source.at, record)).and_then(Raw::text);
    id.map_or_else(|| xxh3_64(record.bytes()), |id| xxh3_64(id.trim().as_bytes()))
}

/// The offer's id, when it is a positive integer.
#[must_use]
pub fn offer_id(offer: &Mapping, record: Raw<'_>) -> Option<i64> {
    integer(first(&offer.get("offer_id")?.at, record)?)
}

/// The SKU ids an offer names: `"1,2,3"`, a list of ids, or a list of SKU records.
#[must_use]
pub fn sku_ids(offer: &Mapping, record: Raw<'_>) -> Vec<i64> {
    let Some(value) = offer.get("sku_ids").and_then(|source| first(&source.at, record)) else { return Vec::new() };
    let mut ids: Vec<i64> = match value.kind() {
        Kind::Array => value.elements().filter_map(integer).collect(),
        _ => {
            let text = value.text().unwrap_or_default();
            let parts = text.split([',', ';', '，', '；', '|', ' ']);
            parts.filter_map(|part| part.trim().parse().ok()).filter(|id| *id > 0).collect()
        }
    };
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(*id));
    ids
}

fn integer(value: Raw<'_>) -> Option<i64> {
    value.text()?.trim().parse().ok().filter(|id| *id > 0)
}

/// Whether something on the way to the pointer is empty: `{"items":""}` for `/items/item`. The document itself
/// does not count: an empty answer says nothing.
fn empty_above(pointer: &Pointer, answer: Raw<'_>) -> bool {
    let parts = pointer.parts();
    (1..parts.len()).any(|depth| answer.get(&parts[..depth]).is_some_and(Raw::is_empty_value))
}

/// `{"skuInfo":[…]}` where a list is expected is a wrapper element: gives what it wraps, anything else as it is.
#[must_use]
pub fn unwrap(value: Raw<'_>) -> Raw<'_> {
    let mut entries = value.entries();
    match (entries.next(), entries.next()) {
        (Some((_, inner)), None) if matches!(inner.kind(), Kind::Array | Kind::Object) => inner,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::parse;
    use crate::config::gateway::FieldSource;
    use crate::extract::testing;

    fn endpoint() -> Endpoint {
        Endpoint {
            list: vec![Pointer::parse("/r/items/item").unwrap()],
            total: vec![Pointer::parse("/r/total").unwrap()],
            ..testing::endpoint("listing")
        }
    }

    fn check_list(answer: &str, expected: Option<usize>) {
        let found = match list(&endpoint(), parse(answer.as_bytes()).unwrap()) {
            List::Records(value) => Some(records(value).count()),
            List::Empty => Some(0),
            List::Missing => None,
        };
        assert_eq!(found, expected, "{answer}");
    }

    #[test]
    fn lists_come_in_every_shape_and_emptiness_is_told_from_absence() {
        check_list(r#"{"r":{"items":{"item":[{"a":1,"b":2},{"a":3,"b":4}]}}}"#, Some(2));
        check_list(r#"{"r":{"items":{"item":{"a":1,"b":2}}}}"#, Some(1));
        check_list(r#"{"r":{"items":{"item":[[{"a":1}],[{"a":2},{"a":3}]]}}}"#, Some(3));
        check_list(r#"{"r":{"items":{"item":{"x":[{"a":1},{"a":2}]}}}}"#, Some(2));
        check_list(r#"{"r":{"items":{"item":[]}}}"#, Some(0));
        check_list(r#"{"r":{"items":""}}"#, Some(0));
        check_list(r#"{"r":{"items":{}}}"#, Some(0));
        check_list(r#"{"r":null}"#, Some(0));
        check_list(r#"{"r":{"total":3}}"#, None);
        check_list(r#"{}"#, None);
        check_list(r#"{"r":{"items":{"item":"busy"}}}"#, None);
        check_list(r#"{"r":{"items":{"item":0}}}"#, None);
    }

    #[test]
    fn totals_are_numbers_or_strings() {
        let total_of = |text: &str| total(&endpoint(), parse(text.as_bytes()).unwrap());
        assert_eq!(total_of(r#"{"r":{"total":"41"}}"#), Some(41));
        assert_eq!(total_of(r#"{"r":{"total":0}}"#), Some(0));
        assert_eq!(total_of(r#"{"r":{"total":"many"}}"#), None);
        assert_eq!(total_of(r#"{"r":{"total":-1}}"#), None);
    }

    #[test]
    fn sku_ids_are_read_from_texts_and_lists() {
        let mapping: Mapping =
            [("sku_ids".to_owned(), FieldSource { at: vec![Pointer::parse("/s").unwrap()], ..FieldSource::default() })]
                .into();
        let ids = |text: &str| sku_ids(&mapping, parse(text.as_bytes()).unwrap());
        assert_eq!(ids(r#"{"s":"1,2, 3,2"}"#), [1, 2, 3]);
        assert_eq!(ids(r#"{"s":[1,"2"]}"#), [1, 2]);
        assert_eq!(ids(r#"{"s":7}"#), [7]);
        assert_eq!(ids(r#"{"s":""}"#), Vec::<i64>::new());
        assert_eq!(ids(r#"{"s":"x,0,-4"}"#), Vec::<i64>::new());
    }
}
