//! When an access token is renewed, and as what that counts: a call like any other. It has a ticket, a place in the
//! rhythm and in flight, a record and a row in `calls`; only its answer is kept nowhere.
//!
//! A call that is granted a ticket as an account whose token is due spends the ticket on the token and asks for another.
//!
//! Invariant: calls that need a token together ask for one, not for one each; what is landed of the answer is what it was
//! judged to be.

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
use super::tokens::{self, Tokens};
use super::{Attempt, Record, pace};

/// How a call has asked for a token so far.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    /// Tries in a row, and when the first of them was made.
    tries: Option<(u32, Instant)>,
    /// The account whose token this call has just renewed, and its generation: it is used, however short it lives.
    got: Option<(usize, u64)>,
    /// Accounts whose tokens were refused or renewed: the next refusal counts.
    pub(super) seen_to: Vec<usize>,
}

impl<'r> Caller<'r> {
    /// The ticket, if its account may ask with the token that it has. `None`: the ticket was spent on a new token, or
    /// given back because the account rests or the run is halted.
    ///
    /// # Errors
    /// `Denied` when the gateway gives no token and no other account may ask, `Config` when its address is wrong,
    /// `Unavailable` when it does not answer; whatever the sink or the state store fails with.
    pub(super) async fn with_token(&self, errand: &mut Errand<'_, 'r>, mut ticket: Ticket) -> Result<Option<Ticket>> {
        let (side, place) = (errand.side, ticket.account);
        let account = &side.accounts[place];
        let generation = || self.tokens.generation(side.gateway, account);
        let got = errand.renewal.got;
        let is_due = || self.tokens.is_due(side.gateway, account) && got != Some((place, generation()));
        if !is_due() {
            return Ok(Some(ticket));
        }
        let _turn = self.tokens.turn().await;
        if !is_due() {
            return Ok(Some(ticket));
        }
        if self.halt.is_cancelled() || !side.live().accounts.order(ticket.asking()).contains(&place) {
            side.settle(self.ledger, &ticket, Duration::ZERO, Feedback::None).await?;
            return Ok(None);
        }
        let asked = side.gateway.token.as_ref().map(|token| &token.endpoint);
        let (tries, first) = errand.renewal.tries.unwrap_or((0, Instant::now()));
        let Err(fault) = self.ask_for_token(side, &mut ticket, tries + 1).await? else {
            (errand.renewal.tries, errand.renewal.got) = (None, Some((place, generation())));
            if let Some(asked) = asked {
                self.lock().tally.found(side.gateway, asked);
            }
            errand.renewal.seen_to.push(place);
            return Ok(None);
        };
        errand.renewal.tries = Some((tries + 1, first));
        let refusal = tokens::refusal(side.gateway, account, &fault);
        if fault.class == ErrorClass::Auth {
            let others = side.live().accounts.has_other(place, ticket.asking());
            let rest = rests::denied(refusal.to_string(), self.ledger.now());
            self.rest(errand, &ticket, rest, Extent::Everything).await?;
            return if others { Ok(None) } else { Err(refusal) };
        }
        // Without a token it may ask nothing, whatever its calls are counted by.
        let rests = rests::rest(side.gateway, &fault, self.ledger.now());
        if let Some((rest, _)) = rests {
            self.rest(errand, &ticket, rest, Extent::Everything).await?;
            return Ok(None);
        }
        if fault.elsewhere && asked.is_some_and(|asked| self.lock().tally.is_elsewhere(side.gateway, asked)) {
            return Err(refusal);
        }
        let spent = Spent { attempts: tries + 1, elapsed: first.elapsed() };
        let next = side.budget.next(spent, fault.class, fault.wait, &mut self.lock().dice);
        let Next::Again(wait) = next else { return Err(refusal) };
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
        let taken = self.tokens.take(side.gateway, account, &sent.exchange, sent.received_at);
        let taken = taken.map_err(|fault| self.discreet(fault));
        let class = taken.as_ref().err().map(|fault| fault.class);
        let judged = Some(class.map_or(GOOD, ErrorClass::name).to_owned());
        let feedback = feedback_of(class, sent.left_at);
        let record = Record { endpoint: TOKEN.to_owned(), judged, body_bytes: 0, ..self.record(side, ticket, &sent) };
        self.job.sink.land(Attempt { record, body: Bytes::new() }).await?;
        let rest = pace::rest(&side.gateway.limits.pause, class);
        side.settle(self.ledger, ticket, rest, feedback).await?;
        Ok(taken)
    }
}
