//! Whether the data is whole and fresh: shops, incomplete ones first, and the last runs.

use super::super::html::Html;
use super::super::model::{Day, Run, Shop, State};
use super::super::number::{counted, whole};
use super::super::words::run_status;
use super::cells::{beijing, count, end_wide_table, header, wide_table};

/// The section on the state of the data.
pub(super) fn render(html: &mut Html, state: &State) {
    html.raw("<section id=\"state\" class=\"state\"><h2>").say("数据完整性", "Is the data whole?").raw("</h2>\n");
    if state.shops.is_empty() {
        html.says("p", "empty", "没有已发布的店铺。", "No shop is published.");
    } else {
        summary(html, state);
        days(html, &state.days);
        shops(html, state);
    }
    if state.runs.is_empty() {
        html.says("p", "empty", "还没有运行记录。", "No run is recorded.");
    } else {
        runs(html, &state.runs);
    }
    html.raw("</section>\n");
}

fn summary(html: &mut Html, state: &State) {
    let [all, incomplete] = [state.shop_count, state.incomplete_count].map(counted);
    match state.incomplete_count {
        0 => html.says("p", "", &format!("全部 {all} 家店铺完整。"), &format!("All {all} shops are complete.")),
        _ => html.says(
            "p",
            "",
            &format!("{all} 家店铺中 {incomplete} 家不完整，排在前面。"),
            &format!("{incomplete} of {all} shops are incomplete; they come first."),
        ),
    };
    if state.shop_count > state.shops.len() {
        let shown = state.shops.len();
        html.says("p", "dim", &format!("列出前 {shown} 家。"), &format!("The first {shown} are listed."));
    }
}

fn days(html: &mut Html, days: &[Day]) {
    let columns = [
        ("", "管道", "Pipeline"),
        ("", "数据日", "Day of the data"),
        ("", "前一日", "The day before"),
        ("num", "已发布天数", "Days published"),
        ("num", "距今（天）", "Days ago"),
    ];
    wide_table(html, "", ("各管道的数据日", "The day of each pipeline"));
    header(html, &columns);
    html.raw("<tbody>");
    for day in days {
        html.begin("tr", if day.age_days > 1 { "bad" } else { "" }).open("th", &[("scope", "row")]);
        html.text(&day.pipeline).close("th");
        html.holds("td", "", &day.dt.to_string());
        html.holds("td", "", &day.previous_dt.map_or_else(|| "–".to_owned(), |dt| dt.to_string()));
        html.holds("td", "num", &counted(day.published.len())).holds("td", "num", &whole(day.age_days)).raw("</tr>");
    }
    html.raw("</tbody>");
    end_wide_table(html);
}

fn shops(html: &mut Html, state: &State) {
    let columns = [
        ("", "店铺", "Shop"),
        ("", "完整", "Complete"),
        ("num", "官方商品数", "Official count"),
        ("num", "商品数", "Offers"),
        ("num", "新增", "New"),
        ("num", "变更", "Changed"),
        ("num", "下架", "Delisted"),
        ("num", "隔离", "Quarantined"),
        ("num", "调用", "Calls"),
    ];
    wide_table(html, "", ("最近发布日的店铺", "Shops on the last published day"));
    header(html, &columns);
    html.raw("<tbody>");
    for shop in &state.shops {
        shop_row(html, shop);
    }
    html.raw("</tbody>");
    end_wide_table(html);
}

fn shop_row(html: &mut Html, shop: &Shop) {
    html.begin("tr", if shop.is_complete { "" } else { "bad" }).raw("<th scope=\"row\">");
    html.text(shop.shop_name.as_ref().unwrap_or(&shop.shop_id)).raw("<div class=\"by\">");
    html.text(&format!("{} · {}", shop.pipeline, shop.shop_id)).raw("</div></th><td>");
    match shop.is_complete {
        true => html.says("span", "badge good", "完整", "complete"),
        false => html.says("span", "badge bad", "不完整", "incomplete"),
    };
    if let Some(reason) = &shop.incomplete_reason {
        html.raw("<div class=\"by\">").text(reason).raw("</div>");
    }
    html.raw("</td>");
    let counts = [
        shop.official_count,
        Some(shop.offer_count),
        Some(shop.new_count),
        Some(shop.changed_count),
        Some(shop.delisted_count),
        Some(shop.quarantined_count),
        Some(shop.calls_used),
    ];
    for number in counts {
        html.raw("<td class=\"num\">");
        count(html, number);
        html.raw("</td>");
    }
    html.raw("</tr>");
}

fn runs(html: &mut Html, runs: &[Run]) {
    let columns = [
        ("", "数据日", "Day"),
        ("", "结果", "Ended"),
        ("", "开始（北京时间）", "Started (Beijing)"),
        ("num", "用时", "Took"),
        ("num", "收到", "Received"),
        ("num", "入库", "Loaded"),
        ("num", "重复", "Duplicates"),
        ("num", "隔离", "Quarantined"),
        ("num", "调用", "Calls"),
        ("num", "剩余配额", "Calls left"),
    ];
    wide_table(html, "", ("最近的运行", "The last runs"));
    header(html, &columns);
    html.raw("<tbody>");
    for run in runs {
        run_row(html, run);
    }
    html.raw("</tbody>");
    end_wide_table(html);
}

fn run_row(html: &mut Html, run: &Run) {
    html.raw("<tr><th scope=\"row\">").text(&run.dt).raw("<div class=\"by\">").text(&run.pipeline);
    if run.attempt > 1 {
        html.say(&format!(" · 第 {} 次", run.attempt), &format!(" · attempt {}", run.attempt));
    }
    if run.kind.as_deref() == Some("replay") {
        html.say(" · 重放", " · replay");
    }
    html.raw("</div></th><td>");
    let class = match run.status.as_str() {
        "published" => "badge good",
        "published_incomplete" | "held" => "badge warn",
        _ => "badge bad",
    };
    match run_status(&run.status) {
        Some((zh, en)) => html.says("span", class, zh, en),
        None => html.holds("span", class, &run.status),
    };
    if let Some(error) = &run.error {
        html.raw("<div class=\"by\">").text(error).raw("</div>");
    }
    html.raw("</td><td>");
    match run.started_at {
        Some(at) => html.text(&beijing(at).format("%m-%d %H:%M").to_string()),
        None => html.raw("–"),
    };
    html.raw("</td>").holds("td", "num", &took(run.seconds));
    for number in [run.received, run.loaded, run.duplicates, run.quarantined, run.calls_used] {
        html.holds("td", "num", &whole(number));
    }
    html.raw("<td class=\"num\">");
    count(html, run.quota_left);
    html.raw("</td></tr>");
}

/// `1:02:03`, `2:03`, `0:03`.
fn took(seconds: i64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn how_long_a_run_took_reads_as_a_clock() {
        for (seconds, expected) in [(3, "0:03"), (123, "2:03"), (3723, "1:02:03")] {
            assert_eq!(super::took(seconds), expected);
        }
    }
}
