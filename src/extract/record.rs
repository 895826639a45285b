//! What is kept of one attempt of a call, beside its bytes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The header line of a landed attempt: identity, transport outcome, times. No secrets, no signature.
///
/// Whether the answer is *good* is not in here, but of answers that are not kept: it is judged from the bytes, each time
/// they are read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Record {
    /// The run's id.
    pub run_id: String,
    /// The attempt's number in the run, from 1; `run_id/number` is its `raw_ref`.
    pub number: i64,
    /// Which try of the same call this is, from 1.
    pub attempt: i32,
    /// The account's name.
    pub account: String,
    /// What the quota ledger knows the account by.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub account_key: String,
    /// What the call is counted by in the quota ledger; `None`: it landed before that was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The gateway that was asked, where it is not the pipeline's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// huopan's name of the endpoint.
    pub endpoint: String,
    /// The shop it is about, where the call is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shop_id: Option<String>,
    /// The offer it is about, where the call is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer_id: Option<i64>,
    /// The SKU it is about, where the call is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku_id: Option<i64>,
    /// The page, for listings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// It was asked once more in this run, for what it was told before was outdated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// The parameters, without credentials, time and signature.
    pub request: BTreeMap<String, String>,
    /// The answer that this is a copy of (`raw_ref`), where it was used again instead of asked for: no call was made.
    /// `sent_at` and `received_at` are those of that answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<String>,
    /// The HTTP status; `None`: no answer arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The `Content-Type` of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The `Content-Encoding` of the answer: none was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// `Retry-After` of the answer, as received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// `Date` of the answer, as received: the gateway's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Why no (whole) answer arrived: a connection error, a time-out, a cut body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport_error: Option<String>,
    /// What the answer was judged to be when it came (`good`, or the name of a class), where it is kept nowhere: a token's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<String>,
    /// How long the call waited for its turn.
    pub wait_ms: i64,
    /// From sending to the last byte.
    pub latency_ms: i64,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
    /// When the last byte (or the failure) arrived.
    pub received_at: DateTime<Utc>,
    /// Length of the body that follows.
    pub body_bytes: u64,
    /// xxh3-128 of the body, in hex.
    pub digest: String,
    /// A known secret stood in the answer and was overwritten by stars.
    pub redacted: bool,
}

/// How [`Record::transport_error`] begins when the answer took too long.
pub const TIMED_OUT: &str = "timed out";

impl Record {
    /// Whether the gateway sends the caller elsewhere (HTTP 3xx).
    #[must_use]
    pub fn redirects(&self) -> bool {
        self.http_status.is_some_and(|status| (300..400).contains(&status))
    }

    /// The coding of an answer that came in one, though none was asked for.
    #[must_use]
    pub fn coding(&self) -> Option<&str> {
        self.content_encoding.as_deref().map(str::trim).filter(|coding| !coding.eq_ignore_ascii_case("identity"))
    }

    /// Whether no connection stood: the call did not reach the gateway.
    #[must_use]
    pub fn is_unconnected(&self) -> bool {
        self.transport_error.as_deref().is_some_and(|error| error.starts_with("cannot connect"))
    }

    /// Whether a proxy on the way lets nobody through who does not say who he is.
    #[must_use]
    pub fn is_barred(&self) -> bool {
        let tunnel =
            self.transport_error.as_deref().is_some_and(|error| error.contains("proxy authorization required"));
        tunnel || self.http_status == Some(407)
    }

    /// Whether the answer took too long.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.transport_error.as_deref().is_some_and(|error| error.starts_with(TIMED_OUT))
    }

    /// The name of the attempt in tables: `run_id/number`.
    #[must_use]
    pub fn raw_ref(&self) -> String {
        format!("{}/{}", self.run_id, self.number)
    }
}
