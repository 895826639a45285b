//! What the charts draw: the ladders of the chosen rows, and what a piece cost on each day at the group's quantity.
//!
//! Both are priced by the rules of the ranking, so that a line goes through the price that the ranking shows.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate};

use crate::base::Result;
use crate::query::views::PRICED;
use crate::query::{Selection, Session};

use super::limits;
use super::model::{Day, DayPrice, Group, Line, Ranked, Step};
use super::rows::{Row, each};
use super::source::one_of;

/// A line: the place of its group, its offer, one of the offer's SKUs.
type Key = (usize, String, Option<String>);

/// Fills the lines of all groups.
///
/// # Errors
/// What the queries say.
pub(super) async fn read(session: &Session, groups: &mut [Group], days: &[Day], days_back: u16) -> Result<()> {
    let drawn = drawn_offers(groups);
    if drawn.is_empty() {
        return Ok(());
    }
    let mut ladders = ladders(session, &drawn).await?;
    let mut prices = prices(session, &drawn, &dates(days, days_back)).await?;
    for (key, line) in lines(groups) {
        let ladder = ladders.remove(&key).unwrap_or_default().into_iter();
        let step = |(min_pieces, piece_price)| Step { min_pieces, piece_price };
        line.steps = ladder.take(limits::STEPS).map(step).collect();
        line.days = prices.remove(&key).unwrap_or_default().into_values().collect();
    }
    Ok(())
}

fn lines(groups: &mut [Group]) -> impl Iterator<Item = (Key, &mut Line)> {
    groups.iter_mut().enumerate().flat_map(|(place, group)| {
        group.ranked.iter_mut().filter_map(move |row| {
            let key = (place, row.offer.offer_id.clone(), row.offer.sku_id.clone());
            row.line.as_mut().map(|line| (key, line))
        })
    })
}

/// An offer with lines in a group. An offer may be in several groups, each with a quantity and a pack size of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Drawn {
    place: usize,
    offer_id: String,
    pieces: i64,
    /// Pieces in one sale unit, as the ranking has it.
    pack: Option<i64>,
    /// As the groups file says.
    pack_size: Option<i64>,
}

fn drawn_offers(groups: &[Group]) -> BTreeSet<Drawn> {
    let of_group = |(place, group): (usize, &Group)| {
        let pieces = group.need.pieces;
        let drawn = move |row: &Ranked| Drawn {
            place,
            offer_id: row.offer.offer_id.clone(),
            pieces,
            pack: row.pieces_per_unit,
            pack_size: row.pack_size.map(|pack| pack.pieces),
        };
        group.ranked.iter().filter(|row| row.line.is_some()).map(drawn).collect::<Vec<_>>()
    };
    groups.iter().enumerate().flat_map(of_group).collect()
}

/// The offers as a list of `place, offer_id, pieces, pack, pack_size` for `FROM`.
fn listed(drawn: &BTreeSet<Drawn>) -> String {
    let number = |number: Option<i64>| number.map_or_else(|| "CAST(NULL AS BIGINT)".to_owned(), |is| is.to_string());
    let rows = drawn.iter().map(|Drawn { place, offer_id, pieces, pack, pack_size }| {
        format!("({place}, {offer_id}, {pieces}, {}, {})", number(*pack), number(*pack_size))
    });
    let rows = rows.collect::<Vec<_>>().join(", ");
    format!("(VALUES {rows}) AS drawn (place, offer_id, pieces, pack, pack_size)")
}

/// A filter on their ids, which reaches the files: a join alone would read them whole.
fn only(drawn: &BTreeSet<Drawn>) -> String {
    let offers: BTreeSet<&String> = drawn.iter().map(|drawn| &drawn.offer_id).collect();
    one_of("offer_id", &offers.into_iter().cloned().collect::<Vec<_>>())
}

fn key(row: &Row<'_>) -> Result<Key> {
    let place = row.integer("place")?.and_then(|place| usize::try_from(place).ok());
    Ok((place.unwrap_or(usize::MAX), row.word("offer_id")?, row.text("sku_id")?))
}

/// Start of a step → price of a piece.
type Ladder = BTreeMap<i64, String>;

async fn ladders(session: &Session, drawn: &BTreeSet<Drawn>) -> Result<BTreeMap<Key, Ladder>> {
    let mut ladders: BTreeMap<Key, Ladder> = BTreeMap::new();
    // Of several steps with one start the dearest counts, as in `price_at`; with a pack size of the groups file the tables
    // have neither pieces nor their price, which are rounded as in `competitor_position`.
    let sql = format!(
        "SELECT place, offer_id, sku_id, min_pieces, max(piece_price) AS piece_price FROM (
           SELECT drawn.place, t.offer_id, t.sku_id, coalesce(t.min_pieces, t.min_quantity * drawn.pack) AS min_pieces,
                  coalesce(t.piece_price,
                           CAST(round(CAST(t.unit_price AS DECIMAL(28, 8)) / CAST(drawn.pack AS DECIMAL(10, 0)), 6)
                                AS DECIMAL(18, 6))) AS piece_price
           FROM latest_price_tiers AS t JOIN {} ON drawn.offer_id = t.offer_id)
         WHERE {} AND min_pieces IS NOT NULL AND piece_price IS NOT NULL
         GROUP BY place, offer_id, sku_id, min_pieces",
        listed(drawn),
        only(drawn)
    );
    each(session, &sql, vec![], |row| {
        if let (Some(start), Some(price)) = (row.integer("min_pieces")?, row.text("piece_price")?) {
            ladders.entry(key(&row)?).or_default().insert(start, price);
        }
        Ok(())
    })
    .await?;
    Ok(ladders)
}

/// The published days to look at, at most so many days back from the last one.
fn dates(days: &[Day], days_back: u16) -> BTreeSet<NaiveDate> {
    let published: BTreeSet<NaiveDate> = days.iter().flat_map(|day| day.published.iter().copied()).collect();
    let Some(last) = published.last().copied() else { return published };
    let first = last.checked_sub_days(Days::new(u64::from(days_back.saturating_sub(1)))).unwrap_or(NaiveDate::MIN);
    published.range(first..).copied().collect()
}

/// Asks for every day what the offers cost, as the ranking does for the last one, but of today's members of the groups: what
/// competes now is looked back on, whatever its title was then. A day costs what its few rows cost.
async fn prices(
    session: &Session,
    drawn: &BTreeSet<Drawn>,
    dates: &BTreeSet<NaiveDate>,
) -> Result<BTreeMap<Key, BTreeMap<NaiveDate, DayPrice>>> {
    let mut prices: BTreeMap<Key, BTreeMap<NaiveDate, DayPrice>> = BTreeMap::new();
    let (listed, only) = (listed(drawn), only(drawn));
    for date in dates {
        let day = Selection::AsOf(*date).schema_sql();
        let sql = format!(
            "WITH needs AS (
               SELECT drawn.place AS group_name, drawn.pieces, drawn.pack_size, o.dt, o.pipeline, o.offer_id, o.status, o.unit,
                      o.price, o.price_max, o.pieces_per_unit, o.pack_source, o.moq_quantity, o.moq_pieces, o.moq_status,
                      o.stock_status, o.ladder_status
               FROM {day}.offers AS o JOIN {listed} ON drawn.offer_id = o.offer_id
             ),
             {}
             SELECT group_name AS place, offer_id, sku_id, dt, price_per_piece, reason FROM judged
             WHERE {only} AND price_per_piece IS NOT NULL
               AND (reason IS NULL OR reason IN ('below_moq', 'unknown_moq'))",
            PRICED.replace("{day}", &day)
        );
        each(session, &sql, vec![], |row| {
            if let (Ok(dt), Some(piece_price)) = (row.word("dt")?.parse(), row.text("price_per_piece")?) {
                let is_buyable = row.text("reason")?.as_deref() != Some("below_moq");
                prices.entry(key(&row)?).or_default().insert(dt, DayPrice { dt, piece_price, is_buyable });
            }
            Ok(())
        })
        .await?;
    }
    Ok(prices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_back_from_the_last_published_one() {
        let day = |number| NaiveDate::from_ymd_opt(2026, 11, number).unwrap();
        let pipeline = |published: &[u32]| Day {
            pipeline: "p".into(),
            dt: day(1),
            previous_dt: None,
            published: published.iter().map(|number| day(*number)).collect(),
            age_days: 0,
        };
        let days = [pipeline(&[1, 2, 9]), pipeline(&[3, 10])];
        let found = |back| dates(&days, back).into_iter().collect::<Vec<_>>();
        assert_eq!(found(1), [day(10)]);
        assert_eq!(found(8), [day(3), day(9), day(10)]);
        assert_eq!(found(365).len(), 5);
        assert!(dates(&[], 30).is_empty());
    }
}
