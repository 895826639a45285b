//! Change detection: one hash over what an offer *is*, one over what always moves.
//!
//! `content_hash` = xxh3-64 over all content columns of the offer, its tiers (by SKU, then step) and its SKUs (by id),
//! without run, day, fetch times and `raw_ref`, and without sales, stock and counters; `volatile_hash` over those.
//! Each value enters with a tag for null and its length, so that no two contents share an encoding. The order of the
//! fields is part of the contract: adding one changes every hash.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64;

use crate::base::Money;

use super::offer::{Offer, Sku, Tier};

/// Room for one offer's encoding, reused.
#[derive(Debug, Default)]
pub struct Hasher {
    bytes: Vec<u8>,
    tiers: Vec<usize>,
    skus: Vec<usize>,
}

/// Both hashes of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashes {
    /// Over what it is.
    pub content: i64,
    /// Over sales, stock and counters.
    pub volatile: i64,
}

impl Hasher {
    /// Hashes an offer.
    pub fn hash(&mut self, offer: &Offer<'_>) -> Hashes {
        self.bytes.clear();
        self.content(offer);
        let content = xxh3_64(&self.bytes).cast_signed();
        self.bytes.clear();
        self.volatile(offer);
        Hashes { content, volatile: xxh3_64(&self.bytes).cast_signed() }
    }

    fn content(&mut self, offer: &Offer<'_>) {
        self.texts([&offer.shop_id, &offer.shop_name, &offer.title]);
        self.int(i64::from(offer.title_truncated));
        self.int(offer.offer_id);
        self.texts([&offer.brand, &offer.category_id, &offer.ship_from]);
        self.texts([&offer.detail_url, &offer.image_url, &offer.video_url]);
        self.int(i64::try_from(offer.image_urls.len()).unwrap_or(i64::MAX));
        for url in &offer.image_urls {
            self.text(Some(url));
        }
        for money in [offer.price, offer.price_max, offer.promotion_price, offer.channel_price, offer.dropship_price] {
            self.money(money);
        }
        self.money(offer.retail_price);
        self.text(Some(&offer.currency));
        self.texts([&offer.unit, &offer.moq_raw]);
        self.option(offer.quote_type.map(i64::from));
        self.option(offer.pieces_per_unit.map(i64::from));
        self.option(offer.moq_quantity);
        self.option(offer.moq_pieces);
        self.option(offer.repurchase_rate);
        self.option(offer.created_at);
        self.option(offer.modified_at);
        for name in [
            offer.pack_source.name(),
            offer.moq_status.name(),
            offer.moq_source.name(),
            offer.price_source.name(),
            offer.ladder_status.name(),
            offer.status.name(),
        ] {
            self.text(Some(name));
        }
        self.tiers.clear();
        self.tiers.extend(0..offer.tiers.len());
        self.tiers.sort_unstable_by_key(|&tier| (offer.tiers[tier].sku_id, offer.tiers[tier].tier_no));
        for index in 0..self.tiers.len() {
            self.tier(&offer.tiers[self.tiers[index]]);
        }
        self.skus.clear();
        self.skus.extend(0..offer.skus.len());
        self.skus.sort_unstable_by_key(|&sku| offer.skus[sku].sku_id);
        for index in 0..self.skus.len() {
            self.sku(&offer.skus[self.skus[index]]);
        }
    }

    fn tier(&mut self, tier: &Tier) {
        self.option(tier.sku_id);
        self.int(i64::from(tier.tier_no));
        self.int(tier.min_quantity);
        self.option(tier.max_quantity);
        self.option(tier.min_pieces);
        self.option(tier.max_pieces);
        self.money(Some(tier.unit_price));
        self.option(tier.piece_price);
        self.text(Some(tier.price_source.name()));
    }

    fn sku(&mut self, sku: &Sku<'_>) {
        self.int(sku.sku_id);
        self.texts([&sku.spec, &sku.cargo_number]);
        self.money(sku.price);
        self.money(sku.promotion_price);
    }

    fn volatile(&mut self, offer: &Offer<'_>) {
        self.texts([&offer.stock_raw]);
        self.option(offer.stock_pieces);
        self.text(Some(offer.stock_status.name()));
        for count in [offer.sales_count, offer.like_count, offer.comment_count, offer.favorite_count] {
            self.option(count);
        }
        self.int(i64::from(offer.sales_is_lower_bound));
        for sku in &self.skus {
            let sku = &offer.skus[*sku];
            put_text(&mut self.bytes, sku.stock_raw.as_deref());
            put_option(&mut self.bytes, sku.stock_pieces);
            put_text(&mut self.bytes, Some(sku.stock_status.name()));
        }
    }

    fn texts<const N: usize>(&mut self, texts: [&Option<Cow<'_, str>>; N]) {
        for text in texts {
            self.text(text.as_deref());
        }
    }

    fn text(&mut self, text: Option<&str>) {
        put_text(&mut self.bytes, text);
    }

    fn money(&mut self, money: Option<Money>) {
        self.option(money.map(Money::units));
    }

    fn option(&mut self, value: Option<i64>) {
        put_option(&mut self.bytes, value);
    }

    fn int(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }
}

fn put_text(bytes: &mut Vec<u8>, text: Option<&str>) {
    // The length of a text never reaches the mark for null.
    let length = text.map_or(u32::MAX, |text| u32::try_from(text.len()).unwrap_or(u32::MAX - 1));
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
}

fn put_option(bytes: &mut Vec<u8>, value: Option<i64>) {
    bytes.push(u8::from(value.is_some()));
    bytes.extend_from_slice(&value.unwrap_or_default().to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::offer::{PriceSource, QuantityStatus};
    use super::super::status::OfferStatus;
    use super::*;

    fn offer() -> Offer<'static> {
        let tier = |sku_id, tier_no, price| Tier {
            sku_id,
            tier_no,
            min_quantity: 1,
            max_quantity: None,
            min_pieces: None,
            max_pieces: None,
            unit_price: Money::from_units(price),
            piece_price: None,
            price_source: PriceSource::Wholesale,
        };
        let sku = |sku_id| Sku {
            sku_id,
            spec: None,
            price: None,
            promotion_price: None,
            stock_raw: None,
            stock_pieces: None,
            stock_status: QuantityStatus::Missing,
            cargo_number: None,
        };
        Offer {
            offer_id: 1,
            title: Some("保温杯".into()),
            tiers: vec![tier(None, 1, 10), tier(None, 2, 9)],
            skus: vec![sku(2), sku(1)],
            ..Offer::default()
        }
    }

    #[test]
    fn stock_and_sales_move_the_volatile_hash_only() {
        let mut hasher = Hasher::default();
        let before = hasher.hash(&offer());
        let mut sold = offer();
        sold.sales_count = Some(7);
        sold.skus[0].stock_pieces = Some(3);
        let after = hasher.hash(&sold);
        assert_eq!(after.content, before.content);
        assert_ne!(after.volatile, before.volatile);
    }

    #[test]
    fn any_content_moves_the_content_hash() {
        let mut hasher = Hasher::default();
        let before = hasher.hash(&offer()).content;
        let changes: [fn(&mut Offer<'static>); 9] = [
            |offer| offer.modified_at = Some(5),
            |offer| offer.title = Some(String::new().into()),
            |offer| offer.title = None,
            |offer| offer.tiers[1].unit_price = Money::from_units(8),
            |offer| offer.tiers.truncate(1),
            |offer| offer.skus[0].price = Some(Money::from_units(0)),
            |offer| offer.moq_pieces = Some(0),
            |offer| offer.image_urls = vec!["a".into()],
            |offer| offer.status = OfferStatus::OffSale,
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut changed = offer();
            change(&mut changed);
            assert_ne!(hasher.hash(&changed).content, before, "change {index}");
        }
    }

    #[test]
    fn the_order_in_which_skus_arrive_does_not_matter() {
        let mut hasher = Hasher::default();
        let mut other = offer();
        other.skus.reverse();
        assert_eq!(hasher.hash(&other), hasher.hash(&offer()));
    }
}
