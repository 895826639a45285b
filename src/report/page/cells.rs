//! What several tables show in the same way.

use chrono::{DateTime, FixedOffset, Utc};

use super::super::html::Html;
use super::super::model::{Offer, Ranked};
use super::super::number::{amount, hundredths, money, percent, whole};
use super::super::words;
use crate::base::time::BEIJING;

/// Letters of lines.
const LETTERS: [&str; 12] = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L"];
/// The looks of lines; after the last the first comes again, with another dash.
pub(super) const LOOKS: usize = 8;

/// The letter of a line.
pub(super) fn letter(place: usize) -> &'static str {
    LETTERS.get(place).copied().unwrap_or("·")
}

/// The mark of a row's line, as the charts show it.
pub(super) fn mark(html: &mut Html, row: &Ranked) {
    if let Some(line) = &row.line {
        let look = if row.is_ours { "ours".to_owned() } else { (line.place % LOOKS).to_string() };
        html.open("span", &[("class", "mark"), ("data-look", &look)]).text(letter(line.place)).close("span");
    }
}

/// Title (a link to the offer's page) over shop and ids.
pub(super) fn offer(html: &mut Html, offer: &Offer, is_ours: bool) {
    html.raw("<div class=\"offer\"><div class=\"title\">");
    if is_ours {
        html.says("span", "badge ours", "我方", "ours").raw(" ");
    }
    match &offer.title {
        Some(title) => html.link(offer.url.as_deref(), title),
        None => html.says("span", "dim", "（无标题）", "(no title)"),
    };
    html.raw("</div><div class=\"by\">");
    match (&offer.shop_name, &offer.shop_id) {
        (Some(shop), _) | (None, Some(shop)) => html.text(shop),
        (None, None) => html.say("店铺未知", "shop not known"),
    };
    html.raw(" <span class=\"id\">").text(&offer.offer_id);
    if let Some(sku) = &offer.sku_id {
        html.text(&format!(" · SKU {sku}"));
    }
    html.raw("</span></div></div>");
}

/// An exact amount of money, in a cell of its own; a dash for none.
pub(super) fn price(html: &mut Html, text: Option<&str>, currency: &str) {
    match text {
        Some(text) => html.text(&money(text, currency)),
        None => html.raw("<span class=\"dim\">–</span>"),
    };
}

/// A whole number; a dash for none.
pub(super) fn count(html: &mut Html, number: Option<i64>) {
    match number {
        Some(number) => html.text(&whole(number)),
        None => html.raw("<span class=\"dim\">–</span>"),
    };
}

/// The gap to the cheapest: amount and share.
pub(super) fn gap(html: &mut Html, row: &Ranked) {
    let Some(gap) = &row.gap else { return price(html, None, "") };
    if amount(gap) == "0.00" {
        html.says("span", "cheapest", "最低", "cheapest");
        return;
    }
    html.text(&format!("+{}", money(gap, &row.currency)));
    if let Some(share) = row.gap_pct.as_deref().and_then(hundredths) {
        html.raw("<div class=\"by\">").text(&percent(share)).raw("</div>");
    }
}

/// What is in stock, in pieces.
pub(super) fn stock(html: &mut Html, row: &Ranked) {
    match (row.stock_pieces, row.stock_status.as_deref().and_then(words::stock)) {
        (Some(pieces), _) => html.text(&whole(pieces)),
        (None, Some((zh, en))) => html.says("span", "dim", zh, en),
        (None, None) => html.raw("<span class=\"dim\">–</span>"),
    };
}

/// A table's head; number columns are marked.
pub(super) fn header(html: &mut Html, columns: &[(&'static str, &'static str, &'static str)]) {
    html.raw("<thead><tr>");
    for (class, zh, en) in columns {
        let mut attributes = vec![("scope", "col")];
        if !class.is_empty() {
            attributes.push(("class", class));
        }
        html.open("th", &attributes).say(zh, en).close("th");
    }
    html.raw("</tr></thead>");
}

/// A table that may be wider than the page; it scrolls in itself.
pub(super) fn wide_table(html: &mut Html, class: &str, label: (&str, &str)) {
    html.raw("<div class=\"scroll\" tabindex=\"0\">");
    html.begin("table", class).raw("<caption>").say(label.0, label.1).raw("</caption>");
}

/// The end of such a table.
pub(super) fn end_wide_table(html: &mut Html) {
    html.raw("</table></div>\n");
}

/// A moment on the clocks of Beijing.
pub(super) fn beijing(at: DateTime<Utc>) -> DateTime<FixedOffset> {
    at.with_timezone(&BEIJING)
}
