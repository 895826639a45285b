//! The schedule of a run: which call is next, and what is known when the last one is settled.
//!
//! Takes the plan's [`Work`]; the driver asks for a [`Task`], does it, and reports its [`Outcome`]. Shops are listed in
//! pipeline order, but a shop that waits for an answer lets the next ones go ahead; items come last.
//!
//! Invariant: pure. Every task handed out is settled exactly once, and every shop and item of the plan ends up in the facts.

use std::collections::{HashSet, VecDeque};

use chrono::{DateTime, Utc};

use crate::config::gateway::Paging;
use crate::config::pipeline::FetchDetails;
use crate::plan::{CountFrom, ShopIdFrom, ShopWork, Work};

use super::facts::ShopFacts;
use super::page::{End, Listing, Page, Repeated};

/// One call to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Resolve a shop's address.
    Resolve {
        /// The shop's place in the plan.
        shop: usize,
    },
    /// Ask for a shop's official count.
    Count {
        /// The shop's place in the plan.
        shop: usize,
    },
    /// Ask for a page of a shop's listing.
    Page {
        /// The shop's place in the plan.
        shop: usize,
        /// The page.
        page: u32,
    },
    /// Ask for a SKU's detail.
    Sku {
        /// The shop's place in the plan, when a listing named the SKU.
        shop: Option<usize>,
        /// The offer that named it.
        offer_id: i64,
        /// The SKU.
        sku_id: i64,
    },
    /// Ask for an offer's detail.
    Item {
        /// The offer.
        offer_id: i64,
    },
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The shop's id.
    Resolved(String),
    /// The shop's official count.
    Counted(u64),
    /// A page and the offers on it.
    Page(Page, Vec<Named>),
    /// A detail (item or SKU) and the offers in it.
    Detail(Vec<Named>),
    /// It was answered: there is nothing, or it is refused. Details end with this; anything else failed by it.
    Refused(String),
    /// It was not answered within its budget.
    Failed(String),
    /// It was not sent: the run stops.
    NotSent,
}

/// An offer and the SKUs it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The offer.
    pub offer_id: i64,
    /// Its SKUs.
    pub sku_ids: Vec<i64>,
}

/// The state of a run.
#[derive(Debug)]
pub struct Schedule {
    shops: Vec<ShopState>,
    /// Shops before this one are settled.
    first_open: usize,
    items: VecDeque<i64>,
    item_skus: VecDeque<(i64, i64)>,
    skus: FetchDetails,
    skus_known: HashSet<i64>,
    details_done: usize,
    details_known: usize,
    items_unanswered: Vec<i64>,
}

#[derive(Debug)]
struct ShopState {
    work: ShopWork,
    id: Option<String>,
    resolving: Step,
    counting: Step,
    listing: Listing,
    official_count: Option<u64>,
    failure: Option<String>,
    skus: VecDeque<(i64, i64)>,
    skus_in_flight: usize,
    calls_used: i64,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    announced: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    ToDo,
    InFlight,
    Settled,
}

impl Schedule {
    /// The schedule of a plan; `paging` is that of the gateway's listing.
    #[must_use]
    pub fn new(work: Work, paging: &Paging) -> Self {
        let shops = work.shops.into_iter().map(|shop| ShopState::new(shop, paging.clone())).collect();
        let details_known = work.items.len();
        Self {
            shops,
            first_open: 0,
            items: work.items.into(),
            item_skus: VecDeque::new(),
            skus: work.skus,
            skus_known: HashSet::new(),
            details_done: 0,
            details_known,
            items_unanswered: Vec::new(),
        }
    }

    /// The next call to make, if there is one now.
    pub fn next(&mut self, now: DateTime<Utc>) -> Option<Task> {
        while self.shops.get(self.first_open).is_some_and(|shop| shop.finished_at.is_some()) {
            self.first_open += 1;
        }
        for (index, shop) in self.shops.iter_mut().enumerate().skip(self.first_open) {
            if let Some(task) = shop.next(index) {
                shop.started_at.get_or_insert(now);
                return Some(task);
            }
        }
        if let Some(offer_id) = self.items.pop_front() {
            return Some(Task::Item { offer_id });
        }
        let (offer_id, sku_id) = self.item_skus.pop_front()?;
        Some(Task::Sku { shop: None, offer_id, sku_id })
    }

    /// Settles a task.
    ///
    /// # Errors
    /// [`Repeated`], when a page shows that the gateway does not read the page parameter.
    pub fn settle(&mut self, task: &Task, outcome: Outcome, now: DateTime<Utc>) -> Result<(), Repeated> {
        match *task {
            Task::Resolve { shop } => self.shops[shop].resolved(outcome),
            Task::Count { shop } => self.shops[shop].counted(outcome),
            Task::Page { shop, page } => {
                if let Some(offers) = self.shops[shop].paged(page, outcome)? {
                    self.name_skus(Some(shop), offers);
                }
            }
            Task::Sku { shop, .. } => {
                self.details_done += 1;
                if let Some(shop) = shop {
                    self.shops[shop].skus_in_flight -= 1;
                }
                if outcome == Outcome::NotSent {
                    self.details_done -= 1;
                    if let (Some(shop), Task::Sku { offer_id, sku_id, .. }) = (shop, task) {
                        self.shops[shop].skus.push_front((*offer_id, *sku_id));
                    }
                }
            }
            Task::Item { offer_id } => {
                self.details_done += 1;
                match outcome {
                    Outcome::Failed(_) | Outcome::NotSent => self.items_unanswered.push(offer_id),
                    Outcome::Detail(offers) => self.name_skus(None, offers),
                    _ => {}
                }
            }
        }
        if let Some(shop) = task.shop().and_then(|shop| self.shops.get_mut(shop))
            && shop.is_settled()
        {
            shop.finished_at.get_or_insert(now);
        }
        Ok(())
    }

    /// Adds attempts to a shop's account of calls.
    pub fn spent(&mut self, task: &Task, attempts: i64) {
        if let Some(shop) = task.shop().and_then(|shop| self.shops.get_mut(shop)) {
            shop.calls_used += attempts;
        }
    }

    /// Details settled, and details known.
    #[must_use]
    pub fn details(&self) -> (usize, usize) {
        (self.details_done, self.details_known)
    }

    /// A shop's id, once it is known.
    #[must_use]
    pub fn shop_id(&self, shop: usize) -> Option<&str> {
        self.shops.get(shop)?.id.as_deref()
    }

    /// A shop as the pipeline names it: name, else address, else id.
    #[must_use]
    pub fn label(&self, shop: usize) -> &str {
        let shop = self.shops.get(shop).map(|shop| &shop.work.shop);
        shop.and_then(|shop| shop.name.as_deref().or(shop.url.as_deref()).or(shop.id.as_deref())).unwrap_or_default()
    }

    /// A shop's address, where the pipeline gives one.
    #[must_use]
    pub fn shop_url(&self, shop: usize) -> Option<&str> {
        self.shops.get(shop)?.work.shop.url.as_deref()
    }

    /// Pages answered and needed of a shop's listing.
    #[must_use]
    pub fn pages(&self, shop: usize) -> (usize, Option<u32>) {
        self.shops.get(shop).map_or((0, None), |shop| shop.listing.progress())
    }

    /// Whether a shop's first call was handed out last: true once.
    pub fn has_just_begun(&mut self, shop: usize) -> bool {
        self.shops.get_mut(shop).is_some_and(|shop| !std::mem::replace(&mut shop.announced, true))
    }

    /// A shop's facts, once its last call is settled.
    #[must_use]
    pub fn finished(&self, shop: usize) -> Option<ShopFacts> {
        let state = self.shops.get(shop)?;
        state.finished_at.map(|at| state.facts(at, None))
    }

    /// What is known at the end: the shops in pipeline order, and the items that were not answered. `stopped` says why
    /// the run ended before its work did.
    #[must_use]
    pub fn facts(self, now: DateTime<Utc>, stopped: Option<&str>) -> (Vec<ShopFacts>, Vec<i64>) {
        let shops = self.shops.iter().map(|shop| shop.facts(now, stopped)).collect();
        let mut unanswered = self.items_unanswered;
        unanswered.extend(self.items);
        (shops, unanswered)
    }

    fn name_skus(&mut self, shop: Option<usize>, offers: Vec<Named>) {
        if self.skus == FetchDetails::Off {
            return;
        }
        let queue = match shop {
            Some(shop) => &mut self.shops[shop].skus,
            None => &mut self.item_skus,
        };
        for offer in offers {
            for sku_id in offer.sku_ids {
                if self.skus_known.insert(sku_id) {
                    queue.push_back((offer.offer_id, sku_id));
                    self.details_known += 1;
                }
            }
        }
    }
}

impl Task {
    /// The shop that the task is about.
    #[must_use]
    pub fn shop(&self) -> Option<usize> {
        match *self {
            Task::Resolve { shop } | Task::Count { shop } | Task::Page { shop, .. } => Some(shop),
            Task::Sku { shop, .. } => shop,
            Task::Item { .. } => None,
        }
    }

    /// The endpoint that answers it.
    #[must_use]
    pub fn endpoint(&self) -> &'static str {
        match self {
            Task::Resolve { .. } => "shop",
            Task::Count { .. } => "count",
            Task::Page { .. } => "listing",
            Task::Sku { .. } => "sku",
            Task::Item { .. } => "item",
        }
    }
}

impl ShopState {
    fn new(work: ShopWork, paging: Paging) -> Self {
        let step = |to_do| if to_do { Step::ToDo } else { Step::Settled };
        Self {
            id: work.shop.id.clone(),
            resolving: step(work.id == ShopIdFrom::Gateway),
            counting: step(work.count == CountFrom::Endpoint),
            listing: Listing::new(paging),
            official_count: None,
            failure: None,
            skus: VecDeque::new(),
            skus_in_flight: 0,
            calls_used: 0,
            started_at: None,
            finished_at: None,
            announced: false,
            work,
        }
    }

    fn next(&mut self, shop: usize) -> Option<Task> {
        if self.failure.is_some() || self.resolving == Step::InFlight {
            return None;
        }
        if self.resolving == Step::ToDo {
            self.resolving = Step::InFlight;
            return Some(Task::Resolve { shop });
        }
        if self.counting == Step::ToDo {
            self.counting = Step::InFlight;
            return Some(Task::Count { shop });
        }
        // The first page is needed whatever the count says; the others wait for it.
        if (self.counting == Step::Settled || !self.listing.has_begun())
            && let Some(page) = self.listing.next_page()
        {
            return Some(Task::Page { shop, page });
        }
        let (offer_id, sku_id) = self.skus.pop_front()?;
        self.skus_in_flight += 1;
        Some(Task::Sku { shop: Some(shop), offer_id, sku_id })
    }

    fn resolved(&mut self, outcome: Outcome) {
        self.resolving = Step::Settled;
        match outcome {
            Outcome::Resolved(id) => self.id = Some(id),
            Outcome::Refused(reason) | Outcome::Failed(reason) => {
                self.failure = Some(format!("the shop's address was not resolved: {reason}"));
            }
            _ => self.resolving = Step::ToDo,
        }
    }

    fn counted(&mut self, outcome: Outcome) {
        self.counting = Step::Settled;
        match outcome {
            Outcome::Counted(total) => {
                self.official_count = Some(total);
                self.listing.counted(total);
            }
            Outcome::NotSent => self.counting = Step::ToDo,
            // Without the count the listing goes on page by page; completeness will say that it is unknown.
            _ => {}
        }
    }

    fn paged(&mut self, number: u32, outcome: Outcome) -> Result<Option<Vec<Named>>, Repeated> {
        match outcome {
            Outcome::Page(page, offers) => {
                self.listing.answered(number, &page)?;
                return Ok(Some(offers));
            }
            Outcome::Refused(reason) | Outcome::Failed(reason) => self.listing.failed(number, reason),
            _ => self.listing.not_sent(number),
        }
        Ok(None)
    }

    fn is_settled(&self) -> bool {
        self.failure.is_some()
            || self.resolving == Step::Settled
                && self.counting == Step::Settled
                && self.listing.end().is_some()
                && self.skus.is_empty()
                && self.skus_in_flight == 0
    }

    fn facts(&self, now: DateTime<Utc>, stopped: Option<&str>) -> ShopFacts {
        let shop = &self.work.shop;
        // Tables need a name for a shop whose id stayed unknown.
        let shop_id = self.id.clone().or_else(|| shop.url.clone()).unwrap_or_default();
        ShopFacts {
            shop_id,
            shop_name: shop.name.clone(),
            shop_url: shop.url.clone(),
            official_count: self.official_count.or(self.listing.total()).and_then(|total| i64::try_from(total).ok()),
            incomplete_reason: self.incomplete_reason(stopped),
            calls_used: self.calls_used,
            started_at: self.started_at.unwrap_or(now),
            finished_at: self.finished_at.unwrap_or(now),
            ..ShopFacts::default()
        }
    }

    fn incomplete_reason(&self, stopped: Option<&str>) -> Option<String> {
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        let stopped = stopped.unwrap_or("the run ended");
        if !self.listing.has_begun() {
            return Some(format!("not listed: {stopped}"));
        }
        match (self.listing.end(), self.skus.len()) {
            (None, _) => Some(format!("listed up to page {}: {stopped}", self.listing.progress().0)),
            (Some(End::Incomplete(reason)), _) => Some(reason),
            (Some(End::Complete), 0) => None,
            (Some(End::Complete), left) => Some(format!("{left} SKU details were not asked for: {stopped}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::testing;

    fn schedule(shops: &[&str], items: &[i64], skus: FetchDetails) -> Schedule {
        let gateway = testing::gateway("");
        let paging = gateway.endpoints["listing"].page.clone().unwrap();
        let mut pipeline = testing::pipeline(gateway);
        pipeline.shops = shops.iter().map(|id| testing::shop(id)).collect();
        pipeline.items = items.to_vec();
        pipeline.fetch.skus = skus;
        Schedule::new(crate::plan::work(&pipeline).unwrap(), &paging)
    }

    fn page(ids: std::ops::Range<i64>, sku_ids: &[i64]) -> Outcome {
        let keys = ids.clone().map(|id| u64::try_from(id).unwrap()).collect();
        Outcome::Page(
            Page { keys, ..Page::default() },
            ids.map(|offer_id| Named { offer_id, sku_ids: sku_ids.to_vec() }).collect(),
        )
    }

    /// Every task that can be handed out now.
    fn tasks(schedule: &mut Schedule) -> Vec<Task> {
        std::iter::from_fn(|| schedule.next(DateTime::UNIX_EPOCH)).collect()
    }

    #[test]
    fn a_shop_that_waits_lets_the_next_ones_go_ahead_and_items_come_last() {
        let mut schedule = schedule(&["a", "b"], &[9], FetchDetails::Off);
        let expected = [
            Task::Count { shop: 0 },
            Task::Page { shop: 0, page: 1 },
            Task::Count { shop: 1 },
            Task::Page { shop: 1, page: 1 },
            Task::Item { offer_id: 9 },
        ];
        assert_eq!(tasks(&mut schedule), expected);
        schedule.settle(&Task::Count { shop: 0 }, Outcome::Counted(5), DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(tasks(&mut schedule), [Task::Page { shop: 0, page: 2 }, Task::Page { shop: 0, page: 3 }]);
    }

    #[test]
    fn pages_past_the_first_wait_for_the_count() {
        let mut schedule = schedule(&["a"], &[], FetchDetails::Off);
        let now = DateTime::UNIX_EPOCH;
        tasks(&mut schedule);
        schedule.settle(&Task::Page { shop: 0, page: 1 }, page(1..3, &[]), now).unwrap();
        assert_eq!(tasks(&mut schedule), [], "the count may say that one page is all");
        schedule.settle(&Task::Count { shop: 0 }, Outcome::Counted(2), now).unwrap();
        assert_eq!(tasks(&mut schedule), []);
        assert_eq!(schedule.finished(0).unwrap().incomplete_reason, None);
    }

    #[test]
    fn a_sku_is_asked_for_once_and_the_shop_is_finished_after_its_last() {
        let mut schedule = schedule(&["a"], &[], FetchDetails::All);
        let now = DateTime::UNIX_EPOCH;
        tasks(&mut schedule);
        schedule.settle(&Task::Count { shop: 0 }, Outcome::Counted(2), now).unwrap();
        schedule.settle(&Task::Page { shop: 0, page: 1 }, page(1..3, &[7]), now).unwrap();
        let sku = Task::Sku { shop: Some(0), offer_id: 1, sku_id: 7 };
        assert_eq!(tasks(&mut schedule), std::slice::from_ref(&sku));
        assert_eq!(schedule.finished(0), None);
        schedule.settle(&sku, Outcome::Refused("gone".into()), now).unwrap();
        assert_eq!(schedule.finished(0).unwrap().incomplete_reason, None);
    }

    #[test]
    fn every_shop_and_item_of_the_plan_is_in_the_facts_whenever_the_run_ends() {
        let all = schedule(&["a", "b"], &[1, 2], FetchDetails::Off);
        let (shops, items) = all.facts(DateTime::UNIX_EPOCH, Some("quota"));
        let reasons: Vec<_> = shops.iter().map(|shop| shop.incomplete_reason.as_deref()).collect();
        assert_eq!((reasons, items), (vec![Some("not listed: quota"); 2], vec![1, 2]));
        let mut half = schedule(&["a"], &[1], FetchDetails::All);
        let now = DateTime::UNIX_EPOCH;
        tasks(&mut half);
        half.settle(&Task::Item { offer_id: 1 }, Outcome::NotSent, now).unwrap();
        half.settle(&Task::Count { shop: 0 }, Outcome::Counted(2), now).unwrap();
        half.settle(&Task::Page { shop: 0, page: 1 }, page(1..3, &[7, 8]), now).unwrap();
        tasks(&mut half);
        half.settle(&Task::Sku { shop: Some(0), offer_id: 1, sku_id: 8 }, Outcome::NotSent, now).unwrap();
        let (shops, items) = half.facts(now, Some("quota"));
        let reason = shops[0].incomplete_reason.as_deref();
        assert_eq!((reason, items), (Some("1 SKU details were not asked for: quota"), vec![1]));
    }
}
