//! What an extraction knows at its end that the answers alone do not say. Landed beside them, so that
//! tables can be rebuilt from landed bytes.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The end of one extraction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFacts {
    /// The run's id.
    pub run_id: String,
    /// By shop, in pipeline order.
    pub shops: Vec<ShopFacts>,
    /// Single offers that were asked for and neither answered, gone nor refused as items.
    pub items_unanswered: Vec<i64>,
    /// Attempts sent.
    pub calls_used: i64,
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

/// The end of one shop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShopFacts {
    /// The gateway's id.
    pub shop_id: String,
    /// The pipeline's name for it.
    pub shop_name: Option<String>,
    /// Its address in the pipeline.
    pub shop_url: Option<String>,
    /// The gateway's own count of offers.
    pub official_count: Option<i64>,
    /// Why the listing does not hold every offer (page cap, failed pages); `None`: all pages were answered.
    pub incomplete_reason: Option<String>,
    /// Attempts sent for this shop.
    pub calls_used: i64,
    /// Start of its extraction.
    pub started_at: DateTime<Utc>,
    /// End of its extraction.
    pub finished_at: DateTime<Utc>,
}
