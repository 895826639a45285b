//! What an extraction knows at its end that the answers alone do not say. Landed beside them, so that
//! tables can be rebuilt from landed bytes.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::config::pipeline::FetchDetails;
use crate::state::Counted;

use super::rests::Shown;

/// The end of one extraction.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunFacts {
    /// The run's id.
    pub run_id: String,
    /// By shop, in pipeline order.
    pub shops: Vec<ShopFacts>,
    /// Single offers that were asked for and neither answered, gone nor refused as items.
    pub items_unanswered: Vec<i64>,
    /// Attempts sent.
    pub calls_used: i64,
    /// Answers that were used again instead of asked for: from the caches, or landed by an earlier start of the run.
    #[serde(default)]
    pub calls_saved: i64,
    /// Calls left today of all accounts together when the extraction ended; `None`: no limit is known.
    #[serde(default)]
    pub quota_left: Option<i64>,
    /// What somebody should hear of accounts and quota.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// Attempts sent, as the quota ledger counts them: by account, scope and Beijing day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ledger: Vec<Counted>,
    /// The rests of its accounts when the extraction ended, for a state that is lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rests: Vec<Shown>,
    /// Numbers of landed answers that the run did not ask for in the end: its configuration changed while it went on. They
    /// make no rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unused: Vec<i64>,
    /// Offers of an earlier attempt of the same day that were not asked for again: their rows stay as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items_untouched: Vec<i64>,
    /// Single offers that were all refused with a code that nobody knows: the day's next start asks for them again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items_refused: Vec<i64>,
    /// What it asked for beside the listings; `None`: files, or facts of an early version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// Attempts that repeated a call.
    pub retries: i64,
    /// Throttle answers.
    pub throttles: i64,
    /// Body bytes received.
    pub bytes_received: i64,
    /// Set when the extraction ended before its work did (signal, quota): why.
    pub stopped: Option<String>,
    /// Start of the extraction.
    pub started_at: DateTime<Utc>,
    /// End of the extraction.
    pub finished_at: DateTime<Utc>,
}

/// What a run asked for beside the listings: its answers are read by it, whatever the pipeline says later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// For which offers their SKUs.
    pub skus: FetchDetails,
    /// For which offers their details.
    pub details: FetchDetails,
}

impl RunFacts {
    /// Whether the run asked for a part of its day only: the rest is in the picture that it replaces.
    #[must_use]
    pub fn is_retry(&self) -> bool {
        !self.items_untouched.is_empty() || self.shops.iter().any(|shop| shop.listing == Listed::Untouched)
    }
}

/// The end of one shop.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ShopFacts {
    /// The gateway's id.
    pub shop_id: String,
    /// The pipeline's name for it.
    pub shop_name: Option<String>,
    /// Its address in the pipeline.
    pub shop_url: Option<String>,
    /// Further addresses in the pipeline that led to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_urls: Vec<String>,
    /// The gateway's own count of offers.
    pub official_count: Option<i64>,
    /// How the shop was listed.
    #[serde(default)]
    pub listing: Listed,
    /// It was listed by its changes first: these did not add up, and it was listed whole in the same run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gave_way: bool,
    /// Offers that the gateway says went off sale.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub off_sale: Vec<i64>,
    /// The last day on which the shop was listed whole and complete; `None`: never, as far as is known.
    #[serde(default)]
    pub whole_dt: Option<NaiveDate>,
    /// By the gateway's clock: nothing that was modified before is missing from this listing. Where it is complete, the
    /// next incremental listing starts from here.
    #[serde(default)]
    pub watermark_at: Option<DateTime<Utc>>,
    /// The proof of coverage: every span of time and category that was listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coverage: Vec<Covered>,
    /// Why the listing does not hold every offer (page cap, failed pages); `None`: all pages were answered.
    pub incomplete_reason: Option<String>,
    /// Offers that a whole listing lacks of the official count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub short: u64,
    /// Offers that name their SKUs, as the last whole listing named them and those since added to it, and …
    #[serde(default, skip_serializing_if = "is_zero")]
    pub with_skus: u64,
    /// … the SKUs that the whole listing named: what details of SKUs would be asked for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skus: u64,
    /// Pages that the last whole listing took, in all its parts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pages: u64,
    /// It lacks more of them than the picture before did, or its pages came hours apart: which of the absent offers are gone
    /// is not proven. What is edited while a shop is listed moves others from a page to one that was read already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_doubtful: bool,
    /// Attempts sent for this shop.
    pub calls_used: i64,
    /// Start of its extraction.
    pub started_at: DateTime<Utc>,
    /// End of its extraction.
    pub finished_at: DateTime<Utc>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How a shop was listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listed {
    /// Whole: an offer that is absent is no longer there.
    #[default]
    Whole,
    /// What changed since the watermark: an offer that is absent is as it was.
    Changed,
    /// Not at all: its rows of the picture that is replaced stay as they are.
    Untouched,
}

/// One slice of a shop's listing that was asked for, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Covered {
    /// The start of the span, inclusive; `None`: from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<DateTime<Utc>>,
    /// The end of the span, inclusive; `None`: until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_at: Option<DateTime<Utc>>,
    /// The category it was narrowed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Pages answered.
    pub pages: u32,
    /// Records on them.
    pub records: u64,
    /// Records that no slice before had shown.
    pub new: u64,
    /// The total that the gateway states for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stated: Option<u64>,
    /// What came of it: `complete`, `split`, `advanced`, or why it does not hold everything.
    pub outcome: String,
    /// Of the offers that went off sale, not of those on sale.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub off_sale: bool,
}

/// What somebody should hear of accounts and quota.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Note {
    /// A large part of an account's calls of the day is used up.
    Quota {
        /// The account's name.
        account: String,
        /// What the calls are counted by: empty (the account), `endpoint NAME` or `shop ID`.
        scope: String,
        /// The day, in Beijing.
        #[serde(default)]
        day: NaiveDate,
        /// 80 or 95.
        percent: u64,
        /// Calls counted.
        used: u64,
        /// Calls allowed.
        limit: u64,
    },
    /// The gateway lets an account make no more calls for a while.
    Blocked {
        /// The account's name.
        account: String,
        /// Until when, and what the gateway said.
        reason: String,
    },
    /// The gateway refuses an account.
    Denied {
        /// The account's name.
        account: String,
        /// The endpoint, where it is refused a permission for that one alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
        /// What the gateway said.
        reason: String,
    },
    /// The gateway does not read a page parameter: what it answered is of no use to a run that goes on.
    Repeated {
        /// In words.
        reason: String,
        /// The ids of the shops whose pages it may have repeated.
        #[serde(default)]
        shops: Vec<String>,
    },
    /// Nobody can ask any more.
    NoneLeft {
        /// By account, in words.
        reason: String,
    },
    /// Calls are short: the run was not started, or not for all shops.
    Refused {
        /// What does not fit.
        reason: String,
    },
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Note::Quota { account, scope, percent, used, limit, .. } => {
                let scope = if scope.is_empty() { String::new() } else { format!(" for {scope}") };
                write!(f, "account `{account}` has used {percent} % of its calls of the day{scope} ({used} of {limit})")
            }
            Note::Blocked { account, reason } => write!(f, "account `{account}` is {reason}"),
            Note::Denied { account, endpoint: None, reason } => write!(f, "account `{account}` is refused: {reason}"),
            Note::Denied { account, endpoint: Some(endpoint), reason } => {
                write!(f, "account `{account}` is refused endpoint `{endpoint}`: {reason}")
            }
            Note::NoneLeft { reason } | Note::Repeated { reason, .. } | Note::Refused { reason } => f.write_str(reason),
        }
    }
}
