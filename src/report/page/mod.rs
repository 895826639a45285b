//! The page: head, overview, one section per group, the state of the data, notes.
//!
//! * [`overview`]: what to see first.
//! * [`group`]: charts, ranking and alerts of one group; [`changes`]: what happened in it.
//! * [`cells`]: what several tables show in the same way.
//! * [`chart`]: what the charts draw, as data for the page's script.
//! * [`state`]: days, shops and runs.
//!
//! Invariant: the page is whole without its script, which draws the charts and switches the language.

mod cells;
mod changes;
mod chart;
mod group;
mod overview;
mod state;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::html::Html;
use super::model::Report;
use super::{Options, limits, number};

const STYLE: &str = include_str!("../assets/report.css");
/// In the order they run. Versions and licences: `assets/README.md`.
const SCRIPTS: [&str; 3] =
    [include_str!("../assets/d3.min.js"), include_str!("../assets/plot.min.js"), include_str!("../assets/report.js")];
const LICENCES: [(&str, &str); 2] =
    [("D3", include_str!("../assets/d3.LICENSE.txt")), ("Observable Plot", include_str!("../assets/plot.LICENSE.txt"))];

/// The page of a report.
pub(super) fn render(report: &Report, options: &Options) -> String {
    let mut html = Html::default();
    let language = options.language;
    html.raw("<!doctype html>\n");
    html.open("html", &[("lang", language.tag()), ("data-lang", language.code())]);
    head(&mut html, report);
    html.raw("\n<body>\n");
    banner(&mut html);
    html.raw("<main>\n");
    overview::render(&mut html, report, options);
    for (place, group) in report.groups.iter().enumerate() {
        group::render(&mut html, group, place, options.days);
    }
    state::render(&mut html, &report.state);
    notes(&mut html, report, options);
    html.raw("</main>\n");
    html.data("data", &chart::data(report));
    for script in SCRIPTS {
        html.raw("\n<script>").raw(script).raw("</script>");
    }
    html.raw("\n</body>\n</html>\n");
    html.finish()
}

fn head(html: &mut Html, report: &Report) {
    html.raw("\n<head>\n<meta charset=\"utf-8\">\n");
    html.open("meta", &[("http-equiv", "Content-Security-Policy"), ("content", &policy())]);
    html.raw("\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.raw("<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n");
    let day = report.state.days.iter().map(|day| day.dt).max();
    let day = day.map(|day| format!(" · {day}")).unwrap_or_default();
    html.raw("<title>").text(&format!("货盘报告 huopan report{day}")).raw("</title>\n");
    html.raw("<style>").raw(STYLE).raw("</style>\n</head>");
}

/// Nothing is loaded from anywhere, and no script runs but those of this page, word for word.
fn policy() -> String {
    let hashes = SCRIPTS.map(|script| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(script.as_bytes()))));
    format!(
        "default-src 'none'; script-src {}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
        hashes.join(" ")
    )
}

fn banner(html: &mut Html) {
    html.raw("<a class=\"skip\" href=\"#overview\">").say("跳到正文", "Skip to content").raw("</a>\n");
    html.raw("<header class=\"bar\"><div class=\"brand\"><b>huopan</b> <span lang=\"zh\">货盘</span></div>");
    html.raw("<div class=\"languages\" role=\"group\" aria-label=\"语言 Language\">");
    html.raw("<button type=\"button\" data-switch=\"zh\" lang=\"zh-CN\">中文</button>");
    html.raw("<button type=\"button\" data-switch=\"en\" lang=\"en-GB\">English</button></div></header>\n");
}

fn notes(html: &mut Html, report: &Report, options: &Options) {
    html.raw("<footer><h2>").say("说明", "Notes").raw("</h2><ul>");
    let (zh, en) = (
        format!(
            "每组列出前 {} 行（另加最多 {} 行我方商品），图中最多 {} 条线，每类变化最多 {} 条，最多 {} 组；计数包括未列出的。",
            limits::RANKED,
            limits::OURS,
            limits::LINES,
            limits::CHANGES,
            limits::GROUPS
        ),
        format!(
            "A group lists its first {} rows (and up to {} of our own), draws up to {} lines and shows up to {} changes of a kind; up to {} groups. Counts include what is not listed.",
            limits::RANKED,
            limits::OURS,
            limits::LINES,
            limits::CHANGES,
            limits::GROUPS
        ),
    );
    html.says("li", "", &zh, &en);
    html.says(
        "li",
        "",
        "单件价 = 销售单位价 ÷ 每单位件数。不足起订量时显示起订量处的价格，不参与排名。件数未知的商品列出原因，不猜测。",
        "Price a piece = price per sale unit ÷ pieces per unit. Below the minimum the price at the minimum is shown, without a rank. Where pieces are not known the reason is given; nothing is guessed.",
    );
    html.says(
        "li",
        "",
        "“前一日”指该管道上一个已发布的日期。抓取不完整的店铺不会产生“新品”或“下架”。",
        "“The day before” is the pipeline's previous published day. A shop that is incomplete makes nothing new or delisted.",
    );
    if report.summary.groups_left_out > 0 {
        let more = number::counted(report.summary.groups_left_out);
        html.says(
            "li",
            "warning",
            &format!("另有 {more} 组未列出：用 --group 选择。"),
            &format!("{more} more groups are not shown: choose with --group."),
        );
    }
    html.says(
        "li",
        "",
        "本文件自成一体，不加载任何网络内容；只有点击商品链接才会打开网页。",
        "This file is whole in itself and loads nothing from the network; only a click on an offer opens its page.",
    );
    html.raw("</ul><p class=\"fine\">");
    html.text(&format!("huopan {} · {}", env!("CARGO_PKG_VERSION"), options.lake)).raw("</p>");
    html.raw("<details class=\"fine\"><summary>").say("图表库许可", "Licences of the chart library").raw("</summary>");
    for (name, licence) in LICENCES {
        html.holds("h3", "", name).holds("pre", "", licence);
    }
    html.raw("</details></footer>\n");
}
