//! The gateways: which addresses they have, what they refuse and how, what they answer.
//!
//! Each gateway is one file with two functions: `answer` (a call that passed every check) and `refuse`
//! (the family's error envelope, WIRE §1 "Errors").

pub(super) mod aop;
pub(super) mod item_get;
mod listings;
pub(super) mod portals;
pub(super) mod product_get;
pub(super) mod records;
pub(super) mod shop_search;

use std::collections::BTreeMap;

pub use listings::{ListingOrder, ListingTotals, Listings, PageNumbers, SlowListing, WindowEnd};
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::options::QuotaScope;
use super::random::hash_text;
use super::shapes::Family;
use super::world::{Day, Shop};

/// The gateways the simulator speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gateway {
    /// Whole shops (S2).
    Portals,
    /// Single items (S0).
    ItemGet,
    /// Single items, JSON or XML (S1).
    ProductGet,
    /// Shop listings (S3).
    ShopSearch,
    /// The official gateway.
    Aop,
}

impl Gateway {
    /// All of them.
    pub const ALL: [Gateway; 5] =
        [Gateway::Portals, Gateway::ItemGet, Gateway::ProductGet, Gateway::ShopSearch, Gateway::Aop];

    /// Its name in definitions.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Gateway::Portals => "portals",
            Gateway::ItemGet => "item-get",
            Gateway::ProductGet => "product-get",
            Gateway::ShopSearch => "shop-search",
            Gateway::Aop => "aop",
        }
    }

    /// The path of its base address. Aop's is continued by `param2/{version}/{namespace}/{api}/{appKey}`.
    #[must_use]
    pub fn base_path(self) -> &'static str {
        match self {
            Gateway::Portals => "/portals/openapi/param2/2/portals.open/api/",
            Gateway::ItemGet => "/item-get",
            Gateway::ProductGet => "/product-get/openapi/param2/1/com.alibaba.product/alibaba.product.get",
            Gateway::ShopSearch => "/shop-search/router/rest",
            Gateway::Aop => "/aop/openapi/",
        }
    }

    /// The gateway at `path`, and what follows its base path.
    pub(super) fn at(path: &str) -> Option<(Self, &str)> {
        Self::ALL.into_iter().find_map(|gateway| {
            let base = gateway.base_path();
            match gateway {
                Gateway::Aop => path.strip_prefix(base).map(|rest| (gateway, rest)),
                _ => (path.trim_end_matches('/') == base.trim_end_matches('/')).then_some((gateway, "")),
            }
        })
    }

    /// How much its records can say.
    pub(super) fn family(self) -> Family {
        match self {
            Gateway::Portals | Gateway::ItemGet => Family::Text,
            Gateway::ProductGet | Gateway::Aop => Family::Structured,
            Gateway::ShopSearch => Family::Search,
        }
    }

    /// The verb it takes (WIRE §1).
    pub(super) fn verb(self) -> Verb {
        match self {
            Gateway::ItemGet | Gateway::Aop => Verb::Post,
            Gateway::Portals | Gateway::ProductGet | Gateway::ShopSearch => Verb::Get,
        }
    }

    /// The shop that a call is about, where it can be told.
    pub(super) fn shop_of<'a>(self, call: &Call, day: &'a Day) -> Option<&'a Shop> {
        let of_offer = |id: Option<i64>| id.and_then(|id| day.offer(id)).map(|(shop, _)| shop);
        let number = |name| call.get(name).and_then(|id| id.parse().ok());
        match self {
            Gateway::Portals => match call.get("member_id") {
                Some(id) => day.shop(id),
                None => number("sku_id").and_then(|id| day.shop_of_sku(id)),
            },
            Gateway::ItemGet => of_offer(number("item_id")),
            Gateway::ProductGet => of_offer(number("productId")),
            Gateway::ShopSearch => day.shop(call.get("seller_nick")?),
            Gateway::Aop => aop::shop_of(call, day),
        }
    }

    /// The envelope of a refusal.
    pub(super) fn refuse(self, call: &Call, refusal: &Refusal) -> Answer {
        match self {
            Gateway::Portals => portals::refuse(refusal),
            Gateway::ItemGet => item_get::refuse(refusal),
            Gateway::ProductGet => product_get::refuse(call, refusal),
            Gateway::ShopSearch => shop_search::refuse(refusal),
            Gateway::Aop => aop::refuse(refusal),
        }
    }

    /// The answer to a call that passed every check.
    pub(super) fn answer(self, call: &Call, day: &Day, context: &Context) -> Result<Answer, Refusal> {
        match self {
            Gateway::Portals => portals::answer(call, day, context),
            Gateway::ItemGet => item_get::answer(call, day),
            Gateway::ProductGet => product_get::answer(call, day),
            Gateway::ShopSearch => shop_search::answer(call, day, context),
            Gateway::Aop => aop::answer(call, day, context),
        }
    }
}

/// The HTTP verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Other,
}

/// What answers depend on beside the world.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    pub(super) window_end: WindowEnd,
    pub(super) listings: Listings,
    pub(super) odd_lists: OddLists,
    pub(super) now: chrono::DateTime<chrono::Utc>,
}

impl Context {
    /// The page to serve where `asked` is asked for.
    pub(super) fn page(&self, asked: usize) -> usize {
        match self.listings.pages {
            PageNumbers::Honoured => asked,
            PageNumbers::Ignored => 1,
        }
    }
}

/// Whether lists of none and one are written as PHP-type services do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OddLists {
    Never,
    Sometimes,
}

/// One call as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) gateway: Gateway,
    pub(super) verb: Verb,
    pub(super) params: BTreeMap<String, String>,
    /// `param2/…` for aop, else empty.
    pub(super) path: String,
    /// The `Accept` header asks for XML.
    pub(super) accepts_xml: bool,
}

impl Call {
    /// A parameter that is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A parameter that must be there.
    pub(super) fn need(&self, name: &'static str) -> Result<&str, Refusal> {
        self.get(name).ok_or(Refusal::Missing(name))
    }

    /// A number that must be at least 1 and at most `max`, or `default` where it is absent.
    pub(super) fn number(&self, name: &'static str, default: u32, max: u32) -> Result<usize, Refusal> {
        let Some(text) = self.get(name) else { return Ok(default as usize) };
        let number = text.parse::<u32>().ok().filter(|number| (1..=max).contains(number));
        number.map(|number| number as usize).ok_or(Refusal::Bad(name))
    }

    /// The app key: a parameter, or the end of the path.
    pub(super) fn app_key(&self) -> Option<&str> {
        match self.gateway {
            Gateway::Aop => self.path.split('/').nth(4).filter(|key| !key.is_empty()),
            _ => self.get("app_key"),
        }
    }

    /// The method that is asked for.
    pub(super) fn method(&self) -> String {
        match self.gateway {
            Gateway::Aop => self.path.split('/').skip(2).take(2).collect::<Vec<_>>().join("/"),
            _ => self.get("method").unwrap_or("").to_owned(),
        }
    }

    /// The page that is asked for, in any gateway's spelling.
    pub(super) fn page(&self) -> Option<u32> {
        ["pageNum", "page", "pageNo"].iter().find_map(|name| self.get(name)).and_then(|page| page.parse().ok())
    }

    /// The parameters without time, key, token and signature, as `k=v&k=v`.
    pub(super) fn request(&self) -> String {
        const VOLATILE: [&str; 8] = [
            "sign",
            "_aop_signature",
            "timestamp",
            "_aop_timestamp",
            "app_key",
            "access_token",
            "client_secret",
            "refresh_token",
        ];
        let kept = self.params.iter().filter(|(name, _)| !VOLATILE.contains(&name.as_str()));
        kept.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }

    /// Equal for two attempts of the same call.
    pub(super) fn identity(&self) -> u64 {
        hash_text(format!("{}|{}|{}", self.gateway.name(), self.path, self.request()).as_bytes())
    }

    /// `productID`, `item_id` and the like.
    pub(super) fn id(&self, name: &'static str) -> Result<i64, Refusal> {
        self.need(name)?.parse().map_err(|_| Refusal::Bad(name))
    }
}

/// Why a call is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A parameter is not there.
    Missing(&'static str),
    /// A parameter has a value it cannot have.
    Bad(&'static str),
    /// No such method.
    Method(String),
    /// No signature.
    Unsigned,
    /// The signature is wrong.
    Signature,
    /// The time is off, or in another format.
    Time,
    /// The key is not known.
    Key,
    /// The token is not known, or missing.
    Token,
    /// The key may not use this gateway or this method.
    Permission,
    /// Too fast, or too many at once.
    Throttled,
    /// No calls are left for this many seconds.
    Quota { seconds: i64, scope: QuotaScope },
    /// Try again.
    Busy,
    /// What is asked for is not there.
    Gone,
}

/// A list as JSON, or as PHP-type services write lists of none and one (WIRE §1 "Answers").
pub(super) fn list(items: Vec<serde_json::Value>, odd: OddLists, key: u64) -> serde_json::Value {
    use serde_json::{Value, json};
    match (odd, items.len(), key % 2) {
        (OddLists::Sometimes, 0, 0) => json!(""),
        (OddLists::Sometimes, 0, _) => json!({}),
        (OddLists::Sometimes, 1, _) => items.into_iter().next().unwrap_or(Value::Null),
        _ => Value::Array(items),
    }
}
