//! What to fetch: `[fetch]`, with the gateway that gives details and the options of both.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use crate::config::diagnostics::Problem;
use crate::config::document::{Entry, Value};
use crate::config::gateway::{Answer, Gateway, OptionSpec};
use crate::config::pipeline::{Fetch, FetchDetails, FetchListing};
use crate::config::read_gateway;
use crate::config::reader::{Section, Text, suggestion};

use super::{Details, Scope};

/// Every shop is listed whole this often where a pipeline does not say (WIRE §5 "Rows").
pub(super) const FULL_DAYS: i64 = 7;
/// What a pipeline may say.
pub(super) const FULL_DAYS_RANGE: RangeInclusive<i64> = 1..=365;

const LISTING: &[(&str, FetchListing)] = &[("all", FetchListing::All), ("changed", FetchListing::Changed)];

const DETAILS: &[(&str, FetchDetails)] = &[
    ("off", FetchDetails::Off),
    ("missing", FetchDetails::Missing),
    ("changed", FetchDetails::Changed),
    ("all", FetchDetails::All),
];

/// `details_gateway` and `details_url` of `[fetch]`: read before anything is checked against them.
pub(super) fn details<'a>(root: &Section<'a>, scope: &Scope<'a>, shown_folder: &Path) -> Option<Details<'a>> {
    let node = &root.table.get("fetch")?.node;
    let Value::Table(table) = &node.value else { return None };
    let mut section = Section::new(root.report, table, &node.place);
    let (named, url) = (section.text("details_gateway"), section.text("details_url"));
    let checked = url.map(|url| read_gateway::base_address(&section, url)).filter(|url| !url.is_empty());
    let Some(named) = named else {
        if let Some(entry) = section.table.get("details_url").filter(|_| section.table.get("details_gateway").is_none())
        {
            let problem = Problem::at(&entry.key_place, "`details_url` is the address of no gateway");
            scope
                .report
                .add(problem.help("add `details_gateway`, or remove the line: `url` is the pipeline's gateway's"));
        }
        return None;
    };
    let read = read_gateway::read(scope.report, named, shown_folder);
    let canonical = read.as_ref().map(|read| super::canonical(&read.document)).unwrap_or_default();
    let is_guess = read.as_ref().is_some_and(|read| read.is_guess);
    let mut gateway = read.and_then(|read| read.gateway);
    let before = scope.report.count();
    if let Some(gateway) = &mut gateway {
        super::put_address(gateway, checked);
        check_details(scope, gateway, named, url.is_some());
    }
    let usable = scope.report.count() == before;
    Some(Details { named, gateway, is_guess, usable, canonical })
}

fn check_details(scope: &Scope<'_>, gateway: &Gateway, named: Text<'_>, has_url: bool) {
    let name = &gateway.name;
    let bad = |message: String, help: &str| scope.report.add(Problem::at(named.place, message).help(help));
    if gateway.credentials.is_empty() && gateway.params.is_empty() && gateway.url.is_empty() {
        bad(
            format!("gateway `{name}` reads files and asks nobody"),
            "name one that has an endpoint `item`: `item-get`",
        );
    } else if !gateway.endpoints.contains_key("item") {
        bad(
            format!("gateway `{name}` cannot look up single offers"),
            "name one that has an endpoint `item`: `item-get`",
        );
    } else if scope.gateway.as_ref().is_some_and(|own| own.name == *name) {
        bad(
            format!("`{name}` is the pipeline's gateway already"),
            "remove the line: its endpoint `item` is asked anyway",
        );
    } else if gateway.url.is_empty() && !has_url && !scope.files_only {
        bad(
            format!("gateway `{name}` has no address of its own"),
            "add the one you were given: `details_url = \"https://…\"`",
        );
    }
}

/// `[fetch]`.
pub(super) fn fetch(root: &mut Section<'_>, scope: &Scope<'_>) -> Option<Fetch> {
    let gateway = scope.gateway.as_ref();
    let answer = gateway.and_then(|gateway| gateway.answer.first().copied()).unwrap_or(Answer::Json);
    let mut fetch = Fetch {
        listing: FetchListing::All,
        full_days: FULL_DAYS as u32,
        skus: FetchDetails::Off,
        details: FetchDetails::Off,
        options: BTreeMap::new(),
        cache: true,
        answer,
    };
    let Some(mut section) = root.section("fetch") else { return Some(fetch) };
    if let Some(text) = section.text("listing") {
        fetch.listing = section.as_choice(text, "listing", LISTING).unwrap_or(fetch.listing);
        if let (FetchListing::Changed, Some(gateway)) = (fetch.listing, gateway) {
            check_changed(&section, gateway, text);
        }
    }
    fetch.full_days = section.integer("full_days", FULL_DAYS_RANGE).unwrap_or(FULL_DAYS) as u32;
    fetch.skus = skus(&mut section, scope);
    fetch.details = details_mode(&mut section, scope);
    // Read and checked by `details` above.
    section.entry("details_gateway");
    section.entry("details_url");
    fetch.cache = section.flag("cache").unwrap_or(true);
    fetch.options = section.section("options").map(|section| options(&section, scope)).unwrap_or_default();
    fetch.answer = answer_format(&mut section, gateway).unwrap_or(answer);
    section.finish();
    Some(fetch)
}

/// A listing of what changed needs a window on the time of change, and a number to compare the sum with.
fn check_changed(section: &Section<'_>, gateway: &Gateway, text: Text<'_>) {
    let name = &gateway.name;
    let bad = |message: String, help: &str| section.report.add(Problem::at(text.place, message).help(help));
    let Some(listing) = gateway.endpoints.get("listing") else {
        return bad(format!("gateway `{name}` cannot list shops"), "remove the line");
    };
    if listing.window.as_ref().is_none_or(|window| window.field != "modified_at") {
        let help =
            "`all`; `changed` needs a `window` with `field = \"modified_at\"` in the gateway's endpoint `listing`";
        bad(format!("gateway `{name}` cannot list what changed"), help);
    } else if listing.total.is_empty() && !gateway.endpoints.contains_key("count") {
        let help = "`all`; `changed` needs an endpoint `count`, or `total` in endpoint `listing`, to prove that nothing is lost";
        bad(format!("gateway `{name}` does not tell how many offers a shop has"), help);
    }
}

fn skus(section: &mut Section<'_>, scope: &Scope<'_>) -> FetchDetails {
    let Some(text) = section.text("skus") else { return FetchDetails::Off };
    let skus = section.as_choice(text, "skus", DETAILS).unwrap_or(FetchDetails::Off);
    if let Some(gateway) = scope.gateway.as_ref().filter(|_| skus != FetchDetails::Off)
        && !gateway.endpoints.contains_key("sku")
    {
        let problem = Problem::at(text.place, format!("gateway `{}` cannot look up SKUs", gateway.name));
        section.report.add(problem.help("`off`: what its answers hold about SKUs is loaded anyway"));
    }
    skus
}

fn details_mode(section: &mut Section<'_>, scope: &Scope<'_>) -> FetchDetails {
    let Some(text) = section.text("details") else { return FetchDetails::Off };
    let details = section.as_choice(text, "details", DETAILS).unwrap_or(FetchDetails::Off);
    let elsewhere = section.table.get("details_gateway").is_some();
    if let Some(gateway) = scope.gateway.as_ref().filter(|_| details != FetchDetails::Off && !elsewhere)
        && !gateway.endpoints.contains_key("item")
    {
        let problem = Problem::at(text.place, format!("gateway `{}` cannot look up single offers", gateway.name));
        section.report.add(problem.help("`off`, or name one that can: `details_gateway = \"item-get\"`"));
    }
    details
}

fn answer_format(section: &mut Section<'_>, gateway: Option<&Gateway>) -> Option<Answer> {
    let answer = section.choice("answer", &[("json", Answer::Json), ("xml", Answer::Xml)])?;
    if let (Some(gateway), Some(entry)) = (gateway, section.table.get("answer"))
        && !gateway.answer.contains(&answer)
    {
        let message = format!("gateway `{}` does not answer in this format", gateway.name);
        section.report.add(Problem::at(&entry.node.place, message).help("remove the line"));
    }
    Some(answer)
}

/// `[fetch.options]`: each is an option of the gateway or of the details' gateway, and has a value that all of them take.
fn options(section: &Section<'_>, scope: &Scope<'_>) -> BTreeMap<String, String> {
    let details = scope.details.as_ref();
    let unread = scope.gateway.is_none() || details.is_some_and(|details| details.gateway.is_none());
    let gateways = [scope.gateway.as_ref(), details.and_then(|details| details.gateway.as_ref())];
    let gateways: Vec<&Gateway> = gateways.into_iter().flatten().collect();
    let read = |entry: &Entry| {
        let specs = || gateways.iter().flat_map(|gateway| &gateway.options);
        let known: Vec<&OptionSpec> = specs().filter(|spec| spec.name == entry.key).collect();
        if known.is_empty() && !unread {
            let names: Vec<_> = gateways.iter().map(|gateway| format!("`{}`", gateway.name)).collect();
            let message = format!("gateway {} has no option `{}`", names.join(" or "), entry.key);
            let help = match specs().next() {
                None => "remove the line".to_owned(),
                Some(_) => suggestion(&entry.key, specs().map(|spec| spec.name.as_str())),
            };
            section.report.add(Problem::at(&entry.key_place, message).help(help));
        }
        let text = section.as_text(&entry.node, &entry.key)?;
        if text.value.trim().is_empty() {
            let problem = Problem::at(text.place, format!("the option `{}` is empty", entry.key));
            section
                .report
                .add(problem.help("remove the line: the definition's default holds, or the parameter is not sent"));
            return None;
        }
        known.iter().for_each(|spec| check_option(section, spec, text));
        Some((entry.key.clone(), text.value.to_owned()))
    };
    section.table.entries.iter().filter_map(read).collect()
}

fn check_option(section: &Section<'_>, spec: &OptionSpec, text: Text<'_>) {
    if spec.one_of.is_empty() || spec.one_of.iter().any(|value| value == text.value) {
        return;
    }
    let words: Vec<_> = spec.one_of.iter().map(|value| format!("`{value}`")).collect();
    let problem = Problem::at(text.place, format!("`{}` is no `{}`", text.value, spec.name));
    section.report.add(problem.help(format!("one of {}", words.join(", "))));
}
