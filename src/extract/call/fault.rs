//! What follows a fault: another try after a wait, another account, a new token, or the end of the call or of the run.

use std::time::Duration;

use chrono::TimeDelta;

use crate::base::Result;
use crate::config::gateway::ErrorClass;
use crate::extract::accounts;
use crate::extract::facts::Note;
use crate::extract::judge::Fault;
use crate::extract::progress::Event;
use crate::extract::record::Record;
use crate::extract::retry::{Next, Spent, WAIT_MAX};
use crate::extract::schedule::{Outcome, Task};
use crate::extract::side::Ticket;
use crate::extract::tokens::Tokens;
use crate::extract::words::{denied, describe, gave_up, outage, redirected, refused_parameter};
use crate::state::{Feedback, Rest};

use super::{Caller, Errand, Shared, Tried};

/// A page of a span that can be halved is not asked for again after so many time-outs.
const HALVED_AFTER: u32 = 2;
/// A smaller change of the clock's offset does not explain a refused signature.
pub(in crate::extract) const SIGNED_WRONG: TimeDelta = TimeDelta::seconds(5);

/// What follows an attempt.
pub(super) enum Step {
    Done(Result<Outcome>),
    Again(Duration),
    /// This account rests (`true`: in all scopes); another one may try.
    Rest(Rest, bool),
    /// The access token is renewed first.
    Renew,
}

impl Errand<'_, '_> {
    /// Whether a smaller span of time can be asked for instead.
    fn can_be_halved(&self) -> bool {
        self.endpoint.window.as_ref().is_some_and(|window| window.end.is_some())
    }
}

/// Another try, while the call's budget lasts.
fn again_or_not(errand: &Errand<'_, '_>, record: &Record, fault: &Fault, spent: Spent, shared: &mut Shared) -> Step {
    let timed_out = record.transport_error.as_deref().is_some_and(|error| error.starts_with("timed out"));
    let next = match errand.task {
        // A smaller span may be answered: the cover decides, not patience.
        Task::Page { .. } if timed_out && errand.can_be_halved() && spent.attempts >= HALVED_AFTER => Next::GiveUp,
        _ => errand.side.budget.next(spent, fault.class, fault.wait, &mut shared.dice),
    };
    match next {
        Next::Again(wait) => Step::Again(wait),
        Next::GiveUp => {
            let reason = gave_up(fault, spent);
            shared.tally.last_failure = Some(reason.clone());
            Step::Done(Ok(if timed_out { Outcome::TimedOut(reason) } else { Outcome::Failed(reason) }))
        }
    }
}

impl Caller<'_> {
    /// What the fault of an attempt means for its call, the account and the run.
    pub(super) fn after_fault(&self, errand: &Errand<'_, '_>, tried: &Tried, fault: &Fault, spent: Spent) -> Step {
        let (record, side) = (&tried.kept.record, errand.side);
        let shared = &mut *self.lock();
        let live = &mut *side.live();
        tracing::debug!(endpoint = record.endpoint, class = fault.class.name(), reason = fault.message, "fault");
        let now = self.job.clock.now() + self.ledger.offset;
        match fault.class {
            // Longer waits are bans: another account may ask, and the next start waits until the end.
            ErrorClass::Throttle if fault.wait.is_some_and(|wait| wait > WAIT_MAX) => {
                shared.tally.throttles += 1;
                Step::Rest(side.quota_rest(fault, describe(fault), now), false)
            }
            ErrorClass::Retry | ErrorClass::Throttle => {
                if fault.class == ErrorClass::Throttle {
                    shared.tally.throttles += 1;
                }
                if let Some(failures) = live.outage.failed() {
                    return Step::Done(Err(outage(side.gateway, fault, failures)));
                }
                again_or_not(errand, record, fault, spent, shared)
            }
            ErrorClass::Quota => Step::Rest(side.quota_rest(fault, describe(fault), now), false),
            // Signed with a wrong time, and this answer's `Date` has just shown the right one. Gateways say so in many
            // ways: a bad signature, a bad parameter, a code that no definition lists.
            ErrorClass::Auth | ErrorClass::Param | ErrorClass::Item
                if spent.attempts < side.budget.attempts_max
                    && (live.skew.offset() - tried.offset).abs() > SIGNED_WRONG =>
            {
                Step::Again(Duration::ZERO)
            }
            ErrorClass::Auth
                if !errand.renewed && Tokens::renews(side.gateway, &side.accounts[tried.ticket.account]) =>
            {
                Step::Renew
            }
            ErrorClass::Auth if live.accounts.has_other(tried.ticket.account, &tried.ticket.scope) => {
                Step::Rest(side.denied_rest(describe(fault), now), true)
            }
            ErrorClass::Auth => Step::Done(Err(denied(side.gateway, record, fault))),
            ErrorClass::Param if record.redirects() && shared.tally.good > 0 => {
                Step::Done(Ok(Outcome::Failed(describe(fault))))
            }
            ErrorClass::Param if record.redirects() => Step::Done(Err(redirected(side.gateway, record, fault))),
            ErrorClass::Param => Step::Done(Err(refused_parameter(side.gateway, record, fault))),
            ErrorClass::Item | ErrorClass::Gone => {
                live.outage.answered();
                Step::Done(Ok(Outcome::Refused(describe(fault))))
            }
        }
    }

    /// An account rests; the next one may ask.
    pub(super) async fn rest(&self, errand: &Errand<'_, '_>, ticket: &Ticket, rest: Rest, whole: bool) -> Result<()> {
        let account = &errand.side.accounts[ticket.account].name;
        let words = accounts::describe(&rest);
        let note = if whole {
            Note::Denied { account: account.clone(), reason: rest.reason.clone() }
        } else {
            Note::Blocked { account: account.clone(), reason: words.clone() }
        };
        let scope = if whole { "" } else { ticket.scope.as_str() };
        // The calls that were in flight with it hear the same.
        if errand.side.rest(self.ledger, ticket.account, scope, rest).await? {
            self.job.progress.on(Event::Warning(&format!("account `{account}` is {words}")));
            self.note(note);
        }
        Ok(())
    }

    /// Passes an outcome on; the account that the gateway refused rests, so that no other process tries it.
    pub(super) async fn refused(
        &self,
        errand: &Errand<'_, '_>,
        tried: &Tried,
        fault: Option<&Fault>,
        outcome: Result<Outcome>,
    ) -> Result<Outcome> {
        if let (Some(fault), Err(error)) = (fault, &outcome)
            && fault.class == ErrorClass::Auth
        {
            let now = self.job.clock.now() + self.ledger.offset;
            let rest = errand.side.denied_rest(describe(fault), now);
            self.note(Note::Denied { account: tried.kept.record.account.clone(), reason: error.to_string() });
            errand.side.rest(self.ledger, tried.ticket.account, "", rest).await?;
        }
        outcome
    }
}

/// What the ledger is told of an attempt.
pub(in crate::extract) fn feedback(fault: Option<&Fault>, tried: &Tried) -> Feedback {
    match fault {
        None => Feedback::Good,
        Some(fault) if fault.class == ErrorClass::Throttle => Feedback::Throttled { sent_at: tried.sent_at },
        Some(_) => Feedback::None,
    }
}
