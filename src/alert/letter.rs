//! A message in Chinese, for people who read it on a phone: a headline, a few lines, a list, within so many bytes.
//!
//! Robots are those of Chinese chat services, so their messages are Chinese; what a gateway, a query or an error says
//! is repeated as it was said. The text is markdown of which all three services know what is used here: bold and lists.
//!
//! Invariant: pure. Nothing from outside is read as markdown: a shop's title can neither link nor mention anybody. A
//! text that has no room is cut between letters, a list between its items, and the message says so.

use std::fmt::Write as _;

use super::message::{Kind, Message, Quota, Shop, WatchRows};

/// Letters of a cell, a reason or a name.
const CELL_LENGTH_MAX: usize = 100;
/// Letters of a line that says what went wrong.
const TEXT_LENGTH_MAX: usize = 800;
/// Bytes of the note that says what was left out.
const NOTE_BYTES_MAX: usize = 120;

/// A message, ready to be put into the form of a robot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    /// One line, without markdown. It begins with `huopan`: robots may ask for a keyword.
    pub(super) title: String,
    /// Lines, each a paragraph of markdown.
    lines: Vec<String>,
    /// A list after them.
    items: Vec<String>,
    /// How many things the list stands for, also where not all are in it.
    items_total: u64,
    /// What the list lists.
    unit: &'static str,
}

impl Letter {
    pub(super) fn of(message: &Message) -> Self {
        let day = message.dt.map(|dt| format!(" · {dt}")).unwrap_or_default();
        let head = match (&message.watch, message.kind) {
            (Some(watch), Kind::Watch) => cell(&watch.name),
            (Some(watch), _) => format!("{}：{}", cell(&watch.name), name(message.kind)),
            (None, kind) => name(kind).to_owned(),
        };
        let title = format!("huopan 货盘 · {}{day} · {head}", message.pipeline);
        let mut letter = Self { title, lines: Vec::new(), items: Vec::new(), items_total: 0, unit: "项" };
        match message.kind {
            Kind::Test => letter.lines.push("测试消息：本任务的告警会发到这里。".to_owned()),
            Kind::Published => letter.lines.extend(message.counts.map(|counts| {
                let super::Counts { loaded, carried, quarantined, calls, .. } = counts;
                format!("入库 {loaded} 条，沿用 {carried} 条，隔离 {quarantined} 条，调用 {calls} 次。")
            })),
            Kind::Quota => letter.lines.extend(message.quota.iter().map(used)),
            Kind::Incomplete if !message.shops.is_empty() => {
                letter.lines.push(format!("{} 家店铺没有抓全：", message.shops.len()));
            }
            Kind::Held => letter.lines.push("数据看起来不对，当天暂不发布，等你确认：".to_owned()),
            Kind::Watch => letter.table(message.watch.as_ref()),
            Kind::Failed | Kind::Denied | Kind::Incomplete | Kind::WatchFailed => {}
        }
        if letter.lines.is_empty() || matches!(message.kind, Kind::Held) {
            letter.lines.push(text(&message.text));
        }
        if !message.shops.is_empty() {
            letter.items = message.shops.iter().map(shop).collect();
            (letter.items_total, letter.unit) = (length(message.shops.len()), "家店铺");
        }
        letter
    }

    /// The rows of a watch: the names of the columns once, then a line for each row.
    fn table(&mut self, watch: Option<&WatchRows>) {
        let Some(WatchRows { columns, rows, rows_total, .. }) = watch else { return };
        self.lines.push(format!("**共 {rows_total} 行**"));
        self.lines.push(columns.iter().map(|column| cell(column)).collect::<Vec<_>>().join(" | "));
        let row = |(number, row): (usize, &Vec<Option<String>>)| {
            let cells: Vec<String> = row.iter().map(|value| value.as_deref().map_or("—".to_owned(), cell)).collect();
            format!("{}. {}", number + 1, cells.join(" | "))
        };
        self.items = rows.iter().enumerate().map(row).collect();
        (self.items_total, self.unit) = (*rows_total, "行");
    }

    /// The text below the title, in at most so many bytes.
    pub(super) fn markdown(&self, bytes_max: usize) -> String {
        let room = bytes_max.saturating_sub(NOTE_BYTES_MAX);
        let mut markdown = String::new();
        let mut is_cut = false;
        for line in &self.lines {
            let gap = if markdown.is_empty() { "" } else { "\n\n" };
            let line = beginning(line, room.saturating_sub(markdown.len() + gap.len()));
            is_cut |= line.1;
            if !line.0.is_empty() {
                let _ = write!(markdown, "{gap}{}", line.0);
            }
        }
        let mut listed = 0;
        for item in &self.items {
            let gap = if listed > 0 { "\n" } else { "\n\n" };
            if markdown.len() + gap.len() + item.len() > room {
                break;
            }
            let _ = write!(markdown, "{gap}{item}");
            listed += 1;
        }
        let left = self.items_total.saturating_sub(listed);
        if left > 0 {
            let _ = write!(markdown, "\n\n……另有 {left} {}未列出（共 {}）", self.unit, self.items_total);
        } else if is_cut {
            markdown.push_str("\n\n……消息过长，已截断");
        }
        markdown
    }
}

/// What a message is about, in two or three words.
fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Failed => "运行失败",
        Kind::Incomplete => "有店铺未抓全",
        Kind::Quota => "调用配额",
        Kind::Denied => "账号被拒",
        Kind::Held => "暂缓发布",
        Kind::Published => "已发布",
        Kind::Watch => "监控",
        Kind::WatchFailed => "监控查询失败",
        Kind::Test => "测试",
    }
}

fn used(quota: &Quota) -> String {
    let Quota { account, scope, used, calls_per_day } = quota;
    let scope = if scope.is_empty() { String::new() } else { format!("（{}）", cell(scope)) };
    match calls_per_day {
        Some(allowed) => {
            let left = allowed.saturating_sub(*used);
            format!("账号 {account}{scope}：今日已用 {used} / {allowed} 次，剩 {left} 次。")
        }
        None => format!("账号 {account}{scope}：今日已用 {used} 次。"),
    }
}

fn shop(shop: &Shop) -> String {
    let reason = cell(&shop.reason);
    match (&shop.shop_name, shop.shop_id.as_str()) {
        (Some(name), _) => format!("- **{}**：{reason}", cell(name)),
        (None, "") => format!("- {reason}"),
        (None, id) => format!("- **{}**：{reason}", cell(id)),
    }
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A value from outside: one line of letters that mean nothing but themselves.
fn cell(value: &str) -> String {
    plain(value, CELL_LENGTH_MAX)
}

fn text(value: &str) -> String {
    plain(value, TEXT_LENGTH_MAX)
}

/// Letters that would begin a link, a mention, a tag or a format are written in their wide form; what turns the
/// direction of writing or hides is left out.
fn plain(value: &str, length_max: usize) -> String {
    let mut letters = value.trim().chars().filter(|letter| !is_unseen(*letter));
    let mut plain: String = letters.by_ref().take(length_max).map(harmless).collect();
    if letters.next().is_some() {
        plain.push('…');
    }
    plain
}

fn is_unseen(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn harmless(letter: char) -> char {
    match letter {
        '<' => '＜',
        '>' => '＞',
        '[' => '［',
        ']' => '］',
        '*' => '＊',
        '`' => '\'',
        '|' => '｜',
        '~' => '～',
        letter if letter.is_control() => ' ',
        letter => letter,
    }
}

/// The beginning of a text in at most so many bytes, and whether anything is missing.
fn beginning(text: &str, bytes_max: usize) -> (&str, bool) {
    if text.len() <= bytes_max {
        return (text, false);
    }
    let end = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    (&text[..end], true)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate};

    use super::*;
    use crate::alert::Counts;

    fn message(kind: Kind, text: &str) -> Message {
        let dt = NaiveDate::from_ymd_opt(2026, 11, 21);
        Message { dt, ..Message::new(kind, DateTime::UNIX_EPOCH, "nightly", text) }
    }

    fn watch(rows: usize, rows_total: u64, value: &str) -> Message {
        let row = |number: usize| vec![Some(format!("{value}{number}")), Some("9.20".to_owned()), None];
        let columns = ["title", "new_price", "note"].map(str::to_owned).to_vec();
        let rows = (0..rows).map(row).collect();
        let found = WatchRows { name: "降价超过 5%".into(), columns, rows, rows_total };
        Message { watch: Some(found), ..message(Kind::Watch, "") }
    }

    #[test]
    fn a_watch_lists_its_rows_and_says_how_many_there_are() {
        let letter = Letter::of(&watch(2, 37, "马克杯 "));
        assert_eq!(letter.title, "huopan 货盘 · nightly · 2026-11-21 · 降价超过 5%");
        let expected = "**共 37 行**\n\ntitle | new_price | note\n\n1. 马克杯 0 | 9.20 | —\n2. 马克杯 1 | 9.20 | —\n\n\
                        ……另有 35 行未列出（共 37）";
        assert_eq!(letter.markdown(4096), expected);
    }

    #[test]
    fn what_has_no_room_is_left_out_item_by_item_and_counted() {
        let letter = Letter::of(&watch(100, 100, "一只很长的马克杯，带盖子和勺子，礼盒装 "));
        for bytes_max in [300, 1000, 4096] {
            let markdown = letter.markdown(bytes_max);
            assert!(markdown.len() <= bytes_max, "{} of {bytes_max}", markdown.len());
            let listed = markdown.lines().filter(|line| line.contains("马克杯")).count();
            assert!(
                listed > 0 && markdown.ends_with(&format!("……另有 {} 行未列出（共 100）", 100 - listed)),
                "{markdown}"
            );
        }
        assert!(!Letter::of(&watch(100, 100, "")).markdown(12_000).contains("未列出"));
    }

    #[test]
    fn a_text_is_cut_between_letters() {
        let letter = Letter::of(&message(Kind::Failed, &"店铺".repeat(300)));
        for bytes_max in 200..220 {
            let markdown = letter.markdown(bytes_max);
            assert!(markdown.len() <= bytes_max && markdown.ends_with("……消息过长，已截断"), "{markdown}");
        }
        assert!(letter.markdown(12_000).len() > 1700);
    }

    #[test]
    fn every_kind_says_what_it_is_about() {
        let counts = Counts { received: 10, loaded: 8, duplicates: 1, quarantined: 1, carried: 2, calls: 4 };
        let shops = vec![Shop { shop_id: "b2b-1".into(), shop_name: Some("义乌".into()), reason: "page 51".into() }];
        let quota = Quota { account: "main".into(), scope: String::new(), used: 2900, calls_per_day: Some(3000) };
        let cases = [
            (message(Kind::Test, "a test"), "测试", "测试消息：本任务的告警会发到这里。"),
            (
                Message { counts: Some(counts), ..message(Kind::Published, "published") },
                "已发布",
                "入库 8 条，沿用 2 条，隔离 1 条，调用 4 次。",
            ),
            (
                Message { shops: shops.clone(), ..message(Kind::Incomplete, "1 of 2") },
                "有店铺未抓全",
                "1 家店铺没有抓全：\n\n- **义乌**：page 51",
            ),
            (
                Message { shops, ..message(Kind::Held, "run `huopan`") },
                "暂缓发布",
                "数据看起来不对，当天暂不发布，等你确认：\n\nrun 'huopan'\n\n- **义乌**：page 51",
            ),
            (
                Message { quota: vec![quota], ..message(Kind::Quota, "80 %") },
                "调用配额",
                "账号 main：今日已用 2900 / 3000 次，剩 100 次。",
            ),
            (message(Kind::Quota, "blocked until noon"), "调用配额", "blocked until noon"),
            (message(Kind::Denied, "refused"), "账号被拒", "refused"),
            (message(Kind::Failed, "no lake"), "运行失败", "no lake"),
        ];
        for (message, head, expected) in cases {
            let letter = Letter::of(&message);
            assert_eq!(letter.title, format!("huopan 货盘 · nightly · 2026-11-21 · {head}"));
            assert_eq!(letter.markdown(4096), expected);
        }
    }

    #[test]
    fn a_title_from_outside_links_and_mentions_nobody() {
        let evil = "<at id=all></at>[便宜](http://x) **a** `b` <@all>\n# c \u{202e}";
        let markdown = Letter::of(&watch(1, 1, evil)).markdown(4096);
        let row = markdown.lines().last().unwrap();
        assert!(!row.contains(['<', '>', '[', ']', '*', '`', '\u{202e}']), "{row}");
        assert!(row.starts_with("1. ＜at id=all＞＜/at＞［便宜］(http://x)"), "{row}");
    }
}
