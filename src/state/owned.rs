//! What is asked of a store, as it goes to whoever decides about it.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::{Ask, Bounds, Feedback, Moved, Settle};

/// [`Ask`] that borrows nothing.
pub(super) struct OwnedAsk {
    pub(super) account: String,
    gateway: String,
    credentials: String,
    endpoint: String,
    pub(super) scope: String,
    pub(super) run: String,
    pub(super) day: NaiveDate,
    gateway_day: NaiveDate,
    pub(super) now: DateTime<Utc>,
    unsure: TimeDelta,
    lead: TimeDelta,
    bounds: Bounds,
    holder: String,
    held: Option<u32>,
}

impl OwnedAsk {
    pub(super) fn new(ask: &Ask<'_>) -> Self {
        let Ask { account, gateway, credentials, endpoint, scope, run, day, gateway_day, now, .. } = *ask;
        let Ask { unsure, lead, bounds, holder, held, .. } = *ask;
        let owned = [account, gateway, credentials, endpoint, scope, run, holder].map(str::to_owned);
        let [account, gateway, credentials, endpoint, scope, run, holder] = owned;
        Self {
            account,
            gateway,
            credentials,
            endpoint,
            scope,
            run,
            day,
            gateway_day,
            now,
            unsure,
            lead,
            bounds,
            holder,
            held,
        }
    }

    pub(super) fn borrow(&self) -> Ask<'_> {
        let Self { account, gateway, credentials, endpoint, scope, run, holder, .. } = self;
        let Self { day, gateway_day, now, unsure, lead, bounds, held, .. } = *self;
        Ask {
            account,
            gateway,
            credentials,
            endpoint,
            scope,
            run,
            day,
            gateway_day,
            now,
            unsure,
            lead,
            bounds,
            holder,
            held,
        }
    }
}

/// [`Settle`] that borrows nothing.
pub(super) struct OwnedSettle {
    pub(super) account: String,
    bounds: Bounds,
    holder: String,
    place: u32,
    pub(super) now: DateTime<Utc>,
    pub(super) free_at: DateTime<Utc>,
    feedback: Feedback,
    moved: Option<(String, NaiveDate, NaiveDate)>,
}

impl OwnedSettle {
    pub(super) fn new(settle: &Settle<'_>) -> Self {
        let Settle { account, bounds, holder, place, now, free_at, feedback, moved } = *settle;
        let moved = moved.map(|Moved { scope, from, to }| (scope.to_owned(), from, to));
        let (account, holder) = (account.to_owned(), holder.to_owned());
        Self { account, bounds, holder, place, now, free_at, feedback, moved }
    }

    pub(super) fn borrow(&self) -> Settle<'_> {
        let Self { account, holder, .. } = self;
        let Self { bounds, place, now, free_at, feedback, .. } = *self;
        let moved = self.moved.as_ref().map(|(scope, from, to)| Moved { scope, from: *from, to: *to });
        Settle { account, bounds, holder, place, now, free_at, feedback, moved }
    }
}
