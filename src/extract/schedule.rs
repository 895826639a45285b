//! The schedule of a run: which call is next, and what is known when the last one is settled.
//!
//! Takes the plan's [`Work`] and what the picture before says; the driver asks for a [`Task`], does it, and reports its
//! [`Outcome`]. Shops are listed in order, but a shop that waits for an answer lets the next ones go ahead; single
//! items come last.
//!
//! Invariant: pure, and the same outcomes give the same tasks: a run that goes on asks what it asked before. Every
//! task handed out is settled exactly once, and every shop and item of the plan ends up in the facts.

mod details;
mod shop;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};

use crate::config::Gateway;
use crate::config::pipeline::Fetch;
use crate::plan::{Known, Work};

use super::facts::ShopFacts;
use super::page::{Page, Repeated};
use super::request::Span;

use details::Details;
pub(super) use details::parts;
use shop::{ShopState, shop_rules};

/// What a schedule is made of.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// The pipeline's gateway.
    pub gateway: &'a Gateway,
    /// The gateway that gives details.
    pub details: &'a Gateway,
    /// What to fetch.
    pub fetch: &'a Fetch,
    /// The picture before.
    pub known: &'a Known,
    /// The run's day.
    pub dt: NaiveDate,
    /// When the run started for the first time: the end of every span of time.
    pub until: DateTime<Utc>,
    /// The shops that were fetched longest ago go first, because calls are short.
    pub stalest_first: bool,
    /// Each [`Stage`] waits for [`Schedule::open`].
    pub gated: bool,
    /// The offers of each call for several of them that an earlier start was done with, in the order of asking.
    pub asked: &'a [Vec<i64>],
}

/// Answers of one shop that came further apart may be of two states of it: while a listing lasts, sellers edit few offers;
/// overnight, many.
pub const APART: chrono::TimeDelta = chrono::TimeDelta::hours(6);

/// What may be asked for. What an answer shows to be asked for next may be more than the day allows: each stage shows it
/// for the one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Ids and counts: they show how many calls the listings need.
    Counts,
    /// Listings and single items, too: they name offers and SKUs.
    Listings,
    /// Everything: also the details of what was named.
    Details,
}

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
    /// Ask for a shop's official count once more: what was listed differs from one that an earlier start was told.
    Recount {
        /// The shop's place in the plan.
        shop: usize,
    },
    /// Ask for a shop's categories.
    Categories {
        /// The shop's place in the plan.
        shop: usize,
    },
    /// Ask for a page of a slice of a shop's listing.
    Page {
        /// The shop's place in the plan.
        shop: usize,
        /// Which listing.
        list: ListKind,
        /// The slice's place in that listing.
        slice: usize,
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
    /// Ask for the details of an offer, or of several in one call.
    Item {
        /// The shop's place in the plan, when a listing named the offers.
        shop: Option<usize>,
        /// The offers; never empty.
        offer_ids: Vec<i64>,
    },
    /// Ask for the gateway's time: the connection test.
    Time,
}

/// Which of a shop's listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// What is on sale.
    OnSale,
    /// What went off sale.
    OffSale,
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The shop's id.
    Resolved(String),
    /// The shop's official count.
    Counted(u64),
    /// The ids of the shop's categories.
    Categories(Vec<String>),
    /// A page and the offers on it.
    Page(Page, Vec<Named>),
    /// A detail (items or a SKU) and the offers in it.
    Detail(Vec<Named>),
    /// It was answered: there is nothing, or it is refused. Details end with this; anything else failed by it.
    Refused(String),
    /// It was not answered within its budget.
    Failed(String),
    /// As `Failed`, and its last try took too long: a smaller question may be answered.
    TimedOut(String),
    /// It was not sent: the run stops, or nobody may ask this now.
    NotSent,
}

/// An offer as an answer names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The offer.
    pub offer_id: i64,
    /// Its SKUs.
    pub sku_ids: Vec<i64>,
    /// When it was modified last, where the answer says so.
    pub modified_at: Option<DateTime<Utc>>,
}

/// The state of a run.
#[derive(Debug)]
pub struct Schedule<'a> {
    setup: Setup<'a>,
    shops: Vec<ShopState<'a>>,
    /// Places of shops, in the order in which they are asked for.
    order: Vec<usize>,
    /// Shops before this place of `order` are settled.
    first_open: usize,
    stage: Stage,
    details: Details,
    /// Endpoints that nobody may ask any more, and why.
    held_endpoints: BTreeMap<&'static str, String>,
    items_unanswered: Vec<i64>,
    /// Attempts that earlier starts of the run sent, by shop.
    earlier_calls: HashMap<String, i64>,
}

impl<'a> Schedule<'a> {
    /// The schedule of a plan. `earlier_calls` are the attempts that earlier starts of the run sent, by shop.
    #[must_use]
    pub fn new(work: Work, setup: Setup<'a>, earlier_calls: &HashMap<String, i64>) -> Self {
        let rules = shop_rules(setup.gateway, setup.until);
        let mut details = Details::new(&work, setup.details, setup.asked);
        details.single(&work.items);
        let shops: Vec<_> =
            work.shops.into_iter().map(|shop| ShopState::new(shop, rules.clone(), setup, earlier_calls)).collect();
        let mut order: Vec<usize> = (0..shops.len()).collect();
        if setup.stalest_first {
            order.sort_by_key(|&index| shops[index].fetched_at());
        }
        Self {
            setup,
            shops,
            order,
            first_open: 0,
            stage: if setup.gated { Stage::Counts } else { Stage::Details },
            details,
            held_endpoints: BTreeMap::new(),
            items_unanswered: Vec::new(),
            earlier_calls: earlier_calls.clone(),
        }
    }

    /// The next call to make, if there is one now.
    pub fn next(&mut self, now: DateTime<Utc>) -> Option<Task> {
        while self.order.get(self.first_open).is_some_and(|&shop| self.shops[shop].finished_at.is_some()) {
            self.first_open += 1;
        }
        for &index in &self.order[self.first_open..] {
            let shop = &mut self.shops[index];
            let task = shop.next(index, self.stage == Stage::Counts, &self.held_endpoints).or_else(|| {
                let open = self.stage == Stage::Details && shop.held.is_none();
                open.then(|| self.details.next(Some(index), shop.is_listed(), &self.held_endpoints)).flatten()
            });
            if let Some(task) = task {
                shop.started_at.get_or_insert(now);
                return Some(task);
            }
        }
        match self.stage {
            Stage::Counts => None,
            Stage::Listings => self.details.next_items(None, true, &self.held_endpoints),
            Stage::Details => self.details.next(None, true, &self.held_endpoints),
        }
    }

    /// What may be asked for now. When nothing is handed out or in flight any more, only the gate before the next stage
    /// keeps the schedule from going on.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Lets the next stage be asked for.
    pub fn open(&mut self) {
        self.stage = if self.stage == Stage::Counts { Stage::Listings } else { Stage::Details };
    }

    /// What listings and single items (`None`) have named: the details that are to be asked for, and whether no more can be
    /// named, because the listing (or the last of the items) is settled.
    pub fn named(&self) -> impl Iterator<Item = (Option<usize>, bool, Vec<Task>)> + '_ {
        let shops = self.shops.iter().enumerate().map(|(index, shop)| (Some(index), shop.is_listed()));
        let items = std::iter::once((None, self.details.has_all_items()));
        shops.chain(items).map(|(shop, is_all)| (shop, is_all, self.details.open(shop, shop.is_none() || is_all)))
    }

    /// The official counts known so far, by the shop's place in the plan.
    #[must_use]
    pub fn counts(&self) -> HashMap<usize, u64> {
        self.shops.iter().enumerate().filter_map(|(index, shop)| Some((index, shop.official_count()?))).collect()
    }

    /// The shops' ids known so far, by the address that the pipeline names them with.
    #[must_use]
    pub fn ids_by_url(&self) -> HashMap<String, String> {
        self.shops.iter().filter_map(|shop| Some((shop.work.shop.url.clone()?, shop.id.clone()?))).collect()
    }

    /// Settles a task.
    ///
    /// # Errors
    /// [`Repeated`], when a page shows that the gateway does not read the page parameter; the shop is incomplete.
    pub fn settle(&mut self, task: &Task, outcome: Outcome, now: DateTime<Utc>) -> Result<(), Repeated> {
        let mut repeated = Ok(());
        match task {
            Task::Resolve { shop } => self.resolved(*shop, outcome),
            Task::Count { shop } => self.shops[*shop].counted(outcome),
            Task::Recount { shop } => self.shops[*shop].recounted(outcome),
            Task::Categories { shop } => self.shops[*shop].categorised(outcome),
            Task::Page { shop, list, slice, page } => {
                let offers;
                (offers, repeated) = self.shops[*shop].paged(*list, *slice, *page, outcome);
                let known = self.shops[*shop].known();
                self.details.listed(*shop, offers, known);
            }
            Task::Sku { .. } => self.details.settled_sku(task, &outcome),
            Task::Item { shop, offer_ids } => {
                let unanswered = self.details.settled_items(*shop, offer_ids, outcome);
                match shop {
                    Some(shop) => self.shops[*shop].details_unanswered += unanswered.len(),
                    None => self.items_unanswered.extend(unanswered),
                }
            }
            Task::Time => {}
        }
        if let Some(shop) = task.shop()
            && self.shops[shop].is_listed()
        {
            self.shops[shop].tell_doubt();
            if self.details.is_done(shop) {
                self.shops[shop].finished_at.get_or_insert(now);
            }
        }
        repeated
    }

    /// Whether any listing shows that the gateway reads the page parameter.
    #[must_use]
    pub fn has_turned(&self) -> bool {
        self.shops.iter().any(ShopState::has_turned)
    }

    /// The ids of the shops of which pages may be of no use where it is not read: nothing shows that theirs were turned.
    #[must_use]
    pub fn unturned(&self) -> Vec<String> {
        self.shops.iter().filter(|shop| shop.is_unturned()).filter_map(|shop| shop.id.clone()).collect()
    }

    /// How many shops there are.
    #[must_use]
    pub fn shops(&self) -> usize {
        self.shops.len()
    }

    /// An address has an id, or none. Two names may lead to one shop: whichever was known first is listed.
    fn resolved(&mut self, place: usize, outcome: Outcome) {
        self.shops[place].resolved(outcome);
        let Some(id) = self.shops[place].id.clone() else { return };
        let mut others = self.shops.iter().enumerate().filter(|(other, shop)| *other != place && !shop.is_again);
        let first = others.find(|(_, shop)| shop.id.as_ref() == Some(&id)).map(|(first, _)| first);
        match first.map(|first| self.shops.get_disjoint_mut([first, place])) {
            Some(Ok([first, again])) => {
                let left = again.leave_to(first);
                first.take_over(left);
            }
            _ => self.shops[place].calls_used += self.earlier_calls.get(&id).copied().unwrap_or(0),
        }
    }

    /// Nobody may ask about this shop any more today.
    pub fn hold_shop(&mut self, shop: usize, reason: &str) {
        self.shops[shop].held.get_or_insert_with(|| reason.to_owned());
    }

    /// Nobody may ask this endpoint any more today.
    pub fn hold_endpoint(&mut self, endpoint: &'static str, reason: &str) {
        self.held_endpoints.entry(endpoint).or_insert_with(|| reason.to_owned());
    }

    /// Why something was left out, where it was.
    #[must_use]
    pub fn held(&self) -> Option<&str> {
        let shops = self.shops.iter().find_map(|shop| shop.held.as_deref());
        shops.or_else(|| self.held_endpoints.values().next().map(String::as_str))
    }

    /// The gateway's clock is this far ahead of ours, or more: watermarks are by its clock.
    pub fn correct_clock(&mut self, offset: chrono::TimeDelta) {
        if let Some(until) = self.setup.until.checked_add_signed(offset) {
            self.shops.iter_mut().for_each(|shop| shop.watermark_at = until);
        }
    }

    /// Adds attempts to a shop's account of calls.
    pub fn spent(&mut self, task: &Task, attempts: i64) {
        if let Some(shop) = task.shop().and_then(|shop| self.shops.get_mut(shop)) {
            shop.calls_used += attempts;
        }
    }

    /// Takes note of when the gateway gave the answer that settles a task: an earlier start of the run may have asked.
    pub fn answered_at(&mut self, task: &Task, at: DateTime<Utc>) {
        if let Some(shop) = task.shop().and_then(|shop| self.shops.get_mut(shop)) {
            shop.answered_at(task, at);
        }
    }

    /// Details settled, and details known.
    #[must_use]
    pub fn details(&self) -> (usize, usize) {
        self.details.progress()
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

    /// What a page's slice is narrowed to: a span of time, a category.
    #[must_use]
    pub fn slice(&self, shop: usize, list: ListKind, slice: usize) -> (Option<Span>, Option<String>) {
        self.shops.get(shop).map(|shop| shop.slice(list, slice)).unwrap_or_default()
    }

    /// Whether a page's slice is halved when it takes too long.
    #[must_use]
    pub fn can_halve(&self, shop: usize, list: ListKind, slice: usize) -> bool {
        self.shops.get(shop).is_some_and(|shop| shop.can_halve(list, slice))
    }

    /// When offers were modified last, as far as a listing said so.
    #[must_use]
    pub fn modified_at(&self, offer_ids: &[i64]) -> Option<DateTime<Utc>> {
        self.details.modified_at(offer_ids)
    }

    /// Pages answered and needed of a shop's listing.
    #[must_use]
    pub fn pages(&self, shop: usize) -> (usize, Option<u32>) {
        self.shops.get(shop).map_or((0, None), ShopState::progress)
    }

    /// Whether a shop's first call was handed out last: true once.
    pub fn has_just_begun(&mut self, shop: usize) -> bool {
        self.shops.get_mut(shop).is_some_and(|shop| !std::mem::replace(&mut shop.announced, true))
    }

    /// What a shop has to say since it was asked last.
    pub fn news(&mut self, shop: usize) -> Option<String> {
        self.shops.get_mut(shop)?.news.take()
    }

    /// A shop's facts, once its last call is settled.
    #[must_use]
    pub fn finished(&self, shop: usize) -> Option<ShopFacts> {
        let state = self.shops.get(shop).filter(|shop| !shop.is_again)?;
        state.finished_at.map(|at| state.facts(at, None, self.details.left(shop)))
    }

    /// What is known at the end: the shops in pipeline order, each once, and the items that were not answered. `stopped`
    /// says why the run ended before its work did.
    #[must_use]
    pub fn facts(self, now: DateTime<Utc>, stopped: Option<&str>) -> (Vec<ShopFacts>, Vec<i64>) {
        let left = |shop| self.details.left(shop);
        let shops = self.shops.iter().enumerate().filter(|(_, shop)| !shop.is_again);
        let shops = shops.map(|(index, shop)| shop.facts(now, stopped, left(index))).collect();
        let mut unanswered = self.items_unanswered;
        unanswered.extend(self.details.items_left());
        (shops, unanswered)
    }
}

impl Task {
    /// The shop that the task is about.
    #[must_use]
    pub fn shop(&self) -> Option<usize> {
        match self {
            Task::Resolve { shop }
            | Task::Count { shop }
            | Task::Recount { shop }
            | Task::Categories { shop }
            | Task::Page { shop, .. } => Some(*shop),
            Task::Sku { shop, .. } | Task::Item { shop, .. } => *shop,
            Task::Time => None,
        }
    }

    /// Whether the run has asked the same before: no answer that is kept is one to it.
    #[must_use]
    pub fn is_again(&self) -> bool {
        matches!(self, Task::Recount { .. })
    }

    /// The endpoint that answers it.
    #[must_use]
    pub fn endpoint(&self) -> &'static str {
        match self {
            Task::Resolve { .. } => "shop",
            Task::Count { .. } | Task::Recount { .. } => "count",
            Task::Categories { .. } => "categories",
            Task::Page { list: ListKind::OnSale, .. } => "listing",
            Task::Page { list: ListKind::OffSale, .. } => "off_sale",
            Task::Sku { .. } => "sku",
            Task::Item { .. } => "item",
            Task::Time => "time",
        }
    }
}
