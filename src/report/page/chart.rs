//! What the charts draw, as data for the page's script. Prices are texts there, too: the script makes floats of them to
//! draw, and shows the texts.

use serde_json::{Value, json};

use super::super::model::{Group, Ranked, Report};
use super::super::number::money;
use super::cells::{LOOKS, letter};

/// One object per group with lines; its place is that of its section.
pub(super) fn data(report: &Report) -> Value {
    Value::Array(report.groups.iter().map(group).collect())
}

fn group(group: &Group) -> Value {
    let rows = || group.ranked.iter().filter(|row| row.line.is_some());
    let currency = rows().next().map(|row| row.currency.clone()).unwrap_or_default();
    json!({ "pieces": group.need.pieces, "currency": currency, "lines": rows().map(line).collect::<Vec<_>>() })
}

fn line(row: &Ranked) -> Value {
    let line = row.line.clone().unwrap_or_default();
    let name = row.offer.shop_name.as_ref().or(row.offer.shop_id.as_ref());
    let shown = |price: &str| money(price, &row.currency);
    json!({
        "letter": letter(line.place),
        "look": if row.is_ours { "ours".to_owned() } else { (line.place % LOOKS).to_string() },
        "shop": name,
        "title": row.offer.title,
        "steps": line.steps.iter().map(|step| json!([step.min_pieces, step.piece_price, shown(&step.piece_price)])).collect::<Vec<_>>(),
        "days": line.days.iter().map(|day| json!([day.dt.to_string(), day.piece_price, shown(&day.piece_price), day.is_buyable])).collect::<Vec<_>>(),
    })
}
