mod parts;

use std::path::Path;

use super::*;
use crate::config::Color;
use crate::config::gateway::{
    CredentialSpec, ENDPOINTS, ErrorClass, OFFER_FIELDS, QuotaBlocks, SKU_FIELDS, TimeFormat,
};

fn built_in(name: &str) -> Gateway {
    load_gateway(name, Path::new("")).unwrap_or_else(|problems| panic!("{}", problems.render(Color::Never)))
}

/// Writes files into a folder and loads the first of them.
fn load(files: &[(&str, &str)]) -> Result<Gateway, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let shown = format!("{}/", folder.path().display());
    load_gateway(&format!("./{}", files[0].0), folder.path())
        .map_err(|problems| problems.render(Color::Never).replace(&format!("{shown}./"), "").replace(&shown, ""))
}

#[test]
fn every_built_in_definition_loads_under_its_own_name() {
    for name in builtins() {
        let gateway = built_in(name);
        assert_eq!(gateway.name, name);
        assert_eq!(Some(gateway.text.as_str()), builtin(name));
        assert!(gateway.offer.keys().all(|field| OFFER_FIELDS.contains(&field.as_str())));
        assert!(gateway.sku.keys().all(|field| SKU_FIELDS.contains(&field.as_str())));
    }
}

#[test]
fn the_facts_of_each_gateway_are_what_its_source_says() {
    let portals = built_in("portals");
    assert_eq!(portals.limits.calls_per_day.get("test"), Some(&30));
    assert_eq!(portals.time, TimeFormat::UnixMillis);
    let page = portals.endpoints["listing"].page.as_ref().unwrap();
    assert_eq!((page.last, page.size_max), (Some(50), 40));
    assert_eq!(portals.errors.codes["10002"].class, ErrorClass::Auth);
    assert!(portals.completeness.count && portals.completeness.sku && portals.completeness.price);

    let item_get = built_in("item-get");
    assert_eq!((item_get.url.as_str(), item_get.http), ("", Http::Post));
    assert_eq!(item_get.limits.quota_blocks, QuotaBlocks::Hours(24));
    assert_eq!(item_get.time, TimeFormat::Pattern("%Y-%m-%d %H:%M:%S".into()));

    assert_eq!(built_in("product-get").answer, [Answer::Json, Answer::Xml]);
    assert_eq!(built_in("product-get").time, TimeFormat::UnixSeconds);
    assert_eq!(built_in("shop-search").endpoints["listing"].page.as_ref().unwrap().size_max, 100);

    let aop = built_in("aop");
    let token = CredentialSpec { name: "access_token".into(), secret: true, optional: true };
    assert!(aop.credentials.contains(&token));
    assert_eq!(aop.endpoints["time"].method(), "param2/1/system/currentTime/{app_key}");
    assert!(built_in("onebound").sign.is_none() && built_in("tmapi").sign.is_none());
}

#[test]
fn an_endpoint_is_known_or_only_for_files() {
    for name in builtins() {
        for (endpoint, definition) in &built_in(name).endpoints {
            let answers = !definition.list.is_empty() || !definition.one.is_empty();
            assert!(ENDPOINTS.contains(&endpoint.as_str()) || answers, "{name} {endpoint}");
        }
    }
}

#[test]
fn a_file_that_extends_changes_a_few_keys_and_keeps_the_rest() {
    let text = r#"
        extends = "portals"
        name    = "my-reseller"
        url     = "https://example.com/api/"
        [limits]
        calls_per_day = { gold = 9000 }
        [offer]
        moq = ["/minOrder", "/moq"]
    "#;
    let gateway = load(&[("mine.toml", text)]).unwrap();
    let portals = built_in("portals");
    assert_eq!((gateway.name.as_str(), gateway.url.as_str()), ("my-reseller", "https://example.com/api/"));
    assert_eq!(gateway.limits.calls_per_day.len(), 3, "tables merge");
    assert_eq!(gateway.offer["moq"].at.len(), 2, "anything else is replaced");
    assert_eq!(gateway.offer["ladder"], portals.offer["ladder"]);
    assert_eq!(gateway.text, text);
}

#[test]
fn a_problem_is_shown_in_the_file_it_was_written_in() {
    let mine = "extends = \"./base.toml\"\nname = \"mine\"\n[limits]\ncalls_in_flight = 0\n";
    let base = "extends = \"portals\"\n[offer]\ntitel = \"/subject\"\n";
    let text = load(&[("mine.toml", mine), ("base.toml", base)]).unwrap_err();
    assert_eq!(
        text,
        "\
error: `calls_in_flight` is `0`, outside of 1 to 1000
 --> mine.toml:4:19
  |
4 | calls_in_flight = 0
  |                   ^

error: unknown field `titel`
 --> base.toml:3:1
  |
3 | titel = \"/subject\"
  | ^^^^^
  |
  = help: did you mean `title`?"
    );
}

#[test]
fn definitions_that_extend_each_other_are_refused() {
    let text = load(&[("a.toml", "extends = \"./b.toml\""), ("b.toml", "extends = \"./a.toml\"")]).unwrap_err();
    assert!(text.starts_with("error: a definition extends itself\n --> b.toml:1:11"), "{text}");
}

/// A small right definition, to be spoilt line by line.
const SMALL: &str = r#"
name = "small"
title = "t"
seen = "nowhere"
url = "https://example.com/"
credentials = { key = "plain", pin = "secret" }
[sign]
algorithm = "md5"
secret = "pin"
text = "{secret}{params}"
param = "{name}={value}"
value = "raw"
into = "sign"
[endpoints.listing]
list = "/items"
params = { key = "{key}", shop = "{shop_id}" }
[offer]
offer_id = "/id"
[errors.codes]
1 = { class = "retry" }
"#;

#[test]
fn the_small_definition_is_right() {
    load(&[("small.toml", SMALL)]).unwrap();
}

#[track_caller]
fn spoilt(right: &str, wrong: &str, message: &str) {
    assert!(SMALL.contains(right), "{right}");
    let text = load(&[("small.toml", &SMALL.replace(right, wrong))]).unwrap_err();
    let short = |line: &str| match line.trim_start().strip_prefix("= help: ") {
        Some(help) => Some(format!("→ {help}")),
        None => line.starts_with("error").then(|| line.to_owned()),
    };
    let lines: Vec<_> = text.lines().filter_map(short).collect();
    assert_eq!(lines.join("\n"), message, "{text}");
}

#[test]
fn what_is_wrong_with_a_definition_is_said_with_what_to_change() {
    spoilt("seen = \"nowhere\"", "", "error: `seen` is missing\n→ where it has been seen to work, in one line");
    spoilt(
        "https://example.com/",
        "ftp://example.com/",
        "error: the address `ftp://example.com/` is no `http(s)://` address",
    );
    spoilt(
        "\"plain\"",
        "\"plian\"",
        "error: `plian` is no `kind of credential`\n→ one of `plain`, `plain?`, `secret`, `secret?`\n\
         error: nothing is called `{key}` here\n→ known here: `now`, `format`, `fields`, `shop_url`, `shop_id`, `offer_id`, `offer_ids`, `sku_id`, `category_id`, `page`, `page_size`, `pin`",
    );
    spoilt("md5", "md6", "error: `md6` is no `algorithm`\n→ one of `md5`, `hmac-md5`, `hmac-sha1`, `hmac-sha256`");
    spoilt(
        "secret = \"pin\"",
        "secret = \"key\"",
        "error: `key` is no secret of `credentials`\n→ add `key = \"secret\"` to `credentials`",
    );
    spoilt("{secret}{params}", "{secret}{param}", "error: nothing is called `{param}` here\n→ did you mean `params`?");
    spoilt("{secret}{params}", "{secret", "error: `{` is not closed (write `{{` for a brace)");
    spoilt(
        "list = \"/items\"",
        "",
        "error: `list` is missing\n→ endpoint `listing` needs it: the JSON pointer in its answer",
    );
    spoilt(
        "\"/items\"",
        "\"items.item\"",
        "error: `items.item`: a JSON pointer is empty or starts with `/`\n→ write `/items/item`",
    );
    spoilt("endpoints.listing", "endpoints.listings", "error: unknown endpoint `listings`\n→ did you mean `listing`?");
    spoilt(
        "offer_id = \"/id\"",
        "",
        "error: `offer_id` is missing\n→ without an id a record is no offer: `offer_id = \"/item_id\"`",
    );
    spoilt(
        "\"retry\"",
        "\"again\"",
        "error: `again` is no `class`\n→ one of `retry`, `throttle`, `quota`, `auth`, `param`, `item`, `gone`",
    );
    spoilt(
        "\"retry\"",
        "\"retry\", refuses = \"endpoint\"",
        "error: a code of class `retry` refuses neither account nor endpoint\n→ write `class = \"auth\"`, or remove `refuses`",
    );
    spoilt(
        "\"retry\"",
        "\"auth\", refuses = \"shop\"",
        "error: `shop` is no `refuses`\n→ one of `account`, `endpoint`",
    );
    spoilt(
        "[sign]",
        "time = \"now\"\n[sign]",
        "error: `now` is no time format\n→ `unix_ms`, `unix_s`, or a pattern like `%Y-%m-%d %H:%M:%S`",
    );
    spoilt(
        "[errors.codes]",
        "[completeness]\nchecks = []\nsku_rate_min = \"97\"\n[errors.codes]",
        "error: `97` is no share\n→ from \"0\" to \"1\", at most four decimals: `\"0.97\"`",
    );
    spoilt(
        "[sign]",
        "[shop]\nid_in_url = \"memberId=.*\"\n[sign]",
        "error: the pattern needs exactly one group: the shop id\n→ write `(…)` around the id and `(?:…)` around anything else",
    );
    spoilt("[sign]", "[shop]\nid_in_url = \"(a\"\n[sign]", "error: this is no regular expression");
    spoilt(
        "[sign]",
        "[limits]\nquota_blocks = \"24\"\n[sign]",
        "error: `24` is no `quota_blocks`\n→ `midnight` (Beijing), or hours from the breach: `24h`",
    );
}

#[test]
fn the_shipped_definitions_declare_what_their_sources_say() {
    let item_get = built_in("item-get");
    let defaults: Vec<_> =
        item_get.options.iter().map(|option| (option.name.as_str(), option.default.as_deref())).collect();
    assert_eq!(defaults, [("lang", Some("zh")), ("country", Some("CN"))]);
    assert!(item_get.endpoints["item"].asks_for("lang") && item_get.endpoints["item"].asks_for("country"));
    assert_eq!(item_get.endpoints["item"].cache_seconds, Some(600));

    let search = built_in("shop-search");
    for option in &search.options {
        assert!(option.default.is_none() && search.endpoints["listing"].asks_for(&option.name), "{}", option.name);
    }
    assert_eq!(search.options.last().unwrap().one_of, ["price", "_price", "sale"]);
    let searches = |option: &str| search.searches(&[(option.to_owned(), "1".to_owned())].into());
    assert_eq!(["q", "start_price", "end_price", "sort"].map(searches), [true, true, true, false]);
    assert!(!search.searches(&Default::default()) && !item_get.searches(&Default::default()));

    let portals = built_in("portals");
    let text = |endpoint: &str, param: &str| {
        let params = &portals.endpoints[endpoint].params;
        params.iter().find(|(name, _)| name == param).map(|(_, value)| value.to_string())
    };
    assert_eq!(text("listing", "offline").as_deref(), Some("false"));
    assert_eq!(text("off_sale", "offline").as_deref(), Some("true"));
    assert_eq!(text("off_sale", "method"), text("listing", "method"));
    assert!(portals.endpoints["off_sale"].page.is_some() && portals.endpoints["off_sale"].window.is_some());
    assert_eq!(
        (portals.endpoints["shop"].cache_seconds, portals.endpoints["sku"].cache_seconds),
        (Some(86_400), Some(86_400))
    );

    let token = built_in("aop").token.unwrap();
    assert_eq!(token.endpoint.path.unwrap().to_string(), "http/1/system.oauth2/getToken/{app_key}");
    assert_eq!(
        (token.endpoint.http, token.credential.as_str(), token.needs.as_str()),
        (Http::Post, "access_token", "refresh_token")
    );
    let params: Vec<_> = token.endpoint.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let expected = [
        "grant_type=refresh_token",
        "client_id={app_key}",
        "client_secret={app_secret}",
        "refresh_token={refresh_token}",
    ];
    assert_eq!(params, expected);
}

#[test]
fn what_stops_a_run_says_what_to_do() {
    for name in builtins() {
        for (code, rule) in built_in(name).errors.codes {
            let stops = matches!(rule.class, ErrorClass::Auth | ErrorClass::Param);
            assert!(!stops || rule.hint.is_some(), "{name} {code}");
        }
    }
}

/// A file with its commented keys turned into keys.
pub(in crate::config) fn uncommented(text: &str) -> String {
    let key = Regex::new(r"^# (\[|[a-z_]+ *= *[^ #])").unwrap();
    let line = |line| if key.is_match(line) { &line[2..] } else { line };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_reference_of_the_format_is_right_where_it_is_commented_too() {
    let text = uncommented(builtin("portals").unwrap());
    let gateway = load(&[("whole.toml", &text)]).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(gateway.options.len(), 3);
    assert!(gateway.limits.price_per_call.is_some());
    assert_eq!(gateway.endpoints["item"].batch, Some(20));
    assert!(gateway.offer.contains_key("repurchase_rate"));
}
