//! A gateway definition: everything huopan knows about one gateway, as validated data.
//!
//! Takes nothing from a run; gives every later stage its rules. A new gateway is a new TOML file.
//!
//! Invariant: no code anywhere asks for a gateway's name; it asks for a value in here.

use std::collections::BTreeMap;

use regex::Regex;

use super::pointer::Pointer;
use super::template::Template;

/// One gateway: how to ask, how to sign, how to read an answer, what its errors mean.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// The name pipelines use, and the value of the `gateway` columns.
    pub name: String,
    /// What it is for, in one line.
    pub title: String,
    /// Where it has been seen to work, in one line.
    pub seen: String,
    /// The base address; an endpoint's `path` is appended to it. Empty: the pipeline must name it.
    pub url: String,
    /// How parameters travel unless an endpoint says otherwise.
    pub http: Http,
    /// The formats an answer may have; the first is the one asked for.
    pub answer: Vec<Answer>,
    /// What an account must give, in file order.
    pub credentials: Vec<CredentialSpec>,
    /// Parameters sent with every call.
    pub params: Vec<(String, Template)>,
    /// How `{now}` is written.
    pub time: TimeFormat,
    /// The sale unit where an answer states none.
    pub unit: Option<String>,
    /// `None`: the credentials travel as parameters (resellers), so addresses are secrets.
    pub sign: Option<Sign>,
    /// Pace, quota and sizes.
    pub limits: Limits,
    /// How a shop in a pipeline becomes a shop id.
    pub shop: ShopRules,
    /// By huopan's names: [`ENDPOINTS`]; others only name further shapes of captured answers.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// Where an offer's canonical fields stand in a record.
    pub offer: Mapping,
    /// Where a SKU's canonical fields stand, in an offer's nested records and in `sku` answers.
    pub sku: Mapping,
    /// Values that a pipeline may choose, as further places of templates, in file order.
    pub options: Vec<OptionSpec>,
    /// How an access token is renewed.
    pub token: Option<TokenRules>,
    /// What its errors look like and mean.
    pub errors: ErrorRules,
    /// Which completeness checks apply.
    pub completeness: Completeness,
    /// The file's text as it was read (what `gateways show` prints).
    pub text: String,
}

impl Gateway {
    /// An endpoint; also the one that gives access tokens.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        let token = self.token.as_ref().map(|token| &token.endpoint).filter(|_| name == TOKEN);
        token.or_else(|| self.endpoints.get(name))
    }

    /// Whether listings are searches within their shops, with the options that a pipeline chooses.
    #[must_use]
    pub fn searches(&self, chosen: &BTreeMap<String, String>) -> bool {
        let listing = self.endpoints.get("listing");
        let narrows = |option: &&OptionSpec| {
            let has_value = option.default.is_some() || chosen.contains_key(&option.name);
            let place = |text: &Template| text.places().any(|place| place == option.name);
            let is_sent = listing.is_some_and(|listing| listing.asks_for(&option.name))
                || self.params.iter().any(|(_, text)| place(text));
            option.narrows && has_value && is_sent
        };
        self.options.iter().any(|option| narrows(&option))
    }

    /// What the gateway counts the calls of an endpoint by, where it counts them by endpoint: its own name for it, which
    /// two of huopan's endpoints may share.
    #[must_use]
    pub fn counted_as(&self, endpoint: &str) -> String {
        let method = self.endpoint(endpoint).map(Endpoint::method).filter(|method| !method.is_empty());
        method.unwrap_or_else(|| endpoint.to_owned())
    }
}

/// The endpoints a run asks, beside [`TOKEN`].
///
/// | name | asked for | answer |
/// |---|---|---|
/// | `shop` | the id behind a shop's address | `one`, `shop_id` |
/// | `count` | a shop's official number of offers | `total` |
/// | `categories` | a shop's categories | `list`, `id` |
/// | `listing` | one page of a shop's offers | `list`, `total` |
/// | `off_sale` | one page of a shop's offers that went off sale | `list` |
/// | `item` | one offer, or with `batch` several | `one`, or `list` |
/// | `sku` | one SKU | `one` |
/// | `time` | the gateway's clock: the connection test | |
pub const ENDPOINTS: &[&str] = &["shop", "count", "categories", "listing", "off_sale", "item", "sku", "time"];

/// What a parameter's template may hold beside the names of credentials.
///
/// | place | value |
/// |---|---|
/// | `now` | the moment of sending, as `time` writes it |
/// | `format` | `json` or `xml`, as the pipeline asks |
/// | `fields` | the endpoint's `fields`, joined by commas |
/// | `shop_url`, `shop_id`, `offer_id`, `sku_id`, `category_id` | what is asked about |
/// | `offer_ids` | the offers that a call for several asks about, joined by commas |
/// | `page`, `page_size` | the page asked for |
///
/// and the names of the definition's `options`.
pub const PLACES: &[&str] = &[
    "now",
    "format",
    "fields",
    "shop_url",
    "shop_id",
    "offer_id",
    "offer_ids",
    "sku_id",
    "category_id",
    "page",
    "page_size",
];

/// A value that a pipeline may choose (`[fetch.options]`): a further place of templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionSpec {
    /// Its name in pipelines and templates.
    pub name: String,
    /// What holds where the pipeline chooses nothing; `None`: a parameter that names it is then not sent.
    pub default: Option<String>,
    /// The values it may have; empty: any.
    pub one_of: Vec<String>,
    /// With a value, a listing holds a part of the shop only: what it lacks may be there all the same.
    pub narrows: bool,
}

/// What the call for an access token is called in the ledger and in `calls`.
pub const TOKEN: &str = "token";

/// How an access token is renewed: one unsigned call whose answer is kept nowhere.
#[derive(Debug, Clone)]
pub struct TokenRules {
    /// What is asked: called [`TOKEN`]; its path, its parameters and how they travel.
    pub endpoint: Endpoint,
    /// The credential that it renews (`access_token`).
    pub credential: String,
    /// The credential without which it cannot be asked (`refresh_token`).
    pub needs: String,
    /// Where the new token stands in the answer.
    pub token: Vec<Pointer>,
    /// Where its lifetime in seconds stands: a number or a string.
    pub expires: Vec<Pointer>,
}

/// How parameters travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http {
    /// In the query string.
    Get,
    /// As an URL-encoded form.
    Post,
}

/// The format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// JSON, in UTF-8 or GBK.
    Json,
    /// XML whose elements carry the JSON names.
    Xml,
}

/// One value an account must give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialSpec {
    /// Its name in `credentials` and in templates.
    pub name: String,
    /// Given only by reference, never printed or landed.
    pub secret: bool,
    /// The account may leave it out; parameters that need it are then not sent.
    pub optional: bool,
}

/// How a moment is written into a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// 13 digits.
    UnixMillis,
    /// 10 digits.
    UnixSeconds,
    /// A `strftime` pattern, in Beijing time.
    Pattern(String),
}

/// How a call is signed. Every scheme of WIRE §1 is one of these templates.
#[derive(Debug, Clone)]
pub struct Sign {
    /// The digest.
    pub algorithm: Algorithm,
    /// The credential that is the key or stands in `text` as `{secret}`.
    pub secret: String,
    /// What is hashed: `{secret}`, `{params}`, `{path}`.
    pub text: Template,
    /// One parameter: `{name}`, `{value}`.
    pub param: Template,
    /// What stands between two parameters.
    pub join: String,
    /// How a value enters the text.
    pub value: ValueEncoding,
    /// Which values are neither sent nor signed.
    pub skip: Skip,
    /// The parameter that carries the signature, upper-case hex.
    pub into: String,
    /// Sent but not signed.
    pub unsigned: Vec<String>,
}

/// The digest of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// MD5 of the text.
    Md5,
    /// HMAC-MD5, keyed with the secret.
    HmacMd5,
    /// HMAC-SHA1, keyed with the secret.
    HmacSha1,
    /// HMAC-SHA256, keyed with the secret.
    HmacSha256,
}

/// How a value enters the signed text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueEncoding {
    /// RFC 3986: all but `A-Z a-z 0-9 - . _ ~` percent-encoded, from UTF-8.
    Percent,
    /// As it is.
    Raw,
}

/// Which values are neither sent nor signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// Those that are absent.
    Null,
    /// Those that are absent or empty.
    Empty,
}

/// Pace, quota and sizes of one account.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Calls per Beijing day, by licence. Empty: no limit is known.
    pub calls_per_day: BTreeMap<String, u64>,
    /// What `calls_per_day` counts.
    pub quota_scope: QuotaScope,
    /// How long a breach of the quota blocks.
    pub quota_blocks: QuotaBlocks,
    /// Greatest number of calls at once.
    pub calls_in_flight: u32,
    /// Greatest number of calls sent in any one-second window, whatever the licence.
    pub calls_per_second: Option<f64>,
    /// … by licence, where each has its own. Empty, or one for each of `calls_per_day`.
    pub calls_per_second_of: BTreeMap<String, f64>,
    /// How long a worker rests after each call.
    pub pause: Pause,
    /// A larger difference between the clocks makes the gateway refuse.
    pub clock_skew_seconds_max: Option<u64>,
    /// Connecting takes at most this long.
    pub connect_seconds: f64,
    /// One answer takes at most this long.
    pub read_seconds: f64,
    /// A larger answer is cut and counts as broken.
    pub body_bytes_max: u64,
    /// Attempts of one call, the first included.
    pub attempts_max: u32,
    /// What a call costs, where the gateway sells calls.
    pub price_per_call: Option<CallPrice>,
}

/// What a call costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPrice {
    /// The amount.
    pub amount: crate::base::money::Money,
    /// ISO 4217.
    pub currency: String,
}

/// What a quota counts (S2's "单店日限30" leaves it open).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaScope {
    /// All calls of an account.
    Account,
    /// The calls of an account to each endpoint.
    Endpoint,
    /// The calls of an account about each shop.
    Shop,
}

/// How long a breach of a quota blocks an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaBlocks {
    /// Until midnight in Beijing.
    Midnight,
    /// This many hours from the breach.
    Hours(u32),
}

/// Rests of one worker, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pause {
    /// After an answer.
    pub success: f64,
    /// After a failure that may be retried.
    pub failure: f64,
    /// After a throttle answer without a wait of its own.
    pub throttle: f64,
}

/// How a shop in a pipeline becomes `{shop_id}`.
#[derive(Debug, Clone, Default)]
pub struct ShopRules {
    /// Patterns with one group, tried in order on a shop's address; else endpoint `shop` is asked.
    pub id_in_url: Vec<Regex>,
    /// A shop id must match this (a shop *name* given as an id is refused with a hint).
    pub id_pattern: Option<Regex>,
}

/// One question a gateway answers.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// huopan's name for it.
    pub name: String,
    /// Appended to the base address, and `{path}` in the signed text.
    pub path: Option<Template>,
    /// How its parameters travel.
    pub http: Http,
    /// Its own parameters.
    pub params: Vec<(String, Template)>,
    /// What `{fields}` stands for, joined by commas.
    pub fields: Vec<String>,
    /// The record, at the first pointer that is there.
    pub one: Vec<Pointer>,
    /// The records, at the first pointer that is there.
    pub list: Vec<Pointer>,
    /// How many records there are in all.
    pub total: Vec<Pointer>,
    /// The id of a record (categories).
    pub id: Vec<Pointer>,
    /// The shop id in the record of endpoint `shop`.
    pub shop_id: Vec<Pointer>,
    /// Page parameters of a listing.
    pub page: Option<Paging>,
    /// How a listing is narrowed to a span of time.
    pub window: Option<Window>,
    /// The parameter that narrows a listing to one category.
    pub category: Option<String>,
    /// The greatest number of offers that one call asks about (`{offer_ids}`); `None`: one.
    pub batch: Option<u32>,
    /// How long an answer may be used again, in seconds (`cache_hours`, `cache_minutes`).
    pub cache_seconds: Option<u64>,
}

impl Endpoint {
    /// An endpoint that asks with GET and states nothing else.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Endpoint {
            name: name.to_owned(),
            path: None,
            http: Http::Get,
            params: Vec::new(),
            fields: Vec::new(),
            one: Vec::new(),
            list: Vec::new(),
            total: Vec::new(),
            id: Vec::new(),
            shop_id: Vec::new(),
            page: None,
            window: None,
            category: None,
            batch: None,
            cache_seconds: None,
        }
    }

    /// The gateway's own name for it: its `method` parameter, else its path, else nothing.
    #[must_use]
    pub fn method(&self) -> String {
        let method = self.params.iter().find(|(name, _)| name == "method").map(|(_, value)| value);
        method.or(self.path.as_ref()).map(ToString::to_string).unwrap_or_default()
    }

    /// Whether one of its own parameters, or its path, holds the place `{name}`.
    #[must_use]
    pub fn asks_for(&self, name: &str) -> bool {
        self.params
            .iter()
            .map(|(_, value)| value)
            .chain(&self.path)
            .any(|text| text.places().any(|place| place == name))
    }
}

/// How a listing is narrowed to a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The parameter with the inclusive start.
    pub start: String,
    /// The parameter with the inclusive end, where the gateway has one.
    pub end: Option<String>,
    /// How both are written; `None`: as `{now}` is.
    pub time: Option<TimeFormat>,
    /// The canonical field they speak of.
    pub field: String,
    /// Parameters that are not sent together with a window.
    pub drop: Vec<String>,
    /// Parameters that are sent together with a window only: the value of the ascending sort, where it is known.
    pub params: Vec<(String, Template)>,
    /// An incremental listing starts this long before the shop's watermark.
    pub overlap_seconds: u64,
}

/// Page parameters of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging {
    /// The parameter with the page's number. Empty: `{page}` and `{page_size}` stand inside other parameters.
    pub number: String,
    /// The first page's number.
    pub first: u32,
    /// The last page the gateway serves; past it, it answers empty pages without an error.
    pub last: Option<u32>,
    /// The parameter with the page's size.
    pub size: Option<String>,
    /// The greatest size it takes, and the one asked for.
    pub size_max: u32,
}

impl Paging {
    /// Pages that one listing can show; `None`: no bound is known.
    #[must_use]
    pub fn pages(&self) -> Option<u64> {
        self.last.map(|last| (u64::from(last) + 1).saturating_sub(self.first.into()))
    }

    /// Records that they hold, where each is as long as is asked for; without a bound the greatest number.
    #[must_use]
    pub fn places(&self) -> u64 {
        self.pages().map_or(u64::MAX, |pages| pages.saturating_mul(self.size_max.max(1).into()))
    }
}

/// Canonical field → where it stands. Field names are those of [`OFFER_FIELDS`] and [`SKU_FIELDS`].
pub type Mapping = BTreeMap<String, FieldSource>;

/// Where one canonical field stands in a record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSource {
    /// Pointers into the record; the first whose value is not empty counts.
    pub at: Vec<Pointer>,
    /// For a rate only: how it is scaled.
    pub scale: Option<Scale>,
    /// For a list of name-value records (`attributes`, `spec`): where the name stands in each.
    pub name: Vec<Pointer>,
    /// … and the value; for a list of picture records (`image_urls`): where the address stands in each.
    pub value: Vec<Pointer>,
}

/// How a rate is scaled where its text does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// `38.46` and `"10%"` are 38.46 % and 10 %.
    Percent,
    /// `0.27` is 27 %.
    Fraction,
}

/// The canonical fields of an offer.
pub const OFFER_FIELDS: &[&str] = &[
    "offer_id",
    "shop_id",
    "shop_name",
    "title",
    "brand",
    "category_id",
    "ship_from",
    "detail_url",
    "image_url",
    "image_urls",
    "video_url",
    "price",
    "price_max",
    "promotion_price",
    "channel_price",
    "dropship_price",
    "retail_price",
    "currency",
    "quote_type",
    "ladder",
    "unit",
    "sale_unit",
    "batch_number",
    "pack",
    "attributes",
    "moq",
    "stock",
    "sales",
    "like_count",
    "comment_count",
    "favorite_count",
    "repurchase_rate",
    "sku_ids",
    "skus",
    "status",
    "created_at",
    "modified_at",
];

/// The canonical fields of a SKU.
pub const SKU_FIELDS: &[&str] =
    &["sku_id", "spec", "price", "promotion_price", "channel_price", "stock", "cargo_number", "ladder"];

/// What a gateway's errors look like and mean.
#[derive(Debug, Clone, Default)]
pub struct ErrorRules {
    /// Where a code may stand.
    pub code: Vec<Pointer>,
    /// Where a finer code may stand.
    pub sub_code: Vec<Pointer>,
    /// Where a message may stand; a code may also stand only inside it.
    pub message: Vec<Pointer>,
    /// Codes that mean success.
    pub ok: Vec<String>,
    /// Flags that must be `true` (or `"true"`) where they are there.
    pub success: Vec<Pointer>,
    /// What a code (or a `prefix.*`) means; the most specific entry counts, sub-code first.
    pub codes: BTreeMap<String, CodeRule>,
}

/// What one code means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeRule {
    /// What to do about it.
    pub class: ErrorClass,
    /// What to tell the user.
    pub hint: Option<String>,
    /// How long to wait, where the code implies it.
    pub wait_seconds: Option<u64>,
    /// Of class `auth`: what is refused; `None`: the words of the answer say it.
    pub refuses: Option<Refuses>,
}

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refuses {
    /// The account: its key, its signature or its token.
    Account,
    /// A permission for the endpoint: the account may ask others.
    Endpoint,
}

/// What to do about an error answer (WIRE §1 "Errors").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorClass {
    /// Ask again after a while.
    Retry,
    /// Slow down, then ask again.
    Throttle,
    /// This account has no calls left until its block ends.
    Quota,
    /// Stop: a key, a signature or a permission is wrong.
    Auth,
    /// Stop: a parameter is wrong.
    Param,
    /// This item only: quarantine.
    Item,
    /// The offer is no longer there.
    Gone,
}

impl ErrorClass {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Retry, Self::Throttle, Self::Quota, Self::Auth, Self::Param, Self::Item, Self::Gone];

    /// Its name in definitions, tables and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ErrorClass::Retry => "retry",
            ErrorClass::Throttle => "throttle",
            ErrorClass::Quota => "quota",
            ErrorClass::Auth => "auth",
            ErrorClass::Param => "param",
            ErrorClass::Item => "item",
            ErrorClass::Gone => "gone",
        }
    }
}

/// Which completeness checks apply, and their bounds (WIRE §4, §5 "Completeness").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completeness {
    /// The official count is compared with the offers fetched.
    pub count: bool,
    /// The share of offers with all their SKUs is judged, where SKU data is fetched.
    pub sku: bool,
    /// The share of offers with a wholesale, spread or channel price is judged.
    pub price: bool,
    /// Greatest difference between official count and offers fetched.
    pub count_tolerance: u64,
    /// Smallest share of SKU-complete offers, in units of 10⁻⁴.
    pub sku_rate_min: i64,
    /// Smallest share of price-complete offers, in units of 10⁻⁴.
    pub price_rate_min: i64,
}
