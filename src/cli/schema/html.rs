//! The dictionary as one page that needs nothing else.

use std::fmt::Write as _;

use crate::query::views::View;
use crate::transform::contract::{CONTRACT_VERSION, Column, TableContract};

use super::{Dictionary, notes, one_line};

const STYLE: &str = "
:root{color-scheme:light dark;--line:#d0d4da;--soft:#f4f5f7;--text:#1c2530;--faint:#5b6673;--link:#0b57a8}
@media(prefers-color-scheme:dark){:root{--line:#39424d;--soft:#1d242c;--text:#e3e8ee;--faint:#9aa6b2;--link:#7db7f5}}
body{font:15px/1.5 system-ui,-apple-system,'Segoe UI','PingFang SC','Microsoft YaHei','Noto Sans CJK SC',sans-serif;
color:var(--text);max-width:75rem;margin:2rem auto;padding:0 1rem}
a{color:var(--link)}h2{margin-top:2.5rem;border-bottom:1px solid var(--line);padding-bottom:.3rem}
nav a{margin-right:1rem;white-space:nowrap}p.note,td.faint{color:var(--faint)}
div.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{border-bottom:1px solid var(--line);padding:.35rem .6rem;text-align:left;vertical-align:top}
th{background:var(--soft);white-space:nowrap}code{font-family:ui-monospace,Consolas,monospace;font-size:.92em}
pre{background:var(--soft);padding:.8rem;overflow-x:auto;white-space:pre-wrap}
@media print{body{margin:0;max-width:none}h2{break-after:avoid}tr{break-inside:avoid}nav{display:none}}
";

pub(super) fn page(dictionary: &Dictionary) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>Tables of huopan</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>Tables of huopan · 货盘数据字典</h1>\n<p class=\"note\">Contract {CONTRACT_VERSION}</p>\n<nav>"
    );
    for contract in &dictionary.tables {
        let _ = write!(page, "<a href=\"#{0}\">{0} {1}</a>", text(&contract.name), text(&contract.business_name));
    }
    page.push_str("</nav>\n");
    dictionary.tables.iter().for_each(|contract| table(&mut page, contract));
    let views = [("Views", &dictionary.views), ("Table functions", &dictionary.functions)];
    for (title, views) in views.into_iter().filter(|(_, views)| !views.is_empty()) {
        let _ = writeln!(page, "<h2>{title}</h2>");
        views.iter().for_each(|described| view(&mut page, described));
    }
    rows(
        &mut page,
        "Functions",
        ["function", "gives"],
        dictionary.scalars.iter().map(|(call, gives)| vec![format!("<code>{}</code>", text(call)), text(gives)]),
    );
    rows(
        &mut page,
        "Units",
        ["kind", "means", "units"],
        dictionary.units.iter().map(|line| vec![text(line.kind), text(&line.meaning), text(&line.names)]),
    );
    page.push_str("</body>\n</html>\n");
    page
}

fn table(page: &mut String, contract: &TableContract) {
    let _ = writeln!(
        page,
        "<h2 id=\"{0}\"><code>{0}</code> · {1}</h2>\n<p>{2} {3}</p>",
        text(&contract.name),
        text(&contract.business_name),
        text(&one_line(&contract.description)),
        text(&one_line(&contract.usage))
    );
    let header = ["column", "名称", "type", "", "meaning", "values", "example"];
    body(page, header, contract.columns.iter().map(column));
}

fn column(column: &Column) -> Vec<String> {
    vec![
        format!("<code>{}</code>", text(&column.name)),
        text(&column.business_name),
        text(&column.delta_type),
        text(&notes(column)),
        text(&one_line(&column.description)),
        text(&column.allowed_values.join(" · ")),
        column
            .example
            .as_deref()
            .map(|example| format!("<code>{}</code>", text(&one_line(example))))
            .unwrap_or_default(),
    ]
}

fn view(page: &mut String, view: &View) {
    let _ = writeln!(page, "<h3><code>{}</code></h3>\n<pre>{}</pre>", text(view.name), text(&view.documentation()));
}

fn rows<const N: usize>(page: &mut String, title: &str, header: [&str; N], rows: impl Iterator<Item = Vec<String>>) {
    let mut rows = rows.peekable();
    if rows.peek().is_some() {
        let _ = writeln!(page, "<h2>{title}</h2>");
        body(page, header, rows);
    }
}

/// A table of cells that are HTML already.
fn body<const N: usize>(page: &mut String, header: [&str; N], rows: impl Iterator<Item = Vec<String>>) {
    page.push_str("<div class=\"wide\"><table>\n<thead><tr>");
    header.iter().for_each(|name| page.push_str(&format!("<th scope=\"col\">{name}</th>")));
    page.push_str("</tr></thead>\n<tbody>\n");
    for cells in rows {
        page.push_str("<tr>");
        cells.iter().for_each(|cell| page.push_str(&format!("<td>{cell}</td>")));
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

/// Text as HTML.
fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
