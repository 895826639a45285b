//! What a simulator is made of. Every field has a default that suits the demo.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};

use super::gateways::{Gateway, Listings, WindowEnd};
use super::history::History;
use super::verify::Scheme;
use crate::base::{Clock, SystemClock};

/// How a simulator behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The world's seed.
    pub seed: u64,
    /// The day the world stands at when it starts; `None`: today in Beijing.
    pub day: Option<NaiveDate>,
    /// One shop for each, with that many places for offers (at most 65 536; at most 1 000
    /// shops). More than 2 000 go past the page cap.
    pub shop_sizes: Vec<usize>,
    /// By a shop's number, from 0: large shops with a past, and nights that change a stated share. A shop that is not in
    /// here is lively: some 8 % of its prices move every day. See [`Options::with_history`].
    pub histories: BTreeMap<usize, History>,
    /// Offers with something odd about ladder, quantity or title, of a thousand.
    pub mess_per_mille: u64,
    /// Who may call.
    pub keys: Vec<Key>,
    /// The token that aop asks for.
    pub access_token: String,
    /// From then on that token is not good any more; `None`: always good.
    pub access_token_expires_at: Option<DateTime<Utc>>,
    /// How long tokens are good that `system.oauth2/getToken` gives.
    pub access_token_seconds: i64,
    /// What `system.oauth2/getToken` gives them for.
    pub refresh_token: String,
    /// How often calls fail for no reason.
    pub faults: Faults,
    /// Calls that are answered with HTTP 429, whoever makes them; `Sim::set_storm` begins and ends one later.
    pub storm: Option<Storm>,
    /// No fault makes an answer slower than this.
    pub slow_millis_max: u64,
    /// By gateway; one that is not in here has no limits but the keys' own.
    pub limits: BTreeMap<Gateway, Limits>,
    /// Whether portals knows `end_time`.
    pub window_end: WindowEnd,
    /// How listings behave where gateways differ, or misbehave.
    pub listings: Listings,
    /// S3's prose or its sample code.
    pub shop_search_scheme: Scheme,
    /// Greatest difference between a time stamp and the simulator's clock.
    pub skew_seconds_max: i64,
    /// Every answer takes at least this long.
    pub answer_millis: u64,
    /// Calls the journal keeps; older ones are dropped.
    pub journal_max: usize,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How far the gateways' own clock is ahead of it: the `Date` header, the check of time stamps, the day of a quota.
    pub clock_offset_seconds: i64,
}

/// Calls that are answered with HTTP 429 before anything else is looked at; they use no quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storm {
    /// How many; `None`: all, until told otherwise.
    pub calls: Option<u64>,
    /// What the answers say.
    pub retry_after: RetryAfter,
}

/// How `Retry-After` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// There is none.
    Absent,
    /// Seconds, 0 included.
    Seconds(u32),
    /// An HTTP date this many seconds ahead of the gateway's clock.
    Date(u32),
}

/// How often calls fail for no reason. The same call never fails more than three times in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Faults {
    /// Never.
    #[default]
    None,
    /// One call in 25; slow answers of up to 0.3 s.
    Light,
    /// One call in 5; slow answers of up to 1 s.
    Heavy,
}

/// One app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub app_key: String,
    /// What it signs with.
    pub app_secret: String,
    /// Calls per Beijing day and gateway, and what else [`Limits::quota_scope`] counts by.
    pub calls_per_day: u64,
    /// Its own pace, where that is lower than the gateway's.
    pub calls_per_second: Option<u32>,
    /// The gateways it has no permission for.
    pub denied: Vec<Gateway>,
    /// The methods (for aop `namespace/api`) it has no permission for.
    pub denied_methods: Vec<String>,
}

/// One gateway's limits for each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls in a window of one second, less a tenth for the network's jitter.
    pub calls_per_second: Option<u32>,
    /// Calls at once.
    pub calls_in_flight: Option<u32>,
    /// How long a key without calls left is blocked.
    pub quota_block: QuotaBlock,
    /// What a key's calls of a day are counted by.
    pub quota_scope: QuotaScope,
}

/// What a key's calls of a day are counted by (S2's "单店日限30" leaves it open).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QuotaScope {
    /// All calls together.
    #[default]
    Account,
    /// Each method has its own.
    Endpoint,
    /// Each shop has its own; calls about no shop (also those that look one up by its address) have one together.
    Shop,
}

/// How long a key without calls left is blocked (WIRE §5 "Quota").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaBlock {
    /// Until the Beijing day ends.
    Midnight,
    /// For 24 hours from the first call too many (S0).
    Day,
}

impl Key {
    /// An app with the simulator's secret.
    #[must_use]
    pub fn new(app_key: &str, calls_per_day: u64) -> Self {
        Self {
            app_key: app_key.to_owned(),
            app_secret: "sim-secret".to_owned(),
            calls_per_day,
            calls_per_second: None,
            denied: Vec::new(),
            denied_methods: Vec::new(),
        }
    }

    fn with_calls_per_second(mut self, calls_per_second: u32) -> Self {
        self.calls_per_second = Some(calls_per_second);
        self
    }
}

impl Options {
    /// The same with this history for every shop.
    #[must_use]
    pub fn with_history(mut self, history: History) -> Self {
        self.histories = (0..self.shop_sizes.len()).map(|shop| (shop, history)).collect();
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1688,
            day: None,
            shop_sizes: vec![320, 280, 240, 360],
            histories: BTreeMap::new(),
            mess_per_mille: 300,
            keys: default_keys(),
            access_token: "sim-token".to_owned(),
            access_token_expires_at: None,
            access_token_seconds: 36_000,
            refresh_token: "sim-refresh".to_owned(),
            faults: Faults::None,
            storm: None,
            slow_millis_max: 1000,
            limits: default_limits(),
            window_end: WindowEnd::Ignored,
            listings: Listings::default(),
            shop_search_scheme: Scheme::ShopSearch,
            skew_seconds_max: 180,
            answer_millis: 0,
            journal_max: 100_000,
            clock: Arc::new(SystemClock),
            clock_offset_seconds: 0,
        }
    }
}

/// `sim-app` has calls to spare; the others have the licences of WIRE §1.
fn default_keys() -> Vec<Key> {
    vec![
        Key::new("sim-app", 1_000_000),
        Key::new("sim-test", 30),
        Key::new("sim-paid", 3000),
        Key::new("sim-personal", 100).with_calls_per_second(10),
        Key::new("sim-company", 5000).with_calls_per_second(8),
    ]
}

fn default_limits() -> BTreeMap<Gateway, Limits> {
    let limits = |calls_per_second, calls_in_flight, quota_block| Limits {
        calls_per_second,
        calls_in_flight,
        quota_block,
        quota_scope: QuotaScope::Account,
    };
    BTreeMap::from([
        (Gateway::Portals, limits(None, Some(4), QuotaBlock::Midnight)),
        (Gateway::ItemGet, limits(Some(10), None, QuotaBlock::Day)),
        (Gateway::ProductGet, limits(Some(20), None, QuotaBlock::Midnight)),
        (Gateway::ShopSearch, limits(Some(10), None, QuotaBlock::Midnight)),
        (Gateway::Aop, limits(Some(20), None, QuotaBlock::Midnight)),
    ])
}
