//! What the picture before says, as far as it saves calls: shops' ids, watermarks and counts, and what is known of each
//! offer.
//!
//! Memory: some twenty bytes per offer and eight per SKU, while a run is planned and extracted.
//!
//! Invariant: a call may be saved because of this, a row may never be made of it.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};

/// The picture before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    /// By shop id.
    pub shops: HashMap<String, KnownShop>,
    /// Shop ids by the address the pipeline names them with.
    pub ids_by_url: HashMap<String, String>,
}

/// One shop of the picture before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KnownShop {
    /// By the gateway's clock; an incremental listing starts here.
    pub watermark_at: Option<DateTime<Utc>>,
    /// The last day on which it was listed whole and complete.
    pub whole_dt: Option<NaiveDate>,
    /// The gateway's own count then.
    pub official_count: Option<u64>,
    /// Offers that its whole listing lacked of that count.
    pub short: u64,
    /// Offers that name their SKUs, and the SKUs that its last whole listing named.
    pub named_skus: (u64, u64),
    /// Pages that its last whole listing took, in all its parts; 0: nobody knows.
    pub pages: u64,
    /// When its extraction ended: the stalest shops go first when calls are short.
    pub finished_at: Option<DateTime<Utc>>,
    /// Its offers that were not delisted.
    pub offers: KnownOffers,
}

/// One offer of the picture before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownOffer {
    /// When it was modified last, as the gateway said.
    pub modified_at: Option<DateTime<Utc>>,
    /// Whether its detail was ever fetched.
    pub detailed: bool,
    /// … and is older than the listing that its row is made of: the offer has changed since.
    pub outdated: bool,
    /// Its SKUs that the picture holds.
    pub sku_ids: Vec<i64>,
    /// Those of them that were fetched before it was modified: asked for again, and not answered.
    pub skus_outdated: Vec<i64>,
}

/// The offers of one shop. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownOffers(Arc<Columns>);

/// Column by column, sorted by id: a lake of any size is planned with what a map of records would take many times over.
#[derive(Debug, Default, PartialEq, Eq)]
struct Columns {
    ids: Vec<i64>,
    modified_at: Vec<Option<DateTime<Utc>>>,
    detailed: Vec<bool>,
    outdated: Vec<bool>,
    /// The first SKU of each offer; one more at the end.
    skus_at: Vec<u32>,
    sku_ids: Vec<i64>,
    /// By SKU.
    skus_outdated: Vec<bool>,
}

impl KnownOffers {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.ids.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.ids.is_empty()
    }

    /// What is known of an offer.
    #[must_use]
    pub fn get(&self, offer_id: i64) -> Option<KnownOffer> {
        self.0.ids.binary_search(&offer_id).ok().map(|at| self.at(at))
    }

    /// Their ids, in order.
    pub fn ids(&self) -> impl Iterator<Item = i64> + '_ {
        self.0.ids.iter().copied()
    }

    /// What is known of each, in the order of their ids.
    pub fn values(&self) -> impl Iterator<Item = KnownOffer> + '_ {
        (0..self.len()).map(|at| self.at(at))
    }

    fn at(&self, at: usize) -> KnownOffer {
        let Columns { modified_at, detailed, outdated, skus_at, sku_ids, skus_outdated, .. } = &*self.0;
        let skus = skus_at[at] as usize..skus_at[at + 1] as usize;
        KnownOffer {
            modified_at: modified_at[at],
            detailed: detailed[at],
            outdated: outdated[at],
            skus_outdated: skus.clone().filter(|sku| skus_outdated[*sku]).map(|sku| sku_ids[sku]).collect(),
            sku_ids: sku_ids[skus].to_vec(),
        }
    }
}

impl FromIterator<(i64, KnownOffer)> for KnownOffers {
    fn from_iter<I: IntoIterator<Item = (i64, KnownOffer)>>(offers: I) -> Self {
        let mut gathering = Gathering::default();
        for (offer_id, offer) in offers {
            let KnownOffer { modified_at, detailed, outdated, sku_ids, skus_outdated } = offer;
            gathering.offer(offer_id, modified_at, detailed, outdated);
            let fetched_at = |sku_id| if skus_outdated.contains(&sku_id) { Some(DateTime::UNIX_EPOCH) } else { None };
            sku_ids.iter().for_each(|sku_id| gathering.sku(offer_id, *sku_id, fetched_at(*sku_id)));
        }
        gathering.finish()
    }
}

impl<const N: usize> From<[(i64, KnownOffer); N]> for KnownOffers {
    fn from(offers: [(i64, KnownOffer); N]) -> Self {
        offers.into_iter().collect()
    }
}

/// Takes offers and their SKUs in, in any order.
#[derive(Debug, Default)]
pub struct Gathering {
    offers: Vec<(i64, Option<DateTime<Utc>>, bool, bool)>,
    skus: Vec<(i64, i64, Option<DateTime<Utc>>)>,
}

impl Gathering {
    /// An offer, once, and what [`KnownOffer`] says of it.
    pub fn offer(&mut self, offer_id: i64, modified_at: Option<DateTime<Utc>>, detailed: bool, outdated: bool) {
        self.offers.push((offer_id, modified_at, detailed, outdated));
    }

    /// A SKU of an offer, and when it was fetched. One whose offer is not there is forgotten.
    pub fn sku(&mut self, offer_id: i64, sku_id: i64, fetched_at: Option<DateTime<Utc>>) {
        self.skus.push((offer_id, sku_id, fetched_at));
    }

    /// All of them.
    #[must_use]
    pub fn finish(mut self) -> KnownOffers {
        // Published rows come in this order: there is nothing to do then.
        self.offers.sort_by_key(|(offer_id, ..)| *offer_id);
        self.skus.sort_by_key(|(offer_id, ..)| *offer_id);
        let mut columns = Columns { skus_at: vec![0], ..Columns::default() };
        let mut skus = self.skus.into_iter().peekable();
        for (offer_id, modified_at, detailed, outdated) in self.offers {
            columns.ids.push(offer_id);
            columns.modified_at.push(modified_at);
            columns.detailed.push(detailed);
            columns.outdated.push(outdated);
            while skus.next_if(|(of, ..)| *of < offer_id).is_some() {}
            while let Some((_, sku_id, fetched_at)) = skus.next_if(|(of, ..)| *of == offer_id) {
                let is_outdated = fetched_at.zip(modified_at).is_some_and(|(fetched, modified)| fetched < modified);
                columns.sku_ids.push(sku_id);
                columns.skus_outdated.push(is_outdated);
            }
            columns.skus_at.push(u32::try_from(columns.sku_ids.len()).unwrap_or(u32::MAX));
        }
        columns.sku_ids.shrink_to_fit();
        columns.skus_outdated.shrink_to_fit();
        KnownOffers(Arc::new(columns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_found_with_their_skus_in_whichever_order_they_came() {
        let offer = |detailed, skus: &[i64]| KnownOffer { detailed, sku_ids: skus.to_vec(), ..KnownOffer::default() };
        let all = [(9, offer(true, &[92, 91])), (3, offer(false, &[])), (5, offer(false, &[51]))];
        let known = KnownOffers::from(all.clone());
        for (offer_id, offer) in all {
            assert_eq!(known.get(offer_id), Some(offer));
        }
        assert_eq!((known.get(4), known.len(), known.ids().collect::<Vec<_>>()), (None, 3, vec![3, 5, 9]));
        assert_eq!(known.values().map(|offer| offer.sku_ids.len()).collect::<Vec<_>>(), [0, 1, 2]);
        let at = |seconds| DateTime::from_timestamp(seconds, 0);
        let mut gathering = Gathering::default();
        gathering.offer(1, at(5), false, false);
        gathering.offer(2, at(5), false, false);
        [(1, 11, 5), (1, 12, 4), (2, 21, 6)]
            .into_iter()
            .for_each(|(offer, sku, time)| gathering.sku(offer, sku, at(time)));
        let outdated = gathering.finish().values().map(|offer| offer.skus_outdated).collect::<Vec<_>>();
        assert_eq!(outdated, [vec![12], vec![]], "one that was fetched before the offer was modified");
        let mut gathering = Gathering::default();
        gathering.sku(1, 11, None);
        assert!(gathering.finish().is_empty(), "a SKU of no offer");
    }
}
