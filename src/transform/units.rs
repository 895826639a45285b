//! The sale unit of an offer and every statement about its packs (WIRE §5 "Units").
//!
//! Invariant: titles and attributes are searched only where a unit in question may be a pack.

use std::borrow::Cow;

use crate::base::json::Raw;

use super::fields::{OfferField, OfferFields};
use super::lex::{Lexeme, Sign, Token, lex};
use super::number::Decimal;
use super::offer::{Scratch, Text, UnitSource};
use super::pack::{self, Known, PackSource, Pieces, Statement, Subject};
use super::quantity::{self, Reading, StatedUnit};
use super::rules::Rules;
use super::text;
use super::tiers::SaleUnit;
use super::unit::{Single, UnitId, UnitKind};

/// The sale unit as stated.
#[derive(Debug, Clone)]
pub(super) struct Stated<'a> {
    pub(super) name: Text<'a>,
    pub(super) id: Option<UnitId>,
    pub(super) times: i64,
    pub(super) source: UnitSource,
}

/// The texts a sale unit may stand in, already read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Readings {
    pub(super) ladder: StatedUnit,
    pub(super) moq: Option<Reading>,
    pub(super) stock: Option<Reading>,
}

/// The first that is stated: `sellunit`, `unit`, the ladder's bounds, the MOQ's text, the definition's default.
/// Never the stock text.
pub(super) fn sale_unit<'a>(
    fields: &OfferFields<'a>,
    rules: &Rules,
    readings: &Readings,
    scratch: &mut Scratch,
) -> Stated<'a> {
    for (field, source) in [(OfferField::SaleUnit, UnitSource::SaleUnit), (OfferField::Unit, UnitSource::Unit)] {
        let named = fields.get(field).and_then(text::raw_text).and_then(|text| named(text, rules, scratch));
        if let Some((name, id, times)) = named {
            return Stated { name: Some(name), id, times, source };
        }
    }
    let by_id = |id, source| Stated { name: Some(rules.units.name(id).clone()), id: Some(id), times: 1, source };
    if let StatedUnit::Known(id) = readings.ladder {
        return by_id(id, UnitSource::Ladder);
    }
    if let Some(StatedUnit::Known(id)) = readings.moq.map(|reading| reading.unit) {
        return by_id(id, UnitSource::Moq);
    }
    match &rules.default_unit {
        Some(name) => match rules.units.find(name) {
            Some(id) => by_id(id, UnitSource::Default),
            None => Stated { name: Some(Cow::Owned(name.clone())), id: None, times: 1, source: UnitSource::Default },
        },
        None => Stated { name: None, id: None, times: 1, source: UnitSource::None },
    }
}

/// A unit field: `箱`, `元/件`, `1件`, `千个`, `箱(24件)`, or a word the table does not have.
fn named<'a>(text: Cow<'a, str>, rules: &Rules, scratch: &mut Scratch) -> Option<(Cow<'a, str>, Option<UnitId>, i64)> {
    if let Some(id) = rules.units.find(&text) {
        return Some((text, Some(id), 1));
    }
    lex(&text, &rules.units, &mut scratch.lexemes);
    let lexemes = match scratch.lexemes.as_slice() {
        [
            Lexeme { token: Token::Sign(Sign::YuanWord), .. },
            Lexeme { token: Token::Sign(Sign::Slash), .. },
            rest @ ..,
        ] => rest,
        lexemes => lexemes,
    };
    let table_name = |id: UnitId| rules.units.name(id).clone();
    match lexemes {
        [Lexeme { token: Token::Unit(id), .. }] => Some((table_name(*id), Some(*id), 1)),
        [Lexeme { token: Token::Number(Some(number)), .. }, Lexeme { token: Token::Unit(id), .. }] => {
            let times = number.integer().filter(|times| (1..=1_000_000).contains(times))?;
            let name = if times == 1 { table_name(*id) } else { text };
            Some((name, Some(*id), times))
        }
        [Lexeme { token: Token::Unit(id), .. }, Lexeme { token: Token::Sign(Sign::Open), .. }, ..] => {
            let id = *id;
            scan(&format!("1{text}"), PackSource::Attribute, rules, scratch);
            Some((table_name(id), Some(id), 1))
        }
        _ if lexemes.iter().any(|lexeme| lexeme.token == Token::Word) => Some((text, None, 1)),
        _ => None,
    }
}

fn scan(text: &str, source: PackSource, rules: &Rules, scratch: &mut Scratch) {
    lex(text, &rules.units, &mut scratch.lexemes);
    pack::scan(&mut scratch.lexemes, source, &rules.units, &mut scratch.statements);
}

/// Collects what the title, the attributes and `batchNumber` say, where it may matter.
pub(super) fn collect_statements(
    fields: &OfferFields<'_>,
    rules: &Rules,
    stated: &Stated<'_>,
    readings: &Readings,
    scratch: &mut Scratch,
) {
    if stated.source == UnitSource::SaleUnit {
        batch_number(fields, rules, stated, scratch);
    }
    let of_reading = |reading: Option<Reading>| reading.and_then(|reading| reading.unit.known());
    let wanted = [stated.id, readings.ladder.known(), of_reading(readings.moq), of_reading(readings.stock)];
    let open = |unit: &UnitId| {
        !matches!(rules.units.kind(*unit), UnitKind::NotCountable | UnitKind::Pieces { single: Single::Yes, .. })
    };
    if !wanted.iter().flatten().any(open) {
        return;
    }
    if let Some(raw) = fields.get(OfferField::Pack) {
        pack_field(raw, rules, scratch);
    }
    if let Some(raw) = fields.get(OfferField::Attributes) {
        rules.attributes.visit(raw, &mut |name, value| attribute(&name, &value, rules, scratch));
    }
    if let Some(title) = fields.get(OfferField::Title).and_then(text::raw_text) {
        let inner_pack = |statement: &Statement| rules.units.kind(statement.of) == UnitKind::Pack;
        let names = wanted.iter().flatten().filter(|unit| open(unit)).map(|unit| rules.units.name(*unit).as_ref());
        let may_state = scratch.statements.iter().any(inner_pack)
            || names.chain(["装"]).any(|name| memchr::memmem::find(title.as_bytes(), name.as_bytes()).is_some());
        if may_state {
            scan(&title, PackSource::Title, rules, scratch);
        }
    }
}

/// 1 `sellunit` = `batchNumber` × `unit`.
fn batch_number(fields: &OfferFields<'_>, rules: &Rules, stated: &Stated<'_>, scratch: &mut Scratch) {
    let number = fields.get(OfferField::BatchNumber).and_then(text::raw_text);
    let count = number.and_then(|number| quantity::plain(&number)).filter(|count| *count > 0);
    let unit = fields.get(OfferField::Unit).and_then(text::raw_text);
    let of = unit.as_deref().or(rules.default_unit.as_deref()).and_then(|unit| rules.units.find(unit));
    if let (Some(count), Some(of)) = (count, of)
        && stated.id != Some(of)
    {
        scratch.statements.push(Statement { subject: Subject::SaleUnit, count, of, source: PackSource::BatchNumber });
    }
}

/// A field of its own: `24`, `24件`, `24件/箱`.
fn pack_field(raw: Raw<'_>, rules: &Rules, scratch: &mut Scratch) {
    if let Some(text) = text::raw_text(raw) {
        sized(Subject::SaleUnit, &text, rules, scratch);
    }
}

/// Names of attributes that give the size of a carton.
const CARTON_LABELS: &[&str] = &[
    "箱规",
    "装箱数",
    "装箱数量",
    "装箱量",
    "装箱规格",
    "箱装数",
    "箱装数量",
    "箱入数",
    "整箱数量",
    "外箱数量",
    "外箱装量",
];

/// `箱规: 24件`, `每盒数量: 12`, `包装规格: 24包/箱`.
fn attribute(name: &str, value: &str, rules: &Rules, scratch: &mut Scratch) {
    let unit_after_each = name.strip_prefix('每').and_then(|rest| rules.units.at_start(rest)).map(|(unit, _)| unit);
    let carton = || CARTON_LABELS.contains(&name).then(|| rules.units.find("箱")).flatten();
    if let Some(unit) = unit_after_each.or_else(carton) {
        if lexes_with_pack(value, rules, scratch) {
            scan(&format!("箱规:{value}"), PackSource::Attribute, rules, scratch);
        } else {
            sized(Subject::Unit(unit), value, rules, scratch);
        }
    } else if name.contains(['装', '规', '箱', '每', '量']) {
        scan(value, PackSource::Attribute, rules, scratch);
    }
}

/// Whether a value names the pack it is per: `40本/件`.
fn lexes_with_pack(value: &str, rules: &Rules, scratch: &mut Scratch) -> bool {
    lex(value, &rules.units, &mut scratch.lexemes);
    scratch.lexemes.iter().any(|lexeme| lexeme.token == Token::Sign(Sign::Slash))
}

/// A size whose pack is known: a bare number counts pieces; a text may also hold a whole statement.
fn sized(subject: Subject, value: &str, rules: &Rules, scratch: &mut Scratch) {
    lex(value, &rules.units, &mut scratch.lexemes);
    let (count, of) = match scratch.lexemes.as_slice() {
        [Lexeme { token: Token::Number(count), .. }] => (*count, rules.units.find("个")),
        [Lexeme { token: Token::Number(count), .. }, Lexeme { token: Token::Unit(of), .. }] => (*count, Some(*of)),
        _ => {
            pack::scan(&mut scratch.lexemes, PackSource::Attribute, &rules.units, &mut scratch.statements);
            return;
        }
    };
    let count = count.and_then(Decimal::integer).filter(|count| (1..=i64::from(i32::MAX)).contains(count));
    if let (Some(count), Some(of)) = (count, of) {
        scratch.statements.push(Statement { subject, count, of, source: PackSource::Attribute });
    }
}

/// The sale unit with its pieces, and who says so.
pub(super) fn resolve(stated: &Stated<'_>, known: &Known<'_>) -> (SaleUnit, PackSource) {
    let unit = SaleUnit { id: stated.id, times: stated.times, pieces: Pieces::UnknownUnit };
    if stated.name.is_none() {
        return (unit, PackSource::None);
    }
    let pieces = match known.pieces(stated.id) {
        Pieces::Known { count, source } => {
            match count.checked_mul(stated.times).filter(|count| i32::try_from(*count).is_ok()) {
                Some(count) => Pieces::Known { count, source },
                None => Pieces::UnknownPack,
            }
        }
        other => other,
    };
    let source = match pieces {
        Pieces::Known { source: PackSource::UnitTable, .. } if stated.source == UnitSource::Default => {
            PackSource::Config
        }
        Pieces::Known { source, .. } => source,
        Pieces::Conflict => PackSource::Conflict,
        Pieces::UnknownPack | Pieces::NotCountable | Pieces::UnknownUnit => PackSource::None,
    };
    (SaleUnit { pieces, ..unit }, source)
}
