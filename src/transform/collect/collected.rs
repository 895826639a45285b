//! The account of what was collected, added up over threads.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::base::Result;
use crate::transform::chunk::Chunk;
use crate::transform::join::Candidate;
use crate::transform::names::ShopNames;
use crate::transform::rows::{CallRow, QuarantineRow};
use crate::transform::sort::{Sorted, Sorter};

use super::{STAGE_DETAIL, STAGE_OFFER};

/// What became of the records.
#[derive(Debug, Default)]
pub struct Collected {
    /// The offers, sorted within each chunk.
    pub chunks: Vec<Chunk>,
    /// The keys of all their records.
    pub records: Sorted<Candidate>,
    /// The shops that the keys name.
    pub shops: Arc<ShopNames>,
    pub(super) numbered: Vec<(u32, Chunk)>,
    pub(super) sorters: Vec<Sorter<Candidate>>,
    /// Records set aside.
    pub quarantine: Vec<QuarantineRow>,
    /// One row per call.
    pub calls: Vec<CallRow>,
    /// Records that should become offers.
    pub received: i64,
    /// Rows of `quarantine` that are such records.
    pub quarantined: i64,
    /// Listing records per shop.
    pub listed: BTreeMap<Option<String>, i64>,
    /// Totals that answers state, per shop.
    pub totals: BTreeMap<String, i64>,
    /// The shops' names as offers state them: of several the one that stands first in the listing, whatever the order
    /// in which its pages were fetched or read.
    pub shop_names: BTreeMap<String, String>,
    names: BTreeMap<String, Named>,
    /// Single offers that the gateway says are gone.
    pub gone: HashSet<i64>,
    /// Offers that were set aside under a readable id.
    pub set_aside: HashSet<i64>,
    /// Single offers refused as items, until another answer of theirs is good.
    refused: BTreeMap<i64, Refusal>,
    /// Those of them that were refused with a code that the definition does not know.
    pub refused_unknown: i64,
    /// … and details refused with such a code, by the shop whose listing has shown their offers.
    pub refused_details: BTreeMap<String, i64>,
    pub(super) answered: HashSet<i64>,
}

/// An offer that was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) row: QuarantineRow,
    /// The definition knows the code.
    pub(super) is_known: bool,
}

/// A shop's name and where it was stated: the page, then the offer, decides between several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub(super) page: Option<u32>,
    pub(super) offer_id: i64,
    pub(super) name: String,
}

impl Collected {
    pub(super) fn new(shops: Arc<ShopNames>) -> Self {
        Self { shops, ..Self::default() }
    }

    pub(super) fn add(&mut self, part: Collected) {
        self.numbered.extend(part.numbered);
        self.sorters.extend(part.sorters);
        self.quarantine.extend(part.quarantine);
        self.calls.extend(part.calls);
        self.received += part.received;
        for (shop, count) in part.listed {
            *self.listed.entry(shop).or_default() += count;
        }
        for (shop, total) in part.totals {
            let known = self.totals.entry(shop).or_insert(total);
            *known = total.max(*known);
        }
        for (shop, named) in part.names {
            self.name(&shop, named);
        }
        self.gone.extend(part.gone);
        self.set_aside.extend(part.set_aside);
        for (offer_id, refusal) in part.refused {
            self.refuse(offer_id, refusal);
        }
        self.answered.extend(part.answered);
    }

    /// Keeps the name that stands first.
    pub(super) fn name(&mut self, shop: &str, named: Named) {
        match self.names.get_mut(shop) {
            Some(known) if *known <= named => {}
            Some(known) => *known = named,
            None => {
                self.names.insert(shop.to_owned(), named);
            }
        }
    }

    /// Keeps the refusal that came last; the numbers in references of one run have no leading zeros.
    pub(super) fn refuse(&mut self, offer_id: i64, refusal: Refusal) {
        fn order(refusal: &Refusal) -> (usize, &str) {
            (refusal.row.raw_ref.len(), &refusal.row.raw_ref)
        }
        match self.refused.get(&offer_id) {
            Some(known) if order(known) >= order(&refusal) => {}
            _ => {
                self.refused.insert(offer_id, refusal);
            }
        }
    }

    /// Brings the parts of several threads into an order that does not depend on them.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.numbered.sort_unstable_by_key(|(number, _)| *number);
        self.chunks = self.numbered.drain(..).map(|(_, chunk)| chunk).collect();
        self.records = Sorter::finish_all(std::mem::take(&mut self.sorters))?;
        self.shop_names = std::mem::take(&mut self.names).into_iter().map(|(shop, named)| (shop, named.name)).collect();
        let answered = std::mem::take(&mut self.answered);
        self.gone.retain(|offer_id| !answered.contains(offer_id));
        for (offer_id, Refusal { row, is_known }) in std::mem::take(&mut self.refused) {
            if answered.contains(&offer_id) {
                continue;
            }
            // A refused detail leaves its offer as the listing has it.
            if row.stage == STAGE_OFFER {
                self.received += 1;
                self.refused_unknown += i64::from(!is_known);
                self.set_aside.insert(offer_id);
            }
            if let (STAGE_DETAIL, false, Some(shop)) = (row.stage, is_known, &row.shop_id) {
                *self.refused_details.entry(shop.clone()).or_default() += 1;
            }
            self.quarantine.push(row);
        }
        self.quarantined = self.quarantine.iter().filter(|row| row.stage == STAGE_OFFER).map(|_| 1).sum();
        self.quarantine.sort_by(|a, b| {
            (&a.shop_id, a.offer_id, &a.raw_ref, &a.record).cmp(&(&b.shop_id, b.offer_id, &b.raw_ref, &b.record))
        });
        self.calls.sort_by_key(|call| call.number);
        Ok(())
    }
}
