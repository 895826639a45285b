//! How many pieces a pack holds, from what the seller says (WIRE §3, §5 "Units").
//!
//! Takes the texts of an offer as lexemes; gives statements (`24件/箱`: 24 件 in one 箱), and from all of them
//! the pieces of one unit.
//!
//! Invariant: a pack size is stated or unknown, never assumed; two that disagree are a conflict.

use super::lex::{Lexeme, Sign, Token};
use super::unit::{Single, UnitId, UnitKind, UnitTable};

/// Where a pack size was stated, in order of precedence when several agree (TABLES.md `pack_source`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackSource {
    /// The unit itself: 件, 双, 打.
    UnitTable,
    /// The text of the MOQ.
    MoqText,
    /// The text of the stock.
    StockText,
    /// The title.
    Title,
    /// An attribute (箱规) or a field of its own.
    Attribute,
    /// `batchNumber`.
    BatchNumber,
    /// The pipeline, or the definition's default unit.
    Config,
    /// Nowhere.
    None,
    /// Two statements disagree.
    Conflict,
}

impl PackSource {
    /// All of them, in order of precedence.
    pub const ALL: &[PackSource] = &[
        PackSource::UnitTable,
        PackSource::MoqText,
        PackSource::StockText,
        PackSource::Title,
        PackSource::Attribute,
        PackSource::BatchNumber,
        PackSource::Config,
        PackSource::None,
        PackSource::Conflict,
    ];

    /// Its name in the tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            PackSource::UnitTable => "unit_table",
            PackSource::MoqText => "moq_text",
            PackSource::StockText => "stock_text",
            PackSource::Title => "title",
            PackSource::Attribute => "attribute",
            PackSource::BatchNumber => "batch_number",
            PackSource::Config => "config",
            PackSource::None => "none",
            PackSource::Conflict => "conflict",
        }
    }
}

/// The pack a statement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// This unit.
    Unit(UnitId),
    /// The offer's sale unit, whichever it is (`24支装`).
    SaleUnit,
}

/// One statement: one `subject` holds `count` × `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    /// The pack.
    pub subject: Subject,
    /// How many, at least 1.
    pub count: i64,
    /// Of what.
    pub of: UnitId,
    /// Who says so.
    pub source: PackSource,
}

/// The pieces of one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pieces {
    /// This many.
    Known {
        /// At least 1, and within the column's 32 bits.
        count: i64,
        /// The first source that says so.
        source: PackSource,
    },
    /// A pack of unknown size.
    UnknownPack,
    /// Two statements disagree.
    Conflict,
    /// A weight, length, area or volume.
    NotCountable,
    /// No unit, or none that is known.
    UnknownUnit,
}

/// Pack sizes past this are slips of the keyboard, not packs; the column has 32 bits.
const COUNT_MAX: i64 = i32::MAX as i64;
/// 托 → 箱 → 包 → 个: longer chains are not followed.
const CHAIN_MAX: u32 = 4;

/// Finds the statements in `lexemes`, adds them to `found` and marks what they are made of, so that `24件` of
/// `2箱(24件/箱)` is not read as a quantity.
pub fn scan(lexemes: &mut [Lexeme], source: PackSource, units: &UnitTable, found: &mut Vec<Statement>) {
    let mut at = 0;
    while at < lexemes.len() {
        let hit = Scan { lexemes, units }.at(at);
        let Some(hit) = hit else {
            at += 1;
            continue;
        };
        for part in hit.statements.into_iter().flatten() {
            let statement = Statement { subject: part.subject, count: part.count, of: part.of, source };
            if !found.contains(&statement) {
                found.push(statement);
            }
        }
        for lexeme in &mut lexemes[hit.from..hit.to] {
            lexeme.token = Token::Stated;
        }
        at = hit.next.max(at + 1);
    }
}

/// What was found at a place: up to two statements and the lexemes they use.
struct Hit {
    statements: [Option<Part>; 2],
    from: usize,
    to: usize,
    next: usize,
}

#[derive(Clone, Copy)]
struct Part {
    subject: Subject,
    count: i64,
    of: UnitId,
}

struct Scan<'l> {
    lexemes: &'l [Lexeme],
    units: &'l UnitTable,
}

impl Scan<'_> {
    fn at(&self, at: usize) -> Option<Hit> {
        match self.token(at)? {
            Token::Number(_) => self.per_pack(at).or_else(|| self.one_pack_is(at)),
            Token::Sign(Sign::Each) => self.each(at),
            Token::Sign(Sign::CartonSize) => self.carton_size(at),
            _ => None,
        }
    }

    fn token(&self, at: usize) -> Option<Token> {
        self.lexemes.get(at).map(|lexeme| lexeme.token)
    }

    fn is(&self, at: usize, sign: Sign) -> bool {
        self.token(at) == Some(Token::Sign(sign))
    }

    fn unit(&self, at: usize) -> Option<UnitId> {
        match self.token(at)? {
            Token::Unit(unit) => Some(unit),
            _ => None,
        }
    }

    fn count(&self, at: usize) -> Option<i64> {
        match self.token(at)? {
            Token::Number(value) => value?.integer().filter(|count| (1..=COUNT_MAX).contains(count)),
            _ => None,
        }
    }

    fn glued(&self, at: usize) -> bool {
        at > 0 && self.lexemes.get(at).is_some_and(|lexeme| lexeme.start == self.lexemes[at - 1].end)
    }

    /// `24件`: a count and a unit that are exact; `3件套` is a set and no count.
    fn amount(&self, at: usize) -> Option<(i64, UnitId)> {
        let (count, unit) = (self.count(at)?, self.unit(at + 1)?);
        let set = self.unit(at + 2).is_some_and(|next| self.glued(at + 2) && self.units.name(next) == "套");
        let rough = at > 0
            && match self.token(at - 1)? {
                Token::Sign(Sign::Range | Sign::About | Sign::AtLeast(_) | Sign::AtMost(_)) => true,
                Token::Sign(Sign::Times) => !self.factor_is_harmless(at - 1),
                _ => false,
            };
        (!set && !rough).then_some((count, unit))
    }

    /// Before `×24瓶`: a volume (`500ml`) or a bare 1; any other factor makes the count a part of a product.
    fn factor_is_harmless(&self, times: usize) -> bool {
        match times.checked_sub(1).and_then(|at| self.token(at)) {
            Some(Token::Number(value)) => value.and_then(super::number::Decimal::integer) == Some(1),
            Some(Token::Unit(unit)) => self.units.kind(unit) == UnitKind::NotCountable,
            _ => true,
        }
    }

    /// Whether nothing after an amount says that it is counted per something else.
    fn closes(&self, at: usize) -> bool {
        !matches!(
            self.token(at),
            Some(Token::Sign(Sign::Slash | Sign::Each | Sign::Times | Sign::Range | Sign::Plus | Sign::Packed))
        )
    }

    /// `24件/箱` `24件每箱` `24件一箱` `24支装/盒`, and `24支装` of the sale unit.
    fn per_pack(&self, at: usize) -> Option<Hit> {
        let (count, of) = self.amount(at)?;
        let packed = self.is(at + 2, Sign::Packed);
        let link = at + 2 + usize::from(packed);
        let linked = self.is(link, Sign::Slash)
            || self.is(link, Sign::Each)
            || (self.count(link) == Some(1) && self.glued(link));
        if linked && let Some(pack) = self.unit(link + 1).filter(|pack| *pack != of) {
            return Some(self.hit([Some((Subject::Unit(pack), count, of)), None], at, link + 2));
        }
        // 包装 is a word of its own.
        let plain = packed && self.glued(link - 1) && self.units.name(of) != "包" && self.unit(link).is_none();
        (plain && self.closes(link)).then(|| self.hit([Some((Subject::SaleUnit, count, of)), None], at, link))
    }

    /// `1箱=24件` `2箱=48件` `1箱=10包=240个` `1箱(24件)` `1箱/24件` `1箱装24件` `一包10个` `1包10片装`.
    fn one_pack_is(&self, at: usize) -> Option<Hit> {
        let (packs, pack) = (self.count(at)?, self.unit(at + 1)?);
        if self.is(at + 2, Sign::Equals) {
            return self.equation(at, packs, pack);
        }
        let mut amount = at + 2;
        while matches!(
            self.token(amount),
            Some(Token::Sign(Sign::Open | Sign::Colon | Sign::Slash | Sign::Filler | Sign::Packed))
        ) {
            amount += 1;
        }
        if packs != 1 || (amount == at + 2 && !self.glued(amount)) || amount > at + 5 {
            return None;
        }
        let (count, of) = self.amount(amount).filter(|(_, of)| *of != pack)?;
        let end = amount + 2 + usize::from(self.is(amount + 2, Sign::Packed));
        self.closes(end).then(|| self.hit([Some((Subject::Unit(pack), count, of)), None], at + 2, end))
    }

    fn equation(&self, at: usize, packs: i64, pack: UnitId) -> Option<Hit> {
        let side = |at: usize| -> Option<(Subject, i64, UnitId)> {
            if !self.is(at, Sign::Equals) {
                return None;
            }
            let (count, of) = self.amount(at + 1).filter(|(_, of)| *of != pack)?;
            (count % packs == 0 && self.closes(at + 3)).then_some((Subject::Unit(pack), count / packs, of))
        };
        let first = side(at + 2)?;
        let second = side(at + 5);
        Some(self.hit([Some(first), second], at + 2, if second.is_some() { at + 8 } else { at + 5 }))
    }

    /// `每箱24个` `每箱装24个` `每箱：24个`.
    fn each(&self, at: usize) -> Option<Hit> {
        let pack = self.unit(at + 1)?;
        let amount = self.after_fillers(at + 2);
        let (count, of) = self.amount(amount).filter(|(_, of)| *of != pack)?;
        let end = amount + 2 + usize::from(self.is(amount + 2, Sign::Packed));
        self.closes(end).then(|| self.hit([Some((Subject::Unit(pack), count, of)), None], at, end))
    }

    /// `箱规24个`, and `箱规 40本/件`, where 件 is the carton: said of 箱, and of 件 for pipelines that declare it a pack.
    fn carton_size(&self, at: usize) -> Option<Hit> {
        let carton = self.units.find("箱")?;
        let amount = self.after_fillers(at + 1);
        let (count, of) = self.amount(amount).filter(|(_, of)| *of != carton)?;
        let said = |pack| Some((Subject::Unit(pack), count, of));
        if !self.is(amount + 2, Sign::Slash) {
            return self.closes(amount + 2).then(|| self.hit([said(carton), None], at, amount + 2));
        }
        let pack = self.unit(amount + 3).filter(|pack| *pack != of)?;
        let also = self.units.name(pack) == "件" && pack != carton;
        let statements = if also { [said(carton), said(pack)] } else { [said(pack), None] };
        Some(self.hit(statements, at, amount + 4))
    }

    fn after_fillers(&self, at: usize) -> usize {
        let filler = |at| {
            matches!(
                self.token(at),
                Some(Token::Sign(Sign::Filler | Sign::Packed | Sign::Colon | Sign::Equals | Sign::Open))
            )
        };
        (at..at + 4).find(|at| !filler(*at)).unwrap_or(at + 4)
    }

    fn hit(&self, statements: [Option<(Subject, i64, UnitId)>; 2], from: usize, to: usize) -> Hit {
        let part = |(subject, count, of)| Part { subject, count, of };
        let to = to.min(self.lexemes.len());
        Hit { statements: statements.map(|statement| statement.map(part)), from, to, next: to }
    }
}

/// Everything known about the packs of one offer.
#[derive(Debug, Clone, Copy)]
pub struct Known<'k> {
    /// The table.
    pub units: &'k UnitTable,
    /// What the texts say.
    pub statements: &'k [Statement],
    /// What the pipeline says of this shop or offer: replaces the table's number.
    pub configured: &'k [(UnitId, i64)],
    /// The offer's sale unit, if it is in the table.
    pub sale_unit: Option<UnitId>,
}

impl Known<'_> {
    /// The pieces of one `unit`; `None` is the sale unit that the table does not have.
    #[must_use]
    pub fn pieces(&self, unit: Option<UnitId>) -> Pieces {
        self.resolve(unit, CHAIN_MAX)
    }

    fn resolve(&self, unit: Option<UnitId>, depth: u32) -> Pieces {
        let kind = unit.map_or(UnitKind::Unknown, |unit| self.units.kind(unit));
        if kind == UnitKind::NotCountable {
            return Pieces::NotCountable;
        }
        let mut agreed = Agreement::default();
        let configured = self.configured.iter().find(|(known, _)| Some(*known) == unit);
        match (configured, kind) {
            (Some((_, count)), _) => agreed.add(*count, PackSource::Config),
            (None, UnitKind::Pieces { count, .. }) => agreed.add(count, PackSource::UnitTable),
            (None, _) => {}
        }
        for statement in self.statements.iter().filter(|statement| self.applies(statement, unit, kind)) {
            if depth == 0 {
                return Pieces::UnknownPack;
            }
            match self.resolve(Some(statement.of), depth - 1) {
                Pieces::Known { count, .. } => match count.checked_mul(statement.count) {
                    Some(count) if count <= COUNT_MAX => agreed.add(count, statement.source),
                    _ => {}
                },
                Pieces::Conflict => agreed.disagree = true,
                Pieces::UnknownPack | Pieces::NotCountable | Pieces::UnknownUnit => {}
            }
        }
        match agreed.best {
            _ if agreed.disagree => Pieces::Conflict,
            Some((count, source)) => Pieces::Known { count, source },
            None if kind == UnitKind::Unknown => Pieces::UnknownUnit,
            None => Pieces::UnknownPack,
        }
    }

    fn applies(&self, statement: &Statement, unit: Option<UnitId>, kind: UnitKind) -> bool {
        let official = statement.source == PackSource::BatchNumber;
        let about = match statement.subject {
            Subject::Unit(subject) => Some(subject) == unit,
            Subject::SaleUnit => unit == self.sale_unit && (official || kind == UnitKind::Pack),
        };
        let piece = matches!(kind, UnitKind::Pieces { single: Single::Yes, .. });
        about && Some(statement.of) != unit && (official || !piece)
    }
}

/// What several statements say of one unit together.
#[derive(Default)]
struct Agreement {
    best: Option<(i64, PackSource)>,
    disagree: bool,
}

impl Agreement {
    fn add(&mut self, count: i64, source: PackSource) {
        match self.best {
            Some((known, _)) if known != count => self.disagree = true,
            Some((_, known)) if known <= source => {}
            _ => self.best = Some((count, source)),
        }
    }
}

#[cfg(test)]
mod tests;
