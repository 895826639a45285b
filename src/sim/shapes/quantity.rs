//! Minimum quantities, units and packs: the shapes of WIRE §2 and §3 and what each means.

use serde_json::{Value, json};

use super::{Family, full_width, numeral};

/// How the minimum quantity and the sale unit are stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum QuantityForm {
    /// `2`
    Number,
    /// `"2"`
    NumberText,
    /// `"2件"`
    WithUnit,
    /// `"10件起批"`
    MinimumOrder,
    /// `"10件起批，5的倍数"`
    WithMultiple,
    /// `"≥10件"`
    AtLeast,
    /// `"１０件"`
    FullWidth,
    /// `"十件"`
    Numeral,
    /// `"两打"`, where a piece is the sale unit
    Dozens,
    /// No such field.
    Absent,
    /// `null`
    Null,
    /// `""`
    Empty,
    /// `"null"`
    NullText,
    /// No unit anywhere.
    NoUnit,
    /// `"2箱(24件/箱)"`
    PackInMoq,
    /// `"2箱（1箱=24件）"`
    PackEquation,
    /// `"2箱，每箱24件"`
    PackEach,
    /// `"2箱(24包/箱,10个/包)"`
    PackChain,
    /// `24件/箱` in the title
    PackInTitle,
    /// `"2箱(24件/箱)"` and another size in the title
    PackConflict,
    /// A pack whose size nobody states
    PackUnknown,
    /// `sellunit` 手 of `batchNumber` × `unit`
    Batch,
    /// unit 打
    DozenUnit,
    /// unit 半打
    HalfDozenUnit,
    /// 米, 千克 …
    NotCountable,
    /// `"10的倍数下单"`
    MultipleOnly,
    /// `"0.5千克"`
    Fraction,
    /// `"面议"`
    Negotiable,
}

use QuantityForm as Q;

/// Forms of a catalogue without faults.
pub(in crate::sim) const CLEAN: [QuantityForm; 4] = [Q::WithUnit, Q::Number, Q::NumberText, Q::WithUnit];
/// All others that fit an offer with a sound ladder.
pub(in crate::sim) const ODD: [QuantityForm; 25] = [
    Q::MinimumOrder,
    Q::WithMultiple,
    Q::AtLeast,
    Q::FullWidth,
    Q::Numeral,
    Q::Dozens,
    Q::Absent,
    Q::Null,
    Q::Empty,
    Q::NullText,
    Q::NoUnit,
    Q::PackInMoq,
    Q::PackEquation,
    Q::PackEach,
    Q::PackChain,
    Q::PackInTitle,
    Q::PackConflict,
    Q::PackUnknown,
    Q::Batch,
    Q::DozenUnit,
    Q::HalfDozenUnit,
    Q::NotCountable,
    Q::MultipleOnly,
    Q::Fraction,
    Q::Negotiable,
];

/// Units and minimum quantity of one offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) struct Quantity {
    pub(in crate::sim) form: QuantityForm,
    /// The unit one piece is counted in.
    pub(in crate::sim) piece_unit: &'static str,
    /// The pack of the pack forms: 箱, 包, 盒.
    pub(in crate::sim) pack_unit: &'static str,
    /// Pieces in a pack, for the pack forms.
    pub(in crate::sim) pack: i64,
    /// In sale units.
    pub(in crate::sim) moq: i64,
}

/// What is known about the sale unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) struct UnitTruth {
    pub(in crate::sim) unit: Option<&'static str>,
    pub(in crate::sim) pieces: Option<i64>,
    pub(in crate::sim) pack_source: &'static str,
    /// Why pieces are not known, as a status.
    pub(in crate::sim) reason: &'static str,
}

/// What the minimum quantity means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) struct MoqTruth {
    pub(in crate::sim) quantity: Option<i64>,
    pub(in crate::sim) pieces: Option<i64>,
    pub(in crate::sim) status: &'static str,
    pub(in crate::sim) source: &'static str,
}

impl Quantity {
    fn is_pack(&self) -> bool {
        matches!(
            self.form,
            Q::PackInMoq
                | Q::PackEquation
                | Q::PackEach
                | Q::PackChain
                | Q::PackInTitle
                | Q::PackConflict
                | Q::PackUnknown
        )
    }

    /// No minimum is stated; it follows from the ladder.
    pub(in crate::sim) fn is_unstated(&self) -> bool {
        matches!(self.form, Q::Absent | Q::Null | Q::Empty | Q::NullText)
    }

    /// Pieces that the price of one sale unit really buys, stated or not.
    pub(in crate::sim) fn pieces_priced(&self) -> i64 {
        match self.form {
            Q::Batch | Q::DozenUnit => 12,
            Q::HalfDozenUnit => 6,
            _ if self.is_pack() => self.pack,
            _ => 1,
        }
    }

    /// The unit that prices and quantities are in.
    pub(in crate::sim) fn sale_unit(&self) -> &'static str {
        match self.form {
            Q::Batch => "手",
            Q::DozenUnit => "打",
            Q::HalfDozenUnit => "半打",
            _ if self.is_pack() => self.pack_unit,
            _ => self.piece_unit,
        }
    }

    /// What the title adds.
    pub(in crate::sim) fn title_suffix(&self) -> Option<String> {
        let (piece, pack) = (self.piece_unit, self.pack_unit);
        match self.form {
            Q::PackInTitle if self.pack % 20 == 0 => Some(format!("每{pack}{}{piece}", self.pack)),
            Q::PackInTitle => Some(format!("{}{piece}/{pack}", self.pack)),
            Q::PackConflict => Some(format!("{}{piece}/{pack}", self.pack + 6)),
            _ => None,
        }
    }

    /// The fields `unit`, `sellunit`, `batchNumber`, `moq` of a flat record; absent ones are left out.
    pub(in crate::sim) fn flat(&self) -> Vec<(&'static str, Value)> {
        let mut fields = Vec::new();
        match self.form {
            Q::NoUnit => {}
            Q::Batch => {
                fields.push(("unit", json!(self.piece_unit)));
                fields.push(("sellunit", json!("手")));
                fields.push(("batchNumber", json!(self.pieces_priced())));
            }
            _ => fields.push(("unit", json!(self.sale_unit()))),
        }
        if let Some(moq) = self.moq_value() {
            fields.push(("moq", moq));
        }
        fields
    }

    fn moq_value(&self) -> Option<Value> {
        let (moq, pack) = (self.moq, self.pack);
        let (unit, piece, box_) = (self.sale_unit(), self.piece_unit, self.pack_unit);
        Some(match self.form {
            Q::Number | Q::NoUnit | Q::Batch => json!(moq),
            Q::NumberText => json!(moq.to_string()),
            Q::WithUnit | Q::PackInTitle | Q::PackUnknown | Q::DozenUnit | Q::NotCountable => {
                json!(format!("{moq}{unit}"))
            }
            Q::HalfDozenUnit => json!(moq),
            Q::MinimumOrder => json!(format!("{moq}{unit}起批")),
            Q::WithMultiple => json!(format!("{moq}{unit}起批，5的倍数")),
            Q::AtLeast => json!(format!("≥{moq}{unit}")),
            Q::FullWidth => json!(full_width(&format!("{moq}{unit}"))),
            Q::Numeral => json!(format!("{}{unit}", numeral(moq))),
            Q::Dozens => json!(format!("{}打", numeral(moq / 12))),
            Q::Absent => return None,
            Q::Null => Value::Null,
            Q::Empty => json!(""),
            Q::NullText => json!("null"),
            Q::PackInMoq | Q::PackConflict => json!(format!("{moq}{box_}({pack}{piece}/{box_})")),
            Q::PackEquation => json!(format!("{moq}{box_}（1{box_}={pack}{piece}）")),
            Q::PackEach => json!(format!("{moq}{box_}，每{box_}{pack}{piece}")),
            Q::PackChain => json!(format!("{moq}箱({}包/箱,10{piece}/包)", pack / 10)),
            Q::MultipleOnly => json!("10的倍数下单"),
            Q::Fraction => json!(format!("0.5{unit}")),
            Q::Negotiable => json!("面议"),
        })
    }

    /// The fields of the official `saleInfo`: it states packs as `batchNumber` × `unit` and the minimum as a number.
    pub(in crate::sim) fn sale_info(&self) -> Vec<(&'static str, Value)> {
        let mut fields = Vec::new();
        let states_batch = matches!(
            self.form,
            Q::PackInMoq | Q::PackEquation | Q::PackEach | Q::PackChain | Q::PackConflict | Q::Batch
        );
        if states_batch {
            fields.push(("unit", json!(self.piece_unit)));
            fields.push(("sellunit", json!(self.sale_unit())));
            fields.push(("batchNumber", json!(self.pieces_priced())));
        } else {
            let unit = if self.form == Q::NoUnit { "" } else { self.sale_unit() };
            fields.push(("unit", json!(unit)));
            fields.push(("sellunit", json!("")));
        }
        match self.form {
            Q::Absent => {}
            Q::Null => fields.push(("minOrderQuantity", Value::Null)),
            Q::Empty | Q::NullText => fields.push(("minOrderQuantity", json!(""))),
            Q::NumberText => fields.push(("minOrderQuantity", json!(self.moq.to_string()))),
            _ => fields.push(("minOrderQuantity", json!(self.moq))),
        }
        fields
    }

    /// The sale unit as a reader of this family's answers can know it.
    pub(in crate::sim) fn unit_truth(&self, family: Family) -> UnitTruth {
        let known =
            |unit, pieces, pack_source| UnitTruth { unit: Some(unit), pieces: Some(pieces), pack_source, reason: "ok" };
        let unknown = |unit, pack_source, reason| UnitTruth { unit, pieces: None, pack_source, reason };
        let unit = self.sale_unit();
        match (family, self.form) {
            // A search answer states no unit; only a title can say more.
            (Family::Search, _) => known("件", 1, "config"),
            (Family::Text, Q::NoUnit) => known("件", 1, "config"),
            (Family::Structured, Q::NoUnit) => unknown(None, "none", "unknown_unit"),
            (_, Q::PackConflict) => unknown(Some(unit), "conflict", "conflict"),
            (_, Q::PackUnknown) => unknown(Some(unit), "none", "unknown_pack"),
            (_, Q::NotCountable | Q::Fraction) => unknown(Some(unit), "none", "not_countable"),
            (_, Q::PackInTitle) => known(unit, self.pack, "title"),
            (_, Q::Batch) => known(unit, self.pieces_priced(), "batch_number"),
            (Family::Structured, _) if self.is_pack() => known(unit, self.pack, "batch_number"),
            (Family::Text, _) if self.is_pack() => known(unit, self.pack, "moq_text"),
            _ => known(unit, self.pieces_priced(), "unit_table"),
        }
    }

    /// The minimum quantity; `first_start` is the ladder's first start, where there is a ladder.
    pub(in crate::sim) fn moq_truth(&self, family: Family, first_start: Option<i64>) -> MoqTruth {
        let missing = MoqTruth { quantity: None, pieces: None, status: "missing", source: "none" };
        if family == Family::Search {
            return missing;
        }
        let is_unreadable =
            matches!(self.form, Q::MultipleOnly | Q::Fraction | Q::Negotiable) && family == Family::Text;
        if is_unreadable {
            return MoqTruth { status: "unparsable", ..missing };
        }
        let (quantity, source) = match (self.is_unstated(), first_start) {
            (true, None) => return missing,
            (true, Some(start)) => (start, "ladder"),
            (false, _) => (self.moq, "stated"),
        };
        let unit = self.unit_truth(family);
        let pieces = unit.pieces.map(|pieces| pieces * quantity);
        MoqTruth { quantity: Some(quantity), pieces, status: unit.reason, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(form: QuantityForm) -> Quantity {
        Quantity { form, piece_unit: "件", pack_unit: "箱", pack: 240, moq: 24 }
    }

    #[test]
    fn a_minimum_is_written_as_it_was_captured_and_means_what_the_rules_say() {
        let cases = [
            (Q::WithUnit, r#""24件""#, Some(24), "ok"),
            (Q::WithMultiple, r#""24件起批，5的倍数""#, Some(24), "ok"),
            (Q::FullWidth, r#""２４件""#, Some(24), "ok"),
            (Q::Numeral, r#""二十四件""#, Some(24), "ok"),
            (Q::Dozens, r#""两打""#, Some(24), "ok"),
            (Q::PackInMoq, r#""24箱(240件/箱)""#, Some(5760), "ok"),
            (Q::PackEquation, r#""24箱（1箱=240件）""#, Some(5760), "ok"),
            (Q::PackChain, r#""24箱(24包/箱,10件/包)""#, Some(5760), "ok"),
            (Q::PackConflict, r#""24箱(240件/箱)""#, None, "conflict"),
            (Q::PackUnknown, r#""24箱""#, None, "unknown_pack"),
            (Q::NotCountable, r#""24件""#, None, "not_countable"),
            (Q::MultipleOnly, r#""10的倍数下单""#, None, "unparsable"),
            (Q::Batch, "24", Some(288), "ok"),
        ];
        for (form, text, pieces, status) in cases {
            let quantity = quantity(form);
            assert_eq!(quantity.moq_value().expect("a value").to_string(), text, "{form:?}");
            let truth = quantity.moq_truth(Family::Text, Some(1));
            assert_eq!((truth.pieces, truth.status), (pieces, status), "{form:?}");
        }
    }

    #[test]
    fn an_unstated_minimum_is_the_first_step_of_the_ladder() {
        let truth = quantity(Q::Absent).moq_truth(Family::Text, Some(7));
        assert_eq!((truth.quantity, truth.pieces, truth.source), (Some(7), Some(7), "ladder"));
        assert_eq!(quantity(Q::Absent).moq_truth(Family::Text, None).status, "missing");
    }

    #[test]
    fn a_batch_is_priced_and_counted_in_the_same_pieces() {
        let quantity = quantity(Q::Batch);
        assert_eq!(quantity.pieces_priced(), 12);
        assert!(quantity.flat().contains(&("batchNumber", json!(12))));
        assert_eq!(quantity.unit_truth(Family::Text).pieces, Some(12));
    }

    #[test]
    fn the_official_structure_states_packs_as_batches() {
        let truth = quantity(Q::PackInMoq).unit_truth(Family::Structured);
        assert_eq!((truth.unit, truth.pieces, truth.pack_source), (Some("箱"), Some(240), "batch_number"));
    }
}
