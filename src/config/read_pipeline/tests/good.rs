//! Right pipelines: what each key becomes.

use super::*;
use crate::base::Secret;
use crate::config::pipeline::{AlertKind, AlertOn, FetchListing, Guard, Keep, Maintenance, RedisConfig, StateConfig};

/// A pipeline that lists through one gateway and gets details through another.
pub(super) const TWO: &str = r#"name    = "nightly"
gateway = "portals"
shops   = ["b2b-2200733087881719de"]

[[accounts]]
name        = "main"
credentials = { app_key = "12345678", app_secret = "env:GOOD" }
licence     = "paid"

[[accounts]]
name        = "details"
gateway     = "item-get"
credentials = { app_key = "12345678", app_secret = "env:GOOD" }
licence     = "personal"

[fetch]
listing         = "changed"
details         = "missing"
details_gateway = "item-get"
details_url     = "https://details.example.com/api"

[fetch.options]
lang = "en"
"#;

#[test]
fn a_pipeline_that_says_nothing_gets_the_defaults() {
    let pipeline = load(RIGHT).unwrap();
    assert_eq!((pipeline.on_quota, pipeline.account_choice), (OnQuota::Refuse, AccountChoice::Drain));
    let fetch = &pipeline.fetch;
    assert_eq!((fetch.listing, fetch.full_days, fetch.details), (FetchListing::All, 7, FetchDetails::Off));
    assert!(fetch.cache && fetch.options.is_empty());
    assert!(pipeline.details.is_none() && pipeline.alerts.is_empty());
    let account = &pipeline.accounts[0];
    assert_eq!((account.key.as_str(), account.calls_per_second, &account.proxy), ("12345678", None, &None));
    let parent = pipeline.path.parent().unwrap().parent().unwrap();
    assert_eq!(pipeline.state, StateConfig::Sqlite(parent.join("data/state.sqlite")), "a path without `..`");
}

#[test]
fn how_long_things_are_kept_is_read() {
    assert_eq!(load(RIGHT).unwrap().lake.keep, Keep { tables: None, raw: Some(90), history: 7 });
    let keys = "url = \"lake\"\nretain_days = 400\nraw_days = 30\nhistory_days = 14\nmaintenance = \"off\"";
    let lake = load(&RIGHT.replace("url = \"lake\"", keys)).unwrap().lake;
    assert_eq!(lake.keep, Keep { tables: Some(400), raw: Some(30), history: 14 });
    assert_eq!(lake.maintenance, Maintenance::Off);
}

#[test]
fn what_a_run_may_do_is_read() {
    let text = RIGHT.replace("shops ", "on_quota = \"continue\"\naccount_choice = \"rotate\"\nshops ").replace(
        "[lake]",
        "calls_per_second = 0.5\nproxy = \"env:PROXY\"\n[fetch]\nfull_days = 30\nskus = \"changed\"\ncache = false\n[lake]",
    );
    let pipeline = load(&text).unwrap();
    assert_eq!((pipeline.on_quota, pipeline.account_choice), (OnQuota::Continue, AccountChoice::Rotate));
    let fetch = &pipeline.fetch;
    assert_eq!((fetch.full_days, fetch.skus, fetch.cache), (30, FetchDetails::Changed, false));
    assert_eq!(pipeline.accounts[0].calls_per_second, Some(0.5));
    let proxy = Secret::new(format!("http://me:{SECRET}@127.0.0.1:1080"));
    assert_eq!(pipeline.accounts[0].proxy, Some(proxy));
    assert!(!format!("{pipeline:?}").contains(SECRET));
}

#[test]
fn the_guard_is_on_and_each_of_its_numbers_may_be_changed() {
    let guard = |lines: &str| load(&format!("{RIGHT}{lines}")).unwrap().guard;
    let default = Guard { drop_share_max: 0.3, price_factor: 10, price_share_max: 0.3, offers_min: 5 };
    assert_eq!(guard(""), default);
    assert_eq!(guard("[guard]\ndrop_share_max = 1\n"), Guard { drop_share_max: 1.0, ..default });
    let all = "[guard]\ndrop_share_max = 0.5\nprice_factor = 3\nprice_share_max = 0\noffers_min = 1\n";
    let changed = Guard { drop_share_max: 0.5, price_factor: 3, price_share_max: 0.0, offers_min: 1 };
    assert_eq!(guard(all), changed);
}

#[test]
fn details_come_from_another_gateway_through_accounts_of_their_own() {
    let pipeline = load(TWO).unwrap();
    assert_eq!((pipeline.accounts.len(), pipeline.accounts[0].name.as_str()), (1, "main"));
    assert_eq!(pipeline.fetch.listing, FetchListing::Changed);
    assert_eq!(pipeline.fetch.options["lang"], "en");
    let details = pipeline.details.unwrap();
    assert_eq!(details.gateway.name, "item-get");
    assert_eq!(details.gateway.url, "https://details.example.com/api");
    assert_eq!((details.accounts.len(), details.accounts[0].name.as_str()), (1, "details"));
    assert_eq!(details.accounts[0].calls_per_day, Some(100), "its licence is one of that gateway");

    let mine: &[u8] = b"extends = 'item-get'\nname = 'mine'\nurl = 'https://example.com/'\n";
    for name in ["mine", "./mine.toml"] {
        let text = TWO.replace("gateway     = \"item-get\"", &format!("gateway = \"{name}\""));
        let text = text.replace("details_gateway = \"item-get\"", "details_gateway = \"./mine.toml\"");
        let pipeline = load_with(&text.replace("details_url ", "# "), &[("mine.toml", mine)]).unwrap();
        assert_eq!(pipeline.details.unwrap().gateway.name, "mine", "named as `{name}`");
    }
}

#[test]
fn the_hash_follows_the_details_gateway() {
    let with = |definition: &[u8]| {
        let text = TWO.replace("\"item-get\"", "\"./mine.toml\"");
        load_with(&text, &[("mine.toml", definition)]).unwrap().config_hash
    };
    assert_ne!(with(b"extends = 'item-get'\nname = 'mine'"), with(b"extends = 'item-get'\nname = 'mine'\nunit = 'x'"));
}

#[test]
fn an_account_may_name_the_pipelines_own_gateway() {
    let pipeline = load(&TWO.replace("\"main\"", "\"main\"\ngateway = \"portals\"")).unwrap();
    assert_eq!(pipeline.accounts[0].name, "main");
}

#[test]
fn the_state_is_a_file_or_a_redis() {
    let state = |url: &str| {
        let pipeline = load(&format!("{RIGHT}[state]\nurl = \"{url}\"\n")).unwrap();
        (pipeline.state, pipeline.path.parent().unwrap().to_owned())
    };
    let (file, folder) = state("./x/../state/./here.sqlite");
    assert_eq!(file, StateConfig::Sqlite(folder.join("state/here.sqlite")));
    assert_eq!(state("/var/lib/huopan.sqlite").0, StateConfig::Sqlite("/var/lib/huopan.sqlite".into()));
    let address = format!("rediss://:{SECRET}@redis.example.com:6379/2");
    let redis = |address: &str| StateConfig::Redis(RedisConfig { address: Secret::new(address), ca: None });
    assert_eq!(state("env:REDIS").0, redis(&address));
    assert_eq!(state("redis://127.0.0.1:6379/1").0, redis("redis://127.0.0.1:6379/1"));
}

#[test]
fn a_redis_with_tls_may_have_authorities_of_its_own() {
    let text = format!("{RIGHT}[state]\nurl = \"env:REDIS\"\nca = \"ca.pem\"\n");
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let StateConfig::Redis(server) = load_with(&text, &[("ca.pem", pem.as_bytes())]).unwrap().state else { panic!() };
    assert_eq!(server.ca.as_deref(), Some(pem));
}

#[test]
fn an_alert_hears_all_but_what_was_published_unless_it_says() {
    let text = format!(
        "{RIGHT}[[alerts]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"env:HOOK\"\n\
         [[alerts]]\nname = \"heartbeat\"\nkind = \"webhook\"\nurl = \"env:HOOK\"\non = [\"published\", \"published\"]\n"
    );
    let alerts = load(&text).unwrap().alerts;
    assert_eq!((alerts[0].name.as_str(), alerts[0].kind), ("ops", AlertKind::Webhook));
    assert_eq!(alerts[0].on, [AlertOn::Failed, AlertOn::Incomplete, AlertOn::Quota, AlertOn::Denied, AlertOn::Held]);
    assert_eq!(alerts[1].on, [AlertOn::Published]);
    assert_eq!(alerts[0].url.expose(), format!("https://example.com/hook?key={SECRET}"));
}

#[test]
fn robots_may_be_signed_for_and_watches_name_them() {
    let text = format!(
        "{RIGHT}[[alerts]]\nname = \"ops\"\nkind = \"dingtalk\"\nurl = \"env:HOOK\"\nsign = \"env:GOOD\"\n\
         [[alerts]]\nname = \"price-desk\"\nkind = \"wecom\"\nurl = \"env:HOOK\"\non = []\n\
         [[watches]]\nname = \"降价超过 5%\"\nsql = \"select * from price_changes where change_pct <= -5\"\n\
         alert = \"ops\"\n\
         [[watches]]\nname = \"sold out\"\nsql = \"\"\"\n  select *\n  from stock_outs\n\"\"\"\nrows = 5\n\
         alert = [\"price-desk\", \"ops\", \"ops\"]\n"
    );
    let pipeline = load(&text).unwrap();
    assert_eq!(pipeline.alerts[0].kind, AlertKind::DingTalk);
    assert_eq!(pipeline.alerts[0].sign.as_ref().map(Secret::expose), Some(SECRET));
    assert!(pipeline.alerts[1].sign.is_none() && pipeline.alerts[1].on.is_empty());
    let [cuts, sold_out] = &pipeline.watches[..] else { panic!("{:?}", pipeline.watches) };
    assert_eq!((cuts.name.as_str(), cuts.rows_max, &cuts.alerts[..]), ("降价超过 5%", 20, &["ops".to_owned()][..]));
    assert_eq!((sold_out.sql.as_str(), sold_out.rows_max), ("select *\n  from stock_outs", 5));
    assert_eq!(sold_out.alerts, ["price-desk", "ops"]);
    assert_eq!(cuts.line, RIGHT.lines().count() + 13);
}

#[test]
fn metrics_go_to_a_file_beside_the_pipeline_and_to_a_collector() {
    assert!(load(RIGHT).unwrap().metrics.textfile.is_none());
    let metrics = |lines: &str| load(&format!("{RIGHT}[metrics]\n{lines}\n")).unwrap().metrics;
    let file = metrics("textfile = \"../metrics/nightly.prom\"").textfile.unwrap();
    assert!(file.is_absolute() && file.ends_with("metrics/nightly.prom"), "{file:?}");
    for (given, expected) in [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/metrics"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/metrics"),
        ("https://o.example.com/tenant", "https://o.example.com/tenant/v1/metrics"),
        ("https://o.example.com/v1/metrics", "https://o.example.com/v1/metrics"),
    ] {
        let otlp = metrics(&format!("otlp = \"{given}\"")).otlp.unwrap();
        assert_eq!((otlp.url.expose(), otlp.headers.len()), (expected, 0));
    }
    let otlp = metrics("otlp = \"env:HOOK\"\notlp_headers = \"env:HEADERS\"").otlp.unwrap();
    assert_eq!(otlp.url.expose(), format!("https://example.com/hook/v1/metrics?key={SECRET}"));
    let headers: Vec<_> = otlp.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers, [("authorization", format!("Bearer {SECRET}+/=").as_str()), ("x-scope", "ops")]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_secret() {
    let text = RIGHT.replace("env:GOOD", "file:key");
    let pipeline = load_with(&text, &[("key", b"\xef\xbb\xbfabc\xe2\x80\x8b\r\n")]).unwrap();
    assert_eq!(pipeline.accounts[0].credentials["app_secret"].expose(), "abc");
}

#[test]
fn accounts_at_two_gateways_may_have_one_key() {
    assert_eq!(load(TWO).unwrap().details.unwrap().accounts[0].key, "12345678");
}

#[test]
fn an_account_of_secrets_only_has_a_key_that_gives_nothing_away() {
    let text = RIGHT.replace("\"portals\"", "\"tmapi\"").replace("https://shop12345678.1688.com", "b2b-1");
    let text = text.replace("app_key = \"12345678\", app_secret", "api_token").replace("licence     = \"paid\"\n", "");
    let key = load(&text).unwrap().accounts[0].key.clone();
    assert!(key.starts_with("secret-") && !key.contains(SECRET), "{key}");
}

#[test]
fn the_memory_for_a_days_tables_is_read_in_mebibytes() {
    let pipeline = load(&RIGHT.replace("url = \"lake\"", "url = \"lake\"\nmemory_mib = 96")).unwrap();
    assert_eq!(pipeline.lake.memory_bytes_max, 96 << 20);
}
