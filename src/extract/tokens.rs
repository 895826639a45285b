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

use crate::base::json::Raw;
use crate::base::secret::Mask;
use crate::base::{Error, Kind, Result, Secret};
use crate::config::gateway::{Endpoint, ErrorClass};
use crate::config::pipeline::{Account, Credential};
use crate::config::{Gateway, Pointer};

use super::answer;
use super::body::{self, BodyError};
use super::judge::{Fault, Judge, Judgement};
use super::record::Record;
use super::request::{self, Call, Request, Values};
use super::words::{describe, or_else};

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
    /// Renewals that failed in a row.
    troubles: HashMap<(String, String), Trouble>,
}

/// Renewals of one token that failed in a row: the calls that wait for it share them, and what follows.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    /// How many.
    pub(super) tries: u32,
    /// When the first of them was made.
    pub(super) first: tokio::time::Instant,
    /// When another may be asked for; `None`: not in this run.
    pub(super) again_at: Option<tokio::time::Instant>,
    /// Why the last of them failed.
    pub(super) fault: Fault,
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

    /// The renewals of an account's token that failed in a row.
    pub(super) fn trouble(&self, gateway: &Gateway, account: &Account) -> Option<Trouble> {
        self.lock().troubles.get(&key(gateway, account)).cloned()
    }

    /// Another renewal failed.
    pub(super) fn failed(&self, gateway: &Gateway, account: &Account, trouble: Trouble) {
        self.lock().troubles.insert(key(gateway, account), trouble);
    }

    /// Takes the token out of an answer, or says what is wrong with it.
    pub(super) fn take(
        &self,
        (gateway, judge): (&Gateway, &Judge<'_>),
        account: &Account,
        record: &Record,
        body: &[u8],
    ) -> std::result::Result<(), Fault> {
        let Some(rules) = &gateway.token else { return Ok(()) };
        let json = body::to_json(body, record.content_type.as_deref());
        let parsed = json.as_ref().map_err(Clone::clone).and_then(|json| body::parse(json));
        let answer = parsed.as_ref().ok().filter(|_| record.transport_error.is_none()).copied();
        let text = |pointers: &Vec<Pointer>| {
            answer::first(pointers, answer?).and_then(|value| value.text().map(|text| text.trim().to_owned()))
        };
        let token = text(&rules.token).filter(|token| !token.is_empty());
        let parsed = parsed.as_ref().map(|answer| *answer);
        let token = token.ok_or_else(|| without_token(judge, &rules.endpoint, record, parsed))?;
        let lifetime = text(&rules.expires).and_then(|seconds| seconds.parse().ok());
        let lifetime = lifetime.map_or(LIFETIME, Duration::from_secs).min(LIFETIME_MAX);
        let renew_at = Instant::now() + lifetime.saturating_sub(EARLY.min(lifetime / 10));
        let generation = self.generation(gateway, account) + 1;
        let (key, token) = (key(gateway, account), Secret::new(token));
        let state = &mut *self.lock();
        state.given.push(token.clone());
        state.mask = Mask::new(state.given.iter().cloned());
        state.troubles.remove(&key);
        state.held.insert(key, Held { token, renew_at, generation });
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

/// What an answer without a token means: what the definition's errors and the general rules say of it; where they say
/// nothing, the account is refused one. Of its words only the code is repeated: others may hold a token.
fn without_token(
    judge: &Judge<'_>,
    endpoint: &Endpoint,
    record: &Record,
    answer: std::result::Result<Raw<'_>, &BodyError>,
) -> Fault {
    let status = record.http_status.unwrap_or_default();
    let refused = |class| {
        let message = format!("HTTP {status}, and no token in the answer");
        Fault { class, code: None, message, hint: None, wait: None, permission: false, elsewhere: false }
    };
    let fault = match judge.judge(endpoint, record, answer) {
        Judgement::Fault(fault) => fault,
        Judgement::Good if answer.is_ok_and(Raw::is_empty_value) => refused(ErrorClass::Retry),
        Judgement::Good => refused(ErrorClass::Auth),
    };
    let message = match answer {
        _ if record.transport_error.is_some() => fault.message,
        Err(_) => format!("HTTP {status}, no document"),
        Ok(_) => refused(fault.class).message,
    };
    // Somewhere else is somewhere else, whichever way it is said; once more tells.
    let elsewhere = fault.elsewhere || record.redirects();
    let class = match fault.class {
        _ if elsewhere => ErrorClass::Retry,
        ErrorClass::Item | ErrorClass::Gone => ErrorClass::Auth,
        class => class,
    };
    Fault { class, message, permission: false, elsewhere, ..fault }
}

/// Why an account has no token.
pub(super) fn refusal(gateway: &Gateway, account: &Account, fault: &Fault) -> Error {
    let (name, what) = (&account.name, describe(fault));
    let kind = match fault.class {
        ErrorClass::Auth => Kind::Denied,
        ErrorClass::Quota => Kind::Quota,
        ErrorClass::Param => Kind::Config,
        _ if fault.elsewhere => Kind::Config,
        _ => Kind::Unavailable,
    };
    let error = Error::new(kind, format!("gateway `{}` renews no token for account `{name}`: {what}", gateway.name));
    let needs = gateway.token.as_ref().map(|rules| rules.needs.as_str()).unwrap_or_default();
    let renew = format!(
        "renew `{needs}` of the account at the gateway's console, and see whether its key and secret are right"
    );
    let hint = fault.hint.as_deref();
    error.with_hint(match kind {
        Kind::Config => hint.unwrap_or("correct `[token]` of the definition").to_owned(),
        Kind::Unavailable => or_else("try again later: what was answered is landed", hint),
        Kind::Quota => hint.unwrap_or("the account rests until its block ends").to_owned(),
        _ => hint.map_or_else(|| renew.clone(), |hint| or_else(hint, Some(&renew))),
    })
}
