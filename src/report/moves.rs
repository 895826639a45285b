//! What a piece costs at a group's quantity, then and now: by all that was published for earlier days, as `price_moves`
//! compares it, of the groups' own quantities and pack sizes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use crate::base::Result;
use crate::query::views::PRICED;
use crate::query::{Selection, Session};

use super::changes::event;
use super::model::{Day, Event, Group, Move, Prices, What};
use super::number::hundredths;
use super::rows::{each, quoted};
use super::source::Source;

/// Group, offer and SKU.
pub(super) type Key = (String, String, Option<String>);

/// The offers of a source's groups whose price at the quantity is another one.
///
/// # Errors
/// What the queries say.
pub(super) async fn read(
    session: &Session,
    source: &Source,
    groups: &[Group],
    days: &[Day],
) -> Result<BTreeMap<Key, Event>> {
    let needs = groups.iter().filter(|group| group.kind == source.kind());
    let needs: Vec<String> = needs.map(|group| format!("({}, {})", quoted(&group.key), group.need.pieces)).collect();
    let mut moves = BTreeMap::new();
    if needs.is_empty() {
        return Ok(moves);
    }
    let last_days: BTreeSet<NaiveDate> = days.iter().map(|day| day.dt).collect();
    let first = days.iter().flat_map(|day| &day.published).min();
    for dt in last_days.into_iter().filter(|dt| first.is_some_and(|first| first < dt)) {
        each(session, &sql(&source.members(), &needs.join(", "), dt), vec![], |row| {
            let (Some(old), Some(new)) = (row.text("old_price")?, row.text("new_price")?) else { return Ok(()) };
            let Some(change) = row.text("change_pct")?.and_then(|text| hundredths(&text)) else { return Ok(()) };
            let event =
                event(&row, What::Prices(Prices { at_need: Some(Move { old, new, change }), ..Prices::default() }))?;
            moves.insert((row.word("group_name")?, event.offer.offer_id.clone(), event.offer.sku_id.clone()), event);
            Ok(())
        })
        .await?;
    }
    Ok(moves)
}

/// The rows of a pipeline whose last day is `dt`. An offer below its minimum has the price at the minimum.
fn sql(members: &str, needs: &str, dt: NaiveDate) -> String {
    let side = |day: Selection, is_shown: &str| {
        let day = day.schema_sql();
        format!(
            "WITH needs AS (
               SELECT m.group_name, m.is_ours, q.pieces, m.pack_size, m.detail_url, o.dt, o.pipeline, o.offer_id, o.shop_id,
                      o.shop_name, o.title, o.status, o.price, o.price_max, o.unit, o.currency, o.pieces_per_unit,
                      o.pack_source, o.moq_quantity, o.moq_pieces, o.moq_status, o.stock_status, o.ladder_status
               FROM {day}.offers AS o JOIN m ON m.offer_id = o.offer_id JOIN q ON q.group_name = m.group_name
             ),
             {}
             SELECT *, reason IS NOT NULL AND reason = 'below_moq' AS is_below FROM judged
             WHERE price_per_piece IS NOT NULL AND (reason IS NULL OR reason IN ('below_moq', 'unknown_moq')) AND {is_shown}",
            PRICED.trim_end().replace("{day}", &day)
        )
    };
    let now = side(Selection::Latest, &format!("dt = DATE '{dt}'"));
    let earlier = side(Selection::AsOf(dt.pred_opt().unwrap_or(dt)), "true");
    format!(
        "WITH m AS ({members}),
         q AS (SELECT * FROM (VALUES {needs}) AS q (group_name, pieces)),
         now AS ({now}),
         earlier AS ({earlier})
         SELECT n.group_name, n.is_ours, n.detail_url, n.pipeline, n.shop_id, n.shop_name, n.offer_id, n.sku_id, n.title,
                n.unit, n.currency, e.price_per_piece AS old_price, n.price_per_piece AS new_price,
                CAST((n.price_per_piece - e.price_per_piece) * 100 / nullif(e.price_per_piece, 0) AS DECIMAL(24, 4))
                  AS change_pct
         FROM now AS n
         JOIN earlier AS e ON e.group_name = n.group_name AND e.offer_id = n.offer_id
                          AND coalesce(e.sku_id, -1) = coalesce(n.sku_id, -1)
         WHERE e.currency = n.currency AND e.is_below = n.is_below AND e.price_per_piece <> n.price_per_piece"
    )
}
