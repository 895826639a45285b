use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::NaiveDate;
use proptest::prelude::*;

use super::*;
use crate::state::{Bounds, Rest};

const BOUNDS: Bounds = Bounds {
    calls_per_day: Some(100),
    calls_per_second: Some(10.0),
    calls_in_flight: 2,
    lease: Duration::from_secs(60),
};

fn at(micros: i64) -> DateTime<Utc> {
    moment(1_800_000_000 * SECOND + micros)
}

fn ask<'a>(now: i64, bounds: Bounds) -> Ask<'a> {
    Ask {
        account: "key",
        gateway: "gateway",
        credentials: "digest",
        endpoint: "listing",
        scope: "",
        run: "run id",
        day: NaiveDate::default(),
        gateway_day: NaiveDate::default(),
        now: at(now),
        unsure: TimeDelta::zero(),
        lead: TimeDelta::zero(),
        bounds,
        holder: "run",
        held: None,
    }
}

fn settle<'a>(place: u32, now: i64, free_at: i64) -> Settle<'a> {
    Settle {
        account: "key",
        bounds: BOUNDS,
        holder: "run",
        place,
        now: at(now),
        free_at: at(free_at),
        feedback: Feedback::None,
        moved: None,
    }
}

fn rest(kind: RestKind, scope: &str, until: i64) -> Resting {
    Resting {
        scope: scope.to_owned(),
        gateway: "gateway".to_owned(),
        credentials: "digest".to_owned(),
        rest: Rest { kind, until: at(until), reason: "said so".to_owned() },
    }
}

#[track_caller]
fn granted(reserved: Reserved) -> u32 {
    match reserved {
        Reserved::Granted { place, .. } => place,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn waits(reserved: Reserved) -> DateTime<Utc> {
    match reserved {
        Reserved::Wait { from, to } if from == to => from,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_rhythm_names_the_moment_that_works() {
    let mut ledger = Ledger::default();
    granted(ledger.reserve(0, &ask(0, BOUNDS)));
    assert_eq!(waits(ledger.reserve(1, &ask(0, BOUNDS))), at(101_500 - 5_000));
    granted(ledger.reserve(1, &ask(96_500, BOUNDS)));
    let mut third = Ledger::default();
    granted(third.reserve(0, &ask(0, BOUNDS)));
    assert_eq!(waits(third.reserve(1, &ask(96_499, BOUNDS))), at(97_499), "a wait is a millisecond at least");
}

#[test]
fn places_are_taken_rest_and_are_free_again() {
    let mut ledger = Ledger::default();
    let bounds = Bounds { calls_per_second: None, ..BOUNDS };
    let first = granted(ledger.reserve(0, &ask(0, bounds)));
    let second = granted(ledger.reserve(1, &ask(0, bounds)));
    assert_ne!(first, second);
    assert_eq!(waits(ledger.reserve(2, &ask(0, bounds))), at(LOOK_AGAIN), "both may be given back at any moment");
    ledger.settle(&settle(first, 10, 800_000));
    ledger.settle(&settle(second, 10, 500_000));
    assert_eq!(waits(ledger.reserve(2, &ask(20, bounds))), at(500_000));
    granted(ledger.reserve(2, &ask(500_000, bounds)));
    assert_eq!(ledger.clone().health("key", at(500_000)).in_flight, 2);
    assert_eq!(ledger.health("key", at(800_000)).in_flight, 1);
}

#[test]
fn a_call_that_outlived_its_lease_gives_no_other_calls_place_back() {
    let mut ledger = Ledger::default();
    let bounds = Bounds { calls_in_flight: 1, ..BOUNDS };
    let slow = granted(ledger.reserve(0, &ask(0, bounds)));
    assert_eq!(waits(ledger.reserve(1, &ask(59_990_000, bounds))), at(60 * SECOND), "no later than the lease ends");
    let next = granted(ledger.reserve(1, &ask(60 * SECOND, bounds)));
    ledger.settle(&settle(slow, 61 * SECOND, 0));
    waits(ledger.reserve(2, &ask(61 * SECOND, bounds)));
    ledger.settle(&Settle { holder: "another run", ..settle(next, 61 * SECOND, 0) });
    waits(ledger.reserve(2, &ask(61 * SECOND, bounds)));
    ledger.settle(&settle(next, 61 * SECOND, 0));
    granted(ledger.reserve(2, &ask(61 * SECOND, bounds)));
}

#[test]
fn a_dead_holders_calls_are_released_and_its_rests_stay() {
    let mut ledger = Ledger::default();
    let bounds = Bounds { calls_per_second: None, ..BOUNDS };
    let answered = granted(ledger.reserve(0, &ask(0, bounds)));
    granted(ledger.reserve(1, &ask(0, bounds)));
    ledger.settle(&settle(answered, 0, 10 * SECOND));
    ledger.release("another run");
    waits(ledger.reserve(2, &ask(0, bounds)));
    ledger.release("run");
    granted(ledger.reserve(2, &ask(0, bounds)));
    assert_eq!(ledger.health("key", at(0)).in_flight, 2);
}

#[test]
fn a_call_that_comes_late_leaves_when_its_second_has_room_and_takes_nothing_else() {
    let mut ledger = Ledger::default();
    let bounds = Bounds { calls_per_day: Some(4), calls_per_second: Some(2.0), calls_in_flight: 4, ..BOUNDS };
    let place = granted(ledger.reserve(0, &ask(0, bounds)));
    let again = |now, held| Ask { held: Some(held), ..ask(now, bounds) };
    assert_eq!(ledger.reserve(1, &again(400_000, place)), Reserved::Granted { at: at(400_000), place, used: 1 });
    assert_eq!(waits(ledger.reserve(1, &ask(400_000, bounds))), at(502_500), "nobody after it is pushed back");
    let next = granted(ledger.reserve(1, &ask(600_000, bounds)));
    assert_eq!(waits(ledger.reserve(2, &ask(1_200_000, bounds))), at(1_410_000), "two left since 0.4 s");
    granted(ledger.reserve(2, &ask(1_410_000, bounds)));
    assert_eq!(waits(ledger.reserve(3, &again(1_500_000, place))), at(1_610_000), "two others left since 0.6 s");
    assert_eq!(ledger.reserve(3, &again(1_610_000, place)), Reserved::Granted { at: at(1_610_000), place, used: 3 });
    let many = Bounds { calls_per_day: Some(3), ..bounds };
    assert_eq!(ledger.reserve(3, &ask(3 * SECOND, many)), Reserved::UsedUp { used: 3 });
    assert_eq!(ledger.clone().health("key", at(3 * SECOND)).in_flight, 3);
    let renewed = granted(ledger.reserve(3, &again(62 * SECOND, next)));
    assert_ne!(renewed, next, "its lease ended: a new place");
    ledger.rest(&rest(RestKind::Quota, "", 90 * SECOND));
    assert!(matches!(ledger.reserve(3, &again(63 * SECOND, renewed)), Reserved::Resting(_)));
}

/// Days of the store and of the gateway that calls were made on, one after the other, with three calls a day; how many of
/// each left.
fn days(calls: &[(u32, u32, u64)]) -> Vec<u64> {
    let day = |day| NaiveDate::from_ymd_opt(2026, 11, day).unwrap();
    let bounds = Bounds { calls_per_day: Some(3), calls_per_second: None, calls_in_flight: 99, ..BOUNDS };
    let (mut ledger, mut used) = (Ledger::default(), BTreeMap::<u32, u64>::new());
    let mut left = Vec::new();
    for (today, there, calls) in calls {
        let ask = Ask { day: day(*today), gateway_day: day(*there), ..ask(0, bounds) };
        let before: u64 = used.values().sum();
        for _ in 0..*calls {
            let of = |day: &u32| used.get(day).copied().unwrap_or(0);
            match ledger.reserve(Used { today: of(today), there: of(there) }, &ask) {
                Reserved::Granted { used: counted, .. } => _ = used.insert(*today, counted),
                other => assert_eq!(other, Reserved::UsedUp { used: 3 }),
            }
        }
        left.push(used.values().sum::<u64>() - before);
    }
    left
}

#[test]
fn neither_the_stores_day_nor_the_gateways_is_overdrawn() {
    for (calls, expected) in [
        // Whatever the gateway's clock shows: the store's day binds.
        (vec![(20, 20, 1), (20, 19, 9), (20, 21, 9), (20, 1, 9)], vec![1, 2, 0, 0]),
        // Midnight here, and not yet there; then there, too.
        (vec![(20, 20, 2), (21, 20, 9), (21, 21, 9)], vec![2, 1, 2]),
        // Midnight there, and not yet here.
        (vec![(20, 20, 2), (20, 21, 9), (21, 21, 9)], vec![2, 1, 2]),
        // This machine's clock is hours behind: every night has its calls.
        (vec![(20, 21, 9), (21, 22, 9), (22, 23, 9)], vec![3, 3, 3]),
        // … or ahead, and a night goes past midnight there.
        (vec![(21, 20, 9), (22, 21, 2), (22, 22, 9), (23, 22, 9)], vec![3, 2, 1, 2]),
    ] {
        assert_eq!(days(&calls), expected, "{calls:?}");
    }
}

#[test]
fn a_call_whose_answer_shows_another_day_counts_for_that_day_there() {
    let day = |day| NaiveDate::from_ymd_opt(2026, 11, day).unwrap();
    let bounds = Bounds { calls_per_day: Some(1), calls_per_second: None, calls_in_flight: 99, ..BOUNDS };
    let mut ledger = Ledger::default();
    let first = Ask { day: day(21), gateway_day: day(21), ..ask(0, bounds) };
    let place = granted(ledger.reserve(0, &first));
    let moved = Some(Moved { scope: "", from: day(21), to: day(20) });
    ledger.settle(&Settle { moved, ..settle(place, 0, 0) });
    let of = |today, there| Ask { day: day(today), gateway_day: day(there), ..ask(0, bounds) };
    let used = |today, there| Used { today, there };
    assert_eq!(ledger.reserve(used(0, 0), &of(20, 20)), Reserved::UsedUp { used: 1 }, "it was made there on the 20th");
    granted(ledger.reserve(used(0, 1), &of(22, 21)));
    let ledger = Ledger::read(&ledger.write().unwrap()).unwrap();
    assert_eq!(
        ledger.shifts.iter().map(|shift| (shift.day, shift.calls)).collect::<Vec<_>>(),
        [(day(21), 0), (day(20), 1), (day(22), -1)]
    );
}

#[test]
fn who_is_far_away_is_granted_moments_ahead_and_so_are_all_who_ask_with_it() {
    let mut ledger = Ledger::default();
    let bounds = Bounds { calls_in_flight: 4, ..BOUNDS };
    let far = |now| Ask { holder: "far", lead: TimeDelta::milliseconds(60), ..ask(now, bounds) };
    let granted_at = |reserved| match reserved {
        Reserved::Granted { at, .. } => at,
        other => panic!("{other:?}"),
    };
    assert_eq!(granted_at(ledger.reserve(0, &far(0))), at(60_000));
    // 96.5 ms later: as much ahead as 120 ms are granted.
    assert_eq!(ledger.reserve(1, &ask(0, bounds)), Reserved::Wait { from: at(36_500), to: at(96_500) });
    assert_eq!(granted_at(ledger.reserve(1, &ask(36_500, bounds))), at(156_500));
    assert_eq!(ledger.reserve(2, &far(36_500)), Reserved::Wait { from: at(138_000), to: at(198_000) });
    // It is gone: there is nothing to wait ahead for.
    granted(ledger.reserve(2, &ask(20 * SECOND, bounds)));
    assert_eq!(waits(ledger.reserve(3, &ask(20 * SECOND, bounds))), at(20 * SECOND + 96_500));
}

#[test]
fn places_whose_rest_ends_in_time_are_granted_ahead_and_those_of_calls_in_flight_are_not() {
    let mut ledger = Ledger::default();
    let bounds = Bounds { calls_per_second: None, calls_in_flight: 1, ..BOUNDS };
    let far = |now| Ask { lead: TimeDelta::milliseconds(50), ..ask(now, bounds) };
    let place = granted(ledger.reserve(0, &far(0)));
    assert!(matches!(ledger.reserve(1, &far(60_000)), Reserved::Wait { .. }), "it may be in flight for long");
    ledger.settle(&settle(place, 60_000, 160_000));
    let next = ledger.reserve(1, &far(70_000));
    assert!(matches!(next, Reserved::Granted { at: leaves_at, .. } if leaves_at == at(160_000)), "{next:?}");
    assert_eq!(ledger.health("key", at(100_000)).in_flight, 1);
}

#[test]
fn where_several_ask_nobody_is_granted_more_ahead_than_its_share_of_the_places() {
    let mut ledger = Ledger::default();
    let bounds = Bounds { calls_in_flight: 4, ..BOUNDS };
    let far = |now| Ask { holder: "far", lead: TimeDelta::milliseconds(200), ..ask(now, bounds) };
    granted(ledger.reserve(0, &far(0)));
    granted(ledger.reserve(1, &ask(0, bounds)));
    granted(ledger.reserve(2, &ask(0, bounds)));
    let due = waits(ledger.reserve(3, &ask(150_000, bounds)));
    assert_eq!(due, at(200_000 + 3 * 101_500 - 5_000), "it has two of four and asks when it is due");
    granted(ledger.reserve(3, &far(150_000)));
}

#[test]
fn those_who_read_the_clock_from_afar_keep_further_apart_and_one_alone_does_not() {
    let bounds = Bounds { calls_per_second: Some(1.0), calls_in_flight: 4, ..BOUNDS };
    let far = |now, holder| Ask { holder, unsure: TimeDelta::milliseconds(20), ..ask(now, bounds) };
    let mut ledger = Ledger::default();
    granted(ledger.reserve(0, &far(0, "one")));
    assert_eq!(waits(ledger.reserve(1, &far(0, "one"))), at(1_010_000));
    assert_eq!(waits(ledger.reserve(1, &far(0, "another"))), at(1_075_000));
    assert_eq!(waits(ledger.reserve(1, &far(0, "one"))), at(1_075_000 + 4_000), "it leaves the moment to the other");
}

/// Two runs of eight workers share an account for a minute; of those who ask at one moment the quick one is always heard
/// first. The calls that each makes. `late_us`: how late the slow one asks.
fn share(bounds: Bounds, takes: i64, late_us: i64) -> [u64; 2] {
    let mut ledger = Ledger::default();
    let mut calls = [0; 2];
    // Moment, who, the place to give back.
    let mut next: BTreeSet<(i64, usize, usize, Option<u32>)> = BTreeSet::new();
    for worker in 0..8 {
        next.extend([(0, 0, worker, None), (2 * SECOND, 1, worker, None)]);
    }
    while let Some((now, who, worker, place)) = next.pop_first().filter(|(now, ..)| *now < 60 * SECOND) {
        let holder = ["quick", "slow"][who];
        if let Some(place) = place {
            ledger.settle(&Settle { holder, ..settle(place, now, now) });
        }
        match ledger.reserve(0, &Ask { holder, ..ask(now, bounds) }) {
            Reserved::Granted { at: leaves_at, place, .. } => {
                calls[who] += 1;
                let leaves = (leaves_at - at(0)).num_microseconds().unwrap();
                next.insert((leaves + takes, who, worker, Some(place)));
            }
            Reserved::Wait { from, .. } => {
                let wakes = (from - at(0)).num_microseconds().unwrap();
                next.insert((wakes + late_us * i64::try_from(who).unwrap(), who, worker, None));
            }
            other => panic!("{other:?}"),
        }
    }
    calls
}

#[test]
fn whoever_is_quicker_leaves_others_their_part() {
    for (bounds, takes, least) in [
        // The rate bounds them; the places do; and there is one place.
        (Bounds { calls_in_flight: 8, ..BOUNDS }, 300_000, 550),
        (Bounds { calls_in_flight: 8, ..BOUNDS }, 2 * SECOND, 225),
        (Bounds { calls_per_second: None, calls_in_flight: 1, ..BOUNDS }, SECOND, 56),
        (Bounds { calls_per_second: Some(1.0), calls_in_flight: 8, ..BOUNDS }, 10_000, 55),
    ] {
        for late in [0, 1_500] {
            let [quick, slow] = share(bounds, takes, late);
            let told = format!("{bounds:?}, {late}: {quick} and {slow}");
            assert!(quick.max(slow) * 2 < quick.min(slow) * 3, "{told}");
            assert!(quick + slow >= least, "{told}");
        }
    }
}

#[test]
fn who_waits_no_more_keeps_nothing_from_others() {
    let mut ledger = Ledger::default();
    let bounds = Bounds { calls_per_second: None, calls_in_flight: 1, ..BOUNDS };
    let place = granted(ledger.reserve(0, &ask(0, bounds)));
    let _ = ledger.reserve(1, &Ask { holder: "another", ..ask(0, bounds) });
    ledger.settle(&settle(place, 60_000, 60_000));
    assert_eq!(waits(ledger.reserve(1, &ask(60_000, bounds))), at(85_000), "it is the other's turn");
    granted(ledger.reserve(1, &ask(200_000, bounds)));
}

#[test]
fn a_gateway_without_a_rate_does_not_make_another_forget_what_has_left() {
    let mut ledger = Ledger::default();
    let paced = Bounds { calls_per_second: Some(2.0), calls_in_flight: 9, ..BOUNDS };
    let free = Bounds { calls_per_second: None, ..paced };
    granted(ledger.reserve(0, &ask(0, paced)));
    granted(ledger.reserve(1, &ask(510_000, free)));
    assert_eq!(waits(ledger.reserve(2, &ask(520_000, paced))), at(1_010_000), "two left since 0 s");
}

#[test]
fn rests_come_before_the_calls_of_the_day_and_these_before_the_rhythm() {
    let mut ledger = Ledger::default();
    granted(ledger.reserve(0, &ask(0, BOUNDS)));
    let quota = rest(RestKind::Quota, "", SECOND);
    ledger.rest(&quota);
    assert_eq!(ledger.reserve(100, &ask(0, BOUNDS)), Reserved::Resting(quota));
    assert_eq!(ledger.reserve(100, &ask(SECOND, BOUNDS)), Reserved::UsedUp { used: 100 });
    assert_eq!(ledger.reserve(100, &ask(0, BOUNDS)), Reserved::UsedUp { used: 100 });
    waits(ledger.reserve(99, &ask(0, BOUNDS)));
}

#[test]
fn a_rest_of_one_scope_leaves_the_others_alone() {
    let mut ledger = Ledger::default();
    let of = |scope| Ask { scope, ..ask(0, BOUNDS) };
    let (short, long) = (rest(RestKind::Quota, "shop:1", SECOND), rest(RestKind::Quota, "", 2 * SECOND));
    ledger.rest(&short);
    assert_eq!(ledger.reserve(0, &of("shop:1")), Reserved::Resting(short));
    granted(ledger.reserve(0, &of("shop:2")));
    ledger.rest(&long);
    assert_eq!(ledger.reserve(0, &of("shop:2")), Reserved::Resting(long.clone()));
    assert_eq!(ledger.reserve(0, &of("shop:1")), Reserved::Resting(long), "the one that binds the longest");
    ledger.wake();
    assert!(matches!(ledger.reserve(0, &of("shop:1")), Reserved::Wait { .. }));
}

#[test]
fn a_rest_of_one_endpoint_leaves_the_others_alone_whatever_calls_are_counted_by() {
    for scope in ["", "shop:1"] {
        let mut ledger = Ledger::default();
        let denied = rest(RestKind::Denied, "endpoint:item", SECOND);
        ledger.rest(&denied);
        let of = |endpoint| Ask { endpoint, scope, ..ask(0, BOUNDS) };
        assert_eq!(ledger.reserve(0, &of("item")), Reserved::Resting(denied));
        granted(ledger.reserve(0, &of("listing")));
    }
}

#[test]
fn another_credential_ends_a_denied_rest_and_no_quota_rest() {
    let other = Ask { credentials: "another digest", ..ask(0, BOUNDS) };
    let mut ledger = Ledger::default();
    let denied = rest(RestKind::Denied, "", SECOND);
    ledger.rest(&denied);
    assert_eq!(ledger.reserve(0, &ask(0, BOUNDS)), Reserved::Resting(denied.clone()));
    granted(ledger.reserve(0, &other));
    assert!(matches!(ledger.reserve(0, &ask(0, BOUNDS)), Reserved::Wait { .. }), "it has ended for the first one, too");
    let quota = rest(RestKind::Quota, "", SECOND);
    ledger.rest(&quota);
    ledger.rest(&denied);
    assert_eq!(ledger.reserve(0, &other), Reserved::Resting(quota));
}

#[test]
fn what_one_gateway_refuses_another_may_be_asked_and_does_not_end() {
    let other = Ask { gateway: "another", credentials: "another digest", ..ask(0, BOUNDS) };
    let mut ledger = Ledger::default();
    let denied = rest(RestKind::Denied, "", SECOND);
    let there = Resting { gateway: "another".to_owned(), credentials: "another digest".to_owned(), ..denied.clone() };
    ledger.rest(&denied);
    granted(ledger.reserve(0, &other));
    assert_eq!(ledger.reserve(0, &ask(0, BOUNDS)), Reserved::Resting(denied.clone()));
    ledger.rest(&there);
    assert_eq!(ledger.reserve(0, &other), Reserved::Resting(there.clone()));
    assert_eq!(ledger.reserve(0, &ask(0, BOUNDS)), Reserved::Resting(denied), "each has its own");
    // A word that has ended ends what was said before.
    ledger.rest(&Resting { rest: Rest { until: at(0), ..there.rest.clone() }, ..there });
    assert!(matches!(ledger.reserve(0, &other), Reserved::Wait { .. }));
    // That calls are used up holds wherever the key is used.
    let quota = rest(RestKind::Quota, "", SECOND);
    ledger.rest(&quota);
    assert_eq!(ledger.reserve(0, &other), Reserved::Resting(quota));
}

#[test]
fn a_document_reads_as_it_was_written_and_one_from_before_a_field_reads_too() {
    let mut ledger = Ledger::default();
    let place = granted(ledger.reserve(0, &ask(0, BOUNDS)));
    granted(ledger.reserve(0, &ask(SECOND, BOUNDS)));
    ledger.settle(&Settle { feedback: Feedback::Throttled { sent_at: at(0) }, ..settle(place, SECOND, 2 * SECOND) });
    ledger.rest(&rest(RestKind::Denied, "shop:1", SECOND));
    assert_eq!(Ledger::read(&ledger.write().unwrap()).unwrap(), ledger);
    assert_eq!(Ledger::read("").unwrap(), Ledger::default());
    assert_eq!(Ledger::read("{}").unwrap(), Ledger::default());
    assert!(Ledger::read("{").is_err());
    let before_gateways = r#"{"rests":[{"scope":"","credentials":"digest","rest":{"kind":"quota","until":"2027-01-15T09:00:00Z","reason":"said so"}}]}"#;
    let mut ledger = Ledger::read(before_gateways).unwrap();
    assert!(matches!(ledger.reserve(0, &ask(0, BOUNDS)), Reserved::Resting(_)));
}

#[test]
fn a_clock_that_is_set_back_by_hours_neither_blocks_nor_lets_a_burst_through() {
    let mut ledger = Ledger::default();
    let bounds = Bounds { calls_in_flight: 1, ..BOUNDS };
    let hour = 3600 * SECOND;
    let place = granted(ledger.reserve(0, &ask(5 * hour, bounds)));
    ledger.settle(&settle(place, 5 * hour, 5 * hour + 800_000));
    assert_eq!(waits(ledger.reserve(1, &ask(10, bounds))), at(800_010), "the place rests as long as it was told");
    granted(ledger.reserve(1, &ask(800_010, bounds)));
    assert_eq!(waits(ledger.reserve(2, &ask(-hour, bounds))), at(96_500 - hour));
}

#[test]
fn a_clock_that_is_set_back_twice_frees_no_place_early() {
    let mut ledger = Ledger::default();
    let bounds = Bounds { calls_in_flight: 1, calls_per_second: None, ..BOUNDS };
    let place = granted(ledger.reserve(0, &ask(0, bounds)));
    // Too little to notice, then enough: the place rests for 300 ms as the clock stands now.
    ledger.settle(&settle(place, -9 * SECOND, -9 * SECOND + 300_000));
    let now = -20 * SECOND;
    assert_eq!(waits(ledger.reserve(1, &ask(now, bounds))), at(now + 300_000));
}

/// What happens to an account, one step after the other.
#[derive(Debug, Clone)]
enum Step {
    Ask { after: i64, scope: bool, holder: bool },
    Again { after: i64, which: usize },
    Settle { after: i64, which: usize, rests: i64, throttled: bool },
    SetBack { by: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let after = || 0..300_000_i64;
    let step = prop_oneof![
        6 => (after(), any::<bool>(), any::<bool>()).prop_map(|(after, scope, holder)| Step::Ask { after, scope, holder }),
        1 => (after(), any::<usize>()).prop_map(|(after, which)| Step::Again { after, which }),
        4 => (after(), any::<usize>(), 0..900_000_i64, 0..12_u8).prop_map(|(after, which, rests, throttled)| {
            Step::Settle { after, which, rests, throttled: throttled == 0 }
        }),
        1 => (0..20_000 * SECOND).prop_map(|by| Step::SetBack { by }),
    ];
    proptest::collection::vec(step, 1..400)
}

/// The world as it is: real time goes on, whatever the clock says.
#[derive(Default)]
struct World {
    ledger: Ledger,
    real: i64,
    offset: i64,
    used: BTreeMap<&'static str, u64>,
    /// Calls in flight: place, holder, when it was sent.
    flying: Vec<(u32, &'static str, i64)>,
    /// Ends of rests, in real time.
    resting: Vec<i64>,
    sent: Vec<i64>,
    far: Far,
}

/// How far away `another run` is from its store.
#[derive(Debug, Clone, Copy, Default)]
struct Far {
    lead: i64,
    unsure: i64,
    /// What its reading of the clock is off by.
    error: i64,
}

fn far() -> impl Strategy<Value = Far> {
    let shares = (0..3_i64, 0..=400_000_i64, -1.0..=1.0_f64);
    shares.prop_map(|(kind, lead, share)| match kind {
        0 => Far::default(),
        1 => Far { lead, ..Far::default() },
        _ => Far { lead, unsure: lead / 2, error: (share * (lead / 2) as f64) as i64 },
    })
}

impl World {
    /// Asks until a call may leave, or may not today.
    fn send(&mut self, bounds: Bounds, scope: &'static str, holder: &'static str, held: Option<u32>) {
        for _ in 0..10_000 {
            let used = self.used.get(scope).copied().unwrap_or(0);
            let far = self.far(holder);
            let now = self.real + self.offset + far.error;
            let (lead, unsure) = (TimeDelta::microseconds(far.lead), TimeDelta::microseconds(far.unsure));
            let ask = Ask { scope, holder, held, lead, unsure, ..ask(now, bounds) };
            match self.ledger.reserve(used, &ask) {
                Reserved::Granted { at: leaves_at, place, used } => {
                    self.used.insert(scope, used);
                    let ahead = (leaves_at - at(now)).num_microseconds().unwrap();
                    assert!((far.lead..=2 * self.far.lead).contains(&ahead), "{ahead} µs ahead");
                    let leaves_at = self.real + ahead;
                    // Whoever asks again has not left before.
                    let before = self.flying.iter().find(|(flying, ..)| Some(*flying) == held).map(|(.., sent)| *sent);
                    if let Some(index) = self.sent.iter().rposition(|sent| Some(*sent) == before) {
                        self.sent.remove(index);
                    }
                    self.sent.push(leaves_at);
                    self.flying.retain(|(flying, ..)| Some(*flying) != held);
                    self.flying.push((place, holder, leaves_at));
                    let resting = self.resting.iter().filter(|until| **until > leaves_at).count();
                    let is_sure = self.far.error == 0;
                    let flying = self.flying.iter().filter(|(.., sent)| *sent <= leaves_at).count();
                    assert!(!is_sure || flying + resting <= bounds.calls_in_flight as usize, "places");
                    return;
                }
                // Nobody gives a place back while we wait here: that is another step's work.
                Reserved::Wait { .. } if held.is_none() && self.flying.len() == bounds.calls_in_flight as usize => {
                    return;
                }
                Reserved::Wait { from, to } => {
                    assert!(from <= to);
                    let wait = (from - at(now)).num_microseconds().unwrap();
                    assert!((1_000..=30 * SECOND).contains(&wait), "a wait of {wait} µs");
                    self.real += wait;
                }
                Reserved::UsedUp { used } => return assert_eq!(Some(used), bounds.calls_per_day),
                Reserved::Resting(rest) => panic!("{rest:?}"),
            }
        }
        panic!("no wait ends");
    }

    fn far(&self, holder: &str) -> Far {
        if holder == "run" { Far::default() } else { self.far }
    }

    fn step(&mut self, bounds: Bounds, step: &Step) {
        match *step {
            Step::Ask { after, scope, holder } => {
                self.real += after;
                let (scope, holder) = (if scope { "" } else { "shop:1" }, if holder { "run" } else { "another run" });
                self.send(bounds, scope, holder, None);
            }
            Step::Again { after, which } => {
                self.real += after;
                let Some((place, holder, sent_at)) = pick(&self.flying, which) else { return };
                // Its moment has come, and it has missed it.
                self.real = self.real.max(sent_at);
                self.send(bounds, "", holder, Some(place));
            }
            Step::Settle { after, which, rests, throttled } => {
                self.real += after;
                let Some((place, holder, sent_at)) = pick(&self.flying, which) else { return };
                self.real = self.real.max(sent_at);
                self.flying.retain(|(flying, ..)| *flying != place);
                self.resting.push(self.real + rests);
                let now = self.real + self.offset + self.far(holder).error;
                let sent_at = at(sent_at + self.offset);
                let feedback = if throttled { Feedback::Throttled { sent_at } } else { Feedback::Good };
                self.ledger.settle(&Settle { holder, bounds, feedback, ..settle(place, now, now + rests) });
            }
            Step::SetBack { by } => self.offset -= by,
        }
    }
}

fn pick(flying: &[(u32, &'static str, i64)], which: usize) -> Option<(u32, &'static str, i64)> {
    flying.get(which.checked_rem(flying.len())?).copied()
}

proptest! {
    #[test]
    fn whatever_happens_no_day_no_second_and_no_place_is_overdrawn(
        rate in 1..30_u32,
        calls_per_day in 1..120_u64,
        calls_in_flight in 1..6_u32,
        far in far(),
        steps in steps(),
    ) {
        let bounds = Bounds {
            calls_per_day: Some(calls_per_day),
            calls_per_second: Some(f64::from(rate)),
            calls_in_flight,
            // No lease ends here: a call that is in flight longer than its lease is in flight all the same.
            lease: Duration::from_secs(1_000_000),
        };
        let mut world = World { far, ..World::default() };
        for step in &steps {
            world.step(bounds, step);
        }
        prop_assert!(world.used.values().all(|used| *used <= calls_per_day));
        world.sent.sort_unstable();
        for (index, first) in world.sent.iter().enumerate() {
            let held = world.sent[index..].iter().take_while(|sent| **sent - *first <= SECOND).count();
            prop_assert!(held <= rate as usize, "{} calls in one second at rate {}", held, rate);
        }
    }
}
