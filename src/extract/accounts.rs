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
//! Invariant: pure. An account that has said no to a call is not asked for that scope or endpoint again before its day or
//! its rest is over.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};

use crate::config::pipeline::AccountChoice;
use crate::state::{Rest, RestKind, covers};

/// What a call asks for, as far as it matters who makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asking<'a> {
    /// What it is counted by, as in [`crate::state::Ask::scope`].
    pub scope: &'a str,
    /// The endpoint it goes to.
    pub endpoint: &'a str,
}

/// The accounts of one gateway in one run.
#[derive(Debug)]
pub struct Accounts {
    choice: AccountChoice,
    states: Vec<AccountState>,
    /// The day that what is known is of.
    day: Option<NaiveDate>,
}

#[derive(Debug)]
struct AccountState {
    name: String,
    calls_per_day: Option<u64>,
    /// Calls counted today, by scope, as far as the store said.
    used: HashMap<String, u64>,
    /// The share of the day's calls that was last worth a word, by scope, in percent.
    marked: HashMap<String, u64>,
    /// By scope: `""` holds for all calls, `endpoint:NAME` for those to an endpoint.
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
    /// Nobody gets through on its own way to the gateway, for this reason.
    Unreached(String),
}

/// Why nobody can ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoneLeft {
    /// By account, in words.
    pub reason: String,
    /// Nobody can ask before the user acts: every account was refused by the gateway, or all are closed for all calls
    /// and one of them was refused.
    pub denied: bool,
    /// The first account that was refused.
    pub refused: Option<String>,
    /// Every account is closed for all calls, not only for such as was asked for.
    pub everywhere: bool,
    /// All that is lacking is a permission for the endpoint.
    pub permission: bool,
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

impl Mark {
    /// The key in the state store that is taken once a listener (a pipeline's log, an alert) was told of it: each is told
    /// once a day of an account, by its key, and a scope, whatever starts and pipelines pass the mark.
    #[must_use]
    pub fn told(
        percent: u64,
        limit: u64,
        (account, scope): (&str, &str),
        (day, listener): (NaiveDate, &str),
    ) -> String {
        format!("told {day} {percent} % of {limit} {account} {scope} {listener}")
    }
}

impl Accounts {
    /// Accounts that nothing is known of yet, by name and calls a day.
    pub fn new(choice: AccountChoice, accounts: impl IntoIterator<Item = (String, Option<u64>)>) -> Self {
        let state = |(name, calls_per_day)| AccountState {
            name,
            calls_per_day,
            used: HashMap::new(),
            marked: HashMap::new(),
            closed: BTreeMap::new(),
        };
        Self { choice, states: accounts.into_iter().map(state).collect(), day: None }
    }

    /// Forgets what is over: on a new day what was used of the day before, and rests that have ended by `now`.
    pub fn renew(&mut self, day: NaiveDate, now: DateTime<Utc>) {
        let is_new = self.day.replace(day).is_some_and(|before| before < day);
        for state in &mut self.states {
            if is_new {
                state.used.clear();
                state.marked.clear();
            }
            state.closed.retain(|_, closed| match closed {
                Closed::UsedUp { .. } => !is_new,
                Closed::Resting(rest) => rest.until > now,
                Closed::Unreached(_) => true,
            });
        }
    }

    /// Whether nobody gets through to the gateway as this account.
    #[must_use]
    pub fn is_unreached(&self, index: usize) -> bool {
        let closed = self.states.get(index).and_then(|state| state.closed.get(""));
        matches!(closed, Some(Closed::Unreached(_)))
    }

    /// The accounts to offer a call to, the best first.
    #[must_use]
    pub fn order(&self, asking: Asking<'_>) -> Vec<usize> {
        let open = |index: &usize| self.states[*index].closed_for(asking).is_none();
        let mut order: Vec<usize> = (0..self.states.len()).filter(open).collect();
        if self.choice == AccountChoice::Rotate {
            order.sort_by_key(|&index| self.states[index].share_used(asking.scope));
        }
        order
    }

    /// Whether a call that this account cannot send now waits for it, rather than going to the next one.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.choice == AccountChoice::Drain
    }

    /// A call was counted; tells when with it 80 or 95 % of the day's calls are used, by whomever: once each.
    pub fn counted(&mut self, account: usize, scope: &str, used: u64) -> Option<Mark> {
        let state = self.states.get_mut(account)?;
        state.used.insert(scope.to_owned(), used);
        let limit = state.calls_per_day?;
        let is_reached = |percent: u64| used > 0 && used >= limit.saturating_mul(percent).div_ceil(100);
        let percent = [95, 80].into_iter().find(|&percent| is_reached(percent))?;
        let marked = state.marked.entry(scope.to_owned()).or_default();
        if *marked >= percent {
            return None;
        }
        *marked = percent;
        Some(Mark { percent, used, limit })
    }

    /// An account makes no more calls in a scope (`""`: in all; `endpoint:NAME`: to an endpoint); whether it was open there.
    pub fn close(&mut self, account: usize, scope: &str, closed: Closed) -> bool {
        let Some(state) = self.states.get_mut(account) else { return false };
        let was_open = !state.closed.contains_key("") && !state.closed.contains_key(scope);
        state.closed.entry(scope.to_owned()).or_insert(closed);
        was_open
    }

    /// Why no account is left for a call.
    #[must_use]
    pub fn none_left(&self, asking: Asking<'_>) -> NoneLeft {
        let closed: Vec<_> = self.states.iter().map(|state| (state, state.closed_for(asking))).collect();
        let why = |(state, closed): &(&AccountState, Option<(&str, &Closed)>)| match closed {
            Some((_, Closed::Resting(rest))) => format!("`{}`: {rest}", state.name),
            Some((_, Closed::Unreached(reason))) => format!("`{}`: {reason}", state.name),
            Some((_, Closed::UsedUp { .. })) | None => {
                let limit = state.calls_per_day.map(|limit| format!("{limit} ")).unwrap_or_default();
                format!("`{}`: its {limit}calls of the day are used up", state.name)
            }
        };
        let reasons: Vec<_> = closed.iter().map(why).collect();
        let is_denied = |closed: &Option<(&str, &Closed)>| matches!(closed, Some((_, Closed::Resting(rest))) if rest.kind == RestKind::Denied);
        let all_denied = !closed.is_empty() && closed.iter().all(|(_, closed)| is_denied(closed));
        let refused = closed.iter().find(|(_, closed)| is_denied(closed)).map(|(state, _)| state.name.clone());
        let scopes: Vec<&str> = closed.iter().filter_map(|(_, closed)| closed.map(|(scope, _)| scope)).collect();
        let of_endpoint = scopes.iter().any(|scope| scope.starts_with("endpoint:"));
        let what = if all_denied { "the gateway refuses every account" } else { "no account has calls left" };
        let for_what = match asking.scope {
            _ if of_endpoint => format!(" for endpoint {}", asking.endpoint),
            "" => String::new(),
            scope => format!(" for {}", scope.replace(':', " ")),
        };
        let everywhere = scopes.iter().filter(|scope| scope.is_empty()).count() == self.states.len();
        NoneLeft {
            reason: format!("{what}{for_what} ({})", reasons.join("; ")),
            everywhere,
            permission: all_denied && scopes.iter().all(|scope| !scope.is_empty()),
            denied: all_denied || (everywhere && refused.is_some()),
            refused,
        }
    }

    /// Whether another account than this one may still make a call.
    #[must_use]
    pub fn has_other(&self, account: usize, asking: Asking<'_>) -> bool {
        self.order(asking).iter().any(|&index| index != account)
    }
}

impl AccountState {
    /// What keeps it from making a call, with the scope that it is closed in: the widest.
    fn closed_for(&self, asking: Asking<'_>) -> Option<(&str, &Closed)> {
        // `""` comes first in their order.
        let mut closed = self.closed.iter().map(|(scope, closed)| (scope.as_str(), closed));
        closed.find(|(scope, _)| covers(scope, asking.scope, asking.endpoint))
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

    /// A call that counts for the account.
    const ANY: Asking<'static> = of("");

    const fn of(scope: &str) -> Asking<'_> {
        Asking { scope, endpoint: "listing" }
    }

    fn rest(kind: RestKind) -> Closed {
        let until = chrono::DateTime::from_timestamp(1_795_190_400, 0).unwrap();
        Closed::Resting(Rest { kind, until, reason: "10003 no permission".into() })
    }

    #[test]
    fn drained_accounts_are_offered_in_order_until_they_are_closed() {
        let mut accounts = accounts(AccountChoice::Drain);
        assert_eq!(accounts.order(ANY), [0, 1, 2]);
        assert!(accounts.close(0, "", Closed::UsedUp { used: 10 }));
        assert!(accounts.close(1, "shop:1", Closed::UsedUp { used: 100 }));
        assert!(!accounts.close(1, "shop:1", rest(RestKind::Quota)), "it was closed before");
        assert_eq!((accounts.order(of("shop:1")), accounts.order(of("shop:2"))), (vec![2], vec![1, 2]));
        assert!(accounts.has_other(1, of("shop:1")) && !accounts.has_other(2, of("shop:1")));
    }

    #[test]
    fn an_account_without_permission_for_an_endpoint_is_offered_the_calls_to_others() {
        let item = |scope| Asking { scope, endpoint: "item" };
        let mut accounts = accounts(AccountChoice::Drain);
        assert!(accounts.close(0, "endpoint:item", rest(RestKind::Denied)));
        assert_eq!((accounts.order(ANY), accounts.order(item(""))), (vec![0, 1, 2], vec![1, 2]));
        assert_eq!(accounts.order(item("shop:1")), [1, 2], "whatever its calls are counted by");
        accounts.close(1, "endpoint:item", rest(RestKind::Denied));
        accounts.close(2, "", Closed::UsedUp { used: 7 });
        let mixed = accounts.none_left(item(""));
        assert_eq!((mixed.denied, mixed.everywhere, mixed.permission), (false, false, false));
        assert!(
            mixed.reason.starts_with("no account has calls left for endpoint item (`a`: denied until"),
            "{mixed:?}"
        );
        let mut refused = Accounts::new(AccountChoice::Drain, [("a".to_owned(), None)]);
        refused.close(0, "endpoint:item", rest(RestKind::Denied));
        let refused = refused.none_left(item("shop:1"));
        assert_eq!((refused.denied, refused.everywhere, refused.permission), (true, false, true));
        assert!(
            refused.reason.starts_with("the gateway refuses every account for endpoint item (`a`: "),
            "{refused:?}"
        );
    }

    #[test]
    fn rotated_accounts_are_offered_by_the_share_of_their_day() {
        let mut accounts = accounts(AccountChoice::Rotate);
        let _ = (accounts.counted(0, "", 2), accounts.counted(1, "", 10), accounts.counted(2, "", 1));
        assert_eq!(accounts.order(ANY), [2, 1, 0]);
    }

    #[test]
    fn four_fifths_and_nineteen_twentieths_of_a_day_are_told_once_each() {
        let mut accounts = accounts(AccountChoice::Drain);
        let marks: Vec<_> = (1..=100).filter_map(|used| accounts.counted(1, "", used)).collect();
        assert_eq!(marks, [Mark { percent: 80, used: 80, limit: 100 }, Mark { percent: 95, used: 95, limit: 100 }]);
        let of_ten: Vec<_> = (1..=10).filter_map(|used| accounts.counted(0, "", used)).map(|mark| mark.used).collect();
        assert_eq!(of_ten, [8, 10]);
        // Calls that others made count, too: nobody passes the mark itself.
        let others: Vec<_> =
            [30, 85, 90, 99].into_iter().filter_map(|used| accounts.counted(1, "shop:1", used)).collect();
        assert_eq!(others, [Mark { percent: 80, used: 85, limit: 100 }, Mark { percent: 95, used: 99, limit: 100 }]);
        assert_eq!(accounts.counted(1, "shop:2", 97).map(|mark| mark.percent), Some(95));
        assert_eq!(accounts.counted(1, "shop:2", 98), None);
    }

    #[test]
    fn what_is_used_of_a_day_is_forgotten_on_the_next_and_a_rest_when_it_ends() {
        let mut accounts = accounts(AccountChoice::Drain);
        let day = |day| NaiveDate::from_ymd_opt(2026, 11, day).unwrap();
        let at = |seconds: i64| chrono::DateTime::from_timestamp(1_795_190_400 + seconds, 0).unwrap();
        accounts.renew(day(20), at(-60));
        assert_eq!(accounts.counted(0, "", 10).map(|mark| mark.percent), Some(95));
        accounts.close(0, "", Closed::UsedUp { used: 10 });
        accounts.close(1, "", rest(RestKind::Quota));
        accounts.close(2, "", Closed::Unreached("no way".into()));
        accounts.renew(day(20), at(-1));
        assert_eq!(accounts.order(ANY), [0; 0]);
        accounts.renew(day(20), at(0));
        assert_eq!(accounts.order(ANY), [1]);
        accounts.renew(day(21), at(1));
        assert_eq!(accounts.order(ANY), [0, 1]);
        assert_eq!(accounts.counted(0, "", 8).map(|mark| mark.percent), Some(80), "of another day");
    }

    #[test]
    fn when_nobody_is_left_every_account_says_why() {
        let mut accounts = accounts(AccountChoice::Drain);
        accounts.close(0, "", Closed::UsedUp { used: 10 });
        accounts.close(1, "", rest(RestKind::Quota));
        accounts.close(2, "", rest(RestKind::Denied));
        let none = accounts.none_left(ANY);
        assert_eq!(
            none.reason,
            "no account has calls left (`a`: its 10 calls of the day are used up; `b`: blocked until 2026-11-21 00:00 \
             (Beijing): 10003 no permission; `c`: denied until 2026-11-21 00:00 (Beijing): 10003 no permission)"
        );
        assert!(none.denied && none.everywhere, "the user must act, whatever ends at midnight");
        assert_eq!(none.refused.as_deref(), Some("c"));
        let mut refused = Accounts::new(AccountChoice::Drain, [("a".to_owned(), None)]);
        refused.close(0, "", rest(RestKind::Denied));
        let refused = refused.none_left(ANY);
        assert!(refused.denied && !refused.permission, "{refused:?}");
    }
}
