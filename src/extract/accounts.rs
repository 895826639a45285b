//! Accounts in use: which one asks next, and what is known of those that ask no more.
//!
//! The quota, the rhythm and the places in flight are the state store's business; this is the order in which accounts
//! are offered to it, and what it said of each.
//!
//! | choice | the next account |
//! |---|---|
//! | drain | the first in the pipeline that has calls left |
//! | rotate | the one that has used the smallest share of its calls today |
//!
//! Invariant: pure. An account that has said no for a scope is not asked for that scope again in this run.

use std::collections::{BTreeMap, HashMap};

use crate::config::pipeline::AccountChoice;
use crate::state::{Rest, RestKind};

/// The accounts of one gateway in one run.
#[derive(Debug)]
pub struct Accounts {
    choice: AccountChoice,
    states: Vec<AccountState>,
}

#[derive(Debug)]
struct AccountState {
    name: String,
    calls_per_day: Option<u64>,
    /// Calls counted today, by scope, as far as the store said.
    used: HashMap<String, u64>,
    /// By scope; `""` holds for all.
    closed: BTreeMap<String, Closed>,
}

/// Why an account makes no more calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// Its calls of the day are used up.
    UsedUp {
        /// Calls counted.
        used: u64,
    },
    /// It rests.
    Resting(Rest),
}

/// Why nobody can ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoneLeft {
    /// By account, in words.
    pub reason: String,
    /// Every account was refused by the gateway: the user must act.
    pub denied: bool,
    /// Every account is closed for all scopes, not only for the one that was asked for.
    pub everywhere: bool,
}

/// A share of the day's calls that is worth a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// 80 or 95.
    pub percent: u64,
    /// Calls counted.
    pub used: u64,
    /// Calls allowed.
    pub limit: u64,
}

impl Accounts {
    /// Accounts that nothing is known of yet, by name and calls a day.
    pub fn new(choice: AccountChoice, accounts: impl IntoIterator<Item = (String, Option<u64>)>) -> Self {
        let state =
            |(name, calls_per_day)| AccountState { name, calls_per_day, used: HashMap::new(), closed: BTreeMap::new() };
        Self { choice, states: accounts.into_iter().map(state).collect() }
    }

    /// The accounts to offer a call of this scope to, the best first.
    #[must_use]
    pub fn order(&self, scope: &str) -> Vec<usize> {
        let open = |index: &usize| self.states[*index].is_open(scope);
        let mut order: Vec<usize> = (0..self.states.len()).filter(open).collect();
        if self.choice == AccountChoice::Rotate {
            order.sort_by_key(|&index| self.states[index].share_used(scope));
        }
        order
    }

    /// Whether a call that this account cannot send now waits for it, rather than going to the next one.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.choice == AccountChoice::Drain
    }

    /// A call was counted; tells when that passes 80 or 95 % of the day's calls.
    pub fn counted(&mut self, account: usize, scope: &str, used: u64) -> Option<Mark> {
        let state = self.states.get_mut(account)?;
        state.used.insert(scope.to_owned(), used);
        let limit = state.calls_per_day?;
        let passes = |percent: u64| used == (limit * percent).div_ceil(100) && used > 0;
        [95, 80].into_iter().find(|&percent| passes(percent)).map(|percent| Mark { percent, used, limit })
    }

    /// An account makes no more calls in a scope (`""`: in all).
    pub fn close(&mut self, account: usize, scope: &str, closed: Closed) {
        if let Some(state) = self.states.get_mut(account) {
            state.closed.entry(scope.to_owned()).or_insert(closed);
        }
    }

    /// Why no account is left for a scope.
    #[must_use]
    pub fn none_left(&self, scope: &str) -> NoneLeft {
        let closed = |state: &AccountState| {
            state.closed.get("").or_else(|| state.closed.get(scope)).cloned().unwrap_or(Closed::UsedUp { used: 0 })
        };
        let why = |state: &AccountState| match closed(state) {
            Closed::UsedUp { .. } => {
                let limit = state.calls_per_day.map(|limit| format!("{limit} ")).unwrap_or_default();
                format!("`{}`: its {limit}calls of the day are used up", state.name)
            }
            Closed::Resting(rest) => format!("`{}`: {}", state.name, describe(&rest)),
        };
        let denied =
            |state: &AccountState| matches!(closed(state), Closed::Resting(rest) if rest.kind == RestKind::Denied);
        let for_scope = if scope.is_empty() { String::new() } else { format!(" for {}", scope.replace(':', " ")) };
        let reasons: Vec<_> = self.states.iter().map(why).collect();
        let denied = !self.states.is_empty() && self.states.iter().all(denied);
        let what = if denied { "the gateway refuses every account" } else { "no account has calls left" };
        NoneLeft {
            reason: format!("{what}{for_scope} ({})", reasons.join("; ")),
            denied,
            everywhere: scope.is_empty() || self.states.iter().all(|state| state.closed.contains_key("")),
        }
    }

    /// Whether another account than this one may still ask in a scope.
    #[must_use]
    pub fn has_other(&self, account: usize, scope: &str) -> bool {
        self.order(scope).iter().any(|&index| index != account)
    }
}

/// A rest in words.
#[must_use]
pub fn describe(rest: &Rest) -> String {
    let until = rest.until.with_timezone(&crate::base::time::BEIJING).format("%Y-%m-%d %H:%M");
    let what = match rest.kind {
        RestKind::Quota => "blocked",
        RestKind::Denied => "denied",
    };
    format!("{what} until {until} (Beijing): {}", rest.reason)
}

impl AccountState {
    fn is_open(&self, scope: &str) -> bool {
        !self.closed.contains_key("") && !self.closed.contains_key(scope)
    }

    /// In millionths; an account without a limit counts its calls.
    fn share_used(&self, scope: &str) -> u64 {
        let used = self.used.get(scope).copied().unwrap_or(0);
        self.calls_per_day.map_or(used, |limit| used.saturating_mul(1_000_000) / limit.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(choice: AccountChoice) -> Accounts {
        Accounts::new(choice, [("a".to_owned(), Some(10)), ("b".to_owned(), Some(100)), ("c".to_owned(), None)])
    }

    fn rest(kind: RestKind) -> Closed {
        let until = chrono::DateTime::from_timestamp(1_795_190_400, 0).unwrap();
        Closed::Resting(Rest { kind, until, reason: "10003 no permission".into() })
    }

    #[test]
    fn drained_accounts_are_offered_in_order_until_they_are_closed() {
        let mut accounts = accounts(AccountChoice::Drain);
        assert_eq!(accounts.order(""), [0, 1, 2]);
        accounts.close(0, "", Closed::UsedUp { used: 10 });
        accounts.close(1, "shop:1", Closed::UsedUp { used: 100 });
        assert_eq!((accounts.order("shop:1"), accounts.order("shop:2")), (vec![2], vec![1, 2]));
        assert!(accounts.has_other(1, "shop:1") && !accounts.has_other(2, "shop:1"));
    }

    #[test]
    fn rotated_accounts_are_offered_by_the_share_of_their_day() {
        let mut accounts = accounts(AccountChoice::Rotate);
        let _ = (accounts.counted(0, "", 2), accounts.counted(1, "", 10), accounts.counted(2, "", 1));
        assert_eq!(accounts.order(""), [2, 1, 0]);
    }

    #[test]
    fn four_fifths_and_nineteen_twentieths_of_a_day_are_told_once_each() {
        let mut accounts = accounts(AccountChoice::Drain);
        let marks: Vec<_> = (1..=100).filter_map(|used| accounts.counted(1, "", used)).collect();
        assert_eq!(marks, [Mark { percent: 80, used: 80, limit: 100 }, Mark { percent: 95, used: 95, limit: 100 }]);
        let of_ten: Vec<_> = (1..=10).filter_map(|used| accounts.counted(0, "", used)).map(|mark| mark.used).collect();
        assert_eq!(of_ten, [8, 10]);
    }

    #[test]
    fn when_nobody_is_left_every_account_says_why() {
        let mut accounts = accounts(AccountChoice::Drain);
        accounts.close(0, "", Closed::UsedUp { used: 10 });
        accounts.close(1, "", rest(RestKind::Quota));
        accounts.close(2, "", rest(RestKind::Denied));
        let none = accounts.none_left("");
        assert_eq!(
            none.reason,
            "no account has calls left (`a`: its 10 calls of the day are used up; `b`: blocked until 2026-11-21 00:00 \
             (Beijing): 10003 no permission; `c`: denied until 2026-11-21 00:00 (Beijing): 10003 no permission)"
        );
        assert!(!none.denied && none.everywhere);
        let mut refused = Accounts::new(AccountChoice::Drain, [("a".to_owned(), None)]);
        refused.close(0, "", rest(RestKind::Denied));
        assert!(refused.none_left("").denied);
    }
}
