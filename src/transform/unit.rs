//! The unit table: how many pieces one unit of a text is (WIRE §3).
//!
//! Takes the pipeline's changes of the table; gives units found at the start of a text, the longest first.
//!
//! Invariant: a pack unit has no number of pieces here; only a statement can give it one.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// How a unit becomes pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitKind {
    /// This many pieces, by its nature (件, 双, 打).
    Pieces {
        /// In one unit, at least 1.
        count: i64,
        /// Whether this is a single piece, so that no statement of a seller can make it more.
        single: Single,
    },
    /// A pack: as many as a statement says, else unknown.
    Pack,
    /// A weight, length, area or volume: never pieces.
    NotCountable,
    /// Not in the table.
    Unknown,
}

/// Whether a unit with a fixed number of pieces is the piece itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Single {
    /// The class "piece": 件 is never a carton unless the pipeline says so.
    Yes,
    /// Sale units (双, 套) and fixed ones (打): a statement that says otherwise is a conflict.
    No,
}

/// A unit of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitId(u16);

/// The table, with the pipeline's changes.
#[derive(Debug, Clone)]
pub struct UnitTable {
    /// In byte order of the names, so that units with the same start stand together.
    entries: Vec<Entry>,
    /// By a hash of the first character: the entries that start with it.
    by_first_character: Box<[Slot; SLOTS]>,
}

/// A place of an open-addressed table; empty where no entry is.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    character: char,
    from: u16,
    to: u16,
}

const SLOTS: usize = 256;
/// At most half the places are taken, so that a search ends soon.
const FIRST_CHARACTERS_MAX: usize = SLOTS / 2;

#[inline]
fn slot_of(character: char) -> usize {
    (u32::from(character).wrapping_mul(0x9E37_79B1) >> 24) as usize
}

#[derive(Debug, Clone)]
struct Entry {
    name: Cow<'static, str>,
    kind: UnitKind,
}

const PIECE: &[&str] = &[
    "件", "个", "只", "支", "枝", "条", "根", "张", "片", "枚", "颗", "粒", "块", "把", "顶", "台", "部", "架", "辆",
    "本", "册", "瓶", "罐", "桶", "听", "面", "pcs", "Pcs", "PCS", "piece", "Piece", "PIECE", "pieces", "Pieces",
    "PIECES",
];
const SALE_UNIT: &[&str] = &["双", "副", "对", "套", "组"];
const FIXED: &[(&str, i64)] = &[("打", 12), ("半打", 6), ("罗", 144)];
const PACK: &[&str] = &["箱", "包", "盒", "袋", "捆", "扎", "手", "卡", "板", "卷", "盘", "筒", "托"];
const NOT_COUNTABLE: &[&str] =
    &["克", "千克", "公斤", "斤", "两", "吨", "毫米", "厘米", "米", "码", "平方米", "立方米", "毫升", "升"];

impl UnitTable {
    /// The table of WIRE §3, changed by `pieces`: a number of pieces, or `None` for "a pack of stated size only".
    #[must_use]
    pub fn new(pieces: &BTreeMap<String, Option<u32>>) -> Self {
        let mut units: BTreeMap<Cow<'static, str>, UnitKind> = BTreeMap::new();
        let fixed = |count, single| UnitKind::Pieces { count, single };
        units.extend(PIECE.iter().map(|name| (Cow::Borrowed(*name), fixed(1, Single::Yes))));
        units.extend(SALE_UNIT.iter().map(|name| (Cow::Borrowed(*name), fixed(1, Single::No))));
        units.extend(FIXED.iter().map(|(name, count)| (Cow::Borrowed(*name), fixed(*count, Single::No))));
        units.extend(PACK.iter().map(|name| (Cow::Borrowed(*name), UnitKind::Pack)));
        units.extend(NOT_COUNTABLE.iter().map(|name| (Cow::Borrowed(*name), UnitKind::NotCountable)));
        for (name, count) in pieces {
            let kind = match count {
                Some(1) => fixed(1, Single::Yes),
                Some(count) if *count > 0 => fixed(i64::from(*count), Single::No),
                _ => UnitKind::Pack,
            };
            if !name.is_empty() {
                units.insert(Cow::Owned(name.clone()), kind);
            }
        }
        let entries: Vec<Entry> = units.into_iter().map(|(name, kind)| Entry { name, kind }).collect();
        let mut table = Self { entries, by_first_character: Box::new([Slot::default(); SLOTS]) };
        table.index();
        table
    }

    fn index(&mut self) {
        let mut known = 0;
        for (index, entry) in (0_u16..).zip(&self.entries) {
            let Some(character) = entry.name.chars().next() else { continue };
            let mut at = slot_of(character);
            while self.by_first_character[at].to > 0 && self.by_first_character[at].character != character {
                at = (at + 1) % SLOTS;
            }
            let slot = &mut self.by_first_character[at];
            if slot.to == 0 {
                if known == FIRST_CHARACTERS_MAX {
                    continue;
                }
                known += 1;
                *slot = Slot { character, from: index, to: index };
            }
            slot.to = index + 1;
        }
    }

    /// The entries that start with `character`: an empty slot if there are none.
    #[inline]
    fn slot(&self, character: char) -> Slot {
        let mut at = slot_of(character);
        loop {
            let slot = self.by_first_character[at];
            if slot.to == 0 || slot.character == character {
                return slot;
            }
            at = (at + 1) % SLOTS;
        }
    }

    /// The longest unit that `text` starts with, and its length in bytes.
    #[inline]
    #[must_use]
    pub fn at_start(&self, text: &str) -> Option<(UnitId, usize)> {
        let bytes = text.as_bytes();
        let slot = self.slot(text.chars().next()?);
        let (from, to) = (slot.from, slot.to);
        let mut best = None;
        for index in from..to {
            let name = self.entries[usize::from(index)].name.as_bytes();
            if bytes.starts_with(name) && best.is_none_or(|(_, length)| name.len() > length) {
                best = Some((UnitId(index), name.len()));
            }
        }
        best
    }

    /// The unit that is exactly `text`.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<UnitId> {
        self.at_start(text).filter(|(_, length)| *length == text.len()).map(|(unit, _)| unit)
    }

    /// How it becomes pieces.
    #[inline]
    #[must_use]
    pub fn kind(&self, unit: UnitId) -> UnitKind {
        self.entries[usize::from(unit.0)].kind
    }

    /// All units with how they become pieces, by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, UnitKind)> {
        self.entries.iter().map(|entry| (entry.name.as_ref(), entry.kind))
    }

    /// Its name: `Borrowed` for units of the built-in table.
    #[must_use]
    pub fn name(&self, unit: UnitId) -> &Cow<'static, str> {
        &self.entries[usize::from(unit.0)].name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, name: Option<&str>) {
        let table = UnitTable::new(&BTreeMap::new());
        assert_eq!(table.at_start(text).map(|(unit, _)| table.name(unit).as_ref()), name, "{text}");
    }

    fn kind(name: &str) -> UnitKind {
        let table = UnitTable::new(&BTreeMap::new());
        table.find(name).map_or(UnitKind::Unknown, |unit| table.kind(unit))
    }

    #[test]
    fn every_unit_has_the_class_of_the_table() {
        for name in
            "件 个 只 支 枝 条 根 张 片 枚 颗 粒 块 把 顶 台 部 架 辆 本 册 瓶 罐 桶 听 面 pcs piece pieces".split(' ')
        {
            assert_eq!(kind(name), UnitKind::Pieces { count: 1, single: Single::Yes }, "{name}");
        }
        for name in "双 副 对 套 组".split(' ') {
            assert_eq!(kind(name), UnitKind::Pieces { count: 1, single: Single::No }, "{name}");
        }
        for (name, count) in [("打", 12), ("半打", 6), ("罗", 144)] {
            assert_eq!(kind(name), UnitKind::Pieces { count, single: Single::No }, "{name}");
        }
        for name in "箱 包 盒 袋 捆 扎 手 卡 板 卷 盘 筒 托".split(' ') {
            assert_eq!(kind(name), UnitKind::Pack, "{name}");
        }
        for name in "克 千克 公斤 斤 两 吨 毫米 厘米 米 码 平方米 立方米 毫升 升".split(' ') {
            assert_eq!(kind(name), UnitKind::NotCountable, "{name}");
        }
        assert_eq!(kind("份"), UnitKind::Unknown);
    }

    #[test]
    fn the_longest_unit_at_a_place_counts() {
        check("半打起批", Some("半打"));
        check("千克", Some("千克"));
        check("pieces", Some("pieces"));
        check("平方米", Some("平方米"));
        check("款", None);
        check("", None);
    }

    #[test]
    fn a_pipeline_changes_the_table() {
        let table = UnitTable::new(&BTreeMap::from([
            ("件".to_owned(), None),
            ("双".to_owned(), Some(2)),
            ("份".to_owned(), Some(1)),
        ]));
        let kind = |name| table.find(name).map(|unit| table.kind(unit));
        assert_eq!(kind("件"), Some(UnitKind::Pack));
        assert_eq!(kind("双"), Some(UnitKind::Pieces { count: 2, single: Single::No }));
        assert_eq!(kind("份"), Some(UnitKind::Pieces { count: 1, single: Single::Yes }));
    }
}
