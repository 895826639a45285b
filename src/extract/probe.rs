//! One question to a gateway, to find out what is wrong before a night is spent on it.
//!
//! A question goes the way of a run's calls: reserved in the ledger, signed, sent, landed, judged, settled, and its answer
//! lets the account rest where it would in a run. It differs in two ways: nothing is asked twice, and an account that
//! rests because the gateway refused it is asked all the same.
//!
//! Invariant: a question is counted and landed like every call. The rest of a refused account ends only when the gateway
//! accepts it and has not refused it since this prober began; that of a refused permission, when its endpoint answers.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use url::Url;

use crate::base::Result;
use crate::base::json::Raw;
use crate::config::gateway::{Endpoint, ErrorClass, Gateway, TOKEN};
use crate::config::pipeline::Account;
use crate::state::{Rest, RestKind, Resting, covers};

use super::accounts::Asking;
use super::after::feedback;
use super::answer::{self, List};
use super::call::{Caller, Errand, Shared};
use super::driver::{Job, mask, sides};
use super::judge::{Fault, Judgement};
use super::pace;
use super::reach::{Reached, Step, Unreached, reach};
use super::request::Values;
use super::rests::{self, Extent};
use super::retry::seconds;
use super::schedule::{Outcome, Task};
use super::send::Tried;
use super::side::{Ledger, OwnTurn, Side, Ticket};
use super::skew::Observation;
use super::tokens::{self, Tokens};
use super::words::{describe, name_parameters};
use super::{Attempt, body};

/// A question waits at most this long for its turn: a run may use the same account.
const TURN_MAX: Duration = Duration::from_secs(60);

/// What the TLS library says of bytes that no TLS server sends.
const NO_TLS: &str = "InvalidContentType";

/// Asks a pipeline's gateways single questions.
pub struct Prober<'r> {
    caller: Caller<'r>,
    /// By side and account.
    denied: Mutex<Vec<Vec<Denied>>>,
}

/// What the gateway refuses one account.
#[derive(Debug, Clone, Default)]
struct Denied {
    /// The scopes of the rests that it earned by that.
    scopes: BTreeSet<String>,
    /// Its key was refused to this prober.
    now: bool,
}

/// What became of a question.
#[derive(Debug)]
pub enum Probed {
    /// It was sent.
    Answered(Box<Answer>),
    /// It was not: the account may not ask now.
    NotSent(NotSent),
}

/// Why a question was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotSent {
    /// The calls of the day are used up.
    UsedUp,
    /// The account rests: until when, and why.
    Resting(String),
    /// Others use all of the account's places.
    Busy,
}

/// An answer, judged. One that did not come is one that is to be asked for again.
#[derive(Debug)]
pub struct Answer {
    /// What it is.
    pub judgement: Judgement,
    /// What it says, when it is good.
    pub outcome: Outcome,
    /// Code and message of a fault, and what of it can be seen in the parameters sent.
    pub words: String,
    /// The HTTP status; `None`: no answer came.
    pub http_status: Option<u16>,
    /// From sending to the last byte.
    pub latency_ms: i64,
    /// It was signed with a time that was wrong, as it seems: the next question is signed with another.
    pub is_misdated: bool,
    /// Of its offers, how many say anything that only B2B data permission shows.
    pub wholesale: Wholesale,
    /// As it was kept.
    pub kept: Attempt,
}

/// Offers in an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wholesale {
    /// All.
    pub offers: usize,
    /// Those with a wholesale price or an MOQ.
    pub priced: usize,
}

impl<'r> Prober<'r> {
    /// Gets ready; asks nothing.
    ///
    /// # Errors
    /// `Config` when an account's proxy is none; whatever the state store fails with.
    pub async fn new(job: &'r Job<'r>) -> Result<Self> {
        let sides = sides(job.pipeline)?;
        let now = job.state.now().await?;
        let ledger = Ledger { state: job.state, holder: job.holder, run: job.run_id };
        let health = job.state.accounts(now).await?;
        let denied_of = |side: &Side<'_>, (place, account): (usize, &Account)| {
            let rests = health.iter().filter(|known| known.account == account.key).flat_map(|known| &known.rests);
            let here = |resting: &&Resting| {
                resting.rest.kind == RestKind::Denied && resting.gateway == side.print(place).gateway
            };
            Denied { scopes: rests.filter(here).map(|resting| resting.scope.clone()).collect(), now: false }
        };
        let denied_at = |side: &Side<'_>| {
            let accounts = side.accounts.iter().enumerate();
            accounts.map(|account| denied_of(side, account)).collect()
        };
        let denied = sides.iter().map(denied_at).collect();
        let caller = Caller {
            job,
            sides,
            ledger,
            tokens: Tokens::default(),
            mask: mask(job.pipeline),
            halt: job.cancel.child_token(),
            shared: Mutex::new(Shared::new(job.seed)),
        };
        Ok(Self { caller, denied: Mutex::new(denied) })
    }

    /// The gateways: the pipeline's own, then the one that gives details where that is another.
    #[must_use]
    pub fn gateways(&self) -> Vec<(&'r Gateway, &'r [Account])> {
        self.caller.sides.iter().map(|side| (side.gateway, side.accounts)).collect()
    }

    /// How far a gateway's clock is ahead of ours, once an answer of it has told; and whether calls are signed with it.
    #[must_use]
    pub fn clock_offset(&self, gateway: usize) -> Option<(TimeDelta, bool)> {
        let skew = self.caller.sides.get(gateway)?.live().skew;
        skew.is_known().then(|| (skew.dated_offset(), !skew.has_left(skew.dated_offset())))
    }

    /// Reaches a gateway the way an account's calls go, and greets it: no call. Its `Date` is learned.
    ///
    /// # Errors
    /// [`Unreached`], with the first step that failed.
    pub async fn greet(&self, gateway: usize, account: usize) -> Result<Reached, Unreached> {
        let side = &self.caller.sides[gateway];
        let patience = seconds(side.gateway.limits.connect_seconds);
        let failed = |reason: &str| Unreached { step: Step::Name, reason: reason.to_owned() };
        let mut address = Url::parse(&side.gateway.url).map_err(|error| failed(&error.to_string()))?;
        address.set_path("/");
        address.set_query(None);
        let proxy = side.accounts[account].proxy.as_ref().map(|proxy| Url::parse(proxy.expose()));
        let proxy = proxy.transpose().map_err(|_| failed("it is no address"))?;
        let reached = reach(proxy.as_ref().unwrap_or(&address), patience).await?;
        let sent_at = self.caller.job.clock.now();
        let exchange = side.http(account).greet(&address).await;
        let received_at = self.caller.job.clock.now();
        if let Some(date) = &exchange.date {
            let _ = side.live().skew.observe(Observation { date, sent_at, received_at });
        }
        match exchange.transport_error {
            Some(error) => {
                let step = if error.contains(NO_TLS) { Step::Tls } else { Step::Greeting };
                Err(Unreached { step, reason: self.caller.mask.text(&error) })
            }
            None => Ok(reached),
        }
    }

    /// Whether an account's access token is renewed by the gateway.
    #[must_use]
    pub fn renews_token(&self, gateway: usize, account: usize) -> bool {
        let side = &self.caller.sides[gateway];
        Tokens::renews(side.gateway, &side.accounts[account])
    }

    /// Renews an account's access token: a call like any other, whose answer is kept nowhere. `Some`: it was not sent.
    ///
    /// # Errors
    /// `Denied` when the gateway gives none, `Quota` when it states how long it gives none, `Config` when its address is
    /// wrong, `Unavailable` when it does not answer; whatever the sink or the state store
    /// fails with.
    pub async fn renew_token(&self, gateway: usize, account: usize) -> Result<Option<NotSent>> {
        let side = &self.caller.sides[gateway];
        let scope = side.scope(TOKEN, None);
        let mut ticket = match self.turn(side, account, Asking { scope: &scope, endpoint: TOKEN }).await? {
            Ok(ticket) => ticket,
            Err(not_sent) => return Ok(Some(not_sent)),
        };
        match self.caller.ask_for_token(side, &mut ticket, 1).await? {
            Ok(()) => Ok(None),
            Err(fault) => {
                let rests = rests::rest(side.gateway, &fault, self.caller.ledger.now());
                if let Some((rest, _)) = rests.filter(|(rest, _)| rest.kind == RestKind::Quota) {
                    side.say_rest(self.caller.ledger, account, "", rest).await?;
                }
                Err(tokens::refusal(side.gateway, &side.accounts[account], &fault))
            }
        }
    }

    /// Asks one question as one account, once. The task says which gateway is asked.
    ///
    /// # Errors
    /// `Config`: the definition has no such endpoint, or cannot build the call · whatever the sink or the state store
    /// fails with.
    pub async fn ask(&self, account: usize, task: &Task, values: &Values) -> Result<Probed> {
        let errand = self.caller.errand(task, values)?;
        let side = errand.side;
        let scope = side.scope(task.endpoint(), values.shop_id.as_deref());
        let asking = Asking { scope: &scope, endpoint: task.endpoint() };
        let ticket = match self.turn(side, account, asking).await? {
            Ok(ticket) => ticket,
            Err(not_sent) => return Ok(Probed::NotSent(not_sent)),
        };
        let tried = self.caller.attempt(&errand, ticket, 1).await?;
        self.settle(&errand, account, tried).await
    }

    /// Waits for the account's turn.
    async fn turn(&self, side: &Side<'_>, account: usize, asking: Asking<'_>) -> Result<Result<Ticket, NotSent>> {
        let asked = tokio::time::Instant::now();
        loop {
            match side.turn_as(self.caller.ledger, account, asking, self.now()).await? {
                OwnTurn::Send(mut ticket) => {
                    ticket.waited = asked.elapsed();
                    return Ok(Ok(ticket));
                }
                OwnTurn::Wait(wait) if asked.elapsed() + wait <= TURN_MAX && self.caller.sleep(wait).await => {}
                OwnTurn::Wait(_) => return Ok(Err(NotSent::Busy)),
                OwnTurn::UsedUp => return Ok(Err(NotSent::UsedUp)),
                OwnTurn::Resting(rest) => return Ok(Err(NotSent::Resting(rest.to_string()))),
            }
        }
    }

    /// Judges what was kept, gives the place back, and lets the account rest where it must.
    async fn settle(&self, errand: &Errand<'_, 'r>, account: usize, tried: Tried) -> Result<Probed> {
        let (side, ledger) = (errand.side, self.caller.ledger);
        let (judgement, outcome) = self.caller.judge(errand, &tried.kept);
        let fault = match &judgement {
            Judgement::Good => None,
            Judgement::Fault(fault) => Some(fault),
        };
        let is_misdated = {
            let skew = &mut side.live().skew;
            match fault {
                None => skew.accepted(tried.offset),
                Some(fault) if is_refusal(fault) && !skew.has_accepted(tried.offset) => {
                    _ = skew.refused(tried.offset);
                }
                Some(_) => {}
            }
            skew.has_left(tried.offset)
        };
        let rest = pace::rest(&side.gateway.limits.pause, fault.map(|fault| fault.class));
        side.settle(ledger, &tried.ticket, rest, feedback(fault, &tried)).await?;
        match fault {
            // The gateway may not have looked at more than the time.
            Some(fault) if is_misdated && is_refusal(fault) => {}
            fault => self.learn(side, account, &tried, fault).await?,
        }
        let record = &tried.kept.record;
        let words = match fault {
            Some(fault) if fault.class == ErrorClass::Param && !record.request.is_empty() => {
                format!("{} (sent: {})", describe(fault), name_parameters(&fault.message, &record.request))
            }
            Some(fault) => describe(fault),
            None => String::new(),
        };
        let wholesale = wholesale(side.gateway, errand.endpoint, &tried.kept);
        Ok(Probed::Answered(Box::new(Answer {
            words,
            http_status: record.http_status,
            latency_ms: record.latency_ms,
            judgement,
            outcome,
            is_misdated,
            wholesale,
            kept: tried.kept,
        })))
    }

    /// What an answer means for the account, in the state store.
    async fn learn(&self, side: &Side<'_>, account: usize, tried: &Tried, fault: Option<&Fault>) -> Result<()> {
        let now = self.caller.ledger.now();
        let asking = tried.ticket.asking();
        if fault.is_none_or(|fault| fault.class == ErrorClass::Gone) {
            let mut over = Vec::new();
            self.change(side, account, |denied| {
                let ends =
                    |scope: &String| covers(scope, asking.scope, asking.endpoint) && !(scope.is_empty() && denied.now);
                over = denied.scopes.iter().filter(|scope| ends(scope)).cloned().collect();
                denied.scopes.retain(|scope| !ends(scope));
            });
            for scope in over {
                let ended = Rest { kind: RestKind::Denied, until: now, reason: String::new() };
                side.say_rest(self.caller.ledger, account, &scope, ended).await?;
            }
        }
        let Some((rest, extent)) = fault.and_then(|fault| rests::rest(side.gateway, fault, now)) else { return Ok(()) };
        let scope = extent.scope(asking);
        if rest.kind == RestKind::Denied {
            self.change(side, account, |denied| {
                denied.now |= extent == Extent::Everything;
                denied.scopes.insert(scope.clone());
            });
        }
        side.say_rest(self.caller.ledger, account, &scope, rest).await
    }

    fn change(&self, side: &Side<'_>, account: usize, change: impl FnOnce(&mut Denied)) {
        let place = self.caller.sides.iter().position(|own| std::ptr::eq(own, side)).unwrap_or(0);
        let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(denied) = denied.get_mut(place).and_then(|accounts| accounts.get_mut(account)) {
            change(denied);
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.caller.job.clock.now()
    }
}

/// Whether a wrong time may be all that is wrong: gateways say so in many ways.
fn is_refusal(fault: &Fault) -> bool {
    matches!(fault.class, ErrorClass::Auth | ErrorClass::Param | ErrorClass::Item)
}

/// Counts the offers of an answer, and those with a wholesale price or an MOQ.
fn wholesale(gateway: &Gateway, endpoint: &Endpoint, kept: &Attempt) -> Wholesale {
    let mut wholesale = Wholesale::default();
    let Ok(json) = body::to_json(&kept.body, kept.record.content_type.as_deref()) else { return wholesale };
    let Ok(parsed) = body::parse(&json) else { return wholesale };
    let mut count = |record: Raw<'_>| {
        if answer::offer_id(&gateway.offer, record).is_none() {
            return;
        }
        let says =
            |field: &str| gateway.offer.get(field).is_some_and(|source| answer::first(&source.at, record).is_some());
        wholesale.offers += 1;
        wholesale.priced += usize::from(["ladder", "channel_price", "moq"].into_iter().any(says));
    };
    if let List::Records(list) = answer::list(endpoint, parsed) {
        answer::records(list).for_each(&mut count);
    } else if let Some(one) = answer::first(&endpoint.one, parsed) {
        count(one);
    }
    wholesale
}
