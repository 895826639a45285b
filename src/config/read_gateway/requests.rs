//! The part of a definition that says what every call carries: credentials, options, parameters, signature, token.

use crate::config::diagnostics::Problem;
use crate::config::document::{Entry, Value};
use crate::config::gateway::{
    Algorithm, CredentialSpec, Endpoint, Http, OptionSpec, PLACES, ShopRules, Sign, Skip, TOKEN, TimeFormat,
    TokenRules, ValueEncoding,
};
use crate::config::reader::{Section, Text};
use crate::config::template::Template;

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

pub(super) fn time_format(section: &Section<'_>, text: Text<'_>) -> TimeFormat {
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

/// `[options]`: `lang = { default = "zh" }`, `sort = { one_of = ["price", "sale"] }`, `q = { narrows = true }`.
pub(super) fn options(root: &mut Section<'_>, credentials: &[CredentialSpec]) -> Vec<OptionSpec> {
    let Some(section) = root.section("options") else { return Vec::new() };
    let read = |entry: &Entry| {
        let taken = credentials.iter().any(|spec| spec.name == entry.key);
        if taken || PLACES.contains(&entry.key.as_str()) || Template::parse(&format!("{{{}}}", entry.key)).is_err() {
            let problem = Problem::at(&entry.key_place, format!("an option cannot be called `{}`", entry.key));
            section.report.add(
                problem.help("use `a-z`, `0-9`, `_`, and no name of a credential or of what huopan fills in itself"),
            );
        }
        option(section.as_section(&entry.node, &entry.key)?, &entry.key)
    };
    section.table.entries.iter().filter_map(read).collect()
}

fn option(mut section: Section<'_>, name: &str) -> Option<OptionSpec> {
    let default = section.text("default");
    let one_of: Vec<_> = section.texts("one_of").iter().map(|text| text.value.to_owned()).collect();
    if let Some(entry) = section.table.get("one_of")
        && matches!(&entry.node.value, Value::List(list) if list.is_empty())
    {
        let problem = Problem::at(&entry.node.place, format!("the option `{name}` may have no value at all"));
        section.report.add(problem.help("list its values, or remove the line: then it may have any"));
    }
    if let Some(text) = default
        && !one_of.is_empty()
        && !one_of.iter().any(|value| value == text.value)
    {
        let words: Vec<_> = one_of.iter().map(|value| format!("`{value}`")).collect();
        let problem = Problem::at(text.place, format!("`{}` is not in `one_of`", text.value));
        section.report.add(problem.help(format!("one of {}", words.join(", "))));
    }
    let narrows = section.flag("narrows").unwrap_or(false);
    section.finish();
    Some(OptionSpec { name: name.to_owned(), default: default.map(|text| text.value.to_owned()), one_of, narrows })
}

/// What templates may name.
pub(super) struct Places<'d> {
    /// huopan's places, the gateway's credentials and its options.
    all: Vec<&'d str>,
    /// Those of them that may have no value: a parameter is then left out, a path cannot be.
    absent: Vec<&'d str>,
}

impl<'d> Places<'d> {
    pub(super) fn new(credentials: &'d [CredentialSpec], options: &'d [OptionSpec]) -> Self {
        let names = credentials.iter().map(|spec| spec.name.as_str());
        let all = PLACES.iter().copied().chain(names).chain(options.iter().map(|option| option.name.as_str()));
        let optional = credentials.iter().filter(|spec| spec.optional).map(|spec| spec.name.as_str());
        let open = options.iter().filter(|option| option.default.is_none()).map(|option| option.name.as_str());
        Self { all: all.collect(), absent: optional.chain(open).collect() }
    }
}

/// `path = "…"`: all of its places have a value in every call.
pub(super) fn path(section: &mut Section<'_>, places: &Places<'_>) -> Option<Template> {
    let text = section.text("path")?;
    let template = section.as_template(text, &places.all)?;
    if let Some(place) = template.places().find(|place| places.absent.contains(place)) {
        let problem = Problem::at(text.place, format!("`{{{place}}}` may have no value, and a path cannot do without"));
        let help = "an option needs a `default`, a credential must not be optional; or send it as a parameter";
        section.report.add(problem.help(help));
    }
    Some(template)
}

/// `params = { name = "template" }`.
pub(super) fn params(section: &mut Section<'_>, places: &Places<'_>) -> Vec<(String, Template)> {
    let Some(params) = section.section("params") else { return Vec::new() };
    let read = |entry: &Entry| {
        let text = params.as_text(&entry.node, &entry.key)?;
        Some((entry.key.clone(), params.as_template(text, &places.all)?))
    };
    params.table.entries.iter().filter_map(read).collect()
}

/// `[sign]`.
pub(super) fn sign(root: &mut Section<'_>, credentials: &[CredentialSpec]) -> Option<Sign> {
    let mut section = root.section("sign")?;
    for key in ["algorithm", "secret", "text", "param", "value", "into"] {
        section.require(key, "`huopan gateways show portals` has all keys of `[sign]`");
    }
    let secret = section.text("secret").and_then(|text| secret_name(&section, text, credentials));
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
        secret: secret?,
        text: text?,
        param: param?,
        join,
        value: value?,
        skip,
        into: into?,
        unsigned,
    })
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

/// `[token]`.
pub(super) fn token(
    root: &mut Section<'_>,
    http: Http,
    credentials: &[CredentialSpec],
    places: &Places<'_>,
) -> Option<TokenRules> {
    let mut section = root.section("token")?;
    for (key, help) in [
        ("params", "what is sent: `params = { grant_type = \"refresh_token\", refresh_token = \"{refresh_token}\" }`"),
        ("credential", "the credential that is renewed: `credential = \"access_token\"`"),
        ("needs", "the credential without which it cannot be asked: `needs = \"refresh_token\"`"),
        ("token", "the JSON pointer of the new token in the answer"),
        ("expires", "the JSON pointer of its lifetime in seconds"),
    ] {
        section.require(key, help);
    }
    let path = path(&mut section, places);
    let http = section.choice("http", super::HTTP).unwrap_or(http);
    let endpoint = Endpoint { path, http, params: params(&mut section, places), ..Endpoint::named(TOKEN) };
    let credential = section.text("credential").and_then(|text| secret_name(&section, text, credentials));
    let needs = section.text("needs").and_then(|text| secret_name(&section, text, credentials));
    let (token, expires) = (section.pointers("token"), section.pointers("expires"));
    section.finish();
    Some(TokenRules { endpoint, credential: credential?, needs: needs?, token, expires })
}

/// The name of a secret credential.
fn secret_name(section: &Section<'_>, text: Text<'_>, credentials: &[CredentialSpec]) -> Option<String> {
    if credentials.iter().any(|spec| spec.secret && spec.name == text.value) {
        return Some(text.value.to_owned());
    }
    let problem = Problem::at(text.place, format!("`{}` is no secret of `credentials`", text.value));
    section.report.add(problem.help(format!("add `{} = \"secret\"` to `credentials`", text.value)));
    None
}
