//! The plain truth about the world: what a correct reader of a gateway's answers must end up with.
//!
//! Served at `/_sim/world` and by [`super::Sim::world`], so that tests compare tables with it.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::offers::{Offer, Sku};
use super::shapes::ladder::{Fallback, LadderForm, LadderTruth, Step};
use super::shapes::{Family, counts, yuan};
use super::world::{Day, Shop};

/// All shops of one day, as one gateway can show them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorldTruth {
    /// The seed of the world.
    pub seed: u64,
    /// The day.
    pub date: NaiveDate,
    /// In the order of their numbers.
    pub shops: Vec<ShopTruth>,
}

/// One shop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShopTruth {
    /// Member id.
    pub shop_id: String,
    /// Its name.
    pub shop_name: String,
    /// Its address; `alibaba.shop.get` resolves it.
    pub shop_url: String,
    /// Offers on sale.
    pub on_sale: usize,
    /// Offers that an off-sale listing holds.
    pub off_sale: usize,
    /// By category id.
    pub categories: Vec<CategoryTruth>,
    /// Every offer on sale, and those taken off sale and not yet gone.
    pub offers: Vec<OfferTruth>,
}

/// One category of a shop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CategoryTruth {
    /// Its id.
    pub cid: i64,
    /// Its name.
    pub name: String,
    /// Offers on sale in it.
    pub on_sale: usize,
}

/// One offer. Prices are yuan per sale unit with two places; `null` in an optional claim that the rules
/// leave open (`tiers`, `price_source`, `ladder_status`) means that no claim is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OfferTruth {
    /// Item id.
    pub offer_id: i64,
    /// As sent, untrimmed and uncut.
    pub title: Option<String>,
    /// Category id.
    pub cid: i64,
    /// On sale, or taken off sale today or in the last days.
    pub is_on_sale: bool,
    /// Headline price.
    pub price: Option<String>,
    /// Channel price.
    pub channel_price: Option<String>,
    /// Dropship price.
    pub dropship_price: Option<String>,
    /// 0–3.
    pub quote_type: u8,
    /// Sale unit.
    pub unit: Option<String>,
    /// Pieces in one sale unit.
    pub pieces_per_unit: Option<i64>,
    /// Where they are stated.
    pub pack_source: String,
    /// In sale units.
    pub moq_quantity: Option<i64>,
    /// In pieces.
    pub moq_pieces: Option<i64>,
    /// As in the table `offers`.
    pub moq_status: String,
    /// As in the table `offers`.
    pub moq_source: String,
    /// The steps that hold for the whole offer.
    pub tiers: Option<Vec<TierTruth>>,
    /// As in the table `offers`.
    pub price_source: Option<String>,
    /// As in the table `offers`.
    pub ladder_status: Option<String>,
    /// In pieces.
    pub stock_pieces: Option<i64>,
    /// As in the table `offers`.
    pub stock_status: String,
    /// This shop's sales.
    pub sales_count: Option<i64>,
    /// Meaningful where `sales_count` is known.
    pub sales_is_lower_bound: bool,
    /// The SKUs that the listing names.
    pub skus: Vec<SkuTruth>,
    /// Moves with prices and minimum quantities, not with stock.
    pub modified_at: DateTime<Utc>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierTruth {
    /// In sale units.
    pub min_quantity: i64,
    /// In sale units, inclusive.
    pub max_quantity: Option<i64>,
    /// Yuan per sale unit.
    pub unit_price: String,
}

/// One SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkuTruth {
    /// SKU id.
    pub sku_id: i64,
    /// As sent.
    pub spec: String,
    /// Where SKUs have prices of their own.
    pub price: Option<String>,
    /// In sale units.
    pub stock: i64,
    /// Its own ladder, where the gateway gives one (quote type 3).
    pub tiers: Vec<TierTruth>,
}

/// The world of `day` as `family` can show it.
pub(super) fn of_world(day: &Day, family: Family) -> WorldTruth {
    WorldTruth { seed: day.seed, date: day.date, shops: day.shops.iter().map(|shop| of_shop(shop, family)).collect() }
}

fn of_shop(shop: &Shop, family: Family) -> ShopTruth {
    let on_sale = |cid: Option<i64>| {
        shop.offers.iter().filter(|offer| offer.is_on_sale && cid.is_none_or(|cid| offer.cid() == cid)).count()
    };
    ShopTruth {
        shop_id: shop.id.clone(),
        shop_name: shop.name.clone(),
        shop_url: shop.url.clone(),
        on_sale: on_sale(None),
        off_sale: shop.offers.len() - on_sale(None),
        categories: shop
            .categories()
            .map(|(cid, name)| CategoryTruth { cid, name: name.to_owned(), on_sale: on_sale(Some(cid)) })
            .collect(),
        offers: shop.offers.iter().map(|offer| of_offer(offer, family)).collect(),
    }
}

/// What a correct reader of `family`'s answers knows about one offer.
pub(super) fn of_offer(offer: &Offer, family: Family) -> OfferTruth {
    let quantity = &offer.quantity;
    let unit = quantity.unit_truth(family);
    let has_steps = matches!(offer.ladder.form, LadderForm::Objects | LadderForm::ObjectsText | LadderForm::Ranges);
    let first_start = offer.ladder.steps.first().map(|step| step.start).filter(|_| has_steps);
    let moq = quantity.moq_truth(family, first_start);
    let from_quantity = if moq.source == "stated" { moq.quantity.unwrap_or(1) } else { 1 };
    let fallback = Fallback { from_quantity, channel: offer.channel_fen, headline: offer.headline_fen };
    let has_sku_ladders = family == Family::Structured && offer.skus.iter().any(|sku| !sku.steps.is_empty());
    let ladder = if has_sku_ladders {
        // Whether the offer's own steps still count beside the SKUs' is left open.
        LadderTruth { status: None, tiers: None, source: None }
    } else {
        offer.ladder.truth(family, fallback)
    };
    let (stock_pieces, stock_status) = match counts::stock_truth(offer.stock_form, offer.stock) {
        _ if family == Family::Search => (None, "missing"),
        // The official structure has numbers only.
        Err("unparsable") if family == Family::Structured => {
            (unit.pieces.map(|pieces| pieces * offer.stock), unit.reason)
        }
        Ok(count) => (unit.pieces.map(|pieces| pieces * count), unit.reason),
        Err(status) => (None, status),
    };
    let (sales_count, sales_is_lower_bound) = match family {
        Family::Text => counts::sales_truth(offer.sales_form, offer.sales),
        Family::Structured | Family::Search => (None, false),
    };
    OfferTruth {
        offer_id: offer.id,
        title: offer.title.clone(),
        cid: offer.cid(),
        is_on_sale: offer.is_on_sale,
        price: (family != Family::Structured).then(|| yuan(offer.headline_fen)),
        channel_price: offer.channel_fen.filter(|_| family == Family::Text).map(yuan),
        dropship_price: offer.consign_fen.filter(|_| family == Family::Structured).map(yuan),
        quote_type: offer.quote_type,
        unit: unit.unit.map(str::to_owned),
        pieces_per_unit: unit.pieces,
        pack_source: unit.pack_source.to_owned(),
        moq_quantity: moq.quantity,
        moq_pieces: moq.pieces,
        moq_status: moq.status.to_owned(),
        moq_source: moq.source.to_owned(),
        tiers: ladder.tiers,
        price_source: ladder.source.map(str::to_owned),
        ladder_status: ladder.status.map(str::to_owned),
        stock_pieces,
        stock_status: stock_status.to_owned(),
        sales_count,
        sales_is_lower_bound,
        skus: if family == Family::Search { &[] } else { offer.skus.as_slice() }
            .iter()
            .map(|sku| of_sku(sku, family))
            .collect(),
        modified_at: offer.modified_at,
    }
}

fn of_sku(sku: &Sku, family: Family) -> SkuTruth {
    let steps = if family == Family::Structured { sku.steps.as_slice() } else { &[] };
    let tier = |(at, step): (usize, &Step)| {
        let max_quantity = steps.get(at + 1).map(|next| next.start - 1);
        step.fen.map(|fen| TierTruth { min_quantity: step.start, max_quantity, unit_price: yuan(fen) })
    };
    SkuTruth {
        sku_id: sku.id,
        spec: sku.spec.clone(),
        price: sku.fen.map(yuan),
        stock: sku.stock,
        tiers: steps.iter().enumerate().filter_map(tier).collect(),
    }
}
