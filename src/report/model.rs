//! What a report holds. Amounts are the tables' digits, ids are text.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};

/// Everything on the page.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    pub(super) groups: Vec<Group>,
    pub(super) state: State,
    /// Why shops are shown instead of groups.
    pub(super) stands_in: Option<StandsIn>,
    pub(super) summary: Summary,
}

/// What the page says of its own limits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Summary {
    pub(super) groups_left_out: usize,
}

/// Shops in place of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StandsIn {
    /// Shops of the lake; the largest are shown.
    pub(super) shops: usize,
}

/// What kind of set a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of the table `groups`.
    Named,
    /// Words of titles.
    Title,
    /// The best sold offers of one shop, which do not compete: they have no ranks.
    Shop,
}

/// How many pieces are needed, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) pieces: i64,
    pub(super) of: NeedOf,
}

/// Who says how many pieces are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NeedOf {
    /// Who made the report.
    Asker,
    /// The group's lines.
    Group,
    /// The default stands in.
    Nobody,
}

/// Offers that are looked at together.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// As the queries name it; of a shop its id.
    pub(super) key: String,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The quantity compared at.
    pub(super) need: Need,
    pub(super) counts: Counts,
    /// In the order shown, cut at the limits.
    pub(super) ranked: Vec<Ranked>,
    pub(super) changes: Changes,
}

/// Rows of a ranking, before it is cut. A row is an offer, or a SKU with a ladder of its own.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) rows: usize,
    pub(super) buyable: usize,
    pub(super) shops: usize,
    pub(super) ours: usize,
    /// Rows without a place by what is in the way.
    pub(super) reasons: BTreeMap<String, usize>,
}

/// Which offer, and how it is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) pipeline: String,
    pub(super) offer_id: String,
    pub(super) sku_id: Option<String>,
    pub(super) shop_id: Option<String>,
    pub(super) shop_name: Option<String>,
    pub(super) title: Option<String>,
    pub(super) url: Option<String>,
}

/// One row of a ranking.
#[derive(Debug, Clone, Default)]
pub(super) struct Ranked {
    pub(super) position: Option<i64>,
    pub(super) is_ours: bool,
    pub(super) offer: Offer,
    pub(super) unit: Option<String>,
    pub(super) pieces_per_unit: Option<i64>,
    pub(super) pack_size: Option<PackSize>,
    pub(super) units: Option<i64>,
    pub(super) pieces_bought: Option<i64>,
    pub(super) unit_price: Option<String>,
    pub(super) piece_price: Option<String>,
    pub(super) total: Option<String>,
    pub(super) currency: String,
    pub(super) gap: Option<String>,
    pub(super) gap_pct: Option<String>,
    pub(super) moq_pieces: Option<i64>,
    pub(super) buyable: Option<bool>,
    pub(super) reason: Option<String>,
    /// What is known of a price that depends on the SKU, per piece.
    pub(super) spread: Option<(String, String)>,
    pub(super) ladder_status: Option<String>,
    pub(super) stock_pieces: Option<i64>,
    pub(super) stock_status: Option<String>,
    /// Its line in the charts; `None`: it has none.
    pub(super) line: Option<Line>,
}

/// Pieces in one sale unit as the groups file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackSize {
    pub(super) pieces: i64,
    /// Today's prices are by it; `false`: the gateway states another or the same, which counts.
    pub(super) is_used: bool,
}

/// What is drawn of one row.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    /// By which it is found in charts and tables; from 0.
    pub(super) place: usize,
    pub(super) steps: Vec<Step>,
    pub(super) days: Vec<DayPrice>,
}

/// One step of a ladder; of several with one start the dearest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) min_pieces: i64,
    pub(super) piece_price: String,
}

/// What a piece cost on a day, at the group's quantity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DayPrice {
    pub(super) dt: NaiveDate,
    pub(super) piece_price: String,
    /// `false`: below the minimum; the price is that at the minimum.
    pub(super) is_buyable: bool,
}

/// What happened in a group since the day before.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    /// The most telling first, cut at the limit.
    pub(super) events: Vec<Event>,
    pub(super) tally: Tally,
    /// `false`: nothing was published for an earlier day.
    pub(super) is_compared: bool,
}

/// Offers (or SKUs) by what happened to them, before the cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) cuts: usize,
    pub(super) raises: usize,
    pub(super) other_prices: usize,
    pub(super) new: usize,
    pub(super) delisted: usize,
    pub(super) moq: usize,
    pub(super) stock_outs: usize,
}

impl Tally {
    pub(super) fn total(&self) -> usize {
        self.cuts + self.raises + self.other_prices + self.new + self.delisted + self.moq + self.stock_outs
    }
}

/// One offer's change.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) offer: Offer,
    pub(super) is_ours: bool,
    pub(super) currency: String,
    pub(super) unit: Option<String>,
    pub(super) what: What,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Prices(Prices),
    New { price: Option<String> },
    Delisted { last_price: Option<String> },
    Moq { kind: String, old: Quantity, new: Quantity },
    StockOut { spec: Option<String>, old_pieces: Option<i64> },
}

/// A quantity in pieces, or as it was received where pieces are not known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Quantity {
    pub(super) pieces: Option<i64>,
    pub(super) raw: Option<String>,
}

/// What a piece costs at the group's quantity, and the steps of one ladder that differ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Prices {
    /// `None`: what it did.
    pub(super) at_need: Option<Move>,
    /// Some of them, from the first.
    pub(super) steps: Vec<StepChange>,
    /// All of them.
    pub(super) count: usize,
    /// In hundredths of a percent: the largest cut and the largest raise of a step.
    pub(super) lowest: Option<i64>,
    pub(super) highest: Option<i64>,
    pub(super) is_other_unit: bool,
}

/// A price per piece then and now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) old: String,
    pub(super) new: String,
    /// In hundredths of a percent.
    pub(super) change: i64,
}

/// One step then and now, per sale unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StepChange {
    pub(super) min_quantity: i64,
    pub(super) old: Option<String>,
    pub(super) new: Option<String>,
}

/// Whether the data is whole and fresh.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) days: Vec<Day>,
    /// Incomplete ones first, cut at the limit.
    pub(super) shops: Vec<Shop>,
    pub(super) shop_count: usize,
    pub(super) incomplete_count: usize,
    pub(super) offer_count: i64,
    pub(super) runs: Vec<Run>,
}

/// The last published day of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) pipeline: String,
    pub(super) dt: NaiveDate,
    pub(super) previous_dt: Option<NaiveDate>,
    /// All published days, ascending.
    pub(super) published: Vec<NaiveDate>,
    /// How many days it is behind today in Beijing.
    pub(super) age_days: i64,
}

/// A shop on the last published day.
#[derive(Debug, Clone)]
pub(super) struct Shop {
    pub(super) pipeline: String,
    pub(super) shop_id: String,
    pub(super) shop_name: Option<String>,
    pub(super) official_count: Option<i64>,
    pub(super) offer_count: i64,
    pub(super) new_count: i64,
    pub(super) changed_count: i64,
    pub(super) delisted_count: i64,
    pub(super) quarantined_count: i64,
    pub(super) is_complete: bool,
    pub(super) incomplete_reason: Option<String>,
    pub(super) calls_used: i64,
}

/// An attempt of a run.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) pipeline: String,
    pub(super) dt: String,
    pub(super) attempt: i64,
    pub(super) kind: Option<String>,
    pub(super) status: String,
    pub(super) error: Option<String>,
    pub(super) started_at: Option<DateTime<Utc>>,
    pub(super) seconds: i64,
    pub(super) received: i64,
    pub(super) loaded: i64,
    pub(super) duplicates: i64,
    pub(super) quarantined: i64,
    pub(super) calls_used: i64,
    pub(super) quota_left: Option<i64>,
}
