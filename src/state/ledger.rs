//! One account's page of the ledger: its rhythm, its places in flight, its rests. Every store keeps it as one JSON
//! document and changes it in one atomic step.
//!
//! New calls keep the rhythm. A call that comes late to the wire, because its connection had to be opened first, asks
//! again: it may leave as soon as its second has room, and pushes nobody back.
//!
//! Takes a call that wants to leave and the calls counted so far; gives what it may do.
//!
//! Invariant: pure; moments are arguments. Places in flight never exceed the bound, nor counts the calls of a day.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::rhythm::{self, Rhythm, SECOND};
use super::{AccountHealth, Ask, Feedback, Moved, Reserved, RestKind, Resting, Settle, covers};

/// Callers may be held up this long between reading the clock and changing the ledger. A clock that is further behind
/// the last decision was set back.
const HELD_UP: i64 = 10 * SECOND;
/// A place whose call is in flight may be given back at any moment: ask again after this long.
const LOOK_AGAIN: i64 = 25_000;
/// The least wait that is worth naming.
const WAIT_MIN: i64 = 1_000;

/// One account's page of the ledger. Moments are microseconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Ledger {
    /// What the clock showed when a call was last granted or settled.
    seen_at: i64,
    rhythm: Rhythm,
    /// The number of the next place. Numbers are not used again, so that a call that outlived its lease cannot give
    /// another call's place back.
    next_place: u32,
    /// The calls of the last window, by when they may have left, with their places.
    left: VecDeque<(i64, u32)>,
    places: BTreeMap<u32, Place>,
    rests: Vec<Resting>,
    /// What the gateway counts for a day more than the store does, or less.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shifts: Vec<Shift>,
}

/// Calls that count for another day at the gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Shift {
    day: NaiveDate,
    scope: String,
    calls: i64,
}

/// Calls counted in a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    /// On [`Ask::day`].
    pub(super) today: u64,
    /// On [`Ask::gateway_day`].
    pub(super) there: u64,
}

impl From<u64> for Used {
    /// The two days are the same.
    fn from(calls: u64) -> Self {
        Self { today: calls, there: calls }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Place {
    holder: String,
    /// The end of the lease, or of the rest.
    until: i64,
    /// Answered; the place rests.
    rests: bool,
}

impl Ledger {
    /// Reads a document; an empty one is an account that nobody asked for yet.
    pub(super) fn read(document: &str) -> serde_json::Result<Self> {
        if document.is_empty() { Ok(Self::default()) } else { serde_json::from_str(document) }
    }

    /// The document.
    pub(super) fn write(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Decides about a call; `used` calls are counted in its scope. Rests come first, then the calls of the day, then
    /// rhythm and places.
    pub(super) fn reserve(&mut self, used: impl Into<Used>, ask: &Ask<'_>) -> Reserved {
        let (used, now) = (used.into(), ask.now.timestamp_micros());
        self.follow(now);
        self.rests.retain(|resting| resting.rest.until > ask.now && !is_outdated(resting, ask));
        if let Some(resting) = self.rest_of(ask) {
            return Reserved::Resting(resting.clone());
        }
        let most_used = used.today.max(used.there.saturating_add_signed(self.shift(ask.gateway_day, ask.scope)));
        if ask.held.is_none() && ask.bounds.calls_per_day.is_some_and(|most| most_used >= most) {
            return Reserved::UsedUp { used: most_used };
        }
        self.places.retain(|_, place| place.until > now);
        let held = ask.held.filter(|place| self.holds(*place, ask.holder));
        let window = rhythm::window(ask.bounds.calls_per_second);
        let mut at = window.map_or(now, |window| self.free_at(window, held));
        if held.is_none() {
            at = at.max(self.rhythm.earliest(ask.bounds.calls_per_second));
            at = at.max(self.place_at(now, ask.bounds.calls_in_flight));
        }
        if at > now {
            return Reserved::Wait(moment(at).max(ask.now + TimeDelta::microseconds(WAIT_MIN)));
        }
        if held.is_none() {
            self.rhythm.take(ask.bounds.calls_per_second, now);
        }
        if ask.held.is_none() {
            self.move_call(ask.scope, ask.day, ask.gateway_day);
            let near = |day: NaiveDate| (day - ask.day).num_days().abs().min((day - ask.gateway_day).num_days().abs());
            self.shifts.retain(|shift| near(shift.day) <= 1);
        }
        self.seen_at = now;
        let until = now.saturating_add(i64::try_from(ask.bounds.lease.as_micros()).unwrap_or(i64::MAX));
        let place = held.unwrap_or_else(|| self.number());
        self.left.retain(|(_, other)| *other != place);
        self.left.push_back((now, place));
        let more = self.left.len().saturating_sub(window.map_or(0, |(calls, _)| calls));
        self.left.drain(..more);
        self.places.insert(place, Place { holder: ask.holder.to_owned(), until, rests: false });
        Reserved::Granted { place, used: used.today + u64::from(ask.held.is_none()) }
    }

    /// Gives a place back and takes what the answer means for the rhythm.
    pub(super) fn settle(&mut self, settle: &Settle<'_>) {
        let now = settle.now.timestamp_micros();
        self.follow(now);
        self.seen_at = now;
        if self.holds(settle.place, settle.holder) {
            let until = settle.free_at.timestamp_micros();
            match self.places.get_mut(&settle.place) {
                Some(place) if until > now => (place.until, place.rests) = (until, true),
                _ => _ = self.places.remove(&settle.place),
            }
        }
        match settle.feedback {
            Feedback::Good => self.rhythm.succeeded(),
            Feedback::Throttled { sent_at } => {
                self.rhythm.throttled(settle.bounds.calls_per_second, sent_at.timestamp_micros(), now);
            }
            Feedback::None => {}
        }
        if let Some(Moved { scope, from, to }) = settle.moved {
            self.move_call(scope, from, to);
        }
    }

    /// Frees the places that the holder's calls in flight took.
    pub(super) fn release(&mut self, holder: &str) {
        self.places.retain(|_, place| place.rests || place.holder != holder);
    }

    /// Lets the account rest: the last word about a scope counts, of each kind and, where it is a refusal, of each gateway.
    pub(super) fn rest(&mut self, new: &Resting) {
        let by_gateway = new.rest.kind == RestKind::Denied;
        self.rests.retain(|old| {
            let same = (&old.scope, old.rest.kind) == (&new.scope, new.rest.kind);
            !same || (by_gateway && old.gateway != new.gateway)
        });
        self.rests.push(new.clone());
    }

    /// Ends all rests and goes back to the full rate.
    pub(super) fn wake(&mut self) {
        self.rests.clear();
        self.rhythm.reset();
    }

    /// The account as the store knows it.
    pub(super) fn health(mut self, account: &str, now: DateTime<Utc>) -> AccountHealth {
        self.follow(now.timestamp_micros());
        let taken = self.places.values().filter(|place| place.until > now.timestamp_micros()).count();
        let mut rests: Vec<_> = self.rests.into_iter().filter(|resting| resting.rest.until > now).collect();
        rests.sort_by(|left, right| (&left.scope, left.rest.until).cmp(&(&right.scope, right.rest.until)));
        AccountHealth {
            account: account.to_owned(),
            rate_share: self.rhythm.share(),
            in_flight: u32::try_from(taken).unwrap_or(u32::MAX),
            rests,
        }
    }

    /// Follows a clock that was set back: what is still to wait stays about as long as it was and never gets shorter, so
    /// that nobody waits for hours and no call leaves early.
    fn follow(&mut self, now: i64) {
        if now >= self.seen_at - HELD_UP {
            return;
        }
        let by = self.seen_at - now;
        self.seen_at = now;
        self.rhythm.set_back(by);
        self.left.iter_mut().for_each(|(at, _)| *at = at.saturating_sub(by));
        self.places.values_mut().for_each(|place| place.until = place.until.saturating_sub(by));
    }

    /// When the window has room for a call; one that asks again has not left before.
    fn free_at(&self, (calls, width): (usize, i64), held: Option<u32>) -> i64 {
        let mut others = self.left.iter().rev().filter(|(_, place)| Some(*place) != held);
        others.nth(calls - 1).map_or(i64::MIN, |(at, _)| at + width)
    }

    /// What the gateway counts for a day more than the store does.
    fn shift(&self, day: NaiveDate, scope: &str) -> i64 {
        let shift = self.shifts.iter().find(|shift| (shift.day, shift.scope.as_str()) == (day, scope));
        shift.map_or(0, |shift| shift.calls)
    }

    /// The gateway counts a call for another day.
    fn move_call(&mut self, scope: &str, from: NaiveDate, to: NaiveDate) {
        if from == to {
            return;
        }
        for (day, calls) in [(from, -1), (to, 1)] {
            match self.shifts.iter_mut().find(|shift| (shift.day, shift.scope.as_str()) == (day, scope)) {
                Some(shift) => shift.calls += calls,
                None => self.shifts.push(Shift { day, scope: scope.to_owned(), calls }),
            }
        }
    }

    /// The rest that keeps a call the longest.
    fn rest_of(&self, ask: &Ask<'_>) -> Option<&Resting> {
        let keeps = |resting: &&Resting| {
            covers(&resting.scope, ask.scope, ask.endpoint) && resting.concerns(ask.gateway, ask.credentials)
        };
        self.rests.iter().filter(keeps).max_by_key(|resting| resting.rest.until)
    }

    fn holds(&self, place: u32, holder: &str) -> bool {
        self.places.get(&place).is_some_and(|place| !place.rests && place.holder == holder)
    }

    /// When a place may be free.
    fn place_at(&self, now: i64, calls_in_flight: u32) -> i64 {
        let most = usize::try_from(calls_in_flight.max(1)).unwrap_or(usize::MAX);
        let Some(too_many) = self.places.len().checked_sub(most) else { return now };
        let free_at = |place: &Place| if place.rests { place.until } else { place.until.min(now + LOOK_AGAIN) };
        let mut free: Vec<i64> = self.places.values().map(free_at).collect();
        free.sort_unstable();
        free.get(too_many).copied().unwrap_or(now + LOOK_AGAIN)
    }

    /// A number for a new place.
    fn number(&mut self) -> u32 {
        let place = self.next_place;
        self.next_place = place.wrapping_add(1);
        place
    }
}

/// Whether the gateway has refused other credentials than those it is now shown.
fn is_outdated(resting: &Resting, ask: &Ask<'_>) -> bool {
    resting.gateway == ask.gateway && !resting.concerns(ask.gateway, ask.credentials)
}

/// Far moments end at the last one that can be told.
fn moment(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests;
