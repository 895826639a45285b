//! Definitions and records for tests.

use std::collections::BTreeMap;

pub use crate::plan::testing::*;

use super::record::Record;

/// The record of an answer with this status.
pub fn record(http_status: u16) -> Record {
    Record {
        run_id: "run".into(),
        number: 1,
        attempt: 1,
        account: "main".into(),
        endpoint: "listing".into(),
        shop_id: None,
        offer_id: None,
        sku_id: None,
        page: None,
        request: BTreeMap::new(),
        http_status: Some(http_status),
        content_type: None,
        retry_after: None,
        transport_error: None,
        wait_ms: 0,
        latency_ms: 0,
        sent_at: at("2026-11-20T12:00:00Z"),
        received_at: at("2026-11-20T12:00:00Z"),
        body_bytes: 0,
        digest: String::new(),
        redacted: false,
        ..Record::default()
    }
}
