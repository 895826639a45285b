//! What the charts draw: the ladders of the chosen rows, and what a piece cost on each day at the group's quantity.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate};

use crate::base::Result;
use crate::query::Session;

use super::limits;
use super::model::{Day, DayPrice, Group, Line, Step};
use super::rows::each;
use super::source::one_of;

/// An offer, or one of its SKUs.
type Key = (String, Option<String>);

/// Fills the lines of all groups.
///
/// # Errors
/// What the queries say.
pub(super) async fn read(session: &Session, groups: &mut [Group], days: &[Day], days_back: u16) -> Result<()> {
    let ladders = ladders(session, groups).await?;
    for (key, _, line) in lines(groups) {
        line.steps = ladders.get(&key).map(drawn).unwrap_or_default();
    }
    let prices = days_of(session, groups, &dates(days, days_back)).await?;
    for (key, pieces, line) in lines(groups) {
        let days = prices.get(&(pieces, key)).into_iter().flatten();
        line.days = days.map(|(_, day)| day.clone()).collect();
    }
    Ok(())
}

/// Every line with its offer and quantity.
fn lines(groups: &mut [Group]) -> impl Iterator<Item = (Key, i64, &mut Line)> {
    groups.iter_mut().flat_map(|group| {
        let pieces = group.pieces;
        group.ranked.iter_mut().filter_map(move |row| {
            let key = (row.offer.offer_id.clone(), row.offer.sku_id.clone());
            row.line.as_mut().map(|line| (key, pieces, line))
        })
    })
}

/// Offers with a line, by quantity.
fn drawn_offers(groups: &[Group]) -> BTreeMap<i64, BTreeSet<String>> {
    let mut offers: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    for group in groups {
        let rows = group.ranked.iter().filter(|row| row.line.is_some());
        offers.entry(group.pieces).or_default().extend(rows.map(|row| row.offer.offer_id.clone()));
    }
    offers.retain(|_, offers| !offers.is_empty());
    offers
}

/// Start of a step → price of a piece.
type Ladder = BTreeMap<i64, String>;

async fn ladders(session: &Session, groups: &[Group]) -> Result<BTreeMap<Key, Ladder>> {
    let offers: BTreeSet<String> = drawn_offers(groups).into_values().flatten().collect();
    let mut ladders: BTreeMap<Key, Ladder> = BTreeMap::new();
    if offers.is_empty() {
        return Ok(ladders);
    }
    // Of several steps with one start the dearest counts, as in `price_at`.
    let sql = format!(
        "SELECT offer_id, sku_id, min_pieces, max(piece_price) AS piece_price FROM latest_price_tiers
         WHERE {} AND min_pieces IS NOT NULL AND piece_price IS NOT NULL
         GROUP BY offer_id, sku_id, min_pieces",
        one_of("offer_id", &offers.into_iter().collect::<Vec<_>>())
    );
    each(session, &sql, vec![], |row| {
        let ladder = ladders.entry((row.word("offer_id")?, row.text("sku_id")?)).or_default();
        if let (Some(start), Some(price)) = (row.integer("min_pieces")?, row.text("piece_price")?) {
            ladder.insert(start, price);
        }
        Ok(())
    })
    .await?;
    Ok(ladders)
}

fn drawn(ladder: &Ladder) -> Vec<Step> {
    let step = |(start, price): (&i64, &String)| Step { min_pieces: *start, piece_price: price.clone() };
    ladder.iter().take(limits::STEPS).map(step).collect()
}

/// The published days to look at, at most so many days back from the last one.
fn dates(days: &[Day], days_back: u16) -> BTreeSet<NaiveDate> {
    let published: BTreeSet<NaiveDate> = days.iter().flat_map(|day| day.published.iter().copied()).collect();
    let Some(last) = published.last().copied() else { return published };
    let first = last.checked_sub_days(Days::new(u64::from(days_back.saturating_sub(1)))).unwrap_or(NaiveDate::MIN);
    published.range(first..).copied().collect()
}

/// Prices by day of (quantity, offer).
type Prices = BTreeMap<(i64, Key), BTreeMap<NaiveDate, DayPrice>>;

/// Asks `price_at` for every day, so that the past is priced by the rules of today's ranking. The filter on offers reaches
/// the files: a day costs what its few rows cost.
async fn days_of(session: &Session, groups: &[Group], dates: &BTreeSet<NaiveDate>) -> Result<Prices> {
    let mut prices = Prices::new();
    for (pieces, offers) in drawn_offers(groups) {
        let offers = one_of("offer_id", &offers.into_iter().collect::<Vec<_>>());
        for date in dates {
            let sql = format!(
                "SELECT dt, offer_id, sku_id, price_per_piece, reason FROM price_at({pieces}, '{date}')
                 WHERE {offers} AND price_per_piece IS NOT NULL
                   AND (reason IS NULL OR reason IN ('below_moq', 'unknown_moq'))"
            );
            each(session, &sql, vec![], |row| {
                let key = (pieces, (row.word("offer_id")?, row.text("sku_id")?));
                if let (Ok(dt), Some(piece_price)) = (row.word("dt")?.parse(), row.text("price_per_piece")?) {
                    let is_buyable = row.text("reason")?.as_deref() != Some("below_moq");
                    prices.entry(key).or_default().insert(dt, DayPrice { dt, piece_price, is_buyable });
                }
                Ok(())
            })
            .await?;
        }
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
