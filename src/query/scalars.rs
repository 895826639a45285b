//! Scalar functions: the rules of the tables for texts that a query has.
//!
//! | function | gives |
//! |---|---|
//! | `moq_pieces(text)` | the pieces of a written quantity: `'2箱(24件/箱)'` → 48; null where not known |
//! | `to_pieces(quantity, unit, pack)` | the pieces of sale units: `3, '箱', 24` → 72; null where not known |
//! | `title_200(text)` | the first 200 user-perceived characters, as in `offers.title` |
//! | `title_fits(title, pattern)` | whether a title fits `'马克杯 陶瓷\|骨瓷 -盖'` |
//! | `title_matches(title, keywords)` | which of many keywords (`'马克杯, 保温杯'`) a title has; null if none |
//! | `offer_groups(shop_id, offer_id, title)` | the groups that an offer belongs to; null if none |
//!
//! Invariant: a null argument gives null.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListBuilder, StringBuilder, StringViewArray, StringViewBuilder,
    StructBuilder,
};
use arrow::array::{BooleanBuilder, Int32Builder, Int64Builder};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use datafusion::prelude::SessionContext;

use crate::base::keywords::{Found, Pattern, Words, fold};
use crate::groups::Matcher;
use crate::groups::matcher::Scratch;
use crate::transform::pieces::PieceReader;
use crate::transform::title;

/// Names and arguments, with what each gives: for lists of functions.
pub const SCALARS: &[(&str, &str)] = &[
    ("moq_pieces(text)", "pieces of a written quantity: moq_pieces('2箱(24件/箱)') is 48; null where not known"),
    ("to_pieces(quantity, unit, pack)", "pieces of sale units: to_pieces(3, '箱', 24) is 72; null where not known"),
    ("title_200(text)", "the first 200 user-perceived characters, as in offers.title"),
    (
        "title_fits(title, pattern)",
        "whether a title has all words of a pattern: title_fits(title, '马克杯 陶瓷|骨瓷 -盖')",
    ),
    ("title_matches(title, keywords)", "which of many keywords a title has: title_matches(title, '马克杯, 保温杯')"),
    ("offer_groups(shop_id, offer_id, title)", "the groups of an offer, as `group_offers` lists them"),
];

/// Makes the functions known to a session over a lake with these groups.
pub(super) fn register(context: &SessionContext, groups: &Arc<Matcher>) {
    let text = || DataType::Utf8View;
    let list = |of: DataType| DataType::List(Arc::new(Field::new_list_field(of, true)));
    let groups = Arc::clone(groups);
    let functions = [
        Scalar::new("moq_pieces", vec![text()], DataType::Int64, moq_pieces),
        Scalar::new("to_pieces", vec![DataType::Int64, text(), DataType::Int64], DataType::Int64, to_pieces),
        Scalar::new("title_200", vec![text()], text(), title_200),
        Scalar::new("title_fits", vec![text(), text()], DataType::Boolean, title_fits),
        Scalar::new("title_matches", vec![text(), text()], list(DataType::Utf8), title_matches),
        Scalar::new(
            "offer_groups",
            vec![text(), DataType::Int64, text()],
            list(DataType::Struct(membership_fields())),
            move |columns| offer_groups(&groups, columns),
        ),
    ];
    for function in functions {
        context.register_udf(ScalarUDF::new_from_impl(function));
    }
}

type Compute = dyn Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync;

/// A function of columns of fixed types.
struct Scalar {
    name: &'static str,
    signature: Signature,
    returns: DataType,
    compute: Box<Compute>,
    documentation: Documentation,
}

impl Scalar {
    fn new(
        name: &'static str,
        takes: Vec<DataType>,
        returns: DataType,
        compute: impl Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync + 'static,
    ) -> Self {
        let signature = Signature::new(TypeSignature::Exact(takes), Volatility::Immutable);
        let said = SCALARS.iter().find(|(usage, _)| usage.split('(').next() == Some(name));
        let (usage, meaning) = said.copied().unwrap_or((name, ""));
        let section = DocSection { include: true, label: "huopan", description: None };
        let documentation = Documentation::builder(section, meaning, usage).build();
        Self { name, signature, returns, compute: Box::new(compute), documentation }
    }
}

impl std::fmt::Debug for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A session has one function of a name.
impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let columns = args.args.into_iter().map(|arg| arg.into_array(rows)).collect::<Result<Vec<_>>>()?;
        let result = (self.compute)(&columns)?;
        match is_constant {
            true => Ok(ColumnarValue::Scalar(datafusion::scalar::ScalarValue::try_from_array(&result, 0)?)),
            false => Ok(ColumnarValue::Array(result)),
        }
    }
}

fn texts(columns: &[ArrayRef], at: usize) -> &StringViewArray {
    columns[at].as_string_view()
}

fn integers(columns: &[ArrayRef], at: usize) -> &Int64Array {
    columns[at].as_primitive::<Int64Type>()
}

fn moq_pieces(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let mut reader = PieceReader::default();
    let pieces = texts(columns, 0).iter().map(|text| reader.pieces(text?));
    Ok(Arc::new(pieces.collect::<Int64Array>()))
}

/// `pack` may be null: the unit then says how many pieces it is.
fn to_pieces(columns: &[ArrayRef]) -> Result<ArrayRef> {
    static READER: LazyLock<PieceReader> = LazyLock::new(PieceReader::default);
    let rows = integers(columns, 0).iter().zip(texts(columns, 1)).zip(integers(columns, 2));
    let pieces = rows.map(|((quantity, unit), pack)| READER.to_pieces(quantity?, unit, pack));
    Ok(Arc::new(pieces.collect::<Int64Array>()))
}

fn title_200(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let mut kept = StringViewBuilder::new();
    for text in texts(columns, 0) {
        kept.append_option(text.map(str::trim).map(|text| &text[..title::kept(text)]));
    }
    Ok(Arc::new(kept.finish()))
}

fn title_fits(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (titles, patterns) = (texts(columns, 0), texts(columns, 1));
    let mut known: Option<(&str, Fits)> = None;
    let mut found = Found::default();
    let mut fits = Vec::with_capacity(titles.len());
    for (title, pattern) in titles.iter().zip(patterns) {
        let (Some(title), Some(pattern)) = (title, pattern) else {
            fits.push(None);
            continue;
        };
        if known.as_ref().is_none_or(|(known, _)| *known != pattern) {
            known = Some((pattern, Fits::new(pattern)?));
            found = Found::default();
        }
        fits.push(known.as_ref().map(|(_, known)| known.test(title, &mut found)));
    }
    Ok(Arc::new(BooleanArray::from(fits)))
}

/// One pattern, prepared.
struct Fits {
    words: Words,
    needed: Vec<Vec<usize>>,
    barred: Vec<usize>,
}

impl Fits {
    fn new(pattern: &str) -> Result<Self> {
        let pattern = Pattern::parse(pattern).map_err(DataFusionError::Execution)?;
        let all = pattern.needed.iter().flatten().chain(&pattern.barred).map(String::as_str);
        let words = Words::new(all).map_err(|error| DataFusionError::Execution(error.to_string()))?;
        let numbers = |texts: &[String]| texts.iter().filter_map(|text| words.number(text)).collect::<Vec<_>>();
        let needed = pattern.needed.iter().map(|texts| numbers(texts)).collect();
        let barred = numbers(&pattern.barred);
        Ok(Self { words, needed, barred })
    }

    fn test(&self, title: &str, found: &mut Found) -> bool {
        self.words.find(title, found);
        let has = |numbers: &Vec<usize>| numbers.iter().any(|number| found.has(*number));
        self.needed.iter().all(has) && !self.barred.iter().any(|number| found.has(*number))
    }
}

/// A list of keywords, prepared: as written, and by number.
struct Keywords {
    written: Vec<String>,
    numbers: Vec<Option<usize>>,
    words: Words,
}

/// What may stand between keywords.
const SEPARATORS: [char; 7] = [',', '，', '、', ';', '；', '\n', '\r'];

impl Keywords {
    fn new(list: &str) -> Result<Self> {
        let words = list.split(SEPARATORS).map(str::trim).filter(|word| !word.is_empty());
        let (mut written, mut folded): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for word in words {
            let mut text = String::new();
            fold(word, &mut text);
            if !folded.contains(&text) {
                written.push(word.to_owned());
                folded.push(text);
            }
        }
        let words = Words::new(folded.iter().map(String::as_str));
        let words = words.map_err(|error| DataFusionError::Execution(error.to_string()))?;
        let numbers = folded.iter().map(|word| words.number(word)).collect();
        Ok(Self { written, numbers, words })
    }
}

fn title_matches(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (titles, lists) = (texts(columns, 0), texts(columns, 1));
    let mut matches = ListBuilder::new(StringBuilder::new());
    let mut known: Option<(&str, Keywords)> = None;
    let mut found = Found::default();
    for (title, list) in titles.iter().zip(lists) {
        let (Some(title), Some(list)) = (title, list) else {
            matches.append_null();
            continue;
        };
        if known.as_ref().is_none_or(|(known, _)| *known != list) {
            known = Some((list, Keywords::new(list)?));
            found = Found::default();
        }
        let Some((_, keywords)) = &known else { continue };
        keywords.words.find(title, &mut found);
        // In the order in which they were asked for.
        for (written, number) in keywords.written.iter().zip(&keywords.numbers) {
            if number.is_some_and(|number| found.has(number)) {
                matches.values().append_value(written);
            }
        }
        matches.append(!found.numbers().is_empty());
    }
    Ok(Arc::new(matches.finish()))
}

fn membership_fields() -> Fields {
    Fields::from(vec![
        Field::new("group_name", DataType::Utf8, true),
        Field::new("is_ours", DataType::Boolean, true),
        Field::new("quantity", DataType::Int64, true),
        Field::new("pack_size", DataType::Int32, true),
    ])
}

fn offer_groups(matcher: &Matcher, columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (shops, offers, titles) = (texts(columns, 0), integers(columns, 1), texts(columns, 2));
    let mut names = StringBuilder::new();
    let mut ours = BooleanBuilder::new();
    let (mut quantities, mut packs) = (Int64Builder::new(), Int32Builder::new());
    let mut lengths = Vec::with_capacity(offers.len());
    let (mut scratch, mut found) = (Scratch::default(), Vec::new());
    for ((shop, offer), title) in shops.iter().zip(offers).zip(titles) {
        found.clear();
        if let Some(offer) = offer.filter(|_| !matcher.is_empty()) {
            matcher.groups_of(shop, offer, title, &mut scratch, &mut found);
        }
        for membership in &found {
            names.append_value(membership.group);
            ours.append_value(membership.is_ours);
            quantities.append_option(membership.quantity);
            packs.append_option(membership.pack_size);
        }
        lengths.push(found.len());
    }
    let columns: Vec<Box<dyn arrow::array::ArrayBuilder>> =
        vec![Box::new(names), Box::new(ours), Box::new(quantities), Box::new(packs)];
    let total = lengths.iter().sum();
    let mut structs = StructBuilder::new(membership_fields(), columns);
    (0..total).for_each(|_| structs.append(true));
    let structs = structs.finish();
    let is_some: Vec<bool> = lengths.iter().map(|length| *length > 0).collect();
    let list = arrow::array::ListArray::try_new(
        Arc::new(Field::new_list_field(DataType::Struct(membership_fields()), true)),
        arrow::buffer::OffsetBuffer::from_lengths(lengths),
        Arc::new(structs),
        Some(is_some.into()),
    )?;
    Ok(Arc::new(list))
}
