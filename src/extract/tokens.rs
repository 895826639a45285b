//! Access tokens that are renewed: one unsigned call to the gateway's token address, whose answer is kept nowhere.
//!
//! Takes an account that holds what the definition's `[token]` needs; gives the account with a token that is fresh. When
//! the call is made, and as what it counts, is the matter of `renew`.
//!
//! Invariant: a token lives in memory only. It never reaches a log, an error, a landed file, the state or a table.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::base::secret::Mask;
use crate::base::{Error, Kind, Result, Secret};
use crate::config::gateway::ErrorClass;
use crate::config::pipeline::{Account, Credential};
use crate::config::{Gateway, Pointer};

use super::answer;
use super::body;
use super::http::Exchange;
use super::judge::{Fault, is_no_address};
use super::request::{self, Call, Request, Values};
use super::retry;
use super::words::wrong_address;

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
    /// … as a mask.
    mask: Mask,
    /// The last generation that the gateway refused.
    refused: HashMap<(String, String), u64>,
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
        let (state, key) = (self.lock(), key(gateway, account));
        let held = state.held.get(&key);
        if state.refused.get(&key) == Some(&held.map_or(0, |held| held.generation)) {
            return true;
        }
        match held {
            Some(held) => Instant::now() >= held.renew_at,
            None => !account.credentials.contains_key(&rules.credential),
        }
    }

    /// The gateway refuses the token of this generation: another one is due before the account asks again.
    pub(super) fn refused(&self, gateway: &Gateway, account: &Account, generation: u64) {
        let state = &mut *self.lock();
        let refused = state.refused.entry(key(gateway, account)).or_default();
        *refused = generation.max(*refused);
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
    pub(super) fn mask(&self) -> Mask {
        self.lock().mask.clone()
    }

    /// One renewal at a time.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The call that asks for a new token.
    ///
    /// # Errors
    /// `Config` when the definition cannot build it.
    pub(super) fn request(gateway: &Gateway, account: &Account, now: DateTime<Utc>) -> Result<Request> {
        let none = || Error::internal(format!("gateway `{}` gives no tokens", gateway.name));
        let endpoint = &gateway.token.as_ref().ok_or_else(none)?.endpoint;
        let plain = Gateway { sign: None, params: Vec::new(), ..gateway.clone() };
        let values = Values::default();
        request::build(Call { gateway: &plain, endpoint, account, values: &values, now })
            .map_err(|error| Error::config(format!("gateway `{}`: {error}", gateway.name)))
    }

    /// Takes the token out of an answer, or says what is wrong with it. What the answer says is not repeated: it may hold
    /// a token.
    pub(super) fn take(
        &self,
        gateway: &Gateway,
        account: &Account,
        exchange: &Exchange,
        received_at: DateTime<Utc>,
    ) -> std::result::Result<(), Fault> {
        let wait = retry::stated_wait(exchange.retry_after.as_deref(), exchange.date.as_deref(), received_at);
        let is_ban = wait.is_some_and(|wait| wait > retry::WAIT_MAX);
        let fault = |class, message: String| {
            // Whoever must wait longer has no calls left until then, as of any other call.
            let class = if class == ErrorClass::Throttle && is_ban { ErrorClass::Quota } else { class };
            Fault { class, code: None, message, hint: None, wait, permission: false, elsewhere: false }
        };
        if let Some(error) = &exchange.transport_error {
            return Err(fault(ErrorClass::Retry, error.clone()));
        }
        let json = body::to_json(&exchange.body, exchange.content_type.as_deref());
        let parsed = json.as_ref().map_err(Clone::clone).and_then(|json| body::parse(json));
        let status = exchange.status.unwrap_or_default();
        let unread = match status {
            429 => ErrorClass::Throttle,
            _ => ErrorClass::Retry,
        };
        let rules = gateway.token.as_ref();
        let answer = parsed.map_err(|_| {
            let asked = rules.map(|rules| &rules.endpoint).filter(|asked| is_no_address(status, asked));
            let fault = fault(unread, format!("HTTP {status}, no document"));
            Fault { elsewhere: asked.is_some(), hint: asked.map(wrong_address), ..fault }
        })?;
        let text = |pointers: Option<&Vec<Pointer>>| {
            answer::first(pointers?, answer).and_then(|value| value.text().map(|text| text.trim().to_owned()))
        };
        let token = text(rules.map(|rules| &rules.token)).filter(|token| !token.is_empty());
        let refused = if status == 429 || status >= 500 { unread } else { ErrorClass::Auth };
        let token = token.ok_or_else(|| fault(refused, format!("HTTP {status}, and no token in the answer")))?;
        let lifetime = text(rules.map(|rules| &rules.expires)).and_then(|seconds| seconds.parse().ok());
        let lifetime = lifetime.map_or(LIFETIME, Duration::from_secs).min(LIFETIME_MAX);
        let renew_at = Instant::now() + lifetime.saturating_sub(EARLY.min(lifetime / 10));
        let generation = self.generation(gateway, account) + 1;
        let token = Secret::new(token);
        let state = &mut *self.lock();
        state.given.push(token.clone());
        state.mask = Mask::new(state.given.iter().cloned());
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

/// Why an account has no token.
pub(super) fn refusal(gateway: &Gateway, account: &Account, fault: &Fault) -> Error {
    let (name, what) = (&account.name, &fault.message);
    let kind = match fault.class {
        ErrorClass::Auth => Kind::Denied,
        ErrorClass::Quota => Kind::Quota,
        _ if fault.elsewhere => Kind::Config,
        _ => Kind::Unavailable,
    };
    let error = Error::new(kind, format!("gateway `{}` renews no token for account `{name}`: {what}", gateway.name));
    let needs = gateway.token.as_ref().map(|rules| rules.needs.as_str()).unwrap_or_default();
    match kind {
        Kind::Config => fault.hint.iter().fold(error, |error, hint| error.with_hint(hint)),
        Kind::Unavailable => error.with_hint("try again later: what was answered is landed"),
        Kind::Quota => error.with_hint("the gateway states how long: the account rests until then"),
        _ => error.with_hint(format!(
            "renew `{needs}` of the account at the gateway's console, and see whether its key and secret are right"
        )),
    }
}
