//! When an access token is renewed, and as what that counts: a call like any other. It has a ticket, a place in the
//! rhythm and in flight, a record and a row in `calls`; only its answer is kept nowhere.
//!
//! A call that is granted a ticket as an account whose token is due spends the ticket on the token and asks for another.
//!
//! Invariant: calls that need a token together ask for one, not for one each, and share what came of it; what is landed
//! of the answer is what it was judged to be.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::base::Result;
use crate::config::gateway::{ErrorClass, TOKEN};
use crate::state::Feedback;

use super::after::feedback_of;
use super::call::{Caller, Errand};
use super::judge::{Fault, GOOD};
use super::rests::{self, Extent};
use super::retry::{Next, Spent};
use super::side::{Side, Ticket};
use super::tokens::{self, Tokens, Trouble};
use super::{Attempt, Record, pace};

/// How a call has asked for a token so far.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    /// The account whose token this call has just renewed, and its generation: it is used, however short it lives.
    got: Option<(usize, u64)>,
    /// Accounts whose tokens were refused or renewed: the next refusal counts.
    pub(super) seen_to: Vec<usize>,
}

impl<'r> Caller<'r> {
    /// The ticket, if its account may ask with the token that it has. `None`: the ticket was spent on a new token, or
    /// given back because the account rests, its day is over or the run is halted.
    ///
    /// # Errors
    /// `Denied` when the gateway gives no token and no other account may ask, `Config` when its address is wrong or it
    /// refuses a parameter, `Unavailable` when it does not answer; whatever the sink or the state store fails with.
    pub(super) async fn with_token(&self, errand: &mut Errand<'_, 'r>, ticket: Ticket) -> Result<Option<Ticket>> {
        let (side, place) = (errand.side, ticket.account);
        let account = &side.accounts[place];
        let generation = || self.tokens.generation(side.gateway, account);
        let got = errand.renewal.got;
        let is_due = || self.tokens.is_due(side.gateway, account) && got != Some((place, generation()));
        loop {
            if !is_due() {
                return Ok(Some(ticket));
            }
            let turn = self.tokens.turn().await;
            if !is_due() {
                return Ok(Some(ticket));
            }
            let now = self.job.clock.now();
            let is_closed = || !side.live().accounts.order(ticket.asking()).contains(&place);
            if self.halt.is_cancelled() || side.is_of_another_day(self.ledger, &ticket, now) || is_closed() {
                side.settle(self.ledger, &ticket, Duration::ZERO, Feedback::None).await?;
                return Ok(None);
            }
            let trouble = self.tokens.trouble(side.gateway, account);
            match trouble.as_ref().map(|trouble| (trouble.again_at, &trouble.fault)) {
                Some((None, fault)) => {
                    side.settle(self.ledger, &ticket, Duration::ZERO, Feedback::None).await?;
                    return Err(tokens::refusal(side.gateway, account, fault));
                }
                Some((Some(again_at), _)) if again_at > Instant::now() => {
                    drop(turn);
                    self.sleep(again_at.saturating_duration_since(Instant::now())).await;
                }
                _ => return self.renew(errand, ticket, trouble).await,
            }
        }
    }

    /// Spends a ticket on a new token.
    async fn renew(
        &self,
        errand: &mut Errand<'_, 'r>,
        mut ticket: Ticket,
        trouble: Option<Trouble>,
    ) -> Result<Option<Ticket>> {
        let (side, place) = (errand.side, ticket.account);
        let (tries, first) = trouble.map_or_else(|| (1, Instant::now()), |trouble| (trouble.tries + 1, trouble.first));
        let Err(fault) = self.ask_for_token(side, &mut ticket, tries).await? else {
            errand.renewal.got = Some((place, self.tokens.generation(side.gateway, &side.accounts[place])));
            if let Some(token) = &side.gateway.token {
                self.lock().tally.found(side.gateway, &token.endpoint);
            }
            errand.renewal.seen_to.push(place);
            return Ok(None);
        };
        self.without_token(errand, &ticket, fault, (tries, first)).await
    }

    /// What follows a renewal that failed: the account rests, or its token is asked for again after a while.
    async fn without_token(
        &self,
        errand: &Errand<'_, 'r>,
        ticket: &Ticket,
        fault: Fault,
        (tries, first): (u32, Instant),
    ) -> Result<Option<Ticket>> {
        let (side, account) = (errand.side, &errand.side.accounts[ticket.account]);
        let refusal = tokens::refusal(side.gateway, account, &fault);
        let now = self.ledger.now();
        if fault.class == ErrorClass::Auth {
            let others = side.live().accounts.has_other(ticket.account, ticket.asking());
            let todo = refusal.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            let rest = rests::denied(format!("{refusal}{todo}"), now);
            self.rest(errand, ticket, rest, Extent::Everything).await?;
            return if others { Ok(None) } else { Err(refusal) };
        }
        // Without a token it may ask nothing, whatever its calls are counted by.
        if let Some((rest, _)) = rests::rest(side.gateway, &fault, now) {
            self.rest(errand, ticket, rest, Extent::Everything).await?;
            return Ok(None);
        }
        let next = {
            let shared = &mut *self.lock();
            let asked = side.gateway.token.as_ref().map(|token| &token.endpoint).filter(|_| fault.elsewhere);
            let spent = Spent { attempts: tries, elapsed: first.elapsed() };
            match asked.is_some_and(|asked| shared.tally.is_elsewhere(side.gateway, asked)) {
                true => Next::GiveUp,
                false => side.budget.next(spent, fault.class, fault.wait, &mut shared.dice),
            }
        };
        let wait = match next {
            Next::Again(wait) => Some(wait),
            Next::GiveUp => None,
        };
        let again_at = wait.map(|wait| Instant::now() + wait);
        self.tokens.failed(side.gateway, account, Trouble { tries, first, again_at, fault });
        let Some(wait) = wait else { return Err(refusal) };
        // Whether it slept or was halted, the call hears of it when it asks for its next ticket.
        self.sleep(wait).await;
        Ok(None)
    }

    /// Asks for a new token, once.
    ///
    /// # Errors
    /// `Config` when the call cannot be built; whatever the sink or the state store fails with. That the gateway gives no
    /// token is the inner error.
    pub(super) async fn ask_for_token(
        &self,
        side: &Side<'r>,
        ticket: &mut Ticket,
        tries: u32,
    ) -> Result<std::result::Result<(), Fault>> {
        let account = &side.accounts[ticket.account];
        self.leave(side, ticket).await?;
        let now = side.live().skew.correct(self.job.clock.now());
        let request = Tokens::request(side.gateway, account, now)?;
        let sent = self.send(side, ticket, request, tries).await?;
        let record = self.record(side, ticket, &sent);
        let taken = self.tokens.take((side.gateway, &side.judge), account, &record, &sent.exchange.body);
        let taken = taken.map_err(|fault| self.discreet(fault));
        let class = taken.as_ref().err().map(|fault| fault.class);
        let judged = Some(class.map_or(GOOD, ErrorClass::name).to_owned());
        let feedback = feedback_of(class, sent.left_at);
        let record = Record { endpoint: TOKEN.to_owned(), judged, body_bytes: 0, ..record };
        self.job.sink.land(Attempt { record, body: Bytes::new() }).await?;
        let rest = pace::rest(&side.gateway.limits.pause, class);
        side.settle(self.ledger, ticket, rest, feedback).await?;
        Ok(taken)
    }
}
