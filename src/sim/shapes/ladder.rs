//! Price ladders: the shapes of WIRE §2 and what each means.

use serde_json::{Value, json};

use super::{Family, full_width, yuan, yuan_number};
use crate::sim::random::Dice;
use crate::sim::truth::TierTruth;

/// One step as it is sent; quantities in sale units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) struct Step {
    pub(in crate::sim) start: i64,
    pub(in crate::sim) end: Option<i64>,
    /// `None`: the step has no price.
    pub(in crate::sim) fen: Option<i64>,
}

/// How a ladder is written, or what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum LadderForm {
    /// `[{startQuantity:2,price:11.0}]`
    Objects,
    /// `[{"startQuantity":"2","price":"13.90","promotionPrice":…}]`
    ObjectsText,
    /// `"2-99:12.50;100-999:11.80;>=1000:10.20"`
    Ranges,
    /// ``"100:21.33`1000:14.15"``
    Backticks,
    /// `[[3,35],[50,30]]`
    Pairs,
    /// `[{"begin_num":"2","end_num":"59双","price":"150.00"}]`
    BeginEnd,
    /// `[{beginAmount:"1",price:"29.89"}]`
    BeginAmount,
    /// `[{min,max,price}]`
    MinMax,
    /// `12.5`
    Number,
    /// `"12.50"` or `"¥12.50"`
    NumberText,
    /// `"1-49 件 ￥12.5"`, one step a line
    Yuan,
    /// `"30-99件:17.5；100件以上:16"`
    Words,
    /// `"１０～９９：１２.５０"`
    FullWidth,
    /// One object where a list belongs.
    OneObject,
    /// `"2.88-25.65"`: SKU prices, no ladder.
    Spread,
    /// A later step costs more.
    Rising,
    /// A quantity that no step covers.
    Gap,
    /// A middle step without a price.
    Unpriced,
    /// A quantity that two steps cover.
    Overlap,
    /// Two steps from the same quantity.
    Duplicate,
    /// Starts that do not ascend.
    Unordered,
    /// `""`
    Empty,
    /// `"null"`
    NullText,
    /// `null`
    Null,
    /// No such field.
    Absent,
    /// `0`
    Zero,
    /// `"面议"`
    Negotiable,
}

/// Forms of a catalogue without faults.
pub(in crate::sim) const CLEAN: [LadderForm; 3] = [LadderForm::Objects, LadderForm::ObjectsText, LadderForm::Ranges];
/// Odd forms that still give every price.
pub(in crate::sim) const ODD: [LadderForm; 17] = [
    LadderForm::Backticks,
    LadderForm::Pairs,
    LadderForm::BeginEnd,
    LadderForm::BeginAmount,
    LadderForm::MinMax,
    LadderForm::Number,
    LadderForm::NumberText,
    LadderForm::Yuan,
    LadderForm::Words,
    LadderForm::FullWidth,
    LadderForm::OneObject,
    LadderForm::Rising,
    LadderForm::Gap,
    LadderForm::Unpriced,
    LadderForm::Overlap,
    LadderForm::Duplicate,
    LadderForm::Unordered,
];
/// Forms without a ladder; the price falls back to channel or headline.
pub(in crate::sim) const EMPTY: [LadderForm; 6] = [
    LadderForm::Empty,
    LadderForm::NullText,
    LadderForm::Null,
    LadderForm::Absent,
    LadderForm::Zero,
    LadderForm::Negotiable,
];

/// A ladder as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) struct Ladder {
    pub(in crate::sim) form: LadderForm,
    pub(in crate::sim) steps: Vec<Step>,
}

/// What a ladder means: `None` where the rules leave it open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) struct LadderTruth {
    pub(in crate::sim) status: Option<&'static str>,
    pub(in crate::sim) tiers: Option<Vec<TierTruth>>,
    pub(in crate::sim) source: Option<&'static str>,
}

/// Prices to fall back to, and the quantity a single price starts at.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) struct Fallback {
    pub(in crate::sim) from_quantity: i64,
    pub(in crate::sim) channel: Option<i64>,
    pub(in crate::sim) headline: i64,
}

impl Ladder {
    /// Bends the sound ladder `steps` into `form`.
    pub(in crate::sim) fn new(form: LadderForm, mut steps: Vec<Step>) -> Self {
        use LadderForm as F;
        let needs_two = matches!(form, F::Rising | F::Gap | F::Overlap | F::Duplicate | F::Unordered | F::Unpriced);
        if needs_two && steps.len() < 3 {
            let (start, fen) = steps.first().map_or((1, Some(1000)), |step| (step.start, step.fen));
            let lower = |percent: i64| fen.map(|fen| (fen * percent / 100).max(1));
            steps = vec![
                Step { start, end: Some(start * 10 - 1), fen },
                Step { start: start * 10, end: Some(start * 100 - 1), fen: lower(92) },
                Step { start: start * 100, end: None, fen: lower(85) },
            ];
        }
        match form {
            F::Rising => {
                let dearest = steps.iter().filter_map(|step| step.fen).max().unwrap_or(100);
                if let Some(last) = steps.last_mut() {
                    last.fen = Some(dearest + 105);
                }
            }
            F::Gap => steps[0].end = Some((steps[1].start / 2).max(steps[0].start)),
            F::Overlap => steps[0].end = Some(steps[1].start + 20),
            F::Duplicate => steps[1].start = steps[0].start,
            F::Unordered => steps.swap(0, 1),
            F::Unpriced => steps[1].fen = None,
            F::Number | F::NumberText | F::OneObject => steps.truncate(1),
            _ => {}
        }
        // A gap needs room between the two steps.
        if form == F::Gap && steps[0].end.is_some_and(|end| end + 1 >= steps[1].start) {
            steps[1].start = steps[0].end.map_or(steps[1].start, |end| end + 5);
        }
        Self { form, steps }
    }

    /// The field's value; `None` when the record has no such field. `unit` is the sale unit.
    pub(in crate::sim) fn value(&self, unit: &str, dice: &mut Dice) -> Option<Value> {
        use LadderForm as F;
        let price = |step: &Step| step.fen.map_or_else(String::new, yuan);
        let list = |write: &dyn Fn(&Step) -> Value| Value::Array(self.steps.iter().map(write).collect());
        let texts = |joint: &str, write: &dyn Fn(&Step) -> String| {
            json!(self.steps.iter().map(write).collect::<Vec<_>>().join(joint))
        };
        let range = |step: &Step| match step.end {
            Some(end) => format!("{}-{end}:{}", step.start, price(step)),
            None => format!(">={}:{}", step.start, price(step)),
        };
        let object = |step: &Step| json!({"startQuantity": step.start, "price": step.fen.map(yuan_number)});
        Some(match self.form {
            F::Objects | F::Rising | F::Duplicate | F::Unordered => list(&object),
            F::OneObject => self.steps.first().map(object)?,
            F::ObjectsText => list(
                &|step| json!({"startQuantity": step.start.to_string(), "price": price(step), "promotionPrice": null}),
            ),
            F::Ranges | F::Gap | F::Overlap => texts(";", &range),
            F::FullWidth => json!(full_width(texts(";", &range).as_str()?)),
            F::Backticks => texts("`", &|step| format!("{}:{}", step.start, price(step))),
            F::Pairs => list(&|step| json!([step.start, step.fen.map(yuan_number)])),
            F::BeginEnd => list(&|step| {
                let end = step.end.map_or_else(String::new, |end| format!("{end}{unit}"));
                let last = if step.end.is_none() { unit } else { "" };
                json!({"begin_num": format!("{}{last}", step.start), "end_num": end, "price": price(step)})
            }),
            F::BeginAmount => list(&|step| json!({"beginAmount": step.start.to_string(), "price": price(step)})),
            F::MinMax | F::Unpriced => {
                list(&|step| json!({"min": step.start, "max": step.end, "price": step.fen.map(yuan_number)}))
            }
            F::Number => self.steps.first().and_then(|step| step.fen).map(yuan_number)?,
            F::NumberText => json!(format!("{}{}", dice.pick(&["", "¥", "￥"]), price(self.steps.first()?))),
            F::Yuan => texts("\n", &|step| match step.end {
                Some(end) => format!("{}{}{end} {unit} ￥{}", step.start, "～", price(step)),
                None => format!("≥{}{unit} ￥{}", step.start, price(step)),
            }),
            F::Words => texts("；", &|step| match step.end {
                Some(end) => format!("{}-{end}{unit}:{}", step.start, price(step)),
                None => format!("{}{unit}以上:{}", step.start, price(step)),
            }),
            F::Spread => {
                let fen = self.steps.iter().filter_map(|step| step.fen);
                json!(format!("{}-{}", yuan(fen.clone().min()?), yuan(fen.max()?)))
            }
            F::Empty => json!(""),
            F::NullText => json!("null"),
            F::Null => Value::Null,
            F::Absent => return None,
            F::Zero => json!(0),
            F::Negotiable => json!("面议"),
        })
    }

    /// `priceRanges` of the official structure, which knows starts and prices only.
    pub(in crate::sim) fn ranges(&self) -> Option<Value> {
        use LadderForm as F;
        let object = |step: &Step| json!({"startQuantity": step.start, "price": step.fen.map(yuan_number)});
        let list = || Value::Array(self.steps.iter().map(object).collect());
        Some(match self.form {
            F::Empty | F::NullText => json!(""),
            F::Null | F::Spread | F::Negotiable | F::Zero => Value::Null,
            F::Absent => return None,
            F::OneObject => self.steps.first().map(object)?,
            F::ObjectsText => Value::Array(
                self.steps
                    .iter()
                    .map(|step| json!({"startQuantity": step.start.to_string(), "price": step.fen.map(yuan)}))
                    .collect(),
            ),
            _ => list(),
        })
    }

    /// What the ladder means to a reader of this family's answers.
    pub(in crate::sim) fn truth(&self, family: Family, fallback: Fallback) -> LadderTruth {
        use LadderForm as F;
        let single = |fen: i64| {
            Some(vec![TierTruth { min_quantity: fallback.from_quantity, max_quantity: None, unit_price: yuan(fen) }])
        };
        let fell_back = |status| match fallback.channel {
            Some(fen) => LadderTruth { status: Some(status), tiers: single(fen), source: Some("channel") },
            None => LadderTruth { status: Some(status), tiers: single(fallback.headline), source: Some("headline") },
        };
        if family == Family::Search {
            return LadderTruth { status: Some("single"), tiers: single(fallback.headline), source: Some("headline") };
        }
        let has_no_ladder =
            matches!(self.form, F::Empty | F::NullText | F::Null | F::Absent | F::Zero | F::Negotiable | F::Spread);
        match (family, self.form) {
            (Family::Structured, _) if has_no_ladder => LadderTruth { status: None, tiers: None, source: None },
            (_, F::Spread) => LadderTruth { status: Some("sku_spread"), tiers: Some(Vec::new()), source: None },
            (_, F::Negotiable) => fell_back("unparsable"),
            _ if has_no_ladder => fell_back("single"),
            (Family::Text, F::Number | F::NumberText) => LadderTruth {
                status: Some("single"),
                tiers: self.steps.first().and_then(|step| step.fen).and_then(single),
                source: Some("wholesale"),
            },
            _ => {
                LadderTruth { status: Some(self.status(family)), tiers: self.tiers(family), source: Some("wholesale") }
            }
        }
    }

    fn status(&self, family: Family) -> &'static str {
        use LadderForm as F;
        let ends_are_sent = family == Family::Text;
        match self.form {
            F::Rising => "rising",
            F::Gap if ends_are_sent => "gap",
            F::Unpriced => "gap",
            F::Overlap if ends_are_sent => "overlap",
            F::Duplicate => "duplicate_start",
            F::Unordered => "unordered",
            _ if self.steps.len() == 1 => "single",
            _ => "ok",
        }
    }

    fn tiers(&self, family: Family) -> Option<Vec<TierTruth>> {
        use LadderForm as F;
        let ends_are_sent = family == Family::Text
            && !matches!(
                self.form,
                F::Objects
                    | F::ObjectsText
                    | F::Rising
                    | F::Duplicate
                    | F::Unordered
                    | F::Backticks
                    | F::Pairs
                    | F::BeginAmount
                    | F::OneObject
            );
        if self.form == F::Unpriced && !ends_are_sent {
            // Whether the end before a left-out step is that step's start − 1 is left open.
            return None;
        }
        let mut tiers = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            let next = self.steps.get(at + 1).map(|next| next.start).filter(|&next| next > step.start);
            let max_quantity = if ends_are_sent { step.end } else { next.map(|next| next - 1) };
            if let Some(fen) = step.fen {
                tiers.push(TierTruth { min_quantity: step.start, max_quantity, unit_price: yuan(fen) });
            }
        }
        Some(tiers)
    }
}

#[cfg(test)]
#[path = "ladder_tests.rs"]
mod tests;
