//! One account's page of the ledger: its rhythm, its places in flight, its rests. Every store keeps it as one JSON
//! document and changes it in one atomic step.
//!
//! New calls keep the rhythm. A call that comes late to the wire, because its connection had to be opened first, asks
//! again: it may leave as soon as its second has room, and pushes nobody back.
//!
//! Answers take their time where the store is far away. A moment is granted as long ahead as the slowest of those who
//! ask needs, and to all of them alike; but to none so many that it takes the places of others. Where they read the
//! store's clock each from afar, their readings may differ, and windows are wider by as much.
//!
//! Takes a call that wants to leave and the calls counted so far; gives what it may do.
//!
//! Invariant: pure; moments are arguments. Places in flight never exceed the bound, nor counts the calls of a day.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::rhythm::{self, Rhythm, SECOND};
use super::{AccountHealth, Ask, Counted, Feedback, Moved, Reserved, RestKind, Resting, Settle, covers};

/// A call of another process may leave so much later than it was granted: it is signed, and its process waits for a core.
const LEAVES_LATE: i64 = 25_000;
/// Callers may be held up this long between reading the clock and changing the ledger. A clock that is further behind
/// the last decision was set back.
const HELD_UP: i64 = 10 * SECOND;
/// A place whose call is in flight may be given back at any moment: ask again after this long.
const LOOK_AGAIN: i64 = 25_000;
/// The least wait that is worth naming.
const WAIT_MIN: i64 = 1_000;
/// While another process waits that was served less lately, a moment is left to it this long.
const YIELDS_FOR: i64 = 4_000;
/// Who has waited so long for a place gets the next that is free of one who has its share.
const PATIENCE: i64 = 2 * LOOK_AGAIN;
/// Who was to ask again, and did not for so long, waits no more.
const WAITS_FOR: i64 = 6 * LOOK_AGAIN;
/// Who has asked so lately is one of those who ask.
const ASKS_FOR: i64 = 10 * SECOND;
/// No moment is granted for an answer that takes longer.
const LEAD_MAX: i64 = 2 * SECOND;
/// Readings of a clock that differ more are not made up for.
const UNSURE_MAX: i64 = SECOND / 4;
/// Calls longer ago are in no window of a second or so …
const LEFT_FOR: i64 = 2 * SECOND;
/// … and so many of the last ones are enough for longer windows, which hold one.
const LEFT_MIN: usize = 8;

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
    /// The calls of the last windows, by when they were to leave, with their places. Some are still to leave.
    left: VecDeque<(i64, u32)>,
    /// Somebody asks with a rate: what has left matters.
    is_paced: bool,
    /// Who has asked of late.
    askers: BTreeMap<String, Asker>,
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

/// How far away somebody is who asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Asker {
    lead: i64,
    unsure: i64,
    /// Until when it is one of those who ask.
    until: i64,
    /// When it was last granted a new call.
    #[serde(default)]
    granted_at: i64,
    /// Since when it waits for the next, and until when it is believed to; where others ask, too.
    #[serde(default)]
    waits: Option<(i64, i64)>,
}

/// When a place in flight is free.
#[derive(Debug, Clone, Copy)]
struct Free {
    /// Whatever comes.
    at: i64,
    /// If a call in flight is over by then.
    maybe_at: i64,
}

impl Free {
    fn now(now: i64) -> Self {
        Self { at: now, maybe_at: now }
    }
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
        self.note(ask, now);
        let held = ask.held.filter(|place| self.holds(*place, ask.holder));
        let (first, kept) = if held.is_some() { (i64::MIN, 0) } else { self.left_to_others(ask, now) };
        let most = ask.bounds.calls_in_flight.max(1).saturating_sub(kept);
        let free = if held.is_some() { Free::now(now) } else { self.free(now, most) };
        let ahead = self.askers.values().map(|asker| asker.lead).max().unwrap_or(0);
        let reach = if held.is_none() && self.has_its_share(ask) { lead_of(ask) } else { 2 * ahead };
        let at = self.room_from(free.at, now, ask, held).max(first);
        if at > now + reach {
            let at = self.room_from(free.maybe_at, now, ask, held).max(first);
            let from = (at - reach).max(free.maybe_at.min(now + LOOK_AGAIN)).max(now + WAIT_MIN);
            let to = from.max(at - ahead);
            self.waits(ask.holder, now, to);
            return Reserved::Wait { from: moment(from), to: moment(to) };
        }
        if held.is_none() {
            self.rhythm.take(ask.bounds.calls_per_second, at);
            let asker = self.askers.get_mut(ask.holder);
            asker.into_iter().for_each(|asker| (asker.granted_at, asker.waits) = (now, None));
        }
        if ask.held.is_none() {
            self.move_call(ask.scope, ask.day, ask.gateway_day);
            let near = |day: NaiveDate| (day - ask.day).num_days().abs().min((day - ask.gateway_day).num_days().abs());
            self.shifts.retain(|shift| near(shift.day) <= 1);
        }
        self.seen_at = now;
        let place = held.unwrap_or_else(|| self.number());
        self.leaves(at, place, now);
        // Rests that end before it leaves make room for it.
        self.places.retain(|_, place| place.until > at);
        let until = at.saturating_add(i64::try_from(ask.bounds.lease.as_micros()).unwrap_or(i64::MAX));
        self.places.insert(place, Place { holder: ask.holder.to_owned(), until, rests: false });
        Reserved::Granted { at: moment(at), place, used: used.today + u64::from(ask.held.is_none()) }
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
        // Two readings that differ may make the step look longer than it was.
        let sure = by - self.apart();
        self.seen_at = now;
        self.rhythm.set_back(by);
        self.left.iter_mut().for_each(|(at, _)| *at = at.saturating_sub(sure));
        for asker in self.askers.values_mut() {
            asker.until = asker.until.saturating_sub(by);
            (asker.granted_at, asker.waits) = (asker.granted_at.saturating_sub(by), None);
        }
        self.places.values_mut().for_each(|place| place.until = place.until.saturating_sub(by));
    }

    /// Takes note of who asks. It is written now and then, not with every question.
    fn note(&mut self, ask: &Ask<'_>, now: i64) {
        self.is_paced |= rhythm::window(ask.bounds.calls_per_second).is_some();
        self.askers.retain(|_, asker| asker.until > now);
        let (lead, unsure) = (lead_of(ask), micros(ask.unsure, UNSURE_MAX));
        let is_known = |asker: &Asker| {
            asker.lead >= lead && asker.unsure >= unsure && asker.until > now.saturating_add(ASKS_FOR / 2)
        };
        if !self.askers.get(ask.holder).is_some_and(is_known) {
            let asker = self.askers.entry(ask.holder.to_owned()).or_default();
            (asker.lead, asker.unsure, asker.until) = (lead, unsure, now.saturating_add(ASKS_FOR));
        }
    }

    /// Takes note that somebody is to ask again then; where nobody else asks, that is no matter.
    fn waits(&mut self, holder: &str, now: i64, until: i64) {
        if self.askers.len() < 2 {
            return;
        }
        let Some(asker) = self.askers.get_mut(holder) else { return };
        let (since, known_until) = asker.waits.filter(|(_, until)| *until > now).unwrap_or((now, now));
        if known_until < until.saturating_add(WAITS_FOR / 2) {
            asker.waits = Some((since, until.saturating_add(WAITS_FOR)));
        }
    }

    /// What whoever asks for a new call leaves to those who wait and were served less lately, so that the quickest does
    /// not take all: the moment before which it takes none, and so many places.
    fn left_to_others(&self, ask: &Ask<'_>, now: i64) -> (i64, u32) {
        let served_at = self.askers.get(ask.holder).map_or(0, |asker| asker.granted_at);
        let others = self.askers.iter().filter(|(holder, _)| *holder != ask.holder).map(|(_, asker)| asker);
        let waiting = others.filter(|other| other.granted_at < served_at);
        let waiting: Vec<i64> =
            waiting.filter_map(|other| other.waits).filter(|(_, until)| *until > now).map(|(since, _)| since).collect();
        // Where answers take their time, chance decides ([`Reserved::Wait`]).
        let is_near = self.askers.values().all(|asker| asker.lead == 0);
        let opens_at = || self.room_from(i64::MIN, i64::MIN, ask, None);
        let first = if waiting.is_empty() || !is_near { i64::MIN } else { opens_at().saturating_add(YIELDS_FOR) };
        let starving = waiting.iter().filter(|since| now - **since >= PATIENCE).count();
        let kept = if self.has_its_share(ask) { u32::try_from(starving).unwrap_or(u32::MAX) } else { 0 };
        (first, kept)
    }

    /// When a call may leave that has its place at `from`: it is here in time, keeps the rhythm, and its second has room.
    fn room_from(&self, from: i64, now: i64, ask: &Ask<'_>, held: Option<u32>) -> i64 {
        let rate = ask.bounds.calls_per_second;
        let from = from.max(now.saturating_add(lead_of(ask)));
        let from = if held.is_some() { from } else { from.max(self.rhythm.earliest(rate)) };
        rhythm::window(rate).map_or(from, |(calls, width)| self.room_at(from, (calls, width + self.apart()), held))
    }

    /// Whether others ask, too, and the asker has as many places as there are for each.
    fn has_its_share(&self, ask: &Ask<'_>) -> bool {
        let own = self.places.values().filter(|place| place.holder == ask.holder).count();
        let most = usize::try_from(ask.bounds.calls_in_flight.max(1)).unwrap_or(usize::MAX);
        self.askers.len() > 1 && own >= most / self.askers.len()
    }

    /// How much wider windows are where several ask: they may read the clock differently, and leave late.
    fn apart(&self) -> i64 {
        let mut unsure: Vec<i64> = self.askers.values().map(|asker| asker.unsure).collect();
        unsure.sort_unstable();
        // What one of them is wrong by does not move its own calls closer together, and it sees itself when they leave.
        if let [.., second, first] = unsure[..] { first + second + LEAVES_LATE } else { 0 }
    }

    /// The first moment from `from` on where no window holds too many calls with it, before or after; one that asks again
    /// has not left before.
    fn room_at(&self, from: i64, (calls, width): (usize, i64), held: Option<u32>) -> i64 {
        let others = self.left.iter().filter(|(_, place)| Some(*place) != held);
        let others: Vec<i64> = others.map(|(at, _)| *at).collect();
        let has_room = |at: &i64| {
            let own = others.partition_point(|other| other <= at);
            let nth = |index: usize| match index.cmp(&own) {
                Ordering::Less => others[index],
                Ordering::Equal => *at,
                Ordering::Greater => others[index - 1],
            };
            let last = own.min(others.len().saturating_sub(calls));
            others.len() < calls
                || (own.saturating_sub(calls)..=last).all(|first| nth(first + calls) - nth(first) >= width)
        };
        let later = others.iter().map(|other| other + width).filter(|at| *at > from);
        std::iter::once(from).chain(later).find(has_room).unwrap_or(from)
    }

    /// A call leaves then. What no window needs any more is forgotten.
    fn leaves(&mut self, at: i64, place: u32, now: i64) {
        self.left.retain(|(_, other)| *other != place);
        if !self.is_paced {
            return;
        }
        let index = self.left.partition_point(|(other, _)| *other <= at);
        self.left.insert(index, (at, place));
        while self.left.len() > LEFT_MIN && self.left.front().is_some_and(|(at, _)| *at < now - LEFT_FOR) {
            self.left.pop_front();
        }
    }

    /// What the gateway counts for a day more than the store does.
    fn shift(&self, day: NaiveDate, scope: &str) -> i64 {
        let shift = self.shifts.iter().find(|shift| (shift.day, shift.scope.as_str()) == (day, scope));
        shift.map_or(0, |shift| shift.calls)
    }

    /// Adds to the counts of a day the calls that the gateway counts for it and the store for another.
    pub(super) fn add_moved(&self, account: &str, day: NaiveDate, counts: &mut Vec<Counted>) {
        for Shift { scope, calls, .. } in self.shifts.iter().filter(|shift| shift.day == day) {
            let moved = u64::try_from(*calls).unwrap_or(0);
            let is_same = |counted: &&mut Counted| (&*counted.account, &counted.scope) == (account, scope);
            match counts.iter_mut().find(is_same) {
                Some(counted) => counted.calls = counted.calls.saturating_add(moved),
                None if moved == 0 => {}
                None => counts.push(Counted { account: account.to_owned(), scope: scope.clone(), day, calls: moved }),
            }
        }
    }

    /// A count was set to what the gateway counts.
    pub(super) fn corrected(&mut self, day: NaiveDate, scope: &str) {
        self.shifts.retain(|shift| (shift.day, &*shift.scope) != (day, scope));
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

    /// When a place is free.
    fn free(&self, now: i64, most: u32) -> Free {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let Some(too_many) = self.places.len().checked_sub(most) else { return Free::now(now) };
        if most == 0 {
            // The only one is another's.
            return Free { at: i64::MAX / 2, maybe_at: now + LOOK_AGAIN };
        }
        let nth = |until: &dyn Fn(&Place) -> i64| {
            let mut free: Vec<i64> = self.places.values().map(until).collect();
            free.sort_unstable();
            free.get(too_many).copied().unwrap_or(now + LOOK_AGAIN)
        };
        let maybe_at = |place: &Place| if place.rests { place.until } else { place.until.min(now + LOOK_AGAIN) };
        Free { at: nth(&|place| place.until), maybe_at: nth(&maybe_at) }
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

fn lead_of(ask: &Ask<'_>) -> i64 {
    micros(ask.lead, LEAD_MAX)
}

fn micros(time: TimeDelta, most: i64) -> i64 {
    time.num_microseconds().unwrap_or(most).clamp(0, most)
}

/// Far moments end at the last one that can be told.
fn moment(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests;
