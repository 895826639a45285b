//! What columns are called, for people: their names, or the Chinese business names of the contracts.
//!
//! Rule: of the tables that have a column of that name, the one that shares most columns with the rows says what it is
//! called; what only views and functions have is named here.
//!
//! Invariant: columns with different names have different labels; several of one name keep it, if the query gives them.

use std::collections::HashMap;

use arrow::datatypes::SchemaRef;

use crate::query::names::shown;
use crate::transform::contract::Table;

/// What columns are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Labels {
    /// As in SQL.
    #[default]
    Names,
    /// As the contracts call them in Chinese; a column that no contract knows keeps its name.
    Chinese,
}

/// Columns that only views and functions have.
const OF_VIEWS: &[(&str, &str)] = &[
    ("buyable", "可购买"),
    ("change_pct", "变动百分比"),
    ("cheapest", "最低单件价"),
    ("gap", "与最低价差"),
    ("gap_pct", "与最低价差百分比"),
    ("group_name", "分组"),
    ("is_latest", "是否最新"),
    ("is_ours", "是否本店"),
    ("keyword", "关键词"),
    ("kind", "变动类型"),
    ("pack_size", "装箱件数"),
    ("pieces_bought", "购买件数"),
    ("position", "名次"),
    ("previous_dt", "前一日期"),
    ("price_per_piece", "单件价"),
    ("quantity", "数量"),
    ("reason", "原因"),
    ("title_pattern", "标题匹配"),
    ("total", "总价"),
    ("units", "购买单位数"),
];

/// What stands before a column's name in views that compare days.
const PREFIXES: &[(&str, &str)] = &[("old_", "原"), ("new_", "现"), ("last_", "末次")];

impl Labels {
    /// The labels of these columns.
    pub(in crate::query) fn of(self, schema: &SchemaRef) -> Vec<String> {
        let names: Vec<&str> = schema.fields().iter().map(|field| shown(field.name())).collect();
        if self == Labels::Names {
            return names.into_iter().map(str::to_owned).collect();
        }
        let tables = by_likeness(&names);
        let labels: Vec<String> =
            names.iter().map(|name| label(name, &tables).unwrap_or_else(|| (*name).into())).collect();
        let mut times: HashMap<&str, usize> = HashMap::new();
        for label in &labels {
            *times.entry(label).or_default() += 1;
        }
        let is_double = |label: &str| times.get(label).is_some_and(|times| *times > 1);
        let told_apart = |(name, label): (&&str, &String)| match is_double(label) && label != name {
            true => format!("{label} ({name})"),
            false => label.clone(),
        };
        names.iter().zip(&labels).map(told_apart).collect()
    }
}

/// A table's columns: name → Chinese name.
type Known = HashMap<&'static str, &'static str>;

/// The tables' columns, those that have most of `names` first.
fn by_likeness(names: &[&str]) -> Vec<Known> {
    let known = |table: Table| -> Option<Known> {
        let columns = &table.contract().ok()?.columns;
        Some(columns.iter().map(|column| (column.name.as_str(), column.business_name.as_str())).collect())
    };
    let mut tables: Vec<Known> = Table::ALL.into_iter().filter_map(known).collect();
    let shared = |table: &Known| names.iter().filter(|name| table.contains_key(*name)).count();
    tables.sort_by_key(|table| std::cmp::Reverse(shared(table)));
    tables
}

fn label(name: &str, tables: &[Known]) -> Option<String> {
    let of_views = || OF_VIEWS.iter().find(|(known, _)| *known == name).map(|(_, label)| *label);
    let (nearest, others) = tables.split_first()?;
    let known = nearest.get(name).copied().or_else(of_views);
    let known = known.or_else(|| others.iter().find_map(|table| table.get(name).copied()));
    known.map(str::to_owned).or_else(|| {
        let prefixed =
            |(prefix, word): &(&str, &str)| Some(format!("{word}{}", label(name.strip_prefix(prefix)?, tables)?));
        PREFIXES.iter().find_map(prefixed)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn check(names: &[&str], expected: &[&str]) {
        let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
        assert_eq!(Labels::Chinese.of(&Arc::new(Schema::new(fields))), expected);
    }

    #[test]
    fn a_column_is_called_what_the_table_it_most_likely_comes_from_calls_it() {
        check(&["offer_id", "title", "price"], &["商品编号", "标题", "报价"]);
        check(&["sku_id", "spec", "price"], &["SKU 编号", "规格", "价格"]);
        check(&["run_id", "pipeline", "status", "calls_used"], &["运行编号", "管道", "状态", "调用次数"]);
    }

    #[test]
    fn columns_of_views_have_labels_and_strange_ones_keep_their_names() {
        check(&["offer_id", "old_price", "new_price", "n"], &["商品编号", "原报价", "现报价", "n"]);
        check(&["price_per_piece", "total"], &["单件价", "总价"]);
    }

    #[test]
    fn no_two_columns_are_called_the_same() {
        check(&["min_quantity", "日期", "dt"], &["起始数量", "日期", "日期 (dt)"]);
    }
}
