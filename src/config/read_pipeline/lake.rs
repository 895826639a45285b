//! `[lake]`: where the tables go.

use crate::config::diagnostics::Problem;
use crate::config::location::{Addressing, Location, S3Location};
use crate::config::pipeline::LakeConfig;
use crate::config::reader::Section;

use super::{NOT_YET, Scope};

/// The lake of a pipeline that names none: beside the pipelines' folder.
const DEFAULT: &str = "../data/lake";
/// What making tables may take, in MiB, where nothing is said.
const MEMORY_MIB: i64 = 512;
/// The keys that only a lake on S3 has.
const S3_KEYS: [&str; 4] = ["endpoint", "region", "addressing", "allow_http"];

/// `[lake]`; without it the lake beside the pipelines.
pub(super) fn lake(root: &mut Section<'_>, scope: &Scope<'_>) -> Option<LakeConfig> {
    let parse = |address: &str| Location::parse(address, &scope.folder, scope.env);
    let Some(mut section) = root.section("lake") else {
        return parse(DEFAULT).ok().map(|location| LakeConfig { location, memory_bytes_max: mebibytes(MEMORY_MIB) });
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
        other => {
            if matches!(other, Some(Location::Folder(_))) {
                refuse_s3_keys(&mut section, scope);
            }
            other
        }
    };
    let memory_mib = section.integer("memory_mib", 64..=1 << 20).unwrap_or(MEMORY_MIB);
    section.finish_without(NOT_YET.lake);
    location.map(|location| LakeConfig { location, memory_bytes_max: mebibytes(memory_mib) })
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
