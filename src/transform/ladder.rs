//! Price ladders in every shape that occurs (WIRE §2), as steps in the order received.
//!
//! Takes a JSON value; gives its shape and steps. Nothing is sorted, merged or made up here; what is wrong with a
//! ladder is its [`LadderStatus`].
//!
//! | shape | |
//! |---|---|
//! | list of objects | `{startQuantity,price}` `{begin_num,end_num,price}` `{beginAmount,price}` `{min,max,price}` … |
//! | list of pairs | `[[3,35],[50,30]]` |
//! | text | `2-99:12.50;100-999:11.80;>=1000:10.20` · `` 100:21.33`1000:14.15 `` · `1-49 件 ￥12.5` |
//! | one object, an object around the list, JSON inside a string | as XML and PHP-type services send them |
//! | one price | `9.5`, `"¥10.00"` |
//! | spread | `2.88-25.65`: the range of the SKU prices, no ladder |
//!
//! Invariant: a step without a price or without a readable start is left out and counted.

use crate::base::Money;
use crate::base::json::{self, Kind, Raw};
use crate::base::money::DecimalError;

use super::lex::{Bound, Lexeme, Sign, Token, lex};
use super::price::{self, Price};
use super::quantity::{self, StatedUnit};
use super::unit::UnitTable;

/// One step, as stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// From this quantity on; `None` only where the ladder is one price.
    pub start: Option<i64>,
    /// Up to this quantity, itself included.
    pub end: Option<i64>,
    /// The unit glued to either bound.
    pub unit: StatedUnit,
    /// The price of one sale unit.
    pub price: Money,
}

/// What a ladder value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Nothing, or only prices of 0.
    Missing,
    /// Something without a readable price (面议).
    Unparsable,
    /// A spread of SKU prices.
    Spread {
        /// The lowest.
        low: Money,
        /// The highest.
        high: Money,
    },
    /// One step or more.
    Steps {
        /// Steps without a price or a start.
        left_out: u32,
    },
}

/// What is to be said of a ladder (TABLES.md `ladder_status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LadderStatus {
    /// Several steps without a fault.
    Ok,
    /// One tier, whatever the shape.
    Single,
    /// A start occurs twice.
    DuplicateStart,
    /// Starts do not ascend.
    Unordered,
    /// A stated end reaches into the next step.
    Overlap,
    /// A stated end stops short of the next step, or a step has no price.
    Gap,
    /// A larger quantity costs more.
    Rising,
    /// A spread of SKU prices.
    SkuSpread,
    /// No price could be read.
    Unparsable,
    /// No tiers.
    Missing,
}

impl LadderStatus {
    /// All of them; the faults in the order in which they are looked for.
    pub const ALL: &[LadderStatus] = &[
        LadderStatus::Ok,
        LadderStatus::Single,
        LadderStatus::DuplicateStart,
        LadderStatus::Unordered,
        LadderStatus::Overlap,
        LadderStatus::Gap,
        LadderStatus::Rising,
        LadderStatus::SkuSpread,
        LadderStatus::Unparsable,
        LadderStatus::Missing,
    ];

    /// Its name in the tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LadderStatus::Ok => "ok",
            LadderStatus::Single => "single",
            LadderStatus::DuplicateStart => "duplicate_start",
            LadderStatus::Unordered => "unordered",
            LadderStatus::Overlap => "overlap",
            LadderStatus::Gap => "gap",
            LadderStatus::Rising => "rising",
            LadderStatus::SkuSpread => "sku_spread",
            LadderStatus::Unparsable => "unparsable",
            LadderStatus::Missing => "missing",
        }
    }
}

/// The first fault that applies, in the order of WIRE §5 "Ladders".
#[must_use]
pub fn judge(steps: &[Step], left_out: u32) -> LadderStatus {
    let pairs = || steps.windows(2).map(|pair| (pair[0], pair[1]));
    let repeats = |at: usize| steps[..at].iter().any(|earlier| earlier.start == steps[at].start);
    if steps.len() > 1 && (1..steps.len()).any(repeats) {
        LadderStatus::DuplicateStart
    } else if pairs().any(|(step, next)| next.start <= step.start) || steps.iter().any(ends_before_start) {
        LadderStatus::Unordered
    } else if pairs().any(|(step, next)| step.end.is_some_and(|end| Some(end) >= next.start)) {
        LadderStatus::Overlap
    } else if left_out > 0 || pairs().any(|(step, next)| step.end.is_some_and(|end| end.checked_add(1) < next.start)) {
        LadderStatus::Gap
    } else if pairs().any(|(step, next)| next.price > step.price) {
        LadderStatus::Rising
    } else if steps.len() == 1 {
        LadderStatus::Single
    } else {
        LadderStatus::Ok
    }
}

fn ends_before_start(step: &Step) -> bool {
    step.end.is_some_and(|end| step.start.is_some_and(|start| end < start))
}

/// What reading needs besides the value.
pub struct Reader<'r> {
    /// The unit table.
    pub units: &'r UnitTable,
    /// Scratch.
    pub lexemes: &'r mut Vec<Lexeme>,
    /// Steps are added here.
    pub steps: &'r mut Vec<Step>,
}

/// Lists inside objects inside strings: deeper is no ladder.
const NESTING_MAX: u32 = 4;

/// What one element or one piece of text is.
enum Part {
    Step(Step),
    /// Bounds without a price, or with one of 0.
    NoPrice,
    Spread {
        low: Money,
        high: Money,
    },
    Unreadable,
}

impl Reader<'_> {
    /// Reads a ladder; steps are appended to `self.steps`.
    ///
    /// # Errors
    /// [`DecimalError::TooLarge`] when a price does not fit: the record goes to quarantine.
    pub fn read(&mut self, raw: Raw<'_>) -> Result<Shape, DecimalError> {
        self.value(raw, NESTING_MAX)
    }

    fn value(&mut self, raw: Raw<'_>, nesting: u32) -> Result<Shape, DecimalError> {
        if raw.is_empty_value() {
            return Ok(Shape::Missing);
        }
        if nesting == 0 {
            return Ok(Shape::Unparsable);
        }
        match raw.kind() {
            Kind::Array => self.list(raw),
            Kind::Object => self.object(raw, nesting),
            Kind::String | Kind::Number => self.text(&raw.text().unwrap_or_default(), nesting),
            Kind::Bool | Kind::Null => Ok(Shape::Unparsable),
        }
    }

    fn list(&mut self, raw: Raw<'_>) -> Result<Shape, DecimalError> {
        let mut parts = Parts::default();
        for element in raw.elements().filter(|element| !element.is_empty_value()) {
            let part = match element.kind() {
                Kind::Object => self.members(element)?,
                Kind::Array => self.pair(element)?,
                Kind::String => self.step_text(&element.text().unwrap_or_default())?,
                Kind::Number if raw.elements().nth(1).is_none() => self.step_text(element.json())?,
                _ => Part::Unreadable,
            };
            parts.add(part, self.steps);
        }
        Ok(parts.shape(self.steps))
    }

    /// One step, or an object around the ladder.
    fn object(&mut self, raw: Raw<'_>, nesting: u32) -> Result<Shape, DecimalError> {
        if raw.entries().any(|(name, _)| member(&name) == Member::Price) {
            let mut parts = Parts::default();
            let part = self.members(raw)?;
            parts.add(part, self.steps);
            return Ok(parts.shape(self.steps));
        }
        let mut inner = raw.entries().filter(|(_, value)| {
            matches!(value.kind(), Kind::Array | Kind::Object)
                || (raw.entries().nth(1).is_none() && !value.is_empty_value())
        });
        match (inner.next(), inner.next()) {
            (Some((_, value)), None) => self.value(value, nesting - 1),
            _ => Ok(Shape::Unparsable),
        }
    }

    fn members(&mut self, raw: Raw<'_>) -> Result<Part, DecimalError> {
        let (mut bounds, mut end, mut amount) = (None, None, None);
        for (name, value) in raw.entries().filter(|(_, value)| !value.is_empty_value()) {
            match member(&name) {
                Member::Start => bounds = bounds.or(Some(value)),
                Member::End => end = end.or(Some(value)),
                Member::Price => amount = amount.or(Some(value)),
                Member::Other => {}
            }
        }
        let start = match bounds {
            Some(value) => match self.bound(value) {
                Some(bounds) => Some(bounds),
                None => return Ok(Part::Unreadable),
            },
            None => None,
        };
        let end = end.and_then(|value| self.bound(value));
        let Some(amount) = amount else { return Ok(Part::NoPrice) };
        let Some(text) = amount.text() else { return Ok(Part::Unreadable) };
        let price = price::read(&text, self.units, self.lexemes)?;
        let unit = |bounds: Option<Bounds>| bounds.map_or(StatedUnit::None, |bounds| bounds.unit);
        let bounds = Bounds {
            start: start.and_then(|bounds| bounds.start),
            end: end.and_then(|bounds| bounds.start.or(bounds.end)).or(start.and_then(|bounds| bounds.end)),
            unit: if unit(start) == StatedUnit::None { unit(end) } else { unit(start) },
        };
        Ok(part(bounds, price))
    }

    fn pair(&mut self, raw: Raw<'_>) -> Result<Part, DecimalError> {
        let mut elements = raw.elements();
        let (Some(start), Some(amount), None) = (elements.next(), elements.next(), elements.next()) else {
            return Ok(Part::Unreadable);
        };
        let Some(bounds) = self.bound(start) else { return Ok(Part::Unreadable) };
        let Some(text) = amount.text() else { return Ok(Part::NoPrice) };
        Ok(part(bounds, price::read(&text, self.units, self.lexemes)?))
    }

    fn bound(&mut self, raw: Raw<'_>) -> Option<Bounds> {
        let text = raw.text()?;
        let text = text.trim();
        if let Some(value) = quantity::plain(text) {
            return Some(Bounds { start: Some(value), end: None, unit: StatedUnit::None });
        }
        lex(text, self.units, self.lexemes);
        Bounds::read(self.lexemes)
    }

    fn text(&mut self, text: &str, nesting: u32) -> Result<Shape, DecimalError> {
        let text = text.trim();
        if text.starts_with(['[', '{'])
            && let Ok(raw) = json::parse(text.as_bytes())
        {
            return self.value(raw, nesting - 1);
        }
        let mut parts = Parts::default();
        for piece in Pieces::new(text) {
            let part = self.step_text(piece)?;
            parts.add(part, self.steps);
        }
        Ok(parts.shape(self.steps))
    }

    /// `2-99:12.50`, `1-49 件 ￥12.5`, `100件以上 11元`, or only a price or a spread.
    fn step_text(&mut self, text: &str) -> Result<Part, DecimalError> {
        lex(text, self.units, self.lexemes);
        let lexemes = self.lexemes.as_slice();
        let sign = |wanted: &[Sign]| {
            lexemes.iter().position(|lexeme| wanted.iter().any(|sign| lexeme.token == Token::Sign(*sign)))
        };
        let (left, right) = if let Some(at) = sign(&[Sign::Colon]) {
            (&lexemes[..at], &lexemes[at + 1..])
        } else if let Some(at) =
            sign(&[Sign::Yuan, Sign::Dollar]).or_else(|| sign(&[Sign::YuanWord]).map(|at| at.saturating_sub(1)))
        {
            // `2.88-25.65元` is a spread and no step that starts at 2.88.
            lexemes.split_at(if ends_in_sign(&lexemes[..at]) { 0 } else { at })
        } else {
            // The last number is the price, if what stands before it is a whole pair of bounds.
            let last = lexemes.len().saturating_sub(1);
            let bounds = Bounds::read(&lexemes[..last]).filter(|_| last > 0 && !ends_in_sign(&lexemes[..last]));
            lexemes.split_at(if bounds.is_some() { last } else { 0 })
        };
        let price = price::of_lexemes(text, right)?;
        if left.is_empty() {
            return Ok(part(Bounds { start: None, end: None, unit: StatedUnit::None }, price));
        }
        Ok(Bounds::read(left).map_or(Part::Unreadable, |bounds| part(bounds, price)))
    }
}

/// `2-` of `2-99`: the last number is no price.
fn ends_in_sign(lexemes: &[Lexeme]) -> bool {
    matches!(lexemes.last().map(|lexeme| lexeme.token), Some(Token::Sign(Sign::Range | Sign::AtLeast(_) | Sign::Times)))
}

fn part(bounds: Bounds, price: Price) -> Part {
    match price {
        // `≤99` alone says where the step ends; from where is not stated.
        Price::One(_) if bounds.start.is_none() && bounds.end.is_some() => Part::Unreadable,
        Price::One(price) => Part::Step(Step { start: bounds.start, end: bounds.end, unit: bounds.unit, price }),
        Price::Spread { low, high } if bounds.start.is_none() => Part::Spread { low, high },
        Price::Missing => Part::NoPrice,
        Price::Spread { .. } | Price::Unparsable => Part::Unreadable,
    }
}

/// What the parts of a ladder add up to.
#[derive(Default)]
struct Parts {
    count: u32,
    left_out: u32,
    unreadable: bool,
    spread: Option<(Money, Money)>,
    first: Option<usize>,
}

impl Parts {
    fn add(&mut self, part: Part, steps: &mut Vec<Step>) {
        self.first.get_or_insert(steps.len());
        self.count += 1;
        match part {
            Part::Step(step) => steps.push(step),
            Part::NoPrice => self.left_out += 1,
            Part::Spread { low, high } => {
                self.left_out += 1;
                self.unreadable = true;
                self.spread = Some((low, high));
            }
            Part::Unreadable => {
                self.left_out += 1;
                self.unreadable = true;
            }
        }
    }

    fn shape(mut self, steps: &mut Vec<Step>) -> Shape {
        if let (1, Some((low, high))) = (self.count, self.spread) {
            return Shape::Spread { low, high };
        }
        let first = self.first.unwrap_or(steps.len());
        if self.count > 1 {
            // Only where the ladder is one price may its start be unstated.
            let before = steps.len();
            let mut at = 0;
            steps.retain(|step| {
                at += 1;
                at <= first || step.start.is_some()
            });
            let dropped = before - steps.len();
            self.unreadable |= dropped > 0;
            self.left_out += u32::try_from(dropped).unwrap_or(u32::MAX);
        }
        match (steps.len() > first, self.unreadable) {
            (true, _) => Shape::Steps { left_out: self.left_out },
            (false, true) => Shape::Unparsable,
            (false, false) => Shape::Missing,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    Start,
    End,
    Price,
    Other,
}

/// What a member of a step means; promotion prices are kept out of the ladder.
fn member(name: &str) -> Member {
    match name {
        "startQuantity" | "start_quantity" | "begin_num" | "beginNum" | "beginAmount" | "begin_amount" | "begin"
        | "min" | "minQuantity" | "min_quantity" | "quantity_begin" | "quantityBegin" | "start" | "startNum"
        | "start_num" | "startAmount" | "minNum" | "min_num" | "quantity" | "num" => Member::Start,
        "endQuantity" | "end_quantity" | "end_num" | "endNum" | "endAmount" | "end_amount" | "end" | "max"
        | "maxQuantity" | "max_quantity" | "quantity_end" | "quantityEnd" | "maxNum" | "max_num" => Member::End,
        "price" | "unitPrice" | "unit_price" | "value" => Member::Price,
        _ => Member::Other,
    }
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    start: Option<i64>,
    end: Option<i64>,
    unit: StatedUnit,
}

/// Upper bounds that mean "none" (WIRE §2: sentinels for plenty).
const NO_END: [i64; 2] = [2_147_483_647, 1_000_000_000];

impl Bounds {
    /// `2` `2-99` `59双` `2双-59双` `≥100件` `100件以上` `100+` `1000-` `≤99`, and nothing else.
    fn read(lexemes: &[Lexeme]) -> Option<Self> {
        let mut cursor = Cursor { lexemes };
        let none = Bounds { start: None, end: None, unit: StatedUnit::None };
        match cursor.sign() {
            Some(Sign::AtLeast(bound)) => {
                let (value, unit) = cursor.skip().amount()?;
                let start = if bound == Bound::Open { value.checked_add(1)? } else { value };
                return cursor.done(Bounds { start: Some(start), unit, ..none });
            }
            Some(Sign::AtMost(bound)) => {
                let (value, unit) = cursor.skip().amount()?;
                let end = if bound == Bound::Open { value.checked_sub(1)? } else { value };
                return cursor.done(Bounds { end: Some(end), unit, ..none });
            }
            _ => {}
        }
        let (start, unit) = cursor.amount()?;
        match cursor.sign() {
            Some(Sign::OrMore | Sign::From | Sign::Plus) => {
                cursor.skip();
                if matches!(cursor.sign(), Some(Sign::From | Sign::OrMore)) {
                    cursor.skip();
                }
                cursor.done(Bounds { start: Some(start), unit, ..none })
            }
            Some(Sign::Range) if cursor.lexemes.len() == 1 => Some(Bounds { start: Some(start), unit, ..none }),
            Some(Sign::Range) => {
                let (end, end_unit) = cursor.skip().amount()?;
                let unit = if unit == StatedUnit::None { end_unit } else { unit };
                let end = (!NO_END.contains(&end)).then_some(end);
                cursor.done(Bounds { start: Some(start), end, unit })
            }
            _ => cursor.done(Bounds { start: Some(start), unit, ..none }),
        }
    }
}

struct Cursor<'l> {
    lexemes: &'l [Lexeme],
}

impl Cursor<'_> {
    fn sign(&self) -> Option<Sign> {
        match self.lexemes.first()?.token {
            Token::Sign(sign) => Some(sign),
            _ => None,
        }
    }

    fn skip(&mut self) -> &mut Self {
        self.lexemes = self.lexemes.get(1..).unwrap_or_default();
        self
    }

    /// A whole number and the unit behind it.
    fn amount(&mut self) -> Option<(i64, StatedUnit)> {
        let Token::Number(value) = self.lexemes.first()?.token else { return None };
        let value = value?.integer()?;
        let number_end = self.lexemes[0].end;
        self.skip();
        let unit = match self.lexemes.first() {
            Some(Lexeme { token: Token::Unit(unit), .. }) => StatedUnit::Known(*unit),
            Some(Lexeme { token: Token::Word, start, .. }) if *start == number_end => StatedUnit::Unknown,
            _ => return Some((value, StatedUnit::None)),
        };
        self.skip();
        Some((value, unit))
    }

    fn done(&self, bounds: Bounds) -> Option<Bounds> {
        self.lexemes.is_empty().then_some(bounds)
    }
}

/// The steps of a text: separated by line breaks, `;`, `；`, `` ` ``, or a comma before a digit.
struct Pieces<'t> {
    rest: &'t str,
    /// Whether the text uses another separator, so that `1,000` may only be a thousands comma.
    other_separators: bool,
}

const SEPARATORS: [char; 5] = ['\n', '\r', ';', '；', '`'];

impl<'t> Pieces<'t> {
    fn new(text: &'t str) -> Self {
        let text = text.trim().trim_end_matches([',', '，']);
        Self { rest: text, other_separators: text.contains(SEPARATORS) }
    }

    /// Whether the comma at `at` of `self.rest` ends a step. `1,000:10.5,5,000:9` has one that does.
    fn splits(&self, at: usize, after: &str) -> bool {
        if !after
            .trim_start()
            .starts_with(|next: char| next.is_ascii_digit() || matches!(next, '０'..='９' | '≥' | '>'))
        {
            return false;
        }
        let before = &self.rest[..at];
        let digits_before = before.bytes().rev().take_while(u8::is_ascii_digit).count();
        let digits_after = after.bytes().take_while(u8::is_ascii_digit).count();
        let fraction = before[..before.len() - digits_before].ends_with('.');
        let thousands = (1..=3).contains(&digits_before) && digits_after == 3 && !fraction;
        !thousands || (!self.other_separators && before.contains([':', '：', '¥', '￥', '$', '元']))
    }
}

impl<'t> Iterator for Pieces<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.is_empty() {
                return None;
            }
            let cut = self.rest.char_indices().find(|&(at, character)| {
                let after = &self.rest[at + character.len_utf8()..];
                SEPARATORS.contains(&character) || (matches!(character, ',' | '，') && self.splits(at, after))
            });
            let (piece, rest) = match cut {
                Some((at, separator)) => (&self.rest[..at], &self.rest[at + separator.len_utf8()..]),
                None => (self.rest, ""),
            };
            self.rest = rest;
            if !piece.trim().is_empty() {
                return Some(piece);
            }
        }
    }
}

#[cfg(test)]
mod tests;
