//! Definitions for tests, built by hand: a small portals-like gateway without rests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::base::Secret;
use crate::config::gateway::{
    Algorithm, Answer, CodeRule, Completeness, CredentialSpec, Endpoint, ErrorClass, ErrorRules, FieldSource, Gateway,
    Http, Limits, Paging, Pause, QuotaBlocks, QuotaScope, ShopRules, Sign, Skip, TimeFormat, ValueEncoding,
};
use crate::config::location::Location;
use crate::config::pipeline::{
    Account, AccountChoice, Credential, Fetch, FetchDetails, FetchListing, Guard, LakeConfig, OnIncomplete, OnQuota,
    Shop, StateConfig, Units,
};
use crate::config::{Pipeline, Pointer, Template};

pub fn pointer(text: &str) -> Pointer {
    Pointer::parse(text).unwrap()
}

pub fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

pub fn limits() -> Limits {
    Limits {
        calls_per_day: BTreeMap::new(),
        quota_scope: QuotaScope::Account,
        quota_blocks: QuotaBlocks::Midnight,
        calls_in_flight: 4,
        calls_per_second: None,
        calls_per_second_of: BTreeMap::new(),
        pause: Pause { success: 0.0, failure: 0.0, throttle: 0.0 },
        clock_skew_seconds_max: Some(180),
        connect_seconds: 5.0,
        read_seconds: 10.0,
        body_bytes_max: 1 << 20,
        attempts_max: 3,
        price_per_call: None,
    }
}

pub fn endpoint(name: &str) -> Endpoint {
    Endpoint::named(name)
}

fn params(list: &[(&str, &str)]) -> Vec<(String, Template)> {
    list.iter().map(|(name, text)| ((*name).to_owned(), template(text))).collect()
}

/// Endpoints `shop`, `count`, `listing` (pages of 2, at most 5), `sku` and `item`.
pub fn gateway(url: &str) -> Gateway {
    let shop = Endpoint {
        params: params(&[("method", "shop"), ("shop_url", "{shop_url}")]),
        one: vec![pointer("/shop_get_response/shop")],
        shop_id: vec![pointer("/member_id")],
        ..endpoint("shop")
    };
    let count = Endpoint {
        params: params(&[("method", "count"), ("member_id", "{shop_id}")]),
        total: vec![pointer("/count_response/total_count")],
        ..endpoint("count")
    };
    let listing = Endpoint {
        params: params(&[("method", "listing"), ("member_id", "{shop_id}"), ("fields", "{fields}")]),
        fields: vec!["item_id".into(), "skuIds".into()],
        list: vec![pointer("/list_response/items/item")],
        page: Some(Paging {
            number: "pageNum".into(),
            first: 1,
            last: Some(5),
            size: Some("pageSize".into()),
            size_max: 2,
        }),
        ..endpoint("listing")
    };
    let sku = Endpoint {
        params: params(&[("method", "sku"), ("sku_id", "{sku_id}")]),
        one: vec![pointer("/sku_get_response/sku")],
        ..endpoint("sku")
    };
    let item = Endpoint {
        http: Http::Post,
        params: params(&[("method", "item"), ("item_id", "{item_id}")]),
        one: vec![pointer("/item_get_response/item"), pointer("/item")],
        ..endpoint("item")
    };
    let field = |at: &str| FieldSource { at: vec![pointer(at)], ..FieldSource::default() };
    Gateway {
        name: "test".into(),
        title: String::new(),
        seen: String::new(),
        url: url.to_owned(),
        http: Http::Get,
        answer: vec![Answer::Json],
        credentials: vec![
            CredentialSpec { name: "app_key".into(), secret: false, optional: false },
            CredentialSpec { name: "app_secret".into(), secret: true, optional: false },
            CredentialSpec { name: "access_token".into(), secret: true, optional: true },
        ],
        params: params(&[
            ("app_key", "{app_key}"),
            ("timestamp", "{now}"),
            ("session", "{access_token}"),
            ("v", "2.0"),
        ]),
        time: TimeFormat::UnixMillis,
        unit: None,
        sign: Some(Sign {
            algorithm: Algorithm::Md5,
            secret: "app_secret".into(),
            text: template("{secret}{params}{secret}"),
            param: template("{name}={value}"),
            join: "&".into(),
            value: ValueEncoding::Percent,
            skip: Skip::Null,
            into: "sign".into(),
            unsigned: Vec::new(),
        }),
        limits: limits(),
        shop: ShopRules::default(),
        endpoints: [shop, count, listing, sku, item].map(|endpoint| (endpoint.name.clone(), endpoint)).into(),
        offer: [("offer_id".to_owned(), field("/item_id")), ("sku_ids".to_owned(), field("/skuIds"))].into(),
        sku: BTreeMap::new(),
        options: Vec::new(),
        token: None,
        errors: errors(),
        completeness: Completeness {
            count: true,
            sku: true,
            price: true,
            count_tolerance: 5,
            sku_rate_min: 9700,
            price_rate_min: 9700,
        },
        text: String::new(),
    }
}

/// The codes of S2, S3, TOP and aop in one table.
pub fn errors() -> ErrorRules {
    let rule = |class, hint: Option<&str>| CodeRule {
        class,
        hint: hint.map(str::to_owned),
        wait_seconds: None,
        refuses: None,
    };
    let codes = [
        ("1001", rule(ErrorClass::Param, None)),
        ("10002", rule(ErrorClass::Auth, Some("copy the secret again"))),
        ("5002", rule(ErrorClass::Retry, None)),
        ("429", rule(ErrorClass::Throttle, None)),
        ("4013", rule(ErrorClass::Quota, None)),
        ("7", rule(ErrorClass::Retry, None)),
        ("25", rule(ErrorClass::Auth, None)),
        ("isp.*", rule(ErrorClass::Retry, None)),
        ("isp.item-*", rule(ErrorClass::Item, None)),
        ("isv.invalid-permission", rule(ErrorClass::Auth, None)),
        ("isv.param-error", rule(ErrorClass::Param, None)),
        ("gw.QosAppFrequencyLimit", CodeRule { wait_seconds: Some(10), ..rule(ErrorClass::Throttle, None) }),
        ("gw.APIACLDecline", rule(ErrorClass::Auth, None)),
        ("gw.ParamMissing", rule(ErrorClass::Param, None)),
    ];
    ErrorRules {
        code: vec![pointer("/error_response/code"), pointer("/error_code"), pointer("/errorCode")],
        sub_code: vec![pointer("/error_response/sub_code")],
        message: ["/error_response/msg", "/error_response/sub_msg", "/error_message", "/errorMsg"]
            .map(pointer)
            .to_vec(),
        ok: vec!["0000".into(), "200".into()],
        success: vec![pointer("/success"), pointer("/result/success"), pointer("/result/result/success")],
        codes: codes.map(|(code, rule)| (code.to_owned(), rule)).into(),
    }
}

pub fn account(name: &str) -> Account {
    Account {
        name: name.to_owned(),
        credentials: [
            ("app_key".to_owned(), Credential::Plain("1000000".into())),
            ("app_secret".to_owned(), Credential::Secret(Secret::new("test123secret"))),
        ]
        .into(),
        key: "1000000".into(),
        calls_per_day: None,
        calls_per_second: None,
        proxy: None,
    }
}

pub fn shop(id: &str) -> Shop {
    Shop { id: Some(id.to_owned()), url: None, name: None }
}

pub fn pipeline(gateway: Gateway) -> Pipeline {
    Pipeline {
        name: "test".into(),
        gateway,
        shops: Vec::new(),
        items: Vec::new(),
        files: None,
        details: None,
        on_quota: OnQuota::Continue,
        account_choice: AccountChoice::Drain,
        on_incomplete: OnIncomplete::Publish,
        guard: Guard::default(),
        accounts: vec![account("main")],
        fetch: Fetch {
            listing: FetchListing::All,
            full_days: 7,
            skus: FetchDetails::Off,
            details: FetchDetails::Off,
            options: BTreeMap::new(),
            cache: true,
            answer: Answer::Json,
        },
        units: Units::default(),
        lake: LakeConfig {
            location: Location::Folder(PathBuf::new()),
            keep: Default::default(),
            maintenance: Default::default(),
            memory_bytes_max: 64 << 20,
        },
        state: StateConfig::Sqlite(PathBuf::new()),
        alerts: Vec::new(),
        watches: Vec::new(),
        metrics: crate::config::pipeline::Metrics::default(),
        config_hash: String::new(),
        path: PathBuf::new(),
    }
}

pub fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}
