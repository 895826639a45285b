//! The words of the world: goods that competing shops all sell, shop names, categories and titles.

use super::random::Dice;

/// One kind of goods; every shop sells it in several versions, so prices can be compared.
#[derive(Debug)]
pub(super) struct Product {
    /// What the title always holds, whoever sells it.
    pub(super) name: &'static str,
    /// The unit a piece is counted in.
    pub(super) unit: &'static str,
    /// A usual price per piece, in fen.
    pub(super) fen: i64,
    /// Index into [`CATEGORIES`].
    pub(super) category: usize,
}

/// Category ids and names, the same in every shop.
pub(super) const CATEGORIES: [(i64, &str); 6] = [
    (1_031_910, "保温杯"),
    (1_031_911, "厨房用品"),
    (1_042_754, "袜子"),
    (1_038_378, "凉拖鞋"),
    (1_034_340, "手机配件"),
    (1_043_351, "收纳用品"),
];

/// The categories' names in English, in the same order.
pub(super) const CATEGORY_NAMES_ENGLISH: [&str; 6] =
    ["insulated bottles", "kitchen tools", "socks", "slippers", "phone accessories", "storage boxes"];

const fn product(name: &'static str, unit: &'static str, fen: i64, category: usize) -> Product {
    Product { name, unit, fen, category }
}

/// The goods.
pub(super) const PRODUCTS: [Product; 30] = [
    product("304不锈钢保温杯500ml", "个", 1850, 0),
    product("304不锈钢保温杯750ml", "个", 2390, 0),
    product("316不锈钢咖啡杯380ml", "个", 1680, 0),
    product("运动塑料水壶1L", "个", 890, 0),
    product("高硼硅玻璃杯400ml", "只", 620, 0),
    product("硅胶折叠水杯", "个", 1150, 0),
    product("硅胶锅铲", "把", 480, 1),
    product("加厚砧板", "块", 1320, 1),
    product("厨房剪刀", "把", 690, 1),
    product("密封保鲜盒", "个", 350, 1),
    product("洗碗海绵", "块", 60, 1),
    product("不粘平底锅24cm", "个", 3480, 1),
    product("男士中筒纯棉袜", "双", 320, 2),
    product("女士船袜", "双", 180, 2),
    product("儿童防滑地板袜", "双", 260, 2),
    product("加绒保暖长袜", "双", 450, 2),
    product("EVA居家拖鞋", "双", 680, 3),
    product("浴室防滑凉拖", "双", 590, 3),
    product("冬季棉拖鞋", "双", 1180, 3),
    product("洞洞鞋", "双", 1450, 3),
    product("Type-C快充数据线1m", "条", 390, 4),
    product("20W充电头", "个", 1290, 4),
    product("磁吸手机壳", "个", 580, 4),
    product("钢化膜", "片", 85, 4),
    product("桌面手机支架", "个", 430, 4),
    product("折叠收纳箱30L", "个", 1560, 5),
    product("真空压缩袋", "个", 210, 5),
    product("衣架", "个", 75, 5),
    product("抽屉分隔盒", "个", 160, 5),
    product("洗衣篮", "个", 980, 5),
];

/// Goods sold by length or weight: their pieces cannot be counted.
pub(super) const UNCOUNTABLE: [Product; 4] = [
    product("纯棉斜纹布料", "米", 1250, 5),
    product("防滑地垫卷材", "平方米", 2680, 5),
    product("食品级硅胶原料", "千克", 3450, 1),
    product("珍珠棉包装卷", "公斤", 990, 5),
];

const PLACES: [&str; 8] = ["义乌", "永康", "诸暨", "温州", "深圳", "广州", "揭阳", "台州"];
const NAMES: [&str; 12] =
    ["恒美", "优尚", "嘉禾", "鑫源", "博雅", "宏泰", "佳和", "万利", "星语", "德兴", "瑞丰", "安居"];
const TRADES: [&str; 5] = ["日用百货", "家居用品", "杯壶制品", "针织", "电子商务"];
const FORMS: [&str; 3] = ["厂", "有限公司", "商行"];
const OPENERS: [&str; 10] =
    ["厂家直销", "跨境热销", "现货批发", "2026新款", "源头工厂", "ins风", "亚马逊爆款", "一件代发", "定制", "外贸出口"];
const EXTRAS: [&str; 12] = [
    "可印logo",
    "大容量",
    "便携",
    "学生办公室",
    "家用",
    "加厚",
    "礼品",
    "北欧风",
    "多色可选",
    "耐磨",
    "环保材质",
    "简约",
];
/// Numbers that look like pack sizes and are none (WIRE §3).
const DECOYS: [&str; 6] = ["3件套", "36-37码", "37L", "10件起批", "第2代", "5.0升级"];

/// The name of shop number `shop`.
pub(super) fn shop_name(seed: u64, shop: usize) -> String {
    let mut dice = Dice::new(seed, &[11, shop as u64]);
    let name = NAMES[(shop + usize::try_from(seed % 12).unwrap_or(0)) % NAMES.len()];
    format!("{}市{name}{}{}", dice.pick(&PLACES), dice.pick(&TRADES), dice.pick(&FORMS))
}

/// What a title looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TitleForm {
    /// A usual title of 20–45 characters.
    Plain,
    /// With numbers that look like a pack size.
    Decoy,
    /// White space at both ends.
    Padded,
    /// More than 200 user-perceived characters, with emoji and combined ones around the 200th.
    Long,
    /// No title at all.
    Absent,
}

/// A title with `product`'s name in it; `None` for [`TitleForm::Absent`].
pub(super) fn title(product: &Product, form: TitleForm, dice: &mut Dice) -> Option<String> {
    let model = format!("{}{:03}款", char::from(b'A' + u8::try_from(dice.below(8)).unwrap_or(0)), dice.below(1000));
    let (first, step) = (dice.below(12), 1 + dice.below(11));
    let word = |at: u64| EXTRAS[usize::try_from(at).unwrap_or(0) % EXTRAS.len()];
    let (opener, extra, more) = (dice.pick(&OPENERS), word(first), word(first + step));
    let plain = format!("{opener} {}{extra}{more} {model}", product.name);
    match form {
        TitleForm::Plain => Some(plain),
        TitleForm::Decoy => Some(format!("{plain} {}", dice.pick(&DECOYS))),
        TitleForm::Padded => Some(format!("  {plain}\u{3000}\n")),
        TitleForm::Absent => None,
        TitleForm::Long => {
            let mut long = plain;
            while long.chars().count() < 190 {
                let extra = *dice.pick(&EXTRAS);
                long.push_str(extra);
            }
            // Characters made of several code points, so that a cut by code points or bytes shows.
            for _ in 0..20 {
                let joined = *dice.pick(&["👨\u{200d}👩\u{200d}👧", "🇨🇳", "e\u{301}", "👍🏽", "❤\u{fe0f}"]);
                long.push_str(joined);
            }
            long.push_str("全国包邮");
            Some(long)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_title_has_more_than_two_hundred_user_perceived_characters() {
        use unicode_segmentation::UnicodeSegmentation as _;
        for part in 0..50 {
            let long = title(&PRODUCTS[0], TitleForm::Long, &mut Dice::new(1, &[part])).expect("a title");
            assert!(long.graphemes(true).count() > 200, "{long}");
            assert!(long.contains(PRODUCTS[0].name));
        }
    }
}
