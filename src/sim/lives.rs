//! When offers come, move and go.
//!
//! A shop has a fixed number of places; each is held by one offer for a life of [`LIFE_DAYS`], off sale in its last
//! days, then by a new one with another id. A few places are held for good, so that a file can name their offers.
//!
//! Invariant: looking back from a date always ends, and at the same day whichever date one looks from.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::random::{Dice, mix};
use crate::base::time::BEIJING;

/// Days from one offer in a place to the next.
const LIFE_DAYS: i64 = 150;
/// The first places of the first shop: their offers never leave.
pub(super) const KEPT_PLACES: usize = 4;
/// When those offers came: 2025-01-01.
pub(super) const KEPT_SINCE: i64 = 20_089;

/// Where an offer stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) shop: usize,
    pub(super) slot: usize,
}

/// The span in which one offer holds a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub(super) key: u64,
    pub(super) place: Place,
    pub(super) generation: i64,
    pub(super) born: i64,
    pub(super) off_sale_day: i64,
    pub(super) day: i64,
}

impl Life {
    pub(super) fn of(seed: u64, place: Place, date: NaiveDate) -> Self {
        let slot_key = mix(seed, &[20, place.shop as u64, place.slot as u64]);
        let day = date.signed_duration_since(NaiveDate::default()).num_days();
        if place.shop == 0 && place.slot < KEPT_PLACES {
            let key = mix(slot_key, &[0]);
            return Self { key, place, generation: 0, born: KEPT_SINCE, off_sale_day: i64::MAX, day };
        }
        let phase = i64::try_from(slot_key % LIFE_DAYS.unsigned_abs()).unwrap_or(0);
        let generation = (day + phase).div_euclid(LIFE_DAYS);
        let born = generation * LIFE_DAYS - phase;
        let key = mix(slot_key, &[generation.unsigned_abs()]);
        let gap_days = i64::try_from(key % 7).unwrap_or(0);
        Self { key, place, generation, born, off_sale_day: born + LIFE_DAYS - gap_days, day }
    }

    pub(super) fn is_on_sale(&self) -> bool {
        self.day < self.off_sale_day
    }

    /// Counts every offer that can ever be, without repeats.
    fn serial(&self) -> i128 {
        let place = (self.place.shop as i128) << 16 | (self.place.slot as i128 & 0xffff);
        place << 10 | (i128::from(self.generation) & 0x3ff)
    }

    /// Twelve digits, 5… to 8…. Range and stride share no divisor, so no two serials meet.
    pub(super) fn offer_id(&self, seed: u64) -> i64 {
        const RANGE: i128 = 399_999_999_979;
        const STRIDE: i128 = 161_803_398_875;
        let spread = (self.serial() * STRIDE + i128::from(mix(seed, &[21]) >> 24)).rem_euclid(RANGE);
        500_000_000_000 + i64::try_from(spread).unwrap_or(0)
    }

    /// Thirteen digits, 4…; `number` is below 8.
    pub(super) fn sku_id(&self, number: usize) -> i64 {
        const RANGE: i128 = 999_999_999_989;
        const STRIDE: i128 = 618_033_988_749;
        let spread = ((self.serial() * 8 + number as i128) * STRIDE).rem_euclid(RANGE);
        4_000_000_000_000 + i64::try_from(spread).unwrap_or(0)
    }
}

/// When an offer last moved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moments {
    pub(super) price_day: i64,
    pub(super) moq_day: i64,
    pub(super) stock_day: i64,
    /// Sales are counted up to this day.
    pub(super) sales_day: i64,
    pub(super) modified_at: DateTime<Utc>,
}

/// An offer's price has moved at least once in this many days.
const PRICE_DAYS: i64 = 64;
/// A minimum quantity has moved at least once in this many days.
const MOQ_DAYS: i64 = 128;

impl Moments {
    /// Of an offer in a lively shop: prices and minimum quantities move the modified time, stock and sales do not.
    pub(super) fn of(seed: u64, life: Life) -> Self {
        let (key, today) = (life.key, life.day);
        let price_day = last_move(Moves { seed, key: mix(key, &[3]), per_mille: 70, days: PRICE_DAYS }, today);
        let moq_day = last_move(Moves { seed, key: mix(key, &[4]), per_mille: 8, days: MOQ_DAYS }, today);
        let stock_day = last_move(Moves { seed, key: mix(key, &[7]), per_mille: 400, days: 8 }, today);
        let modified_day = if life.is_on_sale() { price_day.max(moq_day).max(life.born) } else { life.off_sale_day };
        let modified_at = evening_before(modified_day, mix(key, &[10, modified_day.unsigned_abs()]));
        Self { price_day, moq_day, stock_day, sales_day: today, modified_at }
    }
}

/// The days on which something moves.
#[derive(Debug, Clone, Copy)]
struct Moves {
    seed: u64,
    key: u64,
    /// Of a thousand days, beside the one in `days` that always moves.
    per_mille: u64,
    days: i64,
}

/// The last day up to `today` on which it moved.
fn last_move(moves: Moves, today: i64) -> i64 {
    let forced = i64::try_from(moves.key % moves.days.unsigned_abs()).unwrap_or(0);
    let moved = |day: i64| {
        (day + forced).rem_euclid(moves.days) == 0
            || Dice::new(moves.seed, &[moves.key, day.unsigned_abs()]).chance(moves.per_mille)
    };
    (0..moves.days).map(|back| today - back).find(|&day| moved(day)).unwrap_or(today)
}

/// What holds on `day` was changed in the evening before, Beijing time, at a whole second.
pub(super) fn evening_before(day: i64, key: u64) -> DateTime<Utc> {
    let seconds = 18 * 3600 + i64::try_from(key % (6 * 3600)).unwrap_or(0);
    let local = NaiveDate::default() + TimeDelta::days(day - 1);
    let at = local.and_time(chrono::NaiveTime::MIN) + TimeDelta::seconds(seconds);
    at.and_local_timezone(BEIJING).single().map(|at| at.to_utc()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_move_is_the_same_from_every_day_until_the_next() {
        let moves = |key| Moves { seed: 7, key, per_mille: 70, days: 64 };
        for key in 0..200 {
            let mut last = last_move(moves(key), 20_000);
            for today in 20_001..20_100 {
                let seen = last_move(moves(key), today);
                assert!(seen == last || seen == today, "key {key}, day {today}: {seen} after {last}");
                assert!(today - seen < 64);
                last = seen;
            }
        }
    }

    #[test]
    fn what_holds_on_a_day_was_changed_in_the_evening_before() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 20).expect("a date");
        let number = day.signed_duration_since(NaiveDate::default()).num_days();
        for key in 0..100 {
            let at = evening_before(number, key * 7919).with_timezone(&BEIJING).naive_local();
            assert!(
                at.date() == day.pred_opt().expect("a date") && at.format("%H").to_string().as_str() >= "18",
                "{at}"
            );
        }
    }
}
