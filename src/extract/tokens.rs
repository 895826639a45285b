//! Access tokens that are renewed: one unsigned call to the gateway's token address, whose answer is kept nowhere.
//!
//! Takes an account that holds what the definition's `[token]` needs; gives the account with a token that is fresh.
//!
//! Invariant: a token lives in memory only. It never reaches a log, an error, a landed file, the state or a table.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::base::{Error, Kind, Result, Secret};
use crate::config::Gateway;
use crate::config::gateway::{Endpoint, TokenRules};
use crate::config::pipeline::{Account, Credential};

use super::answer;
use super::body;
use super::http::Http;
use super::request::{self, Call, Values};

/// A token is renewed this long before it ends.
const EARLY: Duration = Duration::from_secs(300);
/// Longer lifetimes are of no use to one run.
const LIFETIME_MAX: Duration = Duration::from_secs(86_400 * 30);
/// The lifetime of a token whose answer states none.
const LIFETIME: Duration = Duration::from_secs(3600);

/// The tokens of a run, by gateway and account.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    state: Mutex<State>,
    /// Calls that are refused together ask for one new token, not for one each.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<(String, String), Held>,
    /// Every token that was given: an answer in flight may still name an older one.
    given: Vec<Secret>,
}

#[derive(Debug, Clone)]
struct Held {
    token: Secret,
    renew_at: Instant,
    /// How often it was renewed.
    generation: u64,
}

impl Tokens {
    /// Whether an account's token can be renewed here.
    pub(super) fn renews(gateway: &Gateway, account: &Account) -> bool {
        gateway.token.as_ref().is_some_and(|rules| account.credentials.contains_key(&rules.needs))
    }

    /// Whether a call as this account must wait for a new token.
    pub(super) fn is_due(&self, gateway: &Gateway, account: &Account) -> bool {
        let Some(rules) = gateway.token.as_ref().filter(|_| Self::renews(gateway, account)) else { return false };
        match self.lock().held.get(&key(gateway, account)) {
            Some(held) => Instant::now() >= held.renew_at,
            None => !account.credentials.contains_key(&rules.credential),
        }
    }

    /// How often an account's token was renewed.
    pub(super) fn generation(&self, gateway: &Gateway, account: &Account) -> u64 {
        self.lock().held.get(&key(gateway, account)).map_or(0, |held| held.generation)
    }

    /// The account with the token that holds now.
    pub(super) fn fresh<'a>(&self, gateway: &Gateway, account: &'a Account) -> Cow<'a, Account> {
        match (&gateway.token, self.lock().held.get(&key(gateway, account))) {
            (Some(rules), Some(held)) => {
                let mut account = account.clone();
                account.credentials.insert(rules.credential.clone(), Credential::Secret(held.token.clone()));
                Cow::Owned(account)
            }
            _ => Cow::Borrowed(account),
        }
    }

    /// Every token that was given: what must not be kept of any answer.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        self.lock().given.clone()
    }

    /// One renewal at a time.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Asks for a new token.
    ///
    /// # Errors
    /// `Denied` when the gateway gives none, `Unavailable` when it does not answer.
    pub(super) async fn renew(
        &self,
        gateway: &Gateway,
        account: &Account,
        http: &Http,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let Some(rules) = &gateway.token else { return Ok(()) };
        let plain = Gateway { sign: None, params: Vec::new(), ..gateway.clone() };
        let endpoint = endpoint(rules);
        let values = Values::default();
        let request = request::build(Call { gateway: &plain, endpoint: &endpoint, account, values: &values, now })
            .map_err(|error| Error::config(format!("gateway `{}`: {error}", gateway.name)))?;
        let exchange = http.send(&request).await;
        let failed = |kind, what: String| {
            let name = &account.name;
            let error =
                Error::new(kind, format!("gateway `{}` renews no token for account `{name}`: {what}", gateway.name));
            match kind {
                Kind::Unavailable => error.with_hint("try again later: what was answered is landed"),
                _ => error.with_hint(format!(
                    "renew `{}` of the account at the gateway's console, and see whether its key and secret are right",
                    rules.needs
                )),
            }
        };
        if let Some(error) = exchange.transport_error {
            return Err(failed(Kind::Unavailable, error));
        }
        let json = body::to_json(&exchange.body, exchange.content_type.as_deref());
        let parsed = json.as_ref().map_err(Clone::clone).and_then(|json| body::parse(json));
        let status = exchange.status.unwrap_or_default();
        // What the answer says is not repeated: it may hold a token.
        let answer = parsed.map_err(|_| failed(Kind::Unavailable, format!("HTTP {status}, no document")))?;
        let text = |pointers| {
            answer::first(pointers, answer).and_then(|value| value.text().map(|text| text.trim().to_owned()))
        };
        let token = text(&rules.token).filter(|token| !token.is_empty());
        let refused = if status == 429 || status >= 500 { Kind::Unavailable } else { Kind::Denied };
        let token = token.ok_or_else(|| failed(refused, format!("HTTP {status}, and no token in the answer")))?;
        let lifetime =
            text(&rules.expires).and_then(|seconds| seconds.parse().ok()).map_or(LIFETIME, Duration::from_secs);
        let lifetime = lifetime.min(LIFETIME_MAX);
        let renew_at = Instant::now() + lifetime.saturating_sub(EARLY.min(lifetime / 10));
        let generation = self.generation(gateway, account) + 1;
        let token = Secret::new(token);
        let state = &mut *self.lock();
        state.given.push(token.clone());
        state.held.insert(key(gateway, account), Held { token, renew_at, generation });
        tracing::info!(account = account.name, "renewed the access token");
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(gateway: &Gateway, account: &Account) -> (String, String) {
    (gateway.name.clone(), account.key.clone())
}

fn endpoint(rules: &TokenRules) -> Endpoint {
    Endpoint { path: rules.path.clone(), http: rules.http, params: rules.params.clone(), ..Endpoint::named("token") }
}
