//! Codes of the tables, in Chinese and English.

/// What the page is shown in first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// Simplified Chinese.
    Chinese,
    /// English.
    #[default]
    English,
}

impl Language {
    /// As the page's script and styles know it.
    pub(super) fn code(self) -> &'static str {
        match self {
            Language::Chinese => "zh",
            Language::English => "en",
        }
    }

    /// As HTML knows it.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Language::Chinese => "zh-CN",
            Language::English => "en",
        }
    }
}

/// Chinese and English.
pub(super) type Words = (&'static str, &'static str);

/// Why a row cannot be bought at the quantity (`price_at`'s `reason`).
pub(super) fn reason(code: &str) -> Option<Words> {
    Some(match code {
        "below_moq" => ("未达起订量", "below the minimum"),
        "off_sale" => ("已停售", "off sale"),
        "delisted" => ("已下架", "delisted"),
        "no_price" => ("没有价格", "no price"),
        "price_spread" => ("各规格价格不同，未取到单个规格的价", "priced by SKU, and not known which costs what"),
        "unknown_moq" => ("起订量读不懂", "minimum not readable"),
        "unknown_unit" => ("单位未知", "unit not known"),
        "unknown_pack" => ("装箱数未知", "pieces per unit not known"),
        "not_countable" => ("不按件计", "not counted in pieces"),
        "conflict" => ("装箱数自相矛盾", "pieces per unit contradict each other"),
        _ => return None,
    })
}

/// What is odd about a ladder (`ladder_status`); nothing for those in order.
pub(super) fn ladder(code: &str) -> Option<Words> {
    Some(match code {
        "duplicate_start" => ("阶梯起点重复，取高价", "steps with one start: the dearer counts"),
        "unordered" => ("阶梯乱序", "steps out of order"),
        "overlap" => ("阶梯重叠，取高价", "steps overlap: the dearer counts"),
        "gap" => ("阶梯有空档", "gap between steps"),
        "rising" => ("买得多反而贵", "dearer in quantity"),
        "sku_spread" => ("各规格价格不同", "prices differ by SKU"),
        "unparsable" => ("部分阶梯读不懂", "steps not readable"),
        _ => return None,
    })
}

/// How an attempt of a run ended.
pub(super) fn run_status(code: &str) -> Option<Words> {
    Some(match code {
        "published" => ("已发布", "published"),
        "published_incomplete" => ("已发布，不完整", "published, incomplete"),
        "held" => ("暂缓发布", "held"),
        "stopped" => ("已停止", "stopped"),
        "failed" => ("失败", "failed"),
        _ => return None,
    })
}

/// What is known of a stock that is no number of pieces.
pub(super) fn stock(code: &str) -> Option<Words> {
    Some(match code {
        "unlimited" => ("充足", "plenty"),
        "missing" => ("未说明", "not stated"),
        "unknown_unit" | "unknown_pack" | "not_countable" | "conflict" => ("不知件数", "not known in pieces"),
        "unparsable" => ("读不懂", "not readable"),
        _ => return None,
    })
}
