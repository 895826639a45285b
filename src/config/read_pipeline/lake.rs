//! `[lake]`: where the tables go, and how long what is in them is kept.

use crate::config::diagnostics::Problem;
use crate::config::document::Value;
use crate::config::location::{Addressing, Location, S3Location};
use crate::config::pipeline::{Keep, LakeConfig, Maintenance};
use crate::config::reader::Section;

use super::Scope;

/// The lake of a pipeline that names none: beside the pipelines' folder.
const DEFAULT: &str = "../data/lake";
/// What making tables may take, in MiB, where nothing is said.
const MEMORY_MIB: i64 = 512;
/// The keys that only a lake on S3 has.
const S3_KEYS: [&str; 4] = ["endpoint", "region", "addressing", "allow_http"];

/// The longest that days can be kept for; more is for ever.
const DAYS_MAX: i64 = 36_500;

/// `[lake]`; without it the lake beside the pipelines.
pub(super) fn lake(root: &mut Section<'_>, scope: &Scope<'_>) -> Option<LakeConfig> {
    let parse = |address: &str| Location::parse(address, &scope.folder, scope.env);
    let Some(mut section) = root.section("lake") else {
        check_full_days(root, scope, Keep::default());
        return parse(DEFAULT).ok().map(|location| LakeConfig {
            location,
            keep: Keep::default(),
            maintenance: Maintenance::default(),
            memory_bytes_max: mebibytes(MEMORY_MIB),
        });
    };
    let url = section.text("url");
    let location = match (url.map_or_else(|| parse(DEFAULT), |url| parse(url.value)), url) {
        (Ok(location), _) => Some(location),
        (Err(error), url) => {
            if let Some(url) = url {
                if url.value.contains('@') {
                    scope.report.mask(url.place);
                }
                let problem = Problem::at(url.place, error.to_string());
                scope.report.add(problem.help(error.hint().unwrap_or_default()));
            }
            None
        }
    };
    let location = match location {
        Some(Location::S3(location)) => s3(&mut section, scope, location).map(Location::S3),
        Some(folder) => {
            refuse_s3_keys(&mut section, scope);
            Some(folder)
        }
        // They may be right for the address that was meant.
        None => {
            S3_KEYS.iter().for_each(|key| _ = section.entry(key));
            None
        }
    };
    let keep = keep(&mut section);
    let maintenance = section.choice("maintenance", &[("auto", Maintenance::Auto), ("off", Maintenance::Off)]);
    let memory_mib = section.integer("memory_mib", 64..=1 << 20).unwrap_or(MEMORY_MIB);
    section.finish();
    check_full_days(root, scope, keep);
    location.map(|location| LakeConfig {
        location,
        keep,
        maintenance: maintenance.unwrap_or_default(),
        memory_bytes_max: mebibytes(memory_mib),
    })
}

/// How long things are kept.
fn keep(section: &mut Section<'_>) -> Keep {
    let mut days = |key| section.integer(key, 1..=DAYS_MAX).and_then(|days| u32::try_from(days).ok());
    Keep {
        tables: days("retain_days"),
        raw: Some(days("raw_days").unwrap_or(Keep::RAW)),
        history: days("history_days").unwrap_or(Keep::HISTORY),
    }
}

/// Every row can be rebuilt only where every offer's answer is younger than answers are kept for.
fn check_full_days(root: &Section<'_>, scope: &Scope<'_>, keep: Keep) {
    let integer = |section: &str, key: &str| {
        let Value::Table(table) = &root.table.get(section)?.node.value else { return None };
        let node = &table.get(key)?.node;
        if let Value::Integer(value) = node.value { Some((value, &node.place)) } else { None }
    };
    // What is out of its range is reported as that.
    let full_days = integer("fetch", "full_days").filter(|(days, _)| super::fetch::FULL_DAYS_RANGE.contains(days));
    let asked = full_days.map_or(super::fetch::FULL_DAYS, |(days, _)| days);
    let Some(raw_days) = keep.raw.filter(|days| asked >= i64::from(*days)) else { return };
    // Both may be defaults, which fit.
    let Some(place) = full_days.or(integer("lake", "raw_days")).map(|(_, place)| place) else { return };
    let message = format!("`full_days` is {asked}, and `raw_days` of `[lake]` is {raw_days}: it must be more");
    scope.report.add(Problem::at(place, message).help(
        "answers must be kept for longer than an offer may go without one, or its rows cannot be rebuilt from them",
    ));
}

fn mebibytes(mib: i64) -> usize {
    usize::try_from(mib).unwrap_or(0).saturating_mul(1 << 20)
}

/// What the section says of a bucket, over what the environment says.
fn s3(section: &mut Section<'_>, scope: &Scope<'_>, mut location: S3Location) -> Option<S3Location> {
    let endpoint = section.text("endpoint");
    if let Some(endpoint) = endpoint {
        // Only where the user gives no other: a service of one's own rarely has a host name per bucket.
        location.addressing = Addressing::Path;
        location.endpoint = Some(endpoint.value.trim_end_matches('/').to_owned());
    }
    if let Some(region) = section.text("region") {
        location.region = Some(region.value.to_owned());
    }
    let choices = [("virtual", Addressing::Virtual), ("path", Addressing::Path)];
    if let Some(addressing) = section.choice("addressing", &choices) {
        location.addressing = addressing;
    }
    if let Some(allow_http) = section.flag("allow_http") {
        location.allow_http = allow_http;
    }
    let Err(error) = location.check() else { return Some(location) };
    let place = endpoint.map_or(section.place, |endpoint| {
        if endpoint.value.contains('@') {
            scope.report.mask(endpoint.place);
        }
        endpoint.place
    });
    scope.report.add(Problem::at(place, error.to_string()).help(error.hint().unwrap_or_default()));
    None
}

fn refuse_s3_keys(section: &mut Section<'_>, scope: &Scope<'_>) {
    for key in S3_KEYS {
        if let Some(entry) = section.entry(key) {
            let problem = Problem::at(&entry.node.place, format!("`{key}` is for a lake on S3, this one is a folder"));
            scope.report.add(problem.help("remove it, or name a bucket: `url = \"s3://bucket/prefix\"`"));
        }
    }
}
