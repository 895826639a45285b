//! What an alert says, and the document a webhook receives.
//!
//! Takes what a run knows at its end; gives one JSON document. Every name below is always there; what is not known is
//! `null`, a list that does not apply is empty.
//!
//! | name | value |
//! |---|---|
//! | `huopan_version` | text, `0.1.0` |
//! | `kind` | `failed` · `incomplete` · `quota` · `denied` · `held` · `published` · `watch` · `watch_failed` · `test` |
//! | `at` | RFC 3339, UTC |
//! | `pipeline` | text |
//! | `dt` | the day the run stands for, `YYYY-MM-DD`, or null |
//! | `run_id` | text or null |
//! | `text` | one line for people |
//! | `shops` | what is wrong where: `shop_id`, `shop_name` (or null), `reason`; at most [`SHOPS_MAX`] |
//! | `shops_total` | how many there are, also where not all are listed |
//! | `counts` | null, or `received`, `loaded`, `duplicates`, `quarantined`, `carried`, `calls` |
//! | `quota` | calls of the day: `account`, `scope` (`""`: the whole account), `used`, `calls_per_day` and `left` (or null) |
//! | `watch` | null, or the rows of a watch: `name`, `columns`, `rows` (a list of values each, as text or null), `rows_total` |
//!
//! Invariant: pure. Names and meanings stay; new names may be added.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::base::RunId;
use crate::config::pipeline::AlertOn;

/// Shops that one document lists.
pub const SHOPS_MAX: usize = 100;

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
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
    /// A run published.
    Published,
    /// A watch has rows: it goes to those whom the watch names.
    Watch,
    /// A watch could not be run: it goes to those whom the watch names.
    WatchFailed,
    /// Somebody tries whether alerts arrive: it goes to all.
    Test,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Failed,
        Self::Incomplete,
        Self::Quota,
        Self::Denied,
        Self::Held,
        Self::Published,
        Self::Watch,
        Self::WatchFailed,
        Self::Test,
    ];

    /// Its name in documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Failed => "failed",
            Kind::Incomplete => "incomplete",
            Kind::Quota => "quota",
            Kind::Denied => "denied",
            Kind::Held => "held",
            Kind::Published => "published",
            Kind::Watch => "watch",
            Kind::WatchFailed => "watch_failed",
            Kind::Test => "test",
        }
    }

    /// What an alert's `on` must name to hear it; `None`: nothing, it goes to whom it is sent.
    #[must_use]
    pub fn on(self) -> Option<AlertOn> {
        match self {
            Kind::Failed => Some(AlertOn::Failed),
            Kind::Incomplete => Some(AlertOn::Incomplete),
            Kind::Quota => Some(AlertOn::Quota),
            Kind::Denied => Some(AlertOn::Denied),
            Kind::Held => Some(AlertOn::Held),
            Kind::Published => Some(AlertOn::Published),
            Kind::Watch | Kind::WatchFailed | Kind::Test => None,
        }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub kind: Kind,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// The pipeline.
    pub pipeline: String,
    /// The day the run stands for.
    pub dt: Option<NaiveDate>,
    /// The run.
    pub run_id: Option<RunId>,
    /// One line for people, without secrets.
    pub text: String,
    /// The shops it is about.
    pub shops: Vec<Shop>,
    /// What the run received and loaded.
    pub counts: Option<Counts>,
    /// The calls of the day.
    pub quota: Vec<Quota>,
    /// The watch it is about.
    pub watch: Option<WatchRows>,
}

/// What a watch found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchRows {
    /// Its name.
    pub name: String,
    /// The names of its columns.
    pub columns: Vec<String>,
    /// Its first rows, a value for each column, exact; `None`: null.
    pub rows: Vec<Vec<Option<String>>>,
    /// How many rows there are.
    pub rows_total: u64,
}

/// A shop and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Shop {
    /// The gateway's id.
    pub shop_id: String,
    /// The pipeline's name for it.
    pub shop_name: Option<String>,
    /// What is wrong.
    pub reason: String,
}

/// The funnel of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Records that should become offers.
    pub received: i64,
    /// Records that did.
    pub loaded: i64,
    /// Records that lost against another record of the same offer.
    pub duplicates: i64,
    /// Records set aside.
    pub quarantined: i64,
    /// Offers carried forward.
    pub carried: i64,
    /// Calls made.
    pub calls: i64,
}

/// The calls of the day in one scope of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The account's name.
    pub account: String,
    /// What is counted: `""` (the account), `endpoint:NAME` or `shop:ID`.
    pub scope: String,
    /// Calls counted today.
    pub used: u64,
    /// Calls that the day allows; `None`: no limit is known.
    pub calls_per_day: Option<u64>,
}

impl Message {
    /// A message without details.
    pub fn new(kind: Kind, at: DateTime<Utc>, pipeline: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            kind,
            at,
            pipeline: pipeline.into(),
            dt: None,
            run_id: None,
            text: text.into(),
            shops: Vec::new(),
            counts: None,
            quota: Vec::new(),
            watch: None,
        }
    }

    /// The document of a webhook.
    #[must_use]
    pub fn document(&self) -> Value {
        json!({
            "huopan_version": env!("CARGO_PKG_VERSION"),
            "kind": self.kind.name(),
            "at": self.at.to_rfc3339_opts(SecondsFormat::Secs, true),
            "pipeline": self.pipeline,
            "dt": self.dt,
            "run_id": self.run_id.map(|id| id.to_string()),
            "text": self.text,
            "shops": &self.shops[..self.shops.len().min(SHOPS_MAX)],
            "shops_total": self.shops.len(),
            "counts": self.counts,
            "quota": self.quota.iter().map(Quota::document).collect::<Vec<_>>(),
            "watch": self.watch.as_ref().map(WatchRows::document),
        })
    }
}

impl WatchRows {
    fn document(&self) -> Value {
        json!({"name": self.name, "columns": self.columns, "rows": self.rows, "rows_total": self.rows_total})
    }
}

impl Quota {
    fn document(&self) -> Value {
        json!({
            "account": self.account,
            "scope": self.scope,
            "used": self.used,
            "calls_per_day": self.calls_per_day,
            "left": self.calls_per_day.map(|allowed| allowed.saturating_sub(self.used)),
        })
    }
}
