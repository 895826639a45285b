//! What follows an attempt: its call is over, is made again, or left to another account.
//!
//! Takes what an answer was judged to be; says what the call does next, and lets accounts rest.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::base::Result;
use crate::config::gateway::ErrorClass;
use crate::state::{Feedback, Rest, RestKind};

use super::accounts::Closed;
use super::call::{Caller, Errand};
use super::facts::Note;
use super::judge::Fault;
use super::progress::Event;
use super::rests::{self, Extent};
use super::retry::{Next, Spent};
use super::schedule::{Outcome, Task};
use super::send::Tried;
use super::side::Ticket;
use super::tokens::Tokens;
use super::words::{self, describe, gave_up};

/// After so many connections that failed in a row an account with a proxy of its own leaves the calls to others.
const UNCONNECTED_MAX: u32 = 4;
/// A page of a span that can be halved is not asked for again when it takes too long after so many attempts.
pub(super) const HALVED_AFTER: u32 = 2;

/// What follows an attempt.
pub(super) enum Step {
    Done(Result<Outcome>),
    Again(Duration),
    /// This account rests; another one may try.
    Rest(Rest, Extent),
    /// Nobody gets through on this account's way, for this reason: others ask for the rest of the run.
    Leave(String),
    /// The account's access token is refused: another one is asked for first.
    Renew,
}

impl<'r> Caller<'r> {
    /// What a call does after a fault.
    pub(super) fn after_fault(&self, errand: &Errand<'_, 'r>, tried: &Tried, fault: &Fault, spent: Spent) -> Step {
        let (record, side) = (&tried.kept.record, errand.side);
        let shared = &mut *self.lock();
        let live = &mut *side.live();
        tracing::debug!(endpoint = record.endpoint, class = fault.class.name(), reason = fault.message, "fault");
        let unconnected = &mut live.unconnected[tried.ticket.account];
        *unconnected = if record.is_unconnected() { *unconnected + 1 } else { 0 };
        let now = self.ledger.now();
        // The gateway blocks the day that it counted the call on, by its own clock; clocks that differ by seconds are one.
        let apart = (now - self.job.clock.now()) - live.skew.dated_offset();
        let midnight = rests::midnight_after(live.skew.dated(record.sent_at));
        let midnight = if apart.abs() < chrono::TimeDelta::minutes(1) { midnight } else { midnight + apart };
        let rests = rests::rest_of_call(side.gateway, fault, now, midnight);
        if fault.class == ErrorClass::Throttle {
            shared.tally.throttles += 1;
        }
        let account = &side.accounts[tried.ticket.account];
        if account.proxy.is_some() && record.is_barred() {
            let error = words::barred(record, fault);
            return match live.accounts.has_other(tried.ticket.account, tried.ticket.asking()) {
                true => Step::Leave(error.to_string()),
                false => Step::Done(Err(error)),
            };
        }
        match (fault.class, rests) {
            // Another account may ask, and the next start waits until the end.
            (ErrorClass::Retry | ErrorClass::Throttle | ErrorClass::Quota, Some((rest, extent))) => {
                Step::Rest(rest, extent)
            }
            // The way there is this account's own; others go another one.
            (ErrorClass::Retry, None)
                if live.unconnected[tried.ticket.account] >= UNCONNECTED_MAX
                    && account.proxy.is_some()
                    && live.accounts.has_other(tried.ticket.account, tried.ticket.asking()) =>
            {
                Step::Leave(describe(fault))
            }
            (ErrorClass::Retry, None)
                if fault.elsewhere && shared.tally.is_elsewhere(side.gateway, errand.endpoint) =>
            {
                Step::Done(Err(words::elsewhere(side.gateway, record, fault)))
            }
            (ErrorClass::Retry | ErrorClass::Throttle | ErrorClass::Quota, None) => {
                let timed_out = record.timed_out();
                // A smaller span may be answered: the cover decides, not patience. The gateway may be well.
                let is_too_large = timed_out && errand.values.can_be_halved;
                // One bad offer fails its batch, and the halves that hold it.
                let may_be_too_large = is_too_large || shares_calls(errand);
                let outage = if may_be_too_large { live.outage.failed_as_too_large() } else { live.outage.failed() };
                if let Some(failures) = outage {
                    return Step::Done(Err(words::outage(side.gateway, fault, failures)));
                }
                let next = match is_too_large && spent.attempts >= HALVED_AFTER {
                    true => Next::GiveUp,
                    false => side.budget.next(spent, fault.class, fault.wait, &mut shared.dice),
                };
                let others = live.accounts.has_other(tried.ticket.account, tried.ticket.asking());
                match next {
                    Next::Again(wait) => Step::Again(wait),
                    // It may be this account alone whose calls the gateway has had enough of; the next one begins anew.
                    Next::GiveUp if fault.class == ErrorClass::Throttle && others => {
                        live.outage.answered();
                        Step::Leave(gave_up(fault, spent))
                    }
                    Next::GiveUp => {
                        let reason = gave_up(fault, spent);
                        shared.tally.last_failure = Some((reason.clone(), fault.hint.clone()));
                        Step::Done(Ok(if timed_out { Outcome::TimedOut(reason) } else { Outcome::Failed(reason) }))
                    }
                }
            }
            // Signed with a wrong time, and another may be right. Gateways say so in many ways: a bad signature, a bad
            // parameter, a code that no definition lists.
            (ErrorClass::Auth | ErrorClass::Param | ErrorClass::Item, _)
                if !record.redirects()
                    && spent.attempts < side.budget.attempts_max
                    && live.skew.refused(tried.offset) =>
            {
                Step::Again(Duration::ZERO)
            }
            (ErrorClass::Auth, _)
                if !errand.renewal.seen_to.contains(&tried.ticket.account) && Tokens::renews(side.gateway, account) =>
            {
                Step::Renew
            }
            (ErrorClass::Auth, Some((rest, extent)))
                if live.accounts.has_other(tried.ticket.account, tried.ticket.asking()) =>
            {
                Step::Rest(rest, extent)
            }
            (ErrorClass::Auth, _) => Step::Done(Err(words::denied(side.gateway, record, fault))),
            (ErrorClass::Param, _) if record.redirects() && shared.tally.good > 0 => {
                Step::Done(Ok(Outcome::Failed(describe(fault))))
            }
            (ErrorClass::Param, _) if record.redirects() => {
                Step::Done(Err(words::redirected(side.gateway, record, fault)))
            }
            // It may be an offer's id that is refused, and the others of the batch are well.
            (ErrorClass::Param, _)
                if shares_calls(errand)
                    && !shared.tally.is_wrong_parameter(
                        side.gateway,
                        errand.endpoint,
                        errand.values.offer_ids.len() == 1,
                    ) =>
            {
                live.outage.answered();
                Step::Done(Ok(Outcome::Refused(describe(fault))))
            }
            (ErrorClass::Param, _) => Step::Done(Err(words::refused_parameter(side.gateway, record, fault))),
            (ErrorClass::Item | ErrorClass::Gone, _) => {
                live.outage.answered();
                Step::Done(Ok(Outcome::Refused(describe(fault))))
            }
        }
    }

    /// An account leaves its calls to others: only this run knows, for others may get through.
    pub(super) fn left_out(&self, errand: &Errand<'_, 'r>, account: usize, reason: String) {
        let warning =
            format!("account `{}` asks nothing more in this run: {reason}", errand.side.accounts[account].name);
        if errand.side.live().accounts.close(account, "", Closed::Unreached(reason)) {
            self.job.progress.on(Event::Warning(&warning));
        }
    }

    /// An account rests; the next one may ask.
    pub(super) async fn rest(
        &self,
        errand: &Errand<'_, 'r>,
        ticket: &Ticket,
        rest: Rest,
        extent: Extent,
    ) -> Result<()> {
        let account = &errand.side.accounts[ticket.account].name;
        let words = rest.to_string();
        let endpoint = (extent == Extent::Endpoint).then(|| errand.task.endpoint().to_owned());
        let note = match rest.kind {
            RestKind::Denied => {
                Note::Denied { account: account.clone(), endpoint: endpoint.clone(), reason: rest.reason.clone() }
            }
            RestKind::Quota => Note::Blocked { account: account.clone(), reason: words.clone() },
        };
        // The calls that were in flight with it hear the same.
        if errand.side.rest(self.ledger, ticket.account, &extent.scope(ticket.asking()), rest).await? {
            let at = endpoint.map(|endpoint| format!(" at endpoint `{endpoint}`")).unwrap_or_default();
            self.job.progress.on(Event::Warning(&format!("account `{account}`{at} is {words}")));
            self.note(note);
        }
        Ok(())
    }

    /// Passes an outcome on; the account that the gateway refused rests, so that no other process tries it.
    pub(super) async fn refused(
        &self,
        errand: &Errand<'_, 'r>,
        tried: &Tried,
        fault: Option<&Fault>,
        outcome: Result<Outcome>,
    ) -> Result<Outcome> {
        let now = self.ledger.now();
        if let (Some(fault), Err(error)) = (fault, &outcome)
            && fault.class == ErrorClass::Auth
            && let Some((rest, extent)) = rests::rest(errand.side.gateway, fault, now)
        {
            let (account, reason) = (tried.kept.record.account.clone(), error.to_string());
            // The reason names the endpoint.
            self.note(Note::Denied { account, endpoint: None, reason });
            let scope = extent.scope(tried.ticket.asking());
            errand.side.rest(self.ledger, tried.ticket.account, &scope, rest).await?;
        }
        outcome
    }
}

/// Whether a call asks about several offers, or about what is left of those that shared one.
fn shares_calls(errand: &Errand<'_, '_>) -> bool {
    matches!(errand.task, Task::Item { .. }) && errand.endpoint.batch.is_some_and(|batch| batch > 1)
}

pub(super) fn feedback(fault: Option<&Fault>, tried: &Tried) -> Feedback {
    feedback_of(fault.map(|fault| fault.class), tried.sent_at)
}

/// What an answer means for the rhythm; `None`: it is good. `sent_at` is by the store's clock.
pub(super) fn feedback_of(class: Option<ErrorClass>, sent_at: DateTime<Utc>) -> Feedback {
    match class {
        None => Feedback::Good,
        Some(ErrorClass::Throttle) => Feedback::Throttled { sent_at },
        Some(_) => Feedback::None,
    }
}
