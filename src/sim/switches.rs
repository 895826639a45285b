//! What can be changed while the simulator runs: a key's secret, the clock's offset, a storm of 429s, access tokens.
//!
//! Pure but for its own state: the time comes with each question.
//!
//! Invariant: a token is good until it expires and never afterwards; a storm takes exactly as many calls as it was
//! told to.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use super::gateways::Call;
use super::options::{Key, Options, Storm};

/// Tokens that are kept; older ones are forgotten.
const TOKENS_MAX: usize = 100;

/// The switches as they stand.
#[derive(Debug)]
pub(super) struct Switches {
    /// By app key: secrets that replace the options'.
    secrets: BTreeMap<String, String>,
    clock_offset: TimeDelta,
    storm: Option<Storm>,
    tokens: Tokens,
}

impl Switches {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            secrets: BTreeMap::new(),
            clock_offset: seconds(options.clock_offset_seconds),
            storm: options.storm,
            tokens: Tokens::new(options),
        }
    }

    /// What `key` signs with now.
    pub(super) fn secret<'a>(&'a self, key: &'a Key) -> &'a str {
        self.secrets.get(&key.app_key).unwrap_or(&key.app_secret)
    }

    pub(super) fn set_secret(&mut self, app_key: &str, secret: &str) {
        self.secrets.insert(app_key.to_owned(), secret.to_owned());
    }

    pub(super) fn clock_offset(&self) -> TimeDelta {
        self.clock_offset
    }

    pub(super) fn set_clock_offset(&mut self, offset_seconds: i64) {
        self.clock_offset = seconds(offset_seconds);
    }

    pub(super) fn set_storm(&mut self, storm: Option<Storm>) {
        self.storm = storm;
    }

    /// Takes one call into the storm, if there is one.
    pub(super) fn storm(&mut self) -> Option<Storm> {
        let storm = self.storm?;
        match &mut self.storm.as_mut()?.calls {
            None => Some(storm),
            Some(0) => None,
            Some(left) => {
                *left -= 1;
                Some(storm)
            }
        }
    }

    /// Whether the call carries a token that is good at `now`.
    pub(super) fn is_authorized(&self, call: &Call, now: DateTime<Utc>) -> bool {
        call.get("access_token").is_some_and(|token| self.tokens.is_good(token, now))
    }

    /// A new token and its lifetime in seconds, or OAuth's word for why not.
    pub(super) fn renew(&mut self, call: &Call, key: &Key, now: DateTime<Utc>) -> Result<(String, i64), &'static str> {
        if call.get("client_id") != Some(&key.app_key) || call.get("client_secret") != Some(self.secret(key)) {
            return Err("invalid_client");
        }
        if call.get("grant_type") != Some("refresh_token") {
            return Err("unsupported_grant_type");
        }
        if call.get("refresh_token") != Some(&self.tokens.refresh_token) {
            return Err("invalid_grant");
        }
        Ok(self.tokens.renew(now))
    }

    /// No token is good any more.
    pub(super) fn expire_tokens(&mut self) {
        self.tokens.good.clear();
    }
}

/// At most a century, so that no time overflows.
fn seconds(count: i64) -> TimeDelta {
    const CENTURY: i64 = 100 * 365 * 86_400;
    TimeDelta::seconds(count.clamp(-CENTURY, CENTURY))
}

/// The access tokens that are good, oldest first.
#[derive(Debug)]
struct Tokens {
    name: String,
    refresh_token: String,
    seconds: i64,
    renewed: u64,
    /// With the time from which it is not; `None`: never.
    good: VecDeque<(String, Option<DateTime<Utc>>)>,
}

impl Tokens {
    fn new(options: &Options) -> Self {
        Self {
            name: options.access_token.clone(),
            refresh_token: options.refresh_token.clone(),
            seconds: options.access_token_seconds,
            renewed: 0,
            good: VecDeque::from([(options.access_token.clone(), options.access_token_expires_at)]),
        }
    }

    fn is_good(&self, token: &str, now: DateTime<Utc>) -> bool {
        self.good.iter().any(|(good, until)| good == token && until.is_none_or(|until| now < until))
    }

    fn renew(&mut self, now: DateTime<Utc>) -> (String, i64) {
        self.renewed += 1;
        let token = format!("{}-{}", self.name, self.renewed);
        self.good.push_back((token.clone(), Some(now + seconds(self.seconds))));
        if self.good.len() > TOKENS_MAX {
            self.good.pop_front();
        }
        (token, self.seconds)
    }
}
