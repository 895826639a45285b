//! Free text as a row of numbers, units and the few signs that quantities, packs and ladders are made of.
//!
//! Takes a text; gives lexemes with their places in it. Everything else is a [`Token::Word`], so that the
//! readers above ask for short patterns of lexemes and never for characters.
//!
//! Invariant: lexemes follow each other, lie on character boundaries and leave out only white space.

use super::number::{self, Decimal};
use super::unit::{UnitId, UnitTable};

/// One lexeme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lexeme {
    /// What it is.
    pub token: Token,
    /// Where it starts, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// What a lexeme is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// A number; `None`: one without a value.
    Number(Option<Decimal>),
    /// A unit of the table.
    Unit(UnitId),
    /// A sign or a word with a meaning of its own.
    Sign(Sign),
    /// Part of a statement of a pack size, so no quantity of its own.
    Stated,
    /// Anything else.
    Word,
}

/// Signs and words with a meaning of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// `/` `／`
    Slash,
    /// `=` `＝`
    Equals,
    /// `:` `：`
    Colon,
    /// `(` `（` `[` `【`
    Open,
    /// `)` `）` `]` `】`
    Close,
    /// `~ ～ 〜 - – — － 至 到`
    Range,
    /// `x × * X ＊`
    Times,
    /// `+` `＋`
    Plus,
    /// `%` `％`
    Percent,
    /// `≥ ≧ >= >`, with whether the bound itself is out.
    AtLeast(Bound),
    /// `≤ ≦ <= <`
    AtMost(Bound),
    /// 以上, 及以上
    OrMore,
    /// 起, 起批, 起订, 起售, 起购, 起拿
    From,
    /// 倍数, 的倍数, 倍
    Multiple,
    /// `¥ ￥`, RMB, CNY
    Yuan,
    /// `$`, USD
    Dollar,
    /// 元
    YuanWord,
    /// 每
    Each,
    /// 装
    Packed,
    /// 箱规, 装箱数, 装箱量, 箱装数
    CartonSize,
    /// 含 有 共 内 数量: between a pack and its size
    Filler,
    /// 约 近 大约: what follows is not exact
    About,
    /// 全网: platform-wide
    Platform,
    /// 已售 成交 销量 售出
    Sold,
    /// `, ， 、 ; ；` and line breaks
    Comma,
}

/// Whether a bound belongs to what it bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// `≥`
    Closed,
    /// `>`
    Open,
}

/// Splits `text` into `out`, which is cleared first.
pub fn lex(text: &str, units: &UnitTable, out: &mut Vec<Lexeme>) {
    out.clear();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else { break };
        if first.is_whitespace() && first != '\n' {
            at += first.len_utf8();
            continue;
        }
        let previous = out.last().filter(|last| last.end == at).map(|last| last.token);
        let (token, length) = one(rest, first, previous, units);
        // 半打 without a number is one 半打.
        if first == '半' && matches!(token, Token::Unit(_)) && !matches!(previous, Some(Token::Number(_))) {
            let middle = at + first.len_utf8();
            out.push(Lexeme { token: Token::Number(Some(Decimal::whole(1))), start: at, end: middle });
            out.push(Lexeme { token, start: middle, end: at + length });
            at += length;
            continue;
        }
        match out.last_mut() {
            Some(last) if token == Token::Word && last.token == Token::Word && last.end == at => last.end = at + length,
            _ => out.push(Lexeme { token, start: at, end: at + length }),
        }
        at += length;
    }
}

/// The lexeme that starts `rest`; `previous` is the one it is glued to.
#[inline]
fn one(rest: &str, first: char, previous: Option<Token>, units: &UnitTable) -> (Token, usize) {
    if first.is_ascii_alphabetic() {
        return letters(rest, previous, units);
    }
    let unit = units.at_start(rest).filter(|_| first != '两' || matches!(previous, Some(Token::Number(_))));
    if let Some((unit, length)) = unit {
        // 箱规 and 箱装数 are words of their own.
        if first == '箱'
            && let Some((sign, length)) = sign(rest, first)
        {
            return (Token::Sign(sign), length);
        }
        return (Token::Unit(unit), length);
    }
    if let Some(found) = number::at_start(rest, units) {
        return (Token::Number(found.value), found.length);
    }
    if let Some((sign, length)) = sign(rest, first) {
        return (Token::Sign(sign), length);
    }
    // 两 on its own: the weight.
    if let Some((unit, length)) = units.at_start(rest) {
        return (Token::Unit(unit), length);
    }
    (Token::Word, first.len_utf8())
}

/// The sign that starts `rest`, of two that start alike the longer, and its length in bytes.
fn sign(rest: &str, first: char) -> Option<(Sign, usize)> {
    let bytes = rest.as_bytes();
    let longer = |text: &str| bytes.starts_with(text.as_bytes());
    let width = first.len_utf8();
    let bound =
        |closed: usize| if longer(">=") || longer("<=") { (Bound::Closed, closed) } else { (Bound::Open, width) };
    let found = match first {
        '>' | '＞' => (Sign::AtLeast(bound(2).0), bound(2).1),
        '<' | '＜' => (Sign::AtMost(bound(2).0), bound(2).1),
        '≥' | '≧' => (Sign::AtLeast(Bound::Closed), width),
        '≤' | '≦' => (Sign::AtMost(Bound::Closed), width),
        '/' | '／' => (Sign::Slash, width),
        '=' | '＝' => (Sign::Equals, width),
        ':' | '：' => (Sign::Colon, width),
        '(' | '（' | '[' | '【' => (Sign::Open, width),
        ')' | '）' | ']' | '】' => (Sign::Close, width),
        '—' if longer("——") => (Sign::Range, 2 * width),
        '~' | '～' | '〜' | '—' | '–' | '-' | '－' | '至' | '到' => (Sign::Range, width),
        '×' | '*' | '＊' => (Sign::Times, width),
        '+' | '＋' => (Sign::Plus, width),
        '%' | '％' => (Sign::Percent, width),
        '及' if longer("及以上") => (Sign::OrMore, 3 * width),
        '以' if longer("以上") => (Sign::OrMore, 2 * width),
        '起' if ["批", "订", "售", "购", "拿"].iter().any(|next| rest[width..].starts_with(next)) => {
            (Sign::From, 2 * width)
        }
        '起' => (Sign::From, width),
        '的' if longer("的倍数") => (Sign::Multiple, 3 * width),
        '倍' => (Sign::Multiple, width),
        '¥' | '￥' => (Sign::Yuan, width),
        '$' => (Sign::Dollar, width),
        '元' => (Sign::YuanWord, width),
        '每' => (Sign::Each, width),
        '箱' if longer("箱规") => (Sign::CartonSize, 2 * width),
        '箱' if longer("箱装数") => (Sign::CartonSize, 3 * width),
        '装' if longer("装箱数量") => (Sign::CartonSize, 4 * width),
        '装' if longer("装箱数") || longer("装箱量") => (Sign::CartonSize, 3 * width),
        '装' => (Sign::Packed, width),
        '数' if longer("数量") => (Sign::Filler, 2 * width),
        '含' | '有' | '共' | '内' => (Sign::Filler, width),
        '大' if longer("大约") => (Sign::About, 2 * width),
        '约' | '近' => (Sign::About, width),
        '全' if longer("全网") => (Sign::Platform, 2 * width),
        '已' if longer("已售") => (Sign::Sold, 2 * width),
        '成' if longer("成交") => (Sign::Sold, 2 * width),
        '销' if longer("销量") => (Sign::Sold, 2 * width),
        '售' if longer("售出") => (Sign::Sold, 2 * width),
        ',' | '，' | '、' | ';' | '；' | '\n' => (Sign::Comma, width),
        _ => return None,
    };
    Some(found)
}

/// A run of letters: a unit (`pcs`), a currency, the `x` of `1x24`, else a word with the digits glued to it
/// (`D7500`, `Z6`), which are no quantities.
fn letters(rest: &str, previous: Option<Token>, units: &UnitTable) -> (Token, usize) {
    let bytes = rest.as_bytes();
    let glued_to_quantity = matches!(previous, Some(Token::Number(_) | Token::Unit(_)));
    if glued_to_quantity && matches!(bytes, [b'x' | b'X', b'0'..=b'9', ..]) {
        return (Token::Sign(Sign::Times), 1);
    }
    let run = bytes.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let word = &rest[..run];
    if let Some(unit) = units.find(word) {
        return (Token::Unit(unit), run);
    }
    match word {
        "RMB" | "CNY" => return (Token::Sign(Sign::Yuan), run),
        "USD" | "US" if rest[run..].starts_with('$') => return (Token::Sign(Sign::Dollar), run + 1),
        "USD" => return (Token::Sign(Sign::Dollar), run),
        _ => {}
    }
    let word = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    (Token::Word, word)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn show(text: &str) -> String {
        let units = UnitTable::new(&BTreeMap::new());
        let mut lexemes = Vec::new();
        lex(text, &units, &mut lexemes);
        let show = |lexeme: &Lexeme| match lexeme.token {
            Token::Number(value) => value.and_then(Decimal::integer).map_or("N?".to_owned(), |value| value.to_string()),
            Token::Unit(unit) => units.name(unit).to_string(),
            Token::Sign(sign) => format!("{sign:?}"),
            Token::Stated => String::new(),
            Token::Word => format!("'{}'", &text[lexeme.start..lexeme.end]),
        };
        lexemes.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn texts_become_numbers_units_and_signs() {
        for (text, expected) in [
            ("10件起批", "10 件 From"),
            ("2 箱（24件/箱）", "2 箱 Open 24 件 Slash 箱 Close"),
            ("１０－２０件", "10 Range 20 件"),
            ("1x24包", "1 Times 24 包"),
            ("D7500个", "'D7500' 个"),
            ("37L", "37 'L'"),
            ("10pcs/包", "10 pcs Slash 包"),
            ("5两", "5 两"),
            ("两打", "2 打"),
            ("半打", "1 半打"),
            ("2半打", "2 半打"),
            ("一千克", "1 千克"),
            ("箱规 40本/件", "CartonSize 40 本 Slash 件"),
            ("RMB12", "Yuan 12"),
            (">=1000", "AtLeast(Closed) 1000"),
            ("100件以上", "100 件 OrMore"),
            ("10的倍数下单", "10 Multiple '下单'"),
        ] {
            assert_eq!(show(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn lexemes_lie_in_order_on_character_boundaries(text in "\\PC{0,40}") {
            let units = UnitTable::new(&BTreeMap::new());
            let mut lexemes = Vec::new();
            lex(&text, &units, &mut lexemes);
            let mut end = 0;
            for lexeme in lexemes {
                prop_assert!(lexeme.start >= end && lexeme.end > lexeme.start);
                prop_assert!(text.get(lexeme.start..lexeme.end).is_some());
                prop_assert!(text[end..lexeme.start].chars().all(char::is_whitespace));
                end = lexeme.end;
            }
        }
    }
}
