//! Resuming: landed attempts are the work log of a run. What they settled is not asked again, on any machine.
//!
//! Takes the segments of a run; gives the answers that settle a call, by what the call says, and what was spent.
//!
//! Invariant: an answer counts as settled by the same rules that judged it when it arrived; bodies are read when they
//! are asked for, so memory does not grow with the run.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::NaiveDate;

use crate::base::time::beijing_day;
use crate::base::{Error, Result, RunId};
use crate::config::Gateway;
use crate::config::gateway::ErrorClass;
use crate::extract::answered::{self, CallKey};
use crate::extract::skew::{Observation, Skew};
use crate::extract::{Answered, Attempt, Judge, Judgement, Record, request};
use crate::plan::price::{self, Source};
use crate::state::Counted;

use super::start::AskedAgain;
use super::zone::{SegmentRef, Zone};

/// Unpacked segments that are kept at hand: a run that goes on asks in nearly the order in which it asked before.
const AT_HAND: usize = 16;

/// What earlier starts of a run have landed.
#[derive(Debug)]
pub struct Resumed {
    zone: Zone,
    segments: Vec<SegmentRef>,
    settled: HashMap<CallKey, Place>,
    answered: price::Answered,
    /// Attempts of the calls whose last one took too long.
    late_after: HashMap<CallKey, u32>,
    /// Attempts of the calls for several offers that were given up.
    failed_after: HashMap<CallKey, u32>,
    /// The offers of the calls for several of them that were answered or given up, in the order of asking.
    batches: Vec<Vec<i64>>,
    at_hand: Mutex<VecDeque<(usize, Arc<Vec<Attempt>>)>>,
    /// The greatest number landed; 0: none.
    pub last_number: i64,
    /// Attempts sent.
    pub calls: i64,
    /// Attempts sent, by shop.
    pub calls_by_shop: HashMap<String, i64>,
    /// Attempts sent, as the ledger counts them.
    pub ledger: Vec<Counted>,
    /// The clocks of the gateways as their answers showed them last: the pipeline's own, and the details'.
    pub clocks: [Skew; 2],
    asked_again: Vec<i64>,
    /// Calls whose answers were used again.
    used: Mutex<HashSet<CallKey>>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    segment: usize,
    number: i64,
}

/// The gateways of a pipeline, for judging what they answered.
#[derive(Debug, Clone, Copy)]
pub struct Gateways<'a> {
    /// The pipeline's own.
    pub own: &'a Gateway,
    /// The one that gives details, where it is another.
    pub details: Option<&'a Gateway>,
}

impl<'a> Gateways<'a> {
    /// The gateway that answered.
    #[must_use]
    pub fn of(&self, record: &Record) -> Option<&'a Gateway> {
        match &record.gateway {
            None => Some(self.own),
            Some(name) => self.details.filter(|details| details.name == *name),
        }
    }
}

impl Resumed {
    /// Reads what a run has landed so far; what it must ask `again` settles nothing.
    ///
    /// # Errors
    /// `Data`, with its path, when a segment is damaged; `Storage`.
    pub async fn read(zone: &Zone, run: &RunId, gateways: Gateways<'_>, again: Option<&AskedAgain>) -> Result<Self> {
        let mut segments = zone.segments(run).await?;
        let mut settled = HashMap::new();
        let mut answered = price::Answered::new();
        let mut late_after: HashMap<CallKey, u32> = HashMap::new();
        let (mut last_number, mut calls) = (0, 0);
        let mut clocks = [Skew::default(); 2];
        let mut calls_by_shop: HashMap<String, i64> = HashMap::new();
        let mut counts = Counts::default();
        let mut batches = Batches::default();
        let mut accepted = [false; 2];
        let mut asked_again = Vec::new();
        let judges = (Judge::new(gateways.own), gateways.details.map(Judge::new));
        let (mut index, mut next_number) = (0, 1);
        loop {
            // Numbers follow each other: what a late listing does not show is asked for by the number that comes next.
            zone.fill_in(run, &mut segments, index, next_number).await?;
            let Some(segment) = segments.get(index) else { break };
            for attempt in zone.read_segment(segment).await? {
                let record = &attempt.record;
                last_number = last_number.max(record.number);
                if record.copied_from.is_none() {
                    calls += 1;
                    if let Some(shop_id) = &record.shop_id {
                        *calls_by_shop.entry(shop_id.clone()).or_default() += 1;
                    }
                }
                if let (None, Some(date)) = (&record.copied_from, &record.date) {
                    let seen = Observation { date, sent_at: record.sent_at, received_at: record.received_at };
                    let _ = clocks[usize::from(record.gateway.is_some())].observe(seen);
                }
                let Some(gateway) = gateways.of(record) else { continue };
                counts.add(record, gateway);
                let name = record.gateway.as_deref().unwrap_or_default();
                let key = answered::key(name, (&record.endpoint, record.again), &record.request);
                if record.timed_out() {
                    let attempts = late_after.entry(key).or_default();
                    *attempts = attempts.saturating_add(1).max(u32::try_from(record.attempt).unwrap_or(0));
                } else {
                    late_after.remove(&key);
                }
                let judge = if record.gateway.is_none() { Some(&judges.0) } else { judges.1.as_ref() };
                let judgement = judge.and_then(|judge| judgement(judge, gateway, &attempt));
                batches.add(key, record, gateway, judgement.as_ref());
                let side = usize::from(record.gateway.is_some());
                accepted[side] |= matches!(judgement, Some(Judgement::Good));
                // Before a time was accepted it may be the time that was refused, whatever the answer says.
                let is_doubtful = !accepted[side] && clocks[side].is_far();
                if again.is_some_and(|again| again.concerns(record)) {
                    asked_again.push(record.number);
                    continue;
                }
                if judgement.is_some_and(|judgement| settles(&judgement)) && !is_doubtful {
                    let before = settled.insert(key, Place { segment: index, number: record.number });
                    if before.is_none() && names_its_page(gateway, record) {
                        let source = if record.gateway.is_none() { Source::Listing } else { Source::Details };
                        let about = (source, record.endpoint.clone(), record.shop_id.clone());
                        *answered.entry(about).or_default() += 1;
                    }
                }
            }
            (index, next_number) = (index + 1, last_number + 1);
        }
        let (batches, failed_after) = batches.done();
        Ok(Self {
            zone: zone.clone(),
            segments,
            settled,
            answered,
            late_after,
            failed_after,
            batches,
            at_hand: Mutex::new(VecDeque::new()),
            last_number,
            calls,
            calls_by_shop,
            ledger: counts.ledger(),
            clocks,
            asked_again,
            used: Mutex::default(),
        })
    }

    /// The numbers that its segments begin with.
    pub fn first_numbers(&self) -> impl Iterator<Item = i64> {
        self.segments.iter().map(SegmentRef::first_number)
    }

    /// Calls that need not be made again.
    #[must_use]
    pub fn settled(&self) -> usize {
        self.settled.len()
    }

    /// Whether a listing or a detail is among them: not what every start can be told at once.
    #[must_use]
    pub fn has_listed(&self) -> bool {
        self.answered.keys().any(|(_, endpoint, _)| matches!(&**endpoint, "listing" | "off_sale" | "item" | "sku"))
    }

    /// … by endpoint and shop: what is not in the price of the rest.
    #[must_use]
    pub fn answered(&self) -> &price::Answered {
        &self.answered
    }

    /// Answers that settled a call which the run did not ask for in the end: its configuration may have changed since. Their
    /// numbers; they are journalled and kept, and make no rows.
    #[must_use]
    pub fn unused(&self) -> Vec<i64> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = self.settled.iter().filter(|(key, _)| !used.contains(*key)).map(|(_, place)| place.number);
        let mut unused: Vec<i64> = unused.collect();
        unused.sort_unstable();
        unused
    }

    /// The numbers of answers that were asked for again; they make no rows, either.
    #[must_use]
    pub fn asked_again(&self) -> &[i64] {
        &self.asked_again
    }

    async fn segment(&self, index: usize) -> Result<Arc<Vec<Attempt>>> {
        if let Some((_, attempts)) = self.lock().iter().find(|(at, _)| *at == index) {
            return Ok(Arc::clone(attempts));
        }
        let attempts = Arc::new(self.zone.read_segment(&self.segments[index]).await?);
        let mut at_hand = self.lock();
        at_hand.push_back((index, Arc::clone(&attempts)));
        if at_hand.len() > AT_HAND {
            at_hand.pop_front();
        }
        Ok(attempts)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(usize, Arc<Vec<Attempt>>)>> {
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Answered for Resumed {
    async fn find(&self, key: CallKey) -> Result<Option<Attempt>> {
        let Some(place) = self.settled.get(&key) else { return Ok(None) };
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        let attempts = self.segment(place.segment).await?;
        let found = attempts.iter().find(|attempt| attempt.record.number == place.number);
        found.cloned().map(Some).ok_or_else(|| {
            Error::data(format!("the landed segment `{}` has changed", self.segments[place.segment].path))
        })
    }

    fn holds(&self, key: CallKey) -> bool {
        self.settled.contains_key(&key)
    }

    fn late_after(&self, key: CallKey) -> u32 {
        self.late_after.get(&key).copied().unwrap_or(0)
    }

    fn failed_after(&self, key: CallKey) -> u32 {
        self.failed_after.get(&key).copied().unwrap_or(0)
    }

    fn batches(&self) -> &[Vec<i64>] {
        &self.batches
    }
}

/// `None`: the definition has no such endpoint any more.
fn judgement(judge: &Judge<'_>, gateway: &Gateway, attempt: &Attempt) -> Option<Judgement> {
    let endpoint = gateway.endpoints.get(&attempt.record.endpoint)?;
    Some(judge.judge_bytes(endpoint, &attempt.record, &attempt.body))
}

/// Whether a page was asked for by the parameter that the definition has now: another one was corrected since, and the page
/// is asked for again.
fn names_its_page(gateway: &Gateway, record: &Record) -> bool {
    let page = gateway.endpoints.get(&record.endpoint).and_then(|endpoint| endpoint.page.as_ref());
    page.is_none_or(|page| page.number.is_empty() || record.request.contains_key(&page.number))
}

/// Whether an answer settles its call: there is nothing better to be had by asking again.
fn settles(judgement: &Judgement) -> bool {
    match judgement {
        Judgement::Good => true,
        Judgement::Fault(fault) => matches!(fault.class, ErrorClass::Item | ErrorClass::Gone),
    }
}

/// Calls for several offers.
#[derive(Debug, Default)]
struct Batches {
    asked: HashMap<CallKey, Batch>,
    /// The last answers that settled a call: the pipeline's own gateway, and the details'.
    answered: [i64; 2],
}

#[derive(Debug)]
struct Batch {
    offers: Vec<i64>,
    /// The number of its last attempt.
    number: i64,
    /// The one of its gateways.
    side: usize,
    is_settled: bool,
    /// A parameter of it was refused: it may be one offer's id.
    is_refused: bool,
    /// Attempts that failed, and how many a call may make.
    failed: u32,
    attempts_max: u32,
}

impl Batches {
    fn add(&mut self, key: CallKey, record: &Record, gateway: &Gateway, judgement: Option<&Judgement>) {
        let Some(judgement) = judgement else { return };
        let side = usize::from(record.gateway.is_some());
        if settles(judgement) {
            self.answered[side] = record.number;
        }
        let endpoint = gateway.endpoints.get("item").filter(|endpoint| endpoint.name == record.endpoint);
        let offers = endpoint.and_then(|endpoint| request::offers_asked(gateway, endpoint, &record.request));
        let Some(offers) = offers else { return };
        let attempts_max = gateway.limits.attempts_max.max(1);
        let new = Batch { offers, number: 0, side, is_settled: false, is_refused: false, failed: 0, attempts_max };
        let batch = self.asked.entry(key).or_insert(new);
        batch.number = record.number;
        batch.is_settled |= settles(judgement);
        if let Judgement::Fault(fault) = judgement {
            batch.is_refused = fault.class == ErrorClass::Param;
            batch.failed += u32::from(matches!(fault.class, ErrorClass::Retry | ErrorClass::Param));
        }
    }

    /// The offers of those that are answered or given up, in the order of asking, and the attempts of those given up. One
    /// is given up for its own sake: after it the gateway answered others.
    fn done(self) -> (Vec<Vec<i64>>, HashMap<CallKey, u32>) {
        let is_given_up = |batch: &Batch| {
            let has_failed = batch.is_refused || batch.failed >= batch.attempts_max;
            !batch.is_settled && has_failed && self.answered[batch.side] > batch.number
        };
        let given_up = self.asked.iter().filter(|(_, batch)| is_given_up(batch));
        let failed_after = given_up.map(|(key, batch)| (*key, batch.failed)).collect();
        let mut done: Vec<Batch> =
            self.asked.into_values().filter(|batch| batch.is_settled || is_given_up(batch)).collect();
        done.sort_unstable_by_key(|batch| batch.number);
        (done.into_iter().map(|batch| batch.offers).collect(), failed_after)
    }
}

/// Attempts as the ledger counts them: by account, scope and Beijing day of sending.
#[derive(Debug, Default)]
pub struct Counts(BTreeMap<(String, String, NaiveDate), u64>);

impl Counts {
    /// Counts an attempt; copies are no calls.
    pub fn add(&mut self, record: &Record, gateway: &Gateway) {
        if record.copied_from.is_some() || record.account_key.is_empty() {
            return;
        }
        let by_definition = || price::scope(gateway, &record.endpoint, record.shop_id.as_deref());
        let scope = record.scope.clone().unwrap_or_else(by_definition);
        *self.0.entry((record.account_key.clone(), scope, beijing_day(record.sent_at))).or_default() += 1;
    }

    /// Adds what was counted elsewhere.
    pub fn extend(&mut self, counted: &[Counted]) {
        for line in counted {
            *self.0.entry((line.account.clone(), line.scope.clone(), line.day)).or_default() += line.calls;
        }
    }

    /// Raises each count to what was counted elsewhere of the same calls.
    pub fn at_least(&mut self, counted: &[Counted]) {
        for line in counted {
            let calls = self.0.entry((line.account.clone(), line.scope.clone(), line.day)).or_default();
            *calls = line.calls.max(*calls);
        }
    }

    /// The lines of the ledger.
    #[must_use]
    pub fn ledger(self) -> Vec<Counted> {
        let line = |((account, scope, day), calls)| Counted { account, scope, day, calls };
        self.0.into_iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::base::secret::Mask;
    use crate::extract::{Sink as _, testing};
    use crate::land::{Writer, WriterOptions};
    use crate::store::Store;

    const NOW: &str = "2026-11-20T12:00:00Z";

    /// Lands what `item` was answered when this machine's clock was so far ahead, and counts the calls it settles.
    async fn settled(ahead: TimeDelta, bodies: &[&'static str]) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let zone = Zone::new(store, "nightly", beijing_day(testing::at(NOW)));
        let run_id = RunId::new(testing::at(NOW), [7; 10]);
        let writer =
            Writer::start(zone.clone(), WriterOptions { run_id, first_number: 1, mask: Mask::new(std::iter::empty()) });
        for (id, body) in (1..).zip(bodies) {
            let record = Record {
                endpoint: "item".into(),
                offer_id: Some(id),
                request: BTreeMap::from([("item_id".to_owned(), id.to_string())]),
                date: Some("Fri, 20 Nov 2026 12:00:00 GMT".into()),
                sent_at: testing::at(NOW) + ahead,
                received_at: testing::at(NOW) + ahead,
                ..testing::record(200)
            };
            writer.land(Attempt { record, body: (*body).into() }).await.unwrap();
        }
        writer.close().await.unwrap();
        let gateway = testing::gateway("http://gateway.invalid/");
        Resumed::read(&zone, &run_id, Gateways { own: &gateway, details: None }, None).await.unwrap().settled()
    }

    #[test]
    fn a_call_counts_as_it_was_counted_whoever_reads_of_it() {
        // Another pipeline's: this one's gateway counts by the account.
        let gateway = testing::gateway("http://gateway.invalid/");
        let mut counts = Counts::default();
        for scope in [Some("endpoint:item"), Some("shop:1"), None] {
            let scope = scope.map(str::to_owned);
            let record = Record { account_key: "key".into(), endpoint: "item".into(), scope, ..testing::record(200) };
            counts.add(&record, &gateway);
        }
        let scopes: Vec<_> = counts.ledger().into_iter().map(|line| line.scope).collect();
        assert_eq!(scopes, ["", "endpoint:item", "shop:1"]);
    }

    #[tokio::test]
    async fn what_a_wrong_clock_was_told_settles_nothing_before_a_time_was_accepted() {
        const REFUSED: &str = r#"{"error_response":{"code":"no.such.code","msg":"timestamp"}}"#;
        const GOOD: &str = r#"{"item":{"item_id":2}}"#;
        assert_eq!(settled(TimeDelta::zero(), &[REFUSED, GOOD]).await, 2);
        assert_eq!(
            settled(TimeDelta::hours(1), &[REFUSED, GOOD, REFUSED]).await,
            2,
            "the first may have been the clock"
        );
        assert_eq!(settled(TimeDelta::hours(1), &[REFUSED, REFUSED]).await, 0);
    }
}
