//! The canonical fields of one record, as slices of its bytes.

use crate::base::json::Raw;
use crate::config::gateway::{OFFER_FIELDS, SKU_FIELDS};

macro_rules! fields {
    ($(#[$doc:meta])* $name:ident of $names:ident: $($variant:ident),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the names are those of the definition's mapping")]
        pub enum $name { $($variant),+ }

        impl $name {
            /// All of them, in the order of the mapping's names.
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// Its name in a definition.
            #[must_use]
            pub fn name(self) -> &'static str {
                $names[self as usize]
            }
        }
    };
}

fields! {
    /// A canonical field of an offer.
    OfferField of OFFER_FIELDS:
    OfferId, ShopId, ShopName, Title, Brand, CategoryId, ShipFrom, DetailUrl, ImageUrl,
    ImageUrls, VideoUrl, Price, PriceMax, PromotionPrice, ChannelPrice, DropshipPrice,
    RetailPrice, Currency, QuoteType, Ladder, Unit, SaleUnit, BatchNumber, Pack, Attributes,
    Moq, Stock, Sales, LikeCount, CommentCount, FavoriteCount, RepurchaseRate, SkuIds, Skus,
    Status, CreatedAt, ModifiedAt,
}

fields! {
    /// A canonical field of a SKU.
    SkuField of SKU_FIELDS:
    SkuId, Spec, Price, PromotionPrice, ChannelPrice, Stock, CargoNumber, Ladder,
}

/// An offer's fields: `None` where the record has none or an empty value.
#[derive(Debug, Clone, Copy)]
pub struct OfferFields<'a>(pub [Option<Raw<'a>>; OFFER_FIELDS.len()]);

/// A SKU's fields: `None` where the record has none or an empty value.
#[derive(Debug, Clone, Copy)]
pub struct SkuFields<'a>(pub [Option<Raw<'a>>; SKU_FIELDS.len()]);

impl<'a> OfferFields<'a> {
    /// The field's value.
    #[must_use]
    pub fn get(&self, field: OfferField) -> Option<Raw<'a>> {
        self.0[field as usize]
    }
}

impl<'a> SkuFields<'a> {
    /// The field's value.
    #[must_use]
    pub fn get(&self, field: SkuField) -> Option<Raw<'a>> {
        self.0[field as usize]
    }
}

impl Default for OfferFields<'_> {
    fn default() -> Self {
        Self([None; OFFER_FIELDS.len()])
    }
}

impl Default for SkuFields<'_> {
    fn default() -> Self {
        Self([None; SKU_FIELDS.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_in_the_order_of_their_names() {
        assert_eq!(OfferField::ALL.len(), OFFER_FIELDS.len());
        assert_eq!(SkuField::ALL.len(), SKU_FIELDS.len());
        assert_eq!(OfferField::SaleUnit.name(), "sale_unit");
        assert_eq!(OfferField::ModifiedAt.name(), "modified_at");
        assert_eq!(SkuField::Ladder.name(), "ladder");
    }
}
