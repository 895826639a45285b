//! One shop: its id, its count, its listing — whole, or what changed since the watermark — and what is known at the end.
//!
//! | listing | asked for | proven by |
//! |---|---|---|
//! | whole | the count, then every slice of the [`Cover`] | every slice was answered; transform compares the count |
//! | changed | the count, what was modified since the watermark, what went off sale since | carried ∪ listed − off sale is exactly the count; else the shop is listed whole |
//!
//! Invariant: pure. A shop that cannot be proven by what changed is listed whole in the same run.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::Gateway;
use crate::config::gateway::{Endpoint, Paging, TimeFormat};
use crate::config::pipeline::{FetchDetails, FetchListing, Shop};
use crate::extract::cover::{Ask, Cover, Failure, Rules, WindowRules};
use crate::extract::facts::{Covered, Listed, ShopFacts};
use crate::extract::page::{End, Repeated};
use crate::extract::request::Span;
use crate::plan::{CountFrom, KnownShop, ShopIdFrom, ShopWork};

use super::{APART, ListKind, Named, Outcome, Setup, Task};

/// How a gateway's listings can be covered.
#[derive(Debug, Clone)]
pub(super) struct ShopRules {
    on_sale: Rules,
    off_sale: Option<Rules>,
    overlap: TimeDelta,
}

/// A listing without page parameters is one page.
fn single_page() -> Paging {
    Paging { number: String::new(), first: 1, last: Some(1), size: None, size_max: u32::MAX }
}

fn rules(gateway: &Gateway, endpoint: Option<&Endpoint>, until: DateTime<Utc>) -> Rules {
    let format = |window: &crate::config::gateway::Window| window.time.clone().unwrap_or_else(|| gateway.time.clone());
    // A pattern may write milliseconds as a literal: seconds are what it can be trusted with.
    let unit = |format: TimeFormat| {
        if format == TimeFormat::UnixMillis { TimeDelta::milliseconds(1) } else { TimeDelta::seconds(1) }
    };
    let window = endpoint.and_then(|endpoint| endpoint.window.as_ref());
    let window = window.map(|window| WindowRules {
        start: window.start.clone(),
        end: window.end.clone(),
        unit: unit(format(window)),
    });
    let has_categories = gateway.endpoints.contains_key("categories");
    let category = endpoint.and_then(|endpoint| endpoint.category.clone()).filter(|_| has_categories);
    let paging = endpoint.and_then(|endpoint| endpoint.page.clone()).unwrap_or_else(single_page);
    let tolerance = if gateway.completeness.count { gateway.completeness.count_tolerance } else { 0 };
    Rules { paging, window, category, tolerance, from: None, until }
}

pub(super) fn shop_rules(gateway: &Gateway, until: DateTime<Utc>) -> ShopRules {
    let listing = gateway.endpoints.get("listing");
    let off_sale = gateway.endpoints.get("off_sale").filter(|endpoint| endpoint.window.is_some());
    let overlap = listing.and_then(|listing| listing.window.as_ref()).map_or(0, |window| window.overlap_seconds);
    ShopRules {
        on_sale: rules(gateway, listing, until),
        off_sale: off_sale.map(|endpoint| rules(gateway, Some(endpoint), until)),
        overlap: i64::try_from(overlap).ok().and_then(TimeDelta::try_seconds).unwrap_or_default(),
    }
}

/// The state of one shop.
#[derive(Debug)]
pub(super) struct ShopState<'a> {
    pub(super) work: ShopWork,
    pub(super) id: Option<String>,
    pub(super) started_at: Option<DateTime<Utc>>,
    pub(super) finished_at: Option<DateTime<Utc>>,
    pub(super) announced: bool,
    pub(super) calls_used: i64,
    pub(super) details_unanswered: usize,
    pub(super) held: Option<String>,
    pub(super) news: Option<String>,
    /// It is the same shop as one that was known before it, and is left to that one.
    pub(super) is_again: bool,
    /// What else the pipeline calls it.
    also: Vec<Shop>,
    /// The start of the run by the gateway's clock.
    pub(super) watermark_at: DateTime<Utc>,
    setup: Setup<'a>,
    rules: ShopRules,
    resolving: Step,
    counting: Step,
    recounting: Step,
    was_recounted: bool,
    /// When its count was told.
    counted_at: Option<DateTime<Utc>>,
    /// When the first and the last page of its listing came.
    paged_at: Option<(DateTime<Utc>, DateTime<Utc>)>,
    is_doubt_told: bool,
    official_count: Option<u64>,
    failure: Option<String>,
    mode: Listed,
    /// `None` until the id and, where it is asked for, the count are known.
    on_sale: Option<Cover>,
    off_sale: Option<Cover>,
    /// What its listing named.
    listed_ids: HashSet<i64>,
    off_sale_ids: BTreeSet<i64>,
    /// Offers that name their SKUs, and those.
    named_skus: (u64, u64),
    /// Those offers of them that the picture before does not have.
    newly_named: u64,
    /// The coverage of an incremental listing that did not prove the shop.
    given_up: Vec<Covered>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    ToDo,
    InFlight,
    Settled,
}

impl<'a> ShopState<'a> {
    pub(super) fn new(work: ShopWork, rules: ShopRules, setup: Setup<'a>, earlier: &HashMap<String, i64>) -> Self {
        let step = |to_do| if to_do { Step::ToDo } else { Step::Settled };
        let id = work.shop.id.clone();
        Self {
            started_at: None,
            finished_at: None,
            announced: false,
            calls_used: id.as_ref().and_then(|id| earlier.get(id)).copied().unwrap_or(0),
            details_unanswered: 0,
            held: None,
            news: None,
            is_again: false,
            also: Vec::new(),
            watermark_at: setup.until,
            setup,
            rules,
            resolving: step(work.id == ShopIdFrom::Gateway),
            counting: step(work.count == CountFrom::Endpoint),
            recounting: Step::Settled,
            was_recounted: false,
            counted_at: None,
            paged_at: None,
            is_doubt_told: false,
            official_count: None,
            failure: None,
            mode: Listed::Whole,
            on_sale: None,
            off_sale: None,
            listed_ids: HashSet::new(),
            off_sale_ids: BTreeSet::new(),
            named_skus: (0, 0),
            newly_named: 0,
            given_up: Vec::new(),
            id,
            work,
        }
    }

    /// What the picture before holds of it, once its id is known.
    pub(super) fn known(&self) -> Option<&'a KnownShop> {
        self.setup.known.shops.get(self.id.as_deref()?)
    }

    /// When it was fetched last; the shops never fetched come first.
    pub(super) fn fetched_at(&self) -> Option<DateTime<Utc>> {
        let by_url = || self.setup.known.ids_by_url.get(self.work.shop.url.as_deref()?);
        let id = self.id.as_ref().or_else(by_url)?;
        self.setup.known.shops.get(id)?.finished_at
    }

    pub(super) fn official_count(&self) -> Option<u64> {
        self.official_count.or_else(|| self.on_sale.as_ref().filter(|_| self.mode == Listed::Whole)?.total())
    }

    /// The next call about it. While the schedule is gated, only what tells how many calls it needs.
    pub(super) fn next(&mut self, shop: usize, gated: bool, held: &BTreeMap<&'static str, String>) -> Option<Task> {
        let over = self.is_again || self.failure.is_some() || self.held.is_some();
        if over || self.resolving == Step::InFlight {
            return None;
        }
        if self.resolving == Step::ToDo {
            if held.contains_key("shop") {
                return None;
            }
            self.resolving = Step::InFlight;
            return Some(Task::Resolve { shop });
        }
        if self.counting == Step::ToDo {
            if held.contains_key("count") {
                return None;
            }
            self.counting = Step::InFlight;
            return Some(Task::Count { shop });
        }
        let counts_itself = self.work.count == CountFrom::Listing;
        if self.counting == Step::InFlight || gated && !(counts_itself && self.on_sale.is_none()) {
            return None;
        }
        if self.on_sale.is_none() {
            self.begin();
        }
        if self.recounting == Step::ToDo && !held.contains_key("count") {
            self.recounting = Step::InFlight;
            return Some(Task::Recount { shop });
        }
        self.next_page(shop, ListKind::OnSale, held).or_else(|| self.next_page(shop, ListKind::OffSale, held))
    }

    fn next_page(&mut self, shop: usize, list: ListKind, held: &BTreeMap<&'static str, String>) -> Option<Task> {
        let endpoint = if list == ListKind::OnSale { "listing" } else { "off_sale" };
        if held.contains_key(endpoint) {
            return None;
        }
        match self.cover_mut(list)?.next()? {
            Ask::Categories => Some(Task::Categories { shop }),
            Ask::Page { slice, page } => Some(Task::Page { shop, list, slice, page }),
        }
    }

    /// Decides how it is listed.
    fn begin(&mut self) {
        let Some(since) = self.changed_since() else { return self.begin_whole() };
        self.mode = Listed::Changed;
        let from = Some(since);
        self.on_sale = Some(Cover::new(Rules { from, ..self.rules.on_sale.clone() }));
        self.off_sale = self.rules.off_sale.clone().map(|rules| Cover::new(Rules { from, ..rules }));
    }

    fn begin_whole(&mut self) {
        self.mode = Listed::Whole;
        let mut cover = Cover::new(self.rules.on_sale.clone());
        if let Some(count) = self.official_count {
            cover.counted(count);
        }
        self.on_sale = Some(cover);
        self.off_sale = None;
        self.paged_at = None;
    }

    /// Where an incremental listing starts; `None`: it is listed whole.
    fn changed_since(&self) -> Option<DateTime<Utc>> {
        let known = self.known()?;
        let whole_at = known.whole_dt?;
        let age_days = (self.setup.dt - whole_at).num_days();
        let young = (0..i64::from(self.setup.fetch.full_days)).contains(&age_days);
        let possible = self.setup.fetch.listing == FetchListing::Changed
            && self.rules.on_sale.window.is_some()
            // Nothing but the official count proves that nothing was missed.
            && self.official_count.is_some();
        // What the pipeline asks for since, and the picture before does not hold, only a whole listing shows.
        let fetch = self.setup.fetch;
        let offers = || known.offers.values();
        let detailed = offers().filter(|offer| offer.detailed).count();
        // Some details are refused every night: they are no reason.
        let lacks_details = fetch.details != FetchDetails::Off && detailed * 10 < known.offers.len() * 9;
        // What is asked for of every offer is asked for of those that a whole listing names.
        let asks_all = fetch.details == FetchDetails::All || fetch.skus == FetchDetails::All;
        let with_skus = offers().filter(|offer| !offer.sku_ids.is_empty()).count() as u64;
        // A night with `off` leaves what it lists without them.
        let rate_min = u64::try_from(self.setup.gateway.completeness.sku_rate_min).unwrap_or(0);
        let has_few = with_skus == 0 || with_skus * 10_000 < known.named_skus.0 * rate_min;
        let lacks_skus = fetch.skus != FetchDetails::Off && has_few;
        if !possible || !young || asks_all || lacks_details || lacks_skus {
            return None;
        }
        known.watermark_at?.checked_sub_signed(self.rules.overlap)
    }

    pub(super) fn resolved(&mut self, outcome: Outcome) {
        self.resolving = Step::Settled;
        match outcome {
            Outcome::Resolved(id) => self.id = Some(id),
            Outcome::Refused(reason) | Outcome::Failed(reason) | Outcome::TimedOut(reason) => {
                self.failure = Some(format!("the shop's address was not resolved: {reason}"));
            }
            _ => self.resolving = Step::ToDo,
        }
    }

    /// Leaves the shop to the one that was known first; gives what that one takes over: its name, the calls it cost.
    pub(super) fn leave_to(&mut self, first: &Self) -> (Shop, i64) {
        let Shop { name, url, id } = &first.work.shop;
        let called = [name, url, id].into_iter().flatten().next().map_or("?", String::as_str);
        self.news = Some(format!("it is the shop that the pipeline names `{called}`, too: it is listed once"));
        self.is_again = true;
        (self.work.shop.clone(), std::mem::take(&mut self.calls_used))
    }

    /// Is called otherwise, too; so many calls showed it.
    pub(super) fn take_over(&mut self, (also, calls): (Shop, i64)) {
        self.also.push(also);
        self.calls_used += calls;
    }

    pub(super) fn counted(&mut self, outcome: Outcome) {
        self.counting = Step::Settled;
        match outcome {
            Outcome::Counted(total) => self.official_count = Some(total),
            Outcome::NotSent => self.counting = Step::ToDo,
            // Without the count the listing goes on page by page; completeness will say that it is unknown.
            _ => {}
        }
    }

    pub(super) fn recounted(&mut self, outcome: Outcome) {
        self.recounting = Step::Settled;
        match outcome {
            Outcome::Counted(total) => self.official_count = Some(total),
            Outcome::NotSent => self.recounting = Step::ToDo,
            // The count of before stands.
            _ => {}
        }
        if self.recounting == Step::Settled {
            self.reconcile();
        }
    }

    /// Takes note of when the gateway answered: this start, or an earlier one of the run.
    pub(super) fn answered_at(&mut self, task: &Task, at: DateTime<Utc>) {
        match task {
            Task::Count { .. } | Task::Recount { .. } => self.counted_at = Some(at),
            Task::Page { list: ListKind::OnSale, .. } => {
                let (first, last) = self.paged_at.unwrap_or((at, at));
                self.paged_at = Some((first.min(at), last.max(at)));
            }
            _ => {}
        }
    }

    /// Whether its count was told long before pages of its listing came. What was listed then, too, stands.
    fn may_be_outdated(&self) -> bool {
        self.counted_at.zip(self.paged_at).is_some_and(|(counted, (_, last))| last - counted > APART)
    }

    /// Whether its pages may be of two states of the shop.
    fn is_paged_apart(&self) -> bool {
        self.paged_at.is_some_and(|(first, last)| last - first > APART)
    }

    /// Asks for the count once more, where it was told long ago: since then the shop may have changed. Whether it does.
    fn recount(&mut self) -> bool {
        let asks = self.may_be_outdated() && !self.was_recounted && self.work.count == CountFrom::Endpoint;
        if asks {
            (self.recounting, self.was_recounted) = (Step::ToDo, true);
        }
        asks
    }

    pub(super) fn categorised(&mut self, outcome: Outcome) {
        let Some(cover) = &mut self.on_sale else { return };
        match outcome {
            Outcome::Categories(ids) => cover.categories(ids),
            Outcome::Refused(reason) | Outcome::Failed(reason) | Outcome::TimedOut(reason) => {
                cover.categories_failed(reason);
            }
            _ => cover.categories_not_sent(),
        }
        self.reconcile();
    }

    /// Settles a page; gives the offers of the shop's picture that it names.
    pub(super) fn paged(
        &mut self,
        list: ListKind,
        slice: usize,
        page: u32,
        outcome: Outcome,
    ) -> (Vec<Named>, Result<(), Repeated>) {
        let Some(cover) = self.cover_mut(list) else { return (Vec::new(), Ok(())) };
        let (mut offers, mut repeated) = (Vec::new(), Ok(()));
        match outcome {
            Outcome::Page(answer, named) => {
                repeated = cover.answered(slice, page, &answer);
                offers = named;
            }
            Outcome::Refused(reason) | Outcome::Failed(reason) => {
                cover.failed(slice, page, Failure { reason, timed_out: false });
            }
            Outcome::TimedOut(reason) => cover.failed(slice, page, Failure { reason, timed_out: true }),
            _ => cover.not_sent(slice, page),
        }
        if list == ListKind::OffSale {
            self.off_sale_ids.extend(offers.drain(..).map(|offer| offer.offer_id));
        } else {
            for offer in &offers {
                if self.listed_ids.insert(offer.offer_id) && !offer.sku_ids.is_empty() {
                    let is_new = self.known().is_none_or(|known| known.offers.get(offer.offer_id).is_none());
                    self.newly_named += u64::from(is_new);
                    self.named_skus.0 += 1;
                    self.named_skus.1 += offer.sku_ids.len() as u64;
                }
            }
            if let (Listed::Whole, Some(news)) = (self.mode, self.on_sale.as_mut().and_then(Cover::news)) {
                self.news = Some(news);
            }
        }
        self.reconcile();
        (offers, repeated)
    }

    /// Once an incremental listing has ended: is the shop proven by it?
    fn reconcile(&mut self) {
        if self.mode != Listed::Changed {
            return self.doubt_count();
        }
        let (Some(on_sale), Some(known), Some(official)) = (&self.on_sale, self.known(), self.official_count) else {
            return;
        };
        let Some(end) = on_sale.end() else { return };
        if self.recounting != Step::Settled {
            return;
        }
        let off_sale_end = self.off_sale.as_ref().map(Cover::end);
        if off_sale_end == Some(None) {
            return;
        }
        let off = |id: &i64| self.off_sale_ids.contains(id) && !self.listed_ids.contains(id);
        let carried = known.offers.ids().filter(|id| !self.listed_ids.contains(id) && !off(id)).count();
        let held = (carried + self.listed_ids.len()) as u64;
        let ends = (end, off_sale_end.flatten());
        let is_complete = matches!(ends, (End::Complete, None | Some(End::Complete)));
        if is_complete && held != official && self.recount() {
            return;
        }
        let why = match ends {
            (End::Incomplete(reason), _) => format!("what changed was not listed to its end: {reason}"),
            (_, Some(End::Incomplete(reason))) => format!("what went off sale was not listed to its end: {reason}"),
            _ if held != official => format!("the official count is {official}, carried and listed are {held} offers"),
            _ => return,
        };
        self.news = Some(format!("{why}: the shop is listed whole"));
        self.given_up = self.on_sale.as_ref().map(Cover::coverage).unwrap_or_default();
        for covered in &mut self.given_up {
            covered.outcome = format!("{}; incremental, not proven", covered.outcome);
        }
        self.off_sale_ids.clear();
        self.listed_ids.clear();
        (self.named_skus, self.newly_named) = ((0, 0), 0);
        self.begin_whole();
    }

    /// A whole listing has ended. With a full page at exactly its official count: where an offer is absent that was there
    /// before, or the count is an old one, one page more shows whether it was too low. An old count that it differs from is
    /// asked for once more.
    fn doubt_count(&mut self) {
        let is_complete = |cover: &&Cover| cover.end() == Some(End::Complete);
        let Some(listed) = self.on_sale.as_ref().filter(is_complete).map(|cover| cover.distinct() as u64) else {
            return;
        };
        let is_absent = |known: &KnownShop| known.offers.ids().any(|id| !self.listed_ids.contains(&id));
        if (self.may_be_outdated() || self.known().is_some_and(is_absent))
            && self.on_sale.as_mut().is_some_and(Cover::look_past_count)
        {
            return;
        }
        let tolerance = self.rules.on_sale.tolerance;
        if self.official_count.is_some_and(|official| official.abs_diff(listed) > tolerance) {
            self.recount();
        }
    }

    /// Whether nothing of its listing is left to ask or to wait for.
    pub(super) fn is_listed(&self) -> bool {
        let ended = |cover: Option<&Cover>| cover.is_some_and(|cover| cover.end().is_some());
        self.is_again
            || self.failure.is_some()
            || self.resolving == Step::Settled
                && self.counting == Step::Settled
                && self.recounting == Step::Settled
                && ended(self.on_sale.as_ref())
                && (self.off_sale.is_none() || ended(self.off_sale.as_ref()))
    }

    /// Whether a page of its listings shows that the page parameter is read.
    pub(super) fn has_turned(&self) -> bool {
        self.on_sale.as_ref().is_some_and(Cover::has_turned)
    }

    /// Whether it was listed without such a page, and not to its end: whole, or by what changed before that.
    pub(super) fn is_unturned(&self) -> bool {
        let has_begun = |cover: &Cover| cover.has_begun() || !self.given_up.is_empty();
        let is_open = |cover: &Cover| has_begun(cover) && !cover.has_turned() && cover.end() != Some(End::Complete);
        self.on_sale.as_ref().is_some_and(is_open)
    }

    pub(super) fn progress(&self) -> (usize, Option<u32>) {
        self.on_sale.as_ref().map_or((0, None), Cover::progress)
    }

    pub(super) fn slice(&self, list: ListKind, slice: usize) -> (Option<Span>, Option<String>) {
        let cover = match list {
            ListKind::OnSale => self.on_sale.as_ref(),
            ListKind::OffSale => self.off_sale.as_ref(),
        };
        let Some(slice) = cover.map(|cover| cover.slice(slice)) else { return (None, None) };
        let narrowed = slice.start_at.is_some() || slice.end_at.is_some();
        let span = narrowed.then_some(Span { start_at: slice.start_at, end_at: slice.end_at });
        (span, slice.category.clone())
    }

    /// Whether a slice is halved when one of its pages takes too long.
    pub(super) fn can_halve(&self, list: ListKind, slice: usize) -> bool {
        let cover = match list {
            ListKind::OnSale => self.on_sale.as_ref(),
            ListKind::OffSale => self.off_sale.as_ref(),
        };
        cover.is_some_and(|cover| cover.can_halve(slice))
    }

    pub(super) fn facts(&self, now: DateTime<Utc>, stopped: Option<&str>, details_left: usize) -> ShopFacts {
        let shop = &self.work.shop;
        // Tables need a name for a shop whose id stayed unknown.
        let shop_id = self.id.clone().or_else(|| shop.url.clone()).unwrap_or_default();
        let incomplete_reason = self.incomplete_reason(stopped, details_left);
        let complete = incomplete_reason.is_none();
        let known = self.known();
        let off_sale = self.off_sale_ids.iter().filter(|id| !self.listed_ids.contains(id)).copied().collect();
        let mut coverage = self.given_up.clone();
        coverage.extend(self.on_sale.iter().flat_map(Cover::coverage));
        let off_sale_slices = self.off_sale.iter().flat_map(Cover::coverage);
        coverage.extend(off_sale_slices.map(|covered| Covered { off_sale: true, ..covered }));
        let short = self.short();
        // What changed names a part: to what was named before it adds what is new, and what went off sale leaves it.
        let (with_skus, skus) = match known.filter(|_| self.mode == Listed::Changed) {
            Some(known) => {
                let gone = self.off_sale_ids.iter().filter_map(|id| known.offers.get(*id));
                let gone = gone.filter(|offer| !offer.sku_ids.is_empty()).count() as u64;
                (known.named_skus.0.saturating_sub(gone) + self.newly_named, known.named_skus.1)
            }
            None => self.named_skus,
        };
        let pages = self.on_sale.as_ref().filter(|cover| self.mode == Listed::Whole && cover.end().is_some());
        let pages = pages.map(|cover| cover.coverage().iter().map(|covered| u64::from(covered.pages)).sum());
        let mut urls = std::iter::once(shop).chain(&self.also).filter_map(|shop| shop.url.clone());
        ShopFacts {
            shop_id,
            shop_name: std::iter::once(shop).chain(&self.also).find_map(|shop| shop.name.clone()),
            shop_url: urls.next(),
            other_urls: urls.collect(),
            official_count: self.official_count().and_then(|total| i64::try_from(total).ok()),
            listing: self.mode,
            gave_way: !self.given_up.is_empty(),
            off_sale,
            whole_dt: match self.mode {
                Listed::Whole if complete => Some(self.setup.dt),
                _ => known.and_then(|known| known.whole_dt),
            },
            watermark_at: complete.then_some(self.watermark_at),
            coverage,
            short,
            with_skus,
            skus,
            pages: pages.or(known.map(|known| known.pages)).unwrap_or(0),
            is_doubtful: self.doubt().is_some(),
            incomplete_reason,
            calls_used: self.calls_used,
            started_at: self.started_at.unwrap_or(now),
            finished_at: self.finished_at.unwrap_or(now),
        }
    }

    /// Offers that a whole listing lacks of the official count.
    fn short(&self) -> u64 {
        let listed = self.on_sale.as_ref().filter(|cover| self.mode == Listed::Whole && cover.end().is_some());
        let missing = |cover: &Cover| self.official_count()?.checked_sub(cover.distinct() as u64);
        listed.and_then(missing).unwrap_or(0)
    }

    /// Why an offer that is absent from a whole listing may still be there.
    fn doubt(&self) -> Option<String> {
        if self.is_paged_apart() {
            return Some(format!("its pages came more than {} hours apart", APART.num_hours()));
        }
        let (short, before) = (self.short(), self.known().map_or(0, |known| known.short));
        (short > before).then(|| format!("{short} offers of the official count did not come, {before} the time before"))
    }

    /// Says once why offers that are absent from a complete listing go on.
    pub(super) fn tell_doubt(&mut self) {
        let is_whole = self.mode == Listed::Whole && self.on_sale.as_ref().and_then(Cover::end) == Some(End::Complete);
        if self.is_doubt_told || !is_whole {
            return;
        }
        self.is_doubt_told = true;
        let absent =
            self.known().map_or(0, |known| known.offers.ids().filter(|id| !self.listed_ids.contains(id)).count());
        if let Some(why) = self.doubt().filter(|_| absent > 0) {
            self.news = Some(format!(
                "{absent} offers are absent and may be gone, but {why}: they go on until the next whole listing"
            ));
        }
    }

    fn incomplete_reason(&self, stopped: Option<&str>, details_left: usize) -> Option<String> {
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        let stopped = self.held.as_deref().or(stopped).unwrap_or("the run ended");
        let Some(cover) = self.on_sale.as_ref().filter(|cover| cover.has_begun()) else {
            return Some(format!("not listed: {stopped}"));
        };
        let off_sale = self.off_sale.as_ref().map_or(Some(End::Complete), Cover::end);
        match (cover.end(), off_sale) {
            (None, _) | (_, None) => Some(format!("listed up to page {}: {stopped}", cover.progress().0)),
            (Some(End::Incomplete(reason)), _) | (_, Some(End::Incomplete(reason))) => Some(reason),
            (Some(End::Complete), Some(End::Complete)) if details_left > 0 => {
                Some(format!("{details_left} details were not asked for: {stopped}"))
            }
            (Some(End::Complete), Some(End::Complete)) if self.details_unanswered > 0 => {
                Some(format!("{} offers' details were not answered", self.details_unanswered))
            }
            (Some(End::Complete), Some(End::Complete)) => None,
        }
    }

    fn cover_mut(&mut self, list: ListKind) -> Option<&mut Cover> {
        match list {
            ListKind::OnSale => self.on_sale.as_mut(),
            ListKind::OffSale => self.off_sale.as_mut(),
        }
    }
}
