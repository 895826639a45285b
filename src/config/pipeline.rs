//! A pipeline: which shops or items, through which gateway, into which lake. Validated values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::Secret;

use super::gateway::{Gateway, QuotaScope};
use super::location::Location;
use super::pointer::Pointer;

/// One pipeline, ready to run.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The partition of every table: `[a-z0-9_-]`, at most 40.
    pub name: String,
    /// The gateway it asks, with the pipeline's `url` already put in.
    pub gateway: Gateway,
    /// The shops to list, in file order; paused ones are left out.
    pub shops: Vec<Shop>,
    /// The offers to ask for one by one, in file order, without repeats.
    pub items: Vec<i64>,
    /// Captured answers instead of calls.
    pub files: Option<Files>,
    /// Where details come from when another gateway than the listing's gives them.
    pub details: Option<DetailSource>,
    /// What happens when the calls of a day do not suffice.
    pub on_quota: OnQuota,
    /// What happens to an incomplete shop.
    pub on_incomplete: OnIncomplete,
    /// What keeps a day from being published that looks wrong.
    pub guard: Guard,
    /// Which account asks next.
    pub account_choice: AccountChoice,
    /// Who asks. Empty only with `files`.
    pub accounts: Vec<Account>,
    /// What to fetch.
    pub fetch: Fetch,
    /// What only the user knows about units.
    pub units: Units,
    /// Where the tables go.
    pub lake: LakeConfig,
    /// Where quota ledger and caches are kept.
    pub state: StateConfig,
    /// Who hears about a run.
    pub alerts: Vec<Alert>,
    /// Queries over what was just published; who is named hears of their rows.
    pub watches: Vec<Watch>,
    /// Where a run's numbers go.
    pub metrics: Metrics,
    /// xxh3-64 of the canonical text of pipeline and gateway, in hex; no secrets enter it.
    pub config_hash: String,
    /// The file it came from.
    pub path: PathBuf,
}

/// Two accounts with one key, at the pipeline's gateway and at the details'.
#[derive(Debug, Clone, Copy)]
pub struct SharedKey<'a> {
    /// The one at the pipeline's gateway.
    pub listing: &'a Account,
    /// The one at the details' gateway.
    pub details: &'a Account,
}

impl<'a> SharedKey<'a> {
    /// The other one, if this is the name of one of them.
    #[must_use]
    pub fn other(&self, name: &str) -> Option<&'a Account> {
        match name {
            _ if self.listing.name == name => Some(self.details),
            _ if self.details.name == name => Some(self.listing),
            _ => None,
        }
    }
}

impl Pipeline {
    /// The accounts of both gateways that have one key, and whose calls are counted together: the ledger goes by the key
    /// (WIRE §5 "Quota"). Calls that are counted by endpoint are not: a detail's endpoint is asked at one gateway only.
    #[must_use]
    pub fn shared_keys(&self) -> Vec<SharedKey<'_>> {
        let by_endpoint = |gateway: &Gateway| gateway.limits.quota_scope == QuotaScope::Endpoint;
        let Some(source) = &self.details else { return Vec::new() };
        if by_endpoint(&self.gateway) || by_endpoint(&source.gateway) {
            return Vec::new();
        }
        let pairs =
            self.accounts.iter().flat_map(|listing| source.accounts.iter().map(move |details| (listing, details)));
        let pairs = pairs.filter(|(listing, details)| listing.key == details.key);
        pairs.map(|(listing, details)| SharedKey { listing, details }).collect()
    }

    /// What is right and yet worth a word, in words.
    #[must_use]
    pub fn cautions(&self) -> Vec<String> {
        let accounts = self.accounts.iter().chain(self.details.iter().flat_map(|details| &details.accounts));
        let secrets = accounts.flat_map(|account| account.credentials.iter().map(move |given| (&account.name, given)));
        let caution = |(account, (name, value)): (&String, (&String, &Credential))| match value {
            Credential::Secret(secret) if !secret.is_maskable() => Some(format!(
                "the secret `{name}` of account `{account}` is so short that answers and messages that repeat it are \
                 kept as they are: is it whole?"
            )),
            _ => None,
        };
        secrets.filter_map(caution).collect()
    }
}

/// One shop as the pipeline names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shop {
    /// The gateway's id, where the pipeline gives it or its address shows it.
    pub id: Option<String>,
    /// The shop's address, where the pipeline gives one.
    pub url: Option<String>,
    /// The user's name for it.
    pub name: Option<String>,
}

/// Captured answers to load instead of calling.
#[derive(Debug, Clone)]
pub struct Files {
    /// Files, folders or globs (`.json`, `.jsonl`, `.jsonl.zst`), absolute.
    pub paths: Vec<String>,
    /// The endpoint whose answers they are; default: `listing` where the gateway has it, else `item`.
    pub endpoint: String,
    /// The answer inside a wrapper line; `None`: the line or file is the answer.
    pub answer: Option<Pointer>,
    /// The shop id in the wrapper.
    pub shop_id: Option<Pointer>,
    /// The time of the fetch in the wrapper; else the file's modification time.
    pub fetched_at: Option<Pointer>,
    /// Which day the answers stand for.
    pub dt_from: DtFrom,
}

/// Which day captured answers stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtFrom {
    /// The run's day: `--dt`, else today in Beijing.
    Run,
    /// The Beijing day of each answer's fetch time: one publication a day found.
    FetchedAt,
}

/// What happens to an incomplete shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnIncomplete {
    /// Its rows are published with `is_complete = false`.
    Publish,
    /// It keeps its last complete rows.
    Hold,
}

/// What keeps a day from being published that looks wrong: shop by shop, against the picture before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guard {
    /// The share of a shop's offers that may go at once, 0 to 1. Lower: more nights need a look; 1: any may go.
    pub drop_share_max: f64,
    /// A price that becomes this many times as large or small counts as one that jumped; at least 2.
    pub price_factor: u32,
    /// The share of a shop's prices that may jump at once, 0 to 1; 1: any may.
    pub price_share_max: f64,
    /// Fewer offers than this are no alarm, whatever their share: one of two that goes says nothing.
    pub offers_min: u32,
}

impl Default for Guard {
    fn default() -> Self {
        Self { drop_share_max: 0.3, price_factor: 10, price_share_max: 0.3, offers_min: 5 }
    }
}

/// One app at the gateway.
#[derive(Debug, Clone)]
pub struct Account {
    /// What logs and `calls` say instead of the key.
    pub name: String,
    /// The gateway's credentials by name. Plain ones are public.
    pub credentials: BTreeMap<String, Credential>,
    /// What the quota ledger knows it by: the app key, whatever the account is called here. Public.
    pub key: String,
    /// Calls per Beijing day: the pipeline's number, else the licence's.
    pub calls_per_day: Option<u64>,
    /// Calls in any one-second window, where the account may make fewer than the gateway's definition says.
    pub calls_per_second: Option<f64>,
    /// The address of a proxy that its calls go through: HTTP or SOCKS5.
    pub proxy: Option<Secret>,
}

/// Another gateway that gives an offer's details, and who asks there.
#[derive(Debug, Clone)]
pub struct DetailSource {
    /// The gateway; it has an endpoint `item`.
    pub gateway: Gateway,
    /// The accounts that say `gateway = "…"` with its name. Never empty.
    pub accounts: Vec<Account>,
}

/// What happens when the calls of a day do not suffice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnQuota {
    /// Nothing is started that cannot finish today.
    Refuse,
    /// The stalest shops go first; the run stops cleanly and the next start goes on.
    Continue,
}

/// Which account asks next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountChoice {
    /// The first that has calls left, until its quota ends.
    Drain,
    /// The one that has used the smallest share of its calls today.
    Rotate,
}

/// Where quota ledger and caches are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateConfig {
    /// A file, absolute; shared by the processes of one machine.
    Sqlite(PathBuf),
    /// A server, shared by machines.
    Redis(RedisConfig),
}

/// A Redis server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// `redis://`, or `rediss://` with TLS. It may hold a password.
    pub address: Secret,
    /// The authorities, in PEM, that may have signed the server's certificate, in place of those that the machine trusts.
    /// Only with TLS.
    pub ca: Option<String>,
}

/// Who hears about a run.
#[derive(Debug, Clone)]
pub struct Alert {
    /// What logs call it.
    pub name: String,
    /// What it is sent as.
    pub kind: AlertKind,
    /// Where it is sent. Whoever has the address can post.
    pub url: Secret,
    /// What a robot signs with. Only DingTalk's and Feishu's do.
    pub sign: Option<Secret>,
    /// What it is told.
    pub on: Vec<AlertOn>,
}

/// What an alert is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertKind {
    /// A JSON document.
    Webhook,
    /// A message of a DingTalk group's robot (钉钉).
    DingTalk,
    /// A message of a WeCom group's robot (企业微信).
    WeCom,
    /// A message of a Feishu group's robot (飞书).
    Feishu,
}

impl AlertKind {
    /// Whether it can sign what it sends.
    #[must_use]
    pub fn signs(self) -> bool {
        matches!(self, AlertKind::DingTalk | AlertKind::Feishu)
    }
}

/// A query over what was just published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// What its message is headed with.
    pub name: String,
    /// One query. In `public` and `latest` it sees the day just published, in `before` the day before it.
    pub sql: String,
    /// The names of the alerts that hear of its rows.
    pub alerts: Vec<String>,
    /// Rows that a message lists: 1 to 100, default 20. More are counted.
    pub rows_max: usize,
    /// The line of its `sql` in the pipeline's file, from 1.
    pub line: usize,
}

/// Where a run's numbers go.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// A file in Prometheus' text format, for the textfile collector of its node exporter; absolute.
    pub textfile: Option<PathBuf>,
    /// A collector of OpenTelemetry metrics that takes OTLP over HTTP.
    pub otlp: Option<Otlp>,
}

/// A collector of OpenTelemetry metrics.
#[derive(Debug, Clone)]
pub struct Otlp {
    /// Where metrics are posted: `…/v1/metrics`. It may hold a token.
    pub url: Secret,
    /// Headers that go with each request, as `name=value,name=value` (the form of `OTEL_EXPORTER_OTLP_HEADERS`).
    pub headers: Vec<(String, Secret)>,
}

/// What an alert is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertOn {
    /// A run failed.
    Failed,
    /// A shop is incomplete.
    Incomplete,
    /// Quota is near its end, or has ended.
    Quota,
    /// A gateway refuses an account.
    Denied,
    /// A day looks wrong and is held back.
    Held,
    /// A run published: the nightly heartbeat.
    Published,
}

/// One credential's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// May be printed and landed.
    Plain(String),
    /// Only for signing and sending.
    Secret(Secret),
}

impl Credential {
    /// The value for signing and sending.
    #[must_use]
    pub fn expose(&self) -> &str {
        match self {
            Credential::Plain(value) => value,
            Credential::Secret(secret) => secret.expose(),
        }
    }
}

/// What to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Whether shops are listed whole or by what changed.
    pub listing: FetchListing,
    /// Every shop is listed whole at least this often, in days.
    pub full_days: u32,
    /// For which offers SKU details are fetched, one call per SKU.
    pub skus: FetchDetails,
    /// For which listed offers details are fetched, one call per offer.
    pub details: FetchDetails,
    /// The gateway's `options` by name, where the pipeline gives them another value than the definition.
    pub options: BTreeMap<String, String>,
    /// Whether answers may be used again within the lifetimes that definitions state.
    pub cache: bool,
    /// The answer format asked for (gateways that speak several).
    pub answer: super::gateway::Answer,
}

/// How shops are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchListing {
    /// Whole.
    All,
    /// What changed since the shop's watermark; the rest is carried forward.
    Changed,
}

/// For which offers details are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FetchDetails {
    /// None.
    Off,
    /// Those whose details the picture before does not hold.
    Missing,
    /// Those, and those that changed since the picture before.
    Changed,
    /// Every one: each shop is listed whole for it.
    All,
}

/// What only the user knows about units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Units {
    /// Pack sizes by unit, the most specific first: offer, then shop.
    pub packs: Vec<Pack>,
    /// Changes of the unit table: a number of pieces, or `None` for "a pack of stated size only".
    pub pieces: BTreeMap<String, Option<u32>>,
}

/// One pack size from `packs_file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// For this shop.
    pub shop_id: String,
    /// For this offer only.
    pub offer_id: Option<i64>,
    /// The pack unit.
    pub unit: String,
    /// Pieces in it, at least 1.
    pub pieces: u32,
}

/// Where the tables go, and how long what is in them is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeConfig {
    /// A folder or a prefix of a bucket.
    pub location: Location,
    /// How long things are kept.
    pub keep: Keep,
    /// Whether a run ends with the lake's upkeep.
    pub maintenance: Maintenance,
    /// Bytes that making tables of a day may take; what has no room lies in temporary files. Less: slower, more room on
    /// the disk of the temporary folder.
    pub memory_bytes_max: usize,
}

/// How long things are kept, in days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// `retain_days`: days of the tables; `None`: for ever. The last published day always stays.
    pub tables: Option<u32>,
    /// `raw_days`: responses, in `raw_pages` and the landing zone; `None`: for ever. Fewer: less can be rebuilt.
    pub raw: Option<u32>,
    /// `history_days`: files that a later publication has replaced. Fewer: readers and feeds may lag less behind.
    pub history: u32,
}

impl Default for Keep {
    fn default() -> Self {
        Self { tables: None, raw: Some(Self::RAW), history: Self::HISTORY }
    }
}

impl Keep {
    /// The default of `raw_days`.
    pub const RAW: u32 = 90;
    /// The default of `history_days`.
    pub const HISTORY: u32 = 7;
}

/// Whether a run ends with the lake's upkeep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Maintenance {
    /// Checkpoints, many small files of the journals, what is older than it is kept for.
    #[default]
    Auto,
    /// Only by command.
    Off,
}
