//! What to see first: the day, what needs attention, each group in a line.

use super::super::html::Html;
use super::super::model::{Group, Kind, NeedOf, Ranked, Report, Tally};
use super::super::number::{counted, hundredths, money, percent, whole};
use super::super::{Options, PIECES_DEFAULT, limits};
use super::cells::{beijing, end_wide_table, header, wide_table};
use super::group::anchor;

/// The overview.
pub(super) fn render(html: &mut Html, report: &Report, options: &Options) {
    html.raw("<section id=\"overview\">\n");
    title(html, report, options);
    warnings(html, report);
    if report.state.days.is_empty() {
        nothing_published(html);
    } else {
        tiles(html, report);
        stands_in(html, report, options);
        if report.groups.is_empty() {
            html.says("p", "empty", "没有可显示的组。", "There is no group to show.");
        } else {
            groups(html, &report.groups);
        }
    }
    html.raw("</section>\n");
}

fn title(html: &mut Html, report: &Report, options: &Options) {
    html.raw("<h1>").say("比价报告", "Price report").raw("</h1><p class=\"lead\">");
    for (place, day) in report.state.days.iter().take(limits::DAYS_AT_TOP).enumerate() {
        if place > 0 {
            html.raw("<br>");
        }
        html.holds("span", "pipeline", &day.pipeline).raw(" ").say("数据日", "as of").raw(" ");
        html.holds("b", "day", &day.dt.to_string());
        match day.previous_dt {
            Some(before) => {
                html.say("，与 ", ", compared with ").holds("span", "day", &before.to_string()).say(" 相比", "")
            }
            None => html.say("，首个发布日，尚无可比", ", the first published day: nothing to compare with yet"),
        };
    }
    let more = report.state.days.len().saturating_sub(limits::DAYS_AT_TOP);
    if more > 0 {
        html.raw("<br><a href=\"#state\">");
        html.say(&format!("另有 {more} 个管道"), &format!("and {more} more pipelines")).raw("</a>");
    }
    html.raw("</p><p class=\"dim\">");
    let at = beijing(options.now).format("%Y-%m-%d %H:%M");
    html.say(&format!("生成于 {at}（北京时间）"), &format!("made {at} Beijing time")).raw("</p>\n");
}

/// Old data and incomplete shops come before any price.
fn warnings(html: &mut Html, report: &Report) {
    for day in report.state.days.iter().filter(|day| day.age_days > 1) {
        let (pipeline, dt, age) = (&day.pipeline, day.dt, whole(day.age_days));
        html.says(
            "p",
            "warning",
            &format!("管道 {pipeline} 的数据停在 {dt}，已是 {age} 天前。"),
            &format!("The data of pipeline {pipeline} is of {dt}, {age} days ago."),
        );
    }
    let [all, incomplete] = [report.state.shop_count, report.state.incomplete_count].map(counted);
    if report.state.incomplete_count > 0 {
        html.raw("<p class=\"warning\"><a href=\"#state\">").say(
            &format!("{all} 家店铺中 {incomplete} 家抓取不完整"),
            &format!("{incomplete} of {all} shops are incomplete"),
        );
        html.raw("</a>").say(
            "：它们的价格可能是更早的，也不会产生“新品”或“下架”。",
            ": their prices may be older ones, and they make nothing new or delisted.",
        );
        html.raw("</p>\n");
    }
    if let Some(run) = report.state.runs.first().filter(|run| !run.status.starts_with("published")) {
        let status = super::super::words::run_status(&run.status).unwrap_or(("未发布", "not published"));
        html.raw("<p class=\"warning\"><a href=\"#state\">").say(
            &format!("最近一次运行（{}，{}）：{}", run.pipeline, run.dt, status.0),
            &format!("The last run ({}, {}): {}", run.pipeline, run.dt, status.1),
        );
        html.raw("</a></p>\n");
    }
}

fn nothing_published(html: &mut Html) {
    html.raw("<p class=\"empty\">")
        .say("这个湖还没有发布任何数据。先运行：", "Nothing is published in this lake yet. First run: ");
    html.raw("<code>huopan run PIPELINE</code></p>\n");
}

fn stands_in(html: &mut Html, report: &Report, options: &Options) {
    let Some(stands_in) = report.stands_in else { return };
    let pieces = whole(options.pieces.unwrap_or(PIECES_DEFAULT));
    html.raw("<div class=\"note\"><p>").say(
        &format!("还没有商品分组，下面按店铺显示（共 {} 家，显示最大的 {} 家）：各列销量最高的商品在 {pieces} 件时的价格。", stands_in.shops, report.groups.len()),
        &format!("There are no groups yet: these are the best sold offers of the largest shops ({} of {}), at {pieces} pieces.", report.groups.len(), stands_in.shops),
    );
    html.raw("</p><p>")
        .say("要比较竞品，请任选其一：", "To compare competitors, either")
        .raw("</p><ul><li><code>huopan groups load groups.csv</code> ");
    html.say(
        "加载分组文件（哪些商品互相竞争、哪些是我方的、我的数量）",
        "loads a file that says which offers compete, which are ours, and our quantity",
    );
    html.raw("</li><li><code>huopan report --title \"保温杯 500ml\" --pieces 500</code> ");
    html.say("比较标题含有这些词的商品", "compares the offers with these words in their titles")
        .raw("</li></ul></div>\n");
}

fn tiles(html: &mut Html, report: &Report) {
    let sum = |of: fn(&Tally) -> usize| report.groups.iter().map(|group| of(&group.changes.tally)).sum::<usize>();
    let state = &report.state;
    html.raw("<dl class=\"tiles\">");
    tile(html, "", ("全部商品", "offers in all"), &whole(state.offer_count));
    let complete = format!("{}/{}", state.shop_count - state.incomplete_count, state.shop_count);
    let class = if state.incomplete_count > 0 { "bad" } else { "" };
    tile(html, class, ("完整店铺", "complete shops"), &complete);
    let changes: [(&'static str, super::super::words::Words, usize); 6] = [
        ("down", ("降价", "price cuts"), sum(|tally| tally.cuts)),
        ("up", ("涨价", "price raises"), sum(|tally| tally.raises)),
        ("", ("新品", "new"), sum(|tally| tally.new)),
        ("", ("下架", "delisted"), sum(|tally| tally.delisted)),
        ("", ("起订量变化", "MOQ changes"), sum(|tally| tally.moq)),
        ("", ("断货", "stock-outs"), sum(|tally| tally.stock_outs)),
    ];
    for (class, name, number) in changes {
        let class = if number == 0 { "zero" } else { class };
        tile(html, class, name, &counted(number));
    }
    html.raw("</dl>\n");
    html.says(
        "p",
        "fine",
        "变化与前一日相比，按下列各组计；降价与涨价按各组的数量计。一件商品在几个组中就计几次。",
        "Changes since the day before, counted in the groups below; cuts and raises at the group's quantity. An offer counts in each of its groups.",
    );
}

fn tile(html: &mut Html, class: &str, name: (&str, &str), value: &str) {
    html.begin("div", class).raw("<dt>").say(name.0, name.1).raw("</dt><dd>").text(value).raw("</dd></div>");
}

fn groups(html: &mut Html, groups: &[Group]) {
    let columns = [
        ("", "组", "Group"),
        ("num", "数量（件）", "Pieces"),
        ("num", "可买 / 全部", "Buyable / all"),
        ("num", "最低单件价", "Cheapest a piece"),
        ("", "店铺", "Shop"),
        ("num", "我方", "Ours"),
        ("", "与前一日相比", "Since the day before"),
    ];
    if groups.iter().all(|group| group.kind == Kind::Shop) {
        wide_table(html, "overview", ("各店一览", "The shops at a glance"));
        header(html, &[("", "店铺", "Shop"), columns[6]]);
    } else {
        wide_table(html, "overview", ("各组一览", "The groups at a glance"));
        header(html, &columns);
    }
    html.raw("<tbody>");
    for (place, group) in groups.iter().enumerate() {
        group_row(html, group, place);
    }
    html.raw("</tbody>");
    end_wide_table(html);
}

fn group_row(html: &mut Html, group: &Group, place: usize) {
    html.raw("<tr><th scope=\"row\">")
        .open("a", &[("href", &format!("#{}", anchor(place)))])
        .text(&group.name)
        .raw("</a></th>");
    if group.kind != Kind::Shop {
        prices(html, group);
    }
    html.raw("<td>");
    match group.changes.is_compared {
        true => tally(html, &group.changes.tally),
        false => _ = html.says("span", "dim", "尚无前一日", "no day before"),
    }
    html.raw("</td></tr>");
}

fn prices(html: &mut Html, group: &Group) {
    html.raw("<td class=\"num\">");
    html.text(&whole(group.need.pieces));
    if group.need.of == NeedOf::Nobody {
        html.says("div", "by", "默认", "default");
    }
    html.raw("</td>").holds(
        "td",
        "num",
        &format!("{} / {}", counted(group.counts.buyable), counted(group.counts.rows)),
    );
    let cheapest = cheapest(group);
    html.raw("<td class=\"num\">");
    super::cells::price(
        html,
        cheapest.and_then(|row| row.piece_price.as_deref()),
        cheapest.map_or("", |row| &row.currency),
    );
    html.raw("</td><td>");
    if let Some(shop) = cheapest.and_then(|row| row.offer.shop_name.as_ref().or(row.offer.shop_id.as_ref())) {
        html.text(shop);
    }
    html.raw("</td><td class=\"num\">");
    ours(html, group);
    html.raw("</td>");
}

/// The cheapest row that can be bought. Offers of a shop do not compete: none of them is.
pub(super) fn cheapest(group: &Group) -> Option<&Ranked> {
    group.ranked.iter().find(|row| row.position == Some(1) && group.kind != Kind::Shop)
}

/// Our best row.
pub(super) fn our_best(group: &Group) -> Option<&Ranked> {
    let ours = || group.ranked.iter().filter(|row| row.is_ours);
    ours().find(|row| row.position.is_some()).or_else(|| ours().next())
}

fn ours(html: &mut Html, group: &Group) {
    let Some(row) = our_best(group) else {
        html.raw("<span class=\"dim\">–</span>");
        return;
    };
    match (row.position, &row.piece_price) {
        (Some(position), Some(price)) => {
            html.raw("<b class=\"ours\">")
                .text(&format!("#{position}"))
                .raw("</b> ")
                .text(&money(price, &row.currency));
            if let Some(share) = row.gap_pct.as_deref().and_then(hundredths).filter(|share| *share != 0) {
                html.raw(" <span class=\"dim\">").text(&percent(share)).raw("</span>");
            }
        }
        _ => _ = html.says("span", "dim", "不可买", "not buyable"),
    }
}

/// What happened, in badges.
pub(super) fn tally(html: &mut Html, tally: &Tally) {
    let parts: [(usize, &'static str, &str, &str); 7] = [
        (tally.cuts, "badge down", "降价", "cut"),
        (tally.raises, "badge up", "涨价", "raised"),
        (tally.other_prices, "badge", "阶梯变化", "ladder changed"),
        (tally.new, "badge", "新品", "new"),
        (tally.delisted, "badge", "下架", "delisted"),
        (tally.moq, "badge", "起订量", "MOQ"),
        (tally.stock_outs, "badge", "断货", "out of stock"),
    ];
    if tally.total() == 0 {
        html.says("span", "dim", "无变化", "no change");
    }
    for (number, class, zh, en) in parts.into_iter().filter(|part| part.0 > 0) {
        html.says("span", class, &format!("{zh} {}", counted(number)), &format!("{} {en}", counted(number))).raw(" ");
    }
}
