use proptest::prelude::*;

use super::*;

const START: i64 = 1_800_000_000 * SECOND;

/// Lets a call leave at the earliest moment from `now` on.
fn send(rhythm: &mut Rhythm, rate: Option<f64>, now: i64) -> i64 {
    let at = rhythm.earliest(rate).max(now);
    rhythm.take(rate, at);
    at
}

fn most_in_one_second(mut sent: Vec<i64>) -> usize {
    sent.sort_unstable();
    let held = |(index, first): (usize, &i64)| sent[index..].iter().take_while(|at| **at - *first <= SECOND).count();
    sent.iter().enumerate().map(held).max().unwrap_or(0)
}

proptest! {
    #[test]
    fn no_closed_second_holds_more_calls_than_allowed(
        rate in 1..40_u32,
        waits in proptest::collection::vec(0..400_000_i64, 1..200),
        throttles in proptest::collection::vec(0..200_usize, 0..4),
    ) {
        let allowed = Some(f64::from(rate));
        let mut rhythm = Rhythm::default();
        let mut now = START;
        let mut sent = Vec::new();
        for (index, wait) in waits.iter().enumerate() {
            now = send(&mut rhythm, allowed, now + wait);
            sent.push(now);
            if throttles.contains(&index) { rhythm.throttled(allowed, now, now) } else { rhythm.succeeded() }
        }
        let most = most_in_one_second(sent);
        prop_assert!(most <= rate as usize, "{most} calls in one second at rate {rate}");
    }

    #[test]
    fn callers_that_come_up_to_five_milliseconds_late_still_use_the_rate(
        rate in 1..=100_u32,
        late in proptest::collection::vec(0..=5_000_i64, 500),
    ) {
        let allowed = Some(f64::from(rate));
        let mut rhythm = Rhythm::default();
        let mut sent = vec![send(&mut rhythm, allowed, START)];
        for late in late {
            let at = rhythm.earliest(allowed) + late;
            sent.push(send(&mut rhythm, allowed, at));
        }
        let (first, last) = (sent[10], sent[sent.len() - 1]);
        let seconds = (last - first) as f64 / SECOND as f64;
        let used = (sent.len() - 11) as f64 / seconds / f64::from(rate);
        // The last call alone may be late by the whole tolerance.
        prop_assert!(used >= 0.98 * seconds / (seconds + 0.005), "{used} of rate {rate}");
        prop_assert!(most_in_one_second(sent) <= rate as usize);
    }
}

#[test]
fn a_fractional_rate_never_rounds_up() {
    let rhythm = Rhythm::default();
    assert!(rhythm.interval(Some(2.5)).unwrap() > SECOND / 2);
    assert!(rhythm.interval(Some(0.5)).unwrap() > SECOND * 2);
    for none in [None, Some(0.0), Some(-1.0), Some(f64::NAN), Some(f64::INFINITY)] {
        assert_eq!(rhythm.interval(none), None);
    }
    assert_eq!(rhythm.interval(Some(1e-300)), Some(86_400 * SECOND));
}

#[test]
fn throttles_halve_the_rate_once_per_wave_down_to_the_floor_and_answers_win_it_back() {
    let allowed = Some(10.0);
    let at = |millis: i64| START + millis * 1000;
    let mut rhythm = Rhythm::default();
    let full = rhythm.interval(allowed).unwrap();
    rhythm.throttled(allowed, at(0), at(50));
    rhythm.throttled(allowed, at(20), at(60));
    assert_eq!(rhythm.interval(allowed), Some(full * 2));
    for wave in 1..20 {
        rhythm.throttled(allowed, at(wave * 100), at(wave * 100));
    }
    assert_eq!(rhythm.interval(allowed), Some(full * 16));
    for _ in 0..50 {
        rhythm.succeeded();
    }
    assert_eq!(rhythm.interval(allowed), Some(full));
}

#[test]
fn a_throttle_answer_holds_the_next_call_back_by_the_new_interval() {
    let mut rhythm = Rhythm::default();
    rhythm.take(Some(10.0), START);
    rhythm.throttled(Some(10.0), START, START + SECOND);
    assert_eq!(rhythm.earliest(Some(10.0)), START + SECOND + 203_000 - TOLERANCE);
}

#[test]
fn an_unstated_rate_is_free_until_the_gateway_throttles() {
    let mut rhythm = Rhythm::default();
    assert_eq!((send(&mut rhythm, None, START), send(&mut rhythm, None, START)), (START, START));
    rhythm.throttled(None, START, START);
    assert!(rhythm.earliest(None) > START);
    for _ in 0..50 {
        rhythm.succeeded();
    }
    assert_eq!(send(&mut rhythm, None, START), START);
}
