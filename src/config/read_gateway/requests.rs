//! The part of a definition that says how to ask: credentials, signature, limits, endpoints.

use std::collections::BTreeMap;

use crate::base::text::nearest;
use crate::config::diagnostics::Problem;
use crate::config::document::Entry;
use crate::config::gateway::{
    Algorithm, CredentialSpec, ENDPOINTS, Endpoint, Http, Limits, OFFER_FIELDS, PLACES, Paging, Pause, QuotaBlocks,
    QuotaScope, ShopRules, Sign, Skip, TimeFormat, ValueEncoding, Window,
};
use crate::config::reader::{Section, Text, suggestion};
use crate::config::template::Template;

/// S2's time-outs (WIRE §5 "Windows"), and bounds of one call for every gateway that states none.
const CONNECT_SECONDS: f64 = 8.0;
const READ_SECONDS: f64 = 20.0;
const BODY_BYTES_MAX: i64 = 32 << 20;
const ATTEMPTS_MAX: i64 = 5;
const CALLS_IN_FLIGHT: i64 = 4;
const PAUSE: Pause = Pause { success: 0.0, failure: 1.0, throttle: 10.0 };

const CREDENTIAL_KINDS: &[(&str, (bool, bool))] =
    &[("plain", (false, false)), ("plain?", (false, true)), ("secret", (true, false)), ("secret?", (true, true))];

/// `credentials = { app_key = "plain", app_secret = "secret", access_token = "secret?" }`.
pub(super) fn credentials(root: &mut Section<'_>) -> Vec<CredentialSpec> {
    let Some(section) = root.section("credentials") else { return Vec::new() };
    let read = |entry: &Entry| {
        let text = section.as_text(&entry.node, &entry.key)?;
        let (secret, optional) = section.as_choice(text, "kind of credential", CREDENTIAL_KINDS)?;
        if PLACES.contains(&entry.key.as_str()) || Template::parse(&format!("{{{}}}", entry.key)).is_err() {
            let problem = Problem::at(&entry.key_place, format!("a credential cannot be called `{}`", entry.key));
            section.report.add(problem.help("use `a-z`, `0-9`, `_`, and no name that huopan fills in itself"));
        }
        Some(CredentialSpec { name: entry.key.clone(), secret, optional })
    };
    section.table.entries.iter().filter_map(read).collect()
}

/// `unix_ms`, `unix_s` or a `strftime` pattern.
pub(super) fn time(root: &mut Section<'_>) -> TimeFormat {
    match root.text("time") {
        Some(text) => time_format(root, text),
        None => TimeFormat::UnixMillis,
    }
}

fn time_format(section: &Section<'_>, text: Text<'_>) -> TimeFormat {
    match text.value {
        "unix_ms" => TimeFormat::UnixMillis,
        "unix_s" => TimeFormat::UnixSeconds,
        pattern => {
            let broken = |item| matches!(item, chrono::format::Item::Error);
            if !pattern.contains('%') || chrono::format::StrftimeItems::new(pattern).any(broken) {
                let problem = Problem::at(text.place, format!("`{pattern}` is no time format"));
                section.report.add(problem.help("`unix_ms`, `unix_s`, or a pattern like `%Y-%m-%d %H:%M:%S`"));
            }
            TimeFormat::Pattern(pattern.to_owned())
        }
    }
}

/// What templates may name: huopan's places and the gateway's credentials.
fn places(credentials: &[CredentialSpec]) -> Vec<&str> {
    PLACES.iter().copied().chain(credentials.iter().map(|spec| spec.name.as_str())).collect()
}

/// `params = { name = "template" }`.
pub(super) fn params(section: &mut Section<'_>, credentials: &[CredentialSpec]) -> Vec<(String, Template)> {
    let Some(params) = section.section("params") else { return Vec::new() };
    let places = places(credentials);
    let read = |entry: &Entry| {
        let text = params.as_text(&entry.node, &entry.key)?;
        Some((entry.key.clone(), params.as_template(text, &places)?))
    };
    params.table.entries.iter().filter_map(read).collect()
}

/// `[sign]`.
pub(super) fn sign(root: &mut Section<'_>, credentials: &[CredentialSpec]) -> Option<Sign> {
    let mut section = root.section("sign")?;
    for key in ["algorithm", "secret", "text", "param", "value", "into"] {
        section.require(key, "`huopan gateways show portals` has all keys of `[sign]`");
    }
    let secret = section.text("secret");
    if let Some(text) = secret
        && !credentials.iter().any(|spec| spec.secret && spec.name == text.value)
    {
        let problem = Problem::at(text.place, format!("`{}` is no secret of `credentials`", text.value));
        section.report.add(problem.help(format!("add `{} = \"secret\"` to `credentials`", text.value)));
    }
    let algorithm = section.choice(
        "algorithm",
        &[
            ("md5", Algorithm::Md5),
            ("hmac-md5", Algorithm::HmacMd5),
            ("hmac-sha1", Algorithm::HmacSha1),
            ("hmac-sha256", Algorithm::HmacSha256),
        ],
    );
    let text = section.text("text").and_then(|text| section.as_template(text, &["secret", "params", "path"]));
    let param = section.text("param").and_then(|text| section.as_template(text, &["name", "value"]));
    let join = section.text("join").map(|text| text.value.to_owned()).unwrap_or_default();
    let value = section.choice("value", &[("percent", ValueEncoding::Percent), ("raw", ValueEncoding::Raw)]);
    let skip = section.choice("skip", &[("null", Skip::Null), ("empty", Skip::Empty)]).unwrap_or(Skip::Null);
    let into = section.text("into").map(|text| text.value.to_owned());
    let unsigned = section.texts("unsigned").iter().map(|text| text.value.to_owned()).collect();
    section.finish();
    Some(Sign {
        algorithm: algorithm?,
        secret: secret?.value.to_owned(),
        text: text?,
        param: param?,
        join,
        value: value?,
        skip,
        into: into?,
        unsigned,
    })
}

/// `[limits]`; without it the defaults above.
pub(super) fn limits(root: &mut Section<'_>) -> Limits {
    let empty = crate::config::document::Table::default();
    let mut section = root.section("limits").unwrap_or(Section::new(root.report, &empty, root.place));
    let calls_per_day = section.section("calls_per_day").map(|section| calls_per_day(&section)).unwrap_or_default();
    let scopes = [("account", QuotaScope::Account), ("endpoint", QuotaScope::Endpoint), ("shop", QuotaScope::Shop)];
    let quota_scope = section.choice("quota_scope", &scopes).unwrap_or(QuotaScope::Account);
    let quota_blocks = quota_blocks(&mut section);
    let calls_in_flight = section.integer("calls_in_flight", 1..=1000).unwrap_or(CALLS_IN_FLIGHT);
    let calls_per_second = section.number("calls_per_second", 0.001..=10_000.0);
    let pause = section.section("pause_seconds").map(pause).unwrap_or(PAUSE);
    let clock_skew = section.integer("clock_skew_seconds_max", 1..=86_400);
    let connect_seconds = section.number("connect_seconds", 0.1..=600.0).unwrap_or(CONNECT_SECONDS);
    let read_seconds = section.number("read_seconds", 0.1..=3600.0).unwrap_or(READ_SECONDS);
    let body_bytes_max = section.integer("body_bytes_max", 1024..=1 << 30).unwrap_or(BODY_BYTES_MAX);
    let attempts_max = section.integer("attempts_max", 1..=100).unwrap_or(ATTEMPTS_MAX);
    section.finish();
    Limits {
        calls_per_day,
        quota_scope,
        quota_blocks,
        calls_in_flight: calls_in_flight as u32,
        calls_per_second,
        pause,
        clock_skew_seconds_max: clock_skew.map(i64::unsigned_abs),
        connect_seconds,
        read_seconds,
        body_bytes_max: body_bytes_max.unsigned_abs(),
        attempts_max: attempts_max as u32,
        price_per_call: None,
    }
}

fn calls_per_day(section: &Section<'_>) -> BTreeMap<String, u64> {
    let read = |entry: &Entry| {
        let calls = section.as_integer(&entry.node, &entry.key, 1..=1_000_000_000)?;
        Some((entry.key.clone(), calls.unsigned_abs()))
    };
    section.table.entries.iter().filter_map(read).collect()
}

/// `"midnight"` or `"24h"`.
fn quota_blocks(section: &mut Section<'_>) -> QuotaBlocks {
    let Some(text) = section.text("quota_blocks") else { return QuotaBlocks::Midnight };
    match text.value.strip_suffix('h').map(str::parse) {
        _ if text.value == "midnight" => QuotaBlocks::Midnight,
        Some(Ok(hours)) if (1..=744).contains(&hours) => QuotaBlocks::Hours(hours),
        _ => {
            let problem = Problem::at(text.place, format!("`{}` is no `quota_blocks`", text.value));
            section.report.add(problem.help("`midnight` (Beijing), or hours from the breach: `24h`"));
            QuotaBlocks::Midnight
        }
    }
}

fn pause(mut section: Section<'_>) -> Pause {
    let pause = Pause {
        success: section.number("success", 0.0..=3600.0).unwrap_or(PAUSE.success),
        failure: section.number("failure", 0.0..=3600.0).unwrap_or(PAUSE.failure),
        throttle: section.number("throttle", 0.0..=3600.0).unwrap_or(PAUSE.throttle),
    };
    section.finish();
    pause
}

/// `[shop]`.
pub(super) fn shop(root: &mut Section<'_>) -> ShopRules {
    let Some(mut section) = root.section("shop") else { return ShopRules::default() };
    let id_in_url: Vec<_> = section
        .texts("id_in_url")
        .into_iter()
        .filter_map(|text| {
            let pattern = super::pattern(&section, text)?;
            if pattern.captures_len() != 2 {
                let problem = Problem::at(text.place, "the pattern needs exactly one group: the shop id");
                section.report.add(problem.help("write `(…)` around the id and `(?:…)` around anything else"));
            }
            Some(pattern)
        })
        .collect();
    let id_pattern = section.text("id_pattern").and_then(|text| super::pattern(&section, text));
    section.finish();
    ShopRules { id_in_url, id_pattern }
}

/// `[endpoints.…]`.
pub(super) fn endpoints(
    root: &mut Section<'_>,
    http: Http,
    credentials: &[CredentialSpec],
) -> BTreeMap<String, Endpoint> {
    let Some(section) = root.section("endpoints") else { return BTreeMap::new() };
    let read = |entry: &Entry| {
        if !ENDPOINTS.contains(&entry.key.as_str()) && nearest(&entry.key, ENDPOINTS.iter().copied()).is_some() {
            let problem = Problem::at(&entry.key_place, format!("unknown endpoint `{}`", entry.key));
            section.report.add(problem.help(suggestion(&entry.key, ENDPOINTS.iter().copied())));
        }
        let endpoint = section.as_section(&entry.node, &entry.key)?;
        Some((entry.key.clone(), one_endpoint(endpoint, &entry.key, http, credentials)))
    };
    section.table.entries.iter().filter_map(read).collect()
}

fn one_endpoint(mut section: Section<'_>, name: &str, http: Http, credentials: &[CredentialSpec]) -> Endpoint {
    for key in needs(name) {
        section.require(key, &format!("endpoint `{name}` needs it: the JSON pointer in its answer"));
    }
    let places = places(credentials);
    let endpoint = Endpoint {
        name: name.to_owned(),
        path: section.text("path").and_then(|text| section.as_template(text, &places)),
        http: section.choice("http", super::HTTP).unwrap_or(http),
        params: params(&mut section, credentials),
        fields: section.texts("fields").iter().map(|text| text.value.to_owned()).collect(),
        one: section.pointers("one"),
        list: section.pointers("list"),
        total: section.pointers("total"),
        id: section.pointers("id"),
        shop_id: section.pointers("shop_id"),
        page: section.section("page").and_then(paging),
        window: section.section("window").and_then(window),
        category: section.text("category").map(|text| text.value.to_owned()),
        batch: None,
        cache_seconds: section.integer("cache_hours", 0..=8760).map(|hours| hours.unsigned_abs() * 3600),
    };
    section.finish();
    endpoint
}

/// The pointers without which an endpoint's answer says nothing.
fn needs(endpoint: &str) -> &'static [&'static str] {
    match endpoint {
        "shop" => &["one", "shop_id"],
        "count" => &["total"],
        "categories" => &["list", "id"],
        "listing" | "off_sale" => &["list"],
        "item" | "sku" => &["one"],
        _ => &[],
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

fn window(mut section: Section<'_>) -> Option<Window> {
    section.require("start", "the parameter with the start of the span");
    section.require("field", "the field of `[offer]` it speaks of, `modified_at` for example");
    let start = section.text("start").map(|text| text.value.to_owned());
    let end = section.text("end").map(|text| text.value.to_owned());
    let time = section.text("time").map(|text| time_format(&section, text));
    let fields: Vec<_> = OFFER_FIELDS.iter().map(|field| (*field, *field)).collect();
    let field = section.choice("field", &fields);
    let drop = section.texts("drop").iter().map(|text| text.value.to_owned()).collect();
    section.finish();
    Some(Window { start: start?, end, time, field: field?.to_owned(), drop, params: Vec::new(), overlap_seconds: 600 })
}
