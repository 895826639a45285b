//! What happened in a group since the day before: one row per offer and sort of change.

use super::super::changes::{Direction, direction};
use super::super::html::Html;
use super::super::limits;
use super::super::model::{Event, Group, Prices, Quantity, What};
use super::super::number::{counted, percent, whole};
use super::super::words::Words;
use super::cells::{end_wide_table, header, offer, price, wide_table};
use super::overview::tally;

/// The changes of a group.
pub(super) fn changes(html: &mut Html, group: &Group) {
    html.raw("<h3>").say("与前一日相比", "Since the day before").raw("</h3>");
    if !group.changes.is_compared {
        html.says("p", "empty", "首个发布日，尚无可比。", "The first published day: there is no day before.");
        return;
    }
    if group.changes.events.is_empty() {
        html.says("p", "empty", "没有变化。", "Nothing changed.");
        return;
    }
    html.raw("<p class=\"tally\">");
    tally(html, &group.changes.tally);
    html.raw("</p>");
    wide_table(html, "changes", ("变化", "Changes"));
    header(html, &[("", "变化", "Change"), ("", "商品", "Offer"), ("num", "幅度", "By"), ("", "从 → 到", "From → to")]);
    html.raw("<tbody>");
    for event in &group.changes.events {
        event_row(html, event, group.need.pieces);
    }
    html.raw("</tbody>");
    end_wide_table(html);
    let hidden = group.changes.tally.total() - group.changes.events.len();
    if hidden > 0 {
        let hidden = counted(hidden);
        html.says(
            "p",
            "dim",
            &format!("另有 {hidden} 条未列出（每类最多 {} 条）。", limits::CHANGES),
            &format!("{hidden} more are not listed ({} of a kind at most).", limits::CHANGES),
        );
    }
}

fn event_row(html: &mut Html, event: &Event, pieces: i64) {
    let (class, name): (&str, Words) = match &event.what {
        What::Prices(prices) => match direction(prices) {
            Direction::Cut => ("badge down", ("降价", "cut")),
            Direction::Raise => ("badge up", ("涨价", "raised")),
            Direction::Other => ("badge", ("阶梯变化", "ladder changed")),
        },
        What::New { .. } => ("badge", ("新品", "new")),
        What::Delisted { .. } => ("badge", ("下架", "delisted")),
        What::Moq { kind, .. } => (
            "badge",
            match kind.as_str() {
                "raised" => ("起订量提高", "MOQ raised"),
                "lowered" => ("起订量降低", "MOQ lowered"),
                _ => ("起订量变化", "MOQ changed"),
            },
        ),
        What::StockOut { .. } => ("badge bad", ("断货", "out of stock")),
    };
    html.begin("tr", if event.is_ours { "ours" } else { "" }).raw("<td>").says("span", class, name.0, name.1);
    html.raw("</td><th scope=\"row\">");
    offer(html, &event.offer, event.is_ours);
    html.raw("</th><td class=\"num\">");
    if let What::Prices(prices) = &event.what {
        html.text(&extent(prices));
    }
    html.raw("</td><td>");
    details(html, event, pieces);
    html.raw("</td></tr>");
}

/// The change at the quantity, else from the largest cut of a step to its largest raise.
fn extent(prices: &Prices) -> String {
    match (&prices.at_need, prices.lowest, prices.highest) {
        (Some(moved), ..) => percent(moved.change),
        (None, Some(lowest), Some(highest)) if lowest == highest => percent(lowest),
        (None, Some(lowest), Some(highest)) => format!("{} … {}", percent(lowest), percent(highest)),
        _ => String::new(),
    }
}

fn details(html: &mut Html, event: &Event, pieces: i64) {
    let currency = &event.currency;
    match &event.what {
        What::Prices(prices) => {
            at_need(html, prices, currency, pieces);
            steps(html, prices, currency, event.unit.as_deref().unwrap_or_default());
        }
        What::New { price: new } => {
            html.raw("→ ");
            price(html, new.as_deref(), currency);
        }
        What::Delisted { last_price } => {
            price(html, last_price.as_deref(), currency);
            html.raw(" →");
        }
        What::Moq { old, new, .. } => {
            quantity(html, old);
            html.raw(" → ");
            quantity(html, new);
        }
        What::StockOut { spec, old_pieces } => {
            match old_pieces {
                Some(pieces) => html.text(&whole(*pieces)),
                None => html.say("充足", "plenty"),
            };
            html.raw(" → 0");
            if let Some(spec) = spec {
                html.raw("<div class=\"by\">").text(spec).raw("</div>");
            }
        }
    }
}

/// A piece at the quantity, then and now.
fn at_need(html: &mut Html, prices: &Prices, currency: &str, pieces: i64) {
    let Some(moved) = &prices.at_need else { return };
    let pieces = whole(pieces);
    html.raw("<div class=\"step\"><span class=\"by\">");
    html.say(&format!("{pieces} 件时每件"), &format!("a piece at {pieces}")).raw("</span> <b>");
    price(html, Some(&moved.old), currency);
    html.raw(" → ");
    price(html, Some(&moved.new), currency);
    html.raw("</b></div>");
}

fn steps(html: &mut Html, prices: &Prices, currency: &str, unit: &str) {
    if prices.is_other_unit {
        html.says("div", "by", "销售单位或币种变了", "sold in another unit or currency now");
    }
    for step in &prices.steps {
        html.raw("<div class=\"step\"><span class=\"by\">").text(&format!("≥{} {unit}", whole(step.min_quantity)));
        html.raw("</span> ");
        price(html, step.old.as_deref(), currency);
        html.raw(" → ");
        price(html, step.new.as_deref(), currency);
        html.raw("</div>");
    }
    let more = prices.count - prices.steps.len();
    if more > 0 {
        html.says("div", "by", &format!("另有 {more} 档"), &format!("and {more} more steps"));
    }
}

fn quantity(html: &mut Html, quantity: &Quantity) {
    match (quantity.pieces, &quantity.raw) {
        (Some(pieces), _) => html.say(&format!("{} 件", whole(pieces)), &format!("{} pieces", whole(pieces))),
        (None, Some(raw)) => html.text(raw),
        (None, None) => html.say("未说明", "not stated"),
    };
}
