//! The smaller sections of a pipeline: files, units, state.

use std::collections::BTreeMap;

use crate::base::Secret;
use crate::config::diagnostics::Problem;
use crate::config::document::{Entry, Value};
use crate::config::location::normal;
use crate::config::pipeline::{DtFrom, Files, Pack, RedisConfig, StateConfig, Units};
use crate::config::reader::{Section, Text, suggestion};

use super::Scope;
use super::secrets;
use super::tables::{self, Columns, Row};

/// `[files]`.
pub(super) fn files(root: &mut Section<'_>, scope: &Scope<'_>) -> Option<Files> {
    let mut section = root.section("files")?;
    section.require("paths", "files, folders or globs: `paths = [\"../data/sample/*.jsonl\"]`");
    let paths = section.texts("paths").into_iter().filter_map(|text| file_path(scope, text)).collect();
    let endpoint = section.text("endpoint");
    let pointer = |section: &mut Section<'_>, key| section.pointers(key).into_iter().next();
    let files = Files {
        paths,
        endpoint: files_endpoint(scope, endpoint),
        answer: pointer(&mut section, "answer"),
        shop_id: pointer(&mut section, "shop_id"),
        fetched_at: pointer(&mut section, "fetched_at"),
        dt_from: section
            .choice("dt_from", &[("run", DtFrom::Run), ("fetched_at", DtFrom::FetchedAt)])
            .unwrap_or(DtFrom::Run),
    };
    section.finish();
    Some(files)
}

/// An absolute path; one without wildcards must be there.
fn file_path(scope: &Scope<'_>, text: Text<'_>) -> Option<String> {
    let path = normal(&scope.folder.join(text.value));
    if !text.value.contains(['*', '?', '[']) && !path.exists() {
        let problem = Problem::at(text.place, format!("there is no file or folder `{}`", text.value));
        scope.report.add(problem.help("the path is relative to this file"));
        return None;
    }
    Some(path.to_string_lossy().into_owned())
}

/// The endpoint named, else `listing` where the gateway has it, else `item`.
fn files_endpoint(scope: &Scope<'_>, named: Option<Text<'_>>) -> String {
    let endpoints = scope.gateway.as_ref().map(|gateway| &gateway.endpoints);
    let Some(text) = named else {
        let listing = endpoints.is_some_and(|endpoints| endpoints.contains_key("listing"));
        return if listing { "listing" } else { "item" }.to_owned();
    };
    if let (Some(gateway), Some(endpoints)) = (&scope.gateway, endpoints)
        && !endpoints.contains_key(text.value)
    {
        let message = format!("gateway `{}` has no endpoint `{}`", gateway.name, text.value);
        let names = endpoints.keys().map(String::as_str);
        scope.report.add(Problem::at(text.place, message).help(suggestion(text.value, names)));
    }
    text.value.to_owned()
}

/// `[units]`.
pub(super) fn units(root: &mut Section<'_>, scope: &Scope<'_>) -> Units {
    let Some(mut section) = root.section("units") else { return Units::default() };
    let packs = section.text("packs_file").map(|file| packs(scope, file)).unwrap_or_default();
    let pieces = section.section("pieces").map(|section| pieces(&section)).unwrap_or_default();
    section.finish();
    Units { packs, pieces }
}

fn pieces(section: &Section<'_>) -> BTreeMap<String, Option<u32>> {
    let read = |entry: &Entry| {
        if matches!(&entry.node.value, Value::Text(text) if text == "pack") {
            return Some((entry.key.clone(), None));
        }
        if let Value::Text(text) = &entry.node.value {
            let problem = Problem::at(&entry.node.place, format!("`{text}` is no number of pieces"));
            section.report.add(problem.help("a number, or `\"pack\"`: only with a stated size"));
            return None;
        }
        let pieces = section.as_integer(&entry.node, &entry.key, 1..=1_000_000)?;
        Some((entry.key.clone(), u32::try_from(pieces).ok()))
    };
    section.table.entries.iter().filter_map(read).collect()
}

/// The most specific first: those of one offer, then those of a shop.
fn packs(scope: &Scope<'_>, file: Text<'_>) -> Vec<Pack> {
    let columns = Columns {
        all: &["shop_id", "offer_id", "unit", "pieces"],
        one_of: &["pieces"],
        also: &[("店铺编号", "shop_id"), ("商品编号", "offer_id"), ("销售单位", "unit"), ("每单位件数", "pieces")],
        unread: &[],
    };
    let mut packs: Vec<Pack> = tables::read(scope, file, &columns).iter().filter_map(|row| pack(scope, row)).collect();
    packs.sort_by_key(|pack| pack.offer_id.is_none());
    packs
}

fn pack(scope: &Scope<'_>, row: &Row) -> Option<Pack> {
    let given = |column| row.get(column).filter(|cell| !cell.value.is_empty());
    for column in ["shop_id", "unit", "pieces"] {
        if given(column).is_none() {
            scope.report.add(Problem::at(&row.place, format!("this pack has no `{column}`")));
        }
    }
    let number = |cell: Text<'_>, what: &str| {
        let number = cell.value.parse::<i64>().ok().filter(|number| *number > 0);
        if number.is_none() {
            scope.report.add(Problem::at(cell.place, format!("`{}` is no {what}", cell.value)));
        }
        number
    };
    let offer_id = match given("offer_id") {
        Some(cell) => Some(number(cell, "offer id")?),
        None => None,
    };
    let cell = given("pieces")?;
    let pieces = number(cell, "number of pieces")?;
    let Ok(pieces) = u32::try_from(pieces) else {
        scope.report.add(Problem::at(cell.place, format!("`{pieces}` pieces are too many")));
        return None;
    };
    Some(Pack { shop_id: given("shop_id")?.value.to_owned(), offer_id, unit: given("unit")?.value.to_owned(), pieces })
}

/// `[state]`; without it the file beside the lake.
pub(super) fn state(root: &mut Section<'_>, scope: &Scope<'_>) -> Option<StateConfig> {
    const DEFAULT: &str = "../data/state.sqlite";
    let here = |path: &str| Some(StateConfig::Sqlite(normal(&scope.folder.join(path))));
    let Some(mut section) = root.section("state") else { return here(DEFAULT) };
    let referred = section.table.get("url").is_some_and(|entry| secrets::is_reference(&entry.node.value));
    let state = if referred {
        secrets::address(&mut section, scope, "url", &["redis", "rediss"]).map(redis)
    } else {
        section.text("url").map_or_else(|| here(DEFAULT), |text| literal_state(scope, text))
    };
    let authorities = section.text("ca");
    section.finish();
    match (state?, authorities) {
        (StateConfig::Redis(server), Some(file)) if server.address.expose().starts_with("rediss://") => {
            Some(StateConfig::Redis(RedisConfig { ca: Some(certificates(scope, file)?), ..server }))
        }
        (_, Some(file)) => {
            let problem = Problem::at(file.place, "`ca` is of no use here: no certificate is asked for");
            scope.report.add(problem.help("remove the line, or ask a Redis with TLS: an address with `rediss://`"));
            None
        }
        (state, None) => Some(state),
    }
}

fn redis(address: Secret) -> StateConfig {
    StateConfig::Redis(RedisConfig { address, ca: None })
}

/// A file with at least one certificate.
fn certificates(scope: &Scope<'_>, file: Text<'_>) -> Option<String> {
    let bad = |message: String, help: &str| {
        scope.report.add(Problem::at(file.place, message).help(help));
        None
    };
    let help = "a PEM file: `-----BEGIN CERTIFICATE-----` and what follows";
    match std::fs::read_to_string(scope.folder.join(file.value)) {
        Ok(pem) if pem.contains("-----BEGIN CERTIFICATE-----") => Some(pem),
        Ok(_) => bad(format!("`{}` holds no certificate", file.value), help),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            bad(format!("`{}` is not text", file.value), help)
        }
        Err(error) => bad(format!("cannot read `{}`: {error}", file.value), "the path is relative to this file"),
    }
}

/// A file, or a Redis whose address is no secret.
fn literal_state(scope: &Scope<'_>, text: Text<'_>) -> Option<StateConfig> {
    let bad = |message: String, help: &str| {
        scope.report.add(Problem::at(text.place, message).help(help));
        None
    };
    let example =
        "a file, relative to this one: `url = \"../data/state.sqlite\"`; or a Redis: `url = \"env:REDIS_URL\"`";
    match text.value.split_once("://") {
        _ if text.value.trim().is_empty() => bad("`url` is empty".into(), example),
        None => Some(StateConfig::Sqlite(normal(&scope.folder.join(text.value)))),
        // Also where it cannot be parsed: the message would repeat it.
        Some(("redis" | "rediss", rest)) if rest.contains('@') => {
            scope.report.mask(text.place);
            let help = "name where it is: `url = \"env:REDIS_URL\"` or `\"file:PATH\"`; change the password if others have seen this file";
            bad("the address of the state store holds a user or a password".into(), help)
        }
        Some(("redis" | "rediss", _)) => match url::Url::parse(text.value) {
            Ok(url) if url.host_str().is_some_and(|host| !host.is_empty()) => Some(redis(Secret::new(text.value))),
            _ => {
                bad(format!("`{}` is no address", text.value), "`redis://HOST:PORT/DATABASE`, or `rediss://` with TLS")
            }
        },
        Some((scheme, _)) => {
            scope.report.mask(text.place);
            bad(format!("`{scheme}://` is no state store"), example)
        }
    }
}
