//! Alert: who hears about a run.
//!
//! Takes a [`Message`]; gives the alerts that could not be told. [`tell`] is for runs: it logs them and goes on.
//!
//! * `message`: what is said, as a value and as the JSON document of a webhook.
//! * `webhook`: one document to one address.
//!
//! Invariant: an alert never fails what it speaks of, and no log or error holds its address: whoever has it can post.

pub mod message;
mod webhook;

pub use message::{Counts, Kind, Message, Quota, Shop};

use crate::config::pipeline::{Alert, AlertKind};

/// An alert that could not be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("alert `{alert}` was not delivered: {reason}")]
pub struct Failure {
    /// The alert's name.
    pub alert: String,
    /// Why, without its address.
    pub reason: String,
}

/// Sends a message to every alert that wants to hear it, to all at once, and logs those that could not be told.
pub async fn tell(alerts: &[Alert], message: &Message) {
    for Failure { alert, reason } in send(alerts, message).await {
        tracing::warn!(alert, kind = message.kind.name(), reason, "alert was not delivered");
    }
}

/// Whether an alert wants to hear a message: its `on` names what it is about. [`Kind::Test`] goes to all.
#[must_use]
pub fn hears(alert: &Alert, message: &Message) -> bool {
    message.kind.on().is_none_or(|on| alert.on.contains(&on))
}

/// Sends a message to every alert that wants to hear it, to all at once; gives those that could not be told.
pub async fn send(alerts: &[Alert], message: &Message) -> Vec<Failure> {
    send_patiently(alerts, message, &webhook::PATIENCE).await
}

async fn send_patiently(alerts: &[Alert], message: &Message, patience: &webhook::Patience) -> Vec<Failure> {
    let wanted = alerts.iter().filter(|alert| hears(alert, message));
    let sent = wanted.map(async |alert| {
        let sent = match alert.kind {
            AlertKind::Webhook => webhook::post(&alert.url, &message.document(), patience).await,
        };
        sent.err().map(|reason| Failure { alert: alert.name.clone(), reason })
    });
    futures::future::join_all(sent).await.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;
