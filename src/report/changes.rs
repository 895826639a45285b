//! What happened in each group since the day before (the previous published day of each offer's pipeline).
//!
//! Invariant: everything is counted, also what is not shown.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::base::Result;
use crate::query::Session;

use super::model::{Day, Event, Group, Kind, Offer, Prices, Quantity, StepChange, Tally, What};
use super::number::hundredths;
use super::rows::{Row, each, quoted};
use super::source::Source;
use super::{limits, moves};

/// Steps of a ladder that are listed.
const STEPS_LISTED: usize = 4;

/// Fills the changes of all groups.
///
/// # Errors
/// What the queries say.
pub(super) async fn read(session: &Session, sources: &[Source], groups: &mut [Group], days: &[Day]) -> Result<()> {
    let compared = days.iter().filter(|day| day.previous_dt.is_some());
    let compared: Vec<String> = compared.map(is_day).collect();
    if compared.is_empty() || groups.is_empty() {
        return Ok(());
    }
    groups.iter_mut().for_each(|group| group.changes.is_compared = true);
    let compared = compared.join(" OR ");
    for source in sources {
        let moves = moves::read(session, source, groups, days).await?;
        let shown = Shown { groups: &mut *groups, kind: source.kind(), moves, told: BTreeSet::new() };
        of_source(session, &source.members(), &compared, shown).await?;
    }
    groups.iter_mut().for_each(cut);
    Ok(())
}

fn is_day(day: &Day) -> String {
    format!("(c.pipeline = {} AND c.dt = DATE '{}')", quoted(&day.pipeline), day.dt)
}

/// A query of a view's rows that belong to the groups; columns of `c` are the view's. Where several pipelines tell of an
/// offer, the one that fetched it last comes first.
fn sql(members: &str, days: &str, view: &str, columns: &str) -> String {
    format!(
        "WITH m AS ({members})
         SELECT m.group_name, m.is_ours, m.detail_url, c.pipeline, c.shop_id, c.shop_name, c.offer_id, c.title, {columns}
         FROM {view} AS c JOIN m ON m.offer_id = c.offer_id
         WHERE ({days})
         ORDER BY m.group_name, c.offer_id, c.pipeline <> m.pipeline, c.pipeline"
    )
}

async fn of_source(session: &Session, members: &str, days: &str, mut shown: Shown<'_>) -> Result<()> {
    let of_view = |view, columns| sql(members, days, view, columns);
    prices(session, &of_view("price_changes", PRICE_COLUMNS), &mut shown).await?;
    for ((group, ..), event) in std::mem::take(&mut shown.moves) {
        shown.push(&group, event);
    }
    let new = of_view("new_offers", "c.price, c.currency, c.unit");
    each(session, &new, vec![], |row| shown.add(&row, What::New { price: row.text("price")? })).await?;
    let gone = of_view("delisted_offers", "c.last_price, c.currency, c.unit");
    each(session, &gone, vec![], |row| shown.add(&row, What::Delisted { last_price: row.text("last_price")? })).await?;
    let moq = "c.kind, c.old_moq_pieces, c.new_moq_pieces, c.old_moq_raw, c.new_moq_raw";
    each(session, &of_view("moq_changes", moq), vec![], |row| {
        let quantity =
            |pieces, raw| Ok::<_, crate::base::Error>(Quantity { pieces: row.integer(pieces)?, raw: row.text(raw)? });
        let (old, new) = (quantity("old_moq_pieces", "old_moq_raw")?, quantity("new_moq_pieces", "new_moq_raw")?);
        shown.add(&row, What::Moq { kind: row.word("kind")?, old, new })
    })
    .await?;
    let out = of_view("stock_outs", "c.sku_id, c.spec, c.old_stock_pieces");
    each(session, &out, vec![], |row| {
        let (spec, old_pieces) = (row.text("spec")?, row.integer("old_stock_pieces")?);
        shown.add(&row, What::StockOut { spec, old_pieces })
    })
    .await
}

const PRICE_COLUMNS: &str =
    "c.sku_id, c.min_quantity, c.kind, c.old_price, c.new_price, c.change_pct, c.unit, c.currency";

/// Steps come ladder by ladder; each ladder is one event.
async fn prices(session: &Session, sql: &str, shown: &mut Shown<'_>) -> Result<()> {
    let sql = format!("{sql}, c.sku_id, c.min_quantity");
    let mut ladder: Option<(String, Event)> = None;
    each(session, &sql, vec![], |row| {
        let group = row.word("group_name")?;
        let next = event(&row, What::Prices(Prices::default()))?;
        let goes_on = ladder.as_ref().is_some_and(|(last, event)| *last == group && event.offer == next.offer);
        if !goes_on && let Some((group, event)) = ladder.replace((group, next)) {
            shown.push(&group, event);
        }
        if let Some((_, Event { what: What::Prices(prices), .. })) = &mut ladder {
            add_step(prices, &row)?;
        }
        Ok(())
    })
    .await?;
    if let Some((group, event)) = ladder {
        shown.push(&group, event);
    }
    Ok(())
}

fn add_step(prices: &mut Prices, row: &Row<'_>) -> Result<()> {
    prices.count += 1;
    prices.is_other_unit |= row.word("kind")? == "unit_changed";
    if let Some(change) = row.text("change_pct")?.and_then(|text| hundredths(&text)) {
        prices.lowest = Some(prices.lowest.map_or(change, |lowest| lowest.min(change)));
        prices.highest = Some(prices.highest.map_or(change, |highest| highest.max(change)));
    }
    if prices.steps.len() < STEPS_LISTED {
        let min_quantity = row.integer("min_quantity")?.unwrap_or(0);
        prices.steps.push(StepChange { min_quantity, old: row.text("old_price")?, new: row.text("new_price")? });
    }
    Ok(())
}

/// What happened to the offer of a row.
pub(super) fn event(row: &Row<'_>, what: What) -> Result<Event> {
    let optional = |column: &str| if row.has(column) { row.text(column) } else { Ok(None) };
    Ok(Event {
        offer: Offer {
            pipeline: row.word("pipeline")?,
            offer_id: row.word("offer_id")?,
            sku_id: optional("sku_id")?,
            shop_id: row.text("shop_id")?,
            shop_name: row.text("shop_name")?,
            title: row.text("title")?,
            url: row.text("detail_url")?,
        },
        is_ours: row.flag("is_ours")? == Some(true),
        currency: optional("currency")?.unwrap_or_default(),
        unit: optional("unit")?,
        what,
    })
}

/// The groups that events are added to.
struct Shown<'a> {
    groups: &'a mut [Group],
    kind: Kind,
    /// What costs another price at the quantity and was not told yet.
    moves: BTreeMap<moves::Key, Event>,
    /// What was told, by group, offer, SKU and sort: another pipeline may tell of it, too.
    told: BTreeSet<(usize, String, Option<String>, u8)>,
}

impl Shown<'_> {
    fn add(&mut self, row: &Row<'_>, what: What) -> Result<()> {
        let event = event(row, what)?;
        self.push(&row.word("group_name")?, event);
        Ok(())
    }

    /// Rows of groups that are left out go by.
    fn push(&mut self, group: &str, mut event: Event) {
        let kind = self.kind;
        let place = self.groups.iter().position(|known| known.kind == kind && known.key == group);
        let Some(place) = place else { return };
        let offer = (event.offer.offer_id.clone(), event.offer.sku_id.clone());
        if !self.told.insert((place, offer.0.clone(), offer.1.clone(), sort(&event.what))) {
            return;
        }
        if let What::Prices(prices) = &mut event.what
            && let Some(Event { what: What::Prices(moved), .. }) =
                self.moves.remove(&(group.to_owned(), offer.0, offer.1))
        {
            prices.at_need = moved.at_need;
        }
        let group = &mut self.groups[place];
        count(&mut group.changes.tally, &event.what);
        group.changes.events.push(event);
        if group.changes.events.len() > EVENTS_HELD {
            cut(group);
        }
    }
}

/// Events of a group in memory before those that will not be shown go.
const EVENTS_HELD: usize = 2000;

fn count(tally: &mut Tally, what: &What) {
    let counter = match what {
        What::Prices(prices) => match direction(prices) {
            Direction::Cut => &mut tally.cuts,
            Direction::Raise => &mut tally.raises,
            Direction::Other => &mut tally.other_prices,
        },
        What::New { .. } => &mut tally.new,
        What::Delisted { .. } => &mut tally.delisted,
        What::Moq { .. } => &mut tally.moq,
        What::StockOut { .. } => &mut tally.stock_outs,
    };
    *counter += 1;
}

/// Which way a price went, at the group's quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Down.
    Cut,
    /// Up.
    Raise,
    /// Nowhere: its ladder differs at other quantities alone.
    Other,
}

/// Which way a price went.
pub(super) fn direction(prices: &Prices) -> Direction {
    // A change of less than a hundredth of a percent is one, too.
    match prices.at_need.as_ref().map(|moved| (moved.change, &moved.old, &moved.new)) {
        Some((..0, ..)) => Direction::Cut,
        Some((1.., ..)) => Direction::Raise,
        Some((0, old, new)) if is_less(new, old) => Direction::Cut,
        Some(_) => Direction::Raise,
        None => Direction::Other,
    }
}

/// Whether a decimal is less than another with as many places.
fn is_less(one: &str, other: &str) -> bool {
    (one.len(), one) < (other.len(), other)
}

/// Sorts the events and leaves the most telling of each sort: our own, then the largest changes.
fn cut(group: &mut Group) {
    let events = &mut group.changes.events;
    events.sort_by_cached_key(|event| {
        let (sort, size) = rank(&event.what);
        (sort, !event.is_ours, Reverse(size), event.offer.offer_id.clone(), event.offer.sku_id.clone())
    });
    let (mut sort, mut held) = (None, 0);
    events.retain(|event| {
        let own = Some(rank(&event.what).0);
        held = if own == sort { held + 1 } else { 1 };
        sort = own;
        held <= limits::CHANGES
    });
}

/// The sort of an event, however its price went.
fn sort(what: &What) -> u8 {
    match what {
        What::Prices(_) => 0,
        what => rank(what).0,
    }
}

/// Where an event stands on the page, and how large it is.
fn rank(what: &What) -> (u8, i64) {
    match what {
        What::Prices(prices) => {
            let of_steps = || [prices.lowest, prices.highest].into_iter().flatten().map(i64::abs).max().unwrap_or(0);
            let size = prices.at_need.as_ref().map_or_else(of_steps, |moved| moved.change.abs());
            match direction(prices) {
                Direction::Cut => (0, size),
                Direction::Raise => (1, size),
                Direction::Other => (2, size),
            }
        }
        What::StockOut { .. } => (3, 0),
        What::Moq { .. } => (4, 0),
        What::New { .. } => (5, 0),
        What::Delisted { .. } => (6, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Move;

    #[test]
    fn a_price_goes_where_it_goes_at_the_quantity_whatever_its_steps_do() {
        let of = |at_need| direction(&Prices { at_need, lowest: Some(-900), highest: Some(100), ..Prices::default() });
        assert_eq!(of(None), Direction::Other);
        for (old, new, change, expected) in [
            ("14.170000", "12.040000", -1503, Direction::Cut),
            ("9.000000", "12.040000", 3377, Direction::Raise),
            ("999.990000", "1000.000000", 0, Direction::Raise),
            ("1000.000000", "999.990000", 0, Direction::Cut),
        ] {
            assert_eq!(of(Some(Move { old: old.into(), new: new.into(), change })), expected, "{old} {new}");
        }
    }
}
