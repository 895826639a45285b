//! Stock and sales: the shapes of WIRE §2 and what each means.

use serde_json::{Value, json};

/// How a stock is stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum StockForm {
    /// `1000`
    Number,
    /// `"1000"`
    NumberText,
    /// `"1000件"`
    WithUnit,
    /// `"1,000件"`
    Comma,
    /// `2147483647`
    SentinelMax,
    /// `1000000000`
    SentinelBillion,
    /// `null`
    Null,
    /// `""`
    Empty,
    /// `"有货"`
    Words,
}

/// How sales are stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum SalesForm {
    /// `1000`
    Number,
    /// `"1000"`
    NumberText,
    /// `"已售70+件"`
    Sold,
    /// `"已售1.2万+件"`
    SoldTenThousands,
    /// `"3.5万+"`
    TenThousands,
    /// `"全网10万+件"`: the platform's, not this shop's
    Platform,
    /// `null`
    Null,
}

/// Odd stock forms.
pub(in crate::sim) const ODD_STOCK: [StockForm; 7] = [
    StockForm::Comma,
    StockForm::SentinelMax,
    StockForm::SentinelBillion,
    StockForm::Null,
    StockForm::Empty,
    StockForm::Words,
    StockForm::NumberText,
];
/// Odd sales forms.
pub(in crate::sim) const ODD_SALES: [SalesForm; 6] = [
    SalesForm::Sold,
    SalesForm::SoldTenThousands,
    SalesForm::TenThousands,
    SalesForm::Platform,
    SalesForm::Null,
    SalesForm::NumberText,
];

/// What a stock means before units: a count of sale units, or a status of its own.
pub(in crate::sim) fn stock_truth(form: StockForm, count: i64) -> Result<i64, &'static str> {
    match form {
        StockForm::SentinelMax | StockForm::SentinelBillion => Err("unlimited"),
        StockForm::Null | StockForm::Empty => Err("missing"),
        StockForm::Words => Err("unparsable"),
        _ => Ok(count),
    }
}

/// The stock field; `unit` is the sale unit.
pub(in crate::sim) fn stock_value(form: StockForm, count: i64, unit: &str) -> Value {
    match form {
        StockForm::Number => json!(count),
        StockForm::NumberText => json!(count.to_string()),
        StockForm::WithUnit => json!(format!("{count}{unit}")),
        StockForm::Comma => json!(format!("{}{unit}", thousands(count))),
        StockForm::SentinelMax => json!(2_147_483_647),
        StockForm::SentinelBillion => json!(1_000_000_000),
        StockForm::Null => Value::Null,
        StockForm::Empty => json!(""),
        StockForm::Words => json!("有货"),
    }
}

/// The stock as the official structure states it: a number, or nothing.
pub(in crate::sim) fn stock_number(form: StockForm, count: i64) -> Value {
    match form {
        StockForm::Number | StockForm::WithUnit | StockForm::Comma | StockForm::Words => json!(count),
        other => stock_value(other, count, ""),
    }
}

/// The sales field.
pub(in crate::sim) fn sales_value(form: SalesForm, count: i64) -> Value {
    let in_ten_thousands = || format!("{}.{}", count / 10_000, count % 10_000 / 1000);
    match form {
        SalesForm::Number => json!(count),
        SalesForm::NumberText => json!(count.to_string()),
        SalesForm::Sold => json!(format!("已售{}+件", count / 10 * 10)),
        SalesForm::SoldTenThousands => json!(format!("已售{}万+件", in_ten_thousands())),
        SalesForm::TenThousands => json!(format!("{}万+", in_ten_thousands())),
        SalesForm::Platform => json!(format!("全网{}万+件", count / 10_000 + 1)),
        SalesForm::Null => Value::Null,
    }
}

/// What sales mean: the count, if it is this shop's, and whether it is only a lower bound.
pub(in crate::sim) fn sales_truth(form: SalesForm, count: i64) -> (Option<i64>, bool) {
    match form {
        SalesForm::Number | SalesForm::NumberText => (Some(count), false),
        SalesForm::Sold => (Some(count / 10 * 10), true),
        SalesForm::SoldTenThousands | SalesForm::TenThousands => (Some(count / 1000 * 1000), true),
        SalesForm::Platform => (None, true),
        SalesForm::Null => (None, false),
    }
}

fn thousands(count: i64) -> String {
    if count < 1000 { count.to_string() } else { format!("{},{:03}", thousands(count / 1000), count % 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_written_as_they_were_captured() {
        assert_eq!(stock_value(StockForm::Comma, 1_234_567, "件"), "1,234,567件");
        assert_eq!(sales_value(SalesForm::Sold, 74), "已售70+件");
        assert_eq!(sales_value(SalesForm::SoldTenThousands, 12_345), "已售1.2万+件");
        assert_eq!(sales_truth(SalesForm::SoldTenThousands, 12_345), (Some(12_000), true));
        assert_eq!(sales_truth(SalesForm::Platform, 12_345).0, None);
        assert_eq!(stock_truth(StockForm::SentinelMax, 5), Err("unlimited"));
    }
}
