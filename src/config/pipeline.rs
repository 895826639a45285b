//! A pipeline: which shops or items, through which gateway, into which lake. Validated values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::base::Secret;

use super::gateway::Gateway;
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
    /// What happens to an incomplete shop.
    pub on_incomplete: OnIncomplete,
    /// Who asks. Empty only with `files`.
    pub accounts: Vec<Account>,
    /// What to fetch.
    pub fetch: Fetch,
    /// What only the user knows about units.
    pub units: Units,
    /// Where the tables go.
    pub lake: LakeConfig,
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

/// One app at the gateway.
#[derive(Debug, Clone)]
pub struct Account {
    /// What logs and `calls` say instead of the key.
    pub name: String,
    /// The gateway's credentials by name. Plain ones are public.
    pub credentials: BTreeMap<String, Credential>,
    /// Calls per Beijing day: the pipeline's number, else the licence's.
    pub calls_per_day: Option<u64>,
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
    /// Whether SKU details are fetched, one call each.
    pub skus: FetchSkus,
    /// The answer format asked for (gateways that speak several).
    pub answer: super::gateway::Answer,
}

/// Whether SKU details are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchSkus {
    /// None.
    Off,
    /// Every SKU that an offer names.
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
    /// An absolute path.
    pub root: PathBuf,
}
