//! One normalised offer: the content columns of `offers`, `price_tiers` and `skus` as values (TABLES.md).
//!
//! Invariant: text is borrowed from the record wherever it is unchanged; the lists keep their capacity when the
//! value is used again.

use std::borrow::Cow;

use crate::base::Money;

use super::ladder::{LadderStatus, Step};
use super::lex::Lexeme;
use super::pack::{PackSource, Statement};
use super::status::OfferStatus;
use super::unit::UnitId;

/// A text of a record.
pub type Text<'a> = Option<Cow<'a, str>>;

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// Its name in the tables.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }
    };
}

names! {
    /// Whether a quantity became pieces, and if not, why (`moq_status`, `stock_status`).
    QuantityStatus {
        /// It did.
        Ok = "ok",
        /// The record has none.
        Missing = "missing",
        /// A sentinel for "plenty"; stock only.
        Unlimited = "unlimited",
        /// No unit is stated, or one that no table knows.
        UnknownUnit = "unknown_unit",
        /// A pack of unknown size.
        UnknownPack = "unknown_pack",
        /// A weight, length, area or volume.
        NotCountable = "not_countable",
        /// Statements of the pack size disagree.
        Conflict = "conflict",
        /// No single whole number can be read.
        Unparsable = "unparsable",
    }
}

names! {
    /// Where the MOQ comes from.
    MoqSource {
        /// Its own field.
        Stated = "stated",
        /// The start of the first tier.
        Ladder = "ladder",
        /// Nowhere.
        None = "none",
    }
}

names! {
    /// Where the tiers' prices come from.
    PriceSource {
        /// The ladder.
        Wholesale = "wholesale",
        /// The channel price.
        Channel = "channel",
        /// The SKUs' own prices or ladders.
        Sku = "sku",
        /// The headline price.
        Headline = "headline",
        /// There are no tiers.
        None = "none",
    }
}

names! {
    /// What stated the sale unit, in the order in which they are asked.
    UnitSource {
        /// `sellunit`.
        SaleUnit = "sale_unit",
        /// `unit`.
        Unit = "unit",
        /// The ladder's bounds.
        Ladder = "ladder",
        /// The MOQ's text.
        Moq = "moq",
        /// The definition's default.
        Default = "default",
        /// Nothing.
        None = "none",
    }
}

names! {
    /// Why a record or a SKU could not be loaded.
    RejectReason {
        /// There is no id.
        IdMissing = "id_missing",
        /// The id is no positive integer.
        IdInvalid = "id_invalid",
        /// A number does not fit its column.
        TooLarge = "number_too_large",
    }
}

/// A record or a SKU that could not be loaded, for quarantine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} `{value}`: {}", .field, .reason.name())]
pub struct Reject {
    /// Why.
    pub reason: RejectReason,
    /// The canonical field.
    pub field: &'static str,
    /// Its JSON text, at most the first 200 characters.
    pub value: String,
}

/// One tier, a row of `price_tiers`; its `ladder_status` and currency are the offer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// `None`: the ladder holds for the whole offer.
    pub sku_id: Option<i64>,
    /// From 1 in each ladder, in the order received.
    pub tier_no: i32,
    /// In sale units.
    pub min_quantity: i64,
    /// In sale units, itself included.
    pub max_quantity: Option<i64>,
    /// In pieces.
    pub min_pieces: Option<i64>,
    /// In pieces, itself included.
    pub max_pieces: Option<i64>,
    /// Of one sale unit.
    pub unit_price: Money,
    /// Of one piece, in units of 10⁻⁶.
    pub piece_price: Option<i64>,
    /// Where the price comes from.
    pub price_source: PriceSource,
}

/// One SKU, a row of `skus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sku<'a> {
    /// Unique in its offer.
    pub sku_id: i64,
    /// `颜色:红;尺码:XL`
    pub spec: Text<'a>,
    /// Of one sale unit.
    pub price: Option<Money>,
    /// Never mixed into `price`.
    pub promotion_price: Option<Money>,
    /// As received.
    pub stock_raw: Text<'a>,
    /// In pieces.
    pub stock_pieces: Option<i64>,
    /// Why not.
    pub stock_status: QuantityStatus,
    /// The seller's own number.
    pub cargo_number: Text<'a>,
}

/// One offer. Times are microseconds since 1970 in UTC, piece prices units of 10⁻⁶, rates units of 10⁻⁶.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are the columns of `offers`, which TABLES.md explains")]
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
    pub image_urls: Vec<Cow<'a, str>>,
    pub video_url: Text<'a>,
    pub price: Option<Money>,
    pub price_max: Option<Money>,
    pub promotion_price: Option<Money>,
    pub channel_price: Option<Money>,
    pub dropship_price: Option<Money>,
    pub retail_price: Option<Money>,
    pub currency: Cow<'a, str>,
    pub quote_type: Option<i8>,
    pub unit: Text<'a>,
    /// What stated the unit; no column, for `explain`.
    pub unit_source: UnitSource,
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
    pub repurchase_rate: Option<i64>,
    pub min_piece_price: Option<i64>,
    pub max_piece_price: Option<i64>,
    pub price_source: PriceSource,
    pub ladder_status: LadderStatus,
    pub status: OfferStatus,
    pub created_at: Option<i64>,
    pub modified_at: Option<i64>,
    /// Rows of `price_tiers`; their number is `tier_count`.
    pub tiers: Vec<Tier>,
    /// Rows of `skus`, in the order received and without repeats; their number is `sku_count`.
    pub skus: Vec<Sku<'a>>,
    /// SKUs without a usable id: quarantine, beside the offer.
    pub rejected_skus: Vec<Reject>,
    /// The SKUs the offer names, for detail calls.
    pub named_skus: Vec<i64>,
    /// Whether it has a wholesale, spread or channel price that is not 0 (WIRE §5 "Completeness").
    pub price_complete: bool,
    /// Whether every SKU it names has a row, or it has none by its quote type; `true` where SKUs were not asked for.
    pub sku_complete: bool,
    pub(super) scratch: Scratch,
}

/// Buffers that outlive one offer.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch {
    pub(super) lexemes: Vec<Lexeme>,
    pub(super) moq_lexemes: Vec<Lexeme>,
    pub(super) stock_lexemes: Vec<Lexeme>,
    pub(super) steps: Vec<Step>,
    pub(super) statements: Vec<Statement>,
    pub(super) configured: Vec<(UnitId, i64)>,
}

impl Default for Offer<'_> {
    fn default() -> Self {
        Self {
            shop_id: None,
            shop_name: None,
            offer_id: 0,
            title: None,
            title_truncated: false,
            brand: None,
            category_id: None,
            ship_from: None,
            detail_url: None,
            image_url: None,
            image_urls: Vec::new(),
            video_url: None,
            price: None,
            price_max: None,
            promotion_price: None,
            channel_price: None,
            dropship_price: None,
            retail_price: None,
            currency: Cow::Borrowed("CNY"),
            quote_type: None,
            unit: None,
            unit_source: UnitSource::None,
            pieces_per_unit: None,
            pack_source: PackSource::None,
            moq_raw: None,
            moq_quantity: None,
            moq_pieces: None,
            moq_status: QuantityStatus::Missing,
            moq_source: MoqSource::None,
            stock_raw: None,
            stock_pieces: None,
            stock_status: QuantityStatus::Missing,
            sales_count: None,
            sales_is_lower_bound: false,
            like_count: None,
            comment_count: None,
            favorite_count: None,
            repurchase_rate: None,
            min_piece_price: None,
            max_piece_price: None,
            price_source: PriceSource::None,
            ladder_status: LadderStatus::Missing,
            status: OfferStatus::OnSale,
            created_at: None,
            modified_at: None,
            tiers: Vec::new(),
            skus: Vec::new(),
            rejected_skus: Vec::new(),
            named_skus: Vec::new(),
            price_complete: false,
            sku_complete: false,
            scratch: Scratch::default(),
        }
    }
}

impl Offer<'_> {
    /// Empties it, keeping what its lists have allocated.
    pub fn clear(&mut self) {
        let mut image_urls = std::mem::take(&mut self.image_urls);
        let mut tiers = std::mem::take(&mut self.tiers);
        let mut skus = std::mem::take(&mut self.skus);
        let mut rejected_skus = std::mem::take(&mut self.rejected_skus);
        let mut named_skus = std::mem::take(&mut self.named_skus);
        let mut scratch = std::mem::take(&mut self.scratch);
        image_urls.clear();
        tiers.clear();
        skus.clear();
        rejected_skus.clear();
        named_skus.clear();
        scratch.steps.clear();
        scratch.statements.clear();
        scratch.configured.clear();
        *self = Self { image_urls, tiers, skus, rejected_skus, named_skus, scratch, ..Self::default() };
    }
}
