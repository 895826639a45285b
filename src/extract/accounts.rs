//! Accounts in use: who asks next, at whose pace, and who has calls left in this run.
//!
//! Accounts are drained in order: the first that has calls left asks, until its quota ends.
//!
//! Invariant: no account sends more calls in one run than its `calls_per_day`; a call is counted before it leaves.

use std::time::Instant;

use crate::config::Gateway;
use crate::config::pipeline::Account;

use super::pace::Pace;

/// The accounts of one run.
#[derive(Debug)]
pub struct Accounts {
    states: Vec<State>,
}

#[derive(Debug)]
struct State {
    name: String,
    pace: Pace,
    calls_left: Option<u64>,
    blocked: Option<String>,
}

/// Whether a call may leave.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// As this account, now; the call is counted.
    Send(usize),
    /// Ask again then.
    Wait(Instant),
    /// No account has calls left: why.
    None(String),
}

impl Accounts {
    /// Accounts that have asked nothing yet.
    #[must_use]
    pub fn new(gateway: &Gateway, accounts: &[Account]) -> Self {
        let state = |account: &Account| State {
            name: account.name.clone(),
            pace: Pace::new(&gateway.limits),
            calls_left: account.calls_per_day,
            blocked: None,
        };
        Self { states: accounts.iter().map(state).collect() }
    }

    /// Takes a call, if one may leave now.
    pub fn take(&mut self, now: Instant) -> Turn {
        let open = |state: &State| state.blocked.is_none() && state.calls_left != Some(0);
        let Some(index) = self.states.iter().position(open) else { return Turn::None(self.why_none()) };
        let state = &mut self.states[index];
        if let Err(at) = state.pace.send(now) {
            return Turn::Wait(at);
        }
        state.calls_left = state.calls_left.map(|left| left - 1);
        Turn::Send(index)
    }

    /// The gateway says that this account has no calls left.
    pub fn block(&mut self, account: usize, reason: &str) {
        if let Some(state) = self.states.get_mut(account) {
            state.blocked.get_or_insert_with(|| reason.to_owned());
        }
    }

    /// The pace of an account.
    pub fn pace(&mut self, account: usize) -> Option<&mut Pace> {
        self.states.get_mut(account).map(|state| &mut state.pace)
    }

    fn why_none(&self) -> String {
        let why = |state: &State| match &state.blocked {
            Some(reason) => format!("`{}`: {reason}", state.name),
            None => format!("`{}`: its calls per day are used up", state.name),
        };
        format!("no account has calls left ({})", self.states.iter().map(why).collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::testing;

    #[test]
    fn accounts_are_drained_in_order_and_never_past_their_calls() {
        let account = |name: &str, calls| Account { calls_per_day: Some(calls), ..testing::account(name) };
        let mut accounts = Accounts::new(&testing::gateway(""), &[account("a", 2), account("b", 5), account("c", 1)]);
        let now = Instant::now();
        let mut turns = Vec::new();
        for _ in 0..3 {
            turns.push(accounts.take(now));
        }
        accounts.block(1, "quota");
        turns.push(accounts.take(now));
        assert_eq!(turns, [Turn::Send(0), Turn::Send(0), Turn::Send(1), Turn::Send(2)]);
        let Turn::None(why) = accounts.take(now) else { panic!("a call too many") };
        assert_eq!(
            why,
            "no account has calls left (`a`: its calls per day are used up; `b`: quota; `c`: its calls per day are used up)"
        );
    }
}
