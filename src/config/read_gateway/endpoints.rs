//! The part of a definition that says what can be asked: endpoints with their pages, windows and lifetimes.

use std::collections::BTreeMap;

use crate::base::text::nearest;
use crate::config::diagnostics::Problem;
use crate::config::document::Entry;
use crate::config::gateway::{ENDPOINTS, Endpoint, Http, OFFER_FIELDS, Paging, TOKEN, Window};
use crate::config::reader::{Section, suggestion};

use super::requests::{self, Places};

/// How far an incremental listing reaches back behind the watermark, where a window does not say.
const OVERLAP_MINUTES: i64 = 10;

/// `[endpoints.…]`.
pub(super) fn endpoints(root: &mut Section<'_>, http: Http, places: &Places<'_>) -> BTreeMap<String, Endpoint> {
    let Some(section) = root.section("endpoints") else { return BTreeMap::new() };
    let read = |entry: &Entry| {
        if !ENDPOINTS.contains(&entry.key.as_str()) && nearest(&entry.key, ENDPOINTS.iter().copied()).is_some() {
            let problem = Problem::at(&entry.key_place, format!("unknown endpoint `{}`", entry.key));
            section.report.add(problem.help(suggestion(&entry.key, ENDPOINTS.iter().copied())));
        }
        if entry.key == TOKEN {
            let problem = Problem::at(&entry.key_place, "access tokens have a section of their own");
            section.report.add(problem.help("write `[token]`, or call the endpoint something else"));
        }
        let endpoint = section.as_section(&entry.node, &entry.key)?;
        Some((entry.key.clone(), one_endpoint(endpoint, &entry.key, http, places)))
    };
    section.table.entries.iter().filter_map(read).collect()
}

fn one_endpoint(mut section: Section<'_>, name: &str, http: Http, places: &Places<'_>) -> Endpoint {
    let several = section.table.get("batch").is_some();
    for key in needs(name, several) {
        section.require(key, &format!("endpoint `{name}` needs it: the JSON pointer in its answer"));
    }
    let endpoint = Endpoint {
        name: name.to_owned(),
        path: requests::path(&mut section, places),
        http: section.choice("http", super::HTTP).unwrap_or(http),
        params: requests::params(&mut section, places),
        fields: section.texts("fields").iter().map(|text| text.value.to_owned()).collect(),
        one: section.pointers("one"),
        list: section.pointers("list"),
        total: section.pointers("total"),
        id: section.pointers("id"),
        shop_id: section.pointers("shop_id"),
        page: section.section("page").and_then(paging),
        window: section.section("window").and_then(|section| window(section, places)),
        category: section.text("category").map(|text| text.value.to_owned()),
        batch: section.integer("batch", 1..=1000).map(|batch| batch as u32),
        cache_seconds: cache_seconds(&mut section),
    };
    check_batch(&section, &endpoint, several);
    check_window(&section, &endpoint);
    section.finish();
    endpoint
}

/// The pointers without which an endpoint's answer says nothing.
fn needs(endpoint: &str, several: bool) -> &'static [&'static str] {
    match endpoint {
        _ if several => &["list"],
        "shop" => &["one", "shop_id"],
        "count" => &["total"],
        "categories" => &["list", "id"],
        "listing" | "off_sale" => &["list"],
        "item" | "sku" => &["one"],
        _ => &[],
    }
}

/// `cache_hours` or `cache_minutes`.
fn cache_seconds(section: &mut Section<'_>) -> Option<u64> {
    let hours = section.integer("cache_hours", 0..=8760).map(|hours| hours.unsigned_abs() * 3600);
    let minutes = section.integer("cache_minutes", 0..=525_600).map(|minutes| minutes.unsigned_abs() * 60);
    if let (Some(_), Some(entry)) = (section.table.get("cache_hours"), section.table.get("cache_minutes")) {
        let problem = Problem::at(&entry.key_place, "the lifetime is stated twice");
        section.report.add(problem.help("`cache_hours` or `cache_minutes`: remove one"));
    }
    hours.or(minutes)
}

/// A call for several offers names them all, and only such a call does.
fn check_batch(section: &Section<'_>, endpoint: &Endpoint, several: bool) {
    let place = |key| section.table.get(key).map_or(section.place, |entry| &entry.key_place);
    if several && !endpoint.asks_for("offer_ids") {
        let problem = Problem::at(place("batch"), "no parameter says which offers a call for several asks about");
        section.report.add(problem.help("put `{offer_ids}` into `params`: their ids, joined by commas"));
    } else if several && endpoint.asks_for("offer_id") {
        let problem = Problem::at(place("params"), "`{offer_id}` stands for one offer, `batch` asks about several");
        section.report.add(problem.help("write `{offer_ids}`: their ids, joined by commas"));
    } else if !several && endpoint.asks_for("offer_ids") {
        let problem = Problem::at(place("params"), "`{offer_ids}` stands for several offers");
        section.report.add(problem.help("say how many a call may ask about: `batch = 20`; or write `{offer_id}`"));
    }
}

/// A parameter is not sent twice because a window brings it too.
fn check_window(section: &Section<'_>, endpoint: &Endpoint) {
    let Some(window) = &endpoint.window else { return };
    let own = |name: &str| endpoint.params.iter().any(|(own, _)| own == name);
    for (name, _) in window.params.iter().filter(|(name, _)| own(name) && !window.drop.contains(name)) {
        let place = section.table.get("window").map_or(section.place, |entry| &entry.node.place);
        let problem = Problem::at(place, format!("`{name}` is sent twice with a window"));
        section.report.add(problem.help(format!("`drop = [\"{name}\"]`: the window's value then takes its place")));
    }
}

fn paging(mut section: Section<'_>) -> Option<Paging> {
    section.require("size_max", "the greatest page size the gateway takes");
    let number = section.text("number").map(|text| text.value.to_owned()).unwrap_or_default();
    let first = section.integer("first", 0..=1).unwrap_or(1) as u32;
    let last = section.integer("last", 1..=1_000_000).map(|last| last as u32);
    let size = section.text("size").map(|text| text.value.to_owned());
    let size_max = section.integer("size_max", 1..=10_000).map(|size| size as u32);
    section.finish();
    Some(Paging { number, first, last, size, size_max: size_max? })
}

fn window(mut section: Section<'_>, places: &Places<'_>) -> Option<Window> {
    section.require("start", "the parameter with the start of the span");
    section.require("field", "the field of `[offer]` it speaks of, `modified_at` for example");
    let start = section.text("start").map(|text| text.value.to_owned());
    let end = section.text("end").map(|text| text.value.to_owned());
    let time = section.text("time").map(|text| requests::time_format(&section, text));
    let fields: Vec<_> = OFFER_FIELDS.iter().map(|field| (*field, *field)).collect();
    let field = section.choice("field", &fields);
    let drop = section.texts("drop").iter().map(|text| text.value.to_owned()).collect();
    let params = requests::params(&mut section, places);
    let overlap = section.integer("overlap_minutes", 0..=10_080).unwrap_or(OVERLAP_MINUTES);
    section.finish();
    let overlap_seconds = overlap.unsigned_abs() * 60;
    Some(Window { start: start?, end, time, field: field?.to_owned(), drop, params, overlap_seconds })
}
