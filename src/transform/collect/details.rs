//! Details of listed offers: which there are, and what only the records of their listings say.
//!
//! A detail counts in place of the listing's record, but may lack what a listing states: when the offer was modified,
//! which category it is in, how its shop calls itself. Such fields are taken over as the listing wrote them, before
//! anything is normalised.
//!
//! Memory: a few fields per offer with a detail, and a detail costs a call.

use std::collections::HashSet;

use crate::base::Result;
use crate::base::json::{self, Raw};
use crate::base::moment;
use crate::extract::judge::Judgement;
use crate::extract::{Attempt, body};
use crate::transform::decode::{Records, Scratch, records};
use crate::transform::fields::{OfferField, OfferFields};
use crate::transform::normalise::SkuSource;
use crate::transform::{id, text};

use super::{Collector, makes_offers};

/// The fields that a detail may lack.
const FILLED: [OfferField; 7] = [
    OfferField::ModifiedAt,
    OfferField::CategoryId,
    OfferField::ShopName,
    OfferField::Title,
    OfferField::DetailUrl,
    OfferField::ImageUrl,
    OfferField::SkuIds,
];

/// What the listing says of an offer.
#[derive(Debug)]
pub(super) struct Fill {
    /// Which of several records counts: modified last, then fetched last.
    rank: (Option<i64>, i64, i64, usize),
    /// The JSON texts of the fields it has.
    fields: Vec<(OfferField, Box<str>)>,
}

impl Fill {
    /// Puts the fields in that the record lacks.
    pub(super) fn apply<'a>(&'a self, skus: SkuSource, fields: &mut OfferFields<'a>) {
        let has_images = fields.get(OfferField::ImageUrls).is_some();
        for (field, text) in &self.fields {
            let own = match field {
                // The first of its own images is the main one.
                OfferField::ImageUrl => has_images,
                // The names of SKUs belong to where the SKUs come from.
                OfferField::SkuIds => skus != SkuSource::Calls,
                _ => false,
            };
            let value = &mut fields.0[*field as usize];
            if value.is_none() && !own {
                *value = json::parse(text.as_bytes()).ok();
            }
        }
    }
}

impl Collector<'_> {
    /// Adds the offers that these answers are details of.
    pub(super) fn find_details(&self, attempts: &[Attempt], detailed: &mut HashSet<i64>) -> Result<()> {
        for Attempt { record, body: bytes } in attempts.iter().filter(|attempt| self.is_detail(&attempt.record)) {
            if record.offer_id.is_some() {
                detailed.extend(record.offer_id);
                continue;
            }
            // A call for several offers: only the answer says which it is about.
            let source = self.source(record)?;
            let Ok(json) = body::to_json(bytes, record.content_type.as_deref()) else { continue };
            let Ok(raw) = body::parse(&json) else { continue };
            if let Records::Some(found) = records(source.endpoint(record)?, raw) {
                let mut scratch = Scratch::default();
                let ids = found.into_iter().filter_map(|raw| {
                    source.finder.offer(raw, &mut scratch).get(OfferField::OfferId).and_then(id::read)
                });
                detailed.extend(ids);
            }
        }
        Ok(())
    }

    /// Keeps what listings say of these offers.
    pub(super) fn keep_fills(&mut self, attempts: &[Attempt], detailed: &HashSet<i64>) -> Result<()> {
        for Attempt { record, body: bytes } in attempts {
            let is_listing = makes_offers(&record.endpoint) && record.endpoint != "item";
            let Some(json) = is_listing.then(|| body::to_json(bytes, record.content_type.as_deref()).ok()).flatten()
            else {
                continue;
            };
            let (source, parsed) = (self.source(record)?, body::parse(&json));
            let endpoint = source.endpoint(record)?;
            let judgement = source.judge.judge(endpoint, record, parsed.as_ref().copied());
            let (Judgement::Good, Ok(raw)) = (judgement, parsed) else { continue };
            let Records::Some(found) = records(endpoint, raw) else { continue };
            let mut scratch = Scratch::default();
            let mut fills = Vec::new();
            for (position, raw) in found.into_iter().enumerate() {
                let fields = source.finder.offer(raw, &mut scratch);
                let Some(offer_id) = fields.get(OfferField::OfferId).and_then(id::read) else { continue };
                if detailed.contains(&offer_id) {
                    let modified_at =
                        fields.get(OfferField::ModifiedAt).and_then(text::read).and_then(|text| moment::read(&text));
                    let rank = (modified_at, record.received_at.timestamp_micros(), record.number, position);
                    fills.push((offer_id, Fill { rank, fields: filled(&fields) }));
                }
            }
            for (offer_id, fill) in fills {
                match self.fills.get(&offer_id) {
                    Some(known) if known.rank >= fill.rank => {}
                    _ => drop(self.fills.insert(offer_id, fill)),
                }
            }
        }
        Ok(())
    }
}

fn filled(fields: &OfferFields<'_>) -> Vec<(OfferField, Box<str>)> {
    let text = |field: OfferField| fields.get(field).map(Raw::json).map(|text| (field, text.into()));
    FILLED.into_iter().filter_map(text).collect()
}
