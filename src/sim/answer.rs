//! An answer before it becomes HTTP, and what it stands for in the journal.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered with records.
    Ok,
    /// Answered with an empty page.
    Empty,
    /// A parameter is missing or wrong, or the method is unknown.
    Param,
    /// The signature is missing or wrong.
    Signature,
    /// The time stamp is too far from the gateway's clock, or in another format.
    Skew,
    /// Unknown key, token or permission.
    Denied,
    /// Too fast, or too many calls at once.
    Throttled,
    /// No calls left.
    Quota,
    /// The offer, SKU or shop is not there.
    Gone,
    /// Fault: busy.
    Busy,
    /// Fault: HTTP 5xx.
    ServerError,
    /// Fault: HTTP 429 with `Retry-After`.
    TooMany,
    /// Fault: a body shorter than promised.
    Cut,
    /// Fault: a body that is no JSON.
    Malformed,
    /// Fault: an error text in GBK.
    Gbk,
    /// No such address or verb.
    NotFound,
    /// The client went away before the answer was ready.
    Aborted,
}

/// A response: status, headers that matter, body.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) retry_after: Option<String>,
    pub(super) body: Vec<u8>,
    /// `content-length` promises this many bytes more than there are.
    pub(super) missing_bytes: usize,
    pub(super) outcome: Outcome,
    /// Of a listing: how many offers the call selects, over all pages.
    pub(super) selected: Option<usize>,
}

/// What most gateways say they send.
pub(super) const JSON: &str = "application/json;charset=UTF-8";
/// What an XML answer says it is.
pub(super) const XML: &str = "application/xml;charset=UTF-8";

impl Answer {
    /// A JSON answer with HTTP 200.
    pub(super) fn json(outcome: Outcome, value: &Value) -> Self {
        Self::text(outcome, JSON, value.to_string())
    }

    /// A text answer with HTTP 200.
    pub(super) fn text(outcome: Outcome, content_type: &'static str, body: String) -> Self {
        let body = body.into_bytes();
        Self { status: 200, content_type, retry_after: None, body, missing_bytes: 0, outcome, selected: None }
    }

    /// The same as a page of a listing that selects `offers` offers.
    pub(super) fn of_selected(mut self, offers: usize) -> Self {
        self.selected = Some(offers);
        self
    }

    /// The same with another status.
    pub(super) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }
}
