//! The groups file: which offers compete, as people keep it in a spreadsheet (CSV, UTF-8 or GBK).
//!
//! ```csv
//! group,shop_id,offer_id,title,ours,quantity,pack_size
//! 马克杯,,,马克杯 -盖,,500,
//! 马克杯,,610947572360,,yes,,24
//! ```
//!
//! A line says of which offers it is: of one offer, of those of one shop, of those whose title fits a
//! [pattern](crate::base::keywords::Pattern), or of those that are all that it says.
//!
//! Invariant: a group has one quantity, and no line says what another one says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::diagnostics::{Diagnostics, Place, Problem, Report};
use super::read_pipeline::lists::{self, SHOP_ID};
use super::read_pipeline::tables::{self, Columns, NotRead, Row};
use super::reader::Text;
use crate::base::keywords::Pattern;

/// The most pieces anybody asks prices for: far above any order, far below where totals could overflow.
pub const PIECES_MAX: i64 = 1_000_000_000_000;

const COLUMNS: Columns = Columns {
    all: &["group", "shop_id", "offer_id", "title", "ours", "quantity", "pack_size"],
    one_of: &["group"],
    also: &[
        ("组", "group"),
        ("分组", "group"),
        ("店铺", "shop_id"),
        ("店铺编号", "shop_id"),
        ("商品", "offer_id"),
        ("商品编号", "offer_id"),
        ("标题", "title"),
        ("标题匹配", "title"),
        ("自家", "ours"),
        ("是否本店", "ours"),
        ("数量", "quantity"),
        ("装箱数", "pack_size"),
        ("装箱件数", "pack_size"),
        ("group_name", "group"),
        ("title_pattern", "title"),
        ("is_ours", "ours"),
    ],
    // People begin with a list of offers, and keep what helps them to know one.
    unread: &[
        "dt",
        "日期",
        "pipeline",
        "管道",
        "shop_name",
        "店铺名称",
        "price",
        "报价",
        "unit",
        "销售单位",
        "price_per_piece",
        "单件价",
        "detail_url",
        "商品链接",
        "image_url",
        "主图",
    ],
};

/// One line of a groups file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct GroupLine {
    /// The group.
    pub group: String,
    /// Only offers of this shop.
    pub shop_id: Option<String>,
    /// Only this offer.
    pub offer_id: Option<i64>,
    /// Only offers whose title fits.
    pub title: Option<String>,
    /// They are our own.
    pub ours: bool,
    /// How many pieces prices are asked for, the same in all lines of the group that say it.
    pub quantity: Option<i64>,
    /// Pieces in one sale unit, for offers whose gateway does not state it.
    pub pack_size: Option<i32>,
}

/// Reads a groups file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_groups(path: &Path) -> Result<Vec<GroupLine>, Diagnostics> {
    lines(path.display().to_string(), tables::load(path))
}

/// Reads what a groups file holds; `name` is what messages call it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read_groups(name: impl Into<String>, bytes: &[u8]) -> Result<Vec<GroupLine>, Diagnostics> {
    lines(name.into(), tables::text_of(bytes))
}

fn lines(name: String, text: Result<String, NotRead>) -> Result<Vec<GroupLine>, Diagnostics> {
    let report = Report::default();
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            report.add(match error {
                NotRead::Failed(error) => Problem::new(format!("cannot read `{name}`: {error}"))
                    .help(format!("name a CSV file whose first line is `{}`", COLUMNS.all.join(","))),
                NotRead::Not(what, help) => Problem::new(format!("`{name}` is {what}")).help(help),
            });
            return report.finish(None);
        }
    };
    let source = report.source(name.clone(), text.clone());
    let whole = Place { source, span: 0..0 };
    let rows = tables::rows(&report, (source, &text), Text { value: &name, place: &whole }, &COLUMNS);
    let mut seen = Seen::default();
    let lines: Vec<GroupLine> = rows.iter().filter_map(|row| line(&report, row, &mut seen)).collect();
    if lines.is_empty() && report.count() == 0 {
        report.add(Problem::at(&whole, "there is no group in here").help("one line an offer, a shop or a title"));
    }
    report.finish(Some(lines))
}

/// What earlier lines said.
#[derive(Default)]
struct Seen {
    quantities: BTreeMap<String, i64>,
    /// Lines with nothing but the group and which offers are in it.
    conditions: BTreeSet<GroupLine>,
}

fn line(report: &Report, row: &Row, seen: &mut Seen) -> Option<GroupLine> {
    let problems = report.count();
    let stated = |column: &str| row.get(column).filter(|text| !text.value.is_empty());
    let Some(group) = stated("group") else {
        report.add(Problem::at(&row.place, "this line names no group").help("put one into the column `group`"));
        return None;
    };
    let line = GroupLine {
        group: group.value.to_owned(),
        shop_id: stated("shop_id").and_then(|text| shop(report, text)),
        offer_id: stated("offer_id").and_then(|text| lists::item(report, text)),
        title: stated("title").and_then(|text| title(report, text)),
        ours: stated("ours").is_some_and(|text| yes_or_no(report, text)),
        quantity: stated("quantity").and_then(|text| count(report, text, PIECES_MAX, "pieces")),
        pack_size: stated("pack_size")
            .and_then(|text| count(report, text, 1_000_000, "pieces in one sale unit"))
            .and_then(|pieces| i32::try_from(pieces).ok()),
    };
    let is_sound = report.count() == problems;
    if is_sound {
        conditions(report, row, &line);
        agrees(report, row, &line, seen);
    }
    is_sound.then_some(line)
}

fn conditions(report: &Report, row: &Row, line: &GroupLine) {
    let needs_words = line.title.as_deref().and_then(|title| Pattern::parse(title).ok());
    let has_words = needs_words.is_none_or(|pattern| !pattern.needed.is_empty());
    if line.shop_id.is_none() && line.offer_id.is_none() && line.title.is_none() {
        let problem = Problem::at(&row.place, format!("nothing says which offers are in group `{}`", line.group));
        report.add(problem.help("fill `offer_id`, `shop_id` or `title` (words that a title has: `马克杯 -盖`)"));
    } else if line.shop_id.is_none() && line.offer_id.is_none() && !has_words {
        let problem = Problem::at(&row.place, "this title only says what offers must not have");
        report.add(problem.help("add a word that they have, or a shop: `马克杯 -盖`"));
    }
}

fn agrees(report: &Report, row: &Row, line: &GroupLine, seen: &mut Seen) {
    if let Some(quantity) = line.quantity {
        let first = *seen.quantities.entry(line.group.clone()).or_insert(quantity);
        if first != quantity {
            let message = format!("group `{}` is asked for {quantity} pieces here, for {first} before", line.group);
            report.add(Problem::at(&row.place, message).help("a group has one quantity: say it in one of its lines"));
        }
    }
    let condition = GroupLine { ours: false, quantity: None, pack_size: None, ..line.clone() };
    if !seen.conditions.insert(condition) {
        report.add(Problem::at(&row.place, "this line names the same offers as another one").help("remove one"));
    }
}

fn shop(report: &Report, text: Text<'_>) -> Option<String> {
    if SHOP_ID.as_ref().is_some_and(|pattern| pattern.is_match(text.value)) {
        return Some(text.value.to_owned());
    }
    let problem = Problem::at(text.place, format!("`{}` is no shop id", text.value));
    report.add(problem.help("`huopan sql -c \"select shop_id, shop_name from shops\"` shows those of the lake"));
    None
}

fn title(report: &Report, text: Text<'_>) -> Option<String> {
    match Pattern::parse(text.value) {
        Ok(_) => Some(text.value.to_owned()),
        Err(message) => {
            report.add(Problem::at(text.place, message));
            None
        }
    }
}

fn yes_or_no(report: &Report, text: Text<'_>) -> bool {
    match text.value.to_lowercase().as_str() {
        "yes" | "y" | "true" | "1" | "x" | "是" | "√" | "✓" => true,
        "no" | "n" | "false" | "0" | "否" => false,
        other => {
            report
                .add(Problem::at(text.place, format!("`{other}` is neither yes nor no")).help("leave it empty for no"));
            false
        }
    }
}

fn count(report: &Report, text: Text<'_>, max: i64, what: &str) -> Option<i64> {
    // A spreadsheet writes thousands apart.
    let number: Option<i64> = text.value.replace([',', '，', ' '], "").parse().ok();
    let number = number.filter(|number| (1..=max).contains(number));
    if number.is_none() {
        let message = format!("`{}` is no number of {what}", text.value);
        report.add(Problem::at(text.place, message).help(format!("a whole number from 1 to {max}")));
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Color;

    fn read(bytes: &[u8]) -> Result<Vec<GroupLine>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("groups.csv");
        std::fs::write(&path, bytes).unwrap();
        load_groups(&path)
            .map_err(|problems| problems.render(Color::Never).replace(&folder.path().display().to_string(), ""))
    }

    #[test]
    fn lines_are_read_as_spreadsheets_save_them() {
        let text = "\u{feff}分组,商品,标题,自家,数量,装箱数\r\n马克杯,,马克杯 -盖,,\"1,000\",\r\n\r\n\
                    马克杯,https://detail.1688.com/offer/610947572360.html,,是,,24\r\n";
        let lines = read(text.as_bytes()).unwrap();
        let group = || "马克杯".to_owned();
        let by_title = GroupLine {
            group: group(),
            title: Some("马克杯 -盖".into()),
            quantity: Some(1000),
            ..GroupLine::default()
        };
        let own = GroupLine {
            group: group(),
            offer_id: Some(610_947_572_360),
            ours: true,
            pack_size: Some(24),
            ..GroupLine::default()
        };
        assert_eq!(lines, [by_title, own]);
        let (gbk, _, _) = encoding_rs::GBK.encode(text.trim_start_matches('\u{feff}'));
        assert_eq!(read(&gbk).unwrap(), lines, "as Excel saves it");
    }

    #[test]
    fn headings_are_those_that_huopan_writes_in_either_language_and_cells_may_stand_between_semicolons() {
        let own = GroupLine {
            group: "马克杯".into(),
            shop_id: Some("b2b-2200733087881719de".into()),
            offer_id: Some(610_947_572_360),
            title: Some("马克杯".into()),
            ours: true,
            quantity: Some(500),
            pack_size: Some(24),
        };
        for header in [
            "分组,店铺名称,店铺编号,商品编号,标题,是否本店,数量,装箱件数",
            "group_name,shop_name,shop_id,offer_id,title_pattern,is_ours,quantity,pack_size",
            "分组,报价,店铺编号,商品编号,标题匹配,是否本店,数量,装箱件数",
        ] {
            let text = format!("{header}\n马克杯,晨光,b2b-2200733087881719de,610947572360,马克杯,是,500,24\n");
            for separator in [",", ";", "\t"] {
                assert_eq!(
                    read(text.replace(',', separator).as_bytes()),
                    Ok(vec![own.clone()]),
                    "{header} {separator:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let cases = [
            ("group,offer\nA,1\n", "unknown column `offer`"),
            ("offer_id\n610947572360\n", "the column `group` is missing"),
            ("group,offer_id\n,610947572360\n", "this line names no group"),
            ("group,offer_id\nA,\n", "nothing says which offers are in group `A`"),
            ("group,title\nA,-盖\n", "only says what offers must not have"),
            ("group,title\nA,a||b\n", "lacks a word"),
            ("group,offer_id\nA,cup\n", "`cup` is no offer"),
            ("group,shop_id\nA,https://shop1.1688.com\n", "is no shop id"),
            ("group,title,ours\nA,cup,maybe\n", "neither yes nor no"),
            ("group,title,quantity\nA,cup,0\n", "`0` is no number of pieces"),
            ("group,title,pack_size\nA,cup,1.5\n", "is no number of pieces in one sale unit"),
            ("group,title,quantity\nA,cup,5\nA,mug,6\n", "is asked for 6 pieces here, for 5 before"),
            ("group,title\nA,cup\nA,cup\n", "names the same offers as another one"),
            ("group,title\n", "there is no group in here"),
            ("", "is empty"),
        ];
        for (text, expected) in cases {
            let problems = read(text.as_bytes()).unwrap_err();
            assert!(problems.contains(expected), "{text}: {problems}");
            let is_alone = expected.starts_with("there is no group");
            assert_eq!(problems.contains("there is no group"), is_alone, "{text}: {problems}");
        }
        let place = read(b"group,title,quantity\nA,cup,5\nA,mug,6\n").unwrap_err();
        assert!(place.contains("groups.csv:3:1"), "{place}");
    }
}
