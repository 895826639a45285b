//! What the picture before says, as far as it saves calls: shops' ids, watermarks and counts, and what is known of each
//! offer.
//!
//! Invariant: a call may be saved because of this, a row may never be made of it.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};

/// The picture before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    /// By shop id.
    pub shops: HashMap<String, KnownShop>,
    /// Shop ids by the address the pipeline names them with.
    pub ids_by_url: HashMap<String, String>,
}

/// One shop of the picture before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KnownShop {
    /// By the gateway's clock; an incremental listing starts here.
    pub watermark_at: Option<DateTime<Utc>>,
    /// The last day on which it was listed whole and complete.
    pub whole_dt: Option<NaiveDate>,
    /// The gateway's own count then.
    pub official_count: Option<u64>,
    /// When its extraction ended: the stalest shops go first when calls are short.
    pub finished_at: Option<DateTime<Utc>>,
    /// Its offers that were not delisted.
    pub offers: HashMap<i64, KnownOffer>,
}

/// One offer of the picture before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownOffer {
    /// When it was modified last, as the gateway said.
    pub modified_at: Option<DateTime<Utc>>,
    /// Whether its detail was ever fetched.
    pub detailed: bool,
    /// Its SKUs that the picture holds.
    pub sku_ids: Vec<i64>,
}
