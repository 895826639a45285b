//! Details: which offers and SKUs are asked for one by one, and which of them are left.
//!
//! Takes the offers that answers name and what the picture before holds of them; gives tasks, batches where the gateway
//! answers several offers at once.
//!
//! Invariant: pure. A batch that fails is halved until the offer that fails it stands alone.

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
    items: VecDeque<i64>,
    /// Batches that were halved, or not sent.
    batches: VecDeque<Vec<i64>>,
    skus: VecDeque<(i64, i64)>,
    in_flight: usize,
}

impl Details {
    pub(super) fn new(work: &Work, gateway: &Gateway) -> Self {
        let batch = gateway.endpoints.get("item").and_then(|item| item.batch).unwrap_or(1);
        Self {
            skus: work.skus,
            items: work.details,
            batch: usize::try_from(batch).unwrap_or(1).max(1),
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
                self.queues.entry(Some(shop)).or_default().items.push_back(offer.offer_id);
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

    /// The next detail to ask for.
    pub(super) fn next(&mut self, shop: Option<usize>, held: &BTreeMap<&'static str, String>) -> Option<Task> {
        if let Some(task) = self.next_items(shop, held) {
            return Some(task);
        }
        let queue = self.queues.get_mut(&shop).filter(|_| !held.contains_key("sku"))?;
        let (offer_id, sku_id) = queue.skus.pop_front()?;
        queue.in_flight += 1;
        Some(Task::Sku { shop, offer_id, sku_id })
    }

    /// The next offers to ask for.
    pub(super) fn next_items(&mut self, shop: Option<usize>, held: &BTreeMap<&'static str, String>) -> Option<Task> {
        let queue = self.queues.get_mut(&shop).filter(|_| !held.contains_key("item"))?;
        let count = queue.items.len().min(self.batch);
        let batch = queue.batches.pop_front().or_else(|| (count > 0).then(|| queue.items.drain(..count).collect()));
        let offer_ids = batch?;
        queue.in_flight += 1;
        Some(Task::Item { shop, offer_ids })
    }

    /// The tasks that are not handed out yet.
    pub(super) fn open(&self, shop: Option<usize>) -> Vec<Task> {
        let Some(queue) = self.queues.get(&shop) else { return Vec::new() };
        let batches = queue.batches.iter().cloned();
        let items = queue.items.iter().copied().collect::<Vec<i64>>();
        let items = items.chunks(self.batch).map(<[i64]>::to_vec).collect::<Vec<_>>();
        let items = batches.chain(items).map(|offer_ids| Task::Item { shop, offer_ids });
        let skus = queue.skus.iter().map(|&(offer_id, sku_id)| Task::Sku { shop, offer_id, sku_id });
        items.chain(skus).collect()
    }

    /// Whether every single item is settled: none can name SKUs any more.
    pub(super) fn has_all_items(&self) -> bool {
        let queue = self.queues.get(&None);
        queue.is_none_or(|queue| queue.in_flight == 0 && queue.items.is_empty() && queue.batches.is_empty())
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
        match outcome {
            Outcome::NotSent => {
                queue.batches.push_front(offer_ids.to_vec());
                Vec::new()
            }
            Outcome::Detail(offers) => {
                // An offer that a batch leaves out is asked for alone: only then does its absence say something.
                let answered: HashSet<i64> = offers.iter().map(|offer| offer.offer_id).collect();
                let missing = offer_ids.iter().filter(|id| offer_ids.len() > 1 && !answered.contains(id));
                let missing: Vec<Vec<i64>> = missing.map(|&id| vec![id]).collect();
                self.done += offer_ids.len() - missing.len();
                queue.batches.extend(missing);
                if shop.is_none() {
                    offers.iter().for_each(|offer| self.name_skus(None, offer, None));
                }
                Vec::new()
            }
            _ if offer_ids.len() > 1 => {
                let (first, second) = offer_ids.split_at(offer_ids.len() / 2);
                queue.batches.push_front(second.to_vec());
                queue.batches.push_front(first.to_vec());
                Vec::new()
            }
            Outcome::Failed(_) | Outcome::TimedOut(_) => {
                self.done += 1;
                offer_ids.to_vec()
            }
            _ => {
                self.done += 1;
                Vec::new()
            }
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
        let queue = self.queues.get(&None);
        queue
            .map(|queue| queue.items.iter().chain(queue.batches.iter().flatten()).copied().collect())
            .unwrap_or_default()
    }

    /// Details settled, and details known.
    pub(super) fn progress(&self) -> (usize, usize) {
        (self.done, self.known)
    }
}

impl Queue {
    fn left(&self) -> usize {
        self.items.len() + self.batches.iter().map(Vec::len).sum::<usize>() + self.skus.len()
    }
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
        FetchDetails::Changed => before.is_none_or(|before| changed(offer, before)),
    }
}

fn wants_sku(fetch: FetchDetails, offer: &Named, sku_id: i64, before: Option<&KnownOffer>) -> bool {
    let missing = |before: &KnownOffer| !before.sku_ids.contains(&sku_id);
    match fetch {
        FetchDetails::Off => false,
        FetchDetails::All => true,
        FetchDetails::Missing => before.is_none_or(missing),
        FetchDetails::Changed => before.is_none_or(|before| missing(before) || changed(offer, before)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::testing;

    fn details(skus: FetchDetails, items: FetchDetails, batch: Option<u32>) -> Details {
        let mut gateway = testing::gateway("");
        gateway.endpoints.get_mut("item").unwrap().batch = batch;
        Details::new(&Work { shops: Vec::new(), items: Vec::new(), skus, details: items }, &gateway)
    }

    fn named(offer_id: i64, modified_at: &str, sku_ids: &[i64]) -> Named {
        Named { offer_id, sku_ids: sku_ids.to_vec(), modified_at: Some(testing::at(modified_at)) }
    }

    fn tasks(details: &mut Details, shop: Option<usize>) -> Vec<Task> {
        std::iter::from_fn(|| details.next(shop, &BTreeMap::new())).collect()
    }

    const OLD: &str = "2026-11-01T00:00:00Z";
    const NEW: &str = "2026-11-20T00:00:00Z";

    #[test]
    fn what_the_picture_before_holds_is_asked_for_only_as_the_mode_says() {
        let offer = |detailed, sku_ids: &[i64]| KnownOffer {
            modified_at: Some(testing::at(OLD)),
            detailed,
            sku_ids: sku_ids.to_vec(),
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
    fn a_batch_that_fails_is_halved_until_the_bad_offer_stands_alone() {
        let mut details = details(FetchDetails::Off, FetchDetails::Off, Some(8));
        details.single(&[1, 2, 3, 4, 5, 6, 7, 8]);
        let mut calls = 0;
        let mut refused = Vec::new();
        while let Some(task) = details.next(None, &BTreeMap::new()) {
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
