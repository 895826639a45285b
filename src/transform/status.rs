//! Whether an offer is on sale, from the words gateways use.

/// An offer's `status` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum OfferStatus {
    /// Can be bought.
    #[default]
    OnSale,
    /// Still listed, but cannot be bought.
    OffSale,
    /// No longer listed; set by the merge, never by a record.
    Delisted,
}

impl OfferStatus {
    /// All of them.
    pub const ALL: &[OfferStatus] = &[OfferStatus::OnSale, OfferStatus::OffSale, OfferStatus::Delisted];

    /// Its name in the tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            OfferStatus::OnSale => "on_sale",
            OfferStatus::OffSale => "off_sale",
            OfferStatus::Delisted => "delisted",
        }
    }
}

/// The words that mean "not on sale": the official product states besides `published` and its waiting states,
/// and what resellers write.
const OFF_SALE: &[&str] = &[
    "expired",
    "auto expired",
    "member expired",
    "member deleted",
    "deleted",
    "tbd",
    "new",
    "auditing",
    "untread",
    "offline",
    "off_sale",
    "off sale",
    "offsale",
    "off_shelf",
    "offshelf",
    "instock",
    "sold_out",
    "soldout",
    "delist",
    "delisted",
    "false",
    "下架",
    "已下架",
    "已删除",
    "已过期",
    "过期",
    "删除",
    "失效",
    "已失效",
];

/// Reads a state; a record of a listing without a known word is on sale.
#[must_use]
pub fn read(text: &str) -> OfferStatus {
    let text = text.trim();
    let off = OFF_SALE.iter().any(|word| word.eq_ignore_ascii_case(text));
    if off { OfferStatus::OffSale } else { OfferStatus::OnSale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_on_or_off_sale() {
        for text in ["published", "online", "onsale", "true", "上架", "approved", "", "什么"] {
            assert_eq!(read(text), OfferStatus::OnSale, "{text}");
        }
        for text in ["expired", "member expired", "auto expired", "deleted", "TBD", "已下架", " Offline "] {
            assert_eq!(read(text), OfferStatus::OffSale, "{text}");
        }
    }
}
