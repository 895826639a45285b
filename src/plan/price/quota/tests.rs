use super::*;
use crate::plan::testing::{at, limits};
use crate::state::{Rest, RestKind};

fn day(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
}

fn account(name: &str, calls_per_day: Option<u64>, used: u64) -> AccountQuota {
    AccountQuota { name: name.into(), calls_per_day, used: [(String::new(), used)].into(), ..AccountQuota::default() }
}

fn purse(accounts: &[AccountQuota]) -> Purse<'_> {
    Purse { accounts, choice: AccountChoice::Drain, today: day(20) }
}

fn needs(calls: u64) -> Needs {
    [(String::new(), calls)].into()
}

#[test]
fn a_scope_is_named_as_the_ledger_names_it() {
    assert_eq!(scope(QuotaScope::Account, "listing", Some("b2b-1")), "");
    assert_eq!(scope(QuotaScope::Endpoint, "listing", Some("b2b-1")), "endpoint:listing");
    assert_eq!(scope(QuotaScope::Shop, "listing", Some("b2b-1")), "shop:b2b-1");
    assert_eq!(scope(QuotaScope::Shop, "item", None), "");
}

#[test]
fn calls_fit_today_on_another_day_or_on_none() {
    let used = [account("a", Some(30), 20), account("b", Some(10), 10)];
    for (calls, expected) in [(10, Fits::Today), (11, Fits::On(day(21))), (40, Fits::On(day(21))), (41, Fits::NoDay)] {
        assert_eq!(purse(&used).fits(&needs(calls)), expected, "{calls}");
    }
    assert_eq!(purse(&[account("a", None, 20)]).fits(&needs(u64::MAX)), Fits::Today);
    assert_eq!(purse(&[]).fits(&needs(1)), Fits::NoDay);
}

#[test]
fn an_account_that_rests_has_calls_again_on_the_day_its_rest_ends() {
    let rests = |until: &str| {
        [
            AccountQuota { rests: vec![(String::new(), at(until))], ..account("a", Some(30), 0) },
            account("b", Some(10), 0),
        ]
    };
    // Until midnight in Beijing; until later on the same day; beyond the next day.
    for (until, calls, expected) in [
        ("2026-11-20T16:00:00Z", 11, Fits::On(day(21))),
        ("2026-11-20T16:00:00Z", 10, Fits::Today),
        ("2026-11-20T15:00:00Z", 40, Fits::Today),
        ("2026-11-22T05:00:00Z", 11, Fits::On(day(22))),
    ] {
        assert_eq!(purse(&rests(until)).fits(&needs(calls)), expected, "{until} {calls}");
    }
}

#[test]
fn an_account_is_as_the_state_store_knows_it_and_a_rest_binds_its_scope() {
    let counted = |account: &str, scope: &str, calls| Counted {
        account: account.into(),
        scope: scope.into(),
        day: day(20),
        calls,
    };
    let rest = Rest { kind: RestKind::Quota, until: at("2026-11-20T16:00:00Z"), reason: String::new() };
    let health = |account: &str, scope: &str| AccountHealth {
        account: account.into(),
        rate_share: 1.0,
        in_flight: 0,
        rests: vec![(scope.into(), rest.clone())],
    };
    let named = Account { calls_per_day: Some(30), ..crate::plan::testing::account("main") };
    let counts = [counted(&named.key, "shop:1", 4), counted("another", "shop:1", 9)];
    let quota = AccountQuota::new(&named, &counts, &[health(&named.key, "shop:2"), health("another", "")]);
    let left = |scope| (quota.left(scope, day(20), day(20)), quota.left(scope, day(20), day(21)));
    assert_eq!((quota.name.as_str(), left("shop:1")), ("main", (Some(26), Some(30))));
    assert_eq!((left("shop:2"), left("shop:3")), ((Some(0), Some(30)), (Some(30), Some(30))));
    let all = AccountQuota::new(&named, &[], &[health(&named.key, "")]);
    assert_eq!(all.left("shop:1", day(20), day(20)), Some(0));
    // Credentials that were refused take no calls away: others may stand in the pipeline by now.
    let denied = Rest { kind: RestKind::Denied, ..rest.clone() };
    let denied = AccountHealth { rests: vec![(String::new(), denied)], ..health(&named.key, "") };
    assert_eq!(AccountQuota::new(&named, &[], &[denied]).left("", day(20), day(20)), Some(30));
}

#[test]
fn calls_that_need_several_days_are_done_on_the_last_of_them() {
    let used = [account("a", Some(30), 20)];
    for (calls, expected) in [(0, 20), (10, 20), (11, 21), (40, 21), (41, 22), (100, 23)] {
        assert_eq!(purse(&used).done_on("", calls), Some(day(expected)), "{calls}");
    }
    assert_eq!(purse(&used).done_on("", 30 * 400), None, "not within a year");
    assert_eq!(purse(&[account("a", Some(0), 0)]).done_on("", 1), None);
    assert_eq!(purse(&used).done_on("endpoint:listing", 30), Some(day(20)), "each scope has a day's calls of its own");
}

#[test]
fn accounts_are_drained_in_order_or_share_by_what_they_have_left() {
    let accounts = [account("a", Some(30), 20), account("b", Some(100), 60), account("c", Some(50), 0)];
    let rotate = |accounts| Purse { choice: AccountChoice::Rotate, ..purse(accounts) };
    assert_eq!(purse(&accounts).shares(&needs(5)), [5, 0, 0]);
    assert_eq!(purse(&accounts).shares(&needs(60)), [10, 40, 10]);
    assert_eq!(purse(&accounts).shares(&needs(500)), [10, 40, 50]);
    assert_eq!(rotate(&accounts).shares(&needs(50)), [5, 20, 25]);
    assert_eq!(rotate(&accounts).shares(&needs(51)).iter().sum::<u64>(), 51);
    assert_eq!(rotate(&accounts).shares(&needs(500)), [10, 40, 50]);
    let unlimited = [account("a", None, 0), account("b", None, 0)];
    assert_eq!(rotate(&unlimited).shares(&needs(8)), [4, 4]);
    assert_eq!(rotate(&[account("a", Some(1), 1)]).shares(&needs(8)), [0]);
}

#[test]
fn time_is_what_rate_places_and_pauses_allow() {
    let pace = |calls_per_second, calls_in_flight, success| {
        let mut limits = Limits { calls_per_second, calls_in_flight, ..limits() };
        limits.pause.success = success;
        limits
    };
    let accounts = [account("a", Some(600), 0), account("b", Some(600), 0)];
    let seconds = |limits: &Limits, purse: Purse<'_>, calls| {
        purse.time(limits, &purse.shares(&needs(calls)), calls).as_secs_f64().round()
    };
    // Four workers, 0.8 s after each answer of 0.3 s: 0.275 s a call.
    assert_eq!(seconds(&pace(None, 4, 0.8), purse(&accounts), 400), 110.0);
    // The rate is the narrower bound; 2.5 per second are 2.
    assert_eq!(seconds(&pace(Some(2.5), 4, 0.0), purse(&accounts), 400), 204.0);
    assert_eq!(seconds(&pace(Some(0.5), 4, 0.0), purse(&accounts), 100), 204.0);
    // Accounts that take turns ask at the same time.
    let rotate = Purse { choice: AccountChoice::Rotate, ..purse(&accounts) };
    assert_eq!(seconds(&pace(Some(2.0), 4, 0.0), rotate, 400), 102.0);
    // An account's own rate.
    let slow = [AccountQuota { calls_per_second: Some(1.0), ..account("a", None, 0) }];
    assert_eq!(seconds(&pace(Some(2.0), 4, 0.0), purse(&slow), 100), 102.0);
    // Calls of another day take as long.
    assert_eq!(seconds(&pace(Some(2.0), 4, 0.0), purse(&[account("a", Some(10), 0)]), 400), 204.0);
}
