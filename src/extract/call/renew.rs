//! Access tokens: renewed before they end, or when a call is refused for want of one.
//!
//! Invariant: one renewal at a time, and no token in what lands.

use crate::base::secret::Mask;
use crate::base::{Kind, Result};
use crate::config::gateway::ErrorClass;
use crate::extract::Attempt;
use crate::extract::retry::{Next, Spent};
use crate::extract::side::{Side, Ticket};

use super::{Caller, Errand};

impl<'r> Caller<'r> {
    /// Renewed tokens are secrets that the sink does not know.
    pub(super) fn without_tokens(&self, mut attempt: Attempt) -> Attempt {
        let secrets = self.tokens.secrets();
        if !secrets.is_empty()
            && let Some(masked) = Mask::new(secrets).bytes(&attempt.body)
        {
            attempt.body = masked.into();
            attempt.record.redacted = true;
        }
        attempt
    }

    /// Sees to a token that holds; whether the account may ask.
    pub(super) async fn renew_if_due(&self, errand: &Errand<'_, 'r>, ticket: &Ticket) -> Result<bool> {
        let (gateway, account) = (errand.side.gateway, &errand.side.accounts[ticket.account]);
        if !self.tokens.is_due(gateway, account) {
            return Ok(true);
        }
        self.renew(errand, ticket, self.tokens.generation(gateway, account)).await
    }

    /// Renews an account's token, unless another call has done so since the token of `generation` was used. Whether the
    /// account may ask: one whose renewal is refused rests where another one may.
    pub(super) async fn renew(&self, errand: &Errand<'_, 'r>, ticket: &Ticket, generation: u64) -> Result<bool> {
        let (side, account) = (errand.side, ticket.account);
        let _turn = self.tokens.turn().await;
        if self.tokens.generation(side.gateway, &side.accounts[account]) > generation {
            return Ok(true);
        }
        if !side.live().accounts.order(&ticket.scope).contains(&account) {
            return Ok(false);
        }
        match self.renew_now(side, account).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == Kind::Denied => {
                let others = side.live().accounts.has_other(account, &ticket.scope);
                let rest = side.denied_rest(error.to_string(), self.job.clock.now() + self.ledger.offset);
                self.rest(errand, ticket, rest, true).await?;
                if others { Ok(false) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }

    pub(in crate::extract) async fn renew_now(&self, side: &Side<'r>, account: usize) -> Result<()> {
        let first = tokio::time::Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let now = side.live().skew.correct(self.job.clock.now());
            let renewed = self.tokens.renew(side.gateway, &side.accounts[account], side.http(account), now).await;
            let Err(error) = renewed else { return Ok(()) };
            let spent = Spent { attempts, elapsed: first.elapsed() };
            let next = side.budget.next(spent, ErrorClass::Retry, None, &mut self.lock().dice);
            match next {
                Next::Again(wait) if error.kind() == Kind::Unavailable && self.sleep(wait).await => {}
                _ => return Err(error),
            }
        }
    }
}
