//! Shops of another kind: large ones with a past, whose nights change a stated share of the offers.
//!
//! Without a [`History`] a shop is lively: some 8 % of its prices move every day. With one, edits are as rare as it
//! says, everything an answer shows moves only when the modified time does (unless silent edits are asked for), and
//! offers may share one modified instant. Imports before the two great sales make bursts of modified times.
//!
//! Invariant: a pure function of (seed, place, date); the day a world started does not matter.

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc};

use super::lives::{KEPT_PLACES, KEPT_SINCE, Life, Moments, Place, evening_before};
use super::random::{Dice, mix};
use crate::base::time::BEIJING;

/// More than this would be livelier than the lively ones.
const CHANGED_PER_MILLE_MAX: u64 = 200;
/// Before each great sale (月, 日), so many places of a thousand are imported anew within [`BURST_SECONDS`].
const BURST_DAYS: [(u32, u32); 2] = [(6, 10), (10, 25)];
const BURST_PER_MILLE: u64 = 300;
const BURST_SECONDS: u64 = 300;
/// One edit in so many changes the minimum quantity as well.
const EDITS_PER_MOQ: i64 = 8;

/// How a shop's offers came to their modified times, and how they move on from day to day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// Offers of a thousand that change in a day, at most 200: of ten, eight are edited (with a new modified time), one
    /// comes, one goes. On 10 June and 25 October three of ten are imported anew besides. The first four offers of the
    /// first shop never go.
    pub changed_per_mille: u64,
    /// Offers of a thousand whose price and stock change in a day while their modified time does not.
    pub silent_per_mille: u64,
    /// Of a thousand offers that go, so many are gone at once; the others are listed as off sale for two weeks at least.
    pub vanishing_per_mille: u64,
    /// Offers that share one modified instant; they neither change nor go.
    pub import: Option<Import>,
}

/// Offers that share one modified instant: a shop's first places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Import {
    /// How many.
    pub offers: usize,
    /// The instant. On a day before it: the same some whole years of 365 days earlier.
    pub at: DateTime<Utc>,
    /// Where they are.
    pub spread: Spread,
}

/// The categories of imported offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// All of them; the largest holds a fifth.
    Categories,
    /// The first one only.
    OneCategory,
}

impl Default for History {
    fn default() -> Self {
        Self { changed_per_mille: 10, silent_per_mille: 0, vanishing_per_mille: 0, import: None }
    }
}

impl Import {
    /// So many offers, modified at 20:00 on 18 June 2026 (Beijing), in all categories.
    #[must_use]
    pub fn of(offers: usize) -> Self {
        // 2026-06-18T12:00:00Z
        Self { offers, at: DateTime::from_timestamp(1_781_784_000, 0).unwrap_or_default(), spread: Spread::Categories }
    }

    /// The instant as the world of `day` has it.
    fn at_before(&self, day: i64) -> DateTime<Utc> {
        let midnight = evening_before(day, 0) + TimeDelta::hours(6);
        let mut at = self.at;
        while at > midnight {
            at -= TimeDelta::days(365);
        }
        at
    }
}

impl History {
    /// The import that `place` belongs to.
    pub(super) fn import_of(&self, place: Place) -> Option<Import> {
        self.import.filter(|import| place.slot < import.offers)
    }

    /// Who holds `place` on `date`.
    pub(super) fn life(&self, seed: u64, place: Place, date: NaiveDate) -> Life {
        let day = date.signed_duration_since(NaiveDate::default()).num_days();
        let slot_key = mix(seed, &[20, place.shop as u64, place.slot as u64]);
        let long_ago = KEPT_SINCE - days(slot_key, 1000);
        let changed = self.changed_per_mille.min(CHANGED_PER_MILLE_MAX);
        let is_held = self.import_of(place).is_some() || (place.shop == 0 && place.slot < KEPT_PLACES);
        if is_held || changed == 0 {
            let key = mix(slot_key, &[0]);
            return Life { key, place, generation: 0, born: long_ago, off_sale_day: i64::MAX, day };
        }
        let life_days = 10_000 / i64::try_from(changed).unwrap_or(1);
        let phase = days(slot_key, life_days);
        let generation = (day + phase).div_euclid(life_days);
        let first_day = generation * life_days - phase;
        let key = mix(slot_key, &[generation.unsigned_abs()]);
        let vanishes = Dice::new(key, &[62]).chance(self.vanishing_per_mille);
        let listed_days = if vanishes { 0 } else { (14 + days(key, 14)).min(life_days / 2) };
        let off_sale_day = first_day + life_days - listed_days;
        Life { key, place, generation, born: first_day.max(long_ago), off_sale_day, day }
    }

    /// When the offer of `life` last moved.
    pub(super) fn moments(&self, life: Life) -> Moments {
        let key = life.key;
        let today = life.day.min(life.off_sale_day);
        let since_birth = |day: Option<i64>| day.unwrap_or(life.born).max(life.born);
        let changed = self.changed_per_mille.min(CHANGED_PER_MILLE_MAX);
        let import = self.import_of(life.place);
        let edit = if import.is_some() { None } else { last_in_blocks(mix(key, &[63]), changed * 4 / 5, today) };
        let edited = since_birth(edit.map(|edit| edit.day));
        let silent = last_in_blocks(mix(key, &[64]), self.silent_per_mille, today).map(|edit| edit.day);
        let modified_at = match import {
            Some(import) => import.at_before(today),
            None if !life.is_on_sale() => evening_before(life.off_sale_day, mix(key, &[10])),
            None => {
                let edited_at = evening_before(edited, mix(key, &[10, edited.unsigned_abs()]));
                last_burst(key, today).filter(|&at| at > edited_at).unwrap_or(edited_at)
            }
        };
        let shown = edited.max(silent.unwrap_or(edited));
        let moq_version = edit.map_or(0, |edit| edit.number.div_euclid(EDITS_PER_MOQ));
        Moments { price_day: shown, moq_day: moq_version, stock_day: shown, sales_day: edited, modified_at }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Edit {
    day: i64,
    number: i64,
}

/// The last edit up to `today` of something that is edited once, on a day of its own, in each block of
/// 1000 ÷ `per_mille` days.
fn last_in_blocks(key: u64, per_mille: u64, today: i64) -> Option<Edit> {
    let block_days = i64::try_from(1000_u64.checked_div(per_mille)?).unwrap_or(1).max(1);
    let phase = days(key, block_days);
    let edit = |number: i64| Edit {
        day: number * block_days - phase + days(mix(key, &[number.unsigned_abs()]), block_days),
        number,
    };
    let this = edit((today + phase).div_euclid(block_days));
    Some(if this.day <= today { this } else { edit(this.number - 1) })
}

/// The last burst up to `today` that took the offer along, within two years.
fn last_burst(key: u64, today: i64) -> Option<DateTime<Utc>> {
    let year = (NaiveDate::default() + TimeDelta::days(today)).year();
    let dates = (0..3).flat_map(|back| BURST_DAYS.iter().rev().map(move |&(month, day)| (year - back, month, day)));
    for (year, month, day) in dates {
        let Some(date) = NaiveDate::from_ymd_opt(year, month, day) else { continue };
        let number = date.signed_duration_since(NaiveDate::default()).num_days();
        if number > today || !Dice::new(key, &[65, number.unsigned_abs()]).chance(BURST_PER_MILLE) {
            continue;
        }
        let second = i64::try_from(mix(key, &[66, number.unsigned_abs()]) % BURST_SECONDS).unwrap_or(0);
        let evening = date.pred_opt()?.and_hms_opt(20, 0, 0)? + TimeDelta::seconds(second);
        return evening.and_local_timezone(BEIJING).single().map(|at| at.to_utc());
    }
    None
}

/// A day in `0..below`.
fn days(key: u64, below: i64) -> i64 {
    i64::try_from(key % below.max(1).unsigned_abs()).unwrap_or(0)
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
