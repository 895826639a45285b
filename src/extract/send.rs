//! One attempt: waits until it may leave, signs, sends, lands.
//!
//! Invariant: what is counted as sent has been on the wire, and every attempt is landed, whatever came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::base::Result;
use crate::config::pipeline::Account;

use super::Attempt;
use super::call::{Caller, Errand};
use super::http::{Exchange, Progress};
use super::progress::Event;
use super::record::Record;
use super::request::{self, Call, Request};
use super::side::{Side, Ticket};
use super::skew::Observation;
use super::words;

/// What was sent and what came back.
pub(super) struct Sent {
    /// Without credentials, time and signature.
    identity: BTreeMap<String, String>,
    /// Which try of its call it was.
    number: u32,
    pub(super) exchange: Exchange,
    pub(super) sent_at: DateTime<Utc>,
    pub(super) received_at: DateTime<Utc>,
    /// When it was sent, by the store's clock.
    pub(super) left_at: DateTime<Utc>,
    latency: Duration,
}

/// One attempt as it came back and was kept.
pub(super) struct Tried {
    pub(super) kept: Attempt,
    pub(super) ticket: Ticket,
    /// By the store's clock.
    pub(super) sent_at: DateTime<Utc>,
    /// The offset that the attempt was signed with.
    pub(super) offset: TimeDelta,
    /// How often its access token had been renewed.
    pub(super) token: u64,
}

impl<'r> Caller<'r> {
    /// Builds, sends and lands one attempt.
    pub(super) async fn attempt(&self, errand: &Errand<'_, 'r>, mut ticket: Ticket, number: u32) -> Result<Tried> {
        let (side, values) = (errand.side, errand.values);
        self.leave(side, &mut ticket).await?;
        let skew = side.live().skew;
        let token = self.tokens.generation(side.gateway, &side.accounts[ticket.account]);
        let request = self.build(errand, ticket.account, skew.correct(self.job.clock.now()))?;
        let sent = self.send(side, &mut ticket, request, number).await?;
        let record = Record {
            endpoint: errand.task.endpoint().to_owned(),
            shop_id: values.shop_id.clone(),
            offer_id: values.offer_id,
            sku_id: values.sku_id,
            page: values.page,
            again: errand.task.is_again(),
            ..self.record(side, &ticket, &sent)
        };
        let attempt = self.without_tokens(Attempt { record, body: sent.exchange.body });
        let kept = self.job.sink.land(attempt).await?;
        Ok(Tried { kept, ticket, sent_at: sent.left_at, offset: skew.offset(), token })
    }

    /// Waits until a call may leave now.
    pub(super) async fn leave(&self, side: &Side<'r>, ticket: &mut Ticket) -> Result<()> {
        let asked = tokio::time::Instant::now();
        loop {
            while let Some(wait) = side.on_time(self.ledger, ticket, self.job.clock.now()).await? {
                tokio::time::sleep(wait).await;
            }
            let now = self.job.clock.now();
            if side.is_of_another_day(self.ledger, ticket, now) {
                let wait = side.count_anew(self.ledger, ticket, now).await?;
                tokio::time::sleep(wait).await;
                continue;
            }
            // A wait here may make the call late again.
            match side.leave(ticket, tokio::time::Instant::now()) {
                Ok(()) => {
                    ticket.waited += asked.elapsed();
                    return Ok(());
                }
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// Sends a call that may leave, and counts it; its answer shows the gateway's clock. Where a connection had to be
    /// opened first the call takes a new place in the rhythm once it stands.
    pub(super) async fn send(
        &self,
        side: &Side<'r>,
        ticket: &mut Ticket,
        request: Request,
        number: u32,
    ) -> Result<Sent> {
        let clock = &self.job.clock;
        let (mut sent_at, mut left_at, mut sent) = (clock.now(), self.ledger.now(), tokio::time::Instant::now());
        let mut sending = side.http(ticket.account).start(&request);
        let exchange = loop {
            match sending.next().await {
                Progress::Ended(exchange) => break exchange,
                Progress::Stands => {
                    side.has_not_left(ticket);
                    ticket.waited += sent.elapsed();
                    self.leave(side, ticket).await?;
                    (sent_at, left_at, sent) = (clock.now(), self.ledger.now(), tokio::time::Instant::now());
                    sending.go();
                }
            }
        };
        drop(sending);
        let (latency, received_at) = (sent.elapsed(), clock.now());
        self.observe(side, &exchange, sent_at, received_at);
        self.count(&exchange, number, &side.accounts[ticket.account], ticket);
        Ok(Sent { identity: request.identity, number, exchange, sent_at, received_at, left_at, latency })
    }

    /// The record of an attempt, but for what it was about.
    pub(super) fn record(&self, side: &Side<'r>, ticket: &Ticket, sent: &Sent) -> Record {
        let (account, exchange) = (&side.accounts[ticket.account], &sent.exchange);
        Record {
            run_id: self.job.run_id.to_owned(),
            attempt: i32::try_from(sent.number).unwrap_or(i32::MAX),
            account: account.name.clone(),
            account_key: account.key.clone(),
            scope: Some(ticket.scope.clone()),
            gateway: side.named.map(str::to_owned),
            request: sent.identity.clone(),
            http_status: exchange.status,
            content_type: exchange.content_type.clone(),
            content_encoding: exchange.content_encoding.clone(),
            retry_after: exchange.retry_after.clone(),
            date: exchange.date.clone(),
            transport_error: exchange.transport_error.as_ref().map(|error| self.masked(error)),
            wait_ms: millis(ticket.waited),
            latency_ms: millis(sent.latency),
            sent_at: sent.sent_at,
            received_at: sent.received_at,
            body_bytes: exchange.body.len() as u64,
            ..Record::default()
        }
    }

    fn build(&self, errand: &Errand<'_, 'r>, account: usize, now: DateTime<Utc>) -> Result<Request> {
        let side = errand.side;
        let account = self.tokens.fresh(side.gateway, &side.accounts[account]);
        let call =
            Call { gateway: side.gateway, endpoint: errand.endpoint, account: &account, values: errand.values, now };
        request::build(call).map_err(|error| words::misbuilt(side.gateway, &error))
    }

    /// Renewed tokens are secrets that the sink does not know.
    fn without_tokens(&self, mut attempt: Attempt) -> Attempt {
        if let Some(masked) = self.tokens.mask().bytes(&attempt.body) {
            attempt.body = masked.into();
            attempt.record.redacted = true;
        }
        attempt
    }

    fn observe(&self, side: &Side<'_>, exchange: &Exchange, sent_at: DateTime<Utc>, received_at: DateTime<Utc>) {
        let Some(date) = &exchange.date else { return };
        let news = side.live().skew.observe(Observation { date, sent_at, received_at });
        if let Some(offset) = news {
            let seconds = offset.num_seconds();
            let (apart, side) = (seconds.abs(), if seconds < 0 { "behind" } else { "ahead of" });
            self.job.progress.on(Event::Warning(&format!(
                "the gateway's clock is {apart} seconds {side} this machine's: calls are signed with its time, unless ours is accepted"
            )));
        }
    }

    fn count(&self, exchange: &Exchange, attempt: u32, account: &Account, ticket: &Ticket) {
        let shared = &mut *self.lock();
        *shared.ledger.entry((account.key.clone(), ticket.scope.clone(), ticket.day)).or_default() += 1;
        let tally = &mut shared.tally;
        tally.calls += 1;
        tally.retries += i64::from(attempt > 1);
        tally.bytes += i64::try_from(exchange.body.len()).unwrap_or(i64::MAX);
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
