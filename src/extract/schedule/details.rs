//! Details: which offers and SKUs are asked for one by one, and which of them are left.
//!
//! Takes the offers that answers name and what the picture before holds of them; gives tasks, batches where the gateway
//! answers several offers at once.
//!
//! Invariant: pure. A batch that fails is halved until the offer that fails it stands alone. Which offers share a batch
//! follows from what the whole listing names, and from what was asked before: never from the order of answers.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use chrono::{DateTime, Utc};

use crate::config::Gateway;
use crate::config::pipeline::FetchDetails;
use crate::plan::{KnownOffer, KnownShop, Work};

use super::{Named, Outcome, Task};

/// The details of a run.
#[derive(Debug)]
pub(super) struct Details {
    skus: FetchDetails,
    items: FetchDetails,
    batch: usize,
    asked: Asked,
    /// By the shop whose listing named them; `None`: single items.
    queues: BTreeMap<Option<usize>, Queue>,
    /// When listed offers were modified last: an older answer about them is out of date.
    modified: HashMap<i64, DateTime<Utc>>,
    skus_known: HashSet<i64>,
    items_known: HashSet<i64>,
    done: usize,
    known: usize,
}

#[derive(Debug, Default)]
struct Queue {
    /// Offers that are not yet in a batch.
    items: Vec<i64>,
    batches: VecDeque<Vec<i64>>,
    /// Parts of batches, those of one batch together, and what was not sent: they are asked for first.
    parts: VecDeque<VecDeque<Vec<i64>>>,
    skus: VecDeque<(i64, i64)>,
    in_flight: usize,
}

/// Batches that earlier starts of the run were done with, in the order of asking, by the first offer of each.
#[derive(Debug, Default)]
struct Asked(HashMap<i64, Vec<(usize, Vec<i64>)>>);

impl Asked {
    fn new(batches: &[Vec<i64>]) -> Self {
        let mut asked = Self::default();
        for (place, batch) in batches.iter().enumerate() {
            if let Some(first) = batch.first() {
                asked.0.entry(*first).or_default().push((place, batch.clone()));
            }
        }
        asked
    }

    /// Offers in batches of at most so many: those that shared one before share it again, as its answer is known.
    fn batches(&self, items: &[i64], size: usize) -> Vec<Vec<i64>> {
        let mut open: HashSet<i64> = items.iter().copied().collect();
        let mut before: Vec<&(usize, Vec<i64>)> = items.iter().filter_map(|id| self.0.get(id)).flatten().collect();
        before.sort_unstable_by_key(|(place, _)| *place);
        let mut batches = Vec::new();
        for (_, batch) in before {
            if batch.iter().all(|id| open.contains(id)) {
                batch.iter().for_each(|id| _ = open.remove(id));
                batches.push(batch.clone());
            }
        }
        let rest: Vec<i64> = items.iter().copied().filter(|id| open.contains(id)).collect();
        batches.extend(rest.chunks(size).map(<[i64]>::to_vec));
        batches
    }
}

impl Details {
    /// `asked`: the batches that earlier starts of the run were done with, in the order of asking.
    pub(super) fn new(work: &Work, gateway: &Gateway, asked: &[Vec<i64>]) -> Self {
        let batch = gateway.endpoints.get("item").and_then(|item| item.batch).unwrap_or(1);
        Self {
            skus: work.skus,
            items: work.details,
            batch: usize::try_from(batch).unwrap_or(1).max(1),
            asked: Asked::new(asked),
            queues: BTreeMap::new(),
            modified: HashMap::new(),
            skus_known: HashSet::new(),
            items_known: HashSet::new(),
            done: 0,
            known: 0,
        }
    }

    /// The pipeline's single items.
    pub(super) fn single(&mut self, items: &[i64]) {
        self.items_known.extend(items);
        self.known += items.len();
        self.queues.entry(None).or_default().items.extend(items);
    }

    /// The offers on a page of a listing.
    pub(super) fn listed(&mut self, shop: usize, offers: Vec<Named>, known: Option<&KnownShop>) {
        for offer in offers {
            let before = known.and_then(|known| known.offers.get(offer.offer_id));
            let asks = self.skus != FetchDetails::Off || self.items != FetchDetails::Off;
            if let Some(modified_at) = offer.modified_at.filter(|_| asks) {
                self.modified.insert(offer.offer_id, modified_at);
            }
            if wants_item(self.items, &offer, before.as_ref()) && self.items_known.insert(offer.offer_id) {
                self.known += 1;
                self.queues.entry(Some(shop)).or_default().items.push(offer.offer_id);
            }
            self.name_skus(Some(shop), &offer, before.as_ref());
        }
    }

    fn name_skus(&mut self, shop: Option<usize>, offer: &Named, before: Option<&KnownOffer>) {
        for &sku_id in &offer.sku_ids {
            if wants_sku(self.skus, offer, sku_id, before) && self.skus_known.insert(sku_id) {
                self.known += 1;
                self.queues.entry(shop).or_default().skus.push_back((offer.offer_id, sku_id));
            }
        }
    }

    /// The next detail to ask for. `is_listed`: no more offers of the shop will be named.
    pub(super) fn next(
        &mut self,
        shop: Option<usize>,
        is_listed: bool,
        held: &BTreeMap<&'static str, String>,
    ) -> Option<Task> {
        if let Some(task) = self.next_items(shop, is_listed, held) {
            return Some(task);
        }
        let queue = self.queues.get_mut(&shop).filter(|_| !held.contains_key("sku"))?;
        let (offer_id, sku_id) = queue.skus.pop_front()?;
        queue.in_flight += 1;
        Some(Task::Sku { shop, offer_id, sku_id })
    }

    /// The next offers to ask for.
    pub(super) fn next_items(
        &mut self,
        shop: Option<usize>,
        is_listed: bool,
        held: &BTreeMap<&'static str, String>,
    ) -> Option<Task> {
        let batches = self.batches(shop, is_listed);
        let queue = self.queues.get_mut(&shop)?;
        if let Some(batches) = batches {
            queue.batches.extend(batches);
            queue.items.clear();
        }
        if held.contains_key("item") {
            return None;
        }
        let offer_ids = queue.next_part().or_else(|| queue.batches.pop_front())?;
        queue.in_flight += 1;
        Some(Task::Item { shop, offer_ids })
    }

    /// The offers that are not yet in a batch, in batches; `None`: others may come to share theirs, or there is none.
    fn batches(&self, shop: Option<usize>, is_listed: bool) -> Option<Vec<Vec<i64>>> {
        let queue = self.queues.get(&shop).filter(|queue| !queue.items.is_empty())?;
        if self.batch == 1 {
            return Some(queue.items.iter().map(|&id| vec![id]).collect());
        }
        if !is_listed {
            return None;
        }
        let mut items = queue.items.clone();
        if shop.is_some() {
            items.sort_unstable();
        }
        Some(self.asked.batches(&items, self.batch))
    }

    /// The tasks that are not handed out yet, as far as they are known.
    pub(super) fn open(&self, shop: Option<usize>, is_listed: bool) -> Vec<Task> {
        let Some(queue) = self.queues.get(&shop) else { return Vec::new() };
        let batches = queue.parts.iter().flatten().chain(&queue.batches).cloned();
        let items = batches.chain(self.batches(shop, is_listed).unwrap_or_default());
        let items = items.map(|offer_ids| Task::Item { shop, offer_ids });
        let skus = queue.skus.iter().map(|&(offer_id, sku_id)| Task::Sku { shop, offer_id, sku_id });
        items.chain(skus).collect()
    }

    /// Whether every single item is settled: none can name SKUs any more.
    pub(super) fn has_all_items(&self) -> bool {
        self.queues.get(&None).is_none_or(|queue| queue.in_flight == 0 && queue.offers().next().is_none())
    }

    pub(super) fn settled_sku(&mut self, task: &Task, outcome: &Outcome) {
        let Task::Sku { shop, offer_id, sku_id } = *task else { return };
        let queue = self.queues.entry(shop).or_default();
        queue.in_flight = queue.in_flight.saturating_sub(1);
        match outcome {
            Outcome::NotSent => queue.skus.push_front((offer_id, sku_id)),
            _ => self.done += 1,
        }
    }

    /// Settles a batch; gives the offers that nobody answered for.
    pub(super) fn settled_items(&mut self, shop: Option<usize>, offer_ids: &[i64], outcome: Outcome) -> Vec<i64> {
        let queue = self.queues.entry(shop).or_default();
        queue.in_flight = queue.in_flight.saturating_sub(1);
        if outcome == Outcome::NotSent {
            queue.parts.push_front([offer_ids.to_vec()].into());
            return Vec::new();
        }
        let parts = parts(offer_ids, &outcome);
        self.done += offer_ids.len() - parts.iter().map(Vec::len).sum::<usize>();
        let is_open = !parts.is_empty();
        queue.add_parts(parts);
        match outcome {
            Outcome::Detail(offers) if shop.is_none() => {
                offers.iter().for_each(|offer| self.name_skus(None, offer, None));
                Vec::new()
            }
            Outcome::Failed(_) | Outcome::TimedOut(_) if !is_open => offer_ids.to_vec(),
            _ => Vec::new(),
        }
    }

    /// When the offers were modified last, as far as a listing said so: the latest of them.
    pub(super) fn modified_at(&self, offer_ids: &[i64]) -> Option<DateTime<Utc>> {
        offer_ids.iter().filter_map(|id| self.modified.get(id)).max().copied()
    }

    /// Whether nothing of a shop is left to ask or to wait for.
    pub(super) fn is_done(&self, shop: usize) -> bool {
        self.queues.get(&Some(shop)).is_none_or(|queue| queue.in_flight == 0 && queue.left() == 0)
    }

    /// Details of a shop that were not asked for.
    pub(super) fn left(&self, shop: usize) -> usize {
        self.queues.get(&Some(shop)).map_or(0, Queue::left)
    }

    /// Single items that were not asked for.
    pub(super) fn items_left(&self) -> Vec<i64> {
        self.queues.get(&None).map(|queue| queue.offers().copied().collect()).unwrap_or_default()
    }

    /// Details settled, and details known.
    pub(super) fn progress(&self) -> (usize, usize) {
        (self.done, self.known)
    }
}

impl Queue {
    fn left(&self) -> usize {
        self.offers().count() + self.skus.len()
    }

    fn next_part(&mut self) -> Option<Vec<i64>> {
        let of_one = self.parts.front_mut()?;
        let part = of_one.pop_front();
        if of_one.is_empty() {
            self.parts.pop_front();
        }
        part
    }

    /// Both halves of a batch are asked for before a half is halved: where one offer fails it, every second answer is good,
    /// and no outage is seen where there is none.
    fn add_parts(&mut self, parts: Vec<Vec<i64>>) {
        if !parts.is_empty() {
            self.parts.insert(self.parts.len().min(1), parts.into());
        }
    }

    /// Offers that are to be asked for.
    fn offers(&self) -> impl Iterator<Item = &i64> {
        self.items.iter().chain(self.batches.iter().flatten()).chain(self.parts.iter().flatten().flatten())
    }
}

/// What is asked for of a batch after this outcome of it.
pub(in crate::extract) fn parts(offer_ids: &[i64], outcome: &Outcome) -> Vec<Vec<i64>> {
    if offer_ids.len() == 1 {
        return Vec::new();
    }
    let answered: HashSet<i64> = match outcome {
        Outcome::Detail(offers) => offers.iter().map(|offer| offer.offer_id).collect(),
        _ => HashSet::new(),
    };
    let (got, missing): (Vec<i64>, Vec<i64>) = offer_ids.iter().partition(|id| answered.contains(id));
    if got.is_empty() {
        // One of them may have kept the others from being answered.
        let (first, second) = offer_ids.split_at(offer_ids.len() / 2);
        return vec![first.to_vec(), second.to_vec()];
    }
    // An offer that a batch leaves out is asked for alone: only then does its absence say something.
    missing.into_iter().map(|id| vec![id]).collect()
}

/// Whether the picture before cannot stand for what an offer is now.
fn changed(offer: &Named, before: &KnownOffer) -> bool {
    offer.modified_at.is_none() || offer.modified_at != before.modified_at
}

fn wants_item(fetch: FetchDetails, offer: &Named, before: Option<&KnownOffer>) -> bool {
    let before = before.filter(|before| before.detailed);
    match fetch {
        FetchDetails::Off => false,
        FetchDetails::All => true,
        FetchDetails::Missing => before.is_none(),
        FetchDetails::Changed => before.is_none_or(|before| before.outdated || changed(offer, before)),
    }
}

fn wants_sku(fetch: FetchDetails, offer: &Named, sku_id: i64, before: Option<&KnownOffer>) -> bool {
    let missing = |before: &KnownOffer| !before.sku_ids.contains(&sku_id);
    match fetch {
        FetchDetails::Off => false,
        FetchDetails::All => true,
        FetchDetails::Missing => before.is_none_or(missing),
        FetchDetails::Changed => before
            .is_none_or(|before| missing(before) || before.skus_outdated.contains(&sku_id) || changed(offer, before)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::testing;

    fn details(skus: FetchDetails, items: FetchDetails, batch: Option<u32>) -> Details {
        let mut gateway = testing::gateway("");
        gateway.endpoints.get_mut("item").unwrap().batch = batch;
        Details::new(&Work { shops: Vec::new(), items: Vec::new(), skus, details: items }, &gateway, &[])
    }

    fn named(offer_id: i64, modified_at: &str, sku_ids: &[i64]) -> Named {
        Named { offer_id, sku_ids: sku_ids.to_vec(), modified_at: Some(testing::at(modified_at)) }
    }

    fn tasks(details: &mut Details, shop: Option<usize>) -> Vec<Task> {
        std::iter::from_fn(|| details.next(shop, true, &BTreeMap::new())).collect()
    }

    const OLD: &str = "2026-11-01T00:00:00Z";
    const NEW: &str = "2026-11-20T00:00:00Z";

    #[test]
    fn what_the_picture_before_holds_is_asked_for_only_as_the_mode_says() {
        let offer = |detailed, sku_ids: &[i64]| KnownOffer {
            modified_at: Some(testing::at(OLD)),
            detailed,
            outdated: false,
            sku_ids: sku_ids.to_vec(),
            skus_outdated: Vec::new(),
        };
        let known = KnownShop {
            offers: [(1, offer(true, &[11])), (2, offer(true, &[21])), (3, offer(false, &[]))].into(),
            ..KnownShop::default()
        };
        let listed = [named(1, OLD, &[11, 12]), named(2, NEW, &[21]), named(3, OLD, &[31]), named(4, NEW, &[41])];
        let asked = |mode| {
            let mut details = details(mode, mode, None);
            details.listed(0, listed.to_vec(), Some(&known));
            let mut asked: Vec<i64> = tasks(&mut details, Some(0))
                .iter()
                .map(|task| match task {
                    Task::Item { offer_ids, .. } => offer_ids[0],
                    Task::Sku { sku_id, .. } => *sku_id,
                    other => panic!("{other:?}"),
                })
                .collect();
            asked.sort_unstable();
            asked
        };
        assert_eq!(asked(FetchDetails::Off), Vec::<i64>::new());
        assert_eq!(asked(FetchDetails::Missing), [3, 4, 12, 31, 41]);
        assert_eq!(asked(FetchDetails::Changed), [2, 3, 4, 12, 21, 31, 41]);
        assert_eq!(asked(FetchDetails::All), [1, 2, 3, 4, 11, 12, 21, 31, 41]);
    }

    #[test]
    fn a_detail_that_is_older_than_its_offer_is_asked_for_where_changed_ones_are() {
        let outdated =
            KnownOffer { modified_at: Some(testing::at(NEW)), detailed: true, outdated: true, ..KnownOffer::default() };
        let (offer, skus) =
            (named(1, NEW, &[]), KnownOffer { sku_ids: vec![11, 12], skus_outdated: vec![11], ..outdated.clone() });
        for (mode, is_wanted) in [(FetchDetails::Missing, false), (FetchDetails::Changed, true)] {
            assert_eq!(wants_item(mode, &offer, Some(&outdated)), is_wanted, "{mode:?}");
            assert_eq!(wants_sku(mode, &offer, 11, Some(&skus)), is_wanted, "{mode:?}");
            assert!(!wants_sku(mode, &offer, 12, Some(&skus)), "{mode:?}");
        }
    }

    #[test]
    fn a_batch_that_fails_is_halved_until_the_bad_offer_stands_alone() {
        let mut details = details(FetchDetails::Off, FetchDetails::Off, Some(8));
        details.single(&[1, 2, 3, 4, 5, 6, 7, 8]);
        let mut calls = 0;
        let mut refused = Vec::new();
        while let Some(task) = details.next(None, true, &BTreeMap::new()) {
            let Task::Item { offer_ids, .. } = task else { panic!("{task:?}") };
            calls += 1;
            let bad = offer_ids.contains(&6);
            if bad && offer_ids.len() == 1 {
                refused.clone_from(&offer_ids);
            }
            let good = || Outcome::Detail(offer_ids.iter().map(|&id| named(id, OLD, &[])).collect());
            let outcome = if bad { Outcome::Refused("item".into()) } else { good() };
            assert_eq!(details.settled_items(None, &offer_ids, outcome), Vec::<i64>::new());
        }
        assert_eq!((calls, refused), (7, vec![6]));
        assert_eq!(details.progress(), (8, 8));
    }

    /// What is asked for of a shop that is listed in these pages, after batches of these offers.
    fn batches(pages: &[&[i64]], asked: &[Vec<i64>]) -> Vec<Vec<i64>> {
        let mut details = details(FetchDetails::Off, FetchDetails::All, Some(3));
        details.asked = Asked::new(asked);
        for page in pages {
            details.listed(0, page.iter().map(|&id| named(id, OLD, &[])).collect(), None);
            assert_eq!(details.next(Some(0), false, &BTreeMap::new()), None, "others may come to share a call");
            assert_eq!(details.open(Some(0), false), []);
        }
        let open = details.open(Some(0), true);
        let tasks = tasks(&mut details, Some(0));
        assert_eq!(open, tasks);
        let offers = |task: Task| match task {
            Task::Item { offer_ids, .. } => offer_ids,
            other => panic!("{other:?}"),
        };
        tasks.into_iter().map(offers).collect()
    }

    #[test]
    fn who_shares_a_call_follows_from_the_whole_listing_whatever_the_order_of_its_pages() {
        let expected = [vec![1, 2, 3], vec![4, 5, 6], vec![7]];
        assert_eq!(batches(&[&[3, 1, 4, 2], &[5, 7, 6]], &[]), expected);
        assert_eq!(batches(&[&[5, 7, 6], &[3, 1, 4, 2]], &[]), expected);
    }

    #[test]
    fn offers_that_were_asked_for_in_one_call_are_again_whatever_is_listed_beside_them() {
        // 8 is listed no more. The second batch failed, and its halves were asked for.
        let asked = [vec![2, 4, 6], vec![5, 8], vec![3, 7], vec![3], vec![7]];
        assert_eq!(batches(&[&[1, 2, 3, 4, 5, 6, 7]], &asked), [vec![2, 4, 6], vec![3, 7], vec![1, 5]]);
    }

    #[test]
    fn an_offer_that_a_batch_leaves_out_is_asked_for_alone() {
        let mut details = details(FetchDetails::Off, FetchDetails::Off, Some(3));
        details.single(&[1, 2, 3]);
        let batch = tasks(&mut details, None);
        assert_eq!(batch, [Task::Item { shop: None, offer_ids: vec![1, 2, 3] }]);
        let answered = Outcome::Detail(vec![named(1, OLD, &[]), named(3, OLD, &[])]);
        assert_eq!(details.settled_items(None, &[1, 2, 3], answered), Vec::<i64>::new());
        assert_eq!(tasks(&mut details, None), [Task::Item { shop: None, offer_ids: vec![2] }]);
        assert_eq!(details.settled_items(None, &[2], Outcome::Failed("busy".into())), [2]);
    }
}
