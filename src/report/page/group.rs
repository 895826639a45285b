//! One group: what stands out, two charts, the ranking, what changed, what to watch.

use std::collections::BTreeSet;

use super::super::html::Html;
use super::super::limits;
use super::super::model::{Group, Kind, NeedOf, Ranked};
use super::super::number::{counted, hundredths, money, percent, whole};
use super::super::words::{self, Words};
use super::cells::{count, end_wide_table, gap, header, letter, mark, offer, price, stock, wide_table};
use super::changes::changes;
use super::overview::{cheapest, our_best};

/// The id of a group's section.
pub(super) fn anchor(place: usize) -> String {
    format!("group-{}", place + 1)
}

/// The section of a group.
pub(super) fn render(html: &mut Html, group: &Group, place: usize, days: u16) {
    html.open("section", &[("class", "group"), ("id", &anchor(place))]).raw("<h2>").text(&group.name).raw("</h2>\n");
    if group.ranked.is_empty() && group.changes.events.is_empty() {
        html.says(
            "p",
            "empty",
            "最近发布的数据里没有这一组的商品。",
            "The last published day has no offer of this group.",
        );
        html.raw("</section>\n");
        return;
    }
    summary(html, group);
    charts(html, group, place, days);
    ranking(html, group);
    changes(html, group);
    alerts(html, group);
    html.raw("</section>\n");
}

fn summary(html: &mut Html, group: &Group) {
    let pieces = whole(group.need.pieces);
    let [rows, shops, buyable] = [group.counts.rows, group.counts.shops, group.counts.buyable].map(counted);
    html.raw("<p class=\"lead\">");
    match group.kind {
        Kind::Shop => html.say(
            &format!("销量最高的 {rows} 件商品，按 {pieces} 件计价"),
            &format!("the {rows} best sold offers, priced at {pieces} pieces"),
        ),
        _ => html.say(
            &format!("按 {pieces} 件比较 · {shops} 家店铺的 {rows} 个报价 · {buyable} 个可买"),
            &format!("at {pieces} pieces · {rows} quotes of {shops} shops · {buyable} can be bought"),
        ),
    };
    html.raw("</p>");
    whose_quantity(html, group);
    let Some(best) = cheapest(group) else {
        if group.kind != Kind::Shop {
            html.says("p", "", "没有一个报价能按此数量购买。", "None of them can be bought at this quantity.");
        }
        return;
    };
    let shop = best.offer.shop_name.as_ref().or(best.offer.shop_id.as_ref());
    let shop = shop.map(String::as_str).unwrap_or_default();
    let price = best.piece_price.as_deref().map(|price| money(price, &best.currency)).unwrap_or_default();
    html.raw("<p class=\"answer\">").say("最低 ", "Cheapest: ").holds("b", "", &price);
    html.say(" / 件，", " a piece, ").text(shop);
    match as_cheap(group, best) {
        0 => {}
        1 => _ = html.say(" 等 2 家", " and 1 more shop"),
        more => _ = html.say(&format!(" 等 {} 家", more + 1), &format!(" and {more} more shops")),
    }
    if let Some(own) = our_best(group) {
        html.raw("<br>");
        our_place(html, own);
    }
    html.raw("</p>\n");
}

/// Other shops that share the first place, among the rows that are listed.
fn as_cheap(group: &Group, best: &Ranked) -> usize {
    let first = group.ranked.iter().filter(|row| row.position == Some(1));
    let shops: BTreeSet<_> = first.map(|row| &row.offer.shop_id).filter(|shop| **shop != best.offer.shop_id).collect();
    shops.len()
}

/// A quantity that nobody chose is said to be so, and how to choose one.
fn whose_quantity(html: &mut Html, group: &Group) {
    let pieces = whole(group.need.pieces);
    match (group.need.of, group.kind) {
        (NeedOf::Nobody, Kind::Named) => html.says(
            "p",
            "dim",
            &format!("分组文件没有写明这一组的数量（quantity），{pieces} 件是默认值。"),
            &format!("{pieces} pieces is the default: the groups file states no quantity for this group."),
        ),
        (NeedOf::Nobody, Kind::Title) => html.says(
            "p",
            "dim",
            &format!("{pieces} 件是默认值，可用 --pieces 指定。"),
            &format!("{pieces} pieces is the default: --pieces asks for another quantity."),
        ),
        _ => html,
    };
}

fn our_place(html: &mut Html, own: &Ranked) {
    let price = own.piece_price.as_deref().map(|price| money(price, &own.currency)).unwrap_or_default();
    match own.position {
        Some(1) => html.say(&format!("我方就是最低：{price}"), &format!("Ours is the cheapest: {price}")),
        Some(position) => {
            let share = own.gap_pct.as_deref().and_then(hundredths).map(percent).unwrap_or_default();
            let share = share.trim_start_matches('+');
            html.say(
                &format!("我方排第 {position}：{price}，比最低高 {share}"),
                &format!("Ours is number {position}: {price}, {share} above the cheapest"),
            )
        }
        None => {
            let why = own.reason.as_deref().and_then(words::reason).unwrap_or(("不可买", "cannot be bought"));
            html.say(&format!("我方没有名次：{}", why.0), &format!("Ours has no rank: {}", why.1))
        }
    };
}

fn charts(html: &mut Html, group: &Group, place: usize, days: u16) {
    let lines: Vec<&Ranked> = group.ranked.iter().filter(|row| row.line.is_some()).collect();
    if lines.is_empty() {
        html.says("p", "empty", "没有可画的单件价。", "There is no price per piece to draw.");
        return;
    }
    let pieces = whole(group.need.pieces);
    html.raw("<div class=\"charts\">");
    figure(
        html,
        place,
        "ladder",
        ("阶梯价：买多少件，每件多少钱", "Price ladders: what a piece costs by how many are bought"),
    );
    ladder_table(html, &lines);
    html.raw("</details></figure>");
    figure(
        html,
        place,
        "days",
        (
            &format!("{pieces} 件时的单件价，最近 {days} 天"),
            &format!("A piece when buying {pieces}, over the last {days} days"),
        ),
    );
    day_table(html, &lines);
    html.raw("</details></figure></div>\n");
}

/// A figure up to its table of the same numbers, which is its text alternative.
fn figure(html: &mut Html, place: usize, chart: &'static str, caption: (&str, &str)) {
    let id = format!("{}-{chart}", anchor(place));
    html.raw("<figure>").open("figcaption", &[("id", &id)]).say(caption.0, caption.1).raw("</figcaption>");
    let attributes = [
        ("class", "chart"),
        ("role", "img"),
        ("aria-labelledby", id.as_str()),
        ("data-chart", chart),
        ("data-group", &place.to_string()),
    ];
    html.open("div", &attributes).raw("<noscript>");
    html.say("图表需要脚本；数字见下表。", "The chart needs scripts; its numbers are in the table below.");
    html.raw("</noscript></div><details><summary>").say("数字", "Numbers").raw("</summary>");
}

fn ladder_table(html: &mut Html, lines: &[&Ranked]) {
    wide_table(html, "small", ("每件价格，按起始件数", "Price a piece, by pieces from"));
    header(html, &[("", "线", "Line"), ("", "商品", "Offer"), ("", "起始件数 → 单件价", "From pieces → a piece")]);
    html.raw("<tbody>");
    for row in lines {
        html.raw("<tr><th scope=\"row\">");
        mark(html, row);
        html.raw("</th><td>");
        offer(html, &row.offer, row.is_ours);
        html.raw("</td><td>");
        let steps = row.line.iter().flat_map(|line| &line.steps);
        let steps =
            steps.map(|step| format!("≥{} {}", whole(step.min_pieces), money(&step.piece_price, &row.currency)));
        html.text(&steps.collect::<Vec<_>>().join(" · ")).raw("</td></tr>");
    }
    html.raw("</tbody>");
    end_wide_table(html);
}

fn day_table(html: &mut Html, lines: &[&Ranked]) {
    let days = lines.iter().flat_map(|row| row.line.iter().flat_map(|line| line.days.iter().map(|day| day.dt)));
    let days: std::collections::BTreeSet<_> = days.collect();
    wide_table(html, "small", ("每件价格，按日", "Price a piece, by day"));
    html.raw("<thead><tr><th scope=\"col\">").say("日期", "Day").raw("</th>");
    for row in lines {
        let place = row.line.as_ref().map_or(0, |line| line.place);
        html.raw("<th scope=\"col\" class=\"num\">").text(letter(place)).raw("</th>");
    }
    html.raw("</tr></thead><tbody>");
    for dt in days.into_iter().rev() {
        html.raw("<tr><th scope=\"row\">").text(&dt.to_string()).raw("</th>");
        for row in lines {
            let day = row.line.as_ref().and_then(|line| line.days.iter().find(|day| day.dt == dt));
            html.raw("<td class=\"num\">");
            price(html, day.map(|day| day.piece_price.as_str()), &row.currency);
            if day.is_some_and(|day| !day.is_buyable) {
                html.raw("*");
            }
            html.raw("</td>");
        }
        html.raw("</tr>");
    }
    html.raw("</tbody>");
    end_wide_table(html);
    if lines.iter().any(|row| row.line.iter().any(|line| line.days.iter().any(|day| !day.is_buyable))) {
        html.says("p", "fine", "* 未达起订量：起订量处的价格", "* below the minimum: the price at the minimum");
    }
}

fn ranking(html: &mut Html, group: &Group) {
    let columns: &[(&'static str, &'static str, &'static str)] = &[
        ("", "线", "Line"),
        ("num", "名次", "Rank"),
        ("", "商品", "Offer"),
        ("num", "单件价", "A piece"),
        ("num", "与最低差", "To the cheapest"),
        ("num", "要买", "To buy"),
        ("num", "总价", "Total"),
        ("num", "起订（件）", "MOQ (pieces)"),
        ("num", "库存（件）", "Stock (pieces)"),
        ("", "备注", "Remarks"),
    ];
    let is_shop = group.kind == Kind::Shop;
    let pieces = whole(group.need.pieces);
    let (zh, en) = match is_shop {
        true => (format!("{pieces} 件的价格"), format!("Prices at {pieces} pieces")),
        false => (format!("{pieces} 件的排名"), format!("Ranking at {pieces} pieces")),
    };
    wide_table(html, if is_shop { "ranking unranked" } else { "ranking" }, (&zh, &en));
    header(html, columns);
    html.raw("<tbody>");
    for row in &group.ranked {
        ranked_row(html, row);
    }
    html.raw("</tbody>");
    end_wide_table(html);
    let hidden = group.counts.rows - group.ranked.len();
    if hidden > 0 {
        let hidden = counted(hidden);
        html.says("p", "dim", &format!("另有 {hidden} 行未列出。"), &format!("{hidden} more rows are not listed."));
    }
    if !is_shop {
        without_place(html, group);
    }
}

/// What has no place, and why: a price that is not known is no high one.
fn without_place(html: &mut Html, group: &Group) {
    let all: usize = group.counts.reasons.values().sum();
    if all == 0 {
        return;
    }
    let said = |pick: fn(Words) -> &'static str| {
        let reasons = group.counts.reasons.iter().map(|(code, rows)| {
            let words = words::reason(code).unwrap_or(("不可买", "cannot be bought"));
            format!("{} {}", counted(*rows), pick(words))
        });
        reasons.collect::<Vec<_>>()
    };
    let (zh, en) = (said(|words| words.0).join("、"), said(|words| words.1).join(", "));
    let all = counted(all);
    html.says("p", "dim", &format!("没有名次的 {all} 行：{zh}。"), &format!("Without a place: {all} ({en})."));
}

fn ranked_row(html: &mut Html, row: &Ranked) {
    let class = match (row.is_ours, row.buyable) {
        (true, _) => "ours",
        (false, Some(true)) => "",
        _ => "out",
    };
    let place = row.line.as_ref().map(|line| letter(line.place)).unwrap_or_default();
    html.open("tr", &[("class", class), ("data-line", place)]).raw("<td class=\"line\">");
    mark(html, row);
    html.raw("</td><td class=\"num rank\">");
    count(html, row.position);
    html.raw("</td><th scope=\"row\">");
    offer(html, &row.offer, row.is_ours);
    html.raw("</th><td class=\"num strong\">");
    match (&row.piece_price, &row.spread) {
        (None, Some((from, to))) => {
            let spread = format!("{} – {}", money(from, &row.currency), money(to, &row.currency));
            html.holds("span", "dim", &spread);
        }
        _ => price(html, row.piece_price.as_deref(), &row.currency),
    }
    html.raw("</td><td class=\"num\">");
    gap(html, row);
    html.raw("</td><td class=\"num\">");
    to_buy(html, row);
    html.raw("</td><td class=\"num\">");
    price(html, row.total.as_deref(), &row.currency);
    html.raw("</td><td class=\"num\">");
    count(html, row.moq_pieces);
    html.raw("</td><td class=\"num\">");
    stock(html, row);
    html.raw("</td><td>");
    remarks(html, row);
    html.raw("</td></tr>");
}

/// `21 箱 × ¥331.20`, and how many pieces that is where it is more than was asked for.
fn to_buy(html: &mut Html, row: &Ranked) {
    let (Some(units), Some(price)) = (row.units, &row.unit_price) else {
        html.raw("<span class=\"dim\">–</span>");
        return;
    };
    let unit = row.unit.as_deref().unwrap_or_default();
    html.text(&format!("{} {unit}", whole(units))).raw("<div class=\"by\">×&nbsp;").text(&money(price, &row.currency));
    if let (Some(pack @ 2..), Some(bought)) = (row.pieces_per_unit, row.pieces_bought) {
        html.raw("<br>").say(
            &format!("{} 件（每{unit} {} 件）", whole(bought), whole(pack)),
            &format!("{} pieces, {} each", whole(bought), whole(pack)),
        );
    }
    html.raw("</div>");
}

fn remarks(html: &mut Html, row: &Ranked) {
    if let Some(code) = &row.reason {
        let (zh, en) = words::reason(code).unwrap_or(("不可买", "cannot be bought"));
        html.says("span", "badge warn", zh, en).raw(" ");
    }
    if let Some((zh, en)) = row.ladder_status.as_deref().and_then(words::ladder) {
        html.says("span", "badge", zh, en).raw(" ");
    }
    if row.pack_size.is_some_and(|pack| pack.is_used) {
        html.says("span", "badge", "装箱数来自分组文件", "pack size of the groups file");
    }
}

/// What keeps a buyer of the quantity from buying, among the rows that are listed.
fn alerts(html: &mut Html, group: &Group) {
    let short = |row: &&Ranked| {
        row.stock_pieces.is_some_and(|stock| stock < group.need.pieces) && row.reason.as_deref() != Some("delisted")
    };
    let below = |row: &&Ranked| row.reason.as_deref() == Some("below_moq");
    let rows: Vec<&Ranked> = group.ranked.iter().filter(|row| short(row) || below(row)).take(limits::CHANGES).collect();
    html.raw("<h3>").say("起订量与库存提醒", "Minimum and stock to watch").raw("</h3>");
    if rows.is_empty() {
        html.says(
            "p",
            "empty",
            "所列商品没有低于此数量的库存，也没有更高的起订量。",
            "None of the rows listed has less in stock than this quantity, or a higher minimum.",
        );
        return;
    }
    html.raw("<ul class=\"alerts\">");
    for row in rows {
        html.begin("li", if row.is_ours { "ours" } else { "" });
        if below(&row) {
            let moq = row.moq_pieces.map(whole).unwrap_or_default();
            html.says("span", "badge warn", &format!("起订 {moq} 件"), &format!("MOQ {moq} pieces")).raw(" ");
        }
        if let Some(stock) = row.stock_pieces.filter(|_| short(&row)) {
            let (stock, class) = (whole(stock), if stock == 0 { "badge bad" } else { "badge warn" });
            html.says("span", class, &format!("库存 {stock} 件"), &format!("{stock} pieces in stock")).raw(" ");
        }
        offer(html, &row.offer, row.is_ours);
        html.raw("</li>");
    }
    html.raw("</ul>\n");
}
