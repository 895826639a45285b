//! A pipeline: which shops or items, through which gateway, into which lake. Validated values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::base::Secret;

use super::gateway::Gateway;
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
    /// xxh3-64 of the canonical text of pipeline and gateway, in hex; no secrets enter it.
    pub config_hash: String,
    /// The file it came from.
    pub path: PathBuf,
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
    /// The address of a proxy that its calls go through.
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
    /// `redis://` or `rediss://`; shared by machines. The address may hold a password.
    Redis(Secret),
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
    /// What it is told.
    pub on: Vec<AlertOn>,
}

/// What an alert is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertKind {
    /// A JSON document.
    Webhook,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchDetails {
    /// None.
    Off,
    /// Those whose details the picture before does not hold.
    Missing,
    /// Those, and those that changed since the picture before.
    Changed,
    /// Every one.
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

/// Where the tables go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeConfig {
    /// A folder or a prefix of a bucket.
    pub location: Location,
}
