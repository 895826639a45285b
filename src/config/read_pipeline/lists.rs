//! What is asked for: shops and items, written in the pipeline or in files beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use crate::config::diagnostics::{Place, Problem, Report};
use crate::config::document::{Entry, Node, Value};
use crate::config::pipeline::Shop;
use crate::config::reader::{Section, Text};

use super::Scope;
use super::tables::{self, Row};

/// `shops` and `shops_file`, in this order; paused ones left out.
pub(super) fn shops(root: &mut Section<'_>, scope: &Scope<'_>) -> Vec<Shop> {
    let (listed, file) = (root.entry("shops"), root.text("shops_file"));
    let mut seen = Seen::default();
    let mut shops = Vec::new();
    for text in ids(root, listed, "shop") {
        shops.extend(shop(scope, text).filter(|shop| seen.first(scope, shop, text.place)));
    }
    if let Some(file) = file {
        shops.extend(shops_of_file(scope, file, &mut seen));
    }
    let whole = file.map(|file| file.place).or(listed.map(|entry| &entry.node.place));
    if let Some(place) = whole
        && shops.is_empty()
        && !scope.report.any_since(place)
    {
        scope.report.add(Problem::at(place, "there is no shop in here").help("list at least one that is not paused"));
    }
    shops
}

/// `items` and `items_file`, without repeats.
pub(super) fn items(root: &mut Section<'_>, scope: &Scope<'_>) -> Vec<i64> {
    let (listed, file) = (root.entry("items"), root.text("items_file"));
    let mut items: Vec<i64> =
        ids(root, listed, "item").into_iter().filter_map(|text| item(scope.report, text)).collect();
    if let Some(file) = file
        && let Some((source, text)) = tables::open(scope, file)
    {
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let value = line.trim().trim_end_matches(',').trim_matches('"');
            let at = start + (line.len() - line.trim_start().len());
            let place = Place { source, span: at..at + line.trim().len() };
            let header = start == 0 && matches!(value, "offer_id" | "item_id" | "url");
            start += line.len();
            if !value.is_empty() && !value.starts_with('#') && !header {
                items.extend(item(scope.report, Text { value, place: &place }));
            }
        }
        if items.is_empty() && !scope.report.any_since(file.place) {
            scope
                .report
                .add(Problem::at(file.place, "there is no item in here").help("one id or offer address a line"));
        }
    }
    let mut seen = BTreeSet::new();
    items.retain(|item| seen.insert(*item));
    items
}

/// Something must be asked for, and the gateway must be able to answer it.
pub(super) fn check_asked(root: &Section<'_>, scope: &Scope<'_>) {
    let find = |keys: [&str; 2]| keys.into_iter().find_map(|key| root.table.get(key));
    let (shops, items) = (find(["shops", "shops_file"]), find(["items", "items_file"]));
    if shops.is_none() && items.is_none() && !scope.files_only {
        root.missing("shops", "name what to fetch: `shops`, `shops_file`, `items` or `items_file`");
    }
    let Some(gateway) = scope.gateway.as_ref().filter(|_| !scope.files_only) else { return };
    let other = |endpoint: &str| gateway.endpoints.contains_key(endpoint);
    for (entry, endpoint, instead) in [(shops, "listing", "item"), (items, "item", "listing")] {
        let Some(entry) = entry.filter(|_| !other(endpoint)) else { continue };
        let (what, why) = match endpoint {
            "listing" => ("list shops", "name single offers with `items` or `items_file`"),
            _ => ("look up single offers", "name shops with `shops` or `shops_file`"),
        };
        let problem = Problem::at(&entry.key_place, format!("gateway `{}` cannot {what}", gateway.name));
        scope.report.add(if other(instead) { problem.help(why) } else { problem });
    }
    own_shop_only(root, scope);
}

/// A listing that takes no shop lists the account's own: more than one shop would be the same one twice.
fn own_shop_only(root: &Section<'_>, scope: &Scope<'_>) {
    let Some(gateway) = &scope.gateway else { return };
    let Some(listing) = gateway.endpoints.get("listing").filter(|listing| !listing.asks_for("shop_id")) else { return };
    if let Some(entry) = root.table.get("shops")
        && let Value::List(shops) = &entry.node.value
        && shops.len() > 1
    {
        let message = format!("gateway `{}` lists the account's own shop only", gateway.name);
        let problem = Problem::at(&entry.node.place, message);
        scope.report.add(problem.help(format!("name that one shop; `{}` takes no other", listing.method())));
    }
}

/// The strings of an array; ids without quotes are reported.
fn ids<'a>(root: &Section<'a>, entry: Option<&'a Entry>, what: &str) -> Vec<Text<'a>> {
    let Some(entry) = entry else { return Vec::new() };
    let Value::List(list) = &entry.node.value else {
        let problem = Problem::at(&entry.node.place, format!("`{}` must be an array of strings", entry.key));
        root.report.add(problem.help(format!("write `{} = [\"…\"]`", entry.key)));
        return Vec::new();
    };
    let read = |node: &'a Node| match &node.value {
        Value::Text(value) => Some(Text { value: value.trim(), place: &node.place }),
        Value::Integer(id) => {
            let problem = Problem::at(&node.place, format!("the {what} id `{id}` must be a string, never a number"));
            root.report.add(problem.help(format!("write `\"{id}\"`")));
            None
        }
        other => {
            root.report.add(Problem::at(&node.place, format!("a {what} must be a string, not {}", other.kind())));
            None
        }
    };
    list.iter().filter_map(read).collect()
}

/// Offer ids have 12 digits today; anything from 6 to 18 fits the platform's history and the column.
static OFFER_ID: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[0-9]{6,18}$").ok());
static OFFER_URL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^https?://.*/offer/([0-9]{6,18})\.html").ok());
pub(in crate::config) static SHOP_ID: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[A-Za-z0-9_-]+$").ok());

/// An offer by its id or its address.
pub(in crate::config) fn item(report: &Report, text: Text<'_>) -> Option<i64> {
    let in_url = OFFER_URL.as_ref().and_then(|pattern| pattern.captures(text.value)).and_then(|found| found.get(1));
    let plain = OFFER_ID.as_ref().is_some_and(|pattern| pattern.is_match(text.value));
    let digits = in_url.map(|found| found.as_str()).or(plain.then_some(text.value));
    let id = digits.and_then(|digits| digits.parse().ok());
    if id.is_none() {
        let problem = Problem::at(text.place, format!("`{}` is no offer", text.value));
        report
            .add(problem.help("an id of digits, or an address like `https://detail.1688.com/offer/582896733162.html`"));
    }
    id
}

fn shop(scope: &Scope<'_>, text: Text<'_>) -> Option<Shop> {
    let is_url = text.value.contains("://");
    if is_url { shop_by_url(scope, text) } else { shop_by_id(scope, text) }
}

fn shop_by_url(scope: &Scope<'_>, text: Text<'_>) -> Option<Shop> {
    let bad = |message: String, help: &str| {
        scope.report.add(Problem::at(text.place, message).help(help));
        None
    };
    let example = "write it as in a browser: `https://shop12345678.1688.com`";
    let url = match url::Url::parse(text.value) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && !text.value.contains(char::is_whitespace) => url,
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            return bad(
                format!("`{}` is no shop address: `{}://` is not `https://`", text.value, url.scheme()),
                example,
            );
        }
        Ok(_) => return bad(format!("`{}` is no shop address: it holds a space", text.value), example),
        Err(error) => return bad(format!("`{}` is no shop address: {error}", text.value), example),
    };
    if url.host_str().is_none_or(|host| !host.contains('.') && host != "localhost") {
        return bad(format!("`{}` is no shop address: it has no host", text.value), example);
    }
    if OFFER_URL.as_ref().is_some_and(|pattern| pattern.is_match(text.value)) {
        return bad(format!("`{}` is the address of an offer, not of a shop", text.value), "offers go into `items`");
    }
    let rules = scope.gateway.as_ref().map(|gateway| &gateway.shop);
    let patterns = rules.map(|rules| rules.id_in_url.as_slice()).unwrap_or_default();
    let captured = patterns.iter().find_map(|pattern| pattern.captures(text.value)?.get(1));
    let id = captured.map(|found| found.as_str().to_owned());
    if let Some(gateway) =
        scope.gateway.as_ref().filter(|gateway| id.is_none() && !gateway.endpoints.contains_key("shop"))
    {
        return bad(
            format!("`{}` does not show the shop's id, and gateway `{}` cannot look it up", text.value, gateway.name),
            "give the member id, or an address with `memberId=…`",
        );
    }
    Some(Shop { id, url: Some(text.value.to_owned()), name: None })
}

fn shop_by_id(scope: &Scope<'_>, text: Text<'_>) -> Option<Shop> {
    let rules = scope.gateway.as_ref().map(|gateway| &gateway.shop);
    let pattern = rules.and_then(|rules| rules.id_pattern.as_ref()).or(SHOP_ID.as_ref());
    if pattern.is_none_or(|pattern| pattern.is_match(text.value)) {
        return Some(Shop { id: Some(text.value.to_owned()), url: None, name: None });
    }
    let (message, help) = if text.value.contains('.') && text.value.is_ascii() && !text.value.contains(' ') {
        (format!("`{}` is neither an address nor a member id", text.value), format!("write `https://{}`", text.value))
    } else {
        let help = "open the shop in a browser and copy its address, or the `memberId` in it: `b2b-2200733087881719de`";
        (format!("`{}` is a shop's name, not its member id", text.value), help.to_owned())
    };
    scope.report.add(Problem::at(text.place, message).help(help));
    None
}

/// Every name of the shops met so far, with its line, to find those listed twice.
#[derive(Default)]
struct Seen(BTreeMap<String, usize>);

impl Seen {
    /// Whether this is the first time; else it is reported. Two addresses that lead to one shop are not found here: only
    /// the gateway knows.
    fn first(&mut self, scope: &Scope<'_>, shop: &Shop, place: &Place) -> bool {
        let by_url = shop.url.as_deref().map(|url| (address(url), url.trim_end_matches('/')));
        let names: Vec<_> = shop.id.as_deref().map(|id| (id.to_owned(), id)).into_iter().chain(by_url).collect();
        let again = names.iter().find_map(|(key, name)| Some((*name, *self.0.get(key)?)));
        if let Some((name, first)) = again {
            let problem = Problem::at(place, format!("the shop `{name}` is listed twice"));
            scope.report.add(problem.help(format!("it is already in line {first}: remove one")));
            return false;
        }
        let line = scope.report.line(place);
        self.0.extend(names.into_iter().map(|(key, _)| (key, line)));
        true
    }
}

/// What of an address leads to a shop: `http` or `https`, a slash at its end and a part behind `#` make no other shop of it.
fn address(url: &str) -> String {
    let Ok(mut parsed) = url::Url::parse(url) else { return url.to_owned() };
    parsed.set_fragment(None);
    let text = parsed.as_str();
    text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/').to_owned()
}

fn shops_of_file(scope: &Scope<'_>, file: Text<'_>, seen: &mut Seen) -> Vec<Shop> {
    let mut shops = Vec::new();
    for row in tables::read(
        scope,
        file,
        &tables::Columns {
            all: &["url", "shop_id", "name", "paused"],
            one_of: &["url", "shop_id"],
            also: &[
                ("店铺链接", "url"),
                ("shop_url", "url"),
                ("店铺编号", "shop_id"),
                ("店铺名称", "name"),
                ("shop_name", "name"),
            ],
            unread: &[],
        },
    ) {
        let Some(paused) = paused(scope, &row) else { continue };
        let value =
            ["shop_id", "url"].into_iter().find_map(|column| row.get(column).filter(|cell| !cell.value.is_empty()));
        let Some(value) = value else {
            scope.report.add(Problem::at(&row.place, "this shop has neither `url` nor `shop_id`"));
            continue;
        };
        let Some(mut found) = shop(scope, value) else { continue };
        let own_url = row.get("url").map(|cell| cell.value).filter(|url| !url.is_empty());
        found.url = found.url.or(own_url.map(str::to_owned));
        if !seen.first(scope, &found, value.place) || paused {
            continue;
        }
        found.name = row.get("name").map(|cell| cell.value.to_owned()).filter(|name| !name.is_empty());
        shops.push(found);
    }
    shops
}

fn paused(scope: &Scope<'_>, row: &Row) -> Option<bool> {
    let Some(cell) = row.get("paused") else { return Some(false) };
    match cell.value.to_lowercase().as_str() {
        "" | "0" | "no" | "false" | "否" => Some(false),
        "1" | "yes" | "true" | "x" | "是" => Some(true),
        _ => {
            let problem = Problem::at(cell.place, format!("`{}` is neither yes nor no", cell.value));
            scope.report.add(problem.help("write `yes` (`1`, `true`, `是`), or leave it empty"));
            None
        }
    }
}
