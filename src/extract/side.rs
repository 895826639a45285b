//! One gateway as a run uses it: its definition, its accounts, their connections. A run has one, or two where details
//! come from another gateway than the listing.
//!
//! Takes a call's scope; gives the right to send it as one of the accounts, from the state store.
//!
//! Invariant: no call leaves without a reservation, and none before or later than [`LATE`] after the moment it was granted.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use tokio::time::Instant;

use crate::base::Result;
use crate::base::time::beijing_day;
use crate::config::Gateway;
use crate::config::gateway::Endpoint;
use crate::config::pipeline::{Account, AccountChoice};
use crate::plan::price;
use crate::state::{Ask, Bounds, Feedback, Moved, Reserved, Rest, Resting, Settle, StateStore};

use super::accounts::{Accounts, Asking, Closed, Mark, NoneLeft};
use super::fingerprint::Fingerprint;
use super::http::Http;
use super::judge::Judge;
use super::lead::Lead;
use super::retry::{Budget, Outage, seconds};
use super::skew::Skew;

/// A call that would leave later than this after the moment it was granted asks for a new one first: the margin of the
/// rhythm covers no more, and [`Side::leave`] sees to this process's own calls.
const LATE: Duration = Duration::from_millis(8);
/// A machine that is too busy to send within [`LATE`] sends after this many new moments all the same: the last one is the
/// latest, so nothing was sent since.
const PLACES_MAX: u32 = 20;
/// What a window is wider than a second: networks jitter.
const WINDOW_MARGIN: Duration = Duration::from_millis(5);

/// One gateway of a run.
pub(super) struct Side<'r> {
    pub(super) gateway: &'r Gateway,
    /// `Record.gateway`: stated for a gateway that is not the pipeline's own.
    pub(super) named: Option<&'r str>,
    pub(super) accounts: &'r [Account],
    pub(super) judge: Judge<'r>,
    pub(super) budget: Budget,
    https: Vec<Http>,
    prints: Vec<Fingerprint>,
    /// Locked for moments only, never across an await.
    live: Mutex<Live>,
}

/// What calls change of a gateway.
pub(super) struct Live {
    pub(super) accounts: Accounts,
    pub(super) skew: Skew,
    pub(super) outage: Outage,
    lead: Lead,
    /// The last calls of each account, as many as one second allows.
    sent: Vec<VecDeque<Instant>>,
    /// Connections of each account's own proxy that failed in a row.
    pub(super) unconnected: Vec<u32>,
}

/// What a side shares with the whole run.
#[derive(Clone, Copy)]
pub(super) struct Ledger<'r> {
    pub(super) state: &'r dyn StateStore,
    /// As in [`Ask`].
    pub(super) holder: &'r str,
    /// As in [`Ask`].
    pub(super) run: &'r str,
}

impl Ledger<'_> {
    /// Now, by the store's clock.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.state.clock().now
    }

    /// The Beijing day by the store's clock, at this moment by ours.
    pub(super) fn day(&self, now: DateTime<Utc>) -> NaiveDate {
        beijing_day(if self.state.has_own_clock() { self.now() } else { now })
    }

    /// How long it is until a moment of the store's clock, of which answers name the next ones.
    fn until(&self, at: DateTime<Utc>) -> Duration {
        (at - self.now()).to_std().unwrap_or_default()
    }

    /// A moment to ask again at: any between these.
    fn again(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
        let spread = (to - from).to_std().unwrap_or_default();
        let later = rand::random_range(0..=u64::try_from(spread.as_micros()).unwrap_or(u64::MAX));
        self.until(from).saturating_add(Duration::from_micros(later))
    }
}

/// The right to send one call.
pub(super) struct Ticket {
    pub(super) account: usize,
    pub(super) scope: String,
    endpoint: String,
    /// The day it counts for, by the store's clock.
    pub(super) day: NaiveDate,
    /// … and by the gateway's, as far as it was known.
    gateway_day: NaiveDate,
    /// When it was asked for, by this machine's clock.
    asked_at: DateTime<Utc>,
    /// When it is to leave.
    leaves_at: Instant,
    /// How long the call waited for it.
    pub(super) waited: Duration,
    place: u32,
    /// How many moments it has missed.
    missed: u32,
    /// When it left, as far as this machine knows.
    left: Option<Instant>,
    /// Worth a word.
    pub(super) mark: Option<Mark>,
}

/// Whether a call may leave.
pub(super) enum Turn {
    Send(Ticket),
    /// Ask again after this.
    Wait(Duration),
    /// Nobody can ask.
    NoneLeft(NoneLeft),
}

/// Whether a call may leave as one account.
pub(super) enum OwnTurn {
    Send(Ticket),
    /// Ask again after this.
    Wait(Duration),
    /// The calls of the day are used up.
    UsedUp,
    /// The account rests.
    Resting(Rest),
}

/// In the place of the gateway's digest: none is equal to it, so that no refusal keeps a question from being asked.
const ANY_GATEWAY: &str = "any";

impl<'r> Side<'r> {
    pub(super) fn new(
        gateway: &'r Gateway,
        accounts: &'r [Account],
        choice: AccountChoice,
        named: Option<&'r str>,
    ) -> Result<Self> {
        let shared = Http::new(gateway, None)?;
        let http = |account: &Account| match &account.proxy {
            Some(proxy) => Http::new(gateway, Some(proxy)),
            None => Ok(shared.clone()),
        };
        let known = accounts.iter().map(|account| (account.name.clone(), account.calls_per_day));
        Ok(Self {
            gateway,
            named,
            accounts,
            judge: Judge::new(gateway),
            budget: Budget::new(&gateway.limits),
            https: accounts.iter().map(http).collect::<Result<_>>()?,
            prints: accounts.iter().map(|account| Fingerprint::new(gateway, account)).collect(),
            live: Mutex::new(Live {
                accounts: Accounts::new(choice, known),
                skew: Skew::default(),
                outage: Outage::new(&gateway.limits),
                lead: Lead::default(),
                sent: vec![VecDeque::new(); accounts.len()],
                unconnected: vec![0; accounts.len()],
            }),
        })
    }

    pub(super) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn http(&self, account: usize) -> &Http {
        &self.https[account]
    }

    pub(super) fn endpoint(&self, name: &str) -> Option<&'r Endpoint> {
        self.gateway.endpoints.get(name)
    }

    /// What the quota counts a call by.
    pub(super) fn scope(&self, endpoint: &str, shop_id: Option<&str>) -> String {
        price::scope(self.gateway, endpoint, shop_id)
    }

    /// Who an account is, for the store.
    pub(super) fn print(&self, account: usize) -> &Fingerprint {
        &self.prints[account]
    }

    /// How long the store takes to answer, where it is far away.
    pub(super) fn lead(&self) -> Duration {
        self.live().lead.get()
    }

    /// Asks the store.
    async fn reserve(&self, ledger: Ledger<'_>, ask: Ask<'_>) -> Result<Reserved> {
        let asked = Instant::now();
        let reserved = ledger.state.reserve(&ask).await;
        self.live().lead.took(asked.elapsed());
        reserved
    }

    /// Asks the store for the right to send, account by account.
    pub(super) async fn turn(&self, ledger: Ledger<'_>, asking: Asking<'_>, now: DateTime<Utc>) -> Result<Turn> {
        let day = ledger.day(now);
        let (order, waits) = {
            let mut live = self.live();
            live.accounts.renew(day, ledger.now());
            (live.accounts.order(asking), live.accounts.waits())
        };
        let mut earliest: Option<Duration> = None;
        for account in order {
            let ask = self.ask(ledger, account, asking, now);
            // Those that were counted: an answer may tell of another day while the store is asked.
            let days = (ask.day, ask.gateway_day);
            match self.reserve(ledger, ask).await? {
                Reserved::Granted { at, place, used } => {
                    let ticket = Ticket::new(account, asking, days, now, (ledger.until(at), place));
                    let mark = self.live().accounts.counted(account, asking.scope, used);
                    let mark = match mark {
                        Some(mark) if self.was_told(ledger, account, asking.scope, (ticket.day, mark)).await? => None,
                        mark => mark,
                    };
                    return Ok(Turn::Send(Ticket { mark, ..ticket }));
                }
                Reserved::Wait { from, to } => {
                    let wait = ledger.again(from, to);
                    earliest = Some(earliest.map_or(wait, |earliest| earliest.min(wait)));
                    if waits {
                        break;
                    }
                }
                Reserved::UsedUp { used } => {
                    let _ = self.live().accounts.close(account, asking.scope, Closed::UsedUp { used });
                }
                Reserved::Resting(Resting { scope, rest, .. }) => {
                    let _ = self.live().accounts.close(account, &scope, Closed::Resting(rest));
                }
            }
        }
        Ok(match earliest {
            Some(wait) => Turn::Wait(wait.max(Duration::from_millis(1))),
            None => Turn::NoneLeft(self.live().accounts.none_left(asking)),
        })
    }

    /// Whether this pipeline has said today that an account has used so much of its calls.
    async fn was_told(
        &self,
        ledger: Ledger<'_>,
        account: usize,
        scope: &str,
        (day, mark): (NaiveDate, Mark),
    ) -> Result<bool> {
        let about = (self.accounts[account].key.as_str(), scope);
        let told = Mark::told(mark.percent, mark.limit, about, (day, ledger.holder));
        Ok(ledger.state.cached(&told, ledger.now()).await?.is_some())
    }

    /// As [`Side::turn`], as this account alone and whether or not the gateway has refused it before.
    pub(super) async fn turn_as(
        &self,
        ledger: Ledger<'_>,
        account: usize,
        asking: Asking<'_>,
        now: DateTime<Utc>,
    ) -> Result<OwnTurn> {
        let ask = Ask { gateway: ANY_GATEWAY, ..self.ask(ledger, account, asking, now) };
        let days = (ask.day, ask.gateway_day);
        Ok(match self.reserve(ledger, ask).await? {
            Reserved::Granted { at, place, .. } => {
                OwnTurn::Send(Ticket::new(account, asking, days, now, (ledger.until(at), place)))
            }
            Reserved::Wait { from, to } => OwnTurn::Wait(ledger.again(from, to)),
            Reserved::UsedUp { .. } => OwnTurn::UsedUp,
            Reserved::Resting(resting) => OwnTurn::Resting(resting.rest),
        })
    }

    /// How long a ticket must still wait for its moment; `None`: it is now. Where it has passed, another one is asked for.
    pub(super) async fn on_time(
        &self,
        ledger: Ledger<'_>,
        ticket: &mut Ticket,
        now: DateTime<Utc>,
    ) -> Result<Option<Duration>> {
        let wait = ticket.leaves_at.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            return Ok(Some(wait));
        }
        let paced = self.bounds(ticket.account).calls_per_second.is_some();
        if !paced || ticket.leaves_at.elapsed() <= LATE || ticket.missed >= PLACES_MAX {
            return Ok(None);
        }
        let ask = Ask { held: Some(ticket.place), ..self.ask(ledger, ticket.account, ticket.asking(), now) };
        let wait = match self.reserve(ledger, ask).await? {
            Reserved::Wait { from, to } => return Ok(Some(ledger.again(from, to))),
            Reserved::Granted { at, place, .. } => {
                // Another one where the lease of its own has ended.
                ticket.place = place;
                ledger.until(at)
            }
            // A rest that began meanwhile does not call back what was granted.
            _ => Duration::ZERO,
        };
        // What counts are moments that were missed, not those that others had.
        ticket.missed += 1;
        ticket.leaves_at = Instant::now() + wait;
        Ok(Some(wait))
    }

    /// Takes note that a call leaves now, or says how long it must still wait. A reservation tells when a call may leave;
    /// how long the way from there to the wire takes is known only here, and must not push two calls together.
    ///
    /// # Errors
    /// The time to wait; nothing was noted then.
    pub(super) fn leave(&self, ticket: &mut Ticket, now: Instant) -> std::result::Result<(), Duration> {
        let account = ticket.account;
        let Some(rate) = self.bounds(account).calls_per_second else { return Ok(()) };
        // A window holds whole calls: 2.5 a second are 2; 0.5 a second are 1 in two.
        let (calls, window) = if rate >= 1.0 { (rate.floor(), 1.0) } else { (1.0, 1.0 / rate) };
        let mut live = self.live();
        let Some(sent) = live.sent.get_mut(account) else { return Ok(()) };
        if sent.len() as f64 >= calls {
            let free_at = sent.front().map_or(now, |first| *first + seconds(window) + WINDOW_MARGIN);
            if now < free_at {
                return Err(free_at - now);
            }
            sent.pop_front();
        }
        sent.push_back(now);
        ticket.left = Some(now);
        Ok(())
    }

    /// Takes back that a call left: its connection had to be opened first, and the call waits for another moment.
    pub(super) fn has_not_left(&self, ticket: &mut Ticket) {
        let Some(left) = ticket.left.take() else { return };
        if let Some(sent) = self.live().sent.get_mut(ticket.account)
            && let Some(place) = sent.iter().rposition(|other| *other == left)
        {
            sent.remove(place);
        }
    }

    /// Whether a ticket was granted on another day than this one: it counts for a day that is over.
    pub(super) fn is_of_another_day(&self, ledger: Ledger<'_>, ticket: &Ticket, now: DateTime<Utc>) -> bool {
        ledger.day(now) != ticket.day
    }

    /// Counts a call that leaves on another day than the one it was granted for; what it was counted for stays counted. Gives
    /// how long it must still wait.
    ///
    /// Where nothing is left of the new day the call leaves all the same: it was granted.
    pub(super) async fn count_anew(
        &self,
        ledger: Ledger<'_>,
        ticket: &mut Ticket,
        now: DateTime<Utc>,
    ) -> Result<Duration> {
        self.settle(ledger, ticket, Duration::ZERO, Feedback::None).await?;
        let ask = self.ask(ledger, ticket.account, ticket.asking(), now);
        let days = (ask.day, ask.gateway_day);
        let wait = match self.reserve(ledger, ask).await? {
            Reserved::Wait { from, to } => return Ok(ledger.again(from, to)),
            Reserved::Granted { at, place, .. } => {
                (ticket.place, ticket.asked_at) = (place, now);
                ledger.until(at)
            }
            Reserved::UsedUp { .. } | Reserved::Resting(_) => Duration::ZERO,
        };
        (ticket.day, ticket.gateway_day) = days;
        ticket.leaves_at = Instant::now() + wait;
        Ok(wait)
    }

    /// Gives the ticket's place in flight back, to rest for `rest`.
    pub(super) async fn settle(
        &self,
        ledger: Ledger<'_>,
        ticket: &Ticket,
        rest: Duration,
        feedback: Feedback,
    ) -> Result<()> {
        let to = self.gateway_day(ticket.asked_at);
        let moved = Moved { scope: &ticket.scope, from: ticket.gateway_day, to };
        let now = ledger.now();
        let settle = Settle {
            account: &self.accounts[ticket.account].key,
            bounds: self.bounds(ticket.account),
            holder: ledger.holder,
            place: ticket.place,
            now,
            free_at: now + TimeDelta::from_std(rest).unwrap_or_default(),
            feedback,
            moved: (moved.from != moved.to).then_some(moved),
        };
        ledger.state.settle(&settle).await
    }

    /// Lets an account rest, here and in the store; whether this run did not know it yet.
    pub(super) async fn rest(&self, ledger: Ledger<'_>, account: usize, scope: &str, rest: Rest) -> Result<bool> {
        // Before the store knows it: whoever finds it there says nothing of it.
        let was_open = self.live().accounts.close(account, scope, Closed::Resting(rest.clone()));
        self.say_rest(ledger, account, scope, rest).await?;
        Ok(was_open)
    }

    /// Says in the store that an account rests, or no longer does.
    pub(super) async fn say_rest(&self, ledger: Ledger<'_>, account: usize, scope: &str, rest: Rest) -> Result<()> {
        let Fingerprint { gateway, credentials } = self.prints[account].clone();
        let resting = Resting { scope: scope.to_owned(), gateway, credentials, rest };
        ledger.state.rest(&self.accounts[account].key, &resting).await
    }

    /// What an account may use.
    pub(super) fn bounds(&self, account: usize) -> Bounds {
        let (limits, account) = (&self.gateway.limits, &self.accounts[account]);
        let pace = [limits.calls_per_second, account.calls_per_second].into_iter().flatten();
        Bounds {
            calls_per_day: account.calls_per_day,
            calls_per_second: pace.reduce(f64::min),
            calls_in_flight: limits.calls_in_flight.max(1),
            lease: seconds(limits.connect_seconds) + seconds(limits.read_seconds) + Duration::from_secs(5),
        }
    }

    /// The Beijing day by the gateway's clock.
    fn gateway_day(&self, now: DateTime<Utc>) -> NaiveDate {
        beijing_day(self.live().skew.dated(now))
    }

    /// A new call; `now` is by this machine's clock.
    fn ask<'a>(&'a self, ledger: Ledger<'a>, account: usize, asking: Asking<'a>, now: DateTime<Utc>) -> Ask<'a> {
        let Fingerprint { gateway, credentials } = &self.prints[account];
        let (bounds, clock) = (self.bounds(account), ledger.state.clock());
        // Without a rate every moment is as good as any.
        let lead = if bounds.calls_per_second.is_some() { self.lead() } else { Duration::ZERO };
        Ask {
            account: &self.accounts[account].key,
            gateway,
            credentials,
            endpoint: asking.endpoint,
            scope: asking.scope,
            run: ledger.run,
            day: ledger.day(now),
            gateway_day: self.gateway_day(now),
            now: clock.now,
            unsure: clock.unsure,
            lead: TimeDelta::from_std(lead).unwrap_or_default(),
            bounds,
            holder: ledger.holder,
            held: None,
        }
    }
}

impl Ticket {
    /// A ticket for a moment so far ahead, with its place; the days are the store's and the gateway's.
    fn new(
        account: usize,
        asking: Asking<'_>,
        (day, gateway_day): (NaiveDate, NaiveDate),
        asked_at: DateTime<Utc>,
        (ahead, place): (Duration, u32),
    ) -> Self {
        Self {
            account,
            scope: asking.scope.to_owned(),
            endpoint: asking.endpoint.to_owned(),
            day,
            gateway_day,
            asked_at,
            leaves_at: Instant::now() + ahead,
            waited: Duration::ZERO,
            place,
            missed: 0,
            left: None,
            mark: None,
        }
    }

    pub(super) fn asking(&self) -> Asking<'_> {
        Asking { scope: &self.scope, endpoint: &self.endpoint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::testing;

    proptest::proptest! {
        #[test]
        fn no_closed_second_sees_more_calls_leave_than_allowed_however_late_they_come(
            rate in 1..20_u32,
            delays in proptest::collection::vec((0..150_u64, proptest::prelude::any::<bool>()), 1..120),
        ) {
            let mut gateway = testing::gateway("http://localhost/");
            gateway.limits.calls_per_second = Some(f64::from(rate));
            let accounts = [testing::account("a")];
            let side = Side::new(&gateway, &accounts, AccountChoice::Drain, None).unwrap();
            let start = Instant::now();
            let (mut due, mut left): (Instant, Vec<Instant>) = (start, Vec::new());
            let asking = Asking { scope: "all", endpoint: "listing" };
            let ticket = || Ticket::new(0, asking, Default::default(), DateTime::UNIX_EPOCH, (Duration::ZERO, 0));
            for (delay, has_to_connect) in delays {
                // Granted evenly, on the wire up to 150 ms later.
                due += seconds(1.015 / f64::from(rate));
                let mut now = due + Duration::from_millis(delay);
                now = left.last().map_or(now, |last| now.max(*last));
                let mut ticket = ticket();
                let leave = |ticket: &mut Ticket, now: &mut Instant| {
                    if let Err(wait) = side.leave(ticket, *now) {
                        *now += wait;
                        assert_eq!(side.leave(ticket, *now), Ok(()));
                    }
                };
                leave(&mut ticket, &mut now);
                if has_to_connect {
                    now += Duration::from_millis(5 * delay);
                    side.has_not_left(&mut ticket);
                    leave(&mut ticket, &mut now);
                }
                left.push(now);
            }
            for (index, first) in left.iter().enumerate() {
                let held = left[index..].iter().filter(|at| **at - *first <= Duration::from_secs(1)).count();
                assert!(held <= rate as usize, "{held} calls in one second at rate {rate}");
            }
        }
    }
}
