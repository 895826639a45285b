//! One offer on one day: a pure function of seed, shop, place in the shop, and date.
//!
//! Prices, minimum quantities and stock move on days of their own ([`super::lives`]).
//!
//! Invariant: nothing here depends on which day the world started, or on an earlier call.

use chrono::{DateTime, NaiveDate, Utc};

use super::history::{History, Spread};
use super::lives::{Life, Moments, Place, evening_before};
use super::random::{Dice, mix};
use super::shapes::counts::{self, SalesForm, StockForm};
use super::shapes::ladder::{self, Ladder, LadderForm, Step};
use super::shapes::quantity::{self, Quantity, QuantityForm};
use super::titles::{self, CATEGORIES, PRODUCTS, Product, TitleForm, UNCOUNTABLE};

/// One offer of one day.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Offer {
    pub(super) id: i64,
    pub(super) category: usize,
    pub(super) title: Option<String>,
    pub(super) is_on_sale: bool,
    pub(super) quantity: Quantity,
    pub(super) ladder: Ladder,
    pub(super) headline_fen: i64,
    pub(super) channel_fen: Option<i64>,
    pub(super) consign_fen: Option<i64>,
    pub(super) quote_type: u8,
    /// In sale units.
    pub(super) stock: i64,
    pub(super) stock_form: StockForm,
    pub(super) sales: i64,
    pub(super) sales_form: SalesForm,
    pub(super) skus: Vec<Sku>,
    pub(super) id_form: IdForm,
    pub(super) created_at: DateTime<Utc>,
    pub(super) modified_at: DateTime<Utc>,
    /// Dice for what is only a matter of writing.
    pub(super) writing: u64,
}

/// One SKU of an offer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sku {
    pub(super) id: i64,
    pub(super) spec: String,
    /// `None`: priced by the offer's quantity (quote type 2).
    pub(super) fen: Option<i64>,
    /// Its own ladder (quote type 3).
    pub(super) steps: Vec<Step>,
    pub(super) stock: i64,
}

/// How ids are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdForm {
    Number,
    Text,
}

/// What a shop's offers are made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recipe {
    pub(super) seed: u64,
    /// Offers with something odd about them, of a thousand.
    pub(super) mess_per_mille: u64,
    /// `None`: a lively shop.
    pub(super) history: Option<History>,
}

impl Offer {
    pub(super) fn cid(&self) -> i64 {
        CATEGORIES[self.category].0
    }
}

/// The offer that holds (or has just left) `place` on `date`.
pub(super) fn offer(recipe: Recipe, place: Place, date: NaiveDate) -> Offer {
    let (life, moments) = times(recipe, place, date);
    let key = life.key;
    let mut dice = Dice::new(recipe.seed, &[key, 1]);
    let mut forms = Forms::roll(&mut Dice::new(recipe.seed, &[key, 2]), recipe.mess_per_mille);

    let uncountable = matches!(forms.quantity, QuantityForm::NotCountable | QuantityForm::Fraction);
    let product: &Product =
        if uncountable { dice.pick(&UNCOUNTABLE) } else { &PRODUCTS[(place.slot + place.shop * 7) % PRODUCTS.len()] };

    let skus = forms.quote_type != 0;
    let sku_count = if skus { usize::try_from(dice.between(2, 6)).unwrap_or(2) } else { 0 };
    let quantity = roll_quantity(&mut dice, &mut forms, product, mix(key, &[5, moments.moq_day.unsigned_abs()]));
    let fen = piece_fen(recipe.seed, place, product, &mut dice, mix(key, &[6, moments.price_day.unsigned_abs()]))
        * quantity.pieces_priced();
    let steps = sound_steps(&mut dice, quantity.moq, fen);
    let skus = roll_skus(&mut dice, SkuRecipe { life, count: sku_count, quote_type: forms.quote_type, steps: &steps });
    let ladder = offer_ladder(&forms, steps, &skus);

    let first_fen = ladder.steps.iter().filter_map(|step| step.fen).min().unwrap_or(fen);
    let headline_fen = match ladder.form {
        LadderForm::Spread => first_fen,
        _ if dice.chance(100) => (fen * 9 / 10).max(1),
        _ => fen,
    };
    let needs_channel = ladder::EMPTY.contains(&ladder.form);
    let channel_fen = dice.chance(if needs_channel { 900 } else { 300 }).then(|| (fen * 97 / 100).max(1));
    let consign_fen = dice.chance(400).then_some(fen * 11 / 10);
    let mut title = titles::title(product, forms.title, &mut dice);
    if let (Some(title), Some(suffix)) = (&mut title, quantity.title_suffix()) {
        title.push(' ');
        title.push_str(&suffix);
    }
    let sold_daily = dice.between(0, 40);
    Offer {
        id: life.offer_id(recipe.seed),
        category: category(recipe, place, product),
        title,
        is_on_sale: life.is_on_sale(),
        quantity,
        ladder,
        headline_fen,
        channel_fen,
        consign_fen,
        quote_type: forms.quote_type,
        stock: Dice::new(recipe.seed, &[key, 8, moments.stock_day.unsigned_abs()]).between(0, 20_000),
        stock_form: forms.stock,
        sales: dice.between(0, 30_000) + sold_daily * (moments.sales_day - life.born),
        sales_form: forms.sales,
        skus: if forms.hides_skus { Vec::new() } else { skus },
        id_form: forms.ids,
        created_at: evening_before(life.born, mix(key, &[9])),
        modified_at: moments.modified_at,
        writing: mix(key, &[11]),
    }
}

/// Which offer it is and when it last moved, as the shop's history has it.
fn times(recipe: Recipe, place: Place, date: NaiveDate) -> (Life, Moments) {
    match recipe.history {
        None => {
            let life = Life::of(recipe.seed, place, date);
            (life, Moments::of(recipe.seed, life))
        }
        Some(history) => {
            let life = history.life(recipe.seed, place, date);
            (life, history.moments(life))
        }
    }
}

fn category(recipe: Recipe, place: Place, product: &Product) -> usize {
    let import = recipe.history.and_then(|history| history.import_of(place));
    if import.is_some_and(|import| import.spread == Spread::OneCategory) { 0 } else { product.category }
}

/// What is odd about an offer: at most one thing of ladder, quantity, quote; counts, ids and titles apart.
#[derive(Debug, Clone, Copy)]
struct Forms {
    quote_type: u8,
    ladder: LadderForm,
    quantity: QuantityForm,
    stock: StockForm,
    sales: SalesForm,
    title: TitleForm,
    ids: IdForm,
    hides_skus: bool,
}

impl Forms {
    fn roll(dice: &mut Dice, mess_per_mille: u64) -> Self {
        let mut forms = Self {
            quote_type: *dice.pick(&[0, 0, 2, 2, 2, 2, 2, 2, 1, 3]),
            ladder: *dice.pick(&ladder::CLEAN),
            quantity: *dice.pick(&quantity::CLEAN),
            stock: *dice.pick(&[StockForm::Number, StockForm::WithUnit]),
            sales: SalesForm::Number,
            title: TitleForm::Plain,
            ids: IdForm::Number,
            hides_skus: false,
        };
        if !dice.chance(mess_per_mille) {
            return forms;
        }
        match dice.below(20) {
            0..=6 => {
                forms.ladder = *dice.pick(&ladder::ODD);
                forms.quantity = QuantityForm::WithUnit;
            }
            7 => forms.ladder = *dice.pick(&ladder::EMPTY),
            8..=14 => forms.quantity = *dice.pick(&quantity::ODD),
            _ => forms.title = *dice.pick(&[TitleForm::Decoy, TitleForm::Padded, TitleForm::Long, TitleForm::Absent]),
        }
        // Where SKUs have their own prices there is no ladder to be odd.
        let is_odd = !ladder::CLEAN.contains(&forms.ladder) || !quantity::CLEAN.contains(&forms.quantity);
        if is_odd && forms.quote_type == 1 {
            forms.quote_type = 2;
        }
        if dice.chance(350) {
            forms.stock = *dice.pick(&counts::ODD_STOCK);
        }
        if dice.chance(350) {
            forms.sales = *dice.pick(&counts::ODD_SALES);
        }
        if dice.chance(200) {
            forms.ids = IdForm::Text;
        }
        forms.hides_skus = dice.chance(12);
        forms
    }
}

fn roll_quantity(dice: &mut Dice, forms: &mut Forms, product: &Product, moq_key: u64) -> Quantity {
    use QuantityForm as Q;
    let mut moves = Dice::new(moq_key, &[]);
    let moq = match forms.quantity {
        Q::PackInMoq
        | Q::PackEquation
        | Q::PackEach
        | Q::PackChain
        | Q::PackInTitle
        | Q::PackConflict
        | Q::PackUnknown => moves.between(1, 4),
        Q::Batch | Q::DozenUnit | Q::HalfDozenUnit => moves.between(2, 10),
        Q::Dozens => *moves.pick(&[12, 24, 36]),
        _ if product.fen < 300 => *moves.pick(&[50, 100, 100, 200]),
        _ if product.fen < 1000 => *moves.pick(&[2, 10, 20, 50]),
        _ => *moves.pick(&[1, 2, 3, 5, 10]),
    };
    let pack_unit = if forms.quantity == Q::PackChain { "箱" } else { dice.pick(&["箱", "箱", "包", "盒"]) };
    let pack = *dice.pick(if forms.quantity == Q::PackChain { &[120, 240, 300] } else { &[12, 24, 40, 60] });
    Quantity { form: forms.quantity, piece_unit: product.unit, pack_unit, pack, moq }
}

/// The price of one piece: the goods' usual price, the shop's manner, the version, and the last move.
fn piece_fen(seed: u64, place: Place, product: &Product, dice: &mut Dice, move_key: u64) -> i64 {
    let shop_percent = Dice::new(seed, &[22, place.shop as u64]).between(90, 110);
    let version_percent = dice.between(90, 125);
    let moved = Dice::new(move_key, &[]).between(9000, 11_000);
    (product.fen * shop_percent / 100 * version_percent / 100 * moved / 10_000).max(5)
}

/// One to four steps from the minimum quantity, each cheaper.
fn sound_steps(dice: &mut Dice, moq: i64, fen: i64) -> Vec<Step> {
    let count = *dice.pick(&[1, 1, 2, 2, 3, 3, 3, 4]);
    let factor = *dice.pick(&[5, 10, 20]);
    let mut starts = vec![moq];
    for _ in 1..count {
        starts.push(starts.last().copied().unwrap_or(1) * factor);
    }
    let price = |at: usize| (fen * (100 - 6 * i64::try_from(at).unwrap_or(0)) / 100).max(1);
    let end = |at: usize| starts.get(at + 1).map(|next| next - 1);
    starts.iter().enumerate().map(|(at, &start)| Step { start, end: end(at), fen: Some(price(at)) }).collect()
}

#[derive(Debug, Clone, Copy)]
struct SkuRecipe<'a> {
    life: Life,
    count: usize,
    quote_type: u8,
    steps: &'a [Step],
}

fn roll_skus(dice: &mut Dice, recipe: SkuRecipe<'_>) -> Vec<Sku> {
    const COLOURS: [&str; 6] = ["红色", "黑色", "白色", "藏青", "米黄", "军绿"];
    const SIZES: [&str; 4] = ["S", "M", "L", "XL"];
    let shift = usize::try_from(dice.below(6)).unwrap_or(0);
    let mut skus = Vec::with_capacity(recipe.count);
    for number in 0..recipe.count {
        let percent = 100 + 5 * i64::try_from(number).unwrap_or(0);
        let scaled = |fen: Option<i64>| fen.map(|fen| fen * percent / 100);
        let first = recipe.steps.first().and_then(|step| step.fen);
        let colour = COLOURS[(number + shift) % COLOURS.len()];
        skus.push(Sku {
            id: recipe.life.sku_id(number),
            spec: format!("颜色:{colour};尺码:{}", SIZES[number % SIZES.len()]),
            fen: if matches!(recipe.quote_type, 1 | 3) { scaled(first) } else { None },
            steps: if recipe.quote_type == 3 {
                recipe.steps.iter().map(|step| Step { fen: scaled(step.fen), ..step.clone() }).collect()
            } else {
                Vec::new()
            },
            stock: dice.between(0, 3000),
        });
    }
    skus
}

/// With SKU prices the ladder is their spread; else the sound steps in the rolled form.
fn offer_ladder(forms: &Forms, steps: Vec<Step>, skus: &[Sku]) -> Ladder {
    if forms.quote_type != 1 {
        return Ladder::new(forms.ladder, steps);
    }
    let prices = skus.iter().filter_map(|sku| sku.fen);
    let spread = prices.clone().min().into_iter().chain(prices.max());
    let start = steps.first().map_or(1, |step| step.start);
    let steps = spread.map(|fen| Step { start, end: None, fen: Some(fen) }).collect();
    Ladder::new(LadderForm::Spread, steps)
}

#[cfg(test)]
#[path = "offers_tests.rs"]
mod tests;
