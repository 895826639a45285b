//! How listings behave where gateways differ, or misbehave: values of [`crate::sim::Options`].
//!
//! Invariant: every default is what portals' guide (S2) says, or the plainest reading of it.

/// How listings behave where gateways differ, or misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Listings {
    /// The order of portals' listing where `sortType` asks for none.
    pub order: ListingOrder,
    /// Whether portals' listing says how many offers it selects.
    pub totals: ListingTotals,
    /// Whether page numbers are read, in every gateway that has a listing.
    pub pages: PageNumbers,
    /// Listings of many offers can take long, so that time-outs show.
    pub slow: Option<SlowListing>,
}

/// The order of portals' listing where `sortType` is neither `volume_desc` nor `modified_asc` (a name of the
/// simulator's own: no document names the value of the ascending sort).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListingOrder {
    /// By modified time, then by id.
    #[default]
    Modified,
    /// An order that means nothing; the same on every call and page.
    Unordered,
}

/// Whether portals' listing says how many offers it selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListingTotals {
    /// It does not.
    #[default]
    Absent,
    /// As `total_results` beside `items`.
    Stated,
}

/// Whether page numbers are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PageNumbers {
    /// They are.
    #[default]
    Honoured,
    /// Every page is page 1.
    Ignored,
}

/// Listings that take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowListing {
    /// A page of a selection of more offers than this …
    pub offers: usize,
    /// … takes this much longer.
    pub millis: u64,
}

/// Whether portals knows an end bound of a window (WIRE §1: "whether it exists is gateway data").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WindowEnd {
    /// `end_time` is ignored, like every parameter it does not know.
    #[default]
    Ignored,
    /// `end_time` is honoured, inclusive.
    Honoured,
}
