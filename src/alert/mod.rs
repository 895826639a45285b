//! Alert: who hears about a run.
//!
//! Takes a [`Message`]; gives the alerts that could not be told.
//!
//! * `message`: what is said, as a value and as the JSON document of a webhook.
//! * `letter`: what is said, in Chinese markdown, cut to what a robot takes.
//! * `robot`: the form, signature and limits of DingTalk's, WeCom's and Feishu's robots.
//! * `answer`: what a robot's answer says.
//! * `post`: one request to one address, and a few tries.
//!
//! Invariant: an alert never fails what it speaks of, and no log or error holds its address: whoever has it can post.

mod answer;
mod letter;
pub mod message;
mod post;
mod robot;

use serde_json::Value;
use url::Url;

pub use message::{Counts, Kind, Message, Quota, Shop, WatchRows};

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

/// Whether an alert wants to hear a message: its `on` names what it is about. [`Kind::Test`] goes to all.
#[must_use]
pub fn hears(alert: &Alert, message: &Message) -> bool {
    message.kind.on().is_none_or(|on| alert.on.contains(&on))
}

/// Sends a message to every alert that wants to hear it, to all at once; gives those that could not be told.
pub async fn send(alerts: &[Alert], message: &Message) -> Vec<Failure> {
    send_patiently(alerts, message, &post::PATIENCE).await
}

/// What an alert is sent, without a signature: a webhook's document, or a robot's body.
#[must_use]
pub fn body(kind: AlertKind, message: &Message) -> Value {
    robot::body(kind, message).unwrap_or_else(|| message.document())
}

async fn send_patiently(alerts: &[Alert], message: &Message, patience: &post::Patience) -> Vec<Failure> {
    let wanted = alerts.iter().filter(|alert| hears(alert, message));
    let sent = wanted.map(async |alert| {
        let sent = match request(alert, message) {
            Ok(request) => post::post(&request, patience).await,
            Err(reason) => Err(reason),
        };
        sent.err().map(|reason| Failure { alert: alert.name.clone(), reason })
    });
    futures::future::join_all(sent).await.into_iter().flatten().collect()
}

fn request(alert: &Alert, message: &Message) -> Result<post::Request, String> {
    let mut url = Url::parse(alert.url.expose()).map_err(|_| "its address is no URL".to_owned())?;
    let mut body = body(alert.kind, message);
    robot::sign(alert, &mut url, &mut body, message.at);
    Ok(post::Request { kind: alert.kind, url, body: body.to_string(), secrets: alert.sign.iter().cloned().collect() })
}

#[cfg(test)]
mod tests;
