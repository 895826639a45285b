use super::*;
use crate::plan::testing::{at, limits};
use crate::state::{Rest, RestKind};

fn day(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
}

fn account(name: &str, calls_per_day: Option<u64>, used: u64) -> AccountQuota {
    let used = [(String::new(), used)].into();
    AccountQuota { name: name.into(), key: name.into(), calls_per_day, used, ..AccountQuota::default() }
}

fn purse(accounts: &[AccountQuota]) -> Purse<'_> {
    Purse { listing: accounts, details: &[], choice: AccountChoice::Drain, today: day(20) }
}

fn portion(source: Source, endpoint: &'static str, calls: u64) -> Portion {
    Portion { source, endpoint, scope: String::new(), calls }
}

/// Calls of one subject to the pipeline's gateway, counted for the account.
fn needs(calls: u64) -> Needs {
    scoped("", calls)
}

fn scoped(scope: &str, calls: u64) -> Needs {
    vec![vec![Portion { scope: scope.into(), ..portion(Source::Listing, "listing", calls) }]]
}

fn rest(scope: &str, until: &str) -> Resting {
    let rest = Rest { kind: RestKind::Quota, until: at(until), reason: String::new() };
    Resting { scope: scope.into(), gateway: String::new(), credentials: String::new(), rest }
}

#[test]
fn a_scope_is_named_as_the_ledger_names_it() {
    let by = |quota_scope| {
        let mut gateway = crate::plan::testing::gateway("");
        gateway.limits.quota_scope = quota_scope;
        let method = |endpoint: &mut crate::config::gateway::Endpoint| {
            endpoint.params = vec![("method".to_owned(), crate::plan::testing::template("items.list.get"))];
        };
        gateway.endpoints.values_mut().filter(|endpoint| endpoint.name == "listing").for_each(method);
        let off_sale =
            crate::config::gateway::Endpoint { name: "off_sale".into(), ..gateway.endpoints["listing"].clone() };
        gateway.endpoints.insert("off_sale".into(), off_sale);
        gateway
    };
    assert_eq!(scope(&by(QuotaScope::Account), "listing", Some("b2b-1")), "");
    assert_eq!(scope(&by(QuotaScope::Endpoint), "listing", Some("b2b-1")), "endpoint:items.list.get");
    assert_eq!(scope(&by(QuotaScope::Endpoint), "off_sale", None), "endpoint:items.list.get");
    assert_eq!(scope(&by(QuotaScope::Endpoint), "time", None), "endpoint:time", "the gateway has no name for it");
    assert_eq!(scope(&by(QuotaScope::Shop), "listing", Some("b2b-1")), "shop:b2b-1");
    assert_eq!(scope(&by(QuotaScope::Shop), "item", None), "");
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
        [AccountQuota { rests: vec![rest("", until)], ..account("a", Some(30), 0) }, account("b", Some(10), 0)]
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
    let named = Account { calls_per_day: Some(30), ..crate::plan::testing::account("main") };
    let counts = [counted(&named.key, "shop:1", 4), counted("another", "shop:1", 9)];
    let quota = AccountQuota::new(&named, &counts, vec![rest("shop:2", "2026-11-20T16:00:00Z")]);
    let when = |on| When { today: day(20), day: on, from: None };
    let call = |scope, endpoint| Call { scope, endpoint };
    let left = |scope| {
        let call = call(scope, "listing");
        (quota.left(call, when(day(20)), 0), quota.left(call, when(day(21)), 0))
    };
    assert_eq!((quota.name.as_str(), left("shop:1")), ("main", (Some(26), Some(30))));
    assert_eq!((left("shop:2"), left("shop:3")), ((Some(0), Some(30)), (Some(30), Some(30))));
    let all = AccountQuota::new(&named, &[], vec![rest("", "2026-11-20T16:00:00Z")]);
    assert_eq!(all.left(call("shop:1", "item"), when(day(20)), 0), Some(0));
    let one = AccountQuota::new(&named, &[], vec![rest("endpoint:item", "2026-11-20T16:00:00Z")]);
    let left = |endpoint| one.left(call("", endpoint), when(day(20)), 0);
    assert_eq!((left("item"), left("listing")), (Some(0), Some(30)));
    // Credentials that were refused take no calls away: others may stand in the pipeline by now.
    let mut denied = rest("", "2026-11-20T16:00:00Z");
    denied.rest.kind = RestKind::Denied;
    assert_eq!(AccountQuota::new(&named, &[], vec![denied]).left(call("", "item"), when(day(20)), 0), Some(30));
}

#[test]
fn calls_that_need_several_days_are_done_on_the_last_of_them() {
    let used = [account("a", Some(30), 20)];
    for (calls, expected) in [(0, 20), (10, 20), (11, 21), (40, 21), (41, 22), (100, 23)] {
        assert_eq!(purse(&used).done_on(&needs(calls)), [Some(day(expected))], "{calls}");
    }
    assert_eq!(purse(&used).done_on(&needs(30 * 400)), [None], "not within a year");
    assert_eq!(purse(&[account("a", Some(0), 0)]).done_on(&needs(1)), [None]);
    let listing = purse(&used).done_on(&scoped("endpoint:listing", 30));
    assert_eq!(listing, [Some(day(20))], "each scope has a day's calls of its own");
    // Whoever stands first goes first; an account that rests for days has calls again after them.
    let subjects: Needs = [10, 25, 6].into_iter().flat_map(needs).collect();
    assert_eq!(purse(&used).done_on(&subjects), [20, 21, 22].map(|of| Some(day(of))));
    let resting = [AccountQuota { rests: vec![rest("", "2026-11-23T05:00:00Z")], ..account("a", Some(30), 0) }];
    assert_eq!(purse(&resting).done_on(&needs(31)), [Some(day(24))]);
}

#[test]
fn a_rest_that_ends_later_today_keeps_calls_waiting_until_then() {
    let (noon, evening) = ("2026-11-20T04:00:00Z", "2026-11-20T12:00:00Z");
    let accounts = [
        AccountQuota { rests: vec![rest("", noon)], ..account("a", Some(30), 0) },
        AccountQuota { rests: vec![rest("endpoint:listing", evening)], ..account("b", Some(30), 0) },
        account("c", Some(5), 0),
    ];
    let from = |calls| purse(&accounts).not_before(&needs(calls));
    assert_eq!((from(5), from(6), from(35)), (None, Some(at(noon)), Some(at(noon))));
    assert_eq!((from(36), from(65)), (Some(at(evening)), Some(at(evening))));
    assert_eq!(from(66), None, "they do not fit at all");
    // A refusal is no matter of days: a run that starts says what to do. Until later today it keeps calls waiting, too.
    let refused = |until| {
        let mut resting = rest("", until);
        resting.rest.kind = RestKind::Denied;
        [AccountQuota { rests: vec![resting], ..account("a", Some(30), 0) }]
    };
    let (today, tomorrow) = (refused(noon), refused("2026-11-20T16:30:00Z"));
    assert_eq!((purse(&today).fits(&needs(30)), purse(&tomorrow).fits(&needs(30))), (Fits::Today, Fits::Today));
    assert_eq!((purse(&today).not_before(&needs(30)), purse(&tomorrow).not_before(&needs(30))), (Some(at(noon)), None));
    let items = vec![vec![portion(Source::Listing, "item", 35)]];
    assert_eq!(purse(&accounts).not_before(&items), None, "b is refused listings alone");
}

#[test]
fn accounts_are_drained_in_order_or_share_by_what_they_have_used() {
    let accounts = [account("a", Some(30), 20), account("b", Some(100), 60), account("c", Some(50), 0)];
    let rotate = |accounts| Purse { choice: AccountChoice::Rotate, ..purse(accounts) };
    let shares = |purse: Purse<'_>, calls| purse.shares(&needs(calls)).of(Source::Listing).to_vec();
    assert_eq!(shares(purse(&accounts), 5), [5, 0, 0]);
    assert_eq!(shares(purse(&accounts), 60), [10, 40, 10]);
    assert_eq!(shares(purse(&accounts), 500), [10, 40, 50]);
    // The smallest share of the day goes first: nothing, 60 %, two thirds.
    assert_eq!(shares(rotate(&accounts), 30), [0, 0, 30]);
    assert_eq!(shares(rotate(&accounts), 37), [0, 5, 32]);
    assert_eq!(shares(rotate(&accounts), 500), [10, 40, 50]);
    let unlimited = [account("a", None, 0), account("b", None, 0)];
    assert_eq!(shares(rotate(&unlimited), 8), [4, 4]);
    let many = shares(rotate(&unlimited), 1_000_001);
    assert!(many.iter().sum::<u64>() == 1_000_001 && many[0].abs_diff(many[1]) < 4000, "{many:?}");
    assert_eq!(shares(rotate(&[account("a", Some(1), 1)]), 8), [0]);
}

/// One key at two gateways, with so many calls a day at each, of which `used` are made.
fn shared(listing: Option<u64>, details: Option<u64>, used: u64) -> [AccountQuota; 2] {
    [("main", listing), ("items", details)]
        .map(|(name, limit)| AccountQuota { key: "one".into(), ..account(name, limit, used) })
}

/// Two shops, each listed and then asked for its offers' details.
fn shops(listing: u64, details: u64) -> Needs {
    let shop = vec![portion(Source::Listing, "listing", listing), portion(Source::Details, "item", details)];
    vec![shop.clone(), shop]
}

#[test]
fn the_calls_of_one_key_at_two_gateways_add_up_and_each_limit_holds_for_their_sum() {
    for (listing, details, used, needs, fits, done) in [
        // 2 × (10 + 20) calls.
        (Some(60), Some(60), 0, shops(10, 20), Fits::Today, [20, 20]),
        (Some(60), Some(60), 1, shops(10, 20), Fits::On(day(21)), [20, 21]),
        (Some(59), Some(59), 0, shops(10, 20), Fits::NoDay, [20, 21]),
        // The second shop is listed after the first one's details: call 40 is the last listing.
        (Some(40), Some(60), 0, shops(10, 20), Fits::Today, [20, 20]),
        (Some(39), Some(60), 0, shops(10, 20), Fits::NoDay, [20, 21]),
        (Some(60), Some(59), 0, shops(10, 20), Fits::NoDay, [20, 21]),
        // Calls count for the other's limit where one has none.
        (Some(39), None, 0, shops(10, 20), Fits::NoDay, [20, 21]),
        (Some(40), None, 0, shops(10, 20), Fits::Today, [20, 20]),
    ] {
        let [main, items] = shared(listing, details, used);
        let purse = Purse { details: std::slice::from_ref(&items), ..purse(std::slice::from_ref(&main)) };
        let case = format!("{listing:?} {details:?} {used}");
        assert_eq!(purse.fits(&needs), fits, "{case}");
        assert_eq!(purse.done_on(&needs), done.map(|of| Some(day(of))), "{case}");
    }
    // Two keys have a day's calls each.
    let [main, items] = shared(Some(20), Some(40), 0);
    let items = AccountQuota { key: "another".into(), ..items };
    let purse = Purse { details: std::slice::from_ref(&items), ..purse(std::slice::from_ref(&main)) };
    assert_eq!(purse.fits(&shops(10, 20)), Fits::Today);
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
        purse.time(Source::Listing, limits, &purse.shares(&needs(calls)), calls).as_secs_f64().round()
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
