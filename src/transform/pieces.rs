//! Quantities that people write, as pieces: by the same rules as those of the gateways' records (WIRE §3).
//!
//! Invariant: a pack size is stated or unknown, never assumed.

use std::collections::BTreeMap;

use super::lex::{Lexeme, lex};
use super::pack::{self, Known, PackSource, Pieces, Statement};
use super::quantity;
use super::unit::UnitTable;

/// Reads quantities by the built-in table of units.
#[derive(Debug)]
pub struct PieceReader {
    units: UnitTable,
    lexemes: Vec<Lexeme>,
    statements: Vec<Statement>,
}

impl Default for PieceReader {
    fn default() -> Self {
        Self { units: UnitTable::new(&BTreeMap::new()), lexemes: Vec::new(), statements: Vec::new() }
    }
}

impl PieceReader {
    /// The pieces of a quantity with its unit and, where that is a pack, its size; `None` where either is not known.
    ///
    /// ```text
    /// 10件起批 → 10    2打 → 24    2箱(24件/箱) → 48    2箱 → unknown    10 → unknown    5公斤 → unknown
    /// ```
    pub fn pieces(&mut self, text: &str) -> Option<i64> {
        self.statements.clear();
        lex(text, &self.units, &mut self.lexemes);
        pack::scan(&mut self.lexemes, PackSource::MoqText, &self.units, &mut self.statements);
        let reading = quantity::read(&self.lexemes);
        let unit = reading.unit.known()?;
        let known = Known { units: &self.units, statements: &self.statements, configured: &[], sale_unit: Some(unit) };
        match known.pieces(Some(unit)) {
            Pieces::Known { count, .. } => reading.value?.checked_mul(count),
            _ => None,
        }
    }

    /// The pieces of `quantity` sale units: `pack` of them each, else as many as the table says of the unit. `None` where
    /// that is not known, not countable (公斤), or too large.
    #[must_use]
    pub fn to_pieces(&self, quantity: i64, unit: Option<&str>, pack: Option<i64>) -> Option<i64> {
        let unit = unit.and_then(|unit| self.units.find(unit.trim()));
        let known = Known { units: &self.units, statements: &[], configured: &[], sale_unit: unit };
        let count = match (known.pieces(unit), pack.filter(|pack| *pack > 0)) {
            (Pieces::NotCountable, _) => None,
            (_, Some(pack)) => Some(pack),
            (Pieces::Known { count, .. }, None) => Some(count),
            _ => None,
        };
        quantity.checked_mul(count?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_quantity_is_pieces_or_unknown() {
        let mut reader = PieceReader::default();
        let cases = [
            ("10件起批", Some(10)),
            ("2打", Some(24)),
            ("2箱(24件/箱)", Some(48)),
            ("1箱=24件", Some(24)),
            ("≥10个", Some(10)),
            ("2箱", None),
            ("10", None),
            ("5公斤", None),
            ("", None),
            ("几个", None),
            ("99999999999999999999件", None),
        ];
        for (text, expected) in cases {
            assert_eq!(reader.pieces(text), expected, "{text}");
        }
    }

    #[test]
    fn sale_units_become_pieces_by_their_pack_or_the_table() {
        let reader = PieceReader::default();
        let cases = [
            (3, Some("箱"), Some(24), Some(72)),
            (3, Some("箱"), None, None),
            (3, Some("打"), None, Some(36)),
            (3, Some(" 件 "), None, Some(3)),
            (3, None, Some(24), Some(72)),
            (3, None, None, None),
            (3, Some("公斤"), Some(24), None),
            (3, Some("箱"), Some(0), None),
            (i64::MAX, Some("箱"), Some(2), None),
        ];
        for (quantity, unit, pack, expected) in cases {
            assert_eq!(reader.to_pieces(quantity, unit, pack), expected, "{quantity} {unit:?} {pack:?}");
        }
    }
}
