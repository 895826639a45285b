//! One normalised offer: the content columns of `offers`, `price_tiers` and `skus`, before they become batches.
//!
//! Reused from record to record: [`Offer::clear`] keeps the room of its lists.

use std::borrow::Cow;

use crate::base::Money;

/// Text of a column: a slice of the answer where nothing had to change.
pub type Text<'a> = Option<Cow<'a, str>>;

/// The content of one offer, with its tiers and SKUs.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "the contract of `offers` describes the columns")]
pub struct Offer<'a> {
    pub shop_id: Text<'a>,
    pub shop_name: Text<'a>,
    pub offer_id: i64,
    pub title: Text<'a>,
    pub title_truncated: bool,
    pub brand: Text<'a>,
    pub category_id: Text<'a>,
    pub ship_from: Text<'a>,
    pub detail_url: Text<'a>,
    pub image_url: Text<'a>,
    pub video_url: Text<'a>,
    /// Empty: null.
    pub image_urls: Vec<Cow<'a, str>>,
    pub price: Option<Money>,
    pub price_max: Option<Money>,
    pub promotion_price: Option<Money>,
    pub channel_price: Option<Money>,
    pub dropship_price: Option<Money>,
    pub retail_price: Option<Money>,
    /// `None`: CNY.
    pub currency: Text<'a>,
    pub quote_type: Option<i8>,
    pub unit: Text<'a>,
    pub pieces_per_unit: Option<i32>,
    pub pack_source: PackSource,
    pub moq_raw: Text<'a>,
    pub moq_quantity: Option<i64>,
    pub moq_pieces: Option<i64>,
    pub moq_status: QuantityStatus,
    pub moq_source: MoqSource,
    pub stock_raw: Text<'a>,
    pub stock_pieces: Option<i64>,
    pub stock_status: QuantityStatus,
    pub sales_count: Option<i64>,
    pub sales_is_lower_bound: bool,
    pub like_count: Option<i64>,
    pub comment_count: Option<i64>,
    pub favorite_count: Option<i64>,
    /// In units of 10⁻⁶.
    pub repurchase_rate: Option<i64>,
    /// In units of 10⁻⁶.
    pub min_piece_price: Option<i64>,
    /// In units of 10⁻⁶.
    pub max_piece_price: Option<i64>,
    pub price_source: PriceSource,
    pub ladder_status: LadderStatus,
    pub status: OfferStatus,
    /// µs, UTC.
    pub created_at: Option<i64>,
    /// µs, UTC.
    pub modified_at: Option<i64>,
    pub tiers: Vec<Tier>,
    pub skus: Vec<Sku<'a>>,
    /// The SKUs it names, where SKU details are answers of their own.
    pub sku_ids: Vec<i64>,
    /// WIRE §5 "Completeness": every SKU it names has a row, or it has none to name.
    pub sku_complete: bool,
    /// WIRE §5 "Completeness": a wholesale, spread or channel price that is not 0.
    pub price_complete: bool,
}

/// One step of a ladder.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the contract of `price_tiers` describes the columns")]
pub struct Tier {
    pub sku_id: Option<i64>,
    pub tier_no: i32,
    pub min_quantity: i64,
    pub max_quantity: Option<i64>,
    pub min_pieces: Option<i64>,
    pub max_pieces: Option<i64>,
    pub unit_price: Money,
    /// In units of 10⁻⁶.
    pub piece_price: Option<i64>,
    pub price_source: PriceSource,
    pub ladder_status: LadderStatus,
}

/// One SKU.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "the contract of `skus` describes the columns")]
pub struct Sku<'a> {
    pub sku_id: i64,
    pub spec: Text<'a>,
    pub price: Option<Money>,
    pub promotion_price: Option<Money>,
    pub stock_raw: Text<'a>,
    pub stock_pieces: Option<i64>,
    pub stock_status: QuantityStatus,
    pub cargo_number: Text<'a>,
    /// Its place in the input's SKUs (their fetch times differ where details are answers of their own).
    pub source: usize,
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? } default $default:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the contract of the table describes the values")]
        pub enum $name { $($variant),+ }

        impl $name {
            /// All values.
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// Its text in the tables.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                $name::$default
            }
        }
    };
}

named! {
    /// Where `pieces_per_unit` comes from.
    PackSource {
        UnitTable = "unit_table", MoqText = "moq_text", StockText = "stock_text", Title = "title",
        Attribute = "attribute", BatchNumber = "batch_number", Config = "config", None = "none", Conflict = "conflict",
    } default None
}

named! {
    /// What became of a quantity (MOQ or stock; only stock can be unlimited).
    QuantityStatus {
        Ok = "ok", Missing = "missing", Unlimited = "unlimited", UnknownUnit = "unknown_unit",
        UnknownPack = "unknown_pack", NotCountable = "not_countable", Conflict = "conflict", Unparsable = "unparsable",
    } default Missing
}

named! {
    /// Where the MOQ comes from.
    MoqSource { Stated = "stated", Ladder = "ladder", None = "none" } default None
}

named! {
    /// Where a tier's price comes from.
    PriceSource {
        Wholesale = "wholesale", Channel = "channel", Sku = "sku", Headline = "headline", None = "none",
    } default None
}

named! {
    /// The shape of a ladder.
    LadderStatus {
        Ok = "ok", Single = "single", DuplicateStart = "duplicate_start", Unordered = "unordered",
        Overlap = "overlap", Gap = "gap", Rising = "rising", SkuSpread = "sku_spread",
        Unparsable = "unparsable", Missing = "missing",
    } default Missing
}

named! {
    /// Whether it is for sale.
    OfferStatus { OnSale = "on_sale", OffSale = "off_sale", Delisted = "delisted" } default OnSale
}

impl Offer<'_> {
    /// Empties it, keeping the room of its lists.
    pub fn clear(&mut self) {
        let Offer { mut image_urls, mut tiers, mut skus, mut sku_ids, .. } = std::mem::take(self);
        image_urls.clear();
        tiers.clear();
        skus.clear();
        sku_ids.clear();
        (self.image_urls, self.tiers, self.skus, self.sku_ids) = (image_urls, tiers, skus, sku_ids);
    }
}
