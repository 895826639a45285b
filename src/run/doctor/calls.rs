//! What is asked of the gateways: first whether they are there, then one question per endpoint and account.
//!
//! The cheapest question comes first: what it says of the signature decides about the others.
//!
//! Invariant: no endpoint is asked twice as the same account, and none that the pipeline does not need, but for `time`.

mod questions;

use chrono::TimeDelta;

use crate::base::time::beijing_day;
use crate::base::{Error, Kind, Result};
use crate::config::Gateway;
use crate::config::gateway::{ErrorClass, TOKEN};
use crate::config::pipeline::Account;
use crate::extract::answered::Nothing;
use crate::extract::driver::mask;
use crate::extract::probe::{Answer, Probed, Prober, Wholesale};
use crate::extract::progress::Silent;
use crate::extract::reach::{Step, Unreached, host_and_port};
use crate::extract::{Attempt, Job, Judgement, Reuse, Sink};
use crate::land::{Writer, WriterOptions, Zone};
use crate::plan::{Known, Work};
use crate::state::{self, State};
use crate::store::Store;

use super::verdict::{Signature, not_sent, verdict};
use super::{Calls, Status, Visit, counted};
use questions::{Learned, Need, Question, needs};

/// What calls need; what is missing was said before.
pub(super) struct Means {
    pub(super) work: Option<Work>,
    pub(super) store: Option<Store>,
    pub(super) state: Option<State>,
}

impl Means {
    /// Why no call may be made.
    fn lacking(&self, calls: Calls) -> Option<&'static str> {
        match self {
            _ if calls == Calls::None => Some("`--no-calls`: signature and permissions are not looked at"),
            Means { work: None, .. } => Some("no question is asked until the configuration is right"),
            Means { store: None, .. } => Some("no question is asked: its answer could not be kept in the lake"),
            Means { state: None, .. } => Some("no question is asked: it could not be counted in the state store"),
            _ => None,
        }
    }
}

/// There is no lake to land in, and so nothing is asked.
struct Nowhere;

#[async_trait::async_trait]
impl Sink for Nowhere {
    async fn land(&self, _: Attempt) -> Result<Attempt> {
        Err(Error::internal("a question was asked without a lake to land its answer in"))
    }
}

pub(super) async fn examine(visit: &mut Visit<'_>, means: Means) {
    if let Err(error) = ask_gateways(visit, &means).await {
        visit.fail("network", "", &error);
    }
}

async fn ask_gateways(visit: &mut Visit<'_>, means: &Means) -> Result<()> {
    let (pipeline, today) = (visit.pipeline, beijing_day(visit.around.clock.now()));
    let run_id = visit.run_id();
    let state = match &means.state {
        Some(state) => State::clone(state),
        None => state::in_memory().await?,
    };
    let writer = means.store.as_ref().map(|store| {
        // No `start.json`: nobody takes it for a run that is to go on, and yet its calls are counted.
        let zone = Zone::new(store.clone(), &pipeline.name, today);
        Writer::start(zone, WriterOptions { run_id, first_number: 1, mask: mask(pipeline) })
    });
    let (run_id, known) = (run_id.to_string(), Known::default());
    let work = means.work.clone().unwrap_or_else(nothing);
    let job = Job {
        pipeline,
        work: work.clone(),
        known: &known,
        run_id: &run_id,
        dt: today,
        until: visit.around.clock.now(),
        answered: &Nothing,
        earlier_calls: std::collections::HashMap::new(),
        state: state.as_ref(),
        holder: &run_id,
        clocks: Default::default(),
        reuse: Reuse::NOTHING,
        gate: None,
        clock: visit.clock(),
        sink: writer.as_ref().map_or(&Nowhere as &dyn Sink, |writer| writer),
        progress: &Silent,
        notes: &std::sync::Mutex::default(),
        cancel: visit.around.cancel.clone(),
        seed: visit.around.seed,
    };
    let prober = Prober::new(&job).await?;
    let mut learned = Learned::new(pipeline, &work);
    for (place, (gateway, accounts)) in prober.gateways().into_iter().enumerate() {
        let mut asker = Asker { visit, prober: &prober, place, gateway, accounts, work: &work, learned: &mut learned };
        asker.examine(means).await;
    }
    match writer {
        Some(writer) => writer.close().await,
        None => Ok(()),
    }
}

fn nothing() -> Work {
    use crate::config::pipeline::FetchDetails;
    Work { shops: Vec::new(), items: Vec::new(), skus: FetchDetails::Off, details: FetchDetails::Off }
}

/// The questions to one gateway.
struct Asker<'x, 'v, 'p> {
    visit: &'x mut Visit<'v>,
    prober: &'x Prober<'p>,
    /// Of the gateway among the prober's.
    place: usize,
    gateway: &'x Gateway,
    accounts: &'x [Account],
    work: &'x Work,
    learned: &'x mut Learned,
}

/// What an account's answers came to.
#[derive(Default)]
struct Interview {
    signature: Option<Status>,
    /// Some question was refused, for whatever reason.
    is_refused: bool,
    /// Some question was refused that was signed with a time which may be wrong.
    is_misdated: bool,
    /// Some question was throttled.
    is_throttled: bool,
    wholesale: Wholesale,
}

impl Asker<'_, '_, '_> {
    async fn examine(&mut self, means: &Means) {
        let reached = self.reach().await;
        let needs = needs(self.visit.pipeline, self.work, self.place);
        let mut refused = false;
        if let Some(why) = means.lacking(self.visit.options.calls) {
            self.visit.add("calls", &self.gateway.name, Status::Skipped, why);
        } else if !reached.contains(&true) {
            self.visit.add("calls", &self.gateway.name, Status::Skipped, "no question is asked: nobody is there");
        } else {
            let names = self.questions(&needs);
            let (count, price, names) = (counted(names.len(), "call"), self.price(), names.join(", "));
            let says = format!("at most {count} as each account{price}: {names}");
            self.visit.add("calls", &self.gateway.name, Status::Ok, says);
            for (account, _) in reached.iter().enumerate().filter(|(_, reached)| **reached) {
                refused |= self.interview(account, &needs).await;
            }
        }
        self.clock(refused);
    }

    /// What may be asked as one account, a new token included.
    fn questions(&self, needs: &[Need]) -> Vec<&'static str> {
        let renews = (0..self.accounts.len()).any(|account| self.prober.renews_token(self.place, account));
        renews.then_some(TOKEN).into_iter().chain(needs.iter().map(|need| need.endpoint())).collect()
    }

    fn price(&self) -> String {
        let price = self.gateway.limits.price_per_call.as_ref();
        price.map(|price| format!(" ({} {} each)", price.amount, price.currency)).unwrap_or_default()
    }

    /// By account: whether the gateway can be reached the way its calls go.
    async fn reach(&mut self) -> Vec<bool> {
        let mut directly: Option<bool> = None;
        let mut reached = Vec::new();
        for (index, account) in self.accounts.iter().enumerate() {
            let found = match (directly, &account.proxy) {
                (Some(known), None) => known,
                (_, proxy) => {
                    let about = proxy.as_ref().map_or(&self.gateway.name, |_| &account.name);
                    let found = self.greet(index, &about.clone()).await;
                    if proxy.is_none() {
                        directly = Some(found);
                    }
                    found
                }
            };
            reached.push(found);
        }
        reached
    }

    async fn greet(&mut self, account: usize, about: &str) -> bool {
        let url = url::Url::parse(&self.gateway.url).ok();
        let server = url.as_ref().map(host_and_port).unwrap_or_default();
        let is_https = url.is_some_and(|url| url.scheme() == "https");
        let proxied = self.accounts[account].proxy.is_some();
        match self.prober.greet(self.place, account).await {
            Ok(reached) => {
                let tls = if is_https { ", TLS holds" } else { ", no TLS" };
                let way = if proxied { "through the proxy, which was" } else { "was" };
                let says = format!("`{server}` {way} reached in {} ms{tls}", reached.latency.as_millis());
                self.visit.add("network", about, Status::Ok, says);
                true
            }
            Err(unreached) => {
                let says = unreached_says(&server, proxied, &unreached);
                let todo = unreached_todo(unreached.step, proxied).to_owned();
                let kind = if unreached.step == Step::Tls { Kind::Config } else { Kind::Unavailable };
                self.visit.advise("network", about, (Status::Failed(kind), says, Some(todo)));
                false
            }
        }
    }

    /// Asks every question as one account; whether one was refused.
    async fn interview(&mut self, account: usize, needs: &[Need]) -> bool {
        let name = self.accounts[account].name.clone();
        let mut interview = Interview::default();
        let has_token = self.renew_token(account, &mut interview).await;
        for need in needs {
            if self.visit.around.cancel.is_cancelled() {
                let says = format!("`{}`: not asked: stopped by a signal", need.endpoint());
                self.visit.add("permission", &name, Status::Failed(Kind::Unavailable), says);
                break;
            }
            if !has_token && *need != Need::Time {
                let says = format!("`{}`: not asked, for there is no access token", need.endpoint());
                self.visit.add("permission", &name, Status::Skipped, says);
                continue;
            }
            let (task, values) = match self.learned.question(*need, self.visit.pipeline, self.gateway) {
                Question::Ask(task, values) => (task, values),
                Question::NotNeeded => continue,
                Question::Unknown(why) => {
                    self.visit.add("permission", &name, Status::Skipped, format!("`{}`: {why}", need.endpoint()));
                    continue;
                }
            };
            match self.prober.ask(account, &task, &values).await {
                Err(error) => {
                    self.visit.fail("permission", &name, &error);
                    break;
                }
                Ok(Probed::NotSent(why)) => {
                    self.visit.advise("permission", &name, not_sent(&why));
                    break;
                }
                Ok(Probed::Answered(answer)) => {
                    if !self.hear(&name, *need, &answer, &mut interview) {
                        break;
                    }
                }
            }
        }
        self.conclude(&name, &interview);
        interview.is_refused || (interview.is_misdated && interview.signature.is_none())
    }

    /// Renews an account's access token where the gateway gives one; whether it can be asked what needs one.
    async fn renew_token(&mut self, account: usize, interview: &mut Interview) -> bool {
        if !self.prober.renews_token(self.place, account) {
            return true;
        }
        let name = &self.accounts[account].name;
        match self.prober.renew_token(self.place, account).await {
            Ok(None) => {
                self.visit.add("token", name, Status::Ok, "the access token was renewed");
                true
            }
            Ok(Some(why)) => {
                self.visit.advise("token", name, not_sent(&why));
                false
            }
            Err(error) => {
                self.visit.fail("token", name, &error);
                interview.is_refused = true;
                false
            }
        }
    }

    /// Takes one answer; whether there is sense in asking on.
    fn hear(&mut self, name: &str, need: Need, answer: &Answer, interview: &mut Interview) -> bool {
        let Some(endpoint) = self.gateway.endpoints.get(need.endpoint()) else { return true };
        let verdict = verdict(endpoint, answer);
        self.learned.hear(&answer.outcome);
        interview.wholesale.offers += answer.wholesale.offers;
        interview.wholesale.priced += answer.wholesale.priced;
        interview.is_refused |= matches!(verdict.status, Status::Failed(_));
        interview.is_misdated |= verdict.signature == Signature::Misdated;
        interview.is_throttled |=
            matches!(&answer.judgement, Judgement::Fault(fault) if fault.class == ErrorClass::Throttle);
        let line = (verdict.status, verdict.says, verdict.todo);
        match verdict.signature {
            // It was accepted before: what is refused is the account or its token.
            Signature::Refused if interview.signature == Some(Status::Ok) => {
                self.visit.advise("permission", name, line);
                return false;
            }
            Signature::Refused => {
                interview.signature = Some(verdict.status);
                self.visit.advise("signature", name, line);
                return false;
            }
            Signature::Accepted if interview.signature.is_none() => {
                interview.signature = Some(Status::Ok);
                let says = format!("accepted: `{}` was answered", need.endpoint());
                self.visit.add("signature", name, Status::Ok, says);
            }
            Signature::Accepted | Signature::Untold | Signature::Misdated => {}
        }
        // What needs no permission says nothing of one.
        if need != Need::Time || line.0 != Status::Ok {
            self.visit.advise("permission", name, line);
        }
        // Endpoints without a path of their own are all at the same address.
        let redirects = answer.http_status.is_some_and(|status| (300..400).contains(&status));
        let is_elsewhere = matches!(&answer.judgement, Judgement::Fault(fault) if fault.elsewhere || redirects);
        let is_lost = is_elsewhere && endpoint.path.is_none();
        !is_lost && !matches!(verdict.status, Status::Failed(Kind::Quota | Kind::Unavailable))
    }

    fn conclude(&mut self, name: &str, interview: &Interview) {
        if interview.signature.is_none() {
            self.visit.advise("signature", name, unproven(interview));
        }
        let Wholesale { offers, priced } = interview.wholesale;
        if offers == 0 || !self.gateway.offer.contains_key("ladder") {
            return;
        }
        if priced > 0 {
            let says = format!("{priced} of {offers} offers have a wholesale price or MOQ");
            self.visit.add("wholesale", name, Status::Ok, says);
            return;
        }
        let status = if offers >= OFFERS_TELLING { Status::Failed(Kind::Denied) } else { Status::Warning };
        let says = format!("none of {offers} offers has a wholesale price or MOQ");
        let todo = "the account lacks the B2B data permission: apply for it in the app's console";
        self.visit.advise("wholesale", name, (status, says, Some(todo.to_owned())));
    }

    /// How the gateway's clock and ours differ; calls are signed with the gateway's time.
    fn clock(&mut self, refused: bool) {
        let about = self.gateway.name.clone();
        let Some((offset, is_signed_with)) = self.prober.clock_offset(self.place) else {
            let says = "the gateway has not told its time";
            return self.visit.add("clock", &about, Status::Skipped, says);
        };
        let (apart, side) =
            (offset.num_seconds().abs(), if offset < TimeDelta::zero() { "ahead of" } else { "behind" });
        if apart <= super::CLOCK_SECONDS_MAX {
            let says = format!("within {} s of the gateway's", super::CLOCK_SECONDS_MAX);
            return self.visit.add("clock", &about, Status::Ok, says);
        }
        let most = self.gateway.limits.clock_skew_seconds_max;
        let past = most.is_some_and(|most| u64::try_from(apart).is_ok_and(|apart| apart > most));
        let status = if past && refused { Status::Failed(Kind::Config) } else { Status::Warning };
        let signed = if is_signed_with { "the gateway's" } else { "this machine's" };
        let says = format!("this machine's clock is {apart} s {side} the gateway's: calls are signed with {signed}");
        let todo = "set this machine's clock (NTP)".to_owned();
        self.visit.advise("clock", &about, (status, says, Some(todo)));
    }
}

/// What is to be said of a signature that no answer has spoken of.
fn unproven(interview: &Interview) -> (Status, String, Option<String>) {
    if interview.is_misdated {
        let says = "not accepted: the clocks differ, and what was asked was refused".to_owned();
        let todo = "set this machine's clock (NTP), copy the account's secret again, and ask again".to_owned();
        return (Status::Failed(Kind::Denied), says, Some(todo));
    }
    let says = "not proven: no question was answered".to_owned();
    match interview.is_throttled && !interview.is_refused {
        true => (Status::Failed(Kind::Unavailable), says, Some("ask again when the gateway is less busy".to_owned())),
        false => (Status::Skipped, says, None),
    }
}

/// Fewer offers without wholesale prices may be without them by chance.
const OFFERS_TELLING: usize = 5;

fn unreached_says(server: &str, proxied: bool, unreached: &Unreached) -> String {
    // A proxy's address is a secret.
    let what = if proxied { "the proxy".to_owned() } else { format!("`{server}`") };
    let reason = &unreached.reason;
    match unreached.step {
        Step::Name => format!("the name of {what} has no address: {reason}"),
        Step::Port => format!("{what} does not answer: {reason}"),
        Step::Tls => format!("`{server}` speaks no TLS: {reason}"),
        Step::Greeting => format!("`{server}` does not speak as it should: {reason}"),
    }
}

fn unreached_todo(step: Step, proxied: bool) -> &'static str {
    match (step, proxied) {
        (Step::Name, false) => "is `url` right? Does this machine resolve names (DNS)?",
        (Step::Port, false) => "is `url` right? Does a firewall let this machine out, or must it go through a `proxy`?",
        (Step::Name | Step::Port, true) => "is the account's `proxy` right, and does it run?",
        (Step::Tls, _) => "correct `url`: does it begin with `http://`, or is TLS spoken at another port?",
        (Step::Greeting, false) => {
            "is something between this machine and the gateway that breaks TLS open? Is its clock right?"
        }
        (Step::Greeting, true) => "does the proxy let this machine through to the gateway?",
    }
}
